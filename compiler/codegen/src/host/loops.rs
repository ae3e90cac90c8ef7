//! What generators of loops over constant ranges need beside the plain instructions of [`Llvm`]: addressing, loops, lane padding.

use std::ops::Deref;

use crate::llvm::{IntPred, Llvm, Ty, Val};

/// A place in a function under construction. All indexes are `i64`.
#[derive(Clone, Copy)]
pub(crate) struct Emit<'a>(pub &'a Llvm);

impl Deref for Emit<'_> {
    type Target = Llvm;

    fn deref(&self) -> &Llvm {
        self.0
    }
}

impl Emit<'_> {
    /// A constant index.
    pub fn index(&self, value: u64) -> Val {
        self.const_i64(value as i64)
    }

    /// `a + b` for a constant `b`; indexes do not overflow.
    pub fn add_const(&self, a: Val, b: u64) -> Val {
        if b == 0 { a } else { self.add_nsw(a, self.index(b)) }
    }

    /// `a * b` for a constant `b`.
    pub fn mul_const(&self, a: Val, b: u64) -> Val {
        if b == 1 { a } else { self.mul(a, self.index(b)) }
    }

    /// The address of element `index`, a constant, of an array of `elem`.
    pub fn at_const(&self, elem: Ty, base: Val, index: u64) -> Val {
        if index == 0 { base } else { self.gep(elem, base, self.index(index)) }
    }

    /// The first lanes of a vector, or the vector followed by zeros.
    pub fn resize(&self, v: Val, lanes: u32) -> Val {
        let have = self.lanes(v);
        if have == lanes {
            return v;
        }
        let numbers: Vec<_> = (0..lanes).map(|lane| lane.min(have)).collect();
        self.shuffle(v, self.zero(self.ty(v)), &numbers)
    }

    /// `a0 b0 a1 b1 ..`.
    pub fn interleave(&self, a: Val, b: Val) -> Val {
        let lanes = self.lanes(a);
        let numbers: Vec<_> = (0..lanes).flat_map(|lane| [lane, lane + lanes]).collect();
        self.shuffle(a, b, &numbers)
    }

    /// `for i in (0..count).step_by(step)` at run time; `count` and `step` are constants and `step` divides `count`. One trip or none makes no loop.
    pub fn repeat(&self, count: u64, step: u64, mut body: impl FnMut(Val)) {
        if count == 0 {
            return;
        }
        if count == step {
            return body(self.index(0));
        }
        let before = self.current();
        let body_block = self.block("repeat");
        self.br(body_block);
        self.at_end(body_block);
        let i = self.phi(self.i64());
        self.incoming(i, self.index(0), before);
        body(i);
        let next = self.add_const(i, step);
        let more = self.icmp(IntPred::LLVMIntULT, next, self.index(count));
        self.incoming(i, next, self.current());
        let after = self.block("");
        self.cond_br(more, body_block, after);
        self.at_end(after);
    }

    /// `count` trips, at least 1, with values carried from trip to trip; those after the last.
    pub fn repeat_carrying(&self, count: u64, init: &[Val], body: impl FnOnce(&[Val]) -> Vec<Val>) -> Vec<Val> {
        let before = self.current();
        let body_block = self.block("repeat");
        self.br(body_block);
        self.at_end(body_block);
        let left = self.phi(self.i64());
        self.incoming(left, self.index(count), before);
        let carried: Vec<_> = init.iter().map(|&v| self.phi(self.ty(v))).collect();
        let next = body(&carried);
        let still = self.sub(left, self.index(1));
        let more = self.icmp(IntPred::LLVMIntNE, still, self.index(0));
        let end = self.current();
        self.incoming(left, still, end);
        for ((&phi, &first), &next) in carried.iter().zip(init).zip(&next) {
            self.incoming(phi, first, before);
            self.incoming(phi, next, end);
        }
        let after = self.block("");
        self.cond_br(more, body_block, after);
        self.at_end(after);
        next
    }

    /// `body(i)` for `i` in `0..count`, `unroll` of them straight-line in each trip of a run-time loop.
    pub fn unrolled(&self, count: u64, unroll: u64, mut body: impl FnMut(Val)) {
        let looped = count / unroll * unroll;
        self.repeat(looped, unroll, |base| (0..unroll).for_each(|i| body(self.add_const(base, i))));
        (looped..count).for_each(|i| body(self.index(i)));
    }

    /// Runs one of two pieces of code.
    pub fn if_else(&self, cond: Val, then: impl FnOnce(), otherwise: impl FnOnce()) {
        let (then_block, else_block, after) = (self.block(""), self.block(""), self.block(""));
        self.cond_br(cond, then_block, else_block);
        self.at_end(then_block);
        then();
        self.br(after);
        self.at_end(else_block);
        otherwise();
        self.br(after);
        self.at_end(after);
    }
}
