//! Loads, stores, atomics and address conversion (PTX ISA 9.7.9, 9.7.13).

use super::body::Body;
use super::inst::*;
use super::mods::Mods;
use super::opcode::{Ty, ty};
use super::operand::Ops;
use super::types::*;
use crate::error::Error;
use crate::ptx::ast::{Atom, Operand};

/// State space modifier.
pub fn space(m: &mut Mods) -> Option<Space> {
    m.pick(&[
        ("global", Space::Global),
        ("shared", Space::Shared),
        ("shared::cta", Space::Shared),
        ("shared::cluster", Space::Cluster),
        ("local", Space::Local),
        ("const", Space::Const),
        ("param", Space::Param),
        ("param::entry", Space::Param),
        ("param::func", Space::Param),
    ])
}

/// `.relaxed` and the like.
pub fn sem(m: &mut Mods) -> Option<Sem> {
    m.pick(&[
        ("weak", Sem::Weak),
        ("volatile", Sem::Volatile),
        ("mmio", Sem::Relaxed),
        ("relaxed", Sem::Relaxed),
        ("acquire", Sem::Acquire),
        ("release", Sem::Release),
        ("acq_rel", Sem::AcqRel),
        ("sc", Sem::Sc),
    ])
}

/// `.gpu` and the like; `None` when absent.
pub fn scope(m: &mut Mods) -> Option<Scope> {
    m.pick(&[("cta", Scope::Cta), ("cluster", Scope::Cluster), ("gpu", Scope::Gpu), ("sys", Scope::Sys)])
}

/// Drops the cache policy operand when the opcode says there is one.
pub fn without_policy<'o, 's>(m: &mut Mods<'s>, ops: Ops<'o, 's>) -> Ops<'o, 's> {
    if m.hints() { &ops[..ops.len().saturating_sub(1)] } else { ops }
}

struct Access {
    space: Space,
    sem: Sem,
    scope: Scope,
    size: u32,
    signed: bool,
    lanes: usize,
}

fn access(b: &Body, m: &mut Mods) -> Result<Access, Error> {
    let sem = sem(m);
    if sem == Some(Sem::Relaxed) {
        // `.mmio` comes after `.relaxed`.
        m.flag("mmio");
    }
    let scope = scope(m).unwrap_or(Scope::Gpu);
    let space = space(m).unwrap_or(Space::Generic);
    let lanes = m.pick(&[("v2", 2), ("v4", 4), ("v8", 8)]).unwrap_or(1);
    let word = m.parse(|w| super::module::type_bits(w).map(|bits| (w, bits)));
    let Some((word, bits @ 8..=64)) = word else {
        return Err(b.fail(format!("`{}`: this type is not supported", m.head)));
    };
    if u64::from(bits / 8) * lanes as u64 > 16 {
        return Err(b.fail("accesses wider than 16 bytes are not supported"));
    }
    Ok(Access { space, sem: sem.unwrap_or(Sem::Weak), scope, size: bits / 8, signed: word.starts_with('s'), lanes })
}

/// `ld`, `ldu`.
pub fn load<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let ops = without_policy(m, ops);
    let nc = m.flag("nc") || m.head == "ldu";
    let access = access(b, m)?;
    b.arity(ops, 2)?;
    let (addr, off, implied) = b.address_of(ops, 1)?;
    let dst = b.dst_vector(ops, 0)?;
    if dst.len() != access.lanes {
        return Err(b.fail(format!("{} destination registers expected", access.lanes)));
    }
    for (r, bits) in dst.iter().flatten() {
        if r.file() == File::Pred || bits / 8 < access.size {
            return Err(b.fail("ld: a destination is too narrow"));
        }
    }
    Ok(Op::Ld(Box::new(Ld {
        space: implied.unwrap_or(access.space),
        sem: access.sem,
        scope: access.scope,
        addr,
        off,
        size: access.size,
        signed: access.signed,
        dst: dst.into(),
        nc,
    })))
}

