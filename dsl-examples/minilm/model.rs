//! The encoder: its weights, its kernels, and the launches that take tokens to embeddings.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kiln::{AnyTensor, Device, ScalarType, Stream, Tensor, s};
use safetensors::{Dtype, SafeTensors};

/// Each kernel of the file as a function.
mod kernels {
    kiln::include_kernels!("minilm.kiln");
}

/// Attention's heads: the one size that the weights do not tell.
const HEADS: i64 = 12;

/// Tokens that go through the layers together, for each thread or multiprocessor: enough to keep it busy, few enough that what one kernel writes is still in
/// the caches when the next reads it. A longer sentence is a batch of its own.
const BATCH_TOKENS: usize = 256;

/// Sentences of at most this many tokens are attended to in tiles of this size.
const SHORT: i64 = 16;

/// A linear layer: weight [in, out], bias [out].
#[derive(Debug)]
struct Linear {
    weight: Tensor<f32>,
    bias: Tensor<f32>,
}

/// Gain and shift of a layer norm.
#[derive(Debug)]
struct Norm {
    gain: Tensor<f32>,
    shift: Tensor<f32>,
}

#[derive(Debug)]
struct Layer {
    /// Queries, keys and values side by side.
    qkv: Linear,
    attended: Linear,
    attended_norm: Norm,
    up: Linear,
    down: Linear,
    down_norm: Norm,
}

/// The file of weights, by the names that the transformers library gives them, and the device they are brought to.
struct Weights<'a> {
    file: SafeTensors<'a>,
    device: &'a Device,
}

impl Weights<'_> {
    /// In the host's memory.
    fn host(&self, name: &str) -> Result<Tensor<f32>> {
        let view = self.file.tensor(name).with_context(|| format!("the weights have no `{name}`"))?;
        ensure!(view.dtype() == Dtype::F32, "`{name}` holds {:?}, not f32", view.dtype());
        let dims: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        AnyTensor::from_bytes(ScalarType::F32, &dims, view.data())?.typed().context("a tensor of f32")
    }

    fn tensor(&self, name: &str) -> Result<Tensor<f32>> {
        Ok(self.host(name)?.to(self.device)?)
    }

    /// Layers of the same inputs side by side. The file has weights as [out, in]; kernels read rows of [in, out].
    fn linear(&self, parts: &[String]) -> Result<Linear> {
        let hosts = |what: &str| parts.iter().map(|at| self.host(&format!("{at}.{what}"))).collect::<Result<Vec<_>>>();
        let (weights, biases) = (hosts("weight")?, hosts("bias")?);
        let width = biases.iter().map(|bias| bias.dims()[0]).sum::<i64>();
        let (weight, bias) = (Tensor::<f32>::zeros(&[weights[0].dims()[1], width])?, Tensor::<f32>::zeros(&[width])?);
        let mut end = 0;
        for (w, b) in weights.iter().zip(&biases) {
            let start = end;
            end += b.dims()[0];
            weight.view(s![.., start..end])?.copy_from(&w.transpose()?)?;
            bias.view(s![start..end])?.copy_from(b)?;
        }
        Ok(Linear { weight: weight.to(self.device)?, bias: bias.to(self.device)? })
    }

    fn norm(&self, at: &str) -> Result<Norm> {
        let part = |name: &str| self.tensor(&format!("{at}.LayerNorm.{name}"));
        Ok(Norm { gain: part("weight")?, shift: part("bias")? })
    }

    fn layer(&self, number: usize) -> Result<Layer> {
        let at = format!("encoder.layer.{number}");
        let linear = |part: &str| self.linear(&[format!("{at}.{part}.dense")]);
        Ok(Layer {
            qkv: self.linear(&["query", "key", "value"].map(|part| format!("{at}.attention.self.{part}")))?,
            attended: linear("attention.output")?,
            attended_norm: self.norm(&format!("{at}.attention.output"))?,
            up: linear("intermediate")?,
            down: linear("output")?,
            down_norm: self.norm(&format!("{at}.output"))?,
        })
    }
}

