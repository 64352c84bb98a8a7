//! Truncated SVD: a random matrix against the full decomposition, then PureSVD on MovieLens 100K.
//!
//! A = D Dᵀ with D uniform in [0, 1) has one huge singular value and a dense tail behind it, where iterative solvers stop
//! too early. On ratings, PureSVD (Cremonesi, Koren & Turrin, RecSys 2010) fills the gaps of the matrix with zeros and
//! recommends from the k strongest directions; it has to rank the film each user really watched next well above where mere
//! popularity puts it.

use std::time::Instant;

use cairn_datasets::registry;
use cairn_recsys::{
    Evaluation, Filter, Fit, Fitted, Interactions, Metric, PureSvd, PureSvdModel, Report, Split, Svd, TopPop,
    TruncatedSvd,
};
use faer::{Mat, MatRef};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::films::Films;
use crate::check::{Bars, Check, Context};
use crate::format;
use crate::report::{LineChart, Table};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "svd",
    title: "Singular values, and films from them",
    about: "The 50 largest singular triplets of a dense 1000 x 1000 matrix against the full decomposition; then PureSVD on \
            MovieLens 100K, each user's last film held out, all films ranked, against recommending what is popular.",
    data: &[&registry::MOVIELENS_100K],
    run,
};

const SIZE: usize = 1000;
const K: usize = 50;
/// Rank of the tastes planted in the stand-in.
const PLANTED: usize = 4;
/// Of PureSVD's NDCG@10 over TopPop's. A quick run does nothing less: it takes a second.
const BARS: Bars = Bars { full: 1.5, quick: 1.5, stand_in: 1.15, stand_in_quick: 1.15 };
/// Lists are judged at these lengths.
const CUTOFFS: [usize; 5] = [1, 5, 10, 20, 50];
/// Films shown of each kind.
const SHOWN: usize = 10;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    decompose(ctx)?;
    recommend(ctx)
}

/// The matrix: values against the full decomposition, and both residuals, computed here and not taken from the solver.
fn decompose(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    ctx.generated();
    let a = random_symmetric(SIZE, ctx.seed());
    let started = Instant::now();
    let svd = TruncatedSvd::new(K).fit_dense(a.as_ref())?;
    let seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let full = a.singular_values().map_err(|e| anyhow::anyhow!("the full decomposition failed: {e:?}"))?;
    let full_seconds = started.elapsed().as_secs_f64();
    ctx.say(format!(
        "k = {K} of a dense {SIZE} x {SIZE} matrix in {}, all values in {}",
        format::seconds(seconds),
        format::seconds(full_seconds)
    ));
    let differences: Vec<f64> = svd.s.iter().zip(&full).map(|(s, f)| (s - f).abs() / f).collect();
    ctx.metric("largest relative difference of a value", largest(&differences), Bar::AtMost(1e-9));
    let residuals = residuals(a.as_ref(), &svd);
    ctx.metric("largest residual, relative to the first value", largest(&residuals), Bar::AtMost(1e-8));
    ctx.metric("seconds for k = 50", seconds, Bar::None);
    // The first value is hundreds of times the second: on one axis the others would be a flat line.
    let tail = svd.s.iter().enumerate().skip(1).map(|(i, &s)| ((i + 1) as f64, s));
    ctx.show(
        "Singular values 2 to 50",
        &LineChart::new("index", "singular value").line("truncated SVD", tail),
    );
    let chart = LineChart::new("index", "relative error")
        .log_scale()
        .epochs("difference from the full SVD", differences);
    ctx.show("Errors", &chart.epochs("residual", residuals));
    Ok(())
}

/// `D Dᵀ` with the entries of D uniform in [0, 1), symmetric to the last bit.
fn random_symmetric(n: usize, seed: u64) -> Mat<f64> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let d = Mat::from_fn(n, n, |_, _| rng.random::<f64>());
    let product = &d * d.transpose().to_owned();
    Mat::from_fn(n, n, |i, j| product[(i.max(j), i.min(j))])
}

