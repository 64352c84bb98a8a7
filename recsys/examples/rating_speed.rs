//! Seconds for an epoch of SVD (100 factors) and SVD++ (20 factors) on a matrix of the size of MovieLens 1M.
//!
//! `cargo run --release -p cairn-recsys --example rating_speed`

use std::time::Instant;

use cairn_recsys::rating::{BiasedMf, SvdPlusPlus};
use cairn_recsys::{Estimator, Result, UserItems, synthetic};

/// The difference of runs with one epoch and with eleven leaves out the set-up.
fn epoch<F: Estimator>(matrix: &UserItems, settings: impl Fn(usize) -> F) -> Result<f64> {
    let seconds = |epochs| {
        let start = Instant::now();
        settings(epochs).fit_matrix(matrix)?;
        Ok::<_, cairn_recsys::Error>(start.elapsed().as_secs_f64())
    };
    Ok((seconds(11)? - seconds(1)?) / 10.0)
}

fn main() -> Result<()> {
    let matrix = synthetic::power_law(6040, 3706, 1_600_000, 0)?;
    println!("{} ratings", matrix.nnz());
    for _ in 0..3 {
        let svd = epoch(&matrix, |epochs| BiasedMf::new().epochs(epochs))?;
        let implicit = epoch(&matrix, |epochs| SvdPlusPlus::new().epochs(epochs))?;
        println!("SVD {svd:.4} s an epoch, SVD++ {implicit:.4} s an epoch");
    }
    Ok(())
}
