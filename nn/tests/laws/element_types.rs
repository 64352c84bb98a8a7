//! State of any element type: kept in files bit for bit, used by layers, refused in training.

use std::collections::BTreeMap;

use cairn_nn::weights::{Framework, Strictness, Weights};
use cairn_nn::{
    BatchNorm, Buffer, Embedding, Error, Linear, Model, Module, Sequential, load_weights, save_weights, spec,
};
use cairn_tensor::{AnyTensor, DType, Tensor, bf16, f16, rng};

const ALL: [DType; 11] = [
    DType::F32,
    DType::F64,
    DType::BF16,
    DType::F16,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::U8,
    DType::U32,
    DType::Bool,
];

/// Every bit pattern a type can have, NaN among them; truth values are 0 and 1.
fn bits(dtype: DType) -> AnyTensor {
    let count = 24 * dtype.size_in_bytes();
    let byte = |i: usize| if dtype == DType::Bool { (i % 2) as u8 } else { (i * 151 + 97) as u8 };
    AnyTensor::from_le_bytes(dtype, [2, 12], &(0..count).map(byte).collect::<Vec<_>>()).unwrap()
}

fn same(a: &BTreeMap<String, AnyTensor>, b: &BTreeMap<String, AnyTensor>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, value) in a {
        assert!(value.bits_eq(&b[name]), "{name}: {value:?} is not {:?}", b[name]);
    }
}

#[derive(Module)]
struct Values(Vec<Buffer>);

#[test]
fn files_keep_every_type_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let values = Values(ALL.iter().map(|&dtype| Buffer::new(bits(dtype))).collect());
    let blank =
        || Values(ALL.iter().map(|&dtype| Buffer::new(AnyTensor::zeros(dtype, [2, 12]).unwrap())).collect());

    let path = folder.path().join("values.cairn");
    save_weights(&values, &path).unwrap();
    let again = blank();
    load_weights(&again, &path).unwrap();
    same(&values.state(), &again.state());

    let path = folder.path().join("values.safetensors");
    Weights::of(&values).write_safetensors(&path).unwrap();
    let weights = Weights::read_safetensors(&path).unwrap();
    same(&values.state(), &weights.tensors);
    let again = blank();
    weights.load_into(&again, Strictness::Strict).unwrap();
    same(&values.state(), &again.state());
}

#[cfg(feature = "npz")]
#[test]
fn archives_keep_every_type_that_numpy_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.npz");
    let of = |types: &[DType]| {
        Weights::from(types.iter().map(|&t| (t.to_string(), bits(t))).collect::<BTreeMap<_, _>>())
    };
    let known: Vec<DType> = ALL.into_iter().filter(|&dtype| dtype != DType::BF16).collect();
    let weights = of(&known);
    weights.write_npz(&path).unwrap();
    same(&weights.tensors, &Weights::read_npz(&path).unwrap().tensors);
    assert!(of(&[DType::BF16]).write_npz(&path).unwrap_err().to_string().contains("bf16"));
}

fn small() -> Sequential {
    Sequential::new([3])
        .add(spec::Embedding::new(7, 4))
        .add(spec::Gru::new(5))
        .add(spec::Dense::new(2))
        .build(&mut rng(0))
        .unwrap()
}

fn cast(state: &BTreeMap<String, AnyTensor>, dtype: DType) -> BTreeMap<String, AnyTensor> {
    state.iter().map(|(name, value)| (name.clone(), value.cast(dtype).unwrap())).collect()
}

#[test]
fn a_model_of_another_type_answers_and_is_saved_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    let ids = Tensor::from_vec(vec![1, 2, 6, 0, 5, 3], [2, 3]).unwrap();
    for dtype in [DType::BF16, DType::F16] {
        let model = small();
        let full = model.predict_batch(&ids).unwrap();
        model.adopt_state(&cast(&model.state(), dtype)).unwrap();
        let half = model.predict_batch(&ids).unwrap();
        for (a, b) in full.iter().zip(half.iter()) {
            assert!((a - b).abs() < 0.02, "{dtype}: {a} became {b}");
        }
        assert_eq!(2 * model.summary().bytes, small().summary().bytes);
        model.save(&path).unwrap();
        let again = Sequential::load(&path).unwrap();
        same(&model.state(), &again.state());
        assert_eq!(again.predict_batch(&ids).unwrap(), half);
        // Out to another library and in again: floats come in as f32, with the values they had.
        let torch = model.weights(Framework::PyTorch).unwrap();
        assert!(torch.tensors.values().all(|value| value.dtype() == dtype));
        let third = small();
        third.load_weights(&torch, Framework::PyTorch, Strictness::Strict).unwrap();
        same(&third.state(), &cast(&model.state(), DType::F32));
    }
}

#[test]
fn layers_hold_integers() {
    let linear = Linear::new(3, 2, &mut rng(0)).unwrap();
    let whole: Tensor<i8> = Tensor::from_vec(vec![1, -2, 3, -4, 5, -6], [3, 2]).unwrap();
    linear.weight.set_any(whole.clone().into());
    let y = linear.forward(&Tensor::from_vec(vec![1.0, 10.0, 100.0], [1, 3]).unwrap().into()).unwrap();
    assert_eq!(y.value().to_vec(), [531.0, -642.0]);
    let embedding = Embedding::with_parameters(linear.weight.clone());
    let rows = embedding.forward(&Tensor::from_vec(vec![2, 0], [2]).unwrap()).unwrap();
    assert_eq!(rows.value().to_vec(), [5.0, -6.0, 1.0, -2.0]);
    let norm = BatchNorm::new(2).unwrap();
    norm.running_mean.set(Tensor::from_vec(vec![bf16::from_f32(0.5); 2], [2]).unwrap());
    norm.running_var.set(Tensor::from_vec(vec![f16::from_f32(2.0); 2], [2]).unwrap());
    assert_eq!(norm.running_mean.value().unwrap().to_vec(), [0.5; 2]);
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    let model = small();
    let mut state = model.state();
    let weight = state["dense.weight"].cast(DType::BF16).unwrap();
    state.insert("dense.weight".into(), weight);
    model.adopt_state(&state).unwrap();
    let error = model.unfreeze().unwrap_err();
    assert_eq!(
        error.to_string(),
        "dense.weight: a parameter stored as bf16 cannot be trained: convert it to f32 first"
    );
    assert_eq!(model.parameter_count() - model.trainable_count(), 10);
}

#[test]
fn loading_names_the_values_of_another_type() {
    let model = small();
    let mut state = model.state();
    let weight = state["dense.weight"].cast(DType::F16).unwrap();
    state.insert("dense.weight".into(), weight);
    let before = model.state();
    let error = model.load_state(&state).unwrap_err();
    assert!(matches!(error, Error::StateMismatch(_)));
    let message = error.to_string();
    assert!(message.contains("dense.weight has elements of f16, the model's are f32"), "{message}");
    same(&model.state(), &before);
    let report = Weights::from(state.clone()).load_into(&model, Strictness::Lenient).unwrap();
    assert_eq!((report.mistyped.len(), report.is_complete()), (1, false));
    let converted = Weights::from(state).cast(DType::F32).unwrap();
    assert!(converted.load_into(&model, Strictness::Strict).unwrap().is_complete());
}
