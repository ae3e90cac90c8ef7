//! Control flow, warp exchanges, CTA and cluster barriers, fences (PTX ISA 9.7.12, 9.7.13).

use super::body::{Body, Sym};
use super::inst::*;
use super::mods::Mods;
use super::op_memory::{scope, sem};
use super::opcode::{Ty, ty};
use super::operand::Ops;
use super::program::Target;
use super::types::*;
use crate::error::Error;
use crate::ptx::ast::{Atom, Operand};

/// `bra` to `setmaxnreg`.
pub fn control<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    match m.head {
        "bra" => {
            m.flag("uni");
            b.arity(ops, 1)?;
            let Operand::Atom(Atom::Name(name)) = ops[0] else {
                return Err(b.fail("bra needs a label"));
            };
            Ok(Op::Bra { target: b.label(name)?, reconverge: 0 })
        }
        "brx" => {
            if !m.flag("idx") {
                return Err(b.fail("only brx.idx is supported"));
            }
            m.flag("uni");
            b.arity(ops, 2)?;
            let index = b.s32(ops, 0)?;
            let Operand::Atom(Atom::Name(list)) = ops[1] else {
                return Err(b.fail("brx needs a list of labels"));
            };
            let Some(Sym::Targets(list)) = b.lookup(list) else {
                return Err(b.fail(format!("`{list}` is not a .branchtargets list")));
            };
            let mut targets = vec![];
            for name in b.target_lists[list as usize].clone() {
                targets.push(b.label(name)?);
            }
            Ok(Op::Brx { index, targets: targets.into(), reconverge: 0 })
        }
        "call" => call(b, m, ops),
        "ret" => {
            m.flag("uni");
            b.arity(ops, 0)?;
            Ok(Op::Ret)
        }
        "exit" => {
            b.arity(ops, 0)?;
            Ok(Op::Exit)
        }
        "trap" | "brkpt" => {
            b.arity(ops, 0)?;
            Ok(Op::Trap)
        }
        "setmaxnreg" => {
            b.need_accelerated("setmaxnreg")?;
            let ok = (m.flag("inc") || m.flag("dec")) && m.flag("sync") && m.flag("aligned") && m.flag("u32");
            match ops {
                [Operand::Atom(Atom::Int(n))] if ok && (24..=256).contains(n) && n % 8 == 0 => Ok(Op::Hint),
                _ => Err(b.fail("setmaxnreg takes a multiple of 8 from 24 to 256")),
            }
        }
        "griddepcontrol" => {
            b.need(90, "griddepcontrol")?;
            // One grid runs at a time, so its predecessors are always complete.
            if m.flag("wait") || m.flag("launch_dependents") {
                Ok(Op::Hint)
            } else {
                Err(b.fail("griddepcontrol needs an action"))
            }
        }
        // nanosleep, pmevent: timing only.
        _ => {
            m.flag("u32");
            m.flag("mask");
            Ok(Op::Hint)
        }
    }
}

fn call<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    m.flag("uni");
    let (rets, rest) = match ops {
        [Operand::List(r), rest @ ..] => (r.as_slice(), rest),
        _ => (&[][..], ops),
    };
    let [Operand::Atom(Atom::Name(name)), rest @ ..] = rest else {
        return Err(b.fail("call needs a function"));
    };
    let args = match rest {
        [Operand::List(a), ..] => a.as_slice(),
        _ => &[],
    };
    let callee = match b.lookup(name) {
        Some(Sym::Static(Target::Function(i))) => {
            if b.globals.defined[i as usize] {
                Callee::Function(i)
            } else {
                Callee::Builtin(match b.globals.functions[i as usize] {
                    "vprintf" => Builtin::Printf,
                    "__assertfail" => Builtin::AssertFail,
                    "malloc" => Builtin::Malloc,
                    "free" => Builtin::Free,
                    other => return Err(b.fail(format!("function `{other}` has no body in this module"))),
                })
            }
        }
        _ => Callee::Indirect(b.register(name, false)?),
    };
    let mut actual = |atom: &Atom<'s>, write: bool| match atom {
        Atom::Name(n) => match b.lookup(n) {
            Some(Sym::CallParam(offset, size)) => Ok(Actual::Bytes { offset, size }),
            _ => b.register(n, write).map(Actual::Reg),
        },
        Atom::Int(v) => Ok(Actual::Reg(b.constant(*v as u64, 64))),
        _ => Err(b.fail("this argument is not supported")),
    };
    let args = args.iter().map(|a| actual(a, false)).collect::<Result<_, _>>()?;
    let rets = rets.iter().map(|a| actual(a, true)).collect::<Result<_, _>>()?;
    Ok(Op::Call(Box::new(Call { callee, args, rets })))
}

