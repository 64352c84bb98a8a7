//! Ways to part a log into training and test rows.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::data::ids::{Id, Idx};
use crate::{Error, Interactions, Result};

/// How to part a log.
///
/// Every split keeps the catalogue, so indices mean the same in both parts, and users and items whose rows are all in one part have none
/// in the other. Which split is right depends on the question: leave-last-out asks for the next item and respects time within a user; a
/// random split lets the future leak into the training rows and is here because published figures use it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Split {
    /// The last `n` rows of each user by time (equal times: later rows are later) are for testing. A user with no more
    /// than `n` rows keeps all of them in training: a user without history cannot be recommended to.
    LeaveLastOut {
        /// Rows held out for each user.
        n: usize,
    },
    /// Each row goes to the test part with the given probability, exactly `round(fraction * len)` of them in all.
    Random {
        /// Share of the rows to test on, between 0 and 1.
        fraction: f64,
        /// Seed of the choice.
        seed: u64,
    },
    /// For each user `round(fraction * rows)` random rows are for testing, never all of them.
    PerUser {
        /// Share of each user's rows to test on, between 0 and 1.
        fraction: f64,
        /// Seed of the choice.
        seed: u64,
    },
    /// One moment parts all rows: the latest `fraction` of them is for testing, less where the cut would fall among rows of
    /// one moment, which then stay in training together. Users and items that appear only afterwards are then in the test part alone.
    Temporal {
        /// Share of the rows to test on, between 0 and 1.
        fraction: f64,
    },
    /// Rows of this moment and later are for testing.
    Date {
        /// The moment, as timestamps have it.
        at: i64,
    },
    /// All rows of a share of the items are for testing: items that nobody has met yet.
    ColdItems {
        /// Share of the items that have rows, between 0 and 1.
        fraction: f64,
        /// Seed of the choice.
        seed: u64,
    },
    /// All rows of a share of the users are for testing: people of whom nothing is known. See
    /// [`split_users`](Interactions::split_users) for people whose first rows are.
    ColdUsers {
        /// Share of the users that have rows, between 0 and 1.
        fraction: f64,
        /// Seed of the choice.
        seed: u64,
    },
}

impl Split {
    /// One row held out for each user: the last.
    #[doc(alias = "LeaveOneOut")]
    #[doc(alias = "leave_last_k_out")]
    pub fn leave_last_out() -> Self {
        Self::LeaveLastOut { n: 1 }
    }

    /// A random share of all rows.
    #[doc(alias = "ShuffleSplit")]
    pub fn random(fraction: f64, seed: u64) -> Self {
        Self::Random { fraction, seed }
    }

    /// The latest share of all rows.
    pub fn temporal(fraction: f64) -> Self {
        Self::Temporal { fraction }
    }

    /// All rows from a moment on.
    #[doc(alias("global_timeline", "time_split"))]
    pub fn date(at: i64) -> Self {
        Self::Date { at }
    }

    /// All rows of a random share of the items.
    #[doc(alias = "cold_start")]
    pub fn cold_items(fraction: f64, seed: u64) -> Self {
        Self::ColdItems { fraction, seed }
    }

    /// All rows of a random share of the users.
    pub fn cold_users(fraction: f64, seed: u64) -> Self {
        Self::ColdUsers { fraction, seed }
    }

    /// A random share of each user's rows.
    pub fn per_user(fraction: f64, seed: u64) -> Self {
        Self::PerUser { fraction, seed }
    }
}

impl<U: Id, I: Id> Interactions<U, I> {
    /// Parts the log into `(train, test)`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for `n` of 0, a fraction outside (0, 1), or a date that all rows are before or none; [`Error::Empty`] if a
    /// part would have no rows otherwise.
    ///
    /// ```
    /// use cairn_recsys::{Interactions, Split};
    /// let log = Interactions::from_ratings([(1, 10, 1.0, 5), (1, 11, 1.0, 9), (1, 12, 1.0, 7), (2, 10, 1.0, 1)])?;
    /// let (train, test) = log.split(Split::leave_last_out())?;
    /// assert_eq!((train.len(), test.len()), (3, 1));
    /// assert_eq!(test.rating(0).item, 11);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    #[doc(alias = "train_test_split")]
    pub fn split(&self, split: Split) -> Result<(Self, Self)> {
        let test = match split {
            Split::LeaveLastOut { n: 0 } => return Err(Error::parameter("n", 0, "at least 1")),
            Split::LeaveLastOut { n } => self.last_rows(n),
            Split::Random { fraction, seed } => self.random_rows(fraction, seed)?,
            Split::PerUser { fraction, seed } => self.random_rows_per_user(fraction, seed)?,
            Split::Temporal { fraction } => self.latest_rows(fraction)?,
            Split::Date { at } => self.rows_from(at)?,
            Split::ColdItems { fraction, seed } => cold(self.items(), self.n_items(), fraction, seed)?,
            Split::ColdUsers { fraction, seed } => cold(self.users(), self.n_users(), fraction, seed)?,
        };
        self.part(&test)
    }

