//! Images varied at random while training, so that a model does not learn them by heart.
//!
//! What happens to a sample is drawn from a generator of its own, made from the seed, the epoch and the sample's number.
//! Batch size, order, threads and a resumed training therefore change nothing: the same seed gives the same bits.
//! Transformations work on one image at a time, small enough to stay in the cache from the first to the last of them.

use std::fmt::Debug;
use std::sync::Arc;

use cairn_tensor::{Rng, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::random;

/// What can be done to an image. Implement it to add your own to [`Augmented::with`].
pub trait Transform: Debug + Send + Sync {
    /// The size (height, width, channels) of what comes out for images of this size.
    ///
    /// # Errors
    /// When the transformation's own settings are out of range or do not fit the images.
    fn output_size(&self, size: [usize; 3]) -> Result<[usize; 3]>;

    /// Writes every value of `to`, an image of the [`output_size`](Self::output_size), row-major (height, width, channels).
    /// Everything random has to come from `rng`.
    fn apply(&self, from: &[f32], size: [usize; 3], to: &mut [f32], rng: &mut Rng);

    /// As [`apply`](Self::apply), for an image that a model is evaluated on: what is drawn at random there is in the middle of what
    /// could have been drawn, and what is not is done as ever.
    fn apply_to_evaluate(&self, from: &[f32], size: [usize; 3], to: &mut [f32]);
}

/// A data set of images, varied anew in each epoch. Transformations are applied in the order in which they were added.
///
/// [`Loader`](crate::Loader) and training loops pass the epoch on by [`Dataset::batch_in_epoch`]; [`Dataset::batch`] gives
/// epoch 0, and [`Dataset::batch_to_evaluate`], which validation and evaluation take, images that are not varied but go
/// through the rest, [`Normalize`] say.
///
/// ```
/// use cairn_datasets::augment::{Normalize, RandomCrop, RandomHorizontalFlip};
/// use cairn_datasets::{Augmented, Loader, synthetic};
///
/// let train = Augmented::new(synthetic::shapes(64, 7)?, 42)
///     .with(RandomCrop::new(32, 32).padding(4))
///     .with(RandomHorizontalFlip::default())
///     .with(Normalize::cifar10());
/// for batch in Loader::new(&train).shuffle(1).epoch(0)? {
///     assert_eq!(batch?.0.shape(), [32, 32, 32, 3]);
/// }
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Augmented<D> {
    data: D,
    seed: u64,
    transforms: Vec<Arc<dyn Transform>>,
}

impl<D> Augmented<D> {
    /// The images as they are, to be varied by what is added.
    pub fn new(data: D, seed: u64) -> Self {
        Augmented { data, seed, transforms: Vec::new() }
    }

    /// Adds a transformation.
    #[must_use]
    pub fn with(mut self, transform: impl Transform + 'static) -> Self {
        self.transforms.push(Arc::new(transform));
        self
    }

    /// The data set varied.
    pub fn whole(&self) -> &D {
        &self.data
    }

    /// The images' sizes before the first transformation and after each.
    fn sizes(&self, shape: &[usize]) -> Result<Vec<[usize; 3]>> {
        let &[_, height, width, channels] = shape else {
            let message = format!("batches of shape {shape:?} are not [batch, height, width, channels]");
            return Err(Error::argument("Augmented", message));
        };
        let mut sizes = vec![[height, width, channels]];
        for transform in &self.transforms {
            let size = transform.output_size(sizes[sizes.len() - 1])?;
            if size.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none() {
                return Err(Error::argument("Augmented", format!("images cannot have the size {size:?}")));
            }
            sizes.push(size);
        }
        Ok(sizes)
    }

    /// Takes one image through all transformations, to and fro between two buffers; not varied without a generator.
    fn apply(
        &self,
        from: &[f32],
        sizes: &[[usize; 3]],
        buffers: &mut [Vec<f32>; 2],
        mut rng: Option<&mut Rng>,
    ) {
        let [now, next] = buffers;
        now.clear();
        now.extend_from_slice(from);
        for (transform, size) in self.transforms.iter().zip(sizes.windows(2)) {
            next.resize(values(size[1]), 0.0);
            match &mut rng {
                Some(rng) => transform.apply(now, size[0], next, rng),
                None => transform.apply_to_evaluate(now, size[0], next),
            }
            std::mem::swap(now, next);
        }
    }

    /// The images at these indices, transformed; varied as in an epoch, if one is given.
    fn transformed(
        &self,
        images: &Tensor<f32>,
        indices: &[usize],
        epoch: Option<u64>,
    ) -> Result<Tensor<f32>> {
        let sizes = self.sizes(images.shape())?;
        let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
        let images = images.contiguous()?;
        let from = images.as_slice().unwrap_or_default();
        let key = epoch.map(|epoch| random::key(self.seed, epoch));
        let mut buffers = [Vec::new(), Vec::new()];
        Ok(Tensor::build([indices.len(), last[0], last[1], last[2]], |out| {
            if values(first) == 0 || values(last) == 0 {
                return;
            }
            let images = from.chunks_exact(values(first)).zip(out.chunks_exact_mut(values(last)));
            for ((from, to), &index) in images.zip(indices) {
                let mut rng = key.map(|key| random::stream(key, index as u64));
                self.apply(from, &sizes, &mut buffers, rng.as_mut());
                to.copy_from_slice(&buffers[0]);
            }
        })?)
    }
}

fn values(size: [usize; 3]) -> usize {
    size.iter().product()
}

impl<D: Dataset<Input = Tensor<f32>>> Dataset for Augmented<D> {
    type Input = Tensor<f32>;
    type Target = D::Target;

    fn len(&self) -> usize {
        self.data.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Tensor<f32>, D::Target)> {
        self.batch_in_epoch(0, indices)
    }

    fn batch_in_epoch(&self, epoch: u64, indices: &[usize]) -> Result<(Tensor<f32>, D::Target)> {
        let (images, targets) = self.data.batch_in_epoch(epoch, indices)?;
        Ok((self.transformed(&images, indices, Some(epoch))?, targets))
    }

    fn batch_to_evaluate(&self, indices: &[usize]) -> Result<(Tensor<f32>, D::Target)> {
        let (images, targets) = self.data.batch_to_evaluate(indices)?;
        Ok((self.transformed(&images, indices, None)?, targets))
    }
}

/// Mirrors left and right, with a probability (0.5 by default).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomHorizontalFlip {
    probability: f64,
}

