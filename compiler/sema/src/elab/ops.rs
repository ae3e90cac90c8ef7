//! Operations on tiles: constants becoming values, conversions, broadcasting, and the operators.

use kiln_ir::ops::{BinaryOp as IrBinary, CmpOp};
use kiln_ir::{Const, InstData, ScalarType, Value};
use kiln_syntax::ast::BinaryOp;
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::value::{History, TileVal};
use super::{Elab, R};
use crate::consts::{Konst, Num, Truth, round};
use crate::types::{Conversion, Elem, Kinds, Scalar, Shape, TileTy, broadcast};

/// A tile is refused beyond this number of elements.
pub const MAX_ELEMENTS: i128 = 1 << 24;

/// An operand with its place.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The value.
    pub tile: TileVal,
    /// Where it stands.
    pub span: Span,
}

impl<'p> Elab<'p> {
    /// The IR value of a tile; constants are written down. Literals must have been given a type.
    pub fn value(&mut self, tile: &TileVal) -> Option<Value> {
        if !self.sink.is_live() {
            return None;
        }
        if let Some(v) = tile.ir {
            return Some(v);
        }
        let ty = match tile.ty.elem {
            Elem::Scalar(s) => tile.ty.with_elem(s.defaulted()),
            Elem::Ptr { .. } => tile.ty.clone(),
        };
        let data = match &tile.konst {
            Some(Konst::List(list)) => list
                .iter()
                .map(|k| self.ir_const(k, &ty))
                .collect::<Option<Vec<Const>>>()
                .map(|v| InstData::ConstTile { values: v.into() }),
            Some(k) => self.ir_const(k, &ty).map(|value| InstData::Const { value }),
            None => None,
        };
        match data {
            Some(data) => self.sink.one(data, &ty),
            None => self.sink.need(None),
        }
    }

    fn ir_const(&self, konst: &Konst, ty: &TileTy) -> Option<Const> {
        let scalar = ty.elem.scalar()?.known()?;
        konst.cast(scalar).ir()
    }

    /// Refuses shapes with too many elements.
    pub fn check_shape(&mut self, shape: &Shape, span: Span) -> R<()> {
        let Some(dims) = shape.dims() else { return Ok(()) };
        let mut total: i128 = 1;
        for d in dims {
            let Some(v) = d.known() else { continue };
            if v < 1 {
                return Err(self.error(
                    codes::BAD_EXTENT,
                    span,
                    format!("a tile cannot have an extent of {v}"),
                    format!("this tile would have the shape {shape}"),
                ));
            }
            total = total.saturating_mul(v);
        }
        if total > MAX_ELEMENTS {
            return Err(self.report(
                Diagnostic::error(codes::TILE_TOO_LARGE, format!("a tile of shape {shape} has {total} elements"))
                    .primary(span, format!("more than the limit of {MAX_ELEMENTS}"))
                    .help("a tile is what one program holds at a time: loop over blocks of the data"),
            ));
        }
        if dims.len() > 8 {
            return Err(self.error(codes::TILE_TOO_LARGE, span, format!("a tile of rank {}", dims.len()), "more than 8 axes"));
        }
        Ok(())
    }

    /// The explicit conversion `as`, which was checked before.
    pub fn cast_to(&mut self, tile: &TileVal, to: Scalar) -> TileVal {
        if tile.ty.elem == Elem::Scalar(to) {
            return tile.clone();
        }
        let ty = tile.ty.with_elem(to);
        if let Some(konst) = &tile.konst {
            let konst = match to {
                Scalar::Known(s) => Some(konst.cast(s)),
                _ if to.kinds() == Kinds::FLOAT => Some(Konst::Float(None)),
                _ => None,
            };
            return TileVal { ty, konst, ir: None, history: tile.history };
        }
        let ir = self.value(tile).and_then(|arg| self.sink.one(InstData::Cast { arg }, &ty));
        // A conversion to a wider type keeps what may have gone wrong before.
        TileVal { ty, konst: None, ir, history: tile.history }
    }

    /// A tile whose literal has become the type it has by itself.
    pub fn settle(&mut self, tile: &TileVal) -> TileVal {
        match tile.ty.elem {
            Elem::Scalar(s) if s.is_literal() => self.cast_to(tile, s.defaulted()),
            _ => tile.clone(),
        }
    }

