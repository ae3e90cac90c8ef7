//! Tensor-core fragments and swizzles against the formulas of the PTX ISA manual.

use super::super::*;

/// "Matrix Fragments for mma.m16n8k*": groupID = lane >> 2, threadID_in_group = lane % 4.
fn group(lane: u32) -> (u32, u32) {
    (lane >> 2, lane % 4)
}

#[test]
fn mma_accumulator_fragment() {
    let layout = mma_accumulator([16, 8], [1, 1]);
    assert_eq!(layout.registers(), 4);
    for lane in 0..32 {
        let (g, t) = group(lane);
        for i in 0..4 {
            let row = if i < 2 { g } else { g + 8 };
            assert_eq!(layout.coords(i, lane, 0, 0).as_slice(), [row, t * 2 + (i & 1)]);
        }
    }
}

#[test]
fn mma_operands_of_m16n8k16_16_bit() {
    let a = mma_operand_a([16, 16], 2, [1, 1]);
    let b = mma_operand_b([16, 8], 2, [1, 1]);
    assert_eq!((a.registers(), b.registers()), (8, 4));
    for lane in 0..32 {
        let (g, t) = group(lane);
        for i in 0..8 {
            let row = if matches!(i, 0 | 1 | 4 | 5) { g } else { g + 8 };
            let col = t * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
            assert_eq!(a.coords(i, lane, 0, 0).as_slice(), [row, col]);
        }
        for i in 0..4 {
            let row = t * 2 + (i & 1) + if i >= 2 { 8 } else { 0 };
            assert_eq!(b.coords(i, lane, 0, 0).as_slice(), [row, g]);
        }
    }
}

#[test]
fn mma_operands_of_m16n8k32_8_bit() {
    let a = mma_operand_a([16, 32], 4, [1, 1]);
    let b = mma_operand_b([32, 8], 4, [1, 1]);
    assert_eq!((a.registers(), b.registers()), (16, 8));
    for lane in 0..32 {
        let (g, t) = group(lane);
        for i in 0..16 {
            let row = if i < 4 || (8..12).contains(&i) { g } else { g + 8 };
            let col = t * 4 + (i & 3) + if i >= 8 { 16 } else { 0 };
            assert_eq!(a.coords(i, lane, 0, 0).as_slice(), [row, col]);
        }
        for i in 0..8 {
            let row = t * 4 + (i & 3) + if i >= 4 { 16 } else { 0 };
            assert_eq!(b.coords(i, lane, 0, 0).as_slice(), [row, g]);
        }
    }
}

#[test]
fn mma_operands_of_m16n8k8_tf32() {
    let a = mma_operand_a([16, 8], 1, [1, 1]);
    let b = mma_operand_b([8, 8], 1, [1, 1]);
    for lane in 0..32 {
        let (g, t) = group(lane);
        for i in 0..4 {
            let row = if i % 2 == 0 { g } else { g + 8 };
            let col = if i < 2 { t } else { t + 4 };
            assert_eq!(a.coords(i, lane, 0, 0).as_slice(), [row, col]);
        }
        for i in 0..2 {
            assert_eq!(b.coords(i, lane, 0, 0).as_slice(), [if i == 0 { t } else { t + 4 }, g]);
        }
    }
}

/// "Register Fragments for wgmma.mma_async.m64nNk16", accumulator D: rows of warp w start at 16 w.
#[test]
fn wgmma_fragments() {
    for n in [8, 64, 80, 96, 192, 256] {
        let d = wgmma_accumulator([64, n], [1, 1]);
        assert_eq!(d.registers(), n / 2);
        for (warp, lane) in [(0, 0), (1, 9), (2, 18), (3, 31)] {
            let (g, t) = group(lane);
            for i in 0..n / 2 {
                let row = warp * 16 + g + if i % 4 >= 2 { 8 } else { 0 };
                assert_eq!(d.coords(i, lane, warp, 0).as_slice(), [row, (i / 4) * 8 + t * 2 + (i & 1)]);
            }
        }
    }
    let a = wgmma_operand_a([64, 16], 2, [1, 1]);
    for (warp, lane) in [(0, 0), (1, 9), (2, 18), (3, 31)] {
        let (g, t) = group(lane);
        for i in 0..8 {
            let row = warp * 16 + g + if i % 4 >= 2 { 8 } else { 0 };
            let col = t * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
            assert_eq!(a.coords(i, lane, warp, 0).as_slice(), [row, col]);
        }
    }
}

/// Two warpgroups on 128 rows, and two side by side on 2 x 128 columns: the low warp bits stay rows of a warpgroup.
#[test]
fn warpgroups_follow_the_rows_of_one_warpgroup() {
    let tall = wgmma_accumulator([128, 64], [2, 1]);
    assert_eq!(tall.coords(0, 0, 4, 0).as_slice(), [64, 0]);
    assert_eq!(tall.coords(0, 0, 3, 0).as_slice(), [48, 0]);
    let wide = wgmma_accumulator([64, 256], [1, 2]);
    assert_eq!(wide.coords(0, 0, 4, 0).as_slice(), [0, 128]);
    assert_eq!(wide.registers(), 64);
}

