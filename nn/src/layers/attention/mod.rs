//! Multi-head attention (Vaswani et al. 2017): each step of a sequence takes in a weighted mean of the steps it attends to, in several
//! subspaces (heads) at once.
//!
//! One dense layer makes queries, keys and values of a sequence, side by side, since one product of three times the width is
//! faster than three, and attention takes parts of it as they lie. Where another sequence is attended to, it makes the queries
//! alone, and a second one the keys and values of the other. Values that belong to padding are not looked at: lengths go to the
//! kernel, and no mask of the size of the scores is made.
//!
//! What may be attended to is said in words here, as libraries disagree about what `true` in a mask means: causal or not, a
//! window, the valid steps of each sequence ([`SequenceMask`]), and any other mask of pairs under a name that says what it means
//! ([`AttentionMask`]).

mod cache;
mod exchange;
mod packed;
mod pairs;
mod relative;
mod rotary;
pub(super) mod spec;

use cairn_autograd::Var;
use cairn_tensor::{AttentionOptions, Causal, Rng, Tensor};
use rand::RngExt;

pub use cache::KeyValueCache;
pub use pairs::AttentionMask;
use pairs::Pairs;
pub use relative::RelativePositions;
use rotary::Positions;
pub use rotary::RotaryPositions;

use super::{Layer, Linear, RmsNorm, SequenceMask, Value};
use crate::{Context, Error, Module, Result};

/// Multi-head attention of a sequence `[batch, time, features]` to itself, or to another.
///
/// ```
/// use cairn_nn::{Context, MultiHeadAttention};
/// use cairn_tensor::{Tensor, rng};
/// let attention = MultiHeadAttention::new(64, 8, &mut rng(0))?;
/// let x = Tensor::normal([2, 10, 64], 0.0, 1.0, &mut rng(1))?;
/// assert_eq!(attention.forward(&x.into(), &mut Context::eval())?.shape(), [2, 10, 64]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// Grouped queries, a causal mask, a window and the rest are set in the [description](crate::spec::MultiHeadAttention), whose
/// [`layer`](crate::spec::MultiHeadAttention::layer) makes the same type.
#[derive(Debug, Clone, Module)]
#[doc(alias("MultiheadAttention", "GroupedQueryAttention", "SelfAttention"))]
pub struct MultiHeadAttention {
    /// Makes queries, keys and values, side by side: `[features, (heads + 2 · key heads) · size]`; the queries alone where
    /// [`memory`](Self::memory), or [`keys`](Self::keys) and [`values`](Self::values), make the others.
    pub projection: Linear,
    /// Makes keys by itself, `[features, key heads · size]`, in a layer with [separate](spec::MultiHeadAttention::separate)
    /// projections, and in one whose keys and values are of
    /// [two sequences](spec::MultiHeadAttention::cross_layer_apart).
    pub keys: Option<Linear>,
    /// Makes values by itself, as [`keys`](Self::keys).
    pub values: Option<Linear>,
    /// Makes keys and values of another sequence, side by side: `[memory features, 2 · key heads · size]`.
    pub memory: Option<Linear>,
    /// Normalises each head of the queries, `[size]`.
    pub query_norm: Option<RmsNorm>,
    /// Normalises each head of the keys, `[size]`.
    pub key_norm: Option<RmsNorm>,
    /// What is added to the scores by distance, if it is: see [`relative`](Self::relative).
    pub relative: Option<RelativePositions>,
    /// Joins the heads: `[heads · size, features]`.
    pub output: Linear,
    #[module(skip)]
    rotary: Option<RotaryPositions>,
    /// Whether it attends to another sequence.
    cross: bool,
    #[module(skip)]
    heads: Heads,
    #[module(skip)]
    config: spec::MultiHeadAttention,
}

/// Numbers of heads, and the size of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heads {
    queries: usize,
    keys: usize,
    size: usize,
    /// That of values, if it is another.
    value_size: usize,
}

