//! Whole layers, forward and with their gradients: `cargo bench -p cairn-autograd --bench layers -- conv2d`.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

mod table;
#[path = "../../tensor/benches/table/mod.rs"]
#[allow(dead_code)] // its type of row
mod tensor;

fn layers(criterion: &mut Criterion) {
    for operation in table::layers() {
        // Inputs are made when an operation is chosen, so that filtering by name is quick.
        let mut run: Option<tensor::Run> = None;
        criterion.bench_function(&operation.name, |bencher| {
            let run = run.get_or_insert_with(|| (operation.prepare)());
            bencher.iter(&mut **run);
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    targets = layers
}
criterion_main!(benches);
