//! Gated activations, each one pass forward and one back.

use cairn_tensor::{Float, Gate};

use super::when;
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Gradient, Result, Var};

operations! {
    /// Gated activations.
    Gated {
        /// activation(gate) · up; the operands are gate and up.
        Gated {
            /// The activation.
            gate: Gate,
        } = "gated",
        /// The same of one operand, whose rows hold the gate and then up.
        Halves {
            /// The activation.
            gate: Gate,
        } = "gated_halves",
    }
}

impl Rule for Gated {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        match *self {
            Gated::Gated { gate: kind } => {
                let (gate, up) = (x.float(0)?, x.float(1)?);
                wanted.ran(gate.gated(kind, up)?, |_, [of_gate, of_up]| {
                    let (gate, up) = (gate.clone(), up.clone());
                    move |g| {
                        let [gate, up] = gate.gated_backward(kind, &up, g)?;
                        Ok([of_gate.then_some(Gradient::Dense(gate)), of_up.then_some(Gradient::Dense(up))])
                    }
                })
            }
            Gated::Halves { gate: kind } => {
                let both = x.float(0)?;
                wanted.ran(both.gated_halves(kind)?, |_, [of_both]| {
                    let both = both.clone();
                    move |g| Ok([when(of_both, || both.gated_halves_backward(kind, g))?])
                })
            }
        }
    }
}

impl<T: Float> Var<T> {
    /// activation(gate) · up, element by element, in one pass; this variable is the gate. See [`Gate`].
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::{Gate, Tensor};
    /// let gate = Var::parameter(Tensor::<f32>::linspace(-1.0, 1.0, 4)?);
    /// let up = Var::parameter(Tensor::ones([4])?);
    /// let gradients = gate.gated(Gate::Silu, &up)?.sum(..)?.backward()?;
    /// assert_eq!(gradients.of(&up)?, gate.value().silu()?);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the two differ in shape.
    #[doc(alias("swiglu", "geglu", "glu"))]
    pub fn gated(&self, gate: Gate, up: &Self) -> Result<Self> {
        Var::apply(Gated::Gated { gate }, &[self.into(), up.into()])
    }

    /// As [`gated`](Self::gated), of one variable `[…, 2 · features]`: the first half of each row is the gate, the second `up`.
    ///
    /// # Errors
    /// Unless the last axis is even.
    pub fn gated_halves(&self, gate: Gate) -> Result<Self> {
        Var::apply(Gated::Halves { gate }, &[self.into()])
    }
}
