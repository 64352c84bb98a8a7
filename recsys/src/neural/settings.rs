//! What all models of the next item are set by, and what training them takes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::bert4rec::masked_in_the_mean;
use super::ragged::MASK;
use super::train::STEPS;
use crate::data::ids::ItemIdx;
use crate::data::sequences::Sequences;
use crate::{Error, Result, check, memory};

/// Most logits that the softmax over all items has at a time, see [`cairn_tensor::Tensor::linear_cross_entropy`].
const LOGITS: u64 = 1 << 24;

/// What is minimised at every step of a sequence, for the item that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SequenceLoss {
    /// Cross-entropy of the softmax over all items. Its logits are never in memory together. The default; to a hundred thousand
    /// items the best there is (Klenitskiy & Vasilev, RecSys 2023).
    Softmax,
    /// Cross-entropy of the softmax over the item and `negatives` others, drawn for the whole batch with probability in proportion to
    /// (number of their rows)^`popularity`, 0 for all alike. The logit of an item that is drawn with probability q is lowered by
    /// ln(negatives · q), so that the sum under the fraction is that over all items in the mean (logQ correction, Bengio & Senécal
    /// 2008; Yi et al., RecSys 2019). For more items than the full softmax can do. Only rows of the table that are met are updated.
    SampledSoftmax {
        /// Items drawn for each batch.
        negatives: usize,
        /// Exponent of the number of rows; 0 to 1.
        popularity: f32,
    },
    /// Binary cross-entropy with `negatives` items drawn for each step, where σ of the item's score is raised to the power that makes
    /// predicted probabilities right at `calibration` 1, and leaves them as they are at 0 (gSASRec: Petrov & Macdonald, RecSys 2023).
    Gbce {
        /// Items drawn for each step.
        negatives: usize,
        /// The paper's t, 0 to 1; 0.75 there.
        calibration: f32,
    },
}

impl SequenceLoss {
    /// Of gSASRec: 256 negatives, t = 0.75.
    #[must_use]
    pub fn gbce() -> Self {
        Self::Gbce { negatives: 256, calibration: 0.75 }
    }

    /// With 3,000 items drawn for each batch, all alike.
    #[must_use]
    pub fn sampled_softmax() -> Self {
        Self::SampledSoftmax { negatives: 3000, popularity: 0.0 }
    }

    /// Whether the gradient of the table has the rows of few items alone.
    pub(super) fn is_sampled(self) -> bool {
        self != Self::Softmax
    }

    fn check(self) -> Result<()> {
        let (negatives, share, name) = match self {
            Self::Softmax => return Ok(()),
            Self::SampledSoftmax { negatives, popularity } => (negatives, popularity, "popularity"),
            Self::Gbce { negatives, calibration } => (negatives, calibration, "calibration"),
        };
        check::at_least_one("negatives", negatives)?;
        if (0.0..=1.0).contains(&share) { Ok(()) } else { Err(Error::parameter(name, share, "0 to 1")) }
    }

    /// Scores computed for each step, and bytes of those in memory for so many steps.
    fn scores(self, n_items: u64, steps: u64, dim: u64) -> (u64, u64) {
        match self {
            Self::Softmax => (n_items, 4 * 5 * LOGITS.min(steps.saturating_mul(n_items)) / 2),
            Self::SampledSoftmax { negatives, .. } => {
                let scores = (negatives as u64).saturating_add(1);
                (scores, steps.saturating_mul(scores).saturating_mul(4 * 9))
            }
            Self::Gbce { negatives, .. } => {
                let vectors = steps.saturating_mul(negatives as u64).saturating_mul(dim);
                ((negatives as u64).saturating_add(1), vectors.saturating_mul(4 * 9 / 2))
            }
        }
    }
}

/// What a training will take, said before it begins.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TrainingPlan {
    /// Bytes at most, besides the log, and address space that engines of matrix products reserve and do not touch.
    pub memory: u64,
    /// Positions of sequences that an epoch learns from; a step of the optimiser learns from those of a batch of sequences. Of
    /// [`Bert4Rec`](crate::Bert4Rec) those that are masked, in the mean over the draws.
    pub steps: usize,
    /// Floating-point operations of an epoch.
    pub epoch_flops: f64,
}

