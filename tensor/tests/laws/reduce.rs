//! Folding over axes.

use cairn_tensor::{Axes, Error, Tensor};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, close, real, same, shape_and_axis, shapes, small, view};

/// A shape and a subset of its axes.
fn shape_and_mask() -> impl Strategy<Value = (Vec<usize>, Vec<bool>)> {
    shapes().prop_flat_map(|shape| {
        let rank = shape.len();
        (Just(shape), prop::collection::vec(any::<bool>(), rank))
    })
}

/// Some axes named from the front, some from the end.
fn named(mask: &[bool], seed: u64) -> Axes {
    let rank = mask.len() as isize;
    let axes: Vec<isize> = (0..rank)
        .filter(|&i| mask[i as usize])
        .map(|i| if seed >> i & 1 == 0 { i } else { i - rank })
        .collect();
    Axes::from(axes.as_slice())
}

fn keepdim(shape: &[usize], mask: &[bool]) -> Vec<usize> {
    shape.iter().zip(mask).map(|(&size, &reduced)| if reduced { 1 } else { size }).collect()
}

proptest! {
    #[test]
    fn folds_of_integers_are_exact((shape, mask) in shape_and_mask(), seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let groups = n.groups(&mask);
        let axes = named(&mask, seed);
        let fold = |f: fn(&[i64]) -> i64| Naive {
            shape: groups.shape.clone(),
            data: groups.data.iter().map(|g| f(g)).collect(),
        };
        let kept = |n: Naive<i64>| Naive { shape: keepdim(&shape, &mask), data: n.data };
        let sum = fold(|g| g.iter().sum());
        same(&x.sum(axes.clone()).unwrap(), &sum);
        same(&x.sum_keepdim(axes.clone()).unwrap(), &kept(sum));
        let empty = shape.iter().zip(&mask).any(|(&size, &reduced)| reduced && size == 0);
        if empty {
            let refused = |r: Result<Tensor<i64>, Error>| matches!(r, Err(Error::EmptyReduction { .. }));
            prop_assert!(refused(x.max(axes.clone())) && refused(x.min(axes.clone())));
            prop_assert!(refused(x.max_keepdim(axes.clone())) && refused(x.min_keepdim(axes)));
        } else {
            let (max, min) = (fold(|g| *g.iter().max().unwrap()), fold(|g| *g.iter().min().unwrap()));
            same(&x.max(axes.clone()).unwrap(), &max);
            same(&x.max_keepdim(axes.clone()).unwrap(), &kept(max));
            same(&x.min(axes.clone()).unwrap(), &min);
            same(&x.min_keepdim(axes).unwrap(), &kept(min));
        }
        // Products of signs and ones and twos stay small.
        let (x, n) = view(&shape, seed, |rng| *[1i64, -1, 1, 2].get(rng.random_range(0..4)).unwrap());
        let groups = n.groups(&mask);
        if groups.data.iter().all(|g| g.len() < 60) {
            let prod = Naive { shape: groups.shape, data: groups.data.iter().map(|g| g.iter().product()).collect() };
            same(&x.prod(named(&mask, seed)).unwrap(), &prod);
            same(&x.prod_keepdim(named(&mask, seed)).unwrap(), &kept(prod));
        }
    }

    #[test]
    fn means_match_the_reference((shape, mask) in shape_and_mask(), seed: u64) {
        let (x, n) = view(&shape, seed, crate::naive::real32);
        let groups = n.groups(&mask);
        let data = groups
            .data
            .iter()
            .map(|g| g.iter().map(|&x| f64::from(x)).sum::<f64>() / g.len() as f64)
            .collect();
        let want = Naive { shape: groups.shape, data };
        close(&x.mean(named(&mask, seed)).unwrap(), &want, 1e-6);
        let kept = Naive { shape: keepdim(&shape, &mask), data: want.data };
        close(&x.mean_keepdim(named(&mask, seed)).unwrap(), &kept, 1e-6);
    }

    #[test]
    fn argmax_takes_the_first_of_equals_and_nan_first((shape, axis) in shape_and_axis(), seed: u64) {
        let value = |rng: &mut cairn_tensor::Rng| {
            if rng.random_bool(0.05) { f64::NAN } else { small(rng) as f64 }
        };
        let (x, n) = view(&shape, seed, value);
        if shape[axis] == 0 {
            let refused = matches!(x.argmax(axis), Err(Error::EmptyReduction { op: "argmax", .. }));
            prop_assert!(refused);
            let refused = matches!(x.argmin(axis), Err(Error::EmptyReduction { op: "argmin", .. }));
            prop_assert!(refused);
            return Ok(());
        }
        let best = |sign: f64| {
            let runs = n.runs(axis);
            let data = runs.data.iter().map(|run| {
                if let Some(i) = run.iter().position(|x| x.is_nan()) {
                    return i as u32;
                }
                let most = run.iter().map(|x| x * sign).fold(f64::NEG_INFINITY, f64::max);
                run.iter().position(|x| x * sign == most).unwrap() as u32
            }).collect();
            Naive { shape: runs.shape, data }
        };
        same(&x.argmax(axis).unwrap(), &best(1.0));
        same(&x.argmin(axis as isize - shape.len() as isize).unwrap(), &best(-1.0));
    }

    #[test]
    fn places_and_log_sums_over_several_axes((shape, mask) in shape_and_mask(), seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let (groups, axes, kept) = (n.groups(&mask), named(&mask, seed), keepdim(&shape, &mask));
        if groups.data.iter().any(Vec::is_empty) || groups.data.is_empty() && mask.iter().zip(&shape).any(|(&m, &s)| m && s == 0) {
            let refused = |r: Result<Tensor<u32>, Error>| matches!(r, Err(Error::EmptyReduction { .. }));
            prop_assert!(refused(x.argmax(axes.clone())) && refused(x.argmin_keepdim(axes.clone())));
        } else {
            let place = |best: fn(&[i64]) -> i64| groups.data.iter().map(|g| g.iter().position(|&x| x == best(g)).unwrap() as u32).collect::<Vec<_>>();
            let most = place(|g| *g.iter().max().unwrap());
            let least = place(|g| *g.iter().min().unwrap());
            same(&x.argmax(axes.clone()).unwrap(), &Naive { shape: groups.shape.clone(), data: most.clone() });
            same(&x.argmax_keepdim(axes.clone()).unwrap(), &Naive { shape: kept.clone(), data: most });
            same(&x.argmin(axes.clone()).unwrap(), &Naive { shape: groups.shape.clone(), data: least.clone() });
            same(&x.argmin_keepdim(axes.clone()).unwrap(), &Naive { shape: kept.clone(), data: least });
        }
        let (x, n) = view(&shape, seed, crate::naive::real);
        let sums: Vec<f64> = n.groups(&mask).data.iter().map(|g| g.iter().map(|x| x.exp()).sum::<f64>().ln()).collect();
        close(&x.logsumexp(axes.clone()).unwrap(), &Naive { shape: groups.shape.clone(), data: sums.clone() }, 1e-12);
        close(&x.logsumexp_keepdim(axes).unwrap(), &Naive { shape: kept, data: sums }, 1e-12);
    }

    #[test]
    fn nan_and_infinities_decide_extrema((shape, axis) in shape_and_axis(), seed: u64) {
        let value = |rng: &mut cairn_tensor::Rng| match rng.random_range(0..12) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            _ => small(rng) as f32,
        };
        prop_assume!(shape[axis] > 0);
        let (x, n) = view(&shape, seed, value);
        let fold = |f: fn(f64, f64) -> f64| {
            let runs = n.runs(axis);
            let data = runs.data.iter().map(|run| {
                let values = run.iter().map(|&x| f64::from(x));
                if run.iter().any(|x| x.is_nan()) { f64::NAN } else { values.reduce(f).unwrap() }
            }).collect();
            Naive { shape: runs.shape, data }
        };
        close(&x.max(axis).unwrap(), &fold(f64::max), 0.0);
        close(&x.min(axis).unwrap(), &fold(f64::min), 0.0);
    }

    /// Rows beyond the block in which columns are folded, and columns beyond a stripe.
    #[test]
    fn tall_and_wide_matrices(rows in 1..400usize, columns in 1..40usize, wide: bool, planes in 1..3usize, seed: u64) {
        let columns = if wide { columns * 67 } else { columns };
        let shape = [planes, rows, columns];
        let mut rng = cairn_tensor::rng(seed);
        let data: Vec<i64> = (0..planes * rows * columns).map(|_| rng.random_range(-99..-1)).collect();
        let x = Tensor::from_vec(data.clone(), shape).unwrap();
        let at = |p: usize, r: usize, c: usize| data[(p * rows + r) * columns + c];
        let (sum, max, min) = (x.sum(1).unwrap(), x.max(1).unwrap(), x.min(1).unwrap());
        let best = x.argmax(1).unwrap();
        for p in 0..planes {
            for c in 0..columns {
                let column = || (0..rows).map(|r| at(p, r, c));
                prop_assert_eq!(sum.get(&[p, c]).unwrap(), column().sum::<i64>());
                let largest = column().max().unwrap();
                prop_assert_eq!(max.get(&[p, c]).unwrap(), largest);
                prop_assert_eq!(min.get(&[p, c]).unwrap(), column().min().unwrap());
                let first = column().position(|x| x == largest).unwrap();
                prop_assert_eq!(best.get(&[p, c]).unwrap() as usize, first);
            }
        }
        let total = x.sum([0, 2]).unwrap();
        for r in 0..rows {
            let want: i64 = (0..planes).flat_map(|p| (0..columns).map(move |c| (p, c))).map(|(p, c)| at(p, r, c)).sum();
            prop_assert_eq!(total.get(&[r]).unwrap(), want);
        }
        prop_assert_eq!(x.sum(..).unwrap().item().unwrap(), data.iter().sum::<i64>());
    }
}

