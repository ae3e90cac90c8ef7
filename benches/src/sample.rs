//! Times of repetitions.

use std::time::Instant;

/// Seconds of repetitions of one piece of work.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds repetitions.
    pub fn extend(&mut self, seconds: impl IntoIterator<Item = f64>) {
        self.0.extend(seconds);
        self.0.sort_by(f64::total_cmp);
    }

    /// Times `work` once.
    pub fn measure(&mut self, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        self.extend([start.elapsed().as_secs_f64()]);
    }

    /// The shortest, in seconds; NaN without repetitions.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The median, in seconds; NaN without repetitions.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Whether there are no repetitions.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    #[test]
    fn order_statistics() {
        let mut sample = Sample::default();
        assert!(sample.is_empty() && sample.min().is_nan());
        sample.extend([3.0, 1.0]);
        sample.extend([2.0]);
        assert_eq!((sample.min(), sample.median()), (1.0, 2.0));
    }
}
