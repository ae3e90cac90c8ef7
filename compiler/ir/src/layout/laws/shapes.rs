//! Laws of the shape transforms and of extents that are not powers of two.

use proptest::prelude::*;
use smallvec::smallvec;

use super::super::*;
use super::{flat, points, tiles};

proptest! {
    #[test]
    fn slicing_drops_one_coordinate_and_moves_nothing(layout in tiles(), dim in 0usize..3) {
        let dim = dim % layout.rank();
        let sliced = layout.slice(dim);
        prop_assert!(sliced.is_complete());
        for lane in 0..32 {
            let held: std::collections::HashSet<Coords> =
                (0..sliced.registers()).map(|r| sliced.coords(r, lane, 1, 0)).collect();
            let expected: std::collections::HashSet<Coords> = (0..layout.registers())
                .map(|r| {
                    let mut coords = layout.coords(r, lane, 1, 0);
                    coords.remove(dim);
                    coords
                })
                .collect();
            prop_assert_eq!(held, expected);
        }
    }

    #[test]
    fn permuting_renames_dimensions(layout in tiles()) {
        let order: Vec<usize> = (0..layout.rank()).rev().collect();
        let permuted = layout.permute(&order);
        for lane in [0, 5, 31] {
            let held: std::collections::HashSet<Coords> =
                (0..permuted.registers()).map(|r| permuted.coords(r, lane, 1, 0)).collect();
            for r in 0..layout.registers() {
                let mut coords = layout.coords(r, lane, 1, 0);
                coords.reverse();
                prop_assert!(held.contains(&coords));
            }
        }
    }

    /// A reshape that is free keeps the row-major index of every register.
    #[test]
    fn a_free_reshape_keeps_every_row_major_index(layout in tiles()) {
        let physical = layout.physical();
        let total: u32 = physical.iter().product();
        let mut targets = vec![vec![total], vec![1, total], vec![total, 1]];
        for split in (1..=total).filter(|s| total.is_multiple_of(*s)) {
            targets.push(vec![split, total / split]);
        }
        for extents in targets {
            let Some(reshaped) = layout.reshape(&extents) else { continue };
            prop_assert_eq!(&reshaped.physical().to_vec(), &extents);
            for (r, l, w) in points(&layout) {
                prop_assert_eq!(
                    flat(&layout.coords(r, l, w, 0), &physical),
                    flat(&reshaped.coords(r, l, w, 0), &extents)
                );
            }
        }
        // Flattening a tile whose repetition is outermost is always free, and so is the way back.
        let flattened = layout.reshape(&[total]).expect("the repetition is outermost");
        prop_assert_eq!(flattened.reshape(&physical), Some(layout));
    }

    #[test]
    fn blocked_layouts_cover_their_shape(
        shape in proptest::collection::vec(1u32..200, 1..3),
        per_thread in 0u8..4,
        warps in 0u8..4,
    ) {
        let rank = shape.len();
        let last = rank - 1;
        let on_last = |count: u32| (0..rank).map(|d| if d == last { count } else { 1 }).collect::<Coords>();
        let blocked = Blocked {
            per_thread: on_last(1 << per_thread),
            lanes: on_last(32),
            warps: (0..rank).map(|d| if d == 0 { 1 << warps } else { 1 }).collect(),
            order: (0..rank).rev().collect(),
        };
        let layout = blocked.layout(&shape);
        prop_assert!(layout.covers(&shape));
        prop_assert!(layout.is_complete());
        // Padding stays below one block.
        for (&physical, &extent) in layout.physical().iter().zip(&shape) {
            prop_assert!(physical < 2 * extent || physical - extent < 32 << (per_thread + warps));
        }
    }
}

/// wgmma with n = 96: twelve n8 blocks, 48 registers a thread, not the 64 that padding to 128 would take.
#[test]
fn ninety_six_columns_take_forty_eight_registers() {
    let layout = wgmma_accumulator([64, 96], [1, 1]);
    assert_eq!(layout.registers(), 48);
    assert_eq!(layout.physical().as_slice(), [64, 96]);
    assert_eq!(layout.reps(), [1, 3]);
}

/// 384 floats on 128 threads: three registers each, no idle lane.
#[test]
fn three_times_128_is_a_repetition() {
    let blocked = Blocked { per_thread: smallvec![1], lanes: smallvec![32], warps: smallvec![4], order: smallvec![0] };
    let layout = blocked.layout(&[384]);
    assert_eq!((layout.registers(), layout.physical()[0]), (3, 384));
    assert_eq!(layout.coords(2, 1, 1, 0).as_slice(), [256 + 32 + 1]);
}

/// 10 elements on 32 lanes: lanes beyond the padded extent hold copies and own nothing.
#[test]
fn a_tile_smaller_than_a_warp_has_copies() {
    let blocked = Blocked { per_thread: smallvec![1], lanes: smallvec![32], warps: smallvec![2], order: smallvec![0] };
    let layout = blocked.layout(&[10]);
    assert_eq!(layout.physical()[0], 16);
    assert_eq!(layout.free_threads(), (0b10000, 0b1));
}

/// A result reduced over lanes is held by all of them: the lane bits become free.
#[test]
fn reduced_lanes_are_free() {
    let blocked =
        Blocked { per_thread: smallvec![1, 4], lanes: smallvec![1, 32], warps: smallvec![4, 1], order: smallvec![1, 0] };
    let row_sums = blocked.layout(&[8, 128]).slice(1);
    assert_eq!(row_sums.registers(), 2);
    assert_eq!(row_sums.free_threads(), (0b11111, 0));
}

/// Splitting 96 = 3 x 32 into [3, 32] is free; into [32, 3] it cuts across the unit and is not.
#[test]
fn a_reshape_across_unit_and_repetition_is_refused() {
    let blocked = Blocked { per_thread: smallvec![1], lanes: smallvec![32], warps: smallvec![1], order: smallvec![0] };
    let layout = blocked.layout(&[96]);
    assert!(layout.reshape(&[3, 32]).is_some());
    assert!(layout.reshape(&[6, 16]).is_some());
    assert!(layout.reshape(&[32, 3]).is_none());
    assert!(layout.reshape(&[64]).is_none());
}

/// One layout however it is written: twelve repetitions of 8 are three of 32.
#[test]
fn repetitions_have_one_normal_form() {
    let unit = LinearLayout::along(1, 0, Hw::Lane, 3);
    let as_twelve = Layout::new(unit.clone(), &[12]);
    let as_three = Layout::new(unit.product(&LinearLayout::along(1, 0, Hw::Register, 2)), &[3]);
    assert_eq!(as_twelve, as_three);
}
