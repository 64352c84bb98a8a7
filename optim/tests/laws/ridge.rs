//! Least squares in closed form: the conditions of a minimum, and the cases without one answer.

use cairn_optim::{Error, Ridge};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

fn tensor(values: &[f32], shape: [usize; 2]) -> Tensor<f32> {
    Tensor::from_vec(values.to_vec(), shape).unwrap()
}

/// The gradient of |X w + b - y|² + penalty |w|² by the weights, halved, and by the bias.
fn gradients(
    x: &Tensor<f32>,
    y: &Tensor<f32>,
    penalty: f64,
    fitted: &cairn_nn::Linear,
) -> (Tensor<f64>, Tensor<f64>) {
    let error = fitted.forward(&x.clone().into()).unwrap().value().sub(y).unwrap().cast::<f64>().unwrap();
    let weight = fitted.weight.value().cast::<f64>().unwrap();
    let of_weight = x.t().unwrap().cast::<f64>().unwrap().matmul(&error).unwrap();
    (of_weight.add(&weight.scale(penalty).unwrap()).unwrap(), error.sum(0).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_direction_leads_further_down(
        rows in 1usize..12, features in 1usize..6, outputs in 1usize..3, penalty in 0.0f64..3.0, seed in 0u64..99,
    ) {
        let mut rng = rng(seed);
        let x = Tensor::normal([rows, features], 0.0, 1.0, &mut rng).unwrap();
        let y = Tensor::normal([rows, outputs], 0.0, 1.0, &mut rng).unwrap();
        let fitted = Ridge::new(penalty).fit(&x, &y).unwrap();
        let (of_weight, of_bias) = gradients(&x, &y, penalty, &fitted);
        // A near-singular matrix without a penalty has large weights, and their rounding.
        let size = 1.0 + f64::from(fitted.weight.value().norm(..).unwrap().item().unwrap());
        for gradient in of_weight.to_vec().into_iter().chain(of_bias.to_vec()) {
            prop_assert!(gradient.abs() < 1e-4 * size, "{} at weights of {}", gradient, size);
        }
    }
}

/// As `numpy.linalg.lstsq` on [[1, 2]], [3]: of all w with w₁ + 2 w₂ = 3 the shortest.
#[test]
fn of_many_answers_the_shortest_is_taken() {
    let fitted =
        Ridge::new(0.0).without_bias().fit(&tensor(&[1.0, 2.0], [1, 2]), &tensor(&[3.0], [1, 1])).unwrap();
    let weight = fitted.weight.value().to_vec();
    assert!((weight[0] - 0.6).abs() < 1e-6 && (weight[1] - 1.2).abs() < 1e-6, "{weight:?}");
    // The same feature twice shares its weight, and a constant one has none.
    let x = tensor(&[1.0, 1.0, 5.0, 2.0, 2.0, 5.0, 4.0, 4.0, 5.0], [3, 3]);
    let twins = Ridge::new(0.0).fit(&x, &tensor(&[2.0, 4.0, 8.0], [3, 1])).unwrap().weight.value().to_vec();
    assert!(
        (twins[0] - 1.0).abs() < 1e-6 && (twins[1] - 1.0).abs() < 1e-6 && twins[2].abs() < 1e-6,
        "{twins:?}"
    );
}

#[test]
fn a_penalty_shrinks_the_weight_and_not_the_bias() {
    let (x, y) = (tensor(&[-1.0, 1.0], [2, 1]), tensor(&[9.0, 11.0], [2, 1]));
    // Σ x y / (Σ x² + 2) of the centred values.
    let fitted = Ridge::new(2.0).fit(&x, &y).unwrap();
    assert!((fitted.weight.value().to_vec()[0] - 0.5).abs() < 1e-6);
    assert!((fitted.bias.as_ref().unwrap().value().to_vec()[0] - 10.0).abs() < 1e-5);
}

#[test]
fn bad_input_is_refused() {
    let (x, y) = (tensor(&[1.0, 2.0], [2, 1]), tensor(&[1.0, 2.0], [2, 1]));
    assert!(matches!(Ridge::new(-1.0).fit(&x, &y), Err(Error::BadSetting(_))));
    assert!(matches!(Ridge::new(f64::NAN).fit(&x, &y), Err(Error::BadSetting(_))));
    assert!(
        Ridge::new(0.0)
            .fit(&x, &tensor(&[1.0], [1, 1]))
            .unwrap_err()
            .to_string()
            .contains("[2, 1] and [1, 1]")
    );
    assert!(Ridge::new(0.0).fit(&Tensor::zeros([0, 1]).unwrap(), &Tensor::zeros([0]).unwrap()).is_err());
    assert!(Ridge::new(0.0).fit(&tensor(&[f32::NAN, 1.0], [2, 1]), &y).is_err());
}
