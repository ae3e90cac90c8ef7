//! Conditions, and branches that join again: variables assigned in either become results of the `If`.

use kiln_ir::{Block, InstData, Type, ValueList};
use kiln_syntax::ast::{Else, Expr, If};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::expr::describe;
use super::ops::quoted_ty;
use super::value::{TileVal, Val};
use super::vars::VarId;
use super::{Elab, Poison, R};
use crate::consts::{Konst, Num, Truth};
use crate::types::{Elem, Kinds, Scalar, Shape, TileTy};

/// The value of a constant condition.
pub fn known(cond: &TileVal) -> Option<bool> {
    match cond.konst {
        Some(Konst::Bool(b)) => b,
        _ => None,
    }
}

/// What both blocks yield.
struct Sides {
    blocks: (Block, Block),
    leaves: (Vec<TileVal>, Vec<TileVal>),
}

/// A branch that was elaborated.
struct Branch<'p> {
    block: Block,
    changed: Vec<(VarId, Option<Val<'p>>)>,
    result: R<Val<'p>>,
}

impl<'p> Elab<'p> {
    /// A scalar bool.
    pub fn condition(&mut self, e: &'p Expr, what: &str) -> R<TileVal> {
        let cond = self.operand(e)?;
        if cond.tile.is_scalar() || cond.tile.ty.shape.dims().is_none() {
            self.require_kinds(&cond, Kinds::BOOL, &format!("the condition of `{what}`"), e.span)?;
            return Ok(cond.tile);
        }
        Err(self.report(
            Diagnostic::error(codes::CONDITION, format!("the condition of `{what}` is a scalar bool"))
                .primary(e.span, format!("this is {}", quoted_ty(&cond.tile.ty)))
                .help("`select(c, a, b)` chooses lane by lane; `any(c)` and `all(c)` make one bool of a tile"),
        ))
    }

