//! What every model must do, on a log with planted groups: each operation of `Fitted` is asked of each model. What a model
//! cannot do or does otherwise is an excuse of its line. A new model is one line in `rankings` or `ratings`; with features models are
//! asked in `described`.

use std::collections::HashSet;
use std::fmt::Debug;

use cairn_recsys::rating::{
    Baseline, BaselineMethod, BiasedMf, CoClustering, Nmf, RatingKnn, Similarity, SlopeOne, SvdPlusPlus,
};
use cairn_recsys::{
    Als, AlsSolver, AnyModel, Bpr, Confidence, Ease, Error, Estimator, Filter, Fitted, GfCf, Interactions,
    ItemIdx, ItemKnn, KnnWeighting, PureSvd, RankingEvaluator, Recommender, Rp3Beta, Saved, Scored, Slim,
    TopPop, UserIdx, UserKnn, metrics, synthetic,
};

pub(super) const GROUPS: u32 = 3;

/// What a model is excused from, because its kind cannot do it.
#[derive(Clone, Copy, Default)]
pub(super) struct Excused {
    /// Says the same to everybody, or goes by ratings, which here are drawn by chance.
    pub(super) groups: bool,
    /// Likeness of items goes by ratings, too.
    pub(super) alike_items: bool,
    /// Likeness of users goes by ratings, too.
    pub(super) alike_users: bool,
    /// Folding in ends near the trained vector, not at it; `ratings` and `models` say how near.
    pub(super) fold_in_is_near: bool,
    /// Folds in through dense layers, whose scores of one group lie close together, so that lists have half in common.
    pub(super) fold_in_is_rough: bool,
    /// Knows users of training by features, too, which a history does not say: the list is another one of the same group.
    pub(super) fold_in_lacks_features: bool,
    /// Is no sum over the items of a history.
    pub(super) explanation: bool,
    /// Explains the difference from a mean or a baseline, not the score.
    pub(super) explains_difference: bool,
}

#[test]
fn rankings() {
    let none = Excused::default();
    let no_explanation = Excused { explanation: true, ..none };
    conforms(&TopPop::new(), Excused { groups: true, ..no_explanation });
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
        conforms(&UserKnn::new(20).weighting(weighting).shrink(2.0), no_explanation);
    }
    conforms(&Rp3Beta::new().neighbours(20), none);
    conforms(&Ease::new(10.0), none);
    conforms(&GfCf::new().factors(10), none);
    conforms(&Slim::new().l2(5.0), none);
    conforms(&Bpr::new().factors(8).epochs(60), Excused { fold_in_is_near: true, ..no_explanation });
}

#[test]
fn ratings() {
    let none = Excused { groups: true, ..Excused::default() };
    let no_explanation = Excused { explanation: true, ..none };
    let alike = Excused { alike_items: true, alike_users: true, ..none };
    let factors = Excused { fold_in_is_near: true, explanation: true, ..alike };
    conforms(&Baseline::new(), no_explanation);
    let sgd = Baseline::new().method(BaselineMethod::SGD);
    conforms(&sgd, Excused { fold_in_is_near: true, ..no_explanation });
    // Long enough that the random start is forgotten.
    let by_steps = BiasedMf::new().factors(10).epochs(100).learning_rate(0.03);
    conforms(&by_steps, factors);
    conforms(&by_steps.biased(false), factors);
    conforms(&SvdPlusPlus::new().factors(10).epochs(100).learning_rate(0.03), factors);
    conforms(&Nmf::new().factors(5), factors);
    conforms(&SlopeOne::new(), none);
    conforms(&CoClustering::new(), factors);
    let by_steps = RatingKnn::with_baseline().baseline(BaselineMethod::SGD).item_based();
    conforms(
        &by_steps,
        Excused { fold_in_is_near: true, alike_items: true, explains_difference: true, ..none },
    );
    for similarity in [Similarity::Cosine, Similarity::Msd, Similarity::Pearson, Similarity::PEARSON_BASELINE]
    {
        for settings in [
            RatingKnn::new(),
            RatingKnn::with_means(),
            RatingKnn::with_z_scores(),
            RatingKnn::with_baseline(),
        ] {
            let difference = settings != RatingKnn::new();
            let settings = settings.similarity(similarity).neighbours(10);
            conforms(&settings, Excused { alike_users: true, ..no_explanation });
            let by_items = Excused { alike_items: true, explains_difference: difference, ..none };
            conforms(&settings.item_based(), by_items);
        }
    }
}