#[test]
fn long_sums_are_accurate() {
    // One million times 0.1: adding one by one in f32 would be off by 1 %.
    let x = Tensor::full([1_000_003], 0.1f32).unwrap();
    let want = 0.1f32 as f64 * 1_000_003.0;
    let relative = |got: f32| (f64::from(got) - want).abs() / want;
    assert!(relative(x.sum(..).unwrap().item().unwrap()) < 3e-7);
    let tall = x.reshape([1_000_003, 1]).unwrap().broadcast_to([1_000_003, 2]).unwrap();
    for got in tall.sum(0).unwrap().to_vec() {
        assert!(relative(got) < 3e-7, "{got}");
    }
    let column = tall.contiguous().unwrap().sum(0).unwrap();
    assert!(column.iter().all(|got| relative(got) < 3e-7), "{column}");
    assert!((x.mean(..).unwrap().item().unwrap() - 0.1).abs() < 1e-7);
}

#[test]
fn repeated_and_missing_axes_are_errors() {
    let x = Tensor::<f32>::ones([2, 3]).unwrap();
    assert!(matches!(x.sum([0, -2]), Err(Error::RepeatedAxis { op: "sum", axis: 0, .. })));
    assert!(matches!(x.mean(2), Err(Error::AxisOutOfRange { op: "mean", axis: 2, .. })));
    assert!(matches!(x.max(-3), Err(Error::AxisOutOfRange { op: "max", axis: -3, .. })));
    assert!(matches!(x.argmax(5), Err(Error::AxisOutOfRange { op: "argmax", axis: 5, .. })));
    assert!(matches!(Tensor::scalar(1.0f32).argmax(0), Err(Error::AxisOutOfRange { .. })));
    assert_eq!(x.sum(&[] as &[usize]).unwrap(), x, "no axes, nothing folded");
    assert!(x.mean(&[] as &[usize]).unwrap() == x);
    assert!(Tensor::<f32>::zeros([0, 3]).unwrap().mean(0).unwrap().iter().all(f32::is_nan));
}

