//! The training loop: it learns, gives the same bits for any number of threads, and stops at what is wrong.

use cairn_autograd::Var;
use cairn_datasets::{Dataset, ImageDataset, TensorDataset, synthetic};
use cairn_nn::Activation::{Relu, Softmax};
use cairn_nn::{
    Context, Dropout, Dropout2d, Flatten, Linear, MaxPool2d, MeanSquaredError, Model, Module, Sequential,
    SparseCategoricalCrossentropy, cross_entropy,
    spec::{BatchNorm, Conv2d, Dense},
};
use cairn_optim::metrics::{Accuracy, MeanAbsoluteError};
use cairn_optim::{Adam, Error, Fit, Sgd, Trainer};
use cairn_tensor::{Tensor, memory, rng};

use crate::child;

fn digits(count: usize) -> ImageDataset {
    synthetic::digits(count, 11).unwrap().flatten()
}

fn perceptron(seed: u64) -> Sequential {
    Sequential::new([784])
        .add(Dense::new(48).activation(Relu))
        .add(Dropout::new(0.1))
        .add(Dense::new(10))
        .build(&mut rng(seed))
        .unwrap()
}

fn classifier() -> Trainer<Tensor<u32>> {
    Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy)
}

#[test]
fn a_perceptron_learns_digits() {
    let (train, test) = digits(5000).split(0.9, 1).unwrap();
    let (model, mut trainer) = (perceptron(0), classifier());
    let history = trainer.fit(&model, &train, Fit::epochs(4).validate(&test).quiet()).unwrap();
    assert_eq!(history.epochs().len(), 4);
    assert_eq!(history.names().collect::<Vec<_>>(), ["loss", "accuracy", "val_loss", "val_accuracy"]);
    let losses = history.values("loss");
    assert!(losses[3] < 0.5 * losses[0], "{losses:?}");
    let accuracy = history.last("val_accuracy").unwrap();
    assert!(accuracy > 0.8, "{accuracy}");

    let result = trainer.evaluate(&model, &test).unwrap();
    assert_eq!(result.get("accuracy"), Some(accuracy));
    assert_eq!(Some(result.loss()), history.last("val_loss"));
    // The same by hand, from the predictions.
    let scores = trainer.predict(&model, &test).unwrap();
    assert_eq!(scores.shape(), [500, 10]);
    let (_, labels) = test.batch(&(0..500).collect::<Vec<_>>()).unwrap();
    let hits = scores.argmax(-1).unwrap().eq(&labels).unwrap().iter().filter(|&hit| hit).count();
    assert_eq!(hits as f64 / 500.0, accuracy);
    let table = history.to_string();
    assert_eq!(table.lines().count(), 5, "{table}");
}

fn convolutional(seed: u64) -> Sequential {
    Sequential::new([28, 28, 1])
        .add(Conv2d::new(8, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(12, 3).same().stride(2))
        .add(BatchNorm::new().momentum(0.9))
        .add(Relu)
        .add(Dropout2d::new(0.1))
        .add(Flatten)
        .add(Dense::new(10))
        .build(&mut rng(seed))
        .unwrap()
}

#[test]
fn a_convolutional_network_learns_digits_and_gives_the_same_bits_for_any_number_of_threads() {
    let data = synthetic::digits(1200, 11).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let model = convolutional(3);
            let mut trainer = Trainer::new(Adam::new(0.005), SparseCategoricalCrossentropy);
            let history = trainer.fit(&model, &data, Fit::epochs(2).batch_size(40).seed(1).quiet()).unwrap();
            (model.state(), history.values("loss"))
        })
    };
    let one = run(1);
    assert!(one.1[1] < 0.7 * one.1[0], "{:?}", one.1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

#[test]
fn the_same_seed_gives_the_same_bits_for_any_number_of_threads() {
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let data = digits(700);
            let model = Sequential::new([784])
                .add(Dense::new(300).activation(Relu))
                .add(Dropout::new(0.2))
                .add(Dense::new(10).activation(Softmax))
                .build(&mut rng(seed))
                .unwrap();
            // Batches large enough for products to be split over threads.
            let history =
                classifier().fit(&model, &data, Fit::epochs(2).batch_size(256).seed(seed).quiet()).unwrap();
            (model.state(), history.values("loss"))
        })
    };
    let one = run(1, 5);
    assert_eq!(one, run(2, 5));
    assert_eq!(one, run(3, 5));
    assert_ne!(one, run(1, 6), "another seed gives another run");
}