    /// Numpy broadcasting to a shape it fits.
    pub fn broadcast_to(&mut self, tile: &TileVal, shape: &Shape) -> TileVal {
        if tile.ty.shape == *shape {
            return tile.clone();
        }
        let ty = TileTy::new(tile.ty.elem, shape.clone());
        let scalar_const = tile.is_scalar().then_some(tile.konst.as_ref()).flatten().and_then(|k| {
            let settled = ty.elem.scalar().map(|s| ty.with_elem(s.defaulted()))?;
            Some((self.ir_const(k, &settled)?, settled))
        });
        let (ir, ty) = match scalar_const {
            Some((value, settled)) if self.sink.is_live() => (self.sink.one(InstData::Const { value }, &settled), settled),
            _ => (self.value(tile).and_then(|arg| self.sink.one(InstData::Broadcast { arg }, &ty)), ty),
        };
        TileVal { ty, konst: None, ir, history: tile.history }
    }

    /// The implicit conversion to an element type.
    ///
    /// # Errors
    /// Reported: the conversion is not implicit. `what` says what wants the type ("the tensor `y` holds f16").
    pub fn convert(&mut self, tile: &TileVal, to: Elem, span: Span, what: &str) -> R<TileVal> {
        let (from, to) = match (tile.ty.elem, to) {
            (a, b) if a == b => return Ok(tile.clone()),
            (Elem::Ptr { pointee: p, mutable: m }, Elem::Ptr { pointee: q, mutable: n })
                if (p == q || p == Scalar::Unknown || q == Scalar::Unknown) && (m || !n) =>
            {
                return Ok(TileVal { ty: tile.ty.with_elem(to), ..tile.clone() });
            }
            (Elem::Scalar(a), Elem::Scalar(b)) => (a, b),
            (found, _) => {
                return Err(self.report(
                    Diagnostic::error(codes::MISMATCHED_TYPES, format!("expected `{to}`, found `{found}`"))
                        .primary(span, format!("this is `{found}`"))
                        .note(what.to_owned()),
                ));
            }
        };
        match from.converts_to(to) {
            Conversion::Same | Conversion::Widens | Conversion::Deferred => {
                self.check_literal(tile, to, span)?;
                Ok(self.cast_to(tile, to))
            }
            Conversion::Narrows => {
                let d = Diagnostic::error(codes::NARROWING, format!("`{from}` does not become `{to}` by itself"))
                    .primary(span, format!("this is `{}`", tile.ty))
                    .note(what.to_owned())
                    .note("a conversion that may lose values is written out");
                let d = self.suggest_as(d, span, "convert it", &to.to_string());
                Err(self.report(d))
            }
            Conversion::Mixed => {
                let mut d = Diagnostic::error(codes::MISMATCHED_TYPES, format!("expected `{to}`, found {}", quoted(from)))
                    .primary(span, format!("this is {}", quoted_ty(&tile.ty)))
                    .note(what.to_owned());
                d = match (from, tile.num().and_then(Num::known)) {
                    (Scalar::IntLit, Some(v)) if to.kinds().may_be(Kinds::FLOAT) && to.kinds() == Kinds::FLOAT => {
                        d.suggest(format!("write it as a float: `{v}.0`"), span, format!("{v}.0"))
                    }
                    _ if to == Scalar::BOOL => d.help("compare it: `x != 0`"),
                    _ => self.suggest_as(d, span, "convert it", &to.to_string()),
                };
                Err(self.report(d))
            }
        }
    }

    /// Refuses an integer literal that its type cannot hold.
    pub fn check_literal(&mut self, tile: &TileVal, to: Scalar, span: Span) -> R<()> {
        if let (Some(Scalar::IntLit), Scalar::Known(ty), Some(Num::Known(v))) = (tile.scalar(), to, tile.num()) {
            let (lo, hi) = round::int_range(ty);
            if ty.is_int() && !(lo..=hi).contains(v) {
                let v = *v;
                return Err(self.error(
                    codes::LITERAL_RANGE,
                    span,
                    format!("{v} is not a value of `{ty}`"),
                    format!("`{ty}` holds {lo} to {hi}"),
                ));
            }
        }
        Ok(())
    }

    /// Conversion and broadcasting to a type.
    ///
    /// # Errors
    /// Reported: type or shape do not fit.
    pub fn coerce(&mut self, tile: &TileVal, to: &TileTy, span: Span, what: &str) -> R<TileVal> {
        let converted = self.convert(tile, to.elem, span, what)?;
        if converted.ty.shape == to.shape {
            return Ok(converted);
        }
        let fits = match broadcast(&converted.ty.shape, &to.shape) {
            None => false,
            Some(joint) => joint.same(&to.shape) != Truth::No,
        };
        if !fits {
            return Err(self.report(
                Diagnostic::error(codes::MISMATCHED_SHAPES, format!("expected `{to}`, found `{}`", tile.ty))
                    .primary(span, format!("this has the shape {}", tile.ty.shape))
                    .note(what.to_owned()),
            ));
        }
        let mut out = self.broadcast_to(&converted, &to.shape);
        out.ty.shape = to.shape.clone();
        Ok(out)
    }

