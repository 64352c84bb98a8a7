//! Checkpoints of training: a run that was stopped, killed or could not write goes on to the same bits.
//!
//! Runs to be killed are processes of their own: see [`child`].

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;
use std::{fs, thread};

use cairn_datasets::text::WindowDataset;
use cairn_datasets::{ImageDataset, synthetic};
use cairn_nn::Activation::{Gelu, Relu};
use cairn_nn::{
    Dropout, Module, Sequential, SparseCategoricalCrossentropy, load_weights, save_weights,
    spec::{BatchNorm, Dense, Embedding, LayerNorm, PositionEmbedding, TransformerEncoderLayer},
};
use cairn_optim::schedules::Cosine;
use cairn_optim::{
    Adam, AdamW, Batch, Callback, Control, EarlyStopping, Ema, Error, Fit, Goal, History, ReduceOnPlateau,
    Result, Sgd, Trainer, metrics::Accuracy,
};
use cairn_tensor::{AnyTensor, Tensor, rng};
use proptest::prelude::*;

use crate::child;

fn data() -> ImageDataset {
    synthetic::digits(600, 3).unwrap().flatten()
}

fn model() -> Sequential {
    Sequential::new([784])
        .add(Dense::new(16).activation(Relu))
        .add(BatchNorm::new())
        .add(Dropout::new(0.3))
        .add(Dense::new(10))
        .build(&mut rng(5))
        .unwrap()
}

fn trainer() -> Trainer<Tensor<u32>> {
    Trainer::new(Adam::new(0.003), SparseCategoricalCrossentropy).metric(Accuracy)
}

fn fit<'a>() -> Fit<'a, Tensor, Tensor<u32>> {
    Fit::epochs(3).batch_size(20).accumulate(2).seed(9).schedule(Cosine::new(50)).clip_norm(1.0).quiet()
}

/// Everything of a history but the seconds.
fn values(history: &History) -> Vec<Vec<(String, f64)>> {
    history.epochs().iter().map(|epoch| epoch.values.clone()).collect()
}

fn uninterrupted() -> (BTreeMap<String, AnyTensor>, History) {
    let model = model();
    let history = trainer().fit(&model, &data(), fit()).unwrap();
    (model.state(), history)
}

/// Stands for whatever may end a program after some batches.
struct Interrupt {
    after: usize,
    seen: usize,
}

