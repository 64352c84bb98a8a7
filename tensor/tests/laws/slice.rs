//! Parts of tensors: slices, reversals, triangles and diagonals, read and written.

use cairn_tensor::{Error, Slice, Tensor, s};
use proptest::prelude::*;

use crate::naive::{Naive, same, shape_and_axis, shapes, small, view};

proptest! {
    #[test]
    fn slices_match_stepping((shape, axis) in shape_and_axis(), seed: u64, a in 0..8usize, b in 0..8usize, step in -3..4isize, from_end: bool) {
        prop_assume!(step != 0);
        let (x, n) = view(&shape, seed, small);
        let size = shape[axis];
        let (start, end) = (a.min(size), b.min(size));
        let mut slices = vec![Slice::from(..); axis];
        // The same place counted from the end, where it has such a name.
        let name = |place: usize| if from_end && place < size { place as isize - size as isize } else { place as isize };
        slices.push(Slice::from(name(start)..name(end)).step(step));
        let mut places: Vec<usize> = (start..end).collect();
        if step < 0 { places.reverse(); }
        let places: Vec<usize> = places.into_iter().step_by(step.unsigned_abs()).collect();
        let mut small_shape = shape.clone();
        small_shape[axis] = places.len();
        let want = Naive::from_fn(&small_shape, |i| {
            let mut i = i.to_vec();
            i[axis] = places[i[axis]];
            n.at(&i)
        });
        let part = x.slice(&slices).unwrap();
        same(&part, &want);
        prop_assert!(part.shares_storage(&x));
        // Kernels take negative steps: arithmetic, copies, reductions, reshapes.
        same(&part.add(&part).unwrap(), &want.map(|v| 2 * v));
        same(&part.contiguous().unwrap(), &want);
        prop_assert_eq!(part.sum(..).unwrap().item().unwrap(), want.data.iter().sum::<i64>());
        prop_assert_eq!(part.reshape([want.data.len()]).unwrap().to_vec(), want.data);
        // One index drops the axis.
        if size > 0 {
            slices[axis] = Slice::from(name(a % size));
            same(&x.slice(&slices).unwrap(), &{ let mut part = n.narrow(axis, a % size, 1); part.shape.remove(axis); part });
        }
    }

    #[test]
    fn flips_reverse(shape in shapes(), seed: u64, bits: u8) {
        let (x, n) = view(&shape, seed, small);
        let axes: Vec<usize> = (0..shape.len()).filter(|i| bits >> i & 1 == 1).collect();
        let flipped = x.flip(&axes[..]).unwrap();
        same(&flipped, &Naive::from_fn(&shape, |i| {
            let mut i = i.to_vec();
            for &axis in &axes { i[axis] = shape[axis] - 1 - i[axis]; }
            n.at(&i)
        }));
        same(&flipped.contiguous().unwrap().flip(&axes[..]).unwrap(), &n);
    }

    #[test]
    fn triangles_and_diagonals_match(batch in 0..3usize, rows in 0..6usize, columns in 0..6usize, offset in -7..8isize, seed: u64) {
        let shape = [batch, rows, columns];
        let (x, n) = view(&shape, seed, small);
        let side = |i: &[usize]| i[2] as isize - i[1] as isize;
        same(&x.tril(offset).unwrap(), &Naive::from_fn(&shape, |i| if side(i) <= offset { n.at(i) } else { 0 }));
        same(&x.triu(offset).unwrap(), &Naive::from_fn(&shape, |i| if side(i) >= offset { n.at(i) } else { 0 }));
        same(&x, &n);
        let (down, right) = ((-offset).max(0) as usize, offset.max(0) as usize);
        let len = rows.saturating_sub(down).min(columns.saturating_sub(right));
        same(&x.diagonal(offset).unwrap(), &Naive::from_fn(&[batch, len], |i| n.at(&[i[0], i[1] + down, i[1] + right])));
    }
}

