//! Keras's layouts as Cairn's, and back, where they differ: depthwise filters.

use cairn_tensor::Tensor;

use crate::{Error, Result};

/// The kernel of a `keras.layers.DepthwiseConv2D`, `[height, width, channels, multiplier]`, for a convolution of as many
/// groups as channels.
///
/// # Errors
/// When it has not four axes.
pub fn depthwise(kernel: &Tensor) -> Result<Tensor> {
    let &[height, width, channels, multiplier] = kernel.shape() else {
        let why = "a kernel [height, width, channels, multiplier] is needed".into();
        return Err(Error::BadInput { input: kernel.dims().clone(), why });
    };
    Ok(kernel.reshape([height, width, 1, channels * multiplier])?)
}

/// The inverse of [`depthwise`], for so many channels.
///
/// # Errors
/// When it is no depthwise filter of so many channels.
pub fn to_depthwise(weight: &Tensor, channels: usize) -> Result<Tensor> {
    match *weight.shape() {
        [height, width, 1, outputs] if channels > 0 && outputs % channels == 0 => {
            Ok(weight.reshape([height, width, channels, outputs / channels])?)
        }
        _ => {
            let why = format!("a filter [height, width, 1, a multiple of {channels}] is needed");
            Err(Error::BadInput { input: weight.dims().clone(), why })
        }
    }
}
