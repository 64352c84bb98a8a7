//! The examples that people start from, on small generated data: they are modules of this program, so that they compile with it.

// `main`, which takes the command line, is of the examples alone.
#[path = "../../examples/describe_log.rs"]
#[allow(dead_code)]
mod describe_log;
#[cfg(feature = "neural")]
#[path = "../../examples/shop.rs"]
#[allow(dead_code)]
mod shop;

use std::fs;

#[test]
fn a_log_is_described_generated_or_from_a_file() {
    describe_log::run(None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    let rows = (0..60).map(|n| format!("u{},i{},1,{}\n", n % 7, n % 11, n));
    fs::write(&path, format!("user,item,value,time\n{}", rows.collect::<String>())).unwrap();
    describe_log::run(Some(&path)).unwrap();
    assert!(describe_log::run(Some(&folder.path().join("none.csv"))).is_err());
}

#[cfg(feature = "neural")]
#[test]
fn a_shop_goes_from_two_files_to_sessions_varied_lists_and_new_articles() {
    shop::run(Vec::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let missing = ["events.csv", "items.csv"].map(|name| folder.path().join(name));
    assert!(shop::run(missing.to_vec()).is_err());
}
