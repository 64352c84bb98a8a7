//! Sorting and searching.

use cairn_tensor::{Error, Rng, Tensor};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{close, same, shape_and_axis, shapes, small, view};

/// Ties, both zeros, infinities and NaN.
fn awkward(rng: &mut Rng) -> f32 {
    match rng.random_range(0..14) {
        0 => f32::NAN,
        1 => -f32::NAN,
        2 => f32::INFINITY,
        3 => f32::NEG_INFINITY,
        4 => -0.0,
        5 => 0.0,
        _ => small(rng) as f32,
    }
}

/// Order of sorting: numbers, then NaN.
fn compare(a: f32, b: f32) -> std::cmp::Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Places in order by a stable sort.
fn order(run: &[f32], descending: bool) -> Vec<u32> {
    let mut places: Vec<u32> = (0..run.len() as u32).collect();
    places.sort_by(|&i, &j| {
        let (a, b) = (run[i as usize], run[j as usize]);
        if descending { compare(b, a) } else { compare(a, b) }
    });
    places
}

proptest! {
    #[test]
    fn sorting_is_stable_and_puts_nan_last((shape, axis) in shape_and_axis(), seed: u64, descending: bool) {
        let (x, n) = view(&shape, seed, awkward);
        let (values, places) = x.sort(axis, descending).unwrap();
        same(&places, &n.map_runs(axis, |run| order(run, descending)));
        let want = n.map_runs(axis, |run| order(run, descending).iter().map(|&i| run[i as usize]).collect());
        close(&values, &want.map(f64::from), 0.0);
        same(&x.argsort(axis, descending).unwrap(), &n.map_runs(axis, |run| order(run, descending)));
        let k = shape[axis] / 2;
        let (values, places) = x.topk(k, axis).unwrap();
        same(&places, &n.map_runs(axis, |run| order(run, true)[..run.len() / 2].to_vec()));
        prop_assert_eq!(values.shape(), places.shape());
    }

    #[test]
    fn long_runs_sort_alike(len in 1..3000usize, k in 1..20usize, seed: u64, wide: bool) {
        let (x, n) = view(&[2, len], seed, awkward);
        let k = k.min(len);
        let want = n.map_runs(1, |run| order(run, true)[..k.min(run.len())].to_vec());
        let (values, places) = if wide {
            let (values, places) = x.cast::<f64>().unwrap().topk(k, 1).unwrap();
            (values.cast::<f32>().unwrap(), places)
        } else {
            x.topk(k, 1).unwrap()
        };
        same(&places, &want);
        for ((v, &place), i) in values.iter().zip(&want.data).zip(0..) {
            let x = n.at(&[i / k, place as usize]);
            prop_assert!(v == x || v.is_nan() && x.is_nan());
        }
    }

    #[test]
    fn integers_sort_over_their_whole_range(values in prop::collection::vec(any::<i64>(), 0..40), descending: bool) {
        let n = values.len();
        let mut want = values.clone();
        want.sort_unstable();
        if descending { want.reverse(); }
        let x = Tensor::from_vec(values.clone(), [n]).unwrap();
        prop_assert_eq!(x.sort(0, descending).unwrap().0.to_vec(), want);
        let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
        let mut want = bytes.clone();
        want.sort_unstable();
        if descending { want.reverse(); }
        prop_assert_eq!(Tensor::from_vec(bytes, [n]).unwrap().sort(0, descending).unwrap().0.to_vec(), want);
        let words: Vec<u32> = values.iter().map(|&v| (v >> 7) as u32).collect();
        let mut want = words.clone();
        want.sort_unstable();
        if descending { want.reverse(); }
        prop_assert_eq!(Tensor::from_vec(words, [n]).unwrap().sort(0, descending).unwrap().0.to_vec(), want);
    }

    #[test]
    fn unique_values_rebuild_the_tensor(shape in shapes(), seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let (values, inverse) = x.unique().unwrap();
        let mut want = n.data.clone();
        want.sort_unstable();
        want.dedup();
        prop_assert_eq!(values.to_vec(), want);
        prop_assert_eq!(inverse.shape(), &shape[..]);
        let rebuilt = values.index_select(0, &inverse.to_vec()).unwrap();
        prop_assert_eq!(rebuilt.to_vec(), n.data);
    }

    #[test]
    fn searching_matches_counting(len in 0..20usize, shape in shapes(), seed: u64) {
        let (sorted, _) = view(&[len], seed, small);
        let sorted = sorted.sort(0, false).unwrap().0;
        let (x, n) = view(&shape, seed ^ 1, small);
        let edges = sorted.to_vec();
        let count = |f: &dyn Fn(i64, i64) -> bool| n.map(|v| edges.iter().filter(|&&e| f(e, v)).count() as u32);
        same(&sorted.searchsorted(&x, false).unwrap(), &count(&|e, v| e < v));
        same(&sorted.searchsorted(&x, true).unwrap(), &count(&|e, v| e <= v));
    }
}

