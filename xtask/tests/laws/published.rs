//! The checks of published figures, end to end, on small sets in the layouts of MovieLens 1M and 20M: what is measured, that
//! the protocol is the stated one, and that a set which is not there is skipped and says so.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use cairn_datasets::DataDir;
use cairn_datasets::synthetic::{self, Ratings, RatingsPlan};
use cairn_recsys::FxHasher;
use serde_json::Value;
use xtask::check::Settings;
use xtask::{checks, e2e};
use zip::write::SimpleFileOptions;

/// Ratings of known low rank, which rankers can learn something from. Fewer films than a hundred and one: nobody has more
/// than 99 left unseen, so all of them are drawn and the figures of the sampled protocol are not a matter of chance.
fn ratings() -> Ratings {
    let plan = RatingsPlan { users: 90, items: 96, ratings: 2_400, rank: 4 };
    synthetic::ratings(&plan, 3).unwrap()
}

/// `ratings.dat` and `movies.dat` as MovieLens 1M has them.
fn write_1m(root: &Path, films: &Ratings) {
    let folder = root.join("movielens/ml-1m");
    fs::create_dir_all(&folder).unwrap();
    let rows = films.log.iter().map(|(user, item, value, time)| format!("{user}::{item}::{value}::{time}\n"));
    fs::write(folder.join("ratings.dat"), rows.collect::<String>()).unwrap();
    // In ISO-8859-1, as published: one letter is no valid UTF-8.
    let mut titles = b"1::Caf\xe9 (1991)::Drama|Comedy\n".to_vec();
    titles.extend(
        films
            .titles
            .iter()
            .filter(|(id, _)| **id > 1)
            .flat_map(|(id, title)| format!("{id}::{title}::Drama\n").into_bytes()),
    );
    fs::write(folder.join("movies.dat"), titles).unwrap();
}

/// The archive of MovieLens 20M: tables with a header, half stars, titles in quotes.
fn write_20m(root: &Path, films: &Ratings) {
    fs::create_dir_all(root.join("movielens")).unwrap();
    let mut zip = zip::ZipWriter::new(File::create(root.join("movielens/ml-20m.zip")).unwrap());
    let mut put = |name: &str, text: String| {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    };
    let half = |value: f32| if value < 5.0 { value + 0.5 } else { value };
    let rows = films
        .log
        .iter()
        .map(|(user, item, value, time)| format!("{user},{item},{:.1},{time}\n", half(*value)));
    let header = "userId,movieId,rating,timestamp\n".to_owned();
    put("ml-20m/ratings.csv", header + &rows.collect::<String>());
    let titles = films.titles.iter().map(|(id, title)| format!("{id},\"{title}, The\",Drama|War\n"));
    put("ml-20m/movies.csv", "movieId,title,genres\n".to_owned() + &titles.collect::<String>());
    zip.finish().unwrap();
}

/// What a check printed, its entries of `results.json`, and the report.
fn run(name: &str, data: &Path, quick: bool) -> (String, Vec<Value>, String) {
    let settings = Settings { data: DataDir::new(data).offline(), quick, long: false, seed: 42, kept: None };
    let out = data.join("out");
    let mut printed = Vec::new();
    e2e::run(&checks::select(&[name.to_owned()]), &settings, &out, &mut printed).unwrap();
    let results: Value = serde_json::from_slice(&fs::read(out.join("results.json")).unwrap()).unwrap();
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    (String::from_utf8(printed).unwrap(), results.as_array().unwrap().clone(), report)
}

/// The value of a metric; panics unless it was measured once, on the published files.
fn value(results: &[Value], metric: &str) -> f64 {
    let found: Vec<&Value> = results.iter().filter(|r| r["metric"] == metric).collect();
    assert_eq!(found.len(), 1, "{metric} in {results:?}");
    assert_eq!(found[0]["data"], "real", "{metric}");
    assert!(found[0].get("error").is_none() && found[0].get("skipped").is_none(), "{:?}", found[0]);
    found[0]["value"].as_f64().unwrap_or_else(|| panic!("{metric}: {:?}", found[0]))
}

fn bar(results: &[Value], metric: &str) -> f64 {
    let found = results.iter().find(|r| r["metric"] == metric).unwrap();
    found["bar"].as_f64().unwrap_or_else(|| panic!("{metric}: {found:?}"))
}

