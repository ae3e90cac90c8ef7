//! What the demo's results have to be: computed here in f64, from the numbers that the kernels were given, without any of Kiln.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// A matrix of f32 from a `.npy` file.
pub struct Matrix {
    rows: usize,
    columns: usize,
    elements: Vec<f32>,
}

impl Matrix {
    /// Reads little-endian f32 in row-major order.
    pub fn read(path: &Path) -> Result<Matrix> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        parse(&bytes).with_context(|| format!("{} is no matrix of f32", path.display()))
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.elements[i * self.columns..(i + 1) * self.columns]
    }
}

fn parse(bytes: &[u8]) -> Option<Matrix> {
    let rest = bytes.strip_prefix(b"\x93NUMPY\x01\x00")?;
    let (length, rest) = rest.split_at_checked(2)?;
    let (header, data) = rest.split_at_checked(usize::from(u16::from_le_bytes(length.try_into().ok()?)))?;
    let header = std::str::from_utf8(header).ok()?;
    if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return None;
    }
    let (_, shape) = header.split_once("'shape': (")?;
    let extents = shape.split_once(')')?.0.split(',').map(str::trim).filter(|s| !s.is_empty());
    let [rows, columns] = extents.map(|s| s.parse::<usize>().ok()).collect::<Option<Vec<_>>>()?[..] else { return None };
    let elements: Vec<f32> = data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    (elements.len() == rows * columns).then_some(Matrix { rows, columns, elements })
}

/// Every element of `y` against softmax of the rows of `x`. Gives back the largest error relative to the largest element of the row.
pub fn check_softmax(x: &Matrix, y: &Matrix) -> Result<f64> {
    if (x.rows, x.columns) != (y.rows, y.columns) {
        bail!("the result has another shape than the input");
    }
    let mut worst = 0.0f64;
    for i in 0..x.rows {
        let top = x.row(i).iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let e: Vec<f64> = x.row(i).iter().map(|v| (f64::from(*v) - f64::from(top)).exp()).collect();
        let sum: f64 = e.iter().sum();
        for (j, (e, found)) in e.iter().zip(y.row(i)).enumerate() {
            let error = (e / sum - f64::from(*found)).abs() * sum;
            // exp2 of the fast path is good to 2 ulp, and its argument is rounded: |x| ulps of f32 at most 2^-19 here.
            if error.is_nan() || error > 1e-5 {
                bail!("row {i}, column {j}: {found} instead of {}", e / sum);
            }
            worst = worst.max(error);
        }
    }
    Ok(worst)
}

/// Elements of `c`, spread over all of it, against `a @ b`. Gives back the largest error relative to the sum of magnitudes.
pub fn check_matmul(a: &Matrix, b: &Matrix, c: &Matrix) -> Result<f64> {
    if a.columns != b.rows || (c.rows, c.columns) != (a.rows, b.columns) {
        bail!("the shapes do not fit");
    }
    let mut worst = 0.0f64;
    // A step without a common divisor with the number of columns visits every row and column.
    for at in (0..c.rows * c.columns).step_by(251) {
        let (i, j) = (at / c.columns, at % c.columns);
        let terms = || a.row(i).iter().enumerate().map(|(k, v)| f64::from(*v) * f64::from(b.row(k)[j]));
        let (expected, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
        let found = f64::from(c.row(i)[j]);
        let error = (found - expected).abs() / size.max(f64::MIN_POSITIVE);
        // K roundings of f32, whose errors mostly cancel: K * 2^-24 would be the bound of the worst order.
        let bound = a.columns as f64 * 2.0f64.powi(-24);
        if error.is_nan() || error > bound {
            bail!("row {i}, column {j}: {found} instead of {expected}");
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize, elements: &[f32]) -> Matrix {
        Matrix { rows, columns, elements: elements.to_vec() }
    }

    #[test]
    fn wrong_results_are_found() {
        let x = matrix(1, 2, &[0.0, 3f32.ln()]);
        assert!(check_softmax(&x, &matrix(1, 2, &[0.25, 0.75])).is_ok());
        assert!(check_softmax(&x, &matrix(1, 2, &[0.75, 0.25])).is_err());
        assert!(check_softmax(&x, &matrix(1, 2, &[f32::NAN, 0.75])).is_err());
        let (a, b) = (matrix(1, 2, &[1.0, 2.0]), matrix(2, 1, &[3.0, 4.0]));
        assert!(check_matmul(&a, &b, &matrix(1, 1, &[11.0])).is_ok());
        assert!(check_matmul(&a, &b, &matrix(1, 1, &[11.001])).is_err());
        assert!(check_matmul(&a, &b, &matrix(2, 1, &[11.0, 0.0])).is_err());
    }

    #[test]
    fn files_are_read_or_refused() {
        let mut file = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1,2,), }".to_vec();
        file.resize(10 + 0x46, b' ');
        file.extend_from_slice(&1.5f32.to_le_bytes());
        assert!(parse(&file).is_none());
        file.extend_from_slice(&2.5f32.to_le_bytes());
        assert_eq!(parse(&file).unwrap().row(0), [1.5, 2.5]);
        assert!(parse(&file[..30]).is_none());
    }
}
