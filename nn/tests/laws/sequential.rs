//! `Sequential`: inference of sizes, errors by layer, stability of models that end in probabilities, files.

use std::fs;

use cairn_autograd::Var;
use cairn_nn::Activation::{Relu, Sigmoid, Softmax, Tanh};
use cairn_nn::spec::{BatchNorm, Conv2d, ConvTranspose2d, Dense};
use cairn_nn::{
    Context, Dropout, Error, Flatten, Init, Model, Module, Sequential, SequentialBuilder,
    binary_cross_entropy, cross_entropy, load_weights, save_weights,
};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

fn perceptron() -> SequentialBuilder {
    Sequential::new([28, 28, 1])
        .add(Flatten)
        .add(Dense::new(64).activation(Relu))
        .add(Dropout::new(0.5))
        .add(Dense::new(10))
}

#[test]
fn sizes_are_inferred_and_the_summary_shows_them() {
    let model = perceptron().build(&mut rng(0)).unwrap();
    assert_eq!(&**model.output_shape(), [10]);
    let summary = model.summary();
    assert_eq!((summary.parameters, summary.layers.len()), (784 * 64 + 64 + 64 * 10 + 10, 4));
    let text = summary.to_string();
    for line in ["flatten (flatten)  (None, 784)", "dense_1 (dense)", "50240", "50890 parameters"] {
        assert!(text.contains(line), "{text}");
    }
}

/// The numbers are those of PyTorch's `FlopCounterMode` for the same layers on a batch of one.
const FLOPS: [u64; 5] = [55_296, 0, 165_888, 0, 99_000];

#[test]
fn the_summary_counts_memory_and_operations() {
    let model = Sequential::new([16, 12, 4])
        .add(Conv2d::new(8, 3).same().groups(2).activation(Relu))
        .add(BatchNorm::new())
        .add(ConvTranspose2d::new(6, 3).stride(2))
        .add(Flatten)
        .add(Dense::new(10))
        .build(&mut rng(0))
        .unwrap();
    let summary = model.summary();
    let flops: Vec<_> = summary.layers.iter().map(|layer| layer.flops.unwrap()).collect();
    assert_eq!(flops, FLOPS);
    assert_eq!(summary.flops, Some(FLOPS.iter().sum()));
    assert_eq!(summary.layers[1].bytes, 4 * 4 * 8);
    assert_eq!(summary.layers[1].parameters, 2 * 8);
    let text = summary.to_string();
    let lines: Vec<&str> = text.lines().collect();
    // Numbers end at the same column in every line.
    let ends = |line: &&str| line.chars().count();
    assert!(lines[2..7].iter().map(ends).all(|end| end == lines[0].chars().count()), "{text}");
    println!("{text}");
}

#[test]
fn mistakes_are_found_when_building_and_named_by_layer() {
    let message = |builder: SequentialBuilder| builder.build(&mut rng(0)).unwrap_err().to_string();
    assert!(
        message(Sequential::new([4]).add(Relu).add(Dense::new(0)))
            .starts_with("dense: the number of units is 0")
    );
    assert!(
        message(Sequential::new([4]).add(Dropout::new(1.0))).starts_with("dropout: the dropout rate is 1")
    );
    assert!(message(Sequential::new([4]).add(Dropout::new(f32::NAN))).contains("NaN"));
    assert!(message(Sequential::new(()).add(Dense::new(3))).contains("needs an axis of features"));
    assert!(message(Sequential::new([4, 0]).add(Flatten)).contains("at least 1"));
    assert!(message(Sequential::new([4]).add_named("a", Relu).add_named("a", Relu)).contains("`a`"));
    assert!(message(Sequential::new([4]).add_named("a.b", Relu)).contains("`a.b`"));
    assert!(message(Sequential::new([usize::MAX / 2]).add(Dense::new(64))).contains("no memory"));
    let bad = Dense::new(3).kernel_init(Init::Normal(-1.0));
    assert!(message(Sequential::new([4]).add(bad)).starts_with("dense: the standard deviation is -1"));
}

