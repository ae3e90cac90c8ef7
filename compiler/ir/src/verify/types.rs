//! The type rule of every instruction; those of views and memory are in `memory`.

use smallvec::SmallVec;

use super::{Checker, memory};
use crate::builder::broadcast_shapes;
use crate::entity::{Inst, Value};
use crate::inst::{Combine, Const, InstData};
use crate::ops::{BinaryOp, DotPrecision, ScaledFormat, UnaryOp};
use crate::round::round_to;
use crate::types::{Elem, ScalarType, Shape, Type};

/// Number of results, then the rule of the instruction.
pub(super) fn check(c: &mut Checker<'_>, inst: Inst) {
    let func = c.func;
    let data = &func.insts[inst];
    let results: SmallVec<[Type; 4]> = func.results_of(inst).iter().map(|&v| func.ty(v)).collect();
    if let Some(expected) = num_results(c, data)
        && expected != results.len()
    {
        c.report(inst, format!("{} results, expected {expected}", results.len()));
        return;
    }
    for ty in &results {
        c.require(inst, !ty.shape().contains(&0), || format!("{ty} has an extent of 0"));
        c.require(inst, ty.num_elements() < 1 << 31, || format!("{ty} has too many elements"));
    }
    if memory::check(c, inst, &results) {
        return;
    }
    Rule { c, inst, results: &results }.check(data);
}

/// `None` where any number will do.
fn num_results(c: &Checker<'_>, data: &InstData) -> Option<usize> {
    use InstData::*;
    Some(match data {
        Store { .. } | Prefetch { .. } | AtomicStore { .. } | Yield { .. } | Assert { .. } | Print { .. } => 0,
        Assume { .. } | AssumeAligned { .. } | GridSync => 0,
        RingAcquire { .. } | RingFill { .. } | RingCommit | RingWait { .. } => 0,
        BarrierExpect { .. } | BarrierArrive { .. } | BarrierWait { .. } | TmaFill { .. } => 0,
        TmaStore { .. } | TmaStoreWait | TakeTurn | PassTurn => 0,
        DotWait { arg, .. } => usize::from(arg.is_some()),
        Split { .. } | TopK { .. } => 2,
        Reduce { args, .. } | Scan { args, .. } | Sort { args, .. } => args.len(),
        For { init, .. } => init.len(),
        While { .. } | If { .. } | InlineAsm { .. } => return None,
        Call { func, .. } => c.module.funcs.get(*func)?.results.len(),
        _ => 1,
    })
}

struct Rule<'c, 'a> {
    c: &'c mut Checker<'a>,
    inst: Inst,
    results: &'c [Type],
}

impl Rule<'_, '_> {
    fn ty(&self, value: Value) -> Type {
        self.c.func.ty(value)
    }

    fn require(&mut self, holds: bool, message: impl FnOnce() -> String) {
        self.c.require(self.inst, holds, message);
    }

    fn same(&mut self, a: Type, b: Type) {
        self.require(a == b, || format!("types {a} and {b} differ"));
    }

    /// Element type and shape agree; layouts may differ.
    fn tile_of(&mut self, found: Type, elem: Elem, shape: &[u32]) {
        let expected = Type::tile(elem, shape);
        self.require(found.is_tile() && found.with_layout(None) == expected, || format!("{found}, expected {expected}"));
    }

    fn elem(&mut self, ty: Type, what: &str, accepts: impl Fn(ScalarType) -> bool) {
        self.require(ty.scalar_elem().is_some_and(accepts), || format!("{ty} is not of {what}"));
    }

    fn axis(&mut self, axis: u8, rank: usize) -> bool {
        let fits = usize::from(axis) < rank;
        self.require(fits, || format!("axis {axis} of rank {rank}"));
        fits
    }

    fn mask(&mut self, mask: Option<Value>, shape: &[u32]) {
        if let Some(mask) = mask {
            let ty = self.ty(mask);
            self.tile_of(ty, ScalarType::Bool.into(), shape);
        }
    }

