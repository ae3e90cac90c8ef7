//! Matching the arguments of a builtin with its parameters, and asking for them by name.

use kiln_syntax::ast::{Expr, ExprKind, TypeArg};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::Builtin;
use crate::consts::Num;
use crate::elab::call::{Argument, ArgumentValue};
use crate::elab::ops::{Operand, quoted_ty};
use crate::elab::value::{TileVal, Val};
use crate::elab::{Elab, Poison, R, axes, count};
use crate::names::closest;
use crate::types::{Elem, Kinds, Scalar, Shape};

/// The arguments of one call.
#[derive(Debug)]
pub struct Args<'p> {
    /// The entry.
    pub builtin: &'static Builtin,
    /// The turbofish.
    pub type_args: &'p [TypeArg],
    /// The whole call.
    pub span: Span,
    slots: Vec<(&'static str, Vec<Argument<'p>>)>,
}

impl<'p> Args<'p> {
    /// Sorts arguments to parameters.
    pub fn matched(
        el: &mut Elab<'p>,
        builtin: &'static Builtin,
        type_args: &'p [TypeArg],
        args: Vec<Argument<'p>>,
        span: Span,
    ) -> R<Args<'p>> {
        let params: Vec<&'static str> = builtin.params.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        let bare = |p: &'static str| p.trim_end_matches(['?', '*']);
        let mut slots: Vec<(&'static str, Vec<Argument<'p>>)> = params.iter().map(|p| (bare(p), Vec::new())).collect();
        let mut next = 0;
        let total = args.len();
        let mut result = Ok(());
        for arg in args {
            let at = match arg.name {
                Some(name) => match slots.iter().position(|(p, _)| *p == name.as_str()) {
                    Some(at) => at,
                    None => {
                        let mut d =
                            Diagnostic::error(codes::UNKNOWN_ARG, format!("`{}` has no argument `{}`", builtin.name, name.name))
                                .primary(name.span, "not found")
                                .note(format!("it is called `{}({})`", builtin.name, builtin.params));
                        if let Some(near) = closest(&name.name, slots.iter().map(|(p, _)| *p)) {
                            d = d.suggest(format!("did you mean `{near}`?"), name.span, near);
                        }
                        result = Err(el.report(d));
                        continue;
                    }
                },
                None => {
                    let at = next;
                    if params.get(at).is_none_or(|p| !p.ends_with('*')) {
                        next += 1;
                    }
                    at
                }
            };
            let Some(param) = params.get(at) else {
                result = Err(el.report(
                    Diagnostic::error(
                        codes::ARG_COUNT,
                        format!("`{}` takes at most {} arguments, {total} are given", builtin.name, params.len()),
                    )
                    .primary(arg.span, "one too many")
                    .note(format!("it is called `{}({})`", builtin.name, builtin.params)),
                ));
                break;
            };
            if !slots[at].1.is_empty() && !param.ends_with('*') {
                result = Err(el.error(
                    codes::ARG_COUNT,
                    arg.span,
                    format!("`{}` of `{}` is given twice", slots[at].0, builtin.name),
                    "given before",
                ));
                continue;
            }
            let absent = matches!(&arg.value, ArgumentValue::Expr(e) if matches!(e.kind, ExprKind::None));
            if !(absent && param.ends_with('?')) {
                slots[at].1.push(arg);
            }
        }
        result?;
        let missing: Vec<String> = params
            .iter()
            .zip(&slots)
            .filter(|(p, (_, given))| !p.ends_with(['?', '*']) && given.is_empty())
            .map(|(p, _)| format!("`{p}`"))
            .collect();
        if !missing.is_empty() {
            return Err(el.report(
                Diagnostic::error(codes::ARG_COUNT, format!("`{}` lacks {}", builtin.name, missing.join(", ")))
                    .primary(span, format!("{} given", count(total, "argument", "arguments")))
                    .note(format!("it is called `{}({})`: {}", builtin.name, builtin.params, builtin.doc)),
            ));
        }
        Ok(Args { builtin, type_args, span, slots })
    }

    /// The entry's name in backquotes.
    pub fn what(&self) -> String {
        format!("`{}`", self.builtin.name)
    }

    /// All arguments of a parameter.
    pub fn all(&self, name: &str) -> &[Argument<'p>] {
        self.slots.iter().find(|(p, _)| *p == name).map_or(&[], |(_, list)| list)
    }

    /// Whether an argument is given.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The argument.
    pub fn one(&self, name: &str) -> R<&Argument<'p>> {
        self.all(name).first().ok_or(Poison)
    }

    /// The expression of an argument that is not evaluated as a value: words, lists, closures.
    pub fn expr(&self, el: &mut Elab<'p>, name: &str) -> R<Option<&'p Expr>> {
        match self.all(name).first() {
            None => Ok(None),
            Some(Argument { value: ArgumentValue::Expr(e), .. }) => Ok(Some(e)),
            Some(Argument { span, .. }) => Err(el.error(
                codes::BAD_OPTION,
                *span,
                format!("`{name}` of {} cannot be a receiver", self.what()),
                "write it as an argument",
            )),
        }
    }

    /// The place of an argument, or of the call.
    pub fn span_of(&self, name: &str) -> Span {
        self.all(name).first().map_or(self.span, |a| a.span)
    }

    /// The value of a required argument; slices are read.
    pub fn val(&self, el: &mut Elab<'p>, name: &str) -> R<Val<'p>> {
        let arg = self.one(name)?.clone();
        el.argument(&arg, false)
    }

    /// The value of an argument; slices stay memory.
    pub fn raw(&self, el: &mut Elab<'p>, name: &str) -> R<Val<'p>> {
        let arg = self.one(name)?.clone();
        el.argument(&arg, true)
    }

    /// The tile of a required argument.
    pub fn operand(&self, el: &mut Elab<'p>, name: &str) -> R<Operand> {
        let val = self.val(el, name)?;
        let span = self.span_of(name);
        Ok(Operand { tile: el.tile_of(val, span)?, span })
    }

    /// The tile of an argument that may be left out.
    pub fn optional(&self, el: &mut Elab<'p>, name: &str) -> R<Option<Operand>> {
        if self.has(name) { self.operand(el, name).map(Some) } else { Ok(None) }
    }

    /// A required tile of some kinds.
    pub fn operand_of(&self, el: &mut Elab<'p>, name: &str, kinds: Kinds) -> R<Operand> {
        let operand = self.operand(el, name)?;
        self.require(el, &operand, kinds)?;
        Ok(operand)
    }

    /// Refuses lanes that are not of the kinds.
    pub fn require(&self, el: &mut Elab<'p>, operand: &Operand, kinds: Kinds) -> R<()> {
        let ok = match operand.tile.ty.elem {
            Elem::Ptr { .. } => kinds == Kinds::ANY,
            Elem::Scalar(s) => s.kinds().within(kinds),
        };
        if ok {
            return Ok(());
        }
        let mut d = Diagnostic::error(
            codes::BUILTIN_TYPE,
            format!("{} takes {}, found {}", self.what(), kinds.describe(), crate::elab::ops::quoted_elem(operand.tile.ty.elem)),
        )
        .primary(operand.span, format!("this is {}", quoted_ty(&operand.tile.ty)))
        .note(format!("`{}({})`: {}", self.builtin.name, self.builtin.params, self.builtin.doc));
        match (operand.tile.scalar(), kinds) {
            (Some(Scalar::IntLit), Kinds::FLOAT) => d = d.help("write the constant as a float, `2.0`"),
            (Some(s), Kinds::FLOAT) if s.kinds().within(Kinds::INTEGER) => {
                d = el.suggest_as(d, operand.span, "convert it", "f32")
            }
            _ => {}
        }
        Err(el.report(d))
    }

    /// A constant, known unless the code is generic.
    pub fn constant(&self, el: &mut Elab<'p>, name: &str) -> R<Num> {
        let operand = self.operand(el, name)?;
        el.const_int_of(&operand.tile, operand.span, &format!("`{name}` of {}", self.what()))
    }

    /// An axis of a tile, counted from the end where negative. Nothing where it is left out.
    pub fn axis(&self, el: &mut Elab<'p>, name: &str, shape: &Shape) -> R<Axis> {
        if !self.has(name) {
            return Ok(Axis::None);
        }
        let n = self.constant(el, name)?;
        let (Some(v), Some(rank)) = (n.known(), shape.dims().map(<[Num]>::len)) else { return Ok(Axis::Open) };
        let rank_i = rank as i128;
        if v >= rank_i || v < -rank_i {
            return Err(el.error(
                codes::BAD_AXIS,
                self.span_of(name),
                format!("axis {v} of a tile of rank {rank}"),
                if rank == 0 { "a scalar has no axes".to_owned() } else { format!("the shape is {shape}: {}", axes(rank)) },
            ));
        }
        Ok(Axis::At(if v < 0 { (v + rank_i) as usize } else { v as usize }))
    }

    /// The mask: bool lanes that fit a shape.
    pub fn mask(&self, el: &mut Elab<'p>, shape: &Shape, of: Span) -> R<Option<TileVal>> {
        let Some(mask) = self.optional(el, "mask")? else { return Ok(None) };
        self.require(el, &mask, Kinds::BOOL)?;
        let other = Operand { tile: TileVal::new(crate::types::TileTy::new(Scalar::BOOL, shape.clone()), None), span: of };
        let joint = el.unify_shapes(&mask, &other, &format!("the mask of {}", self.what()))?;
        if joint.same(shape) == crate::consts::Truth::No {
            return Err(el.error(
                codes::MISMATCHED_SHAPES,
                mask.span,
                format!("the mask has the shape {}, the access {shape}", mask.tile.ty.shape),
                "larger than the access",
            ));
        }
        Ok(Some(el.broadcast_to(&mask.tile, shape)))
    }
}

/// An axis argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axis {
    /// Not given.
    None,
    /// Given, but not known yet in generic code.
    Open,
    /// Given.
    At(usize),
}
