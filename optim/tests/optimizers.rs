//! Optimisers against PyTorch's trajectories and closed forms; sparse gradients; what is refused.

use std::collections::HashMap;

use cairn_autograd::{Gradients, Var};
use cairn_nn::{Linear, Module, mse};
use cairn_optim::{Adam, AdamW, Error, Optimizer, Sgd, clip_by_global_norm, clip_by_value, global_norm};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

/// A model of one parameter.
#[derive(Module, Clone)]
struct Point {
    p: Var,
}

fn point(values: &[f32]) -> Point {
    Point { p: Var::parameter(Tensor::from_slice(values, [values.len()]).unwrap()) }
}

/// Gradients that are just these values.
fn gradients(model: &Point, values: &[f32]) -> Gradients {
    let g = Tensor::from_slice(values, [values.len()]).unwrap();
    model.p.mul(&Var::constant(g)).unwrap().sum(..).unwrap().backward().unwrap()
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
        serde_json::from_str(include_str!("golden/trajectories.json")).unwrap();
    let optimizers: Vec<(&str, Box<dyn Optimizer>)> = vec![
        ("sgd", Box::new(Sgd::new(0.1))),
        ("sgd_decay", Box::new(Sgd::new(0.1).weight_decay(0.05))),
        ("momentum", Box::new(Sgd::new(0.05).momentum(0.9))),
        ("nesterov", Box::new(Sgd::new(0.05).momentum(0.9).nesterov(true).weight_decay(0.01))),
        ("adam", Box::new(Adam::new(0.05))),
        ("adam_l2", Box::new(Adam::new(0.05).betas(0.8, 0.95).epsilon(1e-6).weight_decay(0.1))),
        ("adamw", Box::new(AdamW::new(0.05).weight_decay(0.1))),
    ];
    assert_eq!(optimizers.len(), golden.len());
    for (name, mut optimizer) in optimizers {
        let mut model = point(&[1.0, -2.0, 0.5, 3.0]);
        for (step, expected) in golden[name].iter().enumerate() {
            let g = gradients(&model, &bowl(step, &model.p.value().to_vec()));
            optimizer.step(&mut model, &g).unwrap();
            for (got, want) in model.p.value().iter().zip(expected) {
                assert!(
                    (got - want).abs() <= 1e-6 * want.abs().max(1.0),
                    "{name}, step {step}: {got} for {want}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn plain_descent_has_a_closed_form(start in -5.0..5.0f32, rate in 0.01..0.9f64, steps in 1..30usize) {
        // On p²/2 each step multiplies by 1 - rate.
        let mut model = point(&[start]);
        let mut sgd = Sgd::new(rate);
        for _ in 0..steps {
            let loss = model.p.square().unwrap().sum(..).unwrap().scale(0.5).unwrap();
            sgd.step(&mut model, &loss.backward().unwrap()).unwrap();
        }
        let expected = f64::from(start) * (1.0 - rate).powi(steps as i32);
        prop_assert!((f64::from(model.p.item().unwrap()) - expected).abs() < 1e-5);
    }

    #[test]
    fn the_first_step_of_adam_is_the_rate(g in prop_oneof![0.01..100.0f32, -100.0..-0.01f32], rate in 0.001..0.5f64) {
        let mut model = point(&[1.0]);
        let g1 = gradients(&model, &[g]);
        Adam::new(rate).step(&mut model, &g1).unwrap();
        let moved = f64::from(model.p.item().unwrap()) - 1.0;
        prop_assert!((moved + rate * f64::from(g.signum())).abs() < 1e-5, "{moved}");
    }

    /// With every row looked up a sparse gradient must do what the dense one does.
    #[test]
    fn sparse_and_dense_gradients_agree(rows in 1..6usize, columns in 1..4usize, seed: u64) {
        let table = Tensor::normal([rows, columns], 0.0, 1.0, &mut rng(seed)).unwrap();
        let ids = Tensor::from_vec((0..rows as u32).rev().collect(), [rows]).unwrap();
        let optimizers: Vec<fn() -> Box<dyn Optimizer>> = vec![
            || Box::new(Sgd::new(0.1).weight_decay(0.1)),
            || Box::new(Sgd::new(0.1).momentum(0.9)),
            || Box::new(AdamW::new(0.1)),
        ];
        for make in optimizers {
            let (mut sparse, mut dense) = (Point { p: Var::parameter(table.clone()) }, Point { p: Var::parameter(table.clone()) });
            let (mut a, mut b) = (make(), make());
            for _ in 0..5 {
                let g = sparse.p.lookup(&ids).unwrap().square().unwrap().sum(..).unwrap().backward().unwrap();
                a.step(&mut sparse, &g).unwrap();
                let g = dense.p.square().unwrap().sum(..).unwrap().backward().unwrap();
                b.step(&mut dense, &g).unwrap();
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
    }
}

#[test]
fn rows_that_were_not_looked_up_stay_untouched() {
    let mut model = Point { p: Var::parameter(Tensor::ones([5, 2]).unwrap()) };
    let ids = Tensor::from_vec(vec![3, 1, 3], [3]).unwrap();
    let mut adam = AdamW::new(0.1);
    for _ in 0..3 {
        let g = model.p.lookup(&ids).unwrap().sum(..).unwrap().backward().unwrap();
        adam.step(&mut model, &g).unwrap();
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
    let mut model = Two {
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
    let error = Adam::default().step(&mut model, &g).unwrap_err();
    assert!(
        matches!(&error, Error::NoGradient { paths } if paths == &["unused.weight", "unused.bias"]),
        "{error}"
    );
    assert_eq!(model.state(), before);
    // Frozen on purpose, it is left alone.
    model.unused.freeze();
    let g = loss(&model).unwrap().backward().unwrap();
    Adam::default().step(&mut model, &g).unwrap();
    assert_ne!(model.state()["used.weight"], before["used.weight"]);
    assert_eq!(model.state()["unused.weight"], before["unused.weight"]);
}

#[test]
fn state_follows_a_cloned_model_and_refuses_another() {
    let mut adam = Adam::new(0.1);
    let mut model = point(&[1.0, 2.0]);
    let g = gradients(&model, &[1.0, 1.0]);
    adam.step(&mut model, &g).unwrap();
    let mut kept = model.clone();
    let g = gradients(&kept, &[1.0, 1.0]);
    adam.step(&mut kept, &g).unwrap();
    assert_ne!(kept.p.value(), model.p.value());
    let mut other = point(&[1.0, 2.0, 3.0]);
    let g = gradients(&other, &[1.0; 3]);
    let message = adam.step(&mut other, &g).unwrap_err().to_string();
    assert!(message.contains("[2]") && message.contains("[3]"), "{message}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let mut model = point(&[1.0]);
    let bad: Vec<Box<dyn Optimizer>> = vec![
        Box::new(Sgd::new(-0.1)),
        Box::new(Sgd::new(f64::NAN)),
        Box::new(Sgd::new(0.1).momentum(1.0)),
        Box::new(Sgd::new(0.1).nesterov(true)),
        Box::new(Adam::new(f64::INFINITY)),
        Box::new(Adam::default().betas(1.0, 0.9)),
        Box::new(AdamW::default().weight_decay(-1.0)),
        Box::new(Adam::default().epsilon(-1.0)),
    ];
    for mut optimizer in bad {
        let g = gradients(&model, &[1.0]);
        assert!(matches!(optimizer.step(&mut model, &g), Err(Error::BadSetting { .. })));
        assert_eq!(model.p.item().unwrap(), 1.0);
    }
    let mut g = gradients(&model, &[1.0]);
    assert!(
        clip_by_global_norm(&model, &mut g, 0.0).is_err() && clip_by_value(&model, &mut g, f32::NAN).is_err()
    );
}

#[test]
fn the_learning_rate_can_be_changed_between_steps() {
    let mut model = point(&[0.0]);
    let mut sgd = Sgd::new(1.0);
    let g = gradients(&model, &[1.0]);
    sgd.step(&mut model, &g).unwrap();
    sgd.set_learning_rate(0.5);
    assert_eq!(sgd.learning_rate(), 0.5);
    let g = gradients(&model, &[1.0]);
    sgd.step(&mut model, &g).unwrap();
    assert_eq!(model.p.item().unwrap(), -1.5);
}
