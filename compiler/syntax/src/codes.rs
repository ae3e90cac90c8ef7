//! The registry of diagnostic codes. One file a range; one entry makes a code: a name for the compiler's source, the code itself, a title,
//! and the text of `kiln explain CODE` in markdown with an erroneous and a fixed example.
//!
//! | range | about |
//! |---|---|
//! | K00xx | characters and literals |
//! | K01xx | syntax |
//! | K02xx | names, items, modules |
//! | K03xx | types and shapes |
//! | K04xx | constants and generics |
//! | K05xx | memory, slices, views |
//! | K06xx | control flow |
//! | K07xx | attributes, schedules, tuning |
//! | K08xx | arguments of builtins |
//! | K09xx | limits of a target |
//! | K10xx | launches |
//! | K2xxx | warnings |

use std::fmt;

/// A code of the registry, such as `K0301`. Made only by an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Code(&'static str);

impl Code {
    /// The code as users see it.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// The registry's entry.
    pub fn entry(self) -> &'static Entry {
        find(self.0).expect("every code has an entry: both are made by one macro")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What the registry knows of a code.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// One line.
    pub title: &'static str,
    /// Markdown with examples; blocks that are wrong on purpose are tagged `kiln,error`.
    pub explanation: &'static str,
}

/// Entries of one range: `NAME = "K0301", "title", "explanation";` makes `pub const NAME: Code` and its entry.
macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $explanation:literal;)*) => {
        $(
            #[doc = concat!("`", $code, "`: ", $title, ".")]
            pub const $name: super::Code = super::Code($code);
        )*
        pub(super) static ENTRIES: &[super::Entry] = &[
            $(super::Entry { code: $name, title: $title, explanation: $explanation },)*
        ];
    };
}

/// Names the ranges' files once: declares them, re-exports their codes, and chains their entries.
macro_rules! ranges {
    ($($range:ident),* $(,)?) => {
        $(
            mod $range;
            #[allow(unused_imports, reason = "a range may be empty")]
            pub use $range::*;
        )*
        /// Every entry, range by range.
        pub fn all() -> impl Iterator<Item = &'static Entry> {
            static RANGES: &[&[Entry]] = &[$($range::ENTRIES),*];
            RANGES.iter().copied().flatten()
        }
    };
}

ranges![lexical, syntax, names, types, constants, memory, control, attributes, builtins, targets, launch, warnings];

/// The entry of a code as a user writes it; small letters are accepted.
pub fn find(code: &str) -> Option<&'static Entry> {
    all().find(|e| e.code.0.eq_ignore_ascii_case(code))
}
