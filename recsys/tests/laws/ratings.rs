//! Models of ratings against Surprise, and what predictions promise.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_recsys::rating::{
    Baseline, BaselineMethod, BiasedMf, CoClustering, Nmf, RatingKnn, RatingModel, Similarity, SlopeOne,
    SvdPlusPlus, cross_validate, evaluate,
};
use cairn_recsys::{
    Catalog, Duplicates, Error, Estimator, Fitted, IdMap, Interactions, ItemIdx, Recommender, Split, UserIdx,
};

/// The log of golden/surprise_ratings.py.
fn golden_log() -> Interactions {
    let mut state = 12345_u64;
    let (mut users, mut items, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for user in 0..30_u32 {
        for item in 0..25_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let draw = state >> 33;
            if draw % 10 < 4 {
                let value = (draw / 10 + u64::from(user / 6) + u64::from(item / 5)) % 5 + 1;
                users.push(UserIdx(user));
                items.push(ItemIdx(item));
                values.push(value as f32);
            }
        }
    }
    // Gradient steps go by index: number the items as the script meets them within a user.
    let catalog = Catalog {
        users: Arc::new(IdMap::from_ids(0..30).unwrap()),
        items: Arc::new(IdMap::from_ids(0..25).unwrap()),
    };
    Interactions::from_columns(catalog, users, items, values, None, Duplicates::Error).unwrap()
}

fn agrees<F: Estimator<Model: RatingModel>>(
    name: &str,
    settings: &F,
    golden: &BTreeMap<&str, Vec<(u32, u32, f32)>>,
) {
    let model = settings.fit(&golden_log()).unwrap();
    for &(user, item, expected) in &golden[name] {
        let got = model.predict(&user, &item).unwrap();
        assert!(
            (got - expected).abs() < 2e-5,
            "{name}, user {user}, item {item}: {got}, Surprise {expected}"
        );
    }
}

#[test]
fn predictions_are_those_of_surprise() {
    let text = include_str!("../golden/surprise_ratings.csv");
    let mut golden = BTreeMap::<&str, Vec<(u32, u32, f32)>>::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let row = (fields[1].parse().unwrap(), fields[2].parse().unwrap(), fields[3].parse().unwrap());
        golden.entry(fields[0]).or_default().push(row);
    }
    // Co-clustering is compared beside its code, from groups that are given.
    assert_eq!(golden.len(), 37);
    agrees("baseline als", &Baseline::new(), &golden);
    agrees("baseline sgd", &Baseline::new().method(BaselineMethod::SGD), &golden);
    agrees("slope one", &SlopeOne::new(), &golden);
    agrees("nmf", &Nmf::new().factors(4).epochs(20).init(0.5, 0.5), &golden);
    let similarities = [
        ("cosine", Similarity::Cosine),
        ("msd", Similarity::Msd),
        ("pearson", Similarity::Pearson),
        ("pearson_baseline", Similarity::PEARSON_BASELINE),
    ];
    for (centring, settings) in [
        ("none", RatingKnn::new()),
        ("means", RatingKnn::with_means()),
        ("baseline", RatingKnn::with_baseline()),
        ("z_score", RatingKnn::with_z_scores()),
    ] {
        for (name, similarity) in similarities {
            let settings = settings.clone().neighbours(5).min_support(2).similarity(similarity);
            agrees(&format!("knn {centring} {name} users"), &settings, &golden);
            agrees(&format!("knn {centring} {name} items"), &settings.item_based(), &golden);
        }
    }
}

/// Ratings of known rank: taste of two dimensions, biases, noise of a quarter star.
fn planted() -> Interactions {
    let mut state = 7_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut rows = Vec::new();
    for user in 0..120_u32 {
        for item in 0..80_u32 {
            if noise() < 0.0 {
                let taste = [(user % 3) as f32 - 1.0, (user % 5) as f32 / 2.0 - 1.0];
                let trait_ = [(item % 4) as f32 / 1.5 - 1.0, (item % 7) as f32 / 3.0 - 1.0];
                let bias = (item % 6) as f32 / 6.0 - (user % 7) as f32 / 7.0;
                let value = 3.0 + bias + taste[0] * trait_[0] + taste[1] * trait_[1] + noise() / 2.0;
                rows.push((user, item, value.clamp(1.0, 5.0)));
            }
        }
    }
    Interactions::from_ratings(rows).unwrap()
}

fn rmse<F: Estimator<Model: RatingModel>>(settings: &F) -> f64 {
    cross_validate(settings, &planted(), 3, 1).unwrap().rmse()
}

