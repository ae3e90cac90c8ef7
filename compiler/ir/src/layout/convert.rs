//! Moving a tile from one layout to another: by renaming registers, else by warp shuffles, else through shared memory.
//!
//! The source of each destination element is found with the right inverse of the source layout, so every copy of an
//! element reads the same owner. Shared buffers get a swizzle computed from the two layouts: the widest vectors both
//! sides hold in registers become the lowest offset bits, and lanes of one access phase fall into different banks.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::gf2::{Echelon, LinearMap, bits_of, independent, intersection};
use super::linear::{Coords, Hw, LinearLayout};
use super::tiled::Layout;

/// Bytes that all banks of shared memory serve in one wavefront.
const BANK_ROW_BYTES: u32 = 128;

/// How a tile gets from one layout to another, cheapest way first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conversion {
    /// Every element stays in its thread: the source register of each destination register. None is padding that the
    /// source does not have, whose value is undefined.
    Registers(Vec<Option<u32>>),
    /// Every element stays in its warp.
    Shuffles(Shuffles),
    /// Elements cross warps, or shuffles would cost more.
    Shared(SharedMove),
}

/// An exchange within each warp. Lane `l` gets destination register `r` from lane `moves[r].lane ^ lanes(l)`, out of its
/// register `moves[r].register ^ registers(l)` (repetitions keep their number).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shuffles {
    /// For each destination register.
    pub moves: Vec<ShuffleMove>,
    /// Lane bits to the bits of the source lane.
    pub lanes: LinearMap,
    /// Lane bits to the bits of the source register. Where this is not zero, lanes want different registers of one
    /// source lane, and each wanted register costs a shuffle.
    pub registers: LinearMap,
}

/// Where lane 0 finds one destination register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShuffleMove {
    /// Source register.
    pub register: u32,
    /// Source lane.
    pub lane: u32,
}

impl Shuffles {
    /// Registers that some lane wants for destination register `r`, each a shuffle of its own.
    pub fn candidates(&self, r: usize) -> SmallVec<[u32; 8]> {
        let basis = independent(self.registers.cols());
        (0..1u64 << basis.len())
            .map(|choice| bits_of(choice).fold(self.moves[r].register, |v, i| v ^ basis[i as usize] as u32))
            .collect()
    }
}

/// A conversion through shared memory: every owner stores, a barrier, every thread loads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedMove {
    /// How the buffer is arranged.
    pub buffer: SharedBuffer,
    /// Bytes of the buffer.
    pub bytes: u32,
    /// Elements of one store and one load instruction.
    pub vector: u32,
    /// Wavefronts all stores, and all loads, of one warp take.
    pub store_wavefronts: u32,
    /// See `store_wavefronts`.
    pub load_wavefronts: u32,
}

/// The arrangement of a conversion buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SharedBuffer {
    /// A swizzled unit and its repetitions, for two layouts with the same unit extents.
    Swizzled(Layout),
    /// Row-major with these extents, for layouts whose units differ.
    RowMajor(Coords),
}

impl SharedBuffer {
    /// Offset, in elements, of a coordinate; None beyond the buffer.
    pub fn offset(&self, coords: &[u32]) -> Option<u32> {
        match self {
            SharedBuffer::Swizzled(layout) => layout.offset(coords),
            SharedBuffer::RowMajor(extents) => {
                let inside = coords.iter().zip(extents).all(|(c, e)| c < e);
                inside.then(|| coords.iter().zip(extents).fold(0, |offset, (c, e)| offset * e + c))
            }
        }
    }

    /// Elements of the buffer.
    pub fn elements(&self) -> u32 {
        match self {
            SharedBuffer::Swizzled(layout) => layout.offsets(),
            SharedBuffer::RowMajor(extents) => extents.iter().product(),
        }
    }
}

/// What a conversion costs one warp, in issue slots of the shared-memory pipe; barriers are counted apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cost {
    /// Shuffle instructions.
    pub shuffles: u32,
    /// Wavefronts of shared-memory stores and loads.
    pub wavefronts: u32,
    /// CTA barriers.
    pub barriers: u32,
    /// Shared memory in bytes.
    pub shared_bytes: u32,
}