impl RandomHorizontalFlip {
    /// With this probability, from 0 to 1.
    pub fn new(probability: f64) -> Self {
        RandomHorizontalFlip { probability }
    }
}

impl Default for RandomHorizontalFlip {
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl Transform for RandomHorizontalFlip {
    fn output_size(&self, size: [usize; 3]) -> Result<[usize; 3]> {
        check("RandomHorizontalFlip", "the probability", self.probability, 1.0)?;
        Ok(size)
    }

    fn apply(&self, from: &[f32], [_, width, channels]: [usize; 3], to: &mut [f32], rng: &mut Rng) {
        to.copy_from_slice(from);
        if random::unit(rng) < self.probability {
            for row in to.chunks_exact_mut(width * channels) {
                row.reverse();
                row.chunks_exact_mut(channels).for_each(<[f32]>::reverse);
            }
        }
    }

    fn apply_to_evaluate(&self, from: &[f32], _: [usize; 3], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
}

/// Cuts out a part of fixed size at a random position, after padding with zeros if asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomCrop {
    size: [usize; 2],
    padding: usize,
}

impl RandomCrop {
    /// A part of this height and width, without padding.
    pub fn new(height: usize, width: usize) -> Self {
        RandomCrop { size: [height, width], padding: 0 }
    }

