//! One-pass parameter updates.

use cairn_tensor::{Error, Isa, Rule, SummingRule, Tensor, rng};
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

/// The same, and sums what the velocities and their squares are.
impl SummingRule<f64, 1, 2> for Momentum {
    #[inline(always)]
    fn update<S: Isa>(self, parameter: &mut f64, gradient: f64, [velocity]: [&mut f64; 1]) -> [f64; 2] {
        Rule::update::<S>(self, parameter, gradient, [&mut *velocity]);
        [*velocity, *velocity * *velocity]
    }
}

/// Sums of the elements of some rows and of their squares.
fn sums<'a>(rows: impl Iterator<Item = &'a [f64]>) -> [f64; 2] {
    rows.flatten().fold([0.0; 2], |[sum, squares], x| [sum + x, squares + x * x])
}

fn close([a, b]: [f64; 2], [c, d]: [f64; 2]) -> bool {
    // Squares bound what the order of additions can do to either sum.
    let limit = 1e-12 * (1.0 + d.abs());
    (a - c).abs() <= limit && (b - d).abs() <= limit
}

proptest! {
    #[test]
    fn summing_rules_do_the_same_and_sum(len in 0..300usize, width in 1..40usize, seed: u64) {
        let (start, _) = view(&[len, width], seed, real);
        let (g, _) = view(&[len, width], seed ^ 1, real);
        let (state, _) = view(&[len, width], seed ^ 2, real);
        let (mut p, mut v, mut q, mut w) = (start.clone(), state.clone(), start, state);
        p.update(&g, [&mut v], Momentum(0.1)).unwrap();
        let got = q.update_summing(&g, [&mut w], Momentum(0.1)).unwrap();
        prop_assert_eq!(&p, &q);
        prop_assert_eq!(&v, &w);
        let want = sums(w.to_vec().chunks(width));
        prop_assert!(close(got, want), "{:?} for {:?}", got, want);

        let rows: Vec<u32> = (0..len as u32).filter(|row| row % 3 != 1).collect();
        let some = g.index_select(0, &rows).unwrap();
        p.update_rows(&rows, &some, [&mut v], Momentum(0.1)).unwrap();
        let got = q.update_rows_summing(&rows, &some, [&mut w], Momentum(0.1)).unwrap();
        prop_assert_eq!(&p, &q);
        prop_assert_eq!(&v, &w);
        let all = w.to_vec();
        let want = sums(rows.iter().map(|&row| &all[row as usize * width..][..width]));
        prop_assert!(close(got, want), "{:?} for {:?}", got, want);
    }

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
        Err(Error::BadSetting { op: "update_rows", .. })
    ));
    assert!(matches!(
        p.update_rows(&[0, 1, 1], &g, [&mut v], rule),
        Err(Error::BadSetting { op: "update_rows", .. })
    ));
    let summed: Result<[f64; 2], _> = p.update_summing(&wrong.clone(), [&mut v], rule);
    assert!(matches!(summed, Err(Error::ShapeMismatch { op: "update_summing", .. })));
    let summed: Result<[f64; 2], _> = p.update_rows_summing(&[0, 2, 1], &g, [&mut v], rule);
    assert!(matches!(summed, Err(Error::BadSetting { op: "update_rows_summing", .. })));
    assert!(p.iter().chain(v.iter()).all(|x| x == 0.0));
}

#[test]
fn many_rows_are_split_without_a_trace() {
    let (rows, width) = (5000usize, 24usize);
    let picked: Vec<u32> = (0..rows as u32).filter(|row| row % 3 != 1).collect();
    let parameter = Tensor::<f64>::normal([rows, width], 0.0, 1.0, &mut rng(1)).unwrap();
    let gradient = Tensor::<f64>::normal([picked.len(), width], 0.0, 1.0, &mut rng(2)).unwrap();
    let (mut fast, mut velocity) = (parameter.clone(), Tensor::zeros([rows, width]).unwrap());
    fast.update_rows(&picked, &gradient, [&mut velocity], Momentum(0.1)).unwrap();
    for (i, &row) in picked.iter().enumerate() {
        let row = row as usize;
        let mut one = parameter.narrow(0, row, 1).unwrap().contiguous().unwrap();
        let mut state = Tensor::zeros([1, width]).unwrap();
        let g = gradient.narrow(0, i, 1).unwrap();
        one.update(&g, [&mut state], Momentum(0.1)).unwrap();
        assert_eq!(fast.narrow(0, row, 1).unwrap(), one);
        assert_eq!(velocity.narrow(0, row, 1).unwrap(), state);
    }
    for row in (0..rows).filter(|row| row % 3 == 1) {
        assert_eq!(fast.narrow(0, row, 1).unwrap(), parameter.narrow(0, row, 1).unwrap());
    }
}
