//! Global memory: allocations of 64-bit atomic words, shared by the workers of a launch.
//!
//! Accesses of up to 8 bytes are single-copy atomic, as the PTX memory model asks of naturally aligned ones. A
//! narrower store is a compare-exchange on its word unless one worker runs alone.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::local::mask;
use crate::sanitize::global::Cells;

/// Words of data behind one lazily made page of race cells.
pub const PAGE_WORDS: usize = 8192;

/// Allocations end at multiples of this.
const GRANULE: u64 = 512;

/// One allocation.
#[derive(Debug)]
pub struct Block {
    /// First address.
    pub base: u64,
    /// Bytes asked for.
    pub size: u64,
    /// Bytes there are: devices give out memory in pieces of [`GRANULE`].
    capacity: u64,
    words: Box<[AtomicU64]>,
    /// One bit a byte: written. Absent for memory that starts initialized.
    written: Option<Box<[AtomicU64]>>,
    all_written: AtomicBool,
    /// Race cells, one page for [`PAGE_WORDS`] words.
    pub cells: Box<[OnceLock<Cells>]>,
}

fn zeros(n: usize) -> Box<[AtomicU64]> {
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

impl Block {
    fn new(base: u64, size: u64, initialized: bool) -> Block {
        let capacity = size.next_multiple_of(GRANULE);
        let n = (capacity / 8) as usize;
        Block {
            base,
            size,
            capacity,
            words: zeros(n),
            written: (!initialized).then(|| zeros(n.div_ceil(8))),
            all_written: AtomicBool::new(initialized),
            cells: (0..n.div_ceil(PAGE_WORDS)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// A load of at most 8 bytes at a checked offset that need not be aligned.
    pub fn load_any(&self, at: u64, size: u32) -> u64 {
        if at % u64::from(size) == 0 {
            return self.load(at, size);
        }
        let mut bytes = [0; 8];
        self.read_into(at, &mut bytes[..size as usize]);
        u64::from_le_bytes(bytes)
    }

    /// A store of at most 8 bytes at a checked offset that need not be aligned.
    pub fn store_any(&self, at: u64, size: u32, value: u64, alone: bool) {
        if at % u64::from(size) == 0 {
            self.store(at, size, value, alone);
        } else {
            self.write_from(at, &value.to_le_bytes()[..size as usize], alone);
        }
    }

    /// An aligned load of at most 8 bytes at a checked offset.
    #[inline(always)]
    pub fn load(&self, at: u64, size: u32) -> u64 {
        let word = self.words[(at / 8) as usize].load(Relaxed);
        word >> (8 * (at % 8)) & mask(size)
    }

    /// An aligned store of at most 8 bytes at a checked offset.
    #[inline(always)]
    pub fn store(&self, at: u64, size: u32, value: u64, alone: bool) {
        let word = &self.words[(at / 8) as usize];
        if size == 8 {
            word.store(value, Relaxed);
            return;
        }
        let shift = 8 * (at % 8);
        let keep = !(mask(size) << shift);
        let new = (value & mask(size)) << shift;
        if alone {
            word.store(word.load(Relaxed) & keep | new, Relaxed);
        } else {
            let _ = word.fetch_update(Relaxed, Relaxed, |old| Some(old & keep | new));
        }
    }

    /// Copies bytes out, at a checked offset.
    pub fn read_into(&self, at: u64, bytes: &mut [u8]) {
        if at % 8 == 0 && bytes.len() % 8 == 0 {
            let words = &self.words[(at / 8) as usize..][..bytes.len() / 8];
            for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
                to.copy_from_slice(&word.load(Relaxed).to_le_bytes());
            }
            return;
        }
        let mut i = 0;
        while i < bytes.len() {
            let here = at + i as u64;
            let word = self.words[(here / 8) as usize].load(Relaxed).to_le_bytes();
            let skip = (here % 8) as usize;
            let n = (8 - skip).min(bytes.len() - i);
            bytes[i..i + n].copy_from_slice(&word[skip..skip + n]);
            i += n;
        }
    }

    /// Copies bytes in, at a checked offset.
    pub fn write_from(&self, at: u64, bytes: &[u8], alone: bool) {
        let mut i = 0;
        while i < bytes.len() {
            let here = at + i as u64;
            let mut n = 1;
            for wide in [8, 4, 2] {
                if here % wide == 0 && (bytes.len() - i) as u64 >= wide {
                    n = wide as usize;
                    break;
                }
            }
            let value = bytes[i..i + n].iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
            self.store(here, n as u32, value, alone);
            i += n;
        }
        self.mark(at, bytes.len() as u64);
    }

    /// An atomic update of an aligned field; returns the old value.
    pub fn update(&self, at: u64, size: u32, f: impl Fn(u64) -> u64) -> u64 {
        let shift = 8 * (at % 8);
        let keep = !(mask(size) << shift);
        let field = |word: u64| word >> shift & mask(size);
        let old = self.words[(at / 8) as usize]
            .fetch_update(Relaxed, Relaxed, |word| Some(word & keep | (f(field(word)) & mask(size)) << shift));
        field(old.unwrap_or_default())
    }

    /// Marks bytes as written.
    #[inline(always)]
    pub fn mark(&self, at: u64, size: u64) {
        if self.all_written.load(Relaxed) {
            return;
        }
        if let Some(written) = &self.written {
            let mut at = at;
            let end = at + size;
            while at < end {
                let bit = at % 64;
                let n = (64 - bit).min(end - at);
                let bits = if n == 64 { u64::MAX } else { ((1 << n) - 1) << bit };
                let word = &written[(at / 64) as usize];
                if word.load(Relaxed) & bits != bits {
                    word.fetch_or(bits, Relaxed);
                }
                at += n;
            }
        }
    }

    /// Whether all bytes were written.
    #[inline(always)]
    pub fn is_written(&self, at: u64, size: u64) -> bool {
        if self.all_written.load(Relaxed) {
            return true;
        }
        let Some(written) = &self.written else { return true };
        let (mut at, end) = (at, at + size);
        while at < end {
            let (bit, left) = (at % 64, end - at);
            let n = (64 - bit).min(left);
            let bits = if n == 64 { u64::MAX } else { ((1 << n) - 1) << bit };
            if written[(at / 64) as usize].load(Relaxed) & bits != bits {
                return false;
            }
            at += n;
        }
        true
    }
}

/// The device's memory.
#[derive(Debug, Default)]
pub struct GlobalMemory {
    blocks: Vec<Block>,
    next: u64,
    used: u64,
    /// Allocations may be overrun up to the end of their last granule.
    pub loose: bool,
}

impl GlobalMemory {
    /// Bytes of a block that may be used.
    #[inline(always)]
    pub fn reach(&self, block: &Block) -> u64 {
        if self.loose { block.capacity } else { block.size }
    }

    /// Whether `at..at + size` is inside, `at` relative to the base.
    #[inline(always)]
    fn holds(&self, block: &Block, at: u64, size: u64) -> bool {
        at.checked_add(size).is_some_and(|end| end <= self.reach(block))
    }

    /// Allocates `size` bytes at a multiple of 512; `None` over `limit` bytes in total.
    pub fn alloc(&mut self, size: u64, align: u64, initialized: bool, limit: u64) -> Option<u64> {
        let used = self.used.checked_add(size).filter(|u| *u <= limit)?;
        let align = align.max(512);
        let base = self.next.max(super::GLOBAL_BASE).next_multiple_of(align);
        self.used = used;
        // A gap after every block, so that running past an end meets nothing.
        self.next = base + size + 4096;
        self.blocks.push(Block::new(base, size, initialized));
        Some(base)
    }

    /// Frees the allocation at `base`; false if there is none.
    pub fn free(&mut self, base: u64) -> bool {
        match self.blocks.binary_search_by_key(&base, |b| b.base) {
            Ok(i) => {
                self.used -= self.blocks[i].size;
                self.blocks.remove(i);
                true
            }
            Err(_) => false,
        }
    }

    /// Index of the block that an address falls in or after.
    #[inline]
    pub fn find(&self, addr: u64) -> Option<usize> {
        self.blocks.partition_point(|b| b.base <= addr).checked_sub(1)
    }

    /// A block by index.
    #[inline(always)]
    pub fn block(&self, i: usize) -> Option<&Block> {
        self.blocks.get(i)
    }

    /// The block that holds all of `addr..addr + size`, and the offset in it.
    #[inline]
    pub fn locate(&self, addr: u64, size: u64, hint: &mut usize) -> Option<(&Block, u64)> {
        if let Some(block) = self.blocks.get(*hint) {
            let at = addr.wrapping_sub(block.base);
            if self.holds(block, at, size) {
                return Some((block, at));
            }
        }
        let i = self.find(addr)?;
        let block = &self.blocks[i];
        let at = addr - block.base;
        if !self.holds(block, at, size) {
            return None;
        }
        *hint = i;
        Some((block, at))
    }

    /// Copies bytes in; false outside an allocation.
    pub fn write(&self, addr: u64, bytes: &[u8]) -> bool {
        let Some((block, at)) = self.locate(addr, bytes.len() as u64, &mut 0) else {
            return bytes.is_empty();
        };
        block.write_from(at, bytes, false);
        if bytes.len() as u64 == block.size {
            block.all_written.store(true, Relaxed);
        }
        true
    }

    /// Copies bytes out; false outside an allocation.
    pub fn read(&self, addr: u64, bytes: &mut [u8]) -> bool {
        self.read_near(addr, bytes, &mut 0)
    }

    /// The same, looking first in the block that was used last.
    pub fn read_near(&self, addr: u64, bytes: &mut [u8], hint: &mut usize) -> bool {
        let Some((block, at)) = self.locate(addr, bytes.len() as u64, hint) else {
            return bytes.is_empty();
        };
        block.read_into(at, bytes);
        true
    }

    /// What lies near an address, for messages.
    pub fn describe(&self, addr: u64) -> String {
        match self.find(addr).map(|i| &self.blocks[i]) {
            Some(b) if addr < b.base + b.size + 4096 => {
                format!("{} bytes into an allocation of {} bytes", addr - b.base, b.size)
            }
            _ => "no allocation there".to_owned(),
        }
    }
}
