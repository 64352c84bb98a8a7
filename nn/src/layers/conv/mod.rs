//! Convolution of images, of sequences, and its transpose.

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape, Window};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::size::{Padding, Size2, Sliding, batch_sides, image, sequence};
use super::{Layer, MaxPool2d, Value, optional_var};
use crate::weights::{Flow, Framework, Permutation, Rule};
use crate::{Activation, Context, Error, Init, Result};

/// How a convolution is done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Options {
    pub(super) window: Sliding,
    pub(super) groups: usize,
    pub(super) activation: Option<Activation>,
}

impl Options {
    fn relu(&self) -> bool {
        self.activation == Some(Activation::Relu)
    }

    /// The activation, unless it was computed already.
    fn finish(&self, y: Var) -> Result<Var> {
        match self.activation {
            None | Some(Activation::Relu) => Ok(y),
            Some(activation) => activation.forward(&y),
        }
    }
}

/// The options that change no parameter, for a layer and for its description alike.
macro_rules! options {
    ($($field:tt).+, $size:ty, $two:ident) => {
        /// With another stride (default 1).
        #[must_use]
        #[doc(alias = "strides")]
        pub fn stride(mut self, stride: $size) -> Self {
            self.$($field).+.window.stride = $two(stride);
            self
        }

        /// With taps so many pixels or steps apart (default 1).
        #[must_use]
        #[doc(alias = "dilation_rate")]
        pub fn dilation(mut self, dilation: $size) -> Self {
            self.$($field).+.window.dilation = $two(dilation);
            self
        }

        /// With Keras's `"same"` padding: as many outputs as inputs, divided by the stride (of a transposed convolution
        /// multiplied).
        #[must_use]
        pub fn same(mut self) -> Self {
            self.$($field).+.window.padding = Padding::Same;
            self
        }

        /// With an activation; ReLU is computed in the same pass.
        #[must_use]
        pub fn activation(mut self, activation: Activation) -> Self {
            self.$($field).+.activation = Some(activation);
            self
        }
    };
    ($($field:tt).+, images) => {
        options!($($field).+, impl Into<Size2>, two);

        /// With padding: pixels on all sides, or a [`Padding`].
        #[must_use]
        pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
            self.$($field).+.window.padding = padding.into();
            self
        }
    };
    ($($field:tt).+, sequences) => {
        options!($($field).+, usize, along_time);

        /// With so many steps of padding before and after.
        #[must_use]
        pub fn padding(mut self, steps: usize) -> Self {
            self.$($field).+.window.padding = Padding::Pixels([[0; 2], [steps; 2]]);
            self
        }

        /// With padding before the first step only, so that no output sees a later step.
        #[must_use]
        pub fn causal(mut self) -> Self {
            self.$($field).+.window.padding = Padding::Causal;
            self
        }
    };
    ($($field:tt).+, transposed) => {
        options!($($field).+, impl Into<Size2>, two);

        /// With so many pixels cut off on all sides: the padding of the convolution that this is the transpose of.
        #[must_use]
        pub fn padding(mut self, pixels: impl Into<Size2>) -> Self {
            let Size2([rows, columns]) = pixels.into();
            self.$($field).+.window.padding = Padding::Pixels([[rows; 2], [columns; 2]]);
            self
        }

        /// With so many more pixels below and right, less than the stride.
        #[must_use]
        pub fn output_padding(mut self, pixels: impl Into<Size2>) -> Self {
            self.extra = pixels.into();
            self
        }
    };
}

fn two(size: impl Into<Size2>) -> Size2 {
    size.into()
}

/// A size along time, with 1 along the height that sequences do not have.
fn along_time(size: usize) -> Size2 {
    Size2([1, size])
}

/// A convolution of images `[batch, height, width, channels]`.
///
/// Defaults as in Keras: stride 1, no padding, Glorot's uniform filters, biases from 0. The weight is
/// `[height, width, channels / groups, filters]`. Groups are set in the [description](crate::spec::Conv2d), whose
/// [`layer`](crate::spec::Conv2d::layer) makes the same type.
///
/// ```
/// use cairn_nn::{Activation::Relu, Conv2d};
/// use cairn_tensor::{Tensor, rng};
/// let layer = Conv2d::new(3, 32, 3, &mut rng(0))?.same().stride(2).activation(Relu);
/// let y = layer.forward(&Tensor::ones([8, 28, 28, 3])?.into())?;
/// assert_eq!(y.shape(), [8, 14, 14, 32]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, cairn_nn_derive::Module)]
#[doc(alias = "convolution")]
pub struct Conv2d {
    /// `[height, width, channels / groups, filters]`
    pub weight: Parameter,
    /// `[filters]`
    pub bias: Option<Parameter>,
    #[module(skip)]
    options: Options,
    #[module(skip)]
    pool: Option<MaxPool2d>,
}

impl Conv2d {
    /// From so many channels to so many filters of this size, with weights drawn.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for no filters; when memory does not hold the weight.
    pub fn new(channels: usize, filters: usize, size: impl Into<Size2>, rng: &mut Rng) -> Result<Self> {
        spec::Conv2d::new(filters, size).layer(channels, rng)
    }

    options!(options, images);

