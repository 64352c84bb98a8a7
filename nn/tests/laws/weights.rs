//! Weights in files of other libraries: round trips, reports, and models that PyTorch and Keras made.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use cairn_nn::Activation::{Relu, Tanh};
use cairn_nn::spec::{
    BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Dense, Embedding, GroupNorm, Gru, LayerNorm, Lstm,
    MultiHeadAttention, RmsNorm, Rnn,
};
use cairn_nn::weights::{Framework, LoadReport, Strictness, Weights, diff};
use cairn_nn::{
    Dropout, Error, Flatten, GlobalAvgPool, MaxPool2d, Model, Module, Sequential, SequentialBuilder, Value,
};
use cairn_tensor::{AnyTensor, DType, Tensor, bf16, f16, rng};
use safetensors::tensor::{Dtype, TensorView, serialize};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn headers_are_those_of_the_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let eighths = vec![0u8; 6];
    let (w, eighth) = (
        TensorView::new(Dtype::BF16, vec![2, 3], &[0; 12]).unwrap(),
        TensorView::new(Dtype::F8_E4M3, vec![3, 2], &eighths).unwrap(),
    );
    std::fs::write(&path, serialize([("w", w), ("eighth", eighth)], None).unwrap()).unwrap();
    let headers = Weights::headers(&path).unwrap();
    let of = |name: &str| {
        let header = &headers.tensors[name];
        (header.shape.clone(), header.dtype, header.type_name.as_str(), header.bytes)
    };
    assert_eq!(of("w"), (vec![2, 3], Some(DType::BF16), "bf16", 12));
    assert_eq!(of("eighth"), (vec![3, 2], None, "F8_E4M3", 6));
    // Several files, by their index.
    let index = r#"{"weight_map": {"w": "model.safetensors", "eighth": "model.safetensors"}}"#;
    let all = folder.path().join("model.safetensors.index.json");
    std::fs::write(&all, index).unwrap();
    assert_eq!(Weights::headers(&all).unwrap(), headers);
    std::fs::write(&all, index.replace("\"eighth\"", "\"other\"")).unwrap();
    let told = Weights::headers(&all).unwrap_err().to_string();
    assert!(told.contains("other is not in it"), "{told}");
    std::fs::write(&path, &std::fs::read(&path).unwrap()[..40]).unwrap();
    assert!(matches!(Weights::headers(&path), Err(Error::BadFile { .. })));
    assert!(matches!(Weights::headers(folder.path().join("none")), Err(Error::File { .. })));
}

fn mlp() -> SequentialBuilder {
    Sequential::new([6]).add(Dense::new(5).activation(Relu)).add(Dense::new(3))
}

fn torch_cnn() -> SequentialBuilder {
    Sequential::new([5, 4, 2])
        .add(Conv2d::new(4, [3, 2]).padding(1).groups(2))
        .add(BatchNorm::new().epsilon(1e-5))
        .add(Relu)
        .add(ConvTranspose2d::new(6, 2).stride(2).groups(2))
        .add(MaxPool2d::new(2))
        .add(GroupNorm::new(3).epsilon(1e-5))
        .add(Flatten)
        .add(BatchNorm::new().epsilon(1e-5))
        .add(Dense::new(3))
}

fn f32s(x: AnyTensor) -> Tensor {
    x.try_into().unwrap()
}

/// The largest difference between what a model computes and what a file says another library did.
fn check(file: &str, framework: Framework, builder: SequentialBuilder) {
    let model = builder.build(&mut rng(0)).unwrap();
    let mut weights = Weights::read_safetensors(golden(file)).unwrap();
    let (input, output) = ["input", "output"].map(|name| f32s(weights.tensors.remove(name).unwrap())).into();
    let input: Tensor = match (framework, input.rank()) {
        (Framework::PyTorch, 4) => cairn_nn::weights::torch::images(&input).unwrap(),
        (Framework::PyTorch, 3) => input.permute([0, 2, 1]).unwrap(),
        _ => input,
    };
    let output: Tensor = output;
    let report = model.load_weights(&weights, framework, Strictness::Strict).unwrap();
    assert_eq!(report.loaded.len(), model.state().len());
    let ours = model.predict_batch(&input).unwrap();
    assert_eq!(ours.shape(), output.shape());
    let apart = ours.sub(&output).unwrap().abs().unwrap().max(..).unwrap().item().unwrap();
    assert!(apart < 1e-5, "{file}: {apart}");
    // The way back gives the very same values. Keras puts the model's name in front.
    let plain = |(name, tensor): (String, AnyTensor)| {
        (name.trim_start_matches("sequential_1/").trim_start_matches("sequential/").to_owned(), tensor)
    };
    weights.tensors = weights.tensors.into_iter().map(plain).collect();
    weights.tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
    assert!(diff(&model.weights(framework).unwrap().tensors, &weights.tensors).is_same(), "{file}");
}

