//! What a dot is computed in, and how elements become that: widening, f8 decoding, tf32 rounding. All conversions are exact but tf32's, which
//! rounds to nearest even.

use inkwell::IntPredicate;
use inkwell::types::{BasicTypeEnum, VectorType};
use inkwell::values::VectorValue;
use kiln_ir::ScalarType;
use kiln_ir::ops::DotPrecision;

use super::emit::{Emit, Result, vector_of};

/// What the products and sums of a dot are made in. A *unit* is what one broadcast or one lane of a packed operand holds: `group()` neighbouring
/// elements along k, together as wide as the accumulator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Compute {
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
    pub fn unit<'ctx>(self, e: &Emit<'_, 'ctx>) -> BasicTypeEnum<'ctx> {
        match self {
            Compute::F32 => e.context.f32_type().into(),
            Compute::F64 => e.context.f64_type().into(),
            Compute::I32 | Compute::I16Pairs => e.context.i32_type().into(),
            Compute::I64 => e.context.i64_type().into(),
        }
    }

    /// A vector of units.
    pub fn vector<'ctx>(self, e: &Emit<'_, 'ctx>, lanes: u32) -> VectorType<'ctx> {
        vector_of(self.unit(e), lanes)
    }

    /// `acc + a * b` on vectors of units.
    pub fn multiply_add<'ctx>(
        self,
        e: &Emit<'_, 'ctx>,
        a: VectorValue<'ctx>,
        b: VectorValue<'ctx>,
        acc: VectorValue<'ctx>,
    ) -> Result<VectorValue<'ctx>> {
        match self {
            Compute::F32 | Compute::F64 => {
                let value = e.intrinsic("llvm.fmuladd", &[acc.get_type().into()], &[a.into(), b.into(), acc.into()])?;
                Ok(value.expect("fmuladd has a result").into_vector_value())
            }
            Compute::I32 | Compute::I64 => {
                let product = e.builder.build_int_mul(a, b, "")?;
                e.builder.build_int_add(acc, product, "")
            }
            Compute::I16Pairs => {
                // LLVM joins the two to vpdpwssd where the processor has it.
                let lanes = acc.get_type().get_size();
                let name = match lanes {
                    4 => "llvm.x86.sse2.pmadd.wd",
                    8 => "llvm.x86.avx2.pmadd.wd",
                    16 => "llvm.x86.avx512.pmaddw.d.512",
                    _ => panic!("no pair multiplication of {lanes} lanes"),
                };
                let pairs = e.context.i16_type().vec_type(2 * lanes);
                let sum = e.intrinsic(name, &[], &[e.bitcast(a, pairs)?.into(), e.bitcast(b, pairs)?.into()])?;
                e.builder.build_int_add(acc, sum.expect("pmaddwd has a result").into_vector_value(), "")
            }
        }
    }

    /// Elements of a source as they are packed: f32, f64, i32, i64, or i16 for pairs.
    pub fn widen<'ctx>(
        self,
        e: &Emit<'_, 'ctx>,
        v: VectorValue<'ctx>,
        elem: ScalarType,
        precision: DotPrecision,
    ) -> Result<VectorValue<'ctx>> {
        let lanes = v.get_type().get_size();
        let b = e.builder;
        match self {
            Compute::F32 => match elem {
                ScalarType::F16 => b.build_float_ext(v, e.context.f32_type().vec_type(lanes), ""),
                ScalarType::BF16 => widen_bf16(e, v),
                ScalarType::F8E4M3 => decode_e4m3(e, v),
                ScalarType::F8E5M2 => decode_e5m2(e, v),
                _ if precision == DotPrecision::Tf32 => round_tf32(e, v),
                _ => Ok(v),
            },
            Compute::F64 => Ok(v),
            Compute::I32 | Compute::I64 | Compute::I16Pairs => {
                let to = match self {
                    Compute::I16Pairs => e.context.i16_type(),
                    Compute::I64 => e.context.i64_type(),
                    _ => e.context.i32_type(),
                };
                let to = to.vec_type(lanes);
                if to == v.get_type() {
                    Ok(v)
                } else if elem.is_signed_int() {
                    b.build_int_s_extend(v, to, "")
                } else {
                    b.build_int_z_extend(v, to, "")
                }
            }
        }
    }
}

