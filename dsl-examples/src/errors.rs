//! How far results are from a reference.

use std::fmt::Display;

use anyhow::{Result, bail};

/// Relative distance of neighbouring f32: 2^-23. A rounding is wrong by at most half of it.
pub const ULP: f64 = f32::EPSILON as f64;

/// Differences between a result and its reference.
#[derive(Debug, Default)]
pub struct Errors {
    seen: usize,
    wrong: usize,
    largest: f64,
    /// Largest error as a share of what was allowed for its element; None while nothing but equality was.
    share: Option<f64>,
    /// The first element that is wrong, in words.
    first: Option<String>,
}

impl Errors {
    /// An element that may be wrong by `allowed`. Infinities and, where nothing is allowed, all numbers have to be equal.
    pub fn see(&mut self, place: impl Display, found: f64, expected: f64, allowed: f64) {
        self.seen += 1;
        let error = if found == expected { 0.0 } else { (found - expected).abs() };
        self.largest = if error > self.largest || error.is_nan() { error } else { self.largest };
        if allowed > 0.0 {
            self.share = Some(self.share.unwrap_or(0.0).max(error / allowed));
        }
        let fine = error <= allowed; // false for NaN
        if !fine {
            self.wrong += 1;
            self.first.get_or_insert_with(|| format!("{place}: {found} instead of {expected} (allowed: {allowed:.1e})"));
        }
    }

    /// The largest difference.
    pub fn largest(&self) -> f64 {
        self.largest
    }

    /// The largest difference as a share of what was allowed; None where equality was asked for.
    pub fn share(&self) -> Option<f64> {
        self.share
    }

    /// # Errors
    /// Where an element is wrong, or none was looked at.
    pub fn verdict(&self) -> Result<()> {
        match &self.first {
            Some(first) => bail!("{} of {} elements are wrong, the first at {first}", self.wrong, self.seen),
            None if self.seen == 0 => bail!("nothing was compared"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(found: f64, expected: f64, allowed: f64) -> bool {
        let mut errors = Errors::default();
        errors.see("here", found, expected, allowed);
        errors.verdict().is_ok()
    }

    #[test]
    fn wrong_elements_are_found() {
        assert!(verdict(1.0, 1.0, 0.0) && verdict(1.1, 1.0, 0.2));
        assert!(verdict(f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0));
        assert!(!verdict(1.1, 1.0, 0.0) && !verdict(1.3, 1.0, 0.2));
        assert!(!verdict(f64::NAN, 1.0, 0.2) && !verdict(1.0, f64::NAN, 0.2));
        assert!(!verdict(f64::INFINITY, 1.0, 0.2) && !verdict(1.0, f64::INFINITY, 0.2));
        assert!(!verdict(1.0, 1.5, f64::NAN));
    }

    #[test]
    fn comparing_nothing_is_no_success() {
        assert!(Errors::default().verdict().is_err());
    }
}
