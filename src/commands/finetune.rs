//! `cairn finetune`: trains adapters beside a frozen language model, or all of it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cairn::datasets::{self, Dataset};
use cairn::nn::adapters::{self, Adapter, Lora};
use cairn::nn::language::{Example, LanguageModel, TextBatch, TokenLoss, Tuning, batches};
use cairn::nn::{Context, Model, Module, models};
use cairn::optim::schedules::Linear;
use cairn::optim::{AdamW, Fit, Trainer};
use cairn::tensor::{DType, rng};
use serde::Serialize;

use super::failure::Failure;
use super::output::Output;
use super::paths::{collide, is_same, resolved};

/// What a training that was interrupted goes on from.
const CHECKPOINT: &str = "training.cairn";
/// The files beside it in the folder of adapters, and itself.
const OF_ADAPTERS: [&str; 3] = ["adapter_config.json", "adapter_model.safetensors", CHECKPOINT];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A GGUF file, a folder with config.json, safetensors and tokenizer.json, or the name of a published model. It stays as it is.
    pub(super) model: PathBuf,
    /// What is learnt: a line of JSON for each example, with `messages`, with `prompt` and `completion`, or with `text`.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The folder to write the adapters into, as peft writes them; with `--full` the model to write, a GGUF file or a folder, as the model is.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Trains all weights, as f32, in place of adapters: four times the memory of a model in f32.
    #[arg(long, conflicts_with_all = ["merged", "lora", "alpha", "dropout", "targets"])]
    full: bool,
    /// Examples that are not learnt, and measured after each epoch.
    #[arg(long, value_name = "FILE")]
    validation: Option<PathBuf>,
    /// Also writes the model with the adapters added to its weights: a GGUF file, or a folder, as the model is.
    #[arg(long, value_name = "PATH")]
    merged: Option<PathBuf>,
    /// The rank of the adapters.
    #[arg(long, value_name = "R", default_value_t = 16)]
    lora: usize,
    /// They are multiplied by A / R; twice the rank, if not given.
    #[arg(long, value_name = "A")]
    alpha: Option<f32>,
    /// Drops so much of what adapters are given in training.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    dropout: f32,
    /// The layers that get one, as `q_proj,v_proj`; all, if not given.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    targets: Vec<String>,
    /// How often all examples are gone through.
    #[arg(long, value_name = "N", default_value_t = 3)]
    epochs: usize,
    /// The learning rate after the first steps, in which it rises; 0.0002 if not given, and 0.00002 with `--full`.
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Examples of like length are learnt together, so many tokens at a time.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    batch_tokens: usize,
    /// Of an example only the first tokens, at most so many.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    longest: usize,
    /// Other draws, and another order; the same seed gives the same adapters.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Goes on with what was interrupted; the result is the same, bit for bit.
    #[arg(long)]
    resume: bool,
    /// Shows no progress.
    #[arg(long, short)]
    quiet: bool,
}

/// What was learnt.
#[derive(Debug, Serialize)]
struct Report {
    examples: usize,
    /// Examples of which nothing is learnt: they are cut before their answers.
    left_out: usize,
    learned_tokens: usize,
    trained_values: usize,
    values: usize,
    loss_before: f64,
    loss: f64,
    validation_loss_before: Option<f64>,
    validation_loss: Option<f64>,
    seconds: f64,
}

/// Batches as samples: texts of like length stay together, and their order is drawn.
struct Batches(Vec<TextBatch>);

impl Dataset for Batches {
    type Input = Vec<TextBatch>;
    type Target = f64;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, indices: &[usize]) -> datasets::Result<(Vec<TextBatch>, f64)> {
        let picked: Vec<TextBatch> = indices.iter().filter_map(|&index| self.0.get(index).cloned()).collect();
        let learned = picked.iter().map(TextBatch::learned).sum::<usize>() as f64;
        Ok((picked, learned))
    }
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    // Known only once everything is learnt otherwise.
    for (name, path) in [("--out", Some(&args.out)), ("--merged", args.merged.as_ref())] {
        if path.is_some_and(|path| is_same(path, &args.model)) {
            return Err(
                Failure::new(format!("{name} is the model, which stays as it is")).hint("name another path")
            );
        }
    }
    check_apart(args)?;
    let model = if args.full {
        LanguageModel::load_as(&args.model, DType::F32)?
    } else {
        LanguageModel::load(&args.model)?
    };
    let (train, examples, left_out) = read(args, &model, &args.data)?;
    let validation = args.validation.as_ref().map(|path| read(args, &model, path)).transpose()?;
    let values = model.network().parameter_count();
    let adapter = (!args.full).then(|| adapter(args, &model)).transpose()?;
    let tuning = match &adapter {
        Some(adapter) => Tuning::adapter(model.network(), adapter),
        None => Tuning::whole(model.network()),
    };
    let whole_file = args.full && !args.model.is_dir();
    let folder = if whole_file { args.out.parent().unwrap_or(Path::new("")) } else { &args.out };
    if folder != Path::new("") {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    }
    let loss_before = loss_of(&tuning, &train)?;
    let validation_before = validation.as_ref().map(|(data, ..)| loss_of(&tuning, data)).transpose()?;

    let checkpoint = if whole_file { args.out.with_extension(CHECKPOINT) } else { args.out.join(CHECKPOINT) };
    // A part of the first epoch, so that a run that goes on for longer takes the same steps.
    let warm_up = train.len().div_ceil(10).min(50) as u64;
    let mut fit = Fit::epochs(args.epochs)
        .batch_size(1)
        .seed(args.seed)
        .clip_norm(1.0)
        .schedule(Linear::new(0.1, 1.0, warm_up))
        // All of a model and what an optimiser keeps are gigabytes.
        .checkpoint(&checkpoint, if args.full { 500 } else { 20 });
    if args.resume {
        fit = fit.resume();
    }
    if args.quiet {
        fit = fit.quiet();
    }
    if let Some((data, ..)) = &validation {
        fit = fit.validate(data);
    }
    let began = Instant::now();
    let failed = |error: cairn::optim::Error| {
        Failure::new(error.to_string()).hint("a lower --learning-rate learns more steadily")
    };
    let rate = args.learning_rate.unwrap_or(if args.full { 2e-5 } else { 2e-4 });
    Trainer::new(AdamW::new(rate), TokenLoss).fit(&tuning, &train, fit).map_err(failed)?;
    let report = Report {
        examples,
        left_out,
        learned_tokens: train.0.iter().map(TextBatch::learned).sum(),
        trained_values: tuning.parameter_count(),
        values,
        loss_before,
        loss: loss_of(&tuning, &train)?,
        validation_loss_before: validation_before,
        validation_loss: validation.as_ref().map(|(data, ..)| loss_of(&tuning, data)).transpose()?,
        seconds: began.elapsed().as_secs_f64(),
    };
    match &adapter {
        Some(adapter) => adapter.save(&args.out, &args.model.to_string_lossy())?,
        None => models::save_like(&args.model, model.network(), &args.out)?,
    }
    if let Some(path) = &args.merged {
        adapters::merge_files(&args.model, &args.out, path)?;
    }
    out.result(&report, || report.to_text(args))
}

