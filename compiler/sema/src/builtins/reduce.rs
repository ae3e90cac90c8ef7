//! Reductions and scans: builtin ones, and those with a closure. `max(x)` reduces, `max(a, b)` is lane by lane.

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Combine, InstData, Type, Value, ValueList};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::args::Axis;
use super::math::lanes;
use super::{Args, Builtin};
use crate::consts::Num;
use crate::elab::ops::{Operand, quoted_ty};
use crate::elab::value::{TileVal, Val};
use crate::elab::{Elab, Poison, R};
use crate::types::{Kinds, Scalar, Shape, TileTy};

pub(super) static TABLE: &[Builtin] = &[
    Builtin {
        name: "sum",
        params: "x, axis?",
        doc: "the sum along an axis or of everything, in T::Acc; bools are counted",
        run: |el, a| accumulate(el, a, Combine::Add),
    },
    Builtin {
        name: "prod",
        params: "x, axis?",
        doc: "the product along an axis or of everything, in T::Acc",
        run: |el, a| accumulate(el, a, Combine::Mul),
    },
    Builtin {
        name: "max",
        params: "x, b?, axis?",
        doc: "the greatest along an axis or of everything, or of two lane by lane; NaN wins",
        run: |el, a| extreme(el, a, Combine::Max, BinaryOp::Max),
    },
    Builtin {
        name: "min",
        params: "x, b?, axis?",
        doc: "the least along an axis or of everything, or of two lane by lane; NaN wins",
        run: |el, a| extreme(el, a, Combine::Min, BinaryOp::Min),
    },
    Builtin {
        name: "fmax",
        params: "x, b?, axis?",
        doc: "as `max`, but NaN is ignored",
        run: |el, a| extreme(el, a, Combine::FMax, BinaryOp::FMax),
    },
    Builtin {
        name: "fmin",
        params: "x, b?, axis?",
        doc: "as `min`, but NaN is ignored",
        run: |el, a| extreme(el, a, Combine::FMin, BinaryOp::FMin),
    },
    Builtin {
        name: "argmax",
        params: "x, axis?",
        doc: "position (i32) of the greatest; ties go to the lowest",
        run: |el, a| position(el, a, Combine::ArgMax),
    },
    Builtin {
        name: "argmin",
        params: "x, axis?",
        doc: "position (i32) of the least; ties go to the lowest",
        run: |el, a| position(el, a, Combine::ArgMin),
    },
    Builtin {
        name: "any",
        params: "x, axis?",
        doc: "whether one bool is true",
        run: |el, a| logic(el, a, Combine::Or, Kinds::BOOL),
    },
    Builtin {
        name: "all",
        params: "x, axis?",
        doc: "whether every bool is true",
        run: |el, a| logic(el, a, Combine::And, Kinds::BOOL),
    },
    Builtin {
        name: "xor_sum",
        params: "x, axis?",
        doc: "exclusive or of all bits",
        run: |el, a| logic(el, a, Combine::Xor, Kinds::BITS),
    },
    Builtin {
        name: "reduce",
        params: "x, combine, axis?",
        doc: "folds a tile, or a tuple of tiles, with a closure: `reduce(x, axis = 1, |a, b| a + b)`",
        run: reduce,
    },
    Builtin {
        name: "cumsum",
        params: "x, axis?, reverse?",
        doc: "sums of all elements up to each, in T::Acc",
        run: |el, a| cumulative(el, a, Combine::Add),
    },
    Builtin {
        name: "cumprod",
        params: "x, axis?, reverse?",
        doc: "products of all elements up to each, in T::Acc",
        run: |el, a| cumulative(el, a, Combine::Mul),
    },
    Builtin {
        name: "scan",
        params: "x, combine, axis?, reverse?",
        doc: "prefix combinations with a closure, over a tile or a tuple of tiles",
        run: scan,
    },
];

