//! Moves of elements at sizes that are divided among threads and into blocks, against one element at a time.

use cairn_tensor::{Tensor, s};

/// Shapes of three axes: one matrix, many small ones, single rows and columns, odd sizes, runs longer than a block.
const SHAPES: [[usize; 3]; 9] = [
    [1, 301, 331],
    [1, 280, 1100],
    [300, 17, 19],
    [1, 1, 100_003],
    [1, 70_001, 1],
    [2, 40_000, 1],
    [5000, 7, 3],
    [3, 200, 129],
    [40, 1, 2500],
];

fn numbers(shape: [usize; 3]) -> Tensor<i64> {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| (i * 7919 % 10_007) as i64 - 5000).collect(), shape).unwrap()
}

fn mask(shape: [usize; 3], period: usize) -> Tensor<bool> {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| i * i % 1013 % period == 0).collect(), shape).unwrap()
}

/// The multi-index of a place in row-major order.
fn index([_, b, c]: [usize; 3], place: usize) -> [usize; 3] {
    [place / (b * c), place / c % b, place % c]
}

/// `shape` with another size of one axis.
fn with([a, b, c]: [usize; 3], axis: usize, size: usize) -> [usize; 3] {
    let mut shape = [a, b, c];
    shape[axis] = size;
    shape
}

/// Compares with what `expected` gives for each multi-index.
fn check(got: &Tensor<i64>, shape: [usize; 3], expected: impl Fn([usize; 3]) -> i64) {
    assert_eq!(got.shape(), shape);
    for (place, x) in got.to_vec().into_iter().enumerate() {
        let at = index(shape, place);
        assert_eq!(x, expected(at), "{at:?} of {shape:?}");
    }
}

#[test]
fn indices_name_places_along_every_axis() {
    for shape in SHAPES {
        let x = numbers(shape);
        for axis in 0..3 {
            let (size, len) = (shape[axis], shape[axis] / 2 + 3);
            let names: Vec<u32> = (0..len).map(|i| (i * 31 % size) as u32).collect();
            let along = |mut at: [usize; 3], place: u32| {
                at[axis] = place as usize;
                x.get(&at).unwrap()
            };
            let taken = x.index_select(axis, &names).unwrap();
            check(&taken, with(shape, axis, len), |at| along(at, names[at[axis]]));

            let index_shape = with(shape, axis, len);
            let count: usize = index_shape.iter().product();
            let places = (0..count).map(|i| (i * 613 % size) as u32).collect();
            let places = Tensor::from_vec(places, index_shape).unwrap();
            check(&x.gather(axis, &places).unwrap(), index_shape, |at| along(at, places.get(&at).unwrap()));

            let values = numbers(index_shape);
            let mut sum = x.clone();
            sum.scatter_add(axis, &places, &values).unwrap();
            let mut expected = x.to_vec();
            for (place, (&name, value)) in places.to_vec().iter().zip(values.to_vec()).enumerate() {
                let mut at = index(index_shape, place);
                at[axis] = name as usize;
                expected[(at[0] * shape[1] + at[1]) * shape[2] + at[2]] += value;
            }
            assert_eq!(sum.to_vec(), expected, "axis {axis} of {shape:?}");
        }
        let flat = x.reshape([shape[0] * shape[1], shape[2]]).unwrap();
        let names: Vec<u32> = (0..flat.shape()[0]).map(|i| (i * i % flat.shape()[0]) as u32).collect();
        let mut sum = Tensor::<i64>::zeros(flat.dims()).unwrap();
        sum.index_add(&names, &flat).unwrap();
        let mut expected = vec![0; x.len()];
        for (row, &name) in names.iter().enumerate() {
            for column in 0..shape[2] {
                expected[name as usize * shape[2] + column] += flat.get(&[row, column]).unwrap();
            }
        }
        assert_eq!(sum.to_vec(), expected, "rows of {shape:?}");
    }
}

