//! Models of the next item that are networks: they read what somebody met, in order.
//!
//! Each is an encoder, which makes a vector of every prefix of a history, and the table of items, which is both its input and, by
//! inner products, its output. So once trained they score like factorisations: lists, the index for large catalogues, files and
//! evaluation are the same. What differs from model to model is the encoder (`sasrec`, `gru4rec`); batches (`ragged`), losses
//! (`loss`), the passes over the log (`train`) and what is kept (`model`) are written once.

mod gru4rec;
mod loss;
mod model;
mod ragged;
mod sasrec;
mod settings;
mod train;

pub use gru4rec::Gru4Rec;
pub use model::SequenceModel;
pub use sasrec::Sasrec;
pub use settings::{SequenceLoss, TrainingPlan};
