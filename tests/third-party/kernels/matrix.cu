// mma.sync, ldmatrix and cp.async on sm_80.
typedef unsigned u32;
__device__ u32 smem(const void* p) { return (u32)__cvta_generic_to_shared(p); }
#define MMA(D, A, B, shape) asm volatile("mma.sync.aligned." shape " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" : "+f"(D[0]), "+f"(D[1]), "+f"(D[2]), "+f"(D[3]) : "r"(A[0]), "r"(A[1]), "r"(A[2]), "r"(A[3]), "r"(B[0]), "r"(B[1]))

// 16x8 = 16xK * Kx8 with every operand loaded element by element as the manual's tables say. bytes: size of an element.
template <int BYTES, int K> __device__ void frag(const unsigned char* a, const unsigned char* b, u32* fa, u32* fb) {
  int g = (threadIdx.x & 31) >> 2, t = threadIdx.x & 3; const int E = 4 / BYTES;
  for (int r = 0; r < K * BYTES / 8; r++) { int row = g + 8 * (r & 1), col = t * E + 4 * E * (r >> 1); fa[r] = *(const u32*)(a + (row * K + col) * BYTES); }
  for (int r = 0; r < K * BYTES / 16; r++) { u32 v = 0; for (int j = 0; j < E; j++) { int k = t * E + j + 4 * E * r; u32 e = 0; for (int q = 0; q < BYTES; q++) e |= (u32)b[(k * 8 + g) * BYTES + q] << (8 * q); v |= e << (8 * BYTES * j); } fb[r] = v; } }
template <int BYTES, int K> __device__ void run(const void* a, const void* b, float* o, int kind) {
  u32 fa[4], fb[2]; float d[4] = {0, 0, 0, 0}; frag<BYTES, K>((const unsigned char*)a, (const unsigned char*)b, fa, fb);
  if (kind == 0) MMA(d, fa, fb, "m16n8k16.row.col.f32.f16.f16.f32");
  if (kind == 1) MMA(d, fa, fb, "m16n8k16.row.col.f32.bf16.bf16.f32");
  if (kind == 2) MMA(d, fa, fb, "m16n8k8.row.col.f32.tf32.tf32.f32");
  int g = (threadIdx.x & 31) >> 2, t = threadIdx.x & 3;
  for (int i = 0; i < 4; i++) o[(g + 8 * (i >> 1)) * 8 + t * 2 + (i & 1)] = d[i]; }
extern "C" __global__ void mma_f16(const void* a, const void* b, float* o) { run<2, 16>(a, b, o, 0); }
extern "C" __global__ void mma_bf16(const void* a, const void* b, float* o) { run<2, 16>(a, b, o, 1); }
extern "C" __global__ void mma_tf32(const void* a, const void* b, float* o) { run<4, 8>(a, b, o, 2); }
extern "C" __global__ void mma_s8(const void* a, const void* b, int* o) {
  u32 fa[4], fb[2]; int d[4] = {1, 2, 3, 4}; frag<1, 32>((const unsigned char*)a, (const unsigned char*)b, fa, fb);
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
  int g = (threadIdx.x & 31) >> 2, t = threadIdx.x & 3; for (int i = 0; i < 4; i++) o[(g + 8 * (i >> 1)) * 8 + t * 2 + (i & 1)] = d[i]; }
extern "C" __global__ void mma_f64(const double* a, const double* b, double* o) {
  int g = threadIdx.x >> 2, t = threadIdx.x & 3; double d0 = 0.5, d1 = 0.25;
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+d"(d0), "+d"(d1) : "d"(a[g * 4 + t]), "d"(b[t * 8 + g]));
  o[g * 8 + t * 2] = d0; o[g * 8 + t * 2 + 1] = d1; }
extern "C" __global__ void ldm(const unsigned short* x, unsigned short* o, int trans) {
  __shared__ __align__(16) unsigned short s[32 * 8]; for (int i = threadIdx.x; i < 256; i += 32) s[i] = x[i]; __syncthreads();
  u32 r[4]; u32 a = smem(s + threadIdx.x * 8);
  if (trans) asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
  else asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
  for (int m = 0; m < 4; m++) for (int j = 0; j < 2; j++) o[m * 64 + (threadIdx.x >> 2) * 8 + (threadIdx.x & 3) * 2 + j] = r[m] >> (16 * j); }

