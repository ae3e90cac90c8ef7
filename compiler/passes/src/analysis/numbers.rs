//! What is known of a function's integers: ranges, divisors, and how they depend linearly on dimensions, program ids and loop counters.
//!
//! Facts come from the launch's specialization (known dimensions and strides, divisors, 32-bit bounds), from loops (`lo <= i < hi`, and
//! `i <= hi - step` when the step divides the distance), and from `assume` in the function's body: an equation there (`K` of one tensor
//! is `K` of another, the grid's extent is `cdiv(M, B)`) is used to rewrite one side into the other, `x % c == 0` is a divisor, comparisons with constants are bounds.

use cranelift_entity::SecondaryMap;
use kiln_ir::ops::{BinaryOp, CmpOp, UnaryOp};
use kiln_ir::{Block, Combine, Const, Function, Inst, InstData, IntFact, ScalarType, Value, ValueDef, ViewIndex};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use super::linear::{Atom, Linear};
use crate::fold;

/// Bounds and a divisor of an integer, or of every lane of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fact {
    /// At least this.
    pub min: i64,
    /// At most this.
    pub max: i64,
    /// A divisor; 0 for the number 0, which everything divides.
    pub divisor: u64,
}

impl Fact {
    /// Nothing.
    const ANY: Fact = Fact { min: i64::MIN, max: i64::MAX, divisor: 1 };

    fn exact(v: i64) -> Fact {
        Fact { min: v, max: v, divisor: v.unsigned_abs() }
    }

    fn range(min: i64, max: i64) -> Fact {
        Fact { min, max, divisor: 1 }
    }

    /// The number, if it is known.
    pub fn as_exact(self) -> Option<i64> {
        (self.min == self.max).then_some(self.min)
    }

    /// Whether `n` divides it.
    pub fn is_multiple_of(self, n: u64) -> bool {
        n != 0 && self.divisor.is_multiple_of(n)
    }

