//! Tables: types found, gaps, errors with their lines, and what a preparation learns and keeps.

use cairn_datasets::table::{Column, ColumnType, Preparation, Scaling, Table, TableReader};
use cairn_datasets::{Error, Result};
use proptest::prelude::*;

fn csv(text: &str) -> Result<Table> {
    TableReader::csv().from_reader(text.as_bytes())
}

fn texts(values: &[Option<&str>]) -> Column {
    Column::Texts(values.iter().map(|value| value.map(Into::into)).collect())
}

#[test]
fn types_are_found_from_all_values() {
    let table = csv(
        "a,b,c,d,e,f,g\n1,x,2024-01-01,01067,1,,12345678901234567\n-2.5e1, y ,2024/01/02 10:00,2,word,NA,1\n",
    )
    .unwrap();
    assert_eq!(table.column("a").unwrap(), &Column::Numbers(vec![Some(1.0), Some(-25.0)]));
    assert_eq!(table.column("b").unwrap(), &texts(&[Some("x"), Some("y")]));
    assert_eq!(table.column("c").unwrap(), &Column::Dates(vec![Some(1_704_067_200), Some(1_704_189_600)]));
    assert_eq!(
        table.column("d").unwrap(),
        &texts(&[Some("01067"), Some("2")]),
        "a zero in front is part of a name"
    );
    assert_eq!(table.column("e").unwrap(), &texts(&[Some("1"), Some("word")]), "the last row counts too");
    assert_eq!(table.column("f").unwrap(), &Column::Numbers(vec![None, None]));
    assert_eq!(
        table.column("g").unwrap(),
        &texts(&[Some("12345678901234567"), Some("1")]),
        "f64 would round it"
    );
}

#[test]
fn infinity_and_not_a_number_are_no_numbers() {
    assert_eq!(csv("a\ninf\n1\n").unwrap().column("a").unwrap(), &texts(&[Some("inf"), Some("1")]));
    assert_eq!(csv("a\n1e999\n").unwrap().column("a").unwrap(), &texts(&[Some("1e999")]));
    assert_eq!(csv("a\nnan\n1\n").unwrap().column("a").unwrap(), &Column::Numbers(vec![None, Some(1.0)]));
}

#[test]
fn faults_are_named_with_their_line() {
    let message = |result: Result<Table>| result.unwrap_err().to_string();
    assert_eq!(message(csv("a,b\n1,2\n3\n")), "the table, line 3: 1 fields, where there are 2 columns");
    assert_eq!(message(csv("a,a\n1,2\n")), "the table, line 1: there are two columns `a`");
    let dated =
        TableReader::csv().column("a", ColumnType::Dates).from_reader(&b"a\n2024-01-01\n\nsoon\n"[..]);
    assert_eq!(message(dated), "the table, line 4: column `a`: `soon` is not a date like `2005-04-02 23:53`");
    let unknown = TableReader::csv().column("b", ColumnType::Texts).from_reader(&b"a\n1\n"[..]);
    assert_eq!(message(unknown), "TableReader::column: there is no column `b`, but a");
    for empty in ["", "a,b\n", "\n\n"] {
        assert!(matches!(csv(empty), Err(Error::Empty { .. })), "{empty:?}");
    }
    assert_eq!(
        message(csv("a,b\n1,2\n").and_then(|table| table.rows(&[1]))),
        "sample 1 is out of range for a data set of 1"
    );
}

