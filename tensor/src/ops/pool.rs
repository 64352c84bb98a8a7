//! Pooling of images `[batch, height, width, channels]`: maximum and mean over windows, with their gradients.

use serde::{Deserialize, Serialize};

use crate::cpu::pool::{Reduce, Span, Spread, Windows};
use crate::{Error, Float, Result, Shape, Tensor, Window};

/// The windows that an image is pooled over.
///
/// ```
/// use cairn_tensor::{Pool, Tensor};
/// let image = Tensor::<f32>::arange(0.0, 16.0, 1.0)?.reshape([1, 4, 4, 1])?;
/// let y = image.max_pool2d(&Pool::new([2, 2]))?;
/// assert_eq!(y.to_vec(), [5.0, 7.0, 13.0, 15.0]);
/// // One window of the whole image, however large it is.
/// assert_eq!(image.avg_pool2d(&Pool::adaptive([1, 1]))?.to_vec(), [7.5]);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pool {
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Kind {
    Sliding { size: [usize; 2], window: Window, count_padding: bool },
    Adaptive { output: [usize; 2] },
}

impl Pool {
    /// Windows of this size side by side: the stride is the size.
    pub fn new(size: [usize; 2]) -> Self {
        Pool::sliding(size, Window::default().stride(size))
    }

    /// Windows of this size that slide as given. Pixels of the padding are never the maximum, and do not count in the
    /// mean.
    pub fn sliding(size: [usize; 2], window: Window) -> Self {
        Pool { kind: Kind::Sliding { size, window, count_padding: false } }
    }

    /// With pixels of the padding counted as zeros in the mean, as PyTorch does by default; Keras does not.
    #[must_use]
    pub fn count_padding(self) -> Self {
        match self.kind {
            Kind::Sliding { size, window, .. } => {
                Pool { kind: Kind::Sliding { size, window, count_padding: true } }
            }
            Kind::Adaptive { .. } => self,
        }
    }

    /// As many windows as `output`, cut evenly: window `i` of `n` covers pixels `floor(i·size/n)` to `ceil((i+1)·size/n)`.
    pub fn adaptive(output: [usize; 2]) -> Self {
        Pool { kind: Kind::Adaptive { output } }
    }

    /// Size, window and whether padding counts, where windows slide; `None` where they are adaptive.
    pub fn as_sliding(&self) -> Option<([usize; 2], Window, bool)> {
        match self.kind {
            Kind::Sliding { size, window, count_padding } => Some((size, window, count_padding)),
            Kind::Adaptive { .. } => None,
        }
    }

    /// The number of windows on an image, along height and width.
    ///
    /// # Errors
    /// Those of [`Window::output`], when padding is more than half of the window or a (dilated) window lies in the padding
    /// alone; adaptive windows must be at least one and no more than pixels.
    pub fn output(&self, image: [usize; 2]) -> Result<[usize; 2]> {
        let [rows, columns] = self.spans("pool", image)?;
        Ok([rows.len(), columns.len()])
    }

    /// Whether windows neither overlap nor have more taps than a byte counts: the condition of
    /// [`conv2d_max_pool2d`](Tensor::conv2d_max_pool2d).
    pub fn is_apart(&self) -> bool {
        match self.kind {
            Kind::Sliding { size, window, .. } => {
                (0..2).all(|i| window.stride[i] >= size[i] && window.dilation[i] == 1)
                    && size[0].saturating_mul(size[1]) <= 256
            }
            Kind::Adaptive { .. } => false,
        }
    }

    fn spans(&self, op: &'static str, image: [usize; 2]) -> Result<[Vec<Span>; 2]> {
        match self.kind {
            Kind::Sliding { size, window, .. } => {
                let axes = window.axes(op, size, image)?;
                for (axis, padding) in axes.iter().zip(window.padding) {
                    // PyTorch's rule; it also bounds the number of windows by that of pixels.
                    let reach = (axis.kernel - 1) * axis.dilation + 1;
                    if let Some(&padding) = padding.iter().find(|&&padding| padding > reach / 2) {
                        let (value, must) = (padding as f64, "at most half of the window");
                        return Err(Error::bad_setting(op, "the padding", value, must));
                    }
                }
                let spans = axes.map(|axis| {
                    (0..axis.output)
                        .map(|at| {
                            let (base, step) = (at * axis.stride, axis.dilation);
                            let skipped = axis.before.saturating_sub(base).div_ceil(step).min(axis.kernel);
                            let start = (base + skipped * step).saturating_sub(axis.before);
                            let end = base + (axis.kernel - 1) * step + 1;
                            let end = end.saturating_sub(axis.before).min(axis.input);
                            Span {
                                start: if skipped == axis.kernel { end } else { start.min(end) },
                                end,
                                step,
                            }
                        })
                        .collect::<Vec<_>>()
                });
                if spans.iter().flatten().any(|span| span.start == span.end) {
                    return Err(Error::bad_shape(op, &image, "a window lies in the padding alone"));
                }
                Ok(spans)
            }
            Kind::Adaptive { output } => {
                if output.contains(&0) || image.iter().zip(output).any(|(&pixels, output)| pixels < output) {
                    let why = "adaptive pooling needs at least one output, and a pixel for each";
                    return Err(Error::mismatch(op, &image, &output, why));
                }
                let cut = |i: usize| {
                    let (size, count) = (image[i], output[i]);
                    // Exact without products that could overflow.
                    let at = |k: usize| size / count * k + size % count * k / count;
                    let spans = (0..count).map(|k| {
                        let (whole, rest) = (at(k + 1), size % count * (k + 1) % count);
                        Span { start: at(k), end: whole + usize::from(rest > 0), step: 1 }
                    });
                    spans.collect::<Vec<_>>()
                };
                Ok([cut(0), cut(1)])
            }
        }
    }

