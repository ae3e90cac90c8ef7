//! Atomic accesses to elements and slices of tensors, and through pointers.

use kiln_ir::InstData;
use kiln_ir::ScalarType;
use kiln_ir::ops::{AtomicOp, MemOrder, MemScope};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;

use super::memory::place;
use super::{Args, Builtin};
use crate::elab::value::{Access, TileVal, Val};
use crate::elab::{Elab, R};
use crate::types::{Elem, Kinds, Scalar, TileTy};

pub(super) static TABLE: &[Builtin] = &[
    Builtin {
        name: "atomic_add",
        params: "place, value, mask?, order?, scope?",
        doc: "adds atomically; gives the old values",
        run: |el, a| rmw(el, a, AtomicOp::Add),
    },
    Builtin {
        name: "atomic_max",
        params: "place, value, mask?, order?, scope?",
        doc: "takes the greater atomically; gives the old values",
        run: |el, a| rmw(el, a, AtomicOp::Max),
    },
    Builtin {
        name: "atomic_min",
        params: "place, value, mask?, order?, scope?",
        doc: "takes the lesser atomically; gives the old values",
        run: |el, a| rmw(el, a, AtomicOp::Min),
    },
    Builtin {
        name: "atomic_and",
        params: "place, value, mask?, order?, scope?",
        doc: "bitwise and, atomically; gives the old values",
        run: |el, a| rmw(el, a, AtomicOp::And),
    },
    Builtin {
        name: "atomic_or",
        params: "place, value, mask?, order?, scope?",
        doc: "bitwise or, atomically; gives the old values",
        run: |el, a| rmw(el, a, AtomicOp::Or),
    },
    Builtin {
        name: "atomic_xor",
        params: "place, value, mask?, order?, scope?",
        doc: "bitwise exclusive or, atomically; gives the old values",
        run: |el, a| rmw(el, a, AtomicOp::Xor),
    },
    Builtin {
        name: "atomic_xchg",
        params: "place, value, mask?, order?, scope?",
        doc: "exchanges atomically; gives the old values; the order must be written",
        run: |el, a| rmw(el, a, AtomicOp::Xchg),
    },
    Builtin {
        name: "atomic_cas",
        params: "place, expected, value, mask?, order?, scope?",
        doc: "writes value where expected is found; gives the old values; the order must be written",
        run: cas,
    },
    Builtin { name: "atomic_load", params: "place, mask?, order?, scope?", doc: "reads atomically", run: load },
    Builtin { name: "atomic_store", params: "place, value, mask?, order?, scope?", doc: "writes atomically", run: store },
];

fn order<'p>(el: &mut Elab<'p>, args: &Args<'p>, required: bool, refused: &[MemOrder]) -> R<MemOrder> {
    let Some(e) = args.expr(el, "order")? else {
        if required {
            return Err(el.report(
                Diagnostic::error(codes::ORDER_REQUIRED, format!("{} needs its memory order written", args.what()))
                    .primary(args.span, "no `order = ..`")
                    .help("a lock is taken with `order = acquire` and given back with `order = release`; `order = relaxed` orders nothing"),
            ));
        }
        return Ok(MemOrder::Relaxed);
    };
    let words = [
        ("relaxed", MemOrder::Relaxed),
        ("acquire", MemOrder::Acquire),
        ("release", MemOrder::Release),
        ("acq_rel", MemOrder::AcqRel),
    ];
    let order = el.word(e, "memory order", &words)?;
    if refused.contains(&order) {
        return Err(el.error(
            codes::BAD_OPTION,
            e.span,
            format!("{} cannot be `{}`", args.what(), order.name()),
            "a load acquires, a store releases",
        ));
    }
    Ok(order)
}

fn scope<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<MemScope> {
    match args.expr(el, "scope")? {
        None => Ok(MemScope::Device),
        Some(e) => el.word(
            e,
            "memory scope",
            &[("device", MemScope::Device), ("program", MemScope::Program), ("system", MemScope::System)],
        ),
    }
}

/// Refuses element types an operation does not exist for.
fn check_elem<'p>(
    el: &mut Elab<'p>,
    args: &Args<'p>,
    access: &Access,
    allowed: Kinds,
    float_ok: fn(ScalarType) -> bool,
) -> R<()> {
    let refused = match access.elem {
        Elem::Ptr { .. } => true,
        Elem::Scalar(Scalar::Known(s)) if s.is_float() => !Kinds::FLOAT.within(allowed) || !float_ok(s),
        Elem::Scalar(s) => !s.kinds().within(allowed),
    };
    if !refused {
        return Ok(());
    }
    Err(el.report(
        Diagnostic::error(codes::ATOMIC_TYPE, format!("{} does not exist for `{}`", args.what(), access.elem))
            .primary(access.span, format!("elements of `{}`", access.elem))
            .note("`atomic_add` takes integers and floats of at least 16 bits, `atomic_max` and `atomic_min` integers, f32 and f64, the others integers"),
    ))
}

