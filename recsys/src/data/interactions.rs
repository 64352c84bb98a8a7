//! The behaviour log D = {(u, v, t)}: who met what, how much of it, and when.
//!
//! Kept as columns (user, item, value, timestamp: 20 bytes a row), in the caller's order, with at most one row for each
//! pair of user and item; what happens to repeats is a stated policy, not an accident of the matrix format. The maps from
//! the caller's ids to dense indices are shared by everything split off from a log, so train and test speak of the same
//! rows even when one of them lacks a user.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use crate::data::ids::{Id, IdMap, Idx, ItemIdx, UserIdx};
use crate::data::sparse::{Csr, ItemUsers, UserItems};
use crate::{Error, Result};

/// One row of the log with the caller's ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Rating<U = u32, I = u32> {
    /// Who.
    pub user: U,
    /// What.
    pub item: I,
    /// How much: stars, plays, or 1 for "it happened".
    pub value: f32,
    /// When: seconds since 1970 by custom, but only the order matters. 0 if unknown.
    pub timestamp: i64,
}

impl<U, I> Rating<U, I> {
    /// A row with its time.
    pub fn new(user: U, item: I, value: f32, timestamp: i64) -> Self {
        Self { user, item, value, timestamp }
    }
}

impl<U, I> From<(U, I)> for Rating<U, I> {
    fn from((user, item): (U, I)) -> Self {
        Self::new(user, item, 1.0, 0)
    }
}

impl<U, I> From<(U, I, f32)> for Rating<U, I> {
    fn from((user, item, value): (U, I, f32)) -> Self {
        Self::new(user, item, value, 0)
    }
}

impl<U, I> From<(U, I, f32, i64)> for Rating<U, I> {
    fn from((user, item, value, timestamp): (U, I, f32, i64)) -> Self {
        Self::new(user, item, value, timestamp)
    }
}

/// What to do when a user meets the same item again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Duplicates {
    /// Keep the row with the latest timestamp; of equal ones the later row. Right for ratings. The default.
    #[default]
    Last,
    /// Add the values up, keep the latest timestamp. Right for counts.
    Sum,
    /// Keep the largest value, with the latest timestamp.
    Max,
    /// Refuse the log.
    Error,
}

/// The two id maps, shared by a log, its splits and the models trained on them.
#[derive(Debug, Clone)]
pub struct Catalog<U, I> {
    /// Users.
    pub users: Arc<IdMap<U, UserIdx>>,
    /// Items.
    pub items: Arc<IdMap<I, ItemIdx>>,
}

impl<U: Id, I: Id> Catalog<U, I> {
    /// The index of a user.
    ///
    /// # Errors
    /// [`Error::UnknownUser`].
    pub fn user<Q: Eq + Hash + Debug + ?Sized>(&self, id: &Q) -> Result<UserIdx>
    where
        U: Borrow<Q>,
    {
        self.users.get(id).ok_or_else(|| Error::UnknownUser(format!("{id:?}")))
    }

    /// The index of an item.
    ///
    /// # Errors
    /// [`Error::UnknownItem`].
    pub fn item<Q: Eq + Hash + Debug + ?Sized>(&self, id: &Q) -> Result<ItemIdx>
    where
        I: Borrow<Q>,
    {
        self.items.get(id).ok_or_else(|| Error::UnknownItem(format!("{id:?}")))
    }

    /// The error of a model, which knows indices, with ids.
    pub(crate) fn named(&self, error: Error) -> Error {
        let user = |row: u32| self.users.ids().get(row as usize).map(|id| format!("{id:?}"));
        let item = |column: u32| self.items.ids().get(column as usize).map(|id| format!("{id:?}"));
        error.named(user, item)
    }
}

