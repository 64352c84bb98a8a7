//! The interface between a model and whatever trains or runs it.

use cairn_autograd::Var;
use cairn_tensor::Tensor;

use crate::{Context, Module, Result};

/// A module with a forward pass from inputs of type `X`: what a training loop needs.
///
/// Implement it for a struct of your own layers to train it with the same `Trainer` as a `Sequential`:
///
/// ```
/// use cairn_autograd::Var;
/// use cairn_nn::{Context, Linear, Model, Module, Result};
/// use cairn_tensor::Tensor;
///
/// #[derive(Module)]
/// struct Residual {
///     a: Linear,
///     b: Linear,
/// }
///
/// impl Model<Tensor> for Residual {
///     fn forward(&self, x: &Tensor, _: &mut Context) -> Result<Var> {
///         let x = Var::from(x.clone());
///         let inner = self.b.forward(&self.a.forward(&x)?.relu()?)?;
///         Ok(x.add(&inner)?)
///     }
/// }
/// ```
pub trait Model<X>: Module {
    /// The model's output for a batch.
    ///
    /// # Errors
    /// When the input does not fit the model.
    fn forward(&self, input: &X, cx: &mut Context) -> Result<Var>;

    /// The output for a batch at inference: nothing random, nothing recorded.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn predict_batch(&self, input: &X) -> Result<Tensor> {
        let output = cairn_autograd::no_grad(|| self.forward(input, &mut Context::eval()))?;
        Ok(output.value().clone())
    }
}