/// Exchanges within a warp.
pub fn exchange<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let sync = m.flag("sync");
    match m.head {
        "activemask" => {
            m.flag("b32");
            b.arity(ops, 1)?;
            Ok(Op::Activemask { d: b.d32(ops, 0)? })
        }
        head if !sync => Err(b.fail(format!("`{head}` without .sync is not supported: it was removed from sm_70"))),
        "shfl" => {
            let mode = m
                .pick(&[("up", ShflMode::Up), ("down", ShflMode::Down), ("bfly", ShflMode::Bfly), ("idx", ShflMode::Idx)])
                .ok_or_else(|| b.fail("shfl needs a mode"))?;
            m.flag("b32");
            b.arity(ops, 5)?;
            let (a, bb, c, mask) = (b.s32(ops, 1)?, b.s32(ops, 2)?, b.s32(ops, 3)?, b.s32(ops, 4)?);
            let (d, p) = b.dst_pair(ops, 0, 32)?;
            let d = d.ok_or_else(|| b.fail("shfl needs a destination"))?;
            Ok(Op::Shfl { mode, d, p, a, b: bb, c, mask })
        }
        "vote" => {
            let mode = m
                .pick(&[("all", VoteMode::All), ("any", VoteMode::Any), ("uni", VoteMode::Uni), ("ballot", VoteMode::Ballot)])
                .ok_or_else(|| b.fail("vote needs a mode"))?;
            m.flag("b32");
            m.flag("pred");
            b.arity(ops, 3)?;
            let (p, negate) = b.sp(ops, 1)?;
            let mask = b.s32(ops, 2)?;
            let d = b.dst(ops, 0, if mode == VoteMode::Ballot { 32 } else { 1 })?;
            Ok(Op::Vote { mode, d, p, negate, mask })
        }
        "match" => {
            let all = m.pick(&[("any", false), ("all", true)]).ok_or_else(|| b.fail("match needs a mode"))?;
            let bits = ty(b, m)?.bits();
            b.arity(ops, 3)?;
            let a = b.src(ops, 1, bits)?;
            let mask = b.s32(ops, 2)?;
            let (d, p) = b.dst_pair(ops, 0, 32)?;
            let d = d.ok_or_else(|| b.fail("match needs a destination"))?;
            Ok(Op::Match { all, d, p, a, mask })
        }
        "redux" => {
            let op = m
                .pick(&[
                    ("add", IntOp::Add),
                    ("min", IntOp::Min),
                    ("max", IntOp::Max),
                    ("and", IntOp::And),
                    ("or", IntOp::Or),
                    ("xor", IntOp::Xor),
                ])
                .ok_or_else(|| b.fail("redux needs an operation"))?;
            let signed = match ty(b, m)? {
                Ty::Int(IntTy::S32) => true,
                Ty::Int(IntTy::U32) | Ty::Bits(32) => false,
                _ => return Err(b.fail("redux is for 32-bit integers")),
            };
            b.arity(ops, 3)?;
            let (a, mask) = (b.s32(ops, 1)?, b.s32(ops, 2)?);
            Ok(Op::Redux { op, signed, d: b.d32(ops, 0)?, a, mask })
        }
        _ => {
            b.need(90, "elect.sync")?;
            b.arity(ops, 2)?;
            let mask = b.s32(ops, 1)?;
            let (d, p) = b.dst_pair(ops, 0, 32)?;
            let p = p.ok_or_else(|| b.fail("elect needs d|p"))?;
            Ok(Op::Elect { d, p, mask })
        }
    }
}

