//! Tensor maps: the 128-byte descriptions that bulk tensor copies work from, encoded with the arguments of
//! `cuTensorMapEncodeTiled`.
//!
//! The bytes are this machine's own: the hardware's format is not documented, and no kernel may look inside.

use crate::decode::types::AtomTy;
use crate::error::Error;

/// Element types (CUtensorMapDataType).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// 8-bit.
    U8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 32-bit signed.
    S32,
    /// 64-bit unsigned.
    U64,
    /// 64-bit signed.
    S64,
    /// IEEE half.
    F16,
    /// Single.
    F32,
    /// Double.
    F64,
    /// bfloat16.
    Bf16,
    /// Single, rounded to tf32 as it is loaded: to nearest, ties to even, infinities and NaN as they are. Nothing may be stored through such a map.
    Tf32,
}

const TYPES: [ElementType; 11] = [
    ElementType::U8,
    ElementType::U16,
    ElementType::U32,
    ElementType::S32,
    ElementType::U64,
    ElementType::S64,
    ElementType::F16,
    ElementType::F32,
    ElementType::F64,
    ElementType::Bf16,
    ElementType::Tf32,
];

impl ElementType {
    /// Bytes of an element.
    pub fn bytes(self) -> u64 {
        match self {
            ElementType::U8 => 1,
            ElementType::U16 | ElementType::F16 | ElementType::Bf16 => 2,
            ElementType::U32 | ElementType::S32 | ElementType::F32 | ElementType::Tf32 => 4,
            _ => 8,
        }
    }

    /// The type that reductions work in; none for 8- and 16-bit integers, and what is only loaded.
    pub(crate) fn atomic(self) -> Option<AtomTy> {
        Some(match self {
            ElementType::U8 | ElementType::U16 | ElementType::Tf32 => return None,
            ElementType::U32 => AtomTy::U32,
            ElementType::S32 => AtomTy::S32,
            ElementType::U64 => AtomTy::U64,
            ElementType::S64 => AtomTy::S64,
            ElementType::F16 => AtomTy::F16,
            ElementType::F32 => AtomTy::F32,
            ElementType::F64 => AtomTy::F64,
            ElementType::Bf16 => AtomTy::Bf16,
        })
    }

    /// The bits of the out-of-bounds NaN fill.
    pub(crate) fn nan(self) -> u64 {
        match self {
            ElementType::F16 | ElementType::Bf16 => 0x7fff,
            ElementType::F32 | ElementType::Tf32 => 0x7fff_ffff,
            ElementType::F64 => 0x7fff_ffff_ffff_ffff,
            _ => 0,
        }
    }

    /// What a load makes of whole elements.
    pub(crate) fn load(self, bytes: &mut [u8]) {
        if self == ElementType::Tf32 {
            for element in bytes.as_chunks_mut().0 {
                *element = tf32(u32::from_le_bytes(*element)).to_le_bytes();
            }
        }
    }
}

/// The bits of an f32 rounded to 10 bits of mantissa: to nearest, ties to even. What is no finite number stays as it is.
fn tf32(bits: u32) -> u32 {
    const EXPONENT: u32 = 0x7f80_0000;
    const DROPPED: u32 = 0x1fff;
    if bits & EXPONENT == EXPONENT {
        return bits;
    }
    // A carry out of the mantissa goes into the exponent, as it should.
    (bits + DROPPED / 2 + (bits >> 13 & 1)) & !DROPPED
}

/// Shared-memory swizzle (CUtensorMapSwizzle).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swizzle {
    /// Rows one after another.
    #[default]
    None,
    /// 16-byte chunks permuted within 32 bytes.
    B32,
    /// Within 64 bytes.
    B64,
    /// Within 128 bytes.
    B128,
}

impl Swizzle {
    /// Bytes of the pattern's span.
    pub fn span(self) -> u64 {
        match self {
            Swizzle::None => u64::MAX,
            Swizzle::B32 => 32,
            Swizzle::B64 => 64,
            Swizzle::B128 => 128,
        }
    }

    /// Where a shared address really goes.
    #[inline(always)]
    pub fn apply(self, addr: u64) -> u64 {
        let keep = match self {
            Swizzle::None => 0,
            Swizzle::B32 => 1,
            Swizzle::B64 => 3,
            Swizzle::B128 => 7,
        };
        addr ^ (addr >> 7 & keep) << 4
    }
}

/// A tiled tensor map.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorMap {
    /// Element type.
    pub element: ElementType,
    /// Global address, a multiple of 16.
    pub address: u64,
    /// Extents, innermost first, 1 to 5 of them.
    pub dims: Vec<u64>,
    /// Byte strides of all but the innermost dimension, multiples of 16.
    pub strides: Vec<u64>,
    /// Box extents in elements, each 1 to 256.
    pub tile: Vec<u32>,
    /// Shared-memory swizzle.
    pub swizzle: Swizzle,
    /// Fill with NaN rather than zero outside.
    pub nan_fill: bool,
}

const MAGIC: u32 = 0x4b54_4d31;

