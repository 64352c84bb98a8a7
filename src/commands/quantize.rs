//! `cairn quantize`: the weights of a GGUF file, or of a folder, in fewer bits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cairn::nn;
use cairn::nn::weights::gguf::{self, Gguf};
use cairn::tensor::{AnyTensor, BlockFormat, DType};
use serde::Serialize;
use serde_json::Value;

use super::compare::Comparison;
use super::failure::Failure;
use super::output::Output;
use super::paths::{is_same, lies_in};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A GGUF file, a folder with config.json and safetensors, or the name of a published model.
    pub(super) from: PathBuf,
    /// What to write: of the same kind, or of a folder a file whose name ends with `.gguf`.
    to: PathBuf,
    /// The format of the matrices: f16, bf16, and in a GGUF file q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k. One of blocks of 256
    /// gives way to one of 32 where rows are no whole blocks.
    #[arg(long, short, value_name = "FORMAT", value_parser = format_of)]
    format: DType,
    /// The format of the table of tokens, and of the output layer: q8_0, if not given, or the other of 16 bits.
    #[arg(long, value_name = "FORMAT", value_parser = format_of)]
    tokens: Option<DType>,
    /// Also measures what changed, on a text: of a model that writes, its perplexity, how often the likeliest token is the same, and how
    /// fast it reads; of an encoder, how alike its vectors are.
    #[arg(long, value_name = "TEXT")]
    compare: Option<PathBuf>,
    /// Of that text only the first tokens, or lines.
    #[arg(long, value_name = "N", default_value_t = 2048)]
    most: usize,
}

/// What became of a file.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Bytes of the weights, before and after.
    bytes_before: usize,
    bytes_after: usize,
    /// The number of tensors of each type.
    tensors: BTreeMap<String, usize>,
    /// Of the tensors that changed, the largest distance from what they were, as a share of their length.
    largest_error: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
}

fn format_of(name: &str) -> Result<DType, String> {
    let all: Vec<DType> =
        [DType::F16, DType::BF16].into_iter().chain(BlockFormat::ALL.map(DType::from)).collect();
    let found = all.iter().find(|format| format.name().eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|format| format.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    if is_same(&args.from, &args.to) || pieces(&args.from).iter().any(|piece| is_same(piece, &args.to)) {
        return Err(Failure::new("the file to write is the one to read").hint("name another"));
    }
    let mut report = Report::default();
    let to_gguf = args.to.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    match args.from.is_dir() {
        true if to_gguf => {
            let (values, mut tensors) = nn::models::to_gguf(&args.from)?;
            for (name, tensor) in &mut tensors {
                *tensor = of_gguf(args, name, tensor, &mut report)?;
            }
            gguf::write(&args.to, &values, &tensors)?;
        }
        true => folder(args, &mut report)?,
        false => gguf_file(args, &mut report)?,
    }
    if let Some(text) = &args.compare {
        report.comparison = Some(Comparison::new(&args.from, &args.to, text, args.most)?);
    }
    out.result(&report, || report.to_text())
}

fn gguf_file(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let file = Gguf::open(&args.from)?;
    let mut tensors = BTreeMap::new();
    for name in file.tensors().keys() {
        tensors.insert(name.clone(), of_gguf(args, name, &file.tensor(name)?, report)?);
    }
    Ok(gguf::write(&args.to, file.values(), &tensors)?)
}

/// A tensor of a GGUF file in its format. The table of tokens has another, as has the output layer.
fn of_gguf(args: &Args, name: &str, tensor: &AnyTensor, report: &mut Report) -> Result<AnyTensor, Failure> {
    let tokens = args.tokens.unwrap_or(match args.format {
        DType::Quantized(_) => BlockFormat::Q8_0.into(),
        half => half,
    });
    // Positions and kinds of texts are added to tokens, and small.
    if name.starts_with("position_embd") || name.starts_with("token_types") {
        return report.changed(tensor, DType::F32);
    }
    let of_tokens = name.starts_with("token_embd.") || name.starts_with("output.");
    report.changed(tensor, if of_tokens { tokens } else { args.format })
}

/// The files of a model that is in several, as `model-00001-of-00003.gguf`: reading the first reads all.
fn pieces(from: &Path) -> Vec<PathBuf> {
    let name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // How many there are is looked up in the folder: the number in a name may be any.
    let Some((stem, count)) = name.rsplit_once("-of-") else { return Vec::new() };
    let Some((stem, _)) = stem.rsplit_once('-') else { return Vec::new() };
    let is_piece = |other: &str| {
        let middle = other.strip_prefix(stem).and_then(|rest| rest.strip_suffix(&format!("-of-{count}")));
        middle.and_then(|middle| middle.strip_prefix('-')).is_some_and(|number| number.parse::<u64>().is_ok())
    };
    let folder = from.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let Ok(all) = std::fs::read_dir(folder) else { return Vec::new() };
    let all = all.filter_map(|entry| Some(entry.ok()?.path()));
    all.filter(|path| path.file_name().is_some_and(|name| is_piece(&name.to_string_lossy()))).collect()
}

/// All files of a folder, its weights in 16 bits.
fn folder(args: &Args, report: &mut Report) -> Result<(), Failure> {
    if matches!(args.format, DType::Quantized(_)) {
        let why = format!("safetensors have no {}", args.format);
        return Err(Failure::new(why)
            .hint("f16 and bf16 halve a folder; blocks of fewer bits are written into a file whose name ends with `.gguf`"));
    }
    if lies_in(&args.to, &args.from) {
        let why = format!("{} lies in the folder that is copied", args.to.display());
        return Err(Failure::new(why).hint("name a folder beside it"));
    }
    let mut weights = nn::models::weights(&args.from)?;
    check_whole(&weights.left_out)?;
    for tensor in weights.tensors.values_mut() {
        *tensor = report.changed(tensor, args.format)?;
    }
    std::fs::create_dir_all(&args.to).map_err(|error| Failure::file(&args.to, &error))?;
    copy_beside(&args.from, &args.to, &parts(&args.from))?;
    Ok(weights.write_safetensors(args.to.join("model.safetensors"))?)
}

/// The folders of an encoder's parts, which may have weights of their own: layers after the pooling.
fn parts(from: &Path) -> Vec<PathBuf> {
    let list = std::fs::read(from.join("modules.json")).ok();
    let list: Vec<Value> = list.and_then(|list| serde_json::from_slice(&list).ok()).unwrap_or_default();
    let paths = list.iter().filter_map(|part| part["path"].as_str().filter(|path| !path.is_empty()));
    paths.map(|path| from.join(path)).collect()
}

/// Settings, tokenizer, and folders with such and with parts of the model: all but the weights of the model itself, in whichever formats.
fn copy_beside(from: &Path, to: &Path, parts: &[PathBuf]) -> Result<(), Failure> {
    let is_part = parts.iter().any(|part| from.starts_with(part));
    for entry in std::fs::read_dir(from).map_err(|error| Failure::file(from, &error))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() {
            copy_beside(&path, &to.join(name), parts)?;
        } else if is_part || !nn::models::holds_weights(&path) {
            std::fs::create_dir_all(to)?;
            std::fs::copy(&path, to.join(name)).map_err(|error| Failure::file(&path, &error))?;
        }
    }
    Ok(())
}

