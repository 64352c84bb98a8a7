//! Learning from conversations: which tokens of a text are learnt from, batches of texts of like length, and a model that is tuned.
//!
//! A text is cut where an answer begins, and both parts become tokens by themselves, as they do when the model is asked: what it is
//! trained to continue is what it will be given. Where a tokenizer puts a blank before texts, which an answer would have twice then, the
//! whole becomes tokens at once, and those are learnt that any of an answer is in.

use std::fs;
use std::ops::Range;
use std::path::Path;

use cairn_autograd::Var;
use cairn_tensor::Tensor;
use serde::Deserialize;

use super::{LanguageModel, Message};
use crate::adapters::Adapter;
use crate::models::{CausalModel, IGNORED, next_token_loss};
use crate::{Context, Error, Loss, Model, Module, Result, Visitor};

/// The tokens of a text, and which of them are learnt: the answers, with the token that ends each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Example {
    tokens: Vec<u32>,
    learned: Vec<bool>,
}

impl Example {
    fn push(&mut self, tokens: Vec<u32>, learned: bool) {
        self.learned.resize(self.tokens.len() + tokens.len(), learned);
        self.tokens.extend(tokens);
    }

    /// All tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The number of tokens that are learnt. The first of a text never is: nothing foretells it.
    pub fn learned(&self) -> usize {
        self.learned.iter().skip(1).filter(|learned| **learned).count()
    }

    /// Its first tokens, at most so many.
    #[must_use]
    #[doc(alias("max_length", "max_seq_length"))]
    pub fn cut(mut self, longest: usize) -> Self {
        self.tokens.truncate(longest);
        self.learned.truncate(longest);
        self
    }

    /// What is given, and for each token the one that follows, if it is learnt.
    fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        let next = self.tokens.iter().zip(&self.learned).skip(1);
        self.tokens
            .iter()
            .zip(next)
            .map(|(token, (next, learned))| (*token, if *learned { *next } else { IGNORED }))
    }
}

/// A line of a file of examples.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Conversation { messages: Vec<Message> },
    Completion { prompt: String, completion: String },
    Text { text: String },
}

impl LanguageModel {
    /// A conversation to learn the answers of. What the template writes around them is given, not learnt, but for the token that ends an
    /// answer.
    ///
    /// It is the same on every day. A template that asks `strftime_now is defined` is not told the date, and writes what it has for that
    /// case; one that asks for the date all the same is told that of 26 July 2024.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without a template, one whose template does not write messages one after the other, of which
    /// [`examples_of`](Self::examples_of) makes several examples, and a conversation without an answer; [`Error::BadFile`] for messages
    /// that the template refuses.
    #[doc(alias("assistant_only_loss", "DataCollatorForCompletionOnlyLM"))]
    pub fn example(&self, messages: impl AsRef<[Message]>) -> Result<Example> {
        let turns = self.turns(messages.as_ref())?;
        match joined(&turns) {
            Some((text, answers)) => self.marked(&text, &answers, false),
            None => Err(apart()),
        }
    }

    /// As [`example`](Self::example); of a template that does not write messages one after the other, as one that leaves out what was thought
    /// before earlier answers, an example for each answer: the conversation up to it, as if it was the last.
    ///
    /// # Errors
    /// As [`example`](Self::example), but for a template that writes an answer otherwise than it is asked for.
    pub fn examples_of(&self, messages: impl AsRef<[Message]>) -> Result<Vec<Example>> {
        let turns = self.turns(messages.as_ref())?;
        if let Some((text, answers)) = joined(&turns) {
            return Ok(vec![self.marked(&text, &answers, false)?]);
        }
        let alone = turns.iter().map(|turn| {
            let answer = turn.given.len()..turn.given.len() + turn.learned.len();
            self.marked(&format!("{}{}", turn.given, turn.learned), &[answer], false)
        });
        alone.collect()
    }

    /// The answers of a conversation, each with all that is given before it.
    fn turns(&self, messages: &[Message]) -> Result<Vec<Turn>> {
        let unsupported = |what: &str| Error::Unsupported { what: what.into() };
        let template = self
            .template()
            .ok_or_else(|| unsupported("conversations with a model that has no template of them"))?;
        let answers = messages.iter().enumerate().filter(|(_, message)| message.role == "assistant");
        let turns = answers.map(|(at, _)| {
            let given = template.render_undated(&messages[..at], true)?;
            let after = template.render_undated(&messages[..=at], false)?;
            // What comes after the token that ends the answer is the template's.
            let learned = after.strip_prefix(&given).ok_or_else(apart)?.trim_end().to_owned();
            Ok(Turn { given, learned })
        });
        let turns: Vec<Turn> = turns.collect::<Result<_>>()?;
        if turns.is_empty() {
            return Err(unsupported("learning from a conversation without an answer"));
        }
        Ok(turns)
    }

