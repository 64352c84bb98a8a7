//! A model in its final form, for answering.
//!
//! Training needs variables, generators, running statistics that move; inference needs none of that. Freezing takes the model's
//! [graph](super), joins what can be joined and plans which value is dropped after which operation. What
//! is left never changes, so any number of threads may use it at once; copies share the weights.
//!
//! A model of dense layers answers a single sample in memory that is kept from one answer to the next ([`Scratch`]).

use std::sync::Arc;

use cairn_autograd::op::{Linear, Op, Operand, Softmax, View};
use cairn_tensor::{Shape, Tensor};

use super::trace::with_sizes;
use super::{Constant, Dim, Graph, InputKind, Node, Open, Source};
use crate::{Error, Result, Sequential, Value};

/// A model that only answers, made by [`Graph::frozen`] or [`Sequential::frozen`].
///
/// ```
/// use cairn_nn::{Activation::Relu, Sequential, spec::Dense};
/// use cairn_tensor::{Tensor, rng};
/// let model = Sequential::new([784]).add(Dense::new(64).activation(Relu)).add(Dense::new(10)).build(&mut rng(0))?;
/// let frozen = model.frozen()?;
///
/// // One sample: no memory is taken after the first.
/// let mut scratch = frozen.scratch();
/// let scores = frozen.predict(&[0.5; 784], &mut scratch)?;
/// assert_eq!(scores.len(), 10);
///
/// // Batches, on several threads that share the weights.
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         let frozen = frozen.clone();
///         scope.spawn(move || frozen.predict_batch(Tensor::<f32>::zeros([32, 784])?));
///     }
/// });
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Frozen {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    graph: Graph,
    /// The values that are dropped after each node, since nothing after it uses them.
    dropped: Vec<Vec<usize>>,
    /// The operations that answer a single sample row by row, where all can.
    rows: Option<Vec<Row>>,
    /// The shapes of one sample and its answer, where time is not open.
    input: Shape,
    output: Shape,
}

/// An operation on a row.
#[derive(Debug)]
struct Row {
    scope: Option<Arc<str>>,
    kind: RowKind,
    /// Floats in the output.
    count: usize,
}

#[derive(Debug)]
enum RowKind {
    Linear { weight: Tensor, bias: Option<Tensor>, relu: bool },
    Other(Op),
}

/// The memory that [`Frozen::predict`] works in, for one thread.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Sequential {
    /// The model as it is now in its final form: later changes of this one do not reach it.
    ///
    /// # Errors
    /// Those of a forward pass.
    pub fn frozen(&self) -> Result<Frozen> {
        self.graph()?.frozen()
    }
}

impl Graph {
    /// The model for answering. The weights are shared with the model, as they are now: later changes of it do not reach them.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn frozen(&self) -> Result<Frozen> {
        let graph = self.clone().fused()?;
        let mut dropped = vec![Vec::new(); graph.nodes.len()];
        let mut last_use: Vec<Option<usize>> = vec![None; graph.nodes.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            node.operands().iter().for_each(|&operand| last_use[operand] = Some(i));
        }
        for (value, last) in last_use.into_iter().enumerate() {
            if let (Some(last), true) = (last, value != graph.output) {
                dropped[last].push(value);
            }
        }
        let rows = rows(&graph);
        let item =
            |node: usize| graph.nodes[node].shape(&graph.values(&[])).iter().skip(1).copied().collect();
        let (input, output) = (item(0), item(graph.output));
        Ok(Frozen { shared: Arc::new(Shared { graph, dropped, rows, input, output }) })
    }
}

/// A value while a batch is answered.
enum Held<'a> {
    Floats(Tensor),
    Ids(Tensor<u32>),
    Constant(&'a Constant),
}

impl Held<'_> {
    fn operand(&self) -> Operand<'_, f32> {
        match self {
            Held::Floats(x) | Held::Constant(Constant::Floats(x)) => Operand::Float(x),
            Held::Ids(ids) | Held::Constant(Constant::Ids(ids)) => Operand::Ids(ids),
            Held::Constant(Constant::Mask(mask)) => Operand::Mask(mask),
            Held::Constant(Constant::Stored(weights)) => Operand::Stored(weights),
        }
    }
}

impl Frozen {
    /// The shape of one input, of the first one where there are several; 1 stands for a number of steps that is left open.
    pub fn input_shape(&self) -> &Shape {
        &self.shared.input
    }

    /// The shape of the output for one input.
    pub fn output_shape(&self) -> &Shape {
        &self.shared.output
    }

    /// The output for a batch, `[batch, …]`: of ids for a model that looks them up, else of floats.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the input is not of the shape the model was made for, or ids and not floats, or the other
    /// way around; for an id beyond the vocabulary; when memory runs out.
    pub fn predict_batch(&self, input: impl Into<Value>) -> Result<Tensor> {
        self.predict_all([input.into()])
    }

