//! Images at another size, by the nearest pixel or bilinear interpolation, with gradients.
//!
//! Coordinates are those of PyTorch (`align_corners=False`) and Keras: pixels are squares, centres at halves.

use serde::{Deserialize, Serialize};

use crate::cpu::resize::{self, Sizes};
use crate::{Error, Float, Result, Shape, Tensor};

/// How pixels of a resized image are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Resize {
    /// The pixel that the position falls on: `floor(i · old / new)`.
    Nearest,
    /// The mean of the four pixels around, by distance; at the border the pixels there are.
    Bilinear,
}

impl<T: Float> Tensor<T> {
    /// Images `[batch, height, width, channels]` at another height and width.
    ///
    /// ```
    /// use cairn_tensor::{Resize, Tensor};
    /// let image = Tensor::from_vec(vec![1.0f32, 3.0], [1, 1, 2, 1])?;
    /// assert_eq!(image.resize2d([1, 4], Resize::Nearest)?.to_vec(), [1.0, 1.0, 3.0, 3.0]);
    /// assert_eq!(image.resize2d([1, 4], Resize::Bilinear)?.to_vec(), [1.0, 1.5, 2.5, 3.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] when this has not four axes, [`Error::ShapeMismatch`] when one of the sizes is 0.
    #[doc(alias("interpolate", "upsample"))]
    pub fn resize2d(&self, size: [usize; 2], kind: Resize) -> Result<Self> {
        let [batch, height, width, channels] = sides("resize2d", self.shape(), size)?;
        // Nothing to be made of nothing, whatever the size.
        if batch == 0 || channels == 0 {
            return Self::zeros([batch, size[0], size[1], channels]);
        }
        let x = self.row_major()?;
        let sizes = Sizes { old: [height, width], new: size, channels };
        Self::build([batch, size[0], size[1], channels], |out| resize::resize(&x, sizes, kind, out))
    }

    /// The gradient of [`resize2d`](Self::resize2d)'s input, of shape `input`, from that of its output.
    ///
    /// # Errors
    /// [`Error::BadShape`] when one of both has not four axes, [`Error::ShapeMismatch`] when a size is 0, or this is not a
    /// resized image of that shape.
    pub fn resize2d_backward(&self, input: impl Into<Shape>, kind: Resize) -> Result<Self> {
        let (op, input) = ("resize2d_backward", input.into());
        let (&[batch, new_height, new_width, channels], [images, height, width, depth]) =
            (self.shape(), sides(op, &input, [1, 1])?)
        else {
            return Err(Error::bad_shape(op, self.shape(), "[batch, height, width, channels] is needed"));
        };
        if (batch, channels) != (images, depth) || new_height * new_width == 0 {
            return Err(Error::mismatch(op, self.shape(), &input, "batch and channels must be equal"));
        }
        if self.is_empty() {
            return Self::zeros(input);
        }
        let g = self.row_major()?;
        let sizes = Sizes { old: [height, width], new: [new_height, new_width], channels };
        Self::build(input, |out| resize::gradient(&g, sizes, kind, out))
    }
}

fn sides(op: &'static str, image: &[usize], size: [usize; 2]) -> Result<[usize; 4]> {
    let &[batch, height, width, channels] = image else {
        return Err(Error::bad_shape(op, image, "[batch, height, width, channels] is needed"));
    };
    if height == 0 || width == 0 || size.contains(&0) {
        return Err(Error::mismatch(op, image, &size, "no size may be 0"));
    }
    Ok([batch, height, width, channels])
}
