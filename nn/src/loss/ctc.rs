//! Connectionist temporal classification (Graves et al. 2006): the loss of labels in order, where nobody says at which steps they are.
//!
//! At each step a network gives scores of all labels and of a blank. A path, one of them a step, stands for the labels that are
//! left when repetitions are joined and then blanks removed; the probability of a sequence of labels is that of all paths that stand
//! for it. The paths are summed forwards over the labels with a blank around each, and, for the gradient, backwards (section 4.1),
//! in logarithms and in `f64`. The softmax is part of it, so its gradient is a difference of probabilities.

use std::collections::HashMap;

use cairn_autograd::{Gradient, Var};
use cairn_tensor::{Float, Tensor};

use super::crf::ranges;
use super::log_space::log_sum;
use crate::{Error, Result, SequenceMask};

/// The loss and the decoding of unaligned labels.
///
/// ```
/// use cairn_autograd::Var;
/// use cairn_nn::loss::Ctc;
/// use cairn_tensor::Tensor;
/// // Six steps, classes blank, `a` and `b`: the path is a a - b b -.
/// let path = [1, 1, 0, 2, 2, 0];
/// let logits = Tensor::<f32>::from_vec(path.iter().flat_map(|&p| (0..3).map(move |k| if k == p { 4.0 } else { 0.0 })).collect(), [1, 6, 3])?;
/// let ctc = Ctc::new();
/// assert_eq!(ctc.greedy(&logits, None)?, [[1, 2]]);
/// assert_eq!(ctc.beam(&logits, None, 5)?[0][0].labels, [1, 2]);
/// let logits = Var::parameter(logits);
/// let losses = ctc.losses(&logits, &[vec![1, 2]], None)?;
/// assert!(losses.value().get(&[0])? < 0.2);
/// losses.mean(..)?.backward()?;
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[doc(alias("CTCLoss", "ctc_loss", "ctc_decode"))]
pub struct Ctc {
    blank: u32,
    skip: bool,
}

/// Labels that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelling {
    /// The labels.
    pub labels: Vec<u32>,
    /// The logarithm of their probability, of those paths that the search went on with.
    pub log_probability: f64,
}

impl Ctc {
    /// With class 0 as the blank, as in PyTorch.
    pub fn new() -> Self {
        Ctc::default()
    }

    /// With another class as the blank; Keras takes the last.
    #[must_use]
    pub fn blank(self, blank: u32) -> Self {
        Ctc { blank, ..self }
    }

    /// Gives a sequence whose labels need more steps than it has a loss and a gradient of 0, instead of an error.
    #[must_use]
    #[doc(alias = "zero_infinity")]
    pub fn skip_impossible(self, skip: bool) -> Self {
        Ctc { skip, ..self }
    }

    /// -ln p(labels) of each sequence, `[batch]`, for logits `[batch, time, classes]`; `mask` says which steps are valid.
    /// PyTorch's `mean` divides each by its number of labels before it takes the mean.
    ///
    /// NaN for a sequence with logits that are NaN or +∞, or at a step all -∞: it has no probabilities, so that its labels are not
    /// impossible.
    ///
    /// # Errors
    /// When shapes do not fit; for a label that is no class or the blank; unless [skipped](Self::skip_impossible), for labels that no
    /// path stands for, naming the sequence.
    pub fn losses<T: Float>(
        &self,
        logits: &Var<T>,
        labels: &[Vec<u32>],
        mask: Option<&SequenceMask>,
    ) -> Result<Var<T>> {
        let steps = Steps::new(logits.value(), self.blank, mask)?;
        let bad = |why| Error::BadInput { input: logits.dims().clone(), why };
        if labels.len() != steps.ranges.len() {
            return Err(bad(format!("{} sequences of labels for {}", labels.len(), steps.ranges.len())));
        }
        let (mut losses, mut gradient) = (Vec::with_capacity(labels.len()), vec![0.0; logits.value().len()]);
        for (row, labels) in labels.iter().enumerate() {
            let wrong = |&&label: &&u32| label as usize >= steps.classes || label == self.blank;
            if let Some(label) = labels.iter().find(wrong) {
                let why = format!(
                    "label {label} of sequence {row} is the blank or none of {} classes",
                    steps.classes
                );
                return Err(bad(why));
            }
            let loss = steps.loss(row, labels, &mut gradient);
            if loss.is_none() && !self.skip {
                let steps = steps.ranges[row].1 - steps.ranges[row].0;
                let why = format!("sequence {row} of {steps} steps cannot have its {} labels", labels.len());
                return Err(bad(why));
            }
            losses.push(loss.unwrap_or(0.0));
        }
        let losses = Tensor::<f64>::from_vec(losses, [labels.len()])?.cast::<T>()?;
        let gradient = Tensor::<f64>::from_vec(gradient, logits.dims())?.cast::<T>()?;
        Ok(Var::from_op("ctc_losses", losses, [logits], move |g, [_]| {
            let g = g.reshape([g.len(), 1, 1])?;
            Ok([Some(Gradient::Dense(gradient.mul(&g)?))])
        }))
    }