    /// Rows and columns of zeros added on all four sides first; 0 by default.
    #[must_use]
    pub fn padding(self, pixels: usize) -> Self {
        RandomCrop { padding: pixels, ..self }
    }
}

impl Transform for RandomCrop {
    fn output_size(&self, [height, width, channels]: [usize; 3]) -> Result<[usize; 3]> {
        let fits = |part: usize, whole: usize| {
            let padded = self.padding.checked_mul(2).and_then(|p| p.checked_add(whole));
            part > 0 && padded.is_some_and(|padded| part <= padded && isize::try_from(padded).is_ok())
        };
        if fits(self.size[0], height) && fits(self.size[1], width) {
            return Ok([self.size[0], self.size[1], channels]);
        }
        let ([h, w], padding) = (self.size, self.padding);
        let message = format!("cannot cut {h} x {w} out of {height} x {width} padded by {padding}");
        Err(Error::argument("RandomCrop", message))
    }

    fn apply(&self, from: &[f32], size: [usize; 3], to: &mut [f32], rng: &mut Rng) {
        let mut start = |axis: usize| {
            let positions = size[axis] + 2 * self.padding - self.size[axis] + 1;
            random::below(rng, positions as u64) as isize - self.padding as isize
        };
        let offset = [start(0), start(1)];
        copy_window(from, size, to, self.size, offset);
    }

    /// The middle.
    fn apply_to_evaluate(&self, from: &[f32], size: [usize; 3], to: &mut [f32]) {
        let start = |axis: usize| {
            (size[axis] + 2 * self.padding - self.size[axis]) as isize / 2 - self.padding as isize
        };
        copy_window(from, size, to, self.size, [start(0), start(1)]);
    }
}

/// Moves the image by whole pixels up or down and left or right, each distance equally likely; what is uncovered becomes
/// zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomTranslation {
    factors: [f64; 2],
}

impl RandomTranslation {
    /// By at most these fractions of height and width, from 0 to 1, rounded to whole pixels.
    pub fn new(height_factor: f64, width_factor: f64) -> Self {
        RandomTranslation { factors: [height_factor, width_factor] }
    }
}

impl Transform for RandomTranslation {
    fn output_size(&self, size: [usize; 3]) -> Result<[usize; 3]> {
        for factor in self.factors {
            check("RandomTranslation", "a factor", factor, 1.0)?;
        }
        Ok(size)
    }

    fn apply(&self, from: &[f32], size: [usize; 3], to: &mut [f32], rng: &mut Rng) {
        let mut shift = |axis: usize| {
            let most = (self.factors[axis] * size[axis] as f64).round() as isize;
            random::below(rng, 2 * most as u64 + 1) as isize - most
        };
        let offset = [shift(0), shift(1)];
        copy_window(from, size, to, [size[0], size[1]], offset);
    }

    fn apply_to_evaluate(&self, from: &[f32], _: [usize; 3], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
}

/// Turns the image about its centre, bilinear, by an angle drawn evenly; what is uncovered becomes zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomRotation {
    degrees: f64,
}

impl RandomRotation {
    /// The largest rotation either way in degrees, from 0 to 180.
    pub fn new(degrees: f64) -> Self {
        RandomRotation { degrees }
    }
}

impl Transform for RandomRotation {
    fn output_size(&self, size: [usize; 3]) -> Result<[usize; 3]> {
        check("RandomRotation", "the angle in degrees", self.degrees, 180.0)?;
        Ok(size)
    }

    fn apply(&self, from: &[f32], size: [usize; 3], to: &mut [f32], rng: &mut Rng) {
        rotate(from, size, to, random::between(rng, -self.degrees, self.degrees));
    }

    fn apply_to_evaluate(&self, from: &[f32], _: [usize; 3], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
}

/// Subtracts each channel's mean and divides by its standard deviation. Not random.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalize {
    /// With these means and standard deviations, one for each channel.
    pub fn new(mean: impl Into<Vec<f32>>, std: impl Into<Vec<f32>>) -> Self {
        Normalize { mean: mean.into(), std: std.into() }
    }

    /// MNIST's training images: 0.1307 and 0.3081.
    pub fn mnist() -> Self {
        Self::new([0.1307], [0.3081])
    }

