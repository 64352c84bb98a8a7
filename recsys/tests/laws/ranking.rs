//! The contract of lists and the figures of the evaluation, against naive definitions.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_recsys::{
    Als, AnyModel, Bpr, Ease, Error, Estimator, Filter, Fitted, Interactions, ItemIdx, ItemKnn, PairedTest,
    PureSvd, RankingEvaluator, RankingMetric, RankingReport, Recommender, Result, Rp3Beta, Slim, Split,
    TopPop, UserIdx, UserItems, UserKnn, metrics, rating,
};
use proptest::prelude::*;

/// Scores from a table, NaN and infinities included: what a broken model might say.
#[derive(Debug, Clone)]
struct Table {
    n_users: usize,
    n_items: usize,
    scores: Vec<f32>,
}

impl Recommender for Table {
    fn name(&self) -> &'static str {
        "table"
    }
    fn n_users(&self) -> usize {
        self.n_users
    }
    fn n_items(&self) -> usize {
        self.n_items
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        for (user, out) in users.iter().zip(out.chunks_mut(self.n_items)) {
            out.copy_from_slice(&self.scores[user.0 as usize * self.n_items..][..self.n_items]);
        }
        Ok(())
    }
}

fn table(log: &Interactions, pick: u64) -> Fitted<Table> {
    let (n_users, n_items) = (log.n_users(), log.n_items());
    let scores = (0..n_users * n_items)
        .map(|n| match (n as u64).wrapping_mul(pick | 1) >> 7 & 15 {
            0 => f32::NAN,
            1 => f32::INFINITY,
            other => (other / 3) as f32,
        })
        .collect();
    Fitted::new(Table { n_users, n_items, scores }, log.catalog().clone(), log.user_items()).unwrap()
}

fn log(n: u32, seed: u32) -> Interactions {
    Interactions::from_ratings((0..n).map(|x| {
        let h = (x + seed).wrapping_mul(2_654_435_761);
        (h >> 5 & 15, h >> 13 & 31, (1 + (h >> 20 & 3)) as f32, i64::from(h >> 8 & 63))
    }))
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lists_keep_their_contract(n in 1_u32..300, seed in 0_u32..1000, pick: u64, k in 1_usize..40) {
        let log = log(n, seed);
        let model = table(&log, pick);
        let even = |item: &u32| item.is_multiple_of(2);
        for (filter, unseen, only_even) in [
            (Filter::all(), false, false),
            (Filter::unseen(), true, false),
            (Filter::unseen().only(even), true, true),
        ] {
            for &user in log.catalog().users.ids() {
                let list = model.recommend(&user, k, &filter).unwrap();
                let row = log.catalog().user(&user).unwrap();
                let seen = log.user_items();
                let allowed = |item: &u32| {
                    let index = log.catalog().item(item).unwrap();
                    (!unseen || seen.get(row, index).is_none()) && (!only_even || even(item))
                        && model.score(&user, item).unwrap().is_finite()
                };
                let candidates: Vec<u32> = log.catalog().items.ids().iter().copied().filter(allowed).collect();
                prop_assert_eq!(list.len(), k.min(candidates.len()));
                prop_assert!(list.iter().all(|e| allowed(&e.id)));
                prop_assert_eq!(list.iter().map(|e| e.id).collect::<HashSet<_>>().len(), list.len());
                let met = |id: &u32| log.item_users().row_len(log.catalog().item(id).unwrap());
                prop_assert!(list.windows(2).all(|w| w[0].score > w[1].score
                    || (w[0].score == w[1].score && met(&w[0].id) >= met(&w[1].id))));
            }
        }
    }

    #[test]
    fn evaluation_agrees_with_definitions(n in 40_u32..300, seed in 0_u32..1000, pick: u64, k in 1_usize..20) {
        let log = log(n, seed);
        let Ok((train, test)) = log.split(Split::per_user(0.4, 1)) else { return Ok(()) };
        let model = table(&train, pick);
        let report = RankingEvaluator::at([k, 3]).evaluate(&model, &test).unwrap();
        let test = test.user_items();
        let per_user = |metric: &dyn RankingMetric| report.per_user(metric, k).unwrap();
        for (at, &user) in report.users().iter().enumerate() {
            let relevant: HashSet<ItemIdx> = test.row(user).0.iter().copied().collect();
            let list = &model.recommend_indices(&[user], k, &Filter::unseen()).unwrap()[0];
            let hits: Vec<usize> = list.iter().zip(1..).filter(|(e, _)| relevant.contains(&e.item)).map(|(_, r)| r).collect();
            let close = |metric: &dyn RankingMetric, want: f64| (per_user(metric)[at] - want).abs() < 1e-12;
            prop_assert!(close(&metrics::Precision, hits.len() as f64 / k as f64));
            prop_assert!(close(&metrics::Recall, hits.len() as f64 / relevant.len() as f64));
            prop_assert!(close(&metrics::HitRate, f64::from(!hits.is_empty())));
            prop_assert!(close(&metrics::Mrr, hits.first().map_or(0.0, |&r| 1.0 / r as f64)));
            let gain = |r: usize| 1.0 / ((r + 1) as f64).log2();
            let ideal: f64 = (1..=k).take(relevant.len()).map(gain).sum();
            prop_assert!(close(&metrics::Ndcg, hits.iter().map(|&r| gain(r)).sum::<f64>() / ideal));
            let precision_at = |r: usize| hits.iter().filter(|&&h| h <= r).count() as f64 / r as f64;
            let average = hits.iter().map(|&r| precision_at(r)).sum::<f64>() / k.min(relevant.len()) as f64;
            prop_assert!(close(&metrics::Map, average));
        }
        let tested = test.row_indices().filter(|&u| test.row_len(u) > 0).count();
        prop_assert_eq!(report.users().len(), tested);
    }
}

