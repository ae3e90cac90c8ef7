//! Atomics: one thread performs each element's operation, in inline PTX with its order and scope; all threads that hold a
//! copy of the element get the old value. What PTX does not have (floats' max and min, elements of 8 and 16 bits) is a
//! compare-and-swap loop.
//!
//! An order holds for the whole program: a barrier before a release gathers what all threads did, a barrier after an acquire
//! lets all of them see what was acquired.

use kiln_ir::ops::{AtomicOp, BinaryOp, MemOrder, MemScope};
use kiln_ir::{Elem, Inst, InstData, Place, ScalarType, Value};

use super::emit::{Emitter, from_memory, to_memory};
use super::error::Result;
use super::text::{Asm, Ty, Val, int_of};

/// The parts all atomic instructions have.
struct Parts<'a> {
    place: &'a Place,
    mask: Option<Value>,
    order: MemOrder,
    scope: MemScope,
    /// A value of the access's type.
    typed: Value,
}

impl Emitter<'_> {
    pub(super) fn atomic(&mut self, inst: Inst) -> Result<()> {
        let data = &self.func.insts[inst];
        let parts = match data {
            InstData::AtomicRmw { place, value, mask, order, scope, .. }
            | InstData::AtomicCas { place, value, mask, order, scope, .. }
            | InstData::AtomicStore { place, value, mask, order, scope } => {
                Parts { place, mask: *mask, order: *order, scope: *scope, typed: *value }
            }
            InstData::AtomicLoad { place, mask, order, scope } => {
                Parts { place, mask: *mask, order: *order, scope: *scope, typed: self.func.result(inst) }
            }
            other => unreachable!("not an atomic: {other:?}"),
        };
        let elem = self.func.ty(parts.typed).elem();
        self.order_before(inst);
        if matches!(parts.order, MemOrder::Release | MemOrder::AcqRel) {
            self.barrier();
        }
        let tile = self.tile(inst, parts.typed);
        let mut addresses = self.addresses(parts.place, parts.mask, &tile)?;
        let count = self.register_count(self.func.ty(parts.typed));
        let mut regs = vec![Val::zero(self.value_type(elem)); count];
        for r in 0..count as u32 {
            let address = self.address(&mut addresses, &tile, r)?;
            let predicate = self.predicate(&mut addresses, &tile, r, true)?;
            if let Some(old) = self.atomic_one(data, &parts, elem, r, address, predicate)? {
                regs[r as usize] = from_memory(&mut self.w, old, elem, self.index);
            }
        }
        if matches!(parts.order, MemOrder::Acquire | MemOrder::AcqRel) {
            self.barrier();
        }
        if !self.func.results_of(inst).is_empty() {
            let result = self.func.result(inst);
            if self.is_used(result) {
                regs = self.share_with_copies(result, regs)?;
            }
            self.define(inst, regs);
        }
        Ok(())
    }

    /// One element; the old value in its memory form, for instructions that have one.
    fn atomic_one(
        &mut self,
        data: &InstData,
        parts: &Parts,
        elem: Elem,
        r: u32,
        address: Val,
        predicate: Val,
    ) -> Result<Option<Val>> {
        let ty = super::params::memory_type(elem);
        let raw = |e: &mut Self, value: Value| {
            let v = e.regs(value)[r as usize];
            let v = to_memory(&mut e.w, v, elem);
            e.w.bitcast(v, ty.int())
        };
        let (order, scope) = (order_name(parts.order), scope_name(parts.scope));
        let bits = ty.bits();
        let old = match data {
            InstData::AtomicRmw { op, value, .. } => {
                if self.is_native(*op, elem) {
                    let operand = raw(self, *value);
                    let kind = rmw_type(*op, elem);
                    let ptx = format!("atom.{order}.{scope}.global.{kind} %r, [%a], %0;");
                    self.predicated(&ptx, bits, address, &[operand], predicate)
                } else {
                    let value = self.regs(*value)[r as usize];
                    let op = *op;
                    self.by_exchange(parts, elem, address, predicate, |e, old| e.rmw_value(op, elem, old, value))
                }
            }
            InstData::AtomicCas { expected, value, .. } if bits == 8 => {
                let (expected, value) = (self.regs(*expected)[r as usize], self.regs(*value)[r as usize]);
                self.by_exchange(parts, elem, address, predicate, |e, old| {
                    let equal = e.w.icmp("eq", old, expected);
                    e.w.select(equal, value, old)
                })
            }
            InstData::AtomicCas { expected, value, .. } => {
                let (expected, value) = (raw(self, *expected), raw(self, *value));
                let ptx = format!("atom.{order}.{scope}.global.cas.b{bits} %r, [%a], %0, %1;");
                self.predicated(&ptx, bits, address, &[expected, value], predicate)
            }
            InstData::AtomicLoad { .. } => {
                self.predicated(&format!("ld.{order}.{scope}.global.b{bits} %r, [%a];"), bits, address, &[], predicate)
            }
            InstData::AtomicStore { value, .. } => {
                let operand = raw(self, *value);
                let (operand, constraint) = self.in_register(operand);
                let ptx = format!("@$2 st.{order}.{scope}.global.b{bits} [$0], $1;");
                self.w.asm(&[], Asm::Memory, &ptx, &format!("l,{constraint},b"), &[address, operand, predicate]);
                return Ok(None);
            }
            other => unreachable!("not an atomic: {other:?}"),
        };
        Ok(Some(self.w.bitcast(old, ty)))
    }

    /// Whether PTX has the operation for the type, with any order and scope.
    fn is_native(&self, op: AtomicOp, elem: Elem) -> bool {
        use ScalarType::*;
        let word = |s: ScalarType| s.bits() >= 32 && !s.is_float();
        match (op, elem) {
            (AtomicOp::Add, Elem::Scalar(F16 | F32 | F64)) => true,
            (AtomicOp::Add, Elem::Scalar(BF16)) => self.target.sm >= 90,
            (AtomicOp::Xchg, _) => elem.bytes() >= 4,
            (_, Elem::Scalar(s)) => word(s),
            (_, Elem::Ptr { .. }) => false,
        }
    }

    /// What a read-modify-write leaves.
    fn rmw_value(&mut self, op: AtomicOp, elem: Elem, old: Val, value: Val) -> Val {
        let op = match op {
            AtomicOp::Add => BinaryOp::Add,
            AtomicOp::Max => BinaryOp::Max,
            AtomicOp::Min => BinaryOp::Min,
            AtomicOp::And => BinaryOp::And,
            AtomicOp::Or => BinaryOp::Or,
            AtomicOp::Xor => BinaryOp::Xor,
            AtomicOp::Xchg => return value,
        };
        self.binary_one(op, elem.scalar().unwrap_or(ScalarType::U64), old, value)
    }

    /// An instruction under a predicate with a result that is 0 where the predicate is false. In `ptx`, `%r` is the result, `%a`
    /// the address, `%0` and `%1` the operands.
    pub(super) fn predicated(&mut self, ptx: &str, bits: u32, address: Val, operands: &[Val], predicate: Val) -> Val {
        let mut args = vec![address];
        let mut constraints = String::from("l");
        for &operand in operands {
            let (operand, constraint) = self.in_register(operand);
            args.push(operand);
            constraints.push(',');
            constraints.push(constraint);
        }
        args.push(predicate);
        let (result, out, mov) = match bits {
            8 | 16 => (Ty::I16, 'h', 16),
            64 => (Ty::I64, 'l', 64),
            _ => (Ty::I32, 'r', 32),
        };
        let text = ptx.replace("%r", "$0").replace("%a", "$1").replace("%0", "$2").replace("%1", "$3");
        let text = format!("mov.b{mov} $0, 0;\n\t@${} {text}", args.len());
        let old = self.w.asm(&[result], Asm::Memory, &text, &format!("=&{out},{constraints},b"), &args)[0];
        if bits == 8 { self.w.cast("trunc", old, Ty::I8) } else { old }
    }

    fn in_register(&mut self, v: Val) -> (Val, char) {
        match v.ty.bits() {
            8 => (self.w.cast("zext", v, Ty::I16), 'h'),
            16 => (v, 'h'),
            64 => (v, 'l'),
            _ => (v, 'r'),
        }
    }

    /// An operation that PTX does not have, by compare and swap until nothing came between. Elements of a byte are swapped with their neighbour.
    fn by_exchange(
        &mut self,
        parts: &Parts<'_>,
        elem: Elem,
        address: Val,
        predicate: Val,
        update: impl FnOnce(&mut Self, Val) -> Val,
    ) -> Val {
        let ty = super::params::memory_type(elem);
        let bits = ty.bits().max(16);
        let word = int_of(bits);
        let scope = scope_name(parts.scope);
        let order = order_name(parts.order);
        let narrow = ty.bits() == 8;
        let (address, shift) = if narrow { self.halfword(address) } else { (address, Val::zero(word)) };
        let first = self.predicated(&format!("ld.relaxed.{scope}.global.b{bits} %r, [%a];"), bits, address, &[], predicate);
        let before = self.w.current();
        let (again, done) = (self.w.new_label(), self.w.new_label());
        self.w.branch(predicate, again, done);
        self.w.start(again);
        let (expected, open) = self.w.open_phi(word);
        let field = if narrow { self.field(expected, shift) } else { expected };
        let old = self.w.bitcast(field, ty);
        let old = from_memory(&mut self.w, old, elem, self.index);
        let new = update(self, old);
        let new = to_memory(&mut self.w, new, elem);
        let mut new = self.w.bitcast(new, ty.int());
        if narrow {
            let wide = self.w.cast("zext", new, word);
            let placed = self.w.raw("shl", wide, shift);
            let hole = self.w.raw("shl", Val::int(word, 0xff), shift);
            let hole = self.w.not(hole);
            let rest = self.w.and(expected, hole);
            new = self.w.or(rest, placed);
        }
        let ptx = format!("atom.{order}.{scope}.global.cas.b{bits} %r, [%a], %0, %1;");
        let found = self.predicated(&ptx, bits, address, &[expected, new], Val::bool(true));
        let swapped = self.w.icmp("eq", found, expected);
        let latch = self.w.current();
        self.w.branch(swapped, done, again);
        self.w.close_phi(open, &[(first, before), (found, latch)]);
        self.w.start(done);
        let last = self.w.phi(word, &[(first, before), (found, latch)]);
        if narrow { self.field(last, shift) } else { last }
    }

    /// The 16 bits that hold a byte, and how far up in them it is.
    fn halfword(&mut self, address: Val) -> (Val, Val) {
        let at = self.w.bitcast(address, Ty::I64);
        let even = self.w.and(at, Val::int(Ty::I64, -2));
        let even = self.w.bitcast(even, Ty::Global);
        let odd = self.w.cast("trunc", at, Ty::I16);
        let odd = self.w.and(odd, Val::int(Ty::I16, 1));
        (even, self.w.shl(odd, 3))
    }

    fn field(&mut self, word: Val, shift: Val) -> Val {
        let down = self.w.raw("lshr", word, shift);
        self.w.cast("trunc", down, Ty::I8)
    }

    /// Old values reach the threads that hold copies of their elements.
    fn share_with_copies(&mut self, result: Value, regs: Vec<Val>) -> Result<Vec<Val>> {
        let ty = self.func.ty(result);
        let elem = ty.elem();
        let shape = self.shape(result);
        let Some(spread) = self.spread_of(ty) else {
            let base = self.scratch(elem.bytes());
            let tile = super::shared_tile::SharedTile { base, elem };
            let first = self.first_thread();
            self.shared_store(&tile, Val::i32(0), regs[0], first);
            self.barrier();
            return Ok(vec![self.shared_load(&tile, Val::i32(0))]);
        };
        let Some(owner) = spread.owner() else { return Ok(regs) };
        let extents = spread.layout.physical();
        let base = self.scratch(extents.iter().product::<u32>() * elem.bytes());
        let tile = super::shared_tile::SharedTile { base, elem };
        for r in 0..regs.len() as u32 {
            let at = self.flat_index(&spread, r, &extents);
            self.shared_store(&tile, at, regs[r as usize], owner);
        }
        self.barrier();
        debug_assert_eq!(shape.len(), extents.len());
        Ok((0..regs.len() as u32)
            .map(|r| {
                let at = self.flat_index(&spread, r, &extents);
                self.shared_load(&tile, at)
            })
            .collect())
    }

    fn is_used(&self, value: Value) -> bool {
        let mut used = false;
        self.func.walk(|_, inst| self.func.insts[inst].visit_operands(|v| used |= v == value));
        used
    }
}

