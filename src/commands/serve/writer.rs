//! The thread that writes all texts of a model: requests come to it over a channel, and pieces of texts go back over theirs. Where the
//! other end of one is gone, the client has left, and its text is given up. A panic ends the texts under way, never the service: they are
//! answered with an error, and the next ones are written by a batcher that is new.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use cairn::nn::generate::{Finish, Request, RequestId, TokenScores, Usage};
use cairn::nn::language::{LanguageModel, TextBatcher, TextEvent};
use cairn::nn::tokenizer::Pieces;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::commands::failure::Failure;

/// How long is waited before a batcher is made anew that could not be.
const PAUSE: Duration = Duration::from_secs(1);

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

/// A text's place among those that are taken on; free again when it is written and, of a stream of events, when its client has taken them.
/// Else one that takes nothing could have one text after the other written, to be kept for it.
pub(super) type Place = Arc<OwnedSemaphorePermit>;

/// What is told of a text.
#[derive(Debug)]
pub(super) enum Told {
    /// It goes on, with these tokens, where their probabilities are asked for.
    Piece(String, Vec<Scored>),
    /// It has ended.
    End(Ended, Usage),
}

/// A token of a text and how likely it was.
#[derive(Debug, Clone)]
pub(super) struct Scored {
    pub(super) id: u32,
    /// Where its text begins, in characters of the whole text.
    pub(super) at: usize,
    pub(super) scores: TokenScores,
}

/// Why a text has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    Stop,
    Length,
    Failed(Refusal),
}

/// Where it is told, with the text's number among those of a request.
pub(super) type Ear = UnboundedSender<(usize, Told)>;

/// A text that is asked for.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) stops: Arc<[String]>,
    pub(super) index: usize,
    pub(super) to: Ear,
}

/// A model and the thread that writes with it.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) model: Arc<LanguageModel>,
    pub(super) counts: Arc<Counts>,
    pub(super) capacity: usize,
    /// Bytes of a text that a token stands for, where there is a most.
    longest_token: Option<usize>,
    asks: mpsc::Sender<(Ask, Place)>,
    places: Arc<Semaphore>,
    /// How many places there are.
    most: usize,
}

impl Writer {
    pub(super) fn start(model: LanguageModel, sizes: Sizes) -> Result<Self, Failure> {
        let (model, counts) = (Arc::new(model), Arc::new(Counts::default()));
        let (asks, to_write) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let (shared, counted) = (model.clone(), counts.clone());
        thread::Builder::new().name("writer".into()).spawn(move || {
            // Only the first time there is somebody to tell.
            let mut ready = Some(ready);
            until_done(PAUSE, || {
                let batcher = match shared.batcher(sizes.parallel, sizes.context) {
                    Ok(batcher) => batcher.speculate(sizes.guesses),
                    Err(error) => {
                        return match ready.take() {
                            Some(ready) => {
                                let _ = ready.send(Err(error));
                                Work::Done
                            }
                            None => turned_away(&to_write),
                        };
                    }
                };
                if let Some(ready) = ready.take() {
                    let _ = ready.send(Ok(batcher.capacity()));
                }
                Desk { batcher, model: &shared, open: HashMap::new(), counts: &counted }.work(&to_write);
                Work::Done
            });
        })?;
        let capacity = is_ready.recv().map_err(|_| Failure::new("the thread that writes has ended"))??;
        let most = sizes.parallel.saturating_add(sizes.queue).min(Semaphore::MAX_PERMITS);
        let (longest_token, places) = (model.tokenizer().longest_token(), Arc::new(Semaphore::new(most)));
        Ok(Writer { model, counts, capacity, longest_token, asks, places, most })
    }

    /// That a text has no more bytes than the tokens that there can be stand for: it takes long to make tokens of megabytes, and all they
    /// would be good for is to be counted.
    pub(super) fn check_length(&self, text: &str) -> Result<(), Refusal> {
        let most = self.longest_token.map_or(usize::MAX, |bytes| bytes.saturating_mul(self.capacity));
        if text.len() <= most {
            return Ok(());
        }
        Err(Refusal::too_many_bytes(text.len(), most, self.capacity))
    }

    /// Places for so many texts: all of them, or none where there are not as many. Who has them may begin to read a prompt.
    pub(super) fn places(&self, texts: usize) -> Result<Vec<Place>, Refusal> {
        if texts > self.most {
            let most = self.most;
            return Err(Refusal::bad(format!(
                "{texts} texts are asked for at once; here there can be {most}"
            )));
        }
        let places = (0..texts).map(|_| self.places.clone().try_acquire_owned());
        places.map(|place| place.map(Arc::new)).collect::<Result<_, _>>().map_err(|_| Refusal::busy())
    }