/// What a step draws is a function of seed, step and micro-batch: extra draws in one step change nothing in the next.
#[test]
fn a_step_draws_the_same_whatever_was_drawn_before() {
    let data = digits(120);
    let run = |extra: usize| {
        let (model, mut passes) = (perceptron(0), 0);
        let fit = Fit::epochs(2).batch_size(20).accumulate(2).quiet();
        let history = classifier()
            .fit_with(&model, &data, fit, |model, x, labels, cx| {
                let scores = model.forward(x, cx)?;
                passes += 1;
                for _ in 0..if passes % 3 == 0 { extra } else { 0 } {
                    model.forward(x, cx)?;
                }
                Ok((cross_entropy(&scores, labels)?, scores))
            })
            .unwrap();
        (model.state(), history.values("loss"))
    };
    let plain = run(0);
    assert_eq!(plain, run(1));
    assert_eq!(plain, run(5));
}

/// Twice the same samples: without a place of its own the second batch would drop what the first one drops.
#[test]
fn every_batch_of_every_step_draws_anew() {
    let one = digits(1);
    let data = one.subset(vec![0; 6]).unwrap();
    let model = Sequential::new([784]).add(Dropout::new(0.5)).add(Dense::new(10)).build(&mut rng(0)).unwrap();
    let mut outputs: Vec<Vec<f32>> = Vec::new();
    // At a rate of 0 the model stays the same.
    let mut trainer = Trainer::new(Sgd::new(0.0), SparseCategoricalCrossentropy);
    trainer
        .fit_with(
            &model,
            &data,
            Fit::epochs(2).batch_size(1).accumulate(3).quiet(),
            |model, x, labels, cx| {
                let scores = model.forward(x, cx)?;
                outputs.push(scores.value().to_vec());
                Ok((cross_entropy(&scores, labels)?, scores))
            },
        )
        .unwrap();
    assert_eq!(outputs.len(), 12, "three micro-batches of two steps in each of two epochs");
    for i in 0..outputs.len() {
        assert!(!outputs[..i].contains(&outputs[i]), "batch {i}");
    }
}

#[test]
fn models_written_by_hand_train_in_the_same_loop() {
    #[derive(Module)]
    struct Line {
        linear: Linear,
    }
    impl Model<Tensor> for Line {
        fn forward(&self, x: &Tensor, _: &mut Context) -> cairn_nn::Result<Var> {
            self.linear.forward(&Var::from(x.clone()))
        }
    }
    let x = Tensor::linspace(-1.0, 1.0, 64).unwrap().reshape([64, 1]).unwrap();
    let y = x.scale(2.0).unwrap().add(&Tensor::scalar(-0.5)).unwrap();
    let data = TensorDataset::new(x, y).unwrap();
    let model = Line { linear: Linear::new(1, 1, &mut rng(0)).unwrap() };
    let mut trainer = Trainer::new(Sgd::new(0.1), MeanSquaredError).metric(MeanAbsoluteError);
    let history = trainer.fit(&model, &data, Fit::epochs(60).batch_size(16).quiet()).unwrap();
    assert!(history.last("mean_absolute_error").unwrap() < 0.01);
    assert!((model.linear.weight.value().item().unwrap() - 2.0).abs() < 0.05);
}

