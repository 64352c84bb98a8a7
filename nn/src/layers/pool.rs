//! Pooling of images and sequences: maximum and mean over windows, or over everything.

use cairn_autograd::Var;
use cairn_tensor::{Pool, Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::size::{Padding, Size2, Sliding, batch_sides, image, sequence};
use super::{Layer, Value};
use crate::weights::{Flow, Framework, Rule};
use crate::{Context, Error, Result};

macro_rules! sliding_pools {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $method:ident, $counts:tt;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            pub(super) window: Sliding,
            pub(super) count_padding: bool,
        }

        impl $name {
            /// Windows of this size, side by side: the stride is the size.
            pub fn new(size: impl Into<Size2>) -> Self {
                let window = Sliding::new(size);
                $name { window: Sliding { stride: window.size, ..window }, count_padding: false }
            }

            /// With another stride.
            #[must_use]
            pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
                self.window.stride = stride.into();
                self
            }

            /// With padding, at most half of the window.
            #[must_use]
            pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
                self.window.padding = padding.into();
                self
            }

            /// With Keras's `"same"` padding.
            #[must_use]
            pub fn same(self) -> Self {
                self.padding(Padding::Same)
            }

            sliding_pools!(@counts $counts);

            pub(super) fn pool(&self, image: [usize; 2]) -> Pool {
                let pool = Pool::sliding(self.window.size.0, self.window.window(image));
                if self.count_padding { pool.count_padding() } else { pool }
            }

            /// The output for images `[batch, height, width, channels]`.
            ///
            /// # Errors
            /// When the image is smaller than the window.
            pub fn forward(&self, x: &Var) -> Result<Var> {
                Ok(x.$method(&self.pool(batch_sides(x.shape())?))?)
            }
        }

        impl Layer for $name {
            fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
                $name::forward(self, &input.floats()?)
            }
        }

        impl LayerConfig for $name {
            const KIND: &'static str = $kind;

            fn plan(&self, input: &Shape) -> Result<Plan> {
                let [height, width, channels] = image(input)?;
                // The window's own check comes first: it names what is too large.
                self.window.output([height, width])?;
                let [rows, columns] = self.pool([height, width]).output([height, width])?;
                Ok(Plan::of([rows, columns, channels]))
            }

            fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
                Ok(Box::new(*self))
            }
        }
    )*};
    (@counts yes) => {
        /// With pixels of the padding counted as zeros, as PyTorch does by default; Keras does not.
        #[must_use]
        pub fn count_padding(mut self) -> Self {
            self.count_padding = true;
            self
        }
    };
    (@counts no) => {};
}

sliding_pools! {
    /// The maximum over windows of images. Layer and description in one.
    MaxPool2d, "max_pool2d", max_pool2d, no;
    /// The mean over windows of images; pixels of the padding do not count. Layer and description in one.
    AvgPool2d, "avg_pool2d", avg_pool2d, yes;
}

macro_rules! sequence_pools {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $images:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name(pub(super) $images);

        impl $name {
            /// Windows of so many steps, side by side.
            pub fn new(size: usize) -> Self {
                $name($images::new([1, size]))
            }

            /// With another stride.
            #[must_use]
            pub fn stride(self, stride: usize) -> Self {
                $name(self.0.stride([1, stride]))
            }

            /// The output for sequences `[batch, steps, channels]`.
            ///
            /// # Errors
            /// When the sequence is shorter than the window.
            pub fn forward(&self, x: &Var) -> Result<Var> {
                sequence(x.shape().get(1..).unwrap_or_default())?;
                Ok(self.0.forward(&x.unsqueeze(1)?)?.squeeze(1)?)
            }
        }

        impl Layer for $name {
            fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
                $name::forward(self, &input.floats()?)
            }
        }

        impl LayerConfig for $name {
            const KIND: &'static str = $kind;

            fn plan(&self, input: &Shape) -> Result<Plan> {
                let [steps, channels] = sequence(input)?;
                let plan = self.0.plan(&[1, steps, channels].into())?;
                Ok(Plan::of(&plan.output[1..]))
            }

            fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
                Ok(Box::new(*self))
            }

            fn rules(&self, _: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
                flow.steps_first = false;
                Ok(Vec::new())
            }
        }
    )*};
}

sequence_pools! {
    /// The maximum over windows of sequences. Layer and description in one.
    MaxPool1d, "max_pool1d", MaxPool2d;
    /// The mean over windows of sequences. Layer and description in one.
    AvgPool1d, "avg_pool1d", AvgPool2d;
}

