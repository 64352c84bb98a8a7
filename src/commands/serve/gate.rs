//! Work that keeps processors busy, off the threads that talk to clients: one thing at a time, and only so much waiting for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::refusal::Refusal;

/// Lets one in, and so many wait.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new(most_waiting: usize) -> Self {
        Gate {
            waiting: Arc::new(Semaphore::new(most_waiting.saturating_add(1).min(Semaphore::MAX_PERMITS))),
            running: Arc::new(Semaphore::new(1)),
        }
    }

    /// Does this when it is its turn; not at all where the client leaves before.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = self.waiting.clone().try_acquire_owned().map_err(|_| Refusal::busy())?;
        let turn = self.running.clone().acquire_owned().await.map_err(|_| Refusal::busy())?;
        blocking(move || {
            let _held: [OwnedSemaphorePermit; 2] = [place, turn];
            work()
        })
        .await
    }
}

/// Does this on a thread for such things.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(Refusal::failed("the work was given up")))
}
