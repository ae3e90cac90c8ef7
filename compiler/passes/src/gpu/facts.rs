//! What is known of integers, pointers and views: divisors, runs of consecutive values, runs of equal values.
//!
//! One forward walk; values carried by loops are unknown. Every divisor and run length is a power of two, so the greatest
//! common divisor of two is the smaller one. The facts decide vector widths, so each must hold for every element.

use cranelift_entity::SecondaryMap;
use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Const, Function, Inst, InstData, IntFact, Type, Value, ViewIndex};
use smallvec::{SmallVec, smallvec};

/// Divisors are tracked up to this power of two; zero has it.
const LARGEST: u64 = 1 << 30;

/// Facts of an integer, bool or pointer tile (scalars included). Pointers count in bytes, their runs in elements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lanes {
    /// The value of every lane.
    pub known: Option<i64>,
    /// Divides the first value of every aligned run of consecutive values.
    pub divisor: u64,
    /// Along each axis: in every aligned group of this many lanes, each value is the one before plus 1.
    pub run: SmallVec<[u64; 4]>,
    /// Along each axis: every aligned group of this many lanes holds one value.
    pub same: SmallVec<[u64; 4]>,
}

impl Lanes {
    fn unknown(rank: usize) -> Self {
        Lanes { known: None, divisor: 1, run: smallvec![1; rank], same: smallvec![1; rank] }
    }

    fn splat(known: Option<i64>, divisor: u64, shape: &[u32]) -> Self {
        let same = shape.iter().map(|&e| low_bit(i64::from(e))).collect();
        Lanes { known, divisor, run: smallvec![1; shape.len()], same }
    }

    fn scalar(fact: IntFact) -> Self {
        let divisor = fact.known.map_or_else(|| low_bit(i64::from(fact.divisor)), low_bit);
        Lanes::splat(fact.known, divisor, &[])
    }

    /// Divides the first value of every aligned run of the (shorter) lengths `run`.
    fn divisor_of_runs(&self, run: &[u64]) -> u64 {
        self.run.iter().zip(run).filter(|(have, want)| have > want).fold(self.divisor, |d, (_, &want)| d.min(want))
    }

    /// Divides every value.
    pub fn divisor_of_all(&self) -> u64 {
        self.divisor_of_runs(&SmallVec::<[u64; 4]>::from_elem(1, self.run.len()))
    }
}

/// Facts of a view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewFacts {
    /// Alignment of the first element in bytes.
    pub align: u64,
    /// One a dimension.
    pub dims: SmallVec<[IntFact; 5]>,
    /// One a dimension, in elements.
    pub strides: SmallVec<[IntFact; 5]>,
}

impl ViewFacts {
    fn unknown(rank: usize, elem_bytes: u32) -> Self {
        ViewFacts {
            align: u64::from(elem_bytes),
            dims: smallvec![IntFact::default(); rank],
            strides: smallvec![IntFact::default(); rank],
        }
    }
}

/// The facts of every value of a function.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    lanes: SecondaryMap<Value, Option<Lanes>>,
    views: SecondaryMap<Value, Option<ViewFacts>>,
    /// Extents of tensors and offsets into them fit in 32 bits.
    fits_32_bit: bool,
}

impl Facts {
    /// The facts that hold in `func`.
    pub fn of(func: &Function) -> Facts {
        let mut facts = Facts { fits_32_bit: func.index_bits == 32, ..Facts::default() };
        for (info, &value) in func.params.iter().zip(func.param_values()) {
            let ty = func.ty(value);
            match &info.tensor {
                Some(t) if ty.is_view() => {
                    let known = ViewFacts { align: u64::from(t.align), dims: t.dims.clone(), strides: t.strides.clone() };
                    facts.views[value] = Some(known);
                }
                _ => facts.set_unknown(func, value),
            }
        }
        facts.block(func, func.body);
        facts
    }

