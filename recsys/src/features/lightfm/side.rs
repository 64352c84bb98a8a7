//! The vectors of one side, users or items, and of its features; and how several tasks move them at a time.
//!
//! In a round each task reads the vectors as they were when it began and keeps what it moves to itself. When all are done their moves
//! are added up in the order of the tasks, of vectors and of the sums of squared gradients alike: what a task does never depends on
//! which thread runs it, or when.
//!
//! A vector stands beside the sums of its squared gradients, both filled up with zeros to whole registers; biases stand apart. Vectors
//! are dealt to [`BANKS`] banks, one after the other, so that moves are added up by several threads, each with banks of its own.

use cairn_tensor::kernel::{self, Isa, Vector};
use rand::RngExt;
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use crate::Result;
use crate::data::ids::Idx;
use crate::features::described::Described;
use crate::features::space::{FeatureIdx, FeatureMatrix};
use crate::memory;
use crate::models::factors::Vectors;

/// Into how many banks vectors are dealt, in turn.
pub(super) const BANKS: usize = 4;
/// Vectors are a multiple of it long: as many floats as the widest registers hold.
const LANES: usize = 16;

/// Every [`BANKS`]th vector of a side, from one of the first on.
pub(super) struct Bank {
    width: usize,
    /// Of each its vector and the sums of its squared gradients, `width` each.
    rows: Vec<f32>,
    /// Of each its bias, and the sum of its squared gradients.
    biases: Vec<[f32; 2]>,
    /// Which of them a step was ever taken for.
    moved: Vec<bool>,
}

impl Bank {
    fn new(n: usize, width: usize) -> Result<Self> {
        let mut rows = memory::zeros(n, 2 * width)?;
        rows.chunks_exact_mut(2 * width).for_each(|row| row[width..].fill(1.0));
        Ok(Self { width, rows, biases: vec![[0.0, 1.0]; n], moved: vec![false; n] })
    }

    /// Adds up what a task moved.
    #[inline(always)]
    pub(super) fn add<S: Isa>(&mut self, moved: &Moved) {
        let size = 2 * self.width;
        for (n, (&row, [bias, square])) in moved.rows.iter().zip(&moved.biases).enumerate() {
            // Another thread may have written the block, and where it goes is anywhere.
            if let Some(&next) = moved.rows.get(n + 1) {
                kernel::prefetch(&moved.blocks[(n + 1) * size..][..size]);
                kernel::prefetch(&self.rows[next as usize * size..][..size]);
            }
            add::<S>(&mut self.rows[row as usize * size..][..size], 1.0, &moved.blocks[n * size..][..size]);
            let own = &mut self.biases[row as usize];
            *own = [own[0] + bias, own[1] + square];
            self.moved[row as usize] = true;
        }
    }
}

/// The vectors of the identities of one side and of its features, each with a bias.
pub(super) struct Side<'a, X> {
    features: Option<&'a FeatureMatrix<X>>,
    identities: usize,
    dim: usize,
    /// Identities, then features.
    pub(super) banks: [Bank; BANKS],
    /// How many they are.
    n: usize,
}

impl<'a, X: Idx> Side<'a, X> {
    pub(super) fn new(
        features: Option<&'a FeatureMatrix<X>>,
        identities: usize,
        dim: usize,
        rng: &mut Pcg64Mcg,
    ) -> Result<Self> {
        let n = identities + features.map_or(0, |features| features.space().len());
        let mut banks = Vec::with_capacity(BANKS);
        for bank in 0..BANKS {
            banks.push(Bank::new((n + BANKS - 1 - bank) / BANKS, dim.next_multiple_of(LANES))?);
        }
        let Ok(banks) = banks.try_into() else { unreachable!("as many as were made") };
        let mut side = Self { features, identities, dim, banks, n };
        let scale = 0.1 / (dim as f32).sqrt();
        for at in 0..n {
            let vector = side.vector_mut(at).0;
            vector.iter_mut().for_each(|x| *x = scale * rng.sample::<f32, _>(StandardNormal));
        }
        Ok(side)
    }

    /// The number of floats of a vector with its filling.
    pub(super) fn width(&self) -> usize {
        self.banks[0].width
    }

    /// A vector with its filling, then the sums of its squared gradients; the same of its bias.
    #[inline(always)]
    fn row(&self, at: usize) -> (&[f32], [f32; 2]) {
        let (bank, row) = (&self.banks[at % BANKS], at / BANKS);
        (&bank.rows[row * 2 * bank.width..][..2 * bank.width], bank.biases[row])
    }

