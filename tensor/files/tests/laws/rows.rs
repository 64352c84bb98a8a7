//! Rows of text: what is written is read again, whatever is in the fields, and anything else is a row or an error.

use cairn_files::{Budget, RowFormat, Rows, read_limited};
use proptest::prelude::*;

type Read = (u64, Result<Vec<String>, &'static str>);

fn rows(text: &[u8], format: &RowFormat) -> Vec<Read> {
    let mut rows = Rows::new(text, format.clone());
    let mut all = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        all.push((row.line(), row.fields().map(|fields| fields.into_iter().map(str::to_owned).collect())));
    }
    all
}

fn fields(text: &str, format: &RowFormat) -> Vec<Vec<String>> {
    rows(text.as_bytes(), format).into_iter().map(|(_, fields)| fields.unwrap()).collect()
}

fn quoted(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}

proptest! {
    #[test]
    fn quoted_fields_come_back(
        table in prop::collection::vec(prop::collection::vec("[a-c\",;:\n \té]{0,6}", 1..5), 1..6),
        separator in prop::sample::select(vec![",", ";", "\t", "::", "|"]),
        end in prop::sample::select(vec!["\n", "\r\n"]),
    ) {
        let line = |row: &Vec<String>| row.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(separator) + end;
        let text: String = table.iter().map(line).collect();
        prop_assert_eq!(fields(&text, &RowFormat::separated_by(separator)), table);
    }

    #[test]
    fn plain_fields_are_what_is_between_separators(
        table in prop::collection::vec(prop::collection::vec("[a-z]{1,4}", 1..5), 1..6),
        separator in prop::sample::select(vec![",", ";", "\t", "::", "<>"]),
    ) {
        let text: String = table.iter().map(|row| row.join(separator) + "\n").collect();
        for quotes in [false, true] {
            let format = RowFormat { quotes, ..RowFormat::separated_by(separator) };
            prop_assert_eq!(&fields(&text, &format), &table);
        }
    }

    #[test]
    fn any_bytes_are_rows_or_errors(
        bytes in prop::collection::vec(prop_oneof![3 => Just(b'"'), 3 => Just(b','), 3 => Just(b'\n'), 2 => any::<u8>()], 0..80),
        separator in prop::sample::select(vec!["", ",", "::", " "]),
        latin1: bool,
    ) {
        let mut rows = Rows::new(&bytes[..], RowFormat { latin1, ..RowFormat::separated_by(separator) });
        let mut last = 0;
        while let Ok(Some(row)) = rows.next_row() {
            prop_assert!(row.line() > last);
            last = row.line();
            let _ = row.fields();
        }
    }
}

#[test]
fn the_last_line_may_have_no_end() {
    for (text, ended) in [("a,b", false), ("a,b\n", true), ("a,b\r\n", true), ("", true)] {
        let mut rows = Rows::new(text.as_bytes(), RowFormat::separated_by(","));
        while rows.next_row().unwrap().is_some() {}
        assert_eq!(rows.ended(), ended, "{text:?}");
    }
}

#[test]
fn empty_fields_and_quotes_within_fields_are_kept() {
    let csv = RowFormat::separated_by(",");
    assert_eq!(fields(",a,\n,,\n\"\",x\n", &csv), [vec!["", "a", ""], vec!["", "", ""], vec!["", "x"]]);
    assert_eq!(fields("5\" disk,\"a\"b\n", &csv), [["5\" disk", "ab"]]);
}

#[test]
fn comments_marks_and_encodings() {
    let format = RowFormat { comment: Some("#".to_owned()), latin1: true, ..RowFormat::separated_by(";") };
    let read = rows(b"\xef\xbb\xbf# x\ncaf\xe9;1\n#\n", &format);
    assert_eq!(read, [(2, Ok(vec!["café".to_owned(), "1".to_owned()]))]);
    assert_eq!(rows(b"a\xff,b\n", &RowFormat::separated_by(",")), [(1, Err("not UTF-8"))]);
    // Two halves of a character in two fields are none.
    assert_eq!(rows(b"\xc3,\xa9\n", &RowFormat::separated_by(",")), [(1, Err("not UTF-8"))]);
    assert!(Rows::new(&b"\xff\xfea\0"[..], RowFormat::separated_by(",")).next_row().is_err());
}

#[test]
fn a_budget_counts_down_and_says_what_was_exceeded() {
    let mut budget = Budget::of_length(1 << 20);
    let limit = budget.left();
    assert_eq!(limit, (20 << 20) + (56 << 20));
    budget.take(limit - 1).unwrap();
    assert_eq!((budget.left(), budget.taken()), (1, limit - 1));
    let error = budget.take(2).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
    assert!(budget.clone().limit(10 * limit).take(limit).is_ok());
    assert!(budget.take(1).is_ok() && budget.take(1).is_err());
    assert_eq!(read_limited(&b"abc"[..], 3).unwrap(), b"abc");
}
