// Memory spaces, atomics, exchanges, control flow, calls.
#include <cuda_fp16.h>
typedef unsigned u32; typedef unsigned long long u64;
#define I int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return;
__constant__ float table[8] = {1, 2, 4, 8, 16, 32, 64, 128};
__device__ int counter = 5;
__device__ int arr[4] = {10, 20, 30, 40};
__device__ int* parr = &arr[2];

extern "C" __global__ void constants(int n, int* o) { I o[i] = (int)table[i & 7] + *parr + arr[i & 3] + counter; }
extern "C" __global__ void vectors(int n, const float4* x, float4* o) { I float4 v = x[i]; o[i] = make_float4(v.w, v.z, v.y, v.x); }
extern "C" __global__ void bytes(int n, const unsigned char* x, signed char* o) { I o[i] = (signed char)(x[i] - 200); }
extern "C" __global__ void shorts(int n, const short* x, short* o) { I o[i] = x[n - 1 - i] / 2; }
extern "C" __global__ void transpose(int n, const float* x, float* o) {
  __shared__ float t[32][33];
  for (int k = 0; k < 32; k += 8) t[threadIdx.y + k][threadIdx.x] = x[(blockIdx.y * 32 + threadIdx.y + k) * n + blockIdx.x * 32 + threadIdx.x];
  __syncthreads();
  for (int k = 0; k < 32; k += 8) o[(blockIdx.x * 32 + threadIdx.y + k) * n + blockIdx.y * 32 + threadIdx.x] = t[threadIdx.x][threadIdx.y + k]; }
extern "C" __global__ void local_array(int n, const int* x, int* o) { I
  int a[16]; for (int k = 0; k < 16; k++) a[(k * 7 + x[i]) & 15] = k; int s = 0; for (int k = 0; k < 16; k++) s = s * 3 + a[(x[i] + k) & 15]; o[i] = s; }
extern "C" __global__ void histogram(int n, const u32* x, u32* o) {
  __shared__ u32 h[64]; if (threadIdx.x < 64) h[threadIdx.x] = 0; __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&h[x[i] & 63], 1u);
  __syncthreads(); if (threadIdx.x < 64) atomicAdd(&o[threadIdx.x], h[threadIdx.x]); }
extern "C" __global__ void atomics(int n, const int* x, int* o, float* f, u64* w, __half2* hh) { I
  atomicMin(&o[0], x[i]); atomicMax(&o[1], x[i]); atomicAnd(&o[2], x[i]); atomicOr(&o[3], x[i]); atomicXor(&o[4], x[i]);
  atomicInc((u32*)&o[5], 100u); atomicCAS(&o[6], 0, 1); atomicAdd(f, 1.0f); atomicAdd(w, (u64)1 << 33); atomicMax((long long*)w + 1, (long long)x[i]);
  atomicAdd(hh, __floats2half2_rn(1.f, 2.f)); }
extern "C" __global__ void spinlock(int* lock, int* value) {
  bool done = false;
  while (!done) { if (atomicCAS(lock, 0, 1) == 0) { int v = *(volatile int*)value; *(volatile int*)value = v + 1; __threadfence(); atomicExch(lock, 0); done = true; } } }
extern "C" __global__ void spin_while(int* lock, int* value) {
  while (atomicCAS(lock, 0, 1) != 0) { }
  int v = *(volatile int*)value; *(volatile int*)value = v + 1; __threadfence(); atomicExch(lock, 0); }
extern "C" __global__ void last_block(int n, const float* x, float* part, u32* ticket, float* o) {
  __shared__ float s[256]; __shared__ bool last;
  float v = 0; for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) v += x[i];
  s[threadIdx.x] = v; __syncthreads();
  for (int k = 128; k; k >>= 1) { if (threadIdx.x < k) s[threadIdx.x] += s[threadIdx.x + k]; __syncthreads(); }
  if (threadIdx.x == 0) { part[blockIdx.x] = s[0]; __threadfence(); last = atomicAdd(ticket, 1) == gridDim.x - 1; }
  __syncthreads();
  if (last && threadIdx.x == 0) { __threadfence(); float t = 0; for (int i = 0; i < gridDim.x; i++) t += part[i]; *o = t; } }
extern "C" __global__ void shuffles(int n, const int* x, int* o) { I
  int v = x[i], l = threadIdx.x & 31; int* p = o + 8 * i;
  p[0] = __shfl_sync(~0u, v, (l * 5 + 3) & 31); p[1] = __shfl_up_sync(~0u, v, 3); p[2] = __shfl_down_sync(~0u, v, 5); p[3] = __shfl_xor_sync(~0u, v, 9);
  p[4] = __shfl_sync(~0u, v, l + 1, 8); p[5] = __ballot_sync(~0u, v & 1); p[6] = __any_sync(~0u, v > 90) * 2 + __all_sync(~0u, v >= 0); p[7] = __match_any_sync(~0u, v & 3); }
