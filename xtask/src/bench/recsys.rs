//! Recommenders: truncated SVDs, implicit ALS, BPR, lists, and rating models, on generated matrices with the shape of
//! MovieLens 1M and 20M and the skew of such logs; and what it takes to go on when rows have come, on one of the shape of MovieLens
//! 100K.
//!
//! The names are those that other libraries' times on matrices of the same shape and law are listed under, so that they can
//! be compared line by line. Seconds a sweep or an epoch are differences of two trainings, which leaves out the start and
//! the end; the least of the repetitions counts.

use std::time::Instant;

use cairn_recsys::rating::{BiasedMf, SvdPlusPlus};
use cairn_recsys::{
    Als, AlsSolver, Bpr, Duplicates, Ease, Estimator, Filter, Interactions, ItemKnn, TopPop, TruncatedSvd,
    Update, UserIdx, UserItems, UserKnn, synthetic,
};
use faer::Mat;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::{Bench, Recorder};

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "recsys", run };

/// Singular values, and items a list.
const VALUES: usize = 50;
const LIST: usize = 10;
/// Users who are given lists.
const USERS: usize = 20_000;

/// A generated log: its name, sides, draws (repeated ones count once), how often it is measured, and how many epochs at once.
struct Shape {
    name: &'static str,
    users: usize,
    items: usize,
    draws: usize,
    repeats: usize,
    epochs: usize,
}

const SMALL: Shape =
    Shape { name: "ML-1M-like", users: 6040, items: 3706, draws: 1_600_000, repeats: 3, epochs: 5 };
const LARGE: Shape =
    Shape { name: "ML-20M-like", users: 138_493, items: 26_744, draws: 32_000_000, repeats: 1, epochs: 1 };

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    dense_svd(recorder)?;
    updates(recorder)?;
    for shape in [SMALL, LARGE] {
        let matrix = synthetic::power_law(shape.users, shape.items, shape.draws, 0)?;
        sparse_svd(recorder, &shape, &matrix)?;
        als(recorder, &shape, &matrix)?;
        bpr(recorder, &shape, &matrix)?;
        lists(recorder, &shape, &matrix)?;
        if shape.name == SMALL.name {
            ratings(recorder, &shape, &matrix)?;
        }
    }
    Ok(())
}

