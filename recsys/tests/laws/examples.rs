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
fn a_shop_goes_from_two_files_to_sessions_new_customers_and_new_articles() {
    use cairn_recsys::features::{FeatureRow, TwoTowerModel};
    use cairn_recsys::{Filter, Fitted};
    assert!(include_str!("../../examples/shop.rs").lines().count() < 60);
    let folder = tempfile::tempdir().unwrap();
    let files = shop::generated(folder.path()).unwrap();
    shop::run(&files).unwrap();
    let model = Fitted::<TwoTowerModel, String, String>::load(&files[2]).unwrap();
    // Of five kinds, and articles and customers keep to one.
    let of_kind_3 = |list: Vec<cairn_recsys::Scored<String>>| {
        let number = |id: &str| id.strip_prefix("item").unwrap().parse::<u32>().unwrap();
        list.iter().filter(|entry| number(&entry.id) % 5 == 3).count()
    };
    let session = ["item3", "item8", "item13"].map(str::to_owned);
    let list = model.recommend_session(&session, 5, &Filter::unseen()).unwrap();
    assert!(list.len() == 5 && list.iter().all(|entry| !session.contains(&entry.id)), "{list:?}");
    assert!(of_kind_3(list) >= 3);
    let new = FeatureRow::new().category("came_for", "kind 3");
    assert!(of_kind_3(model.recommend_described(&new, 5, &Filter::unseen()).unwrap()) >= 3);
    let articles = ["kind 3", "kind 1"].map(|kind| FeatureRow::new().category("kind", kind));
    let scores = model.score_new_items("user3", &articles).unwrap();
    assert!(scores[0] > scores[1], "{scores:?}");
    std::fs::remove_file(&files[1]).unwrap();
    assert!(shop::run(&files).is_err());
}
