//! Optimisers against PyTorch's trajectories and closed forms; sparse gradients; what is refused.

use std::collections::HashMap;

use cairn_autograd::{Gradients, Parameter, Var};
use cairn_nn::{Linear, Module, mse};
use cairn_optim::{
    Accumulation, Adadelta, Adagrad, Adam, AdamW, Adamax, CheckpointAverage, ClosureOptimizer, Ema, Error,
    Group, Lamb, Lbfgs, Lion, NAdam, Optimizer, RAdam, RmsProp, Sgd, clip_by_global_norm, clip_by_norm,
    clip_by_value, global_norm,
};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

/// A model of one parameter.
#[derive(Module, Clone)]
struct Point {
    p: Parameter,
}

fn point(values: &[f32]) -> Point {
    Point { p: Parameter::new(Tensor::from_slice(values, [values.len()]).unwrap()) }
}

/// Gradients that are just these values.
fn gradients(model: &Point, values: &[f32]) -> Gradients {
    let g = Tensor::from_slice(values, [values.len()]).unwrap();
    model.p.var().mul(&Var::constant(g)).unwrap().sum(..).unwrap().backward().unwrap()
}

/// The formula of `golden/trajectories.py`.
fn bowl(step: usize, p: &[f32]) -> Vec<f32> {
    let centre = [0.1 * step as f32, 1.0, -0.02 * step as f32, 0.0];
    let slope = [1.0, 0.5, 2.0, 0.01];
    (0..4).map(|i| slope[i] * (p[i] - centre[i])).collect()
}

#[test]
fn trajectories_are_those_of_pytorch() {
    let golden: HashMap<String, Vec<Vec<f32>>> =
        serde_json::from_str(include_str!("../golden/trajectories.json")).unwrap();
    let optimizers: Vec<(&str, Box<dyn Optimizer>)> = vec![
        ("sgd", Box::new(Sgd::new(0.1))),
        ("sgd_decay", Box::new(Sgd::new(0.1).weight_decay(0.05))),
        ("momentum", Box::new(Sgd::new(0.05).momentum(0.9))),
        ("nesterov", Box::new(Sgd::new(0.05).momentum(0.9).nesterov(true).weight_decay(0.01))),
        ("adam", Box::new(Adam::new(0.05))),
        ("adam_l2", Box::new(Adam::new(0.05).betas(0.8, 0.95).epsilon(1e-6).weight_decay(0.1))),
        ("adamw", Box::new(AdamW::new(0.05).weight_decay(0.1))),
        ("nadam", Box::new(NAdam::new(0.05))),
        ("nadam_l2", Box::new(NAdam::default().betas(0.8, 0.95).momentum_decay(0.02).weight_decay(0.1))),
        ("radam", Box::new(RAdam::new(0.05))),
        ("radam_l2", Box::new(RAdam::new(0.05).betas(0.8, 0.95).weight_decay(0.1))),
        ("rmsprop", Box::new(RmsProp::default())),
        ("rmsprop_l2", Box::new(RmsProp::default().alpha(0.9).epsilon(1e-6).weight_decay(0.1))),
        ("rmsprop_momentum", Box::new(RmsProp::new(0.005).momentum(0.9))),
        ("rmsprop_centered", Box::new(RmsProp::default().centered(true).alpha(0.9))),
        ("rmsprop_both", Box::new(RmsProp::new(0.005).centered(true).momentum(0.9).alpha(0.9))),
        ("adagrad", Box::new(Adagrad::new(0.1))),
        (
            "adagrad_all",
            Box::new(
                Adagrad::new(0.1).rate_decay(0.01).weight_decay(0.1).initial_accumulator(0.5).epsilon(1e-6),
            ),
        ),
        ("adadelta", Box::new(Adadelta::default())),
        ("adadelta_l2", Box::new(Adadelta::new(0.5).rho(0.95).epsilon(1e-4).weight_decay(0.1))),
        ("adamax", Box::new(Adamax::new(0.05))),
        ("adamax_l2", Box::new(Adamax::default().betas(0.8, 0.95).weight_decay(0.1))),
        ("lion", Box::new(Lion::new(0.01))),
        ("lion_decay", Box::new(Lion::new(0.01).betas(0.8, 0.95).weight_decay(0.1))),
        ("lamb", Box::new(Lamb::new(0.01))),
        ("lamb_decay", Box::new(Lamb::new(0.01).weight_decay(0.1))),
    ];
    assert_eq!(optimizers.len() + 2, golden.len(), "all but L-BFGS, which is below");
    for (name, mut optimizer) in optimizers {
        let model = point(&[1.0, -2.0, 0.5, 3.0]);
        // The variance is a difference of near numbers, which magnifies the rounding of both sides.
        let tolerance = if name == "rmsprop_centered" || name == "rmsprop_both" { 4e-6 } else { 1e-6 };
        for (step, expected) in golden[name].iter().enumerate() {
            let g = gradients(&model, &bowl(step, &model.p.value().to_vec()));
            optimizer.step(&model, &g).unwrap();
            for (got, want) in model.p.value().iter().zip(expected) {
                assert!(
                    (got - want).abs() <= tolerance * want.abs().max(1.0),
                    "{name}, step {step}: {got} for {want}"
                );
            }
        }
    }
}