#[test]
fn models_with_features() {
    use cairn_recsys::features::{FeatureAls, LightFm, LightFmLoss};
    let excused = Excused { explanation: true, fold_in_is_near: true, ..Excused::default() };
    for loss in [LightFmLoss::Warp, LightFmLoss::Bpr, LightFmLoss::Logistic] {
        conforms(&LightFm::new().factors(8).epochs(60).learning_rate(0.1).loss(loss), excused);
    }
    // Without features it is ALS, which folds in exactly.
    let exact = Excused { explanation: true, ..Excused::default() };
    conforms(&FeatureAls::new(Als::new().factors(8)), exact);
}

#[cfg(feature = "neural")]
#[test]
fn models_of_sequences() {
    use cairn_recsys::{Bert4Rec, Gru4Rec, Sasrec, SequenceLoss};
    let excused = Excused { explanation: true, ..Excused::default() };
    let few = SequenceLoss::SampledSoftmax { negatives: 40, popularity: 0.5 };
    let gbce = SequenceLoss::Gbce { negatives: 20, calibration: 0.75 };
    let sasrec = Sasrec::new().dim(16).max_length(12).blocks(1).batch_size(32).epochs(40);
    let sasrec = sasrec.learning_rate(0.01).patience(None);
    conforms(&sasrec, excused);
    conforms(&sasrec.clone().loss(few), excused);
    // Without a bias it takes gSASRec's loss a while to leave the popularity of items behind; what is learned is looked at once.
    let sasrec_of_gbce = sasrec.clone().loss(gbce);
    let alike = Excused { groups: true, alike_items: true, alike_users: true, ..excused };
    conforms(&sasrec_of_gbce.clone().epochs(20), alike);
    let settings = sasrec_of_gbce.epochs(150);
    let learned = settings.fit(&log()).unwrap();
    recovers_groups(&learned, &settings, excused);
    finds_similar(&learned, &settings, excused);
    conforms(&sasrec.heads(2).patience(Some(20)), excused);
    let gru = Gru4Rec::new().dim(16).max_length(12).batch_size(32).epochs(40).learning_rate(0.02);
    // Its one table of items is what it reads as well as what it scores by, and reads more than likeness out of it.
    conforms(&gru.patience(None), Excused { alike_items: true, ..excused });
    let bert = Bert4Rec::new().dim(16).max_length(14).blocks(1).batch_size(32).epochs(60).learning_rate(0.01);
    conforms(&bert.patience(None), Excused { alike_items: true, ..excused });
}

#[cfg(feature = "neural")]
#[test]
fn networks_of_sets() {
    use cairn_recsys::{LightGcn, MultVae};
    let excused = Excused { explanation: true, ..Excused::default() };
    let vae = MultVae::new().hidden(24).latent(8).batch_size(50).epochs(60).learning_rate(5e-3);
    conforms(&vae, excused);
    let gcn = LightGcn::new().factors(8).layers(2).batch_size(256).epochs(20).learning_rate(0.02);
    conforms(&gcn, Excused { fold_in_is_near: true, ..excused });
}

