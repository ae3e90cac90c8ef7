//! Functions that rearrange tiles: reshaping, permuting, joining, gathering, reversing. `trans` and `permute` of tensors are views.

use kiln_ir::{InstData, Type, ValueList};
use kiln_syntax::ast::ExprKind;
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use smallvec::SmallVec;

use super::args::Axis;
use super::{Args, Builtin};
use crate::consts::{Num, Truth};
use crate::elab::ops::{Operand, quoted_ty};
use crate::elab::value::{TileVal, Val, ViewVal};
use crate::elab::{Elab, Poison, R};
use crate::types::{Kinds, Shape, TileTy, broadcast};

pub(super) static TABLE: &[Builtin] = &[
    Builtin { name: "reshape", params: "x, shape", doc: "the same elements, row-major, in another shape", run: reshape },
    Builtin { name: "expand", params: "x, shape", doc: "x stretched to a shape by broadcasting", run: expand },
    Builtin { name: "trans", params: "x", doc: "the last two axes of a tile or tensor exchanged", run: trans },
    Builtin {
        name: "permute",
        params: "x, order",
        doc: "axes of a tile or tensor reordered: axis i of the result is axis order[i]",
        run: permute,
    },
    Builtin { name: "join", params: "a, b", doc: "two tiles along a new last axis of length 2", run: join },
    Builtin { name: "split", params: "x", doc: "the two parts of a last axis of length 2, without it", run: split },
    Builtin {
        name: "interleave",
        params: "a, b, axis?",
        doc: "a[0], b[0], a[1], b[1], .. along an axis (the last unless told)",
        run: interleave,
    },
    Builtin { name: "cat", params: "parts*, axis?", doc: "tiles one behind the other along an axis (0 unless told)", run: cat },
    Builtin { name: "flip", params: "x, axis?", doc: "x with an axis reversed (the last unless told)", run: flip },
    Builtin {
        name: "gather",
        params: "src, index, axis?",
        doc: "elements of a tile selected by positions; out of bounds gives 0",
        run: gather,
    },
];

fn new_tile<'p>(el: &mut Elab<'p>, ty: TileTy, data: Option<InstData>) -> Val<'p> {
    let ir = data.and_then(|data| el.sink.one(data, &ty));
    Val::Tile(TileVal::new(ty, ir))
}

fn target_shape<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Shape> {
    match args.expr(el, "shape")? {
        Some(e) => el.shape_list(e),
        None => Err(Poison),
    }
}

fn settled<'p>(el: &mut Elab<'p>, args: &Args<'p>, name: &str) -> R<Operand> {
    let x = args.operand(el, name)?;
    Ok(Operand { tile: el.settle(&x.tile), span: x.span })
}

fn reshape<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (x, shape) = (settled(el, args, "x"), target_shape(el, args));
    let (x, shape) = (x?, shape?);
    let count = |s: &Shape| s.dims().and_then(|d| d.iter().try_fold(Num::Known(1), |a, n| a.mul(n).ok()));
    if let (Some(a), Some(b)) = (count(&x.tile.ty.shape), count(&shape))
        && a.equals(&b) == Truth::No
    {
        return Err(el.report(
            Diagnostic::error(codes::BUILTIN_SHAPE, format!("`reshape` from {} to {shape}", x.tile.ty.shape))
                .primary(x.span, format!("{a} elements"))
                .primary(args.span_of("shape"), format!("{b} elements"))
                .note("reshaping keeps the number of elements"),
        ));
    }
    Ok(Val::Tile(el.reshape_to(&x.tile, shape)))
}

fn expand<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (x, shape) = (settled(el, args, "x"), target_shape(el, args));
    let (x, shape) = (x?, shape?);
    let fits = broadcast(&x.tile.ty.shape, &shape).is_some_and(|j| j.same(&shape) != Truth::No);
    if !fits {
        return Err(el.report(
            Diagnostic::error(codes::BUILTIN_SHAPE, format!("`expand` from {} to {shape}", x.tile.ty.shape))
                .primary(x.span, quoted_ty(&x.tile.ty))
                .primary(args.span_of("shape"), "")
                .note("only axes of length 1, and new ones in front, can be stretched"),
        ));
    }
    let mut out = el.broadcast_to(&x.tile, &shape);
    out.ty.shape = shape;
    Ok(Val::Tile(out))
}

