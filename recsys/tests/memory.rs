//! Whatever a log of a few hundred kilobytes unpacks to, reading it takes at most twenty times its length and 64 MiB, or is
//! refused. A program of its own, since it counts every allocation.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cairn_recsys::Error;
use cairn_recsys::read::LogReader;
use flate2::Compression;
use flate2::write::GzEncoder;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const UNPACKED: u64 = 160 << 20;

fn repeat(to: &mut impl Write, begin: &[u8], again: &[u8]) {
    to.write_all(begin).unwrap();
    let block = again.repeat((1 << 20) / again.len() + 1);
    let mut left = UNPACKED;
    while left > 0 {
        to.write_all(&block).unwrap();
        left = left.saturating_sub(block.len() as u64);
    }
}

fn gzip(folder: &Path, begin: &[u8], again: &[u8]) -> PathBuf {
    let path = folder.join("log.csv.gz");
    let mut packed =
        GzEncoder::new(io::BufWriter::new(fs::File::create(&path).unwrap()), Compression::fast());
    repeat(&mut packed, begin, again);
    packed.finish().unwrap().flush().unwrap();
    path
}

fn bounded<T>(what: &str, path: &Path, read: impl FnOnce(&Path) -> Result<T, Error>) -> Error {
    let length = fs::metadata(path).unwrap().len();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = read(path);
    let peak = (ALLOCATOR.peak_usage() - before) as u64;
    let limit = 20 * length + (64 << 20);
    assert!(peak <= limit, "{what}: {peak} bytes of memory for {length} of file, more than {limit}");
    match result {
        Ok(_) => panic!("{what} should not fit"),
        Err(error) => error,
    }
}

/// All in one test: two at once would count each other's memory.
#[test]
fn no_log_takes_more_than_a_multiple_of_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let reader = LogReader::csv().header(false);
    for (what, begin, again) in [
        ("rows", &b""[..], &b"1,1,1,1\n"[..]),
        ("a quote", b"\"", b"x"),
        ("a line", b"", b"x"),
        ("lines in a quote", b"\"", b"\n"),
        ("fields", b"", b","),
    ] {
        let path = gzip(dir.path(), begin, again);
        let error = bounded(what, &path, |path| reader.read::<u32, u32>(path));
        let named = matches!(error, Error::Io { .. } | Error::Memory { .. } | Error::NoRows { .. });
        assert!(named, "{what}: {error:?}");
    }
    // Ids that are all different, as text.
    let path = dir.path().join("ids.csv");
    let mut file = io::BufWriter::new(fs::File::create(&path).unwrap());
    (0..2_000_000).for_each(|i| writeln!(file, "{i:x},{i:x},1,1").unwrap());
    file.flush().unwrap();
    drop(file);
    let error = bounded("ids", &path, |path| reader.read::<String, String>(path));
    assert!(matches!(&error, Error::Memory { what, .. } if what.contains("memory_limit")), "{error}");
    let trusted = reader.clone().memory_limit(4 << 30).read::<String, String>(&path).unwrap();
    assert_eq!(trusted.0.len(), 2_000_000);
    #[cfg(feature = "zip")]
    archives(dir.path());
}

#[cfg(feature = "zip")]
fn archives(folder: &Path) {
    use cairn_recsys::read::movielens;
    let path = folder.join("ml.zip");
    for (name, begin, again) in [
        ("ratings.dat", &b""[..], &b"1::1::1::1\n"[..]),
        ("ratings.csv", b"\"", b"x"),
        ("u.data", b"", b"\t"),
    ] {
        let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        archive.start_file(format!("ml/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
        repeat(&mut archive, begin, again);
        archive.finish().unwrap();
        bounded(name, &path, |path| movielens::ratings(path));
    }
}
