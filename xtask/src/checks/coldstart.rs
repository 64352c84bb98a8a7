//! Films that nobody has rated yet, on MovieLens 100K: does knowing their genres help?
//!
//! A fifth of the films is taken out of training with all its rows. Each user's films of that fifth are then to be found among the
//! whole fifth, by three kinds of models: with the genres, the same without, whose new films are all alike to it, and popularity,
//! which is 0 for all of them. What is alike is listed in an order that the ids decide, so the two last are luck.

use std::time::Instant;

use cairn_datasets::synthetic::{self, RatingsPlan};
use cairn_datasets::{movielens, registry};
use cairn_recsys::features::{
    FactorizationMachine, FeatureAls, FeatureMatrix, FeatureRow, FeatureTable, LightFm,
};
use cairn_recsys::{
    Als, Estimator, Interactions, ItemIdx, PairedTest, RankingEvaluator, RankingReport, Split, TopPop,
    metrics, read,
};

use crate::check::{Bars, Check, Context};
use crate::format;
use crate::report::Table;
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "coldstart",
    title: "Films that nobody has rated",
    about: "MovieLens 100K, a fifth of the films out of training: those of each user's test rows are to be found among that fifth by \
            their genres. LightFM and ALS with genres have to be better than popularity, which knows nothing of new films, and than \
            themselves without genres; a paired test has to say so. A factorisation machine stands beside them.",
    data: &[&registry::MOVIELENS_100K],
    run,
};

/// NDCG@10 with genres over that of popularity.
const BETTER: Bars = Bars { full: 1.15, quick: 1.05, stand_in: 1.1, stand_in_quick: 1.05 };
/// What a difference by chance may seem.
const P: f64 = 0.01;
/// Rank of the tastes planted in the stand-in, which are its genres.
const PLANTED: usize = 8;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (log, table) = load(ctx)?;
    let features = FeatureMatrix::new(&table, &log.catalog().items)?;
    let (train, test) = log.split(Split::cold_items(0.2, ctx.seed()))?;
    ctx.say(format!("{}", train.lint_split(&test)).trim_end());
    let mut cold: Vec<u32> = test.ratings().map(|rating| rating.item).collect();
    cold.sort_unstable();
    cold.dedup();
    let mut models = Models { train: train.map_values(|_| 1.0)?, test, cold, table: Models::table() };
    let popular = models.add(ctx, "TopPop", &TopPop::new())?;
    let epochs = if ctx.quick() { 10 } else { 30 };
    let lightfm = LightFm::new().epochs(epochs).seed(ctx.seed());
    let als = FeatureAls::new(Als::new().factors(32));
    let machine = FactorizationMachine::new().epochs(if ctx.quick() { 3 } else { 10 }).seed(ctx.seed());
    let with = |ctx: &mut Context<'_>, models: &mut Models, genres: &FeatureMatrix<ItemIdx>| {
        let lightfm = models.add(ctx, "LightFM, genres", &lightfm.clone().item_features(genres))?;
        let als = models.add(ctx, "iALS, genres", &als.clone().item_features(genres))?;
        let machine = models.add(ctx, "FM, genres", &machine.clone().item_features(genres))?;
        anyhow::Ok([lightfm, als, machine])
    };
    let with = with(ctx, &mut models, &features)?;
    let without = [
        models.add(ctx, "LightFM", &lightfm)?,
        models.add(ctx, "iALS", &als)?,
        models.add(ctx, "FM", &machine)?,
    ];
    ctx.show("A fifth of the films, new to the model, among themselves", &models.table);
    let mut tests = Table::new(["compared", "difference in NDCG@10, 95 %, p"]).full_width();
    for (name, (with, without)) in ["LightFM", "iALS", "FM"].into_iter().zip(with.iter().zip(&without)) {
        let ndcg = |report: &RankingReport| report.mean(metrics::Ndcg, 10).unwrap_or(f64::NAN);
        // The machine stands beside the two that are held to bars.
        let held = name != "FM";
        let bar = if held { Bar::AtLeast(ctx.bar(&BETTER)) } else { Bar::None };
        ctx.metric(
            format!("NDCG@10 of {name} with genres over popularity's"),
            ndcg(with) / ndcg(&popular),
            bar,
        );
        for (what, other) in [("popularity", &popular), ("itself without", without)] {
            let found = PairedTest::new().seed(ctx.seed()).compare(with, other, metrics::Ndcg, 10)?;
            tests.row([format!("{name} with genres, {what}"), found.to_string()]);
            // A difference the wrong way is no success, however sure.
            let p = if found.difference > 0.0 { found.p_value } else { 1.0 };
            ctx.metric(
                format!("p of {name} with genres against {what}"),
                p,
                if held { Bar::AtMost(P) } else { Bar::None },
            );
        }
    }
    ctx.show("Paired tests, user by user", &tests);
    Ok(())
}

