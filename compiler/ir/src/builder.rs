//! Appends instructions to a block, working out result types.

use smallvec::{SmallVec, smallvec};

use crate::entity::{Block, Inst, Value};
use crate::func::{Function, SrcLoc};
use crate::inst::*;
use crate::ops::*;
use crate::types::{ScalarType, Shape, Type};

/// A cursor at the end of a block. Result types follow the rules written at `InstData`; operands that break them panic here only where a type cannot
/// be worked out at all, everything else is the verifier's business.
#[derive(Debug)]
pub struct Builder<'a> {
    /// The function being built.
    pub func: &'a mut Function,
    /// Where instructions go.
    pub block: Block,
    /// Source place given to new instructions.
    pub loc: SrcLoc,
}

impl<'a> Builder<'a> {
    /// A cursor at the end of `block`.
    pub fn new(func: &'a mut Function, block: Block) -> Self {
        Builder { func, block, loc: SrcLoc::UNKNOWN }
    }

    /// Appends any instruction with the given result types.
    pub fn emit(&mut self, data: InstData, results: &[Type]) -> Inst {
        self.func.append(self.block, data, results, self.loc)
    }

    /// Appends an instruction with one result.
    pub fn emit1(&mut self, data: InstData, result: Type) -> Value {
        let inst = self.emit(data, &[result]);
        self.func.result(inst)
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.func.ty(value)
    }

    /// An integer, bool or index constant of type `ty` (splat).
    pub fn int(&mut self, value: i64, ty: Type) -> Value {
        self.emit1(InstData::Const { value: Const::Int(value) }, ty)
    }

    /// A float constant of type `ty` (splat); `value` is rounded by the caller.
    pub fn float(&mut self, value: f64, ty: Type) -> Value {
        self.emit1(InstData::Const { value: Const::Float(value) }, ty)
    }

    /// A scalar `index` constant.
    pub fn index(&mut self, value: i64) -> Value {
        self.int(value, Type::index())
    }

    /// Zero (false) of any tile type.
    pub fn zero(&mut self, ty: Type) -> Value {
        match ty.scalar_elem() {
            Some(s) if s.is_float() => self.float(0.0, ty),
            _ => self.int(0, ty),
        }
    }

    /// `op arg`.
    pub fn unary(&mut self, op: UnaryOp, arg: Value) -> Value {
        let ty = self.ty(arg);
        self.emit1(InstData::Unary { op, arg }, ty)
    }