fn rnn() -> SequentialBuilder {
    Sequential::new([7, 1])
        .add(Lstm::new(6).return_sequences(true))
        .add(Lstm::new(6).return_sequences(true))
        .add(Dense::new(3))
}

fn nlp() -> SequentialBuilder {
    Sequential::new([9]).add(Embedding::new(20, 4)).add(Lstm::new(5)).add(Dense::new(3))
}

/// The sum of two biases in their place: `bias_ih` and `bias_hh` of PyTorch, the rows of one of a GRU of Keras.
fn add_biases(tensors: &mut BTreeMap<String, AnyTensor>) {
    for (name, bias) in std::mem::take(tensors) {
        let mut bias = f32s(bias);
        if name.ends_with("bias") && bias.rank() == 2 {
            bias = bias.sum(0).unwrap();
        }
        match tensors.entry(name.replace("bias_hh", "bias_ih")) {
            Entry::Occupied(mut other) => {
                *other.get_mut() = other.get().as_f32().unwrap().add(&bias).unwrap().into();
            }
            Entry::Vacant(place) => drop(place.insert(bias.into())),
        }
    }
}

/// As [`check`], for models of sequences, whose ids are whole numbers. Of two biases the sum comes back.
fn check_sequences(file: &str, framework: Framework, builder: SequentialBuilder) {
    let model = builder.clone().build(&mut rng(0)).unwrap();
    let mut weights = Weights::read_safetensors(golden(file)).unwrap();
    let output = f32s(weights.tensors.remove("output").unwrap());
    let input = weights.tensors.remove("input").unwrap();
    let input: Value = match input.dtype() {
        DType::F32 => f32s(input).into(),
        _ => Tensor::<u32>::try_from(input.cast(DType::U32).unwrap()).unwrap().into(),
    };
    model.load_weights(&weights, framework, Strictness::Strict).unwrap();
    let cx = &mut cairn_nn::Context::eval();
    let ours = model.forward(input.clone(), cx).unwrap().value().clone();
    assert_eq!(ours.shape(), output.shape());
    let apart = ours.sub(&output).unwrap().abs().unwrap().max(..).unwrap().item().unwrap();
    assert!(apart < 1e-5, "{file}: {apart}");
    // The final form computes the same bits.
    assert_eq!(model.frozen().unwrap().predict_batch(input).unwrap(), ours);

    let back = model.weights(framework).unwrap();
    let again = builder.build(&mut rng(1)).unwrap();
    again.load_weights(&back, framework, Strictness::Strict).unwrap();
    assert_eq!(again.state(), model.state());
    let plain = |name: &str| match name.split_once('/') {
        Some((model, rest)) if model.starts_with("sequential") => rest.to_owned(),
        _ => name.to_owned(),
    };
    let mut theirs: BTreeMap<String, AnyTensor> =
        weights.tensors.iter().map(|(name, tensor)| (plain(name), tensor.clone())).collect();
    let mut ours = back.tensors;
    for tensors in [&mut ours, &mut theirs] {
        add_biases(tensors);
    }
    assert!(diff(&ours, &theirs).is_within(1e-7), "{file}: {}", diff(&ours, &theirs));
}

