//! Sequences of token ids as a data set, padded batch by batch.

use std::sync::Arc;

use cairn_tensor::Tensor;

use super::{Padded, Padding, pad};
use crate::dataset::{Dataset, check_indices};
use crate::error::{Error, Result};

/// Sequences of different length, each with its class. A batch is padded to its own longest sequence, so
/// batching sequences of like length ([`Loader::group_by_length`](crate::Loader::group_by_length)) saves work.
///
/// ```
/// use cairn_datasets::text::{Padding, SequenceDataset};
/// use cairn_datasets::{Dataset, Loader};
/// let data = SequenceDataset::new(vec![vec![5, 6, 7], vec![8], vec![9, 9]], vec![1, 0, 1], Padding::new())?;
/// let loader = Loader::new(&data).batch_size(2).shuffle(1).group_by_length(data.lengths())?;
/// for batch in loader.epoch(0)? {
///     let (sequences, labels) = batch?;
///     assert_eq!(sequences.ids.shape()[0], labels.len());
/// }
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SequenceDataset {
    sequences: Arc<[Vec<u32>]>,
    labels: Arc<[u32]>,
    padding: Padding,
}

impl SequenceDataset {
    /// Pairs sequences with classes.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are not as many of both, or for a sequence without tokens, naming it.
    pub fn new(sequences: Vec<Vec<u32>>, labels: Vec<u32>, padding: Padding) -> Result<Self> {
        if sequences.len() != labels.len() {
            let message = format!("{} sequences and {} labels", sequences.len(), labels.len());
            return Err(Error::argument("SequenceDataset", message));
        }
        if let Some(i) = sequences.iter().position(Vec::is_empty) {
            return Err(Error::argument("SequenceDataset", format!("sequence {i} is empty")));
        }
        Ok(SequenceDataset { sequences: sequences.into(), labels: labels.into(), padding })
    }

    /// The length of each sequence.
    pub fn lengths(&self) -> Vec<usize> {
        self.sequences.iter().map(Vec::len).collect()
    }

    /// The class of each sequence.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }
}

impl Dataset for SequenceDataset {
    type Input = Padded;
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Padded, Tensor<u32>)> {
        check_indices(indices, self.len())?;
        let sequences: Vec<&[u32]> = indices.iter().map(|&i| self.sequences[i].as_slice()).collect();
        let labels = Tensor::from_vec(indices.iter().map(|&i| self.labels[i]).collect(), [indices.len()])?;
        Ok((pad(&sequences, &self.padding)?, labels))
    }
}
