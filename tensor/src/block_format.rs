//! The formats of quantised weights, as values: blocks of small integers with scales of their own, as llama.cpp and GGUF files
//! have them.

use std::fmt;

/// A format of quantised weights: how a block of neighbouring weights is stored.
///
/// Each block has a 16-bit scale `d`, some a minimum `m` as well. Those of 256 weights (`…K`) divide them into sub-blocks
/// with scales of a few bits.
///
/// | format | weights | bytes | bits a weight | a weight is |
/// |---|---|---|---|---|
/// | `Q4_0` | 32 | 18 | 4.5 | `d (q - 8)` |
/// | `Q4_1` | 32 | 20 | 5 | `d q + m` |
/// | `Q5_0` | 32 | 22 | 5.5 | `d (q - 16)` |
/// | `Q5_1` | 32 | 24 | 6 | `d q + m` |
/// | `Q8_0` | 32 | 34 | 8.5 | `d q` |
/// | `Q4K` | 256 | 144 | 4.5 | `d s q - dm m`, `s` and `m` of 6 bits for each 32 |
/// | `Q5K` | 256 | 176 | 5.5 | as `Q4K` |
/// | `Q6K` | 256 | 210 | 6.56 | `d s (q - 32)`, `s` of 8 bits for each 16 |
///
/// ```
/// use cairn_tensor::{BlockFormat, DType};
/// let dtype: DType = "q4_K".parse()?;
/// assert_eq!(dtype, BlockFormat::Q4K.into());
/// assert_eq!((BlockFormat::Q4K.weights(), BlockFormat::Q4K.bytes()), (256, 144));
/// # Ok::<(), cairn_tensor::UnknownDType>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BlockFormat {
    /// 4 bits, symmetric.
    Q4_0,
    /// 4 bits, with a minimum.
    Q4_1,
    /// 5 bits, symmetric.
    Q5_0,
    /// 5 bits, with a minimum.
    Q5_1,
    /// 8 bits, symmetric.
    Q8_0,
    /// 4 bits, scales and minima of 6 bits.
    Q4K,
    /// 5 bits, scales and minima of 6 bits.
    Q5K,
    /// 6 bits, scales of 8 bits.
    Q6K,
}

impl BlockFormat {
    /// All of them.
    pub const ALL: [BlockFormat; 8] = {
        use BlockFormat::*;
        [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4K, Q5K, Q6K]
    };

    /// The name, as in GGUF's tools but for the case: `q4_0`, `q4_k`.
    pub const fn name(self) -> &'static str {
        match self {
            BlockFormat::Q4_0 => "q4_0",
            BlockFormat::Q4_1 => "q4_1",
            BlockFormat::Q5_0 => "q5_0",
            BlockFormat::Q5_1 => "q5_1",
            BlockFormat::Q8_0 => "q8_0",
            BlockFormat::Q4K => "q4_k",
            BlockFormat::Q5K => "q5_k",
            BlockFormat::Q6K => "q6_k",
        }
    }

    /// The weights of a block.
    pub const fn weights(self) -> usize {
        match self {
            BlockFormat::Q4K | BlockFormat::Q5K | BlockFormat::Q6K => 256,
            _ => 32,
        }
    }

    /// The bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            BlockFormat::Q4_0 => 18,
            BlockFormat::Q4_1 => 20,
            BlockFormat::Q5_0 => 22,
            BlockFormat::Q5_1 => 24,
            BlockFormat::Q8_0 => 34,
            BlockFormat::Q4K => 144,
            BlockFormat::Q5K => 176,
            BlockFormat::Q6K => 210,
        }
    }

    /// The format for rows of so many weights: this one where they are whole blocks, else the one with blocks of 32 that
    /// llama.cpp takes in its place (`Q5_0` for `Q4K`, `Q5_1` for `Q5K`, `Q8_0` for `Q6K`); `None` where they are no multiple of 32.
    ///
    /// ```
    /// use cairn_tensor::BlockFormat::{Q4_0, Q4K, Q5_0};
    /// assert_eq!((Q4K.fitting(512), Q4K.fitting(576), Q4_0.fitting(100)), (Some(Q4K), Some(Q5_0), None));
    /// ```
    pub const fn fitting(self, columns: usize) -> Option<Self> {
        let format = match self {
            _ if columns.is_multiple_of(self.weights()) => self,
            BlockFormat::Q4K => BlockFormat::Q5_0,
            BlockFormat::Q5K => BlockFormat::Q5_1,
            BlockFormat::Q6K => BlockFormat::Q8_0,
            other => other,
        };
        if columns > 0 && columns.is_multiple_of(format.weights()) { Some(format) } else { None }
    }

    /// The bytes of so many weights. `None` when they are no whole blocks, or more than the address space has.
    pub const fn bytes_of(self, weights: usize) -> Option<usize> {
        if !weights.is_multiple_of(self.weights()) {
            None
        } else {
            (weights / self.weights()).checked_mul(self.bytes())
        }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
