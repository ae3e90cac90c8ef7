//! Checks, facts and output: `assert`, `print`, `assume`, their compile-time forms, the grid barrier, inline assembly.

use std::sync::Arc;

use kiln_ir::{InstData, Value, ValueList};
use kiln_syntax::ast::{Expr, ExprKind, LiteralKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::{Diagnostic, Severity};

use super::create::type_arg;
use super::reduce::flag;
use super::{Args, Builtin};
use crate::consts::Konst;
use crate::elab::ops::{Operand, quoted_ty};
use crate::elab::value::{TileVal, Val};
use crate::elab::{Elab, Poison, R};
use crate::types::{Elem, Kinds, Shape, TileTy};

pub(super) static TABLE: &[Builtin] = &[
    Builtin {
        name: "assert",
        params: "cond, message?",
        doc: "reports a failure with source line and program id where a lane is false",
        run: assert,
    },
    Builtin { name: "print", params: "values*", doc: "prints one line a program: `print(\"x = {}\", x)`", run: print },
    Builtin {
        name: "static_assert",
        params: "cond, message?",
        doc: "a compile error where a constant condition is false",
        run: static_assert,
    },
    Builtin {
        name: "static_print",
        params: "values*",
        doc: "shows types and constants when the kernel is compiled",
        run: static_print,
    },
    Builtin {
        name: "assume",
        params: "fact",
        doc: "states a fact about run-time values: `assume(ld % 8 == 0)`, `assume(aligned(p, 16))`",
        run: assume,
    },
    Builtin {
        name: "grid_sync",
        params: "",
        doc: "waits for all programs of the grid (kernels scheduled `cooperative`)",
        run: grid_sync,
    },
    Builtin {
        name: "asm",
        params: "text, constraints, values*, pure?",
        doc: "inline PTX, lane by lane: `asm::<f32>(\"ex2.approx.f32 $0, $1;\", \"=f,f\", x, pure = true)`",
        run: asm,
    },
];

fn text<'p>(el: &mut Elab<'p>, e: &'p Expr, what: &str) -> R<Arc<str>> {
    match &e.unparen().kind {
        ExprKind::Literal(literal) => match &literal.kind {
            LiteralKind::Str(s) => Ok(s.clone()),
            _ => Err(el.error(codes::BUILTIN_TYPE, e.span, format!("{what} is a string"), "not a string literal")),
        },
        _ => Err(el.error(codes::BUILTIN_TYPE, e.span, format!("{what} is a string"), "not a string literal")),
    }
}

fn message<'p>(el: &mut Elab<'p>, args: &Args<'p>, default: &str) -> R<Arc<str>> {
    match args.expr(el, "message")? {
        Some(e) => text(el, e, "the message"),
        None => Ok(default.into()),
    }
}

fn assert<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let cond = args.operand_of(el, "cond", Kinds::BOOL)?;
    let message = message(el, args, "assertion failed")?;
    if let Some(cond) = el.value(&cond.tile) {
        el.sink.emit(InstData::Assert { cond, message }, &[]);
    }
    Ok(Val::Unit)
}

fn static_assert<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let cond = args.operand_of(el, "cond", Kinds::BOOL)?;
    let message = message(el, args, "static assertion failed")?;
    match cond.tile.konst {
        Some(Konst::Bool(Some(true) | None)) => Ok(Val::Unit),
        Some(_) => Err(el.error(codes::STATIC_ASSERT, cond.span, message.to_string(), "this is false")),
        None => Err(el.report(
            Diagnostic::error(codes::NOT_CONSTANT, "`static_assert` takes a constant condition")
                .primary(cond.span, "known only at run time")
                .help("`assert` checks when the kernel runs"),
        )),
    }
}

/// The format and the operands of a print: a first string is the format.
fn formatted<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<(Arc<str>, Vec<Operand>)> {
    let mut format: Option<Arc<str>> = None;
    let mut operands = Vec::new();
    for (i, arg) in args.all("values").to_vec().into_iter().enumerate() {
        match el.argument(&arg, false)? {
            Val::Str(s) if i == 0 => format = Some(s),
            val => {
                let tile = el.tile_of(val, arg.span)?;
                operands.push(Operand { tile: el.settle(&tile), span: arg.span });
            }
        }
    }
    let holes = |f: &str| f.matches("{}").count();
    let format = format.unwrap_or_else(|| vec!["{}"; operands.len()].join(" ").into());
    if holes(&format) != operands.len() {
        return Err(el.error(
            codes::FORMAT,
            args.span,
            format!("{} holes `{{}}` for {} values", holes(&format), operands.len()),
            "each value has a hole",
        ));
    }
    Ok((format, operands))
}

fn print<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (format, operands) = formatted(el, args)?;
    let values: Vec<Option<Value>> = operands.iter().map(|o| el.value(&o.tile)).collect();
    let list: Option<ValueList> = el.sink.all(values);
    if let Some(list) = list {
        el.sink.emit(InstData::Print { format, args: list }, &[]);
    }
    Ok(Val::Unit)
}

