//! Convolutions of images `[batch, height, width, channels]`: whole layers, with kernels of their own for every gradient.

use cairn_tensor::{Float, Pool, Window};

use super::{by, keep, multiply_adds, sum_to_channels, when};
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Gradient, Result, Var};

operations! {
    /// Convolutions. The operands are images, filters and, if there is one, the bias.
    Conv {
        /// See [`Var::conv2d`].
        Conv2d {
            /// How the filter slides.
            window: Window,
            /// Groups of channels that do not mix.
            groups: usize,
            /// Whether max(·, 0) follows.
            relu: bool,
        } = "conv2d",
        /// See [`Var::conv2d_max_pool2d`].
        Conv2dMaxPool2d {
            /// How the filter slides.
            window: Window,
            /// Groups of channels that do not mix.
            groups: usize,
            /// Whether max(·, 0) follows.
            relu: bool,
            /// The pooling after that, of windows that do not overlap.
            pool: Pool,
        } = "conv2d_max_pool2d",
        /// See [`Var::conv_transpose2d`].
        ConvTranspose2d {
            /// How the filter of the convolution slides that this is the transpose of.
            window: Window,
            /// Further pixels below and right.
            output_padding: [usize; 2],
            /// Groups of channels that do not mix.
            groups: usize,
        } = "conv_transpose2d",
    }
}

impl Rule for Conv {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let (image, filter, bias) = (x.float(0)?, x.float(1)?, x.optional(2)?);
        match *self {
            Conv::Conv2d { window, groups, relu } => {
                let value = image.conv2d(filter, bias, relu, &window, groups)?;
                wanted.ran(value, |y, [of_image, of_filter, of_bias]| {
                    let (x, w, y) = (keep(of_filter, image), keep(of_image, filter), keep(relu, y));
                    let size = [image.shape()[1], image.shape()[2]];
                    let kernel = [filter.shape()[0], filter.shape()[1]];
                    move |g| {
                        let g = match y {
                            Some(y) => y.relu_backward(g)?,
                            None => g.clone(),
                        };
                        // The filter's first: what was kept for it is freed.
                        let of_filter = by(x, |x| x.conv2d_filter_gradient(&g, kernel, &window, groups))?;
                        Ok([
                            by(w, |w| g.conv2d_input_gradient(&w, size, &window, groups))?,
                            of_filter,
                            when(of_bias, || sum_to_channels(&g))?,
                        ])
                    }
                })
            }
            Conv::Conv2dMaxPool2d { window, groups, relu, pool } => {
                let how = (&window, groups);
                let pooled = image.conv2d_max_pool2d(filter, bias, relu, how, &pool)?;
                wanted.ran(pooled.output.clone(), |_, wanted: [bool; 3]| {
                    let (x, w) = (image.clone(), filter.clone());
                    move |g| {
                        let how = (&window, groups);
                        let gradients =
                            x.conv2d_max_pool2d_backward(&w, &pooled, g, relu, how, &pool, wanted)?;
                        Ok(gradients.map(|gradient| gradient.map(Gradient::Dense)))
                    }
                })
            }
            Conv::ConvTranspose2d { window, output_padding, groups } => {
                let value = image.conv_transpose2d(filter, bias, &window, output_padding, groups)?;
                wanted.ran(value, |_, [of_image, of_filter, of_bias]| {
                    let (x, w) = (keep(of_filter, image), keep(of_image, filter));
                    let kernel = [filter.shape()[0], filter.shape()[1]];
                    move |g| {
                        Ok([
                            // The operation is the transpose of a convolution, so its own transpose is that convolution.
                            by(w, |w| g.conv2d(&w, None, false, &window, groups))?,
                            by(x, |x| g.conv2d_filter_gradient(&x, kernel, &window, groups))?,
                            when(of_bias, || sum_to_channels(g))?,
                        ])
                    }
                })
            }
        }
    }

    fn flops(&self, operands: &[&[usize]], output: &[usize]) -> u64 {
        let &[image, &[height, width, depth, outputs], ..] = operands else { return 0 };
        match self {
            Conv::Conv2d { .. } => multiply_adds(output.iter().chain(&[height, width, depth])),
            // The positions of the convolved image, before it is pooled.
            Conv::Conv2dMaxPool2d { window, .. } => {
                match (window.output([height, width], [image[1], image[2]]), image) {
                    (Ok([rows, columns]), &[batch, ..]) => {
                        multiply_adds(&[batch, rows, columns, outputs, height, width, depth])
                    }
                    _ => 0,
                }
            }
            // Each pixel that goes in is spread over a window of filters.
            Conv::ConvTranspose2d { .. } => multiply_adds(image.iter().chain(&[height, width, depth])),
        }
    }
}

