//! Parameters: shared cells with an identity, whose values change between computations and never within one.

use cairn_autograd::{Error, Gradient, Parameter, Result};
use cairn_tensor::{DType, Tensor};

fn parameter(values: &[f32]) -> Parameter {
    Parameter::new(Tensor::from_slice(values, [values.len()]).unwrap())
}

fn add_one(x: &mut Tensor) -> cairn_tensor::Result<()> {
    x.add_assign(&Tensor::scalar(1.0))
}

#[test]
fn clones_are_the_same_cell() {
    let x = parameter(&[1.0]);
    let tied = x.clone();
    x.update(add_one).unwrap();
    assert_eq!((x.value().to_vec(), tied.value().to_vec()), (vec![2.0], vec![2.0]));
    assert!(x.same(&tied) && x.id() == tied.id());
    tied.set(Tensor::zeros([3]).unwrap());
    assert_eq!(x.shape()[..], [3]);
    let other = parameter(&[1.0]);
    assert!(!x.same(&other) && x.id() != other.id());
}

#[test]
fn the_leaf_is_one_variable_until_the_value_changes() {
    let x = parameter(&[1.0]);
    let before = x.var();
    assert!(before.same(&x.var()));
    x.update(add_one).unwrap();
    assert!(!before.same(&x.var()));
    assert_eq!((before.item().unwrap(), x.var().item().unwrap()), (1.0, 2.0));
}

#[test]
fn an_update_may_change_the_shape() {
    let x = parameter(&[3.0]);
    let longer = |x: &mut Tensor| -> cairn_tensor::Result<()> {
        *x = Tensor::ones([2, 3])?;
        Ok(())
    };
    x.update(longer).unwrap();
    // Parts of it alone get gradients: the rest of the shape is what was recorded.
    let loss = x.var().narrow(1, 1, 1).unwrap().sum(..).unwrap();
    let gradients = loss.backward().unwrap();
    assert_eq!(
        gradients.of(&x).unwrap(),
        Tensor::from_vec(vec![0.0, 1.0, 0.0, 0.0, 1.0, 0.0], [2, 3]).unwrap()
    );
}

#[test]
fn a_graph_made_before_an_update_keeps_the_old_value() {
    let x = parameter(&[3.0]);
    let loss = x.var().square().unwrap().sum(..).unwrap();
    x.set(Tensor::from_vec(vec![100.0], [1]).unwrap());
    assert_eq!(loss.backward().unwrap().of(&x).unwrap().to_vec(), [6.0]);
    x.set(Tensor::from_vec(vec![3.0], [1]).unwrap());
    let loss = x.var().square().unwrap().sum(..).unwrap();
    x.update(add_one).unwrap();
    assert_eq!(x.value().to_vec(), [4.0]);
    assert_eq!(loss.backward().unwrap().of(&x).unwrap().to_vec(), [6.0]);
    // Its shape, too: the gradient of a part is filled up to it.
    let loss = x.var().narrow(0, 0, 1).unwrap().sum(..).unwrap();
    x.update(|x| -> cairn_tensor::Result<()> {
        *x = Tensor::zeros([7])?;
        Ok(())
    })
    .unwrap();
    assert_eq!(loss.backward().unwrap().of(&x).unwrap().to_vec(), [1.0]);
}

#[test]
fn a_parameter_in_graphs_that_keep_nothing_of_it_is_updated_in_place() {
    let x = parameter(&[1.0, 2.0]);
    let at = || x.value().as_slice().unwrap().as_ptr();
    let before = at();
    let loss = x.var().scale(2.0).unwrap().sum(..).unwrap();
    x.update(add_one).unwrap();
    assert_eq!(at(), before);
    assert_eq!(loss.backward().unwrap().of(&x).unwrap().to_vec(), [2.0, 2.0]);
}