fn permuted<'p>(
    el: &mut Elab<'p>,
    val: Val<'p>,
    args: &Args<'p>,
    order: impl FnOnce(&mut Elab<'p>, usize) -> R<Option<SmallVec<[u8; 4]>>>,
) -> R<Val<'p>> {
    let span = args.span_of("x");
    match val {
        Val::View(view) => {
            let Some(perm) = order(el, view.dims.len())? else { return Ok(Val::View(view)) };
            let dims = perm.iter().map(|&i| view.dims[usize::from(i)].clone()).collect();
            let ir = el.sink.need(view.ir).and_then(|v| {
                let elem = TileTy::scalar(view.elem).ir()?.elem();
                el.sink.one_typed(
                    InstData::PermuteView { view: v, perm: perm.clone() },
                    Type::view(elem, perm.len() as u8, view.mutable),
                )
            });
            Ok(Val::View(ViewVal { dims, ir, ..view }))
        }
        other => {
            let tile = el.tile_of(other, span)?;
            let tile = el.settle(&tile);
            let Some(dims) = tile.ty.shape.dims().map(<[Num]>::to_vec) else {
                return Ok(Val::Tile(TileVal::new(TileTy::new(tile.ty.elem, Shape::Unknown), None)));
            };
            let Some(perm) = order(el, dims.len())? else {
                return Ok(Val::Tile(TileVal::new(TileTy::new(tile.ty.elem, Shape::Unknown), None)));
            };
            let shape = Shape::of(perm.iter().map(|&i| dims[usize::from(i)].clone()));
            let ty = TileTy::new(tile.ty.elem, shape);
            let arg = el.value(&tile);
            Ok(new_tile(el, ty, arg.map(|arg| InstData::Permute { arg, perm })))
        }
    }
}

fn trans<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let val = args.val(el, "x")?;
    permuted(el, val, args, |el, rank| {
        if rank < 2 {
            return Err(el.error(
                codes::BUILTIN_SHAPE,
                args.span_of("x"),
                format!("`trans` of rank {rank}"),
                "it takes at least two axes; `x[:, None]` makes a column",
            ));
        }
        let mut perm: SmallVec<[u8; 4]> = (0..rank as u8).collect();
        perm.swap(rank - 1, rank - 2);
        Ok(Some(perm))
    })
}

fn permute<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let val = args.val(el, "x")?;
    let Some(order) = args.expr(el, "order")? else { return Err(Poison) };
    permuted(el, val, args, |el, rank| {
        let ExprKind::List(list) = &order.unparen().kind else {
            return Err(el.error(codes::BUILTIN_SHAPE, order.span, "the order of axes is a list", "write `[1, 0]`"));
        };
        let mut perm: SmallVec<[u8; 4]> = SmallVec::new();
        for e in list {
            let Some(axis) = el.const_usize(e, "an axis")? else { return Ok(None) };
            perm.push(u8::try_from(axis).unwrap_or(u8::MAX));
        }
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if sorted.iter().copied().ne(0..rank as u8) {
            return Err(el.error(
                codes::BUILTIN_SHAPE,
                order.span,
                format!("not an order of {rank} axes"),
                format!("each of 0 to {} stands in it once", rank.max(1) - 1),
            ));
        }
        Ok(Some(perm))
    })
}

/// Two tiles of one type and shape.
fn alike<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<(TileVal, TileVal)> {
    let (a, b) = (args.operand(el, "a"), args.operand(el, "b"));
    let (a, b) = (a?, b?);
    let what = args.what();
    let shape = el.unify_shapes(&a, &b, &what)?;
    let (x, y, _) = el.unify(&a, &b, &what)?;
    let (x, y) = (el.settle(&x), el.settle(&y));
    Ok((el.broadcast_to(&x, &shape), el.broadcast_to(&y, &shape)))
}

fn joined<'p>(el: &mut Elab<'p>, a: &TileVal, b: &TileVal) -> TileVal {
    let shape = match a.ty.shape.dims() {
        Some(d) => Shape::of(d.iter().cloned().chain([Num::Known(2)])),
        None => Shape::Unknown,
    };
    let ty = TileTy::new(a.ty.elem, shape);
    let values = (el.value(a), el.value(b));
    let ir = match values {
        (Some(a), Some(b)) => el.sink.one(InstData::Join { a, b }, &ty),
        _ => None,
    };
    TileVal::new(ty, ir)
}

