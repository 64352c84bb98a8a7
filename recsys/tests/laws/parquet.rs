//! Logs from Parquet files, as pyarrow writes them (`tests/golden/parquet.py`), and damaged ones.

use std::fs;
use std::path::PathBuf;

use cairn_recsys::Error;
use cairn_recsys::features::FeatureRow;
use cairn_recsys::read::{FeatureReader, LogReader};
use proptest::prelude::*;

fn golden(codec: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/log_{codec}.parquet"))
}

fn reader() -> LogReader {
    LogReader::csv().columns("user", "item").value("stars").time("when")
}

#[test]
fn every_codec_reads_alike_and_rows_that_do_not_read_are_reported() {
    for codec in ["none", "snappy", "zstd", "gzip", "lz4", "brotli"] {
        for time in ["when", "seconds"] {
            let (log, report) = reader().time(time).read_parquet::<u32, String>(golden(codec)).unwrap();
            let rows: Vec<_> = log.ratings().map(|r| (r.user, r.item, r.value, r.timestamp)).collect();
            let expected = [(1, "tea", 4.0, 100), (2, "tea", 3.5, 99), (1, "müsli", 5.0, 102)];
            assert_eq!(rows, expected.map(|(u, i, v, t)| (u, i.to_owned(), v, t)), "{codec}");
            let rejected: Vec<_> = report.rejected().iter().map(|r| (r.line, r.reason.as_str())).collect();
            assert_eq!(rejected, [(3, "the user is missing"), (5, "value NaN is not finite")], "{codec}");
        }
    }
}

#[test]
fn columns_by_position() {
    let reader = LogReader::csv().columns(1, 2).value(3).time(4);
    let (log, report) = reader.read_parquet::<u32, String>(golden("snappy")).unwrap();
    assert_eq!((log.len(), report.rejections()), (3, 2));
}

#[test]
fn what_is_not_there_is_named() {
    let error = reader().value("points").read_parquet::<u32, String>(golden("zstd")).unwrap_err();
    assert!(error.to_string().contains("points"), "{error}");
    let error = reader().read_parquet::<u32, String>(golden("none").with_extension("py")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let script = golden("none").with_file_name("parquet.py");
    let error = reader().read_parquet::<u32, String>(script).unwrap_err().to_string();
    assert!(error.contains("parquet.py"), "{error}");
}

#[test]
fn tables_of_features_read_with_lists_dates_and_what_is_missing() {
    let reader = FeatureReader::csv("title").number("user").category("item").date("when");
    let reader = reader.categories("nested", "|");
    for codec in ["none", "zstd", "lz4"] {
        let table = reader.read_parquet::<String>(golden(codec)).unwrap();
        let ids: Vec<&str> = table.rows().iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c", "d", "e"], "{codec}");
        let row = |item: &str, when: f64| FeatureRow::new().category("item", item).number("when", when);
        assert_eq!(table.rows()[1].1, row("tea", 99.0).number("user", 2.0).categories("nested", ["2", "3"]));
        assert_eq!(table.rows()[2].1, row("milk", 98.0), "neither a user nor anything in the list");
        assert_eq!(table.rows()[3].1, row("müsli", 102.0).number("user", 1.0), "no list at all");
    }
    let by_place =
        FeatureReader::separated_by(",", 0).number(4).read_parquet::<String>(golden("none")).unwrap();
    assert_eq!(by_place.rows()[0].1, FeatureRow::new().number("column 4", 100.0));
    let fails = |reader: FeatureReader| reader.read_parquet::<String>(golden("none")).unwrap_err();
    let of_another_type = fails(FeatureReader::csv("title").number("item"));
    assert!(matches!(of_another_type, Error::InvalidRow { line: 1, .. }), "{of_another_type}");
    assert!(matches!(
        fails(FeatureReader::csv("title").number("price")),
        Error::Parameter { name: "column", .. }
    ));
    assert!(matches!(fails(FeatureReader::csv("item").number("seconds")), Error::DuplicateId { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_file_is_an_error_or_reads(
        codec in prop::sample::select(vec!["none", "snappy", "zstd"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = fs::read(golden(codec)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        if let Ok((log, _)) = reader().read_parquet::<u32, String>(file.path()) {
            prop_assert!(log.len() <= 1000);
        }
    }
}