impl TrainingPlan {
    /// Seconds that an epoch takes on a machine that does so many operations a second, of which training reaches about half where
    /// vectors are 64 long. `cargo xtask bench` measures the machine's peak.
    pub fn epoch_seconds(&self, flops_per_second: f64) -> f64 {
        self.epoch_flops / flops_per_second
    }
}

impl fmt::Display for TrainingPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gigabytes, teraflops) = (self.memory as f64 / 1e9, self.epoch_flops / 1e12);
        write!(
            f,
            "{gigabytes:.2} GB at most; {teraflops:.3} TFLOP an epoch of {} positions, {:.1} s at 100 GFLOP/s",
            self.steps,
            self.epoch_seconds(1e11)
        )
    }
}

/// The encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Encoder {
    Attention {
        blocks: usize,
        heads: usize,
    },
    Gru {
        layers: usize,
    },
    /// Attention in both directions, with this share of items masked in training.
    Masked {
        blocks: usize,
        heads: usize,
        masked: f32,
    },
}

/// The settings of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) encoder: Encoder,
    pub(super) dim: usize,
    pub(super) max_length: usize,
    pub(super) dropout: f32,
    pub(super) loss: SequenceLoss,
    pub(super) batch_size: usize,
    pub(super) learning_rate: f64,
    pub(super) epochs: usize,
    pub(super) patience: Option<usize>,
    pub(super) validation_users: usize,
    pub(super) seed: u64,
    /// No part of a model.
    #[serde(skip, default = "memory::limit")]
    pub(super) memory_limit: u64,
}

impl Settings {
    pub(super) fn new(encoder: Encoder) -> Self {
        Self {
            encoder,
            dim: 64,
            max_length: 200,
            dropout: 0.1,
            loss: SequenceLoss::Softmax,
            batch_size: 128,
            learning_rate: 1e-3,
            epochs: 100,
            patience: Some(10),
            validation_users: 10_000,
            seed: 0,
            memory_limit: memory::LIMIT,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match (self.encoder, self.loss) {
            (Encoder::Attention { .. }, SequenceLoss::Gbce { .. }) => "gSASRec",
            (Encoder::Attention { .. }, _) => "SASRec",
            (Encoder::Masked { .. }, _) => "BERT4Rec",
            (Encoder::Gru { .. }, _) => "GRU4Rec",
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let layers = match self.encoder {
            Encoder::Attention { blocks, heads } | Encoder::Masked { blocks, heads, .. } => {
                check::at_least_one("heads", heads)?;
                if !self.dim.is_multiple_of(heads) {
                    return Err(Error::parameter("heads", heads, "a divisor of `dim`"));
                }
                ("blocks", blocks)
            }
            Encoder::Gru { layers } => ("layers", layers),
        };
        if let Encoder::Masked { masked, .. } = self.encoder {
            if !(0.0..1.0).contains(&masked) {
                return Err(Error::parameter("masked", masked, "0 to below 1"));
            }
            if self.max_length == 1 {
                return Err(Error::parameter("max_length", 1, "at least 2: one step is the mask"));
            }
        }
        let counts = [
            layers,
            ("dim", self.dim),
            ("max_length", self.max_length),
            ("batch_size", self.batch_size),
            ("validation_users", self.validation_users),
            ("patience", self.patience.unwrap_or(1)),
        ];
        counts.into_iter().try_for_each(|(name, value)| check::at_least_one(name, value))?;
        check::above_zero("learning_rate", self.learning_rate)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::parameter("dropout", self.dropout, "0 to below 1"));
        }
        self.loss.check()
    }

