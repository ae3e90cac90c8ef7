//! Products of f32 in tf32 precision on warpgroups, and who rounds their operands.
//!
//! `wgmma` reads f32 and drops the 13 low bits (PTX ISA, "Alternate floating point data formats"), where the language rounds to nearest, ties to even. So each operand is
//! rounded on its way to where the instruction reads it: what is loaded by the TMA engine, whose tensor map then is one of tf32 (`TmaFill` with `tf32`);
//! operand A, where it is computed, by the threads that compute it. A product with an operand that comes another way (a load that the engine
//! cannot do, with threads that copy bytes as they are; a computed B) is one of warps, which round fragments as they read them.
//!
//! ```text
//! before: %t = dot_start %a, %b precision tf32        after: %r = asm "cvt.rn.tf32.f32 .." %a
//!                                                            %t = dot_start %r, %b precision tf32
//! ```

use kiln_ir::ops::DotPrecision;
use kiln_ir::{Block, Function, Inst, InstData, ScalarType, SrcLoc, Value, ValueDef};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::smallvec;

/// An f32 rounded to tf32 (sm_90, PTX 7.8), as the TMA engine and the CPU round it. The result of such a conversion is an untyped register.
const ROUND: &str = "{ .reg .b32 rounded; cvt.rn.tf32.f32 rounded, $1; mov.b32 $0, rounded; }";
/// Its result and operand.
const REGISTERS: &str = "=f,f";

/// The products of tf32 that are ones of warpgroups.
pub(super) fn products(func: &Function) -> Vec<Inst> {
    let mut found = Vec::new();
    func.walk(|_, inst| {
        if let InstData::DotStart { a, precision: DotPrecision::Tf32, .. } = func.insts[inst]
            && func.ty(a).elem().scalar() == Some(ScalarType::F32)
        {
            found.push(inst);
        }
    });
    found
}

/// The load that an operand is, as it is or with its axes exchanged.
pub(super) fn loaded(func: &Function, mut operand: Value) -> Option<Inst> {
    loop {
        let inst = func.def_inst(operand)?;
        match func.insts[inst] {
            InstData::Permute { arg, .. } => operand = arg,
            InstData::Load { .. } => return Some(inst),
            _ => return None,
        }
    }
}

/// Whether both operands of a product come such that they can be rounded: `staged` are loads that go to shared memory by themselves, `by_engine` those
/// of them that the TMA engine does.
pub(super) fn can_round(func: &Function, start: Inst, staged: impl Fn(Inst) -> bool, by_engine: impl Fn(Inst) -> bool) -> bool {
    let InstData::DotStart { a, b, .. } = func.insts[start] else { unreachable!("a product of warpgroups") };
    let left = loaded(func, a).is_none_or(|load| !staged(load) || by_engine(load));
    left && loaded(func, b).is_some_and(by_engine)
}

/// Rounds operand A of each product in registers, unless the engine loads it.
pub(super) fn round_left(func: &mut Function, products: &[Inst], by_engine: impl Fn(Inst) -> bool) {
    let mut known: FxHashMap<Value, Value> = FxHashMap::default();
    for &start in products {
        let InstData::DotStart { a, .. } = func.insts[start] else { unreachable!("a product of warpgroups") };
        if loaded(func, a).is_some_and(&by_engine) {
            continue;
        }
        let rounded = *known.entry(a).or_insert_with(|| round(func, a, func.locs[start]));
        if let InstData::DotStart { a, .. } = &mut func.insts[start] {
            *a = rounded;
        }
    }
}

fn round(func: &mut Function, value: Value, loc: SrcLoc) -> Value {
    let rounding = InstData::InlineAsm { text: ROUND.into(), constraints: REGISTERS.into(), args: smallvec![value], pure_: true };
    let made = func.make_inst(rounding, &[func.ty(value)], loc);
    let (block, at) = behind(func, value);
    func.blocks[block].insts.insert(at, made);
    func.result(made)
}

/// The first place where a value is known: what stands in a loop is rounded there, what does not, once.
fn behind(func: &Function, value: Value) -> (Block, usize) {
    match func.values[value].def {
        ValueDef::Param(block, _) => (block, 0),
        ValueDef::Result(inst, _) => {
            let block = block_of(func, inst);
            let at = func.blocks[block].insts.iter().position(|&other| other == inst);
            (block, at.expect("a block has its instructions") + 1)
        }
    }
}

fn block_of(func: &Function, inst: Inst) -> Block {
    let mut found = None;
    func.walk(|block, other| {
        if other == inst {
            found = Some(block);
        }
    });
    found.expect("an instruction stands in a block")
}

/// Makes a product of warpgroups one of warps.
pub(super) fn to_warps(func: &mut Function, start: Inst) {
    let InstData::DotStart { a, b, acc, precision } = func.insts[start] else { unreachable!("a product of warpgroups") };
    func.insts[start] = InstData::Dot { a, b, acc, precision };
    let sum = func.result(start);
    let mut wait = None;
    func.walk(|block, inst| {
        if matches!(func.insts[inst], InstData::DotWait { arg: Some(arg), .. } if arg == sum) {
            wait = Some((block, inst));
        }
    });
    let (block, wait) = wait.expect("a product is waited for");
    func.blocks[block].insts.retain(|&inst| inst != wait);
    func.replace_uses(func.result(wait), sum);
}

/// Whether an operand of a product of warpgroups, in a kernel with roles, holds nothing but tf32 wherever it comes from.
pub fn is_rounded(func: &Function, operand: Value) -> bool {
    let (mut todo, mut seen) = (vec![operand], FxHashSet::default());
    while let Some(value) = todo.pop() {
        if !seen.insert(value) {
            continue;
        }
        match func.values[value].def {
            ValueDef::Param(block, number) => match carried(func, block, usize::from(number)) {
                Some(sources) => todo.extend(sources),
                None => return false,
            },
            ValueDef::Result(inst, number) => match &func.insts[inst] {
                &(InstData::Permute { arg, .. } | InstData::ConvertLayout { arg } | InstData::Hold { arg }) => todo.push(arg),
                &InstData::RingRead { ring, .. } if fills_round(func, ring) => {}
                InstData::InlineAsm { text, .. } if **text == *ROUND => {}
                &InstData::If { then, otherwise, .. } => {
                    todo.extend([then, otherwise].map(|side| func.yielded(side)[usize::from(number)]));
                }
                InstData::For { init, body, .. } => {
                    todo.extend([init[usize::from(number)], func.yielded(*body)[usize::from(number)]]);
                }
                _ => return false,
            },
        }
    }
    true
}

/// What a parameter of a block may be: for what a `for` carries, what it begins with and what a trip hands on.
fn carried(func: &Function, block: Block, number: usize) -> Option<[Value; 2]> {
    let mut sources = None;
    func.walk(|_, inst| {
        if let InstData::For { init, body, .. } = &func.insts[inst]
            && *body == block
            && number > 0
        {
            sources = Some([init[number - 1], func.yielded(block)[number - 1]]);
        }
    });
    sources
}

/// Whether everything that comes into a ring is rounded on its way.
fn fills_round(func: &Function, of: Value) -> bool {
    let mut all = true;
    func.walk(|_, inst| match func.insts[inst] {
        InstData::TmaFill { ring, tf32, .. } if ring == of => all &= tf32,
        InstData::RingFill { ring, .. } if ring == of => all = false,
        _ => {}
    });
    all
}
