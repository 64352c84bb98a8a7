//! What it costs to make lists over: every step of a reranking against the lists as the model makes them, for the same people.
//!
//! What a step is for (variety, a genre's place, a film that is pushed) is no part of NDCG, so most cost some of it; how much is what
//! somebody who wants the step should know. The settings are moderate ones, and no bars: how much is too much is a shop's to say.

use std::collections::HashMap;
use std::time::Instant;

use cairn_recsys::features::{FeatureTable, FeatureValue};
use cairn_recsys::rerank::{
    Boost, Calibration, Candidates, Dpp, ItemGroups, Mmr, Quota, Reranker, Reranking,
};
use cairn_recsys::{
    Als, AlsModel, Estimator, Fitted, Interactions, PairedTest, RankingEvaluator, Split, metrics,
};

use super::ranked::mean;
use crate::check::Context;
use crate::format;
use crate::report::Table;
use crate::results::Bar;

/// Films that a step chooses from.
const CANDIDATES: usize = 100;

/// The lists of one model made over by each step, with the genres of `table`.
pub(super) fn costs(
    ctx: &mut Context<'_>,
    log: &Interactions,
    table: &FeatureTable<u32>,
) -> anyhow::Result<()> {
    let (train, test) = log.split(Split::per_user(0.2, ctx.seed()))?;
    let model = Als::new().factors(32).seed(ctx.seed()).fit(&train)?;
    let evaluator = RankingEvaluator::at([10]).list_quality();
    let plain = evaluator.evaluate(&model, &test)?.named("as they are");
    let headings = ["lists", "NDCG@10", "cost", "95 %", "p", "coverage@10", "diversity@10", "seconds"];
    let mut rows = Table::new(headings).numbers([1, 2, 3, 4, 5, 6, 7]).full_width();
    for (name, steps) in rerankings(&model, &genres(&model, table)) {
        let started = Instant::now();
        let report = evaluator.evaluate_reranked(&model, &test, &steps)?.named(name.as_str());
        let seconds = started.elapsed().as_secs_f64();
        let found = PairedTest::new().seed(ctx.seed()).compare(&plain, &report, metrics::Ndcg, 10)?;
        ctx.metric(format!("NDCG@10 that it costs: {name}"), found.difference, Bar::None);
        let (low, high) = found.interval;
        let quality =
            report.list_quality(10).map_or([f64::NAN; 2], |lists| [lists.coverage, lists.diversity]);
        let cells = [
            format!("{:.4}", mean(&report, &metrics::Ndcg)),
            format!("{:.4}", found.difference),
            format!("{low:.4} to {high:.4}"),
            format!("{:.4}", found.p_value),
        ];
        let row = std::iter::once(name).chain(cells).chain(quality.map(|x| format!("{x:.3}")));
        rows.row(row.chain([format::seconds(seconds)]));
    }
    let caption = format!(
        "What making lists over costs: iALS, a fifth of each user's films, lists of 10 of the best {CANDIDATES}, against an NDCG@10 of {:.4}",
        mean(&plain, &metrics::Ndcg)
    );
    ctx.show(&caption, &rows);
    Ok(())
}

fn genres(model: &Fitted<AlsModel>, table: &FeatureTable<u32>) -> ItemGroups {
    let of: HashMap<u32, Vec<String>> = table
        .rows()
        .iter()
        .filter_map(|(film, row)| match row.get("genres") {
            Some(FeatureValue::Categories(genres)) => Some((*film, genres.clone())),
            _ => None,
        })
        .collect();
    ItemGroups::new(model.catalog(), |film| of.get(film).cloned().unwrap_or_default())
}

fn rerankings(model: &Fitted<AlsModel>, genres: &ItemGroups) -> Vec<(String, Reranking)> {
    let (catalog, vectors) = (model.catalog(), &model.model().factors().items);
    let from = || Reranking::from_best(CANDIDATES);
    let boost = |by: f32| Boost::new(catalog, move |film| if film.is_multiple_of(10) { by } else { 0.0 });
    let allowed = |allow: fn(&u32) -> bool| Allowed(catalog.items.ids().iter().map(allow).collect());
    let mut steps = vec![
        ("nothing".to_owned(), from()),
        ("MMR, λ 0.7, by vectors".to_owned(), from().then(Mmr::new(0.7, vectors))),
        ("MMR, λ 0.7, by genres".to_owned(), from().then(Mmr::new(0.7, genres))),
        ("DPP, θ 0.7, by vectors".to_owned(), from().then(Dpp::new(0.7, vectors))),
        ("DPP, θ 0.7, by genres".to_owned(), from().then(Dpp::new(0.7, genres))),
        (
            "calibration to the genres of the history, λ 0.3".to_owned(),
            from().then(Calibration::new(0.3, genres)),
        ),
        ("at most 3 of a genre".to_owned(), from().then(Quota::at_most(3, genres))),
        ("a boost of 0.1 for every tenth film".to_owned(), from().then(boost(0.1))),
        ("a boost of 0.5 for every tenth film".to_owned(), from().then(boost(0.5))),
        ("every tenth film barred".to_owned(), from().then(allowed(|film| !film.is_multiple_of(10)))),
        ("every other film allowed".to_owned(), from().then(allowed(|film| film.is_multiple_of(2)))),
    ];
    if let Some(genre) = rarest(model, genres) {
        let name = format!("at least 1 of {genre}, the least met of genres");
        steps.push((name, from().then(Quota::at_least(1, &genre, genres))));
    }
    steps
}

/// The genre that the fewest rows of training are of.
fn rarest(model: &Fitted<AlsModel>, genres: &ItemGroups) -> Option<String> {
    let mut met = vec![0_usize; genres.names().len()];
    for (_, film, _) in model.seen().entries() {
        genres.of(film).iter().for_each(|&genre| met[genre as usize] += 1);
    }
    let least = met.iter().zip(genres.names()).filter(|(met, _)| **met > 0).min_by_key(|(met, _)| **met);
    least.map(|(_, name)| name.clone())
}

/// Leaves out what a [`Filter`](cairn_recsys::Filter) would: as a step it is measured like the others.
#[derive(Debug)]
struct Allowed(Vec<bool>);

impl Reranker for Allowed {
    fn order(&self, candidates: &Candidates<'_>, _: usize) -> Vec<usize> {
        (0..candidates.items.len()).filter(|&at| self.0[candidates.items[at].0 as usize]).collect()
    }
}
