//! Collects what a function says of its integers, in one walk in order.

use kiln_ir::ops::{BinaryOp, CmpOp, UnaryOp};
use kiln_ir::{Block, Combine, Const, Function, Inst, InstData, ScalarType, Value};
use smallvec::{SmallVec, smallvec};

use super::fact::{Fact, binary_fact, dim_fact, gcd, stride_fact, type_fact, within_type};
use super::{Bounds, Numbers, is_integer};
use crate::analysis::linear::{Atom, Linear};

impl Numbers {
    pub(super) fn block(&mut self, func: &Function, block: Block) {
        for &inst in &func.blocks[block].insts {
            self.inst(func, inst, block == func.body);
        }
    }

    pub(super) fn inst(&mut self, func: &Function, inst: Inst, at_top: bool) {
        match &func.insts[inst] {
            InstData::For { lo, hi, step, body, .. } => {
                let counter = func.blocks[*body].params[0];
                self.counter(func, counter, *lo, *hi, *step);
                self.block(func, *body);
                return;
            }
            InstData::Assume { cond } if at_top => return self.assume(func, *cond),
            InstData::If { then, otherwise, .. } => {
                self.block(func, *then);
                self.block(func, *otherwise);
                for (number, &result) in func.results_of(inst).iter().enumerate() {
                    if is_integer(func, result) {
                        let (a, b) = (func.yielded(*then)[number], func.yielded(*otherwise)[number]);
                        self.facts[result] = Some(self.fact(func, a).union(self.fact(func, b)));
                    }
                }
                return;
            }
            data => {
                for inner in data.blocks() {
                    self.block(func, inner);
                }
            }
        }
        for &result in func.results_of(inst) {
            if is_integer(func, result) {
                let fact = self.transfer(func, inst, result);
                self.facts[result] = Some(within_type(fact, func.ty(result).scalar_elem()));
                if func.ty(result).is_scalar()
                    && let Some(e) = self.scalar_expression(func, inst, result)
                {
                    self.linear.insert(result, e);
                }
            }
        }
    }

    pub(super) fn counter(&mut self, func: &Function, counter: Value, lo: Value, hi: Value, step: Value) {
        if !is_integer(func, counter) {
            return;
        }
        let (l, h, s) = (self.fact(func, lo), self.fact(func, hi), self.fact(func, step));
        let fact = Fact { min: l.min, max: h.max.saturating_sub(1).max(l.min), divisor: gcd(l.divisor, s.divisor) };
        self.facts[counter] = Some(fact);
        let (from, to) = (self.expression(lo), self.expression(hi));
        let mut upper: SmallVec<[Linear; 2]> = SmallVec::new();
        if let Some(step) = s.as_exact().filter(|&c| c > 0) {
            // lo + (end - lo) / step * step: the whole steps before `end`. The loop runs, so there is at least one.
            if let Some(end) = self.whole_steps(&from, &to, step) {
                upper.extend(end.offset(-step));
            }
            let distance = to.plus(-1, &from).and_then(|d| self.normalize(&d));
            if distance.is_some_and(|d| self.divisor_of(&d).is_multiple_of(step.unsigned_abs())) {
                upper.extend(to.offset(-step));
            }
        }
        upper.extend(to.offset(-1));
        self.bounds.insert(Atom::Value(counter), Bounds { lower: smallvec![from], upper });
    }

    /// `end`, when `hi` is `lo + (end - lo) / step * step` as loop splitting writes it.
    pub(super) fn whole_steps(&self, lo: &Linear, hi: &Linear, step: i64) -> Option<Linear> {
        let rounded = hi.plus(-1, lo)?;
        let [(quotient, factor)] = rounded.terms[..] else { return None };
        let (distance, divisor) = self.quotients.get(&quotient)?;
        if rounded.constant == 0 && factor == step && *divisor == step { distance.plus(1, lo) } else { None }
    }

    /// Takes it that a loop's counter only does whole steps: `counter + step <= hi`.
    pub fn suppose_whole_steps(&mut self, func: &Function, counter: Value, hi: Value, step: Value) {
        if let Some(step) = self.fact(func, step).as_exact()
            && let Some(last) = self.expression(hi).offset(-step)
        {
            self.bounds.entry(Atom::Value(counter)).or_default().upper.insert(0, last);
        }
    }