#[doc(alias = "Dataset")]
#[doc(alias = "Trainset")]
/// A log of interactions with its id maps. `U` and `I` are the caller's id types.
///
/// ```
/// use cairn_recsys::{Interactions, Rating};
/// let log = Interactions::from_ratings([
///     ("ann".to_owned(), 10_u64, 4.0, 100),
///     ("bob".to_owned(), 10, 3.0, 101),
///     ("ann".to_owned(), 11, 5.0, 102),
///     ("ann".to_owned(), 10, 2.0, 103), // she changed her mind
/// ])?;
/// assert_eq!((log.n_users(), log.n_items(), log.len()), (2, 2, 3));
/// let ann = log.catalog().user("ann")?;
/// assert_eq!(log.user_items().row(ann).1, [2.0, 5.0]);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Interactions<U = u32, I = u32> {
    catalog: Catalog<U, I>,
    users: Vec<UserIdx>,
    items: Vec<ItemIdx>,
    values: Vec<f32>,
    timestamps: Vec<i64>,
}

impl<U: Id, I: Id> Interactions<U, I> {
    /// Reads a log from anything that yields rows: [`Rating`]s or tuples `(user, item[, value[, timestamp]])`.
    /// Repeats are settled by [`Duplicates::Last`].
    ///
    /// # Errors
    /// [`Error::Empty`] without rows, [`Error::InvalidValue`] at the first NaN or infinite value.
    #[doc(alias = "load_from_df")]
    pub fn from_ratings<R: Into<Rating<U, I>>>(rows: impl IntoIterator<Item = R>) -> Result<Self> {
        Self::with_duplicates(rows, Duplicates::default())
    }

    /// As [`from_ratings`](Self::from_ratings) with another policy for repeats.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows, [`Error::InvalidValue`] at the first NaN or infinite value, sums of repeats included, and
    /// [`Error::DuplicateInteraction`] under [`Duplicates::Error`].
    pub fn with_duplicates<R: Into<Rating<U, I>>>(
        rows: impl IntoIterator<Item = R>,
        policy: Duplicates,
    ) -> Result<Self> {
        let mut log = Self::empty();
        log.append(rows, policy)?;
        Ok(log)
    }

    fn empty() -> Self {
        Self {
            catalog: Catalog { users: Arc::default(), items: Arc::default() },
            users: Vec::new(),
            items: Vec::new(),
            values: Vec::new(),
            timestamps: Vec::new(),
        }
    }

