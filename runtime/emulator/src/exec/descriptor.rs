//! Shared-memory matrix descriptors of wgmma (PTX ISA 9.7.15.5).

use super::fail::{Res, fail};
use crate::error::FaultKind;
use crate::tensormap::Swizzle;

/// A shared-memory matrix descriptor (PTX ISA 9.7.15.5.1).
pub struct Descriptor {
    start: u64,
    leading: u64,
    stride: u64,
    swizzle: Swizzle,
}

impl Descriptor {
    /// Takes the fields apart.
    pub fn new(bits: u64) -> Res<Descriptor> {
        let field = |at: u32| (bits >> at & 0x3fff) << 4;
        if bits >> 49 & 7 != 0 {
            return fail(FaultKind::Unsupported, "wgmma descriptors with a base offset are not supported");
        }
        let swizzle = [Swizzle::None, Swizzle::B128, Swizzle::B64, Swizzle::B32][(bits >> 62) as usize];
        Ok(Descriptor { start: field(0), leading: field(16), stride: field(32), swizzle })
    }

    /// Shared offset of the 16-byte chunk that holds `byte` of row `mn` (K-major) .
    #[inline(always)]
    pub fn k_major(&self, mn: u64, byte: u64) -> u64 {
        let at = match self.swizzle {
            Swizzle::None => self.start + mn / 8 * self.stride + byte / 16 * self.leading + mn % 8 * 16,
            s => self.start + mn / 8 * self.stride + mn % 8 * s.span() + byte,
        };
        self.swizzle.apply(at)
    }

    /// Shared offset of the 16-byte chunk that holds element column `byte` of row k (MN-major).
    #[inline(always)]
    pub fn mn_major(&self, k: u64, byte: u64) -> u64 {
        let at = match self.swizzle {
            Swizzle::None => self.start + byte / 16 * self.stride + k / 8 * self.leading + k % 8 * 16,
            s => {
                let span = s.span();
                self.start + byte / span * self.leading + k / 8 * self.stride + k % 8 * span + byte % span
            }
        };
        self.swizzle.apply(at)
    }

    /// Runs `f` over the chunks of a matrix: first row (or k), first byte, shared offset.
    pub fn chunks(&self, mn: u64, k: u64, bits: u64, transposed: bool, mut f: impl FnMut(u64, u64, u64) -> Res<()>) -> Res<()> {
        if transposed {
            for kk in 0..k {
                for byte in (0..mn * bits / 8).step_by(16) {
                    f(kk, byte, self.mn_major(kk, byte))?;
                }
            }
        } else {
            for row in 0..mn {
                for byte in (0..k * bits / 8).step_by(16) {
                    f(row, byte, self.k_major(row, byte))?;
                }
            }
        }
        Ok(())
    }
}
