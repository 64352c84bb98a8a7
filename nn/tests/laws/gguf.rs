//! GGUF files: what is written is read, and what is damaged is refused with where and why.

use std::collections::BTreeMap;

use cairn_nn::weights::gguf::{self, Array, Gguf, Value};
use cairn_nn::weights::{Strictness, Weights};
use cairn_nn::{Embedding, Error, Linear, Module};
use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor, bf16, f16, rng};

fn values() -> BTreeMap<String, Value> {
    let nested = Array::Array(vec![Array::U8(vec![1, 2]), Array::Text(["é", ""].into_iter().collect())]);
    let all: [(&str, Value); 15] = [
        ("general.architecture", "llama".into()),
        ("u8", 200u8.into()),
        ("i8", (-3i8).into()),
        ("u16", 60_000u16.into()),
        ("i16", (-300i16).into()),
        ("u32", u32::MAX.into()),
        ("i32", i32::MIN.into()),
        ("u64", u64::MAX.into()),
        ("i64", i64::MIN.into()),
        ("f32", 1.5f32.into()),
        ("f64", 1e-300f64.into()),
        ("bool", true.into()),
        ("floats", vec![0.5f32, -1.0].into()),
        ("tokens", vec!["<s>".to_owned(), "▁a".to_owned()].into()),
        ("nested", Value::Array(nested)),
    ];
    all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn tensors() -> BTreeMap<String, AnyTensor> {
    let x = Tensor::<f32>::normal([5, 256], 0.0, 1.0, &mut rng(1)).unwrap();
    let mut all: BTreeMap<String, AnyTensor> = BlockFormat::ALL
        .into_iter()
        .map(|format| (format!("w.{format}"), AnyTensor::from(x.clone()).cast(format.into()).unwrap()))
        .collect();
    all.insert("f32".into(), x.narrow(0, 0, 1).unwrap().into());
    all.insert("f64".into(), Tensor::<f64>::linspace(0.0, 1.0, 3).unwrap().into());
    all.insert("bf16".into(), x.cast::<bf16>().unwrap().reshape([5, 2, 128]).unwrap().into());
    all.insert("f16".into(), x.cast::<f16>().unwrap().t().unwrap().into());
    all.insert("i64".into(), Tensor::from_vec(vec![1i64, -2], [2]).unwrap().into());
    all
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let (values, tensors) = (values(), tensors());
    gguf::write(&path, &values, &tensors).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), gguf::encode(&values, &tensors).unwrap());
    let file = Gguf::open(&path).unwrap();
    assert_eq!(file.values(), &values);
    let names: Vec<&String> = file.tensors().keys().collect();
    assert_eq!(names, tensors.keys().collect::<Vec<_>>());
    let weights = file.weights().unwrap();
    for (name, tensor) in &tensors {
        assert!(file.tensor(name).unwrap().bits_eq(tensor), "{name}");
        assert!(weights.tensors[name].bits_eq(tensor), "{name}, packed");
        assert_eq!(file.tensors()[name].dtype(), Some(tensor.dtype()));
        assert_eq!(file.tensors()[name].bytes, tensor.byte_count());
    }
    // Packed tensors are written as they were.
    assert_eq!(gguf::encode(&values, &weights.tensors).unwrap(), gguf::encode(&values, &tensors).unwrap());
}

#[test]
fn values_are_asked_for_by_kind() {
    let file = Gguf::from_bytes(gguf::encode(&values(), &BTreeMap::new()).unwrap()).unwrap();
    assert_eq!(file.text("general.architecture").unwrap(), "llama");
    assert_eq!(file.number("u16").unwrap(), 60_000);
    assert_eq!(file.number("u64").unwrap(), u64::MAX);
    assert_eq!(file.float("i16").unwrap(), -300.0);
    assert!(file.texts("tokens").unwrap().iter().eq(["<s>", "▁a"]));
    assert_eq!(file.get("bool").and_then(Value::as_bool), Some(true));
    let why = |error: Error| error.to_string();
    assert!(
        why(file.number("i8").unwrap_err())
            .ends_with("`i8` is a whole number, not a whole number that is not negative")
    );
    assert!(why(file.text("u8").unwrap_err()).ends_with("`u8` is a whole number, not a text"));
    assert!(why(file.float("none").unwrap_err()).ends_with("there is no `none`, which should be a number"));
    assert!(why(file.tensor("none").unwrap_err()).ends_with("there is no tensor `none`"));
}

