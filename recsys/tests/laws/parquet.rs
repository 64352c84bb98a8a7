//! Logs from Parquet files, as pyarrow writes them (`tests/golden/parquet.py`), and damaged ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_recsys::Error;
use cairn_recsys::features::FeatureRow;
use cairn_recsys::read::{FeatureReader, LogReader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
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

#[test]
fn tables_of_events_read_by_user_and_time() {
    let reader = FeatureReader::csv("title").category("item");
    for time in ["when", "seconds"] {
        let table = reader.clone().events(time).read_parquet::<String>(golden("zstd")).unwrap();
        let rows: Vec<_> = table.rows().iter().map(|((user, time), _)| (user.as_str(), *time)).collect();
        assert_eq!(rows, [("a", 100), ("b", 99), ("c", 98), ("d", 102), ("e", 103)], "{time}");
        assert_eq!(table.rows()[2].1, FeatureRow::new().category("item", "milk"));
    }
    let by_place = FeatureReader::separated_by(",", 0).number(4).events(4);
    let table = by_place.read_parquet::<String>(golden("none")).unwrap();
    assert_eq!(table.rows()[0], (("a".to_owned(), 100), FeatureRow::new().number("column 4", 100.0)));
    let nobody = FeatureReader::csv("user").category("item").events("when");
    let error = nobody.read_parquet::<u32>(golden("none")).unwrap_err();
    assert!(matches!(error, Error::InvalidRow { line: 3, .. }), "{error}");
}

/// A file of films with their genres: a list, or none.
fn films(path: &Path, films: &[(&str, &[&str])]) {
    let schema = "message films {
        required binary film (UTF8);
        optional group genres (LIST) { repeated group list { optional binary element (UTF8); } }
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let names: Vec<ByteArray> = films.iter().map(|(film, _)| ByteArray::from(*film)).collect();
    column.typed::<ByteArrayType>().write_batch(&names[..], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for (_, genres) in films {
        if genres.is_empty() {
            definitions.push(0);
            repetitions.push(0);
        }
        for (at, genre) in genres.iter().enumerate() {
            values.push(ByteArray::from(*genre));
            definitions.push(3);
            repetitions.push(i16::from(at > 0));
        }
    }
    let lists = column.typed::<ByteArrayType>();
    lists.write_batch(&values[..], Some(&definitions), Some(&repetitions)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn elements_of_lists_are_categories_as_they_are_whatever_the_separator() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("films.parquet");
    films(&path, &[("x", &["Rock|Pop", "3,5"]), ("y", &[]), ("z", &["Jazz"])]);
    for separator in ["|", ",", ";", "z"] {
        let reader = FeatureReader::csv("film").categories("genres", separator);
        let table = reader.read_parquet::<String>(&path).unwrap();
        let genres = |genres: &[&str]| FeatureRow::new().categories("genres", genres.iter().copied());
        assert_eq!(table.rows()[0].1, genres(&["Rock|Pop", "3,5"]), "{separator}");
        assert_eq!(table.rows()[1].1, FeatureRow::new());
        assert_eq!(table.rows()[2].1, genres(&["Jazz"]), "{separator}");
    }
    let one = FeatureReader::csv("film").category("genres");
    let error = one.read_parquet::<String>(&path).unwrap_err();
    assert!(matches!(error, Error::InvalidRow { line: 1, .. }), "{error}");
    assert!(error.to_string().contains("`genres` is a list of 2 values; `categories`"), "{error}");
    films(&path, &[("x", &["Rock|Pop"])]);
    let table = one.read_parquet::<String>(&path).unwrap();
    assert_eq!(table.rows()[0].1, FeatureRow::new().category("genres", "Rock|Pop"));
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
