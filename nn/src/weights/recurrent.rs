//! Weights of recurrent layers.
//!
//! | | weights | gates of an LSTM | of a GRU | bias |
//! |---|---|---|---|---|
//! | Cairn | `[inputs, gates · units]` | i f g o | r z n | `[gates · units]`; a GRU's has a fourth block, within the reset gate |
//! | Keras | the same | i f c o | z r h | the same; a GRU's is `[2, 3 · units]`, of the input and of the state, or `[3 · units]` with `reset_after=False` |
//! | PyTorch | transposed | i f g o | r z n | two, `bias_ih` and `bias_hh`, which only a GRU's last gate tells apart |
//!
//! Two biases that are only ever added become their sum; on the way back the second is zero. PyTorch has no GRU that resets
//! before the product.

use cairn_tensor::{Recurrence, Tensor};

use crate::{Error, Result};

/// Weight, recurrent weight and bias of a [`Direction`](crate::Direction).
pub type Three = [Tensor; 3];

fn check(kind: Recurrence, weight: &Tensor, recurrent: &Tensor) -> Result<usize> {
    let units = recurrent.shape().first().copied().unwrap_or(0);
    let width = kind.gates() * units;
    if recurrent.shape() != [units, width] || weight.shape().get(1) != Some(&width) {
        let why =
            format!("weights [inputs, {g} · units] and [units, {g} · units] are needed", g = kind.gates());
        return Err(Error::BadInput { input: weight.dims().clone(), why });
    }
    Ok(units)
}

fn same(a: &Tensor, shape: &[usize]) -> Result<()> {
    if a.shape() == shape {
        return Ok(());
    }
    Err(Error::BadInput { input: a.dims().clone(), why: format!("a bias of shape {shape:?} is needed") })
}

/// The one bias for the two of PyTorch, or of a GRU of Keras whose gates have been put in order.
pub(crate) fn one_bias(kind: Recurrence, input: &Tensor, state: &Tensor, units: usize) -> Result<Tensor> {
    let width = kind.gates() * units;
    same(input, &[width])?;
    same(state, &[width])?;
    if kind != Recurrence::Gru {
        return Ok(input.add(state)?);
    }
    let gates = input.narrow(0, 0, 2 * units)?.add(&state.narrow(0, 0, 2 * units)?)?;
    let (n, q) = (input.narrow(0, 2 * units, units)?, state.narrow(0, 2 * units, units)?);
    Ok(Tensor::cat(&[&gates, &n, &q], 0)?)
}

/// The inverse of [`one_bias`]: the second is zero where nothing tells them apart.
pub(crate) fn two_biases(kind: Recurrence, bias: &Tensor, units: usize) -> Result<[Tensor; 2]> {
    same(bias, &[kind.biases() * units])?;
    if kind != Recurrence::Gru {
        return Ok([bias.clone(), Tensor::zeros(bias.dims())?]);
    }
    let input = bias.narrow(0, 0, 3 * units)?.contiguous()?;
    let state = Tensor::cat(&[&Tensor::zeros([2 * units])?, &bias.narrow(0, 3 * units, units)?], 0)?;
    Ok([input, state])
}

/// Refuses what PyTorch does not have.
fn in_torch(kind: Recurrence, weight: &Tensor) -> Result<()> {
    if kind != Recurrence::GruResetBefore {
        return Ok(());
    }
    let why = "PyTorch has no GRU that resets before the product".into();
    Err(Error::BadInput { input: weight.dims().clone(), why })
}

/// Swaps the first two gates, along the last axis.
pub(crate) fn swap_gates(x: &Tensor, units: usize) -> Result<Tensor> {
    let gate = |i: usize| x.narrow(-1, i * units, units);
    Ok(Tensor::cat(&[&gate(1)?, &gate(0)?, &gate(2)?], -1)?)
}

/// Between Cairn's order of gates and Keras's, where there is one bias for each gate.
fn in_keras_order(kind: Recurrence, weights: [&Tensor; 3], units: usize) -> Result<Three> {
    let [weight, recurrent, bias] = weights;
    if kind != Recurrence::GruResetBefore {
        return Ok([weight.clone(), recurrent.clone(), bias.clone()]);
    }
    Ok([swap_gates(weight, units)?, swap_gates(recurrent, units)?, swap_gates(bias, units)?])
}

/// From `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh` of a layer and direction of `torch.nn.LSTM`, `GRU` or `RNN`.
///
/// ```
/// use cairn_nn::weights::recurrent;
/// use cairn_tensor::{Recurrence, Tensor};
/// let (units, inputs) = (4, 3);
/// let [ih, hh] = [[12, inputs], [12, units]].map(|shape| Tensor::<f32>::zeros(shape).unwrap());
/// let bias = Tensor::zeros([12])?;
/// let [weight, recurrent_weight, bias] = recurrent::from_torch(Recurrence::Gru, [&ih, &hh, &bias, &bias])?;
/// assert_eq!([weight.shape(), recurrent_weight.shape()], [[3, 12], [4, 12]]);
/// assert_eq!(bias.shape(), [16]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// When the shapes do not fit together.
pub fn from_torch(kind: Recurrence, [ih, hh, bias_ih, bias_hh]: [&Tensor; 4]) -> Result<Three> {
    in_torch(kind, ih)?;
    let (weight, recurrent) = (ih.t()?.contiguous()?, hh.t()?.contiguous()?);
    let units = check(kind, &weight, &recurrent)?;
    let bias = one_bias(kind, bias_ih, bias_hh, units)?;
    Ok([weight, recurrent, bias])
}

/// The inverse of [`from_torch`].
///
/// # Errors
/// As [`from_torch`].
pub fn to_torch(kind: Recurrence, [weight, recurrent, bias]: [&Tensor; 3]) -> Result<[Tensor; 4]> {
    in_torch(kind, weight)?;
    let units = check(kind, weight, recurrent)?;
    let [input, state] = two_biases(kind, bias, units)?;
    Ok([weight.t()?.contiguous()?, recurrent.t()?.contiguous()?, input, state])
}

/// From `kernel`, `recurrent_kernel` and `bias` of a Keras layer. [`Recurrence::Gru`] is Keras's default, `reset_after=True`.
///
/// # Errors
/// As [`from_torch`].
pub fn from_keras(kind: Recurrence, [kernel, recurrent, bias]: [&Tensor; 3]) -> Result<Three> {
    let units = check(kind, kernel, recurrent)?;
    if kind != Recurrence::Gru {
        same(bias, &[kind.gates() * units])?;
        return in_keras_order(kind, [kernel, recurrent, bias], units);
    }
    same(bias, &[2, 3 * units])?;
    let bias = swap_gates(bias, units)?;
    let bias = one_bias(kind, &bias.index(0, 0)?, &bias.index(0, 1)?, units)?;
    Ok([swap_gates(kernel, units)?, swap_gates(recurrent, units)?, bias])
}

/// The inverse of [`from_keras`].
///
/// # Errors
/// As [`from_torch`].
pub fn to_keras(kind: Recurrence, [weight, recurrent, bias]: [&Tensor; 3]) -> Result<Three> {
    let units = check(kind, weight, recurrent)?;
    if kind != Recurrence::Gru {
        same(bias, &[kind.gates() * units])?;
        return in_keras_order(kind, [weight, recurrent, bias], units);
    }
    let [input, state] = two_biases(kind, bias, units)?;
    let bias = swap_gates(&Tensor::stack(&[&input, &state], 0)?, units)?;
    Ok([swap_gates(weight, units)?, swap_gates(recurrent, units)?, bias])
}