/// Every model, on the same rows in both orders.
fn of_both_orders<F: Estimator>(settings: &F) -> [Fitted<F::Model>; 2] {
    // User 3 and item 12 are in the catalogue, but have no training rows.
    let rows = [(1, 10), (1, 11), (2, 10), (3, 12)];
    let fit = |rows: Vec<(u32, u32)>| {
        let log = Interactions::from_ratings(rows).unwrap();
        let train = log.filter_rows(|row| log.rating(row).user != 3);
        settings.fit(&train).unwrap()
    };
    [fit(rows.to_vec()), fit(rows.into_iter().rev().collect())]
}

fn keeps_its_figures<F: Estimator + std::fmt::Debug>(settings: &F) {
    let test = Interactions::from_ratings([(3, 12)]).unwrap();
    let popular = Interactions::from_ratings([(3, 10)]).unwrap();
    let [there, back] = of_both_orders(settings);
    for auc in [false, true] {
        let evaluator = RankingEvaluator::at([1, 2]);
        let evaluator = if auc { evaluator.auc() } else { evaluator };
        for log in [&test, &popular] {
            let (a, b) = (evaluator.evaluate(&there, log).unwrap(), evaluator.evaluate(&back, log).unwrap());
            let hits = |report: &RankingReport| [1, 2].map(|k| report.mean(metrics::HitRate, k));
            assert_eq!(hits(&a), hits(&b), "{settings:?}");
            assert_eq!(a.users_without_history(), 1);
            assert!(a.to_string().contains("1 without training rows"), "{a}");
        }
        assert_eq!(evaluator.evaluate(&there, &popular).unwrap().mean(metrics::HitRate, 1), Some(1.0));
    }
    let list = there.recommend(&3, 5, &Filter::unseen()).unwrap();
    let list: Vec<(u32, f32)> = list.iter().map(|entry| (entry.id, entry.score)).collect();
    assert_eq!(list, [(10, 2.0), (11, 1.0), (12, 0.0)], "{settings:?}");
}

