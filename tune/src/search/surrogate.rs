//! A regression of time over configurations: a Gaussian process over the logarithms of the swept values, whose mean is the cost model's prediction (C. Rasmussen, C. Williams,
//! Gaussian Processes for Machine Learning, 2.2 and 2.7). Spaces have hundreds of points and tens of them are measured, so that plain linear algebra does.

use std::collections::BTreeMap;

use crate::sweep::Lab;

/// Distance over which times resemble each other, in widths of an axis.
const LENGTH: f64 = 0.5;
/// Width of the cost model's axis: differences of cost count for more than those of a swept value.
const COST: f64 = 2.0;
/// Relative noise of a glance.
const NOISE: f64 = 0.05;

/// Configurations as points: a coordinate for each swept name, the logarithms of its values spread over 0..1, and one for what the cost model makes of it: neighbours that it
/// tells apart (one tile divides the sizes, the next does not) need not resemble each other.
pub struct Features {
    points: Vec<Vec<f64>>,
    /// Number of the value among those of its axis; None where the configuration has no such name.
    steps: Vec<Vec<Option<usize>>>,
}

impl Features {
    /// Of all configurations of a sweep.
    pub fn of(lab: &Lab<'_>) -> Features {
        let configs: Vec<_> = (0..lab.len()).map(|i| lab.config(i)).collect();
        let mut axes: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for (name, value) in configs.iter().flat_map(|c| &c.0) {
            axes.entry(name).or_default().push(*value);
        }
        for values in axes.values_mut() {
            values.sort_unstable();
            values.dedup();
        }
        let height = |v: i64| (v.unsigned_abs() as f64 + 1.0).log2() * (v.signum() as f64);
        let coordinate = |values: &[i64], value: i64| {
            let (low, high) = (height(values[0]), height(values[values.len() - 1]));
            if high > low { (height(value) - low) / (high - low) } else { 0.0 }
        };
        let costs: Vec<f64> = (0..lab.len()).map(|i| cost(lab, i)).collect();
        let (low, high) = costs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &c| (low.min(c), high.max(c)));
        let of_cost = |c: f64| if high > low { COST * (c - low) / (high - low) } else { 0.0 };
        let points = configs
            .iter()
            .zip(&costs)
            .map(|(config, cost)| {
                let of_axes = axes.iter().map(|(name, values)| config.0.get(*name).map_or(-1.0, |v| coordinate(values, *v)));
                of_axes.chain([of_cost(*cost)]).collect()
            })
            .collect();
        let steps = configs
            .iter()
            .map(|c| axes.iter().map(|(name, values)| c.0.get(*name).and_then(|v| values.binary_search(v).ok())).collect())
            .collect();
        Features { points, steps }
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        self.points[a].iter().zip(&self.points[b]).map(|(x, y)| (x - y) * (x - y)).sum()
    }

    /// The one of `open` that is farthest from all of `taken`; the first in order among equals.
    pub fn farthest(&self, open: &[usize], taken: &[usize]) -> Option<usize> {
        let gap = |i: usize| taken.iter().map(|&t| self.distance(i, t)).fold(f64::INFINITY, f64::min);
        let rest = open.iter().copied().filter(|i| !taken.contains(i));
        rest.fold(None, |found: Option<(f64, usize)>, i| match found {
            Some((most, _)) if gap(i) <= most => found,
            _ => Some((gap(i), i)),
        })
        .map(|(_, i)| i)
    }

    /// Whether two configurations differ by one step of one axis.
    pub fn are_neighbours(&self, a: usize, b: usize) -> bool {
        let apart = self.steps[a].iter().zip(&self.steps[b]).filter(|(x, y)| x != y);
        let distances: Vec<Option<usize>> = apart.map(|(x, y)| Some((*x)?.abs_diff((*y)?))).collect();
        distances == [Some(1)]
    }

    fn covariance(&self, a: usize, b: usize) -> f64 {
        (-self.distance(a, b) / (2.0 * LENGTH * LENGTH)).exp()
    }
}

/// The fitted regression.
pub struct Surrogate {
    known: Vec<usize>,
    /// Cholesky factor of the covariance of the known points, row-major.
    factor: Vec<f64>,
    /// The inverse covariance times the residuals.
    weights: Vec<f64>,
    /// `intercept + slope * ln(prediction)`.
    intercept: f64,
    slope: f64,
    amplitude: f64,
    best: f64,
}

