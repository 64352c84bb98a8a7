//! What is used for a second run begins it anew: callbacks that were passed by reference, and a trainer given another model.

use cairn_datasets::TensorDataset;
use cairn_nn::{MeanSquaredError, Module, Sequential, load_weights, spec::Dense};
use cairn_optim::{
    Adam, AnyOptimizer, Callback, CheckpointAverage, EarlyStopping, Ema, Error, Fit, Goal, History, Lbfgs,
    ModelCheckpoint, NAdam, Optimizer, ReduceOnPlateau, Sgd, Trainer,
};
use cairn_tensor::{Tensor, rng};

type Data = TensorDataset<f32, f32>;

/// y = x, with as much noise as is asked for.
fn line(noise: f64) -> Data {
    let x = Tensor::linspace(-1.0, 1.0, 32).unwrap().reshape([32, 1]).unwrap();
    let y = x.add(&Tensor::normal([32, 1], 0.0, noise, &mut rng(1)).unwrap()).unwrap();
    TensorDataset::new(x, y).unwrap()
}

fn model(seed: u64) -> Sequential {
    Sequential::new([1]).add(Dense::new(4)).add(Dense::new(1)).build(&mut rng(seed)).unwrap()
}

fn run(callback: &mut dyn Callback, data: &Data, model: &Sequential) -> History {
    struct Borrowed<'a>(&'a mut dyn Callback);
    impl Callback for Borrowed<'_> {
        fn reset(&mut self) {
            self.0.reset();
        }
        fn on_epoch(
            &mut self,
            epoch: &cairn_optim::Epoch,
            control: &mut cairn_optim::Control<'_>,
        ) -> cairn_optim::Result<()> {
            self.0.on_epoch(epoch, control)
        }
        fn on_batch(
            &mut self,
            batch: &cairn_optim::Batch,
            control: &mut cairn_optim::Control<'_>,
        ) -> cairn_optim::Result<()> {
            self.0.on_batch(batch, control)
        }
        fn on_end(&mut self, control: &mut cairn_optim::Control<'_>) -> cairn_optim::Result<()> {
            self.0.on_end(control)
        }
    }
    let fit = Fit::epochs(16).batch_size(8).callback(Borrowed(callback)).quiet();
    Trainer::new(Sgd::new(0.1), MeanSquaredError).fit(model, data, fit).unwrap()
}

/// The second of two runs with one callback is that with a fresh one, in epochs and bits.
fn second_run_is_fresh<C: Callback>(make: impl Fn() -> C) {
    let mut used = make();
    run(&mut used, &line(0.0), &model(1));
    let (second, fresh) = (model(2), model(2));
    let again = run(&mut used, &line(1.0), &second);
    let first = run(&mut make(), &line(1.0), &fresh);
    assert_eq!(again.values("loss"), first.values("loss"));
    assert_eq!(second.state(), fresh.state());
}

