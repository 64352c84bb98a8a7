//! Scaled dot-product attention: softmax(scale · q kᵀ + bias) v, as one operation with a derivative of its own.
//!
//! Axes are (batch, time, heads, head size): a projection `[batch, time, heads · size]` is reshaped to it, and the result back, without a copy,
//! and where one projection holds queries, keys and values side by side, parts of it are views with strides that the kernels
//! take as they are. (PyTorch's order, heads before time, costs a transposed copy of each operand, or strided heads anyway.)

use crate::cpu::attention::{self as kernels, Corner, Gradients, Job, Returned, Rules, Sizes, Strided};
use crate::{Element, Error, Float, Result, RowMajor, Tensor};

pub use options::{AttentionOptions, AttentionRules, Causal};

mod options;

const OP: &str = "attention";

impl<T: Float> Tensor<T> {
    /// Scaled dot-product attention (Vaswani et al. 2017) of queries `[batch, queries, heads, size]` (this tensor) to keys `[batch,
    /// keys, key heads, size]` with values `[batch, keys, key heads, value size]`: for each query and head softmax(scale · q kᵀ +
    /// bias) v, `[batch, queries, heads, value size]`. Beside it the logarithm of each softmax's denominator, `[batch, heads,
    /// queries]`, which [`attention_backward`](Self::attention_backward) needs.
    ///
    /// Query heads share heads of keys where there are fewer (grouped-query attention, Ainslie et al. 2023): query head `h` uses
    /// key head `h / (heads / key heads)`. The bias, which has a gradient, is added to the scaled scores; its shape can be broadcast
    /// to `[batch, heads, queries, keys]`. A query that attends to nothing gets zeros, and gives none a gradient. What lies beyond
    /// lengths, a causal mask or a window is not looked at; values that a mask alone hides must be finite.
    ///
    /// A row has the same bits whatever is computed beside it: one query against a cache, or all of them; one sequence, or a padded
    /// batch.
    ///
    /// ```
    /// use cairn_tensor::{AttentionOptions, Causal, Tensor, rng};
    /// let mut draw = |shape: [usize; 4]| Tensor::<f32>::normal(shape, 0.0, 1.0, &mut rng(shape[1] as u64));
    /// let (q, k, v) = (draw([2, 5, 8, 16])?, draw([2, 7, 2, 16])?, draw([2, 7, 2, 16])?);
    /// let (y, _) = q.attention(&k, &v, None, &AttentionOptions::default())?;
    /// assert_eq!(y.shape(), [2, 5, 8, 16]);
    /// // The last query against all keys so far: what a causal pass over the whole sequence computed for it.
    /// let causal = AttentionOptions::default().causal(Causal::BottomRight);
    /// let (all, _) = q.attention(&k, &v, None, &causal)?;
    /// let (last, _) = q.narrow(1, 4, 1)?.attention(&k, &v, None, &causal)?;
    /// assert_eq!(last, all.narrow(1, 4, 1)?);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] for an operand without four axes, heads of no elements or no heads; [`Error::ShapeMismatch`] when sizes do not go
    /// together, key heads do not divide heads, or a bias, mask, slopes or lengths have another shape; [`Error::BadSetting`] for a length beyond the
    /// time axis, a window of 0, a soft cap that is not above 0, a dropout rate outside 0 to below 1, a scale that is not finite.
    #[doc(alias("scaled_dot_product_attention", "flash_attention", "multi_head_attention"))]
    pub fn attention(
        &self,
        keys: &Self,
        values: &Self,
        bias: Option<&Self>,
        options: &AttentionOptions,
    ) -> Result<(Self, Self)> {
        let call = Call::new(self, keys, values, bias, options)?;
        let job = call.job();
        let Sizes { batch, queries, heads, value_size, .. } = job.sizes;
        let mut log_sums = Self::build([batch, heads, queries], |_| ())?;
        let sums = log_sums.as_mut_slice()?;
        let output = Self::try_build([batch, queries, heads, value_size], |out| {
            (T::kernels().attend)(&job, out, sums)
        })?;
        Ok((output, log_sums))
    }

