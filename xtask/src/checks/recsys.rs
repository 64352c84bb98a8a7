//! Recommenders on MovieLens 100K: every model of ratings by five-fold cross-validation, every ranker by full ranking.
//!
//! Ratings follow the protocol of Surprise's published figures, and have to come as near to them as its own runs with
//! another seed do. Rankers get a fifth of each user's films to find among all they have not rated; in published
//! comparisons of this kind (Anelli et al., UMAP 2022) popularity is behind PureSVD, that behind iALS, that behind EASE,
//! and so they have to come out here. Both on the same data, because people ask both questions of it.

use std::time::Instant;

use cairn_datasets::registry;
use cairn_recsys::rating::{
    Baseline, BaselineMethod, BiasedMf, CoClustering, Nmf, RatingKnn, Similarity, SlopeOne, SvdPlusPlus,
};
use cairn_recsys::{
    Als, Bpr, Ease, Estimator, Filter, Fitted, Interactions, ItemItemModel, ItemKnn, KnnWeighting, PureSvd,
    RankingEvaluator, Rp3Beta, Slim, Split, TopPop, UserKnn, metrics,
};

use super::films::Films;
use super::ratings::{Published, Ratings};
use crate::check::{Check, Context};
use crate::format;
use crate::report::Table;
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "recsys",
    title: "Ratings predicted, films recommended",
    about: "MovieLens 100K. Models of ratings: 5-fold cross-validation as Surprise does it, RMSE within 0.005 of its \
            published figures (a quick run takes one fold and allows 0.02). Rankers: a fifth of each user's films held out, \
            all films ranked, in the published order TopPop < PureSVD < iALS < EASE.",
    data: &[&registry::MOVIELENS_100K],
    run,
};

/// Rank of the tastes planted in the stand-in.
const PLANTED: usize = 4;
/// Films shown of each kind.
const SHOWN: usize = 10;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let films = Films::load(ctx, PLANTED)?;
    predict(ctx, &films.log)?;
    let model = rank(ctx, &films.log)?;
    show_films(ctx, &films, &model)
}

fn predict(ctx: &mut Context<'_>, log: &Interactions) -> anyhow::Result<()> {
    let mut ratings = Ratings::new(ctx, log)?;
    let published = |rmse| Some(Published::rmse(rmse));
    ratings.model(ctx, "Baseline, ALS", published(0.944), &Baseline::new())?;
    ratings.model(ctx, "Baseline, SGD", None, &Baseline::new().method(BaselineMethod::SGD))?;
    ratings.model(ctx, "SVD", published(0.934), &BiasedMf::new())?;
    ratings.model(ctx, "SVD++", published(0.919), &SvdPlusPlus::new())?;
    ratings.model(ctx, "NMF", published(0.963), &Nmf::new())?;
    ratings.model(ctx, "SlopeOne", published(0.946), &SlopeOne::new())?;
    ratings.model(ctx, "Co-clustering", published(0.963), &CoClustering::new())?;
    ratings.model(ctx, "kNN", published(0.98), &RatingKnn::new())?;
    ratings.model(ctx, "kNN with means", published(0.951), &RatingKnn::with_means())?;
    ratings.model(ctx, "kNN baseline", published(0.931), &RatingKnn::with_baseline())?;
    let items = RatingKnn::with_baseline().item_based().similarity(Similarity::PEARSON_BASELINE);
    ratings.model(ctx, "kNN baseline, items, Pearson", None, &items)?;
    ratings.show(ctx);
    Ok(())
}

/// Runs the rankers one after another and keeps their figures.
struct Ranking {
    parts: Vec<(Interactions, Interactions)>,
    table: Table,
}

/// Splits a ranker is run on: its figures differ from split to split by more than some rankers do from each other.
const SPLITS: usize = 3;

