//! When runners that take turns are told apart.
//!
//! Each lap runs every one of them once, so that what changes between laps (the clock rate, another program) changes nothing between the times of one lap. Runners are compared by
//! the ratios of their times lap by lap: one whose median ratio to the fastest is above 1 with 99 % is out, one within a percent of it with 95 % is its equal.

/// Laps between looks at the standing.
pub const LAPS: usize = 4;
/// Fewest laps that say anything.
pub const LEAST: usize = 8;
/// Most laps.
pub const MOST: usize = 200;
/// Runners within this of each other are equals.
const EQUAL: f64 = 0.01;

/// Where a race stands.
#[derive(Debug, PartialEq)]
pub enum Standing {
    /// These go on.
    Open(Vec<usize>),
    /// One is left, or all that are left are equals.
    Settled,
}

/// The standing of those that are `running`, all of which have run the same number of laps.
pub fn standing(laps: &[Vec<f64>], running: &[usize]) -> Standing {
    let Some(&first) = running.first() else { return Standing::Settled };
    if laps[first].len() < LEAST {
        return Standing::Open(running.to_vec());
    }
    let median = |n: usize| middle(laps[n].clone());
    let best = running.iter().copied().fold(first, |a, b| if median(b) < median(a) { b } else { a });
    let mut left = vec![best];
    let mut equals = true;
    for &n in running.iter().filter(|&&n| n != best) {
        let mut ratios: Vec<f64> = laps[n].iter().zip(&laps[best]).map(|(a, b)| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        let low = ratios[rank(ratios.len(), 2.58)];
        if low <= 1.0 {
            left.push(n);
            let high = ratios[ratios.len() - 1 - rank(ratios.len(), 1.96)];
            equals &= high <= 1.0 + EQUAL;
        }
    }
    left.sort_unstable();
    if left.len() == 1 || equals { Standing::Settled } else { Standing::Open(left) }
}

/// The order statistic below which the median lies with half of what `deviations` of the normal distribution leave out.
fn rank(n: usize, deviations: f64) -> usize {
    ((n as f64 - deviations * (n as f64).sqrt()) / 2.0).floor().max(0.0) as usize
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times with a drift that all runners share, which is larger than what lies between them.
    fn laps(speeds: &[f64], count: usize) -> Vec<Vec<f64>> {
        let drift = |lap: usize| 1.0 + 0.5 * (lap as f64 * 0.3).sin();
        let noise = |n: usize, lap: usize| 1.0 + 0.002 * ((n * 31 + lap * 17) % 11) as f64;
        speeds.iter().enumerate().map(|(n, s)| (0..count).map(|lap| s * drift(lap) * noise(n, lap)).collect()).collect()
    }

    #[test]
    fn the_slower_are_out_in_spite_of_drift() {
        assert_eq!(standing(&laps(&[1.0, 1.05], LEAST - 1), &[0, 1]), Standing::Open(vec![0, 1]));
        assert_eq!(standing(&laps(&[1.0, 1.05], LEAST), &[0, 1]), Standing::Settled);
        // The third is out; the others are not known to be equal after so few laps of these.
        let mut three = laps(&[1.0, 1.0, 1.1], 16);
        three[1].iter_mut().enumerate().for_each(|(lap, time)| *time *= if lap % 2 == 0 { 0.97 } else { 1.03 });
        assert_eq!(standing(&three, &[0, 1, 2]), Standing::Open(vec![0, 1]));
    }

    #[test]
    fn equals_are_settled() {
        let same = vec![vec![1.0; 20], vec![1.005; 20]];
        assert_eq!(standing(&same, &[0, 1]), Standing::Settled);
    }

    /// Equal runners are seldom put out: once in a hundred looks at most.
    #[test]
    fn luck_puts_nobody_out() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let rounds = 2000;
        let mut out = 0;
        for _ in 0..rounds {
            let mut run = || (0..LEAST).map(|_| 1.0 + 0.3 * random() * random()).collect::<Vec<f64>>();
            let laps = vec![run(), run()];
            out += usize::from(standing(&laps, &[0, 1]) == Standing::Settled);
        }
        assert!(out * 50 <= rounds, "{out} of {rounds}");
    }
}
