//! What recording and walking the graph costs, beside the arithmetic it stands for.

use std::hint::black_box;

use cairn_autograd::Var;
use cairn_tensor::{Tensor, rng};
use criterion::{Criterion, criterion_group, criterion_main};

/// A chain of operations on single numbers: all overhead.
fn chain(c: &mut Criterion) {
    let x = Var::parameter(Tensor::<f32>::ones([1]).unwrap());
    c.bench_function("chain of 100 additions, forward and backward", |b| {
        b.iter(|| {
            let y = (0..100).fold(x.clone(), |y, _| y.add(&x).unwrap());
            black_box(y.backward().unwrap())
        });
    });
}

/// One step of the reference perceptron without its update: mostly matrix products.
fn perceptron(c: &mut Criterion) {
    let mut rng = rng(0);
    let sizes = [784, 64, 64, 10];
    let layers: Vec<_> = sizes
        .windows(2)
        .map(|pair| {
            let weight = Tensor::<f32>::normal([pair[0], pair[1]], 0.0, 0.05, &mut rng).unwrap();
            (Var::parameter(weight), Var::parameter(Tensor::zeros([pair[1]]).unwrap()))
        })
        .collect();
    let x = Var::constant(Tensor::normal([32, 784], 0.0, 1.0, &mut rng).unwrap());
    let labels = Tensor::from_vec((0..32).map(|i| i % 10).collect(), [32]).unwrap();
    c.bench_function("784-64-64-10, batch 32, forward and backward", |b| {
        b.iter(|| {
            let y = layers
                .iter()
                .enumerate()
                .fold(x.clone(), |y, (i, (w, bias))| y.linear(w, Some(bias), i < 2).unwrap());
            black_box(y.cross_entropy(&labels).unwrap().mean(..).unwrap().backward().unwrap())
        });
    });
}

/// A lookup of 3,200 rows in 10,000: the gradient must cost by the rows, not by the table.
fn lookup(c: &mut Criterion) {
    let table = Var::parameter(Tensor::<f32>::ones([10_000, 128]).unwrap());
    let ids = Tensor::from_vec((0..3200u32).map(|i| i * 7919 % 10_000).collect(), [32, 100]).unwrap();
    let ones = Tensor::ones([32, 100, 128]).unwrap();
    c.bench_function("embedding/10000x128[32x100] fwd+bwd", |b| {
        b.iter(|| black_box(table.lookup(&ids).unwrap().backward_from(ones.clone()).unwrap()));
    });
}

criterion_group!(benches, chain, perceptron, lookup);
criterion_main!(benches);
