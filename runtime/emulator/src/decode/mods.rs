//! An opcode split at its dots; every modifier must be consumed, so that none is ignored silently.

use smallvec::SmallVec;

/// Opcode and modifiers of one instruction.
pub struct Mods<'s> {
    /// First word.
    pub head: &'s str,
    words: SmallVec<[&'s str; 12]>,
    taken: u32,
}

impl<'s> Mods<'s> {
    /// Splits `ld.global.f32`.
    pub fn new(opcode: &'s str) -> Self {
        let mut parts = opcode.split('.');
        let head = parts.next().unwrap_or_default();
        Mods { head, words: parts.take(32).collect(), taken: 0 }
    }

    /// Consumes `word` if it is there.
    pub fn flag(&mut self, word: &str) -> bool {
        for (i, w) in self.words.iter().enumerate() {
            if self.taken & 1 << i == 0 && *w == word {
                self.taken |= 1 << i;
                return true;
            }
        }
        false
    }

    /// Consumes the first word that is in `table`.
    pub fn pick<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        for (i, w) in self.words.iter().enumerate() {
            if self.taken & 1 << i == 0
                && let Some((_, value)) = table.iter().find(|(name, _)| name == w)
            {
                self.taken |= 1 << i;
                return Some(*value);
            }
        }
        None
    }

    /// Consumes the first word that `parse` understands.
    pub fn parse<T>(&mut self, parse: impl Fn(&'s str) -> Option<T>) -> Option<T> {
        for (i, w) in self.words.iter().enumerate() {
            if self.taken & 1 << i == 0
                && let Some(value) = parse(w)
            {
                self.taken |= 1 << i;
                return Some(value);
            }
        }
        None
    }

    /// Consumes the next word, whatever it is.
    pub fn word(&mut self) -> Option<&'s str> {
        self.parse(Some)
    }

    /// Whether `word` is there, consumed or not.
    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// Consumes cache operators and hints of loads and stores; true when a cache policy operand follows.
    pub fn hints(&mut self) -> bool {
        let mut policy = false;
        for (i, w) in self.words.iter().enumerate() {
            let hint = match *w {
                "L2::cache_hint" => {
                    policy = true;
                    true
                }
                "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" => true,
                w => w.starts_with("L1::") || w.starts_with("L2::"),
            };
            if hint {
                self.taken |= 1 << i;
            }
        }
        policy
    }

    /// The first modifier that nobody consumed.
    pub fn leftover(&self) -> Option<&'s str> {
        self.words.iter().enumerate().find(|(i, _)| self.taken & 1 << i == 0).map(|(_, w)| *w)
    }
}
