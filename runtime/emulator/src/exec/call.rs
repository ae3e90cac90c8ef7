//! Calls of device functions, and the functions that the runtime provides: `vprintf` and `__assertfail`.

use super::address::{Kind, classify};
use super::fail::{Fail, Res, fail, fail_at};
use super::regs::LANES;
use super::state::{Env, State, constant};
use super::warp::{Frame, Split, Warp};
use crate::decode::inst::{Actual, Call, Callee};
use crate::decode::types::*;
use crate::error::FaultKind;
use crate::memory::FUNCTION_BASE;

/// Value of a special register for one lane.
fn special(env: &Env, w: &Warp, st: &State, s: Special, lane: u32, local: u32) -> u64 {
    let shape = &env.shape;
    let cta = &st.ctas[w.cta];
    let tid = w.id * 32 + lane;
    let [bx, by, _] = shape.block;
    let [cx, cy, cz] = shape.cluster;
    let v = match s {
        Special::Tid(0) => tid % bx,
        Special::Tid(1) => tid / bx % by,
        Special::Tid(_) => tid / (bx * by),
        Special::Ntid(i) => shape.block[i as usize],
        Special::Ctaid(i) => cta.coords[i as usize],
        Special::Nctaid(i) => shape.grid[i as usize],
        Special::Laneid => lane,
        Special::Warpid => w.id,
        Special::Nwarpid => 64,
        Special::Smid => (cta.index % 132) as u32,
        Special::Nsmid => 132,
        Special::Gridid => env.launch,
        Special::LanemaskEq => 1 << lane,
        Special::LanemaskLe => ((2u64 << lane) - 1) as u32,
        Special::LanemaskLt => (1 << lane) - 1,
        Special::LanemaskGe => !((1u32 << lane) - 1),
        Special::LanemaskGt => !(((2u64 << lane) - 1) as u32),
        Special::ClusterCtaid(i) => cta.coords[i as usize] % shape.cluster[i as usize],
        Special::ClusterNctaid(i) => shape.cluster[i as usize],
        Special::Clusterid(i) => cta.coords[i as usize] / shape.cluster[i as usize],
        Special::Nclusterid(i) => shape.grid[i as usize] / shape.cluster[i as usize],
        Special::ClusterCtarank => cta.rank,
        Special::ClusterNctarank => cx * cy * cz,
        Special::IsExplicitCluster => u32::from(shape.explicit_cluster),
        Special::DynamicSmemSize => shape.smem,
        Special::DynamicSmemBase(align) => {
            let base = env.shared_base + env.program.functions[env.kernel as usize].static_smem;
            base.next_multiple_of(align.max(16))
        }
        Special::LocalBase(at) => local + at,
        Special::TotalSmemSize | Special::AggrSmemSize => env.shared_size - env.shared_base,
        Special::Zero => 0,
    };
    u64::from(v)
}

/// Fills the constant slots of a frame for the lanes of `mask`.
pub fn enter(env: &Env, w: &mut Warp, st: &State, frame: Frame, mask: u32) {
    let f = &env.program.functions[frame.function as usize];
    let room = |v: usize, base: u32, n: u32| v.max(base as usize + n as usize);
    let n32 = room(w.regs.r32.len(), frame.b32, f.n32);
    w.regs.r32.resize(n32, [0; LANES]);
    let n64 = room(w.regs.r64.len(), frame.b64, f.n64);
    w.regs.r64.resize(n64, [0; LANES]);
    let np = room(w.regs.pred.len(), frame.bp, f.npred);
    w.regs.pred.resize(np, 0);
    w.local.grow(frame.local + f.local_size);
    (w.regs.b32, w.regs.b64, w.regs.bp) = (frame.b32 as usize, frame.b64 as usize, frame.bp as usize);
    for (slot, value) in &f.const32 {
        w.regs.set32(*slot, mask, &[*value; LANES]);
    }
    for (slot, value) in &f.const64 {
        w.regs.set64(*slot, mask, &[*value; LANES]);
    }
    for (slot, value) in &f.const_pred {
        w.regs.set_p(*slot, mask, if *value { u32::MAX } else { 0 });
    }
    for (slot, target, addend) in &f.addresses {
        let value = target_address(env, *target).wrapping_add(*addend as u64);
        w.regs.set(*slot, mask, &[value; LANES]);
    }
    for (slot, s) in &f.specials {
        let values = std::array::from_fn(|l| special(env, w, st, *s, l as u32, frame.local));
        w.regs.set(*slot, mask, &values);
    }
}

