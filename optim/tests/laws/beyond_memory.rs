//! Training on data that are five times as large as the memory that the program may take: it ends with the bits of a run that has all of them
//! in memory, also after a stop in the middle of an epoch. The limit is set for this program started again, see [`child`].
#![cfg(target_os = "linux")]

use std::path::Path;

use cairn_datasets::text::{TokenFile, WindowDataset};
use cairn_datasets::{Dataset, NpyDataset, TensorDataset};
use cairn_nn::{Model, Sequential, SparseCategoricalCrossentropy, spec};
use cairn_optim::{Adam, Batch, Callback, Control, Fit, Result, Trainer};
use cairn_tensor::{NpyWriter, Tensor, rng};

use crate::child;

/// What a child may take, in KiB: all its memory but the program's own text (`ulimit -d`), stacks of its threads included.
const LIMIT: usize = 12 * 1024;
const DATA: u64 = 5 * 1024 * LIMIT as u64;

const SAMPLES: usize = 15 * 1024;
/// Of four bytes each.
const PIXELS: usize = 1024;
const PARTS: usize = 4;
/// So many that an id takes four bytes.
const VOCABULARY: usize = 100_000;
const TOKENS: usize = 15 * 1024 * 1024 + 1024;

/// Stops a run after so many batches.
struct Stop(usize);

impl Callback for Stop {
    fn on_batch(&mut self, _: &Batch, control: &mut Control<'_>) -> Result<()> {
        self.0 -= 1;
        if self.0 == 0 {
            control.stop();
        }
        Ok(())
    }
}

/// Trains for two epochs of 320 batches, or goes on with that, and stops after so many.
fn train<M, D>(model: &M, data: &D, path: &Path, batches: usize)
where
    M: Model<D::Input>,
    D: Dataset<Target = Tensor<u32>> + Sync,
    D::Input: Send,
{
    let fit = Fit::epochs(2).batch_size(data.len().div_ceil(320)).shuffle_blocks(100, 7).seed(5);
    let fit = fit.checkpoint(path, 1000).resume().callback(Stop(batches)).quiet();
    Trainer::new(Adam::new(0.001).lazy(true), SparseCategoricalCrossentropy).fit(model, data, fit).unwrap();
}

fn noise(i: usize) -> usize {
    let x = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as usize
}

/// Pixels of some samples of a part.
fn pixels(part: usize, first: usize, count: usize) -> Vec<f32> {
    let start = (part * SAMPLES / PARTS + first) * PIXELS;
    (start..start + count * PIXELS).map(|i| (noise(i) % 256) as f32 / 255.0).collect()
}

fn labels(part: usize) -> Vec<u32> {
    (0..SAMPLES / PARTS).map(|i| (noise(part * SAMPLES + i) % 10) as u32).collect()
}

fn pairs(folder: &Path) -> impl Iterator<Item = (std::path::PathBuf, std::path::PathBuf)> {
    let folder = folder.to_owned();
    (0..PARTS).map(move |part| (folder.join(format!("x{part}.npy")), folder.join(format!("y{part}.npy"))))
}

fn classifier() -> Sequential {
    Sequential::new([PIXELS]).add(spec::Dense::new(10)).build(&mut rng(1)).unwrap()
}

/// The part of a child: as much of the run as it is told to.
#[test]
fn npy_run() {
    let Some(folder) = child::folder() else { return };
    let batches = std::fs::read_to_string(folder.join("batches")).unwrap().parse().unwrap();
    let data = NpyDataset::<f32, u32>::open_parts(pairs(&folder)).unwrap();
    train(&classifier(), &data, &folder.join("run.cairn"), batches);
}

/// As much as that does not fit into the memory of a child.
#[test]
fn npy_whole() {
    let Some(folder) = child::folder() else { return };
    let parts: Vec<_> = pairs(&folder).map(|(x, _)| Tensor::<f32>::read_npy(x)).collect();
    assert!(parts.iter().any(Result::is_err), "the limit does not hold");
}

fn under_the_limit(test: &str, folder: &Path) {
    let mut command = child::command_after(&format!("ulimit -d {LIMIT}"), test, folder);
    command.args(["--test-threads", "1"]).env("RAYON_NUM_THREADS", "1").env("RUST_MIN_STACK", "524288");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{test}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// A run in two parts under the limit, the first of which ends in the middle of the second epoch.
fn in_two_parts(test: &str, folder: &Path) -> Vec<u8> {
    for batches in ["433", "1000"] {
        std::fs::write(folder.join("batches"), batches).unwrap();
        under_the_limit(test, folder);
    }
    std::fs::read(folder.join("run.cairn")).unwrap()
}

#[test]
fn samples_on_disk_train_to_the_bits_of_samples_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut all, mut bytes) = (Vec::new(), 0);
    for (part, (x, y)) in pairs(folder).enumerate() {
        let mut file = NpyWriter::create(&x, [PIXELS]).unwrap();
        for first in (0..SAMPLES / PARTS).step_by(256) {
            let rows = pixels(part, first, 256);
            all.extend_from_slice(&rows);
            file.add(&Tensor::from_vec(rows, [256, PIXELS]).unwrap()).unwrap();
        }
        file.finish().unwrap();
        Tensor::from_vec(labels(part).into_iter().map(i64::from).collect(), [SAMPLES / PARTS])
            .unwrap()
            .write_npy(y)
            .unwrap();
        bytes += x.metadata().unwrap().len();
    }
    assert!(bytes >= DATA);
    under_the_limit("beyond_memory::npy_whole", folder);
    let found = in_two_parts("beyond_memory::npy_run", folder);
    let targets = (0..PARTS).flat_map(labels).collect();
    let data = TensorDataset::new(
        Tensor::from_vec(all, [SAMPLES, PIXELS]).unwrap(),
        Tensor::from_vec(targets, [SAMPLES]).unwrap(),
    );
    let path = folder.join("in_memory.cairn");
    train(&classifier(), &data.unwrap(), &path, 1000);
    assert!(std::fs::read(path).unwrap() == found);
}

/// The ids of a long text, of which few differ.
fn token(i: usize) -> u32 {
    (noise(i / 3) % 64) as u32
}

fn bigram() -> Sequential {
    let model = Sequential::new([16]).add(spec::Embedding::new(64, 8)).add(spec::Dense::new(64));
    model.build(&mut rng(2)).unwrap()
}

/// As [`npy_run`].
#[test]
fn tokens_run() {
    let Some(folder) = child::folder() else { return };
    let batches = std::fs::read_to_string(folder.join("batches")).unwrap().parse().unwrap();
    let data = TokenFile::open(folder.join("tokens.bin"), VOCABULARY).unwrap().windows(16, 3072).unwrap();
    train(&bigram(), &data, &folder.join("run.cairn"), batches);
}

#[test]
fn tokens_on_disk_train_to_the_bits_of_tokens_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("tokens.bin");
    TokenFile::write(&file, VOCABULARY, (0..TOKENS).map(token)).unwrap();
    assert!(file.metadata().unwrap().len() >= DATA);
    let found = in_two_parts("beyond_memory::tokens_run", folder);
    let data = WindowDataset::new((0..TOKENS).map(token).collect(), 16, 3072).unwrap();
    let path = folder.join("in_memory.cairn");
    train(&bigram(), &data, &path, 1000);
    assert!(std::fs::read(path).unwrap() == found);
}
