//! Kiln's tokens, grammar, AST, spans, diagnostics and formatter.
#![deny(missing_docs)]

pub mod ast;
pub mod codes;
pub mod diagnostic;
pub mod source;
pub mod span;
