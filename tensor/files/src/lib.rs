//! How Cairn's crates read and write files, said once.
//!
//! ```
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("history.csv");
//! cairn_files::write(&path, b"epoch,loss\n1,0.25\n")?; // the old file or the new one, never half of one
//! assert_eq!(std::fs::read_to_string(&path).unwrap(), "epoch,loss\n1,0.25\n");
//!
//! let error = cairn_files::write(folder.path().join("missing/history.csv"), b"").unwrap_err();
//! assert!(error.to_string().contains("missing/history.csv")); // every error names its file
//! # Ok::<(), cairn_files::Error>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | replace a file in one step | [`write`](fn@write), [`AtomicFile`] |
//! | read rows of fields, with any separator, quoted or not | [`Rows`], [`RowFormat`] |
//! | read dates | [`date`] |
//! | call a library that may panic | [`quietly`](fn@quietly) |
//! | stop before a small file fills the memory | [`Budget`] |
//! | keep a value in a file that notices damage | `container` (feature `container`) |
//! | read a file that may be compressed | `unpack` (feature `gzip`, and `xz`) |
//!
//! The other crates wrap what is here in their own names and errors; programs use those. Without features there is no
//! dependency but the derive of the error.

#![forbid(unsafe_code)]

/// The sample in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod atomic;
mod budget;
#[cfg(feature = "container")]
pub mod container;
pub mod date;
mod error;
mod quietly;
mod rows;
#[cfg(feature = "gzip")]
pub mod unpack;

pub use atomic::{AtomicFile, write};
pub use budget::{Budget, read_limited};
pub use error::{Error, Result};
pub use quietly::quietly;
pub use rows::{Row, RowFormat, Rows};
