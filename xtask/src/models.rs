//! The reference models, in one place: what `e2e` trains for accuracy is what `bench` times.

/// A GPT: that of the example, so that what is copied from there is what was checked and timed.
#[path = "../../optim/examples/gpt/model.rs"]
pub(crate) mod gpt;

use cairn_nn::spec::{Conv2d, Dense, Embedding, Flatten, Lstm, MaxPool2d};
use cairn_nn::{Activation::Relu, Sequential};
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

/// Two LSTMs of 64 units with an output at every step, and a dense layer at every step, for sequences of 10 numbers; 50,570
/// parameters. Logits out.
///
/// # Errors
/// None in practice: the sizes fit.
pub fn rnn(rng: &mut Rng) -> cairn_nn::Result<Sequential> {
    Sequential::new([10, 1])
        .add(Lstm::new(64).return_sequences(true))
        .add(Lstm::new(64).return_sequences(true))
        .add(Dense::new(10))
        .build(rng)
}

/// Words that the text classifier knows.
pub const WORDS: usize = 10_000;

/// An embedding of [`WORDS`] in 128 numbers, an LSTM of 64 units and a dense layer, for texts of `steps` words; with ten
/// classes 1,330,058 parameters. Logits out.
///
/// # Errors
/// When `steps` or `classes` is 0.
pub fn nlp(steps: usize, classes: usize, rng: &mut Rng) -> cairn_nn::Result<Sequential> {
    Sequential::new([steps])
        .add(Embedding::new(WORDS, 128))
        .add(Lstm::new(64))
        .add(Dense::new(classes))
        .build(rng)
}