// C[M][N] = A[M][K] B[K][N], f16 in, f32 out; 64x64x32 tiles, two cp.async stages, 4 warps of 32x32. WAIT: groups left in flight.
__device__ void cpa(u32 d, const void* s) { asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(d), "l"(s) : "memory"); }
template <bool WAIT, bool SYNC> __device__ void gemm(const unsigned short* A, const unsigned short* B, float* C, int M, int N, int K) {
  extern __shared__ __align__(128) unsigned short sm[];
  unsigned short* sa = sm; unsigned short* sb = sm + 2 * 64 * 40;
  int w = threadIdx.x >> 5, l = threadIdx.x & 31, m0 = blockIdx.y * 64, n0 = blockIdx.x * 64;
  float acc[2][4][4] = {};
  auto fetch = [&](int stage, int k0) {
    for (int c = threadIdx.x; c < 256; c += 128) { int r = c >> 2, q = (c & 3) * 8; cpa(smem(sa + stage * 64 * 40 + r * 40 + q), A + (size_t)(m0 + r) * K + k0 + q); }
    for (int c = threadIdx.x; c < 256; c += 128) { int r = c >> 3, q = (c & 7) * 8; cpa(smem(sb + stage * 32 * 72 + r * 72 + q), B + (size_t)(k0 + r) * N + n0 + q); }
    asm volatile("cp.async.commit_group;" ::: "memory"); };
  fetch(0, 0);
  for (int k0 = 0, st = 0; k0 < K; k0 += 32, st ^= 1) {
    if (k0 + 32 < K) fetch(st ^ 1, k0 + 32); else asm volatile("cp.async.commit_group;" ::: "memory");
    if (WAIT) asm volatile("cp.async.wait_group 1;" ::: "memory"); if (SYNC) __syncthreads();
    for (int kk = 0; kk < 32; kk += 16) {
      u32 a[2][4], b[4][2];
      for (int i = 0; i < 2; i++) { u32 p = smem(sa + st * 64 * 40 + ((w >> 1) * 32 + i * 16 + (l & 15)) * 40 + kk + (l >> 4) * 8);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(a[i][0]), "=r"(a[i][1]), "=r"(a[i][2]), "=r"(a[i][3]) : "r"(p) : "memory"); }
      for (int j = 0; j < 2; j++) { u32 p = smem(sb + st * 32 * 72 + (kk + (l & 15)) * 72 + (w & 1) * 32 + j * 16 + (l >> 4) * 8);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(b[2*j][0]), "=r"(b[2*j][1]), "=r"(b[2*j+1][0]), "=r"(b[2*j+1][1]) : "r"(p) : "memory"); }
      for (int i = 0; i < 2; i++) for (int j = 0; j < 4; j++) MMA(acc[i][j], a[i], b[j], "m16n8k16.row.col.f32.f16.f16.f32"); }
    __syncthreads(); }
  for (int i = 0; i < 2; i++) for (int j = 0; j < 4; j++) for (int e = 0; e < 4; e++)
    C[(size_t)(m0 + (w >> 1) * 32 + i * 16 + (l >> 2) + 8 * (e >> 1)) * N + n0 + (w & 1) * 32 + j * 8 + (l & 3) * 2 + (e & 1)] = acc[i][j][e]; }
extern "C" __global__ void __launch_bounds__(128) gemm_f16(const unsigned short* A, const unsigned short* B, float* C, int M, int N, int K) { gemm<true, true>(A, B, C, M, N, K); }
extern "C" __global__ void __launch_bounds__(128) gemm_no_wait(const unsigned short* A, const unsigned short* B, float* C, int M, int N, int K) { gemm<false, true>(A, B, C, M, N, K); }
extern "C" __global__ void __launch_bounds__(128) gemm_no_barrier(const unsigned short* A, const unsigned short* B, float* C, int M, int N, int K) { gemm<true, false>(A, B, C, M, N, K); }
extern "C" __global__ void zero_fill(const float* x, float* o, int valid) {
  __shared__ __align__(16) float s[128]; int n = valid - (int)threadIdx.x * 4; n = n < 0 ? 0 : n > 4 ? 4 : n;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem(s + threadIdx.x * 4)), "l"(x + threadIdx.x * 4), "r"(n * 4) : "memory");
  asm volatile("cp.async.wait_all;" ::: "memory"); __syncthreads(); for (int i = 0; i < 4; i++) o[threadIdx.x + 32 * i] = s[threadIdx.x + 32 * i]; }