    /// Both operands with one element type.
    ///
    /// # Errors
    /// Reported: there is no common type.
    pub fn unify(&mut self, a: &Operand, b: &Operand, what: &str) -> R<(TileVal, TileVal, Elem)> {
        let (x, y) = match (a.tile.ty.elem, b.tile.ty.elem) {
            (p, q) if p == q => return Ok((a.tile.clone(), b.tile.clone(), p)),
            (Elem::Scalar(x), Elem::Scalar(y)) => (x, y),
            (Elem::Ptr { pointee: p, mutable: m }, Elem::Ptr { pointee: q, mutable: n }) if p == q => {
                return Ok((a.tile.clone(), b.tile.clone(), Elem::Ptr { pointee: p, mutable: m && n }));
            }
            (p, q) => {
                return Err(self.report(
                    Diagnostic::error(codes::NO_COMMON_TYPE, format!("{what} takes `{p}` and `{q}`, which have no common type"))
                        .primary(a.span, format!("`{}`", a.tile.ty))
                        .primary(b.span, format!("`{}`", b.tile.ty)),
                ));
            }
        };
        match x.join(y) {
            Ok(common) => {
                self.check_literal(&a.tile, common, a.span)?;
                self.check_literal(&b.tile, common, b.span)?;
                Ok((self.cast_to(&a.tile, common), self.cast_to(&b.tile, common), Elem::Scalar(common)))
            }
            Err(why) => Err(self.no_common_type(a, b, x, y, why, what)),
        }
    }

    fn no_common_type(&mut self, a: &Operand, b: &Operand, x: Scalar, y: Scalar, why: Conversion, what: &str) -> super::Poison {
        let float_int = (x.kinds().within(Kinds::FLOAT) && y.kinds().within(Kinds::INTEGER))
            || (y.kinds().within(Kinds::FLOAT) && x.kinds().within(Kinds::INTEGER));
        let (code, message) = if float_int {
            (codes::INT_FLOAT_MIX, format!("{what} mixes {} and {}", quoted(x), quoted(y)))
        } else {
            (codes::NO_COMMON_TYPE, format!("{what} takes {} and {}, which have no common type", quoted(x), quoted(y)))
        };
        let mut d =
            Diagnostic::error(code, message).primary(a.span, quoted_ty(&a.tile.ty)).primary(b.span, quoted_ty(&b.tile.ty));
        let (int, float_ty) = if y.kinds().within(Kinds::FLOAT) { (a, y) } else { (b, x) };
        if float_int {
            d = match (int.tile.scalar(), int.tile.num().and_then(Num::known)) {
                (Some(Scalar::IntLit), Some(v)) => {
                    d.suggest(format!("write the constant as a float: `{v}.0`"), int.span, format!("{v}.0"))
                }
                _ => {
                    let target = float_ty.defaulted();
                    self.suggest_as(d, int.span, "convert the integer", &target.to_string())
                }
            };
        } else if why == Conversion::Narrows {
            d = d.help(format!("neither holds every value of the other: convert one of them, `.. as {x}` or `.. as {y}`"));
        } else {
            d = d.help(format!("convert one of them: `.. as {}`", if x == Scalar::BOOL { y } else { x }));
        }
        self.report(d)
    }

    /// Both operands broadcast together.
    ///
    /// # Errors
    /// Reported: the shapes do not fit.
    pub fn unify_shapes(&mut self, a: &Operand, b: &Operand, what: &str) -> R<Shape> {
        match broadcast(&a.tile.ty.shape, &b.tile.ty.shape) {
            Some(shape) => {
                self.check_shape(&shape, a.span.merge(b.span))?;
                Ok(shape)
            }
            None => {
                let mut d = Diagnostic::error(
                    codes::MISMATCHED_SHAPES,
                    format!("{what} cannot combine the shapes {} and {}", a.tile.ty.shape, b.tile.ty.shape),
                )
                .primary(a.span, quoted_ty(&a.tile.ty))
                .primary(b.span, quoted_ty(&b.tile.ty))
                .note("shapes are aligned at the last axis; extents must be equal or 1");
                for (short, long) in [(a, b), (b, a)] {
                    if let (Some([n]), Some([first, _])) = (short.tile.ty.shape.dims(), long.tile.ty.shape.dims())
                        && n.equals(first) == Truth::Yes
                    {
                        d = d.suggest("to combine it with the rows, give it an axis of length 1", short.span.end(), "[:, None]");
                    }
                }
                Err(self.report(d))
            }
        }
    }