/// The log, and the genres of its films; of the stand-in the genre that its tastes were made by.
pub(super) fn load(ctx: &mut Context<'_>) -> anyhow::Result<(Interactions, FeatureTable<u32>)> {
    let (set, seed) = (&registry::MOVIELENS_100K, ctx.seed());
    match ctx.load(set, |dir| movielens::locate(dir, set).map(Some), || Ok(None))? {
        Some(place) => {
            let (log, report) = read::movielens::ratings(&place)?;
            anyhow::ensure!(report.rejections() == 0, "{}: {report}", place.display());
            Ok((log, genre_table(read::movielens::genres(&place)?)?))
        }
        None => {
            let plan = RatingsPlan { rank: PLANTED, ..RatingsPlan::default() };
            let made = synthetic::ratings(&plan, seed)?;
            let genre = |title: &str| title.split_whitespace().take(1).map(str::to_owned).collect();
            let genres = made.titles.iter().map(|(film, title)| (*film, genre(title)));
            Ok((Interactions::from_ratings(made.log)?, genre_table(genres)?))
        }
    }
}

/// The genres of films as a table of features.
pub(super) fn genre_table(
    genres: impl IntoIterator<Item = (u32, Vec<String>)>,
) -> cairn_recsys::Result<FeatureTable<u32>> {
    let row = |genres: Vec<String>| FeatureRow::new().categories("genres", genres);
    FeatureTable::new(genres.into_iter().map(|(film, genres)| (film, row(genres))))
}

struct Models {
    train: Interactions,
    test: Interactions,
    cold: Vec<u32>,
    table: Table,
}

impl Models {
    fn table() -> Table {
        Table::new(["model", "NDCG@10", "95 %", "recall@10", "training"]).numbers([1, 2, 3, 4])
    }

    fn add<F: Estimator>(
        &mut self,
        ctx: &mut Context<'_>,
        name: &str,
        settings: &F,
    ) -> anyhow::Result<RankingReport> {
        let started = Instant::now();
        let model = settings.fit(&self.train)?;
        let training = started.elapsed().as_secs_f64();
        let report = RankingEvaluator::at([10]).evaluate_among(&model, &self.test, |_| self.cold.clone())?;
        let ndcg = report.mean(metrics::Ndcg, 10).unwrap_or(f64::NAN);
        let recall = report.mean(metrics::Recall, 10).unwrap_or(f64::NAN);
        let interval = report.interval(metrics::Ndcg, 10, 0.95, 1000, ctx.seed())?;
        let interval = interval.map_or(String::new(), |(low, high)| format!("{low:.4} to {high:.4}"));
        ctx.metric(format!("NDCG@10 of {name}"), ndcg, Bar::None);
        let cells = [
            name.to_owned(),
            format!("{ndcg:.4}"),
            interval,
            format!("{recall:.4}"),
            format::seconds(training),
        ];
        self.table.row(cells);
        Ok(report)
    }
}
