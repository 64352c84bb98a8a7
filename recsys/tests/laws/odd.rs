//! Odd input to models that learn by steps, and to those with features: stated answers or errors, never a panic or a NaN.

use cairn_recsys::features::{FeatureAls, FeatureMatrix, FeatureRow, FeatureTable, LightFm, LightFmLoss};
use cairn_recsys::{
    Als, Bpr, Error, Estimator, Filter, Fitted, Interactions, ItemIdx, Recommender, Result, Split, UserIdx,
    UserItems, synthetic,
};

fn groups(item: u32) -> FeatureRow {
    FeatureRow::new().category("group", &(item % 3).to_string())
}

#[test]
fn features_of_items_that_no_log_knows_do_no_harm_and_their_categories_are_known() {
    let log = synthetic::planted_groups(60, 30, 3, 8, 0.0, 1).unwrap();
    let rows = (0..30).map(|item| (item, groups(item)));
    let strange = (1000..1010).map(|item| (item, FeatureRow::new().category("group", "strange")));
    let table = FeatureTable::new(rows.chain(strange)).unwrap();
    let features = FeatureMatrix::new(&table, &log.catalog().items).unwrap();
    assert_eq!((features.rows().n_rows(), features.space().len()), (30, 4));
    let model = LightFm::new().factors(8).item_features(&features).fit(&log).unwrap();
    let strange = FeatureRow::new().category("group", "strange");
    let scores = model.score_new_items(&1, &[groups(1), strange, FeatureRow::new()]).unwrap();
    assert!(scores[0] > scores[1]);
    assert_eq!(scores[1], scores[2], "what nobody met says as little as nothing");
}

#[test]
fn tables_without_any_value_and_items_without_a_row_train_like_no_features() {
    let log = synthetic::planted_groups(60, 30, 3, 8, 0.0, 1).unwrap();
    let plain = LightFm::new().factors(8).fit(&log).unwrap();
    let nothing = FeatureTable::new((0..30).map(|item| (item, FeatureRow::new()))).unwrap();
    let nobody = FeatureTable::new([(999, FeatureRow::new())]).unwrap();
    for table in [nothing, nobody] {
        let features = FeatureMatrix::new(&table, &log.catalog().items).unwrap();
        assert!(features.space().is_empty());
        let model = LightFm::new().factors(8).item_features(&features).fit(&log).unwrap();
        let lists = |model: &Fitted<_>| model.recommend(&4, 5, &Filter::unseen()).unwrap();
        assert_eq!(lists(&model), lists(&plain));
    }
}

#[test]
fn sessions_and_histories_without_anything_known_are_refused_by_name() {
    let model = Bpr::new().factors(4).fit(&synthetic::planted_groups(30, 12, 3, 4, 0.0, 1).unwrap()).unwrap();
    let error = model.recommend_session(&[], 3, &Filter::unseen()).unwrap_err();
    assert_eq!(error.to_string(), "the session is empty");
    let error = model.recommend_session(&[777, 778], 3, &Filter::unseen()).unwrap_err();
    assert!(matches!(&error, Error::UnknownItem(_)), "{error}");
    assert_eq!(error.to_string(), "unknown item 777: none of the session's 2 items is known");
    assert!(matches!(model.recommend_for(&[], 3, &Filter::unseen()), Err(Error::Empty { .. })));
}

/// Of somebody's history it counts what is in it.
#[test]
fn a_history_is_folded_in_alike_in_any_order() {
    let model = Bpr::new().factors(4).fit(&synthetic::planted_groups(30, 12, 3, 4, 0.0, 1).unwrap()).unwrap();
    let fold_in = |items: &[u32]| {
        let items: Vec<ItemIdx> = items.iter().map(|&item| ItemIdx(item)).collect();
        model.model().fold_in(&items).unwrap()
    };
    assert_eq!(fold_in(&[9, 2, 5, 2]), fold_in(&[2, 5, 9]));
    assert_eq!(fold_in(&[8, 7, 6, 5, 4, 3, 2, 1, 0]), fold_in(&[0, 1, 2, 3, 4, 5, 6, 7, 8]));
    assert_ne!(fold_in(&[2, 5, 9]), fold_in(&[2, 5]));
}

