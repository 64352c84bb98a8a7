//! Damaged and hostile files: an error or a sound model, never a panic, and no more memory than a small multiple of the
//! file's size. A few thousand mutations in the ordinary run; 100,000 of each kind by
//! `cargo test --release -p cairn-nn --all-features --test hostile -- --ignored`.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cairn_nn::spec::{BatchNorm, Conv2d, Dense};
use cairn_nn::weights::Weights;
use cairn_nn::{Activation::Relu, Flatten, Module, Sequential};
use cairn_tensor::{AnyTensor, rng};
use peak_alloc::PeakAlloc;

/// The splitmix64 sequence.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// One to four changes: bytes, digits and lengths overwritten, pieces cut, doubled or inserted.
fn mutate(good: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=draw.below(3) {
        if bytes.is_empty() {
            break;
        }
        // Headers are a small part of a file, and the part that decides: half of the changes go there.
        let reach = if draw.below(2) == 0 { bytes.len() } else { bytes.len().min(300) };
        let at = draw.below(reach);
        match draw.below(8) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = draw.next() as u8,
            2 => bytes[at] = b"0123456789\"{}[],:"[draw.below(17)],
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + draw.below(16)).min(bytes.len()))),
            5 => {
                let piece = bytes[at..(at + 1 + draw.below(32)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let digits = b"99999999999999999"[..1 + draw.below(17)].to_vec();
                bytes.splice(at..at, digits);
            }
            _ => {
                let large = [u64::MAX, 1 << 62, 1 << 40, 1 << 31, 0][draw.below(5)].to_le_bytes();
                let width = 1 + draw.below(8);
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&large[8 - width..8 - width + end - at]);
            }
        }
    }
    bytes
}

fn model() -> Sequential {
    let builder = Sequential::new([5, 5, 2])
        .add(Conv2d::new(3, 3).activation(Relu))
        .add(BatchNorm::new())
        .add(Flatten)
        .add(Dense::new(4));
    builder.build(&mut rng(0)).unwrap()
}

/// Counts what is asked of the system's allocator.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;
/// One attack at a time: the counters are those of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs mutations of a file through a reader, which says how many values it read. Reading may take `most` for a file's
/// size.
fn attack(
    name: &str,
    count: usize,
    most: impl Fn(usize) -> usize,
    good: impl Fn(&Path),
    repair: impl Fn(&mut Vec<u8>, &mut Draw),
    read: impl Fn(&Path) -> Option<usize>,
) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    good(&path);
    let bytes = fs::read(&path).unwrap();
    let values = read(&path).expect("the file is good before it is changed");
    let (mut accepted, mut worst) = (0, 0);
    let mut draw = Draw(7);
    for _ in 0..count {
        let mut changed = mutate(&bytes, &mut draw);
        repair(&mut changed, &mut draw);
        fs::write(&path, &changed).unwrap();
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let read = read(&path);
        let taken = HEAP.peak_usage() - before;
        worst = worst.max(taken);
        assert!(taken <= most(changed.len()), "{taken} bytes of memory for a file of {}", changed.len());
        if let Some(values) = read {
            accepted += 1;
            assert!(values * 4 <= most(changed.len()), "{values} values from {} bytes", changed.len());
        }
    }
    assert!(accepted < count && values > 0);
    println!("{name}, {} bytes: {accepted} of {count} mutations accepted, {worst} bytes taken", bytes.len());
}

fn safetensors(count: usize) {
    let total = |weights: Weights| weights.tensors.values().map(AnyTensor::len).sum();
    attack(
        "model.safetensors",
        count,
        |size| 32 * size + (64 << 10),
        |path| Weights::of(&model()).note("by", "test").write_safetensors(path).unwrap(),
        |_, _| {},
        |path| Weights::read_safetensors(path).ok().map(total),
    );
}

fn cairn(count: usize) {
    attack(
        "model.cairn",
        count,
        // serde reserves up to a mebibyte for a sequence before it has seen it.
        |size| 32 * size + (4 << 20),
        |path| model().save(path).unwrap(),
        |bytes, draw| {
            // Mostly with the right length and checksum, so that the content itself is read.
            if bytes.len() > 32 && draw.below(8) > 0 {
                bytes[..16].copy_from_slice(b"CAIRN\r\n\0\x02\0\0\0\x01\0\0\0");
                let (length, sum) = ((bytes.len() - 32) as u64, crc32fast::hash(&bytes[32..]));
                bytes[16..24].copy_from_slice(&length.to_le_bytes());
                bytes[24..28].copy_from_slice(&sum.to_le_bytes());
                bytes[28..32].fill(0);
            }
        },
        |path| Sequential::load(path).ok().map(|model| model.parameter_count()),
    );
}

#[test]
fn mutated_safetensors() {
    safetensors(3000);
}

#[test]
fn mutated_models() {
    cairn(3000);
}

#[test]
#[ignore = "takes a minute"]
fn a_hundred_thousand_mutated_safetensors() {
    safetensors(100_000);
}

#[test]
#[ignore = "a quarter of a minute"]
fn a_hundred_thousand_mutated_models() {
    cairn(100_000);
}

#[cfg(feature = "npz")]
mod archives {
    use cairn_tensor::{AnyTensor, Tensor};

    use super::{Draw, Weights, attack, fs, model};

    /// A zip archive of one uncompressed file with the right checksum: what is wrong is inside.
    fn stored(name: &str, content: &[u8]) -> Vec<u8> {
        let (sum, size) = (crc32fast::hash(content).to_le_bytes(), (content.len() as u32).to_le_bytes());
        let length = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time and date, then checksum, sizes and length of the name.
        let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &sum, &size, &size, &length, &[0, 0]].concat();
        let local = [b"PK\x03\x04", common.as_slice(), name.as_bytes(), content].concat();
        let central = [b"PK\x01\x02\x14\0", common.as_slice(), &[0; 14], name.as_bytes()].concat();
        let (at, extent) = ((local.len() as u32).to_le_bytes(), (central.len() as u32).to_le_bytes());
        let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", extent.as_slice(), &at, &[0, 0]].concat();
        [local, central, end].concat()
    }

    fn both(count: usize) {
        let total = |weights: Weights| weights.tensors.values().map(AnyTensor::len).sum();
        let read = |path: &std::path::Path| Weights::read_npz(path).ok().map(total);
        // What is unpacked, converted, and the tables of the decompressor.
        let most = |size: usize| 2 * (16 * size + (1 << 20)) + (1 << 18);
        let good = |path: &std::path::Path| Weights::of(&model()).write_npz(path).unwrap();
        attack("model.npz", count, most, good, |_, _| {}, read);

        let folder = tempfile::tempdir().unwrap();
        let npy = folder.path().join("x.npy");
        Tensor::<f32>::ones([30, 20]).unwrap().write_npy(&npy).unwrap();
        let content = fs::read(&npy).unwrap();
        let inside = |bytes: &mut Vec<u8>, draw: &mut Draw| {
            *bytes = stored("x.npy", &super::mutate(&content, draw));
        };
        attack(
            "stored.npz",
            count,
            most,
            |path| fs::write(path, stored("x.npy", &content)).unwrap(),
            inside,
            read,
        );
    }

    #[test]
    fn mutated_archives() {
        both(1500);
    }

    #[test]
    #[ignore = "takes a minute"]
    fn a_hundred_thousand_mutated_archives() {
        both(100_000);
    }
}
