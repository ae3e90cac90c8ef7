//! Lane-by-lane functions that are instructions: selection, rounding, minimum and maximum, integer helpers, bit casts.

use kiln_ir::InstData;
use kiln_ir::ops::{BinaryOp, UnaryOp};
use kiln_syntax::ast::BinaryOp as AstBinary;
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;

use super::create::type_arg;
use super::{Args, Builtin};
use crate::consts::{Konst, Num, NumOp};
use crate::elab::ops::{Operand, known_scalar};
use crate::elab::value::{TileVal, Val};
use crate::elab::{Elab, R};
use crate::types::{Elem, Kinds, Scalar, Shape, TileTy};

pub(super) static TABLE: &[Builtin] = &[
    Builtin { name: "select", params: "cond, a, b", doc: "a where cond is true, b elsewhere, lane by lane", run: select },
    Builtin { name: "clamp", params: "x, lo, hi", doc: "x limited to lo..=hi; NaN stays NaN", run: clamp },
    Builtin { name: "abs", params: "x", doc: "absolute value", run: abs },
    Builtin {
        name: "floor",
        params: "x",
        doc: "rounds toward minus infinity",
        run: |el, args| rounding(el, args, UnaryOp::Floor),
    },
    Builtin { name: "ceil", params: "x", doc: "rounds toward plus infinity", run: |el, args| rounding(el, args, UnaryOp::Ceil) },
    Builtin {
        name: "round",
        params: "x",
        doc: "rounds to nearest, ties to even",
        run: |el, args| rounding(el, args, UnaryOp::Round),
    },
    Builtin { name: "trunc", params: "x", doc: "rounds toward zero", run: |el, args| rounding(el, args, UnaryOp::Trunc) },
    Builtin {
        name: "sqrt",
        params: "x",
        doc: "square root, correctly rounded",
        run: |el, args| rounding(el, args, UnaryOp::Sqrt),
    },
    Builtin { name: "fma", params: "a, b, c", doc: "a * b + c, rounded once", run: fma },
    Builtin { name: "umulhi", params: "a, b", doc: "high half of the product of 32- or 64-bit integers", run: umulhi },
    Builtin { name: "cdiv", params: "a, b", doc: "a / b rounded up, for b > 0", run: cdiv },
    Builtin { name: "next_pow2", params: "n", doc: "smallest power of two that is at least the constant n", run: next_pow2 },
    Builtin { name: "bitcast", params: "x", doc: "the same bits as another type: `bitcast::<u32>(x)`", run: bitcast },
];

/// Both operands in one type and shape.
pub(super) fn pair<'p>(el: &mut Elab<'p>, a: &Operand, b: &Operand, what: &str) -> R<(TileVal, TileVal, Shape)> {
    let shape = el.unify_shapes(a, b, what)?;
    let (x, y, _) = el.unify(a, b, what)?;
    Ok((x, y, shape))
}

/// An operator on two operands, broadcast together; constants fold by `fold`.
pub(super) fn lanes<'p>(el: &mut Elab<'p>, op: BinaryOp, a: &Operand, b: &Operand, what: &str) -> R<TileVal> {
    let (x, y, shape) = pair(el, a, b, what)?;
    if shape.is_scalar()
        && let (Some(p), Some(q)) = (&x.konst, &y.konst)
        && let Some(konst) = fold(op, p, q)
    {
        return Ok(TileVal::constant(x.ty.elem, konst));
    }
    let (x, y) = (el.settle(&x), el.settle(&y));
    let (x, y) = (el.broadcast_to(&x, &shape), el.broadcast_to(&y, &shape));
    Ok(el.binary_ir(op, &x, &y))
}

fn fold(op: BinaryOp, p: &Konst, q: &Konst) -> Option<Konst> {
    match (op, p, q) {
        (BinaryOp::Min, Konst::Int(a), Konst::Int(b)) => Num::op(NumOp::Min, a, b).ok().map(Konst::Int),
        (BinaryOp::Max, Konst::Int(a), Konst::Int(b)) => Num::op(NumOp::Max, a, b).ok().map(Konst::Int),
        (BinaryOp::Min | BinaryOp::Max, Konst::Float(a), Konst::Float(b)) => {
            Some(Konst::Float(a.zip(*b).map(|(a, b)| match op {
                _ if a.is_nan() || b.is_nan() => f64::NAN,
                BinaryOp::Min => a.min(b),
                _ => a.max(b),
            })))
        }
        _ => None,
    }
}

