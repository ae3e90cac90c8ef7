//! Tensor-core instructions (PTX ISA 9.7.14, 9.7.15).

use super::body::Body;
use super::inst::*;
use super::mods::Mods;
use super::op_memory::space;
use super::operand::Ops;
use super::types::*;
use crate::error::Error;
use crate::ptx::ast::{Atom, Operand};

const MATS: &[(&str, MatTy)] = &[
    ("f16", MatTy::F16),
    ("bf16", MatTy::Bf16),
    ("tf32", MatTy::Tf32),
    ("f64", MatTy::F64),
    ("e4m3", MatTy::E4m3),
    ("e5m2", MatTy::E5m2),
    ("u8", MatTy::U8),
    ("s8", MatTy::S8),
    ("u4", MatTy::U4),
    ("s4", MatTy::S4),
    ("b1", MatTy::B1),
];
const ACCS: &[(&str, AccTy)] = &[("f16", AccTy::F16), ("f32", AccTy::F32), ("f64", AccTy::F64), ("s32", AccTy::S32)];

/// Splits `m16n8k16`.
fn shape(word: &str) -> Option<(u32, u32, u32)> {
    let (m, rest) = word.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k').unwrap_or((rest, "0"));
    Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
}

/// `mma`, `ldmatrix`, `stmatrix`, `movmatrix`, `wgmma`.
pub fn matrix<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    match m.head {
        "mma" => mma(b, m, ops),
        "wgmma" => wgmma(b, m, ops),
        "movmatrix" => {
            let ok = m.flag("sync") && m.flag("aligned") && m.flag("m8n8") && m.flag("trans") && m.flag("b16");
            if !ok {
                return Err(b.fail("only movmatrix.sync.aligned.m8n8.trans.b16 exists"));
            }
            b.arity(ops, 2)?;
            let a = b.s32(ops, 1)?;
            Ok(Op::Movmatrix { d: b.d32(ops, 0)?, a })
        }
        head => {
            let store = head == "stmatrix";
            if store {
                b.need(90, "stmatrix")?;
            }
            let shaped = m.flag("sync") && m.flag("aligned") && m.flag("m8n8");
            let n = m.pick(&[("x1", 1), ("x2", 2), ("x4", 4)]);
            let trans = m.flag("trans");
            space(m);
            let (Some(n), true, true) = (n, shaped, m.flag("b16")) else {
                return Err(b.fail(format!("{head} supports .m8n8.b16 only")));
            };
            b.arity(ops, 2)?;
            if store {
                let (addr, off, _) = b.address_of(ops, 0)?;
                let src = b.src_regs(ops, 1, n, 32)?;
                return Ok(Op::Stmatrix { addr, off, trans, src: src.iter().map(|r| r.index()).collect() });
            }
            let (addr, off, _) = b.address_of(ops, 1)?;
            let dst = b.dst_regs(ops, 0, n, 32)?;
            Ok(Op::Ldmatrix { addr, off, trans, dst: dst.iter().map(|r| r.index()).collect() })
        }
    }
}

fn mma<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    if m.has("sp") || m.has("sp::ordered_metadata") {
        return Err(b.fail("sparse mma is not supported"));
    }
    if !(m.flag("sync") && m.flag("aligned")) {
        return Err(b.fail("mma needs .sync.aligned"));
    }
    let (mm, n, k) = m.parse(shape).ok_or_else(|| b.fail("mma needs a shape"))?;
    if !(m.flag("row") && m.flag("col")) {
        return Err(b.fail("mma other than .row.col is not supported"));
    }
    let sat = m.flag("satfinite");
    let (Some(d_ty), Some(a_ty), Some(b_ty), Some(c_ty)) = (m.pick(ACCS), m.pick(MATS), m.pick(MATS), m.pick(ACCS)) else {
        return Err(b.fail("mma: these types are not supported"));
    };
    let and = a_ty == MatTy::B1
        && match m.pick(&[("xor", false), ("and", true)]) {
            Some(and) if m.flag("popc") => and,
            _ => return Err(b.fail("b1 mma needs .xor.popc or .and.popc")),
        };
    use MatTy as T;
    let known = match a_ty {
        T::F16 => matches!((mm, n, k), (16, 8, 8 | 16)) && b_ty == T::F16,
        T::Bf16 => matches!((mm, n, k), (16, 8, 8 | 16)) && b_ty == T::Bf16,
        T::Tf32 => matches!((mm, n, k), (16, 8, 4 | 8)) && b_ty == T::Tf32,
        T::F64 => matches!((mm, n, k), (8, 8, 4) | (16, 8, 4 | 8 | 16)) && b_ty == T::F64,
        T::E4m3 | T::E5m2 => (mm, n, k) == (16, 8, 32) && matches!(b_ty, T::E4m3 | T::E5m2),
        T::U8 | T::S8 => matches!((mm, n, k), (8, 8, 16) | (16, 8, 16 | 32)) && matches!(b_ty, T::U8 | T::S8),
        T::U4 | T::S4 => matches!((mm, n, k), (8, 8, 32) | (16, 8, 32 | 64)) && matches!(b_ty, T::U4 | T::S4),
        T::B1 => matches!((mm, n, k), (8, 8, 128) | (16, 8, 128 | 256)) && b_ty == T::B1,
    };
    let acc_ok = match a_ty {
        T::F16 => matches!(d_ty, AccTy::F16 | AccTy::F32) && matches!(c_ty, AccTy::F16 | AccTy::F32),
        T::Bf16 | T::Tf32 => d_ty == AccTy::F32 && c_ty == d_ty,
        T::E4m3 | T::E5m2 => matches!(d_ty, AccTy::F16 | AccTy::F32) && c_ty == d_ty,
        T::F64 => d_ty == AccTy::F64 && c_ty == d_ty,
        _ => d_ty == AccTy::S32 && c_ty == d_ty,
    };
    if !known || !acc_ok {
        return Err(b.fail(format!("mma m{mm}n{n}k{k} with these types is not supported")));
    }
    if matches!(a_ty, T::E4m3 | T::E5m2) {
        b.need(89, "8-bit floating-point mma")?;
    }
    if a_ty == T::F64 && mm == 16 {
        b.need(90, "m16 f64 mma")?;
    }
    b.arity(ops, 4)?;
    let words = |elements: u32, ty: MatTy| ((elements / 32) * ty.bits()).div_ceil(ty.bits().max(32)) as usize;
    let reg_bits = if a_ty == T::F64 { 64 } else { 32 };
    let acc = |ty: AccTy| match ty {
        AccTy::F16 => (mm * n / 64, 32),
        AccTy::F64 => (mm * n / 32, 64),
        _ => (mm * n / 32, 32),
    };
    let a = b.src_regs(ops, 1, words(mm * k, a_ty), reg_bits)?;
    let bb = b.src_regs(ops, 2, words(n * k, b_ty), reg_bits)?;
    let c = b.src_regs(ops, 3, acc(c_ty).0 as usize, acc(c_ty).1)?;
    let d = b.dst_regs(ops, 0, acc(d_ty).0 as usize, acc(d_ty).1)?;
    Ok(Op::Mma(Box::new(Mma { m: mm, n, k, a_ty, b_ty, c_ty, d_ty, sat, and, d, a, b: bb, c })))
}

