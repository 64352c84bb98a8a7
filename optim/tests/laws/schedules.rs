//! Schedules against PyTorch's, and what they do at their ends.

use std::collections::HashMap;

use cairn_datasets::TensorDataset;
use cairn_nn::{MeanSquaredError, Module, Sequential, spec::Dense};
use cairn_optim::schedules::{
    Chained, Constant, Cosine, CosineRestarts, Exponential, InverseSqrt, Linear, MultiStep, OneCycle,
    Polynomial, Schedule, Sequence, Step,
};
use cairn_optim::{Fit, Sgd, Trainer};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

#[test]
fn rates_are_those_of_pytorch() {
    let golden: HashMap<String, Vec<f64>> =
        serde_json::from_str(include_str!("../golden/schedules.json")).unwrap();
    let schedules: Vec<(&str, Box<dyn Schedule>)> = vec![
        ("constant", Box::new(Constant::new(1.0 / 3.0, 5))),
        ("linear", Box::new(Linear::new(1.0 / 3.0, 1.0, 5))),
        ("step", Box::new(Step::new(7).gamma(0.5))),
        ("multi_step", Box::new(MultiStep::new([3, 10, 11]).gamma(0.3))),
        ("exponential", Box::new(Exponential::new(0.9))),
        ("polynomial", Box::new(Polynomial::new(20).power(2.0))),
        ("cosine", Box::new(Cosine::new(39).floor(0.1))),
        ("restarts", Box::new(CosineRestarts::new(5).longer(2).floor(0.05))),
        ("even_restarts", Box::new(CosineRestarts::new(8))),
        ("one_cycle", Box::new(OneCycle::new(41))),
        ("one_cycle_settings", Box::new(OneCycle::new(41).upwards(0.5).start(0.1).end(0.01))),
        ("vaswani", Box::new(InverseSqrt::new(10).model_size(64))),
        ("chained", Box::new(Chained::new().add(Constant::new(0.5, 4)).add(Exponential::new(0.95)))),
        (
            "sequential",
            Box::new(
                Sequence::new(Linear::new(0.1, 1.0, 5)).then(5, Exponential::new(0.9)).then(20, Step::new(4)),
            ),
        ),
    ];
    assert_eq!(schedules.len() + 2, golden.len(), "all but the two plateaus, which are callbacks");
    for (name, schedule) in schedules {
        for (step, &want) in golden[name].iter().enumerate() {
            let got = schedule.factor(step as u64);
            assert!((got - want).abs() <= 1e-12, "{name}, step {step}: {got} for {want}");
        }
    }
}

proptest! {
    #[test]
    fn factors_are_finite_and_in_range_for_any_step(total in 0..50u64, step: u64) {
        let schedules: Vec<Box<dyn Schedule>> = vec![
            Box::new(Constant::new(0.5, total)),
            Box::new(Step::new(total)),
            Box::new(Polynomial::new(total)),
            Box::new(Cosine::new(total)),
            Box::new(CosineRestarts::new(total)),
            Box::new(CosineRestarts::new(total).longer(2)),
            Box::new(CosineRestarts::new(total).longer(3)),
            Box::new(OneCycle::new(total)),
            Box::new(Linear::warm_up(total)),
            Box::new(InverseSqrt::new(total)),
        ];
        for (i, schedule) in schedules.iter().enumerate() {
            for step in [step, step % 60] {
                let factor = schedule.factor(step);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&factor), "schedule {}: {} at {}", i, factor, step);
            }
        }
    }
}

#[test]
fn a_way_of_no_steps_is_over_before_it_begins() {
    assert_eq!(Linear::warm_up(0).factor(0), 1.0);
    for step in [0, 1, 5] {
        assert_eq!(Linear::new(1.0, 0.1, 0).factor(step), 0.1);
        assert_eq!(Cosine::new(0).factor(step), 0.0);
        assert_eq!(Cosine::new(0).floor(0.2).factor(step), 0.2);
        assert_eq!(Polynomial::new(0).factor(step), 0.0);
    }
    for total in 1..20 {
        let factors: Vec<f64> = (0..total).map(|step| OneCycle::new(total).factor(step)).collect();
        assert!(factors.iter().all(|factor| (0.0..=1.0).contains(factor)), "{total}: {factors:?}");
        if total <= 3 {
            assert_eq!(factors[0], 1.0, "one step is at the top");
        }
    }
    assert!(OneCycle::new(0).factor(0).is_finite());
}

#[test]
fn a_warm_up_of_no_steps_trains_at_the_whole_rate() {
    let one = Tensor::<f32>::ones([1, 1]).unwrap();
    let data = TensorDataset::new(one.clone(), one).unwrap();
    let model = Sequential::new([1]).add(Dense::new(1)).build(&mut rng(0)).unwrap();
    model.for_each_parameter(&mut |_, parameter| parameter.set(Tensor::zeros(parameter.shape()).unwrap()));
    let mut trainer = Trainer::new(Sgd::new(0.1), MeanSquaredError);
    trainer.fit(&model, &data, Fit::epochs(1).schedule(Linear::warm_up(0)).quiet()).unwrap();
    for value in model.state().values() {
        assert!((value.as_f32().unwrap().item().unwrap() - 0.2).abs() < 1e-6);
    }
}