    fn check(mut self, data: &InstData) {
        use InstData::*;
        let mut views = false;
        data.visit_operands(|v| views |= self.c.func.ty(v).is_view());
        let takes_views = matches!(data, Call { .. } | Yield { .. } | For { .. } | While { .. });
        self.require(!views || takes_views, || "a view is no operand here".into());
        if views && !takes_views {
            return;
        }
        match data {
            Const { value } => self.constant(*value, self.results[0]),
            ConstTile { values } => {
                let ty = self.results[0];
                self.require(ty.num_elements() == values.len() as u64, || format!("{} values for {ty}", values.len()));
                for &value in values.iter() {
                    self.constant(value, ty);
                }
            }
            ProgramId { axis } | NumPrograms { axis } => {
                self.axis(*axis, 5);
                self.same(self.results[0], Type::index());
            }
            NumSms | BlockId | NumBlocks | ClusterRank => self.same(self.results[0], Type::index()),
            ConsumerGroup => self.same(self.results[0], Type::scalar(ScalarType::I32)),
            Iota { .. } => {
                let ty = self.results[0];
                self.elem(ty, "an integer type", ScalarType::is_int);
                self.require(ty.rank() == 1, || format!("{ty} is not of rank 1"));
            }
            Unary { op, arg } => {
                self.same(self.ty(*arg), self.results[0]);
                self.unary(*op, self.ty(*arg));
            }
            Binary { op, a, b } => {
                self.same(self.ty(*a), self.ty(*b));
                self.same(self.ty(*a), self.results[0]);
                self.binary(*op, self.ty(*a));
            }
            Fma { a, b, c } => {
                for v in [a, b, c] {
                    self.same(self.ty(*v), self.results[0]);
                }
                self.elem(self.results[0], "a float type", ScalarType::is_float);
            }
            Cmp { op, a, b } => {
                let ty = self.ty(*a);
                self.same(ty, self.ty(*b));
                self.same(self.results[0], ty.with_elem(ScalarType::Bool));
                let pointer = ty.scalar_elem().is_none();
                let equality = matches!(op, crate::ops::CmpOp::Eq | crate::ops::CmpOp::Ne);
                self.require(!pointer || equality, || "pointers have no order".into());
            }
            Select { cond, a, b } => {
                self.same(self.ty(*a), self.ty(*b));
                self.same(self.ty(*a), self.results[0]);
                self.same(self.ty(*cond), self.results[0].with_elem(ScalarType::Bool));
            }
            Cast { arg } => {
                let (from, to) = (self.ty(*arg), self.results[0]);
                self.require(from.scalar_elem().is_some() && to.scalar_elem().is_some(), || "pointers are not cast".into());
                self.same(from.with_elem(to.elem()), to);
            }
            Bitcast { arg } => {
                let (from, to) = (self.ty(*arg), self.results[0]);
                self.require(from.elem().bytes() == to.elem().bytes(), || format!("sizes of {from} and {to} differ"));
                self.same(from.with_elem(to.elem()), to);
            }
            PtrAdd { ptr, offset } => {
                let ty = self.ty(*ptr);
                self.same(ty, self.results[0]);
                self.require(ty.scalar_elem().is_none(), || format!("{ty} is not a pointer"));
                self.same(self.ty(*offset), ty.with_elem(ScalarType::Index));
            }
            Broadcast { .. }
            | ExpandDims { .. }
            | Reshape { .. }
            | Permute { .. }
            | Join { .. }
            | Split { .. }
            | Cat { .. }
            | ExtractSlice { .. }
            | Gather { .. }
            | Flip { .. }
            | ConvertLayout { .. } => self.shape(data),
            Dot { a, b, acc, precision } | DotStart { a, b, acc, precision } => self.dot(*a, *b, *acc, *precision),
            DotWait { arg, .. } => {
                if let Some(arg) = arg {
                    self.same(self.ty(*arg), self.results[0]);
                }
            }
            Hold { arg } => self.same(self.ty(*arg), self.results[0]),
            ClusterSum { arg } => {
                let ty = self.ty(*arg);
                self.same(ty, self.results[0]);
                let fits = |s: ScalarType| matches!(s.bytes(), 4 | 8) && (s.is_float() || s.is_int());
                self.elem(ty, "numbers of 32 or 64 bits", fits);
            }
            DotScaled { a, a_scale, a_format, b, b_scale, b_format, acc } => {
                self.dot_scaled([*a, *a_scale, *b, *b_scale], [*a_format, *b_format], *acc);
            }
            Reduce { args, axis, combine } => self.fold(args, *axis, *combine, true),
            Scan { args, axis, combine, .. } => self.fold(args, *axis, *combine, false),
            Sort { args, axis, .. } => {
                self.require(!args.is_empty(), || "nothing to sort".into());
                for (number, &arg) in args.iter().enumerate() {
                    let ty = self.ty(arg);
                    self.same(ty, self.results[number]);
                    self.require(ty.shape() == self.ty(args[0]).shape(), || "shapes differ".into());
                    self.axis(*axis, ty.rank());
                }
            }
            TopK { arg, k } => {
                let ty = self.ty(*arg);
                let mut shape = Shape::from_slice(ty.shape());
                match shape.last_mut() {
                    Some(last) => {
                        let extent = std::mem::replace(last, *k);
                        self.require((1..=extent).contains(k), || format!("k {k} of {extent}"));
                        self.tile_of(self.results[0], ty.elem(), &shape);
                        self.tile_of(self.results[1], ScalarType::I32.into(), &shape);
                    }
                    None => self.require(false, || "topk of a scalar".into()),
                }
            }
            Histogram { arg, bins, mask } => {
                let ty = self.ty(*arg);
                self.elem(ty, "an integer type", ScalarType::is_int);
                self.tile_of(self.results[0], ScalarType::I32.into(), &[*bins]);
                self.mask(*mask, ty.shape());
            }
            For { lo, hi, step, init, .. } => {
                let ty = self.ty(*lo);
                self.require(ty.is_scalar(), || format!("counter {ty} is not a scalar"));
                self.elem(ty, "an integer type", ScalarType::is_int);
                self.same(ty, self.ty(*hi));
                self.same(ty, self.ty(*step));
                self.require(init.iter().all(|&v| !self.c.func.ty(v).is_view()) || init.is_empty(), || {
                    "a view is carried".into()
                });
            }
            While { .. } | Yield { .. } => {}
            If { cond, .. } | Assume { cond } => self.same(self.ty(*cond), Type::bool()),
            Call { func, args } => self.call(*func, args),
            Assert { cond, .. } => self.elem(self.ty(*cond), "bool", |s| s == ScalarType::Bool),
            Print { format, args } => {
                let holes = format.matches("{}").count();
                self.require(holes == args.len(), || format!("{holes} holes for {} operands", args.len()));
            }
            AssumeAligned { ptr, bytes } => {
                let ty = self.ty(*ptr);
                self.require(ty.is_scalar() && ty.scalar_elem().is_none(), || format!("{ty} is not a scalar pointer"));
                self.require(bytes.is_power_of_two(), || format!("{bytes} is not a power of two"));
            }
            GridSync => {
                let func = self.c.func;
                let cooperative = !func.is_kernel || func.schedule.cooperative;
                self.require(cooperative, || "the kernel is not scheduled cooperative".into());
            }
            InlineAsm { args, .. } => {
                let mut shapes = self.results.iter().copied().chain(args.iter().map(|&v| self.ty(v))).map(Type::shape);
                let first = shapes.next();
                let equal = shapes.all(|s| Some(s) == first);
                self.require(equal, || "operands and results differ in shape".into());
            }
            MakeView { .. } | SubView { .. } | PermuteView { .. } | ViewDim { .. } | ViewStride { .. } | ViewPtr { .. } => {}
            Load { .. } | Store { .. } | Prefetch { .. } => {}
            RingNew { .. } | RingAcquire { .. } | RingFill { .. } | RingCommit | RingWait { .. } | RingRead { .. } => {}
            BarrierNew { .. } | BarrierExpect { .. } | BarrierArrive { .. } | BarrierWait { .. } | TmaFill { .. } => {}
            TmaStore { .. } | TmaStoreWait | TakeTurn | PassTurn => {}
            IsProducer => self.require(self.results[0] == Type::bool(), || "a role is a scalar bool".into()),
            AtomicRmw { .. } | AtomicCas { .. } | AtomicLoad { .. } | AtomicStore { .. } => {}
        }
    }

