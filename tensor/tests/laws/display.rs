//! Printing and serde.

use cairn_tensor::{Shape, Tensor};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{shapes, small, view};

fn text<const N: usize>(data: &[f32], shape: [usize; N]) -> String {
    Tensor::from_slice(data, shape).unwrap().to_string()
}

#[test]
fn numbers_line_up() {
    assert_eq!(text(&[1.0, -2.5, 10.0], [3]), "[ 1.0000, -2.5000, 10.0000]");
    assert_eq!(text(&[1.0, 2.0, 3.0, 4.0], [2, 2]), "[[1.0000, 2.0000],\n [3.0000, 4.0000]]");
    assert_eq!(text(&[1.0, 2.0, 3.0, 4.0], [2, 1, 2]), "[[[1.0000, 2.0000]],\n\n [[3.0000, 4.0000]]]");
    assert_eq!(text(&[0.5], []), "0.5000");
    assert_eq!(text(&[1e9, 1.0], [2]), "[1.0000e9, 1.0000e0]");
    assert_eq!(text(&[f32::NAN, f32::INFINITY, -1.0], [3]), "[    NaN,     inf, -1.0000]");
    assert_eq!(format!("{:.1}", Tensor::from_vec(vec![0.25f64, 12.0], [2]).unwrap()), "[ 0.2, 12.0]");
    assert_eq!(Tensor::from_vec(vec![1i64, -10, 100], [3]).unwrap().to_string(), "[  1, -10, 100]");
    assert_eq!(Tensor::from_vec(vec![true, false], [2]).unwrap().to_string(), "[ true, false]");
    assert_eq!(Tensor::<f32>::zeros([0]).unwrap().to_string(), "[]");
    assert_eq!(Tensor::<f32>::zeros([2, 0]).unwrap().to_string(), "[[],\n []]");
    assert_eq!(format!("{:?}", Tensor::<u8>::zeros([2]).unwrap()), "Tensor<u8>[2] [0, 0]");
}

#[test]
fn long_tensors_are_cut_short() {
    let x = Tensor::arange(0i64, 2000, 1).unwrap();
    assert_eq!(x.to_string(), "[   0,    1,    2, ..., 1997, 1998, 1999]");
    let x = x.reshape([1000, 2]).unwrap();
    assert_eq!(
        x.to_string(),
        "[[   0,    1],\n [   2,    3],\n [   4,    5],\n ...,\n [1994, 1995],\n [1996, 1997],\n [1998, 1999]]"
    );
    assert_eq!(Tensor::arange(0i64, 1000, 1).unwrap().to_string().matches(',').count(), 999);
}

#[test]
fn a_long_repeated_axis_prints_at_once() {
    // More elements than memory could hold, of which a few are shown.
    let x = Tensor::scalar(1u8).broadcast_to([1 << 40, 1 << 20]).unwrap();
    assert!(x.to_string().starts_with("[[1, 1, 1, ..., 1, 1, 1],"));
}

proptest! {
    #[test]
    fn serde_round_trip(shape in shapes(), seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let json = serde_json::to_string(&x).unwrap();
        let back: Tensor<i64> = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(back.shape(), &n.shape[..]);
        prop_assert_eq!(back.to_vec(), n.data);
        let (x, _) = view(&shape, seed, RngExt::random::<f32>);
        let back: Tensor<f32> = serde_json::from_str(&serde_json::to_string(&x).unwrap()).unwrap();
        prop_assert_eq!(back, x);
    }

    #[test]
    fn printing_never_fails(shape in shapes(), seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let shown = x.to_string();
        prop_assert!(n.data.iter().all(|v| shown.contains(&v.to_string())));
    }
}

#[test]
fn a_length_that_does_not_fit_is_an_error_of_the_format() {
    let error = serde_json::from_str::<Tensor<f32>>(r#"{"shape":[2,2],"data":[1.0,2.0,3.0]}"#).unwrap_err();
    assert!(error.to_string().contains("[2, 2] holds 4 values, 3 were given"), "{error}");
    let error = serde_json::from_str::<Tensor<f32>>(r#"{"shape":[18446744073709551615,2],"data":[1.0]}"#);
    assert!(error.is_err());
    assert_eq!(serde_json::to_string(&Shape::from([2, 3])).unwrap(), "[2,3]");
}
