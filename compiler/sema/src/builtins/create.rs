//! Program ids, ranges, and tiles made of constants.

use kiln_ir::InstData;
use kiln_syntax::codes;

use super::{Args, Builtin};
use crate::consts::Num;
use crate::elab::value::{TileVal, Val};
use crate::elab::{Elab, R, axes};
use crate::types::{Elem, Scalar, Shape, TileTy};

pub(super) static TABLE: &[Builtin] = &[
    Builtin {
        name: "program_id",
        params: "axis",
        doc: "number of this program along an axis of the grid (`index`)",
        run: program_id,
    },
    Builtin { name: "num_programs", params: "axis", doc: "extent of the grid along an axis (`index`)", run: num_programs },
    Builtin { name: "num_sms", params: "", doc: "multiprocessors of the device, or worker threads (`index`)", run: num_sms },
    Builtin {
        name: "arange",
        params: "start, end",
        doc: "the tile start, start + 1, .. end - 1 of `index`; both ends constant",
        run: arange,
    },
    Builtin { name: "zeros", params: "shape", doc: "a tile of zeros: `zeros::<f32>([M, N])`", run: zeros },
    Builtin { name: "full", params: "shape, value", doc: "a tile with one value in every lane", run: full },
];

fn grid_axis<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<u8> {
    let n = args.constant(el, "axis")?;
    let rank = if el.grid_rank == 0 { 5 } else { el.grid_rank };
    match n.known() {
        Some(v) if (0..i128::from(rank)).contains(&v) => Ok(v as u8),
        None => Ok(0),
        Some(v) => Err(el.error(
            codes::GRID,
            args.span_of("axis"),
            format!("axis {v} of a grid of rank {rank}"),
            if el.grid_rank == 0 {
                "a grid has at most 5 axes".to_owned()
            } else {
                format!("of this kernel's grid {}", axes(rank as usize))
            },
        )),
    }
}

fn index_inst<'p>(el: &mut Elab<'p>, data: InstData) -> Val<'p> {
    let ty = TileTy::scalar(Scalar::INDEX);
    let ir = el.sink.one(data, &ty);
    Val::Tile(TileVal::new(ty, ir))
}

fn program_id<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let axis = grid_axis(el, args)?;
    Ok(index_inst(el, InstData::ProgramId { axis }))
}

fn num_programs<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let axis = grid_axis(el, args)?;
    Ok(index_inst(el, InstData::NumPrograms { axis }))
}

fn num_sms<'p>(el: &mut Elab<'p>, _: &Args<'p>) -> R<Val<'p>> {
    Ok(index_inst(el, InstData::NumSms))
}

fn arange<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let (start, end) = (args.constant(el, "start")?, args.constant(el, "end")?);
    let len = end.sub(&start).unwrap_or(Num::Unknown);
    let shape = Shape::of([len]);
    el.check_shape(&shape, args.span)?;
    let ty = TileTy::new(Scalar::INDEX, shape);
    let start = start.known().and_then(|v| i64::try_from(v).ok());
    let ir = start.and_then(|start| el.sink.one(InstData::Iota { start }, &ty));
    Ok(Val::Tile(TileVal::new(ty, ir)))
}

/// The element type of the turbofish.
pub(super) fn type_arg<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Option<Elem>> {
    match args.type_args {
        [] => Ok(None),
        [one] if one.name.is_none() => el.elem_arg(one).map(Some),
        [first, ..] => Err(el.error(
            codes::GENERIC_ARGS,
            first.span,
            format!("{} takes one generic argument, an element type", args.what()),
            "",
        )),
    }
}

fn shape_arg<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Shape> {
    match args.expr(el, "shape")? {
        Some(e) => el.shape_list(e),
        None => Err(crate::elab::Poison),
    }
}

fn zeros<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let elem = type_arg(el, args)?;
    let shape = shape_arg(el, args)?;
    let Some(Elem::Scalar(scalar)) = elem else {
        return Err(el.error(codes::CANNOT_INFER, args.span, "zeros of which type?", "write it: `zeros::<f32>([M, N])`"));
    };
    let zero = TileVal::int(0i128);
    let zero = el.cast_to(&zero, scalar);
    let mut tile = el.broadcast_to(&zero, &shape);
    tile.konst = tile.konst.filter(|_| shape.is_scalar());
    Ok(Val::Tile(tile))
}

fn full<'p>(el: &mut Elab<'p>, args: &Args<'p>) -> R<Val<'p>> {
    let elem = type_arg(el, args)?;
    let shape = shape_arg(el, args);
    let value = args.operand(el, "value")?;
    let shape = shape?;
    if !value.tile.is_scalar() && value.tile.ty.shape.dims().is_some() {
        return Err(el.error(
            codes::BUILTIN_SHAPE,
            value.span,
            "`full` takes a scalar",
            format!("this is `{}`; `expand` stretches a tile", value.tile.ty),
        ));
    }
    let tile = match elem {
        Some(elem) => el.convert(&value.tile, elem, value.span, "the call names the type")?,
        None => el.settle(&value.tile),
    };
    Ok(Val::Tile(el.broadcast_to(&tile, &shape)))
}