#[test]
fn sequences_of_pytorch_compute_the_same_here() {
    check_sequences("torch_rnn.safetensors", Framework::PyTorch, rnn());
    check_sequences("torch_nlp.safetensors", Framework::PyTorch, nlp());
    let stack = Sequential::new([5])
        .add(Embedding::new(9, 3))
        .add(Gru::new(4).layers(2).bidirectional().return_sequences(true))
        .add(Rnn::new(3).bidirectional().return_sequences(true))
        .add(Rnn::relu(3).layers(2).return_sequences(true))
        .add(Flatten)
        .add(Dense::new(2));
    check_sequences("torch_stack.safetensors", Framework::PyTorch, stack);
    let last = Sequential::new([5, 2]).add(Gru::new(3).layers(2).bidirectional()).add(Dense::new(2));
    check_sequences("torch_last.safetensors", Framework::PyTorch, last);
}

#[test]
fn sequences_of_keras_compute_the_same_here() {
    check_sequences("keras_rnn.safetensors", Framework::Keras, rnn());
    check_sequences("keras_nlp.safetensors", Framework::Keras, nlp());
    let stack = Sequential::new([5, 2])
        .add(Rnn::new(3).bidirectional().return_sequences(true))
        .add(Gru::new(4).return_sequences(true))
        .add(Gru::new(3).layers(2).bidirectional())
        .add(Dense::new(2));
    check_sequences("keras_stack.safetensors", Framework::Keras, stack);
    let before = Sequential::new([5, 2])
        .add(Gru::reset_before(4).return_sequences(true))
        .add(Gru::reset_before(3).bidirectional());
    check_sequences("keras_gru.safetensors", Framework::Keras, before.clone());
    let error = before.build(&mut rng(0)).unwrap().weights(Framework::PyTorch).unwrap_err().to_string();
    assert_eq!(
        error,
        "gru: no rule for values of a gru layer that resets before the product in the layout of PyTorch"
    );
}

#[test]
fn masks_of_keras_pass_over_the_same_padding() {
    let masked = || Sequential::new([6]).add(Embedding::new(10, 4).padding(0).masked());
    let model = masked()
        .add(Lstm::new(4).return_sequences(true))
        .add(Dense::new(3).activation(Tanh))
        .add(Dropout::new(0.5))
        .add(Gru::new(3).bidirectional())
        .add(Dense::new(2));
    check_sequences("keras_masked.safetensors", Framework::Keras, model.clone());
    let mean = masked()
        .add_named("simple_rnn", Rnn::new(3).return_sequences(true))
        .add_named("mean", GlobalAvgPool)
        .add(Dense::new(2));
    check_sequences("keras_masked_mean.safetensors", Framework::Keras, mean);

    let model = model.build(&mut rng(0)).unwrap();
    let ids = Tensor::from_vec(vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [2, 6]).unwrap();
    // A sequence of nothing but padding does not change what the others get.
    let alone = model.predict_batch(&ids.narrow(0, 0, 1).unwrap()).unwrap();
    for outputs in [model.predict_batch(&ids).unwrap(), model.frozen().unwrap().predict_batch(&ids).unwrap()]
    {
        let first = outputs.narrow(0, 0, 1).unwrap();
        assert!(first.sub(&alone).unwrap().abs().unwrap().max(..).unwrap().item().unwrap() < 1e-6);
        assert!(outputs.iter().all(f32::is_finite));
    }
    let error = model.to_onnx().unwrap_err().to_string();
    assert!(error.contains("lstm: ") && error.contains("masked"), "{error}");
    let error = Sequential::new([6]).add(Embedding::new(10, 4).masked()).build(&mut rng(0)).unwrap_err();
    assert!(error.to_string().contains("padding id of a masked embedding"), "{error}");
}

#[test]
fn values_of_recurrent_layers_that_do_not_fit_are_named() {
    let gru = Sequential::new([4, 2]).add(Gru::new(3)).build(&mut rng(0)).unwrap();
    let mut torch = gru.weights(Framework::PyTorch).unwrap();
    torch.tensors.remove("gru.bias_hh_l0");
    let report = gru.load_weights(&torch, Framework::PyTorch, Strictness::Lenient).unwrap();
    assert_eq!(report.missing, ["gru.bias"]);
    assert_eq!(report.unexpected, ["gru.bias_ih_l0"]);
    // Twelve values are a GRU's bias here, but not PyTorch's; and an LSTM's kernel is none of a GRU.
    for (framework, name, shape, message) in [
        (Framework::PyTorch, "gru.bias_ih_l0", vec![12], "gru.bias has shape [12], the model's is [9]"),
        (
            Framework::Keras,
            "gru/gru_cell/kernel",
            vec![2, 12],
            "gru.weight has shape [2, 12], the model's is [2, 9]",
        ),
    ] {
        let mut weights = gru.weights(framework).unwrap();
        weights.tensors.insert(name.into(), Tensor::<f32>::ones(shape).unwrap().into());
        let error = gru.load_weights(&weights, framework, Strictness::Strict).unwrap_err().to_string();
        assert_eq!(error, format!("the values do not fit the model: 2 loaded; {message}"));
    }
}

