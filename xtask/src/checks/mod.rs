//! The end-to-end checks, one a file.
//!
//! To add one: a file with a `pub const CHECK: Check`, and its line in [`ALL`].

use crate::check::Check;

mod charlm;
mod classified;
mod cnn;
mod coldstart;
mod compare;
mod digits;
mod embed;
mod films;
mod finetune;
mod gpt;
mod lm;
mod ml1m;
mod ml20m;
mod mlp;
mod nlp;
mod parts_of_speech;
mod ranked;
mod ratings;
mod recsys;
mod reranked;
mod reviews;
mod rnn;
mod sentiment_attention;
mod sequences;
mod svd;
mod tagger;
mod textcnn;
mod training;
mod translate;
mod vit;
mod wordvec;

/// Every check, in the order they run.
pub const ALL: &[&Check] = &[
    &mlp::CHECK,
    &cnn::CHECK,
    &vit::CHECK,
    &rnn::CHECK,
    &tagger::CHECK,
    &nlp::CHECK,
    &sentiment_attention::CHECK,
    &textcnn::CHECK,
    &charlm::CHECK,
    &gpt::CHECK,
    &lm::CHECK,
    &embed::CHECK,
    &finetune::CHECK,
    &translate::CHECK,
    &wordvec::CHECK,
    &svd::CHECK,
    &recsys::CHECK,
    &coldstart::CHECK,
    &compare::CHECK,
    &sequences::CHECK,
    &ml1m::CHECK,
    &ml20m::CHECK,
];

/// The names that `--only` takes.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|c| c.name).collect()
}

/// The checks with these names, in the order they run; all of them where no name is given.
pub fn select(only: &[String]) -> Vec<&'static Check> {
    ALL.iter().filter(|c| only.is_empty() || only.iter().any(|n| n == c.name)).copied().collect()
}
