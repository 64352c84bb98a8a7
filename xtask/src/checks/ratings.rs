//! Models of ratings, one after another, under five-fold cross-validation as Surprise's published figures have it.

use std::time::Instant;

use cairn_recsys::rating::{RatingModel, evaluate};
use cairn_recsys::{Estimator, Interactions};

use crate::check::{Bars, Context};
use crate::format;
use crate::report::Table;
use crate::results::Bar;

const FOLDS: usize = 5;
/// What a bar allows beyond a published error: what runs of Surprise with another seed differ by; a single fold by more.
const ALLOWED: Bars = Bars { full: 0.005, quick: 0.02, stand_in: 0.0, stand_in_quick: 0.0 };
/// On a stand-in a model has to stay below this share of the error of always saying the mean.
const STAND_IN_SHARE: f64 = 0.95;

/// Errors that Surprise's authors print for a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    rmse: f64,
    mae: Option<f64>,
}

impl Published {
    /// The root of the mean squared error alone is held against the published one.
    pub(super) fn rmse(rmse: f64) -> Self {
        Self { rmse, mae: None }
    }

    /// The mean absolute error is held against the published one too.
    pub(super) fn and_mae(self, mae: f64) -> Self {
        Self { mae: Some(mae), ..self }
    }
}

impl std::fmt::Display for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", self.rmse)?;
        self.mae.map_or(Ok(()), |mae| write!(f, " / {mae:.3}"))
    }
}

/// Runs models of ratings one after another on the same folds and keeps their figures.
pub(super) struct Ratings {
    folds: Vec<(Interactions, Interactions)>,
    /// RMSE of always saying the mean of the training ratings.
    of_mean: f64,
    table: Table,
}

impl Ratings {
    /// Parts the log; a quick run takes one fold.
    pub(super) fn new(ctx: &mut Context<'_>, log: &Interactions) -> anyhow::Result<Self> {
        let folds = if ctx.quick() { 1 } else { FOLDS };
        let folds: Vec<_> = log.k_folds(FOLDS, ctx.seed())?.take(folds).collect();
        let of_mean =
            folds.iter().map(|(train, test)| error_of_mean(train, test)).sum::<f64>() / folds.len() as f64;
        ctx.metric("RMSE of the mean", of_mean, Bar::None);
        let table = Table::new(["model", "RMSE", "published", "MAE", "seconds a fold"]).numbers([1, 2, 3, 4]);
        Ok(Self { folds, of_mean, table })
    }

    /// Trains and judges one model on every fold.
    pub(super) fn model<F: Estimator<Model: RatingModel>>(
        &mut self,
        ctx: &mut Context<'_>,
        name: &str,
        published: Option<Published>,
        settings: &F,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let (mut rmse, mut mae) = (0.0, 0.0);
        let n = self.folds.len() as f64;
        for (train, test) in &self.folds {
            let report = evaluate(&settings.fit(train)?, test)?;
            rmse += report.rmse() / n;
            mae += report.mae() / n;
        }
        let seconds = started.elapsed().as_secs_f64() / n;
        let near = |published: f64, ctx: &Context<'_>| Bar::AtMost(published + ctx.bar(&ALLOWED));
        let bar = match published {
            _ if ctx.stands_in() => Bar::AtMost(STAND_IN_SHARE * self.of_mean),
            Some(published) => near(published.rmse, ctx),
            None => Bar::None,
        };
        ctx.metric(format!("RMSE of {name}"), rmse, bar);
        if let Some(published) = published.and_then(|p| p.mae).filter(|_| !ctx.stands_in()) {
            ctx.metric(format!("MAE of {name}"), mae, near(published, ctx));
        }
        let shown = published.map_or_else(String::new, |p| p.to_string());
        let cells =
            [name.to_owned(), format!("{rmse:.4}"), shown, format!("{mae:.4}"), format::seconds(seconds)];
        self.table.row(cells);
        Ok(())
    }

    /// Shows the figures in the report.
    pub(super) fn show(&self, ctx: &mut Context<'_>) {
        let caption = format!("Ratings: errors on held-out ratings, mean of {} folds", self.folds.len());
        ctx.show(&caption, &self.table);
    }
}

fn error_of_mean(train: &Interactions, test: &Interactions) -> f64 {
    let values = |log: &Interactions| log.values().iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let mean = values(train).iter().sum::<f64>() / train.len() as f64;
    (values(test).iter().map(|v| (v - mean).powi(2)).sum::<f64>() / test.len() as f64).sqrt()
}
