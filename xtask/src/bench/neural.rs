//! Networks that recommend. Models of the next item: an epoch of training on generated sequences of the lengths of Amazon Beauty (skewed, 9
//! on average, at most 50) and of MovieLens 1M (108 on average, at most 200), and a session answered from 50,000 items. Models of sets, and
//! those with features: an epoch, of ALS a sweep with features and without.
//!
//! Seconds an epoch are differences of two trainings, which leaves out the start and the end; the least of the repetitions counts.
//! Users and items follow from formulas, so that another library can be given the same.

use std::time::Instant;

use cairn_recsys::features::{
    FactorizationMachine, FeatureAls, FeatureMatrix, FeatureRow, FeatureTable, LightFm,
};
use cairn_recsys::{
    Als, AnnSettings, Estimator, Filter, Gru4Rec, IdMap, Interactions, ItemIdx, LightGcn, MultVae, Sasrec,
    synthetic,
};

use super::{Bench, Recorder, best_seconds};

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "neural", run };

/// Sequences of a generated log: how many, over how many items, the mean of an exponential length, and its bounds.
struct Shape {
    name: &'static str,
    users: u32,
    items: u32,
    mean: f64,
    least: u32,
    most: u32,
}

const SHAPES: [Shape; 2] = [
    Shape { name: "Beauty-like", users: 2560, items: 54_542, mean: 5.8, least: 3, most: 50 },
    Shape { name: "ML-1M-like", users: 640, items: 3_416, mean: 146.0, least: 20, most: 200 },
];
/// Pairs of trainings, of one epoch and of so many more.
const REPEATS: usize = 3;
const MORE: usize = 2;
/// Items that a session is answered from, all of them met in training, and items of a session.
const CATALOGUE: u32 = 50_000;
const SESSION: u32 = 10;

impl Shape {
    /// The length of a user's sequence, one more than there are steps: by the golden ratio spread evenly over the distribution.
    fn length(&self, user: u32) -> u32 {
        let share = (f64::from(user) * 0.618_033_988_749_894_9).fract();
        let drawn = f64::from(self.least) - self.mean * (1.0 - share).ln();
        (drawn as u32).min(self.most) + 1
    }

    fn log(&self) -> anyhow::Result<Interactions> {
        let items = u64::from(self.items);
        // By a multiplicative hash, so that items are met all over the catalogue.
        let item = |user: u32, time: u32| {
            let mixed = (u64::from(user) << 32 | u64::from(time)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed >> 33) % items) as u32
        };
        let rows = (0..self.users).flat_map(|user| {
            (0..self.length(user)).map(move |time| (user, item(user, time), 1.0, i64::from(time)))
        });
        Ok(Interactions::from_ratings(rows)?)
    }
}

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    for shape in SHAPES {
        let log = shape.log()?;
        let length = shape.most as usize;
        let sasrec = |epochs| Sasrec::new().max_length(length).epochs(epochs).patience(None);
        let gru = |epochs| Gru4Rec::new().max_length(length).epochs(epochs).patience(None);
        let work = |model: &str| format!("{model} {} d=64 length {length}", shape.name);
        let seconds = epoch(|epochs| Ok(sasrec(epochs).fit(&log)?))?;
        recorder.recommender(&work("SASRec"), "full softmax", "seconds_per_epoch", seconds)?;
        let seconds = epoch(|epochs| Ok(gru(epochs).fit(&log)?))?;
        recorder.recommender(&work("GRU4Rec"), "full softmax", "seconds_per_epoch", seconds)?;
    }
    sessions(recorder)?;
    sets(recorder)
}