#[test]
fn models_of_pytorch_compute_the_same_here() {
    check("torch_mlp.safetensors", Framework::PyTorch, mlp());
    check("torch_cnn.safetensors", Framework::PyTorch, torch_cnn());
    let sequence = Sequential::new([9, 3])
        .add(Conv1d::new(4, 3).dilation(2).activation(Relu))
        .add(Flatten)
        .add(Dense::new(2));
    check("torch_sequence.safetensors", Framework::PyTorch, sequence);
}

#[test]
fn models_of_keras_compute_the_same_here() {
    check("keras_mlp.safetensors", Framework::Keras, mlp());
    let cnn = Sequential::new([6, 5, 2])
        .add(Conv2d::new(4, 3).same())
        .add(BatchNorm::new())
        .add(Relu)
        .add(ConvTranspose2d::new(3, 3).stride(2).same())
        .add(MaxPool2d::new(2))
        .add(GroupNorm::new(3))
        .add(Flatten)
        .add(Dense::new(3));
    check("keras_cnn.safetensors", Framework::Keras, cnn);
}

#[test]
fn normalisation_of_rows_is_pytorchs() {
    let builder = Sequential::new([6])
        .add(Dense::new(5))
        .add(LayerNorm::new())
        .add(Relu)
        .add(Dense::new(4))
        .add(RmsNorm::new());
    check("torch_rows.safetensors", Framework::PyTorch, builder.clone());
    let names = builder.build(&mut rng(0)).unwrap().weights(Framework::Keras).unwrap();
    let names: Vec<&str> = names.tensors.keys().map(String::as_str).collect();
    assert!(
        ["layer_norm/gamma", "layer_norm/beta", "rms_norm/scale"].iter().all(|name| names.contains(name))
    );
}

#[test]
fn pytorchs_counter_is_passed_over() {
    let mut weights = Weights::read_safetensors(golden("torch_cnn.safetensors")).unwrap();
    assert_eq!(weights.tensors["batch_norm.num_batches_tracked"].dtype(), DType::I64);
    weights.tensors.retain(|name, _| name != "input" && name != "output");
    let model = torch_cnn().build(&mut rng(0)).unwrap();
    assert!(model.load_weights(&weights, Framework::PyTorch, Strictness::Strict).unwrap().is_complete());
    assert_eq!(weights.metadata["made by"], "make_exchange.py");
}

#[test]
fn files_give_back_what_was_written_and_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = torch_cnn().build(&mut rng(1)).unwrap();
    let mut weights = Weights::of(&model);
    for i in 0..20 {
        weights = weights.note(format!("key \"{i}\""), "line\none");
    }
    // Views are written in their own order.
    let strided = weights.tensors["dense.weight"].as_f32().unwrap().t().unwrap();
    weights.tensors.insert("strided".into(), strided.into());
    weights.tensors.insert("scalar".into(), Tensor::scalar(f32::NEG_INFINITY).into());
    weights.tensors.insert("empty".into(), Tensor::<f32>::zeros([0, 3]).unwrap().into());
    weights.write_safetensors(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let again = Weights::read_safetensors(&path).unwrap();
    assert_eq!(again, weights);
    again.write_safetensors(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    let nothing = Weights::default().note("a", "b");
    nothing.write_safetensors(&path).unwrap();
    assert_eq!(Weights::read_safetensors(&path).unwrap(), nothing);
}

#[test]
fn other_precisions_are_kept_and_can_be_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.safetensors");
    let values = [0.5f32, -2.0, 1024.0];
    let half: Vec<u8> = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    let brain: Vec<u8> = values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect();
    let view = |dtype, bytes| TensorView::new(dtype, vec![3], bytes).unwrap();
    let views = [
        ("half", view(Dtype::F16, &half)),
        ("brain", view(Dtype::BF16, &brain)),
        ("double", view(Dtype::F64, &double)),
        ("steps", view(Dtype::I64, &double)),
    ];
    std::fs::write(&path, serialize(views, None).unwrap()).unwrap();
    let weights = Weights::read_safetensors(&path).unwrap();
    let types = |weights: &Weights| weights.tensors.values().map(AnyTensor::dtype).collect::<Vec<_>>();
    assert_eq!(types(&weights), [DType::BF16, DType::F64, DType::F16, DType::I64]);
    let weights = weights.cast(DType::F32).unwrap();
    assert_eq!(types(&weights), [DType::F32, DType::F32, DType::F32, DType::I64]);
    for name in ["brain", "double", "half"] {
        assert_eq!(weights.tensors[name].as_f32().unwrap().to_vec(), values);
    }
}

