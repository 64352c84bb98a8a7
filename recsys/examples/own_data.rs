//! From your own CSV to a saved model that serves: `user,item,value,time`, a row a line.
//!
//! `cargo run --release -p cairn-recsys --example own_data -- log.csv model.cairn USER`
//! trains and saves if the model is not there yet, then loads it and recommends. Without arguments it runs on a small
//! generated log in the system's temporary folder.

use std::error::Error;
use std::fs;
use std::path::Path;

use cairn_recsys::read::LogReader;
use cairn_recsys::{
    Als, AlsModel, Estimator, Filter, Fitted, Interactions, RankingEvaluator, Split, metrics, synthetic,
};

type Model = Fitted<AlsModel, String, String>;

/// Rows that do not read are left out; the report says which and why.
fn read(path: &Path) -> cairn_recsys::Result<Interactions<String, String>> {
    let (log, report) = LogReader::csv().header(false).read(path)?;
    println!("{report}");
    Ok(log)
}

fn train(log: &Interactions<String, String>, path: &Path) -> cairn_recsys::Result<()> {
    let (train, test) = log.split(Split::leave_last_out())?;
    let settings = Als::new().factors(32);
    let report = RankingEvaluator::at([10]).evaluate(&settings.fit(&train)?, &test)?;
    println!("NDCG@10 on each user's last item: {:.3}", report.mean(metrics::Ndcg, 10).unwrap_or(f64::NAN));
    // What is served is trained on everything.
    settings.fit(log)?.save(path)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = std::env::temp_dir();
    let (log, model, user) = if let [log, model, user] = &arguments[..] {
        (log.into(), model.into(), user.clone())
    } else {
        let path = folder.join("cairn-example-log.csv");
        let rows = synthetic::planted_groups(200, 100, 4, 12, 0.1, 0)?;
        let lines =
            rows.ratings().map(|r| format!("user{},item{},{},{}\n", r.user, r.item, r.value, r.timestamp));
        fs::write(&path, lines.collect::<String>())?;
        (path, folder.join("cairn-example-model.cairn"), "user7".to_owned())
    };
    if !model.exists() {
        train(&read(&log)?, &model)?;
    }
    let model = Model::load(&model)?;
    for entry in model.recommend(user.as_str(), 5, &Filter::unseen())? {
        let because = model.explain(user.as_str(), entry.id.as_str())?;
        let reasons: Vec<&str> = because.iter().take(2).map(|reason| reason.id.as_str()).collect();
        println!("{:<12} {:.3}  because of {}", entry.id, entry.score, reasons.join(" and "));
    }
    Ok(())
}
