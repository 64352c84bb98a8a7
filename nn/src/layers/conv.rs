//! Convolution of images, of sequences, and its transpose.
//!
//! One description serves both ways of writing a model: in a [`Sequential`](crate::Sequential) the channels of the input are
//! inferred, and [`layer`](Conv2d::layer) makes the module for a struct of one's own.

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape};
use serde::{Deserialize, Serialize};

use super::size::{Padding, Size2, Sliding, batch_sides, image, sequence};
use super::{Layer, MaxPool2d, Plan, Value};
use crate::{Activation, Context, Error, Init, Module, Result};

/// What all convolutions are described by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    filters: usize,
    pub(super) window: Sliding,
    pub(super) groups: usize,
    pub(super) activation: Option<Activation>,
    bias: bool,
    kernel_init: Init,
    bias_init: Init,
}

impl Settings {
    fn new(filters: usize, size: Size2) -> Self {
        Settings {
            filters,
            window: Sliding::new(size),
            groups: 1,
            activation: None,
            bias: true,
            kernel_init: Init::GlorotUniform,
            bias_init: Init::Zeros,
        }
    }

    /// Channels of one group, after a check that they can be divided.
    fn depth(&self, channels: usize, filters: usize) -> Result<usize> {
        if self.filters == 0 {
            return Err(Error::BadSetting { what: "the number of filters", value: 0.0, must: "at least 1" });
        }
        if self.groups == 0 {
            return Err(Error::BadSetting { what: "the number of groups", value: 0.0, must: "at least 1" });
        }
        if !channels.is_multiple_of(self.groups) || !filters.is_multiple_of(self.groups) {
            let (what, value) = ("the number of groups", self.groups as f64);
            return Err(Error::BadSetting {
                what,
                value,
                must: "a divisor of the channels and of the filters",
            });
        }
        Ok(channels / self.groups)
    }

    fn values(&self, weight: &[usize]) -> usize {
        let weight = weight.iter().fold(1usize, |all, &n| all.saturating_mul(n));
        weight.saturating_add(if self.bias { self.filters } else { 0 })
    }

    fn parameters(&self, weight: Shape, rng: &mut Rng) -> Result<(Parameter, Option<Parameter>)> {
        let weight = Parameter::new(self.kernel_init.tensor(weight, rng)?);
        let bias = if self.bias { Some(self.bias_init.tensor([self.filters], rng)?) } else { None };
        Ok((weight, bias.map(Parameter::new)))
    }
}

macro_rules! builders {
    ($size:ty, $two:ident) => {
        /// With another stride (default 1).
        #[must_use]
        pub fn stride(mut self, stride: $size) -> Self {
            self.0.window.stride = $two(stride);
            self
        }

        /// With taps so many pixels apart (default 1).
        #[must_use]
        pub fn dilation(mut self, dilation: $size) -> Self {
            self.0.window.dilation = $two(dilation);
            self
        }

        /// In groups that do not mix; as many as channels for a depthwise convolution.
        #[must_use]
        pub fn groups(mut self, groups: usize) -> Self {
            self.0.groups = groups;
            self
        }

        /// With an activation; ReLU is computed in the same pass.
        #[must_use]
        pub fn activation(mut self, activation: Activation) -> Self {
            self.0.activation = Some(activation);
            self
        }

        /// With or without a bias (default with).
        #[must_use]
        pub fn bias(mut self, bias: bool) -> Self {
            self.0.bias = bias;
            self
        }

        /// With other initial filters (default Glorot's uniform ones).
        #[must_use]
        pub fn kernel_init(mut self, init: Init) -> Self {
            self.0.kernel_init = init;
            self
        }

        /// With other initial biases (default 0).
        #[must_use]
        pub fn bias_init(mut self, init: Init) -> Self {
            self.0.bias_init = init;
            self
        }
    };
}