fn rank(ctx: &mut Context<'_>, log: &Interactions) -> anyhow::Result<Fitted<ItemItemModel>> {
    let splits = if ctx.quick() { 1 } else { SPLITS };
    let mut parts = Vec::new();
    for split in 0..splits as u64 {
        let (train, test) = log.split(Split::per_user(0.2, ctx.seed() + split))?;
        // Which films somebody watches says more about the next one than how they were liked.
        parts.push((train.map_values(|_| 1.0)?, test));
    }
    let table = Table::new(["model", "NDCG@10", "recall@10", "coverage@10", "training", "evaluation"])
        .numbers([1, 2, 3, 4, 5]);
    let mut ranking = Ranking { parts, table };
    let popular = ranking.model(ctx, &TopPop::new())?;
    let svd = ranking.model(ctx, &PureSvd::new(20))?;
    ranking.model(ctx, &ItemKnn::new(100).weighting(KnnWeighting::TfIdf))?;
    ranking.model(ctx, &UserKnn::new(100).weighting(KnnWeighting::TfIdf))?;
    ranking.model(ctx, &Rp3Beta::new())?;
    ranking.model(ctx, &Bpr::new())?;
    let als = ranking.model(ctx, &Als::new().factors(32))?;
    let settings = Ease::new(300.0);
    let ease = ranking.model(ctx, &settings)?;
    ranking.model(ctx, &Slim::new())?;
    if ctx.stands_in() {
        // The planted tastes are of low rank, which is what PureSVD looks for: only popularity has to be last.
        for (name, ndcg) in [("PureSVD", svd), ("iALS", als), ("EASE", ease)] {
            ctx.metric(format!("NDCG@10 of {name} over TopPop's"), ndcg / popular, Bar::AtLeast(1.1));
        }
    } else {
        // On one split, as in a quick run, neighbours in the order may come out level.
        let bar = if ctx.quick() { 0.98 } else { 1.0 };
        ctx.metric("NDCG@10 of PureSVD over TopPop's", svd / popular, Bar::AtLeast(1.5));
        ctx.metric("NDCG@10 of iALS over PureSVD's", als / svd, Bar::AtLeast(bar));
        ctx.metric("NDCG@10 of EASE over iALS's", ease / als, Bar::AtLeast(bar));
    }
    ctx.show(&format!("Rankers: a fifth of each user's films, mean of {splits} splits"), &ranking.table);
    Ok(settings.fit(&log.map_values(|_| 1.0)?)?)
}

impl Ranking {
    /// NDCG@10, mean of all splits.
    fn model<F: Estimator>(&mut self, ctx: &mut Context<'_>, settings: &F) -> anyhow::Result<f64> {
        let n = self.parts.len() as f64;
        let (mut fit, mut evaluation, mut name) = (0.0, 0.0, "");
        let (mut ndcg, mut recall, mut coverage) = (0.0, 0.0, 0.0);
        for (train, test) in &self.parts {
            let started = Instant::now();
            let model = settings.fit(train)?;
            fit += started.elapsed().as_secs_f64() / n;
            let started = Instant::now();
            let report = RankingEvaluator::at([10]).list_quality().evaluate(&model, test)?;
            evaluation += started.elapsed().as_secs_f64() / n;
            name = report.model();
            ndcg += report.mean(metrics::Ndcg, 10).unwrap_or(f64::NAN) / n;
            recall += report.mean(metrics::Recall, 10).unwrap_or(f64::NAN) / n;
            coverage += report.list_quality(10).map_or(f64::NAN, |q| q.coverage) / n;
        }
        ctx.metric(format!("NDCG@10 of {name}"), ndcg, Bar::None);
        let figures = [ndcg, recall, coverage].map(|x| format!("{x:.4}"));
        let seconds = [fit, evaluation].map(format::seconds);
        self.table.row(std::iter::once(name.to_owned()).chain(figures).chain(seconds));
        Ok(ndcg)
    }
}

/// Titles for the user with the lowest number: liked best, and recommended by EASE with its reasons.
fn show_films(ctx: &mut Context<'_>, films: &Films, model: &Fitted<ItemItemModel>) -> anyhow::Result<()> {
    let log = &films.log;
    let user = log.ratings().map(|r| r.user).min().unwrap_or_default();
    let mut history: Vec<_> = log.ratings().filter(|r| r.user == user).collect();
    // Best first; of equally liked ones the latest.
    history.sort_by(|a, b| b.value.total_cmp(&a.value).then(b.timestamp.cmp(&a.timestamp)));
    let mut liked = Table::new(["film", "stars"]).numbers([1]);
    for r in history.iter().take(SHOWN) {
        liked.row([films.title(r.item), format::value(f64::from(r.value))]);
    }
    let mut recommended = Table::new(["film", "score", "mostly because of"]).numbers([1]).full_width();
    for film in model.recommend(&user, SHOWN, &Filter::unseen())? {
        let reasons = model.explain(&user, &film.id)?;
        let reasons: Vec<String> = reasons.iter().take(2).map(|r| films.title(r.id)).collect();
        recommended.row([films.title(film.id), format!("{:.3}", film.score), reasons.join(", ")]);
    }
    ctx.show(&format!("User {user}: liked best, of {} films rated", history.len()), &liked);
    ctx.show(&format!("User {user}: recommended by EASE"), &recommended);
    Ok(())
}