fn static_print<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (format, operands) = formatted(el, args)?;
    if el.generic {
        // Shown where the values are known.
        return Ok(Val::Unit);
    }
    let mut message = String::new();
    let mut parts = format.split("{}");
    message.push_str(parts.next().unwrap_or(""));
    for (part, operand) in parts.zip(&operands) {
        let shown = match &operand.tile.konst {
            Some(Konst::Int(n)) => n.to_string(),
            Some(Konst::Bool(Some(b))) => b.to_string(),
            Some(Konst::Float(Some(v))) => v.to_string(),
            _ => operand.tile.ty.to_string(),
        };
        message.push_str(&shown);
        message.push_str(part);
    }
    el.report(Diagnostic::new(Severity::Note, codes::STATIC_PRINT, message).primary(args.span, "printed here"));
    Ok(Val::Unit)
}

fn assume<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    if let Some(e) = args.expr(el, "fact")?
        && let ExprKind::Call { path, args: inner, .. } = &e.unparen().kind
        && path.to_string() == "aligned"
    {
        let [p, bytes] = inner.as_slice() else {
            return Err(el.error(
                codes::ARG_COUNT,
                e.span,
                "`aligned` takes a pointer and a number of bytes",
                "`aligned(p, 16)`",
            ));
        };
        let ptr = el.operand(&p.value)?;
        if !matches!(ptr.tile.ty.elem, Elem::Ptr { .. }) || !ptr.tile.is_scalar() {
            return Err(el.error(
                codes::POINTER,
                ptr.span,
                "`aligned` takes a pointer",
                format!("this is {}", quoted_ty(&ptr.tile.ty)),
            ));
        }
        let n = el.const_usize(&bytes.value, "an alignment")?;
        if let Some(n) = n
            && (!n.is_power_of_two() || n > 4096)
        {
            return Err(el.error(
                codes::BAD_OPTION,
                bytes.span,
                format!("an alignment of {n} bytes"),
                "a power of two up to 4096",
            ));
        }
        if let (Some(ptr), Some(n)) = (el.value(&ptr.tile), n) {
            el.sink.emit(InstData::AssumeAligned { ptr, bytes: n as u32 }, &[]);
        }
        return Ok(Val::Unit);
    }
    let cond = args.operand_of(el, "fact", Kinds::BOOL)?;
    if !cond.tile.is_scalar() {
        return Err(el.error(
            codes::CONDITION,
            cond.span,
            "`assume` takes a scalar bool",
            format!("this is {}; `all(..)` makes one bool of it", quoted_ty(&cond.tile.ty)),
        ));
    }
    if let Some(cond) = el.value(&cond.tile) {
        el.sink.emit(InstData::Assume { cond }, &[]);
    }
    Ok(Val::Unit)
}

fn grid_sync<'p>(el: &mut Elab<'p>, _: &Args<'p>) -> R<Val<'p>> {
    el.sink.emit(InstData::GridSync, &[]);
    Ok(Val::Unit)
}

fn asm<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let result = type_arg(el, args)?;
    let (Some(code), Some(constraints)) = (args.expr(el, "text")?, args.expr(el, "constraints")?) else { return Err(Poison) };
    let (code, constraints) = (text(el, code, "the assembly")?, text(el, constraints, "the constraints")?);
    let mut operands: Vec<Operand> = Vec::new();
    for arg in args.all("values").to_vec() {
        let val = el.argument(&arg, false)?;
        let tile = el.tile_of(val, arg.span)?;
        operands.push(Operand { tile: el.settle(&tile), span: arg.span });
    }
    let pure_ = flag(el, args, "pure")?;
    let mut shape = Shape::scalar();
    let mut previous: Option<Operand> = None;
    for operand in &operands {
        if let Some(first) = &previous {
            let joint = Operand { tile: TileVal::new(TileTy::new(first.tile.ty.elem, shape.clone()), None), span: first.span };
            shape = el.unify_shapes(&joint, operand, "`asm`")?;
        } else {
            shape = operand.tile.ty.shape.clone();
        }
        previous = Some(operand.clone());
    }
    let mut values = Vec::new();
    for operand in &operands {
        let tile = el.broadcast_to(&operand.tile, &shape);
        values.push(el.value(&tile));
    }
    let list: Option<ValueList> = el.sink.all(values);
    let Some(list) = list else {
        return Ok(result.map_or(Val::Unit, |elem| Val::Tile(TileVal::new(TileTy::new(elem, shape), None))));
    };
    let data = InstData::InlineAsm { text: code, constraints, args: list, pure_ };
    match result {
        None => {
            el.sink.emit(data, &[]);
            Ok(Val::Unit)
        }
        Some(elem) => {
            let ty = TileTy::new(elem, shape);
            let ir = el.sink.one(data, &ty);
            Ok(Val::Tile(TileVal::new(ty, ir)))
        }
    }
}
