//! The search finds what is better, keeps what fails apart, and repeats for any number of threads.

use cairn_recsys::features::{FeatureMatrix, FeatureRow, FeatureTable, LightFm};
use cairn_recsys::rating::BiasedMf;
use cairn_recsys::{Als, Ease, Error, GridSearch, Split, metrics, random_candidates, synthetic};
use rand::RngExt;

fn search() -> GridSearch {
    let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 7).unwrap();
    GridSearch::new(&log, Split::per_user(0.25, 0)).unwrap()
}

#[test]
fn the_best_of_a_grid_comes_first() {
    // A λ beyond all counts leaves nothing but popularity.
    let found = search().by_ranking([1e9, 10.0].map(Ease::new), metrics::Ndcg, 10).unwrap();
    assert_eq!(found.best().settings, Ease::new(10.0));
    assert!(found.trials[0].score > found.trials[1].score && found.failed.is_empty());
}

#[test]
fn candidates_that_fail_are_kept_apart() {
    let found = search().by_ranking([Ease::new(-1.0), Ease::new(10.0)], metrics::Ndcg, 10).unwrap();
    assert_eq!((found.trials.len(), found.failed.len()), (1, 1));
    assert!(matches!(found.failed[0].1, Error::Parameter { .. }));
    assert!(matches!(
        search().by_ranking([Ease::new(-1.0)], metrics::Ndcg, 10),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(search().by_ranking(Vec::<Ease>::new(), metrics::Ndcg, 10), Err(Error::Empty { .. })));
}

#[test]
fn halving_keeps_the_better_half_at_each_rung() {
    let candidates =
        random_candidates(8, 1, |rng| Als::new().factors(rng.random_range(1..12)).seed(rng.random()));
    let budget = |settings: Als, sweeps| settings.epochs(sweeps);
    let found = search().successive_halving(candidates, &[1, 2, 4], budget, metrics::Ndcg, 10).unwrap();
    assert_eq!(found.trials.len(), 2);
    assert!(found.trials.is_sorted_by(|a, b| a.score >= b.score));
    assert!(search().successive_halving([Als::new()], &[], budget, metrics::Ndcg, 10).is_err());
}

#[test]
fn ratings_are_searched_by_their_error_and_threads_do_not_matter() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            search().by_rmse([1e-5, 0.01].map(|rate| BiasedMf::new().factors(4).learning_rate(rate)))
        })
    };
    let (one, three) = (run(1).unwrap(), run(3).unwrap());
    assert_eq!(one.trials, three.trials);
    assert!(one.best().score < 0.0);
}

/// Of items that the candidates have never met those with features know the group.
#[test]
fn features_are_a_setting_to_choose_for_any_number_of_threads() {
    let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 7).unwrap();
    let row = |item: u32| FeatureRow::new().category("group", &(item % 3).to_string());
    let table = FeatureTable::new((0..90).map(|item| (item, row(item)))).unwrap();
    let features = FeatureMatrix::new(&table, &log.catalog().items).unwrap();
    let search = GridSearch::new(&log, Split::cold_items(0.2, 0)).unwrap();
    let plain = LightFm::new().factors(8).epochs(20).learning_rate(0.1);
    let with = plain.clone().item_features(&features);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| search.by_ranking([plain.clone(), with.clone()], metrics::Ndcg, 20).unwrap().trials)
    };
    let one = run(1);
    assert!(one[0].settings == with && one[0].score > one[1].score, "{} {}", one[0].score, one[1].score);
    assert!(one == run(2) && one == run(3));
}

#[cfg(feature = "neural")]
#[test]
fn networks_are_searched_like_all_else_and_halved_by_their_epochs() {
    use cairn_recsys::Sasrec;
    use cairn_recsys::features::TwoTower;
    let sasrec = Sasrec::new().dim(16).max_length(12).blocks(1).batch_size(32).learning_rate(0.01);
    let sasrec = sasrec.epochs(30).patience(None);
    // At such a rate nothing is learned.
    let candidates = [sasrec.clone().learning_rate(1e-9), sasrec.clone().heads(3), sasrec.clone()];
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| search().by_ranking(candidates.clone(), metrics::Ndcg, 10).unwrap())
    };
    let one = run(1);
    assert!(one.best().settings == sasrec && one.trials[0].score > one.trials[1].score, "{:?}", one.trials);
    assert!(matches!(one.failed[..], [(_, Error::Parameter { name: "heads", .. })]), "{:?}", one.failed);
    assert!([2, 3].iter().all(|&threads| run(threads).trials == one.trials));

    let towers = TwoTower::new().factors(8).hidden([16]).batch_size(128);
    let rates = [1e-9, 1e-8, 0.01, 0.02].map(|rate| towers.clone().learning_rate(rate));
    let budget = |settings: TwoTower, epochs| settings.epochs(epochs);
    let found = search().successive_halving(rates, &[10, 20], budget, metrics::Ndcg, 10).unwrap();
    let learns = |rate| towers.clone().learning_rate(rate).epochs(20);
    assert_eq!(found.trials.len(), 2);
    assert!(found.trials.iter().all(|trial| [learns(0.01), learns(0.02)].contains(&trial.settings)));
}