    /// The gradients of [`attention`](Self::attention)'s queries, keys, values and bias, each that is `wanted`, given what it
    /// returned and the gradient of its output.
    ///
    /// # Errors
    /// As [`attention`](Self::attention), and [`Error::ShapeMismatch`] when `output` and `log_sums` are not shaped like what
    /// attention returns, or `gradient` not like the output.
    pub fn attention_backward(
        &self,
        keys: &Self,
        values: &Self,
        bias: Option<&Self>,
        options: &AttentionOptions,
        [output, log_sums, gradient]: [&Self; 3],
        wanted: [bool; 4],
    ) -> Result<[Option<Self>; 4]> {
        let call = Call::new(self, keys, values, bias, options)?;
        let job = call.job();
        let Sizes { batch, queries, heads, value_size, .. } = job.sizes;
        let like_output = [batch, queries, heads, value_size];
        let shapes =
            [(output, &like_output[..]), (gradient, &like_output), (log_sums, &[batch, heads, queries])];
        for (tensor, shape) in shapes {
            if tensor.shape() != shape {
                let why = "the backward pass needs what attention returned, and a gradient like its output";
                return Err(Error::mismatch("attention_backward", tensor.shape(), shape, why));
            }
        }
        let (output, log_sums, gradient) =
            (output.row_major()?, log_sums.row_major()?, gradient.row_major()?);
        let returned = Returned { output: &output, log_sums: &log_sums, gradient: &gradient };
        let mut results = [const { None }; 4];
        for ((result, tensor), wanted) in results.iter_mut().zip([self, keys, values]).zip(wanted) {
            if wanted {
                *result = Some(Self::build(tensor.dims(), |_| ())?);
            }
        }
        if wanted[..3].contains(&true) {
            let mut slices = [const { None }; 3];
            for (slice, result) in slices.iter_mut().zip(&mut results) {
                if let Some(tensor) = result {
                    *slice = Some(tensor.as_mut_slice()?);
                }
            }
            let [q, k, v] = slices;
            (T::kernels().attend_backward)(&job, returned, Gradients { q, k, v })?;
        }
        if let Some(bias) = bias.filter(|_| wanted[3]) {
            let mut shape = [1; 4];
            shape[4 - bias.rank()..].copy_from_slice(bias.shape());
            results[3] = Some(Self::try_build(bias.dims(), |out| {
                (T::kernels().attend_bias)(&job, returned, shape, out)
            })?);
        }
        Ok(results)
    }
}

/// A checked call, with what has to live as long as it.
struct Call<'a, T: Float> {
    sizes: Sizes,
    rules: Rules,
    floats: [Strided<'a, T>; 3],
    bias: Option<Strided<'a, T>>,
    visible: Option<Strided<'a, bool>>,
    slopes: Option<Vec<T>>,
    key_lengths: Option<RowMajor<'a, u32>>,
    query_lengths: Option<RowMajor<'a, u32>>,
}

impl<'a, T: Float> Call<'a, T> {
    fn new(
        q: &'a Tensor<T>,
        k: &'a Tensor<T>,
        v: &'a Tensor<T>,
        bias: Option<&'a Tensor<T>>,
        options: &'a AttentionOptions,
    ) -> Result<Self> {
        let sizes = check_sizes(q, k, v)?;
        let Sizes { batch, queries, keys, heads, size, .. } = sizes;
        let AttentionOptions { rules, visible, key_lengths, query_lengths } = options;
        rules.check::<T>()?;
        if let Some(slopes) = rules.slopes.as_ref().filter(|slopes| slopes.len() != heads) {
            let why = "one slope for each query head is needed";
            return Err(Error::mismatch(OP, &[slopes.len()], &[heads], why));
        }
        // As far apart as query and key can be.
        let most = queries.max(keys) as f64;
        let finite = |slope: f64| T::from_f64(slope * most).to_f64().is_finite();
        if let Some(slope) = rules.slopes.iter().flatten().find(|&&slope| !finite(slope)) {
            let must = "such that the bias of the farthest step is finite in the type of the scores";
            return Err(Error::bad_setting(OP, "a slope", slope, must));
        }
        let scores = [batch, heads, queries, keys];
        let corner = match rules.causal {
            Some(Causal::BottomRight) => Corner::BottomRight,
            Some(Causal::TopLeft) | None => Corner::TopLeft,
        };
        Ok(Call {
            sizes,
            rules: Rules {
                scale: rules.scale.unwrap_or(1.0 / (size as f64).sqrt()),
                causal: rules.causal.is_some(),
                corner,
                window: rules.window,
                soft_cap: rules.soft_cap,
                dropout: rules
                    .dropout
                    .filter(|dropout| dropout.0 > 0.0)
                    .map(|(rate, seed)| kernels::Dropout { rate, seed }),
            },
            floats: [strided(q), strided(k), strided(v)],
            bias: bias.map(|bias| broadcast(bias, &scores)).transpose()?,
            visible: visible.as_ref().map(|visible| broadcast(visible, &scores)).transpose()?,
            slopes: rules
                .slopes
                .as_ref()
                .map(|slopes| slopes.iter().map(|&slope| T::from_f64(slope)).collect()),
            key_lengths: check_lengths("a length of keys", key_lengths.as_ref(), batch, keys)?,
            query_lengths: check_lengths("a length of queries", query_lengths.as_ref(), batch, queries)?,
        })
    }

