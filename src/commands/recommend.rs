//! `cairn recommend`: a list of a saved recommender.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::columns::{self, Columns};
use super::failure::Failure;
use super::output::Output;
use super::recommender::{self, Asked, Listed};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A recommender that Cairn saved.
    model: PathBuf,
    /// For a user of the training log.
    #[arg(long, short, value_name = "ID", required_unless_present_any = ["history", "features"])]
    user: Option<String>,
    /// For somebody who has just met this item, a user or not; may be given several times, first met first.
    #[arg(long = "met", value_name = "ITEM")]
    history: Vec<String>,
    /// For somebody new of whom this is known, an object of JSON: numbers, texts and lists of texts by the names of columns.
    #[arg(long, value_name = "JSON")]
    features: Option<String>,
    /// What is known of the request of a user, written as features are.
    #[arg(long, value_name = "JSON", requires = "user")]
    context: Option<String>,
    /// Scores a new item of which this is known for a user, in place of a list; may be given several times.
    #[arg(long = "new-item", value_name = "JSON", requires = "user")]
    items: Vec<String>,
    /// How many items; 10 unless told.
    #[arg(long, short = 'k', value_name = "N")]
    count: Option<usize>,
    /// Lists items that the user has met, too.
    #[arg(long)]
    seen: bool,
    /// Leaves this item out; may be given several times.
    #[arg(long, value_name = "ITEM")]
    without: Vec<String>,
    /// Says of what of the user's history each score comes.
    #[arg(long, requires = "user")]
    explain: bool,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let read = |option: &'static str| move |text: &String| columns::read(option, text);
    let new_items: Vec<Columns> = args.items.iter().map(read("--new-item")).collect::<Result<_, _>>()?;
    let values = |list: &[String]| list.iter().map(|id| json!(id)).collect::<Vec<Value>>();
    let asked = Asked {
        user: args.user.as_ref().map(|user| json!(user)),
        history: values(&args.history),
        features: args.features.as_ref().map(read("--features")).transpose()?,
        context: args.context.as_ref().map(read("--context")).transpose()?,
        items: (!new_items.is_empty()).then_some(new_items),
        count: args.count,
        seen: args.seen,
        without: values(&args.without),
        explain: args.explain,
    };
    for item in recommender::load(&args.model)?.recommend(&asked)? {
        out.result(&item, || line(&item))?;
    }
    Ok(())
}

fn line(listed: &Listed) -> String {
    let plain = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let mut line = format!("{}\t{:.4}", plain(&listed.item), listed.score);
    if let Some(because) = &listed.because {
        let shares: Vec<String> = because
            .iter()
            .map(|(item, share)| format!("{} {:+.4}", plain(item), share.as_f64().unwrap_or(f64::NAN)))
            .collect();
        line += &format!("\tbecause of {}", shares.join(", "));
    }
    line
}
