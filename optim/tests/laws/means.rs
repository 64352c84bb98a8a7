//! One rule for means: the sum of weighted losses over the sum of weights, of a step, an epoch, an evaluation, and of all folds.
//! So a data set has one loss, whatever the size of batches, their order, and how many of them make a step.

use std::cell::RefCell;

use cairn_datasets::augment::{Augmented, Normalize, RandomCrop, RandomHorizontalFlip};
use cairn_datasets::{Dataset, TensorDataset, synthetic};
use cairn_nn::{
    CrossEntropy, GlobalAvgPool, Linear, Loss, Model, Module, Sequential, SparseCategoricalCrossentropy,
    spec, spec::Dense,
};
use cairn_optim::{AnyOptimizer, Error, Fit, History, Lbfgs, Result, Sgd, Trainer, WeightedSamples};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

type Labelled = TensorDataset<f32, u32>;

/// All inputs 0, so that only the bias of a linear model learns.
fn zeros(labels: &[u32]) -> Labelled {
    let count = labels.len();
    let labels = Tensor::from_slice(labels, [count]).unwrap();
    TensorDataset::new(Tensor::zeros([count, 1]).unwrap(), labels).unwrap()
}

/// A linear model of one input and two outputs, all 0.
fn nothing() -> Sequential {
    let model = Sequential::new([1]).add(Dense::new(2)).build(&mut rng(0)).unwrap();
    model.for_each_parameter(&mut |_, parameter| parameter.set(Tensor::zeros(parameter.shape()).unwrap()));
    model
}

fn bias(model: &Sequential) -> Vec<f32> {
    model.state()["dense.bias"].as_f32().unwrap().to_vec()
}

/// The bias after an epoch, and the history.
fn trained<D>(
    optimizer: impl Into<AnyOptimizer>,
    loss: impl Loss<D::Target> + 'static,
    data: &D,
    batch: usize,
    accumulate: usize,
) -> Result<(Vec<f32>, History)>
where
    D: Dataset<Input = Tensor> + Sync,
    D::Target: Send,
{
    let model = nothing();
    let fit = Fit::epochs(1).batch_size(batch).accumulate(accumulate).shuffle(false).quiet();
    let history = Trainer::new(optimizer, loss).fit(&model, data, fit)?;
    Ok((bias(&model), history))
}

fn close(got: &[f32], want: &[f32], what: &str) {
    let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(got.len() == want.len() && apart < 1e-5, "{what}: {got:?} for {want:?}");
}

#[test]
fn a_step_of_several_batches_is_that_of_one_whatever_the_weights() {
    let data = zeros(&[0, 0, 1, 1]);
    let weighted =
        WeightedSamples::new(&data, Tensor::from_vec(vec![1.0, 1.0, 9.0, 9.0], [4]).unwrap()).unwrap();
    let classes = || CrossEntropy::new().class_weights([1.0, 9.0]);
    for (batch, accumulate) in [(4, 1), (2, 2), (1, 4), (3, 2)] {
        let what = format!("{accumulate} batches of {batch}");
        let sgd = || Sgd::new(1.0);
        let by_class = trained(sgd(), classes(), &data, batch, accumulate).unwrap();
        close(&by_class.0, &[-0.4, 0.4], &what);
        close(
            &trained(sgd(), CrossEntropy::new(), &weighted, batch, accumulate).unwrap().0,
            &[-0.4, 0.4],
            &what,
        );
        // The first step of L-BFGS is that of gradient descent, no longer than the rate.
        let lbfgs = || Lbfgs::new(1.0).max_iterations(1);
        close(&trained(lbfgs(), classes(), &data, batch, accumulate).unwrap().0, &[-0.4, 0.4], &what);
        let losses = by_class.1.values("loss");
        assert!((losses[0] - std::f64::consts::LN_2).abs() < 1e-6, "{what}: {losses:?}");
    }
}

