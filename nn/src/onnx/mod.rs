//! Export as ONNX files, opset 17, of a [`Sequential`] or any other forward pass, for runtimes of other makers.
//!
//! Inputs and output are those of the model: float32, or int64 for ids, `[batch, …]` with any batch, channels last. ONNX's
//! convolutions want channels first: an image is turned once before the first of them and back where an operation needs it, not
//! around each.
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
//! There is one exporter, from the [graph](crate::graph) of a model, whoever wrote it: a struct of layers with a forward pass of its
//! own is exported by running it, see [`trace()`].
//!
//! Which steps are padding is found from the ids in the file, too, where an embedding is
//! [masked](crate::spec::Embedding::masked), or from lengths that are an [input](crate::graph::Input::lengths): attention and global pooling pass over them.
//!
//! What comes out was run by ONNX Runtime for every kind of layer; `examples/onnx.rs` and `examples/check_onnx.py` do that again,
//! `tests/onnx_random.rs` for models drawn at random.

mod attention;
mod export;
mod gates;
mod images;
mod operators;
mod proto;
mod spans;

use std::path::Path;

use cairn_autograd::Var;
use cairn_tensor::{Shape, Tensor};

use crate::graph::{Graph, Input};
use crate::{Result, Sequential, codec};

/// A model as an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onnx {
    bytes: Vec<u8>,
}

impl Onnx {
    /// Writes the file, in one step: an old one is replaced only once the new one is safe.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) when it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        codec::write_atomically(path.as_ref(), &self.bytes)
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Graph {
    /// The model as an ONNX file. A single input is called `input`, several are `input_0`, `input_1`, …; the output is `output`.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) for an operation that has no form in ONNX, or not with these attributes, naming it, and for a model
    /// beyond 2 GiB.
    pub fn to_onnx(&self) -> Result<Onnx> {
        Ok(Onnx { bytes: export::export(self)? })
    }
}

impl Sequential {
    /// Writes the model as it is at inference, without dropout, as an ONNX file. Its input is `input`, its output `output`.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a layer that ONNX has no operators for, or that there is no rule for yet, and for a model
    /// beyond 2 GiB; [`Error::File`](crate::Error::File) when the file cannot be written.
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        self.graph()?.to_onnx()?.write(path)
    }

    /// The bytes of [`export_onnx`](Self::export_onnx).
    ///
    /// # Errors
    /// As [`export_onnx`](Self::export_onnx), but for the file.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        Ok(self.graph()?.to_onnx()?.into_bytes())
    }
}

/// The ONNX file of a forward pass from floats `[batch, …]`, each item of the given shape, to `[batch, …]`. For other inputs
/// (several, sequences of any length) trace a [`Graph`].
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
/// As [`Graph::trace`] and [`Graph::to_onnx`].
pub fn trace(item: impl Into<Shape>, forward: impl Fn(&Var) -> Result<Var>) -> Result<Onnx> {
    Graph::trace(&[Input::floats(item)], |inputs| forward(&inputs[0].clone().floats()?))?.to_onnx()
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
    vocabulary: u32,
    forward: impl Fn(&Tensor<u32>) -> Result<Var>,
) -> Result<Onnx> {
    Graph::trace(&[Input::ids(item, vocabulary)], |inputs| forward(&inputs[0].clone().ids()?))?.to_onnx()
}
