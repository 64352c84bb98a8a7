//! The operators that each recorded operation becomes: a table by name, then those that need more than a line.

use cairn_autograd::{Entries, Settings};
use cairn_tensor::{Recurrence, Returns, Tensor};

use super::proto::Attribute;
use super::trace::Size;
use super::writer::{Call, Writer};
use crate::layers::Run;
use crate::{Activation, Result};

/// Operators with the same operands and no settings.
fn plain(op: &str) -> Option<&'static str> {
    Some(match op {
        "add" => "Add",
        "sub" => "Sub",
        "mul" => "Mul",
        "div" => "Div",
        "pow" => "Pow",
        "maximum" => "Max",
        "minimum" => "Min",
        "matmul" => "MatMul",
        "neg" => "Neg",
        "abs" => "Abs",
        "recip" => "Reciprocal",
        "exp" => "Exp",
        "log" => "Log",
        "sqrt" => "Sqrt",
        "sin" => "Sin",
        "cos" => "Cos",
        "erf" => "Erf",
        "floor" => "Floor",
        "round" => "Round",
        "sign" => "Sign",
        _ => return None,
    })
}

fn activation(op: &str, settings: &Settings) -> Option<Activation> {
    let number = || match settings {
        Settings::Numbers(numbers) => numbers.first().copied(),
        _ => None,
    };
    Some(match op {
        "relu" => Activation::Relu,
        "leaky_relu" => Activation::LeakyRelu(number()?),
        "elu" => Activation::Elu(number()?),
        "selu" => Activation::Selu,
        "gelu" => Activation::Gelu,
        "gelu_tanh" => Activation::GeluTanh,
        "silu" => Activation::Silu,
        "softplus" => Activation::Softplus,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        _ => return None,
    })
}

/// Reductions whose axes are an attribute.
fn reduction(op: &str) -> Option<&'static str> {
    Some(match op {
        "mean" => "ReduceMean",
        "max" => "ReduceMax",
        "min" => "ReduceMin",
        "prod" => "ReduceProd",
        "norm" => "ReduceL2",
        "logsumexp" => "ReduceLogSumExp",
        _ => return None,
    })
}

impl Writer {
    /// Writes an operation; the name of what it gives.
    pub(super) fn operation(&mut self, call: &Call<'_>, ids: Option<&[Size]>) -> Result<String> {
        let op = call.op;
        if let Some(operator) = plain(op) {
            let operands = self.operands(call)?;
            return Ok(self.graph.result(operator, &operands, &[]));
        }
        if let Some(activation) = activation(op, call.settings) {
            self.graph.value = self.operand(call, 0)?;
            self.graph.activation(activation);
            return Ok(self.graph.value.clone());
        }
        if let (Some(operator), Settings::Axes(axes)) = (reduction(op), call.settings) {
            let x = self.operand(call, 0)?;
            if axes.is_empty() {
                return Ok(x);
            }
            let attributes = [("axes", numbers(axes)), ("keepdims", Attribute::Int(kept(call)))];
            return Ok(self.graph.result(operator, &[x], &attributes));
        }
        match op {
            "square" | "rsqrt" | "scale" | "powf" | "clamp" => self.of_numbers(call),
            "reshape" | "flatten" | "squeeze" | "unsqueeze" => {
                let x = self.operand(call, 0)?;
                Ok(self.reshape(x, &call.output.sizes))
            }
            "broadcast_to" => {
                let (x, shape) = (self.operand(call, 0)?, self.shape(&call.output.sizes));
                Ok(self.graph.result("Expand", &[x, shape], &[]))
            }
            "linear" => self.linear(call),
            "lookup" => self.lookup(call, ids),
            "recurrent" => self.recurrent(call),
            "conv2d" | "conv2d_max_pool2d" | "conv_transpose2d" | "max_pool2d" | "avg_pool2d"
            | "resize2d" | "normalize" | "group_norm" => self.image(call),
            _ => self.arranged(call),
        }
    }

    fn of_numbers(&mut self, call: &Call<'_>) -> Result<String> {
        let x = self.operand(call, 0)?;
        let numbers = match call.settings {
            Settings::Numbers(numbers) => numbers.as_slice(),
            _ => &[],
        };
        let scalars: Vec<String> = numbers.iter().map(|&number| self.graph.scalar(number)).collect();
        Ok(match (call.op, &scalars[..]) {
            ("square", _) => self.graph.result("Mul", &[x.clone(), x], &[]),
            ("rsqrt", _) => {
                let root = self.graph.result("Sqrt", &[x], &[]);
                self.graph.result("Reciprocal", &[root], &[])
            }
            ("scale", [factor]) => self.graph.result("Mul", &[x, factor.clone()], &[]),
            ("powf", [exponent]) => self.graph.result("Pow", &[x, exponent.clone()], &[]),
            ("clamp", [low, high]) => self.graph.result("Clip", &[x, low.clone(), high.clone()], &[]),
            _ => return Err(call.unsupported()),
        })
    }

