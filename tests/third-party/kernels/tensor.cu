// Tensor-core instructions on tiles that the test lays out, behind sm90.cuh.
// wgmma m64n16: A and B are raw bytes of shared memory, the descriptors' upper parts come from the test; each thread stores its registers.
template <class F> __device__ void tiles(const u32* a, u32 na, const u32* b, u32 nb, u64 da, u64 db, F f) {
  extern __shared__ __align__(1024) char s[]; u32* sa = (u32*)s; u32* sb = (u32*)(s + 32768);
  for (u32 i = threadIdx.x; i < na / 4; i += 128) sa[i] = a[i]; for (u32 i = threadIdx.x; i < nb / 4; i += 128) sb[i] = b[i];
  proxy(); __syncthreads(); asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  f((u64)((smem(sa) & 0x3ffff) >> 4) | da, (u64)((smem(sb) & 0x3ffff) >> 4) | db); }
#define DONE asm volatile("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;" ::: "memory");
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(128) name(const u32* a, u32 na, const u32* b, u32 nb, u64 da, u64 db, u32 keep, u32* o)
// D starts as 1 and is kept or not.
#define WG32(name, text, tail, one, c, T) KERNEL(name) { T d[8]; for (int i = 0; i < 8; i++) d[i] = one; tiles(a, na, b, nb, da, db, [&](u64 x, u64 y) { \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %10, 0; wgmma.mma_async.sync.aligned." text " {%0,%1,%2,%3,%4,%5,%6,%7}, %8, %9, p" tail "; }" : c(d[0]), c(d[1]), c(d[2]), c(d[3]), c(d[4]), c(d[5]), c(d[6]), c(d[7]) : "l"(x), "l"(y), "r"(keep)); DONE }); \
  for (int i = 0; i < 8; i++) o[threadIdx.x * 8 + i] = *(u32*)&d[i]; }
#define F(name, text, tail) WG32(name, text, tail, 1.0f, "+f", float)
F(wg_f16, "m64n16k16.f32.f16.f16", ",1,1,0,0") F(wg_f16_ta, "m64n16k16.f32.f16.f16", ",1,1,1,0") F(wg_f16_tb, "m64n16k16.f32.f16.f16", ",1,1,0,1") F(wg_f16_tab, "m64n16k16.f32.f16.f16", ",1,1,1,1") F(wg_f16_neg, "m64n16k16.f32.f16.f16", ",-1,1,0,0") F(wg_f16_negb, "m64n16k16.f32.f16.f16", ",1,-1,0,0")
F(wg_bf16, "m64n16k16.f32.bf16.bf16", ",1,1,0,0") F(wg_bf16_tab, "m64n16k16.f32.bf16.bf16", ",1,1,1,1") F(wg_tf32, "m64n16k8.f32.tf32.tf32", ",1,1") F(wg_e4m3, "m64n16k32.f32.e4m3.e4m3", ",1,1") F(wg_e4m3_e5m2, "m64n16k32.f32.e4m3.e5m2", ",1,1") F(wg_e5m2, "m64n16k32.f32.e5m2.e5m2", ",1,1")
WG32(wg_s8, "m64n16k32.s32.s8.s8", "", 1, "+r", int) WG32(wg_u8_s8, "m64n16k32.s32.u8.s8", "", 1, "+r", int) WG32(wg_s8_sat, "m64n16k32.s32.s8.u8.satfinite", "", 0x7fffff00, "+r", int)
KERNEL(wg_f16_acc) { u32 d[4]; for (int i = 0; i < 4; i++) d[i] = 0x3c003c00; tiles(a, na, b, nb, da, db, [&](u64 x, u64 y) {
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %6, 0; wgmma.mma_async.sync.aligned.m64n16k16.f16.f16.f16 {%0,%1,%2,%3}, %4, %5, p, 1, 1, 0, 0; }" : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "l"(x), "l"(y), "r"(keep)); DONE });
  for (int i = 0; i < 4; i++) o[threadIdx.x * 4 + i] = d[i]; }
// A in registers: the fragment of the 16 rows of each warp, from global memory, 4 words a thread.
#define REGS(name, text, tail, one, c, T) KERNEL(name) { T d[8]; for (int i = 0; i < 8; i++) d[i] = one; u32 r[4]; for (int i = 0; i < 4; i++) r[i] = a[threadIdx.x * 4 + i]; tiles(a, 0, b, nb, 0, db, [&](u64 x, u64 y) { \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %13, 0; wgmma.mma_async.sync.aligned." text " {%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11}, %12, p" tail "; }" : c(d[0]), c(d[1]), c(d[2]), c(d[3]), c(d[4]), c(d[5]), c(d[6]), c(d[7]) : "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]), "l"(y), "r"(keep)); DONE }); \
  for (int i = 0; i < 8; i++) o[threadIdx.x * 8 + i] = *(u32*)&d[i]; }
REGS(wg_f16_regs, "m64n16k16.f32.f16.f16", ",1,1,0", 1.0f, "+f", float) REGS(wg_tf32_regs, "m64n16k8.f32.tf32.tf32", ",1,1", 1.0f, "+f", float) REGS(wg_s8_regs, "m64n16k32.s32.s8.s8", "", 1, "+r", int)