#[test]
fn a_user_without_rows_gets_the_popular_items_from_every_model_in_whatever_order_rows_came() {
    keeps_its_figures(&TopPop::new());
    keeps_its_figures(&PureSvd::new(1));
    keeps_its_figures(&Als::new().factors(2));
    keeps_its_figures(&Bpr::new().factors(2).epochs(3));
    keeps_its_figures(&Ease::new(1.0));
    keeps_its_figures(&Slim::new());
    keeps_its_figures(&Rp3Beta::new());
    keeps_its_figures(&ItemKnn::new(5));
    keeps_its_figures(&UserKnn::new(5));
    keeps_its_figures(&rating::Baseline::new());
    keeps_its_figures(&rating::BiasedMf::new().factors(2));
    keeps_its_figures(&rating::SvdPlusPlus::new().factors(2));
    keeps_its_figures(&rating::Nmf::new().factors(2));
    keeps_its_figures(&rating::SlopeOne::new());
    keeps_its_figures(&rating::CoClustering::new());
    keeps_its_figures(&rating::RatingKnn::new());
}

/// Somebody with rows whose model knows nothing of the rest: all ties at 0.
#[test]
fn ties_go_by_popularity_and_then_by_the_ids_alone() {
    let rows: Vec<(u32, u32)> =
        [(1, 1), (2, 2), (2, 3), (3, 3), (4, 4), (5, 5), (6, 6)].into_iter().collect();
    let list = |rows: Vec<(u32, u32)>| {
        let model = Ease::new(1.0).fit(&Interactions::from_ratings(rows).unwrap()).unwrap();
        model.recommend(&1, 5, &Filter::unseen()).unwrap().iter().map(|e| e.id).collect::<Vec<_>>()
    };
    let there = list(rows.clone());
    assert_eq!(there[0], 3, "{there:?}");
    assert_eq!(there, list(rows.into_iter().rev().collect()));
}

#[test]
fn nothing_hit_is_zero_without_a_sign() {
    let train = Interactions::from_ratings([(1, 10), (2, 11), (2, 12)]).unwrap();
    let test = Interactions::from_ratings([(1, 12)]).unwrap();
    let report = RankingEvaluator::at([1]).evaluate(&TopPop::new().fit(&train).unwrap(), &test).unwrap();
    let zero = report.mean(metrics::HitRate, 1) == Some(0.0);
    assert!(!report.to_string().contains("-0.0"), "{report}");
    assert!(zero || report.mean(metrics::HitRate, 1) == Some(1.0));
    for metric in metrics::STANDARD {
        let list = metrics::RankedList::new(&[false], 1, 1).unwrap();
        assert!(metric.of(&list).is_sign_positive(), "{metric:?}");
    }
}

#[test]
fn evaluating_on_the_training_log_is_said_to_be_that() {
    let log = log(200, 1);
    let (train, test) = log.split(Split::leave_last_out()).unwrap();
    let model = TopPop::new().fit(&train).unwrap();
    let error = RankingEvaluator::at([10]).evaluate(&model, &train).unwrap_err().to_string();
    assert!(error.contains("in the training log") && error.contains("keep_seen"), "{error}");
    assert!(RankingEvaluator::at([10]).keep_seen().evaluate(&model, &train).is_ok());
    let both = Interactions::from_ratings(train.ratings().chain(test.ratings())).unwrap();
    let report = RankingEvaluator::at([10]).evaluate(&model, &both).unwrap();
    assert_eq!(report.trained_rows(), train.len());
    let said = format!("{} of {} relevant rows are in the training log", train.len(), both.len());
    assert!(report.to_string().contains(&said), "{report}");
}

#[test]
fn given_candidates_compete_alone() {
    // Popularity: 10 three, 11 two, 12 and 13 one.
    let rows = [(1, 10), (2, 10), (3, 10), (2, 11), (3, 11), (3, 12), (4, 13)];
    let model = TopPop::new().fit(&Interactions::from_ratings(rows).unwrap()).unwrap();
    let test = Interactions::from_ratings([(1, 12), (4, 11)]).unwrap();
    let hit = |candidates: &(dyn Fn(&u32) -> Vec<u32> + Sync)| {
        let report = RankingEvaluator::at([1]).auc().evaluate_among(&model, &test, candidates).unwrap();
        (report.per_user(metrics::HitRate, 1).unwrap(), report.auc_per_user().unwrap().to_vec())
    };
    assert_eq!(hit(&|_| vec![]), (vec![1.0, 1.0], vec![0.5, 0.5]), "nothing competes");
    assert_eq!(hit(&|_| vec![11]), (vec![0.0, 1.0], vec![0.0, 0.5]));
    assert_eq!(hit(&|user| if *user == 4 { vec![10] } else { vec![] }), (vec![1.0, 0.0], vec![0.5, 0.0]));
    assert_eq!(hit(&|_| vec![10, 99]).0, [1.0, 0.0], "what was seen and what is unknown does not");
}

