//! Views and copies.

use cairn_tensor::{Error, Tensor};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, broadcasting, huge_and_empty, permuted, same, shapes, small, view};

/// One random step from a view to another, done on both sides.
fn step(x: Tensor<i64>, n: Naive<i64>, kind: u8, a: usize, b: usize) -> (Tensor<i64>, Naive<i64>) {
    let rank = n.shape.len();
    let count = n.data.len();
    match kind {
        // Two axes exchanged.
        0 if rank > 0 => {
            let (a, b) = (a % rank, b % rank);
            let mut order: Vec<usize> = (0..rank).collect();
            order.swap(a, b);
            (x.transpose(a, b).unwrap(), n.permute(&order))
        }
        // A part of an axis.
        1 if rank > 0 => {
            let axis = a % rank;
            let start = b % (n.shape[axis] + 1);
            let len = (a / 7) % (n.shape[axis] - start + 1);
            (x.narrow(axis as isize - rank as isize, start, len).unwrap(), n.narrow(axis, start, len))
        }
        // One index of an axis.
        2 if rank > 0 && n.shape[a % rank] > 0 => {
            let axis = a % rank;
            let index = b % n.shape[axis];
            let mut part = n.narrow(axis, index, 1);
            part.shape.remove(axis);
            (x.index(axis, index).unwrap(), part)
        }
        // All axes as one.
        3 => (x.reshape([count]).unwrap(), Naive { shape: vec![count], data: n.data }),
        // Axes from one on as one.
        4 if rank > 0 => {
            let from = a % rank;
            let mut shape = n.shape[..from].to_vec();
            shape.push(n.shape[from..].iter().product());
            (x.flatten(from).unwrap(), Naive { shape, data: n.data })
        }
        // One axis divided in two, in either order, and axes of 1 added.
        5 if rank > 0 && rank < 4 => {
            let axis = a % rank;
            let size = n.shape[axis];
            let divisors: Vec<usize> = (1..=size).filter(|d| size.is_multiple_of(*d)).collect();
            if divisors.is_empty() {
                return (x, n);
            }
            let divisor = divisors[b % divisors.len()];
            let mut shape = n.shape.clone();
            shape[axis] = divisor;
            shape.insert(axis + 1, size / divisor);
            (x.reshape(&shape).unwrap(), Naive { shape, data: n.data })
        }
        // Two neighbouring axes as one.
        6 if rank > 1 => {
            let axis = a % (rank - 1);
            let mut shape = n.shape.clone();
            shape[axis] *= shape.remove(axis + 1);
            (x.reshape(&shape).unwrap(), Naive { shape, data: n.data })
        }
        // A new axis, repeated or not.
        7 if rank < 4 => {
            let axis = a % (rank + 1);
            let mut shape = n.shape.clone();
            shape.insert(axis, 1);
            let (x, n) = (x.unsqueeze(axis).unwrap(), Naive { shape: shape.clone(), data: n.data });
            if b.is_multiple_of(2) {
                return (x, n);
            }
            shape[axis] = b % 4;
            (x.broadcast_to(&shape).unwrap(), n.broadcast(&shape))
        }
        // An axis of 1 dropped.
        8 if n.shape.contains(&1) => {
            let axis = n.shape.iter().position(|&size| size == 1).unwrap();
            let mut shape = n.shape.clone();
            shape.remove(axis);
            (x.squeeze(axis).unwrap(), Naive { shape, data: n.data })
        }
        9 => (x.contiguous().unwrap(), n),
        _ => (x, n),
    }
}

