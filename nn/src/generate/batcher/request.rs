//! What is asked of a [`Batcher`](super::Batcher), and what it tells of it.

use cairn_tensor::Tensor;

use crate::generate::Generate;
use crate::{Error, Result};

/// A text to be continued.
///
/// ```
/// use cairn_nn::generate::{Generate, Request, Sampling};
/// let request = Request::new([5, 3, 8], Generate::new(100).sampling(Sampling::greedy()).stop_at([0])).log_probabilities(5);
/// ```
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) prompt: Vec<u32>,
    pub(super) settings: Generate,
    pub(super) likeliest: Option<usize>,
}

impl Request {
    /// This prompt, continued by these settings: how tokens are drawn, how many at most, and before which the text ends.
    pub fn new(prompt: impl Into<Vec<u32>>, settings: Generate) -> Self {
        Request { prompt: prompt.into(), settings, likeliest: None }
    }

    /// With the log-probability of each token, and of so many of the likeliest in its place.
    #[must_use]
    #[doc(alias("logprobs", "top_logprobs"))]
    pub fn log_probabilities(self, likeliest: usize) -> Self {
        Request { likeliest: Some(likeliest), ..self }
    }

    /// The tokens to be continued.
    pub fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    #[cfg(feature = "language")]
    pub(crate) fn also_stop_at(mut self, tokens: &[u32]) -> Self {
        self.settings = self.settings.also_stop_at(tokens);
        self
    }
}

/// Which request something is about. No two of a batcher have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

/// What a step brought.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A text has a token more.
    Token {
        /// Whose it is.
        request: RequestId,
        /// The token.
        token: u32,
        /// How likely it was, where that was asked for.
        scores: Option<TokenScores>,
    },
    /// A text has ended.
    End {
        /// Whose it is.
        request: RequestId,
        /// Why.
        reason: Finish,
        /// What was computed for it.
        usage: Usage,
    },
}

/// Why a text has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finish {
    /// Before a token, or a text, that ends it.
    Stop,
    /// It has as many tokens as it may have, or as the model can read.
    Length,
    /// It could not go on.
    Failed(Error),
}

/// How likely the model, before sampling changed it, held a token for.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScores {
    /// The logarithm of the token's probability.
    pub log_probability: f64,
    /// The likeliest tokens in its place with the logarithms of theirs, likeliest first.
    pub likeliest: Vec<(u32, f64)>,
}

impl TokenScores {
    /// Those of a token and of so many of the likeliest, of equals the first, by scores (logits) `[vocabulary]`.
    pub(super) fn of(token: u32, scores: &Tensor, count: usize) -> Result<Self> {
        let all = scores.log_softmax(0)?.to_vec();
        let mut order: Vec<u32> = (0..all.len() as u32).collect();
        let better = |a: &u32, b: &u32| all[*b as usize].total_cmp(&all[*a as usize]).then(a.cmp(b));
        if count < order.len() {
            order.select_nth_unstable_by(count, better);
            order.truncate(count);
        }
        order.sort_unstable_by(better);
        let of = |id: u32| f64::from(all[id as usize]);
        let likeliest = order.into_iter().map(|id| (id, of(id))).collect();
        Ok(TokenScores { log_probability: of(token), likeliest })
    }
}

/// Tokens that a request was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Those of them whose keys and values were there already, from other requests.
    pub cached: usize,
    /// Tokens that were written.
    pub written: usize,
    /// Those of them that were guessed.
    pub guessed: usize,
}

pub(super) fn check_prompt(length: usize, capacity: usize) -> Result<()> {
    let (what, value) = ("the number of tokens of the prompt", length as f64);
    if length == 0 {
        return Err(Error::BadSetting { what, value, must: "at least 1" });
    }
    if length >= capacity {
        return Err(Error::BadSetting { what, value, must: "below what the model can read" });
    }
    Ok(())
}
