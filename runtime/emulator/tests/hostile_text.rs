//! The PTX front end survives any text: mutations of real PTX load or are refused, and never panic.
//!
//! `KILN_FUZZ_SECONDS` says how long to go on (default 2).

use std::time::{Duration, Instant};

use kiln_emulator::{Arch, Machine};

const SEED: &str = include_str!("seed.ptx");

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }
}

const EXTRA: &[&str] = &[
    "-1",
    "0xffffffffffffffff",
    "18446744073709551616",
    "%r99999",
    "%p1",
    "{",
    "}",
    "[",
    "]",
    ";",
    "@!%p1 ",
    ".reg .b32 %x<4294967295>;",
    "_",
    "0f7fc00000",
    ".v4",
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 ",
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 ",
    "cp.async.bulk ",
    "mov.b32 ",
    "%tid.x",
    "\u{e9}",
    "\0",
    "\"",
    "/*",
    ".align 0",
    ".align 3",
    "[4294967296]",
    "[0]",
];

#[test]
fn mutated_ptx_never_panics() {
    let seconds = std::env::var("KILN_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rng = Rng(0x5eed_5eed_1234_5678);
    let source: Vec<&str> = SEED.split_inclusive(|c: char| c.is_whitespace() || ",;[]{}()".contains(c)).collect();
    assert!(Machine::new(Arch::Sm90a).load_ptx(SEED).is_ok(), "the seed is valid");
    let (mut loaded, mut refused) = (0u32, 0u32);
    while Instant::now() < end {
        let mut text = source.clone();
        for _ in 0..1 + rng.below(6) {
            let at = rng.below(text.len());
            match rng.below(5) {
                0 => text[at] = EXTRA[rng.below(EXTRA.len())],
                1 => text.insert(at, EXTRA[rng.below(EXTRA.len())]),
                2 => drop(text.remove(at)),
                3 => text[at] = source[rng.below(source.len())],
                _ => {
                    let other = rng.below(text.len());
                    text.swap(at, other);
                }
            }
        }
        let mut text = text.concat();
        if rng.below(10) == 0 {
            let mut cut = rng.below(text.len());
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            text.truncate(cut);
        }
        match Machine::new(Arch::Sm90a).load_ptx(&text) {
            Ok(_) => loaded += 1,
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    eprintln!("{loaded} texts loaded, {refused} refused");
    assert!(refused > 0, "mutations were all accepted");
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!(".version 8.0\n.target sm_80\n.address_size 64\n.entry k() {}", "{".repeat(100_000));
    assert!(Machine::new(Arch::Sm80).load_ptx(&text).is_err());
}

#[test]
fn what_is_not_there_is_named_with_its_line() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n.entry k() {\n.reg .b32 %r<3>;\n  vadd.s32.s32.s32 %r1, %r1, %r2;\n ret; }";
    let error = Machine::new(Arch::Sm80).load_ptx(text).expect_err("no video instructions").to_string();
    assert_eq!(error, "PTX line 6: instruction `vadd` is not supported");
    let text = text.replace("vadd.s32.s32.s32", "add.sideways.s32");
    let error = Machine::new(Arch::Sm80).load_ptx(&text).expect_err("no such modifier").to_string();
    assert_eq!(error, "PTX line 6: `add.sideways.s32`: modifier .sideways is not supported");
}
