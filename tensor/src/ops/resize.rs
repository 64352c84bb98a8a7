//! Images at another size, by the nearest pixel or bilinear interpolation, with gradients.
//!
//! Both are products with a sparse matrix along each axis, one or two entries a row; the gradient is the product with its
//! transpose. Coordinates are those of PyTorch (`align_corners=False`) and Keras: pixels are squares, centres at halves.

use serde::{Deserialize, Serialize};

use crate::cpu::threads;
use crate::{Error, Float, Result, Shape, Tensor};

/// How pixels of a resized image are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Resize {
    /// The pixel that the place falls on: `floor(i · old / new)`.
    Nearest,
    /// The mean of the four pixels around, by distance; at the border the pixels there are.
    Bilinear,
}

/// The two pixels along one axis that a place lies between, and the second one's weight.
#[derive(Debug, Clone, Copy)]
struct Place {
    near: usize,
    far: usize,
    weight: f64,
}

fn places(kind: Resize, old: usize, new: usize) -> Vec<Place> {
    let scale = old as f64 / new as f64;
    let place = |i: usize| match kind {
        Resize::Nearest => {
            // In integers: rounding must not reach the next pixel.
            let near = (i as u128 * old as u128 / new as u128) as usize;
            Place { near, far: near, weight: 0.0 }
        }
        Resize::Bilinear => {
            let at = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, (old - 1) as f64);
            let near = at as usize;
            Place { near, far: (near + 1).min(old - 1), weight: at - near as f64 }
        }
    };
    (0..new).map(place).collect()
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
    /// When this has not four axes, or one of the sizes is 0.
    pub fn resize2d(&self, size: [usize; 2], kind: Resize) -> Result<Self> {
        let [batch, height, width, channels] = sides("resize2d", self.shape(), size)?;
        let x = self.row_major()?;
        let x = &x[..];
        Self::build([batch, size[0], size[1], channels], |out| {
            let (rows, columns) = (places(kind, height, size[0]), places(kind, width, size[1]));
            let line = size[1] * channels;
            threads::split_units(out, line, 4 * line, |first, out| {
                for (i, out) in out.chunks_exact_mut(line).enumerate() {
                    let (image, row) = ((first + i) / size[0], rows[(first + i) % size[0]]);
                    let pixel = |y: usize, x_: usize| {
                        &x[((image * height + y) * width + x_) * channels..][..channels]
                    };
                    for (out, column) in out.chunks_exact_mut(channels.max(1)).zip(&columns) {
                        let corners = corners::<T>(row, *column);
                        let [a, b, c, d] = corners.map(|(y, x, _)| pixel(y, x));
                        let [p, q, r, s] = corners.map(|(.., weight)| weight);
                        for (i, o) in out.iter_mut().enumerate() {
                            *o = a[i] * p + b[i] * q + c[i] * r + d[i] * s;
                        }
                    }
                }
                false
            });
        })
    }

    /// The gradient of [`resize2d`](Self::resize2d)'s input, of shape `input`, from that of its output.
    ///
    /// # Errors
    /// When `input` has not four axes, a size is 0, or this is not a resized image of that shape.
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
        let g = self.row_major()?;
        let g = &g[..];
        Self::build(input, |out| {
            let (rows, columns) = (places(kind, height, new_height), places(kind, width, new_width));
            let (image_len, new_len) = (height * width * channels, new_height * new_width * channels);
            threads::split_units(out, image_len, 4 * new_len, |first, out| {
                for (i, out) in out.chunks_exact_mut(image_len).enumerate() {
                    out.fill(T::ZERO);
                    let mut pixels = g[(first + i) * new_len..][..new_len].chunks_exact(channels.max(1));
                    for row in &rows {
                        for (column, g) in columns.iter().zip(&mut pixels) {
                            for (y, x, weight) in corners::<T>(*row, *column) {
                                let out = &mut out[(y * width + x) * channels..][..channels];
                                out.iter_mut().zip(g).for_each(|(o, &g)| *o += g * weight);
                            }
                        }
                    }
                }
                false
            });
        })
    }
}

/// The four pixels around a place and their weights.
#[inline(always)]
fn corners<T: Float>(row: Place, column: Place) -> [(usize, usize, T); 4] {
    let weight = |x: f64, y: f64| T::from_f64(x * y);
    [
        (row.near, column.near, weight(1.0 - row.weight, 1.0 - column.weight)),
        (row.near, column.far, weight(1.0 - row.weight, column.weight)),
        (row.far, column.near, weight(row.weight, 1.0 - column.weight)),
        (row.far, column.far, weight(row.weight, column.weight)),
    ]
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
