//! Arrays and pictures.

#[cfg(feature = "all")]
use std::fs;
use std::path::Path;

use cairn_datasets::{cifar10, idx};
use cairn_tensor::{AnyTensor, Tensor, rng};

use crate::{Reader, at, written};

pub(crate) const READERS: &[Reader] = &[
    Reader {
        name: "npy",
        sample: || written(|path| values().write_npy(path).expect("written")),
        read: |bytes| at("x.npy", bytes, |path| AnyTensor::read_npy(path).is_ok()),
    },
    Reader { name: "idx", sample: idx_bytes, read: |bytes| idx::read_from(bytes, Path::new("x"), 3).is_ok() },
    Reader {
        name: "cifar",
        sample: || vec![3; 2 * 3073],
        read: |bytes| at("x.bin", bytes, |path| cifar10::read(path).is_ok()),
    },
    #[cfg(feature = "all")]
    Reader { name: "npz", sample: npz, read: read_npz },
    #[cfg(feature = "all")]
    Reader {
        name: "npz-weights",
        sample: npz,
        read: |bytes| at("x.npz", bytes, |path| cairn_nn::weights::Weights::read_npz(path).is_ok()),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "png",
        sample: || picture("png"),
        read: |bytes| at("class/x.png", bytes, |path| images(path).load().is_ok()),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "jpeg",
        sample: || picture("jpg"),
        read: |bytes| at("class/x.jpg", bytes, |path| images(path).load().is_ok()),
    },
];

fn values() -> Tensor {
    Tensor::normal([3, 4], 0.0, 1.0, &mut rng(0)).expect("a small tensor")
}

fn idx_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    idx::write(&mut bytes, &idx::Idx { shape: vec![2, 3, 4], values: (0..24).collect() }).expect("written");
    bytes
}

#[cfg(feature = "all")]
fn npz() -> Vec<u8> {
    written(|path| {
        let mut archive = cairn_tensor::NpzWriter::create(path).expect("written");
        archive.add("a", &values()).expect("written");
        archive.add("b", &Tensor::scalar(true)).expect("written");
        archive.finish().expect("written");
    })
}

#[cfg(feature = "all")]
fn read_npz(bytes: &[u8]) -> bool {
    at("x.npz", bytes, |path| {
        let Ok(mut archive) = cairn_tensor::NpzReader::open(path) else { return false };
        archive.names().iter().all(|name| archive.dtype(name).is_ok() & archive.read_any(name).is_ok())
    })
}

#[cfg(feature = "all")]
fn images(path: &Path) -> cairn_datasets::ImageFolder {
    cairn_datasets::ImageFolder::new(path.ancestors().nth(2).unwrap_or(path)).max_bytes(64 << 20)
}

#[cfg(feature = "all")]
fn picture(ending: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join(format!("x.{ending}"));
    let noise =
        image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([(x * 31) as u8, (y * 53) as u8, (x * y) as u8]));
    noise.save(&path).expect("written");
    fs::read(path).expect("the file was written")
}
