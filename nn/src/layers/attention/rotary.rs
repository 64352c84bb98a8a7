//! Rotary positions in an attention layer: the angles' tables, made as far as they are needed and shared by the layers of a model.

use std::sync::{Arc, PoisonError, RwLock};

use cairn_autograd::Var;
use cairn_tensor::{Pairs, Rotary, RotaryTables, Tensor};

use crate::Result;

/// Fewest positions that a table is made for.
const FEWEST: usize = 64;

/// Rotary positions (Su et al. 2021) that layers share: cloning shares the tables of cosines and sines, which grow with the longest
/// sequence that was seen, so that a model for 100,000 tokens costs nothing until it reads so many.
///
/// ```
/// use cairn_nn::{Context, RotaryPositions, spec};
/// use cairn_tensor::{Pairs, Rotary, Tensor, rng};
/// let rotary = RotaryPositions::new(Rotary::new(8).base(500_000.0), Pairs::Halves)?;
/// let one = spec::MultiHeadAttention::new(4).causal(true).layer(32, &mut rng(0))?.rotary(&rotary);
/// let x = Tensor::normal([2, 10, 32], 0.0, 1.0, &mut rng(1))?;
/// assert_eq!(one.forward(&x.into(), &mut Context::eval())?.shape(), [2, 10, 32]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias("RoPE", "RotaryEmbedding", "rotary_emb"))]
pub struct RotaryPositions {
    rotary: Rotary,
    pairs: Pairs,
    tables: Arc<RwLock<RotaryTables>>,
}

/// Where new steps stand in their sequences.
#[derive(Debug, Clone)]
pub(super) enum Positions {
    /// In all of them from here on.
    From(usize),
    /// Each by itself, `[rows, time]`; and one more than the last of them.
    Each(Tensor<u32>, usize),
}

impl RotaryPositions {
    /// Turned by these angles, these elements of a head together.
    ///
    /// # Errors
    /// As [`Rotary::tables`], for settings that make no sense.
    pub fn new(rotary: Rotary, pairs: Pairs) -> Result<Self> {
        Ok(RotaryPositions { rotary, pairs, tables: Arc::new(RwLock::new(rotary.tables(0)?)) })
    }

    /// `[batch, time, heads, size]`, turned.
    pub(super) fn turned(&self, x: &Var, positions: &Positions) -> Result<Var> {
        let (pairs, time) = (self.pairs, x.shape().get(1).copied().unwrap_or(0));
        Ok(match positions {
            Positions::From(start) => x.rotary(&self.tables(start.saturating_add(time))?, pairs, *start)?,
            Positions::Each(positions, count) => x.rotary_at(&self.tables(*count)?, pairs, positions)?,
        })
    }

    /// Tables for at least so many positions.
    fn tables(&self, positions: usize) -> Result<RotaryTables> {
        let long_enough =
            |tables: &RotaryTables| (tables.cos.shape()[0] >= positions).then(|| tables.clone());
        if let Some(tables) = long_enough(&self.tables.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(tables);
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(tables) = long_enough(&tables) {
            return Ok(tables);
        }
        *tables =
            self.rotary.tables(positions.max(FEWEST).checked_next_power_of_two().unwrap_or(positions))?;
        Ok(tables.clone())
    }
}