/// The encoder on a device.
#[derive(Debug)]
pub struct Encoder {
    device: Device,
    /// What launches are given to: on a GPU the host runs ahead of them.
    stream: Stream,
    words: Tensor<f32>,
    places: Tensor<f32>,
    kind: Tensor<f32>,
    embedded_norm: Norm,
    layers: Vec<Layer>,
    /// The kernels' own tiles are for a GPU's registers. A processor packs each block of the weights once a tile: with larger tiles more rows share that.
    large_tiles: bool,
}

impl Encoder {
    /// Reads the model of a directory.
    ///
    /// # Errors
    /// Where files are missing, or are not those of such a model.
    pub fn open(model: &Path, device: Device) -> Result<Encoder> {
        let path = model.join("model.safetensors");
        let place = || format!("cannot read {}", path.display());
        Encoder::new(&std::fs::read(&path).with_context(place)?, device).with_context(place)
    }

    fn new(weights: &[u8], device: Device) -> Result<Encoder> {
        let weights = Weights { file: SafeTensors::deserialize(weights)?, device: &device };
        let number = |name: &str| name.strip_prefix("encoder.layer.")?.split('.').next()?.parse::<usize>().ok();
        let layers = weights.file.names().into_iter().filter_map(number).max().context("the weights have no layers")? + 1;
        Ok(Encoder {
            stream: Stream::new(&device)?,
            words: weights.tensor("embeddings.word_embeddings.weight")?,
            places: weights.tensor("embeddings.position_embeddings.weight")?,
            // Two kinds of tokens tell a pair of texts apart; one text is all of the first.
            kind: weights.tensor("embeddings.token_type_embeddings.weight")?.index(0, 0)?,
            embedded_norm: weights.norm("embeddings")?,
            layers: (0..layers).map(|i| weights.layer(i)).collect::<Result<_>>()?,
            large_tiles: device.cuda_info().is_none() && device.emulator_options().is_none(),
            device,
        })
    }

    /// Elements of an embedding.
    pub fn width(&self) -> i64 {
        self.words.dims()[1]
    }

