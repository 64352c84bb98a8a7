//! Fitting with an optimiser that asks for the loss in several places.

use std::cell::Cell;

use cairn_datasets::{Dataset, ImageDataset, TensorDataset, synthetic};
use cairn_nn::Activation::Tanh;
use cairn_nn::{
    Context, Dropout, MeanSquaredError, Module, Sequential, SparseCategoricalCrossentropy, mse, spec::Dense,
};
use cairn_optim::{
    Adam, AnyOptimizer, Batch, Callback, ClosureOptimizer, Control, Error, Fit, Lbfgs, Objective, Optimizer,
    Result, StateDict, Trainer, metrics::Accuracy,
};
use cairn_tensor::{Tensor, rng};

/// 64 points of a sine wave, which a small network can fit closely.
fn wave() -> TensorDataset<f32, f32> {
    let x = Tensor::linspace(-3.0, 3.0, 64).unwrap().reshape([64, 1]).unwrap();
    let y = Tensor::from_vec(x.iter().map(f32::sin).collect(), [64, 1]).unwrap();
    TensorDataset::new(x, y).unwrap()
}

fn network() -> Sequential {
    Sequential::new([1]).add(Dense::new(8).activation(Tanh)).add(Dense::new(1)).build(&mut rng(1)).unwrap()
}

fn digits() -> ImageDataset {
    synthetic::digits(90, 3).unwrap().flatten()
}

#[test]
fn lbfgs_fits_closely_what_adam_does_not_in_as_many_evaluations() {
    let (data, count) = (wave(), Cell::new(0));
    let model = network();
    let mut trainer = Trainer::new(Lbfgs::default().strong_wolfe(true), MeanSquaredError);
    let fit = Fit::epochs(15).batch_size(64).quiet();
    let history = trainer
        .fit_with(&model, &data, fit, |model, x, y, cx| {
            count.set(count.get() + 1);
            let output = model.forward(x, cx)?;
            Ok((mse(&output, y)?, output))
        })
        .unwrap();
    let loss = trainer.evaluate(&model, &data).unwrap().loss();
    assert!(loss < 1e-4, "{loss}");
    assert!(
        history.values("loss").is_sorted_by(|a, b| b - a < 1e-6),
        "a line search does not go up: {history}"
    );

    let other = network();
    let mut adam = Trainer::new(Adam::new(0.01), MeanSquaredError);
    adam.fit(&other, &data, Fit::epochs(count.get()).batch_size(64).quiet()).unwrap();
    let behind = adam.evaluate(&other, &data).unwrap().loss();
    assert!(loss < 0.5 * behind, "{loss} after {} evaluations, of Adam {behind}", count.get());
}

#[test]
fn the_closure_by_hand_and_the_trainer_are_the_same() {
    let data = wave();
    let lbfgs = || Lbfgs::default().strong_wolfe(true).max_iterations(7);
    let (fitted, by_hand) = (network(), network());
    let fit = Fit::epochs(3).batch_size(64).shuffle(false).quiet();
    let history = Trainer::new(lbfgs(), MeanSquaredError).fit(&fitted, &data, fit).unwrap();
    let mut optimizer = lbfgs();
    for loss in history.values("loss") {
        let before = optimizer.minimize(&by_hand, |model| {
            mse(&model.forward(data.inputs(), &mut Context::train(0))?, data.targets())
        });
        assert_eq!(before.unwrap(), loss);
    }
    assert_eq!(fitted.state(), by_hand.state());
}

/// Batches of 30 that are one step together are the loss of all 90 samples.
#[test]
fn accumulated_batches_are_one_loss() {
    let run = |fit: Fit<'_, Tensor, Tensor<u32>>| {
        let model = Sequential::new([784]).add(Dense::new(10)).build(&mut rng(0)).unwrap();
        let mut trainer = Trainer::new(Lbfgs::default().max_iterations(2), SparseCategoricalCrossentropy);
        trainer.fit(&model, &digits(), fit.shuffle(false).quiet()).unwrap();
        model.state()
    };
    let (one, three) = (run(Fit::epochs(1).batch_size(90)), run(Fit::epochs(1).batch_size(30).accumulate(3)));
    for (a, b) in one.values().zip(three.values()) {
        let (a, b) = (a.as_f32().unwrap(), b.as_f32().unwrap());
        let gap = a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // What differs is the order of sums; a line search, and further iterations, would magnify it.
        assert!(gap < 0.05, "{gap}");
    }
}