    /// `if` as a value.
    pub fn if_value(&mut self, value: &'p If) -> R<Val<'p>> {
        let cond = self.condition(&value.cond, "if");
        let Some(otherwise) = &value.otherwise else {
            return Err(self.report(
                Diagnostic::error(codes::IF_VALUE, "an `if` that is used as a value needs an `else`")
                    .primary(value.span, "gives no value where the condition is false"),
            ));
        };
        let otherwise = |s: &mut Self| match otherwise {
            Else::If(inner) => s.if_value(inner),
            Else::Block(block) => s.block_value(block),
        };
        match cond {
            Ok(cond) => self.branches(&cond, |s| s.block_value(&value.then), otherwise, value.span),
            Err(Poison) => {
                let _ = self.block_value(&value.then);
                let _ = otherwise(self);
                Err(Poison)
            }
        }
    }

    fn branch(&mut self, f: impl FnOnce(&mut Self) -> R<Val<'p>>) -> Branch<'p> {
        let (block, outer) = self.sink.enter_block();
        self.regions.push(Default::default());
        let result = f(self);
        let region = self.regions.pop().unwrap_or_default();
        let changed = region.into_iter().map(|(id, before)| (id, std::mem::replace(&mut self.var(id).val, before))).collect();
        self.sink.set_block(outer);
        Branch { block, changed, result }
    }

    /// Runs one branch where the condition is a known constant, else both, and joins values and assigned variables.
    pub fn branches(
        &mut self,
        cond: &TileVal,
        then: impl FnOnce(&mut Self) -> R<Val<'p>>,
        otherwise: impl FnOnce(&mut Self) -> R<Val<'p>>,
        span: Span,
    ) -> R<Val<'p>> {
        match known(cond) {
            Some(true) => return then(self),
            Some(false) => return otherwise(self),
            None => {}
        }
        let cond_value = self.value(cond);
        let constant = cond.konst.is_some() || cond.ty.elem != Elem::Scalar(Scalar::BOOL);
        let base = self.vars.len() as u32;
        let a = self.branch(then);
        let b = self.branch(otherwise);
        let mut ids: Vec<VarId> = a.changed.iter().chain(&b.changed).map(|(id, _)| *id).filter(|id| id.0 < base).collect();
        ids.sort();
        ids.dedup();
        let mut joined: Vec<(VarId, Option<Val<'p>>)> = Vec::new();
        let mut sides = Sides { blocks: (a.block, b.block), leaves: Default::default() };
        for id in ids {
            let of = |branch: &Branch<'p>, s: &Self| match branch.changed.iter().find(|(v, _)| *v == id) {
                Some((_, val)) => val.clone(),
                None => s.vars[id.0 as usize].val.clone(),
            };
            let (x, y) = (of(&a, self), of(&b, self));
            let val = match (x, y) {
                (Some(x), Some(y)) => {
                    let name = self.var(id).name.clone();
                    self.join(&x, &y, constant, span, &mut sides, &format!("`{name}`")).ok()
                }
                _ => None,
            };
            joined.push((id, val));
        }
        let result = match (&a.result, &b.result) {
            (Ok(x), Ok(y)) => self.join(x, y, constant, span, &mut sides, "the value of this `if`"),
            _ => Err(Poison),
        };
        let types = self.yield_sides(&[(a.block, &sides.leaves.0), (b.block, &sides.leaves.1)]);
        let number = sides.leaves.0.len();
        let inst = match (cond_value, types) {
            (Some(cond), Some(types)) => self.sink.emit(InstData::If { cond, then: a.block, otherwise: b.block }, &types),
            _ => None,
        };
        let mut results = self.sink.results(inst, number).into_iter();
        for (id, val) in joined {
            let val = val.map(|v| fill(v, &mut results));
            self.set_var(id, val);
        }
        result.map(|v| fill(v, &mut results))
    }

    /// Ends blocks with their values; the values' types are given back.
    fn yield_sides(&mut self, sides: &[(Block, &Vec<TileVal>)]) -> Option<Vec<Type>> {
        if !self.sink.is_live() {
            return None;
        }
        let mut types = None;
        for (block, leaves) in sides {
            let outer = self.sink.set_block(*block);
            let values: Vec<_> = leaves.iter().map(|leaf| self.value(leaf)).collect();
            let args: Option<ValueList> = self.sink.all(values);
            let args = args.unwrap_or_default();
            if self.sink.is_live() {
                let of_block: Vec<Type> = args.iter().map(|v| self.sink.func().ty(*v)).collect();
                types.get_or_insert(of_block);
            }
            self.sink.yield_(args);
            self.sink.set_block(outer);
        }
        types.filter(|_| self.sink.is_live())
    }

    /// The common form of two values; what each side yields for it is pushed to `sides`. `constant`: the condition is a constant that is not known yet.
    fn join(&mut self, x: &Val<'p>, y: &Val<'p>, constant: bool, span: Span, sides: &mut Sides, what: &str) -> R<Val<'p>> {
        match (x, y) {
            (Val::Unit, Val::Unit) => Ok(Val::Unit),
            (Val::Tile(a), Val::Tile(b)) => self.join_tiles(a, b, constant, span, sides, what).map(Val::Tile),
            (Val::Tuple(a), Val::Tuple(b)) if a.len() == b.len() => {
                let list: Vec<R<Val<'p>>> = a.iter().zip(b).map(|(a, b)| self.join(a, b, constant, span, sides, what)).collect();
                Ok(Val::Tuple(list.into_iter().collect::<R<_>>()?))
            }
            (Val::View(a), Val::View(b)) if constant && a.elem == b.elem && a.dims.len() == b.dims.len() => {
                let mut view = a.clone();
                for (d, other) in view.dims.iter_mut().zip(&b.dims) {
                    if d != other {
                        *d = super::value::DimVal::Dyn;
                    }
                }
                Ok(Val::View(view))
            }
            (Val::View(_), Val::View(_)) => Err(self.report(
                Diagnostic::error(codes::VIEW_ESCAPES, "a view cannot depend on a condition known only at run time")
                    .primary(span, format!("{what} would be one of two views"))
                    .help("choose the bounds instead, and make one view of them: `x[lo..hi, :]`"),
            )),
            (Val::Absent(_), Val::Absent(_)) | (Val::Str(_), Val::Str(_)) | (Val::Fn(_), Val::Fn(_)) if constant => Ok(x.clone()),
            _ if constant && self.generic => Err(Poison),
            _ => Err(self.report(
                Diagnostic::error(codes::IF_VALUE, "the branches of this `if` give different kinds of values")
                    .primary(span, format!("{what} is {} or {}", describe(x), describe(y))),
            )),
        }
    }