    /// Whether `lo` is where the whole steps up to `hi` end: a loop from there is the remainder of a split.
    pub fn ends_whole_steps(&self, func: &Function, lo: Value, hi: Value, step: Value) -> bool {
        let Some(step) = self.fact(func, step).as_exact() else { return false };
        let (lo, hi) = (self.expression(lo), self.expression(hi));
        lo.terms.iter().filter(|(_, factor)| *factor == step).any(|&(quotient, _)| {
            let start = lo.substitute(quotient, step, &Linear::default());
            start.is_some_and(|start| self.whole_steps(&start, &lo, step).as_ref() == Some(&hi))
        })
    }

    pub(super) fn assume(&mut self, func: &Function, cond: Value) {
        match func.def_data(cond) {
            Some(&InstData::Binary { op: BinaryOp::And, a, b }) => {
                self.assume(func, a);
                self.assume(func, b);
            }
            Some(&InstData::Cmp { op, a, b }) if is_integer(func, a) => self.assume_cmp(func, op, a, b),
            _ => {}
        }
    }

    pub(super) fn assume_cmp(&mut self, func: &Function, op: CmpOp, a: Value, b: Value) {
        if op == CmpOp::Eq
            && let Some(&InstData::Binary { op: BinaryOp::Rem, a: x, b: c }) = func.def_data(a)
            && self.fact(func, b).as_exact() == Some(0)
            && let Some(c) = self.fact(func, c).as_exact().filter(|&c| c > 0)
        {
            let e = self.expression(x);
            self.refine(func, x, &e, |fact| fact.divisor = fact.divisor / gcd(fact.divisor, c as u64) * c as u64);
            return;
        }
        let (x, y) = (self.expression(a), self.expression(b));
        let (fa, fb) = (self.fact(func, a), self.fact(func, b));
        match op {
            CmpOp::Eq => {
                self.equation(&x, &y);
                let (min, max) = (fa.min.max(fb.min), fa.max.min(fb.max));
                for (v, e) in [(a, &x), (b, &y)] {
                    self.refine(func, v, e, |fact| (fact.min, fact.max) = (min, max));
                }
            }
            CmpOp::Lt | CmpOp::Le => {
                let strict = i64::from(op == CmpOp::Lt);
                self.refine(func, a, &x, |fact| fact.max = fact.max.min(fb.max.saturating_sub(strict)));
                self.refine(func, b, &y, |fact| fact.min = fact.min.max(fa.min.saturating_add(strict)));
                self.less(&x, &y, strict);
            }
            CmpOp::Gt => self.assume_cmp(func, CmpOp::Lt, b, a),
            CmpOp::Ge => self.assume_cmp(func, CmpOp::Le, b, a),
            CmpOp::Ne => {}
        }
    }

    /// Notes `x + strict <= y` where one side is an atom.
    pub(super) fn less(&mut self, x: &Linear, y: &Linear, strict: i64) {
        if let [(atom, 1)] = x.terms[..]
            && let Some(upper) = y.offset(-strict).and_then(|e| e.offset(x.constant.checked_neg()?))
        {
            self.bounds.entry(atom).or_default().upper.push(upper);
        }
        if let [(atom, 1)] = y.terms[..]
            && let Some(lower) = x.offset(strict).and_then(|e| e.offset(y.constant.checked_neg()?))
        {
            self.bounds.entry(atom).or_default().lower.push(lower);
        }
    }

    pub(super) fn refine(&mut self, func: &Function, value: Value, e: &Linear, change: impl Fn(&mut Fact)) {
        let mut fact = self.fact(func, value);
        change(&mut fact);
        self.facts[value] = Some(fact);
        if let [(atom, 1)] = e.terms[..]
            && e.constant == 0
        {
            let mut fact = self.atom_fact(atom);
            change(&mut fact);
            self.atoms.insert(atom, fact);
        }
    }

