//! BERT4Rec: items that are hidden are told from what was met before and after them (Sun et al., CIKM 2019).
//!
//! In training some items of a sequence are replaced by a mark, and the network has to say which they were; at other times the last one
//! alone, since that is what it is asked for afterwards: what comes in place of a mark behind the history. Blocks are those of BERT: attention
//! in both directions, normalisation behind each part. Places count from the end of a history, so that the question stands in the same
//! place for short and long ones, as the authors have it by padding in front. States are compared with the table of items by inner products, without a bias
//! for each item, so that lists are those of all models of sequences.

use cairn_autograd::Var;
use cairn_nn::{Activation, Context, Dropout, FeedForward, Init, LayerNorm, Linear, Module, Parameter};
use cairn_tensor::Rng;
use rand::RngExt;

use super::model::SequenceModel;
use super::ragged::{MASK, Ragged};
use super::sasrec::{SPREAD, attention, longest};
use super::settings::{Encoder, SequenceLoss, Settings, TrainingPlan, sequence_settings};
use crate::Result;
use crate::data::ids::ItemIdx;
use crate::data::sequences::LogColumns;
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;

/// The share of sequences of which the last item alone is masked.
const LAST: f32 = 0.1;

/// Settings of BERT4Rec. Defaults: vectors of 64, 2 blocks, 2 heads, a fifth of the items masked, 200 items back, dropout 0.1, the softmax
/// over all items, batches of 128, Adam with 1e-3, at most 500 epochs with a patience of 20, seed 0.
///
/// Items that are hidden are told from what was met before and after them. It learns from a part of the positions of a sequence at a time,
/// and its published figures took far more epochs than those of SASRec: what was trained for too short a time was reported as a weaker model
/// for years (Petrov & Macdonald, RecSys 2022). Hence the long defaults.
///
/// ```
/// use cairn_recsys::{Bert4Rec, Estimator, Filter, Interactions};
/// // Everybody goes round in a circle of ten.
/// let rows = (0..60_u32).flat_map(|user| (0..6).map(move |time| (user, (user + time) % 10, 1.0, i64::from(time))));
/// let log = Interactions::from_ratings(rows)?;
/// let settings = Bert4Rec::new().dim(16).max_length(10).epochs(80).learning_rate(0.01).patience(None);
/// let model = settings.fit(&log)?;
/// assert_eq!(model.recommend_session(&[3, 4, 5], 1, &Filter::unseen())?[0].id, 6);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("BERT4Rec", "cloze"))]
pub struct Bert4Rec(Settings);

impl Bert4Rec {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        let settings = Settings::new(Encoder::Masked { blocks: 2, heads: 2, masked: 0.2 });
        Self(Settings { epochs: 500, patience: Some(20), ..settings })
    }

    /// Blocks of attention and a feed-forward part.
    #[must_use]
    #[doc(alias = "num_layers")]
    pub fn blocks(mut self, blocks: usize) -> Self {
        if let Encoder::Masked { blocks: old, .. } = &mut self.0.encoder {
            *old = blocks;
        }
        self
    }

    /// Heads of attention, a divisor of the length of the vectors.
    #[must_use]
    pub fn heads(mut self, heads: usize) -> Self {
        if let Encoder::Masked { heads: old, .. } = &mut self.0.encoder {
            *old = heads;
        }
        self
    }

    /// The share of items that are masked; more where sequences are short.
    #[must_use]
    #[doc(alias = "mask_ratio")]
    pub fn masked(mut self, share: f32) -> Self {
        if let Encoder::Masked { masked, .. } = &mut self.0.encoder {
            *masked = share;
        }
        self
    }
}

sequence_settings!(Bert4Rec);

/// Sequences with items masked: themselves, the steps that are, and what was there.
pub(super) type Masked = (Vec<Vec<ItemIdx>>, Vec<u32>, Vec<u32>);

