//! Word vectors by negative sampling (Mikolov et al. 2013): steps that are as fast as unordered ones, and reproducible.
//!
//! The usual implementations let all threads write to the tables at once, without order. Here a step takes a fixed number
//! of positions of the text, and has two parts with nothing shared in between:
//!
//! 1. *Gradients.* A [`Piece`] of 16 centres draws its windows and negatives from a generator of its own, reads the tables
//!    as they were at the beginning of the step, and writes gradients to memory of its own.
//! 2. *Addition.* A shard, every eighth word, adds the gradients of its words to the tables, in the order of the pieces.
//!
//! What is computed does not depend on the threads. A step has to be so short that the tables of its beginning are as good
//! as new ones: gradients that one word gets in it are all taken at the same place, and if they are many their sum leads
//! too far, in a text of few words without end. So a step has at most 256 centres, and fewer where the most frequent word
//! would be a target more than [`REPEATS`] times.
//!
//! The contexts of one centre share its negatives (Ji et al. 2016), so a centre is three small matrix products
//! (contexts x targets, and the gradients of both) on rows that stay in the nearest cache, where drawing for each pair
//! would fetch each row for two operations an element. Gradients of contexts are summed over the centres of a piece before
//! they leave it.

use rand::Rng as _;

use super::buffer::Buffer;
use super::simd::Vector;
use super::{Isa, Kernel, dispatch, math, threads};
use crate::{Result, Rng};

/// Most centres of a piece: few enough for its gradients to stay in the second cache.
const CENTRES: usize = 16;
/// Most pieces of a step.
const PIECES: usize = 16;
/// How often a word may be a target in a step, in the mean.
const REPEATS: f64 = 12.0;
/// Parts of the tables that are added to independently.
const SHARDS: usize = 8;
/// Rows are padded to whole registers of the widest kind.
const PAD: usize = 16;
/// Targets that are kept in registers together: the word itself and five negatives.
const TILE: usize = 6;

/// Rows for words, those of one shard side by side.
pub(crate) struct Table {
    data: Buffer<f32>,
    width: usize,
    stride: usize,
    /// Elements of a shard.
    shard: usize,
}

impl Table {
    pub(crate) fn zeroed(words: usize, width: usize) -> Result<Self> {
        let stride = width.next_multiple_of(PAD);
        let shard = words.div_ceil(SHARDS).saturating_mul(stride);
        let data = Buffer::zeroed("negative sampling", shard.saturating_mul(SHARDS))?;
        Ok(Table { data, width, stride, shard })
    }

    /// Where the row of a word begins.
    #[inline(always)]
    fn at(&self, word: u32) -> usize {
        word as usize % SHARDS * self.shard + word as usize / SHARDS * self.stride
    }

    pub(crate) fn row(&self, word: u32) -> &[f32] {
        &self.data[self.at(word)..][..self.width]
    }

    pub(crate) fn row_mut(&mut self, word: u32) -> &mut [f32] {
        let at = self.at(word);
        &mut self.data[at..][..self.width]
    }
}

/// Draws words with given probabilities in constant time: the alias method (Walker 1977, tables after Vose 1991).
pub(crate) struct Alias {
    /// For each word the chance, of 2³², to stay with it, and the word to take otherwise.
    entries: Vec<(u32, u32)>,
}

impl Alias {
    /// Weights are finite and not negative, and not all zero.
    pub(crate) fn new(weights: &[f64]) -> Self {
        let scale = weights.len() as f64 / weights.iter().sum::<f64>();
        let mut left: Vec<f64> = weights.iter().map(|w| w * scale).collect();
        let mut entries: Vec<(u32, u32)> = (0..weights.len() as u32).map(|word| (u32::MAX, word)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..left.len()).partition(|&i| left[i] < 1.0);
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            entries[poor] = ((left[poor] * 4_294_967_296.0) as u32, rich as u32);
            left[rich] -= 1.0 - left[poor];
            if left[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Alias { entries }
    }

    #[inline(always)]
    fn draw(&self, rng: &mut Rng) -> u32 {
        let bits = rng.next_u64();
        let word = (((bits >> 32) * self.entries.len() as u64) >> 32) as u32;
        let (stay, other) = self.entries[word as usize];
        if (bits as u32) <= stay { word } else { other }
    }
}

/// What does not change while training.
pub(crate) struct Settings {
    pub(crate) window: usize,
    pub(crate) negative: usize,
    /// Each context predicts the centre, or else their mean does.
    pub(crate) skip_gram: bool,
    pub(crate) noise: Alias,
    pub(crate) seed: u64,
    pub(crate) step: Step,
}

impl Settings {
    /// Simple operations for one centre, about.
    fn work(&self, stride: usize) -> usize {
        let contexts = if self.skip_gram { self.window + 1 } else { 1 };
        3 * stride * (self.negative + 1) * contexts
    }
}

/// The size of a step.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pieces: usize,
    /// Centres of a piece.
    centres: usize,
}

