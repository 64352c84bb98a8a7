//! The linear-chain conditional random field (Lafferty et al. 2001): a score for each tag of each step, from a network, and one for
//! each tag after another, learned here. Tags are not chosen one by one, so a sequence that makes no sense as a whole (an entity
//! that goes on without having begun) is not predicted.
//!
//! A sequence of tags y has the score start(y₁) + Σ emission(t, yₜ) + Σ transition(yₜ₋₁, yₜ) + end(y_T), and the probability exp(score) / Z.
//! Z, the sum over all sequences, is computed forwards in logarithms (Rabiner 1989); its gradients are the probabilities of tags and of
//! pairs of tags, from the same pass backwards. Everything is summed in `f64`, in a fixed order.

use cairn_autograd::{Gradient, Parameter, Var};
use cairn_tensor::{Float, Rng, Tensor};

use super::log_space::log_sum;
use crate::{Error, Init, Module, Result, SequenceMask};

/// The scores of tags after each other, and with them the loss and the best tags of sequences.
///
/// ```
/// use cairn_nn::loss::Crf;
/// use cairn_nn::{Linear, SequenceMask};
/// use cairn_tensor::{Tensor, rng};
/// let (head, crf) = (Linear::new(8, 3, &mut rng(0))?, Crf::new(3, &mut rng(1))?);
/// let states = Tensor::normal([2, 5, 8], 0.0, 1.0, &mut rng(2))?; // of two sentences, of 5 and 4 words
/// let mask = SequenceMask::of_lengths(&Tensor::from_vec(vec![5, 4], [2])?);
/// let emissions = head.forward(&states.into())?;
/// let tags = Tensor::from_vec(vec![0, 1, 1, 2, 0, 0, 0, 1, 2, 0], [2, 5])?;
/// let loss = crf.losses(&emissions, &tags, Some(&mask))?.mean(..)?;
/// assert!(loss.backward()?.get(&crf.transitions).is_some());
/// let best = crf.decode(emissions.value(), Some(&mask))?;
/// assert_eq!((best[0].len(), best[1].len()), (5, 4));
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Module)]
#[doc(alias("CRF", "ConditionalRandomField", "Viterbi"))]
pub struct Crf {
    /// `[tags, tags]`: that of the second axis after that of the first.
    pub transitions: Parameter,
    /// `[tags]`: at the beginning.
    pub start: Parameter,
    /// `[tags]`: at the end.
    pub end: Parameter,
}

impl Crf {
    /// For so many tags, with scores drawn uniformly within ±0.1.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for no tags; when memory does not hold the scores.
    pub fn new(tags: usize, rng: &mut Rng) -> Result<Self> {
        if tags == 0 {
            return Err(Error::BadSetting { what: "the number of tags", value: 0.0, must: "at least 1" });
        }
        let mut draw =
            |shape: &[usize]| Ok::<_, Error>(Parameter::new(Init::Uniform(0.1).tensor(shape, rng)?));
        Ok(Crf { transitions: draw(&[tags, tags])?, start: draw(&[tags])?, end: draw(&[tags])? })
    }

    /// -ln p(tags) of each sequence, `[batch]`, for emissions `[batch, time, tags]` and tags `[batch, time]`, whatever stands in the
    /// padding; 0 for a sequence without steps, NaN for one with scores that are NaN or +∞.
    ///
    /// # Errors
    /// When the shapes do not fit, for a tag that is none, and a mask beyond the steps.
    #[doc(alias = "negative log-likelihood")]
    pub fn losses(&self, emissions: &Var, tags: &Tensor<u32>, mask: Option<&SequenceMask>) -> Result<Var> {
        crf_losses(emissions, [&self.transitions.var(), &self.start.var(), &self.end.var()], tags, mask)
    }