#[cfg(feature = "neural")]
#[test]
fn a_factorisation_beside_dense_layers() {
    use cairn_recsys::NeuMf;
    let settings = NeuMf::new().factors(8).hidden([16, 8]).batch_size(128).learning_rate(0.01);
    let alike = Excused { alike_items: true, alike_users: true, ..Excused::default() };
    conforms(
        &settings,
        Excused { explanation: true, fold_in_is_near: true, fold_in_is_rough: true, ..alike },
    );
}

#[cfg(feature = "neural")]
#[test]
fn networks_with_features() {
    use cairn_recsys::features::{FactorizationMachine, TwoTower};
    let excused = Excused { explanation: true, fold_in_is_near: true, ..Excused::default() };
    let machine = FactorizationMachine::new().factors(8).batch_size(128).epochs(20);
    conforms(&machine, excused);
    // What its layers say of somebody goes by what the vectors were trained for together with them.
    let towers = TwoTower::new().factors(8).batch_size(128).epochs(30).learning_rate(0.01);
    let exact = Excused { fold_in_is_near: false, ..excused };
    conforms(&towers.clone().hidden([16]), exact);
    conforms(&towers.hidden(Vec::new()), exact);
    let deep = Excused { alike_items: true, alike_users: true, fold_in_is_rough: true, ..excused };
    let machine = machine.hidden([16]);
    conforms(&machine, deep);
    conforms(&machine.pairs(false), deep);
}

/// Times are those of the draws, from 0 for each user.
pub(super) fn log() -> Interactions {
    synthetic::planted_groups(150, 90, GROUPS, 12, 0.05, 7).unwrap()
}

fn conforms<F: Estimator + Clone + Debug>(settings: &F, excused: Excused)
where
    F::Model: Saved + PartialEq,
{
    conforms_on(&|_| settings.clone(), excused);
    knows_what_it_does_not_know(settings);
}

/// For settings that are of a log, as features of its users and items are; the model of [`log`].
pub(super) fn conforms_on<F: Estimator + Debug>(
    settings_of: &dyn Fn(&Interactions) -> F,
    excused: Excused,
) -> Fitted<F::Model>
where
    F::Model: Saved + PartialEq,
{
    let log = log();
    let settings = &settings_of(&log);
    let (model, report) = settings.fit_reported(&log).unwrap_or_else(|e| panic!("{settings:?}: {e}"));
    assert_eq!((report.users, report.items, report.interactions), (150, 90, log.len()), "{settings:?}");
    assert_eq!((report.model, &report.progress[..]), (model.model().name(), model.model().progress()));
    assert!(report.progress.iter().all(|x| x.is_finite()) && report.seconds >= 0.0, "{settings:?}");
    recovers_groups(&model, settings, excused);
    keeps_filters(&model, settings);
    folds_in(&model, settings, excused);
    explains(&model, settings, excused);
    finds_similar(&model, settings, excused);
    answers_sessions(&model, settings);
    is_evaluated_by_its_lists(&model, &log, settings);
    saves_and_loads(&model, settings);
    is_the_same_in_a_box(&model, settings);
    refuses_unknown_ids(&model);
    repeats_for_any_number_of_threads(settings, &log);
    survives_odd_logs(settings_of);
    model
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
    if let Some(items) = model.model().sequence(user) {
        return items.iter().map(|&i| (*model.catalog().items.id(i), 1.0)).collect();
    }
    let (items, values) = model.seen().row(user);
    items.iter().zip(values).map(|(&i, &v)| (*model.catalog().items.id(i), v)).collect()
}

