//! What a trained model computes, as one graph: taken from any forward pass, and what everything after training works on.
//!
//! A forward pass is written once, in a struct's `forward` or as a [`Sequential`](crate::Sequential). [`Graph::trace`] runs it on
//! made-up inputs of several sizes and compares what was recorded: where the runs agree is the model, a size that grows with the
//! batch is the batch, one that grows with the length of sequences is time. From the graph follow the frozen form
//! ([`Frozen`], after fusion), the count of FLOPs, and export ([`onnx`](crate::onnx)).
//!
//! The operations are autograd's own ([`Op`]): what they compute, their FLOPs and their names are said there.

mod frozen;
mod fuse;
mod size;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_autograd::op::{IdsOp, Op};
use cairn_tensor::{AnyTensor, Shape, Tensor};

pub use frozen::{Frozen, Scratch};
pub use size::Dim;
pub(crate) use size::{Size, shape_at};

use crate::{Result, Value};

/// What one input of a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub(crate) kind: InputKind,
    pub(crate) sizes: Vec<Dim>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputKind {
    Floats,
    /// Ids below this number.
    Ids(u32),
    /// Lengths of sequences, from 1 to this size.
    Lengths(Dim),
}

impl Input {
    /// Floats `[batch, …]`, each item of this shape.
    pub fn floats(item: impl Into<Shape>) -> Self {
        Input::floats_of(batch_of(&item.into()))
    }

    /// Ids `[batch, …]` below `vocabulary`, each item of this shape.
    pub fn ids(item: impl Into<Shape>, vocabulary: u32) -> Self {
        Input::ids_of(batch_of(&item.into()), vocabulary)
    }

    /// Floats `[batch, time, …]`, each step of this shape, with any number of steps.
    pub fn sequences(step: impl Into<Shape>) -> Self {
        let mut sizes = batch_of(&step.into());
        sizes.insert(1, Dim::TIME);
        Input::floats_of(sizes)
    }

    /// Ids `[batch, time]` below `vocabulary`, with any number of steps.
    pub fn id_sequences(vocabulary: u32) -> Self {
        Input::ids_of([Dim::BATCH, Dim::TIME], vocabulary)
    }

    /// Lengths `[batch]` of the sequences of another input.
    pub fn lengths() -> Self {
        Input::lengths_of([Dim::BATCH], Dim::TIME)
    }

    /// Floats of these sizes, of which some may be open.
    pub fn floats_of(sizes: impl Into<Vec<Dim>>) -> Self {
        Input { kind: InputKind::Floats, sizes: sizes.into() }
    }

    /// Ids below `vocabulary` of these sizes, of which some may be open.
    pub fn ids_of(sizes: impl Into<Vec<Dim>>, vocabulary: u32) -> Self {
        Input { kind: InputKind::Ids(vocabulary), sizes: sizes.into() }
    }

    /// Lengths of these sizes, each from 1 to `most`.
    pub fn lengths_of(sizes: impl Into<Vec<Dim>>, most: Dim) -> Self {
        Input { kind: InputKind::Lengths(most), sizes: sizes.into() }
    }
}

fn batch_of(item: &Shape) -> Vec<Dim> {
    std::iter::once(Dim::BATCH).chain(item.iter().map(|&size| Dim::Fixed(size))).collect()
}

/// A traced model.
///
/// ```
/// use cairn_autograd::Var;
/// use cairn_nn::graph::{Graph, Input};
/// use cairn_nn::{Linear, Module};
/// use cairn_tensor::{Tensor, rng};
///
/// #[derive(Module)]
/// struct Block {
///     up: Linear,
///     down: Linear,
/// }
///
/// impl Block {
///     fn forward(&self, x: &Var) -> cairn_nn::Result<Var> {
///         Ok(x.add(&self.down.forward(&self.up.forward(x)?.gelu()?)?)?)
///     }
/// }
///
/// let mut rng = rng(0);
/// let block = Block { up: Linear::new(8, 32, &mut rng)?, down: Linear::new(32, 8, &mut rng)? };
/// let graph = Graph::trace(&[Input::floats([8])], |inputs| block.forward(&inputs[0].clone().floats()?))?;
/// assert_eq!(graph.flops(&[1]), 2 * 2 * 8 * 32); // of one item
/// let frozen = graph.frozen()?;
/// assert_eq!(frozen.predict_batch(Tensor::<f32>::zeros([5, 8])?)?.shape(), [5, 8]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Graph {
    pub(crate) inputs: Vec<Input>,
    /// The names of the sizes that are open.
    pub(crate) open: Vec<&'static str>,
    /// The inputs first, then each node after its operands.
    pub(crate) nodes: Vec<Node>,
    /// Which node is the result.
    pub(crate) output: usize,
}

/// A value of a graph.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) source: Source,
    pub(crate) sizes: Vec<Size>,
    /// The part of the model that it belongs to.
    pub(crate) scope: Option<Arc<str>>,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The input of this number.
    Input(usize),
    Constant(Constant),
    /// A constant of which axes that grow with batch or time have one entry here, which is repeated.
    Repeated(Tensor),
    Operation {
        op: Op,
        operands: Vec<usize>,
        open: Open,
    },
    /// An operation on ids.
    Ids {
        op: IdsOp,
        operand: usize,
    },
    /// Ids under another shape.
    Reshaped {
        operand: usize,
    },
}

