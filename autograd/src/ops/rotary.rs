//! Rotary positions: the derivative of a rotation is the rotation back.

use cairn_tensor::{Float, Pairs, RotaryTables, Tensor};

use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Rotary positions.
    Rotary {
        /// Turns `[batch, time, heads, size]`; the operands are x, cosines, sines and, if they are given, positions, ids `[batch, time]`.
        Rotary {
            /// Which elements are turned together.
            pairs: Pairs,
            /// The position of time 0; without meaning where positions are given.
            start: usize,
            /// Whether positions are given.
            given: bool,
        } = "rotary",
    }
}

impl Rule for Rotary {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let &Rotary::Rotary { pairs, start, given } = self;
        let tables = RotaryTables { cos: x.float(1)?.clone(), sin: x.float(2)?.clone() };
        let positions = given.then(|| x.ids(3)).transpose()?;
        let value = match positions {
            Some(positions) => x.float(0)?.rotary_at(&tables, pairs, positions)?,
            None => x.float(0)?.rotary(&tables, pairs, start)?,
        };
        wanted.ran(value, |_, [of_x, ..]: [bool; 3]| {
            let positions = positions.cloned();
            move |g| {
                let back = super::when(of_x, || match &positions {
                    Some(positions) => g.rotary_at_back(&tables, pairs, positions),
                    None => g.rotary_back(&tables, pairs, start),
                })?;
                // Tables are constants.
                Ok([back, None, None])
            }
        })
    }
}

impl<T: Float> Var<T> {
    /// Turns `[batch, time, heads, size]` by the angles of positions `start`, `start + 1`, …: see [`Tensor::rotary`].
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::{Pairs, Rotary, Tensor};
    /// let tables = Rotary::new(4).tables(16)?;
    /// let q = Var::parameter(Tensor::<f32>::ones([1, 3, 2, 4])?);
    /// let loss = q.rotary(&tables, Pairs::Halves, 0)?.sum(..)?;
    /// assert_eq!(loss.backward()?.of(&q)?.shape(), [1, 3, 2, 4]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Unless there are four axes, the turned elements fit into a head, and the tables have all positions.
    #[doc(alias("rope", "apply_rotary_pos_emb"))]
    pub fn rotary(&self, tables: &RotaryTables<T>, pairs: Pairs, start: usize) -> Result<Self> {
        let (cos, sin) = constants(tables);
        let op = Rotary::Rotary { pairs, start, given: false };
        Var::apply(op, &[self.into(), (&cos).into(), (&sin).into()])
    }

    /// As [`rotary`](Self::rotary), for a position of each sequence and time, `[batch, time]`.
    ///
    /// # Errors
    /// As [`rotary`](Self::rotary).
    pub fn rotary_at(&self, tables: &RotaryTables<T>, pairs: Pairs, positions: &Tensor<u32>) -> Result<Self> {
        let (cos, sin) = constants(tables);
        let op = Rotary::Rotary { pairs, start: 0, given: true };
        Var::apply(op, &[self.into(), (&cos).into(), (&sin).into(), positions.into()])
    }
}

fn constants<T: Float>(tables: &RotaryTables<T>) -> (Var<T>, Var<T>) {
    (Var::constant(tables.cos.clone()), Var::constant(tables.sin.clone()))
}
