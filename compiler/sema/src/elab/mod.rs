//! The elaborator: walks bodies, types them, and writes Tile IR.
//!
//! One walk serves two purposes. *Generic*: type parameters are opaque, constants symbolic, nothing is written, and what depends on them is accepted
//! until they are known. *Instantiating*: everything is known and IR is written. Functions are expanded where they are called, so that absent
//! optionals, tuples, closures and constants pass through calls without a convention of their own.
//!
//! Functions that fail have reported why and return [`Poison`].

pub mod access;
pub mod call;
pub mod closure;
pub mod control;
pub mod expr;
pub mod generics;
pub mod index;
pub mod item;
pub mod loops;
pub mod ops;
pub mod pattern;
pub mod place;
pub mod recursion;
pub mod scalar_ops;
pub mod sink;
pub mod stmt;
pub mod type_expr;
pub mod value;
pub mod vars;

use std::sync::Arc;

use kiln_syntax::ast;
use kiln_syntax::codes::{self, Code};
use kiln_syntax::diagnostic::{Diagnostic, Diagnostics};
use kiln_syntax::span::Span;
use rustc_hash::FxHashMap;

use crate::names::{ItemId, ModuleId, Modules};
use crate::types::{Scalar, Shape};
use sink::Sink;
use value::Val;
use vars::{Var, VarId};

/// The reason was reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Poison;

/// A result whose failure was reported.
pub type R<T> = Result<T, Poison>;

/// What a name in scope is.
#[derive(Clone, Debug)]
pub enum Binding {
    /// A variable, parameter, dimension or constant parameter.
    Var(VarId),
    /// A type parameter.
    Type(Scalar),
    /// A shape parameter.
    Shape(Shape),
}

/// What a frame elaborates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// The body of a kernel.
    Kernel,
    /// The body of a function.
    Fn,
    /// The value of a constant.
    Const,
}

/// A body under elaboration: the names of its callers are not visible in it.
#[derive(Debug)]
pub struct Frame {
    /// Where names are looked up.
    pub module: ModuleId,
    /// Kind.
    pub kind: FrameKind,
    /// Name of the item.
    pub name: Arc<str>,
    /// The call it is expanded for.
    pub call: Option<Span>,
    /// Names, innermost last.
    pub scopes: Vec<FxHashMap<Arc<str>, Binding>>,
    /// Loops around the current statement.
    pub loops: u32,
    /// Closures around the current expression.
    pub closures: u32,
    /// Variables older than this belong to what is around the innermost closure.
    pub closure_base: u32,
}

/// A constant item: being evaluated, or done.
#[derive(Clone, Debug)]
pub enum ConstState<'p> {
    /// Its value is being worked out.
    Running,
    /// Its value.
    Done(R<Val<'p>>),
}

/// Variables assigned in a region, with their values before.
pub type Region<'p> = std::collections::BTreeMap<VarId, Option<Val<'p>>>;

/// Which optional parameters of an item a generic check takes as given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Given {
    /// Every one.
    All,
    /// All but the parameter of this number.
    AllBut(usize),
    /// None.
    Nothing,
}

impl Given {
    /// Whether a parameter has a value.
    pub fn has(self, number: usize, param: &ast::Param) -> bool {
        param.ty.optional.is_none()
            || match self {
                Given::All => true,
                Given::AllBut(absent) => number != absent,
                Given::Nothing => false,
            }
    }
}

/// State of the walk.
pub struct Elab<'p> {
    /// The program.
    pub modules: &'p Modules,
    /// Where IR goes.
    pub sink: Sink,
    /// Whether type parameters and constants are open.
    pub generic: bool,
    /// Which optional parameters are given in generic code.
    pub given: Given,
    /// Extents of the grid of the kernel under elaboration; 0 in a function that is checked by itself.
    pub grid_rank: u32,
    /// What was found.
    pub diagnostics: Diagnostics,
    /// Bodies around; never empty while elaborating.
    pub frames: Vec<Frame>,
    /// All variables.
    pub vars: Vec<Var<'p>>,
    /// Variables assigned in each open region.
    pub regions: Vec<Region<'p>>,
    /// Flags that a `return` sets, for the statements behind it.
    pub return_flags: Vec<VarId>,
    /// Values of constant items.
    pub consts: FxHashMap<ItemId, ConstState<'p>>,
    /// Names of imports that were used.
    pub used_imports: std::collections::BTreeSet<(ModuleId, Arc<str>)>,
    /// Greater than 0: reports are dropped, because the body is reported on where it is checked by itself.
    muted: u32,
    errors: usize,
    fuel: u32,
}

