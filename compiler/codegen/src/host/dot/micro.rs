//! The micro-kernel: a few rows by a few vectors of the product, held in registers over the whole depth of a block. An internal LLVM function for each
//! shape that a dot needs, called in loops, so that code stays small.
//!
//! ```text
//! acc[r][v] = c[r][v]                                   (or 0)
//! for k in 0..depth { for r, v { acc[r][v] += splat(a[r * a_row + k * a_step]) * b[k * b_step + v] } }
//! c[r][v] = acc[r][v]
//! ```

use super::compute::Compute;
use crate::host::loops::Emit;
use crate::llvm::Val;

/// Steps of k in one trip of the loop.
const UNROLL: u32 = 2;

/// A micro-kernel's shape and its operands' strides, in units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Micro {
    /// What it computes in.
    pub compute: Compute,
    /// Lanes of a vector.
    pub lanes: u32,
    /// Rows of the product.
    pub rows: u32,
    /// Columns of the product: whole vectors, and a last one that may be partly used.
    pub cols: u32,
    /// Units along k, at least 1.
    pub depth: u32,
    /// Distance of A's rows.
    pub a_row: u32,
    /// Distance of A's units along k.
    pub a_step: u32,
    /// Distance of B's units along k.
    pub b_step: u32,
    /// Distance of the accumulator's rows.
    pub c_row: u32,
    /// Start from zero rather than from what the accumulator holds.
    pub fresh: bool,
}

impl Micro {
    /// Calls the micro-kernel `fn(a, b, c)`, which is made on first use in a module.
    pub fn call(&self, e: &Emit<'_>, a: Val, b: Val, c: Val) {
        let ty = e.fn_ty(e.void(), &[e.ptr(); 3]);
        let name = self.name();
        let function = e.named_function(&name).unwrap_or_else(|| {
            let caller = e.current();
            let function = e.add_function(&name, ty);
            e.set_internal(function);
            e.set_fast_convention(function);
            for attribute in ["noinline", "nounwind"] {
                e.add_fn_enum_attr(function, attribute);
            }
            for param in 0..3 {
                e.add_param_attr(function, param, "noalias");
            }
            e.at_end(e.block_in(function, ""));
            self.body(e, [0, 1, 2].map(|n| e.param(function, n)));
            e.at_end(caller);
            function
        });
        e.call_fast(ty, function, &[a, b, c]);
    }

    fn name(&self) -> String {
        let Micro { compute, lanes: _, rows, cols, depth, a_row, a_step, b_step, c_row, fresh } = self;
        let fresh = if *fresh { ".fresh" } else { "" };
        format!("kiln.dot.{compute:?}.{rows}x{cols}x{depth}.a{a_row}.{a_step}.b{b_step}.c{c_row}{fresh}")
    }

    fn vectors(&self) -> u32 {
        self.cols.div_ceil(self.lanes)
    }

    fn body(&self, e: &Emit<'_>, [a, b, c]: [Val; 3]) {
        let unit = self.compute.unit(e);
        let mut state = vec![a, b];
        state.extend(self.start(e, c));
        let trips = self.depth / UNROLL;
        let mut rest = self.depth;
        if trips > 1 {
            state = e.repeat_carrying(trips.into(), &state, |now| {
                let mut next = now.to_vec();
                for k in 0..UNROLL {
                    self.step(e, now[0], now[1], k, &mut next[2..]);
                }
                next[0] = e.at_const(unit, now[0], (UNROLL * self.a_step).into());
                next[1] = e.at_const(unit, now[1], (UNROLL * self.b_step).into());
                next
            });
            rest %= UNROLL;
        }
        for k in 0..rest {
            let (a, b) = (state[0], state[1]);
            self.step(e, a, b, k, &mut state[2..]);
        }
        self.finish(e, c, &state[2..]);
        e.ret_void();
    }

    /// One unit of k, `k` units past `a` and `b`.
    fn step(&self, e: &Emit<'_>, a: Val, b: Val, k: u32, acc: &mut [Val]) {
        let unit = self.compute.unit(e);
        let ty = self.compute.vector(e, self.lanes);
        let vectors = self.vectors();
        let b_row: Vec<_> = (0..vectors)
            .map(|v| {
                let ptr = e.at_const(unit, b, (k * self.b_step + v * self.lanes).into());
                e.load(ty, ptr, self.lanes * self.compute.bytes())
            })
            .collect();
        for (r, sums) in acc.chunks_mut(vectors as usize).enumerate() {
            let ptr = e.at_const(unit, a, (r as u32 * self.a_row + k * self.a_step).into());
            let value = e.splat(e.load(unit, ptr, self.compute.bytes()), self.lanes);
            for (sum, &b) in sums.iter_mut().zip(&b_row) {
                *sum = self.compute.multiply_add(e, value, b, *sum);
            }
        }
    }

    fn start(&self, e: &Emit<'_>, c: Val) -> Vec<Val> {
        let ty = self.compute.vector(e, self.lanes);
        let load = |ptr, used| match used {
            _ if self.fresh => e.zero(ty),
            None => e.load(ty, ptr, self.compute.bytes()),
            Some(mask) => e.masked_load(ty, ptr, self.compute.bytes(), mask, e.zero(ty)),
        };
        self.places(e, c).map(|(ptr, used)| load(ptr, used)).collect()
    }

    fn finish(&self, e: &Emit<'_>, c: Val, acc: &[Val]) {
        for ((ptr, used), &value) in self.places(e, c).zip(acc) {
            match used {
                None => {
                    e.store(value, ptr, self.compute.bytes());
                }
                Some(mask) => e.masked_store(value, ptr, self.compute.bytes(), mask),
            }
        }
    }

    /// The address of each vector of the accumulator, and the mask of its lanes where not all are used.
    fn places<'e>(&'e self, e: &'e Emit<'_>, c: Val) -> impl Iterator<Item = (Val, Option<Val>)> + 'e {
        (0..self.rows).flat_map(move |r| (0..self.vectors()).map(move |v| (r, v))).map(move |(r, v)| {
            let ptr = e.at_const(self.compute.unit(e), c, (r * self.c_row + v * self.lanes).into());
            let used = self.cols - v * self.lanes;
            let mask = || e.const_vec(&(0..self.lanes).map(|lane| e.const_bool(lane < used)).collect::<Vec<_>>());
            (ptr, (used < self.lanes).then(mask))
        })
    }
}