#[test]
fn mma_warps_choose_their_rows_and_columns() {
    let c = mma_accumulator([64, 64], [2, 4]);
    assert_eq!(c.coords(0, 0, 1, 0).as_slice(), [16, 0]);
    assert_eq!(c.coords(0, 0, 2, 0).as_slice(), [0, 8]);
    // Warps side by side along n share operand A, those along m share operand B.
    let a = mma_operand_a([64, 16], 2, [2, 4]);
    let b = mma_operand_b([16, 64], 2, [2, 4]);
    assert_eq!(a.free_threads(), (0, 0b110));
    assert_eq!(b.free_threads(), (0, 0b001));
}

/// The accumulator of S = Q K^T is operand A of P V without leaving its thread for 16-bit types. For 8-bit types it is
/// not, unless k of both operands is permuted the same way.
#[test]
fn accumulator_to_operand_a() {
    let s = wgmma_accumulator([64, 128], [1, 1]);
    assert!(matches!(plan(&s, &wgmma_operand_a([64, 128], 2, [1, 1]), 2), Conversion::Registers(_)));
    let p8 = wgmma_operand_a([64, 128], 4, [1, 1]);
    assert!(!matches!(plan(&s, &p8, 1), Conversion::Registers(_)));
    // k order 0 1 8 9 | 2 3 10 11 | ...: within 16 columns, bits (1, 2, 3) become (3, 1, 2).
    let permuted = LinearLayout::from_bases(
        &[6, 7],
        &Hw::ALL.map(|hw| {
            let bits = (0..p8.unit().bits(hw)).map(|bit| {
                let mut coords = p8.unit().basis(hw, bit);
                coords[1] = match coords[1] {
                    2 => 8,
                    4 => 2,
                    8 => 4,
                    other => other,
                };
                coords
            });
            (hw, bits.collect())
        }),
    );
    assert!(matches!(plan(&s, &Layout::linear(permuted), 1), Conversion::Registers(_)));
}

/// ldmatrix applies where the operand divides by its fragment; stmatrix of an accumulator likewise.
#[test]
fn ldmatrix_divides_16_bit_operands() {
    let a = mma_operand_a([64, 64], 2, [2, 2]);
    let b = mma_operand_b([64, 64], 2, [2, 2]);
    assert!(a.unit().divide(&ldmatrix(false)).is_some());
    assert!(a.unit().divide(&ldmatrix(true)).is_none());
    assert!(b.unit().divide(&ldmatrix(true)).is_some());
    assert!(wgmma_accumulator([64, 96], [1, 1]).unit().divide(&ldmatrix(false)).is_some());
}

/// The swizzled address of every element, by the manual's formula on address bits.
#[test]
fn swizzles_xor_address_bits() {
    let cases = [(Swizzle::B128, 3, 1024), (Swizzle::B64, 2, 512), (Swizzle::B32, 1, 256), (Swizzle::None, 0, 128)];
    for (swizzle, bits, alignment) in cases {
        assert_eq!(swizzle.alignment(), alignment);
        let columns = swizzle.span() / 2;
        let layout = shared_rows([64, 2 * columns], 2, swizzle).unwrap();
        for row in 0..64 {
            for column in 0..2 * columns {
                let chunk = column / columns;
                let plain = chunk * 64 * swizzle.span() + row * swizzle.span() + (column % columns) * 2;
                let expected = plain ^ (((plain >> 7) & ((1 << bits) - 1)) << 4);
                assert_eq!(layout.offset(&[row, column]), Some(expected / 2), "{swizzle:?} {row} {column}");
            }
        }
    }
}

/// A k16 step inside a 128-byte atom moves the start address by 32 bytes: right only because the hardware swizzles
/// addresses, so a start address with other bits 4-6 picks other chunks.
#[test]
fn a_k16_step_advances_the_start_address_by_32_bytes() {
    let layout = shared_rows([64, 64], 2, Swizzle::B128).unwrap();
    for step in 0..4u32 {
        for row in 0..64 {
            for k in 0..16 {
                let start = u64::from(step * 32);
                let hardware = Swizzle::B128.apply(start + u64::from(row * 128 + k * 2));
                let element = layout.offset(&[row, step * 16 + k]).unwrap();
                assert_eq!(hardware, u64::from(element * 2));
            }
        }
    }
}

/// Tiles of 96 rows and of 192 columns have whole buffers; what would need both is refused.
#[test]
fn shared_tiles_of_odd_multiples() {
    assert_eq!(shared_rows([96, 64], 2, Swizzle::B128).unwrap().offsets(), 96 * 64);
    assert_eq!(shared_rows([64, 192], 2, Swizzle::B128).unwrap().offsets(), 64 * 192);
    assert!(shared_rows([96, 192], 2, Swizzle::B128).is_none());
    assert!(shared_rows([12, 64], 2, Swizzle::B128).is_none());
    assert!(shared_rows([64, 80], 2, Swizzle::B128).is_none());
}

