//! Data sets for training: found on disk or downloaded once and verified, prepared, shuffled and batched into tensors.
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
//! Everything that trains takes a [`Dataset`]: a length, and batches of samples by index. [`Loader`] makes an epoch of one:
//! shuffled by a seed, batch after batch, the same bits each time.
//!
//! | to | use |
//! |---|---|
//! | load images | [`mnist`], [`fashion_mnist`], [`cifar10`], `ImageFolder` (feature `image-folder`), [`idx`] |
//! | load text | [`imdb`], [`mr_polarity`], [`ag_news`], [`penn_treebank`], [`tiny_shakespeare`], [`conllu`], [`multi30k`] |
//! | find ratings and sequences, which `cairn-recsys` reads | [`movielens`], [`beauty`] |
//! | test word vectors | [`word_tests`] |
//! | bring your own | [`TensorDataset`], [`ImageDataset`], or implement [`Dataset`] |
//! | bring more than memory holds | [`NpyDataset`], [`text::TokenFile`], [`Loader::shuffle_blocks`] |
//! | split, take a part, batch, shuffle | [`Dataset::split`], [`Dataset::subset`], [`Loader`] |
//! | augment images while training | [`Augmented`], [`augment`] |
//! | read a CSV file, fill gaps, scale numbers, encode categories | [`table`] |
//! | tokenize, number and pad text | [`text`] |
//! | do without data | [`synthetic`] |
//! | say where data lies | [`DataDir`] |
//! | see what is known, with sizes and terms; describe sets and models of your own | [`registry`] |
//! | download a file that is verified and resumed | `download` (feature `download`) |
//! | have a published model by its name | `hub` (feature `download`) |
//!
//! A data set is looked for in the data folder first, as its publisher's archive or unpacked, and downloaded only if it is
//! missing. Files are read with every malformed byte reported: an [`Error`] names the file and the line.
//!
//! # Features
//! | | |
//! |---|---|
//! | `download` (default) | fetch what is missing from the publishers, over HTTPS with rustls; without it nothing here touches the network |
//! | `xz` (default) | read files compressed by xz; those compressed by gzip are always read |
//! | `image-folder` | read folders of PNG and JPEG files, through the `image` crate |
//! | `bpe` | byte-pair encoding, `text::Bpe`, through the `tokenizers` crate |

#![forbid(unsafe_code)]

/// The samples in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod augment;
mod dataset;
mod error;
mod files;
mod images;
mod loader;
mod npy;
mod random;
mod sets;
mod source;
pub mod synthetic;
pub mod table;
pub mod text;

pub use augment::Augmented;
pub use cairn_tensor::Tensor;
pub use dataset::{Dataset, Subset, TensorDataset};
pub use error::{Error, Result};
#[cfg(feature = "image-folder")]
pub use images::ImageFolder;
pub use images::{ImageDataset, idx};
pub use loader::{Batches, Loader};
pub use npy::NpyDataset;
pub use sets::*;
pub use source::dir::{DATA_DIR_VARIABLE, DataDir, Located};
pub use source::registry;
#[cfg(feature = "download")]
pub use source::{download, hub};
