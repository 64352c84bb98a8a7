//! Invented film reviews: several clauses, each for or against, some of them by negation.
//!
//! The label is what most clauses say. Counting good and bad words goes far, but `not dull` is praise: only a model that
//! sees words in their order gets all.

use cairn_tensor::Rng;

use crate::error::Result;
use crate::random::{self, below, unit};
use crate::synthetic::fits;
use crate::text::LabelledText;

const THINGS: [&str; 10] =
    ["plot", "cast", "music", "ending", "dialogue", "camera work", "first half", "humour", "pace", "story"];
const GOOD: [&str; 10] = [
    "wonderful",
    "brilliant",
    "moving",
    "clever",
    "charming",
    "gripping",
    "funny",
    "beautiful",
    "fresh",
    "convincing",
];
const BAD: [&str; 10] =
    ["dull", "awful", "boring", "clumsy", "flat", "annoying", "silly", "ugly", "tired", "predictable"];
const DEGREES: [&str; 4] = ["", "very ", "rather ", "really "];
const FILLER: [&str; 5] = [
    "i saw it with a friend",
    "it runs for two hours",
    "the film came out last year",
    "we talked about it at home",
    "the cinema was half full",
];
/// About what a review takes in memory.
const BYTES: usize = 300;
/// Share of clauses that speak by negation.
const NEGATED: f64 = 0.3;

/// Reviews with the label 1 for favourable and 0 for not, about as many of each.
///
/// ```
/// use cairn_datasets::synthetic;
/// let reviews = synthetic::reviews(100, 1)?;
/// assert!(reviews.iter().any(|review| review.label == 1) && reviews.iter().any(|review| review.label == 0));
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for more than memory can hold.
pub fn reviews(count: usize, seed: u64) -> Result<Vec<LabelledText>> {
    fits(count, BYTES, "reviews")?;
    Ok((0..count).map(|i| review(&mut random::stream(seed, i as u64))).collect())
}

fn review(rng: &mut Rng) -> LabelledText {
    // An odd number of clauses has a majority.
    let clauses = 1 + 2 * below(rng, 4) as usize;
    let leaning = if unit(rng) < 0.5 { 0.25 } else { 0.75 };
    let (mut favourable, mut sentences) = (0, Vec::new());
    for _ in 0..clauses {
        if unit(rng) < 0.3 {
            sentences.push(pick(rng, &FILLER).to_owned());
        }
        let good = unit(rng) < leaning;
        favourable += usize::from(good);
        sentences.push(clause(good, rng));
    }
    LabelledText { text: sentences.join(" . ") + " .", label: u32::from(2 * favourable > clauses) }
}

fn clause(good: bool, rng: &mut Rng) -> String {
    let negated = unit(rng) < NEGATED;
    let word = pick(rng, if good != negated { &GOOD } else { &BAD });
    let (not, degree) = if negated { ("not ", "") } else { ("", pick(rng, &DEGREES)) };
    format!("the {} is {not}{degree}{word}", pick(rng, &THINGS))
}

fn pick(rng: &mut Rng, from: &[&'static str]) -> &'static str {
    from[below(rng, from.len() as u64) as usize]
}