fn operand<'p>(el: &mut Elab<'p>, args: &Args<'p>, name: &str, access: &Access) -> R<TileVal> {
    let value = args.operand(el, name)?;
    let ty = TileTy::new(access.elem, access.shape.clone());
    el.coerce(&value.tile, &ty, value.span, &format!("the memory holds `{}`", access.elem))
}

fn no_other<'p>(el: &mut Elab<'p>, args: &Args<'p>, access: &Access) -> R<()> {
    if access.other.is_none() {
        return Ok(());
    }
    Err(el.error(
        codes::ACCESS_METHOD,
        access.span,
        format!("`.or(..)` on the place of {}", args.what()),
        "lanes that take no part give 0",
    ))
}

fn rmw<'p>(el: &mut Elab<'p>, args: &Args<'p>, op: AtomicOp) -> R<Val<'p>> {
    let access = place(el, args, "place")?;
    no_other(el, args, &access)?;
    el.require_mutable(&access)?;
    let numbers = Kinds::NUMBER;
    match op {
        AtomicOp::Add => check_elem(el, args, &access, numbers, |s| s.bits() >= 16)?,
        AtomicOp::Max | AtomicOp::Min => check_elem(el, args, &access, numbers, |s| s.bits() >= 32)?,
        AtomicOp::Xchg => check_elem(el, args, &access, numbers, |s| s.bits() >= 32)?,
        _ => check_elem(el, args, &access, Kinds::INTEGER, |_| false)?,
    }
    let value = operand(el, args, "value", &access)?;
    let order = order(el, args, op == AtomicOp::Xchg, &[])?;
    let scope = scope(el, args)?;
    let mask = el.shaped(&access.mask, &access.shape);
    let ty = TileTy::new(access.elem, access.shape.clone());
    let pair = (el.ir_place(&access), el.value(&value));
    let ir = match pair {
        (Some(place), Some(value)) => el.sink.one(InstData::AtomicRmw { op, place, value, mask, order, scope }, &ty),
        _ => None,
    };
    Ok(Val::Tile(TileVal::new(ty, ir)))
}

fn cas<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let access = place(el, args, "place")?;
    no_other(el, args, &access)?;
    el.require_mutable(&access)?;
    check_elem(el, args, &access, Kinds::INTEGER, |_| false)?;
    let expected = operand(el, args, "expected", &access)?;
    let value = operand(el, args, "value", &access)?;
    let order = order(el, args, true, &[])?;
    let scope = scope(el, args)?;
    let mask = el.shaped(&access.mask, &access.shape);
    let ty = TileTy::new(access.elem, access.shape.clone());
    let parts = (el.ir_place(&access), el.value(&expected), el.value(&value));
    let ir = match parts {
        (Some(place), Some(expected), Some(value)) => {
            el.sink.one(InstData::AtomicCas { place, expected, value, mask, order, scope }, &ty)
        }
        _ => None,
    };
    Ok(Val::Tile(TileVal::new(ty, ir)))
}

fn load<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let access = place(el, args, "place")?;
    no_other(el, args, &access)?;
    check_elem(el, args, &access, Kinds::NUMBER, |s| s.bits() >= 32)?;
    let order = order(el, args, false, &[MemOrder::Release, MemOrder::AcqRel])?;
    let scope = scope(el, args)?;
    let mask = el.shaped(&access.mask, &access.shape);
    let ty = TileTy::new(access.elem, access.shape.clone());
    let ir = el.ir_place(&access).and_then(|place| el.sink.one(InstData::AtomicLoad { place, mask, order, scope }, &ty));
    Ok(Val::Tile(TileVal::new(ty, ir)))
}

fn store<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let access = place(el, args, "place")?;
    no_other(el, args, &access)?;
    el.require_mutable(&access)?;
    check_elem(el, args, &access, Kinds::NUMBER, |s| s.bits() >= 32)?;
    let value = operand(el, args, "value", &access)?;
    let order = order(el, args, false, &[MemOrder::Acquire, MemOrder::AcqRel])?;
    let scope = scope(el, args)?;
    let mask = el.shaped(&access.mask, &access.shape);
    let pair = (el.ir_place(&access), el.value(&value));
    if let (Some(place), Some(value)) = pair {
        el.sink.emit(InstData::AtomicStore { place, value, mask, order, scope }, &[]);
    }
    Ok(Val::Unit)
}