#[test]
fn a_batch_of_no_weight_makes_no_step_and_counts_for_nothing() {
    let data = zeros(&[0, 0, 1, 1]);
    let last = zeros(&[1, 1]);
    let excluded = || CrossEntropy::new().class_weights([0.0, 1.0]);
    let want = trained(Sgd::new(0.5), excluded(), &last, 2, 1).unwrap();
    close(&want.0, &[-0.25, 0.25], "the last two alone");
    let weights = Tensor::from_vec(vec![0.0, 0.0, 1.0, 1.0], [4]).unwrap();
    let weighted = WeightedSamples::new(&data, weights).unwrap();
    for accumulate in [1, 2] {
        for (got, history) in [
            trained(Sgd::new(0.5), excluded(), &data, 2, accumulate).unwrap(),
            trained(Sgd::new(0.5), CrossEntropy::new(), &weighted, 2, accumulate).unwrap(),
        ] {
            close(&got, &want.0, "with two that are excluded");
            assert!((history.last("loss").unwrap() - std::f64::consts::LN_2).abs() < 1e-6);
        }
    }
    let many = zeros(&[[0; 256].as_slice(), &[1, 1]].concat());
    let evaluation = Trainer::new(Sgd::new(0.1), excluded()).evaluate(&nothing(), &many).unwrap();
    assert!((evaluation.loss() - std::f64::consts::LN_2).abs() < 1e-6, "{evaluation}");
    assert_eq!((evaluation.weight, evaluation.samples), (2.0, 258));
    // A loss over nothing at all is no loss of 0.
    let none = zeros(&[0, 0]);
    let error = trained(Sgd::new(0.1), excluded(), &none, 1, 1).unwrap_err();
    assert!(error.to_string().contains("the sum of weights of all samples is 0"), "{error}");
    assert!(matches!(
        Trainer::new(Sgd::new(0.1), excluded()).evaluate(&nothing(), &none),
        Err(Error::BadSetting(_))
    ));
}

