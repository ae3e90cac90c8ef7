// mbarriers, bulk and tensor copies, wgmma, clusters on sm_90a, behind sm90.cuh. BUG selects a fault; 0 is the correct kernel.
// o = x * 2 through bulk copies. BUG 1: no wait on the mbarrier. 2: no proxy fence before the store. 3: no barrier before the store. 4: one arrival too many. 5: no init.
template <int BUG> __device__ void bulk(const float* x, float* o) {
  __shared__ __align__(128) float s[256]; __shared__ u64 bar;
  if (threadIdx.x == 0) { if (BUG != 5) init(&bar, 1); fence_init(); } __syncthreads();
  if (threadIdx.x == 0) { expect(&bar, 1024); if (BUG == 4) arrive(&bar);
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], 1024, [%2];" ::"r"(smem(s)), "l"(x + blockIdx.x * 256), "r"(smem(&bar)) : "memory"); }
  if (BUG != 1) wait(&bar, 0);
  s[threadIdx.x] *= 2; if (BUG != 2) proxy(); if (BUG != 3) __syncthreads();
  if (threadIdx.x == 0) { asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], 1024;" ::"l"(o + blockIdx.x * 256), "r"(smem(s)) : "memory"); commit(); wait_read(); } }
extern "C" __global__ void bulk_ok(const float* x, float* o) { bulk<0>(x, o); }
extern "C" __global__ void bulk_no_wait(const float* x, float* o) { bulk<1>(x, o); }
extern "C" __global__ void bulk_no_fence(const float* x, float* o) { bulk<2>(x, o); }
extern "C" __global__ void bulk_no_barrier(const float* x, float* o) { bulk<3>(x, o); }
extern "C" __global__ void bulk_double_arrive(const float* x, float* o) { bulk<4>(x, o); }
extern "C" __global__ void bulk_no_init(const float* x, float* o) { bulk<5>(x, o); }

// Two-stage ring over tiles with one buffer reused. BUG 1: the producer does not wait for the consumers.
template <int BUG> __device__ void ring(const float* x, float* o, int tiles) {
  __shared__ __align__(128) float s[2][128]; __shared__ u64 full[2], empty[2];
  if (threadIdx.x == 0) { for (int i = 0; i < 2; i++) { init(&full[i], 1); init(&empty[i], 4); } fence_init(); } __syncthreads();
  if (threadIdx.x >= 128) { if (threadIdx.x == 128) for (int t = 0; t < tiles; t++) { int b = t & 1; if (BUG != 1) wait(&empty[b], ((t >> 1) & 1) ^ 1); expect(&full[b], 512);
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], 512, [%2];" ::"r"(smem(s[b])), "l"(x + t * 128), "r"(smem(&full[b])) : "memory"); } }
  else { float v = 0; for (int t = 0; t < tiles; t++) { int b = t & 1; wait(&full[b], (t >> 1) & 1); v = v * 0.5f + s[b][127 - threadIdx.x]; __syncwarp(); if ((threadIdx.x & 31) == 0) arrive(&empty[b]); } o[threadIdx.x] = v; } }
extern "C" __global__ void ring_ok(const float* x, float* o, int tiles) { ring<0>(x, o, tiles); }
extern "C" __global__ void ring_no_empty(const float* x, float* o, int tiles) { ring<1>(x, o, tiles); }

// A box through shared memory: copies out what came in, at another place. Unswizzled on both sides or swizzled on both.
extern "C" __global__ void tma_copy(const __grid_constant__ Map in, const __grid_constant__ Map out, int x, int y, int bytes, int x2, int y2) {
  extern __shared__ __align__(1024) char s[]; __shared__ u64 bar;
  if (threadIdx.x == 0) { init(&bar, 1); fence_init(); expect(&bar, bytes); load2d(s, &in, x, y, &bar); }
  __syncthreads(); wait(&bar, 0);
  if (threadIdx.x == 0) { store2d(s, &out, x2, y2); commit(); wait_read(); } }
extern "C" __global__ void tma_dump(const __grid_constant__ Map in, int x, int y, int bytes, unsigned char* o) {
  extern __shared__ __align__(1024) char s[]; __shared__ u64 bar;
  if (threadIdx.x == 0) { init(&bar, 1); fence_init(); expect(&bar, bytes); load2d(s, &in, x, y, &bar); }
  __syncthreads(); wait(&bar, 0); for (int i = threadIdx.x; i < bytes; i += blockDim.x) o[i] = s[i]; }
extern "C" __global__ void tma_3d(const __grid_constant__ Map in, int x, int y, int z, int bytes, unsigned char* o) {
  extern __shared__ __align__(1024) char s[]; __shared__ u64 bar;
  if (threadIdx.x == 0) { init(&bar, 1); fence_init(); expect(&bar, bytes);
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(smem(s)), "l"(&in), "r"(x), "r"(y), "r"(z), "r"(smem(&bar)) : "memory"); }
  __syncthreads(); wait(&bar, 0); for (int i = threadIdx.x; i < bytes; i += blockDim.x) o[i] = s[i]; }
extern "C" __global__ void tma_reduce(const __grid_constant__ Map out, float v) {
  __shared__ __align__(128) float s[32 * 8]; for (int i = threadIdx.x; i < 256; i += 32) s[i] = v; proxy(); __syncthreads();
  if (threadIdx.x == 0) { asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&out), "r"(0), "r"(0), "r"(smem(s)) : "memory"); commit(); wait_read(); } }

