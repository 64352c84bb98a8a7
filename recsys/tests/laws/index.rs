//! The index against exact lists: the same contract, the same lists where all cells are visited, and the same bits always.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_files::container;
use cairn_recsys::{
    Als, AnnSettings, Bpr, Catalog, Csr, Ease, Error, Estimator, Factors, Filter, Fitted, IdMap, ItemIdx,
    PureSvd, RankingEvaluator, Recommender, Result, Scored, ScoredItem, Split, UserIdx, UserItems, Vectors,
    metrics, synthetic,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Vectors as they are given.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Given {
    factors: Factors,
}

impl Recommender for Given {
    fn name(&self) -> &'static str {
        "given"
    }
    fn n_users(&self) -> usize {
        self.factors.users.len()
    }
    fn n_items(&self) -> usize {
        self.factors.items.len()
    }
    /// Vectors are given for all.
    fn knows_item(&self, _: ItemIdx, _: bool) -> bool {
        true
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        for (user, out) in users.iter().zip(out.chunks_mut(self.n_items())) {
            out.iter_mut().enumerate().for_each(|(item, out)| *out = self.score(*user, item));
        }
        Ok(())
    }
    fn inner_product(&self) -> Option<&Factors> {
        Some(&self.factors)
    }
    fn fold_in_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.factors.items.dim()];
        for (item, value) in items.iter().zip(values) {
            out.iter_mut()
                .zip(self.factors.items.get(item.0 as usize))
                .for_each(|(out, x)| *out += value * x);
        }
        Ok(out)
    }
}

impl Given {
    fn score(&self, user: UserIdx, item: usize) -> f32 {
        let (user, item) = (self.factors.users.get(user.0 as usize), self.factors.items.get(item));
        user.iter().zip(item).map(|(a, b)| a * b).sum()
    }
}

/// A table of vectors by way of its file form, the only one that takes any numbers.
fn vectors(dim: usize, data: Vec<f32>) -> Vectors {
    let mut bytes = Vec::new();
    container::append(&mut bytes, &(dim, data)).unwrap();
    container::take(&mut &bytes[..]).unwrap()
}

fn given(dim: usize, users: Vec<f32>, items: Vec<f32>, met: impl Fn(u32, u32) -> bool) -> Fitted<Given> {
    let (n_users, n_items) = ((users.len() / dim) as u32, (items.len() / dim) as u32);
    let pairs = (0..n_users).flat_map(|u| (0..n_items).map(move |i| (u, i))).filter(|&(u, i)| met(u, i));
    let entries = pairs.map(|(u, i)| (UserIdx(u), ItemIdx(i), 1.0));
    let seen = Csr::from_entries(n_users as usize, n_items as usize, entries).unwrap();
    let catalog = Catalog {
        users: Arc::new(IdMap::from_ids(0..n_users).unwrap()),
        items: Arc::new(IdMap::from_ids(0..n_items).unwrap()),
    };
    let factors = Factors { users: vectors(dim, users), items: vectors(dim, items) };
    Fitted::new(Given { factors }, catalog, seen).unwrap()
}