#[test]
fn reports_name_what_does_not_fit() {
    let model = mlp().build(&mut rng(0)).unwrap();
    let before = model.state();
    let mut weights = Weights::of(&mlp().build(&mut rng(1)).unwrap());
    weights.tensors.remove("dense.bias");
    weights.tensors.insert("head.bias".into(), Tensor::<f32>::zeros([3]).unwrap().into());
    weights.tensors.insert("dense_1.weight".into(), Tensor::<f32>::zeros([3, 5]).unwrap().into());
    let error = weights.load_into(&model, Strictness::Strict).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the values do not fit the model: 2 loaded; missing: dense.bias; unexpected: head.bias; \
         dense_1.weight has shape [3, 5], the model's is [5, 3]"
    );
    assert_eq!(model.state(), before, "nothing changes when not everything fits");
    let report: LoadReport = weights.load_into(&model, Strictness::Lenient).unwrap();
    assert_eq!(report.loaded, ["dense.weight", "dense_1.bias"]);
    assert!(!report.is_complete());
    assert_eq!(model.state()["dense.weight"], weights.tensors["dense.weight"]);
    assert_eq!(model.state()["dense.bias"], before["dense.bias"]);

    // In a framework's layout too, and a value that cannot be permuted is one of another shape.
    let mut torch = model.weights(Framework::PyTorch).unwrap();
    torch.tensors.insert("dense.weight".into(), Tensor::<f32>::zeros([2]).unwrap().into());
    let report = model.load_weights(&torch, Framework::PyTorch, Strictness::Lenient).unwrap();
    assert_eq!(report.misshapen[0].name, "dense.weight");
    assert_eq!(report.loaded.len(), 3);
}

#[test]
fn numbered_layers_take_the_models_names() {
    let model = mlp().build(&mut rng(0)).unwrap();
    let numbered = model
        .weights(Framework::PyTorch)
        .unwrap()
        .rename(&[("dense", "net.2"), ("dense_1", "net.10")])
        .unwrap();
    assert!(numbered.tensors.contains_key("net.10.weight"));
    let named = numbered.clone().name_numbered(&model).unwrap();
    assert_eq!(named, model.weights(Framework::PyTorch).unwrap());
    let one = Sequential::new([6]).add(Dense::new(5)).build(&mut rng(0)).unwrap();
    assert!(matches!(numbered.name_numbered(&one), Err(Error::StateMismatch(_))));
    assert!(matches!(named.name_numbered(&model), Err(Error::StateMismatch(_))));
}

