//! What every model must do, with features: of items all is known, of every other three users nothing, and numbers are missing here and
//! there. Bits, files, strict lists, folding in and evaluation are asked for as without; and rows of who is new.

use std::collections::BTreeSet;
use std::fmt::Debug;

use cairn_recsys::features::{
    FeatureAls, FeatureMatrix, FeatureModel, FeatureRow, FeatureTable, LightFm, LightFmLoss,
};
use cairn_recsys::{Als, Error, Estimator, Filter, Fitted, Interactions, ItemIdx, Saved, UserIdx};

use super::conformance::{Excused, GROUPS, conforms_on};

/// Ids that rows are made for: more than any log has, and some that none has.
const IDS: u32 = 160;

/// The group, which tells all, tags, which tell nothing, and a number that tells the group, if it is there.
fn row(id: u32, numbers: bool) -> FeatureRow {
    let half = if id.is_multiple_of(2) { "even" } else { "odd" };
    let row =
        FeatureRow::new().category("group", &(id % GROUPS).to_string()).categories("tags", ["all", half]);
    if numbers && !id.is_multiple_of(4) { row.number("size", f64::from(id % GROUPS)) } else { row }
}

fn of_items(log: &Interactions, numbers: bool) -> FeatureMatrix<ItemIdx> {
    let table = FeatureTable::new((0..IDS).map(|item| (item, row(item, numbers)))).unwrap();
    FeatureMatrix::new(&table, &log.catalog().items).unwrap()
}

/// Who is known by features alone would be learned of by features alone: of half of them there are none.
fn of_users(log: &Interactions, numbers: bool) -> FeatureMatrix<UserIdx> {
    let known = (0..IDS).filter(|user| user / GROUPS % 2 == 1);
    let table = FeatureTable::new(known.map(|user| (user, row(user, numbers)))).unwrap();
    FeatureMatrix::new(&table, &log.catalog().users).unwrap()
}

/// As [`conforms_on`], and what is asked of who is new.
fn conforms<F: Estimator + Debug>(settings_of: &dyn Fn(&Interactions) -> F, excused: Excused)
where
    F::Model: FeatureModel + Saved + PartialEq,
{
    let model = conforms_on(settings_of, excused);
    lists_who_is_described(&model);
}

fn lists_who_is_described<M: FeatureModel + Saved>(model: &Fitted<M>) {
    let name = model.model().name();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    model.save(&path).unwrap();
    let loaded = Fitted::<M>::load(&path).unwrap();
    let even = || Filter::unseen().only(|item: &u32| item.is_multiple_of(2)).without([4, 10]);
    let rows: Vec<FeatureRow> = (0..6).map(|id| row(id, false)).chain([FeatureRow::new()]).collect();
    let scores = model.score_new_items(&7, &rows).unwrap();
    assert!(scores.len() == rows.len() && scores.iter().all(|score| score.is_finite()), "{name}: {scores:?}");
    assert_eq!(scores, loaded.score_new_items(&7, &rows).unwrap(), "{name}");
    assert!(matches!(model.score_new_items(&9999, &rows), Err(Error::UnknownUser(_))), "{name}");
    if model.model().user_space().is_none() {
        let refused = model.recommend_described(&rows[0], 7, &even());
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{name}");
        return;
    }
    for row in &rows {
        let list = model.recommend_described(row, 7, &even()).unwrap();
        assert!(list.len() == 7 && list.is_sorted_by(|a, b| a.score >= b.score), "{name}: {list:?}");
        let allowed = |id: u32| id.is_multiple_of(2) && id != 4 && id != 10;
        assert!(list.iter().all(|entry| allowed(entry.id) && entry.score.is_finite()), "{name}: {list:?}");
        let ids: BTreeSet<u32> = list.iter().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), 7, "{name}: {list:?}");
        assert_eq!(list, loaded.recommend_described(row, 7, &even()).unwrap(), "{name}");
    }
    let unknown = model.recommend_described(&FeatureRow::new().number("age", 3.0), 7, &even());
    assert!(matches!(unknown, Err(Error::Parameter { name: "feature", .. })), "{name}");
}

/// Is not explained, and knows users by features too.
fn excused() -> Excused {
    Excused { explanation: true, fold_in_lacks_features: true, ..Excused::default() }
}

#[test]
fn light_fm_in_its_losses() {
    for loss in [LightFmLoss::Warp, LightFmLoss::Bpr, LightFmLoss::Logistic] {
        let settings = LightFm::new().factors(8).epochs(20).learning_rate(0.1).loss(loss);
        conforms(
            &|log| settings.clone().item_features(&of_items(log, true)).user_features(&of_users(log, true)),
            // WARP stops where lists are right, whether or not half of the users are alike by features and half by themselves.
            Excused { alike_users: loss == LightFmLoss::Warp, ..excused() },
        );
    }
}

