//! Where the sequences of a batch stand between their padding, handed from layer to layer in the context (Keras's masks).
//!
//! An embedding that is [masked](super::Embedding::masked) finds out from the ids, or the caller says it
//! ([`Context::with_lengths`](crate::Context::with_lengths)); recurrent layers and the global mean pass over the padding.
//! Layers that mix steps or change their number (convolutions, flattening) end it in a `Sequential`. Padding is before and after a
//! sequence, not within: that is what padding is, and two numbers a sequence say it.

use cairn_tensor::Tensor;

use crate::{Error, Result};

/// The valid steps of each sequence of a batch: its first, and the one after its last.
#[doc(alias("mask", "attention_mask", "pack_padded_sequence"))]
#[derive(Debug, Clone)]
pub struct SequenceMask {
    /// `[batch]`; zeros where there are none.
    pub(crate) starts: Option<Tensor<u32>>,
    /// `[batch]`
    pub(crate) ends: Tensor<u32>,
}

impl SequenceMask {
    /// Of sequences that begin at the first step and have these lengths, `[batch]`.
    pub fn of_lengths(lengths: &Tensor<u32>) -> Self {
        SequenceMask { starts: None, ends: lengths.clone() }
    }

    /// Of ids `[batch, time]` with this one around them as padding. Within a sequence it is an id like others.
    ///
    /// # Errors
    /// [`Error::BadInput`] for ids of another rank, and for a sequence of nothing but padding, naming it.
    pub fn of_ids(ids: &Tensor<u32>, padding: u32) -> Result<Self> {
        let bad = |why: String| Error::BadInput { input: ids.dims().clone(), why };
        let &[batch, time] = ids.shape() else {
            return Err(bad("a masked embedding needs ids [batch, time]".into()));
        };
        let data = ids.contiguous()?;
        let rows = data.as_slice().unwrap_or_default().chunks_exact(time.max(1));
        let (mut starts, mut ends) = (Vec::with_capacity(batch), Vec::with_capacity(batch));
        for (sequence, row) in rows.enumerate() {
            let is_token = |&id: &u32| id != padding;
            let (Some(first), Some(last)) = (row.iter().position(is_token), row.iter().rposition(is_token))
            else {
                return Err(bad(format!("sequence {sequence} is all padding (id {padding})")));
            };
            starts.push(first as u32);
            ends.push(last as u32 + 1);
        }
        let (starts, ends) = (Tensor::from_vec(starts, [batch])?, Tensor::from_vec(ends, [batch])?);
        Ok(SequenceMask { starts: Some(starts), ends })
    }

    /// The weight of each step in the mean over its sequence: `[batch, time, 1]`, zeros in the padding.
    pub(crate) fn weights(&self, time: usize) -> Result<Tensor> {
        let batch = self.ends.len();
        let mut weights = vec![0.0; batch * time];
        for (sequence, row) in weights.chunks_exact_mut(time.max(1)).enumerate() {
            let start = match &self.starts {
                Some(starts) => starts.get(&[sequence])? as usize,
                None => 0,
            };
            let end = self.ends.get(&[sequence])? as usize;
            if let Some(steps) = row.get_mut(start..end) {
                steps.fill(1.0 / steps.len() as f32);
            }
        }
        Ok(Tensor::from_vec(weights, [batch, time, 1])?)
    }
}
