//! Writing a graph as a file: the names of its values, the order of their axes, and shapes in which batch and time are left open.

use cairn_tensor::{DType, Shape, Tensor};

use super::proto::{self, Attribute, Message};
use crate::graph::{Constant, Dim, Graph, Input, InputKind, Node, Size, Source};
use crate::{Error, Result};

/// Protocol buffers end at 2 GiB.
const MOST_BYTES: usize = i32::MAX as usize;

pub(super) fn export(graph: &Graph) -> Result<Vec<u8>> {
    let bytes = graph.nodes.iter().fold(0usize, |sum, node| match &node.source {
        Source::Constant(Constant::Floats(tensor)) => sum.saturating_add(4 * tensor.len()),
        _ => sum,
    });
    if bytes > MOST_BYTES / 2 {
        return Err(Error::Unsupported { what: format!("ONNX files of {bytes} bytes of values") });
    }
    let mut export = Export::new(graph);
    for node in 0..graph.nodes.len() {
        export.write(node)?;
    }
    export.finish()
}

pub(super) type Attributes = Vec<(&'static str, Attribute)>;

/// The names of a value, in the orders of its axes in which it is there already.
#[derive(Debug, Clone, Default)]
struct Names {
    /// As in the graph: channels last, batch first.
    plain: Option<String>,
    /// `[batch, channels, …]`, of a value with more than two axes.
    channels_first: Option<String>,
    /// `[time, batch, …]`
    time_first: Option<String>,
}

/// A file being written.
pub(super) struct Export<'g> {
    pub(super) graph: &'g Graph,
    nodes: Vec<Message>,
    constants: Vec<Message>,
    names: Vec<Names>,
    /// The names of the open sizes, as values.
    open: Vec<Option<String>>,
    /// What the names of new values begin with.
    label: String,
}

/// What an operation made: the name, and whether its channels stand first.
pub(super) struct Made {
    pub(super) name: String,
    pub(super) channels_first: bool,
}

impl From<String> for Made {
    fn from(name: String) -> Self {
        Made { name, channels_first: false }
    }
}

impl<'g> Export<'g> {
    fn new(graph: &'g Graph) -> Self {
        Export {
            graph,
            nodes: Vec::new(),
            constants: Vec::new(),
            names: vec![Names::default(); graph.nodes.len()],
            open: vec![None; graph.open.len()],
            label: String::new(),
        }
    }

    /// Writes a node of the graph. Constants have no name before they are used.
    fn write(&mut self, node: usize) -> Result<()> {
        let graph = self.graph;
        let name = match &graph.nodes[node].source {
            Source::Input(i) => input_name(graph, *i),
            Source::Constant(_) | Source::Repeated(_) => return Ok(()),
            Source::Ids { op, operand } => {
                self.label = graph.nodes[node].scope.as_deref().unwrap_or("padding").to_owned();
                self.span(*op, *operand)?
            }
            Source::Reshaped { operand } => {
                self.label = "ids".into();
                let ids = self.name(*operand)?;
                self.reshape(ids, &graph.nodes[node].sizes)
            }
            Source::Operation { op, .. } => {
                let scope = graph.nodes[node].scope.as_deref();
                self.label = scope.unwrap_or(op.name()).to_owned();
                let at = |error: Error| scope.into_iter().fold(error, Error::at);
                let made = self.operation(node, op).map_err(at)?;
                if made.channels_first {
                    self.names[node].channels_first = Some(made.name);
                    return Ok(());
                }
                made.name
            }
        };
        self.names[node].plain = Some(name);
        Ok(())
    }

    /// `ModelProto`: IR version 1, producer 2, graph 7, operator set 8 (with its version 2). `GraphProto`: nodes 1, name 2,
    /// constants 5, inputs 11, outputs 12.
    fn finish(mut self) -> Result<Vec<u8>> {
        let graph = self.graph;
        self.label = "output".into();
        let last = self.name(graph.output)?;
        self.nodes.push(proto::node("Identity", "output", &[last], &["output"], &[]));
        let inputs = graph.inputs.iter().enumerate().map(|(i, input)| {
            let element = if input.kind == InputKind::Floats { proto::FLOAT } else { proto::INT64 };
            proto::value(&input_name(graph, i), element, &axes_of(input))
        });
        let inputs: Vec<Message> = inputs.collect();
        let output: Vec<proto::Axis> =
            graph.nodes[graph.output].sizes.iter().map(|size| axis_of(graph, size)).collect();
        let body = Message::default()
            .all(1, &self.nodes)
            .bytes(2, "cairn")
            .all(5, &self.constants)
            .all(11, &inputs)
            .bytes(12, proto::value("output", proto::FLOAT, &output));
        let operators = Message::default().bytes(1, "").int(2, 17);
        Ok(Message::default().int(1, 8).bytes(2, "cairn").bytes(7, body).bytes(8, operators).into_bytes())
    }