impl Surrogate {
    /// Fits what has been measured. None for fewer than three times.
    pub fn fit(lab: &Lab<'_>, features: &Features) -> Option<Surrogate> {
        let known: Vec<usize> = (0..lab.len()).filter(|&i| lab.likely(i).is_some_and(|t| t > 0.0)).collect();
        if known.len() < 3 {
            return None;
        }
        let times: Vec<f64> = known.iter().filter_map(|&i| lab.likely(i)).map(f64::ln).collect();
        let costs: Vec<f64> = known.iter().map(|&i| cost(lab, i)).collect();
        let (intercept, slope) = line(&costs, &times);
        let residuals: Vec<f64> = costs.iter().zip(&times).map(|(c, t)| t - intercept - slope * c).collect();
        let amplitude = (residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len() as f64).max(1e-4);
        let n = known.len();
        let mut factor = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let own = if i == j { NOISE * NOISE } else { 0.0 };
                let covariance = amplitude * features.covariance(known[i], known[j]) + own;
                let sum: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
                factor[i * n + j] =
                    if i == j { (covariance - sum).max(1e-12).sqrt() } else { (covariance - sum) / factor[j * n + j] };
            }
        }
        let half = forward(&factor, &residuals);
        let mut weights = half;
        for i in (0..n).rev() {
            let sum: f64 = (i + 1..n).map(|k| factor[k * n + i] * weights[k]).sum();
            weights[i] = (weights[i] - sum) / factor[i * n + i];
        }
        let best = times.iter().copied().fold(f64::INFINITY, f64::min);
        Some(Surrogate { known, factor, weights, intercept, slope, amplitude, best })
    }

    fn covariances(&self, features: &Features, i: usize) -> Vec<f64> {
        self.known.iter().map(|&k| self.amplitude * features.covariance(i, k)).collect()
    }

    /// The expected logarithm of a configuration's time.
    pub fn mean(&self, features: &Features, lab: &Lab<'_>, i: usize) -> f64 {
        let pull: f64 = self.covariances(features, i).iter().zip(&self.weights).map(|(c, w)| c * w).sum();
        self.intercept + self.slope * cost(lab, i) + pull
    }

    /// How much better than the best so far a configuration is expected to be, in the logarithm of time, counting only where it is better.
    pub fn expected_gain(&self, features: &Features, lab: &Lab<'_>, i: usize) -> f64 {
        let covariances = self.covariances(features, i);
        let half = forward(&self.factor, &covariances);
        let variance = (self.amplitude - half.iter().map(|h| h * h).sum::<f64>()).max(1e-12);
        let (gain, deviation) = (self.best - self.mean(features, lab, i), variance.sqrt());
        let z = gain / deviation;
        gain * normal_below(z) + deviation * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }
}

/// The model's logarithm of a cost; 0 where it has none.
fn cost(lab: &Lab<'_>, i: usize) -> f64 {
    lab.predicted(i).filter(|p| *p > 0.0 && p.is_finite()).map_or(0.0, f64::ln)
}

/// The line of least squares, never falling: a model that is upside down is not to be followed.
fn line(x: &[f64], y: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let spread: f64 = x.iter().map(|v| (v - mean_x).powi(2)).sum();
    let product: f64 = x.iter().zip(y).map(|(a, b)| (a - mean_x) * (b - mean_y)).sum();
    let slope = if spread > 1e-12 { (product / spread).clamp(0.0, 2.0) } else { 0.0 };
    (mean_y - slope * mean_x, slope)
}

/// Solves with the lower factor.
fn forward(factor: &[f64], values: &[f64]) -> Vec<f64> {
    let n = values.len();
    let mut out = vec![0.0; n];
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| factor[i * n + k] * out[k]).sum();
        out[i] = (values[i] - sum) / factor[i * n + i];
    }
    out
}

/// The normal distribution function by its logistic approximation, right to 0.01: gains are only compared.
fn normal_below(z: f64) -> f64 {
    1.0 / (1.0 + (-1.702 * z).exp())
}
