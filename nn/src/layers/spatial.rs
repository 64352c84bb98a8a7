//! Layers that treat an image as a whole: borders of zeros, enlargement, dropout of whole channels.

use cairn_autograd::Var;
use cairn_tensor::{Resize, Rng, Shape};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::size::{Size2, batch_sides, image};
use super::{Dropout, Layer, Value};
use crate::{Context, Error, Result};

/// A border of zeros around images. Layer and description in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZeroPad2d {
    pub(super) padding: [[usize; 2]; 2],
}

impl ZeroPad2d {
    /// So many pixels on every side, or above and below and left and right.
    pub fn new(pixels: impl Into<Size2>) -> Self {
        let Size2([rows, columns]) = pixels.into();
        ZeroPad2d { padding: [[rows; 2], [columns; 2]] }
    }

    /// So many pixels above, below, left and right.
    pub fn sides(above: usize, below: usize, left: usize, right: usize) -> Self {
        ZeroPad2d { padding: [[above, below], [left, right]] }
    }

    /// The output for images `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// When these are no images, or memory does not hold the output.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        batch_sides(x.shape())?;
        let [[above, below], [left, right]] = self.padding;
        Ok(x.pad(&[(0, 0), (above, below), (left, right), (0, 0)], 0.0)?)
    }
}

/// Images enlarged by whole factors. Layer and description in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upsample {
    pub(super) factor: Size2,
    pub(super) how: Resize,
}

impl Upsample {
    /// By this factor along both axes, or one for each, each pixel repeated.
    pub fn new(factor: impl Into<Size2>) -> Self {
        Upsample { factor: factor.into(), how: Resize::Nearest }
    }

    /// With bilinear interpolation.
    #[must_use]
    pub fn bilinear(self) -> Self {
        Upsample { how: Resize::Bilinear, ..self }
    }

    fn output(&self, [height, width]: [usize; 2]) -> Result<[usize; 2]> {
        let Size2([rows, columns]) = self.factor;
        match (height.checked_mul(rows), width.checked_mul(columns)) {
            (Some(height), Some(width)) if rows > 0 && columns > 0 => Ok([height, width]),
            _ => {
                let value = rows.min(columns) as f64;
                let must = "at least 1, and not so large that sizes overflow";
                Err(Error::BadSetting { what: "the factor of upsampling", value, must })
            }
        }
    }

    /// The output for images `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// When these are no images, the factor is 0, or memory does not hold the output.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.resize2d(self.output(batch_sides(x.shape())?)?, self.how)?)
    }
}

/// Dropout of whole channels of an image or sequence (Tompson et al. 2015): neighbouring pixels say almost the same, so
/// dropping single ones drops little. Layer and description in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropout2d {
    dropout: Dropout,
}

impl Dropout2d {
    /// Drops channels with this probability, 0 to below 1 (checked when the layer is built or run).
    pub fn new(rate: f32) -> Self {
        Dropout2d { dropout: Dropout::new(rate) }
    }

    /// `x` of shape `[batch, …, channels]` with channels of items dropped if the context is training, else `x` itself.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a rate outside its range, [`Error::BadInput`] without a batch and channels.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let (Some(&batch), Some(&channels), 2..) = (x.shape().first(), x.shape().last(), x.shape().len())
        else {
            let why = "[batch, …, channels] is needed".into();
            return Err(Error::BadInput { input: x.dims().clone(), why });
        };
        let Some(factors) = self.dropout.factors(&[batch, channels].into(), cx)? else {
            return Ok(x.clone());
        };
        let shape: Shape = (0..x.shape().len())
            .map(|axis| match axis {
                0 => batch,
                _ if axis + 1 == x.shape().len() => channels,
                _ => 1,
            })
            .collect();
        Ok(x.mul(&Var::constant(factors.reshape(shape)?))?)
    }
}

impl Layer for ZeroPad2d {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        ZeroPad2d::forward(self, &input.floats()?)
    }
}
impl Layer for Upsample {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        Upsample::forward(self, &input.floats()?)
    }
}
impl Layer for Dropout2d {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        Dropout2d::forward(self, &input.floats()?, cx)
    }
}

pub(super) mod spec {
    pub use super::{Dropout2d, Upsample, ZeroPad2d};
}

impl LayerConfig for ZeroPad2d {
    const KIND: &'static str = "zero_pad2d";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        let [height, width, channels] = image(input)?;
        let side = |size: usize, [before, after]: [usize; 2]| {
            size.checked_add(before).and_then(|n| n.checked_add(after)).ok_or_else(|| Error::BadInput {
                input: input.clone(),
                why: "the padded size is too large".into(),
            })
        };
        let output = [side(height, self.padding[0])?, side(width, self.padding[1])?, channels];
        Ok(Plan::of(output))
    }

    fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(*self))
    }
}

impl LayerConfig for Upsample {
    const KIND: &'static str = "upsample";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        let [height, width, channels] = image(input)?;
        let [rows, columns] = self.output([height, width])?;
        Ok(Plan::of([rows, columns, channels]))
    }

    fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(*self))
    }
}

impl LayerConfig for Dropout2d {
    const KIND: &'static str = "dropout2d";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        self.dropout.plan(input)
    }

    fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(self.clone()))
    }
}
