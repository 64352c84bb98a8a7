//! Cross-entropy with smoothing and weights against PyTorch's.

use cairn_autograd::Var;
use cairn_nn::{CrossEntropy, Loss, Weighted};
use cairn_tensor::Tensor;
use serde_json::Value;

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[test]
fn loss_and_gradient_are_those_of_pytorch() {
    let golden: Value = serde_json::from_str(include_str!("../golden/weighted_losses.json")).unwrap();
    let logits = Tensor::from_vec(floats(&golden["logits"]), [4, 3]).unwrap();
    let labels = Tensor::from_vec(floats(&golden["labels"]), [4]).unwrap().cast::<u32>().unwrap();
    for (name, loss) in [
        ("smooth", CrossEntropy::new().label_smoothing(0.1)),
        ("weighted", CrossEntropy::new().class_weights([0.5, 2.0, 1.25])),
        ("both", CrossEntropy::new().label_smoothing(0.2).class_weights([0.5, 2.0, 1.25])),
    ] {
        let x = Var::parameter(logits.clone());
        let value = loss.loss(&x, &labels).unwrap();
        let want = golden[name]["loss"].as_f64().unwrap() as f32;
        assert!((value.item().unwrap() - want).abs() < 1e-6, "{name}: {} for {want}", value.item().unwrap());
        let gradient = value.backward().unwrap().of(&x).unwrap();
        for (got, want) in gradient.iter().zip(floats(&golden[name]["gradient"])) {
            assert!((got - want).abs() < 1e-6, "{name}: {got} for {want}");
        }
    }
}

#[test]
fn a_whole_weight_is_a_repeated_sample() {
    let logits = Tensor::from_vec(vec![0.5f32, -1.0, 2.0, 1.5, 0.25, -0.5], [2, 3]).unwrap();
    let labels = Tensor::from_vec(vec![0, 1], [2]).unwrap();
    let loss = CrossEntropy::new().label_smoothing(0.1).class_weights([1.0, 0.5, 2.0]);
    let weights = Tensor::from_vec(vec![1.0, 3.0], [2]).unwrap();
    let weighted = Weighted { target: labels.clone(), weights };
    let one = loss.loss(&Var::constant(logits.clone()), &weighted).unwrap().item().unwrap();
    let rows = [0, 1, 1, 1];
    let repeated = Var::constant(logits.index_select(0, &rows).unwrap());
    let other = loss.loss(&repeated, &labels.index_select(0, &rows).unwrap()).unwrap().item().unwrap();
    assert!((one - other).abs() < 1e-6, "{one} and {other}");
}

#[test]
fn bad_weights_are_refused() {
    let (logits, labels) =
        (Var::constant(Tensor::zeros([1, 3]).unwrap()), Tensor::from_vec(vec![1], [1]).unwrap());
    for bad in [
        CrossEntropy::new().label_smoothing(1.5),
        CrossEntropy::new().class_weights([1.0, 2.0]),
        CrossEntropy::new().class_weights([1.0, -2.0, 1.0]),
        CrossEntropy::new().class_weights([1.0, 0.0, 1.0]),
    ] {
        assert!(bad.loss(&logits, &labels).is_err(), "{bad:?}");
    }
}