/// `st`, `st.async` included.
pub fn store<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    if m.flag("async") {
        return store_async(b, m, ops);
    }
    let ops = without_policy(m, ops);
    let access = access(b, m)?;
    b.arity(ops, 2)?;
    let (addr, off, implied) = b.address_of(ops, 0)?;
    let atoms = b.vector(ops, 1)?;
    if atoms.len() != access.lanes {
        return Err(b.fail(format!("{} source registers expected", access.lanes)));
    }
    let mut src = vec![];
    for atom in atoms {
        let r = b.src_any(atom, access.size * 8)?;
        if r.file() == File::Pred || (r.file() == File::W32 && access.size == 8) {
            return Err(b.fail("st: a source is too narrow"));
        }
        src.push(r);
    }
    let space = implied.unwrap_or(access.space);
    if matches!(space, Space::Const) {
        return Err(b.fail("st cannot write .const"));
    }
    Ok(Op::St(Box::new(St { space, sem: access.sem, scope: access.scope, addr, off, size: access.size, src: src.into() })))
}

fn store_async<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    b.need(90, "st.async")?;
    m.flag("weak");
    if !m.flag("mbarrier::complete_tx::bytes") {
        return Err(b.fail("st.async completes on an mbarrier only"));
    }
    let access = access(b, m)?;
    b.arity(ops, 3)?;
    let (addr, off, _) = b.address_of(ops, 0)?;
    let src = b.src_regs(ops, 1, access.lanes, access.size * 8)?;
    let (bar, bar_off, _) = b.address_of(ops, 2)?;
    Ok(Op::StAsync(Box::new(StAsync { addr, off, size: access.size, src, mbar: (bar, bar_off), reduce: None })))
}

/// Operation of an atomic.
pub fn atom_op(m: &mut Mods) -> Option<AtomOp> {
    m.pick(&[
        ("and", AtomOp::And),
        ("or", AtomOp::Or),
        ("xor", AtomOp::Xor),
        ("exch", AtomOp::Exch),
        ("cas", AtomOp::Cas),
        ("add", AtomOp::Add),
        ("inc", AtomOp::Inc),
        ("dec", AtomOp::Dec),
        ("min", AtomOp::Min),
        ("max", AtomOp::Max),
    ])
}

/// Operand type of an atomic.
pub fn atom_ty(b: &Body, m: &mut Mods) -> Result<AtomTy, Error> {
    Ok(match ty(b, m)? {
        Ty::Bits(16) => AtomTy::B16,
        Ty::Bits(32) | Ty::Int(IntTy::U32) => AtomTy::U32,
        Ty::Int(IntTy::S32) => AtomTy::S32,
        Ty::Bits(64) | Ty::Int(IntTy::U64) => AtomTy::U64,
        Ty::Int(IntTy::S64) => AtomTy::S64,
        Ty::F16 => AtomTy::F16,
        Ty::Bf16 => AtomTy::Bf16,
        Ty::F16x2 => AtomTy::F16x2,
        Ty::Bf16x2 => AtomTy::Bf16x2,
        Ty::F32 => AtomTy::F32,
        Ty::F64 => AtomTy::F64,
        _ => return Err(b.fail("this type has no atomics")),
    })
}

