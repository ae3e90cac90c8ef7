//! `mov`, `cvt`, comparisons and selection (PTX ISA 9.7.7, 9.7.9).

use super::body::Body;
use super::inst::*;
use super::mods::Mods;
use super::opcode::{Ty, ty};
use super::operand::Ops;
use super::types::*;
use crate::error::Error;
use crate::ptx::ast::{Atom, Operand};

/// `mov`, packing and unpacking included.
pub fn mov<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let t = ty(b, m)?;
    b.arity(ops, 2)?;
    let bits = t.bits();
    match (&ops[0], &ops[1]) {
        (Operand::Vector(parts), _) => {
            let part_bits = bits / parts.len().max(1) as u32;
            let mut out = vec![];
            let a = b.src(ops, 1, bits)?;
            for part in parts {
                out.push(match part {
                    Atom::Name("_") => None,
                    Atom::Name(name) => Some(b.dst_name(name, part_bits)?.0),
                    _ => return Err(b.fail("the parts must be registers")),
                });
            }
            Ok(Op::Unpack { a, parts: out.into(), bits: part_bits })
        }
        (_, Operand::Vector(parts)) => {
            let part_bits = bits / parts.len().max(1) as u32;
            let mut out = vec![];
            for part in parts {
                out.push(b.atom(*part, part_bits)?);
            }
            let d = b.dst(ops, 0, bits)?;
            Ok(Op::Pack { d, parts: out.into(), bits: part_bits })
        }
        (_, Operand::Atom(Atom::Name(name))) if clock(name).is_some() => {
            let d = b.dst(ops, 0, bits)?;
            let which = clock(name).unwrap_or(ClockKind::Clock64);
            Ok(Op::Clock { d, which })
        }
        _ if t == Ty::Pred => {
            let (a, negate) = b.sp(ops, 1)?;
            let d = b.dst(ops, 0, 1)?.index();
            Ok(Op::Pred { op: if negate { PredOp::Not } else { PredOp::Mov }, d, a, b: a })
        }
        _ => {
            let a = b.src(ops, 1, bits)?.index();
            let d = b.dst(ops, 0, bits)?.index();
            Ok(if bits == 64 { Op::Mov64 { d, a } } else { Op::Mov32 { d, a } })
        }
    }
}

fn clock(name: &str) -> Option<ClockKind> {
    match name {
        "%clock" => Some(ClockKind::Clock32),
        "%clock64" => Some(ClockKind::Clock64),
        "%globaltimer" => Some(ClockKind::Global),
        _ => None,
    }
}

fn num(word: &str) -> Option<Num> {
    Some(match word {
        "u8" => Num::U8,
        "s8" => Num::S8,
        "u16" => Num::U16,
        "s16" => Num::S16,
        "u32" => Num::U32,
        "s32" => Num::S32,
        "u64" => Num::U64,
        "s64" => Num::S64,
        "f16" => Num::F16,
        "bf16" => Num::Bf16,
        "tf32" => Num::Tf32,
        "f32" => Num::F32,
        "f64" => Num::F64,
        "f16x2" => Num::F16x2,
        "bf16x2" => Num::Bf16x2,
        "e4m3x2" => Num::E4m3x2,
        "e5m2x2" => Num::E5m2x2,
        _ => return None,
    })
}

fn num_bits(n: Num) -> u32 {
    match n {
        Num::U8 | Num::S8 => 8,
        Num::U16 | Num::S16 | Num::F16 | Num::Bf16 | Num::E4m3x2 | Num::E5m2x2 => 16,
        Num::U64 | Num::S64 | Num::F64 => 64,
        _ => 32,
    }
}

/// `cvt` in all its forms, `cvt.pack` excepted.
pub fn cvt<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let integral = m.pick(&[("rni", Rnd::Rn), ("rzi", Rnd::Rz), ("rmi", Rnd::Rm), ("rpi", Rnd::Rp)]);
    let plain = m.pick(&[("rn", Rnd::Rn), ("rna", Rnd::Rna), ("rz", Rnd::Rz), ("rm", Rnd::Rm), ("rp", Rnd::Rp)]);
    let (ftz, sat, satfinite, relu) = (m.flag("ftz"), m.flag("sat"), m.flag("satfinite"), m.flag("relu"));
    let (Some(to), Some(from)) = (m.parse(num), m.parse(num)) else {
        return Err(b.fail(format!(
            "cvt: type {} is not supported",
            m.leftover().map_or_else(|| "(none)".to_owned(), |w| format!(".{w}"))
        )));
    };
    if matches!(to, Num::E4m3x2 | Num::E5m2x2) || matches!(from, Num::E4m3x2 | Num::E5m2x2) {
        b.need(89, "8-bit floating-point conversion")?;
    }
    let packed = ops.len() == 3;
    let pair_result = matches!(to, Num::F16x2 | Num::Bf16x2 | Num::E4m3x2 | Num::E5m2x2) && from == Num::F32;
    if packed != pair_result {
        return Err(b.fail("cvt: wrong number of operands for these types"));
    }
    let pick = |b: &mut Body<'_, 's>, i: usize| match b.operand(ops, i)? {
        Operand::Atom(a) => b.src_any(*a, num_bits(from).max(16)),
        _ => Err(b.fail("cvt needs a register or a constant")),
    };
    let a = pick(b, 1)?;
    let second = if packed { Some(pick(b, 2)?) } else { None };
    if (num_bits(from) == 64) != (a.file() == File::W64) && num_bits(from) == 64 {
        return Err(b.fail("cvt: the source is not 64 bits wide"));
    }
    let (d, d_bits) = b.dst_any(ops, 0)?;
    if d.file() == File::Pred || a.file() == File::Pred {
        return Err(b.fail("cvt cannot use predicates"));
    }
    if num_bits(to) > d_bits {
        return Err(b.fail("cvt: the destination is too narrow"));
    }
    Ok(Op::Cvt(Box::new(Cvt {
        to,
        from,
        rnd: integral.or(plain).unwrap_or(Rnd::Rn),
        integral: integral.is_some(),
        ftz,
        sat,
        satfinite,
        relu,
        d,
        d_bits,
        a,
        b: second,
    })))
}

