//! Packing: a block of an operand is copied once into the form the micro-kernel reads, converted on the way.
//!
//! Seen from packing, an operand has an *outer* axis (rows of A, columns of B) and the k axis. Two forms are made, both of units (see [`Compute`]):
//! - `Form::OuterMajor`: `dst[outer][k]`, for operands read one broadcast at a time (A) whose neighbours in memory lie along k: a plain copy;
//! - `Form::DepthMajor`: `dst[k][outer]`, for operands read a vector at a time (B), and for A whose neighbours lie along its rows. From memory
//!   contiguous along k this transposes vector-sized squares in registers.

use kiln_ir::ops::DotPrecision;

use super::compute::Compute;
use super::source::{Axis, Source};
use super::transpose::transpose;
use crate::host::loops::Emit;
use crate::llvm::Val;

/// The order of a packed block, with its row length in units, a multiple of a vector's lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// `dst[outer][k]`.
    OuterMajor {
        /// Units from one outer position to the next.
        stride: u32,
    },
    /// `dst[k][outer]`.
    DepthMajor {
        /// Units from one k to the next.
        stride: u32,
    },
}

/// One packing job: all of the outer axis, `depth` elements of k.
pub(crate) struct Pack<'p> {
    /// The operand.
    pub source: &'p dyn Source,
    /// Which of its axes is k.
    pub depth_axis: Axis,
    /// Extent of the other axis.
    pub outer: u32,
    /// First element along k.
    pub from: Val,
    /// Elements along k.
    pub depth: u32,
    /// What the dot is computed in.
    pub compute: Compute,
    /// Input rounding.
    pub precision: DotPrecision,
    /// Units in a vector.
    pub lanes: u32,
    /// Where the packed block goes, aligned to a vector.
    pub dst: Val,
    /// Its order.
    pub form: Form,
}

