//! Blocks of transformers as PyTorch names and lays them out: `torch.nn.TransformerEncoderLayer` and `TransformerDecoderLayer`, alone, in
//! `TransformerEncoder` and `TransformerDecoder`, in a `torch.nn.Transformer`, wherever in a model they are.
//!
//! What attends to another sequence has two layers here, for the queries and for the memory's keys and values, where PyTorch keeps one
//! matrix of both, or, for a memory of other features, three. Where keys and values are of other features each there are three here, too.
//! Attention by itself is [loaded by its layer](crate::MultiHeadAttention::load_weights).

use std::collections::{BTreeMap, BTreeSet};

use cairn_tensor::{AnyTensor, DType, Tensor};

use super::{Weights, no_rule, torch};
use crate::{Error, Result};

type Values = BTreeMap<String, AnyTensor>;

/// The parts of a block, here and in PyTorch, but for the projections of attention.
fn parts(decoder: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let both = [
        ("attention.output", "self_attn.out_proj"),
        ("attention_norm", "norm1"),
        ("feed_forward.up", "linear1"),
        ("feed_forward.down", "linear2"),
    ];
    let others: &[_] = match decoder {
        false => &[("feed_forward_norm", "norm2")],
        true => &[
            ("cross_attention.output", "multihead_attn.out_proj"),
            ("cross_attention_norm", "norm2"),
            ("feed_forward_norm", "norm3"),
        ],
    };
    both.into_iter().chain(others.iter().copied())
}

/// What stands before each name that ends so: the places of the blocks.
fn places(values: &Values, end: &str) -> Result<BTreeSet<String>> {
    let places: BTreeSet<String> =
        values.keys().filter_map(|name| name.strip_suffix(end)).map(str::to_owned).collect();
    match places.is_empty() {
        true => {
            Err(Error::StateMismatch(format!("no name ends with {end}: there is no transformer's block")))
        }
        false => Ok(places),
    }
}

/// A value as floats.
fn floats(x: &AnyTensor) -> Result<Tensor> {
    Ok(x.cast(DType::F32)?.try_into()?)
}

/// A value turned round if it is a matrix.
fn turned(x: &AnyTensor) -> Result<AnyTensor> {
    let x = floats(x)?;
    Ok(if x.rank() == 2 { torch::dense(&x)?.into() } else { x.into() })
}

/// Moves a value, turned, if it is there.
fn shift(from: &mut Values, name: &str, to: &mut Values, new: String) -> Result<()> {
    if let Some(x) = from.remove(name) {
        to.insert(new, turned(&x)?);
    }
    Ok(())
}

