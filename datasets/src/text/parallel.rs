//! Pairs of sequences, the second of which is to be written from the first: translations, summaries, answers.

use std::sync::Arc;

use cairn_tensor::Tensor;

use super::{Padded, Padding, pad};
use crate::dataset::{Dataset, check_indices};
use crate::error::{Error, Result};

/// Sources and targets as token ids, for a model that reads a source and writes its target.
///
/// A source is followed by the end token. What a decoder reads is the begin token and the target, what it should write is the
/// target and the end token: at each step the next. Both are padded to the longest of the batch, at the end, so batches of like
/// length ([`Loader::max_tokens`](crate::Loader::max_tokens)) save work.
///
/// ```
/// use cairn_datasets::text::ParallelDataset;
/// use cairn_datasets::{Dataset, Loader};
/// let (padding, begin, end) = (0, 1, 2);
/// let data = ParallelDataset::new(vec![vec![5, 6], vec![7]], vec![vec![8], vec![9, 9]], [padding, begin, end])?;
/// let (batch, labels) = data.batch(&[0, 1])?;
/// assert_eq!(batch.source.ids.to_vec(), [5, 6, 2, 7, 2, 0]);
/// assert_eq!(batch.target.ids.to_vec(), [1, 8, 0, 1, 9, 9]);
/// assert_eq!(labels.to_vec(), [8, 2, 0, 9, 9, 2]);
/// let loader = Loader::new(&data).shuffle(0).group_by_length(data.lengths())?.max_tokens(4096);
/// assert_eq!(loader.batches(), 1);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("translation", "seq2seq", "LanguagePairDataset"))]
#[derive(Debug, Clone)]
pub struct ParallelDataset {
    /// Each with the end token.
    sources: Arc<[Vec<u32>]>,
    /// Each between the begin and the end token.
    targets: Arc<[Vec<u32>]>,
    padding: u32,
}

/// What a model reads of a batch of pairs.
#[derive(Debug, Clone)]
pub struct Parallel {
    /// The sources, each with the end token.
    pub source: Padded,
    /// The begin token and the target.
    pub target: Padded,
}

impl ParallelDataset {
    /// Pairs sources with targets, given the ids for padding, for the beginning of a target and for ends. Padding must be an id
    /// that no target has, as the loss is to leave it out.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are not as many of both, or where the padding is a token of a target, naming it.
    pub fn new(
        sources: Vec<Vec<u32>>,
        targets: Vec<Vec<u32>>,
        [padding, begin, end]: [u32; 3],
    ) -> Result<Self> {
        if sources.len() != targets.len() {
            let message = format!("{} sources and {} targets", sources.len(), targets.len());
            return Err(Error::argument("ParallelDataset", message));
        }
        let padded = |target: &Vec<u32>| target.contains(&padding);
        if let Some(i) = targets.iter().position(padded).or((padding == end).then_some(0)) {
            let message = format!("target {i} holds {padding}, which is to be padding");
            return Err(Error::argument("ParallelDataset", message));
        }
        let ended = |mut source: Vec<u32>| {
            source.push(end);
            source
        };
        let between = |target: Vec<u32>| std::iter::once(begin).chain(ended(target)).collect();
        Ok(ParallelDataset {
            sources: sources.into_iter().map(ended).collect(),
            targets: targets.into_iter().map(between).collect(),
            padding,
        })
    }

    /// The length of each pair: of the longer of both, with the token that ends it.
    pub fn lengths(&self) -> Vec<usize> {
        // A target has two tokens of its own, of which it reads or writes one.
        self.sources.iter().zip(&*self.targets).map(|(s, t)| s.len().max(t.len() - 1)).collect()
    }

    /// The sources at these indices, as [`batch`](Dataset::batch) has them.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for an index beyond the end; [`Error::Empty`] for none.
    pub fn sources(&self, indices: &[usize]) -> Result<Padded> {
        check_indices(indices, self.len())?;
        let sources: Vec<&[u32]> = indices.iter().map(|&i| self.sources[i].as_slice()).collect();
        pad(&sources, &Padding::new().id(self.padding))
    }
}

impl Dataset for ParallelDataset {
    type Input = Parallel;
    /// The tokens to be written, `[batch, time]`, and the padding.
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        self.sources.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Parallel, Tensor<u32>)> {
        let source = self.sources(indices)?;
        let of = |part: fn(&[u32]) -> &[u32]| {
            let rows: Vec<&[u32]> = indices.iter().map(|&i| part(&self.targets[i])).collect();
            pad(&rows, &Padding::new().id(self.padding))
        };
        let target = of(|target| &target[..target.len() - 1])?;
        Ok((Parallel { source, target }, of(|target| &target[1..])?.ids))
    }
}