fn join<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (a, b) = alike(el, args)?;
    let out = joined(el, &a, &b);
    el.check_shape(&out.ty.shape, args.span)?;
    Ok(Val::Tile(out))
}

fn split<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let x = settled(el, args, "x")?;
    let ty = match x.tile.ty.shape.dims() {
        None => TileTy::new(x.tile.ty.elem, Shape::Unknown),
        Some([rest @ .., last]) if last.equals(&Num::Known(2)) != Truth::No => {
            TileTy::new(x.tile.ty.elem, Shape::of(rest.iter().cloned()))
        }
        Some(_) => {
            return Err(el.report(
                Diagnostic::error(codes::BUILTIN_SHAPE, format!("`split` of {}", quoted_ty(&x.tile.ty)))
                    .primary(x.span, "the last axis must have length 2")
                    .help("`reshape` makes one: `split(reshape(x, [N / 2, 2]))`"),
            ));
        }
    };
    let inst = el.value(&x.tile).and_then(|arg| {
        let ir = ty.ir()?;
        el.sink.emit(InstData::Split { arg }, &[ir, ir])
    });
    let list = el.sink.results(inst, 2).into_iter().map(|ir| Val::Tile(TileVal::new(ty.clone(), ir))).collect();
    Ok(Val::Tuple(list))
}

fn interleave<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (a, b) = alike(el, args)?;
    let axis = args.axis(el, "axis", &a.ty.shape)?;
    let Some(dims) = a.ty.shape.dims().map(<[Num]>::to_vec) else {
        return Ok(Val::Tile(TileVal::new(TileTy::new(a.ty.elem, Shape::Unknown), None)));
    };
    let axis = match axis {
        Axis::At(axis) => axis,
        Axis::None if !dims.is_empty() => dims.len() - 1,
        Axis::Open => return Ok(Val::Tile(TileVal::new(TileTy::new(a.ty.elem, Shape::Unknown), None))),
        Axis::None => {
            return Err(el.error(
                codes::BUILTIN_SHAPE,
                args.span,
                "`interleave` of scalars",
                "it takes tiles; `join` makes one of two scalars",
            ));
        }
    };
    let mut out_dims = dims.clone();
    out_dims[axis] = dims[axis].mul(&Num::Known(2)).unwrap_or(Num::Unknown);
    let shape = Shape::of(out_dims);
    el.check_shape(&shape, args.span)?;
    let mut tile = joined(el, &a, &b);
    if axis + 1 != dims.len() {
        // The new axis goes behind the one that is interleaved.
        let rank = dims.len();
        let perm: SmallVec<[u8; 4]> = (0..=axis as u8).chain([rank as u8]).chain(axis as u8 + 1..rank as u8).collect();
        let joint =
            tile.ty.shape.dims().map(|d| Shape::of(perm.iter().map(|&i| d[usize::from(i)].clone()))).unwrap_or(Shape::Unknown);
        let ty = TileTy::new(tile.ty.elem, joint);
        let ir = el.value(&tile).and_then(|arg| el.sink.one(InstData::Permute { arg, perm }, &ty));
        tile = TileVal::new(ty, ir);
    }
    Ok(Val::Tile(el.reshape_to(&tile, shape)))
}

