//! The vectors of one side, users or items, and of its features; and how several tasks move them at a time.
//!
//! In a round each task reads the vectors as they were when it began and keeps what it moves to itself. When all are done their moves
//! are added up in the order of the tasks, of vectors and of the sums of squared gradients alike: what a task does never depends on
//! which thread runs it, or when.

use cairn_tensor::kernel::vectorize;
use rand::RngExt;
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use crate::Result;
use crate::data::ids::Idx;
use crate::features::described::Described;
use crate::features::space::FeatureMatrix;
use crate::models::factors::Vectors;

/// The vectors of the identities of one side and of its features, each with a bias at its end.
pub(super) struct Side<'a, X> {
    features: Option<&'a FeatureMatrix<X>>,
    identities: usize,
    /// Identities, then features.
    pub(super) vectors: Vectors,
    /// Sums of squared gradients, from 1.
    squares: Vec<f32>,
    /// Whether a vector was ever moved by a positive.
    met: Vec<bool>,
}

impl<'a, X: Idx> Side<'a, X> {
    pub(super) fn new(
        features: Option<&'a FeatureMatrix<X>>,
        identities: usize,
        dim: usize,
        rng: &mut Pcg64Mcg,
    ) -> Result<Self> {
        let n = identities + features.map_or(0, |features| features.space().len());
        let mut vectors = Vectors::zeros(n, dim + 1)?;
        let scale = 0.1 / (dim as f32).sqrt();
        for vector in vectors.as_mut_slice().chunks_mut(dim + 1) {
            vector[..dim].iter_mut().for_each(|x| *x = scale * rng.sample::<f32, _>(StandardNormal));
        }
        let squares = vec![1.0; vectors.as_slice().len()];
        Ok(Self { features, identities, vectors, squares, met: vec![false; n] })
    }

    /// The vectors that make up that of `x`, with their weights: its identity, and its features.
    fn parts(&self, x: X) -> impl Iterator<Item = (usize, f32)> + use<'_, 'a, X> {
        let (features, weights) = self.features.map_or((&[][..], &[][..]), |features| features.rows().row(x));
        let features = features.iter().map(|feature| self.identities + feature.at());
        std::iter::once((x.at(), 1.0)).chain(features.zip(weights.iter().copied()))
    }

    pub(super) fn mark(&mut self, x: X) {
        let parts: Vec<usize> = self.parts(x).map(|(at, _)| at).collect();
        parts.into_iter().for_each(|at| self.met[at] = true);
    }

    /// Adds up what tasks moved.
    pub(super) fn merge(&mut self, moves: &mut Moves) {
        let width = self.vectors.dim();
        let (vectors, squares) = (self.vectors.as_mut_slice(), &mut self.squares[..]);
        vectorize(
            #[inline(always)]
            || {
                for (&row, block) in moves.rows.iter().zip(moves.blocks.chunks_exact(2 * width)) {
                    let place = row as usize * width..(row as usize + 1) * width;
                    let (vector, square) = (&mut vectors[place.clone()], &mut squares[place]);
                    let (moved, added) = block.split_at(width);
                    vector.iter_mut().zip(moved).for_each(|(x, moved)| *x += moved);
                    square.iter_mut().zip(added).for_each(|(x, added)| *x += added);
                    moves.slots[row as usize] = NONE;
                }
            },
        );
        moves.rows.clear();
        moves.blocks.clear();
    }

    /// What was never trained says nothing.
    pub(super) fn forget_unmet(&mut self) {
        let width = self.vectors.dim();
        for (vector, met) in self.vectors.as_mut_slice().chunks_mut(width).zip(&self.met) {
            if !met {
                vector.fill(0.0);
            }
        }
    }

    /// The sums of all, with `last` in place of the bias if there is one.
    pub(super) fn sums(&self, last: Option<f32>) -> Result<Vectors> {
        let mut sums = Vectors::zeros(self.identities, self.vectors.dim())?;
        let width = self.vectors.dim();
        for (x, out) in (0..).zip(sums.as_mut_slice().chunks_mut(width)) {
            for (at, weight) in self.parts(X::from_u32(x)) {
                out.iter_mut().zip(self.vectors.get(at)).for_each(|(out, v)| *out += weight * v);
            }
            if let (Some(last), Some(bias)) = (last, out.last_mut()) {
                *bias = last;
            }
        }
        Ok(sums)
    }

    pub(super) fn described(&self) -> Result<Option<Described>> {
        let Some(features) = self.features else { return Ok(None) };
        let width = self.vectors.dim();
        let mut vectors = Vectors::zeros(features.space().len(), width)?;
        vectors.as_mut_slice().copy_from_slice(&self.vectors.as_slice()[self.identities * width..]);
        Ok(Some(Described::new(features.space().clone(), vectors)))
    }
}

/// A vector that a task has not moved.
const NONE: u32 = u32::MAX;

/// What a task has moved since its round began.
pub(super) struct Moves {
    /// For each vector of the side its place in `blocks`.
    slots: Vec<u32>,
    /// Which vector each block is of.
    rows: Vec<u32>,
    /// By how much each vector was moved, and what was added to its squares.
    blocks: Vec<f32>,
}

impl Moves {
    pub(super) fn new<X: Idx>(side: &Side<'_, X>) -> Self {
        Self { slots: vec![NONE; side.met.len()], rows: Vec::new(), blocks: Vec::new() }
    }

    /// The vector of `x` as this task sees it.
    #[inline(always)]
    pub(super) fn sum<X: Idx>(&self, side: &Side<'_, X>, x: X, out: &mut [f32]) {
        if side.features.is_none() {
            out.copy_from_slice(side.vectors.get(x.at()));
        } else {
            out.fill(0.0);
            for (at, weight) in side.parts(x) {
                out.iter_mut().zip(side.vectors.get(at)).for_each(|(out, v)| *out += weight * v);
            }
        }
        for (at, weight) in side.parts(x).filter(|(at, _)| self.slots[*at] != NONE) {
            let moved = &self.blocks[2 * self.slots[at] as usize * out.len()..][..out.len()];
            out.iter_mut().zip(moved).for_each(|(out, moved)| *out += weight * moved);
        }
    }

    /// Adagrad's step down the gradient of the vector of `x`.
    #[inline(always)]
    pub(super) fn step<X: Idx>(
        &mut self,
        side: &Side<'_, X>,
        x: X,
        gradient: &[f32],
        (rate, regularization): (f32, f32),
    ) {
        let width = gradient.len();
        for (at, weight) in side.parts(x) {
            if self.slots[at] == NONE {
                self.slots[at] = self.rows.len() as u32;
                self.rows.push(at as u32);
                self.blocks.resize(self.blocks.len() + 2 * width, 0.0);
            }
            let moves = &mut self.blocks[2 * self.slots[at] as usize * width..][..2 * width];
            let (moved, added) = moves.split_at_mut(width);
            let squares = &side.squares[at * width..(at + 1) * width];
            let before = side.vectors.get(at).iter().zip(squares);
            for (((moved, added), (v, square)), g) in moved.iter_mut().zip(added).zip(before).zip(gradient) {
                let g = weight * g + regularization * (v + *moved);
                *moved -= rate / (square + *added).sqrt() * g;
                *added += g * g;
            }
        }
    }
}