impl Cost {
    /// One number to compare plans by: cycles of the shared-memory pipe, a barrier taken as 24 of them.
    pub fn cycles(&self) -> u32 {
        self.shuffles + self.wavefronts + 24 * self.barriers
    }
}

impl Conversion {
    /// What the conversion costs; 32-bit shuffles for elements up to 4 bytes, two for 8.
    pub fn cost(&self, element_bytes: u32) -> Cost {
        match self {
            Conversion::Registers(_) => Cost::default(),
            Conversion::Shuffles(s) => {
                let each = s.candidates(0).len() as u32 * element_bytes.div_ceil(4);
                Cost { shuffles: s.moves.len() as u32 * each, ..Cost::default() }
            }
            Conversion::Shared(s) => {
                Cost { wavefronts: s.store_wavefronts + s.load_wavefronts, barriers: 2, shared_bytes: s.bytes, ..Cost::default() }
            }
        }
    }
}

/// The cheapest way from `source` to `target`, two layouts of one tile over the same threads.
pub fn plan(source: &Layout, target: &Layout, element_bytes: u32) -> Conversion {
    for hw in [Hw::Lane, Hw::Warp, Hw::Cta] {
        assert_eq!(source.unit().bits(hw), target.unit().bits(hw), "a conversion keeps the number of {}s", hw.name());
    }
    assert_eq!(source.rank(), target.rank(), "a conversion keeps the rank");
    if let Some(registers) = register_moves(source, target) {
        return Conversion::Registers(registers);
    }
    let shared = Conversion::Shared(through_shared(source, target, element_bytes));
    match shuffle_moves(source, target) {
        Some(shuffles) => {
            let shuffles = Conversion::Shuffles(shuffles);
            if shuffles.cost(element_bytes).cycles() <= shared.cost(element_bytes).cycles() { shuffles } else { shared }
        }
        None => shared,
    }
}

/// Whether a conversion only renames registers.
pub fn stays_in_threads(source: &Layout, target: &Layout) -> bool {
    source.rank() == target.rank()
        && [Hw::Lane, Hw::Warp, Hw::Cta].into_iter().all(|hw| source.unit().bits(hw) == target.unit().bits(hw))
        && register_moves(source, target).is_some()
}

/// The source register of each target register, where threads already hold what they need.
fn register_moves(source: &Layout, target: &Layout) -> Option<Vec<Option<u32>>> {
    let same_threads = [Hw::Lane, Hw::Warp, Hw::Cta]
        .into_iter()
        .all(|hw| (0..source.unit().bits(hw)).all(|bit| source.unit().basis(hw, bit) == target.unit().basis(hw, bit)));
    if !same_threads {
        return None;
    }
    let mut held: FxHashMap<Coords, u32> = FxHashMap::default();
    for register in 0..source.registers() {
        held.entry(source.register_coords(register)).or_insert(register);
    }
    let physical = source.physical();
    (0..target.registers())
        .map(|register| {
            let coords = target.register_coords(register);
            match held.get(&coords) {
                Some(&from) => Some(Some(from)),
                None if coords.iter().zip(&physical).any(|(c, p)| c >= p) => Some(None),
                None => None,
            }
        })
        .collect()
}

