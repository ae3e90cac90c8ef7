//! The verifier: the only way to a [`CheckedModule`], which is what code generation accepts.
//!
//! Structure (checked here and in `scope`):
//! 1. Every block ends in a `yield`, and a `yield` stands nowhere else.
//! 2. Every block has one owner, every instruction stands in one block, once.
//! 3. An operand is defined earlier in the same or an enclosing block.
//! 4. A value's recorded origin is where it is defined.
//! 5. A function's parameters and the body's agree in number; a kernel has no results, rank 1 to 5 and index width 32 or 64.
//! 6. A body yields the function's results; the blocks of an instruction have the parameters and yield the values that its form says.
//! 7. Views are never carried by loops, yielded by branches or returned: a view always stands for one place.
//! 8. Closures of `reduce` and `scan` work on scalars and touch no memory except by loads; they do not synchronize.
//! 9. A call names a function of the module that is no kernel, with arguments of its parameters' types (a mutable view may be passed as a
//!    constant one) and results of its results' types.
//! 10. `grid_sync` stands only in kernels scheduled `cooperative` (or in functions).
//!
//! Types (`types`, `memory`): the rule written at each variant of [`crate::InstData`], among them
//! 11. Constants fit their type: integers in range, floats already rounded, pointers null.
//! 12. Lane-by-lane operands have one type; operators apply to the element types they are defined on.
//! 13. Shape operations give the shape they say; extents are at least 1 and a tile has less than 2^31 elements.
//! 14. Accesses have one index a dimension, of scalar `index` or `index` tiles that broadcast together; masks and values have the access's shape; what is
//!     written through is mutable; memory orders fit the operation.
//! 15. Axes, permutations, bins and k are in range.

mod memory;
mod scope;
mod types;

#[cfg(test)]
mod tests;

use std::ops::Deref;

use crate::entity::Inst;
use crate::func::Function;
use crate::module::Module;
use crate::text::describe_inst;

/// A module that passed the verifier. Read-only; `into_inner` gives it back for further passes.
#[derive(Clone, Debug)]
pub struct CheckedModule(Module);

impl CheckedModule {
    /// Gives the module up for changes.
    pub fn into_inner(self) -> Module {
        self.0
    }
}

impl Deref for CheckedModule {
    type Target = Module;
    fn deref(&self) -> &Module {
        &self.0
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{function}: `{place}`: {message}")]
pub struct Violation {
    /// Function name.
    pub function: String,
    /// The instruction as in the text form, or the function's part.
    pub place: String,
    /// What is wrong, with the types found.
    pub message: String,
}

/// Checks every invariant and reports all violations.
///
/// # Errors
/// Every violation found; the module is handed back with them.
pub fn verify(module: Module) -> Result<CheckedModule, (Box<Module>, Vec<Violation>)> {
    let mut violations = Vec::new();
    for func in module.funcs.values() {
        let mut checker = Checker { module: &module, func, violations: &mut violations };
        scope::check(&mut checker);
    }
    if violations.is_empty() { Ok(CheckedModule(module)) } else { Err((Box::new(module), violations)) }
}

/// Checks one function.
struct Checker<'a> {
    module: &'a Module,
    func: &'a Function,
    violations: &'a mut Vec<Violation>,
}

impl Checker<'_> {
    /// Reports a violation at an instruction.
    fn report(&mut self, inst: Inst, message: String) {
        let place = describe_inst(self.func, inst);
        self.report_at(place, message);
    }

    fn report_at(&mut self, place: String, message: String) {
        self.violations.push(Violation { function: self.func.name.to_string(), place, message });
    }

    /// Reports unless `holds`.
    fn require(&mut self, inst: Inst, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.report(inst, message());
        }
    }
}
