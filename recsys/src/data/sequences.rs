//! Each user's items in the order they were met, which the matrix of users by items does not keep.
//!
//! Order is by time; rows of one moment keep the order of the log, which for a file is that of its lines. (A sort that breaks ties
//! otherwise changes a quarter of MovieLens 1M's last items, and with them every figure on them.)

use serde::{Deserialize, Serialize};

use crate::data::ids::{Id, Idx, ItemIdx, UserIdx};
use crate::data::interactions::Interactions;

/// The columns of a log by index, as [`Estimator::fit_columns`](crate::Estimator::fit_columns) gets them.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LogColumns<'a> {
    /// Users of the catalogue, with those that have no row.
    pub n_users: usize,
    /// Items of the catalogue.
    pub n_items: usize,
    /// Who, a row each.
    pub users: &'a [UserIdx],
    /// What.
    pub items: &'a [ItemIdx],
    /// How much.
    pub values: &'a [f32],
    /// When.
    pub timestamps: &'a [i64],
}

impl LogColumns<'_> {
    /// Each user's items in order; see [`Interactions::sequences`].
    pub fn sequences(&self) -> Sequences {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.n_users];
        for (row, user) in (0..).zip(self.users) {
            rows[user.at()].push(row);
        }
        let mut sequences = Sequences { offsets: vec![0], items: Vec::with_capacity(self.items.len()) };
        for mut rows in rows {
            // Stable: rows of one moment stay as they lie.
            rows.sort_by_key(|&row| self.timestamps[row as usize]);
            sequences.push(rows.iter().map(|&row| self.items[row as usize]));
        }
        sequences
    }
}

/// Each user's items in the order they were met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequences {
    /// Where each user's items begin, and the end.
    offsets: Vec<usize>,
    items: Vec<ItemIdx>,
}

impl Default for Sequences {
    fn default() -> Self {
        Self { offsets: vec![0], items: Vec::new() }
    }
}

impl Sequences {
    /// Adds the sequence of the next user.
    pub(crate) fn push(&mut self, items: impl IntoIterator<Item = ItemIdx>) {
        self.items.extend(items);
        self.offsets.push(self.items.len());
    }

    /// The items of a user, first met first; none for a user out of range.
    pub fn get(&self, user: UserIdx) -> &[ItemIdx] {
        match self.offsets.get(user.at()..user.at().saturating_add(2)) {
            Some(&[start, end]) => &self.items[start..end],
            _ => &[],
        }
    }

    /// Number of users.
    pub fn n_users(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The sequences, by user.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[ItemIdx]> + '_ {
        (0..self.n_users() as u32).map(|user| self.get(UserIdx(user)))
    }

    /// Items in all of them.
    pub fn n_rows(&self) -> usize {
        self.items.len()
    }

    /// The last `length` of each.
    #[must_use]
    pub fn last(&self, length: usize) -> Self {
        let mut last = Self::default();
        self.iter().for_each(|items| last.push(items[items.len().saturating_sub(length)..].iter().copied()));
        last
    }

    /// For what comes from a file.
    #[cfg(feature = "neural")]
    pub(crate) fn is_consistent(&self, n_users: usize, n_items: usize) -> bool {
        self.n_users() == n_users
            && self.offsets.first() == Some(&0)
            && self.offsets.is_sorted()
            && self.offsets.last() == Some(&self.items.len())
            && self.items.iter().all(|item| item.at() < n_items)
    }
}

impl<U: Id, I: Id> Interactions<U, I> {
    /// The columns by index.
    pub fn columns(&self) -> LogColumns<'_> {
        LogColumns {
            n_users: self.n_users(),
            n_items: self.n_items(),
            users: self.users(),
            items: self.items(),
            values: self.values(),
            timestamps: self.timestamps(),
        }
    }

    /// Each user's items by time; rows of one moment keep the order of the log.
    ///
    /// ```
    /// use cairn_recsys::{Interactions, UserIdx};
    /// let log = Interactions::from_ratings([("ann", 'b', 1.0, 7), ("ann", 'a', 1.0, 5), ("ann", 'c', 1.0, 7)])?;
    /// let order: Vec<char> =
    ///     log.sequences().get(UserIdx(0)).iter().map(|&item| *log.catalog().items.id(item)).collect();
    /// assert_eq!(order, ['a', 'b', 'c']);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    #[doc(alias("sessions", "histories"))]
    pub fn sequences(&self) -> Sequences {
        self.columns().sequences()
    }
}
