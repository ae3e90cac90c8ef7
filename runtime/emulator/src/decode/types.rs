//! Small enums of the decoded form: types, rounding, operations, scopes.
#![allow(missing_docs)]

/// Integer types of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntTy {
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
}

impl IntTy {
    pub fn wide(self) -> bool {
        matches!(self, IntTy::U64 | IntTy::S64)
    }
}

/// Rounding modes; `Rn` is the default where the manual has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rnd {
    /// Nearest even.
    Rn,
    /// Towards zero.
    Rz,
    /// Towards minus infinity.
    Rm,
    /// Towards plus infinity.
    Rp,
    /// Nearest, ties away from zero (tf32).
    Rna,
    /// `.approx`.
    Approx,
    /// `div.full`.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOp {
    Add,
    Sub,
    AddSat,
    SubSat,
    Mul,
    MulHi,
    Mad,
    MadHi,
    MadHiSat,
    Div,
    Rem,
    Min,
    Max,
    MinRelu,
    MaxRelu,
    Abs,
    Neg,
    And,
    Or,
    Xor,
    Not,
    Cnot,
    Lop3(u8),
    ShfL { wrap: bool },
    ShfR { wrap: bool },
    Brev,
    Sad,
    Prmt(PrmtMode),
    Dp4a { a_signed: bool, b_signed: bool },
    Dp2a { a_signed: bool, b_signed: bool, hi: bool },
    Mul24 { hi: bool },
    Mad24 { hi: bool },
    Bmsk { wrap: bool },
    Szext { wrap: bool },
    Fns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrmtMode {
    Index,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountOp {
    Popc,
    Clz,
    Bfind { shift: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarryOp {
    Add,
    Sub,
    MadLo,
    MadHi { signed: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatOp {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    Rcp,
    Sqrt,
    Rsqrt,
    Ex2,
    Lg2,
    Sin,
    Cos,
    Tanh,
    Min {
        nan: bool,
        xorsign_abs: bool,
    },
    Max {
        nan: bool,
        xorsign_abs: bool,
    },
    Abs,
    Neg,
    Copysign,
    /// `rcp.approx.ftz.f64`, `rsqrt.approx.ftz.f64`: only the upper 32 bits matter.
    RcpHigh,
    RsqrtHigh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfOp {
    Add,
    Sub,
    Mul,
    Fma,
    Min { nan: bool, xorsign_abs: bool },
    Max { nan: bool, xorsign_abs: bool },
    Abs,
    Neg,
    Ex2,
    Tanh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredOp {
    Mov,
    Not,
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestOp {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// Comparison; the `U` forms are true when an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

/// Types that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmpTy {
    Int(IntTy),
    F32,
    F64,
    F16,
    Bf16,
    F16x2,
    Bf16x2,
}

/// Number formats of `cvt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Num {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    F16x2,
    Bf16x2,
    E4m3x2,
    E5m2x2,
}

/// Address spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    Generic,
    Global,
    Shared,
    /// `.shared::cluster`.
    Cluster,
    Local,
    Const,
    /// Kernel parameters.
    Param,
}

/// Memory ordering of an access or fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sem {
    Weak,
    Volatile,
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    Sc,
}

impl Sem {
    /// Strong operations never race with one another.
    pub fn strong(self) -> bool {
        self != Sem::Weak
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Cta,
    Cluster,
    Gpu,
    Sys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomOp {
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Add,
    Inc,
    Dec,
    Min,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomTy {
    B16,
    U32,
    S32,
    U64,
    S64,
    F16,
    Bf16,
    F16x2,
    Bf16x2,
    F32,
    F64,
}

impl AtomTy {
    pub fn bytes(self) -> u32 {
        match self {
            AtomTy::B16 | AtomTy::F16 | AtomTy::Bf16 => 2,
            AtomTy::U64 | AtomTy::S64 | AtomTy::F64 => 8,
            _ => 4,
        }
    }
}

impl AtomOp {
    /// Whether bulk copies to global memory reduce elements of a type so (PTX ISA, "cp.reduce.async.bulk"; of the tensor form, whose type is the map's, the manual has no
    /// list of its own).
    pub fn reduces_in_copies(self, ty: AtomTy) -> bool {
        use AtomTy::*;
        match self {
            AtomOp::And | AtomOp::Or | AtomOp::Xor => matches!(ty, U32 | S32 | U64 | S64),
            AtomOp::Add => matches!(ty, U32 | S32 | U64 | F16 | Bf16 | F32 | F64),
            AtomOp::Min | AtomOp::Max => matches!(ty, U32 | S32 | U64 | S64 | F16 | Bf16),
            AtomOp::Inc | AtomOp::Dec => ty == U32,
            AtomOp::Exch | AtomOp::Cas => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShflMode {
    Up,
    Down,
    Bfly,
    Idx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteMode {
    All,
    Any,
    Uni,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    Sync,
    Arrive,
    RedPopc,
    RedAnd,
    RedOr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MbarOp {
    Init,
    Inval,
    /// Arrive; `drop` also lowers the expected count, `expect` adds `count` bytes first.
    Arrive {
        drop: bool,
        expect: bool,
        complete: bool,
    },
    ExpectTx,
    CompleteTx,
    TestWait,
    TryWait,
    PendingCount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    Clock32,
    Clock64,
    Global,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    Printf,
    AssertFail,
    Malloc,
    Free,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorKind {
    Load,
    Store,
    Prefetch,
}

/// Element types of matrix operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatTy {
    F16,
    Bf16,
    Tf32,
    F64,
    E4m3,
    E5m2,
    U8,
    S8,
    U4,
    S4,
    B1,
}

impl MatTy {
    pub fn bits(self) -> u32 {
        match self {
            MatTy::F64 => 64,
            MatTy::Tf32 => 32,
            MatTy::F16 | MatTy::Bf16 => 16,
            MatTy::E4m3 | MatTy::E5m2 | MatTy::U8 | MatTy::S8 => 8,
            MatTy::U4 | MatTy::S4 => 4,
            MatTy::B1 => 1,
        }
    }
    /// Whether products accumulate as integers.
    pub fn integer(self) -> bool {
        matches!(self, MatTy::U8 | MatTy::S8 | MatTy::U4 | MatTy::S4 | MatTy::B1)
    }
}

/// Accumulator types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccTy {
    F16,
    F32,
    F64,
    S32,
}

/// Values of special registers that a frame starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    Laneid,
    Warpid,
    Nwarpid,
    Smid,
    Nsmid,
    Gridid,
    LanemaskEq,
    LanemaskLe,
    LanemaskLt,
    LanemaskGe,
    LanemaskGt,
    ClusterCtaid(u8),
    ClusterNctaid(u8),
    Clusterid(u8),
    Nclusterid(u8),
    ClusterCtarank,
    ClusterNctarank,
    IsExplicitCluster,
    DynamicSmemSize,
    /// Where dynamic shared memory starts, for an `extern .shared` array of this alignment.
    DynamicSmemBase(u32),
    /// Local-space address of a byte of the frame.
    LocalBase(u32),
    TotalSmemSize,
    AggrSmemSize,
    /// `%envreg` and `%reserved_smem_*`: zero here.
    Zero,
}
