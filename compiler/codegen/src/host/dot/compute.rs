//! What a dot is computed in, and how elements become that: widening, f8 decoding, tf32 rounding. All conversions are exact but tf32's, which
//! rounds to nearest even.

use kiln_ir::ScalarType;
use kiln_ir::ops::{DotPrecision, ScaledFormat};

use crate::host::loops::Emit;
use crate::llvm::{FloatPred, IntPred, Ty, Val};

/// What the products and sums of a dot are made in. A *unit* is what one broadcast or one lane of a packed operand holds: `group()` neighbouring
/// elements along k, together as wide as the accumulator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Compute {
    /// Fused multiply-add in f32.
    F32,
    /// Fused multiply-add in f64.
    F64,
    /// Wrapping i32.
    I32,
    /// Wrapping i64.
    I64,
    /// Pairs of i16 multiplied and added into i32 in one instruction (`pmaddwd`, `vpdpwssd`).
    I16Pairs,
}

impl Compute {
    /// The kind for elements of type `elem`, if a dot of them is supported.
    pub fn of(elem: ScalarType, has_pairs: bool) -> Option<Compute> {
        use ScalarType::*;
        Some(match elem {
            F16 | BF16 | F32 | F8E4M3 | F8E5M2 => Compute::F32,
            F64 => Compute::F64,
            I8 | U8 if has_pairs => Compute::I16Pairs,
            I8 | U8 | I16 | U16 | I32 | U32 => Compute::I32,
            I64 | U64 => Compute::I64,
            Bool | Index => return None,
        })
    }

    /// Whether the accumulator may have this type.
    pub fn accumulates_in(self, acc: ScalarType) -> bool {
        match self {
            Compute::F32 => acc == ScalarType::F32,
            Compute::F64 => acc == ScalarType::F64,
            Compute::I32 | Compute::I16Pairs => matches!(acc, ScalarType::I32 | ScalarType::U32),
            Compute::I64 => matches!(acc, ScalarType::I64 | ScalarType::U64),
        }
    }

    /// Bytes of a unit, which are those of an accumulator.
    pub fn bytes(self) -> u32 {
        match self {
            Compute::F32 | Compute::I32 | Compute::I16Pairs => 4,
            Compute::F64 | Compute::I64 => 8,
        }
    }

    /// Elements in a unit.
    pub fn group(self) -> u32 {
        if self == Compute::I16Pairs { 2 } else { 1 }
    }

    /// The LLVM type of units and accumulators.
    pub fn unit(self, e: &Emit<'_>) -> Ty {
        match self {
            Compute::F32 => e.f32(),
            Compute::F64 => e.f64(),
            Compute::I32 | Compute::I16Pairs => e.i32(),
            Compute::I64 => e.i64(),
        }
    }

    /// Whether elements of this type are units as they are.
    pub fn takes_as_is(self, elem: ScalarType, precision: DotPrecision) -> bool {
        match self {
            Compute::F32 => elem == ScalarType::F32 && precision != DotPrecision::Tf32,
            Compute::F64 => true,
            Compute::I32 | Compute::I64 => elem.bytes() == self.bytes(),
            Compute::I16Pairs => false,
        }
    }

    /// A vector of units.
    pub fn vector(self, e: &Emit<'_>, lanes: u32) -> Ty {
        e.vec(self.unit(e), lanes)
    }

    /// `acc + a * b` on vectors of units.
    pub fn multiply_add(self, e: &Emit<'_>, a: Val, b: Val, acc: Val) -> Val {
        match self {
            Compute::F32 | Compute::F64 => e.intrinsic("llvm.fmuladd", &[e.ty(acc)], &[a, b, acc]),
            Compute::I32 | Compute::I64 => e.add(acc, e.mul(a, b)),
            Compute::I16Pairs => {
                // LLVM joins the two to vpdpwssd where the processor has it.
                let lanes = e.lanes(acc);
                let name = match lanes {
                    4 => "llvm.x86.sse2.pmadd.wd",
                    8 => "llvm.x86.avx2.pmadd.wd",
                    16 => "llvm.x86.avx512.pmaddw.d.512",
                    _ => panic!("no pair multiplication of {lanes} lanes"),
                };
                let pairs = e.vec(e.int_ty(16), 2 * lanes);
                e.add(acc, e.intrinsic(name, &[], &[e.bitcast(a, pairs), e.bitcast(b, pairs)]))
            }
        }
    }