    fn union(self, other: Fact) -> Fact {
        Fact { min: self.min.min(other.min), max: self.max.max(other.max), divisor: gcd(self.divisor, other.divisor) }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What bounds an atom from above or below.
#[derive(Clone, Debug, Default)]
struct Bounds {
    lower: SmallVec<[Linear; 2]>,
    upper: SmallVec<[Linear; 2]>,
}

/// Greatest dimension, stride or number of programs of a launch that fits 32 bits. Below `i32::MAX` by the room that `kiln_ir::signature` leaves for
/// what reaches past the end of an axis.
const FITTING_EXTENT: i64 = i32::MAX as i64 - (1 << 24);

/// What is known of the integers of a function. Valid as long as the function is not changed.
#[derive(Clone, Debug)]
pub struct Numbers {
    facts: SecondaryMap<Value, Option<Fact>>,
    linear: FxHashMap<Value, Linear>,
    bounds: FxHashMap<Atom, Bounds>,
    /// Atoms that are quotients: numerator and positive divisor.
    quotients: FxHashMap<Atom, (Linear, i64)>,
    /// Equations from `assume`, solved for an atom.
    equal: FxHashMap<Atom, Linear>,
    atoms: FxHashMap<Atom, Fact>,
    /// Greatest extent of a dimension or grid.
    extent: i64,
}

impl Numbers {
    /// Looks at the whole function.
    pub fn new(func: &Function, fits_32_bit: bool) -> Numbers {
        let mut numbers = Numbers {
            facts: SecondaryMap::new(),
            linear: FxHashMap::default(),
            bounds: FxHashMap::default(),
            quotients: FxHashMap::default(),
            equal: FxHashMap::default(),
            atoms: FxHashMap::default(),
            extent: if fits_32_bit { FITTING_EXTENT } else { i64::MAX },
        };
        for &view in func.param_values() {
            for axis in 0..if func.ty(view).is_view() { func.ty(view).rank() } else { 0 } {
                let fact = dim_fact(func, view, axis, numbers.extent);
                numbers.atoms.insert(Atom::Dim(view, axis as u8), fact);
            }
        }
        numbers.block(func, func.body);
        numbers
    }

    /// What is known of a value; of a type without integers, nothing.
    pub fn fact(&self, func: &Function, value: Value) -> Fact {
        self.facts[value].unwrap_or_else(|| type_fact(func.ty(value).scalar_elem()))
    }

    // ---- questions ----

    /// Whether `index` (and the `len - 1` numbers after it) is certainly inside dimension `axis` of `view`.
    pub fn in_bounds(&self, func: &Function, view: Value, axis: usize, index: Value, len: i64) -> bool {
        let Some(start) = self.lanes(func, index) else { return false };
        self.dim(func, view, axis).is_some_and(|dim| self.inside(&start, len, &dim))
    }

    /// Whether a number (every lane) certainly lies in `min..=max`.
    pub fn within(&self, func: &Function, value: Value, min: i64, max: i64) -> bool {
        let fact = self.fact(func, value);
        if min <= fact.min && fact.max <= max {
            return true;
        }
        let Some(lanes) = self.lanes(func, value) else { return false };
        let above = lanes.base.offset(lanes.first).and_then(|e| e.offset(min.checked_neg()?));
        let below = lanes.base.offset(lanes.last).and_then(|e| e.times(-1)).and_then(|e| e.offset(max));
        above.is_some_and(|e| self.is_at_least_zero(&e)) && below.is_some_and(|e| self.is_at_least_zero(&e))
    }

    fn inside(&self, start: &Lanes, len: i64, dim: &Linear) -> bool {
        let first = start.base.offset(start.first);
        let room = dim.plus(-1, &start.base).and_then(|d| d.offset(start.last.checked_neg()?.checked_sub(len)?));
        first.is_some_and(|e| self.is_at_least_zero(&e)) && room.is_some_and(|e| self.is_at_least_zero(&e))
    }

    /// The outcome of a comparison of integers (lane by lane), when it is one for all lanes and launches.
    pub fn compare(&self, func: &Function, op: CmpOp, a: Value, b: Value) -> Option<bool> {
        let (a, b) = (self.lanes(func, a)?, self.lanes(func, b)?);
        let difference = a.base.plus(-1, &b.base)?;
        let (least, most) = (a.first.checked_sub(b.last)?, a.last.checked_sub(b.first)?);
        // least <= a - b - difference <= most
        let below = |by: i64| {
            let e = difference.offset(most).and_then(|e| e.offset(by)).and_then(|e| e.times(-1));
            e.is_some_and(|e| self.is_at_least_zero(&e))
        };
        let above = |by: i64| difference.offset(least).and_then(|e| e.offset(-by)).is_some_and(|e| self.is_at_least_zero(&e));
        match op {
            CmpOp::Lt if below(1) => Some(true),
            CmpOp::Lt if above(0) => Some(false),
            CmpOp::Le if below(0) => Some(true),
            CmpOp::Le if above(1) => Some(false),
            CmpOp::Gt if above(1) => Some(true),
            CmpOp::Gt if below(0) => Some(false),
            CmpOp::Ge if above(0) => Some(true),
            CmpOp::Ge if below(1) => Some(false),
            CmpOp::Eq | CmpOp::Ne if above(1) || below(1) => Some(op == CmpOp::Ne),
            CmpOp::Eq | CmpOp::Ne if above(0) && below(0) => Some(op == CmpOp::Eq),
            _ => None,
        }
    }

    /// Whether the expression is certainly not negative.
    fn is_at_least_zero(&self, e: &Linear) -> bool {
        let mut fuel = 48;
        self.normalize(e).is_some_and(|e| self.prove(&e, &mut fuel))
    }

    /// Tries the numbers, then replaces atoms by what bounds them.
    fn prove(&self, e: &Linear, fuel: &mut u32) -> bool {
        if self.least(e).is_some_and(|least| least >= 0) {
            return true;
        }
        // Later atoms depend on earlier ones, so they go first.
        for &(atom, factor) in e.terms.iter().rev() {
            if *fuel == 0 {
                return false;
            }
            *fuel -= 1;
            if let Some((numerator, divisor)) = self.quotients.get(&atom)
                && factor % divisor == 0
                && let Some(bound) = self.quotient_bound(numerator, *divisor, factor)
                && let Some(next) = e.substitute(atom, factor / divisor, &bound).and_then(|e| self.normalize(&e))
                && self.prove(&next, fuel)
            {
                return true;
            }
            let Some(bounds) = self.bounds.get(&atom) else { continue };
            for bound in if factor < 0 { &bounds.upper } else { &bounds.lower } {
                let next = e.substitute(atom, factor, bound).and_then(|e| self.normalize(&e));
                if next.is_some_and(|next| self.prove(&next, fuel)) {
                    return true;
                }
            }
        }
        false
    }

    /// For a term `factor * (numerator / divisor)`: an expression `b` with `factor / divisor * b` at most that.
    fn quotient_bound(&self, numerator: &Linear, divisor: i64, factor: i64) -> Option<Linear> {
        let remainder = numerator.constant.rem_euclid(divisor);
        let whole = numerator.offset(-remainder)?;
        if !self.is_not_negative(numerator) {
            return None;
        }
        if self.divisor_of(&whole).is_multiple_of(divisor.unsigned_abs()) {
            return Some(whole);
        }
        if factor < 0 { Some(numerator.clone()) } else { numerator.offset(1 - divisor) }
    }

    fn is_not_negative(&self, e: &Linear) -> bool {
        self.normalize(e).and_then(|e| self.least(&e)).is_some_and(|least| least >= 0)
    }

    /// The least value that the atoms' ranges allow.
    fn least(&self, e: &Linear) -> Option<i128> {
        let mut least = i128::from(e.constant);
        for &(atom, factor) in &e.terms {
            let fact = self.atom_fact(atom);
            let extreme = if factor < 0 { fact.max } else { fact.min };
            if extreme == i64::MAX || extreme == i64::MIN {
                return None;
            }
            least += i128::from(extreme) * i128::from(factor);
        }
        Some(least)
    }

    fn divisor_of(&self, e: &Linear) -> u64 {
        let terms = e.terms.iter().map(|&(atom, factor)| {
            let of_atom = self.atom_fact(atom).divisor;
            // A product that leaves 64 bits still has both factors as divisors.
            of_atom.checked_mul(factor.unsigned_abs()).unwrap_or(factor.unsigned_abs())
        });
        terms.fold(e.constant.unsigned_abs(), gcd)
    }

    /// Rewrites atoms by the equations.
    fn normalize(&self, e: &Linear) -> Option<Linear> {
        let mut e = e.clone();
        for _ in 0..8 {
            let Some((atom, factor, by)) = e.terms.iter().find_map(|&(a, f)| Some((a, f, self.equal.get(&a)?))) else { break };
            e = e.substitute(atom, factor, by)?;
        }
        Some(e)
    }

    fn atom_fact(&self, atom: Atom) -> Fact {
        let fact = match atom {
            Atom::Value(v) => self.facts[v].unwrap_or(Fact::ANY),
            Atom::Dim(..) => Fact::range(0, self.extent),
            // A program runs, so there is one.
            Atom::NumPrograms(_) => Fact::range(1, self.extent),
            Atom::ProgramId(axis) => Fact::range(0, self.atom_fact(Atom::NumPrograms(axis)).max - 1),
        };
        self.atoms.get(&atom).copied().unwrap_or(fact)
    }

    // ---- expressions ----

    /// The expression of a scalar that does not wrap.
    fn expression(&self, value: Value) -> Linear {
        if let Some(v) = self.facts[value].and_then(Fact::as_exact) {
            return Linear::constant(v);
        }
        self.linear.get(&value).cloned().unwrap_or_else(|| Linear::atom(Atom::Value(value)))
    }

    /// A scalar, or the lanes of a tile as one scalar expression plus a constant range.
    fn lanes(&self, func: &Function, value: Value) -> Option<Lanes> {
        let ty = func.ty(value);
        if !is_integer(func, value) {
            return None;
        }
        if ty.is_scalar() {
            return Some(Lanes { base: self.expression(value), first: 0, last: 0 });
        }
        if let Some(v) = self.facts[value].and_then(Fact::as_exact) {
            return Some(Lanes { base: Linear::constant(v), first: 0, last: 0 });
        }
        let fact = self.fact(func, value);
        let spread = match *func.def_data(value)? {
            InstData::Broadcast { arg }
            | InstData::ExpandDims { arg, .. }
            | InstData::Reshape { arg }
            | InstData::Permute { arg, .. }
            | InstData::Flip { arg, .. }
            | InstData::ExtractSlice { arg, .. }
            | InstData::ConvertLayout { arg } => self.lanes(func, arg),
            InstData::Iota { start } => {
                Some(Lanes { base: Linear::constant(start), first: 0, last: i64::from(ty.shape()[0]) - 1 })
            }
            InstData::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), a, b } if self.is_exact(func, value) => {
                let (a, b) = (self.lanes(func, a)?, self.lanes(func, b)?);
                let (factor, first, last) = if op == BinaryOp::Add { (1, b.first, b.last) } else { (-1, -b.last, -b.first) };
                Some(Lanes {
                    base: a.base.plus(factor, &b.base)?,
                    first: a.first.checked_add(first)?,
                    last: a.last.checked_add(last)?,
                })
            }
            InstData::Binary { op: BinaryOp::Mul, a, b } if self.is_exact(func, value) => {
                let (factor, other) = match (self.fact(func, a).as_exact(), self.fact(func, b).as_exact()) {
                    (_, Some(c)) => (c, a),
                    (Some(c), _) => (c, b),
                    _ => return range_only(fact),
                };
                let l = self.lanes(func, other)?;
                let (x, y) = (l.first.checked_mul(factor)?, l.last.checked_mul(factor)?);
                Some(Lanes { base: l.base.times(factor)?, first: x.min(y), last: x.max(y) })
            }
            InstData::Cast { arg } if self.keeps_value(func, arg, value) => self.lanes(func, arg),
            _ => None,
        };
        spread.or_else(|| range_only(fact))
    }