    /// Solves `x == y` for an atom that stands alone and is not used in what it equals.
    pub(super) fn equation(&mut self, x: &Linear, y: &Linear) {
        let difference = x.plus(-1, y).and_then(|d| self.normalize(&d));
        let Some(difference) = difference else { return };
        let solvable = |a: &Atom| matches!(a, Atom::NumPrograms(_) | Atom::Dim(..));
        let Some(&(atom, factor)) = difference
            .terms
            .iter()
            .rev()
            .find(|(a, f)| f.abs() == 1 && solvable(a))
            .or_else(|| difference.terms.iter().rev().find(|(_, f)| f.abs() == 1))
        else {
            return;
        };
        let mut rest = difference;
        rest.terms.retain(|t| t.0 != atom);
        if let Some(solution) = rest.times(-factor) {
            // What bounds the one side bounds the other.
            if let [(other, f)] = solution.terms[..]
                && f > 0
            {
                let (of_atom, mut of_other) = (self.atom_fact(atom), self.atom_fact(other));
                if of_atom.max < i64::MAX {
                    of_other.max = of_other.max.min(of_atom.max.saturating_sub(solution.constant).div_euclid(f));
                }
                if of_atom.min > i64::MIN {
                    of_other.min = of_other.min.max(-solution.constant.saturating_sub(of_atom.min).div_euclid(f));
                }
                self.atoms.insert(other, of_other);
            }
            self.equal.insert(atom, solution);
        }
    }

    /// The expression of a scalar result.
    pub(super) fn scalar_expression(&mut self, func: &Function, inst: Inst, result: Value) -> Option<Linear> {
        match &func.insts[inst] {
            InstData::ViewDim { view, axis } => {
                let e = self.dim(func, *view, usize::from(*axis))?;
                if let [(atom, 1)] = e.terms[..]
                    && e.constant == 0
                {
                    let known = self.facts[result].unwrap_or(Fact::ANY);
                    self.atoms.entry(atom).or_insert(known);
                }
                Some(e)
            }
            InstData::NumPrograms { axis } => Some(Linear::atom(Atom::NumPrograms(*axis))),
            InstData::ProgramId { axis } => {
                let atom = Atom::ProgramId(*axis);
                let last = Linear::atom(Atom::NumPrograms(*axis)).offset(-1)?;
                self.bounds.insert(atom, Bounds { lower: smallvec![Linear::constant(0)], upper: smallvec![last] });
                Some(Linear::atom(atom))
            }
            &InstData::Cast { arg } if self.keeps_value(func, arg, result) && is_integer(func, arg) => Some(self.expression(arg)),
            &InstData::Unary { op: UnaryOp::Neg, arg } if func.ty(arg).scalar_elem() == Some(ScalarType::Index) => {
                self.expression(arg).times(-1)
            }
            &InstData::Binary { op, a, b } => self.binary_expression(func, op, a, b, result),
            _ => None,
        }
    }

    pub(super) fn binary_expression(
        &mut self,
        func: &Function,
        op: BinaryOp,
        a: Value,
        b: Value,
        result: Value,
    ) -> Option<Linear> {
        if !self.is_exact(func, result) {
            return None;
        }
        let (x, y) = (self.expression(a), self.expression(b));
        match op {
            BinaryOp::Add => x.plus(1, &y),
            BinaryOp::Sub => x.plus(-1, &y),
            BinaryOp::Mul => match (x.as_constant(), y.as_constant()) {
                (_, Some(c)) => x.times(c),
                (Some(c), _) => y.times(c),
                _ => None,
            },
            BinaryOp::Div => {
                let c = y.as_constant().filter(|&c| c > 0)?;
                let atom = Atom::Value(result);
                if x.terms.iter().all(|t| t.1 % c == 0) && x.constant % c == 0 {
                    let terms = x.terms.iter().map(|&(atom, f)| (atom, f / c)).collect();
                    return Some(Linear { terms, constant: x.constant / c });
                }
                self.quotients.insert(atom, (x, c));
                Some(Linear::atom(atom))
            }
            BinaryOp::Min | BinaryOp::Max => {
                let both: SmallVec<[Linear; 2]> = smallvec![x, y];
                let bounds = match op {
                    BinaryOp::Min => Bounds { lower: smallvec![], upper: both },
                    _ => Bounds { lower: both, upper: smallvec![] },
                };
                self.bounds.insert(Atom::Value(result), bounds);
                None
            }
            BinaryOp::Rem => {
                // Between 0 and the divisor when the dividend is not negative.
                if self.fact(func, a).min >= 0 && self.fact(func, b).min > 0 {
                    let upper = y.offset(-1)?;
                    let bounds = Bounds { lower: smallvec![Linear::constant(0)], upper: smallvec![upper, x] };
                    self.bounds.insert(Atom::Value(result), bounds);
                }
                None
            }
            _ => None,
        }
    }

