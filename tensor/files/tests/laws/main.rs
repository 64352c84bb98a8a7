//! What is promised about files: see the modules. `--all-features` tests all of it.

mod atomic;
#[cfg(feature = "container")]
mod container;
mod rows;
#[cfg(feature = "gzip")]
mod unpack;
