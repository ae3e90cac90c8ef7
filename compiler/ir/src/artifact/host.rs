//! Machine code of the processor and its tables: what the host back end makes, disk caches keep, and bundles carry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::abi::AccessKind;
use crate::func::SrcLoc;
use crate::types::Elem;

/// An assertion of the kernel; its number is what `HostContext::on_assert` gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertInfo {
    /// The message.
    pub message: String,
    /// `file.kiln:line:column`.
    pub place: String,
    /// The same for diagnostics that show the source.
    pub loc: SrcLoc,
}

/// A print of the kernel; its number is what `HostContext::on_print` gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrintInfo {
    /// Text with a `{}` for each operand.
    pub format: String,
    /// Operands: each pointer leads to row-major elements in memory format.
    pub operands: Vec<PrintOperand>,
    /// `file.kiln:line:column`.
    pub place: String,
    /// The same for diagnostics that show the source.
    pub loc: SrcLoc,
}

/// An access of a kernel compiled with checks; its number is what `HostContext::on_access` gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessInfo {
    /// What it does.
    pub kind: AccessKind,
    /// Bytes of an element, or those that the address has to be a multiple of.
    pub bytes: u32,
    /// Shape of the tile of lanes, row-major; empty for one element.
    pub shape: Vec<u32>,
    /// `file.kiln:line:column`.
    pub place: String,
    /// The same for diagnostics that show the source.
    pub loc: SrcLoc,
}

/// Type of a printed operand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrintOperand {
    /// Element type; bool is one byte, index 8.
    pub elem: Elem,
    /// Extents, empty for a scalar.
    pub shape: Vec<u32>,
}

/// How long the stages of a compilation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostTimings {
    /// Planning and building LLVM IR.
    pub build: Duration,
    /// LLVM's optimization passes.
    pub optimize: Duration,
    /// Machine code.
    pub codegen: Duration,
}

/// A compiled kernel: relocatable machine code and its tables. This is what a disk cache stores.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostObject {
    /// An ELF (or Mach-O) relocatable object.
    pub object: Vec<u8>,
    /// The symbol of the entry point.
    pub symbol: String,
    /// Bytes of scratch memory a call needs.
    pub scratch_bytes: u64,
    /// The processor it is for.
    pub cpu: String,
    /// Assertions by number.
    pub asserts: Vec<AssertInfo>,
    /// Prints by number.
    pub prints: Vec<PrintInfo>,
    /// Checked accesses by number; empty unless compiled with checks.
    pub accesses: Vec<AccessInfo>,
    /// Whether programs wait for each other (`grid_sync`): all of them have to run at the same time.
    pub cooperative: bool,
    /// Whether programs order their accesses by atomics that acquire or release.
    pub ordered: bool,
    /// Optimized LLVM IR, when asked for.
    pub llvm: Option<String>,
    /// Assembly, when asked for.
    pub asm: Option<String>,
    /// Stage times of this compilation (zero for an object read from a cache).
    #[serde(skip)]
    pub timings: HostTimings,
}