    /// What moves, joins, cuts or repeats along axes, and sums along them.
    fn arranged(&mut self, call: &Call<'_>) -> Result<String> {
        let axis = |axis: &usize| [("axis", Attribute::Int(*axis as i64))];
        match (call.op, call.settings) {
            ("permute" | "transpose" | "t", Settings::Order(order)) => {
                let x = self.operand(call, 0)?;
                Ok(self.graph.result("Transpose", &[x], &[("perm", numbers(order))]))
            }
            ("softmax", Settings::Axis(at)) => {
                let x = self.operand(call, 0)?;
                Ok(self.graph.result("Softmax", &[x], &axis(at)))
            }
            ("log_softmax", Settings::Axis(at)) => {
                let x = self.operand(call, 0)?;
                Ok(self.graph.result("LogSoftmax", &[x], &axis(at)))
            }
            ("cat", Settings::Axis(at)) => {
                let all = self.operands(call)?;
                Ok(self.graph.result("Concat", &all, &axis(at)))
            }
            ("cumsum", Settings::Axis(at)) => {
                let (x, at) = (self.operand(call, 0)?, self.graph.integers("axis", &[*at as i64]));
                Ok(self.graph.result("CumSum", &[x, at], &[]))
            }
            ("sum", Settings::Axes(axes)) => {
                let (x, axes) = (self.operand(call, 0)?, self.graph.integers("axes", &signed(axes)));
                let attributes =
                    [("keepdims", Attribute::Int(kept(call))), ("noop_with_empty_axes", Attribute::Int(1))];
                Ok(self.graph.result("ReduceSum", &[x, axes], &attributes))
            }
            ("flip", Settings::Axes(axes)) => {
                let ends = vec![i64::MIN; axes.len()];
                let back = vec![-1; axes.len()];
                self.slice(call, &back, &ends, &signed(axes), Some(&back))
            }
            ("narrow", Settings::Range { axis, start, len }) => {
                self.slice(call, &signed(&[*start]), &signed(&[start + len]), &signed(&[*axis]), None)
            }
            ("index" | "index_select" | "slice", Settings::Entries(entries)) => self.entries(call, entries),
            ("select", Settings::Mask(mask, None)) => {
                let mask = self.graph.booleans("mask", mask);
                let (a, b) = (self.operand(call, 0)?, self.operand(call, 1)?);
                Ok(self.graph.result("Where", &[mask, a, b], &[]))
            }
            ("masked_fill", Settings::Mask(mask, Some(value))) => {
                let (mask, value) = (self.graph.booleans("mask", mask), self.graph.scalar(*value));
                let x = self.operand(call, 0)?;
                Ok(self.graph.result("Where", &[mask, value, x], &[]))
            }
            ("pad", Settings::Pad(widths, value)) => {
                let x = self.operand(call, 0)?;
                let sides = widths.iter().map(|width| width.0).chain(widths.iter().map(|width| width.1));
                let widths = self.graph.integers("pads", &signed(&sides.collect::<Vec<_>>()));
                let value = self.graph.scalar(*value);
                Ok(self.graph.result("Pad", &[x, widths, value], &[]))
            }
            ("tile", Settings::Counts(counts)) => {
                let mut x = self.operand(call, 0)?;
                let own = &call.operands[0].sizes;
                if counts.len() > own.len() {
                    let new = vec![Size::Fixed(1); counts.len() - own.len()];
                    x = self.reshape(x, &[new.as_slice(), own].concat());
                }
                let counts = self.graph.integers("counts", &signed(counts));
                Ok(self.graph.result("Tile", &[x, counts], &[]))
            }
            ("einsum", Settings::Formula(formula)) => {
                let all = self.operands(call)?;
                Ok(self.graph.result("Einsum", &all, &[("equation", Attribute::text(formula.clone()))]))
            }
            _ => Err(call.unsupported()),
        }
    }

    fn slice(
        &mut self,
        call: &Call<'_>,
        starts: &[i64],
        ends: &[i64],
        axes: &[i64],
        steps: Option<&[i64]>,
    ) -> Result<String> {
        let mut operands = vec![self.operand(call, 0)?];
        for (what, values) in
            [("starts", Some(starts)), ("ends", Some(ends)), ("axes", Some(axes)), ("steps", steps)]
        {
            operands.extend(values.map(|values| self.graph.integers(what, values)));
        }
        Ok(self.graph.result("Slice", &operands, &[]))
    }

