//! Laws of the maps themselves: inverses, free bits, products, ownership, text.

use std::collections::HashMap;

use proptest::prelude::*;
use smallvec::smallvec;

use super::super::*;
use super::{all_coords, layouts_of, points, shapes, tiles};

proptest! {
    #[test]
    fn the_right_inverse_picks_the_preimage_with_zero_free_bits(
        layout in shapes().prop_flat_map(|s| layouts_of(s, 5, 2))
    ) {
        let inverse = layout.map().right_inverse().expect("complete layouts have a right inverse");
        prop_assert_eq!(layout.map().compose(&inverse), LinearMap::identity(layout.map().rows()));
        let free = layout.map().free();
        prop_assert!(inverse.cols().iter().all(|c| c & free == 0));
        prop_assert_eq!(layout.map().kernel().len() as u32, free.count_ones());
        for k in layout.map().kernel() {
            prop_assert_eq!(layout.map().apply(k), 0);
        }
    }

    /// An atomic that every copy executed would add 2^k times.
    #[test]
    fn with_free_bits_zero_every_element_has_exactly_one_owner(layout in tiles()) {
        let (lanes, warps) = layout.free_threads();
        let registers: Vec<u32> = layout.owning_registers().collect();
        let mut owners: HashMap<Coords, u32> = HashMap::new();
        for (r, l, w) in points(&layout) {
            if l & lanes == 0 && w & warps == 0 && registers.contains(&r) {
                *owners.entry(layout.coords(r, l, w, 0)).or_default() += 1;
            }
        }
        let all = all_coords(&layout.physical());
        prop_assert_eq!(owners.len(), all.len());
        for coords in all {
            prop_assert_eq!(owners.get(&coords), Some(&1));
            let owner = layout.owner(&coords).expect("complete");
            prop_assert_eq!(layout.coords(owner.register, owner.lane, owner.warp, owner.cta), coords);
            prop_assert!(owner.lane & lanes == 0 && owner.warp & warps == 0 && registers.contains(&owner.register));
        }
    }

    #[test]
    fn dividing_a_product_gives_the_other_factor(
        (inner, outer) in shapes().prop_flat_map(|s| {
            (layouts_of(s.clone(), 2, 1), layouts_of(s, 3, 1))
        })
    ) {
        prop_assert_eq!(inner.product(&outer).divide(&inner), Some(outer));
    }

    #[test]
    fn text_parses_back(layout in tiles()) {
        prop_assert_eq!(layout.to_string().parse::<Layout>(), Ok(layout));
    }

    #[test]
    fn no_register_is_a_copy_of_another_after_deduplication(layout in tiles()) {
        let once = layout.without_duplicate_registers();
        prop_assert!(once.is_complete());
        let mut seen = std::collections::HashSet::new();
        for r in 0..once.registers() {
            prop_assert!(seen.insert(once.register_coords(r)));
        }
        // What a thread held it still holds.
        let held: std::collections::HashSet<_> = (0..layout.registers()).map(|r| layout.register_coords(r)).collect();
        prop_assert_eq!(held, seen);
    }

    #[test]
    fn a_register_run_is_an_aligned_run_of_elements_in_every_thread(layout in tiles()) {
        for dim in 0..layout.rank() {
            let run = layout.unit().register_run(dim);
            for vector in register_vectors(&layout, &run) {
                for lane in [0, 1, 7, 31] {
                    let first = layout.coords(vector[0], lane, 1, 0);
                    prop_assert!(first[dim].is_multiple_of(1 << run.len()));
                    for (i, &r) in vector.iter().enumerate() {
                        let mut expected = first.clone();
                        expected[dim] += i as u32;
                        prop_assert_eq!(layout.coords(r, lane, 1, 0), expected);
                    }
                }
            }
        }
    }
}

#[test]
fn malformed_text_says_where_and_what() {
    let error = |text: &str| text.parse::<Layout>().unwrap_err().to_string();
    assert_eq!(error("{reg: (1)} -> [3]"), "layout text, byte 17: expected extents that are powers of two");
    assert_eq!(error("{reg: (2)} -> [2]"), "layout text, byte 17: expected extents that hold every coordinate");
    assert_eq!(error("{reg (1)}"), "layout text, byte 5: expected ':'");
    assert_eq!(error("{bank: (1)}"), "layout text, byte 1: expected reg, lane, warp, cta or offset");
    assert_eq!(error("{} -> [1] x [0]"), "layout text, byte 15: expected one positive repetition count for each dimension");
    assert_eq!(error("{} -> [99999999999]"), "layout text, byte 7: expected a 32-bit number");
    assert_eq!(error("{} -> [] !"), "layout text, byte 9: expected the end of the layout");
}

#[test]
fn text_of_a_small_layout() {
    let blocked = Blocked { per_thread: smallvec![1, 2], lanes: smallvec![8, 4], warps: smallvec![2, 1], order: smallvec![1, 0] };
    assert_eq!(
        blocked.layout(&[48, 8]).to_string(),
        "{reg: (0, 1); lane: (0, 2) (0, 4) (1, 0) (2, 0) (4, 0); warp: (8, 0)} -> [16, 8] x [3, 1]"
    );
}

#[test]
fn interning_gives_equal_layouts_one_id() {
    let a = mma_accumulator([64, 64], [2, 2]).intern();
    let b = mma_accumulator([64, 32], [2, 2]).intern();
    assert_ne!(a, b);
    assert_eq!(mma_accumulator([64, 64], [2, 2]).intern(), a);
    assert_eq!(b.layout().physical().as_slice(), [64, 32]);
}
