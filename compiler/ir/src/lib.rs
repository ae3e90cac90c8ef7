//! Kiln's Tile IR: one SSA IR from the front end to LLVM.
//!
//! Entities are dense `u32` references (`entity`), types are interned (`types`), instructions are one enum with named fields (`inst`, with operators in
//! `ops` and visitors in `visit`). Control flow is structured: `For`, `While`, `If`, `Reduce` and `Scan` own blocks. A [`Module`] becomes a
//! [`verify::CheckedModule`] through the verifier, and code generation accepts only that.
//!
//! This crate knows no syntax, no LLVM and no GPU driver. `signature` describes how a kernel is launched, `abi` how host code is called,
//! `artifact` what compiled kernels are, `bundle` those that are compiled ahead of time.

#![deny(missing_docs)]

pub mod abi;
pub mod artifact;
pub mod builder;
pub mod bundle;
pub mod entity;
pub mod float8;
pub mod func;
pub mod inst;
pub mod layout;
pub mod module;
pub mod ops;
pub mod round;
pub mod signature;
pub mod text;
pub mod types;
pub mod verify;
pub mod visit;

pub use builder::Builder;
pub use entity::{Block, FuncRef, Inst, LayoutId, Value};
pub use func::{BlockData, Function, IntFact, ParamInfo, SrcLoc, TensorFacts, ValueData, ValueDef};
pub use inst::{Combine, Const, InstData, LoopAttrs, Place, SliceIndex, ValueList, ViewAccess, ViewIndex};
pub use module::{Module, SourceFile};
pub use types::{Elem, ScalarType, Shape, Type, TypeData};