#[test]
#[allow(clippy::reversed_empty_ranges)] // -1 is the last index
fn slices_as_written() {
    let x = Tensor::arange(0i64, 24, 1).unwrap().reshape([2, 3, 4]).unwrap();
    assert_eq!(x.slice(s![1]).unwrap().shape(), [3, 4]);
    assert_eq!(x.slice(s![.., 1..=2, ..2]).unwrap().to_vec(), [4, 5, 8, 9, 16, 17, 20, 21]);
    assert_eq!(x.slice(s![0, -1, -2..]).unwrap().to_vec(), [10, 11]);
    assert_eq!(x.slice(s![0, 0, 0..=-1]).unwrap().to_vec(), [0, 1, 2, 3]);
    assert_eq!(x.slice(s![0, 0, ..;-2]).unwrap().to_vec(), [3, 1]);
    assert_eq!(x.slice(s![]).unwrap(), x);
    assert_eq!(x.slice(s![0, 2..1]).unwrap().shape(), [0, 4]);
    assert!(matches!(
        x.slice(s![2]),
        Err(Error::IndexOutOfRange { op: "slice", index: 2, position: 0, size: 2 })
    ));
    assert!(matches!(
        x.slice(s![.., 0..4]),
        Err(Error::IndexOutOfRange { op: "slice", index: 4, position: 1, size: 3 })
    ));
    assert!(matches!(x.slice(s![-3]), Err(Error::IndexOutOfRange { .. })));
    assert!(matches!(x.slice(s![..;0]), Err(Error::BadSetting { op: "slice", .. })));
    assert!(matches!(x.slice(s![0, 0, 0, 0]), Err(Error::BadShape { op: "slice", .. })));
    assert!(Tensor::<f32>::zeros([0]).unwrap().slice(s![0]).is_err());
}

#[test]
fn what_is_refused() {
    let x = Tensor::<f32>::zeros([2, 3]).unwrap();
    let index = Tensor::<u32>::zeros([2, 1]).unwrap();
    assert!(matches!(x.flip(2), Err(Error::AxisOutOfRange { op: "flip", .. })));
    assert!(matches!(x.split(1, &[1, 1]), Err(Error::WrongLength { op: "split", .. })));
    assert!(matches!(x.chunk(0, 0), Err(Error::BadSetting { op: "chunk", .. })));
    assert!(matches!(x.pad(&[(1, 1)], 0.0), Err(Error::BadShape { op: "pad", .. })));
    assert!(matches!(x.pad(&[(usize::MAX, 1), (0, 0)], 0.0), Err(Error::OutOfMemory { .. })));
    assert!(matches!(x.tile(&[2]), Err(Error::BadShape { op: "tile", .. })));
    assert!(matches!(x.repeat(2, 2), Err(Error::AxisOutOfRange { op: "repeat", .. })));
    for bad in
        [x.index(0, 0).unwrap().tril(0), x.index(0, 0).unwrap().triu(0), x.index(0, 0).unwrap().diagonal(0)]
    {
        assert!(matches!(bad, Err(Error::BadShape { .. })));
    }
    assert!(matches!(x.gather(0, &index), Err(Error::ShapeMismatch { op: "gather", .. })));
    let far = Tensor::full([2, 1], 3u32).unwrap();
    assert!(matches!(x.gather(1, &far), Err(Error::IndexOutOfRange { op: "gather", index: 3, size: 3, .. })));
    let mut y = x.clone();
    assert!(matches!(y.scatter_add(1, &index, &x), Err(Error::ShapeMismatch { op: "scatter_add", .. })));
    assert!(matches!(far.one_hot::<f32>(3), Err(Error::IndexOutOfRange { op: "one_hot", .. })));
    assert!(matches!(x.dot(&x), Err(Error::ShapeMismatch { op: "dot", .. })));
    assert!(matches!(x.outer(&x), Err(Error::ShapeMismatch { op: "outer", .. })));
    for formula in ["ij,jk", "i->i", "ij->ii", "ij->k", "i1->i", "ijk"] {
        let result = Tensor::einsum(formula, &[&x]);
        assert!(matches!(result, Err(Error::BadFormula { op: "einsum", .. })), "{formula}");
    }
    assert!(matches!(Tensor::einsum("ii", &[&x]), Err(Error::ShapeMismatch { op: "einsum", .. })));
    assert!(matches!(Tensor::einsum("ij,ji", &[&x, &x]), Err(Error::ShapeMismatch { op: "einsum", .. })));
    assert!(Tensor::<f32>::einsum("", &[]).is_err());
}