    /// The labels of the likeliest path of each sequence: that of the likeliest class of each step, the first of equals.
    ///
    /// # Errors
    /// When shapes do not fit; [`Error::BadSetting`] for logits that are NaN, +∞ or at a step all -∞.
    #[doc(alias = "best path decoding")]
    pub fn greedy(&self, logits: &Tensor, mask: Option<&SequenceMask>) -> Result<Vec<Vec<u32>>> {
        let steps = Steps::new(logits, self.blank, mask)?;
        steps.check_numbers()?;
        let likeliest = |row: usize, step: usize| {
            let probabilities = steps.at(row, step);
            (1..steps.classes)
                .fold(0, |best, k| if probabilities[k] > probabilities[best] { k } else { best })
                as u32
        };
        let labels = |(row, &(start, end)): (usize, &(usize, usize))| {
            let mut path: Vec<u32> = (start..end).map(|step| likeliest(row, step)).collect();
            path.dedup();
            path.retain(|&class| class != self.blank);
            path
        };
        Ok(steps.ranges.iter().enumerate().map(labels).collect())
    }

    /// The likeliest labels of each sequence that a search with so many beams finds, best first: it goes on with the likeliest
    /// beginnings after each step, and adds up the paths of each (Graves 2012, section 7.5; Hannun 2017). Of equals the one whose
    /// labels are lower goes first.
    ///
    /// # Errors
    /// When shapes do not fit; [`Error::BadSetting`] for no beams, and for logits that are NaN, +∞ or at a step all -∞.
    #[doc(alias = "prefix beam search")]
    pub fn beam(
        &self,
        logits: &Tensor,
        mask: Option<&SequenceMask>,
        beams: usize,
    ) -> Result<Vec<Vec<Labelling>>> {
        if beams == 0 {
            return Err(Error::BadSetting { what: "the number of beams", value: 0.0, must: "at least 1" });
        }
        let steps = Steps::new(logits, self.blank, mask)?;
        steps.check_numbers()?;
        Ok((0..steps.ranges.len()).map(|row| steps.search(row, beams)).collect())
    }
}

/// The log-probabilities of all classes at all steps.
struct Steps {
    ranges: Vec<(usize, usize)>,
    time: usize,
    classes: usize,
    blank: usize,
    /// `[batch, time, classes]`
    logs: Vec<f64>,
}

impl Steps {
    fn new<T: Float>(logits: &Tensor<T>, blank: u32, mask: Option<&SequenceMask>) -> Result<Self> {
        let &[batch, time, classes] = logits.shape() else {
            let why = "unaligned labels are of logits [batch, time, classes]".into();
            return Err(Error::BadInput { input: logits.dims().clone(), why });
        };
        if blank as usize >= classes {
            let (what, must) = ("the blank", "below the number of classes");
            return Err(Error::BadSetting { what, value: blank.into(), must });
        }
        let mut logs = logits.cast::<f64>()?.to_vec();
        for step in logs.chunks_exact_mut(classes) {
            let total = log_sum(step.iter().copied());
            step.iter_mut().for_each(|x| *x -= total);
        }
        Ok(Steps { ranges: ranges(mask, batch, time)?, time, classes, blank: blank as usize, logs })
    }

