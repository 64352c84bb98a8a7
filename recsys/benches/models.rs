//! Training, going on with more rows, serving and evaluation on a generated log of 1,000 users, 800 items and about 40,000 interactions.
//!
//! `cargo bench -p cairn-recsys --bench models -- NAME`

use std::hint::black_box;

use cairn_recsys::rating::{
    Baseline, BiasedMf, CoClustering, Nmf, RatingKnn, SlopeOne, SvdPlusPlus, evaluate,
};
use cairn_recsys::{
    Als, AlsSolver, Bpr, Duplicates, Ease, Estimator, Filter, Interactions, ItemKnn, PureSvd,
    RankingEvaluator, Rp3Beta, Slim, Split, TopPop, Update, UserIdx, UserKnn, synthetic,
};
use criterion::{Criterion, criterion_group, criterion_main};

fn log() -> Interactions {
    let matrix = synthetic::power_law(1000, 800, 60_000, 0).expect("the sizes are positive");
    synthetic::to_log(&matrix).expect("there are interactions")
}

fn train<F: Estimator>(c: &mut Criterion, name: &str, settings: &F) {
    let matrix = log().user_items();
    c.bench_function(&format!("train/{name}"), |b| b.iter(|| settings.fit_matrix(black_box(&matrix))));
}

fn training(c: &mut Criterion) {
    train(c, "pure-svd-20", &PureSvd::new(20));
    train(c, "als-cholesky-64", &Als::new().epochs(1).solver(AlsSolver::Cholesky));
    train(c, "als-cg-64", &Als::new().epochs(1).solver(AlsSolver::ConjugateGradient { steps: 3 }));
    train(c, "als-blocks-128", &Als::new().epochs(1).factors(128));
    train(c, "bpr-64", &Bpr::new().epochs(1));
    train(c, "ease", &Ease::new(100.0));
    train(c, "slim", &Slim::new());
    train(c, "rp3beta", &Rp3Beta::new());
    train(c, "item-knn", &ItemKnn::new(100));
    train(c, "user-knn", &UserKnn::new(100));
    train(c, "baseline", &Baseline::new());
    train(c, "svd-100", &BiasedMf::new().epochs(1));
    train(c, "svd++-20", &SvdPlusPlus::new().epochs(1));
    train(c, "nmf-15", &Nmf::new().epochs(1));
    train(c, "slope-one", &SlopeOne::new());
    train(c, "co-clustering", &CoClustering::new());
    train(c, "rating-knn", &RatingKnn::with_baseline());
}

/// Twenty rows more of twenty people, of whom and of whose items some are new: against a training anew.
fn update<F: Update>(c: &mut Criterion, name: &str, settings: &F) {
    let mut log = log();
    let model = settings.fit(&log).expect("the log is sound");
    let rows = (0..400_u32).map(|n| (990 + n % 20, n * 7 % 810, 1.0));
    log.append(rows, Duplicates::Last).expect("the rows are sound");
    c.bench_function(&format!("update/{name}"), |b| b.iter(|| settings.update(&model, black_box(&log))));
    c.bench_function(&format!("update/{name}-anew"), |b| b.iter(|| settings.fit(black_box(&log))));
}

fn updating(c: &mut Criterion) {
    update(c, "top-pop", &TopPop::new());
    update(c, "item-knn", &ItemKnn::new(100));
    update(c, "user-knn", &UserKnn::new(100));
    update(c, "ease", &Ease::new(100.0));
    update(c, "als-64", &Als::new());
    update(c, "bpr-64", &Bpr::new());
}

fn using(c: &mut Criterion) {
    let (train, test) = log().split(Split::per_user(0.2, 0)).expect("everybody has several rows");
    let users: Vec<UserIdx> = (0..train.n_users() as u32).map(UserIdx).collect();
    let als = Als::new().epochs(1).fit(&train).expect("the log is sound");
    c.bench_function("top-10/als-64", |b| b.iter(|| als.recommend_indices(&users, 10, &Filter::unseen())));
    c.bench_function("evaluate/als-64", |b| b.iter(|| RankingEvaluator::at([10]).evaluate(&als, &test)));
    let neighbours = RatingKnn::with_baseline().fit(&train).expect("the log is sound");
    c.bench_function("evaluate/rating-knn", |b| b.iter(|| evaluate(&neighbours, &test)));
}

criterion_group!(benches, training, updating, using);
criterion_main!(benches);
