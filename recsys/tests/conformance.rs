//! What every model must do, on a log with planted groups. A new model is one line in `every_model`.

use std::fmt::Debug;

use cairn_recsys::rating::{
    Baseline, BaselineMethod, BiasedMf, Nmf, RatingKnn, Similarity, SlopeOne, SvdPlusPlus,
};
use cairn_recsys::{
    Als, AlsSolver, Bpr, Confidence, Ease, Error, Filter, Fit, Fitted, Interactions, ItemKnn, KnnWeighting,
    PureSvd, Rp3Beta, Saved, Slim, TopPop, UserIdx, UserKnn, synthetic,
};

const GROUPS: u32 = 3;

/// What a model is excused from, because its kind cannot do it.
#[derive(Clone, Copy, Default)]
struct Excused {
    /// Says the same to everybody, or goes by ratings, which here are drawn by chance.
    groups: bool,
    fold_in: bool,
    /// Folding in ends near the trained vector, not at it; tests/ratings.rs says how near.
    fold_in_is_near: bool,
    explanation: bool,
    /// Explains the difference from a mean or a baseline, not the score.
    explains_difference: bool,
    similar_items: bool,
}

fn every_model() {
    let none = Excused::default();
    let no_explanation = Excused { explanation: true, ..none };
    let no_fold_in = Excused { fold_in: true, explanation: true, ..none };
    conforms(&TopPop::new(), Excused { groups: true, explanation: true, similar_items: true, ..none });
    conforms(&PureSvd::new(6), none);
    for solver in
        [AlsSolver::Cholesky, AlsSolver::ConjugateGradient { steps: 3 }, AlsSolver::Blocks { size: 16 }]
    {
        conforms(&Als::new().factors(20).solver(solver), none);
    }
    conforms(&Als::new().factors(8).confidence(Confidence::Linear(0.5)), none);
    conforms(&Als::new().factors(8).confidence(Confidence::Log(1.0)).frequency_exponent(0.0), none);
    for weighting in [KnnWeighting::Cosine, KnnWeighting::TfIdf, KnnWeighting::bm25()] {
        conforms(&ItemKnn::new(20).weighting(weighting).shrink(2.0), none);
        let settings = UserKnn::new(20).weighting(weighting).shrink(2.0);
        conforms(&settings, Excused { similar_items: true, ..no_explanation });
    }
    conforms(&Rp3Beta::new().neighbours(20), none);
    conforms(&Ease::new(10.0), none);
    conforms(&Slim::new().l2(5.0), none);
    conforms(&Bpr::new().factors(8).epochs(60), no_fold_in);
    ratings();
}

fn ratings() {
    let none = Excused { groups: true, ..Excused::default() };
    let not_by_item = Excused { explanation: true, similar_items: true, ..none };
    let near = Excused { fold_in_is_near: true, explanation: true, ..none };
    conforms(&Baseline::new(), not_by_item);
    let sgd = Baseline::new().method(BaselineMethod::SGD);
    conforms(&sgd, Excused { fold_in: true, ..not_by_item });
    conforms(&BiasedMf::new().factors(10), near);
    conforms(&SvdPlusPlus::new().factors(10), near);
    conforms(&Nmf::new().factors(5), near);
    conforms(&SlopeOne::new(), Excused { similar_items: true, ..none });
    for similarity in [Similarity::Cosine, Similarity::Msd, Similarity::Pearson, Similarity::PEARSON_BASELINE]
    {
        for settings in [RatingKnn::new(), RatingKnn::with_means(), RatingKnn::with_baseline()] {
            let difference = settings != RatingKnn::new();
            let settings = settings.similarity(similarity).neighbours(10);
            conforms(&settings, not_by_item);
            conforms(&settings.item_based(), Excused { explains_difference: difference, ..none });
        }
    }
}

#[test]
fn every_model_conforms() {
    every_model();
}

fn log() -> Interactions {
    synthetic::planted_groups(150, 90, GROUPS, 12, 0.05, 7).unwrap()
}

