//! The table of a model's layers, with what each costs.
//!
//! Memory is that of parameters and buffers, in the element types they have. Operations are floating-point operations of a forward pass
//! for one sample: a multiply-add of a dense layer or convolution counts as two, taps on padding included; bias,
//! activation, normalisation and pooling, which cost little beside, are not counted. That is how PyTorch's
//! `FlopCounterMode` counts.

use std::fmt;

use cairn_tensor::AnyTensor;

use crate::{Layer, Module, Part, Sequential, Visitor};

/// A model's layers with their output shapes and numbers of parameters; print it with `{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// One for each layer.
    pub layers: Vec<LayerSummary>,
    /// Parameter values in all.
    pub parameters: usize,
    /// Those that are not frozen.
    pub trainable: usize,
    /// Bytes of parameters and buffers.
    pub bytes: usize,
    /// Floating-point operations of a forward pass for one sample, where they are known of every layer: two for each
    /// multiply-add of dense layers and convolutions.
    pub flops: Option<u64>,
}

/// One line of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// Name and kind, as `dense_1 (dense)`.
    pub layer: String,
    /// The output's shape; `None` stands for the batch.
    pub output: String,
    /// The shapes of its parameters and buffers, in order.
    pub weights: String,
    /// Parameter values.
    pub parameters: usize,
    /// Bytes of parameters and buffers.
    pub bytes: usize,
    /// Floating-point operations of a forward pass for one sample, as in [`Summary::flops`]; `None` where it is not known.
    pub flops: Option<u64>,
}

impl Sequential {
    /// The table of layers.
    ///
    /// ```
    /// use cairn_nn::{Sequential, spec::Dense};
    /// let model = Sequential::new([4]).add(Dense::new(3)).build(&mut cairn_tensor::rng(0))?;
    /// assert_eq!(model.summary().parameters, 4 * 3 + 3);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    pub fn summary(&self) -> Summary {
        let flops = self.graph().ok().map(|graph| graph.flops_by_scope(&[1]));
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|named| {
                let flops = flops.as_ref().map(|counts| counts.get(&named.name).copied().unwrap_or(0));
                LayerSummary {
                    layer: format!("{} ({})", named.name, named.spec.kind()),
                    output: named
                        .output
                        .iter()
                        .fold("(None".into(), |text: String, size| format!("{text}, {size}"))
                        + ")",
                    weights: weights(&*named.layer),
                    parameters: named.layer.parameter_count(),
                    bytes: named.layer.state().values().map(AnyTensor::byte_count).sum(),
                    flops,
                }
            })
            .collect();
        Summary {
            parameters: self.parameter_count(),
            trainable: self.trainable_count(),
            bytes: layers.iter().map(|layer| layer.bytes).sum(),
            flops: layers.iter().map(|layer| layer.flops).sum(),
            layers,
        }
    }
}

/// `3x3x32x64, 64`
fn weights(layer: &dyn Layer) -> String {
    let mut shapes = Vec::new();
    layer.visit(&mut Visitor::new(&mut |_, part| shapes.push(shape(part))));
    shapes.join(", ")
}

fn shape(part: Part<'_>) -> String {
    let shape = match part {
        Part::Parameter(parameter) => parameter.shape(),
        Part::Buffer(buffer) => buffer.shape(),
    };
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

impl Summary {
    /// The table of any module's parts that have values, by the path of each; tied values under their first. What a part puts out, and
    /// what it costs, depends on how the module uses it, and is not known: see [`Graph::flops`](crate::graph::Graph::flops).
    pub(crate) fn of(module: &(impl Module + ?Sized)) -> Self {
        let mut layers: Vec<LayerSummary> = Vec::new();
        module.visit(&mut Visitor::new(&mut |path, part| {
            let layer = path.rsplit_once('.').map_or("", |(layer, _)| layer);
            if layers.last().is_none_or(|last| last.layer != layer) {
                layers.push(LayerSummary {
                    layer: layer.to_owned(),
                    output: String::new(),
                    weights: String::new(),
                    parameters: 0,
                    bytes: 0,
                    flops: None,
                });
            }
            let Some(last) = layers.last_mut() else { return };
            let (parameters, value) = match part {
                Part::Parameter(parameter) => (parameter.len(), parameter.any()),
                Part::Buffer(buffer) => (0, buffer.any()),
            };
            last.parameters += parameters;
            last.bytes += value.byte_count();
            if !last.weights.is_empty() {
                last.weights += ", ";
            }
            last.weights += &shape(part);
        }));
        Summary {
            parameters: module.parameter_count(),
            trainable: module.trainable_count(),
            bytes: layers.iter().map(|layer| layer.bytes).sum(),
            flops: None,
            layers,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            ["Layer (kind)", "Output shape", "Weights", "Parameters", "Memory", "FLOPs"].map(String::from);
        let row = |layer: &LayerSummary| {
            let LayerSummary { layer, output, weights, parameters, bytes, flops } = layer.clone();
            [layer, output, weights, parameters.to_string(), size(bytes), count(flops)]
        };
        let rows: Vec<[String; 6]> = self.layers.iter().map(row).collect();
        let widths: [usize; 6] = std::array::from_fn(|i| {
            rows.iter().chain([&head]).map(|row| row[i].chars().count()).max().unwrap_or(0)
        });
        let line = |f: &mut fmt::Formatter<'_>, row: &[String; 6]| {
            // Text begins, and numbers end, at the same column in every line.
            let cells: [String; 6] = std::array::from_fn(|i| {
                let (cell, width) = (&row[i], widths[i]);
                if i < 3 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            writeln!(f, "{}", cells.join("  ").trim_end())
        };
        let rule = "─".repeat(widths.iter().sum::<usize>() + 2 * 5);
        line(f, &head)?;
        writeln!(f, "{rule}")?;
        for row in &rows {
            line(f, row)?;
        }
        writeln!(f, "{rule}")?;
        write!(
            f,
            "{} parameters, {} trainable; {} of values; {} FLOPs a sample",
            self.parameters,
            self.trainable,
            size(self.bytes),
            count(self.flops)
        )
    }
}

/// `12.5 KiB`
fn size(bytes: usize) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

/// `12.5 M`
fn count(flops: Option<u64>) -> String {
    let Some(flops) = flops else { return "?".into() };
    let mut value = flops as f64;
    for unit in ["", " k", " M", " G"] {
        if value < 1000.0 {
            return if unit.is_empty() { flops.to_string() } else { format!("{value:.1}{unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} T")
}
