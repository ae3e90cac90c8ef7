//! Which axis of a group's domain runs along vector lanes, how many lanes, and how often the body is unrolled.

use kiln_ir::{Elem, Function, InstData, Place, ScalarType, SliceIndex, Value, ValueDef, ViewIndex};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::cost::own_cost;
use super::forms::Form;
use super::{Group, Root};

/// How a group's loops are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vectorization {
    /// The axis along lanes; absent for a domain of one element.
    pub axis: Option<usize>,
    /// Lanes, a power of two.
    pub lanes: u32,
    /// Copies of the body in the main loop.
    pub unroll: u32,
    /// The body computes long enough to fetch the next tile's data meanwhile.
    pub busy: bool,
}

/// For each axis of a value, the domain axis it is (possibly shifted), if it is one.
type Sym = SmallVec<[Option<usize>; 4]>;

struct Survey<'a> {
    func: &'a Function,
    forms: &'a FxHashMap<Value, Form>,
    kept: FxHashSet<Value>,
    /// Per domain axis: accesses that are contiguous along it, and accesses that are strided along it.
    contiguous: Vec<u32>,
    strided: Vec<u32>,
    widest: u32,
    cost: u32,
    seen: FxHashSet<(Value, Sym)>,
}

/// Chooses for a group. `vector_bytes` is the target's vector width.
pub(crate) fn choose(func: &Function, forms: &FxHashMap<Value, Form>, group: &Group, vector_bytes: u32) -> Vectorization {
    let rank = group.shape.len();
    let mut s = Survey {
        func,
        forms,
        kept: group.roots.iter().filter_map(|r| if let Root::Materialize(v, _) = r { Some(*v) } else { None }).collect(),
        contiguous: vec![0; rank],
        strided: vec![0; rank],
        widest: 1,
        cost: 0,
        seen: FxHashSet::default(),
    };
    let identity: Sym = (0..rank).map(Some).collect();
    for &root in &group.roots {
        match root {
            Root::Materialize(v, _) => {
                s.value(v, &identity, true);
                s.touch(&identity, rank.checked_sub(1));
            }
            Root::Store(inst) => {
                if let InstData::Store { place, value, mask, .. } = &func.insts[inst] {
                    s.value(*value, &identity, false);
                    s.place(place, &identity);
                    mask.iter().for_each(|&m| s.value(m, &identity, false));
                }
            }
            Root::Reduce(inst) | Root::Assert(inst) => {
                for v in func.insts[inst].operands() {
                    s.value(v, &identity, false);
                }
            }
        }
    }
    let lanes_for = |extent: u32| {
        let most = (vector_bytes / s.widest).clamp(1, 64);
        most.min(extent.next_power_of_two())
    };
    let useful = |axis: usize| {
        // Share of lanes that do work, in 16ths.
        let extent = group.shape[axis];
        let lanes = (vector_bytes / s.widest).clamp(1, 64);
        i64::from(16 * extent.min(lanes) / lanes)
    };
    let axis = (0..rank).filter(|&a| group.shape[a] > 1).max_by_key(|&a| {
        let score = 4 * i64::from(s.contiguous[a]) - 6 * i64::from(s.strided[a]);
        let score = if score >= 0 { (score + 1) * useful(a).max(1) } else { score * 16 + useful(a) };
        (score, a)
    });
    let lanes = axis.map_or(1, |a| lanes_for(group.shape[a]));
    let region = group.roots.iter().any(|r| {
        matches!(r, Root::Reduce(inst) if matches!(func.insts[*inst], InstData::Reduce { combine: kiln_ir::Combine::Region(_), .. }))
    });
    let vectors = axis.map_or(1, |a| group.shape[a] / lanes.max(1));
    let most = if s.cost > 24 || region { 2 } else { 4 };
    let unroll = [4, 2, 1].into_iter().find(|&u| u <= most && u <= vectors.max(1)).unwrap_or(1);
    Vectorization { axis, lanes, unroll, busy: s.cost > 10 }
}

