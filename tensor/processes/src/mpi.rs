//! Processes that MPI connects, through the crate `mpi`.
//!
//! MPI moves bytes only: of its functions `Allgather`, `Allgatherv`, `Alltoallv`, `Bcast` and `Abort` are used. Its calls are made
//! on the thread that started it, of which the types take care: this one is not `Send`.
//!
//! Each operation begins with a small all-gather of which operation it is and how many bytes are to come. So one that does not
//! fit, or a process that says goodbye as it ends, is an error on all of them and not a hang. A process that dies without a
//! goodbye is the launcher's to notice: `mpirun` ends the others within moments. A panic ends all by `MPI_Abort`, since `MPI_Finalize`,
//! which waits for the others, would wait for ever.

use std::cell::Cell;
use std::fmt;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Root as _};

use crate::{Communicator, Error, Operation, Result};

/// The most bytes that one call of MPI receives: its counts and offsets are C integers.
const MOST: usize = 1 << 30;

/// What a process says instead of an operation as it ends.
const GOODBYE: u64 = u64::MAX;

/// The processes that a launcher of MPI started, of which this is one.
pub struct Mpi {
    world: SimpleCommunicator,
    /// A rank that has said goodbye: nothing can be exchanged any more.
    left: Cell<Option<usize>>,
    /// MPI ends with it.
    _universe: Universe,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank()).field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Mpi {
    /// Starts MPI. Once in a program.
    ///
    /// # Errors
    /// [`Error::Engine`] when it was started before.
    pub fn new() -> Result<Self> {
        let started = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, _) = started.ok_or_else(|| {
            Error::Engine("MPI was started before in this program, which it can be only once".to_owned())
        })?;
        Ok(Mpi { world: universe.world(), left: Cell::new(None), _universe: universe })
    }

    /// What every process is about to do, and how many bytes it has for each: the beginning of every operation.
    fn begin(&self, operation: Operation, lengths: &[usize]) -> Result<Vec<Vec<usize>>> {
        if let Some(rank) = self.left.get() {
            return Err(Error::Left { rank });
        }
        let all = self.announce(code(operation), lengths);
        if let Some(rank) = all.iter().position(|said| said[0] == GOODBYE) {
            self.left.set(Some(rank));
            return Err(Error::Left { rank });
        }
        let operations: Result<Vec<Operation>> = all.iter().map(|said| operation_of(said[0])).collect();
        Operation::agree(operations?)?;
        Ok(all.iter().map(|said| said[1..].iter().map(|&length| length as usize).collect()).collect())
    }

    /// An all-gather of a code and a length for each rank; those that are missing are 0.
    fn announce(&self, code: u64, lengths: &[usize]) -> Vec<Vec<u64>> {
        let size = self.size();
        let mut own = vec![0u64; size + 1];
        own[0] = code;
        for (to, &length) in own[1..].iter_mut().zip(lengths) {
            *to = length as u64;
        }
        let mut all = vec![0u64; own.len() * size];
        self.world.all_gather_into(&own[..], &mut all[..]);
        all.chunks_exact(own.len()).map(<[u64]>::to_vec).collect()
    }

    /// The most bytes that go from one process to one other in one call.
    fn piece(&self) -> usize {
        MOST / self.size()
    }
}

fn code(operation: Operation) -> u64 {
    match operation {
        Operation::AllGather => 0,
        Operation::AllToAll => 1,
        Operation::Barrier => 2,
        Operation::Broadcast(root) => 3 + root as u64,
    }
}

fn operation_of(code: u64) -> Result<Operation> {
    Ok(match code {
        0 => Operation::AllGather,
        1 => Operation::AllToAll,
        2 => Operation::Barrier,
        root => Operation::Broadcast((root - 3) as usize),
    })
}

/// Counts as C integers, and where each begins when they follow one another.
fn layout(counts: &[usize]) -> (Vec<i32>, Vec<i32>) {
    let mut end = 0;
    let start = |&count: &usize| {
        end += count;
        (end - count) as i32
    };
    let starts = counts.iter().map(start).collect();
    (counts.iter().map(|&count| count as i32).collect(), starts)
}

