//! What is promised of data sets: see the modules. `--all-features` tests all of it.

mod augment;
#[cfg(feature = "bpe")]
mod byte_pairs;
mod cifar10;
#[cfg(feature = "download")]
mod download;
#[cfg(feature = "download")]
mod hub;
mod idx;
#[cfg(feature = "image-folder")]
mod image_folder;
mod loader;
mod movielens;
mod npy;
#[cfg(feature = "download")]
mod server;
mod synthetic;
mod synthetic_text;
mod table;
mod text;
mod texts;