/// With other masks in each evaluation the line search would compare different functions.
#[test]
fn dropout_drops_the_same_in_every_evaluation_of_a_step() {
    struct Probe(Vec<f64>);
    impl ClosureOptimizer for Probe {
        fn step(&mut self, objective: &mut dyn Objective) -> Result<f64> {
            let values: Result<Vec<f64>> = (0..3).map(|_| Ok(objective.evaluate()?.0)).collect();
            let values = values?;
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
            assert!(!self.0.contains(&values[0]), "but others in the next step");
            self.0.push(values[0]);
            Ok(values[0])
        }
        fn learning_rate(&self) -> f64 {
            1.0
        }
        fn set_learning_rate(&mut self, _: f64) {}
        fn state(&self) -> StateDict {
            StateDict::default()
        }
        fn load_state(&mut self, _: StateDict) -> Result<()> {
            Ok(())
        }
    }
    let model = Sequential::new([784]).add(Dropout::new(0.5)).add(Dense::new(10)).build(&mut rng(0)).unwrap();
    let fit = Fit::epochs(3).batch_size(90).shuffle(false).quiet();
    let probe = AnyOptimizer::Closure(Box::new(Probe(Vec::new())));
    Trainer::new(probe, SparseCategoricalCrossentropy).fit(&model, &digits(), fit).unwrap();
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    struct Interrupt(u64);
    impl Callback for Interrupt {
        fn on_batch(&mut self, batch: &Batch, _: &mut Control<'_>) -> Result<()> {
            if batch.step == self.0 { Err(Error::BadState("interrupted".into())) } else { Ok(()) }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    let run = |stop: u64| {
        let model = network();
        let lbfgs = Lbfgs::default().max_iterations(4).history_size(3).strong_wolfe(true);
        let fit = Fit::epochs(4).batch_size(16).accumulate(2).checkpoint(&path, 1).resume();
        let result =
            Trainer::new(lbfgs, MeanSquaredError).fit(&model, &wave(), fit.callback(Interrupt(stop)).quiet());
        result.map(|history| (model.state(), history.values("loss")))
    };
    let whole = run(u64::MAX).unwrap();
    std::fs::remove_file(&path).unwrap();
    run(5).unwrap_err();
    assert_eq!(run(u64::MAX).unwrap(), whole);
}

/// Written by the version before parameters were cells and randomness was counted.
#[test]
fn a_checkpoint_of_another_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.cairn");
    std::fs::write(&path, include_bytes!("../golden/training_v1.cairn")).unwrap();
    let lbfgs = Lbfgs::default().max_iterations(4).history_size(3).strong_wolfe(true);
    let fit = Fit::epochs(4).batch_size(16).accumulate(2).checkpoint(&path, 1).resume().quiet();
    let (model, mut trainer) = (network(), Trainer::new(lbfgs, MeanSquaredError));
    let before = model.state();
    let message = trainer.fit(&model, &wave(), fit).unwrap_err().to_string();
    assert!(message.contains("run.cairn") && message.contains("version 1"), "{message}");
    assert_eq!(model.state(), before);
}

#[test]
fn a_step_into_the_infinite_is_an_error_and_leaves_the_model_as_it_was() {
    let model = network();
    let before = model.state();
    let mut trainer = Trainer::new(Lbfgs::new(1e30), MeanSquaredError);
    let error = trainer.fit(&model, &wave(), Fit::epochs(1).batch_size(64).quiet()).unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { epoch: 1, step: 1, .. }), "{error}");
    assert_eq!(model.state(), before);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let model = network();
    let mut trainer = Trainer::new(Lbfgs::default(), MeanSquaredError);
    let error = trainer.fit(&model, &wave(), Fit::epochs(1).clip_norm(1.0).quiet()).unwrap_err();
    assert!(error.to_string().contains("limits on gradients"), "{error}");
    let mut optimizer = Lbfgs::default();
    // States that cannot be.
    let mut state = optimizer.state();
    state.numbers.insert("changes".into(), 1.0);
    assert!(matches!(optimizer.load_state(state), Err(Error::BadState(_))));
    assert!(matches!(optimizer.load_state(Adam::default().state()), Err(Error::BadState(_))));
}

#[test]
fn folds_are_trained_afresh_and_give_the_same_for_a_seed() {
    let data = synthetic::digits(240, 5).unwrap().flatten();
    let run = |seed: u64| {
        let mut trainer = Trainer::new(Adam::new(0.01), SparseCategoricalCrossentropy).metric(Accuracy);
        let before = trainer.optimizer().state();
        let result = trainer
            .cross_validate(&data, 4, seed, |fold| {
                let model = Sequential::new([784]).add(Dense::new(10)).build(&mut rng(fold as u64))?;
                Ok((model, Fit::epochs(15).quiet()))
            })
            .unwrap();
        assert_eq!(trainer.optimizer().state(), before, "the optimiser is as it was");
        result
    };
    let result = run(1);
    assert_eq!(result, run(1));
    assert_ne!(result, run(2));
    assert_eq!(result.folds.len(), 4);
    let values = result.values("accuracy");
    let mean = values.iter().sum::<f64>() / 4.0;
    assert!((result.mean("accuracy").unwrap() - mean).abs() < 1e-12);
    assert!(mean > 0.4, "{result}");
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / 3.0;
    assert!((result.std("accuracy").unwrap() - variance.sqrt()).abs() < 1e-12);
    assert_eq!(result.mean("f1"), None);
    assert!(result.to_string().contains("accuracy 0."), "{result}");

    // The third by hand.
    let (train, test) = (&data).folds(4, 1).unwrap().swap_remove(2);
    let model = Sequential::new([784]).add(Dense::new(10)).build(&mut rng(2)).unwrap();
    let mut trainer = Trainer::new(Adam::new(0.01), SparseCategoricalCrossentropy).metric(Accuracy);
    trainer.fit(&model, &train, Fit::epochs(15).quiet()).unwrap();
    assert_eq!(trainer.evaluate(&model, &test).unwrap(), result.folds[2]);

    let none =
        Trainer::new(Adam::new(0.01), SparseCategoricalCrossentropy).cross_validate(&data, 1, 0, |_| {
            Ok((Sequential::new([784]).add(Dense::new(10)).build(&mut rng(0))?, Fit::epochs(1).quiet()))
        });
    assert!(none.is_err());
}
