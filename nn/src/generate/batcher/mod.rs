//! Many texts at a time that come and go: continuous batching (Yu et al. 2022, "Orca"), prompts read in chunks between the steps of the
//! others (Agrawal et al. 2023, "Sarathi"), beginnings that texts share computed once.
//!
//! A step is one pass through the model over the next tokens of all texts that are under way: a chunk of a prompt, or the last token with
//! those that are guessed to follow it. Nothing is padded. A row of the cache belongs to one text; after it the row keeps its keys
//! and values, and the next text that begins alike, as the next turn of a conversation does, goes on from them.
//!
//! What a text becomes is a function of its prompt and settings alone: rows have the same bits whatever is computed beside them, and
//! draws are counted by the text's own seed and place.

mod lookup;
mod request;

use std::collections::VecDeque;

use cairn_autograd::no_grad;
use cairn_tensor::Tensor;

use super::row;
use crate::models::CausalModel;
use crate::{Error, KeyValueCache, Result};
use lookup::Guesses;
pub use request::{Event, Finish, Request, RequestId, TokenScores, Usage};

/// Tokens of prompts that are read in a step: alone, and while other texts wait for their next token.
const CHUNK: usize = 256;
const CHUNK_BESIDE: usize = 64;
/// Tokens that the cache has room for in each row in the beginning; it doubles as texts need.
const FIRST_ROOM: usize = 64;
/// Tokens in common that are worth being taken over from another row, or waited for.
const WORTH: usize = 8;

/// Continues texts of many requests together.
///
/// ```
/// use cairn_nn::generate::{Batcher, Event, Generate, Request, Sampling};
/// use cairn_nn::models::{self, Config, Network};
/// let settings = r#"{"model_type": "gpt2", "vocab_size": 65, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}"#;
/// let Network::Causal(model) = models::new(&Config::parse(settings)?, &mut cairn_tensor::rng(0))? else { panic!() };
///
/// let mut batcher = Batcher::new(&*model, 4, 64)?; // at most 4 at a time, of at most 64 tokens each
/// let settings = Generate::new(10).sampling(Sampling::greedy());
/// let first = batcher.push(Request::new([1, 2, 3], settings.clone()))?;
/// let second = batcher.push(Request::new([4], settings.seed(1)))?;
/// let mut texts = [vec![], vec![]];
/// while !batcher.is_idle() {
///     for event in batcher.step() {
///         if let Event::Token { request, token, .. } = event {
///             texts[usize::from(request == second)].push(token);
///         }
///     }
/// }
/// assert_eq!((texts[0].len(), texts[1].len()), (10, 10));
/// # assert_ne!(first, second);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias("scheduler", "LLMEngine", "slots", "continuous batching"))]
pub struct Batcher<'m> {
    model: &'m dyn CausalModel,
    cache: KeyValueCache,
    /// How long a text may be; the cache has room for as much as was needed so far.
    capacity: usize,
    rows: Vec<Row>,
    waiting: VecDeque<(RequestId, Request)>,
    most_waiting: usize,
    most_guesses: usize,
    next: u64,
    /// Steps so far.
    clock: u64,
}

/// A row of the cache.
#[derive(Debug, Default)]
struct Row {
    /// The tokens whose keys and values are in it, and, while a text is under way, those that are to be read.
    text: Vec<u32>,
    under_way: Option<Running>,
    /// When it was last used.
    used: u64,
}

/// A text that is under way.
#[derive(Debug)]
struct Running {
    id: RequestId,
    request: Request,
    guesses: Guesses,
    usage: Usage,
    /// Most tokens that are written.
    room: usize,
}

/// What a row takes part in a step with.
struct Part {
    row: usize,
    tokens: Vec<u32>,
    /// How many of the tokens, the last ones, are guesses.
    guesses: usize,
    /// Whether the scores after them are needed: not within a prompt.
    draws: bool,
}

