//! What an instruction refers to and does: operand and block visitors, effects.

use crate::entity::{Block, Value};
use crate::inst::{Combine, InstData, Place, SliceIndex, ViewIndex};
use crate::ops::MemOrder;

/// What an instruction does besides computing its results. Instructions with blocks add the effects of what is in them
/// (`Function::effects`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// Reads memory that stores can change.
    pub reads: bool,
    /// Writes memory.
    pub writes: bool,
    /// Must stay where it is though nothing uses it: atomics, barriers, assert, print, assume, calls.
    pub pinned: bool,
    /// Ends a block.
    pub terminator: bool,
}

impl Effects {
    /// No effect at all: may be removed when unused, merged with an equal one, moved.
    pub fn is_pure(self) -> bool {
        self == Effects::default()
    }

    /// Both effects.
    pub fn union(self, other: Effects) -> Effects {
        Effects {
            reads: self.reads || other.reads,
            writes: self.writes || other.writes,
            pinned: self.pinned || other.pinned,
            terminator: self.terminator || other.terminator,
        }
    }
}

impl Place {
    /// Calls `f` on every value the place refers to.
    pub fn visit(&self, f: &mut impl FnMut(Value)) {
        match self {
            Place::Ptr(p) => f(*p),
            Place::View(access) => {
                f(access.view);
                for index in &access.index {
                    match index {
                        SliceIndex::At(v) | SliceIndex::Gather(v) | SliceIndex::Span { start: v, .. } => f(*v),
                    }
                }
            }
        }
    }

    fn visit_mut(&mut self, f: &mut impl FnMut(&mut Value)) {
        match self {
            Place::Ptr(p) => f(p),
            Place::View(access) => {
                f(&mut access.view);
                for index in &mut access.index {
                    match index {
                        SliceIndex::At(v) | SliceIndex::Gather(v) | SliceIndex::Span { start: v, .. } => f(v),
                    }
                }
            }
        }
    }
}

/// One list of the operands of every variant, expanded for shared and for mutable access so that the two cannot drift.
macro_rules! operands {
    ($data:expr, $f:expr, $visit:ident, $iter:ident) => {{
        use InstData::*;
        let f = $f;
        match $data {
            Const { .. } | ConstTile { .. } | ProgramId { .. } | NumPrograms { .. } | NumSms | Iota { .. } | GridSync => {}
            BlockId | NumBlocks | ClusterRank | ConsumerGroup => {}
            RingNew { .. } | RingCommit | RingWait { .. } | BarrierNew { .. } | IsProducer | TmaStoreWait => {}
            TakeTurn | PassTurn => {}
            DotWait { arg, .. } => arg.$iter().for_each(f),
            BarrierExpect { barrier, slot, .. } => {
                f(barrier);
                f(slot);
            }
            BarrierArrive { barrier, slot, enable, .. } => {
                f(barrier);
                f(slot);
                enable.$iter().for_each(f);
            }
            BarrierWait { barrier, slot, phase } => {
                f(barrier);
                f(slot);
                f(phase);
            }
            TmaFill { place, ring, slot, barrier, share, tf32: _ } => {
                place.$visit(f);
                f(ring);
                f(slot);
                f(barrier);
                share.$iter().for_each(f);
            }
            TmaStore { place, value, .. } => {
                place.$visit(f);
                f(value);
            }
            RingAcquire { ring } => f(ring),
            RingFill { place, mask, ring, slot, enable, .. } => {
                place.$visit(f);
                mask.$iter().for_each(&mut *f);
                f(ring);
                f(slot);
                enable.$iter().for_each(f);
            }
            RingRead { ring, slot } => {
                f(ring);
                f(slot);
            }
            Unary { arg, .. }
            | Cast { arg }
            | Bitcast { arg }
            | Broadcast { arg }
            | ExpandDims { arg, .. }
            | Reshape { arg }
            | Permute { arg, .. }
            | Split { arg }
            | ExtractSlice { arg, .. }
            | Flip { arg, .. }
            | ConvertLayout { arg }
            | Hold { arg }
            | ClusterSum { arg }
            | TopK { arg, .. } => f(arg),
            Binary { a, b, .. } | Cmp { a, b, .. } | Join { a, b } => {
                f(a);
                f(b);
            }
            Fma { a, b, c } => {
                f(a);
                f(b);
                f(c);
            }
            Select { cond, a, b } => {
                f(cond);
                f(a);
                f(b);
            }
            PtrAdd { ptr, offset } => {
                f(ptr);
                f(offset);
            }
            Cat { args, .. }
            | Reduce { args, .. }
            | Scan { args, .. }
            | Sort { args, .. }
            | Yield { args }
            | Call { args, .. }
            | Print { args, .. }
            | InlineAsm { args, .. } => args.$iter().for_each(f),
            Gather { src, index, .. } => {
                f(src);
                f(index);
            }
            MakeView { ptr, dims, strides } => {
                f(ptr);
                dims.$iter().for_each(&mut *f);
                strides.$iter().for_each(f);
            }
            SubView { view, index } => {
                f(view);
                for index in index {
                    match index {
                        ViewIndex::At(v) => f(v),
                        ViewIndex::Range { lo, hi } => {
                            f(lo);
                            f(hi);
                        }
                        ViewIndex::Full => {}
                    }
                }
            }
            PermuteView { view, .. } | ViewDim { view, .. } | ViewStride { view, .. } | ViewPtr { view } => f(view),
            Load { place, mask, other, .. } => {
                place.$visit(f);
                mask.$iter().for_each(&mut *f);
                other.$iter().for_each(f);
            }
            Store { place, value, mask, .. } | AtomicRmw { place, value, mask, .. } | AtomicStore { place, value, mask, .. } => {
                place.$visit(f);
                f(value);
                mask.$iter().for_each(f);
            }
            Prefetch { place, mask } | AtomicLoad { place, mask, .. } => {
                place.$visit(f);
                mask.$iter().for_each(f);
            }
            AtomicCas { place, expected, value, mask, .. } => {
                place.$visit(f);
                f(expected);
                f(value);
                mask.$iter().for_each(f);
            }
            Dot { a, b, acc, .. } | DotStart { a, b, acc, .. } => {
                f(a);
                f(b);
                acc.$iter().for_each(f);
            }
            DotScaled { a, a_scale, b, b_scale, acc, .. } => {
                f(a);
                f(a_scale);
                f(b);
                f(b_scale);
                acc.$iter().for_each(f);
            }
            Histogram { arg, mask, .. } => {
                f(arg);
                mask.$iter().for_each(f);
            }
            For { lo, hi, step, init, .. } => {
                f(lo);
                f(hi);
                f(step);
                init.$iter().for_each(f);
            }
            While { init, .. } => init.$iter().for_each(f),
            If { cond, .. } | Assert { cond, .. } | Assume { cond } => f(cond),
            AssumeAligned { ptr, .. } => f(ptr),
        }
    }};
}

