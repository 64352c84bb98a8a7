//! Every reader of Cairn as a function of bytes, with a valid file to begin with.
//!
//! A reader may give a value or an error for whatever bytes; it may not panic, hang, or take more memory than the file justifies.
//! `cargo test -p cairn-fuzz --features all` damages each valid file some hundred times, in the same way each time, or as often as
//! `CAIRN_MUTATIONS` says. `cargo +nightly fuzz run readers --fuzz-dir xtask/fuzz --features fuzz` lets coverage look for the bytes.
//! Both use the same functions, so that what one finds the other repeats. A reader is added by its line in the list of its file.

mod damage;
#[cfg(feature = "all")]
mod language;
mod logs;
mod models;
mod recommenders;
mod tables;
mod texts;

use std::fs;
use std::path::Path;

pub use damage::damaged;

/// A format: its name, a valid file, and what reads it.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// In lower case, of one word or joined by hyphens.
    pub name: &'static str,
    /// A valid file.
    pub sample: fn() -> Vec<u8>,
    /// Whether it can be read.
    pub read: fn(&[u8]) -> bool,
}

/// All of them, in an order that does not change between runs.
pub fn readers() -> Vec<Reader> {
    [tables::READERS, models::READERS, recommenders::READERS, texts::READERS, logs::READERS].concat()
}

/// Reads a file of this name, with folders before it where the name has them, in a new folder.
fn at<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().expect("a name in a folder")).expect("a folder can be made");
    fs::write(&path, bytes).expect("a file can be written");
    read(&path)
}

/// What a writer puts into a file.
fn written(write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("file");
    write(&path);
    fs::read(path).expect("the file was written")
}
