//! Values of the function being written, constants among them, and their types.

/// The LLVM types in use. `Global`, `Shared`, `Generic` and `Cluster` (shared memory of a cluster) are pointers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Ty {
    I1,
    I8,
    I16,
    I32,
    I64,
    F16,
    BF16,
    F32,
    F64,
    Global,
    Shared,
    Generic,
    Cluster,
}

impl Ty {
    pub(super) fn llvm(self) -> &'static str {
        match self {
            Ty::I1 => "i1",
            Ty::I8 => "i8",
            Ty::I16 => "i16",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::F16 => "half",
            Ty::BF16 => "bfloat",
            Ty::F32 => "float",
            Ty::F64 => "double",
            Ty::Global => "ptr addrspace(1)",
            Ty::Shared => "ptr addrspace(3)",
            Ty::Generic => "ptr",
            Ty::Cluster => "ptr addrspace(7)",
        }
    }

    pub(super) fn bits(self) -> u32 {
        match self {
            Ty::I1 => 1,
            Ty::I8 => 8,
            Ty::I16 | Ty::F16 | Ty::BF16 => 16,
            Ty::I32 | Ty::F32 | Ty::Shared | Ty::Cluster => 32,
            Ty::I64 | Ty::F64 | Ty::Global | Ty::Generic => 64,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Ty::F16 | Ty::BF16 | Ty::F32 | Ty::F64)
    }

    pub(super) fn is_pointer(self) -> bool {
        matches!(self, Ty::Global | Ty::Shared | Ty::Generic | Ty::Cluster)
    }

    /// The integer type of the same width.
    pub(super) fn int(self) -> Ty {
        int_of(self.bits())
    }
}

/// The integer type of a width.
pub(super) fn int_of(bits: u32) -> Ty {
    match bits {
        1 => Ty::I1,
        8 => Ty::I8,
        16 => Ty::I16,
        32 => Ty::I32,
        64 => Ty::I64,
        _ => unreachable!("no integer type of {bits} bits"),
    }
}

/// A value: a constant or a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Val {
    pub(super) ty: Ty,
    pub(super) repr: Repr,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Repr {
    Name(u32),
    Arg(u32),
    /// Sign-extended from the type's width.
    Int(i64),
    /// Bits of the value as f64.
    Float(u64),
    /// The base of shared memory.
    SharedBase,
    /// The part of shared memory for large exchanges.
    Arena,
    ArenaStride,
}

impl Val {
    pub(super) fn int(ty: Ty, value: i64) -> Val {
        Val { ty, repr: Repr::Int(wrap(ty, value)) }
    }

    pub(super) fn i32(value: u32) -> Val {
        Val::int(Ty::I32, i64::from(value))
    }

    pub(super) fn bool(value: bool) -> Val {
        Val { ty: Ty::I1, repr: Repr::Int(i64::from(value)) }
    }

    pub(super) fn float(ty: Ty, value: f64) -> Val {
        Val { ty, repr: Repr::Float(value.to_bits()) }
    }

    pub(super) fn zero(ty: Ty) -> Val {
        if ty.is_float() { Val::float(ty, 0.0) } else { Val::int(ty, 0) }
    }

    pub(super) fn arg(ty: Ty, number: u32) -> Val {
        Val { ty, repr: Repr::Arg(number) }
    }

    pub(super) fn shared_base() -> Val {
        Val { ty: Ty::Shared, repr: Repr::SharedBase }
    }

    /// The part of shared memory that large exchanges use, one after the other. Where it starts is known when the module is put
    /// together, which then replaces the name.
    pub(super) fn arena() -> Val {
        Val { ty: Ty::Shared, repr: Repr::Arena }
    }

    /// Bytes from one group's part of the arena to the next one's (i32), which are known then too.
    pub(super) fn arena_stride() -> Val {
        Val { ty: Ty::I32, repr: Repr::ArenaStride }
    }

    /// The value of an integer constant, sign-extended (a bool: 0 or 1).
    pub(super) fn as_int(self) -> Option<i64> {
        match self.repr {
            Repr::Int(value) if !self.ty.is_pointer() => Some(value),
            _ => None,
        }
    }

    /// The value of a float constant.
    pub(super) fn as_float(self) -> Option<f64> {
        match self.repr {
            Repr::Float(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    /// The value belongs to the place where it is computed: it is no constant and no argument.
    pub(super) fn is_local(self) -> bool {
        matches!(self.repr, Repr::Name(_))
    }

    pub(super) fn is_false(self) -> bool {
        self.ty == Ty::I1 && self.as_int() == Some(0)
    }

    pub(super) fn is_true(self) -> bool {
        self.ty == Ty::I1 && self.as_int() == Some(1)
    }

    /// The operand as it stands in an instruction.
    pub(super) fn text(self) -> String {
        match self.repr {
            Repr::Name(n) => format!("%v{n}"),
            Repr::Arg(n) => format!("%a{n}"),
            Repr::SharedBase => format!("@{SHARED}"),
            Repr::Arena => format!("@{ARENA}"),
            Repr::ArenaStride => STRIDE.to_owned(),
            Repr::Int(v) if self.ty == Ty::I1 => (if v != 0 { "true" } else { "false" }).to_owned(),
            Repr::Int(0) if self.ty.is_pointer() => "null".to_owned(),
            Repr::Int(v) if self.ty.is_pointer() => format!("inttoptr (i64 {v} to {})", self.ty.llvm()),
            Repr::Int(v) => v.to_string(),
            Repr::Float(bits) => float_text(self.ty, f64::from_bits(bits)),
        }
    }

    /// Type and operand.
    pub(super) fn typed(self) -> String {
        format!("{} {}", self.ty.llvm(), self.text())
    }
}

/// The name of the module's shared memory. No kernel is called so: names of the language have no `$`.
pub(super) const SHARED: &str = "kiln$shared";
/// The name of the part of it that large exchanges use.
pub(super) const ARENA: &str = "kiln$arena";
/// What stands for the number of bytes of a group's part of it.
pub(super) const STRIDE: &str = "@kiln$stride";

fn float_text(ty: Ty, value: f64) -> String {
    match ty {
        Ty::F16 => format!("0xH{:04X}", half::f16::from_f64(value).to_bits()),
        Ty::BF16 => format!("0xR{:04X}", half::bf16::from_f64(value).to_bits()),
        _ => format!("0x{:016X}", value.to_bits()),
    }
}

pub(super) fn wrap(ty: Ty, value: i64) -> i64 {
    match ty.bits() {
        1 => value & 1,
        64 => value,
        bits => (value << (64 - bits)) >> (64 - bits),
    }
}

pub(super) fn unsigned(ty: Ty, value: i64) -> u64 {
    if ty.bits() == 64 { value as u64 } else { value as u64 & ((1 << ty.bits()) - 1) }
}