    /// Takes it that the launch's tensors fit in 32 bits, whatever is computed with.
    pub(super) fn with_fitting_tensors(mut self, fit: bool) -> Facts {
        self.fits_32_bit |= fit;
        self
    }

    /// Whether extents of tensors and offsets into them fit in 32 bits.
    pub(super) fn fits_32_bit(&self) -> bool {
        self.fits_32_bit
    }

    /// Facts of an integer, bool or pointer tile.
    pub fn lanes(&self, func: &Function, value: Value) -> Lanes {
        self.lanes[value].clone().unwrap_or_else(|| Lanes::unknown(func.ty(value).rank()))
    }

    /// Facts of a view.
    pub fn view(&self, func: &Function, value: Value) -> ViewFacts {
        let ty = func.ty(value);
        self.views[value].clone().unwrap_or_else(|| ViewFacts::unknown(ty.rank(), ty.elem().bytes()))
    }

    fn set_unknown(&mut self, func: &Function, value: Value) {
        let ty = func.ty(value);
        if ty.is_view() {
            self.views[value] = Some(ViewFacts::unknown(ty.rank(), ty.elem().bytes()));
        } else {
            let mut lanes = Lanes::unknown(ty.rank());
            // A pointer is aligned to what it points to.
            if let kiln_ir::Elem::Ptr { pointee, .. } = ty.elem() {
                lanes.divisor = u64::from(pointee.bytes());
            }
            self.lanes[value] = Some(lanes);
        }
    }

    fn block(&mut self, func: &Function, block: Block) {
        for &inst in &func.blocks[block].insts {
            self.inst(func, inst);
        }
    }

    fn inst(&mut self, func: &Function, inst: Inst) {
        let data = &func.insts[inst];
        match data {
            InstData::For { lo, hi: _, step, rev: _, body, .. } => {
                let (lo, step) = (self.lanes(func, *lo), self.lanes(func, *step));
                for (i, &param) in func.blocks[*body].params.iter().enumerate() {
                    self.set_unknown(func, param);
                    if i == 0 {
                        self.lanes[param] = Some(Lanes::splat(None, lo.divisor.min(step.divisor), &[]));
                    }
                }
                self.block(func, *body);
            }
            InstData::Assume { cond } => self.assume(func, *cond),
            InstData::AssumeAligned { ptr, bytes } => {
                let mut lanes = self.lanes(func, *ptr);
                lanes.divisor = lanes.divisor.max(u64::from(*bytes));
                self.lanes[*ptr] = Some(lanes);
            }
            _ => {
                for block in data.blocks() {
                    for &param in &func.blocks[block].params {
                        self.set_unknown(func, param);
                    }
                    self.block(func, block);
                }
            }
        }
        let results = func.results_of(inst);
        for &result in results {
            self.set_unknown(func, result);
        }
        let [result] = *results else { return };
        let ty = func.ty(result);
        if ty.is_view() {
            if let Some(view) = self.view_result(func, data, ty) {
                self.views[result] = Some(view);
            }
        } else if let Some(lanes) = self.lanes_result(func, data, ty) {
            self.lanes[result] = Some(lanes);
        }
    }

    /// `assume(x % c == 0)`.
    fn assume(&mut self, func: &Function, cond: Value) {
        let Some(InstData::Cmp { op: CmpOp::Eq, a, b }) = func.def_data(cond) else { return };
        let Some(InstData::Binary { op: BinaryOp::Rem, a: value, b: divisor }) = func.def_data(*a) else { return };
        let (zero, known) = (self.lanes(func, *b).known, self.lanes(func, *divisor).known);
        if let (Some(0), Some(divisor)) = (zero, known) {
            let mut lanes = self.lanes(func, *value);
            lanes.divisor = lanes.divisor.max(low_bit(divisor));
            self.lanes[*value] = Some(lanes);
        }
    }