impl<T: Float> Var<T> {
    /// A convolution with filters `[height, width, channels / groups, outputs]`, plus `bias` `[outputs]`, then max(·, 0) if
    /// `relu`: see [`Tensor::conv2d`](cairn_tensor::Tensor::conv2d).
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::{Tensor, Window};
    /// let image = Tensor::<f32>::ones([1, 5, 5, 2])?;
    /// let filter = Var::parameter(Tensor::ones([3, 3, 2, 4])?);
    /// let y = Var::from(image).conv2d(&filter, None, true, &Window::default(), 1)?;
    /// assert_eq!(y.shape(), [1, 3, 3, 4]);
    /// let gradients = y.sum(..)?.backward()?;
    /// assert_eq!(gradients.of(&filter)?.to_vec(), [9.0; 72]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the sizes of images, filters, bias, window and groups do not fit together.
    pub fn conv2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        window: &Window,
        groups: usize,
    ) -> Result<Self> {
        self.convolved(Conv::Conv2d { window: *window, groups, relu }, filter, bias)
    }

    /// [`conv2d`](Self::conv2d) and then [`max_pool2d`](Self::max_pool2d), where windows are apart without ever holding the
    /// whole image in between: see [`Tensor::conv2d_max_pool2d`](cairn_tensor::Tensor::conv2d_max_pool2d).
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d) and [`max_pool2d`](Self::max_pool2d).
    pub fn conv2d_max_pool2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        (window, groups): (&Window, usize),
        pool: &Pool,
    ) -> Result<Self> {
        if !pool.is_apart() {
            return self.conv2d(filter, bias, relu, window, groups)?.max_pool2d(pool);
        }
        self.convolved(Conv::Conv2dMaxPool2d { window: *window, groups, relu, pool: *pool }, filter, bias)
    }

    /// A convolution of sequences `[batch, steps, channels]` with filters `[steps, channels / groups, outputs]`: see
    /// [`Tensor::conv1d`](cairn_tensor::Tensor::conv1d).
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d), and for other ranks.
    pub fn conv1d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        window: &Window,
        groups: usize,
    ) -> Result<Self> {
        let (&[_, _, _], &[_, _, _]) = (self.shape(), filter.shape()) else {
            let why = "[batch, steps, channels] and [steps, channels / groups, outputs] are needed";
            let (op, lhs, rhs) = ("conv1d", self.dims().clone(), filter.dims().clone());
            return Err(cairn_tensor::Error::ShapeMismatch { op, lhs, rhs, why }.into());
        };
        let (image, filter) = (self.unsqueeze(1)?, filter.unsqueeze(0)?);
        image.conv2d(&filter, bias, relu, &window.along_time(), groups)?.squeeze(1)
    }

    /// A transposed convolution with filters `[height, width, outputs / groups, channels]`: see
    /// [`Tensor::conv_transpose2d`](cairn_tensor::Tensor::conv_transpose2d).
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d), and for an `output_padding` not below the stride.
    pub fn conv_transpose2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        window: &Window,
        output_padding: [usize; 2],
        groups: usize,
    ) -> Result<Self> {
        self.convolved(Conv::ConvTranspose2d { window: *window, output_padding, groups }, filter, bias)
    }

    fn convolved(&self, op: Conv, filter: &Self, bias: Option<&Self>) -> Result<Self> {
        match bias {
            Some(bias) => Var::apply(op, &[self.into(), filter.into(), bias.into()]),
            None => Var::apply(op, &[self.into(), filter.into()]),
        }
    }
}