fn wgmma<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    b.need_accelerated("wgmma")?;
    let what = m.word().unwrap_or_default();
    if !(m.flag("sync") && m.flag("aligned")) {
        return Err(b.fail("wgmma needs .sync.aligned"));
    }
    match what {
        "fence" => return Ok(Op::WgmmaFence),
        "commit_group" => return Ok(Op::WgmmaCommit),
        "wait_group" => {
            return match ops {
                [Operand::Atom(Atom::Int(n @ 0..=7))] => Ok(Op::WgmmaWait { pending: *n as u32 }),
                _ => Err(b.fail("wgmma.wait_group takes 0 to 7")),
            };
        }
        "mma_async" => {}
        other => return Err(b.fail(format!("wgmma.{other} is not supported"))),
    }
    if m.has("sp") {
        return Err(b.fail("sparse wgmma is not supported"));
    }
    let (mm, n, k) = m.parse(shape).ok_or_else(|| b.fail("wgmma needs a shape"))?;
    let (Some(acc), Some(a_ty), Some(b_ty)) = (m.pick(ACCS), m.pick(MATS), m.pick(MATS)) else {
        return Err(b.fail("wgmma: these types are not supported"));
    };
    let sat = m.flag("satfinite");
    use MatTy as T;
    let known = match a_ty {
        T::F16 => k == 16 && b_ty == a_ty && matches!(acc, AccTy::F16 | AccTy::F32),
        T::Bf16 => k == 16 && b_ty == a_ty && acc == AccTy::F32,
        T::Tf32 => k == 8 && b_ty == a_ty && acc == AccTy::F32,
        T::E4m3 | T::E5m2 => k == 32 && matches!(b_ty, T::E4m3 | T::E5m2) && matches!(acc, AccTy::F16 | AccTy::F32),
        T::U8 | T::S8 => k == 32 && matches!(b_ty, T::U8 | T::S8) && acc == AccTy::S32,
        _ => false,
    };
    let n_ok = (8..=256).contains(&n) && if a_ty.integer() { n % 16 == 0 || matches!(n, 8 | 24) } else { n % 8 == 0 };
    if mm != 64 || !known || !n_ok {
        return Err(b.fail(format!("wgmma m{mm}n{n}k{k} with these types is not supported")));
    }
    let regs_per_thread = if acc == AccTy::F16 { n / 4 } else { n / 2 } as usize;
    let from_regs = matches!(b.operand(ops, 1)?, Operand::Vector(_));
    let a = if from_regs {
        let regs = b.src_regs(ops, 1, 4, 32)?;
        WgmmaA::Regs([regs[0].index(), regs[1].index(), regs[2].index(), regs[3].index()])
    } else {
        WgmmaA::Desc(b.s64(ops, 1)?)
    };
    let b_desc = b.s64(ops, 2)?;
    let (scale_d, negate) = b.sp(ops, 3)?;
    if negate {
        return Err(b.fail("a negated scale-d is not supported"));
    }
    let sign = |i: usize| match ops.get(i) {
        None => Ok(false),
        Some(Operand::Atom(Atom::Int(1))) => Ok(false),
        Some(Operand::Atom(Atom::Int(-1))) => Ok(true),
        _ => Err(b.fail("imm-scale must be 1 or -1")),
    };
    let (negate_a, negate_b) = (sign(4)?, sign(5)?);
    let transpose = |i: usize| match ops.get(i) {
        None | Some(Operand::Atom(Atom::Int(0))) => Ok(false),
        Some(Operand::Atom(Atom::Int(1))) if a_ty.bits() == 16 => Ok(true),
        _ => Err(b.fail("imm-trans must be 0, or 1 for 16-bit types")),
    };
    let (trans_a, trans_b) = if from_regs { (false, transpose(6)?) } else { (transpose(6)?, transpose(7)?) };
    let d = b.dst_regs(ops, 0, regs_per_thread, 32)?.iter().map(|r| r.index()).collect();
    Ok(Op::Wgmma(Box::new(Wgmma { n, k, a_ty, b_ty, acc, sat, d, a, b_desc, scale_d, negate_a, negate_b, trans_a, trans_b })))
}
