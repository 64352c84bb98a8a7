//! What models of the next item say of their memory before training is what it takes at most, and not far more. A program of its
//! own, since it counts every allocation.
#![cfg(feature = "neural")]

use std::sync::Mutex;

use cairn_recsys::{Bert4Rec, Estimator, Gru4Rec, Interactions, MultVae, Sasrec, SequenceLoss};
use cairn_tensor::trim_memory;
use faer::{Accum, Mat, Par};
use peak_alloc::PeakAlloc;
use rand::{RngExt, SeedableRng};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Two at once would count each other's memory.
static ALONE: Mutex<()> = Mutex::new(());

/// A log and the settings of models on it.
#[derive(Debug, Clone, Copy)]
struct Case {
    users: u32,
    items: u32,
    /// Items of each user: so many, or half of it at least.
    length: u32,
    even: bool,
    dim: usize,
    batch: usize,
}

impl Case {
    fn log(self) -> Interactions<u32, u32> {
        let Self { users, items, length, even, .. } = self;
        let mut rng = rand_pcg::Pcg64::seed_from_u64(3);
        // Every item is there, so that tables have the size that is asked for.
        let mut rows: Vec<_> =
            (0..items).map(|item| (item / length, item, 1.0_f32, i64::from(item % length))).collect();
        for user in items.div_ceil(length)..users {
            let length = if even { length } else { rng.random_range(length / 2..=length).max(2) };
            rows.extend((0..length).map(|t| (user, rng.random_range(0..items), 1.0, i64::from(t))));
        }
        Interactions::from_ratings(rows).unwrap()
    }
}

/// Engines of matrix products reserve address space for each thread when it first needs it, and keep it.
fn reserve() {
    let product = || {
        let (a, b) = (Mat::<f32>::ones(61, 67), Mat::<f32>::ones(67, 509));
        let mut product = Mat::zeros(61, 509);
        faer::linalg::matmul::matmul(&mut product, Accum::Replace, &a, &b, 1.0, Par::Seq);
        assert_eq!(product[(0, 0)], 67.0);
    };
    product();
    rayon::broadcast(|_| product());
}

/// The most bytes that there are at a time while this is made, beside those that there were.
fn most<R>(make: impl FnOnce() -> R) -> u64 {
    trim_memory();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let made = make();
    let taken = (ALLOCATOR.peak_usage() - before) as u64;
    drop(made);
    taken
}

/// Whether what was said is no less than what was taken, and not far more.
fn is_right(said: u64, taken: u64) -> bool {
    taken <= said && said <= 4 * taken
}

/// Bytes that the plan of a model says, and that training it takes.
macro_rules! said_and_taken {
    ($model:expr, $case:expr, $loss:expr) => {{
        let Case { length, dim, batch, .. } = $case;
        let model = $model.dim(dim).max_length(length as usize).batch_size(batch).loss($loss).epochs(2);
        let log = $case.log();
        (model.plan(&log).memory, most(|| model.fit(&log).unwrap()))
    }};
}

fn check(cases: &[Case], negatives: usize) {
    let _alone = ALONE.lock().unwrap();
    reserve();
    let mut wrong = Vec::new();
    for &case in cases {
        let sampled = SequenceLoss::SampledSoftmax { negatives, popularity: 0.0 };
        for loss in [SequenceLoss::Softmax, sampled, SequenceLoss::gbce()] {
            let mut all = vec![
                ("SASRec", said_and_taken!(Sasrec::new(), case, loss)),
                ("GRU4Rec", said_and_taken!(Gru4Rec::new(), case, loss)),
            ];
            if loss == SequenceLoss::Softmax {
                all.push(("BERT4Rec", said_and_taken!(Bert4Rec::new(), case, loss)));
            }
            for (name, (said, taken)) in all {
                let line = format!(
                    "{name}, {loss:?}, {case:?}: {said} said, {taken} taken, {:.2}",
                    said as f64 / taken as f64
                );
                println!("{line}");
                if !is_right(said, taken) {
                    wrong.push(line);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Many items, long histories, many users, wide vectors.
#[test]
fn plans_say_what_training_takes_at_most() {
    check(
        &[
            Case { users: 250, items: 4000, length: 20, even: false, dim: 32, batch: 32 },
            Case { users: 20, items: 300, length: 100, even: true, dim: 32, batch: 8 },
            Case { users: 1500, items: 200, length: 6, even: false, dim: 16, batch: 64 },
            Case { users: 40, items: 300, length: 20, even: false, dim: 96, batch: 16 },
        ],
        500,
    );
}

/// The same in the sizes that such models have.
#[test]
#[ignore = "takes minutes"]
fn plans_of_large_trainings_say_what_they_take_at_most() {
    check(
        &[
            Case { users: 1500, items: 20_000, length: 20, even: false, dim: 64, batch: 128 },
            Case { users: 60, items: 500, length: 200, even: false, dim: 64, batch: 16 },
            Case { users: 64, items: 500, length: 200, even: true, dim: 64, batch: 32 },
            Case { users: 6000, items: 300, length: 8, even: false, dim: 32, batch: 128 },
            Case { users: 150, items: 1000, length: 30, even: false, dim: 192, batch: 32 },
            Case { users: 20_000, items: 3000, length: 6, even: true, dim: 32, batch: 256 },
        ],
        3000,
    );
}

#[test]
fn an_autoencoder_takes_at_most_what_is_said() {
    let _alone = ALONE.lock().unwrap();
    for (users, items) in [(700, 1500), (150, 300)] {
        let log = Case { users, items, length: 30, even: false, dim: 16, batch: 64 }.log();
        let model = MultVae::new().epochs(2);
        reserve();
        let taken = most(|| model.fit(&log).unwrap());
        let said = model.memory_needed(log.n_users(), log.n_items());
        assert!(
            taken <= said && said <= 4 * taken,
            "{users} users, {items} items: {said} said, {taken} taken"
        );
    }
}
