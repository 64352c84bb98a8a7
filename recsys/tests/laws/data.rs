//! Round trips of the sparse matrix and the log, and the split's laws, over random data.

use std::collections::BTreeMap;

use cairn_recsys::{Csr, Duplicates, Error, GridSearch, Interactions, ItemIdx, Split, UserIdx};
use proptest::prelude::*;

fn entries() -> impl Strategy<Value = BTreeMap<(u32, u32), f32>> {
    prop::collection::btree_map((0_u32..20, 0_u32..15), -5.0_f32..5.0, 0..80)
}

proptest! {
    #[test]
    fn csr_keeps_every_entry_in_both_orientations(entries in entries(), order: u64) {
        let mut shuffled: Vec<_> = entries.iter().map(|(&(r, c), &v)| (UserIdx(r), ItemIdx(c), v)).collect();
        shuffled.sort_by_key(|&(r, c, _)| u64::from(r.0 * 31 + c.0).wrapping_mul(order | 1));
        let matrix = Csr::from_entries(20, 15, shuffled).unwrap();
        let back: BTreeMap<_, _> = matrix.entries().map(|(r, c, v)| ((r.0, c.0), v)).collect();
        prop_assert_eq!(&back, &entries);
        let transposed = matrix.transpose();
        prop_assert_eq!((transposed.n_rows(), transposed.n_cols()), (15, 20));
        let back: BTreeMap<_, _> = transposed.entries().map(|(c, r, v)| ((r.0, c.0), v)).collect();
        prop_assert_eq!(&back, &entries);
        prop_assert_eq!(transposed.transpose(), matrix.clone());
        for r in matrix.row_indices() {
            let (columns, _) = matrix.row(r);
            prop_assert!(columns.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn both_matrices_of_a_log_agree_with_a_map(rows in prop::collection::vec((0_u32..9, 0_u32..9, 0_i32..5, 0_i64..4), 1..60)) {
        let log = Interactions::with_duplicates(rows.iter().map(|&(u, i, v, t)| (u, i, v as f32, t)), Duplicates::Sum).unwrap();
        let mut sums = BTreeMap::<(u32, u32), f32>::new();
        for &(u, i, v, _) in &rows {
            *sums.entry((u, i)).or_default() += v as f32;
        }
        let got: BTreeMap<_, _> = log.ratings().map(|r| ((r.user, r.item), r.value)).collect();
        prop_assert_eq!(&got, &sums);
        prop_assert_eq!(log.user_items().transpose(), log.item_users());
    }

    #[test]
    fn last_keeps_the_latest_row(rows in prop::collection::vec((0_u32..5, 0_u32..5, 0_i32..5, 0_i64..4), 1..60)) {
        let log = Interactions::from_ratings(rows.iter().map(|&(u, i, v, t)| (u, i, v as f32, t))).unwrap();
        for kept in log.ratings() {
            let latest = rows.iter().filter(|r| (r.0, r.1) == (kept.user, kept.item)).max_by_key(|r| r.3).unwrap();
            prop_assert_eq!((kept.value, kept.timestamp), (latest.2 as f32, latest.3));
        }
    }

    #[test]
    fn splits_lose_and_repeat_nothing(n in 2_usize..80, fraction in 0.05..0.95_f64, seed: u64) {
        let log = Interactions::from_ratings((0..n as u32).map(|x| (x % 7, x / 7, 1.0, i64::from(x * 37 % 11)))).unwrap();
        for split in [Split::leave_last_out(), Split::random(fraction, seed), Split::per_user(fraction, seed)] {
            let Ok((train, test)) = log.split(split) else { continue };
            let mut all: Vec<_> = train.ratings().chain(test.ratings()).map(|r| (r.user, r.item)).collect();
            all.sort_unstable();
            let mut want: Vec<_> = log.ratings().map(|r| (r.user, r.item)).collect();
            want.sort_unstable();
            prop_assert_eq!(all, want);
            prop_assert_eq!((train.n_users(), train.n_items()), (log.n_users(), log.n_items()));
        }
    }
}

#[test]
fn csr_refuses_what_does_not_fit() {
    let out = Csr::from_entries(2, 2, [(UserIdx(2), ItemIdx(0), 1.0)]);
    assert!(matches!(out, Err(Error::Shape { .. })));
    let twice = Csr::from_entries(2, 2, [(UserIdx(1), ItemIdx(0), 1.0), (UserIdx(1), ItemIdx(0), 2.0)]);
    assert!(matches!(twice, Err(Error::Shape { .. })));
}

#[test]
fn columns_are_checked_against_the_catalogue() {
    let log = Interactions::from_ratings([(1, 1), (2, 2)]).unwrap();
    let catalog = log.catalog().clone();
    let make = |users: Vec<UserIdx>, values: Vec<f32>| {
        Interactions::from_columns(catalog.clone(), users, vec![ItemIdx(0)], values, None, Duplicates::Last)
    };
    assert!(make(vec![UserIdx(1)], vec![1.0]).is_ok());
    assert!(make(vec![UserIdx(2)], vec![1.0]).is_err());
    assert!(make(vec![UserIdx(0), UserIdx(1)], vec![1.0]).is_err());
    assert!(make(vec![UserIdx(0)], vec![f32::NAN]).is_err());
}

#[test]
fn a_log_without_rows_cannot_be_parted() {
    let empty = Interactions::from_ratings([(1, 1, 1.0, 5), (2, 2, 1.0, 6)]).unwrap().at_least(99.0);
    assert!(empty.is_empty());
    for split in [
        Split::leave_last_out(),
        Split::random(0.5, 0),
        Split::per_user(0.5, 0),
        Split::temporal(0.5),
        Split::date(5),
        Split::cold_items(0.5, 0),
        Split::cold_users(0.5, 0),
    ] {
        assert!(matches!(empty.split(split), Err(Error::Empty { .. })), "{split:?}");
        assert!(matches!(GridSearch::new(&empty, split), Err(Error::Empty { .. })), "{split:?}");
    }
    assert!(matches!(empty.split_users(0.5, 0.5, 0), Err(Error::Empty { .. })));
    assert!(empty.k_folds(2, 0).is_err());
    assert!(matches!(empty.time_windows(2, 1), Err(Error::Empty { .. })));
}
