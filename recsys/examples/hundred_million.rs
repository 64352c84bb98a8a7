//! 100 million generated interactions, implicit ALS with 64 factors, and the most memory it took.
//!
//! `cargo run --release -p cairn-recsys --example hundred_million -- [draws] [sweeps]`

use std::time::Instant;

use cairn_recsys::{Als, Estimator, synthetic};

/// High-water mark of the process, where the system tells (Linux).
fn peak_gib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / (1024.0 * 1024.0))
}

fn main() -> cairn_recsys::Result<()> {
    let number = |n: usize, default| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (draws, sweeps) = (number(1, 130_000_000), number(2, 1));
    let start = Instant::now();
    let matrix = synthetic::power_law(700_000, 60_000, draws, 0)?;
    println!("{} interactions generated in {:.1} s", matrix.nnz(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let settings = Als::new().epochs(sweeps);
    let model = settings.fit_matrix(&matrix)?;
    println!("{sweeps} sweeps and the last solution in {:.1} s", start.elapsed().as_secs_f64());
    println!("{} user and {} item vectors", model.factors().users.len(), model.factors().items.len());
    if let Some(peak) = peak_gib() {
        println!("peak memory {peak:.2} GiB");
    }
    Ok(())
}
