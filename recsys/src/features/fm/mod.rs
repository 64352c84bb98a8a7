//! Factorisation machines (Rendle, ICDM 2010) on users, items, what is known of both, and the context; with dense layers on the same
//! vectors DeepFM (Guo et al., IJCAI 2017), and with dense layers in place of the pairs wide and deep (Cheng et al., DLRS 2016).
//!
//! Without dense layers what belongs to a user and what belongs to an item part: a trained machine is a factorisation, with lists and the
//! index of one. The network is in `network`, what is kept in `model`.

mod model;
mod network;

use cairn_tensor::rng;
use rand::RngExt;

pub use self::model::FactorizationMachineModel;
use self::network::{Network, Samples};
use super::events::EventFeatures;
use super::known::{Known, feature_setters};
use super::space::{FeatureIdx, FeatureMatrix};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::others::{Pool, tried};
use crate::data::sequences::LogColumns;
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::neural::passes::{Passes, failure, passes_setters};
use crate::{Error, Result, check, memory};

/// Settings of a factorisation machine, and with dense layers of DeepFM. Defaults: vectors of 16, no dense layers, 4 items drawn for each
/// that was met, no regularisation, 20 epochs of batches of 1024, Adam with 1e-2, seed 0, no features.
///
/// A sample is a row of features x: the user, the item, their features, those of the event. Its score is
/// w₀ + Σ wⱼ xⱼ + Σ over pairs ⟨vⱼ, vₖ⟩ xⱼ xₖ, for DeepFM plus a network's on the sums of the vectors of each field. Trained by the logistic
/// loss with items drawn that were not met, in steps of Adam that move the rows of the table which are met alone. What no step moved says
/// nothing.
///
/// Interactions count as ones: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least).
///
/// ```
/// use cairn_recsys::features::{FactorizationMachine, FeatureMatrix, FeatureRow, FeatureTable};
/// use cairn_recsys::{Estimator, Filter, synthetic};
/// let log = synthetic::planted_groups(80, 40, 4, 8, 0.0, 0)?;
/// let table = FeatureTable::new((0..40).map(|item| (item, FeatureRow::new().category("group", &(item % 4).to_string()))))?;
/// let features = FeatureMatrix::new(&table, &log.catalog().items)?;
/// let settings = FactorizationMachine::new().factors(8).batch_size(64).item_features(&features);
/// let model = settings.fit(&log)?;
/// let new = ["3", "1"].map(|group| FeatureRow::new().category("group", group));
/// let scores = model.score_new_items(&7, &new)?;
/// assert!(scores[0] > scores[1]);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("FM", "DeepFM", "libFM", "WideDeep"))]
pub struct FactorizationMachine {
    factors: usize,
    pairs: bool,
    hidden: Vec<usize>,
    dropout: f32,
    negatives: usize,
    regularization: f32,
    passes: Passes,
    known: Known,
    context: Option<EventFeatures>,
    memory_limit: u64,
}

impl Default for FactorizationMachine {
    fn default() -> Self {
        Self {
            factors: 16,
            pairs: true,
            hidden: Vec::new(),
            dropout: 0.0,
            negatives: 4,
            regularization: 0.0,
            passes: Passes { epochs: 20, batch_size: 1024, learning_rate: 1e-2, seed: 0 },
            known: Known::default(),
            context: None,
            memory_limit: memory::LIMIT,
        }
    }
}

