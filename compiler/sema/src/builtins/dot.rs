//! Matrix products.

use kiln_ir::ops::{DotPrecision, ScaledFormat};
use kiln_ir::{InstData, ScalarType};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;

use super::{Args, Builtin};
use crate::consts::{Num, NumOp, Truth};
use crate::elab::ops::{Operand, quoted_ty};
use crate::elab::value::{TileVal, Val};
use crate::elab::{Elab, Poison, R};
use crate::types::{Elem, Scalar, Shape, TileTy};

pub(super) static TABLE: &[Builtin] = &[
    Builtin {
        name: "dot",
        params: "a, b, acc?, precision?",
        doc: "matrix product `acc + a @ b` of [M, K] and [K, N], with an optional leading batch axis",
        run: dot,
    },
    Builtin {
        name: "dot_scaled",
        params: "a, a_scale, a_format, b, b_scale, b_format, acc?",
        doc: "product of microscaled operands: 32 values along k share an exponent byte; scales are [M, K / 32] and [N, K / 32]",
        run: dot_scaled,
    },
];

fn is_input(s: ScalarType) -> bool {
    use ScalarType::*;
    matches!(s, F16 | BF16 | F8E4M3 | F8E5M2 | I8 | F32 | F64)
}

fn inputs<'p>(el: &mut Elab<'p>, args: &Args<'p>, a: &Operand, b: &Operand) -> R<(TileVal, TileVal, Elem)> {
    for operand in [a, b] {
        let refused = match operand.tile.ty.elem {
            Elem::Scalar(Scalar::Known(s)) => !is_input(s),
            Elem::Ptr { .. } => true,
            Elem::Scalar(_) => false,
        };
        if refused {
            let mut d = Diagnostic::error(codes::DOT_TYPE, format!("`dot` does not take `{}`", operand.tile.ty.elem))
                .primary(operand.span, quoted_ty(&operand.tile.ty))
                .note("inputs are f16, bf16, f8e4m3, f8e5m2, i8, f32 or f64");
            if operand.tile.ty.elem.scalar().is_some_and(|s| s.known().is_some_and(|s| s.is_int())) {
                d = d.help("convert both to f32 (exact up to 2^24) or to i8");
            }
            return Err(el.report(d));
        }
    }
    if let (Elem::Scalar(x), Elem::Scalar(y)) = (a.tile.ty.elem, b.tile.ty.elem)
        && x.join(y).is_err()
    {
        let d = Diagnostic::error(codes::DOT_TYPE, format!("`dot` takes two operands of one type, found `{x}` and `{y}`"))
            .primary(a.span, quoted_ty(&a.tile.ty))
            .primary(b.span, quoted_ty(&b.tile.ty));
        let d = el.suggest_as(d, b.span, "convert one", &x.to_string());
        return Err(el.report(d));
    }
    let _ = args;
    el.unify(a, b, "`dot`")
}

/// The shape of a product.
fn product_shape<'p>(el: &mut Elab<'p>, a: &Operand, b: &Operand) -> R<Shape> {
    let (Some(x), Some(y)) = (a.tile.ty.shape.dims(), b.tile.ty.shape.dims()) else { return Ok(Shape::Unknown) };
    let ranks = matches!((x.len(), y.len()), (2, 2) | (3, 3));
    let k_fits = ranks && x[x.len() - 1].equals(&y[y.len() - 2]) != Truth::No;
    let batch_fits = ranks && (x.len() == 2 || x[0].equals(&y[0]) != Truth::No);
    if !k_fits || !batch_fits {
        let mut d =
            Diagnostic::error(codes::DOT_SHAPE, format!("`dot` of the shapes {} and {}", a.tile.ty.shape, b.tile.ty.shape))
                .primary(a.span, quoted_ty(&a.tile.ty))
                .primary(b.span, quoted_ty(&b.tile.ty));
        d = if !ranks {
            d.note("both operands have two axes, [M, K] and [K, N], or three with a leading batch axis")
        } else if !batch_fits {
            d.note(format!("the batch axes differ: {} and {}", x[0], y[0]))
        } else {
            let mut d = d.note(format!(
                "the last axis of `a` ({}) must equal the last but one of `b` ({})",
                x[x.len() - 1],
                y[y.len() - 2]
            ));
            if x.len() == 2 && x[1].equals(&y[1]) == Truth::Yes {
                d = match el.source(b.span) {
                    Some(text) => d.suggest("transpose the right side", b.span, format!("trans({text})")),
                    None => d.help("transpose the right side: `trans(..)`"),
                };
            }
            d
        };
        return Err(el.report(d));
    }
    let mut dims: Vec<Num> = x[..x.len() - 1].to_vec();
    dims.push(y[y.len() - 1].clone());
    Ok(Shape::of(dims))
}

