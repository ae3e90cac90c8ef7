//! Where things stand: blocks, scopes, parameters, yields, the placement of effects.

use cranelift_entity::{EntitySet, SecondaryMap};
use smallvec::SmallVec;

use super::{Checker, types};
use crate::entity::{Block, Inst, Value};
use crate::func::ValueDef;
use crate::inst::{Combine, InstData};
use crate::types::Type;

/// What the walk has seen.
struct Scope {
    /// Values that an instruction here may use.
    visible: SecondaryMap<Value, bool>,
    placed: EntitySet<Inst>,
    owned: EntitySet<Block>,
    /// Inside a closure of `reduce` or `scan`.
    in_closure: bool,
}

/// Checks a function's structure, and the types of every instruction in it.
pub(super) fn check(c: &mut Checker<'_>) {
    let func = c.func;
    let params = func.param_values();
    if params.len() != func.params.len() {
        let message = format!("{} parameters, but the body has {}", func.params.len(), params.len());
        c.report_at("parameters".into(), message);
    }
    if func.is_kernel && !func.results.is_empty() {
        c.report_at("results".into(), "a kernel has no results".into());
    }
    if !(1..=5).contains(&func.grid_rank) {
        c.report_at("grid".into(), format!("rank {} is not 1 to 5", func.grid_rank));
    }
    if !matches!(func.index_bits, 32 | 64) {
        c.report_at("index".into(), format!("width {} is neither 32 nor 64", func.index_bits));
    }
    for (info, &param) in func.params.iter().zip(params) {
        if let Some(facts) = &info.tensor {
            let rank = func.ty(param).rank();
            if !func.ty(param).is_view() || facts.dims.len() != rank || facts.strides.len() != rank {
                c.report_at("parameters".into(), format!("the facts of {} do not fit {}", info.name, func.ty(param)));
            }
        }
    }
    if let Some(view) = func.results.iter().find(|ty| ty.is_view()) {
        c.report_at("results".into(), format!("a view ({view}) cannot be returned"));
    }
    let mut scope = Scope { visible: SecondaryMap::new(), placed: EntitySet::new(), owned: EntitySet::new(), in_closure: false };
    let expected: SmallVec<[Type; 4]> = func.results.iter().copied().collect();
    block(c, &mut scope, func.body, None, &expected);
}

/// Checks a block that must yield values of the types `expected`; `owner` is the instruction it belongs to.
fn block(c: &mut Checker<'_>, scope: &mut Scope, block: Block, owner: Option<Inst>, expected: &[Type]) {
    let func = c.func;
    let place = |c: &Checker<'_>| owner.map_or("body".to_owned(), |inst| crate::text::describe_inst(c.func, inst));
    if !scope.owned.insert(block) {
        let place = place(c);
        c.report_at(place, format!("{block} has another owner"));
        return;
    }
    let data = &func.blocks[block];
    for (number, &param) in data.params.iter().enumerate() {
        if func.values[param].def != ValueDef::Param(block, number as u16) {
            let place = place(c);
            c.report_at(place, format!("parameter {number} of {block} is recorded as {:?}", func.values[param].def));
        }
        scope.visible[param] = true;
    }
    for (position, &inst) in data.insts.iter().enumerate() {
        instruction(c, scope, inst);
        let ends = position + 1 == data.insts.len();
        match &func.insts[inst] {
            InstData::Yield { args } => {
                c.require(inst, ends, || "a yield ends its block".into());
                let found: SmallVec<[Type; 4]> = args.iter().map(|&v| func.ty(v)).collect();
                c.require(inst, found[..] == *expected, || format!("yields {found:?}, expected {expected:?}"));
            }
            _ if ends => {
                let place = place(c);
                c.report_at(place, format!("{block} does not end in a yield"));
            }
            _ => {}
        }
    }
    if data.insts.is_empty() {
        let place = place(c);
        c.report_at(place, format!("{block} does not end in a yield"));
    }
    for &inst in &data.insts {
        for &result in func.results_of(inst) {
            scope.visible[result] = false;
        }
    }
    for &param in &data.params {
        scope.visible[param] = false;
    }
}

