//! Where the operands of a dot come from.

use inkwell::IntPredicate;
use inkwell::types::VectorType;
use inkwell::values::{BasicValueEnum, IntValue, PointerValue, VectorValue};
use kiln_ir::ScalarType;

use super::compute::storage;
use super::emit::{Emit, Result, vector_of};

/// An axis of a matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axis {
    /// Down the rows (axis 0).
    Row,
    /// Along the columns (axis 1).
    Col,
}

/// A matrix held by a tile buffer, readable as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Direct<'ctx> {
    /// Element (0, 0), aligned to a vector.
    pub ptr: PointerValue<'ctx>,
    /// Distance of rows in elements, a multiple of a vector's lanes; columns are neighbours.
    pub row_stride: u32,
}

/// A dot operand: a matrix of compile-time extents whose elements can be asked for, a few neighbours at a time. Packing is what asks, once an element, so
/// that conversions and dequantization done in `read` cost nothing more.
pub trait Source<'ctx> {
    /// Element type of what `read` gives, in the form of [`storage`].
    fn elem(&self) -> ScalarType;

    /// The axis along which neighbours are read cheaply, if there is one.
    fn contiguous(&self) -> Option<Axis>;

    /// A run-time condition under which `read` needs no bounds checks; `None` when it never makes any.
    fn in_bounds(&self, e: &Emit<'_, 'ctx>) -> Result<Option<IntValue<'ctx>>>;

    /// `lanes` neighbours along `axis` from (`row`, `col`), all inside the compile-time extents.
    fn read(
        &self,
        e: &Emit<'_, 'ctx>,
        row: IntValue<'ctx>,
        col: IntValue<'ctx>,
        axis: Axis,
        lanes: u32,
        checked: bool,
    ) -> Result<VectorValue<'ctx>>;

    /// The matrix in memory, when it is a tile buffer that needs no conversion.
    fn direct(&self) -> Option<Direct<'ctx>> {
        None
    }
}

/// The part of one axis of a tile that is inside its tensor: positions `lo..hi`, clamped to the tile.
#[derive(Clone, Copy, Debug)]
pub struct Valid<'ctx> {
    /// First valid position (i32).
    lo: IntValue<'ctx>,
    /// One past the last valid position (i32), at least `lo`.
    hi: IntValue<'ctx>,
}

impl<'ctx> Valid<'ctx> {
    /// From any i64 positions, of an axis of `extent`.
    pub fn new(e: &Emit<'_, 'ctx>, lo: IntValue<'ctx>, hi: IntValue<'ctx>, extent: u32) -> Result<Self> {
        let clamp = |value: IntValue<'ctx>, least: IntValue<'ctx>, name: &str| -> Result<IntValue<'ctx>> {
            let value = e.intrinsic(name, &[e.index_type().into()], &[value.into(), least.into()])?;
            Ok(value.expect("a maximum has a result").into_int_value())
        };
        let lo = clamp(clamp(lo, e.index(0), "llvm.smax")?, e.index(extent.into()), "llvm.smin")?;
        let hi = clamp(clamp(hi, lo, "llvm.smax")?, e.index(extent.into()), "llvm.smin")?;
        let i32_type = e.context.i32_type();
        Ok(Valid { lo: e.builder.build_int_truncate(lo, i32_type, "")?, hi: e.builder.build_int_truncate(hi, i32_type, "")? })
    }

    /// Whether position `at` (i64) is valid.
    fn contains(&self, e: &Emit<'_, 'ctx>, at: IntValue<'ctx>) -> Result<IntValue<'ctx>> {
        let at = e.builder.build_int_truncate(at, e.context.i32_type(), "")?;
        let length = e.builder.build_int_sub(self.hi, self.lo, "")?;
        e.builder.build_int_compare(IntPredicate::ULT, e.builder.build_int_sub(at, self.lo, "")?, length, "")
    }

    /// Which of the positions `from..from + lanes` (i64) are valid.
    fn mask(&self, e: &Emit<'_, 'ctx>, from: IntValue<'ctx>, lanes: u32) -> Result<VectorValue<'ctx>> {
        let i32_type = e.context.i32_type();
        let numbers: Vec<_> = (0..lanes).map(|lane| i32_type.const_int(lane.into(), false)).collect();
        let from = e.builder.build_int_truncate(from, i32_type, "")?;
        let start = e.splat(e.builder.build_int_sub(from, self.lo, "")?, lanes)?;
        let position = e.builder.build_int_add(start, VectorType::const_vector(&numbers), "")?;
        let length = e.splat(e.builder.build_int_sub(self.hi, self.lo, "")?, lanes)?;
        e.builder.build_int_compare(IntPredicate::ULT, position, length, "")
    }

    /// Whether the whole axis of `extent` is valid.
    fn is_all(&self, e: &Emit<'_, 'ctx>, extent: u32) -> Result<IntValue<'ctx>> {
        let length = e.builder.build_int_sub(self.hi, self.lo, "")?;
        e.builder.build_int_compare(IntPredicate::EQ, length, e.context.i32_type().const_int(extent.into(), false), "")
    }
}

