//! The 50 largest singular triplets of a sparse matrix with the shape of MovieLens 20M, to 1e-6 relative
//! accuracy of the values, or to a tolerance of the residuals.
//!
//! `cargo run --release -p cairn-recsys --example sparse_svd -- [1m|20m] [tolerance of the residuals]`

use std::time::Instant;

use cairn_recsys::{TruncatedSvd, synthetic};

fn main() -> cairn_recsys::Result<()> {
    let argument = |n| std::env::args().nth(n);
    let large = argument(1).is_none_or(|size| size == "20m");
    let svd = match argument(2).and_then(|t| t.parse().ok()) {
        Some(tolerance) => TruncatedSvd::new(50).tolerance(tolerance),
        None => TruncatedSvd::new(50).value_tolerance(1e-6),
    };
    let (users, items, draws) = if large { (138_493, 26_744, 32_000_000) } else { (6040, 3706, 1_600_000) };
    let matrix = synthetic::power_law(users, items, draws, 0)?;
    let start = Instant::now();
    let svd = svd.fit_sparse(&matrix)?;
    println!(
        "{} entries: {:.2} s, {} products, residual {:.1e}, error of values at most {:.1e}, values {:.4} to {:.4}",
        matrix.nnz(),
        start.elapsed().as_secs_f64(),
        svd.products,
        svd.residual,
        svd.value_error,
        svd.s[0],
        svd.s[49]
    );
    Ok(())
}
