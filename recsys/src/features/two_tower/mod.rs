//! Two towers, the first stage of Covington, Adams & Sargin (RecSys 2016), with the loss of Yi et al. (RecSys 2019).

mod model;
mod network;

use std::collections::HashSet;

use cairn_tensor::rng;

pub use self::model::TwoTowerModel;
use self::network::{Network, Rows};
use super::known::{Known, feature_setters};
use crate::data::ids::{ItemIdx, UserIdx};
use crate::data::sparse::{ItemUsers, UserItems};
use crate::estimator::Estimator;
use crate::models::factors::FactorModel;
use crate::neural::passes::{Passes, failure, passes_setters};
use crate::{Error, Result, check, memory};

/// Settings of two towers. Defaults: vectors of 64, one hidden layer of 128 in each tower, dropout 0.1 after it, 20 epochs of batches of
/// 512, Adam with 1e-3, seed 0, no features.
///
/// A network makes a vector of a user, of what they met and what is known of them, another one of an item, of its identity and what is
/// known of it; the score is their inner product. A user has no vector of their own: who is new is like everybody else. Each pair of a
/// user and an item they met is a sample; what the user met besides is the input, and the other items of the batch are the negatives, their
/// logits lowered by the logarithm of how often they are drawn so (Yi et al., RecSys 2019), those that the user met left out.
/// Where there are no negatives there is nothing to learn: a batch of 1 is refused, and so is a log of which every user met all
/// items, as that of a single user ([`Error::Network`]).
///
/// A trained model is a factorisation, which finds candidates fast. Those are ranked by a model that looks at pairs,
/// [`rerank::Rank`](crate::rerank::Rank): the second stage.
///
/// An item of the catalogue without rows is scored by what is known of it alone, and passed over in histories. So is one that was met only
/// by who met nothing else, which is never a part of an input. A feature that no step moved says nothing.
///
/// Interactions count as ones: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least). Histories are taken whole, so lists are best for histories about as long
/// as those of training.
///
/// ```
/// use cairn_recsys::features::{FeatureMatrix, FeatureRow, FeatureTable, TwoTower};
/// use cairn_recsys::{Estimator, Filter, synthetic};
/// let log = synthetic::planted_groups(80, 40, 4, 8, 0.0, 0)?;
/// let table = FeatureTable::new((0..40).map(|item| (item, FeatureRow::new().category("group", &(item % 4).to_string()))))?;
/// let features = FeatureMatrix::new(&table, &log.catalog().items)?;
/// let settings = TwoTower::new().factors(8).hidden([16]).batch_size(64).learning_rate(0.01);
/// let model = settings.item_features(&features).fit(&log)?;
/// let list = model.recommend_session(&[3, 7, 11], 3, &Filter::unseen())?;
/// assert!(list.iter().all(|entry| entry.id % 4 == 3));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("DSSM", "candidate generation", "YouTubeDNN", "retrieval"))]
pub struct TwoTower {
    factors: usize,
    hidden: Vec<usize>,
    dropout: f32,
    passes: Passes,
    known: Known,
    memory_limit: u64,
}

impl Default for TwoTower {
    fn default() -> Self {
        Self {
            factors: 64,
            hidden: vec![128],
            dropout: 0.1,
            passes: Passes { epochs: 20, batch_size: 512, learning_rate: 1e-3, seed: 0 },
            known: Known::default(),
            memory_limit: memory::LIMIT,
        }
    }
}