/// The shape without an axis, or of a scalar.
fn without(shape: &Shape, axis: Axis) -> Shape {
    match (axis, shape.dims()) {
        (Axis::None, _) => Shape::scalar(),
        (Axis::At(axis), Some(d)) => Shape::of(d.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, n)| n.clone())),
        _ => Shape::Unknown,
    }
}

/// One `Reduce` instruction.
fn fold_axis<'p>(el: &mut Elab<'p>, tiles: &[TileVal], axis: usize, combine: Combine) -> Vec<TileVal> {
    let types: Vec<TileTy> = tiles.iter().map(|t| TileTy::new(t.ty.elem, without(&t.ty.shape, Axis::At(axis)))).collect();
    let values: Vec<Option<Value>> = tiles.iter().map(|t| el.value(t)).collect();
    let args: Option<ValueList> = el.sink.all(values);
    let ir_types: Option<Vec<Type>> = types.iter().map(TileTy::ir).collect();
    let inst = match (args, ir_types) {
        (Some(args), Some(ir_types)) => el.sink.emit(InstData::Reduce { args, axis: axis as u8, combine }, &ir_types),
        _ => None,
    };
    let results = el.sink.results(inst, tiles.len());
    types.into_iter().zip(results).map(|(ty, ir)| TileVal::new(ty, ir)).collect()
}

/// Folds one axis, or all: the last first, so that rows stay together.
fn fold_all<'p>(el: &mut Elab<'p>, tile: TileVal, axis: Axis, combine: Combine) -> TileVal {
    match (axis, tile.ty.shape.dims().map(<[Num]>::len)) {
        (Axis::At(axis), Some(_)) => fold_axis(el, &[tile], axis, combine).remove(0),
        (Axis::None, Some(rank)) => (0..rank).rev().fold(tile, |t, axis| fold_axis(el, &[t], axis, combine).remove(0)),
        _ => TileVal::new(TileTy::new(tile.ty.elem, without(&tile.ty.shape, axis)), None),
    }
}

fn in_acc<'p>(el: &mut Elab<'p>, tile: &TileVal) -> TileVal {
    let acc = tile.scalar().map_or(Scalar::Unknown, Scalar::acc);
    el.cast_to(tile, acc)
}

fn accumulate<'p>(el: &mut Elab<'p>, args: &Args<'p>, combine: Combine) -> R<Val<'p>> {
    let x = args.operand(el, "x")?;
    args.require(el, &x, Kinds::ANY).and_then(|()| not_pointer(el, args, &x))?;
    let axis = args.axis(el, "axis", &x.tile.ty.shape)?;
    let tile = in_acc(el, &x.tile);
    Ok(Val::Tile(fold_all(el, tile, axis, combine)))
}

fn not_pointer<'p>(el: &mut Elab<'p>, args: &Args<'p>, x: &Operand) -> R<()> {
    match x.tile.scalar() {
        Some(_) => Ok(()),
        None => Err(el.error(
            codes::BUILTIN_TYPE,
            x.span,
            format!("{} of pointers", args.what()),
            format!("this is {}", quoted_ty(&x.tile.ty)),
        )),
    }
}

fn extreme<'p>(el: &mut Elab<'p>, args: &Args<'p>, combine: Combine, op: BinaryOp) -> R<Val<'p>> {
    let x = args.operand(el, "x");
    let b = args.optional(el, "b");
    let (x, b) = (x?, b?);
    let floats_only = matches!(op, BinaryOp::FMax | BinaryOp::FMin);
    let kinds = if floats_only { Kinds::FLOAT } else { Kinds::NUMBER };
    args.require(el, &x, kinds)?;
    if let Some(b) = b {
        args.require(el, &b, kinds)?;
        if args.has("axis") {
            return Err(el.error(
                codes::ARG_COUNT,
                args.span_of("axis"),
                format!("{} of two values takes no axis", args.what()),
                "with an axis it reduces one tile",
            ));
        }
        return Ok(Val::Tile(lanes(el, op, &x, &b, &args.what())?));
    }
    let axis = args.axis(el, "axis", &x.tile.ty.shape)?;
    let tile = el.settle(&x.tile);
    Ok(Val::Tile(fold_all(el, tile, axis, combine)))
}