/// The loss of `golden/trajectories.py`, in double precision: Σ (p - c)⁴ / 4 + slope (p - c)² / 2.
fn quartic(model: &Point) -> cairn_nn::Result<Var> {
    let constant = |values: [f32; 4]| Var::constant(Tensor::from_slice(&values, [4]).unwrap());
    let square = model.p.var().sub(&constant([0.1, 1.0, -0.2, 0.0]))?.square()?;
    let slopes = square.mul(&constant([0.5, 0.25, 1.0, 0.05]))?;
    Ok(square.square()?.scale(0.25)?.add(&slopes)?.sum(..)?)
}

#[test]
fn lbfgs_goes_where_that_of_pytorch_goes() {
    let golden: HashMap<String, Vec<Vec<f32>>> =
        serde_json::from_str(include_str!("../golden/trajectories.json")).unwrap();
    let variants = [
        ("lbfgs", Lbfgs::new(0.5).max_iterations(3).history_size(2)),
        ("lbfgs_wolfe", Lbfgs::default().max_iterations(3).strong_wolfe(true)),
    ];
    for (name, mut lbfgs) in variants {
        let model = point(&[1.0, -2.0, 0.5, 3.0]);
        for (step, expected) in golden[name].iter().enumerate() {
            lbfgs.minimize(&model, quartic).unwrap();
            for (got, want) in model.p.value().iter().zip(expected) {
                // Differences of gradients magnify what rounding does differently.
                assert!((got - want).abs() <= 2e-5, "{name}, step {step}: {got} for {want}");
            }
        }
    }
}

#[test]
fn lbfgs_finds_the_minimum_of_rosenbrocks_valley() {
    let model = point(&[-1.2, 1.0]);
    let valley = |model: &Point| {
        let (x, y) = (model.p.var().narrow(0, 0, 1)?, model.p.var().narrow(0, 1, 1)?);
        let one = Var::constant(Tensor::ones([1]).unwrap());
        let across = y.sub(&x.square()?)?.square()?.scale(100.0)?;
        Ok(across.add(&one.sub(&x)?.square()?)?.sum(..)?)
    };
    let mut lbfgs = Lbfgs::default().max_iterations(60).strong_wolfe(true);
    lbfgs.minimize(&model, valley).unwrap();
    for x in model.p.value().iter() {
        assert!((x - 1.0).abs() < 1e-3, "{:?}", model.p);
    }
    let wrong = Lbfgs::default().history_size(0).minimize(&model, valley);
    assert!(matches!(wrong, Err(Error::BadSetting { .. })));
    let longer = point(&[0.0; 4]);
    assert!(matches!(lbfgs.minimize(&longer, quartic), Err(Error::OtherModel(_))));
}