fn conforms<F: Fit + Debug>(settings: &F, excused: Excused)
where
    F::Model: Saved + PartialEq,
{
    let log = log();
    let model = settings.fit(&log).unwrap_or_else(|e| panic!("{settings:?}: {e}"));
    recovers_groups(&model, settings, excused);
    keeps_filters(&model, settings);
    folds_in(&model, settings, excused);
    explains(&model, settings, excused);
    finds_similar(&model, settings, excused);
    saves_and_loads(&model, settings);
    refuses_unknown_ids(&model);
    repeats_for_any_number_of_threads(settings, &log);
    survives_odd_logs(settings);
}

fn recovers_groups<M: Saved>(model: &Fitted<M>, settings: &dyn Debug, excused: Excused) {
    let (mut right, mut all) = (0, 0);
    for &user in model.catalog().users.ids() {
        let list = model.recommend(&user, 5, &Filter::unseen()).unwrap();
        assert_eq!(list.len(), 5);
        right += list.iter().filter(|e| e.id % GROUPS == user % GROUPS).count();
        all += list.len();
    }
    let share = right as f64 / f64::from(all as u32);
    assert!(excused.groups || share > 0.95, "{settings:?}: only {share} within the group");
}

fn keeps_filters<M: Saved>(model: &Fitted<M>, settings: &dyn Debug) {
    let users = model.catalog().users.ids();
    let even = Filter::unseen().only(|item: &u32| item.is_multiple_of(2)).without([4, 10]);
    let many = model.recommend_many(users, 7, &even).unwrap();
    for (user, list) in users.iter().zip(many) {
        let seen = model.seen().row(model.catalog().user(user).unwrap()).0;
        for entry in &list {
            assert!(entry.score.is_finite() && entry.id.is_multiple_of(2) && entry.id != 4 && entry.id != 10);
            let item = model.catalog().item(&entry.id).unwrap();
            assert!(!seen.contains(&item), "{settings:?}: {} was seen", entry.id);
        }
        let one = model.recommend(user, 7, &even).unwrap();
        let close =
            one.iter().zip(&list).all(|(a, b)| (a.score - b.score).abs() <= 1e-5 * (1.0 + a.score.abs()));
        assert!(one.len() == list.len() && close, "{settings:?}: one by one and in a block differ");
    }
}

fn history(model: &Fitted<impl Saved>, user: UserIdx) -> Vec<(u32, f32)> {
    let (items, values) = model.seen().row(user);
    items.iter().zip(values).map(|(&i, &v)| (*model.catalog().items.id(i), v)).collect()
}

fn folds_in<M: Saved>(model: &Fitted<M>, settings: &dyn Debug, excused: Excused) {
    for user in (0..20).map(UserIdx) {
        let mut history = history(model, user);
        history.reverse();
        let folded = model.recommend_for(&history, 8, &Filter::unseen());
        if excused.fold_in {
            assert!(matches!(folded, Err(Error::Unsupported { .. })), "{settings:?} can fold in after all");
            return;
        }
        let folded = folded.unwrap();
        let trained = model.recommend(model.catalog().users.id(user), 8, &Filter::unseen()).unwrap();
        for (a, b) in trained.iter().zip(&folded).filter(|_| !excused.fold_in_is_near) {
            assert!((a.score - b.score).abs() <= 1e-4 * (1.0 + a.score.abs()), "{settings:?}: {a:?} {b:?}");
        }
        assert_eq!(trained.len(), folded.len());
    }
}

fn explains<M: Saved>(model: &Fitted<M>, settings: &dyn Debug, excused: Excused) {
    for user in model.catalog().users.ids().iter().take(10) {
        let best = model.recommend(user, 1, &Filter::unseen()).unwrap()[0];
        match model.explain(user, &best.id) {
            Err(Error::Unsupported { .. }) if excused.explanation => return,
            Err(e) => panic!("{settings:?}: {e}"),
            Ok(shares) => {
                assert!(!excused.explanation, "{settings:?} can explain after all");
                let sum: f32 = shares.iter().map(|s| s.score).sum();
                let close = (sum - best.score).abs() <= 1e-3 * (1.0 + best.score.abs());
                assert!(
                    close || excused.explains_difference,
                    "{settings:?}: shares add up to {sum}, not {}",
                    best.score
                );
                assert!(shares.is_sorted_by(|a, b| a.score >= b.score));
            }
        }
    }
}