#[test]
fn large_sorts_and_spreads() {
    let x = Tensor::<f32>::normal([200_003], 3.0, 2.0, &mut cairn_tensor::rng(5)).unwrap();
    let (values, places) = x.sort(0, false).unwrap();
    let (v, p, x0) = (values.to_vec(), places.to_vec(), x.to_vec());
    assert!(v.windows(2).all(|w| w[0] <= w[1]));
    assert!(v.iter().zip(&p).all(|(v, &p)| *v == x0[p as usize]));
    let mut seen = p.clone();
    seen.sort_unstable();
    assert!(seen.iter().enumerate().all(|(i, &p)| i as u32 == p));
    assert!((x.std(.., 1).unwrap().item().unwrap() - 2.0).abs() < 0.02);
    let tall = x.narrow(0, 0, 200_000).unwrap().reshape([50_000, 4]).unwrap();
    assert!(tall.var(0, 1).unwrap().iter().all(|v| (v - 4.0).abs() < 0.2));
    assert!((x.norm(..).unwrap().item().unwrap() - (200_003f32 * 13.0).sqrt()).abs() < 20.0);
    assert_eq!(x.cumsum(0).unwrap().get(&[0]).unwrap(), x0[0]);
}

#[test]
fn what_is_refused() {
    let x = Tensor::from_vec(vec![3i64, 1, 2], [3]).unwrap();
    assert!(matches!(x.topk(4, 0), Err(Error::BadSetting { op: "topk", .. })));
    assert!(matches!(x.sort(1, false), Err(Error::AxisOutOfRange { op: "sort", .. })));
    assert!(matches!(x.argsort(-2, false), Err(Error::AxisOutOfRange { op: "argsort", .. })));
    assert!(matches!(x.searchsorted(&x, false), Err(Error::BadSetting { op: "searchsorted", .. })));
    let matrix = x.reshape([3, 1]).unwrap();
    assert!(matches!(matrix.searchsorted(&x, false), Err(Error::BadShape { op: "searchsorted", .. })));
    assert!(matches!(x.cumsum(1), Err(Error::AxisOutOfRange { op: "cumsum", .. })));
    let most = Tensor::from_vec(vec![i64::MAX, 1], [2]).unwrap();
    assert!(matches!(most.cumsum(0), Err(Error::IntegerOverflow { op: "cumsum", .. })));
    let mask = Tensor::from_vec(vec![true, false], [2]).unwrap();
    assert!(matches!(x.masked_select(&mask), Err(Error::ShapeMismatch { op: "masked_select", .. })));
    assert!(matches!(x.masked_fill(&mask, 0), Err(Error::ShapeMismatch { op: "masked_fill", .. })));
    let floats = x.cast::<f32>().unwrap();
    assert!(matches!(floats.masked_scale(&mask, 2.0), Err(Error::ShapeMismatch { op: "masked_scale", .. })));
    assert!(matches!(x.cast::<f32>().unwrap().var(3, 0), Err(Error::AxisOutOfRange { op: "var", .. })));
    assert!(matches!(mask.any(1), Err(Error::AxisOutOfRange { op: "any", .. })));
}
