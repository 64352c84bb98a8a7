//! Model files: the golden bytes, and every kind of damage.

use std::fmt::Debug;

use cairn_recsys::features::{
    FeatureAls, FeatureMatrix, FeatureModel, FeatureRow, FeatureTable, LightFm, LightFmLoss,
};
use cairn_recsys::rating::{
    Baseline, BaselineMethod, BiasedMf, CoClustering, Nmf, RatingKnn, RatingModel, Similarity, SlopeOne,
    SvdPlusPlus,
};
use cairn_recsys::{
    Als, AnyModel, Bpr, Ease, Error, Estimator, Filter, Fitted, IdMap, Idx, Interactions, ItemKnn,
    ModelFormat, PureSvd, PureSvdModel, Recommender, Saved, TopPop, TopPopModel, UserIdx, UserItems, UserKnn,
};
use serde::{Deserialize, Serialize};

fn model() -> Fitted<TopPopModel, String, u32> {
    let rows = [("ann", 7, 1.0), ("ann", 9, 2.0), ("bob", 9, 3.0)].map(|(u, i, v)| (u.to_owned(), i, v));
    TopPop::new().fit(&Interactions::from_ratings(rows).unwrap()).unwrap()
}

/// Files of version 2 must stay readable: these bytes may only change together with the version.
#[test]
fn golden_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("golden.cairn");
    model().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes, forged(&golden()));
    let loaded = Fitted::<TopPopModel, String, u32>::load(&path).unwrap();
    assert_eq!(loaded.recommend("bob", 3, &Filter::unseen()).unwrap()[0].id, 7);
}

/// The payload of [`model`].
fn golden() -> Vec<u8> {
    let mut payload = vec![7];
    payload.extend(b"top-pop");
    payload.extend(b"\x06String\x03u32");
    payload.extend(b"\x02\x03ann\x03bob"); // user ids
    payload.extend([2, 7, 9]); // item ids
    payload.extend([2, 3, 0, 2, 3]); // columns; row starts 0, 2, 3
    payload.extend([3, 0, 1, 1]); // items met
    payload.push(3);
    [1.0_f32, 2.0, 3.0].iter().for_each(|v| payload.extend(v.to_le_bytes()));
    payload.extend([2, 2]); // users; counts
    [1.0_f32, 2.0].iter().for_each(|v| payload.extend(v.to_le_bytes()));
    payload
}

/// Bytes of one type of ids may decode as another.
#[test]
fn ids_of_another_type_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cairn");
    let log = Interactions::from_ratings([(1_i32, Box::<str>::from("tea")), (2, "milk".into())]).unwrap();
    TopPop::new().fit(&log).unwrap().save(&path).unwrap();
    assert!(Fitted::<TopPopModel, i32, Box<str>>::load(&path).is_ok());
    let error = Fitted::<TopPopModel, u32, Box<str>>::load(&path).unwrap_err().to_string();
    assert!(error.contains("the user ids of the file are of type i32, not u32"), "{error}");
    let error = Fitted::<dyn AnyModel, i32, u64>::load_any(&path).unwrap_err().to_string();
    assert!(error.contains("the item ids of the file are of type Box<str>, not u64"), "{error}");
}

