// One instruction a kernel, one thread an element: o = f(x, y). Built for sm_90a.
typedef unsigned u32; typedef unsigned long long u64; typedef unsigned short u16;
#define I int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return;
#define OP2(name, text) extern "C" __global__ void name(int n, const u32* x, const u32* y, u32* o) { I u32 r; asm volatile("{ .reg .pred p; .reg .b16 h, g; .reg .f32 f; .reg .b64 w; " text " }" : "=r"(r) : "r"(x[i]), "r"(y[i])); o[i] = r; }
#define OP1W(name, text) extern "C" __global__ void name(int n, const u64* x, const u64* y, u32* o) { I u32 r; asm volatile("{ .reg .pred p; .reg .b16 h, g; " text " }" : "=r"(r) : "l"(x[i]), "l"(y[i])); o[i] = r; }
// Integers.
OP2(prmt_f4e, "prmt.b32.f4e %0, %1, %2, %2;") OP2(prmt_b4e, "prmt.b32.b4e %0, %1, %2, %2;") OP2(prmt_rc8, "prmt.b32.rc8 %0, %1, %2, %2;")
OP2(prmt_ecl, "prmt.b32.ecl %0, %1, %2, %2;") OP2(prmt_ecr, "prmt.b32.ecr %0, %1, %2, %2;") OP2(prmt_rc16, "prmt.b32.rc16 %0, %1, %2, %2;") OP2(prmt_sign, "prmt.b32 %0, %1, %2, 0xfa3b;")
OP2(lop3_1b, "lop3.b32 %0, %1, %2, 0x0f0f3355, 0x1b;") OP2(lop3_e8, "lop3.b32 %0, %1, %2, 0x12345678, 0xe8;") OP2(lop3_pred, "setp.ne.u32 p, %2, 0; lop3.or.b32 %0|p, %1, %2, 0xff, 0x80, p; @p add.u32 %0, %0, 1;")
OP2(dp4a_us, "dp4a.u32.s32 %0, %1, %2, 100;") OP2(dp4a_uu, "dp4a.u32.u32 %0, %1, %2, %1;") OP2(dp2a_lo, "dp2a.lo.s32.s32 %0, %1, %2, 5;") OP2(dp2a_hi, "dp2a.hi.u32.s32 %0, %1, %2, 5;")
OP2(mul24_lo, "mul24.lo.s32 %0, %1, %2;") OP2(mul24_hi, "mul24.hi.u32 %0, %1, %2;") OP2(mad24, "mad24.lo.u32 %0, %1, %2, 7;") OP2(sad_u, "sad.u32 %0, %1, %2, 9;")
OP2(add_sat, "add.sat.s32 %0, %1, %2;") OP2(sub_sat, "sub.sat.s32 %0, %1, %2;") OP2(mad_hi_sat, "mad.hi.sat.s32 %0, %1, %2, %1;") OP2(mul_hi_s, "mul.hi.s32 %0, %1, %2;")
OP2(bmsk_wrap, "bmsk.wrap.b32 %0, %1, %2;") OP2(bmsk_clamp, "bmsk.clamp.b32 %0, %1, %2;") OP2(szext_s, "szext.wrap.s32 %0, %1, %2;") OP2(szext_u, "szext.clamp.u32 %0, %1, %2;")
OP2(shf_l_clamp, "shf.l.clamp.b32 %0, %1, %2, %2;") OP2(shf_r_wrap, "shf.r.wrap.b32 %0, %1, %2, %1;") OP2(cnot, "cnot.b32 %0, %1;") OP2(bfind_s, "bfind.s32 %0, %1;") OP2(bfind_shift, "bfind.shiftamt.u32 %0, %1;")
OP2(fns, "and.b32 %0, %2, 31; fns.b32 %0, %1, %0, 2;") OP2(slct, "slct.u32.s32 %0, %1, %2, %2;") OP2(min_relu, "min.relu.s32 %0, %1, %2;") OP2(max_s16x2, "max.s16x2 %0, %1, %2;") OP2(add_u16x2, "add.u16x2 %0, %1, %2;")
OP2(set_u32, "set.lt.u32.s32 %0, %1, %2;") OP2(set_f32, "set.ge.f32.u32 f, %1, %2; mov.b32 %0, f;") OP2(setp_and, "setp.eq.u32 p, %1, %2; setp.lt.and.s32 p, %1, %2, !p; selp.u32 %0, 1, 2, p;") OP2(mad_cc, "mad.lo.cc.u32 %0, %1, %2, %1; madc.hi.u32 %0, %1, %2, %0;")
OP1W(popc64, "popc.b64 %0, %1;") OP1W(clz64, "clz.b64 %0, %1;") OP1W(bfind64, "bfind.s64 %0, %1;") OP1W(bfe64, "{ .reg .b64 q; bfe.s64 q, %1, 13, 40; cvt.u32.u64 %0, q; }") OP1W(bfi64, "{ .reg .b64 q; bfi.b64 q, %1, %2, 20, 30; shr.u64 q, q, 16; cvt.u32.u64 %0, q; }")
// Conversions.
OP2(f32_s32_rni, "cvt.rni.s32.f32 %0, %1;") OP2(f32_s32_rzi, "cvt.rzi.s32.f32 %0, %1;") OP2(f32_s32_rmi, "cvt.rmi.s32.f32 %0, %1;") OP2(f32_s32_rpi, "cvt.rpi.s32.f32 %0, %1;") OP2(f32_u32_rzi, "cvt.rzi.u32.f32 %0, %1;")
OP2(f32_u8_sat, "cvt.rni.sat.u8.f32 %0, %1;") OP2(f32_f32_rni, "cvt.rni.f32.f32 %0, %1;") OP2(f32_f32_rpi_ftz, "cvt.rpi.ftz.f32.f32 %0, %1;") OP2(f32_f32_sat, "cvt.sat.f32.f32 %0, %1;")
OP2(s32_f32_rz, "cvt.rz.f32.s32 %0, %1;") OP2(s32_f32_rm, "cvt.rm.f32.s32 %0, %1;") OP2(s32_f32_rp, "cvt.rp.f32.s32 %0, %1;") OP2(u32_f32_rn, "cvt.rn.f32.u32 %0, %1;") OP2(s32_s8_sat, "cvt.sat.s8.s32 %0, %1;") OP2(s32_u16_sat, "cvt.sat.u16.s32 %0, %1;") OP2(u32_s8, "cvt.s32.s8 %0, %1;")
OP2(f32_f16_rz, "cvt.rz.f16.f32 h, %1; mov.b32 %0, {h, h};") OP2(f32_f16_rm, "cvt.rm.f16.f32 h, %1; mov.b32 %0, {h, h};") OP2(f32_f16_rp, "cvt.rp.f16.f32 h, %1; mov.b32 %0, {h, h};") OP2(f32_f16_sat, "cvt.rn.sat.f16.f32 h, %1; mov.b32 %0, {h, h};")
OP2(f32_bf16_rn, "cvt.rn.bf16.f32 h, %1; mov.b32 %0, {h, h};") OP2(f32_bf16_rz, "cvt.rz.bf16.f32 h, %1; mov.b32 %0, {h, h};") OP2(f32_bf16_relu, "cvt.rn.relu.bf16.f32 h, %1; mov.b32 %0, {h, h};") OP2(f32_tf32, "cvt.rna.tf32.f32 %0, %1;")
OP2(f32_f16x2, "cvt.rn.f16x2.f32 %0, %1, %2;") OP2(f32_f16x2_relu, "cvt.rz.relu.f16x2.f32 %0, %1, %2;") OP2(f32_bf16x2, "cvt.rn.bf16x2.f32 %0, %1, %2;") OP2(f32_e4m3, "cvt.rn.satfinite.e4m3x2.f32 h, %1, %2; mov.b32 %0, {h, h};") OP2(f32_e5m2_relu, "cvt.rn.satfinite.relu.e5m2x2.f32 h, %1, %2; mov.b32 %0, {h, h};")
OP2(f16x2_e4m3, "cvt.rn.satfinite.e4m3x2.f16x2 h, %1; mov.b32 %0, {h, h};") OP2(f16x2_e5m2, "cvt.rn.satfinite.e5m2x2.f16x2 h, %1; mov.b32 %0, {h, h};") OP2(e4m3_f16x2, "mov.b32 {h, g}, %1; cvt.rn.f16x2.e4m3x2 %0, h;") OP2(e5m2_f16x2, "mov.b32 {h, g}, %1; cvt.rn.f16x2.e5m2x2 %0, h;")
OP1W(f64_f32_rn, "cvt.rn.f32.f64 %0, %1;") OP1W(f64_f32_rz, "cvt.rz.f32.f64 %0, %1;") OP1W(f64_f32_rm, "cvt.rm.f32.f64 %0, %1;") OP1W(f64_f32_rp, "cvt.rp.f32.f64 %0, %1;") OP1W(f64_s32, "cvt.rmi.s32.f64 %0, %1;") OP1W(u64_f32, "cvt.rn.f32.u64 %0, %1;") OP1W(s64_f32_rz, "cvt.rz.f32.s64 %0, %1;")
// f32 and f64 arithmetic of the seldom kind.
OP2(fadd_sat, "add.sat.f32 %0, %1, %2;") OP2(fmul_ftz, "mul.ftz.f32 %0, %1, %2;") OP2(fmin_nan, "min.NaN.f32 %0, %1, %2;") OP2(fmax_xor, "max.xorsign.abs.f32 %0, %1, %2;") OP2(fma_rz, "fma.rz.f32 %0, %1, %2, %1;") OP2(fcopysign, "copysign.f32 %0, %1, %2;") OP2(ftestp, "testp.subnormal.f32 p, %1; selp.u32 %0, 1, 0, p;") OP2(fsub_rp, "sub.rp.f32 %0, %1, %2;")
// 16-bit floats.
OP2(hadd, "add.f16x2 %0, %1, %2;") OP2(hsub, "sub.f16x2 %0, %1, %2;") OP2(hmul, "mul.f16x2 %0, %1, %2;") OP2(hmul_sat, "mul.sat.f16x2 %0, %1, %2;") OP2(hfma, "fma.rn.f16x2 %0, %1, %2, %1;") OP2(hfma_relu, "fma.rn.relu.f16x2 %0, %1, %2, %1;") OP2(hmin, "min.f16x2 %0, %1, %2;") OP2(hmax_nan, "max.NaN.f16x2 %0, %1, %2;") OP2(hneg, "neg.f16x2 %0, %1;") OP2(habs, "abs.f16x2 %0, %1;")
OP2(badd, "add.bf16x2 %0, %1, %2;") OP2(bsub, "sub.bf16x2 %0, %1, %2;") OP2(bmul, "mul.bf16x2 %0, %1, %2;") OP2(bfma, "fma.rn.bf16x2 %0, %1, %2, %1;") OP2(bfma_relu, "fma.rn.relu.bf16x2 %0, %1, %2, %1;") OP2(bmin, "min.bf16x2 %0, %1, %2;") OP2(bmax, "max.bf16x2 %0, %1, %2;") OP2(bneg, "neg.bf16x2 %0, %1;") OP2(hex2, "ex2.approx.f16x2 %0, %1;") OP2(htanh, "tanh.approx.f16x2 %0, %1;") OP2(bex2, "ex2.approx.ftz.bf16x2 %0, %1;")
// Between the lanes of a warp.
OP2(vote_uni, "setp.lt.u32 p, %1, 0x80000000; vote.sync.uni.pred p, p, -1; selp.u32 %0, 1, 0, p;") OP2(vote_all_not, "setp.eq.u32 p, %1, %2; vote.sync.all.pred p, !p, -1; selp.u32 %0, 1, 0, p;") OP2(match_all, "{ .reg .b32 m; and.b32 m, %1, 0; match.all.sync.b32 %0|p, m, -1; @!p mov.u32 %0, 7; }") OP2(match_any, "{ .reg .b32 m; and.b32 m, %1, 3; match.any.sync.b32 %0, m, -1; }")
OP2(redux_and, "redux.sync.and.b32 %0, %1, -1;") OP2(redux_or, "redux.sync.or.b32 %0, %1, -1;") OP2(redux_umax, "redux.sync.max.u32 %0, %1, -1;") OP2(redux_smin, "redux.sync.min.s32 %0, %1, -1;") OP2(active, "{ .reg .b32 t; mov.u32 t, %%tid.x; and.b32 t, t, 1; setp.eq.u32 p, t, 0; mov.u32 %0, 0; @p activemask.b32 %0; }") OP2(sleepy, "nanosleep.u32 20; mov.u32 %0, %1;")
OP2(lanes, "{ .reg .b32 a, b; mov.u32 a, %%lanemask_lt; mov.u32 b, %%lanemask_ge; xor.b32 %0, a, b; mov.u32 a, %%laneid; add.u32 %0, %0, a; }")
// Loads and stores with cache operators, two and four at a time.
extern "C" __global__ void cached(int n, const u32* x, const u32* y, u32* o) { I u32 a, b, c, d, e; u64 p, q;
  asm volatile("ld.global.ca.u32 %0, [%1];" : "=r"(a) : "l"(x + i)); asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(b) : "l"(x + i)); asm volatile("ld.global.cs.u32 %0, [%1];" : "=r"(c) : "l"(x + i));
  asm volatile("ld.global.lu.u32 %0, [%1];" : "=r"(d) : "l"(x + i)); asm volatile("ld.global.cv.u32 %0, [%1];" : "=r"(e) : "l"(x + i)); asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.b64 {%0, %1}, [%2];" : "=l"(p), "=l"(q) : "l"(y + (i & ~3)));
  u32 s = a + b + c + d + e + (u32)(p >> 32) + (u32)q; if (i & 1) asm volatile("st.global.wb.u32 [%0], %1;" ::"l"(o + i), "r"(s) : "memory"); else asm volatile("st.global.wt.u32 [%0], %1;" ::"l"(o + i), "r"(s) : "memory");
  asm volatile("prefetch.global.L2 [%0];" ::"l"(x + i)); asm volatile("{ .reg .b64 c; createpolicy.fractional.L2::evict_last.b64 c, 1.0; ld.global.L2::cache_hint.v4.b32 {%0, %1, %2, %3}, [%4], c; }" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "l"(x + (i & ~3)));
  if ((a ^ b ^ c ^ d) == 0x5eed5eed) o[i] = 0; }
