//! Reading and writing slices: loads, stores, and the methods that stand between an index list and the access.

use kiln_ir::ops::{CacheOp, Evict};
use kiln_ir::{InstData, Place, SliceIndex, Value, ViewAccess};
use kiln_syntax::ast;
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;
use smallvec::SmallVec;

use super::ops::Operand;
use super::value::{Access, AccessIndex, AccessPlace, DimVal, History, TileVal, Val, ViewVal};
use super::{Elab, R};
use crate::consts::{Konst, Num};
use crate::types::{Elem, Kinds, Scalar, Shape, TileTy};

impl<'p> Elab<'p> {
    /// Reads a slice.
    pub fn load(&mut self, access: Access) -> R<TileVal> {
        let ty = TileTy::new(access.elem, access.shape.clone());
        let place = self.ir_place(&access);
        let mask = self.shaped(&access.mask, &access.shape);
        let other = self.shaped(&access.other, &access.shape);
        let ir = place.and_then(|place| {
            self.sink.one(InstData::Load { place, mask, other, cache: access.cache, evict: access.evict }, &ty)
        });
        let history = History { product: None, or_neg_inf: access.or_neg_inf };
        Ok(TileVal { ty, konst: None, ir, history })
    }

    /// Writes a slice; the value is converted and broadcast to it.
    pub fn store(&mut self, access: &Access, value: &TileVal, span: Span) -> R<()> {
        self.require_mutable(access)?;
        if access.other.is_some() {
            return Err(self.error(
                codes::ACCESS_METHOD,
                access.span,
                "`.or(..)` has no meaning for a store",
                "lanes out of bounds are never written",
            ));
        }
        let what = match &access.origin {
            Some((name, _)) => format!("`{name}` holds `{}`", access.elem),
            None => format!("the memory holds `{}`", access.elem),
        };
        let value = self.coerce(value, &TileTy::new(access.elem, access.shape.clone()), span, &what)?;
        let mask = self.shaped(&access.mask, &access.shape);
        let (place, value) = (self.ir_place(access), self.value(&value));
        if let (Some(place), Some(value)) = (place, value) {
            self.sink.emit(InstData::Store { place, value, mask, cache: access.cache, evict: access.evict }, &[]);
        }
        Ok(())
    }

    /// Refuses writes to what is not `mut`.
    pub fn require_mutable(&mut self, access: &Access) -> R<()> {
        if access.mutable {
            return Ok(());
        }
        let d = match &access.origin {
            Some((name, declared)) => {
                let keyword = if matches!(access.place, AccessPlace::Ptr(_)) { "ptr" } else { "tensor" };
                Diagnostic::error(codes::NOT_MUT, format!("`{name}` is not declared `mut`, so it cannot be written"))
                    .primary(access.span, "written here")
                    .secondary(*declared, "declared here")
                    .help(format!("declare it `{name}: mut {keyword}<..>`"))
            }
            None => Diagnostic::error(codes::NOT_MUT, "writing through a pointer that is not `mut`")
                .primary(access.span, "written here")
                .help("stores go through `mut ptr<T>`"),
        };
        Err(self.report(d))
    }

    /// A tile broadcast to a shape, as an operand.
    pub fn shaped(&mut self, tile: &Option<TileVal>, shape: &Shape) -> Option<Value> {
        let tile = tile.as_ref()?;
        let tile = self.broadcast_to(tile, shape);
        self.value(&tile)
    }

    /// The IR's place of an access.
    pub fn ir_place(&mut self, access: &Access) -> Option<Place> {
        match &access.place {
            AccessPlace::Ptr(pointers) => self.value(pointers).map(Place::Ptr),
            AccessPlace::View { view, index } => {
                let view = self.sink.need(*view)?;
                let mut list: SmallVec<[SliceIndex; 4]> = SmallVec::new();
                for entry in index {
                    list.push(match entry {
                        AccessIndex::At(tile) => SliceIndex::At(self.index_value(tile)?),
                        AccessIndex::Gather(tile) => SliceIndex::Gather(self.index_value(tile)?),
                        AccessIndex::Span(tile, len) => {
                            let len = len.known().and_then(|v| u32::try_from(v).ok());
                            let start = self.index_value(tile)?;
                            SliceIndex::Span { start, len: len.or_else(|| self.sink.need(None).map(|_| 0))? }
                        }
                    });
                }
                Some(Place::View(ViewAccess { view, index: list, in_bounds: 0 }))
            }
        }
    }

