//! Labelled images in memory, kept as bytes and turned into f32 batch by batch.
//!
//! As f32, MNIST would take 188 MB instead of 47 and stream four times the memory through the cache each epoch, to save
//! a conversion that costs a few microseconds a batch.

use std::path::Path;
use std::sync::Arc;

use cairn_tensor::Tensor;

use crate::dataset::{Dataset, check_indices};
use crate::error::{Error, Result};

#[cfg(feature = "image-folder")]
mod folder;
pub mod idx;
#[cfg(feature = "image-folder")]
mod jpeg;

#[cfg(feature = "image-folder")]
pub use folder::ImageFolder;

/// Images of one size, each with its class.
///
/// A batch is a pair of `Tensor<f32>` of shape (batch, height, width, channels), or (batch, features) after
/// [`flatten`](Self::flatten), with values from 0 to 1, and `Tensor<u32>` of shape (batch). Cloning shares the memory.
///
/// ```
/// use cairn_datasets::{Dataset, ImageDataset};
/// let images = ImageDataset::new([2, 2, 1], vec![0, 0, 255, 255, 255, 0, 0, 0], vec![1, 0], 2)?;
/// let (x, y) = images.batch(&[0])?;
/// assert_eq!(x.shape(), [1, 2, 2, 1]);
/// assert_eq!(x.to_vec(), [0.0, 0.0, 1.0, 1.0]);
/// assert_eq!(y.to_vec(), [1]);
/// assert_eq!(images.flatten().batch(&[0, 1])?.0.shape(), [2, 4]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias = "VisionDataset")]
#[derive(Debug, Clone)]
pub struct ImageDataset {
    pixels: Arc<[u8]>,
    labels: Arc<[u32]>,
    /// Height, width, channels.
    size: [usize; 3],
    classes: usize,
    flat: bool,
}

impl ImageDataset {
    /// Images of the given height, width and channels, one after the other in row-major order, with labels from 0 to
    /// `classes - 1`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the images have no pixels, pixels and labels do not go together, or a label is out of range.
    pub fn new(size: [usize; 3], pixels: Vec<u8>, labels: Vec<u32>, classes: usize) -> Result<Self> {
        let wrong = |message| Error::argument("ImageDataset", message);
        let each = size.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n > 0);
        let each = each.ok_or_else(|| wrong(format!("images cannot have the size {size:?}")))?;
        if each.checked_mul(labels.len()) != Some(pixels.len()) {
            let (n, m) = (labels.len(), pixels.len());
            return Err(wrong(format!("{n} labels, but {m} values are not as many images of {size:?}")));
        }
        if let Some((i, label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
            return Err(wrong(format!("label {label} of image {i} is out of range for {classes} classes")));
        }
        Ok(ImageDataset { pixels: pixels.into(), labels: labels.into(), size, classes, flat: false })
    }

    /// Reads grey images and their labels from a pair of IDX files, gzipped or not.
    ///
    /// # Errors
    /// [`Error::Format`] naming the file for a wrong magic number, a truncated or damaged file, a label out of range, or
    /// counts that do not match; [`Error::Io`] when a file cannot be read.
    pub fn from_idx(images: &Path, labels: &Path, classes: usize) -> Result<Self> {
        let pixels = idx::read(images, 3)?;
        let marks = idx::read(labels, 1)?;
        let [count, height, width] = pixels.shape[..] else {
            return Err(Error::format(images, "not three axes"));
        };
        if count != marks.values.len() {
            let message =
                format!("{} labels for the {count} images of {}", marks.values.len(), images.display());
            return Err(Error::format(labels, message));
        }
        if height == 0 || width == 0 {
            return Err(Error::format(images, format!("images of {height} x {width} pixels")));
        }
        if let Some((i, label)) =
            marks.values.iter().enumerate().find(|&(_, &label)| usize::from(label) >= classes)
        {
            return Err(Error::format(
                labels,
                format!("label {label} of image {i} is out of range for {classes} classes"),
            ));
        }
        let labels = marks.values.into_iter().map(u32::from).collect();
        Self::new([height, width, 1], pixels.values, labels, classes)
    }

    /// The same images, shared, whose batches have the shape (batch, height * width * channels): what a dense layer takes.
    #[must_use]
    pub fn flatten(&self) -> Self {
        ImageDataset { flat: true, ..self.clone() }
    }

    /// Height, width and channels.
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The bytes of one image, row-major (height, width, channels); `None` beyond the last.
    pub fn pixels(&self, index: usize) -> Option<&[u8]> {
        let each = self.values_each();
        self.pixels.get(index.checked_mul(each)?..)?.get(..each)
    }

    /// The first `count` images, or all if there are fewer.
    #[must_use]
    pub fn take(&self, count: usize) -> Self {
        let count = count.min(self.labels.len());
        ImageDataset {
            pixels: self.pixels[..count * self.values_each()].into(),
            labels: self.labels[..count].into(),
            ..self.clone()
        }
    }

    fn values_each(&self) -> usize {
        self.size.iter().product()
    }
}

impl Dataset for ImageDataset {
    type Input = Tensor<f32>;
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Tensor<f32>, Tensor<u32>)> {
        check_indices(indices, self.len())?;
        let each = self.values_each();
        let fill = |out: &mut [f32]| {
            let image = |i: usize| &self.pixels[i * each..][..each];
            for (to, indices) in out.chunks_mut(AHEAD * each).zip(indices.chunks(AHEAD)) {
                indices.iter().for_each(|&i| touch(image(i)));
                for (to, &i) in to.chunks_exact_mut(each).zip(indices) {
                    scale_to_unit(image(i), to);
                }
            }
        };
        let [height, width, channels] = self.size;
        let x = if self.flat {
            Tensor::build([indices.len(), each], fill)?
        } else {
            Tensor::build([indices.len(), height, width, channels], fill)?
        };
        let y = Tensor::build([indices.len()], |out| {
            for (to, &i) in out.iter_mut().zip(indices) {
                *to = self.labels[i];
            }
        })?;
        Ok((x, y))
    }
}

/// Images loaded ahead of their use.
const AHEAD: usize = 32;

/// Loads a byte of each cache line. Shuffled images come from all over a memory larger than the cache, and the loads of
/// several images at once wait for it side by side instead of one after the other: a batch takes about half the time.
#[inline]
fn touch(image: &[u8]) {
    std::hint::black_box(image.iter().step_by(64).fold(0, |all, byte| all | byte));
}

/// 0..=255 to 0..=1. One multiplication, which the compiler turns into vector code; 255 becomes exactly 1.
#[inline]
fn scale_to_unit(from: &[u8], to: &mut [f32]) {
    const SCALE: f32 = 1.0 / 255.0;
    for (to, &from) in to.iter_mut().zip(from) {
        *to = f32::from(from) * SCALE;
    }
}

#[cfg(test)]
mod tests {
    use super::scale_to_unit;

    #[test]
    fn scaling_is_within_one_rounding_of_division() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut scaled = vec![f32::NAN; 256];
        scale_to_unit(&bytes, &mut scaled);
        for (&byte, &x) in bytes.iter().zip(&scaled) {
            let exact = f32::from(byte) / 255.0;
            assert!((x - exact).abs() <= exact * f32::EPSILON, "{byte}: {x} is not {exact}");
        }
        assert_eq!((scaled[0], scaled[255]), (0.0, 1.0));
    }
}
