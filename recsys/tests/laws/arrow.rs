//! Logs and tables of features from Arrow record batches.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, DictionaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
    UInt8Array,
};
use cairn_recsys::features::FeatureRow;
use cairn_recsys::read::{FeatureReader, LogReader};
use cairn_recsys::{Error, Rating};

fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn batch(columns: impl IntoIterator<Item = (&'static str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn reader() -> LogReader {
    LogReader::csv().columns("user", "item").value("stars").time("when")
}

#[test]
fn a_log_of_several_batches_is_one_whatever_holds_its_columns() {
    let items = [
        array(StringArray::from(vec!["tea", "müsli"])),
        array(LargeStringArray::from(vec!["tea", "müsli"])),
        array(StringViewArray::from(vec!["tea", "müsli"])),
        array(["tea", "müsli"].into_iter().collect::<DictionaryArray<Int8Type>>()),
    ];
    let users = [
        array(Int64Array::from(vec![7, 8])),
        array(UInt8Array::from(vec![7, 8])),
        array(Int32Array::from(vec![7, 8])),
    ];
    let stars = [array(Float32Array::from(vec![4.5, 2.0])), array(Float64Array::from(vec![4.5, 2.0]))];
    let times = [
        array(Int64Array::from(vec![100, -1])),
        array(TimestampSecondArray::from(vec![100, -1])),
        array(TimestampMillisecondArray::from(vec![100_999, -1])),
        array(TimestampMicrosecondArray::from(vec![100_000_000, -1])),
        array(TimestampNanosecondArray::from(vec![100_000_000_000, -1])),
    ];
    let expected = [Rating::new(7, "tea".to_owned(), 4.5, 100), Rating::new(8, "müsli".to_owned(), 2.0, -1)];
    for n in 0..60 {
        let whole = batch([
            ("unread", array(BinaryArray::from_vec(vec![b"x", b"y"]))),
            ("user", users[n % 3].clone()),
            ("item", items[n % 4].clone()),
            ("stars", stars[n % 2].clone()),
            ("when", times[n % 5].clone()),
        ]);
        let parts = [whole.slice(0, 1), whole.slice(1, 1)];
        let (log, report) = reader().read_batches::<u32, String>(parts).unwrap();
        assert_eq!(log.ratings().collect::<Vec<_>>(), expected, "{n}");
        assert_eq!(report.rejections(), 0);
    }
}

#[test]
fn rows_that_do_not_read_are_reported_by_their_number_over_all_batches() {
    let part = |users: Vec<Option<i64>>, stars: Vec<f64>| {
        let n = users.len() as i64;
        batch([
            ("user", array(Int64Array::from(users))),
            ("item", array(Int64Array::from((0..n).collect::<Vec<_>>()))),
            ("stars", array(Float64Array::from(stars))),
        ])
    };
    let parts = [part(vec![Some(1), None], vec![1.0, 2.0]), part(vec![Some(2)], vec![f64::NAN])];
    let (log, report) = reader().without_time().read_batches::<u32, u32>(parts).unwrap();
    assert_eq!(log.len(), 1);
    let rejected: Vec<_> = report.rejected().iter().map(|row| (row.line, row.reason.as_str())).collect();
    assert_eq!(rejected, [(2, "the user is missing"), (3, "value NaN is not finite")]);
}

#[test]
fn features_may_be_lists_dictionaries_dates_and_missing() {
    let genres =
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(3), Some(5)]), None, Some(vec![])]);
    let studio: DictionaryArray<Int8Type> = [Some("b"), None, Some("a")].into_iter().collect();
    let whole = batch([
        ("film", array(StringArray::from(vec!["x", "y", "z"]))),
        ("genres", array(genres)),
        ("studio", array(studio)),
        ("seen", array(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("day", array(Date32Array::from(vec![Some(2), None, Some(-1)]))),
    ]);
    let reader =
        FeatureReader::csv("film").categories("genres", "|").category("studio").category("seen").date("day");
    let table = reader.read_batches::<String>([whole.slice(0, 1), whole.slice(1, 2)]).unwrap();
    let row = |n: usize| (table.rows()[n].0.as_str(), table.rows()[n].1.clone());
    let whole =
        FeatureRow::new().categories("genres", ["3", "5"]).category("studio", "b").category("seen", "true");
    assert_eq!(row(0), ("x", whole.number("day", 172_800.0)));
    assert_eq!(row(1), ("y", FeatureRow::new().category("seen", "false")));
    let last = FeatureRow::new().category("studio", "a").number("day", -86_400.0);
    assert_eq!((row(2).0, row(2).1.get("studio")), ("z", last.get("studio")));
}

fn lists<'a>(rows: impl IntoIterator<Item = Option<&'a [&'a str]>>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in rows {
        row.into_iter().flatten().for_each(|text| builder.values().append_value(text));
        builder.append(row.is_some());
    }
    array(builder.finish())
}