    /// The tokens of a text, those learnt that are of these parts of it; `around` with what the model expects before a text.
    fn marked(&self, text: &str, answers: &[Range<usize>], around: bool) -> Result<Example> {
        let (tokenizer, mut example) = (self.tokenizer(), Example::default());
        if tokenizer.puts_blank_before() {
            for (token, place) in tokenizer.placed(text, around)? {
                let learned =
                    answers.iter().any(|answer| place.start < answer.end && answer.start < place.end);
                example.push(vec![token], learned);
            }
            return Ok(example);
        }
        let (mut end, mut around) = (0, around);
        for answer in answers {
            let given = &text[end..answer.start];
            let given = if around { tokenizer.encode(given)? } else { tokenizer.encode_bare(given)? };
            example.push(given, false);
            example.push(tokenizer.encode_bare(&text[answer.clone()])?, true);
            (end, around) = (answer.end, false);
        }
        Ok(example)
    }

    /// A text to learn the continuation of, which is then at its end.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`](crate::tokenizer::Tokenizer::encode).
    pub fn completion(&self, prompt: &str, completion: &str) -> Result<Example> {
        let text = format!("{prompt}{completion}");
        let answer = prompt.len()..text.len();
        let mut example = self.marked(&text, &[answer], true)?;
        example.push(self.ends().iter().copied().take(1).collect(), true);
        Ok(example)
    }

    /// The examples of a file with one in each line, or some ([`examples_of`](Self::examples_of)), in JSON: `{"messages": [{"role": "user", "content": "…"}, …]}`,
    /// `{"prompt": "…", "completion": "…"}`, or `{"text": "…"}`, of which all is learnt.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read; [`Error::BadFile`] with the line for one that is no example.
    #[doc(alias("jsonl", "SFTTrainer"))]
    pub fn examples(&self, path: impl AsRef<Path>) -> Result<Vec<Example>> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = lines.map(|(at, line)| {
            let bad = |why: String| Error::BadFile { path: path.to_owned(), why: format!("line {}: {why}", at + 1) };
            let line: Line = serde_json::from_str(line).map_err(|error| match error.classify() {
                serde_json::error::Category::Data => {
                    bad("it has neither `messages` of a `role` and a `content`, nor `prompt` and `completion`, nor `text`".into())
                }
                _ => bad(error.to_string()),
            })?;
            let examples = match line {
                Line::Conversation { messages } => self.examples_of(messages),
                Line::Completion { prompt, completion } => self.completion(&prompt, &completion).map(|one| vec![one]),
                Line::Text { text } => self.completion("", &text).map(|one| vec![one]),
            };
            examples.map_err(|error| bad(error.to_string()))
        });
        let read: Vec<Vec<Example>> = read.collect::<Result<_>>()?;
        Ok(read.into_iter().flatten().collect())
    }
}

/// An answer, with the token that ends it, and all that is given before.
struct Turn {
    given: String,
    learned: String,
}

/// The text of a conversation and where its answers are; `None` where the answers are not one after the other in one text.
fn joined(turns: &[Turn]) -> Option<(String, Vec<Range<usize>>)> {
    let (mut text, mut answers) = (String::new(), Vec::new());
    for Turn { given, learned } in turns {
        if !given.starts_with(&text) {
            return None;
        }
        text.clone_from(given);
        text.push_str(learned);
        answers.push(given.len()..text.len());
    }
    Some((text, answers))
}

fn apart() -> Error {
    Error::Unsupported {
        what: "learning from a template that does not write messages one after the other".into(),
    }
}

/// Texts of like length, padded to the longest.
#[derive(Debug, Clone)]
pub struct TextBatch {
    tokens: Tensor<u32>,
    labels: Tensor<u32>,
    lengths: Tensor<u32>,
    learned: usize,
}