#[test]
fn inputs_of_another_shape_are_refused() {
    let model = perceptron().build(&mut rng(0)).unwrap();
    for shape in [vec![5, 784], vec![28, 28, 1], vec![]] {
        let error = model.predict_batch(&Tensor::<f32>::zeros(shape).unwrap()).unwrap_err();
        assert!(error.to_string().contains("the model takes batches of [28, 28, 1]"), "{error}");
    }
    let ids = Tensor::<u32>::zeros([2, 4]).unwrap();
    let dense = Sequential::new([4]).add(Dense::new(2)).build(&mut rng(0)).unwrap();
    assert!(dense.predict_batch(&ids).unwrap_err().to_string().starts_with("dense: input of shape [2, 4]"));
    assert_eq!(dense.predict_batch(&Tensor::<f32>::zeros([0, 4]).unwrap()).unwrap().shape(), [0, 2]);
}

#[test]
fn dropout_drops_in_training_only_and_keeps_the_mean() {
    let model = Sequential::new([1000]).add(Dropout::new(0.25)).build(&mut rng(0)).unwrap();
    let x = Tensor::<f32>::ones([50, 1000]).unwrap();
    assert_eq!(model.predict_batch(&x).unwrap(), x);
    let y = model.forward(&x, &mut Context::train(1)).unwrap();
    let dropped = y.value().iter().filter(|&y| y == 0.0).count() as f64 / 50_000.0;
    assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
    assert!((y.value().mean(..).unwrap().item().unwrap() - 1.0).abs() < 0.02);
    assert!(y.value().iter().all(|y| y == 0.0 || (y - 1.0 / 0.75).abs() < 1e-6));
    let again = model.forward(&x, &mut Context::train(1)).unwrap();
    assert_eq!(again.value(), y.value(), "the same seed drops the same");
}

/// Loss and gradients of two models with the same weights, one ending in logits, one in probabilities.
fn both_ends(
    end: cairn_nn::Activation,
    units: usize,
    scale: f32,
    loss: impl Fn(&Var) -> Var,
) -> ((f32, Tensor), (f32, Tensor)) {
    let run = |activation: Option<cairn_nn::Activation>| {
        let dense = Dense::new(units).kernel_init(Init::Normal(scale));
        let dense = match activation {
            Some(activation) => dense.activation(activation),
            None => dense,
        };
        let model = Sequential::new([6]).add(dense).build(&mut rng(3)).unwrap();
        let x = Tensor::<f32>::normal([8, 6], 0.0, 1.0, &mut rng(4)).unwrap();
        let loss = loss(&model.forward(&x, &mut Context::train(0)).unwrap());
        let gradients = loss.backward().unwrap();
        (loss.item().unwrap(), gradients.of(&model.parameters()[0].1).unwrap())
    };
    (run(None), run(Some(end)))
}

#[test]
fn probabilities_train_as_stably_as_logits() {
    let labels = Tensor::from_vec((0..8).map(|i| i % 5).collect(), [8]).unwrap();
    let target = Tensor::from_vec((0..8).map(|i| (i % 2) as f32).collect(), [8, 1]).unwrap();
    // With weights of 100 the probability of most labels is exactly 0 in f32.
    for scale in [0.1, 1.0, 100.0] {
        let (logits, softmax) = both_ends(Softmax, 5, scale, |y| cross_entropy(y, &labels).unwrap());
        assert_eq!(logits, softmax);
        assert!(logits.0.is_finite());
        let (logits, sigmoid) = both_ends(Sigmoid, 1, scale, |y| binary_cross_entropy(y, &target).unwrap());
        assert_eq!(logits, sigmoid);
        assert!(logits.0.is_finite());
    }
}

