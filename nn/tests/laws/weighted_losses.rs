//! Cross-entropy with smoothing and weights against PyTorch's.

use cairn_autograd::Var;
use cairn_nn::{CrossEntropy, Loss, SparseCategoricalCrossentropy, Weighted};
use cairn_tensor::{LinearCrossEntropyOptions, Tensor, rng};
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
    ] {
        assert!(bad.loss(&logits, &labels).is_err(), "{bad:?}");
    }
}

#[test]
fn the_loss_of_nothing_is_zero_and_has_no_gradient() {
    let x = Var::parameter(Tensor::from_vec(vec![f32::NEG_INFINITY, 0.0, f32::NAN, 2.0], [2, 2]).unwrap());
    let labels = Tensor::from_vec(vec![255, 255], [2]).unwrap();
    let none = Weighted { target: Tensor::zeros([2]).unwrap(), weights: Tensor::zeros([2]).unwrap() };
    for smoothing in [0.0, 0.1] {
        let loss = CrossEntropy::new().label_smoothing(smoothing);
        let all_ignored = loss.clone().ignore(255).loss(&x, &labels).unwrap();
        let no_weight = loss.loss(&x, &none).unwrap();
        for value in [all_ignored, no_weight] {
            assert_eq!(value.item().unwrap(), 0.0);
            assert_eq!(value.backward().unwrap().of(&x).unwrap().to_vec(), [0.0; 4]);
        }
    }
    // That of a linear layer with its loss, too.
    let (rows, table) =
        (Var::parameter(Tensor::<f32>::ones([2, 3]).unwrap()), Var::parameter(Tensor::eye(3).unwrap()));
    let options = LinearCrossEntropyOptions::default().ignored(255).smoothing(0.1);
    let (sum, weight) = rows.linear_cross_entropy(&table, None, &labels, &options).unwrap();
    let mean = sum.mean_over(weight).unwrap();
    assert_eq!(mean.item().unwrap(), 0.0);
    let gradients = mean.backward().unwrap();
    assert_eq!(gradients.of(&rows).unwrap().to_vec(), [0.0; 6]);
    assert_eq!(gradients.of(&table).unwrap().to_vec(), [0.0; 9]);
    let excluded = CrossEntropy::new().class_weights([0.0, 1.0]);
    assert_eq!(excluded.loss(&x, &Tensor::zeros([2]).unwrap()).unwrap().item().unwrap(), 0.0);
}

#[test]
fn an_ignored_label_leaves_the_loss_of_the_rest() {
    let x = Var::parameter(Tensor::from_vec(vec![0.0f32, 0.0, 0.0, 2.0], [2, 2]).unwrap());
    for ignored in [255, 7] {
        let labels = Tensor::from_vec(vec![ignored, 1], [2]).unwrap();
        for loss in [SparseCategoricalCrossentropy.ignore(ignored), CrossEntropy::new().ignore(ignored)] {
            let value = loss.loss(&x, &labels).unwrap();
            assert!((value.item().unwrap() - 0.126_928).abs() < 1e-6);
            assert_eq!(loss.weight(&x, &labels).unwrap(), Some(1.0));
            assert_eq!(value.backward().unwrap().of(&x).unwrap().to_vec()[..2], [0.0; 2]);
        }
        let smooth = CrossEntropy::new().label_smoothing(0.1).ignore(ignored);
        let rest = smooth.loss(&x.narrow(0, 1, 1).unwrap(), &labels.narrow(0, 1, 1).unwrap()).unwrap();
        assert_eq!(smooth.loss(&x, &labels).unwrap().item().unwrap(), rest.item().unwrap());
        assert!(CrossEntropy::new().loss(&x, &labels).is_err(), "no class, if nobody says so");
    }
}

#[test]
fn a_sample_of_several_labels_has_one_weight() {
    let x = Var::constant(Tensor::normal([2, 3, 4], 0.0, 1.0, &mut rng(1)).unwrap());
    let labels = Tensor::from_vec(vec![0, 1, 2, 3, 0, 1], [2, 3]).unwrap();
    let of = |weights: &[f32], shape: &[usize]| {
        let target =
            Weighted { target: labels.clone(), weights: Tensor::from_slice(weights, shape).unwrap() };
        CrossEntropy::new().loss(&x, &target).map(|loss| loss.item().unwrap())
    };
    assert_eq!(of(&[1.0, 3.0], &[2]).unwrap(), of(&[1.0, 1.0, 1.0, 3.0, 3.0, 3.0], &[2, 3]).unwrap());
    assert!(of(&[1.0, 3.0, 1.0], &[3]).is_err());
}
