//! An attention layer's values as `torch.nn.MultiheadAttention` of PyTorch and `MultiHeadAttention` and `GroupQueryAttention` of Keras name
//! and lay them out, whatever the layer attends to.
//!
//! Queries, keys and values are made by one dense layer here, by two or by three; there by one matrix or by three. So what is given is taken
//! apart into the three, and put together as the layer has them; and back.

use std::collections::BTreeMap;

use cairn_autograd::Parameter;
use cairn_tensor::{AnyTensor, DType, Tensor};

use super::{Linear, MultiHeadAttention};
use crate::weights::{Framework, LoadReport, Strictness, Weights, no_rule, torch};
use crate::{Error, Result};

type Values = BTreeMap<String, AnyTensor>;

/// The names of Keras's projections.
const KERAS: [&str; 3] = ["query", "key", "value"];
/// Those of PyTorch's matrices, where they are three.
const PYTORCH: [&str; 3] = ["q_proj_weight", "k_proj_weight", "v_proj_weight"];

impl MultiHeadAttention {
    /// The layer's values in another library's names and layout, as floats: `in_proj_weight` or `q_proj_weight` and its kin, `in_proj_bias`
    /// and `out_proj.weight` of `torch.nn.MultiheadAttention`; `query/kernel` and so on of Keras.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what the library's layer has not: norms of heads, positions (relative, rotary, linear biases), a bias in but
    /// one of the parts, and in PyTorch shared heads and sizes of heads that are not features / heads.
    #[doc(alias = "state_dict")]
    pub fn weights(&self, framework: Framework) -> Result<Weights> {
        if framework == Framework::Cairn {
            return Ok(Weights::of(self));
        }
        self.check(framework)?;
        let mut values = Values::new();
        let weights = self.apart(&|layer| Ok(Some(layer.weight.value())))?;
        let biases = self.apart(&|layer| Ok(layer.bias.as_ref().map(Parameter::value)))?;
        let joined = self.output.weight.value();
        let bias = self.output.bias.as_ref().map(Parameter::value);
        if framework == Framework::PyTorch {
            let weights: Option<Vec<Tensor>> =
                weights.map(|all| all.iter().map(torch::dense).collect::<Result<_>>()).transpose()?;
            for (name, all) in [("in_proj_weight", weights), ("in_proj_bias", biases.map(Vec::from))] {
                let Some(all) = all else { continue };
                if all.iter().all(|part| part.shape()[1..] == all[0].shape()[1..]) {
                    let parts: Vec<&Tensor> = all.iter().collect();
                    values.insert(name.into(), Tensor::cat(&parts, 0)?.into());
                } else {
                    let parts = all.into_iter().map(AnyTensor::from);
                    values.extend(PYTORCH.map(str::to_owned).into_iter().zip(parts));
                }
            }
            values.insert("out_proj.weight".into(), torch::dense(&joined)?.into());
            values.extend(bias.map(|bias| ("out_proj.bias".to_owned(), AnyTensor::from(bias))));
        } else {
            let heads = [self.heads.queries, self.heads.keys, self.heads.keys];
            for (value, all) in [("kernel", weights), ("bias", biases)] {
                for ((name, heads), part) in KERAS.into_iter().zip(heads).zip(all.into_iter().flatten()) {
                    let (last, leading) = (part.shape()[part.rank() - 1], &part.shape()[..part.rank() - 1]);
                    let part = part.reshape([leading, &[heads, last / heads]].concat())?;
                    values.insert(format!("{name}/{value}"), part.into());
                }
            }
            let shape = [self.heads.queries, self.heads.value_size, joined.shape()[1]];
            values.insert("attention_output/kernel".into(), joined.reshape(shape)?.into());
            values.extend(bias.map(|bias| ("attention_output/bias".to_owned(), AnyTensor::from(bias))));
        }
        Ok(Weights { tensors: values, ..Weights::default() })
    }

