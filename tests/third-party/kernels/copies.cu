// Asynchronous copies and cluster instructions of every form, behind sm90.cuh.
#define RANK u32 rank, ranks; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank)); asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(ranks));
#define CLUSTER asm volatile("barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" ::: "memory");
__device__ u32 at_rank(const void* p, u32 r) { u32 a; asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(a) : "r"(smem(p)), "r"(r)); return a; }
// st.async to the next CTA: one, two and four words.
extern "C" __global__ void __cluster_dims__(2, 1, 1) st_async(u32* o) { __shared__ __align__(16) u32 s[224]; __shared__ u64 bar; RANK u32 t = threadIdx.x, next = rank ^ 1;
  if (t == 0) { init(&bar, 1); fence_init(); expect(&bar, 4 * 224); } CLUSTER
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];" ::"r"(at_rank(s + t, next)), "r"(rank * 1000 + t), "r"(at_rank(&bar, next)) : "memory");
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1, %2}, [%3];" ::"r"(at_rank(s + 32 + 2 * t, next)), "r"(rank * 1000 + 32 + 2 * t), "r"(rank * 1000 + 33 + 2 * t), "r"(at_rank(&bar, next)) : "memory");
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(at_rank(s + 96 + 4 * t, next)), "r"(rank * 1000 + 96 + 4 * t), "r"(rank * 1000 + 97 + 4 * t), "r"(rank * 1000 + 98 + 4 * t), "r"(rank * 1000 + 99 + 4 * t), "r"(at_rank(&bar, next)) : "memory");
  wait(&bar, 0); for (int i = t; i < 224; i += 32) o[blockIdx.x * 224 + i] = s[i]; CLUSTER }
// red.async: every lane on one word, each operation on its own.
extern "C" __global__ void __cluster_dims__(2, 1, 1) red_async(u32* o) { __shared__ __align__(16) u32 s[10]; __shared__ u64 bar; RANK u32 t = threadIdx.x, next = rank ^ 1;
  if (t == 0) { u32 start[10] = {5, 0, 7, 0xffffffff, 0, 0, 0, 0x80000000, 0x7fffffff, 0}; for (int i = 0; i < 10; i++) s[i] = start[i]; init(&bar, 1); fence_init(); expect(&bar, 32 * 40); } CLUSTER
#define RED(i, what, v) asm volatile("red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes." what " [%0], %1, [%2];" ::"r"(at_rank(s + i, next)), "r"(v), "r"(at_rank(&bar, next)) : "memory");
  RED(0, "add.u32", t) RED(1, "max.u32", t * 3) RED(2, "min.u32", t + 3) RED(3, "and.b32", ~(1u << t)) RED(4, "or.b32", 1u << t) RED(5, "xor.b32", t * 0x01010101) RED(6, "inc.u32", 9) RED(7, "max.s32", t - 40) RED(8, "min.s32", 5 - t) RED(9, "dec.u32", 6)
  wait(&bar, 0); if (t < 10) o[blockIdx.x * 10 + t] = s[t]; CLUSTER }
// cp.async.mbarrier.arrive: FORM 0 counts itself, 1 (.noinc) is counted by the init.
template <int FORM> __device__ void cpm(const float* x, float* o) { __shared__ __align__(16) float s[512]; __shared__ u64 bar; u32 t = threadIdx.x;
  if (t == 0) init(&bar, FORM ? 256 : 128); __syncthreads();
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(smem(s + 4 * t)), "l"(x + 4 * t) : "memory");
  if (FORM) asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(smem(&bar)) : "memory"); else asm volatile("cp.async.mbarrier.arrive.shared.b64 [%0];" ::"r"(smem(&bar)) : "memory");
  arrive(&bar); wait(&bar, 0); for (int i = 0; i < 4; i++) o[i * 128 + t] = s[i * 128 + (127 - t)]; }
extern "C" __global__ void cp_mbar(const float* x, float* o) { cpm<0>(x, o); }
extern "C" __global__ void cp_mbar_noinc(const float* x, float* o) { cpm<1>(x, o); }
// cp.async of 4 and 8 bytes and with a predicate to skip the source.
extern "C" __global__ void cp_sizes(const float* x, float* o) { __shared__ __align__(16) float s[128]; u32 t = threadIdx.x;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(smem(s + t)), "l"(x + t) : "memory"); asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 8;" ::"r"(smem(s + 32 + 2 * t)), "l"(x + 32 + 2 * t) : "memory");
  asm volatile("{ .reg .pred p; setp.lt.u32 p, %2, 16; cp.async.ca.shared.global [%0], [%1], 4, p; }" ::"r"(smem(s + 96 + t)), "l"(x + 96 + t), "r"(t) : "memory");
  asm volatile("cp.async.commit_group; cp.async.wait_group 0;" ::: "memory"); __syncwarp(); for (int i = 0; i < 4; i++) o[t + 32 * i] = s[t + 32 * i]; }