    /// Range and divisor of a result from those of the operands.
    pub(super) fn transfer(&self, func: &Function, inst: Inst, result: Value) -> Fact {
        let of = |v: Value| self.fact(func, v);
        let any = type_fact(func.ty(result).scalar_elem());
        match &func.insts[inst] {
            InstData::Const { value: Const::Int(v) } => Fact::exact(*v),
            InstData::ConstTile { values } => {
                let ints = values.iter().map(|v| match v {
                    Const::Int(v) => Fact::exact(*v),
                    Const::Float(_) => Fact::ANY,
                });
                ints.reduce(Fact::union).unwrap_or(any)
            }
            InstData::ProgramId { axis } => self.atom_fact(Atom::ProgramId(*axis)),
            InstData::NumPrograms { axis } => self.atom_fact(Atom::NumPrograms(*axis)),
            InstData::NumSms => Fact::range(1, 1 << 20),
            InstData::Iota { start } => {
                let len = i64::from(func.ty(result).shape()[0]);
                start.checked_add(len - 1).map_or(any, |last| Fact {
                    min: *start,
                    max: last,
                    divisor: if len == 1 { start.unsigned_abs() } else { 1 },
                })
            }
            InstData::ViewDim { view, axis } => dim_fact(func, *view, usize::from(*axis), self.extent),
            InstData::ViewStride { view, axis } => stride_fact(func, *view, usize::from(*axis), self.extent),
            &InstData::Unary { op: UnaryOp::Neg, arg } if of(arg).min > i64::MIN && of(arg).max < i64::MAX => {
                Fact { min: -of(arg).max, max: -of(arg).min, divisor: of(arg).divisor }
            }
            &InstData::Unary { op: UnaryOp::Abs, arg } if of(arg).min > i64::MIN => {
                let f = of(arg);
                Fact {
                    min: if f.min <= 0 && f.max >= 0 { 0 } else { f.min.abs().min(f.max.abs()) },
                    max: f.min.abs().max(f.max.abs()),
                    divisor: f.divisor,
                }
            }
            &InstData::Binary { op, a, b } => {
                let wraps = func.ty(result).scalar_elem() != Some(ScalarType::Index);
                binary_fact(op, of(a), of(b), any, wraps)
            }
            &InstData::Select { a, b, .. } => of(a).union(of(b)),
            &InstData::Cast { arg } => match func.ty(arg).scalar_elem() {
                Some(ScalarType::Bool) => Fact::range(0, 1),
                Some(s) if s.is_int() && self.keeps_value(func, arg, result) => of(arg),
                _ => any,
            },
            InstData::Broadcast { arg }
            | InstData::ExpandDims { arg, .. }
            | InstData::Reshape { arg }
            | InstData::Permute { arg, .. }
            | InstData::Flip { arg, .. }
            | InstData::ExtractSlice { arg, .. }
            | InstData::ConvertLayout { arg }
            | InstData::Split { arg } => of(*arg),
            InstData::Join { a, b } => of(*a).union(of(*b)),
            InstData::Cat { args, .. } => args.iter().map(|&v| of(v)).reduce(Fact::union).unwrap_or(any),
            // Positions out of bounds give 0.
            InstData::Gather { src, .. } => of(*src).union(Fact::exact(0)),
            InstData::Reduce { args, combine: Combine::Max | Combine::Min, .. }
            | InstData::Scan { args, combine: Combine::Max | Combine::Min, .. } => of(args[0]),
            _ => any,
        }
    }
}