#[test]
fn many_users_get_what_each_would_get() {
    let log = log(250, 3);
    let model = TopPop::new().fit(&log).unwrap();
    let users = log.catalog().users.ids().to_vec();
    let many = model.recommend_many(&users, 5, &Filter::unseen()).unwrap();
    for (user, list) in users.iter().zip(many) {
        assert_eq!(list, model.recommend(user, 5, &Filter::unseen()).unwrap());
    }
}

/// Many threads ask one model at once, each in its own way, and get what one alone gets.
#[test]
fn threads_share_a_model() {
    let log = log(250, 3);
    let models: Vec<Fitted<dyn AnyModel>> = vec![
        PureSvd::new(3).fit(&log).unwrap().boxed(),
        TopPop::new().fit(&log).unwrap().boxed(),
        UserKnn::new(5).fit(&log).unwrap().boxed(),
        Bpr::new().factors(4).epochs(5).fit(&log).unwrap().boxed(),
    ];
    for model in models.into_iter().map(Arc::new) {
        let users = log.catalog().users.ids();
        let ask = |model: &Fitted<dyn AnyModel>, user: &u32| {
            let history = [(*log.catalog().items.id(ItemIdx(user % 5)), 1.0)];
            [
                model.recommend(user, 5, &Filter::unseen()).unwrap(),
                model.recommend_for(&history, 5, &Filter::all().only(|item| item % 2 == 0)).unwrap(),
                model.similar_items(&history[0].0, 5).unwrap(),
                model.similar_users(user, 5).unwrap(),
            ]
        };
        let alone: Vec<_> = users.iter().map(|user| ask(&model, user)).collect();
        std::thread::scope(|scope| {
            for offset in 0..8 {
                let (model, ask, alone) = (Arc::clone(&model), &ask, &alone);
                scope.spawn(move || {
                    for n in 0..users.len() {
                        let at = (n * 3 + offset) % users.len();
                        assert_eq!(ask(&model, &users[at]), alone[at]);
                    }
                });
            }
        });
    }
}

#[test]
fn bad_requests_are_errors() {
    let log = log(100, 1);
    let model = PureSvd::new(3).fit(&log).unwrap();
    let known = *log.catalog().items.ids().first().unwrap();
    let user = *log.catalog().users.ids().first().unwrap();
    assert!(
        matches!(model.recommend(&999, 5, &Filter::unseen()), Err(Error::UnknownUser(id)) if id == "999")
    );
    assert!(matches!(model.recommend(&user, 0, &Filter::unseen()), Err(Error::Parameter { name: "k", .. })));
    assert!(matches!(model.similar_items(&999, 5), Err(Error::UnknownItem(_))));
    assert!(matches!(model.recommend_for(&[(999, 1.0)], 5, &Filter::unseen()), Err(Error::UnknownItem(_))));
    assert!(matches!(model.recommend_for(&[], 5, &Filter::unseen()), Err(Error::Empty { .. })));
    let twice = model.recommend_for(&[(known, 1.0), (known, 2.0)], 5, &Filter::unseen());
    assert!(matches!(twice, Err(Error::DuplicateId { kind: "item", .. })));
    let nan = model.recommend_for(&[(known, f32::NAN)], 5, &Filter::unseen());
    assert!(matches!(nan, Err(Error::InvalidValue { .. })));
    let all = model.recommend(&user, 10_000, &Filter::all()).unwrap();
    assert_eq!(all.len(), log.n_items(), "fewer than k when fewer exist");
}

