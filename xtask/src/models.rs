//! The reference models, in one place: what `e2e` trains for accuracy is what `bench` times.

use cairn_nn::{Activation::Relu, Dense, Sequential};
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