proptest! {
    #[test]
    fn chains_of_views_match_the_reference(
        shape in shapes(),
        seed: u64,
        steps in prop::collection::vec((0..10u8, 0..1000usize, 0..1000usize), 0..8),
    ) {
        let (mut x, mut n) = view(&shape, seed, small);
        same(&x, &n);
        let first = (x.clone(), n.clone());
        for (kind, a, b) in steps {
            (x, n) = step(x, n, kind, a, b);
            same(&x, &n);
        }
        // Writing to the last view leaves the first as it was.
        let mut written = x.clone();
        written.as_mut_slice().unwrap().fill(77);
        same(&written, &n.map(|_| 77));
        same(&x, &n);
        same(&first.0, &first.1);
        drop(first);
        prop_assert_eq!(x.clone().into_vec(), n.data.clone());
        prop_assert_eq!(x.into_vec(), n.data);
    }

    #[test]
    fn permuting_back_is_the_identity(shape in shapes(), seed: u64, key: u64) {
        let (x, n) = view(&shape, seed, small);
        let mut order: Vec<usize> = (0..shape.len()).collect();
        let mut rng = cairn_tensor::rng(key);
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        let mut back = vec![0; order.len()];
        for (i, &axis) in order.iter().enumerate() {
            back[axis] = i;
        }
        let there = permuted(&x, &order);
        same(&there, &n.permute(&order));
        prop_assert!(there.shares_storage(&x));
        same(&permuted(&there, &back), &n);
        same(&permuted(&there.contiguous().unwrap(), &back), &n);
    }

    #[test]
    fn broadcast_matches_the_reference((parts, result) in broadcasting(1), seed: u64) {
        let (x, n) = view(&parts[0], seed, small);
        let wide = x.broadcast_to(&result).unwrap();
        same(&wide, &n.broadcast(&result));
        same(&wide.contiguous().unwrap(), &n.broadcast(&result));
        // Summing the repeats back gives multiples.
        let repeats = if n.data.is_empty() { 0 } else { (wide.len() / x.len()) as i64 };
        same(&wide.sum_to(x.dims()).unwrap(), &n.map(|v| v * repeats));
    }

    /// Sizes around and above the tile of the transpose and the blocks of tiles, with planes before and between, and padding.
    #[test]
    fn transposes_of_all_sizes_are_exact(
        (planes, rows, middle, columns) in (1..4usize, prop_oneof![1..100usize, 128..300usize], 1..4usize, 1..100usize),
        gap in 0..3usize,
        order in Just([0usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let base = [planes, columns + gap, middle, rows];
        let x = Tensor::arange(0, base.iter().product::<usize>() as i64, 1).unwrap().reshape(base).unwrap();
        let x = x.narrow(1, gap / 2, columns).unwrap();
        let turned = x.permute(order).unwrap();
        let copy = turned.contiguous().unwrap();
        prop_assert!(copy.is_contiguous());
        prop_assert_eq!(copy.shape(), turned.shape());
        let data = copy.as_slice().unwrap();
        let shape: Vec<usize> = turned.shape().to_vec();
        let strides = [(columns + gap) * middle * rows, middle * rows, rows, 1];
        let mut position = 0;
        for a in 0..shape[0] {
            for b in 0..shape[1] {
                for c in 0..shape[2] {
                    for d in 0..shape[3] {
                        let at = [a, b, c, d];
                        let source: usize = (0..4).map(|i| at[i] * strides[order[i]]).sum();
                        let start = gap / 2 * strides[1];
                        if data[position] != (start + source) as i64 {
                            prop_assert_eq!(data[position], (start + source) as i64, "at {:?}", at);
                        }
                        position += 1;
                    }
                }
            }
        }
    }
}

#[test]
fn transposes_of_every_element_size() {
    fn check<T: cairn_tensor::Element>() {
        for (rows, columns) in [(1, 1), (31, 33), (64, 64), (65, 7), (257, 130), (300, 400), (3, 1000)] {
            let x = Tensor::build([rows, columns], |out: &mut [T]| {
                for (i, x) in out.iter_mut().enumerate() {
                    *x = T::from_f64((i % 251) as f64);
                }
            })
            .unwrap();
            let t = x.t().unwrap().contiguous().unwrap();
            for i in 0..rows {
                for j in 0..columns {
                    assert_eq!(t.get(&[j, i]).unwrap(), x.get(&[i, j]).unwrap());
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
    check::<u8>();
    check::<bool>();
    check::<u32>();
}

#[test]
fn reshape_is_a_view_where_strides_allow() {
    let x = Tensor::arange(0i64, 24, 1).unwrap().reshape([2, 3, 4]).unwrap();
    let swapped = x.permute([1, 0, 2]).unwrap();
    // The last axis divides evenly; the first two do not merge.
    let divided = swapped.reshape([3, 2, 2, 2]).unwrap();
    assert!(divided.shares_storage(&x));
    let merged = swapped.reshape([6, 4]).unwrap();
    assert!(!merged.shares_storage(&x));
    assert_eq!(merged.get(&[1, 0]).unwrap(), 12);
    // Repeated axes merge with each other.
    let repeated = Tensor::scalar(5i64).broadcast_to([4, 6]).unwrap();
    assert!(repeated.reshape([3, 8]).unwrap().shares_storage(&repeated));
}

#[test]
fn writing_copies_only_when_shared_or_strided() {
    let mut x = Tensor::arange(0i64, 6, 1).unwrap().reshape([2, 3]).unwrap();
    let address = x.as_slice().unwrap().as_ptr();
    x.as_mut_slice().unwrap()[0] = 9;
    assert_eq!(x.as_slice().unwrap().as_ptr(), address, "a sole owner writes in place");
    let view = x.t().unwrap();
    x.as_mut_slice().unwrap()[1] = 8;
    assert_ne!(x.as_slice().unwrap().as_ptr(), address);
    assert_eq!(view.to_vec(), [9, 3, 1, 4, 2, 5]);
    let mut row = x.index(0, 1).unwrap();
    drop(x);
    row.as_mut_slice().unwrap()[0] = 7;
    assert_eq!(row.to_vec(), [7, 4, 5]);
}

#[test]
fn axes_that_no_memory_holds_are_harmless_when_empty() {
    let x = huge_and_empty::<f32>();
    assert_eq!(x.len(), 0);
    assert!(x.is_empty() && x.to_vec().is_empty());
    assert_eq!(x.iter().count(), 0);
    assert!(x.exp().unwrap().is_empty());
    assert!(x.add(&x).unwrap().is_empty());
    assert!(x.t().unwrap().contiguous().unwrap().is_empty());
    assert!(x.permute([2, 1, 0]).unwrap().exp().unwrap().is_empty());
    assert!(x.permute([2, 1, 0]).unwrap().reshape([0]).unwrap().is_empty());
    assert!(x.flatten(1).unwrap().is_empty());
    assert!(matches!(x.flatten(0), Ok(flat) if flat.is_empty()));
    assert!(Tensor::cat(&[&x, &x], 1).unwrap().is_empty());
    assert!(Tensor::stack(&[&x, &x], 1).unwrap().is_empty());
    assert!(x.index_select(1, &[]).unwrap().is_empty());
    assert!(x.softmax(0).unwrap().is_empty());
    assert!(x.matmul(&x.t().unwrap()).is_err() || x.matmul(&x.t().unwrap()).unwrap().is_empty());
    assert!(format!("{x}").contains("[]"), "{x}");
    assert!(x.multinomial(3, &mut cairn_tensor::rng(1)).unwrap().is_empty());
    let rows = Tensor::<f32>::zeros([0, usize::MAX]).unwrap();
    assert!(rows.multinomial(3, &mut cairn_tensor::rng(1)).unwrap().is_empty());
    let (losses, _) = rows.cross_entropy(&Tensor::zeros([0]).unwrap()).unwrap();
    assert!(losses.is_empty());
    // Repeats take no memory, but have to be counted.
    for shape in [[1usize << 40, 1 << 40], [usize::MAX, 1]] {
        let result = Tensor::scalar(1.0f32).broadcast_to(shape);
        assert!(matches!(result, Err(Error::BadShape { op: "broadcast_to", .. })));
    }
    // What would have to be filled is an error, not an abort.
    assert!(matches!(x.sum(1), Err(Error::OutOfMemory { .. })));
    assert!(matches!(Tensor::<f32>::zeros([usize::MAX, 2]), Err(Error::OutOfMemory { .. })));
    assert!(matches!(Tensor::<f32>::eye(usize::MAX), Err(Error::OutOfMemory { .. })));
}