/// Hit rate and NDCG at 10 of the most popular film, by counting: the last rating of each user is hidden (of equal times the
/// later row), the films are ranked by how many of the other ratings they have (of equal ones in
/// the order of a hash of their ids), and those the user has rated are passed over.
fn popularity(films: &Ratings) -> [f64; 2] {
    let mut of_user: HashMap<u32, Vec<(i64, usize)>> = HashMap::new();
    for (row, &(user, _, _, time)) in films.log.iter().enumerate() {
        of_user.entry(user).or_default().push((time, row));
    }
    let hidden: HashMap<u32, usize> =
        of_user.iter().map(|(&user, rows)| (user, rows.iter().max().unwrap().1)).collect();
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for (row, &(user, item, ..)) in films.log.iter().enumerate() {
        *counts.entry(item).or_default() += usize::from(hidden[&user] != row);
    }
    let mut ranked: Vec<u32> = counts.keys().copied().collect();
    // Films that as many people met go by a hash of their ids.
    let hash = |film: &u32| {
        let mut hasher = FxHasher::default();
        film.hash(&mut hasher);
        hasher.finish()
    };
    ranked.sort_by_key(|film| (std::cmp::Reverse(counts[film]), hash(film)));
    let (mut hits, mut gain) = (0.0, 0.0);
    for (user, rows) in &of_user {
        let item = |row: usize| films.log[row].1;
        let target = item(hidden[user]);
        let seen: Vec<u32> = rows.iter().map(|&(_, row)| item(row)).filter(|&film| film != target).collect();
        let unseen = ranked.iter().filter(|film| !seen.contains(film));
        let place = unseen.take(10).position(|&film| film == target);
        if let Some(place) = place {
            hits += 1.0;
            gain += 1.0 / (place as f64 + 2.0).log2();
        }
    }
    [hits, gain].map(|sum| sum / of_user.len() as f64)
}

#[test]
fn ml1m_measures_every_published_figure() {
    let dir = tempfile::tempdir().unwrap();
    let films = ratings();
    write_1m(dir.path(), &films);
    let (printed, results, report) = run("ml1m", dir.path(), false);

    assert_eq!(value(&results, "lines that do not read"), 0.0);
    for (model, rmse, mae) in [
        ("Baseline, ALS", 0.909, 0.719),
        ("SVD", 0.873, 0.686),
        ("SVD++", 0.862, 0.672),
        ("NMF", 0.916, 0.723),
    ] {
        for (metric, published) in [("RMSE", rmse), ("MAE", mae)] {
            let metric = format!("{metric} of {model}");
            assert!(value(&results, &metric) > 0.0);
            assert!((bar(&results, &metric) - (published + 0.005)).abs() < 1e-9, "{metric}");
        }
    }
    let rankers = [
        ("TopPop", 0.4533, 0.2542),
        ("ItemKNN", 0.6694, 0.3979),
        ("PureSVD", 0.6937, 0.4303),
        ("EASE", 0.7192, 0.4494),
        ("SLIM", 0.7162, 0.4468),
        ("BPR", 0.6305, 0.3730),
        ("iALS", 0.7109, 0.4382),
        ("iALS, 192 factors", 0.73, 0.45),
    ];
    for (model, hit_rate, ndcg) in rankers {
        let [found, gain] = ["HR@10", "NDCG@10"].map(|metric| {
            let metric = format!("sampled {metric} of {model}");
            assert!(value(&results, &metric) <= 1.0, "{metric}");
            let published = if metric.contains("HR") { hit_rate } else { ndcg };
            assert!((published - 0.02..published).contains(&bar(&results, &metric)), "{metric}");
            value(&results, &metric)
        });
        assert!(gain > 0.0 && gain <= found, "{model}: NDCG {gain} of a hit rate of {found}");
        assert!(report.contains(&format!("<td>{model}</td>")), "{model}");
    }
    let [hits, gain] = popularity(&films);
    assert!((value(&results, "sampled HR@10 of TopPop") - hits).abs() < 1e-12);
    assert!((value(&results, "sampled NDCG@10 of TopPop") - gain).abs() < 1e-12);
    let off = value(&results, "sampled HR@10 of TopPop, off the published");
    assert!((off - (hits - 0.4533).abs()).abs() < 1e-12);
    // What the data has to teach was learned.
    for model in ["EASE", "ItemKNN", "SLIM"] {
        assert!(value(&results, &format!("sampled NDCG@10 of {model}")) > gain, "{model}");
    }

    for searched in ["ItemKNN", "BPR"] {
        assert!(printed.contains(&format!("ml1m: {searched}: the best of ")), "{printed}");
    }
    assert!(report.contains("a sampled protocol"));
    assert!(!printed.contains("FAILED: ") && !printed.contains("SKIPPED"), "{printed}");
}