#[test]
fn an_index_outside_is_found_wherever_it_stands() {
    let x = Tensor::<f32>::zeros([10]).unwrap();
    for place in [0, 1, 40_000, 99_999] {
        let mut names = vec![3u32; 100_000];
        names[place] = 10;
        let error = x.index_select(0, &names).unwrap_err().to_string();
        assert!(error.contains("10") && error.contains(&place.to_string()), "{error}");
    }
}

#[test]
fn masks_keep_and_locate() {
    for shape in SHAPES {
        let x = numbers(shape);
        for period in [1, 2, 3, 900, 2000] {
            let mask = mask(shape, period);
            let kept: Vec<usize> =
                mask.iter().enumerate().filter(|(_, kept)| *kept).map(|(i, _)| i).collect();
            let data = x.to_vec();
            let expected: Vec<i64> = kept.iter().map(|&i| data[i]).collect();
            assert_eq!(x.masked_select(&mask).unwrap().to_vec(), expected, "{shape:?}, every {period}");
            let places = mask.nonzero().unwrap();
            assert_eq!(places.shape(), [kept.len(), 3]);
            let expected: Vec<i64> = kept.iter().flat_map(|&i| index(shape, i)).map(|i| i as i64).collect();
            assert_eq!(places.to_vec(), expected, "{shape:?}, every {period}");
        }
    }
}

#[test]
fn views_are_gathered_in_order() {
    for shape in SHAPES {
        let x = numbers(shape);
        let [a, b, c] = shape;
        let at = |i, j, k| x.get(&[i, j, k]).unwrap();
        let copied = |view: Tensor<i64>| view.contiguous().unwrap();
        check(&copied(x.flip(2).unwrap()), shape, |[i, j, k]| at(i, j, c - 1 - k));
        check(&copied(x.flip([0, 1]).unwrap()), shape, |[i, j, k]| at(a - 1 - i, b - 1 - j, k));
        for step in [2usize, 3, 5] {
            let len = c.div_ceil(step);
            let every = x.slice(s![.., .., ..;step as isize]).unwrap();
            check(&copied(every), [a, b, len], |[i, j, k]| at(i, j, step * k));
            let back = x.slice(s![.., .., ..;-(step as isize)]).unwrap();
            check(&copied(back), [a, b, len], |[i, j, k]| at(i, j, c - 1 - step * k));
        }
        for times in 2..6 {
            check(&x.repeat(2, times).unwrap(), [a, b, c * times], |[i, j, k]| at(i, j, k / times));
            check(&x.repeat(1, times).unwrap(), [a, b * times, c], |[i, j, k]| at(i, j / times, k));
        }
        check(&copied(x.permute([1, 2, 0]).unwrap()), [b, c, a], |[i, j, k]| at(k, i, j));
        check(&copied(x.permute([2, 0, 1]).unwrap()), [c, a, b], |[i, j, k]| at(j, k, i));
        check(&copied(x.permute([2, 1, 0]).unwrap().flip(0).unwrap()), [c, b, a], |[i, j, k]| {
            at(k, j, c - 1 - i)
        });
    }
}