    /// Asks for some texts, each in its place.
    pub(super) fn ask(&self, asks: impl IntoIterator<Item = (Ask, Place)>) -> Result<(), Refusal> {
        for ask in asks {
            self.asks.send(ask).map_err(|_| Refusal::failed("the model writes no more"))?;
        }
        Ok(())
    }
}

/// What came of work.
#[derive(Debug)]
enum Work {
    Done,
    /// It could not begin.
    Later,
}

/// Does it again, after a pause, for as long as it panics or cannot begin. What it had open is dropped by then: whoever waits
/// for it hears that it has ended.
fn until_done(pause: Duration, mut work: impl FnMut() -> Work) {
    loop {
        match catch_unwind(AssertUnwindSafe(&mut work)) {
            Ok(Work::Done) => return,
            // What fails at once and for ever must not be all that the machine does.
            Ok(Work::Later) | Err(_) => thread::sleep(pause),
        }
    }
}

/// Drops what is asked for while nothing can be written, so that nobody waits for it.
fn turned_away<T>(asks: &mpsc::Receiver<T>) -> Work {
    loop {
        match asks.try_recv() {
            Ok(ask) => drop(ask),
            Err(mpsc::TryRecvError::Empty) => return Work::Later,
            Err(mpsc::TryRecvError::Disconnected) => return Work::Done,
        }
    }
}

/// A text that is under way.
struct Open<'m> {
    index: usize,
    to: Ear,
    /// The text of its tokens as they come, where their probabilities are asked for, and its characters so far. What was given out would not
    /// do to count by: it is behind where a text to stop at may have begun.
    pieces: Pieces<'m>,
    at: usize,
    /// Free again when this is dropped.
    place: Place,
}

impl Open<'_> {
    /// The next of its tokens with where they begin.
    fn scored(&mut self, tokens: Vec<(u32, Option<TokenScores>)>) -> Vec<Scored> {
        let asked = tokens.into_iter().filter_map(|(id, scores)| Some((id, scores?)));
        let placed = asked.map(|(id, scores)| {
            let at = self.at;
            // What cannot be decoded ends the text where it is written, which is told there.
            self.at += self.pieces.push(id).map_or(0, |text| text.chars().count());
            Scored { id, at, scores }
        });
        placed.collect()
    }
}

/// Where the thread works.
struct Desk<'m> {
    batcher: TextBatcher<'m>,
    model: &'m LanguageModel,
    open: HashMap<RequestId, Open<'m>>,
    counts: &'m Counts,
}

impl Desk<'_> {
    /// Writes until nobody can ask any more.
    fn work(&mut self, asks: &mpsc::Receiver<(Ask, Place)>) {
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

    fn accept(&mut self, ask: Ask, place: Place) {
        let Ask { request, stops, index, to } = ask;
        match self.batcher.push(request, stops.iter().map(String::as_str)) {
            Ok(id) => {
                let pieces = self.model.tokenizer().pieces();
                self.open.insert(id, Open { index, to, pieces, at: 0, place });
            }
            Err(error) => {
                let ended = Ended::Failed(Refusal::in_a_text(&error));
                // As where a text ends: free before its client can have the answer.
                drop(place);
                let _ = to.send((index, Told::End(ended, Usage::default())));
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
                if let Some(open) = self.open.get_mut(&request) {
                    let tokens = open.scored(tokens);
                    let _ = open.to.send((open.index, Told::Piece(text, tokens)));
                }
            }
            TextEvent::End { request, reason, usage } => {
                self.add(usage);
                let ended = match reason {
                    Finish::Stop => Ended::Stop,
                    Finish::Failed(error) => Ended::Failed(Refusal::in_a_text(&error)),
                    _ => Ended::Length,
                };
                if let Some(Open { index, to, place, .. }) = self.open.remove(&request) {
                    // Free before its client can have the answer, and ask for another.
                    drop(place);
                    let _ = to.send((index, Told::End(ended, usage)));
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
        until_done(Duration::ZERO, || {
            while let Ok((n, to)) = to_write.recv() {
                assert_ne!(n, 1, "an operation that fails");
                written.push((n, to));
            }
            Work::Done
        });
        let written: Vec<i32> = written.into_iter().map(|(n, _)| n).collect();
        assert_eq!(written, [0, 2]);
        assert!(ends.iter().all(|end| end.recv().is_err()), "all have ended");
    }

    #[test]
    fn work_that_cannot_begin_is_tried_again_and_keeps_nobody_waiting() {
        let (asks, to_write) = mpsc::channel();
        let (to, end) = mpsc::channel::<()>();
        asks.send(to).unwrap();
        let mut tries = 0;
        until_done(Duration::ZERO, || {
            tries += 1;
            if tries < 3 { turned_away(&to_write) } else { Work::Done }
        });
        assert_eq!(tries, 3);
        assert!(end.recv().is_err(), "who asked meanwhile was told");
        drop(asks);
        assert!(matches!(turned_away(&to_write), Work::Done));
    }
}
