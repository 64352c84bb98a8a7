//! What a trained model keeps of the features of its users and items: who has any that training met, and which those of a user are.

use serde::{Deserialize, Serialize};

use super::known::Known;
use super::space::{FeatureIdx, FeatureSpace};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::Csr;
use crate::linalg::gram::from_rows;

/// The features of the users and items of training. One that training did not meet, as those only who met nothing has, is as good as none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Of each user; `None` for a model without features of users.
    users: Option<Csr<UserIdx, FeatureIdx>>,
    /// Whether an item has any; empty for a model without features of items.
    items: Vec<bool>,
}

impl Kept {
    /// Of the features that a model is trained with, those that training met.
    pub(crate) fn new(
        known: &Known,
        of_users: impl Fn(FeatureIdx) -> bool,
        of_items: impl Fn(FeatureIdx) -> bool,
    ) -> Self {
        let users = known.users.as_ref().map(|features| {
            let rows = features.rows();
            let met = |user: UserIdx| -> Vec<(FeatureIdx, f32)> {
                let (features, values) = rows.row(user);
                let row = features.iter().copied().zip(values.iter().copied());
                row.filter(|&(feature, _)| of_users(feature)).collect()
            };
            from_rows(rows.n_cols(), rows.row_indices().map(met).collect())
        });
        let items = known.items.as_ref().map_or_else(Vec::new, |features| {
            let rows = features.rows();
            rows.row_indices().map(|item| rows.row(item).0.iter().any(|&feature| of_items(feature))).collect()
        });
        Self { users, items }
    }

    /// The features of a user, with their weights.
    pub(crate) fn of_user(&self, user: UserIdx) -> impl Iterator<Item = (FeatureIdx, f32)> + '_ {
        let (features, values) = self.users.as_ref().map_or((&[][..], &[][..]), |rows| rows.row(user));
        features.iter().copied().zip(values.iter().copied())
    }

    /// Whether a user has any.
    pub(crate) fn has_user(&self, user: UserIdx) -> bool {
        self.users.as_ref().is_some_and(|rows| rows.row_len(user) > 0)
    }

    /// Whether an item has any.
    pub(crate) fn has_item(&self, item: ItemIdx) -> bool {
        self.items.get(item.at()).copied().unwrap_or(false)
    }

    /// For what comes from a file, of a model of so many users and items with these spaces.
    pub(crate) fn fits(
        &self,
        (n_users, n_items): (usize, usize),
        users: Option<&FeatureSpace>,
        items: Option<&FeatureSpace>,
    ) -> bool {
        let of_users = match (&self.users, users) {
            (Some(rows), Some(space)) => {
                rows.is_consistent() && (rows.n_rows(), rows.n_cols()) == (n_users, space.len())
            }
            (None, None) => true,
            _ => false,
        };
        of_users && self.items.len() == items.map_or(0, |_| n_items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ids::IdMap;
    use crate::features::{FeatureMatrix, FeatureRow, FeatureTable};

    #[test]
    fn who_has_only_features_that_training_did_not_meet_has_none() {
        let kind = |id: u32| FeatureRow::new().category("kind", if id == 2 { "b" } else { "a" });
        let table = FeatureTable::new((0..3).map(|id| (id, kind(id)))).unwrap();
        let users = FeatureMatrix::new(&table, &IdMap::from_ids(0..4).unwrap()).unwrap();
        let items = FeatureMatrix::new(&table, &IdMap::from_ids(0..3).unwrap()).unwrap();
        let space = users.space().clone();
        let known = Known { users: Some(users), items: Some(items) };
        let kept = Kept::new(&known, |feature| feature.0 == 0, |feature| feature.0 == 1);
        assert_eq!([0, 1, 2, 3].map(|user| kept.has_user(UserIdx(user))), [true, true, false, false]);
        assert_eq!([0, 1, 2, 3].map(|item| kept.has_item(ItemIdx(item))), [false, false, true, false]);
        assert_eq!(kept.of_user(UserIdx(1)).collect::<Vec<_>>(), [(FeatureIdx(0), 1.0)]);
        assert_eq!(kept.of_user(UserIdx(2)).count(), 0);
        assert!(kept.fits((4, 3), Some(&space), Some(&space)));
        assert!(
            !kept.fits((3, 3), Some(&space), Some(&space)) && !kept.fits((4, 2), Some(&space), Some(&space))
        );
        assert!(!kept.fits((4, 3), None, Some(&space)) && !kept.fits((4, 3), Some(&space), None));
        let none = Kept::new(&Known::default(), |_| true, |_| true);
        assert!(none.fits((4, 3), None, None) && !none.has_user(UserIdx(0)) && !none.has_item(ItemIdx(0)));
    }
}