/// `bar`, `barrier`, `membar`, `fence`.
pub fn barrier<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    match m.head {
        "membar" => {
            if m.flag("proxy") {
                while m.word().is_some() {}
                return Ok(Op::Hint);
            }
            let scope = m
                .pick(&[("cta", Scope::Cta), ("gl", Scope::Gpu), ("sys", Scope::Sys)])
                .ok_or_else(|| b.fail("membar needs a level"))?;
            Ok(Op::Fence { scope, sem: Sem::Sc })
        }
        "fence" => fence(b, m, ops),
        _ => {
            if m.flag("warp") {
                m.flag("sync");
                b.arity(ops, 1)?;
                return Ok(Op::BarWarp { mask: b.s32(ops, 0)? });
            }
            if m.flag("cluster") {
                b.need(90, "barrier.cluster")?;
                let arrive = m.pick(&[("arrive", true), ("wait", false)]);
                let order = sem(m);
                m.flag("aligned");
                b.arity(ops, 0)?;
                return match arrive {
                    Some(true) => Ok(Op::ClusterArrive { release: order != Some(Sem::Relaxed) }),
                    Some(false) => Ok(Op::ClusterWait { acquire: true }),
                    None => Err(b.fail("barrier.cluster needs .arrive or .wait")),
                };
            }
            cta_barrier(b, m, ops)
        }
    }
}

fn cta_barrier<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    let aligned = m.head == "bar" || m.has("aligned");
    m.flag("cta");
    m.flag("aligned");
    if m.flag("red") {
        let kind = m
            .pick(&[("popc", BarKind::RedPopc), ("and", BarKind::RedAnd), ("or", BarKind::RedOr)])
            .ok_or_else(|| b.fail("bar.red needs an operation"))?;
        m.flag("u32");
        m.flag("pred");
        let counted = ops.len() == 4;
        let id = b.s32(ops, 1)?;
        let count = if counted { Some(b.s32(ops, 2)?) } else { None };
        let (p, negate) = b.sp(ops, if counted { 3 } else { 2 })?;
        let d = b.dst(ops, 0, if kind == BarKind::RedPopc { 32 } else { 1 })?;
        return Ok(Op::Bar(Box::new(Bar { kind, aligned, id, count, red: Some((d, p, negate)) })));
    }
    let kind = m
        .pick(&[("sync", BarKind::Sync), ("arrive", BarKind::Arrive)])
        .ok_or_else(|| b.fail("a barrier needs .sync, .arrive or .red"))?;
    let id = b.s32(ops, 0)?;
    let count = if ops.len() > 1 { Some(b.s32(ops, 1)?) } else { None };
    if kind == BarKind::Arrive && count.is_none() {
        return Err(b.fail("barrier.arrive needs a thread count"));
    }
    Ok(Op::Bar(Box::new(Bar { kind, aligned, id, count, red: None })))
}

fn fence<'s>(b: &mut Body<'_, 's>, m: &mut Mods<'s>, ops: Ops<'_, 's>) -> Result<Op, Error> {
    if m.flag("proxy") {
        let async_proxy = m.flag("async") || m.flag("async::generic");
        // Races are tracked in shared memory, which other fences say nothing of.
        let mut orders = async_proxy;
        let tensormap = m.flag("tensormap::generic");
        m.flag("alias");
        sem(m);
        scope(m);
        orders &= super::op_memory::space(m) != Some(Space::Global);
        m.flag("sync_restrict::shared::cta");
        m.flag("sync_restrict::shared::cluster");
        if async_proxy {
            b.need(90, "fence.proxy.async")?;
        }
        if tensormap {
            b.need(90, "fence.proxy.tensormap")?;
        } else {
            b.arity(ops, 0)?;
        }
        return Ok(if orders { Op::ProxyFence } else { Op::Hint });
    }
    if m.flag("mbarrier_init") {
        b.need(90, "fence.mbarrier_init")?;
        sem(m);
        scope(m);
        // mbarriers are not among the memory whose races are tracked.
        return Ok(Op::Hint);
    }
    let sem = sem(m).unwrap_or(Sem::Sc);
    let scope = scope(m).ok_or_else(|| b.fail("fence needs a scope"))?;
    b.arity(ops, 0)?;
    Ok(Op::Fence { scope, sem })
}
