//! `canonicalize`: one spelling for each meaning. Folds constants, applies identities that hold bit for bit, merges chains of shape operations,
//! reads known facts of tensors, and removes control flow whose outcome is known.
//!
//! Float identities are only those that are exact for every input, signed zeros and infinities included (NaN stays NaN; its payload is
//! nobody's business): `x * 1`, `x - 0`, `x + -0`, `x / 2^k`, never `x + 0` or `x - x`. Constants stand right of commutative operators.
//!
//! ```text
//! before: v2: i32 = const 2
//!         v3: i32 = const 3
//!         v4: i32 = mul v2, v3
//!         v5: i32 = add v4, v0
//! after:  v2: i32 = const 6
//!         v3: i32 = add v0, v2
//! ```
//!
//! `lanes` holds the rules of lane-by-lane instructions, `shapes` those of shape operations, `memory` those of views and accesses, `control` those
//! of loops, branches and regions.

mod control;
mod lanes;
mod memory;
mod shapes;

use kiln_ir::{Block, Const, Function, Inst, InstData, SrcLoc, Type, Value, ValueList};
use smallvec::{SmallVec, smallvec};

use crate::manager::{PassContext, PassResult};
use crate::replace::Replacements;

/// Runs the pass: walks over the function until nothing changes.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    // What a walk leaves to the next is loops that a body's simplification opened; nests are shallow.
    for _ in 0..8 {
        let mut walk = Walk { func, map: Replacements::default(), out: Vec::new(), loc: SrcLoc::UNKNOWN, changed: false };
        let body = walk.func.body;
        walk.block(body);
        if !walk.changed {
            break;
        }
    }
    Ok(())
}

/// What a rule makes of an instruction.
enum Step {
    /// Nothing to do.
    Keep,
    /// The instruction was changed in place: look again.
    Again,
    /// These values stand for the results; the instruction goes.
    Values(SmallVec<[Value; 2]>),
}

impl Step {
    fn value(value: Value) -> Step {
        Step::Values(smallvec![value])
    }

    /// The instruction goes; it had no results.
    fn remove() -> Step {
        Step::Values(SmallVec::new())
    }
}

/// One walk over a function, in order.
struct Walk<'f> {
    func: &'f mut Function,
    map: Replacements,
    /// The rebuilt instructions of the block being walked.
    out: Vec<Inst>,
    /// The place of the instruction being looked at, for new ones.
    loc: SrcLoc,
    changed: bool,
}

impl Walk<'_> {
    fn block(&mut self, block: Block) {
        let outer = std::mem::take(&mut self.out);
        for inst in std::mem::take(&mut self.func.blocks[block].insts) {
            self.inst(inst);
        }
        self.func.blocks[block].insts = std::mem::replace(&mut self.out, outer);
    }

    fn inst(&mut self, inst: Inst) {
        let outer_loc = std::mem::replace(&mut self.loc, self.func.locs[inst]);
        loop {
            self.map.apply(self.func, inst);
            match self.step(inst) {
                Step::Keep => break,
                Step::Again => self.changed = true,
                Step::Values(values) => {
                    self.changed = true;
                    for (number, value) in values.into_iter().enumerate() {
                        let result = self.func.results_of(inst)[number];
                        self.map.set(self.func, result, value);
                    }
                    self.loc = outer_loc;
                    return;
                }
            }
        }
        for block in self.func.insts[inst].blocks() {
            self.block(block);
        }
        self.out.push(inst);
        self.loc = outer_loc;
    }

    fn step(&mut self, inst: Inst) -> Step {
        use InstData::*;
        match &self.func.insts[inst] {
            Unary { .. }
            | Binary { .. }
            | Fma { .. }
            | Cmp { .. }
            | Select { .. }
            | Cast { .. }
            | Bitcast { .. }
            | PtrAdd { .. } => self.lanes(inst),
            Broadcast { .. }
            | ExpandDims { .. }
            | Reshape { .. }
            | Permute { .. }
            | Flip { .. }
            | ExtractSlice { .. }
            | Cat { .. }
            | Join { .. }
            | Split { .. }
            | ConstTile { .. } => self.shapes(inst),
            PermuteView { .. }
            | ViewDim { .. }
            | ViewStride { .. }
            | ViewPtr { .. }
            | Load { .. }
            | Store { .. }
            | Prefetch { .. }
            | AtomicRmw { .. }
            | AtomicCas { .. }
            | AtomicLoad { .. }
            | AtomicStore { .. }
            | Histogram { .. } => self.memory(inst),
            For { .. } | While { .. } | If { .. } | Reduce { .. } | Scan { .. } | Assert { .. } | Assume { .. } => {
                self.control(inst)
            }
            Const { .. }
            | ProgramId { .. }
            | NumPrograms { .. }
            | NumSms
            | BlockId
            | NumBlocks
            | ClusterRank
            | Iota { .. }
            | ConvertLayout { .. }
            | Gather { .. } => Step::Keep,
            MakeView { .. } | SubView { .. } | Dot { .. } | DotScaled { .. } | Sort { .. } | TopK { .. } => Step::Keep,
            Yield { .. } | Call { .. } | Print { .. } | AssumeAligned { .. } | GridSync | InlineAsm { .. } => Step::Keep,
            RingNew { .. } | RingAcquire { .. } | RingFill { .. } | RingCommit | RingWait { .. } | RingRead { .. } => Step::Keep,
            DotStart { .. } | DotWait { .. } | Hold { .. } | BarrierNew { .. } | BarrierExpect { .. } => Step::Keep,
            BarrierArrive { .. } | BarrierWait { .. } | TmaFill { .. } | TmaStore { .. } | TmaStoreWait => Step::Keep,
            IsProducer | ClusterSum { .. } | ConsumerGroup | TakeTurn | PassTurn => Step::Keep,
        }
    }

    // ---- what rules ask and make ----

    fn ty(&self, value: Value) -> Type {
        self.func.ty(value)
    }

    /// The instruction that defines a value, seen through pending replacements.
    fn def(&self, value: Value) -> Option<&InstData> {
        self.func.def_data(value)
    }

    /// The value of every lane, if it is constant.
    fn splat(&self, value: Value) -> Option<Const> {
        match self.def(value)? {
            InstData::Const { value } => Some(*value),
            _ => None,
        }
    }

    fn int(&self, value: Value) -> Option<i64> {
        match self.splat(value)? {
            Const::Int(v) => Some(v),
            Const::Float(_) => None,
        }
    }

    /// A new instruction with one result in front of the one being looked at, itself simplified.
    fn make(&mut self, data: InstData, ty: Type) -> Value {
        let inst = self.func.make_inst(data, &[ty], self.loc);
        let result = self.func.result(inst);
        self.inst(inst);
        self.map.resolve(result)
    }

    fn constant(&mut self, value: Const, ty: Type) -> Value {
        self.make(InstData::Const { value }, ty)
    }

    /// Stands for an instruction with one result.
    fn replace_by_const(&mut self, inst: Inst, value: Const) -> Step {
        let ty = self.ty(self.func.result(inst));
        Step::value(self.constant(value, ty))
    }

    fn replace_by(&mut self, inst: Inst, data: InstData) -> Step {
        self.func.insts[inst] = data;
        Step::Again
    }
}

/// A list of one.
fn one(value: Value) -> ValueList {
    smallvec![value]
}
