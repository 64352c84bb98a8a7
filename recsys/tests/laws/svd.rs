//! Truncated SVD against faer's full one, over shapes, ranks, solvers and threads; and what it refuses.

use cairn_recsys::{Csr, Error, ItemIdx, Svd, SvdSolver, TruncatedSvd, UserIdx, synthetic};
use faer::{Mat, MatRef};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

fn random(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let mut rng = rand_pcg::Pcg64::seed_from_u64(seed);
    Mat::from_fn(rows, columns, |_, _| rng.sample(StandardNormal))
}

fn full_values(a: MatRef<'_, f64>) -> Vec<f64> {
    a.singular_values().unwrap()
}

/// Values against faer's, residuals, orthonormality, order and signs, all recomputed here.
fn check(a: MatRef<'_, f64>, svd: &Svd, k: usize) {
    let full = full_values(a);
    assert_eq!((svd.s.len(), svd.u.ncols(), svd.v.ncols()), (k, k, k));
    assert_eq!((svd.u.nrows(), svd.v.nrows()), a.shape());
    for (got, want) in svd.s.iter().zip(&full) {
        assert!((got - want).abs() <= 1e-9 * full[0], "{got} for {want}");
    }
    assert!(svd.s.is_sorted_by(|a, b| a >= b) && svd.s.iter().all(|&s| s >= 0.0));
    let scale = full[0].max(f64::MIN_POSITIVE);
    let s = Mat::from_fn(k, k, |i, j| if i == j { svd.s[i] } else { 0.0 });
    assert!((a * &svd.v - &svd.u * &s).norm_max() <= 1e-8 * scale);
    assert!((a.transpose() * &svd.u - &svd.v * &s).norm_max() <= 1e-8 * scale);
    for q in [&svd.u, &svd.v] {
        assert!((q.transpose() * q - Mat::<f64>::identity(k, k)).norm_max() < 1e-9);
    }
    for j in 0..k {
        let largest =
            svd.u.col(j).iter().copied().fold(0.0_f64, |m, x| if x.abs() > m.abs() { x } else { m });
        assert!(largest > 0.0, "column {j} has the wrong sign");
    }
}

fn to_sparse(a: MatRef<'_, f64>) -> Csr<UserIdx, ItemIdx> {
    let entries =
        (0..a.nrows()).flat_map(|i| (0..a.ncols()).map(move |j| (i, j))).filter(|&(i, j)| a[(i, j)] != 0.0);
    let entries = entries.map(|(i, j)| (UserIdx(i as u32), ItemIdx(j as u32), a[(i, j)] as f32));
    Csr::from_entries(a.nrows(), a.ncols(), entries).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn dense_agrees_with_the_full_svd(
        rows in 1_usize..70, columns in 1_usize..70, share in 0.0..1.0_f64, rank in 1_usize..70, seed: u64,
        krylov: bool, block in prop::option::of(1_usize..12),
    ) {
        let rank = rank.min(rows).min(columns);
        let a = random(rows, rank, seed) * random(rank, columns, seed ^ 1);
        let k = 1 + (share * (rows.min(columns) - 1) as f64) as usize;
        let mut svd = TruncatedSvd::new(k).solver(if krylov { SvdSolver::Krylov } else { SvdSolver::Full });
        if let Some(block) = block {
            svd = svd.block(block);
        }
        check(a.as_ref(), &svd.fit_dense(a.as_ref()).unwrap(), k);
    }

    #[test]
    fn symmetric_matrices_with_either_sign(n in 2_usize..60, share in 0.0..1.0_f64, seed: u64) {
        let b = random(n, n, seed);
        let a = &b + b.transpose();
        let k = 1 + (share * (n - 1) as f64) as usize;
        check(a.as_ref(), &TruncatedSvd::new(k).solver(SvdSolver::Krylov).fit_dense(a.as_ref()).unwrap(), k);
    }

    #[test]
    fn sparse_agrees_with_dense(rows in 1_usize..60, columns in 1_usize..60, density in 0.02..0.5_f64, share in 0.0..1.0_f64, seed: u64) {
        let mut rng = rand_pcg::Pcg64::seed_from_u64(seed);
        let a = Mat::from_fn(rows, columns, |_, _| if rng.random_bool(density) { f64::from(rng.random_range(1..6_u32)) } else { 0.0 });
        let k = 1 + (share * (rows.min(columns) - 1) as f64) as usize;
        let svd = TruncatedSvd::new(k).solver(SvdSolver::Krylov).fit_sparse(&to_sparse(a.as_ref())).unwrap();
        check(a.as_ref(), &svd, k);
    }
}