    /// Embeddings [sentences, width] of sentences given as token ids.
    ///
    /// # Errors
    /// Where a sentence has no token or more than the model has places for, or a token is none of the model's; and those of launches.
    pub fn encode(&self, sentences: &[Vec<u32>]) -> Result<Tensor<f32>> {
        let (vocabulary, places) = (self.words.dims()[0], self.places.dims()[0]);
        for (i, tokens) in sentences.iter().enumerate() {
            let fits = !tokens.is_empty() && tokens.len() as i64 <= places;
            ensure!(fits, "sentence {i} has {} tokens, where 1 to {places} are possible", tokens.len());
            let wrong = tokens.iter().find(|&&id| i64::from(id) >= vocabulary);
            ensure!(wrong.is_none(), "sentence {i} has token {}, of {vocabulary}", wrong.unwrap_or(&0));
        }
        let mut y = Tensor::zeros_on(&self.device, &[sentences.len() as i64, self.width()])?;
        // Sentences of one length together: no program of a grid finds itself past the end of its sentence.
        let mut order: Vec<usize> = (0..sentences.len()).collect();
        order.sort_by_key(|&i| sentences[i].len());
        let mut space = Space::default();
        let most = BATCH_TOKENS * self.device.num_sms().max(1) as usize;
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|&&i| {
                tokens += sentences[i].len();
                tokens <= most
            });
            let (batch, later) = rest.split_at(fitting.count().max(1));
            self.batch(sentences, batch, &mut space, &mut y)?;
            rest = later;
        }
        self.stream.synchronize()?;
        Ok(y)
    }

    /// Some sentences, whose embeddings become the rows of `y` with their numbers.
    fn batch(&self, sentences: &[Vec<u32>], batch: &[usize], space: &mut Space, y: &mut Tensor<f32>) -> Result<()> {
        let ids: Vec<i32> = batch.iter().flat_map(|&i| &sentences[i]).map(|&id| id as i32).collect();
        let tokens = ids.len() as i64;
        let mut starts = vec![0i32];
        starts.extend(batch.iter().scan(0, |end, &i| {
            *end += sentences[i].len() as i32;
            Some(*end)
        }));
        let longest = batch.iter().map(|&i| sentences[i].len() as i32).max().unwrap_or(0);
        let rows = batch.iter().map(|&i| i as i32).collect::<Tensor<i32>>();
        let there = |tensor: Tensor<i32>| tensor.to(&self.device);
        let (ids, starts, rows) = (there(ids.into())?, there(starts.into())?, there(rows)?);

        let width = self.width();
        let [mut h, mut middle, attended] = space.tensors(&self.device, tokens, [width; 3], 0)?;
        let [mut qkv, mut wide] = space.tensors(&self.device, tokens, [3 * width, self.layers[0].up.bias.dims()[0]], 3)?;
        let norm = &self.embedded_norm;
        let embed =
            kernels::embed(&ids, &starts, &self.words, &self.places, &self.kind, &norm.gain, &norm.shift, &mut h, longest);
        embed.launch(&self.stream)?;
        let per_head = width / HEADS;
        let scale = 1.0 / (per_head as f32).sqrt();
        for layer in &self.layers {
            self.linear(&h, &layer.qkv, "std::math::identity", &mut qkv)?;
            let heads = qkv.reshape(&[tokens, 3, HEADS, per_head])?;
            let (q, k, v) = (heads.index(1, 0)?, heads.index(1, 1)?, heads.index(1, 2)?);
            let mut o = attended.reshape(&[tokens, HEADS, per_head])?;
            let mut attend = kernels::attend(&q, &k, &v, &starts, &mut o, longest, scale);
            if i64::from(longest) <= SHORT {
                attend = attend.bm(SHORT).bn(SHORT);
            }
            attend.launch(&self.stream)?;
            self.linear_norm(&attended, &layer.attended, &h, &layer.attended_norm, &mut middle)?;
            self.linear(&middle, &layer.up, "std::activation::gelu", &mut wide)?;
            self.linear_norm(&wide, &layer.down, &middle, &layer.down_norm, &mut h)?;
        }
        kernels::pool(&h, &starts, &rows, y).launch(&self.stream)?;
        Ok(())
    }

    fn linear(&self, x: &Tensor<f32>, linear: &Linear, act: &str, y: &mut Tensor<f32>) -> Result<()> {
        let mut launch = kernels::linear(x, &linear.weight, &linear.bias, y).act(act);
        if self.large_tiles {
            launch = launch.bm(128).bn(128).bk(128);
        }
        launch.launch(&self.stream)?;
        Ok(())
    }

    fn linear_norm(&self, x: &Tensor<f32>, linear: &Linear, rest: &Tensor<f32>, norm: &Norm, y: &mut Tensor<f32>) -> Result<()> {
        let mut launch = kernels::linear_norm(x, &linear.weight, &linear.bias, rest, &norm.gain, &norm.shift, y);
        if self.large_tiles {
            launch = launch.bm(64).bk(64);
        }
        launch.launch(&self.stream)?;
        Ok(())
    }
}

/// Memory for what the layers hand on, kept from batch to batch.
#[derive(Debug, Default)]
struct Space(Vec<Tensor<f32>>);

impl Space {
    /// Tensors [tokens, widths[i]], in the memory of numbers `first` and up, which grows where it has to.
    fn tensors<const N: usize>(
        &mut self,
        device: &Device,
        tokens: i64,
        widths: [i64; N],
        first: usize,
    ) -> Result<[Tensor<f32>; N]> {
        let mut made = vec![];
        for (number, width) in (first..).zip(widths) {
            let elements = tokens * width;
            if self.0.len() == number {
                self.0.push(Tensor::zeros_on(device, &[0])?);
            }
            if self.0[number].dims()[0] < elements {
                self.0[number] = Tensor::zeros_on(device, &[elements])?;
            }
            made.push(self.0[number].slice(0, ..elements)?.reshape(&[tokens, width])?);
        }
        Ok(made.try_into().expect("one a width"))
    }
}