#[test]
fn a_file_without_a_header_has_numbered_columns() {
    let table = TableReader::separated_by(" ")
        .header(false)
        .from_reader(&b"  5.1   3.5 setosa\n4.9 3.0\tvirginica\n"[..])
        .unwrap();
    assert_eq!(table.names().collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(
        (table.len(), table.classes("2").unwrap()),
        (2, vec!["setosa".to_owned(), "virginica".to_owned()])
    );
}

#[test]
fn targets_and_labels_are_never_invented() {
    let table = csv("y,c\n1,a\n,b\n").unwrap();
    assert_eq!(table.targets("y").unwrap_err().to_string(), "Table: row 1 of column `y` is missing");
    assert_eq!(table.targets("c").unwrap_err().to_string(), "Table: column `c` holds texts, not numbers");
    let labels = table.labels("c", &["a".to_owned()]);
    assert_eq!(labels.unwrap_err().to_string(), "Table: row 1 of column `c`: the class `b` is not known");
    assert_eq!(csv("c\n10\n9\n10\n").unwrap().classes("c").unwrap(), ["9", "10"], "numbers in their order");
}

/// Values by hand: the mean of 1, 2, 6 is 3, its standard deviation √(14/3).
#[test]
fn numbers_are_scaled_by_the_rows_to_train_on() {
    let (train, test) = (csv("x\n1\n2\n\n6\n").unwrap(), csv("x\n3\nNA\n10\n").unwrap());
    let fit = |scaling| Preparation::builder().numbers(["x"]).scaling(scaling).fit(&train).unwrap();
    let at = |scaling| fit(scaling).transform(&test).unwrap().to_vec();
    let scaled = (7.0 / (14.0f64 / 3.0).sqrt()) as f32;
    assert_eq!(at(Scaling::Standard), [0.0, 0.0, scaled]);
    assert_eq!(at(Scaling::MinMax), [0.4, 0.4, 1.8]);
    assert_eq!(at(Scaling::None), [3.0, 3.0, 10.0]);
    let noted = Preparation::builder().numbers(["x"]).indicators(true).fit(&train).unwrap();
    assert_eq!(noted.names(), ["x", "x missing"]);
    assert_eq!(noted.transform(&test).unwrap().to_vec()[1..4], [0.0, 0.0, 1.0]);
}

#[test]
fn equal_numbers_become_zeros() {
    let rows: String = std::iter::repeat_n("0.1\n", 49).collect();
    let table = csv(&format!("x\n{rows}")).unwrap();
    let x = Preparation::builder().numbers(["x"]).fit(&table).unwrap().transform(&table).unwrap();
    assert!(x.to_vec().iter().all(|x| x.abs() < 1e-6), "{x}");
}

#[test]
fn unknown_rare_and_missing_categories_share_a_place() {
    let train = csv("c,k\na,7\na,7\nb,8\nb,7\nrare,9\n").unwrap();
    let test = csv("c,k\nb,9\nnew,7\n,10\nrare,\n").unwrap();
    let preparation = Preparation::builder().categories(["c"]).codes(["k"]).min_count(2).fit(&train).unwrap();
    assert_eq!(preparation.names(), ["c=a", "c=b", "c unknown"]);
    let unknown = [0.0, 0.0, 1.0];
    assert_eq!(
        preparation.transform(&test).unwrap().to_vec(),
        [[0.0, 1.0, 0.0], unknown, unknown, unknown].concat()
    );
    assert_eq!(
        (preparation.codes(&test).unwrap().to_vec(), preparation.code_counts()),
        (vec![0, 1, 0, 0], vec![2])
    );
}

/// 1970-01-01 was a Thursday at the beginning of all cycles; seven days later the week is back where it was.
#[test]
fn dates_go_on_and_come_back() {
    let table = csv("d\n1970-01-01\n1970-01-08\n1970-01-04 12:00\n\n1970-01-01 06:00\nNA\n").unwrap();
    let preparation = Preparation::builder().dates(["d"]).scaling(Scaling::None).fit(&table).unwrap();
    let names = preparation.names();
    assert_eq!(names[..3], ["d", "d year sin", "d year cos"]);
    let x = preparation.transform(&table).unwrap().to_vec();
    let row = |i: usize| &x[i * names.len()..][..names.len()];
    assert_eq!(row(0), [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!((row(1)[0], row(1)[3], row(1)[4]), (7.0, 0.0, 1.0));
    assert!((row(2)[4] + 1.0).abs() < 1e-6, "half a week");
    assert!((row(3)[5] - 1.0).abs() < 1e-6, "a quarter of a day");
    assert_eq!(row(4)[1..], [0.0; 6]);
}

#[test]
fn a_preparation_is_kept_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.prep");
    let table = csv("x,c,d\n1,a,2024-01-01\n2,b,2024-02-01\n").unwrap();
    let preparation =
        Preparation::builder().numbers(["x"]).categories(["c"]).dates(["d"]).fit(&table).unwrap();
    preparation.save(&path).unwrap();
    let loaded = Preparation::load(&path).unwrap();
    assert_eq!(loaded, preparation);
    assert_eq!(loaded.transform(&table).unwrap().to_vec(), preparation.transform(&table).unwrap().to_vec());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(Preparation::load(&path), Err(Error::Format { .. })));
}

#[test]
fn what_cannot_be_learnt_is_refused() {
    let table = csv("x,c,e,d\n1,a,,2024-01-01\n1e300,b,,2024-02-01\n-1e300,a,,2024-02-01\n").unwrap();
    let message =
        |builder: cairn_datasets::table::PreparationBuilder| builder.fit(&table).unwrap_err().to_string();
    let new = Preparation::builder;
    assert_eq!(message(new()), "Preparation: no columns were named");
    assert_eq!(message(new().numbers(["c"])), "Table: column `c` holds texts, not numbers");
    assert_eq!(message(new().categories(["d"])), "Table: column `d` holds dates, not texts or numbers");
    assert_eq!(message(new().numbers(["e"])), "Preparation: column `e` has no value to learn from");
    assert_eq!(message(new().numbers(["q"])), "Table: there is no column `q`, but x, c, e, d");
    assert_eq!(message(new().numbers(["x"])), "Preparation: column `x`: the numbers are too large");
    let raw = new().numbers(["x"]).scaling(Scaling::None).fit(&table).unwrap();
    let why = raw.transform(&table).unwrap_err().to_string();
    assert_eq!(why, "Preparation::transform: row 1 of `x` is beyond what f32 holds");
    let codes = new().codes(["c"]).fit(&table).unwrap();
    assert!(codes.transform(&table).unwrap_err().to_string().contains("codes"));
    assert!(raw.codes(&table).is_err());
    assert!(
        table.split(0.0, 0).is_err() && table.split(f64::NAN, 0).is_err() && table.split(1.0, 0).is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What was written as CSV is read as it was.
    #[test]
    fn numbers_come_back(values in prop::collection::vec(prop::option::of(-1e12f64..1e12), 1..30)) {
        let lines: String = values.iter().map(|v| v.map_or("NA".to_owned(), |v| v.to_string()) + "\n").collect();
        let table = csv(&format!("x\n{lines}")).unwrap();
        prop_assert_eq!(table.column("x").unwrap(), &Column::Numbers(values));
    }

    /// Standardised rows have mean 0 and variance 1, or are 0 where all are equal.
    #[test]
    fn the_rows_to_train_on_are_standardised(values in prop::collection::vec(-1e6f64..1e6, 1..40)) {
        let numbers = Column::Numbers(values.iter().copied().map(Some).collect());
        let table = Table::new([("x", numbers)]).unwrap();
        let x = Preparation::builder().numbers(["x"]).fit(&table).unwrap().transform(&table).unwrap().to_vec();
        let n = x.len() as f64;
        let mean: f64 = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance: f64 = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        prop_assert!(mean.abs() < 1e-5, "mean {}", mean);
        let spread = values.iter().any(|value| *value != values[0]);
        prop_assert!((variance - f64::from(u8::from(spread))).abs() < 1e-4, "variance {}", variance);
    }

    /// A split parts the rows: each is in one of the two, once.
    #[test]
    fn a_split_keeps_every_row(rows in 2usize..40, seed in 0u64..9) {
        let numbers = Column::Numbers((0..rows).map(|i| Some(i as f64)).collect());
        let (train, test) = Table::new([("x", numbers)]).unwrap().split(0.5, seed).unwrap();
        let mut all = [train.targets("x").unwrap().to_vec(), test.targets("x").unwrap().to_vec()].concat();
        all.sort_by(f32::total_cmp);
        prop_assert_eq!(all, (0..rows).map(|i| i as f32).collect::<Vec<_>>());
    }
}
