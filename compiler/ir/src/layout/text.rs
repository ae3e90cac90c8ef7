//! The text form of layouts: printed in IR dumps, and parsed back.
//!
//! `{reg: (0, 1) (0, 2); lane: (0, 4) (1, 0)} -> [2, 8] x [3, 1]` lists the coordinate of each hardware bit, lowest bit
//! first, then the extents of the unit, then the repetitions where there are any.

use std::fmt;
use std::str::FromStr;

use super::linear::{Coords, Hw, LinearLayout};
use super::tiled::Layout;

impl fmt::Display for LinearLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        let mut first = true;
        for hw in Hw::ALL {
            if self.bits(hw) == 0 {
                continue;
            }
            write!(f, "{}{}:", if first { "" } else { "; " }, hw.name())?;
            first = false;
            for bit in 0..self.bits(hw) {
                f.write_str(" (")?;
                list(f, &self.basis(hw, bit))?;
                f.write_str(")")?;
            }
        }
        f.write_str("} -> [")?;
        list(f, &self.extents())?;
        f.write_str("]")
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.unit())?;
        if self.reps().iter().any(|&r| r > 1) {
            f.write_str(" x [")?;
            list(f, self.reps())?;
            f.write_str("]")?;
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, values: &[u32]) -> fmt::Result {
    for (i, value) in values.iter().enumerate() {
        write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
    }
    Ok(())
}

/// Why a text is no layout.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("layout text, byte {at}: expected {expected}")]
pub struct ParseLayoutError {
    /// Byte offset into the text.
    pub at: usize,
    /// What would have been right there.
    pub expected: &'static str,
}

impl FromStr for Layout {
    type Err = ParseLayoutError;

    fn from_str(text: &str) -> Result<Self, ParseLayoutError> {
        let mut cursor = Cursor { text, at: 0 };
        let layout = cursor.layout()?;
        if cursor.at < text.len() {
            return Err(cursor.expected("the end of the layout"));
        }
        Ok(layout)
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn layout(&mut self) -> Result<Layout, ParseLayoutError> {
        self.token("{", "'{'")?;
        let mut bases: Vec<(Hw, Vec<Coords>)> = Vec::new();
        while !self.eat("}") {
            if !bases.is_empty() {
                self.token(";", "';' or '}'")?;
            }
            let Some(hw) = Hw::ALL.into_iter().find(|hw| self.eat(hw.name())) else {
                return Err(self.expected("reg, lane, warp, cta or offset"));
            };
            if bases.iter().any(|(part, _)| *part == hw) {
                return Err(self.expected("a part that is not listed yet"));
            }
            self.token(":", "':'")?;
            let mut coords = Vec::new();
            while self.eat("(") {
                coords.push(self.list(")")?);
            }
            bases.push((hw, coords));
        }
        self.token("->", "'->'")?;
        self.token("[", "'['")?;
        let extents = self.list("]")?;
        if extents.iter().any(|e| !e.is_power_of_two()) {
            return Err(self.expected("extents that are powers of two"));
        }
        let within = |c: &Coords| c.len() == extents.len() && c.iter().zip(&extents).all(|(v, e)| v < e);
        if !bases.iter().all(|(_, coords)| coords.iter().all(within)) {
            return Err(self.expected("extents that hold every coordinate"));
        }
        let inputs: usize = bases.iter().map(|(_, coords)| coords.len()).sum();
        let rows: u32 = extents.iter().map(|e| e.trailing_zeros()).sum();
        if inputs > 64 || rows > 64 {
            return Err(self.expected("at most 64 hardware bits and 64 coordinate bits"));
        }
        let reps = if self.eat("x") {
            self.token("[", "'['")?;
            self.list("]")?
        } else {
            Coords::from_elem(1, extents.len())
        };
        if reps.len() != extents.len() || reps.contains(&0) {
            return Err(self.expected("one positive repetition count for each dimension"));
        }
        let dim_bits: Vec<u8> = extents.iter().map(|e| e.trailing_zeros() as u8).collect();
        Ok(Layout::new(LinearLayout::from_bases(&dim_bits, &bases), &reps))
    }

    /// Numbers separated by commas up to `close`.
    fn list(&mut self, close: &'static str) -> Result<Coords, ParseLayoutError> {
        let mut values = Coords::new();
        while !self.eat(close) {
            if !values.is_empty() {
                self.token(",", "',' or the end of the list")?;
            }
            self.skip_space();
            let digits = self.text[self.at..].bytes().take_while(u8::is_ascii_digit).count();
            let Ok(value) = self.text[self.at..self.at + digits].parse() else {
                return Err(self.expected("a 32-bit number"));
            };
            self.at += digits;
            values.push(value);
        }
        Ok(values)
    }

    fn token(&mut self, token: &str, expected: &'static str) -> Result<(), ParseLayoutError> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn expected(&self, expected: &'static str) -> ParseLayoutError {
        ParseLayoutError { at: self.at, expected }
    }
}