    /// The likeliest tags of each sequence, for emissions `[batch, time, tags]`: Viterbi's algorithm. Of tags that are equally good
    /// the first.
    ///
    /// # Errors
    /// When the shapes do not fit, and for a mask beyond the steps; [`Error::BadSetting`] for scores that are NaN or +∞, and for a
    /// sequence of which all tags have the score -∞.
    pub fn decode(&self, emissions: &Tensor, mask: Option<&SequenceMask>) -> Result<Vec<Vec<u32>>> {
        let chain = Chain::new(emissions, &self.transitions.value(), &self.start.value(), &self.end.value())?;
        let ranges = ranges(mask, chain.batch, chain.time)?;
        let steps = ranges.iter().enumerate();
        chain.check_numbers(
            steps.flat_map(|(row, &(start, end))| (start..end).map(move |step| (row, step))),
        )?;
        ranges.into_iter().enumerate().map(|(row, (start, end))| chain.best(row, start, end)).collect()
    }
}

/// As [`Crf::losses`], given transitions `[tags, tags]`, starts and ends `[tags]`, of any type of floats.
///
/// # Errors
/// As [`Crf::losses`].
pub fn crf_losses<T: Float>(
    emissions: &Var<T>,
    [transitions, start, end]: [&Var<T>; 3],
    tags: &Tensor<u32>,
    mask: Option<&SequenceMask>,
) -> Result<Var<T>> {
    let chain = Chain::new(emissions.value(), transitions.value(), start.value(), end.value())?;
    let shape = emissions.dims().clone();
    let bad = |why: String| Error::BadInput { input: shape.clone(), why };
    if tags.shape() != [chain.batch, chain.time] {
        return Err(bad(format!("the tags are {:?}, which must be [batch, time]", tags.dims())));
    }
    let (tags, ranges) = (tags.to_vec(), ranges(mask, chain.batch, chain.time)?);
    let mut losses = Vec::with_capacity(chain.batch);
    for (row, &(first, last)) in ranges.iter().enumerate() {
        let tags = &tags[row * chain.time..][first..last];
        if let Some(tag) = tags.iter().find(|&&tag| tag as usize >= chain.tags) {
            return Err(bad(format!(
                "tag {tag} of sequence {row} is none of {}, which count from 0",
                chain.tags
            )));
        }
        losses.push(chain.total(&chain.forward(row, first, last)) - chain.score(row, first, tags));
    }
    let losses = Tensor::<f64>::from_vec(losses, [chain.batch])?.cast::<T>()?;
    let parents = [emissions, transitions, start, end];
    Ok(Var::from_op("crf_losses", losses, parents, move |g, wanted| {
        let g = g.cast::<f64>()?.to_vec();
        let gradients = chain.gradients(&tags, &ranges, &g);
        let (n, shapes) = (chain.tags, [vec![chain.batch, chain.time, chain.tags], vec![chain.tags; 2]]);
        let shapes = [&shapes[0][..], &shapes[1], &[n], &[n]];
        let mut all = [const { None }; 4];
        for (((out, gradient), shape), wanted) in all.iter_mut().zip(gradients).zip(shapes).zip(wanted) {
            if wanted {
                *out = Some(Gradient::Dense(Tensor::<f64>::from_vec(gradient, shape)?.cast()?));
            }
        }
        Ok(all)
    }))
}

/// The first step of each sequence and the one after its last.
pub(super) fn ranges(mask: Option<&SequenceMask>, batch: usize, time: usize) -> Result<Vec<(usize, usize)>> {
    let Some(SequenceMask { starts, ends }) = mask else { return Ok(vec![(0, time); batch]) };
    let starts = starts.as_ref().map_or_else(|| vec![0; ends.len()], Tensor::to_vec);
    // Padding alone has its start after its end.
    let pairs = starts.into_iter().zip(ends.iter());
    let ranges: Vec<(usize, usize)> =
        pairs.map(|(start, end)| ((start as usize).min(end as usize), end as usize)).collect();
    let bad = |value: usize, what, must| Err(Error::BadSetting { what, value: value as f64, must });
    if ranges.len() != batch {
        return bad(ranges.len(), "the number of sequences of a mask", "that of the batch");
    }
    match ranges.iter().find(|(_, end)| *end > time) {
        Some(&(_, end)) => bad(end, "the end of a sequence", "at most the number of steps"),
        None => Ok(ranges),
    }
}

