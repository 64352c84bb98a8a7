//! Slices, reversals, repeats, padding, triangles; element-wise indexing; contractions; random draws.

use cairn_tensor::{Error, Slice, Tensor, rng, s};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, close, indices, real, same, shape_and_axis, shapes, small, view};

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
    fn parts_join_again((shape, axis) in shape_and_axis(), seed: u64, count in 1..5usize) {
        let (x, n) = view(&shape, seed, small);
        let parts = x.chunk(axis, count).unwrap();
        prop_assert_eq!(parts.len(), count);
        let sizes: Vec<usize> = parts.iter().map(|part| part.shape()[axis]).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        same(&Tensor::cat(&parts.iter().collect::<Vec<_>>(), axis).unwrap(), &n);
        let split = x.split(axis, &sizes).unwrap();
        prop_assert!(split == parts);
    }

    #[test]
    fn padding_and_repeating_match(shape in shapes(), seed: u64, widths in prop::collection::vec((0..3usize, 0..3usize), 4), counts in prop::collection::vec(0..3usize, 4)) {
        let (x, n) = view(&shape, seed, small);
        let widths = &widths[..shape.len()];
        let padded: Vec<usize> = shape.iter().zip(widths).map(|(s, (a, b))| s + a + b).collect();
        same(&x.pad(widths, 7).unwrap(), &Naive::from_fn(&padded, |i| {
            let inside = (0..i.len()).all(|a| i[a] >= widths[a].0 && i[a] < widths[a].0 + shape[a]);
            if inside { n.at(&i.iter().zip(widths).map(|(i, w)| i - w.0).collect::<Vec<_>>()) } else { 7 }
        }));
        let counts = &counts[..shape.len()];
        let tiled: Vec<usize> = shape.iter().zip(counts).map(|(s, c)| s * c).collect();
        same(&x.tile(counts).unwrap(), &Naive::from_fn(&tiled, |i| n.at(&i.iter().zip(&shape).map(|(i, s)| i % s).collect::<Vec<_>>())));
        for (axis, &times) in counts.iter().enumerate() {
            let mut repeated = shape.clone();
            repeated[axis] *= times;
            same(&x.repeat(axis, times).unwrap(), &Naive::from_fn(&repeated, |i| {
                let mut i = i.to_vec();
                i[axis] /= times;
                n.at(&i)
            }));
        }
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

    #[test]
    fn gathering_and_scattering_match((shape, axis) in shape_and_axis(), len in 0..5usize, seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let mut picked = shape.clone();
        picked[axis] = if shape[axis] == 0 { 0 } else { len };
        let (index, ni) = view(&picked, seed ^ 1, |rng| rng.random_range(0..shape[axis].max(1)) as u32);
        let source = |i: &[usize]| {
            let mut i = i.to_vec();
            i[axis] = ni.at(&i) as usize;
            i
        };
        same(&x.gather(axis, &index).unwrap(), &Naive::from_fn(&picked, |i| n.at(&source(i))));
        let (values, nv) = view(&picked, seed ^ 2, small);
        let mut sum = x.clone();
        sum.scatter_add(axis, &index, &values).unwrap();
        let mut want = n.clone();
        let all = indices(&shape);
        for i in indices(&picked) {
            let at = all.iter().position(|j| *j == source(&i)).unwrap();
            want.data[at] += nv.at(&i);
        }
        same(&sum, &want);
        same(&x, &n);
        let (labels, nl) = view(&shape, seed, |rng| rng.random_range(0..4));
        let hot = [&shape[..], &[4]].concat();
        same(&labels.one_hot::<u8>(4).unwrap(), &Naive::from_fn(&hot, |i| {
            let (&class, at) = i.split_last().unwrap();
            u8::from(nl.at(at) as usize == class)
        }));
    }

    /// Formulas of up to three operands over four names, with repeats, against the sum over all names.
    #[test]
    fn contractions_match_their_definition(
        sizes in prop::collection::vec(0..4usize, 4),
        operands in prop::collection::vec(prop::collection::vec(0..4usize, 0..4), 1..4),
        output in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
        len in 0..4usize,
        seed: u64,
    ) {
        let output: Vec<usize> = output.into_iter().filter(|o| operands.iter().flatten().any(|i| i == o)).take(len).collect();
        let letters = |names: &[usize]| names.iter().map(|&i| (b'i' + i as u8) as char).collect::<String>();
        let formula = format!("{} -> {}", operands.iter().map(|o| letters(o)).collect::<Vec<_>>().join(", "), letters(&output));
        let made: Vec<_> = operands
            .iter()
            .zip(0..)
            .map(|(names, k)| view(&names.iter().map(|&i| sizes[i]).collect::<Vec<_>>(), seed ^ k, real))
            .collect();
        let got = Tensor::einsum(&formula, &made.iter().map(|(x, _)| x).collect::<Vec<_>>()).unwrap();
        let used: Vec<usize> = (0..4).filter(|i| operands.iter().flatten().any(|o| o == i)).collect();
        let mut want = Naive::from_fn(&output.iter().map(|&i| sizes[i]).collect::<Vec<_>>(), |_| 0.0);
        let places = indices(&want.shape);
        for index in indices(&used.iter().map(|&i| sizes[i]).collect::<Vec<_>>()) {
            let of = |names: &[usize]| names.iter().map(|n| index[used.iter().position(|u| u == n).unwrap()]).collect::<Vec<_>>();
            let product: f64 = operands.iter().zip(&made).map(|(names, (_, n))| n.at(&of(names))).product();
            want.data[places.iter().position(|p| *p == of(&output)).unwrap()] += product;
        }
        close(&got, &want, 1e-10);
    }

    #[test]
    fn truth_values_combine(shape in shapes(), seed: u64) {
        let (a, na) = view(&shape, seed, RngExt::random::<bool>);
        let (b, nb) = view(&shape, seed ^ 1, RngExt::random::<bool>);
        let zip = |f: fn(bool, bool) -> bool| Naive::from_fn(&shape, |i| f(na.at(i), nb.at(i)));
        same(&a.and(&b).unwrap(), &zip(|a, b| a && b));
        same(&a.or(&b).unwrap(), &zip(|a, b| a || b));
        same(&a.xor(&b).unwrap(), &zip(|a, b| a != b));
    }
}

