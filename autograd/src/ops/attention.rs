//! Attention as one operation: its backward pass computes the scores anew, so that no matrix of them is ever kept.

use cairn_tensor::{AttentionOptions, AttentionRules, Float};

use super::multiply_adds;
use crate::op::{Backward, Operands, Ran, Rule, Wanted, operations};
use crate::var::Argument;
use crate::{Gradient, Result, Var};

operations! {
    /// Attention.
    Attention {
        /// softmax(scale · q kᵀ + bias) v. The operands are queries, keys, values, and those of `present`, in order.
        Attention {
            /// What is done with the scores.
            rules: AttentionRules,
            /// Which further operands there are.
            present: Attend,
        } = "attention",
    }
}

/// The operands that attention may have after queries, keys and values, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attend {
    /// What is added to the scores, broadcast to `[batch, heads, queries, keys]`.
    pub bias: bool,
    /// A mask, `true` where a query may attend to a key, of a shape like the bias's.
    pub visible: bool,
    /// The keys of each sequence, ids `[batch]`.
    pub key_lengths: bool,
    /// The queries of each sequence, ids `[batch]`.
    pub query_lengths: bool,
}

impl Attend {
    /// The position of each of the four operands, in order, if it is there.
    pub fn positions(&self) -> [Option<usize>; 4] {
        let Attend { bias, visible, key_lengths, query_lengths } = *self;
        let mut next = 3;
        [bias, visible, key_lengths, query_lengths].map(|present| {
            next += usize::from(present);
            present.then_some(next - 1)
        })
    }
}

impl Rule for Attention {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let Attention::Attention { rules, present } = self;
        let [bias, visible, key_lengths, query_lengths] = present.positions();
        let ids = |position: Option<usize>| position.map(|position| x.ids(position)).transpose();
        let mut options = AttentionOptions::new(rules.clone());
        options.visible = visible.map(|position| x.mask(position)).transpose()?.cloned();
        options.key_lengths = ids(key_lengths)?.cloned();
        options.query_lengths = ids(query_lengths)?.cloned();
        let bias = bias.map(|position| x.float(position)).transpose()?;
        let (q, k, v) = (x.float(0)?, x.float(1)?, x.float(2)?);
        let (value, log_sums) = q.attention(k, v, bias, &options)?;
        let backward = wanted.any().then(|| -> Backward<T> {
            let (q, k, v, bias, output) = (q.clone(), k.clone(), v.clone(), bias.cloned(), value.clone());
            let wanted = wanted.of();
            Box::new(move |g| {
                let results = [&output, &log_sums, g];
                let gradients = q.attention_backward(&k, &v, bias.as_ref(), &options, results, wanted)?;
                let there = gradients.into_iter().take(3 + usize::from(bias.is_some()));
                Ok(there.map(|gradient| gradient.map(Gradient::Dense)).collect())
            })
        });
        Ok(Ran { value, backward })
    }

    /// Both products for all queries and keys, as if nothing was masked.
    fn flops(&self, operands: &[&[usize]], output: &[usize]) -> u64 {
        let (&[q, k, ..], &[batch, queries, heads, value_size]) = (operands, output) else { return 0 };
        let (&[_, _, _, size], &[_, keys, ..]) = (q, k) else { return 0 };
        multiply_adds(&[batch, heads, queries, keys, size.saturating_add(value_size)])
    }

    /// Of the second product by the values and, for all that the scores are made of, by the weights; of the first by queries and keys.
    fn backward_flops(&self, operands: &[&[usize]], output: &[usize], wanted: &[bool]) -> u64 {
        let (&[q, k, ..], &[batch, queries, heads, value_size]) = (operands, output) else { return 0 };
        let (&[_, _, _, size], &[_, keys, ..]) = (q, k) else { return 0 };
        let [of_q, of_k, of_v, of_bias] = Wanted(wanted).of();
        let times = |wanted: bool, size: usize| if wanted { size } else { 0 };
        let sizes = [
            times(of_q, size),
            times(of_k, size),
            times(of_v, value_size),
            times(of_q || of_k || of_bias, value_size),
        ];
        multiply_adds(&[batch, heads, queries, keys, sizes.iter().fold(0, |a, b| a.saturating_add(*b))])
    }
}

impl<T: Float> Var<T> {
    /// Scaled dot-product attention of queries `[batch, queries, heads, size]` (this variable) to keys `[batch, keys, key heads,
    /// size]` with values `[batch, keys, key heads, value size]`: see [`Tensor::attention`](cairn_tensor::Tensor::attention). The bias has a gradient, too.
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::{AttentionOptions, Causal, Tensor};
    /// // One projection holds queries, keys and values of two heads: its parts are views.
    /// let all = Var::parameter(Tensor::<f32>::linspace(-1.0, 1.0, 2 * 5 * 24)?.reshape([2, 5, 3, 2, 4])?);
    /// let (q, k, v) = (all.index(2, 0)?, all.index(2, 1)?, all.index(2, 2)?);
    /// let y = q.attention(&k, &v, None, &AttentionOptions::default().causal(Causal::TopLeft))?;
    /// assert_eq!(y.shape(), [2, 5, 2, 4]);
    /// assert_eq!(y.sum(..)?.backward()?.of(&all)?.shape(), [2, 5, 3, 2, 4]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the sizes do not fit together, for a length beyond the time axis, and for settings that make no sense.
    #[doc(alias("scaled_dot_product_attention", "flash_attention"))]
    pub fn attention(
        &self,
        keys: &Self,
        values: &Self,
        bias: Option<&Self>,
        options: &AttentionOptions,
    ) -> Result<Self> {
        let AttentionOptions { rules, visible, key_lengths, query_lengths, .. } = options;
        let present = Attend {
            bias: bias.is_some(),
            visible: visible.is_some(),
            key_lengths: key_lengths.is_some(),
            query_lengths: query_lengths.is_some(),
        };
        let mut operands: Vec<Argument<'_, T>> = vec![self.into(), keys.into(), values.into()];
        operands.extend(bias.map(Argument::from));
        operands.extend(visible.as_ref().map(Argument::from));
        operands.extend([key_lengths, query_lengths].into_iter().flatten().map(Argument::from));
        Var::apply(Attention::Attention { rules: rules.clone(), present }, &operands)
    }
}