impl InstData {
    /// Calls `f` on every operand, in order; not on values used inside the instruction's blocks.
    pub fn visit_operands(&self, mut f: impl FnMut(Value)) {
        fn run(data: &InstData, f: &mut impl FnMut(&Value)) {
            operands!(data, f, visit_ref, iter);
        }
        run(self, &mut |v: &Value| f(*v));
    }

    /// Calls `f` on every operand, in the order of `visit_operands`, to replace it.
    pub fn visit_operands_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        fn run(data: &mut InstData, f: &mut impl FnMut(&mut Value)) {
            operands!(data, f, visit_mut, iter_mut);
        }
        run(self, &mut f);
    }

    /// The operands as a list.
    pub fn operands(&self) -> smallvec::SmallVec<[Value; 8]> {
        let mut list = smallvec::SmallVec::new();
        self.visit_operands(|v| list.push(v));
        list
    }

    /// The blocks the instruction owns, in order.
    pub fn blocks(&self) -> smallvec::SmallVec<[Block; 2]> {
        match self {
            InstData::For { body, .. } => smallvec::smallvec![*body],
            InstData::While { cond, body, .. } => smallvec::smallvec![*cond, *body],
            InstData::If { then, otherwise, .. } => smallvec::smallvec![*then, *otherwise],
            InstData::Reduce { combine: Combine::Region(body), .. } | InstData::Scan { combine: Combine::Region(body), .. } => {
                smallvec::smallvec![*body]
            }
            _ => smallvec::SmallVec::new(),
        }
    }

    /// Calls `f` on every block the instruction owns, to replace it.
    pub fn visit_blocks_mut(&mut self, mut f: impl FnMut(&mut Block)) {
        match self {
            InstData::For { body, .. } => f(body),
            InstData::While { cond, body, .. } => {
                f(cond);
                f(body);
            }
            InstData::If { then, otherwise, .. } => {
                f(then);
                f(otherwise);
            }
            InstData::Reduce { combine: Combine::Region(body), .. } | InstData::Scan { combine: Combine::Region(body), .. } => {
                f(body)
            }
            _ => {}
        }
    }

    /// The memory order of an atomic.
    pub fn order(&self) -> Option<MemOrder> {
        match self {
            InstData::AtomicRmw { order, .. }
            | InstData::AtomicCas { order, .. }
            | InstData::AtomicLoad { order, .. }
            | InstData::AtomicStore { order, .. } => Some(*order),
            _ => None,
        }
    }

    /// The instruction's own effects, without those of its blocks.
    pub fn own_effects(&self) -> Effects {
        let none = Effects::default();
        match self {
            InstData::Load { .. } => Effects { reads: true, ..none },
            InstData::Store { .. } | InstData::TmaStore { .. } => Effects { writes: true, pinned: true, ..none },
            InstData::AtomicRmw { .. }
            | InstData::AtomicCas { .. }
            | InstData::AtomicLoad { .. }
            | InstData::AtomicStore { .. }
            | InstData::GridSync
            | InstData::Call { .. } => Effects { reads: true, writes: true, pinned: true, ..none },
            InstData::InlineAsm { pure_: false, .. } => Effects { reads: true, writes: true, pinned: true, ..none },
            InstData::RingFill { .. } | InstData::RingRead { .. } | InstData::TmaFill { .. } => {
                Effects { reads: true, pinned: true, ..none }
            }
            InstData::DotStart { .. }
            | InstData::DotWait { .. }
            | InstData::Hold { .. }
            | InstData::ClusterSum { .. }
            | InstData::BarrierNew { .. }
            | InstData::BarrierExpect { .. }
            | InstData::BarrierArrive { .. }
            | InstData::BarrierWait { .. }
            | InstData::IsProducer
            | InstData::TmaStoreWait
            | InstData::TakeTurn
            | InstData::PassTurn
            | InstData::RingNew { .. }
            | InstData::RingAcquire { .. }
            | InstData::RingCommit
            | InstData::RingWait { .. }
            | InstData::Prefetch { .. }
            | InstData::Assert { .. }
            | InstData::Print { .. }
            | InstData::Assume { .. }
            | InstData::AssumeAligned { .. } => Effects { pinned: true, ..none },
            InstData::Yield { .. } => Effects { pinned: true, terminator: true, ..none },
            // A loop that never ends is an effect of its own: a `while` stays.
            InstData::While { .. } => Effects { pinned: true, ..none },
            _ => none,
        }
    }
}

impl Place {
    fn visit_ref(&self, f: &mut impl FnMut(&Value)) {
        self.visit(&mut |v| f(&v));
    }
}