fn folds_in<M: Saved>(model: &Fitted<M>, settings: &dyn Debug, excused: Excused) {
    let (mut common, mut own, mut all) = (0, 0, 0);
    for user in (0..40).map(UserIdx) {
        let mut history = history(model, user);
        let folded = model.recommend_for(&history, 8, &Filter::unseen()).unwrap();
        history.reverse();
        let backwards = model.recommend_for(&history, 8, &Filter::unseen()).unwrap();
        assert!(model.model().knows_order() || folded == backwards, "{settings:?}");
        let items: Vec<ItemIdx> =
            history.iter().rev().map(|(id, _)| model.catalog().item(id).unwrap()).collect();
        let values: Vec<f32> = history.iter().rev().map(|&(_, value)| value).collect();
        if let Ok(vector) = model.model().fold_in_vector(&items, &values) {
            let table = &model.model().inner_product().expect("who has a vector scores by it").items;
            for entry in &folded {
                let other = table.get(model.catalog().item(&entry.id).unwrap().0 as usize);
                let score: f32 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                assert!((score - entry.score).abs() <= 1e-4 * (1.0 + score.abs()), "{settings:?}");
            }
        }
        let trained = model.recommend(model.catalog().users.id(user), 8, &Filter::unseen()).unwrap();
        let near = excused.fold_in_is_near || excused.fold_in_lacks_features;
        for (a, b) in trained.iter().zip(&folded).filter(|_| !near) {
            assert!((a.score - b.score).abs() <= 1e-4 * (1.0 + a.score.abs()), "{settings:?}: {a:?} {b:?}");
        }
        assert_eq!(trained.len(), folded.len());
        assert!(folded.iter().all(|e| !history.iter().any(|&(item, _)| item == e.id)), "{settings:?}");
        common += folded.iter().filter(|e| trained.iter().any(|t| t.id == e.id)).count();
        let group = model.catalog().users.id(user) % GROUPS;
        own += folded.iter().filter(|e| e.id % GROUPS == group).count();
        all += trained.len();
    }
    if excused.fold_in_lacks_features {
        let share = own as f64 / f64::from(all as u32);
        assert!(share > 0.9, "{settings:?}: {share} of the group");
        return;
    }
    let share = common as f64 / f64::from(all as u32);
    let least = match (excused.fold_in_is_rough, excused.fold_in_is_near) {
        (true, _) => 0.5,
        (_, true) => 0.8,
        _ => 0.99,
    };
    assert!(share > least, "{settings:?}: {share} in common");
}

/// A session is the history of somebody unknown; after that of a user of training it goes on from there.
fn answers_sessions<M: Saved>(model: &Fitted<M>, settings: &dyn Debug) {
    let unseen = Filter::unseen();
    let ones: Vec<(u32, f32)> = [3, 9, 6].map(|item| (item, 1.0)).to_vec();
    let list = model.recommend_session(&[3, 9, 6], 8, &unseen).unwrap();
    assert_eq!(list, model.recommend_for(&ones, 8, &unseen).unwrap(), "{settings:?}");
    let again = model.recommend_session(&[3, 3, 9, 6], 8, &unseen).unwrap();
    assert!(model.model().knows_order() || list == again, "{settings:?}: an item met twice");
    assert_eq!(list, model.recommend_session(&[3, 9, 9999, 6], 8, &unseen).unwrap(), "{settings:?}");
    assert!(matches!(model.recommend_session(&[], 5, &unseen), Err(Error::Empty { .. })));
    assert!(matches!(model.recommend_session(&[9999], 5, &unseen), Err(Error::UnknownItem(_))));
    assert!(matches!(model.recommend_session(&[3], 0, &unseen), Err(Error::Parameter { .. })));
    let known = model.recommend(&7, 8, &unseen).unwrap();
    assert_eq!(known, model.recommend_next(&7, &[], 8, &unseen).unwrap(), "{settings:?}");
    assert_eq!(known, model.recommend_next(&7, &[9999], 8, &unseen).unwrap(), "{settings:?}");
    let next = model.recommend_next(&7, &[known[0].id, known[1].id], 8, &unseen).unwrap();
    let met = model.seen().row(model.catalog().user(&7).unwrap()).0;
    let out = |item: u32| {
        item == known[0].id || item == known[1].id || met.contains(&model.catalog().item(&item).unwrap())
    };
    assert!(!next.iter().any(|entry| out(entry.id)), "{settings:?}");
    assert!(matches!(model.recommend_next(&9999, &[3], 5, &unseen), Err(Error::UnknownUser(_))));
}

