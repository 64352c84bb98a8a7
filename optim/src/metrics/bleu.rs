//! BLEU: how many runs of words a translation has in common with a reference (Papineni et al. 2002), as sacreBLEU prints it
//! (Post 2018): tokens by the rules of `mteval-v13a`, case kept, counts of a run clipped to those of the reference, exponential
//! smoothing where an order has no match. A score that is not computed so is not comparable with others.

use std::collections::HashMap;

/// The longest runs that are counted.
const ORDERS: usize = 4;

/// BLEU of translations that are taken in one by one, each with one reference or more.
///
/// ```
/// use cairn_optim::metrics::Bleu;
/// let mut bleu = Bleu::new();
/// bleu.add("Ein Hund läuft durch den Schnee.", &["Ein Hund rennt durch den Schnee."]);
/// assert_eq!(format!("{:.2}", bleu.score()), "48.89");
/// # assert_eq!(bleu.lengths(), (7, 7));
/// ```
#[doc(alias("sacrebleu", "corpus_bleu", "machine translation"))]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bleu {
    /// Runs of 1 to 4 words that are in a reference too.
    matches: [u64; ORDERS],
    /// All runs.
    runs: [u64; ORDERS],
    words: u64,
    reference_words: u64,
}

impl Bleu {
    /// Of nothing yet.
    pub fn new() -> Self {
        Bleu::default()
    }

    /// Takes in a translation and what it should have been. Of several references a run counts as often as it is in the one that has
    /// it most, and the one closest in length is the measure of length. Without a reference nothing matches.
    pub fn add<R: AsRef<str>>(&mut self, translation: &str, references: &[R]) {
        let translation = tokens_13a(translation);
        let words: Vec<&str> = split(&translation).collect();
        let references: Vec<String> = references.iter().map(|text| tokens_13a(text.as_ref())).collect();
        let references: Vec<Vec<&str>> = references.iter().map(|text| split(text).collect()).collect();
        for order in 1..=ORDERS {
            let mut known: HashMap<&[&str], u64> = HashMap::new();
            for reference in &references {
                for (run, count) in counts(reference, order) {
                    let most = known.entry(run).or_default();
                    *most = count.max(*most);
                }
            }
            for (run, count) in counts(&words, order) {
                self.runs[order - 1] += count;
                self.matches[order - 1] += count.min(known.get(run).copied().unwrap_or(0));
            }
        }
        self.words += words.len() as u64;
        // Of two as close the shorter.
        let closest = references.iter().map(Vec::len).min_by_key(|&len| (len.abs_diff(words.len()), len));
        self.reference_words += closest.unwrap_or(0) as u64;
    }

    /// The score, from 0 to 100: the geometric mean of the precisions, times the penalty of brevity. 0 of nothing.
    pub fn score(&self) -> f64 {
        if self.matches.iter().all(|&matches| matches == 0) {
            return 0.0;
        }
        // A run too long for every sentence leaves nothing to take the logarithm of: the score is 0, as sacreBLEU has it.
        let logs: f64 = self.precisions().iter().map(|p| p.ln()).sum();
        self.brevity_penalty() * (logs / ORDERS as f64).exp()
    }

    /// The shares of runs of 1 to 4 words that are right, in percent; where none of an order is, half as much as one would be, then a
    /// quarter at the next such order.
    pub fn precisions(&self) -> [f64; ORDERS] {
        let mut half = 1.0;
        let mut all = [0.0; ORDERS];
        for ((precision, &matches), &runs) in all.iter_mut().zip(&self.matches).zip(&self.runs) {
            *precision = match (matches, runs) {
                (_, 0) => 0.0,
                (0, _) => {
                    half *= 2.0;
                    100.0 / (half * runs as f64)
                }
                _ => 100.0 * matches as f64 / runs as f64,
            };
        }
        all
    }

    /// 1, or less where the translations have fewer words than the references.
    pub fn brevity_penalty(&self) -> f64 {
        match (self.words, self.reference_words) {
            (words, references) if words >= references => 1.0,
            (0, _) => 0.0,
            (words, references) => (1.0 - references as f64 / words as f64).exp(),
        }
    }

    /// The numbers of words of all translations, and of their references.
    pub fn lengths(&self) -> (u64, u64) {
        (self.words, self.reference_words)
    }
}

/// BLEU of translations with one reference each, from 0 to 100.
///
/// ```
/// let score = cairn_optim::metrics::bleu(&["the cat sat on the mat"], &["the cat sat on the mat"]);
/// assert!((score - 100.0).abs() < 1e-9);
/// ```
///
/// Those beyond the shorter of both lists are passed over.
pub fn bleu<T: AsRef<str>, R: AsRef<str>>(translations: &[T], references: &[R]) -> f64 {
    let mut bleu = Bleu::new();
    for (translation, reference) in translations.iter().zip(references) {
        bleu.add(translation.as_ref(), std::slice::from_ref(reference));
    }
    bleu.score()
}

fn counts<'a, 'b>(words: &'b [&'a str], order: usize) -> HashMap<&'b [&'a str], u64> {
    let mut counts = HashMap::new();
    for run in words.windows(order) {
        *counts.entry(run).or_insert(0) += 1;
    }
    counts
}

/// The text with spaces between its tokens, by the rules of NIST's `mteval-v13a.pl`, as sacreBLEU applies them: each is a pass over the
/// text, and a character that was taken by a match is no part of the next.
fn tokens_13a(text: &str) -> String {
    let text = text.trim_end_matches(is_space);
    let mut text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    for (entity, sign) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        text = text.replace(entity, sign);
    }
    let mut spaced = Vec::with_capacity(2 * text.len());
    for c in format!(" {text} ").chars() {
        match c {
            '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/' => spaced.extend([' ', c, ' ']),
            _ => spaced.push(c),
        }
    }
    let is_point = |c: char| c == '.' || c == ',';
    let spaced = pairs(&spaced, |a, b| !a.is_ascii_digit() && is_point(b), |a, b| [a, ' ', b, ' ']);
    let spaced = pairs(&spaced, |a, b| is_point(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    let spaced = pairs(&spaced, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    spaced.into_iter().collect()
}

/// Replaces pairs of characters, from the left, none of which overlap.
fn pairs(
    text: &[char],
    found: impl Fn(char, char) -> bool,
    by: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let (mut out, mut i) = (Vec::with_capacity(2 * text.len()), 0);
    while i < text.len() {
        match text[i..] {
            [a, b, ..] if found(a, b) => {
                out.extend(by(a, b));
                i += 2;
            }
            _ => {
                out.push(text[i]);
                i += 1;
            }
        }
    }
    out
}

/// The words between spaces.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// What Python takes for a space: Unicode's, and four separators of ASCII.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