    /// Parts the log by users, for evaluation on people the model has never met: `(train, history, test)`. A share
    /// `users` of the users is held out; of each of them a share `rows` of the rows is for testing and the rest is the
    /// history to fold in. Held-out users with a single row stay in training.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a share outside (0, 1); [`Error::Empty`] if a part would have no rows.
    pub fn split_users(&self, users: f64, rows: f64, seed: u64) -> Result<(Self, Self, Self)> {
        check_fraction(users)?;
        check_fraction(rows)?;
        let mut rng = Pcg64::seed_from_u64(seed);
        let by_user = self.rows_by_user();
        let mut order: Vec<usize> = (0..by_user.len()).filter(|&u| by_user[u].len() > 1).collect();
        order.shuffle(&mut rng);
        order.truncate((users * self.n_users() as f64).round() as usize);
        let (mut held_out, mut test) = (vec![false; self.len()], vec![false; self.len()]);
        for user in order {
            let mut own = by_user[user].clone();
            own.iter().for_each(|&row| held_out[row] = true);
            own.shuffle(&mut rng);
            let n = ((rows * own.len() as f64).round() as usize).clamp(1, own.len() - 1);
            own[..n].iter().for_each(|&row| test[row] = true);
        }
        let (train, _) = self.part(&held_out)?;
        let history = self.filter_rows(|row| held_out[row] && !test[row]);
        Ok((train, history, self.filter_rows(|row| test[row])))
    }