/// Description of a convolution of images `[batch, height, width, channels]`.
///
/// Defaults as in Keras: stride 1, no padding, Glorot's uniform filters, biases from 0. The weight is
/// `[height, width, channels / groups, filters]`.
///
/// ```
/// use cairn_nn::{Activation::Relu, Context, Conv2d};
/// use cairn_tensor::{Tensor, rng};
/// let layer = Conv2d::new(32, 3).same().stride(2).activation(Relu).layer(3, &mut rng(0))?;
/// let y = layer.forward(&Tensor::ones([8, 28, 28, 3])?.into())?;
/// assert_eq!(y.shape(), [8, 14, 14, 32]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conv2d(pub(super) Settings);

impl Conv2d {
    /// So many filters of this size.
    pub fn new(filters: usize, size: impl Into<Size2>) -> Self {
        Conv2d(Settings::new(filters, size.into()))
    }

    /// With padding: pixels on all sides, or a [`Padding`].
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.0.window.padding = padding.into();
        self
    }

    /// With Keras's `"same"` padding.
    #[must_use]
    pub fn same(self) -> Self {
        self.padding(Padding::Same)
    }

    builders!(impl Into<Size2>, two);

    /// The layer for images with so many channels.
    ///
    /// # Errors
    /// [`Error::BadSetting`] when groups do not divide channels and filters, or there are no filters; when memory does not
    /// hold the weight.
    pub fn layer(&self, channels: usize, rng: &mut Rng) -> Result<Conv2dLayer> {
        let (weight, bias) = self.0.parameters(self.weight(channels)?.into(), rng)?;
        let Settings { window, groups, activation, .. } = self.0;
        Ok(Conv2dLayer { weight, bias, how: How { window, groups, activation } })
    }

    fn weight(&self, channels: usize) -> Result<[usize; 4]> {
        let [height, width] = self.0.window.size.0;
        Ok([height, width, self.0.depth(channels, self.0.filters)?, self.0.filters])
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        let [height, width, channels] = image(input)?;
        let values = self.0.values(&self.weight(channels)?);
        let [rows, columns] = self.0.window.output([height, width])?;
        Ok(Plan { output: [rows, columns, self.0.filters].into(), values })
    }

    pub(super) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Conv2dLayer> {
        self.layer(image(input)?[2], rng)
    }
}

fn two(size: impl Into<Size2>) -> Size2 {
    size.into()
}

/// A size along time, with 1 along the height that sequences do not have.
fn along_time(size: usize) -> Size2 {
    Size2([1, size])
}

/// How a convolution is done.
#[derive(Debug, Clone, Copy)]
struct How {
    window: Sliding,
    groups: usize,
    activation: Option<Activation>,
}

impl How {
    fn relu(&self) -> bool {
        self.activation == Some(Activation::Relu)
    }

    /// The activation, unless it was computed already.
    fn finish(&self, y: Var) -> Result<Var> {
        match self.activation {
            None | Some(Activation::Relu) => Ok(y),
            Some(activation) => activation.apply(&y),
        }
    }
}

/// A convolution of images, made by [`Conv2d::layer`].
#[derive(Debug, Clone)]
pub struct Conv2dLayer {
    /// `[height, width, channels / groups, filters]`
    pub weight: Parameter,
    /// `[filters]`
    pub bias: Option<Parameter>,
    how: How,
}

impl Conv2dLayer {
    /// The output for images `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// When the channels do not fit, or the image is smaller than the filters.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let window = self.how.window.window(batch_sides(x.shape())?);
        let y = x.conv2d(
            &self.weight.var(),
            bias(&self.bias).as_ref(),
            self.how.relu(),
            &window,
            self.how.groups,
        )?;
        self.how.finish(y)
    }

    /// The output after pooling: the same as `pool.apply(&self.forward(x)?)`, but where the activation is ReLU or none and
    /// windows are apart without a pass over the whole convolved image, which is faster. A `Sequential` does this by itself.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and when the convolved image is smaller than the pooling window.
    pub fn forward_pooled(&self, x: &Var, pool: &MaxPool2d) -> Result<Var> {
        if !matches!(self.how.activation, None | Some(Activation::Relu)) {
            return pool.apply(&self.forward(x)?);
        }
        let image = batch_sides(x.shape())?;
        let window = self.how.window.window(image);
        let pool = pool.pool(self.how.window.output(image)?);
        let (bias, relu, groups) = (bias(&self.bias), self.how.relu(), self.how.groups);
        Ok(x.conv2d_max_pool2d(&self.weight.var(), bias.as_ref(), relu, (&window, groups), &pool)?)
    }
}

