// What kernels for sm_90a share: mbarriers, bulk and tensor copies, wgmma descriptors.
typedef unsigned u32; typedef unsigned long long u64; typedef unsigned short u16;
struct __align__(64) Map { char bytes[128]; };
__device__ u32 smem(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ void init(u64* b, u32 n) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(smem(b)), "r"(n) : "memory"); }
__device__ void fence_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ void arrive(u64* b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem(b)) : "memory"); }
__device__ void expect(u64* b, u32 n) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem(b)), "r"(n) : "memory"); }
__device__ void wait(u64* b, u32 parity) { asm volatile("{ .reg .pred p; L: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @p bra D; bra L; D: }" ::"r"(smem(b)), "r"(parity) : "memory"); }
__device__ void proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ void load2d(void* d, const Map* m, int x, int y, u64* b) { asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(smem(d)), "l"(m), "r"(x), "r"(y), "r"(smem(b)) : "memory"); }
__device__ void store2d(const void* s, const Map* m, int x, int y) { asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(m), "r"(x), "r"(y), "r"(smem(s)) : "memory"); }
__device__ void commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
__device__ void wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
__device__ u64 desc(const void* p, u64 lbo, u64 sbo, u64 swizzle) { return (u64)((smem(p) & 0x3ffff) >> 4) | (lbo >> 4) << 16 | (sbo >> 4) << 32 | swizzle << 62; }
#define WG8(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define WG32(d) WG8((d)), WG8((d + 8)), WG8((d + 16)), WG8((d + 24))
