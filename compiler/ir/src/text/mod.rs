//! The text form of the Tile IR: what dumps, filetests, bug reports and `kiln build --emit tile-ir` show, and what the parser reads back.
//!
//! ```text
//! kernel @0 scale(v0.x: tensor<f32, 1> {number 0, align 16, dims [?%16], strides [=1]}, v1.y: mut tensor<f32, 1> {number 1, ..}) grid 1 index 64 {
//!     v2: index = program_id 0
//!     v3: index = const 128
//!     v4: index = mul v2, v3
//!     v5: tile<f32, [128]> = load v0[v4..+128] other v9
//!     store v1[v4..+128], v5
//!     yield
//! }
//! ```
//!
//! Values are numbered in the order of their definition in the text, so a dump does not depend on what passes have removed; `.name` after a
//! number at its definition is the source's name. `!` after an index says that the dimension is proved in bounds. Printing what was parsed
//! gives the same text, byte for byte. Spans (`loc file:lo..hi`) and the table of files are printed on request.

mod attrs;
mod lex;
mod parse;
mod parse_inst;
mod print;
mod print_inst;

pub use parse::parse_module;
pub use print::{PrintOptions, describe_inst, print_function, print_module};

/// Why a text is not a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct TextError {
    /// 1-based line.
    pub line: u32,
    /// 1-based column in bytes.
    pub column: u32,
    /// What was expected and found.
    pub message: String,
}

#[cfg(test)]
mod tests;