/// Description of a convolution of sequences `[batch, steps, channels]`. Defaults as [`Conv2d`]; the weight is
/// `[steps, channels / groups, filters]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conv1d(pub(super) Settings);

impl Conv1d {
    /// So many filters of this length.
    pub fn new(filters: usize, size: usize) -> Self {
        Conv1d(Settings::new(filters, along_time(size)))
    }

    /// With so many steps of padding before and after.
    #[must_use]
    pub fn padding(mut self, steps: usize) -> Self {
        self.0.window.padding = Padding::Pixels([[0; 2], [steps; 2]]);
        self
    }

    /// With padding before the first step only, so that no output sees a later step.
    #[must_use]
    pub fn causal(mut self) -> Self {
        self.0.window.padding = Padding::Causal;
        self
    }

    /// With Keras's `"same"` padding.
    #[must_use]
    pub fn same(mut self) -> Self {
        self.0.window.padding = Padding::Same;
        self
    }

    builders!(usize, along_time);

    /// The layer for sequences with so many channels.
    ///
    /// # Errors
    /// As [`Conv2d::layer`].
    pub fn layer(&self, channels: usize, rng: &mut Rng) -> Result<Conv1dLayer> {
        let (weight, bias) = self.0.parameters(self.weight(channels)?.into(), rng)?;
        let Settings { window, groups, activation, .. } = self.0;
        Ok(Conv1dLayer { weight, bias, how: How { window, groups, activation } })
    }

    fn weight(&self, channels: usize) -> Result<[usize; 3]> {
        Ok([self.0.window.size.0[1], self.0.depth(channels, self.0.filters)?, self.0.filters])
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        let [steps, channels] = sequence(input)?;
        let values = self.0.values(&self.weight(channels)?);
        let [_, steps] = self.0.window.output([1, steps])?;
        Ok(Plan { output: [steps, self.0.filters].into(), values })
    }

    pub(super) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Conv1dLayer> {
        self.layer(sequence(input)?[1], rng)
    }
}

/// A convolution of sequences, made by [`Conv1d::layer`].
#[derive(Debug, Clone)]
pub struct Conv1dLayer {
    /// `[steps, channels / groups, filters]`
    pub weight: Parameter,
    /// `[filters]`
    pub bias: Option<Parameter>,
    how: How,
}

impl Conv1dLayer {
    /// The output for sequences `[batch, steps, channels]`.
    ///
    /// # Errors
    /// When the channels do not fit, or the sequence is shorter than the filters.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let steps = x.shape().get(1).copied().unwrap_or(0);
        let window = self.how.window.window([1, steps]);
        let y = x.conv1d(
            &self.weight.var(),
            bias(&self.bias).as_ref(),
            self.how.relu(),
            &window,
            self.how.groups,
        )?;
        self.how.finish(y)
    }
}

/// Description of a transposed convolution of images, which enlarges them by its stride. The weight is
/// `[height, width, filters / groups, channels]`, as in Keras.
///
/// ```
/// use cairn_nn::ConvTranspose2d;
/// use cairn_tensor::{Tensor, rng};
/// let layer = ConvTranspose2d::new(8, 4).stride(2).padding(1).layer(16, &mut rng(0))?;
/// let y = layer.forward(&Tensor::ones([1, 7, 7, 16])?.into())?;
/// assert_eq!(y.shape(), [1, 14, 14, 8]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConvTranspose2d(pub(super) Settings, pub(super) Size2);

impl ConvTranspose2d {
    /// So many filters of this size.
    pub fn new(filters: usize, size: impl Into<Size2>) -> Self {
        ConvTranspose2d(Settings::new(filters, size.into()), 0.into())
    }

