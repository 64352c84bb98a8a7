//! What several processes that work on one task exchange, and how none of them waits for ever.
//!
//! A [`Communicator`] moves bytes and never adds numbers. An engine's own sums depend on the number of processes, the size of
//! the message and the algorithm it chose; MPI's standard tells those who care to gather, and to add in an order of their own
//! (MPI 3.1, section 5.9.1). So that is what everything on top of this does, and its results have the same bits on every
//! engine at any number of processes.
//!
//! | implementation | what it is |
//! |---|---|
//! | [`Alone`] | one process; nothing is moved |
//! | [`Threads`] | members that are threads of one process, for tests |
//! | `Mpi` (feature `mpi`) | processes that `mpirun` or `srun` started |
//! | [`world`] | what this program was started as |
//!
//! ```
//! use cairn_processes::{Group, Threads};
//!
//! let heard = Threads::run(2, |me| {
//!     let group = Group::new(me);
//!     // Rank 1 cannot go on. Rank 0 learns why instead of waiting for it.
//!     let outcome = if group.rank() == 1 { Err("the disk is full") } else { Ok(&[][..]) };
//!     group.meet("step 1", &[], outcome).map_err(|error| error.to_string())
//! });
//! assert_eq!(heard[0], Err("rank 1: the disk is full".to_owned()));
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

/// The sample in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod alone;
mod error;
mod group;
#[cfg(feature = "mpi")]
mod mpi;
mod threads;
pub mod wire;
mod world;

use std::fmt;

pub use alone::Alone;
pub use error::{Error, Result};
pub use group::Group;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use threads::Threads;
pub use world::world;

/// Members of one task, known by their rank, that move bytes between each other. All of them call the same operations in the
/// same order.
pub trait Communicator: fmt::Debug {
    /// The number of this member, from 0.
    fn rank(&self) -> usize;

    /// The number of members.
    #[doc(alias = "world_size")]
    fn size(&self) -> usize;

    /// The bytes of every member, by rank. They may differ in length.
    ///
    /// # Errors
    /// [`Error::Left`] when a member has ended, [`Error::Differs`] when one has called another operation.
    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Gives `parts[r]` to rank r, and returns what each rank had for this one.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless there is one part for each rank; as [`all_gather`](Self::all_gather).
    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>>;

    /// The bytes of rank `root`; those of the others do not count.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is no such rank; as [`all_gather`](Self::all_gather).
    fn broadcast(&self, root: usize, bytes: &[u8]) -> Result<Vec<u8>>;

    /// Waits until every member is here.
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather).
    fn barrier(&self) -> Result<()>;

    /// Ends all members at once, whatever they do, saying why on standard error.
    fn abort(&self, why: &str) -> !;
}

/// The operations of a communicator, as members tell each other which one they call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    AllGather,
    AllToAll,
    Broadcast(usize),
    Barrier,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::AllGather => f.write_str("all_gather"),
            Operation::AllToAll => f.write_str("all_to_all"),
            Operation::Broadcast(root) => write!(f, "broadcast from rank {root}"),
            Operation::Barrier => f.write_str("barrier"),
        }
    }
}

impl Operation {
    /// An error unless every member, by rank, called the same.
    fn agree(all: impl IntoIterator<Item = Operation>) -> Result<()> {
        let mut all = all.into_iter().enumerate();
        let Some((_, first)) = all.next() else { return Ok(()) };
        match all.find(|&(_, other)| other != first) {
            None => Ok(()),
            Some((rank, other)) => Err(Error::differs("the operation", first, rank, other)),
        }
    }

    /// An error unless these arguments make sense for so many members.
    fn check(self, parts: usize, size: usize) -> Result<()> {
        match self {
            Operation::AllToAll if parts != size => {
                Err(Error::Malformed(format!("{parts} parts for {size} ranks")))
            }
            Operation::Broadcast(root) if root >= size => {
                Err(Error::Malformed(format!("a broadcast from rank {root} of {size}")))
            }
            _ => Ok(()),
        }
    }
}
