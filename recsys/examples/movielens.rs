//! Rankers on MovieLens 100K, full ranking: leave-last-out, or with `random` a fifth of each user's ratings held out.
//!
//! `cargo run --release -p cairn-recsys --example movielens -- path/to/ml-100k [random]`

use std::time::Instant;

use cairn_recsys::{
    Als, Bpr, Ease, Estimator, Interactions, ItemKnn, KnnWeighting, PureSvd, RankingEvaluator, RankingMetric,
    Recommender, Rp3Beta, Slim, Split, TopPop, UserKnn, metrics, read,
};

fn check<F: Estimator>(settings: &F, train: &Interactions, test: &Interactions) -> cairn_recsys::Result<()> {
    let start = Instant::now();
    let model = settings.fit(train)?;
    let fit = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let report = RankingEvaluator::at([10]).evaluate(&model, test)?;
    let mean = |metric: &dyn RankingMetric| report.mean(metric, 10).unwrap_or(f64::NAN);
    println!(
        "{:<10} NDCG@10 {:.4}  hit rate@10 {:.4}  recall@10 {:.4}  fit {fit:.2} s, evaluation {:.2} s",
        model.model().name(),
        mean(&metrics::Ndcg),
        mean(&metrics::HitRate),
        mean(&metrics::Recall),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn main() -> cairn_recsys::Result<()> {
    let Some(path) = std::env::args().nth(1) else {
        println!("give the folder of a MovieLens set; see https://grouplens.org/datasets/movielens/");
        return Ok(());
    };
    let log = read::movielens::ratings(path)?.0;
    let split = match std::env::args().nth(2).as_deref() {
        Some("random") => Split::per_user(0.2, 0),
        _ => Split::leave_last_out(),
    };
    let (train, test) = log.split(split)?;
    let train = train.map_values(|_| 1.0)?;
    println!("{} users, {} items, {} ratings to train on", log.n_users(), log.n_items(), train.len());
    check(&TopPop::new(), &train, &test)?;
    check(&PureSvd::new(20), &train, &test)?;
    check(&ItemKnn::new(100).weighting(KnnWeighting::TfIdf), &train, &test)?;
    check(&UserKnn::new(100).weighting(KnnWeighting::TfIdf), &train, &test)?;
    check(&Rp3Beta::new(), &train, &test)?;
    check(&Bpr::new(), &train, &test)?;
    check(&Als::new().factors(32), &train, &test)?;
    check(&Ease::new(300.0), &train, &test)?;
    check(&Slim::new(), &train, &test)?;
    Ok(())
}