    /// Elements of a source as they are packed: f32, f64, i32, i64, or i16 for pairs.
    pub fn widen(self, e: &Emit<'_>, v: Val, elem: ScalarType, precision: DotPrecision) -> Val {
        match self {
            Compute::F32 => match elem {
                ScalarType::F16 => e.fpext(v, e.shaped(e.f32(), v)),
                ScalarType::BF16 => widen_bf16(e, v),
                ScalarType::F8E4M3 => decode_e4m3(e, v),
                ScalarType::F8E5M2 => decode_e5m2(e, v),
                _ if precision == DotPrecision::Tf32 => round_tf32(e, v),
                _ => v,
            },
            Compute::F64 => v,
            Compute::I32 | Compute::I64 | Compute::I16Pairs => {
                let to = match self {
                    Compute::I16Pairs => e.int_ty(16),
                    Compute::I64 => e.i64(),
                    _ => e.i32(),
                };
                let to = e.shaped(to, v);
                if elem.is_signed_int() { e.sext(v, to) } else { e.zext(v, to) }
            }
        }
    }
}

/// The LLVM type in which elements are read: f8 and bf16 as integers, everything else as itself.
pub(crate) fn storage(e: &Emit<'_>, elem: ScalarType) -> Ty {
    use ScalarType::*;
    match elem {
        Bool | I8 | U8 | F8E4M3 | F8E5M2 => e.i8(),
        I16 | U16 | BF16 => e.int_ty(16),
        I32 | U32 => e.i32(),
        I64 | U64 | Index => e.i64(),
        F16 => e.f16(),
        F32 => e.f32(),
        F64 => e.f64(),
    }
}

/// bf16 is the high half of an f32.
fn widen_bf16(e: &Emit<'_>, v: Val) -> Val {
    let words = e.shaped(e.i32(), v);
    let bits = e.zext(v, words);
    e.bitcast(e.shl(bits, e.int(words, 16)), e.shaped(e.f32(), v))
}

/// e5m2 is the high byte of an f16.
fn decode_e5m2(e: &Emit<'_>, v: Val) -> Val {
    let halves = e.shaped(e.int_ty(16), v);
    let bits = e.shl(e.zext(v, halves), e.int(halves, 8));
    e.fpext(e.bitcast(bits, e.shaped(e.f16(), v)), e.shaped(e.f32(), v))
}

/// e4m3 has no infinities, and NaN where all bits of the magnitude are set.
fn decode_e4m3(e: &Emit<'_>, v: Val) -> Val {
    let value = decode_small(e, v, 7, 3, 7);
    let words = e.shaped(e.i32(), v);
    let magnitude = e.and(e.zext(v, words), e.int(words, 0x7f));
    let is_nan = e.icmp(IntPred::LLVMIntEQ, magnitude, e.int(words, 0x7f));
    e.select(is_nan, e.float(e.ty(value), f64::NAN), value)
}

/// A float of `magnitude_bits` below its sign, `fraction_bits` of them fraction, all codes finite: the magnitude placed at f32's exponent and fraction, scaled
/// to mend the bias; right for subnormals too.
fn decode_small(e: &Emit<'_>, v: Val, magnitude_bits: u32, fraction_bits: u32, bias: i32) -> Val {
    let (words, floats) = (e.shaped(e.i32(), v), e.shaped(e.f32(), v));
    let bits = e.zext(v, words);
    let sign_bit = 1 << magnitude_bits;
    let magnitude = e.shl(e.and(bits, e.int(words, sign_bit - 1)), e.int(words, i64::from(23 - fraction_bits)));
    let sign = e.shl(e.and(bits, e.int(words, sign_bit)), e.int(words, i64::from(31 - magnitude_bits)));
    e.fmul(e.bitcast(e.or(magnitude, sign), floats), e.float(floats, 2f64.powi(127 - bias)))
}

/// Codes of an MX element format as f32, exactly. Formats of less than a byte are in the low bits of one.
pub(crate) fn decode_format(e: &Emit<'_>, v: Val, format: ScaledFormat) -> Val {
    match format {
        ScaledFormat::E2M1 => decode_small(e, v, 3, 1, 1),
        ScaledFormat::E2M3 => decode_small(e, v, 5, 3, 1),
        ScaledFormat::E3M2 => decode_small(e, v, 5, 2, 3),
        ScaledFormat::E4M3 => decode_e4m3(e, v),
        ScaledFormat::E5M2 => decode_e5m2(e, v),
        ScaledFormat::Bf16 => widen_bf16(e, v),
        ScaledFormat::F16 => e.fpext(v, e.shaped(e.f32(), v)),
    }
}

/// f32 rounded to tf32's 10 fraction bits, ties to even; NaN stays NaN.
fn round_tf32(e: &Emit<'_>, v: Val) -> Val {
    let words = e.shaped(e.i32(), v);
    let bits = e.bitcast(v, words);
    let odd = e.and(e.lshr(bits, e.int(words, 13)), e.int(words, 1));
    let up = e.add(e.add(bits, e.int(words, 0xfff)), odd);
    let rounded = e.bitcast(e.and(up, e.int(words, !0x1fff)), e.ty(v));
    let is_nan = e.fcmp(FloatPred::LLVMRealUNO, v, v);
    e.select(is_nan, v, rounded)
}
