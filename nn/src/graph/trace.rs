//! A graph from a forward pass.
//!
//! The pass is run on several made-up batches of different sizes, and the graphs that it records are compared node by node. What is
//! equal in all is the model. Whatever differs must be explained by the sizes that are open; what is not was
//! computed from an input behind the graph's back, and would be frozen as it was for a made-up input, so it is refused, by the
//! name of the operation that uses it.

use std::collections::HashMap;

use cairn_autograd::op::{Op, Reduce, Spans, View};
use cairn_autograd::{self as autograd, RecordedIds, Source as Operand, Var};
use cairn_tensor::{Shape, Tensor, rng};

use super::size::{Dim, MOST_OPEN, Probes, Size};
use super::{Constant, Graph, Input, InputKind, Node, Open, Source};
use crate::{Error, Result, Value};

/// What the pass made of one batch.
struct Run {
    inputs: Vec<Value>,
    output: Var,
    /// All of the output's graph, each after its operands.
    graph: Vec<Var>,
    /// Where each stands in it.
    positions: HashMap<u64, usize>,
    ids: Vec<RecordedIds>,
}

pub(super) fn trace(inputs: &[Input], forward: &dyn Fn(&[Value]) -> Result<Var>) -> Result<Graph> {
    let mut open: Vec<&'static str> = Vec::new();
    for dim in inputs.iter().flat_map(|input| &input.sizes) {
        if let Dim::Open(name) = dim
            && !open.contains(name)
        {
            open.push(name);
        }
    }
    if open.len() > MOST_OPEN {
        return Err(unsupported(format!("more than {MOST_OPEN} open sizes")));
    }
    let probes = Probes::new(open.len());
    let runs = probes.runs.iter().zip(0..).map(|(values, seed)| {
        let size = |dim: &Dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Open(name) => {
                open.iter().zip(values).find(|(own, _)| *own == name).map_or(1, |(_, &size)| size)
            }
        };
        let made = inputs.iter().map(|input| made_up(input, &size, seed)).collect::<Result<Vec<_>>>()?;
        let traced = autograd::trace(|| forward(&made));
        let output = traced.result?;
        let graph = output.graph();
        let positions = graph.iter().enumerate().map(|(position, var)| (var.id(), position)).collect();
        Ok(Run { inputs: made, output, graph, positions, ids: traced.ids })
    });
    let runs = runs.collect::<Result<_>>()?;
    let graph = Graph { inputs: inputs.to_vec(), open, nodes: Vec::new(), output: 0 };
    Builder { probes, runs, graph, depends: Vec::new(), known_ids: Vec::new() }.build()
}

/// An input for a run.
fn made_up(input: &Input, size: &dyn Fn(&Dim) -> usize, seed: u32) -> Result<Value> {
    let shape: Shape = input.sizes.iter().map(size).collect();
    let count = shape.count() as u32;
    // Neighbours differ, so that no sequence is all padding, and runs differ, so that inputs are told from constants.
    let ids = |below: u32| (0..count).map(|i| (i + 3 * seed + i / 7) % below).collect::<Vec<u32>>();
    Ok(match input.kind {
        InputKind::Floats => Value::Floats(Tensor::normal(shape, 0.0, 1.0, &mut rng(seed.into()))?.into()),
        InputKind::Ids(0) => {
            return Err(Error::BadSetting { what: "the vocabulary", value: 0.0, must: "at least 1" });
        }
        InputKind::Ids(vocabulary) => Value::Ids(Tensor::from_vec(ids(vocabulary), shape)?),
        InputKind::Lengths(most) => {
            let most = size(&most) as u32;
            let lengths = ids(most.max(1)).into_iter().map(|id| most - id).collect();
            Value::Ids(Tensor::from_vec(lengths, shape)?)
        }
    })
}

fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported { what: what.into() }
}

struct Builder {
    probes: Probes,
    runs: Vec<Run>,
    graph: Graph,
    /// Whether an input has a part in each node.
    depends: Vec<bool>,
    /// Ids that have a node already, as they are in the first run.
    known_ids: Vec<(Tensor<u32>, usize)>,
}

