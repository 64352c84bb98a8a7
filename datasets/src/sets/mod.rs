//! The data sets Cairn knows, a file each: where it is published, and how it is read.
//!
//! A new one is a file here and its two lines below: the module, and its entry in the list.

pub mod ag_news;
pub mod beauty;
pub mod cifar10;
pub mod conllu;
pub mod fashion_mnist;
pub mod imdb;
pub mod mnist;
pub mod movielens;
pub mod mr_polarity;
pub mod multi30k;
pub mod penn_treebank;
pub mod tiny_shakespeare;
pub mod word_tests;

/// Hands on the descriptions and lists them all.
macro_rules! known {
    ($($module:ident: $($set:ident),+;)+) => {
        $(pub use super::$module::{$($set),+};)+

        /// Every data set known, in alphabetical order.
        pub const ALL: &[&Resource<'_>] = &[$($(&$set),+),+];
    };
}

/// What [`registry`](crate::registry) hands on.
pub(crate) mod known {
    use crate::registry::Resource;

    known! {
        ag_news: AG_NEWS;
        beauty: BEAUTY;
        cifar10: CIFAR_10;
        fashion_mnist: FASHION_MNIST;
        imdb: IMDB;
        mnist: MNIST;
        movielens: MOVIELENS_100K, MOVIELENS_1M, MOVIELENS_20M, MOVIELENS_25M;
        mr_polarity: MR_POLARITY;
        multi30k: MULTI30K, MULTI30K_2017;
        penn_treebank: PENN_TREEBANK;
        tiny_shakespeare: TINY_SHAKESPEARE;
        conllu: UD_ENGLISH_EWT;
        word_tests: WORD_TESTS;
    }
}