/// Small whole numbers: scores are exact, and ties, equal vectors and zero vectors are many.
fn whole(n: usize, dim: usize, salt: u64) -> Vec<f32> {
    (0..(n * dim) as u64)
        .map(|at| {
            let h = (at + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            // Every fourth vector is zero.
            if (at / dim as u64 + salt).is_multiple_of(4) { 0.0 } else { (h >> 40) as f32 % 5.0 - 2.0 }
        })
        .collect()
}

/// Numbers from -1 to 1 without order, whose products round.
fn scattered(n: usize, dim: usize, salt: u64) -> Vec<f32> {
    // SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
    let number = |at: u64| {
        let z = (at + salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) >> 40
    };
    (0..(n * dim) as u64).map(|at| number(at) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Hard for an index: vectors in 10 dimensions without any order.
fn hard() -> Fitted<Given> {
    given(10, scattered(300, 10, 1), scattered(3000, 10, 1 << 30), |u, i| (u + i) % 7 == 0)
}

fn all_users<M: Recommender>(model: &Fitted<M>) -> Vec<UserIdx> {
    model.seen().row_indices().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With as many probes as cells the lists are the exact ones, whatever the filter.
    #[test]
    fn all_cells_give_the_exact_lists(
        n_users in 1_usize..60, n_items in 1_usize..200, dim in 1_usize..20, cells in 1_usize..40,
        k in 1_usize..250, salt in 0_u64..1000, seed: u64,
    ) {
        let model = given(dim, whole(n_users, dim, salt), whole(n_items, dim, salt + 7), |u, i| (u * 31 + i * 17) % 5 < 2);
        let settings = AnnSettings::new().cells(cells).probes(cells).seed(seed);
        let index = model.with_index(settings).unwrap();
        prop_assert!(index.index().unwrap().cells() <= cells.min(n_items));
        let users = all_users(&model);
        for filter in [Filter::all(), Filter::unseen(), Filter::unseen().only(|item: &u32| !item.is_multiple_of(3)).without([1, 2])] {
            let want = model.recommend_indices(&users, k, &filter).unwrap();
            prop_assert_eq!(index.recommend_indices(&users, k, &filter).unwrap(), want);
        }
    }

    /// With few probes: only what qualifies, once, best first, ties by popularity, by the true score; and k of them if k qualify.
    #[test]
    fn lists_keep_their_contract(
        n_users in 1_usize..40, n_items in 1_usize..300, dim in 1_usize..12, cells in 1_usize..60,
        k in 1_usize..60, salt in 0_u64..1000, rare in 1_u32..80,
    ) {
        let model = given(dim, whole(n_users, dim, salt), whole(n_items, dim, salt + 3), |u, i| (u * 7 + i * 13) % 3 > 0);
        let index = model.with_index(AnnSettings::new().cells(cells).probes(1)).unwrap();
        let users: Vec<u32> = (0..n_users as u32).collect();
        let mut counts = vec![0; n_items];
        model.seen().columns().iter().for_each(|item| counts[item.0 as usize] += 1);
        let filter = Filter::unseen().only(move |item: &u32| item.is_multiple_of(rare));
        for (user, list) in users.iter().zip(index.recommend_many(&users, k, &filter).unwrap()) {
            let row = model.seen().row(UserIdx(*user)).0;
            if row.is_empty() {
                continue; // gets what is popular
            }
            let qualifies = |item: u32| item.is_multiple_of(rare) && row.binary_search(&ItemIdx(item)).is_err();
            let n = (0..n_items as u32).filter(|&item| qualifies(item)).count();
            prop_assert_eq!(list.len(), k.min(n));
            prop_assert_eq!(list.iter().map(|entry| entry.id).collect::<HashSet<_>>().len(), list.len());
            for entry in &list {
                prop_assert!(qualifies(entry.id));
                prop_assert_eq!(entry.score, model.model().score(UserIdx(*user), entry.id as usize));
            }
            for pair in list.windows(2) {
                let met = |entry: &Scored<u32>| counts[entry.id as usize];
                prop_assert!(pair[0].score > pair[1].score || (pair[0].score == pair[1].score && met(&pair[0]) >= met(&pair[1])));
            }
        }
    }

    /// Vectors with anything in them: what scores no finite number for a user is never in their list.
    #[test]
    fn odd_vectors_do_no_harm(
        items in prop::collection::vec(odd(), 3..120), users in prop::collection::vec(odd(), 3..30),
        cells in 1_usize..12, probes in 1_usize..12, k in 1_usize..50,
    ) {
        let (items, users) = (whole_rows(items), whole_rows(users));
        // Everybody met an item: who met none gets what is popular.
        let model = given(3, users, items, |_, i| i == 0);
        let index = model.with_index(AnnSettings::new().cells(cells).probes(probes)).unwrap();
        let all = all_users(&model);
        for (user, list) in all.iter().zip(index.recommend_indices(&all, k, &Filter::all()).unwrap()) {
            prop_assert!(list.iter().all(|entry| entry.score.is_finite()));
            let finite = (0..model.model().n_items()).filter(|&item| model.model().score(*user, item).is_finite());
            // A sum may overflow in one order and not in another; none of these does.
            prop_assert_eq!(list.len(), k.min(finite.count()));
        }
    }

    /// One user alone, all of them together, and every order of them: the same bits, though sums round.
    #[test]
    fn company_does_not_matter(n_users in 2_usize..80, n_items in 20_usize..400, cells in 1_usize..40, probes in 1_usize..10, seed: u64) {
        let model = given(9, scattered(n_users, 9, seed >> 32), scattered(n_items, 9, seed & 0xffff), |u, i| (u + i) % 4 == 0);
        let index = model.with_index(AnnSettings::new().cells(cells).probes(probes)).unwrap();
        let users = all_users(&model);
        let together = index.recommend_indices(&users, 10, &Filter::unseen()).unwrap();
        for (user, list) in users.iter().zip(&together) {
            prop_assert_eq!(&index.recommend_indices(&[*user], 10, &Filter::unseen()).unwrap()[0], list);
        }
    }
}

fn odd() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => (-3_i32..4).prop_map(|n| n as f32),
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(1e30_f32),
        1 => Just(-1e-30_f32),
        1 => Just(-0.0_f32),
    ]
}

/// Cut to whole vectors of three.
fn whole_rows(mut data: Vec<f32>) -> Vec<f32> {
    data.truncate(data.len() / 3 * 3);
    data
}

fn trained() -> Fitted<cairn_recsys::AlsModel> {
    let log = synthetic::planted_groups(400, 900, 12, 15, 0.1, 3).unwrap();
    Als::new().factors(16).epochs(4).fit(&log).unwrap()
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let model = hard();
    let users = all_users(&model);
    let lists = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let index = model.with_index(AnnSettings::new().probes(9).seed(5)).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("index");
            index.save_index(&path).unwrap();
            let lists = index.recommend_indices(&users, 20, &Filter::unseen()).unwrap();
            (std::fs::read(path).unwrap(), lists)
        })
    };
    let one = lists(1);
    assert_eq!(one, lists(3));
    assert_eq!(one, lists(8));
    let other = model.with_index(AnnSettings::new().probes(9).seed(6)).unwrap();
    assert!(
        one.1 != other.recommend_indices(&users, 20, &Filter::unseen()).unwrap(),
        "the seed does nothing"
    );
}