/// The accumulator in the type and shape of the result.
fn accumulator<'p>(el: &mut Elab<'p>, args: &Args<'p>, want: Scalar, shape: &Shape) -> R<Option<TileVal>> {
    let Some(acc) = args.optional(el, "acc")? else { return Ok(None) };
    let Some(found) = acc.tile.scalar() else {
        return Err(el.error(
            codes::DOT_TYPE,
            acc.span,
            "an accumulator of pointers",
            format!("this is {}", quoted_ty(&acc.tile.ty)),
        ));
    };
    // In generic code f32 may turn out to be what the operands accumulate in.
    let open = (want.known().is_none() || found.known().is_none()) && found.kinds().may_be(want.kinds());
    let ok = found == want || found.is_literal() || open;
    if !ok {
        return Err(el.report(
            Diagnostic::error(codes::DOT_TYPE, format!("{} accumulates in `{want}` here, not in `{found}`", args.what()))
                .primary(acc.span, quoted_ty(&acc.tile.ty))
                .help(format!("make the accumulator with `zeros::<{want}>(..)`, and convert the result once at the end")),
        ));
    }
    if acc.tile.ty.shape.same(shape) == Truth::No && !acc.tile.is_scalar() {
        return Err(el.report(
            Diagnostic::error(
                codes::DOT_SHAPE,
                format!("the product has the shape {shape}, the accumulator {}", acc.tile.ty.shape),
            )
            .primary(acc.span, quoted_ty(&acc.tile.ty))
            .secondary(args.span, format!("a product of shape {shape}")),
        ));
    }
    let tile = el.cast_to(&acc.tile, if want == Scalar::Unknown { found.defaulted() } else { want });
    Ok(Some(el.broadcast_to(&tile, shape)))
}

fn dot<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (a, b) = (args.operand(el, "a"), args.operand(el, "b"));
    let (a, b) = (a?, b?);
    let shape = product_shape(el, &a, &b)?;
    el.check_shape(&shape, args.span)?;
    let (x, y, elem) = inputs(el, args, &a, &b)?;
    let input = elem.scalar().unwrap_or(Scalar::Unknown).defaulted();
    let want = input.acc();
    let acc = accumulator(el, args, want, &shape)?;
    let mut precision = DotPrecision::Ieee;
    if let Some(e) = args.expr(el, "precision")? {
        let words: Vec<(&str, DotPrecision)> = DotPrecision::ALL.iter().map(|p| (p.name(), *p)).collect();
        precision = el.word(e, "precision", &words)?;
        if precision != DotPrecision::Ieee && input.known().is_some_and(|s| s != ScalarType::F32) {
            return Err(el.report(
                Diagnostic::error(codes::DOT_TYPE, format!("the precision `{}` is for f32 operands", precision.name()))
                    .primary(e.span, format!("these are `{input}`"))
                    .help("leave it out: other types are multiplied exactly"),
            ));
        }
    }
    let ty = TileTy::new(acc.as_ref().and_then(TileVal::scalar).unwrap_or(want), shape);
    let (x, y) = (el.settle(&x), el.settle(&y));
    let pair = (el.value(&x), el.value(&y));
    let acc = acc.and_then(|acc| el.value(&acc));
    let ir = match pair {
        (Some(a), Some(b)) => el.sink.one(InstData::Dot { a, b, acc, precision }, &ty),
        _ => None,
    };
    Ok(Val::Tile(TileVal::new(ty, ir)))
}

/// The lane type an operand of a format has.
fn format_elem(format: ScaledFormat) -> ScalarType {
    match format {
        ScaledFormat::E4M3 => ScalarType::F8E4M3,
        ScaledFormat::E5M2 => ScalarType::F8E5M2,
        ScaledFormat::Bf16 => ScalarType::BF16,
        ScaledFormat::F16 => ScalarType::F16,
        ScaledFormat::E2M1 | ScaledFormat::E2M3 | ScaledFormat::E3M2 => ScalarType::U8,
    }
}

