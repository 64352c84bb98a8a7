//! MovieLens 100K for the checks on it: a log of ratings and the titles of the films, or generated ones in their place.

use std::collections::BTreeMap;

use cairn_datasets::synthetic::{self, RatingsPlan};
use cairn_datasets::{movielens, registry};
use cairn_recsys::{Interactions, read};

use crate::check::Context;

/// Ratings, and what the films are called.
pub(super) struct Films {
    pub(super) log: Interactions,
    titles: BTreeMap<u32, String>,
}

impl Films {
    /// Reads the set; a line that does not read fails the check. The stand-in has tastes of this rank.
    pub(super) fn load(ctx: &mut Context<'_>, rank: usize) -> anyhow::Result<Films> {
        let (set, seed) = (&registry::MOVIELENS_100K, ctx.seed());
        let stand_in = || Ok(None);
        match ctx.load(set, |dir| movielens::locate(dir, set).map(Some), stand_in)? {
            Some(place) => {
                let titles = read::movielens::titles(&place)?;
                let (log, report) = read::movielens::ratings(&place)?;
                anyhow::ensure!(report.rejections() == 0, "{}: {report}", place.display());
                Ok(Films { log, titles })
            }
            None => {
                let made = synthetic::ratings(&RatingsPlan { rank, ..RatingsPlan::default() }, seed)?;
                Ok(Films {
                    log: Interactions::from_ratings(made.log)?,
                    titles: made.titles.into_iter().collect(),
                })
            }
        }
    }

    /// The title of a film, or its number where it has none.
    pub(super) fn title(&self, id: u32) -> String {
        self.titles.get(&id).cloned().unwrap_or_else(|| format!("film {id}"))
    }
}
