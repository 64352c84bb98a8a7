//! A trained model of the next item: the network, and a vector for each user and item.

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
use super::state::check_finite;
use super::train;
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sequences::{LogColumns, Sequences};
use crate::data::sparse::UserItems;
use crate::models::factors::{Factors, Vectors, dot};
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

    /// No state is longer.
    fn longest_state(&self) -> f32 {
        match self {
            Self::Attention(network) => network.longest_state(),
            Self::Masked(network) => network.longest_state(),
            Self::Gru(network) => network.longest_state(),
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
/// The score of an item is the inner product of its vector and the state of the network after a history. The states of the users of
/// training are computed once, so that their lists need no network; a session is encoded when it is asked about.
///
/// It knows order: lists of users follow what they met last, those of [`Fitted::recommend_session`](crate::Fitted::recommend_session)
/// the session. Nothing is known of a history without items, whose scores are all 0: its list is what is popular.
///
/// Nothing is learned of an item of the catalogue without rows in training, as splits leave them, nor of one whose rows were all held out to
/// know when to end ([`patience`](crate::Sasrec::patience)), or have nothing before or after them. It is listed behind all others, with one low
/// score for all such items, and passed over in histories and sessions like an id that the catalogue does not have.
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
        let sequences = log.sequences();
        let what = || format!("{} on {} users and {} items", settings.name(), log.n_users, log.n_items);
        memory::check(what, settings.memory_on(&sequences, log.n_items), settings.memory_limit)?;
        let trained = train::train(settings, &sequences, log.n_items)?;
        let sequences = sequences.last(settings.max_length);
        let learned = &trained.learned;
        let rows: Vec<Vec<ItemIdx>> = sequences
            .iter()
            .map(|items| items.iter().copied().filter(|item| learned[item.at()]).collect())
            .collect();
        let rows: Vec<&[ItemIdx]> = rows.iter().map(Vec::as_slice).collect();
        let users = train::states(settings, &trained.network, &rows)?;
        let factors = factors(settings, &trained.network, users, learned)?;
        let losses = trained.losses;
        let (settings, network) = (settings.clone(), trained.network);
        Ok(Self { settings, network, factors, sequences, losses, validation: trained.validation })
    }

    /// The states of the users after all they met, and the vectors of the items. Where the catalogue has items that nothing was learned of,
    /// each has a further entry: of users 1, and of items what keeps those behind the others.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// NDCG@10 of the validation items after each epoch; empty where none were held out.
    pub fn validation(&self) -> &[f64] {
        &self.validation
    }

    /// The state after these items, first met first; zeros for none. Items that nothing was learned of are passed over. It is as long as
    /// the vectors of [`factors`](Self::factors), with a 1 behind it where these have an entry more.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] for an index out of range.
    pub fn encode(&self, items: &[ItemIdx]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        let learned: Vec<ItemIdx> = items.iter().copied().filter(|&item| self.learned(item)).collect();
        let mut state = train::states(&self.settings, &self.network, &[&learned])?;
        state.resize(self.factors.items.dim(), 1.0);
        Ok(state)
    }

    /// Whether anything was learned of an item.
    fn learned(&self, item: ItemIdx) -> bool {
        let bias = self.factors.items.get(item.at()).get(self.settings.dim);
        bias.is_none_or(|bias| *bias == 0.0)
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

/// The vectors that lists are made by. An item that was not learned from still has the vector that it was drawn with: it becomes zeros, in the
/// network as well, and a bias puts it below the score that any other item can have for any state. The bias is no larger than that
/// takes, since an index and rerankers look at how far scores are apart.
fn factors(settings: &Settings, network: &Network, users: Vec<f32>, learned: &[bool]) -> Result<Factors> {
    let dim = settings.dim;
    let failed = |reason: String| Error::Network { model: settings.name(), reason };
    let mut items = network.items().value().to_vec();
    let (mut width, mut users) = (dim, users);
    if learned.contains(&false) {
        let strangers = items.chunks_mut(dim).zip(learned).filter(|(_, learned)| !**learned);
        strangers.for_each(|(vector, _)| vector.fill(0.0));
        let table = Tensor::from_slice(&items, [learned.len(), dim]).map_err(|e| failed(e.to_string()))?;
        network.items().set(table);
        let longest = items.chunks(dim).map(|vector| dot(vector, vector).sqrt()).fold(0.0_f32, f32::max);
        // Twice what Cauchy-Schwarz asks for, to be out of the reach of rounding.
        let bias = -2.0 * network.longest_state() * longest - 1.0;
        items = with_entry(&items, dim, |item| if learned[item] { 0.0 } else { bias });
        users = with_entry(&users, dim, |_| 1.0);
        width += 1;
    }
    if users.iter().chain(&items).any(|x| !x.is_finite()) {
        return Err(failed("the vectors are no longer finite; lower the learning rate".to_owned()));
    }
    Ok(Factors { users: Vectors::from_parts(width, users), items: Vectors::from_parts(width, items) })
}

/// Vectors with a further entry, by the number of each.
fn with_entry(vectors: &[f32], dim: usize, entry: impl Fn(usize) -> f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(vectors.len() / dim * (dim + 1));
    for (at, vector) in vectors.chunks(dim).enumerate() {
        out.extend_from_slice(vector);
        out.push(entry(at));
    }
    out
}

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
        let fits = matches!(factors.items.dim().checked_sub(settings.dim), Some(0 | 1));
        if !fits || !sequences.is_consistent(n_users, n_items) {
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
        // Without the entry that keeps items not learned from behind the others.
        let items = factors.items.as_slice().chunks(factors.items.dim());
        let items: Vec<f32> = items.flat_map(|vector| &vector[..settings.dim]).copied().collect();
        let items = Tensor::from_slice(&items, [n_items, settings.dim]);
        network.items().set(items.map_err(|e| e.to_string())?);
        check_finite(&state)?;
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
    /// Whether it was learned from: rows that were held out or have nothing beside them are as good as none.
    fn knows_item(&self, item: ItemIdx, _: bool) -> bool {
        self.learned(item)
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
        // Nothing is like what nothing was learned of.
        let stranger = |item: ItemIdx| !self.learned(item);
        let all = stranger(item);
        let each = (0..).map(ItemIdx).zip(out);
        each.filter(|(other, _)| all || stranger(*other)).for_each(|(_, out)| *out = f32::NAN);
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
    use super::super::state::refuses_what_is_not_finite;
    use super::*;
    use crate::{Bert4Rec, Estimator, Gru4Rec, Sasrec, synthetic};

    #[test]
    fn networks_with_values_that_are_not_finite_are_refused_by_the_name_of_the_tensor() {
        let log = synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap();
        for model in [
            Sasrec::new().dim(4).max_length(5).epochs(1).fit(&log).unwrap(),
            Bert4Rec::new().dim(4).max_length(5).epochs(1).fit(&log).unwrap(),
            Gru4Rec::new().dim(4).max_length(5).epochs(1).fit(&log).unwrap(),
        ] {
            let record = || Record::from_model(model.model());
            refuses_what_is_not_finite(&record().state, |state| Record { state, ..record() }.build());
        }
    }

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