#[test]
fn products_of_reversed_matrices() {
    let a = Tensor::arange(0.0f64, 12.0, 1.0).unwrap().reshape([3, 4]).unwrap();
    let b = Tensor::arange(0.0f64, 20.0, 1.0).unwrap().reshape([4, 5]).unwrap();
    let plain = a.contiguous().unwrap().matmul(&b).unwrap();
    let (ra, rb) = (a.flip(1).unwrap(), b.flip(0).unwrap());
    assert_eq!(ra.matmul(&rb).unwrap(), plain, "reversing the inner axis of both changes nothing");
    assert_eq!(a.flip(0).unwrap().matmul(&b.flip(1).unwrap()).unwrap(), plain.flip([0, 1]).unwrap());
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
    assert!(matches!(x.slice(s![..;0]), Err(Error::BadArgument { op: "slice", .. })));
    assert!(matches!(x.slice(s![0, 0, 0, 0]), Err(Error::BadShape { op: "slice", .. })));
    assert!(Tensor::<f32>::zeros([0]).unwrap().slice(s![0]).is_err());
}

#[test]
fn draws_follow_their_distribution() {
    let rng = &mut rng(3);
    let coin = Tensor::<f32>::bernoulli([20_000], 0.25, rng).unwrap();
    assert!(coin.iter().all(|x| x == 0.0 || x == 1.0));
    assert!((coin.mean(..).unwrap().item().unwrap() - 0.25).abs() < 0.02);
    assert_eq!(Tensor::<f32>::bernoulli([100], 1.0, rng).unwrap().sum(..).unwrap().item().unwrap(), 100.0);
    assert_eq!(Tensor::<f32>::bernoulli([100], 0.0, rng).unwrap().sum(..).unwrap().item().unwrap(), 0.0);
    assert!(matches!(
        Tensor::<f32>::bernoulli([1], 1.5, rng),
        Err(Error::BadArgument { op: "bernoulli", .. })
    ));
    assert!(Tensor::<f32>::bernoulli([1], f64::NAN, rng).is_err());

    let mut order = Tensor::permutation(1000, rng).unwrap().to_vec();
    assert_ne!(order, (0..1000).collect::<Vec<_>>());
    order.sort_unstable();
    assert_eq!(order, (0..1000).collect::<Vec<_>>());
    assert!(Tensor::permutation(0, rng).unwrap().is_empty());
    // Each number is equally often first.
    let mut firsts = [0; 4];
    for _ in 0..4000 {
        firsts[Tensor::permutation(4, rng).unwrap().get(&[0]).unwrap() as usize] += 1;
    }
    assert!(firsts.iter().all(|&n| (900..1100).contains(&n)), "{firsts:?}");

    let weights = Tensor::from_vec(vec![0.0f32, 3.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0], [2, 4]).unwrap();
    let drawn = weights.multinomial(4000, rng).unwrap();
    assert_eq!(drawn.shape(), [2, 4000]);
    let count = |row: usize, i: u32| drawn.index(0, row).unwrap().iter().filter(|&d| d == i).count();
    assert_eq!((count(0, 0), count(0, 2), count(1, 0)), (0, 0, 4000));
    assert!((2850..3150).contains(&count(0, 1)), "{}", count(0, 1));
    for bad in [vec![0.0, 0.0], vec![-1.0, 2.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0]] {
        let bad = Tensor::from_vec(bad, [2]).unwrap();
        assert!(matches!(bad.multinomial(1, rng), Err(Error::BadArgument { op: "multinomial", .. })));
    }
    assert!(Tensor::<f32>::zeros([0]).unwrap().multinomial(1, rng).is_err());
}

