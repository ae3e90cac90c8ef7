//! Elements of 8 and 16 bits in the 32-bit words that memory and tensor cores take.
//!
//! A word's elements are taken apart only where something needs them apart: [`Writer::split`] writes instructions that [`Writer::drop_unused`] takes out again
//! where nobody reads them, and [`Writer::join`] of the elements of one word is that word. Tiles that are only moved thus stay words, which is a quarter of
//! the instructions for LLVM.
//!
//! ```text
//! %w = asm "cvt.rn.f16x2.f32 $0, $2, $1;" (%a, %b)         join(split(%w)) = %w
//! ```

use super::text::{Ty, Val, Writer};

/// Where a value is in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    word: Val,
    /// Counted in elements from the lowest.
    number: usize,
}

impl Writer {
    /// The elements of a word, lowest first.
    pub(super) fn split(&mut self, word: Val, elem: Ty) -> Vec<Val> {
        debug_assert_eq!(word.ty, Ty::I32);
        let count = 32 / elem.bits() as usize;
        let start = self.line_count();
        let parts: Vec<Val> = if count == 2 {
            let pair = self.value(elem, &format!("bitcast i32 {} to <2 x {}>", word.text(), elem.llvm()));
            (0..2).map(|i| self.value(elem, &format!("extractelement <2 x {}> {}, i32 {i}", elem.llvm(), pair.text()))).collect()
        } else {
            (0..count as u32)
                .map(|i| {
                    let shifted = self.lshr(word, i * elem.bits());
                    self.cast("trunc", shifted, elem)
                })
                .collect()
        };
        self.optional_since(start);
        for (number, &part) in parts.iter().enumerate() {
            self.parts.insert(part, Part { word, number });
        }
        parts
    }

    /// The word of these elements, lowest first; `word` is an integer type that they fill.
    pub(super) fn join(&mut self, parts: &[Val], word: Ty) -> Val {
        let bits = parts[0].ty.bits();
        debug_assert_eq!(bits * parts.len() as u32, word.bits());
        let constants: Option<Vec<i64>> = parts.iter().map(|&p| bits_of(p)).collect();
        if let Some(constants) = constants {
            let mask = (1i64 << bits) - 1;
            let place = |(i, c): (usize, &i64)| (c & mask) << (i as u32 * bits);
            return Val::int(word, constants.iter().enumerate().map(place).sum());
        }
        if let Some(&Part { word: whole, .. }) = self.parts.get(&parts[0])
            && whole.ty == word
            && parts.iter().enumerate().all(|(number, p)| self.parts.get(p) == Some(&Part { word: whole, number }))
        {
            return whole;
        }
        if let (Some(&known), false) = (self.joined.get(parts), self.in_prologue) {
            return known;
        }
        let joined = if parts.len() == 2 && bits == 16 {
            let ty = format!("<2 x {}>", parts[0].ty.llvm());
            let low = self.value(parts[0].ty, &format!("insertelement {ty} poison, {}, i32 0", parts[0].typed()));
            let both = self.value(parts[0].ty, &format!("insertelement {ty} {}, {}, i32 1", low.text(), parts[1].typed()));
            self.value(word, &format!("bitcast {ty} {} to {}", both.text(), word.llvm()))
        } else {
            parts.iter().enumerate().fold(Val::int(word, 0), |so_far, (i, &part)| {
                let part = bits_of(part).map_or(part, |c| Val::int(part.ty.int(), c));
                let int = self.bitcast(part, part.ty.int());
                let wide = self.cast("zext", int, word);
                let placed = self.shl(wide, i as u32 * bits);
                self.or_disjoint(so_far, placed)
            })
        };
        self.joined.insert(parts.into(), joined);
        joined
    }

    /// Takes out the instructions of [`Writer::split`] whose results nobody reads.
    pub(super) fn drop_unused(&mut self) {
        let mut reads = vec![0u32; self.value_count()];
        for line in self.all_lines() {
            names(line).skip(usize::from(defines(line).is_some())).for_each(|name| reads[name] += 1);
        }
        // Last first, so that what only unread instructions read goes too.
        for at in std::mem::take(&mut self.optional).into_iter().rev() {
            let line = self.line_mut(at);
            if defines(line).is_some_and(|name| reads[name] == 0) {
                let line = std::mem::take(line);
                names(&line).skip(1).for_each(|name| reads[name] -= 1);
            }
        }
    }
}

/// The bits of a constant as an integer.
pub(super) fn bits_of(value: Val) -> Option<i64> {
    if let Some(int) = value.as_int() {
        return Some(int);
    }
    value.as_float().map(|v| match value.ty {
        Ty::F16 => i64::from(half::f16::from_f64(v).to_bits() as i16),
        Ty::BF16 => i64::from(half::bf16::from_f64(v).to_bits() as i16),
        Ty::F32 => i64::from((v as f32).to_bits() as i32),
        _ => v.to_bits() as i64,
    })
}

/// The value that a line defines.
fn defines(line: &str) -> Option<usize> {
    line.starts_with("  %v").then(|| names(line).next()).flatten()
}

/// The numbers of the values that a line names, in order.
fn names(line: &str) -> impl Iterator<Item = usize> {
    line.match_indices("%v").filter_map(|(at, _)| {
        let digits = &line[at + 2..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    })
}
