//! The history as a table in a file, row by row.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::trainer::{Callback, Control, Epoch, History};
use crate::{Error, Result};

/// Writes each epoch as a row of comma-separated values, with a row of names on top. A run that is resumed writes the rows
/// of its earlier part again, so the file is always that of one whole run.
#[doc(alias = "CSVLogger")]
#[derive(Debug)]
pub struct CsvLog {
    path: PathBuf,
    file: Option<File>,
}

impl CsvLog {
    /// To this file; what is in it is replaced.
    pub fn new(path: impl AsRef<Path>) -> Self {
        CsvLog { path: path.as_ref().into(), file: None }
    }

    fn write(&mut self, epoch: &Epoch) -> Result<()> {
        let mut text = String::new();
        if self.file.is_none() {
            self.file = Some(File::create(&self.path).map_err(Error::file(&self.path))?);
            let names = epoch.values.iter().map(|(name, _)| name.as_str());
            text = row(std::iter::once("epoch").chain(names).chain(["seconds"]).map(quoted));
        }
        let values = epoch.values.iter().map(|(_, value)| value.to_string());
        let values = std::iter::once(epoch.epoch.to_string()).chain(values);
        // A checkpoint keeps no times.
        let seconds = if epoch.seconds == 0.0 { String::new() } else { epoch.seconds.to_string() };
        text += &row(values.chain([seconds]));
        match &mut self.file {
            Some(file) => file.write_all(text.as_bytes()).map_err(Error::file(&self.path)),
            None => Ok(()),
        }
    }
}

impl Callback for CsvLog {
    fn on_start(&mut self, history: &History, control: &mut Control<'_>) -> Result<()> {
        self.file = None;
        if !control.writes() {
            return Ok(());
        }
        history.epochs().iter().try_for_each(|epoch| self.write(epoch))
    }

    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        if control.writes() { self.write(epoch) } else { Ok(()) }
    }
}

fn row(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}

/// Users' metrics may have any name.
fn quoted(name: &str) -> String {
    if name.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}