    /// The number of pixels that count, for each window.
    fn counts<T: Float>(&self, windows: &Windows) -> Vec<T> {
        let len = |span: &Span| (span.end - span.start).div_ceil(span.step);
        let all = |rows: usize, columns: usize| match self.kind {
            Kind::Sliding { size, count_padding: true, .. } => size[0] * size[1],
            _ => rows * columns,
        };
        let rows = windows.rows.iter().map(len);
        rows.flat_map(|row| windows.columns.iter().map(move |column| (row, len(column))))
            .map(|(row, column)| T::from_f64(all(row, column) as f64))
            .collect()
    }
}

impl<T: Float> Tensor<T> {
    /// The maximum over each window of images `[batch, height, width, channels]`; NaN where a window holds one.
    ///
    /// # Errors
    /// [`Error::BadShape`] when this has not four axes, and those of [`Pool::output`].
    #[doc(alias = "maxpool")]
    pub fn max_pool2d(&self, pool: &Pool) -> Result<Self> {
        let windows = self.windows("max_pool2d", pool)?;
        let x = self.row_major()?;
        Self::build(self.pooled_shape(&windows), |out| {
            (T::kernels().pool)(&windows, Reduce::Max, &x, out);
        })
    }

    /// The gradient of [`max_pool2d`](Self::max_pool2d)'s input: each window's goes to its first maximum. `output` is what
    /// was returned for this input.
    ///
    /// # Errors
    /// As [`max_pool2d`](Self::max_pool2d), and when `output` or `gradient` are not shaped like its output.
    pub fn max_pool2d_backward(&self, output: &Self, gradient: &Self, pool: &Pool) -> Result<Self> {
        let op = "max_pool2d_backward";
        let windows = self.windows(op, pool)?;
        let shape = self.pooled_shape(&windows);
        same_shape(op, output, &shape)?;
        same_shape(op, gradient, &shape)?;
        let (x, y, g) = (self.row_major()?, output.row_major()?, gradient.row_major()?);
        Self::build(self.dims(), |out| {
            let spread = Spread::Max(&x, &y);
            (T::kernels().pool_gradient)(&windows, spread, &g, out);
        })
    }

    /// The mean over each window of images `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// As [`max_pool2d`](Self::max_pool2d).
    #[doc(alias = "average_pooling")]
    pub fn avg_pool2d(&self, pool: &Pool) -> Result<Self> {
        let windows = self.windows("avg_pool2d", pool)?;
        let (x, counts) = (self.row_major()?, pool.counts(&windows));
        Self::build(self.pooled_shape(&windows), |out| {
            (T::kernels().pool)(&windows, Reduce::Mean(&counts), &x, out);
        })
    }

    /// The gradient of [`avg_pool2d`](Self::avg_pool2d)'s input, of shape `input`, from that of its output.
    ///
    /// # Errors
    /// As [`avg_pool2d`](Self::avg_pool2d), and when this is not shaped like its output.
    pub fn avg_pool2d_backward(&self, input: impl Into<Shape>, pool: &Pool) -> Result<Self> {
        let (op, input) = ("avg_pool2d_backward", input.into());
        let windows = windows(op, &input, pool)?;
        same_shape(op, self, &pooled_shape(&input, &windows))?;
        let (g, counts) = (self.row_major()?, pool.counts(&windows));
        Self::build(input, |out| {
            (T::kernels().pool_gradient)(&windows, Spread::Mean(&counts), &g, out);
        })
    }

    fn windows(&self, op: &'static str, pool: &Pool) -> Result<Windows> {
        windows(op, self.shape(), pool)
    }

    fn pooled_shape(&self, windows: &Windows) -> Shape {
        pooled_shape(self.shape(), windows)
    }
}

pub(crate) fn windows(op: &'static str, image: &[usize], pool: &Pool) -> Result<Windows> {
    let &[_, height, width, channels] = image else {
        return Err(Error::bad_shape(op, image, "[batch, height, width, channels] is needed"));
    };
    let [rows, columns] = pool.spans(op, [height, width])?;
    Ok(Windows { image: [height, width, channels], rows, columns })
}

pub(crate) fn pooled_shape(image: &[usize], windows: &Windows) -> Shape {
    let batch = image.first().copied().unwrap_or(0);
    [batch, windows.rows.len(), windows.columns.len(), windows.image[2]].into()
}

fn same_shape<T: Float>(op: &'static str, tensor: &Tensor<T>, shape: &Shape) -> Result<()> {
    if tensor.dims() == shape {
        Ok(())
    } else {
        Err(Error::mismatch(op, tensor.shape(), shape, "the gradient must be shaped like the output"))
    }
}
