//! What a GPU has no registers or shared memory for: refused with the reason, listed by `kiln tune`, warned of where less was possible than asked for.

use crate::Place;

/// A product of tiles of 128 rows.
const PRODUCT: &str = "#[tune(BN = [64, 256], warps = [4], key = [M])]
kernel product<T: float, const BN: int = 64, const BK: int = 64>(a: tensor<T, [M, K]>, b: tensor<T, [K, N]>, c: mut tensor<T, [M, N]>)
    grid [cdiv(M, 128), cdiv(N, BN)]
{
    let (m, n) = (program_id(0) * 128, program_id(1) * BN);
    let mut acc = zeros::<f32>([128, BN]);
    for k in (0..K).step_by(BK) {
        acc = dot(a[m..+128, k..+BK], b[k..+BK, n..+BN], acc);
    }
    c[m..+128, n..+BN] = acc as T;
}
";

const BUILD: &str = "build p.kiln --emit ptx --target sm_90a --type T=f16 --dim M=512 --dim N=512 --dim K=512 --schedule warps=8";

/// With more options, separated by blanks.
fn build(more: &str) -> Vec<&str> {
    BUILD.split(' ').chain(more.split(' ')).collect()
}

fn place() -> Place {
    let place = Place::new();
    place.file("p.kiln", PRODUCT);
    place
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let place = place();
    let ran = place.fails(&build("--const BN=512"), "error[K0908]");
    assert!(ran.err.contains("needs at least 260 registers") && ran.err.contains("can have 240: 256 for"), "{}", ran.err);
    assert!(ran.err.contains("p.kiln:8") && ran.err.contains("help: use a smaller tile, or more `warps`"), "{}", ran.err);
    let ran = place.fails(&build("--const BN=256 --const BK=512"), "error[K0903]");
    assert!(ran.err.contains("of `a` ([128, 512] f16)") && ran.err.contains("of `b` ([512, 256] f16)"), "{}", ran.err);
}

#[test]
fn fewer_stages_are_a_warning() {
    let place = place();
    let ran = place.ok(&build("--const BN=256 --schedule stages=8"));
    assert!(ran.err.contains("warning[K2008]: 8 stages are asked for and 4 fit: one takes 49152 bytes"), "{}", ran.err);
    let ran = place.ok(&build("--const BN=256 --schedule stages=4"));
    assert!(!ran.err.contains("K2008"), "{}", ran.err);
}

#[test]
fn sweeps_list_what_is_refused() {
    let place = place();
    let ran = place.ok(&[
        "tune",
        "p.kiln",
        "--device",
        "emulator",
        "--type",
        "T=f16",
        "--sizes",
        "M=128,N=256,K=64",
        "--json",
        "t.json",
    ]);
    assert!(ran.out.contains("2 time, 1 refused"), "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("out: BN=256 warps=4: refused: error[K0908]"), "{}", ran.out);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(place.path("t.json")).expect("written")).expect("JSON");
    let trials = report["sizes"][0]["trials"].as_array().expect("trials");
    assert!(
        trials.iter().any(|t| t["status"] == "refused" && t["message"].as_str().is_some_and(|m| m.contains("260 registers")))
    );
}
