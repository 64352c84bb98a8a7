//! Optimisers, schedules, metrics and the training loop: against PyTorch, scikit-learn and gensim, against closed
//! forms, and what is refused.
//!
//! One program and not one for each file, so that the crates below are linked once. What needs a process to itself, to be
//! killed or to count its memory, is this program started again: see [`child`].

mod anew;
mod beyond_memory;
mod budgets;
mod callbacks;
mod child;
mod examples;
mod graphs;
mod means;
mod metrics;
mod networks;
mod not_finite;
mod optimizers;
mod processes;
mod report;
mod resume;
#[cfg(feature = "linalg")]
mod ridge;
mod schedules;
mod settings;
mod stopped;
mod training;
mod transformers;
mod translations;
mod weighted;
mod whole_batches;
mod word2vec;
