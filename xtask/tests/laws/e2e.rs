//! The end-to-end harness on small checks of its own: exit status, files, labels, escaping.

use std::fs;
use std::path::Path;

use cairn_datasets::{DataDir, registry};
use serde_json::Value;
use xtask::check::{Bars, Check, Settings};
use xtask::e2e;
use xtask::report::{Confusion, GreyImage, ImageGrid, KeyFigures, LineChart, Sample, Table};
use xtask::results::Bar;

/// Everything the report can show, with text that would break an unescaped page.
const GOOD: Check = Check {
    name: "good",
    title: "A good check <1>",
    about: "Passes & shows every kind of block.",
    data: &[],
    run: |ctx| {
        ctx.say("first line\nsecond line");
        ctx.metric("accuracy of \"all\" <kinds>", 0.98, Bar::AtLeast(0.97));
        ctx.metric("speed", 48_210.4, Bar::None);
        ctx.show(
            "Loss <curve>",
            &LineChart::new("epoch", "loss").epochs("train", [0.5, 0.3, 0.2]).epochs("test", [0.4]),
        );
        let mut confusion = Confusion::new(["0", "<1>"]);
        confusion.add(0, 1);
        ctx.show("Confusion", &confusion);
        ctx.show(
            "Pictures",
            &ImageGrid(vec![GreyImage::new(2, 2, vec![0, 80, 160, 255]).caption("<7> for 1")]),
        );
        let mut films = Table::new(["film", "score"]).numbers([1]);
        films.row(["</td><script>alert('Léon & \"co\"')</script>".to_owned(), "0.9".to_owned()]);
        ctx.show("Films", &films);
        ctx.show("Key", &KeyFigures::new().figure("98 %", "of <all>"));
        ctx.show("Sample", &Sample::new("a\n  b </pre> c"));
        Ok(())
    },
};

const MISSES: Check = Check {
    name: "misses",
    title: "Misses its bar",
    about: "One metric of two is too low.",
    data: &[],
    run: |ctx| {
        ctx.metric("fine", 1.0, Bar::AtLeast(0.5));
        ctx.metric("too low", 0.4, Bar::AtLeast(0.5));
        Ok(())
    },
};

const FAILS: Check = Check {
    name: "fails",
    title: "Fails half-way",
    about: "Records a metric, then returns an error.",
    data: &[],
    run: |ctx| {
        ctx.metric("before", 1.0, Bar::None);
        anyhow::bail!("no such <file>")
    },
};

const PANICS: Check = Check {
    name: "panics",
    title: "Panics",
    about: "Panics.",
    data: &[],
    run: |_| panic!("index {} is out of range", 7),
};

const EMPTY: Check =
    Check { name: "empty", title: "Does nothing", about: "Records nothing.", data: &[], run: |_| Ok(()) };

const STANDS_IN: Check = Check {
    name: "stands-in",
    title: "Stands in",
    about: "Wants a published set in an empty folder.",
    data: &[&registry::MNIST],
    run: |ctx| {
        let files =
            ctx.load(&registry::MNIST, |dir| dir.obtain_all(&registry::MNIST).map(|f| f.len()), || Ok(7))?;
        ctx.say("reading");
        let bar = ctx.bar(&Bars { full: 100.0, quick: 50.0, stand_in: 8.0, stand_in_quick: 7.0 });
        ctx.metric("files", files as f64, Bar::AtLeast(bar));
        Ok(())
    },
};

const NEEDS_DATA: Check = Check {
    name: "needs-data",
    title: "Needs <data>",
    about: "Measures something, then wants a published set from where it lies.",
    data: &[],
    run: |ctx| {
        ctx.metric("before", 1.0, Bar::AtLeast(0.5));
        let set = &registry::MOVIELENS_1M;
        let bytes = ctx.require(set, |dir| {
            let [found] = dir.obtain(set)?;
            Ok(fs::metadata(&found.paths()[0])?.len())
        })?;
        anyhow::ensure!(bytes > 0, "the file is empty");
        ctx.metric("bytes", bytes as f64, Bar::AtLeast(2.0));
        Ok(())
    },
};