#[test]
fn krylov_with_restarts_on_slow_decay() {
    let d = Mat::from_fn(300, 300, |i, j| f64::from(((i * 7919 + j * 104_729) % 1009) as u32) / 1009.0);
    let a = &d * d.transpose();
    check(a.as_ref(), &TruncatedSvd::new(20).fit_dense(a.as_ref()).unwrap(), 20);
    let wide = random(250, 400, 3);
    check(wide.as_ref(), &TruncatedSvd::new(20).fit_dense(wide.as_ref()).unwrap(), 20);
    check(wide.transpose(), &TruncatedSvd::new(20).fit_dense(wide.transpose()).unwrap(), 20);
}

#[test]
fn repeated_values_are_all_found() {
    let a = Mat::from_fn(300, 300, |i, j| if i == j { if i < 15 { 3.0 } else { 1.0 } } else { 0.0 });
    let svd = TruncatedSvd::new(20).fit_dense(a.as_ref()).unwrap();
    check(a.as_ref(), &svd, 20);
    let sparse = TruncatedSvd::new(20).solver(SvdSolver::Krylov).fit_sparse(&to_sparse(a.as_ref())).unwrap();
    check(a.as_ref(), &sparse, 20);
}

#[test]
fn a_zero_matrix_has_zero_values_and_orthonormal_vectors() {
    for (rows, columns) in [(5, 4), (400, 300)] {
        let svd = TruncatedSvd::new(3).fit_dense(Mat::zeros(rows, columns).as_ref()).unwrap();
        assert_eq!(svd.s, [0.0; 3]);
        assert!((svd.u.transpose() * &svd.u - Mat::<f64>::identity(3, 3)).norm_max() < 1e-12);
        let sparse = Csr::<UserIdx, ItemIdx>::from_entries(rows, columns, []).unwrap();
        assert_eq!(TruncatedSvd::new(3).fit_sparse(&sparse).unwrap().s, [0.0; 3]);
    }
}

#[test]
fn more_values_than_the_rank() {
    let a = random(400, 5, 1) * random(5, 300, 2);
    check(a.as_ref(), &TruncatedSvd::new(12).fit_dense(a.as_ref()).unwrap(), 12);
}

#[test]
fn bad_input_is_refused() {
    let a = random(30, 20, 1);
    for k in [0, 21] {
        assert!(matches!(
            TruncatedSvd::new(k).fit_dense(a.as_ref()),
            Err(Error::Parameter { name: "k", .. })
        ));
        assert!(TruncatedSvd::new(k).fit_sparse(&to_sparse(a.as_ref())).is_err());
    }
    for bad in [f64::NAN, f64::INFINITY] {
        let mut a = random(300, 200, 1);
        a[(7, 3)] = bad;
        let error = TruncatedSvd::new(2).fit_dense(a.as_ref()).unwrap_err();
        assert!(matches!(&error, Error::InvalidValue { at, .. } if at == "(7, 3)"), "{error}");
        assert!(TruncatedSvd::new(2).fit_sparse(&to_sparse(a.as_ref())).is_err());
    }
    assert!(matches!(TruncatedSvd::new(1).fit_dense(Mat::zeros(0, 4).as_ref()), Err(Error::Empty { .. })));
    assert!(TruncatedSvd::new(1).tolerance(0.0).fit_dense(a.as_ref()).is_err());
    assert!(TruncatedSvd::new(1).tolerance(f64::NAN).fit_dense(a.as_ref()).is_err());
    assert!(TruncatedSvd::new(1).block(0).fit_dense(a.as_ref()).is_err());
}

