//! Arithmetic and logic (PTX ISA 9.7.1 to 9.7.6, 9.7.8).

use super::body::Body;
use super::inst::*;
use super::mods::Mods;
use super::opcode::{Ty, rounding, ty};
use super::operand::Ops;
use super::types::*;
use crate::error::Error;

/// Slots of a destination and up to three sources of the same width; absent sources repeat the first.
fn slots<'s>(b: &mut Body<'_, 's>, ops: Ops<'_, 's>, n: usize, bits: u32) -> Result<[u32; 4], Error> {
    b.arity(ops, n + 1)?;
    let mut out = [0; 4];
    for i in 0..n {
        out[i + 1] = b.src(ops, i + 1, bits)?.index();
    }
    for i in n..3 {
        out[i + 1] = out[1];
    }
    out[0] = b.dst(ops, 0, bits)?.index();
    Ok(out)
}

fn float<'s>(
    b: &mut Body<'_, 's>,
    m: &mut Mods<'s>,
    ops: Ops<'_, 's>,
    op: FloatOp,
    double: bool,
    n: usize,
    rnd: Rnd,
) -> Result<Op, Error> {
    let ftz = m.flag("ftz");
    let sat = m.flag("sat");
    let [d, a, bb, c] = slots(b, ops, n, if double { 64 } else { 32 })?;
    Ok(Op::Float { op, double, rnd, ftz, sat, d, a, b: bb, c })
}

fn half<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>, op: HalfOp, t: Ty, n: usize) -> Result<Op, Error> {
    let bf = matches!(t, Ty::Bf16 | Ty::Bf16x2);
    let packed = matches!(t, Ty::F16x2 | Ty::Bf16x2);
    let (ftz, sat, relu) = (m.flag("ftz"), m.flag("sat"), m.flag("relu"));
    m.flag("noftz");
    let [d, a, bb, c] = slots(b, ops, n, if packed { 32 } else { 16 })?;
    Ok(Op::Half { op, bf, packed, ftz, sat, relu, d, a, b: bb, c })
}

/// `add` to `mad24`.
pub fn arithmetic<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let rnd = rounding(m);
    let full = m.pick(&[("approx", Rnd::Approx), ("full", Rnd::Full)]);
    let cc = m.flag("cc");
    let half_of = m.pick(&[("lo", 0), ("hi", 1), ("wide", 2)]);
    let nan = m.flag("NaN");
    let xorsign_abs = m.flag("xorsign") && m.flag("abs");
    let t = ty(b, m)?;
    let head = m.head;
    match t {
        Ty::F32 | Ty::F64 => {
            let (op, n) = match head {
                "add" => (FloatOp::Add, 2),
                "sub" => (FloatOp::Sub, 2),
                "mul" => (FloatOp::Mul, 2),
                "fma" | "mad" => (FloatOp::Fma, 3),
                "div" => (FloatOp::Div, 2),
                "abs" => (FloatOp::Abs, 1),
                "neg" => (FloatOp::Neg, 1),
                "min" => (FloatOp::Min { nan, xorsign_abs }, 2),
                "max" => (FloatOp::Max { nan, xorsign_abs }, 2),
                other => return Err(b.fail(format!("`{other}` has no floating-point form"))),
            };
            // Three-input minimum and maximum belong to sm_100.
            float(b, m, ops, op, t == Ty::F64, n, full.or(rnd).unwrap_or(Rnd::Rn))
        }
        Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2 => {
            if rnd.is_some_and(|r| r != Rnd::Rn) {
                return Err(b.fail("16-bit arithmetic rounds to nearest even only"));
            }
            let (op, n) = match head {
                "add" => (HalfOp::Add, 2),
                "sub" => (HalfOp::Sub, 2),
                "mul" => (HalfOp::Mul, 2),
                "fma" => (HalfOp::Fma, 3),
                "abs" => (HalfOp::Abs, 1),
                "neg" => (HalfOp::Neg, 1),
                "min" => (HalfOp::Min { nan, xorsign_abs }, 2),
                "max" => (HalfOp::Max { nan, xorsign_abs }, 2),
                other => return Err(b.fail(format!("`{other}` has no 16-bit floating-point form"))),
            };
            half(b, m, ops, op, t, n)
        }
        Ty::U16x2 | Ty::S16x2 => {
            let signed = t == Ty::S16x2;
            b.need(90, "packed 16-bit integer arithmetic")?;
            let op = match head {
                "add" => IntOp::Add,
                "min" => IntOp::Min,
                "max" => IntOp::Max,
                other => return Err(b.fail(format!("`{other}` has no packed 16-bit form"))),
            };
            let relu = m.flag("relu");
            let [d, a, bb, _] = slots(b, ops, 2, 32)?;
            Ok(Op::Int16x2 { op, signed, relu, d, a, b: bb })
        }
        Ty::Int(it) => integer(b, m, ops, it, half_of, cc),
        Ty::Bits(_) | Ty::Pred => Err(b.fail(format!("`{head}` needs an arithmetic type"))),
    }
}

