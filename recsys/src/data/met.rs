//! Whether a user met an item, asked so often that a search of their row takes too long: of drawn negatives.

use cairn_tensor::kernel;

use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;

/// Items in a word of bits.
const WORD: usize = 64;
/// Words, and items, that are called for at most: all there are in catalogues of some thousands, and a few cache lines.
const FETCHED: usize = 64;

/// Who met what. Long rows, which are searched slowly and are asked for most, are bits, where those take no more memory than the row's
/// own: a row of which every 32nd item is there.
#[derive(Debug)]
pub(crate) struct Met<'a> {
    matrix: &'a UserItems,
    /// For each user where their bits begin, or [`NONE`].
    starts: Vec<u32>,
    bits: Vec<u64>,
}

/// A user without bits.
const NONE: u32 = u32::MAX;

impl<'a> Met<'a> {
    pub(crate) fn new(matrix: &'a UserItems) -> Self {
        let words = matrix.n_cols().div_ceil(WORD);
        let (mut starts, mut bits) = (vec![NONE; matrix.n_rows()], Vec::new());
        for (user, start) in matrix.row_indices().zip(&mut starts) {
            let (items, _) = matrix.row(user);
            let at = u32::try_from(bits.len()).ok().filter(|_| 2 * words <= items.len());
            let Some(at) = at else { continue };
            *start = at;
            bits.resize(bits.len() + words, 0);
            for item in items {
                bits[at as usize + item.at() / WORD] |= 1 << (item.at() % WORD);
            }
        }
        Self { matrix, starts, bits }
    }

    /// Calls for what tells what a user met, who is asked about soon.
    #[inline(always)]
    pub(crate) fn prefetch(&self, user: UserIdx) {
        match self.starts[user.at()] {
            NONE => {
                let (items, _) = self.matrix.row(user);
                kernel::prefetch(&items[..items.len().min(2 * FETCHED)]);
            }
            at => {
                let bits = &self.bits[at as usize..];
                kernel::prefetch(&bits[..bits.len().min(FETCHED)]);
            }
        }
    }

    /// The items of a user, in order.
    pub(crate) fn items(&self, user: UserIdx) -> &'a [ItemIdx] {
        self.matrix.row(user).0
    }

    #[inline(always)]
    pub(crate) fn contains(&self, user: UserIdx, item: ItemIdx) -> bool {
        match self.starts[user.at()] {
            NONE => self.matrix.row(user).0.binary_search(&item).is_ok(),
            at => self.bits[at as usize + item.at() / WORD] >> (item.at() % WORD) & 1 == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::sparse::Csr;

    proptest! {
        #[test]
        fn long_rows_and_short_ones_are_as_the_matrix(
            n in 1_u32..200,
            rows in prop::collection::vec(prop::collection::btree_set(0_u32..200, 0..60), 1..6),
        ) {
            let entries = (0..).zip(&rows).flat_map(|(user, row)| {
                row.iter().filter(|&&item| item < n).map(move |&item| (UserIdx(user), ItemIdx(item), 1.0))
            });
            let matrix: UserItems = Csr::from_entries(rows.len(), n as usize, entries).unwrap();
            let met = Met::new(&matrix);
            for user in matrix.row_indices() {
                for item in (0..n).map(ItemIdx) {
                    prop_assert_eq!(met.contains(user, item), matrix.get(user, item).is_some());
                }
            }
        }
    }
}