    /// Without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Conv2d { bias: None, ..self }
    }

    /// With maximum pooling after the activation. Where the activation is ReLU or none and windows are apart, there is no pass
    /// over the whole convolved image, which is faster. A `Sequential` does this by itself.
    #[must_use]
    pub fn max_pool(self, pool: MaxPool2d) -> Self {
        Conv2d { pool: Some(pool), ..self }
    }

    /// The output for images `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// When the channels do not fit, the image is smaller than the filters, or the convolved image than the pooling window.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let (weight, bias) = (self.weight.var(), optional_var(self.bias.as_ref()));
        let (image, relu, groups) = (batch_sides(x.shape())?, self.options.relu(), self.options.groups);
        let window = self.options.window.window(image);
        let fused = self.pool.as_ref().filter(|_| relu || self.options.activation.is_none());
        if let Some(pool) = fused {
            let pool = pool.pool(self.options.window.output(image)?);
            return Ok(x.conv2d_max_pool2d(&weight, bias.as_ref(), relu, (&window, groups), &pool)?);
        }
        let y = self.options.finish(x.conv2d(&weight, bias.as_ref(), relu, &window, groups)?)?;
        match &self.pool {
            Some(pool) => pool.forward(&y),
            None => Ok(y),
        }
    }
}

/// A convolution of sequences `[batch, steps, channels]`. Defaults as [`Conv2d`]; the weight is
/// `[steps, channels / groups, filters]`.
#[derive(Debug, Clone, cairn_nn_derive::Module)]
pub struct Conv1d {
    /// `[steps, channels / groups, filters]`
    pub weight: Parameter,
    /// `[filters]`
    pub bias: Option<Parameter>,
    #[module(skip)]
    options: Options,
}

impl Conv1d {
    /// From so many channels to so many filters of this length, with weights drawn.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn new(channels: usize, filters: usize, size: usize, rng: &mut Rng) -> Result<Self> {
        spec::Conv1d::new(filters, size).layer(channels, rng)
    }

    options!(options, sequences);

    /// Without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Conv1d { bias: None, ..self }
    }

    /// The output for sequences `[batch, steps, channels]`.
    ///
    /// # Errors
    /// When the channels do not fit, or the sequence is shorter than the filters.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let (weight, bias) = (self.weight.var(), optional_var(self.bias.as_ref()));
        let steps = x.shape().get(1).copied().unwrap_or(0);
        let (window, relu) = (self.options.window.window([1, steps]), self.options.relu());
        self.options.finish(x.conv1d(&weight, bias.as_ref(), relu, &window, self.options.groups)?)
    }
}

/// A transposed convolution of images, which enlarges them by its stride. The weight is
/// `[height, width, filters / groups, channels]`, as in Keras.
///
/// ```
/// use cairn_nn::ConvTranspose2d;
/// use cairn_tensor::{Tensor, rng};
/// let layer = ConvTranspose2d::new(16, 8, 4, &mut rng(0))?.stride(2).padding(1);
/// let y = layer.forward(&Tensor::ones([1, 7, 7, 16])?.into())?;
/// assert_eq!(y.shape(), [1, 14, 14, 8]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, cairn_nn_derive::Module)]
#[doc(alias("Conv2DTranspose", "deconvolution"))]
pub struct ConvTranspose2d {
    /// `[height, width, filters / groups, channels]`
    pub weight: Parameter,
    /// `[filters]`
    pub bias: Option<Parameter>,
    #[module(skip)]
    options: Options,
    #[module(skip)]
    extra: Size2,
}

impl ConvTranspose2d {
    /// From so many channels to so many filters of this size, with weights drawn.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn new(channels: usize, filters: usize, size: impl Into<Size2>, rng: &mut Rng) -> Result<Self> {
        spec::ConvTranspose2d::new(filters, size).layer(channels, rng)
    }

    options!(options, transposed);

    /// Without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        ConvTranspose2d { bias: None, ..self }
    }

    /// The output for images `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// When the channels do not fit, or padding leaves nothing.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let (weight, bias) = (self.weight.var(), optional_var(self.bias.as_ref()));
        let image = batch_sides(x.shape())?;
        let (window, extra) = transposed_window(&self.options.window, self.extra, image);
        let y = x.conv_transpose2d(&weight, bias.as_ref(), &window, extra, self.options.groups)?;
        match self.options.activation {
            Some(activation) => activation.forward(&y),
            None => Ok(y),
        }
    }
}

/// The window of the convolution that is transposed, and the extra pixels. For `"same"`, those of the convolution that makes
/// this image of one stride times as large.
pub(super) fn transposed_window(sliding: &Sliding, extra: Size2, image: [usize; 2]) -> (Window, [usize; 2]) {
    if sliding.padding != Padding::Same {
        return (sliding.window(image), extra.0);
    }
    let large: [usize; 2] = std::array::from_fn(|i| image[i].saturating_mul(sliding.stride.0[i]));
    let window = sliding.window(large);
    let extra = std::array::from_fn(|i| {
        let reach =
            sliding.size.0[i].saturating_sub(1).saturating_mul(sliding.dilation.0[i]).saturating_add(1);
        let padded = large[i].saturating_add(window.padding[i][0]).saturating_add(window.padding[i][1]);
        padded.saturating_sub(reach) % sliding.stride.0[i].max(1)
    });
    (window, extra)
}

macro_rules! layers {
    ($($t:ident),*) => {$(
        impl Layer for $t {
            fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
                $t::forward(self, &input.floats()?)
            }
        }
    )*};
}
layers!(Conv2d, Conv1d, ConvTranspose2d);

pub(super) mod spec;
