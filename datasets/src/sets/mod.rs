//! Readers of text collections, one file each.

pub mod ag_news;
pub mod conllu;
pub mod imdb;
pub mod mr_polarity;
pub mod multi30k;
pub mod penn_treebank;
pub mod tiny_shakespeare;
pub mod word_tests;
