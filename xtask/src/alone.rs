//! A published chat model in a process of its own, whose memory is looked at: what a benchmark has had before would count, too.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use cairn_autograd::no_grad;
use cairn_nn::adapters::Lora;
use cairn_nn::language::{LanguageModel, Tuning, batches};
use cairn_nn::{Context, KeyValueCache, Model as _};
use cairn_optim::{AdamW, Optimizer as _};
use cairn_tensor::rng;
use serde::{Deserialize, Serialize};

use crate::memory;

/// The name of the task.
const TASK: &str = "alone";
/// Tokens that are written.
const WRITTEN: usize = 64;
/// Tokens that are read before, where a long prompt is read, and that a step of training learns, as `cairn finetune` does unless told
/// otherwise.
pub(crate) const READ: usize = 1024;
/// Texts of a step of training.
const TEXTS: usize = 4;
/// The optimiser has all of its memory from the first step on, and the second takes what the first left.
const STEPS: u64 = 2;

/// What the process does with the model, once it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum Job {
    /// Writes 64 tokens.
    Write,
    /// Reads a prompt of 1,024 tokens, and writes 64.
    Read,
    /// Learns texts of 1,024 tokens by adapters beside all layers.
    Tune,
}

/// The command line of such a process.
#[derive(Debug, clap::Args)]
pub(crate) struct Alone {
    #[arg(value_enum)]
    job: Job,
    model: PathBuf,
}

/// What it tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Bytes of the model's file.
    pub(crate) file: u64,
    /// Bytes of the keys and values.
    pub(crate) cache: u64,
    /// Bytes in memory in the end, and the most at a time, where the system says.
    pub(crate) resident: Option<u64>,
    pub(crate) most: Option<u64>,
}

/// Has a process do this, and waits for what it tells.
///
/// # Errors
/// When it cannot be started, or fails.
pub(crate) fn told(job: Job, model: &Path) -> anyhow::Result<Told> {
    let name = format!("{job:?}").to_lowercase();
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args([TASK, &name]).arg(model).output().context(TASK)?;
    ensure!(output.status.success(), "{TASK} {name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Does it, and writes what there is to tell.
///
/// # Errors
/// When the model cannot be read; when the line cannot be written.
pub(crate) fn run(args: &Alone, out: &mut dyn Write) -> anyhow::Result<()> {
    let model = LanguageModel::load(&args.model)?;
    let cache = match args.job {
        Job::Write => Some(written(&model, 1)?),
        Job::Read => Some(written(&model, READ)?),
        Job::Tune => {
            tuned(&model)?;
            None
        }
    };
    let told = Told {
        file: fs::metadata(&args.model)?.len(),
        cache: cache.as_ref().map_or(Ok(0), |cache| bytes_of(&model, cache))?,
        resident: memory::resident(),
        most: memory::most(),
    };
    // Both were there while memory was looked at.
    drop((model, cache));
    writeln!(out, "{}", serde_json::to_string(&told)?)?;
    Ok(())
}

/// Reads so many tokens, and writes after them.
fn written(model: &LanguageModel, read: usize) -> anyhow::Result<KeyValueCache> {
    let mut cache = model.network().cache(1, read + WRITTEN)?;
    let mut tokens: Vec<u32> = (0..read as u32).map(|i| (7 + 31 * i) % 40_000 + 100).collect();
    for _ in 0..WRITTEN {
        let (ids, positions) = cache.read(&[&tokens])?;
        let scores = no_grad(|| {
            let states = model.network().states_cached(&ids, &positions, &mut cache)?;
            model.network().scores(&cache.last(&states)?)
        })?;
        tokens = scores.value().argmax(1)?.to_vec();
    }
    Ok(cache)
}

fn tuned(model: &LanguageModel) -> anyhow::Result<()> {
    let config = model.config().context("a model that was read has settings")?;
    let adapter = Lora::new(16).alpha(32.0).attach_as(model.network(), config, &mut rng(0))?;
    let tuning = Tuning::adapter(model.network(), &adapter);
    let length = READ / TEXTS;
    let text = "the old mill by the river turns when the wind is still ".repeat(length);
    // Nothing foretells the first token.
    let example = model.completion("", &text)?.cut(length + 1);
    let page = batches(&[(); TEXTS].map(|()| example.clone()), READ)?;
    let mut adam = AdamW::new(2e-4);
    for step in 0..STEPS {
        let loss = tuning.forward(&page, &mut Context::train(0).at_step(step))?;
        adam.step(&tuning, &loss.backward()?)?;
    }
    Ok(())
}

/// Keys and values of all layers, in single precision.
fn bytes_of(model: &LanguageModel, cache: &KeyValueCache) -> anyhow::Result<u64> {
    let config = model.config().context("a model that was read has settings")?;
    let heads = config.size("num_attention_heads")?;
    let size = config.size_or("head_dim", config.size("hidden_size")? / heads)?;
    let heads = config.size_or("num_key_value_heads", heads)?;
    let values = 2 * config.size("num_hidden_layers")? * heads * size * cache.capacity() * cache.rows();
    Ok((values * size_of::<f32>()) as u64)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn jobs_are_called_as_the_command_line_has_them() {
        for job in Job::value_variants() {
            assert_eq!(Job::from_str(&format!("{job:?}"), true), Ok(*job));
            assert_eq!(job.to_possible_value().unwrap().get_name(), format!("{job:?}").to_lowercase());
        }
    }
}
