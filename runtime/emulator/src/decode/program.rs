//! A decoded module: functions, variables and where everything lives.

use rustc_hash::FxHashMap;

use super::inst::{Formal, Inst, R};
use super::types::Special;
use crate::error::Place;

/// A module ready to run.
#[derive(Debug, Default)]
pub struct Program {
    /// Entries and device functions.
    pub functions: Vec<Function>,
    /// Function index by name.
    pub by_name: FxHashMap<String, u32>,
    /// `.global` variables.
    pub globals: Vec<GlobalVar>,
    /// `.const` memory, initialized.
    pub constants: Vec<u8>,
    /// Places in `constants` that hold addresses: offset, target, addend.
    pub constant_relocs: Vec<(u32, Target, i64)>,
    /// `.file` paths by index.
    pub files: FxHashMap<u32, String>,
}

/// What an address constant refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Index in [`Program::globals`].
    Global(u32),
    /// Offset in the constant bank.
    Constant(u32),
    /// A function's handle.
    Function(u32),
}

/// A `.global` variable.
#[derive(Debug)]
pub struct GlobalVar {
    /// Name in the PTX.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Alignment in bytes.
    pub align: u64,
    /// Initial bytes, zero-extended to `size`.
    pub init: Vec<u8>,
    /// Places that hold addresses: offset, target, addend.
    pub relocs: Vec<(u32, Target, i64)>,
}

/// A kernel parameter.
#[derive(Clone, Debug)]
pub struct ParamInfo {
    /// Name in the PTX.
    pub name: String,
    /// Byte offset in the parameter block.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

/// Where an instruction comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// PTX line, from 1.
    pub line: u32,
    /// `.file` index, 0 when unknown.
    pub file: u32,
    /// Source line.
    pub source_line: u32,
    /// The instruction as written.
    pub text: Box<str>,
}

/// A decoded function.
#[derive(Debug, Default)]
pub struct Function {
    /// Name in the PTX.
    pub name: String,
    /// `.entry`.
    pub is_entry: bool,
    /// The code.
    pub insts: Vec<Inst>,
    /// One for each instruction.
    pub origins: Vec<Origin>,
    /// Registers of each instruction as a range of [`Function::touched`].
    pub touched_at: Vec<(u32, u32)>,
    /// Registers and whether they are written.
    pub touched: Vec<(R, bool)>,
    /// Slots of each file.
    pub n32: u32,
    /// Slots of the 64-bit file.
    pub n64: u32,
    /// Predicate slots.
    pub npred: u32,
    /// Constant slots of the 32-bit file.
    pub const32: Vec<(u32, u32)>,
    /// Constant slots of the 64-bit file.
    pub const64: Vec<(u32, u64)>,
    /// Slots with addresses, filled at launch.
    pub addresses: Vec<(R, Target, i64)>,
    /// Slots with special registers.
    pub specials: Vec<(R, Special)>,
    /// Predicate slots that are constantly false or true.
    pub const_pred: Vec<(u32, bool)>,
    /// Bytes of local memory of one frame, call parameters included.
    pub local_size: u32,
    /// Kernel parameters.
    pub params: Vec<ParamInfo>,
    /// Bytes of the parameter block.
    pub param_size: u32,
    /// Formal parameters of a device function.
    pub formals: Vec<Formal>,
    /// Formal results.
    pub returns: Vec<Formal>,
    /// Bytes of static shared memory (entries only).
    pub static_smem: u32,
    /// `.reqntid`.
    pub reqntid: Option<[u32; 3]>,
    /// `.maxntid`, as a number of threads.
    pub maxntid: Option<u32>,
    /// `.reqnctapercluster`.
    pub cluster: Option<[u32; 3]>,
}

impl Program {
    /// Where an instruction comes from.
    pub fn place(&self, function: usize, index: usize) -> Place {
        let Some(origin) = self.functions.get(function).and_then(|f| f.origins.get(index)) else {
            return Place::default();
        };
        let source = self.files.get(&origin.file).map(|path| (path.clone(), origin.source_line));
        Place { ptx_line: origin.line, text: origin.text.to_string(), source }
    }
}

impl Function {
    /// Alignment of dynamic shared memory: the largest that an `extern .shared` array asks for, at least 16.
    pub fn smem_align(&self) -> u32 {
        self.specials.iter().map(|(_, s)| if let Special::DynamicSmemBase(align) = s { *align } else { 16 }).fold(16, u32::max)
    }
}
