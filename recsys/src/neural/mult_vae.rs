//! Mult-VAE: a variational autoencoder of who met what, with the multinomial likelihood (Liang, Krishnan, Hoffman & Jebara, WWW 2018).
//!
//! A row of the matrix, scaled to length 1 and with entries dropped, goes through a hidden layer to the mean and variance of a code; a draw
//! of it goes through a hidden layer to a softmax over all items. The loss is the negative log-likelihood of what was met, and β times the
//! Kullback-Leibler divergence of the code from a standard normal, where β grows from 0 on: with the full weight from the start
//! the code stays empty.
//!
//! The input is a sparse product and the last layer an inner product with a bias, so a trained model is a factorisation whose user vectors
//! are the last hidden layer: lists, the index and similarity are those of all factorisations, and somebody new is encoded like everybody
//! else.

use std::collections::BTreeMap;

use cairn_autograd::{Var, no_grad};
use cairn_nn::{Activation, Init, Linear, Module, Parameter};
use cairn_tensor::{AnyTensor, Rng, Tensor, rng};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::passes::{Passes, failure, passes_setters};
use super::sparse::Sparse;
use super::state::check_finite;
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::estimator::Estimator;
use crate::models::factors::{FactorModel, Factors, Vectors};
use crate::serve::file::Saved;
use crate::{Error, Result, check, memory};

/// Users that are encoded at a time after training.
const USERS: usize = 512;

/// Settings of Mult-VAE. Defaults of the paper: hidden layers of 600, codes of 200, dropout 0.5 on the input, β to 0.2, 200 epochs of
/// batches of 500 users, Adam with 1e-3; β grows over the first 0.8 of training; seed 0.
///
/// Interactions count as ones, whatever their value: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least). On small logs smaller batches help: there is a step of the
/// optimiser for each.
///
/// ```
/// use cairn_recsys::{Estimator, Filter, MultVae, synthetic};
/// // Users and items are of the group of their number modulo 3.
/// let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 0)?;
/// let model = MultVae::new().hidden(32).latent(8).batch_size(50).epochs(60).fit(&log)?;
/// let list = model.recommend_for(&[(1, 1.0), (4, 1.0), (7, 1.0)], 3, &Filter::unseen())?;
/// assert!(list.iter().all(|entry| entry.id % 3 == 1));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[doc(alias("MultiVAE", "variational autoencoder", "Mult-DAE"))]
pub struct MultVae {
    hidden: usize,
    latent: usize,
    dropout: f32,
    beta: f32,
    anneal: f32,
    passes: Passes,
    /// No part of a model.
    #[serde(skip, default = "memory::limit")]
    memory_limit: u64,
}

impl Default for MultVae {
    fn default() -> Self {
        let passes = Passes { epochs: 200, batch_size: 500, learning_rate: 1e-3, seed: 0 };
        Self {
            hidden: 600,
            latent: 200,
            dropout: 0.5,
            beta: 0.2,
            anneal: 0.8,
            passes,
            memory_limit: memory::LIMIT,
        }
    }
}