fn logic<'p>(el: &mut Elab<'p>, args: &Args<'p>, combine: Combine, kinds: Kinds) -> R<Val<'p>> {
    let x = args.operand_of(el, "x", kinds)?;
    let axis = args.axis(el, "axis", &x.tile.ty.shape)?;
    let tile = el.settle(&x.tile);
    Ok(Val::Tile(fold_all(el, tile, axis, combine)))
}

fn position<'p>(el: &mut Elab<'p>, args: &Args<'p>, combine: Combine) -> R<Val<'p>> {
    let x = args.operand_of(el, "x", Kinds::NUMBER)?;
    let axis = args.axis(el, "axis", &x.tile.ty.shape)?;
    let mut tile = el.settle(&x.tile);
    let out = TileTy::new(Scalar::I32, without(&tile.ty.shape, axis));
    let Some(dims) = tile.ty.shape.dims().map(<[Num]>::to_vec) else { return Ok(Val::Tile(TileVal::new(out, None))) };
    let axis = match axis {
        Axis::At(axis) => axis,
        Axis::Open => return Ok(Val::Tile(TileVal::new(out, None))),
        Axis::None if dims.is_empty() => {
            return Err(el.error(codes::BUILTIN_SHAPE, x.span, format!("{} of a scalar", args.what()), "it takes a tile"));
        }
        Axis::None => {
            tile = flat(el, &tile, &dims);
            0
        }
    };
    let positions = positions(el, &tile, axis);
    let mut results = fold_axis(el, &[tile, positions], axis, combine);
    Ok(Val::Tile(results.remove(1)))
}

/// A tile as one row.
fn flat<'p>(el: &mut Elab<'p>, tile: &TileVal, dims: &[Num]) -> TileVal {
    let total = dims.iter().try_fold(Num::Known(1), |a, n| a.mul(n).ok()).unwrap_or(Num::Unknown);
    el.reshape_to(tile, Shape::of([total]))
}

/// The i32 positions along an axis, in the shape of a tile.
fn positions<'p>(el: &mut Elab<'p>, tile: &TileVal, axis: usize) -> TileVal {
    let Some(dims) = tile.ty.shape.dims().map(<[Num]>::to_vec) else { return TileVal::new(tile.ty.with_elem(Scalar::I32), None) };
    let row = TileTy::new(Scalar::I32, Shape::of([dims[axis].clone()]));
    let ir = el.sink.one(InstData::Iota { start: 0 }, &row);
    let column = Shape::of(dims.iter().enumerate().map(|(i, n)| if i == axis { n.clone() } else { Num::Known(1) }));
    let shaped = el.reshape_to(&TileVal::new(row, ir), column);
    el.broadcast_to(&shaped, &tile.ty.shape)
}

/// The tiles of a tile or tuple, in one shape.
fn operands<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<(Vec<TileVal>, bool)> {
    let span = args.span_of("x");
    let (list, tuple) = match args.val(el, "x")? {
        Val::Tuple(list) => (list, true),
        other => (vec![other], false),
    };
    let mut tiles = Vec::new();
    for val in list {
        let tile = el.tile_of(val, span)?;
        tiles.push(Operand { tile: el.settle(&tile), span });
    }
    let Some(first) = tiles.first().cloned() else {
        return Err(el.error(codes::BUILTIN_SHAPE, span, format!("{} of nothing", args.what()), "an empty tuple"));
    };
    let mut shape = first.tile.ty.shape.clone();
    for other in &tiles[1..] {
        let joint = Operand { tile: TileVal::new(TileTy::new(first.tile.ty.elem, shape), None), span };
        shape = el.unify_shapes(&joint, other, &args.what())?;
    }
    let tiles = tiles.iter().map(|o| el.broadcast_to(&o.tile, &shape)).collect();
    Ok((tiles, tuple))
}