impl TensorMap {
    /// Checks the rules of `cuTensorMapEncodeTiled` and returns the 128 bytes.
    ///
    /// # Errors
    /// [`Error::Host`] naming the rule. Element strides other than 1 and interleaved layouts are not supported.
    pub fn encode_tiled(&self) -> Result<[u8; 128], Error> {
        let fail = |m: String| Err(Error::Host(format!("tensor map: {m}")));
        let rank = self.dims.len();
        if !(1..=5).contains(&rank) || self.strides.len() != rank - 1 || self.tile.len() != rank {
            return fail("1 to 5 dimensions, one stride fewer, one box extent each".to_owned());
        }
        if self.address % 16 != 0 {
            return fail(format!("address {:#x} is not a multiple of 16", self.address));
        }
        if self.dims.iter().any(|d| *d == 0 || *d > 1 << 32) {
            return fail("extents must be 1 to 2^32".to_owned());
        }
        if self.strides.iter().any(|s| s % 16 != 0 || *s >= 1 << 40) {
            return fail("strides must be multiples of 16 below 2^40".to_owned());
        }
        if self.tile.iter().any(|b| !(1..=256).contains(b)) {
            return fail("box extents must be 1 to 256".to_owned());
        }
        let inner = u64::from(self.tile[0]) * self.element.bytes();
        if inner % 16 != 0 {
            return fail(format!("the box's inner extent is {inner} bytes, not a multiple of 16"));
        }
        if inner > self.swizzle.span() {
            return fail(format!("the box's inner extent is {inner} bytes, more than the swizzle's span"));
        }
        let mut out = [0u8; 128];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC.to_le_bytes());
        let code = TYPES.iter().position(|t| *t == self.element).unwrap_or_default();
        put(4, &[rank as u8, code as u8, self.swizzle as u8, u8::from(self.nan_fill)]);
        put(8, &self.address.to_le_bytes());
        for (i, d) in self.dims.iter().enumerate() {
            put(16 + 8 * i, &d.to_le_bytes());
        }
        for (i, s) in self.strides.iter().enumerate() {
            put(56 + 8 * i, &s.to_le_bytes());
        }
        for (i, b) in self.tile.iter().enumerate() {
            put(88 + 4 * i, &b.to_le_bytes());
        }
        Ok(out)
    }

    /// Reads an encoded map back; `None` if these bytes are not one.
    pub fn decode(bytes: &[u8]) -> Option<TensorMap> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if word(0)? != MAGIC {
            return None;
        }
        let rank = usize::from(*bytes.get(4)?);
        if !(1..=5).contains(&rank) {
            return None;
        }
        Some(TensorMap {
            element: *TYPES.get(usize::from(*bytes.get(5)?))?,
            swizzle: [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128].get(usize::from(*bytes.get(6)?)).copied()?,
            nan_fill: *bytes.get(7)? != 0,
            address: long(8)?,
            dims: (0..rank).map(|i| long(16 + 8 * i)).collect::<Option<_>>()?,
            strides: (0..rank - 1).map(|i| long(56 + 8 * i)).collect::<Option<_>>()?,
            tile: (0..rank).map(|i| word(88 + 4 * i)).collect::<Option<_>>()?,
        })
    }

    /// Bytes of a box.
    pub fn tile_bytes(&self) -> u64 {
        self.tile.iter().map(|b| u64::from(*b)).product::<u64>() * self.element.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_round_trips_and_checks_its_rules() {
        let map = TensorMap {
            element: ElementType::Bf16,
            address: 0x7f_0000_0000,
            dims: vec![100, 30],
            strides: vec![208],
            tile: vec![64, 16],
            swizzle: Swizzle::B128,
            nan_fill: false,
        };
        assert_eq!(TensorMap::decode(&map.encode_tiled().unwrap()), Some(map.clone()));
        assert!(TensorMap { tile: vec![128, 16], ..map.clone() }.encode_tiled().is_err());
        assert!(TensorMap { strides: vec![200], ..map.clone() }.encode_tiled().is_err());
        assert!(TensorMap { address: 8, ..map.clone() }.encode_tiled().is_err());
        let rounding = TensorMap { element: ElementType::Tf32, tile: vec![32, 16], ..map };
        assert_eq!(TensorMap::decode(&rounding.encode_tiled().unwrap()), Some(rounding));
    }

    /// Ties to even, up and down, a carry into the exponent and one to infinity, subnormal numbers, and what stays as it is.
    #[test]
    fn loads_of_tf32_round_to_nearest_even() {
        for (bits, want) in [
            (0x3f80_0000, 0x3f80_0000),
            (0x3f80_0fff, 0x3f80_0000),
            (0x3f80_1000, 0x3f80_0000),
            (0x3f80_1001, 0x3f80_2000),
            (0x3f80_2fff, 0x3f80_2000),
            (0x3f80_3000, 0x3f80_4000),
            (0x3fff_f000, 0x4000_0000),
            (0x3fff_efff, 0x3fff_e000),
            (0x7f7f_efff, 0x7f7f_e000),
            (0x7f7f_f000, 0x7f80_0000),
            (0x0000_1000, 0),
            (0x0000_1001, 0x0000_2000),
            (0x007f_ffff, 0x0080_0000),
            (0x7f80_0000, 0x7f80_0000),
            (0x7fc0_0001, 0x7fc0_0001),
            (0x7fff_ffff, 0x7fff_ffff),
        ] {
            for sign in [0u32, 1 << 31] {
                let mut bytes = (sign | bits).to_le_bytes();
                ElementType::Tf32.load(&mut bytes);
                assert_eq!(u32::from_le_bytes(bytes), sign | want, "{:#x}", sign | bits);
                let mut bytes = (sign | bits).to_le_bytes();
                ElementType::F32.load(&mut bytes);
                assert_eq!(u32::from_le_bytes(bytes), sign | bits);
            }
        }
    }
}