/// Everybody met everything: there is no item to draw that somebody did not meet.
fn everything() -> Interactions {
    Interactions::from_ratings((0..4_u32).flat_map(|user| (0..3_u32).map(move |item| (user, item)))).unwrap()
}

fn learns_nothing_from_everything<F: Estimator>(settings: &F) {
    let log = everything();
    let model = settings.fit(&log).unwrap();
    let name = model.model().name();
    for user in log.catalog().users.ids() {
        let list = model.recommend(user, 5, &Filter::all()).unwrap();
        assert!(list.len() == 3 && list.iter().all(|entry| entry.score.is_finite()), "{name}: {list:?}");
        assert!(model.recommend(user, 5, &Filter::unseen()).unwrap().is_empty(), "{name}");
    }
    assert!(model.model().progress().iter().all(|x| x.is_finite()), "{name}");
}

#[test]
fn a_log_without_a_pair_to_tell_apart_trains_and_lists() {
    learns_nothing_from_everything(&Bpr::new().factors(4).epochs(3));
    for loss in [LightFmLoss::Warp, LightFmLoss::Bpr, LightFmLoss::Logistic] {
        learns_nothing_from_everything(&LightFm::new().factors(4).epochs(3).loss(loss));
    }
    let als = FeatureAls::new(Als::new().factors(2).epochs(3));
    learns_nothing_from_everything(&als);
    // Items are told apart by their features alone.
    let table = FeatureTable::new((0..3).map(|item| (item, groups(item)))).unwrap();
    let features = FeatureMatrix::new(&table, &everything().catalog().items).unwrap();
    learns_nothing_from_everything(&als.item_features(&features));
}

#[cfg(feature = "neural")]
#[test]
fn networks_train_on_a_log_without_a_pair_to_tell_apart() {
    use cairn_recsys::features::FactorizationMachine;
    use cairn_recsys::{Bert4Rec, Gru4Rec, LightGcn, MultVae, NeuMf, Sasrec, SequenceLoss};
    learns_nothing_from_everything(&LightGcn::new().factors(4).epochs(3));
    learns_nothing_from_everything(&MultVae::new().hidden(4).latent(2).epochs(3));
    learns_nothing_from_everything(&FactorizationMachine::new().factors(4).epochs(3));
    let deep = FactorizationMachine::new().factors(4).hidden([4]).epochs(3);
    learns_nothing_from_everything(&deep);
    learns_nothing_from_everything(&deep.pairs(false));
    learns_nothing_from_everything(&NeuMf::new().factors(4).hidden([4, 2]).epochs(3));
    let losses = [SequenceLoss::Softmax, SequenceLoss::sampled_softmax(), SequenceLoss::gbce()];
    for loss in losses {
        learns_nothing_from_everything(&Sasrec::new().dim(4).blocks(1).max_length(3).epochs(3).loss(loss));
    }
    learns_nothing_from_everything(&Gru4Rec::new().dim(4).max_length(3).epochs(3));
    learns_nothing_from_everything(&Bert4Rec::new().dim(4).blocks(1).max_length(3).epochs(3));
}

/// Towers learn from the other items of a batch, so where there is none there is nothing to train.
#[cfg(feature = "neural")]
#[test]
fn towers_refuse_batches_and_logs_without_a_negative() {
    use cairn_recsys::features::TwoTower;
    let towers = || TwoTower::new().factors(4).hidden([4]).epochs(2);
    let log = synthetic::planted_groups(30, 12, 3, 4, 0.0, 1).unwrap();
    let alone = towers().batch_size(1).fit(&log).unwrap_err();
    assert!(matches!(alone, Error::Parameter { name: "batch_size", .. }), "{alone}");
    assert!(alone.to_string().contains("at least 2"), "{alone}");
    let one_user = Interactions::from_ratings((0..9_u32).map(|item| (7_u32, item))).unwrap();
    let one_item = Interactions::from_ratings((0..9_u32).map(|user| (user, 7_u32))).unwrap();
    for log in [one_user, one_item, everything()] {
        let error = towers().fit(&log).unwrap_err();
        assert!(matches!(error, Error::Network { model: "two towers", .. }), "{error}");
        assert!(error.to_string().contains("every user of the log met all of its items"), "{error}");
    }
    // One item that somebody did not meet is enough, and two pairs a batch.
    let all_but_one = everything().filter_rows(|row| row != 0);
    let model = towers().batch_size(2).epochs(20).fit(&all_but_one).unwrap();
    let progress = model.model().progress();
    assert!(progress.iter().any(|&loss| loss > 0.0), "{progress:?}");
}