impl MultiHeadAttention {
    /// Attention of a sequence to itself, with heads of `features / heads`; weights by Glorot's uniform rule, biases 0. PyTorch draws the
    /// weight that joins the heads otherwise: see [`pytorch_init`](spec::MultiHeadAttention::pytorch_init).
    ///
    /// # Errors
    /// [`Error::BadSetting`] when the heads do not divide the features; when memory does not hold the weights.
    pub fn new(features: usize, heads: usize, rng: &mut Rng) -> Result<Self> {
        spec::MultiHeadAttention::new(heads).layer(features, rng)
    }

    /// With queries and keys turned by their positions: by angles whose tables a model's layers share.
    #[must_use]
    pub fn rotary(self, rotary: &RotaryPositions) -> Self {
        MultiHeadAttention { rotary: Some(rotary.clone()), ..self }
    }

    /// With biases by distance added to the scores, a table that a model's layers share, as in T5.
    ///
    /// # Errors
    /// [`Error::BadSetting`] when the table is for another number of heads; [`Error::Unsupported`] for a layer that attends to another
    /// sequence, whose steps are at no distance.
    pub fn relative(self, positions: &RelativePositions) -> Result<Self> {
        if self.cross {
            return Err(Error::Unsupported {
                what: "relative positions in attention to another sequence".into(),
            });
        }
        if positions.heads() != self.heads.queries {
            let (what, value) = ("the heads of relative positions", positions.heads() as f64);
            return Err(Error::BadSetting { what, value, must: "those of the attention layer" });
        }
        Ok(MultiHeadAttention { relative: Some(positions.clone()), ..self })
    }