    fn join_tiles(&mut self, a: &TileVal, b: &TileVal, constant: bool, span: Span, sides: &mut Sides, what: &str) -> R<TileVal> {
        if constant {
            return Ok(join_open(a, b));
        }
        let elem = match (a.ty.elem, b.ty.elem) {
            (p, q) if p == q => p,
            (Elem::Scalar(p), Elem::Scalar(q)) => match p.join(q) {
                Ok(s) => Elem::Scalar(s),
                Err(_) => return Err(self.branch_types(a, b, span, what)),
            },
            _ => return Err(self.branch_types(a, b, span, what)),
        };
        let elem = match elem {
            Elem::Scalar(s) => Elem::Scalar(s.defaulted()),
            ptr => ptr,
        };
        if a.ty.shape.same(&b.ty.shape) == Truth::No {
            return Err(self.branch_types(a, b, span, what));
        }
        let shape = if a.ty.shape.same(&b.ty.shape) == Truth::Yes { a.ty.shape.clone() } else { Shape::Unknown };
        if let Some(to) = elem.scalar() {
            self.check_literal(a, to, span)?;
            self.check_literal(b, to, span)?;
        }
        let ty = TileTy::new(elem, shape);
        let left = self.cast_in(sides.blocks.0, a, elem);
        sides.leaves.0.push(left);
        let right = self.cast_in(sides.blocks.1, b, elem);
        sides.leaves.1.push(right);
        Ok(TileVal::new(ty, None))
    }

    /// The conversion of what a block yields, written in that block.
    fn cast_in(&mut self, block: Block, tile: &TileVal, elem: Elem) -> TileVal {
        let Some(to) = elem.scalar() else { return tile.clone() };
        let outer = self.sink.set_block(block);
        let out = self.cast_to(tile, to);
        self.sink.set_block(outer);
        out
    }

    fn branch_types(&mut self, a: &TileVal, b: &TileVal, span: Span, what: &str) -> Poison {
        self.report(
            Diagnostic::error(
                codes::IF_VALUE,
                format!("{what} is {} in one branch and {} in the other", quoted_ty(&a.ty), quoted_ty(&b.ty)),
            )
            .primary(span, "the branches must agree")
            .help("convert or broadcast one of them: `as`, `full([..], v)`"),
        )
    }
}

/// What is known of a value that a constant, unknown yet, chooses.
fn join_open(a: &TileVal, b: &TileVal) -> TileVal {
    let elem = match (a.ty.elem, b.ty.elem) {
        (p, q) if p == q => p,
        (Elem::Scalar(p), Elem::Scalar(q)) => Elem::Scalar(p.join(q).unwrap_or(Scalar::Unknown)),
        _ => Elem::Scalar(Scalar::Unknown),
    };
    let shape = if a.ty.shape == b.ty.shape { a.ty.shape.clone() } else { Shape::Unknown };
    let konst = match (&a.konst, &b.konst) {
        (Some(p), Some(q)) if p == q => Some(p.clone()),
        (Some(Konst::Int(_)), Some(Konst::Int(_))) => Some(Konst::Int(Num::Unknown)),
        (Some(Konst::Bool(_)), Some(Konst::Bool(_))) => Some(Konst::Bool(None)),
        (Some(Konst::Float(_)), Some(Konst::Float(_))) => Some(Konst::Float(None)),
        _ => None,
    };
    TileVal { ty: TileTy::new(elem, shape), konst, ir: None, history: a.history }
}

/// The value with IR results in its leaves, in order.
pub fn fill<'p>(val: Val<'p>, results: &mut impl Iterator<Item = Option<kiln_ir::Value>>) -> Val<'p> {
    match val {
        Val::Tile(t) => match t.konst {
            Some(_) => Val::Tile(t),
            None => {
                let ir = results.next().flatten();
                Val::Tile(TileVal { ir, ..t })
            }
        },
        Val::Tuple(list) => Val::Tuple(list.into_iter().map(|v| fill(v, results)).collect()),
        other => other,
    }
}