/// Somebody met all of many items but one, which somebody else met. Hardly a draw finds it, and it is learned to be below the others all
/// the same.
fn learns_of_who_met_almost_everything<F: Estimator>(settings: &F) {
    const N: u32 = 30_000;
    const LEFT: u32 = 777;
    let rows = (0..N).filter(|&item| item != LEFT).map(|item| (0_u32, item));
    let log = Interactions::from_ratings(rows.chain([(1, LEFT)])).unwrap();
    let model = settings.fit(&log).unwrap();
    let name = model.model().name();
    let list = model.recommend(&0, N as usize, &Filter::all()).unwrap();
    assert_eq!(list.len(), N as usize, "{name}");
    let mean = list.iter().map(|entry| f64::from(entry.score)).sum::<f64>() / f64::from(N);
    let left = list.iter().find(|entry| entry.id == LEFT).unwrap().score;
    assert!(f64::from(left) < mean, "{name}: {left}, {mean} in the mean");
}

#[test]
fn who_met_almost_everything_learns_of_what_is_left() {
    learns_of_who_met_almost_everything(&Bpr::new().factors(4).epochs(1));
    for loss in [LightFmLoss::Bpr, LightFmLoss::Logistic] {
        learns_of_who_met_almost_everything(&LightFm::new().factors(4).epochs(1).loss(loss));
    }
}

#[cfg(feature = "neural")]
#[test]
fn networks_learn_of_what_is_left_to_who_met_almost_everything() {
    use cairn_recsys::LightGcn;
    use cairn_recsys::features::FactorizationMachine;
    let machine = FactorizationMachine::new().factors(2).negatives(1).batch_size(4096).learning_rate(0.1);
    learns_of_who_met_almost_everything(&machine.epochs(1));
    let gcn = LightGcn::new().factors(4).layers(1).batch_size(8192).learning_rate(0.01);
    learns_of_who_met_almost_everything(&gcn.epochs(1));
}

/// Scores everything alike.
#[derive(Debug)]
struct Indifferent(usize, usize);

impl Recommender for Indifferent {
    fn name(&self) -> &'static str {
        "indifferent"
    }
    fn n_users(&self) -> usize {
        self.0
    }
    fn n_items(&self) -> usize {
        self.1
    }
    fn score_users(&self, _: &UserItems, _: &[UserIdx], out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        Ok(())
    }
}

#[test]
fn equal_scores_are_listed_by_popularity_and_then_alike_however_the_log_is_numbered() {
    // Item i is met by 1 + i / 2 people: pairs of items are equally popular.
    let mut rows: Vec<(u32, u32)> =
        (0..8_u32).flat_map(|item| (0..=item / 2).map(move |user| (user, item))).collect();
    let mut lists = Vec::new();
    for _ in 0..2 {
        let log = Interactions::from_ratings(rows.iter().copied()).unwrap();
        let model = Indifferent(log.n_users(), log.n_items());
        let model = Fitted::new(model, log.catalog().clone(), log.user_items()).unwrap();
        let list = model.recommend(&3, 8, &Filter::all()).unwrap();
        assert!(list.iter().all(|entry| entry.score == 0.0));
        let ids: Vec<u32> = list.iter().map(|entry| entry.id).collect();
        assert!(ids.is_sorted_by(|a, b| a / 2 >= b / 2), "{ids:?}");
        lists.push(ids);
        rows.reverse();
    }
    assert_eq!(lists[0], lists[1]);
}

#[test]
fn cold_users_and_items_of_a_split_are_no_reason_to_fail() {
    let log = synthetic::planted_groups(40, 20, 2, 6, 0.0, 3).unwrap();
    let (train, test) = log.split(Split::cold_items(0.3, 0)).unwrap();
    let model = LightFm::new().factors(4).epochs(3).fit(&train).unwrap();
    let cold = test.rating(0).item;
    assert!(model.similar_items(&cold, 3).unwrap().iter().all(|entry| entry.score.is_finite()));
    assert!(model.score(&test.rating(0).user, &cold).unwrap().is_finite());
}