    /// Attends from each step of `[batch, time, features]` to the steps of the same sequence. Steps that the context's mask leaves out
    /// are not attended to, nor pairs that its [mask of pairs](Context::with_attention_mask) does.
    ///
    /// # Errors
    /// When the features do not fit; [`Error::Unsupported`] for a layer that attends to another sequence.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let [q, k, v] = self.projected(x, &Positions::From(0), cx)?;
        let mask = cx.mask().cloned();
        self.attended(&q, &k, &v, mask.as_ref(), cx)
    }

    /// Attends from each step of `[batch, time, features]` to the steps of `memory` `[batch, steps, memory features]`, of which `mask`
    /// says which are valid; all if there is none. The context may have a [mask of pairs](Context::with_memory_mask). A causal layer is
    /// not causal here.
    ///
    /// # Errors
    /// When sizes do not fit; [`Error::Unsupported`] for a layer that attends to its own sequence.
    pub fn attend(
        &self,
        x: &Var,
        memory: &Var,
        mask: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        let (keys, values) = self.keys_values(memory)?;
        self.attend_to(x, &keys, &values, mask, cx)
    }

    /// The keys and values of another sequence `[batch, steps, memory features]`, each `[batch, steps, key heads, size]`: computed
    /// once where one memory is attended to many times, as in generation.
    ///
    /// # Errors
    /// As [`attend`](Self::attend).
    pub fn keys_values(&self, memory: &Var) -> Result<(Var, Var)> {
        match &self.memory {
            Some(projection) => self.keyed_and_valued(&projection.forward(memory)?, self.heads.keys),
            None => self.keys_values_apart(memory, memory),
        }
    }

    /// As [`keys_values`](Self::keys_values), the keys of one sequence and the values of another of as many steps, for a layer that was
    /// [made so](spec::MultiHeadAttention::cross_layer_apart).
    ///
    /// # Errors
    /// As [`attend`](Self::attend), and for a layer whose keys and values are of one sequence.
    pub fn keys_values_apart(&self, keys: &Var, values: &Var) -> Result<(Var, Var)> {
        if !self.cross {
            return Err(for_its_own());
        }
        let (Some(key), Some(value)) = (&self.keys, &self.values) else {
            let what = "keys and values of two sequences by a layer for one".into();
            return Err(Error::Unsupported { what });
        };
        let Heads { keys: heads, size, value_size, .. } = self.heads;
        Ok((by_head(&key.forward(keys)?, heads, size)?, by_head(&value.forward(values)?, heads, value_size)?))
    }

    /// As [`attend`](Self::attend), to what [`keys_values`](Self::keys_values) made.
    ///
    /// # Errors
    /// As [`attend`](Self::attend).
    pub fn attend_to(
        &self,
        x: &Var,
        keys: &Var,
        values: &Var,
        mask: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        if !self.cross {
            return Err(for_its_own());
        }
        let q = by_head(&self.projection.forward_in(x, cx)?, self.heads.queries, self.heads.size)?;
        self.attended(&q, keys, values, mask, cx)
    }

    /// As [`forward`](Self::forward) for new steps `[rows, time, features]` after those in a cache, which it adds them to: as causal
    /// attention over the whole would give, with the same bits. `layer` is this layer's place in the cache.
    ///
    /// # Errors
    /// When the shapes do not fit what the cache was told by [`KeyValueCache::begin`] or [`KeyValueCache::read_packed`].
    pub fn forward_cached(&self, x: &Var, cache: &mut KeyValueCache, layer: usize) -> Result<Var> {
        let mut cx = Context::eval();
        let [q, k, v] = self.projected(x, cache.positions(), &mut cx)?;
        if cache.is_packed() {
            if self.relative.is_some() {
                return Err(Error::Unsupported { what: "relative positions in packed steps".into() });
            }
            let options =
                AttentionOptions::new(self.config.rules(self.heads.queries)).causal(Causal::BottomRight);
            let y = cache.attended(layer, [&q, &k, &v], &options)?;
            return self.joined(&y, &mut cx);
        }
        let (keys, values) = cache.extended(layer, k.value(), v.value())?;
        let relative = self.relative.as_ref();
        let bias = relative.map(|table| table.bias(cache.positions(), q.shape()[1], keys.shape()[1]));
        let options =
            AttentionOptions::new(self.config.rules(self.heads.queries)).causal(Causal::BottomRight);
        let options = options.key_lengths(cache.key_lengths()).query_lengths(cache.new_lengths());
        let (keys, values) = (Var::constant(keys), Var::constant(values));
        let y = q.attention(&keys, &values, bias.transpose()?.as_ref(), &options)?;
        self.joined(&y, &mut cx)
    }

    /// An empty cache for the keys and values of `layers` layers like this one, with `rows` rows of `capacity` tokens each.
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn cache(&self, layers: usize, rows: usize, capacity: usize) -> Result<KeyValueCache> {
        let Heads { keys, size, value_size, .. } = self.heads;
        KeyValueCache::new(layers, rows, capacity, keys, [size, value_size])
    }

    /// Queries, keys and values of a sequence whose steps are at these positions.
    fn projected(&self, x: &Var, positions: &Positions, cx: &mut Context) -> Result<[Var; 3]> {
        let Heads { queries, keys, size, value_size } = self.heads;
        if self.cross {
            let what = "attention to its own sequence by a layer for another".into();
            return Err(Error::Unsupported { what });
        }
        let first = self.projection.forward_in(x, cx)?;
        let [q, k, v] = match (&self.keys, &self.values) {
            (Some(key), Some(value)) => {
                let mut of = |layer: &Linear, size| by_head(&layer.forward_in(x, cx)?, keys, size);
                [by_head(&first, queries, size)?, of(key, size)?, of(value, value_size)?]
            }
            _ if value_size == size => {
                let all = by_head(&first, queries + 2 * keys, size)?;
                let of = |first, heads| all.narrow(2, first, heads);
                [of(0, queries)?, of(queries, keys)?, of(queries + keys, keys)?]
            }
            _ => {
                let (both, values) = self.keyed_and_valued(&first, queries + keys)?;
                [both.narrow(2, 0, queries)?, both.narrow(2, queries, keys)?, values]
            }
        };
        let q = self.placed(q, self.query_norm.as_ref(), positions)?;
        Ok([q, self.placed(k, self.key_norm.as_ref(), positions)?, v])
    }

    /// Heads of queries or keys, normalised and turned, in this order.
    fn placed(&self, x: Var, norm: Option<&RmsNorm>, positions: &Positions) -> Result<Var> {
        let x = match norm {
            Some(norm) => norm.forward(&x)?,
            None => x,
        };
        match &self.rotary {
            Some(rotary) => rotary.turned(&x, positions),
            None => Ok(x),
        }
    }

    /// So many heads of the size of keys, and those of the values, of a projection where these lie behind the others.
    fn keyed_and_valued(&self, x: &Var, heads: usize) -> Result<(Var, Var)> {
        let Heads { keys, size, value_size, .. } = self.heads;
        if value_size == size {
            let all = by_head(x, heads + keys, size)?;
            return Ok((all.narrow(2, 0, heads)?, all.narrow(2, heads, keys)?));
        }
        let values = x.narrow(-1, heads * size, keys * value_size)?;
        Ok((by_head(&x.narrow(-1, 0, heads * size)?, heads, size)?, by_head(&values, keys, value_size)?))
    }

    fn attended(
        &self,
        q: &Var,
        k: &Var,
        v: &Var,
        keys: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        let mut rules = self.config.rules(self.heads.queries);
        if self.cross {
            rules.causal = None;
        }
        let pairs = if self.cross { cx.memory_mask() } else { cx.attention_mask() };
        let pairs = pairs.map(|mask| mask.0.clone());
        let rate = f64::from(self.config.dropout);
        rules.dropout = (cx.is_training() && rate != 0.0).then(|| (rate, cx.draw().random()));
        let mut options = AttentionOptions::new(rules);
        options.query_lengths = cx.mask().map(|mask| mask.ends.clone());
        options.key_lengths = keys.map(|mask| mask.ends.clone());
        let before = keys.and_then(|mask| mask.starts.as_ref().map(|_| mask));
        let &[batch, steps, ..] = k.shape() else {
            let why = "keys are [batch, steps, heads, size]".into();
            return Err(Error::BadInput { input: k.dims().clone(), why });
        };
        let hiding = before.map(|mask| mask.hiding_bias(batch, steps)).transpose()?;
        let relative = self.relative.as_ref();
        let relative = relative.map(|table| table.bias(&Positions::From(0), q.shape()[1], steps));
        let mut biases = vec![hiding, relative.transpose()?];
        match pairs {
            Some(Pairs::Visible(mask)) => options.visible = Some(mask),
            Some(Pairs::Added(scores)) => biases.push(Some(Var::constant(scores))),
            None => {}
        }
        let sum = |sum: Option<Var>, bias: Var| -> Result<Option<Var>> {
            Ok(Some(match sum {
                Some(sum) => sum.add(&bias)?,
                None => bias,
            }))
        };
        let bias = biases.into_iter().flatten().try_fold(None, sum)?;
        self.joined(&q.attention(k, v, bias.as_ref(), &options)?, cx)
    }

    /// The heads' results, `[batch, time, heads, size]`, as the layer's.
    fn joined(&self, y: &Var, cx: &mut Context) -> Result<Var> {
        let [batch, time] = [y.shape()[0], y.shape()[1]];
        self.output.forward_in(&y.reshape([batch, time, self.heads.queries * self.heads.value_size])?, cx)
    }
}