    /// `k` pairs of (train, test) for cross-validation, as Surprise and scikit-learn part them: rows are shuffled and cut
    /// into `k` test parts whose sizes differ by one at most, the longer ones first.
    ///
    /// # Errors
    /// [`Error::Parameter`] for fewer than 2 folds or more folds than rows.
    #[doc(alias = "KFold")]
    pub fn k_folds(
        &self,
        k: usize,
        seed: u64,
    ) -> Result<impl ExactSizeIterator<Item = (Self, Self)> + use<'_, U, I>> {
        if k < 2 || k > self.len() {
            return Err(Error::parameter("k", k, format!("2 to {}, the number of rows", self.len())));
        }
        let mut rows: Vec<usize> = (0..self.len()).collect();
        rows.shuffle(&mut Pcg64::seed_from_u64(seed));
        let mut fold_of = vec![0; rows.len()];
        let (size, longer) = (rows.len() / k, rows.len() % k);
        for (position, row) in rows.into_iter().enumerate() {
            let long_part = longer * (size + 1);
            fold_of[row] = if position < long_part {
                position / (size + 1)
            } else {
                longer + (position - long_part) / size
            };
        }
        Ok((0..k).map(move |fold| {
            (self.filter_rows(|row| fold_of[row] != fold), self.filter_rows(|row| fold_of[row] == fold))
        }))
    }

    /// `(rows where the mask is false, rows where it is true)`.
    pub(crate) fn part(&self, test: &[bool]) -> Result<(Self, Self)> {
        let parts = (self.filter_rows(|row| !test[row]), self.filter_rows(|row| test[row]));
        if parts.0.is_empty() {
            return Err(Error::Empty { what: "the training part of the split" });
        }
        if parts.1.is_empty() {
            return Err(Error::Empty { what: "the test part of the split" });
        }
        Ok(parts)
    }

    fn rows_by_user(&self) -> Vec<Vec<usize>> {
        let mut rows = vec![Vec::new(); self.n_users()];
        for (row, user) in self.users().iter().enumerate() {
            rows[user.at()].push(row);
        }
        rows
    }

    fn last_rows(&self, n: usize) -> Vec<bool> {
        let mut test = vec![false; self.len()];
        for mut rows in self.rows_by_user() {
            if rows.len() > n {
                rows.sort_by_key(|&row| self.timestamps()[row]);
                for &row in &rows[rows.len() - n..] {
                    test[row] = true;
                }
            }
        }
        test
    }

    /// The rows from a moment on, which is to part them.
    fn rows_from(&self, at: i64) -> Result<Vec<bool>> {
        let times = self.timestamps();
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
            return Err(Error::Empty { what: "the interaction log" });
        };
        if at <= *first || at > *last {
            let expected =
                format!("a time after {first} and not after {last}, the first and the last of the log");
            return Err(Error::parameter("at", at, expected));
        }
        Ok(times.iter().map(|&time| time >= at).collect())
    }

    fn latest_rows(&self, fraction: f64) -> Result<Vec<bool>> {
        check_fraction(fraction)?;
        if self.is_empty() {
            return Err(Error::Empty { what: "the interaction log" });
        }
        let mut times = self.timestamps().to_vec();
        times.sort_unstable();
        let n = ((fraction * self.len() as f64).round() as usize).clamp(1, self.len());
        let moment = times[self.len() - n];
        let first = times.partition_point(|&t| t < moment);
        let after = if self.len() - first > n { moment.saturating_add(1) } else { moment };
        Ok(self.timestamps().iter().map(|&t| t >= after).collect())
    }

    fn random_rows(&self, fraction: f64, seed: u64) -> Result<Vec<bool>> {
        check_fraction(fraction)?;
        let mut rows: Vec<usize> = (0..self.len()).collect();
        rows.shuffle(&mut Pcg64::seed_from_u64(seed));
        let mut test = vec![false; self.len()];
        for &row in &rows[..(fraction * self.len() as f64).round() as usize] {
            test[row] = true;
        }
        Ok(test)
    }

    fn random_rows_per_user(&self, fraction: f64, seed: u64) -> Result<Vec<bool>> {
        check_fraction(fraction)?;
        let mut rng = Pcg64::seed_from_u64(seed);
        let mut test = vec![false; self.len()];
        for mut rows in self.rows_by_user() {
            let mut own = Pcg64::seed_from_u64(rng.random());
            rows.shuffle(&mut own);
            let n = (fraction * rows.len() as f64).round() as usize;
            for &row in &rows[..n.min(rows.len().saturating_sub(1))] {
                test[row] = true;
            }
        }
        Ok(test)
    }
}

/// The rows of a share of the users, or of the items, that have any.
fn cold<X: Idx>(column: &[X], n: usize, fraction: f64, seed: u64) -> Result<Vec<bool>> {
    check_fraction(fraction)?;
    let mut met = vec![false; n];
    column.iter().for_each(|x| met[x.at()] = true);
    let mut order: Vec<usize> = (0..n).filter(|&at| met[at]).collect();
    order.shuffle(&mut Pcg64::seed_from_u64(seed));
    let chosen = (fraction * order.len() as f64).round() as usize;
    let mut out = vec![false; n];
    order[..chosen].iter().for_each(|&at| out[at] = true);
    Ok(column.iter().map(|x| out[x.at()]).collect())
}