    fn constant(&mut self, value: Const, ty: Type) {
        let fits = match (value, ty.elem()) {
            (Const::Int(0), Elem::Ptr { .. }) => true,
            (_, Elem::Ptr { .. }) => false,
            (Const::Int(v), Elem::Scalar(s)) => int_fits(s, v),
            (Const::Float(v), Elem::Scalar(s)) => s.is_float() && (v.is_nan() || round_to(s, v) == v),
        };
        self.require(ty.is_tile() && fits, || format!("{value:?} is no value of {ty}"));
    }

    fn unary(&mut self, op: UnaryOp, ty: Type) {
        use UnaryOp::*;
        match op {
            Neg | Abs => self.elem(ty, "a numeric type", |s| s != ScalarType::Bool),
            Not => self.elem(ty, "an integer type or bool", |s| !s.is_float()),
            Floor | Ceil | Round | Trunc | Sqrt => self.elem(ty, "a float type", ScalarType::is_float),
            FastExp2 | FastLog2 | FastSin | FastCos | FastTanh | FastRcp | FastRsqrt | FastSqrt => {
                self.elem(ty, "f32", |s| s == ScalarType::F32);
            }
        }
    }

    fn binary(&mut self, op: BinaryOp, ty: Type) {
        use BinaryOp::*;
        match op {
            Add | Sub | Mul | Div | Rem | Min | Max => self.elem(ty, "a numeric type", |s| s != ScalarType::Bool),
            FMin | FMax => self.elem(ty, "a float type", ScalarType::is_float),
            And | Or | Xor => self.elem(ty, "an integer type or bool", |s| !s.is_float()),
            Shl | Shr => self.elem(ty, "an integer type", ScalarType::is_int),
            MulHi => self.elem(ty, "a 32- or 64-bit integer type", |s| {
                matches!(s, ScalarType::I32 | ScalarType::U32 | ScalarType::I64 | ScalarType::U64)
            }),
            FastDiv => self.elem(ty, "f32", |s| s == ScalarType::F32),
        }
    }