/// The mean over windows cut so that there are as many as asked for, whatever the image's size. Layer and description in
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[doc(alias("AdaptiveAvgPool"))]
pub struct AdaptiveAvgPool2d(pub(super) Size2);

impl AdaptiveAvgPool2d {
    /// So many outputs along height and width.
    pub fn new(output: impl Into<Size2>) -> Self {
        AdaptiveAvgPool2d(output.into())
    }

    /// The output for images `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// When the image has fewer pixels than outputs.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.avg_pool2d(&Pool::adaptive(self.0.0))?)
    }
}

impl Layer for AdaptiveAvgPool2d {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        AdaptiveAvgPool2d::forward(self, &input.floats()?)
    }
}

impl LayerConfig for AdaptiveAvgPool2d {
    const KIND: &'static str = "adaptive_avg_pool2d";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        let [height, width, channels] = image(input)?;
        let [rows, columns] = Pool::adaptive(self.0.0).output([height, width])?;
        Ok(Plan::of([rows, columns, channels]))
    }

    fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(*self))
    }
}

/// The mean of each channel over all positions of an image or sequence; where the context has a
/// [mask](crate::SequenceMask), over the valid steps. Layer and description in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[doc(alias("GlobalAveragePooling1D", "GlobalAveragePooling2D"))]
pub struct GlobalAvgPool;

impl GlobalAvgPool {
    /// `[batch, channels]` of `[batch, …, channels]`.
    ///
    /// # Errors
    /// When there is nothing between batch and channels, or a mask for what are no sequences or others.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let Some(mask) = cx.mask() else { return Ok(positions(x)?.mean(1)?) };
        match x.shape() {
            &[batch, time, _] => {
                let valid = mask.valid(batch, time)?;
                // The mean of no steps is 0.
                let steps = valid.sum(1)?.clamp(1.0, f32::MAX)?;
                Ok(x.mul(&valid)?.sum(1)?.div(&steps)?)
            }
            other => Err(no_positions(other)),
        }
    }
}

/// The maximum of each channel over all positions of an image or sequence; where the context has a
/// [mask](crate::SequenceMask), over the valid steps, 0 where there are none. Layer and description in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[doc(alias("GlobalMaxPooling1D", "GlobalMaxPooling2D"))]
pub struct GlobalMaxPool;

impl GlobalMaxPool {
    /// `[batch, channels]` of `[batch, …, channels]`.
    ///
    /// # Errors
    /// When there is nothing between batch and channels, or a mask for what are no sequences or others.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let Some(mask) = cx.mask() else { return Ok(positions(x)?.max(1)?) };
        match x.shape() {
            &[batch, time, _] => {
                let valid = mask.valid(batch, time)?;
                // What is far below any value in the padding, and nothing elsewhere.
                let below = valid.sub(&Var::constant(Tensor::scalar(1.0)))?.scale(3e38)?;
                Ok(x.mul(&valid)?.add(&below)?.max(1)?.mul(&valid.max(1)?)?)
            }
            other => Err(no_positions(other)),
        }
    }
}

impl Layer for GlobalAvgPool {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        GlobalAvgPool::forward(self, &input.floats()?, cx)
    }
}

impl Layer for GlobalMaxPool {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        GlobalMaxPool::forward(self, &input.floats()?, cx)
    }
}

macro_rules! global_configs {
    ($($name:ident, $kind:literal;)*) => {$(
        impl LayerConfig for $name {
            const KIND: &'static str = $kind;

            fn plan(&self, input: &Shape) -> Result<Plan> {
                match input.split_last() {
                    Some((&channels, positions)) if !positions.is_empty() && !positions.contains(&0) => {
                        Ok(Plan::of([channels]))
                    }
                    _ => Err(no_positions(input)),
                }
            }

            fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
                Ok(Box::new(*self))
            }
        }
    )*};
}

global_configs! {
    GlobalAvgPool, "global_avg_pool";
    GlobalMaxPool, "global_max_pool";
}

/// `[batch, positions, channels]`
fn positions(x: &Var) -> Result<Var> {
    match x.shape() {
        [batch, positions @ .., channels] if !positions.is_empty() && !positions.contains(&0) => {
            Ok(x.reshape([*batch, positions.iter().product(), *channels])?)
        }
        other => Err(no_positions(other)),
    }
}

fn no_positions(input: &[usize]) -> Error {
    let why = "images [height, width, channels] or sequences [steps, channels] are needed".into();
    Error::BadInput { input: input.into(), why }
}

pub(super) mod spec {
    pub use super::{
        AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, GlobalAvgPool, GlobalMaxPool, MaxPool1d, MaxPool2d,
    };
}