/// Hits counted in the lists are those of the report, and people are judged who are folded in, of whom some are enough.
fn is_evaluated_by_its_lists<M: Saved>(model: &Fitted<M>, log: &Interactions, settings: &dyn Debug) {
    let test = synthetic::planted_groups(150, 90, GROUPS, 12, 0.05, 8).unwrap();
    let met: HashSet<(u32, u32)> = test.ratings().map(|row| (row.user, row.item)).collect();
    let report = RankingEvaluator::at([5]).evaluate(model, &test).unwrap();
    let users: Vec<u32> = report.users().iter().map(|&user| *model.catalog().users.id(user)).collect();
    assert_eq!(users.len(), 150, "{settings:?}");
    let lists = model.recommend_many(&users, 5, &Filter::unseen()).unwrap();
    let precision = report.per_user(metrics::Precision, 5).unwrap();
    for ((user, list), precision) in users.iter().zip(&lists).zip(precision) {
        let hits = list.iter().filter(|entry| met.contains(&(*user, entry.id))).count();
        assert_eq!(precision, hits as f64 / 5.0, "{settings:?}: user {user}");
    }
    let some = test.filter_rows(|row| test.users()[row].0 < 30);
    let folded = RankingEvaluator::at([5]).evaluate_fold_in(model, log, &some).unwrap();
    assert_eq!(folded.users().len(), 30, "{settings:?}");
    assert!(folded.mean(metrics::Ndcg, 5).is_some_and(|ndcg| (0.0..=1.0).contains(&ndcg)), "{settings:?}");
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
    let check = |list: Vec<Scored<u32>>, x: u32, all: usize, excused: bool| {
        assert!(
            !list.is_empty() && list.iter().all(|e| e.id != x && e.score.is_finite()),
            "{settings:?}: {list:?}"
        );
        assert!(list.is_sorted_by(|a, b| a.score >= b.score), "{settings:?}: {list:?}");
        if all > 5 {
            assert!(list.len() < all, "{settings:?}: itself is left out");
            return;
        }
        let own = list.iter().filter(|e| e.id % GROUPS == x % GROUPS).count();
        assert!(own >= 4 || excused, "{settings:?}: {list:?}");
    };
    for x in 0..6 {
        check(model.similar_items(&x, 5).unwrap(), x, 5, excused.alike_items);
        check(model.similar_users(&x, 5).unwrap(), x, 5, excused.alike_users);
    }
    check(model.similar_items(&0, 1000).unwrap(), 0, 90, true);
    check(model.similar_users(&0, 1000).unwrap(), 0, 150, true);
}

/// All that a model answers: lists, folding in, similarity, explanations.
fn answers<M: Recommender + ?Sized>(model: &Fitted<M>) -> Vec<Vec<Scored<u32>>> {
    let users = model.catalog().users.ids();
    let mut lists = model.recommend_many(users, 10, &Filter::unseen()).unwrap();
    lists.push(model.recommend_for(&[(3, 4.0), (6, 5.0)], 10, &Filter::unseen()).unwrap());
    lists.push(model.recommend_session(&[6, 3, 30], 10, &Filter::unseen()).unwrap());
    lists.push(model.similar_items(&3, 10).unwrap());
    lists.push(model.similar_users(&3, 10).unwrap());
    lists.push(model.explain(&3, &30).unwrap_or_default());
    lists
}

fn saves_and_loads<M: Saved + PartialEq>(model: &Fitted<M>, settings: &dyn Debug) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    model.save(&path).unwrap();
    let loaded = Fitted::<M>::load(&path).unwrap();
    assert!(loaded.model() == model.model() && loaded.seen() == model.seen(), "{settings:?}");
    assert_eq!(answers(model), answers(&loaded), "{settings:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
}