/// All scores of a batch, in `f64`.
struct Chain {
    batch: usize,
    time: usize,
    tags: usize,
    /// `[batch, time, tags]`
    emissions: Vec<f64>,
    /// `[from, to]`
    transitions: Vec<f64>,
    start: Vec<f64>,
    end: Vec<f64>,
}

impl Chain {
    fn new<T: Float>(
        emissions: &Tensor<T>,
        transitions: &Tensor<T>,
        start: &Tensor<T>,
        end: &Tensor<T>,
    ) -> Result<Self> {
        let &[batch, time, tags] = emissions.shape() else {
            let why = "a chain is over emissions [batch, time, tags]".into();
            return Err(Error::BadInput { input: emissions.dims().clone(), why });
        };
        if transitions.shape() != [tags, tags] || start.shape() != [tags] || end.shape() != [tags] {
            let why = format!("transitions are between {:?} tags, not {tags}", transitions.dims());
            return Err(Error::BadInput { input: emissions.dims().clone(), why });
        }
        let values = |x: &Tensor<T>| Ok::<_, Error>(x.cast::<f64>()?.to_vec());
        Ok(Chain {
            batch,
            time,
            tags,
            emissions: values(emissions)?,
            transitions: values(transitions)?,
            start: values(start)?,
            end: values(end)?,
        })
    }

    fn at(&self, row: usize, step: usize) -> &[f64] {
        &self.emissions[(row * self.time + step) * self.tags..][..self.tags]
    }

    fn transition(&self, from: usize, to: usize) -> f64 {
        self.transitions[from * self.tags + to]
    }

    /// The score of these tags.
    fn score(&self, row: usize, first: usize, tags: &[u32]) -> f64 {
        let (Some(&begin), Some(&last)) = (tags.first(), tags.last()) else { return 0.0 };
        let emissions: f64 =
            tags.iter().enumerate().map(|(step, &tag)| self.at(row, first + step)[tag as usize]).sum();
        let transitions: f64 =
            tags.windows(2).map(|pair| self.transition(pair[0] as usize, pair[1] as usize)).sum();
        self.start[begin as usize] + emissions + transitions + self.end[last as usize]
    }

    /// For each step and tag, ln Σ exp(score) over the beginnings that end there.
    fn forward(&self, row: usize, first: usize, last: usize) -> Vec<Vec<f64>> {
        let mut all: Vec<Vec<f64>> = Vec::with_capacity(last - first);
        for step in first..last {
            let into = |to: usize| match all.last() {
                None => self.start[to],
                Some(before) => {
                    log_sum(before.iter().enumerate().map(|(from, x)| x + self.transition(from, to)))
                }
            };
            let next =
                self.at(row, step).iter().enumerate().map(|(to, emission)| emission + into(to)).collect();
            all.push(next);
        }
        all
    }

    /// For each step and tag, ln Σ exp(score) over what follows it.
    fn backward(&self, row: usize, first: usize, last: usize) -> Vec<Vec<f64>> {
        let mut all = vec![self.end.clone()];
        for step in (first + 1..last).rev() {
            let (emissions, after) = (self.at(row, step), &all[all.len() - 1]);
            let onward = |from: usize| {
                log_sum((0..self.tags).map(move |to| self.transition(from, to) + emissions[to] + after[to]))
            };
            let next = (0..self.tags).map(onward).collect();
            all.push(next);
        }
        all.reverse();
        all
    }

    /// ln Z, from [`forward`](Self::forward); 0 of no steps.
    fn total(&self, forward: &[Vec<f64>]) -> f64 {
        forward.last().map_or(0.0, |last| log_sum(last.iter().zip(&self.end).map(|(a, b)| a + b)))
    }

