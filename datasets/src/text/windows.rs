//! A long text as a data set for language models: windows, and the same windows one token later.

use std::sync::Arc;

use cairn_tensor::Tensor;

use crate::dataset::{Dataset, check_indices};
use crate::error::{Error, Result};

/// Windows of a long sequence. The target of each token is the token after it. A batch is a pair of `Tensor<u32>` of
/// shape (batch, time).
///
/// ```
/// use cairn_datasets::text::WindowDataset;
/// use cairn_datasets::Dataset;
/// let data = WindowDataset::new((0..10).collect(), 3, 3)?;
/// assert_eq!(data.len(), 3);
/// let (x, y) = data.batch(&[0, 2])?;
/// assert_eq!(x.to_vec(), [0, 1, 2, 6, 7, 8]);
/// assert_eq!(y.to_vec(), [1, 2, 3, 7, 8, 9]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// With [`in_rows`](Self::in_rows) the sequence is divided into as many rows as a batch has, and unshuffled batches
/// continue each row where the batch before it stopped: what carrying a recurrent state from batch to batch needs.
#[doc(alias("timeseries_dataset_from_array", "group_texts"))]
#[derive(Debug, Clone)]
pub struct WindowDataset {
    ids: Arc<[u32]>,
    starts: Arc<[usize]>,
    time: usize,
}

impl WindowDataset {
    /// Windows of `time` tokens, one every `stride` tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] for a window or stride of 0, or a sequence that is shorter than a window and one.
    pub fn new(ids: Vec<u32>, time: usize, stride: usize) -> Result<Self> {
        if stride == 0 {
            return Err(Error::argument("WindowDataset", "the stride must be at least 1"));
        }
        let last = Self::last_start(ids.len(), time)?;
        Ok(WindowDataset { ids: ids.into(), starts: (0..=last).step_by(stride).collect(), time })
    }

    /// Windows of `time` tokens arranged so that unshuffled batches of `rows` samples each continue the batch before. What
    /// does not fill a row, or a last window, is left out.
    ///
    /// ```
    /// use cairn_datasets::text::WindowDataset;
    /// use cairn_datasets::Loader;
    /// let data = WindowDataset::in_rows((0..13).collect(), 2, 3)?;
    /// let loader = Loader::new(&data).batch_size(2);
    /// let x: Vec<_> = loader.epoch(0)?.map(|batch| batch.map(|(x, _)| x.to_vec())).collect::<Result<_, _>>()?;
    /// assert_eq!(x, [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]);
    /// # Ok::<(), cairn_datasets::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a window of 0, no rows, or a sequence too short for one window in each row.
    pub fn in_rows(ids: Vec<u32>, rows: usize, time: usize) -> Result<Self> {
        if rows == 0 {
            return Err(Error::argument("WindowDataset", "there must be at least 1 row"));
        }
        // One token is kept back as the target of the last row's last.
        let row = ids.len().saturating_sub(1) / rows;
        Self::last_start(row.saturating_add(1), time)?;
        let starts =
            (0..row / time).flat_map(|window| (0..rows).map(move |r| r * row + window * time)).collect();
        Ok(WindowDataset { ids: ids.into(), starts, time })
    }

    fn last_start(len: usize, time: usize) -> Result<usize> {
        if time == 0 {
            return Err(Error::argument("WindowDataset", "a window must have at least 1 token"));
        }
        len.checked_sub(time).and_then(|n| n.checked_sub(1)).ok_or_else(|| {
            let message = format!("{len} tokens are too few for a window of {time} and the token after it");
            Error::argument("WindowDataset", message)
        })
    }
}

impl Dataset for WindowDataset {
    type Input = Tensor<u32>;
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        self.starts.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Tensor<u32>, Tensor<u32>)> {
        check_indices(indices, self.len())?;
        let windows = |later: usize| {
            Tensor::build([indices.len(), self.time], |out| {
                for (row, &i) in out.chunks_exact_mut(self.time).zip(indices) {
                    row.copy_from_slice(&self.ids[self.starts[i] + later..][..self.time]);
                }
            })
        };
        Ok((windows(0)?, windows(1)?))
    }
}