/// A data set of 3 classes, some labels ignored, some samples weighing more, some nothing.
fn drawn(samples: usize, seed: u64) -> (TensorDataset<f32, u32>, Tensor) {
    let mut rng = rng(seed);
    let x = Tensor::normal([samples, 4], 0.0, 2.0, &mut rng).unwrap();
    let whole = |high: f64, rng: &mut _| Tensor::uniform([samples], 0.0, high, rng).unwrap();
    let labels: Vec<u32> =
        whole(3.999, &mut rng).iter().map(|x| if x < 3.0 { x as u32 } else { 255 }).collect();
    let weights: Vec<f32> = whole(4.0, &mut rng).iter().map(|x| if x < 1.0 { 0.0 } else { x }).collect();
    let labels = Tensor::from_vec(labels, [samples]).unwrap();
    (TensorDataset::new(x, labels).unwrap(), Tensor::from_vec(weights, [samples]).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// At a rate of 0 every way of looking at a data set gives the loss of one batch of all of it.
    #[test]
    fn a_data_set_has_one_loss(samples in 20..60usize, batch in 1..25usize, accumulate in 1..4usize, seed: u64) {
        let (data, weights) = drawn(samples, seed);
        let loss = || CrossEntropy::new().class_weights([0.5, 2.0, 1.0]).label_smoothing(0.1).ignore(255);
        let data = WeightedSamples::new(&data, weights).unwrap();
        let model = || Sequential::new([4]).add(Dense::new(3)).build(&mut rng(seed)).unwrap();
        let all: Vec<usize> = (0..samples).collect();
        let (x, y) = data.batch(&all).unwrap();
        prop_assume!(loss().weight(&Tensor::zeros([0]).unwrap().into(), &y).unwrap() > Some(0.0));
        let output = model().predict_batch(&x).unwrap();
        let want = f64::from(loss().loss(&output.into(), &y).unwrap().item().unwrap());

        let mut trainer = Trainer::new(Sgd::new(0.0), loss());
        let evaluated = trainer.evaluate(&model(), &data).unwrap().loss();
        let fit = || Fit::epochs(2).batch_size(batch).accumulate(accumulate).seed(seed).quiet();
        let history = trainer.fit(&model(), &data, fit().validate(&data)).unwrap();
        let folds = trainer.cross_validate(&data, 5, seed, |_| Ok((model(), fit())));
        let mut found = vec![("evaluated", evaluated)];
        found.extend(history.values("loss").into_iter().map(|loss| ("trained", loss)));
        found.extend(history.values("val_loss").into_iter().map(|loss| ("validated", loss)));
        // A part may be drawn that weighs nothing, which is refused.
        found.extend(folds.ok().and_then(|folds| folds.mean("loss")).map(|loss| ("cross-validated", loss)));
        for (how, got) in found {
            prop_assert!((got - want).abs() < 1e-5 * want.max(1.0), "{how}: {got} for {want}");
        }
    }

    /// So has a step, and it moves the weights by the same gradient.
    #[test]
    fn a_data_set_has_one_step(samples in 8..40usize, batch in 1..12usize, seed: u64) {
        let (data, weights) = drawn(samples, seed);
        let data = WeightedSamples::new(&data, weights).unwrap();
        let step = |batch: usize, accumulate: usize, shuffle: bool| {
            let model = Sequential::new([4]).add(Dense::new(3)).build(&mut rng(seed)).unwrap();
            let fit = Fit::epochs(1).batch_size(batch).accumulate(accumulate).shuffle(shuffle).quiet();
            Trainer::new(Sgd::new(0.5), CrossEntropy::new().ignore(255)).fit(&model, &data, fit).ok()?;
            Some(model.state())
        };
        let Some(whole) = step(samples, 1, false) else { return Ok(()) };
        for shuffle in [false, true] {
            let parts = step(batch, samples, shuffle).unwrap();
            for (name, value) in &whole {
                close(&parts[name].as_f32().unwrap().to_vec(), &value.as_f32().unwrap().to_vec(), name);
            }
        }
    }
}

#[test]
fn a_step_of_ones_own_says_what_its_mean_is_over() {
    let data = zeros(&[0, 0, 1, 1]);
    let run = |batch: usize, accumulate: usize| {
        let (model, loss) = (nothing(), CrossEntropy::new().class_weights([1.0, 9.0]));
        let fit = Fit::epochs(1).batch_size(batch).accumulate(accumulate).shuffle(false).quiet();
        let mut trainer = Trainer::new(Sgd::new(1.0), SparseCategoricalCrossentropy);
        trainer
            .fit_with(&model, &data, fit, |model, x, labels, cx| {
                let output = model.forward(x, cx)?;
                let weight = loss.weight(&output, labels)?.unwrap_or(0.0);
                Ok((loss.loss(&output, labels)?, output, weight))
            })
            .unwrap();
        bias(&model)
    };
    close(&run(2, 2), &run(4, 1), "a triple");
}

#[test]
fn validation_and_folds_see_images_that_are_not_varied() {
    let plain = || Augmented::new(synthetic::shapes(100, 5).unwrap(), 1).with(Normalize::cifar10());
    let varied = || {
        Augmented::new(synthetic::shapes(100, 5).unwrap(), 1)
            .with(RandomCrop::new(32, 32).padding(8))
            .with(RandomHorizontalFlip::default())
            .with(Normalize::cifar10())
    };
    let model = || {
        let model =
            Sequential::new([32, 32, 3]).add(spec::Conv2d::new(4, 5)).add(GlobalAvgPool).add(Dense::new(10));
        model.build(&mut rng(3)).unwrap()
    };
    let mut trainer = Trainer::new(Sgd::new(0.0), SparseCategoricalCrossentropy);
    let fit = || Fit::epochs(3).validation_split(0.2).quiet();
    let history = trainer.fit(&model(), &varied(), fit()).unwrap();
    let held = plain().subset((80..100).collect()).unwrap();
    let want = trainer.evaluate(&model(), &held).unwrap().loss();
    assert_eq!(history.values("val_loss"), [want; 3]);
    assert_eq!(trainer.evaluate(&model(), &varied()).unwrap(), trainer.evaluate(&model(), &plain()).unwrap());
    assert_eq!(trainer.predict(&model(), &varied()).unwrap(), trainer.predict(&model(), &plain()).unwrap());
    let mut folds = |data: &Augmented<_>| {
        trainer.cross_validate(data, 4, 0, |_| Ok((model(), Fit::epochs(1).quiet()))).unwrap()
    };
    assert_eq!(folds(&varied()), folds(&plain()));
    // But what is trained on is varied.
    let trained = RefCell::new(Vec::new());
    for data in [varied(), plain()] {
        let history = Trainer::new(Sgd::new(0.0), SparseCategoricalCrossentropy).fit(
            &model(),
            &data,
            Fit::epochs(1).quiet(),
        );
        trained.borrow_mut().push(history.unwrap().last("loss"));
    }
    assert_ne!(trained.borrow()[0], trained.borrow()[1]);
}

#[test]
fn accumulated_gradients_count_by_their_weights() {
    let model = Linear::new(1, 1, &mut rng(0)).unwrap();
    let gradient = |g: f32| {
        let loss = model.weight.var().sum(..).unwrap().scale(g).unwrap();
        loss.add(&model.bias.as_ref().unwrap().var().sum(..).unwrap()).unwrap().backward().unwrap()
    };
    let mut accumulation = cairn_optim::Accumulation::default();
    accumulation.add_weighted(&model, gradient(4.0), 3.0).unwrap();
    accumulation.add_weighted(&model, gradient(f32::MAX), 0.0).unwrap();
    accumulation.add(&model, gradient(8.0), 1).unwrap();
    let mean = accumulation.take(&model).unwrap();
    assert_eq!(mean.of(&model.weight).unwrap().to_vec(), [5.0]);
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(accumulation.add_weighted(&model, gradient(1.0), bad).is_err());
    }
}
