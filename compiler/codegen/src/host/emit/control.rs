//! Steps of a block in order; loops and branches whose carried tiles live in slots: one buffer where the planner proved that updating in place is safe, else
//! two that swap every trip.

use kiln_ir::{Block, Inst, InstData, Shape, Value};

use super::{Buffer, Emitter};
use crate::CodegenError;
use crate::host::plan::{Dest, Group, Root, Step};
use crate::llvm::{IntPred, Val};

/// A carried value while its loop is emitted.
enum Slot {
    /// A scalar.
    Scalar(Val),
    /// A tile: the buffer that holds it now and the one its next value goes to (the same when in place).
    Tile { now: Buffer, next: Buffer },
}

impl Emitter<'_> {
    /// Emits a block's steps (its `Yield` is the owner's business).
    pub fn emit_steps(&mut self, block: Block) -> Result<(), CodegenError> {
        let plan = self.plan;
        let Some(steps) = plan.steps.get(&block) else {
            return Err(CodegenError::internal(format!("{block} has no plan")));
        };
        for step in steps {
            match step {
                Step::Scalar(inst) => self.scalar_inst(*inst)?,
                Step::Loop(group) => self.emit_group(group)?,
                Step::Whole(inst) => self.whole(*inst)?,
                Step::Control(inst) => self.control(*inst)?,
            }
        }
        Ok(())
    }

    /// An instruction on whole tiles.
    fn whole(&mut self, inst: Inst) -> Result<(), CodegenError> {
        match &self.func.insts[inst] {
            InstData::Scan { .. } => self.scan(inst),
            InstData::Dot { .. } => self.dot(inst),
            InstData::DotScaled { .. } => self.dot_scaled(inst),
            InstData::Sort { .. } => self.sort(inst),
            InstData::TopK { .. } => self.topk(inst),
            InstData::Histogram { .. } => self.histogram(inst),
            InstData::Cat { .. } => self.cat(inst),
            InstData::AtomicRmw { .. }
            | InstData::AtomicCas { .. }
            | InstData::AtomicLoad { .. }
            | InstData::AtomicStore { .. } => self.atomic(inst),
            InstData::Print { .. } => self.print(inst),
            InstData::InlineAsm { .. } => self.inline_asm(inst),
            other => {
                let name = format!("{other:?}");
                let name = name.split([' ', '{']).next().unwrap_or_default().to_lowercase();
                Err(self.unsupported(inst, format!("`{name}` is not available on the CPU yet")))
            }
        }
    }

    /// Writes the tile `v` to `buffer`, lane by lane where it is inline.
    pub fn materialize_into(&mut self, v: Value, buffer: &Buffer) -> Result<(), CodegenError> {
        if self.buffers.get(&v).is_some_and(|b| b.ptr == buffer.ptr) {
            return Ok(());
        }
        self.slots.push(vec![Some(buffer.clone())]);
        let group = Group {
            shape: Shape::from_slice(self.func.ty(v).shape()),
            reduce_axis: None,
            roots: vec![Root::Materialize(v, Dest::Slot(0))],
        };
        let done = self.emit_group(&group);
        self.slots.pop();
        done
    }

    fn control(&mut self, inst: Inst) -> Result<(), CodegenError> {
        match &self.func.insts[inst] {
            InstData::For { .. } => self.for_loop(inst),
            InstData::While { .. } => self.while_loop(inst),
            _ => self.branch(inst),
        }
    }

    /// Slots with the initial values in place. `in_place`: one entry a carried value.
    fn open_slots(&mut self, init: &[Value], in_place: &[bool]) -> Result<Vec<Slot>, CodegenError> {
        let mut slots = Vec::new();
        for (i, &v) in init.iter().enumerate() {
            if !self.is_tile(v) {
                slots.push(Slot::Scalar(self.scalar(v)?));
                continue;
            }
            let ty = self.func.ty(v);
            let now = self.alloc(ty.elem(), ty.shape());
            let next = if in_place.get(i).copied().unwrap_or(false) { now.clone() } else { self.alloc(ty.elem(), ty.shape()) };
            self.materialize_into(v, &now)?;
            slots.push(Slot::Tile { now, next });
        }
        Ok(slots)
    }

    /// The LLVM values that change from trip to trip.
    fn carried(slots: &[Slot]) -> Vec<Val> {
        let mut list = Vec::new();
        for slot in slots {
            match slot {
                Slot::Scalar(v) => list.push(*v),
                Slot::Tile { now, next } if now.ptr != next.ptr => list.extend([now.ptr, next.ptr]),
                Slot::Tile { .. } => {}
            }
        }
        list
    }

    /// The same slots with other LLVM values, in `carried` order.
    fn with_carried(slots: &[Slot], values: &[Val]) -> Vec<Slot> {
        let mut values = values.iter().copied();
        let mut take = |old: Val| values.next().unwrap_or(old);
        slots
            .iter()
            .map(|slot| match slot {
                Slot::Scalar(v) => Slot::Scalar(take(*v)),
                Slot::Tile { now, next } if now.ptr != next.ptr => {
                    let (a, b) = (take(now.ptr), take(next.ptr));
                    Slot::Tile { now: Buffer { ptr: a, ..now.clone() }, next: Buffer { ptr: b, ..next.clone() } }
                }
                Slot::Tile { now, next } => Slot::Tile { now: now.clone(), next: next.clone() },
            })
            .collect()
    }

    /// Binds values (block parameters, results) to what the slots hold now.
    fn bind(&mut self, values: &[Value], slots: &[Slot]) {
        for (&v, slot) in values.iter().zip(slots) {
            match slot {
                Slot::Scalar(s) => {
                    self.scalars.insert(v, *s);
                }
                Slot::Tile { now, .. } => {
                    self.buffers.insert(v, now.clone());
                }
            }
        }
    }

    /// Emits a block with the slots as destinations and gives the slots after its yield. `params` are the values that hold the slots during the block.
    fn run_block(&mut self, block: Block, params: &[Value], args: &[Value], slots: &[Slot]) -> Result<Vec<Slot>, CodegenError> {
        let targets = slots.iter().map(|s| if let Slot::Tile { next, .. } = s { Some(next.clone()) } else { None }).collect();
        self.slots.push(targets);
        let mark = self.mark();
        let done = self.emit_steps(block);
        self.release(mark);
        self.slots.pop();
        done?;
        let mut after = Vec::new();
        for (i, slot) in slots.iter().enumerate() {
            after.push(match slot {
                Slot::Scalar(_) => Slot::Scalar(self.scalar(args[i])?),
                // Passed through unchanged.
                Slot::Tile { now, next } if params.get(i) == Some(&args[i]) => {
                    Slot::Tile { now: now.clone(), next: next.clone() }
                }
                Slot::Tile { now, next } => Slot::Tile { now: next.clone(), next: now.clone() },
            });
        }
        Ok(after)
    }

    fn for_loop(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::For { lo, hi, step, rev, init, body, .. } = &func.insts[inst] else {
            return Err(CodegenError::internal("not a loop"));
        };
        let (lo_v, hi_v, step_v) = (self.scalar(*lo)?, self.scalar(*hi)?, self.scalar(*step)?);
        let signed = func.ty(*lo).scalar_elem().is_some_and(|s| s.is_signed_int());
        let ty = self.b.ty(lo_v);
        let i64_ty = self.b.i64();
        // The number of trips, in unsigned 64-bit arithmetic that cannot wrap.
        let l = &self.b;
        let wide = |v| if signed { l.sext(v, i64_ty) } else { l.zext(v, i64_ty) };
        let (lo_w, hi_w, step_w) = (wide(lo_v), wide(hi_v), wide(step_v));
        let (less, positive) = if signed {
            (l.icmp(IntPred::LLVMIntSLT, lo_w, hi_w), l.icmp(IntPred::LLVMIntSGT, step_w, l.const_i64(0)))
        } else {
            (l.icmp(IntPred::LLVMIntULT, lo_w, hi_w), l.icmp(IntPred::LLVMIntNE, step_w, l.const_i64(0)))
        };
        let runs = l.and(less, positive);
        let safe_step = l.select(positive, step_w, l.const_i64(1));
        let span = l.sub(l.sub(hi_w, lo_w), l.const_i64(1));
        let trips = l.add(l.udiv(span, safe_step), l.const_i64(1));
        let trips = l.select(runs, trips, l.const_i64(0));
        let (first, delta) = if *rev {
            let last = l.add(lo_v, l.mul(l.trunc(l.sub(trips, l.const_i64(1)), ty), step_v));
            (last, l.neg(step_v))
        } else {
            (lo_v, step_v)
        };

        let params = func.blocks[*body].params.to_vec();
        let in_place = self.plan.in_place.get(body).cloned().unwrap_or_default();
        let slots = self.open_slots(init, &in_place)?;
        let mut carried = vec![first];
        carried.extend(Self::carried(&slots));
        let open = self.b.begin_loop(self.b.const_i64(0), self.b.const_i64(1), &carried);
        let inside = Self::with_carried(&slots, &open.carried[1..]);
        let counter = open.carried[0];
        self.scalars.insert(params[0], counter);
        self.bind(&params[1..], &inside);
        let args = func.yielded(*body).to_vec();
        let after = self.run_block(*body, &params[1..], &args, &inside)?;
        let mut next = vec![self.b.add(counter, delta)];
        next.extend(Self::carried(&after));
        let last = self.b.end_loop(open, trips, &next);
        let done = Self::with_carried(&slots, &last[1..]);
        self.bind(func.results_of(inst), &done);
        Ok(())
    }

    fn while_loop(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::While { init, cond, body } = &func.insts[inst] else {
            return Err(CodegenError::internal("not a loop"));
        };
        let (cond, body) = (*cond, *body);
        // A tile needs one buffer only where neither block needs two.
        let (c, b) = (
            self.plan.in_place.get(&cond).cloned().unwrap_or_default(),
            self.plan.in_place.get(&body).cloned().unwrap_or_default(),
        );
        let in_place: Vec<bool> = c.iter().zip(&b).map(|(&c, &b)| c && b).collect();
        let slots = self.open_slots(init, &in_place)?;
        let start = Self::carried(&slots);
        let before = self.b.current();
        let (head, inner, exit) = (self.b.block("while"), self.b.block("while_body"), self.b.block("while_done"));
        self.b.br(head);
        self.b.at_end(head);
        let phis: Vec<Val> = start
            .iter()
            .map(|&v| {
                let phi = self.b.phi(self.b.ty(v));
                self.b.incoming(phi, v, before);
                phi
            })
            .collect();
        let inside = Self::with_carried(&slots, &phis);
        let params = func.blocks[cond].params.to_vec();
        self.bind(&params, &inside);
        let yielded = func.yielded(cond).to_vec();
        let tested = self.run_block(cond, &params, &yielded[1..], &inside)?;
        let go = self.scalar(yielded[0])?;
        self.b.cond_br(go, inner, exit);
        self.b.at_end(inner);
        let params = func.blocks[body].params.to_vec();
        self.bind(&params, &tested);
        let yielded = func.yielded(body).to_vec();
        let after = self.run_block(body, &params, &yielded, &tested)?;
        let latch = self.b.current();
        self.b.br(head);
        for (&phi, v) in phis.iter().zip(Self::carried(&after)) {
            self.b.incoming(phi, v, latch);
        }
        self.b.at_end(exit);
        self.bind(func.results_of(inst), &tested);
        Ok(())
    }

    fn branch(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::If { cond, then, otherwise } = &func.insts[inst] else {
            return Err(CodegenError::internal("not a branch"));
        };
        let cond = self.scalar(*cond)?;
        let results = func.results_of(inst).to_vec();
        let targets: Vec<Option<Buffer>> = results
            .iter()
            .map(|&r| {
                self.is_tile(r).then(|| {
                    let ty = func.ty(r);
                    self.alloc(ty.elem(), ty.shape())
                })
            })
            .collect();
        let (yes, no, join) = (self.b.block("then"), self.b.block("else"), self.b.block("join"));
        self.b.cond_br(cond, yes, no);
        let mut incoming = Vec::new();
        for (at, block) in [(yes, *then), (no, *otherwise)] {
            self.b.at_end(at);
            self.slots.push(targets.clone());
            let mark = self.mark();
            let done = self.emit_steps(block);
            self.release(mark);
            self.slots.pop();
            done?;
            let scalars: Vec<Option<Val>> = func
                .yielded(block)
                .iter()
                .map(|&v| if self.is_tile(v) { Ok(None) } else { self.scalar(v).map(Some) })
                .collect::<Result<_, _>>()?;
            incoming.push((self.b.current(), scalars));
            self.b.br(join);
        }
        self.b.at_end(join);
        for (i, &r) in results.iter().enumerate() {
            if let Some(buffer) = &targets[i] {
                self.buffers.insert(r, buffer.clone());
                continue;
            }
            let (Some(a), Some(b)) = (incoming[0].1[i], incoming[1].1[i]) else {
                return Err(CodegenError::internal("a branch yields no scalar"));
            };
            let phi = self.b.phi(self.b.ty(a));
            self.b.incoming(phi, a, incoming[0].0);
            self.b.incoming(phi, b, incoming[1].0);
            self.scalars.insert(r, phi);
        }
        Ok(())
    }
}