    /// That there is a likeliest class at each step: what has no probabilities has none that is a number.
    fn check_numbers(&self) -> Result<()> {
        let steps = self
            .ranges
            .iter()
            .enumerate()
            .flat_map(|(row, &(start, end))| (start..end).map(move |step| (row, step)));
        match steps.flat_map(|(row, step)| self.at(row, step)).find(|log| log.is_nan()) {
            Some(&value) => {
                let what = "a logarithm of a class's probability";
                let must = "a number: no logit may be NaN or infinity, nor all of a step -infinity";
                Err(Error::BadSetting { what, value, must })
            }
            None => Ok(()),
        }
    }

    fn at(&self, row: usize, step: usize) -> &[f64] {
        &self.logs[(row * self.time + step) * self.classes..][..self.classes]
    }

    /// The loss of a sequence's labels, none where no path stands for them; its gradient is written to its place in `gradient`.
    fn loss(&self, row: usize, labels: &[u32], gradient: &mut [f64]) -> Option<f64> {
        let (start, end) = self.ranges[row];
        // The labels with a blank around each.
        let states: Vec<usize> =
            labels.iter().flat_map(|&label| [self.blank, label as usize]).chain([self.blank]).collect();
        if start == end {
            return labels.is_empty().then_some(0.0);
        }
        let forward = self.forward(row, &states);
        let last = forward.last()?;
        let total = log_sum(last[last.len().saturating_sub(2)..].iter().copied());
        if total == f64::NEG_INFINITY {
            return None;
        }
        let backward = self.backward(row, &states);
        for (step, (a, b)) in (start..end).zip(forward.iter().zip(&backward)) {
            let out = &mut gradient[(row * self.time + step) * self.classes..][..self.classes];
            out.iter_mut().zip(self.at(row, step)).for_each(|(out, log)| *out = log.exp());
            for ((&state, a), b) in states.iter().zip(a).zip(b) {
                out[state] -= (a + b - total).exp();
            }
        }
        Some(-total)
    }

    /// Whether a path may go to this state from the one before the last: over a blank, between labels that differ.
    fn may_skip(states: &[usize], state: usize) -> bool {
        state >= 2 && state % 2 == 1 && states[state] != states[state - 2]
    }

    /// For each step and state, the log-probability of the beginnings that end there, the step included.
    fn forward(&self, row: usize, states: &[usize]) -> Vec<Vec<f64>> {
        let (start, end) = self.ranges[row];
        let mut all: Vec<Vec<f64>> = Vec::with_capacity(end - start);
        for step in start..end {
            let into = |state: usize| match all.last() {
                None if state < 2 => 0.0,
                None => f64::NEG_INFINITY,
                Some(before) => {
                    let first = state.saturating_sub(if Self::may_skip(states, state) { 2 } else { 1 });
                    log_sum(before[first..=state].iter().copied())
                }
            };
            let logs = self.at(row, step);
            let next = states.iter().enumerate().map(|(state, &class)| into(state) + logs[class]).collect();
            all.push(next);
        }
        all
    }

    /// For each step and state, the log-probability of what follows the step.
    fn backward(&self, row: usize, states: &[usize]) -> Vec<Vec<f64>> {
        let (start, end) = self.ranges[row];
        let count = states.len();
        let ends = |state: usize| if state + 2 >= count { 0.0 } else { f64::NEG_INFINITY };
        let mut all: Vec<Vec<f64>> = vec![(0..count).map(ends).collect()];
        for step in (start + 1..end).rev() {
            let (logs, after) = (self.at(row, step), &all[all.len() - 1]);
            let onward = |state: usize| {
                let skips = state + 2 < count && Self::may_skip(states, state + 2);
                let last = (state + if skips { 2 } else { 1 }).min(count - 1);
                log_sum((state..=last).map(|to| after[to] + logs[states[to]]))
            };
            let next = (0..count).map(onward).collect();
            all.push(next);
        }
        all.reverse();
        all
    }

