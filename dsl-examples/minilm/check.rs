//! The embeddings against those that onnxruntime computed (`reference.safetensors`, made by `reference.py`).

use anyhow::{Context, Result, bail, ensure};
use dsl_examples::data::path;
use kiln::Tensor;
use safetensors::{Dtype, SafeTensors};

/// How far the direction of an embedding may be from the reference's, as 1 - cosine.
const ALLOWED: f64 = 1e-4;

/// Token ids and embeddings of the lines of `sentences.txt`.
#[derive(Debug)]
pub struct Reference {
    /// Token ids of each sentence.
    pub tokens: Vec<Vec<u32>>,
    /// Its embedding.
    embeddings: Vec<Vec<f32>>,
    /// What made the file, with versions.
    pub made_by: String,
}

impl Reference {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read, or is not what `reference.py` writes.
    pub fn open() -> Result<Reference> {
        let file = path("minilm/reference.safetensors");
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let (_, head) = SafeTensors::read_metadata(&bytes)?;
        let made_by = head.metadata().as_ref().and_then(|m| m.get("made_by")).context("the reference names no versions")?.clone();
        let arrays = SafeTensors::deserialize(&bytes)?;
        let words = |name: &str, dtype: Dtype| -> Result<Vec<[u8; 4]>> {
            let array = arrays.tensor(name)?;
            ensure!(array.dtype() == dtype, "`{name}` of the reference holds {:?}", array.dtype());
            Ok(array.data().as_chunks::<4>().0.to_vec())
        };
        let ids: Vec<u32> = words("ids", Dtype::U32)?.into_iter().map(u32::from_le_bytes).collect();
        let starts: Vec<usize> = words("starts", Dtype::U32)?.into_iter().map(|b| u32::from_le_bytes(b) as usize).collect();
        let width = arrays.tensor("embeddings")?.shape()[1];
        let embeddings: Vec<f32> = words("embeddings", Dtype::F32)?.into_iter().map(f32::from_le_bytes).collect();
        let sentence =
            |pair: &[usize]| ids.get(pair[0]..pair[1]).map(<[u32]>::to_vec).context("the reference's starts are wrong");
        Ok(Reference {
            tokens: starts.windows(2).map(sentence).collect::<Result<_>>()?,
            embeddings: embeddings.chunks(width).map(<[f32]>::to_vec).collect(),
            made_by,
        })
    }

    /// Compares embeddings. Gives back the largest 1 - cosine and the largest difference of an element.
    ///
    /// # Errors
    /// Where there are more or fewer sentences than 50 or the reference's, or one is further away than allowed.
    pub fn compare(&self, embeddings: &Tensor<f32>) -> Result<(f64, f64)> {
        let width = embeddings.dims()[1] as usize;
        let found = embeddings.to_vec()?;
        let count = found.len() / width;
        ensure!(count == self.embeddings.len() && count >= 50, "{count} sentences against {}", self.embeddings.len());
        let (mut away, mut difference) = (0.0f64, 0.0f64);
        for (i, (y, expected)) in found.chunks(width).zip(&self.embeddings).enumerate() {
            ensure!(y.len() == expected.len(), "embeddings of {width} elements against {}", expected.len());
            let distance = 1.0 - cosine(y, expected);
            // Not `>`: a NaN is wrong too.
            if !matches!(distance.partial_cmp(&ALLOWED), Some(std::cmp::Ordering::Less)) {
                bail!("sentence {i}: 1 - cosine is {distance:.1e}, and {ALLOWED:.0e} is allowed");
            }
            away = away.max(distance);
            difference = y.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())).fold(difference, f64::max);
        }
        Ok((away, difference))
    }
}

/// The cosine of the angle between two vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_embeddings_are_refused() {
        let reference = Reference::open().unwrap();
        let dims = [reference.embeddings.len() as i64, 384];
        let all: Vec<f32> = reference.embeddings.concat();
        let (away, difference) = reference.compare(&Tensor::from_vec(all.clone(), &dims).unwrap()).unwrap();
        assert!(away < 1e-12 && difference == 0.0);
        for wrong in [f32::NAN, 0.2] {
            let mut other = all.clone();
            other[384 * 7 + 3] += wrong;
            let message = reference.compare(&Tensor::from_vec(other, &dims).unwrap()).unwrap_err().to_string();
            assert!(message.contains("sentence 7"), "{message}");
        }
        assert!(reference.compare(&Tensor::zeros(&[3, 384]).unwrap()).is_err());
    }
}