impl MultVae {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Width of the hidden layers on both sides of the code.
        hidden(width: usize);
        /// Length of a code.
        #[doc(alias = "embedding_size")]
        latent(length: usize);
        /// Probability that an item of the input is dropped in training.
        dropout(rate: f32);
        /// Weight of the divergence in the end; 1 is the variational bound.
        beta(weight: f32);
        /// The share of training over which that weight grows from 0, 0 to 1.
        #[doc(alias = "kl_annealing")]
        anneal(share: f32);
    }

    passes_setters!();

    /// Bytes that training on so many users and items takes at most.
    pub fn memory_needed(&self, n_users: usize, n_items: usize) -> u64 {
        let [users, items, hidden, latent] = [n_users, n_items, self.hidden, self.latent].map(|n| n as u64);
        let batch = (self.passes.batch_size as u64).min(users);
        // The logits, their logarithms, and gradients of both; the same of the narrow layers. Here and below with a quarter for the sizes
        // of a pool's blocks (`tests/plan_memory.rs`).
        let of_batch =
            batch.saturating_mul(items.saturating_add(hidden).saturating_add(latent)).saturating_mul(4 * 6);
        // Values, gradients in two parts, two moments, and what is kept.
        let of_items = items.saturating_mul(hidden.saturating_add(1)).saturating_mul(2 * 4 * 7);
        let of_layers = hidden.saturating_mul(latent).saturating_mul(3 * 4 * 7);
        let of_users = users.saturating_mul(hidden.saturating_add(1)).saturating_mul(4);
        [of_batch, of_items, of_layers, of_users].into_iter().fold(0, u64::saturating_add)
    }

    fn check(&self) -> Result<()> {
        check::at_least_one("hidden", self.hidden)?;
        check::at_least_one("latent", self.latent)?;
        check::not_negative("beta", self.beta)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::parameter("dropout", self.dropout, "0 to below 1"));
        }
        if !(0.0..=1.0).contains(&self.anneal) {
            return Err(Error::parameter("anneal", self.anneal, "0 to 1"));
        }
        self.passes.check()
    }

    /// The weight of the divergence at a step of so many.
    fn weight(&self, step: u64, steps: u64) -> f32 {
        let grows = f64::from(self.anneal) * steps as f64;
        if step as f64 >= grows { self.beta } else { self.beta * (step as f64 / grows) as f32 }
    }
}

/// From a row of the matrix to the last hidden layer.
#[derive(Debug, Clone, Module)]
struct Encoder {
    /// `[items, hidden]`
    input: Parameter,
    /// `[hidden]`
    bias: Parameter,
    /// To mean and logarithm of the variance, side by side.
    code: Linear,
    decode: Linear,
}

#[derive(Debug, Clone, Module)]
struct Network {
    encoder: Encoder,
    /// `[hidden, items]`
    output: Linear,
}

impl Encoder {
    fn new(settings: &MultVae, n_items: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        let MultVae { hidden, latent, .. } = *settings;
        Ok(Self {
            input: Parameter::new(Init::GlorotUniform.tensor([n_items, hidden], rng)?),
            bias: Parameter::new(Tensor::zeros([hidden])?),
            code: Linear::new(hidden, 2 * latent, rng)?,
            decode: Linear::new(latent, hidden, rng)?.activation(Activation::Tanh),
        })
    }

    /// The last hidden layer, `[rows, hidden]`, of the mean code or of one drawn by `noise` `[rows, latent]`; and the mean divergence.
    fn forward(
        &self,
        rows: &Sparse<UserIdx, ItemIdx>,
        noise: Option<Tensor>,
    ) -> cairn_nn::Result<(Var, Var)> {
        let x = rows.sums(&self.input.var())?.add(&self.bias.var())?.tanh()?;
        let code = self.code.forward(&x)?;
        let latent = code.shape()[1] / 2;
        let (mean, log_variance) = (code.narrow(1, 0, latent)?, code.narrow(1, latent, latent)?);
        let divergence = log_variance.expm1()?.sub(&log_variance)?.add(&mean.square()?)?.sum(..)?;
        let divergence = divergence.scale(0.5 / code.shape()[0].max(1) as f32)?;
        let code = match noise {
            Some(noise) => log_variance.scale(0.5)?.exp()?.mul(&Var::constant(noise))?.add(&mean)?,
            None => mean,
        };
        Ok((self.decode.forward(&code)?, divergence))
    }

    /// The row of an item that nobody met still is what it was drawn as: it becomes zeros.
    fn forget_strangers(&self, matrix: &UserItems) -> cairn_nn::Result<()> {
        let mut met = vec![false; matrix.n_cols()];
        matrix.columns().iter().for_each(|item| met[item.at()] = true);
        if met.contains(&false) {
            let (width, mut rows) = (self.bias.len(), self.input.value().to_vec());
            let strangers = rows.chunks_mut(width).zip(&met).filter(|(_, met)| !**met);
            strangers.for_each(|(row, _)| row.fill(0.0));
            self.input.set(Tensor::from_vec(rows, [met.len(), width])?);
        }
        Ok(())
    }

