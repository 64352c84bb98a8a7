//! The reference perceptron in use: one sample, and a batch.

use std::hint::black_box;

use cairn_nn::spec::Dense;
use cairn_nn::{Activation::Relu, Model, Sequential};
use cairn_tensor::{Tensor, rng};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn predict(c: &mut Criterion) {
    let model = Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10))
        .build(&mut rng(0))
        .unwrap();
    let mut group = c.benchmark_group("784-64-64-10 predicts a batch of");
    for batch in [1, 256] {
        let x = Tensor::<f32>::uniform([batch, 784], 0.0, 1.0, &mut rng(1)).unwrap();
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(batch.to_string(), |b| b.iter(|| black_box(model.predict_batch(&x).unwrap())));
    }
    group.finish();

    let frozen = model.frozen().unwrap();
    let mut group = c.benchmark_group("784-64-64-10, frozen, predicts");
    let sample = Tensor::<f32>::uniform([784], 0.0, 1.0, &mut rng(1)).unwrap().to_vec();
    let mut scratch = frozen.scratch();
    group.bench_function("one sample", |b| {
        b.iter(|| frozen.predict(black_box(&sample), &mut scratch).map(|scores| scores[0]).unwrap());
    });
    let x = Tensor::<f32>::uniform([256, 784], 0.0, 1.0, &mut rng(1)).unwrap();
    group.throughput(Throughput::Elements(256));
    group.bench_function("a batch of 256", |b| b.iter(|| black_box(frozen.predict_batch(&x).unwrap())));
    group.finish();
}

criterion_group!(benches, predict);
criterion_main!(benches);
