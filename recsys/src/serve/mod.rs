//! What a program keeps and asks: a trained model with ids and history, its lists, similar items, its file, and an
//! approximate nearest-neighbour (ANN) index for large catalogues.

pub(crate) mod ann;
pub(crate) mod exact;
pub(crate) mod file;
pub(crate) mod fitted;
pub(crate) mod ranks;
pub mod rerank;
pub(crate) mod session;
mod similar;
pub(crate) mod top_k;
