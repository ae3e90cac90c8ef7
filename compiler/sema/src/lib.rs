//! Names, types, shapes and constants: from syntax trees to Tile IR.
//!
//! [`Program::load`] parses a file and all it uses, [`Program::check`] checks every item generically, and [`Program::instantiate`] makes the IR of a
//! kernel for one specialization. Layers, each using only those before it:
//!
//! - `names`: modules, items, imports;
//! - `consts`: compile-time integers (symbolic in generic code), constants, rounding;
//! - `types`: scalar types, shapes, conversions, broadcasting;
//! - `elab`: the elaborator, one walk for checking and for instantiating;
//! - `builtins`: the functions of the language, one table and one file a family;
//! - `signature`: launch signatures;
//! - `program`: the public entry.

#![deny(missing_docs)]

mod builtins;
mod consts;
mod elab;
mod names;
mod program;
mod signature;
mod types;

pub use builtins::{BuiltinInfo, builtins};
pub use names::{LoadedFile, ModuleLoader};
pub use program::Program;