fn integer<'s>(
    b: &mut Body<'_, 's>,
    m: &mut Mods<'s>,
    ops: Ops<'_, 's>,
    it: IntTy,
    part: Option<i32>,
    cc: bool,
) -> Result<Op, Error> {
    let bits = Ty::Int(it).bits();
    let signed = matches!(it, IntTy::S16 | IntTy::S32 | IntTy::S64);
    let sat = m.flag("sat");
    let relu = m.flag("relu");
    if relu && !(it == IntTy::S32 && matches!(m.head, "min" | "max")) {
        return Err(b.fail(".relu is for min and max of s32"));
    }
    if matches!(m.head, "addc" | "subc" | "madc") || cc {
        let (op, n) = match (m.head, part) {
            ("add" | "addc", None) => (CarryOp::Add, 2),
            ("sub" | "subc", None) => (CarryOp::Sub, 2),
            ("mad" | "madc", Some(0)) => (CarryOp::MadLo, 3),
            ("mad" | "madc", Some(1)) => (CarryOp::MadHi { signed }, 3),
            _ => return Err(b.fail("this carry form does not exist")),
        };
        let use_cc = m.head.ends_with('c');
        let [d, a, bb, c] = slots(b, ops, n, bits)?;
        return Ok(Op::Carry { op, wide: it.wide(), use_cc, set_cc: cc, d, a, b: bb, c });
    }
    if part == Some(2) {
        let from16 = match bits {
            16 => true,
            32 => false,
            _ => return Err(b.fail(".wide is for 16- and 32-bit sources")),
        };
        let (n, wide) = (if m.head == "mad" { 3 } else { 2 }, bits * 2);
        b.arity(ops, n + 1)?;
        let a = b.src(ops, 1, bits)?.index();
        let bb = b.src(ops, 2, bits)?.index();
        let c = if n == 3 { Some(b.src(ops, 3, wide)?.index()) } else { None };
        let d = b.dst(ops, 0, wide)?.index();
        return Ok(Op::MulWide { signed, from16, d, a, b: bb, c });
    }
    let (op, n) = match (m.head, part, sat) {
        ("add", None, false) => (IntOp::Add, 2),
        ("sub", None, false) => (IntOp::Sub, 2),
        ("add", None, true) if it == IntTy::S32 => (IntOp::AddSat, 2),
        ("sub", None, true) if it == IntTy::S32 => (IntOp::SubSat, 2),
        ("mul", Some(0), false) => (IntOp::Mul, 2),
        ("mul", Some(1), false) => (IntOp::MulHi, 2),
        ("mad", Some(0), false) => (IntOp::Mad, 3),
        ("mad", Some(1), false) => (IntOp::MadHi, 3),
        ("mad", Some(1), true) if it == IntTy::S32 => (IntOp::MadHiSat, 3),
        ("div", None, false) => (IntOp::Div, 2),
        ("rem", None, false) => (IntOp::Rem, 2),
        ("min", None, false) => (if relu { IntOp::MinRelu } else { IntOp::Min }, 2),
        ("max", None, false) => (if relu { IntOp::MaxRelu } else { IntOp::Max }, 2),
        ("abs", None, false) => (IntOp::Abs, 1),
        ("neg", None, false) => (IntOp::Neg, 1),
        ("sad", None, false) => (IntOp::Sad, 3),
        ("mul24", Some(p @ 0..=1), false) if bits == 32 => (IntOp::Mul24 { hi: p == 1 }, 2),
        ("mad24", Some(p @ 0..=1), false) if bits == 32 => (IntOp::Mad24 { hi: p == 1 }, 3),
        (head, ..) => return Err(b.fail(format!("this integer form of `{head}` does not exist"))),
    };
    let [d, a, bb, c] = slots(b, ops, n, bits)?;
    Ok(Op::Int { op, ty: it, d, a, b: bb, c })
}

