//! A trained model of the next item: the network, and a vector for each user and item.
//!
//! The score of an item is the inner product of its vector and the state of the network after a history. The states of the users of
//! training are computed once, so that their lists need no network; a session is encoded when it is asked about.

use std::collections::BTreeMap;

use cairn_autograd::Var;
use cairn_nn::{Context, Module, Parameter};
use cairn_tensor::{AnyTensor, Rng, Tensor, rng};
use serde::{Deserialize, Serialize};

use super::bert4rec::Bert;
use super::gru4rec::Gru;
use super::ragged::Ragged;
use super::sasrec::Attention;
use super::settings::{Encoder, Settings};
use super::train;
use crate::data::ids::{ItemIdx, UserIdx};
use crate::data::sequences::{LogColumns, Sequences};
use crate::data::sparse::UserItems;
use crate::models::factors::{Factors, Vectors};
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::{Error, Result, check, memory};

/// The network of a model. A clone shares its values, which training alone changes.
#[derive(Debug, Clone)]
pub(super) enum Network {
    Attention(Attention),
    Masked(Bert),
    Gru(Gru),
}

impl Network {
    pub(super) fn new(settings: &Settings, n_items: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        Ok(match settings.encoder {
            Encoder::Attention { blocks, heads } => {
                Self::Attention(Attention::new(settings, (blocks, heads), n_items, rng)?)
            }
            Encoder::Masked { blocks, heads, .. } => {
                Self::Masked(Bert::new(settings, (blocks, heads), n_items, rng)?)
            }
            Encoder::Gru { layers } => Self::Gru(Gru::new(settings, layers, n_items, rng)?),
        })
    }

    /// The state after every step, `[steps, dim]`.
    pub(super) fn encode(&self, batch: &Ragged, cx: &mut Context) -> cairn_nn::Result<Var> {
        match self {
            Self::Attention(network) => network.encode(batch, cx),
            Self::Masked(network) => network.encode(batch, cx),
            Self::Gru(network) => network.encode(batch, cx),
        }
    }

    /// The table of items, `[items, dim]`.
    pub(super) fn items(&self) -> &Parameter {
        match self {
            Self::Attention(network) => &network.items,
            Self::Masked(network) => &network.items,
            Self::Gru(network) => &network.items,
        }
    }

    pub(super) fn module(&self) -> &dyn Module {
        match self {
            Self::Attention(network) => network,
            Self::Masked(network) => network,
            Self::Gru(network) => network,
        }
    }
}

/// A trained [`Sasrec`](crate::Sasrec), [`Bert4Rec`](crate::Bert4Rec) or [`Gru4Rec`](crate::Gru4Rec).
///
/// It knows order: lists of users follow what they met last, those of [`Fitted::recommend_session`](crate::Fitted::recommend_session)
/// the session. Nothing is known of a history without items, whose scores are all 0: its list is what is popular.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct SequenceModel {
    settings: Settings,
    network: Network,
    factors: Factors,
    sequences: Sequences,
    losses: Vec<f64>,
    validation: Vec<f64>,
}

impl SequenceModel {
    pub(super) fn train(settings: &Settings, log: &LogColumns<'_>) -> Result<Self> {
        settings.check()?;
        let what = || format!("{} on {} users and {} items", settings.name(), log.n_users, log.n_items);
        memory::check(what, settings.memory(log.n_users, log.n_items), settings.memory_limit)?;
        let sequences = log.sequences();
        let trained = train::train(settings, &sequences, log.n_items)?;
        let sequences = sequences.last(settings.max_length);
        let rows: Vec<&[ItemIdx]> = sequences.iter().collect();
        let users = train::states(settings, &trained.network, &rows)?;
        let items = trained.network.items().value().to_vec();
        if users.iter().chain(&items).any(|x| !x.is_finite()) {
            let reason = "the vectors are no longer finite; lower the learning rate".to_owned();
            return Err(Error::Network { model: settings.name(), reason });
        }
        let (dim, losses) = (settings.dim, trained.losses);
        let factors =
            Factors { users: Vectors::from_parts(dim, users), items: Vectors::from_parts(dim, items) };
        let (settings, network) = (settings.clone(), trained.network);
        Ok(Self { settings, network, factors, sequences, losses, validation: trained.validation })
    }

    /// The states of the users after all they met, and the vectors of the items.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// NDCG@10 of the validation items after each epoch; empty where none were held out.
    pub fn validation(&self) -> &[f64] {
        &self.validation
    }

    /// The state after these items, first met first; zeros for none.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] for an index out of range.
    pub fn encode(&self, items: &[ItemIdx]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        train::states(&self.settings, &self.network, &[items])
    }

    /// The values of the network but for the items, which are in the factors.
    fn state(&self) -> BTreeMap<String, AnyTensor> {
        let mut state = self.network.module().state();
        state.remove(ITEMS);
        state
    }
}

/// Path of the table of items.
const ITEMS: &str = "items";

impl PartialEq for SequenceModel {
    fn eq(&self, other: &Self) -> bool {
        Record::from_model(self) == Record::from_model(other)
    }
}

/// What is written of a model.
#[derive(Serialize, Deserialize, PartialEq)]
struct Record {
    settings: Settings,
    factors: Factors,
    sequences: Sequences,
    losses: Vec<f64>,
    validation: Vec<f64>,
    state: BTreeMap<String, AnyTensor>,
}