#[test]
fn a_parameter_alone_is_updated_in_place() {
    let x = parameter(&[1.0, 2.0]);
    let at = || x.value().as_slice().unwrap().as_ptr();
    let before = at();
    x.update(add_one).unwrap();
    assert_eq!(at(), before);
    let loss = x.var().square().unwrap().sum(..).unwrap();
    loss.backward().unwrap();
    x.update(add_one).unwrap();
    assert_eq!(at(), before, "the used graph must not hold the parameter");
    let held = x.value();
    x.update(add_one).unwrap();
    assert_ne!(at(), before);
    assert_eq!((held.to_vec(), x.value().to_vec()), (vec![3.0, 4.0], vec![4.0, 5.0]));
}

#[test]
fn a_change_that_fails_on_a_shared_value_changes_nothing() {
    let x = parameter(&[1.0]);
    let _held = x.var();
    let failed: Result<(), &str> = x.update(|value| {
        add_one(value).unwrap();
        Err("no")
    });
    assert_eq!(failed, Err("no"));
    assert_eq!(x.value().to_vec(), [1.0]);
}

#[test]
fn frozen_parameters_get_no_gradient() {
    let (x, y) = (parameter(&[1.0]), parameter(&[2.0]));
    let tied = x.clone();
    tied.set_trainable(false).unwrap();
    let gradients = (&x.var() * &y.var()).sum(..).unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_none());
    assert!(matches!(gradients.of(&x), Err(Error::NoGradient { .. })));
    assert_eq!(gradients.of(&y).unwrap().to_vec(), [1.0]);
    x.set_trainable(true).unwrap();
    assert!(tied.is_trainable() && tied.var().is_tracked());
}

#[test]
fn gradients_stay_under_one_key_when_the_parameter_is_stepped_between() {
    let x = parameter(&[1.0, 2.0]);
    let gradients = || x.var().square().unwrap().sum(..).unwrap().backward().unwrap();
    let mut total = gradients();
    x.update(add_one).unwrap();
    total.accumulate(gradients()).unwrap();
    assert_eq!(total.len(), 1);
    assert_eq!(total.of(&x).unwrap().to_vec(), [2.0 + 4.0, 4.0 + 6.0]);
    *total.get_mut(&x).unwrap() = Gradient::Dense(Tensor::zeros([2]).unwrap());
    assert_eq!(total.of(&x).unwrap().to_vec(), [0.0; 2]);
}

#[test]
fn an_old_and_a_new_value_in_one_graph_have_one_gradient() {
    let x = parameter(&[2.0]);
    let old = x.var();
    x.update(add_one).unwrap();
    // old · new = 2 · 3: by the old value the derivative is 3, by the new one 2.
    let gradients = old.mul(&x.var()).unwrap().sum(..).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().to_vec(), [5.0]);
}

#[test]
fn parameters_are_read_and_changed_from_many_threads() {
    let x = parameter(&[0.0]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let x = x.clone();
            scope.spawn(move || (0..100).for_each(|_| x.update(add_one).unwrap()));
        }
    });
    assert_eq!(x.value().to_vec(), [400.0]);
    // A change that dies leaves a parameter that can still be used.
    let dying = x.clone();
    std::thread::spawn(move || dying.update(|_| -> Result<()> { panic!("dies, as it should") }))
        .join()
        .unwrap_err();
    assert_eq!(x.value().to_vec(), [400.0]);
    x.update(add_one).unwrap();
}

#[test]
fn a_value_of_another_type_is_used_and_not_trained() {
    let (w, x) = (parameter(&[0.5, -2.0]), parameter(&[3.0, 4.0]));
    w.set_any(w.any().cast(DType::I8).unwrap());
    assert_eq!((w.any().dtype(), w.shape()[0], w.len()), (DType::I8, 2, 2));
    let gradients = w.var().mul(&x.var()).unwrap().sum(..).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().to_vec(), [0.0, -2.0]);
    assert!(gradients.get(&w).is_none());
    let error = w.set_trainable(true).unwrap_err();
    assert_eq!(error, Error::NotTrainable { stored: DType::I8, trained: DType::F32 });
    // With a value of its own type it trains as before.
    w.set_any(w.any().cast(DType::F32).unwrap());
    assert!(w.is_trainable());
}
