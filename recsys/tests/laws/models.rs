//! Each model against its definition, computed the slow way; and the settings each refuses.

use cairn_recsys::rating::{RatingKnn, SlopeOne};
use cairn_recsys::{
    Als, AlsSolver, Bpr, Confidence, Ease, Error, Estimator, Filter, Interactions, ItemIdx, ItemItemModel,
    ItemKnn, KnnWeighting, PureSvd, Recommender, Rp3Beta, Scored, Slim, TruncatedSvd, UserIdx, UserItems,
    UserKnn, synthetic,
};
use faer::Mat;
use faer::prelude::Solve;
use proptest::prelude::*;

fn matrix(users: u32, items: u32, seed: u64) -> UserItems {
    synthetic::planted_groups(users, items, 3, 6, 0.3, seed).unwrap().user_items()
}

fn dense(matrix: &UserItems, value: impl Fn(f32) -> f64) -> Mat<f64> {
    Mat::from_fn(matrix.n_rows(), matrix.n_cols(), |u, i| {
        matrix.get(UserIdx(u as u32), ItemIdx(i as u32)).map_or(0.0, &value)
    })
}

fn weights(model: &ItemItemModel) -> Mat<f64> {
    let n = model.n_items();
    Mat::from_fn(n, n, |i, j| f64::from(model.weight(ItemIdx(i as u32), ItemIdx(j as u32))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// B = I - P / diag(P) with P = (XᵀX + λ)⁻¹, inverted by another factorisation.
    #[test]
    fn ease_is_its_closed_form(users in 5_u32..40, items in 6_u32..30, lambda in 0.5..50.0_f64, seed in 0_u64..100) {
        let matrix = matrix(users, items, seed);
        let x = dense(&matrix, |_| 1.0);
        let n = matrix.n_cols();
        let gram = x.transpose() * &x + Mat::from_fn(n, n, |i, j| if i == j { lambda } else { 0.0 });
        let p = gram.partial_piv_lu().solve(Mat::<f64>::identity(n, n));
        let got = weights(&Ease::new(lambda).fit_matrix(&matrix).unwrap());
        for i in 0..n {
            for j in 0..n {
                let want = if i == j { 0.0 } else { -p[(i, j)] / p[(j, j)] };
                prop_assert!((got[(i, j)] - want).abs() < 1e-5, "({i}, {j}): {} for {want}", got[(i, j)]);
            }
        }
    }

    /// The optimality conditions of the elastic net with weights that may not be negative.
    #[test]
    fn slim_is_optimal(users in 5_u32..40, items in 6_u32..30, l1 in 0.1..2.0_f32, l2 in 1.0..20.0_f32, seed in 0_u64..100) {
        let matrix = matrix(users, items, seed);
        let x = dense(&matrix, |_| 1.0);
        let model = Slim::new().l1(l1).l2(l2).tolerance(1e-7).max_epochs(100_000).fit_matrix(&matrix).unwrap();
        let w = weights(&model);
        let slope = x.transpose() * (&x * &w - &x) + faer::Scale(f64::from(l2)) * &w;
        for i in 0..matrix.n_cols() {
            for j in 0..matrix.n_cols() {
                let slope = slope[(i, j)] + f64::from(l1);
                if i == j {
                    prop_assert_eq!(w[(i, j)], 0.0);
                } else if w[(i, j)] > 0.0 {
                    prop_assert!(slope.abs() < 1e-3, "({i}, {j}): slope {slope}");
                } else {
                    prop_assert!(slope > -1e-3, "({i}, {j}): slope {slope} at 0");
                }
            }
        }
    }

    #[test]
    fn rp3beta_is_a_walk(users in 5_u32..40, items in 6_u32..30, alpha in 0.5..2.0_f32, beta in 0.0..1.0_f32, seed in 0_u64..100) {
        let matrix = matrix(users, items, seed);
        let x = dense(&matrix, |_| 1.0);
        let (m, n) = x.shape();
        let user_degree = |u: usize| x.row(u).iter().sum::<f64>();
        let item_degree = |i: usize| x.col(i).iter().sum::<f64>();
        let model = Rp3Beta::new().neighbours(1000).alpha(alpha).beta(beta).fit_matrix(&matrix).unwrap();
        let got = weights(&model);
        let (alpha, beta) = (f64::from(alpha), f64::from(beta));
        for i in 0..n {
            for j in (0..n).filter(|&j| j != i) {
                let step = |u: usize| (x[(u, i)] / item_degree(i)).powf(alpha) * (x[(u, j)] / user_degree(u)).powf(alpha);
                let want = (0..m).filter(|&u| user_degree(u) > 0.0).map(step).sum::<f64>() / item_degree(j).powf(beta);
                prop_assert!((got[(i, j)] - want).abs() < 1e-5, "{} for {want}", got[(i, j)]);
            }
        }
    }

    #[test]
    fn item_knn_is_a_shrunk_cosine_cut_to_k(users in 5_u32..40, items in 6_u32..30, k in 1_usize..8, shrink in 0.0..5.0_f32, seed in 0_u64..100) {
        let matrix = matrix(users, items, seed);
        let x = dense(&matrix, f64::from);
        let n = matrix.n_cols();
        let got = weights(&ItemKnn::new(k).shrink(shrink).fit_matrix(&matrix).unwrap());
        let similarity = |i: usize, j: usize| {
            let dot = (x.col(i).transpose() * x.col(j)) as f64;
            dot / (x.col(i).norm_l2() * x.col(j).norm_l2() + f64::from(shrink))
        };
        for i in 0..n {
            let mut all: Vec<f64> = (0..n).filter(|&j| j != i).map(|j| similarity(i, j)).filter(|&s| s > 0.0).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            all.truncate(k);
            let mut kept: Vec<f64> = (0..n).map(|j| got[(i, j)]).filter(|&s| s > 0.0).collect();
            kept.sort_by(|a, b| b.total_cmp(a));
            prop_assert_eq!(kept.len(), all.len());
            prop_assert!(kept.iter().zip(&all).all(|(a, b)| (a - b).abs() < 1e-5));
            prop_assert!((0..n).filter(|&j| got[(i, j)] > 0.0).all(|j| (got[(i, j)] - similarity(i, j)).abs() < 1e-5));
        }
    }

    /// At the end each user's vector solves its normal equations, set up here in double precision.
    #[test]
    fn als_users_solve_their_normal_equations(factors in 1_usize..40, alpha0 in 0.01..1.0_f32, lambda in 0.01..1.0_f32, nu in 0.0..1.0_f32, seed in 0_u64..100) {
        let matrix = matrix(30, 24, seed);
        let settings = Als::new().factors(factors).epochs(2).unobserved_weight(alpha0).regularization(lambda)
            .frequency_exponent(nu).confidence(Confidence::Linear(0.5)).seed(seed);
        let model = settings.fit_matrix(&matrix).unwrap();
        let items = &model.factors().items;
        let y = Mat::from_fn(items.len(), factors, |i, f| f64::from(items.get(i)[f]));
        for user in matrix.row_indices() {
            let x = Mat::from_fn(factors, 1, |f, _| f64::from(model.factors().users.get(user.0 as usize)[f]));
            let (met, values) = matrix.row(user);
            let frequency = met.len() as f64 + f64::from(alpha0) * items.len() as f64;
            let mut slope = faer::Scale(f64::from(alpha0)) * (y.transpose() * (&y * &x))
                + faer::Scale(f64::from(lambda) * frequency.powf(f64::from(nu))) * &x;
            let mut size = 1.0_f64;
            for (item, &value) in met.iter().zip(values) {
                let row = y.row(item.0 as usize);
                let miss = 0.5 * f64::from(value) * ((row * &x)[0] - 1.0);
                for f in 0..factors {
                    slope[(f, 0)] += miss * row[f];
                    size = size.max(miss.abs() * row[f].abs());
                }
            }
            prop_assert!(slope.norm_max() < 2e-3 * size, "{}", slope.norm_max());
        }
    }
}

#[test]
fn every_als_solver_descends_and_they_agree_in_the_end() {
    let matrix = matrix(60, 45, 1);
    let base = Als::new().factors(40).regularization(0.05).unobserved_weight(0.3);
    let solvers =
        [AlsSolver::Cholesky, AlsSolver::ConjugateGradient { steps: 3 }, AlsSolver::Blocks { size: 16 }];
    let mut ends = Vec::new();
    for solver in solvers {
        let loss = |sweeps| {
            let settings = base.clone().solver(solver).epochs(sweeps);
            let model = settings.fit_matrix(&matrix).unwrap();
            settings.loss(&matrix, model.factors()).unwrap()
        };
        let losses: Vec<f64> = [1, 2, 4, 8, 60].map(loss).to_vec();
        assert!(losses.is_sorted_by(|a, b| *a >= *b * 0.9999), "{solver:?}: {losses:?}");
        ends.push(losses[4]);
    }
    assert!(ends.iter().all(|end| (end / ends[0] - 1.0).abs() < 0.02), "{ends:?}");
    let enough = base.clone().solver(AlsSolver::ConjugateGradient { steps: 60 }).epochs(3);
    let exact = base.solver(AlsSolver::Cholesky).epochs(3);
    let loss = |s: &Als| s.loss(&matrix, s.fit_matrix(&matrix).unwrap().factors()).unwrap();
    assert!((loss(&enough) / loss(&exact) - 1.0).abs() < 1e-3);
}

#[test]
fn als_loss_is_the_documented_sum() {
    let matrix = matrix(12, 9, 2);
    let settings = Als::new().factors(5).epochs(1).confidence(Confidence::Log(0.7)).frequency_exponent(0.5);
    let model = settings.fit_matrix(&matrix).unwrap();
    let (users, items) = (&model.factors().users, &model.factors().items);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let mut want = 0.0;
    for u in 0..users.len() {
        for i in 0..items.len() {
            let score = dot(users.get(u), items.get(i));
            want += 0.3 * score * score;
            if let Some(value) = matrix.get(UserIdx(u as u32), ItemIdx(i as u32)) {
                want += 0.7 * f64::from(value.ln_1p()) * (score - 1.0).powi(2);
            }
        }
    }
    let transpose = matrix.transpose();
    for u in 0..users.len() {
        let n = matrix.row_len(UserIdx(u as u32)) as f64 + 0.3 * items.len() as f64;
        want += 0.01 * n.sqrt() * dot(users.get(u), users.get(u));
    }
    for i in 0..items.len() {
        let n = transpose.row_len(ItemIdx(i as u32)) as f64 + 0.3 * users.len() as f64;
        want += 0.01 * n.sqrt() * dot(items.get(i), items.get(i));
    }
    let got = settings.loss(&matrix, model.factors()).unwrap();
    assert!((got / want - 1.0).abs() < 1e-5, "{got} for {want}");
    assert!(matches!(Als::new().factors(6).loss(&matrix, model.factors()), Err(Error::Shape { .. })));
}

#[test]
fn memory_is_said_before_it_is_taken() {
    let wide = synthetic::power_law(10, 1_000_000, 100, 0).unwrap();
    let error = Ease::new(100.0).fit_matrix(&wide).unwrap_err();
    assert!(matches!(error, Error::Memory { needed: 16_000_000_000_000, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "EASE on 1000000 items needs 16000000000000 bytes, more than the limit of 8589934592"
    );
    needs(&Slim::new(), &wide, 4_000_000_000_000);
    needs(&SlopeOne::new(), &wide, 4_000_000_000_000);
    needs(&RatingKnn::new().item_based(), &wide, 4_000_000_000_000);
    assert_eq!(Ease::memory_needed(u32::MAX as usize), u64::MAX, "beyond counting");
    // No item has more neighbours than were asked for, no user more than there are users.
    let full = |n: u32| {
        let entries = (0..2).flat_map(|u| (0..n).map(move |i| (UserIdx(u), ItemIdx(i), 1.0)));
        UserItems::from_entries(2, n as usize, entries).unwrap()
    };
    needs(&ItemKnn::new(5).memory_limit(1000), &full(90), 90 * 5 * 16);
    needs(&Rp3Beta::new().neighbours(5).memory_limit(1000), &full(90), 90 * 5 * 16);
    needs(&UserKnn::new(500).memory_limit(10), &full(90), 2 * 2 * 16);
    assert!(ItemKnn::new(5).memory_limit(90 * 5 * 16).fit_matrix(&full(90)).is_ok());
    // With three users in all, neighbours of a million items are few however many are asked for.
    assert!(ItemKnn::new(1_000_000).fit_matrix(&synthetic::power_law(3, 1_000_000, 100, 0).unwrap()).is_ok());
    let small = matrix(10, 9, 0);
    assert!(matches!(
        Ease::new(1.0).memory_limit(100).fit_matrix(&small),
        Err(Error::Memory { limit: 100, .. })
    ));
}

/// `fit` must fail and say how many bytes it would have taken.
fn needs<F: Estimator>(settings: &F, matrix: &UserItems, bytes: u64) {
    match settings.fit_matrix(matrix) {
        Err(Error::Memory { needed, .. }) => assert_eq!(needed, bytes),
        other => panic!("{:?}", other.map(|model| model.name())),
    }
}

/// `fit` must fail and name the setting.
fn refuses<F: Estimator>(settings: &F, name: &str) {
    match settings.fit_matrix(&matrix(10, 9, 0)) {
        Err(Error::Parameter { name: found, .. }) => assert_eq!(found, name),
        Err(error) => panic!("{name}: {error}"),
        Ok(_) => panic!("{name} was accepted"),
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    refuses(&Als::new().factors(0), "factors");
    refuses(&Als::new().regularization(0.0), "regularization");
    refuses(&Als::new().regularization(f32::NAN), "regularization");
    refuses(&Als::new().unobserved_weight(-1.0), "unobserved_weight");
    refuses(&Als::new().init_scale(f32::INFINITY), "init_scale");
    refuses(&Als::new().frequency_exponent(f32::NAN), "frequency_exponent");
    refuses(&Als::new().solver(AlsSolver::Blocks { size: 0 }), "block size");
    refuses(&Als::new().solver(AlsSolver::ConjugateGradient { steps: 0 }), "steps");
    refuses(&Bpr::new().factors(0), "factors");
    refuses(&Bpr::new().learning_rate(0.0), "learning_rate");
    refuses(&Bpr::new().regularization(-0.1), "regularization");
    refuses(&Ease::new(0.0), "regularization");
    refuses(&Ease::new(f64::NAN), "regularization");
    refuses(&Slim::new().l1(-1.0), "l1");
    refuses(&Slim::new().l2(f32::NAN), "l2");
    refuses(&Slim::new().tolerance(-1.0), "tolerance");
    refuses(&ItemKnn::new(0), "neighbours");
    refuses(&ItemKnn::new(5).shrink(-1.0), "shrink");
    refuses(&UserKnn::new(0).weighting(KnnWeighting::bm25()), "neighbours");
    refuses(&Rp3Beta::new().neighbours(0), "neighbours");
    refuses(&Rp3Beta::new().alpha(-1.0), "alpha");
    refuses(&Rp3Beta::new().beta(f32::NAN), "beta");
    refuses(&PureSvd::new(10), "k");
    refuses(&PureSvd::new(2).svd(|svd: TruncatedSvd| svd.tolerance(-1.0)), "tolerance");
    assert!(synthetic::power_law(0, 5, 10, 0).is_err());
    assert!(synthetic::planted_groups(5, 2, 3, 1, 0.0, 0).is_err());
    assert!(synthetic::planted_groups(5, 5, 3, 1, 1.5, 0).is_err());
}

#[test]
fn negative_counts_and_nan_are_refused() {
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        let matrix = matrix(10, 9, 0).map_values(|u, _, v| if u == UserIdx(3) { bad } else { v });
        let named = |error: Error| {
            assert!(matches!(&error, Error::InvalidValue { at, .. } if at.starts_with("(3,")), "{error}");
        };
        named(Als::new().fit_matrix(&matrix).map(|_| ()).unwrap_err());
        named(ItemKnn::new(3).fit_matrix(&matrix).map(|_| ()).unwrap_err());
        named(UserKnn::new(3).fit_matrix(&matrix).map(|_| ()).unwrap_err());
    }
    let log = Interactions::from_ratings([(1, 1), (1, 2), (2, 1)]).unwrap();
    let negative = [(1, -1.0)];
    let refused = |list: Result<Vec<Scored<u32>>, Error>| matches!(list, Err(Error::InvalidValue { .. }));
    assert!(refused(ItemKnn::new(3).fit(&log).unwrap().recommend_for(&negative, 3, &Filter::all())));
    assert!(refused(UserKnn::new(3).fit(&log).unwrap().recommend_for(&negative, 3, &Filter::all())));
    let nan = matrix(10, 9, 0).map_values(|_, _, _| f32::NAN);
    assert!(matches!(PureSvd::new(2).fit_matrix(&nan), Err(Error::InvalidValue { .. })));
    let model = Als::new().factors(3).fit_matrix(&matrix(10, 9, 0)).unwrap();
    assert!(matches!(model.fold_in(&[ItemIdx(0)], &[-1.0]), Err(Error::InvalidValue { .. })));
    assert!(matches!(model.fold_in(&[ItemIdx(u32::MAX)], &[1.0]), Err(Error::UnknownItem(_))));
    assert!(matches!(model.fold_in(&[ItemIdx(0)], &[]), Err(Error::Shape { .. })));
}

/// Half of what somebody never met likes is enough to recommend the rest of their group.
#[test]
fn bpr_folds_in_people_it_never_met() {
    let log = synthetic::planted_groups(200, 60, 3, 10, 0.0, 3).unwrap();
    let (train, history, test) = log.split_users(0.3, 0.5, 1).unwrap();
    let model = Bpr::new().factors(8).fit(&train).unwrap();
    let (rows, test) = (history.user_items(), test.user_items());
    let (mut own, mut all) = (0, 0);
    for user in rows.row_indices().filter(|&user| test.row_len(user) > 0) {
        let (items, _) = rows.row(user);
        let likes: Vec<(u32, f32)> = items.iter().map(|&i| (*log.catalog().items.id(i), 1.0)).collect();
        let group = likes[0].0 % 3;
        for entry in model.recommend_for(&likes, 10, &Filter::unseen()).unwrap() {
            own += u32::from(entry.id % 3 == group);
            all += 1;
        }
    }
    assert!(all == 600 && f64::from(own) > 0.97 * f64::from(all), "{own} of {all}");
    let vector = model.model().fold_in(&[ItemIdx(2), ItemIdx(5)]).unwrap();
    assert!(matches!(model.model().fold_in(&[ItemIdx(u32::MAX)]), Err(Error::UnknownItem(_))));
    assert_eq!(
        vector,
        model.model().fold_in(&[ItemIdx(2), ItemIdx(5)]).unwrap(),
        "the same history, the same vector"
    );
    // Who met nothing or everything gives nothing to compare: the order of the biases.
    let everything: Vec<ItemIdx> = (0..60).map(ItemIdx).collect();
    for items in [&[][..], &everything] {
        let vector = model.model().fold_in(items).unwrap();
        assert!(vector[..8].iter().all(|&x| x == 0.0) && vector[8] == 1.0);
    }
}

/// BPR reports how often it met a pair in the right order: half of them at first, nearly all in the end.
#[test]
fn bpr_reports_its_progress() {
    let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 7).unwrap();
    let (_, report) = Bpr::new().factors(8).epochs(60).fit_reported(&log).unwrap();
    assert_eq!(report.progress.len(), 60);
    assert!((report.progress[0] - 0.5).abs() < 0.1 && report.progress[59] > 0.9, "{report}");
}

/// Too large a step makes BPR diverge: said, not returned.
#[test]
fn bpr_that_diverges_is_an_error() {
    let settings = Bpr::new().learning_rate(1e30).epochs(20);
    assert!(matches!(settings.fit_matrix(&matrix(20, 15, 0)), Err(Error::Factorization { .. })));
}
