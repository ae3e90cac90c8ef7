//! Kiln's tokens, grammar, AST, spans, diagnostics and formatter.
#![deny(missing_docs)]

pub mod ast;
pub mod codes;
pub mod diagnostic;
pub mod dump;
pub mod fmt;
pub mod json;
pub mod lex;
mod literal;
pub mod parse;
pub mod render;
pub mod source;
pub mod span;
pub mod tokens;