#[test]
fn what_the_format_has_not_is_refused() {
    let refused = |name: &str, tensor: AnyTensor, why: &str| {
        let error = gguf::encode(&BTreeMap::new(), &BTreeMap::from([(name.to_owned(), tensor)])).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    let q = AnyTensor::zeros(BlockFormat::Q8_0.into(), [2, 32]).unwrap();
    let turned = q.as_quantized().unwrap().t().unwrap();
    refused("w", turned.into(), "transpose it back");
    refused("w", Tensor::<u32>::zeros([2]).unwrap().into(), "no elements of u32");
    refused("w", Tensor::<f32>::zeros([2, 0]).unwrap().into(), "no elements");
    refused("w", Tensor::<f32>::zeros([1, 1, 1, 1, 1]).unwrap().into(), "four axes");
    refused(&"w".repeat(64), q, "63 bytes");
}

/// A small file by hand: one value, one tensor of 2 × 32 in `q8_0`.
struct ByHand {
    magic: &'static [u8],
    version: u32,
    tensors: u64,
    values: u64,
    key: &'static [u8],
    key_length: u64,
    value: Vec<u8>,
    sizes: Vec<u64>,
    axes: u32,
    kind: u32,
    offset: u64,
    data: usize,
}

impl ByHand {
    fn good() -> Self {
        ByHand {
            magic: b"GGUF",
            version: 3,
            tensors: 1,
            values: 1,
            key: b"k",
            key_length: 1,
            value: [&4u32.to_le_bytes()[..], &7u32.to_le_bytes()].concat(),
            sizes: vec![32, 2],
            axes: 2,
            kind: 8,
            offset: 0,
            data: 68,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensors.to_le_bytes());
        out.extend(self.values.to_le_bytes());
        out.extend(self.key_length.to_le_bytes());
        out.extend(self.key);
        out.extend(&self.value);
        out.extend(1u64.to_le_bytes());
        out.push(b't');
        out.extend(self.axes.to_le_bytes());
        self.sizes.iter().for_each(|size| out.extend(size.to_le_bytes()));
        out.extend(self.kind.to_le_bytes());
        out.extend(self.offset.to_le_bytes());
        out.resize(out.len().next_multiple_of(32) + self.data, 0);
        out
    }
}

#[test]
fn each_fault_is_named() {
    let good = Gguf::from_bytes(ByHand::good().bytes()).unwrap();
    assert_eq!(good.tensor("t").unwrap().shape(), [2, 32]);
    let fault = |change: &dyn Fn(&mut ByHand), why: &str| {
        let mut file = ByHand::good();
        change(&mut file);
        let error = Gguf::from_bytes(file.bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    fault(&|file| file.magic = b"GGUD", "does not begin with `GGUF`");
    fault(&|file| file.version = 1, "version 1");
    fault(&|file| file.version = 3 << 24, "most significant byte first");
    fault(&|file| file.tensors = 1 << 40, "tensors do not fit");
    fault(&|file| file.tensors = 2, "bytes");
    fault(&|file| file.values = u64::MAX, "values do not fit");
    fault(&|file| file.key_length = 1 << 60, "bytes of text do not fit");
    fault(&|file| file.key = b"\xff", "not UTF-8");
    fault(&|file| file.value[0] = 99, "the value of `k`: at byte 33: there is no type 99");
    fault(
        &|file| file.value = [7u32.to_le_bytes(), [2, 0, 0, 0]].concat()[..5].to_vec(),
        "2 is no truth value",
    );
    let list =
        |kind: u32, count: u64| [&9u32.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes()].concat();
    fault(&|file| file.value = list(10, 1 << 61), "values of a list do not fit");
    fault(
        &|file| {
            let deeper = [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat();
            file.value = [9u32.to_le_bytes().to_vec(), deeper.repeat(9)].concat();
        },
        "lists in lists",
    );
    fault(&|file| file.axes = 5, "5 axes");
    fault(&|file| file.sizes[0] = 0, "a size of 0");
    fault(&|file| file.sizes[0] = 33, "no blocks of 32");
    fault(&|file| (file.axes, file.sizes) = (0, vec![]), "rows of 1 are no blocks of 32");
    fault(&|file| file.sizes = vec![1 << 40, 1 << 40], "more bytes than any memory");
    fault(&|file| file.kind = 4, "no element type 4");
    fault(&|file| file.offset = 1, "no multiple of 32");
    fault(&|file| file.offset = 1 << 63, "ends at byte");
    fault(&|file| file.data = 67, "ends at byte 68 of the tensors' 67");
}

#[test]
fn no_two_things_have_one_place_or_name() {
    let w = AnyTensor::zeros(DType::F32, [8]).unwrap();
    let two = BTreeMap::from([("a".to_owned(), w.clone()), ("b".to_owned(), w)]);
    let bytes =
        gguf::encode(&BTreeMap::from([("x".to_owned(), 1u8.into()), ("y".to_owned(), 2u8.into())]), &two)
            .unwrap();
    let change = |from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        Gguf::from_bytes(changed).unwrap_err().to_string()
    };
    assert!(change(b"y\0\0\0\0\x02", b"x").contains("`x` is there twice"));
    assert!(change(b"b\x01\0\0\0", b"a").contains("two tensors `a`"));
    let second =
        [&b"b\x01\0\0\0"[..], &8u64.to_le_bytes(), &0u32.to_le_bytes(), &32u64.to_le_bytes()].concat();
    let first = [&second[..second.len() - 8], &0u64.to_le_bytes()].concat();
    assert!(change(&second, &first).contains("share bytes"));
}

#[test]
fn layers_compute_with_quantised_weights() {
    let layer = Linear::new(64, 6, &mut rng(0)).unwrap();
    let table = Embedding::new(10, 64, &mut rng(1)).unwrap();
    let ids = Tensor::from_vec(vec![3u32, 9], [2]).unwrap();
    let x = Tensor::<f32>::normal([3, 64], 0.0, 1.0, &mut rng(2)).unwrap();
    let turned = layer.weight.any().cast(DType::F32).unwrap().as_f32().unwrap().t().unwrap();
    let rows = AnyTensor::from(turned).cast(BlockFormat::Q5_1.into()).unwrap();
    let q = rows.as_quantized().unwrap().packed().unwrap().t().unwrap();
    let mut state = layer.state();
    state.insert("weight".into(), q.clone().into());
    layer.adopt_state(&state).unwrap();
    assert_eq!(layer.weight.quantized(), Some(q.clone()));
    let bias = layer.bias.as_ref().unwrap().value();
    let expected = x.linear_quantized(&q, Some(&bias), false).unwrap();
    assert_eq!(layer.forward(&x.clone().into()).unwrap().value(), &expected);

    let entries = table.weight.any().cast(BlockFormat::Q8_0.into()).unwrap();
    table.weight.set_any(entries.clone());
    let expected = entries.as_quantized().unwrap().rows(&[3, 9]).unwrap();
    assert_eq!(table.forward(&ids).unwrap().value(), &expected);

    // A state of quantised weights goes through Cairn's own files.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.gguf");
    let weights = Weights::of(&table);
    gguf::write(&path, &BTreeMap::new(), &weights.tensors).unwrap();
    let other = Embedding::new(10, 64, &mut rng(5)).unwrap();
    let read = Gguf::open(&path).unwrap().weights().unwrap();
    other.adopt_state(&read.tensors).unwrap();
    assert_eq!(other.state(), table.state());
    let wrong = read.load_into(&Embedding::new(10, 64, &mut rng(6)).unwrap(), Strictness::Strict);
    assert!(wrong.unwrap_err().to_string().contains("q8_0"), "element types are those of the model");
}

#[test]
fn checkpoints_are_compressed_matrix_by_matrix() {
    let x = Tensor::<f32>::normal([4, 576], 0.0, 1.0, &mut rng(1)).unwrap();
    let tensors = BTreeMap::from([
        ("a".to_owned(), AnyTensor::from(x.clone())),
        ("bias".to_owned(), Tensor::<f32>::ones([64]).unwrap().into()),
        ("ids".to_owned(), Tensor::<i64>::zeros([2, 32]).unwrap().into()),
        ("narrow".to_owned(), Tensor::<f32>::ones([2, 30]).unwrap().into()),
        ("wide".to_owned(), x.narrow(1, 0, 512).unwrap().cast::<bf16>().unwrap().into()),
    ]);
    let small = Weights::from(tensors).quantize(BlockFormat::Q4K).unwrap();
    let types: Vec<String> = small.tensors.values().map(|tensor| tensor.dtype().to_string()).collect();
    assert_eq!(types, ["q5_0", "f32", "i64", "f32", "q4_k"]);
    let again = small.clone().quantize_by(|name, _| (name == "wide").then_some(BlockFormat::Q8_0)).unwrap();
    assert_eq!(again.tensors["wide"].dtype(), BlockFormat::Q8_0.into());
    assert_eq!(again.tensors["a"], small.tensors["a"]);
    assert!(Gguf::from_bytes(gguf::encode(&BTreeMap::new(), &small.tensors).unwrap()).is_ok());
}

#[test]
fn a_report_says_what_computes_with_each_tensor() {
    let file = Gguf::from_bytes(gguf::encode(&values(), &tensors()).unwrap()).unwrap();
    let report = file.report();
    let of = |name: &str| report.iter().find(|tensor| tensor.name == name).unwrap();
    assert_eq!(
        (&of("w.q4_k").shape[..], of("w.q4_k").dtype, of("w.q4_k").bytes),
        (&[5, 256][..], "q4_k", 5 * 144)
    );
    assert!(of("w.q4_k").kernel.starts_with("q4_k, 8-bit integers ("));
    assert!(of("bf16").kernel.starts_with("converted to f32 ("));
    assert_eq!(of("i64").kernel, "none: no floats");
}

/// Writes tensors as a model in files of one tensor each, the first without any, and gives the paths.
fn split(folder: &std::path::Path, tensors: &BTreeMap<String, AnyTensor>) -> Vec<std::path::PathBuf> {
    let count = tensors.len() + 1;
    let parts = std::iter::once(BTreeMap::new())
        .chain(tensors.iter().map(|(name, tensor)| BTreeMap::from([(name.clone(), tensor.clone())])));
    let write = |(number, part): (usize, BTreeMap<String, AnyTensor>)| {
        let mut values = if number == 0 { values() } else { BTreeMap::new() };
        values.insert("split.no".into(), (number as u16).into());
        values.insert("split.count".into(), (count as u16).into());
        values.insert("split.tensors.count".into(), (tensors.len() as i32).into());
        let path = folder.join(format!("m-{:05}-of-{count:05}.gguf", number + 1));
        gguf::write(&path, &values, &part).unwrap();
        path
    };
    parts.enumerate().map(write).collect()
}

#[test]
fn a_model_in_several_files_is_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = tensors();
    let paths = split(folder.path(), &tensors);
    let file = Gguf::open(&paths[0]).unwrap();
    assert_eq!(file.values(), &values());
    assert_eq!(file.tensors().keys().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
    let weights = file.weights().unwrap();
    for (name, tensor) in &tensors {
        assert!(file.tensor(name).unwrap().bits_eq(tensor), "{name}");
        assert!(weights.tensors[name].bits_eq(tensor), "{name}, packed");
    }
}

#[test]
fn what_is_wrong_with_one_of_several_files_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let paths = split(folder.path(), &tensors());
    let open = || Gguf::open(&paths[0]).unwrap_err().to_string();
    let other = Gguf::open(&paths[2]).unwrap_err().to_string();
    let count = paths.len();
    assert!(other.contains(&format!("file 3 of {count}")) && other.contains("m-00001-of-"), "{other}");
    let renamed = folder.path().join("renamed.gguf");
    std::fs::copy(&paths[0], &renamed).unwrap();
    let renamed = Gguf::open(&renamed).unwrap_err().to_string();
    assert!(renamed.contains("is named as in model-00001-of-"), "{renamed}");
    let kept = std::fs::read(&paths[1]).unwrap();
    std::fs::copy(&paths[2], &paths[1]).unwrap();
    assert!(open().contains(&format!("not file 2 of {count}")), "{}", open());
    // The same tensor twice, and so one too few.
    let values: [(&str, Value); 2] = [("split.no", 1u16.into()), ("split.count", (count as u16).into())];
    let again = Gguf::from_bytes(std::fs::read(&paths[2]).unwrap()).unwrap();
    let name = again.tensors().keys().next().unwrap().clone();
    let twice = BTreeMap::from([(name.clone(), again.tensor(&name).unwrap())]);
    let values = values.map(|(key, value)| (key.to_owned(), value));
    gguf::write(&paths[1], &values.clone().into(), &twice).unwrap();
    assert!(open().contains(&format!("`{name}` is in")), "{}", open());
    gguf::write(&paths[1], &values.into(), &BTreeMap::new()).unwrap();
    assert!(open().contains("tensors should be in"), "{}", open());
    std::fs::write(&paths[1], &kept[..kept.len() / 2]).unwrap();
    assert!(open().contains("m-00002-of-"), "{}", open());
    std::fs::remove_file(&paths[1]).unwrap();
    assert!(open().contains("m-00002-of-"), "{}", open());
    std::fs::write(&paths[1], kept).unwrap();
    assert!(Gguf::open(&paths[0]).is_ok());
}