impl Pack<'_> {
    /// Emits the copy; blocks inside the operand's bounds take a path without checks.
    pub fn emit(&self, e: &Emit<'_>) {
        match self.source.in_bounds(e) {
            None => self.copy(e, false),
            Some(inside) => e.if_else(inside, || self.copy(e, false), || self.copy(e, true)),
        }
    }

    fn copy(&self, e: &Emit<'_>, checked: bool) {
        match self.form {
            Form::OuterMajor { stride } => self.rows(e, stride, checked),
            Form::DepthMajor { stride } if self.source.contiguous() == Some(self.depth_axis) => self.squares(e, stride, checked),
            Form::DepthMajor { stride } => self.slices(e, stride, checked),
        }
    }

    /// Units along k of the block: the last may hold fewer elements than its group.
    fn units(&self) -> u32 {
        self.depth.div_ceil(self.compute.group())
    }

    /// A row at a time, vectors along k.
    fn rows(&self, e: &Emit<'_>, stride: u32, checked: bool) {
        let (full, tail) = self.split_depth();
        e.repeat(self.outer.into(), 1, |outer| {
            let row = e.mul_const(outer, stride.into());
            e.unrolled(full.into(), 8, |v| {
                let unit = e.mul_const(v, self.lanes.into());
                let value = self.along_depth(e, outer, unit, self.lanes * self.compute.group(), checked);
                self.put(e, value, e.add_nsw(row, unit))
            });
            if tail > 0 {
                let unit = e.index((full * self.lanes).into());
                let value = self.along_depth(e, outer, unit, tail, checked);
                self.put(e, value, e.add_nsw(row, unit));
            }
        })
    }

    /// One k at a time, vectors along the outer axis.
    fn slices(&self, e: &Emit<'_>, stride: u32, checked: bool) {
        let group = self.compute.group();
        let whole = self.depth / group;
        e.unrolled(whole.into(), 1, |unit| self.slice(e, unit, group, stride, checked));
        match self.depth % group {
            0 => {}
            rest => self.slice(e, e.index(whole.into()), rest, stride, checked),
        }
    }

    fn slice(&self, e: &Emit<'_>, unit: Val, elements: u32, stride: u32, checked: bool) {
        let (full, tail) = (self.outer / self.lanes, self.outer % self.lanes);
        let start = e.mul_const(unit, stride.into());
        e.unrolled(full.into(), 8, |v| {
            let outer = e.mul_const(v, self.lanes.into());
            let value = self.across_depth(e, outer, unit, elements, self.lanes, checked);
            self.put(e, value, e.add_nsw(start, outer))
        });
        if tail > 0 {
            let outer = e.index((full * self.lanes).into());
            let value = self.across_depth(e, outer, unit, elements, tail, checked);
            self.put(e, value, e.add_nsw(start, outer));
        }
    }

    /// Squares of vectors along k, transposed.
    fn squares(&self, e: &Emit<'_>, stride: u32, checked: bool) {
        let (full, tail) = (self.outer / self.lanes, self.outer % self.lanes);
        e.unrolled(full.into(), 1, |v| self.square_column(e, e.mul_const(v, self.lanes.into()), self.lanes, stride, checked));
        if tail > 0 {
            self.square_column(e, e.index((full * self.lanes).into()), tail, stride, checked);
        }
    }

    fn square_column(&self, e: &Emit<'_>, outer: Val, width: u32, stride: u32, checked: bool) {
        let (full, tail) = self.split_depth();
        let elements = self.lanes * self.compute.group();
        e.unrolled(full.into(), 1, |v| {
            self.square(e, outer, e.mul_const(v, self.lanes.into()), width, elements, stride, checked)
        });
        match tail {
            0 => {}
            tail => self.square(e, outer, e.index((full * self.lanes).into()), width, tail, stride, checked),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn square(&self, e: &Emit<'_>, outer: Val, unit: Val, width: u32, elements: u32, stride: u32, checked: bool) {
        let zero = e.zero(self.compute.vector(e, self.lanes));
        let mut vectors = vec![zero; self.lanes as usize];
        for (i, vector) in vectors.iter_mut().enumerate().take(width as usize) {
            *vector = self.along_depth(e, e.add_const(outer, i as u64), unit, elements, checked);
        }
        let units = elements.div_ceil(self.compute.group());
        for (k, value) in transpose(e, vectors).into_iter().enumerate().take(units as usize) {
            let row = e.mul_const(e.add_const(unit, k as u64), stride.into());
            self.put(e, value, e.add_nsw(row, outer));
        }
    }

    /// Whole vectors of units along k, and the elements that are left.
    fn split_depth(&self) -> (u32, u32) {
        let elements = self.lanes * self.compute.group();
        debug_assert!(self.units() >= self.depth / elements * self.lanes);
        (self.depth / elements, self.depth % elements)
    }

    /// A vector of units along k, zeros after `elements`.
    fn along_depth(&self, e: &Emit<'_>, outer: Val, unit: Val, elements: u32, checked: bool) -> Val {
        let value = self.read(e, outer, e.mul_const(unit, self.compute.group().into()), self.depth_axis, elements, checked);
        let value = e.resize(value, self.lanes * self.compute.group());
        if self.compute.group() == 1 { value } else { e.bitcast(value, self.compute.vector(e, self.lanes)) }
    }

    /// A vector of units along the outer axis, zeros after `width`; `elements` of each unit's group are read, the rest is 0.
    fn across_depth(&self, e: &Emit<'_>, outer: Val, unit: Val, elements: u32, width: u32, checked: bool) -> Val {
        let along = if self.depth_axis == Axis::Row { Axis::Col } else { Axis::Row };
        let k = e.mul_const(unit, self.compute.group().into());
        let first = e.resize(self.read(e, outer, k, along, width, checked), self.lanes);
        if self.compute.group() == 1 {
            return first;
        }
        let second = match elements {
            1 => e.zero(e.ty(first)),
            _ => e.resize(self.read(e, outer, e.add_const(k, 1), along, width, checked), self.lanes),
        };
        e.bitcast(e.interleave(first, second), self.compute.vector(e, self.lanes))
    }

    fn read(&self, e: &Emit<'_>, outer: Val, k: Val, axis: Axis, lanes: u32, checked: bool) -> Val {
        let k = e.add_nsw(self.from, k);
        let (row, col) = if self.depth_axis == Axis::Row { (k, outer) } else { (outer, k) };
        let value = self.source.read(e, row, col, axis, lanes, checked);
        self.compute.widen(e, value, self.source.elem(), self.precision)
    }

    fn put(&self, e: &Emit<'_>, value: Val, at: Val) {
        let ptr = e.gep(self.compute.unit(e), self.dst, at);
        e.store(value, ptr, self.lanes * self.compute.bytes());
    }
}
