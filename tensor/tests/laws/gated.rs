//! Gated activations against their parts.

use cairn_tensor::{Error, Gate, Tensor};
use proptest::prelude::*;

use crate::naive::{real, view};

type Part = fn(&Tensor<f64>) -> Tensor<f64>;
type Back = fn(&Tensor<f64>, &Tensor<f64>) -> Tensor<f64>;

/// Each gate, its activation, and the activation's gradient from input and gradient.
const GATES: [(Gate, Part, Back); 5] = [
    (Gate::Relu, |x| x.relu().unwrap(), |x, g| x.relu_backward(g).unwrap()),
    (Gate::Sigmoid, |x| x.sigmoid().unwrap(), |x, g| x.sigmoid().unwrap().sigmoid_backward(g).unwrap()),
    (Gate::Silu, |x| x.silu().unwrap(), |x, g| x.silu_backward(g).unwrap()),
    (Gate::Gelu, |x| x.gelu().unwrap(), |x, g| x.gelu_backward(g).unwrap()),
    (Gate::GeluTanh, |x| x.gelu_tanh().unwrap(), |x, g| x.gelu_tanh_backward(g).unwrap()),
];

fn close(a: &Tensor<f64>, b: &Tensor<f64>) -> bool {
    a.shape() == b.shape() && a.iter().zip(b.iter()).all(|(a, b)| (a - b).abs() <= 1e-13 * b.abs().max(1.0))
}

proptest! {
    #[test]
    fn gates_are_activations_times_the_other_half(rows in 0..40usize, time in 1..4usize, len in 0..70usize, seed: u64) {
        let (both, _) = view(&[rows, time, 2 * len], seed, real);
        let (g, _) = view(&[rows, time, len], seed ^ 1, real);
        let (gate, up) = (both.narrow(-1, 0, len).unwrap(), both.narrow(-1, len, len).unwrap());
        for (kind, activation, back) in GATES {
            let value = activation(&gate).mul(&up).unwrap();
            let (of_gate, of_up) = (back(&gate, &g.mul(&up).unwrap()), g.mul(&activation(&gate)).unwrap());
            prop_assert!(close(&gate.gated(kind, &up).unwrap(), &value), "{:?}", kind);
            prop_assert!(close(&both.gated_halves(kind).unwrap(), &value), "{:?}", kind);
            let [a, b] = gate.gated_backward(kind, &up, &g).unwrap();
            prop_assert!(close(&a, &of_gate) && close(&b, &of_up), "{:?}", kind);
            let packed = both.gated_halves_backward(kind, &g).unwrap();
            prop_assert_eq!(packed, Tensor::cat(&[&a, &b], -1).unwrap());
        }
    }
}

#[test]
fn ends_of_the_range_and_numbers_that_are_none() {
    let gate = Tensor::from_vec(vec![f32::NEG_INFINITY, f32::INFINITY, f32::NAN, 0.0], [4]).unwrap();
    let ones = Tensor::ones([4]).unwrap();
    for (kind, high) in [
        (Gate::Silu, f32::INFINITY),
        (Gate::Sigmoid, 1.0),
        (Gate::Gelu, f32::INFINITY),
        (Gate::Relu, f32::INFINITY),
    ] {
        let y = gate.gated(kind, &ones).unwrap().to_vec();
        assert_eq!(y[..2], [0.0, high], "{kind:?}");
        assert!(y[2].is_nan(), "{kind:?}");
        let [of_gate, _] = gate.gated_backward(kind, &ones, &ones).unwrap();
        assert_eq!(of_gate.get(&[0]).unwrap(), 0.0, "{kind:?}");
    }
}

#[test]
fn what_is_not_alike_is_refused() {
    let (a, b) = (Tensor::<f32>::zeros([2, 3]).unwrap(), Tensor::zeros([3]).unwrap());
    assert!(matches!(a.gated(Gate::Silu, &b), Err(Error::ShapeMismatch { op: "gated", .. })));
    assert!(matches!(
        a.gated_backward(Gate::Silu, &a, &b),
        Err(Error::ShapeMismatch { op: "gated_backward", .. })
    ));
    assert!(matches!(a.gated_halves(Gate::Silu), Err(Error::BadShape { op: "gated_halves", .. })));
    let even = Tensor::<f32>::zeros([2, 4]).unwrap();
    assert!(matches!(even.gated_halves_backward(Gate::Silu, &even), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(Tensor::scalar(1f32).gated_halves(Gate::Silu), Err(Error::BadShape { .. })));
}
