//! Batches of a data set, in order or shuffled anew each epoch.
//!
//! The order of an epoch is a function of the seed and the epoch's number alone. Training that is interrupted and resumed
//! at epoch 7 sees the batches it would have seen, and nothing depends on threads or on what was iterated before.

use std::sync::Arc;

use cairn_tensor::Rng;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::random;

/// Divides a data set into batches.
///
/// ```
/// use cairn_datasets::{synthetic, Loader};
/// let digits = synthetic::digits(100, 7)?;
/// let loader = Loader::new(&digits).shuffle(1);
/// assert_eq!(loader.batches(), 4);
/// for epoch in 0..2 {
///     for batch in loader.epoch(epoch)? {
///         let (images, labels) = batch?;
///         assert_eq!(images.shape()[0], labels.len());
///     }
/// }
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("DataLoader", "BatchSampler"))]
#[derive(Debug, Clone)]
pub struct Loader<D> {
    data: D,
    batch_size: usize,
    seed: Option<u64>,
    drop_last: bool,
    /// Lengths to group by.
    lengths: Option<Arc<[usize]>>,
}

/// How many batches are sorted by length together. More makes batches more even, and orders less random.
const POOL: usize = 64;

impl<D: Dataset> Loader<D> {
    /// Batches of 32 in the data set's own order, the last one possibly smaller.
    pub fn new(data: D) -> Self {
        Loader { data, batch_size: 32, seed: None, drop_last: false, lengths: None }
    }

    /// How many samples a batch has.
    #[must_use]
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.batch_size = samples;
        self
    }

    /// Puts the samples into a new random order each epoch.
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Leaves out a last batch that would be smaller than the others.
    #[must_use]
    pub fn drop_last(mut self, drop: bool) -> Self {
        self.drop_last = drop;
        self
    }

    /// Puts samples of like length into the same batch, so that little is padded: the samples, shuffled if asked for, are
    /// sorted by length within pools of 64 batches, and when shuffling, the full batches come up in random order.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is not one length for each sample.
    pub fn group_by_length(mut self, lengths: Vec<usize>) -> Result<Self> {
        if lengths.len() != self.data.len() {
            let message = format!("{} lengths for {} samples", lengths.len(), self.data.len());
            return Err(Error::argument("Loader", message));
        }
        self.lengths = Some(lengths.into());
        Ok(self)
    }

    /// The data set.
    pub fn dataset(&self) -> &D {
        &self.data
    }

    /// How many batches an epoch has; 0 for a batch size of 0.
    pub fn batches(&self) -> usize {
        match self.batch_size {
            0 => 0,
            size if self.drop_last => self.data.len() / size,
            size => self.data.len().div_ceil(size),
        }
    }

    /// The batches of one epoch.
    ///
    /// # Errors
    /// [`Error::Argument`] for a batch size of 0; [`Error::Empty`] for an empty data set, or one from which
    /// [`drop_last`](Self::drop_last) would leave nothing.
    pub fn epoch(&self, number: u64) -> Result<Batches<'_, D>> {
        if self.batch_size == 0 {
            return Err(Error::argument("Loader", "the batch size must be at least 1, not 0"));
        }
        if self.data.is_empty() {
            return Err(Error::Empty { what: "Loader" });
        }
        if self.batches() == 0 {
            let (len, size) = (self.data.len(), self.batch_size);
            return Err(Error::argument(
                "Loader",
                format!("dropping the last batch leaves none: {len} samples in batches of {size}"),
            ));
        }
        let mut order: Vec<usize> = (0..self.data.len()).collect();
        let mut rng = self.seed.map(|seed| random::stream(seed, number));
        if let Some(rng) = &mut rng {
            random::shuffle(&mut order, rng);
        }
        if let Some(lengths) = &self.lengths {
            order = group(order, lengths, self.batch_size, rng.as_mut());
        }
        if self.drop_last {
            order.truncate(self.batches() * self.batch_size);
        }
        Ok(Batches { data: &self.data, epoch: number, order, batch_size: self.batch_size, next: 0 })
    }
}

/// Sorts within pools; with a generator, shuffles the full batches afterwards. A smaller last batch stays last.
fn group(mut order: Vec<usize>, lengths: &[usize], size: usize, rng: Option<&mut Rng>) -> Vec<usize> {
    for pool in order.chunks_mut(size.saturating_mul(POOL)) {
        // Stable, so that samples of equal length stay in their random order.
        pool.sort_by_key(|&i| lengths[i]);
    }
    let Some(rng) = rng else { return order };
    let mut full: Vec<&[usize]> = order.chunks_exact(size).collect();
    random::shuffle(&mut full, rng);
    let mut grouped = full.concat();
    grouped.extend(order.chunks_exact(size).remainder());
    grouped
}

/// The batches of one epoch, an iterator. Made by [`Loader::epoch`].
#[derive(Debug, Clone)]
pub struct Batches<'a, D> {
    data: &'a D,
    epoch: u64,
    order: Vec<usize>,
    batch_size: usize,
    /// Position of the next batch's first sample in `order`.
    next: usize,
}

impl<D> Batches<'_, D> {
    /// The sample numbers of this epoch, in the order in which they come up.
    pub fn order(&self) -> &[usize] {
        &self.order
    }
}

impl<D: Dataset> Iterator for Batches<'_, D> {
    type Item = Result<(D::Input, D::Target)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.order.get(self.next..).filter(|rest| !rest.is_empty())?;
        let indices = &rest[..self.batch_size.min(rest.len())];
        self.next += indices.len();
        Some(self.data.batch_in_epoch(self.epoch, indices))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.order.len() - self.next).div_ceil(self.batch_size);
        (left, Some(left))
    }
}

impl<D: Dataset> ExactSizeIterator for Batches<'_, D> {}
