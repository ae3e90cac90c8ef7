//! Where the lanes of a shape operation come from.

use kiln_ir::{InstData, Type};

use super::Lane;

/// Calls `f` with every index of a shape, row-major. A scalar has one, the empty one.
pub fn each_index(dims: &[i64], mut f: impl FnMut(&[i64])) {
    if dims.iter().any(|&d| d <= 0) {
        return;
    }
    let mut index = vec![0; dims.len()];
    loop {
        f(&index);
        let Some(d) = (0..dims.len()).rev().find(|&d| index[d] + 1 < dims[d]) else { return };
        index[d] += 1;
        index[d + 1..].fill(0);
    }
}

/// The shape of a tile in i64.
pub fn extents(ty: Type) -> Vec<i64> {
    ty.shape().iter().map(|&d| i64::from(d)).collect()
}

/// Row-major position of an index.
pub fn position(dims: &[i64], index: &[i64]) -> usize {
    index.iter().zip(dims).fold(0, |at, (i, d)| at * d + i) as usize
}

/// Position in a tile of shape `from` of what numpy broadcasting puts at `index`.
pub fn broadcast_position(from: &[i64], index: &[i64]) -> usize {
    let skip = index.len() - from.len();
    let clipped: Vec<i64> = index[skip..].iter().zip(from).map(|(&i, &d)| if d == 1 { 0 } else { i }).collect();
    position(from, &clipped)
}

/// The lanes of a result built by picking a lane of `arg` for each index.
fn pick(result: Type, arg: &[Lane], from: impl Fn(&[i64]) -> usize) -> Vec<Lane> {
    let mut out = Vec::new();
    each_index(&extents(result), |index| out.push(arg[from(index)]));
    out
}

/// Evaluates a shape operation with one operand of type `ty`.
pub fn moved(data: &InstData, result: Type, ty: Type, arg: &[Lane]) -> Vec<Lane> {
    let dims = extents(ty);
    match data {
        InstData::Broadcast { .. } => pick(result, arg, |index| broadcast_position(&dims, index)),
        InstData::Permute { perm, .. } => pick(result, arg, |index| {
            let mut source = vec![0; dims.len()];
            perm.iter().zip(index).for_each(|(&p, &i)| source[usize::from(p)] = i);
            position(&dims, &source)
        }),
        InstData::ExtractSlice { starts, .. } => pick(result, arg, |index| {
            let source: Vec<i64> = index.iter().zip(starts).map(|(&i, &s)| i + i64::from(s)).collect();
            position(&dims, &source)
        }),
        InstData::Flip { axis, .. } => pick(result, arg, |index| {
            let mut source = index.to_vec();
            let d = usize::from(*axis);
            source[d] = dims[d] - 1 - source[d];
            position(&dims, &source)
        }),
        // ExpandDims, Reshape, ConvertLayout: the same lanes in the same order.
        _ => arg.to_vec(),
    }
}

/// Concatenation along an axis.
pub fn cat(result: Type, parts: &[(Type, Vec<Lane>)], axis: usize) -> Vec<Lane> {
    let mut out = Vec::new();
    each_index(&extents(result), |index| {
        let mut index = index.to_vec();
        let part = parts.iter().find(|(ty, _)| {
            let extent = i64::from(ty.shape()[axis]);
            let here = index[axis] < extent;
            if !here {
                index[axis] -= extent;
            }
            here
        });
        out.extend(part.map(|(ty, lanes)| lanes[position(&extents(*ty), &index)]));
    });
    out
}