/// Address of a variable or function.
pub fn target_address(env: &Env, target: crate::decode::program::Target) -> u64 {
    use crate::decode::program::Target;
    match target {
        Target::Global(i) => env.globals[i as usize],
        Target::Constant(offset) => crate::memory::CONST_WINDOW + u64::from(offset),
        Target::Function(i) => FUNCTION_BASE + 16 * u64::from(i),
    }
}

/// Reads an actual parameter of the caller, word by word.
fn read_actual(w: &Warp, a: &Actual, local: u32, lane: usize) -> Vec<u64> {
    match *a {
        Actual::Reg(r) => vec![w.regs.lane(r, lane)],
        Actual::Bytes { offset, size } => {
            let n = u64::from(size).div_ceil(8);
            (0..n).map(|i| bytes_at(w, lane, u64::from(local + offset) + 8 * i, (size as u64 - 8 * i).min(8))).collect()
        }
    }
}

fn bytes_at(w: &Warp, lane: usize, at: u64, n: u64) -> u64 {
    (0..n).fold(0, |v, i| v | w.local.load(lane, at + i, 1).unwrap_or_default() << (8 * i))
}

fn write_formal(w: &mut Warp, f: &Actual, local: u32, lane: usize, words: &[u64]) {
    match *f {
        Actual::Reg(r) => w.regs.set(r, 1 << lane, &[words.first().copied().unwrap_or_default(); LANES]),
        Actual::Bytes { offset, size } => {
            for i in 0..u64::from(size) {
                let byte = words.get((i / 8) as usize).copied().unwrap_or_default() >> (8 * (i % 8)) & 0xff;
                // In bounds: the frame's local memory was grown when it was entered.
                let _ = w.local.store(lane, u64::from(local + offset) + i, 1, byte);
            }
        }
    }
}

/// Calls a device function: pushes a frame on the split.
pub fn call(env: &Env, w: &mut Warp, st: &mut State, s: &mut Split, active: u32, call: &Call) -> Res<bool> {
    let callee = match call.callee {
        Callee::Builtin(b) => {
            builtin(env, w, st, s, active, b, call)?;
            return Ok(false);
        }
        Callee::Function(i) => i,
        Callee::Indirect(r) => {
            let mut found = None;
            for l in (0..LANES).filter(|l| active >> l & 1 != 0) {
                let handle = w.regs.lane(r, l);
                let index = handle.wrapping_sub(FUNCTION_BASE) / 16;
                let known = handle % 16 == 0 && env.program.functions.get(index as usize).is_some_and(|f| !f.insts.is_empty());
                if !known {
                    return fail_at(FaultKind::InvalidOperand, "call through an address that is no function", l, handle);
                }
                if found.is_some_and(|f| f != index as u32) {
                    return fail(
                        FaultKind::Unsupported,
                        "an indirect call to different functions within a warp is not supported",
                    );
                }
                found = Some(index as u32);
            }
            found.unwrap_or_default()
        }
    };
    if s.frames.len() >= env.options.limits.call_depth {
        return fail(FaultKind::Limit, format!("calls nested more than {} deep", env.options.limits.call_depth));
    }
    let caller = s.frames[s.frames.len() - 1];
    let from = &env.program.functions[caller.function as usize];
    let to = &env.program.functions[callee as usize];
    if to.formals.len() != call.args.len() || to.returns.len() != call.rets.len() {
        return fail(FaultKind::InvalidOperand, format!("call of {} with the wrong number of arguments", to.name));
    }
    let frame = Frame {
        function: callee,
        b32: caller.b32 + from.n32,
        b64: caller.b64 + from.n64,
        bp: caller.bp + from.npred,
        local: (caller.local + from.local_size).next_multiple_of(16),
        back: s.pc + 1,
    };
    let lanes = (0..LANES).filter(|l| active >> l & 1 != 0);
    let args: Vec<(usize, Vec<Vec<u64>>)> =
        lanes.map(|l| (l, call.args.iter().map(|a| read_actual(w, a, caller.local, l)).collect())).collect();
    let before = w.local.size();
    enter(env, w, st, frame, active);
    st.local += (w.local.size() - before) * LANES as u64;
    if st.local > env.local_share {
        return fail(FaultKind::Limit, format!("the stacks of calls take more than {} bytes of local memory", env.local_share));
    }
    for (l, values) in &args {
        for (formal, words) in to.formals.iter().zip(values) {
            write_formal(w, formal, frame.local, *l, words);
        }
    }
    s.frames.push(frame);
    s.pc = 0;
    Ok(true)
}

