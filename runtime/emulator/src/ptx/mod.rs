//! PTX text to syntax tree: [`token`] (logos), the lalrpop grammar, [`ast`].
//!
//! The grammar knows the shape of statements and operands; opcodes and their modifiers are one token and are
//! interpreted by [`crate::decode`].

pub mod ast;
pub mod parser;
#[allow(missing_docs)]
pub mod token;

pub use parser::{line_of, parse};