/// A strided matrix in memory with run-time bounds.
#[derive(Clone, Debug)]
pub struct Strided<'ctx> {
    /// Element type.
    pub elem: ScalarType,
    /// Extents.
    pub extents: [u32; 2],
    /// Where element (0, 0) is or would be.
    pub ptr: PointerValue<'ctx>,
    /// Distance in elements along each axis.
    pub strides: [IntValue<'ctx>; 2],
    /// The axis whose stride is known to be 1.
    pub contiguous: Option<Axis>,
    /// What is in bounds along each axis; `None` is everything.
    pub valid: [Option<Valid<'ctx>>; 2],
    /// Read outside the bounds (storage type); zero when absent.
    pub other: Option<BasicValueEnum<'ctx>>,
}

impl<'ctx> Strided<'ctx> {
    fn address(&self, e: &Emit<'_, 'ctx>, row: IntValue<'ctx>, col: IntValue<'ctx>) -> Result<PointerValue<'ctx>> {
        let down = if self.contiguous == Some(Axis::Row) { row } else { e.mul(row, self.strides[0])? };
        let across = if self.contiguous == Some(Axis::Col) { col } else { e.mul(col, self.strides[1])? };
        e.at(self.ptr, storage(e, self.elem), e.add(down, across)?)
    }

    /// Which of the lanes are in bounds; `None` when all are, whatever the run-time values.
    fn mask(
        &self,
        e: &Emit<'_, 'ctx>,
        row: IntValue<'ctx>,
        col: IntValue<'ctx>,
        axis: Axis,
        lanes: u32,
    ) -> Result<Option<VectorValue<'ctx>>> {
        let (along, across, [along_valid, across_valid]) = match axis {
            Axis::Row => (row, col, self.valid),
            Axis::Col => (col, row, [self.valid[1], self.valid[0]]),
        };
        let mask = along_valid.map(|valid| valid.mask(e, along, lanes)).transpose()?;
        let Some(valid) = across_valid else { return Ok(mask) };
        let inside = e.splat(valid.contains(e, across)?, lanes)?;
        mask.map_or(Ok(inside), |mask| e.builder.build_and(mask, inside, "")).map(Some)
    }
}

impl<'ctx> Source<'ctx> for Strided<'ctx> {
    fn elem(&self) -> ScalarType {
        self.elem
    }

    fn contiguous(&self) -> Option<Axis> {
        self.contiguous
    }

    fn in_bounds(&self, e: &Emit<'_, 'ctx>) -> Result<Option<IntValue<'ctx>>> {
        let mut all: Option<IntValue<'ctx>> = None;
        for (valid, extent) in self.valid.iter().zip(self.extents) {
            let Some(valid) = valid else { continue };
            let this = valid.is_all(e, extent)?;
            all = Some(all.map_or(Ok(this), |all| e.builder.build_and(all, this, ""))?);
        }
        Ok(all)
    }

    fn read(
        &self,
        e: &Emit<'_, 'ctx>,
        row: IntValue<'ctx>,
        col: IntValue<'ctx>,
        axis: Axis,
        lanes: u32,
        checked: bool,
    ) -> Result<VectorValue<'ctx>> {
        let ty = vector_of(storage(e, self.elem), lanes);
        let mask = if checked { self.mask(e, row, col, axis, lanes)? } else { None };
        let other = match (mask, self.other) {
            (Some(_), Some(other)) => e.splat(other, lanes)?,
            (Some(_), None) => ty.const_zero(),
            (None, _) => ty.get_poison(),
        };
        let start = self.address(e, row, col)?;
        let align = self.elem.bytes();
        if self.contiguous == Some(axis) {
            return match mask {
                Some(mask) => e.masked_load(ty, start, align, mask, other),
                None => Ok(e.load(ty, start, align)?.into_vector_value()),
            };
        }
        let stride = self.strides[if axis == Axis::Row { 0 } else { 1 }];
        let mut value = other;
        for lane in 0..lanes {
            let number = e.context.i32_type().const_int(lane.into(), false);
            let mut ptr = e.at(start, ty.get_element_type(), e.mul(stride, e.index(lane.into()))?)?;
            if let Some(mask) = mask {
                // A lane out of bounds reads a slot of its own instead, which spares a branch a lane.
                let slot = e.slot(ty.get_element_type())?;
                e.store(e.builder.build_extract_element(other, number, "")?, slot, align)?;
                let inside = e.builder.build_extract_element(mask, number, "")?.into_int_value();
                ptr = e.builder.build_select(inside, ptr, slot, "")?.into_pointer_value();
            }
            let element = e.load(ty.get_element_type(), ptr, align)?;
            value = e.builder.build_insert_element(value, element, number, "")?;
        }
        Ok(value)
    }
}