/// Tiles staged for fragments: every element has a place of its own, and neither 16-byte stores along the fast dimension nor the
/// fragment reads of tensor-core operands meet a bank conflict.
#[test]
fn staged_tiles_have_no_bank_conflicts() {
    for (rows, columns) in [(64, 64), (128, 32), (64, 16), (32, 128), (96, 48), (48, 192), (16, 80), (8, 256)] {
        for bytes in [1u32, 2, 4, 8] {
            for fast in [0usize, 1] {
                let shape = if fast == 1 { [rows, columns] } else { [columns, rows] };
                let layout = staged(shape, fast, bytes);
                let at = |row: u32, column: u32| {
                    let coords = if fast == 1 { [row, column] } else { [column, row] };
                    u64::from(layout.offset(&coords).unwrap() * bytes)
                };
                let places: std::collections::BTreeSet<u64> =
                    (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).map(|(r, c)| at(r, c)).collect();
                assert_eq!(places.len() as u32, rows * columns);
                assert!(*places.last().unwrap() < u64::from(layout.offsets() * bytes));
                let chunk = 16 / bytes;
                if columns * bytes < 16 {
                    continue;
                }
                // `ldmatrix`: eight rows of 16 bytes.
                let matrix: Vec<u64> = (0..8).map(|r| at(r, 0)).collect();
                assert!(matrix.iter().all(|a| a % 16 == 0));
                assert_eq!(wavefronts(&matrix, 16), 1, "{shape:?} {bytes} fast {fast}");
                // Stores of 16 bytes by neighbours, row by row; of a row with an odd number of parts, one part each.
                let neighbours = (1 << (columns / chunk).trailing_zeros()).min(8);
                let stores: Vec<u64> = (0..8).map(|l| at(l / neighbours, l % neighbours * chunk)).collect();
                assert_eq!(wavefronts(&stores, 16), 1, "{shape:?} {bytes} fast {fast}");
                // Bytes that do not lie along k: one of each of four rows, which are four apart, and eight columns.
                if bytes == 1 && rows.is_multiple_of(16) {
                    for i in 0..4 {
                        let lanes: Vec<u64> = (0..32).map(|l| at(l % 4 * 4 + i, l / 4)).collect();
                        assert_eq!(wavefronts(&lanes, 1), 1, "{shape:?} fast {fast}");
                    }
                }
                // One element a lane: four rows, eight columns (tf32 and f64 operands that do not lie along k), or the reverse.
                if bytes >= 4 {
                    for (row, column) in [([1, 0], [0, 1]), ([0, 1], [1, 0])] {
                        let lane = |l: u32| {
                            let (k, n) = (l % 4, l / 4);
                            at(k * row[0] + n * column[0], k * row[1] + n * column[1])
                        };
                        let lanes: Vec<u64> = (0..32).map(lane).collect();
                        assert_eq!(wavefronts(&lanes, bytes), bytes / 4, "{shape:?} {bytes} fast {fast}");
                    }
                }
            }
        }
    }
}

/// "Matrix Fragments for mma.m8n8k4 with .f64".
#[test]
fn mma_fragments_of_f64() {
    let (acc, a, b) = (mma_f64_accumulator([8, 8], [1, 1]), mma_f64_operand_a([8, 4], [1, 1]), mma_f64_operand_b([4, 8], [1, 1]));
    assert_eq!((acc.registers(), a.registers(), b.registers()), (2, 1, 1));
    for lane in 0..32 {
        let (g, t) = group(lane);
        assert_eq!(a.coords(0, lane, 0, 0).as_slice(), [g, t]);
        assert_eq!(b.coords(0, lane, 0, 0).as_slice(), [t, g]);
        for i in 0..2 {
            assert_eq!(acc.coords(i, lane, 0, 0).as_slice(), [g, 2 * t + i]);
        }
    }
}

/// The accumulator of one product is operand A of the next without moving (attention), for 16-bit elements and rows of warps.
#[test]
fn an_accumulator_is_an_operand() {
    for n in [16, 32, 48, 64, 80, 128] {
        let acc = mma_accumulator([64, n], [4, 1]);
        assert!(stays_in_threads(&acc, &mma_operand_a([64, n], 2, [4, 1])), "{n} columns");
        assert!(!stays_in_threads(&acc, &mma_operand_a([64, n.next_multiple_of(32)], 4, [4, 1])), "{n} columns of 8 bits");
    }
    // Warps side by side hold other columns.
    assert!(!stays_in_threads(&mma_accumulator([32, 64], [2, 2]), &mma_operand_a([32, 64], 2, [2, 2])));
}
