//! A dense layer as one operation: what it saves and computes is chosen for the layer, not left over from small steps.

use cairn_tensor::{AnyTensor, Float, QuantizedTensor, Tensor};

use super::linear_cross_entropy::{self, Weighted};
use super::{by, keep, multiply_adds, when};
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Gradient, Result, Var};

operations! {
    /// Dense layers.
    Linear {
        /// `x w + b`; the operands are x, the weight and, if there is one, the bias.
        Linear {
            /// Whether max(·, 0) follows.
            relu: bool,
        } = "linear",
        /// The same with weights in the type that they are stored in, which have no gradient: the operands are x, the weights and,
        /// if there is one, the bias.
        Stored {
            /// Whether max(·, 0) follows.
            relu: bool,
        } = "linear_stored",
        /// The summed cross-entropy of the logits `x tableᵀ + bias`; the operands are x, the table, the labels, and those of
        /// `present`, in order.
        CrossEntropy {
            /// A label whose rows have no part in it.
            ignored: Option<u32>,
            /// The share of each target that is spread over all classes.
            smoothing: f64,
            /// Which further operands there are.
            present: Weighted,
        } = "linear_cross_entropy",
    }
}

impl Rule for Linear {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let relu = match *self {
            Linear::Linear { relu } => relu,
            Linear::Stored { relu } => return stored(x, relu, wanted),
            Linear::CrossEntropy { ignored, smoothing, present } => {
                return linear_cross_entropy::run(x, (ignored, smoothing, present), wanted);
            }
        };
        let (x, weight, bias) = (x.float(0)?, x.float(1)?, x.optional(2)?);
        wanted.ran(x.linear(weight, bias, relu)?, |y, [of_x, of_weight, of_bias]| {
            let (x, w, y) = (keep(of_weight, x), keep(of_x, weight), keep(relu, y));
            move |g| {
                let g = match y {
                    Some(y) => y.relu_backward(g)?,
                    None => g.clone(),
                };
                // The weight's first: what was kept for it is freed.
                let [weight, bias] = match x {
                    Some(x) if of_bias => {
                        x.linear_gradients(&g)?.map(|gradient| Some(Gradient::Dense(gradient)))
                    }
                    x => [by(x, |x| rows(&x)?.t()?.matmul(&rows(&g)?))?, when(of_bias, || rows(&g)?.sum(0))?],
                };
                Ok([by(w, |w| g.matmul(&w.t()?))?, weight, bias])
            }
        })
    }

    fn flops(&self, operands: &[&[usize]], output: &[usize]) -> u64 {
        match self {
            Linear::Linear { .. } | Linear::Stored { .. } => {
                multiply_adds(output.iter().chain(operands.first().and_then(|x| x.last())))
            }
            Linear::CrossEntropy { .. } => match operands {
                [_, table, labels, ..] => multiply_adds(table.iter().chain(*labels)),
                _ => 0,
            },
        }
    }

    /// Of stored weights there is no gradient, and they are not among the floats.
    fn backward_flops(&self, operands: &[&[usize]], output: &[usize], wanted: &[bool]) -> u64 {
        let most = if matches!(self, Linear::Stored { .. }) { 1 } else { 2 };
        let factors = wanted.iter().take(most).filter(|wanted| **wanted).count();
        self.flops(operands, output).saturating_mul(factors as u64)
    }
}

/// The gradient is that of the product with the weights as floats, taken back for it and dropped again: rounding activations has
/// no derivative that would help.
fn stored<T: Float>(x: Operands<'_, T>, relu: bool, wanted: Wanted<'_>) -> Result<Ran<T>> {
    let (x, weight, bias) = (x.float(0)?, x.stored(1)?, x.optional(2)?);
    wanted.ran(x.linear_stored(weight, bias, relu)?, |y, [of_x, of_bias]| {
        let (w, y) = (weight.clone(), keep(relu, y));
        move |g| {
            let g = match y {
                Some(y) => y.relu_backward(g)?,
                None => g.clone(),
            };
            Ok([when(of_x, || of_inputs(&g, &w))?, when(of_bias, || rows(&g)?.sum(0))?])
        }
    })
}

/// Weights that are floats at a time in the backward pass: all of a layer's would be several times what it stores.
const FLOATS: usize = 1 << 20;

/// The gradient of the inputs: `g Wᵀ`. Weights whose outputs lie one after the other are taken back some outputs at a time.
fn of_inputs<T: Float>(g: &Tensor<T>, weights: &AnyTensor) -> cairn_tensor::Result<Tensor<T>> {
    let by_output = weights.t()?;
    let (outputs, inputs) = (by_output.shape()[0], by_output.shape()[1]);
    let some = (FLOATS / inputs.max(1)).max(1);
    let in_blocks = by_output.as_quantized().is_none_or(|weights| !weights.is_transposed());
    if !in_blocks || outputs <= some {
        let weights: Tensor<T> = weights.cast(T::DTYPE)?.try_into()?;
        return g.matmul(&weights.t()?);
    }
    let g_rows = rows(g)?;
    let mut sum = Tensor::zeros([g_rows.shape()[0], inputs])?;
    for first in (0..outputs).step_by(some) {
        let count = some.min(outputs - first);
        let ids: Vec<u32> = (first as u32..(first + count) as u32).collect();
        sum.add_matmul(&g_rows.narrow(1, first, count)?, &by_output.rows(&ids)?.cast()?)?;
    }
    let leading = g.shape().iter().rev().skip(1).rev();
    sum.reshape(leading.copied().chain([inputs]).collect::<cairn_tensor::Shape>())
}

/// All axes but the last as one.
fn rows<T: Float>(x: &Tensor<T>) -> cairn_tensor::Result<Tensor<T>> {
    let (&last, rows) = x.shape().split_last().unwrap_or((&1, &[]));
    x.reshape([rows.iter().product(), last])
}

impl<T: Float> Var<T> {
    /// A dense layer: `x w + b`, then max(·, 0) if `relu`. `x` is `[…, inputs]`, `weight` `[inputs, outputs]`, `bias`
    /// `[outputs]`.
    ///
    /// # Errors
    /// When the sizes do not fit together.
    pub fn linear(&self, weight: &Self, bias: Option<&Self>, relu: bool) -> Result<Self> {
        let op = Linear::Linear { relu };
        match bias {
            Some(bias) => Var::apply(op, &[self.into(), weight.into(), bias.into()]),
            None => Var::apply(op, &[self.into(), weight.into()]),
        }
    }

    /// As [`linear`](Self::linear), with weights `[inputs, outputs]` in the type that they are stored in, quantised or of 16 bits: see
    /// [`Tensor::linear_stored`] for what is computed. The weights are not trained, what they are given is: gradients are those of
    /// the product with the weights as floats.
    ///
    /// # Errors
    /// When the sizes do not fit together.
    pub fn linear_stored(&self, weight: &AnyTensor, bias: Option<&Self>, relu: bool) -> Result<Self> {
        let op = Linear::Stored { relu };
        match bias {
            Some(bias) => Var::apply(op, &[self.into(), weight.into(), bias.into()]),
            None => Var::apply(op, &[self.into(), weight.into()]),
        }
    }

    /// [`linear_stored`](Self::linear_stored) of quantised weights.
    ///
    /// # Errors
    /// When the sizes do not fit together.
    pub fn linear_quantized(
        &self,
        weight: &QuantizedTensor,
        bias: Option<&Self>,
        relu: bool,
    ) -> Result<Self> {
        self.linear_stored(&weight.clone().into(), bias, relu)
    }
}
