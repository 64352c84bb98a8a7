//! The structure of exported files, read back field by field. That runtimes compute the same from them is checked by
//! `examples/onnx.rs` and `examples/check_onnx.py`.

use std::collections::HashSet;

use cairn_nn::Activation::{Relu, Softmax};
use cairn_nn::{
    BatchNorm, Conv1d, Conv2d, Dense, Dropout, Flatten, Init, MaxPool2d, Sequential, SequentialBuilder,
};
use cairn_tensor::rng;

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
        assert!(texts(node, 2).into_iter().all(|result| known.insert(result)));
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

/// The whole file of a small model, byte for byte as ONNX's checker accepted it and ONNX Runtime ran it.
#[test]
fn the_bytes_of_a_small_file() {
    let builder =
        Sequential::new([2, 2, 1]).add(Conv2d::new(1, 2).kernel_init(Init::Constant(0.5)).activation(Relu));
    let file = builder.build(&mut rng(0)).unwrap().to_onnx().unwrap();
    assert_eq!(file, include_bytes!("golden/conv.onnx"));
}
