//! `fast::..`: hardware approximations. They compute in f32; f16, bf16 and f8 are converted and rounded back.

use kiln_ir::ScalarType;
use kiln_ir::ops::{BinaryOp, UnaryOp};
use kiln_syntax::ast::BinaryOp as AstBinary;
use kiln_syntax::codes;

use super::math::lanes;
use super::{Args, Builtin};
use crate::consts::Konst;
use crate::elab::ops::{Operand, known_scalar};
use crate::elab::value::{TileVal, Val};
use crate::elab::{Elab, R};
use crate::types::{Elem, Kinds, Scalar};

pub(super) static TABLE: &[Builtin] = &[
    Builtin {
        name: "fast::exp2",
        params: "x",
        doc: "2^x, hardware approximation",
        run: |el, a| of(el, a, None, UnaryOp::FastExp2, None),
    },
    Builtin {
        name: "fast::exp",
        params: "x",
        doc: "e^x, hardware approximation",
        run: |el, a| of(el, a, Some(std::f64::consts::LOG2_E), UnaryOp::FastExp2, None),
    },
    Builtin {
        name: "fast::log2",
        params: "x",
        doc: "log2 x, hardware approximation",
        run: |el, a| of(el, a, None, UnaryOp::FastLog2, None),
    },
    Builtin {
        name: "fast::log",
        params: "x",
        doc: "ln x, hardware approximation",
        run: |el, a| of(el, a, None, UnaryOp::FastLog2, Some(std::f64::consts::LN_2)),
    },
    Builtin {
        name: "fast::sin",
        params: "x",
        doc: "sin x, hardware approximation, for |x| up to about 100",
        run: |el, a| of(el, a, None, UnaryOp::FastSin, None),
    },
    Builtin {
        name: "fast::cos",
        params: "x",
        doc: "cos x, hardware approximation, for |x| up to about 100",
        run: |el, a| of(el, a, None, UnaryOp::FastCos, None),
    },
    Builtin {
        name: "fast::tanh",
        params: "x",
        doc: "tanh x, hardware approximation, about 2^-11",
        run: |el, a| of(el, a, None, UnaryOp::FastTanh, None),
    },
    Builtin { name: "fast::rcp", params: "x", doc: "1 / x, at most 1 ulp", run: |el, a| of(el, a, None, UnaryOp::FastRcp, None) },
    Builtin {
        name: "fast::rsqrt",
        params: "x",
        doc: "1 / sqrt(x), at most 2 ulp",
        run: |el, a| of(el, a, None, UnaryOp::FastRsqrt, None),
    },
    Builtin {
        name: "fast::sqrt",
        params: "x",
        doc: "sqrt(x), approximate",
        run: |el, a| of(el, a, None, UnaryOp::FastSqrt, None),
    },
    Builtin { name: "fast::sigmoid", params: "x", doc: "1 / (1 + e^-x), from approximations", run: sigmoid },
    Builtin { name: "fast::div", params: "a, b", doc: "a / b, at most 2 ulp for ordinary magnitudes", run: div },
];

/// The operand in f32, and the type to go back to.
fn in_f32<'p>(el: &mut Elab<'p>, args: &Args<'p>, name: &str) -> R<(Operand, Scalar)> {
    let x = args.operand_of(el, name, Kinds::FLOAT)?;
    if known_scalar(x.tile.ty.elem) == Some(ScalarType::F64) {
        return Err(el.error(
            codes::BUILTIN_TYPE,
            x.span,
            format!("{} has no f64 form", args.what()),
            "this is f64; the exact functions without `fast::` take it",
        ));
    }
    let back = x.tile.scalar().unwrap_or(Scalar::F32).defaulted();
    let tile = el.cast_to(&x.tile, Scalar::F32);
    Ok((Operand { tile, span: x.span }, back))
}

fn scaled<'p>(el: &mut Elab<'p>, tile: &TileVal, factor: f64, args: &Args<'p>) -> R<TileVal> {
    let a = Operand { tile: tile.clone(), span: args.span };
    let b = Operand { tile: TileVal::constant(Scalar::F32, Konst::Float(Some(factor)).cast(ScalarType::F32)), span: args.span };
    el.binary(AstBinary::Mul, args.span, &a, &b)
}

fn of<'p>(el: &mut Elab<'p>, args: &Args<'p>, before: Option<f64>, op: UnaryOp, after: Option<f64>) -> R<Val<'p>> {
    let (x, back) = in_f32(el, args, "x")?;
    let mut tile = x.tile;
    if let Some(factor) = before {
        tile = scaled(el, &tile, factor, args)?;
    }
    tile = el.unary(op, &tile);
    if let Some(factor) = after {
        tile = scaled(el, &tile, factor, args)?;
    }
    Ok(Val::Tile(el.cast_to(&tile, back)))
}

fn sigmoid<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (x, back) = in_f32(el, args, "x")?;
    let power = scaled(el, &x.tile, -std::f64::consts::LOG2_E, args)?;
    let power = Operand { tile: el.unary(UnaryOp::FastExp2, &power), span: args.span };
    let one = Operand { tile: TileVal::constant(Scalar::F32, Konst::Float(Some(1.0))), span: args.span };
    let sum = el.binary(AstBinary::Add, args.span, &power, &one)?;
    let out = el.unary(UnaryOp::FastRcp, &sum);
    Ok(Val::Tile(el.cast_to(&out, back)))
}

fn div<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (a, b) = (in_f32(el, args, "a"), in_f32(el, args, "b"));
    let ((a, x), (b, y)) = (a?, b?);
    let out = lanes(el, BinaryOp::FastDiv, &a, &b, "`fast::div`")?;
    let back = if let Elem::Scalar(_) = out.ty.elem { x.join(y).unwrap_or(Scalar::F32) } else { Scalar::F32 };
    Ok(Val::Tile(el.cast_to(&out, back)))
}
