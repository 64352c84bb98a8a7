//! What a traced graph is written with: the names of its values, and shapes in which the batch is left open.

use std::collections::BTreeMap;

use cairn_autograd::Settings;
use cairn_tensor::{Shape, Tensor};

use super::graph::Graph;
use super::proto::{Attribute, Message};
use super::trace::{Node, Size, Source};
use crate::{Error, Result};

/// Writes the values of a traced graph one after the other.
pub(super) struct Writer {
    pub(super) graph: Graph,
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
pub(super) struct Call<'a> {
    pub(super) op: &'static str,
    pub(super) operands: Vec<&'a Node>,
    pub(super) places: &'a [usize],
    pub(super) settings: &'a Settings,
    pub(super) output: &'a Node,
}

impl Call<'_> {
    pub(super) fn unsupported(&self) -> Error {
        let what = match self.settings {
            Settings::None => format!("`{}` in ONNX", self.op),
            settings => format!("`{}` with {settings:?} in ONNX", self.op),
        };
        Error::Unsupported { what }
    }

    /// An operand that must not depend on the input.
    pub(super) fn constant(&self, i: usize) -> Result<&Tensor> {
        match self.operands.get(i).map(|node| &node.source) {
            Some(Source::Constant(tensor)) => Ok(tensor),
            _ => {
                let what = format!("`{}` with weights that depend on the input in ONNX", self.op);
                Err(Error::Unsupported { what })
            }
        }
    }

    pub(super) fn optional(&self, i: usize) -> Result<Option<Tensor>> {
        if i < self.operands.len() { Ok(Some(self.constant(i)?.clone())) } else { Ok(None) }
    }
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
                self.graph.value.clone_from(&name);
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
    pub(super) fn operand(&mut self, call: &Call<'_>, i: usize) -> Result<String> {
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

    pub(super) fn operands(&mut self, call: &Call<'_>) -> Result<Vec<String>> {
        (0..call.places.len()).map(|i| self.operand(call, i)).collect()
    }

    /// The input, perhaps in another shape.
    pub(super) fn input(&mut self, sizes: &[Size]) -> String {
        if sizes == self.sizes { "input".into() } else { self.reshape("input".into(), sizes) }
    }

    /// A shape as a value.
    pub(super) fn shape(&mut self, sizes: &[Size]) -> String {
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

    pub(super) fn reshape(&mut self, x: String, sizes: &[Size]) -> String {
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
}