/// With its type erased, saved so, and loaded without its type a model says what it said before.
fn is_the_same_in_a_box<M: Saved>(model: &Fitted<M>, settings: &dyn Debug) {
    let folder = tempfile::tempdir().unwrap();
    let (typed, erased) = (folder.path().join("typed"), folder.path().join("erased"));
    let boxed: Fitted<dyn AnyModel> = model.clone().boxed();
    model.save(&typed).unwrap();
    boxed.save(&erased).unwrap();
    assert_eq!(std::fs::read(&typed).unwrap(), std::fs::read(&erased).unwrap(), "{settings:?}");
    let loaded: Fitted<dyn AnyModel> = Fitted::load_any(&erased).unwrap();
    let want = answers(model);
    for other in [&boxed, &loaded] {
        assert_eq!(answers(other), want, "{settings:?}");
        let (own, other) = (model.model(), other.model());
        assert_eq!((other.format(), other.name()), (M::FORMAT, own.name()));
        assert_eq!((other.n_users(), other.n_items()), (own.n_users(), own.n_items()));
        assert_eq!(other.progress(), own.progress(), "{settings:?}");
        assert_eq!(other.inner_product(), own.inner_product(), "{settings:?}");
        let vector = |model: &dyn AnyModel| model.fold_in_vector(&[ItemIdx(3)], &[4.0]).ok();
        assert_eq!(vector(other), vector(own), "{settings:?}");
    }
}

fn refuses_unknown_ids<M: Saved>(model: &Fitted<M>) {
    assert!(matches!(model.recommend(&9999, 5, &Filter::unseen()), Err(Error::UnknownUser(_))));
    assert!(matches!(model.score(&0, &9999), Err(Error::UnknownItem(_))));
    assert!(matches!(model.explain(&0, &9999), Err(Error::UnknownItem(_))));
    assert!(matches!(model.recommend_for(&[(9999, 1.0)], 5, &Filter::unseen()), Err(Error::UnknownItem(_))));
    assert!(matches!(model.similar_items(&9999, 5), Err(Error::UnknownItem(_))));
    assert!(matches!(model.similar_users(&9999, 5), Err(Error::UnknownUser(_))));
    let none: [Result<Vec<Scored<u32>>, Error>; 4] = [
        model.recommend(&0, 0, &Filter::unseen()),
        model.recommend_for(&[(0, 1.0)], 0, &Filter::unseen()),
        model.similar_items(&0, 0),
        model.similar_users(&0, 0),
    ];
    assert!(none.iter().all(|list| matches!(list, Err(Error::Parameter { .. }))), "a list of 0");
    assert!(model.recommend(&0, 100_000, &Filter::unseen()).unwrap().len() < 90);
}

fn repeats_for_any_number_of_threads<F: Estimator + Debug>(settings: &F, log: &Interactions)
where
    F::Model: PartialEq,
{
    // Some rows of everybody: this trains three times, and nothing here is about what is learned.
    let some = log.filter_rows(|row| row % 3 == 0);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| settings.fit(&some).unwrap())
    };
    let one = run(1);
    for threads in [2, 3] {
        assert!(one.model() == run(threads).model(), "{settings:?}: other bits with {threads} threads");
    }
}

