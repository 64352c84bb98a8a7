//! Published models: a chat model in 4 bits that is loaded, reads a prompt and writes, one text and four at a time, and a sentence encoder.
//! Times are a token's, but for loading. What the chat model takes of memory, running and being tuned by adapters, is that of processes that do
//! nothing else. Where the files are not in the data folder nothing is measured.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cairn_autograd::no_grad;
use cairn_datasets::DataDir;
use cairn_nn::generate::Decoder;
use cairn_nn::language::LanguageModel;
use cairn_nn::models::{self, Network};
use cairn_nn::{Context, KeyValueCache};
use cairn_tensor::Tensor;

use super::{Bench, FRAMEWORK, Recorder, Share, best_seconds, hundredths};
use crate::alone::{self, Job, READ};
use crate::output::note;

/// See the module.
pub(super) const LM: Bench = Bench { name: "lm", run: language };
/// The encoder.
pub(super) const EMBED: Bench = Bench { name: "embed", run: embed };

const CHAT: &str = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
const SENTENCES: &str = "models/all-MiniLM-L6-v2";
/// Tokens of the prompt, and those that are written after it.
const PROMPT: usize = 512;
const WRITTEN: usize = 64;
/// How often.
const ROUNDS: usize = 4;
/// Texts at a time.
const STREAMS: [usize; 2] = [1, 4];
/// Sentences at a time, of so many tokens.
const BATCHES: [usize; 2] = [1, 32];
const SENTENCE: usize = 128;
/// What the program may be long.
const PROGRAM: u64 = 20_000_000;

fn find(path: &str) -> Option<PathBuf> {
    let found = DataDir::resolve(None).path().join(path);
    if !found.exists() {
        note(format_args!("{} is not there, and not measured", found.display()));
    }
    Some(found).filter(|found| found.exists())
}

fn language(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    program(recorder)?;
    let Some(path) = find(CHAT) else { return Ok(()) };
    let load = best_seconds(|| {
        LanguageModel::load(&path)?;
        Ok(())
    })?;
    recorder.operation("lm/load", load, Share::default())?;
    memory(recorder, &path)?;
    let Network::Causal(model) = models::load(path)? else { anyhow::bail!("an encoder writes no texts") };
    let ids: Vec<u32> = (0..PROMPT as u32).map(|i| (7 + 31 * i) % 40_000 + 100).collect();
    let prompt = best_seconds(|| {
        model.next(&[&ids], &mut model.cache(1, PROMPT)?)?;
        Ok(())
    })?;
    recorder.operation("lm/prompt 512", prompt / PROMPT as f64, Share::default())?;
    for streams in STREAMS {
        let cache = model.cache(streams, PROMPT + WRITTEN * ROUNDS)?;
        let seconds = written(&model, cache, &ids)?;
        recorder.operation(&format!("lm/writing x{streams}"), seconds, Share::default())?;
    }
    Ok(())
}

/// Memory after 64 tokens, beside the file and the keys and values; and the most of it in training, beside that of reading as many tokens.
fn memory(recorder: &mut Recorder<'_>, path: &Path) -> anyhow::Result<()> {
    let told = |job| alone::told(job, path);
    let (write, read, tune) = (told(Job::Write)?, told(Job::Read)?, told(Job::Tune)?);
    let (Some(resident), Some(reading), Some(tuning)) = (write.resident, read.most, tune.most) else {
        note("the system does not tell how much memory a process has had");
        return Ok(());
    };
    bytes(recorder, "lm/memory of writing", resident, "the file and the cache", write.file + write.cache)?;
    bytes(recorder, &format!("lm/most memory of tuning {READ}"), tuning, "that of reading as many", reading)
}

/// The program as it is given away, if it was built here.
fn program(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let here = std::env::current_exe()?;
    let built = here.ancestors().nth(2).map(|target| target.join("dist/cairn"));
    match built.as_ref().and_then(|path| path.metadata().ok()) {
        Some(found) => bytes(recorder, "cairn, the program", found.len(), "20 MB", PROGRAM),
        None => {
            note(
                "target/dist/cairn is not there, and not measured: cargo build --profile dist --features serve --bin cairn",
            );
            Ok(())
        }
    }
}

/// A line of bytes, and of how many times as many as others they are.
fn bytes(recorder: &mut Recorder<'_>, what: &str, bytes: u64, name: &str, beside: u64) -> anyhow::Result<()> {
    let times = hundredths(bytes as f64 / beside.max(1) as f64);
    if recorder.json {
        let line = serde_json::json!({
            "framework": FRAMEWORK, "op": what, "bytes": bytes, "beside": name, "bytes_beside": beside, "times": times,
            "threads": recorder.threads,
        });
        writeln!(recorder.out, "{line}")?;
    } else {
        let [megabytes, others] = [bytes, beside].map(|bytes| bytes as f64 / 1e6);
        writeln!(recorder.out, "{what}: {megabytes:.1} MB, {times:.2} times {name} ({others:.1} MB)")?;
    }
    Ok(())
}

/// The seconds of a token, the best of a few times.
fn written<M: Decoder<State = KeyValueCache>>(
    model: &M,
    mut cache: KeyValueCache,
    ids: &[u32],
) -> anyhow::Result<f64> {
    let streams = cache.rows();
    model.next(&vec![ids; streams], &mut cache)?;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for token in 0..WRITTEN as u32 {
            model.next(&vec![&[100 + token][..]; streams], &mut cache)?;
        }
        best = best.min(began.elapsed().as_secs_f64() / (WRITTEN * streams) as f64);
    }
    Ok(best)
}

fn embed(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let Some(path) = find(SENTENCES) else { return Ok(()) };
    let Network::Encoder(model) = models::load(path)? else {
        anyhow::bail!("a model that writes texts embeds none")
    };
    for batch in BATCHES {
        let ids: Vec<u32> = (0..(batch * SENTENCE) as u32).map(|i| 1000 + 31 * i % 20_000).collect();
        let ids = Tensor::from_vec(ids, [batch, SENTENCE])?;
        let seconds = best_seconds(|| {
            no_grad(|| model.forward(&ids, &mut Context::eval()))?;
            Ok(())
        })?;
        recorder.operation(
            &format!("embed/128 x{batch}"),
            seconds / (batch * SENTENCE) as f64,
            Share::default(),
        )?;
    }
    Ok(())
}
