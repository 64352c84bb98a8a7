//! What is odd about a log, before a figure is believed that was measured on it.
//!
//! None of these is an error: a log with ties in time can be trained on. But ties decide which item is a user's last, repeats are
//! settled by a policy, a machine among the users outweighs a thousand people, and a split that trains on the future tells of
//! models that know it. What is counted, and from where on it is said, stands with each field.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;

use crate::data::ids::{FxHasher, Id, Idx};
use crate::data::interactions::{Interactions, Rating};

/// From this multiple of the median number of rows on a user may be a machine.
const HEAVY: usize = 100;
/// Nobody does more within one moment.
const BURST: usize = 50;

/// What is odd about a log. [`LogLint::of_rows`] sees the rows as they come, repeats included; [`Interactions::lint`] those that a
/// log has kept.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct LogLint {
    /// Rows.
    pub rows: usize,
    /// Users with rows.
    pub users: usize,
    /// Items with rows.
    pub items: usize,
    /// Rows of a user and an item that were together in an earlier row.
    pub repeats: usize,
    /// Whether all rows are of one moment: the log has no times, and order is that of its lines.
    pub timeless: bool,
    /// Rows of a user that share their moment with another of theirs: their order is that of the lines.
    pub tied_rows: usize,
    /// Users with more than one row whose last row shares its moment with the one before: which is their last item is a matter of
    /// the lines.
    pub tied_last: usize,
    /// Users whose rows are not in order of time as they lie.
    pub unordered: usize,
    /// Users with a single row, of whom nothing can be learned and tested.
    pub single_row: usize,
    /// Items with a single row.
    pub single_item: usize,
    /// Users with more rows than a hundred times the median.
    pub heavy: usize,
    /// Rows that those have.
    pub heavy_rows: usize,
    /// Users with more than fifty rows of one moment, in a log with times.
    pub bursts: usize,
}

/// What is kept of one user.
#[derive(Default)]
struct OfUser {
    times: Vec<i64>,
    unordered: bool,
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<FxHasher>>;

impl LogLint {
    /// Looks at rows as they come: [`Rating`]s or tuples `(user, item[, value[, timestamp]])`.
    ///
    /// ```
    /// use cairn_recsys::LogLint;
    /// let lint = LogLint::of_rows([("ann", "tea", 1.0, 5), ("ann", "milk", 1.0, 5), ("ann", "tea", 1.0, 9), ("bob", "tea", 1.0, 1)]);
    /// assert_eq!((lint.repeats, lint.tied_rows, lint.single_row), (1, 2, 1));
    /// println!("{lint}");
    /// ```
    pub fn of_rows<U: Id, I: Id, R: Into<Rating<U, I>>>(rows: impl IntoIterator<Item = R>) -> Self {
        let mut users: Map<U, OfUser> = Map::default();
        let mut items: Map<I, usize> = Map::default();
        let mut pairs: Map<(U, I), ()> = Map::default();
        let mut lint = Self::default();
        for row in rows {
            let Rating { user, item, timestamp, .. } = row.into();
            lint.rows += 1;
            lint.repeats += usize::from(pairs.insert((user.clone(), item.clone()), ()).is_some());
            *items.entry(item).or_default() += 1;
            users.entry(user).or_default().add(timestamp);
        }
        lint.items = items.len();
        lint.single_item = items.values().filter(|&&n| n == 1).count();
        lint.of_users(users.into_values().collect());
        lint
    }