/// For each triplet the larger of `|Av - su|` and `|Aᵀu - sv|`, relative to the first value.
fn residuals(a: MatRef<'_, f64>, svd: &Svd) -> Vec<f64> {
    let (av, atu) = (a * &svd.v, a.transpose().to_owned() * &svd.u);
    let gap = |product: &Mat<f64>, vectors: &Mat<f64>, j: usize| {
        (0..vectors.nrows())
            .map(|i| (product[(i, j)] - svd.s[j] * vectors[(i, j)]).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    (0..svd.s.len()).map(|j| gap(&av, &svd.u, j).max(gap(&atu, &svd.v, j)) / svd.s[0]).collect()
}

/// The largest value; NaN if there is one, so that it misses its bar.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, &v| if v.is_nan() || v > m { v } else { m })
}

/// PureSVD against popularity, each user's last film held out; and what one user is recommended.
fn recommend(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let films = Films::load(ctx, PLANTED)?;
    let log = &films.log;
    let [ratings, films_rated, people] =
        [log.len(), log.n_items(), log.n_users()].map(|n| format::count(n as u64));
    ctx.say(format!("{ratings} ratings of {films_rated} films by {people} people"));

    let (rated, held_out) = log.split(Split::leave_last_out())?;
    // Which film comes next depends on what was watched more than on how it was liked.
    let watched = rated.map_values(|_| 1.0)?;
    let started = Instant::now();
    let factors = if ctx.stands_in() { PLANTED } else { K };
    let model = PureSvd::new(factors).fit(&watched)?;
    ctx.say(format!(
        "PureSVD with {factors} factors in {}",
        format::seconds(started.elapsed().as_secs_f64())
    ));
    let evaluation = Evaluation::at(CUTOFFS);
    let ours = evaluation.run(&model, &held_out)?;
    let popular = evaluation.run(&TopPop::new().fit(&watched)?, &held_out)?;

    let (ndcg, baseline) = (mean(&ours, Metric::Ndcg, 10), mean(&popular, Metric::Ndcg, 10));
    ctx.metric("NDCG@10 of TopPop", baseline, Bar::None);
    ctx.metric("NDCG@10 of PureSVD", ndcg, Bar::None);
    let bar = ctx.bar(&BARS);
    ctx.metric("NDCG@10 of PureSVD over TopPop's", ndcg / baseline, Bar::AtLeast(bar));
    show_quality(ctx, &[&ours, &popular]);
    show_films(ctx, &films, &rated, &held_out, &model)
}

/// A mean over users; NaN, which reaches no bar, for a length that was not evaluated.
fn mean(report: &Report, metric: Metric, k: usize) -> f64 {
    report.mean(metric, k).unwrap_or(f64::NAN)
}

fn show_quality(ctx: &mut Context<'_>, reports: &[&Report]) {
    let mut chart = LineChart::new("length of the list", "NDCG");
    let mut table = Table::new(["at 10", "PureSVD", "TopPop"]).numbers([1, 2]);
    for report in reports {
        chart = chart.line(report.model(), CUTOFFS.map(|k| (k as f64, mean(report, Metric::Ndcg, k))));
    }
    for metric in [Metric::Ndcg, Metric::HitRate, Metric::Recall, Metric::Precision, Metric::Mrr] {
        let row = reports.iter().map(|r| format::value(mean(r, metric, 10)));
        table.row(std::iter::once(metric.name().to_owned()).chain(row));
    }
    ctx.show("The film watched next, among all films not yet seen", &chart);
    ctx.show("Ranking quality, mean over users", &table);
}

/// Titles for the user with the lowest number: liked best, and recommended.
fn show_films(
    ctx: &mut Context<'_>,
    films: &Films,
    rated: &Interactions,
    held_out: &Interactions,
    model: &Fitted<PureSvdModel>,
) -> anyhow::Result<()> {
    let user = held_out.ratings().map(|r| r.user).min().unwrap_or_default();
    let rows = |log: &Interactions| log.ratings().filter(|r| r.user == user).collect::<Vec<_>>();
    let (mut history, next) = (rows(rated), rows(held_out));
    // Best first; of equally liked ones the latest.
    history.sort_by(|a, b| b.value.total_cmp(&a.value).then(b.timestamp.cmp(&a.timestamp)));
    let mut liked = Table::new(["film", "stars"]).numbers([1]);
    for r in history.iter().take(SHOWN) {
        liked.row([films.title(r.item), format::value(f64::from(r.value))]);
    }
    let mut recommended = Table::new(["film", "score", ""]).numbers([1]);
    for film in model.recommend(&user, SHOWN, &Filter::unseen())? {
        let watched = next.iter().any(|r| r.item == film.id);
        let note = if watched { "watched next" } else { "" };
        recommended.row([films.title(film.id), format!("{:.3}", film.score), note.to_owned()]);
    }
    ctx.show(&format!("User {user}: liked best, of {} films rated", history.len()), &liked);
    ctx.show(&format!("User {user}: recommended"), &recommended);
    Ok(())
}