impl Builder {
    fn build(mut self) -> Result<Graph> {
        for i in 0..self.graph.inputs.len() {
            let sizes = self.graph.inputs[i].sizes.iter().map(|&dim| self.graph.size_of(dim)).collect();
            self.push(Source::Input(i), sizes, None, true);
        }
        let count = self.runs[0].graph.len();
        if self.runs.iter().any(|run| run.graph.len() != count) {
            return Err(unsupported("a forward pass that takes other ways for another batch"));
        }
        let mut nodes = Vec::with_capacity(count);
        for position in 0..count {
            let node = self.node(position, &nodes)?;
            nodes.push(node);
        }
        let [.., output] = nodes[..] else { return Err(unsupported("an output without a graph")) };
        if !self.depends[output] {
            return Err(unsupported("an output that no recorded operation made of the input"));
        }
        self.graph.output = output;
        if self.graph.nodes[output].sizes.first().and_then(Size::as_open).is_none() {
            let shape = self.runs[0].output.dims();
            return Err(unsupported(format!("an output of shape {shape}, which is not [batch, …]")));
        }
        self.graph.prune();
        Ok(self.graph)
    }

    fn push(
        &mut self,
        source: Source,
        sizes: Vec<Size>,
        scope: Option<std::sync::Arc<str>>,
        depends: bool,
    ) -> usize {
        self.graph.nodes.push(Node { source, sizes, scope });
        self.depends.push(depends);
        self.graph.nodes.len() - 1
    }

    /// The sizes of the variables at this position of the runs' graphs.
    fn sizes_at(&self, position: usize) -> Result<Vec<Size>> {
        self.sizes(&self.runs.iter().map(|run| run.graph[position].shape()).collect::<Vec<_>>())
    }

    /// Sizes from what they were in the runs.
    fn sizes(&self, shapes: &[&[usize]]) -> Result<Vec<Size>> {
        let rank = shapes[0].len();
        let size = |axis: usize| {
            let probed: Option<Vec<usize>> = shapes.iter().map(|shape| shape.get(axis).copied()).collect();
            self.probes.size(&probed?)
        };
        let sizes: Option<Vec<Size>> = (0..rank).map(size).collect();
        sizes.filter(|_| shapes.iter().all(|shape| shape.len() == rank)).ok_or_else(|| {
            let all: Vec<String> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
            unsupported(format!("sizes that those of the input do not explain: {}", all.join(", ")))
        })
    }

    /// The node for the variable at this position of the runs' graphs.
    fn node(&mut self, position: usize, nodes: &[usize]) -> Result<usize> {
        let vars: Vec<Var> = self.runs.iter().map(|run| run.graph[position].clone()).collect();
        let records: Vec<_> = vars.iter().map(Var::recorded).collect();
        let records: Vec<_> = match records.into_iter().collect::<Option<Vec<_>>>() {
            Some(records) => records,
            None if vars.iter().all(|var| var.recorded().is_none()) => return self.leaf(&vars, position),
            None => return Err(unsupported("a forward pass that takes other ways for another batch")),
        };
        let first = &records[0];
        let name = first.op.name();
        if records
            .iter()
            .any(|record| record.op.name() != name || record.operands.len() != first.operands.len())
        {
            return Err(unsupported("a forward pass that takes other ways for another batch"));
        }
        let mut operands = Vec::with_capacity(first.operands.len());
        for i in 0..first.operands.len() {
            let each: Vec<&Operand> = records.iter().map(|record| &record.operands[i]).collect();
            operands.push(self.operand(&each, name, nodes)?);
        }
        let sizes = self.sizes_at(position)?;
        let scope = first.scope.clone();
        if !operands.iter().any(|&operand| self.depends[operand]) {
            // What only parameters have a part in is a constant.
            let source = self.constant(&vars, &sizes)?;
            return Ok(self.push(source, sizes, scope, false));
        }
        let ops: Vec<&Op> = records.iter().map(|record| &record.op).collect();
        let open = self.open(&ops)?;
        let source = Source::Operation { op: first.op.clone(), operands, open };
        Ok(self.push(source, sizes, scope, true))
    }

    /// A variable that nothing was computed into: an input, as it is or as a new variable of its tensor, perhaps under another
    /// shape; or a constant.
    fn leaf(&mut self, vars: &[Var], position: usize) -> Result<usize> {
        let sizes = self.sizes_at(position);
        if let Some(input) = (0..self.graph.inputs.len()).find(|&i| self.is_input(i, vars)) {
            let sizes = sizes?;
            if self.graph.nodes[input].sizes == sizes {
                return Ok(input);
            }
            let op = View::Reshape { shape: vars[0].dims().clone() }.into();
            let source = Source::Operation { op, operands: vec![input], open: Open::Sizes };
            return Ok(self.push(source, sizes, None, true));
        }
        let sizes = sizes?;
        let source = self.constant(vars, &sizes).map_err(|error| self.used_by(error, position))?;
        Ok(self.push(source, sizes, None, false))
    }

    /// Whether the variables hold all elements of this input, in order.
    fn is_input(&self, i: usize, vars: &[Var]) -> bool {
        self.runs.iter().zip(vars).all(|(run, var)| match &run.inputs[i] {
            Value::Floats(input) => {
                let (input, var) = (input.value(), var.value());
                input.shares_storage(var) && input.len() == var.len() && var.is_contiguous()
            }
            Value::Ids(_) => false,
        })
    }

