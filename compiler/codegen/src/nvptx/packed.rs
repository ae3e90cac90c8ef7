//! One vector access to global memory: plain LLVM where it is exact, inline PTX where it is predicated or has hints.
//!
//! `llvm.masked.load` would become a branch around every access. The inline form first moves the fill value into the result
//! registers and then loads under the predicate, so that several accesses are in flight at once.

use kiln_ir::ops::{CacheOp, Evict};

use super::emit::Emitter;
use super::text::{Asm, Ty, Val, int_of};
use super::words::bits_of;

/// How an access behaves besides its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hints {
    pub(super) cache: CacheOp,
    pub(super) evict: Evict,
    /// Nothing writes the memory while the kernel runs.
    pub(super) constant: bool,
}

impl Hints {
    fn plain(self) -> bool {
        self.cache == CacheOp::Default && self.evict == Evict::Normal
    }

    /// The qualifiers of the PTX instruction, after the state space.
    fn qualifiers(self, load: bool) -> String {
        let mut text = String::new();
        if load && self.constant && self.cache == CacheOp::Default {
            text.push_str(".nc");
        }
        match (self.cache, load) {
            (CacheOp::Ca, true) => text.push_str(".ca"),
            (CacheOp::Ca, false) => text.push_str(".wb"),
            (CacheOp::Cg, _) => text.push_str(".cg"),
            (CacheOp::Cs, _) => text.push_str(".cs"),
            (CacheOp::Default, _) => match self.evict {
                Evict::First => text.push_str(".L1::evict_first"),
                Evict::Last => text.push_str(".L1::evict_last"),
                Evict::Normal => {}
            },
        }
        text
    }
}

/// The registers that a vector travels in.
struct Words {
    ty: Ty,
    count: usize,
    /// Inline assembly constraint.
    constraint: char,
    /// PTX type of one word.
    ptx: &'static str,
}

fn words(elem: Ty, elements: usize) -> Words {
    let bits = elem.int().bits() * elements as u32;
    match (elem.int().bits(), bits) {
        (64, _) => Words { ty: Ty::I64, count: elements, constraint: 'l', ptx: "b64" },
        // 8-bit values travel in 16-bit registers.
        (_, 8) => Words { ty: Ty::I16, count: 1, constraint: 'h', ptx: "b8" },
        (_, 16) => Words { ty: Ty::I16, count: 1, constraint: 'h', ptx: "b16" },
        _ => Words { ty: Ty::I32, count: bits.div_ceil(32) as usize, constraint: 'r', ptx: "b32" },
    }
}