    pub(super) fn node(&self, node: usize) -> &'g Node {
        &self.graph.nodes[node]
    }

    /// The name of an operand of a node, in the graph's order of axes.
    pub(super) fn operand(&mut self, node: usize, i: usize) -> Result<String> {
        let operand = self.operand_of(node, i)?;
        self.name(operand)
    }

    pub(super) fn operands(&mut self, node: usize) -> Result<Vec<String>> {
        (0..self.node(node).operands().len()).map(|i| self.operand(node, i)).collect()
    }

    /// Which node is operand `i`.
    pub(super) fn operand_of(&self, node: usize, i: usize) -> Result<usize> {
        self.node(node).operands().get(i).copied().ok_or_else(|| self.unsupported(node))
    }

    /// An operand that no input may have a part in.
    pub(super) fn constant(&self, node: usize, i: usize) -> Result<&'g Tensor> {
        self.graph.constant(self.operand_of(node, i)?).ok_or_else(|| {
            let op = self.node(node).op().map_or("?", |op| op.name());
            Error::Unsupported { what: format!("`{op}` with weights that depend on the input in ONNX") }
        })
    }

    pub(super) fn unsupported(&self, node: usize) -> Error {
        let op = self.node(node).op().map_or("?", |op| op.name());
        Error::Unsupported { what: format!("`{op}` in ONNX") }
    }

    /// The name of a value, in the graph's order of axes.
    pub(super) fn name(&mut self, node: usize) -> Result<String> {
        if let Some(name) = &self.names[node].plain {
            return Ok(name.clone());
        }
        if let Some(turned) = self.names[node].channels_first.clone() {
            let last = self.node(node).sizes.len() as i64 - 1;
            let order = [0].into_iter().chain(2..=last).chain([1]).collect();
            let name = self.transpose(turned, order);
            self.names[node].plain = Some(name.clone());
            return Ok(name);
        }
        let name = match &self.node(node).source {
            Source::Constant(Constant::Floats(tensor)) => self.floats("constant", tensor),
            Source::Constant(Constant::Ids(ids)) => {
                let list: Vec<i64> = ids.iter().map(i64::from).collect();
                let list = self.integers("ids", &list);
                if ids.rank() == 1 { list } else { self.reshape(list, &self.node(node).sizes) }
            }
            Source::Constant(Constant::Mask(mask)) => {
                let name = self.name_constant("mask");
                self.constants.push(proto::booleans(&name, mask));
                name
            }
            // Written as the floats that they stand for: ONNX has no name for blocks.
            Source::Constant(Constant::Stored(weights)) => {
                self.floats("constant", weights.cast(DType::F32)?.as_f32()?)
            }
            Source::Repeated(tensor) => {
                let one = self.floats("constant", tensor);
                let shape = self.shape(&self.node(node).sizes);
                self.result("Expand", &[one, shape], &[])
            }
            _ => return Err(self.unsupported(node)),
        };
        self.names[node].plain = Some(name.clone());
        Ok(name)
    }

    /// The name of a value with its channels before all axes but the batch. Nothing changes for `[batch, channels]`.
    pub(super) fn channels_first(&mut self, node: usize) -> Result<String> {
        let rank = self.node(node).sizes.len() as i64;
        if rank <= 2 {
            return self.name(node);
        }
        if let Some(name) = &self.names[node].channels_first {
            return Ok(name.clone());
        }
        let plain = self.name(node)?;
        let order = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        let name = self.transpose(plain, order);
        self.names[node].channels_first = Some(name.clone());
        Ok(name)
    }

    /// Whether a value is there with its channels first, and not otherwise.
    pub(super) fn is_channels_first(&self, node: usize) -> bool {
        self.names[node].plain.is_none() && self.names[node].channels_first.is_some()
    }

    /// The name of `[batch, time, …]` as `[time, batch, …]`.
    pub(super) fn time_first(&mut self, node: usize) -> Result<String> {
        if let Some(name) = &self.names[node].time_first {
            return Ok(name.clone());
        }
        let plain = self.name(node)?;
        let name = self.transpose(plain, vec![1, 0, 2]);
        self.names[node].time_first = Some(name.clone());
        Ok(name)
    }

    pub(super) fn transpose(&mut self, x: String, order: Vec<i64>) -> String {
        self.result("Transpose", &[x], &[("perm", Attribute::Ints(order))])
    }

    /// Adds an operator with one result; its name.
    pub(super) fn result(
        &mut self,
        operator: &str,
        inputs: &[String],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let name = self.new_name(operator);
        self.nodes.push(proto::node(operator, &name, inputs, &[&name], attributes));
        name
    }

    /// Adds an operator with these results.
    pub(super) fn results(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[String],
        results: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        self.nodes.push(proto::node(operator, name, inputs, results, attributes));
    }

    /// A name for the operator that is added next.
    pub(super) fn new_name(&self, operator: &str) -> String {
        format!("{}/{operator}_{}", self.label, self.nodes.len())
    }

    fn name_constant(&self, what: &str) -> String {
        format!("{}/{what}_{}", self.label, self.constants.len())
    }

    pub(super) fn floats(&mut self, what: &str, values: &Tensor) -> String {
        let name = self.name_constant(what);
        self.constants.push(proto::floats(&name, values));
        name
    }

    pub(super) fn scalar(&mut self, value: f64) -> String {
        self.floats("scalar", &Tensor::scalar(value as f32))
    }

    pub(super) fn integers(&mut self, what: &str, values: &[i64]) -> String {
        let name = self.name_constant(what);
        self.constants.push(proto::integers(&name, values));
        name
    }

    /// A shape as a value.
    pub(super) fn shape(&mut self, sizes: &[Size]) -> String {
        let fixed: Option<Vec<i64>> =
            sizes.iter().map(|size| size.as_fixed().map(|size| size as i64)).collect();
        if let Some(all) = fixed {
            return self.integers("shape", &all);
        }
        let parts: Vec<String> = sizes.iter().map(|size| self.size(size)).collect();
        self.result("Concat", &parts, &[("axis", Attribute::Int(0))])
    }

    /// A size as a value of one element: the sum of its terms.
    pub(super) fn size(&mut self, size: &Size) -> String {
        let mut terms: Vec<String> = Vec::new();
        for (dims, factor) in size.terms() {
            let mut product: Option<String> = None;
            for dim in dims {
                let open = self.open_size(dim);
                product = Some(match product {
                    Some(product) => self.result("Mul", &[product, open], &[]),
                    None => open,
                });
            }
            terms.push(match (product, factor) {
                (Some(product), 1) => product,
                (Some(product), factor) => {
                    let factor = self.integers("times", &[factor as i64]);
                    self.result("Mul", &[product, factor], &[])
                }
                (None, fixed) => self.integers("size", &[fixed as i64]),
            });
        }
        let Some(first) = terms.first().cloned() else { return self.integers("size", &[0]) };
        terms.drain(1..).fold(first, |sum, term| self.result("Add", &[sum, term], &[]))
    }

    /// An open size, taken from an input that has it.
    fn open_size(&mut self, which: usize) -> String {
        if let Some(name) = &self.open[which] {
            return name.clone();
        }
        let dim = Dim::Open(self.graph.open[which]);
        let position = |input: &Input| input.sizes.iter().position(|&own| own == dim);
        let inputs = &self.graph.inputs;
        let (input, axis) =
            inputs.iter().enumerate().find_map(|(i, input)| Some((i, position(input)?))).unwrap_or((0, 0));
        let shape = self.result("Shape", &[input_name(self.graph, input)], &[]);
        let axis = self.integers("axis", &[axis as i64]);
        let name = self.result("Gather", &[shape, axis], &[("axis", Attribute::Int(0))]);
        self.open[which] = Some(name.clone());
        name
    }

    pub(super) fn reshape(&mut self, x: String, sizes: &[Size]) -> String {
        let open: Vec<usize> = (0..sizes.len()).filter(|&i| sizes[i].as_fixed().is_none()).collect();
        let zero = sizes.contains(&Size::fixed(0));
        let shape = match open[..] {
            // The one that is left open.
            [_] if !zero => {
                let sizes: Vec<i64> =
                    sizes.iter().map(|size| size.as_fixed().map_or(-1, |size| size as i64)).collect();
                self.integers("shape", &sizes)
            }
            _ => self.shape(sizes),
        };
        self.result("Reshape", &[x, shape], &[])
    }

    /// `[channels]` shaped so that it meets the channels of a value of this rank with its channels first.
    pub(super) fn by_channel(x: &Tensor, rank: usize) -> Result<Tensor> {
        let after = rank.saturating_sub(2);
        Ok(x.reshape([x.len()].into_iter().chain(vec![1; after]).collect::<Shape>())?)
    }
}

fn input_name(graph: &Graph, i: usize) -> String {
    if graph.inputs.len() == 1 { "input".into() } else { format!("input_{i}") }
}

fn axes_of(input: &Input) -> Vec<proto::Axis> {
    let axis = |dim: &Dim| match dim {
        Dim::Open(name) => proto::Axis::Named(name),
        Dim::Fixed(size) => proto::Axis::Size(*size),
    };
    input.sizes.iter().map(axis).collect()
}

fn axis_of(graph: &Graph, size: &Size) -> proto::Axis {
    match (size.as_fixed(), size.as_open()) {
        (Some(size), _) => proto::Axis::Size(size),
        (None, Some(open)) => proto::Axis::Named(graph.open[open]),
        (None, None) => proto::Axis::Any,
    }
}