/// `setp`, `set`, `selp`, `slct`, `testp`.
pub fn compare<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    match m.head {
        "selp" => {
            let t = ty(b, m)?;
            b.arity(ops, 4)?;
            let (a, bb) = (b.src(ops, 1, t.bits())?.index(), b.src(ops, 2, t.bits())?.index());
            let (p, negate) = b.sp(ops, 3)?;
            let d = b.dst(ops, 0, t.bits())?.index();
            let (a, bb) = if negate { (bb, a) } else { (a, bb) };
            Ok(Op::Selp { wide: t.bits() == 64, d, a, b: bb, p })
        }
        "slct" => {
            let ftz = m.flag("ftz");
            let (t, s) = (ty(b, m)?, ty(b, m)?);
            let float = match s {
                Ty::F32 => true,
                Ty::Int(IntTy::S32) if !ftz => false,
                _ => return Err(b.fail("slct selects by s32 or f32")),
            };
            b.arity(ops, 4)?;
            let (a, bb) = (b.src(ops, 1, t.bits())?.index(), b.src(ops, 2, t.bits())?.index());
            let c = b.s32(ops, 3)?;
            let d = b.dst(ops, 0, t.bits())?.index();
            Ok(Op::Slct { wide: t.bits() == 64, float, d, a, b: bb, c })
        }
        "testp" => {
            let test = m
                .pick(&[
                    ("finite", TestOp::Finite),
                    ("infinite", TestOp::Infinite),
                    ("number", TestOp::Number),
                    ("notanumber", TestOp::NotANumber),
                    ("normal", TestOp::Normal),
                    ("subnormal", TestOp::Subnormal),
                ])
                .ok_or_else(|| b.fail("testp needs a property"))?;
            let double = match ty(b, m)? {
                Ty::F32 => false,
                Ty::F64 => true,
                _ => return Err(b.fail("testp needs f32 or f64")),
            };
            b.arity(ops, 2)?;
            let a = b.src(ops, 1, if double { 64 } else { 32 })?.index();
            let d = b.dst(ops, 0, 1)?.index();
            Ok(Op::Testp { test, double, d, a })
        }
        _ => setp(b, m, ops),
    }
}

fn setp<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let cmp = m
        .pick(&[
            ("eq", Cmp::Eq),
            ("ne", Cmp::Ne),
            ("lt", Cmp::Lt),
            ("le", Cmp::Le),
            ("gt", Cmp::Gt),
            ("ge", Cmp::Ge),
            ("lo", Cmp::Lt),
            ("ls", Cmp::Le),
            ("hi", Cmp::Gt),
            ("hs", Cmp::Ge),
            ("equ", Cmp::Equ),
            ("neu", Cmp::Neu),
            ("ltu", Cmp::Ltu),
            ("leu", Cmp::Leu),
            ("gtu", Cmp::Gtu),
            ("geu", Cmp::Geu),
            ("num", Cmp::Num),
            ("nan", Cmp::Nan),
        ])
        .ok_or_else(|| b.fail("a comparison is needed"))?;
    let combine = m.pick(&[("and", PredOp::And), ("or", PredOp::Or), ("xor", PredOp::Xor)]);
    let ftz = m.flag("ftz");
    let set = m.head == "set";
    let result = if set { Some(ty(b, m)?) } else { None };
    let t = ty(b, m)?;
    let cmp_ty = match t {
        Ty::F32 => CmpTy::F32,
        Ty::F64 => CmpTy::F64,
        Ty::F16 => CmpTy::F16,
        Ty::Bf16 => CmpTy::Bf16,
        Ty::F16x2 => CmpTy::F16x2,
        Ty::Bf16x2 => CmpTy::Bf16x2,
        other => CmpTy::Int(other.int().ok_or_else(|| b.fail("this type cannot be compared"))?),
    };
    b.arity(ops, if combine.is_some() { 4 } else { 3 })?;
    let (a, bb) = (b.src(ops, 1, t.bits())?, b.src(ops, 2, t.bits())?);
    let with = match combine {
        Some(op) => {
            let (p, negate) = b.sp(ops, 3)?;
            Some((op, p, negate))
        }
        None => None,
    };
    let mut setp = Setp { cmp, ty: cmp_ty, ftz, d: None, q: None, a, b: bb, with };
    if let Some(result) = result {
        let packed = matches!(t, Ty::F16x2 | Ty::Bf16x2);
        let (float, half) = match result {
            Ty::F32 => (true, None),
            Ty::F16 | Ty::F16x2 => (true, Some(false)),
            Ty::Bf16 | Ty::Bf16x2 => (true, Some(true)),
            Ty::Int(_) => (false, None),
            _ => return Err(b.fail("set cannot produce this type")),
        };
        if packed && with.is_some() {
            return Err(b.fail("packed set with a predicate is not supported"));
        }
        let d = b.dst(ops, 0, result.bits())?;
        return Ok(Op::Set { cmp: setp, d, float, half });
    }
    (setp.d, setp.q) = b.dst_pair(ops, 0, 1)?;
    Ok(Op::Setp(Box::new(setp)))
}
