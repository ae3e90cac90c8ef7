//! The random numbers of the language, for references.

/// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, 2011): ten rounds, Weyl constants between them.
fn philox(seed: u64, counter: u64) -> [u32; 4] {
    let mut c = [counter as u32, (counter >> 32) as u32, 0, 0];
    let mut k = [seed as u32, (seed >> 32) as u32];
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
        }
        let (p0, p1) = (0xD251_1F53u64 * u64::from(c[0]), 0xCD9E_8D57u64 * u64::from(c[2]));
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
    }
    c
}

/// `rand(seed, counter)`: the upper 24 bits of the first word, as a fraction. Exact in f32.
pub fn rand(seed: u64, counter: u64) -> f64 {
    f64::from(philox(seed, counter)[0] >> 8) / f64::from(1 << 24)
}

/// The published known answer for counter 0 and key 0 (Random123, kat_vectors).
pub fn known_answer() {
    assert_eq!(philox(0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
}
