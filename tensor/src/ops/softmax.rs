//! Softmax and its relatives along an axis, and the cross-entropy that ends most classifiers.

use crate::cpu::softmax::{self, LogSoftmax, RowMap, Softmax};
use crate::ops::index::check_indices;
use crate::ops::reduce::runs;
use crate::shape::{Axes, Axis, axis_index};
use crate::{Error, Float, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// exp(x) / Σ exp(x) along an axis; no finite input overflows. An axis of 0 gives an empty tensor.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`].
    pub fn softmax(&self, axis: impl Axis) -> Result<Self> {
        self.row_map("softmax", axis, Softmax)
    }

    /// ln(softmax(x)) along an axis, without the loss of digits of taking them one after the other, whatever the logits have in
    /// common: `(x - max) - ln Σ exp(x - max)`.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`].
    pub fn log_softmax(&self, axis: impl Axis) -> Result<Self> {
        self.row_map("log_softmax", axis, LogSoftmax)
    }

    /// ln Σ exp(x) over axes; no finite input overflows. -∞ for no elements.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`], [`Error::RepeatedAxis`].
    #[doc(alias = "reduce_logsumexp")]
    pub fn logsumexp(&self, axes: impl Into<Axes>) -> Result<Self> {
        self.log_sum_exp(&axes.into(), false)
    }

    /// As [`logsumexp`](Self::logsumexp), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`logsumexp`](Self::logsumexp).
    pub fn logsumexp_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        self.log_sum_exp(&axes.into(), true)
    }

    fn log_sum_exp(&self, axes: &Axes, keepdim: bool) -> Result<Self> {
        let runs = runs("logsumexp", self, axes, keepdim)?;
        Self::build(runs.shape, |out| match runs.len {
            0 => out.fill(T::NEG_INFINITY),
            len => softmax::log_sum_exp(&runs.data, len, out),
        })
    }

    /// The gradient with respect to the input of [`softmax`](Self::softmax) along the last axis, given its output (this
    /// tensor) and the output's gradient.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the two differ in shape, [`Error::BadShape`] for a scalar.
    pub fn softmax_backward(&self, gradient: &Self) -> Result<Self> {
        let op = "softmax_backward";
        if self.shape() != gradient.shape() {
            return Err(Error::mismatch(
                op,
                self.shape(),
                gradient.shape(),
                "output and gradient must be alike",
            ));
        }
        let Some(&len) = self.shape().last() else {
            return Err(Error::bad_shape(op, self.shape(), "a scalar has no last axis"));
        };
        let (y, g) = (self.row_major()?, gradient.row_major()?);
        let (y, g) = (&y[..], &g[..]);
        Self::build(self.dims(), |out| softmax::softmax_backward(y, g, len, out))
    }

    fn row_map(&self, op: &'static str, axis: impl Axis, f: impl RowMap<T>) -> Result<Self> {
        let axis = axis_index(op, axis, self.shape())?;
        let last = self.rank() - 1;
        if axis != last {
            return self.transpose(axis, last)?.row_map(op, last, f)?.transpose(axis, last)?.contiguous();
        }
        let x = self.row_major()?;
        let data = &x[..];
        Self::build(self.dims(), |out| softmax::map_rows(data, self.shape()[last], out, f))
    }

    /// For logits `[…, classes]` and one label for each row: the losses `-ln softmax(x)[label]`, shaped like the labels,
    /// and the probabilities softmax(x), which [`cross_entropy_backward`](Self::cross_entropy_backward) needs.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let logits = Tensor::from_vec(vec![0.0f32, 0.0, 100.0, 0.0], [2, 2])?;
    /// let labels = Tensor::from_vec(vec![1, 0], [2])?;
    /// let (losses, _) = logits.cross_entropy(&labels)?;
    /// assert!((losses.get(&[0])? - 2f32.ln()).abs() < 1e-6 && losses.get(&[1])? < 1e-6);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless the labels have the logits' shape without its last axis;
    /// [`Error::IndexOutOfRange`] for a label that is no class.
    pub fn cross_entropy(&self, labels: &Tensor<u32>) -> Result<(Self, Self)> {
        self.cross_entropy_ignoring(labels, None)
    }

    /// As [`cross_entropy`](Self::cross_entropy), where a row whose label is `ignored` has a loss of 0, whatever its logits are, and
    /// zeros in place of probabilities. That label need not be a class: the number of padding, 255 for pixels without a class.
    ///
    /// # Errors
    /// As [`cross_entropy`](Self::cross_entropy), for the labels that are not ignored.
    #[doc(alias = "ignore_index")]
    pub fn cross_entropy_ignoring(&self, labels: &Tensor<u32>, ignored: Option<u32>) -> Result<(Self, Self)> {
        let op = "cross_entropy";
        let Some((&classes, rows)) = self.shape().split_last() else {
            return Err(Error::bad_shape(op, self.shape(), "logits need an axis of classes"));
        };
        if rows != labels.shape() {
            return Err(Error::mismatch(
                op,
                self.shape(),
                labels.shape(),
                "one label for each row of logits",
            ));
        }
        let labels = labels.row_major()?;
        let label_data = &labels[..];
        check_labels(op, label_data, classes, ignored)?;
        let logits = self.row_major()?;
        let data = &logits[..];
        let mut losses = Self::zeros(Shape::from(rows))?;
        let out = losses.as_mut_slice()?;
        let probabilities = Self::build(self.dims(), |probabilities| {
            if !probabilities.is_empty() {
                softmax::cross_entropy(data, classes, label_data, ignored, probabilities, out);
            }
        })?;
        Ok((losses, probabilities))
    }

    /// The gradient with respect to the logits, given the probabilities (this tensor) that
    /// [`cross_entropy`](Self::cross_entropy) returned and the gradient of the losses; in the memory of the probabilities, if nobody
    /// else holds them.
    ///
    /// # Errors
    /// As [`cross_entropy`](Self::cross_entropy).
    pub fn cross_entropy_backward(self, labels: &Tensor<u32>, gradient: &Self) -> Result<Self> {
        self.cross_entropy_ignoring_backward(labels, None, gradient)
    }

    /// As [`cross_entropy_backward`](Self::cross_entropy_backward), for
    /// [`cross_entropy_ignoring`](Self::cross_entropy_ignoring): no gradient for rows whose label is ignored.
    ///
    /// # Errors
    /// As [`cross_entropy_ignoring`](Self::cross_entropy_ignoring).
    pub fn cross_entropy_ignoring_backward(
        mut self,
        labels: &Tensor<u32>,
        ignored: Option<u32>,
        gradient: &Self,
    ) -> Result<Self> {
        let op = "cross_entropy_backward";
        let Some((&classes, rows)) = self.shape().split_last() else {
            return Err(Error::bad_shape(op, self.shape(), "probabilities need an axis of classes"));
        };
        if rows != labels.shape() || rows != gradient.shape() {
            return Err(Error::mismatch(
                op,
                self.shape(),
                labels.shape(),
                "one label and gradient for each row",
            ));
        }
        let (labels, g) = (labels.row_major()?, gradient.row_major()?);
        let labels = &labels[..];
        check_labels(op, labels, classes, ignored)?;
        if !self.is_empty() {
            softmax::cross_entropy_backward(self.as_mut_slice()?, classes, labels, ignored, &g);
        }
        Ok(self)
    }
}

/// An error unless each label is a class or the ignored one.
fn check_labels(op: &'static str, labels: &[u32], classes: usize, ignored: Option<u32>) -> Result<()> {
    let Some(ignored) = ignored else { return check_indices(op, labels, classes) };
    match labels.iter().position(|&label| label != ignored && label as usize >= classes) {
        None => Ok(()),
        Some(position) => {
            Err(Error::IndexOutOfRange { op, index: labels[position] as usize, position, size: classes })
        }
    }
}
