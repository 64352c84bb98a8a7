//! A recurrent layer over whole sequences as one operation: backward through time is one kernel, not a chain of operations.

use cairn_tensor::{Float, Recurrence, RecurrentOperands, RecurrentOptions, Returns, Tensor};

use super::multiply_adds;
use crate::op::{Backward, Operands, Ran, Rule, Wanted, operations};
use crate::{Gradient, Result, Var};

operations! {
    /// Recurrent layers.
    Recurrent {
        /// One layer in one direction. The operands are x, the weight, the recurrent weight, and those of `present`, in order.
        Recurrent {
            /// RNN, LSTM or GRU.
            kind: Recurrence,
            /// Whether it runs from the last step to the first.
            reverse: bool,
            /// What it returns.
            returns: Returns,
            /// Which further operands there are.
            present: Present,
        } = "recurrent",
    }
}

/// The operands that a recurrent layer may have after its weights, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Present {
    /// `[biases · units]`
    pub bias: bool,
    /// The state before the first step, `[batch, units]`.
    pub hidden: bool,
    /// The cell of an LSTM before the first step, `[batch, units]`.
    pub cell: bool,
    /// Factors of h within the recurrent product, `[batch, units]`; they have no gradient.
    pub mask: bool,
    /// The end of each sequence, ids `[batch]`.
    pub lengths: bool,
    /// The first step of each sequence, ids `[batch]`.
    pub starts: bool,
}

impl Present {
    /// The position of each of the six operands, in order, if it is there.
    pub fn positions(&self) -> [Option<usize>; 6] {
        let Present { bias, hidden, cell, mask, lengths, starts } = *self;
        let mut next = 3;
        [bias, hidden, cell, mask, lengths, starts].map(|present| {
            next += usize::from(present);
            present.then_some(next - 1)
        })
    }
}

impl Rule for Recurrent {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let &Recurrent::Recurrent { kind, reverse, returns, present } = self;
        let [bias, hidden, cell, mask, lengths, starts] = present.positions();
        let float = |position: Option<usize>| position.map(|position| x.float(position)).transpose();
        let ids = |position: Option<usize>| position.map(|position| x.ids(position)).transpose();
        let options = RecurrentOptions {
            reverse,
            returns,
            lengths: ids(lengths)?.cloned(),
            starts: ids(starts)?.cloned(),
            mask: float(mask)?.cloned(),
        };
        let (bias, hidden, cell) = (float(bias)?, float(hidden)?, float(cell)?);
        let (input, weight, recurrent_weight) = (x.float(0)?, x.float(1)?, x.float(2)?);
        let operands = RecurrentOperands { weight, recurrent_weight, bias, hidden, cell };
        let (value, saved) = input.recurrent(kind, operands, &options)?;
        let backward = wanted.any().then(|| -> Backward<T> {
            let all = [Some(input), Some(weight), Some(recurrent_weight), bias, hidden, cell];
            let tensors = all.map(Option::<&Tensor<T>>::cloned);
            // One wish for each operand that is there, in order.
            let mut wishes = wanted.0.iter().copied();
            let wanted = all.map(|tensor| tensor.is_some() && wishes.next().unwrap_or(false));
            Box::new(move |g| {
                let [Some(x), Some(weight), Some(recurrent_weight), bias, hidden, cell] = &tensors else {
                    return Ok(Vec::new());
                };
                let (bias, hidden, cell) = (bias.as_ref(), hidden.as_ref(), cell.as_ref());
                let operands = RecurrentOperands { weight, recurrent_weight, bias, hidden, cell };
                let gradients = x.recurrent_backward(kind, operands, &options, &saved, g, wanted)?;
                let there = gradients.into_iter().zip(&tensors).filter(|(_, tensor)| tensor.is_some());
                Ok(there.map(|(gradient, _)| gradient.map(Gradient::Dense)).collect())
            })
        });
        Ok(Ran { value, backward })
    }

    /// The products of every step, of x and of h, with their weights.
    fn flops(&self, operands: &[&[usize]], _output: &[usize]) -> u64 {
        let &[&[batch, time, _], weight, recurrent_weight, ..] = operands else { return 0 };
        let products = |weight: &[usize]| multiply_adds([batch, time].iter().chain(weight));
        products(weight).saturating_add(products(recurrent_weight))
    }

    /// Back through time h always has a gradient.
    fn backward_flops(&self, operands: &[&[usize]], _output: &[usize], wanted: &[bool]) -> u64 {
        let &[&[batch, time, _], weight, recurrent_weight, ..] = operands else { return 0 };
        let products = |weight: &[usize], factors: [bool; 2]| {
            let factors = factors.into_iter().filter(|wanted| *wanted).count();
            multiply_adds([batch, time, factors].iter().chain(weight))
        };
        let [of_x, of_weight, of_recurrent] = Wanted(wanted).of();
        products(weight, [of_x, of_weight])
            .saturating_add(products(recurrent_weight, [Wanted(wanted).any(), of_recurrent]))
    }
}

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
        let RecurrentOptions { reverse, returns, lengths, starts, mask } = options;
        let present = Present {
            bias: vars.bias.is_some(),
            hidden: vars.hidden.is_some(),
            cell: vars.cell.is_some(),
            mask: mask.is_some(),
            lengths: lengths.is_some(),
            starts: starts.is_some(),
        };
        let mask: Option<Var<T>> = mask.as_ref().map(|mask: &Tensor<T>| Var::constant(mask.clone()));
        let mut operands = vec![self.into(), vars.weight.into(), vars.recurrent_weight.into()];
        let floats = [vars.bias, vars.hidden, vars.cell, mask.as_ref()];
        operands.extend(floats.into_iter().flatten().map(crate::var::Argument::from));
        operands.extend([lengths, starts].into_iter().flatten().map(crate::var::Argument::from));
        Var::apply(Recurrent::Recurrent { kind, reverse: *reverse, returns: *returns, present }, &operands)
    }
}
