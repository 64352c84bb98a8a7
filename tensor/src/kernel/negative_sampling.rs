//! Training of word vectors by negative sampling: the tables, and one call that trains on a run of text.
//!
//! What a text is, how it is divided and when to stop is said above this crate; here are the parts that touch every word
//! of it: leaving out frequent words, and the steps of `cpu/negative_sampling.rs`.

use rand::RngExt;

use crate::cpu::negative_sampling::{Alias, Settings, Step, Table, Text, Trainer};
use crate::{Error, Result, Setting, Tensor, rng};

/// How [`NegativeSampling`] trains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingPlan {
    /// Each context predicts the centre (skip-gram), or else their mean does (CBOW).
    pub skip_gram: bool,
    /// Most words between a centre and a context, plus one; each centre draws its own reach from 1 to this.
    pub window: usize,
    /// Words drawn as wrong answers, for each centre.
    pub negative: usize,
    /// Wrong answers are drawn with the words' counts to this power.
    pub exponent: f64,
    /// Share of the text above which a word counts as frequent and is left out at times; 0 leaves none out.
    pub sample: f64,
    /// Where the random choices begin.
    pub seed: u64,
}

/// Vectors in training: those of words as contexts, and those of words as answers.
///
/// Results depend on the seed and not on the number of threads.
///
/// ```
/// use cairn_tensor::kernel::{NegativeSampling, SamplingPlan};
/// use cairn_tensor::{Tensor, rng};
/// let start = Tensor::uniform([4, 8], -0.1, 0.1, &mut rng(1))?;
/// let plan = SamplingPlan { skip_gram: true, window: 2, negative: 5, exponent: 0.75, sample: 0.0, seed: 1 };
/// let mut training = NegativeSampling::new(&start, &[2, 2, 1, 1], &plan)?;
/// // Answers begin at 0, so the first step changes nothing but them.
/// for pass in 0..2 {
///     training.train(&[0, 1, 2, 0, 1, 3], &[3, 6], pass, 0.025)?; // two sentences
/// }
/// assert_ne!(training.vectors()?, start);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
pub struct NegativeSampling {
    trainer: Trainer,
    settings: Settings,
    /// For each word the probability to be kept.
    keep: Vec<f32>,
    shape: [usize; 2],
}

impl std::fmt::Debug for NegativeSampling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NegativeSampling").field("shape", &self.shape).finish_non_exhaustive()
    }
}

const OP: &str = "negative sampling";

impl NegativeSampling {
    /// Begins with these vectors, `[words, size]`, and 0 for the words as answers. `counts` says how often each word
    /// stands in the text.
    ///
    /// # Errors
    /// [`Error::BadShape`] for anything but a matrix with at least one row and column; [`Error::WrongLength`] when there
    /// is not a count for each row; [`Error::BadSetting`] for counts that are all 0, a window of 0, or numbers that are
    /// not finite.
    pub fn new(vectors: &Tensor<f32>, counts: &[u64], plan: &SamplingPlan) -> Result<Self> {
        let &[words, size] = vectors.shape() else {
            return Err(Error::bad_shape(OP, vectors.shape(), "[words, size] is needed"));
        };
        if words == 0 || size == 0 {
            return Err(Error::bad_shape(OP, vectors.shape(), "there must be words and components"));
        }
        if counts.len() != words {
            return Err(Error::WrongLength { op: OP, shape: [words].into(), len: counts.len() });
        }
        plan.check()?;
        let weights: Vec<f64> = counts.iter().map(|&n| power(n, plan.exponent)).collect();
        let total: f64 = weights.iter().sum();
        check(
            "the sum of the counts' powers",
            total,
            total.is_finite() && total > 0.0,
            "finite and above 0",
        )?;
        let keep = keep(counts, plan.sample);
        let step = Step::new(load(counts, &keep, &weights, plan.negative));
        let mut input = Table::zeroed(words, size)?;
        let whole = vectors.row_major()?;
        let rows = whole.chunks_exact(size);
        (0..).zip(rows).for_each(|(word, row)| input.row_mut(word).copy_from_slice(row));
        let &SamplingPlan { skip_gram, window, negative, seed, .. } = plan;
        Ok(NegativeSampling {
            trainer: Trainer::new(input, Table::zeroed(words, size)?),
            settings: Settings { window, negative, skip_gram, noise: Alias::new(&weights), seed, step },
            keep,
            shape: [words, size],
        })
    }