/// The LLVM type in which elements are read: f8 as i8, everything else as itself.
pub fn storage<'ctx>(e: &Emit<'_, 'ctx>, elem: ScalarType) -> BasicTypeEnum<'ctx> {
    use ScalarType::*;
    match elem {
        Bool | I8 | U8 | F8E4M3 | F8E5M2 => e.context.i8_type().into(),
        I16 | U16 => e.context.i16_type().into(),
        I32 | U32 => e.context.i32_type().into(),
        I64 | U64 | Index => e.context.i64_type().into(),
        F16 => e.context.f16_type().into(),
        BF16 => e.context.bf16_type().into(),
        F32 => e.context.f32_type().into(),
        F64 => e.context.f64_type().into(),
    }
}

/// An integer constant in every lane.
fn int_splat<'ctx>(ty: VectorType<'ctx>, value: u64) -> VectorValue<'ctx> {
    let lane = ty.get_element_type().into_int_type().const_int(value, false);
    VectorType::const_vector(&vec![lane; ty.get_size() as usize])
}

/// bf16 is the high half of an f32.
fn widen_bf16<'ctx>(e: &Emit<'_, 'ctx>, v: VectorValue<'ctx>) -> Result<VectorValue<'ctx>> {
    let lanes = v.get_type().get_size();
    let words = e.context.i32_type().vec_type(lanes);
    let bits = e.bitcast(v, e.context.i16_type().vec_type(lanes))?;
    let bits = e.builder.build_int_z_extend(bits, words, "")?;
    let bits = e.builder.build_left_shift(bits, int_splat(words, 16), "")?;
    e.bitcast(bits, e.context.f32_type().vec_type(lanes))
}

/// e5m2 is the high byte of an f16.
fn decode_e5m2<'ctx>(e: &Emit<'_, 'ctx>, v: VectorValue<'ctx>) -> Result<VectorValue<'ctx>> {
    let lanes = v.get_type().get_size();
    let halves = e.context.i16_type().vec_type(lanes);
    let bits = e.builder.build_int_z_extend(v, halves, "")?;
    let bits = e.builder.build_left_shift(bits, int_splat(halves, 8), "")?;
    let half = e.bitcast(bits, e.context.f16_type().vec_type(lanes))?;
    e.builder.build_float_ext(half, e.context.f32_type().vec_type(lanes), "")
}

/// e4m3 (no infinities, 0x7f is NaN): the magnitude placed at f32's exponent and mantissa, scaled by 2^120 to mend the bias; right for subnormals too.
fn decode_e4m3<'ctx>(e: &Emit<'_, 'ctx>, v: VectorValue<'ctx>) -> Result<VectorValue<'ctx>> {
    let lanes = v.get_type().get_size();
    let words = e.context.i32_type().vec_type(lanes);
    let floats = e.context.f32_type().vec_type(lanes);
    let b = e.builder;
    let bits = b.build_int_z_extend(v, words, "")?;
    let magnitude = b.build_and(bits, int_splat(words, 0x7f), "")?;
    let sign = b.build_left_shift(b.build_and(bits, int_splat(words, 0x80), "")?, int_splat(words, 24), "")?;
    let placed = b.build_or(b.build_left_shift(magnitude, int_splat(words, 20), "")?, sign, "")?;
    let scale = VectorType::const_vector(&vec![e.context.f32_type().const_float(2f64.powi(120)); lanes as usize]);
    let value = b.build_float_mul(e.bitcast(placed, floats)?, scale, "")?;
    let is_nan = b.build_int_compare(IntPredicate::EQ, magnitude, int_splat(words, 0x7f), "")?;
    let nan = e.bitcast(int_splat(words, 0x7fc0_0000), floats)?;
    Ok(b.build_select(is_nan, nan, value, "")?.into_vector_value())
}

/// f32 rounded to tf32's 10 fraction bits, ties to even; NaN stays NaN.
fn round_tf32<'ctx>(e: &Emit<'_, 'ctx>, v: VectorValue<'ctx>) -> Result<VectorValue<'ctx>> {
    let lanes = v.get_type().get_size();
    let words = e.context.i32_type().vec_type(lanes);
    let b = e.builder;
    let bits = e.bitcast(v, words)?;
    let odd = b.build_and(b.build_right_shift(bits, int_splat(words, 13), false, "")?, int_splat(words, 1), "")?;
    let up = b.build_int_add(b.build_int_add(bits, int_splat(words, 0xfff), "")?, odd, "")?;
    let rounded = e.bitcast(b.build_and(up, int_splat(words, 0xffff_e000), "")?, v.get_type())?;
    let is_nan = b.build_float_compare(inkwell::FloatPredicate::UNO, v, v, "")?;
    Ok(b.build_select(is_nan, v, rounded, "")?.into_vector_value())
}