/// Whether a text is one operand: no operator outside of brackets.
fn is_operand(text: &str) -> bool {
    let mut depth = 0usize;
    for c in text.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ' ' | '+' | '-' | '*' | '/' | '%' | '&' | '|' | '^' | '<' | '>' | '=' | '!' if depth == 0 => return false,
            _ => {}
        }
    }
    true
}

/// `1 index`, `2 indexes`.
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Which axes there are, in a message.
pub fn axes(rank: usize) -> String {
    match rank {
        0 => "there are no axes".to_owned(),
        1 => "the only axis is 0".to_owned(),
        n => format!("axes are 0 to {}", n - 1),
    }
}

/// Expressions and statements that one item may take.
const FUEL: u32 = 4_000_000;
/// Calls within calls.
pub const MAX_CALL_DEPTH: usize = 64;

impl<'p> Elab<'p> {
    /// A walk over items of `modules`.
    pub fn new(modules: &'p Modules, sink: Sink, generic: bool) -> Self {
        Elab {
            modules,
            sink,
            generic,
            given: Given::All,
            grid_rank: 0,
            diagnostics: Diagnostics::new(),
            frames: Vec::new(),
            vars: Vec::new(),
            regions: Vec::new(),
            return_flags: Vec::new(),
            consts: FxHashMap::default(),
            used_imports: Default::default(),
            muted: 0,
            errors: 0,
            fuel: FUEL,
        }
    }

    /// Reports a diagnostic. An error ends the writing of IR.
    pub fn report(&mut self, mut diagnostic: Diagnostic) -> Poison {
        if diagnostic.is_error() {
            self.sink.kill();
            self.errors += 1;
        }
        if self.muted > 0 {
            return Poison;
        }
        if !diagnostic.is_error() && self.frames.last().is_some_and(|f| f.call.is_some()) {
            // Warnings belong to the function's own check.
            return Poison;
        }
        // An error in a function that is expanded: say for which call.
        if let Some(frame) = self.frames.iter().find(|f| f.call.is_some())
            && let Some(call) = frame.call
            && diagnostic.span().is_none_or(|s| !call.contains(s))
        {
            diagnostic = diagnostic.secondary(call, format!("in this call of `{}`", frame.name));
        }
        self.diagnostics.push(diagnostic);
        Poison
    }

    /// Reports an error at one place.
    pub fn error(&mut self, code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) -> Poison {
        self.report(Diagnostic::error(code, message).primary(span, label))
    }

    /// The source under a span; nothing for files that came as tokens.
    pub fn source(&self, span: Span) -> Option<&'p str> {
        let module = self.modules.list.iter().find(|m| m.file == span.file)?;
        module.text.get(span.range()).filter(|text| !text.is_empty())
    }

    /// Adds the advice to convert an expression with `as`, with parentheses where it needs them.
    pub fn suggest_as(&self, d: Diagnostic, span: Span, message: &str, to: &str) -> Diagnostic {
        let Some(text) = self.source(span) else { return d.help(format!("{message}: `.. as {to}`")) };
        let message = format!("{message}: `.. as {to}`");
        if is_operand(text) {
            return d.suggest(message, span.end(), format!(" as {to}"));
        }
        d.suggest(message, span, format!("({text}) as {to}"))
    }

    /// Whether an error was met, reported or not.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Runs `f` with reports dropped. Errors inside end nothing outside but the result of `f`.
    pub fn muted<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.muted += 1;
        let errors = self.errors;
        let result = f(self);
        self.errors = errors;
        self.muted -= 1;
        result
    }

    /// Whether reports are dropped.
    pub fn is_muted(&self) -> bool {
        self.muted > 0
    }

    /// The body under elaboration.
    pub fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("a body is under elaboration")
    }

    /// The body under elaboration.
    pub fn frame_ref(&self) -> &Frame {
        self.frames.last().expect("a body is under elaboration")
    }

    /// Counts a step.
    ///
    /// # Errors
    /// When the item takes too many.
    pub fn step(&mut self, span: Span) -> R<()> {
        if self.fuel == 0 {
            return Err(Poison);
        }
        self.fuel -= 1;
        if self.fuel == 0 || self.sink.is_too_large() {
            self.fuel = 0;
            return Err(self.report(
                Diagnostic::error(codes::TOO_LARGE, "this kernel grows too large when its functions are expanded")
                    .primary(span, "given up here")
                    .note("functions are expanded where they are called; calls that double at every level add up quickly"),
            ));
        }
        Ok(())
    }

    /// Opens a body.
    pub fn push_frame(&mut self, module: ModuleId, kind: FrameKind, name: Arc<str>, call: Option<Span>) {
        let closure_base = self.vars.len() as u32;
        self.frames.push(Frame {
            module,
            kind,
            name,
            call,
            scopes: vec![FxHashMap::default()],
            loops: 0,
            closures: 0,
            closure_base,
        });
    }
}
