//! SASRec: self-attention over what somebody met (Kang & McAuley, ICDM 2018).
//!
//! The block is that of the authors' code, on which the published figures rest: queries are of normalised steps, keys and values of
//! the steps as they are, and what is added to the result of each part is its normalised input. With the softmax over all items for
//! a loss it is the SASRec+ of Klenitskiy & Vasilev (RecSys 2023), whose settings are the defaults.

use cairn_autograd::Var;
use cairn_nn::{Context, Dropout, FeedForward, Init, LayerNorm, Linear, Module, Parameter, spec};
use cairn_tensor::{AttentionOptions, Causal, Rng};
use rand::RngExt;

use super::model::SequenceModel;
use super::ragged::Ragged;
use super::settings::{Encoder, SequenceLoss, Settings, TrainingPlan, sequence_settings};
use crate::Result;
use crate::data::sequences::LogColumns;
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::models::factors::dot;

/// Standard deviation of tables and dense layers at the start.
pub(super) const SPREAD: f32 = 0.02;

/// Settings of SASRec. Defaults: vectors of 64, 2 blocks, 1 head, 200 items back, dropout 0.1, the softmax over all items, batches of
/// 128, Adam with 1e-3, at most 100 epochs with a patience of 10, seed 0.
///
/// ```
/// use cairn_recsys::{Estimator, Filter, Interactions, Sasrec};
/// // Everybody goes round in a circle of ten.
/// let rows = (0..60_u32).flat_map(|user| (0..6).map(move |time| (user, (user + time) % 10, 1.0, i64::from(time))));
/// let log = Interactions::from_ratings(rows)?;
/// let settings = Sasrec::new().dim(16).max_length(10).epochs(40).learning_rate(0.01).patience(None);
/// let model = settings.fit(&log)?;
/// assert_eq!(model.recommend_session(&[3, 4, 5], 1, &Filter::unseen())?[0].id, 6);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("SASRec", "SelfAttentiveSequentialRecommendation", "gSASRec"))]
pub struct Sasrec(Settings);

impl Sasrec {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self(Settings::new(Encoder::Attention { blocks: 2, heads: 1 }))
    }

    /// Blocks of attention and a feed-forward part.
    #[must_use]
    #[doc(alias = "num_layers")]
    pub fn blocks(mut self, blocks: usize) -> Self {
        if let Encoder::Attention { blocks: old, .. } = &mut self.0.encoder {
            *old = blocks;
        }
        self
    }

    /// Heads of attention, a divisor of the length of the vectors.
    #[must_use]
    pub fn heads(mut self, heads: usize) -> Self {
        if let Encoder::Attention { heads: old, .. } = &mut self.0.encoder {
            *old = heads;
        }
        self
    }
}

sequence_settings!(Sasrec);

/// The network.
#[derive(Debug, Clone, Module)]
pub(super) struct Attention {
    /// `[items, dim]`, input and output.
    pub(super) items: Parameter,
    /// `[max_length, dim]`
    positions: Parameter,
    blocks: Vec<Block>,
    norm: LayerNorm,
    #[module(skip)]
    dropout: Dropout,
}

#[derive(Debug, Clone, Module)]
struct Block {
    attention_norm: LayerNorm,
    query: Linear,
    /// Keys and values, side by side.
    key_value: Linear,
    output: Linear,
    feed_forward_norm: LayerNorm,
    feed_forward: FeedForward,
    #[module(skip)]
    dropout: Dropout,
    #[module(skip)]
    rate: f32,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    pub(super) fn new(
        settings: &Settings,
        (blocks, heads): (usize, usize),
        n_items: usize,
        rng: &mut Rng,
    ) -> cairn_nn::Result<Self> {
        let table = |rows: usize, rng: &mut Rng| Init::Normal(SPREAD).tensor([rows, settings.dim], rng);
        Ok(Self {
            items: Parameter::new(table(n_items, rng)?),
            positions: Parameter::new(table(settings.max_length, rng)?),
            blocks: (0..blocks).map(|_| Block::new(settings, heads, rng)).collect::<cairn_nn::Result<_>>()?,
            norm: norm(settings.dim)?,
            dropout: Dropout::new(settings.dropout),
        })
    }

