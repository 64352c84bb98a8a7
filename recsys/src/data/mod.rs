//! The log of who met what: how it is read, kept as a matrix, split, and which of its items may be recommended.

pub(crate) mod filter;
pub(crate) mod ids;
pub(crate) mod interactions;
pub(crate) mod lint;
pub(crate) mod met;
pub(crate) mod others;
pub mod read;
pub(crate) mod sequences;
pub(crate) mod sparse;
pub(crate) mod split;
pub(crate) mod stored;
pub mod synthetic;
mod windows;