fn seconds_of<T>(repeats: usize, mut f: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..repeats {
        let started = Instant::now();
        f()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Seconds that one more epoch takes.
fn per_epoch<T>(shape: &Shape, train: impl Fn(usize) -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let few = seconds_of(shape.repeats, || train(1))?;
    let many = seconds_of(shape.repeats, || train(1 + shape.epochs))?;
    Ok((many - few) / shape.epochs as f64)
}

/// D Dᵀ with D uniform in [0, 1).
fn dense_svd(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let mut rng = Pcg64::seed_from_u64(0);
    let d = Mat::from_fn(1000, 1000, |_, _| rng.random::<f64>());
    let product = &d * d.transpose();
    let a = Mat::from_fn(1000, 1000, |i, j| product[(i.max(j), i.min(j))]);
    let seconds = seconds_of(5, || Ok(TruncatedSvd::new(VALUES).fit_dense(a.as_ref())?))?;
    recorder.recommender("svds dense 1000x1000 k=50", "residual 1e-10", "seconds", seconds)
}

fn sparse_svd(recorder: &mut Recorder<'_>, shape: &Shape, matrix: &UserItems) -> anyhow::Result<()> {
    let svd = TruncatedSvd::new(VALUES).value_tolerance(1e-6);
    let seconds = seconds_of(shape.repeats, || Ok(svd.fit_sparse(matrix)?))?;
    recorder.recommender(&format!("svds {} k=50", shape.name), "values to 1e-6", "seconds", seconds)
}

fn als(recorder: &mut Recorder<'_>, shape: &Shape, matrix: &UserItems) -> anyhow::Result<()> {
    for factors in [64, 128] {
        for (name, solver) in [
            ("cg", AlsSolver::ConjugateGradient { steps: 3 }),
            ("cholesky", AlsSolver::Cholesky),
            ("blocks of 16", AlsSolver::Blocks { size: 16 }),
        ] {
            if shape.name == LARGE.name && name == "cholesky" {
                continue;
            }
            let settings = Als::new().factors(factors).solver(solver);
            let seconds = per_epoch(shape, |n| Ok(settings.clone().epochs(n).fit_matrix(matrix)?))?;
            let work = format!("implicit ALS {} f={factors}", shape.name);
            recorder.recommender(&work, name, "seconds_per_iteration", seconds)?;
        }
    }
    Ok(())
}

/// 63 factors and the bias.
fn bpr(recorder: &mut Recorder<'_>, shape: &Shape, matrix: &UserItems) -> anyhow::Result<()> {
    let seconds = per_epoch(shape, |n| Ok(Bpr::new().factors(63).epochs(n).fit_matrix(matrix)?))?;
    recorder.recommender(&format!("BPR {} f=64", shape.name), "", "seconds_per_iteration", seconds)
}

fn lists(recorder: &mut Recorder<'_>, shape: &Shape, matrix: &UserItems) -> anyhow::Result<()> {
    let log = synthetic::to_log(matrix)?;
    let model = Als::new().factors(128).epochs(1).solver(AlsSolver::Blocks { size: 16 }).fit(&log)?;
    let users: Vec<UserIdx> = (0..log.n_users().min(USERS) as u32).map(UserIdx).collect();
    let seconds = seconds_of(5, || Ok(model.recommend_indices(&users, LIST, &Filter::unseen())?))?;
    let rate = users.len() as f64 / seconds;
    recorder.recommender(&format!("top-10 {} f=128", shape.name), "", "users_per_s", rate)
}

/// Rows that have come, of how many people; some of both sides are new.
const NEW_ROWS: u32 = 1_000;
const NEW_ROWS_OF: u32 = 50;
/// Trainings and updates, of which the fastest counts.
const UPDATES: usize = 3;

/// Models that can go on from where they were, against themselves trained anew.
fn updates(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let before = synthetic::to_log(&synthetic::power_law(943, 1682, 160_000, 0)?)?;
    let mut after = before.clone();
    let row = |n: u32| (900 + n % NEW_ROWS_OF, n * 37 % 1_690, 1.0);
    after.append((0..NEW_ROWS).map(row), Duplicates::Last)?;
    let logs = (&before, &after);
    update(recorder, "TopPop", &TopPop::new(), logs)?;
    update(recorder, "ItemKNN", &ItemKnn::new(100), logs)?;
    update(recorder, "UserKNN", &UserKnn::new(100), logs)?;
    update(recorder, "EASE", &Ease::new(300.0), logs)?;
    update(recorder, "implicit ALS f=64", &Als::new(), logs)?;
    update(recorder, "BPR f=64", &Bpr::new().factors(63), logs)
}

fn update<F: Update>(
    recorder: &mut Recorder<'_>,
    model: &str,
    settings: &F,
    (before, after): (&Interactions, &Interactions),
) -> anyhow::Result<()> {
    let trained = settings.fit(before)?;
    let seconds = seconds_of(UPDATES, || Ok(settings.update(&trained, after)?))?;
    let work = format!("update {model} ML-100K-like");
    recorder.recommender(&work, "1,000 rows of 50 people more", "seconds", seconds)?;
    let seconds = seconds_of(UPDATES, || Ok(settings.fit(after)?))?;
    recorder.recommender(&work, "trained anew", "seconds", seconds)
}

fn ratings(recorder: &mut Recorder<'_>, shape: &Shape, matrix: &UserItems) -> anyhow::Result<()> {
    let seconds = per_epoch(shape, |n| Ok(BiasedMf::new().epochs(n).fit_matrix(matrix)?))?;
    recorder.recommender(&format!("SVD {} f=100", shape.name), "", "seconds_per_epoch", seconds)?;
    let seconds = per_epoch(shape, |n| Ok(SvdPlusPlus::new().epochs(n).fit_matrix(matrix)?))?;
    recorder.recommender(&format!("SVDpp {} f=20", shape.name), "", "seconds_per_epoch", seconds)
}
