//! A text as it is written, piece by piece, and its end at a text of the caller's.

use super::until::Until;
use crate::Result;
use crate::generate::Tokens;
use crate::models::CausalModel;
use crate::tokenizer::Pieces;

/// The pieces of a text as a model writes them: an iterator whose steps compute tokens until there is something to read. Nothing in it
/// is cut within a character.
///
/// ```no_run
/// # use cairn_nn::{generate::Generate, language::LanguageModel};
/// # let model = LanguageModel::load("model.gguf")?;
/// let text: String = model.generate("1, 2, 3,", &Generate::new(50))?.until(["\n", "10"]).collect::<Result<_, _>>()?;
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct Text<'a> {
    tokens: Tokens<'a, Box<dyn CausalModel>>,
    pieces: Pieces<'a>,
    until: Until,
    written: usize,
    done: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(tokens: Tokens<'a, Box<dyn CausalModel>>, pieces: Pieces<'a>) -> Self {
        Text { tokens, pieces, until: Until::default(), written: 0, done: false }
    }

    /// Ends the text before any of these, which are not part of it.
    #[must_use]
    #[doc(alias("stop", "stop_strings", "antiprompt"))]
    pub fn until<S: Into<String>>(mut self, stops: impl IntoIterator<Item = S>) -> Self {
        self.until.extend(stops);
        self
    }

    /// The number of tokens that were written so far.
    pub fn token_count(&self) -> usize {
        self.written
    }

    /// The logarithm of the probability that the model, before sampling changed it, gave the last token; `None` before the first.
    ///
    /// # Errors
    /// When memory runs out.
    #[doc(alias = "logprobs")]
    pub fn log_probability(&self) -> Result<Option<f64>> {
        self.tokens.log_probability()
    }

    fn step(&mut self) -> Result<String> {
        match self.tokens.next() {
            Some(token) => {
                self.written += 1;
                let text = self.until.push(&self.pieces.push(token?)?);
                self.done = self.until.stopped();
                Ok(text)
            }
            None => {
                self.done = true;
                Ok(self.until.finish(&self.pieces.finish()?))
            }
        }
    }
}

impl Iterator for Text<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        while !self.done {
            match self.step() {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Some(Ok(text)),
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