    /// The infix operators.
    ///
    /// # Errors
    /// Reported.
    pub fn binary(&mut self, op: BinaryOp, op_span: Span, a: &Operand, b: &Operand) -> R<TileVal> {
        let what = format!("`{}`", op.symbol());
        if let Some(result) = self.pointer_arithmetic(op, a, b)? {
            return Ok(result);
        }
        let allowed = allowed_kinds(op);
        for operand in [a, b] {
            self.require_kinds(operand, allowed, &what, op_span)?;
        }
        if matches!(op, BinaryOp::Shl | BinaryOp::Shr) {
            return self.shift(op, a, b);
        }
        let shape = self.unify_shapes(a, b, &what)?;
        let (x, y, elem) = self.unify(a, b, &what)?;
        let result_elem = if op.is_comparison() { Elem::Scalar(Scalar::BOOL) } else { elem };
        if let (Some(p), Some(q)) = (&x.konst, &y.konst)
            && shape.is_scalar()
            && let Some(konst) = self.fold(op, p, q, elem, a.span.merge(b.span))?
        {
            return Ok(TileVal::constant(result_elem, konst));
        }
        let history = self.history(op, &x, &y, elem, a.span.merge(b.span));
        let (x, y) = (self.broadcast_to(&x, &shape), self.broadcast_to(&y, &shape));
        let ty = TileTy::new(result_elem, shape);
        let pair = (self.value(&x), self.value(&y));
        let ir = match pair {
            (Some(a), Some(b)) => self.sink.one(lower(op, a, b), &ty),
            _ => None,
        };
        Ok(TileVal { ty, konst: None, ir, history })
    }

    fn history(&mut self, op: BinaryOp, x: &TileVal, y: &TileVal, elem: Elem, span: Span) -> History {
        let mut history = History::default();
        let narrow = matches!(elem, Elem::Scalar(Scalar::Known(s)) if s.is_int() && s.bits() <= 32);
        match op {
            BinaryOp::Mul if narrow => history.product = Some(span),
            BinaryOp::Add | BinaryOp::Sub if narrow => history.product = x.history.product.or(y.history.product),
            _ => {}
        }
        history
    }

    /// Refuses operands whose type is not of the allowed kinds.
    pub fn require_kinds(&mut self, operand: &Operand, allowed: Kinds, what: &str, place: Span) -> R<()> {
        let problem = match operand.tile.ty.elem {
            Elem::Ptr { .. } => allowed != Kinds::ANY,
            Elem::Scalar(s) => !s.kinds().within(allowed),
        };
        if !problem {
            return Ok(());
        }
        let mut d = Diagnostic::error(
            codes::BAD_OPERAND,
            format!("{what} takes {}, not {}", allowed.describe(), quoted_elem(operand.tile.ty.elem)),
        )
        .primary(operand.span, format!("this is {}", quoted_ty(&operand.tile.ty)));
        if place != operand.span {
            d = d.secondary(place, "");
        }
        if let Elem::Scalar(s @ (Scalar::Param(_) | Scalar::AccOf(_))) = operand.tile.ty.elem
            && s.kinds().may_be(allowed)
        {
            d = d.note(format!("`{s}` stands for every type of its class; a narrower class (`float`, `int`, `num`) allows more"));
        }
        if operand.tile.ty.elem == Elem::Scalar(Scalar::BOOL) && allowed == Kinds::NUMBER {
            d = d.help("count it as a number: `.. as i32`, `.. as f32`");
        }
        Err(self.report(d))
    }

    fn pointer_arithmetic(&mut self, op: BinaryOp, a: &Operand, b: &Operand) -> R<Option<TileVal>> {
        let is_ptr = |o: &Operand| matches!(o.tile.ty.elem, Elem::Ptr { .. });
        let (ptr, offset) = match (is_ptr(a), is_ptr(b), op) {
            (true, false, BinaryOp::Add | BinaryOp::Sub) => (a, b),
            (false, true, BinaryOp::Add) => (b, a),
            (true, true, BinaryOp::Eq | BinaryOp::Ne) | (false, false, _) => return Ok(None),
            _ => {
                let operand = if is_ptr(a) { a } else { b };
                return Err(self.report(
                    Diagnostic::error(codes::BAD_OPERAND, format!("`{}` is not defined for pointers", op.symbol()))
                        .primary(operand.span, format!("this is {}", quoted_ty(&operand.tile.ty)))
                        .help("pointers take `p + offsets`, `p - offsets`, `==` and `!=`"),
                ));
            }
        };
        let shape = self.unify_shapes(a, b, "pointer arithmetic")?;
        let mut offset = self.make_index(&offset.tile, offset.span)?;
        if op == BinaryOp::Sub {
            offset = self.negate(&offset, b.span)?;
        }
        let offset = self.cast_to(&offset, Scalar::INDEX);
        let (p, o) = (self.broadcast_to(&ptr.tile, &shape), self.broadcast_to(&offset, &shape));
        let ty = TileTy::new(ptr.tile.ty.elem, shape);
        let pair = (self.value(&p), self.value(&o));
        let ir = match pair {
            (Some(ptr), Some(offset)) => self.sink.one(InstData::PtrAdd { ptr, offset }, &ty),
            _ => None,
        };
        Ok(Some(TileVal::new(ty, ir)))
    }