#[test]
fn planted_structure_is_recovered() {
    let baseline = rmse(&Baseline::new());
    assert!(baseline > 0.55, "{baseline}: there must be something left to find");
    let factors = rmse(&BiasedMf::new().factors(10).epochs(100).learning_rate(0.02));
    let implicit = rmse(&SvdPlusPlus::new().factors(10).epochs(100).learning_rate(0.02));
    let neighbours =
        rmse(&RatingKnn::with_baseline().neighbours(10).similarity(Similarity::PEARSON_BASELINE));
    assert!(factors < 0.25 && implicit < 0.3, "{factors} {implicit}");
    assert!(neighbours < 0.75 * baseline, "{neighbours} {baseline}");
    assert!(rmse(&Nmf::new().factors(8)) < 0.8 * baseline);
}

#[test]
fn folding_in_beats_the_baseline_on_people_never_met() {
    let log = planted();
    let (train, history, test) = log.split_users(0.3, 0.3, 2).unwrap();
    let (rows, test) = (history.user_items(), test.user_items());
    fn errors<F: Estimator>(
        settings: &F,
        train: &Interactions,
        rows: &cairn_recsys::UserItems,
        test: &cairn_recsys::UserItems,
    ) -> f64 {
        let model = settings.fit(train).unwrap();
        let mut out = vec![0.0; rows.n_cols()];
        let (mut squares, mut n) = (0.0, 0);
        for user in rows.row_indices().filter(|&u| test.row_len(u) > 0) {
            let (items, values) = rows.row(user);
            model.model().score_history(model.seen(), items, values, &mut out).unwrap();
            for (item, value) in test.row(user).0.iter().zip(test.row(user).1) {
                squares += f64::from((out[item.0 as usize] - value).powi(2));
                n += 1;
            }
        }
        (squares / f64::from(n)).sqrt()
    }
    let baseline = errors(&Baseline::new(), &train, &rows, &test);
    let factors = errors(&BiasedMf::new().factors(6).epochs(100).learning_rate(0.02), &train, &rows, &test);
    let implicit =
        errors(&SvdPlusPlus::new().factors(6).epochs(100).learning_rate(0.02), &train, &rows, &test);
    let parts = errors(&Nmf::new().factors(8), &train, &rows, &test);
    assert!(factors < 0.4 * baseline && implicit < 0.5 * baseline, "{baseline} {factors} {implicit}");
    assert!(parts < 0.8 * baseline, "{baseline} {parts}");
}

#[test]
fn training_errors_fall_and_are_reported() {
    let (model, report) = BiasedMf::new().factors(8).fit_reported(&planted()).unwrap();
    assert_eq!(report.progress.len(), 20);
    assert!(report.progress[19] < report.progress[0], "{report}");
    assert!(report.to_string().contains("SVD: 120 users, 80 items"), "{report}");
    assert_eq!(report.interactions, model.seen().nnz());
}

fn unknown_ids<F: Estimator<Model: RatingModel>>(settings: &F, biased: bool) {
    // User 3 and item 4 are in the catalogue, but their only rows are held out.
    let rows = [(1, 1, 5.0), (1, 2, 3.0), (2, 1, 4.0), (2, 2, 1.0), (3, 1, 2.0), (1, 4, 2.0)];
    let log = Interactions::from_ratings(rows).unwrap();
    let train = log.filter_rows(|row| row < 4);
    let model = settings.fit(&train).unwrap();
    let name = model.model().name();
    for (user, item) in [(3, 1), (99, 1)] {
        assert!(matches!(model.predict(&user, &item), Err(Error::UnknownUser(_))), "{name}");
        assert!(!model.estimate(&user, &item).user_known);
    }
    for item in [4, 99] {
        assert!(matches!(model.predict(&1, &item), Err(Error::UnknownItem(_))), "{name}");
        let estimate = model.estimate(&1, &item);
        assert!(estimate.user_known && !estimate.item_known);
        assert!(biased || estimate.rating == 3.25, "{name}: {estimate:?}");
        assert!(!biased || estimate.rating > 3.25, "{name}: user 1 rates high: {estimate:?}");
    }
    assert_eq!(model.estimate(&99, &99).rating, 3.25, "{name}: the mean");
    let beyond = model.estimate_indices(Some(UserIdx(1000)), Some(ItemIdx(1000)));
    assert!(!beyond.user_known && !beyond.item_known && beyond.rating == 3.25);
    assert_eq!(evaluate(&model, &log.filter_rows(|row| row >= 4)).unwrap().fallbacks(), 2, "{name}");
}

