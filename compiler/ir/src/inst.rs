//! The instruction set of the Tile IR: one enum with named fields.
//!
//! Operands of lane-by-lane instructions have equal shapes: broadcasting is explicit (`Broadcast`). Scalars are tiles of rank 0.
//! Type rules are written at each variant and checked by `verify`. Adding an instruction: see docs/architecture.md, "Add an instruction".

mod parts;

pub use parts::{Combine, Const, LoopAttrs, Place, SliceIndex, ViewAccess, ViewIndex};

use std::sync::Arc;

use smallvec::SmallVec;

use crate::entity::{Block, FuncRef, LayoutId, Value};
use crate::ops::*;

/// A list of values, inline for the common sizes.
pub type ValueList = SmallVec<[Value; 4]>;

/// One instruction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum InstData {
    // ---- constants and launch facts ----
    /// A splat constant. Result: any tile type.
    Const {
        /// The value of every lane.
        value: Const,
    },
    /// A constant tile, row-major. Result: a tile with exactly `values.len()` elements.
    ConstTile {
        /// Row-major elements.
        values: Arc<[Const]>,
    },
    /// Result: scalar `index`.
    ProgramId {
        /// 0 to 4.
        axis: u8,
    },
    /// Result: scalar `index`, the grid's extent.
    NumPrograms {
        /// 0 to 4.
        axis: u8,
    },
    /// Result: scalar `index`, the number of multiprocessors (worker threads on the CPU).
    NumSms,
    /// Result: scalar `index`, the number of the thread block, or of the cluster, among those that run the programs in an order of their own (GPU only, the pass
    /// `persist`).
    BlockId,
    /// Result: scalar `index`, how many thread blocks, or clusters, share the programs of a persistent kernel (GPU only).
    NumBlocks,
    /// Result: scalar `index`, which of the two thread blocks of a cluster this is: 0 or 1 (GPU only, the pass `persist`).
    ClusterRank,
    /// `start, start + 1, ..`. Result: rank-1 tile of an integer type.
    Iota {
        /// Value of lane 0.
        start: i64,
    },

    // ---- lane by lane ----
    /// Result: the operand's type.
    Unary {
        /// Operator.
        op: UnaryOp,
        /// Operand.
        arg: Value,
    },
    /// Operands of one type, which is the result's. For `Shl`/`Shr` too (sema casts the amount).
    Binary {
        /// Operator.
        op: BinaryOp,
        /// Left operand.
        a: Value,
        /// Right operand.
        b: Value,
    },
    /// a * b + c with one rounding; floats of one type.
    Fma {
        /// Factor.
        a: Value,
        /// Factor.
        b: Value,
        /// Addend.
        c: Value,
    },
    /// Operands of one type (pointers allowed for Eq/Ne); result bool of that shape.
    Cmp {
        /// Predicate.
        op: CmpOp,
        /// Left operand.
        a: Value,
        /// Right operand.
        b: Value,
    },
    /// `cond` is bool of the result's shape; `a` where true, `b` where false (same type).
    Select {
        /// Condition.
        cond: Value,
        /// Taken where true.
        a: Value,
        /// Taken where false.
        b: Value,
    },
    /// Numeric conversion with the semantics of Rust's `as`: float to int saturates (NaN gives 0), int to int wraps, narrowing floats round to nearest
    /// even. f8 saturates to the largest finite value, infinities included, as the GPU's conversion does (PTX ISA, `cvt.satfinite`). A
    /// conversion to `index` from a wider integer than its chosen width saturates, so that an out-of-bounds index stays out of bounds.
    Cast {
        /// Operand; the result has its shape and another element type.
        arg: Value,
    },
    /// Same bits, another element type of the same size (pointers count as 64 bits).
    Bitcast {
        /// Operand.
        arg: Value,
    },
    /// `ptr + offset * sizeof(pointee)`; pointer tile and `index` tile of one shape.
    PtrAdd {
        /// Pointers.
        ptr: Value,
        /// Offsets in elements.
        offset: Value,
    },

    // ---- shape ----
    /// Numpy broadcasting of the operand (aligned at the last axis; rank may grow, extents of 1 stretch) to the result's shape.
    Broadcast {
        /// Operand.
        arg: Value,
    },
    /// Inserts an axis of extent 1 at `axis`.
    ExpandDims {
        /// Operand.
        arg: Value,
        /// Position of the new axis in the result.
        axis: u8,
    },
    /// Row-major reinterpretation: same number of elements.
    Reshape {
        /// Operand.
        arg: Value,
    },
    /// Result axis `i` is operand axis `perm[i]`.
    Permute {
        /// Operand.
        arg: Value,
        /// A permutation of the operand's axes.
        perm: SmallVec<[u8; 4]>,
    },
    /// Two tiles of one type become one with a new last axis of extent 2.
    Join {
        /// Element 0 of the new axis.
        a: Value,
        /// Element 1 of the new axis.
        b: Value,
    },
    /// Two results: elements 0 and 1 of the last axis (extent 2), which is dropped.
    Split {
        /// Operand.
        arg: Value,
    },
    /// Concatenation along `axis`.
    Cat {
        /// Operands: same element type, extents equal except along `axis`.
        args: ValueList,
        /// The axis.
        axis: u8,
    },
    /// The part of a tile that starts at `starts` and has the result's shape (same rank).
    ExtractSlice {
        /// Operand.
        arg: Value,
        /// First element along each axis.
        starts: SmallVec<[u32; 4]>,
    },
    /// Rank-1 `src`: `result[i..] = src[index[i..]]`, result shaped like `index`. Else along `axis`: index and result have src's rank and extents except
    /// along `axis`. An index out of bounds gives 0. `index` is any integer type.
    Gather {
        /// Table.
        src: Value,
        /// Positions.
        index: Value,
        /// Axis of `src` that `index` selects from.
        axis: u8,
    },
    /// Reverses an axis.
    Flip {
        /// Operand.
        arg: Value,
        /// The axis.
        axis: u8,
    },

    /// The same tile in the layout of the result's type. Only after layout assignment (GPU).
    ConvertLayout {
        /// Operand: a tile of the result's element type and shape.
        arg: Value,
    },

    // ---- tensor views ----
    /// A view from a scalar pointer, dims and strides (elements), all scalar `index`. Result: view type.
    MakeView {
        /// Base.
        ptr: Value,
        /// Extents.
        dims: ValueList,
        /// Strides in elements.
        strides: ValueList,
    },
    /// A smaller view. Result: view of the remaining rank (at least 1).
    SubView {
        /// Parent.
        view: Value,
        /// One entry a dimension.
        index: SmallVec<[ViewIndex; 4]>,
    },
    /// Result dimension `i` is operand dimension `perm[i]`.
    PermuteView {
        /// Operand.
        view: Value,
        /// A permutation.
        perm: SmallVec<[u8; 4]>,
    },
    /// Result: scalar `index`.
    ViewDim {
        /// Operand.
        view: Value,
        /// Dimension.
        axis: u8,
    },
    /// Result: scalar `index`, in elements.
    ViewStride {
        /// Operand.
        view: Value,
        /// Dimension.
        axis: u8,
    },
    /// Result: scalar pointer to the first element.
    ViewPtr {
        /// Operand.
        view: Value,
    },

    // ---- memory ----
    /// Result: a tile of the access's shape (for views: rule at `SliceIndex`; for pointers: the pointers' shape). Lanes out of bounds or masked off read
    /// `other`, or 0.
    Load {
        /// Source.
        place: Place,
        /// Bool tile of the result's shape.
        mask: Option<Value>,
        /// Tile of the result's type.
        other: Option<Value>,
        /// Cache operator.
        cache: CacheOp,
        /// Eviction priority.
        evict: Evict,
    },
    /// Writes `value` (tile of the access's shape) where in bounds and not masked off. No result.
    Store {
        /// Destination.
        place: Place,
        /// What is written.
        value: Value,
        /// Bool tile of the value's shape.
        mask: Option<Value>,
        /// Cache operator.
        cache: CacheOp,
        /// Eviction priority.
        evict: Evict,
    },
    /// Brings the access's lines towards the processor. No result, no effect on values.
    Prefetch {
        /// Source.
        place: Place,
        /// Bool tile of the access's shape.
        mask: Option<Value>,
    },
    /// Atomic read-modify-write a lane; result: the old values (0 in lanes that take no part).
    AtomicRmw {
        /// Operator.
        op: AtomicOp,
        /// Destination.
        place: Place,
        /// Operand, of the access's shape.
        value: Value,
        /// Bool tile of that shape.
        mask: Option<Value>,
        /// Memory order.
        order: MemOrder,
        /// Scope.
        scope: MemScope,
    },
    /// Atomic compare and swap a lane (integers); result: the old values (0 in lanes that take no part).
    AtomicCas {
        /// Destination.
        place: Place,
        /// Expected values.
        expected: Value,
        /// New values.
        value: Value,
        /// Bool tile of that shape.
        mask: Option<Value>,
        /// Memory order.
        order: MemOrder,
        /// Scope.
        scope: MemScope,
    },
    /// Atomic load a lane.
    AtomicLoad {
        /// Source.
        place: Place,
        /// Bool tile of the access's shape.
        mask: Option<Value>,
        /// Memory order.
        order: MemOrder,
        /// Scope.
        scope: MemScope,
    },
    /// Atomic store a lane. No result.
    AtomicStore {
        /// Destination.
        place: Place,
        /// What is written.
        value: Value,
        /// Bool tile of the value's shape.
        mask: Option<Value>,
        /// Memory order.
        order: MemOrder,
        /// Scope.
        scope: MemScope,
    },

    // ---- across lanes ----
    /// `a: [B.., M, K]`, `b: [B.., K, N]` of one element type; `acc` and result `[B.., M, N]`. At most one batch axis.
    Dot {
        /// Left operand.
        a: Value,
        /// Right operand.
        b: Value,
        /// Added to the product.
        acc: Option<Value>,
        /// Input rounding.
        precision: DotPrecision,
    },
    /// Block-scaled product (OCP MX): 32 consecutive k values share one e8m0 scale. `e2m1` operands hold two values a byte along k (low nibble first).
    DotScaled {
        /// `[M, K]` (or packed).
        a: Value,
        /// `[M, K / 32]` u8.
        a_scale: Value,
        /// Format of `a`.
        a_format: ScaledFormat,
        /// `[K, N]` (or packed).
        b: Value,
        /// `[N, K / 32]` u8.
        b_scale: Value,
        /// Format of `b`.
        b_format: ScaledFormat,
        /// `[M, N]` f32.
        acc: Option<Value>,
    },
    /// Folds `axis`; one result an operand, without that axis. Operands have one shape.
    Reduce {
        /// Operands.
        args: ValueList,
        /// The axis.
        axis: u8,
        /// The combination.
        combine: Combine,
    },
    /// Inclusive prefix combination along `axis`; results have the operands' types.
    Scan {
        /// Operands.
        args: ValueList,
        /// The axis.
        axis: u8,
        /// From the last element to the first.
        reverse: bool,
        /// The combination.
        combine: Combine,
    },
    /// Stable sort along `axis` by the first operand; the others follow. NaN is the greatest.
    Sort {
        /// Keys, then payloads of the same shape.
        args: ValueList,
        /// The axis.
        axis: u8,
        /// Greatest first.
        descending: bool,
    },
    /// The k greatest along the last axis, greatest first (ties: lowest position). Results: values and i32 positions, last extent `k`.
    TopK {
        /// Operand.
        arg: Value,
        /// At most the last extent.
        k: u32,
    },
    /// Counts of the values 0..bins in an integer tile; others are not counted. Result: `tile<i32, [bins]>`.
    Histogram {
        /// Operand, any shape.
        arg: Value,
        /// Number of bins.
        bins: u32,
        /// Bool tile of the operand's shape.
        mask: Option<Value>,
    },

    // ---- control ----
    /// `for iv in lo..hi step step`: the body's parameters are (iv, carried..), it yields the next carried values, which are the results after the last trip.
    /// `lo`, `hi`, `step` have one scalar integer type, the counter's. `step` is at least 1; a step <= 0 runs nothing. `rev` runs the same counters
    /// backwards.
    For {
        /// First counter.
        lo: Value,
        /// Exclusive bound.
        hi: Value,
        /// Distance of counters.
        step: Value,
        /// Run from the last counter to the first.
        rev: bool,
        /// Carried values at the start.
        init: ValueList,
        /// The body.
        body: Block,
        /// Source attributes.
        attrs: LoopAttrs,
    },
    /// `cond` has the carried values as parameters and yields (bool, v1..vn); while true, `body` gets (v1..vn) and yields the next carried values. Results: v1..vn of
    /// the evaluation that gave false.
    While {
        /// Carried values at the start.
        init: ValueList,
        /// The condition block.
        cond: Block,
        /// The body.
        body: Block,
    },
    /// Both blocks have no parameters and yield the results.
    If {
        /// Scalar bool.
        cond: Value,
        /// Runs when true.
        then: Block,
        /// Runs when false.
        otherwise: Block,
    },
    /// Ends every block: results of the block. A function's body yields its results (a kernel's: none).
    Yield {
        /// Values.
        args: ValueList,
    },
    /// Calls a device function; removed by the inline pass.
    Call {
        /// The callee.
        func: FuncRef,
        /// Arguments.
        args: ValueList,
    },

    // ---- staging in shared memory (GPU only) ----
    /// A ring of `slots` tiles in shared memory with nothing in them. Result: the type of one of them, a tile in a layout of shared memory.
    RingNew {
        /// Number of tiles.
        slots: u32,
    },
    /// Waits until no thread reads or fills the ring any more: a barrier of the CTA.
    RingAcquire {
        /// From `RingNew`.
        ring: Value,
    },
    /// Starts to copy elements of global memory, which nothing writes meanwhile, into a slot. Elements out of bounds or masked off are 0, and so is all
    /// that the slot's layout pads.
    RingFill {
        /// Source, of the ring's element type and shape.
        place: Place,
        /// Bool tile of that shape.
        mask: Option<Value>,
        /// From `RingNew`.
        ring: Value,
        /// Scalar i32 below the number of slots.
        slot: Value,
        /// Scalar bool: where it is false nothing happens.
        enable: Option<Value>,
        /// Which thread copies what, after layout assignment.
        layout: Option<LayoutId>,
    },
    /// Ends a group of fills.
    RingCommit,
    /// Waits until all groups but the newest `pending` are in shared memory, for every thread: a barrier of the CTA.
    RingWait {
        /// Groups that may be under way.
        pending: u32,
    },
    /// The tile in a slot, which is there until the slot is filled again. Result: the ring's type, which moves nothing; or the same tile in registers (without a
    /// layout, or in one of threads).
    RingRead {
        /// From `RingNew`.
        ring: Value,
        /// Scalar i32 below the number of slots.
        slot: Value,
    },

    // ---- warpgroups, barriers in memory, roles (GPU only, sm_90a) ----
    /// Starts a `Dot` on the tensor cores of warpgroups, which read `b`, and `a` where it is in shared memory, on their own. Neither the result nor `acc` nor an
    /// `a` in registers may be touched before a `DotWait`.
    DotStart {
        /// Left operand.
        a: Value,
        /// Right operand.
        b: Value,
        /// Added to the product.
        acc: Option<Value>,
        /// Input rounding.
        precision: DotPrecision,
    },
    /// Waits until all products but the newest `pending` are done. Result: `arg`, the result of a `DotStart`, as it then is; none without `arg`.
    DotWait {
        /// From `DotStart`.
        arg: Option<Value>,
        /// Products that may be under way.
        pending: u32,
    },
    /// The tile as it is, for what is to be computed behind this place: nothing that uses the result moves in front of a `DotWait` or `DotStart` before it.
    /// Result: as `arg`.
    Hold {
        /// The tile.
        arg: Value,
    },
    /// Element by element the sum over the thread blocks that share a program (`split_k`), in the order of their ranks. Every warp that holds tiles comes here, in
    /// all of them. Result: as `arg`; any value in other blocks than the first.
    ClusterSum {
        /// A tile of 32- or 64-bit numbers.
        arg: Value,
    },
    /// Scalar i32, 0 or 1: which of two groups of warps this is, each of which runs whole programs (`ping_pong`). Any value in the producer.
    ConsumerGroup,
    /// As many barriers in shared memory (mbarriers), each in phase 0, that so many arrivals complete. Result: scalar i32, where they lie.
    BarrierNew {
        /// Number of barriers.
        count: u32,
        /// Arrivals that complete a phase.
        arrivals: u32,
    },
    /// One thread arrives at barrier number `slot` and announces bytes of asynchronous copies, which the phase then waits for.
    BarrierExpect {
        /// From `BarrierNew`.
        barrier: Value,
        /// Scalar i32 below the number of barriers.
        slot: Value,
        /// Bytes.
        bytes: u32,
    },
    /// Every warp arrives once at barrier number `slot`, with `cluster` at that of both thread blocks of the cluster.
    BarrierArrive {
        /// From `BarrierNew`.
        barrier: Value,
        /// Scalar i32 below the number of barriers.
        slot: Value,
        /// Scalar bool: where it is false nothing happens.
        enable: Option<Value>,
        /// Also at the other thread block's.
        cluster: bool,
    },
    /// Waits until the phase of barrier number `slot` with that parity is complete.
    BarrierWait {
        /// From `BarrierNew`.
        barrier: Value,
        /// Scalar i32 below the number of barriers.
        slot: Value,
        /// Scalar i32: parity of the phase, 0 or 1.
        phase: Value,
    },
    /// One thread starts a tensor copy (TMA) of a view access, which nothing writes meanwhile, into a slot; elements out of bounds become 0. Barrier number
    /// `slot` counts its bytes. With `share`, the two thread blocks of a cluster load the same: each copies its half of the tile into both.
    TmaFill {
        /// Source, of the ring's element type and shape.
        place: Place,
        /// From `RingNew`.
        ring: Value,
        /// Scalar i32 below the number of slots.
        slot: Value,
        /// From `BarrierNew`.
        barrier: Value,
        /// From `ClusterRank`.
        share: Option<Value>,
        /// Elements are f32, and rounded to tf32 on their way: to nearest, ties to even.
        tf32: bool,
    },
    /// Writes `value` to a view, element by element where it is in bounds, through shared memory and tensor copies (TMA): of a sum of warpgroups each warp copies the
    /// rows it holds, of a tile in shared memory one warp copies all. The copies are under way until a `TmaStoreWait`; other programs and later kernels see what they
    /// wrote. With `reduce`, each element in memory becomes `reduce` of itself and the value's, atomically (relaxed, in the device's scope). Nothing of this program may
    /// access what it writes, but reductions by the same operator, which commute. No result.
    TmaStore {
        /// Destination, of the value's type.
        place: Place,
        /// A tile in the layout of a sum of warpgroups, or one in shared memory whose layout a tensor copy has.
        value: Value,
        /// How values meet what is in memory ([`AtomicOp::reduces_in_copies`]); None: they replace it.
        reduce: Option<AtomicOp>,
    },
    /// Waits until every copy of a `TmaStore` of this program is done.
    TmaStoreWait,
    /// This warpgroup waits until it is its turn to start products (`ping_pong`): the first one's at first, then that of the one behind who passed it. All warpgroups
    /// of a program take and pass equally many turns, one after the other.
    TakeTurn,
    /// It is the next warpgroup's turn.
    PassTurn,
    /// Scalar bool: this is the one thread that fills rings. It belongs to a warp of its own, which holds no tiles; once only, and not inside a loop.
    IsProducer,

    // ---- checks, facts, other ----
    /// Reports `message` with the source line and program id when any lane of the bool tile is false; the launch then fails.
    Assert {
        /// Bool tile.
        cond: Value,
        /// Text.
        message: Arc<str>,
    },
    /// Prints one line a program: `format` with a `{}` for each operand.
    Print {
        /// Text with `{}` holes.
        format: Arc<str>,
        /// One operand a hole.
        args: ValueList,
    },
    /// States that a scalar bool holds.
    Assume {
        /// Scalar bool.
        cond: Value,
    },
    /// States that a scalar pointer is aligned.
    AssumeAligned {
        /// Scalar pointer.
        ptr: Value,
        /// A power of two.
        bytes: u32,
    },
    /// Waits for every program of the grid (kernels scheduled `cooperative`).
    GridSync,
    /// Inline PTX a lane: `=r,r`-style constraints (LLVM NVPTX). Results and operands are tiles of one shape.
    InlineAsm {
        /// PTX text with `$0`.. holes.
        text: Arc<str>,
        /// Constraints.
        constraints: Arc<str>,
        /// Operands.
        args: ValueList,
        /// No side effects, may be removed or merged.
        pure_: bool,
    },
}
