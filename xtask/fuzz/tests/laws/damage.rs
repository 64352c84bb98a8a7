//! Damaged and cut files: an answer or an error each time, without a hang and within memory. A panic fails the test with the
//! reader and the number that makes the file again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use cairn_fuzz::{damaged, readers};

use crate::PEAK;

/// What a reader may take of a damaged file beyond twenty times its length.
const MEMORY: usize = 64 << 20;

/// Some hundred files of each format, or as many as `CAIRN_MUTATIONS` says.
#[test]
fn damaged_and_cut_files_are_answers_or_errors() {
    let count =
        std::env::var("CAIRN_MUTATIONS").map_or(150, |count| count.parse().expect("a number of files"));
    for reader in readers() {
        let valid = (reader.sample)();
        assert!((reader.read)(&valid), "{}: the valid file", reader.name);
        for end in (0..valid.len()).step_by(valid.len() / 100 + 1) {
            look(&reader, &valid[..end], &format!("its first {end} bytes"));
        }
        let (mut read, mut slowest) = (0, Duration::ZERO);
        for number in 0..count {
            let (answered, took) = look(&reader, &damaged(&valid, number), &format!("file {number}"));
            read += u64::from(answered);
            slowest = slowest.max(took);
        }
        let slowest = slowest.as_secs_f64() * 1e3;
        println!("{:<18} {count:>8} files, {read:>7} still read, slowest {slowest:>6.1} ms", reader.name);
    }
}

fn look(reader: &cairn_fuzz::Reader, bytes: &[u8], what: &str) -> (bool, Duration) {
    let (start, before) = (Instant::now(), PEAK.current_usage());
    PEAK.reset_peak_usage();
    let outcome = catch_unwind(AssertUnwindSafe(|| (reader.read)(bytes)));
    let (took, taken) = (start.elapsed(), PEAK.peak_usage().saturating_sub(before));
    let answered = outcome.unwrap_or_else(|_| panic!("{} panics on {what}", reader.name));
    assert!(took < Duration::from_secs(120), "{}: {what} takes {took:?}", reader.name);
    assert!(taken <= 20 * bytes.len() + MEMORY, "{}: {what} takes {taken} bytes of memory", reader.name);
    (answered, took)
}
