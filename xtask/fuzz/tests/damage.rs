//! A thousand damaged files of each format, or as many as `CAIRN_MUTATIONS` says: an answer or an error each time, within
//! seconds. A panic fails the test with the reader and the number that makes the file again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use cairn_fuzz::{READERS, damaged};

fn each(numbers: impl Fn(&str) -> std::ops::Range<u64>) {
    let mut table = String::new();
    for reader in READERS {
        let valid = (reader.sample)();
        assert!(
            (reader.read)(&valid) || reader.name == "safetensors-index",
            "{}: the valid file",
            reader.name
        );
        let (mut read, mut slowest, mut all) = (0, Duration::ZERO, 0);
        for number in numbers(reader.name) {
            let bytes = damaged(&valid, number);
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| (reader.read)(&bytes)));
            let took = start.elapsed();
            read += u64::from(outcome.unwrap_or_else(|_| panic!("{} panics on file {number}", reader.name)));
            assert!(took < Duration::from_secs(20), "{}: file {number} takes {took:?}", reader.name);
            slowest = slowest.max(took);
            all += 1;
        }
        table += &format!(
            "{:<18} {all:>8} files, {read:>7} still read, slowest {:>6.1} ms\n",
            reader.name,
            slowest.as_secs_f64() * 1e3
        );
    }
    println!("{table}");
}

#[test]
fn damaged_files_are_answers_or_errors() {
    let count = std::env::var("CAIRN_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    each(|_| 0..count);
}

/// Every cut of every file.
#[test]
fn cut_files_are_answers_or_errors() {
    for reader in READERS {
        let valid = (reader.sample)();
        for end in (0..valid.len()).step_by(valid.len() / 400 + 1) {
            let outcome = catch_unwind(AssertUnwindSafe(|| (reader.read)(&valid[..end])));
            assert!(outcome.is_ok(), "{} panics on its first {end} bytes", reader.name);
        }
    }
}
