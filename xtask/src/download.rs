//! `cargo xtask download`: fetches data sets ahead of time, for a machine that will be without a network, or so that
//! a measurement does not begin with a download.

use std::io::Write;

use anyhow::Context as _;
use cairn_datasets::DataDir;
use cairn_datasets::registry::{self, Resource};

use crate::checks;
use crate::output::BestEffort;

/// The data sets that can be named.
pub fn names() -> Vec<&'static str> {
    registry::ALL.iter().map(|set| set.name).collect()
}

/// The named data sets, or, where none is named, those that the checks fetch by themselves: not the large ones, whose checks
/// only run where somebody has put them.
fn wanted(names: &[String]) -> Vec<&'static Resource<'static>> {
    let wanted = |set: &Resource<'_>| match names {
        [] => checks::ALL.iter().any(|check| check.data.contains(&set)),
        names => names.iter().any(|n| n == set.name),
    };
    registry::ALL.iter().copied().filter(|set| wanted(set)).collect()
}

/// Fetches the named data sets into `dir`, or those the checks fetch by themselves where none is named, and says so to `out`.
/// What is there already is left alone, unless it is the publisher's file and damaged: then that is an error.
///
/// # Errors
/// The first data set that cannot be had, with what each mirror said.
pub fn run(names: &[String], dir: &DataDir, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut out = BestEffort(out);
    for set in wanted(names) {
        writeln!(out, "{}: {}", set.name, set.title)?;
        writeln!(out, "  terms: {} ({})", set.licence, set.homepage)?;
        if !dir.has(set) {
            writeln!(out, "  {:.1} MB to download", set.size() as f64 / 1e6)?;
        }
        dir.obtain_all(set).with_context(|| format!("cannot get {}", set.name))?;
        let compared =
            dir.verify(set).with_context(|| format!("{} is damaged; delete it and try again", set.name))?;
        let how = if compared > 0 { "checksums agree" } else { "unpacked, without a published checksum" };
        writeln!(out, "  in {} ({how})", dir.path().display())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_names(names: &[&str]) -> Vec<&'static str> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        wanted(&names).iter().map(|set| set.name).collect()
    }

    #[test]
    fn large_sets_are_fetched_by_name_alone() {
        let unasked = wanted_names(&[]);
        assert!(unasked.contains(&"mnist") && unasked.contains(&"movielens-100k"), "{unasked:?}");
        let large = ["movielens-1m", "movielens-20m", "movielens-25m"];
        assert!(large.iter().all(|name| !unasked.contains(name)), "{unasked:?}");
        assert_eq!(wanted_names(&large), large);
        assert!(large.iter().all(|name| names().contains(name)));
    }
}
