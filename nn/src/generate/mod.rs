//! Generating text, token by token: how the next one is drawn from a language model's scores.

mod sampling;

pub use sampling::Sampling;