const LEAVES_OUT: Check = Check {
    name: "leaves-out",
    title: "Leaves something out",
    about: "Does one part of two.",
    data: &[],
    run: |ctx| {
        ctx.leave_out("the large one", "it takes 9 GB & 8 are free");
        ctx.metric("the small one", 1.0, Bar::AtLeast(0.5));
        Ok(())
    },
};

fn settings(data: &Path) -> Settings {
    Settings { data: DataDir::new(data).offline(), quick: true, long: false, seed: 1, kept: None }
}

/// Runs checks in a new folder: whether all passed, what was printed, results and report.
fn run(checks: &[&'static Check]) -> (bool, String, Value, String) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new/out");
    let mut printed = Vec::new();
    let passed = e2e::run(checks, &settings(dir.path()), &folder, &mut printed).unwrap();
    let results = serde_json::from_str(&fs::read_to_string(folder.join("results.json")).unwrap()).unwrap();
    let report = fs::read_to_string(folder.join("report.html")).unwrap();
    (passed, String::from_utf8(printed).unwrap(), results, report)
}

#[test]
fn a_check_that_reaches_its_bars_passes() {
    let (passed, printed, results, _) = run(&[&GOOD]);
    assert!(passed);
    assert!(printed.contains("good: first line\ngood: second line\n"), "{printed}");
    assert!(printed.contains("1 check passed"), "{printed}");
    assert!(printed.contains("report.html") && printed.contains("results.json"), "{printed}");
    let keys: Vec<&String> = results[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["bar", "check", "data", "metric", "passed", "seconds", "value"]);
    assert_eq!(results[0]["value"], 0.98);
    assert_eq!(results[0]["data"], "generated");
    assert_eq!(results[1]["bar"], Value::Null);
}

#[test]
fn a_missed_bar_fails_the_run() {
    let (passed, printed, results, report) = run(&[&MISSES, &GOOD]);
    assert!(!passed);
    assert!(printed.contains("misses: too low 0.4000 (≥ 0.5000: MISSED)"), "{printed}");
    assert!(printed.contains("1 of 2 checks FAILED"), "{printed}");
    assert_eq!((&results[0]["passed"], &results[1]["passed"]), (&true.into(), &false.into()));
    assert!(report.contains("1 of 2 checks FAILED"));
}

#[test]
fn a_failing_check_is_reported_and_the_others_still_run() {
    let (passed, printed, results, report) = run(&[&FAILS, &PANICS, &EMPTY, &GOOD]);
    assert!(!passed);
    assert!(printed.contains("fails: FAILED: no such <file>"), "{printed}");
    assert!(printed.contains("panics: FAILED: panicked: index 7 is out of range"), "{printed}");
    assert!(printed.contains("empty: FAILED: the check measured nothing"), "{printed}");
    let failures: Vec<_> = results.as_array().unwrap().iter().filter(|r| r["passed"] == false).collect();
    assert_eq!(failures.len(), 3);
    assert_eq!((&failures[0]["check"], &failures[0]["metric"]), (&"fails".into(), &"completed".into()));
    assert_eq!(failures[0]["error"], "no such <file>");
    assert_eq!(results[0]["metric"], "before", "what was measured before the error stays");
    assert!(results.as_array().unwrap().iter().any(|r| r["check"] == "good" && r["passed"] == true));
    assert!(report.contains("no such &lt;file&gt;"));
}

#[test]
fn stand_ins_are_named_in_every_line_and_entry() {
    let (passed, printed, results, report) = run(&[&STANDS_IN]);
    assert!(passed, "{printed}");
    let lines: Vec<&str> = printed.lines().take_while(|l| !l.is_empty()).collect();
    assert_eq!(lines.len(), 3, "{printed}");
    assert!(lines.iter().all(|l| l.starts_with("stands-in [stand-in]: ")), "{printed}");
    assert!(printed.contains("Rows marked stand-in come from generated data"), "{printed}");
    assert_eq!(
        (&results[0]["data"], &results[0]["value"], &results[0]["bar"]),
        (&"stand-in".into(), &7.0.into(), &7.0.into())
    );
    assert!(report.contains("generated stand-ins") && report.contains("<td>stand-in</td>"));
}

/// The same check where the files are there: no stand-in, and the bar of a quick run.
#[test]
fn data_that_is_there_is_used() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mnist")).unwrap();
    for file in registry::MNIST.files {
        fs::write(dir.path().join(file.path), "x").unwrap();
    }
    let mut printed = Vec::new();
    let passed =
        e2e::run(&[&STANDS_IN], &settings(dir.path()), &dir.path().join("out"), &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(!passed, "4 files are below the bar of a quick run");
    assert!(printed.contains("stands-in: files 4 (≥ 50: MISSED)"), "{printed}");
    assert!(!printed.contains("stand-in]"), "{printed}");
}

/// Data that is neither there nor replaceable: said in every place, neither passed nor failed.
#[test]
fn a_check_without_its_data_is_skipped() {
    let (ok, printed, results, report) = run(&[&NEEDS_DATA, &GOOD]);
    assert!(ok, "{printed}");
    assert!(printed.contains("needs-data: SKIPPED all: movielens-1m is not in "), "{printed}");
    assert!(printed.contains("1 check passed, 1 skipped"), "{printed}");
    let mine: Vec<_> = results.as_array().unwrap().iter().filter(|r| r["check"] == "needs-data").collect();
    assert_eq!((&mine[0]["metric"], &mine[0]["passed"]), (&"before".into(), &true.into()));
    assert_eq!((mine.len(), &mine[1]["passed"], &mine[1]["data"]), (2, &Value::Null, &"absent".into()));
    assert!(mine[1]["skipped"].as_str().unwrap().contains("cargo xtask download movielens-1m"));
    assert!(mine[1].get("error").is_none());
    assert!(report.contains("1 check passed, 1 skipped") && report.contains("<td>absent</td>"));
    assert!(report.contains("Needs &lt;data&gt;</h2><span class=\"soft\">skipped</span>"), "{report}");

    let (ok, printed, _, report) = run(&[&NEEDS_DATA, &MISSES, &GOOD]);
    assert!(!ok && printed.contains("1 of 2 checks FAILED, 1 skipped"), "{printed}");
    assert!(report.contains("1 of 2 checks FAILED, 1 skipped"));
}

#[test]
fn a_check_may_leave_a_part_out() {
    let (ok, printed, results, report) = run(&[&LEAVES_OUT]);
    assert!(ok, "{printed}");
    assert!(printed.contains("leaves-out: SKIPPED the large one: it takes 9 GB & 8 are free"), "{printed}");
    assert!(printed.contains("0 checks passed, 1 skipped"), "{printed}");
    assert_eq!((&results[0]["passed"], &results[1]["passed"]), (&Value::Null, &true.into()));
    assert!(report.contains("Skipped, the large one: it takes 9 GB &amp; 8 are free"), "{report}");
}

/// Where the data is there the check runs; where it is damaged it fails and is not skipped.
#[test]
fn required_data_that_is_there_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    // Nothing is fetched even where the network may be used.
    settings.data = DataDir::new(dir.path());
    let run = || {
        let mut printed = Vec::new();
        let ok = e2e::run(&[&NEEDS_DATA], &settings, &dir.path().join("out"), &mut printed).unwrap();
        (ok, String::from_utf8(printed).unwrap())
    };
    let (ok, printed) = run();
    assert!(ok && printed.contains("SKIPPED") && !dir.path().join("movielens").exists(), "{printed}");

    fs::create_dir(dir.path().join("movielens")).unwrap();
    let archive = dir.path().join("movielens/ml-1m.zip");
    fs::write(&archive, "some").unwrap();
    let (ok, printed) = run();
    assert!(ok && printed.contains("needs-data: bytes 4 (≥ 2: passed)"), "{printed}");
    assert!(printed.contains("1 check passed in"), "{printed}");

    fs::write(&archive, "").unwrap();
    let (ok, printed) = run();
    assert!(!ok && printed.contains("needs-data: FAILED: the file is empty"), "{printed}");
}

