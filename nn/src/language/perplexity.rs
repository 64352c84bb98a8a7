//! How well a model foretells a text.

use cairn_autograd::no_grad;
use cairn_tensor::Tensor;

use super::LanguageModel;
use crate::{Context, Error, Result};

/// Positions whose scores, of all tokens, are held at a time.
const AT_ONCE: usize = 64;

/// What a model made of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// exp of the mean negative log-probability of a token: as if each was drawn from so many equally likely ones.
    pub perplexity: f64,
    /// How many tokens were foretold.
    pub tokens: usize,
}

impl LanguageModel {
    /// The perplexity of a text that is longer than the model reads: it reads `window` tokens at a time, each time `stride` further on,
    /// and foretells those that it has not before; of the first window all but the first token. With a stride of the window, parts are read by themselves.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a window beyond the context or of fewer than 2 tokens, and a stride of 0 or beyond the window; for a
    /// text of fewer than 2 tokens.
    #[doc(alias = "ppl")]
    pub fn perplexity(&self, text: &str, window: usize, stride: usize) -> Result<Perplexity> {
        self.perplexity_of(&self.tokenizer().encode(text)?, window, stride)
    }

    /// As [`perplexity`](Self::perplexity), of tokens.
    ///
    /// # Errors
    /// As [`perplexity`](Self::perplexity).
    pub fn perplexity_of(&self, tokens: &[u32], window: usize, stride: usize) -> Result<Perplexity> {
        let bad = |what, value: usize, must| Err(Error::BadSetting { what, value: value as f64, must });
        if window < 2 || window > self.context() {
            return bad("the window", window, "at least 2 and at most what the model can read");
        }
        if stride == 0 || stride > window {
            return bad("the stride", stride, "at least 1 and at most the window");
        }
        let (mut sum, mut count, mut done) = (0.0, 0, 0);
        for start in (0..tokens.len()).step_by(stride) {
            let end = (start + window).min(tokens.len());
            let part = &tokens[start..end];
            let known = done.max(start + 1) - start;
            if known < part.len() {
                let scored = self.scored(part, known)?;
                sum += scored.iter().sum::<f64>();
                count += scored.len();
            }
            done = end;
            if end == tokens.len() {
                break;
            }
        }
        if count == 0 {
            return bad("the number of tokens of the text", tokens.len(), "at least 2");
        }
        Ok(Perplexity { perplexity: (-sum / count as f64).exp(), tokens: count })
    }

    /// The tokens of a text after the first, each with the logarithm of its probability after those before.
    ///
    /// # Errors
    /// For a text that is longer than the context.
    #[doc(alias("logprobs", "score"))]
    pub fn log_probabilities(&self, text: &str) -> Result<Vec<(u32, f64)>> {
        let tokens = self.tokenizer().encode(text)?;
        if tokens.len() > self.context() {
            let (what, must) = ("the number of tokens of the text", "at most what the model can read");
            return Err(Error::BadSetting { what, value: tokens.len() as f64, must });
        }
        let scored = self.scored(&tokens, 1)?;
        Ok(tokens.into_iter().skip(1).zip(scored).collect())
    }

    /// The log-probabilities of these tokens from one on.
    fn scored(&self, tokens: &[u32], from: usize) -> Result<Vec<f64>> {
        if tokens.len() <= from {
            return Ok(Vec::new());
        }
        no_grad(|| {
            let read = tokens.len() - 1;
            let ids = Tensor::from_slice(&tokens[..read], [1, read])?;
            let states = self.network().states(&ids, &mut Context::eval())?;
            let features = states.shape()[2];
            let states = states.reshape([read, features])?;
            let mut all = Vec::with_capacity(read);
            for start in (from - 1..read).step_by(AT_ONCE) {
                let count = AT_ONCE.min(read - start);
                let scores = self.network().scores(&states.narrow(0, start, count)?)?;
                let scores = scores.value().log_softmax(1)?;
                let next = Tensor::from_slice(&tokens[start + 1..start + 1 + count], [count, 1])?;
                all.extend(scores.gather(1, &next)?.iter().map(f64::from));
            }
            Ok(all)
        })
    }
}
