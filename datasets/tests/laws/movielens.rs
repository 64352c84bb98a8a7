//! MovieLens files: rows round-trip, archives and folders read alike, and malformed rows are refused with their line.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use cairn_datasets::movielens::{self, Item, Rating};
use cairn_datasets::{DataDir, Error, registry};
use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Two invented films, the second with a letter outside ASCII in ISO-8859-1.
const ITEMS: &[u8] =
    b"1|The Long Way (1990)|01-Feb-1990||http://x/?1|0|1|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0\n\
    2|Caf\xe9 (1991)|||http://x/?2|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n";
const RATINGS: &[u8] = b"7\t1\t5\t880000000\n7\t2\t3\t880000001\n9\t2\t1\t880000002\n";

fn parse_ratings(text: &[u8]) -> Result<Vec<Rating>, Error> {
    movielens::parse_ratings(text, Path::new("u.data"))
}

fn parse_items(text: &[u8]) -> Result<Vec<Item>, Error> {
    movielens::parse_items(text, Path::new("u.item"))
}

fn folder(root: &Path, ratings: &[u8], items: &[u8]) {
    let folder = root.join("movielens/ml-100k");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("u.data"), ratings).unwrap();
    fs::write(folder.join("u.item"), items).unwrap();
}

fn archive(root: &Path, members: &[(&str, &[u8])]) {
    fs::create_dir_all(root.join("movielens")).unwrap();
    let mut zip = ZipWriter::new(File::create(root.join("movielens/ml-100k.zip")).unwrap());
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn folder_and_archive_read_alike() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    folder(a.path(), RATINGS, ITEMS);
    archive(b.path(), &[("ml-100k/u.data", RATINGS), ("ml-100k/u.item", ITEMS)]);
    let [a, b] = [a, b].map(|dir| movielens::load_100k(&DataDir::new(dir.path()).offline()).unwrap());
    assert_eq!(a, b);
    assert_eq!(a.ratings[1], Rating { user: 7, item: 2, value: 3.0, timestamp: 880_000_001 });
    assert_eq!(a.iter().last(), Some((9, 2, 1.0, 880_000_002)));
    assert_eq!(a.clone().into_iter().collect::<Vec<_>>(), a.iter().collect::<Vec<_>>());

    let (first, second) = (a.item(1).unwrap(), a.item(2).unwrap());
    assert_eq!((first.title.as_str(), first.year()), ("The Long Way (1990)", Some(1990)));
    assert_eq!(first.genres().collect::<Vec<_>>(), ["Action", "Drama"]);
    assert_eq!((second.title.as_str(), second.year()), ("Café (1991)", None));
    assert_eq!(a.item(3), None);
    assert_eq!(a.item(0), None);
}

#[test]
fn lines_may_end_as_on_windows_and_the_last_without_an_end() {
    let rows = parse_ratings(b"1\t2\t3\t4\r\n5\t6\t1\t8").unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1], Rating { user: 5, item: 6, value: 1.0, timestamp: 8 });
}

#[test]
fn malformed_ratings_are_named_by_line() {
    for (row, what) in [
        ("", "user"),
        ("7\t1\t5", "the time is missing"),
        ("7\t1\t5\t880000000\t1", "more than four"),
        ("7,1,5,880000000", "user"),
        ("0\t1\t5\t880000000", "user 0"),
        ("7\t0\t5\t880000000", "item 0"),
        ("-7\t1\t5\t880000000", "user"),
        ("7\t99999999999\t5\t880000000", "item"),
        ("7\t1\t6\t880000000", "rating 6"),
        ("7\t1\tNaN\t880000000", "rating NaN"),
        ("7\t1\tx\t880000000", "rating `x`"),
        ("7\t1\t5\tnow", "time `now`"),
        ("7\t1\t5\t1.5", "time `1.5`"),
    ] {
        let text = format!("7\t1\t5\t880000000\n{row}\n7\t2\t3\t880000001\n");
        match parse_ratings(text.as_bytes()).unwrap_err() {
            Error::Format { path, line: Some(2), message } => {
                assert_eq!(path, Path::new("u.data"));
                assert!(message.contains(what), "{row:?}: {message}");
            }
            other => panic!("{row:?}: {other}"),
        }
    }
    assert!(parse_ratings(b"7\t1\t5\t\xff\n").unwrap_err().to_string().contains("u.data, line 1: not UTF-8"));
}

