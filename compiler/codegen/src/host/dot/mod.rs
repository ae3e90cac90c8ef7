//! `dot` on the CPU: packed, register-blocked matrix products as LLVM IR, for compile-time extents of any size.
//!
//! The scheme is that of GotoBLAS/BLIS (Van Zee & van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", ACM TOMS 41(3), 2015)
//! at the scale of a tile: a block of B (`depth x N`) and of A (`M x depth`) are packed, then a micro-kernel runs over their pieces. Packing is where
//! elements are converted (f16, bf16, f8 to f32, integers widened) and bounds are applied, so operands are asked for each element once.
//! - [`source`]: what an operand is; [`Strided`] memory, or anything that can produce vectors of elements;
//! - [`plan`]: block sizes from the processor and the extents;
//! - `pack`, `transpose`, `compute`, `micro`, `ahead`: the pieces.
//!
//! Precision: products of f16, bf16 and f8 are exact and summed in f32; f32 and f64 use fused multiply-add where the processor has it; `tf32` rounds f32
//! inputs to nearest even; `tf32x3` and `bf16x3` ask for at least that precision and get plain f32. Integer sums wrap.

mod ahead;
mod compute;

mod micro;
mod pack;
pub(crate) mod plan;
pub(crate) mod scaled;
pub(crate) mod source;
mod transpose;

#[cfg(test)]
mod tests;

use kiln_ir::ScalarType;
use kiln_ir::ops::DotPrecision;

use crate::host::loops::Emit;
use compute::Compute;
use micro::Micro;
use pack::{Form, Pack};
use plan::{Machine, Plan, Run};
use source::{Axis, Direct, Source};

use crate::llvm::Val;

/// Rows of A further apart than this are packed.
const NEAR_BYTES: u32 = 1024;
/// Dots of at most this many rows read B in place.
const FEW_ROWS: u32 = 16;

/// A dot to generate: `[m, k] x [k, n]`, extents at least 1.
#[derive(Clone, Debug)]
pub(crate) struct Dot {
    m: u32,
    n: u32,
    compute: Compute,
    precision: DotPrecision,
    plan: Plan,
    in_loop: bool,
}

/// Where the sums live: a row-major buffer of the accumulator's type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accumulator {
    /// Element (0, 0).
    pub ptr: Val,
    /// Distance of rows in elements.
    pub row_stride: u32,
    /// Overwrite what is there instead of adding to it.
    pub fresh: bool,
}

impl Dot {
    /// Plans a dot of elements `elem` summed in `acc`. `None` when there is no such dot on the CPU.
    pub fn new(machine: Machine, [m, n, k]: [u32; 3], elem: ScalarType, acc: ScalarType, precision: DotPrecision) -> Option<Dot> {
        let compute = Compute::of(elem, machine.i16_pairs).filter(|c| c.accumulates_in(acc))?;
        Some(Dot { m, n, compute, precision, plan: Plan::new(machine, compute, m, n, k), in_loop: false })
    }

    /// The same dot in a loop whose next trip goes on along k: what that will read is fetched ahead.
    pub fn in_loop(self, in_loop: bool) -> Dot {
        Dot { in_loop, ..self }
    }

    /// Bytes of scratch memory, aligned to a vector, that [`Dot::emit`] needs while it runs.
    pub fn scratch_bytes(&self) -> u64 {
        let units = self.plan.max_depth().div_ceil(self.compute.group());
        let a = u64::from(self.a_stride(Axis::Row, units)) * u64::from(units);
        let a = a.max(u64::from(self.a_stride(Axis::Col, units)) * u64::from(self.m));
        let b = u64::from(self.b_stride()) * u64::from(units);
        (a + b) * u64::from(self.compute.bytes())
    }

    /// Emits `acc += a * b` (or `acc = a * b`) at the cursor.
    pub fn emit(&self, e: &Emit<'_>, a: &dyn Source, b: &dyn Source, acc: Accumulator, scratch: Val) {
        for (number, &run) in self.plan.depth.iter().enumerate() {
            let first_fresh = acc.fresh && number == 0;
            if first_fresh && run.count > 1 {
                // The first block is emitted apart from the loop over those that add.
                self.block(e, a, b, acc, scratch, e.index(0), run.size);
                e.repeat((run.count - 1).into(), 1, |i| {
                    let from = e.mul_const(e.add_const(i, 1), run.size.into());
                    self.block(e, a, b, Accumulator { fresh: false, ..acc }, scratch, from, run.size)
                });
                continue;
            }
            e.repeat(run.count.into(), 1, |i| {
                let from = e.add_const(e.mul_const(i, run.size.into()), run.start.into());
                self.block(e, a, b, Accumulator { fresh: first_fresh, ..acc }, scratch, from, run.size)
            });
        }
    }