/// The contract of [`Recommender`] about users and items of whom the model knows nothing: here those that have no rows.
fn knows_what_it_does_not_know<F: Estimator + Debug>(settings: &F)
where
    F::Model: Saved,
{
    use cairn_recsys::{AnnSettings, RankingEvaluator};
    let log = synthetic::planted_groups(60, 60, GROUPS, 8, 0.05, 7).unwrap();
    let log = log.with_items([1000, 1001, 1002]).unwrap().with_users([2000, 2001]).unwrap();
    let trained = settings.fit(&log).unwrap();
    let folder = tempfile::tempdir().unwrap();
    trained.save(folder.path().join("model")).unwrap();
    let loaded = Fitted::<F::Model>::load(folder.path().join("model")).unwrap();
    let (all, unseen) = (Filter::all(), Filter::unseen());
    let popular = TopPop::new().fit(&log).unwrap().recommend(&2000, 63, &all).unwrap();
    for model in [trained, loaded] {
        // Such items are listed behind all others, also by an index.
        let mut lists = vec![model.recommend(&7, 63, &all).unwrap()];
        lists.push(model.recommend_session(&[3, 9, 6], 63, &all).unwrap());
        lists.push(model.recommend_next(&7, &[3, 9, 6], 63, &all).unwrap());
        if model.model().inner_product().is_some() {
            let fast = model.with_index(AnnSettings::new().cells(6).probes(2)).unwrap();
            lists.push(fast.recommend(&7, 63, &all).unwrap());
            lists.push(fast.recommend_session(&[3, 9, 6], 63, &all).unwrap());
        }
        for list in lists {
            let (known, others) = list.split_at(list.len() - 3);
            assert!(known.len() > 40 && known.iter().all(|entry| entry.id < 1000), "{settings:?}: {list:?}");
            let mut ids: Vec<u32> = others.iter().map(|entry| entry.id).collect();
            ids.sort_unstable();
            assert_eq!(ids, [1000, 1001, 1002], "{settings:?}");
            assert!(others.iter().all(|entry| entry.score == others[0].score), "{settings:?}: {others:?}");
            assert!(list.iter().all(|entry| entry.score.is_finite()), "{settings:?}");
            assert!(others[0].score < known[known.len() - 1].score, "{settings:?}: {list:?}");
        }
        let even = Filter::all().only(|item: &u32| item.is_multiple_of(2));
        let last = model.recommend(&7, 63, &even).unwrap();
        assert_eq!(last.iter().filter(|entry| entry.id >= 1000).count(), 2, "{settings:?}: {last:?}");
        // Where nothing else is allowed they are the list, in the order of ties, of many people as of each.
        let arrived = Filter::unseen().only(|item: &u32| *item >= 1000);
        let order: Vec<u32> = popular.iter().map(|entry| entry.id).filter(|&id| id >= 1000).take(2).collect();
        for (user, list) in [7, 2000, 3].iter().zip(model.recommend_many(&[7, 2000, 3], 2, &arrived).unwrap())
        {
            let ids: Vec<u32> = list.iter().map(|entry| entry.id).collect();
            assert_eq!(ids, order, "{settings:?}: {user}");
            assert_eq!(list, model.recommend(user, 2, &arrived).unwrap(), "{settings:?}");
        }
        // In histories and sessions they are passed over.
        let session = |items: &[u32]| model.recommend_session(items, 8, &unseen);
        assert_eq!(session(&[3, 1000, 9, 6, 1001]).unwrap(), session(&[3, 9, 6]).unwrap(), "{settings:?}");
        for nothing in [&[1000][..], &[1000, 1001], &[1000, 9999]] {
            assert!(matches!(session(nothing), Err(Error::UnknownItem(_))), "{settings:?}: {nothing:?}");
        }
        let history = |items: &[(u32, f32)]| model.recommend_for(items, 8, &unseen).unwrap();
        assert_eq!(history(&[(3, 1.0), (1000, 1.0)]), history(&[(3, 1.0)]), "{settings:?}");
        assert_eq!(history(&[(1000, 1.0)]), popular[..8], "{settings:?}");
        let own = model.recommend(&7, 8, &unseen).unwrap();
        assert_eq!(model.recommend_next(&7, &[1000], 8, &unseen).unwrap(), own, "{settings:?}");
        let next = model.recommend_next(&7, &[1000], 63, &unseen).unwrap();
        assert!(next.iter().all(|entry| entry.id != 1000), "{settings:?}: what was seen");
        let next = model.recommend_next(&7, &[1001, 1000, 1001], 63, &unseen).unwrap();
        assert!(next.iter().all(|entry| entry.id < 1000 || entry.id == 1002), "{settings:?}: {next:?}");
        // Who is not known gets what is popular, and for a session what anybody gets for it.
        assert_eq!(model.recommend(&2000, 63, &all).unwrap(), popular, "{settings:?}");
        let next = model.recommend_next(&2000, &[3, 9, 6], 8, &unseen).unwrap();
        assert_eq!(next, session(&[3, 9, 6]).unwrap(), "{settings:?}");
        // Nothing is like them.
        assert!(model.similar_items(&1000, 5).unwrap().is_empty(), "{settings:?}");
        assert!(model.similar_items(&3, 100).unwrap().iter().all(|entry| entry.id < 1000), "{settings:?}");
        assert!(model.similar_users(&2000, 5).unwrap().is_empty(), "{settings:?}");
        assert!(model.similar_users(&3, 200).unwrap().iter().all(|entry| entry.id < 2000), "{settings:?}");
        // An evaluation ranks as lists do.
        let auc = |user: u32, item: u32| {
            let test = Interactions::from_ratings([(user, item)]).unwrap();
            let report = RankingEvaluator::at([5]).auc().evaluate(&model, &test).unwrap();
            (report.auc().unwrap(), report.users_without_history())
        };
        let (of_stranger, unknown) = auc(7, 1001);
        assert!(of_stranger < 0.05 && unknown == 0, "{settings:?}: {of_stranger}");
        assert_eq!(auc(2001, popular[0].id).1, 1, "{settings:?}");
    }
}

