//! The contract of lists and the figures of the evaluation, against naive definitions.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_recsys::{
    AnyModel, Bpr, Error, Estimator, Filter, Fitted, Interactions, ItemIdx, PureSvd, RankingEvaluator,
    RankingMetric, Recommender, Result, Split, TopPop, UserIdx, UserItems, UserKnn, metrics,
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
                let index = |id: &u32| log.catalog().item(id).unwrap();
                prop_assert!(list.windows(2).all(|w| w[0].score > w[1].score
                    || (w[0].score == w[1].score && index(&w[0].id) < index(&w[1].id))));
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
    let other = Interactions::from_ratings([(1, 1)]).unwrap();
    assert!(matches!(
        RankingEvaluator::at([10]).evaluate_fold_in(&model, &other, &test),
        Err(Error::Shape { .. })
    ));
}
