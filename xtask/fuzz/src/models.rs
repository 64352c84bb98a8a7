//! Networks, their weights, and recommenders.

use cairn_nn::weights::Weights;
use cairn_nn::weights::gguf::{self, Gguf, Value};
use cairn_nn::{Sequential, spec::Dense};
use cairn_recsys::{AnyModel, Estimator as _, Fitted, TopPop, synthetic};
use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor, rng};

use crate::{Reader, at, written};

pub(crate) const READERS: &[Reader] = &[
    Reader { name: "safetensors", sample: safetensors, read: read_safetensors },
    Reader { name: "gguf", sample: gguf_bytes, read: read_gguf },
    Reader {
        name: "model",
        sample: || written(|path| dense().save(path).expect("written")),
        read: |bytes| at("x.cairn", bytes, |path| Sequential::load(path).is_ok()),
    },
    Reader {
        name: "recommender",
        sample: recommender,
        read: |bytes| at("x.cairn", bytes, |path| Fitted::<dyn AnyModel>::load_any(path).is_ok()),
    },
];

fn dense() -> Sequential {
    Sequential::new([4]).add(Dense::new(3)).add(Dense::new(2)).build(&mut rng(0)).expect("a small model")
}

fn safetensors() -> Vec<u8> {
    written(|path| Weights::of(&dense()).note("epochs", "5").write_safetensors(path).expect("written"))
}

fn read_safetensors(bytes: &[u8]) -> bool {
    at("x.safetensors", bytes, |path| Weights::read_safetensors(path).is_ok())
}

fn gguf_bytes() -> Vec<u8> {
    let values = [("general.architecture", Value::from("llama")), ("llama.block_count", Value::from(1u32))];
    let weights =
        AnyTensor::from(Tensor::<f32>::normal([2, 64], 0.0, 1.0, &mut rng(0)).expect("a small tensor"));
    let types = [DType::F32, BlockFormat::Q8_0.into(), BlockFormat::Q4_1.into()];
    let tensors = types.map(|dtype| (dtype.to_string(), weights.cast(dtype).expect("whole blocks")));
    let values = values.map(|(key, value)| (key.to_owned(), value));
    gguf::encode(&values.into(), &tensors.into()).expect("written")
}

fn read_gguf(bytes: &[u8]) -> bool {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else { return false };
    file.weights().is_ok()
}

fn recommender() -> Vec<u8> {
    let log = synthetic::planted_groups(9, 6, 2, 3, 0.1, 0).expect("a small log");
    written(|path| TopPop::new().fit(&log).expect("trained").save(path).expect("written"))
}
