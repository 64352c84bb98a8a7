//! Assembling a batch: the share of training that goes into gathering and scaling images.
//!
//! `cargo bench -p cairn-datasets --bench batches`

use std::hint::black_box;

use cairn_datasets::{Dataset, Loader, synthetic};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn batches(c: &mut Criterion) {
    // As many images as MNIST has, so that they do not fit into the cache.
    let digits = synthetic::digits(60_000, 1).expect("digits");
    let flat = digits.flatten();
    let loader = Loader::new(&flat).shuffle(1);
    let order = loader.epoch(0).expect("an epoch").order().to_vec();

    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(32));
    let mut at = 0;
    group.bench_function("32 images of 784, shuffled", |b| {
        b.iter(|| {
            at = (at + 32) % (order.len() - 32);
            black_box(flat.batch(&order[at..at + 32]).expect("a batch"))
        });
    });
    group.throughput(Throughput::Elements(60_000));
    group.sample_size(20);
    group.bench_function("epoch of 60,000 images, shuffled", |b| {
        let mut epoch = 0;
        b.iter(|| {
            epoch += 1;
            for batch in loader.epoch(epoch).expect("an epoch") {
                black_box(batch.expect("a batch"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, batches);
criterion_main!(benches);
