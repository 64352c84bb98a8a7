//! Softmax and its relatives.

use cairn_tensor::{Axis, Float, Tensor};

use super::{from_front, when};
use crate::logits::Activated;
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Softmax and its relatives.
    Softmax {
        /// exp(x) / Σ exp(x)
        Softmax {
            /// The axis of the sum.
            axis: usize,
        } = "softmax",
        /// ln softmax(x)
        LogSoftmax {
            /// The axis of the sum.
            axis: usize,
        } = "log_softmax",
        /// The losses of logits, the first operand, for labels, the second.
        CrossEntropy {
            /// The label whose rows have no loss, if there is one.
            ignored: Option<u32>,
        } = "cross_entropy",
    }
}

impl Rule for Softmax {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        match *self {
            Softmax::Softmax { axis } => wanted.ran_one(x.float(0)?.softmax(axis)?, |y| {
                let y = y.clone();
                move |g| {
                    // The kernel works along the last axis.
                    let (y, g) = (y.transpose(axis, -1)?, g.transpose(axis, -1)?);
                    y.softmax_backward(&g)?.transpose(axis, -1)
                }
            }),
            Softmax::LogSoftmax { axis } => wanted.ran_one(x.float(0)?.log_softmax(axis)?, |y| {
                let y = y.clone();
                // g - softmax · Σ g
                move |g| g.sub(&y.exp()?.mul(&g.sum_keepdim(axis)?)?)
            }),
            Softmax::CrossEntropy { ignored } => {
                let labels = x.ids(1)?;
                let (losses, probabilities) = x.float(0)?.cross_entropy_ignoring(labels, ignored)?;
                wanted.ran(losses, |_, [of_logits]| {
                    let labels = labels.clone();
                    move |g| {
                        Ok([when(of_logits, || {
                            probabilities.cross_entropy_ignoring_backward(&labels, ignored, g)
                        })?])
                    }
                })
            }
        }
    }
}

impl<T: Float> Var<T> {
    /// exp(x) / Σ exp(x) along an axis. The result remembers its input (see
    /// [`softmax_logits`](Self::softmax_logits)).
    ///
    /// # Errors
    /// For an axis out of range.
    pub fn softmax(&self, axis: impl Axis) -> Result<Self> {
        let axis = self.axis("softmax", axis)?;
        let y = Var::apply(Softmax::Softmax { axis }, &[self.into()])?;
        Ok(y.with_logits(Activated::Softmax { axis }, self))
    }

    /// ln(softmax(x)) along an axis.
    ///
    /// # Errors
    /// For an axis out of range.
    pub fn log_softmax(&self, axis: impl Axis) -> Result<Self> {
        let axis = self.axis("log_softmax", axis)?;
        Var::apply(Softmax::LogSoftmax { axis }, &[self.into()])
    }

    /// Cross-entropy of logits `[…, classes]` against one label for each row: the losses `-ln softmax(x)[label]`, shaped
    /// like the labels. One operation, forward and backward. Given the output of [`softmax`](Self::softmax) it starts
    /// from the softmax's input, so that training on probabilities is as stable as on logits.
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::Tensor;
    /// let logits = Var::parameter(Tensor::from_vec(vec![200.0f32, 0.0, 0.0], [1, 3])?);
    /// let label = Tensor::from_vec(vec![1], [1])?;
    /// let loss = logits.cross_entropy(&label)?.mean(..)?;
    /// assert_eq!(loss.item()?, 200.0);
    /// let stable = logits.softmax(-1)?.cross_entropy(&label)?.mean(..)?;
    /// assert_eq!(stable.item()?, 200.0);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When labels and rows differ in shape, or a label is no class.
    pub fn cross_entropy(&self, labels: &Tensor<u32>) -> Result<Self> {
        self.cross_entropy_ignoring(labels, None)
    }

    /// As [`cross_entropy`](Self::cross_entropy), where rows whose label is `ignored` have a loss of 0 and no gradient. That label need
    /// not be a class.
    ///
    /// # Errors
    /// When labels and rows differ in shape, or a label is neither a class nor the ignored one.
    #[doc(alias = "ignore_index")]
    pub fn cross_entropy_ignoring(&self, labels: &Tensor<u32>, ignored: Option<u32>) -> Result<Self> {
        let logits = self.softmax_logits();
        let logits = logits.as_ref().unwrap_or(self);
        Var::apply(Softmax::CrossEntropy { ignored }, &[logits.into(), labels.into()])
    }

    /// An axis of this variable counted from the front.
    pub(super) fn axis(&self, op: &'static str, axis: impl Axis) -> Result<usize> {
        let (axis, rank) = (axis.number(), self.shape().len());
        // The tensors know the error.
        if axis >= rank as isize || axis < -(rank as isize) {
            return Err(cairn_tensor::Error::AxisOutOfRange { op, axis, shape: self.dims().clone() }.into());
        }
        Ok(from_front(axis, rank))
    }
}
