//! Helper threads that share one job with the thread that has it.
//!
//! Why not rayon's own threads: a thread outside rayon's pool that calls into it hands all its work over and sleeps until
//! it is done, so an operation of 50 µs waits for two or three wake-ups that take as long. Here the caller works too, and
//! helpers only take pieces that are left: if none wakes up in time, the caller has done it all, and nothing was lost.
//! Helpers look out for the next job for a short while before they sleep, because operations follow each other closely.
//!
//! How many threads take part is still rayon's number (see [`threads`](super::threads)).
//!
//! Pieces are dealt out in shares, one for each thread that may take part, of pieces that lie side by side; a thread begins
//! with its own and then takes what is left of the others'. So the same part of a tensor comes to the same core in one
//! operation after the other, and is found in that core's own cache, where pieces taken in turn would wander.
//!
//! There is one job at a time. A thread that comes with another one meanwhile, or a task that has work to split itself,
//! does its pieces alone; so nothing can wait for itself.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a helper looks out for the next job before it sleeps.
const LOOK_OUT: Duration = Duration::from_micros(60);
/// More helpers than this are never started.
const MOST: usize = 256;
/// Set in [`Pool::gate`] while helpers may join.
const OPEN: usize = 1 << (usize::BITS - 1);

/// The job at hand.
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    pieces: usize,
    helpers: usize,
}

/// The next piece of a share that nobody has taken; alone on its cache lines, as threads write to them all the time.
#[repr(align(128))]
struct Share(AtomicUsize);

struct Pool {
    /// Whether a job is being done.
    busy: AtomicBool,
    job: UnsafeCell<Option<Job>>,
    /// [`OPEN`], and the number of helpers within the job.
    gate: AtomicUsize,
    /// The caller's share, then the helpers'.
    shares: [Share; MOST + 1],
    /// Counts jobs, for helpers to see that there is a new one.
    generation: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    started: Mutex<usize>,
    sleeping: AtomicUsize,
    lock: Mutex<()>,
    bell: Condvar,
}

// SAFETY: `job` is written by the thread that holds `busy`, while the gate is shut and no helper is within; helpers read
// it only within. The pointer in it is used under the same rule, which keeps what it points to alive (see `run`).
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    busy: AtomicBool::new(false),
    job: UnsafeCell::new(None),
    gate: AtomicUsize::new(0),
    shares: [const { Share(AtomicUsize::new(0)) }; MOST + 1],
    generation: AtomicUsize::new(0),
    panic: Mutex::new(None),
    started: Mutex::new(0),
    sleeping: AtomicUsize::new(0),
    lock: Mutex::new(()),
    bell: Condvar::new(),
};

