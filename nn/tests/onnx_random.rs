//! Models drawn at random from all kinds of layers: each that can be built and run has its file and its final form.
//!
//! What ONNX Runtime makes of the files:
//!
//! ```text
//! cargo test -p cairn-nn --test onnx_random -- --ignored --nocapture      says where it wrote them
//! python nn/examples/check_onnx.py FOLDER
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use cairn_nn::spec::{
    BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Dense, Embedding, GroupNorm, Gru, LayerNorm, LayerSpec, Lstm,
    Recurrent, RmsNorm, Rnn,
};
use cairn_nn::weights::Weights;
use cairn_nn::{
    Activation, AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, Context, Dropout, Dropout2d, Flatten, GlobalAvgPool,
    GlobalMaxPool, MaxPool1d, MaxPool2d, Module, Sequential, Upsample, Value, ZeroPad2d,
};
use cairn_tensor::{Shape, Tensor, rng};

/// The splitmix64 sequence.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    fn yes(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

const VOCABULARY: usize = 13;

fn layer(draw: &mut Draw) -> LayerSpec {
    let [a, b, c] = [(); 3].map(|()| draw.between(1, 3));
    let units = draw.between(1, 6);
    let recurrent = |mut layer: Recurrent, draw: &mut Draw| {
        if draw.yes() {
            layer = layer.bidirectional();
        }
        if draw.yes() {
            layer = layer.reverse();
        }
        layer.layers(draw.between(1, 2)).return_sequences(draw.yes())
    };
    match draw.between(0, 29) {
        0 => Dense::new(units).into(),
        1 => Dense::new(units).bias(false).activation(Activation::Tanh).into(),
        2 => Activation::Relu.into(),
        3 => Activation::Softmax.into(),
        4 => Activation::Gelu.into(),
        5 => Dropout::new(0.5).into(),
        6 => Flatten.into(),
        7 => Conv2d::new(2 * units, [a, b]).stride(c).groups(2).padding(1).into(),
        8 => Conv2d::new(units, [a, b]).same().dilation(c).activation(Activation::Relu).into(),
        9 => Conv1d::new(units, a).stride(b).same().into(),
        10 => Conv1d::new(units, a).causal().dilation(c).into(),
        11 => ConvTranspose2d::new(units, [a, b]).stride(c).into(),
        12 => MaxPool2d::new([a, b]).stride(c).into(),
        13 => MaxPool2d::new(2).same().into(),
        14 => AvgPool2d::new([a, b]).stride(c).same().into(),
        15 => MaxPool1d::new(a).stride(b).into(),
        16 => AvgPool1d::new(a).into(),
        17 => AdaptiveAvgPool2d::new([a, b]).into(),
        18 => {
            if draw.yes() {
                GlobalAvgPool.into()
            } else {
                GlobalMaxPool.into()
            }
        }
        19 | 20 => BatchNorm::new().into(),
        21 => GroupNorm::new(a).into(),
        28 => LayerNorm::new().into(),
        29 => RmsNorm::new().into(),
        22 => ZeroPad2d::sides(a, b, c, 0).into(),
        23 => Upsample::new([a, b]).into(),
        24 => {
            if draw.yes() {
                Upsample::new(2).bilinear().into()
            } else {
                Dropout2d::new(0.5).into()
            }
        }
        25 => recurrent(Lstm::new(units), draw).into(),
        26 => recurrent(if draw.yes() { Gru::new(units) } else { Gru::reset_before(units) }, draw).into(),
        _ => recurrent(if draw.yes() { Rnn::new(units) } else { Rnn::relu(units) }, draw).into(),
    }
}

/// A model of up to seven layers that fit each other, with values that none begins with, and a batch for it.
fn model(seed: u64) -> (Sequential, Tensor, Value) {
    let draw = &mut Draw(seed);
    let takes_ids = draw.between(0, 3) == 3;
    let shape: Vec<usize> =
        (0..draw.between(1, if takes_ids { 2 } else { 3 })).map(|_| draw.between(1, 9)).collect();
    let mut builder = Sequential::new(shape);
    if takes_ids {
        builder = builder.add(Embedding::new(VOCABULARY, draw.between(1, 5)));
    }
    let (mut count, most) = (0, draw.between(1, 6));
    for _ in 0..30 {
        let longer = builder.clone().add(layer(draw));
        if count < most
            && longer.clone().build(&mut rng(0)).is_ok_and(|model| model.output_shape().count() < 4000)
        {
            (builder, count) = (longer, count + 1);
        }
    }
    let model = builder.build(&mut rng(seed)).unwrap();
    let mut state = model.state();
    for (i, (path, value)) in state.iter_mut().enumerate() {
        let low = if path.ends_with("running_var") { 0.5 } else { -0.5 };
        *value =
            Tensor::<f32>::uniform(value.dims(), low, low + 1.0, &mut rng(seed + i as u64)).unwrap().into();
    }
    model.load_state(&state).unwrap();
    let shape: Shape = [4].iter().chain(model.input_shape().iter()).copied().collect();
    let low = if takes_ids { 0.0 } else { -1.0 };
    let high = if takes_ids { VOCABULARY as f64 } else { 1.0 };
    let numbers = Tensor::<f32>::uniform(shape, low, high, &mut rng(seed)).unwrap();
    if takes_ids {
        let ids = numbers.floor().unwrap();
        let value = ids.cast::<u32>().unwrap().into();
        return (model, ids, value);
    }
    let value = numbers.clone().into();
    (model, numbers, value)
}

fn output(model: &Sequential, input: &Value) -> Tensor {
    model.forward(input.clone(), &mut Context::eval()).unwrap().value().clone()
}

#[test]
fn every_model_that_can_be_built_has_a_file_and_a_final_form() {
    let mut kinds = BTreeSet::new();
    for seed in 0..400 {
        let (model, _, input) = model(seed);
        let kind =
            |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_').to_owned();
        kinds.extend(model.layer_names().map(kind));
        let names: Vec<&str> = model.layer_names().collect();
        assert!(model.to_onnx().is_ok(), "{seed}: {names:?} {:?}", model.to_onnx().unwrap_err());
        let (expected, frozen) = (output(&model, &input), model.frozen().unwrap());
        let answers = frozen.predict_batch(input).unwrap();
        assert_eq!(answers.shape(), expected.shape(), "{seed}: {names:?}");
        for (a, b) in answers.iter().zip(expected.iter()) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{seed}: {names:?} {a} {b}");
        }
    }
    assert_eq!(kinds.len(), 27, "every kind of layer has been drawn: {kinds:?}");
}

#[test]
#[ignore = "writes files for ONNX Runtime"]
fn write_random_models() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx_random");
    std::fs::create_dir_all(&folder).unwrap();
    for seed in 0..400 {
        let (model, numbers, input) = model(seed);
        model.export_onnx(folder.join(format!("random_{seed:03}.onnx"))).unwrap();
        let both =
            [("input".to_owned(), numbers.into()), ("output".to_owned(), output(&model, &input).into())];
        let file = Weights { tensors: both.into(), ..Weights::default() };
        file.write_safetensors(folder.join(format!("random_{seed:03}.safetensors"))).unwrap();
    }
    println!("{}", folder.display());
}
