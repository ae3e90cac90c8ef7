//! Many times of one thing to one figure that can be trusted.
//!
//! Disturbances of a shared machine only ever add time, now and then a lot. So the figure is the median, its interval comes from order statistics (nothing is assumed of the
//! distribution), and samples far above the median, by the spread of the bulk, are thrown out first.

use kiln::tuned::Timing;

use crate::sweep::Effort;

/// So many spreads above the median a sample is disturbed.
const DISTURBED: f64 = 6.0;

/// The median of the samples with its 95 % confidence interval. None where there are none.
pub fn timing(samples: &[f64]) -> Option<Timing> {
    let mut sorted: Vec<f64> = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rough = median(&sorted)?;
    let mut deviations: Vec<f64> = sorted.iter().map(|s| (s - rough).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    // Of normal noise the median deviation is 0.67 of the standard one. Clocks are no finer than half a percent of what they measure here.
    let spread = (1.4826 * median(&deviations)?).max(0.005 * rough);
    let limit = rough + DISTURBED * spread;
    let kept: Vec<f64> = sorted.iter().copied().filter(|s| sorted.len() < 5 || *s <= limit).collect();
    let (low, high) = interval(&kept);
    Some(Timing { median: median(&kept)?, low, high, samples: kept.len() as u32, dropped: (sorted.len() - kept.len()) as u32 })
}

/// Visits whose medians are further apart than this factor are not of one machine.
const VISITS: f64 = 1.1;

/// The samples of two visits together; those of the faster one alone where the other was disturbed as a whole.
pub fn undisturbed(first: Vec<f64>, second: Vec<f64>) -> Vec<f64> {
    let middle = |samples: &[f64]| timing(samples).map(|t| t.median);
    match (middle(&first), middle(&second)) {
        (Some(a), Some(b)) if a > b * VISITS => second,
        (Some(a), Some(b)) if b > a * VISITS => first,
        _ => [first, second].concat(),
    }
}

/// Takes samples until the interval is small enough (half of it, relative to the median, at most `precision`), the median above `hopeless`, or the effort spent. `run` gives
/// a sample and the time after it, `start` is the time before the first.
///
/// # Errors
/// Those of `run`.
pub fn take<E>(
    effort: Effort,
    precision: f64,
    hopeless: f64,
    start: f64,
    mut run: impl FnMut() -> Result<(f64, f64), E>,
) -> Result<Vec<f64>, E> {
    let mut samples = vec![];
    while samples.len() < effort.most as usize {
        let (seconds, now) = run()?;
        samples.push(seconds);
        if samples.len() < effort.least as usize {
            continue;
        }
        let Some(timing) = timing(&samples) else { continue };
        let precise = timing.high - timing.low <= 2.0 * precision * timing.median;
        if precise || timing.median > hopeless || now - start > effort.seconds {
            break;
        }
    }
    Ok(samples)
}

/// The standard deviation of samples relative to what they are of, by the differences of successive ones: neither a drift nor a disturbance counts. 0 where there are none.
pub fn spread(of: &[&Vec<f64>]) -> f64 {
    let mut differences: Vec<f64> = vec![];
    for samples in of {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        if let Some(middle) = median(&sorted) {
            differences.extend(samples.windows(2).map(|pair| (pair[1] - pair[0]).abs() / middle));
        }
    }
    differences.sort_by(f64::total_cmp);
    // Of normal noise the median difference is 0.6745 * sqrt(2) deviations.
    median(&differences).unwrap_or(0.0) / (0.6745 * std::f64::consts::SQRT_2)
}

/// The middle of sorted samples.
fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some((sorted[n / 2 - 1] + sorted[n / 2]) / 2.0),
    }
}

/// The order statistics that hold the median with 95 % (D. Conover, Practical Nonparametric Statistics, 3.2); of fewer than six samples no such pair does, so the
/// range is widened by itself.
fn interval(sorted: &[f64]) -> (f64, f64) {
    let n = sorted.len();
    let (least, most) = (sorted[0], sorted[n - 1]);
    if n < 6 {
        let widened = most - least;
        return ((least - widened).max(least / 2.0), most + widened);
    }
    let rank = ((n as f64 - 1.96 * (n as f64).sqrt()) / 2.0).floor().max(0.0) as usize;
    (sorted[rank], sorted[n - 1 - rank])
}