impl Layer for MultiHeadAttention {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        MultiHeadAttention::forward(self, &input.floats()?, cx)
    }
}

impl SequenceMask {
    /// What is added to scores so that steps outside the sequences get no weight, `[batch, 1, 1, time]`: 0 or -∞.
    fn hiding_bias(&self, batch: usize, time: usize) -> Result<Var> {
        let valid = self.valid(batch, time)?;
        Ok(valid.log()?.reshape([batch, 1, 1, time])?)
    }
}

/// `[batch, time, heads · size]` as `[batch, time, heads, size]`.
fn by_head(x: &Var, heads: usize, size: usize) -> Result<Var> {
    match *x.shape() {
        [batch, time, _] => Ok(x.reshape([batch, time, heads, size])?),
        _ => Err(Error::BadInput {
            input: x.dims().clone(),
            why: "attention is between the steps of sequences: [batch, time, features]".into(),
        }),
    }
}

fn for_its_own() -> Error {
    Error::Unsupported { what: "attention to another sequence by a layer for its own".into() }
}

/// Row lengths as a tensor.
fn lengths(of: impl Iterator<Item = usize>) -> Result<Tensor<u32>> {
    let of: Vec<u32> = of.map(|n| n as u32).collect();
    let rows = of.len();
    Ok(Tensor::from_vec(of, [rows])?)
}
