//! What is refused, with the operation's name and both shapes; and operators, which panic with the same text.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cairn_tensor::{Element, Error, Tensor};

fn zeros<const N: usize>(shape: [usize; N]) -> Tensor<f32> {
    Tensor::zeros(shape).unwrap()
}

fn panic_text(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("should have panicked");
    payload.downcast_ref::<String>().expect("a message").clone()
}

#[track_caller]
fn mismatch<T: Element>(result: Result<Tensor<T>, Error>, name: &str, left: &[usize], right: &[usize]) {
    match result {
        Err(Error::ShapeMismatch { op, lhs, rhs, .. }) => {
            assert_eq!((op, &*lhs, &*rhs), (name, left, right));
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn two_operands_whose_shapes_do_not_match() {
    type Op = fn(&Tensor<f32>, &Tensor<f32>) -> Result<Tensor<f32>, Error>;
    let ops: [(&str, Op); 7] = [
        ("add", |a, b| a.add(b)),
        ("sub", |a, b| a.sub(b)),
        ("mul", |a, b| a.mul(b)),
        ("div", |a, b| a.div(b)),
        ("maximum", |a, b| a.maximum(b)),
        ("minimum", |a, b| a.minimum(b)),
        ("pow", |a, b| a.pow(b)),
    ];
    type Compare = fn(&Tensor<f32>, &Tensor<f32>) -> Result<Tensor<bool>, Error>;
    let compares: [(&str, Compare); 6] = [
        ("eq", |a, b| a.eq(b)),
        ("ne", |a, b| a.ne(b)),
        ("lt", |a, b| a.lt(b)),
        ("le", |a, b| a.le(b)),
        ("gt", |a, b| a.gt(b)),
        ("ge", |a, b| a.ge(b)),
    ];
    for (a, b) in
        [(vec![2, 3], vec![2, 4]), (vec![0], vec![2]), (vec![2, 3], vec![3, 3, 3]), (vec![5], vec![2, 4])]
    {
        let (x, y) = (Tensor::zeros(&a).unwrap(), Tensor::zeros(&b).unwrap());
        for (name, op) in ops {
            mismatch(op(&x, &y), name, &a, &b);
            mismatch(op(&y, &x), name, &b, &a);
        }
        for (name, op) in compares {
            mismatch(op(&x, &y), name, &a, &b);
        }
        assert!(matches!(x.gt(&x).unwrap().select(&x, &y), Err(Error::ShapeMismatch { op: "select", .. })));
        mismatch(x.clone().add_assign(&y).map(|()| x.clone()), "add_assign", &a, &b);
        mismatch(x.broadcast_to(&b), "broadcast_to", &a, &b);
        mismatch(x.sum_to(&b), "sum_to", &b, &a);
    }
}

#[test]
fn products_whose_sizes_do_not_match() {
    mismatch(zeros([2, 3]).matmul(&zeros([4, 5])), "matmul", &[2, 3], &[4, 5]);
    mismatch(zeros([2, 2, 3]).matmul(&zeros([3, 3, 5])), "matmul", &[2, 2, 3], &[3, 3, 5]);
    mismatch(zeros([3]).matmul(&zeros([4])), "matmul", &[3], &[4]);
    mismatch(zeros([3]).matmul(&zeros([4, 3])), "matmul", &[3], &[4, 3]);
    assert!(matches!(Tensor::scalar(1f32).matmul(&zeros([1])), Err(Error::BadShape { op: "matmul", .. })));
    let mut out = zeros([2, 5]);
    for (a, b) in [([2, 3], [4, 5]), ([3, 3], [3, 5]), ([2, 3], [3, 4])] {
        mismatch(out.add_matmul(&zeros(a), &zeros(b)).map(|()| zeros([])), "add_matmul", &a, &b);
    }
    assert!(out.add_matmul(&zeros([1, 2, 3]), &zeros([3, 5])).is_err());
    mismatch(zeros([2, 3]).linear(&zeros([4, 5]), None, false), "linear", &[2, 3], &[4, 5]);
    mismatch(zeros([2, 3]).linear(&zeros([3, 5]), Some(&zeros([4])), false), "linear", &[3, 5], &[4]);
    mismatch(zeros([2, 3]).linear(&zeros([3]), None, false), "linear", &[2, 3], &[3]);
    mismatch(zeros([]).linear(&zeros([3, 1]), None, false), "linear", &[], &[3, 1]);
    mismatch(zeros([2, 3]).relu_backward(&zeros([3])), "relu_backward", &[2, 3], &[3]);
}

#[test]
fn rows_and_labels() {
    let x = zeros([2, 3]);
    let labels = |l: &[u32]| Tensor::from_slice(l, [l.len()]).unwrap();
    assert!(matches!(
        x.cross_entropy(&labels(&[0, 3])),
        Err(Error::IndexOutOfRange { op: "cross_entropy", index: 3, position: 1, size: 3 })
    ));
    assert!(matches!(x.cross_entropy(&labels(&[0])), Err(Error::ShapeMismatch { op: "cross_entropy", .. })));
    assert!(matches!(zeros([]).cross_entropy(&labels(&[0])), Err(Error::BadShape { .. })));
    assert!(matches!(
        x.clone().cross_entropy_backward(&labels(&[0, 3]), &zeros([2])),
        Err(Error::IndexOutOfRange { op: "cross_entropy_backward", .. })
    ));
    assert!(matches!(
        x.clone().cross_entropy_backward(&labels(&[0, 1]), &zeros([3])),
        Err(Error::ShapeMismatch { op: "cross_entropy_backward", .. })
    ));
    mismatch(x.softmax_backward(&zeros([3])), "softmax_backward", &[2, 3], &[3]);
    assert!(matches!(zeros([]).softmax_backward(&zeros([])), Err(Error::BadShape { .. })));
    for (name, result) in
        [("softmax", x.softmax(2)), ("log_softmax", x.log_softmax(-3)), ("logsumexp", x.logsumexp(9))]
    {
        assert!(matches!(result, Err(Error::AxisOutOfRange { op, .. }) if op == name));
    }
    assert!(zeros([]).softmax(0).is_err());
}

#[test]
fn views_and_joins() {
    let x = zeros([2, 3]);
    assert!(matches!(x.reshape([4]), Err(Error::WrongLength { op: "reshape", len: 6, .. })));
    assert!(matches!(
        Tensor::from_vec(vec![1f32], [2]),
        Err(Error::WrongLength { op: "from_vec", len: 1, .. })
    ));
    assert!(matches!(Tensor::from_slice(&[1f32], [2]), Err(Error::WrongLength { op: "from_slice", .. })));
    assert!(matches!(x.permute([0]), Err(Error::BadShape { op: "permute", .. })));
    assert!(matches!(x.permute([0, 0]), Err(Error::RepeatedAxis { op: "permute", axis: 0, .. })));
    assert!(matches!(x.permute([0, 2]), Err(Error::AxisOutOfRange { op: "permute", axis: 2, .. })));
    assert!(matches!(x.transpose(0, 2), Err(Error::AxisOutOfRange { op: "transpose", .. })));
    assert!(matches!(zeros([3]).t(), Err(Error::BadShape { op: "t", .. })));
    assert!(matches!(x.squeeze(0), Err(Error::BadShape { op: "squeeze", .. })));
    assert!(matches!(x.squeeze(5), Err(Error::AxisOutOfRange { op: "squeeze", .. })));
    assert!(matches!(x.unsqueeze(3), Err(Error::AxisOutOfRange { op: "unsqueeze", axis: 3, .. })));
    assert!(matches!(x.unsqueeze(-4), Err(Error::AxisOutOfRange { op: "unsqueeze", axis: -4, .. })));
    assert!(matches!(x.narrow(1, 2, 2), Err(Error::IndexOutOfRange { op: "narrow", size: 3, .. })));
    assert!(matches!(x.narrow(1, usize::MAX, 2), Err(Error::IndexOutOfRange { .. })));
    assert!(matches!(x.narrow(2, 0, 0), Err(Error::AxisOutOfRange { op: "narrow", .. })));
    assert!(matches!(x.index(0, 2), Err(Error::IndexOutOfRange { op: "index", index: 2, size: 2, .. })));
    assert!(matches!(x.flatten(2), Err(Error::AxisOutOfRange { op: "flatten", .. })));
    assert!(matches!(x.size(usize::MAX), Err(Error::AxisOutOfRange { op: "size", .. })));
    assert!(matches!(x.get(&[0]), Err(Error::BadShape { op: "get", .. })));
    assert!(matches!(
        x.get(&[0, 3]),
        Err(Error::IndexOutOfRange { op: "get", index: 3, position: 1, size: 3 })
    ));
    assert!(matches!(x.item(), Err(Error::BadShape { op: "item", .. })));
    mismatch(Tensor::cat(&[&x, &zeros([2, 3, 1])], 0), "cat", &[2, 3], &[2, 3, 1]);
    mismatch(Tensor::cat(&[&x, &zeros([3, 3])], 1), "cat", &[2, 3], &[3, 3]);
    assert!(matches!(Tensor::<f32>::cat(&[], 0), Err(Error::BadSetting { op: "cat", .. })));
    assert!(matches!(Tensor::cat(&[&x], 2), Err(Error::AxisOutOfRange { op: "cat", .. })));
    assert!(Tensor::stack(&[&x, &zeros([3])], 0).is_err());
    assert!(Tensor::<f32>::stack(&[], 0).is_err());
    assert!(matches!(
        x.index_select(0, &[1, 2]),
        Err(Error::IndexOutOfRange { op: "index_select", index: 2, position: 1, size: 2 })
    ));
    let mut y = x.clone();
    assert!(matches!(y.index_add(&[2], &zeros([1, 3])), Err(Error::IndexOutOfRange { op: "index_add", .. })));
    assert!(matches!(y.index_add(&[1], &zeros([2, 3])), Err(Error::ShapeMismatch { op: "index_add", .. })));
    assert!(matches!(y.index_add(&[1], &zeros([1, 2])), Err(Error::ShapeMismatch { op: "index_add", .. })));
    assert!(matches!(zeros([]).index_add(&[], &zeros([0])), Err(Error::BadShape { op: "index_add", .. })));
}

#[test]
fn arguments_of_random_draws() {
    let rng = &mut cairn_tensor::rng(1);
    for std in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            Tensor::<f32>::normal([2], 0.0, std, rng),
            Err(Error::BadSetting { op: "normal", .. })
        ));
    }
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (0.0, f64::NAN), (f64::NEG_INFINITY, 0.0)] {
        let drawn = Tensor::<f32>::uniform([2], low, high, rng);
        assert!(matches!(drawn, Err(Error::BadSetting { op: "uniform", .. })));
    }
    let x = Tensor::<f32>::uniform([10_000], 1.0, 1.0 + 1e-7, rng).unwrap();
    assert!(x.iter().all(|x| f64::from(x) < 1.0 + 1e-7), "the upper end is excluded even by rounding");
}

#[test]
fn operators_panic_with_the_text_of_the_error() {
    let (a, b) = (zeros([2, 3]), zeros([4]));
    let text = |r: Result<Tensor<f32>, Error>| r.unwrap_err().to_string();
    assert_eq!(panic_text(|| drop(&a + &b)), text(a.add(&b)));
    assert_eq!(panic_text(|| drop(&a - b.clone())), text(a.sub(&b)));
    assert_eq!(panic_text(|| drop(a.clone() * &b)), text(a.mul(&b)));
    assert_eq!(panic_text(|| drop(a.clone() / b.clone())), text(a.div(&b)));
    let mut sum = a.clone();
    assert_eq!(panic_text(|| sum += &b), a.clone().add_assign(&b).unwrap_err().to_string());
    let most = Tensor::scalar(i64::MAX);
    assert_eq!(panic_text(|| drop(&most + 1)), most.add(&Tensor::scalar(1)).unwrap_err().to_string());
    assert_eq!(panic_text(|| drop(-Tensor::scalar(1u8))), Tensor::scalar(1u8).neg().unwrap_err().to_string());
    assert_eq!(
        text(a.add(&b)),
        "add: shapes [2, 3] and [4] do not match: sizes must be equal or 1, aligned at the last axis"
    );
}
