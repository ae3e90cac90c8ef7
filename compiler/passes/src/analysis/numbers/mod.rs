//! What is known of a function's integers: ranges, divisors, and how they depend linearly on dimensions, program ids and loop counters.
//!
//! Facts come from the launch's specialization (known dimensions and strides, divisors, 32-bit bounds), from loops (`lo <= i < hi`, and
//! `i <= hi - step` when the step divides the distance), and from `assume` in the function's body: an equation there (`K` of one tensor
//! is `K` of another, the grid's extent is `cdiv(M, B)`) is used to rewrite one side into the other, `x % c == 0` is a divisor, comparisons with constants are bounds.
//!
//! `fact` holds ranges and divisors and their arithmetic, `walk` collects what the function says, `prove` decides inequalities.

mod fact;
mod prove;
mod walk;

use cranelift_entity::SecondaryMap;
use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Function, InstData, ScalarType, Value, ValueDef, ViewIndex};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::linear::{Atom, Linear};
use crate::fold;

pub use fact::Fact;
use fact::{binary_range, dim_fact, type_fact};

/// What bounds an atom from above or below.
#[derive(Clone, Debug, Default)]
struct Bounds {
    lower: SmallVec<[Linear; 2]>,
    upper: SmallVec<[Linear; 2]>,
}

/// Greatest dimension, stride or number of programs of a launch that fits 32 bits. Below `i32::MAX` by the room that `kiln_ir::signature` leaves for
/// what reaches past the end of an axis.
const FITTING_EXTENT: i64 = i32::MAX as i64 - (1 << 24);

/// Operations on a tile of integers that are looked through: operands may be shared, so a chain costs up to 2 to that power.
const MAX_TILE_CHAIN: u32 = 10;

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
        if let Some(&InstData::Binary { op: BinaryOp::Min | BinaryOp::Max, a, b }) = func.def_data(value)
            && [a, b].iter().all(|&v| is_integer(func, v) && self.within(func, v, min, max))
        {
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
        self.lanes_within(func, value, MAX_TILE_CHAIN)
    }

    /// `depth` operations on tiles are looked through.
    fn lanes_within(&self, func: &Function, value: Value, depth: u32) -> Option<Lanes> {
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
        let Some(depth) = depth.checked_sub(1) else { return range_only(fact) };
        let spread = match *func.def_data(value)? {
            InstData::Broadcast { arg }
            | InstData::ExpandDims { arg, .. }
            | InstData::Reshape { arg }
            | InstData::Permute { arg, .. }
            | InstData::Flip { arg, .. }
            | InstData::ExtractSlice { arg, .. }
            | InstData::ConvertLayout { arg } => self.lanes_within(func, arg, depth),
            InstData::Iota { start } => {
                Some(Lanes { base: Linear::constant(start), first: 0, last: i64::from(ty.shape()[0]) - 1 })
            }
            InstData::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), a, b } if self.is_exact(func, value) => {
                let (a, b) = (self.lanes_within(func, a, depth)?, self.lanes_within(func, b, depth)?);
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
                let l = self.lanes_within(func, other, depth)?;
                let (x, y) = (l.first.checked_mul(factor)?, l.last.checked_mul(factor)?);
                Some(Lanes { base: l.base.times(factor)?, first: x.min(y), last: x.max(y) })
            }
            InstData::Cast { arg } if self.keeps_value(func, arg, value) => self.lanes_within(func, arg, depth),
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
