//! A model that goes on from where it was is within its stated bound of one trained anew.

use std::fmt::Debug;

use cairn_recsys::metrics::Ndcg;
use cairn_recsys::{
    Als, Bpr, Duplicates, Ease, Error, Estimator, Filter, Interactions, ItemIdx, ItemKnn, KnnWeighting,
    RankingEvaluator, Split, TopPop, Update, UserKnn, synthetic,
};

/// A log, and the same with rows appended: of old users and items, of new users, and of a new item; one value is another.
fn logs() -> (Interactions, Interactions) {
    let whole = synthetic::planted_groups(160, 90, 3, 12, 0.1, 7).unwrap();
    let early = |row: usize| {
        (whole.timestamps()[row] < 11 || !whole.users()[row].0.is_multiple_of(9))
            && whole.users()[row].0 < 150
    };
    let rows: Vec<_> = whole.ratings().collect();
    let (old, new): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|&row| early(row));
    let before = Interactions::from_ratings(old.iter().map(|&row| rows[row].clone())).unwrap();
    let mut after = before.clone();
    after.append(new.iter().map(|&row| rows[row].clone()), Duplicates::Last).unwrap();
    let changed = cairn_recsys::Rating { value: 9.0, timestamp: 99, ..rows[0].clone() };
    let more = [(151, 1000, 3.0, 50), (3, 1000, 4.0, 50), (7, 1000, 4.0, 50)].map(cairn_recsys::Rating::from);
    after.append(more.into_iter().chain([changed]), Duplicates::Last).unwrap();
    assert!(after.n_users() > before.n_users() && after.n_items() > before.n_items());
    (before, after)
}

fn is_exact<F: Update + Debug>(settings: &F)
where
    F::Model: PartialEq + Debug,
{
    let (before, after) = logs();
    let updated = settings.update(&settings.fit(&before).unwrap(), &after).unwrap();
    assert!(updated.model() == settings.fit(&after).unwrap().model(), "{settings:?}");
    assert_eq!(updated.seen(), &after.user_items());
    let again = settings.update(&updated, &after).unwrap();
    assert!(again.model() == updated.model(), "{settings:?}: nothing has changed");
}

#[test]
fn counts_and_neighbours_are_those_of_a_training_anew() {
    is_exact(&TopPop::new());
    for weighting in [KnnWeighting::Cosine, KnnWeighting::TfIdf] {
        is_exact(&ItemKnn::new(20).weighting(weighting).shrink(2.0));
        is_exact(&UserKnn::new(20).weighting(weighting).shrink(2.0));
    }
}

#[test]
fn weights_of_ease_are_those_of_a_training_anew_to_a_thousandth_of_the_largest() {
    let (before, after) = logs();
    let settings = Ease::new(10.0);
    let updated = settings.update(&settings.fit(&before).unwrap(), &after).unwrap();
    let anew = settings.fit(&after).unwrap();
    let weights = |model: &cairn_recsys::ItemItemModel| -> Vec<f32> {
        let items = || (0..after.n_items() as u32).map(ItemIdx);
        items().flat_map(|i| items().map(move |j| (i, j))).map(|(i, j)| model.weight(i, j)).collect()
    };
    let (got, want) = (weights(updated.model()), weights(anew.model()));
    let largest = want.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < 1e-3 * largest, "{got} for {want}, of at most {largest}");
    }
    let other = Ease::new(11.0).update(&anew, &after).unwrap_err();
    assert!(matches!(other, Error::Parameter { name: "regularization", .. }), "{other}");
}

#[test]
fn the_loss_of_als_is_that_of_a_training_anew_to_a_hundredth() {
    let (before, after) = logs();
    let settings = Als::new().factors(8).epochs(30);
    let updated = settings.update(&settings.fit(&before).unwrap(), &after).unwrap();
    let matrix = after.user_items();
    let loss = |model: &cairn_recsys::AlsModel| settings.loss(&matrix, model.factors()).unwrap();
    let (got, want) = (loss(updated.model()), loss(settings.fit(&after).unwrap().model()));
    assert!(got < 1.01 * want, "{got} for {want}");
    let other = Als::new().factors(9).update(&updated, &after).unwrap_err();
    assert!(matches!(other, Error::Parameter { name: "factors", .. }), "{other}");
}

#[test]
fn lists_of_bpr_are_as_good_as_those_of_a_training_anew() {
    let (before, after) = logs();
    let settings = Bpr::new().factors(8).epochs(60);
    let (_, test) =
        synthetic::planted_groups(160, 90, 3, 24, 0.1, 7).unwrap().split(Split::random(0.5, 1)).unwrap();
    let test = test.filter_rows(|row| {
        let rating = test.rating(row);
        let user = after.catalog().user(&rating.user);
        user.is_ok_and(|user| {
            let item = after.catalog().item(&rating.item);
            item.is_ok_and(|item| after.user_items().get(user, item).is_none())
        })
    });
    let ndcg = |model| RankingEvaluator::at([10]).evaluate(&model, &test).unwrap().mean(Ndcg, 10).unwrap();
    let updated = ndcg(settings.update(&settings.fit(&before).unwrap(), &after).unwrap());
    let anew = ndcg(settings.fit(&after).unwrap());
    assert!(anew > 0.2 && (updated - anew).abs() < 0.05, "{updated} for {anew}");
}

#[test]
fn a_log_that_does_not_go_on_is_refused_and_an_updated_model_knows_who_is_new() {
    let (before, after) = logs();
    let settings = Als::new().factors(8);
    let model = settings.fit(&before).unwrap();
    let list = settings.update(&model, &after).unwrap().recommend(&151, 5, &Filter::unseen()).unwrap();
    assert!(list.len() == 5 && list.iter().all(|entry| entry.id != 1000));
    let other = synthetic::planted_groups(160, 90, 3, 12, 0.1, 8).unwrap();
    assert!(matches!(settings.update(&model, &other), Err(Error::Shape { .. })));
    let smaller = settings.update(&settings.fit(&after).unwrap(), &before);
    assert!(matches!(smaller, Err(Error::Shape { .. })));
    let wrong = settings.update_matrix(model.model(), &after.user_items(), &after.user_items());
    assert!(matches!(wrong, Err(Error::Shape { .. })));
}

#[test]
fn neighbours_by_another_measure_are_found_anew() {
    let (before, after) = logs();
    let of = |weighting| UserKnn::new(20).weighting(weighting);
    let (cosine, bm25) = (of(KnnWeighting::Cosine), of(KnnWeighting::bm25()));
    for (trained, settings) in [(&bm25, &cosine), (&cosine, &bm25)] {
        let updated = settings.update(&trained.fit(&before).unwrap(), &after).unwrap();
        assert!(updated.model() == settings.fit(&after).unwrap().model());
    }
    // Another number of neighbours is no other measure.
    let more = UserKnn::new(25).update(&cosine.fit(&before).unwrap(), &after).unwrap();
    assert!(more.model() == UserKnn::new(25).fit(&after).unwrap().model());
}
