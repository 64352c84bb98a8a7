//! Users a second for top-10 lists from 128 factors, on catalogues of the sizes of MovieLens 1M and 20M.
//!
//! `cargo run --release -p cairn-recsys --example serving_speed`

use std::time::Instant;

use cairn_recsys::{Als, Estimator, Filter, UserIdx, synthetic};

fn main() -> cairn_recsys::Result<()> {
    for (users, items, draws) in [(6040, 3706, 1_600_000), (20_000, 26_744, 4_600_000)] {
        let log = synthetic::to_log(&synthetic::power_law(users, items, draws, 0)?)?;
        let model = Als::new().factors(128).epochs(1).fit(&log)?;
        let users: Vec<UserIdx> = (0..log.n_users() as u32).map(UserIdx).collect();
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            let lists = model.recommend_indices(&users, 10, &Filter::unseen())?;
            assert!(lists.iter().all(|list| list.len() == 10));
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{} items: {:.0} users a second", log.n_items(), users.len() as f64 / best);
    }
    Ok(())
}