impl TextBatch {
    fn new(examples: &[&Example]) -> Result<Self> {
        let lengths: Vec<u32> = examples.iter().map(|example| (example.tokens.len() - 1) as u32).collect();
        let (rows, time) = (examples.len(), lengths.iter().copied().max().unwrap_or(0) as usize);
        let padded = examples
            .iter()
            .flat_map(|example| example.pairs().chain(std::iter::repeat((0, IGNORED))).take(time));
        let (tokens, labels): (Vec<u32>, Vec<u32>) = padded.unzip();
        Ok(TextBatch {
            tokens: Tensor::from_vec(tokens, [rows, time])?,
            labels: Tensor::from_vec(labels, [rows, time])?,
            lengths: Tensor::from_vec(lengths, [rows])?,
            learned: examples.iter().map(|example| example.learned()).sum(),
        })
    }

    /// The tokens that are given, `[texts, time]`.
    pub fn tokens(&self) -> &Tensor<u32> {
        &self.tokens
    }

    /// The token that follows each, or [`IGNORED`], of the same shape.
    pub fn labels(&self) -> &Tensor<u32> {
        &self.labels
    }

    /// The number of tokens that are learnt.
    pub fn learned(&self) -> usize {
        self.learned
    }
}

/// Examples in batches of like length, of at most so many tokens, padding included; one that is longer is a batch by itself. Those
/// that nothing is learnt from are left out.
///
/// # Errors
/// When memory does not hold them.
#[doc(alias("bucketing", "packing", "group_by_length"))]
pub fn batches(examples: &[Example], tokens: usize) -> Result<Vec<TextBatch>> {
    let mut order: Vec<&Example> = examples.iter().filter(|example| example.learned() > 0).collect();
    order.sort_by_key(|example| example.tokens.len());
    let (mut all, mut rest) = (Vec::new(), &order[..]);
    while !rest.is_empty() {
        // The longest of a batch is its last.
        let fits = |&count: &usize| count * (rest[count - 1].tokens.len() - 1) <= tokens;
        let count = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
        let (batch, later) = rest.split_at(count);
        all.push(TextBatch::new(batch)?);
        rest = later;
    }
    Ok(all)
}

/// A language model that learns from examples: all of it, or adapters beside it alone. Its output for batches is the mean loss over all
/// tokens that are learnt; a trainer lowers it by [`TokenLoss`].
#[derive(Debug, Clone, Copy)]
pub struct Tuning<'a> {
    network: &'a dyn CausalModel,
    adapter: Option<&'a Adapter>,
    recomputes: bool,
}

impl<'a> Tuning<'a> {
    /// Of all of a network, whose weights are f32.
    pub fn whole(network: &'a dyn CausalModel) -> Self {
        Tuning { network, adapter: None, recomputes: true }
    }

    /// Of adapters beside a network, which stays as it is.
    pub fn adapter(network: &'a dyn CausalModel, adapter: &'a Adapter) -> Self {
        Tuning { network, adapter: Some(adapter), recomputes: true }
    }

    /// Whether blocks are computed again in the backward pass, which takes a fraction of the memory and a third more time. They are,
    /// unless said otherwise.
    #[must_use]
    #[doc(alias = "gradient_checkpointing")]
    pub fn recomputing(self, recomputes: bool) -> Self {
        Tuning { recomputes, ..self }
    }
}

impl Module for Tuning<'_> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        match self.adapter {
            Some(adapter) => adapter.visit(visitor),
            None => self.network.visit(visitor),
        }
    }
}

impl Model<Vec<TextBatch>> for Tuning<'_> {
    fn forward(&self, batches: &Vec<TextBatch>, cx: &mut Context) -> Result<Var> {
        let total = batches.iter().map(TextBatch::learned).sum::<usize>().max(1) as f32;
        let mut sum = Var::constant(Tensor::scalar(0.0));
        for batch in batches {
            let mut cx = cx.clone().with_lengths(&batch.lengths);
            if self.recomputes && cx.is_training() {
                cx = cx.recomputing();
            }
            let (loss, count) = next_token_loss(self.network, &batch.tokens, &batch.labels, &mut cx)?;
            sum = sum.add(&loss.scale(count as f32 / total)?)?;
        }
        Ok(sum)
    }
}

/// The loss of [`Tuning`] for a trainer: its output, a mean over as many tokens as the target says.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenLoss;

impl Loss<f64> for TokenLoss {
    fn loss(&self, prediction: &Var, _: &f64) -> Result<Var> {
        Ok(prediction.clone())
    }

    fn weight(&self, _: &Var, target: &f64) -> Result<Option<f64>> {
        Ok(Some(*target))
    }
}
