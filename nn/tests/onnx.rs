//! The structure of exported files, read back field by field. That runtimes compute the same from them is checked by
//! `examples/onnx.rs` and `examples/check_onnx.py`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cairn_nn::Activation::{Relu, Softmax};
use cairn_nn::spec::{BatchNorm, Conv1d, Conv2d, Dense, Embedding, Gru, Lstm, Rnn};
use cairn_nn::weights::Weights;
use cairn_nn::{
    Context, Dropout, Flatten, Init, MaxPool2d, Module, Sequential, SequentialBuilder, Value as Input,
};
use cairn_tensor::{Shape, Tensor, rng};

/// A field of a message: its number, and a whole number or bytes.
enum Value<'a> {
    Int(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("a number is cut short");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number is too long");
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                all.push((key >> 3, Value::Int(varint(&mut bytes))));
                continue;
            }
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        all.push((key >> 3, Value::Bytes(value)));
        bytes = rest;
    }
    all
}

fn bytes<'a>(message: &'a [u8], field: u64) -> Vec<&'a [u8]> {
    let of = |(number, value): (u64, Value<'a>)| match value {
        Value::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(of).collect()
}

fn ints(message: &[u8], field: u64) -> Vec<u64> {
    let of = |(number, value): (u64, Value<'_>)| match value {
        Value::Int(value) if number == field => Some(value),
        _ => None,
    };
    fields(message).into_iter().filter_map(of).collect()
}

fn texts(message: &[u8], field: u64) -> Vec<String> {
    bytes(message, field).into_iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect()
}

/// The operators of a model in order, after a check that the graph is sound: every operand is there before it is used,
/// no name is given twice, and constants have as many elements as their shape says.
fn operators(builder: SequentialBuilder) -> Vec<String> {
    let file = builder.build(&mut rng(0)).unwrap().to_onnx().unwrap();
    assert_eq!(ints(&file, 1), [8], "IR version");
    assert_eq!(ints(bytes(&file, 8)[0], 2), [17], "operator set");
    let graph = bytes(&file, 7)[0];
    let mut known = HashSet::from([String::new()]);
    for constant in bytes(graph, 5) {
        let size = match ints(constant, 2)[..] {
            [1] => 4,
            [7] => 8,
            ref other => panic!("element type {other:?}"),
        };
        let count: u64 = ints(constant, 1).iter().product();
        assert_eq!(bytes(constant, 9)[0].len() as u64, size * count);
        assert!(known.insert(texts(constant, 8).remove(0)));
    }
    let constants = known.len();
    assert!(known.insert(texts(bytes(graph, 11)[0], 1).remove(0)));
    let mut used = HashSet::new();
    let mut kinds = Vec::new();
    for node in bytes(graph, 1) {
        for operand in texts(node, 1) {
            assert!(known.contains(&operand), "{operand} is used before it is there");
            used.insert(operand);
        }
        // A result that is not asked for has no name.
        let results = texts(node, 2).into_iter().filter(|result| !result.is_empty());
        assert!(results.into_iter().all(|result| known.insert(result)));
        kinds.push(texts(node, 4).remove(0));
    }
    assert!(known.contains(&texts(bytes(graph, 12)[0], 1)[0]));
    assert!(used.len() >= constants, "every constant is used");
    kinds
}

#[test]
fn dense_layers_are_products() {
    let builder = Sequential::new([4])
        .add(Dense::new(3).activation(Relu))
        .add(Dropout::new(0.5))
        .add(Dense::new(2).bias(false).activation(Softmax));
    assert_eq!(operators(builder), ["Gemm", "Relu", "Gemm", "Softmax", "Identity"]);
}

#[test]
fn images_are_turned_at_the_borders_alone() {
    let builder = Sequential::new([8, 8, 3])
        .add(Conv2d::new(4, 3).activation(Relu))
        .add(BatchNorm::new())
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(4, 3))
        .add(Flatten)
        .add(Dense::new(2));
    let expected = "Transpose Conv Relu BatchNormalization MaxPool Conv Transpose Reshape Gemm Identity";
    assert_eq!(operators(builder).join(" "), expected);
}

#[test]
fn sequences_are_images_one_pixel_high() {
    let builder = Sequential::new([9, 2]).add(Conv1d::new(4, 3)).add(Dense::new(2));
    let expected = "Reshape Transpose Conv Transpose Reshape MatMul Add Identity";
    assert_eq!(operators(builder).join(" "), expected);
}

