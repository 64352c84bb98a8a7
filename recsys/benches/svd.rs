//! Truncated SVD: dense D Dᵀ, and a sparse matrix with the shape of MovieLens 1M.

use std::hint::black_box;

use cairn_recsys::{SvdSolver, TruncatedSvd, synthetic};
use criterion::{Criterion, criterion_group, criterion_main};
use faer::Mat;
use rand::{RngExt, SeedableRng};

fn dense(c: &mut Criterion) {
    let mut rng = rand_pcg::Pcg64::seed_from_u64(0);
    let d = Mat::<f64>::from_fn(1000, 1000, |_, _| rng.random());
    let a = &d * d.transpose();
    let mut group = c.benchmark_group("svd dense 1000x1000");
    group.sample_size(10);
    group.bench_function("k=50", |b| {
        b.iter(|| TruncatedSvd::new(50).fit_dense(black_box(a.as_ref())).unwrap());
    });
    group.bench_function("full", |b| {
        b.iter(|| TruncatedSvd::new(50).solver(SvdSolver::Full).fit_dense(black_box(a.as_ref())).unwrap());
    });
    group.finish();
}

fn sparse(c: &mut Criterion) {
    let a = synthetic::power_law(6040, 3706, 1_600_000, 0).unwrap();
    let mut group = c.benchmark_group("svd sparse 6040x3706");
    group.sample_size(10);
    group.bench_function("k=50", |b| {
        b.iter(|| TruncatedSvd::new(50).tolerance(1e-6).fit_sparse(black_box(&a)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, dense, sparse);
criterion_main!(benches);
