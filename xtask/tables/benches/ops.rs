//! Single operations and whole layers, by name: `cargo bench -p bench-tables -- softmax`.

use std::time::Duration;

use bench_tables::Run;
use criterion::{Criterion, criterion_group, criterion_main};

fn operations(criterion: &mut Criterion) {
    for operation in bench_tables::all() {
        // Inputs are made when an operation is chosen, so that filtering by name is quick.
        let mut run: Option<Run> = None;
        criterion.bench_function(&operation.name, |bencher| {
            let run = run.get_or_insert_with(|| (operation.prepare)());
            bencher.iter(&mut **run);
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    targets = operations
}
criterion_main!(benches);