fn reason(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cairn");
    std::fs::write(&path, bytes).unwrap();
    match Fitted::<TopPopModel, String, u32>::load(&path) {
        Err(Error::ModelFile { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cairn");
    model().save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    assert!(reason(b"").contains("not a Cairn"));
    assert!(reason(b"CAIRNREC\x01\0\0\0").contains("first form"));
    assert!(reason(b"PK\x03\x04 something else altogether").contains("not a Cairn"));
    for cut in HEADER..good.len() {
        assert!(reason(&good[..cut]).contains("announced"), "cut at {cut}");
    }
    for at in HEADER..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(reason(&bad).contains("checksum"), "flipped at {at}");
    }
    let mut future = good.clone();
    future[8] = 99;
    assert!(reason(&future).contains("version 99"));
    let mut longer = good;
    longer.push(0);
    assert!(reason(&longer).contains("announced"));
}

/// Every kind of model's file, at every byte: cut there, or changed there, it is refused; changed with a checksum to match, it is
/// refused or makes a model that answers without a panic.
#[test]
fn files_of_rankings_withstand_damage() {
    withstands(&TopPop::new(), |_| ());
    withstands(&PureSvd::new(2), |_| ());
    withstands(&Als::new().factors(2), |_| ());
    withstands(&Bpr::new().factors(2).epochs(2), |_| ());
    withstands(&Ease::new(1.0), |_| ());
    withstands(&ItemKnn::new(2), |_| ());
    withstands(&UserKnn::new(2), |_| ());
}

/// With a right checksum: a network with such a value would answer, and list nothing.
#[cfg(feature = "neural")]
#[test]
fn files_of_networks_with_values_that_are_not_finite_are_refused_by_the_name_of_the_tensor() {
    use cairn_recsys::{Gru4Rec, Sasrec, SequenceModel};
    let rows = (0..20_u32).flat_map(|user| (0..4_u32).map(move |n| (user, (user + n) % 9)));
    let log = Interactions::from_ratings(rows).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cairn");
    let gru = Gru4Rec::new().dim(4).max_length(5).epochs(1).patience(None).fit(&log).unwrap();
    // Without training all entries are 1.
    let sasrec = Sasrec::new().dim(4).max_length(5).epochs(0).patience(None).fit(&log).unwrap();
    sasrec.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let find =
        |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).position(|window| window == part).unwrap();
    let name = find(&bytes, b"\x0bnorm.weight");
    let ones = name + find(&bytes[name..], &1.0_f32.to_le_bytes().repeat(4));
    for (bad, place) in [(f32::NAN, 0), (f32::NEG_INFINITY, 3)] {
        let mut bytes = bytes.clone();
        bytes[ones + 4 * place..][..4].copy_from_slice(&bad.to_le_bytes());
        std::fs::write(&path, forged(&bytes[HEADER..])).unwrap();
        for error in [
            Fitted::<SequenceModel>::load(&path).err().map(|error| error.to_string()),
            Fitted::<dyn AnyModel>::load_any(&path).err().map(|error| error.to_string()),
        ] {
            let error = error.unwrap_or_else(|| panic!("{bad} is let pass"));
            assert!(error.contains("tensor norm.weight") && error.contains("not finite"), "{error}");
        }
    }
    std::fs::write(&path, forged(&bytes[HEADER..])).unwrap();
    assert!(Fitted::<SequenceModel>::load(&path).is_ok(), "as it was");
    gru.save(&path).unwrap();
    assert!(Fitted::<SequenceModel>::load(&path).is_ok());
}

#[test]
fn files_of_ratings_withstand_damage() {
    withstands(&Baseline::new(), estimates);
    withstands(&Baseline::new().method(BaselineMethod::SGD), estimates);
    withstands(&BiasedMf::new().factors(2).epochs(2), estimates);
    withstands(&SvdPlusPlus::new().factors(2).epochs(2), estimates);
    withstands(&Nmf::new().factors(2).epochs(2), estimates);
    withstands(&BiasedMf::new().factors(2).epochs(2).biased(false), estimates);
    withstands(&SlopeOne::new(), estimates);
    withstands(&CoClustering::new(), estimates);
    withstands(&RatingKnn::with_means().item_based(), estimates);
    withstands(&RatingKnn::with_baseline().similarity(Similarity::PEARSON_BASELINE), estimates);
}

#[test]
fn files_with_features_withstand_damage() {
    let log = small_log();
    let (users, items) = (features(&log.catalog().users), features(&log.catalog().items));
    let light = LightFm::new().factors(2).epochs(2).loss(LightFmLoss::Bpr);
    withstands(&light.item_features(&items).user_features(&users), described);
    let als = FeatureAls::new(Als::new().factors(2));
    withstands(&als.item_features(&items).user_features(&users), described);
}

/// Every third byte is enough to see what the numbers of a network may do.
#[cfg(feature = "neural")]
#[test]
fn files_of_networks_withstand_damage() {
    use cairn_recsys::{Bert4Rec, Gru4Rec, LightGcn, MultVae, NeuMf, Sasrec};
    const EVERY: usize = 3;
    withstands_every(EVERY, &Sasrec::new().dim(2).blocks(1).max_length(3).epochs(1), |_| ());
    withstands_every(EVERY, &Gru4Rec::new().dim(2).max_length(3).epochs(1), |_| ());
    withstands_every(EVERY, &Bert4Rec::new().dim(2).blocks(1).max_length(3).epochs(1), |_| ());
    withstands_every(EVERY, &MultVae::new().hidden(2).latent(2).epochs(1), |_| ());
    withstands_every(EVERY, &LightGcn::new().factors(2).layers(1).epochs(1), |_| ());
    // Somebody new is learned of anew for each answer.
    withstands_every(7, &NeuMf::new().factors(2).hidden([2]).negatives(1).epochs(1), |_| ());
}

#[cfg(feature = "neural")]
#[test]
fn files_of_networks_with_features_withstand_damage() {
    use cairn_recsys::features::{EventFeatures, FactorizationMachine, FactorizationMachineModel, TwoTower};
    let log = small_log();
    let (users, items) = (features(&log.catalog().users), features(&log.catalog().items));
    let late = |late: bool| FeatureRow::new().category("late", if late { "yes" } else { "no" });
    let events = [((1, 0), late(true)), ((2, 0), late(false))];
    let context = EventFeatures::new(&FeatureTable::new(events).unwrap(), &log.catalog().users).unwrap();
    let machine = FactorizationMachine::new().factors(2).negatives(1).epochs(1).context(&context);
    let machine = machine.item_features(&items).user_features(&users);
    let ask = |model: &Fitted<FactorizationMachineModel>| {
        described(model);
        let user = model.catalog().users.ids()[0];
        let list = model.recommend_in(&user, &late(true), 3, &Filter::unseen()).unwrap_or_default();
        assert!(list.iter().all(|entry| entry.score.is_finite()));
    };
    withstands_every(3, &machine, ask);
    withstands_every(7, &machine.hidden([2]), ask);
    let towers = TwoTower::new().factors(2).hidden([2]).epochs(1);
    withstands_every(3, &towers.item_features(&items).user_features(&users), described);
}

fn small_log() -> Interactions {
    let rows = [(1, 1, 5.0), (1, 2, 3.0), (2, 1, 4.0), (2, 2, 1.0), (2, 3, 2.0), (3, 2, 2.0), (3, 4, 5.0)];
    Interactions::from_ratings(rows).unwrap()
}

/// One of two categories each; the first of none.
fn features<X: Idx>(ids: &IdMap<u32, X>) -> FeatureMatrix<X> {
    let rows = ids.ids().iter().skip(1).map(|&id| (id, half(id)));
    FeatureMatrix::new(&FeatureTable::new(rows).unwrap(), ids).unwrap()
}

fn half(id: u32) -> FeatureRow {
    FeatureRow::new().category("half", if id.is_multiple_of(2) { "even" } else { "odd" })
}

/// Answers about who is new, or errors.
fn described<M: FeatureModel>(model: &Fitted<M>) {
    let user = model.catalog().users.ids()[0];
    for row in [half(1), half(2), FeatureRow::new()] {
        // Finite numbers of a damaged file may multiply to none; a list leaves those out.
        let scored = model.score_new_items(&user, std::slice::from_ref(&row));
        assert!(scored.is_err() || scored.is_ok_and(|scores| scores.len() == 1));
        let list = model.recommend_described(&row, 3, &Filter::unseen()).unwrap_or_default();
        assert!(list.iter().all(|entry| entry.score.is_finite()));
    }
}

fn withstands<F: Estimator<Model: Saved> + Debug>(settings: &F, ask: impl Fn(&Fitted<F::Model>)) {
    withstands_every(1, settings, ask);
}

/// With contents that lie at every so many bytes, and cuts and bytes that are wrong at each.
fn withstands_every<F: Estimator<Model: Saved> + Debug>(
    every: usize,
    settings: &F,
    ask: impl Fn(&Fitted<F::Model>),
) {
    let log = small_log();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cairn");
    settings.fit(&log).unwrap().save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let load = |bytes: &[u8]| {
        // Some file systems wait for the disk where a file is written anew: take it away first.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let of_any_model = Fitted::<dyn AnyModel, u32, u32>::load_any(&path);
        let loaded = Fitted::<F::Model>::load(&path);
        match (&of_any_model, &loaded) {
            (Ok(of_any_model), Ok(_)) => answers(of_any_model),
            (Err(of_any_model), Err(loaded)) => {
                // Where it is the name that was changed, one says what it is not and the other what there is.
                let (a, b) = (of_any_model.to_string(), loaded.to_string());
                assert!(a == b || (a.contains("none of") && b.contains("not")), "{a}, {b}");
            }
            _ => panic!("{settings:?}: refused by its type or without it, but not both"),
        }
        loaded
    };
    for at in 0..good.len() {
        assert!(matches!(load(&good[..at]), Err(Error::ModelFile { .. })), "{settings:?}: cut at {at}");
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(matches!(load(&bad), Err(Error::ModelFile { .. })), "{settings:?}: changed at {at}");
    }
    for at in (HEADER..good.len()).step_by(every) {
        for change in [1 << (at * 5 % 8), 0xff] {
            let mut payload = good[HEADER..].to_vec();
            payload[at - HEADER] ^= change;
            match load(&forged(&payload)) {
                Ok(model) => {
                    answers(&model);
                    ask(&model);
                }
                Err(error) => assert!(matches!(error, Error::ModelFile { .. }), "{settings:?}: {error}"),
            }
        }
    }
}

/// Lists without NaN, or errors.
fn answers<M: Recommender + ?Sized>(model: &Fitted<M>) {
    let (users, items) = (model.catalog().users.ids(), model.catalog().items.ids());
    let filter = Filter::unseen();
    let mut lists = model.recommend_many(users, 3, &filter).unwrap_or_default();
    for item in items {
        lists.push(model.recommend_for(&[(*item, 2.0)], 3, &filter).unwrap_or_default());
        lists.push(model.similar_items(item, 3).unwrap_or_default());
        lists.push(model.explain(&users[0], item).map(|_| Vec::new()).unwrap_or_default());
    }
    users.iter().for_each(|user| lists.push(model.similar_users(user, 3).unwrap_or_default()));
    assert!(lists.iter().flatten().all(|entry| entry.score.is_finite()));
}

/// Ratings for known and unknown ids.
fn estimates<M: RatingModel>(model: &Fitted<M>) {
    for user in 0..5 {
        for item in 0..6 {
            let estimate = model.estimate(&user, &item);
            assert!(!estimate.rating.is_nan(), "user {user}, item {item}: {estimate:?}");
        }
    }
}

/// Bytes before the payload.
const HEADER: usize = 32;

/// A file whose checksum is right but whose contents lie.
fn forged(payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"CAIRN\r\n\0\x02\0\0\0\x04\0\0\0".to_vec();
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(crc32fast::hash(payload).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

#[test]
fn forged_lengths_and_indices_are_refused() {
    // A list of 2^63 users.
    let mut payload = b"\x07top-pop\x06String\x03u32".to_vec();
    payload.extend([253, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    assert!(reason(&forged(&payload)).contains("does not decode"));
    // Item 5 of 2.
    let mut payload =
        b"\x07top-pop\x06String\x03u32\x01\x03ann\x02\x07\x09\x02\x02\x00\x01\x01\x05\x01".to_vec();
    payload.extend(1.0_f32.to_le_bytes());
    payload.extend([1, 2]);
    [1.0_f32, 2.0].iter().for_each(|v| payload.extend(v.to_le_bytes()));
    assert!(reason(&forged(&payload)).contains("sparse matrix"));
}

/// Nothing can have been trained on nobody or nothing, and nobody can be answered by it.
#[test]
fn files_without_users_or_items_are_refused() {
    let file = |users: &[u8], items: &[u8], matrix: &[u8], model: &[u8]| {
        forged(&[&b"\x07top-pop\x06String\x03u32"[..], users, items, matrix, model].concat())
    };
    let counts = [&[0_u8, 2][..], &1.0_f32.to_le_bytes(), &2.0_f32.to_le_bytes()].concat();
    for file in [
        file(b"\x00", &[2, 7, 9], &[2, 1, 0, 0, 0], &counts),
        file(b"\x01\x03ann", &[0], &[0, 2, 0, 0, 0, 0], &[1, 0]),
        file(b"\x00", &[0], &[0, 1, 0, 0, 0], &[0, 0]),
    ] {
        let reason = reason(&file);
        assert!(reason.contains("no users or no items"), "{reason}");
    }
}

/// Files of formats that there are no more, or not yet, are refused by name; a model of one's own is one entry more.
#[test]
fn an_unknown_format_is_named_beside_those_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cairn");
    let refused = |format: &str| {
        let mut payload = vec![format.len() as u8];
        payload.extend(format.as_bytes());
        std::fs::write(&path, forged(&payload)).unwrap();
        match Fitted::<dyn AnyModel, u32, u32>::load_any(&path) {
            Err(Error::ModelFile { reason, .. }) => reason,
            other => panic!("{:?}", other.map(|model| model.model().name())),
        }
    };
    // "bpr" was the name before the settings were in the file.
    for format in ["bpr", "item-index", ""] {
        let reason = refused(format);
        assert!(reason.contains(&format!("format {format:?}")), "{reason}");
        for known in ["top-pop", "item-item", "user-knn", "pure-svd", "ials", "bpr-2"] {
            assert!(reason.contains(known), "{reason}");
        }
        for known in ["baseline", "biased-mf-2", "svd++", "nmf", "slope-one", "rating-knn-2"] {
            assert!(reason.contains(known), "{reason}");
        }
    }
}

#[test]
fn a_model_of_the_callers_own_is_loaded_by_its_name() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Own(u32);
    impl Recommender for Own {
        fn name(&self) -> &'static str {
            "own"
        }
        fn n_users(&self) -> usize {
            2
        }
        fn n_items(&self) -> usize {
            2
        }
        fn score_users(&self, _: &UserItems, _: &[UserIdx], out: &mut [f32]) -> Result<(), Error> {
            out.fill(self.0 as f32);
            Ok(())
        }
    }
    impl Saved for Own {
        const FORMAT: &'static str = "own";
        fn validate(&self) -> Result<(), String> {
            if self.0 < 10 { Ok(()) } else { Err("too large".to_owned()) }
        }
    }
    let log = Interactions::from_ratings([(1_u32, 1_u32), (1, 2), (2, 1)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cairn");
    let save = |own| Fitted::new(own, log.catalog().clone(), log.user_items()).unwrap().boxed().save(&path);
    save(Own(3)).unwrap();
    assert!(Fitted::<dyn AnyModel, u32, u32>::load_any(&path).is_err());
    let load = || Fitted::<dyn AnyModel, u32, u32>::load_any_of(&path, &[ModelFormat::of::<Own>()]);
    assert_eq!(load().unwrap().recommend(&2, 5, &Filter::unseen()).unwrap()[0].score, 3.0);
    save(Own(10)).unwrap();
    assert!(load().unwrap_err().to_string().contains("own: too large"));
}

#[test]
fn another_model_or_a_missing_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.cairn");
    let log = Interactions::from_ratings([(1_u32, 1_u32), (1, 2), (2, 1)]).unwrap();
    PureSvd::new(1).fit(&log).unwrap().save(&path).unwrap();
    let error = Fitted::<TopPopModel>::load(&path).unwrap_err().to_string();
    assert!(error.contains("pure-svd") && error.contains("top-pop"), "{error}");
    assert!(Fitted::<PureSvdModel>::load(&path).is_ok());
    assert!(matches!(Fitted::<PureSvdModel>::load(folder.path().join("none")), Err(Error::Io { .. })));
    assert!(matches!(model().save(folder.path().join("no/such/folder/m")), Err(Error::Io { .. })));
    assert!(model().save("/").is_err());
}
