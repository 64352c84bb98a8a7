//! Batches of a data set, in order or shuffled anew each epoch: of so many samples, or of so many tokens.
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
    /// Samples in a block, and blocks that are shuffled together; all samples are where there is none.
    blocks: Option<(usize, usize)>,
    drop_last: bool,
    /// Lengths to group by.
    lengths: Option<Arc<[usize]>>,
    /// The most tokens of a batch, in place of a number of samples.
    max_tokens: Option<usize>,
}

/// The number of batches that are sorted by length together. More makes batches more even, and orders less random.
const POOL: usize = 64;

impl<D: Dataset> Loader<D> {
    /// Batches of 32 in the data set's own order, the last one possibly smaller.
    pub fn new(data: D) -> Self {
        Loader {
            data,
            batch_size: 32,
            seed: None,
            blocks: None,
            drop_last: false,
            lengths: None,
            max_tokens: None,
        }
    }

    /// The number of samples in a batch.
    #[must_use]
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.batch_size = samples;
        self
    }

    /// Puts the samples into a new random order each epoch.
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self.blocks = None;
        self
    }

    /// As [`shuffle`](Self::shuffle), in two levels, for data on disks that are slow to go from place to place: blocks of `block`
    /// neighbouring samples come in a new random order each epoch, and samples are shuffled among every `together` blocks that follow one
    /// another in it. So samples of one batch come from at most so many places, which are read to their end before others are begun. The order
    /// is a function of seed and epoch, for data in memory the same as for data on disk.
    ///
    /// ```
    /// use cairn_datasets::{synthetic, Loader};
    /// let digits = synthetic::digits(100, 7)?;
    /// let loader = Loader::new(&digits).shuffle_blocks(1, 10, 2);
    /// let epoch = loader.epoch(0)?;
    /// // The first 20 samples are those of two blocks of 10.
    /// let mut blocks: Vec<usize> = epoch.order()[..20].iter().map(|i| i / 10).collect();
    /// blocks.sort();
    /// blocks.dedup();
    /// assert_eq!(blocks.len(), 2);
    /// # Ok::<(), cairn_datasets::Error>(())
    /// ```
    #[must_use]
    #[doc(alias("shuffle_buffer", "buffer_size", "shuffle_block_size", "shardshuffle"))]
    pub fn shuffle_blocks(mut self, seed: u64, block: usize, together: usize) -> Self {
        self.seed = Some(seed);
        self.blocks = Some((block, together));
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

    /// Fills batches by a budget of tokens in place of a number of samples: samples, shuffled if asked for, are sorted by their
    /// [length](Self::group_by_length) as a whole, and a batch takes as many as fit when each is padded to the longest; when
    /// shuffling, the batches come up in random order. So each step costs about the same, and hardly anything is padded. A sample
    /// that is longer than the budget is a batch of its own.
    ///
    /// ```
    /// use cairn_datasets::text::{Padding, SequenceDataset};
    /// use cairn_datasets::Loader;
    /// let sequences: Vec<Vec<u32>> = (0..100).map(|i| vec![1; 1 + i % 10]).collect();
    /// let data = SequenceDataset::new(sequences, vec![0; 100], Padding::new())?;
    /// let loader = Loader::new(&data).shuffle(1).group_by_length(data.lengths())?.max_tokens(64);
    /// for batch in loader.epoch(0)? {
    ///     assert!(batch?.0.ids.len() <= 64);
    /// }
    /// # Ok::<(), cairn_datasets::Error>(())
    /// ```
    #[must_use]
    #[doc(alias("token budget", "bucket_by_sequence_length"))]
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// The data set.
    pub fn dataset(&self) -> &D {
        &self.data
    }

    /// The number of batches in an epoch, the same in each; 0 for a batch size of 0.
    pub fn batches(&self) -> usize {
        if let (Some(budget), Some(lengths)) = (self.max_tokens, &self.lengths) {
            let mut lengths = lengths.to_vec();
            lengths.sort_unstable();
            return ends_within(lengths.into_iter(), budget).len();
        }
        match self.batch_size {
            0 => 0,
            size if self.drop_last => self.data.len() / size,
            size => self.data.len().div_ceil(size),
        }
    }

    /// The batches of one epoch.
    ///
    /// # Errors
    /// [`Error::Argument`] for a batch size, a budget, or a number of blocks or of their samples of 0, and for a budget without lengths or with
    /// [`drop_last`](Self::drop_last); [`Error::Empty`] for an empty data set, or one from which `drop_last` would leave nothing.
    pub fn epoch(&self, number: u64) -> Result<Batches<'_, D>> {
        if self.batch_size == 0 || self.max_tokens == Some(0) {
            return Err(Error::argument("Loader", "the batch size must be at least 1, not 0"));
        }
        if self.blocks.is_some_and(|(block, together)| block == 0 || together == 0) {
            let message = "blocks have at least 1 sample, and at least 1 is shuffled at a time";
            return Err(Error::argument("Loader", message));
        }
        if self.max_tokens.is_some() && (self.drop_last || self.lengths.is_none()) {
            let message = "a budget of tokens needs the lengths of samples, and leaves out no batch";
            return Err(Error::argument("Loader", message));
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
            match self.blocks {
                None => random::shuffle(&mut order, rng),
                Some((block, together)) => shuffle_blocks(&mut order, block, together, rng),
            }
        }
        let mut ends: Vec<usize> = match (&self.lengths, self.max_tokens) {
            (Some(lengths), Some(budget)) => fill(&mut order, lengths, budget, rng.as_mut()),
            (lengths, _) => {
                if let Some(lengths) = lengths {
                    order = group(order, lengths, self.batch_size, rng.as_mut());
                }
                let (len, size) = (order.len(), self.batch_size);
                (1..=len.div_ceil(size)).map(|batch| batch.saturating_mul(size).min(len)).collect()
            }
        };
        if self.drop_last {
            ends.truncate(self.batches());
            order.truncate(ends.last().copied().unwrap_or(0));
        }
        Ok(Batches { data: &self.data, epoch: number, order, ends, next: 0 })
    }
}