#[test]
fn evaluation_computes_the_same_loss_as_training() {
    let labels = Tensor::from_vec(vec![0, 2], [2]).unwrap();
    let model = Sequential::new([3]).add(Dense::new(3).activation(Softmax)).build(&mut rng(0)).unwrap();
    let x = Tensor::<f32>::ones([2, 3]).unwrap();
    let trained = cross_entropy(&model.forward(&x, &mut Context::train(0)).unwrap(), &labels).unwrap();
    let evaluated = cairn_autograd::no_grad(|| {
        cross_entropy(&model.forward(&x, &mut Context::eval()).unwrap(), &labels).unwrap()
    });
    assert_eq!(trained.item().unwrap(), evaluated.item().unwrap());
}

#[test]
fn a_saved_model_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    let model = perceptron().add(Tanh).add_named("out", Softmax).build(&mut rng(5)).unwrap();
    model.save(&path).unwrap();
    let again = Sequential::load(&path).unwrap();
    assert_eq!(model.state(), again.state());
    assert_eq!(model.summary(), again.summary());
    let x = Tensor::<f32>::uniform([3, 28, 28, 1], 0.0, 1.0, &mut rng(6)).unwrap();
    assert_eq!(model.predict_batch(&x).unwrap(), again.predict_batch(&x).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn files_that_are_not_whole_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    let message = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Sequential::load(&path).unwrap_err();
        assert!(matches!(error, Error::BadFile { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("model.cairn"), "{message}");
        message
    };
    Sequential::new([4]).add(Dense::new(2)).build(&mut rng(0)).unwrap().save(&path).unwrap();
    let good = fs::read(&path).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= byte;
        bytes
    };
    assert!(message(&[]).contains("too few"));
    assert!(message(b"PK\x03\x04 something else, and long enough").contains("not a Cairn file"));
    assert!(message(&changed(8, 7)).contains("format version"));
    let before = include_bytes!("../golden/dense_v1.cairn");
    assert!(message(before).contains("written by Cairn 0.1 before tensors had any element type"));
    assert!(message(&changed(12, 64)).contains("kind"));
    assert!(message(&changed(40, 1)).contains("damaged"));
    assert!(message(&good[..good.len() - 3]).contains("cut short"));
    assert!(matches!(Sequential::load(folder.path().join("none")), Err(Error::File { .. })));
    let nowhere = folder.path().join("no").join("where");
    let model = Sequential::new([4]).add(Dense::new(2)).build(&mut rng(0)).unwrap();
    assert!(matches!(model.save(nowhere), Err(Error::File { .. })));
}

