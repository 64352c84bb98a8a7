//! Lists that are made over keep what holds of lists, do what each step says, and cost what is measured.

use cairn_recsys::rerank::{Boost, Calibration, Dpp, ItemGroups, Mmr, Quota, Rank, Reranking};
use cairn_recsys::{
    Als, AlsModel, Ease, Error, Estimator, Filter, Fitted, Interactions, ItemIdx, PairedTest,
    RankingEvaluator, Recommender, Result, Scored, Split, UserIdx, UserItems, metrics::Ndcg, synthetic,
};

fn model() -> Fitted<AlsModel> {
    Als::new().factors(8).fit(&synthetic::planted_groups(120, 90, 3, 10, 0.2, 3).unwrap()).unwrap()
}

fn kinds(model: &Fitted<AlsModel>) -> ItemGroups {
    ItemGroups::new(model.catalog(), |item| [format!("kind {}", item % 5), format!("half {}", item / 45)])
}

fn steps(model: &Fitted<AlsModel>) -> Vec<(&'static str, Reranking)> {
    let kinds = kinds(model);
    let vectors = &model.model().factors().items;
    let from = || Reranking::from_best(40);
    vec![
        ("nothing", from()),
        ("MMR", from().then(Mmr::new(0.5, vectors))),
        ("MMR by groups", from().then(Mmr::new(0.5, &kinds))),
        ("DPP", from().then(Dpp::new(0.5, vectors))),
        ("calibration", from().then(Calibration::new(0.7, &kinds))),
        ("at most", from().then(Quota::at_most(3, &kinds))),
        ("at least", from().then(Quota::at_least(4, "kind 2", &kinds))),
        ("boost", from().then(Boost::new(model.catalog(), |item| if item % 2 == 0 { 0.3 } else { 0.0 }))),
        (
            "all",
            from()
                .then(Mmr::new(0.7, vectors))
                .then(Calibration::new(0.3, &kinds))
                .then(Quota::at_most(4, &kinds)),
        ),
    ]
}

#[test]
fn lists_made_over_are_strict_and_of_the_best_candidates() {
    let model = model();
    let filter = Filter::unseen().only(|item: &u32| !item.is_multiple_of(7)).without([3, 11]);
    for (name, steps) in steps(&model) {
        for user in 0..40 {
            let best = model.recommend(&user, 40, &filter).unwrap();
            let list = model.recommend_reranked(&user, 8, &filter, &steps).unwrap();
            assert!(
                list.len() == 8 || (name == "at most" || name == "all") && list.len() >= 3,
                "{name}: {list:?}"
            );
            for (at, entry) in list.iter().enumerate() {
                assert!(best.contains(entry), "{name}: an item with its score");
                assert!(list[..at].iter().all(|other| other.id != entry.id), "{name}: {list:?}");
            }
            assert!(name != "nothing" || list == best[..8]);
        }
    }
}

fn lists(model: &Fitted<AlsModel>, steps: &Reranking) -> Vec<Vec<Scored<u32>>> {
    (0..60).map(|user| model.recommend_reranked(&user, 10, &Filter::unseen(), steps).unwrap()).collect()
}

#[test]
fn quotas_and_boosts_do_what_they_say() {
    let model = model();
    let kinds = kinds(&model);
    let of = |list: &[Scored<u32>], kind: u32| list.iter().filter(|entry| entry.id % 5 == kind).count();
    for list in lists(&model, &Reranking::from_best(60).then(Quota::at_most(2, &kinds))) {
        assert!((0..5).all(|kind| of(&list, kind) <= 2) && list.iter().filter(|e| e.id < 45).count() <= 2);
    }
    let plain = lists(&model, &Reranking::from_best(60));
    let least = lists(&model, &Reranking::from_best(60).then(Quota::at_least(4, "kind 2", &kinds)));
    for (before, after) in plain.iter().zip(&least) {
        assert_eq!((of(after, 2), after.len()), (of(before, 2).max(4), 10));
        assert!(after.is_sorted_by(|a, b| a.score >= b.score), "in the order they came in");
    }
    let pushed = Boost::new(model.catalog(), |item| if item % 5 == 2 { 1.5 } else { 0.0 });
    for list in lists(&model, &Reranking::from_best(60).then(pushed)) {
        let first = list.iter().take_while(|entry| entry.id % 5 == 2).count();
        assert_eq!(first, of(&list, 2), "all that are pushed come first");
        assert!(first > 5);
    }
}