/// Masks a share of the items of each sequence, at least one, or the last alone.
pub(super) fn mask(rows: &[&[ItemIdx]], share: f32, rng: &mut Rng) -> Masked {
    let (mut inputs, mut steps, mut hidden, mut before) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for row in rows {
        let only_last = rng.random::<f32>() < LAST;
        let mut places: Vec<usize> =
            (0..row.len()).filter(|_| rng.random::<f32>() < share && !only_last).collect();
        if places.is_empty() {
            places.push(row.len() - 1);
        }
        let mut input = row.to_vec();
        for at in places {
            steps.push((before + at) as u32);
            hidden.push(std::mem::replace(&mut input[at], MASK).0);
        }
        before += row.len();
        inputs.push(input);
    }
    (inputs, steps, hidden)
}

/// How many of so many items [`mask`] hides in the mean.
pub(super) fn masked_in_the_mean(length: usize, share: f32) -> f64 {
    let (length, share, last) = (length as f64, f64::from(share), f64::from(LAST));
    // Where chance hides none it is the last.
    let of_all = length * share + (1.0 - share).powf(length);
    last + (1.0 - last) * of_all
}

/// The network.
#[derive(Debug, Clone, Module)]
pub(super) struct Bert {
    /// `[items, dim]`, input and output.
    pub(super) items: Parameter,
    /// What stands for a masked item, `[1, dim]`.
    mask: Parameter,
    /// Counted from the end, where the question is whatever the length of a history, `[max_length, dim]`.
    positions: Parameter,
    norm: LayerNorm,
    blocks: Vec<Block>,
    head: Linear,
    head_norm: LayerNorm,
    #[module(skip)]
    dropout: Dropout,
}

#[derive(Debug, Clone, Module)]
struct Block {
    query: Linear,
    /// Keys and values, side by side.
    key_value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    feed_forward: FeedForward,
    feed_forward_norm: LayerNorm,
    #[module(skip)]
    dropout: Dropout,
    #[module(skip)]
    rate: f32,
    #[module(skip)]
    heads: usize,
}

impl Bert {
    pub(super) fn new(
        settings: &Settings,
        (blocks, heads): (usize, usize),
        n_items: usize,
        rng: &mut Rng,
    ) -> cairn_nn::Result<Self> {
        let dim = settings.dim;
        let table = |rows: usize, rng: &mut Rng| -> cairn_nn::Result<Parameter> {
            Ok(Parameter::new(Init::Normal(SPREAD).tensor([rows, dim], rng)?))
        };
        Ok(Self {
            items: table(n_items, rng)?,
            mask: table(1, rng)?,
            positions: table(settings.max_length, rng)?,
            norm: LayerNorm::new(dim)?,
            blocks: (0..blocks).map(|_| Block::new(settings, heads, rng)).collect::<cairn_nn::Result<_>>()?,
            head: Linear::new(dim, dim, rng)?.activation(Activation::Gelu),
            head_norm: LayerNorm::new(dim)?,
            dropout: Dropout::new(settings.dropout),
        })
    }

    /// The state of every step, `[steps, dim]`.
    pub(super) fn encode(&self, batch: &Ragged, cx: &mut Context) -> cairn_nn::Result<Var> {
        let mut x = self.items.var().lookup(&batch.items)?;
        if let Some([open, masked]) = batch.masks()? {
            x = x.mul(&open)?.add(&masked.mul(&self.mask.var())?)?;
        }
        let x = x.add(&self.positions.var().lookup(&batch.backwards()?)?)?;
        let x = self.dropout.forward(&self.norm.forward(&x)?, cx)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&x, batch, cx))?;
        self.head_norm.forward(&self.head.forward(&x)?)
    }

    /// No state is longer.
    pub(super) fn longest_state(&self) -> f32 {
        longest(&self.head_norm)
    }
}

impl Block {
    fn new(settings: &Settings, heads: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        let (dim, rate) = (settings.dim, settings.dropout);
        Ok(Self {
            query: Linear::new(dim, dim, rng)?,
            key_value: Linear::new(dim, 2 * dim, rng)?,
            output: Linear::new(dim, dim, rng)?,
            attention_norm: LayerNorm::new(dim)?,
            feed_forward: FeedForward::new(dim, 4 * dim, Activation::Gelu, rng)?.dropout(rate),
            feed_forward_norm: LayerNorm::new(dim)?,
            dropout: Dropout::new(rate),
            rate,
            heads,
        })
    }

