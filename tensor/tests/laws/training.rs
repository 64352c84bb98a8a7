//! One-pass parameter updates.

use cairn_tensor::{Error, Isa, Rule, Tensor};
use proptest::prelude::*;

use crate::naive::{real, view};

/// Momentum, then a step, so that order and pairing show.
#[derive(Clone, Copy)]
struct Momentum(f64);
impl Rule<f64, 1> for Momentum {
    #[inline(always)]
    fn update<S: Isa>(self, parameter: &mut f64, gradient: f64, [velocity]: [&mut f64; 1]) {
        *velocity = 0.5 * *velocity + gradient;
        *parameter -= self.0 * *velocity;
    }
}

proptest! {
    #[test]
    fn updates_match_the_formula(len in 0..200usize, width in 0..5usize, seed: u64) {
        let shape = [len, width];
        let (mut p, np) = view(&shape, seed, real);
        let (g, ng) = view(&shape, seed ^ 1, real);
        let (mut v, nv) = view(&shape, seed ^ 2, real);
        let kept = (p.clone(), v.clone());
        p.update(&g, [&mut v], Momentum(0.1)).unwrap();
        for i in 0..p.len() {
            let velocity = 0.5 * nv.data[i] + ng.data[i];
            prop_assert_eq!(v.as_slice().unwrap()[i], velocity);
            prop_assert_eq!(p.as_slice().unwrap()[i], np.data[i] - 0.1 * velocity);
        }
        prop_assert_eq!(kept.0.to_vec(), np.data);
        prop_assert_eq!(kept.1.to_vec(), nv.data);
    }

    #[test]
    fn rows_not_named_stay(len in 1..40usize, width in 0..5usize, seed: u64, picks in prop::collection::btree_set(0..40u32, 0..10)) {
        let rows: Vec<u32> = picks.into_iter().filter(|&r| (r as usize) < len).collect();
        let (mut p, np) = view(&[len, width], seed, real);
        let (g, ng) = view(&[rows.len(), width], seed ^ 1, real);
        let (mut v, nv) = view(&[len, width], seed ^ 2, real);
        p.update_rows(&rows, &g, [&mut v], Momentum(0.1)).unwrap();
        for row in 0..len {
            for c in 0..width {
                let (old, velocity) = (np.at(&[row, c]), nv.at(&[row, c]));
                let (want, velocity) = match rows.iter().position(|&r| r as usize == row) {
                    Some(i) => {
                        let velocity = 0.5 * velocity + ng.at(&[i, c]);
                        (old - 0.1 * velocity, velocity)
                    }
                    None => (old, velocity),
                };
                prop_assert_eq!(p.get(&[row, c]).unwrap(), want);
                prop_assert_eq!(v.get(&[row, c]).unwrap(), velocity);
            }
        }
    }
}

#[test]
fn long_parameters_are_split_without_a_trace() {
    let n = 300_001;
    let mut p = Tensor::<f64>::zeros([n]).unwrap();
    let g = Tensor::arange(0.0, n as f64, 1.0).unwrap();
    let mut v = Tensor::<f64>::ones([n]).unwrap();
    p.update(&g, [&mut v], Momentum(2.0)).unwrap();
    assert!(v.iter().enumerate().all(|(i, v)| v == i as f64 + 0.5));
    assert!(p.iter().enumerate().all(|(i, p)| p == -2.0 * (i as f64 + 0.5)));
}

#[test]
fn bad_updates_are_refused_and_change_nothing() {
    let mut p = Tensor::<f64>::zeros([3, 2]).unwrap();
    let mut v = Tensor::<f64>::zeros([3, 2]).unwrap();
    let mut wrong = Tensor::<f64>::zeros([2, 3]).unwrap();
    let g = Tensor::<f64>::ones([3, 2]).unwrap();
    let rule = Momentum(1.0);
    assert!(matches!(
        p.update(&wrong.clone(), [&mut v], rule),
        Err(Error::ShapeMismatch { op: "update", .. })
    ));
    assert!(matches!(p.update(&g, [&mut wrong], rule), Err(Error::ShapeMismatch { op: "update", .. })));
    assert!(matches!(
        p.update_rows(&[0, 1], &g, [&mut v], rule),
        Err(Error::ShapeMismatch { op: "update_rows", .. })
    ));
    assert!(matches!(
        p.update_rows(&[0, 1, 3], &g, [&mut v], rule),
        Err(Error::IndexOutOfRange { index: 3, position: 2, size: 3, .. })
    ));
    assert!(matches!(
        p.update_rows(&[0, 2, 1], &g, [&mut v], rule),
        Err(Error::BadArgument { op: "update_rows", .. })
    ));
    assert!(matches!(
        p.update_rows(&[0, 1, 1], &g, [&mut v], rule),
        Err(Error::BadArgument { op: "update_rows", .. })
    ));
    assert!(p.iter().chain(v.iter()).all(|x| x == 0.0));
}