    /// The state after every step, `[steps, dim]`.
    pub(super) fn encode(&self, batch: &Ragged, cx: &mut Context) -> cairn_nn::Result<Var> {
        let items = self.items.var().lookup(&batch.items)?;
        let scale = (items.shape()[1] as f64).sqrt() as f32;
        let x = items.scale(scale)?.add(&self.positions.var().lookup(&batch.positions)?)?;
        let x = self.dropout.forward(&x, cx)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&x, batch, cx))?;
        self.norm.forward(&x)
    }

    /// No state is longer.
    pub(super) fn longest_state(&self) -> f32 {
        longest(&self.norm)
    }
}

fn norm(dim: usize) -> cairn_nn::Result<LayerNorm> {
    LayerNorm::new(dim)?.epsilon(1e-8)
}

/// No vector that comes out of a normalisation is longer: before scale and shift it is √features long at most.
pub(super) fn longest(norm: &LayerNorm) -> f32 {
    let scale = norm.weight.value().to_vec();
    let shift = norm.bias.as_ref().map_or_else(Vec::new, |bias| bias.value().to_vec());
    let largest = scale.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    largest * (scale.len() as f32).sqrt() + dot(&shift, &shift).sqrt()
}

impl Block {
    fn new(settings: &Settings, heads: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        let (dim, rate) = (settings.dim, settings.dropout);
        let mut feed_forward = FeedForward::new(dim, dim, cairn_nn::Activation::Relu, rng)?.dropout(rate);
        for layer in [&mut feed_forward.up, &mut feed_forward.down] {
            layer.weight = Parameter::new(Init::Normal(SPREAD).tensor([dim, dim], rng)?);
        }
        Ok(Self {
            attention_norm: norm(dim)?,
            query: Linear::new(dim, dim, rng)?,
            key_value: Linear::new(dim, 2 * dim, rng)?,
            output: spec::Dense::new(dim).kernel_init(Init::Normal(SPREAD)).layer(dim, rng)?,
            feed_forward_norm: norm(dim)?,
            feed_forward,
            dropout: Dropout::new(rate),
            rate,
            heads,
        })
    }

    fn forward(&self, x: &Var, batch: &Ragged, cx: &mut Context) -> cairn_nn::Result<Var> {
        let own = self.attention_norm.forward(x)?;
        let x = own.add(&self.attend(&own, x, batch, cx)?)?;
        let x = self.feed_forward_norm.forward(&x)?;
        let new = self.feed_forward.forward(&x, cx)?;
        Ok(x.add(&self.dropout.forward(&new, cx)?)?)
    }

    fn attend(&self, own: &Var, x: &Var, batch: &Ragged, cx: &mut Context) -> cairn_nn::Result<Var> {
        let (q, kv) = (self.query.forward(own)?, self.key_value.forward(x)?);
        self.output.forward(&attention(&q, &kv, batch, (self.heads, self.rate, true), cx)?)
    }
}

/// What the steps of each sequence attend to, `[steps, dim]`, by queries `[steps, dim]` and by keys and values side by side, with heads, the
/// rate of dropout, and whether later steps are out of sight.
pub(super) fn attention(
    q: &Var,
    kv: &Var,
    batch: &Ragged,
    (heads, rate, causal): (usize, f32, bool),
    cx: &mut Context,
) -> cairn_nn::Result<Var> {
    let (q, kv) = (batch.side_by_side(q)?, batch.side_by_side(kv)?);
    let &[rows, time, dim] = q.shape() else { unreachable!("rows, steps and features") };
    let shape = [rows, time, heads, dim / heads];
    let part = |first: usize| kv.narrow(2, first, dim)?.reshape(shape);
    let mut options = AttentionOptions::default();
    if causal {
        options = options.causal(Causal::TopLeft);
    }
    options.rules.dropout = (cx.is_training() && rate != 0.0).then(|| (f64::from(rate), cx.draw().random()));
    let options = options.key_lengths(&batch.lengths).query_lengths(&batch.lengths);
    let y = q.reshape(shape)?.attention(&part(0)?, &part(dim)?, None, &options)?;
    batch.packed(&y.reshape([rows, time, dim])?)
}
