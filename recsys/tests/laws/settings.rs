//! Settings and values that cannot work are errors that name them, before any memory is taken for them.

use cairn_recsys::features::{FeatureRow, FeatureTable, LightFm};
use cairn_recsys::rating::{self, BiasedMf, Nmf, SvdPlusPlus};
use cairn_recsys::rerank::{Calibration, Dpp, ItemGroups, Mmr, Reranking};
use cairn_recsys::{
    Als, AlsSolver, AnnSettings, Bpr, Confidence, Error, Estimator, Filter, GfCf, Interactions, ItemKnn,
    KnnWeighting, PairedTest, PureSvd, UserKnn, synthetic,
};

fn log() -> Interactions {
    synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap()
}

fn refuses<F: Estimator>(settings: &F) -> Error {
    match settings.fit(&log()) {
        Ok(_) => panic!("trained with settings that no memory holds"),
        Err(error) => error,
    }
}

#[test]
fn numbers_of_factors_that_no_memory_holds_are_refused_by_name() {
    for factors in [1 << 33, 1 << 40, usize::MAX - 1, usize::MAX] {
        let errors = [
            refuses(&Als::new().factors(factors)),
            refuses(&Bpr::new().factors(factors)),
            refuses(&BiasedMf::new().factors(factors)),
            refuses(&SvdPlusPlus::new().factors(factors)),
            refuses(&Nmf::new().factors(factors)),
        ];
        for error in errors {
            assert!(matches!(error, Error::Memory { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(&factors.to_string()) && text.contains("memory_limit"), "{text}");
        }
    }
    // More factors than users or items are no reason to refuse.
    assert!(Als::new().factors(200).fit(&log()).is_ok());
    // What cannot even be counted is refused whatever the limit.
    for settings in [LightFm::new(), LightFm::new().memory_limit(u64::MAX)] {
        assert!(matches!(refuses(&settings.factors(usize::MAX)), Error::Memory { .. }));
    }
    let error = refuses(&Bpr::new().memory_limit(1000));
    assert!(matches!(error, Error::Memory { limit: 1000, .. }), "{error}");
}

#[test]
fn a_factor_of_confidence_that_is_none_is_no_fault_of_the_data() {
    for factor in [f32::NAN, f32::INFINITY, -1.0, 1e30] {
        for confidence in [Confidence::Constant(factor), Confidence::Linear(factor), Confidence::Log(factor)]
        {
            let error = refuses(&Als::new().factors(4).confidence(confidence));
            assert!(matches!(error, Error::Parameter { name: "confidence", .. }), "{confidence:?}: {error}");
        }
    }
    assert!(Als::new().factors(4).confidence(Confidence::Constant(0.0)).fit(&log()).is_ok());
}

#[test]
fn other_settings_may_be_as_large_as_they_like() {
    let most = usize::MAX;
    let log = log();
    assert!(Als::new().factors(4).solver(AlsSolver::Blocks { size: most }).fit(&log).is_ok());
    let model = PureSvd::new(4).fit(&log).unwrap();
    assert!(PureSvd::new(most).fit(&log).is_err());
    assert!(ItemKnn::new(most).fit(&log).is_ok() && UserKnn::new(most).fit(&log).is_ok());
    assert!(rating::RatingKnn::new().neighbours(most).fit(&log).is_ok());
    assert!(model.recommend(&3, most, &Filter::unseen()).is_ok());
    assert!(model.similar_items(&3, most).is_ok());
    let fast = model.with_index(AnnSettings::new().cells(most).probes(most)).unwrap();
    assert!(fast.recommend(&3, most, &Filter::unseen()).is_ok());
    let vectors = &model.model().factors().items;
    let kinds = ItemGroups::new(model.catalog(), |item| [format!("kind {}", item % 3)]);
    let from = || Reranking::from_best(most);
    let steps = [
        from().then(Mmr::new(0.5, vectors)),
        from().then(Dpp::new(0.5, vectors)),
        from().then(Calibration::new(0.5, &kinds)),
    ];
    for steps in steps {
        assert!(model.recommend_reranked(&3, most, &Filter::unseen(), &steps).is_ok());
    }
    assert!(LightFm::new().factors(2).epochs(20).max_draws(most).fit(&log).is_ok());
    assert!(synthetic::power_law(most, 3, 3, 0).is_err() && synthetic::power_law(3, 3, most, 0).is_err());
    assert!(synthetic::planted_groups(u32::MAX, 90, 3, most, 0.0, 0).is_err());
    assert!(synthetic::planted_groups(3, 9, 3, most, 0.0, 0).is_ok());
    // Few rows, but each drawn from a list of all items.
    let groups = synthetic::planted_groups(1, u32::MAX, 3, 1, 0.0, 0);
    let walks = synthetic::walks(1, u32::MAX, 1, 0.0, 0);
    assert!(matches!((groups, walks), (Err(Error::Memory { .. }), Err(Error::Memory { .. }))));
}

#[test]
fn weights_that_make_no_finite_scores_are_refused_by_name() {
    let named = |error: Error, wrong: &str| matches!(&error, Error::Parameter { name, .. } if *name == wrong);
    for (k1, b, wrong) in [
        (f32::NAN, 0.8, "k1"),
        (-1.0, 0.8, "k1"),
        (3e38, 0.8, "k1"),
        (100.0, f32::NAN, "b"),
        (100.0, -0.1, "b"),
        (100.0, 1.1, "b"),
    ] {
        let weighting = KnnWeighting::Bm25 { k1, b };
        assert!(named(refuses(&ItemKnn::new(5).weighting(weighting)), wrong), "{weighting:?}");
        assert!(named(refuses(&UserKnn::new(5).weighting(weighting)), wrong), "{weighting:?}");
    }
    for (k1, b) in [(0.0, 0.0), (1e15, 1.0)] {
        assert!(ItemKnn::new(5).weighting(KnnWeighting::Bm25 { k1, b }).fit(&log()).is_ok());
    }
    for alpha in [3e38, -1.0, f32::NAN] {
        assert!(named(refuses(&GfCf::new().alpha(alpha)), "alpha"), "{alpha}");
    }
    assert!(GfCf::new().factors(3).alpha(1e15).fit(&log()).is_ok());
}

/// Rows (1,a,2), (1,b,-3), (2,a,1), (2,c,4).
fn with_a_negative() -> Interactions<u32, String> {
    let rows = [(1, "a", 2.0), (1, "b", -3.0), (2, "a", 1.0), (2, "c", 4.0)];
    Interactions::from_ratings(rows.map(|(u, i, v)| (u, i.to_owned(), v))).unwrap()
}

#[test]
fn a_value_that_a_model_cannot_take_is_named_by_the_callers_ids_with_the_way_out() {
    let log = with_a_negative();
    let errors = [
        Als::new().fit(&log).unwrap_err(),
        ItemKnn::new(5).fit(&log).unwrap_err(),
        UserKnn::new(5).fit(&log).unwrap_err(),
        Nmf::new().fit(&log).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::InvalidValue { .. }), "{error:?}");
        let text = error.to_string();
        for part in ["user 1, item \"b\"", "-3", "at_least", "map_values"] {
            assert!(text.contains(part), "{text}");
        }
    }
    let positive = log.at_least(0.0);
    for error in [
        Als::new().fit(&positive).unwrap().recommend_for(&[("c".to_owned(), -1.0)], 2, &Filter::unseen()),
        ItemKnn::new(5).fit(&positive).unwrap().recommend_for(
            &[("c".to_owned(), -1.0)],
            2,
            &Filter::unseen(),
        ),
        UserKnn::new(5).fit(&positive).unwrap().recommend_for(
            &[("c".to_owned(), -1.0)],
            2,
            &Filter::unseen(),
        ),
    ] {
        let text = error.unwrap_err().to_string();
        assert!(text.contains("item \"c\""), "{text}");
    }
}