    /// With so many pixels cut off on all sides: the padding of the convolution that this is the transpose of.
    #[must_use]
    pub fn padding(mut self, pixels: impl Into<Size2>) -> Self {
        let Size2([rows, columns]) = pixels.into();
        self.0.window.padding = Padding::Pixels([[rows; 2], [columns; 2]]);
        self
    }

    /// With outputs exactly stride times as large as inputs: Keras's `"same"`.
    #[must_use]
    pub fn same(mut self) -> Self {
        self.0.window.padding = Padding::Same;
        self
    }

    /// With so many more pixels below and right, less than the stride: PyTorch's `output_padding`.
    #[must_use]
    pub fn output_padding(mut self, pixels: impl Into<Size2>) -> Self {
        self.1 = pixels.into();
        self
    }

    builders!(impl Into<Size2>, two);

    /// The layer for images with so many channels.
    ///
    /// # Errors
    /// As [`Conv2d::layer`].
    pub fn layer(&self, channels: usize, rng: &mut Rng) -> Result<ConvTranspose2dLayer> {
        let settings = &self.0;
        let (weight, bias) = settings.parameters(self.weight(channels)?.into(), rng)?;
        let Settings { window, groups, activation, .. } = *settings;
        Ok(ConvTranspose2dLayer { weight, bias, extra: self.1, how: How { window, groups, activation } })
    }

    fn weight(&self, channels: usize) -> Result<[usize; 4]> {
        let settings = &self.0;
        let [height, width] = settings.window.size.0;
        settings.depth(channels, settings.filters)?;
        Ok([height, width, settings.filters / settings.groups, channels])
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        let [height, width, channels] = image(input)?;
        let settings = &self.0;
        let values = settings.values(&self.weight(channels)?);
        let (window, extra) = transposed_window(&settings.window, self.1, [height, width]);
        let [rows, columns] = window.transposed_output(settings.window.size.0, [height, width], extra)?;
        Ok(Plan { output: [rows, columns, settings.filters].into(), values })
    }

    pub(super) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<ConvTranspose2dLayer> {
        self.layer(image(input)?[2], rng)
    }
}

/// The window of the convolution that is transposed, and the extra pixels. For `"same"`, those of the convolution that makes
/// this image of one stride times as large.
pub(super) fn transposed_window(
    sliding: &Sliding,
    extra: Size2,
    image: [usize; 2],
) -> (cairn_tensor::Window, [usize; 2]) {
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

/// A transposed convolution, made by [`ConvTranspose2d::layer`].
#[derive(Debug, Clone)]
pub struct ConvTranspose2dLayer {
    /// `[height, width, filters / groups, channels]`
    pub weight: Parameter,
    /// `[filters]`
    pub bias: Option<Parameter>,
    extra: Size2,
    how: How,
}

impl ConvTranspose2dLayer {
    /// The output for images `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// When the channels do not fit, or padding leaves nothing.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let (window, extra) = transposed_window(&self.how.window, self.extra, batch_sides(x.shape())?);
        let y = x.conv_transpose2d(
            &self.weight.var(),
            bias(&self.bias).as_ref(),
            &window,
            extra,
            self.how.groups,
        )?;
        match self.how.activation {
            Some(activation) => activation.apply(&y),
            None => Ok(y),
        }
    }
}

fn bias(bias: &Option<Parameter>) -> Option<Var> {
    bias.as_ref().map(Parameter::var)
}

macro_rules! layers {
    ($($t:ident $(, $pooled:ident)?;)*) => {$(
        /// `weight` and `bias`.
        impl Module for $t {
            fn visit(&self, visitor: &mut crate::Visitor<'_>) {
                visitor.field("weight", &self.weight);
                visitor.field("bias", &self.bias);
            }
        }
        impl Layer for $t {
            fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
                $t::forward(self, &input.floats()?)
            }
            $(
                fn $pooled(&self, input: &Var, pool: &MaxPool2d) -> Option<Result<Var>> {
                    Some(self.forward_pooled(input, pool))
                }
            )?
        }
    )*};
}
layers! {
    Conv2dLayer, pooled;
    Conv1dLayer;
    ConvTranspose2dLayer;
}