/// One of each kind, with every running value in use.
fn every_kind() -> Vec<Box<dyn Optimizer>> {
    vec![
        Box::new(Sgd::new(0.1).weight_decay(0.1)),
        Box::new(Sgd::new(0.1).momentum(0.9).nesterov(true)),
        Box::new(Adam::new(0.1)),
        Box::new(AdamW::new(0.1)),
        Box::new(NAdam::new(0.1)),
        Box::new(RAdam::new(0.1).betas(0.9, 0.95)),
        Box::new(RmsProp::default().centered(true).momentum(0.5)),
        Box::new(Adagrad::new(0.1).initial_accumulator(0.1)),
        Box::new(Adadelta::default()),
        Box::new(Adamax::default()),
        Box::new(Lion::new(0.01).weight_decay(0.1)),
        Box::new(Lamb::new(0.1).weight_decay(0.1)),
    ]
}

#[test]
fn saved_state_goes_on_bit_for_bit() {
    for (i, mut one) in every_kind().into_iter().enumerate() {
        let model = point(&[1.0, -2.0, 0.5, 3.0]);
        let step = |optimizer: &mut dyn Optimizer, model: &Point, step: usize| {
            let g = gradients(model, &bowl(step, &model.p.value().to_vec()));
            optimizer.step(model, &g).unwrap();
        };
        (0..8).for_each(|s| step(&mut *one, &model, s));
        let (state, again) = (one.state(), point(&model.p.value().to_vec()));
        let mut two = every_kind().remove(i);
        two.load_state(state.clone()).unwrap();
        assert_eq!(two.state(), state, "before the first step");
        (8..15).for_each(|s| step(&mut *one, &model, s));
        (8..15).for_each(|s| step(&mut *two, &again, s));
        assert_eq!(model.p.value(), again.p.value(), "{}", state.kind);
        assert_eq!(one.state(), two.state());
        let mut other: Box<dyn Optimizer> =
            if state.kind == "adam" { Box::new(Sgd::default()) } else { Box::new(Adam::default()) };
        assert!(matches!(other.load_state(state), Err(Error::BadState(_))));
    }
}

#[test]
fn groups_have_settings_of_their_own() {
    let model = Linear::new(2, 2, &mut rng(0)).unwrap();
    model.bias.as_ref().unwrap().set(Tensor::ones([2]).unwrap());
    let weight = model.weight.value();
    let zero = |model: &Linear| {
        let x = Var::constant(Tensor::zeros([1, 2]).unwrap());
        model.forward(&x).unwrap().sum(..).unwrap().scale(0.0).unwrap().backward().unwrap()
    };
    // Without gradient only the decay acts, and only where it is meant to.
    let mut adam = AdamW::new(0.1).weight_decay(0.5).group("bias", Group::new().weight_decay(0.0));
    let g = zero(&model);
    adam.step(&model, &g).unwrap();
    assert_eq!(model.bias.as_ref().unwrap().value().to_vec(), [1.0, 1.0]);
    assert_eq!(model.weight.value(), weight.scale(0.95).unwrap());
    // A factor of the rate, under a changing rate.
    let mut sgd = Sgd::new(1.0).group("b*", Group::new().rate_factor(0.5)).group("bias", Group::new());
    sgd.set_learning_rate(0.2);
    let ones = Var::constant(Tensor::ones([1, 2]).unwrap());
    let g = model.forward(&ones).unwrap().sum(..).unwrap().backward().unwrap();
    let before = model.weight.value();
    sgd.step(&model, &g).unwrap();
    assert!((model.bias.as_ref().unwrap().value().to_vec()[0] - 0.9).abs() < 1e-6);
    let moved = before.sub(&model.weight.value()).unwrap();
    assert!(moved.iter().all(|d| (d - 0.2).abs() < 1e-6), "{moved:?}");
    // A pattern that fits nothing.
    let g = zero(&model);
    let error = Sgd::new(1.0).group("*.bais", Group::new()).step(&model, &g).unwrap_err();
    assert!(error.to_string().contains("*.bais"), "{error}");
}

