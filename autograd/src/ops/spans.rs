//! Where the sequences of a padded batch begin and end, found out from their ids: operations whose operands, and results, are ids.
//!
//! They have no derivative, and outside [`trace`](crate::trace()) they leave no record. Within one they do, so that a traced model
//! computes them anew for each batch.

use cairn_tensor::{Float, Tensor};

use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::trace::record_ids;
use crate::{Result, Var};

/// An operation from ids to ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdsOp {
    /// The first step of each sequence `[batch, time]` that is not padding: `[batch]`. 0 where all is padding.
    Starts {
        /// The id of padding.
        padding: u32,
    },
    /// The step after the last of each sequence that is not padding: `[batch]`. 0 where all is padding.
    Ends {
        /// The id of padding.
        padding: u32,
    },
}

impl IdsOp {
    /// The result for these ids.
    ///
    /// # Errors
    /// Unless ids are `[batch, time]`.
    pub fn evaluate(&self, ids: &Tensor<u32>) -> Result<Tensor<u32>> {
        let &(IdsOp::Starts { padding } | IdsOp::Ends { padding }) = self;
        let &[batch, time] = ids.shape() else {
            let why = "ids [batch, time] are needed to find the padding";
            return Err(cairn_tensor::Error::BadShape { op: "spans", shape: ids.dims().clone(), why }.into());
        };
        let list = ids.to_vec();
        let mut found = Vec::with_capacity(batch);
        for sequence in 0..batch {
            let row = &list[sequence * time..][..time];
            let is_token = |&id: &u32| id != padding;
            let at = match self {
                IdsOp::Starts { .. } => row.iter().position(is_token),
                IdsOp::Ends { .. } => row.iter().rposition(is_token).map(|last| last + 1),
            };
            found.push(at.unwrap_or(0) as u32);
        }
        Ok(Tensor::from_vec(found, [batch])?)
    }

    /// [`evaluate`](Self::evaluate), recorded while a model is traced.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn apply(&self, ids: &Tensor<u32>) -> Result<Tensor<u32>> {
        let result = self.evaluate(ids)?;
        record_ids(*self, ids, &result);
        Ok(result)
    }
}

operations! {
    /// What follows from where sequences begin and end.
    Spans {
        /// Which steps are of their sequence, `[batch, time, 1]`: 1 for those, 0 in the padding. The operands are the ends and, if
        /// there are any, the starts.
        Valid {
            /// The number of steps.
            time: usize,
        } = "valid",
    }
}

impl Rule for Spans {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let &Spans::Valid { time } = self;
        let (ends, starts) = (x.ids(0)?, x.ids(1).ok());
        let mut valid = vec![T::ZERO; ends.len() * time];
        for (sequence, row) in valid.chunks_exact_mut(time.max(1)).enumerate() {
            let start = starts.map_or(Ok(0), |starts| starts.get(&[sequence]))? as usize;
            let end = ends.get(&[sequence])? as usize;
            if end > time {
                return Err(cairn_tensor::Error::BadLength {
                    op: "valid",
                    sequence,
                    length: end,
                    steps: time,
                }
                .into());
            }
            // Of what begins after its end nothing is valid.
            if let Some(steps) = row.get_mut(start..end) {
                steps.fill(T::ONE);
            }
        }
        debug_assert!(!wanted.any(), "ids have no gradient");
        Ok(Ran { value: Tensor::from_vec(valid, [ends.len(), time, 1])?, backward: None })
    }
}

impl<T: Float> Var<T> {
    /// Which of `time` steps are of their sequence: 1 from its start (0 where none are given) to its end, 0 in the padding.
    /// `[batch, time, 1]`, a constant.
    ///
    /// # Errors
    /// Unless starts and ends are vectors of one length, and no end is beyond the steps there are.
    pub fn valid_steps(starts: Option<&Tensor<u32>>, ends: &Tensor<u32>, time: usize) -> Result<Self> {
        let op = Spans::Valid { time };
        match starts {
            Some(starts) => Var::apply(op, &[ends.into(), starts.into()]),
            None => Var::apply(op, &[ends.into()]),
        }
    }
}