/// Returns from a device function; the split has at least two frames.
pub fn ret(env: &Env, w: &mut Warp, s: &mut Split) {
    let Some(frame) = s.frames.pop() else { return };
    let Some(caller) = s.frames.last().copied() else { return };
    let to = &env.program.functions[frame.function as usize];
    let site = &env.program.functions[caller.function as usize].insts[frame.back as usize - 1];
    let rets = match &site.op {
        crate::decode::inst::Op::Call(c) => c.rets.as_slice(),
        _ => &[],
    };
    let lanes = (0..LANES).filter(|l| s.mask >> l & 1 != 0);
    let values: Vec<(usize, Vec<Vec<u64>>)> =
        lanes.map(|l| (l, to.returns.iter().map(|r| read_actual(w, r, frame.local, l)).collect())).collect();
    (w.regs.b32, w.regs.b64, w.regs.bp) = (caller.b32 as usize, caller.b64 as usize, caller.bp as usize);
    for (l, values) in &values {
        for (actual, words) in rets.iter().zip(values) {
            write_formal(w, actual, caller.local, *l, words);
        }
    }
    s.pc = frame.back;
}

/// Bytes at a generic address of a lane, for strings and argument buffers.
fn peek(env: &Env, w: &Warp, st: &State, lane: usize, addr: u64, size: u32) -> Option<u64> {
    match classify(st, w.cta, Space::Generic, addr) {
        (Kind::Global, at) => {
            let (block, off) = env.memory.locate(at, size.into(), &mut 0)?;
            Some(block.load(off, size))
        }
        (Kind::Local, at) => w.local.load(lane, at, size),
        (Kind::Const, at) => constant(env, at, size.into()),
        (Kind::Shared(cta), at) => {
            let end = st.ctas[cta].shared.len() as u64;
            (at + u64::from(size) <= end).then(|| st.load_shared(cta, at, size))
        }
        _ => None,
    }
}