#[test]
fn more_probes_find_more() {
    let model = hard();
    let sample: Vec<u32> = (0..300).collect();
    let mut index = model.with_index(AnnSettings::new().cells(60)).unwrap();
    let mut recalls = Vec::new();
    for probes in [1, 4, 16, 60, 1000] {
        index = index.with_probes(probes).unwrap();
        recalls.push(index.recall(&sample, 10, &Filter::unseen()).unwrap());
    }
    assert!(recalls.is_sorted(), "{recalls:?}");
    assert!(recalls[0] < 0.5 && recalls[2] > 0.8, "{recalls:?}");
    assert_eq!(recalls[3..], [1.0, 1.0]);
}

/// ALS, PureSVD and boxed models; folding in what a user has met gives that user's list.
#[test]
fn every_model_of_inner_products_has_an_index() {
    fn check<M: Recommender + ?Sized>(model: &Fitted<M>, folds_in: bool) {
        let index = model.with_index(AnnSettings::new().probes(usize::MAX)).unwrap();
        for user in [0_u32, 17, 60] {
            let want = model.recommend(&user, 8, &Filter::unseen()).unwrap();
            let ids =
                |list: &[cairn_recsys::Scored<u32>]| list.iter().map(|entry| entry.id).collect::<Vec<_>>();
            assert_eq!(ids(&index.recommend(&user, 8, &Filter::unseen()).unwrap()), ids(&want));
            let (items, values) = model.seen().row(model.catalog().user(&user).unwrap());
            let id = |item: &ItemIdx| *model.catalog().items.id(*item);
            let history: Vec<(u32, f32)> = items.iter().map(id).zip(values.iter().copied()).collect();
            match index.recommend_for(&history, 8, &Filter::unseen()) {
                Ok(list) => {
                    assert_eq!(
                        ids(&list),
                        ids(&model.recommend_for(&history, 8, &Filter::unseen()).unwrap())
                    );
                }
                Err(error) => assert!(!folds_in && matches!(error, Error::Unsupported { .. }), "{error}"),
            }
            // Seen items come back when they may.
            let all = index.recommend_for(&history, 900, &Filter::all());
            assert!(all.is_err() || all.unwrap().len() == model.seen().n_cols());
        }
    }
    let log = synthetic::planted_groups(80, 120, 4, 10, 0.1, 1).unwrap();
    check(&Als::new().factors(12).fit(&log).unwrap(), true);
    check(&Als::new().factors(12).fit(&log).unwrap().boxed(), true);
    check(&PureSvd::new(10).fit(&log).unwrap(), true);
    check(&Bpr::new().factors(8).epochs(20).fit(&log).unwrap(), false);
    let ease = Ease::new(10.0).fit(&log).unwrap();
    let error = ease.with_index(AnnSettings::new()).unwrap_err();
    assert_eq!(error.to_string(), "EASE does not offer an index of its items");
}