#[test]
fn calibrated_lists_are_nearer_to_the_history_and_varied_ones_less_alike() {
    let model = model();
    let kinds = kinds(&model);
    let calibration = Calibration::new(0.9, &kinds);
    let index = |item: &u32| model.catalog().item(item).unwrap();
    let divergence = |lists: &[Vec<Scored<u32>>]| -> f64 {
        let of = |(user, list): (u32, &Vec<Scored<u32>>)| {
            let items: Vec<ItemIdx> = list.iter().map(|entry| index(&entry.id)).collect();
            let history = model.seen().row(model.catalog().user(&user).unwrap()).0;
            calibration.divergence(history, &items).unwrap()
        };
        (0..).zip(lists).map(of).sum()
    };
    let plain = divergence(&lists(&model, &Reranking::from_best(50)));
    let calibrated = divergence(&lists(&model, &Reranking::from_best(50).then(calibration.clone())));
    assert!(calibrated < 0.5 * plain, "{calibrated} of {plain}");
    let items: Vec<ItemIdx> = (0..10).map(ItemIdx).collect();
    assert!(calibration.divergence(&items, &items).unwrap().abs() < 1e-9);
    assert_eq!(calibration.divergence(&[], &items), None);

    let (train, test) =
        synthetic::planted_groups(120, 90, 3, 10, 0.2, 3).unwrap().split(Split::per_user(0.3, 0)).unwrap();
    let model = Ease::new(10.0).fit(&train).unwrap();
    let groups = ItemGroups::new(model.catalog(), |item| [format!("{}", item % 3)]);
    let evaluator = RankingEvaluator::at([10]).list_quality();
    let before = evaluator.evaluate(&model, &test).unwrap();
    for steps in [
        Reranking::from_best(40).then(Mmr::new(0.3, &groups)),
        Reranking::from_best(40).then(Dpp::new(0.3, &groups)),
    ] {
        let after = evaluator.evaluate_reranked(&model, &test, &steps).unwrap();
        let diversity = |report: &cairn_recsys::RankingReport| report.list_quality(10).unwrap().diversity;
        assert!(diversity(&after) > diversity(&before));
        // Everybody likes one group: to show the others has its price.
        let cost = PairedTest::new().compare(&after, &before, Ndcg, 10).unwrap();
        assert!(cost.difference < 0.0 && cost.interval.1 < 0.0 && cost.p_value < 0.01, "{cost}");
    }
    let same = evaluator.evaluate_reranked(&model, &test, &Reranking::from_best(10)).unwrap();
    assert_eq!(same, before, "without steps nothing changes");
}