// mma.sync on fragments that the test lays out: na, nb, nc registers a thread; d has as many as c.
#define R1(p) "r"(p[0])
#define R2(p) "r"(p[0]), "r"(p[1])
#define R4(p) "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3])
#define MMA_(name, A, B, C, text, ra, rb, rc) extern "C" __global__ void name(const u32* pa, const u32* pb, const u32* pc, u32* o) { u32 a[A], b[B], c[C], d[C]; \
  for (int i = 0; i < A; i++) a[i] = pa[threadIdx.x * A + i]; for (int i = 0; i < B; i++) b[i] = pb[threadIdx.x * B + i]; for (int i = 0; i < C; i++) c[i] = pc[threadIdx.x * C + i]; text; for (int i = 0; i < C; i++) o[threadIdx.x * C + i] = d[i]; }
#define M412(name, shape) MMA_(name, 4, 2, 4, asm volatile("mma.sync.aligned." shape " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};" : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : R4(a), R2(b), R4(c)),,,)
#define M214(name, shape) MMA_(name, 2, 1, 4, asm volatile("mma.sync.aligned." shape " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};" : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : R2(a), R1(b), R4(c)),,,)
#define M112(name, shape) MMA_(name, 1, 1, 2, asm volatile("mma.sync.aligned." shape " {%0,%1}, {%2}, {%3}, {%4,%5};" : "=r"(d[0]), "=r"(d[1]) : R1(a), R1(b), R2(c)),,,)
M412(mma_s8_32, "m16n8k32.row.col.s32.s8.s8.s32") M412(mma_u8_s8_sat, "m16n8k32.row.col.satfinite.s32.u8.s8.s32") M214(mma_s8_16, "m16n8k16.row.col.s32.s8.u8.s32") M112(mma_s8_8, "m8n8k16.row.col.s32.s8.s8.s32")
M412(mma_s4_64, "m16n8k64.row.col.s32.s4.s4.s32") M214(mma_u4_32, "m16n8k32.row.col.s32.u4.s4.s32") M112(mma_s4_8, "m8n8k32.row.col.s32.s4.u4.s32")
M412(mma_b1_xor, "m16n8k256.row.col.s32.b1.b1.s32.xor.popc") M412(mma_b1_and, "m16n8k256.row.col.s32.b1.b1.s32.and.popc") M214(mma_b1_128, "m16n8k128.row.col.s32.b1.b1.s32.xor.popc") M112(mma_b1_8, "m8n8k128.row.col.s32.b1.b1.s32.and.popc")
M412(mma_e4m3, "m16n8k32.row.col.f32.e4m3.e5m2.f32") M214(mma_f16_8, "m16n8k8.row.col.f32.f16.f16.f32") M214(mma_bf16_8, "m16n8k8.row.col.f32.bf16.bf16.f32") M214(mma_tf32_4, "m16n8k4.row.col.f32.tf32.tf32.f32")
MMA_(mma_f16_f16, 4, 2, 2, asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%8,%9};" : "=r"(d[0]), "=r"(d[1]) : R4(a), R2(b), R2(c)),,,)
// f64: registers of 64 bits.
extern "C" __global__ void mma_f64(const double* a, const double* b, const double* c, double* o, int k) { int t = threadIdx.x; double d[4]; 
  #define D4 "=d"(d[0]), "=d"(d[1]), "=d"(d[2]), "=d"(d[3])
  #define C4 "d"(c[t * 4]), "d"(c[t * 4 + 1]), "d"(c[t * 4 + 2]), "d"(c[t * 4 + 3])
  if (k == 4) asm volatile("mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};" : D4 : "d"(a[t * 2]), "d"(a[t * 2 + 1]), "d"(b[t]), C4);
  if (k == 8) asm volatile("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};" : D4 : "d"(a[t * 4]), "d"(a[t * 4 + 1]), "d"(a[t * 4 + 2]), "d"(a[t * 4 + 3]), "d"(b[t * 2]), "d"(b[t * 2 + 1]), C4);
  if (k == 16) asm volatile("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%5,%6,%7,%8,%9,%10,%11}, {%12,%13,%14,%15}, {%16,%17,%18,%19};" : D4 : "d"(a[t * 8]), "d"(a[t * 8 + 1]), "d"(a[t * 8 + 2]), "d"(a[t * 8 + 3]), "d"(a[t * 8 + 4]), "d"(a[t * 8 + 5]), "d"(a[t * 8 + 6]), "d"(a[t * 8 + 7]), "d"(b[t * 4]), "d"(b[t * 4 + 1]), "d"(b[t * 4 + 2]), "d"(b[t * 4 + 3]), C4);
  for (int i = 0; i < 4; i++) o[t * 4 + i] = d[i]; }
// stmatrix: four matrices of 8x8, whose element is its own number in the layout of the fragment.
extern "C" __global__ void stmat4(u16* o, int trans, int many) { __shared__ __align__(16) u16 s[256]; u32 r[4], t = threadIdx.x; for (int i = t; i < 256; i += 32) s[i] = 0;
  for (int m = 0; m < 4; m++) r[m] = (m * 64 + 2 * t) | (m * 64 + 2 * t + 1) << 16; u32 at = smem(s + t * 8); __syncwarp();
  if (many == 4) { if (trans) asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at), R4(r) : "memory"); else asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at), R4(r) : "memory"); }
  else { if (trans) asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1,%2};" ::"r"(at), R2(r) : "memory"); else asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1,%2};" ::"r"(at), R2(r) : "memory"); }
  __syncwarp(); for (int i = t; i < 256; i += 32) o[i] = s[i]; }
extern "C" __global__ void movmat(u32* o) { u32 v = 2 * threadIdx.x | (2 * threadIdx.x + 1) << 16, r; asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v)); o[threadIdx.x] = r; }
