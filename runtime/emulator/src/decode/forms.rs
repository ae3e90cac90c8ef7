//! What the larger instructions carry: comparisons, conversions, memory accesses, calls, barriers, copies, matrices.

use super::inst::R;
use super::types::*;

/// Comparison, also the condition of [`Op::Set`].
#[derive(Clone, Debug)]
pub struct Setp {
    pub cmp: Cmp,
    pub ty: CmpTy,
    pub ftz: bool,
    /// Destination predicate; `None` for `_`.
    pub d: Option<u32>,
    /// Second destination `d|q`: the negated comparison.
    pub q: Option<u32>,
    pub a: R,
    pub b: R,
    /// Combination with another predicate.
    pub with: Option<(PredOp, u32, bool)>,
}

/// `cvt` in all its forms.
#[derive(Clone, Debug)]
pub struct Cvt {
    pub to: Num,
    pub from: Num,
    pub rnd: Rnd,
    /// `.rni` and friends: round to an integral value.
    pub integral: bool,
    pub ftz: bool,
    pub sat: bool,
    pub satfinite: bool,
    pub relu: bool,
    pub d: R,
    /// Declared width of the destination register.
    pub d_bits: u32,
    pub a: R,
    /// Second source of the packed forms: goes to the low half.
    pub b: Option<R>,
}

/// A load.
#[derive(Clone, Debug)]
pub struct Ld {
    pub space: Space,
    pub sem: Sem,
    pub scope: Scope,
    pub addr: R,
    pub off: i64,
    /// Bytes of one element: 1, 2, 4, 8.
    pub size: u32,
    pub signed: bool,
    /// `(register, declared bits)`; `None` for `_`.
    pub dst: Box<[Option<(R, u32)>]>,
    /// `.nc`: the kernel promises that nothing writes here.
    pub nc: bool,
}

/// A store.
#[derive(Clone, Debug)]
pub struct St {
    pub space: Space,
    pub sem: Sem,
    pub scope: Scope,
    pub addr: R,
    pub off: i64,
    pub size: u32,
    pub src: Box<[R]>,
}

/// `atom` or `red`.
#[derive(Clone, Debug)]
pub struct Atomic {
    pub space: Space,
    pub sem: Sem,
    pub scope: Scope,
    pub op: AtomOp,
    pub ty: AtomTy,
    pub addr: R,
    pub off: i64,
    /// Results, empty for `red`.
    pub dst: Box<[Option<R>]>,
    /// First operand, one a vector element.
    pub b: Box<[R]>,
    /// The new value of `cas`.
    pub c: Option<R>,
}

/// Who is called.
#[derive(Clone, Debug)]
pub enum Callee {
    /// Index in the module's functions.
    Function(u32),
    /// Through a register that holds a function address.
    Indirect(R),
    /// `vprintf`, `__assertfail`, `malloc`, `free`.
    Builtin(Builtin),
}

/// A call. Parameters travel through the caller's parameter bytes.
#[derive(Clone, Debug)]
pub struct Call {
    pub callee: Callee,
    pub args: Vec<Actual>,
    pub rets: Vec<Actual>,
}

/// An actual parameter.
#[derive(Clone, Copy, Debug)]
pub enum Actual {
    /// Bytes `offset..offset + size` of the caller's local frame.
    Bytes {
        offset: u32,
        size: u32,
    },
    Reg(R),
}

/// A formal parameter of a device function, in the same terms.
pub type Formal = Actual;

/// CTA barriers.
#[derive(Clone, Debug)]
pub struct Bar {
    pub kind: BarKind,
    pub aligned: bool,
    /// 32-bit slot with the barrier id.
    pub id: u32,
    pub count: Option<u32>,
    /// `.red`: destination, source predicate, negated.
    pub red: Option<(R, u32, bool)>,
}

/// An mbarrier instruction.
#[derive(Clone, Debug)]
pub struct Mbar {
    pub op: MbarOp,
    /// `.shared::cluster` address: may be another CTA's.
    pub remote: bool,
    pub space: Space,
    pub addr: R,
    pub off: i64,
    /// 64-bit state destination.
    pub state: Option<u32>,
    /// Count, tx count or expected arrivals: 32-bit slot.
    pub count: Option<u32>,
    /// Predicate result of a wait.
    pub done: Option<u32>,
    /// State (64-bit) or parity (32-bit) waited for.
    pub token: Option<R>,
    pub parity: bool,
    pub sem: Sem,
}

/// `cp.async.bulk` without a tensor.
#[derive(Clone, Debug)]
pub struct Bulk {
    pub from: Space,
    pub to: Space,
    pub dst: R,
    pub dst_off: i64,
    pub src: R,
    pub src_off: i64,
    pub size: u32,
    /// mbarrier of the completion; bulk group when absent.
    pub mbar: Option<(R, i64)>,
    /// Multicast CTA mask.
    pub mask: Option<u32>,
    pub reduce: Option<(AtomOp, AtomTy)>,
}

/// `cp.async.bulk.tensor`, `cp.reduce.async.bulk.tensor`, `cp.async.bulk.prefetch.tensor`.
#[derive(Clone, Debug)]
pub struct TensorCopy {
    pub kind: TensorKind,
    pub dims: u32,
    /// Shared-memory address.
    pub smem: R,
    pub smem_off: i64,
    pub map: R,
    pub map_off: i64,
    /// 32-bit slots, innermost first.
    pub coords: Box<[u32]>,
    pub mbar: Option<(R, i64)>,
    pub mask: Option<u32>,
    pub reduce: Option<AtomOp>,
}

/// `st.async` / `red.async`: a store to a cluster's shared memory that counts on an mbarrier.
#[derive(Clone, Debug)]
pub struct StAsync {
    pub addr: R,
    pub off: i64,
    pub size: u32,
    pub src: Box<[R]>,
    pub mbar: (R, i64),
    pub reduce: Option<(AtomOp, AtomTy)>,
}

/// `mma.sync`.
#[derive(Clone, Debug)]
pub struct Mma {
    pub m: u32,
    pub n: u32,
    pub k: u32,
    pub a_ty: MatTy,
    pub b_ty: MatTy,
    pub c_ty: AccTy,
    pub d_ty: AccTy,
    pub sat: bool,
    /// b1 only: `.and` rather than `.xor`.
    pub and: bool,
    pub d: Box<[R]>,
    pub a: Box<[R]>,
    pub b: Box<[R]>,
    pub c: Box<[R]>,
}

/// Where wgmma's A comes from.
#[derive(Clone, Debug)]
pub enum WgmmaA {
    /// Four 32-bit registers.
    Regs([u32; 4]),
    /// 64-bit slot with a descriptor.
    Desc(u32),
}

/// `wgmma.mma_async`.
#[derive(Clone, Debug)]
pub struct Wgmma {
    pub n: u32,
    pub k: u32,
    pub a_ty: MatTy,
    pub b_ty: MatTy,
    pub acc: AccTy,
    pub sat: bool,
    pub d: Box<[u32]>,
    pub a: WgmmaA,
    pub b_desc: u32,
    /// Predicate slot: false means D = A*B.
    pub scale_d: u32,
    pub negate_a: bool,
    pub negate_b: bool,
    pub trans_a: bool,
    pub trans_b: bool,
}
