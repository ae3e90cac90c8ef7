//! `scaled-dots`: products of block-scaled operands (OCP Microscaling Formats v1.0) become products of what they stand for. Only for GPUs, whose own
//! instructions for them start after sm_90; the CPU scales operands while it packs them.
//!
//! An element is its code's value times the power of two that 32 neighbours along k share. Formats of at most 8 bits have at most 4 significant bits, so bf16
//! holds the scaled element exactly while it stays in bf16's range; f16 and bf16 operands are scaled as f32.
//!
//! ```text
//! before: v4: tile<f32, [16, 8]> = dot_scaled v0 scale v1 e4m3, v2 scale v3 e4m3
//! after:  v5: tile<f32, [16, 32]> = cast v0
//!         ..                                          scales as f32, one for each element
//!         v9: tile<f32, [16, 32]> = mul v5, v8
//!         v10: tile<bf16, [16, 32]> = cast v9
//!         ..                                          the same for the other operand
//!         v4: tile<f32, [16, 8]> = dot v10, v20
//! ```

use kiln_ir::builder::Builder;
use kiln_ir::ops::{BinaryOp, CmpOp, DotPrecision, ScaledFormat};
use kiln_ir::{Block, Function, InstData, ScalarType, Shape, Value};

use crate::manager::{PassContext, PassResult, Target};

/// Elements that share a scale.
const BLOCK: u32 = 32;

/// Runs the pass.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if context.target != Target::Host {
        block(func, func.body);
    }
    Ok(())
}

fn block(func: &mut Function, at: Block) {
    let insts = std::mem::take(&mut func.blocks[at].insts);
    for inst in insts {
        for inner in func.insts[inst].blocks() {
            block(func, inner);
        }
        if let InstData::DotScaled { a, a_scale, a_format, b, b_scale, b_format, acc } = func.insts[inst] {
            let mut builder = Builder::new(func, at);
            builder.loc = builder.func.locs[inst];
            let exact = is_small(a_format) && is_small(b_format);
            let mut operand = |elements, scales, format, k_axis| {
                let scaled = scaled(&mut builder, elements, scales, format, k_axis);
                if exact { builder.cast(scaled, ScalarType::BF16) } else { scaled }
            };
            let a = operand(a, a_scale, a_format, 1);
            let b = operand(b, b_scale, b_format, 0);
            func.insts[inst] = InstData::Dot { a, b, acc, precision: DotPrecision::Ieee };
        }
        func.blocks[at].insts.push(inst);
    }
}

fn is_small(format: ScaledFormat) -> bool {
    !matches!(format, ScaledFormat::Bf16 | ScaledFormat::F16)
}

/// An operand as f32: `[M, K]` with k along axis 1 and scales `[M, K / 32]`, or `[K, N]` with k along axis 0 and scales `[N, K / 32]`.
///
/// Elements and scales come to their places as bytes; numbers are made of them there, so that what moves between threads is small.
fn scaled(b: &mut Builder<'_>, elements: Value, scales: Value, format: ScaledFormat, k_axis: usize) -> Value {
    let values = decoded(b, elements, format, k_axis);
    let shape = Shape::from_slice(b.ty(values).shape());
    let codes = if k_axis == 0 { b.permute(scales, &[1, 0]) } else { scales };
    let mut blocks = Shape::from_slice(b.ty(codes).shape());
    blocks.insert(k_axis + 1, BLOCK);
    let codes = b.expand_dims(codes, k_axis + 1);
    let codes = b.broadcast(codes, &blocks);
    let codes = b.reshape(codes, &shape);
    let powers = powers_of_two(b, codes);
    b.binary(BinaryOp::Mul, values, powers)
}