/// A model of another catalogue would rank other items for somebody else, though there are as many of both.
#[test]
fn a_model_that_ranks_has_the_ids_of_the_candidates() {
    let log = synthetic::planted_groups(120, 90, 3, 10, 0.2, 3).unwrap();
    let candidates = Als::new().factors(8).fit(&log).unwrap();
    let ask = |ranker: &Fitted<AlsModel>, user: u32| {
        let steps = Reranking::from_best(30).then(Rank::by(ranker));
        candidates.recommend_reranked(&user, 10, &Filter::unseen(), &steps)
    };
    let with = |ids: &dyn Fn(u32, u32) -> (u32, u32)| {
        let rows = log.ratings().map(|row| (ids(row.user, row.item), row.value));
        let other =
            Interactions::from_ratings(rows.map(|((user, item), value)| (user, item, value))).unwrap();
        assert_eq!((other.n_users(), other.n_items()), (log.n_users(), log.n_items()));
        Als::new().factors(4).fit(&other).unwrap()
    };
    // The same ids, whatever keeps them.
    let (same, shared) = (with(&|user, item| (user, item)), Als::new().factors(4).fit(&log).unwrap());
    assert_eq!(ask(&same, 5).unwrap(), ask(&shared, 5).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ranker");
    shared.save(&path).unwrap();
    let steps = Reranking::from_best(30).then(Rank::by(&Fitted::<AlsModel>::load(&path).unwrap()));
    for _ in 0..2 {
        let list = candidates.recommend_reranked(&5, 10, &Filter::unseen(), &steps).unwrap();
        assert_eq!(list, ask(&shared, 5).unwrap());
    }
    let refused = |ranker: Fitted<AlsModel>, what: &str| {
        let error = ask(&ranker, 5).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    refused(with(&|user, item| (user, 89 - item)), "as item 0");
    refused(with(&|user, item| (user, item + 1000)), "as item 0");
    let at = log.catalog().user(&5).unwrap().0;
    refused(with(&|user, item| (user + 1000, item)), &format!("5 as user {at}, found 1005"));
    // Ids of other types are of another catalogue; users of other names alone do no harm to those of the same.
    let texts = Interactions::from_ratings(log.ratings().map(|row| (row.user, u64::from(row.item)))).unwrap();
    let steps = Reranking::from_best(30).then(Rank::by(&Als::new().factors(4).fit(&texts).unwrap()));
    let error = candidates.recommend_reranked(&5, 10, &Filter::unseen(), &steps).unwrap_err();
    assert!(error.to_string().contains("items of type u64"), "{error}");
    let renamed = with(&|user, item| (if user == 77 { 1077 } else { user }, item));
    assert_eq!(ask(&renamed, 5).unwrap(), ask(&shared, 5).unwrap());
    assert!(matches!(ask(&renamed, 77), Err(Error::Shape { .. })));
}

/// Scores by number, also of what nobody met and for who met nothing.
#[derive(Debug)]
struct ByNumber(usize, usize);

impl Recommender for ByNumber {
    fn name(&self) -> &'static str {
        "by number"
    }
    fn n_users(&self) -> usize {
        self.0
    }
    fn n_items(&self) -> usize {
        self.1
    }
    fn score_users(&self, _: &UserItems, _: &[UserIdx], out: &mut [f32]) -> Result<()> {
        out.iter_mut().enumerate().for_each(|(at, score)| *score = (at % self.1) as f32);
        Ok(())
    }
}

#[test]
fn a_model_that_ranks_lets_alone_what_it_knows_nothing_of() {
    let log = synthetic::planted_groups(120, 90, 3, 10, 0.2, 3).unwrap();
    let log = log.with_items([1000, 1001]).unwrap().with_users([2000]).unwrap();
    let candidates = Als::new().factors(8).fit(&log).unwrap();
    let ranker = ByNumber(log.n_users(), log.n_items());
    let ranker = Fitted::new(ranker, log.catalog().clone(), log.user_items()).unwrap();
    let steps = Reranking::from_best(92).then(Rank::by(&ranker));
    let reranked = |user: u32| candidates.recommend_reranked(&user, 92, &Filter::all(), &steps).unwrap();
    let before = candidates.recommend(&5, 92, &Filter::all()).unwrap();
    let list = reranked(5);
    assert_eq!(list.len(), 92);
    assert_eq!(list[90..], before[90..], "the last, in the order that they had");
    let number = |entry: &Scored<u32>| log.catalog().item(&entry.id).unwrap();
    assert!(list[..90].is_sorted_by(|a, b| number(a) > number(b)), "{list:?}");
    assert_eq!(reranked(2000), candidates.recommend(&2000, 92, &Filter::all()).unwrap());
}

#[test]
fn what_cannot_be_done_is_named() {
    let model = model();
    let kinds = kinds(&model);
    let ask = |steps: Reranking| model.recommend_reranked(&1, 10, &Filter::unseen(), &steps).unwrap_err();
    let parameter =
        |error: &Error, name: &str| matches!(error, Error::Parameter { name: said, .. } if *said == name);
    assert!(parameter(&ask(Reranking::from_best(9)), "candidates"));
    assert!(parameter(&ask(Reranking::from_best(20).then(Mmr::new(-0.1, &kinds))), "relevance"));
    assert!(parameter(&ask(Reranking::from_best(20).then(Calibration::new(1.1, &kinds))), "weight"));
    assert!(parameter(&ask(Reranking::from_best(20).then(Quota::at_most(0, &kinds))), "at most"));
    assert!(parameter(&ask(Reranking::from_best(20).then(Quota::at_least(1, "none", &kinds))), "group"));
    let nan = Boost::new(model.catalog(), |_| f32::NAN);
    assert!(parameter(&ask(Reranking::from_best(20).then(nan)), "boost"));
    let other = Als::new().factors(4).fit(&synthetic::planted_groups(30, 30, 3, 5, 0.0, 1).unwrap()).unwrap();
    let foreign = ItemGroups::new(other.catalog(), |item| [item.to_string()]);
    assert!(matches!(ask(Reranking::from_best(20).then(Mmr::new(0.5, &foreign))), Error::Shape { .. }));
    assert!(matches!(ask(Reranking::from_best(20).then(Quota::at_most(1, &foreign))), Error::Shape { .. }));
    let zero = model.recommend_reranked(&1, 0, &Filter::unseen(), &Reranking::from_best(5)).unwrap_err();
    assert!(parameter(&zero, "k"));
}
