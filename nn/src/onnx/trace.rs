//! Export of any forward pass: a struct of layers with a `forward` of its own, a function, part of a model.
//!
//! The pass is run on two made-up batches of different sizes, and the two graphs that it records are compared. Where they
//! agree is the model. A size that grows with the batch is the batch. Whatever else differs was computed from the input
//! behind the graph's back (a tensor taken out by `value()`, something under `no_grad`): it would be frozen into the file as it
//! was for a made-up input, so it is refused, by the name of the operation that uses it.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_autograd::{Settings, Var};
use cairn_tensor::{Shape, Tensor, rng};

use super::MOST_BYTES;
use super::writer::Writer;
use crate::{Error, Result, codec};

/// The sizes of the two batches.
const BATCHES: [usize; 2] = [2, 3];

/// A forward pass as an ONNX file: see [`trace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    bytes: Vec<u8>,
}

impl Traced {
    /// Writes the file, in one step: an old one is replaced only once the new one is safe.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        codec::write_atomically(path.as_ref(), &self.bytes)
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The ONNX file of a forward pass from numbers `[batch, …]`, each item of the given shape, to `[batch, …]`.
///
/// The pass is run, so it has to be one in use ([`Context::eval`](crate::Context::eval)), and the same for every batch: what it
/// decides by the values of its input is not seen. A [`Model`](crate::Model) that takes a tensor is traced by
/// `|x| model.forward(x.value(), &mut Context::eval())`. Opset 17; operations go out one by one, images with channels last, turned
/// around each convolution. A [`Sequential`](crate::Sequential) by itself is better exported by
/// [`export_onnx`](crate::Sequential::export_onnx).
///
/// ```
/// use cairn_autograd::Var;
/// use cairn_nn::{Activation::Gelu, Linear, Module, Result, onnx};
/// use cairn_tensor::rng;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("block.onnx");
///
/// #[derive(Module)]
/// struct Block {
///     up: Linear,
///     down: Linear,
/// }
///
/// impl Block {
///     fn forward(&self, x: &Var) -> Result<Var> {
///         Ok(x.add(&self.down.forward(&self.up.forward(x)?)?)?)
///     }
/// }
///
/// let mut rng = rng(0);
/// let up = Linear::new(8, 32, &mut rng)?.activation(Gelu);
/// let block = Block { up, down: Linear::new(32, 8, &mut rng)? };
/// onnx::trace([8], |x| block.forward(x))?.write(&path)?;
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// Those of the pass; [`Error::Unsupported`] for an operation that has no form in ONNX, or not with these settings, naming it,
/// and for what depends on the input or the size of the batch in a way the graph does not show.
pub fn trace(item: impl Into<Shape>, forward: impl Fn(&Var) -> Result<Var>) -> Result<Traced> {
    let item = item.into();
    let run = |i: usize| -> Result<Run> {
        let input = Var::from(Tensor::normal(batch_of(&item, BATCHES[i]), 0.0, 1.0, &mut rng(i as u64))?);
        let output = cairn_autograd::trace(|| forward(&input))?;
        Ok(Run { output, input: Some(input), ids: None })
    };
    write(&item, &[run(0)?, run(1)?])
}

/// As [`trace`], for a pass from ids below `vocabulary`. The file takes them as int64.
///
/// ```
/// use cairn_nn::{Context, Embedding, Gru, onnx};
/// use cairn_tensor::rng;
/// let mut rng = rng(0);
/// let (embedding, gru) = (Embedding::new(100, 8, &mut rng)?, Gru::new(8, 16, &mut rng)?);
/// let file = onnx::trace_ids([12], 100, |ids| {
///     let steps = embedding.forward(ids)?;
///     Ok(gru.forward(&steps, &mut Context::eval())?.tanh()?)
/// })?;
/// assert!(file.into_bytes().len() > 4 * 100 * 8);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// As [`trace`]; for a vocabulary of 0.
pub fn trace_ids(
    item: impl Into<Shape>,
    vocabulary: usize,
    forward: impl Fn(&Tensor<u32>) -> Result<Var>,
) -> Result<Traced> {
    if vocabulary == 0 {
        return Err(Error::BadSetting { what: "the vocabulary", value: 0.0, must: "at least 1" });
    }
    let item = item.into();
    let run = |i: usize| -> Result<Run> {
        let numbers = Tensor::<f64>::uniform(batch_of(&item, BATCHES[i]), 0.0, 1.0, &mut rng(i as u64))?;
        let ids = numbers.scale(vocabulary as f64)?.floor()?.cast::<u32>()?;
        let output = cairn_autograd::trace(|| forward(&ids))?;
        Ok(Run { output, input: None, ids: Some(ids) })
    };
    write(&item, &[run(0)?, run(1)?])
}

fn batch_of(item: &Shape, batch: usize) -> Shape {
    [batch].iter().chain(item.iter()).copied().collect()
}

/// What the pass made of one batch.
struct Run {
    output: Var,
    input: Option<Var>,
    ids: Option<Tensor<u32>>,
}

impl Run {
    /// Whether a leaf of the graph is the input, as it is or, if the pass takes a tensor, as a new variable of its numbers.
    fn takes(&self, leaf: &Var) -> bool {
        self.input.as_ref().is_some_and(|input| {
            let (own, other) = (input.value(), leaf.value());
            input.same(leaf) || (own.len() == other.len() && own.iter().eq(other.iter()))
        })
    }
}

/// A size of a value, from what it was for the two batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Fixed(usize),
    /// So many times the batch.
    Batch(usize),
}

