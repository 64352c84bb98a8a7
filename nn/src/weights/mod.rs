//! Weights by name, in the files that other libraries read and write, and in their names and layouts: safetensors, [`gguf`], and
//! with feature `npz` NumPy's archives.
//!
//! [`Weights`] is what such a file holds: named tensors and, in safetensors, a few words about them. It loads into any
//! [`Module`], strictly or as far as it goes, with a [`LoadReport`] of what did not fit. A
//! [`Sequential`](crate::Sequential) also imports and exports those of another [`Framework`]: its names, its order of axes.
//! Single values of PyTorch's and Keras's are converted by [`torch`], [`keras`] and [`recurrent`].
//!
//! Elements are read and written in their own types, bit for bit. A model takes them in its own: convert them before
//! ([`Weights::cast`]), or let it [adopt](crate::Module::adopt_state) theirs for inference. Files are not trusted: sizes are
//! checked against the length of the file before memory is taken.

mod blocks;
mod diff;
mod framework;
pub mod gguf;
mod headers;
pub mod keras;
#[cfg(feature = "npz")]
mod npz;
mod permutation;
mod quantize;
pub mod recurrent;
mod report;
mod safetensors;
pub mod torch;

use std::collections::BTreeMap;
use std::path::Path;

use cairn_tensor::{AnyTensor, DType, SharedBytes};

pub use diff::{Difference, Distance, diff};
pub(crate) use framework::no_rule;
pub use framework::{Flow, Framework, Rule};
pub use headers::{Headers, TensorHeader};
pub use permutation::Permutation;
pub use report::{LoadReport, Misshapen, Mistyped, Strictness};

use crate::module::{Matching, Types};
use crate::{Error, Module, Result};

/// Named values, as a file of weights holds them.
///
/// ```
/// use cairn_nn::weights::{Strictness, Weights};
/// use cairn_nn::{Module, Sequential, spec::Dense};
/// use cairn_tensor::rng;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.safetensors");
/// let model = Sequential::new([4]).add(Dense::new(2)).build(&mut rng(0))?;
/// Weights::of(&model).note("epochs", "5").write_safetensors(&path)?;
///
/// let other = Sequential::new([4]).add(Dense::new(2)).build(&mut rng(1))?;
/// let weights = Weights::read_safetensors(&path)?;
/// assert_eq!(weights.metadata["epochs"], "5");
/// let report = weights.load_into(&other, Strictness::Strict)?;
/// assert_eq!(report.loaded, ["dense.bias", "dense.weight"]);
/// assert_eq!(other.state(), model.state());
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    /// The values by name.
    pub tensors: BTreeMap<String, AnyTensor>,
    /// What else the file says, by key. Only safetensors files keep it.
    pub metadata: BTreeMap<String, String>,
    /// Names of what was not read because there is no such element type here: complex numbers, for one.
    pub left_out: Vec<String>,
}

impl Weights {
    /// All values of a model, parameters and buffers, under Cairn's names. Cheap: storage is shared until it changes.
    pub fn of(model: &(impl Module + ?Sized)) -> Self {
        model.state().into()
    }