    /// Those of some items that somebody met in training: the rows of the others are zeros.
    fn learned(&self, items: &[ItemIdx]) -> Result<Vec<ItemIdx>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<u32> = items.iter().map(|item| item.0).collect();
        let rows = self.input.value().index_select(0, &numbers);
        let rows = rows.map_err(|e| failure(MultVaeModel::NAME, &e))?.to_vec();
        let learned = |row: &[f32]| row.iter().any(|x| *x != 0.0);
        let items = items.iter().zip(rows.chunks(self.bias.len()));
        Ok(items.filter(|(_, row)| learned(row)).map(|(&item, _)| item).collect())
    }

    /// The last hidden layer and a 1 for the bias, for histories by item; one after another.
    fn vectors(&self, matrix: UserItems) -> Result<Vec<f32>> {
        let hidden = no_grad(|| Ok::<_, cairn_nn::Error>(self.forward(&Sparse::new(matrix), None)?.0));
        let hidden = hidden.map_err(|e| failure(MultVaeModel::NAME, &e))?;
        let (width, values) = (hidden.shape()[1], hidden.value().to_vec());
        Ok(values.chunks(width.max(1)).flat_map(|row| row.iter().copied().chain([1.0])).collect())
    }
}

impl Network {
    /// The negative bound, per user: of the items at `met` in `[rows · items]`.
    fn loss(
        &self,
        rows: &Sparse<UserIdx, ItemIdx>,
        met: &[u32],
        noise: Tensor,
        weight: f32,
    ) -> cairn_nn::Result<Var> {
        let (hidden, divergence) = self.encoder.forward(rows, Some(noise))?;
        let logits = self.output.forward(&hidden)?;
        let &[n, items] = logits.shape() else { unreachable!("users and items") };
        let likelihood = logits.log_softmax(-1)?.reshape([n * items])?.index_select(0, met)?.sum(..)?;
        Ok(divergence.scale(weight)?.sub(&likelihood.scale(1.0 / n.max(1) as f32)?)?)
    }
}

/// Rows of a matrix scaled to length 1, with entries dropped where `drop` says so.
fn scaled(matrix: &UserItems, users: &[UserIdx], mut drop: Option<(f32, Rng)>) -> UserItems {
    let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for &user in users {
        let items = matrix.row(user).0;
        let scale = 1.0 / (items.len() as f32).sqrt();
        columns.extend_from_slice(items);
        values.extend(items.iter().map(|_| match &mut drop {
            Some((rate, rng)) => {
                if rng.random::<f32>() < *rate {
                    0.0
                } else {
                    scale / (1.0 - *rate)
                }
            }
            None => scale,
        }));
        offsets.push(columns.len());
    }
    Csr::from_parts(matrix.n_cols(), offsets, columns, values)
}

/// The places of what users met in `[users · items]`.
fn places(matrix: &UserItems, users: &[UserIdx]) -> Vec<u32> {
    let items = matrix.n_cols() as u32;
    let of_user =
        |(row, user): (u32, &UserIdx)| matrix.row(*user).0.iter().map(move |item| row * items + item.0);
    (0..).zip(users).flat_map(of_user).collect()
}

/// A trained [`MultVae`]. The last entry of an item's vector is its bias, of a user's vector 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct MultVaeModel {
    settings: MultVae,
    encoder: Encoder,
    factors: Factors,
    progress: Vec<f64>,
}

impl MultVaeModel {
    /// The last hidden layers of the users, and the vectors of the items, each with a further entry for the bias.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// The last hidden layer for somebody who met these items, and a 1. Items without rows in training are passed over.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] for an index out of range.
    pub fn encode(&self, items: &[ItemIdx]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        let items = self.encoder.learned(items)?;
        let values = vec![1.0 / (items.len() as f32).sqrt(); items.len()];
        let row = Csr::from_parts(self.factors.items.len(), vec![0, items.len()], items, values);
        self.encoder.vectors(row)
    }
}