#[test]
fn what_is_refused() {
    let x = Tensor::<f32>::zeros([2, 3]).unwrap();
    let index = Tensor::<u32>::zeros([2, 1]).unwrap();
    assert!(matches!(x.flip(2), Err(Error::AxisOutOfRange { op: "flip", .. })));
    assert!(matches!(x.split(1, &[1, 1]), Err(Error::WrongLength { op: "split", .. })));
    assert!(matches!(x.chunk(0, 0), Err(Error::BadArgument { op: "chunk", .. })));
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
    fn writing_a_diagonal_changes_it_alone(batch in 1..3usize, rows in 0..5usize, columns in 0..5usize, offset in -6..7isize) {
        let mut x = Tensor::<f64>::zeros([batch, rows, columns]).unwrap();
        x.diagonal_assign(offset, &Tensor::scalar(1.0)).unwrap();
        let naive: Vec<f64> = (0..batch * rows * columns)
            .map(|i| f64::from((i % columns) as isize == (i / columns % rows) as isize + offset))
            .collect();
        prop_assert_eq!(x.to_vec(), naive);
    }

    #[test]
    fn running_products_are_differentiated_as_by_hand((shape, axis) in shape_and_axis(), seed: u64) {
        let x = view(&shape, seed, small).0.cast::<f64>().unwrap();
        let g = view(&shape, seed ^ 1, small).0.cast::<f64>().unwrap();
        let got = x.cumprod_backward(&g, axis).unwrap();
        // Σ over j >= i of g_j times the product of all x up to j but x_i.
        let (x, g) = (x.transpose(axis, -1).unwrap(), g.transpose(axis, -1).unwrap());
        let len = shape[axis];
        let mut want = Vec::new();
        for (x, g) in x.to_vec().chunks(len.max(1)).zip(g.to_vec().chunks(len.max(1))) {
            for i in 0..len {
                let others = |j: usize| (0..=j).filter(|&k| k != i).map(|k| x[k]).product::<f64>();
                want.push((i..len).map(|j| g[j] * others(j)).sum::<f64>());
            }
        }
        let got = got.transpose(axis, -1).unwrap().to_vec();
        prop_assert_eq!(got.len(), want.len());
        prop_assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs().max(1.0)));
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let mut x = Tensor::<f32>::zeros([2, 3]).unwrap();
    let v = Tensor::<f32>::ones([4]).unwrap();
    assert!(matches!(x.slice_assign(s![5], &v), Err(Error::IndexOutOfRange { op: "slice_assign", .. })));
    assert!(matches!(x.slice_assign(s![0], &v), Err(Error::ShapeMismatch { op: "slice_assign", .. })));
    assert!(matches!(x.slice_assign(s![..;0], &v), Err(Error::BadArgument { op: "slice_assign", .. })));
    assert!(matches!(x.diagonal_assign(0, &v), Err(Error::ShapeMismatch { op: "diagonal_assign", .. })));
    assert!(matches!(v.clone().diagonal_assign(0, &v), Err(Error::BadShape { op: "diagonal_assign", .. })));
    assert!(matches!(x.cumprod_backward(&v, 0), Err(Error::ShapeMismatch { op: "cumprod_backward", .. })));
    assert_eq!(x.to_vec(), [0.0; 6]);
}