fn cat<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let mut parts: Vec<Operand> = Vec::new();
    for arg in args.all("parts").to_vec() {
        match el.argument(&arg, false)? {
            Val::Tuple(list) => {
                for v in list {
                    let tile = el.tile_of(v, arg.span)?;
                    parts.push(Operand { tile, span: arg.span });
                }
            }
            v => {
                let tile = el.tile_of(v, arg.span)?;
                parts.push(Operand { tile, span: arg.span });
            }
        }
    }
    let Some(first) = parts.first().cloned() else {
        return Err(el.error(codes::ARG_COUNT, args.span, "`cat` of nothing", "it takes tiles"));
    };
    let axis = match args.axis(el, "axis", &first.tile.ty.shape)? {
        Axis::At(axis) => axis,
        Axis::None => 0,
        Axis::Open => return Ok(Val::Tile(TileVal::new(TileTy::new(first.tile.ty.elem, Shape::Unknown), None))),
    };
    let mut elem = first.tile.ty.elem;
    for part in &parts[1..] {
        let sample = Operand { tile: TileVal { ty: TileTy::scalar(elem), ..first.tile.clone() }, span: first.span };
        elem = el.unify(&sample, part, "`cat`")?.2;
    }
    let Some(dims) = first.tile.ty.shape.dims().map(<[Num]>::to_vec) else {
        return Ok(Val::Tile(TileVal::new(TileTy::new(elem, Shape::Unknown), None)));
    };
    if dims.is_empty() {
        return Err(el.error(
            codes::BUILTIN_SHAPE,
            first.span,
            "`cat` of scalars",
            "it takes tiles; `join` makes one of two scalars",
        ));
    }
    let mut total = Num::Known(0);
    for part in &parts {
        let Some(other) = part.tile.ty.shape.dims() else {
            return Ok(Val::Tile(TileVal::new(TileTy::new(elem, Shape::Unknown), None)));
        };
        let fits = other.len() == dims.len()
            && other.iter().zip(&dims).enumerate().all(|(i, (a, b))| i == axis || a.equals(b) != Truth::No);
        if !fits {
            return Err(el.report(
                Diagnostic::error(codes::BUILTIN_SHAPE, format!("`cat` along axis {axis} of different shapes"))
                    .primary(part.span, quoted_ty(&part.tile.ty))
                    .primary(first.span, quoted_ty(&first.tile.ty))
                    .note("all other extents must be equal"),
            ));
        }
        total = total.add(&other[axis]).unwrap_or(Num::Unknown);
    }
    let mut out_dims = dims;
    out_dims[axis] = total;
    let shape = Shape::of(out_dims);
    el.check_shape(&shape, args.span)?;
    let mut values = Vec::new();
    for part in &parts {
        let tile = el.settle(&part.tile);
        let tile = match elem.scalar() {
            Some(s) => el.cast_to(&tile, s.defaulted()),
            None => tile,
        };
        elem = tile.ty.elem;
        values.push(el.value(&tile));
    }
    let list: Option<ValueList> = el.sink.all(values);
    Ok(new_tile(el, TileTy::new(elem, shape), list.map(|list| InstData::Cat { args: list, axis: axis as u8 })))
}

fn flip<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let x = settled(el, args, "x")?;
    let axis = match (args.axis(el, "axis", &x.tile.ty.shape)?, x.tile.ty.shape.dims()) {
        (Axis::At(axis), _) => axis,
        (Axis::None, Some(d)) if !d.is_empty() => d.len() - 1,
        (Axis::None, Some(_)) => return Err(el.error(codes::BUILTIN_SHAPE, x.span, "`flip` of a scalar", "it takes a tile")),
        _ => 0,
    };
    let arg = el.value(&x.tile);
    Ok(new_tile(el, x.tile.ty, arg.map(|arg| InstData::Flip { arg, axis: axis as u8 })))
}

fn gather<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (src, index) = (settled(el, args, "src"), settled(el, args, "index"));
    let (src, index) = (src?, index?);
    args.require(el, &index, Kinds::INTEGER)?;
    let axis = match args.axis(el, "axis", &src.tile.ty.shape)? {
        Axis::At(axis) => axis,
        _ => 0,
    };
    if let (Some(table), Some(at)) = (src.tile.ty.shape.dims(), index.tile.ty.shape.dims())
        && table.len() != 1
    {
        let fits =
            table.len() == at.len() && table.iter().zip(at).enumerate().all(|(i, (a, b))| i == axis || a.equals(b) != Truth::No);
        if !fits || !args.has("axis") {
            return Err(el.report(
                Diagnostic::error(codes::BUILTIN_SHAPE, format!("`gather` from {} by {}", quoted_ty(&src.tile.ty), quoted_ty(&index.tile.ty)))
                    .primary(src.span, format!("shape {}", src.tile.ty.shape))
                    .primary(index.span, format!("shape {}", index.tile.ty.shape))
                    .note("a table of rank 1 takes positions of any shape; else name the `axis`, and give positions of the table's rank with equal extents elsewhere"),
            ));
        }
    }
    let ty = TileTy::new(src.tile.ty.elem, index.tile.ty.shape.clone());
    let values = (el.value(&src.tile), el.value(&index.tile));
    let data = match values {
        (Some(src), Some(index)) => Some(InstData::Gather { src, index, axis: axis as u8 }),
        _ => None,
    };
    Ok(new_tile(el, ty, data))
}
