//! Data sets, downloading and batching for Cairn.
//!
//! ```no_run
//! use cairn_datasets::{mnist, DataDir, Loader};
//!
//! let (train, test) = mnist::load(&DataDir::default())?; // downloads once, verifies, caches
//! let loader = Loader::new(train.flatten()).batch_size(32).shuffle(42);
//! for epoch in 0..5 {
//!     for batch in loader.epoch(epoch)? {
//!         let (images, labels) = batch?; // [32, 784] from 0 to 1, and [32]
//!         assert_eq!(images.shape()[0], labels.len());
//!     }
//! }
//! # let _ = test;
//! # Ok::<(), cairn_datasets::Error>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | say where data lies | [`DataDir`] |
//! | see what is known, with sizes and terms | [`registry`] |
//! | read images | [`mnist`], [`fashion_mnist`], [`cifar10`], [`ImageDataset`], [`idx`], `ImageFolder` (feature `image-folder`) |
//! | vary images while training | [`Augmented`], [`augment`] |
//! | read ratings | [`movielens`] |
//! | read text | [`imdb`], [`mr_polarity`], [`ag_news`], [`penn_treebank`], [`tiny_shakespeare`], [`conllu`], [`multi30k`] |
//! | test word vectors | [`word_tests`] |
//! | turn text into numbers | [`text`] |
//! | bring your own | [`Dataset`], [`TensorDataset`] |
//! | divide and batch | [`Dataset::split`], [`Dataset::subset`], [`Loader`] |
//! | do without data | [`synthetic`] |
//!
//! # Features
//! `download` (on by default): fetch what is missing from the publishers, over HTTPS with rustls. Without it nothing here
//! touches the network and the dependencies shrink to readers. `xz` (on by default): read files compressed by xz.
//! `image-folder`: read folders of PNG and JPEG files through the `image` crate. `bpe`: byte-pair encoding
//! (`text::Bpe`) through the `tokenizers` crate.

#![forbid(unsafe_code)]

/// The samples in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod augment;
pub mod cifar10;
mod corpora;
mod dataset;
mod dir;
#[cfg(feature = "download")]
pub mod download;
mod error;
pub mod fashion_mnist;
mod files;
pub mod idx;
#[cfg(feature = "image-folder")]
mod image_folder;
mod images;
mod loader;
pub mod mnist;
pub mod movielens;
pub mod registry;
mod sampling;
pub mod synthetic;
pub mod text;

pub use augment::Augmented;
pub use cairn_tensor::Tensor;
pub use corpora::{
    ag_news, conllu, imdb, mr_polarity, multi30k, penn_treebank, tiny_shakespeare, word_tests,
};
pub use dataset::{Dataset, Subset, TensorDataset};
pub use dir::{DATA_DIR_VARIABLE, DataDir, Located};
pub use error::{Error, Result};
#[cfg(feature = "image-folder")]
pub use image_folder::ImageFolder;
pub use images::ImageDataset;
pub use loader::{Batches, Loader};
