//! Operations across lanes: products, folds, sorts, counts.

use std::cmp::Ordering;

use kiln_ir::ops::{BinaryOp, DotPrecision, ScaledFormat};
use kiln_ir::round::round_to;
use kiln_ir::{Combine, Function, InstData, ScalarType, Type, Value};

use super::eval::{Frame, Program};
use super::lanes;
use super::shapes::{each_index, extents, position};
use super::{Fault, Lane};

/// The number in a lane.
fn number(lane: Lane) -> f64 {
    match lane {
        Lane::Int(v) => v as f64,
        Lane::Float(v) => v,
        Lane::Ptr { .. } => unreachable!("a pointer as a number"),
    }
}

/// `a @ b + acc`, summed in f64 (exactly, for integers) and rounded once.
pub fn dot(types: [Type; 3], a: &[Lane], b: &[Lane], acc: Option<&[Lane]>, precision: DotPrecision) -> Vec<Lane> {
    let [ta, tb, result] = types;
    let (da, db, dr) = (extents(ta), extents(tb), extents(result));
    let k = da[da.len() - 1];
    // tf32 keeps ten digits; the split forms keep more than f32's tests can tell.
    let input = |v: f64| if precision == DotPrecision::Tf32 { f64::from(tf32(v as f32)) } else { v };
    let elem = result.scalar_elem().unwrap_or(ScalarType::F32);
    let mut out = Vec::new();
    each_index(&dr, |index| {
        let at = position(&dr, index);
        let (row, column) = (index[index.len() - 2], index[index.len() - 1]);
        let batch = &index[..index.len() - 2];
        let pick = |lanes: &[Lane], dims: &[i64], i: i64, j: i64| {
            let full: Vec<i64> = batch.iter().copied().chain([i, j]).collect();
            lanes[position(dims, &full)]
        };
        if elem.is_float() {
            let start = acc.map_or(0.0, |acc| number(acc[at]));
            let sum =
                (0..k).fold(start, |sum, p| sum + input(number(pick(a, &da, row, p))) * input(number(pick(b, &db, p, column))));
            out.push(Lane::Float(round_to(elem, sum)));
        } else {
            let start = acc.map_or(Lane::Int(0), |acc| acc[at]);
            out.push((0..k).fold(start, |sum, p| {
                let (Lane::Int(x), Lane::Int(y)) = (pick(a, &da, row, p), pick(b, &db, p, column)) else {
                    unreachable!("dot of integers")
                };
                lanes::binary(BinaryOp::Add, elem, sum, Lane::Int(lanes::wrap(elem, x.wrapping_mul(y))))
            }));
        }
    });
    out
}

/// A finite f32 with ten digits, rounded to nearest, ties to even.
fn tf32(v: f32) -> f32 {
    let bits = v.to_bits();
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & 0xffff_e000)
}

/// Block-scaled product.
pub fn dot_scaled(func: &Function, frame: &Frame<'_>, data: &InstData) -> Vec<Lane> {
    let InstData::DotScaled { a, a_scale, a_format, b, b_scale, b_format, acc } = data else { unreachable!("dot_scaled") };
    let (da, db) = (extents(func.ty(*a)), extents(func.ty(*b)));
    let (m, n) = (da[0], db[1]);
    let per_byte = |format: ScaledFormat| if format == ScaledFormat::E2M1 { 2 } else { 1 };
    let k = da[1] * per_byte(*a_format);
    let value = |v: Value, format: ScaledFormat, dims: &[i64], index: [i64; 2], along: usize| {
        let mut index = index;
        let at = index[along];
        index[along] /= per_byte(format);
        match (frame.lanes(v)[position(dims, &index)], format) {
            (Lane::Int(byte), ScaledFormat::E2M1) => lanes::small_float(byte as u64 >> (4 * (at % 2)) & 15, 2, 1, 1),
            (Lane::Int(byte), ScaledFormat::E2M3) => lanes::small_float(byte as u64, 2, 3, 1),
            (Lane::Int(byte), ScaledFormat::E3M2) => lanes::small_float(byte as u64, 3, 2, 3),
            (Lane::Int(byte), ScaledFormat::E4M3) => number(lanes::from_bits(ScalarType::F8E4M3, byte as u64)),
            (Lane::Int(byte), ScaledFormat::E5M2) => number(lanes::from_bits(ScalarType::F8E5M2, byte as u64)),
            (lane, _) => number(lane),
        }
    };
    let scale = |v: Value, row: i64, p: i64| match frame.lanes(v)[(row * (k / 32) + p / 32) as usize] {
        Lane::Int(255) => f64::NAN,
        lane => 2f64.powi(number(lane) as i32 - 127),
    };
    let mut out = Vec::new();
    each_index(&[m, n], |index| {
        let (i, j) = (index[0], index[1]);
        let start = acc.map_or(0.0, |acc| number(frame.lanes(acc)[(i * n + j) as usize]));
        let sum = (0..k).fold(start, |sum, p| {
            let x = value(*a, *a_format, &da, [i, p], 1) * scale(*a_scale, i, p);
            let y = value(*b, *b_format, &db, [p, j], 0) * scale(*b_scale, j, p);
            sum + x * y
        });
        out.push(Lane::Float(round_to(ScalarType::F32, sum)));
    });
    out
}

