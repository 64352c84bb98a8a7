//! Softmax and its relatives.

use cairn_tensor::{Axes, Axis, Float, Tensor};

use super::reductions::reduced;
use super::when;
use crate::trace::from_front;
use crate::var::Squash;
use crate::{Result, Settings, Var};

impl<T: Float> Var<T> {
    /// exp(x) / Σ exp(x) along an axis. Along the last axis the result remembers its input (see
    /// [`softmax_logits`](Self::softmax_logits)).
    ///
    /// # Errors
    /// For an axis out of range.
    pub fn softmax(&self, axis: impl Axis) -> Result<Self> {
        let axis = axis.number();
        let y = self.value().softmax(axis)?;
        let last = axis == -1 || axis + 1 == self.shape().len() as isize;
        let kept = y.clone();
        let var = Var::from_op("softmax", y, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                // The kernel works along the last axis.
                let (y, g) = (kept.transpose(axis, -1)?, g.transpose(axis, -1)?);
                y.softmax_backward(&g)?.transpose(axis, -1)
            })?])
        });
        let var = var.told(|| Settings::Axis(from_front(axis, self.shape().len())));
        Ok(if last { var.with_logits(Squash::Softmax, self) } else { var })
    }

    /// ln(softmax(x)) along an axis.
    ///
    /// # Errors
    /// For an axis out of range.
    pub fn log_softmax(&self, axis: impl Axis) -> Result<Self> {
        let axis = axis.number();
        let y = self.value().log_softmax(axis)?;
        let kept = y.clone();
        let result = Var::from_op("log_softmax", y, [self], move |g, [wanted]| {
            // g - softmax · Σ g
            Ok([when(wanted, || g.sub(&kept.exp()?.mul(&g.sum_keepdim(axis_of(axis))?)?))?])
        });
        Ok(result.told(|| Settings::Axis(from_front(axis, self.shape().len()))))
    }

    /// ln Σ exp(x) over axes.
    ///
    /// # Errors
    /// For an axis out of range or named twice.
    pub fn logsumexp(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.log_sum_exp(self.value().logsumexp(&axes)?, &axes)
    }

    /// As [`logsumexp`](Self::logsumexp), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`logsumexp`](Self::logsumexp).
    pub fn logsumexp_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.log_sum_exp(self.value().logsumexp_keepdim(&axes)?, &axes)
    }

    fn log_sum_exp(&self, value: Tensor<T>, axes: &Axes) -> Result<Self> {
        let (x, kept) = (self.value().clone(), axes.keepdim("logsumexp", self.shape())?);
        let y = value.reshape(&kept)?;
        let result = Var::from_op("logsumexp", value, [self], move |g, [wanted]| {
            // exp(x - y), the softmax over these axes
            Ok([when(wanted, || x.sub(&y)?.exp()?.mul(&g.reshape(&kept)?))?])
        });
        Ok(result.told(|| reduced(self.shape(), axes)))
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
        let logits = self.softmax_logits().unwrap_or(self);
        let (losses, probabilities) = logits.value().cross_entropy(labels)?;
        let labels = labels.clone();
        Ok(Var::from_op("cross_entropy", losses, [logits], move |g, [wanted]| {
            Ok([when(wanted, || probabilities.cross_entropy_backward(&labels, g))?])
        }))
    }
}

fn axis_of(axis: isize) -> Axes {
    axis.into()
}
