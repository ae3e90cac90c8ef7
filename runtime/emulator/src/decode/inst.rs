//! Decoded instructions: names resolved to register slots, modifiers to enums, labels to indices.
//!
//! Every source operand is a register slot: immediates and per-thread constants such as `%tid.x` live in slots of
//! the same file that are filled when a frame starts, so the machine never asks what kind of operand it has.

pub use super::forms::*;
use super::types::*;

/// A register slot: file in the top two bits, index within the function's frame below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct R(pub u32);

/// Register files. 8-, 16- and 32-bit registers share [`File::W32`], zero-extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// 32 lanes of `u32`.
    W32,
    /// 32 lanes of `u64`.
    W64,
    /// One bit a lane.
    Pred,
}

impl R {
    /// Slot `index` of `file`.
    pub fn new(file: File, index: u32) -> R {
        R((file as u32) << 30 | index)
    }
    /// The register file.
    #[inline(always)]
    pub fn file(self) -> File {
        match self.0 >> 30 {
            0 => File::W32,
            1 => File::W64,
            _ => File::Pred,
        }
    }
    /// Index in the file, relative to the frame.
    #[inline(always)]
    pub fn index(self) -> u32 {
        self.0 & 0x3fff_ffff
    }
}

/// Guard predicate; slot 0 of the predicate file is always true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Predicate slot.
    pub pred: u32,
    /// `@!p`.
    pub negate: bool,
}

/// A decoded instruction.
#[derive(Clone, Debug)]
pub struct Inst {
    /// Guard predicate.
    pub guard: Guard,
    /// What to do.
    pub op: Op,
}

/// Operand slots are raw indices where the operation fixes the file, [`R`] where it does not.
#[derive(Clone, Debug)]
pub enum Op {
    Mov32 {
        d: u32,
        a: u32,
    },
    Mov64 {
        d: u32,
        a: u32,
    },
    /// `mov.b64 d, {a, b}` and the like: parts of equal width.
    Pack {
        d: R,
        parts: Box<[R]>,
        bits: u32,
    },
    /// `mov.b64 {a, b}, d`; `None` for `_`.
    Unpack {
        a: R,
        parts: Box<[Option<R>]>,
        bits: u32,
    },
    /// Reads a clock.
    Clock {
        d: R,
        which: ClockKind,
    },
    Int {
        op: IntOp,
        ty: IntTy,
        d: u32,
        a: u32,
        b: u32,
        c: u32,
    },
    /// `shl`, `shr`: the amount is 32 bits wide whatever the type.
    Shift {
        left: bool,
        ty: IntTy,
        d: u32,
        a: u32,
        b: u32,
    },
    /// `popc`, `clz`, `bfind`: 32-bit results of a 32- or 64-bit source.
    Count {
        op: CountOp,
        ty: IntTy,
        d: u32,
        a: u32,
    },
    Bfe {
        ty: IntTy,
        d: u32,
        a: u32,
        pos: u32,
        len: u32,
    },
    Bfi {
        wide: bool,
        d: u32,
        a: u32,
        b: u32,
        pos: u32,
        len: u32,
    },
    /// `mul.wide`, `mad.wide`: 16 to 32 or 32 to 64 bits.
    MulWide {
        signed: bool,
        from16: bool,
        d: u32,
        a: u32,
        b: u32,
        c: Option<u32>,
    },
    /// `add.cc`, `addc`, `sub.cc`, `subc`, `mad.lo.cc`, ...
    Carry {
        op: CarryOp,
        wide: bool,
        use_cc: bool,
        set_cc: bool,
        d: u32,
        a: u32,
        b: u32,
        c: u32,
    },
    Float {
        op: FloatOp,
        double: bool,
        rnd: Rnd,
        ftz: bool,
        sat: bool,
        d: u32,
        a: u32,
        b: u32,
        c: u32,
    },
    /// f16, bf16 and their packed pairs.
    Half {
        op: HalfOp,
        bf: bool,
        packed: bool,
        ftz: bool,
        sat: bool,
        relu: bool,
        d: u32,
        a: u32,
        b: u32,
        c: u32,
    },
    /// Packed 16-bit integers.
    Int16x2 {
        op: IntOp,
        signed: bool,
        relu: bool,
        d: u32,
        a: u32,
        b: u32,
    },
    Cvt(Box<Cvt>),
    Setp(Box<Setp>),
    /// `set.cmp.dtype.stype`.
    Set {
        cmp: Setp,
        d: R,
        float: bool,
        half: Option<bool>,
    },
    Selp {
        wide: bool,
        d: u32,
        a: u32,
        b: u32,
        p: u32,
    },
    Slct {
        wide: bool,
        float: bool,
        d: u32,
        a: u32,
        b: u32,
        c: u32,
    },
    Pred {
        op: PredOp,
        d: u32,
        a: u32,
        b: u32,
    },
    /// `testp.prop.f32 p, a`.
    Testp {
        test: TestOp,
        double: bool,
        d: u32,
        a: u32,
    },
    /// `lop3.or.b32 d|p, a, b, c, lut, q`.
    Lop3Pred {
        and: bool,
        lut: u8,
        d: Option<u32>,
        p: u32,
        a: u32,
        b: u32,
        c: u32,
        q: R,
    },