#[test]
fn an_average_of_weights_follows_them() {
    let model = point(&[1.0, 2.0]);
    let mut ema = Ema::new(0.75);
    ema.update(&model).unwrap();
    model.p.set(Tensor::from_slice(&[5.0f32, -2.0], [2]).unwrap());
    ema.update(&model).unwrap();
    ema.swap(&model).unwrap();
    assert_eq!(model.p.value().to_vec(), [2.0, 1.0]);
    ema.swap(&model).unwrap();
    assert_eq!(model.p.value().to_vec(), [5.0, -2.0]);
    let mut again = Ema::new(0.75);
    again.load_state(&model, &ema.state()).unwrap();
    again.update(&model).unwrap();
    ema.update(&model).unwrap();
    assert_eq!(again.state(), ema.state());
    let other = point(&[1.0]);
    assert!(matches!(ema.update(&other), Err(Error::OtherModel(_))));
    assert!(matches!(again.load_state(&other, &ema.state()), Err(Error::BadState(_))));
    assert!(Ema::new(1.0).update(&model).is_err());
}

#[test]
fn a_mean_of_checkpoints_is_of_the_last_ones() {
    let model = point(&[8.0, 8.0]);
    let mut average = CheckpointAverage::new(2);
    average.swap(&model).unwrap();
    assert_eq!(model.p.value().to_vec(), [8.0, 8.0], "there is none yet");
    for value in [8.0f32, 1.0, 2.0] {
        model.p.set(Tensor::from_slice(&[value, -value], [2]).unwrap());
        average.add(&model).unwrap();
    }
    assert_eq!(average.len(), 2);
    model.p.set(Tensor::from_slice(&[5.0f32, 5.0], [2]).unwrap());
    average.swap(&model).unwrap();
    assert_eq!(model.p.value().to_vec(), [1.5, -1.5]);
    assert!(matches!(average.add(&model), Err(Error::BadSetting(_))), "the mean is no checkpoint");
    average.swap(&model).unwrap();
    assert_eq!(model.p.value().to_vec(), [5.0, 5.0]);
    // Saved, it goes on as it is; and with fewer, with the last.
    for (count, mean) in [(2, 3.5), (1, 5.0)] {
        let mut again = CheckpointAverage::new(count);
        again.load_state(&model, &average.state()).unwrap();
        assert_eq!(again.state() == average.state(), count == 2);
        again.add(&model).unwrap();
        again.swap(&model).unwrap();
        assert_eq!(model.p.value().to_vec()[0], mean);
        again.swap(&model).unwrap();
    }
    let other = point(&[1.0]);
    for state in [average.state(), average.state().with("checkpoints", 1e18), Ema::new(0.5).state()] {
        let target = if state.numbers.get("checkpoints") == Some(&2.0) { &other } else { &model };
        assert!(matches!(CheckpointAverage::new(2).load_state(target, &state), Err(Error::BadState(_))));
    }
    assert!(matches!(average.add(&other), Err(Error::OtherModel(_))));
    assert!(matches!(average.swap(&other), Err(Error::OtherModel(_))));
    assert!(CheckpointAverage::new(0).add(&model).is_err());
}