    /// An integer as an index; constants stay constants.
    ///
    /// # Errors
    /// Reported: not an integer.
    pub fn make_index(&mut self, tile: &TileVal, span: Span) -> R<TileVal> {
        let ok = matches!(tile.ty.elem, Elem::Scalar(s) if s.kinds().within(Kinds::INTEGER));
        if !ok {
            return Err(self.report(
                Diagnostic::error(codes::BAD_INDEX, "an index is an integer")
                    .primary(span, format!("this is {}", quoted_ty(&tile.ty))),
            ));
        }
        if let Some(product) = tile.history.product {
            self.report(
                Diagnostic::warning(codes::INDEX_PRODUCT, "a product of 32-bit integers may wrap before it is used as an index")
                    .primary(product, format!("computed as `{}`", tile.ty.elem))
                    .secondary(span, "used as an index here")
                    .help("convert a factor first: `a as index * b` is computed as `index`, which never wraps"),
            );
        }
        if tile.scalar() == Some(Scalar::IntLit) {
            return Ok(tile.clone());
        }
        let mut out = self.cast_to(tile, Scalar::INDEX);
        out.history = History::default();
        Ok(out)
    }
}

/// A type in a message: literals are described, types quoted.
pub fn quoted(s: Scalar) -> String {
    if s.is_literal() { s.to_string() } else { format!("`{s}`") }
}

/// The same for lanes.
pub fn quoted_elem(e: Elem) -> String {
    match e {
        Elem::Scalar(s) => quoted(s),
        Elem::Ptr { .. } => format!("`{e}`"),
    }
}

/// The same for tiles.
pub fn quoted_ty(ty: &TileTy) -> String {
    match ty.elem {
        Elem::Scalar(s) if s.is_literal() && ty.shape.is_scalar() => s.to_string(),
        _ => format!("`{ty}`"),
    }
}

fn allowed_kinds(op: BinaryOp) -> Kinds {
    match op {
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem => Kinds::NUMBER,
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => Kinds::BITS,
        BinaryOp::Shl | BinaryOp::Shr => Kinds::INTEGER,
        BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => Kinds::NUMBER,
        BinaryOp::Eq | BinaryOp::Ne => Kinds::ANY,
        BinaryOp::And | BinaryOp::Or => Kinds::BOOL,
    }
}

fn lower(op: BinaryOp, a: Value, b: Value) -> InstData {
    let cmp = |op| InstData::Cmp { op, a, b };
    let bin = |op| InstData::Binary { op, a, b };
    match op {
        BinaryOp::Add => bin(IrBinary::Add),
        BinaryOp::Sub => bin(IrBinary::Sub),
        BinaryOp::Mul => bin(IrBinary::Mul),
        BinaryOp::Div => bin(IrBinary::Div),
        BinaryOp::Rem => bin(IrBinary::Rem),
        BinaryOp::BitAnd | BinaryOp::And => bin(IrBinary::And),
        BinaryOp::BitOr | BinaryOp::Or => bin(IrBinary::Or),
        BinaryOp::BitXor => bin(IrBinary::Xor),
        BinaryOp::Shl => bin(IrBinary::Shl),
        BinaryOp::Shr => bin(IrBinary::Shr),
        BinaryOp::Eq => cmp(CmpOp::Eq),
        BinaryOp::Ne => cmp(CmpOp::Ne),
        BinaryOp::Lt => cmp(CmpOp::Lt),
        BinaryOp::Le => cmp(CmpOp::Le),
        BinaryOp::Gt => cmp(CmpOp::Gt),
        BinaryOp::Ge => cmp(CmpOp::Ge),
    }
}

/// The known scalar type of lanes that are not pointers.
pub fn known_scalar(elem: Elem) -> Option<ScalarType> {
    elem.scalar().and_then(Scalar::known)
}