// Clusters: every CTA reads its neighbour's shared memory. BUG 1: no cluster barrier before the reads.
template <int BUG> __device__ void neighbour(int* o) {
  __shared__ int s[32]; u32 r, n; asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r)); asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(n));
  s[threadIdx.x] = r * 100 + threadIdx.x;
  if (BUG != 1) asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
  u32 a, v; asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(a) : "r"(smem(&s[threadIdx.x])), "r"((r + 1) % n));
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(v) : "r"(a) : "memory"); o[blockIdx.x * 32 + threadIdx.x] = v;
  asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory"); }
extern "C" __global__ void __cluster_dims__(4, 1, 1) dsmem(int* o) { neighbour<0>(o); }
extern "C" __global__ void __cluster_dims__(4, 1, 1) dsmem_no_barrier(int* o) { neighbour<1>(o); }
extern "C" __global__ void __cluster_dims__(2, 1, 1) multicast(const float* x, float* o) {
  __shared__ __align__(128) float s[64]; __shared__ u64 bar; u32 r; asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  if (threadIdx.x == 0) { init(&bar, 1); fence_init(); expect(&bar, 256); }
  asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
  if (threadIdx.x == 0) asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], 128, [%2], %3;" ::"r"(smem(s + 32 * r)), "l"(x + 32 * r), "r"(smem(&bar)), "h"((short)3) : "memory");
  wait(&bar, 0); o[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x]; o[blockIdx.x * 64 + 32 + threadIdx.x] = s[32 + threadIdx.x];
  asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory"); }

__device__ void mma64(float* d, u64 a, u64 b, int keep) {
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %34, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 0, 0; }" : WG32(d) : "l"(a), "l"(b), "r"(keep)); }
__device__ void mma64t(float* d, u64 a, u64 b, int keep) {
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %34, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 0, 1; }" : WG32(d) : "l"(a), "l"(b), "r"(keep)); }
// C[M][N] = A[M][K] B^T, B[N][K] both K-major 128-byte swizzled tiles of 64x64; TRANS: B[K][N] instead. BUG 1: accumulators read before the wait. 2: no wait for the TMA.
template <int BUG, bool TRANS> __device__ void wg(const Map* ma, const Map* mb, float* C, int N, int K) {
  extern __shared__ __align__(1024) char s[]; __shared__ u64 full, empty; char* sa = s; char* sb = s + 8192;
  if (threadIdx.x == 0) { init(&full, 1); init(&empty, 128); fence_init(); } __syncthreads();
  float d[32]; for (int i = 0; i < 32; i++) d[i] = 0; int m0 = blockIdx.y * 64, n0 = blockIdx.x * 64;
  for (int k = 0, t = 0; k < K; k += 64, t++) {
    if (threadIdx.x == 0) { wait(&empty, (t & 1) ^ 1); expect(&full, 16384); load2d(sa, ma, k, m0, &full); if (TRANS) load2d(sb, mb, n0, k, &full); else load2d(sb, mb, k, n0, &full); }
    if (BUG != 2) wait(&full, t & 1); asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    for (int q = 0; q < 4; q++) { u64 a = desc(sa + q * 32, 16, 1024, 1);
      if (TRANS) mma64t(d, a, desc(sb + q * 2048, 8192, 1024, 1), 1); else mma64(d, a, desc(sb + q * 32, 16, 1024, 1), 1); }
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    if (BUG == 1) { float x = d[0] + 1; asm volatile("" :: "f"(x)); }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); arrive(&empty); }
  int w = threadIdx.x >> 5, l = threadIdx.x & 31;
  for (int i = 0; i < 32; i++) C[(size_t)(m0 + w * 16 + (l >> 2) + 8 * ((i >> 1) & 1)) * N + n0 + (l & 3) * 2 + (i & 1) + 8 * (i >> 2)] = d[i]; }
extern "C" __global__ void __launch_bounds__(128) wgmma_nt(const __grid_constant__ Map a, const __grid_constant__ Map b, float* C, int N, int K) { wg<0, false>(&a, &b, C, N, K); }
extern "C" __global__ void __launch_bounds__(128) wgmma_nn(const __grid_constant__ Map a, const __grid_constant__ Map b, float* C, int N, int K) { wg<0, true>(&a, &b, C, N, K); }
extern "C" __global__ void __launch_bounds__(128) wgmma_early(const __grid_constant__ Map a, const __grid_constant__ Map b, float* C, int N, int K) { wg<1, false>(&a, &b, C, N, K); }
extern "C" __global__ void __launch_bounds__(128) wgmma_no_wait(const __grid_constant__ Map a, const __grid_constant__ Map b, float* C, int N, int K) { wg<2, false>(&a, &b, C, N, K); }
extern "C" __global__ void elect(int* o) { u32 p; asm volatile("{ .reg .pred q; elect.sync _|q, 0xffffffff; selp.u32 %0, 1, 0, q; }" : "=r"(p)); o[threadIdx.x] = p; }
extern "C" __global__ void __launch_bounds__(128) regs(int* o) { asm volatile("setmaxnreg.dec.sync.aligned.u32 40;"); asm volatile("griddepcontrol.wait;" ::: "memory"); o[threadIdx.x] = 1; }
extern "C" __global__ void stmat(unsigned short* o) {
  __shared__ __align__(16) unsigned short s[64]; u32 v = threadIdx.x * 2 | (threadIdx.x * 2 + 1) << 16;
  asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(smem(s + (threadIdx.x & 7) * 8)), "r"(v) : "memory"); __syncwarp(); o[threadIdx.x] = s[threadIdx.x]; o[threadIdx.x + 32] = s[threadIdx.x + 32]; }
