//! Threads as members: what they exchange, and what happens when one of them does something else.

use std::time::{Duration, Instant};

use cairn_processes::wire::{Reader, Writer};
use cairn_processes::{Alone, Communicator, Error, Group, Threads};
use proptest::prelude::*;

/// What rank `from` has for rank `to` in a round: of any length, also none.
fn part(from: usize, to: usize, round: usize) -> Vec<u8> {
    (0..(from * 7 + to * 3 + round) % 11).map(|i| (from * 64 + to * 16 + round + i) as u8).collect()
}

#[test]
fn every_operation_gives_what_was_sent_by_rank() {
    for size in 1..5 {
        let ranks = Threads::run(size, |me| {
            assert_eq!(me.size(), size);
            for round in 0..20 {
                let rank = me.rank();
                let gathered = me.all_gather(&part(rank, 0, round)).unwrap();
                assert_eq!(gathered, (0..size).map(|from| part(from, 0, round)).collect::<Vec<_>>());
                let parts = (0..size).map(|to| part(rank, to, round)).collect();
                let received = me.all_to_all(parts).unwrap();
                assert_eq!(received, (0..size).map(|from| part(from, rank, round)).collect::<Vec<_>>());
                let root = round % size;
                assert_eq!(me.broadcast(root, &part(rank, 1, round)).unwrap(), part(root, 1, round));
                me.barrier().unwrap();
            }
            me.rank()
        });
        assert_eq!(ranks, (0..size).collect::<Vec<_>>());
    }
}

#[test]
fn alone_everything_comes_back() {
    assert_eq!(Alone.all_gather(b"a").unwrap(), [b"a"]);
    assert_eq!(Alone.all_to_all(vec![b"b".to_vec()]).unwrap(), [b"b"]);
    assert_eq!(Alone.broadcast(0, b"c").unwrap(), b"c");
    assert!(Alone.broadcast(1, b"c").is_err() && Alone.all_to_all(Vec::new()).is_err());
    assert_eq!(Group::new(&Alone).bytes_sent(), 0);
}

#[test]
fn another_operation_on_one_rank_is_an_error_on_all() {
    let errors = Threads::run(3, |me| {
        let result = if me.rank() == 2 { me.barrier() } else { me.all_gather(b"x").map(|_| ()) };
        result.unwrap_err().to_string()
    });
    for error in errors {
        assert!(error.contains("all_gather on rank 0") && error.contains("barrier on rank 2"), "{error}");
    }
}

#[test]
fn a_rank_that_ends_is_missed_at_once() {
    let began = Instant::now();
    let results = Threads::run(3, |me| if me.rank() == 1 { Ok(()) } else { me.barrier() });
    assert_eq!(results[0], Err(Error::Left { rank: 1 }));
    assert_eq!(results[2], Err(Error::Left { rank: 1 }));
    // Also one that panics.
    let panicked = std::panic::catch_unwind(|| {
        Threads::run(2, |me| if me.rank() == 0 { panic!("on purpose") } else { me.barrier().unwrap_err() })
    });
    assert!(panicked.is_err());
    // Far from what it takes, for a busy machine: waiting would have no end.
    assert!(began.elapsed() < Duration::from_secs(120));
}

#[test]
fn what_one_cannot_do_all_learn() {
    let errors = Threads::run(4, |me| {
        let outcome = if me.rank() == 2 { Err("the disk is full") } else { Ok(&[1][..]) };
        Group::new(me).meet("step 3", &[], outcome).unwrap_err()
    });
    let told = Error::Rank { rank: 2, message: "the disk is full".into() };
    assert!(errors.iter().all(|error| *error == told), "{errors:?}");
}

#[test]
fn what_differs_is_named_with_both_values() {
    let meet = |place: &'static str, name: &'static str, value: &'static str| {
        Threads::run(3, |me| {
            let odd = me.rank() == 1;
            let fact = if odd { (name, value) } else { ("batch_size", "8") };
            let facts = [(fact.0.to_owned(), fact.1.to_owned())];
            let place = if odd { place } else { "step 1" };
            Group::new(me).meet(place, &facts, Ok(&[])).map_err(|error| error.to_string())
        })
    };
    for (place, name, value, expected) in [
        ("step 1", "batch_size", "4", "batch_size: 8 on rank 0, 4 on rank 1"),
        ("step 2", "batch_size", "8", "the place in the run: step 1 on rank 0, step 2 on rank 1"),
        ("step 1", "seed", "8", "what is compared: batch_size on rank 0, seed on rank 1"),
    ] {
        for result in meet(place, name, value) {
            let error = result.unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
    assert!(meet("step 1", "batch_size", "8").into_iter().all(|result| result.is_ok()));
}

#[test]
fn the_bytes_sent_are_those_for_others() {
    let sent = Threads::run(4, |me| {
        let group = Group::new(me);
        group.all_gather(&[0; 10]).unwrap();
        group.all_to_all((0..4).map(|to| vec![0; to]).collect()).unwrap();
        (group.rank(), group.bytes_sent())
    });
    for (rank, bytes) in sent {
        assert_eq!(bytes, 3 * 10 + 6 - rank as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_an_error(
        text in ".{0,8}", floats in prop::collection::vec(any::<u32>(), 0..6), number in any::<u64>(), cut in 1..60usize,
    ) {
        let floats: Vec<f32> = floats.into_iter().map(f32::from_bits).collect();
        let mut to = Writer::new();
        to.text(&text);
        to.f32s(&floats);
        to.u64(number);
        to.u32s(&[7, 8]);
        let bytes = to.into_bytes();
        let read = |bytes: &[u8]| {
            let mut from = Reader::new(bytes);
            let values = (from.text()?.to_owned(), from.f32s()?, from.u64()?, from.u32s()?);
            Ok::<_, Error>((values, from.is_empty()))
        };
        let ((t, f, n, u), empty) = read(&bytes).unwrap();
        prop_assert!(empty && t == text && n == number && u == [7, 8]);
        prop_assert!(f.iter().map(|x| x.to_bits()).eq(floats.iter().map(|x| x.to_bits())));
        prop_assert!(read(&bytes[..bytes.len().saturating_sub(cut)]).is_err());
    }
}
