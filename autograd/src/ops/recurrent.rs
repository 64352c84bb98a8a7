//! A recurrent layer over whole sequences as one operation: backward through time is one kernel, not a chain of nodes.

use cairn_tensor::{Float, Recurrence, RecurrentOperands, RecurrentOptions, Tensor};

use crate::{Gradient, Result, Settings, Var};

/// The parameters of a recurrent layer, and its states before the first step: see [`RecurrentOperands`].
#[derive(Debug, Clone, Copy)]
pub struct RecurrentVars<'a, T: Float = f32> {
    /// `[inputs, gates · units]`
    pub weight: &'a Var<T>,
    /// `[units, gates · units]`
    pub recurrent_weight: &'a Var<T>,
    /// `[biases · units]`
    pub bias: Option<&'a Var<T>>,
    /// `[batch, units]`
    pub hidden: Option<&'a Var<T>>,
    /// `[batch, units]`, of an LSTM only.
    pub cell: Option<&'a Var<T>>,
}

impl<T: Float> Var<T> {
    /// Runs a recurrence (RNN, LSTM, GRU) over sequences `[batch, time, inputs]`: see [`Tensor::recurrent`]. All operands
    /// have gradients, the first states too.
    ///
    /// ```
    /// use cairn_autograd::{RecurrentVars, Var};
    /// use cairn_tensor::{Recurrence, RecurrentOptions, Tensor};
    /// let x = Var::from(Tensor::<f32>::ones([2, 5, 3])?);
    /// let weight = Var::parameter(Tensor::full([3, 16], 0.1)?);
    /// let recurrent_weight = Var::parameter(Tensor::full([4, 16], 0.1)?);
    /// let vars = RecurrentVars {
    ///     weight: &weight, recurrent_weight: &recurrent_weight, bias: None, hidden: None, cell: None,
    /// };
    /// let h = x.recurrent(Recurrence::Lstm, vars, &RecurrentOptions::default())?;
    /// assert_eq!(h.shape(), [2, 5, 4]);
    /// assert_eq!(h.sum(..)?.backward()?.of(&weight)?.shape(), [3, 16]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the sizes do not fit together, or for a length that is 0 or beyond the steps.
    pub fn recurrent(
        &self,
        kind: Recurrence,
        vars: RecurrentVars<'_, T>,
        options: &RecurrentOptions<T>,
    ) -> Result<Self> {
        let all =
            [Some(self), Some(vars.weight), Some(vars.recurrent_weight), vars.bias, vars.hidden, vars.cell];
        let operands = RecurrentOperands {
            weight: vars.weight.value(),
            recurrent_weight: vars.recurrent_weight.value(),
            bias: vars.bias.map(Var::value),
            hidden: vars.hidden.map(Var::value),
            cell: vars.cell.map(Var::value),
        };
        let (value, saved) = self.value().recurrent(kind, operands, options)?;
        let tensors = all.map(|var| var.map(|var| var.value().clone()));
        let wanted = all.map(|var| var.is_some_and(Var::is_tracked));
        let present = all.map(|var| var.is_some());
        let parents = all.iter().flatten().map(|&var| var.clone()).collect();
        let (x, how, options) = (self.value().clone(), options, options.clone());
        let backward = move |g: &Tensor<T>| {
            let [_, Some(weight), Some(recurrent_weight), bias, hidden, cell] = &tensors else {
                return Ok(Vec::new());
            };
            let (bias, hidden, cell) = (bias.as_ref(), hidden.as_ref(), cell.as_ref());
            let operands = RecurrentOperands { weight, recurrent_weight, bias, hidden, cell };
            let gradients = x.recurrent_backward(kind, operands, &options, &saved, g, wanted)?;
            let present = gradients.into_iter().zip(present).filter(|(_, present)| *present);
            Ok(present.map(|(gradient, _)| gradient.map(Gradient::Dense)).collect())
        };
        let result = Var::record("recurrent", value, parents, Box::new(backward));
        Ok(result.told(|| Settings::Recurrent {
            kind,
            reverse: how.reverse,
            returns: how.returns,
            by_item: how.lengths.is_some() || how.starts.is_some() || how.mask.is_some(),
            present: [present[3], present[4], present[5]],
        }))
    }
}
