//! Energy of the processors, from the counters that Linux has of them.
//!
//! RAPL (Running Average Power Limit) of Intel, and of AMD since Linux 5.8, counts microjoules a package in
//! `/sys/class/powercap/intel-rapl:N/energy_uj`. Packages are added up; their parts (`intel-rapl:N:M`: cores, memory) are in them, or in
//! none, and the whole board (`psys`) is not everywhere, so neither is taken. A counter begins anew at `max_energy_range_uj`, so it is
//! read now and then. Since 2020 reading is for root alone (CVE-2020-8694), and clouds as a rule show none of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Energy;

/// Where the system keeps its counters.
pub(super) const ROOT: &str = "/sys/class/powercap";

/// More than any package takes: a counter that was not read for longer than its range lasts at this may have begun anew twice.
const MOST_WATTS: f64 = 1000.0;

/// The counters of all packages.
#[derive(Debug)]
pub(super) struct Counters {
    packages: Vec<Package>,
    /// Why energy is not known.
    lost: Option<String>,
}

#[derive(Debug)]
struct Package {
    file: PathBuf,
    /// The number at which it begins anew.
    range: u64,
    last: u64,
    /// Microjoules since the start.
    sum: u64,
}

impl Counters {
    /// Those below this folder, from now on.
    pub(super) fn start(root: &Path) -> Self {
        let mut folders: Vec<PathBuf> = fs::read_dir(root)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| is_package(path))
            .collect();
        folders.sort();
        let packages: Result<Vec<Package>, String> =
            folders.iter().map(|folder| Package::start(folder)).collect();
        match packages {
            Ok(packages) if packages.is_empty() => Counters {
                packages,
                lost: Some(format!("there is no counter of a package in {}", root.display())),
            },
            Ok(packages) => Counters { packages, lost: None },
            Err(why) => Counters { packages: Vec::new(), lost: Some(why) },
        }
    }

    /// Reads the counters, `since` after they were read last.
    pub(super) fn read(&mut self, since: Duration) {
        if self.lost.is_some() {
            return;
        }
        for package in &mut self.packages {
            if let Err(why) = package.read(since) {
                self.lost = Some(why);
                return;
            }
        }
    }

    /// What was counted so far.
    pub(super) fn energy(&self) -> Energy {
        if let Some(why) = &self.lost {
            return Energy { joules: None, source: format!("not measurable here: {why}") };
        }
        let microjoules: u64 = self.packages.iter().map(|package| package.sum).sum();
        let count = self.packages.len();
        let packages = if count == 1 { "package" } else { "packages" };
        let source = format!("RAPL of {count} {packages}, the whole machine, its idle power included");
        Energy { joules: Some(microjoules as f64 / 1e6), source }
    }
}

/// Whether this is the folder of a package's counter: neither of a part of one nor of the board, nor the same by another way (`-mmio`).
fn is_package(folder: &Path) -> bool {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let top = name.strip_prefix("intel-rapl:").is_some_and(|number| !number.contains(':'));
    top && fs::read_to_string(folder.join("name")).is_ok_and(|name| name.starts_with("package-"))
}

fn number(file: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.trim().parse().map_err(|_| format!("{}: `{}` is no number", file.display(), text.trim()))
}

impl Package {
    fn start(folder: &Path) -> Result<Self, String> {
        let file = folder.join("energy_uj");
        let (last, range) = (number(&file)?, number(&folder.join("max_energy_range_uj"))?);
        Ok(Package { file, range, last, sum: 0 })
    }

    fn read(&mut self, since: Duration) -> Result<(), String> {
        if since.as_secs_f64() * MOST_WATTS * 1e6 > self.range as f64 {
            let (file, seconds) = (self.file.display(), since.as_secs());
            return Err(format!(
                "{file} was not read for {seconds} s, in which it may have begun anew twice"
            ));
        }
        let now = number(&self.file)?;
        self.sum +=
            if now >= self.last { now - self.last } else { self.range.saturating_sub(self.last) + now };
        self.last = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up tree of counters.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(zones: &[(&str, &str)]) -> Self {
            let tree = Tree(tempfile::tempdir().unwrap());
            for (zone, name) in zones {
                fs::create_dir(tree.0.path().join(zone)).unwrap();
                tree.set(zone, "name", name);
                tree.set(zone, "max_energy_range_uj", "100000000000");
                tree.set(zone, "energy_uj", "99999000000");
            }
            tree
        }

        fn set(&self, zone: &str, file: &str, value: &str) {
            fs::write(self.0.path().join(zone).join(file), format!("{value}\n")).unwrap();
        }
    }

    const ZONES: [(&str, &str); 6] = [
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:1", "package-1-die-0"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
        ("dtpm", "package-0"),
    ];

    #[test]
    fn packages_are_added_up_across_the_end_of_their_range() {
        let tree = Tree::new(&ZONES);
        let mut counters = Counters::start(tree.0.path());
        let second = Duration::from_secs(1);
        // The first goes on by 0.5 J; of the other zones nothing counts.
        tree.set("intel-rapl:0", "energy_uj", "99999500000");
        for zone in ["intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"] {
            tree.set(zone, "energy_uj", "7");
        }
        counters.read(second);
        assert_eq!(counters.energy().joules, Some(0.5));
        // Both come to their ends: 0.5 J and 3 J after them, and 1 J and 0.25 J.
        tree.set("intel-rapl:0", "energy_uj", "3000000");
        tree.set("intel-rapl:1", "energy_uj", "250000");
        counters.read(second);
        let energy = counters.energy();
        assert_eq!(energy.joules, Some(0.5 + 3.5 + 1.25));
        assert!(energy.source.starts_with("RAPL of 2 packages"), "{}", energy.source);
        // Nothing new.
        counters.read(second);
        assert_eq!(counters.energy(), energy);
    }

    #[test]
    fn what_cannot_be_measured_is_not_guessed() {
        let unknown = |counters: &Counters, why: &str| {
            let Energy { joules, source } = counters.energy();
            assert!(
                joules.is_none() && source.starts_with("not measurable here: ") && source.contains(why),
                "{source}"
            );
        };
        let tree = Tree::new(&ZONES);
        unknown(&Counters::start(&tree.0.path().join("none")), "no counter");
        unknown(&Counters::start(Tree::new(&ZONES[3..]).0.path()), "no counter");
        // A range of 100 kJ may be over after 100 s.
        let mut counters = Counters::start(tree.0.path());
        counters.read(Duration::from_secs(101));
        unknown(&counters, "101 s");
        counters.read(Duration::from_secs(1));
        unknown(&counters, "101 s");
        // A counter that goes away, or is none.
        let mut counters = Counters::start(tree.0.path());
        fs::remove_file(tree.0.path().join("intel-rapl:1/energy_uj")).unwrap();
        counters.read(Duration::from_secs(1));
        unknown(&counters, "intel-rapl:1");
        tree.set("intel-rapl:1", "energy_uj", "many");
        unknown(&Counters::start(tree.0.path()), "`many` is no number");
    }
}
