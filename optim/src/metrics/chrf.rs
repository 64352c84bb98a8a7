//! chrF: the F-score of runs of letters (Popović 2015), as sacreBLEU prints it: runs of 1 to 6 without spaces, recall twice as
//! important as precision. Where words are long and inflected it goes with people's judgement better than BLEU.

use std::collections::HashMap;

use super::bleu::is_space;

/// The longest runs that are counted.
const ORDERS: usize = 6;
/// β² of the F-score.
const RECALL: f64 = 4.0;

/// chrF of translations that are taken in one by one, each with one reference or more.
///
/// ```
/// use cairn_optim::metrics::ChrF;
/// let mut chrf = ChrF::new();
/// chrf.add("Ein Hund läuft durch den Schnee.", &["Ein Hund rennt durch den Schnee."]);
/// assert_eq!(format!("{:.2}", chrf.score()), "72.85");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChrF {
    orders: [Counts; ORDERS],
}

/// Runs of one length: of the translations, of the references, and of both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    translation: u64,
    reference: u64,
    matches: u64,
}

impl ChrF {
    /// Of nothing yet.
    pub fn new() -> Self {
        ChrF::default()
    }

    /// Takes in a translation and what it should have been: of several references the one that it scores best with.
    pub fn add<R: AsRef<str>>(&mut self, translation: &str, references: &[R]) {
        let translation = letters(translation);
        let mut best: Option<(f64, [Counts; ORDERS])> = None;
        for reference in references {
            let reference = letters(reference.as_ref());
            let mut orders = [Counts::default(); ORDERS];
            orders.iter_mut().zip(1..).for_each(|(counts, order)| {
                *counts = Counts::of(&translation, &reference, order);
            });
            let score = score(&orders);
            if best.as_ref().is_none_or(|(other, _)| score > *other) {
                best = Some((score, orders));
            }
        }
        for (sum, counts) in self.orders.iter_mut().zip(best.map(|(_, orders)| orders).into_iter().flatten())
        {
            sum.translation += counts.translation;
            sum.reference += counts.reference;
            sum.matches += counts.matches;
        }
    }

    /// The score, from 0 to 100; 0 of nothing.
    pub fn score(&self) -> f64 {
        score(&self.orders)
    }
}

impl Counts {
    fn of(translation: &[char], reference: &[char], order: usize) -> Self {
        let known = counts(reference, order);
        let mut result = Counts { reference: known.values().sum(), ..Counts::default() };
        // A translation is not held against a reference that is too short to have such runs.
        if !known.is_empty() {
            for (run, count) in counts(translation, order) {
                result.translation += count;
                result.matches += count.min(known.get(run).copied().unwrap_or(0));
            }
        }
        result
    }
}

/// chrF of translations with one reference each, from 0 to 100. Those beyond the shorter of both lists are passed over.
pub fn chrf<T: AsRef<str>, R: AsRef<str>>(translations: &[T], references: &[R]) -> f64 {
    let mut chrf = ChrF::new();
    for (translation, reference) in translations.iter().zip(references) {
        chrf.add(translation.as_ref(), std::slice::from_ref(reference));
    }
    chrf.score()
}

/// The F-score of the mean precision and the mean recall, over the lengths of which both have runs.
fn score(orders: &[Counts; ORDERS]) -> f64 {
    let (mut precision, mut recall, mut count) = (0.0, 0.0, 0.0);
    for counts in orders.iter().filter(|counts| counts.translation > 0 && counts.reference > 0) {
        precision += counts.matches as f64 / counts.translation as f64;
        recall += counts.matches as f64 / counts.reference as f64;
        count += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / count, recall / count);
    100.0 * (1.0 + RECALL) * precision * recall / (RECALL * precision + recall)
}

fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|&c| !is_space(c)).collect()
}

fn counts(letters: &[char], order: usize) -> HashMap<&[char], u64> {
    let mut counts = HashMap::new();
    for run in letters.windows(order) {
        *counts.entry(run).or_insert(0) += 1;
    }
    counts
}
