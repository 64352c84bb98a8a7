//! PyTorch's layouts as Cairn's, and back, value by value.
//!
//! Cairn keeps channels last: images `[batch, height, width, channels]`, filters `[height, width, channels / groups, outputs]`,
//! dense weights `[inputs, outputs]`. PyTorch keeps channels first and dense weights transposed. The one surprise on the way
//! is the dense layer after a flattened image: its inputs stand in the order of the image's axes, so
//! [`dense_after_flatten`] has to know the image.

use cairn_tensor::Tensor;

use crate::{Error, Result};

fn four(x: &Tensor, order: [usize; 4]) -> Result<Tensor> {
    Ok(x.permute(order)?.contiguous()?)
}

/// Images `[batch, channels, height, width]` with channels last.
///
/// # Errors
/// When there are not four axes.
pub fn images(x: &Tensor) -> Result<Tensor> {
    four(x, [0, 2, 3, 1])
}

/// Images with channels first.
///
/// # Errors
/// As [`images`].
pub fn to_images(x: &Tensor) -> Result<Tensor> {
    four(x, [0, 3, 1, 2])
}

/// The weight of a `torch.nn.Conv2d`, `[outputs, channels / groups, height, width]`, and of a `ConvTranspose2d`,
/// `[channels, outputs / groups, height, width]`, where groups are 1.
///
/// ```
/// use cairn_nn::weights::torch;
/// use cairn_tensor::Tensor;
/// let weight = Tensor::<f32>::zeros([32, 3, 5, 7])?;
/// assert_eq!(torch::conv2d(&weight)?.shape(), [5, 7, 3, 32]);
/// assert_eq!(torch::to_conv2d(&torch::conv2d(&weight)?)?.shape(), [32, 3, 5, 7]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// As [`images`].
pub fn conv2d(weight: &Tensor) -> Result<Tensor> {
    four(weight, [2, 3, 1, 0])
}

/// A filter as PyTorch keeps it: the inverse of [`conv2d`].
///
/// # Errors
/// As [`images`].
pub fn to_conv2d(weight: &Tensor) -> Result<Tensor> {
    four(weight, [3, 2, 0, 1])
}

/// The weight of a `torch.nn.Conv1d`, `[outputs, channels / groups, steps]`.
///
/// # Errors
/// When there are not three axes.
pub fn conv1d(weight: &Tensor) -> Result<Tensor> {
    Ok(weight.permute([2, 1, 0])?.contiguous()?)
}

/// A filter of sequences as PyTorch keeps it: the inverse of [`conv1d`].
///
/// # Errors
/// As [`conv1d`].
pub fn to_conv1d(weight: &Tensor) -> Result<Tensor> {
    conv1d(weight)
}

/// The weight of a `torch.nn.Linear`, `[outputs, inputs]`; also the way back.
///
/// # Errors
/// When it is no matrix.
pub fn dense(weight: &Tensor) -> Result<Tensor> {
    Ok(weight.permute([1, 0])?.contiguous()?)
}

/// The weight of a `torch.nn.Linear` behind a flattened image of this height, width and number of channels.
///
/// # Errors
/// When it is no matrix, or has not as many inputs as the image has numbers.
pub fn dense_after_flatten(weight: &Tensor, [height, width, channels]: [usize; 3]) -> Result<Tensor> {
    let Some(&outputs) = weight.shape().first() else {
        let why = "a weight [outputs, inputs] is needed".into();
        return Err(Error::BadInput { input: weight.dims().clone(), why });
    };
    let apart = four(&weight.reshape([outputs, channels, height, width])?, [2, 3, 1, 0])?;
    Ok(apart.reshape([height * width * channels, outputs])?)
}

/// The inverse of [`dense_after_flatten`].
///
/// # Errors
/// As [`dense_after_flatten`].
pub fn to_dense_after_flatten(weight: &Tensor, [height, width, channels]: [usize; 3]) -> Result<Tensor> {
    let Some(&outputs) = weight.shape().last() else {
        let why = "a weight [inputs, outputs] is needed".into();
        return Err(Error::BadInput { input: weight.dims().clone(), why });
    };
    let apart = four(&weight.reshape([height, width, channels, outputs])?, [3, 2, 0, 1])?;
    Ok(apart.reshape([outputs, channels * height * width])?)
}