fn text(env: &Env, w: &Warp, st: &State, lane: usize, addr: u64) -> String {
    let mut bytes = vec![];
    while bytes.len() < 4096 {
        match peek(env, w, st, lane, addr + bytes.len() as u64, 1) {
            Some(b) if b != 0 => bytes.push(b as u8),
            _ => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn builtin(env: &Env, w: &mut Warp, st: &mut State, s: &Split, active: u32, b: Builtin, call: &Call) -> Res<()> {
    let local = s.frames.last().map_or(0, |f| f.local);
    for l in (0..LANES).filter(|l| active >> l & 1 != 0) {
        let args: Vec<u64> = call.args.iter().map(|a| read_actual(w, a, local, l).first().copied().unwrap_or_default()).collect();
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        match b {
            Builtin::Printf => {
                let format = text(env, w, st, l, arg(0));
                let line = printf(env, w, st, l, &format, arg(1));
                let count = line.len() as u64;
                if let Ok(mut out) = env.output.lock()
                    && out.len() + line.len() <= env.options.limits.output
                {
                    out.push_str(&line);
                }
                if let Some(ret) = call.rets.first() {
                    write_formal(w, ret, local, l, &[count]);
                }
            }
            Builtin::AssertFail => {
                let (what, file, function) =
                    (text(env, w, st, l, arg(0)), text(env, w, st, l, arg(1)), text(env, w, st, l, arg(3)));
                return Err(Box::new(Fail {
                    kind: FaultKind::Trap,
                    message: format!("assertion `{what}` failed at {file}:{} in {function}", arg(2) as u32),
                    lane: Some(l as u32),
                    address: None,
                    other: None,
                }));
            }
            Builtin::Malloc | Builtin::Free => {
                return fail(FaultKind::Unsupported, "device-side malloc and free are not supported");
            }
        }
    }
    Ok(())
}

/// C's printf over the argument buffer: 4-byte values at multiples of 4, 8-byte ones at multiples of 8.
fn printf(env: &Env, w: &Warp, st: &State, lane: usize, format: &str, buffer: u64) -> String {
    let mut out = String::new();
    let mut at = 0u64;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        let mut long = false;
        let conversion = loop {
            match chars.next() {
                Some('l' | 'z' | 'j' | 't') => long = true,
                Some('h') => {}
                Some(c) if c.is_ascii_alphabetic() || c == '%' => break c,
                Some(c) => spec.push(c),
                None => return out,
            }
        };
        if conversion == '%' {
            out.push('%');
            continue;
        }
        let wide = long || matches!(conversion, 'f' | 'e' | 'g' | 'E' | 'G' | 'F' | 'p' | 's' | 'a');
        let size = if wide { 8 } else { 4 };
        at = at.next_multiple_of(size);
        let bits = peek(env, w, st, lane, buffer + at, size as u32).unwrap_or_default();
        at += size;
        let precision = spec.split_once('.').and_then(|(_, p)| p.parse::<usize>().ok());
        let x = f64::from_bits(bits);
        let body = match conversion {
            'd' | 'i' if wide => (bits as i64).to_string(),
            'd' | 'i' => (bits as i32).to_string(),
            'u' => bits.to_string(),
            'x' => format!("{bits:x}"),
            'X' => format!("{bits:X}"),
            'o' => format!("{bits:o}"),
            'p' => format!("{bits:#x}"),
            'c' => char::from(bits as u8).to_string(),
            's' => text(env, w, st, lane, bits),
            'f' | 'F' => format!("{x:.*}", precision.unwrap_or(6)),
            'e' | 'E' => exponent(x, precision.unwrap_or(6)),
            _ => general(x, precision.unwrap_or(6)),
        };
        let flags: String = spec.chars().take_while(|c| "-+ 0#".contains(*c)).collect();
        let width: usize = spec[flags.len()..].split('.').next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let body = if flags.contains('+') && !body.starts_with('-') && conversion != 's' { format!("+{body}") } else { body };
        if flags.contains('-') {
            out.push_str(&format!("{body:<width$}"));
        } else if flags.contains('0') && !matches!(conversion, 's' | 'c') {
            let (sign, digits) = match body.strip_prefix('-') {
                Some(rest) => ("-", rest.to_owned()),
                None => ("", body),
            };
            out.push_str(&format!("{sign}{digits:0>w$}", w = width.saturating_sub(sign.len())));
        } else {
            out.push_str(&format!("{body:>width$}"));
        }
    }
    out
}

/// `%e`: Rust's exponent has no sign or padding.
fn exponent(x: f64, precision: usize) -> String {
    let s = format!("{x:.precision$e}");
    match s.split_once('e') {
        Some((m, e)) => {
            let (sign, digits) = e.strip_prefix('-').map_or(('+', e), |d| ('-', d));
            format!("{m}e{sign}{digits:0>2}")
        }
        None => s,
    }
}

/// `%g`.
fn general(x: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let e = if x == 0.0 || !x.is_finite() { 0 } else { x.abs().log10().floor() as i32 };
    let s = if e < -4 || e >= precision as i32 {
        exponent(x, precision - 1)
    } else {
        format!("{x:.*}", (precision as i32 - 1 - e).max(0) as usize)
    };
    if s.contains('.') && !s.contains('e') { s.trim_end_matches('0').trim_end_matches('.').to_owned() } else { s }
}