    /// A value that no input has a part in, from what it was in the runs.
    fn constant(&self, vars: &[Var], sizes: &[Size]) -> Result<Source> {
        let (first, rest) = (vars[0].value(), &vars[1..]);
        if rest.iter().all(|var| var.same(&vars[0]) || same_bits(first, var.value())) {
            return Ok(Source::Constant(Constant::Floats(first.clone())));
        }
        let one = |x: &Tensor| -> Result<Option<Tensor>> {
            let mut item = x.clone();
            for axis in (0..sizes.len()).filter(|&axis| sizes[axis].as_fixed().is_none()) {
                item = item.narrow(axis, 0, 1)?;
            }
            Ok(same_bits(&item.broadcast_to(x.dims())?, x).then(|| item.contiguous()).transpose()?)
        };
        let items: Option<Vec<Tensor>> =
            vars.iter().map(|var| one(var.value())).collect::<Result<Vec<_>>>()?.into_iter().collect();
        match items {
            Some(items) if items.iter().all(|item| same_bits(item, &items[0])) => {
                Ok(Source::Repeated(items[0].clone()))
            }
            _ => Err(unsupported(
                "a value that was computed from the input, or for the batch, outside the graph",
            )),
        }
    }

    /// Where a constant that cannot be one is used.
    fn used_by(&self, error: Error, position: usize) -> Error {
        let run = &self.runs[0];
        let user = run.graph.iter().find_map(|var| {
            let record = var.recorded()?;
            let uses = |operand: &Operand| matches!(operand, Operand::Var(x) if x.same(&run.graph[position]));
            record.operands.iter().any(uses).then(|| record.op.name())
        });
        match (error, user) {
            (Error::Unsupported { what }, Some(op)) => unsupported(format!("`{op}` of {what}")),
            (error, _) => error,
        }
    }

    /// The node of an operand, from what it was in the runs.
    fn operand(&mut self, each: &[&Operand], op: &str, nodes: &[usize]) -> Result<usize> {
        let kinds = || unsupported("a forward pass that takes other ways for another batch");
        match each[0] {
            Operand::Var(_) => {
                let position = |(run, operand): (&Run, &&Operand)| match operand {
                    Operand::Var(var) => run.positions.get(&var.id()).copied(),
                    _ => None,
                };
                let mut positions = self.runs.iter().zip(each).map(position);
                let first = positions.next().flatten().ok_or_else(kinds)?;
                if positions.any(|other| other != Some(first)) {
                    return Err(kinds());
                }
                Ok(nodes[first])
            }
            Operand::Ids(_) => {
                let ids: Option<Vec<Tensor<u32>>> = each
                    .iter()
                    .map(|operand| match operand {
                        Operand::Ids(ids) => Some(ids.clone()),
                        _ => None,
                    })
                    .collect();
                self.ids(&ids.ok_or_else(kinds)?, op)
            }
            Operand::Mask(mask) => {
                let same = |operand: &&Operand| matches!(operand, Operand::Mask(other) if other == mask);
                if !each.iter().all(same) {
                    return Err(unsupported(format!(
                        "`{op}` with a mask that was computed from the input, for the batch, or at random"
                    )));
                }
                let sizes = mask.shape().iter().map(|&size| Size::fixed(size)).collect();
                Ok(self.push(Source::Constant(Constant::Mask(mask.clone())), sizes, None, false))
            }
            Operand::Stored(weights) => {
                let same =
                    |operand: &&Operand| matches!(operand, Operand::Stored(other) if other.bits_eq(weights));
                if !each.iter().all(same) {
                    return Err(kinds());
                }
                let sizes = weights.shape().iter().map(|&size| Size::fixed(size)).collect();
                let source = Source::Constant(Constant::Stored(weights.clone()));
                Ok(self.push(source, sizes, None, false))
            }
        }
    }