impl TwoTower {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Length of the vectors, those of items and features and those that come out of the towers.
        #[doc(alias = "embedding_size")]
        factors(factors: usize);
        /// Probability that an output of a hidden layer is dropped in training.
        dropout(rate: f32);
    }

    feature_setters!();
    passes_setters!();

    /// Widths of the hidden layers of each tower; with none a tower is the sum of vectors.
    #[must_use]
    #[doc(alias = "mlp_hidden_size")]
    pub fn hidden(mut self, widths: impl IntoIterator<Item = usize>) -> Self {
        self.hidden = widths.into_iter().collect();
        self
    }

    fn check(&self, matrix: &UserItems) -> Result<()> {
        check::at_least_one("factors", self.factors)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::parameter("dropout", self.dropout, "0 to below 1"));
        }
        self.hidden.iter().try_for_each(|&width| check::at_least_one("hidden", width))?;
        self.passes.check()?;
        if self.passes.batch_size == 1 {
            let expected = "at least 2: the negatives of a pair are the other items of its batch";
            return Err(Error::parameter("batch_size", 1, expected));
        }
        check::not_empty(matrix)?;
        self.known.check(matrix)?;
        let what = || format!("two towers on {} users and {} items", matrix.n_rows(), matrix.n_cols());
        memory::check(what, self.memory(matrix), self.memory_limit)
    }

    fn memory(&self, matrix: &UserItems) -> u64 {
        let (of_items, of_users) = self.known.counts();
        let vectors = 2 * matrix.n_cols() + of_items + of_users;
        // Values, gradients in two parts, two moments; of users and items what comes out.
        let tables = memory::of_factors(vectors, self.factors, 5).saturating_add(memory::of_factors(
            matrix.n_rows() + matrix.n_cols(),
            self.factors,
            2,
        ));
        let batch = self.passes.batch_size.min(matrix.nnz()) as u64;
        let ends = |at: usize| *self.hidden.get(at).unwrap_or(&self.factors) as u64;
        let widths = (0..=self.hidden.len()).map(ends).fold(self.factors as u64, u64::saturating_add);
        let layers = (0..=self.hidden.len()).map(|at| {
            let inputs = if at == 0 { self.factors as u64 } else { ends(at - 1) };
            inputs.saturating_mul(ends(at))
        });
        let layers = layers.fold(0, u64::saturating_add).saturating_mul(2 * 4 * 5);
        let of_batch = widths.saturating_mul(6).saturating_add(batch.saturating_mul(5)).saturating_mul(batch);
        [tables, layers, of_batch.saturating_mul(4)].into_iter().fold(0, u64::saturating_add)
    }
}

/// That some batch can hold an item that the user of a pair did not meet.
fn check_contrast(matrix: &UserItems, by_item: &ItemUsers) -> Result<()> {
    let items = by_item.row_indices().filter(|&item| by_item.row_len(item) > 0).count();
    if matrix.row_indices().any(|user| (1..items).contains(&matrix.row_len(user))) {
        return Ok(());
    }
    let reason = "every user of the log met all of its items: no batch holds a negative to learn from";
    Err(failure(TwoTowerModel::NAME, &reason))
}

impl Estimator for TwoTower {
    type Model = TwoTowerModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<TwoTowerModel> {
        self.check(matrix)?;
        let failed = |e: cairn_nn::Error| failure(TwoTowerModel::NAME, &e);
        let transpose = matrix.transpose();
        check_contrast(matrix, &transpose)?;
        let (of_items, of_users) = self.known.counts();
        let columns = [of_users, of_items].map(|features| matrix.n_cols() + features);
        let layers = (self.factors, &self.hidden[..], self.dropout);
        let start = || Network::new(columns, layers, &mut rng(self.passes.seed)).map_err(failed);
        let network = start()?;
        let rows = Rows { known: &self.known, matrix };
        let pairs: Vec<(UserIdx, ItemIdx)> = matrix.entries().map(|(user, item, _)| (user, item)).collect();
        // How likely an item is to be in a place of a batch, as a logarithm.
        let share = |item: ItemIdx| (transpose.row_len(item) as f32 / pairs.len() as f32).ln();
        let progress =
            self.passes.train(TwoTowerModel::NAME, (&network, true), pairs.len(), |batch, _, cx| {
                let batch: Vec<(UserIdx, ItemIdx)> = batch.iter().map(|&at| pairs[at as usize]).collect();
                let shares = batch.iter().map(|&(_, item)| share(item)).collect();
                let mut out = Vec::with_capacity(batch.len() * batch.len());
                for (row, &(user, _)) in batch.iter().enumerate() {
                    let met: HashSet<ItemIdx> = matrix.row(user).0.iter().copied().collect();
                    out.extend(
                        batch.iter().enumerate().map(|(at, (_, other))| at != row && met.contains(other)),
                    );
                }
                let users = rows.users(batch.iter().map(|&(user, item)| (user, Some(item))), |_| true);
                let items = rows.items(batch.iter().map(|&(_, item)| (item, true)));
                network.loss(users, items, (shares, out), cx)
            })?;
        // What it began as is drawn again and not kept, to take no memory while it is trained.
        TwoTowerModel::new(self, (&network, &start()?), &rows, &transpose, progress)
    }
}
