//! Computing again in place of keeping (gradient checkpointing, Chen et al. 2016): of a part of a model only its input is kept for the
//! backward pass, which runs the part a second time. A stack of n parts then takes the memory of n inputs and of one part, for a third
//! more time.

use std::fmt::Display;

use cairn_tensor::Float;

use crate::op::{Op, Ran, Wanted};
use crate::trace::is_tracing;
use crate::var::{Argument, recording};
use crate::{Error, Gradient, Parameter, Result, Var, no_grad};

/// The name of the operation.
pub(crate) const CHECKPOINT: &str = "checkpoint";

impl<T: Float> Var<T> {
    /// `f` of this variable, of which nothing is kept: the backward pass computes `f` again. `f` must give the same result each time, and
    /// `parameters` are those in it that are to have gradients.
    ///
    /// ```
    /// use cairn_autograd::{Error, Parameter, Var};
    /// use cairn_tensor::Tensor;
    /// let w = Parameter::new(Tensor::scalar(3.0f32));
    /// let x = Var::parameter(Tensor::scalar(2.0));
    /// let inner = w.clone();
    /// let y = x.checkpoint(&[w.clone()], move |x| Ok::<_, Error>(x.mul(&inner.var())?.square()?))?;
    /// let gradients = y.backward()?;
    /// assert_eq!((y.item()?, gradients.of(&x)?.item()?, gradients.of(&w)?.item()?), (36.0, 36.0, 24.0));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `f`; in the backward pass [`Error::NotAgain`] where it fails the second time.
    #[doc(alias("gradient_checkpointing", "remat", "torch.utils.checkpoint"))]
    pub fn checkpoint<E: From<Error> + Display>(
        &self,
        parameters: &[Parameter<T>],
        f: impl Fn(&Self) -> Result<Self, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        if is_tracing() {
            return f(self);
        }
        let value = no_grad(|| f(self))?.value().clone();
        let leaves: Vec<Self> = parameters.iter().map(Parameter::var).collect();
        let operands: Vec<Argument<'_, T>> =
            std::iter::once(self).chain(&leaves).map(Argument::from).collect();
        let (input, parameters) = (self.value().clone(), parameters.to_vec());
        let run = |wanted: Wanted<'_>| {
            let backward = wanted.any().then(|| -> crate::op::Backward<T> {
                let [of_input] = wanted.of();
                Box::new(move |g| {
                    let x = if of_input { Var::parameter } else { Var::constant }(input.clone());
                    let again =
                        recording(true, || f(&x)).map_err(|why| Error::NotAgain { why: why.to_string() })?;
                    let found = again.backward_from(g.clone())?;
                    let of_parameters = parameters.iter().map(|parameter| found.get(parameter).cloned());
                    Ok(std::iter::once(found.get(&x).cloned())
                        .chain(of_parameters)
                        .collect::<Vec<Option<Gradient<T>>>>())
                })
            });
            Ok(Ran { value, backward })
        };
        Ok(Self::apply_as(Op::Custom(CHECKPOINT), &operands, run)?)
    }
}
