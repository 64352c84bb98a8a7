//! The search finds what is better, keeps what fails apart, and repeats for any number of threads.

use cairn_recsys::rating::BiasedMf;
use cairn_recsys::{Als, Ease, Error, Metric, Search, Split, draw, synthetic};
use rand::RngExt;

fn search() -> Search {
    let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 7).unwrap();
    Search::new(&log, Split::per_user(0.25, 0)).unwrap()
}

#[test]
fn the_best_of_a_grid_comes_first() {
    // A λ beyond all counts leaves nothing but popularity.
    let found = search().ranking([1e9, 10.0].map(Ease::new), Metric::Ndcg, 10).unwrap();
    assert_eq!(found.best().settings, Ease::new(10.0));
    assert!(found.trials[0].score > found.trials[1].score && found.failed.is_empty());
}

#[test]
fn candidates_that_fail_are_kept_apart() {
    let found = search().ranking([Ease::new(-1.0), Ease::new(10.0)], Metric::Ndcg, 10).unwrap();
    assert_eq!((found.trials.len(), found.failed.len()), (1, 1));
    assert!(matches!(found.failed[0].1, Error::Parameter { .. }));
    assert!(matches!(search().ranking([Ease::new(-1.0)], Metric::Ndcg, 10), Err(Error::Parameter { .. })));
    assert!(matches!(search().ranking(Vec::<Ease>::new(), Metric::Ndcg, 10), Err(Error::Empty { .. })));
}

#[test]
fn halving_keeps_the_better_half_at_each_rung() {
    let candidates = draw(8, 1, |rng| Als::new().factors(rng.random_range(1..12)).seed(rng.random()));
    let budget = |settings: Als, sweeps| settings.iterations(sweeps);
    let found = search().halving(candidates, &[1, 2, 4], budget, Metric::Ndcg, 10).unwrap();
    assert_eq!(found.trials.len(), 2);
    assert!(found.trials.is_sorted_by(|a, b| a.score >= b.score));
    assert!(search().halving([Als::new()], &[], budget, Metric::Ndcg, 10).is_err());
}

#[test]
fn ratings_are_searched_by_their_error_and_threads_do_not_matter() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            search().ratings([1e-5, 0.01].map(|rate| BiasedMf::new().factors(4).learning_rate(rate)))
        })
    };
    let (one, three) = (run(1).unwrap(), run(3).unwrap());
    assert_eq!(one.trials, three.trials);
    assert!(one.best().score < 0.0);
}
