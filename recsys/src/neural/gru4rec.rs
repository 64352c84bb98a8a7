//! GRU4Rec: a recurrent network over what somebody met (Hidasi et al., ICLR 2016), with the softmax over all items and a table of
//! items that is both input and output, as in Klenitskiy & Vasilev (RecSys 2023).

use cairn_autograd::Var;
use cairn_nn::{Context, Dropout, Init, Module, Parameter, Recurrent, spec};
use cairn_tensor::Rng;

use super::model::SequenceModel;
use super::ragged::Ragged;
use super::sasrec::SPREAD;
use super::settings::{Encoder, SequenceLoss, Settings, TrainingPlan, sequence_settings};
use crate::Result;
use crate::data::sequences::LogColumns;
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;

/// Settings of GRU4Rec. Defaults: vectors and states of 64, 1 layer, 200 items back, dropout 0.1, the softmax over all items, batches
/// of 128, Adam with 1e-3, at most 100 epochs with a patience of 10, seed 0.
///
/// ```
/// use cairn_recsys::{Estimator, Filter, Gru4Rec, Interactions};
/// // Everybody goes round in a circle of ten.
/// let rows = (0..60_u32).flat_map(|user| (0..6).map(move |time| (user, (user + time) % 10, 1.0, i64::from(time))));
/// let log = Interactions::from_ratings(rows)?;
/// let settings = Gru4Rec::new().dim(16).max_length(10).epochs(40).learning_rate(0.02).patience(None);
/// let model = settings.fit(&log)?;
/// assert_eq!(model.recommend_session(&[3, 4, 5], 1, &Filter::unseen())?[0].id, 6);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("GRU4RecPlus", "recurrent recommender"))]
pub struct Gru4Rec(Settings);

impl Gru4Rec {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self(Settings::new(Encoder::Gru { layers: 1 }))
    }

    /// Recurrent layers.
    #[must_use]
    pub fn layers(mut self, layers: usize) -> Self {
        self.0.encoder = Encoder::Gru { layers };
        self
    }
}

sequence_settings!(Gru4Rec);

/// The network.
#[derive(Debug, Clone, Module)]
pub(super) struct Gru {
    /// `[items, dim]`, input and output.
    pub(super) items: Parameter,
    recurrent: Recurrent,
    #[module(skip)]
    dropout: Dropout,
}

impl Gru {
    pub(super) fn new(
        settings: &Settings,
        layers: usize,
        n_items: usize,
        rng: &mut Rng,
    ) -> cairn_nn::Result<Self> {
        let recurrent = spec::Gru::new(settings.dim).layers(layers).dropout(settings.dropout);
        Ok(Self {
            items: Parameter::new(Init::Normal(SPREAD).tensor([n_items, settings.dim], rng)?),
            recurrent: recurrent.return_sequences(true).layer(settings.dim, rng)?,
            dropout: Dropout::new(settings.dropout),
        })
    }

    /// The state after every step, `[steps, dim]`.
    pub(super) fn encode(&self, batch: &Ragged, cx: &mut Context) -> cairn_nn::Result<Var> {
        let x = self.dropout.forward(&self.items.var().lookup(&batch.items)?, cx)?;
        let mut cx = cx.clone().with_lengths(&batch.lengths);
        batch.packed(&self.recurrent.forward(&batch.side_by_side(&x)?, &mut cx)?)
    }

    /// No state is longer: its entries are means of what comes out of a tanh.
    pub(super) fn longest_state(&self) -> f32 {
        (self.items.shape()[1] as f32).sqrt()
    }
}