// cp.reduce.async.bulk to global memory.
#define REDUCE(name, what, T) extern "C" __global__ void name(const T* x, T* o) { __shared__ __align__(128) T s[64]; for (int i = threadIdx.x; i < 64; i += 32) s[i] = x[i]; proxy(); __syncthreads(); \
  if (threadIdx.x == 0) { asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group." what " [%0], [%1], %2;" ::"l"(o), "r"(smem(s)), "r"((u32)sizeof(s)) : "memory"); commit(); wait_read(); } }
REDUCE(bulk_add_u32, "add.u32", u32) REDUCE(bulk_min_s32, "min.s32", int) REDUCE(bulk_max_u64, "max.u64", u64) REDUCE(bulk_and_b32, "and.b32", u32) REDUCE(bulk_xor_b64, "xor.b64", u64) REDUCE(bulk_add_f32, "add.f32", float) REDUCE(bulk_add_f64, "add.f64", double) REDUCE(bulk_inc_u32, "inc.u32", u32) REDUCE(bulk_add_f16, "add.noftz.f16", u16) REDUCE(bulk_max_bf16, "max.bf16", u16)
// Shared memory to that of another CTA, copied and added.
extern "C" __global__ void __cluster_dims__(2, 1, 1) between(u32* o) { __shared__ __align__(128) u32 s[64], d[64], e[64]; __shared__ u64 bar; RANK u32 t = threadIdx.x, next = rank ^ 1;
  for (int i = t; i < 64; i += 32) { s[i] = rank * 100 + i; e[i] = 7; } if (t == 0) { init(&bar, 1); fence_init(); expect(&bar, 512); } proxy(); CLUSTER
  if (t == 0) { asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], 256, [%2];" ::"r"(at_rank(d, next)), "r"(smem(s)), "r"(at_rank(&bar, next)) : "memory");
    asm volatile("cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32 [%0], [%1], 256, [%2];" ::"r"(at_rank(e, next)), "r"(smem(s)), "r"(at_rank(&bar, next)) : "memory"); }
  wait(&bar, 0); for (int i = t; i < 64; i += 32) { o[blockIdx.x * 128 + i] = d[i]; o[blockIdx.x * 128 + 64 + i] = e[i]; } CLUSTER }
// Tensor maps of 1 to 5 dimensions: in through one, out through another.
#define BOX(name, n, list, ...) extern "C" __global__ void name(const __grid_constant__ Map in, const __grid_constant__ Map out, u32 bytes, int c0, int c1, int c2, int c3, int c4) { extern __shared__ __align__(1024) char s[]; __shared__ u64 bar; \
  if (threadIdx.x == 0) { init(&bar, 1); fence_init(); expect(&bar, bytes); asm volatile("cp.async.bulk.tensor." n ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" list "}], [%2];" ::"r"(smem(s)), "l"(&in), "r"(smem(&bar)), __VA_ARGS__ : "memory"); \
    wait(&bar, 0); asm volatile("cp.async.bulk.tensor." n ".global.shared::cta.tile.bulk_group [%1, {" list "}], [%0];" ::"r"(smem(s)), "l"(&out), "r"(0), __VA_ARGS__ : "memory"); commit(); wait_read(); } }
BOX(box1, "1d", "%3", "r"(c0)) BOX(box2, "2d", "%3, %4", "r"(c0), "r"(c1)) BOX(box3, "3d", "%3, %4, %5", "r"(c0), "r"(c1), "r"(c2)) BOX(box4, "4d", "%3, %4, %5, %6", "r"(c0), "r"(c1), "r"(c2), "r"(c3)) BOX(box5, "5d", "%3, %4, %5, %6, %7", "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4))
// A box to both CTAs of a cluster.
extern "C" __global__ void __cluster_dims__(2, 1, 1) box_cast(const __grid_constant__ Map in, u32 bytes, u32* o) { extern __shared__ __align__(1024) u32 d[]; __shared__ u64 bar; RANK
  if (threadIdx.x == 0) { init(&bar, 1); fence_init(); expect(&bar, bytes); asm volatile("prefetch.tensormap [%0];" ::"l"(&in) : "memory"); } CLUSTER
  if (threadIdx.x == 0 && rank == 1) asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(smem(d)), "l"(&in), "r"(8), "r"(2), "r"(smem(&bar)), "h"((u16)3) : "memory");
  wait(&bar, 0); for (u32 i = threadIdx.x; i < bytes / 4; i += 32) o[blockIdx.x * bytes / 4 + i] = d[i]; CLUSTER }