    /// What the network reads to say what comes after a history: as far back as it looks, and a mask behind it if it fills masks.
    pub(super) fn input<'a>(&self, items: &'a [ItemIdx]) -> Cow<'a, [ItemIdx]> {
        let last = |n: usize| &items[items.len().saturating_sub(n)..];
        match self.encoder {
            Encoder::Masked { .. } if !items.is_empty() => {
                Cow::Owned(last(self.max_length - 1).iter().copied().chain([MASK]).collect())
            }
            _ => Cow::Borrowed(last(self.max_length)),
        }
    }

    /// Which of so many items of a sequence are learned from: all but the validation item, which users with three have if there is a
    /// patience, and of these as many as the model looks back, and one more for the last target.
    pub(super) fn learned(&self, length: usize) -> Range<usize> {
        let held_out = usize::from(self.patience.is_some() && length > 2);
        let end = length - held_out;
        end.saturating_sub(self.max_length.saturating_add(1))..end
    }

    /// The most that the network reads at once of any of these sequences.
    fn longest(&self, sequences: &Sequences) -> usize {
        let mask = usize::from(matches!(self.encoder, Encoder::Masked { .. }));
        sequences.iter().map(|items| items.len() + mask).max().unwrap_or(0).min(self.max_length)
    }

    /// Bytes of a training on so many items and these sequences.
    pub(super) fn memory_on(&self, sequences: &Sequences, n_items: usize) -> u64 {
        self.memory(sequences.n_users(), n_items, self.longest(sequences))
    }

    /// Bytes of a training on so many users and items, where none of the sequences is longer.
    ///
    /// The factors are what trainings were seen to allocate (`tests/plan_memory.rs`), with a quarter for sizes of blocks between those of
    /// the pool of [`cairn_tensor`] and as much for blocks that lie idle there: batches differ in length.
    pub(super) fn memory(&self, n_users: usize, n_items: usize, longest: usize) -> u64 {
        let length = self.max_length.min(longest);
        let [users, items, dim, length] = [n_users, n_items, self.dim, length].map(|n| n as u64);
        let steps = length.saturating_mul((self.batch_size as u64).min(users.max(1)));
        // Vectors of each step: those that a training keeps for its backward pass beside the layers, those of a layer, and those that
        // are there at once without gradients.
        let (layers, beside, kept, without) = match self.encoder {
            Encoder::Attention { blocks, .. } => (blocks as u64, 14, 24, 16),
            Encoder::Masked { blocks, .. } => (blocks as u64, 24, 40, 26),
            Encoder::Gru { layers } => (layers as u64, 15, 13, 12),
        };
        let vectors =
            |steps: u64, each: u64| steps.saturating_mul(dim).saturating_mul(each.saturating_mul(4));
        let of_steps = vectors(steps, layers.saturating_mul(kept).saturating_add(beside));
        // The states of users are made of as many steps at a time as there are, and up to twice `STEPS`. Their blocks have other sizes
        // than those of training, so that these lie beside them.
        let encoded = length.saturating_mul(users).min(length.max(2 * STEPS as u64));
        let of_states = vectors(encoded, without);
        // The tables of items and positions: values, gradients and their parts, two moments, the best so far, what products lay out anew,
        // and what is kept.
        let positions = match self.encoder {
            Encoder::Attention { .. } | Encoder::Masked { .. } => self.max_length as u64,
            Encoder::Gru { .. } => 0,
        };
        let tables = vectors(items.saturating_add(positions), 12);
        // The largest block has 12 · dim² weights.
        let weights = vectors(dim, 12 * 8).saturating_mul(layers);
        let of_users = users.saturating_mul(dim.saturating_add(1)).saturating_mul(4 * 3);
        let (_, of_scores) = self.loss.scores(items, steps, dim);
        [of_steps, of_states, tables, weights, of_users, of_scores].into_iter().fold(0, u64::saturating_add)
    }

    /// What a training takes on so many items and these sequences.
    pub(super) fn plan(&self, sequences: &Sequences, n_items: usize) -> TrainingPlan {
        let dim = self.dim as f64;
        let of_layers = match self.encoder {
            Encoder::Attention { blocks, .. } => 6.0 * dim * dim * blocks as f64,
            // With the layer behind the blocks.
            Encoder::Masked { blocks, .. } => (12.0 * blocks as f64 + 1.0) * dim * dim,
            Encoder::Gru { layers } => 6.0 * dim * dim * layers as f64,
        };
        let (mut read, mut asked) = (0.0, 0.0);
        for items in sequences.iter() {
            let (more_read, more_asked) = self.steps(self.learned(items.len()).len());
            (read, asked) = (read + more_read, asked + more_asked);
        }
        let (scores, _) = self.loss.scores(n_items as u64, 1, self.dim as u64);
        // Two operations a multiply-add; the backward pass costs twice the forward pass.
        let epoch_flops = 6.0 * (of_layers * read + scores as f64 * dim * asked);
        TrainingPlan {
            memory: self.memory_on(sequences, n_items),
            steps: asked.round() as usize,
            epoch_flops,
        }
    }

    /// How many steps of a sequence, of which so many items are learned from, the network reads, and at how many it is asked.
    fn steps(&self, learned: usize) -> (f64, f64) {
        match self.encoder {
            // Of an item by itself there is nothing to say.
            _ if learned < 2 => (0.0, 0.0),
            Encoder::Masked { masked, .. } => {
                let read = learned.min(self.max_length);
                (read as f64, masked_in_the_mean(read, masked))
            }
            Encoder::Attention { .. } | Encoder::Gru { .. } => {
                let read = (learned - 1) as f64;
                (read, read)
            }
        }
    }
}

