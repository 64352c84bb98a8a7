//! Beam search: the likeliest continuations, found by going on with the best few after each token.
//!
//! A sequence's score is the sum of its tokens' log-probabilities, the end token's included, divided by a penalty of its length, as
//! the likeliest sequence would else often be the shortest (Wu et al. 2016, section 7). Sums are kept in `f64`, in the order of the
//! tokens. Of equal candidates the one of the better beam, then of the lower token, goes first. All sentences of a batch advance
//! in one call of the model; those that are done leave its state.

use std::cmp::Ordering;

use cairn_tensor::Tensor;

use super::Decoder;
use crate::{Error, Result};

/// What the sum of log-probabilities is divided by, as a function of the number of new tokens, the end included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LengthPenalty {
    /// length^α, as in fairseq and Hugging Face's transformers: 1 gives the mean, 0 the sum, more favours longer ones.
    Power(f64),
    /// ((5 + length) / 6)^α (Wu et al. 2016), as in the first transformer, with α = 0.6.
    Wu(f64),
}

impl LengthPenalty {
    fn of(self, length: usize) -> f64 {
        let length = length as f64;
        match self {
            LengthPenalty::Power(alpha) => length.powf(alpha),
            LengthPenalty::Wu(alpha) => ((5.0 + length) / 6.0).powf(alpha),
        }
    }

    fn alpha(self) -> f64 {
        let (LengthPenalty::Power(alpha) | LengthPenalty::Wu(alpha)) = self;
        alpha
    }
}

/// A search for the likeliest continuations.
#[derive(Debug, Clone)]
pub struct BeamSearch {
    beams: usize,
    most: usize,
    stop: Vec<u32>,
    penalty: LengthPenalty,
    early: bool,
}

/// A sequence that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// The new tokens, without the one that ended it.
    pub tokens: Vec<u32>,
    /// The sum of its log-probabilities, divided by the length penalty.
    pub score: f64,
}

/// A sequence that goes on.
#[derive(Debug, Clone)]
struct Live {
    tokens: Vec<u32>,
    sum: f64,
    /// Its row of the state.
    row: usize,
}

/// A sentence of the batch.
#[derive(Debug, Default)]
struct Sentence {
    live: Vec<Live>,
    found: Vec<Hypothesis>,
}

/// A live sequence with one more token.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    sum: f64,
    beam: usize,
    token: u32,
}

impl Candidate {
    /// The better one is less.
    fn order(&self, other: &Self) -> Ordering {
        other.sum.total_cmp(&self.sum).then(self.beam.cmp(&other.beam)).then(self.token.cmp(&other.token))
    }
}

impl BeamSearch {
    /// Goes on with the best `beams` sequences, for at most `most` new tokens. The score is the mean log-probability.
    #[doc(alias = "num_beams")]
    pub fn new(beams: usize, most: usize) -> Self {
        BeamSearch { beams, most, stop: Vec::new(), penalty: LengthPenalty::Power(1.0), early: true }
    }

    /// Ends a sequence at any of these tokens, which are not part of it but count in its score.
    #[doc(alias = "eos_token_id")]
    #[must_use]
    pub fn stop_at(self, tokens: impl Into<Vec<u32>>) -> Self {
        BeamSearch { stop: tokens.into(), ..self }
    }

    /// With another length penalty.
    #[must_use]
    pub fn length_penalty(self, penalty: LengthPenalty) -> Self {
        BeamSearch { penalty, ..self }
    }

    /// Whether a sentence is done as soon as as many sequences have ended as there are beams (the default, as in fairseq), or only
    /// when no live one can become better than those.
    #[must_use]
    pub fn early_stopping(self, early: bool) -> Self {
        BeamSearch { early, ..self }
    }

    /// The best continuations of each prompt, best first, at most as many as there are beams and at least one; those that did not
    /// end within the limit come in as they are. The state has a row for each prompt.
    ///
    /// # Errors
    /// The model's; [`Error::BadSetting`] for no beams, no tokens, a prompt without one, a penalty that is no number, and scores that
    /// are NaN.
    pub fn search<D: Decoder>(
        &self,
        model: &D,
        mut state: D::State,
        prompts: &[&[u32]],
    ) -> Result<Vec<Vec<Hypothesis>>> {
        self.check(prompts)?;
        let begin = |row| Live { tokens: Vec::new(), sum: 0.0, row };
        let mut sentences: Vec<Sentence> =
            (0..prompts.len()).map(|row| Sentence { live: vec![begin(row)], found: Vec::new() }).collect();
        for step in 1..=self.most {
            let last: Vec<&[u32]> = match step {
                1 => prompts.to_vec(),
                _ => lives(&sentences).map(|live| &live.tokens[live.tokens.len() - 1..]).collect(),
            };
            if last.is_empty() {
                break;
            }
            let scores = model.next(&last, &mut state)?.log_softmax(1)?;
            for sentence in &mut sentences {
                self.advance(sentence, &scores, step)?;
            }
            let rows: Vec<usize> = lives(&sentences).map(|live| live.row).collect();
            if step < self.most && !rows.is_empty() {
                model.pick(&mut state, &rows)?;
                sentences
                    .iter_mut()
                    .flat_map(|s| &mut s.live)
                    .enumerate()
                    .for_each(|(row, live)| live.row = row);
            }
        }
        Ok(sentences.into_iter().map(|sentence| self.best(sentence)).collect())
    }