    /// Loads values in another library's names and layout, as [`weights`](Self::weights) gives them: without the layer's own name, which
    /// [`Weights::rename`] takes off. Floats are converted to `f32`. The report speaks of Cairn's names.
    ///
    /// ```
    /// use cairn_nn::spec::MultiHeadAttention;
    /// use cairn_nn::weights::{Framework, Strictness};
    /// use cairn_tensor::rng;
    /// // A layer that attends to another sequence, of 6 features.
    /// let cross = |seed| MultiHeadAttention::new(2).cross_layer(8, 6, &mut rng(seed));
    /// let weights = cross(0)?.weights(Framework::PyTorch)?;
    /// assert_eq!(weights.tensors["k_proj_weight"].shape(), [8, 6]);
    /// let report = cross(1)?.load_weights(&weights, Framework::PyTorch, Strictness::Strict)?;
    /// assert!(report.is_complete());
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`weights`](Self::weights); [`Error::StateMismatch`] for keys and values of sequences of other features each, where the layer takes both of
    /// one, and when `strictness` is strict and anything does not fit. Nothing has changed then.
    #[doc(alias = "load_state_dict")]
    pub fn load_weights(
        &self,
        weights: &Weights,
        framework: Framework,
        strictness: Strictness,
    ) -> Result<LoadReport> {
        if framework == Framework::Cairn {
            return weights.load_into(self, strictness);
        }
        self.check(framework)?;
        let (mut given, mut own) = (weights.tensors.clone(), Values::new());
        for value in ["weight", "bias"] {
            let found = match framework {
                Framework::PyTorch => self.take_pytorch(&mut given, value)?,
                _ => take_keras(&mut given, value)?,
            };
            if let Some(all) = found {
                self.put(&mut own, value, all)?;
            }
            let name = match (framework, value) {
                (Framework::PyTorch, _) => format!("out_proj.{value}"),
                (_, "weight") => "attention_output/kernel".into(),
                _ => "attention_output/bias".into(),
            };
            if let Some(joined) = given.remove(&name) {
                let x = floats(&joined)?;
                let x = match (framework, x.rank()) {
                    (Framework::PyTorch, 2) => torch::dense(&x)?,
                    (Framework::Keras, 3) => x.reshape([x.shape()[0] * x.shape()[1], x.shape()[2]])?,
                    _ => x,
                };
                own.insert(format!("output.{value}"), x.into());
            }
        }
        // What was not understood is unexpected.
        own.extend(given);
        Weights { tensors: own, ..Weights::default() }.load_into(self, strictness)
    }

    /// That the library has such a layer.
    fn check(&self, framework: Framework) -> Result<()> {
        let refused = |variant, library| Err(no_rule("multi-head attention", variant, library));
        let library = if framework == Framework::PyTorch { "PyTorch" } else { "Keras" };
        if self.query_norm.is_some() {
            return refused(" with norms of heads", library);
        }
        if self.relative.is_some() || self.rotary.is_some() || self.config.alibi {
            return refused(" with positions of its own", library);
        }
        if self.output.bias.is_some() != self.projection.bias.is_some() {
            return refused(" with biases in some of its parts", library);
        }
        if framework == Framework::PyTorch {
            self.heads.check_pytorch()?;
            if self.heads.widths()[0] != self.output.weight.shape()[1] {
                return refused(" with another size of heads than features / heads", library);
            }
        }
        Ok(())
    }

    /// Queries', keys' and values' part of what the layers that make them have, if they have it. Here the last axis is that of the heads.
    fn apart(&self, of: &dyn Fn(&Linear) -> Result<Option<Tensor>>) -> Result<Option<[Tensor; 3]>> {
        let Some(first) = of(&self.projection)? else { return Ok(None) };
        let [queries, keys, values] = self.heads.widths();
        let part = |x: &Tensor, first, width| Ok::<_, Error>(x.narrow(-1, first, width)?.contiguous()?);
        let other = |layer: &Option<Linear>| layer.as_ref().map_or(Ok(None), of);
        if let Some(both) = other(&self.memory)? {
            return Ok(Some([first, part(&both, 0, keys)?, part(&both, keys, values)?]));
        }
        if let (Some(key), Some(value)) = (other(&self.keys)?, other(&self.values)?) {
            return Ok(Some([first, key, value]));
        }
        let all = [(0, queries), (queries, keys), (queries + keys, values)];
        let [q, k, v] = all.map(|(start, width)| part(&first, start, width));
        Ok(Some([q?, k?, v?]))
    }

    /// The inverse of [`apart`](Self::apart), under the layer's names.
    fn put(&self, own: &mut Values, value: &str, [queries, keys, values]: [Tensor; 3]) -> Result<()> {
        let joined = |parts: &[&Tensor]| -> Result<Tensor> {
            if parts.iter().any(|part| inputs(part) != inputs(parts[0])) {
                let why = "projections of sequences of other features each, of which the layer makes several of one";
                return Err(Error::StateMismatch(why.into()));
            }
            Ok(Tensor::cat(parts, -1)?)
        };
        let projections = match (&self.memory, &self.keys) {
            (Some(_), _) => vec![("projection", queries), ("memory", joined(&[&keys, &values])?)],
            (None, Some(_)) => vec![("projection", queries), ("keys", keys), ("values", values)],
            (None, None) => vec![("projection", joined(&[&queries, &keys, &values])?)],
        };
        own.extend(projections.into_iter().map(|(name, x)| (format!("{name}.{value}"), AnyTensor::from(x))));
        Ok(())
    }

    /// Takes PyTorch's queries, keys and values out of what is given, if they are there and as wide as the layer's.
    fn take_pytorch(&self, given: &mut Values, value: &str) -> Result<Option<[Tensor; 3]>> {
        if value == "weight" && PYTORCH.iter().all(|name| given.contains_key(*name)) {
            return three(&PYTORCH.map(|name| given.remove(name)), |x| torch::dense(&floats(x)?));
        }
        let name = format!("in_proj_{value}");
        let widths = self.heads.widths();
        let total: usize = widths.iter().sum();
        let Some(all) = given.get(&name).filter(|x| x.shape().first() == Some(&total)) else {
            return Ok(None);
        };
        let all = floats(all)?;
        given.remove(&name);
        let mut first = 0;
        let [q, k, v] = widths.map(|width| -> Result<Tensor> {
            let rows = all.narrow(0, first, width)?.contiguous()?;
            first += width;
            if rows.rank() == 2 { torch::dense(&rows) } else { Ok(rows) }
        });
        Ok(Some([q?, k?, v?]))
    }
}

