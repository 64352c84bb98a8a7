//! The thread that writes all texts of a model: requests come to it over a channel, and pieces of texts go back over theirs. Where the
//! other end of one is gone, the client has left, and its text is given up. A panic ends the texts under way, never the service: they are
//! answered with an error, and the next ones are written by a batcher that is new.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;

use cairn::nn::generate::{Finish, Request, RequestId, TokenScores, Usage};
use cairn::nn::language::{LanguageModel, TextBatcher, TextEvent};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::commands::failure::Failure;

/// Sizes of the work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Texts at a time.
    pub(super) parallel: usize,
    /// Texts that may wait.
    pub(super) queue: usize,
    /// Tokens of a text.
    pub(super) context: usize,
    /// Tokens that are guessed in a step.
    pub(super) guesses: usize,
}

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) prompt: AtomicU64,
    pub(super) cached: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) guessed: AtomicU64,
    pub(super) given_up: AtomicU64,
    pub(super) running: AtomicUsize,
    pub(super) waiting: AtomicUsize,
}

/// What is told of a text.
#[derive(Debug)]
pub(super) enum Told {
    /// It goes on, with these tokens.
    Piece(String, Vec<(u32, Option<TokenScores>)>),
    /// It has ended.
    End(Ended, Usage),
}

/// Why a text has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    Stop,
    Length,
    Failed(String),
}

/// Where it is told, with the text's number among those of a request.
pub(super) type Ear = UnboundedSender<(usize, Told)>;

/// A text that is asked for.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) stops: Vec<String>,
    pub(super) index: usize,
    pub(super) to: Ear,
}

/// A model and the thread that writes with it.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) model: Arc<LanguageModel>,
    pub(super) counts: Arc<Counts>,
    pub(super) capacity: usize,
    asks: mpsc::Sender<(Ask, OwnedSemaphorePermit)>,
    places: Arc<Semaphore>,
}

impl Writer {
    pub(super) fn start(model: LanguageModel, sizes: Sizes) -> Result<Self, Failure> {
        let (model, counts) = (Arc::new(model), Arc::new(Counts::default()));
        let (asks, to_write) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let (shared, counted) = (model.clone(), counts.clone());
        thread::Builder::new().name("writer".into()).spawn(move || {
            // Only the first time there is somebody to tell.
            until_done(|| match shared.batcher(sizes.parallel, sizes.context) {
                Ok(batcher) => {
                    let batcher = batcher.speculate(sizes.guesses);
                    let _ = ready.send(Ok(batcher.capacity()));
                    Desk { batcher, open: HashMap::new(), counts: &counted }.work(&to_write);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            });
        })?;
        let capacity = is_ready.recv().map_err(|_| Failure::new("the thread that writes has ended"))??;
        let places = sizes.parallel.saturating_add(sizes.queue).min(Semaphore::MAX_PERMITS);
        Ok(Writer { model, counts, capacity, asks, places: Arc::new(Semaphore::new(places)) })
    }

    /// Asks for some texts: all of them, or none where there is no place to wait.
    pub(super) fn ask(&self, asks: Vec<Ask>) -> Result<(), Refusal> {
        let permits = asks.iter().map(|_| self.places.clone().try_acquire_owned());
        let permits = permits.collect::<Result<Vec<_>, _>>().map_err(|_| Refusal::busy())?;
        for ask in asks.into_iter().zip(permits) {
            self.asks.send(ask).map_err(|_| Refusal::failed("the model writes no more"))?;
        }
        Ok(())
    }
}

/// Does it again for as long as it panics. What it had open is dropped by then: whoever waits for it hears that it has ended.
fn until_done(mut work: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {}
}

/// A text that is under way.
struct Open {
    index: usize,
    to: Ear,
    /// Its place, free again when this is dropped.
    _place: OwnedSemaphorePermit,
}

/// Where the thread works.
struct Desk<'m> {
    batcher: TextBatcher<'m>,
    open: HashMap<RequestId, Open>,
    counts: &'m Counts,
}

impl Desk<'_> {
    /// Writes until nobody can ask any more.
    fn work(&mut self, asks: &mpsc::Receiver<(Ask, OwnedSemaphorePermit)>) {
        loop {
            if self.batcher.is_idle() {
                self.count();
                match asks.recv() {
                    Ok((ask, place)) => self.accept(ask, place),
                    Err(_) => return,
                }
            }
            while let Ok((ask, place)) = asks.try_recv() {
                self.accept(ask, place);
            }
            self.give_up();
            for event in self.batcher.step() {
                self.tell(event);
            }
            self.count();
        }
    }

    fn accept(&mut self, ask: Ask, place: OwnedSemaphorePermit) {
        let Ask { request, stops, index, to } = ask;
        match self.batcher.push(request, stops) {
            Ok(id) => {
                self.open.insert(id, Open { index, to, _place: place });
            }
            Err(error) => {
                let _ = to.send((index, Told::End(Ended::Failed(error.to_string()), Usage::default())));
            }
        }
    }

    /// Forgets texts that nobody reads.
    fn give_up(&mut self) {
        let (batcher, counts) = (&mut self.batcher, self.counts);
        self.open.retain(|&id, open| {
            if open.to.is_closed() {
                batcher.cancel(id);
                counts.given_up.fetch_add(1, Relaxed);
            }
            !open.to.is_closed()
        });
    }

    fn tell(&mut self, event: TextEvent) {
        match event {
            TextEvent::Piece { request, text, tokens } => {
                if let Some(open) = self.open.get(&request) {
                    let _ = open.to.send((open.index, Told::Piece(text, tokens)));
                }
            }
            TextEvent::End { request, reason, usage } => {
                self.add(usage);
                let ended = match reason {
                    Finish::Stop => Ended::Stop,
                    Finish::Failed(error) => Ended::Failed(error.to_string()),
                    _ => Ended::Length,
                };
                if let Some(open) = self.open.remove(&request) {
                    let _ = open.to.send((open.index, Told::End(ended, usage)));
                }
            }
            _ => {}
        }
    }

    fn add(&self, usage: Usage) {
        let add = |counter: &AtomicU64, count: usize| counter.fetch_add(count as u64, Relaxed);
        add(&self.counts.prompt, usage.prompt);
        add(&self.counts.cached, usage.cached);
        add(&self.counts.written, usage.written);
        add(&self.counts.guessed, usage.guessed);
    }

    fn count(&self) {
        self.counts.running.store(self.batcher.running(), Relaxed);
        self.counts.waiting.store(self.batcher.waiting(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_what_is_under_way_and_not_what_comes_after() {
        let (asks, to_write) = mpsc::channel();
        let mut written = Vec::new();
        let ends: Vec<mpsc::Receiver<()>> = (0..3)
            .map(|n| {
                let (to, end) = mpsc::channel::<()>();
                asks.send((n, to)).unwrap();
                end
            })
            .collect();
        drop(asks);
        until_done(|| {
            while let Ok((n, to)) = to_write.recv() {
                assert_ne!(n, 1, "an operation that fails");
                written.push((n, to));
            }
        });
        let written: Vec<i32> = written.into_iter().map(|(n, _)| n).collect();
        assert_eq!(written, [0, 2]);
        assert!(ends.iter().all(|end| end.recv().is_err()), "all have ended");
    }
}
