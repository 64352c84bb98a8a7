//! What is odd about a log before models are compared on it: ties in time, repeats, machines, and what splits leak.
//!
//! `cargo run --release -p cairn-recsys --example describe_log -- log.csv` for rows of user, item, value and time with a header, or
//! the name of a MovieLens folder or archive. Without arguments it looks at a small generated log.

use std::error::Error;
use std::path::Path;

use cairn_recsys::read::{LogReader, movielens};
use cairn_recsys::{Duplicates, Id, Interactions, Split, synthetic};

fn describe<U: Id, I: Id>(log: &Interactions<U, I>) -> Result<(), Box<dyn Error>> {
    println!("{}", log.lint());
    for (name, split) in [
        ("a random fifth", Split::random(0.2, 0)),
        ("each user's last row", Split::leave_last_out()),
        ("the latest fifth", Split::temporal(0.2)),
    ] {
        match log.split(split) {
            Ok((train, test)) => println!("Split: {name} to test.\n{}", train.lint_split(&test)),
            Err(error) => println!("Split: {name} to test. {error}\n"),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    run(std::env::args().nth(1).as_ref().map(Path::new))
}

pub(crate) fn run(path: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let Some(path) = path else {
        return describe(&synthetic::planted_groups(200, 100, 4, 12, 0.1, 0)?);
    };
    let is_text = path.extension().is_some_and(|ending| ending == "csv" || ending == "gz");
    if is_text {
        // Repeats are counted by the report, before the latest of each is kept.
        let (log, report) = LogReader::csv().duplicates(Duplicates::Last).read::<String, String>(path)?;
        println!("{report}");
        describe(&log)
    } else {
        let (log, report) = movielens::ratings(path)?;
        println!("{report}");
        describe(&log)
    }
}
