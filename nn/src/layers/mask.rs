//! Where the sequences of a batch stand between their padding, handed from layer to layer in the context (Keras's masks).
//!
//! An embedding that is [masked](super::Embedding::masked) finds out from the ids, or the caller says it
//! ([`Context::with_lengths`](crate::Context::with_lengths)); recurrent layers and the global mean pass over the padding.
//! Layers that mix steps or change their number (convolutions, flattening) end it in a `Sequential`. Padding is before and after a
//! sequence, not within: that is what padding is, and two numbers a sequence say it.

use cairn_autograd::Var;
use cairn_autograd::op::IdsOp;
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
    /// For ids of another rank. A sequence of nothing but padding has no valid steps: recurrent layers end it with the state it
    /// began with, global pooling with 0.
    pub fn of_ids(ids: &Tensor<u32>, padding: u32) -> Result<Self> {
        let starts = IdsOp::Starts { padding }.apply(ids)?;
        Ok(SequenceMask { starts: Some(starts), ends: IdsOp::Ends { padding }.apply(ids)? })
    }

    /// Which steps of a batch of so many sequences are valid: `[batch, time, 1]`, ones, and zeros in the padding.
    pub(crate) fn valid(&self, batch: usize, time: usize) -> Result<Var> {
        if self.ends.shape() != [batch] {
            let why = format!("a mask needs one length for each of the {batch} sequences of the batch");
            return Err(Error::BadInput { input: self.ends.dims().clone(), why });
        }
        Ok(Var::valid_steps(self.starts.as_ref(), &self.ends, time)?)
    }
}
