//! The standard library of Kiln, written in Kiln itself: this crate only embeds its sources.
//!
//! `use std::math::exp;` names a module and an item of it. Every public item of [`PRELUDE`] modules is in scope without a `use`.

#![deny(missing_docs)]

/// Module paths (below `std`) and their sources.
pub const MODULES: &[(&str, &str)] = &[
    ("math", include_str!("std/math.kiln")),
    ("random", include_str!("std/random.kiln")),
    ("activation", include_str!("std/activation.kiln")),
];

/// Items in scope everywhere: (module, name).
pub const PRELUDE: &[(&str, &str)] = &[
    ("math", "exp"),
    ("math", "exp2"),
    ("math", "log"),
    ("math", "log2"),
    ("math", "log1p"),
    ("math", "expm1"),
    ("math", "sin"),
    ("math", "cos"),
    ("math", "tan"),
    ("math", "tanh"),
    ("math", "rsqrt"),
    ("math", "erf"),
    ("math", "pow"),
    ("math", "sigmoid"),
    ("math", "identity"),
    ("random", "philox"),
    ("random", "rand"),
    ("random", "randn"),
    ("random", "randint"),
];

/// The source of `std::<path>`.
pub fn module(path: &str) -> Option<&'static str> {
    MODULES.iter().find(|(name, _)| *name == path).map(|(_, source)| *source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prelude_item_is_in_its_module() {
        for (path, name) in PRELUDE {
            let source = module(path).unwrap_or_else(|| panic!("no module {path}"));
            assert!(source.contains(&format!("fn {name}<")), "std::{path} lacks {name}");
        }
    }
}
