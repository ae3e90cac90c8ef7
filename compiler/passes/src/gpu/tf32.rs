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

#[cfg(test)]
mod tests {
    use kiln_ir::text::parse_module;

    use super::*;

    /// Whether the operand `v9` of a kernel with these instructions is rounded.
    fn rounded(insts: &str) -> bool {
        let text = format!(
            "kernel @0 k(v0.x: tensor<f32, 2> {{number 0, align 16, dims [?, ?], strides [?%16, =1]}}) grid 1 index 32 {{\n\
             v1: i32 = const 0\n\
             v2: index = const 0\n\
             v3: index = const 32\n\
             v4: tile<f32, [64, 32]> = ring_new 2\n\
             v5: i32 = barrier_new 2 arrivals 1\n\
             {insts}\
             v90: tile<f32, [64, 32]> = convert_layout v9\n\
             yield\n}}\n"
        );
        let module = parse_module(&text).unwrap_or_else(|e| panic!("test input: {e}\n{text}"));
        let func = &module.funcs[module.kernel().expect("a kernel")];
        let mut last = None;
        func.walk(|_, inst| {
            if let InstData::ConvertLayout { arg } = func.insts[inst] {
                last = Some(arg);
            }
        });
        is_rounded(func, last.expect("an operand"))
    }

    /// Slots are rounded where all that fills them rounds; what is computed, where it was rounded; what a loop carries, where all that it may be is.
    #[test]
    fn operands_are_followed_to_where_they_come_from() {
        let fill = |tf32: &str| format!("tma_fill v4, v1, v5 from v0[v2..+64, v2..+32]{tf32}\n");
        let by_engine = fill(" tf32");
        let by_threads = "ring_fill v4, v1 from v0[v2..+64, v2..+32]\n";
        let read = "v9: tile<f32, [64, 32]> = ring_read v4, v1\n";
        let load = "v8: tile<f32, [64, 32]> = load v0[v2..+64, v2..+32]\n";
        let asm = |name: &str| format!("{name}: tile<f32, [64, 32]> = asm \"{ROUND}\" \"{REGISTERS}\" [v8] pure\n");
        assert!(rounded(&(by_engine.clone() + read)));
        assert!(!rounded(&(fill("") + read)));
        assert!(!rounded(&(by_engine.clone() + by_threads + read)));
        assert!(!rounded(&format!("{by_threads}{read}")));
        assert!(!rounded(&load.replace("v8", "v9")));
        assert!(rounded(&format!("{load}{}", asm("v9"))));
        assert!(!rounded(&format!("{load}v9: tile<f32, [64, 32]> = abs v8\n")));
        let carried = |first: &str, next: &str| {
            format!(
                "{load}{}v9: tile<f32, [64, 32]> = for v2..v3 step v3 init [{first}] (v10: index, v11: tile<f32, [64, 32]>) {{\nyield {next}\n}}\n",
                asm("v7")
            )
        };
        for (first, next, all) in [("v7", "v7", true), ("v7", "v11", true), ("v7", "v8", false), ("v8", "v7", false)] {
            assert_eq!(rounded(&carried(first, next)), all, "{first}, then {next}");
        }
    }
}