#[test]
fn a_loss_that_is_not_finite_stops_training_and_names_the_step() {
    let mut inputs = vec![0.5f32; 64];
    inputs[40] = f32::NAN;
    let data = TensorDataset::new(
        Tensor::from_vec(inputs, [64, 1]).unwrap(),
        Tensor::<f32>::zeros([64, 1]).unwrap(),
    )
    .unwrap();
    let model = Sequential::new([1]).add(Dense::new(1)).build(&mut rng(0)).unwrap();
    let mut trainer = Trainer::new(Sgd::new(0.1), MeanSquaredError);
    let error = trainer.fit(&model, &data, Fit::epochs(2).batch_size(16).shuffle(false).quiet()).unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { epoch: 1, step: 3, .. }), "{error}");
    assert!(error.to_string().contains("epoch 1, step 3"));
    assert!(
        model.state().values().all(|value| value.as_f32().unwrap().iter().all(f32::is_finite)),
        "the model is as before the step"
    );
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let (model, mut trainer) = (perceptron(0), classifier());
    let data = digits(50);
    let mut message =
        |fit: Fit<'_, Tensor, Tensor<u32>>| trainer.fit(&model, &data, fit.quiet()).unwrap_err().to_string();
    assert!(message(Fit::epochs(0)).contains("number of epochs"));
    assert!(message(Fit::epochs(1).batch_size(0)).contains("batch"));
    assert!(message(Fit::epochs(1).clip_norm(-1.0)).contains("norm"));
    let empty =
        TensorDataset::new(Tensor::<f32>::zeros([0, 784]).unwrap(), Tensor::<u32>::zeros([0]).unwrap());
    if let Ok(empty) = empty {
        assert!(trainer.fit(&model, &empty, Fit::epochs(1).quiet()).is_err());
        assert!(trainer.evaluate(&model, &empty).is_err());
    }
    // A label that the model has no score for.
    let labels = Tensor::from_vec(vec![3, 12], [2]).unwrap();
    let strange = TensorDataset::new(Tensor::<f32>::zeros([2, 784]).unwrap(), labels).unwrap();
    let message = trainer.fit(&model, &strange, Fit::epochs(1).quiet()).unwrap_err().to_string();
    assert!(message.contains("12"), "{message}");
    // Images of another size.
    let small =
        TensorDataset::new(Tensor::<f32>::zeros([2, 100]).unwrap(), Tensor::<u32>::zeros([2]).unwrap())
            .unwrap();
    let message = trainer.evaluate(&model, &small).unwrap_err().to_string();
    assert!(message.contains("[2, 100]") && message.contains("[784]"), "{message}");
}

#[test]
fn gradients_can_be_clipped_while_fitting() {
    let data = digits(300);
    let run = |limit: Option<f32>| {
        let model = perceptron(0);
        let fit = Fit::epochs(1).quiet();
        let fit = match limit {
            Some(limit) => fit.clip_norm(limit),
            None => fit,
        };
        Trainer::new(Sgd::new(0.1), SparseCategoricalCrossentropy).fit(&model, &data, fit).unwrap();
        model.state()
    };
    assert_eq!(run(None), run(Some(1e6)), "a limit never reached changes nothing");
    assert_ne!(run(None), run(Some(0.01)));
}

#[test]
fn steady_training_takes_no_memory_from_the_system() {
    // By itself, since the tests beside it take memory too.
    let folder = tempfile::tempdir().unwrap();
    let alone = child::command("training::steady_training_alone", folder.path()).output().unwrap();
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stdout));
}

/// A part of the test above.
#[test]
fn steady_training_alone() {
    if child::folder().is_none() {
        return;
    }
    let data = digits(640);
    let (model, mut trainer) = (perceptron(0), classifier());
    trainer.fit(&model, &data, Fit::epochs(1).quiet()).unwrap();
    let before = memory();
    trainer.fit(&model, &data, Fit::epochs(2).quiet()).unwrap();
    let after = memory();
    let (taken, reused) = (after.allocated - before.allocated, after.reused - before.reused);
    assert!(taken * 20 < reused, "{taken} blocks from the system, {reused} reused");
}