    fn job(&self) -> Job<'_, T> {
        let [q, k, v] = self.floats;
        Job {
            sizes: self.sizes,
            rules: self.rules,
            q,
            k,
            v,
            bias: self.bias,
            visible: self.visible,
            slopes: self.slopes.as_deref(),
            key_lengths: self.key_lengths.as_deref(),
            query_lengths: self.query_lengths.as_deref(),
        }
    }
}

fn check_sizes<T: Float>(q: &Tensor<T>, k: &Tensor<T>, v: &Tensor<T>) -> Result<Sizes> {
    let axes = |tensor: &Tensor<T>| match *tensor.shape() {
        [batch, time, heads, size] if heads > 0 && size > 0 => Ok([batch, time, heads, size]),
        _ => Err(Error::bad_shape(
            OP,
            tensor.shape(),
            "[batch, time, heads, size] is needed, with heads that have elements",
        )),
    };
    let [batch, queries, heads, size] = axes(q)?;
    let [key_batch, keys, key_heads, key_size] = axes(k)?;
    let [value_batch, values, value_heads, value_size] = axes(v)?;
    if [key_batch, key_size] != [batch, size] {
        let why = "queries and keys must have one batch and head size";
        return Err(Error::mismatch(OP, q.shape(), k.shape(), why));
    }
    if [value_batch, values, value_heads] != [batch, keys, key_heads] {
        let why = "keys and values must have one batch, time and number of heads";
        return Err(Error::mismatch(OP, k.shape(), v.shape(), why));
    }
    if !heads.is_multiple_of(key_heads) {
        let why = "the heads of the keys must divide those of the queries";
        return Err(Error::mismatch(OP, q.shape(), k.shape(), why));
    }
    Ok(Sizes { batch, queries, keys, heads, key_heads, size, value_size })
}

fn strided<T: Element>(tensor: &Tensor<T>) -> Strided<'_, T> {
    let mut strides = [0; 4];
    strides.copy_from_slice(tensor.strides());
    Strided { data: tensor.storage(), start: tensor.layout().offset, strides }
}

/// A bias or mask as it meets the scores.
fn broadcast<'a, T: Element>(tensor: &'a Tensor<T>, scores: &[usize; 4]) -> Result<Strided<'a, T>> {
    let layout = tensor.layout().broadcast_to(OP, scores).map_err(|_| {
        let why = "a bias or mask must be broadcastable to [batch, heads, queries, keys]";
        Error::mismatch(OP, tensor.shape(), scores, why)
    })?;
    let mut strides = [0; 4];
    strides.copy_from_slice(&layout.strides);
    Ok(Strided { data: tensor.storage(), start: layout.offset, strides })
}

/// One length for each sequence, each at most the time there is.
fn check_lengths<'a>(
    what: &'static str,
    lengths: Option<&'a Tensor<u32>>,
    batch: usize,
    time: usize,
) -> Result<Option<RowMajor<'a, u32>>> {
    let Some(lengths) = lengths else { return Ok(None) };
    if lengths.shape() != [batch] {
        let why = "one length for each sequence of the batch is needed";
        return Err(Error::mismatch(OP, lengths.shape(), &[batch], why));
    }
    if let Some((sequence, length)) = lengths.iter().enumerate().find(|&(_, length)| length as usize > time) {
        let value = format!("{length} (sequence {sequence}, of {time} steps)");
        return Err(Error::bad_setting(OP, what, value, "at most the time axis"));
    }
    Ok(Some(lengths.row_major()?))
}