proptest! {
    #[test]
    fn spread_matches_the_formula(shape in shapes(), seed: u64, bits: u8, correction in 0..3usize) {
        let mask: Vec<bool> = (0..shape.len()).map(|i| bits >> i & 1 == 1).collect();
        let axes: Vec<usize> = (0..shape.len()).filter(|&i| mask[i]).collect();
        let kept: Vec<usize> = shape.iter().zip(&mask).map(|(&s, &m)| if m { 1 } else { s }).collect();
        let (x, n) = view(&shape, seed, |rng| 100.0 + real(rng));
        let groups = n.groups(&mask);
        let data: Vec<f64> = groups.data.iter().map(|g| {
            let mean = g.iter().sum::<f64>() / g.len() as f64;
            g.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (g.len() as f64 - correction as f64).max(0.0)
        }).collect();
        let variance = Naive { shape: groups.shape.clone(), data };
        let root = variance.map(f64::sqrt);
        // 0/0 and rounding/0 are both without meaning.
        let meaningful = groups.data.iter().all(|g| g.len() > correction);
        let axes = &axes[..];
        let spread = x.var(axes, correction).unwrap();
        prop_assert_eq!(spread.shape(), &groups.shape[..]);
        if meaningful {
            close(&x.var(axes, correction).unwrap(), &variance, 1e-11);
            close(&x.std(axes, correction).unwrap(), &root, 1e-11);
            let (variance, root) = (Naive { shape: kept.clone(), ..variance }, Naive { shape: kept.clone(), ..root });
            close(&x.var_keepdim(axes, correction).unwrap(), &variance, 1e-11);
            close(&x.std_keepdim(axes, correction).unwrap(), &root, 1e-11);
        }
        let norm = Naive { shape: groups.shape.clone(), data: groups.data.iter().map(|g| g.iter().map(|x| x * x).sum::<f64>().sqrt()).collect() };
        close(&x.norm(axes).unwrap(), &norm, 1e-13);
        close(&x.norm_keepdim(axes).unwrap(), &Naive { shape: kept.clone(), ..norm }, 1e-13);

        let (b, nb) = view(&shape, seed, |rng| rng.random_bool(0.8));
        let groups = nb.groups(&mask);
        let fold = |f: fn(&[bool]) -> bool| Naive { shape: groups.shape.clone(), data: groups.data.iter().map(|g| f(g)).collect() };
        same(&b.any(axes).unwrap(), &fold(|g| g.contains(&true)));
        same(&b.all(axes).unwrap(), &fold(|g| !g.contains(&false)));
        same(&b.all_keepdim(axes).unwrap(), &Naive { shape: kept.clone(), ..fold(|g| !g.contains(&false)) });
        same(&b.any_keepdim(axes).unwrap(), &Naive { shape: kept, ..fold(|g| g.contains(&true)) });
        let counts = Naive { shape: groups.shape.clone(), data: groups.data.iter().map(|g| g.iter().filter(|b| **b).count() as i64).collect() };
        same(&b.count_true(axes).unwrap(), &counts);
    }
}
