//! The table of a model's layers.

use std::fmt;

use crate::{Module, Sequential};

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
                parameters: named.layer.parameter_count(),
            })
            .collect();
        Summary { layers, parameters: self.parameter_count(), trainable: self.trainable_count() }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |title: &str, of: fn(&LayerSummary) -> usize| {
            self.layers.iter().map(of).chain([title.len()]).max().unwrap_or(0)
        };
        let (first, second) =
            (width("Layer (kind)", |l| l.layer.len()), width("Output shape", |l| l.output.len()));
        let rule = "─".repeat(first + second + 4 + 12);
        writeln!(f, "{:first$}  {:second$}  {:>12}", "Layer (kind)", "Output shape", "Parameters")?;
        writeln!(f, "{rule}")?;
        for layer in &self.layers {
            writeln!(f, "{:first$}  {:second$}  {:>12}", layer.layer, layer.output, layer.parameters)?;
        }
        writeln!(f, "{rule}")?;
        let kilobytes = self.parameters as f64 * 4.0 / 1024.0;
        write!(f, "{} parameters ({kilobytes:.1} KiB), {} trainable", self.parameters, self.trainable)
    }
}