impl Record {
    fn from_model(model: &SequenceModel) -> Self {
        Self {
            settings: model.settings.clone(),
            factors: model.factors.clone(),
            sequences: model.sequences.clone(),
            losses: model.losses.clone(),
            validation: model.validation.clone(),
            state: model.state(),
        }
    }

    fn build(self) -> std::result::Result<SequenceModel, String> {
        let Self { settings, factors, sequences, losses, validation, mut state } = self;
        settings.check().map_err(|e| e.to_string())?;
        factors.validate()?;
        let (n_users, n_items) = (factors.users.len(), factors.items.len());
        if factors.items.dim() != settings.dim || !sequences.is_consistent(n_users, n_items) {
            return Err("settings, vectors and sequences do not fit".to_owned());
        }
        // The state says how large the network is before one is made.
        let values: usize = state.values().map(AnyTensor::len).sum();
        let (Encoder::Attention { blocks: layers, .. }
        | Encoder::Masked { blocks: layers, .. }
        | Encoder::Gru { layers }) = settings.encoder;
        let positions = match settings.encoder {
            Encoder::Attention { .. } | Encoder::Masked { .. } => settings.max_length,
            // It has no table of positions and may look back as far as it likes.
            Encoder::Gru { .. } => 0,
        };
        let tables = memory::of_factors(positions, settings.dim, 1);
        // The least that a layer of any of the three has is four square matrices.
        let of_layers = memory::of_pairs(settings.dim, 4).saturating_mul(layers as u64);
        if layers > state.len() || of_layers > values as u64 || tables > 64 * (values as u64 + (1 << 20)) {
            return Err("settings and network do not fit".to_owned());
        }
        let network = Network::new(&settings, 1, &mut rng(0)).map_err(|e| e.to_string())?;
        let items = Tensor::from_slice(factors.items.as_slice(), [n_items, settings.dim]);
        network.items().set(items.map_err(|e| e.to_string())?);
        state.insert(ITEMS.to_owned(), network.items().any());
        network.module().load_state(&state).map_err(|e| e.to_string())?;
        Ok(SequenceModel { settings, network, factors, sequences, losses, validation })
    }
}

impl From<SequenceModel> for Record {
    fn from(model: SequenceModel) -> Self {
        Self::from_model(&model)
    }
}

impl TryFrom<Record> for SequenceModel {
    type Error = String;

    fn try_from(record: Record) -> std::result::Result<Self, String> {
        record.build()
    }
}

impl Recommender for SequenceModel {
    fn name(&self) -> &'static str {
        self.settings.name()
    }
    fn n_users(&self) -> usize {
        self.factors.users.len()
    }
    fn n_items(&self) -> usize {
        self.factors.items.len()
    }
    fn knows_order(&self) -> bool {
        true
    }
    fn sequence(&self, user: UserIdx) -> Option<&[ItemIdx]> {
        Some(self.sequences.get(user))
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        self.factors.score_users(users, out);
        Ok(())
    }
    fn inner_product(&self) -> Option<&Factors> {
        Some(&self.factors)
    }
    /// Values do not matter, as in training.
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], _: &[f32], out: &mut [f32]) -> Result<()> {
        self.factors.items.inner_products(&self.encode(items)?, out);
        Ok(())
    }
    fn fold_in_vector(&self, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        self.encode(items)
    }
    fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) -> Result<()> {
        self.factors.items.cosines(item.0 as usize, self.settings.dim, out);
        Ok(())
    }
    fn user_similarity(&self, user: UserIdx, out: &mut [f32]) -> Result<()> {
        self.factors.users.cosines(user.0 as usize, self.settings.dim, out);
        Ok(())
    }
    /// The mean loss of each epoch.
    fn progress(&self) -> &[f64] {
        &self.losses
    }
}

impl Saved for SequenceModel {
    const FORMAT: &'static str = "sequence";

    /// Settings, vectors, sequences and network are checked as they are put together.
    fn validate(&self) -> std::result::Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Estimator, Gru4Rec, Sasrec, synthetic};

    #[test]
    fn a_file_that_names_a_large_network_and_holds_none_is_refused_before_one_is_made() {
        let log = synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap();
        let model = Sasrec::new().dim(4).max_length(5).epochs(1).fit(&log).unwrap();
        assert!(Record::from_model(model.model()).build().is_ok());
        let mut record = Record::from_model(model.model());
        let empty = AnyTensor::from(Tensor::<f32>::zeros([0]).unwrap());
        record.state = (0..1000).map(|n| (n.to_string(), empty.clone())).collect();
        record.settings.dim = 2000;
        record.settings.encoder = Encoder::Attention { blocks: 1000, heads: 1 };
        record.factors.users = Vectors::zeros(20, 2000).unwrap();
        record.factors.items = Vectors::zeros(12, 2000).unwrap();
        assert!(record.build().err().unwrap().contains("network do not fit"));
    }

    #[test]
    fn what_a_recurrent_network_looks_back_on_is_no_table_of_its_file() {
        let log = synthetic::planted_groups(6, 12, 2, 4, 0.1, 0).unwrap();
        let settings = Gru4Rec::new().dim(4).max_length(1_000_000).batch_size(2).epochs(1).patience(None);
        let model = settings.fit(&log).unwrap();
        let loaded = Record::from_model(model.model()).build().unwrap();
        assert!(&loaded == model.model());
    }
}
