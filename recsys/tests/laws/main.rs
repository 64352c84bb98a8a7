//! What all models have to do, each model against its definition, and the data and files around them.
//!
//! One program and not one for each file, because each would compile the models for itself.

#[cfg(feature = "arrow")]
mod arrow;
mod conformance;
mod data;
mod described;
mod examples;
mod features;
mod files;
mod index;
mod isa;
mod many;
mod models;
#[cfg(feature = "neural")]
mod neural;
mod odd;
#[cfg(feature = "parquet")]
mod parquet;
mod ranking;
mod ratings;
mod read;
mod rerank;
mod search;
mod settings;
mod stored;
mod svd;
mod update;