/// The bytes of a model file of format version 2, made once and never to change: what was saved must stay readable.
#[test]
fn the_format_stays_readable() {
    let model =
        Sequential::new([2]).add(Dense::new(1).kernel_init(Init::Constant(0.5))).build(&mut rng(0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    model.save(&path).unwrap();
    let golden = include_bytes!("../golden/dense_v2.cairn");
    assert_eq!(
        fs::read(&path).unwrap(),
        golden,
        "the format changed: raise its version and keep reading the old one"
    );
    fs::write(&path, golden).unwrap();
    assert_eq!(Sequential::load(&path).unwrap().state(), model.state());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A hostile file with a right checksum: any change of the payload gives an error or a model, never a panic.
    #[test]
    fn mutated_payloads_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in 0..4usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.cairn");
        let golden = include_bytes!("../golden/dense_v2.cairn");
        let mut payload = golden[32..golden.len() - cut].to_vec();
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let mut bytes = golden[..16].to_vec();
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(crc32fast::hash(&payload).to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        fs::write(&path, &bytes).unwrap();
        if let Ok(model) = Sequential::load(&path) {
            prop_assert!(model.parameter_count() <= bytes.len());
        }
    }
}

#[test]
fn descriptions_are_saved_under_the_name_of_their_kind() {
    use cairn_nn::spec::*;
    let all: [(&str, LayerSpec); 22] = [
        ("activation", Activation::LeakyRelu(0.5).into()),
        ("adaptive_avg_pool2d", AdaptiveAvgPool2d::new(2).into()),
        ("avg_pool1d", AvgPool1d::new(2).into()),
        ("avg_pool2d", AvgPool2d::new(2).count_padding().into()),
        ("batch_norm", BatchNorm::new().unbiased().into()),
        ("conv1d", Conv1d::new(3, 2).causal().into()),
        ("conv2d", Conv2d::new(3, [2, 4]).same().groups(3).into()),
        ("conv_transpose2d", ConvTranspose2d::new(3, 2).output_padding(1).into()),
        ("dense", Dense::new(3).activation(Relu).into()),
        ("dropout", Dropout::new(0.5).into()),
        ("dropout2d", Dropout2d::new(0.5).into()),
        ("embedding", Embedding::new(3, 2).padding(1).masked().into()),
        ("flatten", Flatten.into()),
        ("global_avg_pool", GlobalAvgPool.into()),
        ("group_norm", GroupNorm::new(2).into()),
        ("layer_norm", LayerNorm::new().epsilon(1e-6).into()),
        ("max_pool1d", MaxPool1d::new(3).stride(2).into()),
        ("max_pool2d", MaxPool2d::new(3).into()),
        ("recurrent", Gru::new(3).layers(2).bidirectional().into()),
        ("rms_norm", RmsNorm::new().into()),
        ("upsample", Upsample::new(2).bilinear().into()),
        ("zero_pad2d", ZeroPad2d::sides(1, 2, 3, 4).into()),
    ];
    for (kind, spec) in all {
        let text = serde_json::to_string(&spec).unwrap();
        assert!(text.starts_with(&format!("[\"{kind}\",")), "{text}");
        assert_eq!(serde_json::from_str::<LayerSpec>(&text).unwrap(), spec);
    }
    let unknown = serde_json::from_str::<LayerSpec>("[\"hyperdense\",{}]").unwrap_err();
    assert!(unknown.to_string().contains("`hyperdense` is no kind of layer here"), "{unknown}");
}

#[test]
fn inputs_that_are_laid_out_otherwise_are_told_how_to_be() {
    let of = |input: &[usize], given: &[usize]| {
        let model = Sequential::new(input).add(Flatten).add(Dense::new(2)).build(&mut rng(0)).unwrap();
        model.predict_batch(&Tensor::<f32>::zeros(given).unwrap()).unwrap_err().to_string()
    };
    assert!(of(&[784], &[32, 28, 28, 1]).contains("`flatten(1)`"));
    assert!(of(&[28, 20, 3], &[32, 3, 28, 20]).contains("channels first"));
    assert!(of(&[28, 20, 1], &[32, 28, 20]).contains("`unsqueeze(-1)`"));
    assert!(of(&[28, 20, 3], &[28, 20, 3]).contains("`unsqueeze(0)`"));
    assert!(of(&[784], &[32, 783]).ends_with("the model takes batches of [784]"));
}

#[test]
fn a_file_of_another_kind_says_how_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    let model = |seed| Sequential::new([4]).add(Dense::new(2)).build(&mut rng(seed)).unwrap();
    let (saved, other) = (model(1), model(2));
    saved.save(&path).unwrap();
    load_weights(&other, &path).unwrap();
    assert_eq!(other.state(), saved.state(), "the weights of a whole model");
    save_weights(&saved, &path).unwrap();
    let error = Sequential::load(&path).unwrap_err();
    assert!(
        error.to_string().contains("weights of a network") && error.to_string().contains("`load_weights`"),
        "{error}"
    );
    // As `fn main() -> Result` prints it: the text, once.
    assert_eq!(format!("{error:?}"), error.to_string());
    assert!(std::error::Error::source(&error).is_none());
}
