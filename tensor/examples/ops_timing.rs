//! The time of single operations: microseconds, best of many, one line each (`--json` for JSON lines).
//!
//! ```text
//! cargo run --release -p cairn-tensor --example ops_timing -- [--json] [--only SUBSTRING]
//! ```

use std::time::Instant;

#[path = "../benches/table.rs"]
mod table;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let json = args.iter().any(|arg| arg == "--json");
    let only = args.iter().position(|arg| arg == "--only").and_then(|i| args.get(i + 1));
    for operation in table::operations() {
        if only.is_some_and(|only| !operation.name.contains(only.as_str())) {
            continue;
        }
        let micros = best(&mut *(operation.prepare)());
        let threads = cairn_tensor::num_threads();
        if json {
            println!(r#"{{"op": "{}", "us": {micros:.2}, "threads": {threads}}}"#, operation.name);
        } else {
            println!("{:<40} {micros:>10.2} µs", operation.name);
        }
    }
}

/// The shortest of the runs that fit into 0.3 s, five at least.
fn best(run: &mut dyn FnMut()) -> f64 {
    run();
    run();
    let (start, mut best, mut count) = (Instant::now(), f64::INFINITY, 0);
    while (start.elapsed().as_secs_f64() < 0.3 || count < 5) && count < 20_000 {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed().as_secs_f64());
        count += 1;
    }
    best * 1e6
}
