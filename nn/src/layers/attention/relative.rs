//! Relative positions as in T5 (Raffel et al. 2020): what is added to a score depends on how far its key is from its query, and is learned
//! by head. Distances share buckets: near ones have one each, far ones fewer and fewer, up to a distance beyond which all are alike.

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Tensor};

use super::rotary::Positions;
use crate::{Error, Init, Module, Result};

/// A table of biases by bucket of distance and head, `[buckets, heads]`. Clones are the same parameter, so that the layers of a model can
/// share it, as in T5, where only the first layer's is in the file.
///
/// ```
/// use cairn_nn::{Context, RelativePositions, spec};
/// use cairn_tensor::{Tensor, rng};
/// let mut random = rng(0);
/// let positions = RelativePositions::new(4, &mut random)?;
/// let attention = spec::MultiHeadAttention::new(4).bias(false).scale(1.0);
/// let layer = attention.layer(32, &mut random)?.relative(&positions)?;
/// let x = Tensor::normal([2, 10, 32], 0.0, 1.0, &mut random)?;
/// assert_eq!(layer.forward(&x.into(), &mut Context::eval())?.shape(), [2, 10, 32]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Module)]
#[doc(alias("relative_attention_bias", "T5 bias", "relative_attention_num_buckets"))]
pub struct RelativePositions {
    /// `[buckets, heads]`
    pub weight: Parameter,
    #[module(skip)]
    one_way: bool,
    #[module(skip)]
    most: usize,
}

impl RelativePositions {
    /// For so many heads, with T5's 32 buckets of distances of up to 128 either way; biases drawn from a normal distribution of deviation
    /// 0.02.
    ///
    /// # Errors
    /// When memory does not hold the table.
    pub fn new(heads: usize, rng: &mut Rng) -> Result<Self> {
        Self::with_buckets(heads, 32, 128, rng)
    }

    /// With so many buckets, at least 4, for distances up to `most`.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for too few buckets, and for a distance that is not more than they tell apart one by one; when memory does not
    /// hold the table.
    #[doc(alias = "relative_attention_max_distance")]
    pub fn with_buckets(heads: usize, buckets: usize, most: usize, rng: &mut Rng) -> Result<Self> {
        let bad = |what, value: usize, must| Err(Error::BadSetting { what, value: value as f64, must });
        if buckets < 4 || u32::try_from(buckets).is_err() {
            return bad("the number of buckets", buckets, "at least 4, and not beyond 32 bits");
        }
        if most <= buckets / 2 {
            return bad("the greatest distance", most, "more than half the number of buckets");
        }
        let weight = Parameter::new(Init::Normal(0.02).tensor([buckets, heads], rng)?);
        Ok(RelativePositions { weight, one_way: false, most })
    }

    /// For queries that only look back, as those of a decoder: all buckets are for keys before the query.
    #[must_use]
    #[doc(alias = "bidirectional")]
    pub fn one_way(self) -> Self {
        RelativePositions { one_way: true, ..self }
    }

    /// How many heads there are biases for.
    pub(super) fn heads(&self) -> usize {
        self.weight.shape()[1]
    }

    /// The biases of `time` queries at their positions with the first `keys` keys, `[rows or 1, heads, time, keys]`.
    pub(super) fn bias(&self, positions: &Positions, time: usize, keys: usize) -> Result<Var> {
        let (rows, places): (usize, Vec<u32>) = match positions {
            Positions::From(start) => (1, (0..time).map(|step| (start + step) as u32).collect()),
            Positions::Each(places, _) => (places.shape()[0], places.to_vec()),
        };
        let span = places.iter().copied().max().unwrap_or(0) as usize + 1;
        // Of every distance that can occur, keys before and after the query.
        let before: Vec<u32> = (0..span).map(|away| self.bucket(away, false)).collect();
        let after: Vec<u32> = (0..keys).map(|away| self.bucket(away, true)).collect();
        let bucket =
            |query: usize, key: usize| if key > query { after[key - query] } else { before[query - key] };
        let ids = places.iter().flat_map(|&query| (0..keys).map(move |key| (query as usize, key)));
        let ids = Tensor::from_vec(ids.map(|(query, key)| bucket(query, key)).collect(), [rows, time, keys])?;
        Ok(self.weight.var().lookup(&ids)?.permute([0, 3, 1, 2])?)
    }

    /// The bucket of a key so far away from its query.
    fn bucket(&self, away: usize, after: bool) -> u32 {
        let all = self.weight.shape()[0];
        let (first, count) = match (self.one_way, after) {
            (true, true) => return 0,
            (true, false) => (0, all),
            (false, after) => (if after { all / 2 } else { 0 }, all / 2),
        };
        let exact = count / 2;
        if away < exact {
            return (first + away) as u32;
        }
        // In f32, as those who trained the models computed it: at a few distances the bucket depends on it.
        let share = (away as f32 / exact as f32).ln() / (self.most as f64 / exact as f64).ln() as f32;
        let far = exact + (share * (count - exact) as f32) as usize;
        (first + far.min(count - 1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY: [usize; 16] = [0, 1, 7, 8, 11, 12, 16, 31, 32, 63, 64, 90, 91, 127, 128, 500];

    /// Of `T5Attention._relative_position_bucket` of transformers 5.
    #[test]
    fn buckets_are_those_of_t5() {
        let both = RelativePositions::new(1, &mut cairn_tensor::rng(0)).unwrap();
        let before = [0, 1, 7, 8, 8, 9, 10, 11, 12, 13, 14, 14, 15, 15, 15, 15];
        assert_eq!(AWAY.map(|away| both.bucket(away, false)), before);
        for (away, before) in AWAY.into_iter().zip(before).skip(1) {
            assert_eq!(both.bucket(away, true), before + 16);
        }
        let back = both.one_way();
        let want = [0, 1, 7, 8, 11, 12, 16, 21, 21, 26, 26, 29, 29, 31, 31, 31];
        assert_eq!(AWAY.map(|away| back.bucket(away, false)), want);
        assert_eq!(AWAY.map(|away| back.bucket(away, true)), [0; 16]);
        let few = RelativePositions::with_buckets(1, 10, 20, &mut cairn_tensor::rng(0)).unwrap().one_way();
        let few: Vec<u32> = (0..10).map(|away| few.bucket(3 * away, false)).collect();
        assert_eq!(few, [0, 3, 5, 7, 8, 8, 9, 9, 9, 9]);
    }

    #[test]
    fn buckets_that_make_no_sense_are_refused() {
        let with =
            |buckets, most| RelativePositions::with_buckets(2, buckets, most, &mut cairn_tensor::rng(0));
        assert!(with(4, 3).is_ok());
        for (buckets, most) in [(0, 10), (3, 10), (32, 16)] {
            assert!(matches!(with(buckets, most), Err(Error::BadSetting { .. })), "{buckets}, {most}");
        }
    }
}
