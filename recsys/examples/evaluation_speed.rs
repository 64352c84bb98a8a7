//! Seconds to rank the whole catalogue for every user of a log with the shape of MovieLens 20M and to measure NDCG, recall
//! and the others at 10, 20, 50 and 100.
//!
//! `cargo run --release -p cairn-recsys --example evaluation_speed -- [small]`

use std::time::Instant;

use cairn_recsys::{
    Als, AlsSolver, Estimator, Fitted, Interactions, RankingEvaluator, Recommender, Split, TopPop, metrics,
    synthetic,
};

fn time<T>(what: &str, f: impl FnOnce() -> cairn_recsys::Result<T>) -> cairn_recsys::Result<T> {
    let start = Instant::now();
    let result = f()?;
    println!("{what}: {:.2} s", start.elapsed().as_secs_f64());
    Ok(result)
}

fn evaluate<M: Recommender>(model: &Fitted<M>, test: &Interactions) -> cairn_recsys::Result<()> {
    let name = model.model().name();
    let lists = RankingEvaluator::at([10, 20, 50, 100]);
    let report = time(&format!("{name}, lists"), || lists.evaluate(model, test))?;
    println!(
        "  {} users, NDCG@100 {:.4}",
        report.users().len(),
        report.mean(metrics::Ndcg, 100).unwrap_or(f64::NAN)
    );
    let report = time(&format!("{name}, with AUC"), || lists.clone().auc().evaluate(model, test))?;
    println!("  AUC {:.4}", report.auc().unwrap_or(f64::NAN));
    let quality = RankingEvaluator::at([10]).list_quality();
    time(&format!("{name}, with coverage, novelty and diversity at 10"), || quality.evaluate(model, test))?;
    Ok(())
}

fn main() -> cairn_recsys::Result<()> {
    let small = std::env::args().nth(1).is_some_and(|size| size == "small");
    let (users, items, draws) = if small { (6040, 3706, 1_600_000) } else { (138_493, 26_744, 32_000_000) };
    let log = time("log", || synthetic::to_log(&synthetic::power_law(users, items, draws, 0)?))?;
    println!("  {users} x {items}, {} interactions", log.len());
    let (train, test) = time("split", || log.split(Split::per_user(0.2, 0)))?;
    let settings = Als::new().factors(64).epochs(1).solver(AlsSolver::ConjugateGradient { steps: 3 });
    evaluate(&time("iALS, 64 factors", || settings.fit(&train))?, &test)?;
    evaluate(&TopPop::new().fit(&train)?, &test)
}
