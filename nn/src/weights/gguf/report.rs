//! What there is to say of the tensors of a file.

use cairn_tensor::{DType, QuantizedTensor, Shape, instruction_set};

use super::TensorInfo;

/// What there is to say of a tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// The sizes along each axis.
    pub shape: Shape,
    /// The name of the element type.
    pub dtype: &'static str,
    /// The bytes that it has in the file.
    pub bytes: usize,
    /// What computes with it on this machine: see [`kernel_for`].
    pub kernel: String,
}

impl TensorReport {
    pub(super) fn new(name: &str, info: &TensorInfo) -> Self {
        TensorReport {
            name: name.to_owned(),
            shape: info.shape.clone(),
            dtype: info.type_name(),
            bytes: info.bytes,
            kernel: info
                .dtype()
                .map_or_else(|| "none: not supported".to_owned(), |dtype| kernel_for(dtype, &info.shape)),
        }
    }
}

/// What computes with a weight of this type and shape on this machine, in a few words: `q4_1, 8-bit integers (avx512-vnni)`.
///
/// ```
/// use cairn_nn::weights::gguf::kernel_for;
/// use cairn_tensor::{BlockFormat, DType};
/// assert!(kernel_for(BlockFormat::Q4_1.into(), &[64, 64]).starts_with("q4_1, 8-bit integers ("));
/// assert!(kernel_for(DType::F32, &[64]).starts_with("f32 ("));
/// ```
pub fn kernel_for(dtype: DType, shape: &[usize]) -> String {
    let isa = instruction_set();
    match dtype {
        DType::Quantized(format) if shape.len() == 2 => {
            format!("{format}, 8-bit integers ({})", QuantizedTensor::kernel())
        }
        DType::F32 | DType::F64 => format!("{dtype} ({isa})"),
        DType::BF16 | DType::F16 if shape.len() == 2 => format!("{dtype}, sums of f32 ({isa})"),
        dtype if dtype.is_float() || matches!(dtype, DType::Quantized(_)) => {
            format!("converted to f32 ({isa})")
        }
        _ => "none: no floats".to_owned(),
    }
}
