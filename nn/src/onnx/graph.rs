//! The operators that each [`Operation`] becomes.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use cairn_tensor::{Pool, Recurrence, Resize, Returns, Shape, Tensor, Window};

use super::gates;
use super::proto::{self, Attribute, Message};
use crate::layers::{Operation, Run, Step};
use crate::{Activation, Result};

/// A graph under construction: one value flows from operator to operator.
pub(super) struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    input: Message,
    /// The name of the value so far.
    pub(super) value: String,
    /// Its axes after the batch, in Cairn's order.
    pub(super) rank: usize,
    /// Whether its channels stand before all axes but the batch.
    pub(super) channels_first: bool,
    /// The layer whose operators are being added.
    pub(super) layer: String,
}

pub(super) type Attributes = Vec<(&'static str, Attribute)>;

impl Graph {
    /// For inputs of this shape, ids or numbers.
    pub(super) fn new(input: &Shape, ids: bool) -> Self {
        Graph {
            nodes: Vec::new(),
            constants: Vec::new(),
            input: proto::value("input", if ids { proto::INT64 } else { proto::FLOAT }, input),
            value: "input".into(),
            rank: input.rank(),
            channels_first: false,
            layer: String::new(),
        }
    }

    /// `ModelProto`: IR version 1, producer 2, graph 7, operator set 8 (with its version 2). `GraphProto`: nodes 1, name 2,
    /// constants 5, inputs 11, outputs 12.
    pub(super) fn finish(mut self, output: &Shape) -> Message {
        self.layer = "output".into();
        self.channels_last();
        let last = std::slice::from_ref(&self.value);
        self.nodes.push(proto::node("Identity", "output", last, &["output"], &[]));
        let graph = Message::default()
            .all(1, &self.nodes)
            .bytes(2, "cairn")
            .all(5, &self.constants)
            .bytes(11, &self.input)
            .bytes(12, proto::value("output", proto::FLOAT, output));
        let operators = Message::default().bytes(1, "").int(2, 17);
        Message::default().int(1, 8).bytes(2, "cairn").bytes(7, graph).bytes(8, operators)
    }

    /// Applies an operator to the value, with further operands.
    pub(super) fn node(&mut self, operator: &str, operands: &[String], attributes: &[(&str, Attribute)]) {
        let inputs = [std::slice::from_ref(&self.value), operands].concat();
        self.value = self.result(operator, &inputs, attributes);
    }

    /// Adds an operator that is not next in the flow; the name of what it gives.
    pub(super) fn result(
        &mut self,
        operator: &str,
        inputs: &[String],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let name = format!("{}/{}_{}", self.layer, operator, self.nodes.len());
        self.nodes.push(proto::node(operator, &name, inputs, &[&name], attributes));
        name
    }

    fn name_constant(&self, what: &str) -> String {
        format!("{}/{what}_{}", self.layer, self.constants.len())
    }

    pub(super) fn floats(&mut self, what: &str, values: &Tensor) -> String {
        let name = self.name_constant(what);
        self.constants.push(proto::floats(&name, values));
        name
    }

    pub(super) fn booleans(&mut self, what: &str, values: &Tensor<bool>) -> String {
        let name = self.name_constant(what);
        self.constants.push(proto::booleans(&name, values));
        name
    }

    pub(super) fn scalar(&mut self, value: f32) -> String {
        self.floats("scalar", &Tensor::scalar(value))
    }

    pub(super) fn integers(&mut self, what: &str, values: &[i64]) -> String {
        let name = self.name_constant(what);
        self.constants.push(proto::integers(&name, values));
        name
    }

    pub(super) fn channels_last(&mut self) {
        if self.channels_first {
            let last = self.rank as i64;
            self.turn([0].into_iter().chain(2..=last).chain([1]).collect());
        }
    }

    /// Nothing changes for items of one axis.
    fn channels_first(&mut self) {
        if !self.channels_first && self.rank > 1 {
            let last = self.rank as i64;
            self.turn([0, last].into_iter().chain(1..last).collect());
        }
    }

    fn turn(&mut self, order: Vec<i64>) {
        self.node("Transpose", &[], &[("perm", Attribute::Ints(order))]);
        self.channels_first = !self.channels_first;
    }

    /// In another shape, in which the batch stays what it is.
    pub(super) fn reshape(&mut self, item: &[usize]) {
        let sizes: Vec<i64> = [0].into_iter().chain(item.iter().map(|&size| size as i64)).collect();
        let shape = self.integers("shape", &sizes);
        self.node("Reshape", &[shape], &[]);
    }

    /// `[channels]` shaped so that it meets the channels of the value.
    fn by_channel(&self, x: &Tensor) -> Result<Tensor> {
        let after = if self.channels_first { self.rank - 1 } else { 0 };
        Ok(x.reshape([x.len()].into_iter().chain(vec![1; after]).collect::<Shape>())?)
    }

    pub(super) fn add(&mut self, step: &Step) -> Result<()> {
        self.layer.clone_from(&step.layer);
        match &step.operation {
            Operation::Dense { weight, bias } => self.dense(weight, bias.as_ref()),
            Operation::Activation(activation) => self.activation(*activation),
            Operation::Reshape(shape) => {
                self.channels_last();
                self.reshape(shape);
            }
            Operation::Conv { weight, bias, window, groups } => {
                let filters = weight.permute([3, 2, 0, 1])?;
                let attributes = sliding(&weight.shape()[..2], window, Some(*groups));
                self.convolution("Conv", &filters, bias.as_ref(), &attributes);
            }
            Operation::ConvTranspose { weight, bias, window, extra, groups } => {
                let filters = weight.permute([3, 2, 0, 1])?;
                let mut attributes = sliding(&weight.shape()[..2], window, Some(*groups));
                attributes.push(("output_padding", ints(extra)));
                self.convolution("ConvTranspose", &filters, bias.as_ref(), &attributes);
            }
            Operation::MaxPool { size, window } => {
                self.channels_first();
                self.node("MaxPool", &[], &sliding(size, window, None));
            }
            Operation::AvgPool { size, window, count_padding } => {
                self.channels_first();
                let mut attributes = sliding(size, window, None);
                // Windows of the mean are not dilated in this operator set, nor by any layer.
                attributes.retain(|(name, _)| *name != "dilations");
                attributes.push(("count_include_pad", Attribute::Int((*count_padding).into())));
                self.node("AveragePool", &[], &attributes);
            }
            Operation::AdaptiveAvgPool(output) => self.adaptive(&step.input, *output)?,
            Operation::GlobalMean => self.global("ReduceMean"),
            Operation::GlobalMax => self.global("ReduceMax"),
            Operation::Normalize { mean, variance, scale, shift, epsilon } => {
                self.channels_first();
                let named = [("scale", scale), ("shift", shift), ("mean", mean), ("variance", variance)];
                let operands = named.map(|(name, values)| self.floats(name, values));
                self.node("BatchNormalization", &operands, &[("epsilon", Attribute::Float(*epsilon))]);
            }
            Operation::GroupNorm { groups, scale, shift, epsilon } => {
                self.group_norm(&step.input, *groups, [scale, shift], *epsilon)?;
            }
            Operation::Pad(padding) => self.pad(padding),
            Operation::Enlarge { factor, how } => self.enlarge(*factor, *how)?,
            Operation::Lookup { mask: Some(_), .. } => {
                let what = "ONNX of an embedding whose padding later layers pass over (`masked`)".into();
                return Err(crate::Error::Unsupported { what });
            }
            Operation::Lookup { table, mask: None } => {
                let (table, ids) = (self.floats("table", table), self.value.clone());
                self.value = self.result("Gather", &[table, ids], &[("axis", Attribute::Int(0))]);
            }
            Operation::Recurrent { kind, runs, returns } => {
                self.channels_last();
                self.recurrent(*kind, runs, *returns, step.input[0])?;
            }
        }
        self.rank = step.output.rank();
        // What has one axis has no order of axes.
        self.channels_first &= self.rank > 1;
        Ok(())
    }

    fn dense(&mut self, weight: &Tensor, bias: Option<&Tensor>) {
        self.channels_last();
        let weight = self.floats("weight", weight);
        let bias = bias.map(|bias| self.floats("bias", bias));
        if self.rank == 1 {
            self.node("Gemm", &[Some(weight), bias].into_iter().flatten().collect::<Vec<_>>(), &[]);
            return;
        }
        self.node("MatMul", &[weight], &[]);
        if let Some(bias) = bias {
            self.node("Add", &[bias], &[]);
        }
    }

    fn convolution(
        &mut self,
        operator: &str,
        filters: &Tensor,
        bias: Option<&Tensor>,
        attributes: &[(&str, Attribute)],
    ) {
        self.channels_first();
        let mut operands = vec![self.floats("weight", filters)];
        operands.extend(bias.map(|bias| self.floats("bias", bias)));
        self.node(operator, &operands, attributes);
    }

    pub(super) fn activation(&mut self, activation: Activation) {
        let float = |name, value| vec![(name, Attribute::Float(value))];
        match activation {
            Activation::Relu => self.node("Relu", &[], &[]),
            Activation::LeakyRelu(slope) => self.node("LeakyRelu", &[], &float("alpha", slope)),
            Activation::Elu(alpha) => self.node("Elu", &[], &float("alpha", alpha)),
            // The operator's defaults are the constants of the paper.
            Activation::Selu => self.node("Selu", &[], &[]),
            Activation::Softplus => self.node("Softplus", &[], &[]),
            Activation::Tanh => self.node("Tanh", &[], &[]),
            Activation::Sigmoid => self.node("Sigmoid", &[], &[]),
            Activation::Softmax => {
                self.channels_last();
                self.node("Softmax", &[], &[("axis", Attribute::Int(-1))]);
            }
            Activation::Silu => {
                let x = self.value.clone();
                self.node("Sigmoid", &[], &[]);
                self.node("Mul", &[x], &[]);
            }
            // x (1 + erf(x / √2)) / 2; the operator `Gelu` came with opset 20.
            Activation::Gelu => {
                let x = self.value.clone();
                let (root, one, half) = (self.scalar(FRAC_1_SQRT_2), self.scalar(1.0), self.scalar(0.5));
                self.node("Mul", &[root], &[]);
                self.node("Erf", &[], &[]);
                self.node("Add", &[one], &[]);
                self.node("Mul", &[x], &[]);
                self.node("Mul", &[half], &[]);
            }
            // x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2
            Activation::GeluTanh => {
                let x = self.value.clone();
                let (one, half) = (self.scalar(1.0), self.scalar(0.5));
                let (cubic, root) = (self.scalar(0.044_715), self.scalar((2.0 / PI).sqrt()));
                self.node("Mul", std::slice::from_ref(&x), &[]);
                self.node("Mul", &[cubic], &[]);
                self.node("Add", std::slice::from_ref(&one), &[]);
                self.node("Mul", std::slice::from_ref(&x), &[]);
                self.node("Mul", &[root], &[]);
                self.node("Tanh", &[], &[]);
                self.node("Add", &[one], &[]);
                self.node("Mul", &[x], &[]);
                self.node("Mul", &[half], &[]);
            }
        }
    }

    /// A product with a matrix of means along each axis: windows are of different sizes, which no operator has.
    fn adaptive(&mut self, input: &Shape, output: [usize; 2]) -> Result<()> {
        self.channels_first();
        let [height, width] = [input[0], input[1]];
        // Row `i` of the pooled identity holds the weights of window `i`.
        let means = |size: usize, output: usize| -> Result<Tensor> {
            let eye = Tensor::<f32>::eye(size)?.reshape([1, size, 1, size])?;
            Ok(eye.avg_pool2d(&Pool::adaptive([output, 1]))?.reshape([output, size])?)
        };
        let rows = self.floats("rows", &means(height, output[0])?);
        let columns = self.floats("columns", &means(width, output[1])?.t()?);
        let x = self.value.clone();
        self.value = self.result("MatMul", &[rows, x], &[]);
        self.node("MatMul", &[columns], &[]);
        Ok(())
    }

    fn global(&mut self, operator: &str) {
        let last = self.rank as i64;
        let places: Vec<i64> = if self.channels_first { (2..=last).collect() } else { (1..last).collect() };
        self.node(operator, &[], &[("axes", Attribute::Ints(places)), ("keepdims", Attribute::Int(0))]);
    }

    /// Groups as the channels of an instance normalisation; the operator `GroupNormalization` came with opset 18.
    fn group_norm(
        &mut self,
        input: &Shape,
        groups: usize,
        [scale, shift]: [&Tensor; 2],
        epsilon: f32,
    ) -> Result<()> {
        self.channels_first();
        self.reshape(&[groups, input.count() / groups]);
        let (ones, zeros) = (Tensor::ones([groups])?, Tensor::zeros([groups])?);
        let operands = [self.floats("ones", &ones), self.floats("zeros", &zeros)];
        self.node("InstanceNormalization", &operands, &[("epsilon", Attribute::Float(epsilon))]);
        let (channels, places) = (input[input.rank() - 1], &input[..input.rank() - 1]);
        self.reshape(&[&[channels], places].concat());
        let (scale, shift) = (self.by_channel(scale)?, self.by_channel(shift)?);
        let (scale, shift) = (self.floats("scale", &scale), self.floats("shift", &shift));
        self.node("Mul", &[scale], &[]);
        self.node("Add", &[shift], &[]);
        Ok(())
    }

    /// An operator for each direction, side by side; every output or the last.
    fn recurrent(&mut self, kind: Recurrence, runs: &[Run], returns: Returns, steps: usize) -> Result<()> {
        self.node("Transpose", &[], &[("perm", Attribute::Ints(vec![1, 0, 2]))]);
        let (input, last) = (self.value.clone(), returns == Returns::Last);
        let mut outputs = Vec::with_capacity(runs.len());
        for run in runs {
            let units = run.recurrent_weight.shape()[0];
            let [all, end, _] = self.recurrence(kind, run, &input, &[], [!last, last, false])?;
            outputs.push(if last {
                self.last_output(&end, &[units])
            } else {
                self.outputs(&all, steps, units)
            });
        }
        self.value = match &outputs[..] {
            [one] => one.clone(),
            all => self.result("Concat", all, &[("axis", Attribute::Int(-1))]),
        };
        Ok(())
    }

    /// One layer in one direction, on `[time, batch, inputs]` and first states `[1, batch, units]`, if any. Of its three results
    /// those that are `wanted` get names: all outputs, `[time, 1, batch, units]`, the last one, `[1, batch, units]`, and the
    /// last c.
    pub(super) fn recurrence(
        &mut self,
        kind: Recurrence,
        run: &Run,
        input: &str,
        states: &[String],
        wanted: [bool; 3],
    ) -> Result<[String; 3]> {
        let operator = gates::operator(kind)?;
        let weights = gates::operands(kind, run)?.map(|values| self.floats("weights", &values));
        let mut inputs = [&[input.to_owned()], &weights[..]].concat();
        if !states.is_empty() {
            // No lengths.
            inputs.push(String::new());
            inputs.extend_from_slice(states);
        }
        let name = format!("{}/{operator}_{}", self.layer, self.nodes.len());
        let results: [String; 3] =
            std::array::from_fn(|i| if wanted[i] { format!("{name}.{i}") } else { String::new() });
        let count = wanted.iter().rposition(|&wanted| wanted).map_or(0, |last| last + 1);
        let names: Vec<&str> = results[..count].iter().map(String::as_str).collect();
        let attributes = gates::attributes(kind, run.recurrent_weight.shape()[0], run.reverse);
        self.nodes.push(proto::node(operator, &name, &inputs, &names, &attributes));
        Ok(results)
    }

    /// All outputs of [`recurrence`](Self::recurrence) as `[batch, time, units]`.
    pub(super) fn outputs(&mut self, all: &str, steps: usize, units: usize) -> String {
        let order = Attribute::Ints(vec![2, 0, 1, 3]);
        self.value = self.result("Transpose", &[all.to_owned()], &[("perm", order)]);
        self.reshape(&[steps, units]);
        self.value.clone()
    }

    /// Its last output as `[batch, …]`.
    pub(super) fn last_output(&mut self, last: &str, item: &[usize]) -> String {
        let order = Attribute::Ints(vec![1, 0, 2]);
        self.value = self.result("Transpose", &[last.to_owned()], &[("perm", order)]);
        self.reshape(item);
        self.value.clone()
    }

    fn pad(&mut self, [[above, below], [left, right]]: &[[usize; 2]; 2]) {
        let [above, below, left, right] = [*above, *below, *left, *right].map(|pixels| pixels as i64);
        let pads = if self.channels_first {
            [0, 0, above, left, 0, 0, below, right]
        } else {
            [0, above, left, 0, 0, below, right, 0]
        };
        let pads = self.integers("pads", &pads);
        self.node("Pad", &[pads], &[]);
    }

    fn enlarge(&mut self, factor: [usize; 2], how: Resize) -> Result<()> {
        self.channels_first();
        let factors = [1.0, 1.0, factor[0] as f32, factor[1] as f32];
        let scales = self.floats("scales", &Tensor::from_slice(&factors, [4])?);
        let attributes = match how {
            Resize::Nearest => vec![
                ("mode", Attribute::text("nearest")),
                ("coordinate_transformation_mode", Attribute::text("asymmetric")),
                ("nearest_mode", Attribute::text("floor")),
            ],
            Resize::Bilinear => vec![
                ("mode", Attribute::text("linear")),
                ("coordinate_transformation_mode", Attribute::text("half_pixel")),
            ],
        };
        // No region of interest.
        self.node("Resize", &[String::new(), scales], &attributes);
        Ok(())
    }
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}

/// The attributes of a window that slides: padding is above, left, below, right.
fn sliding(size: &[usize], window: &Window, groups: Option<usize>) -> Attributes {
    let [[above, below], [left, right]] = window.padding;
    let mut attributes = vec![
        ("kernel_shape", ints(size)),
        ("strides", ints(&window.stride)),
        ("pads", ints(&[above, left, below, right])),
        ("dilations", ints(&window.dilation)),
    ];
    attributes.extend(groups.map(|groups| ("group", Attribute::Int(groups as i64))));
    attributes
}