    fn view_result(&self, func: &Function, data: &InstData, ty: Type) -> Option<ViewFacts> {
        match data {
            InstData::MakeView { ptr, dims, strides } => {
                let fact = |v: &Value| fact_of(&self.lanes(func, *v));
                Some(ViewFacts {
                    align: self.lanes(func, *ptr).divisor.max(u64::from(ty.elem().bytes())),
                    dims: dims.iter().map(fact).collect(),
                    strides: strides.iter().map(fact).collect(),
                })
            }
            InstData::PermuteView { view, perm } => {
                let parent = self.view(func, *view);
                Some(ViewFacts {
                    align: parent.align,
                    dims: perm.iter().map(|&p| parent.dims[usize::from(p)]).collect(),
                    strides: perm.iter().map(|&p| parent.strides[usize::from(p)]).collect(),
                })
            }
            InstData::SubView { view, index } => {
                let parent = self.view(func, *view);
                let mut result = ViewFacts { align: parent.align, dims: smallvec![], strides: smallvec![] };
                let bytes = u64::from(ty.elem().bytes());
                let mut known = true;
                for (d, index) in index.iter().enumerate() {
                    let step = bytes * fact_divisor(parent.strides[d]);
                    match index {
                        ViewIndex::At(at) => {
                            // An index out of bounds makes every extent 0, so none is known any more.
                            known = false;
                            result.align = result.align.min(step * self.lanes(func, *at).divisor);
                        }
                        ViewIndex::Range { lo, hi } => {
                            let (lo, hi) = (self.lanes(func, *lo).divisor, self.lanes(func, *hi).divisor);
                            result.align = result.align.min(step * lo.min(fact_divisor(parent.dims[d])));
                            let divisor = lo.min(hi).min(fact_divisor(parent.dims[d])) as u32;
                            result.dims.push(IntFact { divisor, ..IntFact::default() });
                            result.strides.push(parent.strides[d]);
                        }
                        ViewIndex::Full => {
                            result.dims.push(parent.dims[d]);
                            result.strides.push(parent.strides[d]);
                        }
                    }
                }
                if !known {
                    for dim in &mut result.dims {
                        *dim = IntFact { divisor: fact_divisor(*dim) as u32, known: None, max: dim.max };
                    }
                }
                Some(result)
            }
            _ => None,
        }
    }

