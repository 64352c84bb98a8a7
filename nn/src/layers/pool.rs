//! Pooling of images and sequences: maximum and mean over windows, or over everything.

use cairn_autograd::Var;
use cairn_tensor::{Pool, Shape};
use serde::{Deserialize, Serialize};

use super::size::{Padding, Size2, Sliding, batch_sides, image, sequence};
use super::{Layer, Plan, Spans, Value};
use crate::{Context, Error, Result};

macro_rules! sliding_pools {
    ($($(#[$doc:meta])* $name:ident, $method:ident, $counts:tt;)*) => {$(
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
            pub fn apply(&self, x: &Var) -> Result<Var> {
                Ok(x.$method(&self.pool(batch_sides(x.shape())?))?)
            }

            pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
                let [height, width, channels] = image(input)?;
                let pool = self.pool([height, width]);
                // The window's own check comes first: it names what is too large.
                self.window.output([height, width])?;
                let [rows, columns] = pool.output([height, width])?;
                Ok(Plan { output: [rows, columns, channels].into(), values: 0 })
            }
        }

        impl Layer for $name {
            fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
                self.apply(&input.floats()?)
            }
            sliding_pools!(@pool $counts);
        }
    )*};
    (@pool no) => {
        fn max_pool(&self) -> Option<&MaxPool2d> {
            Some(self)
        }
    };
    (@pool yes) => {};
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
    /// The maximum over windows of images. Description and layer in one.
    MaxPool2d, max_pool2d, no;
    /// The mean over windows of images; pixels of the padding do not count. Description and layer in one.
    AvgPool2d, avg_pool2d, yes;
}

macro_rules! sequence_pools {
    ($($(#[$doc:meta])* $name:ident, $images:ident;)*) => {$(
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
            pub fn apply(&self, x: &Var) -> Result<Var> {
                sequence(x.shape().get(1..).unwrap_or_default())?;
                Ok(self.0.apply(&x.unsqueeze(1)?)?.squeeze(1)?)
            }

            pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
                let [steps, channels] = sequence(input)?;
                let plan = self.0.plan(&[1, steps, channels].into())?;
                Ok(Plan { output: plan.output[1..].into(), values: 0 })
            }
        }

        impl Layer for $name {
            fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
                self.apply(&input.floats()?)
            }
        }
    )*};
}

sequence_pools! {
    /// The maximum over windows of sequences. Description and layer in one.
    MaxPool1d, MaxPool2d;
    /// The mean over windows of sequences. Description and layer in one.
    AvgPool1d, AvgPool2d;
}

/// The mean over windows cut so that there are as many as asked for, whatever the image's size. Description and layer in
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    pub fn apply(&self, x: &Var) -> Result<Var> {
        Ok(x.avg_pool2d(&Pool::adaptive(self.0.0))?)
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        let [height, width, channels] = image(input)?;
        let [rows, columns] = Pool::adaptive(self.0.0).output([height, width])?;
        Ok(Plan { output: [rows, columns, channels].into(), values: 0 })
    }
}

impl Layer for AdaptiveAvgPool2d {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        self.apply(&input.floats()?)
    }
}

macro_rules! global_pools {
    ($($(#[$doc:meta])* $name:ident, $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub struct $name;

        impl $name {
            /// `[batch, channels]` of `[batch, …, channels]`.
            ///
            /// # Errors
            /// When there is nothing between batch and channels.
            pub fn apply(&self, x: &Var) -> Result<Var> {
                let (Some(batch), Some(channels)) = (x.shape().first(), x.shape().last()) else {
                    return Err(no_places(x.shape()));
                };
                let places: usize = x.shape().get(1..x.shape().len() - 1).unwrap_or_default().iter().product();
                if x.shape().len() < 3 || places == 0 {
                    return Err(no_places(x.shape()));
                }
                Ok(x.reshape([*batch, places, *channels])?.$method(1)?)
            }

            pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
                match input.split_last() {
                    Some((&channels, places)) if !places.is_empty() && !places.contains(&0) => {
                        Ok(Plan { output: [channels].into(), values: 0 })
                    }
                    _ => Err(no_places(input)),
                }
            }
        }

    )*};
}

global_pools! {
    /// The mean of each channel over all places of an image or sequence, in a model after a
    /// [masked](super::Embedding::masked) embedding over those that are not padding. Description and layer in one.
    GlobalAvgPool, mean;
    /// The maximum of each channel over all places of an image or sequence. Description and layer in one.
    GlobalMaxPool, max;
}

impl Layer for GlobalAvgPool {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        self.apply(&input.floats()?)
    }

    fn forward_spans(&self, input: Value, spans: &Spans, _: &mut Context) -> Result<Var> {
        let x = input.floats()?;
        match x.shape() {
            &[_, time, _] => Ok(x.mul(&spans.shares(time)?)?.sum(1)?),
            other => Err(no_places(other)),
        }
    }
}

impl Layer for GlobalMaxPool {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        self.apply(&input.floats()?)
    }
}

fn no_places(input: &[usize]) -> Error {
    let why = "images [height, width, channels] or sequences [steps, channels] are needed".into();
    Error::BadInput { input: input.into(), why }
}