/// A single user, a single item, a user without training rows: a list or an error, never a panic or a NaN.
fn survives_odd_logs<F: Estimator + Debug>(settings_of: &dyn Fn(&Interactions) -> F) {
    let rows: &[&[(u32, u32)]] = &[&[(1, 1)], &[(1, 1), (1, 2), (1, 3)], &[(1, 1), (2, 1), (3, 1)]];
    for rows in rows {
        let log = Interactions::from_ratings(rows.iter().copied()).unwrap();
        let settings = settings_of(&log);
        if let Ok(model) = settings.fit(&log) {
            for user in log.catalog().users.ids() {
                let list = model.recommend(user, 5, &Filter::all()).unwrap();
                assert!(list.iter().all(|e| e.score.is_finite()), "{settings:?}");
                let alike = model.similar_users(user, 5).unwrap();
                assert!(alike.iter().all(|e| e.id != *user && e.score.is_finite()), "{settings:?}");
            }
            for item in log.catalog().items.ids() {
                let list = model.recommend_for(&[(*item, 1.0)], 5, &Filter::all()).unwrap();
                assert!(list.iter().all(|e| e.score.is_finite()), "{settings:?}");
                let alike = model.similar_items(item, 5).unwrap();
                assert!(alike.iter().all(|e| e.id != *item && e.score.is_finite()), "{settings:?}");
            }
        }
    }
    let log = synthetic::planted_groups(30, 30, 3, 6, 0.0, 1).unwrap();
    let part = log.filter_rows(|row| log.users()[row] != UserIdx(4));
    let settings = settings_of(&part);
    let model = settings.fit(&part).unwrap();
    let nobody = model.recommend(log.catalog().users.id(UserIdx(4)), 5, &Filter::unseen()).unwrap();
    assert!(nobody.iter().all(|e| e.score.is_finite()), "{settings:?}");
    let mut scores = vec![f32::NAN; log.n_items()];
    model.model().score_history(model.seen(), &[], &[], &mut scores).unwrap();
    assert!(scores.iter().all(|score| score.is_finite()), "{settings:?}: no history at all");
    let empty = log.filter_rows(|_| false);
    assert!(matches!(settings.fit(&empty), Err(Error::Empty { .. })), "{settings:?}");
}