#[test]
fn wrong_calls_are_errors() {
    let model = trained();
    for settings in [AnnSettings::new().cells(0), AnnSettings::new().probes(0)] {
        assert!(matches!(model.with_index(settings), Err(Error::Parameter { .. })));
    }
    let index = model.with_index(AnnSettings::new()).unwrap();
    assert!(matches!(index.recommend(&0, 0, &Filter::all()), Err(Error::Parameter { name: "k", .. })));
    assert!(matches!(
        index.recommend_for(&[(0, 1.0)], 0, &Filter::all()),
        Err(Error::Parameter { name: "k", .. })
    ));
    assert!(matches!(index.recommend(&9999, 1, &Filter::all()), Err(Error::UnknownUser(_))));
    assert!(matches!(index.recommend_many(&[1, 9999], 1, &Filter::all()), Err(Error::UnknownUser(_))));
    assert!(matches!(
        index.recommend_indices(&[UserIdx(400)], 1, &Filter::all()),
        Err(Error::UnknownUser(_))
    ));
    assert!(matches!(index.recommend_for(&[(9999, 1.0)], 1, &Filter::all()), Err(Error::UnknownItem(_))));
    assert!(matches!(index.recommend_for(&[], 1, &Filter::all()), Err(Error::Empty { .. })));
    assert!(matches!(index.recall(&[], 1, &Filter::all()), Err(Error::Empty { .. })));
    assert!(index.recommend_many(&[], 1, &Filter::all()).unwrap().is_empty());
    // Above the catalogue: everything that qualifies.
    assert_eq!(index.recommend(&0, usize::MAX, &Filter::all()).unwrap().len(), model.seen().n_cols());
    assert!(index.recommend(&0, 5, &Filter::all().only(|_| false)).unwrap().is_empty());
    assert_eq!(index.recall(&[0], 5, &Filter::all().only(|_| false)).unwrap(), 1.0);
    assert!(matches!(index.with_probes(0), Err(Error::Parameter { name: "probes", .. })));
}

#[test]
fn catalogues_of_one_item_or_of_equal_items() {
    for items in [vec![1.0, 2.0], [1.0, 2.0].repeat(700), vec![0.0; 1400]] {
        let n = items.len() / 2;
        let model = given(2, vec![1.0, -1.0, 0.0, 0.0], items, |_, i| i == 0);
        let index = model.with_index(AnnSettings::new()).unwrap();
        assert!(index.index().unwrap().cells() >= 1);
        let lists = index.recommend_many(&[0, 1], 10, &Filter::all()).unwrap();
        assert_eq!(lists, model.recommend_many(&[0, 1], 10, &Filter::all()).unwrap());
        for list in lists {
            let mut ids: Vec<u32> = list.iter().map(|entry| entry.id).collect();
            assert_eq!(ids[0], 0, "the item that somebody met");
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), n.min(10));
        }
    }
}