    /// Extent of a dimension of a view; `None` when it may be anything.
    fn dim(&self, func: &Function, view: Value, axis: usize) -> Option<Linear> {
        match func.values[view].def {
            ValueDef::Param(block, _) if block == func.body => {
                let fact = dim_fact(func, view, axis, self.extent);
                Some(fact.as_exact().map_or_else(|| Linear::atom(Atom::Dim(view, axis as u8)), Linear::constant))
            }
            ValueDef::Param(..) => None,
            ValueDef::Result(inst, _) => match &func.insts[inst] {
                InstData::PermuteView { view, perm } => self.dim(func, *view, usize::from(perm[axis])),
                InstData::MakeView { dims, .. } => Some(self.expression(dims[axis])),
                InstData::SubView { view: parent, index } => {
                    let opaque = Linear::atom(Atom::Dim(view, axis as u8));
                    // An index out of bounds would empty the view.
                    let indexed = index.iter().enumerate().all(|(d, i)| match i {
                        ViewIndex::At(at) => self.in_bounds(func, *parent, d, *at, 1),
                        _ => true,
                    });
                    if !indexed {
                        return Some(opaque);
                    }
                    let (d, kept) = index.iter().enumerate().filter(|(_, i)| !matches!(i, ViewIndex::At(_))).nth(axis)?;
                    let whole = self.dim(func, *parent, d)?;
                    match kept {
                        ViewIndex::Range { lo, hi } => {
                            let (lo, hi) = (self.expression(*lo), self.expression(*hi));
                            let length = hi.plus(-1, &lo)?;
                            let fits = self.is_at_least_zero(&lo)
                                && self.is_at_least_zero(&length)
                                && whole.plus(-1, &hi).is_some_and(|e| self.is_at_least_zero(&e));
                            Some(if fits { length } else { opaque })
                        }
                        _ => Some(whole),
                    }
                }
                _ => None,
            },
        }
    }

