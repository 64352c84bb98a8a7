//! One step of each optimiser, and an epoch of the reference perceptron.

use cairn_autograd::Parameter;
use cairn_datasets::synthetic;
use cairn_nn::{Activation::Relu, Module, Sequential, SparseCategoricalCrossentropy, spec::Dense};
use cairn_optim::{Adam, Fit, Lamb, Optimizer, Sgd, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[derive(Module)]
struct Parameters {
    table: Parameter,
    weight: Parameter,
}

/// 1.33 million values, dense, and 3,200 of 10,000 rows.
fn steps(c: &mut Criterion) {
    let tensor = |shape: [usize; 2]| Parameter::new(Tensor::normal(shape, 0.0, 1.0, &mut rng(0)).unwrap());
    let model = Parameters { table: tensor([10_000, 128]), weight: tensor([256, 192]) };
    let optimizers: [(&str, Box<dyn Optimizer>); 4] = [
        ("sgd_step", Box::new(Sgd::new(1e-3))),
        ("momentum_step", Box::new(Sgd::new(1e-3).momentum(0.9))),
        ("adam_step", Box::new(Adam::default())),
        ("lamb_step", Box::new(Lamb::default())),
    ];
    for (name, mut optimizer) in optimizers {
        let loss = model.table.var().sum(..).unwrap().add(&model.weight.var().sum(..).unwrap()).unwrap();
        let dense = loss.backward().unwrap();
        c.bench_function(&format!("{name}/1.33M"), |b| {
            b.iter(|| optimizer.step(&model, &dense).unwrap());
        });
    }
    let ids = Tensor::from_vec((0..3200u32).map(|i| i * 3).collect(), [3200]).unwrap();
    let loss = model
        .table
        .var()
        .lookup(&ids)
        .unwrap()
        .sum(..)
        .unwrap()
        .add(&model.weight.var().sum(..).unwrap())
        .unwrap();
    let (sparse, mut adam) = (loss.backward().unwrap(), Adam::default());
    c.bench_function("adam_step/3200 of 10000 rows", |b| {
        b.iter(|| adam.step(&model, &sparse).unwrap());
    });
}

fn epoch(c: &mut Criterion) {
    let data = synthetic::digits(3200, 0).unwrap().flatten();
    let model = Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10))
        .build(&mut rng(0))
        .unwrap();
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    let mut group = c.benchmark_group("784-64-64-10 trains");
    group.throughput(Throughput::Elements(3200));
    for batch in [32, 128] {
        group.bench_function(format!("an epoch at batch {batch}"), |b| {
            b.iter(|| trainer.fit(&model, &data, Fit::epochs(1).batch_size(batch).quiet()).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, steps, epoch);
criterion_main!(benches);