    /// Calls for the vector of the identity of `x`, and for its squares if `all`. Features' vectors are few, and at hand.
    #[inline(always)]
    pub(super) fn prefetch(&self, x: X, all: bool) {
        let row = self.row(x.at()).0;
        kernel::prefetch(if all { row } else { &row[..self.width()] });
    }

    /// A vector without its filling, and its bias.
    pub(super) fn vector(&self, at: usize) -> (&[f32], f32) {
        let (row, bias) = self.row(at);
        (&row[..self.dim], bias[0])
    }

    /// As [`vector`](Self::vector), for writing.
    pub(super) fn vector_mut(&mut self, at: usize) -> (&mut [f32], &mut f32) {
        let (bank, row) = (&mut self.banks[at % BANKS], at / BANKS);
        (&mut bank.rows[row * 2 * bank.width..][..self.dim], &mut bank.biases[row][0])
    }

    /// The vectors that make up that of `x`, with their weights: its identity, and its features.
    #[inline(always)]
    fn parts(&self, x: X) -> impl Iterator<Item = (usize, f32)> + use<'_, 'a, X> {
        let (features, weights) = self.features.map_or((&[][..], &[][..]), |features| features.rows().row(x));
        let features = features.iter().map(|feature| self.identities + feature.at());
        std::iter::once((x.at(), 1.0)).chain(features.zip(weights.iter().copied()))
    }

    /// Whether a step was ever taken for a vector.
    fn is_moved(&self, at: usize) -> bool {
        self.banks[at % BANKS].moved[at / BANKS]
    }

    /// Whether a step was ever taken for the vector of a feature.
    pub(super) fn has_met(&self, feature: FeatureIdx) -> bool {
        self.is_moved(self.identities + feature.at())
    }

    /// What was never trained still is what it was drawn as: it says nothing.
    pub(super) fn forget_unmet(&mut self) {
        for at in (0..self.n).filter(|&at| !self.is_moved(at)).collect::<Vec<_>>() {
            let (vector, bias) = self.vector_mut(at);
            vector.fill(0.0);
            *bias = 0.0;
        }
    }

    /// The sums of all, followed by their biases, or by `last` if there is one.
    pub(super) fn sums(&self, last: Option<f32>) -> Result<Vectors> {
        let mut sums = Vectors::zeros(self.identities, self.dim + 1)?;
        for (x, out) in (0..).zip(sums.as_mut_slice().chunks_mut(self.dim + 1)) {
            for (at, weight) in self.parts(X::from_u32(x)) {
                let (vector, bias) = self.vector(at);
                out.iter_mut().zip(vector.iter().chain([&bias])).for_each(|(out, v)| *out += weight * v);
            }
            if let (Some(last), Some(bias)) = (last, out.last_mut()) {
                *bias = last;
            }
        }
        Ok(sums)
    }

    pub(super) fn described(&self) -> Result<Option<Described>> {
        let Some(features) = self.features else { return Ok(None) };
        let mut vectors = Vectors::zeros(features.space().len(), self.dim + 1)?;
        for (at, out) in (self.identities..).zip(vectors.as_mut_slice().chunks_mut(self.dim + 1)) {
            let (vector, bias) = self.vector(at);
            out[..self.dim].copy_from_slice(vector);
            out[self.dim] = bias;
        }
        Ok(Some(Described::new(features.space().clone(), vectors)))
    }
}

/// A vector that a task has not moved.
const NONE: u32 = u32::MAX;

/// What a task has moved in a bank since its round began.
#[derive(Default)]
pub(super) struct Moved {
    /// Which vector of the bank each block is of.
    rows: Vec<u32>,
    /// By how much each vector was moved, and what was added to its squares.
    blocks: Vec<f32>,
    /// The same of its bias.
    biases: Vec<[f32; 2]>,
}

/// What a task has moved since its round began.
pub(super) struct Moves {
    /// For each vector of the side the place of its block.
    slots: Vec<u32>,
    pub(super) banks: [Moved; BANKS],
}

/// A step for a vector: down `factor` times `direction`, and down `bias` for its bias.
pub(super) struct Gradient<'a> {
    pub(super) direction: &'a [f32],
    pub(super) factor: f32,
    pub(super) bias: f32,
}

