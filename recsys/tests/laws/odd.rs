//! Odd input to models that learn by steps, and to those with features: stated answers or errors, never a panic or a NaN.

use cairn_recsys::features::{FeatureAls, FeatureMatrix, FeatureRow, FeatureTable, LightFm, LightFmLoss};
use cairn_recsys::{
    Als, Bpr, Error, Estimator, Filter, Fitted, Interactions, Recommender, Result, Split, UserIdx, UserItems,
    synthetic,
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
    use cairn_recsys::features::{FactorizationMachine, TwoTower};
    use cairn_recsys::{Bert4Rec, Gru4Rec, LightGcn, MultVae, NeuMf, Sasrec, SequenceLoss};
    learns_nothing_from_everything(&LightGcn::new().factors(4).epochs(3));
    learns_nothing_from_everything(&MultVae::new().hidden(4).latent(2).epochs(3));
    learns_nothing_from_everything(&FactorizationMachine::new().factors(4).epochs(3));
    let deep = FactorizationMachine::new().factors(4).hidden([4]).epochs(3);
    learns_nothing_from_everything(&deep);
    learns_nothing_from_everything(&deep.pairs(false));
    learns_nothing_from_everything(&NeuMf::new().factors(4).hidden([4, 2]).epochs(3));
    learns_nothing_from_everything(&TwoTower::new().factors(4).hidden([4]).epochs(3));
    let losses = [SequenceLoss::Softmax, SequenceLoss::sampled_softmax(), SequenceLoss::gbce()];
    for loss in losses {
        learns_nothing_from_everything(&Sasrec::new().dim(4).blocks(1).max_length(3).epochs(3).loss(loss));
    }
    learns_nothing_from_everything(&Gru4Rec::new().dim(4).max_length(3).epochs(3));
    learns_nothing_from_everything(&Bert4Rec::new().dim(4).blocks(1).max_length(3).epochs(3));
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
