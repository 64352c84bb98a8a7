//! Parting a log by windows of time: train on what was before, test on what came next, and again a window later. What one cut says by
//! chance, several say together, and none of them trains on the future.

use crate::data::ids::Id;
use crate::{Error, Interactions, Result};

impl<U: Id, I: Id> Interactions<U, I> {
    /// `n` pairs of (train, test), the earliest first. The test parts are the last `n` windows of time, each `span` long, the last of
    /// which ends with the latest row; each is tested by what was before it. Windows before or within which nothing happened are
    /// left out.
    ///
    /// ```
    /// use cairn_recsys::Interactions;
    /// let log = Interactions::from_ratings((0..100_u32).map(|day| (day % 7, day, 1.0, i64::from(day))))?;
    /// let sizes: Vec<_> = log.time_windows(3, 10)?.map(|(train, test)| (train.len(), test.len())).collect();
    /// assert_eq!(sizes, [(70, 10), (80, 10), (90, 10)]);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] for no windows, and a span below 1; [`Error::Empty`] for a log without rows.
    #[doc(alias("TimeSeriesSplit", "TimeRangeSplit", "sliding_window"))]
    pub fn time_windows(
        &self,
        n: usize,
        span: i64,
    ) -> Result<impl Iterator<Item = (Self, Self)> + use<'_, U, I>> {
        crate::check::at_least_one("n", n)?;
        if span < 1 {
            return Err(Error::parameter("span", span, "at least 1"));
        }
        let Some(&latest) = self.timestamps().iter().max() else {
            return Err(Error::Empty { what: "the interaction log" });
        };
        // How many windows back each row is: of all that are asked for only those with rows are looked at.
        let length = span.unsigned_abs();
        let backs = self.timestamps().iter().map(|&time| latest.abs_diff(time) / length);
        let mut backs: Vec<u64> = backs.filter(|&back| back < n as u64).collect();
        backs.sort_unstable();
        backs.dedup();
        let windows = backs.into_iter().rev().map(move |back| {
            let last = latest.saturating_sub_unsigned(length * back);
            (last.saturating_sub(span - 1), last)
        });
        let parts = windows.map(move |(first, last)| {
            let times = self.timestamps();
            let train = self.filter_rows(|row| times[row] < first);
            (train, self.filter_rows(|row| (first..=last).contains(&times[row])))
        });
        Ok(parts.filter(|(train, test)| !train.is_empty() && !test.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_do_not_overlap_and_never_train_on_what_comes_later() {
        let log = Interactions::from_ratings(
            (0..300_u32).map(|n| (n % 13, n % 17, 1.0, i64::from(n * 7919 % 101))),
        );
        let log = log.unwrap();
        let mut before = i64::MIN;
        let windows: Vec<_> = log.time_windows(4, 20).unwrap().collect();
        assert_eq!(windows.len(), 4);
        for (train, test) in windows {
            let first = *test.timestamps().iter().min().unwrap();
            assert!(train.timestamps().iter().all(|&t| t < first) && first > before);
            before = *test.timestamps().iter().max().unwrap();
        }
        assert_eq!(before, *log.timestamps().iter().max().unwrap());
        // Six windows of twenty would begin before the log.
        assert_eq!(log.time_windows(6, 20).unwrap().count(), 5);
        assert_eq!(log.time_windows(2, i64::MAX).unwrap().count(), 0, "nothing was before");
        // As many windows as nobody has time for, most of them before the log, and moments as far apart as there are.
        assert_eq!(log.time_windows(usize::MAX, 1).unwrap().count(), 100);
        let ends = [(1, 0, 1.0, i64::MIN), (1, 1, 1.0, -1), (1, 2, 1.0, i64::MAX)];
        let ends = Interactions::from_ratings(ends).unwrap();
        assert_eq!(ends.time_windows(usize::MAX, 1).unwrap().count(), 2);
        assert_eq!(ends.time_windows(usize::MAX, i64::MAX).unwrap().count(), 2);
        assert!(log.time_windows(0, 5).is_err() && log.time_windows(2, 0).is_err());
    }
}