/// A run that is ended after its first check leaves a page that says so.
#[test]
fn a_report_names_the_checks_still_to_come() {
    const LOOKS: Check = Check {
        name: "looks",
        title: "Looks at the page",
        about: "Reads the report as it is while this runs.",
        data: &[],
        run: |ctx| {
            let page =
                fs::read_to_string(std::env::temp_dir().join(folder_of_this_run()).join("report.html"))?;
            anyhow::ensure!(page.contains("still to come looks, good"), "{page}");
            anyhow::ensure!(page.contains("1 check passed"), "{page}");
            ctx.metric("seen", 1.0, Bar::AtLeast(1.0));
            Ok(())
        },
    };
    fn folder_of_this_run() -> String {
        format!("cairn-e2e-{}", std::process::id())
    }
    let folder = std::env::temp_dir().join(folder_of_this_run());
    let passed = e2e::run(&[&LEAVES_OUT, &GOOD, &LOOKS], &settings(&folder), &folder, &mut Vec::new());
    assert!(!passed.unwrap(), "by then nothing but itself is to come");
    let passed = e2e::run(&[&MEASURES, &LOOKS, &GOOD], &settings(&folder), &folder, &mut Vec::new());
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(passed.unwrap() && !page.contains("still to come"), "{page}");
}

