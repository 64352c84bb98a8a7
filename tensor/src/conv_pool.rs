//! A convolution and the maximum pooling after it in one operation.
//!
//! Between the two stands the largest tensor of a small network, and each pass over it (write, pool, and on the way back
//! spread, mask, sum, read) is bound by memory. Here it never exists as a whole: a few images at a time are convolved into a
//! scratch buffer that stays in the second-level cache and pooled from there; kept is only which tap of each window was
//! the maximum, a byte each. The gradient is spread into such a buffer again. Training the network of three convolutions
//! on 28 x 28 images at batch 128 went from 45 % to 62 % of the machine's peak.

use crate::conv::{checked_bias, geometry, output_shape, slice};
use crate::cpu::buffer::Buffer;
use crate::cpu::conv::{self, Geometry};
use crate::cpu::pooling::{self, Reduce, Windows};
use crate::pool::{pooled_shape, windows};
use crate::{Error, Float, Pool, Result, Tensor, Window};

/// Bytes of convolved images in the scratch buffer.
const SCRATCH_BYTES: usize = 1 << 20;

/// What [`Tensor::conv2d_max_pool2d`] returns.
#[derive(Debug, Clone)]
pub struct Pooled<T: Float> {
    /// `[batch, height, width, outputs]`, pooled.
    pub output: Tensor<T>,
    /// Like `output`: which tap of its window each number came from.
    pub places: Tensor<u8>,
}

/// The gradients of a convolution's images, filters and bias; `None` where not wanted.
pub type ConvGradients<T> = [Option<Tensor<T>>; 3];

/// Both operations with everything that follows from the shapes.
struct Both {
    geometry: Geometry,
    windows: Windows,
    /// Images that are convolved at a time.
    images: usize,
}

impl Both {
    fn new(
        op: &'static str,
        image: &[usize],
        filter: &[usize],
        (window, groups, pool): (&Window, usize, &Pool),
    ) -> Result<Self> {
        let geometry = geometry(op, image, filter, window, groups)?;
        if !pool.is_apart() {
            return Err(Error::bad_shape(
                op,
                image,
                "pooling windows must be apart and have at most 256 taps",
            ));
        }
        let shape = output_shape(&geometry);
        let windows = windows(op, &shape, pool)?;
        let bytes = shape[1..].iter().product::<usize>() * std::mem::size_of::<f32>();
        // Depends on the shapes alone: the gradient of the filter is summed in this order.
        let images = (SCRATCH_BYTES / bytes.max(1)).clamp(1, geometry.batch.max(1));
        Ok(Both { geometry, windows, images })
    }

    /// Calls `f` with the first image and the geometry of each run of images.
    fn for_each_run(&self, mut f: impl FnMut(usize, &Geometry) -> Result<()>) -> Result<()> {
        for first in (0..self.geometry.batch).step_by(self.images) {
            let batch = self.images.min(self.geometry.batch - first);
            f(first, &Geometry { batch, ..self.geometry })?;
        }
        Ok(())
    }

    /// Elements of one image, of one convolved image and of one pooled image.
    fn lens(&self) -> [usize; 3] {
        let g = &self.geometry;
        let pooled = self.windows.rows.len() * self.windows.columns.len() * g.outputs;
        [g.rows.input * g.columns.input * g.channels, g.rows.output * g.columns.output * g.outputs, pooled]
    }
}

