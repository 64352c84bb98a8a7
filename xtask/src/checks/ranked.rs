//! Rankers of all kinds on one split: trained one after another, judged among all items, in one table with intervals and seconds.

use std::time::Instant;

use cairn_recsys::{Estimator, Interactions, RankingEvaluator, RankingMetric, RankingReport, Split, metrics};

use crate::check::Context;
use crate::format;
use crate::report::Table;
use crate::results::Bar;

/// Length of the lists.
const K: usize = 10;

/// A split and what came of each model on it.
pub(super) struct Ranked {
    train: Interactions,
    test: Interactions,
    name: String,
    bar: Bar,
    table: Table,
    popular: Option<f64>,
}

impl Ranked {
    /// Nothing yet, on a split. `name` is what is to be found, `bar` that of a model's NDCG@10 over that of the first.
    pub(super) fn new(
        log: &Interactions,
        split: Split,
        name: impl Into<String>,
        bar: Bar,
    ) -> anyhow::Result<Self> {
        let (train, test) = log.split(split)?;
        let headings = ["model", "NDCG@10", "95 %", "recall@10", "coverage@10", "training", "lists"];
        let table = Table::new(headings).numbers([1, 2, 3, 4, 5, 6]);
        Ok(Self { train, test, name: name.into(), bar, table, popular: None })
    }

    /// The rows that are learned from.
    pub(super) fn train(&self) -> &Interactions {
        &self.train
    }

    /// Trains and judges one model. The first is popularity, which the others are held against.
    pub(super) fn add<F: Estimator>(
        &mut self,
        ctx: &mut Context<'_>,
        settings: &F,
    ) -> anyhow::Result<RankingReport> {
        let started = Instant::now();
        let model = settings.fit(&self.train)?;
        let training = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let report = RankingEvaluator::at([K]).list_quality().evaluate(&model, &self.test)?;
        let lists = started.elapsed().as_secs_f64();
        let [ndcg, recall] = [mean(&report, &metrics::Ndcg), mean(&report, &metrics::Recall)];
        let interval = report.interval(metrics::Ndcg, K, 0.95, 500, ctx.seed())?;
        let interval = interval.map_or(String::new(), |(low, high)| format!("{low:.4} to {high:.4}"));
        let coverage = report.list_quality(K).map_or(f64::NAN, |quality| quality.coverage);
        let bar = if self.popular.is_some() { self.bar } else { Bar::None };
        let popular = *self.popular.get_or_insert(ndcg);
        let what = format!("{}: NDCG@10 of {} over TopPop's", self.name, report.model());
        ctx.metric(what, ndcg / popular, bar);
        let cells = [format!("{ndcg:.4}"), interval, format!("{recall:.4}"), format!("{coverage:.3}")];
        let seconds = [training, lists].map(format::seconds);
        self.table.row(std::iter::once(report.model().to_owned()).chain(cells).chain(seconds));
        Ok(report)
    }

    /// Shows the table in the report.
    pub(super) fn show(&self, ctx: &mut Context<'_>) {
        ctx.show(&self.name, &self.table);
    }
}

/// Of the lists of a report.
pub(super) fn mean(report: &RankingReport, metric: &dyn RankingMetric) -> f64 {
    report.mean(metric, K).unwrap_or(f64::NAN)
}

/// Records the hit rate and NDCG of lists beside those that were published for the model, HR@10 and NDCG@10.
pub(super) fn beside_published(
    ctx: &mut Context<'_>,
    report: &RankingReport,
    among: &str,
    published: [f64; 2],
) {
    let figures: [(&str, &dyn RankingMetric, f64); 2] =
        [("HR@10", &metrics::HitRate, published[0]), ("NDCG@10", &metrics::Ndcg, published[1])];
    for (name, metric, published) in figures {
        let what = format!("{name} of {} among {among}, published {published}", report.model());
        ctx.metric(what, mean(report, metric), Bar::None);
    }
}
