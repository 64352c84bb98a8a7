//! What changes while training goes on, by name. Optimisers, metrics and callbacks give their state to a checkpoint in this
//! form and take it back from there, so a checkpoint need not know their types.

use std::collections::BTreeMap;

use cairn_tensor::{AnyTensor, Element, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Named numbers and tensors of one `kind`. Tensors are of any element type: weights, counts, truth values.
///
/// ```
/// use cairn_nn::{Linear, mse};
/// use cairn_optim::{Adam, Optimizer};
/// use cairn_tensor::{Tensor, rng};
///
/// let model = Linear::new(2, 1, &mut rng(0))?;
/// let mut adam = Adam::default();
/// let loss = mse(&model.forward(&Tensor::ones([4, 2])?.into())?, &Tensor::zeros([4, 1])?)?;
/// adam.step(&model, &loss.backward()?)?;
/// let mut another = Adam::default();
/// another.load_state(adam.state())?; // goes on where the first one is
/// assert_eq!(another.state(), adam.state());
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StateDict {
    /// What this is the state of.
    pub kind: String,
    /// Numbers; counts up to 2⁵³ are exact.
    pub numbers: BTreeMap<String, f64>,
    /// Tensors.
    pub tensors: BTreeMap<String, AnyTensor>,
}

impl StateDict {
    /// Nothing yet, of this kind.
    pub fn new(kind: impl Into<String>) -> Self {
        StateDict { kind: kind.into(), ..StateDict::default() }
    }

    /// With a number.
    #[must_use]
    pub fn with(mut self, name: &str, number: f64) -> Self {
        self.numbers.insert(name.to_owned(), number);
        self
    }

    /// With a tensor.
    #[must_use]
    pub fn with_tensor(mut self, name: &str, tensor: impl Into<AnyTensor>) -> Self {
        self.tensors.insert(name.to_owned(), tensor.into());
        self
    }

    /// A number by name.
    ///
    /// # Errors
    /// [`Error::BadState`] when there is none.
    pub fn number(&self, name: &str) -> Result<f64> {
        let missing = || Error::BadState(format!("`{}` has no number `{name}`", self.kind));
        self.numbers.get(name).copied().ok_or_else(missing)
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// [`Error::BadState`] when there is none, or one of another element type.
    pub fn tensor<T: Element>(&self, name: &str) -> Result<&Tensor<T>> {
        let bad = |why: String| Error::BadState(format!("`{}`: {why}", self.kind));
        let tensor = self.tensors.get(name).ok_or_else(|| bad(format!("there is no tensor `{name}`")))?;
        tensor.downcast_ref().map_err(|error| bad(format!("`{name}`: {error}")))
    }

    /// An error unless this is of the kind asked for.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is of another kind.
    pub fn require(&self, kind: &str) -> Result<()> {
        if self.kind == kind {
            return Ok(());
        }
        Err(Error::BadState(format!("of `{}` where that of `{kind}` is needed", self.kind)))
    }
}