/// The lines of a tile along an axis: positions of their elements, in the order of the remaining axes.
pub fn lines(ty: Type, axis: usize) -> Vec<Vec<usize>> {
    let dims = extents(ty);
    let mut outer = dims.clone();
    outer[axis] = 1;
    let mut list = Vec::new();
    each_index(&outer, |index| {
        let mut index = index.to_vec();
        list.push(
            (0..dims[axis])
                .map(|i| {
                    index[axis] = i;
                    position(&dims, &index)
                })
                .collect(),
        );
    });
    list
}

impl Program<'_> {
    /// Combines two elements (of each operand).
    pub fn combine(
        &mut self,
        frame: &mut Frame<'_>,
        combine: Combine,
        elems: &[ScalarType],
        a: &[Lane],
        b: &[Lane],
    ) -> Result<Vec<Lane>, Fault> {
        let op = match combine {
            Combine::Add => BinaryOp::Add,
            Combine::Mul => BinaryOp::Mul,
            Combine::Max => BinaryOp::Max,
            Combine::Min => BinaryOp::Min,
            Combine::FMax => BinaryOp::FMax,
            Combine::FMin => BinaryOp::FMin,
            Combine::And => BinaryOp::And,
            Combine::Or => BinaryOp::Or,
            Combine::Xor => BinaryOp::Xor,
            Combine::ArgMax | Combine::ArgMin => {
                let order = compare(elems[0], a[0], b[0], combine == Combine::ArgMin);
                let order = if combine == Combine::ArgMax { order.reverse() } else { order };
                let positions = number(a[1]).total_cmp(&number(b[1]));
                return Ok(if order.then(positions) == Ordering::Greater { b.to_vec() } else { a.to_vec() });
            }
            Combine::Region(block) => {
                let params = frame.func.blocks[block].params.clone();
                for (&param, &lane) in params.iter().zip(a.iter().chain(b)) {
                    frame.set(param, vec![lane]);
                }
                self.block(frame, block)?;
                return Ok(frame.func.yielded(block).iter().map(|&v| frame.lanes(v)[0]).collect());
            }
        };
        Ok(vec![lanes::binary(op, elems[0], a[0], b[0])])
    }

    /// `Reduce` and `Scan`: the results' lanes.
    pub fn fold(&mut self, frame: &mut Frame<'_>, data: &InstData) -> Result<Vec<Vec<Lane>>, Fault> {
        let (args, axis, combine, scan, reverse) = match data {
            InstData::Reduce { args, axis, combine } => (args, *axis, *combine, false, false),
            InstData::Scan { args, axis, combine, reverse } => (args, *axis, *combine, true, *reverse),
            _ => unreachable!("neither reduce nor scan"),
        };
        let inputs: Vec<Vec<Lane>> = args.iter().map(|&v| frame.lanes(v).to_vec()).collect();
        let elems: Vec<ScalarType> = args.iter().filter_map(|&v| frame.func.ty(v).scalar_elem()).collect();
        let ty = frame.func.ty(args[0]);
        let mut outputs: Vec<Vec<Lane>> = if scan { inputs.clone() } else { vec![Vec::new(); args.len()] };
        for mut line in lines(ty, usize::from(axis)) {
            if reverse {
                line.reverse();
            }
            let at = |p: usize| inputs.iter().map(|lanes| lanes[p]).collect::<Vec<_>>();
            let sums = combine == Combine::Add && elems[0].is_float();
            let mut sum = if sums { number(inputs[0][line[0]]) } else { 0.0 };
            let mut acc = at(line[0]);
            for &p in &line[1..] {
                if sums {
                    sum += number(inputs[0][p]);
                    acc = vec![Lane::Float(round_to(elems[0], sum))];
                } else {
                    acc = self.combine(frame, combine, &elems, &acc, &at(p))?;
                }
                if scan {
                    outputs.iter_mut().zip(&acc).for_each(|(out, &lane)| out[p] = lane);
                }
            }
            if !scan {
                outputs.iter_mut().zip(&acc).for_each(|(out, &lane)| out.push(lane));
            }
        }
        Ok(outputs)
    }
}

/// Order of two keys; NaN is the greatest, or the least when asked.
fn compare(ty: ScalarType, a: Lane, b: Lane, nan_least: bool) -> Ordering {
    match (a, b) {
        (Lane::Int(a), Lane::Int(b)) if ty == ScalarType::U64 => (a as u64).cmp(&(b as u64)),
        (Lane::Int(a), Lane::Int(b)) => a.cmp(&b),
        (a, b) => {
            let (a, b) = (number(a), number(b));
            a.partial_cmp(&b).unwrap_or_else(|| {
                let order = a.is_nan().cmp(&b.is_nan());
                if nan_least { order.reverse() } else { order }
            })
        }
    }
}

/// Positions of a line in sorted order, stable.
pub fn sorted(ty: ScalarType, keys: &[Lane], line: &[usize], descending: bool) -> Vec<usize> {
    let mut order = line.to_vec();
    order.sort_by(|&a, &b| {
        let order = compare(ty, keys[a], keys[b], false);
        if descending { order.reverse() } else { order }
    });
    order
}