/// The exchange within warps, where every warp already holds what it needs.
fn shuffle_moves(source: &Layout, target: &Layout) -> Option<Shuffles> {
    let (from, to) = (source.unit(), target.unit());
    let same_unit = from.dim_bits() == to.dim_bits() && source.reps() == target.reps();
    if !same_unit || from.cols(Hw::Warp) != to.cols(Hw::Warp) || from.cols(Hw::Cta) != to.cols(Hw::Cta) {
        return None;
    }
    let in_warp = LinearMap::new(from.cols(Hw::Register).iter().chain(from.cols(Hw::Lane)).copied(), from.map().rows());
    let register_bits = from.bits(Hw::Register);
    let split = |index: u64| (index & ((1 << register_bits) - 1), index >> register_bits);
    let of = |cols: &[u64]| cols.iter().map(|&c| in_warp.preimage(c).map(split)).collect::<Option<Vec<_>>>();
    let by_register = of(to.cols(Hw::Register))?;
    let by_lane = of(to.cols(Hw::Lane))?;
    let unit_mask = (1u32 << to.bits(Hw::Register)) - 1;
    let moves = (0..target.registers())
        .map(|r| {
            let rep = r >> to.bits(Hw::Register);
            let (register, lane) = bits_of(u64::from(r & unit_mask))
                .map(|i| by_register[i as usize])
                .fold((0, 0), |(ra, la), (rb, lb)| (ra ^ rb, la ^ lb));
            ShuffleMove { register: rep << register_bits | register as u32, lane: lane as u32 }
        })
        .collect();
    Some(Shuffles {
        moves,
        lanes: LinearMap::new(by_lane.iter().map(|&(_, lane)| lane), u32::from(from.bits(Hw::Lane))),
        registers: LinearMap::new(by_lane.iter().map(|&(register, _)| register), u32::from(register_bits)),
    })
}

fn through_shared(source: &Layout, target: &Layout, element_bytes: u32) -> SharedMove {
    let same_unit = source.unit().dim_bits() == target.unit().dim_bits() && source.reps() == target.reps();
    let (buffer, vector) = if same_unit {
        let (unit, vector) = swizzled_unit(source.unit(), target.unit(), element_bytes);
        (SharedBuffer::Swizzled(Layout::new(unit, source.reps())), vector)
    } else {
        let extents = source.physical().iter().zip(&target.physical()).map(|(&a, &b)| a.max(b)).collect();
        (SharedBuffer::RowMajor(extents), 1)
    };
    SharedMove {
        bytes: buffer.elements() * element_bytes,
        vector,
        store_wavefronts: access_wavefronts(source, &buffer, vector, element_bytes),
        load_wavefronts: access_wavefronts(target, &buffer, vector, element_bytes),
        buffer,
    }
}

/// A shared-memory unit for both layouts and the number of elements both access at once.
///
/// With V the vector bits, W the bits that complete a 4-byte word (elements or vectors below 4 bytes), P and Q the spans
/// of V and the lanes of one access phase on either side: two lanes collide when they differ above the bank row but not
/// in the bank. So the span H of the bits above must, with W, meet P and Q in W only. Vectors of P outside Q, each XORed
/// with one of Q outside P, together with a complement of P + Q, are such a span; W is taken from that complement, or
/// from what P and Q share.
fn swizzled_unit(source: &LinearLayout, target: &LinearLayout, element_bytes: u32) -> (LinearLayout, u32) {
    let rows = source.map().rows();
    let widest = (16 / element_bytes).max(1).trailing_zeros() as usize;
    let mut low = intersection(source.cols(Hw::Register), target.cols(Hw::Register));
    low.truncate(widest);
    let access_bytes = element_bytes << low.len();
    // 16-byte accesses are served 8 lanes at a time, 8-byte ones 16 lanes at a time.
    let phase_bits = (32 / (access_bytes / 4).max(1)).trailing_zeros() as usize;
    let side = |layout: &LinearLayout| {
        let lanes = layout.cols(Hw::Lane);
        let vectors: Vec<u64> = low.iter().chain(&lanes[..phase_bits.min(lanes.len())]).copied().collect();
        independent(&vectors)
    };
    let (p, q) = (side(source), side(target));
    let vector = 1 << low.len();
    let mut of_both = Echelon::spanning(p.iter().chain(&q));
    let complement: SmallVec<[u64; 16]> = (0..rows).map(|i| 1 << i).filter(|&v| of_both.grow(v)).collect();
    let mut chosen = Echelon::spanning(&low);
    let word_bits = (4 / access_bytes).max(1).trailing_zeros() as usize;
    let word: SmallVec<[u64; 2]> =
        complement.iter().chain(&intersection(&p, &q)).chain(&p).copied().filter(|&v| chosen.grow(v)).take(word_bits).collect();
    let bank_bits = phase_bits;
    let high_bits = (rows as usize).saturating_sub(low.len() + word.len() + bank_bits);
    let pairs = outside(&p, &q).into_iter().zip(outside(&q, &p)).map(|(a, b)| a ^ b);
    let high: SmallVec<[u64; 16]> = pairs.chain(complement.iter().copied()).filter(|&v| chosen.grow(v)).take(high_bits).collect();
    let banks: SmallVec<[u64; 16]> = p.iter().copied().chain((0..rows).map(|i| 1 << i)).filter(|&v| chosen.grow(v)).collect();
    let cols = low.iter().chain(&word).chain(&banks).chain(&high).copied();
    let mut hw_bits = [0; 5];
    hw_bits[Hw::Offset as usize] = rows as u8;
    let unit = LinearLayout::from_cols(hw_bits, source.dim_bits().iter().copied().collect(), cols);
    (unit, vector)
}