/// The combination as a block, or as a builtin one where it is that.
fn combination<'p>(el: &mut Elab<'p>, args: &Args<'p>, tiles: &[TileVal], tuple: bool) -> R<Combine> {
    let Some(f) = args.expr(el, "combine")? else { return Err(Poison) };
    let (block, outer) = el.sink.enter_block();
    let side = |el: &mut Elab<'p>| -> Val<'p> {
        let scalars: Vec<Val<'p>> = tiles
            .iter()
            .map(|t| {
                let ty = TileTy::scalar(t.ty.elem);
                let ir = el.sink.block_param(block, &ty, None);
                Val::Tile(TileVal::new(ty, ir))
            })
            .collect();
        if tuple { Val::Tuple(scalars) } else { scalars.into_iter().next().unwrap_or(Val::Unit) }
    };
    let (a, b) = (side(el), side(el));
    let result = el.apply(f, vec![a, b]);
    let span = Elab::combination_span(f);
    let result = result.and_then(|val| yield_combined(el, val, tiles, tuple, span));
    el.sink.set_block(outer);
    result?;
    Ok(recognized(el, block).unwrap_or(Combine::Region(block)))
}

fn yield_combined<'p>(el: &mut Elab<'p>, val: Val<'p>, tiles: &[TileVal], tuple: bool, span: Span) -> R<()> {
    let list = match val {
        Val::Tuple(list) if tuple && list.len() == tiles.len() => list,
        other if !tuple => vec![other],
        other => {
            return Err(el.report(
                Diagnostic::error(codes::CLOSURE, format!("the combination of {} values gives as many", tiles.len()))
                    .primary(span, format!("this is {}", crate::elab::expr::describe(&other))),
            ));
        }
    };
    let mut values = Vec::new();
    for (val, like) in list.into_iter().zip(tiles) {
        let tile = el.tile_of(val, span)?;
        let ty = TileTy::scalar(like.ty.elem);
        if !tile.is_scalar() && tile.ty.shape.dims().is_some() {
            return Err(el.error(
                codes::CLOSURE,
                span,
                "a combination gives scalars",
                format!("this is {}", quoted_ty(&tile.ty)),
            ));
        }
        let tile = el.coerce(&tile, &ty, span, "a combination gives the type it takes")?;
        values.push(el.value(&tile));
    }
    let args: Option<ValueList> = el.sink.all(values);
    el.sink.yield_(args.unwrap_or_default());
    Ok(())
}

/// `|a, b| a + b` and its like are builtin combinations.
fn recognized(el: &mut Elab<'_>, block: kiln_ir::Block) -> Option<Combine> {
    if !el.sink.is_live() {
        return None;
    }
    let func = el.sink.func();
    let [a, b] = func.blocks[block].params[..] else { return None };
    let [only, end] = func.blocks[block].insts[..] else { return None };
    let InstData::Binary { op, a: x, b: y } = func.insts[only] else { return None };
    let InstData::Yield { args } = &func.insts[end] else { return None };
    if (x, y) != (a, b) && (y, x) != (a, b) || args[..] != [func.result(only)] {
        return None;
    }
    Some(match op {
        BinaryOp::Add => Combine::Add,
        BinaryOp::Mul => Combine::Mul,
        BinaryOp::Max => Combine::Max,
        BinaryOp::Min => Combine::Min,
        BinaryOp::FMax => Combine::FMax,
        BinaryOp::FMin => Combine::FMin,
        BinaryOp::And => Combine::And,
        BinaryOp::Or => Combine::Or,
        BinaryOp::Xor => Combine::Xor,
        _ => return None,
    })
}

fn packed<'p>(mut list: Vec<TileVal>, tuple: bool) -> Val<'p> {
    if tuple { Val::Tuple(list.into_iter().map(Val::Tile).collect()) } else { list.pop().map_or(Val::Unit, Val::Tile) }
}

