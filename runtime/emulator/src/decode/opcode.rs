//! From an opcode's first word to the family that decodes it.

use super::body::Body;
use super::inst::Op;
use super::mods::Mods;
use super::operand::Ops;
use super::types::*;
use super::{op_alu, op_async, op_control, op_convert, op_matrix, op_memory};
use crate::error::Error;

/// Fundamental types as they appear in opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Int(IntTy),
    /// Untyped bits.
    Bits(u32),
    Pred,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
    U16x2,
    S16x2,
}

impl Ty {
    /// Parses `u32` and the like.
    pub fn from_word(word: &str) -> Option<Ty> {
        Some(match word {
            "u16" => Ty::Int(IntTy::U16),
            "s16" => Ty::Int(IntTy::S16),
            "u32" => Ty::Int(IntTy::U32),
            "s32" => Ty::Int(IntTy::S32),
            "u64" => Ty::Int(IntTy::U64),
            "s64" => Ty::Int(IntTy::S64),
            "b8" | "u8" | "s8" => Ty::Bits(8),
            "b16" => Ty::Bits(16),
            "b32" => Ty::Bits(32),
            "b64" => Ty::Bits(64),
            "pred" => Ty::Pred,
            "f16" => Ty::F16,
            "f16x2" => Ty::F16x2,
            "bf16" => Ty::Bf16,
            "bf16x2" => Ty::Bf16x2,
            "f32" => Ty::F32,
            "f64" => Ty::F64,
            "u16x2" => Ty::U16x2,
            "s16x2" => Ty::S16x2,
            _ => return None,
        })
    }

    /// Width in bits.
    pub fn bits(self) -> u32 {
        match self {
            Ty::Int(IntTy::U16 | IntTy::S16) | Ty::F16 | Ty::Bf16 => 16,
            Ty::Int(IntTy::U64 | IntTy::S64) | Ty::F64 => 64,
            Ty::Bits(b) => b,
            Ty::Pred => 1,
            _ => 32,
        }
    }

    /// As an integer type; bits are unsigned.
    pub fn int(self) -> Option<IntTy> {
        match self {
            Ty::Int(t) => Some(t),
            Ty::Bits(16) => Some(IntTy::U16),
            Ty::Bits(32) => Some(IntTy::U32),
            Ty::Bits(64) => Some(IntTy::U64),
            _ => None,
        }
    }
}

/// `.rn` and friends, if present.
pub fn rounding(m: &mut Mods) -> Option<Rnd> {
    m.pick(&[("rn", Rnd::Rn), ("rz", Rnd::Rz), ("rm", Rnd::Rm), ("rp", Rnd::Rp)])
}

/// The next type word.
pub fn ty(b: &Body, m: &mut Mods) -> Result<Ty, Error> {
    match m.parse(Ty::from_word) {
        Some(t) => Ok(t),
        None => Err(b.fail(format!(
            "`{}`: type {} is not supported",
            m.head,
            m.leftover().map_or_else(|| "(none)".to_owned(), |w| format!(".{w}"))
        ))),
    }
}

/// Decodes one instruction.
pub fn decode<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    match m.head {
        "add" | "sub" | "mul" | "mad" | "fma" | "div" | "rem" | "abs" | "neg" | "min" | "max" | "addc" | "subc" | "madc"
        | "sad" | "mul24" | "mad24" => op_alu::arithmetic(b, m, ops),
        "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" | "copysign" => op_alu::special(b, m, ops),
        "and" | "or" | "xor" | "not" | "cnot" | "lop3" | "shl" | "shr" | "shf" | "popc" | "clz" | "bfind" | "brev" | "bfe"
        | "bfi" | "prmt" | "dp4a" | "dp2a" | "bmsk" | "szext" | "fns" => op_alu::logic(b, m, ops),
        "setp" | "set" | "selp" | "slct" | "testp" => op_convert::compare(b, m, ops),
        "mov" => op_convert::mov(b, m, ops),
        "cvt" => op_convert::cvt(b, m, ops),
        "cvta" | "isspacep" | "mapa" | "getctarank" => op_memory::address(b, m, ops),
        "ld" | "ldu" => op_memory::load(b, m, ops),
        "st" => op_memory::store(b, m, ops),
        "atom" | "red" => op_memory::atomic(b, m, ops),
        "prefetch" | "prefetchu" | "applypriority" | "discard" | "createpolicy" => op_memory::hint(b, m, ops),
        "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "brkpt" | "nanosleep" | "pmevent" | "griddepcontrol"
        | "setmaxnreg" => op_control::control(b, m, ops),
        "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => op_control::exchange(b, m, ops),
        "bar" | "barrier" | "membar" | "fence" => op_control::barrier(b, m, ops),
        "mbarrier" => op_async::mbarrier(b, m, ops),
        "cp" => op_async::copy(b, m, ops),
        "mma" | "ldmatrix" | "stmatrix" | "movmatrix" | "wgmma" => op_matrix::matrix(b, m, ops),
        other => Err(b.fail(format!("instruction `{other}` is not supported"))),
    }
}