    fn shape(&mut self, data: &InstData) {
        use InstData::*;
        let result = self.results[0];
        match data {
            Broadcast { arg } => {
                let ty = self.ty(*arg);
                let fits = broadcast_shapes(ty.shape(), result.shape()).is_some_and(|s| s[..] == *result.shape());
                self.require(fits && ty.elem() == result.elem(), || format!("{ty} does not broadcast to {result}"));
            }
            ExpandDims { arg, axis } => {
                let ty = self.ty(*arg);
                let mut shape = Shape::from_slice(ty.shape());
                if self.axis(*axis, shape.len() + 1) {
                    shape.insert(usize::from(*axis), 1);
                    self.tile_of(result, ty.elem(), &shape);
                }
            }
            Reshape { arg } => {
                let ty = self.ty(*arg);
                let fits = ty.num_elements() == result.num_elements() && ty.elem() == result.elem();
                self.require(fits, || format!("{ty} does not reshape to {result}"));
            }
            Permute { arg, perm } => {
                let ty = self.ty(*arg);
                if is_permutation(perm, ty.rank()) {
                    let shape: Shape = perm.iter().map(|&p| ty.shape()[usize::from(p)]).collect();
                    self.tile_of(result, ty.elem(), &shape);
                } else {
                    self.require(false, || format!("{perm:?} does not permute {ty}"));
                }
            }
            Join { a, b } => {
                let ty = self.ty(*a);
                self.same(ty, self.ty(*b));
                let mut shape = Shape::from_slice(ty.shape());
                shape.push(2);
                self.tile_of(result, ty.elem(), &shape);
            }
            Split { arg } => {
                let ty = self.ty(*arg);
                match ty.shape().split_last() {
                    Some((2, rest)) => {
                        self.tile_of(result, ty.elem(), rest);
                        self.tile_of(self.results[1], ty.elem(), rest);
                    }
                    _ => self.require(false, || format!("the last extent of {ty} is not 2")),
                }
            }
            Cat { args, axis } => {
                let Some(&first) = args.first() else { return self.require(false, || "nothing to concatenate".into()) };
                let first = self.ty(first);
                if !self.axis(*axis, first.rank()) {
                    return;
                }
                let at = usize::from(*axis);
                let mut shape = Shape::from_slice(first.shape());
                shape[at] = 0;
                for &arg in args {
                    let ty = self.ty(arg);
                    let mut other = Shape::from_slice(ty.shape());
                    let extent = other.get_mut(at).map_or(0, std::mem::take);
                    let fits = other.len() == shape.len() && (0..shape.len()).all(|d| d == at || other[d] == shape[d]);
                    self.require(fits && ty.elem() == first.elem(), || format!("{first} and {ty} do not concatenate"));
                    shape[at] = shape[at].saturating_add(extent);
                }
                self.tile_of(result, first.elem(), &shape);
            }
            ExtractSlice { arg, starts } => {
                let ty = self.ty(*arg);
                let ranks = starts.len() == ty.rank() && result.rank() == ty.rank();
                let end = |d: usize| u64::from(starts[d]) + u64::from(result.shape()[d]);
                let fits = ranks && (0..starts.len()).all(|d| end(d) <= u64::from(ty.shape()[d]));
                self.require(fits && ty.elem() == result.elem(), || format!("{result} at {starts:?} is not part of {ty}"));
            }
            Gather { src, index, axis } => {
                let (table, at) = (self.ty(*src), self.ty(*index));
                self.elem(at, "an integer type", ScalarType::is_int);
                self.tile_of(result, table.elem(), at.shape());
                let d = usize::from(*axis);
                if self.axis(*axis, table.rank()) && table.rank() > 1 {
                    let fits =
                        at.rank() == table.rank() && (0..table.rank()).all(|i| i == d || at.shape()[i] == table.shape()[i]);
                    self.require(fits, || format!("positions {at} do not fit the table {table}"));
                }
            }
            Flip { arg, axis } => {
                let ty = self.ty(*arg);
                self.axis(*axis, ty.rank());
                self.tile_of(result, ty.elem(), ty.shape());
            }
            ConvertLayout { arg } => {
                let ty = self.ty(*arg);
                self.tile_of(result, ty.elem(), ty.shape());
            }
            _ => {}
        }
    }