impl Step {
    /// For a text whose most frequent target is one `load` times for each centre.
    pub(crate) fn new(load: f64) -> Self {
        let whole = ((REPEATS / load) as usize).clamp(1, CENTRES * PIECES);
        let centres = whole.div_ceil(PIECES);
        Step { pieces: whole / centres, centres }
    }
}

/// A run of text: words, and the number of the sentence of each, which contexts do not cross.
pub(crate) struct Text<'a> {
    pub(crate) words: &'a [u32],
    pub(crate) sentences: &'a [u32],
}

/// Some centres, the targets drawn for them, and gradients.
#[derive(Default)]
struct Piece {
    /// The word of each position that may be a context.
    inputs: Vec<u32>,
    /// For each centre with contexts: itself and its negatives.
    targets: Vec<u32>,
    input_gradients: Vec<f32>,
    target_gradients: Vec<f32>,
    /// Positions, counted in `inputs`, of the contexts of the centre at hand.
    contexts: Vec<usize>,
    scratch: Scratch,
}

/// Values of one centre.
#[derive(Default)]
struct Scratch {
    /// Scores, then what they are to change by: (contexts, targets of a tile).
    scores: Vec<f32>,
    /// The mean of the contexts, and its gradient.
    mean: Vec<f32>,
    mean_gradient: Vec<f32>,
}

/// The tables and the memory of a step.
pub(crate) struct Trainer {
    pub(crate) input: Table,
    pub(crate) output: Table,
    pieces: Vec<Piece>,
}

impl Trainer {
    pub(crate) fn new(input: Table, output: Table) -> Self {
        Trainer { input, output, pieces: (0..PIECES).map(|_| Piece::default()).collect() }
    }

    /// Trains on every position of a text; words are below the tables' number of rows. `stream` numbers the text.
    pub(crate) fn train(&mut self, text: &Text<'_>, settings: &Settings, stream: u64, rate: f32) {
        let Step { pieces: count, centres } = settings.step;
        let work = count * centres * settings.work(self.input.stride);
        for (step, start) in (0..text.words.len()).step_by(count * centres).enumerate() {
            let Trainer { input, output, pieces } = self;
            let pieces = &mut pieces[..count];
            let tables = (&*input, &*output);
            let gradients = |i: usize, piece: &mut [Piece]| {
                let number = mix(stream).wrapping_add((step * count + i) as u64);
                let mut rng = crate::rng(mix(settings.seed ^ mix(number)));
                let start = start + i * centres;
                for piece in piece {
                    dispatch(Gradients { tables, piece, text, start, settings, rng: &mut rng, rate });
                }
            };
            if work < 2 * threads::GRAIN {
                pieces.chunks_mut(1).enumerate().for_each(|(i, piece)| gradients(i, piece));
            } else {
                threads::split_together(pieces, [], (1, 0), |i, piece, []| gradients(i, piece));
            }
            self.add(count, work);
        }
    }

    /// The second part of a step.
    fn add(&mut self, count: usize, work: usize) {
        let Trainer { input, output, pieces } = self;
        let strides = [input.stride, output.stride];
        let sizes = (input.shard, output.shard);
        let add = |shard: usize, input: &mut [f32], output: &mut [f32]| {
            for piece in &pieces[..count] {
                let (rows, from) = (&piece.inputs, &piece.input_gradients);
                dispatch(Add { rows, from, to: input, shard, stride: strides[0] });
                let (rows, from) = (&piece.targets, &piece.target_gradients);
                dispatch(Add { rows, from, to: output, shard, stride: strides[1] });
            }
        };
        if work < 2 * threads::GRAIN {
            let shards = input.data.chunks_mut(sizes.0).zip(output.data.chunks_mut(sizes.1));
            shards.enumerate().for_each(|(shard, (input, output))| add(shard, input, output));
        } else {
            threads::split_two(&mut input.data, &mut output.data, sizes, SHARDS, add);
        }
    }
}

