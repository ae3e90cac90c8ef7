//! `inline`: replaces every call by the callee's body. After it a module holds kernels only.
//!
//! Device functions are generic and small and may take tensor views, which no calling convention carries; everything after this pass may assume
//! that there are no calls. Recursion does not exist in the language, so the pass ends.
//!
//! ```text
//! before: v2: f32 = call @1(v1)          ; fn @1 twice(v0: f32) -> (f32) { v1: f32 = add v0, v0  yield v1 }
//! after:  v2: f32 = add v1, v1
//! ```

use cranelift_entity::PrimaryMap;
use kiln_ir::{Block, FuncRef, Function, Inst, InstData, Module};
use rustc_hash::FxHashMap;

use crate::clone::Cloner;
use crate::manager::{PassContext, PassResult};
use crate::replace::Replacements;

/// Runs the pass.
pub(crate) fn run(module: &mut Module, _: &PassContext) -> PassResult {
    let mut kernels = PrimaryMap::new();
    let refs: Vec<FuncRef> = module.funcs.keys().collect();
    for func_ref in refs {
        if !module.funcs[func_ref].is_kernel {
            continue;
        }
        let mut kernel = std::mem::replace(&mut module.funcs[func_ref], Function::new("", true));
        let mut inliner = Inliner { callees: &module.funcs, map: Replacements::default() };
        let body = kernel.body;
        inliner.block(&mut kernel, body);
        kernels.push(kernel);
    }
    module.funcs = kernels;
    Ok(())
}

struct Inliner<'a> {
    callees: &'a PrimaryMap<FuncRef, Function>,
    map: Replacements,
}

impl Inliner<'_> {
    fn block(&mut self, func: &mut Function, block: Block) {
        let insts = std::mem::take(&mut func.blocks[block].insts);
        let mut out = Vec::with_capacity(insts.len());
        self.insts(func, insts, &mut out);
        func.blocks[block].insts = out;
    }

    fn insts(&mut self, func: &mut Function, insts: Vec<Inst>, out: &mut Vec<Inst>) {
        for inst in insts {
            self.map.apply(func, inst);
            if let InstData::Call { func: callee, args } = &func.insts[inst] {
                let callee = &self.callees[*callee];
                let map: FxHashMap<_, _> = callee.param_values().iter().copied().zip(args.iter().copied()).collect();
                let (copies, yielded) = Cloner { src: Some(callee), dst: func, map }.body(callee.body);
                // The copies may hold calls of their own, whose results may be what is yielded.
                self.insts(func, copies, out);
                for (number, value) in yielded.into_iter().enumerate() {
                    let result = func.results_of(inst)[number];
                    self.map.set(func, result, value);
                }
                continue;
            }
            for inner in func.insts[inst].blocks() {
                self.block(func, inner);
            }
            out.push(inst);
        }
    }
}