#[test]
fn ids_without_ratings_are_unknown() {
    unknown_ids(&Baseline::new(), true);
    unknown_ids(&BiasedMf::new().factors(4), true);
    unknown_ids(&SvdPlusPlus::new().factors(4), true);
    unknown_ids(&Nmf::new().factors(4), false);
    unknown_ids(&BiasedMf::new().factors(4).biased(false), false);
    unknown_ids(&SlopeOne::new(), false);
    unknown_ids(&CoClustering::new(), true);
    unknown_ids(&RatingKnn::new(), false);
    unknown_ids(&RatingKnn::with_means().item_based(), false);
    unknown_ids(&RatingKnn::with_baseline(), true);
}

#[test]
fn predictions_stay_on_the_scale() {
    let log = planted();
    let model = BiasedMf::new().factors(4).rating_scale(2.5, 3.5).fit(&log).unwrap();
    let all = |model: &Fitted<_>| -> Vec<f32> {
        (0..80)
            .map(|item| Fitted::<cairn_recsys::rating::BiasedMfModel>::predict(model, &3, &item).unwrap())
            .collect()
    };
    assert!(all(&model).iter().all(|r| (2.5..=3.5).contains(r)));
    assert_eq!(model.model().stats().scale(), (2.5, 3.5));
}

#[test]
fn bad_settings_and_values_are_errors() {
    let log = planted();
    let parameter = |result: Result<(), Error>| matches!(result, Err(Error::Parameter { .. }));
    assert!(parameter(BiasedMf::new().factors(0).fit(&log).map(drop)));
    assert!(parameter(BiasedMf::new().learning_rate(f32::NAN).fit(&log).map(drop)));
    assert!(parameter(BiasedMf::new().regularization(-1.0).fit(&log).map(drop)));
    assert!(parameter(BiasedMf::new().init_std_dev(f32::INFINITY).fit(&log).map(drop)));
    assert!(parameter(BiasedMf::new().rating_scale(5.0, 1.0).fit(&log).map(drop)));
    assert!(parameter(SvdPlusPlus::new().factors(0).fit(&log).map(drop)));
    assert!(parameter(SvdPlusPlus::new().learning_rate(0.0).fit(&log).map(drop)));
    assert!(parameter(CoClustering::new().user_clusters(0).fit(&log).map(drop)));
    assert!(parameter(CoClustering::new().item_clusters(0).fit(&log).map(drop)));
    assert!(parameter(Nmf::new().init(1.0, 0.0).fit(&log).map(drop)));
    assert!(parameter(RatingKnn::new().neighbours(0).fit(&log).map(drop)));
    let shrinkage = Similarity::PearsonBaseline { shrinkage: -1.0 };
    assert!(parameter(RatingKnn::new().similarity(shrinkage).fit(&log).map(drop)));
    let wild = BaselineMethod::Als { epochs: 1, reg_users: f32::NAN, reg_items: 1.0 };
    assert!(parameter(Baseline::new().method(wild).fit(&log).map(drop)));
    let memory = |result: Result<(), Error>| matches!(result, Err(Error::Memory { .. }));
    assert!(memory(RatingKnn::new().memory_limit(1000).fit(&log).map(drop)));
    assert!(memory(SlopeOne::new().memory_limit(1000).fit(&log).map(drop)));
    let diverges = BiasedMf::new().learning_rate(50.0).fit(&log);
    assert!(matches!(diverges, Err(Error::Factorization { .. })));
    assert!(SvdPlusPlus::new().learning_rate(50.0).fit(&log).is_err());
    let negative = log.map_values(|v| v - 4.0).unwrap();
    assert!(matches!(Nmf::new().fit(&negative), Err(Error::InvalidValue { .. })));
    assert!(Baseline::new().fit(&negative).is_ok(), "ratings may be negative");
    let model = Baseline::new().fit(&log).unwrap();
    assert!(matches!(evaluate(&model, &log.filter_rows(|_| false)), Err(Error::Empty { .. })));
    let report = evaluate(&model, &log).unwrap();
    assert!(report.rmse_interval(1.5, 10, 0).is_err() && report.rmse_interval(0.9, 0, 0).is_err());
    let (low, high) = report.rmse_interval(0.95, 200, 0).unwrap();
    assert!(low < report.rmse() && report.rmse() < high && high - low < 0.1);
    assert!(report.mae() < report.rmse());
}

#[test]
fn a_temporal_split_meets_ids_it_does_not_know() {
    let log =
        Interactions::from_ratings((0..100_u32).map(|n| (n / 4, n % 9, (n % 5 + 1) as f32, i64::from(n))))
            .unwrap();
    let (train, test) = log.split(Split::temporal(0.2)).unwrap();
    let report = evaluate(&BiasedMf::new().factors(3).fit(&train).unwrap(), &test).unwrap();
    assert_eq!(report.fallbacks(), 20, "all users of the end are new");
    assert!(report.rmse().is_finite());
}