/// Large enough for the solver in single precision, both ways round; values and their bound against those to 1e-10.
#[test]
fn values_to_a_tolerance() {
    let tall = synthetic::power_law(1500, 700, 60_000, 3).unwrap();
    let exact = TruncatedSvd::new(8).fit_sparse(&tall).unwrap();
    for tolerance in [1e-3, 1e-6, 1e-9] {
        let quick = TruncatedSvd::new(8).value_tolerance(tolerance);
        let (quick, wide) = (quick.fit_sparse(&tall).unwrap(), quick.fit_sparse(&tall.transpose()).unwrap());
        for svd in [&quick, &wide] {
            assert!(svd.value_error <= tolerance);
            for (got, want) in svd.s.iter().zip(&exact.s) {
                assert!(
                    (got - want).abs() <= svd.value_error.max(1e-13) * want,
                    "{got} for {want}, {tolerance:e}"
                );
            }
        }
        let orthonormal = |q: &Mat<f64>| (q.transpose() * q - Mat::<f64>::identity(8, 8)).norm_max() < 1e-12;
        assert!([&quick.u, &quick.v, &wide.u, &wide.v].into_iter().all(orthonormal));
    }
}

/// Each value three times, and a rank below k: nothing is missed, and no value is made up.
#[test]
fn repeated_and_vanishing_values_to_a_tolerance() {
    let blocks = |size: usize, n: usize| {
        let entries = (0..size).flat_map(|r| (0..size).map(move |c| (r, c)));
        let entries = (0..n).flat_map(move |b| {
            entries.clone().map(move |(r, c)| {
                let value = if (b / 3 + r * c) % 2 == 0 { 1.0 } else { (b / 3 + 2) as f32 };
                (UserIdx((b * size + r) as u32), ItemIdx((b * size + c) as u32), value)
            })
        });
        Csr::<UserIdx, ItemIdx>::from_entries(1200, 800, entries).unwrap()
    };
    for (a, k) in [(blocks(20, 30), 9), (blocks(4, 3), 10)] {
        let (quick, exact) = (TruncatedSvd::new(k).value_tolerance(1e-6), TruncatedSvd::new(k));
        let (quick, exact) = (quick.fit_sparse(&a).unwrap(), exact.fit_sparse(&a).unwrap());
        for (got, want) in quick.s.iter().zip(&exact.s) {
            assert!((got - want).abs() <= 1e-6 * want + 1e-12 * exact.s[0], "{got} for {want}");
        }
    }
}

#[test]
fn a_tolerance_out_of_reach_is_an_error() {
    let a = random(400, 400, 5);
    let error = TruncatedSvd::new(10).block(2).max_restarts(0).fit_dense(a.as_ref()).unwrap_err();
    assert!(matches!(error, Error::NotConverged { .. }), "{error}");
}

#[test]
fn same_bits_for_any_number_of_threads() {
    let a = random(700, 500, 5);
    let sparse = to_sparse(
        Mat::from_fn(
            900,
            600,
            |i, j| if (i * 31 + j * 17) % 23 == 0 { (1 + (i + j) % 5) as f64 } else { 0.0 },
        )
        .as_ref(),
    );
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let svd = TruncatedSvd::new(20);
            let values = TruncatedSvd::new(5).value_tolerance(1e-6);
            [svd.fit_dense(a.as_ref()), svd.fit_sparse(&sparse), values.fit_sparse(&sparse)]
                .map(Result::unwrap)
        })
    };
    for (one, three) in run(1).iter().zip(&run(3)) {
        assert_eq!(one.s, three.s);
        assert_eq!(one.u, three.u);
        assert_eq!(one.v, three.v);
    }
}