fn scaled_operand<'p>(el: &mut Elab<'p>, args: &Args<'p>, name: &str) -> R<(Operand, Operand, ScaledFormat)> {
    let value = args.operand(el, name);
    let scale = args.operand(el, &format!("{name}_scale"));
    let (value, scale) = (value?, scale?);
    let Some(e) = args.expr(el, &format!("{name}_format"))? else { return Err(Poison) };
    let words: Vec<(&str, ScaledFormat)> = ScaledFormat::ALL.iter().map(|f| (f.name(), *f)).collect();
    let format = el.word(e, "format", &words)?;
    let want = format_elem(format);
    if value.tile.scalar().is_some_and(|s| s.known().is_some_and(|s| s != want)) {
        return Err(el.error(
            codes::DOT_TYPE,
            value.span,
            format!("an operand of format `{}` holds `{want}`, found `{}`", format.name(), value.tile.ty.elem),
            quoted_ty(&value.tile.ty),
        ));
    }
    if scale.tile.scalar().is_some_and(|s| s.known().is_some_and(|s| s != ScalarType::U8)) {
        return Err(el.error(
            codes::DOT_TYPE,
            scale.span,
            format!("scales are exponent bytes (`u8`), found `{}`", scale.tile.ty.elem),
            quoted_ty(&scale.tile.ty),
        ));
    }
    Ok((value, scale, format))
}

fn dot_scaled<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let a = scaled_operand(el, args, "a");
    let b = scaled_operand(el, args, "b");
    let ((a, a_scale, a_format), (b, b_scale, b_format)) = (a?, b?);
    let shape = scaled_shape(el, (&a, &a_scale, a_format), (&b, &b_scale, b_format))?;
    let acc = accumulator(el, args, Scalar::F32, &shape)?;
    let ty = TileTy::new(Scalar::F32, shape);
    let parts = (el.value(&a.tile), el.value(&a_scale.tile), el.value(&b.tile), el.value(&b_scale.tile));
    let acc = acc.and_then(|acc| el.value(&acc));
    let ir = match parts {
        (Some(a), Some(a_scale), Some(b), Some(b_scale)) => {
            el.sink.one(InstData::DotScaled { a, a_scale, a_format, b, b_scale, b_format, acc }, &ty)
        }
        _ => None,
    };
    Ok(Val::Tile(TileVal::new(ty, ir)))
}

fn scaled_shape<'p>(el: &mut Elab<'p>, a: (&Operand, &Operand, ScaledFormat), b: (&Operand, &Operand, ScaledFormat)) -> R<Shape> {
    let dims = |o: &Operand| o.tile.ty.shape.dims().map(<[Num]>::to_vec);
    let (Some(x), Some(xs), Some(y), Some(ys)) = (dims(a.0), dims(a.1), dims(b.0), dims(b.1)) else { return Ok(Shape::Unknown) };
    for (operand, d) in [(a.0, &x), (a.1, &xs), (b.0, &y), (b.1, &ys)] {
        if d.len() != 2 {
            return Err(el.error(
                codes::DOT_SHAPE,
                operand.span,
                "`dot_scaled` takes operands and scales of two axes",
                quoted_ty(&operand.tile.ty),
            ));
        }
    }
    // e2m1 holds two values a byte along k.
    let k_of =
        |n: &Num, format| if format == ScaledFormat::E2M1 { n.mul(&Num::Known(2)).unwrap_or(Num::Unknown) } else { n.clone() };
    let (ka, kb) = (k_of(&x[1], a.2), k_of(&y[0], b.2));
    let scales = |k: &Num| Num::op(NumOp::Div, k, &Num::Known(32)).unwrap_or(Num::Unknown);
    let wrong = ka.equals(&kb) == Truth::No
        || xs[0].equals(&x[0]) == Truth::No
        || ys[0].equals(&y[1]) == Truth::No
        || xs[1].equals(&scales(&ka)) == Truth::No
        || ys[1].equals(&scales(&kb)) == Truth::No
        || ka.known().is_some_and(|k| k % 32 != 0);
    if wrong {
        return Err(el.report(
            Diagnostic::error(codes::DOT_SHAPE, "the shapes of `dot_scaled` do not fit together")
                .primary(a.0.span, format!("a: {} (k = {ka})", a.0.tile.ty.shape))
                .primary(a.1.span, format!("scales of a: {}", a.1.tile.ty.shape))
                .primary(b.0.span, format!("b: {} (k = {kb})", b.0.tile.ty.shape))
                .primary(b.1.span, format!("scales of b: {}", b.1.tile.ty.shape))
                .note("a is [M, K], its scales [M, K / 32], b is [K, N], its scales [N, K / 32], K a multiple of 32; e2m1 packs two values a byte along k"),
        ));
    }
    Ok(Shape::of([x[0].clone(), y[1].clone()]))
}
