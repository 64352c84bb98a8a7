//! What a data set is: numbered samples that can be fetched as a batch.
//!
//! The trait fetches whole batches rather than samples, so that a batch is assembled in one pass into one tensor instead of
//! being stacked from many small ones. Everything else (shuffling, batching, splitting) works on sample indices.

use std::sync::Arc;

use cairn_tensor::{Element, Tensor};

use crate::error::{Error, Result};
use crate::random;

/// Numbered samples, each with what a model is given and what it should answer.
///
/// A data set of your own needs two methods:
///
/// ```
/// use cairn_datasets::{Dataset, Error, Loader, Tensor};
///
/// /// Numbers and their squares.
/// struct Squares;
///
/// impl Dataset for Squares {
///     type Input = Tensor<f32>;
///     type Target = Tensor<f32>;
///
///     fn len(&self) -> usize {
///         100
///     }
///
///     fn batch(&self, indices: &[usize]) -> Result<(Tensor<f32>, Tensor<f32>), Error> {
///         let x: Vec<f32> = indices.iter().map(|&i| i as f32).collect();
///         let y = x.iter().map(|x| x * x).collect();
///         Ok((Tensor::from_vec(x, [indices.len(), 1])?, Tensor::from_vec(y, [indices.len(), 1])?))
///     }
/// }
///
/// let loader = Loader::new(Squares).batch_size(10);
/// for batch in loader.epoch(0)? {
///     let (x, y) = batch?;
///     assert_eq!((x.shape(), y.shape()), (&[10, 1][..], &[10, 1][..]));
/// }
/// # Ok::<(), Error>(())
/// ```
#[doc(alias("MapDataset", "tf.data"))]
pub trait Dataset {
    /// What a model is given for a batch, usually a tensor with one row for each sample.
    type Input;
    /// What it should answer.
    type Target;

    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples at these indices, in this order; an index may come up more than once.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for an index that is not below [`len`](Self::len).
    fn batch(&self, indices: &[usize]) -> Result<(Self::Input, Self::Target)>;

    /// The samples at these indices as they are in this epoch: what [`Batches`](crate::Batches) asks for. The same as
    /// [`batch`](Self::batch), unless samples change from epoch to epoch, as those of [`Augmented`](crate::Augmented) do.
    ///
    /// The epoch is an argument and not a counter inside the data set, so that a batch remains a function of what is
    /// asked: nothing depends on what was fetched before, by which thread, or whether training was resumed.
    /// A data set that wraps another should pass the epoch on.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for an index beyond the end, and what else [`batch`](Self::batch) says.
    fn batch_in_epoch(&self, epoch: u64, indices: &[usize]) -> Result<(Self::Input, Self::Target)> {
        let _ = epoch;
        self.batch(indices)
    }

    /// The samples at these indices as they are evaluated, without what is varied at random while training. Training loops
    /// validate, evaluate and predict by it.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    fn batch_to_evaluate(&self, indices: &[usize]) -> Result<(Self::Input, Self::Target)> {
        self.batch(indices)
    }

    /// The samples at these indices as a data set of their own.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for an index that is not below [`len`](Self::len).
    fn subset(self, indices: Vec<usize>) -> Result<Subset<Self>>
    where
        Self: Sized,
    {
        check_indices(&indices, self.len())?;
        Ok(Subset { data: self, indices: indices.into() })
    }

    /// Divides the samples at random into two data sets, of which the first holds `fraction` of them, rounded to the
    /// nearest. The same seed gives the same division. To keep using the whole, call it on a reference.
    ///
    /// ```
    /// use cairn_datasets::{synthetic, Dataset};
    /// let digits = synthetic::digits(100, 7)?;
    /// let (train, valid) = (&digits).split(0.9, 1)?;
    /// assert_eq!((train.len(), valid.len()), (90, 10));
    /// # Ok::<(), cairn_datasets::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a fraction outside 0 to 1; [`Error::Empty`] when either part would have no samples.
    fn split(self, fraction: f64, seed: u64) -> Result<(Subset<Self>, Subset<Self>)>
    where
        Self: Sized + Clone,
    {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::argument(
                "split",
                format!("the fraction must be from 0 to 1, not {fraction}"),
            ));
        }
        let first = (fraction * self.len() as f64).round() as usize;
        if first == 0 || first >= self.len() {
            return Err(Error::Empty { what: "split" });
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        random::shuffle(&mut order, &mut random::stream(seed, 0));
        let second = order.split_off(first);
        Ok((
            Subset { data: self.clone(), indices: order.into() },
            Subset { data: self, indices: second.into() },
        ))
    }

    /// Divides the samples at random into `folds` parts, equal in size up to one sample, and gives each part in turn
    /// beside all the others: pairs of (others, part), for cross-validation. The same seed gives the same division. To keep
    /// using the whole, call it on a reference.
    ///
    /// ```
    /// use cairn_datasets::{synthetic, Dataset};
    /// let digits = synthetic::digits(10, 7)?;
    /// let sizes: Vec<_> = (&digits).folds(3, 1)?.iter().map(|(train, test)| (train.len(), test.len())).collect();
    /// assert_eq!(sizes, [(6, 4), (7, 3), (7, 3)]);
    /// # Ok::<(), cairn_datasets::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for fewer than 2 folds, or more than there are samples.
    fn folds(self, folds: usize, seed: u64) -> Result<Vec<(Subset<Self>, Subset<Self>)>>
    where
        Self: Sized + Clone,
    {
        let len = self.len();
        if folds < 2 || folds > len {
            let message =
                format!("the number of folds must be from 2 to that of samples, {len}, not {folds}");
            return Err(Error::argument("folds", message));
        }
        let mut order: Vec<usize> = (0..len).collect();
        random::shuffle(&mut order, &mut random::stream(seed, 0));
        let pairs = (0..folds).map(|fold| {
            // The first parts hold the samples that are left over.
            let start = |fold: usize| fold * (len / folds) + fold.min(len % folds);
            let (first, last) = (start(fold), start(fold + 1));
            let others: Vec<usize> = [&order[..first], &order[last..]].concat();
            let subset = |indices: &[usize]| Subset { data: self.clone(), indices: indices.into() };
            (subset(&others), subset(&order[first..last]))
        });
        Ok(pairs.collect())
    }
}

