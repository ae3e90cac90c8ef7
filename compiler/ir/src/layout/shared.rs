//! Layouts of shared memory, with the swizzles of TMA and wgmma (PTX ISA, "Swizzling Modes", "Shared Memory Matrix
//! Layout").
//!
//! A swizzle XORs bits of the *address*: 128 bytes: bits 4-6 with bits 7-9; 64 bytes: bits 4-5 with bits 7-8; 32 bytes:
//! bit 4 with bit 7. Offsets in a buffer may stand for addresses only where the buffer has [`Swizzle::alignment`].

use super::linear::{Hw, LinearLayout};
use super::tiled::Layout;

/// A swizzling mode, named by its span.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Swizzle {
    /// Plain rows.
    None,
    /// Rows of 32 bytes.
    B32,
    /// Rows of 64 bytes.
    B64,
    /// Rows of 128 bytes.
    B128,
}

impl Swizzle {
    /// Number of address bits that are XORed.
    fn bits(self) -> u32 {
        match self {
            Swizzle::None => 0,
            Swizzle::B32 => 1,
            Swizzle::B64 => 2,
            Swizzle::B128 => 3,
        }
    }

    /// Bytes of a row before the next row starts: the inner extent of a TMA box. Without a swizzle, one 16-byte chunk.
    pub fn span(self) -> u32 {
        16 << self.bits()
    }

    /// Alignment in bytes that a buffer needs so that its offsets swizzle like addresses.
    pub fn alignment(self) -> u32 {
        128 << self.bits()
    }

    /// Where a byte at `address` of the plain arrangement goes, and back: the swizzle is its own inverse.
    pub fn apply(self, address: u64) -> u64 {
        address ^ ((address >> 3) & (((1 << self.bits()) - 1) << 4))
    }
}

/// A tile `[rows, columns]` in shared memory as TMA fills it and wgmma reads it: column chunks of one span, each all the
/// rows long, swizzled. None where the tile is no whole number of 8-row atoms, or where both the number of chunks and
/// the number of rows have an odd factor (the chunks are then buffers of their own).
pub fn shared_rows(shape: [u32; 2], element_bytes: u32, swizzle: Swizzle) -> Option<Layout> {
    assert!(element_bytes.is_power_of_two() && element_bytes <= 16, "elements of {element_bytes} bytes");
    let [rows, columns] = shape;
    let chunk = swizzle.span() / element_bytes;
    if !rows.is_multiple_of(8) || !columns.is_multiple_of(chunk) {
        return None;
    }
    let chunks = columns / chunk;
    let (row_bits, chunk_bits) = (rows.trailing_zeros(), chunks.trailing_zeros());
    let (row_reps, chunk_reps) = (rows >> row_bits, chunks >> chunk_bits);
    if row_reps > 1 && chunks > 1 {
        return None;
    }
    let plain = LinearLayout::along(2, 1, Hw::Offset, chunk.trailing_zeros() as u8)
        .product(&LinearLayout::along(2, 0, Hw::Offset, row_bits as u8))
        .product(&LinearLayout::along(2, 1, Hw::Offset, chunk_bits as u8));
    let element_bits = element_bytes.trailing_zeros();
    let cols = (0..plain.bits(Hw::Offset)).map(|bit| {
        let logical = swizzle.apply(1 << (u32::from(bit) + element_bits)) >> element_bits;
        plain.map().apply(logical)
    });
    let unit = LinearLayout::from_cols(plain.hw_bits(), plain.dim_bits().iter().copied().collect(), cols);
    Some(Layout::new(unit, &[row_reps, chunk_reps]))
}