fn check_fraction(fraction: f64) -> Result<()> {
    if fraction > 0.0 && fraction < 1.0 {
        Ok(())
    } else {
        Err(Error::parameter("fraction", fraction, "above 0 and below 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Interactions {
        Interactions::from_ratings((0..200_u32).map(|n| (n % 13, n % 17, 1.0, i64::from(n * 7919 % 101))))
            .unwrap()
    }

    #[test]
    fn leave_last_out_takes_the_latest_row_of_each_user() {
        let log = log();
        let (train, test) = log.split(Split::leave_last_out()).unwrap();
        assert_eq!(test.len(), 13);
        for held in test.ratings() {
            assert!(train.ratings().filter(|r| r.user == held.user).all(|r| r.timestamp <= held.timestamp));
        }
    }

    #[test]
    fn random_parts_are_disjoint_complete_and_repeatable() {
        let log = log();
        for split in [Split::random(0.25, 3), Split::per_user(0.25, 3)] {
            let (train, test) = log.split(split).unwrap();
            assert_eq!(train.len() + test.len(), log.len());
            let again = log.split(split).unwrap().1;
            assert_eq!(test.ratings().collect::<Vec<_>>(), again.ratings().collect::<Vec<_>>());
            let train = train.user_items();
            assert!(test.user_items().entries().all(|(u, i, _)| train.get(u, i).is_none()));
        }
        assert_eq!(log.split(Split::random(0.25, 3)).unwrap().1.len(), 50);
    }

    #[test]
    fn folds_are_disjoint_complete_and_of_even_size() {
        let log = log();
        let folds: Vec<_> = log.k_folds(7, 3).unwrap().collect();
        let sizes: Vec<usize> = folds.iter().map(|(_, test)| test.len()).collect();
        assert_eq!(sizes, [29, 29, 29, 29, 28, 28, 28]);
        let mut all: Vec<_> =
            folds.iter().flat_map(|(_, test)| test.ratings()).map(|r| (r.user, r.item)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), log.len());
        assert!(folds.iter().all(|(train, test)| train.len() + test.len() == log.len()));
        assert!(log.k_folds(1, 3).is_err() && log.k_folds(201, 3).is_err());
    }

    #[test]
    fn the_temporal_split_never_trains_on_the_future() {
        let log = log();
        let (train, test) = log.split(Split::temporal(0.25)).unwrap();
        let last = train.timestamps().iter().max().unwrap();
        assert!(test.timestamps().iter().all(|t| t > last));
        assert!(test.len() <= 50 && test.len() > 45, "{}", test.len());
        let same = Interactions::from_ratings([(1, 1, 1.0, 5), (1, 2, 1.0, 5)]).unwrap();
        assert!(same.split(Split::temporal(0.5)).is_err(), "one moment cannot be parted");
    }

    #[test]
    fn cold_items_and_users_have_no_rows_in_training() {
        let log = log();
        for (split, items) in [(Split::cold_items(0.3, 1), true), (Split::cold_users(0.3, 1), false)] {
            let (train, test) = log.split(split).unwrap();
            assert_eq!(train.len() + test.len(), log.len());
            let (mut cold, mut warm) = (vec![false; 17], vec![false; 17]);
            let of = |log: &Interactions, row: usize| {
                if items { log.items()[row].at() } else { log.users()[row].at() }
            };
            (0..test.len()).for_each(|row| cold[of(&test, row)] = true);
            (0..train.len()).for_each(|row| warm[of(&train, row)] = true);
            assert!(cold.iter().zip(&warm).all(|(cold, warm)| !(*cold && *warm)));
            let expected = if items { 5 } else { 4 };
            assert_eq!(cold.iter().filter(|cold| **cold).count(), expected);
        }
        assert!(
            log.split(Split::cold_items(1.0, 1)).is_err() && log.split(Split::cold_users(0.0, 1)).is_err()
        );
    }

    #[test]
    fn rows_from_a_date_on_are_for_testing() {
        let log = log();
        let (train, test) = log.split(Split::date(60)).unwrap();
        assert!(train.timestamps().iter().all(|&t| t < 60) && test.timestamps().iter().all(|&t| t >= 60));
        assert_eq!(train.len() + test.len(), log.len());
        for at in [1000, 0] {
            let why = log.split(Split::date(at)).unwrap_err().to_string();
            assert!(
                why.starts_with(&format!("at = {at}")) && why.contains("after 0 and not after 100"),
                "{why}"
            );
        }
    }

    #[test]
    fn users_held_out_are_not_in_training() {
        let log = log();
        let (train, history, test) = log.split_users(0.3, 0.5, 1).unwrap();
        assert_eq!(train.len() + history.len() + test.len(), log.len());
        let users =
            |log: &Interactions| log.users().iter().copied().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(users(&history), users(&test));
        assert_eq!(users(&test).len(), 4);
        assert!(users(&train).is_disjoint(&users(&test)));
        assert!(log.split_users(0.0, 0.5, 1).is_err() && log.split_users(0.5, 1.0, 1).is_err());
    }

    #[test]
    fn bad_settings_and_empty_parts_are_errors() {
        let log = log();
        assert!(log.split(Split::LeaveLastOut { n: 0 }).is_err());
        assert!(log.split(Split::random(0.0, 1)).is_err());
        assert!(log.split(Split::random(f64::NAN, 1)).is_err());
        assert!(log.split(Split::LeaveLastOut { n: 1000 }).is_err(), "nobody has that many rows");
    }
}
