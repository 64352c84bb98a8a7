//! From the names and layouts of published weights to a model's: each architecture has a table of them, and this file applies it.
//!
//! A table is total: every value of the model is in it, and every value of the file must go somewhere or be among those that are
//! known to be of no use. A bias that nobody reads is a wrong answer without an error otherwise.

use std::collections::BTreeMap;

use cairn_tensor::{AnyTensor, DType, Element, Tensor, bf16, f16};

use super::config::Format;
use crate::weights::Weights;
use crate::{Error, Module, Result};

/// A layer here and its names elsewhere. A `*` stands for a block's number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    ours: &'static str,
    /// Several where what is one layer here are several there, side by side.
    hugging_face: &'static [&'static str],
    gguf: &'static [&'static str],
    layout: Layout,
}

/// How a layer's weight lies in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As here.
    Same,
    /// `[outputs, inputs]`, the transpose of what is here.
    Dense,
    /// As here in Hugging Face's, `[outputs, inputs]` in GGUF: GPT-2's layers, which are convolutions there.
    Convolution,
    /// One less than here in Hugging Face's: Gemma's norms.
    FromOne,
}

impl Name {
    pub(super) const fn new(
        ours: &'static str,
        layout: Layout,
        hugging_face: &'static [&'static str],
        gguf: &'static [&'static str],
    ) -> Self {
        Name { ours, hugging_face, gguf, layout }
    }

    /// The names of the value at a path here, if it is this layer's.
    fn theirs(&self, path: &str, format: Format) -> Option<(Vec<String>, &'static str)> {
        let (block, value) = match self.ours.split_once('*') {
            None => ("", path.strip_prefix(self.ours)?),
            Some((before, after)) => {
                let rest = path.strip_prefix(before)?;
                let end = rest.find('.')?;
                let (block, rest) = rest.split_at(end);
                (block, rest.strip_prefix(after)?)
            }
        };
        let value = match value {
            ".weight" => "weight",
            ".bias" => "bias",
            _ => return None,
        };
        let names = if format == Format::Gguf { self.gguf } else { self.hugging_face };
        Some((names.iter().map(|name| format!("{}.{value}", name.replace('*', block))).collect(), value))
    }

    /// The name in GGUF of one of this layer's values by transformers' name.
    fn renamed(&self, name: &str) -> Option<String> {
        let pairs = self.hugging_face.iter().zip(self.gguf);
        pairs.into_iter().find_map(|(from, to)| {
            let (block, value) = match from.split_once('*') {
                None => ("", name.strip_prefix(from)?),
                Some((before, after)) => {
                    let (block, rest) = name.strip_prefix(before)?.split_once('.')?;
                    (block, rest.strip_prefix(after.strip_prefix('.')?)?)
                }
            };
            value.starts_with('.').then(|| format!("{}{value}", to.replace('*', block)))
        })
    }

    /// What the values of a file are here. Matrices keep their type, unless another is wanted; all others become f32.
    fn value(
        &self,
        given: &[AnyTensor],
        kind: &str,
        format: Format,
        wanted: Option<DType>,
    ) -> Result<AnyTensor> {
        let matrix = kind == "weight" && given.iter().all(|x| x.rank() == 2);
        let dense = self.is_dense(format);
        if matrix {
            return match wanted.map_or_else(|| kept(given), |dtype| fitting(dtype, given)) {
                DType::Quantized(blocks) => {
                    let AnyTensor::Quantized(one) = joined(given)?.cast(blocks.into())? else {
                        return Err(Error::Unsupported { what: format!("weights as {blocks}") });
                    };
                    let one = one.packed()?;
                    Ok(if dense { one.t()?.into() } else { one.into() })
                }
                DType::BF16 => self.halves::<bf16>(given, dense),
                DType::F16 => self.halves::<f16>(given, dense),
                // In order: a product of one row, which is what writing a token comes down to, reads weights once and as they lie.
                _ if dense => Ok(floats(given)?.t()?.contiguous()?.into()),
                _ => Ok(floats(given)?.into()),
            };
        }
        let joined = floats(given)?;
        if self.layout == Layout::FromOne && format != Format::Gguf {
            return Ok(joined.add(&Tensor::scalar(1.0))?.into());
        }
        Ok(joined.into())
    }

    /// What a value here is in a file, in so many parts: the inverse of [`value`](Self::value), in f32.
    fn parts(&self, value: &AnyTensor, count: usize, kind: &str, format: Format) -> Result<Vec<Tensor>> {
        let mut value = floats(std::slice::from_ref(value))?;
        if kind == "weight" && value.rank() == 2 && self.is_dense(format) {
            value = value.t()?.contiguous()?;
        }
        if self.layout == Layout::FromOne && format != Format::Gguf {
            value = value.sub(&Tensor::scalar(1.0))?;
        }
        let width = value.shape().first().copied().unwrap_or(0) / count.max(1);
        (0..count).map(|part| Ok(value.narrow(0, part * width, width)?.contiguous()?)).collect()
    }

    /// Whether files have `[outputs, inputs]`.
    fn is_dense(&self, format: Format) -> bool {
        self.layout == Layout::Dense || (self.layout == Layout::Convolution && format == Format::Gguf)
    }

    /// Matrices of 16 bits. Layers want the weights of an output side by side, as files have them but for convolutions.
    fn halves<T: Element>(&self, given: &[AnyTensor], dense: bool) -> Result<AnyTensor> {
        let given: Vec<AnyTensor> = given.iter().map(|x| x.cast(T::DTYPE)).collect::<Result<_, _>>()?;
        let given: Vec<&Tensor<T>> = given.iter().map(AnyTensor::downcast_ref).collect::<Result<_, _>>()?;
        let joined = match given[..] {
            [one] => one.clone(),
            _ => Tensor::cat(&given, 0)?,
        };
        Ok(match self.layout {
            _ if dense => joined.t()?.into(),
            Layout::Convolution => joined.t()?.contiguous()?.t()?.into(),
            _ => joined.into(),
        })
    }
}