    fn search(&self, row: usize, beams: usize) -> Vec<Labelling> {
        let (start, end) = self.ranges[row];
        let nothing = Beginning { labels: Vec::new(), total: 0.0, blank: 0.0, label: f64::NEG_INFINITY };
        let live =
            (start..end).fold(vec![nothing], |live, step| self.extended(&live, self.at(row, step), beams));
        let found = |Beginning { labels, total, .. }| Labelling { labels, log_probability: total };
        live.into_iter().map(found).collect()
    }

    /// The likeliest beginnings after one step more, best first; of equals the one whose labels are lower.
    fn extended(&self, live: &[Beginning], logs: &[f64], beams: usize) -> Vec<Beginning> {
        let better = |a: &Extended, b: &Extended| {
            b.total.total_cmp(&a.total).then_with(|| a.labels(live).cmp(b.labels(live)))
        };
        let places: HashMap<&[u32], usize> =
            live.iter().enumerate().map(|(at, beginning)| (&beginning.labels[..], at)).collect();
        let mut found = Vec::new();
        // By which labels each becomes another that is there: those paths are added to that one's.
        let mut joined = vec![Vec::new(); live.len()];
        for (from, beginning) in live.iter().enumerate() {
            let blank = beginning.total + logs[self.blank];
            let mut label = f64::NEG_INFINITY;
            if let Some((&last, before)) = beginning.labels.split_last() {
                // The same label goes on.
                label = beginning.label + logs[last as usize];
                if let Some(&shorter) = places.get(before) {
                    let longer = live[shorter].before(last) + logs[last as usize];
                    label = log_sum([label, longer].into_iter());
                    joined[shorter].push(last);
                }
            }
            let total = log_sum([blank, label].into_iter());
            found.push(Extended { from, class: None, total, blank, label });
        }
        for (from, (beginning, joined)) in live.iter().zip(&joined).enumerate() {
            let new = |class: &u32| *class as usize != self.blank && !joined.contains(class);
            found.extend((0..self.classes as u32).filter(new).map(|class| {
                let label = beginning.before(class) + logs[class as usize];
                Extended { from, class: Some(class), total: label, blank: f64::NEG_INFINITY, label }
            }));
            if beams < found.len() {
                found.select_nth_unstable_by(beams, better);
                found.truncate(beams);
            }
        }
        found.retain(|extended| extended.total > f64::NEG_INFINITY);
        found.sort_unstable_by(better);
        let kept = |extended: &Extended| {
            let &Extended { total, blank, label, .. } = extended;
            Beginning { labels: extended.labels(live).collect(), total, blank, label }
        };
        found.iter().map(kept).collect()
    }
}

/// Labels, and the log-probabilities of their paths: of all, of those that end in a blank, and of those in the last label.
struct Beginning {
    labels: Vec<u32>,
    total: f64,
    blank: f64,
    label: f64,
}

impl Beginning {
    /// That of the paths that this label makes longer: where it is the last already, only those that end in a blank.
    fn before(&self, label: u32) -> f64 {
        if self.labels.last() == Some(&label) { self.blank } else { self.total }
    }
}

/// What a beginning becomes by a step.
struct Extended {
    /// The beginning's place.
    from: usize,
    /// The label that is new, if one is.
    class: Option<u32>,
    total: f64,
    blank: f64,
    label: f64,
}

impl Extended {
    fn labels(&self, live: &[Beginning]) -> impl Iterator<Item = u32> {
        live[self.from].labels.iter().copied().chain(self.class)
    }
}
