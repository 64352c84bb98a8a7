//! Convolution of images, its two gradients, and the transposed convolution.
//!
//! Images are `[batch, height, width, channels]` and filters `[height, width, channels / groups, outputs]`, as in Keras. As
//! in every neural-network library the filter is not mirrored (cross-correlation). A sequence `[batch, steps, channels]`
//! is an image of height 1: see [`conv1d`](Tensor::conv1d).

pub(crate) mod pooled;
pub(crate) mod window;

use crate::cpu::conv::Geometry;
use crate::{Error, Float, Result, RowMajor, Shape, Tensor, Window};

impl<T: Float> Tensor<T> {
    /// Convolves images `[batch, height, width, channels]` with filters `[height, width, channels / groups, outputs]`, adds
    /// `bias` `[outputs]` if given, and takes max(·, 0) when `relu` is set, in one pass.
    ///
    /// ```
    /// use cairn_tensor::{Tensor, Window};
    /// let image = Tensor::<f32>::arange(0.0, 16.0, 1.0)?.reshape([1, 4, 4, 1])?;
    /// let mean = Tensor::full([3, 3, 1, 1], 1.0f32 / 9.0)?;
    /// let smooth = image.conv2d(&mean, None, false, &Window::default(), 1)?;
    /// assert_eq!(smooth.shape(), [1, 2, 2, 1]);
    /// assert!((smooth.get(&[0, 0, 0, 0])? - 5.0).abs() < 1e-6);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when an operand has not the axes named, or when the channels do not fit together or are not
    /// divisible by `groups`; [`Error::BadSetting`] for no groups; those of [`Window::output`].
    #[doc(alias = "convolution")]
    pub fn conv2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        window: &Window,
        groups: usize,
    ) -> Result<Self> {
        let op = "conv2d";
        let geometry = geometry(op, self.shape(), filter.shape(), window, groups)?;
        let bias = bias.map(|bias| checked_bias(op, bias, filter)).transpose()?;
        let (image, filter) = (self.row_major()?, filter.row_major()?);
        Self::try_build(output_shape(&geometry), |out| {
            (T::kernels().convolve)(&geometry, &image, &filter, bias.as_deref(), relu, out)
        })
    }

    /// The gradient of [`conv2d`](Self::conv2d)'s images, of size `[height, width]` each, from the gradient of its output.
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d), and when this is not shaped like its output.
    pub fn conv2d_input_gradient(
        &self,
        filter: &Self,
        size: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Self> {
        let op = "conv2d_input_gradient";
        let (&[batch, ..], &[_, _, depth, _]) = (self.shape(), filter.shape()) else {
            return Err(Error::mismatch(op, self.shape(), filter.shape(), FOUR_AXES));
        };
        let channels = depth.saturating_mul(groups);
        let image = Shape::from([batch, size[0], size[1], channels]);
        let geometry = geometry(op, &image, filter.shape(), window, groups)?;
        self.like_output(op, &geometry)?;
        let (gradient, filter) = (self.row_major()?, filter.row_major()?);
        Self::try_build(image, |out| (T::kernels().input_gradient)(&geometry, &gradient, &filter, out))
    }

    /// The gradient of [`conv2d`](Self::conv2d)'s filters, `size` high and wide, from its images and the gradient of its
    /// output.
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d), and when `gradient` is not shaped like its output.
    pub fn conv2d_filter_gradient(
        &self,
        gradient: &Self,
        size: [usize; 2],
        window: &Window,
        groups: usize,
    ) -> Result<Self> {
        let op = "conv2d_filter_gradient";
        let (&[_, _, _, channels], &[_, _, _, outputs]) = (self.shape(), gradient.shape()) else {
            return Err(Error::mismatch(op, self.shape(), gradient.shape(), FOUR_AXES));
        };
        let filter = Shape::from([size[0], size[1], channels / groups.max(1), outputs]);
        let geometry = geometry(op, self.shape(), &filter, window, groups)?;
        gradient.like_output(op, &geometry)?;
        let (image, gradient) = (self.row_major()?, gradient.row_major()?);
        Self::try_build(filter, |out| (T::kernels().filter_gradient)(&geometry, &image, &gradient, out))
    }

    /// The transposed convolution: what [`conv2d`](Self::conv2d) does to its images' gradient, done to images
    /// `[batch, height, width, channels]` with filters `[height, width, outputs / groups, channels]`, plus `bias`. The
    /// output has the size of [`Window::transposed_output`] with `extra` pixels.
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d) and [`Window::transposed_output`].
    #[doc(alias = "deconvolution")]
    pub fn conv_transpose2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        window: &Window,
        extra: [usize; 2],
        groups: usize,
    ) -> Result<Self> {
        let op = "conv_transpose2d";
        let (&[_, height, width, channels], &[rows, columns, _, inputs]) = (self.shape(), filter.shape())
        else {
            return Err(Error::mismatch(op, self.shape(), filter.shape(), FOUR_AXES));
        };
        if channels != inputs {
            let why = "the filter's last axis must be as long as the image has channels";
            return Err(Error::mismatch(op, self.shape(), filter.shape(), why));
        }
        let size = window.transposed_output([rows, columns], [height, width], extra)?;
        let out = self.conv2d_input_gradient(filter, size, window, groups)?;
        match bias {
            Some(bias) if bias.shape() != [out.shape()[3]] => Err(Error::mismatch(
                op,
                filter.shape(),
                bias.shape(),
                "the bias must have one value per output",
            )),
            Some(bias) => out.add(bias),
            None => Ok(out),
        }
    }

    /// Convolves sequences `[batch, steps, channels]` with filters `[steps, channels / groups, outputs]`: the first axis of
    /// `window` is ignored, the second is time. Otherwise as [`conv2d`](Self::conv2d).
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d).
    pub fn conv1d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        window: &Window,
        groups: usize,
    ) -> Result<Self> {
        let (image, filter) = (as_image("conv1d", self)?, filter.unsqueeze(0)?);
        image.conv2d(&filter, bias, relu, &window.along_time(), groups)?.squeeze(1)
    }

    /// An error unless this is shaped like the output of a convolution.
    pub(crate) fn like_output(&self, op: &'static str, geometry: &Geometry) -> Result<()> {
        let expected = output_shape(geometry);
        if self.dims() == &expected {
            Ok(())
        } else {
            Err(Error::mismatch(op, self.shape(), &expected, "the gradient must be shaped like the output"))
        }
    }
}

