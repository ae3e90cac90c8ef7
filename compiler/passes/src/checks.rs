//! `checks`: puts a check in front of everything that the checked mode watches.
//!
//! * Every load, store and atomic gets an `asm` with the text `kiln.access`, whose operands are the lanes' addresses and a mask of the lanes that take part: the bounds of
//!   a view's dimensions and the access's own mask. Code generation for the host makes a callback of it, which may end the program.
//! * `assume` becomes an assertion too; a pointer that is assumed to be aligned is checked as an access is.
//! * An integer division by a scalar asserts that it is not zero. Divisors that differ from lane to lane are not looked at: lanes out of bounds read 0, and nobody
//!   uses what they give.
//!
//! It runs on IR as `sema` made it, before anything is proved, moved or merged, so that the checks stand where the source says. What a closure of a reduction or scan reads is
//! not checked, nor are tensors of pointers themselves (what their elements point to is).
//!
//! ```text
//! before: v2: f32 = load v0[v1]
//! after:  v3: index = view_stride v0, 0
//!         v4: index = mul v1, v3
//!         v5: ptr<f32> = view_ptr v0
//!         v6: ptr<f32> = ptr_add v5, v4
//!         v7: bool = ... 0 <= v1 and v1 < view_dim v0, 0
//!         asm "kiln.access", "read", v6, v7
//!         v2: f32 = load v0[v1]
//! ```

use kiln_ir::abi::{ACCESS_CHECK, AccessKind};
use kiln_ir::builder::{Builder, access_shape};
use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Const, Elem, Function, Inst, InstData, Place, ScalarType, SliceIndex, Type, Value, ViewAccess};
use smallvec::{SmallVec, smallvec};

use crate::manager::{PassContext, PassResult};

/// Runs the pass.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    instrument(func, func.body);
    Ok(())
}

fn instrument(func: &mut Function, block: Block) {
    let insts = std::mem::take(&mut func.blocks[block].insts);
    for inst in insts {
        if !matches!(func.insts[inst], InstData::Reduce { .. } | InstData::Scan { .. }) {
            for inner in func.insts[inst].blocks() {
                instrument(func, inner);
            }
        }
        let loc = func.locs[inst];
        let mut builder = Builder::new(func, block);
        builder.loc = loc;
        before(&mut builder, inst);
        func.blocks[block].insts.push(inst);
    }
}

/// What stands in front of one instruction.
fn before(b: &mut Builder<'_>, inst: Inst) {
    let data = b.func.insts[inst].clone();
    match &data {
        InstData::Load { place, mask, .. } => access(b, place, *mask, AccessKind::Read),
        InstData::Store { place, mask, .. } => access(b, place, *mask, AccessKind::Write),
        InstData::AtomicRmw { place, mask, .. }
        | InstData::AtomicCas { place, mask, .. }
        | InstData::AtomicLoad { place, mask, .. }
        | InstData::AtomicStore { place, mask, .. } => access(b, place, *mask, AccessKind::Atomic),
        InstData::Assume { cond } => {
            b.emit(InstData::Assert { cond: *cond, message: "what is assumed does not hold".into() }, &[]);
        }
        InstData::AssumeAligned { ptr, bytes } => {
            let mask = b.int(1, Type::bool());
            check(b, *ptr, mask, AccessKind::Aligned, &bytes.to_string());
        }
        InstData::Binary { op: BinaryOp::Div | BinaryOp::Rem, a: _, b: divisor } => division(b, *divisor),
        _ => {}
    }
}

fn division(b: &mut Builder<'_>, divisor: Value) {
    let mut divisor = divisor;
    while let Some(InstData::Broadcast { arg } | InstData::ExpandDims { arg, .. }) = b.func.def_data(divisor) {
        divisor = *arg;
    }
    let ty = b.ty(divisor);
    let known = matches!(b.func.def_data(divisor), Some(InstData::Const { value: Const::Int(v) }) if *v != 0);
    if known || ty.rank() > 0 || !ty.scalar_elem().is_some_and(ScalarType::is_int) {
        return;
    }
    let zero = b.zero(ty);
    let cond = b.cmp(CmpOp::Ne, divisor, zero);
    b.emit(InstData::Assert { cond, message: "integer division by zero".into() }, &[]);
}

fn access(b: &mut Builder<'_>, place: &Place, mask: Option<Value>, kind: AccessKind) {
    let (addresses, inside) = match place {
        Place::Ptr(p) => (*p, None),
        Place::View(access) => match lanes(b, access) {
            Some((addresses, inside)) => (addresses, Some(inside)),
            None => return,
        },
    };
    let all = b.ty(addresses).with_elem(ScalarType::Bool);
    let mask = match (inside, mask) {
        (Some(inside), Some(mask)) => b.binary(BinaryOp::And, inside, mask),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => b.int(1, all),
    };
    check(b, addresses, mask, kind, "");
}

