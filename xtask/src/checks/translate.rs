//! A transformer that translates, by the recipe that fairseq gives for a small one. A long run, which takes hours, goes on where it
//! was interrupted.

// The model is that of the example, so that what is copied from there is what was checked.
#[path = "../../../optim/examples/translate/model.rs"]
mod model;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use cairn_autograd::no_grad;
use cairn_datasets::multi30k::{self, Multi30k, Pair};
use cairn_datasets::text::ParallelDataset;
use cairn_datasets::{Dataset, Loader, registry, synthetic};
use cairn_nn::{Context as Pass, Module, explain};
use cairn_optim::metrics::{Bleu, ChrF};
use cairn_optim::schedules::{Chained, InverseSqrt, Polynomial, Schedule};
use cairn_optim::{Adam, CheckpointAverage, Optimizer, StateDict, clip_by_global_norm};
use cairn_tensor::{AnyTensor, Tensor, rng};
use serde::{Deserialize, Serialize};

use self::model::Translator;
use crate::check::{Bars, Check, Context, Skipped};
use crate::format::{count, seconds, value};
use crate::report::{KeyFigures, LineChart, Table, Weights};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "translate",
    title: "A transformer translates captions into German",
    about: "4 + 4 layers of 128 features and 4 heads with one table of tokens (byte pairs of both languages) learn Multi30k, English to \
            German: label smoothing 0.1, beam 5; BLEU is sacreBLEU's, on the texts as they are. The same model of fairseq, trained for 65 \
            million tokens with dropout 0.3 and the mean of its last ten epochs, has 41.0 on the test set of 2016, 33.4 on that of 2017 and \
            29.9 on COCO's (Wu et al. 2021, tokenised): the recipe and the bars of a run with --long. A run without sees a fourth of the tokens, \
            by smaller batches, with less dropout and a rate that falls to 0, and its bar is meant for that, with room for other seeds; of a \
            quick run the loss is judged.",
    data: &[&registry::MULTI30K],
    run,
};

/// Of the BLEU of the test set; in a quick run of the loss, since nothing is translated well yet.
const BARS: Bars = Bars { full: 37.0, quick: 5.8, stand_in: 80.0, stand_in_quick: 2.0 };
/// Those of a long run: of the test sets of 2016, 2017 and COCO, less a half for how tokens are counted.
const LONG: [f64; 3] = [40.5, 32.9, 29.4];
const SMOOTHING: f64 = 0.1;
const BEAMS: usize = 5;
/// Translations shown.
const SHOWN: usize = 12;

/// How much is done.
#[derive(Debug)]
struct Recipe {
    /// Pairs to train on and to translate, at most.
    pairs: [usize; 2],
    tokens: usize,
    updates: u64,
    warm_up: u64,
    rate: f64,
    /// Tokens of a batch, padding included.
    batch: usize,
    dropout: f32,
    /// Whether the rate falls to 0 at the end, beyond the inverse square root.
    falls: bool,
    /// Epochs whose mean is taken, the last.
    averaged: usize,
}