proptest! {
    #[test]
    fn accumulated_gradients_are_those_of_one_batch(sizes in prop::collection::vec(1..6usize, 1..4), seed: u64) {
        let mut rng = rng(seed);
        let model = Linear::new(3, 2, &mut rng).unwrap();
        let total: usize = sizes.iter().sum();
        let x = Tensor::normal([total, 3], 0.0, 1.0, &mut rng).unwrap();
        let gradients = |x: &Tensor| {
            let y = model.forward(&x.clone().into()).unwrap();
            y.square().unwrap().mean(..).unwrap().backward().unwrap()
        };
        let (whole, mut accumulation, mut at) = (gradients(&x), Accumulation::default(), 0);
        for size in sizes {
            let part = x.narrow(0, at, size).unwrap();
            accumulation.add(&model, gradients(&part), size).unwrap();
            at += size;
        }
        let sum = accumulation.take(&model).unwrap();
        for (a, b) in whole.of(&model.weight).unwrap().iter().zip(sum.of(&model.weight).unwrap().iter()) {
            prop_assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
    }

    #[test]
    fn plain_descent_has_a_closed_form(start in -5.0..5.0f32, rate in 0.01..0.9f64, steps in 1..30usize) {
        // On p²/2 each step multiplies by 1 - rate.
        let model = point(&[start]);
        let mut sgd = Sgd::new(rate);
        for _ in 0..steps {
            let loss = model.p.var().square().unwrap().sum(..).unwrap().scale(0.5).unwrap();
            sgd.step(&model, &loss.backward().unwrap()).unwrap();
        }
        let expected = f64::from(start) * (1.0 - rate).powi(steps as i32);
        prop_assert!((f64::from(model.p.value().item().unwrap()) - expected).abs() < 1e-5);
    }

    #[test]
    fn the_first_step_of_adam_is_the_rate(g in prop_oneof![0.01..100.0f32, -100.0..-0.01f32], rate in 0.001..0.5f64) {
        let model = point(&[1.0]);
        let g1 = gradients(&model, &[g]);
        Adam::new(rate).step(&model, &g1).unwrap();
        let moved = f64::from(model.p.value().item().unwrap()) - 1.0;
        prop_assert!((moved + rate * f64::from(g.signum())).abs() < 1e-5, "{moved}");
    }

    /// With every row looked up a sparse gradient must do what the dense one does.
    #[test]
    fn sparse_and_dense_gradients_agree(rows in 1..6usize, columns in 1..4usize, seed: u64) {
        let table = Tensor::normal([rows, columns], 0.0, 1.0, &mut rng(seed)).unwrap();
        let ids = Tensor::from_vec((0..rows as u32).rev().collect(), [rows]).unwrap();
        for (i, mut b) in every_kind().into_iter().enumerate() {
            let mut a = every_kind().remove(i);
            let (sparse, dense) = (Point { p: Parameter::new(table.clone()) }, Point { p: Parameter::new(table.clone()) });
            for _ in 0..5 {
                let g = sparse.p.var().lookup(&ids).unwrap().square().unwrap().sum(..).unwrap().backward().unwrap();
                a.step(&sparse, &g).unwrap();
                let g = dense.p.var().square().unwrap().sum(..).unwrap().backward().unwrap();
                b.step(&dense, &g).unwrap();
            }
            prop_assert_eq!(sparse.p.value(), dense.p.value());
        }
    }

    /// Unless the lazy rule is asked for, some rows do what a dense gradient with zeros elsewhere does.
    #[test]
    fn exact_rules_agree_with_dense_gradients(rows in 2..6usize, seed: u64) {
        let mut rng = rng(seed);
        let table = Tensor::normal([rows, 3], 0.0, 1.0, &mut rng).unwrap();
        let optimizers: Vec<fn() -> Box<dyn Optimizer>> = vec![
            || Box::new(Sgd::new(0.1)),
            || Box::new(Adagrad::new(0.1)),
            || Box::new(Sgd::new(0.1).lazy(true)),
            || Box::new(Sgd::new(0.1).momentum(0.9)),
            || Box::new(Sgd::new(0.1).weight_decay(0.1)),
            || Box::new(Adam::new(0.1)),
            || Box::new(AdamW::new(0.1)),
            || Box::new(Lamb::new(0.1)),
        ];
        for make in optimizers {
            let (sparse, dense) = (Point { p: Parameter::new(table.clone()) }, Point { p: Parameter::new(table.clone()) });
            let (mut a, mut b) = (make(), make());
            for step in 0..4 {
                let row = step % rows;
                let ids = Tensor::from_vec(vec![row as u32], [1]).unwrap();
                let g = sparse.p.var().lookup(&ids).unwrap().square().unwrap().sum(..).unwrap().backward().unwrap();
                a.step(&sparse, &g).unwrap();
                let g = dense.p.var().narrow(0, row, 1).unwrap().square().unwrap().sum(..).unwrap().backward().unwrap();
                b.step(&dense, &g).unwrap();
            }
            prop_assert_eq!(sparse.p.value(), dense.p.value());
        }
    }

    #[test]
    fn clipping_limits_the_norm_and_keeps_the_direction(values in prop::collection::vec(-10.0..10.0f32, 1..8), limit in 0.1..20.0f32) {
        let model = point(&vec![0.0; values.len()]);
        let norm = values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt() as f32;
        let mut clipped = gradients(&model, &values);
        let before = clip_by_global_norm(&model, &mut clipped, limit).unwrap();
        prop_assert!((before - norm).abs() <= 1e-4 * norm.max(1.0));
        let factor = (limit / norm).min(1.0);
        for (got, g) in clipped.of(&model.p).unwrap().iter().zip(&values) {
            prop_assert!((got - g * factor).abs() <= 1e-4);
        }
        prop_assert!(global_norm(&model, &clipped).unwrap() <= limit * 1.0001);
        let mut held = gradients(&model, &values);
        clip_by_value(&model, &mut held, limit).unwrap();
        let expected: Vec<f32> = values.iter().map(|g| g.clamp(-limit, limit)).collect();
        prop_assert_eq!(held.of(&model.p).unwrap().to_vec(), expected);
        // With one parameter its own norm is that of all.
        let mut by_layer = gradients(&model, &values);
        clip_by_norm(&model, &mut by_layer, limit).unwrap();
        for (a, b) in by_layer.of(&model.p).unwrap().iter().zip(clipped.of(&model.p).unwrap().iter()) {
            prop_assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0));
        }
    }
}

