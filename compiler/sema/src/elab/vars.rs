//! Variables and scopes.

use std::sync::Arc;

use kiln_syntax::ast::Ident;
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;
use rustc_hash::FxHashMap;

use super::value::{TileVal, Val};
use super::{Binding, Elab, Given, Poison, R};
use crate::types::{Scalar, Shape};

/// Number of a variable of the walk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct VarId(pub u32);

/// What a variable is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VarKind {
    /// Bound by `let`, `for` or a closure.
    Local,
    /// A parameter of the item.
    Param,
    /// A constant parameter.
    ConstParam,
    /// A dimension named in a parameter's type.
    Dim,
    /// Made by the elaborator.
    Hidden,
}

/// A variable.
#[derive(Clone, Debug)]
pub struct Var<'p> {
    /// Name.
    pub name: Arc<str>,
    /// Where it is bound.
    pub span: Span,
    /// `let mut`.
    pub mutable: Option<Span>,
    /// Its value now; none where the definition was wrong.
    pub val: Option<Val<'p>>,
    /// Kind.
    pub kind: VarKind,
    /// Was read.
    pub used: bool,
    /// Was assigned after its definition.
    pub assigned: bool,
}

impl<'p> Elab<'p> {
    /// Runs `f` in a new scope, then warns of what it left unused.
    pub fn scoped<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.frame().scopes.push(FxHashMap::default());
        let result = f(self);
        if let Some(scope) = self.frame().scopes.pop() {
            self.warn_unused(&scope);
        }
        result
    }

    /// Binds a name in the innermost scope.
    pub fn bind(&mut self, name: &Arc<str>, binding: Binding) {
        if let Some(scope) = self.frame().scopes.last_mut() {
            scope.insert(name.clone(), binding);
        }
    }

    /// Adds a variable without binding it.
    pub fn new_var(&mut self, name: &Arc<str>, span: Span, mutable: Option<Span>, val: Option<Val<'p>>, kind: VarKind) -> VarId {
        let id = VarId(self.vars.len() as u32);
        self.vars.push(Var { name: name.clone(), span, mutable, val, kind, used: false, assigned: false });
        id
    }

    /// Adds and binds a variable.
    pub fn define(&mut self, ident: &Ident, mutable: Option<Span>, val: Option<Val<'p>>, kind: VarKind) -> VarId {
        if let Some(Val::Tile(t)) = &val {
            self.sink.name_value(t.ir, &ident.name);
        }
        let id = self.new_var(&ident.name, ident.span, mutable, val, kind);
        self.bind(&ident.name, Binding::Var(id));
        id
    }

    /// What a name in scope is.
    pub fn lookup(&self, name: &str) -> Option<&Binding> {
        self.frame_ref().scopes.iter().rev().find_map(|s| s.get(name))
    }

    /// The variable.
    pub fn var(&mut self, id: VarId) -> &mut Var<'p> {
        &mut self.vars[id.0 as usize]
    }

    /// The value of a variable, which counts as used.
    pub fn read_var(&mut self, id: VarId) -> R<Val<'p>> {
        let var = self.var(id);
        var.used = true;
        var.val.clone().ok_or(Poison)
    }

    /// Gives a variable a new value and notes it in the open region.
    pub fn set_var(&mut self, id: VarId, val: Option<Val<'p>>) {
        let before = std::mem::replace(&mut self.var(id).val, val);
        if let Some(region) = self.regions.last_mut() {
            region.entry(id).or_insert(before);
        }
    }

    /// Names in scope that stand for values.
    pub fn names_in_scope(&self) -> Vec<Arc<str>> {
        self.frame_ref().scopes.iter().flat_map(|s| s.keys().cloned()).collect()
    }

    fn warn_unused(&mut self, scope: &FxHashMap<Arc<str>, Binding>) {
        if !self.generic || self.given != Given::All || self.is_muted() || self.frame_ref().call.is_some() {
            return;
        }
        let mut ids: Vec<VarId> =
            scope.values().filter_map(|b| if let Binding::Var(id) = b { Some(*id) } else { None }).collect();
        ids.sort();
        for id in ids {
            let var = &self.vars[id.0 as usize];
            if var.kind != VarKind::Local || var.name.starts_with('_') || var.val.is_none() {
                continue;
            }
            let (name, span) = (var.name.clone(), var.span);
            if !var.used {
                let d = Diagnostic::warning(codes::UNUSED_VARIABLE, format!("`{name}` is never read"))
                    .primary(span, "bound here")
                    .suggest("if that is meant, say so with an underscore", span, format!("_{name}"));
                self.report(d);
            } else if let (Some(mutable), false) = (var.mutable, var.assigned) {
                let d = Diagnostic::warning(codes::UNUSED_MUT, format!("`{name}` is never assigned again"))
                    .primary(mutable, "this `mut` has no use")
                    .suggest("remove it", Span { hi: span.lo, ..mutable }, "");
                self.report(d);
            }
        }
    }

    /// A type parameter's type, for `T` in expressions and types.
    pub fn lookup_type(&self, name: &str) -> Option<Scalar> {
        match self.lookup(name) {
            Some(Binding::Type(s)) => Some(*s),
            Some(_) => None,
            None => kiln_ir::ScalarType::from_name(name).map(Scalar::Known),
        }
    }

    /// A shape parameter's shape.
    pub fn lookup_shape(&self, name: &str) -> Option<Shape> {
        match self.lookup(name) {
            Some(Binding::Shape(s)) => Some(s.clone()),
            _ => None,
        }
    }

    /// The tile of a value that may only be a tile.
    ///
    /// # Errors
    /// Reported: the value is something else.
    pub fn tile_of(&mut self, val: Val<'p>, span: Span) -> R<TileVal> {
        let (found, help) = match val {
            Val::Tile(t) => return Ok(t),
            Val::Access(access) => return self.load(*access),
            Val::View(v) => (format!("`{v}`"), Some("read a part of it: `x[i, start..+LEN]` is a tile, `x[i, j]` an element")),
            Val::Tuple(_) => (format!("`{val}`"), Some("take it apart with a pattern: `let (a, b) = ..;`")),
            Val::Unit => ("nothing".to_owned(), None),
            Val::Fn(_) => ("a function".to_owned(), Some("call it")),
            Val::Absent(name) => return Err(self.absent(&name, span)),
            Val::Str(_) => ("a string".to_owned(), None),
        };
        let mut d = Diagnostic::error(codes::NOT_A_TILE, "expected a scalar or tile").primary(span, format!("this is {found}"));
        if let Some(help) = help {
            d = d.help(help);
        }
        Err(self.report(d))
    }

    /// Reports the use of an optional parameter that is not given.
    pub fn absent(&mut self, name: &str, span: Span) -> Poison {
        self.report(match self.lookup(name) {
            Some(Binding::Var(id)) if self.vars[id.0 as usize].kind == VarKind::Dim => {
                Diagnostic::error(codes::ABSENT, format!("the dimension `{name}` may be unknown here"))
                    .primary(span, "named only by tensors that may be absent")
                    .help("use it inside `if .. .is_some() { .. }` of a tensor that names it")
            }
            _ => Diagnostic::error(codes::ABSENT, format!("`{name}` may be absent here"))
                .primary(span, "used without asking whether it is given")
                .help(format!("put the use inside `if {name}.is_some() {{ .. }}`")),
        })
    }
}
