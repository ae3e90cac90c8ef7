//! Where the operands of a dot come from.

use kiln_ir::ScalarType;

use super::ahead::Ahead;
use super::compute::storage;
use crate::host::loops::Emit;
use crate::llvm::{IntPred, Val};

/// An axis of a matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Axis {
    /// Down the rows (axis 0).
    Row,
    /// Along the columns (axis 1).
    Col,
}

/// A row-major matrix in a tile buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct {
    /// Element (0, 0), aligned to a vector.
    pub ptr: Val,
    /// Distance of rows in elements.
    pub row_stride: u32,
}

/// A dot operand: a matrix of compile-time extents whose elements can be asked for, a few neighbours at a time. Packing is what asks, once an element, so
/// that conversions and dequantization done in `read` cost nothing more.
pub(crate) trait Source {
    /// Element type of what `read` gives, in the form of [`storage`].
    fn elem(&self) -> ScalarType;

    /// The axis along which neighbours are read cheaply, if there is one.
    fn contiguous(&self) -> Option<Axis>;

    /// A run-time condition under which `read` needs no bounds checks; `None` when it never makes any.
    fn in_bounds(&self, e: &Emit<'_>) -> Option<Val>;

    /// `lanes` neighbours along `axis` from (`row`, `col`), all inside the compile-time extents.
    fn read(&self, e: &Emit<'_>, row: Val, col: Val, axis: Axis, lanes: u32, checked: bool) -> Val;

    /// Memory that `depth` elements along `axis` from position `from` will be read from, if it is worth fetching ahead.
    fn ahead(&self, _: &Emit<'_>, _axis: Axis, _from: Val, _depth: u32) -> Option<Ahead> {
        None
    }

    /// The matrix in memory, when it is a tile buffer.
    fn direct(&self) -> Option<Direct> {
        None
    }
}

/// The part of one axis of a tile that is inside its tensor: positions `lo..hi`, clamped to the tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Valid {
    /// First valid position (i32).
    lo: Val,
    /// One past the last valid position (i32), at least `lo`.
    hi: Val,
}

impl Valid {
    /// From any i64 positions, of an axis of `extent`.
    pub fn new(e: &Emit<'_>, lo: Val, hi: Val, extent: u32) -> Self {
        let end = e.index(extent.into());
        let lo = e.smin(e.smax(lo, e.index(0)), end);
        let hi = e.smin(e.smax(hi, lo), end);
        Valid { lo: e.trunc(lo, e.i32()), hi: e.trunc(hi, e.i32()) }
    }

    /// Which of the positions `from..from + lanes` (i64) are valid.
    fn mask(&self, e: &Emit<'_>, from: Val, lanes: u32) -> Val {
        let start = e.splat(e.sub(e.trunc(from, e.i32()), self.lo), lanes);
        let position = e.add(start, e.iota(e.i32(), lanes));
        let length = e.splat(e.sub(self.hi, self.lo), lanes);
        e.icmp(IntPred::LLVMIntULT, position, length)
    }

    /// Whether the whole axis of `extent` is valid.
    fn is_all(&self, e: &Emit<'_>, extent: u32) -> Val {
        e.icmp(IntPred::LLVMIntEQ, e.sub(self.hi, self.lo), e.int(e.i32(), extent.into()))
    }
}

/// A strided matrix in memory with run-time bounds.
#[derive(Clone, Debug)]
pub(crate) struct Strided {
    /// Element type.
    pub elem: ScalarType,
    /// Extents.
    pub extents: [u32; 2],
    /// Where element (0, 0) is or would be.
    pub ptr: Val,
    /// Distance in elements along each axis.
    pub strides: [Val; 2],
    /// The axis whose stride is known to be 1.
    pub contiguous: Option<Axis>,
    /// Rows' distance in elements, when it is known and `ptr` and every row of a matrix with a whole number of vectors a row are aligned to vectors: a tile buffer.
    pub tile_stride: Option<u32>,
    /// What is in bounds along each axis; `None` is everything. Outside, elements are 0.
    pub valid: [Option<Valid>; 2],
}

impl Strided {
    fn address(&self, e: &Emit<'_>, row: Val, col: Val) -> Val {
        let down = if self.contiguous == Some(Axis::Row) { row } else { e.mul(row, self.strides[0]) };
        let across = if self.contiguous == Some(Axis::Col) { col } else { e.mul(col, self.strides[1]) };
        e.gep(storage(e, self.elem), self.ptr, e.add_nsw(down, across))
    }