    fn of_users(&mut self, mut users: Vec<OfUser>) {
        self.users = users.len();
        let first = users.iter().find_map(|user| user.times.first().copied());
        self.timeless = users.iter().flat_map(|user| &user.times).all(|&t| Some(t) == first);
        let mut counts: Vec<usize> = users.iter().map(|user| user.times.len()).collect();
        counts.sort_unstable();
        let median = counts.get(counts.len() / 2).copied().unwrap_or(0);
        for user in &mut users {
            let n = user.times.len();
            user.times.sort_unstable();
            let bursts = || user.times.chunk_by(|a, b| a == b).map(<[i64]>::len);
            self.single_row += usize::from(n == 1);
            self.unordered += usize::from(user.unordered);
            if n > HEAVY.saturating_mul(median) {
                self.heavy += 1;
                self.heavy_rows += n;
            }
            if !self.timeless {
                self.tied_rows += bursts().filter(|&n| n > 1).sum::<usize>();
                self.tied_last += usize::from(bursts().next_back().is_some_and(|n| n > 1));
                self.bursts += usize::from(bursts().any(|n| n > BURST));
            }
        }
    }
}

impl OfUser {
    fn add(&mut self, time: i64) {
        self.unordered |= self.times.last().is_some_and(|&last| time < last);
        self.times.push(time);
    }
}

/// A share in per cent.
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl fmt::Display for LogLint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rows of {} users and {} items", self.rows, self.users, self.items)?;
        let of_rows = |n| (n, percent(n, self.rows), "rows");
        let of_users = |n| (n, percent(n, self.users), "users");
        let (single_item, items) = (self.single_item, self.items);
        let lines = [
            (of_rows(self.repeats), "repeat a user and an item: `Duplicates` says what is kept"),
            (
                of_rows(self.tied_rows),
                "share their moment with another of the same user: their order is that of the lines",
            ),
            (of_users(self.tied_last), "have a last item that is the last by the order of lines alone"),
            (of_users(self.unordered), "have rows that do not lie in order of time"),
            (of_users(self.single_row), "have a single row"),
            ((single_item, percent(single_item, items), "items"), "have a single row"),
            (of_users(self.heavy), "have more than 100 times the median number of rows: machines?"),
            (of_rows(self.heavy_rows), "are theirs"),
            (of_users(self.bursts), "have more than 50 rows of one moment: machines, or an import?"),
        ];
        if self.timeless {
            writeln!(f, "no times: all rows are of one moment, and order is that of the lines")?;
        }
        for ((n, share, of), what) in lines {
            if n > 0 {
                writeln!(f, "{n} {of} ({share:.2} %) {what}")?;
            }
        }
        Ok(())
    }
}

/// What a split lets a model know that it could not have known, see [`Interactions::lint_split`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct SplitLint {
    /// Rows of the test part.
    pub test_rows: usize,
    /// Test rows whose user and item are together in training too.
    pub in_training: usize,
    /// Test rows before the user's last row of training.
    pub before_own: usize,
    /// Rows of training later than the first of the test part: the future, if lists are asked for at that moment.
    pub later_rows: usize,
    /// Rows of training.
    pub train_rows: usize,
    /// Users of the test part.
    pub users: usize,
    /// Of those, how many have no row in training.
    pub unknown_users: usize,
    /// Test rows of an item that has none in training.
    pub unknown_items: usize,
}

impl<U: Id, I: Id> Interactions<U, I> {
    /// What is odd about the log; repeats are settled already, see [`LogLint::of_rows`].
    pub fn lint(&self) -> LogLint {
        let mut users: Vec<OfUser> = (0..self.n_users()).map(|_| OfUser::default()).collect();
        let mut items = vec![0_usize; self.n_items()];
        for row in 0..self.len() {
            users[self.users()[row].at()].add(self.timestamps()[row]);
            items[self.items()[row].at()] += 1;
        }
        users.retain(|user| !user.times.is_empty());
        let mut lint = LogLint {
            rows: self.len(),
            items: items.iter().filter(|&&n| n > 0).count(),
            single_item: items.iter().filter(|&&n| n == 1).count(),
            ..LogLint::default()
        };
        lint.of_users(users);
        lint
    }

    /// What training on this part tells of `test`, the other part of the same log: leaks of the future, rows in both, users and items
    /// that only the test part knows.
    ///
    /// ```
    /// use cairn_recsys::{Split, synthetic};
    /// let log = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
    /// let (train, test) = log.split(Split::random(0.2, 0))?;
    /// assert!(train.lint_split(&test).before_own > 0, "a random split trains on the future");
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    #[doc(alias = "leakage")]
    pub fn lint_split(&self, test: &Self) -> SplitLint {
        let (seen, items) = (self.user_items(), self.item_users());
        let mut last = vec![i64::MIN; self.n_users()];
        for (user, &time) in self.users().iter().zip(self.timestamps()) {
            last[user.at()] = last[user.at()].max(time);
        }
        let mut tested = vec![false; test.n_users().max(self.n_users())];
        let first = test.timestamps().iter().copied().min().unwrap_or(i64::MAX);
        let mut lint = SplitLint {
            test_rows: test.len(),
            train_rows: self.len(),
            later_rows: self.timestamps().iter().filter(|&&t| t > first).count(),
            ..SplitLint::default()
        };
        for row in 0..test.len() {
            let (user, item, time) = (test.users()[row], test.items()[row], test.timestamps()[row]);
            let known = user.at() < self.n_users() && seen.row_len(user) > 0;
            let known_item = item.at() < self.n_items() && items.row_len(item) > 0;
            if !tested[user.at()] {
                tested[user.at()] = true;
                lint.users += 1;
                lint.unknown_users += usize::from(!known);
            }
            lint.unknown_items += usize::from(!known_item);
            lint.in_training += usize::from(known && seen.row(user).0.binary_search(&item).is_ok());
            lint.before_own += usize::from(known && time < last[user.at()]);
        }
        lint
    }
}

