//! Sorting, the greatest k, counting.

use kiln_ir::{InstData, Type, Value, ValueList};
use kiln_syntax::codes;

use super::args::Axis;
use super::reduce::flag;
use super::{Args, Builtin};
use crate::consts::Num;
use crate::elab::ops::{Operand, quoted_ty};
use crate::elab::value::{TileVal, Val};
use crate::elab::{Elab, R};
use crate::types::{Kinds, Scalar, Shape, TileTy};

pub(super) static TABLE: &[Builtin] = &[
    Builtin {
        name: "sort",
        params: "x, axis?, descending?",
        doc: "a stable sort along an axis (the last unless told); of a tuple by the first, the rest follow; NaN is the greatest",
        run: sort,
    },
    Builtin {
        name: "topk",
        params: "x, k",
        doc: "the k greatest of the last axis and their positions (i32), greatest first",
        run: topk,
    },
    Builtin {
        name: "histogram",
        params: "x, bins, mask?",
        doc: "how often each of 0..bins occurs in an integer tile",
        run: histogram,
    },
];

fn sort<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let span = args.span_of("x");
    let (list, tuple) = match args.val(el, "x")? {
        Val::Tuple(list) => (list, true),
        other => (vec![other], false),
    };
    let mut operands = Vec::new();
    for val in list {
        let tile = el.tile_of(val, span)?;
        operands.push(Operand { tile: el.settle(&tile), span });
    }
    let Some(keys) = operands.first().cloned() else {
        return Err(el.error(codes::BUILTIN_SHAPE, span, "`sort` of nothing", "an empty tuple"));
    };
    args.require(el, &keys, Kinds::NUMBER)?;
    let shape = keys.tile.ty.shape.clone();
    let axis = match (args.axis(el, "axis", &shape)?, shape.dims()) {
        (Axis::At(axis), _) => axis,
        (Axis::None, Some(d)) if !d.is_empty() => d.len() - 1,
        (Axis::None, Some(_)) => return Err(el.error(codes::BUILTIN_SHAPE, span, "`sort` of a scalar", "it takes a tile")),
        _ => 0,
    };
    let descending = flag(el, args, "descending")?;
    let mut tiles = Vec::new();
    for operand in &operands {
        if operand.tile.ty.shape.same(&shape) == crate::consts::Truth::No {
            return Err(el.error(
                codes::BUILTIN_SHAPE,
                span,
                format!("`sort` of a tuple with the shapes {shape} and {}", operand.tile.ty.shape),
                "what follows the keys has their shape",
            ));
        }
        tiles.push(operand.tile.clone());
    }
    let values: Vec<Option<Value>> = tiles.iter().map(|t| el.value(t)).collect();
    let list: Option<ValueList> = el.sink.all(values);
    let types: Option<Vec<Type>> = tiles.iter().map(|t| t.ty.ir()).collect();
    let inst = match (list, types) {
        (Some(list), Some(types)) => el.sink.emit(InstData::Sort { args: list, axis: axis as u8, descending }, &types),
        _ => None,
    };
    let results = el.sink.results(inst, tiles.len());
    let mut out: Vec<Val<'p>> = tiles.into_iter().zip(results).map(|(t, ir)| Val::Tile(TileVal::new(t.ty, ir))).collect();
    Ok(if tuple { Val::Tuple(out) } else { out.remove(0) })
}

fn topk<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let x = args.operand_of(el, "x", Kinds::NUMBER)?;
    let k = args.constant(el, "k")?;
    let tile = el.settle(&x.tile);
    let shape = match tile.ty.shape.dims() {
        None => Shape::Unknown,
        Some([]) => return Err(el.error(codes::BUILTIN_SHAPE, x.span, "`topk` of a scalar", "it takes a tile")),
        Some([rest @ .., last]) => {
            let too_many = k.compare(last) == Some(std::cmp::Ordering::Greater);
            if too_many || k.known().is_some_and(|v| v < 1) {
                let message = format!("the {k} greatest of {last}");
                return Err(el.error(
                    codes::BUILTIN_SHAPE,
                    args.span_of("k"),
                    message,
                    format!("k is 1 to the length of the last axis of {}", quoted_ty(&tile.ty)),
                ));
            }
            Shape::of(rest.iter().cloned().chain([k.clone()]))
        }
    };
    let types = (TileTy::new(tile.ty.elem, shape.clone()), TileTy::new(Scalar::I32, shape));
    let inst = el.value(&tile).and_then(|arg| {
        let k = k.known().and_then(|v| u32::try_from(v).ok())?;
        el.sink.emit(InstData::TopK { arg, k }, &[types.0.ir()?, types.1.ir()?])
    });
    let mut results = el.sink.results(inst, 2).into_iter();
    let (a, b) = (results.next().flatten(), results.next().flatten());
    Ok(Val::Tuple(vec![Val::Tile(TileVal::new(types.0, a)), Val::Tile(TileVal::new(types.1, b))]))
}

fn histogram<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let x = args.operand_of(el, "x", Kinds::INTEGER)?;
    let bins: Num = args.constant(el, "bins")?;
    let mask = args.mask(el, &x.tile.ty.shape, x.span)?;
    let tile = el.settle(&x.tile);
    let shape = Shape::of([bins.clone()]);
    el.check_shape(&shape, args.span_of("bins"))?;
    let ty = TileTy::new(Scalar::I32, shape);
    let mask = match &mask {
        Some(mask) => el.value(mask),
        None => None,
    };
    let ir = el.value(&tile).and_then(|arg| {
        let bins = bins.known().and_then(|v| u32::try_from(v).ok())?;
        el.sink.one(InstData::Histogram { arg, bins, mask }, &ty)
    });
    Ok(Val::Tile(TileVal::new(ty, ir)))
}