impl Recipe {
    fn of(ctx: &Context<'_>) -> Self {
        let all = [usize::MAX; 2];
        let full = Recipe {
            pairs: all,
            tokens: 8000,
            updates: 4500,
            warm_up: 800,
            rate: 5e-3,
            batch: 2048,
            dropout: 0.1,
            falls: true,
            averaged: 3,
        };
        match (ctx.stands_in(), ctx.quick(), ctx.long()) {
            (false, true, _) => {
                Recipe { pairs: [8000, 100], tokens: 2000, updates: 100, warm_up: 50, ..full }
            }
            (true, true, _) => {
                Recipe { pairs: [3000, 100], tokens: 400, updates: 150, warm_up: 50, batch: 1024, ..full }
            }
            (true, false, _) => Recipe { tokens: 400, updates: 800, warm_up: 200, batch: 1024, ..full },
            (false, false, true) => Recipe {
                updates: 8000,
                warm_up: 2000,
                batch: 8192,
                dropout: 0.3,
                falls: false,
                averaged: 10,
                ..full
            },
            (false, false, false) => full,
        }
    }
}

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let seed = ctx.seed();
    let stand_in = || {
        let train = synthetic::translations(6000, seed)?;
        let valid = synthetic::translations(500, seed + 1)?;
        Ok(Multi30k { train, valid, test: synthetic::translations(500, seed + 2)? })
    };
    let Multi30k { train, valid, test } = ctx.load(&registry::MULTI30K, multi30k::load, stand_in)?;
    let recipe = Recipe::of(ctx);
    // The published pairs are German first.
    let directed = |pairs: Vec<Pair>, most: usize| -> Vec<Pair> {
        pairs
            .into_iter()
            .take(most)
            .map(|pair| if ctx.stands_in() { pair } else { pair.reversed() })
            .collect()
    };
    let (train, test) = (directed(train, recipe.pairs[0]), directed(test, recipe.pairs[1]));
    let valid = directed(valid, recipe.pairs[0]);

    let translator = Translator::new(&train, recipe.tokens, recipe.dropout, &mut rng(seed))?;
    let sizes = [train.len(), translator.tokens.len(), translator.parameter_count()].map(|n| count(n as u64));
    ctx.say(format!("{} pairs, {} tokens, {} parameters", sizes[0], sizes[1], sizes[2]));
    let (data, held_out) = (translator.encode(&train)?, translator.encode(&valid)?);
    train_on(ctx, &translator, (&data, &held_out), &recipe)?;

    let began = Instant::now();
    let (bleu, translations) = translated(&translator, &test)?;
    let took = began.elapsed().as_secs_f64();
    let (bar, mut chrf) = (ctx.bar(&BARS), ChrF::new());
    let bar = match (ctx.quick(), ctx.long() && !ctx.stands_in()) {
        (true, _) => Bar::None,
        (_, true) => Bar::AtLeast(LONG[0]),
        _ => Bar::AtLeast(bar),
    };
    ctx.metric("BLEU", bleu.score(), bar);
    test.iter().zip(&translations).for_each(|(pair, text)| chrf.add(text, &[&pair.target]));
    ctx.metric("chrF", chrf.score(), Bar::None);
    ctx.metric("translated sentences per second", test.len() as f64 / took, Bar::None);
    let figures = KeyFigures::new()
        .figure(value(bleu.score()), "BLEU of the test set")
        .figure(count(translator.parameter_count() as u64), "parameters")
        .figure(value(test.len() as f64 / took), "sentences a second");
    ctx.show("At a glance", &figures);
    show_translations(ctx, &test, &translations);
    show_attention(ctx, &translator, &test, &translations)?;
    if !ctx.long() || !later_tests(ctx, &translator)? {
        return Ok(());
    }
    ctx.kept().map_or(Ok(()), |kept| kept.remove())
}

/// How far a training has come.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// Of what: another recipe makes another training.
    recipe: String,
    epochs: u64,
    updates: u64,
    tokens: f64,
    seconds: f64,
    /// Losses by update.
    training: Vec<(f64, f64)>,
    validation: Vec<(f64, f64)>,
}

/// What a training goes on from: how far it has come, the model, the optimiser, the last epochs.
type Saved = (Progress, BTreeMap<String, AnyTensor>, StateDict, StateDict);

/// Trains the translator, and leaves it with the mean of the last epochs.
fn train_on(
    ctx: &mut Context<'_>,
    translator: &Translator,
    (data, held_out): (&ParallelDataset, &ParallelDataset),
    recipe: &Recipe,
) -> anyhow::Result<()> {
    let seed = ctx.seed();
    let Recipe { updates, warm_up, rate, batch, falls, averaged, .. } = *recipe;
    let loader = Loader::new(data).shuffle(seed).group_by_length(data.lengths())?.max_tokens(batch);
    let mut schedule = Chained::new().add(InverseSqrt::new(warm_up));
    if falls {
        schedule = schedule.add(Polynomial::new(updates));
    }
    let mut adam = Adam::new(rate).betas(0.9, 0.98);
    let mut average = CheckpointAverage::new(averaged);
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("{recipe:?}, smoothing {SMOOTHING}, {adam:?}, seed {seed}, Cairn {version}");
    let mut done = Progress { recipe: text, ..Progress::default() };
    let kept = ctx.kept();
    if let Some(kept) = &kept
        && let Some((progress, model, optimizer, last)) = kept.read::<Saved>()?
    {
        let place = kept.path().display();
        let other = || format!("{place} is of another training: remove it to begin anew");
        anyhow::ensure!(progress.recipe == done.recipe, other());
        translator.load_state(&model).with_context(other)?;
        adam.load_state(optimizer).with_context(other)?;
        average.load_state(translator, &last).with_context(other)?;
        ctx.say(format!("goes on after epoch {}, from {place}", progress.epochs));
        done = progress;
    }
    while done.updates < updates {
        let began = Instant::now();
        let (mut sum, mut seen) = (0.0, 0.0);
        for pair in loader.epoch(done.epochs)?.take((updates - done.updates) as usize) {
            let (x, y) = pair?;
            let mut pass = Pass::train(seed).at_step(done.updates);
            let (loss, weight) = translator.loss(&x, &y, SMOOTHING, &mut pass)?;
            (sum, seen) = (sum + f64::from(loss.item()?), seen + f64::from(weight));
            let mut gradients = loss.mean_over(weight)?.backward()?;
            clip_by_global_norm(translator, &mut gradients, 1.0)?;
            adam.set_learning_rate(rate * schedule.factor(done.updates));
            adam.step(translator, &gradients)?;
            done.tokens += x.source.lengths.iter().chain(&x.target.lengths).sum::<usize>() as f64;
            done.updates += 1;
        }
        average.add(translator)?;
        done.epochs += 1;
        let (loss, held) = (sum / seen, loss_of(translator, held_out)?);
        done.seconds += began.elapsed().as_secs_f64();
        let (number, step) = (done.epochs, done.updates);
        ctx.say(format!(
            "epoch {number}, update {step}/{updates}: loss {loss:.3}, nats a token of validation {held:.3}"
        ));
        done.training.push((step as f64, loss));
        done.validation.push((step as f64, held));
        if let Some(kept) = &kept {
            kept.write(&(&done, translator.state(), adam.state(), average.state()))?;
        }
    }
    average.swap(translator)?;
    let rate = done.tokens / done.seconds;
    ctx.say(format!("{}, {} tokens a second", seconds(done.seconds), count(rate as u64)));
    ctx.metric("training tokens per second", rate, Bar::None);
    let bar = if ctx.quick() { Bar::AtMost(ctx.bar(&BARS)) } else { Bar::None };
    ctx.metric("nats a token of validation", loss_of(translator, held_out)?, bar);
    let chart = LineChart::new("update", "nats a token");
    let chart = chart.line("training, smoothed targets", done.training).line("validation", done.validation);
    ctx.show("Loss", &chart);
    Ok(())
}