    fn forward(&self, x: &Var, batch: &Ragged, cx: &mut Context) -> cairn_nn::Result<Var> {
        let (q, kv) = (self.query.forward(x)?, self.key_value.forward(x)?);
        let y = self.output.forward(&attention(&q, &kv, batch, (self.heads, self.rate, false), cx)?)?;
        let x = self.attention_norm.forward(&x.add(&self.dropout.forward(&y, cx)?)?)?;
        let y = self.dropout.forward(&self.feed_forward.forward(&x, cx)?, cx)?;
        self.feed_forward_norm.forward(&x.add(&y)?)
    }
}

#[cfg(test)]
mod tests {
    use cairn_tensor::{Tensor, rng};

    use super::*;
    use crate::neural::golden;

    #[test]
    fn states_and_gradients_are_those_of_pytorch() {
        let encoder = Encoder::Masked { blocks: 1, heads: 2, masked: 0.2 };
        let settings = Settings { dim: 4, max_length: 5, dropout: 0.0, ..Settings::new(encoder) };
        let network = Bert::new(&settings, (1, 2), 7, &mut rng(0)).unwrap();
        golden::fill(&network);
        let items = |items: &[u32]| items.iter().map(|&item| ItemIdx(item)).collect::<Vec<_>>();
        let mut rows = [items(&[3, 1, 0, 2]), items(&[6, 4])];
        (rows[0][1], rows[1][1]) = (MASK, MASK);
        let batch = Ragged::new(&[&rows[0], &rows[1]]).unwrap();
        let states = network.encode(&batch, &mut Context::eval()).unwrap();
        golden::check("bert4rec states", &states.value().to_vec());
        let weights = Tensor::from_vec(golden::values(24, 30), [6, 4]).unwrap();
        let gradients = states.mul(&Var::constant(weights)).unwrap().sum(..).unwrap().backward().unwrap();
        golden::check_gradients("bert4rec", &network, &gradients);
    }

    #[test]
    fn what_is_masked_in_the_mean_is_the_mean_of_what_is_masked() {
        for (length, share) in [(1, 0.4), (7, 0.3), (12, 0.2), (5, 0.0)] {
            let row: Vec<ItemIdx> = (0..length).map(ItemIdx).collect();
            let rows = vec![&row[..]; 20_000];
            let mean = mask(&rows, share, &mut rng(2)).1.len() as f64 / rows.len() as f64;
            let want = masked_in_the_mean(row.len(), share);
            assert!((mean - want).abs() < 0.05, "{length}, {share}: {mean} for {want}");
        }
    }

    #[test]
    fn something_is_masked_in_every_sequence_and_about_as_much_as_was_asked_for() {
        let row: Vec<ItemIdx> = (0..50).map(ItemIdx).collect();
        let rows: Vec<&[ItemIdx]> =
            (0..400).map(|at| if at % 2 == 0 { &row[..] } else { &row[..1] }).collect();
        let (inputs, steps, hidden) = mask(&rows, 0.3, &mut rng(1));
        let masked = |input: &Vec<ItemIdx>| input.iter().filter(|item| **item == MASK).count();
        assert!(inputs.iter().all(|input| masked(input) > 0));
        let long: Vec<usize> = inputs.iter().filter(|input| input.len() == 50).map(masked).collect();
        let (last, others): (Vec<usize>, Vec<usize>) = long.iter().partition(|&&n| n == 1);
        assert!((5..50).contains(&last.len()), "{}", last.len());
        let share = others.iter().sum::<usize>() as f64 / (50 * others.len()) as f64;
        assert!((share - 0.3).abs() < 0.02, "{share}");
        let all: Vec<ItemIdx> = inputs.concat();
        let flat: Vec<ItemIdx> = rows.concat();
        assert!(
            steps
                .iter()
                .zip(&hidden)
                .all(|(&at, &item)| all[at as usize] == MASK && flat[at as usize].0 == item)
        );
    }
}
