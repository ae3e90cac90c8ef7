//! What ptxas makes of attention's gradients: products that run a trip ahead where slots and registers are there, and start as early as they can where not.

use super::attention::compiled;
use super::sass::{count, disassemble, instructions, steady_loop};
use super::*;

/// How a loop keeps the tensor cores busy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loop {
    /// A trip starts the next trip's scores and gradients of weights, then its own sums' products, before it waits for any.
    Ahead,
    /// Both products that follow from none start before the first wait; the third one while the second one's result is worked on.
    InTurn,
    /// As `InTurn`, but what the third and fourth take is made before either starts: all together would not fit into registers.
    LastTogether,
}

struct Case {
    kernel: &'static str,
    size: i64,
    /// Rows of queries, rows of keys.
    tile: [i64; 2],
    stages: i64,
    way: Loop,
    /// Most instructions of a trip that are no products, without a causal mask and with one.
    others: [usize; 2],
}

const fn case(kernel: &'static str, size: i64, tile: [i64; 2], stages: i64, way: Loop, others: [usize; 2]) -> Case {
    Case { kernel, size, tile, stages, way, others }
}

const CASES: &[Case] = &[
    case("attention_dq", 64, [128, 64], 3, Loop::Ahead, [200, 200]),
    case("attention_dq", 64, [128, 128], 3, Loop::Ahead, [352, 356]),
    case("attention_dq", 128, [128, 64], 3, Loop::Ahead, [228, 228]),
    case("attention_dq", 64, [128, 64], 2, Loop::InTurn, [200, 200]),
    case("attention_dq", 128, [128, 64], 2, Loop::InTurn, [216, 218]),
    case("attention_dq", 128, [128, 128], 2, Loop::InTurn, [364, 364]),
    case("attention_dkdv", 64, [64, 128], 3, Loop::Ahead, [308, 328]),
    case("attention_dkdv", 128, [32, 128], 3, Loop::Ahead, [216, 226]),
    case("attention_dkdv", 64, [64, 128], 2, Loop::InTurn, [280, 290]),
    case("attention_dkdv", 128, [32, 128], 2, Loop::InTurn, [182, 188]),
    case("attention_dkdv", 128, [64, 128], 2, Loop::LastTogether, [294, 302]),
];

/// Numbers of rows come with the tiles: no trip has an exchange, and none loads by itself (Triton 3.9's loops of the same tiles have 5 or 6 `BAR.SYNC`, see
/// docs/benchmarks). Weights are made beside products.
#[test]
fn the_loops_of_gradients() {
    let cases: Vec<(&Case, usize)> = CASES.iter().flat_map(|case| [(case, 0), (case, 1)]).collect();
    cases.par_iter().for_each(|&(case, causal)| {
        let &Case { kernel, size, tile, stages, way, others } = case;
        let consts = [("D", size), ("CAUSAL", causal as i64), ("BM", tile[0]), ("BN", tile[1])];
        let (name, ptx) = compiled("backward.kiln", kernel, &consts, &[("warps", 8), ("stages", stages)], &[]);
        let Some(sass) = disassemble(&name, "sm_90a", &ptx) else { return };
        let all = instructions(&sass);
        assert_eq!(count(&all, " HMMA") + count(&all, "LDGSTS") + count(&all, "LDSM"), 0, "{name}");
        // Scores and gradients of weights along the head, then along the other tile's rows.
        let (groups, along) = if kernel == "attention_dq" { (3, tile[1]) } else { (4, 2 * tile[0]) };
        let products = ((2 * size + along) / 16) as usize;
        assert_eq!(count(&all, "HGMMA"), if way == Loop::Ahead { 2 * products } else { products }, "{name}");
        let steady = steady_loop(&sass, "HGMMA", products);
        let list = steady.join("\n");
        let at = |what: &str| (0..steady.len()).filter(|&i| steady[i].contains(what)).collect::<Vec<usize>>();
        let (starts, waits) = (at("WARPGROUP.ARRIVE"), at("WARPGROUP.DEPBAR"));
        assert_eq!((starts.len(), waits.len()), (groups, groups), "{name}\n{list}");
        assert_eq!(count(&steady, "BAR.SYNC") + count(&steady, " LDG") + count(&steady, " STS"), 0, "{name}\n{list}");
        let weights = at("MUFU.EX2");
        match way {
            Loop::Ahead => {
                assert!(starts[groups - 1] < waits[0], "{name}\n{list}");
                // In front of the wait for the first of those that run beside them.
                assert!(weights.iter().all(|&i| waits[0] < i && i < waits[2]), "{name}\n{list}");
                assert!(at("F2FP").iter().all(|&i| waits[2] < i), "{name}\n{list}");
            }
            Loop::InTurn | Loop::LastTogether => {
                assert!(starts[1] < waits[0] && waits[0] < starts[2], "{name}\n{list}");
                assert!(weights.iter().all(|&i| waits[0] < i && i < waits[1]), "{name}\n{list}");
                let third = if way == Loop::InTurn { starts[2] > waits[0] } else { waits[1] < starts[2] && starts[3] < waits[2] };
                assert!(third, "{name}\n{list}");
            }
        }
        let found = steady.len() - products;
        println!("{name}, {stages} stages: {products} HGMMA, {found} others, {way:?}");
        assert!(found <= others[causal], "{name}: {found} others\n{list}");
    });
}