    /// As [`predict_batch`](Self::predict_batch), for a model of several inputs.
    ///
    /// # Errors
    /// As [`predict_batch`](Self::predict_batch), and for another number of inputs, or inputs of different batches.
    pub fn predict_all(&self, inputs: impl IntoIterator<Item = Value>) -> Result<Tensor> {
        let Shared { graph, dropped, .. } = &*self.shared;
        let inputs: Vec<Value> = inputs.into_iter().collect();
        let open = self.measure(&inputs)?;
        let mut inputs = inputs.into_iter();
        let mut values: Vec<Option<Held<'_>>> = Vec::with_capacity(graph.nodes.len());
        for (node, dropped) in graph.nodes.iter().zip(dropped) {
            let value = match &node.source {
                Source::Input(_) => match inputs.next() {
                    Some(Value::Ids(ids)) => Held::Ids(ids),
                    Some(input) => Held::Floats(input.floats()?.value().clone()),
                    None => return Err(self.bad_input(&[])),
                },
                Source::Constant(constant) => Held::Constant(constant),
                Source::Repeated(one) => Held::Floats(one.broadcast_to(node.shape(&open))?),
                _ => compute(node, &values, &open)
                    .map_err(|error| node.scope.as_deref().into_iter().fold(error, Error::at))?,
            };
            values.push(Some(value));
            dropped.iter().for_each(|&value| values[value] = None);
        }
        match values.swap_remove(graph.output) {
            Some(Held::Floats(output)) => Ok(output),
            // An output depends on an input, so it is no constant; ids are no output.
            _ => Err(self.bad_input(&[])),
        }
    }

    /// The values of the open sizes, after a check that the inputs are what the model takes.
    fn measure(&self, inputs: &[Value]) -> Result<Vec<usize>> {
        let graph = &self.shared.graph;
        if inputs.len() != graph.inputs.len() {
            let why = format!("the model takes {} inputs, not {}", graph.inputs.len(), inputs.len());
            return Err(Error::BadInput { input: Shape::default(), why });
        }
        let mut open: Vec<Option<usize>> = vec![None; graph.open.len()];
        for (input, value) in graph.inputs.iter().zip(inputs) {
            let bad = |why: String| Error::BadInput { input: value.shape().into(), why };
            match (input.kind, value) {
                (InputKind::Floats, Value::Ids(_)) => {
                    return Err(bad("the model takes floats, not ids".into()));
                }
                (InputKind::Ids(_) | InputKind::Lengths(_), Value::Floats(_)) => {
                    return Err(bad("the model takes ids, not floats: an embedding looks up ids".into()));
                }
                _ => {}
            }
            let fits = |(dim, &size): (&Dim, &usize)| match *dim {
                Dim::Fixed(fixed) => fixed == size,
                Dim::Open(name) => {
                    let which = graph.open.iter().position(|&own| own == name).unwrap_or(0);
                    *open[which].get_or_insert(size) == size
                }
            };
            if value.shape().len() != input.sizes.len() || !input.sizes.iter().zip(value.shape()).all(fits) {
                let item: Vec<String> = input.sizes.iter().skip(1).map(ToString::to_string).collect();
                return Err(bad(format!("the model takes samples of [{}]", item.join(", "))));
            }
        }
        Ok(open.into_iter().map(|size| size.unwrap_or(1)).collect())
    }

    /// Memory for [`predict`](Self::predict); it grows to what is needed with the first answer.
    pub fn scratch(&self) -> Scratch {
        Scratch::default()
    }

    /// The output for one sample, its floats in order.
    ///
    /// A model of dense layers with ReLU takes no memory for it beyond `scratch`; other activations take a little, other
    /// layers as much as a batch of one.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there are not as many floats as the model takes.
    pub fn predict<'a>(&self, sample: &[f32], scratch: &'a mut Scratch) -> Result<&'a [f32]> {
        let shared = &*self.shared;
        if sample.len() != shared.input.count() {
            return Err(self.bad_input(&[sample.len()]));
        }
        match &shared.rows {
            Some(rows) => scratch.run(rows, sample)?,
            None => scratch.keep(&self.predict_batch(Tensor::from_slice(sample, self.batch_of_one())?)?),
        }
        Ok(&scratch.output)
    }

    /// As [`predict`](Self::predict), for a sample of ids.
    ///
    /// ```
    /// use cairn_nn::Sequential;
    /// use cairn_nn::spec::{Dense, Embedding, Lstm};
    /// use cairn_tensor::rng;
    /// let builder = Sequential::new([4]).add(Embedding::new(100, 8)).add(Lstm::new(16)).add(Dense::new(2));
    /// let frozen = builder.build(&mut rng(0))?.frozen()?;
    /// assert_eq!(frozen.predict_ids(&[7, 0, 99, 3], &mut frozen.scratch())?.len(), 2);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`predict_batch`](Self::predict_batch).
    pub fn predict_ids<'a>(&self, sample: &[u32], scratch: &'a mut Scratch) -> Result<&'a [f32]> {
        if sample.len() != self.shared.input.count() {
            return Err(self.bad_input(&[sample.len()]));
        }
        scratch.keep(&self.predict_batch(Tensor::from_slice(sample, self.batch_of_one())?)?);
        Ok(&scratch.output)
    }

    fn batch_of_one(&self) -> Shape {
        [1].iter().chain(self.shared.input.iter()).copied().collect()
    }

    fn bad_input(&self, input: &[usize]) -> Error {
        let why = format!("the model takes samples of {}", self.shared.input);
        Error::BadInput { input: input.into(), why }
    }
}