/// SplitMix64's finaliser (Steele, Lea and Flood 2014).
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The first part of a step, for one piece.
struct Gradients<'a> {
    tables: (&'a Table, &'a Table),
    piece: &'a mut Piece,
    text: &'a Text<'a>,
    /// The first centre.
    start: usize,
    settings: &'a Settings,
    rng: &'a mut Rng,
    rate: f32,
}

impl Kernel for Gradients<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Gradients { tables: (input, output), piece, text, start, settings, rng, rate } = self;
        let len = text.words.len();
        let (start, end) = (start.min(len), (start + settings.step.centres).min(len));
        let (from, to) = (start.saturating_sub(settings.window), (end + settings.window).min(len));
        let (stride, targets) = (input.stride, settings.negative + 1);
        piece.begin(&text.words[from..to], stride, (end - start) * targets);
        for centre in start..end {
            let reach = 1 + below(rng, settings.window);
            let same = |i: &usize| *i != centre && text.sentences[*i] == text.sentences[centre];
            piece.contexts.clear();
            let near = centre.saturating_sub(reach).max(from)..(centre + reach + 1).min(to);
            piece.contexts.extend(near.filter(same).map(|i| i - from));
            if piece.contexts.is_empty() {
                continue;
            }
            let first = piece.targets.len();
            piece.targets.push(text.words[centre]);
            piece.targets.extend((1..targets).map(|_| settings.noise.draw(rng)));
            if settings.skip_gram {
                piece.skip_gram::<S>(input, output, first, rate);
            } else {
                piece.cbow::<S>(input, output, first, rate);
            }
        }
    }
}

#[inline(always)]
fn below(rng: &mut Rng, n: usize) -> usize {
    (((rng.next_u64() >> 32) * n as u64) >> 32) as usize
}

impl Piece {
    fn begin(&mut self, inputs: &[u32], stride: usize, targets: usize) {
        self.inputs.clear();
        self.inputs.extend_from_slice(inputs);
        self.targets.clear();
        self.input_gradients.clear();
        self.input_gradients.resize(inputs.len() * stride, 0.0);
        // Written before it is read, row by row as targets come.
        self.target_gradients.resize(targets * stride, 0.0);
        self.scratch.mean.resize(stride, 0.0);
        self.scratch.mean_gradient.resize(stride, 0.0);
    }

    /// Every context predicts the targets from `first` on.
    #[inline(always)]
    fn skip_gram<S: Isa>(&mut self, input: &Table, output: &Table, first: usize, rate: f32) {
        let Piece { inputs, targets, input_gradients, target_gradients, contexts, scratch } = self;
        let rows = Rows {
            rows: &input.data,
            starts: |i: usize| input.at(inputs[contexts[i]]),
            gradients: input_gradients,
            gradient_starts: |i: usize| contexts[i] * input.stride,
            count: contexts.len(),
        };
        against::<S, _, _>(
            rows,
            output,
            &targets[first..],
            &mut target_gradients[first * input.stride..],
            &mut scratch.scores,
            rate,
        );
    }

    /// The mean of the contexts predicts the targets, and each context gets the gradient of the mean.
    #[inline(always)]
    fn cbow<S: Isa>(&mut self, input: &Table, output: &Table, first: usize, rate: f32) {
        let Piece { inputs, targets, input_gradients, target_gradients, contexts, scratch } = self;
        let Scratch { scores, mean, mean_gradient } = scratch;
        mean.fill(0.0);
        mean_gradient.fill(0.0);
        for &context in &*contexts {
            let row = &input.data[input.at(inputs[context])..][..mean.len()];
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
        }
        let share = 1.0 / contexts.len() as f32;
        mean.iter_mut().for_each(|m| *m *= share);
        let rows = Rows {
            rows: mean,
            starts: |_: usize| 0,
            gradients: mean_gradient,
            gradient_starts: |_: usize| 0,
            count: 1,
        };
        against::<S, _, _>(
            rows,
            output,
            &targets[first..],
            &mut target_gradients[first * input.stride..],
            scores,
            rate,
        );
        for &context in &*contexts {
            let gradient = &mut input_gradients[context * input.stride..][..input.stride];
            gradient.iter_mut().zip(&*mean_gradient).for_each(|(g, m)| *g += m);
        }
    }
}

/// The rows that predict, and where their gradients go.
struct Rows<'a, F, G> {
    rows: &'a [f32],
    starts: F,
    gradients: &'a mut [f32],
    gradient_starts: G,
    count: usize,
}