impl Weights {
    /// Values of PyTorch's transformers under the names and in the layout of [`TransformerEncoderLayer`](crate::TransformerEncoderLayer),
    /// [`TransformerDecoderLayer`](crate::TransformerDecoderLayer) and their stacks, floats as `f32`. What is no part of a block stays as
    /// it is: the last normalisation of a stack is called the same here.
    ///
    /// ```no_run
    /// use cairn_nn::weights::{Strictness, Weights};
    /// use cairn_nn::{Module, TransformerDecoder, TransformerEncoder, spec};
    /// use cairn_tensor::rng;
    /// // The parts of `torch.nn.Transformer(64, 4, 2, 2, 128)`, which ends both stacks with a normalisation.
    /// #[derive(Module)]
    /// struct Both { encoder: TransformerEncoder, decoder: TransformerDecoder }
    /// let whole = spec::Transformer::new(1).features(64).heads(4).layers(2, 2).hidden(128).last_norms(true);
    /// let whole = whole.layer(&mut rng(0))?;
    /// let both = Both { encoder: whole.encoder, decoder: whole.decoder };
    /// let weights = Weights::read_safetensors("torch.safetensors")?.from_torch_transformer()?;
    /// weights.load_into(&both, Strictness::Strict)?;
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::StateMismatch`] where there is no block, and for a projection that is not of three parts.
    #[doc(alias("nn.Transformer", "TransformerDecoderLayer", "in_proj_weight"))]
    pub fn from_torch_transformer(self) -> Result<Self> {
        let (mut given, mut own) = (self.tensors, Values::new());
        for place in places(&given, "self_attn.out_proj.weight")? {
            let decoder = given.contains_key(&format!("{place}multihead_attn.out_proj.weight"));
            for (here, there) in parts(decoder) {
                for value in ["weight", "bias"] {
                    let (name, new) = (format!("{place}{there}.{value}"), format!("{place}{here}.{value}"));
                    shift(&mut given, &name, &mut own, new)?;
                }
            }
            for value in ["weight", "bias"] {
                let name = format!("{place}self_attn.in_proj_{value}");
                shift(&mut given, &name, &mut own, format!("{place}attention.projection.{value}"))?;
                let name = format!("{place}multihead_attn.in_proj_{value}");
                if let Some(both) = given.remove(&name) {
                    let [queries, memory] = split(&name, &both)?;
                    own.insert(format!("{place}cross_attention.projection.{value}"), queries);
                    own.insert(format!("{place}cross_attention.memory.{value}"), memory);
                }
            }
            let name = |part| format!("{place}multihead_attn.{part}_proj_weight");
            shift(&mut given, &name("q"), &mut own, format!("{place}cross_attention.projection.weight"))?;
            if let (Some(keys), Some(values)) = (given.remove(&name("k")), given.remove(&name("v"))) {
                let parts = [floats(&keys)?, floats(&values)?];
                if alike(&parts) {
                    let memory = Tensor::cat(&[&parts[0], &parts[1]], 0)?;
                    own.insert(format!("{place}cross_attention.memory.weight"), turned(&memory.into())?);
                } else {
                    apart(&mut own, &format!("{place}cross_attention."), parts)?;
                }
            }
        }
        own.extend(given);
        Ok(Weights { tensors: own, ..self })
    }

    /// The inverse of [`from_torch_transformer`](Self::from_torch_transformer): values under PyTorch's names and in its layout. Where a
    /// memory has other features than the sequence, its keys and values are matrices of their own, as there.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] where there is no block; [`Error::Unsupported`] for one that PyTorch's block is not: with shared heads of keys,
    /// heads of another size, norms of heads, relative positions, or a gate.
    pub fn to_torch_transformer(self) -> Result<Self> {
        let (mut own, mut foreign) = (self.tensors, Values::new());
        let found = places(&own, "attention.output.weight")?;
        // The end of `cross_attention.…` is no place.
        for place in found.into_iter().filter(|place| !place.ends_with("cross_")) {
            check(&own, &place)?;
            let decoder = own.contains_key(&format!("{place}cross_attention.output.weight"));
            for (here, there) in parts(decoder) {
                for value in ["weight", "bias"] {
                    let (name, new) = (format!("{place}{here}.{value}"), format!("{place}{there}.{value}"));
                    shift(&mut own, &name, &mut foreign, new)?;
                }
            }
            for (here, there) in [("attention", "self_attn"), ("cross_attention", "multihead_attn")] {
                for value in ["weight", "bias"] {
                    let parts = projections(&mut own, &format!("{place}{here}."), value)?;
                    if alike(&parts) {
                        let all = Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?;
                        foreign.insert(format!("{place}{there}.in_proj_{value}"), all.into());
                        continue;
                    }
                    for (part, matrix) in ["q", "k", "v"].into_iter().zip(parts) {
                        foreign.insert(format!("{place}{there}.{part}_proj_weight"), matrix.into());
                    }
                }
            }
        }
        foreign.extend(own);
        Ok(Weights { tensors: foreign, ..self })
    }
}

/// That PyTorch's block has a place for each value of this one, of the same size.
fn check(own: &Values, place: &str) -> Result<()> {
    let shape = |name: &str| own.get(&format!("{place}{name}.weight")).map(|x| x.shape().to_vec());
    let size = |name: &str, axis: usize| shape(name).and_then(|shape| shape.get(axis).copied());
    let width = size("attention.output", 1).unwrap_or(0);
    // Of queries alone, where keys and values are made each by itself.
    let all = if shape("attention.keys").is_some() { 1 } else { 3 };
    let wide = [
        ("attention.projection", all),
        ("attention.keys", 1),
        ("attention.values", 1),
        ("cross_attention.projection", 1),
        ("cross_attention.memory", 2),
        ("cross_attention.keys", 1),
        ("cross_attention.values", 1),
    ];
    let other = |&(name, times): &(&str, usize)| size(name, 1).is_some_and(|size| size != times * width);
    // Wide heads and few of keys can be as wide together as those of PyTorch; what joins them is not.
    let joins = ["attention.output", "cross_attention.output"];
    let widened = |name: &&str| size(name, 0).is_some_and(|size| size != width);
    let own_parts = ["query_norm", "key_norm", "relative"];
    let has = |part: &&str| shape(&format!("attention.{part}")).is_some();
    // A gate stands beside what it lets through, or by itself.
    let hidden = size("feed_forward.up", 1).zip(size("feed_forward.down", 0));
    let gated = shape("feed_forward.gate").is_some() || hidden.is_some_and(|(up, down)| up != down);
    let what = if own_parts.iter().any(has) {
        "with parts of its own"
    } else if wide.iter().any(other) || joins.iter().any(widened) {
        "with shared heads, or heads of another size,"
    } else if gated {
        "with a gate"
    } else {
        return Ok(());
    };
    let of = if place.is_empty() { String::new() } else { format!(" `{}`", place.trim_end_matches('.')) };
    Err(no_rule("transformer", &format!("{of} {what}"), "PyTorch"))
}

/// Whether matrices are of the same features, so that one can hold them all.
fn alike(parts: &[Tensor]) -> bool {
    parts
        .first()
        .is_some_and(|first| parts.iter().all(|part| part.shape().get(1..) == first.shape().get(1..)))
}

/// Puts in weights of keys and of values, of sequences of other features each, and takes the bias of both apart.
fn apart(own: &mut Values, layer: &str, [keys, values]: [Tensor; 2]) -> Result<()> {
    if let Some(both) = own.remove(&format!("{layer}memory.bias")) {
        let both = floats(&both)?;
        let half = both.len() / 2;
        for (part, first) in [("keys", 0), ("values", half)] {
            own.insert(format!("{layer}{part}.bias"), both.narrow(0, first, half)?.contiguous()?.into());
        }
    }
    for (part, weight) in [("keys", keys), ("values", values)] {
        own.insert(format!("{layer}{part}.weight"), turned(&weight.into())?);
    }
    Ok(())
}

/// Takes out what a layer makes queries, keys and values with, turned: all at once where they are of the same features, else each.
fn projections(own: &mut Values, layer: &str, value: &str) -> Result<Vec<Tensor>> {
    let parts = ["projection", "memory", "keys", "values"];
    let taken = parts.into_iter().filter_map(|part| own.remove(&format!("{layer}{part}.{value}")));
    let taken = taken.map(|x| floats(&turned(&x)?)).collect::<Result<Vec<_>>>()?;
    if let [queries, memory] = &taken[..]
        && !alike(&taken)
    {
        let half = memory.shape().first().copied().unwrap_or(0) / 2;
        let [keys, values] = [0, half].map(|first| memory.narrow(0, first, half));
        return Ok(vec![queries.clone(), keys?.contiguous()?, values?.contiguous()?]);
    }
    Ok(taken)
}

/// The part for queries and that for keys and values, of a projection that makes all three.
fn split(name: &str, both: &AnyTensor) -> Result<[AnyTensor; 2]> {
    let both = floats(both)?;
    let rows = both.shape().first().copied().unwrap_or(0);
    if rows == 0 || rows % 3 != 0 {
        let shape = both.dims();
        return Err(Error::StateMismatch(format!("{name} {shape:?} is not of three parts")));
    }
    let third = rows / 3;
    Ok([turned(&both.narrow(0, 0, third)?.into())?, turned(&both.narrow(0, third, 2 * third)?.into())?])
}
