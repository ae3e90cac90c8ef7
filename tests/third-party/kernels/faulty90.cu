// Faulty kernels (FIX 0) and their corrected twins (FIX 1) on sm_90a, behind sm90.cuh: 128 threads, x holds 1024 floats, o 1024.
#define TWIN(name) extern "C" __global__ void __launch_bounds__(128) name##_bad(const float* x, float* o) { name<0>(x, o); } extern "C" __global__ void __launch_bounds__(128) name##_ok(const float* x, float* o) { name<1>(x, o); }
__device__ void bulk_in(void* s, const void* x, u32 bytes, u64* bar) { asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(smem(s)), "l"(x), "r"(bytes), "r"(smem(bar)) : "memory"); }
__device__ void bulk_out(void* o, const void* s, u32 bytes) { asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(o), "r"(smem(s)), "r"(bytes) : "memory"); }
__device__ void bulk_add(void* o, const void* s, u32 bytes) { asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(o), "r"(smem(s)), "r"(bytes) : "memory"); }

// mbarrier misuse.
template <int FIX> __device__ void mb_double_arrive(const float* x, float* o) { __shared__ __align__(128) float s[128]; __shared__ u64 bar;
  if (threadIdx.x == 0) { init(&bar, 1); fence_init(); } __syncthreads();
  if (threadIdx.x == 0) { expect(&bar, 512); if (!FIX) arrive(&bar); bulk_in(s, x, 512, &bar); } wait(&bar, 0); o[threadIdx.x] = s[threadIdx.x]; }
TWIN(mb_double_arrive)
template <int FIX> __device__ void mb_no_init(const float* x, float* o) { __shared__ u64 bar; if (FIX && threadIdx.x == 0) init(&bar, 128); __syncthreads(); arrive(&bar); wait(&bar, 0); o[threadIdx.x] = 1; }
TWIN(mb_no_init)
template <int FIX> __device__ void mb_overwritten(const float* x, float* o) { __shared__ u64 bars[2]; if (threadIdx.x == 0) init(&bars[0], 128); __syncthreads();
  if (threadIdx.x == 0) *(volatile u32*)&bars[FIX ? 1 : 0] = 7; __syncthreads(); arrive(&bars[0]); wait(&bars[0], 0); o[threadIdx.x] = 1; }
TWIN(mb_overwritten)
template <int FIX> __device__ void mb_init_again(const float* x, float* o) { __shared__ u64 bar; if (threadIdx.x == 0) init(&bar, 128); __syncthreads(); arrive(&bar); wait(&bar, 0); __syncthreads();
  if (threadIdx.x == 0) { if (FIX) asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(smem(&bar)) : "memory"); init(&bar, 128); } __syncthreads(); arrive(&bar); wait(&bar, 0); o[threadIdx.x] = 1; }
TWIN(mb_init_again)

// Missing waits. What is read or overwritten too early is bulk_in's target, bulk_out's source, cp.async's target.
template <int FIX> __device__ void wait_bulk_in(const float* x, float* o) { __shared__ __align__(128) float s[128]; __shared__ u64 bar;
  if (threadIdx.x == 0) { init(&bar, 1); fence_init(); } s[threadIdx.x] = -1; proxy(); __syncthreads();
  if (threadIdx.x == 0) { expect(&bar, 512); bulk_in(s, x, 512, &bar); } if (FIX) wait(&bar, 0); o[threadIdx.x] = s[threadIdx.x]; }
TWIN(wait_bulk_in)
template <int FIX> __device__ void wait_bulk_out(const float* x, float* o) { __shared__ __align__(128) float s[128]; s[threadIdx.x] = x[threadIdx.x]; proxy(); __syncthreads();
  if (threadIdx.x == 0) { bulk_out(o, s, 512); commit(); if (FIX) wait_read(); } __syncthreads(); s[threadIdx.x] = -1; __syncthreads(); o[512 + threadIdx.x] = s[127 - threadIdx.x]; }
TWIN(wait_bulk_out)
template <int FIX> __device__ void wait_cp_async(const float* x, float* o) { __shared__ __align__(16) float s[512]; for (int i = 0; i < 4; i++) s[threadIdx.x * 4 + i] = -1;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(smem(s + 4 * threadIdx.x)), "l"(x + 4 * threadIdx.x) : "memory"); asm volatile("cp.async.commit_group;" ::: "memory");
  if (FIX) asm volatile("cp.async.wait_group 0;" ::: "memory"); for (int i = 0; i < 4; i++) o[threadIdx.x * 4 + i] = s[threadIdx.x * 4 + i]; }
TWIN(wait_cp_async)
template <int FIX> __device__ void wait_one_group(const float* x, float* o) { __shared__ __align__(16) float s[1024]; for (int i = 0; i < 8; i++) s[threadIdx.x * 8 + i] = -1;
  for (int g = 0; g < 2; g++) { asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(smem(s + 8 * threadIdx.x + 4 * g)), "l"(x + 8 * threadIdx.x + 4 * g) : "memory"); asm volatile("cp.async.commit_group;" ::: "memory"); }
  if (FIX) asm volatile("cp.async.wait_group 0;" ::: "memory"); else asm volatile("cp.async.wait_group 1;" ::: "memory"); for (int i = 0; i < 8; i++) o[threadIdx.x * 8 + i] = s[threadIdx.x * 8 + i]; }