impl<D: Dataset + ?Sized> Dataset for &D {
    type Input = D::Input;
    type Target = D::Target;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Self::Input, Self::Target)> {
        (**self).batch(indices)
    }

    fn batch_in_epoch(&self, epoch: u64, indices: &[usize]) -> Result<(Self::Input, Self::Target)> {
        (**self).batch_in_epoch(epoch, indices)
    }

    fn batch_to_evaluate(&self, indices: &[usize]) -> Result<(Self::Input, Self::Target)> {
        (**self).batch_to_evaluate(indices)
    }
}

/// Some samples of another data set, in an order of their own. Made by [`Dataset::subset`] and [`Dataset::split`].
#[derive(Debug, Clone)]
pub struct Subset<D> {
    data: D,
    indices: Arc<[usize]>,
}

impl<D> Subset<D> {
    /// The samples' indices in the whole.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// The whole.
    pub fn whole(&self) -> &D {
        &self.data
    }

    fn numbers_in_whole(&self, indices: &[usize]) -> Result<Vec<usize>> {
        check_indices(indices, self.indices.len())?;
        Ok(indices.iter().map(|&i| self.indices[i]).collect())
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Input = D::Input;
    type Target = D::Target;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Self::Input, Self::Target)> {
        self.data.batch(&self.numbers_in_whole(indices)?)
    }

    fn batch_in_epoch(&self, epoch: u64, indices: &[usize]) -> Result<(Self::Input, Self::Target)> {
        self.data.batch_in_epoch(epoch, &self.numbers_in_whole(indices)?)
    }

    fn batch_to_evaluate(&self, indices: &[usize]) -> Result<(Self::Input, Self::Target)> {
        self.data.batch_to_evaluate(&self.numbers_in_whole(indices)?)
    }
}

/// Two tensors in memory, inputs and targets, with one entry for each sample along the first axis.
///
/// ```
/// use cairn_datasets::{Dataset, Tensor, TensorDataset};
/// let x = Tensor::from_vec(vec![0.0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [4, 2])?;
/// let y = Tensor::from_vec(vec![0u32, 1, 1, 0], [4])?;
/// let xor = TensorDataset::new(x, y)?;
/// let (inputs, targets) = xor.batch(&[3, 1])?;
/// assert_eq!(inputs.to_vec(), [1.0, 1.0, 0.0, 1.0]);
/// assert_eq!(targets.to_vec(), [0, 1]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TensorDataset<X: Element, Y: Element> {
    inputs: Tensor<X>,
    targets: Tensor<Y>,
}

impl<X: Element, Y: Element> TensorDataset<X, Y> {
    /// Pairs inputs with targets.
    ///
    /// # Errors
    /// [`Error::Argument`] when a tensor is a scalar or the first axes differ in length.
    pub fn new(inputs: Tensor<X>, targets: Tensor<Y>) -> Result<Self> {
        match (inputs.shape().first(), targets.shape().first()) {
            (Some(n), Some(m)) if n == m => {
                Ok(TensorDataset { inputs: in_rows(inputs)?, targets: in_rows(targets)? })
            }
            _ => {
                let (x, y) = (inputs.shape(), targets.shape());
                let message = format!(
                    "inputs of shape {x:?} and targets of shape {y:?} differ in the number of samples"
                );
                Err(Error::argument("TensorDataset", message))
            }
        }
    }

    /// All inputs.
    pub fn inputs(&self) -> &Tensor<X> {
        &self.inputs
    }

    /// All targets.
    pub fn targets(&self) -> &Tensor<Y> {
        &self.targets
    }
}

impl<X: Element, Y: Element> Dataset for TensorDataset<X, Y> {
    type Input = Tensor<X>;
    type Target = Tensor<Y>;

    fn len(&self) -> usize {
        self.inputs.shape()[0]
    }

    fn batch(&self, indices: &[usize]) -> Result<(Tensor<X>, Tensor<Y>)> {
        check_indices(indices, self.len())?;
        Ok((gather(&self.inputs, indices)?, gather(&self.targets, indices)?))
    }
}

/// In row-major order, copied only if need be.
fn in_rows<T: Element>(tensor: Tensor<T>) -> Result<Tensor<T>> {
    if tensor.as_slice().is_some() { Ok(tensor) } else { Ok(tensor.contiguous()?) }
}

/// Copies rows (entries along the first axis) into a new tensor. The indices have been checked.
fn gather<T: Element>(from: &Tensor<T>, indices: &[usize]) -> Result<Tensor<T>> {
    let outside = |index: usize| Error::IndexOutOfRange { index, len: u32::MAX as usize };
    let indices = indices.iter().map(|&index| u32::try_from(index).map_err(|_| outside(index)));
    Ok(from.index_select(0, &indices.collect::<Result<Vec<u32>>>()?)?)
}

/// That all indices are below `len`.
pub(crate) fn check_indices(indices: &[usize], len: usize) -> Result<()> {
    match indices.iter().find(|&&i| i >= len) {
        Some(&index) => Err(Error::IndexOutOfRange { index, len }),
        None => Ok(()),
    }
}