/// That nothing was passed over in reading: a model without some of its weights is another.
fn check_whole(left_out: &[String]) -> Result<(), Failure> {
    match left_out {
        [] => Ok(()),
        [first, ..] => {
            let count = left_out.len();
            let why = format!("{count} tensors are of types that are not known here, `{first}` for one");
            Err(Failure::new(why).hint("they would be missing in what is written"))
        }
    }
}

/// The format for a matrix of weights; none for what stays as it is.
fn fitting(wanted: DType, tensor: &AnyTensor) -> Option<DType> {
    let &[_, columns] = tensor.shape() else { return None };
    // Numbers of places and kinds are no weights.
    if !tensor.dtype().is_float() && !matches!(tensor.dtype(), DType::Quantized(_)) {
        return None;
    }
    match wanted {
        DType::Quantized(blocks) => blocks.fitting(columns).map(DType::Quantized),
        other => Some(other),
    }
}

fn quantized(from: &AnyTensor, format: DType, report: &mut Report) -> Result<AnyTensor, Failure> {
    if from.dtype() == format {
        return Ok(from.clone());
    }
    let failed = |error: cairn::tensor::Error| Failure::from(nn::Error::from(error));
    let exact = from.cast(DType::F32).map_err(failed)?;
    let to = exact.cast(format).map_err(failed)?;
    let back = to.cast(DType::F32).map_err(failed)?;
    let (exact, back) = (exact.as_f32().map_err(failed)?, back.as_f32().map_err(failed)?);
    let (mut off, mut length) = (0.0, 0.0);
    for (a, b) in exact.iter().zip(back.iter()) {
        off += f64::from(a - b).powi(2);
        length += f64::from(a).powi(2);
    }
    // From bf16, whose range is larger: such a model would write nothing but nonsense.
    if off.is_infinite() && length.is_finite() {
        return Err(Failure::new(format!("there are weights beyond the range of {format}"))
            .hint("bf16 has that of f32"));
    }
    report.largest_error = report.largest_error.max((off / length.max(f64::MIN_POSITIVE)).sqrt());
    Ok(to)
}

