//! Runs that a callback ends, in the middle of an epoch or after one, and what becomes of them when they are gone on with.

use std::path::Path;
use std::process::Stdio;

use cairn_datasets::{ImageDataset, synthetic};
use cairn_nn::{
    Dropout, Module, Sequential, SparseCategoricalCrossentropy, load_weights, save_weights, spec::Dense,
};
use cairn_optim::schedules::Cosine;
use cairn_optim::{
    Adam, Batch, Callback, Control, EarlyStopping, Fit, Goal, History, Result, Sgd, Trainer,
    metrics::Accuracy,
};
use cairn_tensor::{Tensor, rng};

use crate::child;

fn data() -> ImageDataset {
    synthetic::digits(80, 3).unwrap().flatten()
}

fn model() -> Sequential {
    Sequential::new([784]).add(Dropout::new(0.1)).add(Dense::new(10)).build(&mut rng(5)).unwrap()
}

fn trainer() -> Trainer<Tensor<u32>> {
    Trainer::new(Adam::new(0.003), SparseCategoricalCrossentropy).metric(Accuracy)
}

fn values(history: &History) -> Vec<Vec<(String, f64)>> {
    history.epochs().iter().map(|epoch| epoch.values.clone()).collect()
}

/// Ends a run after some batches.
#[derive(Default)]
struct StopAt {
    batch: usize,
    seen: usize,
    epochs: usize,
}

impl Callback for StopAt {
    fn on_batch(&mut self, _: &Batch, control: &mut Control<'_>) -> Result<()> {
        self.seen += 1;
        if self.seen == self.batch {
            control.stop();
        }
        Ok(())
    }
    fn on_epoch(&mut self, _: &cairn_optim::Epoch, _: &mut Control<'_>) -> Result<()> {
        self.epochs += 1;
        Ok(())
    }
}

#[test]
fn a_run_stopped_in_the_middle_of_an_epoch_goes_on_with_the_rest_of_it() {
    for (accumulate, stop, batches_done) in [(1, 7, 7), (3, 7, 9), (1, 13, 13), (1, 10, 10)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.cairn");
        let fit = || Fit::epochs(2).batch_size(8).accumulate(accumulate).seed(4).quiet();
        let whole = model();
        // A callback each, so that both have the same number.
        let history = trainer().fit(&whole, &data(), fit().callback(StopAt::default())).unwrap();

        let part = model();
        let mut stopped = StopAt { batch: stop, ..StopAt::default() };
        let first =
            trainer().fit(&part, &data(), fit().checkpoint(&path, 1000).callback(&mut stopped)).unwrap();
        assert_eq!(stopped.seen, batches_done, "a step that was begun is made");
        assert_eq!((first.epochs().len(), stopped.epochs), (batches_done / 10, batches_done / 10));

        let (again, mut rest) = (model(), StopAt::default());
        let fit = fit().checkpoint(&path, 1000).resume().callback(&mut rest);
        let second = trainer().fit(&again, &data(), fit).unwrap();
        assert_eq!(rest.seen, 20 - batches_done);
        assert_eq!(again.state(), whole.state());
        assert_eq!(values(&second), values(&history));
    }
}

#[test]
fn a_run_that_early_stopping_ended_goes_on_when_more_epochs_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    let run = |epochs: usize, patience: usize| {
        let stopping = EarlyStopping::new(Goal::low("loss"), patience);
        let fit = Fit::epochs(epochs).checkpoint(&path, 100).resume().callback(stopping).quiet();
        let mut trainer = Trainer::new(Sgd::new(0.0), SparseCategoricalCrossentropy);
        let model = Sequential::new([784]).add(Dense::new(10)).build(&mut rng(5)).unwrap();
        trainer.fit(&model, &data(), fit.shuffle(false)).map(|history| history.epochs().len())
    };
    assert_eq!(run(10, 3).unwrap(), 4);
    assert_eq!(run(10, 3).unwrap(), 4, "what it asked for is done");
    assert_eq!(run(20, 3).unwrap(), 7, "patient anew");
    assert_eq!(run(30, 100).unwrap(), 30);
    // Without the callback it is said what is missing.
    let fit = Fit::epochs(40).checkpoint(&path, 100).resume().shuffle(false).quiet();
    let model = Sequential::new([784]).add(Dense::new(10)).build(&mut rng(5)).unwrap();
    let error =
        Trainer::new(Sgd::new(0.0), SparseCategoricalCrossentropy).fit(&model, &data(), fit).unwrap_err();
    assert!(
        error.to_string().contains("early_stopping") && error.to_string().contains("give it the same"),
        "{error}"
    );
}

#[test]
fn a_changed_setting_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    let fit = || Fit::epochs(2).batch_size(8).seed(4).schedule(Cosine::new(20)).clip_norm(1.0).quiet();
    let resume = |mut trainer: Trainer<Tensor<u32>>, fit: Fit<'_, Tensor, Tensor<u32>>| {
        let fit = fit.checkpoint(&path, 5).resume();
        trainer.fit(&model(), &data(), fit).map(|_| ()).map_err(|error| error.to_string())
    };
    resume(trainer(), fit()).unwrap();
    resume(trainer(), fit()).unwrap();
    let refused = |result: std::result::Result<(), String>, what: &str| {
        let text = result.unwrap_err();
        assert!(text.contains(what) && text.contains("begin anew with another file"), "{text}");
    };
    let of = |adam: Adam| Trainer::new(adam, SparseCategoricalCrossentropy).metric(Accuracy);
    refused(resume(of(Adam::new(0.01)), fit()), "learning rate: 0.003 there, 0.01 here");
    refused(resume(of(Adam::new(0.003).betas(0.8, 0.999)), fit()), "optimizer");
    refused(resume(of(Adam::new(0.003).weight_decay(0.1)), fit()), "weight decay 0.1");
    refused(resume(trainer(), fit().clip_norm(2.0)), "clip");
    refused(resume(trainer(), fit().schedule(Cosine::new(30))), "the schedule");
    refused(resume(trainer(), fit().shuffle(false)), "shuffle: true there, false here");
}

/// The run of the test below.
#[test]
fn run_and_report() {
    let Some(folder) = child::folder() else { return };
    let model = model();
    let fit = Fit::epochs(3).batch_size(8).checkpoint(folder.join("run.cairn"), 5).resume();
    trainer().fit(&model, &data(), fit).unwrap();
    save_weights(&model, folder.join("end.cairn")).unwrap();
}

fn trains_and_saves(folder: &Path) {
    load_weights(&model(), folder.join("end.cairn")).unwrap();
}

#[test]
fn a_closed_or_full_standard_error_does_not_end_training() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = child::command("stopped::run_and_report", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody reads: every write fails.
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    trains_and_saves(folder.path());
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        let folder = tempfile::tempdir().unwrap();
        let mut command = child::command("stopped::run_and_report", folder.path());
        assert!(command.stdout(Stdio::null()).stderr(full).status().unwrap().success());
        trains_and_saves(folder.path());
    }
}

#[test]
fn a_finished_run_that_is_resumed_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // The test program takes the output of tests for itself unless told not to.
    let run = || {
        let mut command = child::command("stopped::run_and_report", folder.path());
        let output = command.arg("--nocapture").stdout(Stdio::null()).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run().contains("epoch 3/3"));
    let again = run();
    assert!(again.contains("resumed from") && again.contains("all 3 epochs are done"), "{again}");
}
