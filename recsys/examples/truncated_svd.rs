//! The 50 largest singular values of a 1000 x 1000 matrix D Dᵀ, D uniform, held against faer's full SVD.
//!
//! `cargo run --release -p cairn-recsys --example truncated_svd`

use std::time::Instant;

use cairn_recsys::{SvdSolver, TruncatedSvd};
use faer::Mat;
use rand::{RngExt, SeedableRng};

fn main() -> cairn_recsys::Result<()> {
    let n = 1000;
    let mut rng = rand_pcg::Pcg64::seed_from_u64(0);
    let d = Mat::<f64>::from_fn(n, n, |_, _| rng.random());
    let a = &d * d.transpose();
    let start = Instant::now();
    let full = TruncatedSvd::new(n).solver(SvdSolver::Full).fit_dense(a.as_ref())?;
    println!("full SVD           {:.3} s", start.elapsed().as_secs_f64());
    for _ in 0..3 {
        let start = Instant::now();
        let svd = TruncatedSvd::new(50).fit_dense(a.as_ref())?;
        let seconds = start.elapsed().as_secs_f64();
        let error = svd.s.iter().zip(&full.s).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max);
        println!(
            "truncated, k = 50  {seconds:.3} s, {} block products, values agree to {error:.1e}, residual {:.1e}",
            svd.products, svd.residual
        );
    }
    Ok(())
}
