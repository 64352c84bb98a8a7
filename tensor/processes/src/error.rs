//! What can go wrong between processes.

use std::fmt;

/// The result of an exchange.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why processes could not go on together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A member could not go on; it has an error of its own.
    #[error("rank {rank}: {message}")]
    Rank {
        /// Which one.
        rank: usize,
        /// Its error.
        message: String,
    },
    /// Members do not do the same.
    #[error(
        "{what}: {here} on rank 0, {there} on rank {rank}; every rank must run the same program with the same settings"
    )]
    Differs {
        /// What differs.
        what: String,
        /// What it is on rank 0.
        here: String,
        /// The first rank where it is something else.
        rank: usize,
        /// What it is there.
        there: String,
    },
    /// A member has ended while others go on.
    #[error("rank {rank} has ended")]
    Left {
        /// Which one.
        rank: usize,
    },
    /// Arguments or a message that make no sense.
    #[error("between processes: {0}")]
    Malformed(String),
    /// The engine could not be started.
    #[error("{0}")]
    Engine(String),
}

impl Error {
    pub(crate) fn differs(
        what: impl Into<String>,
        here: impl fmt::Display,
        rank: usize,
        there: impl fmt::Display,
    ) -> Self {
        Error::Differs { what: what.into(), here: here.to_string(), rank, there: there.to_string() }
    }
}