#[test]
fn joins_margins_and_triangles() {
    for shape in SHAPES {
        let x = numbers(shape);
        let [a, b, c] = shape;
        let at = |i, j, k| x.get(&[i, j, k]).unwrap();
        let flat = x.reshape([1, 1, x.len()]).unwrap().flip(2).unwrap();
        for count in 2..5 {
            let parts: Vec<Tensor<i64>> =
                (0..count).map(|n| x.add(&Tensor::scalar(n as i64)).unwrap()).collect();
            let parts: Vec<&Tensor<i64>> = parts.iter().collect();
            check(&Tensor::cat(&parts, 0).unwrap(), [a * count, b, c], |[i, j, k]| {
                at(i % a, j, k) + (i / a) as i64
            });
            check(&Tensor::cat(&parts, 1).unwrap(), [a, b * count, c], |[i, j, k]| {
                at(i, j % b, k) + (j / b) as i64
            });
            check(&Tensor::cat(&parts, 2).unwrap(), [a, b, c * count], |[i, j, k]| {
                at(i, j, k % c) + (k / c) as i64
            });
            let stacked = Tensor::stack(&parts, 3).unwrap().reshape([a * b, c, count]).unwrap();
            check(&stacked, [a * b, c, count], |[i, j, k]| at(i / b, i % b, j) + k as i64);
        }
        let uneven = Tensor::cat(&[&flat, &flat.narrow(2, 0, 5).unwrap()], 2).unwrap();
        check(&uneven, [1, 1, x.len() + 5], |[_, _, k]| flat.get(&[0, 0, k % x.len()]).unwrap());

        let padded = x.pad(&[(1, 0), (0, 2), (3, 1)], -1).unwrap();
        check(&padded, [a + 1, b + 2, c + 4], |[i, j, k]| {
            if i < 1 || j >= b || k < 3 || k >= c + 3 { -1 } else { at(i - 1, j, k - 3) }
        });
        for offset in [-2, 0, 1, 400] {
            let signed = |i: usize| i as isize;
            check(&x.tril(offset).unwrap(), shape, |[i, j, k]| {
                if signed(k) <= signed(j) + offset { at(i, j, k) } else { 0 }
            });
            check(&x.triu(offset).unwrap(), shape, |[i, j, k]| {
                if signed(k) >= signed(j) + offset { at(i, j, k) } else { 0 }
            });
        }
    }
}

#[test]
fn a_choice_between_tensors_takes_single_values_too() {
    for shape in SHAPES {
        let (x, mask) = (numbers(shape), mask(shape, 3));
        let (negative, one) = (x.neg().unwrap(), Tensor::scalar(1));
        let holds = |at: [usize; 3]| mask.get(&at).unwrap();
        let at = |at: [usize; 3]| x.get(&at).unwrap();
        check(&mask.select(&x, &negative).unwrap(), shape, |i| if holds(i) { at(i) } else { -at(i) });
        check(&mask.select(&x, &one).unwrap(), shape, |i| if holds(i) { at(i) } else { 1 });
        check(&mask.select(&one, &x).unwrap(), shape, |i| if holds(i) { 1 } else { at(i) });
        let reversed = negative.flip(2).unwrap();
        let other = |[i, j, k]: [usize; 3]| -at([i, j, shape[2] - 1 - k]);
        check(&mask.select(&x, &reversed).unwrap(), shape, |i| if holds(i) { at(i) } else { other(i) });
    }
}

#[test]
fn products_of_one_column_are_sums_of_products() {
    for (m, k) in [(1, 100_003), (3, 20_000), (700, 301), (40_000, 5), (17, 8192), (5, 8193)] {
        let a = numbers([1, m, k]).cast::<f64>().unwrap().reshape([m, k]).unwrap();
        let x = numbers([1, 1, k]).cast::<f64>().unwrap().reshape([k]).unwrap();
        let (rows, values) = (a.to_vec(), x.to_vec());
        let exact: Vec<f64> =
            rows.chunks_exact(k).map(|row| row.iter().zip(&values).map(|(a, x)| a * x).sum()).collect();
        assert_eq!(a.matmul(&x).unwrap().to_vec(), exact);
        let column = x.reshape([k, 1]).unwrap();
        assert_eq!(a.matmul(&column).unwrap().to_vec(), exact);
        // A column of a wider matrix, and the transpose from the left.
        let wide = Tensor::cat(&[&column, &column.neg().unwrap()], 1).unwrap();
        assert_eq!(a.matmul(&wide.narrow(1, 0, 1).unwrap()).unwrap().to_vec(), exact);
        assert_eq!(x.matmul(&a.t().unwrap()).unwrap().to_vec(), exact);
        let reversed = a.flip(1).unwrap().matmul(&x.flip(0).unwrap()).unwrap();
        assert_eq!(reversed.to_vec(), exact);
    }
}