/// Vectors of `a` that complete `b` to the span of both.
fn outside(a: &[u64], b: &[u64]) -> SmallVec<[u64; 8]> {
    let mut span = Echelon::spanning(b);
    a.iter().copied().filter(|&v| span.grow(v)).collect()
}

/// Wavefronts that warp 0 takes to access all of its registers in a buffer.
fn access_wavefronts(layout: &Layout, buffer: &SharedBuffer, vector: u32, element_bytes: u32) -> u32 {
    let lanes = 1u32 << layout.unit().bits(Hw::Lane);
    let of = |offsets: &[u64]| {
        let addresses: Vec<u64> = offsets.iter().map(|o| o * u64::from(element_bytes)).collect();
        wavefronts(&addresses, vector * element_bytes)
    };
    // One access a vector: the register that is its first element.
    let first = |offset: u64| offset.is_multiple_of(u64::from(vector));
    if let SharedBuffer::Swizzled(swizzled) = buffer
        && let Some(to_offset) = swizzled.unit().map().right_inverse().map(|inverse| inverse.compose(layout.unit().map()))
    {
        let column = |hw: Hw, bit: u8| to_offset.cols()[usize::from(layout.unit().shift(hw) + bit)];
        let image = |hw: Hw, index: u32| bits_of(u64::from(index)).fold(0, |offset, bit| offset ^ column(hw, bit as u8));
        let by_lane: Vec<u64> = (0..lanes).map(|lane| image(Hw::Lane, lane)).collect();
        if by_lane.iter().all(|&offset| first(offset)) {
            // A register XORs the same whole vectors into the offset of every lane, which exchanges banks but makes no conflict; repetitions are as many.
            let starts = (0..1 << layout.unit().bits(Hw::Register)).filter(|&register| first(image(Hw::Register, register)));
            return starts.count() as u32 * layout.repetitions() * of(&by_lane);
        }
    }
    (0..layout.registers())
        .filter_map(|register| {
            let offsets: Option<Vec<u64>> =
                (0..lanes).map(|lane| buffer.offset(&layout.coords(register, lane, 0, 0)).map(u64::from)).collect();
            offsets.filter(|offsets| first(offsets[0])).map(|offsets| of(&offsets))
        })
        .sum()
}

/// Wavefronts of one shared-memory instruction: `addresses` in bytes by lane, `width` bytes each. Lanes are served in
/// phases of 128 bytes; within a phase, different words of one bank follow each other.
pub fn wavefronts(addresses: &[u64], width: u32) -> u32 {
    let lanes_per_phase = (BANK_ROW_BYTES / width.max(4)) as usize;
    addresses
        .chunks(lanes_per_phase)
        .map(|phase| {
            let mut words: Vec<u64> =
                phase.iter().flat_map(|&a| (0..u64::from(width.div_ceil(4))).map(move |i| a / 4 + i)).collect();
            words.sort_unstable();
            words.dedup();
            let mut banks = [0u32; 32];
            for word in words {
                banks[(word % 32) as usize] += 1;
            }
            banks.into_iter().max().unwrap_or(0)
        })
        .sum()
}
