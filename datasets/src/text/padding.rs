//! Sequences of different length as one rectangle.

use cairn_tensor::Tensor;

use crate::error::{Error, Result};

/// An end of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The beginning.
    Start,
    /// The end.
    End,
}

/// How to bring sequences to one length. By default to the longest of the batch, padded at the end with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    length: Option<usize>,
    max_length: usize,
    id: u32,
    pad: Side,
    truncate: Side,
}

impl Default for Padding {
    fn default() -> Self {
        Self::new()
    }
}

impl Padding {
    /// To the longest, padded at the end with 0.
    pub fn new() -> Self {
        Padding { length: None, max_length: usize::MAX, id: 0, pad: Side::End, truncate: Side::End }
    }

    /// To exactly this length.
    #[must_use]
    pub fn length(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// To the longest, but no longer than this.
    #[must_use]
    pub fn max_length(mut self, length: usize) -> Self {
        self.max_length = length;
        self
    }

    /// What to pad with.
    #[must_use]
    pub fn id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Where to pad.
    #[must_use]
    #[doc(alias("pad_sequences", "pad_sequence", "DataCollatorWithPadding"))]
    pub fn pad(mut self, side: Side) -> Self {
        self.pad = side;
        self
    }

    /// From where to cut what is too long: [`Side::Start`] keeps the last tokens.
    #[must_use]
    pub fn truncate(mut self, side: Side) -> Self {
        self.truncate = side;
        self
    }

    /// Pads and cuts at the start, as Keras does by default.
    #[must_use]
    pub fn at_start(self) -> Self {
        self.pad(Side::Start).truncate(Side::Start)
    }
}

/// Sequences brought to one length.
#[derive(Debug, Clone)]
pub struct Padded {
    /// Token ids, of shape (batch, time).
    pub ids: Tensor<u32>,
    /// The number of entries of each row that are tokens and not padding.
    pub lengths: Vec<usize>,
}

impl Padded {
    /// The lengths as a tensor, `[batch]`, as attention and recurrent layers take them where the padding is at the end. Of sequences
    /// that are [padded at the start](Padding::at_start) a mask comes from the ids (`SequenceMask::of_ids`).
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn row_lengths(&self) -> Result<Tensor<u32>> {
        let lengths = self.lengths.iter().map(|&length| length as u32).collect();
        Ok(Tensor::from_vec(lengths, [self.lengths.len()])?)
    }
}

/// Brings sequences to one length.
///
/// ```
/// use cairn_datasets::text::{pad, Padding};
/// let batch = pad(&[vec![1, 2, 3], vec![4]], &Padding::new().length(2).at_start())?;
/// assert_eq!(batch.ids.to_vec(), [2, 3, 0, 4]);
/// assert_eq!(batch.lengths, [2, 1]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] for no sequences at all; [`Error::Argument`] for a sequence without tokens, naming it, or a length of 0.
pub fn pad<S: AsRef<[u32]>>(sequences: &[S], padding: &Padding) -> Result<Padded> {
    if sequences.is_empty() {
        return Err(Error::Empty { what: "pad" });
    }
    if let Some(i) = sequences.iter().position(|s| s.as_ref().is_empty()) {
        return Err(Error::argument("pad", format!("sequence {i} is empty")));
    }
    let longest = sequences.iter().map(|s| s.as_ref().len()).max().unwrap_or(0);
    let time = padding.length.unwrap_or(longest).min(padding.max_length);
    if time == 0 {
        return Err(Error::argument("pad", "sequences cannot be brought to length 0"));
    }
    let ids = Tensor::build([sequences.len(), time], |out| {
        for (row, sequence) in out.chunks_exact_mut(time).zip(sequences) {
            place(row, sequence.as_ref(), padding);
        }
    })?;
    Ok(Padded { ids, lengths: sequences.iter().map(|s| s.as_ref().len().min(time)).collect() })
}

fn place(row: &mut [u32], sequence: &[u32], padding: &Padding) {
    let kept = match padding.truncate {
        Side::Start => &sequence[sequence.len().saturating_sub(row.len())..],
        Side::End => &sequence[..sequence.len().min(row.len())],
    };
    let empty = row.len() - kept.len();
    let (tokens, rest) = match padding.pad {
        Side::End => row.split_at_mut(kept.len()),
        Side::Start => {
            let (rest, tokens) = row.split_at_mut(empty);
            (tokens, rest)
        }
    };
    tokens.copy_from_slice(kept);
    rest.fill(padding.id);
}