#[test]
fn elements_of_lists_are_categories_as_they_are_whatever_the_separator() {
    let genres = lists([Some(&["Rock|Pop", " 3,5 "][..]), None, Some(&["Jazz"][..]), Some(&["NA", ""][..])]);
    let whole =
        batch([("film", array(StringArray::from(vec!["w", "x", "y", "z"]))), ("genres", genres.clone())]);
    for separator in ["|", ",", ";"] {
        let reader = FeatureReader::csv("film").categories("genres", separator).missing(["NA"]);
        let table = reader.read_batches::<String>([whole.clone()]).unwrap();
        let genres = |genres: &[&str]| FeatureRow::new().categories("genres", genres.iter().copied());
        assert_eq!(table.rows()[0].1, genres(&["Rock|Pop", "3,5"]), "{separator}");
        assert_eq!(table.rows()[1].1, FeatureRow::new());
        assert_eq!(table.rows()[2].1, genres(&["Jazz"]));
        assert_eq!(table.rows()[3].1, FeatureRow::new(), "nothing but what is missing");
    }
    let one = FeatureReader::csv("film").category("genres");
    let error = one.read_batches::<String>([whole.clone()]).unwrap_err();
    assert!(matches!(error, Error::InvalidRow { line: 1, .. }), "{error}");
    assert!(error.to_string().contains("`genres` is a list of 2 values; `categories`"), "{error}");
    let table = one.read_batches::<String>([whole.slice(1, 2)]).unwrap();
    assert_eq!(table.rows()[1].1, FeatureRow::new().category("genres", "Jazz"));
    // A list of one number is that number.
    let years = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1990)]), Some(vec![None])]);
    let films = array(StringArray::from(vec!["x", "y"]));
    let whole = batch([("film", films), ("year", array(years))]);
    let table = FeatureReader::csv("film").number("year").read_batches::<String>([whole]).unwrap();
    assert_eq!(table.rows()[0].1, FeatureRow::new().number("year", 1990.0));
    assert_eq!(table.rows()[1].1, FeatureRow::new());
}

#[test]
fn tables_of_events_are_read_by_user_and_time_whatever_holds_them() {
    let reader = FeatureReader::csv("user").category("device").events("when");
    for when in [array(Int64Array::from(vec![8, 20, 8])), array(TimestampSecondArray::from(vec![8, 20, 8]))] {
        let whole = batch([
            ("item", array(Int64Array::from(vec![1, 2, 3]))),
            ("device", array(StringArray::from(vec!["phone", "tv", "phone"]))),
            ("user", array(Int64Array::from(vec![7, 7, 7]))),
            ("when", when),
        ]);
        let table = reader.read_batches::<u32>([whole.slice(0, 2), whole.slice(2, 1)]).unwrap();
        let device = |name: &str| FeatureRow::new().category("device", name);
        assert_eq!(table.rows(), [((7, 8), device("phone")), ((7, 20), device("tv"))]);
        let other = FeatureReader::csv("user").number("item").events("when");
        let error = other.read_batches::<u32>([whole]).unwrap_err();
        assert!(error.to_string().contains("(7, 8) (the record batches, lines 1 and 3)"), "{error}");
    }
}

#[test]
fn what_is_not_there_or_of_no_use_is_named() {
    let (numbers, bytes) = (array(Int64Array::from(vec![1])), array(BinaryArray::from_vec(vec![b"x"])));
    let good = batch([("user", numbers.clone()), ("item", numbers.clone())]);
    let reader = LogReader::csv().columns("user", "item").without_value().without_time();
    let error = reader.clone().value("points").read_batches::<u32, u32>([good.clone()]).unwrap_err();
    assert!(error.to_string().contains("points"), "{error}");
    let error =
        reader.read_batches::<u32, u32>([batch([("user", numbers.clone()), ("item", bytes)])]).unwrap_err();
    assert!(error.to_string().contains("item of type Binary"), "{error}");
    let other = batch([("user", numbers.clone()), ("thing", numbers)]);
    let error = reader.read_batches::<u32, u32>([good.clone(), other]).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    assert!(matches!(reader.read_batches::<u32, u32>([]).unwrap_err(), Error::Empty { .. }));
    assert!(matches!(reader.read_batches::<u32, u32>([good.slice(0, 0)]).unwrap_err(), Error::Empty { .. }));
}