/// The value of a node that is computed.
fn compute<'a>(node: &Node, values: &[Option<Held<'_>>], open: &[usize]) -> Result<Held<'a>> {
    let operands: Vec<Operand<'_, f32>> =
        node.operands().iter().filter_map(|&operand| values[operand].as_ref()).map(Held::operand).collect();
    Ok(match (&node.source, &operands[..]) {
        (Source::Operation { op, open: Open::Nothing, .. }, operands) => Held::Floats(op.evaluate(operands)?),
        (Source::Operation { op, open: kind, .. }, operands) => {
            let start = if let Open::SizesFrom(start) = kind { start.at(open) } else { 0 };
            Held::Floats(with_sizes(op, &node.shape(open), start).evaluate(operands)?)
        }
        (Source::Ids { op, .. }, &[Operand::Ids(ids)]) => Held::Ids(op.evaluate(ids)?),
        (_, &[Operand::Ids(ids)]) => Held::Ids(ids.reshape(node.shape(open))?),
        _ => return Err(Error::Unsupported { what: "ids where floats are".into() }),
    })
}

/// The operations of a model that is a chain of operations on rows, `[batch, n]`, from its only input.
fn rows(graph: &Graph) -> Option<Vec<Row>> {
    let [_] = graph.inputs[..] else { return None };
    let (mut rows, mut at) = (Vec::new(), 0);
    for (i, node) in graph.nodes.iter().enumerate() {
        let (Source::Operation { op, operands, .. }, [_]) = (&node.source, &graph.open[..]) else { continue };
        // A row has the batch as its first axis, and one more.
        let count = node.shape(&[1]).count();
        let is_row = node.sizes.len() == 2;
        if operands.first() != Some(&at) {
            return None;
        }
        let kind = match op {
            Op::Linear(Linear::Linear { relu }) if is_row => {
                let bias = operands.get(2).map(|&bias| graph.constant(bias));
                RowKind::Linear {
                    weight: graph.constant(operands[1])?.clone(),
                    bias: if let Some(bias) = bias { Some(bias?.clone()) } else { None },
                    relu: *relu,
                }
            }
            // The floats stay in order.
            Op::View(View::Reshape { .. }) => {
                at = i;
                continue;
            }
            Op::Elementwise(op) if operands.len() == 1 => RowKind::Other(op.clone().into()),
            Op::Softmax(Softmax::Softmax { axis: 1 }) if is_row => RowKind::Other(op.clone()),
            _ => return None,
        };
        rows.push(Row { scope: node.scope.clone(), kind, count });
        at = i;
    }
    (at == graph.output).then_some(rows)
}

impl Scratch {
    fn keep(&mut self, output: &Tensor) {
        self.output.clear();
        self.output.extend(output.iter());
    }

    /// Runs operations on a row; the result is in `output`.
    fn run(&mut self, rows: &[Row], sample: &[f32]) -> Result<()> {
        // The first layer reads the sample itself.
        let mut fresh = true;
        for row in rows {
            let input = if fresh {
                sample
            } else {
                std::mem::swap(&mut self.input, &mut self.output);
                &self.input
            };
            self.output.resize(row.count, 0.0);
            row.run(input, &mut self.output)
                .map_err(|error| row.scope.as_deref().into_iter().fold(error, Error::at))?;
            fresh = false;
        }
        if fresh {
            self.output.clear();
            self.output.extend_from_slice(sample);
        }
        Ok(())
    }
}

impl Row {
    fn run(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        match &self.kind {
            RowKind::Linear { weight, bias, relu } => Ok(weight.linear_row(x, bias.as_ref(), *relu, out)?),
            RowKind::Other(op) => {
                let y = op.evaluate(&[Operand::Float(&Tensor::from_slice(x, [1, x.len()])?)])?;
                out.iter_mut().zip(y.iter()).for_each(|(out, y)| *out = y);
                Ok(())
            }
        }
    }
}
