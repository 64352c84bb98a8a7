//! Where data sets and the files of models lie, and how they get there: described by their publishers' facts, looked for in
//! the data folder, downloaded and verified where they are missing.

pub(crate) mod dir;
#[cfg(feature = "download")]
pub mod download;
#[cfg(feature = "download")]
pub mod hub;
pub mod registry;