/// What of an operation's attributes depends on batch or time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Open {
    Nothing,
    /// The sizes that it names are those of its result.
    Sizes,
    /// So is the first entry that is taken.
    SizesFrom(Size),
}

/// A value that no input has a part in.
#[derive(Debug, Clone)]
pub(crate) enum Constant {
    Floats(Tensor),
    Ids(Tensor<u32>),
    Mask(Tensor<bool>),
    Stored(AnyTensor),
}

impl Node {
    /// What it is computed from.
    pub(crate) fn operands(&self) -> &[usize] {
        match &self.source {
            Source::Operation { operands, .. } => operands,
            Source::Ids { operand, .. } | Source::Reshaped { operand } => std::slice::from_ref(operand),
            Source::Input(_) | Source::Constant(_) | Source::Repeated(_) => &[],
        }
    }

    pub(crate) fn op(&self) -> Option<&Op> {
        match &self.source {
            Source::Operation { op, .. } => Some(op),
            _ => None,
        }
    }

    /// Its shape where the open sizes have these values.
    pub(crate) fn shape(&self, open: &[usize]) -> Shape {
        shape_at(&self.sizes, open)
    }
}

impl Graph {
    /// Traces a forward pass, which has to be one at inference ([`Context::eval`](crate::Context::eval)) and the same for every
    /// batch: what it decides by the values of its inputs is not seen. It is run several times, on few random items each.
    ///
    /// # Errors
    /// Those of the pass; [`Error::Unsupported`](crate::Error::Unsupported) for what depends on an input, or on a size, in a way that no operation shows (a
    /// tensor taken out by `value()`, say), naming the operation that uses it.
    pub fn trace(
        inputs: &[Input],
        forward: impl Fn(&[Value]) -> Result<cairn_autograd::Var>,
    ) -> Result<Self> {
        trace::trace(inputs, &forward)
    }

    /// What the model takes.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The names of the sizes that are left open, in the order in which their values are given: first the batch, as a rule.
    pub fn open(&self) -> &[&'static str] {
        &self.open
    }

    /// Floating-point operations of a forward pass where the [open sizes](Self::open) have these values: two for each multiply-add
    /// of a product, see [`Op::flops`]. A size that is not given is 1.
    pub fn flops(&self, open: &[usize]) -> u64 {
        self.flops_by_scope(open).into_values().fold(0, u64::saturating_add)
    }

    /// [`flops`](Self::flops) of each part of the model: of each layer of a [`Sequential`](crate::Sequential), by its name. What
    /// belongs to no named part stands under the empty name.
    pub fn flops_by_scope(&self, open: &[usize]) -> BTreeMap<String, u64> {
        let open = self.values(open);
        let mut counts = BTreeMap::new();
        for node in &self.nodes {
            let Some(op) = node.op() else { continue };
            let shapes: Vec<Shape> =
                node.operands().iter().map(|&operand| self.nodes[operand].shape(&open)).collect();
            let operands: Vec<&[usize]> = shapes.iter().map(|shape| &**shape).collect();
            let scope = node.scope.as_deref().unwrap_or_default().to_owned();
            let count: &mut u64 = counts.entry(scope).or_default();
            *count = count.saturating_add(op.flops(&operands, &node.shape(&open)));
        }
        counts
    }

    /// A value for each open size.
    pub(crate) fn values(&self, open: &[usize]) -> Vec<usize> {
        (0..self.open.len()).map(|i| open.get(i).copied().unwrap_or(1)).collect()
    }

    /// The size of an input.
    pub(crate) fn size_of(&self, dim: Dim) -> Size {
        match dim {
            Dim::Fixed(size) => Size::fixed(size),
            Dim::Open(name) => Size::open(self.open.iter().position(|&own| own == name).unwrap_or(0)),
        }
    }

    /// How often each node is used, as an operand or as the result.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        uses[self.output] += 1;
        for node in &self.nodes {
            for &operand in node.operands() {
                uses[operand] += 1;
            }
        }
        uses
    }

    /// Drops the nodes that the result does not need; the inputs stay.
    pub(crate) fn prune(&mut self) {
        let mut needed = vec![false; self.nodes.len()];
        needed[..self.inputs.len()].fill(true);
        needed[self.output] = true;
        for i in (0..self.nodes.len()).rev() {
            if needed[i] {
                for &operand in self.nodes[i].operands() {
                    needed[operand] = true;
                }
            }
        }
        let mut place = vec![0; self.nodes.len()];
        let mut kept = Vec::new();
        for (i, mut node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            if !needed[i] {
                continue;
            }
            place[i] = kept.len();
            match &mut node.source {
                Source::Operation { operands, .. } => {
                    operands.iter_mut().for_each(|operand| *operand = place[*operand]);
                }
                Source::Ids { operand, .. } | Source::Reshaped { operand } => *operand = place[*operand],
                Source::Input(_) | Source::Constant(_) | Source::Repeated(_) => {}
            }
            kept.push(node);
        }
        self.output = place[self.output];
        self.nodes = kept;
    }

    /// A node's value if it is a constant of floats.
    pub(crate) fn constant(&self, node: usize) -> Option<&Tensor> {
        match &self.nodes[node].source {
            Source::Constant(Constant::Floats(tensor)) => Some(tensor),
            _ => None,
        }
    }
}
