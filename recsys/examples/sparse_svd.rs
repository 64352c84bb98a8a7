//! The 50 largest singular triplets of a sparse matrix with the shape of MovieLens 20M, to 1e-6.
//!
//! `cargo run --release -p cairn-recsys --example sparse_svd -- [1m|20m] [tolerance]`

use std::time::Instant;

use cairn_recsys::{TruncatedSvd, synthetic};

fn main() -> cairn_recsys::Result<()> {
    let argument = |n| std::env::args().nth(n);
    let large = argument(1).is_none_or(|size| size == "20m");
    let tolerance = argument(2).and_then(|t| t.parse().ok()).unwrap_or(1e-6);
    let (users, items, draws) = if large { (138_493, 26_744, 32_000_000) } else { (6040, 3706, 1_600_000) };
    let matrix = synthetic::power_law(users, items, draws, 0)?;
    let start = Instant::now();
    let svd = TruncatedSvd::new(50).tolerance(tolerance).fit_sparse(&matrix)?;
    println!(
        "{} entries: {:.2} s, {} products, residual {:.1e}, values {:.4} to {:.4}",
        matrix.nnz(),
        start.elapsed().as_secs_f64(),
        svd.products,
        svd.residual,
        svd.s[0],
        svd.s[49]
    );
    Ok(())
}
