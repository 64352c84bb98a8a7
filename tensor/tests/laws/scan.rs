//! Running sums and products.

use proptest::prelude::*;

use crate::naive::{same, shape_and_axis, small, view};

proptest! {
    #[test]
    fn running_sums_match((shape, axis) in shape_and_axis(), seed: u64) {
        let (x, n) = view(&shape, seed, small);
        let running = |f: fn(i64, i64) -> i64| n.map_runs(axis, |run| {
            let mut so_far = None;
            run.iter().map(|&x| { let next = so_far.map_or(x, |s| f(s, x)); so_far = Some(next); next }).collect()
        });
        same(&x.cumsum(axis).unwrap(), &running(|a, b| a + b));
        same(&x.cumprod(axis).unwrap(), &running(|a, b| a * b));
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
