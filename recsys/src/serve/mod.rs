//! What a program keeps and asks: a trained model with ids and history, its lists, similar items, its file, and an
//! approximate nearest-neighbour (ANN) index for large catalogues.

pub(crate) mod ann;
mod exact;
pub(crate) mod file;
pub(crate) mod fitted;
pub(crate) mod ranks;
mod similar;
pub(crate) mod top_k;