#[test]
fn the_lazy_rule_leaves_rows_that_were_not_looked_up_as_they_are() {
    let model = Point { p: Parameter::new(Tensor::ones([5, 2]).unwrap()) };
    let ids = Tensor::from_vec(vec![3, 1, 3], [3]).unwrap();
    let mut adam = AdamW::new(0.1).lazy(true);
    for _ in 0..3 {
        let g = model.p.var().lookup(&ids).unwrap().sum(..).unwrap().backward().unwrap();
        adam.step(&model, &g).unwrap();
    }
    let changed: Vec<bool> = (0..5).map(|row| model.p.value().get(&[row, 0]).unwrap() != 1.0).collect();
    assert_eq!(changed, [false, true, false, true, false]);
}

#[test]
fn a_parameter_without_gradient_is_reported_and_nothing_changes() {
    #[derive(Module)]
    struct Two {
        used: Linear,
        unused: Linear,
    }
    let model = Two {
        used: Linear::new(2, 1, &mut rng(0)).unwrap(),
        unused: Linear::new(2, 1, &mut rng(1)).unwrap(),
    };
    let before = model.state();
    let loss = |model: &Two| {
        mse(
            &model.used.forward(&Tensor::ones([3, 2]).unwrap().into()).unwrap(),
            &Tensor::zeros([3, 1]).unwrap(),
        )
    };
    let g = loss(&model).unwrap().backward().unwrap();
    let error = Adam::default().step(&model, &g).unwrap_err();
    assert!(
        matches!(&error, Error::NoGradient { paths } if paths == &["unused.weight", "unused.bias"]),
        "{error}"
    );
    assert_eq!(model.state(), before);
    // Frozen on purpose, it is left alone.
    model.unused.freeze();
    let g = loss(&model).unwrap().backward().unwrap();
    Adam::default().step(&model, &g).unwrap();
    assert_ne!(model.state()["used.weight"], before["used.weight"]);
    assert_eq!(model.state()["unused.weight"], before["unused.weight"]);
}

/// Fields `a` and `b` hold one parameter, as the embedding and the output layer of a language model do.
#[derive(Module)]
struct Tied {
    a: Parameter,
    b: Parameter,
}