fn instruction(c: &mut Checker<'_>, scope: &mut Scope, inst: Inst) {
    let func = c.func;
    let data = &func.insts[inst];
    if !scope.placed.insert(inst) {
        c.report(inst, "the instruction stands in two places".into());
        return;
    }
    let mut hidden: SmallVec<[Value; 4]> = SmallVec::new();
    data.visit_operands(|v| {
        if !scope.visible[v] {
            hidden.push(v);
        }
    });
    for value in hidden {
        c.report(inst, format!("{value} (numbered in the function) is not defined here"));
    }
    if scope.in_closure {
        let allowed = !matches!(
            data,
            InstData::Store { .. }
                | InstData::Prefetch { .. }
                | InstData::AtomicRmw { .. }
                | InstData::AtomicCas { .. }
                | InstData::AtomicLoad { .. }
                | InstData::AtomicStore { .. }
                | InstData::GridSync
                | InstData::RingNew { .. }
                | InstData::RingAcquire { .. }
                | InstData::RingFill { .. }
                | InstData::RingCommit
                | InstData::RingWait { .. }
                | InstData::RingRead { .. }
                | InstData::DotStart { .. }
                | InstData::DotWait { .. }
                | InstData::Hold { .. }
                | InstData::ClusterSum { .. }
                | InstData::BarrierNew { .. }
                | InstData::BarrierExpect { .. }
                | InstData::BarrierArrive { .. }
                | InstData::BarrierWait { .. }
                | InstData::TmaFill { .. }
                | InstData::TmaStore { .. }
                | InstData::TmaStoreWait
                | InstData::TakeTurn
                | InstData::PassTurn
                | InstData::IsProducer
                | InstData::InlineAsm { pure_: false, .. }
        );
        c.require(inst, allowed, || "a closure of reduce or scan writes no memory and does not synchronize".into());
        let scalars = func.results_of(inst).iter().all(|&r| func.ty(r).is_scalar() || func.ty(r).is_view());
        c.require(inst, scalars, || "a closure of reduce or scan works on scalars".into());
    }
    types::check(c, inst);
    regions(c, scope, inst);
    for (number, &result) in func.results_of(inst).iter().enumerate() {
        if func.values[result].def != ValueDef::Result(inst, number as u16) {
            c.report(inst, format!("result {number} is recorded as {:?}", func.values[result].def));
        }
        scope.visible[result] = true;
    }
}

/// Checks the blocks of a structured instruction: their parameters, what they carry and yield.
fn regions(c: &mut Checker<'_>, scope: &mut Scope, inst: Inst) {
    let func = c.func;
    let results: SmallVec<[Type; 4]> = func.results_of(inst).iter().map(|&v| func.ty(v)).collect();
    let data = &func.insts[inst];
    if matches!(data, InstData::For { .. } | InstData::While { .. } | InstData::If { .. }) {
        let carries_view = data.blocks().iter().any(|&b| {
            let params = func.blocks[b].params.iter();
            params.chain(func.yielded(b)).any(|&v| func.ty(v).is_view())
        });
        let view = carries_view || results.iter().any(|ty| ty.is_view());
        c.require(inst, !view, || "views are not carried by loops or yielded by branches".into());
    }
    match data {
        InstData::For { lo, init, body, .. } => {
            let carried: SmallVec<[Type; 4]> = init.iter().map(|&v| func.ty(v)).collect();
            let params: SmallVec<[Type; 4]> = std::iter::once(func.ty(*lo)).chain(carried.iter().copied()).collect();
            parameters(c, inst, *body, &params);
            c.require(inst, results == carried, || format!("results {results:?}, carried {carried:?}"));
            block(c, scope, *body, Some(inst), &carried);
        }
        InstData::While { init, cond, body } => {
            let carried: SmallVec<[Type; 4]> = init.iter().map(|&v| func.ty(v)).collect();
            parameters(c, inst, *cond, &carried);
            parameters(c, inst, *body, &results);
            let checked: SmallVec<[Type; 4]> = std::iter::once(Type::bool()).chain(results.iter().copied()).collect();
            block(c, scope, *cond, Some(inst), &checked);
            block(c, scope, *body, Some(inst), &carried);
        }
        InstData::If { then, otherwise, .. } => {
            parameters(c, inst, *then, &[]);
            parameters(c, inst, *otherwise, &[]);
            block(c, scope, *then, Some(inst), &results);
            block(c, scope, *otherwise, Some(inst), &results);
        }
        InstData::Reduce { args, combine: Combine::Region(body), .. }
        | InstData::Scan { args, combine: Combine::Region(body), .. } => {
            let elems: SmallVec<[Type; 4]> = args.iter().map(|&v| Type::scalar(func.ty(v).elem())).collect();
            let params: SmallVec<[Type; 8]> = elems.iter().chain(&elems).copied().collect();
            parameters(c, inst, *body, &params);
            let outer = std::mem::replace(&mut scope.in_closure, true);
            block(c, scope, *body, Some(inst), &elems);
            scope.in_closure = outer;
        }
        _ => {}
    }
}

fn parameters(c: &mut Checker<'_>, inst: Inst, block: Block, expected: &[Type]) {
    let found: SmallVec<[Type; 8]> = c.func.blocks[block].params.iter().map(|&v| c.func.ty(v)).collect();
    c.require(inst, found[..] == *expected, || format!("{block} has parameters {found:?}, expected {expected:?}"));
}