impl Report {
    /// A tensor in a format, if it is a matrix that takes it.
    fn changed(&mut self, from: &AnyTensor, wanted: DType) -> Result<AnyTensor, Failure> {
        let to = match fitting(wanted, from) {
            Some(format) => quantized(from, format, self)?,
            None => from.clone(),
        };
        self.bytes_before += from.byte_count();
        self.bytes_after += to.byte_count();
        *self.tensors.entry(to.dtype().to_string()).or_default() += 1;
        Ok(to)
    }

    fn to_text(&self) -> String {
        let types = self
            .tensors
            .iter()
            .map(|(dtype, count)| format!("{count} {dtype}"))
            .collect::<Vec<_>>()
            .join(", ");
        let comparison = match &self.comparison {
            Some(comparison) => format!("\n{}", comparison.to_text()),
            None => " (--compare measures what that changes)".into(),
        };
        format!(
            "{:.1} MB became {:.1} MB: {types}; the largest error of a tensor is {:.2} %{comparison}",
            self.bytes_before as f64 / 1e6,
            self.bytes_after as f64 / 1e6,
            100.0 * self.largest_error
        )
    }
}

#[cfg(test)]
mod tests {
    use cairn::tensor::Tensor;

    use super::*;

    #[test]
    fn the_files_of_a_model_in_several_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "n-00002-of-00002.gguf", "m.gguf"] {
            std::fs::write(at(name), b"").unwrap();
        }
        let mut found = pieces(&at("m-00001-of-00002.gguf"));
        found.sort();
        assert_eq!(found, [at("m-00001-of-00002.gguf"), at("m-00002-of-00002.gguf")]);
        assert!(pieces(&at("m.gguf")).is_empty());
    }

    #[test]
    fn weights_of_any_type_become_what_is_wanted_and_numbers_stay() {
        let wide = AnyTensor::zeros(DType::F32, [2, 32]).unwrap();
        let half = DType::F16;
        for from in [DType::F32, DType::BF16, DType::F64, BlockFormat::Q4_1.into()] {
            assert_eq!(fitting(half, &wide.cast(from).unwrap()), Some(half), "{from}");
        }
        assert_eq!(fitting(half, &AnyTensor::zeros(DType::I64, [2, 32]).unwrap()), None);
        assert_eq!(fitting(half, &AnyTensor::zeros(DType::F32, [32]).unwrap()), None);
        assert_eq!(
            fitting(BlockFormat::Q4K.into(), &wide.cast(DType::BF16).unwrap()),
            BlockFormat::Q4K.fitting(32).map(DType::Quantized)
        );
    }

    #[test]
    fn weights_beyond_the_range_of_a_format_are_refused() {
        let one =
            |value: f32| AnyTensor::from(Tensor::full([2, 32], value).unwrap()).cast(DType::BF16).unwrap();
        let mut report = Report::default();
        let told = report.changed(&one(1e30), DType::F16).unwrap_err().to_string();
        assert!(told.contains("beyond the range of f16"), "{told}");
        assert_eq!(report.changed(&one(1.5), DType::F16).unwrap().dtype(), DType::F16);
    }

    #[test]
    fn other_formats_of_a_models_weights_are_not_copied_and_those_of_its_parts_are() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let put = |name: &str, text: &str| {
            let path = from.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let left = [
            "pytorch_model.bin",
            "tf_model.h5",
            "flax_model.msgpack",
            "onnx/model.onnx",
            "model.safetensors",
        ];
        let kept = [
            "config.json",
            "tokenizer.json",
            "2_Dense/pytorch_model.bin",
            "onnx/config.json",
            "modules.json",
        ];
        left.iter().chain(&kept).for_each(|name| put(name, "x"));
        put("modules.json", r#"[{"type": "Transformer", "path": ""}, {"type": "Dense", "path": "2_Dense"}]"#);
        put("openvino/model.bin", "x");
        put("openvino/model.xml", "x");
        std::fs::create_dir(&to).unwrap();
        copy_beside(&from, &to, &parts(&from)).unwrap();
        for name in kept {
            assert!(to.join(name).is_file(), "{name}");
        }
        for name in left.iter().chain(&["openvino"]) {
            assert!(!to.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn what_was_left_out_is_told() {
        assert!(check_whole(&[]).is_ok());
        let told = check_whole(&["a".to_owned(), "b".to_owned()]).unwrap_err().to_string();
        assert!(told.contains("2 tensors") && told.contains("`a`"), "{told}");
    }
}