    Ld(Box<Ld>),
    St(Box<St>),
    Atom(Box<Atomic>),
    /// Converts between a space's addresses and generic ones.
    Cvta {
        space: Space,
        to: bool,
        d: R,
        a: R,
    },
    /// `isspacep.space p, a`.
    IsSpace {
        space: Space,
        d: u32,
        a: R,
    },
    Mapa {
        shared: bool,
        d: R,
        a: R,
        rank: u32,
    },
    /// `getctarank`.
    CtaRank {
        shared: bool,
        d: u32,
        a: R,
    },
    /// Performance hint with no meaning for results.
    Hint,

    Bra {
        target: u32,
        reconverge: u32,
    },
    Brx {
        index: u32,
        targets: Box<[u32]>,
        reconverge: u32,
    },
    Call(Box<Call>),
    Ret,
    Exit,
    Trap,

    Shfl {
        mode: ShflMode,
        d: u32,
        p: Option<u32>,
        a: u32,
        b: u32,
        c: u32,
        mask: u32,
    },
    Vote {
        mode: VoteMode,
        d: R,
        p: u32,
        negate: bool,
        mask: u32,
    },
    Match {
        all: bool,
        d: u32,
        p: Option<u32>,
        a: R,
        mask: u32,
    },
    Redux {
        op: IntOp,
        signed: bool,
        d: u32,
        a: u32,
        mask: u32,
    },
    Activemask {
        d: u32,
    },
    Elect {
        d: Option<u32>,
        p: u32,
        mask: u32,
    },
    BarWarp {
        mask: u32,
    },
    Bar(Box<Bar>),
    ClusterArrive {
        release: bool,
    },
    ClusterWait {
        acquire: bool,
    },
    Fence {
        scope: Scope,
        sem: Sem,
    },
    /// `fence.proxy.async` and relatives.
    ProxyFence,
    Mbar(Box<Mbar>),

    CpAsync {
        dst: R,
        dst_off: i64,
        src: R,
        src_off: i64,
        size: u32,
        src_size: Option<u32>,
        ignore: Option<u32>,
    },
    CpAsyncCommit,
    /// `cp.async.wait_group n`; `None` for `wait_all`.
    CpAsyncWait {
        pending: Option<u32>,
    },
    CpAsyncMbar {
        noinc: bool,
        addr: R,
        off: i64,
    },
    Bulk(Box<Bulk>),
    TensorCopy(Box<TensorCopy>),
    BulkCommit,
    /// `cp.async.bulk.wait_group{.read} n`.
    BulkWait {
        pending: u32,
        read: bool,
    },
    /// `st.async`, `red.async`.
    StAsync(Box<StAsync>),

    Mma(Box<Mma>),
    Ldmatrix {
        addr: R,
        off: i64,
        trans: bool,
        dst: Box<[u32]>,
    },
    Stmatrix {
        addr: R,
        off: i64,
        trans: bool,
        src: Box<[u32]>,
    },
    Movmatrix {
        d: u32,
        a: u32,
    },
    Wgmma(Box<Wgmma>),
    WgmmaFence,
    WgmmaCommit,
    WgmmaWait {
        pending: u32,
    },
}