extern "C" __global__ void redux(int n, const int* x, int* o) { I o[4*i] = __reduce_add_sync(~0u, x[i]); o[4*i+1] = __reduce_max_sync(~0u, x[i]); o[4*i+2] = __reduce_xor_sync(~0u, (u32)x[i]); o[4*i+3] = __reduce_min_sync(~0u, x[i]); }
extern "C" __global__ void divergent(int n, const int* x, int* o) { I
  int v = x[i], c = 0; while (v != 1 && c < 200) { if (v & 1) v = 3 * v + 1; else v >>= 1; c++; }
  if (c & 1) { c = __popc(__activemask()) > 0 ? c : -1; } o[i] = c; }
extern "C" __global__ void halfwarps(int n, const int* x, int* o) { I
  int l = threadIdx.x & 31, v = x[i];
  if (l < 16) { for (int k = 8; k; k >>= 1) v += __shfl_xor_sync(0xffffu, v, k); } else { for (int k = 8; k; k >>= 1) v = max(v, __shfl_xor_sync(0xffff0000u, v, k)); }
  __syncwarp(); o[i] = v; }
extern "C" __global__ void switches(int n, const int* x, int* o) { I
  int r; switch (x[i] & 15) { case 0: r = x[i] * 3; break; case 1: r = x[i] + 77; break; case 2: r = -x[i]; break; case 3: r = x[i] / 3; break; case 4: r = x[i] % 7; break; case 5: r = 55; break; case 6: r = x[i] ^ 31; break; case 7: r = x[i] << 2; break; case 8: r = __popc(x[i]); break; default: r = 1000 + x[i]; } o[i] = r; }
__device__ __noinline__ int fib(int k) { return k < 2 ? k : fib(k - 1) + fib(k - 2); }
extern "C" __global__ void recursion(int n, const int* x, int* o) { I o[i] = fib(x[i] % 9); }
struct V { double a; int b; float c; };
__device__ __noinline__ V structs(V v, int k) { v.a += k; v.b *= k; v.c = v.a + v.b; return v; }
extern "C" __global__ void struct_call(int n, V p, const int* x, double* o) { I V r = structs(p, x[i]); o[i] = r.a + r.b + r.c; }
typedef int (*fn)(int);
__device__ __noinline__ int f0(int x) { return x + 1; }
__device__ __noinline__ int f1(int x) { return x * 2; }
__device__ fn fns[2] = {f0, f1};
extern "C" __global__ void pointers(int n, int which, const int* x, int* o) { I o[i] = fns[which](x[i]); }
extern "C" __global__ void block_reduce(int n, const float* x, float* o) {
  __shared__ float s[32]; float v = 0; for (int i = threadIdx.x; i < n; i += blockDim.x) v += x[blockIdx.x * n + i];
  for (int k = 16; k; k >>= 1) v += __shfl_down_sync(~0u, v, k);
  if ((threadIdx.x & 31) == 0) s[threadIdx.x >> 5] = v; __syncthreads();
  if (threadIdx.x < 32) { v = threadIdx.x < blockDim.x / 32 ? s[threadIdx.x] : 0; for (int k = 16; k; k >>= 1) v += __shfl_down_sync(~0u, v, k); if (threadIdx.x == 0) o[blockIdx.x] = v; } }
extern "C" __global__ void named(int* o) {
  __shared__ int s[64]; int t = threadIdx.x;
  if (t < 64) { s[t] = t * 3; asm volatile("bar.arrive 1, 128;" ::: "memory"); }
  else { asm volatile("bar.sync 1, 128;" ::: "memory"); o[t - 64] = s[t - 64]; } }
extern "C" __global__ void votes(int n, const int* x, int* o) { int i = threadIdx.x; o[i] = __syncthreads_count(x[i] > 5) * 4 + __syncthreads_and(x[i] >= 0) * 2 + __syncthreads_or(x[i] == 7); }
extern "C" __global__ void prints(int n) { if (threadIdx.x == 1) printf("n=%d f=%.2f %s\n", n, 1.5, "hi"); }
extern "C" __global__ void asserts(int n) { assert(n == 3); }
extern "C" __global__ void softmax(int n, const float* x, float* o) {
  __shared__ float s[32]; const float* r = x + (size_t)blockIdx.x * n; float m = -1e38f;
  for (int i = threadIdx.x; i < n; i += blockDim.x) m = fmaxf(m, r[i]);
  for (int k = 16; k; k >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, k));
  if ((threadIdx.x & 31) == 0) s[threadIdx.x >> 5] = m; __syncthreads();
  m = s[threadIdx.x & (blockDim.x / 32 - 1)]; for (int k = 16; k; k >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, k)); __syncthreads();
  float t = 0; for (int i = threadIdx.x; i < n; i += blockDim.x) t += __expf(r[i] - m);
  for (int k = 16; k; k >>= 1) t += __shfl_xor_sync(~0u, t, k);
  if ((threadIdx.x & 31) == 0) s[threadIdx.x >> 5] = t; __syncthreads();
  t = 0; for (int k = 0; k < blockDim.x / 32; k++) t += s[k];
  for (int i = threadIdx.x; i < n; i += blockDim.x) o[(size_t)blockIdx.x * n + i] = __expf(r[i] - m) / t; }