#[test]
fn evaluation_refuses_what_makes_no_sense() {
    let log = log(200, 1);
    let (train, test) = log.split(Split::leave_last_out()).unwrap();
    let model = TopPop::new().fit(&train).unwrap();
    assert!(RankingEvaluator::at([]).evaluate(&model, &test).is_err());
    assert!(RankingEvaluator::at([10, 0]).evaluate(&model, &test).is_err());
    let nobody = RankingEvaluator::at([10]).relevant_from(100.0).evaluate(&model, &test);
    assert!(matches!(nobody, Err(Error::Empty { .. })));
    let strangers = Interactions::from_ratings([(777, 1, 1.0)]).unwrap();
    assert!(matches!(RankingEvaluator::at([10]).evaluate(&model, &strangers), Err(Error::UnknownUser(_))));
}

#[test]
fn an_unknown_test_item_counts_as_missed() {
    let train = Interactions::from_ratings([(1, 10), (1, 11), (2, 10), (2, 12)]).unwrap();
    let model = TopPop::new().fit(&train).unwrap();
    let test = Interactions::from_ratings([(1, 12), (1, 99)]).unwrap();
    let report = RankingEvaluator::at([1]).evaluate(&model, &test).unwrap();
    assert_eq!(report.mean(metrics::Recall, 1), Some(0.5));
}

#[test]
fn explanations_add_up_to_the_score() {
    let log = log(250, 5);
    let model = PureSvd::new(4).fit(&log).unwrap();
    let user = *log.catalog().users.ids().first().unwrap();
    for &item in log.catalog().items.ids() {
        let sum: f32 = model.explain(&user, &item).unwrap().iter().map(|e| e.score).sum();
        let score = model.score(&user, &item).unwrap();
        assert!((sum - score).abs() < 1e-4 * (1.0 + score.abs()), "{sum} for {score}");
    }
}

#[test]
fn sampled_ranking_is_labelled_and_kinder_than_full() {
    let log = cairn_recsys::synthetic::planted_groups(120, 200, 4, 12, 0.2, 3).unwrap();
    let (train, test) = log.split(Split::leave_last_out()).unwrap();
    let model = PureSvd::new(6).fit(&train).unwrap();
    let full = RankingEvaluator::at([10]).evaluate(&model, &test).unwrap();
    let sampled = RankingEvaluator::at([10]).sampled(20, 1).evaluate(&model, &test).unwrap();
    assert!(sampled.mean(metrics::HitRate, 10) > full.mean(metrics::HitRate, 10));
    assert!(
        sampled.to_string().contains("SAMPLED ranking, 20 negatives")
            && !full.to_string().contains("SAMPLED")
    );
    assert_eq!(sampled, RankingEvaluator::at([10]).sampled(20, 1).evaluate(&model, &test).unwrap());
    let all = RankingEvaluator::at([10]).sampled(100_000, 1).evaluate(&model, &test).unwrap();
    assert_eq!(
        all.mean(metrics::Ndcg, 10),
        full.mean(metrics::Ndcg, 10),
        "sampling everything is full ranking"
    );
}

#[test]
fn auc_quality_and_intervals() {
    let log = cairn_recsys::synthetic::planted_groups(120, 90, 3, 12, 0.05, 3).unwrap();
    let (train, test) = log.split(Split::leave_last_out()).unwrap();
    let report = |model: &Fitted<dyn AnyModel>| {
        RankingEvaluator::at([5, 10]).auc().list_quality().evaluate(model, &test).unwrap()
    };
    let svd = report(&PureSvd::new(6).fit(&train).unwrap().boxed());
    let charts = report(&TopPop::new().fit(&train).unwrap().boxed());
    let each = svd.auc_per_user().unwrap();
    assert_eq!(each.len(), svd.users().len());
    assert_eq!(svd.auc().unwrap(), each.iter().sum::<f64>() / each.len() as f64);
    assert!(
        RankingEvaluator::at([5])
            .evaluate(&PureSvd::new(6).fit(&train).unwrap(), &test)
            .unwrap()
            .auc()
            .is_none()
    );
    assert!(svd.auc().unwrap() > 0.7 && (charts.auc().unwrap() - 0.5).abs() < 0.15);
    let (a, b) = (svd.list_quality(5).unwrap(), charts.list_quality(5).unwrap());
    assert!(a.coverage > b.coverage && a.gini < b.gini && a.novelty > b.novelty);
    assert!(svd.list_quality(7).is_none() && svd.mean(metrics::Ndcg, 7).is_none());
    let (low, high) = svd.interval(metrics::Ndcg, 10, 0.95, 500, 1).unwrap().unwrap();
    let mean = svd.mean(metrics::Ndcg, 10).unwrap();
    assert!(low < mean && mean < high, "{low} {mean} {high}");
    let (narrow_low, narrow_high) = svd.interval(metrics::Ndcg, 10, 0.5, 500, 1).unwrap().unwrap();
    assert!(low <= narrow_low && narrow_high <= high);
    assert!(
        svd.interval(metrics::Ndcg, 10, 1.0, 10, 1).is_err()
            && svd.interval(metrics::Ndcg, 10, 0.9, 0, 1).is_err()
    );
}