impl Emitter<'_> {
    /// Loads `fill.len()` consecutive elements; where `predicate` is false the result is `fill`.
    pub(super) fn load_vector(&mut self, address: Val, fill: &[Val], predicate: Val, hints: Hints) -> Vec<Val> {
        let elem = fill[0].ty;
        if predicate.is_false() {
            return fill.to_vec();
        }
        if predicate.is_true() && hints.plain() {
            return self.load_exact(address, elem, fill.len(), hints.constant);
        }
        if hints.evict != Evict::Normal {
            self.ptx = self.ptx.max(74);
        }
        let words = words(elem, fill.len());
        let fills = self.pack(fill, &words);
        // Outputs, then fills that are no constants, then address and predicate.
        let mut text = String::new();
        let mut args = Vec::new();
        let mut constraints: Vec<String> = (0..words.count).map(|_| format!("=&{}", words.constraint)).collect();
        let predicated = !predicate.is_true();
        if predicated {
            let mov = if words.ptx == "b8" { "b16" } else { words.ptx };
            for (i, fill) in fills.iter().enumerate() {
                match fill.as_int() {
                    Some(value) => text.push_str(&format!("mov.{mov} ${i}, {value};\n\t")),
                    None => {
                        text.push_str(&format!("mov.{mov} ${i}, ${};\n\t", words.count + args.len()));
                        args.push(*fill);
                        constraints.push(words.constraint.to_string());
                    }
                }
            }
        }
        let at = words.count + args.len();
        args.push(address);
        constraints.push("l".to_owned());
        if predicated {
            args.push(predicate);
            constraints.push("b".to_owned());
            text.push_str(&format!("@${} ", at + 1));
        }
        let list = list_of(words.count, 0);
        let vector = vector_suffix(words.count);
        text.push_str(&format!("ld.global{}{vector}.{} {list}, [${at}];", hints.qualifiers(true), words.ptx));
        let kind = if hints.constant { Asm::Pure } else { Asm::Memory };
        let results = vec![words.ty; words.count];
        let loaded = self.w.asm(&results, kind, &text, &constraints.join(","), &args);
        self.unpack(&loaded, elem, fill.len(), &words)
    }

    fn load_exact(&mut self, address: Val, elem: Ty, count: usize, constant: bool) -> Vec<Val> {
        let align = (elem.int().bits() / 8).max(1) * count as u32;
        let memory = if elem == Ty::Global { Ty::I64 } else { elem };
        let invariant = if constant { ", !invariant.load !9" } else { "" };
        let words = words(elem, count);
        if words.ty == Ty::I32 && words.count < count {
            let loaded = self.load_plain(address, Ty::I32, words.count, align, invariant);
            return self.unpack(&loaded, elem, count, &words);
        }
        let loaded = self.load_plain(address, memory, count, align, invariant);
        loaded.into_iter().map(|v| self.w.bitcast(v, elem)).collect()
    }

    /// A load of `count` values as LLVM has it.
    fn load_plain(&mut self, address: Val, ty: Ty, count: usize, align: u32, attributes: &str) -> Vec<Val> {
        if count == 1 {
            return vec![self.w.value(ty, &format!("load {}, {}, align {align}{attributes}", ty.llvm(), address.typed()))];
        }
        let vector = format!("<{count} x {}>", ty.llvm());
        let loaded = self.w.value(ty, &format!("load {vector}, {}, align {align}{attributes}", address.typed()));
        (0..count).map(|i| self.w.value(ty, &format!("extractelement {vector} {}, i32 {i}", loaded.text()))).collect()
    }

    /// Stores consecutive elements where `predicate` holds.
    pub(super) fn store_vector(&mut self, address: Val, values: &[Val], predicate: Val, hints: Hints) {
        if predicate.is_false() {
            return;
        }
        let elem = values[0].ty;
        if predicate.is_true() && hints.plain() {
            return self.store_exact(address, values);
        }
        if hints.evict != Evict::Normal {
            self.ptx = self.ptx.max(74);
        }
        let words = words(elem, values.len());
        let mut args = self.pack(values, &words);
        let mut constraints = vec![words.constraint.to_string(); words.count];
        args.push(address);
        // Shared addresses are 32 bits (`nvptx-short-ptr`); a conversion stores only what this lane owns.
        let (space, constraint) = if address.ty == Ty::Shared { ("shared", "r") } else { ("global", "l") };
        constraints.push(constraint.to_owned());
        let mut text = String::new();
        if !predicate.is_true() {
            text.push_str(&format!("@${} ", words.count + 1));
            args.push(predicate);
            constraints.push("b".to_owned());
        }
        let list = list_of(words.count, 0);
        let vector = vector_suffix(words.count);
        let qualifiers = hints.qualifiers(false);
        text.push_str(&format!("st.{space}{qualifiers}{vector}.{} [${}], {list};", words.ptx, words.count));
        self.w.asm(&[], Asm::Memory, &text, &constraints.join(","), &args);
    }

    fn store_exact(&mut self, address: Val, values: &[Val]) {
        let elem = values[0].ty;
        let memory = if elem == Ty::Global { Ty::I64 } else { elem };
        let align = (elem.int().bits() / 8).max(1) * values.len() as u32;
        let words = words(elem, values.len());
        let values = if words.ty == Ty::I32 && words.count < values.len() {
            self.pack(values, &words)
        } else {
            values.iter().map(|&v| self.w.bitcast(v, memory)).collect()
        };
        let count = values.len();
        if count == 1 {
            let text = format!("store {}, {}, align {align}", values[0].typed(), address.typed());
            return self.w.effect(&text);
        }
        let ty = format!("<{count} x {}>", values[0].ty.llvm());
        let mut vector = "poison".to_owned();
        for (i, value) in values.iter().enumerate() {
            let text = format!("insertelement {ty} {vector}, {}, i32 {i}", value.typed());
            vector = self.w.value(value.ty, &text).text();
        }
        let text = format!("store {ty} {vector}, {}, align {align}", address.typed());
        self.w.effect(&text);
    }

    /// Elements into the words they travel in.
    fn pack(&mut self, values: &[Val], words: &Words) -> Vec<Val> {
        let per_word = values.len() / words.count;
        if per_word > 1 {
            return values.chunks(per_word).map(|chunk| self.w.join(chunk, words.ty)).collect();
        }
        values
            .iter()
            .map(|&v| {
                let bits = v.ty.int();
                let int = bits_of(v).map_or_else(|| self.w.bitcast(v, bits), |constant| Val::int(bits, constant));
                if bits.bits() < words.ty.bits() { self.w.cast("zext", int, words.ty) } else { int }
            })
            .collect()
    }

    /// The elements of words.
    fn unpack(&mut self, loaded: &[Val], elem: Ty, count: usize, words: &Words) -> Vec<Val> {
        let per_word = count / words.count;
        if per_word > 1 && words.ty == Ty::I32 {
            return loaded.iter().flat_map(|&word| self.w.split(word, elem)).collect();
        }
        let bits = int_of(elem.int().bits());
        (0..count)
            .map(|i| {
                let word = loaded[i / per_word];
                let shifted = self.w.lshr(word, (i % per_word) as u32 * bits.bits());
                let part = if bits.bits() < words.ty.bits() { self.w.cast("trunc", shifted, bits) } else { shifted };
                self.w.bitcast(part, elem)
            })
            .collect()
    }
}

fn list_of(count: usize, first: usize) -> String {
    if count == 1 {
        return format!("${first}");
    }
    let names: Vec<String> = (first..first + count).map(|i| format!("${i}")).collect();
    format!("{{{}}}", names.join(", "))
}

fn vector_suffix(count: usize) -> &'static str {
    match count {
        1 => "",
        2 => ".v2",
        _ => ".v4",
    }
}