#[test]
fn callbacks_forget_the_run_before() {
    second_run_is_fresh(|| EarlyStopping::new(Goal::low("loss"), 2));
    second_run_is_fresh(|| ReduceOnPlateau::new(Goal::low("loss")).patience(2));
    second_run_is_fresh(|| Ema::new(0.9));
    second_run_is_fresh(|| CheckpointAverage::new(3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.cairn");
    let mut best = ModelCheckpoint::best(&path, Goal::low("loss"));
    run(&mut best, &line(0.0), &model(1));
    std::fs::remove_file(&path).unwrap();
    run(&mut best, &line(1.0), &model(2));
    load_weights(&model(3), &path).unwrap();
}

#[test]
fn a_trainer_begins_anew_with_another_model() {
    let fit = || Fit::epochs(3).batch_size(8).quiet();
    let optimizers: [fn() -> AnyOptimizer; 4] = [
        || Adam::new(0.05).into(),
        || NAdam::new(0.05).into(),
        || Sgd::new(0.05).momentum(0.9).into(),
        || Lbfgs::new(0.1).strong_wolfe(true).max_iterations(3).into(),
    ];
    for optimizer in optimizers {
        let mut used = Trainer::new(optimizer(), MeanSquaredError);
        used.fit(&model(1), &line(0.1), fit()).unwrap();
        let (second, fresh) = (model(2), model(2));
        let again = used.fit(&second, &line(0.1), fit()).unwrap();
        let first = Trainer::new(optimizer(), MeanSquaredError).fit(&fresh, &line(0.1), fit()).unwrap();
        assert_eq!(again.values("loss"), first.values("loss"));
        assert_eq!(second.state(), fresh.state());
        // With the same model it goes on.
        used.fit(&second, &line(0.1), fit()).unwrap();
        Trainer::new(optimizer(), MeanSquaredError).fit(&fresh, &line(0.1), fit()).unwrap();
        assert_ne!(second.state(), fresh.state());
    }
}

#[test]
fn a_rate_that_a_callback_lowered_is_for_that_model() {
    let plateau = || ReduceOnPlateau::new(Goal::high("loss")).patience(0);
    let mut trainer = Trainer::new(Sgd::new(0.1), MeanSquaredError);
    let fit = || Fit::epochs(3).batch_size(8).quiet();
    trainer.fit(&model(1), &line(0.1), fit().callback(plateau())).unwrap();
    assert!(trainer.optimizer().learning_rate() < 0.1);
    trainer.fit(&model(2), &line(0.1), fit()).unwrap();
    assert_eq!(trainer.optimizer().learning_rate(), 0.1);
    // One that was set by hand since stays.
    trainer.optimizer().set_learning_rate(0.03);
    trainer.fit(&model(3), &line(0.1), fit()).unwrap();
    assert_eq!(trainer.optimizer().learning_rate(), 0.03);
}

#[test]
fn an_optimiser_by_hand_says_that_the_model_is_another() {
    let mut adam = Adam::default();
    let step = |adam: &mut Adam, model: &Sequential| {
        let data = line(0.0);
        let output = model.forward(data.inputs(), &mut cairn_nn::Context::train(0)).unwrap();
        adam.step(model, &cairn_nn::mse(&output, data.targets()).unwrap().backward().unwrap())
    };
    step(&mut adam, &model(1)).unwrap();
    assert!(matches!(step(&mut adam, &model(2)), Err(Error::OtherModel(_))));
    adam.reset();
    step(&mut adam, &model(2)).unwrap();
}

#[test]
fn a_plateau_is_not_begun_by_a_value_that_is_no_number() {
    struct Feed<'a>(&'a [f64], ReduceOnPlateau, Vec<f64>);
    impl Callback for Feed<'_> {
        fn on_epoch(
            &mut self,
            epoch: &cairn_optim::Epoch,
            control: &mut cairn_optim::Control<'_>,
        ) -> cairn_optim::Result<()> {
            let values = vec![("watched".to_owned(), self.0[epoch.epoch - 1])];
            self.1.on_epoch(&cairn_optim::Epoch { values, ..epoch.clone() }, control)?;
            self.2.push(control.learning_rate());
            Ok(())
        }
    }
    let rates = |series: &[f64]| {
        let mut feed = Feed(series, ReduceOnPlateau::new(Goal::low("watched")).patience(1), Vec::new());
        let fit = Fit::epochs(series.len()).callback(&mut feed).quiet();
        Trainer::new(Sgd::new(1.0), MeanSquaredError).fit(&model(1), &line(0.0), fit).unwrap();
        feed.2
    };
    assert_eq!(rates(&[f64::NAN, 5.0, 4.0, 3.0, 2.0, 1.0]), [1.0; 6]);
    assert_eq!(rates(&[5.0, f64::NEG_INFINITY, 4.0, 4.0])[3], 0.1, "nothing is better than -∞");
}