impl Estimator for MultVae {
    type Model = MultVaeModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<MultVaeModel> {
        self.check()?;
        check::not_empty(matrix)?;
        let (n_users, n_items) = (matrix.n_rows(), matrix.n_cols());
        let what = || format!("Mult-VAE on {n_users} users and {n_items} items");
        memory::check(what, self.memory_needed(n_users, n_items), self.memory_limit)?;
        let users: Vec<UserIdx> = matrix.row_indices().filter(|&user| matrix.row_len(user) > 0).collect();
        let batch = self.passes.batch_size.min(users.len());
        if batch.saturating_mul(n_items) > u32::MAX as usize {
            return Err(Error::parameter("batch_size", batch, "fewer than 2³² scores a batch"));
        }
        let failed = |e: cairn_nn::Error| failure(MultVaeModel::NAME, &e);
        let mut rng = rng(self.passes.seed);
        let encoder = Encoder::new(self, n_items, &mut rng).map_err(failed)?;
        let output = Linear::new(self.hidden, n_items, &mut rng).map_err(failed)?;
        let network = Network { encoder, output };
        let steps = self.passes.steps(users.len());
        let progress =
            self.passes.train(MultVaeModel::NAME, (&network, false), users.len(), |batch, step, cx| {
                let batch: Vec<UserIdx> = batch.iter().map(|&at| users[at as usize]).collect();
                let rows = scaled(matrix, &batch, (self.dropout > 0.0).then(|| (self.dropout, cx.draw())));
                let noise = Tensor::normal([batch.len(), self.latent], 0.0, 1.0, &mut cx.draw())?;
                let weight = self.weight(step, steps);
                network.loss(&Sparse::new(rows), &places(matrix, &batch), noise, weight)
            })?;
        network.encoder.forget_strangers(matrix).map_err(failed)?;
        let factors = factors(&network, matrix)?;
        Ok(MultVaeModel { settings: self.clone(), encoder: network.encoder, factors, progress })
    }
}

fn factors(network: &Network, matrix: &UserItems) -> Result<Factors> {
    let width = network.encoder.bias.len() + 1;
    let mut users = Vectors::zeros(matrix.n_rows(), width)?;
    let all: Vec<UserIdx> = matrix.row_indices().collect();
    for (batch, out) in all.chunks(USERS).zip(users.as_mut_slice().chunks_mut(USERS * width)) {
        out.copy_from_slice(&network.encoder.vectors(scaled(matrix, batch, None))?);
    }
    let mut items = Vectors::zeros(matrix.n_cols(), width)?;
    let weights = network.output.weight.value().t().map_err(|e| failure(MultVaeModel::NAME, &e))?.to_vec();
    let biases = network.output.bias.as_ref().map_or_else(Vec::new, |bias| bias.value().to_vec());
    let rows = items.as_mut_slice().chunks_mut(width).zip(weights.chunks(width - 1).zip(biases));
    for (out, (weights, bias)) in rows {
        out[..width - 1].copy_from_slice(weights);
        out[width - 1] = bias;
    }
    let factors = Factors { users, items };
    let reason = &"the vectors are no longer finite; lower the learning rate";
    factors.validate().map_err(|_| failure(MultVaeModel::NAME, reason))?;
    Ok(factors)
}

impl FactorModel for MultVaeModel {
    const NAME: &'static str = "Mult-VAE";

    fn factors(&self) -> &Factors {
        &self.factors
    }
    /// By the network, as in training; values do not matter.
    fn user_vector(&self, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        self.encode(items)
    }
    fn similarity_dim(&self) -> usize {
        self.settings.hidden
    }
    /// The mean negative bound of each epoch.
    fn training_curve(&self) -> &[f64] {
        &self.progress
    }
}

impl PartialEq for MultVaeModel {
    fn eq(&self, other: &Self) -> bool {
        Record::from(self.clone()) == Record::from(other.clone())
    }
}

/// What is written of a model.
#[derive(Serialize, Deserialize, PartialEq)]
struct Record {
    settings: MultVae,
    factors: Factors,
    progress: Vec<f64>,
    state: BTreeMap<String, AnyTensor>,
}

impl From<MultVaeModel> for Record {
    fn from(model: MultVaeModel) -> Self {
        let state = model.encoder.state();
        Self { settings: model.settings, factors: model.factors, progress: model.progress, state }
    }
}

impl TryFrom<Record> for MultVaeModel {
    type Error = String;

