//! Recurrences over whole sequences: RNN, LSTM and GRU, forward and backward through time.
//!
//! The sequences of a batch do not know of each other, so the batch is cut into chunks of some sequences, and a thread
//! takes a chunk through all steps: threads meet once a layer, not once a step, and states and weights stay in the core's
//! own cache. Within a chunk,
//!
//! - the input's part of all gates at all steps is one matrix product (as cuDNN does it: Appleyard et al. 2016);
//! - each step ([`forward`]) is a small product with the recurrent weights, packed once ([`product`]), and one pass over the gates
//!   ([`cells`]); a GRU that resets before the product has two of each;
//! - the backward pass ([`backward`]) does the steps the other way round, and then the gradients of the weights and of the input as one
//!   product each over all steps.
//!
//! The chunks' gradients of the weights are added in their order. Chunks depend on the size of the batch alone, so the bits
//! do not depend on the number of threads.
//!
//! Arrays are batch-major, `[batch, time, …]`: a chunk is a run of memory, and the large products need no copies.
//!
//! Beyond its length, and before its start, a sequence keeps its state, its outputs are zero, and no gradient goes into or
//! comes out of its padding, whatever stands there. Running in reverse starts at the last step within the length. A chunk's
//! steps are those of its longest sequence.

mod backward;
mod cells;
mod forward;
mod product;
mod weights;

use std::ops::Range;

use backward::backward_as;
use cells::{Cell, Gru, GruResetBefore, Lstm, Relu, Tanh};
use forward::forward_as;

use crate::cpu::matmul::Mat;
use crate::{Float, Recurrence, Result};

/// Most chunks of a batch.
const CHUNKS: usize = 8;
/// Sequences of a chunk are a multiple of this, so that register tiles are full.
const ROWS: usize = 16;

/// Sizes and direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) steps: usize,
    pub(crate) inputs: usize,
    pub(crate) units: usize,
    pub(crate) reverse: bool,
    /// Whether the output holds h of every step …
    pub(crate) every_step: bool,
    /// … and how many of the final states (h, then c) follow.
    pub(crate) states: usize,
}

impl Geometry {
    /// Sequences in a chunk.
    fn rows(&self) -> usize {
        self.batch.div_ceil(CHUNKS).max(1).next_multiple_of(ROWS)
    }

    fn chunks(&self) -> usize {
        self.batch.div_ceil(self.rows())
    }

    /// Rows of units in the output for one sequence.
    pub(crate) fn rows_of_output(&self) -> usize {
        if self.every_step { self.steps } else { 0 }.saturating_add(self.states)
    }

    /// Numbers of the output for one sequence.
    pub(crate) fn output(&self) -> usize {
        self.rows_of_output() * self.units
    }

    /// Where h of a step stands in a sequence's output.
    fn at(&self, step: usize) -> usize {
        step * self.units
    }

    /// Where a final state stands in a sequence's output.
    fn state_at(&self, state: usize) -> usize {
        (if self.every_step { self.steps } else { 0 } + state) * self.units
    }

    /// The step done as the `i`-th.
    #[inline(always)]
    fn step(&self, i: usize) -> usize {
        if self.reverse { self.steps - 1 - i } else { i }
    }
}

/// What a recurrence is computed from. All contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a, T> {
    /// `[batch, steps, inputs]`
    pub(crate) x: &'a [T],
    /// `[inputs, gates units]`
    pub(crate) weight: &'a [T],
    /// `[units, gates units]`
    pub(crate) recurrent: &'a [T],
    /// `[biases units]`
    pub(crate) bias: Option<&'a [T]>,
    /// States before the first step, `[batch, units]`; zeros where there are none.
    pub(crate) hidden: Option<&'a [T]>,
    pub(crate) cell: Option<&'a [T]>,
    /// Steps of each sequence; all where there are none.
    pub(crate) lengths: Option<&'a [u32]>,
    /// First step of each sequence; 0 where there are none.
    pub(crate) starts: Option<&'a [u32]>,
    /// Factors of h in the recurrent product, `[batch, units]`.
    pub(crate) mask: Option<&'a [T]>,
}