fn check(b: &mut Builder<'_>, addresses: Value, mask: Value, kind: AccessKind, detail: &str) {
    let constraints = if detail.is_empty() { kind.name().to_owned() } else { format!("{}:{detail}", kind.name()) };
    let data = InstData::InlineAsm {
        text: ACCESS_CHECK.into(),
        constraints: constraints.into(),
        args: smallvec![addresses, mask],
        pure_: false,
    };
    b.emit(data, &[]);
}

/// Addresses of the lanes of an access, and which are in bounds. None for tensors of pointers: there are no pointers to pointers.
fn lanes(b: &mut Builder<'_>, access: &ViewAccess) -> Option<(Value, Value)> {
    let view = access.view;
    let Elem::Scalar(elem) = b.ty(view).elem() else { return None };
    let shape = access_shape(b.func, access);
    let zero = b.index(0);
    let mut offset: Option<Value> = None;
    let mut inside: Option<Value> = None;
    // The joint axes of all gathers stand where the first of them stands.
    let spans = access.index.iter().filter(|i| matches!(i, SliceIndex::Span { .. })).count();
    let joint = shape.len() - spans;
    let (mut axis, mut gathered) = (0, None);
    for (dim, index) in access.index.iter().enumerate() {
        let (first, position) = match *index {
            SliceIndex::At(at) => (axis, at),
            SliceIndex::Span { start, len } => {
                let ty = Type::tile(ScalarType::Index, &[len]);
                let iota = b.emit1(InstData::Iota { start: 0 }, ty);
                let start = b.broadcast(start, &[len]);
                axis += 1;
                (axis, b.binary(BinaryOp::Add, start, iota))
            }
            SliceIndex::Gather(tile) => {
                let end = *gathered.get_or_insert_with(|| {
                    axis += joint;
                    axis
                });
                (end, tile)
            }
        };
        // The position's axes end at `first`; the axes behind it have extent 1.
        let mut own: SmallVec<[u32; 4]> = SmallVec::from_slice(b.ty(position).shape());
        if !own.is_empty() {
            own.resize(own.len() + shape.len() - first, 1);
        }
        let position = b.reshape(position, &own);
        let position = b.broadcast(position, &shape);
        let (stride, extent) = (b.emit1(InstData::ViewStride { view, axis: dim as u8 }, Type::index()), b.view_dim(view, dim));
        let (stride, extent) = (b.broadcast(stride, &shape), b.broadcast(extent, &shape));
        let zero = b.broadcast(zero, &shape);
        let step = b.binary(BinaryOp::Mul, position, stride);
        offset = Some(offset.map_or(step, |sum| b.binary(BinaryOp::Add, sum, step)));
        let (low, high) = (b.cmp(CmpOp::Ge, position, zero), b.cmp(CmpOp::Lt, position, extent));
        let both = b.binary(BinaryOp::And, low, high);
        inside = Some(inside.map_or(both, |all| b.binary(BinaryOp::And, all, both)));
    }
    let base = b.emit1(InstData::ViewPtr { view }, Type::ptr(elem, false));
    let base = b.broadcast(base, &shape);
    let ty = b.ty(base);
    let addresses = b.emit1(InstData::PtrAdd { ptr: base, offset: offset? }, ty);
    Some((addresses, inside?))
}

#[cfg(test)]
mod tests {
    use kiln_ir::text::{PrintOptions, parse_module, print_module};

    use crate::manager::{PassContext, PassOptions, Target, run_passes};

    const KERNEL: &str = "kernel @0 k(v0.x: tensor<f32, 2> {number 0, align 4, dims [?, ?], strides [?, ?]}, v1.p: mut ptr<i32> {number 1}, v2.n: i32 {number 2}) grid 1 index 64 {
    v3: index = const 2
    v4: tile<f32, [4, 8]> = load v0[v3..+4, v3..+8]
    v5: i32 = const 3
    v6: i32 = div v2, v5
    v7: i32 = rem v6, v2
    store *v1, v7
    assume_aligned v1 16
    yield
}
";

    #[test]
    fn everything_watched_gets_its_check() {
        let module = parse_module(KERNEL).unwrap_or_else(|e| panic!("{e}"));
        let context = PassContext::new(Target::Host, false);
        let options = PassOptions { verify_each: true, ..PassOptions::default() };
        let pass = crate::pipeline::find("checks").expect("there is such a pass");
        let (module, _) = run_passes(module, &[pass], &context, &options);
        let text = print_module(&module.unwrap_or_else(|e| panic!("{e}")), PrintOptions::default());
        for expected in ["\"read\"", "\"write\"", "\"aligned:16\"", "division by zero"] {
            assert_eq!(text.matches(expected).count(), 1, "{expected}\n{text}");
        }
        assert_eq!(text.matches("kiln.access").count(), 3, "{text}");
        // The lanes of the load: addresses of its shape, and bounds of both dimensions.
        assert!(text.contains("tile<ptr<f32>, [4, 8]> = ptr_add"), "{text}");
        assert_eq!(text.matches("view_dim v0").count(), 2, "{text}");
    }
}