impl<'m> Batcher<'m> {
    /// At most `rows` texts at a time of at most `capacity` tokens each, prompt included. Memory for their keys and values is taken as texts
    /// become longer, for all rows at once.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for no rows or no capacity; when memory does not hold the cache.
    pub fn new(model: &'m dyn CausalModel, rows: usize, capacity: usize) -> Result<Self> {
        for (what, value) in [("the number of texts at a time", rows), ("the length of a text", capacity)] {
            if value == 0 {
                return Err(Error::BadSetting { what, value: 0.0, must: "at least 1" });
            }
        }
        let capacity = capacity.min(model.context());
        Ok(Batcher {
            model,
            cache: model.cache(rows, capacity.min(FIRST_ROOM))?,
            capacity,
            rows: (0..rows).map(|_| Row::default()).collect(),
            waiting: VecDeque::new(),
            most_waiting: usize::MAX,
            most_guesses: 0,
            next: 0,
            clock: 0,
        })
    }

    /// Refuses requests while so many wait; as many as memory holds, unless told otherwise.
    #[must_use]
    pub fn waiting_at_most(self, requests: usize) -> Self {
        Batcher { most_waiting: requests, ..self }
    }

    /// Guesses up to so many tokens a step, all texts together, by what followed in a text before (prompt lookup); 0 unless told otherwise. Texts are the
    /// same with and without.
    #[must_use]
    #[doc(alias("prompt_lookup_num_tokens", "speculative decoding"))]
    pub fn speculate(self, tokens: usize) -> Self {
        Batcher { most_guesses: tokens, ..self }
    }

    /// How many tokens a text can have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Adds a request behind those that wait.
    ///
    /// # Errors
    /// [`Error::Busy`] when as many wait as may; [`Error::BadSetting`] for a prompt without a token and one that leaves no room for another.
    pub fn push(&mut self, request: Request) -> Result<RequestId> {
        request::check_prompt(request.prompt.len(), self.capacity)?;
        if self.waiting.len() >= self.most_waiting {
            return Err(Error::Busy { waiting: self.waiting.len() });
        }
        let id = RequestId(self.next);
        self.next += 1;
        self.waiting.push_back((id, request));
        Ok(id)
    }

    /// Forgets a request; what was computed for it, or `None` where it is not there. Nothing more is told of it.
    #[doc(alias = "abort")]
    pub fn cancel(&mut self, request: RequestId) -> Option<Usage> {
        if let Some(place) = self.waiting.iter().position(|(id, _)| *id == request) {
            let (_, request) = self.waiting.remove(place)?;
            return Some(Usage { prompt: request.prompt.len(), ..Usage::default() });
        }
        let (at, running) = self.rows.iter().enumerate().find_map(|(at, row)| {
            Some((at, row.under_way.as_ref().filter(|running| running.id == request)?))
        })?;
        let usage = running.usage;
        self.free(at, self.cache.lengths()[at]);
        Some(usage)
    }

    /// How many requests are under way.
    pub fn running(&self) -> usize {
        self.rows.iter().filter(|row| row.under_way.is_some()).count()
    }