// Where a CTA is in its cluster, ranks of addresses, grid control, election.
extern "C" __global__ void __cluster_dims__(2, 2, 1) where(u32* o) { __shared__ u32 s; RANK u32* p = o + 16 * (blockIdx.x + 4 * blockIdx.y); u32 v; if (threadIdx.x == 0) {
#define SREG(i, name) asm volatile("mov.u32 %0, %%" name ";" : "=r"(v)); p[i] = v;
  SREG(0, "cluster_ctaid.x") SREG(1, "cluster_ctaid.y") SREG(2, "cluster_nctaid.x") SREG(3, "cluster_nctaid.y") SREG(4, "clusterid.x") SREG(5, "clusterid.y") SREG(6, "nclusterid.x") SREG(7, "nclusterid.y") p[8] = rank; p[9] = ranks;
  asm volatile("getctarank.shared::cluster.u32 %0, %1;" : "=r"(v) : "r"(at_rank(&s, 3))); p[10] = v; u64 g, m; asm volatile("mapa.u64 %0, %1, 2;" : "=l"(m) : "l"(&s)); asm volatile("getctarank.u64 %0, %1;" : "=r"(v) : "l"(m)); p[11] = v;
  asm volatile("{ .reg .pred q; mov.pred q, %%is_explicit_cluster; selp.u32 %0, 1, 0, q; }" : "=r"(v)); p[12] = v; asm volatile("{ .reg .pred q; isspacep.shared::cluster q, %1; selp.u32 %0, 1, 0, q; }" : "=r"(v) : "l"(m)); p[13] = v; asm volatile("{ .reg .pred q; isspacep.shared::cta q, %1; selp.u32 %0, 1, 0, q; }" : "=r"(v) : "l"(m)); p[14] = v; g = 0; p[15] = (u32)g; }
  asm volatile("griddepcontrol.launch_dependents;"); asm volatile("griddepcontrol.wait;" ::: "memory"); CLUSTER }
// Atomics: one word for each operation, all threads on it.
#define A32(i, what, v) asm volatile("atom.global." what " %0, [%1], %2;" : "=r"(r) : "l"(o + i), "r"((u32)(v)) : "memory");
#define A64(i, what, v) asm volatile("atom.global." what " %0, [%1], %2;" : "=l"(q) : "l"(w + i), "l"((u64)(v)) : "memory");
extern "C" __global__ void atoms(u32* o, u64* w, float* f, double* d) { u32 t = blockIdx.x * blockDim.x + threadIdx.x, r; u64 q;
  A32(0, "add.u32", t) A32(1, "min.s32", t - 70) A32(2, "max.s32", t - 70) A32(3, "min.u32", t + 5) A32(4, "max.u32", t * 2) A32(5, "and.b32", ~(1u << (t & 31))) A32(6, "or.b32", 1u << (t & 31)) A32(7, "xor.b32", t) A32(8, "inc.u32", 10) A32(9, "dec.u32", 10) A32(10, "exch.b32", 77)
  A32(11, "acquire.gpu.add.u32", 1) A32(12, "release.cta.add.u32", 2) A32(13, "acq_rel.sys.add.s32", 3) A32(14, "relaxed.cluster.add.u32", 4) asm volatile("atom.global.cas.b32 %0, [%1], %2, %3;" : "=r"(r) : "l"(o + 15), "r"(3), "r"(4) : "memory");
  A64(0, "add.u64", (u64)t << 32) A64(1, "min.s64", (long long)t - 70) A64(2, "max.u64", (u64)t << 40) A64(3, "and.b64", ~(1ull << (t & 63))) A64(4, "or.b64", 1ull << (t & 63)) A64(5, "xor.b64", (u64)t << 33) A64(6, "exch.b64", 1ull << 50) asm volatile("atom.global.cas.b64 %0, [%1], %2, %3;" : "=l"(q) : "l"(w + 7), "l"(3ull), "l"(4ull) : "memory"); A64(8, "max.s64", (long long)t - 70)
  asm volatile("red.global.add.f32 [%0], %1;" ::"l"(f), "f"(0.5f) : "memory"); asm volatile("red.global.add.f64 [%0], %1;" ::"l"(d), "d"(0.25) : "memory");
  asm volatile("red.relaxed.gpu.global.add.v2.f32 [%0], {%1, %2};" ::"l"(f + 2), "f"(1.0f), "f"(2.0f) : "memory"); asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(f + 4), "f"(1.0f), "f"(2.0f), "f"(3.0f), "f"(4.0f) : "memory");
  asm volatile("red.global.add.noftz.f16x2 [%0], %1;" ::"l"(f + 8), "r"(0x3c003800) : "memory"); asm volatile("red.global.add.noftz.bf16x2 [%0], %1;" ::"l"(f + 9), "r"(0x3f803f00) : "memory");
  asm volatile("red.global.v4.bf16x2.add.noftz [%0], {%1, %1, %1, %1};" ::"l"(f + 12), "r"(0x3f803f00) : "memory"); asm volatile("red.global.v2.f16x2.max.noftz [%0], {%1, %2};" ::"l"(f + 16), "r"(0x3c003800), "r"(t < 64 ? 0x40004000 : 0xc000c000) : "memory");
  asm volatile("{ .reg .b16 h, g, k; mov.b16 g, 5; mov.b16 k, 6; atom.global.cas.b16 h, [%0], g, k; }" ::"l"(f + 18) : "memory"); asm volatile("{ .reg .b16 h; mov.b16 h, 0x3c00; red.global.add.noftz.f16 [%0], h; }" ::"l"(f + 19) : "memory"); asm volatile("{ .reg .b16 h, g; mov.b16 h, 0x3f80; atom.global.add.noftz.bf16 g, [%0], h; }" ::"l"(f + 20) : "memory"); }