    /// `a op b`.
    pub fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let ty = self.ty(a);
        self.emit1(InstData::Binary { op, a, b }, ty)
    }

    /// `a * b + c`.
    pub fn fma(&mut self, a: Value, b: Value, c: Value) -> Value {
        let ty = self.ty(a);
        self.emit1(InstData::Fma { a, b, c }, ty)
    }

    /// Comparison.
    pub fn cmp(&mut self, op: CmpOp, a: Value, b: Value) -> Value {
        let ty = self.ty(a).with_elem(ScalarType::Bool);
        self.emit1(InstData::Cmp { op, a, b }, ty)
    }

    /// `cond ? a : b`.
    pub fn select(&mut self, cond: Value, a: Value, b: Value) -> Value {
        let ty = self.ty(a);
        self.emit1(InstData::Select { cond, a, b }, ty)
    }

    /// Conversion to element type `to`; the value itself when it already has it.
    pub fn cast(&mut self, arg: Value, to: ScalarType) -> Value {
        let ty = self.ty(arg);
        if ty.scalar_elem() == Some(to) {
            return arg;
        }
        self.emit1(InstData::Cast { arg }, ty.with_elem(to))
    }

    /// Numpy broadcasting to `shape`; the value itself when it already has it.
    pub fn broadcast(&mut self, arg: Value, shape: &[u32]) -> Value {
        let ty = self.ty(arg);
        if ty.shape() == shape {
            return arg;
        }
        self.emit1(InstData::Broadcast { arg }, ty.with_shape(shape))
    }

    /// A new axis of extent 1.
    pub fn expand_dims(&mut self, arg: Value, axis: usize) -> Value {
        let ty = self.ty(arg);
        let mut shape = Shape::from_slice(ty.shape());
        shape.insert(axis, 1);
        self.emit1(InstData::ExpandDims { arg, axis: axis as u8 }, ty.with_shape(&shape))
    }

    /// Row-major reinterpretation.
    pub fn reshape(&mut self, arg: Value, shape: &[u32]) -> Value {
        let ty = self.ty(arg);
        if ty.shape() == shape {
            return arg;
        }
        self.emit1(InstData::Reshape { arg }, ty.with_shape(shape))
    }

    /// Axis permutation.
    pub fn permute(&mut self, arg: Value, perm: &[u8]) -> Value {
        let ty = self.ty(arg);
        let shape: Shape = perm.iter().map(|&p| ty.shape()[usize::from(p)]).collect();
        self.emit1(InstData::Permute { arg, perm: SmallVec::from_slice(perm) }, ty.with_shape(&shape))
    }

    /// Folds `axis` of every operand.
    pub fn reduce(&mut self, args: &[Value], axis: usize, combine: Combine) -> SmallVec<[Value; 2]> {
        let types: SmallVec<[Type; 2]> = args
            .iter()
            .map(|&v| {
                let ty = self.func.ty(v);
                let mut shape = Shape::from_slice(ty.shape());
                shape.remove(axis);
                ty.with_shape(&shape)
            })
            .collect();
        let inst = self.emit(InstData::Reduce { args: ValueList::from_slice(args), axis: axis as u8, combine }, &types);
        SmallVec::from_slice(self.func.results_of(inst))
    }

    /// The extent of a view's dimension.
    pub fn view_dim(&mut self, view: Value, axis: usize) -> Value {
        self.emit1(InstData::ViewDim { view, axis: axis as u8 }, Type::index())
    }

    /// Shape of the tile that an access reads or writes.
    pub fn access_shape(&self, access: &ViewAccess) -> Shape {
        access_shape(self.func, access)
    }

    /// A load from a view without mask and hints.
    pub fn load_view(&mut self, access: ViewAccess, other: Option<Value>) -> Value {
        let shape = self.access_shape(&access);
        let ty = Type::tile(self.ty(access.view).elem(), &shape);
        let data =
            InstData::Load { place: Place::View(access), mask: None, other, cache: CacheOp::Default, evict: Evict::Normal };
        self.emit1(data, ty)
    }

    /// A store to a view without mask and hints.
    pub fn store_view(&mut self, access: ViewAccess, value: Value) {
        let data =
            InstData::Store { place: Place::View(access), value, mask: None, cache: CacheOp::Default, evict: Evict::Normal };
        self.emit(data, &[]);
    }

    /// Ends the block.
    pub fn yield_(&mut self, args: &[Value]) {
        self.emit(InstData::Yield { args: ValueList::from_slice(args) }, &[]);
    }
}

/// Shape of the tile that an access reads or writes: a `Span` makes an axis, an `At` none, and the joint axes of all `Gather` tiles (broadcast
/// together) stand where the first of them stands.
pub fn access_shape(func: &Function, access: &ViewAccess) -> Shape {
    let mut joint: Shape = smallvec![];
    for index in &access.index {
        if let SliceIndex::Gather(tile) = index {
            joint = broadcast_shapes(&joint, func.ty(*tile).shape()).unwrap_or(joint);
        }
    }
    let mut shape: Shape = smallvec![];
    let mut placed = false;
    for index in &access.index {
        match index {
            SliceIndex::At(_) => {}
            SliceIndex::Span { len, .. } => shape.push(*len),
            SliceIndex::Gather(_) if placed => {}
            SliceIndex::Gather(_) => {
                shape.extend_from_slice(&joint);
                placed = true;
            }
        }
    }
    shape
}

/// Numpy broadcasting of two shapes; `None` when they do not fit.
pub fn broadcast_shapes(a: &[u32], b: &[u32]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    (0..rank)
        .map(|i| {
            let x = (i + a.len()).checked_sub(rank).map_or(1, |i| a[i]);
            let y = (i + b.len()).checked_sub(rank).map_or(1, |i| b[i]);
            match (x, y) {
                (x, y) if x == y => Some(x),
                (1, y) => Some(y),
                (x, 1) => Some(x),
                _ => None,
            }
        })
        .collect()
}
