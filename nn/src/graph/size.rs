//! Sizes that depend on the batch and on the length of sequences.

use std::fmt;

/// A size of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// The number of items, left open.
    Batch,
    /// The number of steps, left open.
    Time,
    /// Always the same.
    Fixed(usize),
}

impl Dim {
    pub(crate) fn at(self, batch: usize, time: usize) -> usize {
        match self {
            Dim::Batch => batch,
            Dim::Time => time,
            Dim::Fixed(size) => size,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Batch => f.write_str("batch"),
            Dim::Time => f.write_str("time"),
            Dim::Fixed(size) => write!(f, "{size}"),
        }
    }
}

/// A size of a value within a graph: `fixed + batch B + time T + both B T` for B items of T steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub(crate) fixed: isize,
    pub(crate) batch: isize,
    pub(crate) time: isize,
    pub(crate) both: isize,
}

/// The sizes of the runs that a graph is traced by: batch and steps. The last ones see through what grows faster.
pub(super) const PROBES: [[usize; 2]; 5] = [[2, 5], [3, 5], [2, 7], [3, 7], [4, 11]];

impl Size {
    pub(crate) const fn fixed(size: usize) -> Self {
        Size { fixed: size as isize, batch: 0, time: 0, both: 0 }
    }

    pub(crate) fn at(&self, batch: usize, time: usize) -> usize {
        let (batch, time) = (batch as isize, time as isize);
        let size = self
            .fixed
            .saturating_add(self.batch.saturating_mul(batch))
            .saturating_add(self.time.saturating_mul(time))
            .saturating_add(self.both.saturating_mul(batch).saturating_mul(time));
        size.max(0) as usize
    }

    /// The size that is always the same.
    pub(crate) fn as_fixed(&self) -> Option<usize> {
        (self.batch == 0 && self.time == 0 && self.both == 0).then_some(self.fixed as usize)
    }

    /// The size that is so in each of the first [`PROBES`]; all of them where time is open, else two.
    pub(super) fn of(probed: &[usize]) -> Option<Self> {
        let v: Vec<isize> = probed.iter().map(|&size| size as isize).collect();
        let size = match v[..] {
            [a, b] => {
                // Batches of 2 and 3.
                let batch = b - a;
                Size { fixed: a - 2 * batch, batch, time: 0, both: 0 }
            }
            [a, b, c, d, _] => {
                // Twice the slopes along time, for either batch.
                let (two, three) = (c - a, d - b);
                let both = (three - two) / 2;
                let time = (two - 2 * 2 * both) / 2;
                let batch = b - a - 5 * both;
                Size { fixed: a - 2 * batch - 5 * time - 10 * both, batch, time, both }
            }
            _ => return None,
        };
        let right = probed.iter().zip(PROBES).all(|(&probed, [batch, time])| size.at(batch, time) == probed);
        // A batch that is added to is no batch.
        let plain = size.batch == 0 || size.fixed == 0 && size.both == 0;
        (right && plain).then_some(size)
    }
}