/// The sizes of a value with these two shapes.
pub(super) fn sizes([a, b]: [&[usize]; 2]) -> Result<Vec<Size>> {
    let size = |(&a, &b): (&usize, &usize)| match (a, b) {
        _ if a == b => Some(Size::Fixed(a)),
        _ if a * BATCHES[1] == b * BATCHES[0] && a % BATCHES[0] == 0 => Some(Size::Batch(a / BATCHES[0])),
        _ => None,
    };
    let all: Option<Vec<Size>> = a.iter().zip(b).map(size).collect();
    all.filter(|_| a.len() == b.len()).ok_or_else(|| {
        let what = format!("sizes {a:?} in a batch of {} and {b:?} in one of {}", BATCHES[0], BATCHES[1]);
        Error::Unsupported { what }
    })
}

/// A value of the graph.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) source: Source,
    pub(super) sizes: Vec<Size>,
    /// The shape for the first batch.
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) enum Source {
    Input,
    Constant(Tensor),
    /// A constant that is the same for each item: axes of the batch have one entry here.
    Repeated(Tensor),
    Operation {
        op: &'static str,
        operands: Vec<usize>,
        settings: Settings,
        /// The shape of what a lookup is told, where that is the input's ids.
        ids: Option<Vec<Size>>,
    },
}

fn write(item: &Shape, runs: &[Run; 2]) -> Result<Traced> {
    let nodes = compare(runs)?;
    let output = nodes.last().map(|node| node.sizes.clone()).unwrap_or_default();
    let fixed = |size: &Size| match size {
        Size::Fixed(size) => Some(*size),
        Size::Batch(_) => None,
    };
    let output: Option<Shape> = match output.split_first() {
        Some((Size::Batch(1), rest)) => rest.iter().map(fixed).collect(),
        _ => None,
    };
    let Some(output) = output else {
        let what = format!("an output of shape {}, which is not [batch, …]", runs[0].output.dims());
        return Err(Error::Unsupported { what });
    };
    let values = nodes.iter().map(|node| match &node.source {
        Source::Constant(tensor) | Source::Repeated(tensor) => 4 * tensor.len(),
        _ => 0,
    });
    let bytes: usize = values.sum();
    if bytes > MOST_BYTES / 2 {
        return Err(Error::Unsupported { what: format!("ONNX files of {bytes} bytes of values") });
    }
    let mut writer = Writer::new(item, runs[0].ids.is_some());
    for node in &nodes {
        writer.add(node, &nodes)?;
    }
    Ok(Traced { bytes: writer.finish(&output).into_bytes() })
}