    /// The gradients of Σ g · loss with respect to emissions, transitions, starts and ends.
    fn gradients(&self, tags: &[u32], ranges: &[(usize, usize)], g: &[f64]) -> [Vec<f64>; 4] {
        let n = self.tags;
        let mut emissions = vec![0.0; self.emissions.len()];
        let [mut transitions, mut start, mut end] = [vec![0.0; n * n], vec![0.0; n], vec![0.0; n]];
        for (row, (&(first, last), &g)) in ranges.iter().zip(g).enumerate().filter(|(_, (r, _))| r.0 < r.1) {
            let (forward, backward) = (self.forward(row, first, last), self.backward(row, first, last));
            let total = self.total(&forward);
            for (step, (a, b)) in forward.iter().zip(&backward).enumerate() {
                let tag = tags[row * self.time + first + step] as usize;
                let out = &mut emissions[(row * self.time + first + step) * n..][..n];
                for to in 0..n {
                    out[to] = g * ((a[to] + b[to] - total).exp() - f64::from(u8::from(to == tag)));
                }
                let (is_first, is_last) = (step == 0, step + 1 == forward.len());
                for (sum, edge) in [(&mut start, is_first), (&mut end, is_last)] {
                    if edge {
                        sum.iter_mut().zip(&*out).for_each(|(sum, out)| *sum += out);
                    }
                }
                if is_last {
                    continue;
                }
                let (next, after) = (self.at(row, first + step + 1), &backward[step + 1]);
                for from in 0..n {
                    for to in 0..n {
                        let log = a[from] + self.transition(from, to) + next[to] + after[to] - total;
                        transitions[from * n + to] += g * log.exp();
                    }
                }
                transitions[tag * n + tags[row * self.time + first + step + 1] as usize] -= g;
            }
        }
        [emissions, transitions, start, end]
    }

    /// That there is a largest score: none is NaN or +∞, of these steps of sequences and between all tags.
    fn check_numbers(&self, steps: impl Iterator<Item = (usize, usize)>) -> Result<()> {
        let own = [&self.transitions, &self.start, &self.end];
        let mut all = own.into_iter().flatten().chain(steps.flat_map(|(row, step)| self.at(row, step)));
        match all.find(|score| score.is_nan() || **score == f64::INFINITY) {
            Some(&value) => {
                Err(Error::BadSetting { what: "a score of a tag", value, must: "a number below infinity" })
            }
            None => Ok(()),
        }
    }

    /// The tags of the largest score.
    fn best(&self, row: usize, first: usize, last: usize) -> Result<Vec<u32>> {
        if first == last {
            return Ok(Vec::new());
        }
        let mut scores: Vec<f64> = self.at(row, first).iter().zip(&self.start).map(|(a, b)| a + b).collect();
        let mut came_from = Vec::with_capacity(last - first);
        for step in first + 1..last {
            let best =
                |to: usize| largest((0..self.tags).map(|from| scores[from] + self.transition(from, to)));
            let into: Vec<(usize, f64)> = (0..self.tags).map(best).collect();
            scores =
                into.iter().zip(self.at(row, step)).map(|((_, score), emission)| score + emission).collect();
            came_from.push(into);
        }
        let (mut tag, value) = largest(scores.iter().zip(&self.end).map(|(a, b)| a + b));
        if value == f64::NEG_INFINITY {
            let (what, must) = ("the score of the likeliest tags", "above -infinity: some must be possible");
            return Err(Error::BadSetting { what, value, must });
        }
        let mut tags = vec![tag as u32];
        for into in came_from.iter().rev() {
            tag = into[tag].0;
            tags.push(tag as u32);
        }
        tags.reverse();
        Ok(tags)
    }
}

/// The first of the largest values, with its place.
fn largest(values: impl Iterator<Item = f64>) -> (usize, f64) {
    let first = (0, f64::NEG_INFINITY);
    values.enumerate().fold(first, |best, next| if next.1 > best.1 { next } else { best })
}