/// Calls `task` with each number below `pieces` once, on this thread and up to `threads - 1` others.
pub(crate) fn run(threads: usize, pieces: usize, task: &(dyn Fn(usize) + Sync)) {
    let pool = &POOL;
    if threads < 2 || pieces < 2 || pool.busy.swap(true, Ordering::Acquire) {
        return (0..pieces).for_each(task);
    }
    let helpers = (threads - 1).min(MOST).min(pieces - 1);
    pool.start(helpers);
    // SAFETY: this only forgets the lifetime. Helpers use the reference within the gate, and this function does not
    // return, by a panic neither, before the gate is shut and all of them have left.
    let task_pointer: *const (dyn Fn(usize) + Sync) =
        unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task) };
    // SAFETY: `busy` is ours, the gate is shut and no helper is within.
    unsafe { *pool.job.get() = Some(Job { task: task_pointer, pieces, helpers }) };
    for share in 0..=helpers {
        pool.shares[share].0.store(first_of(share, pieces, helpers), Ordering::Relaxed);
    }
    pool.gate.store(OPEN, Ordering::Release);
    pool.generation.fetch_add(1, Ordering::SeqCst);
    if pool.sleeping.load(Ordering::SeqCst) > 0 {
        let _lock = pool.lock.lock().unwrap_or_else(PoisonError::into_inner);
        pool.bell.notify_all();
    }
    pool.work(0, pieces, helpers, task);
    pool.gate.fetch_and(!OPEN, Ordering::AcqRel);
    let mut turns = 0u32;
    while pool.gate.load(Ordering::Acquire) != 0 {
        turns += 1;
        if turns < 10_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
    let panic = pool.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    pool.busy.store(false, Ordering::Release);
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

/// The first piece of a share, of which there are `helpers + 1`; for the one past the last, `pieces`.
fn first_of(share: usize, pieces: usize, helpers: usize) -> usize {
    let (size, larger) = (pieces / (helpers + 1), pieces % (helpers + 1));
    share * size + share.min(larger)
}

impl Pool {
    /// Takes pieces until none are left, those of share `own` first. A panic ends the job: it is kept for the caller, and
    /// the pieces left are dropped.
    fn work(&self, own: usize, pieces: usize, helpers: usize, task: &(dyn Fn(usize) + Sync)) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            for turn in 0..=helpers {
                let share = (own + turn) % (helpers + 1);
                let end = first_of(share + 1, pieces, helpers);
                loop {
                    let piece = self.shares[share].0.fetch_add(1, Ordering::Relaxed);
                    if piece >= end {
                        break;
                    }
                    task(piece);
                }
            }
        }));
        if let Err(panic) = result {
            self.shares[..=helpers].iter().for_each(|share| share.0.store(pieces, Ordering::Relaxed));
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// Starts helpers until there are `helpers`. Where the system gives no more threads, those there are do the work.
    fn start(&'static self, helpers: usize) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        while *started < helpers {
            let number = *started + 1;
            let thread = std::thread::Builder::new().name(format!("cairn-{number}"));
            if thread.spawn(move || self.help(number)).is_err() {
                break;
            }
            *started += 1;
        }
    }

    /// A helper's life; helpers are numbered from 1.
    fn help(&self, number: usize) {
        let mut seen = self.generation.load(Ordering::SeqCst).wrapping_sub(1);
        loop {
            self.await_job(seen);
            seen = self.generation.load(Ordering::SeqCst);
            if self.enter() {
                // SAFETY: within the gate the job stays as it is, and what it points to alive.
                if let Some(job) = unsafe { &*self.job.get() } {
                    let own = number % (job.helpers + 1);
                    // SAFETY: as above.
                    self.work(own, job.pieces, job.helpers, unsafe { &*job.task });
                }
                self.gate.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Goes in while the gate is open and there is room.
    fn enter(&self) -> bool {
        let mut gate = self.gate.load(Ordering::Acquire);
        while gate & OPEN != 0 {
            match self.gate.compare_exchange_weak(gate, gate + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: within the gate.
                    let room = unsafe { &*self.job.get() }.as_ref().map_or(0, |job| job.helpers);
                    if (gate & !OPEN) < room {
                        return true;
                    }
                    self.gate.fetch_sub(1, Ordering::Release);
                    return false;
                }
                Err(now) => gate = now,
            }
        }
        false
    }

    /// Returns when there has been a job after number `seen`.
    fn await_job(&self, seen: usize) {
        let begin = Instant::now();
        while begin.elapsed() < LOOK_OUT {
            for _ in 0..64 {
                if self.generation.load(Ordering::SeqCst) != seen {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        while self.generation.load(Ordering::SeqCst) == seen {
            lock = self.bell.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_also_from_several_threads_and_nested() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..300 {
                        let counts: Vec<AtomicUsize> = (0..turn % 40).map(|_| AtomicUsize::new(0)).collect();
                        let inner = AtomicUsize::new(0);
                        run(1 + turn % 4, counts.len(), &|i| {
                            counts[i].fetch_add(1, Ordering::Relaxed);
                            run(3, 2, &|_| _ = inner.fetch_add(1, Ordering::Relaxed));
                        });
                        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
                        assert_eq!(inner.load(Ordering::Relaxed), 2 * counts.len());
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for _ in 0..50 {
            let result = catch_unwind(|| run(3, 20, &|i| assert!(i != 7, "piece {i}")));
            let payload = result.expect_err("piece 7 panics");
            assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("piece 7"));
            let done = AtomicUsize::new(0);
            run(3, 20, &|_| _ = done.fetch_add(1, Ordering::Relaxed));
            assert_eq!(done.load(Ordering::Relaxed), 20);
        }
    }
}