impl Survey<'_> {
    /// An access along the value's axes: contiguous along axis number `inner` of it.
    fn touch(&mut self, sym: &[Option<usize>], inner: Option<usize>) {
        for (i, axis) in sym.iter().enumerate() {
            if let Some(axis) = *axis {
                if Some(i) == inner { self.contiguous[axis] += 1 } else { self.strided[axis] += 1 }
            }
        }
    }

    fn place(&mut self, place: &Place, sym: &Sym) {
        match place {
            Place::Ptr(p) => {
                self.value(*p, sym, false);
                // Pointer arithmetic is usually contiguous along the last axis.
                self.touch(sym, sym.len().checked_sub(1));
            }
            Place::View(access) => {
                let joint = access
                    .index
                    .iter()
                    .filter_map(|i| if let SliceIndex::Gather(t) = i { Some(self.func.ty(*t).rank()) } else { None })
                    .max();
                let (mut at, mut joint_at) = (0, None);
                for (dim, index) in access.index.iter().enumerate() {
                    match index {
                        SliceIndex::At(_) => {}
                        SliceIndex::Span { .. } => {
                            let unit = stride_of(self.func, access.view, dim) == Some(1);
                            self.touch(&sym[at..=at], unit.then_some(0));
                            at += 1;
                        }
                        SliceIndex::Gather(tile) => {
                            let joint = joint.unwrap_or(0);
                            let start = *joint_at.get_or_insert_with(|| {
                                let start = at;
                                at += joint;
                                start
                            });
                            let rank = self.func.ty(*tile).rank();
                            let part: Sym = sym[start + joint - rank..start + joint].iter().copied().collect();
                            let unit = stride_of(self.func, access.view, dim) == Some(1) && is_affine(self.func, *tile);
                            self.touch(&part, if unit { rank.checked_sub(1) } else { None });
                            self.value(*tile, &part, false);
                        }
                    }
                }
            }
        }
    }

    fn value(&mut self, v: Value, sym: &Sym, top: bool) {
        let ty = self.func.ty(v);
        if ty.rank() == 0 || !ty.is_tile() || !self.seen.insert((v, sym.clone())) {
            return;
        }
        let varies = sym.iter().any(Option::is_some);
        if let Elem::Scalar(s) = ty.elem()
            && varies
            && s != ScalarType::Index
            && s != ScalarType::Bool
        {
            let register = if s.is_float() { s.bytes().max(4) } else { s.bytes() };
            self.widest = self.widest.max(register);
        } else if matches!(ty.elem(), Elem::Ptr { .. }) {
            self.widest = self.widest.max(4);
        }
        let inline = top || self.forms.get(&v) == Some(&Form::Inline) || self.kept.contains(&v);
        let def = self.func.values[v].def;
        let ValueDef::Result(inst, number) = def else {
            self.touch(sym, sym.len().checked_sub(1));
            return;
        };
        let data = &self.func.insts[inst];
        if !inline {
            if !matches!(data, InstData::ConstTile { .. }) || varies {
                self.touch(sym, sym.len().checked_sub(1));
            }
            return;
        }
        if varies {
            self.cost += own_cost(self.func, inst);
        }
        match data {
            InstData::Load { place, mask, other, .. } => {
                self.place(place, sym);
                mask.iter().chain(other).for_each(|&m| self.value(m, sym, false));
            }
            InstData::Gather { index, .. } => {
                self.value(*index, sym, false);
                self.strided.iter_mut().zip(0..).for_each(|(n, axis)| *n += u32::from(sym.contains(&Some(axis))));
            }
            _ => {
                let maps: Vec<(Value, Sym)> = operand_syms(self.func, data, number, sym);
                for (o, sym) in maps {
                    self.value(o, &sym, false);
                }
            }
        }
    }
}

/// Operands of an inline instruction with the domain axes their axes are.
fn operand_syms(func: &Function, data: &InstData, _result: u16, sym: &Sym) -> Vec<(Value, Sym)> {
    match data {
        InstData::Broadcast { arg } => {
            let shape = func.ty(*arg).shape();
            let pad = sym.len() - shape.len();
            vec![(*arg, shape.iter().enumerate().map(|(i, &d)| if d == 1 { None } else { sym[pad + i] }).collect())]
        }
        InstData::ExpandDims { arg, axis } => {
            let mut sym = sym.clone();
            sym.remove(usize::from(*axis));
            vec![(*arg, sym)]
        }
        InstData::Permute { arg, perm } => {
            let mut out: Sym = SmallVec::from_elem(None, sym.len());
            for (i, &p) in perm.iter().enumerate() {
                out[usize::from(p)] = sym[i];
            }
            vec![(*arg, out)]
        }
        InstData::Reshape { arg } => {
            // Only unit axes come or go, or the last axis is split or merged: the last axis stays along the last.
            let shape = func.ty(*arg).shape();
            let mut out: Sym = SmallVec::from_elem(None, shape.len());
            if let (Some(to), Some(from)) = (shape.iter().rposition(|&d| d > 1), sym.iter().rposition(Option::is_some)) {
                out[to] = sym[from];
            }
            vec![(*arg, out)]
        }
        InstData::Join { a, b } => {
            let mut sym = sym.clone();
            sym.pop();
            vec![(*a, sym.clone()), (*b, sym)]
        }
        InstData::Split { arg } => {
            let mut sym = sym.clone();
            sym.push(None);
            vec![(*arg, sym)]
        }
        other => other.operands().into_iter().map(|o| (o, sym.clone())).collect(),
    }
}

/// A tile of indices that grows by one along its last axis, as far as its form shows.
fn is_affine(func: &Function, tile: Value) -> bool {
    match func.def_data(tile) {
        Some(InstData::Iota { .. }) => true,
        Some(InstData::Binary { op: kiln_ir::ops::BinaryOp::Add, a, b }) => is_affine(func, *a) || is_affine(func, *b),
        Some(InstData::Binary { op: kiln_ir::ops::BinaryOp::Sub, a, .. }) => is_affine(func, *a),
        Some(InstData::Broadcast { arg } | InstData::Cast { arg } | InstData::ExpandDims { arg, .. }) => is_affine(func, *arg),
        _ => false,
    }
}

/// The stride of a view's dimension where the specialization knows it.
pub(crate) fn stride_of(func: &Function, view: Value, dim: usize) -> Option<i64> {
    match func.values[view].def {
        ValueDef::Param(block, number) if block == func.body => {
            func.params[usize::from(number)].tensor.as_ref().and_then(|t| t.strides.get(dim)).and_then(|f| f.known)
        }
        ValueDef::Param(..) => None,
        ValueDef::Result(inst, _) => match &func.insts[inst] {
            InstData::PermuteView { view, perm } => stride_of(func, *view, usize::from(perm[dim])),
            InstData::SubView { view, index } => {
                let kept = index.iter().enumerate().filter(|(_, i)| !matches!(i, ViewIndex::At(_))).nth(dim)?.0;
                stride_of(func, *view, kept)
            }
            InstData::MakeView { strides, .. } => match func.def_data(strides[dim]) {
                Some(InstData::Const { value: kiln_ir::Const::Int(n) }) => Some(*n),
                _ => None,
            },
            _ => None,
        },
    }
}
