//! The reference models, in one place: what `e2e` trains for accuracy is what `bench` times.

use cairn_nn::{Activation::Relu, Conv2d, Dense, Flatten, MaxPool2d, Sequential};
use cairn_tensor::Rng;

/// 784-64-64-10 with ReLU; 55,050 parameters. Logits out.
///
/// # Errors
/// None in practice: the sizes fit.
pub fn mlp(rng: &mut Rng) -> cairn_nn::Result<Sequential> {
    Sequential::new([784])
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(64).activation(Relu))
        .add(Dense::new(10))
        .build(rng)
}

/// Three convolutions of 3 x 3 with ReLU, 32, 64 and 64 filters, the first two followed by pooling, and a dense layer, for
/// images of 28 x 28; 61,514 parameters. Logits out.
///
/// # Errors
/// None in practice: the sizes fit.
pub fn cnn(rng: &mut Rng) -> cairn_nn::Result<Sequential> {
    Sequential::new([28, 28, 1])
        .add(Conv2d::new(32, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(64, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(64, 3).activation(Relu))
        .add(Flatten)
        .add(Dense::new(10))
        .build(rng)
}
