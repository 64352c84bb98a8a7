//! Texts of many requests that come and go: [`Batcher`] with the tokenizer behind it, and with texts to stop at.

use std::collections::BTreeMap;

use super::LanguageModel;
use super::until::Until;
use crate::Result;
use crate::generate::{Batcher, Event, Finish, Request, RequestId, TokenScores, Usage};
use crate::tokenizer::Pieces;

/// Writes the texts of many requests together, each as if it was alone; made by [`LanguageModel::batcher`].
///
/// ```no_run
/// use cairn_nn::generate::{Generate, Request};
/// use cairn_nn::language::{LanguageModel, TextEvent, user};
/// let model = LanguageModel::load("SmolLM2-135M-Instruct.Q4_1.gguf")?;
/// let mut batcher = model.batcher(8, 2048)?.waiting_at_most(100).speculate(8);
/// for question in ["Why is the sky blue?", "What is a cairn?"] {
///     batcher.push(Request::new(model.prompt([user(question)])?, Generate::new(200)), ["\n\n"])?;
/// }
/// while !batcher.is_idle() {
///     for event in batcher.step() {
///         if let TextEvent::Piece { request, text, .. } = event {
///             println!("{request:?}: {text}");
///         }
///     }
/// }
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias("LLMEngine", "continuous batching"))]
pub struct TextBatcher<'m> {
    tokens: Batcher<'m>,
    model: &'m LanguageModel,
    open: BTreeMap<RequestId, Open<'m>>,
}

/// A text that is not at its end.
#[derive(Debug)]
struct Open<'m> {
    pieces: Pieces<'m>,
    until: Until,
    /// Tokens of which nothing was given out yet.
    held: Vec<(u32, Option<TokenScores>)>,
    written: usize,
    /// Why it is to end, although more was written in the same step.
    reason: Option<Finish>,
}

/// What a step brought.
#[derive(Debug)]
#[non_exhaustive]
pub enum TextEvent {
    /// A text goes on. Nothing in it is cut within a character.
    Piece {
        /// Whose it is.
        request: RequestId,
        /// What is new; perhaps nothing, in the end, where tokens have no text.
        text: String,
        /// The tokens that it is of, and how likely they were, where that was asked for.
        tokens: Vec<(u32, Option<TokenScores>)>,
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

impl LanguageModel {
    /// Writes up to `rows` texts at a time, of at most `capacity` tokens each, prompt included.
    ///
    /// # Errors
    /// As [`Batcher::new`].
    pub fn batcher(&self, rows: usize, capacity: usize) -> Result<TextBatcher<'_>> {
        let tokens = Batcher::new(self.network(), rows, capacity)?;
        Ok(TextBatcher { tokens, model: self, open: BTreeMap::new() })
    }
}

impl<'m> TextBatcher<'m> {
    /// As [`Batcher::waiting_at_most`].
    #[must_use]
    pub fn waiting_at_most(self, requests: usize) -> Self {
        TextBatcher { tokens: self.tokens.waiting_at_most(requests), ..self }
    }

    /// As [`Batcher::speculate`].
    #[must_use]
    pub fn speculate(self, tokens: usize) -> Self {
        TextBatcher { tokens: self.tokens.speculate(tokens), ..self }
    }

    /// How many tokens a text can have.
    pub fn capacity(&self) -> usize {
        self.tokens.capacity()
    }

    /// How many requests are under way.
    pub fn running(&self) -> usize {
        self.tokens.running()
    }

    /// How many requests wait for a row.
    pub fn waiting(&self) -> usize {
        self.tokens.waiting()
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.tokens.is_idle()
    }

    /// Adds a request behind those that wait. Its text ends before any of `stops`, before a token that ends texts, after as many tokens as
    /// its settings say, or with the room there is for it.
    ///
    /// # Errors
    /// As [`Batcher::push`].
    pub fn push<S: Into<String>>(
        &mut self,
        request: Request,
        stops: impl IntoIterator<Item = S>,
    ) -> Result<RequestId> {
        let id = self.tokens.push(request.also_stop_at(self.model.ends()))?;
        let mut until = Until::default();
        until.extend(stops);
        let pieces = self.model.tokenizer().pieces();
        self.open.insert(id, Open { pieces, until, held: Vec::new(), written: 0, reason: None });
        Ok(id)
    }

    /// Forgets a request; whether it was there. Nothing more is told of it.
    pub fn cancel(&mut self, request: RequestId) -> bool {
        self.open.remove(&request);
        self.tokens.cancel(request).is_some()
    }

    /// Does a step for all requests, and tells what it brought. What goes wrong with one of them ends that one.
    pub fn step(&mut self) -> Vec<TextEvent> {
        let mut told = Vec::new();
        for event in self.tokens.step() {
            match event {
                Event::Token { request, token, scores } => self.token(request, token, scores, &mut told),
                Event::End { request, reason, usage } => self.end(request, reason, usage, &mut told),
            }
        }
        told
    }

    fn token(
        &mut self,
        request: RequestId,
        token: u32,
        scores: Option<TokenScores>,
        told: &mut Vec<TextEvent>,
    ) {
        // Guesses may have gone on beyond a text to stop at.
        let Some(open) = self.open.get_mut(&request).filter(|open| open.reason.is_none()) else { return };
        open.written += 1;
        open.held.push((token, scores));
        match open.pieces.push(token) {
            Ok(piece) => {
                let text = open.until.push(&piece);
                if !text.is_empty() {
                    told.push(TextEvent::Piece { request, text, tokens: std::mem::take(&mut open.held) });
                }
                open.reason = open.until.stopped().then_some(Finish::Stop);
            }
            Err(error) => open.reason = Some(Finish::Failed(error)),
        }
        // It may have ended by itself in this step, which is told in a moment.
        if open.reason.is_some()
            && let Some(usage) = self.tokens.cancel(request)
        {
            self.end(request, Finish::Stop, usage, told);
        }
    }

    fn end(&mut self, request: RequestId, reason: Finish, usage: Usage, told: &mut Vec<TextEvent>) {
        let Some(mut open) = self.open.remove(&request) else { return };
        let reason = open.reason.take().unwrap_or(reason);
        let usage = Usage { written: open.written, ..usage };
        let (text, reason) = match open.pieces.finish() {
            Ok(piece) => (open.until.finish(&piece), reason),
            Err(error) => (String::new(), Finish::Failed(error)),
        };
        if !text.is_empty() || !open.held.is_empty() {
            told.push(TextEvent::Piece { request, text, tokens: open.held });
        }
        told.push(TextEvent::End { request, reason, usage });
    }
}
