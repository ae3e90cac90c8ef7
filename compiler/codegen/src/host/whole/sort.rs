//! `sort` and `topk`: every line along the axis becomes records of key and position, which are sorted; then each operand is read in that order. The position
//! in the record makes the sort stable.

use kiln_ir::{Elem, ScalarType};

use super::keys::sort_key;
use super::network::{LANES, Network};
use crate::host::loops::Emit;
use crate::llvm::{Ty, Val};

/// A tile to read or write: row-major elements in memory format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// First element.
    pub ptr: Val,
    /// Element type.
    pub elem: Elem,
}

impl Tile {
    /// The type that moves an element as it is.
    fn bits(&self, e: &Emit<'_>) -> Ty {
        e.int_ty(self.elem.bytes() * 8)
    }

    fn copy(&self, e: &Emit<'_>, from: &Tile, index: Val, to_index: Val) {
        let (ty, align) = (self.bits(e), self.elem.bytes());
        let value = e.load(ty, e.gep(ty, from.ptr, index), align);
        e.store(value, e.gep(ty, self.ptr, to_index), align);
    }
}

/// A sort to generate.
#[derive(Clone, Debug)]
pub(crate) struct Sort {
    /// Extents outside the axis, the axis, and inside it.
    outer: u64,
    extent: u64,
    inner: u64,
    /// How many of each line's elements are wanted.
    take: u64,
    key: ScalarType,
    descending: bool,
}

impl Sort {
    /// Sorts along `axis` of tiles of `shape` by elements of type `key`, and keeps the first `take` of each line.
    pub fn new(shape: &[u32], axis: usize, take: u32, key: ScalarType, descending: bool) -> Sort {
        let product = |extents: &[u32]| extents.iter().map(|&d| u64::from(d)).product();
        Sort {
            outer: product(&shape[..axis]),
            extent: shape[axis].into(),
            inner: product(&shape[axis + 1..]),
            take: take.into(),
            key,
            descending,
        }
    }

    /// Arrays of u64 that records take: one holds key and position together where they fit.
    fn parts(&self) -> usize {
        if self.key.bytes() <= 4 { 1 } else { 2 }
    }

    fn records(&self) -> u64 {
        self.extent.next_power_of_two().max(LANES.into())
    }

    /// Bytes of scratch memory, aligned to 64, that [`Sort::emit`] needs while it runs.
    pub fn scratch_bytes(&self) -> u64 {
        self.records() * 8 * self.parts() as u64
    }

    /// Emits the sort of `args` by `args[0]` into `results` (the axis of `take` elements); `positions`, an i32 tile shaped like the results, gets where
    /// each element came from. No result may overlap an operand.
    pub fn emit(&self, e: &Emit<'_>, args: &[Tile], results: &[Tile], positions: Option<Val>, scratch: Val) {
        let parts: Vec<_> = (0..self.parts()).map(|p| e.at_const(e.i64(), scratch, p as u64 * self.records())).collect();
        e.repeat(self.outer, 1, |outer| {
            e.repeat(self.inner, 1, |inner| {
                let element = |line: u64, at: Val| {
                    let row = e.add_nsw(e.mul_const(outer, line), at);
                    e.add_nsw(e.mul_const(row, self.inner), inner)
                };
                self.load_records(e, &args[0], &parts, |at| element(self.extent, at));
                Network { e, parts: parts.clone(), len: self.records() }.sort();
                e.repeat(self.take, 1, |at| {
                    let last = *parts.last().unwrap_or(&scratch);
                    let record = e.load(e.i64(), e.gep(e.i64(), last, at), 8);
                    let position = e.and(record, e.index(u32::MAX.into()));
                    let (from, to) = (element(self.extent, position), element(self.take, at));
                    for (result, arg) in results.iter().zip(args) {
                        result.copy(e, arg, from, to);
                    }
                    if let Some(positions) = positions {
                        e.store(e.trunc(position, e.i32()), e.gep(e.i32(), positions, to), 4);
                    }
                });
            });
        });
    }

    /// Fills the record arrays: a line's keys and positions, then records greater than any.
    fn load_records(&self, e: &Emit<'_>, keys: &Tile, parts: &[Val], element: impl Fn(Val) -> Val) {
        let ty = keys.bits(e);
        e.repeat(self.extent, 1, |at| {
            let bits = e.load(ty, e.gep(ty, keys.ptr, element(at)), keys.elem.bytes());
            let key = e.zext(sort_key(e, self.key, bits, self.descending), e.i64());
            match *parts {
                [both] => {
                    let record = e.or(e.shl(key, e.index(32)), at);
                    e.store(record, e.gep(e.i64(), both, at), 8);
                }
                _ => {
                    e.store(key, e.gep(e.i64(), parts[0], at), 8);
                    e.store(at, e.gep(e.i64(), parts[1], at), 8);
                }
            }
        });
        e.repeat(self.records() - self.extent, 1, |i| {
            let at = e.add_const(i, self.extent);
            for &part in parts {
                e.store(e.const_i64(-1), e.gep(e.i64(), part, at), 8);
            }
        });
    }
}