#[test]
fn a_quick_ml1m_does_less_and_a_damaged_line_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write_1m(dir.path(), &ratings());
    let (_, results, _) = run("ml1m", dir.path(), true);
    let [hits, _] = popularity(&ratings());
    assert!((value(&results, "sampled HR@10 of TopPop") - hits).abs() < 1e-12);
    assert!((bar(&results, "RMSE of SVD") - 0.893).abs() < 1e-9);
    assert!(results.iter().all(|r| r["metric"] != "RMSE of SVD++" && r["metric"] != "sampled HR@10 of BPR"));

    let file = dir.path().join("movielens/ml-1m/ratings.dat");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("::", ":", 1)).unwrap();
    let (printed, results, _) = run("ml1m", dir.path(), true);
    assert_eq!(value(&results, "lines that do not read"), 1.0);
    assert!(printed.contains("lines that do not read 1 (≤ 0: MISSED)"), "{printed}");
}

#[test]
fn ml20m_measures_every_published_figure() {
    let dir = tempfile::tempdir().unwrap();
    write_20m(dir.path(), &ratings());
    let (printed, results, report) = run("ml20m", dir.path(), false);
    assert_eq!(value(&results, "lines that do not read"), 0.0);
    for (model, allowed, figures) in
        [("EASE", 0.005, [0.391, 0.521, 0.420]), ("iALS, 512 factors", 0.01, [0.395, 0.532, 0.425])]
    {
        for (metric, published) in ["recall@20", "recall@50", "NDCG@100"].into_iter().zip(figures) {
            let metric = format!("{metric} of {model}");
            assert!((bar(&results, &metric) - (published - allowed)).abs() < 1e-9, "{metric}");
            assert!((0.0..=1.0).contains(&value(&results, &metric)), "{metric}");
        }
        assert!(
            value(&results, &format!("NDCG@100 of {model}")) > value(&results, "NDCG@100 of TopPop"),
            "{model}"
        );
    }
    assert!(report.contains("0.391 / 0.521 / 0.420"));
    assert!(!printed.contains("FAILED: ") && !printed.contains("SKIPPED"), "{printed}");

    let (_, results, _) = run("ml20m", dir.path(), true);
    let times = value(&results, "NDCG@100 of iALS over TopPop's");
    let [small, popular] =
        ["iALS, 64 factors", "TopPop"].map(|model| value(&results, &format!("NDCG@100 of {model}")));
    assert!((times - small / popular).abs() < 1e-12);
    assert!(results.iter().all(|r| r["metric"] != "NDCG@100 of EASE"));
}

/// Without the sets nothing is fetched, nothing stands in for them, and the run says so without failing.
#[test]
fn sets_that_are_not_there_are_skipped_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let [data, out] = [dir.path(), &dir.path().join("out")].map(|p| p.to_str().unwrap().to_owned());
    let run = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["e2e", "--only", "ml1m,ml20m", "--data-dir", &data, "--out", &out])
        .output()
        .unwrap();
    let printed = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status.code(), Some(0), "{printed}");
    assert!(printed.contains("0 checks passed, 2 skipped"), "{printed}");
    assert!(!dir.path().join("movielens").exists());
    let results: Value =
        serde_json::from_slice(&fs::read(dir.path().join("out/results.json")).unwrap()).unwrap();
    let report = fs::read_to_string(dir.path().join("out/report.html")).unwrap();
    assert!(report.contains("0 checks passed, 2 skipped"), "{report}");
    for (at, (check, set)) in [("ml1m", "1m"), ("ml20m", "20m")].into_iter().enumerate() {
        let reason = results[at]["skipped"].as_str().unwrap();
        for part in [
            &format!("cargo xtask download movielens-{set}"),
            &format!("https://files.grouplens.org/datasets/movielens/ml-{set}.zip as movielens/ml-{set}.zip"),
            &format!("movielens/ml-{set}/ratings."),
            &data,
        ] {
            assert!(reason.contains(part.as_str()), "{part} in {reason}");
        }
        assert_eq!((&results[at]["check"], &results[at]["data"]), (&check.into(), &"absent".into()));
        assert!(results[at]["passed"].is_null() && results[at]["value"].is_null());
        assert!(printed.contains(&format!("{check}: SKIPPED all: {reason}")), "{printed}");
        assert!(printed.contains(&format!("Skipped {check}, all: {reason}")), "{printed}");
        assert!(report.contains(&format!("Skipped, all: {reason}")), "{report}");
    }
}
