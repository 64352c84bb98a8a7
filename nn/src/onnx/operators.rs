//! The operators that each recorded operation becomes: a table by name, then those that need more than a line.
//!
//! Whole layers on images and recurrences go the way of a `Sequential`'s: they are brought into the form of an [`Operation`],
//! for which the weights must be constants.

use std::collections::BTreeMap;

use cairn_autograd::{Entries, Settings};
use cairn_tensor::{Pool, Recurrence, Returns, Shape, Tensor};

use super::graph::Graph;
use super::proto::{Attribute, Message};
use super::trace::{Node, Size, Source};
use crate::layers::{Operation, Run, Step};
use crate::{Activation, Error, Result};

/// Writes the values of a traced graph one after the other.
pub(super) struct Writer {
    graph: Graph,
    /// What each value is called; constants have no name before they are used.
    names: BTreeMap<usize, String>,
    /// The name of the size of the batch.
    batch: Option<String>,
    /// The sizes of the input.
    sizes: Vec<Size>,
    /// How many values are written.
    count: usize,
}

/// An operation being written, with what it is made of.
struct Call<'a> {
    op: &'static str,
    operands: Vec<&'a Node>,
    places: &'a [usize],
    settings: &'a Settings,
    output: &'a Node,
}

impl Call<'_> {
    fn unsupported(&self) -> Error {
        let what = match self.settings {
            Settings::None => format!("`{}` in ONNX", self.op),
            settings => format!("`{}` with {settings:?} in ONNX", self.op),
        };
        Error::Unsupported { what }
    }

    /// An operand that must not depend on the input.
    fn constant(&self, i: usize) -> Result<&Tensor> {
        match self.operands.get(i).map(|node| &node.source) {
            Some(Source::Constant(tensor)) => Ok(tensor),
            _ => {
                let what = format!("`{}` with weights that depend on the input in ONNX", self.op);
                Err(Error::Unsupported { what })
            }
        }
    }

    fn optional(&self, i: usize) -> Result<Option<Tensor>> {
        if i < self.operands.len() { Ok(Some(self.constant(i)?.clone())) } else { Ok(None) }
    }
}

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
    pub(super) fn new(item: &Shape, ids: bool) -> Self {
        let sizes = [Size::Batch(1)].into_iter().chain(item.iter().map(|&size| Size::Fixed(size))).collect();
        Writer { graph: Graph::new(item, ids), names: BTreeMap::new(), batch: None, sizes, count: 0 }
    }

    pub(super) fn finish(self, output: &Shape) -> Message {
        self.graph.finish(output)
    }

    /// Writes the next value.
    pub(super) fn add(&mut self, node: &Node, nodes: &[Node]) -> Result<()> {
        let place = self.count;
        self.count += 1;
        match &node.source {
            Source::Input => {
                let name = self.input(&node.sizes);
                self.names.insert(place, name);
            }
            Source::Constant(_) | Source::Repeated(_) => {}
            Source::Operation { op, operands, settings, ids } => {
                let call = Call {
                    op,
                    operands: operands.iter().map(|&operand| &nodes[operand]).collect(),
                    places: operands,
                    settings,
                    output: node,
                };
                self.graph.layer = (*op).to_owned();
                let name = self.operation(&call, ids.as_deref())?;
                self.graph.value.clone_from(&name);
                self.names.insert(place, name);
            }
        }
        Ok(())
    }

    /// The name of an operand.
    fn operand(&mut self, call: &Call<'_>, i: usize) -> Result<String> {
        let place = call.places[i];
        if let Some(name) = self.names.get(&place) {
            return Ok(name.clone());
        }
        let node = call.operands[i];
        let name = match &node.source {
            Source::Constant(tensor) => self.graph.floats("constant", tensor),
            Source::Repeated(tensor) => {
                let (one, shape) = (self.graph.floats("constant", tensor), self.shape(&node.sizes));
                self.graph.result("Expand", &[one, shape], &[])
            }
            Source::Input | Source::Operation { .. } => return Err(call.unsupported()),
        };
        self.names.insert(place, name.clone());
        Ok(name)
    }

    fn operands(&mut self, call: &Call<'_>) -> Result<Vec<String>> {
        (0..call.places.len()).map(|i| self.operand(call, i)).collect()
    }

    /// The input, perhaps in another shape.
    fn input(&mut self, sizes: &[Size]) -> String {
        if sizes == self.sizes { "input".into() } else { self.reshape("input".into(), sizes) }
    }

    /// A shape as a value.
    fn shape(&mut self, sizes: &[Size]) -> String {
        let fixed = |size: &Size| match size {
            Size::Fixed(size) => Some(*size as i64),
            Size::Batch(_) => None,
        };
        if let Some(all) = sizes.iter().map(fixed).collect::<Option<Vec<_>>>() {
            return self.graph.integers("shape", &all);
        }
        let parts: Vec<String> = sizes.iter().map(|&size| self.size(size)).collect();
        self.graph.result("Concat", &parts, &[("axis", Attribute::Int(0))])
    }

    fn size(&mut self, size: Size) -> String {
        let times = match size {
            Size::Fixed(size) => return self.graph.integers("size", &[size as i64]),
            Size::Batch(times) => times,
        };
        let batch = match &self.batch {
            Some(batch) => batch.clone(),
            None => {
                let shape = self.graph.result("Shape", &["input".into()], &[]);
                let first = self.graph.integers("first", &[0]);
                let batch = self.graph.result("Gather", &[shape, first], &[("axis", Attribute::Int(0))]);
                self.batch.insert(batch).clone()
            }
        };
        if times == 1 {
            return batch;
        }
        let times = self.graph.integers("times", &[times as i64]);
        self.graph.result("Mul", &[batch, times], &[])
    }

    fn reshape(&mut self, x: String, sizes: &[Size]) -> String {
        let shape = match sizes.iter().filter(|size| matches!(size, Size::Batch(_))).count() {
            // The one that is left open.
            1 if !sizes.contains(&Size::Fixed(0)) => {
                let open = |size: &Size| match size {
                    Size::Fixed(size) => *size as i64,
                    Size::Batch(_) => -1,
                };
                let sizes: Vec<i64> = sizes.iter().map(open).collect();
                self.graph.integers("shape", &sizes)
            }
            _ => self.shape(sizes),
        };
        self.graph.result("Reshape", &[x, shape], &[])
    }

    /// Writes an operation; the name of what it gives.
    fn operation(&mut self, call: &Call<'_>, ids: Option<&[Size]>) -> Result<String> {
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

    /// Operations on images `[batch, height, width, channels]`, turned around each.
    fn image(&mut self, call: &Call<'_>) -> Result<String> {
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
