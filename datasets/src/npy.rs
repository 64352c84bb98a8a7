//! Samples in `.npy` files, read by position: a data set that may be far larger than memory.
//!
//! Of the formats that hold samples this one is chosen since NumPy, and with it everything in Python, writes and reads it, since all rows have
//! the same length, so that any sample is had by one read without an index and without unpacking its neighbours (in Parquet, or a
//! compressed archive, one sample costs a whole group), and since it needs no further crate. Samples of different lengths are for
//! [`TokenFile`](crate::text::TokenFile).

use std::marker::PhantomData;
use std::path::Path;

use cairn_tensor::{Element, NpyFile, Tensor};

use crate::dataset::{Dataset, check_indices};
use crate::error::{Error, Result};

/// Inputs and targets in `.npy` files, with one entry for each sample along the first axis; each is read when it is asked for.
///
/// Elements may be stored as another type than `X` and `Y`: bytes of pixels, or the `int64` that NumPy makes of labels. They are
/// turned as [`Tensor::cast`] does, and pixels remain numbers from 0 to 255.
///
/// ```
/// use cairn_datasets::{Dataset, NpyDataset, Tensor};
/// use cairn_tensor::NpyWriter;
/// let folder = std::env::temp_dir();
/// let [x, y] = ["x", "y"].map(|name| folder.join(format!("cairn-{name}-{}.npy", std::process::id())));
/// let (mut inputs, mut targets) = (NpyWriter::<u8>::create(&x, [2])?, NpyWriter::<i64>::create(&y, [])?);
/// for i in 0..100 {
///     inputs.add(&Tensor::from_vec(vec![i, i + 1], [1, 2])?)?; // many rows at a time, as a rule
///     targets.add(&Tensor::from_vec(vec![i64::from(i % 2)], [1])?)?;
/// }
/// (inputs.finish()?, targets.finish()?);
///
/// let data = NpyDataset::<f32, u32>::open(&x, &y)?;
/// let (inputs, labels) = data.batch(&[99, 4])?;
/// assert_eq!(inputs.to_vec(), [99.0, 100.0, 4.0, 5.0]);
/// assert_eq!(labels.to_vec(), [1, 0]);
/// # std::fs::remove_file(&x).ok();
/// # std::fs::remove_file(&y).ok();
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// Where memory holds all of it, see [`TensorDataset`](crate::TensorDataset), which gives the same batches.
#[derive(Debug, Clone)]
#[doc(alias("memmap", "mmap_mode", "larger than memory", "out of core"))]
pub struct NpyDataset<X: Element, Y: Element> {
    parts: Vec<Part>,
    len: usize,
    types: PhantomData<(X, Y)>,
}

/// A pair of files.
#[derive(Debug, Clone)]
struct Part {
    /// The number of its first sample among all.
    start: usize,
    inputs: NpyFile,
    targets: NpyFile,
}

impl<X: Element, Y: Element> NpyDataset<X, Y> {
    /// Opens a file of inputs and one of targets.
    ///
    /// # Errors
    /// As [`open_parts`](Self::open_parts).
    pub fn open(inputs: impl AsRef<Path>, targets: impl AsRef<Path>) -> Result<Self> {
        Self::open_parts([(inputs, targets)])
    }

    /// Opens several pairs of files, inputs and targets, as one data set: the samples of the first pair, then those of the second.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a file that is no `.npy` file, or not all of one; [`Error::Format`] where the two of a pair differ in the number
    /// of samples, or samples differ in shape from those of the first pair; [`Error::Empty`] without any samples.
    pub fn open_parts<A: AsRef<Path>, B: AsRef<Path>>(
        pairs: impl IntoIterator<Item = (A, B)>,
    ) -> Result<Self> {
        let (mut parts, mut len): (Vec<Part>, usize) = (Vec::new(), 0);
        for (inputs, targets) in pairs {
            let part = Part { start: len, inputs: NpyFile::open(inputs)?, targets: NpyFile::open(targets)? };
            let (n, m) = (part.inputs.shape()[0], part.targets.shape()[0]);
            if n != m {
                let message = format!("{m} targets for the {n} inputs of {}", part.inputs.path().display());
                return Err(Error::format(part.targets.path(), message));
            }
            if let Some(first) = parts.first() {
                same_items(&first.inputs, &part.inputs)?;
                same_items(&first.targets, &part.targets)?;
            }
            len += n;
            parts.push(part);
        }
        if len == 0 {
            return Err(Error::Empty { what: "NpyDataset" });
        }
        Ok(NpyDataset { parts, len, types: PhantomData })
    }

    /// The part that holds a sample.
    fn part_of(&self, index: usize) -> usize {
        // Of parts without samples, which begin where the next one does, the last.
        self.parts.partition_point(|part| part.start <= index) - 1
    }
}

/// An error unless the samples of both files have one shape.
fn same_items(first: &NpyFile, other: &NpyFile) -> Result<()> {
    let (a, b) = (&first.shape()[1..], &other.shape()[1..]);
    if a == b {
        return Ok(());
    }
    let message = format!("samples of shape {b:?}, those of {} have {a:?}", first.path().display());
    Err(Error::format(other.path(), message))
}

/// Rows of a file as elements of this type.
fn rows<T: Element>(file: &NpyFile, rows: &[usize]) -> Result<Tensor<T>> {
    Ok(file.rows(rows)?.cast(T::DTYPE)?.downcast_ref::<T>()?.clone())
}

impl<X: Element, Y: Element> Dataset for NpyDataset<X, Y> {
    type Input = Tensor<X>;
    type Target = Tensor<Y>;

    fn len(&self) -> usize {
        self.len
    }

    fn batch(&self, indices: &[usize]) -> Result<(Tensor<X>, Tensor<Y>)> {
        check_indices(indices, self.len)?;
        if indices.is_empty() {
            let part = &self.parts[0];
            return Ok((rows(&part.inputs, &[])?, rows(&part.targets, &[])?));
        }
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for run in indices.chunk_by(|&before, &next| self.part_of(before) == self.part_of(next)) {
            let part = &self.parts[self.part_of(run[0])];
            let own: Vec<usize> = run.iter().map(|&index| index - part.start).collect();
            inputs.push(rows(&part.inputs, &own)?);
            targets.push(rows(&part.targets, &own)?);
        }
        Ok((joined(inputs)?, joined(targets)?))
    }
}

/// One after the other along the first axis.
fn joined<T: Element>(mut tensors: Vec<Tensor<T>>) -> Result<Tensor<T>> {
    if tensors.len() == 1 {
        return Ok(tensors.swap_remove(0));
    }
    Ok(Tensor::cat(&tensors.iter().collect::<Vec<_>>(), 0)?)
}