/// The mean loss of a token, of targets as they are.
fn loss_of(translator: &Translator, data: &ParallelDataset) -> anyhow::Result<f64> {
    let (mut sum, mut tokens) = (0.0, 0.0);
    for batch in Loader::new(data).group_by_length(data.lengths())?.max_tokens(8192).epoch(0)? {
        let (x, y) = batch?;
        let (loss, weight) = no_grad(|| translator.loss(&x, &y, 0.0, &mut Pass::eval()))?;
        (sum, tokens) = (sum + f64::from(loss.item()?), tokens + f64::from(weight));
    }
    Ok(sum / tokens)
}

/// The translations of the sources, and how well they go with the targets.
fn translated(translator: &Translator, pairs: &[Pair]) -> anyhow::Result<(Bleu, Vec<String>)> {
    let sources: Vec<&str> = pairs.iter().map(|pair| pair.source.as_str()).collect();
    let translations = translator.translate(&sources, BEAMS)?;
    let mut bleu = Bleu::new();
    pairs.iter().zip(&translations).for_each(|(pair, text)| bleu.add(text, &[&pair.target]));
    Ok((bleu, translations))
}

/// Measures the test sets that came later; whether they are at hand. What was trained is kept until they are.
fn later_tests(ctx: &mut Context<'_>, translator: &Translator) -> anyhow::Result<bool> {
    let sets = match ctx.require(&registry::MULTI30K_2017, |dir| Ok(multi30k::load_2017(dir)?)) {
        Ok(sets) => sets,
        Err(error) => match error.downcast::<Skipped>() {
            Ok(Skipped { reason }) => {
                ctx.leave_out("BLEU of 2017 and COCO", reason);
                return Ok(false);
            }
            Err(error) => return Err(error),
        },
    };
    for ((pairs, name), bar) in sets.into_iter().zip(["BLEU of 2017", "BLEU of COCO"]).zip(&LONG[1..]) {
        let pairs: Vec<Pair> = pairs.into_iter().map(Pair::reversed).collect();
        ctx.metric(name, translated(translator, &pairs)?.0.score(), Bar::AtLeast(*bar));
    }
    Ok(true)
}

fn show_translations(ctx: &mut Context<'_>, pairs: &[Pair], translations: &[String]) {
    let mut table = Table::new(["caption", "translated here", "translated by a person"]).full_width();
    let every = (pairs.len() / SHOWN).max(1);
    for (pair, translation) in pairs.iter().zip(translations).step_by(every).take(SHOWN) {
        table.row([pair.source.clone(), translation.clone(), pair.target.clone()]);
    }
    ctx.show("Translations beside their references", &table);
}