/// Spearman's rank correlation: 1 where both order the pairs alike, -1 where oppositely. None for fewer than three pairs, or where one side is constant.
pub fn rank_correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (a, b) = (ranks(&a), ranks(&b));
    let mean = (pairs.len() as f64 + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum() };
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    (scale > 0.0).then(|| product(&a, &b) / scale)
}

/// Ranks from 1; equal values share the middle of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut at = 0;
    while at < order.len() {
        let same = order[at..].iter().take_while(|&&i| values[i] == values[order[at]]).count();
        for &i in &order[at..at + same] {
            ranks[i] = at as f64 + (same as f64 + 1.0) / 2.0;
        }
        at += same;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disturbed_samples_do_not_count() {
        let mut samples: Vec<f64> = (0..40).map(|i| 1.0 + 0.001 * f64::from(i % 7)).collect();
        let calm = timing(&samples).unwrap();
        samples.extend([3.0, 10.0, 100.0]);
        let found = timing(&samples).unwrap();
        assert_eq!((found.samples, found.dropped), (40, 3));
        assert_eq!(found.median, calm.median);
        assert!(found.low <= found.median && found.median <= found.high && found.high < 1.01);
        assert_eq!(timing(&[]), None);
        let one = timing(&[2.0]).unwrap();
        assert_eq!((one.low, one.median, one.high), (2.0, 2.0, 2.0));
    }

    #[test]
    fn a_disturbed_visit_does_not_count() {
        let (calm, same, slow) = (vec![1.0, 1.01, 1.02], vec![1.01, 1.03], vec![2.2, 2.21, 2.2]);
        assert_eq!(undisturbed(slow.clone(), calm.clone()), calm);
        assert_eq!(undisturbed(calm.clone(), slow), calm);
        assert_eq!(undisturbed(calm.clone(), same).len(), 5);
        assert_eq!(undisturbed(vec![], calm.clone()), calm);
    }

    /// The interval holds the true median about as often as it says.
    #[test]
    fn the_interval_covers_the_median() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        for n in [6, 10, 25, 60] {
            let rounds = 2000;
            // An exponential tail above 1: like a machine's noise; its median is 1 + ln 2 / 100.
            let truth = 1.0 + std::f64::consts::LN_2 / 100.0;
            let covered = (0..rounds)
                .filter(|_| {
                    let samples: Vec<f64> = (0..n).map(|_| 1.0 - random().max(1e-12).ln() / 100.0).collect();
                    let found = timing(&samples).unwrap();
                    found.low <= truth && truth <= found.high
                })
                .count();
            assert!(covered as f64 > 0.92 * f64::from(rounds), "{n} samples: {covered} of {rounds}");
        }
    }

    #[test]
    fn spread_is_the_deviation() {
        let mut state = 3u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        // The sum of twelve uniform numbers less 6 is normal enough, with deviation 1.
        let mut normal = || (0..12).map(|_| random()).sum::<f64>() - 6.0;
        let first: Vec<f64> = (0..300).map(|i| (2.0 + 0.001 * f64::from(i)) * (1.0 + 0.02 * normal())).collect();
        let second: Vec<f64> = (0..300).map(|i| 5e-3 * (1.0 + 0.02 * normal()) * if i % 20 == 0 { 4.0 } else { 1.0 }).collect();
        let found = spread(&[&first, &second]);
        assert!((0.017..0.024).contains(&found), "{found}");
        assert_eq!(spread(&[&vec![1.0]]), 0.0);
    }

    #[test]
    fn ranks_correlate() {
        let same: Vec<(f64, f64)> = (1..20).map(|i| (f64::from(i), f64::from(i * i))).collect();
        assert!((rank_correlation(&same).unwrap() - 1.0).abs() < 1e-12);
        let opposite: Vec<(f64, f64)> = (1..20).map(|i| (f64::from(i), -f64::from(i))).collect();
        assert!((rank_correlation(&opposite).unwrap() + 1.0).abs() < 1e-12);
        // By hand: ranks 1 2 3 4 against 2 1 4 3, sum of squared differences 4: 1 - 6 * 4 / 60.
        let mixed = [(1.0, 2.0), (2.0, 1.0), (3.0, 4.0), (4.0, 3.0)];
        assert!((rank_correlation(&mixed).unwrap() - 0.6).abs() < 1e-12);
        assert_eq!(rank_correlation(&[(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)]), None);
        assert_eq!(rank_correlation(&[(1.0, 1.0)]), None);
    }
}