impl Callback for Interrupt {
    fn on_batch(&mut self, _: &Batch, _: &mut Control<'_>) -> Result<()> {
        self.seen += 1;
        if self.seen == self.after { Err(Error::BadState("interrupted".into())) } else { Ok(()) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Wherever a run of 90 batches ends, in the middle of a step, an epoch, or twice.
    #[test]
    fn an_interrupted_run_ends_with_the_same_bits(first in 1..90usize, second in 1..90usize, every in 1..9u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.cairn");
        let (state, history) = uninterrupted();
        for after in [first, second, usize::MAX] {
            let model = model();
            let fit = fit().checkpoint(&path, every).resume().callback(Interrupt { after, seen: 0 });
            let Ok(found) = trainer().fit(&model, &data(), fit) else { continue };
            prop_assert_eq!(model.state(), state.clone());
            prop_assert_eq!(values(&found), values(&history));
        }
    }
}

#[test]
fn callbacks_and_metrics_are_resumed_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    // Rates so high that the loss goes up and down.
    let run = |path: Option<&Path>, after: usize| {
        let model = model();
        let mut trainer = Trainer::new(Sgd::new(0.8).momentum(0.9), SparseCategoricalCrossentropy);
        let mut average = Ema::new(0.9);
        let fit = Fit::epochs(12)
            .batch_size(50)
            .validation_split(0.25)
            .callback(Interrupt { after, seen: 0 })
            .callback(EarlyStopping::new(Goal::low("val_loss"), 3))
            .callback(ReduceOnPlateau::new(Goal::low("val_loss")).patience(0).factor(0.5))
            .callback(&mut average)
            .quiet();
        let fit = match path {
            Some(path) => fit.checkpoint(path, 1).resume(),
            None => fit,
        };
        let history = trainer.fit(&model, &data(), fit).map_err(|error| error.to_string())?;
        let rate = trainer.optimizer().learning_rate();
        Ok::<_, String>((model.state(), values(&history), rate, average.state()))
    };
    let whole = run(None, usize::MAX).unwrap();
    assert!(whole.2 < 0.8, "the rate was lowered");
    let resumed = (0..).find_map(|_| run(Some(&path), 7).ok()).unwrap();
    assert_eq!(resumed, whole);
    // A run that is over stays so.
    assert_eq!(run(Some(&path), usize::MAX).unwrap(), whole);
}

#[test]
fn files_of_other_runs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    let go = |fit: Fit<'_, Tensor, Tensor<u32>>| {
        let fit = fit.checkpoint(&path, 10).resume();
        trainer().fit(&model(), &data(), fit).map_err(|error| error.to_string())
    };
    go(fit()).unwrap();
    let message = |result: Result<History, String>| result.unwrap_err();
    assert!(message(go(fit().batch_size(30))).contains("batch_size: 20"));
    assert!(message(go(fit().seed(1))).contains("seed: 9"));
    assert!(message(go(fit().callback(Ema::new(0.9)))).contains("0 callbacks"));
    let mut other = Trainer::new(Sgd::new(0.1), SparseCategoricalCrossentropy);
    let again = fit().checkpoint(&path, 10).resume();
    let error = other.fit(&model(), &data(), again).unwrap_err();
    assert!(error.to_string().contains("`adam`"), "{error}");
    // Longer than before, it goes on.
    let longer = Fit::epochs(4).batch_size(20).accumulate(2).seed(9).clip_norm(1.0).quiet();
    assert_eq!(go(longer).unwrap().epochs().len(), 4);
    // Damaged anywhere, or another kind of file.
    let bytes = fs::read(&path).unwrap();
    for at in [0, 9, 13, 20, 40, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert!(go(fit()).is_err(), "byte {at}");
    }
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(go(fit()).is_err());
    model().save(&path).unwrap();
    assert!(go(fit()).is_err());
    assert!(trainer().fit(&model(), &data(), fit().resume()).is_err(), "nothing to resume from");
}

/// A training that is killed.
#[derive(Clone, Copy)]
struct Killed {
    model: fn() -> Sequential,
    /// Trains the model to the end; with checkpoints in this file, from the last of them on.
    train: fn(&Sequential, Option<&Path>),
    /// The test that is such a run in a process of its own.
    test: &'static str,
}

const PERCEPTRON: Killed = Killed {
    model,
    train: |model, checkpoint| {
        let fit = match checkpoint {
            Some(path) => fit().checkpoint(path, 1).resume(),
            None => fit(),
        };
        trainer().fit(model, &data(), fit).unwrap();
    },
    test: "resume::run_to_the_end",
};

/// A small GPT, in which embeddings are tables of which a batch looks up some rows, and what is dropped, attention weights among it, is
/// counted by the step.
const GPT: Killed = Killed {
    model: || {
        let block = TransformerEncoderLayer::new(2, 32).causal(true).norm_first(true);
        let block = block.activation(Gelu).dropout(0.2);
        let model = Sequential::new([12]).add(Embedding::new(23, 16)).add(PositionEmbedding);
        let model = model.add(block.clone()).add(block).add(LayerNorm::new()).add(Dense::new(23));
        model.build(&mut rng(5)).unwrap()
    },
    train: |model, checkpoint| {
        let ids = (0..600u32).map(|i| (i * i / 7 + 3 * i) % 23).collect();
        let text = WindowDataset::new(ids, 12, 1).unwrap();
        let fit =
            Fit::epochs(2).batch_size(16).accumulate(2).seed(9).schedule(Cosine::new(40)).clip_norm(1.0);
        let fit = match checkpoint {
            Some(path) => fit.checkpoint(path, 1).resume(),
            None => fit,
        };
        let mut trainer = Trainer::new(AdamW::new(0.003), SparseCategoricalCrossentropy);
        trainer.fit(model, &text, fit.quiet()).unwrap();
    },
    test: "resume::run_a_gpt_to_the_end",
};

impl Killed {
    fn run_to_the_end(self) {
        let Some(folder) = child::folder() else { return };
        let model = (self.model)();
        (self.train)(&model, Some(&folder.join("run.cairn")));
        save_weights(&model, folder.join("end.cairn")).unwrap();
    }