/// `atom`, `red`.
pub fn atomic<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    if m.flag("async") {
        b.need(90, "red.async")?;
        m.flag("relaxed");
        scope(m);
        if !m.flag("mbarrier::complete_tx::bytes") {
            return Err(b.fail("red.async completes on an mbarrier only"));
        }
        space(m);
        let op = atom_op(m).ok_or_else(|| b.fail("red.async needs an operation"))?;
        let t = atom_ty(b, m)?;
        b.arity(ops, 3)?;
        let (addr, off, _) = b.address_of(ops, 0)?;
        let src = b.src_regs(ops, 1, 1, t.bytes() * 8)?;
        let (bar, bar_off, _) = b.address_of(ops, 2)?;
        return Ok(Op::StAsync(Box::new(StAsync {
            addr,
            off,
            size: t.bytes(),
            src,
            mbar: (bar, bar_off),
            reduce: Some((op, t)),
        })));
    }
    let ops = without_policy(m, ops);
    let sem = sem(m).unwrap_or(Sem::Relaxed);
    let scope = scope(m).unwrap_or(Scope::Gpu);
    let space = space(m).unwrap_or(Space::Generic);
    let op = atom_op(m).ok_or_else(|| b.fail(format!("`{}` needs an operation", m.head)))?;
    m.flag("noftz");
    let lanes = m.pick(&[("v2", 2), ("v4", 4), ("v8", 8)]).unwrap_or(1);
    let t = atom_ty(b, m)?;
    m.flag("noftz");
    let bits = t.bytes() * 8;
    let first = usize::from(m.head == "atom");
    let n = first + 2 + usize::from(op == AtomOp::Cas);
    b.arity(ops, n)?;
    let (addr, off, _) = b.address_of(ops, first)?;
    let src = b.src_regs(ops, first + 1, lanes, bits)?;
    let c = if op == AtomOp::Cas { Some(b.src(ops, first + 2, bits)?) } else { None };
    let mut dst = vec![];
    if first == 1 {
        for d in b.dst_vector(ops, 0)? {
            dst.push(d.map(|(r, _)| r));
        }
        if dst.len() != lanes {
            return Err(b.fail("atom: wrong number of results"));
        }
    }
    Ok(Op::Atom(Box::new(Atomic { space, sem, scope, op, ty: t, addr, off, dst: dst.into(), b: src, c })))
}

/// `cvta`, `isspacep`, `mapa`, `getctarank`.
pub fn address<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let to = m.flag("to");
    let space = space(m);
    match m.head {
        "cvta" => {
            let bits = ty(b, m)?.bits();
            let space = space.ok_or_else(|| b.fail("cvta needs a state space"))?;
            b.arity(ops, 2)?;
            let a = b.src(ops, 1, bits)?;
            let d = b.dst(ops, 0, bits)?;
            Ok(Op::Cvta { space, to, d, a })
        }
        "isspacep" => {
            let space = space.ok_or_else(|| b.fail("isspacep needs a state space"))?;
            b.arity(ops, 2)?;
            let a = match b.operand(ops, 1)? {
                Operand::Atom(a) => b.src_any(*a, 64)?,
                _ => return Err(b.fail("isspacep needs an address")),
            };
            let d = b.dst(ops, 0, 1)?.index();
            Ok(Op::IsSpace { space, d, a })
        }
        head => {
            b.need(90, head)?;
            let shared = space.is_some();
            let bits = ty(b, m)?.bits();
            if head == "mapa" {
                b.arity(ops, 3)?;
                let a = match (&ops[1], b.src(ops, 1, bits)) {
                    (_, Ok(a)) => a,
                    (Operand::Atom(Atom::Name(n)), Err(_)) => b.base(Atom::Name(n))?.0,
                    (_, Err(e)) => return Err(e),
                };
                let rank = b.s32(ops, 2)?;
                let d = b.dst(ops, 0, bits)?;
                return Ok(Op::Mapa { shared, d, a, rank });
            }
            b.arity(ops, 2)?;
            let a = match b.operand(ops, 1)? {
                Operand::Atom(a) => b.src_any(*a, bits)?,
                _ => return Err(b.fail("getctarank needs an address")),
            };
            let d = b.d32(ops, 0)?;
            Ok(Op::CtaRank { shared, d, a })
        }
    }
}

/// Prefetches and cache policies: nothing that changes results.
pub fn hint<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    if m.head == "discard" {
        return Err(b.fail("discard is not supported: it makes memory undefined"));
    }
    let policy = m.head == "createpolicy";
    while m.word().is_some() {}
    if policy {
        let d = b.dst(ops, 0, 64)?.index();
        let a = b.const64(0);
        return Ok(Op::Mov64 { d, a });
    }
    Ok(Op::Hint)
}