#[test]
fn vectors_of_other_sizes_than_the_catalogue_are_refused() {
    #[derive(Debug)]
    struct Liar(Given);
    impl Recommender for Liar {
        fn name(&self) -> &'static str {
            "liar"
        }
        fn n_users(&self) -> usize {
            2
        }
        fn n_items(&self) -> usize {
            3
        }
        fn score_users(&self, _: &UserItems, _: &[UserIdx], _: &mut [f32]) -> Result<()> {
            Ok(())
        }
        fn inner_product(&self) -> Option<&Factors> {
            Some(&self.0.factors)
        }
    }
    let right = given(2, vec![1.0; 4], vec![1.0; 6], |_, _| false);
    for (users, items) in [((2, 2), (2, 2)), ((2, 3), (2, 3)), ((2, 2), (3, 3)), ((0, 2), (0, 3))] {
        let table = |(dim, n): (usize, usize)| vectors(dim, vec![1.0; dim * n]);
        let liar = Liar(Given { factors: Factors { users: table(users), items: table(items) } });
        let model = Fitted::new(liar, right.catalog().clone(), right.seen().clone()).unwrap();
        let error = model.with_index(AnnSettings::new()).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
}

#[test]
fn one_index_serves_many_threads() {
    let model = Arc::new(trained());
    let index = Arc::new(model.with_index(AnnSettings::new()).unwrap());
    let users: Vec<u32> = (0..400).collect();
    let want = index.recommend_many(&users, 10, &Filter::unseen()).unwrap();
    let threads: Vec<_> = (0..3)
        .map(|part| {
            let (index, users) = (Arc::clone(&index), users.clone());
            std::thread::spawn(move || {
                let users = users.iter().skip(part).step_by(3);
                users.map(|user| index.recommend(user, 10, &Filter::unseen()).unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    for (part, thread) in threads.into_iter().enumerate() {
        assert!(thread.join().unwrap().iter().eq(want.iter().skip(part).step_by(3)));
    }
}

/// Everything that asks for lists goes through the index; the model's file does not hold it.
#[test]
fn evaluation_and_boxes_keep_the_index() {
    let log = synthetic::planted_groups(400, 900, 12, 15, 0.1, 3).unwrap();
    let (train, test) = log.split(Split::leave_last_out()).unwrap();
    let exact = Als::new().factors(16).epochs(4).fit(&train).unwrap();
    let narrow = exact.with_index(AnnSettings::new().cells(60).probes(1)).unwrap();
    let all = narrow.with_probes(60).unwrap();
    let figures = |model: &Fitted<_>| RankingEvaluator::at([10]).evaluate(model, &test).unwrap();
    assert_eq!(figures(&all).per_user(metrics::Recall, 10), figures(&exact).per_user(metrics::Recall, 10));
    assert_ne!(figures(&narrow).per_user(metrics::Recall, 10), figures(&exact).per_user(metrics::Recall, 10));
    let users = all_users(&exact);
    let lists = narrow.recommend_indices(&users, 10, &Filter::unseen()).unwrap();
    let boxed = narrow.clone().boxed();
    assert_eq!(boxed.recommend_indices(&users, 10, &Filter::unseen()).unwrap(), lists);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    boxed.save(&path).unwrap();
    let loaded = Fitted::<cairn_recsys::AlsModel>::load(&path).unwrap();
    assert!(loaded.index().is_none());
    assert_eq!(loaded.recall(&[0, 1], 10, &Filter::unseen()).unwrap(), 1.0);
    assert!(matches!(loaded.with_probes(3), Err(Error::Unsupported { .. })));
    assert!(matches!(loaded.save_index(&path), Err(Error::Unsupported { .. })));
}

#[test]
fn an_index_is_kept_in_a_file() {
    let model = trained();
    let index = model.with_index(AnnSettings::new().cells(50).probes(7)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.index");
    index.save_index(&path).unwrap();
    let loaded = model.load_index(&path).unwrap();
    let users = all_users(&model);
    let lists = |index: &Fitted<_>| -> Vec<Vec<ScoredItem>> {
        index.recommend_indices(&users, 10, &Filter::unseen()).unwrap()
    };
    assert_eq!(loaded.index().unwrap().probes(), 7);
    assert_eq!(lists(&loaded), lists(&index));

    let reason = |path: &std::path::Path| match model.load_index(path) {
        Err(Error::ModelFile { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let bytes = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged");
    for at in (0..bytes.len()).step_by(97) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x20;
        std::fs::write(&damaged, &bad).unwrap();
        reason(&damaged);
    }
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    assert!(reason(&damaged).contains("announced"));
    let other = Als::new().factors(16).epochs(1).fit_matrix(model.seen()).unwrap();
    let other = Fitted::new(other, model.catalog().clone(), model.seen().clone()).unwrap();
    let error = other.load_index(&path).unwrap_err().to_string();
    assert!(error.contains("other item vectors"), "{error}");
    model.save(&damaged).unwrap();
    reason(&damaged);
    assert!(matches!(model.load_index(folder.path().join("none")), Err(Error::Io { .. })));
}

/// A file with a right checksum and wrong contents.
#[test]
fn a_forged_index_is_refused() {
    let model = given(2, whole(3, 2, 1), whole(40, 2, 2), |_, _| false);
    let index = model.with_index(AnnSettings::new().cells(5)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.index");
    index.save_index(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for at in 32..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let sum = crc32fast::hash(&bad[32..]).to_le_bytes();
        bad[24..28].copy_from_slice(&sum);
        std::fs::write(&path, &bad).unwrap();
        match model.load_index(&path) {
            // The number of probes and the centroids may be any: lists are still right.
            Ok(index) => {
                let list = index.recommend(&0, 40, &Filter::all()).unwrap();
                let ids: HashSet<u32> = list.iter().map(|entry| entry.id).collect();
                assert_eq!((list.len(), ids.len()), (40, 40));
            }
            Err(Error::ModelFile { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 40, "{refused}");
}

/// The size at which an index by graphs was seen to panic: zero vectors, equal vectors, vectors of one length.
#[test]
#[ignore = "a second in a release build, five without"]
fn a_catalogue_of_many_items() {
    let (n, dim) = (180_000_usize, 24);
    let mut items: Vec<f32> = (0..n * dim)
        .map(|at| ((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 16_777_216.0 - 0.5)
        .collect();
    for (item, vector) in items.chunks_mut(dim).enumerate() {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        match item % 8 {
            0 => vector.fill(0.0),
            1 => vector.iter_mut().enumerate().for_each(|(at, x)| *x = at as f32),
            2..=4 => vector.iter_mut().for_each(|x| *x /= length),
            _ => {}
        }
    }
    let users: Vec<f32> = items[5 * dim..][..64 * dim].to_vec();
    let model = given(dim, users, items, |u, i| i % 9973 == u);
    let index = model.with_index(AnnSettings::new()).unwrap();
    let users: Vec<u32> = (0..64).collect();
    let recall = index.recall(&users, 10, &Filter::unseen()).unwrap();
    assert!(recall > 0.5, "{recall}");
    let lists = index.recommend_many(&users, 10, &Filter::unseen().only(|item| item % 1000 == 7)).unwrap();
    assert!(lists.iter().all(|list| list.len() == 10));
    let index = index.with_probes(usize::MAX).unwrap();
    assert_eq!(index.recall(&users, 10, &Filter::unseen()).unwrap(), 1.0);
}