fn finds_similar<M: Saved>(model: &Fitted<M>, settings: &dyn Debug, excused: Excused) {
    match model.similar_items(&0, 5) {
        Err(Error::Unsupported { .. }) => assert!(excused.similar_items, "{settings:?}"),
        Err(e) => panic!("{settings:?}: {e}"),
        Ok(list) => {
            assert!(!excused.similar_items && list.iter().all(|e| e.id != 0));
            let own = list.iter().filter(|e| e.id % GROUPS == 0).count();
            assert!(own >= 4 || excused.groups, "{settings:?}: {list:?}");
        }
    }
}

fn saves_and_loads<M: Saved + PartialEq>(model: &Fitted<M>, settings: &dyn Debug) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    model.save(&path).unwrap();
    let loaded = Fitted::<M>::load(&path).unwrap();
    assert!(loaded.model() == model.model() && loaded.seen() == model.seen(), "{settings:?}");
    let users = model.catalog().users.ids();
    let lists = |m: &Fitted<M>| m.recommend_many(users, 10, &Filter::unseen()).unwrap();
    assert_eq!(lists(model), lists(&loaded), "{settings:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
}

fn refuses_unknown_ids<M: Saved>(model: &Fitted<M>) {
    assert!(matches!(model.recommend(&9999, 5, &Filter::unseen()), Err(Error::UnknownUser(_))));
    assert!(matches!(model.score(&0, &9999), Err(Error::UnknownItem(_))));
    assert!(matches!(model.explain(&0, &9999), Err(Error::UnknownItem(_))));
    assert!(matches!(model.recommend_for(&[(9999, 1.0)], 5, &Filter::unseen()), Err(Error::UnknownItem(_))));
    assert!(matches!(model.recommend(&0, 0, &Filter::unseen()), Err(Error::Parameter { .. })));
    assert!(model.recommend(&0, 100_000, &Filter::unseen()).unwrap().len() < 90);
}

fn repeats_for_any_number_of_threads<F: Fit + Debug>(settings: &F, log: &Interactions)
where
    F::Model: PartialEq,
{
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| settings.fit(log).unwrap())
    };
    assert!(run(1).model() == run(3).model(), "{settings:?}: other bits with other threads");
}

/// A single user, a single item, a user without training rows: a list or an error, never a panic or a NaN.
fn survives_odd_logs<F: Fit + Debug>(settings: &F) {
    let rows: &[&[(u32, u32)]] = &[&[(1, 1)], &[(1, 1), (1, 2), (1, 3)], &[(1, 1), (2, 1), (3, 1)]];
    for rows in rows {
        let log = Interactions::from_ratings(rows.iter().copied()).unwrap();
        if let Ok(model) = settings.fit(&log) {
            for user in log.catalog().users.ids() {
                let list = model.recommend(user, 5, &Filter::all()).unwrap();
                assert!(list.iter().all(|e| e.score.is_finite()), "{settings:?}");
            }
        }
    }
    let log = synthetic::planted_groups(30, 30, 3, 6, 0.0, 1).unwrap();
    let part = log.filter_rows(|row| log.users()[row] != UserIdx(4));
    let model = settings.fit(&part).unwrap();
    let nobody = model.recommend(log.catalog().users.id(UserIdx(4)), 5, &Filter::unseen()).unwrap();
    assert!(nobody.iter().all(|e| e.score.is_finite()), "{settings:?}");
    let empty = log.filter_rows(|_| false);
    assert!(matches!(settings.fit(&empty), Err(Error::Empty { .. })), "{settings:?}");
}
