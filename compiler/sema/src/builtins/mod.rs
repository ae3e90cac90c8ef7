//! The functions of the language: one table, one file a family. An entry has its parameters, a line of documentation, and the code that checks its
//! arguments and writes its instructions.

mod args;
mod atomics;
mod create;
mod debug;
mod dot;
mod fast;
mod math;
mod memory;
mod order;
mod reduce;
mod shape;

pub use args::Args;

use kiln_syntax::ast::TypeArg;
use kiln_syntax::span::Span;

use crate::elab::call::Argument;
use crate::elab::value::Val;
use crate::elab::{Elab, R};

/// An entry of the table.
pub struct Builtin {
    /// The name as called; `fast::exp2` for members of `fast`.
    pub name: &'static str,
    /// Parameter names, in order: `x, axis?, values*` (`?` may be left out, `*` takes all that follow).
    pub params: &'static str,
    /// One line for users.
    pub doc: &'static str,
    /// Checks and lowers a call.
    pub run: for<'p> fn(&mut Elab<'p>, &Args<'p>) -> R<Val<'p>>,
}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name, self.params)
    }
}

/// What tools may know of a builtin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BuiltinInfo {
    /// The name as called.
    pub name: &'static str,
    /// Parameters: `x, axis?, values*` (`?` may be left out, `*` takes all that follow).
    pub params: &'static str,
    /// One line of documentation.
    pub doc: &'static str,
}

static FAMILIES: [&[Builtin]; 10] = [
    create::TABLE,
    math::TABLE,
    fast::TABLE,
    shape::TABLE,
    reduce::TABLE,
    order::TABLE,
    memory::TABLE,
    atomics::TABLE,
    dot::TABLE,
    debug::TABLE,
];

/// Every builtin function, family by family.
pub fn builtins() -> impl Iterator<Item = BuiltinInfo> {
    all().map(|b| BuiltinInfo { name: b.name, params: b.params, doc: b.doc })
}

/// Every entry.
pub fn all() -> impl Iterator<Item = &'static Builtin> {
    FAMILIES.iter().copied().flatten()
}

/// The entry of a name.
pub fn find(name: &str) -> Option<&'static Builtin> {
    all().find(|b| b.name == name)
}

/// Calls an entry.
pub fn call<'p>(
    el: &mut Elab<'p>,
    builtin: &'static Builtin,
    type_args: Option<&'p [TypeArg]>,
    args: Vec<Argument<'p>>,
    span: Span,
) -> R<Val<'p>> {
    let args = Args::matched(el, builtin, type_args.unwrap_or_default(), args, span)?;
    (builtin.run)(el, &args)
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn names_are_unique_and_documented() {
        let mut names: Vec<&str> = all().map(|b| b.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(before, names.len());
        assert!(all().all(|b| !b.doc.is_empty()));
    }
}