fn select<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (cond, a, b) = (args.operand(el, "cond"), args.operand(el, "a"), args.operand(el, "b"));
    let (cond, a, b) = (cond?, a?, b?);
    args.require(el, &cond, Kinds::BOOL)?;
    let (x, y, shape) = pair(el, &a, &b, "`select`")?;
    let joint = Operand { tile: TileVal::new(TileTy::new(Scalar::BOOL, shape), None), span: a.span.merge(b.span) };
    let shape = el.unify_shapes(&cond, &joint, "`select`")?;
    if let (Some(Konst::Bool(Some(known))), true) = (&cond.tile.konst, shape.is_scalar()) {
        return Ok(Val::Tile(if *known { x } else { y }));
    }
    let (x, y) = (el.settle(&x), el.settle(&y));
    let (c, x, y) = (el.broadcast_to(&cond.tile, &shape), el.broadcast_to(&x, &shape), el.broadcast_to(&y, &shape));
    let ty = TileTy::new(x.ty.elem, shape);
    let values = (el.value(&c), el.value(&x), el.value(&y));
    let ir = match values {
        (Some(cond), Some(a), Some(b)) => el.sink.one(InstData::Select { cond, a, b }, &ty),
        _ => None,
    };
    Ok(Val::Tile(TileVal::new(ty, ir)))
}

fn clamp<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (x, lo, hi) = (args.operand(el, "x"), args.operand(el, "lo"), args.operand(el, "hi"));
    let (x, lo, hi) = (x?, lo?, hi?);
    for o in [&x, &lo, &hi] {
        args.require(el, o, Kinds::NUMBER)?;
    }
    let low = lanes(el, BinaryOp::Max, &x, &lo, "`clamp`")?;
    Ok(Val::Tile(lanes(el, BinaryOp::Min, &Operand { tile: low, span: x.span }, &hi, "`clamp`")?))
}

fn abs<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let x = args.operand_of(el, "x", Kinds::NUMBER)?;
    match &x.tile.konst {
        Some(Konst::Int(n)) => {
            if let Ok(v) = Num::op(NumOp::Abs, n, &Num::Known(0)) {
                return Ok(Val::Tile(TileVal::constant(x.tile.ty.elem, Konst::Int(v))));
            }
        }
        Some(Konst::Float(v)) => return Ok(Val::Tile(TileVal::constant(x.tile.ty.elem, Konst::Float(v.map(f64::abs))))),
        _ => {}
    }
    let unsigned = known_scalar(x.tile.ty.elem).is_some_and(|s| s.is_int() && !s.is_signed_int());
    Ok(Val::Tile(if unsigned { x.tile } else { el.unary(UnaryOp::Abs, &x.tile) }))
}

fn rounding<'p>(el: &mut Elab<'p>, args: &Args<'p>, op: UnaryOp) -> R<Val<'p>> {
    let x = args.operand_of(el, "x", Kinds::FLOAT)?;
    if let Some(Konst::Float(v)) = &x.tile.konst
        && op != UnaryOp::Sqrt
    {
        let rounded = v.map(|v| match op {
            UnaryOp::Floor => v.floor(),
            UnaryOp::Ceil => v.ceil(),
            UnaryOp::Round => v.round_ties_even(),
            _ => v.trunc(),
        });
        return Ok(Val::Tile(TileVal::constant(x.tile.ty.elem, Konst::Float(rounded))));
    }
    Ok(Val::Tile(el.unary(op, &x.tile)))
}

fn fma<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (a, b, c) = (args.operand(el, "a"), args.operand(el, "b"), args.operand(el, "c"));
    let (a, b, c) = (a?, b?, c?);
    for o in [&a, &b, &c] {
        args.require(el, o, Kinds::FLOAT)?;
    }
    // One type and shape for all three.
    let (x, y, shape) = pair(el, &a, &b, "`fma`")?;
    let first = Operand { tile: TileVal::new(TileTy::new(x.ty.elem, shape), None), span: a.span.merge(b.span) };
    let shape = el.unify_shapes(&first, &c, "`fma`")?;
    let sample = Operand { tile: TileVal { ty: TileTy::scalar(x.ty.elem), ..x.clone() }, span: a.span };
    let (_, z, elem) = el.unify(&sample, &c, "`fma`")?;
    let Elem::Scalar(scalar) = elem else { return Err(crate::elab::Poison) };
    let scalar = scalar.defaulted();
    let mut ready = Vec::new();
    for tile in [x, y, z] {
        let tile = el.cast_to(&tile, scalar);
        ready.push(el.broadcast_to(&tile, &shape));
    }
    let ty = TileTy::new(scalar, shape);
    let values = (el.value(&ready[0]), el.value(&ready[1]), el.value(&ready[2]));
    let ir = match values {
        (Some(a), Some(b), Some(c)) => el.sink.one(InstData::Fma { a, b, c }, &ty),
        _ => None,
    };
    Ok(Val::Tile(TileVal::new(ty, ir)))
}

