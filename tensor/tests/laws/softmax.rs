//! Softmax and its relatives, cross-entropy, and their gradients.

use cairn_tensor::{Error, Tensor};
use proptest::prelude::*;
use rand::RngExt;

use crate::naive::{Naive, close, indices, real, shape_and_axis, view};

fn log_sum_exp(run: &[f64]) -> f64 {
    let max = run.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max.is_infinite() {
        return max;
    }
    max + run.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

fn softmax(run: &[f64]) -> Vec<f64> {
    run.iter().map(|x| (x - log_sum_exp(run)).exp()).collect()
}

proptest! {
    #[test]
    fn softmax_and_relatives_match_the_reference((shape, axis) in shape_and_axis(), seed: u64, shift in -1e4..1e4f64) {
        let (x, n) = view(&shape, seed, |rng| real(rng) + shift);
        close(&x.softmax(axis).unwrap(), &n.map_runs(axis, softmax), 1e-11);
        let log = n.map_runs(axis, |run| run.iter().map(|x| x - log_sum_exp(run)).collect());
        close(&x.log_softmax(axis as isize - shape.len() as isize).unwrap(), &log, 1e-10);
        let mut lse = n.map_runs(axis, |run| vec![log_sum_exp(run)]);
        lse.shape.remove(axis);
        close(&x.logsumexp(axis).unwrap(), &lse, 1e-11);
        // f32, where the shift costs digits of the input, which the reference sees too.
        let (x, n) = view(&shape, seed, |rng| (real(rng) + shift) as f32);
        close(&x.softmax(axis).unwrap(), &n.map(f64::from).map_runs(axis, softmax), 1e-6);
    }

    #[test]
    fn softmax_backward_matches_the_reference((shape, _) in shape_and_axis(), seed: u64) {
        let axis = shape.len() - 1;
        let (x, _) = view(&shape, seed, real);
        let (g, ng) = view(&shape, seed ^ 1, real);
        let y = x.softmax(-1).unwrap();
        let ny = Naive { shape: shape.clone(), data: y.to_vec() };
        let products = Naive::from_fn(&shape, |i| ny.at(i) * ng.at(i));
        let want = Naive::from_fn(&shape, |index| {
            let dot: f64 = (0..shape[axis]).map(|j| {
                let mut index = index.to_vec();
                index[axis] = j;
                products.at(&index)
            }).sum();
            ny.at(index) * (ng.at(index) - dot)
        });
        close(&y.softmax_backward(&g).unwrap(), &want, 1e-13);
    }

    #[test]
    fn cross_entropy_matches_the_reference((shape, _) in shape_and_axis(), seed: u64) {
        let (x, n) = view(&shape, seed, real);
        let (&classes, rows) = shape.split_last().unwrap();
        let count: usize = rows.iter().product();
        if classes == 0 && count > 0 {
            let labels = Tensor::<u32>::zeros(rows).unwrap();
            let refused = matches!(x.cross_entropy(&labels), Err(Error::IndexOutOfRange { .. }));
            prop_assert!(refused);
            return Ok(());
        }
        let (labels, nl) = view(rows, seed ^ 1, |rng| rng.random_range(0..classes.max(1)) as u32);
        let (losses, probabilities) = x.cross_entropy(&labels).unwrap();
        close(&probabilities, &n.map_runs(shape.len() - 1, softmax), 1e-13);
        let want = Naive::from_fn(rows, |index| {
            let run: Vec<f64> = (0..classes).map(|c| n.at(&[index, &[c]].concat())).collect();
            log_sum_exp(&run) - run[nl.at(index) as usize]
        });
        close(&losses, &want, 1e-12);
        let (g, ng) = view(rows, seed ^ 2, real);
        let gradient = probabilities.clone().cross_entropy_backward(&labels, &g).unwrap();
        let p = Naive { shape: shape.clone(), data: probabilities.to_vec() };
        let want = Naive::from_fn(&shape, |index| {
            let (&class, row) = index.split_last().unwrap();
            let hit = f64::from(u8::from(nl.at(row) as usize == class));
            (p.at(index) - hit) * ng.at(row)
        });
        close(&gradient, &want, 1e-13);
    }
}

#[test]
fn rows_of_all_lengths() {
    // Around the number of lanes, and enough rows for several tasks.
    for len in [1, 2, 15, 16, 17, 31, 33, 100, 1000] {
        let rows = 70_000 / len + 3;
        let x = Tensor::build([rows, len], |out: &mut [f32]| {
            for (i, x) in out.iter_mut().enumerate() {
                *x = ((i * 7919) % 1013) as f32 / 100.0 - 5.0;
            }
        })
        .unwrap();
        let (y, l) = (x.softmax(1).unwrap(), x.logsumexp(1).unwrap());
        let labels = Tensor::build([rows], |out: &mut [u32]| {
            for (i, x) in out.iter_mut().enumerate() {
                *x = (i % len) as u32;
            }
        })
        .unwrap();
        let (losses, p) = x.cross_entropy(&labels).unwrap();
        let grad = p.clone().cross_entropy_backward(&labels, &Tensor::ones([rows]).unwrap()).unwrap();
        for row in (0..rows).step_by(97).chain([rows - 1]) {
            let run: Vec<f64> = x.index(0, row).unwrap().iter().map(f64::from).collect();
            let want = softmax(&run);
            let lse = log_sum_exp(&run);
            assert!((f64::from(l.get(&[row]).unwrap()) - lse).abs() < 1e-5);
            assert!((f64::from(losses.get(&[row]).unwrap()) - (lse - run[row % len])).abs() < 1e-5);
            for index in indices(&[len]) {
                let at = [row, index[0]];
                assert!((f64::from(y.get(&at).unwrap()) - want[index[0]]).abs() < 1e-6);
                assert!((f64::from(p.get(&at).unwrap()) - want[index[0]]).abs() < 1e-6);
                let hit = if index[0] == row % len { 1.0 } else { 0.0 };
                assert!((f64::from(grad.get(&at).unwrap()) - (want[index[0]] - hit)).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn infinities_and_nan() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let x = Tensor::from_vec(vec![0.0, -inf, 0.0, inf, 1.0, 2.0, -inf, -inf, -inf, nan, 0.0, 0.0], [4, 3])
        .unwrap();
    let y = x.softmax(1).unwrap();
    assert_eq!(y.index(0, 0).unwrap().to_vec(), [0.5, 0.0, 0.5]);
    assert!(y.index(0, 3).unwrap().iter().all(f64::is_nan));
    let l = x.logsumexp(1).unwrap().to_vec();
    assert!((l[0] - 2f64.ln()).abs() < 1e-15);
    assert_eq!((l[1], l[2]), (inf, -inf));
    assert!(l[3].is_nan());
    let l = x.log_softmax(1).unwrap();
    assert_eq!(l.get(&[0, 1]).unwrap(), -inf);
    // An axis of nothing.
    let none = Tensor::<f32>::zeros([2, 0]).unwrap();
    assert_eq!(none.logsumexp(1).unwrap().to_vec(), [f32::NEG_INFINITY; 2]);
    assert_eq!(none.softmax(1).unwrap().shape(), [2, 0]);
    assert_eq!(none.softmax(0).unwrap().shape(), [2, 0]);
    assert_eq!(none.log_softmax(1).unwrap().shape(), [2, 0]);
    // A certain prediction has no loss, a wrong one a finite loss as large as the margin.
    let logits = Tensor::from_vec(vec![1e4f32, 0.0, 1e4, 0.0], [2, 2]).unwrap();
    let (losses, _) = logits.cross_entropy(&Tensor::from_vec(vec![0, 1], [2]).unwrap()).unwrap();
    assert_eq!(losses.to_vec(), [0.0, 1e4]);
}