/// `rcp`, `sqrt`, `ex2` and the other functions of one argument; `copysign`.
pub fn special<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let approx = m.flag("approx");
    let rnd = rounding(m);
    let t = ty(b, m)?;
    let rnd = if approx { Rnd::Approx } else { rnd.unwrap_or(Rnd::Rn) };
    match (m.head, t) {
        ("ex2", Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2) => half(b, m, ops, HalfOp::Ex2, t, 1),
        ("tanh", Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2) => half(b, m, ops, HalfOp::Tanh, t, 1),
        // The operand order is sign first: copysign(a, b) has b's magnitude.
        ("copysign", Ty::F32 | Ty::F64) => float(b, m, ops, FloatOp::Copysign, t == Ty::F64, 2, Rnd::Rn),
        (head, Ty::F32) => {
            let op = match head {
                "rcp" => FloatOp::Rcp,
                "sqrt" => FloatOp::Sqrt,
                "rsqrt" => FloatOp::Rsqrt,
                "ex2" => FloatOp::Ex2,
                "lg2" => FloatOp::Lg2,
                "sin" => FloatOp::Sin,
                "cos" => FloatOp::Cos,
                "tanh" => FloatOp::Tanh,
                other => return Err(b.fail(format!("`{other}` has no f32 form"))),
            };
            float(b, m, ops, op, false, 1, rnd)
        }
        ("rcp", Ty::F64) if approx => float(b, m, ops, FloatOp::RcpHigh, true, 1, Rnd::Rn),
        ("rsqrt", Ty::F64) if approx && m.has("ftz") => float(b, m, ops, FloatOp::RsqrtHigh, true, 1, Rnd::Rn),
        ("rcp", Ty::F64) => float(b, m, ops, FloatOp::Rcp, true, 1, rnd),
        ("sqrt", Ty::F64) => float(b, m, ops, FloatOp::Sqrt, true, 1, rnd),
        ("rsqrt", Ty::F64) => float(b, m, ops, FloatOp::Rsqrt, true, 1, rnd),
        (head, _) => Err(b.fail(format!("`{head}` does not have this type"))),
    }
}