/// The settings that all these models have, of a struct around [`Settings`].
macro_rules! sequence_settings {
    ($name:ident) => {
        impl $name {
            /// Length of the vectors.
            #[must_use]
            #[doc(alias("hidden_units", "embedding_dim", "factors"))]
            pub fn dim(mut self, dim: usize) -> Self {
                self.0.dim = dim;
                self
            }

            /// How many items back the model looks.
            #[must_use]
            #[doc(alias("maxlen", "session_max_len"))]
            pub fn max_length(mut self, items: usize) -> Self {
                self.0.max_length = items;
                self
            }

            /// Probability of dropout in training.
            #[must_use]
            pub fn dropout(mut self, rate: f32) -> Self {
                self.0.dropout = rate;
                self
            }

            /// What is minimised.
            #[must_use]
            pub fn loss(mut self, loss: SequenceLoss) -> Self {
                self.0.loss = loss;
                self
            }

            /// Sequences of a step of the optimiser.
            #[must_use]
            pub fn batch_size(mut self, sequences: usize) -> Self {
                self.0.batch_size = sequences;
                self
            }

            /// Step size of Adam.
            #[must_use]
            #[doc(alias = "lr")]
            pub fn learning_rate(mut self, rate: f64) -> Self {
                self.0.learning_rate = rate;
                self
            }

            /// Most passes over the sequences.
            #[must_use]
            pub fn epochs(mut self, epochs: usize) -> Self {
                self.0.epochs = epochs;
                self
            }

            /// Training ends after so many epochs without a better NDCG@10 of the validation items, and goes back to the best. These are
            /// the last item of every user with at least three, which are then not learned from, though they are part of the
            /// histories of lists. With `None` every item is learned from in every one of [`epochs`](Self::epochs).
            #[must_use]
            #[doc(alias = "early_stopping")]
            pub fn patience(mut self, epochs: Option<usize>) -> Self {
                self.0.patience = epochs;
                self
            }

            /// Most users whose validation item is ranked after each epoch, drawn by the seed.
            #[must_use]
            pub fn validation_users(mut self, users: usize) -> Self {
                self.0.validation_users = users;
                self
            }

            /// Seed of the start, the order of sequences, dropout and negatives.
            #[must_use]
            pub fn seed(mut self, seed: u64) -> Self {
                self.0.seed = seed;
                self
            }

            /// Most bytes that training may take; default 8 GiB.
            #[must_use]
            pub fn memory_limit(mut self, bytes: u64) -> Self {
                self.0.memory_limit = bytes;
                self
            }

            /// Bytes that training on so many users and items takes at most, however many items back each of them goes. On a log
            /// whose users met less than [`max_length`](Self::max_length) it is less, as [`plan`](Self::plan) says.
            pub fn memory_needed(&self, n_users: usize, n_items: usize) -> u64 {
                self.0.memory(n_users, n_items, usize::MAX)
            }

            /// What training on a log takes: memory, and work of an epoch.
            pub fn plan<U: crate::Id, I: crate::Id>(&self, log: &crate::Interactions<U, I>) -> TrainingPlan {
                self.0.plan(&log.sequences(), log.n_items())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl Estimator for $name {
            type Model = SequenceModel;

            /// A matrix has no order.
            ///
            /// # Errors
            /// [`Error::Unsupported`](crate::Error::Unsupported).
            fn fit_matrix(&self, _: &UserItems) -> Result<SequenceModel> {
                Err(crate::Error::Unsupported {
                    model: self.0.name(),
                    operation: "training on a matrix, which has no order; train on the log",
                })
            }

            fn fit_columns(&self, log: &LogColumns<'_>, matrix: &UserItems) -> Result<SequenceModel> {
                crate::check::not_empty(matrix)?;
                SequenceModel::train(&self.0, log)
            }
        }
    };
}
pub(super) use sequence_settings;
