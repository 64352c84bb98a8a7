//! What a forward pass changes beside gradients: the running statistics of normalisation, in steps of several batches.
//!
//! Each batch of a step starts from the values before the step, and what comes of it is their mean over the batches that changed
//! them, summed as gradients are, by the [tree](crate::tree). So it does not depend on which process computed which batch. In a
//! step of one batch the statistics are simply what the forward pass leaves.

use cairn_nn::{Buffer, Module, Part, Visitor};
use cairn_tensor::AnyTensor;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::tree::{Node, Sum, Tree};

/// The buffers of a model, and what the batches of a step have made of them.
#[derive(Default)]
pub(super) struct Statistics {
    buffers: Vec<Buffer>,
    /// Whether a step has several batches.
    apart: bool,
    /// The values before the step.
    before: Vec<AnyTensor>,
    tree: Tree<Changes>,
}

/// By buffer; nothing where it was left as it is.
pub(super) type Changes = Vec<Option<Change>>;

/// The sum of what batches have made of a buffer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Change {
    batches: u64,
    value: AnyTensor,
}

impl Statistics {
    pub(super) fn of(model: &dyn Module, apart: bool) -> Self {
        let mut buffers = Vec::new();
        model.visit(&mut Visitor::new(&mut |_, part| {
            if let Part::Buffer(buffer) = part {
                buffers.push(buffer.clone());
            }
        }));
        Statistics { buffers, apart, ..Statistics::default() }
    }

    /// A step begins.
    pub(super) fn begin(&mut self) {
        self.before = self.buffers.iter().map(Buffer::any).collect();
        self.tree = Tree::default();
    }

    /// Puts the values back that were there before a step that is not made.
    pub(super) fn put_back(&self) {
        self.buffers.iter().zip(&self.before).for_each(|(buffer, value)| buffer.set(value.clone()));
    }

    /// Takes in what batch number `place` of the step has changed.
    pub(super) fn take_in(&mut self, place: u64) -> Result<()> {
        if !self.apart || self.buffers.is_empty() {
            return Ok(());
        }
        let change = |(buffer, before): (&Buffer, &AnyTensor)| {
            let value = buffer.any();
            (!value.bits_eq(before)).then_some(Change { batches: 1, value })
        };
        let changes = self.buffers.iter().zip(&self.before).map(change).collect();
        self.put_back();
        self.tree.leaf(place, changes)
    }

    /// The changes so far, to be taken in by all processes.
    pub(super) fn take(&mut self) -> Vec<(u32, u64, Changes)> {
        let nodes = std::mem::take(&mut self.tree).into_nodes();
        nodes.into_iter().map(|node| (node.level, node.index, node.sum)).collect()
    }

    /// Takes in changes of a process.
    pub(super) fn insert(&mut self, (level, index, sum): (u32, u64, Changes)) -> Result<()> {
        self.tree.insert(Node { level, index, sum })
    }

    /// Gives the buffers the mean of what the step's batches have made of them.
    pub(super) fn settle(&mut self) -> Result<()> {
        let changes = std::mem::take(&mut self.tree).finish()?.unwrap_or_default();
        for (buffer, change) in self.buffers.iter().zip(changes) {
            if let Some(change) = change {
                buffer.set(change.mean()?);
            }
        }
        Ok(())
    }
}

impl Change {
    fn mean(self) -> Result<AnyTensor> {
        match &self.value {
            AnyTensor::F32(sum) if self.batches > 1 => {
                Ok(sum.scale((1.0 / self.batches as f64) as f32)?.into())
            }
            _ => Ok(self.value),
        }
    }
}

impl Sum for Changes {
    fn add(&mut self, next: Self) -> Result<()> {
        for (sum, next) in self.iter_mut().zip(next) {
            match (&mut *sum, next) {
                (Some(sum), Some(next)) => {
                    sum.batches += next.batches;
                    sum.value = match (&sum.value, next.value) {
                        (AnyTensor::F32(sum), AnyTensor::F32(next)) => sum.add(&next)?.into(),
                        // A count, say: it is what the last batch made of it.
                        (_, next) => next,
                    };
                }
                (None, next) => *sum = next,
                (Some(_), None) => {}
            }
        }
        Ok(())
    }
}
