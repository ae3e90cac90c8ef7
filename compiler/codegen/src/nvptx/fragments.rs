//! Operands of tensor-core instructions as 32-bit (f64: 64-bit) registers of inline PTX: out of shared memory by `ldmatrix` or plain
//! loads, or out of the registers of a tile that is laid out as fragments.
//!
//! A whole product is one piece of inline PTX, so that LLVM sees one instruction with the accumulators and a few addresses;
//! [`Ptx`] collects its text, its inputs and the names of its own registers.

use std::rc::Rc;

use kiln_ir::layout::{Coords, Layout};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use super::emit::Emitter;
use super::error::{Result, internal};
use super::spread::Spread;
use super::staged::{Reach, ThreadCoords, thread_coords};
use super::text::{Ty, Val};

/// Inline PTX being written.
#[derive(Debug, Default)]
pub(super) struct Ptx {
    pub(super) text: String,
    /// Operands after the results and the inputs tied to them, and their constraints.
    pub(super) inputs: Vec<(Val, char)>,
    /// Operands before `inputs`.
    first_input: usize,
    words: usize,
    doubles: usize,
    known: FxHashMap<Val, usize>,
}

impl Ptx {
    /// No text yet; `$first_input` is the first operand of its own.
    pub(super) fn new(first_input: usize) -> Ptx {
        Ptx { first_input, ..Ptx::default() }
    }

    /// The operand that `value` is, `$n`.
    pub(super) fn input(&mut self, value: Val, constraint: char) -> String {
        let next = self.inputs.len();
        let number = *self.known.entry(value).or_insert(next);
        if number == next {
            self.inputs.push((value, constraint));
        }
        format!("${}", self.first_input + number)
    }

    /// A new 32-bit register.
    pub(super) fn word(&mut self) -> String {
        self.words += 1;
        format!("w{}", self.words - 1)
    }

    /// A new 64-bit register.
    pub(super) fn double(&mut self) -> String {
        self.doubles += 1;
        format!("d{}", self.doubles - 1)
    }

    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\n\t");
    }

    /// The whole block with its declarations.
    pub(super) fn block(&self) -> String {
        let mut head = String::from("{\n\t");
        if self.words > 0 {
            head.push_str(&format!(".reg .b32 w<{}>;\n\t", self.words));
        }
        if self.doubles > 0 {
            head.push_str(&format!(".reg .f64 d<{}>;\n\t", self.doubles));
        }
        format!("{head}{}}}", self.text)
    }
}

/// One operand of a product.
pub(super) struct Operand<'l> {
    source: Source,
    /// Where the instruction wants its elements.
    fragments: &'l Layout,
    /// The dimension of rows (operand A) or columns (B); the other one is k.
    pub(super) across: usize,
    /// Elements of a register.
    width: u32,
    bytes: u32,
    /// What thread bits add to the coordinates of a fragment.
    threads: ThreadCoords,
}

enum Source {
    Shared { base: Val, layout: &'static Layout, reader: Reader },
    Registers { regs: Rc<[Val]>, spread: Rc<Spread>, inside: SmallVec<[u32; 4]> },
}

/// How a shared tile becomes fragments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    /// `ldmatrix`; `.trans` where k does not run through memory.
    Matrix { transposed: bool },
    /// One load a register.
    Words,
    /// One load an element.
    Bytes,
}

impl Operand<'_> {
    /// Fragments `distance` apart along the dimension of rows or columns can be read at once: within the unit of a shared layout,
    /// where addresses are linear, whatever fragment of an even number is the first.
    pub(super) fn pairs(&self, distance: u32) -> bool {
        match &self.source {
            Source::Shared { layout, reader: Reader::Matrix { .. }, .. } => {
                distance.is_power_of_two() && 2 * distance <= layout.unit().extents()[self.across]
            }
            _ => false,
        }
    }
}

