//! A linear layer over a vocabulary with the softmax and the cross-entropy that follow, as one operation.
//!
//! A matrix of logits `[rows, classes]` is the largest array of a language model by far, and nobody looks at it. Here rows are done in
//! parts, whose logits never fill more than [`MOST`] elements, and stay in a cache where that is enough rows. Where gradients are wanted they are computed in the forward pass, a
//! part's while its logits are at hand (as Liger Kernel does, Hsu et al. 2024): three products, where a backward pass that computes
//! the logits anew (as Cut Cross-Entropy, Wijmans et al. 2024) needs four. That works because the result is a single number: the
//! gradients have only to be multiplied by its own.

use crate::cpu::linear_cross_entropy::{self as kernels, Rows, Targets};
use crate::{Error, Float, Result, Tensor};

/// The most logits that are there at a time, and as many as a cache of the last level holds.
const MOST: usize = 1 << 24;
const NEAR: usize = 1 << 22;
/// Rows for each feature from which on what is done to the table of a part (read three times, its gradient added to) does not count.
const OFTEN: usize = 4;

const OP: &str = "linear_cross_entropy";

/// How [`linear_cross_entropy`](Tensor::linear_cross_entropy) weighs rows and classes: all alike, unless told otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinearCrossEntropyOptions<T: Float = f32> {
    /// A label whose rows have no part in the loss.
    pub ignored: Option<u32>,
    /// The share of each target that is spread evenly over all classes, from 0 to 1.
    pub smoothing: f64,
    /// A weight for each class, `[classes]`.
    pub class_weights: Option<Tensor<T>>,
    /// A weight for each row, shaped like the labels.
    pub row_weights: Option<Tensor<T>>,
}

impl<T: Float> Default for LinearCrossEntropyOptions<T> {
    fn default() -> Self {
        LinearCrossEntropyOptions { ignored: None, smoothing: 0.0, class_weights: None, row_weights: None }
    }
}

impl<T: Float> LinearCrossEntropyOptions<T> {
    /// Rows with this label, which need be no class, have no part in the loss: padding.
    #[must_use]
    #[doc(alias("ignore_index", "ignore_class"))]
    pub fn ignored(mut self, label: u32) -> Self {
        self.ignored = Some(label);
        self
    }

    /// Spreads this share of each target evenly over all classes (Szegedy et al. 2016).
    #[must_use]
    #[doc(alias = "label_smoothing")]
    pub fn smoothing(mut self, share: f64) -> Self {
        self.smoothing = share;
        self
    }

    /// A weight for each class, `[classes]`.
    #[must_use]
    #[doc(alias = "weight")]
    pub fn class_weights(mut self, weights: &Tensor<T>) -> Self {
        self.class_weights = Some(weights.clone());
        self
    }

    /// A weight for each row, shaped like the labels.
    #[must_use]
    #[doc(alias = "sample_weight")]
    pub fn row_weights(mut self, weights: &Tensor<T>) -> Self {
        self.row_weights = Some(weights.clone());
        self
    }
}

/// What [`linear_cross_entropy`](Tensor::linear_cross_entropy) returns.
#[derive(Debug, Clone)]
pub struct LinearCrossEntropy<T: Float = f32> {
    /// The sum of the rows' losses, each times its weight.
    pub loss: T,
    /// The sum of the weights, by which the sum is divided for a mean; 0 where all labels are ignored.
    pub weight: T,
    /// The gradients of the sum with respect to the rows, the table and the bias, where they were wanted.
    pub gradients: [Option<Tensor<T>>; 3],
}

impl<T: Float> LinearCrossEntropy<T> {
    /// The mean loss; 0 where nothing has a weight.
    pub fn mean(&self) -> T {
        if self.weight == T::ZERO { T::ZERO } else { self.loss / self.weight }
    }
}