#[test]
fn values_whose_squares_are_no_numbers_are_refused_in_few_digits() {
    let log =
        Interactions::from_ratings([(1, 1, 3e38_f32), (1, 2, 3e38), (2, 1, 3e38), (2, 3, 1.0)]).unwrap();
    let errors = [
        PureSvd::new(1).fit(&log).unwrap_err(),
        ItemKnn::new(5).fit(&log).unwrap_err(),
        UserKnn::new(5).fit(&log).unwrap_err(),
        Als::new().fit(&log).unwrap_err(),
        rating::Baseline::new().fit(&log).unwrap_err(),
        rating::RatingKnn::new().fit(&log).unwrap_err(),
        rating::SlopeOne::new().fit(&log).unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("value 3e38 at user 1, item 1"), "{text}");
    }
    let error = Bpr::new().learning_rate(-3e38).fit(&log).unwrap_err();
    assert!(error.to_string().contains("learning_rate = -3e38"), "{error}");
}

#[test]
fn differences_and_features_that_are_no_numbers_to_go_by_are_refused() {
    for bad in [f64::NAN, f64::INFINITY, 1e308, -1e101] {
        let error = PairedTest::new().of(&[1.0, bad, bad, 2.0]).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "differences", .. }), "{error}");
        assert!(error.to_string().len() < 100, "{error}");
    }
    let (mean, _, p) = PairedTest::new().resamples(100).of(&[1e100, 1e100]).unwrap();
    assert!((mean / 1e100 - 1.0).abs() < 1e-9 && p < 1.0, "{mean} {p}");
    let table = |x: f64| FeatureTable::new((0..3).map(|item| (item, FeatureRow::new().number("price", x))));
    assert!(table(-1e100).is_ok());
    for bad in [1e200, -1e308, f64::NAN] {
        let text = table(bad).unwrap_err().to_string();
        assert!(text.contains("at most 1e100") && text.len() < 120, "{text}");
    }
}