impl fmt::Display for SplitLint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rows to train on, {} of {} users to test",
            self.train_rows, self.test_rows, self.users
        )?;
        let of_test = |n| (n, percent(n, self.test_rows));
        for ((n, share), what) in [
            (of_test(self.in_training), "test rows are in training too"),
            (of_test(self.before_own), "test rows are before their user's last row of training"),
            (
                (self.later_rows, percent(self.later_rows, self.train_rows)),
                "rows of training are later than the first test row",
            ),
            (
                (self.unknown_users, percent(self.unknown_users, self.users)),
                "users of the test part have no row in training",
            ),
            (of_test(self.unknown_items), "test rows are of items that have no row in training"),
        ] {
            if n > 0 {
                writeln!(f, "{n} ({share:.2} %) {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;

    #[test]
    fn each_oddity_is_counted() {
        let mut rows = vec![
            (1, 1, 1.0, 5),
            (1, 2, 1.0, 5),
            (1, 1, 1.0, 9),
            (2, 1, 1.0, 7),
            (2, 3, 1.0, 3),
            (3, 1, 1.0, 1),
        ];
        // Somebody who met all, a hundred a second.
        rows.extend((0..400).map(|n| (4, 10 + n, 1.0, i64::from(n) / 100)));
        let lint = LogLint::of_rows(rows.iter().copied());
        assert_eq!((lint.rows, lint.users, lint.items, lint.repeats), (406, 4, 403, 1));
        assert_eq!((lint.tied_rows, lint.tied_last, lint.unordered), (402, 1, 1));
        assert_eq!((lint.single_row, lint.single_item), (1, 402));
        assert_eq!((lint.heavy, lint.heavy_rows, lint.bursts, lint.timeless), (1, 400, 1, false));
        let kept = Interactions::from_ratings(rows).unwrap().lint();
        assert_eq!((kept.rows, kept.repeats, kept.users, kept.tied_rows), (405, 0, 4, 400));
        let text = lint.to_string();
        assert!(text.contains("1 rows (0.25 %) repeat") && text.contains("machines"), "{text}");
        let timeless = LogLint::of_rows([(1, 1), (1, 2), (2, 1)]);
        assert!(timeless.timeless && timeless.tied_rows == 0 && timeless.to_string().contains("no times"));
        assert_eq!(LogLint::of_rows(Vec::<(u32, u32)>::new()).rows, 0);
    }

    #[test]
    fn a_split_is_told_what_it_leaks() {
        let log =
            Interactions::from_ratings((0..200_u32).map(|n| (n % 13, n % 17, 1.0, i64::from(n)))).unwrap();
        let (train, test) = log.split(Split::temporal(0.2)).unwrap();
        let clean = train.lint_split(&test);
        assert_eq!((clean.in_training, clean.before_own, clean.later_rows), (0, 0, 0));
        assert_eq!((clean.test_rows, clean.train_rows, clean.unknown_users), (40, 160, 0));
        let (train, test) = log.split(Split::random(0.2, 0)).unwrap();
        let leaks = train.lint_split(&test);
        assert!(
            leaks.before_own > 20 && leaks.later_rows > 100 && leaks.to_string().contains("before their")
        );
        assert_eq!(log.lint_split(&test).in_training, test.len());
        let (train, test) = log.split(Split::cold_users(0.3, 0)).unwrap();
        assert_eq!(train.lint_split(&test).unknown_users, 4);
        let (train, test) = log.split(Split::cold_items(0.3, 0)).unwrap();
        assert_eq!(train.lint_split(&test).unknown_items, test.len());
    }
}