/// That neither the adapters nor the merged model are written over the other.
fn check_apart(args: &Args) -> Result<(), Failure> {
    let Some(merged) = &args.merged else { return Ok(()) };
    let (out, whole) = (resolved(&args.out), resolved(merged));
    let hint = "name another path for one of them";
    if out == whole {
        let why = format!("--out and --merged are both {}", merged.display());
        return Err(Failure::new(why).hint(hint));
    }
    let adapters = OF_ADAPTERS.map(|name| out.join(name));
    let files = files_like(&args.model, &whole)?;
    match files.iter().find(|file| adapters.iter().any(|other| collide(file, other))) {
        Some(file) => {
            let why = format!("--merged would write {} over what --out writes", file.display());
            Err(Failure::new(why).hint(hint))
        }
        None => Ok(()),
    }
}

/// The files of a model that is written at a path, as another is: itself, or those of a folder.
fn files_like(model: &Path, path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !model.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let all = std::fs::read_dir(model).map_err(|error| Failure::file(model, &error))?;
    let all = all.filter_map(|entry| Some(entry.ok()?.path()));
    let files = all.filter(|file| file.is_file()).chain([model.join("model.safetensors")]);
    Ok(files.filter_map(|file| Some(path.join(file.file_name()?))).collect())
}

/// The adapters that were asked for, beside the model.
fn adapter(args: &Args, model: &LanguageModel) -> Result<Adapter, Failure> {
    let Some(config) = model.config() else { return Err(Failure::new("the model has no settings")) };
    let mut settings = Lora::new(args.lora).alpha(args.alpha.unwrap_or(2.0 * args.lora as f32));
    settings = settings.dropout(args.dropout);
    if !args.targets.is_empty() {
        settings = settings.targets(args.targets.clone());
    }
    Ok(settings.attach_as(model.network(), config, &mut rng(args.seed))?)
}

/// The batches of a file, and how many examples it has and how many are left out.
fn read(args: &Args, model: &LanguageModel, path: &PathBuf) -> Result<(Batches, usize, usize), Failure> {
    let longest = args.longest.min(model.context());
    let all: Vec<Example> = model.examples(path)?.into_iter().map(|example| example.cut(longest)).collect();
    let left_out = all.iter().filter(|example| example.learned() == 0).count();
    if left_out == all.len() {
        let hint =
            "an example is a line of JSON with `messages`, the last by the `assistant`; --longest cuts them";
        return Err(Failure::new(format!("{}: there is no answer to learn", path.display())).hint(hint));
    }
    Ok((Batches(batches(&all, args.batch_tokens)?), all.len(), left_out))
}

/// The mean loss of a token, without what is drawn in training.
fn loss_of(model: &Tuning<'_>, data: &Batches) -> Result<f64, Failure> {
    let (mut sum, mut total) = (0.0, 0.0);
    for batch in &data.0 {
        let one = vec![batch.clone()];
        let loss = cairn::autograd::no_grad(|| model.forward(&one, &mut Context::eval()))?;
        let loss = loss.item().map_err(cairn::nn::Error::from)?;
        (sum, total) = (sum + f64::from(loss) * batch.learned() as f64, total + batch.learned() as f64);
    }
    Ok(sum / total)
}

impl Report {
    fn to_text(&self, args: &Args) -> String {
        let validation = match (self.validation_loss_before, self.validation_loss) {
            (Some(before), Some(after)) => format!("; of examples kept back from {before:.4} to {after:.4}"),
            _ => String::new(),
        };
        let tuned = if args.full {
            args.out.display().to_string()
        } else {
            format!("{} --adapter {}", args.model.display(), args.out.display())
        };
        let left_out =
            if self.left_out > 0 { format!(" ({} left out)", self.left_out) } else { String::new() };
        format!(
            "{} examples{left_out}, {} tokens learnt by {} of {} values in {:.0} s: loss from {:.4} to {:.4}{validation}\n\
             try it: cairn chat {tuned}",
            self.examples,
            self.learned_tokens,
            self.trained_values,
            self.values,
            self.seconds,
            self.loss_before,
            self.loss,
        )
    }
}