    fn dot(&mut self, a: Value, b: Value, acc: Option<Value>, precision: DotPrecision) {
        use ScalarType::*;
        let (ta, tb, result) = (self.ty(a), self.ty(b), self.results[0]);
        self.require(ta.elem() == tb.elem(), || format!("operands {ta} and {tb} differ in element type"));
        self.elem(ta, "a type that dot takes", |s| matches!(s, F16 | BF16 | F8E4M3 | F8E5M2 | I8 | U8 | F32 | F64));
        let only_f32 = precision == DotPrecision::Ieee || ta.scalar_elem() == Some(F32);
        self.require(only_f32, || format!("precision {precision} is for f32"));
        let shape = match (ta.shape(), tb.shape()) {
            (&[m, k], &[k2, n]) if k == k2 => Shape::from_slice(&[m, n]),
            (&[batch, m, k], &[batch2, k2, n]) if k == k2 && batch == batch2 => Shape::from_slice(&[batch, m, n]),
            _ => return self.require(false, || format!("{ta} and {tb} have no product")),
        };
        if let Some(elem) = ta.scalar_elem() {
            self.tile_of(result, elem.acc().into(), &shape);
        }
        if let Some(acc) = acc {
            self.same(self.ty(acc), result);
        }
    }

    /// `values`: a, a_scale, b, b_scale.
    fn dot_scaled(&mut self, values: [Value; 4], formats: [ScaledFormat; 2], acc: Option<Value>) {
        let [a, a_scale, b, b_scale] = values.map(|v| self.ty(v));
        let per_byte = |format| if format == ScaledFormat::E2M1 { 2 } else { 1 };
        let (&[m, ka], &[kb, n]) = (a.shape(), b.shape()) else {
            return self.require(false, || format!("{a} and {b} have no product"));
        };
        let k = ka * per_byte(formats[0]);
        self.require(k == kb * per_byte(formats[1]), || format!("{a} and {b} differ in k"));
        self.require(k % 32 == 0, || format!("k {k} is not a multiple of 32"));
        self.tile_of(a_scale, ScalarType::U8.into(), &[m, k / 32]);
        self.tile_of(b_scale, ScalarType::U8.into(), &[n, k / 32]);
        self.tile_of(self.results[0], ScalarType::F32.into(), &[m, n]);
        if let Some(acc) = acc {
            self.same(self.ty(acc), self.results[0]);
        }
    }

