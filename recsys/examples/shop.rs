//! From a CSV of events and a CSV of articles to one recommender that knows sessions and features, in a file that serves.
//!
//! `cargo run --release -p cairn-recsys --features neural --example shop -- events.csv items.csv shop.rec`, with columns
//! `user,item,value,time` and `item,kind,price`; without arguments on generated files. `cairn serve shop.rec` then answers at
//! `/v1/recommend` what is next, `{"history": ["item3", "item8"]}`, also for who is new, `{"features": {"came_for": "kind 3"}}`.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_recsys::features::{FeatureMatrix, FeatureRow, FeatureTable, FeatureValue, TwoTower};
use cairn_recsys::read::{FeatureReader, LogReader};
use cairn_recsys::{Estimator, Filter, UserIdx, synthetic};

pub(crate) fn generated(folder: &Path) -> Result<[PathBuf; 3], Box<dyn Error>> {
    let files = ["events.csv", "items.csv", "shop.rec"].map(|name| folder.join(name));
    let rows = synthetic::planted_groups(300, 60, 5, 10, 0.1, 0)?;
    let events = rows.ratings().map(|r| format!("user{},item{},1,{}\n", r.user, r.item, r.timestamp));
    fs::write(&files[0], format!("user,item,value,time\n{}", events.collect::<String>()))?;
    let items = (0..60).map(|n| format!("item{n},kind {},{}\n", n % 5, 10 + n));
    fs::write(&files[1], format!("item,kind,price\n{}", items.collect::<String>()))?;
    Ok(files)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if arguments.is_empty() {
        return run(&generated(&tempfile::tempdir()?.keep())?);
    }
    run(&<[PathBuf; 3]>::try_from(arguments).map_err(|_| "name events, items and model, or nothing")?)
}

pub(crate) fn run([events, items, model]: &[PathBuf; 3]) -> Result<(), Box<dyn Error>> {
    let (log, report) = LogReader::csv().read::<String, String>(events)?;
    println!("{report}\n{}", log.lint());
    let (customers, articles) = (&log.catalog().users, &log.catalog().items);
    let table = FeatureReader::csv("item").category("kind").number("price").read::<String>(items)?;
    let rows: HashMap<&String, &FeatureRow> = table.rows().iter().map(|(id, row)| (id, row)).collect();
    // A customer is known by the kind that they came for first, which somebody new can be asked about.
    let sequences = log.sequences();
    let came_for = (0..).map(UserIdx).zip(customers.ids()).filter_map(|(customer, id)| {
        let first = rows.get(articles.id(*sequences.get(customer).first()?))?;
        let FeatureValue::Category(kind) = first.get("kind")? else { return None };
        Some((id.clone(), FeatureRow::new().category("came_for", kind)))
    });
    let of_customers = FeatureMatrix::new(&FeatureTable::new(came_for)?, customers)?;
    let of_articles = FeatureMatrix::new(&table, articles)?;

    let settings = TwoTower::new().factors(16).hidden([32]).batch_size(128).learning_rate(0.01);
    let shop = settings.item_features(&of_articles).user_features(&of_customers).fit(&log)?;
    shop.save(model)?;
    let session = &articles.ids()[..articles.len().min(2)];
    println!("after {session:?}: {:?}", shop.recommend_session(session, 5, &Filter::unseen())?);
    let (user, arrived) = (&customers.ids()[0], FeatureRow::new().category("kind", "kind 3"));
    println!("a new article of kind 3 scores {:?} for {user}", shop.score_new_items(user, &[arrived])?);
    println!("cairn serve {}", model.display());
    Ok(())
}