    fn entries(&mut self, call: &Call<'_>, entries: &[Entries]) -> Result<String> {
        let mut x = self.operand(call, 0)?;
        for Entries { axis, indices, .. } in entries {
            let indices: Vec<i64> = indices.iter().map(|&index| index.into()).collect();
            let indices = self.graph.integers("indices", &indices);
            x = self.graph.result("Gather", &[x, indices], &[("axis", Attribute::Int(*axis as i64))]);
        }
        if entries.iter().any(|entries| entries.dropped) {
            x = self.reshape(x, &call.output.sizes);
        }
        Ok(x)
    }

    fn linear(&mut self, call: &Call<'_>) -> Result<String> {
        let operands = self.operands(call)?;
        let mut y = if call.output.shape.rank() == 2 {
            self.graph.result("Gemm", &operands, &[])
        } else {
            let product = self.graph.result("MatMul", &operands[..2], &[]);
            match operands.get(2) {
                Some(bias) => self.graph.result("Add", &[product, bias.clone()], &[]),
                None => product,
            }
        };
        if *call.settings == Settings::Relu(true) {
            y = self.graph.result("Relu", &[y], &[]);
        }
        Ok(y)
    }

    fn lookup(&mut self, call: &Call<'_>, ids: Option<&[Size]>) -> Result<String> {
        let table = self.operand(call, 0)?;
        let ids = match (ids, call.settings) {
            (Some(sizes), _) => self.input(sizes),
            (None, Settings::Ids(ids)) => {
                let list: Vec<i64> = ids.iter().map(i64::from).collect();
                let list = self.graph.integers("ids", &list);
                let sizes: Vec<Size> = ids.shape().iter().map(|&size| Size::Fixed(size)).collect();
                self.reshape(list, &sizes)
            }
            _ => return Err(call.unsupported()),
        };
        Ok(self.graph.result("Gather", &[table, ids], &[("axis", Attribute::Int(0))]))
    }

    /// A recurrence in one direction, perhaps from first states and with the last ones behind the outputs.
    fn recurrent(&mut self, call: &Call<'_>) -> Result<String> {
        let Settings::Recurrent { kind, reverse, returns, by_item: false, present } = call.settings else {
            return Err(call.unsupported());
        };
        let (weight, recurrent_weight) = (call.constant(1)?.clone(), call.constant(2)?.clone());
        let (units, steps) = (recurrent_weight.shape()[0], call.operands[0].shape[1]);
        let mut next = 3;
        let mut place = |present: bool| {
            next += usize::from(present);
            present.then_some(next - 1)
        };
        let [bias, hidden, cell] = present.map(&mut place);
        let bias = match bias {
            Some(i) => call.constant(i)?.clone(),
            None => Tensor::zeros([kind.biases() * units])?,
        };
        let run = Run { weight, recurrent_weight, bias, reverse: *reverse };
        let mut states = Vec::new();
        for state in [hidden, cell] {
            states.push(match state {
                Some(i) => {
                    let name = self.operand(call, i)?;
                    let sizes = [&[Size::Fixed(1)], call.operands[i].sizes.as_slice()].concat();
                    self.reshape(name, &sizes)
                }
                None => String::new(),
            });
        }
        while states.last().is_some_and(String::is_empty) {
            states.pop();
        }
        let x = self.operand(call, 0)?;
        let x = self.graph.result("Transpose", &[x], &[("perm", Attribute::Ints(vec![1, 0, 2]))]);
        self.returned((*kind, *returns), &run, &x, &states, [steps, units])
    }

    fn returned(
        &mut self,
        (kind, returns): (Recurrence, Returns),
        run: &Run,
        x: &str,
        states: &[String],
        [steps, units]: [usize; 2],
    ) -> Result<String> {
        let with_states = returns == Returns::StepsAndStates;
        let wanted = [returns != Returns::Last, returns != Returns::Steps, with_states && kind.states() == 2];
        let [all, last, cell] = self.graph.recurrence(kind, run, x, states, wanted)?;
        Ok(match returns {
            Returns::Steps => self.graph.outputs(&all, steps, units),
            Returns::Last => self.graph.last_output(&last, &[units]),
            Returns::StepsAndStates => {
                let mut parts = vec![self.graph.outputs(&all, steps, units)];
                for state in [last, cell].iter().filter(|name| !name.is_empty()) {
                    parts.push(self.graph.last_output(state, &[1, units]));
                }
                self.graph.result("Concat", &parts, &[("axis", Attribute::Int(1))])
            }
        })
    }
}

/// Whether reduced axes are left with size 1.
fn kept(call: &Call<'_>) -> i64 {
    (call.operands[0].shape.rank() == call.output.shape.rank()).into()
}

fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}

fn numbers(values: &[usize]) -> Attribute {
    Attribute::Ints(signed(values))
}
