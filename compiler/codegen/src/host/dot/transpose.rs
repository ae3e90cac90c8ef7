//! Transposing a square of vectors in registers, with shuffles that x86 and Arm have as one instruction: interleaving inside 128-bit parts first,
//! then moving whole parts.

use crate::host::loops::Emit;
use crate::llvm::Val;

/// `result[i][j] = rows[j][i]`; as many vectors as a vector has lanes, a power of two, of 32- or 64-bit lanes.
pub(crate) fn transpose(e: &Emit<'_>, mut rows: Vec<Val>) -> Vec<Val> {
    let lanes = rows.len();
    debug_assert_eq!(e.lanes(rows[0]) as usize, lanes);
    // Lanes of a 128-bit part; a shorter vector is one part.
    let part = lanes.min(if is_wide(e, rows[0]) { 2 } else { 4 });
    for group in rows.chunks_mut(part) {
        transpose_parts(e, group);
    }
    // Now row `part * g + i` holds, in part `p`, column `part * p + i` of row group `g`; exchange groups and parts.
    let parts = lanes / part;
    let mut result = rows.clone();
    for i in 0..part {
        let column: Vec<_> = (0..parts).map(|g| rows[part * g + i]).collect();
        for (p, value) in exchange(e, column, part).into_iter().enumerate() {
            result[part * p + i] = value;
        }
    }
    result
}

fn is_wide(e: &Emit<'_>, v: Val) -> bool {
    let elem = e.elem_ty(e.ty(v));
    elem == e.i64() || elem == e.f64()
}

/// Transposes the `n x n` squares (n = 1, 2, 4) that `n` vectors hold in each of their parts of `n` lanes.
fn transpose_parts(e: &Emit<'_>, rows: &mut [Val]) {
    let lanes = e.lanes(rows[0]);
    let per_part = |lanes_of_part: &[u32], part: u32| -> Vec<u32> {
        // Numbers 0..part are of the first operand's part, part.. of the second's.
        (0..lanes)
            .step_by(part as usize)
            .flat_map(|base| {
                let place = move |&l: &u32| if l < part { base + l } else { lanes + base + l - part };
                lanes_of_part.iter().map(place).collect::<Vec<_>>()
            })
            .collect()
    };
    match rows {
        [_] => {}
        [a, b] => {
            let low = e.shuffle(*a, *b, &per_part(&[0, 2], 2));
            let high = e.shuffle(*a, *b, &per_part(&[1, 3], 2));
            [*a, *b] = [low, high];
        }
        [a, b, c, d] => {
            let ab_low = e.shuffle(*a, *b, &per_part(&[0, 4, 1, 5], 4));
            let ab_high = e.shuffle(*a, *b, &per_part(&[2, 6, 3, 7], 4));
            let cd_low = e.shuffle(*c, *d, &per_part(&[0, 4, 1, 5], 4));
            let cd_high = e.shuffle(*c, *d, &per_part(&[2, 6, 3, 7], 4));
            *a = e.shuffle(ab_low, cd_low, &per_part(&[0, 1, 4, 5], 4));
            *b = e.shuffle(ab_low, cd_low, &per_part(&[2, 3, 6, 7], 4));
            *c = e.shuffle(ab_high, cd_high, &per_part(&[0, 1, 4, 5], 4));
            *d = e.shuffle(ab_high, cd_high, &per_part(&[2, 3, 6, 7], 4));
        }
        _ => panic!("parts of {} lanes", rows.len()),
    }
}

/// Transposes the square of parts that `rows` hold: part `p` of result `i` is part `i` of row `p`. 1, 2 or 4 parts.
fn exchange(e: &Emit<'_>, rows: Vec<Val>, part: usize) -> Vec<Val> {
    let of = |parts: &[usize]| -> Vec<u32> { parts.iter().flat_map(|p| (0..part).map(move |l| (p * part + l) as u32)).collect() };
    match rows[..] {
        [_] => rows,
        [a, b] => vec![e.shuffle(a, b, &of(&[0, 2])), e.shuffle(a, b, &of(&[1, 3]))],
        [a, b, c, d] => {
            let ab_low = e.shuffle(a, b, &of(&[0, 1, 4, 5]));
            let cd_low = e.shuffle(c, d, &of(&[0, 1, 4, 5]));
            let ab_high = e.shuffle(a, b, &of(&[2, 3, 6, 7]));
            let cd_high = e.shuffle(c, d, &of(&[2, 3, 6, 7]));
            let (even, odd) = (of(&[0, 2, 4, 6]), of(&[1, 3, 5, 7]));
            vec![
                e.shuffle(ab_low, cd_low, &even),
                e.shuffle(ab_low, cd_low, &odd),
                e.shuffle(ab_high, cd_high, &even),
                e.shuffle(ab_high, cd_high, &odd),
            ]
        }
        _ => panic!("a vector of {} parts", rows.len()),
    }
}
