//! Event files for TensorBoard.
//!
//! A file is a series of records (TFRecord): the length as u64, its checksum, the content, its checksum, little-endian, the
//! checksums being CRC-32C, rotated and shifted so that the checksum of data with checksums in it stays one. Each content
//! is an `Event` of TensorFlow's event.proto, of which five fields are needed: wall time (1), step (2), file version (3),
//! and a summary (5) of values with a tag (1) and a number (2).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::trainer::{Callback, Control, Epoch, History};
use crate::{Error, Result};

/// Writes the values of each epoch, and the learning rate, as scalars for TensorBoard: those of training under their names,
/// those of validation under theirs. `tensorboard --logdir` on the folder shows them, one run for each subfolder.
#[doc(alias = "SummaryWriter")]
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    file: Option<(PathBuf, File)>,
}

impl TensorBoard {
    /// Into a new file in this folder, which is made if need be.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        TensorBoard { folder: folder.as_ref().into(), file: None }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.file {
            Some((path, file)) => file.write_all(bytes).map_err(Error::file(path)),
            None => Ok(()),
        }
    }
}

impl Callback for TensorBoard {
    fn on_start(&mut self, _: &History, control: &mut Control<'_>) -> Result<()> {
        if !control.writes() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(Error::file(&self.folder))?;
        let now = since_epoch();
        // Another name for each run, sorted by time, with the part that the reader looks for.
        let name = format!("events.out.tfevents.{:.6}.{}.cairn", now, std::process::id());
        let path = self.folder.join(name);
        let file = File::create_new(&path).map_err(Error::file(&path))?;
        self.file = Some((path, file));
        self.write(&record(&event(now, 0, 3, b"brain.Event:2")))
    }

    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        let mut summary = Vec::new();
        let rate = ("learning_rate".to_owned(), control.learning_rate());
        for (name, value) in epoch.values.iter().chain([&rate]) {
            let mut scalar = Vec::new();
            bytes(&mut scalar, 1, name.as_bytes());
            scalar.push(2 << 3 | FIXED32);
            scalar.extend((*value as f32).to_le_bytes());
            bytes(&mut summary, 1, &scalar);
        }
        self.write(&record(&event(since_epoch(), epoch.epoch as u64, 5, &summary)))
    }
}

/// Wire types of protocol buffers.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

fn event(time: f64, step: u64, field: u8, content: &[u8]) -> Vec<u8> {
    let mut event = vec![1 << 3 | FIXED64];
    event.extend(time.to_le_bytes());
    event.push(2 << 3 | VARINT);
    varint(&mut event, step);
    bytes(&mut event, field, content);
    event
}

/// A field of bytes, text or a message.
fn bytes(to: &mut Vec<u8>, field: u8, content: &[u8]) {
    to.push(field << 3 | BYTES);
    varint(to, content.len() as u64);
    to.extend(content);
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(&length));
    record.extend(content);
    record.extend(masked(content));
    record
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn since_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
