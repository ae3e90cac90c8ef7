//! mbarriers and asynchronous copies (PTX ISA 9.7.9.25, 9.7.13.15).

use super::body::Body;
use super::inst::*;
use super::mods::Mods;
use super::op_memory::{atom_op, atom_ty, scope, sem, space, without_policy};
use super::operand::Ops;
use super::types::*;
use crate::error::Error;
use crate::ptx::ast::{Atom, Operand};

/// All `mbarrier.*`.
pub fn mbarrier<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let what = m.word().unwrap_or_default();
    let parity = m.flag("parity");
    let expect = m.flag("expect_tx");
    let no_complete = m.flag("noComplete");
    let order = sem(m);
    scope(m);
    let space = space(m).unwrap_or(Space::Generic);
    if !m.flag("b64") {
        return Err(b.fail("mbarrier needs .b64"));
    }
    let mut bar = Mbar {
        op: MbarOp::Inval,
        remote: space == Space::Cluster,
        space,
        addr: R(0),
        off: 0,
        state: None,
        count: None,
        done: None,
        token: None,
        parity,
        sem: order.unwrap_or(Sem::Acquire),
    };
    let at = |b: &mut Body<'_, 's>, bar: &mut Mbar, i: usize| -> Result<(), Error> {
        (bar.addr, bar.off, _) = b.address_of(ops, i)?;
        Ok(())
    };
    match what {
        "init" => {
            bar.op = MbarOp::Init;
            at(b, &mut bar, 0)?;
            bar.count = Some(b.s32(ops, 1)?);
        }
        "inval" => at(b, &mut bar, 0)?,
        "expect_tx" | "complete_tx" => {
            b.need(90, "mbarrier transaction counts")?;
            bar.op = if what == "expect_tx" { MbarOp::ExpectTx } else { MbarOp::CompleteTx };
            at(b, &mut bar, 0)?;
            bar.count = Some(b.s32(ops, 1)?);
        }
        "arrive" | "arrive_drop" => {
            if expect {
                b.need(90, "mbarrier.arrive.expect_tx")?;
            }
            bar.op = MbarOp::Arrive { drop: what == "arrive_drop", expect, complete: !no_complete };
            let first = usize::from(!matches!(ops.first(), Some(Operand::Address(..))));
            at(b, &mut bar, first)?;
            if ops.len() > first + 1 {
                bar.count = Some(b.s32(ops, first + 1)?);
            }
            if first == 1 && ops[0] != Operand::Atom(Atom::Name("_")) {
                bar.state = Some(b.dst(ops, 0, 64)?.index());
            }
            bar.sem = order.unwrap_or(Sem::Release);
        }
        "test_wait" | "try_wait" => {
            if what == "try_wait" {
                b.need(90, "mbarrier.try_wait")?;
            }
            bar.op = if what == "try_wait" { MbarOp::TryWait } else { MbarOp::TestWait };
            at(b, &mut bar, 1)?;
            bar.token = Some(b.src(ops, 2, if parity { 32 } else { 64 })?);
            bar.done = Some(b.dst(ops, 0, 1)?.index());
        }
        "pending_count" => {
            bar.op = MbarOp::PendingCount;
            bar.token = Some(b.src(ops, 1, 64)?);
            bar.state = Some(b.d32(ops, 0)?);
        }
        other => return Err(b.fail(format!("mbarrier.{other} is not supported"))),
    }
    Ok(Op::Mbar(Box::new(bar)))
}

