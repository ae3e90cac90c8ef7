// Scalar arithmetic, conversions and bit operations: one thread an element.
#include <cuda_fp16.h>
#include <cuda_bf16.h>
typedef unsigned u32; typedef unsigned long long u64;
#define I int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return;

extern "C" __global__ void saxpy(int n, float a, const float* x, const float* y, float* o) { I o[i] = a * x[i] + y[i]; }
extern "C" __global__ void int_mix(int n, const int* x, const int* y, int* o) { I
  int a = x[i], b = y[i];
  o[i] = (a * b + (a / (b | 1)) - (a % (b | 1))) ^ (a << (b & 31)) ^ (a >> (b & 31)) ^ min(a, b) ^ max(a, b) ^ abs(a); }
extern "C" __global__ void uint64_mix(int n, const u64* x, const u64* y, u64* o) { I
  u64 a = x[i], b = y[i];
  o[i] = a * b + __umul64hi(a, b) + a / (b | 1) + a % (b | 1) + (a << (b & 63)) + (a >> (b & 63)) + ((long long)a >> (b & 63)); }
extern "C" __global__ void bits(int n, const u32* x, const u32* y, u32* o) { I
  u32 a = x[i], b = y[i];
  o[i] = __popc(a) + 33 * __clz(a) + 1000 * __ffs(b) + __brev(a) + __byte_perm(a, b, 0x5410 ^ (b & 0x7777)) + __funnelshift_l(a, b, b) + __funnelshift_r(a, b, a) + __umulhi(a, b) + __sad(a, b, 5) + __dp4a((int)a, (int)b, 7); }
extern "C" __global__ void bitfield(int n, const u32* x, const u32* y, u32* o) { I
  u32 a = x[i], b = y[i], r, s, t; u32 p = b & 31, l = (b >> 5) & 31;
  asm("bfe.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(p), "r"(l));
  asm("bfe.s32 %0, %1, %2, %3;" : "=r"(s) : "r"(a), "r"(p), "r"(l));
  asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(t) : "r"(a), "r"(b), "r"(p), "r"(l));
  o[i] = r ^ (s * 3) ^ (t * 5); }
extern "C" __global__ void carry(int n, const u64* x, const u64* y, u64* o) { I
  u64 lo, hi;
  asm("{ add.cc.u64 %0, %2, %3; addc.u64 %1, %2, %3; }" : "=l"(lo), "=l"(hi) : "l"(x[i]), "l"(y[i]));
  o[i] = lo ^ (hi * 7); }
extern "C" __global__ void fdiv_sqrt(int n, const float* x, const float* y, float* o) { I o[i] = x[i] / y[i] + sqrtf(y[i]) + 1.0f / y[i] + fmaf(x[i], y[i], 0.5f); }
extern "C" __global__ void rounding(int n, const float* x, const float* y, float* o) { I
  float a = x[i], b = y[i]; float* p = o + 8 * i;
  p[0] = __fadd_rz(a, b); p[1] = __fadd_ru(a, b); p[2] = __fmul_rd(a, b); p[3] = __fmul_ru(a, b);
  p[4] = __fdiv_rz(a, b); p[5] = __fsqrt_ru(b); p[6] = __fmaf_rd(a, b, 1e-9f); p[7] = __frcp_rd(b); }
extern "C" __global__ void doubles(int n, const double* x, const double* y, double* o) { I o[i] = x[i] * y[i] + x[i] / y[i] + sqrt(y[i]) + fma(x[i], y[i], 1.0) + fmin(x[i], y[i]) - floor(x[i]); }
extern "C" __global__ void math(int n, const float* x, float* o) { I
  float a = x[i]; o[6*i] = expf(a); o[6*i+1] = logf(fabsf(a) + 0.1f); o[6*i+2] = sinf(a); o[6*i+3] = tanhf(a); o[6*i+4] = __expf(a); o[6*i+5] = rsqrtf(fabsf(a) + 0.1f); }
extern "C" __global__ void convert(int n, const float* x, int* o) { I
  float a = x[i]; int* p = o + 10 * i;
  p[0] = (int)a; p[1] = (int)(u32)fabsf(a); p[2] = (int)(signed char)(int)a; p[3] = (int)(unsigned short)(int)a;
  p[4] = __float2int_rn(a); p[5] = __float2int_ru(a); p[6] = __float_as_int((float)(long long)(a * 1e6f));
  p[7] = __half_as_ushort(__float2half_rn(a)); p[8] = __float_as_int(__half2float(__float2half_rz(a))); p[9] = __float_as_int(__bfloat162float(__float2bfloat16(a))); }
extern "C" __global__ void halves(int n, const __half2* x, const __half2* y, __half2* o) { I o[i] = __hadd2(__hmul2(x[i], y[i]), __hfma2(x[i], x[i], y[i])); }
extern "C" __global__ void bhalves(int n, const __nv_bfloat162* x, const __nv_bfloat162* y, __nv_bfloat162* o) { I o[i] = __hfma2(x[i], y[i], __hmax2(x[i], y[i])); }
#if __CUDA_ARCH__ >= 890
extern "C" __global__ void fp8(int n, const float* x, u32* o) { I
  unsigned short e4, e5; u32 back;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(e4) : "f"(x[i]), "f"(-x[i]));
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(e5) : "f"(x[i]), "f"(-x[i]));
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(back) : "h"(e4));
  o[3*i] = e4; o[3*i+1] = e5; o[3*i+2] = back; }
#endif
extern "C" __global__ void setp_forms(int n, const float* x, const float* y, u32* o) { I
  u32 r = 0, t; float a = x[i], b = y[i];
#define C(k, op) asm("{ .reg .pred p; setp." op ".f32 p, %1, %2; selp.u32 %0, 1, 0, p; }" : "=r"(t) : "f"(a), "f"(b)); r |= t << k;
  C(0,"eq") C(1,"ne") C(2,"lt") C(3,"le") C(4,"gt") C(5,"ge") C(6,"equ") C(7,"neu") C(8,"ltu") C(9,"leu") C(10,"gtu") C(11,"geu") C(12,"num") C(13,"nan")
  o[i] = r; }