    /// Which of the lanes are in bounds; `None` when all are, whatever the run-time values.
    fn mask(&self, e: &Emit<'_>, row: Val, col: Val, axis: Axis, lanes: u32) -> Option<Val> {
        let (along, across, [along_valid, across_valid]) = match axis {
            Axis::Row => (row, col, self.valid),
            Axis::Col => (col, row, [self.valid[1], self.valid[0]]),
        };
        let mask = along_valid.map(|valid| valid.mask(e, along, lanes));
        let Some(valid) = across_valid else { return mask };
        let inside = e.splat(valid.mask(e, across, 1), lanes);
        Some(mask.map_or(inside, |mask| e.and(mask, inside)))
    }

    /// Neighbours a stride apart, loaded one by one. A lane out of bounds reads a slot of its own instead, which spares a branch a lane.
    fn gather(&self, e: &Emit<'_>, start: Val, stride: Val, other: Val, mask: Option<Val>) -> Val {
        let elem = e.elem_ty(e.ty(other));
        let align = self.elem.bytes();
        (0..e.lanes(other)).fold(other, |value, lane| {
            let mut ptr = e.gep(elem, start, e.mul_const(stride, lane.into()));
            if let Some(mask) = mask {
                let slot = e.stack_slot(elem);
                e.store(e.extract(other, lane), slot, align);
                ptr = e.select(e.extract(mask, lane), ptr, slot);
            }
            e.insert(value, e.load(elem, ptr, align), lane)
        })
    }
}

impl Source for Strided {
    fn direct(&self) -> Option<Direct> {
        Some(Direct { ptr: self.ptr, row_stride: self.tile_stride? })
    }

    fn elem(&self) -> ScalarType {
        self.elem
    }

    fn ahead(&self, e: &Emit<'_>, axis: Axis, from: Val, depth: u32) -> Option<Ahead> {
        if self.tile_stride.is_some() {
            return None;
        }
        let bytes = self.elem.bytes();
        let extents = if axis == Axis::Row { [depth, self.extents[1]] } else { [self.extents[0], depth] };
        let (run, step) = if self.contiguous? == Axis::Col { (1, 0) } else { (0, 1) };
        let (row, col) = if axis == Axis::Row { (from, e.index(0)) } else { (e.index(0), from) };
        Some(Ahead {
            ptr: self.address(e, row, col),
            stride: e.mul_const(self.strides[step], bytes.into()),
            runs: extents[step],
            bytes: extents[run] * bytes,
        })
    }

    fn contiguous(&self) -> Option<Axis> {
        self.contiguous
    }

    fn in_bounds(&self, e: &Emit<'_>) -> Option<Val> {
        let checks = self.valid.iter().zip(self.extents).filter_map(|(valid, extent)| valid.map(|v| v.is_all(e, extent)));
        checks.reduce(|a, b| e.and(a, b))
    }

    fn read(&self, e: &Emit<'_>, row: Val, col: Val, axis: Axis, lanes: u32, checked: bool) -> Val {
        let ty = e.vec(storage(e, self.elem), lanes);
        let mask = if checked { self.mask(e, row, col, axis, lanes) } else { None };
        let other = if mask.is_some() { e.zero(ty) } else { e.poison(ty) };
        let start = self.address(e, row, col);
        let align = self.elem.bytes();
        match mask {
            None if self.contiguous == Some(axis) => e.load(ty, start, align),
            Some(mask) if self.contiguous == Some(axis) && lanes > 1 => e.masked_load(ty, start, align, mask, other),
            _ => self.gather(e, start, self.strides[if axis == Axis::Row { 0 } else { 1 }], other, mask),
        }
    }
}
