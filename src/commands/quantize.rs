//! `cairn quantize`: the weights of a GGUF file in fewer bits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cairn::nn;
use cairn::nn::weights::gguf::{self, Gguf};
use cairn::tensor::{AnyTensor, BlockFormat, DType};
use serde::Serialize;

use super::failure::Failure;
use super::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A GGUF file.
    from: PathBuf,
    /// The GGUF file to write.
    to: PathBuf,
    /// The format of the matrices: q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k. One of blocks of 256 gives way to one of 32 where
    /// rows are no whole blocks.
    #[arg(long, short, value_name = "FORMAT", value_parser = format_of)]
    format: BlockFormat,
    /// The format of the table of tokens, and of the output layer.
    #[arg(long, value_name = "FORMAT", value_parser = format_of, default_value = "q8_0")]
    tokens: BlockFormat,
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
}

fn format_of(name: &str) -> Result<BlockFormat, String> {
    let found = BlockFormat::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let names: Vec<&str> = BlockFormat::ALL.into_iter().map(BlockFormat::name).collect();
        format!("there are {}", names.join(", "))
    })
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    if same_file(&args.from, &args.to) {
        return Err(Failure::new("the file to write is the one to read").hint("name another"));
    }
    let file = Gguf::open(&args.from)?;
    let (mut tensors, mut report) = (BTreeMap::new(), Report::default());
    for name in file.tensors().keys() {
        let from = file.tensor(name)?;
        let wanted = if name.starts_with("token_embd") || name.starts_with("output.") {
            args.tokens
        } else {
            args.format
        };
        let to = match fitting(wanted, &from) {
            Some(format) => quantized(&from, format, &mut report)?,
            None => from.clone(),
        };
        report.bytes_before += from.byte_count();
        report.bytes_after += to.byte_count();
        *report.tensors.entry(to.dtype().to_string()).or_default() += 1;
        tensors.insert(name.clone(), to);
    }
    gguf::write(&args.to, file.values(), &tensors)?;
    out.result(&report, || report.to_text())
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The format for a matrix of weights; none for what stays as it is.
fn fitting(wanted: BlockFormat, tensor: &AnyTensor) -> Option<BlockFormat> {
    let &[_, columns] = tensor.shape() else { return None };
    let smaller = match wanted {
        BlockFormat::Q4K => BlockFormat::Q5_0,
        BlockFormat::Q5K => BlockFormat::Q5_1,
        BlockFormat::Q6K => BlockFormat::Q8_0,
        other => other,
    };
    [wanted, smaller].into_iter().find(|format| columns.is_multiple_of(format.weights()))
}

fn quantized(from: &AnyTensor, format: BlockFormat, report: &mut Report) -> Result<AnyTensor, Failure> {
    if from.dtype() == DType::Quantized(format) {
        return Ok(from.clone());
    }
    let failed = |error: cairn::tensor::Error| Failure::from(nn::Error::from(error));
    let exact = from.cast(DType::F32).map_err(failed)?;
    let to = exact.cast(format.into()).map_err(failed)?;
    let back = to.cast(DType::F32).map_err(failed)?;
    let (exact, back) = (exact.as_f32().map_err(failed)?, back.as_f32().map_err(failed)?);
    let (mut off, mut length) = (0.0, 0.0);
    for (a, b) in exact.iter().zip(back.iter()) {
        off += f64::from(a - b).powi(2);
        length += f64::from(a).powi(2);
    }
    report.largest_error = report.largest_error.max((off / length.max(f64::MIN_POSITIVE)).sqrt());
    Ok(to)
}

impl Report {
    fn to_text(&self) -> String {
        let types = self
            .tensors
            .iter()
            .map(|(dtype, count)| format!("{count} {dtype}"))
            .collect::<Vec<_>>()
            .join(", ");
        format!(
            "{:.1} MB became {:.1} MB: {types}; the largest error of a tensor is {:.2} % (`cairn perplexity` measures what that changes)",
            self.bytes_before as f64 / 1e6,
            self.bytes_after as f64 / 1e6,
            100.0 * self.largest_error
        )
    }
}