/// All `cp.*`.
pub fn copy<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let reduce = m.flag("reduce");
    if !m.flag("async") {
        return Err(b.fail("only cp.async and cp.reduce.async exist"));
    }
    if m.flag("bulk") {
        b.need(90, "cp.async.bulk")?;
        return if m.flag("commit_group") {
            Ok(Op::BulkCommit)
        } else if m.flag("wait_group") {
            let read = m.flag("read");
            Ok(Op::BulkWait { pending: immediate(b, ops, 0)?, read })
        } else if m.flag("tensor") {
            tensor(b, m, ops, reduce)
        } else if m.flag("prefetch") {
            if m.flag("tensor") {
                return tensor_prefetch(b, m);
            }
            m.hints();
            m.flag("L2");
            space(m);
            Ok(Op::Hint)
        } else {
            bulk(b, m, ops, reduce)
        };
    }
    if m.flag("commit_group") {
        return Ok(Op::CpAsyncCommit);
    }
    if m.flag("wait_all") {
        return Ok(Op::CpAsyncWait { pending: None });
    }
    if m.flag("wait_group") {
        return Ok(Op::CpAsyncWait { pending: Some(immediate(b, ops, 0)?) });
    }
    if m.flag("mbarrier") {
        let ok = m.flag("arrive");
        let noinc = m.flag("noinc");
        space(m);
        if !ok || !m.flag("b64") {
            return Err(b.fail("this cp.async.mbarrier form does not exist"));
        }
        let (addr, off, _) = b.address_of(ops, 0)?;
        return Ok(Op::CpAsyncMbar { noinc, addr, off });
    }
    let only16 = m.has("cg");
    let ops = without_policy(m, ops);
    if !matches!(space(m), Some(Space::Shared)) || space(m) != Some(Space::Global) {
        return Err(b.fail("cp.async copies from .global to .shared"));
    }
    let (dst, dst_off, _) = b.address_of(ops, 0)?;
    let (src, src_off, _) = b.address_of(ops, 1)?;
    let size = immediate(b, ops, 2)?;
    if !(matches!(size, 4 | 8) && !only16 || size == 16) {
        return Err(b.fail(format!("cp.async of {size} bytes does not exist")));
    }
    let (mut src_size, mut ignore) = (None, None);
    if let Some(extra) = ops.get(3) {
        match extra {
            Operand::Atom(Atom::Name(n)) if b.is_pred(n) => ignore = Some(b.sp(ops, 3)?.0),
            _ => src_size = Some(b.s32(ops, 3)?),
        }
    }
    Ok(Op::CpAsync { dst, dst_off, src, src_off, size, src_size, ignore })
}

fn immediate<'s>(b: &Body<'_, 's>, ops: Ops<'_, 's>, i: usize) -> Result<u32, Error> {
    match b.operand(ops, i)? {
        Operand::Atom(Atom::Int(v)) => u32::try_from(*v).map_err(|_| b.fail(format!("{v} is out of range"))),
        _ => Err(b.fail(format!("operand {} must be an integer", i + 1))),
    }
}

const MBAR: &str = "mbarrier::complete_tx::bytes";

fn bulk<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>, reduce: bool) -> Result<Op, Error> {
    let mut ops = without_policy(m, ops);
    let (to, from) = (space(m), space(m));
    let with_bar = m.flag(MBAR);
    let grouped = m.flag("bulk_group");
    let multicast = m.flag("multicast::cluster");
    let reduce = if reduce {
        m.flag("noftz");
        let op = atom_op(m).ok_or_else(|| b.fail("cp.reduce needs an operation"))?;
        let t = atom_ty(b, m)?;
        m.flag("noftz");
        Some((op, t))
    } else {
        None
    };
    let (Some(to), Some(from)) = (to, from) else {
        return Err(b.fail("cp.async.bulk needs two state spaces"));
    };
    if to == Space::Global && reduce.is_some_and(|(op, t)| !op.reduces_in_copies(t)) {
        return Err(b.fail("bulk copies do not reduce this type so"));
    }
    let known = match (to, from, with_bar, grouped) {
        (Space::Shared | Space::Cluster, Space::Global, true, false) => reduce.is_none(),
        (Space::Cluster, Space::Shared, true, false) => true,
        (Space::Global, Space::Shared, false, true) => true,
        _ => false,
    };
    if !known {
        return Err(b.fail("this cp.async.bulk form does not exist"));
    }
    let mask = if multicast {
        let mask = b.src(ops, ops.len().wrapping_sub(1), 16)?.index();
        ops = &ops[..ops.len() - 1];
        Some(mask)
    } else {
        None
    };
    b.arity(ops, if with_bar { 4 } else { 3 })?;
    let (dst, dst_off, _) = b.address_of(ops, 0)?;
    let (src, src_off, _) = b.address_of(ops, 1)?;
    let size = b.s32(ops, 2)?;
    let mbar = if with_bar {
        let (r, off, _) = b.address_of(ops, 3)?;
        Some((r, off))
    } else {
        None
    };
    Ok(Op::Bulk(Box::new(Bulk { from, to, dst, dst_off, src, src_off, size, mbar, mask, reduce })))
}