impl Moves {
    pub(super) fn new<X: Idx>(side: &Side<'_, X>) -> Self {
        Self { slots: vec![NONE; side.n], banks: Default::default() }
    }

    /// Forgets all, for a new round.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        for (n, bank) in self.banks.iter_mut().enumerate() {
            bank.rows.iter().for_each(|&row| self.slots[row as usize * BANKS + n] = NONE);
            bank.rows.clear();
            bank.blocks.clear();
            bank.biases.clear();
        }
    }

    /// By how much a vector and its bias were moved, if they were.
    #[inline(always)]
    fn moved(&self, at: usize, width: usize) -> Option<(&[f32], f32)> {
        let slot = self.slots[at];
        let bank = &self.banks[at % BANKS];
        (slot != NONE)
            .then(|| (&bank.blocks[2 * slot as usize * width..][..width], bank.biases[slot as usize][0]))
    }

    /// The vector of `x` as this task sees it; its bias.
    #[inline(always)]
    pub(super) fn sum<S: Isa, X: Idx>(&self, side: &Side<'_, X>, x: X, out: &mut [f32]) -> f32 {
        out.fill(0.0);
        let mut bias = 0.0;
        for (at, weight) in side.parts(x) {
            let (row, own) = side.row(at);
            add::<S>(out, weight, row);
            bias += weight * own[0];
            if let Some((moved, own)) = self.moved(at, out.len()) {
                add::<S>(out, weight, moved);
                bias += weight * own;
            }
        }
        bias
    }

    /// The inner product of the vector of `x` with another, and its bias.
    #[inline(always)]
    pub(super) fn score<S: Isa, X: Idx>(&self, side: &Side<'_, X>, x: X, other: &[f32]) -> f32 {
        let mut score = 0.0;
        for (at, weight) in side.parts(x) {
            let (row, bias) = side.row(at);
            score += weight * (dot::<S>(other, row) + bias[0]);
            if let Some((moved, bias)) = self.moved(at, other.len()) {
                score += weight * (dot::<S>(other, moved) + bias);
            }
        }
        score
    }

    /// Adagrad's step for the vector of `x`.
    #[inline(always)]
    pub(super) fn step<X: Idx>(
        &mut self,
        side: &Side<'_, X>,
        x: X,
        Gradient { direction, factor, bias }: Gradient<'_>,
        (rate, regularization): (f32, f32),
    ) {
        let width = direction.len();
        for (at, weight) in side.parts(x) {
            let bank = &mut self.banks[at % BANKS];
            if self.slots[at] == NONE {
                self.slots[at] = bank.rows.len() as u32;
                bank.rows.push((at / BANKS) as u32);
                bank.blocks.resize(bank.blocks.len() + 2 * width, 0.0);
                bank.biases.push([0.0; 2]);
            }
            let slot = self.slots[at] as usize;
            let (row, [own, square]) = side.row(at);
            let (vector, squares) = row.split_at(width);
            let (moved, added) = bank.blocks[2 * slot * width..][..2 * width].split_at_mut(width);
            let (vector, squares) = (&vector[..width], &squares[..width]);
            let (moved, added) = (&mut moved[..width], &mut added[..width]);
            let factor = weight * factor;
            for i in 0..width {
                let g = factor * direction[i] + regularization * (vector[i] + moved[i]);
                moved[i] -= rate * g / (squares[i] + added[i]).sqrt();
                added[i] += g * g;
            }
            let [moved, added] = &mut bank.biases[slot];
            let g = weight * bias + regularization * (own + *moved);
            *moved -= rate * g / (square + *added).sqrt();
            *added += g * g;
        }
    }
}

/// `out += weight x`, as long as `out`, which is filled up.
#[inline(always)]
fn add<S: Isa>(out: &mut [f32], weight: f32, x: &[f32]) {
    let ((out, _), (x, _)) = (S::F32::chunks_mut(out), S::F32::chunks(x));
    let weight = S::F32::splat(weight);
    for (out, x) in out.iter_mut().zip(x) {
        S::F32::load(x).mul_add(weight, S::F32::load(out)).store(out);
    }
}

/// The inner product of two vectors that are filled up.
#[inline(always)]
pub(super) fn dot<S: Isa>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, _), (b, _)) = (S::F32::chunks(a), S::F32::chunks(b));
    let mut sum = S::F32::splat(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = S::F32::load(a).mul_add(S::F32::load(b), sum);
    }
    sum.sum()
}