TWIN(wait_one_group)

// Missing proxy fences.
template <int FIX> __device__ void fence_bulk(const float* x, float* o) { __shared__ __align__(128) float s[128]; s[threadIdx.x] = x[threadIdx.x] * 2; if (FIX) proxy(); __syncthreads();
  if (threadIdx.x == 0) { bulk_out(o, s, 512); commit(); wait_read(); } }
TWIN(fence_bulk)
template <int FIX> __device__ void fence_early(const float* x, float* o) { __shared__ __align__(128) float s[128]; if (!FIX) proxy(); s[threadIdx.x] = x[threadIdx.x] * 2; if (FIX) proxy(); __syncthreads();
  if (threadIdx.x == 0) { bulk_out(o, s, 512); commit(); wait_read(); } }
TWIN(fence_early)
template <int FIX> __device__ void fence_reduce(const float* x, float* o) { __shared__ __align__(128) float s[128]; s[threadIdx.x] = x[threadIdx.x]; if (FIX) proxy(); else __threadfence(); __syncthreads();
  if (threadIdx.x == 0) { bulk_add(o, s, 512); commit(); wait_read(); } }
TWIN(fence_reduce)
template <int FIX> __device__ void fence_global(const float* x, float* o) { __shared__ __align__(128) float s[128]; s[threadIdx.x] = x[threadIdx.x]; if (FIX) proxy(); else asm volatile("fence.proxy.async.global;" ::: "memory"); __syncthreads();
  if (threadIdx.x == 0) { bulk_out(o, s, 512); commit(); wait_read(); } }
TWIN(fence_global)

// D[64][8] = A[64][16] B[16][8], f16, unswizzled K-major tiles written by the threads themselves. What FIX is of:
// 0 nothing, 1 the proxy fence, 2 the wait before D is read, 3 D changed in flight, 4 operand A changed in flight, 5 a tile overwritten in flight.
__device__ void mma8(float* d, u64 a, u64 b) { asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0,%1,%2,%3}, %4, %5, p, 1, 1, 0, 0; }" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(a), "l"(b)); }
__device__ void mma8r(float* d, u32* a, u64 b) { asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0,%1,%2,%3}, {%4,%5,%6,%7}, %8, p, 1, 1, 0; }" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)); }
template <int WHAT, int FIX> __device__ void tile(const float* x, float* o) {
  __shared__ __align__(128) unsigned short sa[64 * 16], sb[16 * 8]; int t = threadIdx.x, w = t >> 5, l = t & 31;
  // Element (row, k) of a tile of 8x8 pieces: pieces along k are 64 elements apart, along the rows 128.
  for (int i = t; i < 1024; i += 128) { int r = i / 16, k = i % 16; sa[r / 8 * 128 + k / 8 * 64 + r % 8 * 8 + k % 8] = r == k ? 0x3c00 : 0; }
  for (int i = t; i < 128; i += 128) { int c = i / 16, k = i % 16; sb[k / 8 * 64 + c * 8 + k % 8] = 0x3c00 + ((i & 7) << 7); }
  if (WHAT != 1 || FIX) proxy(); __syncthreads();
  float d[4] = {0, 0, 0, 0}; u32 a[4] = {0x3c003c00, 0x3c003c00, 0x3c003c00, 0x3c003c00};
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  if (WHAT == 4) mma8r(d, a, desc(sb, 128, 256, 0)); else mma8(d, desc(sa, 128, 256, 0), desc(sb, 128, 256, 0));
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  if (WHAT == 3 && !FIX) asm volatile("mov.f32 %0, 0f40000000;" : "+f"(d[1]));
  if (WHAT == 4 && !FIX) for (int i = 0; i < 4; i++) asm volatile("xor.b32 %0, %0, 1;" : "+r"(a[i]));
  if (WHAT == 5 && !FIX) sa[t] = 0;
  if (WHAT != 2 || FIX) asm volatile("wgmma.wait_group.sync.aligned 0;" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])::"memory");
  if (WHAT == 4) for (int i = 0; i < 4; i++) { asm volatile("xor.b32 %0, %0, 2;" : "+r"(a[i])); o[512 + t * 4 + i] = a[i]; }
  for (int i = 0; i < 4; i++) o[(w * 16 + (l >> 2) + 8 * (i >> 1)) * 8 + (l & 3) * 2 + (i & 1)] = d[i];
  if (WHAT == 2 && !FIX) asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }
#define TILE(name, what) template <int FIX> __device__ void name(const float* x, float* o) { tile<what, FIX>(x, o); } TWIN(name)
TILE(fence_wgmma, 1) TILE(flight_read, 2) TILE(flight_write, 3) TILE(flight_operand, 4) TILE(wait_wgmma, 5)
