//! What a model attended to: the weights of each attention layer, and what they come to from the first to the last.
//!
//! The kernels never make a matrix of weights, and layers keep none. So a forward pass is recorded, and each attention in it is
//! computed once more with the unit matrix in place of the values: what comes out are the weights, with all that the layer does to
//! them (masks, windows, biases, shared heads). That works for any model, whoever wrote it.

use cairn_autograd::op::Op;
use cairn_autograd::{Source, Var, no_grad, trace};
use cairn_tensor::{AttentionOptions, Tensor};

use crate::{Error, Result};

/// The attention weights of a forward pass, of each attention in the order in which they were computed: `[batch, heads, queries,
/// keys]`, each row adding up to 1, or 0 where a query attended to nothing. Run the pass with
/// [`Context::eval`](crate::Context::eval): dropped weights are shown as dropped. Steps with a cache are passes like others, whose keys
/// are all that the cache has; of a [packed](crate::KeyValueCache::read_packed) step a layer has a map of the rows from the first to the
/// last that has one new token, and then one of each row that has more.
///
/// ```
/// use cairn_nn::{Context, TransformerEncoder, explain, spec};
/// use cairn_tensor::{Tensor, rng};
/// let block = spec::TransformerEncoderLayer::new(2, 32).causal(true);
/// let model = TransformerEncoder::new(3, &block, 16, &mut rng(0))?;
/// let x = Tensor::normal([1, 5, 16], 0.0, 1.0, &mut rng(1))?;
/// let maps = explain::attention_maps(|| model.forward(&x.clone().into(), &mut Context::eval()))?;
/// assert_eq!((maps.len(), maps[0].shape()), (3, &[1, 2, 5, 5][..]));
/// assert_eq!(maps[0].get(&[0, 0, 0, 0])?, 1.0); // the first step sees itself alone
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// Those of the pass; when memory does not hold the weights.
#[doc(alias("attention weights", "output_attentions", "need_weights"))]
pub fn attention_maps(forward: impl FnOnce() -> Result<Var>) -> Result<Vec<Tensor>> {
    let output = no_grad(|| trace(forward)).result?;
    let mut maps = Vec::new();
    for var in output.graph() {
        if let Some(recorded) = var.recorded()
            && let Op::Attention(op) = &recorded.op
        {
            let cairn_autograd::op::Attention::Attention { rules, present } = op;
            let operand = |position: Option<usize>| position.and_then(|at| recorded.operands.get(at));
            let [bias, visible, key_lengths, query_lengths] = present.positions().map(operand);
            let mut options = AttentionOptions::new(rules.clone());
            if let Some(Source::Mask(mask)) = visible {
                options.visible = Some(mask.clone());
            }
            for (lengths, to) in
                [(key_lengths, &mut options.key_lengths), (query_lengths, &mut options.query_lengths)]
            {
                if let Some(Source::Ids(lengths)) = lengths {
                    *to = Some(lengths.clone());
                }
            }
            let bias = bias.and_then(|bias| match bias {
                Source::Var(bias) => Some(bias),
                _ => None,
            });
            let [Source::Var(q), Source::Var(k), ..] = &recorded.operands[..] else { continue };
            maps.push(no_grad(|| weights(q, k, bias, &options))?);
        }
    }
    Ok(maps)
}

/// The weights, `[batch, heads, queries, keys]`.
fn weights(q: &Var, k: &Var, bias: Option<&Var>, options: &AttentionOptions) -> Result<Tensor> {
    let &[batch, keys, heads, _] = k.shape() else {
        return Err(Error::BadInput { input: k.dims().clone(), why: "keys have four axes".into() });
    };
    let unit = Tensor::eye(keys)?.reshape([1, keys, 1, keys])?.broadcast_to([batch, keys, heads, keys])?;
    let weights = q.attention(k, &Var::constant(unit.contiguous()?), bias, options)?;
    Ok(weights.value().permute([0, 2, 1, 3])?.contiguous()?)
}

/// How much each step of the input has to do with each step of the output, through all layers of self-attention (Abnar and Zuidema
/// 2020): the product of the layers' weights, each the mean of its heads and the unit matrix, which stands for what goes past
/// attention. `[batch, steps, steps]`, each row adding up to 1.
///
/// ```
/// # use cairn_nn::{Context, TransformerEncoder, explain, spec};
/// # use cairn_tensor::{Tensor, rng};
/// # let model = TransformerEncoder::new(3, &spec::TransformerEncoderLayer::new(2, 32), 16, &mut rng(0))?;
/// # let x = Tensor::normal([1, 5, 16], 0.0, 1.0, &mut rng(1))?;
/// let maps = explain::attention_maps(|| model.forward(&x.clone().into(), &mut Context::eval()))?;
/// let rollout = explain::attention_rollout(&maps)?;
/// assert_eq!(rollout.shape(), [1, 5, 5]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// [`Error::BadInput`] for no maps, and for maps that are not of one sequence with itself: of an encoder and a decoder give those of
/// the encoder.
pub fn attention_rollout(maps: &[Tensor]) -> Result<Tensor> {
    let first = maps.first().map(Tensor::dims).cloned().unwrap_or_default();
    let bad = || Error::BadInput {
        input: first.clone(),
        why: "a rollout is over maps of attention of one sequence to itself, [batch, heads, steps, steps]"
            .into(),
    };
    let &[batch, _, steps, _] = &first[..] else { return Err(bad()) };
    let unit = Tensor::eye(steps)?.reshape([1, steps, steps])?;
    let mut rollout = unit.broadcast_to([batch, steps, steps])?.contiguous()?;
    for map in maps {
        match map.shape() {
            [b, _, q, k] if [*b, *q, *k] == [batch, steps, steps] => {}
            _ => return Err(bad()),
        }
        let both = map.mean(1)?.add(&unit)?;
        // Rows that attended to nothing are their own.
        let layer = both.div(&both.sum_keepdim(2)?)?;
        rollout = layer.matmul(&rollout)?;
    }
    Ok(rollout)
}
