//! Sampling texts: one as an iterator over its tokens, or many at a time.
//!
//! What is drawn at a position is a function of the seed and the position alone, so that a text does not depend on which others
//! are written beside it, nor on when the caller asks for the next token. The texts of a batch share the seed; equal prompts
//! give equal texts.

use cairn_tensor::{Rng, Tensor};

use super::{Decoder, Finish, Sampling, row};
use crate::{Context, Error, Result};

/// How a text is continued: how tokens are drawn, and when it ends.
#[derive(Debug, Clone)]
pub struct Generate {
    sampling: Sampling,
    most: usize,
    stop: Vec<u32>,
    seed: u64,
}

impl Generate {
    /// At most this many new tokens, drawn from the model's own distribution, seed 0.
    #[doc(alias("max_new_tokens", "max_tokens"))]
    pub fn new(most: usize) -> Self {
        Generate { sampling: Sampling::new(), most, stop: Vec::new(), seed: 0 }
    }

    /// Draws by these settings.
    #[must_use]
    pub fn sampling(self, sampling: Sampling) -> Self {
        Generate { sampling, ..self }
    }

    /// Ends a text before any of these tokens, which are not part of it.
    #[doc(alias = "eos_token_id")]
    #[must_use]
    pub fn stop_at(self, tokens: impl Into<Vec<u32>>) -> Self {
        Generate { stop: tokens.into(), ..self }
    }

    /// Other draws.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Generate { seed, ..self }
    }

    /// How many new tokens there are at most.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// At most this many new tokens.
    #[cfg(feature = "language")]
    pub(crate) fn at_most(self, most: usize) -> Self {
        Generate { most, ..self }
    }

    /// Ends a text before any of these tokens, too.
    #[cfg(feature = "language")]
    pub(crate) fn also_stop_at(mut self, tokens: &[u32]) -> Self {
        self.stop.extend_from_slice(tokens);
        self
    }

    /// Continues one text, `prompt`, from a state of one row; each step of the iterator computes a token. It ends after an error.
    pub fn stream<'a, D: Decoder>(&self, model: &'a D, state: D::State, prompt: &[u32]) -> Tokens<'a, D> {
        Tokens {
            generate: self.clone(),
            model,
            state,
            text: prompt.to_vec(),
            read: 0,
            prompt: prompt.len(),
            scores: None,
            done: false,
        }
    }

    /// Continues several texts from a state with a row for each; what is new of each, in their order, and why it ended. A text for
    /// which no token can be drawn, as where penalties rule all out, ends there, and the others go on.
    ///
    /// ```
    /// # use cairn_nn::generate::{Decoder, Generate};
    /// # fn continued<D: Decoder>(model: &D, state: D::State) -> cairn_nn::Result<()> {
    /// for text in Generate::new(20).batch(model, state, &[&[5, 3], &[7]])? {
    ///     println!("{:?}", text.complete()?); // or `text.tokens` and `text.reason`
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The model's; [`Error::BadSetting`] for a prompt without a token, and for a setting outside its range.
    pub fn batch<D: Decoder>(
        &self,
        model: &D,
        mut state: D::State,
        prompts: &[&[u32]],
    ) -> Result<Vec<Written>> {
        self.sampling.check_settings()?;
        let mut texts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.to_vec()).collect();
        texts.iter().try_for_each(|text| has_token(text))?;
        // The texts that the state's rows belong to, and how much of each the model has read.
        let mut rows: Vec<usize> = (0..texts.len()).collect();
        let mut read = vec![0; texts.len()];
        let mut reasons: Vec<Finish> = prompts.iter().map(|_| Finish::Length).collect();
        for _ in 0..self.most {
            if rows.is_empty() {
                break;
            }
            let unread: Vec<&[u32]> = rows.iter().map(|&text| &texts[text][read[text]..]).collect();
            let scores = model.next(&unread, &mut state)?;
            let mut going = Vec::with_capacity(rows.len());
            for (at, &text) in rows.iter().enumerate() {
                read[text] = texts[text].len();
                match self.drawn(&texts[text], prompts[text].len(), &row(&scores, at)?) {
                    Ok(token) if self.stops_at(token) => reasons[text] = Finish::Stop,
                    Ok(token) => {
                        texts[text].push(token);
                        going.push(at);
                    }
                    Err(error) => reasons[text] = Finish::Failed(error),
                }
            }
            if going.len() < rows.len() {
                model.pick(&mut state, &going)?;
                rows = going.into_iter().map(|at| rows[at]).collect();
            }
        }
        let new = |(text, prompt): (&Vec<u32>, &&[u32])| text[prompt.len()..].to_vec();
        let written = texts.iter().zip(prompts).map(new).zip(reasons);
        Ok(written.map(|(tokens, reason)| Written { tokens, reason }).collect())
    }

    /// The token after a text that begins with a prompt of so many tokens, by its scores.
    pub(super) fn drawn(&self, text: &[u32], prompt: usize, scores: &Tensor) -> Result<u32> {
        self.sampling.draw_after(text, scores, &mut self.rng(text.len() - prompt))
    }

    /// Whether a text ends before this token.
    pub(super) fn stops_at(&self, token: u32) -> bool {
        self.stop.contains(&token)
    }

    /// What the new token at this position is drawn by.
    fn rng(&self, position: usize) -> Rng {
        Context::train(self.seed).at_step(position as u64).draw()
    }
}