impl FactorizationMachine {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Length of the vectors, besides the linear weight.
        #[doc(alias = "embedding_size")]
        factors(factors: usize);
        /// Whether the products of all pairs of features are a part of the score, as they are by default. Without them and with dense
        /// [`hidden`](Self::hidden) layers it is wide and deep: a linear part that remembers, and a network that generalises.
        pairs(with: bool);
        /// Probability that an output of a dense layer is dropped in training.
        dropout(rate: f32);
        /// Items drawn for each that was met: 1 to 65,536.
        negatives(negatives: usize);
        /// Weight of the squares of what a sample is made of.
        regularization(weight: f32);
    }

    feature_setters!();
    passes_setters!();

    /// With dense layers of these widths on the vectors of all fields: DeepFM.
    #[must_use]
    #[doc(alias = "deep_layers")]
    pub fn hidden(mut self, widths: impl IntoIterator<Item = usize>) -> Self {
        self.hidden = widths.into_iter().collect();
        self
    }

    /// With features of the events of the log.
    #[must_use]
    pub fn context(mut self, features: &EventFeatures) -> Self {
        self.context = Some(features.clone());
        self
    }

    fn check(&self, matrix: &UserItems) -> Result<()> {
        check::at_least_one("factors", self.factors)?;
        check::negatives(self.negatives)?;
        check::not_negative("regularization", self.regularization)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::parameter("dropout", self.dropout, "0 to below 1"));
        }
        self.hidden.iter().try_for_each(|&width| check::at_least_one("hidden", width))?;
        if !self.pairs && self.hidden.is_empty() {
            // A sum over features by themselves lists the same for everybody.
            return Err(Error::parameter("pairs", false, "true where there are no `hidden` layers"));
        }
        self.passes.check()?;
        check::not_empty(matrix)?;
        self.known.check(matrix)?;
        let what = || format!("{} on {} users and {} items", self.name(), matrix.n_rows(), matrix.n_cols());
        memory::check(what, self.memory(matrix), self.memory_limit)
    }

    fn memory(&self, matrix: &UserItems) -> u64 {
        let features = Fields::new(self, matrix).len();
        // Values, gradients, two moments, and what is kept; with room for the entries of a batch.
        let tables = memory::of_factors(features, self.factors, 6);
        let batch = (self.passes.batch_size.min(matrix.nnz()) as u64)
            .saturating_mul((self.negatives as u64).saturating_add(1));
        let of_event = self.context.as_ref().map_or(0, EventFeatures::longest);
        let entries = batch
            .saturating_mul(self.known.longest().saturating_add(of_event).saturating_add(16))
            .saturating_mul(self.factors as u64)
            .saturating_add(1)
            .saturating_mul(4 * 8);
        let layer = |inputs: usize, outputs: usize| (inputs as u64).saturating_mul(outputs as u64);
        let widths =
            std::iter::once(network::FIELDS.saturating_mul(self.factors)).chain(self.hidden.iter().copied());
        let weights =
            widths.zip(self.hidden.iter().copied()).map(|(i, o)| layer(i, o)).fold(0, u64::saturating_add);
        let outputs =
            self.hidden.iter().map(|&width| batch.saturating_mul(width as u64)).fold(0, u64::saturating_add);
        [tables, entries, weights.saturating_mul(20), outputs.saturating_mul(12)]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    fn name(&self) -> &'static str {
        name(self.pairs, !self.hidden.is_empty())
    }

    /// Trains on who met what, and when where that is known.
    fn train(
        &self,
        matrix: &UserItems,
        events: &[(UserIdx, ItemIdx, Option<i64>)],
    ) -> Result<FactorizationMachineModel> {
        self.check(matrix)?;
        let fields = Fields::new(self, matrix);
        let failed = |e: cairn_nn::Error| failure(self.name(), &e);
        let deep = (&self.hidden[..], self.dropout);
        let start = || {
            Network::new(fields.len(), self.factors, self.pairs, deep, &mut rng(self.passes.seed))
                .map_err(failed)
        };
        let network = start()?;
        // Items that nobody met are no negatives: they would be pushed down for being new.
        let transpose = matrix.transpose();
        let others: Vec<ItemIdx> = transpose.row_indices().filter(|&i| transpose.row_len(i) > 0).collect();
        // Nothing is to be told apart by who met all.
        let events: Vec<_> =
            events.iter().copied().filter(|event| matrix.row_len(event.0) < others.len()).collect();
        let progress = self.passes.train(self.name(), (&network, true), events.len(), |batch, _, cx| {
            let (mut samples, mut labels, mut rng) = (Samples::default(), Vec::new(), cx.draw());
            for &(user, item, time) in batch.iter().map(|&at| &events[at as usize]) {
                samples.push(fields.sample(user, item, time));
                labels.push(1.0);
                let seen = matrix.row(user).0;
                for _ in 0..self.negatives {
                    let any = || others[rng.random_range(0..others.len())];
                    let other = tried(any, |item| seen.binary_search(&item).is_ok());
                    let other = other.unwrap_or_else(|| Pool::These(&others).unmet(seen, &mut rng));
                    samples.push(fields.sample(user, other, time));
                }
                labels.resize(samples.len(), 0.0);
            }
            network.loss(&samples, &labels, self.regularization, cx)
        })?;
        // What it began as is drawn again and not kept, to take no memory while it is trained.
        FactorizationMachineModel::new(self, (&network, &start()?), &fields, (matrix, &transpose), progress)
    }
}

