//! Pointers and views: loads and stores through pointers, prefetches, tensors made from pointers.

use kiln_ir::ops::{CacheOp, Evict};
use kiln_ir::{InstData, Type, Value, ValueList};
use kiln_syntax::ast::ExprKind;
use kiln_syntax::codes;
use smallvec::SmallVec;

use super::{Args, Builtin};
use crate::elab::expr::describe;
use crate::elab::ops::quoted_ty;
use crate::elab::value::{Access, DimVal, TileVal, Val, ViewVal};
use crate::elab::{Elab, Poison, R};
use crate::types::{Elem, TileTy};

pub(super) static TABLE: &[Builtin] = &[
    Builtin {
        name: "load",
        params: "p, mask?, other?, cache?, evict?",
        doc: "reads through pointers; masked lanes give `other`, or 0",
        run: load,
    },
    Builtin {
        name: "store",
        params: "p, value, mask?, cache?, evict?",
        doc: "writes through pointers, except masked lanes",
        run: store,
    },
    Builtin {
        name: "prefetch",
        params: "p, mask?",
        doc: "brings memory towards the processor; no effect on values",
        run: prefetch,
    },
    Builtin {
        name: "view",
        params: "p, dims, strides",
        doc: "a tensor from a pointer: `view(p, [m, k], strides = [ld, 1])`, strides in elements",
        run: view,
    },
];

/// A place in memory: a slice, or pointers. With the call's mask.
pub(super) fn place<'p>(el: &mut Elab<'p>, args: &Args<'p>, name: &str) -> R<Access> {
    let span = args.span_of(name);
    let mut access = match args.raw(el, name)? {
        Val::Access(access) => *access,
        Val::Tile(tile) => el.pointer_access(&tile, span)?,
        Val::Absent(name) => return Err(el.absent(&name, span)),
        other => {
            return Err(el.error(
                codes::POINTER,
                span,
                format!("{} takes a slice or pointers, found {}", args.what(), describe(&other)),
                "a place is `x[i, j..+B]`, or a pointer `p + offsets`",
            ));
        }
    };
    if let Some(mask) = args.mask(el, &access.shape, span)? {
        access.mask = Some(match access.mask.take() {
            None => mask,
            Some(first) => {
                let a = crate::elab::ops::Operand { tile: first, span };
                let b = crate::elab::ops::Operand { tile: mask, span: args.span_of("mask") };
                el.binary(kiln_syntax::ast::BinaryOp::And, span, &a, &b)?
            }
        });
    }
    Ok(access)
}

fn hints<'p>(el: &mut Elab<'p>, args: &Args<'p>, access: &mut Access) -> R<()> {
    if let Some(e) = args.expr(el, "cache")? {
        access.cache = el.word(e, "cache operator", &[("ca", CacheOp::Ca), ("cg", CacheOp::Cg), ("cs", CacheOp::Cs)])?;
    }
    if let Some(e) = args.expr(el, "evict")? {
        access.evict = el.word(e, "eviction priority", &[("first", Evict::First), ("last", Evict::Last)])?;
    }
    Ok(())
}

fn load<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let mut access = place(el, args, "p")?;
    hints(el, args, &mut access)?;
    if let Some(other) = args.optional(el, "other")? {
        let ty = TileTy::new(access.elem, access.shape.clone());
        access.other = Some(el.coerce(&other.tile, &ty, other.span, &format!("the memory holds `{}`", access.elem))?);
    }
    Ok(Val::Tile(el.load(access)?))
}

fn store<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let access = place(el, args, "p");
    let value = args.operand(el, "value")?;
    let mut access = access?;
    hints(el, args, &mut access)?;
    el.store(&access, &value.tile, value.span)?;
    Ok(Val::Unit)
}

fn prefetch<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let access = place(el, args, "p")?;
    let mask = el.shaped(&access.mask, &access.shape);
    if let Some(place) = el.ir_place(&access) {
        el.sink.emit(InstData::Prefetch { place, mask }, &[]);
    }
    Ok(Val::Unit)
}

fn view<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let p = args.operand(el, "p")?;
    let Elem::Ptr { pointee, mutable } = p.tile.ty.elem else {
        return Err(el.error(
            codes::POINTER,
            p.span,
            "a view is made from a pointer",
            format!("this is {}", quoted_ty(&p.tile.ty)),
        ));
    };
    if !p.tile.is_scalar() {
        return Err(el.error(
            codes::POINTER,
            p.span,
            "a view is made from one pointer",
            format!("this is {}", quoted_ty(&p.tile.ty)),
        ));
    }
    let dims = index_list(el, args, "dims")?;
    let strides = index_list(el, args, "strides")?;
    if dims.len() != strides.len() || !(1..=5).contains(&dims.len()) {
        return Err(el.error(
            codes::BUILTIN_SHAPE,
            args.span,
            format!("{} dimensions and {} strides", dims.len(), strides.len()),
            "a tensor has 1 to 5 dimensions and as many strides, in elements",
        ));
    }
    let extents: SmallVec<[DimVal; 5]> = dims.iter().map(|d| d.num().map_or(DimVal::Dyn, |n| DimVal::Const(n.clone()))).collect();
    let ptr = el.value(&p.tile);
    let dim_values: Vec<Option<Value>> = dims.iter().map(|d| el.index_value(d)).collect();
    let stride_values: Vec<Option<Value>> = strides.iter().map(|s| el.index_value(s)).collect();
    let (dim_values, stride_values): (Option<ValueList>, Option<ValueList>) =
        (el.sink.all(dim_values), el.sink.all(stride_values));
    let ir = match (ptr, dim_values, stride_values, pointee.known()) {
        (Some(ptr), Some(dims), Some(strides), Some(elem)) => {
            let ty = Type::view(elem, dims.len() as u8, mutable);
            el.sink.one_typed(InstData::MakeView { ptr, dims, strides }, ty)
        }
        _ => None,
    };
    Ok(Val::View(ViewVal { elem: Elem::Scalar(pointee), dims: extents, mutable, ir, origin: None }))
}

fn index_list<'p>(el: &mut Elab<'p>, args: &Args<'p>, name: &str) -> R<Vec<TileVal>> {
    let Some(e) = args.expr(el, name)? else { return Err(Poison) };
    let ExprKind::List(list) = &e.unparen().kind else {
        return Err(el.error(codes::BUILTIN_SHAPE, e.span, format!("the {name} of a view are a list"), "write `[m, n]`"));
    };
    let mut out = Vec::new();
    for item in list {
        let tile = el.index_expr(item)?;
        if !tile.is_scalar() {
            return Err(el.error(
                codes::BAD_INDEX,
                item.span,
                format!("an entry of `{name}` is a scalar"),
                format!("this is {}", quoted_ty(&tile.ty)),
            ));
        }
        out.push(tile);
    }
    Ok(out)
}
