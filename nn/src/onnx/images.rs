//! Operations on whole images, `[batch, height, width, channels]`, in the form of an [`Operation`], for which weights must be
//! constants: they go out as those of a `Sequential` do, turned to channels first and back around each.

use cairn_autograd::Settings;
use cairn_tensor::{Pool, Shape};

use super::writer::{Call, Writer};
use crate::layers::{Operation, Step};
use crate::{Activation, Result};

impl Writer {
    /// Writes one; the name of what it gives.
    pub(super) fn image(&mut self, call: &Call<'_>) -> Result<String> {
        self.graph.value = self.operand(call, 0)?;
        let item = |shape: &Shape| -> Shape { shape.iter().skip(1).copied().collect() };
        let (input, output) = (item(&call.operands[0].shape), item(&call.output.shape));
        self.graph.rank = input.rank();
        for operation in image_operations(call, &input, &output)? {
            let (layer, input, output) = (call.op.to_owned(), input.clone(), output.clone());
            self.graph.add(&Step { layer, operation, input, output })?;
        }
        self.graph.channels_last();
        Ok(self.graph.value.clone())
    }
}

fn image_operations(call: &Call<'_>, input: &Shape, output: &Shape) -> Result<Vec<Operation>> {
    Ok(match call.settings {
        Settings::Conv { window, groups, extra, .. } if call.op == "conv_transpose2d" => {
            let (weight, bias) = (call.constant(1)?.clone(), call.optional(2)?);
            let (window, extra, groups) = (*window, *extra, *groups);
            vec![Operation::ConvTranspose { weight, bias, window, extra, groups }]
        }
        Settings::Conv { window, groups, relu, pool, .. } => {
            let (weight, bias) = (call.constant(1)?.clone(), call.optional(2)?);
            let mut all = vec![Operation::Conv { weight, bias, window: *window, groups: *groups }];
            all.extend(relu.then_some(Operation::Activation(Activation::Relu)));
            if let Some(pool) = pool {
                all.push(pooling(call, pool, true, output)?);
            }
            all
        }
        Settings::Pool(pool) => vec![pooling(call, pool, call.op == "max_pool2d", output)?],
        Settings::Resize(how) => {
            let whole = (0..2).all(|axis| input[axis] > 0 && output[axis].is_multiple_of(input[axis]));
            if !whole {
                return Err(call.unsupported());
            }
            let factor = [output[0] / input[0], output[1] / input[1]];
            vec![Operation::Enlarge { factor, how: *how }]
        }
        Settings::Normalize { mean, variance, epsilon } => {
            let (scale, shift) = (call.constant(1)?.clone(), call.constant(2)?.clone());
            let (mean, variance, epsilon) = (mean.clone(), variance.clone(), *epsilon as f32);
            vec![Operation::Normalize { mean, variance, scale, shift, epsilon }]
        }
        Settings::Groups { groups, epsilon } => {
            let (scale, shift) = (call.constant(1)?.clone(), call.constant(2)?.clone());
            vec![Operation::GroupNorm { groups: *groups, scale, shift, epsilon: *epsilon as f32 }]
        }
        _ => return Err(call.unsupported()),
    })
}

fn pooling(call: &Call<'_>, pool: &Pool, largest: bool, output: &Shape) -> Result<Operation> {
    match (pool.as_sliding(), largest) {
        (Some((size, window, _)), true) => Ok(Operation::MaxPool { size, window }),
        (Some((size, window, count_padding)), false) => {
            Ok(Operation::AvgPool { size, window, count_padding })
        }
        (None, false) => Ok(Operation::AdaptiveAvgPool([output[0], output[1]])),
        (None, true) => Err(call.unsupported()),
    }
}