    fn lanes_result(&self, func: &Function, data: &InstData, ty: Type) -> Option<Lanes> {
        let shape = ty.shape();
        Some(match data {
            InstData::Const { value: Const::Int(c) } => Lanes::splat(Some(*c), low_bit(*c), shape),
            InstData::ProgramId { .. }
            | InstData::NumPrograms { .. }
            | InstData::BlockId
            | InstData::NumBlocks
            | InstData::ClusterRank
            | InstData::ConsumerGroup => Lanes::splat(None, 1, shape),
            InstData::Iota { start } => {
                Lanes { known: None, divisor: low_bit(*start), run: smallvec![low_bit(i64::from(shape[0]))], same: smallvec![1] }
            }
            InstData::ViewDim { view, axis } => Lanes::scalar(self.view(func, *view).dims[usize::from(*axis)]),
            InstData::ViewStride { view, axis } => Lanes::scalar(self.view(func, *view).strides[usize::from(*axis)]),
            InstData::ViewPtr { view } => Lanes::splat(None, self.view(func, *view).align, &[]),
            InstData::Cast { arg } if is_int(func.ty(*arg)) && is_int(ty) => {
                let wraps = ty.scalar_elem().is_some_and(|s| s.bytes() < 4);
                let lanes = self.lanes(func, *arg);
                // A wrapped run has a jump in it; the divisors of its starts survive.
                if wraps {
                    Lanes { known: None, run: smallvec![1; shape.len()], divisor: lanes.divisor_of_all(), ..lanes }
                } else {
                    lanes
                }
            }
            InstData::ConvertLayout { arg } => self.lanes(func, *arg),
            InstData::Broadcast { arg } => self.broadcast(func, *arg, shape),
            InstData::ExpandDims { arg, axis } => {
                let mut lanes = self.lanes(func, *arg);
                lanes.run.insert(usize::from(*axis), 1);
                lanes.same.insert(usize::from(*axis), 1);
                lanes
            }
            InstData::Permute { arg, perm } => {
                let lanes = self.lanes(func, *arg);
                Lanes {
                    run: perm.iter().map(|&p| lanes.run[usize::from(p)]).collect(),
                    same: perm.iter().map(|&p| lanes.same[usize::from(p)]).collect(),
                    ..lanes
                }
            }
            InstData::PtrAdd { ptr, offset } => {
                let (ptr_lanes, offset) = (self.lanes(func, *ptr), self.lanes(func, *offset));
                let bytes = u64::from(pointee_bytes(func.ty(*ptr)));
                let run = sum_runs(&ptr_lanes, &offset);
                Lanes {
                    known: None,
                    divisor: ptr_lanes.divisor_of_runs(&run).min(offset.divisor_of_runs(&run) * bytes),
                    same: equal_runs(&ptr_lanes, &offset),
                    run,
                }
            }
            InstData::Select { cond, a, b } => {
                let (cond, a, b) = (self.lanes(func, *cond), self.lanes(func, *a), self.lanes(func, *b));
                let of_cond = |i: usize, v: u64| v.min(cond.same[i]);
                let run: SmallVec<[u64; 4]> = (0..shape.len()).map(|i| of_cond(i, a.run[i].min(b.run[i]))).collect();
                Lanes {
                    known: None,
                    divisor: a.divisor_of_runs(&run).min(b.divisor_of_runs(&run)),
                    same: (0..shape.len()).map(|i| of_cond(i, a.same[i].min(b.same[i]))).collect(),
                    run,
                }
            }
            InstData::Binary { op, a, b } if is_int(ty) || is_bool(ty) => {
                self.binary(*op, &self.lanes(func, *a), &self.lanes(func, *b))
            }
            InstData::Cmp { op, a, b } if is_int(func.ty(*a)) => compare(*op, &self.lanes(func, *a), &self.lanes(func, *b)),
            _ => return None,
        })
    }

    fn broadcast(&self, func: &Function, arg: Value, shape: &[u32]) -> Lanes {
        let lanes = self.lanes(func, arg);
        let from = func.ty(arg).shape();
        let new = shape.len() - from.len();
        let mut run = smallvec![1; shape.len()];
        let mut same: SmallVec<[u64; 4]> = shape.iter().map(|&e| low_bit(i64::from(e))).collect();
        for d in new..shape.len() {
            if from[d - new] == shape[d] {
                run[d] = lanes.run[d - new];
                same[d] = lanes.same[d - new];
            }
        }
        Lanes { known: lanes.known, divisor: lanes.divisor_of_runs(&run[new..]), run, same }
    }