#[test]
fn differences_are_measured() {
    let tensor = |values: &[f32]| AnyTensor::from(Tensor::from_slice(values, [values.len()]).unwrap());
    let a = [("both", tensor(&[3.0, 4.0])), ("shape", tensor(&[0.0])), ("first", tensor(&[]))];
    let b = [("both", tensor(&[3.0, 4.5])), ("shape", tensor(&[0.0, 1.0])), ("second", tensor(&[]))];
    let state = |pairs: [(&str, AnyTensor); 3]| pairs.map(|(name, tensor)| (name.to_owned(), tensor)).into();
    let difference = diff(&state(a.clone()), &state(b));
    assert_eq!((difference.values[0].largest, difference.values[0].relative), (0.5, 0.1));
    assert_eq!(difference.only_in_first, ["first"]);
    assert_eq!(difference.only_in_second, ["second"]);
    assert_eq!(difference.shapes[0].0, "shape");
    assert!(!difference.is_within(1.0) && diff(&state(a.clone()), &state(a)).is_same());
    let nan = |x: f32| [("x".to_owned(), tensor(&[x]))].into();
    assert!(diff(&nan(f32::NAN), &nan(f32::NAN)).is_same());
    assert!(!diff(&nan(f32::NAN), &nan(1.0)).is_within(1e30));
    assert_eq!(diff(&nan(0.0), &nan(1.0)).values[0].relative, f64::INFINITY);
}

#[test]
fn groups_over_a_flattened_image_are_refused_for_pytorch() {
    let builder = || Sequential::new([2, 2, 4]).add(Flatten).add(GroupNorm::new(2));
    let model = builder().build(&mut rng(0)).unwrap();
    let error = model.weights(Framework::PyTorch).unwrap_err().to_string();
    assert!(error.starts_with("group_norm: no rule for values of a group_norm layer"), "{error}");
    assert!(model.weights(Framework::Keras).is_ok());
}

#[cfg(feature = "npz")]
#[test]
fn archives_give_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.npz");
    let mut weights = Weights::of(&torch_cnn().build(&mut rng(1)).unwrap());
    weights.write_npz(&path).unwrap();
    assert_eq!(Weights::read_npz(&path).unwrap(), weights);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    // Eight megabytes of zeros in a few kilobytes: only when asked for.
    weights.tensors.insert("zeros".into(), Tensor::<f32>::zeros([1 << 21]).unwrap().into());
    weights.write_npz(&path).unwrap();
    let error = Weights::read_npz(&path).unwrap_err().to_string();
    assert!(error.contains("8388608 bytes of elements; no more than"), "{error}");
    assert_eq!(Weights::read_npz_within(&path, 1 << 24).unwrap(), weights);

    let mut archive = cairn_tensor::NpzWriter::create(&path).unwrap();
    archive.add("double", &Tensor::from_vec(vec![0.5f64, 2.0], [2]).unwrap()).unwrap();
    archive.add("half", &Tensor::from_vec(vec![f16::from_f32(0.5)], [1]).unwrap()).unwrap();
    archive.add("steps", &Tensor::scalar(7i64)).unwrap();
    archive.finish().unwrap();
    let weights = Weights::read_npz(&path).unwrap();
    assert_eq!(weights.tensors["double"].downcast_ref::<f64>().unwrap().to_vec(), [0.5, 2.0]);
    assert_eq!(weights.tensors["half"].downcast_ref::<f16>().unwrap().to_vec(), [f16::from_f32(0.5)]);
    assert_eq!(weights.tensors["steps"].downcast_ref::<i64>().unwrap().to_vec(), [7]);
    assert!(matches!(Weights::read_npz(folder.path().join("none")), Err(Error::File { .. })));
}

fn named(names: &[(&str, f32)]) -> Weights {
    let tensor = |&(name, value): &(&str, f32)| (name.to_owned(), Tensor::scalar(value).into());
    Weights::from(names.iter().map(tensor).collect::<std::collections::BTreeMap<_, _>>())
}

fn names(weights: &Weights) -> Vec<&str> {
    weights.tensors.keys().map(String::as_str).collect()
}

#[test]
fn prefixes_are_taken_off_and_put_in_front() {
    let given = || named(&[("module.fc.weight", 1.0), ("module.fc.bias", 2.0)]);
    for from in ["module", "module."] {
        let bare = given().rename(&[(from, "")]).unwrap();
        assert_eq!(names(&bare), ["fc.bias", "fc.weight"], "{from}");
        assert_eq!(names(&bare.rename(&[("", from)]).unwrap()), ["module.fc.bias", "module.fc.weight"]);
    }
    let keras = named(&[("model/dense/kernel", 1.0)]);
    assert_eq!(names(&keras.clone().rename(&[("model", "")]).unwrap()), ["dense/kernel"]);
    assert_eq!(names(&keras.rename(&[("", "outer")]).unwrap()), ["outer/model/dense/kernel"]);
    // A whole name is renamed, the beginning of another word is not.
    let whole = named(&[("scale", 1.0), ("scaled.weight", 2.0)]);
    assert_eq!(names(&whole.rename(&[("scale", "gain")]).unwrap()), ["gain", "scaled.weight"]);
}