const FOUR_AXES: &str =
    "[batch, height, width, channels] and [height, width, channels / groups, outputs] are needed";

/// A sequence as an image of height 1.
fn as_image<T: Float>(op: &'static str, sequence: &Tensor<T>) -> Result<Tensor<T>> {
    if sequence.rank() == 3 {
        sequence.unsqueeze(1)
    } else {
        Err(Error::bad_shape(op, sequence.shape(), "[batch, steps, channels] is needed"))
    }
}

pub(crate) fn geometry(
    op: &'static str,
    image: &[usize],
    filter: &[usize],
    window: &Window,
    groups: usize,
) -> Result<Geometry> {
    let (&[batch, height, width, channels], &[rows, columns, depth, outputs]) = (image, filter) else {
        return Err(Error::mismatch(op, image, filter, FOUR_AXES));
    };
    if groups == 0 {
        return Err(Error::bad_setting(op, "the number of groups", 0, "at least 1"));
    }
    if channels % groups != 0 || outputs % groups != 0 {
        let why = "channels and outputs must be divisible by the number of groups";
        return Err(Error::mismatch(op, image, filter, why));
    }
    if depth != channels / groups {
        let why = "the filter's third axis must be as long as the image has channels, divided by the groups";
        return Err(Error::mismatch(op, image, filter, why));
    }
    let [rows, columns] = window.axes(op, [rows, columns], [height, width])?;
    Ok(Geometry { batch, rows, columns, channels, outputs, groups })
}

pub(crate) fn output_shape(geometry: &Geometry) -> Shape {
    [geometry.batch, geometry.rows.output, geometry.columns.output, geometry.outputs].into()
}

pub(crate) fn checked_bias<'a, T: Float>(
    op: &'static str,
    bias: &'a Tensor<T>,
    filter: &Tensor<T>,
) -> Result<RowMajor<'a, T>> {
    if bias.shape() == [filter.shape()[3]] {
        bias.row_major()
    } else {
        Err(Error::mismatch(op, filter.shape(), bias.shape(), "the bias must have one value per output"))
    }
}