const MEASURES: Check = Check {
    name: "measures",
    title: "Measures",
    about: "Measures.",
    data: &[],
    run: |ctx| {
        ctx.metric("one", 1.0, Bar::AtLeast(0.5));
        Ok(())
    },
};

/// The data folder is a file, so that nothing can be put into it.
#[test]
fn a_data_folder_that_cannot_be_written_to_gives_the_stand_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let mut settings = settings(&file);
    settings.data = DataDir::new(&file);
    let mut printed = Vec::new();
    let passed = e2e::run(&[&STANDS_IN], &settings, &dir.path().join("out"), &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    assert!(passed && printed.contains("[stand-in]"), "{printed}");
}

#[test]
fn every_picture_has_words_and_every_heading_a_direction() {
    let (_, _, _, report) = run(&[&GOOD]);
    assert!(!report.contains("alt=\"\""), "{report}");
    assert_eq!(
        report.matches("<th").count() - report.matches("<thead").count(),
        report.matches("scope=").count()
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = e2e::run(&[&GOOD], &settings(dir.path()), &file, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

/// Walks the page's tags: every opened element is closed, in order, and attribute quotes balance.
/// A closed pipe or a full disk behind standard output is no reason to lose the results.
#[test]
fn results_are_written_when_nothing_can_be_printed() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.write(&[]).map(|_| ())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(e2e::run(&[&GOOD], &settings(dir.path()), dir.path(), &mut Closed).unwrap());
    for file in ["results.json", "report.html"] {
        assert!(dir.path().join(file).exists(), "{file}");
    }
}

#[test]
fn the_report_is_well_formed_and_escaped() {
    let (_, _, _, report) = run(&[&GOOD, &FAILS]);
    const VOID: [&str; 5] = ["meta", "img", "br", "link", "input"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = report.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "a stray '>' before {}", &rest[start..]);
        rest = &rest[start + 1..];
        // The end of the tag: the first '>' outside quotes.
        let mut quoted = false;
        let end = rest
            .find(|c| {
                quoted ^= c == '"';
                c == '>' && !quoted
            })
            .expect("an unclosed tag");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before {rest}");
        } else if !VOID.contains(&name) {
            open.push(name);
        }
        assert_ne!(name, "script");
        if tag == "style" {
            rest = &rest[rest.find("</style>").expect("an end of the style")..];
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(report.contains("A good check &lt;1&gt;"));
    assert!(report.contains("&lt;/td&gt;&lt;script&gt;alert('Léon &amp; &quot;co&quot;')&lt;/script&gt;"));
}

#[test]
fn the_report_fetches_nothing() {
    let (_, _, _, report) = run(&[&GOOD]);
    let addresses = |s: &&str| s.contains("//") || s.starts_with("url");
    assert_eq!(report.split(&['"', '\'', '(', ')']).find(addresses), None);
    assert!(!report.contains("@import"));
}
