//! The reference models, in one place: what `e2e` trains for accuracy is what `bench` times.

/// A GPT: that of the example, so that what is copied from there is what was checked and timed.
#[path = "../../optim/examples/gpt/model.rs"]
pub(crate) mod gpt;

use cairn_nn::spec::{
    Conv2d, Dense, Dropout, Embedding, Flatten, GlobalAvgPool, LayerNorm, Lstm, MaxPool2d,
    MultiHeadAttention, PatchEmbedding, PositionEmbedding, TransformerEncoderLayer,
};
use cairn_nn::{Activation::Gelu, Activation::Relu, Init, Sequential};
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

/// The side of a patch of the vision transformer.
pub const PATCH: usize = 4;

/// A vision transformer for images of 28 x 28: patches of [`PATCH`] in 64 features, four blocks of 4 heads and 128 hidden units, and the
/// mean of all patches. Logits out.
///
/// # Errors
/// None in practice: the sizes fit.
pub fn vit(rng: &mut Rng) -> cairn_nn::Result<Sequential> {
    let block = TransformerEncoderLayer::new(4, 128).activation(Gelu).norm_first(true).dropout(0.0);
    let mut model = Sequential::new([28, 28, 1]).add(PatchEmbedding::new(PATCH, 64));
    for _ in 0..4 {
        model = model.add(block.clone());
    }
    model.add(LayerNorm::new()).add(GlobalAvgPool).add(Dense::new(10)).build(rng)
}

/// Words that the attentive text classifier knows, and words of a text that it reads.
pub const ATTENTIVE_WORDS: usize = 20_000;
/// See [`ATTENTIVE_WORDS`].
pub const ATTENTIVE_STEPS: usize = 200;

/// The text classifier of Keras's example `text_classification_with_transformer`: words and positions in 32 numbers, one block of 2
/// heads of 32 features and 32 hidden units, the mean over the words, and dense layers of 20 and 2. Logits out.
///
/// Keras draws the projections of attention as if they were convolutions, within ± sqrt(6 / (64 + 1024)), so that at first every word
/// attends to all alike.
///
/// # Errors
/// None in practice: the sizes fit.
pub fn attentive(steps: usize, rng: &mut Rng) -> cairn_nn::Result<Sequential> {
    let attention = MultiHeadAttention::new(2).head_size(32).init(Init::Uniform(0.074));
    Sequential::new([steps])
        .add_named("words", Embedding::new(ATTENTIVE_WORDS, 32))
        .add_named("positions", PositionEmbedding)
        .add(TransformerEncoderLayer::new(2, 32).attention(attention).epsilon(1e-6))
        .add(GlobalAvgPool)
        .add(Dropout::new(0.1))
        .add(Dense::new(20).activation(Relu))
        .add(Dropout::new(0.1))
        .add(Dense::new(2))
        .build(rng)
}
