//! Drawing the next token of a language model from its scores.
//!
//! What was written already may be made less likely (repetition penalty; Keskar et al. 2019) or, where it would repeat a run of
//! n tokens, be ruled out (Paulus et al. 2018). Likelier tokens may be made likelier still (temperature), and unlikely ones ruled
//! out: all but the `k` best (Fan et al. 2018), all beyond the smallest set of best ones that holds a share `p` of the probability
//! (nucleus; Holtzman et al. 2020), all below a share of the best one's (min-p; Nguyen et al. 2024). In this order, which is
//! that of Hugging Face's transformers; llama.cpp takes the temperature last, so that the same settings mean another thing there.

use std::collections::BTreeSet;

use cairn_tensor::{Rng, Tensor};
use rand::RngExt;

use crate::{Error, Result};

/// How to draw tokens from logits: by temperature, top-k, top-p (nucleus) and min-p sampling, or greedily; with penalties for
/// what was written already.
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
    min_p: f64,
    repetition_penalty: f64,
    no_repeat_ngram: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self::new()
    }
}

impl Sampling {
    /// From the model's own distribution.
    pub fn new() -> Self {
        Sampling {
            temperature: 1.0,
            top_k: usize::MAX,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            no_repeat_ngram: 0,
        }
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

    /// Only tokens at least this share as likely as the likeliest one, 0 to 1.
    #[must_use]
    pub fn min_p(mut self, p: f64) -> Self {
        self.min_p = p;
        self
    }

    /// Makes tokens that were written already less likely: positive logits are divided by this, negative ones multiplied. 1,
    /// the default, changes nothing.
    #[must_use]
    pub fn repetition_penalty(mut self, penalty: f64) -> Self {
        self.repetition_penalty = penalty;
        self
    }

    /// Rules out tokens with which a run of `n` tokens would stand in the text a second time; 0, the default, none.
    #[doc(alias = "no_repeat_ngram_size")]
    #[must_use]
    pub fn no_repeat_ngram(mut self, n: usize) -> Self {
        self.no_repeat_ngram = n;
        self
    }

    /// Draws a token from logits `[vocabulary]`. A logit of -∞ rules its token out.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a setting outside its range, for no logits, and for logits that are NaN, +∞ or all -∞.
    pub fn draw(&self, logits: &Tensor, rng: &mut Rng) -> Result<u32> {
        self.draw_after(&[], logits, rng)
    }

    /// As [`draw`](Self::draw), after these tokens, which the penalties look at: the prompt and what was written.
    ///
    /// # Errors
    /// As for [`draw`](Self::draw), and when what was written leaves no token to draw.
    pub fn draw_after(&self, written: &[u32], logits: &Tensor, rng: &mut Rng) -> Result<u32> {
        if self.temperature == 0.0 && self.repetition_penalty == 1.0 && self.no_repeat_ngram == 0 {
            return self.best(logits);
        }
        let weights = self.weights(written, logits)?;
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

    /// The likeliest token; of equals the first.
    fn best(&self, logits: &Tensor) -> Result<u32> {
        self.check(logits)?;
        let logits = logits.row_major()?;
        let better = |best: Option<(u32, f32)>, (id, &x): (u32, &f32)| match best {
            Some((_, most)) if most >= x => best,
            _ => (x > f32::NEG_INFINITY).then_some((id, x)),
        };
        let best = (0..).zip(logits.iter()).fold(None, better);
        check("the number of possible tokens", 0.0, best.is_some(), "at least 1")?;
        Ok(best.map_or(0, |(id, _)| id))
    }

    /// The tokens that may be drawn and their probabilities, likeliest first; of equals the one of the lower number.
    ///
    /// # Errors
    /// [`Error::BadSetting`], as for [`draw`](Self::draw).
    pub fn probabilities(&self, logits: &Tensor) -> Result<Vec<(u32, f64)>> {
        self.probabilities_after(&[], logits)
    }

    /// As [`probabilities`](Self::probabilities), after these tokens.
    ///
    /// # Errors
    /// As for [`draw_after`](Self::draw_after).
    pub fn probabilities_after(&self, written: &[u32], logits: &Tensor) -> Result<Vec<(u32, f64)>> {
        let mut weights = self.weights(written, logits)?;
        let total: f64 = weights.iter().map(|(_, w)| w).sum();
        weights.iter_mut().for_each(|(_, w)| *w /= total);
        Ok(weights)
    }

    /// As [`probabilities`](Self::probabilities), but for a common factor; never empty.
    fn weights(&self, written: &[u32], logits: &Tensor) -> Result<Vec<(u32, f64)>> {
        self.check(logits)?;
        let t = self.temperature;
        let mut order: Vec<(u32, f64)> = (0..).zip(logits.iter().map(f64::from)).collect();
        self.penalise(written, &mut order);
        order.retain(|&(_, x)| x > f64::NEG_INFINITY);
        check("the number of possible tokens", order.len() as f64, !order.is_empty(), "at least 1")?;
        let better = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let kept = if t == 0.0 { 1 } else { self.top_k.min(order.len()) };
        if kept < order.len() {
            order.select_nth_unstable_by(kept, better);
            order.truncate(kept);
        }
        let most = order.iter().map(|&(_, x)| x).fold(f64::NEG_INFINITY, f64::max);
        let weight = |x: f64| if t == 0.0 { 1.0 } else { ((x - most) / t).exp() };
        let all: f64 = order.iter().map(|&(_, x)| weight(x)).sum();
        // Most of a vocabulary need not be put in order. What is below this has, all together, less than half the share that top-p
        // rules out; the other half is for what rounding does to sums.
        let least = self.min_p.max((1.0 - self.top_p) * all / order.len() as f64 / 2.0);
        order.retain(|&(_, x)| weight(x) >= least);
        order.sort_unstable_by(better);
        let mut weights: Vec<(u32, f64)> = order.iter().map(|&(id, x)| (id, weight(x))).collect();
        weights.truncate(nucleus(&weights, self.top_p, all));
        // The first has weight 1.
        weights.truncate(weights.partition_point(|&(_, w)| w >= self.min_p));
        Ok(weights)
    }

    /// That the settings are within their ranges.
    pub(super) fn check_settings(&self) -> Result<()> {
        let (t, penalty) = (self.temperature, self.repetition_penalty);
        check("the temperature", t, t >= 0.0 && t.is_finite(), "finite and not negative")?;
        check("top_k", self.top_k as f64, self.top_k > 0, "at least 1")?;
        check("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0 and at most 1")?;
        check("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "from 0 to 1")?;
        check("the repetition penalty", penalty, penalty > 0.0 && penalty.is_finite(), "finite and above 0")
    }

    fn check(&self, logits: &Tensor) -> Result<()> {
        self.check_settings()?;
        check("the rank of the logits", logits.rank() as f64, logits.rank() == 1, "1: [vocabulary]")?;
        let bad = |x: &f32| x.is_nan() || *x == f32::INFINITY;
        let fault = logits.iter().find(bad).map_or(0.0, f64::from);
        check("a logit", fault, fault == 0.0, "a number below infinity")
    }

    /// Changes the scores of what was written already. Tokens beyond the vocabulary are passed over.
    fn penalise(&self, written: &[u32], scores: &mut [(u32, f64)]) {
        if self.repetition_penalty != 1.0 {
            for token in written.iter().copied().collect::<BTreeSet<u32>>() {
                // What is ruled out stays so; what is not stays a number, however small or large the penalty.
                let score = scores.get_mut(token as usize).map(|(_, score)| score);
                if let Some(score) = score.filter(|score| score.is_finite()) {
                    let penalty = self.repetition_penalty;
                    let changed = if *score < 0.0 { *score * penalty } else { *score / penalty };
                    *score = changed.clamp(f64::MIN, f64::MAX);
                }
            }
        }
        if self.no_repeat_ngram > 0 && written.len() >= self.no_repeat_ngram {
            let end = &written[written.len() + 1 - self.no_repeat_ngram..];
            for run in written.windows(self.no_repeat_ngram) {
                let (begin, last) = run.split_at(end.len());
                if let Some((_, score)) = scores.get_mut(last[0] as usize).filter(|_| begin == end) {
                    *score = f64::NEG_INFINITY;
                }
            }
        }
    }
}

/// How many of these weights, in falling order, hold the share `p` of what all together are.
fn nucleus(weights: &[(u32, f64)], p: f64, all: f64) -> usize {
    if p >= 1.0 {
        return weights.len();
    }
    let enough = p * all;
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
