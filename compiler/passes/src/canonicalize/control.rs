//! Rules of loops, branches and regions whose outcome is known.

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Block, Combine, Const, Inst, InstData, ScalarType, Value, ValueDef};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::{Step, Walk, one};
use crate::clone::Cloner;

/// Unrolling by request stops here: so many copies would only slow the compiler down.
const MAX_UNROLLED_TRIPS: i64 = 1024;

impl Walk<'_> {
    pub(super) fn control(&mut self, inst: Inst) -> Step {
        match &self.func.insts[inst] {
            InstData::If { .. } => self.if_(inst),
            InstData::For { .. } => self.for_(inst),
            InstData::While { .. } => self.while_(inst),
            InstData::Reduce { .. } | InstData::Scan { .. } => self.region(inst),
            &(InstData::Assert { cond, .. } | InstData::Assume { cond }) => match self.int(cond) {
                Some(c) if c != 0 => Step::remove(),
                _ => Step::Keep,
            },
            _ => Step::Keep,
        }
    }

    fn if_(&mut self, inst: Inst) -> Step {
        let InstData::If { cond, then, otherwise } = self.func.insts[inst] else { return Step::Keep };
        if let Some(c) = self.int(cond) {
            let taken = if c != 0 { then } else { otherwise };
            return Step::Values(self.splice(taken, &[]));
        }
        if let Some(&InstData::Unary { arg, .. }) = self.def(cond) {
            // Only `!` gives a scalar bool from one operand of that type.
            return self.replace_by(inst, InstData::If { cond: arg, then: otherwise, otherwise: then });
        }
        let results: SmallVec<[Value; 4]> = self.func.results_of(inst).iter().copied().collect();
        let empty = |block: Block| self.func.blocks[block].insts.len() == 1;
        if results.is_empty() {
            return if empty(then) && empty(otherwise) { Step::remove() } else { Step::Keep };
        }
        // Nothing but a choice of scalars: a select.
        if empty(then) && empty(otherwise) && results.iter().all(|&r| self.ty(r).is_scalar()) {
            let pairs: SmallVec<[(Value, Value); 4]> =
                self.func.yielded(then).iter().copied().zip(self.func.yielded(otherwise).iter().copied()).collect();
            let mut values = SmallVec::new();
            for (a, b) in pairs {
                let (a, b) = (self.map.resolve(a), self.map.resolve(b));
                let ty = self.ty(a);
                values.push(self.make(InstData::Select { cond, a, b }, ty));
            }
            return Step::Values(values);
        }
        // Both sides give one value from outside.
        for (number, &result) in results.iter().enumerate() {
            let (a, b) = (self.func.yielded(then)[number], self.func.yielded(otherwise)[number]);
            if a == b && self.map.resolve(result) == result {
                self.map.set(self.func, result, a);
            }
        }
        Step::Keep
    }

    fn for_(&mut self, inst: Inst) -> Step {
        let InstData::For { lo, hi, step, rev, ref init, body, attrs } = self.func.insts[inst] else { return Step::Keep };
        let init: SmallVec<[Value; 4]> = init.iter().copied().collect();
        // Constants of u64 past i64's range look negative.
        let bound = |v: Value| self.int(v).filter(|&c| c >= 0 || self.ty(lo).scalar_elem() != Some(ScalarType::U64));
        let trips = match (bound(lo), bound(hi), bound(step)) {
            (_, _, Some(step)) if step <= 0 => Some(0),
            (Some(lo), Some(hi), _) if lo >= hi => Some(0),
            (Some(lo), Some(hi), Some(step)) => Some(((hi as i128 - lo as i128 - 1) / step as i128 + 1).min(1 << 40) as i64),
            _ if lo == hi => Some(0),
            _ => None,
        };
        match trips {
            Some(0) => return Step::Values(init.iter().copied().collect()),
            Some(1) => {
                let args: SmallVec<[Value; 4]> = std::iter::once(lo).chain(init).collect();
                return Step::Values(self.splice(body, &args));
            }
            Some(trips) if attrs.unroll && trips <= MAX_UNROLLED_TRIPS => {
                let (Some(first), Some(step)) = (self.int(lo), self.int(step)) else { return Step::Keep };
                let ty = self.ty(lo);
                let mut carried = init;
                for trip in 0..trips {
                    let trip = if rev { trips - 1 - trip } else { trip };
                    let counter = self.constant(Const::Int(first + trip * step), ty);
                    let copy = Cloner { src: None, dst: self.func, map: FxHashMap::default() }.block(body);
                    let args: SmallVec<[Value; 4]> = std::iter::once(counter).chain(carried.iter().copied()).collect();
                    carried = self.splice(copy, &args).into_iter().collect();
                }
                return Step::Values(carried.into_iter().collect());
            }
            _ => {}
        }
        // What the body hands on unchanged is what came in.
        for (number, &start) in init.iter().enumerate() {
            let param = self.func.blocks[body].params[number + 1];
            let result = self.func.results_of(inst)[number];
            let next = self.func.yielded(body)[number];
            if self.map.resolve(param) == param && (next == param || next == start) {
                self.map.set(self.func, param, start);
                self.map.set(self.func, result, start);
            }
        }
        Step::Keep
    }

    fn while_(&mut self, inst: Inst) -> Step {
        let InstData::While { ref init, cond, body } = self.func.insts[inst] else { return Step::Keep };
        let init: SmallVec<[Value; 4]> = init.iter().copied().collect();
        if self.func.yielded(cond).first().and_then(|&v| self.int(v)) == Some(0) {
            return Step::Values(self.splice(cond, &init).into_iter().skip(1).collect());
        }
        for (number, &start) in init.iter().enumerate() {
            let param = self.func.blocks[cond].params[number];
            let next = self.func.yielded(body)[number];
            // Unchanged all the way round: through the condition's values and the body's parameters.
            let through = self.func.blocks[body].params.iter().position(|&p| p == next);
            let handed_on = through.map(|at| self.func.yielded(cond)[at + 1]);
            if self.map.resolve(param) == param && (next == start || next == param || handed_on == Some(param)) {
                self.map.set(self.func, param, start);
            }
        }
        // What the condition passes on from outside needs no parameter and no result.
        for at in 0..self.func.results_of(inst).len() {
            let value = self.map.resolve(self.func.yielded(cond)[at + 1]);
            let outside = init.contains(&value) || self.is_argument(value);
            let param = self.func.blocks[body].params[at];
            if outside && self.map.resolve(param) == param {
                let result = self.func.results_of(inst)[at];
                self.map.set(self.func, param, value);
                self.map.set(self.func, result, value);
            }
        }
        Step::Keep
    }

    /// Whether a value is a parameter of the function, which every block sees.
    fn is_argument(&self, value: Value) -> bool {
        matches!(self.func.values[value].def, ValueDef::Param(block, _) if block == self.func.body)
    }

    /// A closure that spells a builtin combination becomes that.
    fn region(&mut self, inst: Inst) -> Step {
        let (InstData::Reduce { args, combine: Combine::Region(body), .. }
        | InstData::Scan { args, combine: Combine::Region(body), .. }) = &self.func.insts[inst]
        else {
            return Step::Keep;
        };
        let (args, body) = (args.clone(), *body);
        let [arg] = args[..] else { return Step::Keep };
        let block = &self.func.blocks[body];
        let (&[a, b], &[only, _]) = (&block.params[..], &block.insts[..]) else { return Step::Keep };
        let InstData::Binary { op, a: x, b: y } = self.func.insts[only] else { return Step::Keep };
        let both = (x, y) == (a, b) || (op.is_commutative() && (x, y) == (b, a));
        if !both || self.func.yielded(body) != [self.func.result(only)] {
            return Step::Keep;
        }
        let float = self.ty(arg).scalar_elem().is_some_and(ScalarType::is_float);
        let builtin = match op {
            BinaryOp::Add => Combine::Add,
            BinaryOp::Mul => Combine::Mul,
            BinaryOp::Max => Combine::Max,
            BinaryOp::Min => Combine::Min,
            BinaryOp::FMax if float => Combine::FMax,
            BinaryOp::FMin if float => Combine::FMin,
            BinaryOp::And => Combine::And,
            BinaryOp::Or => Combine::Or,
            BinaryOp::Xor => Combine::Xor,
            _ => return Step::Keep,
        };
        match &mut self.func.insts[inst] {
            InstData::Reduce { args, combine, .. } | InstData::Scan { args, combine, .. } => {
                *args = one(arg);
                *combine = builtin;
            }
            _ => return Step::Keep,
        }
        Step::Again
    }

    /// Walks a block's instructions into the current one, its parameters standing for `args`. Gives what it yields.
    fn splice(&mut self, block: Block, args: &[Value]) -> SmallVec<[Value; 2]> {
        let params = self.func.blocks[block].params.clone();
        for (&param, &arg) in params.iter().zip(args) {
            self.map.set(self.func, param, arg);
        }
        for inst in std::mem::take(&mut self.func.blocks[block].insts) {
            if let InstData::Yield { args } = &self.func.insts[inst] {
                return args.iter().map(|&v| self.map.resolve(v)).collect();
            }
            self.inst(inst);
        }
        SmallVec::new()
    }
}