    fn binary(&self, op: BinaryOp, a: &Lanes, b: &Lanes) -> Lanes {
        let rank = a.run.len();
        let ones: SmallVec<[u64; 4]> = smallvec![1; rank];
        let same = equal_runs(a, b);
        let known = a.known.zip(b.known).and_then(|(a, b)| fold(op, a, b));
        let (run, divisor) = match op {
            BinaryOp::Add => {
                let run = sum_runs(a, b);
                let divisor = a.divisor_of_runs(&run).min(b.divisor_of_runs(&run));
                (run, divisor)
            }
            BinaryOp::Sub => {
                let run: SmallVec<[u64; 4]> = (0..rank).map(|i| a.run[i].min(b.same[i])).collect();
                let divisor = a.divisor_of_runs(&run).min(b.divisor_of_runs(&run));
                (run, divisor)
            }
            BinaryOp::Mul if b.known == Some(1) => (a.run.clone(), a.divisor),
            BinaryOp::Mul if a.known == Some(1) => (b.run.clone(), b.divisor),
            BinaryOp::Mul => (ones, (a.divisor_of_all() * b.divisor_of_all()).min(LARGEST)),
            BinaryOp::Shl if b.known.is_some_and(|s| (0..30).contains(&s)) => {
                let shift = b.known.unwrap_or(0);
                (ones, (a.divisor_of_all() << shift).min(LARGEST))
            }
            BinaryOp::Min | BinaryOp::Max => (ones, a.divisor_of_all().min(b.divisor_of_all())),
            BinaryOp::And => (ones, a.divisor_of_all().max(b.divisor_of_all())),
            BinaryOp::Or | BinaryOp::Xor => (ones, a.divisor_of_all().min(b.divisor_of_all())),
            BinaryOp::Rem => (ones, a.divisor_of_all().min(b.divisor_of_all())),
            _ => (ones, 1),
        };
        Lanes { known, divisor: known.map_or(divisor, low_bit), run, same }
    }
}

/// Lanes of `a op b` that are equal: a run against a bound is equal in groups that both are multiples of.
fn compare(op: CmpOp, a: &Lanes, b: &Lanes) -> Lanes {
    let against = |run: &Lanes, bound: &Lanes, i: usize| {
        let group = run.run[i].min(bound.same[i]);
        group.min(run.divisor).min(bound.divisor_of_all())
    };
    let same = (0..a.run.len())
        .map(|i| {
            let equal = a.same[i].min(b.same[i]);
            let aligned = match op {
                CmpOp::Lt | CmpOp::Ge => against(a, b, i),
                CmpOp::Gt | CmpOp::Le => against(b, a, i),
                CmpOp::Eq | CmpOp::Ne => 1,
            };
            equal.max(aligned)
        })
        .collect();
    Lanes { known: None, divisor: 1, run: smallvec![1; a.run.len()], same }
}

fn sum_runs(a: &Lanes, b: &Lanes) -> SmallVec<[u64; 4]> {
    (0..a.run.len()).map(|i| a.run[i].min(b.same[i]).max(a.same[i].min(b.run[i]))).collect()
}

fn equal_runs(a: &Lanes, b: &Lanes) -> SmallVec<[u64; 4]> {
    a.same.iter().zip(&b.same).map(|(&x, &y)| x.min(y)).collect()
}

fn fold(op: BinaryOp, a: i64, b: i64) -> Option<i64> {
    match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::Mul => a.checked_mul(b),
        BinaryOp::Min => Some(a.min(b)),
        BinaryOp::Max => Some(a.max(b)),
        _ => None,
    }
}

/// The greatest power of two that divides `x`, up to [`LARGEST`].
fn low_bit(x: i64) -> u64 {
    if x == 0 { LARGEST } else { (1 << x.trailing_zeros().min(30)) as u64 }
}

/// The greatest power of two known to divide a number.
pub(super) fn fact_divisor(fact: IntFact) -> u64 {
    fact.known.map_or_else(|| low_bit(i64::from(fact.divisor)), low_bit)
}

fn fact_of(lanes: &Lanes) -> IntFact {
    IntFact { known: lanes.known, divisor: lanes.divisor_of_all() as u32, max: lanes.known }
}

fn is_int(ty: Type) -> bool {
    ty.scalar_elem().is_some_and(|s| s.is_int())
}

fn is_bool(ty: Type) -> bool {
    ty.scalar_elem() == Some(kiln_ir::ScalarType::Bool)
}

/// Bytes of what the pointers of a tile point to.
pub(super) fn pointee_bytes(ty: Type) -> u32 {
    match ty.elem() {
        kiln_ir::Elem::Ptr { pointee, .. } => pointee.bytes(),
        kiln_ir::Elem::Scalar(s) => s.bytes(),
    }
}