fn name(pairs: bool, deep: bool) -> &'static str {
    match (pairs, deep) {
        (true, false) => "FM",
        (true, true) => "DeepFM",
        (false, _) => "WideAndDeep",
    }
}

impl Estimator for FactorizationMachine {
    type Model = FactorizationMachineModel;

    /// Of a matrix nothing is known about when things were met: for a machine without features of events.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with features of events; else as for logs.
    fn fit_matrix(&self, matrix: &UserItems) -> Result<FactorizationMachineModel> {
        if self.context.is_some() {
            let operation = "training on a matrix with features of events; train on the log";
            return Err(Error::Unsupported { model: self.name(), operation });
        }
        let events: Vec<_> = matrix.entries().map(|(user, item, _)| (user, item, None)).collect();
        self.train(matrix, &events)
    }

    fn fit_columns(&self, log: &LogColumns<'_>, matrix: &UserItems) -> Result<FactorizationMachineModel> {
        let rows = log.users.iter().zip(log.items).zip(log.timestamps);
        let events: Vec<_> = rows.map(|((&user, &item), &time)| (user, item, Some(time))).collect();
        self.train(matrix, &events)
    }
}

/// Where each kind of feature begins in the table.
struct Fields<'a> {
    known: &'a Known,
    context: Option<&'a EventFeatures>,
    /// Users, features of users, items, features of items, features of events, and the end.
    starts: [usize; 6],
}

impl<'a> Fields<'a> {
    fn new(settings: &'a FactorizationMachine, matrix: &UserItems) -> Self {
        let (of_items, of_users) = settings.known.counts();
        let of_events = settings.context.as_ref().map_or(0, |context| context.space().len());
        let mut starts = [0; 6];
        for (at, n) in
            [matrix.n_rows(), of_users, matrix.n_cols(), of_items, of_events].into_iter().enumerate()
        {
            starts[at + 1] = starts[at] + n;
        }
        Self { known: &settings.known, context: settings.context.as_ref(), starts }
    }

    fn len(&self) -> usize {
        self.starts[5]
    }

    fn sample(&self, user: UserIdx, item: ItemIdx, time: Option<i64>) -> Vec<(usize, u32, f32)> {
        let mut parts = Vec::with_capacity(8);
        self.side(0, self.known.users.as_ref(), user, &mut parts);
        self.side(2, self.known.items.as_ref(), item, &mut parts);
        if let (Some(context), Some(time)) = (self.context, time) {
            parts.extend(context.get(user, time).iter().map(|&(feature, x)| self.part(4, feature, x)));
        }
        parts
    }

    fn part(&self, field: usize, feature: FeatureIdx, value: f32) -> (usize, u32, f32) {
        (field, (self.starts[field] + feature.at()) as u32, value)
    }

    fn side<X: Idx>(
        &self,
        field: usize,
        features: Option<&FeatureMatrix<X>>,
        x: X,
        parts: &mut Vec<(usize, u32, f32)>,
    ) {
        parts.push((field, (self.starts[field] + x.at()) as u32, 1.0));
        if let Some(features) = features {
            let (columns, values) = features.rows().row(x);
            parts.extend(columns.iter().zip(values).map(|(&feature, &x)| self.part(field + 1, feature, x)));
        }
    }
}