/// Takes Keras's queries, keys and values, `[…, heads, size]`, out of what is given, if they are there.
fn take_keras(given: &mut Values, value: &str) -> Result<Option<[Tensor; 3]>> {
    let names = KERAS.map(|name| format!("{name}/{}", if value == "weight" { "kernel" } else { "bias" }));
    if names.iter().any(|name| given.get(name).is_none_or(|x| x.shape().len() < 2)) {
        return Ok(None);
    }
    three(&names.map(|name| given.remove(&name)), flat)
}

/// Three values made of those that were taken, if all were there.
fn three(
    taken: &[Option<AnyTensor>; 3],
    of: impl Fn(&AnyTensor) -> Result<Tensor>,
) -> Result<Option<[Tensor; 3]>> {
    let [Some(q), Some(k), Some(v)] = taken else { return Ok(None) };
    Ok(Some([of(q)?, of(k)?, of(v)?]))
}

/// All axes but the last.
fn inputs(x: &Tensor) -> &[usize] {
    &x.shape()[..x.rank().saturating_sub(1)]
}

/// `[…, heads, size]` as `[…, heads · size]`.
fn flat(x: &AnyTensor) -> Result<Tensor> {
    let x = floats(x)?;
    let last = x.rank() - 2;
    let (leading, heads) = x.shape().split_at(last);
    Ok(x.reshape([leading, &[heads.iter().product()]].concat())?)
}

/// A value as floats.
fn floats(x: &AnyTensor) -> Result<Tensor> {
    Ok(x.cast(DType::F32)?.try_into()?)
}
