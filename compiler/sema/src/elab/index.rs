//! Index lists: views and slices of tensors, parts and new axes of tiles.

use kiln_ir::ops::{CacheOp, Evict};
use kiln_ir::{InstData, Type, ViewIndex};
use kiln_syntax::ast::{self, BinaryOp, Expr, ExprKind, Index, IndexKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;
use smallvec::SmallVec;

use super::expr::describe;
use super::ops::{Operand, quoted_ty};
use super::value::{Access, AccessIndex, AccessPlace, DimVal, TileVal, Val, ViewVal};
use super::{Elab, R, count};
use crate::consts::Num;
use crate::types::{Kinds, Scalar, Shape, TileTy, broadcast};

impl<'p> Elab<'p> {
    /// `base[indices]`.
    pub fn index(&mut self, base: &'p Expr, indices: &'p [Index], span: Span) -> R<Val<'p>> {
        match self.raw(base)? {
            Val::View(view) => self.index_view(view, base.span, indices, span),
            Val::Access(access) => {
                let tile = self.load(*access)?;
                self.index_tile(tile, base.span, indices, span)
            }
            Val::Tile(tile) => self.index_tile(tile, base.span, indices, span),
            Val::Absent(name) => Err(self.absent(&name, base.span)),
            other => Err(self.report(
                Diagnostic::error(codes::BAD_INDEX, format!("{} cannot be indexed", describe(&other)))
                    .primary(base.span, "only tensors and tiles have elements"),
            )),
        }
    }

    /// An integer expression that is used as an index: sums, differences and products are computed as `index`.
    pub fn index_expr(&mut self, e: &'p Expr) -> R<TileVal> {
        match &e.kind {
            ExprKind::Paren(inner) => self.index_expr(inner),
            ExprKind::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul), op_span, lhs, rhs } => {
                let (a, b) = (self.index_expr(lhs), self.index_expr(rhs));
                let (a, b) = (Operand { tile: a?, span: lhs.span }, Operand { tile: b?, span: rhs.span });
                let loc = self.sink.set_loc(e.span);
                let result = self.binary(*op, *op_span, &a, &b);
                self.sink.restore_loc(loc);
                result
            }
            _ => {
                let tile = self.tile(e)?;
                self.make_index(&tile, e.span)
            }
        }
    }

    fn index_view(&mut self, view: ViewVal, base: Span, indices: &'p [Index], span: Span) -> R<Val<'p>> {
        if indices.len() != view.dims.len() {
            let mut d = Diagnostic::error(
                codes::INDEX_COUNT,
                format!("{} for a tensor of rank {}", count(indices.len(), "index", "indexes"), view.dims.len()),
            )
            .primary(span, format!("this list has {}", count(indices.len(), "entry", "entries")))
            .secondary(base, format!("this is `{view}`"));
            if let Some(none) = indices.iter().find(|i| matches!(&i.kind, IndexKind::Expr(e) if matches!(e.kind, ExprKind::None)))
            {
                d = d.secondary(none.span, "a new axis is made on a tile: `x[..][:, None]`");
            } else if indices.len() < view.dims.len() {
                d = d.help("an index list covers every dimension; `:` keeps a whole one in a view");
            }
            return Err(self.report(d));
        }
        let range = indices.iter().find(|i| matches!(i.kind, IndexKind::Range { .. } | IndexKind::Full));
        let slice = indices.iter().find(|i| matches!(i.kind, IndexKind::Slice { .. }));
        match (range, slice) {
            (Some(range), Some(slice)) => Err(self.view_mix(range, slice.span, "a slice `start..+LEN` makes a tile")),
            (Some(range), None) => self.sub_view(view, indices, range, span),
            (None, _) => self.access(view, indices, span),
        }
    }

    fn view_mix(&mut self, range: &Index, other: Span, label: &str) -> super::Poison {
        self.report(
            Diagnostic::error(codes::VIEW_MIX, "an index list makes either a view or a tile")
                .primary(range.span, "`lo..hi` and `:` make a view")
                .primary(other, label)
                .help("narrow first, then slice: `x[i, :][start..+LEN]`; a whole constant dimension is `0..+LEN`"),
        )
    }

    fn sub_view(&mut self, view: ViewVal, indices: &'p [Index], range: &'p Index, span: Span) -> R<Val<'p>> {
        let mut list: SmallVec<[Option<ViewIndex>; 4]> = SmallVec::new();
        let mut dims: SmallVec<[DimVal; 5]> = SmallVec::new();
        let mut failed = None;
        for (axis, index) in indices.iter().enumerate() {
            match &index.kind {
                IndexKind::Full => {
                    dims.push(view.dims[axis].clone());
                    list.push(Some(ViewIndex::Full));
                }
                IndexKind::Range { start, end } => {
                    let (lo, hi) = (self.index_expr(start), self.index_expr(end));
                    let (Ok(lo), Ok(hi)) = (lo, hi) else {
                        failed = Some(super::Poison);
                        continue;
                    };
                    for (tile, e) in [(&lo, start), (&hi, end)] {
                        if self.not_scalar(tile, e.span, "a bound of a view").is_err() {
                            failed = Some(super::Poison);
                        }
                    }
                    dims.push(narrowed(&view.dims[axis], &lo, &hi));
                    let pair = (self.index_value(&lo), self.index_value(&hi));
                    list.push(pair.0.zip(pair.1).map(|(lo, hi)| ViewIndex::Range { lo, hi }));
                }
                IndexKind::Expr(e) => {
                    let Ok(tile) = self.index_expr(e) else {
                        failed = Some(super::Poison);
                        continue;
                    };
                    if !tile.is_scalar() && tile.ty.shape.dims().is_some() {
                        return Err(self.view_mix(
                            range,
                            e.span,
                            &format!("an index tile makes a tile: this is {}", quoted_ty(&tile.ty)),
                        ));
                    }
                    list.push(self.index_value(&tile).map(ViewIndex::At));
                }
                IndexKind::Slice { .. } => {}
            }
        }
        if let Some(poison) = failed {
            return Err(poison);
        }
        let loc = self.sink.set_loc(span);
        let ir = self.sink.need(view.ir).and_then(|parent| {
            let index: Option<SmallVec<[ViewIndex; 4]>> = self.sink.all_indices(list);
            let elem = TileTy::scalar(view.elem).ir()?.elem();
            let ty = Type::view(elem, dims.len() as u8, view.mutable);
            self.sink.one_typed(InstData::SubView { view: parent, index: index? }, ty)
        });
        self.sink.restore_loc(loc);
        Ok(Val::View(ViewVal { elem: view.elem, dims, mutable: view.mutable, ir, origin: view.origin }))
    }

    fn not_scalar(&mut self, tile: &TileVal, span: Span, what: &str) -> R<()> {
        if tile.is_scalar() || tile.ty.shape.dims().is_none() {
            return Ok(());
        }
        Err(self.error(codes::BAD_INDEX, span, format!("{what} is a scalar"), format!("this is {}", quoted_ty(&tile.ty))))
    }

    fn access(&mut self, view: ViewVal, indices: &'p [Index], span: Span) -> R<Val<'p>> {
        let mut index: Vec<R<AccessIndex>> = Vec::new();
        for (axis, entry) in indices.iter().enumerate() {
            index.push(self.access_entry(entry, &view, axis));
        }
        let index: Vec<AccessIndex> = index.into_iter().collect::<R<_>>()?;
        let mut joint = Shape::scalar();
        let mut first: Option<Operand> = None;
        for (entry, source) in index.iter().zip(indices) {
            if let AccessIndex::Gather(tile) = entry {
                let operand = Operand { tile: tile.clone(), span: source.span };
                joint = match broadcast(&joint, &tile.ty.shape) {
                    Some(shape) => shape,
                    None => {
                        let first = first.unwrap_or_else(|| operand.clone());
                        return Err(self.unify_shapes(&first, &operand, "an index list").err().unwrap_or(super::Poison));
                    }
                };
                first.get_or_insert(operand);
            }
        }
        let shape = access_shape(&index, &joint);
        self.check_shape(&shape, span)?;
        Ok(Val::Access(Box::new(Access {
            place: AccessPlace::View { view: view.ir, index },
            elem: view.elem,
            shape,
            mutable: view.mutable,
            origin: view.origin,
            mask: None,
            other: None,
            or_neg_inf: None,
            cache: CacheOp::Default,
            evict: Evict::Normal,
            span,
        })))
    }

    fn access_entry(&mut self, entry: &'p Index, view: &ViewVal, axis: usize) -> R<AccessIndex> {
        match &entry.kind {
            IndexKind::Slice { start, len } => {
                let (start_tile, len_num) = (self.index_expr(start), self.slice_len(len));
                let (start_tile, len_num) = (start_tile?, len_num?);
                self.not_scalar(&start_tile, start.span, "the start of a slice")?;
                Ok(AccessIndex::Span(start_tile, len_num))
            }
            IndexKind::Expr(e) if matches!(e.kind, ExprKind::None) => Err(self.report(
                Diagnostic::error(codes::BAD_INDEX, "`None` makes an axis of a tile, not of a tensor")
                    .primary(e.span, "here the list indexes a tensor")
                    .help("read first: `x[i, start..+LEN][:, None]`"),
            )),
            IndexKind::Expr(e) => {
                let tile = self.index_expr(e)?;
                if tile.is_scalar() {
                    self.check_constant_index(&tile, e.span, view, axis)?;
                    return Ok(AccessIndex::At(tile));
                }
                Ok(AccessIndex::Gather(self.cast_to(&tile, Scalar::INDEX)))
            }
            IndexKind::Range { .. } | IndexKind::Full => Err(super::Poison),
        }
    }

    /// A constant index outside a constant dimension is a mistake.
    fn check_constant_index(&mut self, tile: &TileVal, span: Span, view: &ViewVal, axis: usize) -> R<()> {
        if let (Some(Num::Known(v)), DimVal::Const(Num::Known(extent))) = (tile.num(), &view.dims[axis])
            && *v >= *extent
        {
            let message = format!("index {v} is out of bounds");
            return Err(self.error(
                codes::BAD_INDEX,
                span,
                message,
                format!("dimension {axis} of `{view}` has {extent} elements"),
            ));
        }
        Ok(())
    }

    /// `t[:, None]`, `t[0..+64, :]`, `t[3, :]`.
    fn index_tile(&mut self, tile: TileVal, base: Span, indices: &'p [Index], span: Span) -> R<Val<'p>> {
        let is_none = |i: &Index| matches!(&i.kind, IndexKind::Expr(e) if matches!(e.kind, ExprKind::None));
        let covered = indices.iter().filter(|i| !is_none(i)).count();
        let Some(extents) = tile.ty.shape.dims().map(<[Num]>::to_vec) else {
            let ty = TileTy::new(tile.ty.elem, Shape::Unknown);
            return Ok(Val::Tile(TileVal::new(ty, None)));
        };
        if covered != extents.len() {
            return Err(self.report(
                Diagnostic::error(
                    codes::INDEX_COUNT,
                    format!("{} for a tile of rank {}", count(covered, "index", "indexes"), extents.len()),
                )
                .primary(span, format!("this list covers {}", count(covered, "axis", "axes")))
                .secondary(base, format!("this is {}", quoted_ty(&tile.ty)))
                .help("an index list covers every axis: `:` keeps one, `None` makes one of length 1"),
            ));
        }
        let mut tile = self.settle(&tile);
        let mut starts: SmallVec<[Num; 4]> = SmallVec::new();
        let mut lengths: SmallVec<[Num; 4]> = SmallVec::new();
        // What each entry leaves: an axis that is kept, one that is dropped, or a new one.
        let mut result: SmallVec<[Option<usize>; 4]> = SmallVec::new();
        let mut dropped = false;
        let mut axis = 0;
        for entry in indices {
            if is_none(entry) {
                result.push(None);
                continue;
            }
            let extent = &extents[axis];
            let (start, len, keep) = match &entry.kind {
                IndexKind::Full => (Num::Known(0), extent.clone(), true),
                IndexKind::Slice { start, len } => {
                    let start_num = self.const_int(start, "the start of a part of a tile")?;
                    (start_num, self.slice_len(len)?, true)
                }
                IndexKind::Range { start, end } => {
                    let lo = self.const_int(start, "the start of a part of a tile")?;
                    let hi = self.const_int(end, "the end of a part of a tile")?;
                    let len = hi.sub(&lo).unwrap_or(Num::Unknown);
                    (lo, len, true)
                }
                IndexKind::Expr(e) => {
                    let value = self.tile(e)?;
                    if value.konst.is_none() && value.ty.elem.scalar().is_some_and(|s| s.kinds().within(Kinds::INTEGER)) {
                        return Err(self.report(
                            Diagnostic::error(codes::TILE_INDEX, "a tile is indexed by constants")
                                .primary(e.span, "known only at run time")
                                .secondary(base, format!("this is {}", quoted_ty(&tile.ty)))
                                .help("`gather(t, index, axis = ..)` selects by values, and a tensor `x[i]` takes any index"),
                        ));
                    }
                    (self.const_int_of(&value, e.span, "an index of a tile")?, Num::Known(1), false)
                }
            };
            let end = start.add(&len).unwrap_or(Num::Unknown);
            let outside = start.known().is_some_and(|s| s < 0)
                || len.known().is_some_and(|l| l < 1)
                || end.compare(extent) == Some(std::cmp::Ordering::Greater);
            if outside {
                return Err(self.report(
                    Diagnostic::error(codes::TILE_INDEX, format!("this part of axis {axis} is outside the tile"))
                        .primary(entry.span, format!("{start}..{end} of an axis of length {extent}"))
                        .secondary(base, format!("this is {}", quoted_ty(&tile.ty))),
                ));
            }
            starts.push(start);
            lengths.push(len);
            if keep {
                result.push(Some(axis));
            } else {
                dropped = true;
            }
            axis += 1;
        }
        let whole = starts.iter().all(|s| *s == Num::Known(0)) && lengths.as_slice() == extents.as_slice();
        if !whole {
            tile = self.part(&tile, &starts, &lengths);
        }
        let shape = Shape::of(result.iter().map(|axis| axis.map_or(Num::Known(1), |a| lengths[a].clone())));
        let only_new_axes = !dropped && whole;
        Ok(Val::Tile(if only_new_axes { self.new_axes(tile, &result) } else { self.reshape_to(&tile, shape) }))
    }

    fn new_axes(&mut self, mut tile: TileVal, result: &[Option<usize>]) -> TileVal {
        for (at, axis) in result.iter().enumerate() {
            if axis.is_some() {
                continue;
            }
            let mut dims: Vec<Num> = tile.ty.shape.dims().unwrap_or_default().to_vec();
            dims.insert(at, Num::Known(1));
            let ty = TileTy::new(tile.ty.elem, Shape::of(dims));
            let ir = self.value(&tile).and_then(|arg| self.sink.one(InstData::ExpandDims { arg, axis: at as u8 }, &ty));
            tile = TileVal { ty, konst: None, ir, history: tile.history };
        }
        tile
    }

    /// The part of a tile that starts at `starts` and has the extents `lengths`.
    pub fn part(&mut self, tile: &TileVal, starts: &[Num], lengths: &[Num]) -> TileVal {
        let ty = TileTy::new(tile.ty.elem, Shape::of(lengths.iter().cloned()));
        let ir = self.value(tile).and_then(|arg| {
            let starts: Option<SmallVec<[u32; 4]>> =
                starts.iter().map(|s| s.known().and_then(|v| u32::try_from(v).ok())).collect();
            self.sink.one(InstData::ExtractSlice { arg, starts: starts? }, &ty)
        });
        TileVal::new(ty, ir)
    }

    /// Row-major reinterpretation, already checked.
    pub fn reshape_to(&mut self, tile: &TileVal, shape: Shape) -> TileVal {
        if tile.ty.shape == shape {
            return tile.clone();
        }
        let ty = TileTy::new(tile.ty.elem, shape);
        let ir = self.value(tile).and_then(|arg| self.sink.one(InstData::Reshape { arg }, &ty));
        TileVal { ty, konst: None, ir, history: tile.history }
    }

    /// The shape written as a list: `[A, B]`.
    ///
    /// # Errors
    /// Reported: not a list of constant extents.
    pub fn shape_list(&mut self, e: &'p Expr) -> R<Shape> {
        let e = e.unparen();
        let ExprKind::List(list) = &e.kind else {
            if let Some(shape) = e.as_ident().and_then(|ident| self.lookup_shape(&ident.name)) {
                return Ok(shape);
            }
            return Err(self.report(
                Diagnostic::error(codes::BAD_EXTENT, "a shape is a list of extents").primary(e.span, "not a list").suggest(
                    "write it in brackets",
                    e.span.start(),
                    "[",
                ),
            ));
        };
        let dims: Vec<R<Num>> = list.iter().map(|d: &ast::Expr| self.const_int(d, "an extent of a tile")).collect();
        let shape = Shape::of(dims.into_iter().collect::<R<Vec<_>>>()?);
        self.check_shape(&shape, e.span)?;
        Ok(shape)
    }
}

fn narrowed(parent: &DimVal, lo: &TileVal, hi: &TileVal) -> DimVal {
    let (DimVal::Const(Num::Known(extent)), Some(Num::Known(lo)), Some(Num::Known(hi))) = (parent, lo.num(), hi.num()) else {
        return DimVal::Dyn;
    };
    let (lo, hi) = ((*lo).clamp(0, *extent), (*hi).clamp(0, *extent));
    DimVal::Const(Num::Known((hi - lo).max(0)))
}

/// A span makes an axis; the joint axes of all index tiles stand where the first of them stands.
fn access_shape(index: &[AccessIndex], joint: &Shape) -> Shape {
    let mut dims: Vec<Num> = Vec::new();
    let mut placed = false;
    for entry in index {
        match entry {
            AccessIndex::At(_) => {}
            AccessIndex::Span(_, len) => dims.push(len.clone()),
            AccessIndex::Gather(_) if placed => {}
            AccessIndex::Gather(_) => {
                let Some(axes) = joint.dims() else { return Shape::Unknown };
                dims.extend_from_slice(axes);
                placed = true;
            }
        }
    }
    Shape::of(dims)
}