#[cfg(test)]
mod tests {
    use dsl_examples::data::Random;
    use safetensors::tensor::TensorView;

    use super::*;

    /// A model of one small layer, of random weights.
    fn small() -> Vec<u8> {
        let (width, wide) = (4 * HEADS as usize, 60);
        let mut shapes: Vec<(String, Vec<usize>)> = vec![];
        let mut linear = |at: &str, from: usize, to: usize| {
            shapes.push((format!("{at}.weight"), vec![to, from]));
            shapes.push((format!("{at}.bias"), vec![to]));
        };
        let layer = "encoder.layer.0";
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            linear(&format!("{layer}.attention.{part}"), width, width);
        }
        linear(&format!("{layer}.intermediate.dense"), width, wide);
        linear(&format!("{layer}.output.dense"), wide, width);
        for at in ["embeddings".to_owned(), format!("{layer}.attention.output"), format!("{layer}.output")] {
            shapes.extend(["weight", "bias"].map(|part| (format!("{at}.LayerNorm.{part}"), vec![width])));
        }
        for (kind, rows) in [("word", 50), ("position", 40), ("token_type", 2)] {
            shapes.push((format!("embeddings.{kind}_embeddings.weight"), vec![rows, width]));
        }
        let mut random = Random::new(1);
        let values: Vec<Vec<u8>> = shapes
            .iter()
            .map(|(_, shape)| (0..shape.iter().product()).flat_map(|_| (random.normal() as f32 * 0.3).to_le_bytes()).collect())
            .collect();
        let views = shapes
            .iter()
            .zip(&values)
            .map(|((name, shape), bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes of the shape")));
        safetensors::serialize(views, None).expect("a file")
    }

    fn encoded(device: Device, sentences: &[Vec<u32>]) -> Vec<f32> {
        Encoder::new(&small(), device).unwrap().encode(sentences).unwrap().to_vec().unwrap()
    }

    /// Sentences of one token up to all that there are places for.
    fn sentences() -> Vec<Vec<u32>> {
        [7usize, 1, 40, 17, 16, 3].iter().map(|&n| (0..n).map(|i| (i * i % 50) as u32).collect()).collect()
    }

    /// What a GPU would run gives the same, every access looked at.
    #[test]
    fn the_emulator_agrees() {
        let (cpu, emulated) = (encoded(Device::cpu().unwrap(), &sentences()), encoded(Device::emulator(), &sentences()));
        assert!(cpu.iter().any(|v| v.abs() > 0.1));
        let largest = cpu.iter().zip(&emulated).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-5, "{largest}");
    }

    /// A sentence's embedding does not depend on what it shares a batch with, but for the order of sums.
    #[test]
    fn sentences_do_not_see_each_other() {
        let together = encoded(Device::cpu().unwrap(), &sentences());
        for (sentence, y) in sentences().into_iter().zip(together.chunks(4 * HEADS as usize)) {
            let alone = encoded(Device::cpu().unwrap(), &[sentence]);
            let largest = y.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-5, "{largest}");
            let length: f32 = alone.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
        }
    }

    #[test]
    fn sentences_that_are_none_are_refused() {
        let encoder = Encoder::new(&small(), Device::cpu().unwrap()).unwrap();
        let message = |tokens: Vec<u32>| encoder.encode(&[vec![1], tokens]).unwrap_err().to_string();
        assert_eq!(message(vec![]), "sentence 1 has 0 tokens, where 1 to 40 are possible");
        assert_eq!(message(vec![0; 41]), "sentence 1 has 41 tokens, where 1 to 40 are possible");
        assert_eq!(message(vec![3, 50]), "sentence 1 has token 50, of 50");
    }
}
