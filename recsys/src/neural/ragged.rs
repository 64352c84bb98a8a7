//! Batches of sequences of different lengths, without padding.
//!
//! The steps of all sequences lie one after another, `[steps, features]`, and every operation on single steps (dense layers,
//! normalisation, dropout, the loss) sees these alone. Only what goes from step to step needs sequences side by side: for attention
//! and recurrence rows are laid out as `[batch, time, features]` and brought back, and their kernels pass over what is behind each
//! sequence's length.

use cairn_autograd::Var;
use cairn_nn::Result;
use cairn_tensor::Tensor;

use crate::data::ids::ItemIdx;

/// In place of an item that is hidden.
pub(super) const MASK: ItemIdx = ItemIdx(u32::MAX);

/// A batch of sequences, none of them empty.
#[derive(Debug)]
pub(super) struct Ragged {
    /// The items, `[steps]`; the first in place of one that is hidden.
    pub(super) items: Tensor<u32>,
    /// The steps whose item is hidden.
    hidden: Vec<u32>,
    /// The place of each within its sequence, `[steps]`.
    pub(super) positions: Tensor<u32>,
    /// Steps of each sequence, `[batch]`.
    pub(super) lengths: Tensor<u32>,
    /// The last step of each sequence.
    pub(super) last: Vec<u32>,
    time: usize,
    /// For each cell of `[batch, time]` its step; of padding the first.
    cells: Vec<u32>,
    /// For each step its cell.
    places: Vec<u32>,
}

impl Ragged {
    /// Of sequences that each have an item.
    pub(super) fn new(sequences: &[&[ItemIdx]]) -> Result<Self> {
        let time = sequences.iter().map(|items| items.len()).max().unwrap_or(0);
        let steps = sequences.iter().map(|items| items.len()).sum();
        let (mut items, mut positions) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
        let (mut last, mut lengths, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        let mut cells = vec![0; sequences.len() * time];
        let mut places = Vec::with_capacity(steps);
        for (row, sequence) in sequences.iter().enumerate() {
            for (position, item) in sequence.iter().enumerate() {
                let cell = row * time + position;
                cells[cell] = items.len() as u32;
                places.push(cell as u32);
                if *item == MASK {
                    hidden.push(items.len() as u32);
                }
                items.push(if *item == MASK { 0 } else { item.0 });
                positions.push(position as u32);
            }
            last.push(items.len().saturating_sub(1) as u32);
            lengths.push(sequence.len() as u32);
        }
        let vector = |values: Vec<u32>| {
            let length = values.len();
            Tensor::from_vec(values, [length])
        };
        Ok(Self {
            items: vector(items)?,
            hidden,
            positions: vector(positions)?,
            lengths: vector(lengths)?,
            last,
            time,
            cells,
            places,
        })
    }

    /// 1 for the steps whose item is there and for those where it is hidden, `[steps, 1]` each, if any is hidden.
    pub(super) fn masks(&self) -> Result<Option<[Var; 2]>> {
        if self.hidden.is_empty() {
            return Ok(None);
        }
        let steps = self.items.len();
        let mut hidden = vec![0.0; steps];
        self.hidden.iter().for_each(|&step| hidden[step as usize] = 1.0);
        let open: Vec<f32> = hidden.iter().map(|x| 1.0 - x).collect();
        let column = |values| Ok::<_, cairn_nn::Error>(Var::constant(Tensor::from_vec(values, [steps, 1])?));
        Ok(Some([column(open)?, column(hidden)?]))
    }

    /// The place of each step counted from the end of its sequence, the last at 0, `[steps]`.
    pub(super) fn backwards(&self) -> Result<Tensor<u32>> {
        let lengths = self.lengths.to_vec();
        let places: Vec<u32> = lengths.iter().flat_map(|&length| (0..length).rev()).collect();
        let steps = places.len();
        Ok(Tensor::from_vec(places, [steps])?)
    }

    fn is_even(&self) -> bool {
        self.cells.len() == self.places.len()
    }

    /// `[steps, features]` as `[batch, time, features]`; what padding holds is of no account.
    pub(super) fn side_by_side(&self, x: &Var) -> Result<Var> {
        let features = x.shape()[1];
        let shape = [self.lengths.len(), self.time, features];
        if self.is_even() {
            return Ok(x.reshape(shape)?);
        }
        Ok(x.index_select(0, &self.cells)?.reshape(shape)?)
    }

    /// `[batch, time, features]` as `[steps, features]`.
    pub(super) fn packed(&self, x: &Var) -> Result<Var> {
        let features = x.shape()[2];
        let rows = x.reshape([self.cells.len(), features])?;
        if self.is_even() { Ok(rows) } else { Ok(rows.index_select(0, &self.places)?) }
    }
}
