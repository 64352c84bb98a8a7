//! An index in a file: which item is in which cell, beside a checksum of the vectors it was made for.
//!
//! The vectors themselves are in the model's file and are put in order again when the index is read, which is a fraction of the
//! time of k-means. Everything is checked against them: a damaged or forged file is an error, never a wrong list.

use std::path::Path;
use std::sync::Arc;

use cairn_files::container::{self, Format, Kind};
use serde::{Deserialize, Serialize};

use crate::data::ids::{Id, Idx, ItemIdx};
use crate::linalg::rows::padded;
use crate::models::factors::Vectors;
use crate::recommender::Recommender;
use crate::serve::ann::AnnIndex;
use crate::serve::ann::cells::{Cells, norm, pad_to};
use crate::serve::fitted::Fitted;
use crate::{Error, Result};

/// Version 1 was in a container of its own, which is refused by that.
const FORMAT: Format = Kind::ItemIndex.version(2);

#[derive(Serialize, Deserialize)]
struct File {
    vectors: u32,
    probes: usize,
    centroids: Vec<f32>,
    starts: Vec<usize>,
    items: Vec<ItemIdx>,
}

/// CRC-32 of all vectors.
fn checksum(vectors: &Vectors) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for vector in vectors.as_slice().chunks(vectors.dim()) {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    hasher.finalize()
}

impl<M: Recommender + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    /// Writes the index into a file, in one step, without the model: that has its own [`save`](Self::save).
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unsupported`] without an index.
    pub fn save_index(&self, path: impl AsRef<Path>) -> Result<()> {
        let Some(AnnIndex { cells, probes }) = self.index() else {
            return Err(Error::Unsupported {
                model: self.model().name(),
                operation: "the file of an index it lacks",
            });
        };
        let file = File {
            vectors: checksum(&self.vectors()?.items),
            probes: *probes,
            centroids: cells.centroids.clone(),
            starts: cells.starts.clone(),
            items: cells.items.clone(),
        };
        Ok(container::save(path, FORMAT, &file)?)
    }

    /// The same model with the index that [`save_index`](Self::save_index) wrote for it. Gives the same lists, to the bit.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] for a file that is none, is damaged, or belongs to other vectors; and as
    /// [`with_index`](Self::with_index) for the model.
    pub fn load_index(&self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let broken = |reason: &str| Error::ModelFile { path: path.to_owned(), reason: reason.to_owned() };
        let vectors = &self.vectors()?.items;
        let file: File = container::load(path, FORMAT)?;
        if file.vectors != checksum(vectors) {
            return Err(broken("the index was made for other item vectors"));
        }
        let probes = file.probes;
        let cells = restore(file, vectors, |item| self.knows_item(item))
            .ok_or_else(|| broken("the index does not fit the item vectors"))?;
        Ok(self.indexed_by(Some(AnnIndex { cells: Arc::new(cells), probes })))
    }
}

/// The cells of a file with their vectors, if each item that is `known` and can be scored is in one cell and everything else is in order.
fn restore(file: File, vectors: &Vectors, known: impl Fn(ItemIdx) -> bool) -> Option<Cells> {
    let File { probes, centroids, starts, items, .. } = file;
    let width = padded(vectors.dim());
    let ascending = starts.first() == Some(&0) && starts.windows(2).all(|pair| pair[0] < pair[1]);
    if probes == 0 || !ascending || starts.last() != Some(&items.len()) {
        return None;
    }
    if centroids.len() != (starts.len() - 1) * width || !centroids.iter().all(|x| x.is_finite()) {
        return None;
    }
    let mut met: Vec<bool> = (0..vectors.len()).map(|item| !norm(vectors.get(item)).is_finite()).collect();
    for item in &items {
        // Out of range, left out or twice.
        if std::mem::replace(met.get_mut(item.at())?, true) {
            return None;
        }
    }
    // Those that are not known are in a cell only in files made before they were left out.
    if !(0..).map(ItemIdx).zip(&met).all(|(item, &met)| met || !known(item)) {
        return None;
    }
    let norms: Vec<f32> = items.iter().map(|item| norm(vectors.get(item.at())) as f32).collect();
    let descending = |cell: &[usize]| norms[cell[0]..cell[1]].is_sorted_by(|a, b| a >= b);
    if !starts.windows(2).all(descending) {
        return None;
    }
    let mut table = Vec::with_capacity(items.len() * width);
    items.iter().for_each(|item| pad_to(&mut table, vectors.get(item.at()), width));
    Some(Cells { width, centroids, starts, items, norms, vectors: table })
}
