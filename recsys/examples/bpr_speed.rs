//! Seconds for an epoch of BPR with 64 entries a vector, on matrices with the shape of MovieLens 1M and 20M.
//!
//! `cargo run --release -p cairn-recsys --example bpr_speed -- [1m|20m]`

use std::time::Instant;

use cairn_recsys::{Bpr, Estimator, synthetic};

fn main() -> cairn_recsys::Result<()> {
    let large = std::env::args().nth(1).is_some_and(|size| size == "20m");
    let (users, items, draws) = if large { (138_493, 26_744, 32_000_000) } else { (6040, 3706, 1_600_000) };
    let matrix = synthetic::power_law(users, items, draws, 0)?;
    println!("{users} x {items}, {} entries", matrix.nnz());
    let epochs = if large { 2 } else { 10 };
    for _ in 0..3 {
        let seconds = |epochs| {
            let start = Instant::now();
            // 63 factors and the bias.
            Bpr::new().factors(63).epochs(epochs).fit_matrix(&matrix)?;
            Ok::<_, cairn_recsys::Error>(start.elapsed().as_secs_f64())
        };
        println!("{:.4} s an epoch", (seconds(epochs + 1)? - seconds(1)?) / epochs as f64);
    }
    Ok(())
}