/// The part of so many bytes that belongs to a round of pieces.
fn in_round(length: usize, round: usize, piece: usize) -> usize {
    length.saturating_sub(round * piece).min(piece)
}

/// Hands what was received in a round to the ranks it came from.
fn hand_out(received: &[u8], counts: &[usize], to: &mut [Vec<u8>]) {
    let mut rest = received;
    for (&count, to) in counts.iter().zip(to) {
        let (own, after) = rest.split_at(count);
        to.extend_from_slice(own);
        rest = after;
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.begin(Operation::AllGather, &[bytes.len()])?;
        let lengths: Vec<usize> = all.iter().map(|lengths| lengths[0]).collect();
        let (piece, longest) = (self.piece(), lengths.iter().copied().max().unwrap_or(0));
        let mut result: Vec<Vec<u8>> = lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        for round in 0..longest.div_ceil(piece) {
            let counts: Vec<usize> = lengths.iter().map(|&length| in_round(length, round, piece)).collect();
            let own = &bytes[(round * piece).min(bytes.len())..][..counts[self.rank()]];
            let mut received = vec![0u8; counts.iter().sum()];
            let (numbers, starts) = layout(&counts);
            let mut parts = PartitionMut::new(&mut received[..], numbers, starts);
            self.world.all_gather_varcount_into(own, &mut parts);
            hand_out(&received, &counts, &mut result);
        }
        Ok(result)
    }

    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        Operation::AllToAll.check(parts.len(), self.size())?;
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        let all = self.begin(Operation::AllToAll, &lengths)?;
        let incoming: Vec<usize> = all.iter().map(|lengths| lengths[self.rank()]).collect();
        // As many rounds on every process: those of the longest part of all.
        let (piece, longest) = (self.piece(), all.iter().flatten().copied().max().unwrap_or(0));
        let mut result: Vec<Vec<u8>> = incoming.iter().map(|&length| Vec::with_capacity(length)).collect();
        for round in 0..longest.div_ceil(piece) {
            let outgoing: Vec<usize> = lengths.iter().map(|&length| in_round(length, round, piece)).collect();
            let mut sent = Vec::with_capacity(outgoing.iter().sum());
            for (part, &count) in parts.iter().zip(&outgoing) {
                sent.extend_from_slice(&part[(round * piece).min(part.len())..][..count]);
            }
            let counts: Vec<usize> = incoming.iter().map(|&length| in_round(length, round, piece)).collect();
            let mut received = vec![0u8; counts.iter().sum()];
            let ((out, out_starts), (numbers, starts)) = (layout(&outgoing), layout(&counts));
            let sent = Partition::new(&sent[..], out, out_starts);
            let mut into = PartitionMut::new(&mut received[..], numbers, starts);
            self.world.all_to_all_varcount_into(&sent, &mut into);
            hand_out(&received, &counts, &mut result);
        }
        Ok(result)
    }

    fn broadcast(&self, root: usize, bytes: &[u8]) -> Result<Vec<u8>> {
        let operation = Operation::Broadcast(root);
        operation.check(1, self.size())?;
        let all = self.begin(operation, &[bytes.len()])?;
        let mut result = if self.rank() == root { bytes.to_vec() } else { vec![0; all[root][0]] };
        let from = self.world.process_at_rank(root as i32);
        result.chunks_mut(MOST).for_each(|piece| from.broadcast_into(piece));
        Ok(result)
    }

    fn barrier(&self) -> Result<()> {
        self.begin(Operation::Barrier, &[]).map(|_| ())
    }

    fn abort(&self, why: &str) -> ! {
        eprintln!("rank {}: {why}", self.rank());
        self.world.abort(1)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort("a panic ends all processes");
        }
        if self.left.get().is_none() {
            self.announce(GOODBYE, &[]);
        }
    }
}