#[test]
fn two_values_never_become_one_in_silence() {
    let both = named(&[("a.w", 1.0), ("b.w", 2.0)]);
    let error = both.rename(&[("a", "b")]).unwrap_err().to_string();
    assert!(error.contains("b.w") && error.contains("a.w") | error.contains("both"), "{error}");
    assert!(named(&[("module", 1.0)]).rename(&[("module", "")]).is_err());
    let swapped = named(&[("a.w", 1.0), ("b.w", 2.0)]).rename(&[("a", "b"), ("b", "a")]).unwrap();
    assert_eq!(swapped.tensors["b.w"].as_f32().unwrap().item().unwrap(), 1.0);
}

#[test]
fn an_index_of_several_files_reads_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, weights: &Weights| weights.write_safetensors(folder.path().join(name)).unwrap();
    put("model-00001-of-00002.safetensors", &named(&[("a", 1.0), ("unused", 9.0)]));
    put("model-00002-of-00002.safetensors", &named(&[("b", 3.0)]));
    let index = folder.path().join("model.safetensors.index.json");
    let write = |map: &str| {
        std::fs::write(&index, format!("{{\"metadata\":{{\"total_size\":8}},\"weight_map\":{map}}}"))
            .unwrap();
    };
    write("{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"}");
    let all = Weights::read_safetensors(&index).unwrap();
    assert_eq!(names(&all), ["a", "b"]);
    assert_eq!(all.tensors["b"].as_f32().unwrap().item().unwrap(), 3.0);
    for (map, what) in [
        ("{\"c\":\"model-00002-of-00002.safetensors\"}", "c is not in it"),
        ("{\"a\":\"../elsewhere.safetensors\"}", "no file beside it"),
        ("{\"a\":\"missing.safetensors\"}", "missing.safetensors"),
        ("3", "index"),
    ] {
        write(map);
        let error = Weights::read_safetensors(&index).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn attention_comes_from_keras_and_goes_there() {
    let golden = Weights::read_safetensors(golden("keras_attention.safetensors")).unwrap().tensors;
    let floats = |name: &str| Tensor::<f32>::try_from(golden[name].clone()).unwrap();
    let of = MultiHeadAttention::new;
    for (name, layer) in [
        ("multi", of(2)),
        ("multi_no_bias", of(2).head_size(3).bias(false)),
        ("grouped", of(4).key_value_heads(2).head_size(4)),
    ] {
        let model = Sequential::new([5, 8]).add_named("attention", layer).build(&mut rng(0)).unwrap();
        let theirs = golden.iter().filter_map(|(path, tensor)| {
            let value = path.strip_prefix(&format!("{name}:"))?;
            (value != "output").then(|| (value.to_owned(), tensor.clone()))
        });
        let theirs = Weights { tensors: theirs.collect(), ..Weights::default() };
        model.load_weights(&theirs, Framework::Keras, Strictness::Strict).unwrap();
        let got = model.predict_batch(&floats("input")).unwrap();
        let apart = got.sub(&floats(&format!("{name}:output"))).unwrap().abs().unwrap();
        assert!(apart.max(..).unwrap().item().unwrap() < 1e-5, "{name}");
        assert_eq!(model.weights(Framework::Keras).unwrap().tensors, theirs.tensors, "{name}");
        // Other heads are told in Keras's shapes.
        let mut other = theirs.clone();
        let key = other.tensors.keys().find(|path| path.ends_with("key/kernel")).unwrap().clone();
        other.tensors.insert(key, Tensor::<f32>::zeros([8, 3, 7]).unwrap().into());
        let report = model.load_weights(&other, Framework::Keras, Strictness::Lenient).unwrap();
        assert_eq!(report.misshapen.len(), 1, "{name}");
        assert_eq!(report.misshapen[0].given, [8, 3, 7].into());
    }
}
