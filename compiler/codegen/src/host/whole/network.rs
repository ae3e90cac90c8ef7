//! Sorting records in place with vectors: Batcher's bitonic network (K. E. Batcher, "Sorting networks and their applications", AFIPS 1968) in the form
//! whose comparisons all point one way.
//!
//! A record is one u64 or a pair compared lexicographically, kept in one array a part. The arrays' length is a power of two of at least a vector.
//! n log² n comparisons, each a lane of a min and a max: up to a million records that is less work than scalar code with n log n.

use crate::host::loops::Emit;
use crate::llvm::{IntPred, Ty, Val};

/// Lanes of a vector of record parts.
pub(crate) const LANES: u32 = 8;

/// Arrays of records under way.
pub(crate) struct Network<'a, 'l> {
    /// Where code goes.
    pub e: &'a Emit<'l>,
    /// One array of u64 a part, most significant first, aligned to a vector of [`LANES`].
    pub parts: Vec<Val>,
    /// Number of records: a power of two, at least [`LANES`].
    pub len: u64,
}

impl Network<'_, '_> {
    /// Sorts ascending.
    pub fn sort(&self) {
        let e = self.e;
        e.repeat(self.len, LANES.into(), |i| {
            let mut v = self.load(i);
            for block in [2, 4, 8] {
                v = self.exchange(&v, |lane| lane ^ (block - 1));
                v = self.merge_lanes(v, block / 4);
            }
            self.store(i, &v);
        });
        // Sorted blocks of `half` become sorted blocks of `block`.
        self.doubling(LANES.into(), self.len / 2, |half| {
            let block = e.add(half, half);
            self.blocks(block, half, |start, i| {
                // The second half backwards: element i against its mirror image.
                let low = e.add_nsw(start, i);
                let mirror = e.sub(e.add_nsw(start, block), e.add_const(i, LANES.into()));
                let a = self.load(low);
                let b = self.reversed(&self.load(mirror));
                let (small, large) = self.order(&a, &b);
                self.store(low, &small);
                self.store(mirror, &self.reversed(&large));
            });
            self.halving(half, |distance| {
                self.blocks(e.add(distance, distance), distance, |start, i| {
                    let low = e.add_nsw(start, i);
                    let high = e.add_nsw(low, distance);
                    let (small, large) = self.order(&self.load(low), &self.load(high));
                    self.store(low, &small);
                    self.store(high, &large);
                });
            });
            e.repeat(self.len, LANES.into(), |i| {
                let v = self.merge_lanes(self.load(i), LANES / 2);
                self.store(i, &v);
            });
        });
    }

    fn vector(&self) -> Ty {
        self.e.vec(self.e.i64(), LANES)
    }

    fn load(&self, at: Val) -> Vec<Val> {
        let e = self.e;
        self.parts.iter().map(|&part| e.load(self.vector(), e.gep(e.i64(), part, at), 8 * LANES)).collect()
    }

    fn store(&self, at: Val, v: &[Val]) {
        let e = self.e;
        for (&part, &v) in self.parts.iter().zip(v) {
            e.store(v, e.gep(e.i64(), part, at), 8 * LANES);
        }
    }

    fn reversed(&self, v: &[Val]) -> Vec<Val> {
        self.permuted(v, |lane| LANES - 1 - lane)
    }

    fn permuted(&self, v: &[Val], from: impl Fn(u32) -> u32) -> Vec<Val> {
        let lanes: Vec<_> = (0..LANES).map(from).collect();
        v.iter().map(|&v| self.e.shuffle(v, v, &lanes)).collect()
    }

    /// The lesser and the greater record of each lane.
    fn order(&self, a: &[Val], b: &[Val]) -> (Vec<Val>, Vec<Val>) {
        let e = self.e;
        if let ([a], [b]) = (a, b) {
            let pick = |name| vec![e.intrinsic(name, &[self.vector()], &[*a, *b])];
            return (pick("llvm.umin"), pick("llvm.umax"));
        }
        let less = |a, b| e.icmp(IntPred::LLVMIntULT, a, b);
        let swap = a.iter().zip(b).rev().fold(e.zero(e.vec(e.i1(), LANES)), |lower, (&a, &b)| {
            let equal = e.icmp(IntPred::LLVMIntEQ, a, b);
            e.or(less(b, a), e.and(equal, lower))
        });
        let select = |x: &[Val], y: &[Val]| x.iter().zip(y).map(|(&x, &y)| e.select(swap, x, y)).collect();
        (select(b, a), select(a, b))
    }

    /// Compares each lane with a partner; the lower lane keeps the lesser record.
    fn exchange(&self, v: &[Val], partner: impl Fn(u32) -> u32) -> Vec<Val> {
        let e = self.e;
        let (small, large) = self.order(v, &self.permuted(v, &partner));
        let lanes: Vec<_> = (0..LANES).map(|lane| if lane < partner(lane) { lane } else { lane + LANES }).collect();
        small.iter().zip(&large).map(|(&small, &large)| e.shuffle(small, large, &lanes)).collect()
    }

    /// The last steps of a merge, whose partners share a vector: distances `from`, .., 2, 1.
    fn merge_lanes(&self, mut v: Vec<Val>, from: u32) -> Vec<Val> {
        let mut distance = from;
        while distance > 0 {
            v = self.exchange(&v, |lane| lane ^ distance);
            distance /= 2;
        }
        v
    }

    /// `body(start, i)` for the start of every block of `size` records, and every vector `i` in `0..part`.
    fn blocks(&self, size: Val, part: Val, mut body: impl FnMut(Val, Val)) {
        let e = self.e;
        let outer = e.begin_loop(e.index(0), size, &[]);
        let inner = e.begin_loop(e.index(0), e.index(LANES.into()), &[]);
        body(outer.iv, inner.iv);
        e.end_loop(inner, part, &[]);
        e.end_loop(outer, e.index(self.len), &[]);
    }

    /// `body(x)` for x = from, 2 from, .. up to `to`.
    fn doubling(&self, from: u64, to: u64, body: impl FnOnce(Val)) {
        if from > to {
            return;
        }
        let e = self.e;
        let steps = u64::from((to / from).ilog2()) + 1;
        e.repeat_carrying(steps, &[e.index(from)], |now| {
            body(now[0]);
            vec![e.add(now[0], now[0])]
        });
    }

    /// `body(x)` for x = from / 2, from / 4, .. down to a vector's lanes.
    fn halving(&self, from: Val, body: impl FnOnce(Val)) {
        let e = self.e;
        let (header, inside, done) = (e.block("halving"), e.block(""), e.block(""));
        let before = e.current();
        e.br(header);
        e.at_end(header);
        let now = e.phi(e.i64());
        let half = e.lshr(now, e.index(1));
        let more = e.icmp(IntPred::LLVMIntUGE, half, e.index(LANES.into()));
        e.cond_br(more, inside, done);
        e.at_end(inside);
        body(half);
        e.incoming(now, from, before);
        e.incoming(now, half, e.current());
        e.br(header);
        e.at_end(done);
    }
}