/// Models of sets and with features, on a log with the shape and the skew of MovieLens 1M.
fn sets(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let matrix = synthetic::power_law(6040, 3706, 1_600_000, 0)?;
    let mut record = |model: &str, how: &str, seconds: f64| {
        recorder.recommender(&format!("{model} ML-1M-like"), how, "seconds_per_epoch", seconds)
    };
    let seconds = epoch(|epochs| Ok(MultVae::new().epochs(epochs).fit_matrix(&matrix)?))?;
    record("Mult-VAE", "600-200-600, batches of 500", seconds)?;
    let als = Als::new();
    let seconds = epoch(|epochs| Ok(als.clone().epochs(epochs).fit_matrix(&matrix)?))?;
    record("ALS", "f=64", seconds)?;
    let features = features(matrix.n_cols() as u32)?;
    let with = |epochs| FeatureAls::new(als.clone().epochs(epochs)).item_features(&features);
    let seconds = epoch(|epochs| Ok(with(epochs).fit_matrix(&matrix)?))?;
    record("ALS with features", "f=64, 26 features of items", seconds)?;
    let light_fm = LightFm::new().factors(64);
    let seconds = epoch(|epochs| Ok(light_fm.clone().epochs(epochs).fit_matrix(&matrix)?))?;
    record("LightFM", "WARP, f=64", seconds)?;
    let machine = FactorizationMachine::new().negatives(1).batch_size(4096);
    let seconds = epoch(|epochs| Ok(machine.clone().epochs(epochs).fit_matrix(&matrix)?))?;
    record("FM", "f=16, a negative each", seconds)?;
    // One step of many: vectors go along the whole graph in each.
    let graph = synthetic::power_law(943, 1682, 160_000, 0)?;
    let seconds = epoch(|epochs| Ok(LightGcn::new().epochs(epochs).fit_matrix(&graph)?))?;
    recorder.recommender("LightGCN ML-100K-like", "f=64, 3 layers", "seconds_per_epoch", seconds)
}

/// Two categories for each item, as a genre and a decade.
fn features(items: u32) -> anyhow::Result<FeatureMatrix<ItemIdx>> {
    let row = |item: u32| {
        let (genre, decade) = (item % 18, item / 7 % 8);
        FeatureRow::new().category("genre", &genre.to_string()).category("decade", &decade.to_string())
    };
    let table = FeatureTable::new((0..items).map(|item| (item, row(item))))?;
    Ok(FeatureMatrix::new(&table, &IdMap::from_ids(0..items)?)?)
}

/// Seconds that one more epoch takes: the median over pairs of trainings, one right after the other, since a difference of bests
/// would be of two moods of the machine.
fn epoch<T>(train: impl Fn(usize) -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let seconds = |epochs| {
        let started = Instant::now();
        train(epochs)?;
        anyhow::Ok(started.elapsed().as_secs_f64())
    };
    let pair = |_| Ok((seconds(1 + MORE)? - seconds(1)?) / MORE as f64);
    let mut pairs = (0..REPEATS).map(pair).collect::<anyhow::Result<Vec<f64>>>()?;
    pairs.sort_by(f64::total_cmp);
    Ok(pairs[REPEATS / 2])
}

/// A list of ten for somebody unknown, from all items and by the index.
fn sessions(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let rows = (0..CATALOGUE).map(|item| (item / SESSION, item, 1.0, i64::from(item % SESSION)));
    let log = Interactions::from_ratings(rows)?;
    let session: Vec<u32> = (0..SESSION).map(|n| n * 4999).collect();
    let models = [
        ("SASRec", Sasrec::new().epochs(1).patience(None).fit(&log)?),
        ("GRU4Rec", Gru4Rec::new().epochs(1).patience(None).fit(&log)?),
    ];
    for (name, exact) in models {
        let work = format!("top-10 of {} for a session, {name} d=64", exact.catalog().items.len());
        for (how, model) in [("exact", &exact), ("index", &exact.with_index(AnnSettings::new())?)] {
            let seconds = best_seconds(|| {
                model.recommend_session(&session, 10, &Filter::unseen())?;
                Ok(())
            })?;
            recorder.recommender(&work, how, "ms", seconds * 1e3)?;
        }
    }
    Ok(())
}