fn umulhi<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (a, b) = (args.operand_of(el, "a", Kinds::INT), args.operand_of(el, "b", Kinds::INT));
    let (a, b) = (a?, b?);
    let out = lanes(el, BinaryOp::MulHi, &a, &b, "`umulhi`")?;
    if known_scalar(out.ty.elem).is_some_and(|s| s.bits() < 32) {
        return Err(el.report(
            Diagnostic::error(codes::BUILTIN_TYPE, format!("`umulhi` takes 32- and 64-bit integers, found `{}`", out.ty.elem))
                .primary(args.span, "")
                .help("the whole product fits 32 bits: `(a as u32 * b as u32) >> 16`"),
        ));
    }
    Ok(Val::Tile(out))
}

fn cdiv<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (a, b) = (args.operand_of(el, "a", Kinds::INTEGER), args.operand_of(el, "b", Kinds::INTEGER));
    let (a, b) = (a?, b?);
    let (x, y, shape) = pair(el, &a, &b, "`cdiv`")?;
    if let (Some(p), Some(q), true) = (x.num(), y.num(), shape.is_scalar())
        && let Ok(n) = Num::op(NumOp::Cdiv, p, q)
    {
        return Ok(Val::Tile(TileVal::constant(x.ty.elem, Konst::Int(n))));
    }
    let (x, y) = (el.settle(&x), el.settle(&y));
    let (x, y) = (el.broadcast_to(&x, &shape), el.broadcast_to(&y, &shape));
    // q + (r > 0): right for every a, where (a + b - 1) / b wraps or rounds a negative a the wrong way.
    let quotient = el.binary_ir(BinaryOp::Div, &x, &y);
    let rest = Operand { tile: el.binary_ir(BinaryOp::Rem, &x, &y), span: args.span };
    let zero = Operand { tile: TileVal::int(0i128), span: args.span };
    let more = el.binary(AstBinary::Gt, args.span, &rest, &zero)?;
    let Elem::Scalar(scalar) = quotient.ty.elem else { return Err(crate::elab::Poison) };
    let more = el.cast_to(&more, scalar);
    Ok(Val::Tile(el.binary_ir(BinaryOp::Add, &quotient, &more)))
}

fn next_pow2<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let n = args.constant(el, "n")?;
    match Num::op(NumOp::NextPow2, &n, &Num::Known(0)) {
        Ok(v) => Ok(Val::Tile(TileVal::int(v))),
        Err(_) => {
            Err(el.error(codes::CONST_OVERFLOW, args.span, "a constant overflows", format!("the next power of two of {n}")))
        }
    }
}

fn bitcast<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let to = type_arg(el, args)?;
    let x = args.operand(el, "x")?;
    let Some(to) = to else {
        return Err(el.error(codes::CANNOT_INFER, args.span, "a bit cast to which type?", "write it: `bitcast::<u32>(x)`"));
    };
    let tile = el.settle(&x.tile);
    let bits = |e: Elem| match e {
        Elem::Ptr { .. } => Some(64),
        Elem::Scalar(s) => s.known().map(|s| s.bits()),
    };
    if let (Some(from_bits), Some(to_bits)) = (bits(tile.ty.elem), bits(to))
        && from_bits != to_bits
    {
        return Err(el.report(
            Diagnostic::error(codes::BUILTIN_TYPE, format!("`bitcast` from `{}` to `{to}`", tile.ty.elem))
                .primary(x.span, format!("{from_bits} bits"))
                .note(format!("`{to}` has {to_bits} bits; a bit cast keeps the size")),
        ));
    }
    if known_scalar(tile.ty.elem) == Some(kiln_ir::ScalarType::Index) || known_scalar(to) == Some(kiln_ir::ScalarType::Index) {
        return Err(el.error(codes::BUILTIN_TYPE, x.span, "`index` has no fixed size", "convert it: `.. as i64`"));
    }
    let ty = tile.ty.with_elem(to);
    let ir = el.value(&tile).and_then(|arg| if tile.ty == ty { Some(arg) } else { el.sink.one(InstData::Bitcast { arg }, &ty) });
    Ok(Val::Tile(TileVal::new(ty, ir)))
}