#[test]
fn sequences_are_turned_around_each_recurrence() {
    let builder = Sequential::new([9]).add(Embedding::new(5, 2)).add(Lstm::new(4)).add(Dense::new(2));
    assert_eq!(operators(builder).join(" "), "Gather Transpose LSTM Transpose Reshape Gemm Identity");
    let builder = Sequential::new([9, 2]).add(Gru::new(4).bidirectional().return_sequences(true));
    let expected = "Transpose GRU Transpose Reshape GRU Transpose Reshape Concat Identity";
    assert_eq!(operators(builder).join(" "), expected);
    let builder = Sequential::new([9, 2]).add(Rnn::relu(4).layers(2));
    let expected = "Transpose RNN Transpose Reshape Transpose RNN Transpose Reshape Identity";
    assert_eq!(operators(builder).join(" "), expected);
    let builder = Sequential::new([9]).add(Dense::new(2)).add(Embedding::new(5, 2));
    let error = builder.build(&mut rng(0)).unwrap().to_onnx().unwrap_err().to_string();
    assert_eq!(
        error,
        "embedding: input of shape [2, 2] does not fit: an embedding looks up ids (`Tensor<u32>`), these are floats"
    );
}

/// The reference models, smaller, with values that no generator has part in.
fn references() -> [(&'static str, Sequential); 4] {
    let mlp = Sequential::new([6])
        .add(Dense::new(5).activation(Relu))
        .add(Dense::new(5).activation(Relu))
        .add(Dense::new(3));
    let cnn = Sequential::new([8, 7, 1])
        .add(Conv2d::new(3, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(4, 3).same().bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(Flatten)
        .add(Dense::new(3));
    let rnn = Sequential::new([7, 1])
        .add(Lstm::new(6).return_sequences(true))
        .add(Lstm::new(6).return_sequences(true))
        .add(Dense::new(3));
    let nlp = Sequential::new([9]).add(Embedding::new(20, 4)).add(Lstm::new(5)).add(Dense::new(3));
    [("mlp", mlp), ("cnn", cnn), ("rnn", rnn), ("nlp", nlp)].map(|(name, builder)| {
        let model = builder.build(&mut rng(0)).unwrap();
        let mut state = model.state();
        for (path, value) in &mut state {
            let low = if path.ends_with("running_var") { 0.5 } else { -0.5 };
            *value = scattered(value.dims(), low, 1.0).into();
        }
        model.load_state(&state).unwrap();
        (name, model)
    })
}

fn scattered(shape: &Shape, low: f32, width: f32) -> Tensor {
    let at = |i: usize| low + width * ((i * 389 + 97) % 1000) as f32 / 1000.0;
    Tensor::from_vec((0..shape.count()).map(at).collect(), shape.clone()).unwrap()
}

/// Ids as numbers.
fn input(name: &str, model: &Sequential) -> Tensor {
    let shape: Shape = [3].iter().chain(model.input_shape().iter()).copied().collect();
    if name == "nlp" { scattered(&shape, 0.0, 20.0).floor().unwrap() } else { scattered(&shape, -1.0, 2.0) }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The files are byte for byte those that ONNX Runtime ran, and its outputs are Cairn's.
#[test]
fn reference_models_compute_the_same_in_onnx_runtime() {
    let theirs = Weights::read_safetensors(golden("onnx_outputs.safetensors")).unwrap().tensors;
    for (name, model) in references() {
        let file = std::fs::read(golden(&format!("onnx_{name}.onnx"))).unwrap();
        assert!(model.to_onnx().unwrap() == file, "{name}: the file has changed");
        let input = input(name, &model);
        assert_eq!(input, *theirs[&format!("{name}.input")].as_f32().unwrap());
        let value: Input = if name == "nlp" { input.cast::<u32>().unwrap().into() } else { input.into() };
        let ours = model.forward(value, &mut Context::eval()).unwrap();
        let expected = theirs[&format!("{name}.output")].as_f32().unwrap();
        assert_eq!(ours.shape(), expected.shape());
        let apart = ours.value().sub(expected).unwrap().abs().unwrap().max(..).unwrap().item().unwrap();
        println!("{name}: {apart:.1e} apart");
        assert!(apart <= 1e-5, "{name}: {apart}");
    }
}

/// `cargo test -p cairn-nn --test onnx -- --ignored && python nn/tests/golden/run_onnx.py`
#[test]
#[ignore = "writes golden files"]
fn write_reference_models() {
    let mut inputs = Weights::default();
    for (name, model) in references() {
        model.export_onnx(golden(&format!("onnx_{name}.onnx"))).unwrap();
        inputs.tensors.insert(format!("{name}.input"), input(name, &model).into());
    }
    inputs.write_safetensors(golden("onnx_outputs.safetensors")).unwrap();
}

/// The whole file of a small model, byte for byte as ONNX's checker accepted it and ONNX Runtime ran it.
#[test]
fn the_bytes_of_a_small_file() {
    let builder =
        Sequential::new([2, 2, 1]).add(Conv2d::new(1, 2).kernel_init(Init::Constant(0.5)).activation(Relu));
    let file = builder.build(&mut rng(0)).unwrap().to_onnx().unwrap();
    assert_eq!(file, include_bytes!("golden/conv.onnx"));
}