impl Tied {
    fn new(value: f32) -> Self {
        let a = Parameter::new(Tensor::from_vec(vec![value], [1]).unwrap());
        Tied { b: a.clone(), a }
    }

    /// a · b, whose gradient by the one parameter is 2 a.
    fn gradients(&self) -> Gradients {
        self.a.var().mul(&self.b.var()).unwrap().sum(..).unwrap().backward().unwrap()
    }

    fn values(&self) -> [f32; 2] {
        [self.a.value().item().unwrap(), self.b.value().item().unwrap()]
    }
}

#[test]
fn a_tied_parameter_is_stepped_once_and_saved_once() {
    let model = Tied::new(2.0);
    assert_eq!((model.parameter_count(), model.state().len()), (1, 1));
    let mut sgd = Sgd::new(0.1);
    for _ in 0..2 {
        sgd.step(&model, &model.gradients()).unwrap();
    }
    // 2 (1 - 0.2)², twice.
    assert!(model.values().iter().all(|w| (w - 1.28).abs() < 1e-6), "{:?}", model.values());

    // Every kind steps it as it steps a parameter that stands in one place.
    for (i, mut tied) in every_kind().into_iter().enumerate() {
        let (model, alone, mut other) = (Tied::new(2.0), point(&[2.0]), every_kind().remove(i));
        for _ in 0..3 {
            tied.step(&model, &model.gradients()).unwrap();
            let square = alone.p.var().square().unwrap().sum(..).unwrap();
            other.step(&alone, &square.backward().unwrap()).unwrap();
        }
        let kind = tied.state().kind;
        assert_eq!(model.values(), [alone.p.value().item().unwrap(); 2], "{kind}");
        assert_eq!(tied.state().tensors.len(), other.state().tensors.len(), "{kind}");
    }

    let model = Tied::new(2.0);
    let loss = |model: &Tied| Ok(model.a.var().mul(&model.b.var())?.sum(..)?);
    Lbfgs::default().strong_wolfe(true).minimize(&model, loss).unwrap();
    assert!(model.values().iter().all(|w| w.abs() < 1e-3), "{:?}", model.values());
}

#[test]
fn the_gradient_of_a_tied_parameter_is_clipped_accumulated_and_averaged_once() {
    let model = Tied::new(2.0);
    let mut gradients = model.gradients();
    assert_eq!(global_norm(&model, &gradients).unwrap(), 4.0);
    clip_by_global_norm(&model, &mut gradients, 1.0).unwrap();
    assert_eq!(gradients.of(&model.b).unwrap().to_vec(), [1.0]);

    let mut accumulation = Accumulation::default();
    accumulation.add(&model, model.gradients(), 3).unwrap();
    accumulation.add(&model, model.gradients(), 1).unwrap();
    assert_eq!(accumulation.take(&model).unwrap().of(&model.a).unwrap().to_vec(), [4.0]);

    let mut ema = Ema::new(0.5);
    ema.update(&model).unwrap();
    model.b.set(Tensor::from_vec(vec![4.0], [1]).unwrap());
    ema.update(&model).unwrap();
    assert_eq!(ema.state().tensors.len(), 1);
    ema.swap(&model).unwrap();
    assert_eq!(model.values(), [3.0; 2]);
}

#[test]
fn a_group_holds_a_tied_parameter_by_any_of_its_paths() {
    let model = Tied::new(2.0);
    let mut sgd = Sgd::new(0.1).group("b", Group::new().rate_factor(0.5));
    sgd.step(&model, &model.gradients()).unwrap();
    assert!((model.values()[0] - 1.8).abs() < 1e-6, "{:?}", model.values());
}

#[test]
fn state_stays_with_a_parameter_wherever_it_stands() {
    let adam = || Adam::new(0.1);
    let (whole, parts) = (Tied::new(1.0), Tied::new(1.0));
    let (mut one, mut other) = (adam(), adam());
    // The second model is stepped by one of its holders, and by a clone of that.
    for step in 0..6 {
        one.step(&whole, &whole.gradients()).unwrap();
        let holder = Point { p: if step % 2 == 0 { parts.a.clone() } else { parts.b.clone() } };
        other.step(&holder.clone(), &parts.gradients()).unwrap();
    }
    assert_eq!(whole.values(), parts.values());
}

