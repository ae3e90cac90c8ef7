//! Local memory of a warp: eight-byte words, lane-interleaved, so that it can grow with the call depth.

use super::super::exec::regs::LANES;

/// Local memory of the 32 lanes of a warp.
#[derive(Debug, Default)]
pub struct Local {
    words: Vec<[u64; LANES]>,
}

impl Local {
    /// Makes room for `bytes` a lane.
    pub fn grow(&mut self, bytes: u32) {
        let words = bytes.div_ceil(8) as usize;
        if words > self.words.len() {
            self.words.resize(words, [0; LANES]);
        }
    }

    /// Bytes a lane.
    pub fn size(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    /// A load of at most 8 bytes; `None` outside.
    #[inline]
    pub fn load(&self, lane: usize, at: u64, size: u32) -> Option<u64> {
        if at % u64::from(size) != 0 {
            let bytes = (0..size).rev().map(|i| self.load(lane, at + u64::from(i), 1));
            return bytes.into_iter().try_fold(0, |v, b| Some(v << 8 | b?));
        }
        let word = self.words.get((at / 8) as usize)?[lane];
        Some(word >> (8 * (at % 8)) & mask(size))
    }

    /// A store of at most 8 bytes; `None` outside.
    #[inline]
    pub fn store(&mut self, lane: usize, at: u64, size: u32, value: u64) -> Option<()> {
        if at % u64::from(size) != 0 {
            return (0..size).try_for_each(|i| self.store(lane, at + u64::from(i), 1, value >> (8 * i)));
        }
        let word = &mut self.words.get_mut((at / 8) as usize)?[lane];
        let shift = 8 * (at % 8);
        *word = *word & !(mask(size) << shift) | (value & mask(size)) << shift;
        Some(())
    }
}

/// All ones in `size` bytes.
#[inline(always)]
pub fn mask(size: u32) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (8 * size)) - 1 }
}