    /// An index as an IR value of type `index`.
    pub fn index_value(&mut self, tile: &TileVal) -> Option<Value> {
        let tile = self.cast_to(tile, Scalar::INDEX);
        self.value(&tile)
    }

    /// `.or(v)`, `.mask(m)`, `.cache(..)`, `.evict(..)`.
    pub fn access_method(&mut self, mut access: Access, name: &'p ast::Ident, args: &'p [ast::Arg]) -> R<Val<'p>> {
        let [arg] = args else {
            return Err(self.error(
                codes::ARG_COUNT,
                name.span,
                format!("`.{}(..)` takes one argument", name.as_str()),
                format!("{} given", args.len()),
            ));
        };
        if let Some(given) = &arg.name {
            return Err(self.error(
                codes::UNKNOWN_ARG,
                given.span,
                format!("`.{}(..)` has no argument `{}`", name.as_str(), given.name),
                "write the value alone",
            ));
        }
        let value = &arg.value;
        match name.as_str() {
            "or" => {
                let tile = self.tile(value)?;
                if let (Some(Konst::Float(Some(v))), true) = (&tile.konst, tile.is_scalar())
                    && *v == f64::NEG_INFINITY
                {
                    access.or_neg_inf = Some(name.span.merge(value.span));
                }
                let what = format!("the slice holds `{}`", access.elem);
                let converted = self.convert(&tile, access.elem, value.span, &what)?;
                self.fits(&converted, &access, value.span, "`.or(..)`")?;
                access.other = Some(converted);
            }
            "mask" => {
                let mask = self.operand(value)?;
                self.require_kinds(&mask, Kinds::BOOL, "`.mask(..)`", name.span)?;
                self.fits(&mask.tile, &access, value.span, "`.mask(..)`")?;
                access.mask = Some(match access.mask.take() {
                    None => mask.tile,
                    Some(first) => {
                        let first = Operand { tile: first, span: access.span };
                        self.binary(ast::BinaryOp::And, name.span, &first, &mask)?
                    }
                });
            }
            "cache" => {
                access.cache =
                    self.word(value, "cache operator", &[("ca", CacheOp::Ca), ("cg", CacheOp::Cg), ("cs", CacheOp::Cs)])?
            }
            _ => access.evict = self.word(value, "eviction priority", &[("first", Evict::First), ("last", Evict::Last)])?,
        }
        access.span = access.span.merge(arg.span);
        Ok(Val::Access(Box::new(access)))
    }

    fn fits(&mut self, tile: &TileVal, access: &Access, span: Span, what: &str) -> R<()> {
        let a = Operand { tile: tile.clone(), span };
        let b = Operand { tile: TileVal::new(TileTy::new(access.elem, access.shape.clone()), None), span: access.span };
        let joint = self.unify_shapes(&a, &b, what)?;
        if joint.same(&access.shape) == crate::consts::Truth::No {
            return Err(self.report(
                Diagnostic::error(codes::MISMATCHED_SHAPES, format!("{what} does not fit the slice"))
                    .primary(span, format!("shape {}", tile.ty.shape))
                    .secondary(access.span, format!("shape {}", access.shape)),
            ));
        }
        Ok(())
    }

    /// A bare word out of a list, such as `cg` or `acquire`.
    pub fn word<T: Copy>(&mut self, e: &'p ast::Expr, what: &str, words: &[(&str, T)]) -> R<T> {
        let found = e.unparen().as_ident();
        if let Some((_, value)) = found.and_then(|ident| words.iter().find(|(w, _)| *w == ident.as_str())) {
            return Ok(*value);
        }
        let list: Vec<String> = words.iter().map(|(w, _)| format!("`{w}`")).collect();
        let mut d = Diagnostic::error(codes::BAD_OPTION, format!("the {what} is one of {}", list.join(", ")))
            .primary(e.span, "not one of them");
        if let Some(near) = found.and_then(|ident| crate::names::closest(ident.as_str(), words.iter().map(|(w, _)| *w))) {
            d = d.suggest(format!("did you mean `{near}`?"), e.span, near);
        }
        Err(self.report(d))
    }

    /// `.dim(i)`, `.stride(i)`, `.ptr()`.
    pub fn view_method(&mut self, view: &ViewVal, name: &'p ast::Ident, args: &'p [ast::Arg], span: Span) -> R<Val<'p>> {
        if name.as_str() == "ptr" {
            if let Some(arg) = args.first() {
                return Err(self.error(codes::ARG_COUNT, arg.span, "`.ptr()` takes no arguments", "remove this"));
            }
            let Elem::Scalar(pointee) = view.elem else {
                return Err(self.error(
                    codes::BAD_OPERAND,
                    span,
                    format!("`.ptr()` of a tensor of `{}`", view.elem),
                    "there are no pointers to pointers",
                ));
            };
            let ty = TileTy::scalar(Elem::Ptr { pointee, mutable: view.mutable });
            let ir = self.sink.need(view.ir).and_then(|view| self.sink.one(InstData::ViewPtr { view }, &ty));
            return Ok(Val::Tile(TileVal::new(ty, ir)));
        }
        let [arg] = args else {
            return Err(self.error(
                codes::ARG_COUNT,
                name.span,
                format!("`.{}(..)` takes the number of a dimension", name.as_str()),
                format!("{} arguments given", args.len()),
            ));
        };
        let Some(axis) = self.const_usize(&arg.value, "the number of a dimension")? else {
            return Ok(Val::Tile(TileVal::new(TileTy::scalar(Scalar::INDEX), None)));
        };
        if axis >= view.dims.len() {
            return Err(self.error(
                codes::BAD_AXIS,
                arg.span,
                format!("dimension {axis} of a tensor of rank {}", view.dims.len()),
                format!("`{view}` has the dimensions 0 to {}", view.dims.len() - 1),
            ));
        }
        if name.as_str() == "dim" {
            return Ok(Val::Tile(self.view_dim(view, axis)));
        }
        let ty = TileTy::scalar(Scalar::INDEX);
        let ir = self.sink.need(view.ir).and_then(|view| self.sink.one(InstData::ViewStride { view, axis: axis as u8 }, &ty));
        Ok(Val::Tile(TileVal::new(ty, ir)))
    }

    /// The extent of a dimension: a constant where it is one.
    pub fn view_dim(&mut self, view: &ViewVal, axis: usize) -> TileVal {
        match &view.dims[axis] {
            DimVal::Const(n) => TileVal::int(n.clone()),
            DimVal::Dyn => {
                let ty = TileTy::scalar(Scalar::INDEX);
                let ir =
                    self.sink.need(view.ir).and_then(|view| self.sink.one(InstData::ViewDim { view, axis: axis as u8 }, &ty));
                TileVal::new(ty, ir)
            }
        }
    }

    /// The access to one or a tile of pointers.
    pub fn pointer_access(&mut self, pointers: &TileVal, span: Span) -> R<Access> {
        let Elem::Ptr { pointee, mutable } = pointers.ty.elem else {
            return Err(self.report(
                Diagnostic::error(codes::POINTER, "expected a slice of a tensor or a pointer")
                    .primary(span, format!("this is {}", super::ops::quoted_ty(&pointers.ty)))
                    .help("a place is `x[i, j..+B]`, or a pointer `p + offsets`"),
            ));
        };
        Ok(Access {
            place: AccessPlace::Ptr(pointers.clone()),
            elem: Elem::Scalar(pointee),
            shape: pointers.ty.shape.clone(),
            mutable,
            origin: None,
            mask: None,
            other: None,
            or_neg_inf: None,
            cache: CacheOp::Default,
            evict: Evict::Normal,
            span,
        })
    }

    /// The length of `start..+len`.
    pub fn slice_len(&mut self, len: &'p ast::Expr) -> R<Num> {
        let tile = self.tile(len)?;
        if tile.konst.is_none() && matches!(tile.ty.elem, Elem::Scalar(s) if s.known().is_some_and(|t| t.is_int())) {
            let mut d = Diagnostic::error(codes::SLICE_LENGTH, "the length of a slice must be constant")
                .primary(len.span, "known only at run time")
                .note("`start..+LEN` makes a tile, whose shape is known when the kernel is compiled");
            d = match len.unparen().as_ident() {
                Some(name) => d.help(format!(
                    "loop over blocks of it, or take `{0}` from the tensor as a constant: `const {0}: int`",
                    name.name
                )),
                None => d.help("use a constant parameter; lanes past the end read 0 and are not written"),
            };
            return Err(self.report(d));
        }
        let n = self.const_int_of(&tile, len.span, "the length of a slice")?;
        if let Some(v) = n.known()
            && v < 1
        {
            return Err(self.error(codes::SLICE_LENGTH, len.span, format!("a slice of length {v}"), "the length is at least 1"));
        }
        Ok(n)
    }
}