/// The one graph that both runs recorded.
fn compare(runs: &[Run; 2]) -> Result<Vec<Node>> {
    let graphs = runs.each_ref().map(|run| run.output.graph());
    let other =
        || Error::Unsupported { what: "a forward pass that takes other ways for another batch".into() };
    if graphs[0].len() != graphs[1].len() {
        return Err(other());
    }
    let places = graphs.each_ref().map(|graph| Places::of(graph));
    let mut nodes: Vec<Node> = Vec::with_capacity(graphs[0].len());
    // Whether the input has a part in it; what only parameters have is a constant.
    let mut from_input: Vec<bool> = Vec::with_capacity(graphs[0].len());
    for (a, b) in graphs[0].iter().zip(&graphs[1]) {
        let pair = [a, b];
        let recorded = pair.map(Var::recorded);
        let (source, depends) = match recorded {
            [None, None] if runs[0].takes(a) && runs[1].takes(b) => (Source::Input, true),
            [Some(a), Some(b)] => {
                let operands = [places[0].find(&a.operands), places[1].find(&b.operands)];
                if a.op != b.op || operands[0] != operands[1] {
                    return Err(other());
                }
                let [operands, _] = operands;
                let ids = input_ids([&a.settings, &b.settings], runs)?;
                let depends = ids.is_some() || operands.iter().any(|&operand| from_input[operand]);
                if depends && ids.is_none() && a.settings != b.settings {
                    let what = format!("`{}` with settings that depend on the input or the batch", a.op);
                    return Err(Error::Unsupported { what });
                }
                let source = if depends {
                    Source::Operation { op: a.op, operands, settings: a.settings, ids }
                } else {
                    constant(pair)?
                };
                (source, depends)
            }
            [None, None] => (constant(pair).map_err(|error| used_by(error, a, &graphs[0]))?, false),
            _ => return Err(other()),
        };
        let sizes = sizes(pair.map(Var::shape))?;
        nodes.push(Node { source, sizes, shape: a.dims().clone() });
        from_input.push(depends);
    }
    if from_input.last() != Some(&true) {
        return Err(Error::Unsupported {
            what: "an output that no recorded operation made of the input".into(),
        });
    }
    Ok(nodes)
}

/// Where the variables of a graph stand in it, by their numbers.
struct Places(BTreeMap<u64, usize>);

impl Places {
    fn of(graph: &[Var]) -> Self {
        Places(graph.iter().enumerate().map(|(place, var)| (var.number(), place)).collect())
    }

    fn find(&self, vars: &[Var]) -> Vec<usize> {
        vars.iter().filter_map(|var| self.0.get(&var.number()).copied()).collect()
    }
}

/// Where a constant that cannot be one is used.
fn used_by(error: Error, leaf: &Var, graph: &[Var]) -> Error {
    let user = graph.iter().find_map(|var| {
        let recorded = var.recorded()?;
        recorded.operands.iter().any(|operand| operand.same(leaf)).then_some(recorded.op)
    });
    match (error, user) {
        (Error::Unsupported { what }, Some(op)) => Error::Unsupported { what: format!("`{op}` of {what}") },
        (error, _) => error,
    }
}

/// A value that the input has no part in, from what it was for the two batches.
fn constant(pair: [&Var; 2]) -> Result<Source> {
    let [a, b] = pair.map(Var::value);
    let same = |a: &Tensor, b: &Tensor| {
        a.shape() == b.shape() && a.iter().zip(b.iter()).all(|(a, b)| a.to_bits() == b.to_bits())
    };
    if same(a, b) {
        return Ok(Source::Constant(a.clone()));
    }
    let of_items = || {
        let one = |x: &Tensor| -> Result<Option<Tensor>> {
            let mut first = x.clone();
            for (axis, size) in sizes([a.shape(), b.shape()])?.into_iter().enumerate() {
                if matches!(size, Size::Batch(_)) {
                    first = first.narrow(axis, 0, 1)?;
                }
            }
            Ok(same(&first.broadcast_to(x.dims())?, x).then(|| first.contiguous()).transpose()?)
        };
        let (Some(a), Some(b)) = (one(a)?, one(b)?) else { return Ok(None) };
        Ok::<_, Error>(same(&a, &b).then_some(a))
    };
    match of_items() {
        Ok(Some(one)) => Ok(Source::Repeated(one)),
        _ => {
            let what = "a value that was computed from the input, or for the batch, outside the graph";
            Err(Error::Unsupported { what: what.into() })
        }
    }
}

/// The shape of the ids of a lookup if they are the input's.
fn input_ids(settings: [&Settings; 2], runs: &[Run; 2]) -> Result<Option<Vec<Size>>> {
    let [Settings::Ids(a), Settings::Ids(b)] = settings else { return Ok(None) };
    let is_input = |ids: &Tensor<u32>, run: &Run| {
        run.ids.as_ref().is_some_and(|input| input.len() == ids.len() && input.iter().eq(ids.iter()))
    };
    if is_input(a, &runs[0]) && is_input(b, &runs[1]) {
        return Ok(Some(sizes([a.shape(), b.shape()])?));
    }
    if a == b {
        return Ok(None);
    }
    Err(Error::Unsupported {
        what: "`lookup` of ids that are neither the input's nor the same for all".into(),
    })
}