#[test]
fn state_of_another_parameter_is_refused() {
    let mut adam = Adam::new(0.1);
    let model = point(&[1.0, 2.0]);
    adam.step(&model, &gradients(&model, &[1.0, 1.0])).unwrap();
    let longer = point(&[1.0, 2.0, 3.0]);
    let message = adam.step(&longer, &gradients(&longer, &[1.0; 3])).unwrap_err().to_string();
    assert!(message.contains("[2]") && message.contains("[3]"), "{message}");
    // Of the same name and shape, but another cell; its state can be taken over by name.
    let like = point(&[1.0, 2.0]);
    let refused = adam.step(&like, &gradients(&like, &[1.0, 1.0]));
    assert!(matches!(refused, Err(Error::OtherModel(_))));
    let state = adam.state();
    adam.load_state(state.clone()).unwrap();
    assert!(adam.step(&longer, &gradients(&longer, &[1.0; 3])).is_err());
    assert_eq!(adam.state(), state, "a model that it does not fit takes nothing of it");
    adam.step(&like, &gradients(&like, &[1.0, 1.0])).unwrap();
    // An optimiser without running values has nothing to mix up.
    let mut sgd = Sgd::new(0.1);
    for model in [model, longer, like] {
        let ones = vec![1.0; model.p.len()];
        sgd.step(&model, &gradients(&model, &ones)).unwrap();
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let model = point(&[1.0]);
    let bad: Vec<Box<dyn Optimizer>> = vec![
        Box::new(Sgd::new(-0.1)),
        Box::new(Sgd::new(f64::NAN)),
        Box::new(Sgd::new(0.1).momentum(1.0)),
        Box::new(Sgd::new(0.1).nesterov(true)),
        Box::new(Adam::new(f64::INFINITY)),
        Box::new(Adam::default().betas(1.0, 0.9)),
        Box::new(AdamW::default().weight_decay(-1.0)),
        Box::new(Adam::default().epsilon(-1.0)),
        Box::new(NAdam::default().momentum_decay(-1.0)),
        Box::new(RAdam::default().betas(0.9, f64::NAN)),
        Box::new(RmsProp::default().alpha(1.0)),
        Box::new(RmsProp::default().momentum(-0.1)),
        Box::new(Adagrad::default().rate_decay(-1.0)),
        Box::new(Adadelta::default().epsilon(0.0)),
        Box::new(Adamax::default().betas(-0.1, 0.9)),
        Box::new(Lion::default().betas(0.9, 1.0)),
        Box::new(Lamb::default().weight_decay(f64::NAN)),
        Box::new(Adam::default().group("p", Group::new().rate_factor(-1.0))),
        Box::new(Adam::default().group("p", Group::new().weight_decay(-1.0))),
    ];
    for mut optimizer in bad {
        let g = gradients(&model, &[1.0]);
        assert!(matches!(optimizer.step(&model, &g), Err(Error::BadSetting { .. })));
        assert_eq!(model.p.value().item().unwrap(), 1.0);
    }
    let mut g = gradients(&model, &[1.0]);
    assert!(
        clip_by_global_norm(&model, &mut g, 0.0).is_err() && clip_by_value(&model, &mut g, f32::NAN).is_err()
    );
}

#[test]
fn the_learning_rate_can_be_changed_between_steps() {
    let model = point(&[0.0]);
    let mut sgd = Sgd::new(1.0);
    let g = gradients(&model, &[1.0]);
    sgd.step(&model, &g).unwrap();
    sgd.set_learning_rate(0.5);
    assert_eq!(sgd.learning_rate(), 0.5);
    let g = gradients(&model, &[1.0]);
    sgd.step(&model, &g).unwrap();
    assert_eq!(model.p.value().item().unwrap(), -1.5);
}