proptest! {
    #[test]
    fn writing_a_part_changes_that_part_alone((shape, axis) in shape_and_axis(), seed: u64, step in 1..4isize, back: bool) {
        let (x, _) = view(&shape, seed, small);
        let mut slices = vec![Slice::from(..); axis];
        slices.push(Slice::from(..).step(if back { -step } else { step }));
        let part = x.slice(&slices).unwrap();
        let (new, _) = view(part.shape(), seed ^ 1, small);
        let mut y = x.clone();
        y.slice_assign(&slices, &new).unwrap();
        prop_assert_eq!(y.slice(&slices).unwrap(), new);
        // With what was there before, all is as it was; and the tensor it was a clone of has not changed.
        y.slice_assign(&slices, &part).unwrap();
        prop_assert_eq!(&y, &x);
        y.slice_assign(&slices, &Tensor::scalar(7)).unwrap();
        prop_assert!(y.slice(&slices).unwrap().iter().all(|x| x == 7));
    }

    #[test]
    fn adding_to_a_part_changes_that_part_alone((shape, axis) in shape_and_axis(), seed: u64, start in 0..4usize, len in 0..4usize) {
        let float = |shape: &[usize], seed| view(shape, seed, small).0.cast::<f64>().unwrap();
        let x = float(&shape, seed);
        let start = start.min(shape[axis]);
        let len = len.min(shape[axis] - start);
        let mut y = x.clone();
        let part = x.narrow(axis, start, len).unwrap();
        let values = float(part.shape(), seed ^ 1);
        y.narrow_add(axis, start, &values).unwrap();
        let mut expected = x.clone();
        let slices: Vec<Slice> = (0..axis).map(|_| Slice::from(..)).chain([Slice::from(start as isize..(start + len) as isize)]).collect();
        expected.slice_assign(&slices, &part.add(&values).unwrap()).unwrap();
        prop_assert_eq!(y, expected);
    }

    #[test]
    fn writing_a_diagonal_changes_it_alone(batch in 1..3usize, rows in 0..5usize, columns in 0..5usize, offset in -6..7isize) {
        let mut x = Tensor::<f64>::zeros([batch, rows, columns]).unwrap();
        x.diagonal_assign(offset, &Tensor::scalar(1.0)).unwrap();
        let naive: Vec<f64> = (0..batch * rows * columns)
            .map(|i| f64::from((i % columns) as isize == (i / columns % rows) as isize + offset))
            .collect();
        prop_assert_eq!(x.to_vec(), naive);
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let mut x = Tensor::<f32>::zeros([2, 3]).unwrap();
    let v = Tensor::<f32>::ones([4]).unwrap();
    assert!(matches!(x.slice_assign(s![5], &v), Err(Error::IndexOutOfRange { op: "slice_assign", .. })));
    assert!(matches!(x.slice_assign(s![0], &v), Err(Error::ShapeMismatch { op: "slice_assign", .. })));
    assert!(matches!(x.slice_assign(s![..;0], &v), Err(Error::BadSetting { op: "slice_assign", .. })));
    for (axis, start, values) in [(0, 0, &v), (0, 2, &x.clone()), (1, usize::MAX, &x.clone())] {
        let error = x.narrow_add(axis, start, values).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { op: "narrow_add", .. }), "{error}");
    }
    assert!(matches!(x.narrow_add(2, 0, &v), Err(Error::AxisOutOfRange { op: "narrow_add", .. })));
    assert!(matches!(x.diagonal_assign(0, &v), Err(Error::ShapeMismatch { op: "diagonal_assign", .. })));
    assert!(matches!(v.clone().diagonal_assign(0, &v), Err(Error::BadShape { op: "diagonal_assign", .. })));
    assert!(matches!(x.cumprod_backward(&v, 0), Err(Error::ShapeMismatch { op: "cumprod_backward", .. })));
    assert_eq!(x.to_vec(), [0.0; 6]);
}
