//! Decides, before any LLVM is built, where every tile lives and which loops are made.
//!
//! Every tile value gets a [`Form`]: *inline* values are recomputed per lane group where they are needed, *buffer* values live in scratch memory. What forces
//! work to happen is a *root* (a store, a reduction, a value to be materialized, ..). Roots over one domain that do not depend on each other's finished
//! results share one loop nest, a [`Group`]. A block becomes a list of [`Step`]s.
//!
//! * `alias` — which accesses may touch the same memory; positions and writes
//! * `cost`  — cost of recomputation
//! * `forms` — the forms of all values (one backward pass)
//! * `group` — steps and groups of a block, second-use materialization, destinations of loop-carried tiles
//! * `axes`  — which axis of a group is vectorized, and how wide

pub(crate) mod alias;
pub(crate) mod axes;
pub(crate) mod cost;
pub(crate) mod forms;
pub(crate) mod group;

use kiln_ir::{Block, Function, Inst, Shape, Value};
use rustc_hash::FxHashMap;

pub(crate) use forms::Form;

/// Where a materialized value goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dest {
    /// A scratch buffer of its own.
    Own,
    /// The next-iteration buffer of carried tile `n` of the loop (or result `n` of the `if`) whose block is being emitted.
    Slot(u16),
}

/// Something that forces computation inside a loop nest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Root {
    /// A `Store` through a view or pointers.
    Store(Inst),
    /// A `Reduce`.
    Reduce(Inst),
    /// Writes an inline (or foreign buffer) value to memory.
    Materialize(Value, Dest),
    /// An `Assert` on a tile.
    Assert(Inst),
}

/// Roots that share a loop nest over one domain.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The domain.
    pub shape: Shape,
    /// The axis folded by the group's reductions, if it has any.
    pub reduce_axis: Option<usize>,
    /// Roots in program order.
    pub roots: Vec<Root>,
}

/// A step of a block.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// An instruction whose results are scalars or views, or a scalar memory operation.
    Scalar(Inst),
    /// A loop nest.
    Loop(Group),
    /// An instruction on whole buffers (dot, sort, scan, atomics on tiles, ..); its buffer operands are materialized before.
    Whole(Inst),
    /// `For`, `While`, `If`.
    Control(Inst),
}

/// The plan of a function.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Steps of each block, the `Yield` not included.
    pub steps: FxHashMap<Block, Vec<Step>>,
    /// Form of every tile value.
    pub forms: FxHashMap<Value, Form>,
    /// Destination of values that are produced by a `Whole` step straight into a carried slot.
    pub dests: FxHashMap<Value, Dest>,
    /// Per loop body: which carried tiles are updated in place (the others have two buffers that swap).
    pub in_place: FxHashMap<Block, Vec<bool>>,
}

/// Plans a kernel.
pub(crate) fn plan(func: &Function) -> Plan {
    let order = alias::Order::new(func);
    let analysis = forms::analyze(func, &order);
    let mut plan = Plan::default();
    group::plan_block(func, &order, &analysis, func.body, &mut plan);
    for (&v, &form) in &analysis.forms {
        plan.forms.entry(v).or_insert(form);
    }
    plan
}
