//! Passes over a graph that make fewer, larger operations of it, with the same results to rounding.
//!
//! An operation is joined to the one before it where nothing else uses what lies between:
//!
//! | before | after it | becomes |
//! |---|---|---|
//! | dense layer, convolution, transposed convolution | normalisation by given statistics | other weights and bias |
//! | dense layer, convolution | ReLU | the layer with ReLU |
//! | convolution, perhaps with ReLU | maximum pooling of windows that are apart | convolution with pooling |

use cairn_autograd::op::{Conv, Elementwise, Linear, Norm, Op, Pooling};
use cairn_tensor::Tensor;

use super::{Constant, Graph, Node, Open, Size, Source};
use crate::Result;

impl Graph {
    /// The graph with operations joined where that is possible.
    pub(super) fn fused(mut self) -> Result<Self> {
        for last in 0..self.nodes.len() {
            // What was joined to an earlier operation is an alias of it from then on.
            while let Some(before) = self.joinable(last) {
                if !self.join(before, last)? {
                    break;
                }
            }
        }
        self.prune();
        Ok(self)
    }

    /// The operation that makes the first operand of this one, if nothing else uses that.
    fn joinable(&self, last: usize) -> Option<usize> {
        let node = &self.nodes[last];
        node.op()?;
        let &before = node.operands().first()?;
        self.nodes[before].op()?;
        (self.uses()[before] == 1).then_some(before)
    }

    /// Makes node `last` both its own operation and that of `before`, if there is a rule.
    fn join(&mut self, before: usize, last: usize) -> Result<bool> {
        let (Some(first), Some(second)) = (self.nodes[before].op(), self.nodes[last].op()) else {
            return Ok(false);
        };
        if let Op::Norm(Norm::Given { epsilon }) = *second {
            return self.fold(before, last, epsilon);
        }
        let Some(op) = joined(first, second) else { return Ok(false) };
        let operands = self.nodes[before].operands().to_vec();
        self.replace(before, last, op, operands);
        Ok(true)
    }

    fn replace(&mut self, before: usize, last: usize, op: Op, operands: Vec<usize>) {
        let scope = self.nodes[before].scope.clone();
        let node = &mut self.nodes[last];
        node.source = Source::Operation { op, operands, open: Open::Nothing };
        node.scope = scope;
    }

    /// `(y - mean) / sqrt(variance + epsilon) scale + shift` folded into the weight and the bias that make `y`: with factor =
    /// scale / sqrt(variance + epsilon), they become factor · weight and factor (bias - mean) + shift.
    fn fold(&mut self, before: usize, last: usize, epsilon: f64) -> Result<bool> {
        let (Some(op), operands) = (self.nodes[before].op().cloned(), self.nodes[before].operands().to_vec())
        else {
            return Ok(false);
        };
        let along_outputs = match op {
            Op::Linear(Linear::Linear { relu: false }) | Op::Conv(Conv::Conv2d { relu: false, .. }) => true,
            // Its outputs are the filter's third axis, but for groups.
            Op::Conv(Conv::ConvTranspose2d { groups: 1, .. }) => false,
            _ => return Ok(false),
        };
        let statistics: Option<Vec<&Tensor>> =
            self.nodes[last].operands()[1..].iter().map(|&operand| self.constant(operand)).collect();
        let bias = operands.get(2).map(|&bias| self.constant(bias));
        let (Some([mean, variance, scale, shift]), Some(weight)) =
            (statistics.as_deref(), self.constant(operands[1]))
        else {
            return Ok(false);
        };
        let centred = match bias {
            Some(Some(bias)) => bias.sub(mean)?,
            Some(None) => return Ok(false),
            None => mean.neg()?,
        };
        let factor = variance.add(&Tensor::scalar(epsilon as f32))?.rsqrt()?.mul(scale)?;
        let bias = centred.mul(&factor)?.add(shift)?;
        let by_output = if along_outputs { factor } else { factor.reshape([factor.len(), 1])? };
        let weight = weight.mul(&by_output)?;
        // New constants must stand before the node that uses them: they take the places of what is dropped.
        let [_, mean, variance, ..] = self.nodes[last].operands() else { return Ok(false) };
        let (weight_at, bias_at) = (*mean, *variance);
        if self.uses()[weight_at] > 1 || self.uses()[bias_at] > 1 {
            return Ok(false);
        }
        self.nodes[weight_at] = constant(weight);
        self.nodes[bias_at] = constant(bias);
        self.replace(before, last, op, vec![operands[0], weight_at, bias_at]);
        Ok(true)
    }
}

fn constant(tensor: Tensor) -> Node {
    let sizes = tensor.shape().iter().map(|&size| Size::fixed(size)).collect();
    Node { source: Source::Constant(Constant::Floats(tensor)), sizes, scope: None }
}

/// Two operations in one.
fn joined(first: &Op, second: &Op) -> Option<Op> {
    Some(match (first, second) {
        (Op::Linear(Linear::Linear { relu: false }), Op::Elementwise(Elementwise::Relu)) => {
            Linear::Linear { relu: true }.into()
        }
        (Op::Linear(Linear::Stored { relu: false }), Op::Elementwise(Elementwise::Relu)) => {
            Linear::Stored { relu: true }.into()
        }
        (&Op::Conv(Conv::Conv2d { window, groups, relu: false }), Op::Elementwise(Elementwise::Relu)) => {
            Conv::Conv2d { window, groups, relu: true }.into()
        }
        (&Op::Conv(Conv::Conv2d { window, groups, relu }), &Op::Pooling(Pooling::Max { pool }))
            if pool.is_apart() =>
        {
            Conv::Conv2dMaxPool2d { window, groups, relu, pool }.into()
        }
        // The larger of two is above 0 if one of them is.
        (
            &Op::Conv(Conv::Conv2dMaxPool2d { window, groups, relu: false, pool }),
            Op::Elementwise(Elementwise::Relu),
        ) => Conv::Conv2dMaxPool2d { window, groups, relu: true, pool }.into(),
        _ => return None,
    })
}
