//! Layouts of shared memory, with the swizzles of TMA and wgmma (PTX ISA, "Swizzling Modes", "Shared Memory Matrix
//! Layout").
//!
//! A swizzle XORs bits of the *address*: 128 bytes: bits 4-6 with bits 7-9; 64 bytes: bits 4-5 with bits 7-8; 32 bytes:
//! bit 4 with bit 7. Offsets in a buffer may stand for addresses only where the buffer has [`Swizzle::alignment`].
//!
//! Tiles that `ldmatrix` and 32- or 64-bit loads read have the same form ([`staged`]); for elements of 4 and 8 bytes the same bits
//! meet in reverse order, because a fragment then takes 32 bytes of four rows at once and not 16 bytes of eight. Bytes are read both ways: sixteen bytes of eight rows, or one of four rows that are
//! four apart.

use serde::{Deserialize, Serialize};

use super::linear::{Hw, LinearLayout};
use super::tiled::Layout;

/// A swizzling mode, named by its span.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
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

    /// As [`apply`](Self::apply), and rows 8 to 15 with neighbouring chunks exchanged: bytes across rows are read from every fourth of 16 rows at a time.
    fn apply_to_bytes(self, address: u64) -> u64 {
        let row = address >> (self.span().trailing_zeros() + 3) & 1;
        // The chunks of 32 bytes are exchanged already: there it is neighbouring rows.
        let exchanged = if self == Swizzle::B32 { 5 } else { 4 };
        self.apply(address) ^ row << exchanged
    }

    /// As [`apply`](Self::apply), with the row bits in reverse order.
    fn apply_reversed(self, address: u64) -> u64 {
        (0..self.bits()).fold(address, |to, i| to ^ ((address >> (6 + self.bits() - i)) & 1) << (4 + i))
    }
}

/// A tile `[d0, d1]` in shared memory for tensor-core fragments: dimension `fast` runs through memory, in spans of up to 128 bytes;
/// the other one are its rows, all of them a span. Chunks of 16 bytes are swizzled so that no fragment read and no 16-byte
/// store along `fast` has a bank conflict. Rows are padded to 8, `fast` to 16 bytes; any number of spans and rows will do.
pub fn staged(shape: [u32; 2], fast: usize, element_bytes: u32) -> Layout {
    let swizzled = match element_bytes {
        1 => Swizzle::apply_to_bytes,
        2 => Swizzle::apply,
        _ => Swizzle::apply_reversed,
    };
    in_spans(shape, fast, element_bytes, swizzled)
}

/// As [`staged`], with the hardware's own swizzle for elements of any size: what the TMA engine fills and warpgroups read.
pub fn boxed(shape: [u32; 2], fast: usize, element_bytes: u32) -> Layout {
    in_spans(shape, fast, element_bytes, Swizzle::apply)
}

/// Spans of rows, whose bytes are where `swizzled` puts those of the plain arrangement.
fn in_spans(shape: [u32; 2], fast: usize, element_bytes: u32, swizzled: fn(Swizzle, u64) -> u64) -> Layout {
    assert!(element_bytes.is_power_of_two() && element_bytes <= 16 && fast < 2, "elements of {element_bytes} bytes");
    let slow = 1 - fast;
    let rows = shape[slow].next_multiple_of(8);
    let columns = shape[fast].next_multiple_of(16 / element_bytes);
    let fits = |swizzle: &Swizzle| (columns * element_bytes).is_multiple_of(swizzle.span());
    let swizzle = [Swizzle::B128, Swizzle::B64, Swizzle::B32].into_iter().find(fits).unwrap_or(Swizzle::None);
    let span = swizzle.span() / element_bytes;
    let spans = columns / span;
    let (row_bits, span_bits) = (rows.trailing_zeros() as u8, spans.trailing_zeros() as u8);
    let plain = LinearLayout::along(2, fast, Hw::Offset, span.trailing_zeros() as u8)
        .product(&LinearLayout::along(2, slow, Hw::Offset, row_bits))
        .product(&LinearLayout::along(2, fast, Hw::Offset, span_bits));
    let element_bits = element_bytes.trailing_zeros();
    let cols = (0..plain.bits(Hw::Offset)).map(|bit| {
        let address = 1u64 << (u32::from(bit) + element_bits);
        plain.map().apply(swizzled(swizzle, address) >> element_bits)
    });
    let unit = LinearLayout::from_cols(plain.hw_bits(), plain.dim_bits().iter().copied().collect(), cols);
    let mut reps = [1; 2];
    reps[slow] = rows >> row_bits;
    reps[fast] = spans >> span_bits;
    Layout::new(unit, &reps)
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
