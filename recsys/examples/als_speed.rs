//! Seconds for a sweep of implicit ALS by solver, and the loss it buys, on matrices with the shape of MovieLens.
//!
//! `cargo run --release -p cairn-recsys --example als_speed -- [1m|20m] [factors] [sweeps] [part of a solver's name]`

use std::time::Instant;

use cairn_recsys::{Als, AlsSolver, Estimator, synthetic};

fn main() -> cairn_recsys::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default| arguments.get(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (users, items, draws) = match arguments.first().map(String::as_str) {
        Some("20m") => (138_493, 26_744, 32_000_000),
        _ => (6040, 3706, 1_600_000),
    };
    let (factors, sweeps) = (number(1, 64), number(2, 5));
    let matrix = synthetic::power_law(users, items, draws, 0)?;
    println!("{users} x {items}, {} entries, {factors} factors", matrix.nnz());
    for solver in [
        AlsSolver::Cholesky,
        AlsSolver::ConjugateGradient { steps: 3 },
        AlsSolver::Blocks { size: 64 },
        AlsSolver::Blocks { size: 32 },
        AlsSolver::Blocks { size: 16 },
    ] {
        if arguments.get(3).is_some_and(|part| !format!("{solver:?}").contains(part)) {
            continue;
        }
        let seconds = |sweeps| {
            let settings = Als::new().factors(factors).epochs(sweeps).solver(solver);
            let start = Instant::now();
            let model = settings.fit_matrix(&matrix)?;
            let seconds = start.elapsed().as_secs_f64();
            Ok::<_, cairn_recsys::Error>((seconds, settings.loss(&matrix, model.factors())?))
        };
        // The difference leaves out the start and the last exact solution for the users.
        let (none, _) = seconds(0)?;
        let (all, loss) = seconds(sweeps)?;
        println!("{solver:?}: {:.3} s a sweep, loss after {sweeps}: {loss:.1}", (all - none) / sweeps as f64);
    }
    Ok(())
}