impl<T: Float> Tensor<T> {
    /// The cross-entropy of the logits `x tableᵀ + bias` against one label for each row, summed: of rows `[…, features]` (this
    /// tensor) with a table `[classes, features]`, laid out like an embedding's, so that it can be one. No array of all logits
    /// is ever made. With the loss come the sum of weights and the gradients that are `wanted`, of rows, table and bias.
    ///
    /// With class weights w and smoothing ε a row's loss is (1 - ε) w(label) (-ln p(label)) + ε / classes · Σ w(c) (-ln p(c)), and
    /// its weight w(label), as in PyTorch's `cross_entropy`; weights of rows multiply both.
    ///
    /// ```
    /// use cairn_tensor::{LinearCrossEntropyOptions, Tensor};
    /// let x = Tensor::from_vec(vec![1.0f32, 0.0, 0.0, 1.0, 5.0, 5.0], [3, 2])?;
    /// let table = Tensor::from_vec(vec![9.0, 0.0, 0.0, 9.0], [2, 2])?;
    /// let labels = Tensor::from_vec(vec![0, 1, 7], [3])?;
    /// let options = LinearCrossEntropyOptions::default().ignored(7);
    /// let result = x.linear_cross_entropy(&table, None, &labels, &options, [true, true, false])?;
    /// assert_eq!(result.weight, 2.0);
    /// assert!(result.mean() < 2e-4 && result.gradients[1].is_some());
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when sizes do not fit together, [`Error::BadShape`] for a table of no classes;
    /// [`Error::IndexOutOfRange`] for a label that is neither a class nor ignored; [`Error::BadSetting`] for a smoothing outside 0
    /// to 1.
    #[doc(alias("fused_linear_cross_entropy", "liger_fused_linear_cross_entropy"))]
    pub fn linear_cross_entropy(
        &self,
        table: &Self,
        bias: Option<&Self>,
        labels: &Tensor<u32>,
        options: &LinearCrossEntropyOptions<T>,
        wanted: [bool; 3],
    ) -> Result<LinearCrossEntropy<T>> {
        let [classes, features] = check(self, table, bias, labels, options)?;
        let rows = labels.len();
        let x = self.reshape([rows, features])?;
        let labels = labels.row_major()?;
        let (bias_data, class_weights) =
            (bias.map(Tensor::row_major).transpose()?, row_major(options.class_weights.as_ref())?);
        let row_weights = row_major(options.row_weights.as_ref())?;
        let targets = Targets {
            classes,
            bias: bias_data.as_deref(),
            ignored: options.ignored,
            smoothing: options.smoothing,
            class_weights: class_weights.as_deref(),
            mean_weight: class_weights
                .as_deref()
                .map_or(1.0, |w| w.iter().map(|w| w.to_f64()).sum::<f64>() / classes as f64),
        };
        let row_weight = |i: usize| row_weights.as_deref().map(|weights| weights[i]);
        let weight = (0..rows).map(|i| targets.weight(labels[i], row_weight(i))).sum();
        let mut losses = vec![T::ZERO; rows];
        let wanted = [wanted[0], wanted[1], wanted[2] && bias.is_some()];
        let mut of_rows = Vec::new();
        let mut of_table = wanted[1].then(|| Self::zeros([classes, features])).transpose()?;
        let mut of_bias = wanted[2].then(|| Self::zeros([classes])).transpose()?;
        let most = (OFTEN * features).max(NEAR / classes).min(MOST / classes).max(1);
        let part = rows.div_ceil(rows.div_ceil(most).max(1)).max(1);
        for (number, losses) in losses.chunks_mut(part).enumerate() {
            let (first, len) = (number * part, losses.len());
            let x = x.narrow(0, first, len)?;
            let mut logits = x.matmul(&table.t()?)?;
            let some = Rows {
                labels: &labels[first..][..len],
                weights: row_weights.as_deref().map(|weights| &weights[first..][..len]),
            };
            let derive = wanted.contains(&true);
            kernels::losses(&targets, some, logits.as_mut_slice()?, losses, derive);
            if wanted[0] {
                of_rows.push(logits.matmul(table)?);
            }
            if let Some(sum) = &mut of_table {
                sum.add_matmul(&logits.t()?, &x)?;
            }
            if let Some(sum) = &mut of_bias {
                sum.add_assign(&logits.sum(0)?)?;
            }
        }
        let of_rows = match &of_rows[..] {
            _ if !wanted[0] => None,
            [] => Some(Self::zeros(self.dims())?),
            [one] => Some(one.reshape(self.dims())?),
            all => Some(Tensor::cat(&all.iter().collect::<Vec<_>>(), 0)?.reshape(self.dims())?),
        };
        let loss = losses.iter().map(|loss| loss.to_f64()).sum();
        Ok(LinearCrossEntropy {
            loss: T::from_f64(loss),
            weight: T::from_f64(weight),
            gradients: [of_rows, of_table, of_bias],
        })
    }
}

fn row_major<T: Float>(tensor: Option<&Tensor<T>>) -> Result<Option<crate::RowMajor<'_, T>>> {
    tensor.map(Tensor::row_major).transpose()
}

/// The table's sizes, if all fits together.
fn check<T: Float>(
    x: &Tensor<T>,
    table: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    labels: &Tensor<u32>,
    options: &LinearCrossEntropyOptions<T>,
) -> Result<[usize; 2]> {
    let &[classes @ (1..), features] = table.shape() else {
        return Err(Error::bad_shape(OP, table.shape(), "a table [classes, features] is needed"));
    };
    let rows = match x.shape().split_last() {
        Some((&own, rows)) if own == features => rows,
        _ => {
            return Err(Error::mismatch(
                OP,
                x.shape(),
                table.shape(),
                "rows and table must have one number of features",
            ));
        }
    };
    if rows != labels.shape() {
        return Err(Error::mismatch(OP, x.shape(), labels.shape(), "one label for each row"));
    }
    let by_class = [bias, options.class_weights.as_ref()];
    if let Some(other) = by_class.into_iter().flatten().find(|other| other.shape() != [classes]) {
        let why = "bias and weights of classes must have one value for each class";
        return Err(Error::mismatch(OP, table.shape(), other.shape(), why));
    }
    if let Some(weights) = options.row_weights.as_ref().filter(|weights| weights.shape() != rows) {
        return Err(Error::mismatch(OP, weights.shape(), rows, "one weight for each row"));
    }
    if !(0.0..=1.0).contains(&options.smoothing) {
        return Err(Error::bad_setting(OP, "the label smoothing", options.smoothing, "from 0 to 1"));
    }
    let outside = |&(_, label): &(usize, u32)| label as usize >= classes && Some(label) != options.ignored;
    if let Some((position, label)) = labels.iter().enumerate().find(outside) {
        return Err(Error::IndexOutOfRange { op: OP, index: label as usize, position, size: classes });
    }
    Ok([classes, features])
}
