//! Syntax tree to compact instructions: names, modifiers and labels are resolved once, before anything runs.

pub mod body;
pub mod cfg;
pub mod forms;
pub mod inst;
pub mod mods;
pub mod module;
pub mod op_alu;
pub mod op_async;
pub mod op_control;
pub mod op_convert;
pub mod op_matrix;
pub mod op_memory;
pub mod opcode;
pub mod operand;
pub mod program;
pub mod types;

pub use module::load;