    fn try_from(record: Record) -> std::result::Result<Self, String> {
        let Record { settings, factors, progress, state } = record;
        settings.check().map_err(|e| e.to_string())?;
        factors.validate()?;
        let (hidden, latent, items) =
            (settings.hidden as u128, settings.latent as u128, factors.items.len() as u128);
        // The state says how large the network is before one is made.
        let values = state.values().map(|value| value.len() as u128).sum::<u128>();
        let fits = hidden < u128::from(u32::MAX) && latent < u128::from(u32::MAX);
        if !fits
            || hidden + 1 != factors.items.dim() as u128
            || values != (items + 2) * hidden + 2 * latent * (hidden + 1) + latent * hidden
        {
            return Err("settings and network do not fit".to_owned());
        }
        check_finite(&state)?;
        let encoder = Encoder::new(&settings, factors.items.len(), &mut rng(0)).map_err(|e| e.to_string())?;
        encoder.load_state(&state).map_err(|e| e.to_string())?;
        Ok(Self { settings, encoder, factors, progress })
    }
}

impl Saved for MultVaeModel {
    const FORMAT: &'static str = "mult-vae";

    /// Settings, vectors and network are checked as they are put together.
    fn validate(&self) -> std::result::Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::refuses_what_is_not_finite;
    use super::*;
    use crate::neural::golden;

    #[test]
    fn networks_with_values_that_are_not_finite_are_refused_by_the_name_of_the_tensor() {
        let model = MultVae::new().hidden(4).latent(3).epochs(1).fit_matrix(&golden::matrix()).unwrap();
        let record = || Record::from(model.clone());
        refuses_what_is_not_finite(&record().state, |state| {
            MultVaeModel::try_from(Record { state, ..record() })
        });
    }

    /// A network with the parameters of `tests/golden/networks.py`.
    fn network(n_items: usize) -> Network {
        let settings = MultVae::new().hidden(4).latent(3);
        let encoder = Encoder::new(&settings, n_items, &mut rng(0)).unwrap();
        let network = Network { encoder, output: Linear::new(4, n_items, &mut rng(0)).unwrap() };
        golden::fill(&network);
        network
    }

    #[test]
    fn loss_gradients_and_scores_are_those_of_pytorch() {
        let matrix = golden::matrix();
        let network = network(matrix.n_cols());
        let users: Vec<UserIdx> = matrix.row_indices().collect();
        let rows = Sparse::new(scaled(&matrix, &users, None));
        let noise = golden::values(users.len() * 3, 50);
        let noise = Tensor::from_vec(noise, [users.len(), 3]).unwrap();
        let loss = network.loss(&rows, &places(&matrix, &users), noise, 0.3).unwrap();
        golden::check("mult_vae loss", &[loss.item().unwrap()]);
        golden::check_gradients("mult_vae", &network, &loss.backward().unwrap());
        let factors = factors(&network, &matrix).unwrap();
        let mut scores = vec![0.0; users.len() * matrix.n_cols()];
        factors.score_users(&users, &mut scores);
        golden::check("mult_vae scores", &scores);
    }

    #[test]
    fn what_is_dropped_is_made_up_for_and_depends_on_the_step() {
        let matrix = golden::matrix();
        let users: Vec<UserIdx> = matrix.row_indices().cycle().take(4000).collect();
        let dropped = |seed| scaled(&matrix, &users, Some((0.5, rng(seed))));
        let sum = |matrix: &UserItems| matrix.values().iter().sum::<f32>();
        let (whole, some) = (scaled(&matrix, &users, None), dropped(1));
        assert!((sum(&whole) / sum(&some) - 1.0).abs() < 0.05);
        assert!(some.values().contains(&0.0) && some != dropped(2) && some == dropped(1));
    }

    #[test]
    fn the_weight_of_the_divergence_grows_and_then_stays() {
        let settings = MultVae::new().beta(0.4).anneal(0.5);
        let weights = [0, 25, 50, 99].map(|step| settings.weight(step, 100));
        assert!(weights.iter().zip([0.0, 0.2, 0.4, 0.4]).all(|(a, b)| (a - b).abs() < 1e-6), "{weights:?}");
        assert!((settings.anneal(0.0).weight(0, 100) - 0.4).abs() < 1e-6);
    }
}
