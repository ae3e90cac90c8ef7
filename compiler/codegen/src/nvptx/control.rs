//! Structured control flow as LLVM blocks and phis, assertions.

use std::rc::Rc;

use kiln_ir::{Inst, InstData, Type, TypeData, Value};
use smallvec::SmallVec;

use super::emit::{Emitter, Slot, ViewRegs};
use super::error::{Result, internal};
use super::text::{Label, OpenPhi, Ty, Val};
use crate::host::AssertInfo;

/// Values carried into a block, one list of registers a value.
type Carried = Vec<Vec<Val>>;

impl Emitter<'_> {
    /// `for`: tested before the first trip, then after each, so that the counter never passes the bound.
    pub(super) fn for_loop(&mut self, inst: Inst) -> Result<()> {
        let InstData::For { lo, hi, step, rev, init, body, attrs } = &self.func.insts[inst] else {
            unreachable!("called for loops")
        };
        let (rev, body, programs) = (*rev, *body, attrs.programs);
        let signed = self.func.ty(*lo).scalar_elem().is_none_or(|s| s.is_signed_int());
        let (lo, hi, step) = (self.scalar(*lo), self.scalar(*hi), self.scalar(*step));
        let entering = self.flatten_all(init);
        let params = self.func.blocks[body].params.clone();
        let results: SmallVec<[Value; 4]> = SmallVec::from_slice(self.func.results_of(inst));
        let zero = Val::zero(lo.ty);
        let some = self.w.icmp(if signed { "slt" } else { "ult" }, lo, hi);
        let forward = self.w.icmp(if signed { "sgt" } else { "ugt" }, step, zero);
        let runs = self.w.and(some, forward);
        let first = if rev {
            // lo + (hi - lo - 1) / step * step, with a divisor that is never 0.
            let distance = self.w.sub(hi, lo);
            let last = self.w.sub(distance, Val::int(lo.ty, 1));
            let divisor = self.w.select(forward, step, Val::int(lo.ty, 1));
            let trips = self.w.raw("udiv", last, divisor);
            let back = self.w.mul(trips, step);
            self.w.add(lo, back)
        } else {
            lo
        };
        let (head, exit) = (self.w.new_label(), self.w.new_label());
        let before = self.w.current();
        self.w.branch(runs, head, exit);
        self.w.start(head);
        let (counter, open_counter) = self.w.open_phi(lo.ty);
        let open = self.open_carried(&params[1..], &entering);
        self.define_value(params[0], vec![counter]);
        // Programs are in no order with each other.
        if !programs {
            self.order_enter_loop(&[body]);
        }
        let outside = self.enter_loop();
        self.program_loops += u32::from(programs);
        self.block(body)?;
        self.program_loops -= u32::from(programs);
        self.leave_loop(outside);
        let leaving = self.flatten_all(self.func.yielded(body));
        let (more, next) = if rev {
            let more = self.w.icmp(if signed { "sgt" } else { "ugt" }, counter, lo);
            (more, self.w.sub(counter, step))
        } else {
            let next = self.w.add(counter, step);
            // Where neither bound is negative, the next counter may pass the bound without a carry: one instruction fewer.
            let positive = lo.as_int().is_some_and(|v| v >= 0) && step.as_int().is_some_and(|v| v > 0) && signed;
            let more = if positive {
                self.w.icmp("ult", next, hi)
            } else {
                let left = self.w.sub(hi, counter);
                self.w.icmp("ugt", left, step)
            };
            (more, next)
        };
        let latch = self.w.current();
        self.w.branch(more, head, exit);
        self.w.close_phi(open_counter, &[(first, before), (next, latch)]);
        self.close_carried(open, &entering, before, &leaving, latch);
        self.w.start(exit);
        self.meet(&results, &entering, before, &leaving, latch);
        Ok(())
    }

    pub(super) fn while_loop(&mut self, inst: Inst) -> Result<()> {
        let InstData::While { init, cond, body } = &self.func.insts[inst] else { unreachable!("called for loops") };
        let (cond, body) = (*cond, *body);
        let entering = self.flatten_all(init);
        let params = self.func.blocks[cond].params.clone();
        let results: SmallVec<[Value; 4]> = SmallVec::from_slice(self.func.results_of(inst));
        let (head, inside, exit) = (self.w.new_label(), self.w.new_label(), self.w.new_label());
        let before = self.w.current();
        self.w.jump(head);
        self.w.start(head);
        let open = self.open_carried(&params, &entering);
        self.order_enter_loop(&[cond, body]);
        let outside = self.enter_loop();
        self.block(cond)?;
        self.settle_exchanges();
        let yielded = self.func.yielded(cond);
        let (goes_on, values) = yielded.split_first().ok_or_else(|| internal("a while without a condition"))?;
        let goes_on = self.scalar(*goes_on);
        let values: SmallVec<[Slot; 4]> = values.iter().map(|&v| self.slot(v)).collect();
        self.w.branch(goes_on, inside, exit);
        self.w.start(inside);
        for (&param, slot) in self.func.blocks[body].params.iter().zip(&values) {
            self.set(param, slot.clone());
        }
        self.block(body)?;
        self.leave_loop(outside);
        let leaving = self.flatten_all(self.func.yielded(body));
        let latch = self.w.current();
        self.w.jump(head);
        self.close_carried(open, &entering, before, &leaving, latch);
        self.w.start(exit);
        for (&result, slot) in results.iter().zip(values) {
            self.set(result, slot);
        }
        Ok(())
    }

    pub(super) fn if_else(&mut self, inst: Inst) -> Result<()> {
        let InstData::If { cond, then, otherwise } = &self.func.insts[inst] else { unreachable!("called for ifs") };
        if self.is_role(*cond) {
            return self.split_roles(self.scalar(*cond), *then, *otherwise);
        }
        let cond = self.scalar(*cond);
        let results: SmallVec<[Value; 4]> = SmallVec::from_slice(self.func.results_of(inst));
        let (yes, no, end) = (self.w.new_label(), self.w.new_label(), self.w.new_label());
        let synced = self.scratch.synced;
        let order = self.order.clone();
        self.w.branch(cond, yes, no);
        self.w.start(yes);
        self.scratch.enter_branch();
        self.block(*then)?;
        self.scratch.leave_branch();
        let from_then = self.flatten_all(self.func.yielded(*then));
        let then_end = self.w.current();
        self.w.jump(end);
        let then_synced = std::mem::replace(&mut self.scratch.synced, synced);
        let then_order = std::mem::replace(&mut self.order, order);
        self.w.start(no);
        self.scratch.enter_branch();
        self.block(*otherwise)?;
        self.scratch.leave_branch();
        let from_else = self.flatten_all(self.func.yielded(*otherwise));
        let else_end = self.w.current();
        self.w.jump(end);
        self.scratch.synced &= then_synced;
        self.order.join(then_order);
        self.w.start(end);
        self.meet(&results, &from_then, then_end, &from_else, else_end);
        Ok(())
    }

    /// Stops the launch where a lane of `cond` is false: the driver reports message, file and line.
    pub(super) fn assert(&mut self, inst: Inst, cond: Value, message: &str) {
        let ty = self.func.ty(cond);
        let shape = self.shape(cond);
        let regs = self.regs(cond);
        let mut holds = Val::bool(true);
        match self.spread_of(ty) {
            None => holds = regs[0],
            Some(spread) => {
                for (r, &value) in regs.iter().enumerate() {
                    let inside = spread.inside(&mut self.w, r as u32, &shape);
                    let padding = self.w.not(inside);
                    let fine = self.w.or(padding, value);
                    holds = self.w.and(holds, fine);
                }
            }
        }
        let loc = self.func.locs[inst];
        let (file, line) = match self.module.files.get(loc.file as usize).filter(|_| loc.is_known()) {
            Some(file) => (file.name.to_string(), file.line_col(loc.lo).0),
            None => (String::from("?"), 0),
        };
        self.asserts.push(AssertInfo { message: message.to_owned(), place: self.module.describe(loc), loc });
        let text = [message, &file, &self.func.name].map(|text| self.string(text));
        let (fails, goes_on) = (self.w.new_label(), self.w.new_label());
        self.w.branch(holds, goes_on, fails);
        self.w.start(fails);
        self.w.declare("void @__assertfail(ptr, ptr, i32, ptr, i64)");
        self.w.effect(&format!("call void @__assertfail(ptr {}, ptr {}, i32 {line}, ptr {}, i64 1)", text[0], text[1], text[2]));
        self.w.jump(goes_on);
        self.w.start(goes_on);
    }

    // ---- carried values ----

    fn flatten_all(&self, values: &[Value]) -> Carried {
        values.iter().map(|&v| flatten(&self.slot(v))).collect()
    }

    fn open_carried(&mut self, params: &[Value], entering: &Carried) -> Vec<Vec<OpenPhi>> {
        params
            .iter()
            .zip(entering)
            .map(|(&param, list)| {
                let (values, phis): (Vec<Val>, Vec<OpenPhi>) = list.iter().map(|v| self.w.open_phi(v.ty)).unzip();
                let slot = rebuild(self.func.ty(param), &values);
                self.set(param, slot);
                phis
            })
            .collect()
    }

    fn close_carried(&mut self, open: Vec<Vec<OpenPhi>>, entering: &Carried, before: Label, leaving: &Carried, latch: Label) {
        for (phis, (enter, leave)) in open.into_iter().zip(entering.iter().zip(leaving)) {
            for (phi, (&a, &b)) in phis.into_iter().zip(enter.iter().zip(leave)) {
                self.w.close_phi(phi, &[(a, before), (b, latch)]);
            }
        }
    }

    /// Defines results where two paths meet.
    fn meet(&mut self, results: &[Value], a: &Carried, from_a: Label, b: &Carried, from_b: Label) {
        for (&result, (a, b)) in results.iter().zip(a.iter().zip(b)) {
            let values: Vec<Val> = a
                .iter()
                .zip(b)
                .map(|(&x, &y)| if x == y && !x.is_local() { x } else { self.w.phi(x.ty, &[(x, from_a), (y, from_b)]) })
                .collect();
            let slot = rebuild(self.func.ty(result), &values);
            self.set(result, slot);
        }
    }
}

fn flatten(slot: &Slot) -> Vec<Val> {
    match slot {
        Slot::Tile(regs) => regs.to_vec(),
        Slot::Shared(base) => vec![*base],
        Slot::View(view) => {
            std::iter::once(view.base).chain(view.dims.iter().copied()).chain(view.strides.iter().copied()).collect()
        }
    }
}

fn rebuild(ty: Type, values: &[Val]) -> Slot {
    match ty.data() {
        TypeData::Tile { layout: Some(id), .. } if id.layout().is_shared() => Slot::Shared(values[0]),
        TypeData::Tile { .. } => Slot::Tile(values.into()),
        TypeData::View { rank, .. } => {
            let rank = usize::from(*rank);
            debug_assert!(values[0].ty == Ty::Global && values.len() == 1 + 2 * rank);
            Slot::View(Rc::new(ViewRegs {
                base: values[0],
                dims: SmallVec::from_slice(&values[1..1 + rank]),
                strides: SmallVec::from_slice(&values[1 + rank..]),
            }))
        }
    }
}