    /// Adds rows, new users and new items. Indices already given stay as they are, so models trained before remain
    /// valid for the users and items they know.
    ///
    /// Rows without times, whose timestamps are all 0, happened after what is there: they get the latest time of the log, and as rows of
    /// one moment keep their order, they come last.
    ///
    /// ```
    /// use cairn_recsys::{Duplicates, Interactions, UserIdx};
    /// let mut log = Interactions::from_ratings([("ann", "tea", 1.0, 700), ("ann", "milk", 1.0, 500)])?;
    /// log.append([("ann", "rusk"), ("ann", "jam")], Duplicates::Last)?;
    /// let order: Vec<&str> =
    ///     log.sequences().get(UserIdx(0)).iter().map(|&item| *log.catalog().items.id(item)).collect();
    /// assert_eq!(order, ["milk", "tea", "rusk", "jam"]);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::InvalidValue`] and [`Error::DuplicateInteraction`] as for a new log; this one is then
    /// unchanged.
    pub fn append<R: Into<Rating<U, I>>>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
        policy: Duplicates,
    ) -> Result<()> {
        let mut next = self.clone();
        let users = Arc::make_mut(&mut next.catalog.users);
        let items = Arc::make_mut(&mut next.catalog.items);
        for row in rows {
            let row = row.into();
            if !row.value.is_finite() {
                return Err(Error::InvalidValue {
                    what: "interactions",
                    at: format!("row {} (user {:?}, item {:?})", next.values.len(), row.user, row.item),
                    value: f64::from(row.value),
                    expected: "finite",
                    entry: None,
                });
            }
            next.users.push(users.insert(row.user)?);
            next.items.push(items.insert(row.item)?);
            next.values.push(row.value);
            next.timestamps.push(row.timestamp);
        }
        if next.values.is_empty() {
            return Err(Error::Empty { what: "the interaction log" });
        }
        let appended = &mut next.timestamps[self.len()..];
        if let Some(&latest) = self.timestamps.iter().max()
            && latest > 0
            && appended.iter().all(|&time| time == 0)
        {
            appended.fill(latest);
        }
        next.settle_duplicates(policy)?;
        *self = next;
        Ok(())
    }

    /// A copy of this log over a catalogue with these items besides, which have no rows; those it has already stay as they are. So models
    /// that know items by their features list what came in today, before anybody has met it.
    ///
    /// ```
    /// use cairn_recsys::features::{FeatureMatrix, FeatureRow, FeatureTable, LightFm};
    /// use cairn_recsys::{Estimator, Filter, synthetic};
    /// let log = synthetic::planted_groups(60, 40, 4, 8, 0.0, 0)?.with_items([1000])?;
    /// let group = |group: u32| FeatureRow::new().category("group", &group.to_string());
    /// let table = FeatureTable::new((0..40).map(|item| (item, group(item % 4))).chain([(1000, group(3))]))?;
    /// let features = FeatureMatrix::new(&table, &log.catalog().items)?;
    /// let model = LightFm::new().factors(8).item_features(&features).fit(&log)?;
    /// let list = model.recommend(&7, 41, &Filter::unseen())?;
    /// assert!(list.iter().any(|entry| entry.id == 1000));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooMany`] when 32 bits are used up.
    #[doc(alias("cold_start", "fit_partial"))]
    pub fn with_items(&self, ids: impl IntoIterator<Item = I>) -> Result<Self> {
        let mut next = self.clone();
        let items = Arc::make_mut(&mut next.catalog.items);
        for id in ids {
            items.insert(id)?;
        }
        Ok(next)
    }

    /// A copy of this log over a catalogue with these users besides, as [`with_items`](Self::with_items) adds items.
    ///
    /// # Errors
    /// [`Error::TooMany`] when 32 bits are used up.
    pub fn with_users(&self, ids: impl IntoIterator<Item = U>) -> Result<Self> {
        let mut next = self.clone();
        let users = Arc::make_mut(&mut next.catalog.users);
        for id in ids {
            users.insert(id)?;
        }
        Ok(next)
    }

    /// A log over an existing catalogue, from columns of dense indices; for generators and readers that number by
    /// themselves. Timestamps are row numbers if absent.
    ///
    /// # Errors
    /// [`Error::Shape`] for columns of different lengths or an index outside the catalogue, and as
    /// [`with_duplicates`](Self::with_duplicates).
    pub fn from_columns(
        catalog: Catalog<U, I>,
        users: Vec<UserIdx>,
        items: Vec<ItemIdx>,
        values: Vec<f32>,
        timestamps: Option<Vec<i64>>,
        policy: Duplicates,
    ) -> Result<Self> {
        let timestamps = timestamps.unwrap_or_else(|| (0..users.len() as i64).collect());
        if [items.len(), values.len(), timestamps.len()] != [users.len(); 3] {
            return Err(Error::Shape {
                what: "interaction columns",
                expected: format!("all of length {}", users.len()),
                found: format!("{}, {}, {}", items.len(), values.len(), timestamps.len()),
            });
        }
        if users.is_empty() {
            return Err(Error::Empty { what: "the interaction log" });
        }
        check_range(&users, catalog.users.len())?;
        check_range(&items, catalog.items.len())?;
        if let Some(row) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::InvalidValue {
                what: "interactions",
                at: format!("row {row}"),
                value: f64::from(values[row]),
                expected: "finite",
                entry: None,
            });
        }
        let mut log = Self { catalog, users, items, values, timestamps };
        log.settle_duplicates(policy)?;
        Ok(log)
    }

    /// Leaves one row for each pair, where its surviving occurrence was.
    fn settle_duplicates(&mut self, policy: Duplicates) -> Result<()> {
        if u32::try_from(self.len()).is_err() {
            return Err(Error::TooMany { what: "interactions", count: self.len() });
        }
        let order = self.order_by_pair();
        let mut drop: Vec<usize> = Vec::new();
        let mut merged: Vec<(usize, f32)> = Vec::new();
        for pair in order.chunk_by(|&a, &b| self.pair(a) == self.pair(b)).filter(|group| group.len() > 1) {
            if policy == Duplicates::Error {
                return Err(self.duplicate(pair[0] as usize, pair[1] as usize));
            }
            let rows = || pair.iter().map(|&row| row as usize);
            let values = || rows().map(|row| self.values[row]);
            // `max_by_key` returns the last of equal keys: the later row.
            let keep = rows()
                .max_by_key(|&row| self.timestamps[row])
                .expect("only groups of two rows and more pass the filter");
            match policy {
                Duplicates::Last | Duplicates::Error => {}
                Duplicates::Sum => merged.push((keep, values().sum())),
                Duplicates::Max => merged.push((keep, values().fold(f32::NEG_INFINITY, f32::max))),
            }
            drop.extend(rows().filter(|&row| row != keep));
        }
        for (row, value) in merged {
            self.values[row] = value;
        }
        if !drop.is_empty() {
            let mut keep = vec![true; self.len()];
            for row in drop {
                keep[row] = false;
            }
            *self = self.filter_rows(|row| keep[row]);
        }
        match self.values.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(row) => Err(Error::InvalidValue {
                what: "interactions after adding up repeats",
                at: format!("row {row}"),
                value: f64::from(self.values[row]),
                expected: "finite",
                entry: None,
            }),
        }
    }

    /// Row numbers sorted by (user, item), equal pairs in log order: two stable counting sorts.
    fn order_by_pair(&self) -> Vec<u32> {
        let all: Vec<u32> = (0..self.len() as u32).collect();
        let by_item = counting_sort(&all, self.n_items(), |row| self.items[row].at());
        counting_sort(&by_item, self.n_users(), |row| self.users[row].at())
    }

    fn pair(&self, row: u32) -> (UserIdx, ItemIdx) {
        (self.users[row as usize], self.items[row as usize])
    }

    fn duplicate(&self, first: usize, second: usize) -> Error {
        Error::DuplicateInteraction {
            user: format!("{:?}", self.catalog.users.id(self.users[first])),
            item: format!("{:?}", self.catalog.items.id(self.items[first])),
            first,
            second,
        }
    }

    /// The rows for which `keep` holds, over the same catalogue. May be empty.
    #[must_use]
    pub fn filter_rows(&self, keep: impl Fn(usize) -> bool) -> Self {
        let rows: Vec<usize> = (0..self.len()).filter(|&row| keep(row)).collect();
        Self {
            catalog: self.catalog.clone(),
            users: rows.iter().map(|&row| self.users[row]).collect(),
            items: rows.iter().map(|&row| self.items[row]).collect(),
            values: rows.iter().map(|&row| self.values[row]).collect(),
            timestamps: rows.iter().map(|&row| self.timestamps[row]).collect(),
        }
    }

    /// Rows whose value is at least `threshold`; the usual step from stars to "liked". Same catalogue.
    #[must_use]
    pub fn at_least(&self, threshold: f32) -> Self {
        self.filter_rows(|row| self.values[row] >= threshold)
    }

    /// The same rows with other values: `|_| 1.0` turns ratings into "it happened".
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if `f` gives NaN or an infinite value.
    pub fn map_values(&self, f: impl Fn(f32) -> f32) -> Result<Self> {
        let mut next = self.clone();
        for (row, value) in next.values.iter_mut().enumerate() {
            *value = f(*value);
            if !value.is_finite() {
                return Err(Error::InvalidValue {
                    what: "mapped interactions",
                    at: format!("row {row}"),
                    value: f64::from(*value),
                    expected: "finite",
                    entry: None,
                });
            }
        }
        Ok(next)
    }

    /// The k-core: repeatedly drops users with fewer than `user_min` rows and items with fewer than `item_min` until
    /// none is left to drop. The catalogue is made anew without them; may be empty.
    ///
    /// # Errors
    /// [`Error::Empty`] if nothing remains.
    pub fn k_core(&self, user_min: usize, item_min: usize) -> Result<Self> {
        let mut keep = vec![true; self.len()];
        loop {
            let mut per_user = vec![0_usize; self.n_users()];
            let mut per_item = vec![0_usize; self.n_items()];
            for row in (0..self.len()).filter(|&row| keep[row]) {
                per_user[self.users[row].at()] += 1;
                per_item[self.items[row].at()] += 1;
            }
            let mut changed = false;
            for row in 0..self.len() {
                if keep[row]
                    && (per_user[self.users[row].at()] < user_min
                        || per_item[self.items[row].at()] < item_min)
                {
                    keep[row] = false;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        Self::from_ratings((0..self.len()).filter(|&row| keep[row]).map(|row| self.rating(row)))
    }

    /// One row with the caller's ids.
    ///
    /// # Panics
    /// If `row` is not below [`len`](Self::len).
    pub fn rating(&self, row: usize) -> Rating<U, I> {
        Rating {
            user: self.catalog.users.id(self.users[row]).clone(),
            item: self.catalog.items.id(self.items[row]).clone(),
            value: self.values[row],
            timestamp: self.timestamps[row],
        }
    }

    /// All rows with the caller's ids.
    pub fn ratings(&self) -> impl ExactSizeIterator<Item = Rating<U, I>> + '_ {
        (0..self.len()).map(|row| self.rating(row))
    }

    /// The id maps.
    pub fn catalog(&self) -> &Catalog<U, I> {
        &self.catalog
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are no rows; possible only for the result of a filter or a split.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Users in the catalogue, including those without rows here.
    pub fn n_users(&self) -> usize {
        self.catalog.users.len()
    }

    /// Items in the catalogue, including those without rows here.
    pub fn n_items(&self) -> usize {
        self.catalog.items.len()
    }

    /// The user column.
    pub fn users(&self) -> &[UserIdx] {
        &self.users
    }

    /// The item column.
    pub fn items(&self) -> &[ItemIdx] {
        &self.items
    }

    /// The value column.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The timestamp column.
    pub fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }

    /// The matrix with users in rows; built anew in linear time.
    pub fn user_items(&self) -> UserItems {
        Csr::from_columns(self.n_users(), self.n_items(), &self.users, &self.items, &self.values)
    }

    /// The matrix with items in rows; built anew in linear time.
    pub fn item_users(&self) -> ItemUsers {
        Csr::from_columns(self.n_items(), self.n_users(), &self.items, &self.users, &self.values)
    }
}

fn check_range<X: Idx>(column: &[X], n: usize) -> Result<()> {
    match column.iter().find(|x| x.at() >= n) {
        None => Ok(()),
        Some(x) => Err(Error::Shape {
            what: "interaction columns",
            expected: format!("{} indices below {n}", X::KIND),
            found: x.at().to_string(),
        }),
    }
}

fn counting_sort(rows: &[u32], buckets: usize, key: impl Fn(usize) -> usize) -> Vec<u32> {
    let mut next = vec![0_usize; buckets + 1];
    for &row in rows {
        next[key(row as usize) + 1] += 1;
    }
    for b in 0..buckets {
        next[b + 1] += next[b];
    }
    let mut sorted = vec![0; rows.len()];
    for &row in rows {
        let slot = &mut next[key(row as usize)];
        sorted[*slot] = row;
        *slot += 1;
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<(u32, u32, f32, i64)> {
        vec![(1, 7, 3.0, 50), (2, 7, 1.0, 10), (1, 7, 5.0, 40), (1, 8, 2.0, 60), (2, 7, 4.0, 10)]
    }

    fn value(policy: Duplicates, user: u32, item: u32) -> f32 {
        let log = Interactions::with_duplicates(rows(), policy).unwrap();
        let (u, i) = (log.catalog().user(&user).unwrap(), log.catalog().item(&item).unwrap());
        assert_eq!(log.len(), 3);
        log.user_items().get(u, i).unwrap()
    }

    #[test]
    fn duplicate_policies() {
        assert_eq!(value(Duplicates::Last, 1, 7), 3.0, "the later time wins, not the later row");
        assert_eq!(value(Duplicates::Last, 2, 7), 4.0, "equal times: the later row");
        assert_eq!(value(Duplicates::Sum, 1, 7), 8.0);
        assert_eq!(value(Duplicates::Max, 1, 7), 5.0);
        let error = Interactions::with_duplicates(rows(), Duplicates::Error).unwrap_err();
        assert!(matches!(error, Error::DuplicateInteraction { first: 0, second: 2, .. }), "{error}");
    }

    #[test]
    fn appending_keeps_indices_and_a_failed_append_changes_nothing() {
        let mut log = Interactions::from_ratings(rows()).unwrap();
        let eight = log.catalog().item(&8).unwrap();
        assert!(log.append([(9, 9, f32::NAN)], Duplicates::Last).is_err());
        assert_eq!((log.len(), log.n_users()), (3, 2));
        log.append([(9, 9, 1.0)], Duplicates::Last).unwrap();
        assert_eq!((log.len(), log.n_users(), log.n_items()), (4, 3, 3));
        assert_eq!(log.catalog().item(&8).unwrap(), eight);
    }

    #[test]
    fn rows_without_times_that_are_appended_come_last_and_settle_repeats_as_later_rows() {
        let order = |log: &Interactions, user: u32| -> Vec<u32> {
            let user = log.catalog().user(&user).unwrap();
            log.sequences().get(user).iter().map(|&item| *log.catalog().items.id(item)).collect()
        };
        let mut log = Interactions::from_ratings(rows()).unwrap();
        log.append([(1, 9, 1.0), (1, 5, 1.0), (1, 7, 8.0)], Duplicates::Last).unwrap();
        assert_eq!(order(&log, 1), [8, 9, 5, 7]);
        assert_eq!(log.timestamps(), [60, 10, 60, 60, 60]);
        // Times that are told stay as they are, one of 0 among them too.
        log.append([(2, 4, 1.0, 0), (2, 5, 1.0, 30)], Duplicates::Last).unwrap();
        assert_eq!(order(&log, 2), [4, 7, 5]);
        let mut untimed: Interactions = Interactions::from_ratings([(1, 1), (1, 2)]).unwrap();
        untimed.append([(1, 3)], Duplicates::Last).unwrap();
        assert_eq!((order(&untimed, 1), untimed.timestamps()), (vec![1, 2, 3], &[0; 3][..]));
    }

    #[test]
    fn users_and_items_are_added_to_a_catalogue_once_and_behind_those_that_are_there() {
        let log = Interactions::from_ratings(rows()).unwrap();
        let more = log.with_items([9, 7, 10, 9]).unwrap().with_users([1, 5]).unwrap();
        assert_eq!(
            (more.catalog().items.ids(), more.catalog().users.ids()),
            (&[7, 8, 9, 10][..], &[1, 2, 5][..])
        );
        assert_eq!((more.len(), log.n_items(), log.n_users()), (log.len(), 2, 2));
        assert_eq!(more.user_items().row_len(UserIdx(2)), 0);
    }

    #[test]
    fn bad_rows_are_named() {
        let nan = Interactions::from_ratings([(1, 1, 1.0), (1, 2, f32::NAN)]).unwrap_err();
        assert!(nan.to_string().contains("row 1 (user 1, item 2)"), "{nan}");
        assert!(Interactions::from_ratings([(1, 1, f32::INFINITY)]).is_err());
        let none = Interactions::<u32, u32>::from_ratings(Vec::<(u32, u32)>::new()).unwrap_err();
        assert!(matches!(none, Error::Empty { .. }));
        let log = Interactions::from_ratings([(1, 1)]).unwrap();
        assert!(matches!(log.catalog().user(&5), Err(Error::UnknownUser(_))));
        assert!(matches!(log.catalog().item(&5), Err(Error::UnknownItem(_))));
    }

    #[test]
    fn sums_that_overflow_are_refused() {
        let rows = [(1, 1, f32::MAX), (1, 1, f32::MAX)];
        assert!(Interactions::with_duplicates(rows, Duplicates::Sum).is_err());
    }

    #[test]
    fn k_core_reaches_a_fixed_point() {
        // Item 3 has one user; without it user 3 has one item and goes too.
        let log = Interactions::from_ratings([(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 3)]).unwrap();
        let core = log.k_core(2, 2).unwrap();
        assert_eq!((core.n_users(), core.n_items(), core.len()), (2, 2, 4));
        assert!(log.k_core(10, 1).is_err());
    }
}