#[test]
fn malformed_items_are_named_by_line() {
    let good = "1|A|||u|0|1|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0";
    for (row, what) in [
        ("", "1 columns"),
        ("2|B|||u|0|1", "7 columns"),
        ("2|B|||u|0|1|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0", "25 columns"),
        ("2|B|||u|0|1|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|2", "genre column `2`"),
        ("x|B|||u|0|1|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0", "item `x`"),
        ("2||||u|0|1|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0", "title"),
        (good, "second time"),
    ] {
        let text = format!("{good}\n{row}\n{}\n", good.replacen('1', "3", 1));
        match parse_items(text.as_bytes()).unwrap_err() {
            Error::Format { line: Some(2), message, .. } => {
                assert!(message.contains(what), "{row:?}: {message}");
            }
            other => panic!("{row:?}: {other}"),
        }
    }
}

#[test]
fn empty_files_are_errors() {
    assert!(matches!(parse_ratings(b""), Err(Error::Empty { .. })));
    assert!(matches!(parse_items(b""), Err(Error::Empty { .. })));
}

#[test]
fn a_rating_of_an_unlisted_film_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path(), b"7\t1\t5\t1\n7\t3\t5\t1\n", ITEMS);
    let error = movielens::load_100k(&DataDir::new(dir.path()).offline()).unwrap_err();
    assert!(matches!(&error, Error::Format { line: Some(2), .. }), "{error}");
    assert!(error.to_string().contains("item 3 is not in"), "{error}");
}

#[test]
fn damaged_archives_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::new(dir.path()).offline();
    archive(dir.path(), &[("ml-100k/u.data", RATINGS)]);
    let error = movielens::load_100k(&data).unwrap_err();
    assert!(error.to_string().contains("u.item"), "{error}");

    archive(dir.path(), &[("ml-100k/u.data", RATINGS), ("ml-100k/u.item", ITEMS)]);
    let path = dir.path().join("movielens/ml-100k.zip");
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = movielens::load_100k(&data).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "cut at {cut}: {error}");
    }
}

/// The larger sets: their folder where there is one, their archive where that is there as well, and where to look if not.
#[test]
fn larger_sets_are_located() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::new(dir.path()).offline();
    for (set, name, ratings) in [
        (&registry::MOVIELENS_1M, "ml-1m", "ratings.dat"),
        (&registry::MOVIELENS_20M, "ml-20m", "ratings.csv"),
        (&registry::MOVIELENS_25M, "ml-25m", "ratings.csv"),
    ] {
        let error = movielens::locate(&data, set).unwrap_err();
        assert!(matches!(&error, Error::Missing { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("{name}.zip")) && text.contains(&format!("{name}/{ratings}")),
            "{text}"
        );

        let folder = dir.path().join("movielens").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(ratings), "").unwrap();
        assert_eq!(movielens::locate(&data, set).unwrap(), folder);

        let archive = dir.path().join("movielens").join(format!("{name}.zip"));
        fs::write(&archive, "").unwrap();
        assert_eq!(movielens::locate(&data, set).unwrap(), archive);
    }
    fs::create_dir(dir.path().join("mnist")).unwrap();
    for file in registry::MNIST.files {
        fs::write(dir.path().join(file.path), "").unwrap();
    }
    let several = movielens::locate(&data, &registry::MNIST).unwrap_err();
    assert!(matches!(several, Error::Argument { .. }), "{several}");
}

proptest! {
    #[test]
    fn ratings_round_trip(rows in prop::collection::vec((1u32.., 1u32.., 1u8..=5, any::<i64>()), 1..50)) {
        let text: String = rows.iter().map(|(u, i, r, t)| format!("{u}\t{i}\t{r}\t{t}\n")).collect();
        let read = parse_ratings(text.as_bytes()).unwrap();
        let expected: Vec<Rating> = rows.iter().map(|&(user, item, value, timestamp)| Rating { user, item, value: f32::from(value), timestamp }).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn mutated_bytes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for (text, is_rating) in [(RATINGS, true), (ITEMS, false)] {
            let mut bad = text.to_vec();
            let at = at.index(bad.len());
            bad[at] = byte;
            if is_rating {
                if let Ok(rows) = parse_ratings(&bad) {
                    prop_assert!(rows.iter().all(|r| (1.0..=5.0).contains(&r.value) && r.user > 0 && r.item > 0));
                }
            } else {
                let _ = parse_items(&bad);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(rows) = parse_ratings(&bytes) {
            prop_assert!(rows.iter().all(|r| (1.0..=5.0).contains(&r.value) && r.user > 0 && r.item > 0));
        }
        let _ = parse_items(&bytes);
    }
}