impl<T> Operands<'_, T> {
    /// Whether there is padding.
    fn is_padded(&self) -> bool {
        self.lengths.is_some() || self.starts.is_some()
    }

    /// The steps of a sequence, of `steps` with its padding.
    #[inline(always)]
    fn range(&self, sequence: usize, steps: usize) -> Range<usize> {
        let at = |list: Option<&[u32]>, or| list.map_or(or, |list| list[sequence] as usize);
        at(self.starts, 0)..at(self.lengths, steps)
    }

    /// Whether a step is one of a sequence's, not padding.
    #[inline(always)]
    fn is_within(&self, sequence: usize, step: usize) -> bool {
        self.range(sequence, usize::MAX).contains(&step)
    }

    /// Steps of the longest of a chunk's sequences.
    fn longest(&self, first: usize, count: usize, steps: usize) -> usize {
        let longest = self.lengths.and_then(|lengths| lengths[first..][..count].iter().max());
        longest.map_or(steps, |&longest| longest as usize)
    }
}

/// What the forward pass leaves for the backward pass.
pub(crate) struct Saved<'a, T> {
    /// Gates after their activations, `[batch, steps, gates units]`.
    pub(crate) gates: &'a mut [T],
    /// `[batch, steps, units]`, or empty.
    pub(crate) kept: &'a mut [T],
    /// h before each step, `[batch, steps, units]`.
    pub(crate) before: &'a mut [T],
}

/// Gradients to be computed, each where it is wanted.
pub(crate) struct Gradients<'a, T> {
    pub(crate) x: Option<&'a mut [T]>,
    pub(crate) weight: Option<&'a mut [T]>,
    pub(crate) recurrent: Option<&'a mut [T]>,
    pub(crate) bias: Option<&'a mut [T]>,
    pub(crate) hidden: Option<&'a mut [T]>,
    pub(crate) cell: Option<&'a mut [T]>,
}

/// Calls a function of a cell for a kind.
macro_rules! with_cell {
    ($kind:expr, $function:ident($($argument:expr),*)) => {
        match $kind {
            Recurrence::Tanh => $function(Tanh, $($argument),*),
            Recurrence::Relu => $function(Relu, $($argument),*),
            Recurrence::Lstm => $function(Lstm, $($argument),*),
            Recurrence::Gru => $function(Gru, $($argument),*),
            Recurrence::GruResetBefore => $function(GruResetBefore, $($argument),*),
        }
    };
}

/// Whether the kind keeps a value for each unit and step beside its gates.
pub(crate) fn saves_state(kind: Recurrence) -> bool {
    fn of<C: Cell>(_: C) -> bool {
        C::SAVES_STATE
    }
    with_cell!(kind, of())
}

/// Runs all sequences; `out` is `[batch, …]` as the geometry says.
pub(crate) fn forward<T: Float>(
    kind: Recurrence,
    geometry: &Geometry,
    operands: &Operands<'_, T>,
    saved: Saved<'_, T>,
    out: &mut [T],
) -> Result<()> {
    with_cell!(kind, forward_as(geometry, operands, saved, out))
}

/// The backward pass over all sequences, given the gradient of the output.
pub(crate) fn backward<T: Float>(
    kind: Recurrence,
    geometry: &Geometry,
    operands: &Operands<'_, T>,
    saved: &[&[T]; 3],
    gradient: &[T],
    wanted: Gradients<'_, T>,
) -> Result<()> {
    with_cell!(kind, backward_as(geometry, operands, saved, gradient, wanted))
}

/// A row-major matrix that is all of a slice.
fn matrix<T>(data: &[T], columns: usize) -> Mat<'_, T> {
    Mat { data, offset: 0, row_step: columns as isize, column_step: 1 }
}

/// Its transpose.
fn transposed<T>(data: &[T], columns: usize) -> Mat<'_, T> {
    Mat { data, offset: 0, row_step: 1, column_step: columns as isize }
}

/// Row `i` of rows of `len`.
#[inline(always)]
fn row<T>(data: &[T], i: usize, len: usize) -> &[T] {
    &data[i * len..][..len]
}

#[inline(always)]
fn row_mut<T>(data: &mut [T], i: usize, len: usize) -> &mut [T] {
    &mut data[i * len..][..len]
}