/// The type that matrices are kept in: their own where layers compute with it as it is. Quantised parts of one layer, whose blocks
/// cannot be joined, become floats.
fn kept(given: &[AnyTensor]) -> DType {
    match given {
        [AnyTensor::Quantized(one)] => one.format().into(),
        [first, rest @ ..] if rest.iter().all(|other| other.dtype() == first.dtype()) => {
            match first.dtype() {
                half @ (DType::BF16 | DType::F16) => half,
                _ => DType::F32,
            }
        }
        _ => DType::F32,
    }
}

/// A wanted type; of blocks, those that fit the rows.
fn fitting(wanted: DType, given: &[AnyTensor]) -> DType {
    let columns = given.first().and_then(|x| x.shape().last()).copied().unwrap_or(0);
    match wanted {
        DType::Quantized(blocks) => blocks.fitting(columns).map_or(DType::F32, DType::Quantized),
        other => other,
    }
}

fn floats(given: &[AnyTensor]) -> Result<Tensor> {
    let given: Vec<AnyTensor> = given.iter().map(|x| x.cast(DType::F32)).collect::<Result<_, _>>()?;
    let given: Vec<&Tensor> = given.iter().map(AnyTensor::as_f32).collect::<Result<_, _>>()?;
    Ok(match given[..] {
        [one] => one.clone(),
        _ => Tensor::cat(&given, 0)?,
    })
}

/// One value as it is, several as floats side by side.
fn joined(given: &[AnyTensor]) -> Result<AnyTensor> {
    match given {
        [one] => Ok(one.clone()),
        _ => Ok(floats(given)?.into()),
    }
}

/// A table of names, and the beginnings of names in files that are of no use.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) layers: Vec<Name>,
    /// What names in a file may begin with, beside what the table says: the name of a whole model in one with a head.
    pub(super) prefixes: &'static [&'static str],
    /// Parts of the names of values that are computed, or belong to heads that are not built.
    pub(super) unused: &'static [&'static str],
}

impl Names {
    /// The name in GGUF of what transformers calls so.
    pub(super) fn in_gguf(&self, name: &str) -> Option<String> {
        self.layers.iter().find_map(|layer| layer.renamed(name))
    }

    /// As [`in_gguf`](Self::in_gguf), with how the layer lies in files.
    #[cfg(feature = "language")]
    pub(super) fn placed(&self, name: &str) -> Option<(String, Layout)> {
        self.layers.iter().find_map(|layer| Some((layer.renamed(name)?, layer.layout)))
    }

