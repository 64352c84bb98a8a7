//! Other crates' arrays: the same elements at the same places, without a copy where layouts allow.

use cairn_tensor::{Error, Tensor, s};

/// Views of one storage in many layouts.
fn views() -> Vec<Tensor<f64>> {
    let x = Tensor::<f64>::linspace(0.0, 59.0, 60).unwrap().reshape([3, 4, 5]).unwrap();
    vec![
        x.clone(),
        x.permute([2, 0, 1]).unwrap(),
        x.flip([0, 2]).unwrap(),
        x.slice(s![1.., ..;2, ..;-3]).unwrap(),
        x.slice(s![.., 1, 1..4]).unwrap(),
        x.narrow(1, 1, 1).unwrap().broadcast_to([3, 4, 5]).unwrap(),
        x.narrow(2, 2, 0).unwrap(),
        x.slice(s![2, 3, ..;-1]).unwrap(),
        x.diagonal(-1).unwrap(),
        Tensor::scalar(7.0),
    ]
}

#[test]
fn ndarray_sees_the_same_elements_in_every_layout() {
    for x in views() {
        let view = x.view_ndarray().unwrap();
        assert_eq!(view.shape(), x.shape());
        assert!(view.iter().copied().eq(x.iter()), "{x:?}");
        // A view of a view is at the same place in memory, so that nothing was copied.
        let again = x.clone();
        assert!(x.is_empty() || again.view_ndarray().unwrap().as_ptr() == view.as_ptr(), "a copy of {x:?}");
        assert_eq!(Tensor::from_ndarray(view.to_owned()).unwrap(), x);
        assert!(x.clone().into_ndarray().unwrap().iter().copied().eq(x.iter()));
    }
}

#[test]
fn a_shape_that_ndarray_has_not_is_an_error() {
    let x = Tensor::<f32>::zeros([usize::MAX, 0, usize::MAX]).unwrap();
    assert!(matches!(x.view_ndarray(), Err(Error::BadShape { op: "view_ndarray", .. })));
    assert!(matches!(x.into_ndarray(), Err(Error::BadShape { op: "into_ndarray", .. })));
}

#[test]
fn owned_arrays_change_hands_without_a_copy() {
    let array = ndarray::Array2::<f32>::ones((50, 40));
    let address = array.as_ptr();
    let x = Tensor::from_ndarray(array).unwrap();
    assert_eq!(x.as_slice().unwrap().as_ptr(), address);
    assert_eq!(x.into_ndarray().unwrap().as_ptr(), address);
    // Column-major ones, and parts of larger ones, are copied into order.
    let turned = ndarray::Array2::from_shape_fn((30, 20), |(i, j)| (i * 100 + j) as f32).reversed_axes();
    let x = Tensor::from_ndarray(turned.clone()).unwrap();
    assert!(x.iter().eq(turned.iter().copied()));
    let part = ndarray::Array1::from_iter((0..3000).map(|i| i as f32)).slice_move(ndarray::s![1000..2000]);
    let x = Tensor::from_ndarray(part).unwrap();
    assert_eq!((x.get(&[0]).unwrap(), x.get(&[999]).unwrap(), x.len()), (1000.0, 1999.0, 1000));
}

#[test]
fn faer_sees_the_same_elements_in_every_layout() {
    for x in views() {
        if x.rank() != 2 {
            assert!(x.view_faer().is_err());
            continue;
        }
        let view = x.view_faer().unwrap();
        assert_eq!((view.nrows(), view.ncols()), (x.shape()[0], x.shape()[1]));
        for (i, row) in x.to_vec().chunks(x.shape()[1]).enumerate() {
            assert!(row.iter().enumerate().all(|(j, &value)| view[(i, j)] == value));
        }
        assert_eq!(Tensor::from_faer(view).unwrap(), x);
    }
    let empty = Tensor::<f32>::zeros([0, 4]).unwrap();
    assert_eq!(Tensor::from_faer(empty.view_faer().unwrap()).unwrap(), empty);
    let empty = Tensor::<f32>::zeros([4, 0]).unwrap();
    assert_eq!(Tensor::from_faer(empty.view_faer().unwrap()).unwrap(), empty);
}
