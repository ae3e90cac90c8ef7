//! Conversions, executed: every plan delivers the right element to every thread, at the promised cost.

use proptest::prelude::*;
use smallvec::smallvec;

use super::super::*;
use super::{layouts_of, points, shapes};

/// Runs a plan on a machine whose registers hold coordinates, and checks what arrives.
fn check(source: &Layout, target: &Layout, conversion: &Conversion) -> Result<(), TestCaseError> {
    let physical = source.physical();
    let in_source = |coords: &Coords| coords.iter().zip(&physical).all(|(c, p)| c < p);
    let registers = (source.registers(), target.registers());
    match conversion {
        Conversion::Registers(moves) => {
            prop_assert_eq!(moves.len() as u32, registers.1);
            for (r, l, w) in points(target) {
                let wanted = target.coords(r, l, w, 0);
                match moves[r as usize] {
                    Some(from) => prop_assert_eq!(source.coords(from, l, w, 0), wanted),
                    None => prop_assert!(!in_source(&wanted)),
                }
            }
        }
        Conversion::Shuffles(s) => {
            for (r, l, w) in points(target) {
                let step = &s.moves[r as usize];
                let register = step.register ^ s.registers.apply(u64::from(l)) as u32;
                prop_assert!(s.candidates(r as usize).contains(&register));
                let lane = step.lane ^ s.lanes.apply(u64::from(l)) as u32;
                prop_assert_eq!(source.coords(register, lane, w, 0), target.coords(r, l, w, 0));
            }
        }
        Conversion::Shared(s) => {
            let mut memory = vec![None; s.buffer.elements() as usize];
            let (lanes, warps) = source.free_threads();
            for (r, l, w) in points(source) {
                if l & lanes == 0 && w & warps == 0 {
                    let coords = source.coords(r, l, w, 0);
                    let offset = s.buffer.offset(&coords).expect("the buffer holds the source");
                    memory[offset as usize] = Some(coords);
                }
            }
            for (r, l, w) in points(target) {
                let wanted = target.coords(r, l, w, 0);
                if in_source(&wanted) {
                    let offset = s.buffer.offset(&wanted).expect("the buffer holds the target");
                    prop_assert_eq!(memory[offset as usize].as_ref(), Some(&wanted));
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_conversion_delivers_every_element(
        (a, b) in shapes().prop_flat_map(|s| (layouts_of(s.clone(), 5, 1), layouts_of(s, 5, 1))),
        rep in prop_oneof![Just(1u32), Just(3)],
        bytes in prop_oneof![Just(1u32), Just(2), Just(4), Just(8)],
    ) {
        let reps: Coords = (0..a.rank()).map(|d| if d == 0 { rep } else { 1 }).collect();
        let source = Layout::new(a, &reps).without_duplicate_registers();
        let target = Layout::new(b, &reps).without_duplicate_registers();
        check(&source, &target, &plan(&source, &target, bytes))?;
    }

    /// Blocked layouts of any shape, padded or repeated, and with lanes along different dimensions.
    #[test]
    fn blocked_layouts_convert(rows in 1u32..70, columns in 1u32..70, wide in 0u8..3) {
        let row_wise = Blocked {
            per_thread: smallvec![1, 1 << wide], lanes: smallvec![4, 8], warps: smallvec![2, 1], order: smallvec![1, 0],
        }.layout(&[rows, columns]);
        let column_wise = Blocked {
            per_thread: smallvec![2, 1], lanes: smallvec![16, 2], warps: smallvec![1, 2], order: smallvec![0, 1],
        }.layout(&[rows, columns]);
        check(&row_wise, &column_wise, &plan(&row_wise, &column_wise, 4))?;
        check(&column_wise, &row_wise, &plan(&column_wise, &row_wise, 4))?;
        check(&row_wise, &row_wise, &plan(&row_wise, &row_wise, 4))?;
    }
}

fn row_major(shape: &[u32; 2], vector: u32) -> Layout {
    let lanes = (shape[1] / vector).min(32);
    Blocked {
        per_thread: smallvec![1, vector],
        lanes: smallvec![32 / lanes, lanes],
        warps: smallvec![4, 1],
        order: smallvec![1, 0],
    }
    .layout(shape)
}

#[test]
fn the_same_layout_needs_no_move() {
    let layout = row_major(&[64, 64], 4);
    let Conversion::Registers(moves) = plan(&layout, &layout, 4) else { panic!("not a register move") };
    assert!(moves.iter().enumerate().all(|(i, m)| *m == Some(i as u32)));
    assert_eq!(plan(&layout, &layout, 4).cost(4), Cost::default());
}

/// Both sides move 128 bits a lane and every wavefront serves 128 bytes.
#[test]
fn a_transpose_through_shared_memory_has_no_bank_conflict() {
    for bytes in [2u32, 4] {
        let vector = 16 / bytes;
        let source = row_major(&[64, 64], vector);
        let target = source.permute(&[1, 0]);
        let Conversion::Shared(s) = plan(&source, &target, bytes) else { panic!("crosses warps") };
        // No register bit is shared: one element an access, 32 lanes a wavefront.
        assert_eq!(s.vector, 1);
        assert_eq!(s.store_wavefronts, source.registers());
        assert_eq!(s.load_wavefronts, target.registers());
        assert_eq!(s.bytes, 64 * 64 * bytes);
    }
}

/// The epilogue of a matmul: accumulator fragments to rows for coalesced stores.
#[test]
fn an_accumulator_becomes_rows_without_bank_conflicts() {
    let accumulator = mma_accumulator([64, 128], [2, 2]);
    let rows = row_major(&[64, 128], 4);
    let Conversion::Shared(s) = plan(&accumulator, &rows, 4) else { panic!("crosses warps") };
    // Two neighbouring columns, and rows 8 apart, are in one thread on both sides: a vector in shared memory need not be
    // one in the tile. 128-bit accesses, 8 lanes (128 bytes) a wavefront, so a wavefront moves one register of 32 lanes.
    assert_eq!(s.vector, 4);
    assert_eq!(s.store_wavefronts, accumulator.registers());
    assert_eq!(s.load_wavefronts, rows.registers());
}

/// Rows of 128-bit vectors between two arrangements of lanes: no wavefront is wasted.
#[test]
fn wide_vectors_take_the_ideal_number_of_wavefronts() {
    let few_rows = row_major(&[32, 128], 4);
    let many_rows =
        Blocked { per_thread: smallvec![1, 4], lanes: smallvec![32, 1], warps: smallvec![1, 4], order: smallvec![1, 0] }
            .layout(&[32, 128]);
    let Conversion::Shared(s) = plan(&few_rows, &many_rows, 4) else { panic!("crosses warps") };
    assert_eq!(s.vector, 4);
    assert_eq!(s.store_wavefronts, few_rows.registers());
    assert_eq!(s.load_wavefronts, many_rows.registers());
}

/// Within one warp a small exchange is cheaper by shuffles than two barriers.
#[test]
fn lanes_exchange_by_shuffles() {
    let unit = |lanes: [u8; 2]| {
        Layout::linear(
            LinearLayout::along(1, 0, Hw::Lane, lanes[0])
                .product(&LinearLayout::along(1, 0, Hw::Register, 1))
                .product(&LinearLayout::along(1, 0, Hw::Lane, lanes[1])),
        )
    };
    let (a, b) = (unit([5, 0]), unit([0, 5]));
    let conversion = plan(&a, &b, 4);
    let Conversion::Shuffles(s) = &conversion else { panic!("within a warp: {conversion:?}") };
    assert_eq!(conversion.cost(4).shuffles, 4);
    assert_eq!(s.moves.len(), 2);
    check(&a, &b, &conversion).unwrap();
}

#[test]
fn wavefronts_count_words_per_bank() {
    let by_lane = |f: &dyn Fn(u64) -> u64| (0..32).map(f).collect::<Vec<_>>();
    assert_eq!(wavefronts(&by_lane(&|l| l * 4), 4), 1);
    assert_eq!(wavefronts(&by_lane(&|_| 64), 4), 1);
    assert_eq!(wavefronts(&by_lane(&|l| l * 8), 4), 2);
    assert_eq!(wavefronts(&by_lane(&|l| l * 128), 4), 32);
    assert_eq!(wavefronts(&by_lane(&|l| l * 16), 16), 4);
    assert_eq!(wavefronts(&by_lane(&|l| l * 2), 2), 1);
}