/// A text of a [batch](Generate::batch), as far as it was written.
#[derive(Debug)]
pub struct Written {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub reason: Finish,
}

impl Written {
    /// The new tokens, unless the text could not go on.
    ///
    /// # Errors
    /// What it could not go on for.
    pub fn complete(self) -> Result<Vec<u32>> {
        match self.reason {
            Finish::Stop | Finish::Length => Ok(self.tokens),
            Finish::Failed(error) => Err(error),
        }
    }
}

fn has_token(prompt: &[u32]) -> Result<()> {
    match prompt {
        [] => Err(Error::BadSetting {
            what: "the number of tokens of a prompt",
            value: 0.0,
            must: "at least 1",
        }),
        _ => Ok(()),
    }
}

/// The tokens of a text as they are generated: see [`Generate::stream`].
#[derive(Debug)]
pub struct Tokens<'a, D: Decoder> {
    generate: Generate,
    model: &'a D,
    state: D::State,
    /// The prompt, then what is new.
    text: Vec<u32>,
    /// How much of it the model has read.
    read: usize,
    prompt: usize,
    /// Those that the last token was drawn from.
    scores: Option<Tensor>,
    done: bool,
}

impl<D: Decoder> Tokens<'_, D> {
    /// The prompt and the tokens so far.
    pub fn text(&self) -> &[u32] {
        &self.text
    }

    /// The logarithm of the probability that the model, before sampling changed it, gave the last token; `None` before the first. What
    /// ends a text is no token of it.
    ///
    /// # Errors
    /// When memory runs out.
    #[doc(alias = "logprobs")]
    pub fn log_probability(&self) -> Result<Option<f64>> {
        match (&self.scores, self.text[self.prompt..].last()) {
            (Some(scores), Some(&last)) => Ok(Some(scores.log_softmax(0)?.get(&[last as usize])?.into())),
            _ => Ok(None),
        }
    }

    /// The next token, and the scores it was drawn from.
    fn draw(&mut self) -> Result<(u32, Tensor)> {
        has_token(&self.text)?;
        let scores = self.model.next(&[&self.text[self.read..]], &mut self.state)?;
        self.read = self.text.len();
        let scores = row(&scores, 0)?;
        Ok((self.generate.drawn(&self.text, self.prompt, &scores)?, scores))
    }
}

impl<D: Decoder> Iterator for Tokens<'_, D> {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Result<u32>> {
        if self.done || self.text.len() - self.prompt >= self.generate.most {
            return None;
        }
        match self.draw() {
            Ok((token, _)) if self.generate.stops_at(token) => {
                self.done = true;
                None
            }
            Ok((token, scores)) => {
                self.text.push(token);
                self.scores = Some(scores);
                Some(Ok(token))
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}
