//! An index in a file: which item is in which cell, beside a checksum of the vectors it was made for.
//!
//! The vectors themselves are in the model's file and are put in order again when the index is read, which is a fraction of the
//! time of k-means. Everything is checked against them: a damaged or forged file is an error, never a wrong list.

use std::ops::Deref;
use std::path::Path;

use cairn_files::container::Kind;
use serde::{Deserialize, Serialize};

use crate::fitted::Fitted;
use crate::ids::{Id, Index, ItemIdx};
use crate::index::cells::{Cells, norm, pad_to};
use crate::index::{ItemIndex, factors};
use crate::linalg::rows::padded;
use crate::models::factors::Vectors;
use crate::recommender::Recommender;
use crate::{Error, Result, codec};

const FORMAT: &str = "item-index";

#[derive(Serialize, Deserialize)]
struct File {
    format: String,
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

impl<F, M, U, I> ItemIndex<F>
where
    F: Deref<Target = Fitted<M, U, I>>,
    M: Recommender,
    U: Id,
    I: Id,
{
    /// Writes the index into a file, in one step, without the model: that has its own [`Fitted::save`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let Cells { centroids, starts, items, .. } = &self.cells;
        let file = File {
            format: FORMAT.to_owned(),
            vectors: checksum(&factors(&self.model)?.items),
            probes: self.probes,
            centroids: centroids.clone(),
            starts: starts.clone(),
            items: items.clone(),
        };
        codec::save(path.as_ref(), Kind::ItemIndex, &file)
    }

    /// Reads what [`save`](Self::save) wrote, for the same model. Gives the same lists, to the bit.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] for a file that is none, is damaged, or belongs to other vectors; and as
    /// [`build`](Self::build) for the model.
    pub fn load(path: impl AsRef<Path>, model: F) -> Result<Self> {
        let path = path.as_ref();
        let broken = |reason: &str| Error::ModelFile { path: path.to_owned(), reason: reason.to_owned() };
        let vectors = &factors(&model)?.items;
        let file: File = codec::load(path, Kind::ItemIndex)?;
        if file.format != FORMAT {
            return Err(broken("the file does not hold an index of items"));
        }
        if file.vectors != checksum(vectors) {
            return Err(broken("the index was made for other item vectors"));
        }
        let probes = file.probes;
        let cells =
            restore(file, vectors).ok_or_else(|| broken("the index does not fit the item vectors"))?;
        Ok(Self { model, cells, probes })
    }
}

/// The cells of a file with their vectors, if each item that can be scored is in one cell and everything else is in order.
fn restore(file: File, vectors: &Vectors) -> Option<Cells> {
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
    if !met.iter().all(|&met| met) {
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
