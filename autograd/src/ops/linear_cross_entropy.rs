//! A linear layer over a vocabulary with its loss, as one operation: the forward pass computes the gradients, part of the rows by
//! part, and the backward pass multiplies them by the gradient of the sum.

use cairn_tensor::{Float, LinearCrossEntropy, LinearCrossEntropyOptions, Tensor};

use super::linear::Linear;
use crate::op::{Operands, Ran, Wanted};
use crate::var::Argument;
use crate::{Gradient, Result, Var};

/// The operands that the loss may have after rows, table and labels, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weighted {
    /// `[classes]`
    pub bias: bool,
    /// `[classes]`; they have no gradient.
    pub class_weights: bool,
    /// Shaped like the labels; they have no gradient.
    pub row_weights: bool,
}

/// Evaluates the operation from its operands.
pub(super) fn run<T: Float>(
    x: Operands<'_, T>,
    (ignored, smoothing, present): (Option<u32>, f64, Weighted),
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    let mut next = 2;
    let mut float = |there: bool| {
        next += usize::from(there);
        there.then(|| x.float(next)).transpose()
    };
    let bias = float(present.bias)?;
    let mut options = LinearCrossEntropyOptions::default().smoothing(smoothing);
    options.ignored = ignored;
    options.class_weights = float(present.class_weights)?.cloned();
    options.row_weights = float(present.row_weights)?.cloned();
    let result =
        x.float(0)?.linear_cross_entropy(x.float(1)?, bias, x.ids(2)?, &options, wishes(wanted, present))?;
    ran(result, wanted, present)
}

/// The wishes for the gradients of rows, table and bias.
fn wishes(wanted: Wanted<'_>, present: Weighted) -> [bool; 3] {
    let [x, table, bias] = wanted.of();
    [x, table, bias && present.bias]
}

fn ran<T: Float>(result: LinearCrossEntropy<T>, wanted: Wanted<'_>, present: Weighted) -> Result<Ran<T>> {
    let LinearCrossEntropy { loss, gradients, .. } = result;
    let floats =
        2 + [present.bias, present.class_weights, present.row_weights].map(usize::from).iter().sum::<usize>();
    let value = Tensor::scalar(loss);
    let backward = wanted.any().then(|| -> crate::op::Backward<T> {
        Box::new(move |g| {
            let g = g.item()?;
            let there = gradients.into_iter().take(2 + usize::from(present.bias));
            let mut all = there.map(|gradient| scaled(gradient, g)).collect::<Result<Vec<_>>>()?;
            // Weights have none.
            all.resize_with(floats, || None);
            Ok(all)
        })
    });
    Ok(Ran { value, backward })
}

/// A gradient of the sum times the sum's own, in its own memory: a table's is the largest array of a step.
fn scaled<T: Float>(gradient: Option<Tensor<T>>, g: T) -> Result<Option<Gradient<T>>> {
    let Some(mut gradient) = gradient else { return Ok(None) };
    gradient.scale_assign(g)?;
    Ok(Some(Gradient::Dense(gradient)))
}

impl<T: Float> Var<T> {
    /// The cross-entropy of the logits `x tableᵀ + bias` against one label for each row, summed, of rows `[…, features]` (this
    /// variable) with a table `[classes, features]`: see [`Tensor::linear_cross_entropy`]. No array of all logits is ever made.
    /// Beside the sum of the losses comes that of the weights, which is 0 where all labels are ignored: [`mean_over`](Self::mean_over)
    /// makes the mean of both.
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::{LinearCrossEntropyOptions, Tensor};
    /// let table = Var::parameter(Tensor::<f32>::eye(4)?.scale(3.0)?);
    /// let x = Var::from(Tensor::<f32>::eye(4)?.narrow(0, 1, 2)?);
    /// let labels = Tensor::from_vec(vec![1, 2], [2])?;
    /// let (sum, weight) = x.linear_cross_entropy(&table, None, &labels, &LinearCrossEntropyOptions::default())?;
    /// let mean = sum.mean_over(weight)?;
    /// let logits = x.matmul(&table.t()?)?;
    /// assert!((mean.item()? - logits.cross_entropy(&labels)?.mean(..)?.item()?).abs() < 1e-6);
    /// assert_eq!(mean.backward()?.of(&table)?.shape(), [4, 4]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the sizes do not fit together, for a label that is neither a class nor ignored, and a smoothing outside 0 to 1.
    pub fn linear_cross_entropy(
        &self,
        table: &Self,
        bias: Option<&Self>,
        labels: &Tensor<u32>,
        options: &LinearCrossEntropyOptions<T>,
    ) -> Result<(Self, T)> {
        let LinearCrossEntropyOptions { ignored, smoothing, class_weights, row_weights, .. } = options;
        let present = Weighted {
            bias: bias.is_some(),
            class_weights: class_weights.is_some(),
            row_weights: row_weights.is_some(),
        };
        let weights: Vec<Var<T>> =
            [class_weights, row_weights].into_iter().flatten().cloned().map(Var::constant).collect();
        let mut operands: Vec<Argument<'_, T>> = vec![self.into(), table.into(), labels.into()];
        operands.extend(bias.map(Argument::from));
        operands.extend(weights.iter().map(Argument::from));
        let op = Linear::CrossEntropy { ignored: *ignored, smoothing: *smoothing, present };
        let mut weight = T::ZERO;
        let sum = Var::apply_as(op, &operands, |wanted| {
            let wishes = wishes(wanted, present);
            let bias = bias.map(Var::value);
            let result = self.value().linear_cross_entropy(table.value(), bias, labels, options, wishes)?;
            weight = result.weight;
            ran(result, wanted, present)
        })?;
        Ok((sum, weight))
    }

    /// The mean whose sum this is, over so much weight; over a weight of 0 it is 0, and its gradient, too.
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::{LinearCrossEntropyOptions, Tensor};
    /// let table = Var::parameter(Tensor::<f32>::eye(4)?);
    /// let (x, padding) = (Var::from(Tensor::<f32>::ones([2, 4])?), Tensor::zeros([2])?);
    /// let options = LinearCrossEntropyOptions::default().ignored(0);
    /// let (sum, weight) = x.linear_cross_entropy(&table, None, &padding, &options)?;
    /// assert_eq!(sum.mean_over(weight)?.item()?, 0.0);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When memory runs out.
    pub fn mean_over(&self, weight: T) -> Result<Self> {
        self.scale(if weight == T::ZERO { T::ZERO } else { T::ONE / weight })
    }
}