#[test]
fn strong_generalisation_by_fold_in() {
    let log = cairn_recsys::synthetic::planted_groups(200, 60, 3, 10, 0.0, 3).unwrap();
    let (train, history, test) = log.split_users(0.3, 0.5, 1).unwrap();
    let model = PureSvd::new(3).fit(&train).unwrap();
    let report = RankingEvaluator::at([10]).evaluate_fold_in(&model, &history, &test).unwrap();
    assert_eq!(report.users().len(), 60);
    // 15 unseen items of the own group compete for 10 places; chance over all 55 would be 0.18.
    assert!(report.mean(metrics::CappedRecall, 10).unwrap() > 0.5, "{report}");
    // Nobody was trained on, and all but who has no history were folded in.
    assert_eq!(report.users_without_history(), 0, "{report}");
    let first = history.rating(0).user;
    let fewer = history.filter_rows(|row| history.rating(row).user != first);
    let report = RankingEvaluator::at([10]).evaluate_fold_in(&model, &fewer, &test).unwrap();
    assert_eq!(report.users_without_history(), 1, "{report}");
    let other = Interactions::from_ratings([(1, 1)]).unwrap();
    assert!(matches!(
        RankingEvaluator::at([10]).evaluate_fold_in(&model, &other, &test),
        Err(Error::Shape { .. })
    ));
}

#[test]
fn reports_of_others_are_not_paired() {
    let rows: Vec<_> = log(200, 1).ratings().collect();
    let there = Interactions::from_ratings(rows.iter().cloned()).unwrap();
    let back = Interactions::from_ratings(rows.into_iter().rev()).unwrap();
    assert!(there.catalog().users.ids() != back.catalog().users.ids());
    let (train, test) = there.split(Split::LeaveLastOut { n: 3 }).unwrap();
    let held = |row: usize| {
        let rating = back.rating(row);
        test.ratings().any(|other| (other.user, other.item) == (rating.user, rating.item))
    };
    let reversed = back.filter_rows(|row| !held(row));
    let evaluator = RankingEvaluator::at([5]);
    let report = |train: &Interactions, evaluator: &RankingEvaluator, test: &Interactions| {
        evaluator.evaluate(&TopPop::new().fit(train).unwrap(), test).unwrap()
    };
    let own = report(&train, &evaluator, &test);
    let compare =
        |other: &RankingReport| PairedTest::new().resamples(50).compare(&own, other, metrics::Ndcg, 5);
    // A test log of its own catalogue, with rows in another order, asks the same.
    let turned = Interactions::from_ratings(test.ratings().collect::<Vec<_>>().into_iter().rev()).unwrap();
    let same = compare(&report(&train, &evaluator, &turned)).unwrap();
    assert_eq!((same.difference, same.p_value), (0.0, 1.0));
    // As many people of the same indices, but not the same people.
    let others = report(&reversed, &evaluator, &test);
    assert_eq!(others.users().len(), own.users().len());
    let stricter = report(&train, &evaluator.clone().relevant_from(2.0), &test);
    for other in [others, stricter] {
        assert!(matches!(compare(&other), Err(Error::Shape { .. })), "{other}");
    }
}