    /// How many requests wait for a row.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.running() == 0 && self.waiting.is_empty()
    }

    /// Does a step for all requests, and tells what it brought. What goes wrong with one of them ends that one.
    pub fn step(&mut self) -> Vec<Event> {
        self.clock += 1;
        let mut events = Vec::new();
        self.admit(&mut events);
        let parts = self.parts();
        if !parts.is_empty() {
            self.advance(&parts, &mut events);
        }
        events
    }

    /// Gives rows to those that wait, in turn.
    fn admit(&mut self, events: &mut Vec<Event>) {
        while let Some((_, request)) = self.waiting.front() {
            // The last token is read anyway: what follows it is asked.
            let prompt = &request.prompt[..request.prompt.len() - 1];
            let (best, there) = self.alike(prompt);
            if self.soon(prompt) >= there + WORTH {
                return;
            }
            let Some(row) = self.row_for(best, there) else { return };
            let Some((id, request)) = self.waiting.pop_front() else { return };
            if request.settings.most() == 0 {
                let usage = Usage { prompt: request.prompt.len(), ..Usage::default() };
                events.push(Event::End { request: id, reason: Finish::Length, usage });
                continue;
            }
            let mut cached = if there < WORTH { 0 } else { there };
            if row != best && self.cache.copy_row(best, row, cached).is_err() {
                cached = 0;
            }
            self.keep(row, cached);
            self.begin(row, id, request, cached);
        }
    }

    fn begin(&mut self, row: usize, id: RequestId, request: Request, cached: usize) {
        let prompt = request.prompt.len();
        let room = request.settings.most().min(self.capacity - prompt);
        let usage = Usage { prompt, cached, ..Usage::default() };
        let text = request.prompt.clone();
        let running = Running { id, guesses: Guesses::new(), usage, room, request };
        self.rows[row] = Row { text, used: self.clock, under_way: Some(running) };
    }

    /// The row that has the most tokens of a prompt's beginning, and how many.
    fn alike(&self, prompt: &[u32]) -> (usize, usize) {
        let common = |row: usize| common(&self.rows[row].text[..self.cache.lengths()[row]], prompt);
        (0..self.rows.len())
            .map(|row| (row, common(row)))
            .rev()
            .max_by_key(|&(_, common)| common)
            .unwrap_or((0, 0))
    }

    /// How many of a prompt's first tokens will be there when the prompts under way are read.
    fn soon(&self, prompt: &[u32]) -> usize {
        let running = self.rows.iter().filter(|row| row.under_way.is_some());
        running.map(|row| common(&row.text, prompt)).max().unwrap_or(0)
    }

    /// The row for a text that goes on from the first tokens of row `best`: that row, if nothing of it is lost; else the one of those that
    /// are free that was not used for the longest time.
    fn row_for(&self, best: usize, there: usize) -> Option<usize> {
        let free = |row: &usize| self.rows[*row].under_way.is_none();
        if free(&best) && there >= WORTH && there + WORTH >= self.rows[best].text.len() {
            return Some(best);
        }
        (0..self.rows.len()).filter(free).min_by_key(|&row| self.rows[row].used)
    }

    /// What each row reads in this step. Those that write come first, so that rows of one token stand side by side.
    fn parts(&mut self) -> Vec<Part> {
        let read = self.cache.lengths();
        let writing = |row: &Row, read: usize| row.under_way.is_some() && row.text.len() == read + 1;
        let writers = self.rows.iter().zip(read).filter(|(row, read)| writing(row, **read)).count();
        // Where many write, products are large already.
        let mut guesses = self.most_guesses.saturating_sub(writers);
        let mut chunk = if writers > 0 { CHUNK_BESIDE } else { CHUNK };
        let (mut parts, mut prompts) = (Vec::new(), Vec::new());
        for (at, (row, &read)) in self.rows.iter_mut().zip(read).enumerate() {
            let Some(running) = &mut row.under_way else { continue };
            if row.text.len() == read + 1 {
                let room = (running.room - running.usage.written).saturating_sub(1).min(guesses);
                let guessed = running.guesses.after(&row.text, room);
                guesses -= guessed.len();
                let tokens = row.text[read..].iter().chain(guessed).copied().collect();
                parts.push(Part { row: at, tokens, guesses: guessed.len(), draws: true });
            } else if chunk > 0 {
                let unread = &row.text[read..];
                let tokens = unread[..unread.len().min(chunk)].to_vec();
                chunk -= tokens.len();
                let draws = tokens.len() == unread.len();
                prompts.push(Part { row: at, tokens, guesses: 0, draws });
            }
        }
        parts.sort_by_key(|part| part.guesses > 0);
        parts.append(&mut prompts);
        parts
    }

    /// Runs the model over these parts, and draws.
    fn advance(&mut self, parts: &[Part], events: &mut Vec<Event>) {
        match self.forward(parts) {
            Ok(scores) => {
                let mut at = 0;
                for part in parts {
                    let count = if part.draws { part.guesses + 1 } else { 0 };
                    self.draw(part, &scores, at, events);
                    at += count;
                }
            }
            // It may be the fault of one of them.
            Err(_) if parts.len() > 1 => {
                parts.iter().for_each(|part| self.advance(std::slice::from_ref(part), events));
            }
            Err(error) => {
                let Some(part) = parts.first() else { return };
                let Some(running) = &self.rows[part.row].under_way else { return };
                let (request, usage) = (running.id, running.usage);
                events.push(Event::End { request, reason: Finish::Failed(error), usage });
                self.free(part.row, 0);
            }
        }
    }

    /// The scores after each part that draws, and after each of its guesses, `[…, vocabulary]`.
    fn forward(&mut self, parts: &[Part]) -> Result<Tensor> {
        let needed = parts.iter().map(|part| self.cache.lengths()[part.row] + part.tokens.len());
        let needed = needed.max().unwrap_or(0);
        if needed > self.cache.capacity() {
            self.cache.grow(needed.next_power_of_two().min(self.capacity))?;
            cairn_tensor::trim_memory();
        }
        let rows: Vec<(usize, &[u32])> = parts.iter().map(|part| (part.row, &part.tokens[..])).collect();
        let (ids, positions) = self.cache.read_packed(&rows)?;
        let (mut wanted, mut first) = (Vec::new(), 0u32);
        for part in parts {
            let end = first + part.tokens.len() as u32;
            if part.draws {
                wanted.extend(end - 1 - part.guesses as u32..end);
            }
            first = end;
        }
        let scores = no_grad(|| {
            let states = self.model.states_cached(&ids, &positions, &mut self.cache)?;
            let states = states.reshape([first as usize, states.shape()[2]])?;
            if wanted.is_empty() {
                return Ok(Tensor::zeros([0, 0])?);
            }
            Ok::<_, Error>(self.model.scores(&states.index_select(0, &wanted)?)?.value().clone())
        })?;
        self.cache.end();
        Ok(scores)
    }

    /// Draws what follows a part: a token, and one more for each guess that was right.
    fn draw(&mut self, part: &Part, scores: &Tensor, first: usize, events: &mut Vec<Event>) {
        if !part.draws {
            return;
        }
        let row = &mut self.rows[part.row];
        let Some(running) = &mut row.under_way else { return };
        let guesses = &part.tokens[part.tokens.len() - part.guesses..];
        let (mut right, mut end) = (0, None);
        for at in 0..=part.guesses {
            let token = match running.next(&row.text, scores, first + at) {
                Ok((token, _)) if running.request.settings.stops_at(token) => {
                    end = Some(Finish::Stop);
                    break;
                }
                Ok((token, scores)) => {
                    events.push(Event::Token { request: running.id, token, scores });
                    token
                }
                Err(error) => {
                    end = Some(Finish::Failed(error));
                    break;
                }
            };
            row.text.push(token);
            running.usage.written += 1;
            let guessed = guesses.get(at) == Some(&token);
            right += usize::from(guessed);
            if running.usage.written >= running.room {
                end = Some(Finish::Length);
            }
            if !guessed || end.is_some() {
                break;
            }
        }
        running.usage.guessed += right;
        running.guesses.judged(right, part.guesses);
        let (request, usage) = (running.id, running.usage);
        // All that was read but for guesses that were wrong.
        let read = self.cache.lengths()[part.row] - (part.guesses - right);
        match end {
            Some(reason) => {
                events.push(Event::End { request, reason, usage });
                self.free(part.row, read);
            }
            None => self.keep(part.row, read),
        }
    }

    /// Ends what is under way in a row, which keeps the keys and values of its first tokens.
    fn free(&mut self, row: usize, read: usize) {
        self.keep(row, read);
        let Row { text, under_way, used } = &mut self.rows[row];
        text.truncate(read);
        (*under_way, *used) = (None, self.clock);
    }

    fn keep(&mut self, row: usize, read: usize) {
        debug_assert!(read <= self.cache.lengths()[row], "there are as many tokens in the row");
        // It cannot fail: rows and lengths are the cache's own.
        let _ = self.cache.truncate(row, read);
    }
}

impl Running {
    /// The token after a text, from a row of scores.
    fn next(&self, text: &[u32], scores: &Tensor, at: usize) -> Result<(u32, Option<TokenScores>)> {
        let scores = row(scores, at)?;
        let settings = &self.request.settings;
        let token = settings.drawn(text, self.usage.prompt, &scores)?;
        let likely = |count| TokenScores::of(token, &scores, count);
        Ok((token, self.request.likeliest.map(likely).transpose()?))
    }
}

/// How many of their first tokens two texts have in common.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
