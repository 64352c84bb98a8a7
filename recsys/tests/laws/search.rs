//! The search finds what is better, keeps what fails apart, and repeats for any number of threads.

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
