//! Modules: order and names of parameters, freezing, state, the derive macro.

use std::collections::BTreeMap;

use cairn_autograd::Var;
use cairn_nn::spec::Dense;
use cairn_nn::{
    Activation, Buffer, Error, Linear, Module, Parameter, Sequential, load_weights, mse, save_weights,
};
use cairn_tensor::{AnyTensor, Tensor, rng};

#[derive(Module)]
struct Block {
    first: Linear,
    /// A buffer.
    mean: Buffer,
    rest: Vec<Linear>,
    maybe: Option<Linear>,
    activation: Activation,
    steps: usize,
    #[module(skip)]
    note: std::time::Duration,
}

#[derive(Module)]
struct Pair<A, B>(A, B);

#[derive(Module)]
struct Empty;

fn block() -> Block {
    let mut rng = rng(0);
    let mut linear = |n| Linear::new(n, 2, &mut rng).unwrap();
    Block {
        first: linear(3),
        mean: Buffer::new(Tensor::<f32>::zeros([2]).unwrap()),
        rest: vec![linear(2), linear(4)],
        maybe: None,
        activation: Activation::Relu,
        steps: 3,
        note: std::time::Duration::ZERO,
    }
}

fn names(module: &dyn Module) -> Vec<String> {
    module.parameters().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_derive_visits_fields_in_order_under_their_names() {
    let block = block();
    assert_eq!(
        names(&block),
        ["first.weight", "first.bias", "rest.0.weight", "rest.0.bias", "rest.1.weight", "rest.1.bias"]
    );
    assert!(block.state().contains_key("mean"), "buffers are part of the state");
    assert_eq!(block.parameter_count(), (3 * 2 + 2) + (2 * 2 + 2) + (4 * 2 + 2));
    assert_eq!((block.steps, block.note.as_secs(), block.activation), (3, 0, Activation::Relu));
    let pair = Pair(block, Some(Empty));
    assert_eq!(names(&pair)[0], "0.first.weight");
    assert_eq!(Empty.parameter_count(), 0);
}

#[test]
fn frozen_parameters_get_no_gradients() {
    let model = Pair(Linear::new(2, 2, &mut rng(0)).unwrap(), Linear::new(2, 1, &mut rng(1)).unwrap());
    model.0.freeze();
    assert_eq!((model.parameter_count(), model.trainable_count()), (9, 3));
    let x = Var::from(Tensor::ones([4, 2]).unwrap());
    let loss = |model: &Pair<Linear, Linear>| {
        let y = model.1.forward(&model.0.forward(&x).unwrap()).unwrap();
        mse(&y, &Tensor::zeros([4, 1]).unwrap()).unwrap()
    };
    let gradients = loss(&model).backward().unwrap();
    assert!(gradients.get(&model.0.weight).is_none() && gradients.get(&model.1.weight).is_some());
    model.unfreeze().unwrap();
    assert_eq!(loss(&model).backward().unwrap().len(), 4);
}

#[test]
fn state_goes_round_and_mistakes_are_named_without_changing_anything() {
    let (to, from) = (Linear::new(3, 2, &mut rng(0)).unwrap(), Linear::new(3, 2, &mut rng(1)).unwrap());
    to.load_state(&from.state()).unwrap();
    assert_eq!(to.state(), from.state());

    let mut wrong: BTreeMap<_, _> = from.state();
    wrong.remove("bias");
    wrong.insert("weight".into(), Tensor::<f32>::zeros([9]).unwrap().into());
    wrong.insert("scale".into(), Tensor::<f32>::zeros([1]).unwrap().into());
    let message = to.load_state(&wrong).unwrap_err().to_string();
    for part in ["bias is missing", "weight has shape [9], the model's is [3, 2]", "scale is not expected"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(to.state(), from.state());
}

#[test]
fn layers_of_a_sequential_can_be_found_and_frozen() {
    let model =
        Sequential::new([4]).add(Dense::new(3)).add_named("head", Dense::new(2)).build(&mut rng(0)).unwrap();
    assert_eq!(names(&model), ["dense.weight", "dense.bias", "head.weight", "head.bias"]);
    model.layer("head").unwrap().freeze();
    assert_eq!(model.trainable_count(), 15);
    assert_eq!(model.layer("head").unwrap().parameter_count(), 8);
    assert!(model.layer("tail").is_none());
}

#[test]
fn errors_name_the_path() {
    let error =
        Error::BadSetting { what: "x", value: 1.0, must: "2" }.at("query").at("attention").at("encoder");
    assert_eq!(error.to_string(), "encoder.attention.query: x is 1, which must be 2");
}

/// One weight under two names.
#[derive(Module)]
struct Tied {
    a: Parameter,
    b: Parameter,
}

fn tied(value: f32) -> Tied {
    let a = Parameter::new(Tensor::scalar(value));
    Tied { b: a.clone(), a }
}

#[test]
fn a_tied_parameter_is_one_parameter() {
    let model = tied(2.0);
    for _ in 0..2 {
        let loss = model.a.var().mul(&model.b.var()).unwrap();
        let gradients = loss.backward().unwrap();
        assert_eq!(gradients.len(), 1);
        model.for_each_parameter(&mut |_, parameter| {
            let gradient = gradients.of(parameter).unwrap();
            parameter.update(|w| w.add_assign(&gradient.scale(-0.1)?)).unwrap();
        });
    }
    // w -> 0.8 w at each step, since the derivative of w² is 2 w.
    for parameter in [&model.a, &model.b] {
        assert!((parameter.value().item().unwrap() - 1.28).abs() < 1e-6);
    }
    assert_eq!(
        (model.parameter_count(), model.trainable_count(), names(&model)),
        (1, 1, vec!["a".to_owned()])
    );
    assert_eq!(model.state().keys().collect::<Vec<_>>(), ["a"]);
    model.freeze();
    assert_eq!(model.trainable_count(), 0);
}

#[test]
fn a_tied_value_is_loaded_under_either_name() {
    let (model, scalar) = (tied(0.0), |x: f32| Tensor::scalar(x).into());
    let state = |pairs: &[(&str, f32)]| -> BTreeMap<String, AnyTensor> {
        pairs.iter().map(|&(name, x)| (name.to_owned(), scalar(x))).collect()
    };
    for (n, pairs) in [&[("a", 1.0)][..], &[("b", 2.0)], &[("a", 3.0), ("b", 3.0)]].into_iter().enumerate() {
        model.load_state(&state(pairs)).unwrap();
        assert_eq!(model.b.value().item().unwrap(), n as f32 + 1.0);
        assert!(model.a.same(&model.b));
    }
    let error = model.load_state(&state(&[("a", 1.0), ("b", 2.0)])).unwrap_err().to_string();
    assert!(error.contains("a and b are one value in the model"), "{error}");
    assert!(model.load_state(&state(&[])).unwrap_err().to_string().contains("a is missing"));
    assert_eq!(model.a.value().item().unwrap(), 3.0, "nothing changed");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tied.cairn");
    save_weights(&model, &path).unwrap();
    let again = tied(0.0);
    load_weights(&again, &path).unwrap();
    assert_eq!(again.b.value().item().unwrap(), 3.0);
}
