//! The table of a model's layers.

use std::fmt;

use crate::{Layer, Module as _, Part, Sequential, Visitor};

/// A model's layers with their output shapes and numbers of parameters; print it with `{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// One for each layer.
    pub layers: Vec<LayerSummary>,
    /// Parameter values in all.
    pub parameters: usize,
    /// Those that are not frozen.
    pub trainable: usize,
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
}

impl Sequential {
    /// The table of layers.
    ///
    /// ```
    /// use cairn_nn::{Dense, Sequential};
    /// let model = Sequential::new([4]).add(Dense::new(3)).build(&mut cairn_tensor::rng(0))?;
    /// assert_eq!(model.summary().parameters, 4 * 3 + 3);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    pub fn summary(&self) -> Summary {
        let layers = self
            .layers
            .iter()
            .map(|named| LayerSummary {
                layer: format!("{} ({})", named.name, named.spec.kind()),
                output: named
                    .output
                    .iter()
                    .fold("(None".into(), |text: String, size| format!("{text}, {size}"))
                    + ")",
                weights: weights(&*named.layer),
                parameters: named.layer.parameter_count(),
            })
            .collect();
        Summary { layers, parameters: self.parameter_count(), trainable: self.trainable_count() }
    }
}

/// `3x3x32x64, 64`
fn weights(layer: &dyn Layer) -> String {
    let mut shapes = Vec::new();
    layer.visit(&mut Visitor::new(&mut |_, part| {
        let shape = match part {
            Part::Parameter(var) => var.shape(),
            Part::Buffer(tensor) => tensor.shape(),
        };
        shapes.push(shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"));
    }));
    shapes.join(", ")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |title: &str, of: fn(&LayerSummary) -> usize| {
            self.layers.iter().map(of).chain([title.len()]).max().unwrap_or(0)
        };
        let first = width("Layer (kind)", |l| l.layer.len());
        let second = width("Output shape", |l| l.output.len());
        let third = width("Weights", |l| l.weights.len());
        let rule = "─".repeat(first + second + third + 6 + 12);
        let [a, b, c] = ["Layer (kind)", "Output shape", "Weights"];
        writeln!(f, "{a:first$}  {b:second$}  {c:third$}  {:>12}", "Parameters")?;
        writeln!(f, "{rule}")?;
        for layer in &self.layers {
            let LayerSummary { layer, output, weights, parameters } = layer;
            writeln!(f, "{layer:first$}  {output:second$}  {weights:third$}  {parameters:>12}")?;
        }
        writeln!(f, "{rule}")?;
        let kilobytes = self.parameters as f64 * 4.0 / 1024.0;
        write!(f, "{} parameters ({kilobytes:.1} KiB), {} trainable", self.parameters, self.trainable)
    }
}