/// Scores of rows against targets, the first of which is the right one, and both gradients, tile by tile.
#[inline(always)]
fn against<S: Isa, F: Fn(usize) -> usize, G: Fn(usize) -> usize>(
    mut rows: Rows<'_, F, G>,
    output: &Table,
    targets: &[u32],
    gradients: &mut [f32],
    scores: &mut Vec<f32>,
    rate: f32,
) {
    scores.resize(rows.count * TILE, 0.0);
    for (i, tile) in targets.chunks(TILE).enumerate() {
        let gradients = &mut gradients[i * TILE * output.stride..];
        // A draw of the word itself counts for nothing.
        let kind = |k: usize| match i + k {
            0 => Kind::Right,
            _ if tile[k] == targets[0] => Kind::Ignored,
            _ => Kind::Noise,
        };
        macro_rules! tiles {
            ($($n:literal)*) => {
                match tile.len() {
                    $($n => self::tile::<S, $n, F, G>(&mut rows, output, tile, kind, gradients, scores, rate),)*
                    _ => {}
                }
            };
        }
        tiles!(1 2 3 4 5 6);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Right,
    Noise,
    Ignored,
}

/// `K` targets: `gradients` (K rows) is set, those of `rows` are added to.
#[inline(always)]
fn tile<S: Isa, const K: usize, F: Fn(usize) -> usize, G: Fn(usize) -> usize>(
    rows: &mut Rows<'_, F, G>,
    output: &Table,
    targets: &[u32],
    kind: impl Fn(usize) -> Kind,
    gradients: &mut [f32],
    scores: &mut [f32],
    rate: f32,
) {
    let (stride, lanes) = (output.stride, S::F32::LANES);
    let gradients = &mut gradients[..K * stride];
    // Slices of whole rows: the bounds are checked here, once a row, and not in the loops below.
    let target: [&[f32]; K] = std::array::from_fn(|k| &output.data[output.at(targets[k])..][..stride]);
    let scores = &mut scores[..rows.count * K];
    for c in 0..rows.count {
        let row = &rows.rows[(rows.starts)(c)..][..stride];
        let mut sums = [S::F32::splat(0.0); K];
        for at in (0..stride).step_by(lanes) {
            // SAFETY: `stride` is a multiple of the lanes and the length of the slices.
            unsafe {
                let x = S::F32::read(row.as_ptr().add(at));
                for k in 0..K {
                    sums[k] = x.mul_add(S::F32::read(target[k].as_ptr().add(at)), sums[k]);
                }
            }
        }
        for k in 0..K {
            scores[c * K + k] = sum::<S>(sums[k]);
        }
    }
    for score in scores.iter_mut() {
        *score = -rate * math::sigmoid::<S>(*score);
    }
    for k in 0..K {
        match kind(k) {
            Kind::Right => (0..rows.count).for_each(|c| scores[c * K + k] += rate),
            Kind::Ignored => (0..rows.count).for_each(|c| scores[c * K + k] = 0.0),
            Kind::Noise => {}
        }
    }
    for at in (0..stride).step_by(lanes) {
        // SAFETY: as above; `gradients` has K rows.
        unsafe {
            let t: [S::F32; K] = std::array::from_fn(|k| S::F32::read(target[k].as_ptr().add(at)));
            let mut sums = [S::F32::splat(0.0); K];
            for c in 0..rows.count {
                let row = &rows.rows[(rows.starts)(c)..][..stride];
                let gradient = &mut rows.gradients[(rows.gradient_starts)(c)..][..stride];
                let x = S::F32::read(row.as_ptr().add(at));
                let mut g = S::F32::read(gradient.as_ptr().add(at));
                for k in 0..K {
                    let score = S::F32::splat(scores[c * K + k]);
                    g = score.mul_add(t[k], g);
                    sums[k] = score.mul_add(x, sums[k]);
                }
                g.write(gradient.as_mut_ptr().add(at));
            }
            for k in 0..K {
                sums[k].write(gradients.as_mut_ptr().add(k * stride + at));
            }
        }
    }
}

/// The sum of a register's elements, by halves.
#[inline(always)]
fn sum<S: Isa>(x: S::F32) -> f32 {
    let mut lanes = [0.0f32; PAD];
    debug_assert!(S::F32::LANES <= PAD);
    // SAFETY: no register is wider than `PAD`.
    unsafe { x.write(lanes.as_mut_ptr()) };
    let mut width = S::F32::LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The second part of a step, for one shard and one piece.
struct Add<'a> {
    rows: &'a [u32],
    from: &'a [f32],
    to: &'a mut [f32],
    shard: usize,
    stride: usize,
}

impl Kernel for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        for (&row, from) in self.rows.iter().zip(self.from.chunks_exact(self.stride)) {
            if row as usize % SHARDS == self.shard {
                let to = &mut self.to[row as usize / SHARDS * self.stride..][..self.stride];
                for i in 0..self.stride {
                    to[i] += from[i];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Against<'a> {
        input: &'a Table,
        output: &'a Table,
        contexts: &'a [u32],
        targets: &'a [u32],
        gradients: [&'a mut [f32]; 2],
    }

    impl Kernel for Against<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            let Against { input, output, contexts, targets, gradients: [inputs, outputs] } = self;
            let rows = Rows {
                rows: &input.data,
                starts: |i: usize| input.at(contexts[i]),
                gradients: inputs,
                gradient_starts: |i: usize| i * input.stride,
                count: contexts.len(),
            };
            against::<S, _, _>(rows, output, targets, outputs, &mut Vec::new(), 0.5);
        }
    }

    fn table(words: u32, width: usize, rng: &mut Rng) -> Table {
        let mut table = Table::zeroed(words as usize, width).unwrap();
        for word in 0..words {
            let value = |_| (rng.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            let row: Vec<f32> = (0..width).map(value).collect();
            table.row_mut(word).copy_from_slice(&row);
        }
        table
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    /// Against the formula: rate · (label - sigmoid(context · target)) times the other row, for each pair.
    #[test]
    fn gradients_of_a_centre() {
        let mut rng = crate::rng(1);
        for (width, contexts, negatives) in
            [(1, 1, 0), (16, 3, 5), (37, 4, 6), (100, 10, 5), (8, 2, 13), (20, 5, 1)]
        {
            let (input, output) = (table(40, width, &mut rng), table(40, width, &mut rng));
            let contexts: Vec<u32> = (0..contexts).map(|_| below(&mut rng, 40) as u32).collect();
            let mut targets: Vec<u32> = (0..=negatives).map(|_| below(&mut rng, 40) as u32).collect();
            if negatives > 1 {
                // The word itself as a negative.
                targets[2] = targets[0];
            }
            let stride = input.stride;
            let mut inputs = vec![0.0; contexts.len() * stride];
            let mut outputs = vec![f32::NAN; targets.len() * stride];
            let gradients = [&mut inputs[..], &mut outputs[..]];
            dispatch(Against {
                input: &input,
                output: &output,
                contexts: &contexts,
                targets: &targets,
                gradients,
            });
            let score = |c: usize, k: usize| match (k, targets[k] == targets[0]) {
                (1.., true) => 0.0,
                _ => {
                    let x = dot(input.row(contexts[c]), output.row(targets[k]));
                    0.5 * (f64::from(u8::from(k == 0)) - 1.0 / (1.0 + (-x).exp()))
                }
            };
            for j in 0..width {
                for c in 0..contexts.len() {
                    let each = (0..targets.len()).map(|k| score(c, k) * f64::from(output.row(targets[k])[j]));
                    assert!((f64::from(inputs[c * stride + j]) - each.sum::<f64>()).abs() < 1e-5);
                }
                for k in 0..targets.len() {
                    let each =
                        (0..contexts.len()).map(|c| score(c, k) * f64::from(input.row(contexts[c])[j]));
                    assert!((f64::from(outputs[k * stride + j]) - each.sum::<f64>()).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn words_are_drawn_by_their_weights() {
        let weights = [4.0, 0.0, 1.0, 2.5, 0.5, 2.0];
        let (alias, mut rng) = (Alias::new(&weights), crate::rng(3));
        let mut counts = [0.0; 6];
        for _ in 0..100_000 {
            counts[alias.draw(&mut rng) as usize] += 1.0;
        }
        for (count, weight) in counts.iter().zip(weights) {
            // Five standard deviations, and a draw in 2³² that `stay` allows too many.
            let p: f64 = weight / 10.0;
            assert!((count - 1e5 * p).abs() <= 5.0 * (1e5 * p * (1.0 - p)).sqrt(), "{counts:?}");
        }
    }

    #[test]
    fn steps_are_short_where_words_come_often() {
        let size = |load| {
            let Step { pieces, centres } = Step::new(load);
            (pieces, centres)
        };
        assert_eq!(size(1e-6), (PIECES, CENTRES));
        assert_eq!(size(0.6), (10, 2));
        assert_eq!(size(100.0), (1, 1));
        assert_eq!(size(f64::NAN), (1, 1));
    }
}