/// Logic, shifts and bit fields.
pub fn logic<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    match m.head {
        "and" | "or" | "xor" | "not" => {
            let t = ty(b, m)?;
            if t == Ty::Pred {
                let op = match m.head {
                    "and" => PredOp::And,
                    "or" => PredOp::Or,
                    "xor" => PredOp::Xor,
                    _ => PredOp::Not,
                };
                let n = if m.head == "not" { 2 } else { 3 };
                b.arity(ops, n)?;
                let a = plain_pred(b, ops, 1)?;
                let bb = if n == 3 { plain_pred(b, ops, 2)? } else { a };
                let d = b.dst(ops, 0, 1)?.index();
                return Ok(Op::Pred { op, d, a, b: bb });
            }
            let it = t.int().ok_or_else(|| b.fail("logic needs .b16, .b32, .b64 or .pred"))?;
            let (op, n) = match m.head {
                "and" => (IntOp::And, 2),
                "or" => (IntOp::Or, 2),
                "xor" => (IntOp::Xor, 2),
                _ => (IntOp::Not, 1),
            };
            let [d, a, bb, c] = slots(b, ops, n, t.bits())?;
            Ok(Op::Int { op, ty: it, d, a, b: bb, c })
        }
        "cnot" | "brev" => {
            let t = ty(b, m)?;
            let it = t.int().ok_or_else(|| b.fail("an untyped width is needed"))?;
            let op = if m.head == "cnot" { IntOp::Cnot } else { IntOp::Brev };
            let [d, a, bb, c] = slots(b, ops, 1, t.bits())?;
            Ok(Op::Int { op, ty: it, d, a, b: bb, c })
        }
        "lop3" => {
            let combine = m.pick(&[("or", false), ("and", true)]);
            ty(b, m)?;
            let Operand::Atom(Atom::Int(lut)) = b.operand(ops, 4)? else {
                return Err(b.fail("lop3 needs an immediate table"));
            };
            let lut = *lut as u8;
            if let Some(and) = combine {
                let (a, bb, c) = (b.s32(ops, 1)?, b.s32(ops, 2)?, b.s32(ops, 3)?);
                let (q, negate) = b.sp(ops, 5)?;
                if negate {
                    return Err(b.fail("lop3 with a negated predicate is not supported"));
                }
                let (d, p) = b.dst_pair(ops, 0, 32)?;
                let p = p.ok_or_else(|| b.fail("lop3 with a predicate needs d|p"))?;
                return Ok(Op::Lop3Pred { and, lut, d, p, a, b: bb, c, q: R::new(File::Pred, q) });
            }
            let [d, a, bb, c] = slots(b, &ops[..4], 3, 32)?;
            Ok(Op::Int { op: IntOp::Lop3(lut), ty: IntTy::U32, d, a, b: bb, c })
        }
        "shl" | "shr" => {
            let t = ty(b, m)?;
            let it = t.int().ok_or_else(|| b.fail("a shift needs an integer type"))?;
            b.arity(ops, 3)?;
            let a = b.src(ops, 1, t.bits())?.index();
            let amount = b.s32(ops, 2)?;
            let d = b.dst(ops, 0, t.bits())?.index();
            Ok(Op::Shift { left: m.head == "shl", ty: it, d, a, b: amount })
        }
        "shf" => {
            let left = m.pick(&[("l", true), ("r", false)]).ok_or_else(|| b.fail("shf needs .l or .r"))?;
            let wrap = m.pick(&[("wrap", true), ("clamp", false)]).unwrap_or(false);
            ty(b, m)?;
            let [d, a, bb, c] = slots(b, ops, 3, 32)?;
            let op = if left { IntOp::ShfL { wrap } } else { IntOp::ShfR { wrap } };
            Ok(Op::Int { op, ty: IntTy::U32, d, a, b: bb, c })
        }
        "popc" | "clz" | "bfind" => {
            let shift = m.flag("shiftamt");
            let t = ty(b, m)?;
            let it = t.int().ok_or_else(|| b.fail("an integer type is needed"))?;
            let op = match m.head {
                "popc" => CountOp::Popc,
                "clz" => CountOp::Clz,
                _ => CountOp::Bfind { shift },
            };
            b.arity(ops, 2)?;
            let a = b.src(ops, 1, t.bits())?.index();
            let d = b.d32(ops, 0)?;
            Ok(Op::Count { op, ty: it, d, a })
        }
        "bfe" => {
            let t = ty(b, m)?;
            let it = t.int().ok_or_else(|| b.fail("bfe needs an integer type"))?;
            b.arity(ops, 4)?;
            let a = b.src(ops, 1, t.bits())?.index();
            let (pos, len) = (b.s32(ops, 2)?, b.s32(ops, 3)?);
            let d = b.dst(ops, 0, t.bits())?.index();
            Ok(Op::Bfe { ty: it, d, a, pos, len })
        }
        "bfi" => {
            let t = ty(b, m)?;
            b.arity(ops, 5)?;
            let a = b.src(ops, 1, t.bits())?.index();
            let bb = b.src(ops, 2, t.bits())?.index();
            let (pos, len) = (b.s32(ops, 3)?, b.s32(ops, 4)?);
            let d = b.dst(ops, 0, t.bits())?.index();
            Ok(Op::Bfi { wide: t.bits() == 64, d, a, b: bb, pos, len })
        }
        "prmt" => {
            ty(b, m)?;
            let mode = m
                .pick(&[
                    ("f4e", PrmtMode::F4e),
                    ("b4e", PrmtMode::B4e),
                    ("rc8", PrmtMode::Rc8),
                    ("ecl", PrmtMode::Ecl),
                    ("ecr", PrmtMode::Ecr),
                    ("rc16", PrmtMode::Rc16),
                ])
                .unwrap_or(PrmtMode::Index);
            let [d, a, bb, c] = slots(b, ops, 3, 32)?;
            Ok(Op::Int { op: IntOp::Prmt(mode), ty: IntTy::U32, d, a, b: bb, c })
        }
        "dp4a" | "dp2a" => {
            let hi = m.pick(&[("lo", false), ("hi", true)]).unwrap_or(false);
            let mut signed = || m.pick(&[("u32", false), ("s32", true)]);
            let (Some(a_signed), Some(b_signed)) = (signed(), signed()) else {
                return Err(b.fail("two types are needed"));
            };
            let op = if m.head == "dp4a" { IntOp::Dp4a { a_signed, b_signed } } else { IntOp::Dp2a { a_signed, b_signed, hi } };
            let [d, a, bb, c] = slots(b, ops, 3, 32)?;
            Ok(Op::Int { op, ty: IntTy::U32, d, a, b: bb, c })
        }
        "bmsk" | "szext" => {
            let wrap = m.pick(&[("wrap", true), ("clamp", false)]).unwrap_or(false);
            let t = ty(b, m)?;
            let it = t.int().ok_or_else(|| b.fail("an integer type is needed"))?;
            let op = if m.head == "bmsk" { IntOp::Bmsk { wrap } } else { IntOp::Szext { wrap } };
            let [d, a, bb, c] = slots(b, ops, 2, 32)?;
            Ok(Op::Int { op, ty: it, d, a, b: bb, c })
        }
        _ => {
            ty(b, m)?;
            let [d, a, bb, c] = slots(b, ops, 3, 32)?;
            Ok(Op::Int { op: IntOp::Fns, ty: IntTy::U32, d, a, b: bb, c })
        }
    }
}

/// A predicate operand; negation is not allowed here.
fn plain_pred<'s>(b: &mut Body<'_, 's>, ops: Ops<'_, 's>, i: usize) -> Result<u32, Error> {
    match b.sp(ops, i)? {
        (p, false) => Ok(p),
        _ => Err(b.fail("a negated predicate is not allowed here")),
    }
}

use crate::ptx::ast::{Atom, Operand};
