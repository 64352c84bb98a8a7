//! `cairn recommend`: a list of a saved recommender.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Output;
use super::recommender::{self, Asked, Listed};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A recommender that Cairn saved.
    model: PathBuf,
    /// For a user of the training log.
    #[arg(long, short, value_name = "ID", required_unless_present = "history", conflicts_with = "history")]
    user: Option<String>,
    /// For somebody who has met this item; may be given several times, first met first.
    #[arg(long = "met", value_name = "ITEM")]
    history: Vec<String>,
    /// How many items.
    #[arg(long, short = 'k', value_name = "N", default_value_t = 10)]
    count: usize,
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
    let values = |list: &[String]| list.iter().map(|id| json!(id)).collect::<Vec<Value>>();
    let asked = Asked {
        user: args.user.as_ref().map(|user| json!(user)),
        history: values(&args.history),
        count: Some(args.count),
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