/// Puts blocks of neighbours into random order, and then the samples among every `together` blocks.
fn shuffle_blocks(order: &mut [usize], block: usize, together: usize, rng: &mut Rng) {
    let len = order.len();
    let mut blocks: Vec<usize> = (0..len.div_ceil(block)).collect();
    random::shuffle(&mut blocks, rng);
    let mut rest = order;
    for blocks in blocks.chunks(together) {
        // The last block of the data may be shorter, and comes up anywhere.
        let samples = blocks.iter().flat_map(|&b| b * block..(b * block).saturating_add(block).min(len));
        let mut count = 0;
        for (to, sample) in rest.iter_mut().zip(samples) {
            *to = sample;
            count += 1;
        }
        let (window, after) = rest.split_at_mut(count);
        random::shuffle(window, rng);
        rest = after;
    }
}

/// Sorts by length and says where batches of this budget end; with a generator, shuffles the batches.
fn fill(order: &mut Vec<usize>, lengths: &[usize], budget: usize, rng: Option<&mut Rng>) -> Vec<usize> {
    order.sort_by_key(|&i| lengths[i]);
    let mut ends = ends_within(order.iter().map(|&i| lengths[i]), budget);
    let Some(rng) = rng else { return ends };
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let mut batches: Vec<&[usize]> = starts.zip(&ends).map(|(start, &end)| &order[start..end]).collect();
    random::shuffle(&mut batches, rng);
    let mut end = 0;
    ends = batches
        .iter()
        .map(|batch| {
            end += batch.len();
            end
        })
        .collect();
    *order = batches.concat();
    ends
}

/// Where batches end whose rows, padded to the longest, have no more than `budget` tokens, for lengths in rising order.
fn ends_within(lengths: impl Iterator<Item = usize>, budget: usize) -> Vec<usize> {
    let (mut ends, mut start, mut count) = (Vec::new(), 0, 0);
    for (i, length) in lengths.enumerate() {
        if i > start && (i - start + 1).saturating_mul(length) > budget {
            ends.push(i);
            start = i;
        }
        count = i + 1;
    }
    if count > 0 {
        ends.push(count);
    }
    ends
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
    /// Where each batch ends in `order`.
    ends: Vec<usize>,
    /// The number of the next batch.
    next: usize,
}

impl<D> Batches<'_, D> {
    /// The sample indices of this epoch, in the order in which they come up.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// As [`order`](Self::order), without a copy.
    pub fn into_order(self) -> Vec<usize> {
        self.order
    }

    /// As [`order`](Self::order), and where in it each batch ends.
    pub fn into_order_and_ends(self) -> (Vec<usize>, Vec<usize>) {
        (self.order, self.ends)
    }
}

impl<D: Dataset> Iterator for Batches<'_, D> {
    type Item = Result<(D::Input, D::Target)>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = *self.ends.get(self.next)?;
        let start = self.next.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.next += 1;
        Some(self.data.batch_in_epoch(self.epoch, &self.order[start..end]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ends.len() - self.next;
        (left, Some(left))
    }
}

impl<D: Dataset> ExactSizeIterator for Batches<'_, D> {}