fn order_name(order: MemOrder) -> &'static str {
    match order {
        MemOrder::Relaxed => "relaxed",
        MemOrder::Acquire => "acquire",
        MemOrder::Release => "release",
        MemOrder::AcqRel => "acq_rel",
    }
}

fn scope_name(scope: MemScope) -> &'static str {
    match scope {
        MemScope::Device => "gpu",
        MemScope::Program => "cta",
        MemScope::System => "sys",
    }
}

/// The operation and type of an `atom` instruction.
fn rmw_type(op: AtomicOp, elem: Elem) -> String {
    use ScalarType::*;
    let bits = elem.bytes() * 8;
    match (op, elem) {
        (AtomicOp::Add, Elem::Scalar(F16)) => "add.noftz.f16".to_owned(),
        (AtomicOp::Add, Elem::Scalar(BF16)) => "add.noftz.bf16".to_owned(),
        (AtomicOp::Add, Elem::Scalar(F32 | F64)) => format!("add.f{bits}"),
        // Two's complement sums are the same signed and unsigned; PTX has no add.s64.
        (AtomicOp::Add, _) => format!("add.u{bits}"),
        (AtomicOp::Max | AtomicOp::Min, Elem::Scalar(s)) => {
            format!("{op}.{}{bits}", if s.is_signed_int() { 's' } else { 'u' })
        }
        (AtomicOp::Xchg, _) => format!("exch.b{bits}"),
        (op, _) => format!("{op}.b{bits}"),
    }
}
