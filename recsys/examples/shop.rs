//! From a CSV of events and a CSV of items to what a shop asks: what is next for this session, in a varied list, and who would like
//! an article that came in today.
//!
//! `cargo run --release -p cairn-recsys --features neural --example shop -- events.csv items.csv`, with columns `user,item,value,time`
//! and `item,kind,price`. Without arguments it runs on generated files. What it writes goes to a temporary folder of its own.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_recsys::features::{FeatureMatrix, FeatureRow, LightFm, LightFmModel};
use cairn_recsys::read::{FeatureReader, LogReader};
use cairn_recsys::rerank::{ItemGroups, Mmr, Quota, Reranking};
use cairn_recsys::{Estimator, Filter, Fitted, Sasrec, SequenceModel, synthetic};

fn generated(folder: &Path) -> Result<[PathBuf; 2], Box<dyn Error>> {
    let files = ["events.csv", "items.csv"].map(|name| folder.join(name));
    let rows = synthetic::walks(300, 60, 10, 0.1, 0)?;
    let events = rows.ratings().map(|r| format!("user{},item{},1,{}\n", r.user, r.item, r.timestamp));
    fs::write(&files[0], format!("user,item,value,time\n{}", events.collect::<String>()))?;
    let items = (0..60).map(|n| format!("item{n},kind {},{}\n", n % 5, 10 + n));
    fs::write(&files[1], format!("item,kind,price\n{}", items.collect::<String>()))?;
    Ok(files)
}

fn main() -> Result<(), Box<dyn Error>> {
    run(std::env::args().skip(1).map(PathBuf::from).collect())
}

pub(crate) fn run(arguments: Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let [events, items] = <[PathBuf; 2]>::try_from(arguments).or_else(|_| generated(folder.path()))?;
    let (log, report) = LogReader::csv().read::<String, String>(&events)?;
    println!("{report}\n{}", log.lint());
    let table = FeatureReader::csv("item").category("kind").number("price").read::<String>(&items)?;
    let features = FeatureMatrix::new(&table, &log.catalog().items)?;

    let path = folder.path().join("shop.rec");
    let settings = Sasrec::new().dim(32).max_length(20).epochs(20).learning_rate(5e-3);
    println!("SASRec: {}", settings.plan(&log));
    settings.fit(&log)?.save(&path)?;
    let model = Fitted::<SequenceModel, String, String>::load(Path::new(&path))?;
    let ids = log.catalog().items.ids();
    println!("after {:?}: {:?}", &ids[..3], model.recommend_session(&ids[..3], 5, &Filter::unseen())?);

    let kinds = ItemGroups::new(log.catalog(), |id| {
        let row = table.rows().iter().find(|(item, _)| item == id);
        row.map(|(_, row)| format!("{:?}", row.get("kind")))
    });
    let steps = Reranking::from_best(30).then(Mmr::new(0.7, &kinds)).then(Quota::at_most(2, &kinds));
    let user = &log.catalog().users.ids()[0];
    println!("varied, for {user}: {:?}", model.recommend_reranked(user, 5, &Filter::unseen(), &steps)?);

    let known: Fitted<LightFmModel, String, String> = LightFm::new().item_features(&features).fit(&log)?;
    let arrived = [FeatureRow::new().category("kind", "kind 3").number("price", 12.0)];
    println!("a new article of kind 3 scores {:?} for {user}", known.score_new_items(user, &arrived)?);
    Ok(())
}