/// 2^(code - 127) as f32; 255 means NaN.
fn powers_of_two(b: &mut Builder<'_>, codes: Value) -> Value {
    let words = b.cast(codes, ScalarType::U32);
    let ty = b.ty(words);
    let digits = b.int(23, ty);
    let normal = b.binary(BinaryOp::Shl, words, digits);
    let mut special = |bits: Value, code: i64, instead: i64| {
        let code = b.int(code, ty);
        let is = b.cmp(CmpOp::Eq, words, code);
        let instead = b.int(instead, ty);
        b.select(is, instead, bits)
    };
    // 2^-127 is subnormal in f32, and the exponent of 255 means infinity where the code means NaN.
    let bits = special(normal, 0, 0x0040_0000);
    let bits = special(bits, 255, 0x7fc0_0000);
    b.emit1(InstData::Bitcast { arg: bits }, ty.with_elem(ScalarType::F32))
}

/// Codes as f32.
fn decoded(b: &mut Builder<'_>, elements: Value, format: ScaledFormat, k_axis: usize) -> Value {
    let as_f8 = |b: &mut Builder<'_>, ty: ScalarType| {
        let bytes = b.ty(elements);
        let codes = if bytes.scalar_elem() == Some(ty) {
            elements
        } else {
            b.emit1(InstData::Bitcast { arg: elements }, bytes.with_elem(ty))
        };
        b.cast(codes, ScalarType::F32)
    };
    match format {
        ScaledFormat::E4M3 => as_f8(b, ScalarType::F8E4M3),
        ScaledFormat::E5M2 => as_f8(b, ScalarType::F8E5M2),
        ScaledFormat::Bf16 | ScaledFormat::F16 => b.cast(elements, ScalarType::F32),
        ScaledFormat::E2M3 => small(b, elements, 5, 3, 1),
        ScaledFormat::E3M2 => small(b, elements, 5, 2, 3),
        ScaledFormat::E2M1 => {
            let codes = unpacked(b, elements, k_axis);
            small(b, codes, 3, 1, 1)
        }
    }
}

/// Two codes a byte along k, the low half first, as one code a byte.
fn unpacked(b: &mut Builder<'_>, bytes: Value, k_axis: usize) -> Value {
    let ty = b.ty(bytes);
    let low_bits = b.int(0xf, ty);
    let low = b.binary(BinaryOp::And, bytes, low_bits);
    let half = b.int(4, ty);
    let high = b.binary(BinaryOp::Shr, bytes, half);
    let mut shape = Shape::from_slice(ty.shape());
    let mut pairs = shape.clone();
    pairs.push(2);
    let both = b.emit1(InstData::Join { a: low, b: high }, ty.with_shape(&pairs));
    let both = if k_axis == 0 { b.permute(both, &[0, 2, 1]) } else { both };
    shape[k_axis] *= 2;
    b.reshape(both, &shape)
}

/// A format without infinities and NaN: a sign over `digits` bits, of which `fraction` are the mantissa.
fn small(b: &mut Builder<'_>, codes: Value, digits: u32, fraction: u32, bias: i32) -> Value {
    let words = b.cast(codes, ScalarType::U32);
    let ty = b.ty(words);
    let f32_ty = ty.with_elem(ScalarType::F32);
    let mut bits_at = |mask: i64, shift: u32| {
        let mask = b.int(mask, ty);
        let part = b.binary(BinaryOp::And, words, mask);
        let shift = b.int(i64::from(shift), ty);
        b.binary(BinaryOp::Shl, part, shift)
    };
    let magnitude = bits_at((1 << digits) - 1, 23 - fraction);
    let sign = bits_at(1 << digits, 31 - digits);
    // Exponent and mantissa in place, then the difference of the biases as a factor: right for subnormals too.
    let magnitude = b.emit1(InstData::Bitcast { arg: magnitude }, f32_ty);
    let factor = b.float(f64::from(2f32.powi(127 - bias)), f32_ty);
    let magnitude = b.binary(BinaryOp::Mul, magnitude, factor);
    let magnitude = b.emit1(InstData::Bitcast { arg: magnitude }, ty);
    let value = b.binary(BinaryOp::Or, magnitude, sign);
    b.emit1(InstData::Bitcast { arg: value }, f32_ty)
}
