//! Drawing the next token of a language model from its scores.
//!
//! Likelier tokens may be made likelier still (temperature), and unlikely ones ruled out: all but the `k` best (Fan et al.
//! 2018), or all beyond the smallest set of best ones that holds a share `p` of the probability (nucleus; Holtzman et al.
//! 2020). In this order, as everywhere else.

use cairn_tensor::{Rng, Tensor};
use rand::RngExt;

use crate::{Error, Result};

/// How to draw tokens from logits: by temperature, top-k and top-p (nucleus) sampling, or greedily.
///
/// ```
/// use cairn_nn::generate::Sampling;
/// use cairn_tensor::{Tensor, rng};
/// let logits = Tensor::from_vec(vec![2.0, 1.0, -1.0], [3])?;
/// let sampling = Sampling::new().temperature(0.8).top_k(2);
/// let id = sampling.draw(&logits, &mut rng(0))?;
/// assert!(id < 2);
/// assert_eq!(Sampling::greedy().draw(&logits, &mut rng(0))?, 0);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    temperature: f64,
    top_k: usize,
    top_p: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self::new()
    }
}

impl Sampling {
    /// From the model's own distribution.
    pub fn new() -> Self {
        Sampling { temperature: 1.0, top_k: usize::MAX, top_p: 1.0 }
    }

    /// Always the likeliest token; of equals the first.
    #[doc(alias = "argmax")]
    pub fn greedy() -> Self {
        Self::new().temperature(0.0)
    }

    /// Divides logits by this: below 1 likely tokens become likelier, above 1 all become more alike. 0 is
    /// [`greedy`](Self::greedy).
    #[must_use]
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Only among the `k` likeliest.
    #[must_use]
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = k;
        self
    }

    /// Only among the likeliest that together hold the share `p`; at least one.
    #[doc(alias = "nucleus")]
    #[must_use]
    pub fn top_p(mut self, p: f64) -> Self {
        self.top_p = p;
        self
    }

    /// Draws a token from logits `[vocabulary]`. A logit of -∞ rules its token out.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a setting outside its range, for no logits, and for logits that are NaN, +∞ or all -∞.
    pub fn draw(&self, logits: &Tensor, rng: &mut Rng) -> Result<u32> {
        let weights = self.weights(logits)?;
        let total: f64 = weights.iter().map(|(_, w)| w).sum();
        let mut left = rng.random::<f64>() * total;
        let mut last = weights[0].0;
        for (id, weight) in weights {
            last = id;
            if left < weight {
                break;
            }
            left -= weight;
        }
        // Rounding may leave a remainder, which falls to the last.
        Ok(last)
    }

    /// The tokens that may be drawn and their probabilities, likeliest first; of equals the one of the lower number.
    ///
    /// # Errors
    /// [`Error::BadSetting`], as for [`draw`](Self::draw).
    pub fn probabilities(&self, logits: &Tensor) -> Result<Vec<(u32, f64)>> {
        let mut weights = self.weights(logits)?;
        let total: f64 = weights.iter().map(|(_, w)| w).sum();
        weights.iter_mut().for_each(|(_, w)| *w /= total);
        Ok(weights)
    }

    /// As [`probabilities`](Self::probabilities), but for a common factor; never empty.
    fn weights(&self, logits: &Tensor) -> Result<Vec<(u32, f64)>> {
        let t = self.temperature;
        check("the temperature", t, t >= 0.0 && t.is_finite(), "finite and not negative")?;
        check("top_k", self.top_k as f64, self.top_k > 0, "at least 1")?;
        check("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0 and at most 1")?;
        check("the rank of the logits", logits.rank() as f64, logits.rank() == 1, "1: [vocabulary]")?;
        let bad = |x: &f32| x.is_nan() || *x == f32::INFINITY;
        let fault = logits.iter().find(bad).map_or(0.0, f64::from);
        check("a logit", fault, fault == 0.0, "a number below infinity")?;

        let mut order: Vec<(u32, f32)> =
            (0..).zip(logits.iter()).filter(|(_, x)| *x > f32::NEG_INFINITY).collect();
        check("the number of possible tokens", order.len() as f64, !order.is_empty(), "at least 1")?;
        let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let kept = if t == 0.0 { 1 } else { self.top_k.min(order.len()) };
        if kept < order.len() {
            order.select_nth_unstable_by(kept, better);
            order.truncate(kept);
        }
        order.sort_unstable_by(better);
        let most = order[0].1;
        let weight = |x: f32| if t == 0.0 { 1.0 } else { (f64::from(x - most) / t).exp() };
        let mut weights: Vec<(u32, f64)> = order.iter().map(|&(id, x)| (id, weight(x))).collect();
        weights.truncate(nucleus(&weights, self.top_p));
        Ok(weights)
    }
}

/// How many of these weights, in falling order, hold the share `p`.
fn nucleus(weights: &[(u32, f64)], p: f64) -> usize {
    if p >= 1.0 {
        return weights.len();
    }
    let enough = p * weights.iter().map(|(_, w)| w).sum::<f64>();
    let mut sum = 0.0;
    let before = weights.iter().take_while(|(_, w)| {
        let more = sum < enough;
        sum += w;
        more
    });
    before.count().max(1)
}

fn check(what: &'static str, value: f64, ok: bool, must: &'static str) -> Result<()> {
    if ok { Ok(()) } else { Err(Error::BadSetting { what, value, must }) }
}
