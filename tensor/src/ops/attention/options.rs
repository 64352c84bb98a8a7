//! What attention does with its scores, and which of them there are.

use crate::{Error, Float, Result, Tensor};

/// Which corner of the scores `[queries, keys]` a causal mask's diagonal goes through. They are one where there are as many
/// queries as keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Causal {
    /// Query `i` attends to keys up to `i`, as `is_causal` of PyTorch.
    TopLeft,
    /// The last query attends to the last key: query `i` of `n` to keys up to `i + keys - n`. What a cache of keys needs; where
    /// lengths are given, it is the sequence's own last query and key.
    BottomRight,
}

/// What attention does with its scores: plain numbers.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct AttentionRules {
    /// What products of queries and keys are multiplied by; 1/√size where there is none.
    pub scale: Option<f64>,
    /// Whether, and how, queries attend to no later keys.
    pub causal: Option<Causal>,
    /// How many keys back a query attends to, its own included; as many ahead unless causal.
    pub window: Option<usize>,
    /// c in c · tanh(score / c), which keeps scaled products within ±c, before biases and masks are applied (Gemma 2).
    pub soft_cap: Option<f64>,
    /// For each query head what is subtracted from a score for each step between query and key (ALiBi).
    pub slopes: Option<Vec<f64>>,
    /// The probability with which a weight is dropped, and the seed of the draws.
    pub dropout: Option<(f64, u64)>,
}

impl AttentionRules {
    /// That the numbers make sense, and are still such in the type of the scores: attention by them is refused else.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a scale that is not finite, a soft cap that is not above 0, a dropout rate outside 0 to below 1, and a
    /// window of 0.
    pub fn check<T: Float>(&self) -> Result<()> {
        let op = super::OP;
        let check = |what, value: Option<f64>, ok: fn(f64) -> bool, must| match value {
            Some(value) if !ok(value) => Err(Error::bad_setting(op, what, value, must)),
            _ => Ok(()),
        };
        let finite = |x: f64| T::from_f64(x).to_f64().is_finite();
        check("the scale", self.scale, finite, "finite in the type of the scores")?;
        // Scores are multiplied by its inverse, so that has to be a number, too.
        let cap = |x: f64| x > 0.0 && [x, 1.0 / x].iter().all(|&x| T::from_f64(x).to_f64().is_finite());
        let must = "above 0 and, like its inverse, finite in the type of the scores";
        check("the soft cap", self.soft_cap, cap, must)?;
        let rate = self.dropout.map(|(rate, _)| rate);
        check("the dropout rate", rate, |rate| (0.0..1.0).contains(&rate), "from 0 to below 1")?;
        match self.window {
            Some(0) => Err(Error::bad_setting(op, "the window", 0, "at least 1")),
            _ => Ok(()),
        }
    }
}

/// How [`attention`](Tensor::attention) attends: all queries to all keys, unless told otherwise.
///
/// ```
/// use cairn_tensor::{AttentionOptions, Causal, Tensor};
/// let lengths = Tensor::from_vec(vec![7, 4], [2])?;
/// let options = AttentionOptions::default().causal(Causal::BottomRight).window(4096).key_lengths(&lengths);
/// let q = Tensor::<f32>::ones([2, 1, 8, 16])?;
/// let k = Tensor::ones([2, 7, 8, 16])?;
/// assert_eq!(q.attention(&k, &k, None, &options)?.0, q);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AttentionOptions {
    /// What is done with the scores.
    pub rules: AttentionRules,
    /// Which scores there are: `true` where a query may attend to a key.
    pub visible: Option<Tensor<bool>>,
    /// The keys of each sequence.
    pub key_lengths: Option<Tensor<u32>>,
    /// The queries of each sequence.
    pub query_lengths: Option<Tensor<u32>>,
}

impl AttentionOptions {
    /// These rules, without masks and lengths.
    pub fn new(rules: AttentionRules) -> Self {
        AttentionOptions { rules, visible: None, key_lengths: None, query_lengths: None }
    }

    /// What products of queries and keys are multiplied by, in place of 1/√size.
    #[must_use]
    pub fn scale(mut self, scale: f64) -> Self {
        self.rules.scale = Some(scale);
        self
    }

    /// Queries attend to no later keys.
    #[must_use]
    #[doc(alias("is_causal", "use_causal_mask"))]
    pub fn causal(mut self, causal: Causal) -> Self {
        self.rules.causal = Some(causal);
        self
    }

    /// Queries attend to `window` keys back, their own included, and unless causal to as many ahead (sliding-window attention, Beltagy
    /// et al. 2020).
    #[must_use]
    #[doc(alias = "sliding_window")]
    pub fn window(mut self, window: usize) -> Self {
        self.rules.window = Some(window);
        self
    }

    /// Keeps scaled products within ±`cap` by cap · tanh(score / cap), before biases and masks are applied.
    #[must_use]
    #[doc(alias("softcap", "logit_softcapping"))]
    pub fn soft_cap(mut self, cap: f64) -> Self {
        self.rules.soft_cap = Some(cap);
        self
    }

    /// Linear biases (ALiBi, Press et al. 2022): from each score the slope of its head is subtracted for each step between
    /// query and key. See [`alibi`](Self::alibi) for the paper's slopes.
    #[must_use]
    pub fn slopes(mut self, slopes: impl Into<Vec<f64>>) -> Self {
        self.rules.slopes = Some(slopes.into());
        self
    }

    /// Linear biases with the slopes of the paper for so many heads: 2^(-8 i / n) for i from 1 to n; for a number that is no power of
    /// two those of the one below, and then every other one of the one above. More than 65,536 heads get as many slopes, which do not fit.
    #[must_use]
    pub fn alibi(self, heads: usize) -> Self {
        let heads = heads.min(1 << 16);
        let of = |n: usize| (1..=n).map(move |i| (-8.0 * i as f64 / n as f64).exp2());
        let below = if heads == 0 { 0 } else { 1 << heads.ilog2() };
        let slopes: Vec<f64> = of(below).chain(of(2 * below).step_by(2).take(heads - below)).collect();
        self.slopes(slopes)
    }

    /// Drops weights with probability `rate`, 0 to below 1, and scales up the others by 1 / (1 - rate). Whether one is dropped is a
    /// function of the seed and its place (sequence, head, query, key), so the backward pass draws the same.
    #[must_use]
    pub fn dropout(mut self, rate: f64, seed: u64) -> Self {
        self.rules.dropout = Some((rate, seed));
        self
    }

    /// A mask that is `true` where a query may attend to a key, of a shape that can be broadcast to `[batch, heads, queries, keys]`: as
    /// `attn_mask` of PyTorch's `scaled_dot_product_attention`, the opposite of its `MultiheadAttention`.
    #[must_use]
    #[doc(alias("attn_mask", "attention_mask", "key_padding_mask"))]
    pub fn visible(mut self, visible: &Tensor<bool>) -> Self {
        self.visible = Some(visible.clone());
        self
    }

    /// The number of keys of each sequence, `[batch]`; what comes after is padding, which is not looked at.
    #[must_use]
    pub fn key_lengths(mut self, lengths: &Tensor<u32>) -> Self {
        self.key_lengths = Some(lengths.clone());
        self
    }

    /// The number of queries of each sequence, `[batch]`; what comes after is padding, whose result and gradient are 0.
    #[must_use]
    pub fn query_lengths(mut self, lengths: &Tensor<u32>) -> Self {
        self.query_lengths = Some(lengths.clone());
        self
    }
}
