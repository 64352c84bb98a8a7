//! What layers, losses, models and files promise.
//!
//! One program and not one for each file, because each would be linked with all kernels. What counts the memory of the whole
//! process, or runs for minutes, is a program of its own beside this one.

mod adapters;
mod attended;
mod batcher;
mod blocks;
mod context;
mod decoding;
mod element_types;
mod generate;
mod gguf;
mod gguf_models;
mod gradients;
mod images;
#[cfg(feature = "language")]
mod instruct;
mod labelling;
#[cfg(feature = "language")]
mod language;
mod losses;
mod models;
mod modules;
mod recurrent;
mod seq2seq;
mod sequential;
mod tied;
#[cfg(feature = "language")]
mod to_gguf;
#[cfg(feature = "language")]
mod tokenizer;
mod transformer_options;
mod transformers;
mod weighted_losses;
mod weights;
