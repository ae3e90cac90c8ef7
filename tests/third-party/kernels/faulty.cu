// Faulty kernels (FIX 0) and their corrected twins (FIX 1), sm_80.
typedef unsigned u32;
__device__ u32 smem(const void* p) { return (u32)__cvta_generic_to_shared(p); }
#define TWIN(name, params, args) extern "C" __global__ void name##_bad params { name<0> args; } extern "C" __global__ void name##_ok params { name<1> args; }
template <int FIX> __device__ void oob_global(int n, float* o) { int i = blockIdx.x * blockDim.x + threadIdx.x; if (FIX ? i < n : i <= n) o[i] = 1; }
TWIN(oob_global, (int n, float* o), (n, o))
template <int FIX> __device__ void oob_shared(int n, float* o) { extern __shared__ float s[]; s[threadIdx.x] = 2; __syncthreads(); o[threadIdx.x] = s[threadIdx.x + (FIX ? 0 : 1)]; }
TWIN(oob_shared, (int n, float* o), (n, o))
template <int FIX> __device__ void oob_wild(int n, float* o) { float* p = FIX ? o : (float*)((size_t)o * 3); p[threadIdx.x] = 1; }
TWIN(oob_wild, (int n, float* o), (n, o))
template <int FIX> __device__ void align_vec(int n, float* o) { *(float4*)(o + (FIX ? 4 : 2) * threadIdx.x) = make_float4(1, 2, 3, 4); }
TWIN(align_vec, (int n, float* o), (n, o))
template <int FIX> __device__ void align_shared(int n, float* o) { __shared__ __align__(16) char s[256]; *(volatile int*)(s + threadIdx.x * 4 + (FIX ? 0 : 2)) = 1; __syncthreads(); o[threadIdx.x] = 1; }
TWIN(align_shared, (int n, float* o), (n, o))
template <int FIX> __device__ void align_word(int n, float* o) { char* p = (char*)o + (FIX ? 0 : 1); *(volatile short*)(p + 2 * threadIdx.x) = 7; }
TWIN(align_word, (int n, float* o), (n, o))
template <int FIX> __device__ void uninit_shared(int n, float* o) { __shared__ float s[64]; if (FIX || threadIdx.x < 31) s[threadIdx.x] = 1; __syncthreads(); o[threadIdx.x] = s[threadIdx.x]; }
TWIN(uninit_shared, (int n, float* o), (n, o))
template <int FIX> __device__ void uninit_global(int n, float* o) { if (FIX) o[threadIdx.x] = 0; o[threadIdx.x] += 1; }
TWIN(uninit_global, (int n, float* o), (n, o))
template <int FIX> __device__ void uninit_atomic(int n, float* o) { if (FIX && threadIdx.x == 0) *(int*)o = 0; __syncthreads(); atomicAdd((int*)o, 1); }
TWIN(uninit_atomic, (int n, float* o), (n, o))
template <int FIX> __device__ void race_reverse(int n, float* o) { __shared__ float s[128]; s[threadIdx.x] = 0; __syncthreads(); s[threadIdx.x] = threadIdx.x; if (FIX) __syncthreads(); o[threadIdx.x] = s[127 - threadIdx.x]; }
TWIN(race_reverse, (int n, float* o), (n, o))
template <int FIX> __device__ void race_war(int n, float* o) { __shared__ float s[128]; float v = 0; for (int k = 0; k < 3; k++) { s[threadIdx.x] = k; __syncthreads(); v += s[127 - threadIdx.x]; if (FIX) __syncthreads(); } o[threadIdx.x] = v; }
TWIN(race_war, (int n, float* o), (n, o))
template <int FIX> __device__ void race_counter(int n, float* o) { __shared__ int c; if (threadIdx.x == 0) c = 0; __syncthreads(); if (FIX) atomicAdd(&c, 1); else *(volatile int*)&c = c + 1; __syncthreads(); o[threadIdx.x] = c; }
TWIN(race_counter, (int n, float* o), (n, o))
template <int FIX> __device__ void race_cpasync(int n, float* o) { __shared__ __align__(16) float s[128]; s[threadIdx.x] = 0; __syncthreads(); if (threadIdx.x < 32) asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(smem(s + 4 * threadIdx.x)), "l"(o + 4 * threadIdx.x) : "memory");
  if (FIX) asm volatile("cp.async.wait_all;" ::: "memory"); __syncthreads(); o[128 + threadIdx.x] = s[127 - threadIdx.x]; }
TWIN(race_cpasync, (int n, float* o), (n, o))
template <int FIX> __device__ void global_same(int n, float* o) { if (threadIdx.x == 0) o[FIX ? blockIdx.x : 0] = blockIdx.x; }
TWIN(global_same, (int n, float* o), (n, o))
template <int FIX> __device__ void global_sum(int n, float* o) { if (FIX) atomicAdd(o, 1.0f); else *o = *o + 1; }
TWIN(global_sum, (int n, float* o), (n, o))
template <int FIX> __device__ void global_stencil(int n, float* o) { int i = blockIdx.x * blockDim.x + threadIdx.x; float v = i + 1 < n ? o[i + 1] : 0; o[FIX ? n + i : i] = v; }
TWIN(global_stencil, (int n, float* o), (n, o))
template <int FIX> __device__ void diverge_half(int n, float* o) { if (FIX || threadIdx.x < 16) __syncthreads(); o[threadIdx.x] = 1; }
TWIN(diverge_half, (int n, float* o), (n, o))
template <int FIX> __device__ void diverge_count(int n, float* o) { if (FIX || threadIdx.x < 64) asm volatile("bar.sync 1, 128;" ::: "memory"); else asm volatile("bar.sync 1, 96;" ::: "memory"); o[threadIdx.x] = 1; }
TWIN(diverge_count, (int n, float* o), (n, o))
template <int FIX> __device__ void diverge_loop(int n, float* o) { int k = FIX ? 3 : (int)(threadIdx.x & 3); for (int i = 0; i <= k; i++) __syncthreads(); o[threadIdx.x] = 1; }
TWIN(diverge_loop, (int n, float* o), (n, o))
template <int FIX> __device__ void deadlock(int n, float* o) { if (FIX || threadIdx.x >= 32) asm volatile("barrier.sync 2, 128;" ::: "memory"); else asm volatile("barrier.sync 3, 128;" ::: "memory"); o[threadIdx.x] = 1; }
TWIN(deadlock, (int n, float* o), (n, o))
extern "C" __global__ void forever(int n, float* o) { volatile float* p = o; while (true) *p = *p + 1; }
extern "C" __global__ void spin_forever(int n, float* o) { while (*(volatile float*)o == 0) { } }
