//! Export as ONNX files, opset 17, of a [`Sequential`] or any other forward pass, for runtimes of other makers.
//!
//! Input and output are those of the model: float32, or int64 for the ids of an embedding, `[batch, …]` with any batch,
//! channels last. ONNX's convolutions want channels first; the graph of a `Sequential` turns images once before the first of
//! them and back where a layer needs it, not around each.
//!
//! ```
//! use cairn_nn::spec::{Conv2d, Dense, Flatten};
//! use cairn_nn::{Activation::Relu, Sequential};
//! use cairn_tensor::rng;
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("model.onnx");
//! let model = Sequential::new([28, 28, 1])
//!     .add(Conv2d::new(8, 3).activation(Relu))
//!     .add(Flatten)
//!     .add(Dense::new(10))
//!     .build(&mut rng(0))?;
//! model.export_onnx(&path)?;
//! # Ok::<(), cairn_nn::Error>(())
//! ```
//!
//! A struct of layers with a forward pass of its own is exported by running it: see [`trace()`].
//!
//! What comes out was run by ONNX Runtime for every kind of layer; `examples/onnx.rs` and `examples/check_onnx.py` do that again,
//! `tests/onnx_random.rs` for models drawn at random.

mod gates;
mod graph;
mod images;
mod operators;
mod proto;
mod trace;
mod writer;

use std::path::Path;

pub use trace::{Traced, trace, trace_ids};

use crate::layers::{Operation, Step};
use crate::{Error, Result, Sequential, codec};

/// Protocol buffers end at 2 GiB.
const MOST_BYTES: usize = i32::MAX as usize;

impl Sequential {
    /// Writes the model as it is in use, without dropout, as an ONNX file. Its input is `input`, its output `output`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a layer that ONNX has no operators for, or that there is no rule for yet, and for a model
    /// beyond 2 GiB; [`Error::File`] when the file cannot be written.
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        codec::write_atomically(path.as_ref(), &self.to_onnx()?)
    }

    /// The bytes of [`export_onnx`](Self::export_onnx).
    ///
    /// # Errors
    /// As [`export_onnx`](Self::export_onnx), but for the file.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        let values: usize = self.summary().bytes;
        if values > MOST_BYTES / 2 {
            return Err(Error::Unsupported { what: format!("ONNX files of {values} bytes of values") });
        }
        let steps = self.steps()?;
        let ids = matches!(steps.first(), Some(Step { operation: Operation::Lookup { .. }, .. }));
        let mut graph = graph::Graph::new(self.input_shape(), ids);
        for step in steps {
            graph.add(&step).map_err(|error| error.at(&step.layer))?;
        }
        Ok(graph.finish(self.output_shape()).into_bytes())
    }
}