#[test]
fn als_with_categories() {
    let settings = FeatureAls::new(Als::new().factors(8));
    // With features of items alone somebody folded in is somebody of training.
    conforms(
        &|log| settings.clone().item_features(&of_items(log, false)),
        Excused { fold_in_lacks_features: false, ..excused() },
    );
    conforms(
        &|log| settings.clone().item_features(&of_items(log, false)).user_features(&of_users(log, false)),
        excused(),
    );
}

#[cfg(feature = "neural")]
mod networks {
    use cairn_recsys::features::{EventFeatures, FactorizationMachine, TwoTower};
    use cairn_recsys::rerank::{Rank, Reranking};
    use cairn_recsys::{RankingEvaluator, Split, metrics};

    use super::super::conformance::log;
    use super::*;

    /// Of the events of the first half of each user's time; of the others nothing is known.
    fn context(log: &Interactions) -> EventFeatures {
        let early = log.ratings().filter(|row| row.timestamp < 6).map(|row| (row.user, row.timestamp));
        let early: BTreeSet<(u32, i64)> = early.collect();
        let rows = early.into_iter().map(|event| (event, FeatureRow::new().category("when", "early")));
        EventFeatures::new(&FeatureTable::new(rows).unwrap(), &log.catalog().users).unwrap()
    }

    fn machine() -> FactorizationMachine {
        FactorizationMachine::new().factors(8).batch_size(128).epochs(20)
    }

    /// With features of all kinds.
    fn with_all(settings: &FactorizationMachine, log: &Interactions) -> FactorizationMachine {
        let settings = settings.clone().context(&context(log));
        settings.item_features(&of_items(log, true)).user_features(&of_users(log, true))
    }

    fn towers() -> TwoTower {
        TwoTower::new().factors(8).hidden([16]).batch_size(128).epochs(30).learning_rate(0.01)
    }

    #[test]
    fn a_factorisation_machine() {
        conforms(&|log| with_all(&machine(), log), excused());
    }

    #[test]
    fn a_machine_with_dense_layers_and_one_without_pairs() {
        // What layers say of somebody goes by what the vectors were trained for together with them.
        let deep = Excused { alike_items: true, alike_users: true, ..excused() };
        let settings = machine().hidden([16]);
        conforms(&|log| with_all(&settings, log), deep);
        let settings = settings.pairs(false);
        conforms(&|log| with_all(&settings, log), deep);
    }

    #[test]
    fn two_towers() {
        // Without features of users somebody folded in is somebody of training.
        conforms(
            &|log| towers().item_features(&of_items(log, true)),
            Excused { fold_in_lacks_features: false, ..excused() },
        );
        for settings in [towers(), towers().hidden(Vec::new())] {
            conforms(
                &|log| {
                    settings.clone().item_features(&of_items(log, true)).user_features(&of_users(log, true))
                },
                excused(),
            );
        }
    }

    /// The two stages together: towers find candidates, a deep machine ranks them.
    #[test]
    fn candidates_of_towers_ranked_by_a_network() {
        let (train, test) = log().split(Split::per_user(0.25, 0)).unwrap();
        let stages = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let candidates =
                    towers().item_features(&of_items(&train, true)).user_features(&of_users(&train, true));
                let ranker = with_all(&machine().hidden([16]), &train).fit(&train).unwrap();
                let candidates = candidates.fit(&train).unwrap();
                let steps = Reranking::from_best(20).then(Rank::by(&ranker));
                let filter = Filter::unseen().without([4, 10]);
                let lists: Vec<_> = (0..30)
                    .map(|user| {
                        let best = candidates.recommend(&user, 20, &filter).unwrap();
                        let list = candidates.recommend_reranked(&user, 5, &filter, &steps).unwrap();
                        assert!(list.len() == 5 && list.iter().all(|entry| best.contains(entry)), "{list:?}");
                        let places = |id: u32| ranker.score(&user, &id).unwrap();
                        assert!(list.is_sorted_by(|a, b| places(a.id) >= places(b.id)), "{list:?}");
                        list
                    })
                    .collect();
                let report = RankingEvaluator::at([5]).evaluate_reranked(&candidates, &test, &steps).unwrap();
                (lists, report.per_user(metrics::Ndcg, 5).unwrap())
            })
        };
        let one = stages(1);
        for threads in [2, 3] {
            assert_eq!(one, stages(threads), "{threads} threads");
        }
        // By chance it would be near 0.05, by chance within the group near 0.2.
        assert!(one.1.iter().sum::<f64>() / one.1.len() as f64 > 0.1);
    }
}
