//! Global-memory races between CTAs: every word remembers which CTA wrote and read it last in this launch.
//!
//! A CTA that has synchronized with another through global memory (an atomic or a flag with fences) is taken to be
//! ordered after it: this misses some races and invents none.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::memory::global::{Block, PAGE_WORDS};

/// Cells of one page: a write and a read tag for every 4 bytes.
#[derive(Debug)]
pub struct Cells(Box<[(AtomicU64, AtomicU64)]>);

/// One access: launch (14 bits), CTA (22), instruction (22), strong (1), bytes (4), from the top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tag(u64);

/// CTAs beyond this are not tracked.
pub const MAX_CTAS: u64 = 1 << 22;

impl Tag {
    /// Packs a tag.
    pub fn new(launch: u32, cta: u64, pc: u32, strong: bool) -> Tag {
        let launch = u64::from(launch % 0x3fff + 1);
        Tag(launch << 50 | (cta & 0x3f_ffff) << 28 | u64::from(pc & 0x3f_ffff) << 6 | u64::from(strong) << 5)
    }
    fn with_bytes(self, bytes: u64) -> u64 {
        self.0 | bytes
    }
    fn launch(bits: u64) -> u64 {
        bits >> 50
    }
    fn cta(bits: u64) -> u64 {
        bits >> 28 & 0x3f_ffff
    }
    /// Program-wide instruction index.
    fn pc(bits: u64) -> u32 {
        (bits >> 6 & 0x3f_ffff) as u32
    }
    fn strong(bits: u64) -> bool {
        bits >> 5 & 1 != 0
    }
}

/// A conflict with an access of another CTA.
#[derive(Debug)]
pub struct Conflict {
    /// Linear index of the other CTA.
    pub cta: u64,
    /// Its instruction.
    pub pc: u32,
    /// It wrote.
    pub was_write: bool,
}

/// Records an access of `at..at + size` and returns a conflict with another CTA, if any.
#[inline]
pub fn access(block: &Block, at: u64, size: u64, write: bool, tag: Tag) -> Option<Conflict> {
    let mut here = at;
    let end = at + size;
    let mut found = None;
    while here < end {
        let n = (4 - here % 4).min(end - here);
        let bytes = ((1u64 << n) - 1) << (here % 4);
        let word = (here / 8) as usize;
        let page = block.cells[word / PAGE_WORDS]
            .get_or_init(|| Cells((0..2 * PAGE_WORDS).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect()));
        let (w, r) = &page.0[(here / 4) as usize % (2 * PAGE_WORDS)];
        let (old_w, old_r) = (w.load(Relaxed), r.load(Relaxed));
        let conflicts = |old: u64| {
            Tag::launch(old) == Tag::launch(tag.0)
                && Tag::cta(old) != Tag::cta(tag.0)
                && old & bytes & 0xf != 0
                && !(Tag::strong(old) && Tag::strong(tag.0))
        };
        if conflicts(old_w) {
            found = Some(Conflict { cta: Tag::cta(old_w), pc: Tag::pc(old_w), was_write: true });
        } else if write && conflicts(old_r) {
            found = Some(Conflict { cta: Tag::cta(old_r), pc: Tag::pc(old_r), was_write: false });
        }
        let cell = if write { w } else { r };
        let old = if write { old_w } else { old_r };
        let same = Tag::launch(old) == Tag::launch(tag.0) && Tag::cta(old) == Tag::cta(tag.0);
        let new = tag.with_bytes(if same { bytes | old & 0xf } else { bytes });
        if old != new {
            cell.store(new, Relaxed);
        }
        here += n;
    }
    found
}
