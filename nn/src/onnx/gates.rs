//! The parameters of recurrent layers as ONNX's operators `RNN`, `LSTM` and `GRU` have them.
//!
//! | | weights | gates of an LSTM | of a GRU | bias |
//! |---|---|---|---|---|
//! | Cairn | `[inputs, gates · units]` | i f g o | r z n | `[gates · units]`; a GRU's may have a fourth block, within the reset gate |
//! | ONNX | `[directions, gates · units, inputs]` | i o f g | z r n | `[directions, 2 · gates · units]`: the input's, then the state's |

use cairn_tensor::{Recurrence, Tensor};

use super::export::Attributes;
use super::proto::Attribute;
use crate::weights::recurrent::two_biases;
use crate::{Error, Result};

/// The parameters of a recurrence in one direction.
pub(super) struct Direction<'a> {
    /// `[inputs, gates · units]`
    pub(super) weight: &'a Tensor,
    /// `[units, gates · units]`
    pub(super) recurrent_weight: &'a Tensor,
    /// `[biases · units]`
    pub(super) bias: &'a Tensor,
    /// From the last step to the first.
    pub(super) reverse: bool,
}

fn no_rule(kind: Recurrence) -> Error {
    Error::Unsupported { what: format!("ONNX operators for the recurrence {kind:?}") }
}

pub(super) fn operator(kind: Recurrence) -> Result<&'static str> {
    match kind {
        Recurrence::Tanh | Recurrence::Relu => Ok("RNN"),
        Recurrence::Lstm => Ok("LSTM"),
        Recurrence::Gru | Recurrence::GruResetBefore => Ok("GRU"),
        other => Err(no_rule(other)),
    }
}

/// Which of Cairn's gates stand where.
fn order(kind: Recurrence) -> Result<&'static [usize]> {
    match kind {
        Recurrence::Tanh | Recurrence::Relu => Ok(&[0]),
        Recurrence::Lstm => Ok(&[0, 3, 1, 2]),
        Recurrence::Gru | Recurrence::GruResetBefore => Ok(&[1, 0, 2]),
        other => Err(no_rule(other)),
    }
}

/// Weight, recurrent weight and bias of one direction.
pub(super) fn operands(kind: Recurrence, direction: &Direction<'_>) -> Result<[Tensor; 3]> {
    let units = direction.recurrent_weight.shape().first().copied().unwrap_or(0);
    let order = order(kind)?;
    let turned = |x: &Tensor| -> Result<Tensor> {
        let gates: Vec<Tensor> =
            order.iter().map(|gate| x.narrow(-1, gate * units, units)).collect::<Result<_, _>>()?;
        Ok(Tensor::cat(&gates.iter().collect::<Vec<_>>(), -1)?)
    };
    let biases = two_biases(kind, direction.bias, units)?;
    let bias = Tensor::cat(&[&turned(&biases[0])?, &turned(&biases[1])?], 0)?;
    let matrix = |x: &Tensor| -> Result<Tensor> { Ok(turned(x)?.t()?.unsqueeze(0)?) };
    Ok([matrix(direction.weight)?, matrix(direction.recurrent_weight)?, bias.unsqueeze(0)?])
}

pub(super) fn attributes(kind: Recurrence, units: usize, reverse: bool) -> Attributes {
    let mut attributes = vec![
        ("hidden_size", Attribute::Int(units as i64)),
        ("direction", Attribute::text(if reverse { "reverse" } else { "forward" })),
    ];
    match kind {
        // The reset gate after the product; before it is the default.
        Recurrence::Gru => attributes.push(("linear_before_reset", Attribute::Int(1))),
        Recurrence::Relu => attributes.push(("activations", Attribute::Texts(vec!["Relu"]))),
        _ => {}
    }
    attributes
}
