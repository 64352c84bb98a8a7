//! Whole layers as one operation: what they keep and compute is chosen for the layer, not left over from small steps.

use cairn_tensor::{Float, Tensor};

use super::when;
use crate::{Result, Settings, Var};

impl<T: Float> Var<T> {
    /// A dense layer: `x w + b`, then max(·, 0) if `relu`. `x` is `[…, inputs]`, `weight` `[inputs, outputs]`, `bias`
    /// `[outputs]`.
    ///
    /// # Errors
    /// When the sizes do not fit together.
    pub fn linear(&self, weight: &Self, bias: Option<&Self>, relu: bool) -> Result<Self> {
        let value = self.value().linear(weight.value(), bias.map(Var::value), relu)?;
        let (x, w, y) = (self.value().clone(), weight.value().clone(), relu.then(|| value.clone()));
        let backward = move |g: &Tensor<T>, [input, weight, bias]: [bool; 3]| {
            let g = match &y {
                Some(y) => y.relu_backward(g)?,
                None => g.clone(),
            };
            let rows = |t: &Tensor<T>| {
                let (&last, rows) = t.shape().split_last().unwrap_or((&1, &[]));
                t.reshape([rows.iter().product(), last])
            };
            let g_rows = rows(&g)?;
            Ok([
                when(input, || g.matmul(&w.t()?))?,
                when(weight, || rows(&x)?.t()?.matmul(&g_rows))?,
                when(bias, || g_rows.sum(0))?,
            ])
        };
        let result = match bias {
            Some(bias) => Var::from_op("linear", value, [self, weight, bias], backward),
            None => Var::from_op("linear", value, [self, weight], move |g, [input, weight]| {
                let [input, weight, _] = backward(g, [input, weight, false])?;
                Ok([input, weight])
            }),
        };
        Ok(result.told(|| Settings::Relu(relu)))
    }
}
