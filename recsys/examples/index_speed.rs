//! The index against exact lists: time to build, top-10 lists a second in a batch, time for one user alone, recall.
//!
//! `cargo run --release -p cairn-recsys --example index_speed -- [27k|178k|1m] [cells]`
//!
//! The vectors are trained, with 128 factors, on users who each have five tastes of many, besides the popularity by a power law
//! of `synthetic::power_law`. Popularity alone would flatter every index: everybody's list is then made of the few items
//! with the longest vectors.

use std::sync::Arc;
use std::time::Instant;

use cairn_recsys::{
    Als, AlsModel, AnnIndex, AnnSettings, Catalog, Csr, Estimator, Filter, Fitted, IdMap, ItemIdx, Result,
    UserIdx, UserItems,
};
use rand::{RngExt, SeedableRng};
use rand_distr::weighted::WeightedAliasIndex;
use rand_pcg::Pcg64;
use rayon::prelude::*;

/// Users by items, of which user `u` makes draws in proportion to `(u + 10)^-0.7`: most from their five tastes, within a taste
/// in proportion to `(i + 10)^-0.9`. An item is of one or two tastes.
fn tastes(n_users: usize, n_items: usize, draws: usize, n_tastes: usize) -> Result<UserItems> {
    let share = |n: usize, exponent: f64| (n as f64 + 10.0).powf(-exponent);
    let mut rng = Pcg64::seed_from_u64(0);
    let mut items = vec![Vec::new(); n_tastes];
    for item in 0..n_items {
        let (one, other) = (rng.random_range(0..n_tastes), rng.random_range(0..n_tastes));
        items[one].push(item);
        if other != one {
            items[other].push(item);
        }
    }
    let popularity = |items: &Vec<usize>| items.iter().map(|&item| share(item, 0.9)).collect();
    let tables: Vec<_> = items
        .iter()
        .map(|items| WeightedAliasIndex::new(popularity(items)).expect("every taste has items"))
        .collect();
    let total: f64 = (0..n_users).map(|user| share(user, 0.7)).sum();
    let rows: Vec<Vec<u32>> = (0..n_users)
        .into_par_iter()
        .map(|user| {
            let mut rng = Pcg64::seed_from_u64(user as u64 + 1);
            let own: [usize; 5] = std::array::from_fn(|_| rng.random_range(0..n_tastes));
            let n = (draws as f64 * share(user, 0.7) / total).ceil() as usize;
            let mut draw = || {
                let taste = if rng.random_bool(0.85) {
                    own[rng.random_range(0..5)]
                } else {
                    rng.random_range(0..n_tastes)
                };
                items[taste][rng.sample(&tables[taste])] as u32
            };
            let mut row: Vec<u32> = (0..n).map(|_| draw()).collect();
            row.sort_unstable();
            row.dedup();
            row
        })
        .collect();
    let entries = rows
        .iter()
        .zip(0..)
        .flat_map(|(row, user)| row.iter().map(move |&item| (UserIdx(user), ItemIdx(item), 1.0)));
    Csr::from_entries(n_users, n_items, entries)
}

/// Lists a second for all of `users` at once, and seconds for one user, each the best of several goes.
fn measure(users: &[UserIdx], lists: impl Fn(&[UserIdx]) -> Result<usize>) -> Result<(f64, f64)> {
    let mut batch = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(lists(users)?, 10 * users.len());
        batch = batch.min(start.elapsed().as_secs_f64());
    }
    let sample: Vec<&UserIdx> = users.iter().step_by(users.len() / 200).collect();
    let mut alone = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        for &&user in &sample {
            lists(&[user])?;
        }
        alone = alone.min(start.elapsed().as_secs_f64() / sample.len() as f64);
    }
    Ok((users.len() as f64 / batch, alone))
}

fn cells_of(model: &Fitted<AlsModel>) -> usize {
    model.index().map_or(0, AnnIndex::cells)
}

fn compare(model: &Fitted<AlsModel>, cells: Option<usize>) -> Result<()> {
    let n_users = model.seen().n_rows() as u32;
    let users: Vec<UserIdx> = (0..n_users).step_by(n_users as usize / 10_000).map(UserIdx).collect();
    let sample: Vec<u32> = users.iter().step_by(5).map(|user| user.0).collect();
    let filter = Filter::unseen();
    let total = |lists: Vec<Vec<_>>| lists.iter().map(Vec::len).sum();
    let (many, one) = measure(&users, |users| model.recommend_indices(users, 10, &filter).map(total))?;
    println!("exact: {many:.0} lists a second, {:.3} ms for one user", 1e3 * one);
    let start = Instant::now();
    let settings = AnnSettings::new();
    let settings = cells.map_or(settings, |cells| settings.cells(cells));
    let mut index = model.with_index(settings)?;
    println!("{} cells, built in {:.1} s", cells_of(&index), start.elapsed().as_secs_f64());
    for probes in [25, 50, 100, 200, cells_of(&index)] {
        index = index.with_probes(probes)?;
        let recall = index.recall(&sample, 10, &filter)?;
        let (many, one) = measure(&users, |users| index.recommend_indices(users, 10, &filter).map(total))?;
        println!(
            "{probes} probes: recall {recall:.4}, {many:.0} lists a second, {:.3} ms for one user",
            1e3 * one
        );
    }
    let path = std::env::temp_dir().join(format!("index_speed-{}", std::process::id()));
    index.save_index(&path)?;
    let start = Instant::now();
    let loaded = model.load_index(&path);
    println!("loaded in {:.1} s", start.elapsed().as_secs_f64());
    // Of no use to anybody after this.
    let _ = std::fs::remove_file(&path);
    loaded.map(|_| ())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let only = arguments.next();
    let cells = arguments.next().and_then(|cells| cells.parse().ok());
    for (name, users, items, draws, n_tastes) in [
        ("27k", 20_000, 26_744, 4_600_000, 300),
        ("178k", 50_000, 178_000, 8_000_000, 1000),
        ("1m", 100_000, 1_000_000, 20_000_000, 4000),
    ] {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let matrix = tastes(users, items, draws, n_tastes)?;
        let start = Instant::now();
        let settings = Als::new().factors(128).epochs(4).regularization(3e-4).unobserved_weight(0.1);
        let model = settings.fit_matrix(&matrix)?;
        println!(
            "{items} items; trained on {} entries in {:.1} s",
            matrix.nnz(),
            start.elapsed().as_secs_f64()
        );
        let catalog = Catalog {
            users: Arc::new(IdMap::from_ids(0..users as u32)?),
            items: Arc::new(IdMap::from_ids(0..items as u32)?),
        };
        compare(&Fitted::new(model, catalog, matrix)?, cells)?;
    }
    Ok(())
}