    /// Trains on a run of text: words by number, and where each sentence ends. `stream` numbers the run; the same number
    /// makes the same random choices.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for a word without a vector; [`Error::BadSetting`] for ends that do not ascend to the
    /// number of words, or a rate that is not finite.
    pub fn train(&mut self, words: &[u32], ends: &[usize], stream: u64, rate: f32) -> Result<()> {
        let [size, _] = self.shape;
        if let Some(position) = words.iter().position(|&word| word as usize >= size) {
            return Err(Error::IndexOutOfRange { op: OP, index: words[position] as usize, position, size });
        }
        let whole =
            ends.last().is_none_or(|&end| end == words.len()) && (ends.is_empty() == words.is_empty());
        let last = ends.last().copied().unwrap_or(0);
        check("the last end", last, ends.is_sorted() && whole, "the number of words, after ascending ones")?;
        check("the rate", rate, rate.is_finite(), "finite")?;
        let (kept, sentences) = self.leave_out(words, ends, stream);
        self.trainer.train(&Text { words: &kept, sentences: &sentences }, &self.settings, stream, rate);
        Ok(())
    }

    /// The words that are kept, and the number of the sentence of each.
    fn leave_out(&self, words: &[u32], ends: &[usize], stream: u64) -> (Vec<u32>, Vec<u32>) {
        // Apart from the streams of the steps, which are mixed.
        let mut rng = rng(self.settings.seed.rotate_left(32) ^ stream);
        let (mut kept, mut sentences) = (Vec::with_capacity(words.len()), Vec::with_capacity(words.len()));
        let mut start = 0;
        for (number, &end) in (0..).zip(ends) {
            for &word in &words[start..end] {
                let keep = self.keep[word as usize];
                if keep >= 1.0 || rng.random::<f32>() < keep {
                    kept.push(word);
                    sentences.push(number);
                }
            }
            start = end;
        }
        (kept, sentences)
    }

    /// The vectors as they are now, `[words, size]`.
    ///
    /// # Errors
    /// When memory does not hold a copy.
    pub fn vectors(&self) -> Result<Tensor<f32>> {
        Tensor::build(self.shape, |out| {
            let rows = out.chunks_exact_mut(self.shape[1]);
            (0..).zip(rows).for_each(|(word, row)| row.copy_from_slice(self.trainer.input.row(word)));
        })
    }
}

impl SamplingPlan {
    fn check(&self) -> Result<()> {
        let SamplingPlan { window, negative, exponent, sample, .. } = *self;
        check("the window", window, (1..=MOST).contains(&window), "from 1 to 65536")?;
        check("the number of negatives", negative, negative <= MOST, "at most 65536")?;
        check("the exponent", exponent, exponent.is_finite(), "finite")?;
        check("the sample", sample, sample >= 0.0 && sample.is_finite(), "finite and not negative")
    }
}

/// Beyond any sense, and still far from overflow.
const MOST: usize = 1 << 16;

fn check(what: &'static str, value: impl std::fmt::Display, ok: bool, must: &'static str) -> Result<()> {
    Setting::check(what, value, ok, must).map_err(|setting| Error::BadSetting { op: OP, setting })
}

/// A word that was not seen is not drawn, whatever the exponent.
fn power(count: u64, exponent: f64) -> f64 {
    if count == 0 { 0.0 } else { (count as f64).powf(exponent) }
}

/// How often the most frequent target is one for each centre: as the centre itself and as a negative.
fn load(counts: &[u64], keep: &[f32], weights: &[f64], negative: usize) -> f64 {
    let seen = |i: usize| counts[i] as f64 * f64::from(keep[i]);
    let (seen_in_all, drawn_in_all) = ((0..counts.len()).map(seen).sum::<f64>(), weights.iter().sum::<f64>());
    let of = |i: usize| seen(i) / seen_in_all + negative as f64 * weights[i] / drawn_in_all;
    (0..counts.len()).map(of).fold(0.0, f64::max)
}

/// (√(f / s) + 1) · s / f for a word with the share f of the text: the formula of word2vec's own code.
fn keep(counts: &[u64], sample: f64) -> Vec<f32> {
    let threshold = sample * counts.iter().map(|&n| n as f64).sum::<f64>();
    let one = |&n: &u64| match n as f64 / threshold {
        ratio if ratio > 0.0 && ratio.is_finite() => ((ratio.sqrt() + 1.0) / ratio).min(1.0) as f32,
        _ => 1.0,
    };
    counts.iter().map(one).collect()
}