    /// One block of k: pack both operands, then run the micro-kernel over their pieces.
    #[allow(clippy::too_many_arguments)]
    fn block(&self, e: &Emit<'_>, a: &dyn Source, b: &dyn Source, acc: Accumulator, scratch: Val, from: Val, depth: u32) {
        let Dot { compute, precision, ref plan, .. } = *self;
        let lanes = plan.lanes;
        let units = depth.div_ceil(compute.group());
        let unit = compute.unit(e);
        let job = |source, depth_axis, outer, dst, form| {
            Pack { source, depth_axis, outer, from, depth, compute, precision, lanes, dst, form }.emit(e);
        };
        let (b_ptr, b_step) = match self.direct_b(b) {
            Some(tile) => (e.gep(unit, tile.ptr, e.mul_const(from, tile.row_stride.into())), tile.row_stride),
            None => {
                job(b, Axis::Row, self.n, scratch, Form::DepthMajor { stride: self.b_stride() });
                (scratch, self.b_stride())
            }
        };
        let (a_ptr, a_row, a_step) = match self.direct_a(a) {
            Some(tile) => (e.gep(unit, tile.ptr, from), tile.row_stride, 1),
            None => {
                let packed = e.at_const(unit, scratch, u64::from(self.b_stride()) * u64::from(units));
                let along = if a.contiguous() == Some(Axis::Row) { Axis::Row } else { Axis::Col };
                let stride = self.a_stride(along, units);
                let (form, row, step) = match along {
                    Axis::Row => (Form::DepthMajor { stride }, 1, stride),
                    Axis::Col => (Form::OuterMajor { stride }, stride, 1),
                };
                job(a, Axis::Col, self.m, packed, form);
                (packed, row, step)
            }
        };
        let next = e.add_const(from, depth.into());
        let fetched =
            if self.in_loop { [a.ahead(e, Axis::Col, next, depth), b.ahead(e, Axis::Row, next, depth)] } else { [None; 2] };
        let [down, across] = [&plan.rows, &plan.cols].map(|runs| runs.iter().map(|run| run.count).sum::<u32>());
        for_pieces(e, &plan.cols, |col_piece, col, cols| {
            let b = e.gep(unit, b_ptr, col);
            for_pieces(e, &plan.rows, |row_piece, row, rows| {
                let call = e.add_nsw(e.mul_const(col_piece, down.into()), row_piece);
                fetched.iter().flatten().for_each(|ahead| ahead.fetch(e, call, down * across));
                let a = e.gep(unit, a_ptr, e.mul_const(row, a_row.into()));
                let c = e.gep(unit, acc.ptr, e.add_nsw(e.mul_const(row, acc.row_stride.into()), col));
                let micro = Micro {
                    compute,
                    lanes,
                    rows,
                    cols,
                    depth: units,
                    a_row,
                    a_step,
                    b_step,
                    c_row: acc.row_stride,
                    fresh: acc.fresh,
                };
                micro.call(e, a, b, c);
            })
        })
    }

    /// A as it lies in a tile buffer, where rows are not so far apart that they share a set of the cache.
    fn direct_a(&self, a: &dyn Source) -> Option<Direct> {
        let near = |tile: &Direct| tile.row_stride * self.compute.bytes() <= NEAR_BYTES;
        a.direct().filter(|tile| self.compute.takes_as_is(a.elem(), self.precision) && near(tile))
    }

    /// B as it lies in a tile buffer, where it has whole vectors and so few rows of A use it that packing would not pay.
    fn direct_b(&self, b: &dyn Source) -> Option<Direct> {
        let whole = self.n.is_multiple_of(self.plan.lanes) && self.m <= FEW_ROWS;
        b.direct().filter(|tile| {
            whole && tile.row_stride.is_multiple_of(self.plan.lanes) && self.compute.takes_as_is(b.elem(), self.precision)
        })
    }

    /// Units from one position to the next of packed A, which runs `along` one of its axes. An odd number of vectors keeps the rows that a micro-kernel
    /// reads together in different sets of the cache.
    fn a_stride(&self, along: Axis, units: u32) -> u32 {
        odd_vectors(if along == Axis::Row { self.m } else { units }, self.plan.lanes)
    }

    fn b_stride(&self) -> u32 {
        odd_vectors(self.n, self.plan.lanes)
    }
}

/// `extent` rounded up to an odd number of vectors.
fn odd_vectors(extent: u32, lanes: u32) -> u32 {
    (extent.div_ceil(lanes) | 1) * lanes
}

/// `body(number, start, size)` for every piece, equal ones in a run-time loop.
fn for_pieces(e: &Emit<'_>, runs: &[Run], mut body: impl FnMut(Val, Val, u32)) {
    let mut before = 0;
    for run in runs {
        e.repeat(run.count.into(), 1, |i| {
            let start = e.add_const(e.mul_const(i, run.size.into()), run.start.into());
            body(e.add_const(i, before), start, run.size);
        });
        before += u64::from(run.count);
    }
}