    /// CIFAR-10's training images, over all their pixels: (0.4914, 0.4822, 0.4465) and (0.2470, 0.2435, 0.2616).
    pub fn cifar10() -> Self {
        Self::new([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
    }

    /// ImageNet's, as torchvision's models expect: (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225).
    pub fn imagenet() -> Self {
        Self::new([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    }
}

impl Transform for Normalize {
    fn output_size(&self, size: [usize; 3]) -> Result<[usize; 3]> {
        let wrong = |message| Err(Error::argument("Normalize", message));
        if [self.mean.len(), self.std.len()] != [size[2]; 2] {
            let (n, m) = (self.mean.len(), self.std.len());
            return wrong(format!("{n} means and {m} deviations for {} channels", size[2]));
        }
        if self.mean.iter().any(|mean| !mean.is_finite()) {
            return wrong(format!("the means must be finite, not {:?}", self.mean));
        }
        if self.std.iter().any(|std| !std.is_normal() || *std < 0.0) {
            return wrong(format!("the deviations must be above 0 and finite, not {:?}", self.std));
        }
        Ok(size)
    }

    fn apply(&self, from: &[f32], size: [usize; 3], to: &mut [f32], _: &mut Rng) {
        self.apply_to_evaluate(from, size, to);
    }

    fn apply_to_evaluate(&self, from: &[f32], [_, _, channels]: [usize; 3], to: &mut [f32]) {
        for (to, from) in to.chunks_exact_mut(channels).zip(from.chunks_exact(channels)) {
            for c in 0..channels {
                to[c] = (from[c] - self.mean[c]) / self.std[c];
            }
        }
    }
}

/// That a setting is from 0 to a limit.
fn check(who: &'static str, what: &str, value: f64, most: f64) -> Result<()> {
    if (0.0..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::argument(who, format!("{what} must be from 0 to {most}, not {value}")))
}

/// Copies the window whose upper left corner is at `offset` (row, column); beyond the image there are zeros.
fn copy_window(from: &[f32], size: [usize; 3], to: &mut [f32], window: [usize; 2], offset: [isize; 2]) {
    let [height, width, channels] = size;
    // The window's columns that lie in the image.
    let first = offset[1].min(0).unsigned_abs().min(window[1]);
    let past = (width as isize - offset[1]).clamp(first as isize, window[1] as isize) as usize;
    for (row, to) in to.chunks_exact_mut(window[1] * channels).enumerate() {
        to.fill(0.0);
        let row = offset[0] + row as isize;
        if first < past && (0..height as isize).contains(&row) {
            let start = (row as usize * width + (first as isize + offset[1]) as usize) * channels;
            let count = (past - first) * channels;
            to[first * channels..][..count].copy_from_slice(&from[start..][..count]);
        }
    }
}

/// Turns counter-clockwise: each new pixel looks up where it came from.
fn rotate(from: &[f32], [height, width, channels]: [usize; 3], to: &mut [f32], degrees: f64) {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (middle_y, middle_x) = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
    for (i, to) in to.chunks_exact_mut(channels).enumerate() {
        let (y, x) = ((i / width) as f64 - middle_y, (i % width) as f64 - middle_x);
        let (y, x) = (cos * y + sin * x + middle_y, cos * x - sin * y + middle_x);
        let (top, left) = (y.floor(), x.floor());
        let (down, right) = ((y - top) as f32, (x - left) as f32);
        to.fill(0.0);
        for (dy, dx, weight) in [
            (0.0, 0.0, (1.0 - down) * (1.0 - right)),
            (0.0, 1.0, (1.0 - down) * right),
            (1.0, 0.0, down * (1.0 - right)),
            (1.0, 1.0, down * right),
        ] {
            let (row, column) = (top + dy, left + dx);
            if row >= 0.0 && row < height as f64 && column >= 0.0 && column < width as f64 && weight > 0.0 {
                let pixel = &from[(row as usize * width + column as usize) * channels..][..channels];
                to.iter_mut().zip(pixel).for_each(|(to, from)| *to += weight * from);
            }
        }
    }
}
