//! Members that are threads of one process: everything that is built on a communicator can be tested without an engine.
//!
//! Each operation is a round. Members lay down what they send; the last one closes the round, and all take from it what is
//! theirs. A member that is dropped, also by a panic, is missed from then on, so the others get an error where they would wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Communicator, Error, Operation, Result};

/// One of several members in this process.
///
/// ```
/// use cairn_processes::{Communicator, Threads};
/// let got = Threads::run(2, |me| me.broadcast(1, &[me.rank() as u8]));
/// assert_eq!(got, [Ok(vec![1]), Ok(vec![1])]);
/// ```
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What members have laid down in this round, by rank.
    slots: Vec<Option<Message>>,
    /// The round before, whole, and its number.
    delivered: Arc<Vec<Message>>,
    round: u64,
    /// A member that has ended.
    left: Option<usize>,
}

#[derive(Debug)]
struct Message {
    operation: Operation,
    parts: Vec<Vec<u8>>,
}

impl Threads {
    /// So many members, by rank, each to be moved to a thread of its own.
    #[allow(clippy::new_ret_no_self, reason = "a member alone is no use")]
    pub fn new(size: usize) -> Vec<Threads> {
        let state = State { slots: (0..size).map(|_| None).collect(), ..State::default() };
        let shared = Arc::new(Shared { size, state: Mutex::new(state), changed: Condvar::new() });
        (0..size).map(|rank| Threads { rank, shared: Arc::clone(&shared) }).collect()
    }

    /// What a function gives on each of so many members, by rank, each run on a thread of its own.
    ///
    /// # Panics
    /// When one of them does, after all have ended.
    pub fn run<R: Send>(size: usize, f: impl Fn(&Threads) -> R + Sync) -> Vec<R> {
        let f = &f;
        std::thread::scope(|scope| {
            let members = Threads::new(size).into_iter();
            let threads: Vec<_> = members.map(|member| scope.spawn(move || f(&member))).collect();
            let results: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            results
                .into_iter()
                .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left whole messages, and is missed because it was dropped.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays down what this member sends, and waits for what all have.
    fn round(&self, operation: Operation, parts: Vec<Vec<u8>>) -> Result<Arc<Vec<Message>>> {
        let mut state = self.lock();
        if let Some(rank) = state.left {
            return Err(Error::Left { rank });
        }
        state.slots[self.rank] = Some(Message { operation, parts });
        let round = state.round;
        if state.slots.iter().all(Option::is_some) {
            state.delivered = Arc::new(state.slots.iter_mut().filter_map(Option::take).collect());
            state.round += 1;
            self.shared.changed.notify_all();
        }
        while state.round == round {
            if let Some(rank) = state.left {
                return Err(Error::Left { rank });
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let delivered = Arc::clone(&state.delivered);
        drop(state);
        Operation::agree(delivered.iter().map(|message| message.operation))?;
        Ok(delivered)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.lock().left.get_or_insert(self.rank);
        self.shared.changed.notify_all();
    }
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.size
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.round(Operation::AllGather, vec![bytes.to_vec()])?;
        Ok(all.iter().map(|message| message.parts[0].clone()).collect())
    }

    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        Operation::AllToAll.check(parts.len(), self.size())?;
        let all = self.round(Operation::AllToAll, parts)?;
        Ok(all.iter().map(|message| message.parts[self.rank].clone()).collect())
    }

    fn broadcast(&self, root: usize, bytes: &[u8]) -> Result<Vec<u8>> {
        let operation = Operation::Broadcast(root);
        operation.check(1, self.size())?;
        let own = if self.rank == root { bytes.to_vec() } else { Vec::new() };
        let all = self.round(operation, vec![own])?;
        Ok(all[root].parts[0].clone())
    }

    fn barrier(&self) -> Result<()> {
        self.round(Operation::Barrier, Vec::new()).map(|_| ())
    }

    fn abort(&self, why: &str) -> ! {
        // The member is dropped on the way, which the others notice.
        panic!("{why}")
    }
}
