//! A convolution and the maximum pooling after it in one operation.
//!
//! Between the two stands the largest tensor of a small network, and each pass over it (write, pool, and on the way back
//! spread, mask, sum, read) is bound by memory. Here it never exists as a whole: a few images at a time are convolved into a
//! scratch buffer that stays in the second-level cache and pooled from there; kept is only which tap of each window was
//! the maximum, a byte each. The gradient is spread into such a buffer again. Training the network of three convolutions
//! on 28 x 28 images at batch 128 went from 45 % to 62 % of the machine's peak.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::cpu::buffer::Buffer;
use crate::cpu::conv::Geometry;
use crate::cpu::pool::{self, Reduce, Windows};
use crate::cpu::threads::{self, num_threads};
use crate::ops::conv::{checked_bias, geometry, output_shape};
use crate::ops::pool::{pooled_shape, windows};
use crate::{Error, Float, Pool, Result, Tensor, Window};

/// Bytes of convolved images in a scratch buffer.
const SCRATCH_BYTES: usize = 1 << 19;
/// Bytes that the gradients of the filter may take, one for each run of images.
const PARTS_BYTES: usize = 1 << 24;

/// What [`Tensor::conv2d_max_pool2d`] returns.
#[derive(Debug, Clone)]
pub struct Pooled<T: Float> {
    /// `[batch, height, width, outputs]`, pooled.
    pub output: Tensor<T>,
    /// Like `output`: which tap of its window each number came from.
    pub positions: Tensor<u8>,
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
        let most = (SCRATCH_BYTES / bytes.max(1)).clamp(1, geometry.batch.max(1));
        // Runs of equal length, and a number of them that the usual numbers of threads divide.
        let runs = match geometry.batch.div_ceil(most) {
            0 | 1 => 1,
            runs => runs.next_multiple_of(4),
        };
        let images = geometry.batch.div_ceil(runs).max(1);
        Ok(Both { geometry, windows, images })
    }

    /// Runs of `images` images.
    fn runs(&self) -> usize {
        self.geometry.batch.div_ceil(self.images)
    }

    /// Run `i`: its images, and the convolution of them.
    fn run(&self, i: usize) -> (Range<usize>, Geometry) {
        let first = i * self.images;
        let batch = self.images.min(self.geometry.batch - first);
        (first..first + batch, Geometry { batch, ..self.geometry })
    }

    /// Elements of one image, of one convolved image and of one pooled image.
    fn lens(&self) -> [usize; 3] {
        let g = &self.geometry;
        let pooled = self.windows.rows.len() * self.windows.columns.len() * g.outputs;
        [g.rows.input * g.columns.input * g.channels, g.rows.output * g.columns.output * g.outputs, pooled]
    }
}

/// Calls `task` for each of `count` runs with its pieces of two slices: runs in parallel if that keeps all threads busy,
/// else one after the other, each shared by all threads.
fn in_runs<A: Send, B: Send>(
    first: &mut [A],
    second: &mut [B],
    sizes: (usize, usize),
    count: usize,
    task: impl Fn(usize, &mut [A], &mut [B]) -> Result<()> + Sync,
) -> Result<()> {
    let failed = Mutex::new(None);
    let checked = |i: usize, first: &mut [A], second: &mut [B]| {
        if let Err(error) = task(i, first, second) {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    };
    let threads = num_threads();
    if threads > 1 && (count.is_multiple_of(threads) || count >= 3 * threads) {
        threads::split_two(first, second, sizes, count, checked);
    } else {
        for i in 0..count {
            let cut = |len: usize, size: usize| (i * size).min(len)..((i + 1) * size).min(len);
            let (a, b) = (cut(first.len(), sizes.0), cut(second.len(), sizes.1));
            checked(i, &mut first[a], &mut second[b]);
        }
    }
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
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
        let bias = bias.as_deref();
        let (x, filter) = (self.row_major()?, filter.row_major()?);
        let [image, convolved, pooled] = both.lens();
        let shape = pooled_shape(&output_shape(&both.geometry), &both.windows);
        let mut positions = Buffer::<u8>::unspecified(op, shape.count())?;
        let output = Self::try_build(shape.clone(), |out| {
            let piece = both.images * pooled;
            in_runs(out, &mut positions, (piece, piece), both.runs(), |i, out, positions| {
                let (images, run) = both.run(i);
                let mut scratch = Buffer::<T>::unspecified(op, images.len() * convolved)?;
                let x = &x[images.start * image..images.end * image];
                (T::kernels().convolve)(&run, x, &filter, bias, relu, &mut scratch)?;
                (T::kernels().pool)(&both.windows, Reduce::Max, &scratch, out);
                pool::positions(&both.windows, &scratch, out, positions);
                Ok(())
            })
        })?;
        Ok(Pooled { output, positions: Tensor::from_buffer(positions, shape) })
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
        for given in [gradient.dims(), pooled.output.dims(), pooled.positions.dims()] {
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
        let (x, taps, g) = (self.row_major()?, filter.row_major()?, gradient.row_major()?);
        let positions = pooled.positions.row_major()?;
        let [image, convolved, pooled] = both.lens();
        let sum_len = if wanted[1] { filter.len() } else { 0 };
        let mut dx = Buffer::<T>::unspecified(op, if wanted[0] { self.len() } else { 0 })?;
        let mut dw = Buffer::<T>::zeroed(op, sum_len)?;
        let one = |i: usize, dx: &mut [T], part: &mut [T]| {
            let (images, run) = both.run(i);
            let mut scratch = Buffer::<T>::unspecified(op, images.len() * convolved)?;
            let range = images.start * pooled..images.end * pooled;
            pool::spread(&both.windows, &positions[range.clone()], &g[range], &mut scratch);
            if wanted[1] {
                let x = &x[images.start * image..images.end * image];
                (T::kernels().filter_gradient)(&run, x, &scratch, part)?;
            }
            if wanted[0] {
                (T::kernels().input_gradient)(&run, &scratch, &taps, dx)?;
            }
            Ok(())
        };
        let runs = both.runs();
        let dx_len = if wanted[0] { both.images * image } else { 0 };
        // A part of the filter's gradient for each run, if memory holds them; they are summed in order in any case.
        let together = (PARTS_BYTES / (sum_len * size_of::<T>()).max(1)).clamp(1, runs.max(1));
        let mut parts = Buffer::<T>::unspecified(op, together * sum_len)?;
        for first in (0..runs).step_by(together) {
            let now = together.min(runs - first);
            let dx = &mut dx[(first * dx_len).min(self.len())..];
            let dx = if wanted[0] { &mut dx[..] } else { &mut [] };
            in_runs(dx, &mut parts, (dx_len, sum_len), now, |i, dx, part| one(first + i, dx, part))?;
            for part in parts.chunks_exact(sum_len.max(1)).take(now) {
                dw.iter_mut().zip(part).for_each(|(sum, &part)| *sum += part);
            }
        }
        let tensor = |wanted: bool, buffer, like: &Self| {
            if wanted { Some(Tensor::from_buffer(buffer, like.dims().clone())) } else { None }
        };
        Ok([tensor(wanted[0], dx, self), tensor(wanted[1], dw, filter), bias])
    }
}