    /// What the value at a path here is called elsewhere.
    pub(super) fn elsewhere(&self, path: &str, format: Format) -> Option<Vec<String>> {
        self.layers.iter().find_map(|name| Some(name.theirs(path, format)?.0))
    }

    /// Puts the values of a file into a model: matrices in the type that is wanted, or else that they have, all others as f32.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] naming what is missing, has another shape, or has no place.
    pub(super) fn load(
        &self,
        module: &dyn Module,
        weights: Weights,
        format: Format,
        wanted: Option<DType>,
    ) -> Result<()> {
        // Those of types that were not read are no less there.
        let foreign: Vec<String> = weights.left_out.iter().map(|name| self.short(name)).collect();
        let mut given = self.bare(weights)?;
        let (mut state, mut missing, mut unread) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut result = Ok(());
        module.for_each_parameter(&mut |path, _| {
            let found = self.layers.iter().find_map(|name| Some((name, name.theirs(path, format)?)));
            let Some((name, (theirs, kind))) = found else {
                missing.push(path.to_owned());
                return;
            };
            let values: Vec<AnyTensor> = theirs.iter().filter_map(|name| take(&mut given, name)).collect();
            if values.len() < theirs.len() {
                let known = !theirs.iter().any(|name| foreign.contains(name));
                let list = if known { &mut missing } else { &mut unread };
                list.push(theirs.join(", "));
                return;
            }
            match name.value(&values, kind, format, wanted) {
                Ok(value) => drop(state.insert(path.to_owned(), value)),
                Err(error) if result.is_ok() => result = Err(error.at(&theirs[0])),
                Err(_) => {}
            }
        });
        result?;
        given.retain(|name, _| !self.unused.iter().any(|part| name.contains(part)));
        let rest: Vec<String> = given.into_keys().collect();
        let told = |what: &str, names: &[String]| match names {
            [] => None,
            [first] => Some(format!("{first} {what}")),
            [first, rest @ ..] => Some(format!("{first} and {} others are {what}", rest.len())),
        };
        let problems = [
            told("of an element type that is not known here", &unread),
            told("missing in the file", &missing),
            told("not expected in the file", &rest),
        ];
        let problems: Vec<String> = problems.into_iter().flatten().collect();
        if !problems.is_empty() {
            return Err(Error::StateMismatch(problems.join("; ")));
        }
        module.adopt_state(&state)
    }

    /// The values of a model, under the names and in the layouts that files have: what [`load`](Self::load) reads.
    pub(super) fn values(
        &self,
        module: &(impl Module + ?Sized),
        format: Format,
    ) -> Result<BTreeMap<String, Tensor>> {
        let (mut values, mut result) = (BTreeMap::new(), Ok(()));
        module.for_each_parameter(&mut |path, parameter| {
            let found = self.layers.iter().find_map(|name| Some((name, name.theirs(path, format)?)));
            let Some((name, (theirs, kind))) = found else { return };
            match name.parts(&parameter.any(), theirs.len(), kind, format) {
                Ok(parts) => values.extend(theirs.into_iter().zip(parts)),
                Err(error) if result.is_ok() => result = Err(error.at(path)),
                Err(_) => {}
            }
        });
        result.map(|()| values)
    }

    /// Without what data-parallel training, compilation and heads put before names.
    fn bare(&self, weights: Weights) -> Result<BTreeMap<String, AnyTensor>> {
        let mut bare = BTreeMap::new();
        for (name, tensor) in weights.tensors {
            if let Some(other) = bare.insert(self.short(&name), tensor) {
                drop(other);
                return Err(Error::StateMismatch(format!("{name} is given twice, under two names")));
            }
        }
        Ok(bare)
    }

    /// A name of a file as the table has it.
    fn short(&self, name: &str) -> String {
        let whole = name.replace("_orig_mod.", "");
        let prefixes = ["module."].iter().chain(self.prefixes);
        prefixes.fold(whole.as_str(), |name, prefix| name.strip_prefix(prefix).unwrap_or(name)).to_owned()
    }
}

/// A value by its name, or by the one that old files of BERT have for a norm's.
fn take(given: &mut BTreeMap<String, AnyTensor>, name: &str) -> Option<AnyTensor> {
    given.remove(name).or_else(|| {
        let old = [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")];
        let (new, old) = old.into_iter().find(|(new, _)| name.ends_with(new))?;
        given.remove(&format!("{}{old}", name.strip_suffix(new)?))
    })
}