/// Shows what the last layer of the decoder attends to in the caption, as it reads the first translation of a handy length.
fn show_attention(
    ctx: &mut Context<'_>,
    translator: &Translator,
    pairs: &[Pair],
    translations: &[String],
) -> anyhow::Result<()> {
    let short = |text: &str| (4..=12).contains(&text.split(' ').count());
    let mut both = pairs.iter().zip(translations);
    let Some((pair, text)) = both.find(|(pair, text)| short(&pair.source) && short(text)) else {
        return Ok(());
    };
    let (x, _) =
        translator.encode(&[Pair { source: pair.source.clone(), target: text.clone() }])?.batch(&[0])?;
    let (source, target) = (&x.source.ids, &x.target.ids);
    let maps = explain::attention_maps(|| translator.model.forward(source, None, target, &mut Pass::eval()))?;
    let Some(last) = maps.last() else { return Ok(()) };
    // A space before a piece is written so.
    let spelled = |id: u32| translator.tokens.token(id).unwrap_or_default().replace('\u{120}', " ");
    let names = |ids: &Tensor<u32>| ids.iter().map(spelled).collect::<Vec<_>>();
    let weights = last.index(0, 0)?.mean(0)?.to_vec();
    let caption = "What the decoder attends to in the caption, having read each piece of its translation (mean of the heads)";
    ctx.show(caption, &Weights::new(names(target), names(source), weights));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use cairn_datasets::DataDir;

    use super::*;
    use crate::check::Settings;
    use crate::kept::Kept;

    /// Takes what is printed, and ends the program at the line that begins so, in the middle of what it does.
    #[derive(Default)]
    struct Printed {
        text: Vec<u8>,
        ends_at: Option<&'static str>,
    }

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.text.extend_from_slice(bytes);
            let text = String::from_utf8_lossy(&self.text);
            assert!(self.ends_at.is_none_or(|end| !text.contains(end)), "ended as asked for");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Printed {
        /// The lines of epochs.
        fn epochs(&self) -> Vec<String> {
            let text = String::from_utf8_lossy(&self.text).into_owned();
            text.lines().filter(|line| line.contains(": epoch ")).map(str::to_owned).collect()
        }
    }

    /// Some epochs, the last of them not whole, of which two are averaged.
    const RECIPE: Recipe = Recipe {
        pairs: [24, 8],
        tokens: 400,
        updates: 14,
        warm_up: 4,
        rate: 5e-3,
        batch: 256,
        dropout: 0.2,
        falls: true,
        averaged: 2,
    };

    /// A training that keeps how far it is in this folder, or nothing.
    fn train(kept: Option<&Path>, printed: &mut Printed) -> anyhow::Result<BTreeMap<String, AnyTensor>> {
        let settings = Settings {
            data: DataDir::new("nowhere").offline(),
            quick: false,
            long: true,
            seed: 3,
            kept: kept.map(Path::to_path_buf),
        };
        let pairs = synthetic::translations(RECIPE.pairs[0], 1)?;
        let translator = Translator::new(&pairs, RECIPE.tokens, RECIPE.dropout, &mut rng(settings.seed))?;
        let (data, held_out) = (translator.encode(&pairs)?, translator.encode(&pairs[..RECIPE.pairs[1]])?);
        let mut ctx = Context::new(&CHECK, &settings, printed);
        train_on(&mut ctx, &translator, (&data, &held_out), &RECIPE)?;
        Ok(translator.state())
    }

    #[test]
    fn an_interrupted_training_goes_on_to_the_same_bits() {
        let mut printed = Printed::default();
        let whole = train(None, &mut printed).unwrap();
        let epochs = printed.epochs();
        assert!(epochs.len() > 3, "{epochs:?}");
        let folder = tempfile::tempdir().unwrap();
        // In its first epoch, when nothing is kept yet, and in the third, of which nothing is kept either.
        for ends_at in [": epoch 1,", ": epoch 3,"] {
            let mut printed = Printed { ends_at: Some(ends_at), ..Printed::default() };
            let ended = catch_unwind(AssertUnwindSafe(|| train(Some(folder.path()), &mut printed)));
            assert!(ended.is_err(), "{ends_at}");
        }
        let mut printed = Printed::default();
        let resumed = train(Some(folder.path()), &mut printed).unwrap();
        let text = String::from_utf8_lossy(&printed.text).into_owned();
        assert!(text.contains("goes on after epoch 2, from "), "{text}");
        assert_eq!(resumed, whole);
        // Losses are those of a run of its own too, to the digits that are printed.
        assert_eq!(printed.epochs(), epochs[2..]);
        // One that is over stays so.
        assert_eq!(train(Some(folder.path()), &mut Printed::default()).unwrap(), whole);
    }

    #[test]
    fn what_another_training_kept_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path().join("translate.training.cairn"));
        let done = Progress { recipe: "another".into(), ..Progress::default() };
        let nothing = StateDict::default();
        kept.write(&(done, BTreeMap::<String, AnyTensor>::new(), nothing.clone(), nothing)).unwrap();
        let error = train(Some(folder.path()), &mut Printed::default()).unwrap_err();
        assert!(error.to_string().contains("of another training"), "{error}");
    }
}