impl Emitter<'_> {
    /// Operand `value` of a product whose fragments are `fragments`.
    pub(super) fn operand_of<'l>(
        &mut self,
        value: kiln_ir::Value,
        fragments: &'l Layout,
        across: usize,
        width: u32,
    ) -> Result<Operand<'l>> {
        let ty = self.func.ty(value);
        let bytes = ty.elem().bytes();
        let layout = ty.layout().ok_or_else(|| internal("an operand of a product without a layout"))?.layout();
        let source = if layout.is_shared() {
            let depth = 1 - across;
            let mut step: Coords = smallvec![0; 2];
            step[depth] = 1;
            let runs_along_k = layout.offset(&step) == Some(1);
            let reader = match bytes {
                8 => Reader::Words,
                _ if runs_along_k => Reader::Matrix { transposed: false },
                4 => Reader::Words,
                2 => Reader::Matrix { transposed: true },
                _ => Reader::Bytes,
            };
            Source::Shared { base: self.shared_base(value)?, layout, reader }
        } else {
            if layout != fragments {
                return Err(internal(format!("operand {layout} of a product with fragments {fragments}")));
            }
            let spread = self.spread_of(ty).ok_or_else(|| internal("an operand of a product is a tile"))?;
            Source::Registers { regs: self.regs(value), spread, inside: self.shape(value) }
        };
        Ok(Operand { source, fragments, across, width, bytes, threads: thread_coords(fragments.unit()) })
    }

    /// The registers of the fragment at `at` (coordinate of its first element), in the order of the instruction: `parts` are the
    /// distances of its registers. For operand B of two neighbouring instructions, `parts` are those of both.
    pub(super) fn fragment(
        &mut self,
        ptx: &mut Ptx,
        operand: &Operand<'_>,
        at: [u32; 2],
        parts: &[[u32; 2]],
    ) -> Result<Vec<String>> {
        match &operand.source {
            Source::Registers { regs, spread, inside } => {
                parts.iter().map(|part| self.packed(ptx, operand, regs, spread, inside, sum(at, *part))).collect()
            }
            Source::Shared { base, layout, reader: Reader::Matrix { transposed } } => {
                self.matrices(ptx, operand, *base, layout, *transposed, at, parts)
            }
            Source::Shared { base, layout, reader } => {
                parts.iter().map(|part| self.loaded(ptx, operand, *base, layout, *reader, sum(at, *part))).collect()
            }
        }
    }

    /// Up to four 8x8 matrices by one `ldmatrix`; `parts` are in doubling order (none, p, q, p + q).
    #[allow(clippy::too_many_arguments)]
    fn matrices(
        &mut self,
        ptx: &mut Ptx,
        operand: &Operand<'_>,
        base: Val,
        layout: &'static Layout,
        transposed: bool,
        at: [u32; 2],
        parts: &[[u32; 2]],
    ) -> Result<Vec<String>> {
        let (across, depth) = (operand.across, 1 - operand.across);
        // Lane bits 0 to 2 choose the row of a matrix: 16 bytes in memory.
        let row = if transposed { depth } else { across };
        let mut threads: ThreadCoords = (0..3)
            .map(|bit| {
                let mut one: Coords = smallvec![0; 2];
                one[row] = 1 << bit;
                one
            })
            .collect();
        // Bits 3 and 4 choose the matrix.
        let of_part = |i: usize| -> Coords { parts.get(i).map_or_else(|| smallvec![0; 2], |p| SmallVec::from_slice(p)) };
        threads.extend([of_part(1), of_part(2)]);
        threads.extend(operand.threads[5..].iter().cloned());
        let address = self.address_of(ptx, base, layout, &threads, &at, operand.bytes)?;
        let names: Vec<String> = parts.iter().map(|_| ptx.word()).collect();
        let form = if transposed { ".trans" } else { "" };
        ptx.line(&format!("ldmatrix.sync.aligned.m8n8.x{}{form}.shared.b16 {{{}}}, {address};", parts.len(), names.join(", ")));
        Ok(names)
    }

    /// `[$n+immediate]`.
    fn address_of(
        &mut self,
        ptx: &mut Ptx,
        base: Val,
        layout: &'static Layout,
        threads: &ThreadCoords,
        at: &[u32],
        bytes: u32,
    ) -> Result<String> {
        let Reach { thread, immediate } = self.reach(layout, threads, at, bytes)?;
        let key = (base, thread);
        let pointer = match self.pointers.get(&key) {
            Some(&known) => known,
            None => {
                let pointer = self.w.offset(base, thread, 1);
                self.pointers.insert(key, pointer);
                pointer
            }
        };
        Ok(format!("[{}+{immediate}]", ptx.input(pointer, 'r')))
    }

    /// One register by plain loads.
    fn loaded(
        &mut self,
        ptx: &mut Ptx,
        operand: &Operand<'_>,
        base: Val,
        layout: &'static Layout,
        reader: Reader,
        at: [u32; 2],
    ) -> Result<String> {
        if reader == Reader::Words {
            let address = self.address_of(ptx, base, layout, &operand.threads, &at, operand.bytes)?;
            let (name, ty) = if operand.bytes == 8 { (ptx.double(), "f64") } else { (ptx.word(), "b32") };
            ptx.line(&format!("ld.shared.{ty} {name}, {address};"));
            return Ok(name);
        }
        let mut bytes = Vec::new();
        for i in 0..operand.width {
            let mut one = at;
            one[1 - operand.across] += i;
            let address = self.address_of(ptx, base, layout, &operand.threads, &one, operand.bytes)?;
            let name = ptx.word();
            ptx.line(&format!("ld.shared.u8 {name}, {address};"));
            bytes.push(name);
        }
        let (low, high, word) = (ptx.word(), ptx.word(), ptx.word());
        ptx.line(&format!("prmt.b32 {low}, {}, {}, 0x0040;", bytes[0], bytes[1]));
        ptx.line(&format!("prmt.b32 {high}, {}, {}, 0x0040;", bytes[2], bytes[3]));
        ptx.line(&format!("prmt.b32 {word}, {low}, {high}, 0x5410;"));
        Ok(word)
    }

    /// One register out of a tile's: zero where the tile pads k.
    fn packed(
        &mut self,
        ptx: &mut Ptx,
        operand: &Operand<'_>,
        regs: &Rc<[Val]>,
        spread: &Spread,
        shape: &[u32],
        at: [u32; 2],
    ) -> Result<String> {
        let depth = 1 - operand.across;
        let mut parts: SmallVec<[Val; 4]> = smallvec![];
        for i in 0..operand.width {
            let mut coords = at;
            coords[depth] += i;
            let r = spread.register(&coords).ok_or_else(|| internal(format!("{coords:?} is beyond {}", operand.fragments)))?;
            let mut value = regs[r as usize];
            if spread.pads(shape, depth) {
                let k = spread.full_coord(&mut self.w, r, depth);
                let inside = self.w.icmp("ult", k, Val::i32(shape[depth]));
                let zero = Val::zero(value.ty);
                value = self.w.select(inside, value, zero);
            }
            match value.ty {
                Ty::F64 => return Ok(ptx.input(value, 'd')),
                Ty::F32 => parts.push(self.w.bitcast(value, Ty::I32)),
                _ => parts.push(value),
            }
        }
        let word = match parts[..] {
            [word] if word.ty == Ty::I32 => word,
            _ => self.w.join(&parts, Ty::I32),
        };
        Ok(ptx.input(word, 'r'))
    }
}

fn sum(a: [u32; 2], b: [u32; 2]) -> [u32; 2] {
    [a[0] + b[0], a[1] + b[1]]
}