    /// Whether an integer operation gives its mathematical result in its type. `index` is as wide as it must be.
    fn is_exact(&self, func: &Function, value: Value) -> bool {
        let Some(elem) = func.ty(value).scalar_elem() else { return false };
        if elem == ScalarType::Index {
            return true;
        }
        let Some(&InstData::Binary { op, a, b }) = func.def_data(value) else { return false };
        let exact = binary_range(op, self.fact(func, a), self.fact(func, b));
        let (min, max) = fold::range(elem);
        exact.is_some_and(|(lo, hi)| min <= lo && hi <= max)
    }

    fn keeps_value(&self, func: &Function, from: Value, to: Value) -> bool {
        let (Some(source), Some(target)) = (func.ty(from).scalar_elem(), func.ty(to).scalar_elem()) else { return false };
        if source.is_float() || target.is_float() || target == ScalarType::Bool {
            return false;
        }
        let (fact, (min, max)) = (self.fact(func, from), fold::range(target));
        source != ScalarType::U64 && min <= i128::from(fact.min) && i128::from(fact.max) <= max
    }

    // ---- the walk ----

    fn block(&mut self, func: &Function, block: Block) {
        for &inst in &func.blocks[block].insts {
            self.inst(func, inst, block == func.body);
        }
    }

    fn inst(&mut self, func: &Function, inst: Inst, at_top: bool) {
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

    fn counter(&mut self, func: &Function, counter: Value, lo: Value, hi: Value, step: Value) {
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
    fn whole_steps(&self, lo: &Linear, hi: &Linear, step: i64) -> Option<Linear> {
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

    fn assume(&mut self, func: &Function, cond: Value) {
        match func.def_data(cond) {
            Some(&InstData::Binary { op: BinaryOp::And, a, b }) => {
                self.assume(func, a);
                self.assume(func, b);
            }
            Some(&InstData::Cmp { op, a, b }) if is_integer(func, a) => self.assume_cmp(func, op, a, b),
            _ => {}
        }
    }

    fn assume_cmp(&mut self, func: &Function, op: CmpOp, a: Value, b: Value) {
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
    fn less(&mut self, x: &Linear, y: &Linear, strict: i64) {
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

    fn refine(&mut self, func: &Function, value: Value, e: &Linear, change: impl Fn(&mut Fact)) {
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
    fn equation(&mut self, x: &Linear, y: &Linear) {
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
    fn scalar_expression(&mut self, func: &Function, inst: Inst, result: Value) -> Option<Linear> {
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

    fn binary_expression(&mut self, func: &Function, op: BinaryOp, a: Value, b: Value, result: Value) -> Option<Linear> {
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
    fn transfer(&self, func: &Function, inst: Inst, result: Value) -> Fact {
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

/// One scalar expression, and how far the lanes of a tile lie from it.
struct Lanes {
    base: Linear,
    first: i64,
    last: i64,
}

fn range_only(fact: Fact) -> Option<Lanes> {
    (fact.min > i64::MIN && fact.max < i64::MAX).then_some(Lanes { base: Linear::constant(0), first: fact.min, last: fact.max })
}

/// Integers that i64 holds: u64 is left out.
fn is_integer(func: &Function, value: Value) -> bool {
    func.ty(value).is_tile() && func.ty(value).scalar_elem().is_some_and(|s| s.is_int() && s != ScalarType::U64)
}

/// What the type alone says.
fn type_fact(elem: Option<ScalarType>) -> Fact {
    match elem {
        Some(s) if !s.is_float() && s.bits() < 64 => {
            let (min, max) = fold::range(s);
            Fact::range(min as i64, max as i64)
        }
        _ => Fact::ANY,
    }
}

/// A fact that leaves the type's range was computed without wrapping: then only the type is known.
fn within_type(fact: Fact, elem: Option<ScalarType>) -> Fact {
    let of_type = type_fact(elem);
    if fact.min < of_type.min || fact.max > of_type.max { of_type } else { fact }
}

/// Exact range of an operation on ranges.
fn binary_range(op: BinaryOp, a: Fact, b: Fact) -> Option<(i128, i128)> {
    let (al, ah, bl, bh) = (i128::from(a.min), i128::from(a.max), i128::from(b.min), i128::from(b.max));
    Some(match op {
        BinaryOp::Add => (al + bl, ah + bh),
        BinaryOp::Sub => (al - bh, ah - bl),
        BinaryOp::Mul => {
            let products = [al * bl, al * bh, ah * bl, ah * bh];
            (*products.iter().min()?, *products.iter().max()?)
        }
        BinaryOp::Min => (al.min(bl), ah.min(bh)),
        BinaryOp::Max => (al.max(bl), ah.max(bh)),
        BinaryOp::Div if bl > 0 => {
            let quotients = [al / bl, al / bh, ah / bl, ah / bh];
            (*quotients.iter().min()?, *quotients.iter().max()?)
        }
        BinaryOp::Rem if bl > 0 => (if al < 0 { al.max(1 - bh) } else { 0 }, if ah > 0 { ah.min(bh - 1) } else { 0 }),
        BinaryOp::And if al >= 0 || bl >= 0 => match (al >= 0, bl >= 0) {
            (true, true) => (0, ah.min(bh)),
            (true, false) => (0, ah),
            _ => (0, bh),
        },
        BinaryOp::Shr if al >= 0 && (0..64).contains(&bl) => (0, ah >> bl),
        BinaryOp::Shl if bl == bh && (0..32).contains(&bl) => (al << bl, ah << bl),
        _ => return None,
    })
}

/// `wraps`: the result is taken modulo the type's width; `index` is as wide as it must be.
fn binary_fact(op: BinaryOp, a: Fact, b: Fact, any: Fact, wraps: bool) -> Fact {
    let range = binary_range(op, a, b);
    let exact = !wraps || range.is_some_and(|(lo, hi)| lo >= i128::from(any.min) && hi <= i128::from(any.max));
    let (min, max) = match range {
        Some((lo, hi)) if exact => {
            // An unknown end stays unknown.
            let clamp = |v: i128| v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            (clamp(lo), clamp(hi))
        }
        _ => (any.min, any.max),
    };
    let divisor = match op {
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Min | BinaryOp::Max => gcd(a.divisor, b.divisor),
        BinaryOp::Mul => a.divisor.checked_mul(b.divisor).unwrap_or(a.divisor.max(b.divisor)),
        BinaryOp::Shl => b.as_exact().filter(|s| (0..32).contains(s)).and_then(|s| a.divisor.checked_mul(1 << s)).unwrap_or(1),
        BinaryOp::Div => match b.as_exact() {
            Some(c) if c > 0 && a.is_multiple_of(c as u64) => a.divisor / c as u64,
            _ => 1,
        },
        BinaryOp::Rem => gcd(a.divisor, b.divisor),
        _ => 1,
    };
    match divisor {
        // Modulo the width, only powers of two keep dividing what has wrapped.
        0 if (min, max) == (0, 0) => Fact { min, max, divisor: 0 },
        0 => Fact { min, max, divisor: 1 },
        _ if exact => Fact { min, max, divisor },
        _ => Fact { min, max, divisor: 1 << divisor.trailing_zeros() },
    }
}

fn dim_fact(func: &Function, view: Value, axis: usize, extent: i64) -> Fact {
    match param_fact(func, view, axis, true) {
        Some(fact) => match fact.known {
            Some(v) => Fact::exact(v),
            None => Fact { min: 0, max: fact.max.unwrap_or(extent).min(extent), divisor: u64::from(fact.divisor) },
        },
        None => Fact::range(0, extent),
    }
}

fn stride_fact(func: &Function, view: Value, axis: usize, extent: i64) -> Fact {
    let unknown = Fact::range(if extent == i64::MAX { i64::MIN } else { -extent }, extent);
    match param_fact(func, view, axis, false) {
        Some(IntFact { known: Some(v), .. }) => Fact::exact(v),
        Some(fact) => Fact { divisor: u64::from(fact.divisor), ..unknown },
        None => Fact::ANY,
    }
}

/// The specialization's fact of a dimension or stride of a tensor parameter.
fn param_fact(func: &Function, view: Value, axis: usize, dim: bool) -> Option<IntFact> {
    let ValueDef::Param(block, number) = func.values[view].def else { return None };
    if block != func.body {
        return None;
    }
    let facts = func.params.get(usize::from(number))?.tensor.as_ref()?;
    if dim { facts.dims.get(axis).copied() } else { facts.strides.get(axis).copied() }
}