    /// With a note in the metadata.
    #[must_use]
    pub fn note(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// With all floats in this type; integers and truth values stay what they are.
    ///
    /// # Errors
    /// When memory does not hold them.
    #[doc(alias("to", "half"))]
    pub fn cast(mut self, dtype: DType) -> Result<Self> {
        for tensor in self.tensors.values_mut().filter(|tensor| tensor.dtype().is_float()) {
            *tensor = tensor.cast(dtype)?;
        }
        Ok(self)
    }

    /// Loads the values into a model that calls them the same. What the report lists as missing keeps its value.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] when `strictness` is strict and anything does not fit, and when two names of one tied value
    /// are given different ones; nothing has changed then.
    pub fn load_into(&self, model: &(impl Module + ?Sized), strictness: Strictness) -> Result<LoadReport> {
        self.load_beside(model, strictness, Vec::new())
    }

    /// As [`load_into`](Self::load_into), where some values are known to be misshapen, and are not here.
    fn load_beside(
        &self,
        model: &(impl Module + ?Sized),
        strictness: Strictness,
        misshapen: Vec<Misshapen>,
    ) -> Result<LoadReport> {
        let matching = Matching::new(model, &self.tensors, Types::Same)?;
        let report = LoadReport::new(&matching, misshapen);
        report.check(strictness)?;
        matching.apply();
        Ok(report)
    }

    /// With other names for layers: each name that starts with `from` and a separator (`.` or `/`) starts with `to` instead, as the
    /// first pair has it that fits. An empty `to` takes a prefix off (`("module", "")`), an empty `from` puts one in front of all. A
    /// separator at the end of either is no part of it.
    ///
    /// ```
    /// # use cairn_nn::weights::Weights;
    /// # use cairn_tensor::Tensor;
    /// let mut weights = Weights::default();
    /// weights.tensors.insert("module.features.0.weight".into(), Tensor::<f32>::zeros([3])?.into());
    /// let weights = weights.rename(&[("module", "")])?.rename(&[("features.0", "conv2d")])?;
    /// assert!(weights.tensors.contains_key("conv2d.weight"));
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::StateMismatch`] for two values that would get one name, and for one that would have none.
    pub fn rename(self, names: &[(&str, &str)]) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in self.tensors {
            let renamed = renamed(&name, names);
            if renamed.is_empty() {
                return Err(Error::StateMismatch(format!("{name} would have no name")));
            }
            if tensors.contains_key(&renamed) {
                return Err(Error::StateMismatch(format!(
                    "{name} and another value would both be called {renamed}"
                )));
            }
            tensors.insert(renamed, tensor);
        }
        Ok(Weights { tensors, ..self })
    }

    /// With the layer names of a model in place of numbers, as `torch.nn.Sequential` gives them (`0.weight`, `2.weight`):
    /// the layers of the file, by number, are those layers of the model that have values, in order.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] when the names are not a number (after a prefix that all share) and a value's name, or
    /// there are not as many layers.
    pub fn name_numbered(self, model: &crate::Sequential) -> Result<Self> {
        let mut numbers = BTreeMap::new();
        let mut prefix = None;
        for name in self.tensors.keys() {
            let layer = name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer);
            let head = layer.trim_end_matches(|c: char| c.is_ascii_digit());
            let number = layer[head.len()..].parse::<u64>();
            let (Ok(number), true) = (number, *prefix.get_or_insert(head) == head) else {
                return Err(Error::StateMismatch(format!("{name} is not under a layer's number")));
            };
            numbers.insert(number, layer.to_owned());
        }
        let named: Vec<&str> =
            model.layers.iter().filter(|named| named.has_values()).map(|named| named.name.as_str()).collect();
        if named.len() != numbers.len() {
            let why = format!("{} numbered layers, the model has {} with values", numbers.len(), named.len());
            return Err(Error::StateMismatch(why));
        }
        let pairs: Vec<(&str, &str)> = numbers.values().map(String::as_str).zip(named).collect();
        self.clone().rename(&pairs)
    }
}

/// A name under the first of the pairs that fits.
fn renamed(name: &str, names: &[(&str, &str)]) -> String {
    let bare = |name: &'_ str| name.trim_end_matches(['.', '/']).to_owned();
    let fitting = names.iter().find_map(|&(from, to)| {
        let (from, to) = (bare(from), bare(to));
        let rest = if from.is_empty() { name } else { name.strip_prefix(from.as_str())? };
        let separator = match rest.chars().next() {
            _ if from.is_empty() => {
                if name.contains('/') {
                    "/"
                } else {
                    "."
                }
            }
            Some('.') => ".",
            Some('/') => "/",
            Some(_) => return None,
            None => "",
        };
        let rest = if from.is_empty() { rest } else { &rest[separator.len()..] };
        let separator = if to.is_empty() || rest.is_empty() { "" } else { separator };
        Some(format!("{to}{separator}{rest}"))
    });
    fitting.unwrap_or_else(|| name.to_owned())
}

impl From<BTreeMap<String, AnyTensor>> for Weights {
    fn from(tensors: BTreeMap<String, AnyTensor>) -> Self {
        Weights { tensors, ..Weights::default() }
    }
}

/// A file's bytes, in place.
fn mapped(path: &Path) -> Result<SharedBytes> {
    SharedBytes::map_file(path).map_err(|error| match error {
        cairn_tensor::Error::File { kind, why, .. } => {
            Error::File { path: path.to_owned(), error: std::io::Error::new(kind, why) }
        }
        other => other.into(),
    })
}

/// An error about a file's content.
fn bad(path: &Path) -> impl Fn(String) -> Error + '_ {
    move |why| Error::BadFile { path: path.to_owned(), why }
}