    fn check(&self, prompts: &[&[u32]]) -> Result<()> {
        let check = |what, value: f64, ok, must| match ok {
            true => Ok(()),
            false => Err(Error::BadSetting { what, value, must }),
        };
        check("the number of beams", self.beams as f64, self.beams > 0, "at least 1")?;
        check("the number of new tokens", self.most as f64, self.most > 0, "at least 1")?;
        let alpha = self.penalty.alpha();
        check("the length penalty", alpha, alpha.is_finite(), "finite")?;
        let longest = self.penalty.of(self.most);
        let divides = longest > 0.0 && longest.is_finite();
        check("the length penalty of the longest", longest, divides, "above 0 and finite")?;
        let shortest = prompts.iter().map(|prompt| prompt.len()).min().unwrap_or(1);
        check("the number of tokens of a prompt", shortest as f64, shortest > 0, "at least 1")
    }

    /// One token more for a sentence, from the log-probabilities of all rows.
    fn advance(&self, sentence: &mut Sentence, scores: &Tensor, step: usize) -> Result<()> {
        if sentence.live.is_empty() {
            return Ok(());
        }
        let before = std::mem::take(&mut sentence.live);
        // Each live sequence can end in as many ways as there are end tokens; as many more go on.
        let wanted = self.beams.saturating_mul(1 + self.stop.len());
        for (rank, candidate) in best_candidates(&before, scores, wanted)?.into_iter().enumerate() {
            let Candidate { sum, beam, token } = candidate;
            let Live { tokens, row, .. } = &before[beam];
            if self.stop.contains(&token) {
                // One that ends below the best so many would not have gone on either.
                if rank < self.beams {
                    let score = sum / self.penalty.of(step);
                    sentence.found.push(Hypothesis { tokens: tokens.clone(), score });
                }
            } else if sentence.live.len() < self.beams {
                let tokens = tokens.iter().copied().chain([token]).collect();
                sentence.live.push(Live { tokens, sum, row: *row });
            }
        }
        sort(&mut sentence.found);
        sentence.found.truncate(self.beams);
        if step == self.most {
            self.end(sentence);
        } else if self.is_done(sentence, step) {
            sentence.live.clear();
        }
        Ok(())
    }

    fn is_done(&self, Sentence { live, found }: &Sentence, step: usize) -> bool {
        let (true, Some(best)) = (found.len() >= self.beams, live.first()) else { return false };
        // Sums only fall; a penalty that grows with the length raises scores at most to what it is at the limit.
        let length = if self.penalty.alpha() > 0.0 { self.most } else { step + 1 };
        self.early || found.iter().all(|found| found.score >= best.sum / self.penalty.of(length))
    }

    /// Takes in what has not ended.
    fn end(&self, sentence: &mut Sentence) {
        let rest = sentence.live.drain(..);
        let rest = rest.map(|Live { tokens, sum, .. }| {
            let score = sum / self.penalty.of(tokens.len());
            Hypothesis { tokens, score }
        });
        // What has ended goes first: a text that was cut off is taken only where there is none better.
        sentence.found.extend(rest.take(self.beams.saturating_sub(sentence.found.len())).collect::<Vec<_>>());
    }

    fn best(&self, mut sentence: Sentence) -> Vec<Hypothesis> {
        sort(&mut sentence.found);
        sentence.found
    }
}

fn lives(sentences: &[Sentence]) -> impl Iterator<Item = &Live> {
    sentences.iter().flat_map(|sentence| &sentence.live)
}

/// Best first; equals stay in the order in which they were found.
fn sort(found: &mut [Hypothesis]) {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// The best continuations by one token of these sequences, best first.
fn best_candidates(live: &[Live], scores: &Tensor, wanted: usize) -> Result<Vec<Candidate>> {
    let mut best: Vec<Candidate> = Vec::new();
    for (beam, &Live { sum, row, .. }) in live.iter().enumerate() {
        for (token, score) in (0..).zip(super::row(scores, row)?.iter()) {
            if score.is_nan() {
                return Err(Error::BadSetting { what: "a score", value: f64::NAN, must: "a number" });
            }
            let candidate = Candidate { sum: sum + f64::from(score), beam, token };
            let is_worse = |last: &Candidate| candidate.order(last).is_ge();
            if score == f32::NEG_INFINITY || (best.len() == wanted && best.last().is_some_and(is_worse)) {
                continue;
            }
            let place = best.partition_point(|other| other.order(&candidate).is_lt());
            best.insert(place, candidate);
            best.truncate(wanted);
        }
    }
    if best.is_empty() {
        return Err(Error::BadSetting {
            what: "the number of possible tokens",
            value: 0.0,
            must: "at least 1",
        });
    }
    Ok(best)
}
