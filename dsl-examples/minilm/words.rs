//! From text to token ids, by the model's own tokenizer.

use std::path::Path;

use anyhow::{Result, anyhow};
use tokenizers::{Tokenizer, TruncationParams};

/// Tokens of a sentence at most, the two at its ends included: `max_seq_length` of the model's `sentence_bert_config.json`. The rest is cut off.
const LONGEST: usize = 256;

/// The model's tokenizer.
#[derive(Debug)]
pub struct Words(Tokenizer);

impl Words {
    /// Reads the tokenizer of a model's directory.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(model: &Path) -> Result<Words> {
        let path = model.join("tokenizer.json");
        let mut tokenizer = Tokenizer::from_file(&path).map_err(|e| anyhow!("cannot read {}: {e}", path.display()))?;
        // The file asks for padding to 128 tokens.
        tokenizer.with_padding(None);
        let cut = TruncationParams { max_length: LONGEST, ..Default::default() };
        tokenizer.with_truncation(Some(cut)).map_err(|e| anyhow!("{e}"))?;
        Ok(Words(tokenizer))
    }

    /// The token ids of each sentence.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn split(&self, sentences: &[&str]) -> Result<Vec<Vec<u32>>> {
        let encoded = self.0.encode_batch_fast(sentences.to_vec(), true).map_err(|e| anyhow!("{e}"))?;
        Ok(encoded.into_iter().map(|e| e.get_ids().to_vec()).collect())
    }
}