fn reduce<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (mut tiles, tuple) = operands(el, args)?;
    let shape = tiles[0].ty.shape.clone();
    let axis = args.axis(el, "axis", &shape)?;
    let combine = combination(el, args, &tiles, tuple)?;
    let dims = shape.dims().map(<[Num]>::to_vec);
    let axis = match (axis, dims) {
        (Axis::At(axis), _) => axis,
        (Axis::None, Some(dims)) if dims.is_empty() => {
            return Err(el.error(codes::BUILTIN_SHAPE, args.span_of("x"), "`reduce` of scalars", "it takes tiles"));
        }
        (Axis::None, Some(dims)) => {
            tiles = tiles.iter().map(|t| flat(el, t, &dims)).collect();
            0
        }
        (axis, _) => {
            let list = tiles.iter().map(|t| TileVal::new(TileTy::new(t.ty.elem, without(&shape, axis)), None)).collect();
            return Ok(packed(list, tuple));
        }
    };
    Ok(packed(fold_axis(el, &tiles, axis, combine), tuple))
}

/// The axis of a scan: it may be left out for rank 1.
fn scan_axis<'p>(el: &mut Elab<'p>, args: &Args<'p>, shape: &Shape) -> R<usize> {
    match (args.axis(el, "axis", shape)?, shape.dims()) {
        (Axis::At(axis), _) => Ok(axis),
        (Axis::None, Some([_])) | (_, None) | (Axis::Open, _) => Ok(0),
        (Axis::None, Some(d)) => Err(el.error(
            codes::BAD_AXIS,
            args.span,
            format!("{} along which axis?", args.what()),
            if d.is_empty() {
                "a scalar has no axes".to_owned()
            } else {
                format!("the shape is {shape}: write `axis = {}`", d.len() - 1)
            },
        )),
    }
}

/// A constant bool option.
pub(super) fn flag<'p>(el: &mut Elab<'p>, args: &Args<'p>, name: &str) -> R<bool> {
    let Some(value) = args.optional(el, name)? else { return Ok(false) };
    match crate::elab::control::known(&value.tile) {
        Some(b) => Ok(b),
        None if value.tile.konst.is_some() => Ok(false),
        None => Err(el.error(
            codes::NOT_CONSTANT,
            value.span,
            format!("`{name}` of {} is a constant bool", args.what()),
            format!("this is {}", quoted_ty(&value.tile.ty)),
        )),
    }
}

fn scan_inst<'p>(el: &mut Elab<'p>, tiles: &[TileVal], axis: usize, reverse: bool, combine: Combine) -> Vec<TileVal> {
    let values: Vec<Option<Value>> = tiles.iter().map(|t| el.value(t)).collect();
    let args: Option<ValueList> = el.sink.all(values);
    let types: Option<Vec<Type>> = tiles.iter().map(|t| t.ty.ir()).collect();
    let inst = match (args, types) {
        (Some(args), Some(types)) => el.sink.emit(InstData::Scan { args, axis: axis as u8, reverse, combine }, &types),
        _ => None,
    };
    let results = el.sink.results(inst, tiles.len());
    tiles.iter().zip(results).map(|(t, ir)| TileVal::new(t.ty.clone(), ir)).collect()
}

fn cumulative<'p>(el: &mut Elab<'p>, args: &Args<'p>, combine: Combine) -> R<Val<'p>> {
    let x = args.operand(el, "x")?;
    not_pointer(el, args, &x)?;
    let axis = scan_axis(el, args, &x.tile.ty.shape)?;
    let reverse = flag(el, args, "reverse")?;
    let tile = in_acc(el, &x.tile);
    Ok(packed(scan_inst(el, &[tile], axis, reverse, combine), false))
}

fn scan<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (tiles, tuple) = operands(el, args)?;
    let axis = scan_axis(el, args, &tiles[0].ty.shape)?;
    let reverse = flag(el, args, "reverse")?;
    let combine = combination(el, args, &tiles, tuple)?;
    Ok(packed(scan_inst(el, &tiles, axis, reverse, combine), tuple))
}