    /// The node of ids, from what they were in the runs: an input, perhaps under another shape, what an operation made of ids, or
    /// the same in all.
    fn ids(&mut self, each: &[Tensor<u32>], op: &str) -> Result<usize> {
        let known = |(ids, _): &&(Tensor<u32>, usize)| {
            ids.shares_storage(&each[0])
                && ids.shape() == each[0].shape()
                && ids.strides() == each[0].strides()
        };
        if let Some(&(_, node)) = self.known_ids.iter().find(known) {
            return Ok(node);
        }
        let sizes = self.sizes(&each.iter().map(Tensor::shape).collect::<Vec<_>>())?;
        let node = match self.origin_of(each) {
            Some(Origin::Input(input)) if self.graph.nodes[input].sizes == sizes => input,
            Some(Origin::Input(operand)) => self.push(Source::Reshaped { operand }, sizes, None, true),
            Some(Origin::Made(record, operand)) => {
                let operand = self.ids(&operand, op)?;
                let depends = self.depends[operand];
                self.push(Source::Ids { op: record.op, operand }, sizes, record.scope, depends)
            }
            None if each.iter().all(|ids| *ids == each[0]) => {
                self.push(Source::Constant(Constant::Ids(each[0].clone())), sizes, None, false)
            }
            None => {
                let what = format!("`{op}` of ids that are neither the input's nor the same for all");
                return Err(unsupported(what));
            }
        };
        self.known_ids.push((each[0].clone(), node));
        Ok(node)
    }

    fn origin_of(&self, each: &[Tensor<u32>]) -> Option<Origin> {
        // Two inputs may have the same elements: the storage says which it is, where it was not copied.
        let of_input = |i: usize, copied: bool| {
            self.runs.iter().zip(each).all(|(run, ids)| match &run.inputs[i] {
                Value::Ids(input) if input.len() == ids.len() => {
                    (copied || input.shares_storage(ids)) && input.iter().eq(ids.iter())
                }
                Value::Ids(_) | Value::Floats(_) => false,
            })
        };
        let made = |i: usize| {
            let record = |(run, ids): (&Run, &Tensor<u32>)| {
                run.ids
                    .get(i)
                    .filter(|record| record.result.shares_storage(ids))
                    .map(|record| record.operand.clone())
            };
            self.runs.iter().zip(each).map(record).collect::<Option<Vec<_>>>()
        };
        let from_ids = (0..self.runs[0].ids.len()).find_map(|i| {
            made(i).map(|operand| Origin::Made(Box::new(self.runs[0].ids[i].clone()), operand))
        });
        let input = |copied: bool| (0..self.graph.inputs.len()).find(|&i| of_input(i, copied));
        from_ids.or_else(|| input(false).or_else(|| input(true)).map(Origin::Input))
    }

    /// What of the operation's attributes depends on batch and time.
    fn open(&self, ops: &[&Op]) -> Result<Open> {
        let differs = || {
            let what = format!("`{}` with settings that depend on the input or the batch", ops[0].name());
            unsupported(what)
        };
        if ops.iter().all(|op| op == &ops[0]) {
            return Ok(Open::Nothing);
        }
        let without: Vec<(Op, Option<usize>)> = ops.iter().map(|op| without_sizes(op)).collect();
        if without.iter().any(|(op, _)| *op != without[0].0) {
            return Err(differs());
        }
        let starts: Option<Vec<usize>> = without.iter().map(|(_, start)| *start).collect();
        match starts {
            None => Ok(Open::Sizes),
            Some(starts) => self.probes.size(&starts).map(Open::SizesFrom).ok_or_else(differs),
        }
    }
}

/// Where ids come from.
enum Origin {
    Input(usize),
    /// What an operation on ids made of these, which are what they were in the runs.
    Made(Box<RecordedIds>, Vec<Tensor<u32>>),
}

fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    a.shape() == b.shape() && a.iter().zip(b.iter()).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// An operation without the sizes of its result, and the first entry that it takes of an axis.
fn without_sizes(op: &Op) -> (Op, Option<usize>) {
    let (op, start) = match op {
        Op::View(View::Narrow { start, .. }) => (op, Some(*start)),
        Op::View(View::Index { index, .. }) => (op, Some(*index)),
        _ => (op, None),
    };
    (with_sizes(op, &Shape::default(), 0), start)
}

/// An operation with its sizes, and the first entry that it takes, replaced.
pub(super) fn with_sizes(op: &Op, sizes: &Shape, start: usize) -> Op {
    let size = |axis: usize| sizes.get(axis).copied().unwrap_or(0);
    match op {
        Op::View(View::Reshape { .. }) => View::Reshape { shape: sizes.clone() }.into(),
        Op::View(View::Broadcast { .. }) => View::Broadcast { shape: sizes.clone() }.into(),
        Op::Reduce(Reduce::SumTo { .. }) => Reduce::SumTo { shape: sizes.clone() }.into(),
        Op::Spans(Spans::Valid { .. }) => Spans::Valid { time: size(1) }.into(),
        Op::View(View::Narrow { axis, .. }) => View::Narrow { axis: *axis, start, len: size(*axis) }.into(),
        Op::View(View::Index { axis, .. }) => View::Index { axis: *axis, index: start }.into(),
        other => other.clone(),
    }
}