    fn spawn(self, folder: &Path) -> Child {
        let mut command = child::command(self.test, folder);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// The run that is killed; a part of the other tests.
#[test]
fn run_to_the_end() {
    PERCEPTRON.run_to_the_end();
}

/// As the one before.
#[test]
fn run_a_gpt_to_the_end() {
    GPT.run_to_the_end();
}

/// Kills runs at random moments, as often as is asked for, and looks at the model of each that came to its end.
fn kill(run: Killed, times: usize) {
    let whole = (run.model)();
    (run.train)(&whole, None);
    let state = whole.state();
    assert_ne!((run.model)().state(), state, "training does something");
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("run.cairn");
    let at_end = |mut child: Child| {
        assert!(child.wait().unwrap().success());
        let model = (run.model)();
        load_weights(&model, folder.path().join("end.cairn")).unwrap();
        assert_eq!(model.state(), state);
        fs::remove_file(&checkpoint).unwrap();
    };
    let timed = || {
        let began = Instant::now();
        at_end(run.spawn(folder.path()));
        began.elapsed()
    };
    // Moments are from before the first checkpoint to about the end, on any machine. The longer of two, since in a time that is too short
    // for the machine as it is later, no run would come to a checkpoint.
    let (whole, mut rng) = (timed().max(timed()), rng(17));
    let (mut killed, mut ends, mut resumable) = (0, 2, 0);
    while killed < times {
        let mut child = run.spawn(folder.path());
        let share = Tensor::<f32>::uniform([], 0.0, 1.0, &mut rng).unwrap().item().unwrap();
        thread::sleep(whole.mul_f32(share));
        if child.try_wait().unwrap().is_some() {
            at_end(child);
            ends += 1;
            continue;
        }
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            continue; // It was faster.
        }
        killed += 1;
        resumable += usize::from(checkpoint.exists());
    }
    at_end(run.spawn(folder.path()));
    println!("{killed} killed, {resumable} of them with a checkpoint; {} runs to the end", ends + 1);
    assert!(resumable > times / 10, "{resumable} of {times} had a checkpoint");
}

#[test]
fn killed_runs_end_with_the_same_bits() {
    kill(PERCEPTRON, 10);
}

#[test]
fn killed_runs_of_a_gpt_end_with_the_same_bits() {
    kill(GPT, 10);
}

#[test]
#[ignore = "takes two minutes: cargo test -p cairn-optim --test laws -- --ignored"]
fn runs_killed_200_times_end_with_the_same_bits() {
    kill(PERCEPTRON, 200);
}

/// With a limit on the size of files, as of a full disk, the first write that does not fit fails.
#[test]
#[cfg(unix)]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    let interrupted = fit().checkpoint(&path, 3).callback(Interrupt { after: 20, seen: 0 });
    trainer().fit(&model(), &data(), interrupted).unwrap_err();
    let before = fs::read(&path).unwrap();
    // In blocks of 512 bytes; a checkpoint has over 100,000. A write beyond fails once the signal is ignored.
    let limit = "trap '' XFSZ; ulimit -f 20";
    let limited =
        child::command_after(limit, "resume::run_with_a_full_disk", folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&limited.stdout).into_owned();
    assert!(limited.status.success(), "{text}");
    assert_eq!(fs::read(&path).unwrap(), before, "the checkpoint before is still there");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["run.cairn"], "nothing half written is left");
    // With room again, the run goes on from there.
    let model = model();
    let again = fit().checkpoint(&path, 3).resume().callback(Interrupt { after: usize::MAX, seen: 0 });
    trainer().fit(&model, &data(), again).unwrap();
    assert_eq!(model.state(), uninterrupted().0);
}

/// A part of the test above.
#[test]
fn run_with_a_full_disk() {
    let Some(folder) = child::folder() else { return };
    let interrupt = Interrupt { after: usize::MAX, seen: 0 };
    let fit = fit().checkpoint(folder.join("run.cairn"), 3).resume().callback(interrupt);
    let error = trainer().fit(&model(), &data(), fit).unwrap_err();
    assert!(matches!(&error, Error::Model(cairn_nn::Error::File { .. })), "{error}");
}