impl<T: Float> Tensor<T> {
    /// [`conv2d`](Self::conv2d) and then [`max_pool2d`](Self::max_pool2d), with the same result, in one operation. The
    /// windows of `pool` must be apart: see [`Pool::is_apart`].
    ///
    /// # Errors
    /// Those of both operations, and when windows overlap.
    pub fn conv2d_max_pool2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        (window, groups): (&Window, usize),
        pool: &Pool,
    ) -> Result<Pooled<T>> {
        let op = "conv2d_max_pool2d";
        let both = Both::new(op, self.shape(), filter.shape(), (window, groups, pool))?;
        let bias = bias.map(|bias| checked_bias(op, bias, filter)).transpose()?;
        let bias = bias.as_ref().and_then(Self::as_slice);
        let (x, filter) = (self.contiguous()?, filter.contiguous()?);
        let (x, filter) = (slice(&x), slice(&filter));
        let [image, convolved, pooled] = both.lens();
        let shape = pooled_shape(&output_shape(&both.geometry), &both.windows);
        let mut scratch = Buffer::<T>::dirty(op, both.images * convolved)?;
        let mut places = Buffer::<u8>::dirty(op, shape.count())?;
        let output = Self::try_build(shape.clone(), |out| {
            both.for_each_run(|first, run| {
                let scratch = &mut scratch[..run.batch * convolved];
                conv::convolve(run, &x[first * image..][..run.batch * image], filter, bias, relu, scratch)?;
                let range = first * pooled..(first + run.batch) * pooled;
                let out = &mut out[range.clone()];
                pooling::pool(&both.windows, Reduce::Max, scratch, out);
                pooling::places(&both.windows, scratch, out, &mut places[range]);
                Ok(())
            })
        })?;
        Ok(Pooled { output, places: Tensor::from_buffer(places, shape) })
    }

    /// The gradients of [`conv2d_max_pool2d`](Self::conv2d_max_pool2d)'s images, filters and bias, as far as `wanted`, from
    /// what it returned and the gradient of its output.
    ///
    /// # Errors
    /// As [`conv2d_max_pool2d`](Self::conv2d_max_pool2d), and when `pooled` or `gradient` are not of its output's shape.
    pub fn conv2d_max_pool2d_backward(
        &self,
        filter: &Self,
        pooled: &Pooled<T>,
        gradient: &Self,
        relu: bool,
        (window, groups): (&Window, usize),
        pool: &Pool,
        wanted: [bool; 3],
    ) -> Result<ConvGradients<T>> {
        let op = "conv2d_max_pool2d_backward";
        let both = Both::new(op, self.shape(), filter.shape(), (window, groups, pool))?;
        let shape = pooled_shape(&output_shape(&both.geometry), &both.windows);
        for given in [gradient.dims(), pooled.output.dims(), pooled.places.dims()] {
            if *given != shape {
                return Err(Error::mismatch(
                    op,
                    given,
                    &shape,
                    "the gradient must be shaped like the output",
                ));
            }
        }
        // Whether an output was above zero can be asked of the maxima, a fraction of all outputs.
        let gradient = if relu { pooled.output.relu_backward(gradient)? } else { gradient.contiguous()? };
        let bias = if wanted[2] {
            let rows = shape.count() / shape[3].max(1);
            Some(gradient.reshape([rows, shape[3]])?.sum(0)?)
        } else {
            None
        };
        let (x, filter, places) = (self.contiguous()?, filter.contiguous()?, pooled.places.contiguous()?);
        let (x, taps, g) = (slice(&x), slice(&filter), slice(&gradient));
        let places = places.as_slice().unwrap_or_default();
        let [image, convolved, pooled] = both.lens();
        let mut scratch = Buffer::<T>::dirty(op, both.images * convolved)?;
        let mut part = Buffer::<T>::dirty(op, if wanted[1] { filter.len() } else { 0 })?;
        let mut dx = Buffer::<T>::dirty(op, if wanted[0] { self.len() } else { 0 })?;
        let mut dw = Buffer::<T>::zeroed(op, part.len())?;
        both.for_each_run(|first, run| {
            let scratch = &mut scratch[..run.batch * convolved];
            let range = first * pooled..(first + run.batch) * pooled;
            let images = first * image..(first + run.batch) * image;
            pooling::spread(&both.windows, &places[range.clone()], &g[range], scratch);
            if wanted[1] {
                conv::filter_gradient(run, &x[images.clone()], scratch, &mut part)?;
                dw.iter_mut().zip(part.iter()).for_each(|(sum, &part)| *sum += part);
            }
            if wanted[0] {
                conv::input_gradient(run, scratch, taps, &mut dx[images])?;
            }
            Ok(())
        })?;
        let tensor = |wanted: bool, buffer, like: &Self| {
            if wanted { Some(Tensor::from_buffer(buffer, like.dims().clone())) } else { None }
        };
        Ok([tensor(wanted[0], dx, self), tensor(wanted[1], dw, &filter), bias])
    }
}
