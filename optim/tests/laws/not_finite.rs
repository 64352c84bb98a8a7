//! Gradients that are NaN or infinite: refused before anything is changed, wherever a step is made.

use cairn_autograd::Parameter;
use cairn_datasets::TensorDataset;
use cairn_nn::{Context, Model};
use cairn_nn::{
    Linear, Module, Sequential, mse,
    spec::{BatchNorm, Dense},
};
use cairn_optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, AnyOptimizer, ClosureOptimizer, Error, Fit, Lamb, Lbfgs, Lion,
    NAdam, Optimizer, RAdam, RmsProp, Sgd, Trainer,
};
use cairn_tensor::{Tensor, rng};

fn line() -> TensorDataset<f32, f32> {
    let x = Tensor::from_vec(vec![0.0f32, 1.0, 2.0, 3.0], [4, 1]).unwrap();
    TensorDataset::new(x.clone(), x.scale(2.0).unwrap()).unwrap()
}

/// y = 2 x, exactly.
fn exact() -> Linear {
    let model = Linear::new(1, 1, &mut rng(0)).unwrap();
    model.weight.set(Tensor::full([1, 1], 2.0).unwrap());
    model
}

#[derive(Module)]
struct Line(Linear);

impl Model<Tensor> for Line {
    fn forward(&self, x: &Tensor, _: &mut Context) -> cairn_nn::Result<cairn_autograd::Var> {
        self.0.forward(&x.clone().into())
    }
}

/// The root of the mean squared error, whose derivative at 0 is infinite times 0.
fn rmse(prediction: &cairn_autograd::Var, target: &Tensor) -> cairn_nn::Result<cairn_autograd::Var> {
    Ok(mse(prediction, target)?.sqrt()?)
}

#[test]
fn a_gradient_that_is_not_finite_ends_a_fit_by_name_with_the_weights_as_before() {
    let optimizers: Vec<AnyOptimizer> =
        vec![Sgd::new(0.1).into(), Adam::new(0.1).into(), Lbfgs::new(1.0).into()];
    for optimizer in optimizers {
        for accumulate in [1, 2] {
            let optimizer = match &optimizer {
                AnyOptimizer::Gradient(_) if accumulate == 2 => Sgd::new(0.1).momentum(0.9).into(),
                AnyOptimizer::Gradient(_) => Adam::new(0.1).into(),
                AnyOptimizer::Closure(_) => Lbfgs::new(1.0).into(),
            };
            let optimizer: AnyOptimizer = optimizer;
            let model = Line(exact());
            let before = model.state();
            let fit = Fit::epochs(2).batch_size(4 / accumulate).accumulate(accumulate).quiet();
            let error = Trainer::new(optimizer, rmse).fit(&model, &line(), fit).unwrap_err();
            assert!(matches!(&error, Error::InStep { epoch: 1, .. }), "{error}");
            let text = error.to_string();
            let step = format!("epoch 1, step {accumulate}: the gradient of 0.weight is NaN");
            assert!(text.starts_with(&step) && text.contains("as before this step"), "{text}");
            assert_eq!(model.state(), before);
        }
    }
}

#[test]
fn no_optimiser_takes_a_gradient_that_is_not_finite() {
    let all: Vec<Box<dyn Optimizer>> = vec![
        Box::new(Sgd::new(0.1)),
        Box::new(Sgd::new(0.1).momentum(0.9)),
        Box::new(Adam::default()),
        Box::new(AdamW::default()),
        Box::new(NAdam::default()),
        Box::new(RAdam::default()),
        Box::new(Adamax::default()),
        Box::new(RmsProp::default()),
        Box::new(Adagrad::default()),
        Box::new(Adadelta::default()),
        Box::new(Lion::default()),
        Box::new(Lamb::default()),
    ];
    for mut optimizer in all {
        let model = exact();
        let gradients = |factor: f32| {
            let x = Tensor::ones([1, 1]).unwrap();
            let y = model.forward(&x.into()).unwrap().sum(..).unwrap();
            y.scale(factor).unwrap().backward().unwrap()
        };
        optimizer.step(&model, &gradients(1.0)).unwrap();
        let (values, state) = (model.state(), optimizer.state());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = optimizer.step(&model, &gradients(bad)).unwrap_err();
            assert!(matches!(error, Error::NonFinite { .. }), "{error}");
            assert_eq!((model.state(), optimizer.state()), (values.clone(), state.clone()));
        }
        optimizer.step(&model, &gradients(1.0)).unwrap();
    }
}

#[test]
fn lbfgs_by_hand_refuses_losses_and_gradients_that_are_not_finite() {
    #[derive(Module)]
    struct Weights(Parameter);
    let model = Weights(Parameter::new(Tensor::from_vec(vec![0.0f32, 1.0], [2]).unwrap()));
    let mut lbfgs = Lbfgs::new(1.0);
    let error = lbfgs.minimize(&model, |model| Ok(model.0.var().abs()?.sqrt()?.sum(..)?)).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    let error = lbfgs.minimize(&model, |model| Ok(model.0.var().log()?.sum(..)?)).unwrap_err();
    assert!(error.to_string().contains("the loss is -inf"), "{error}");
    assert_eq!(model.0.value().to_vec(), [0.0, 1.0]);
}

#[test]
fn running_means_are_as_before_a_step_that_could_not_be_made() {
    let model = Sequential::new([1]).add(BatchNorm::new()).add(Dense::new(1)).build(&mut rng(0)).unwrap();
    let before = model.state();
    let x = Tensor::from_vec(vec![1.0f32, f32::NAN, 2.0, 3.0], [4, 1]).unwrap();
    let data = TensorDataset::new(x, Tensor::zeros([4, 1]).unwrap()).unwrap();
    let mut trainer = Trainer::new(Adam::new(0.1), cairn_nn::MeanSquaredError);
    let fit = Fit::epochs(1).batch_size(2).accumulate(2).shuffle(false).quiet();
    let error = trainer.fit(&model, &data, fit).unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { .. }), "{error}");
    assert_eq!(model.state(), before);
}