fn dims(b: &Body, m: &mut Mods) -> Result<u32, Error> {
    m.pick(&[("1d", 1), ("2d", 2), ("3d", 3), ("4d", 4), ("5d", 5)])
        .ok_or_else(|| b.fail("a tensor copy needs its number of dimensions"))
}

fn tensor_prefetch<'s>(b: &Body<'_, 's>, m: &mut Mods<'s>) -> Result<Op, Error> {
    m.hints();
    m.flag("L2");
    dims(b, m)?;
    space(m);
    m.flag("tile");
    Ok(Op::Hint)
}

fn tensor<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>, reduce: bool) -> Result<Op, Error> {
    let mut ops = without_policy(m, ops);
    let dims = dims(b, m)?;
    let (to, from) = (space(m), space(m));
    if m.has("im2col") || m.has("im2col_no_offs") || m.has("tile::gather4") || m.has("tile::scatter4") {
        return Err(b.fail("tensor copies other than .tile (im2col, gather, scatter) are not supported"));
    }
    m.flag("tile");
    let with_bar = m.flag(MBAR);
    let grouped = m.flag("bulk_group");
    let multicast = m.flag("multicast::cluster");
    let reduce = if reduce { Some(atom_op(m).ok_or_else(|| b.fail("cp.reduce needs an operation"))?) } else { None };
    let kind = match (to, from, with_bar, grouped) {
        (Some(Space::Shared | Space::Cluster), Some(Space::Global), true, false) if reduce.is_none() => TensorKind::Load,
        (Some(Space::Global), Some(Space::Shared), false, true) => TensorKind::Store,
        _ => return Err(b.fail("this tensor copy form does not exist")),
    };
    let mask = if multicast {
        let mask = b.src(ops, ops.len().wrapping_sub(1), 16)?.index();
        ops = &ops[..ops.len() - 1];
        Some(mask)
    } else {
        None
    };
    let (tensor_at, smem_at) = if kind == TensorKind::Load { (1, 0) } else { (0, 1) };
    b.arity(ops, if with_bar { 3 } else { 2 })?;
    let (smem, smem_off, _) = b.address_of(ops, smem_at)?;
    let (map, map_off, list) = match b.operand(ops, tensor_at)? {
        Operand::Address(atom, rest) if rest.len() == 1 => {
            let (map, off, _) = b.base(*atom)?;
            let list = b.vector(rest, 0)?;
            (map, off, list)
        }
        _ => return Err(b.fail("a tensor operand is [map, {coordinates}]")),
    };
    if list.len() != dims as usize {
        return Err(b.fail(format!("{dims} coordinates expected")));
    }
    let mut coords = vec![];
    for atom in list {
        coords.push(b.atom(atom, 32)?.index());
    }
    let mbar = if with_bar {
        let (r, off, _) = b.address_of(ops, 2)?;
        Some((r, off))
    } else {
        None
    };
    Ok(Op::TensorCopy(Box::new(TensorCopy {
        kind,
        dims,
        smem,
        smem_off,
        map,
        map_off,
        coords: coords.into(),
        mbar,
        mask,
        reduce,
    })))
}