    fn fold(&mut self, args: &[Value], axis: u8, combine: Combine, drops_axis: bool) {
        let Some(&first) = args.first() else { return self.require(false, || "nothing to combine".into()) };
        let shape = self.ty(first).shape();
        if !self.axis(axis, shape.len()) {
            return;
        }
        for (number, &arg) in args.iter().enumerate() {
            let ty = self.ty(arg);
            self.require(ty.shape() == shape, || "operands differ in shape".into());
            if drops_axis {
                let mut rest = Shape::from_slice(shape);
                rest.remove(usize::from(axis));
                self.tile_of(self.results[number], ty.elem(), &rest);
            } else {
                self.tile_of(self.results[number], ty.elem(), shape);
            }
        }
        use Combine::*;
        let operands = match combine {
            ArgMax | ArgMin => Some(2),
            Region(_) => None,
            _ => Some(1),
        };
        if let Some(expected) = operands.filter(|&n| n != args.len()) {
            return self.require(false, || format!("{} operands, expected {expected}", args.len()));
        }
        let ty = self.ty(first);
        match combine {
            Add | Mul | Max | Min => self.elem(ty, "a numeric type", |s| s != ScalarType::Bool),
            FMax | FMin => self.elem(ty, "a float type", ScalarType::is_float),
            And | Or | Xor => self.elem(ty, "an integer type or bool", |s| !s.is_float()),
            ArgMax | ArgMin => self.elem(self.ty(args[1]), "i32 (positions)", |s| s == ScalarType::I32),
            Region(_) => {}
        }
    }

    fn call(&mut self, callee: crate::entity::FuncRef, args: &[Value]) {
        let Some(callee) = self.c.module.funcs.get(callee) else { return self.require(false, || "no such function".into()) };
        self.require(!callee.is_kernel, || "a kernel is launched, not called".into());
        let params = callee.param_values();
        self.require(params.len() == args.len(), || format!("{} arguments, expected {}", args.len(), params.len()));
        for (&param, &arg) in params.iter().zip(args) {
            let (expected, found) = (callee.ty(param), self.ty(arg));
            let constant = found.is_view() && Type::view(found.elem(), found.rank() as u8, false) == expected;
            self.require(found == expected || constant, || format!("argument {found}, expected {expected}"));
        }
        for (number, &expected) in callee.results.iter().enumerate() {
            self.same(self.results[number], expected);
        }
    }
}

/// Whether an integer constant is in the type's range, as `Const` keeps it.
fn int_fits(ty: ScalarType, v: i64) -> bool {
    use ScalarType::*;
    match ty {
        Bool => matches!(v, 0 | 1),
        I8 => i8::try_from(v).is_ok(),
        I16 => i16::try_from(v).is_ok(),
        I32 => i32::try_from(v).is_ok(),
        U8 => u8::try_from(v).is_ok(),
        U16 => u16::try_from(v).is_ok(),
        U32 => u32::try_from(v).is_ok(),
        I64 | U64 | Index => true,
        F16 | BF16 | F32 | F64 | F8E4M3 | F8E5M2 => false,
    }
}

/// Whether `perm` lists each of `0..rank` once.
pub(super) fn is_permutation(perm: &[u8], rank: usize) -> bool {
    perm.len() == rank && (0..rank).all(|axis| perm.iter().any(|&p| usize::from(p) == axis))
}
