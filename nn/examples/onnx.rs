//! Writes a small model for every kind of layer as ONNX, each with an input and Cairn's output beside it, for
//! `check_onnx.py` to run in ONNX Runtime:
//!
//! ```text
//! cargo run -p cairn-nn --example onnx -- FOLDER && python nn/examples/check_onnx.py FOLDER
//! ```

use std::error::Error;
use std::path::PathBuf;

use cairn_nn::Activation::{
    Elu, Gelu, GeluTanh, LeakyRelu, Relu, Selu, Sigmoid, Silu, Softmax, Softplus, Tanh,
};
use cairn_nn::spec::{
    BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Dense, Embedding, GroupNorm, Gru, Lstm, Rnn,
};
use cairn_nn::weights::Weights;
use cairn_nn::{
    AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, Dropout, Dropout2d, Flatten, GlobalAvgPool, GlobalMaxPool,
    MaxPool1d, MaxPool2d, Model, Module, Sequential, SequentialBuilder, Upsample, ZeroPad2d,
};
use cairn_tensor::{Shape, Tensor, rng};

/// Name and model, a kind of layer each, after the reference models. Ids are below 100 in all but one.
fn models() -> Vec<(&'static str, SequentialBuilder)> {
    let image = || Sequential::new([7, 6, 4]);
    let sequence = || Sequential::new([12, 6]);
    let mut models = vec![
        (
            "mlp",
            Sequential::new([784])
                .add(Dense::new(64).activation(Relu))
                .add(Dropout::new(0.2))
                .add(Dense::new(64).activation(Relu))
                .add(Dense::new(10).activation(Softmax)),
        ),
        (
            "cnn",
            Sequential::new([28, 28, 1])
                .add(Conv2d::new(8, 3).activation(Relu))
                .add(MaxPool2d::new(2))
                .add(Conv2d::new(16, 3).same().bias(false))
                .add(BatchNorm::new())
                .add(Relu)
                .add(Dropout2d::new(0.2))
                .add(MaxPool2d::new(2))
                .add(Flatten)
                .add(Dense::new(10)),
        ),
        (
            "rnn",
            Sequential::new([10, 1])
                .add(Lstm::new(64).return_sequences(true))
                .add(Lstm::new(64).return_sequences(true))
                .add(Dense::new(10)),
        ),
        (
            "nlp",
            Sequential::new([100]).add(Embedding::new(10_000, 128)).add(Lstm::new(64)).add(Dense::new(10)),
        ),
        ("nothing", Sequential::new([5])),
        ("dense_on_images", image().add(Dense::new(3).activation(Tanh)).add(Dense::new(2).bias(false))),
        ("flatten", image().add(Conv2d::new(2, 2)).add(Flatten)),
        (
            "conv2d",
            image().add(Conv2d::new(6, [3, 2]).stride([2, 1]).padding([1, 2]).dilation([1, 2]).groups(2)),
        ),
        ("conv2d_same", image().add(Conv2d::new(3, [4, 3]).stride(2).same().activation(Gelu))),
        ("conv1d", sequence().add(Conv1d::new(4, 3).stride(2).groups(2).padding(1))),
        ("conv1d_causal", sequence().add(Conv1d::new(4, 3).dilation(2).causal().activation(Relu))),
        ("conv_transpose2d", image().add(ConvTranspose2d::new(6, 3).stride(2).padding(1).output_padding(1))),
        ("conv_transpose2d_groups", image().add(ConvTranspose2d::new(6, [2, 3]).groups(2).dilation(2))),
        (
            "conv_transpose2d_same",
            image().add(ConvTranspose2d::new(3, 4).stride(3).same().activation(Sigmoid)),
        ),
        ("max_pool2d", image().add(MaxPool2d::new(3).stride(2).padding(1))),
        ("max_pool2d_same", image().add(MaxPool2d::new([2, 3]).same())),
        ("avg_pool2d", image().add(AvgPool2d::new(3).stride(2).padding(1))),
        ("avg_pool2d_counting", image().add(AvgPool2d::new(3).stride(2).padding(1).count_padding())),
        ("avg_pool2d_same", image().add(AvgPool2d::new([2, 3]).stride(2).same())),
        ("max_pool1d", sequence().add(MaxPool1d::new(3).stride(2))),
        ("avg_pool1d", sequence().add(AvgPool1d::new(2))),
        ("adaptive_avg_pool2d", image().add(AdaptiveAvgPool2d::new([3, 4]))),
        ("global_avg_pool", image().add(Conv2d::new(3, 2)).add(GlobalAvgPool).add(Dense::new(2))),
        ("global_avg_pool_of_sequences", sequence().add(GlobalAvgPool)),
        ("global_max_pool", image().add(GlobalMaxPool)),
        ("batch_norm", image().add(BatchNorm::new().epsilon(0.01))),
        ("batch_norm_of_features", Sequential::new([5]).add(BatchNorm::new())),
        ("batch_norm_of_sequences", sequence().add(BatchNorm::new()).add(Dense::new(2))),
        ("group_norm", image().add(GroupNorm::new(2)).add(Conv2d::new(2, 3))),
        ("group_norm_of_features", Sequential::new([6]).add(GroupNorm::new(3))),
        ("group_norm_of_sequences", sequence().add(GroupNorm::new(3))),
        ("zero_pad2d", image().add(ZeroPad2d::sides(1, 0, 2, 3))),
        ("zero_pad2d_inside", image().add(Conv2d::new(2, 2)).add(ZeroPad2d::new(1)).add(MaxPool2d::new(2))),
        ("upsample", image().add(Upsample::new([2, 3]))),
        ("upsample_bilinear", image().add(Upsample::new([3, 2]).bilinear())),
        ("embedding", Sequential::new([2, 3]).add(Embedding::new(100, 4))),
        ("embedding_of_one", Sequential::new([]).add(Embedding::new(100, 4)).add(Dense::new(2))),
        ("embedding_conv1d", Sequential::new([9]).add(Embedding::new(100, 4)).add(Conv1d::new(3, 2))),
        ("lstm", sequence().add(Lstm::new(5))),
        ("lstm_reverse", sequence().add(Lstm::new(5).reverse())),
        ("lstm_reverse_steps", sequence().add(Lstm::new(5).reverse().return_sequences(true))),
        ("lstm_bidirectional_stack", sequence().add(Lstm::new(5).layers(3).bidirectional().dropout(0.5))),
        ("gru", sequence().add(Gru::new(5)).add(Dense::new(2))),
        ("gru_reset_before", sequence().add(Gru::reset_before(5).bidirectional().layers(2))),
        ("gru_bidirectional_steps", sequence().add(Gru::new(5).bidirectional().return_sequences(true))),
        ("gru_both_backwards", sequence().add(Gru::new(5).reverse().bidirectional().return_sequences(true))),
        ("rnn_tanh", sequence().add(Rnn::new(5).layers(2).return_sequences(true)).add(Flatten)),
        ("rnn_relu", sequence().add(Conv1d::new(6, 2)).add(Rnn::relu(5).bidirectional())),
        ("softmax_of_images", image().add(Conv2d::new(3, 2)).add(Softmax)),
    ];
    let activations =
        [Relu, LeakyRelu(0.2), Elu(0.7), Selu, Gelu, GeluTanh, Silu, Softplus, Tanh, Sigmoid, Softmax];
    models.extend(activations.map(|f| (f.name(), Sequential::new([50]).add(f))));
    models
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "onnx".into()));
    std::fs::create_dir_all(&folder)?;
    let mut rng = rng(7);
    for (name, builder) in models() {
        let model = builder.build(&mut rng)?;
        // Statistics and shifts that are not those a layer begins with.
        let mut state = model.state();
        for (path, value) in &mut state {
            if value.rank() == 1 {
                let low = if path.ends_with("running_var") { 0.5 } else { -0.5 };
                *value = Tensor::<f32>::uniform(value.dims(), low, low + 1.0, &mut rng)?.into();
            }
        }
        model.load_state(&state)?;
        model.export_onnx(folder.join(format!("{name}.onnx")))?;
        let shape: Shape = [3].iter().chain(model.input_shape().iter()).copied().collect();
        let (input, output) = if model.layer_names().next().is_some_and(|layer| layer == "embedding") {
            // As numbers in the file, which hold them exactly.
            let vocabulary = if name == "nlp" { 10_000.0 } else { 100.0 };
            let input = Tensor::<f32>::uniform(shape, 0.0, vocabulary, &mut rng)?.floor()?;
            let output = model.predict_batch(&input.cast::<u32>()?)?;
            (input, output)
        } else {
            let input = Tensor::<f32>::normal(shape, 0.0, 1.0, &mut rng)?;
            let output = model.predict_batch(&input)?;
            (input, output)
        };
        let both = [("input".to_owned(), input.into()), ("output".to_owned(), output.into())];
        Weights { tensors: both.into(), ..Weights::default() }
            .write_safetensors(folder.join(format!("{name}.safetensors")))?;
    }
    Ok(())
}
