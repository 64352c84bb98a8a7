//! Recommenders that are networks, trained by `cairn-nn` and `cairn-optim` (feature `neural`).
//!
//! Models of the next item read what somebody met, in order. Each is an encoder, which makes a vector of every prefix of a history, and
//! the table of items, which is both its input and, by inner products, its output. What differs from model to model is the encoder
//! (`sasrec`, `bert4rec`, `gru4rec`); batches (`ragged`), losses (`loss`), the passes over the log (`train`) and what is kept (`model`) are written
//! once.
//!
//! The others see who met what as a set (`pairs` draws what was not met): `mult_vae` encodes a row of the matrix, `light_gcn` the place in its graph. Both live on
//! products with sparse matrices (`sparse`), and are trained by `passes` over samples.
//!
//! Once trained all of them score by inner products like factorisations: lists, the index for large catalogues, files and evaluation are
//! the same.

mod bert4rec;
#[cfg(test)]
pub(crate) mod golden;
mod gru4rec;
mod light_gcn;
mod loss;
mod model;
mod mult_vae;
mod neu_mf;
pub(crate) mod pairs;
pub(crate) mod passes;
mod ragged;
mod sasrec;
mod settings;
pub(crate) mod sparse;
mod state;
mod train;

pub use bert4rec::Bert4Rec;
pub use gru4rec::Gru4Rec;
pub use light_gcn::{LightGcn, LightGcnModel};
pub use model::SequenceModel;
pub use mult_vae::{MultVae, MultVaeModel};
pub use neu_mf::{NeuMf, NeuMfModel};
pub use sasrec::Sasrec;
pub use settings::{SequenceLoss, TrainingPlan};
