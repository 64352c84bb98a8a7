//! Ratings with a planted taste of low rank.
//!
//! Every person likes some genres and every film belongs to one or two of them, so the matrix of tastes has at most as many
//! independent rows as there are genres. A few films are widely known whatever the genre. People see what is known and what
//! they like, and rate it by how much they like it, with noise. So popularity alone predicts something, and a factorisation
//! that finds the genres predicts a good deal more.

use std::collections::BTreeMap;

use cairn_tensor::Rng;

use crate::error::{Error, Result};
use crate::random::{self, below, between, unit};
use crate::synthetic::room;

/// How many people, films and ratings, and the rank of the tastes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatingsPlan {
    /// Number of people.
    pub users: usize,
    /// Number of films.
    pub items: usize,
    /// Number of ratings. The result has fewer if people would need more films than there are, and more if there are more
    /// people than ratings: everybody rates between one film and all.
    pub ratings: usize,
    /// Number of genres, at most 18.
    pub rank: usize,
}

impl Default for RatingsPlan {
    /// The shape of MovieLens 100K: 943 people, 1,682 films, 100,000 ratings; rank 8.
    fn default() -> Self {
        RatingsPlan { users: 943, items: 1682, ratings: 100_000, rank: 8 }
    }
}

/// The genres that films may be of, in MovieLens' order.
const GENRES: [&str; 18] = [
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

/// Ratings and the films they are of.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratings {
    /// `(user, item, value, time)` of each rating: users and films numbered from 1, whole stars from 1 to 5, seconds since 1970
    /// (UTC). What `cairn_recsys::Interactions::from_ratings` takes.
    pub log: Vec<(u32, u32, f32, i64)>,
    /// The titles of all films by number, such as `Drama No. 7 (1994)`, which begins with the genre.
    pub titles: BTreeMap<u32, String>,
}

/// How strongly taste decides what is seen, against popularity.
const TASTE: f64 = 5.0;

/// Ratings by that plan, in order of time. Nobody rates a film twice.
///
/// ```
/// use cairn_datasets::synthetic::{self, RatingsPlan};
/// let data = synthetic::ratings(&RatingsPlan { users: 50, items: 80, ratings: 1000, rank: 4 }, 1)?;
/// assert_eq!(data.titles.len(), 80);
/// assert!(data.log.iter().all(|&(_, _, value, _)| (1.0..=5.0).contains(&value)));
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] when there are no people or films, more ratings than pairs or than
/// memory can hold, or a rank outside 1 to 18.
pub fn ratings(plan: &RatingsPlan, seed: u64) -> Result<Ratings> {
    check(plan)?;
    let mut log = room(plan.ratings, 1, "ratings")?;
    let films = Films::new(plan, &mut random::stream(seed, 0))?;
    for (user, seen) in how_many(plan, &mut random::stream(seed, 1))?.into_iter().enumerate() {
        let mut rng = random::stream(seed, 2 + user as u64);
        rate(user, seen, &films, plan.rank, &mut log, &mut rng);
    }
    log.sort_by_key(|&(user, item, _, time)| (time, user, item));
    Ok(Ratings { log, titles: films.titles })
}

fn check(plan: &RatingsPlan) -> Result<()> {
    let RatingsPlan { users, items, ratings, rank } = *plan;
    let wrong = |message: String| Err(Error::argument("RatingsPlan", message));
    if users == 0 || items == 0 || ratings == 0 {
        return wrong(format!(
            "{users} people, {items} films and {ratings} ratings: each must be at least 1"
        ));
    }
    if users.saturating_mul(items) < ratings || u32::try_from(users.max(items)).is_err() {
        return wrong(format!("{users} people and {items} films cannot have {ratings} ratings"));
    }
    if !(1..=GENRES.len()).contains(&rank) {
        return wrong(format!("the rank must be from 1 to {}, not {rank}", GENRES.len()));
    }
    Ok(())
}

struct Films {
    titles: BTreeMap<u32, String>,
    /// How much of each genre a film has, [items, rank].
    genres: Vec<f64>,
    /// Logarithm of how well known it is.
    fame: Vec<f64>,
}

impl Films {
    fn new(plan: &RatingsPlan, rng: &mut Rng) -> Result<Self> {
        let mut genres = room(plan.items, plan.rank, "films")?;
        genres.resize(plan.items * plan.rank, 0.0);
        let mut films = Films { titles: BTreeMap::new(), genres, fame: Vec::new() };
        // Fame falls with rank as words do (Zipf), and has nothing to do with the film's number.
        let mut fame_ranks: Vec<usize> = room(plan.items, 1, "films")?;
        fame_ranks.extend(1..=plan.items);
        random::shuffle(&mut fame_ranks, rng);
        for (i, fame_rank) in fame_ranks.into_iter().enumerate() {
            let main = below(rng, plan.rank as u64) as usize;
            let second = below(rng, plan.rank as u64) as usize;
            let part = between(rng, 0.0, 0.5);
            let row = &mut films.genres[i * plan.rank..][..plan.rank];
            row[main] += 1.0 - part;
            row[second] += part;
            films.fame.push(-0.6 * (fame_rank as f64).ln());
            let year = 1950 + below(rng, 49);
            films.titles.insert(i as u32 + 1, format!("{} No. {} ({year})", GENRES[main], i + 1));
        }
        Ok(films)
    }
}

/// How many films each person rates: most few, some very many, as people do (here within a factor of about 11).
fn how_many(plan: &RatingsPlan, rng: &mut Rng) -> Result<Vec<usize>> {
    let mut shares: Vec<f64> = room(plan.users, 1, "people")?;
    shares.extend((0..plan.users).map(|_| between(rng, -1.2, 1.2).exp()));
    let scale = plan.ratings as f64 / shares.iter().sum::<f64>();
    // Rounding the running total keeps the sum exact.
    let (mut total, mut given) = (0.0, 0);
    let mut counts = room(plan.users, 1, "people")?;
    for share in shares {
        total += share * scale;
        let count = (total.round() as usize).saturating_sub(given);
        given += count;
        counts.push(count.clamp(1, plan.items));
    }
    Ok(counts)
}

/// Draws what one person has seen, and rates it.
fn rate(
    user: usize,
    seen: usize,
    films: &Films,
    rank: usize,
    log: &mut Vec<(u32, u32, f32, i64)>,
    rng: &mut Rng,
) {
    // Cubes of even draws: one or two genres loved, the rest indifferent.
    let taste: Vec<f64> = (0..rank).map(|_| unit(rng).powi(3)).collect();
    let liking = |film: usize| -> f64 {
        films.genres[film * rank..][..rank].iter().zip(&taste).map(|(g, t)| g * t).sum()
    };
    // The greatest sums of log-weight and Gumbel noise are a draw without replacement in proportion to the weights.
    let mut keys: Vec<(f64, usize)> = (0..films.fame.len())
        .map(|film| (films.fame[film] + TASTE * liking(film) - (-(1.0 - unit(rng)).ln()).ln(), film))
        .collect();
    keys.sort_by(|a, b| b.0.total_cmp(&a.0));
    keys.truncate(seen);
    random::shuffle(&mut keys, rng);
    let mut time = 880_000_000 + below(rng, 10_000_000) as i64;
    for (_, film) in keys {
        // 1 + 4 * sqrt(liking) spreads the scale; noise of about half a star.
        let noise = between(rng, -0.8, 0.8) + between(rng, -0.8, 0.8);
        let value = (1.5 + 3.5 * liking(film).sqrt() + noise).round().clamp(1.0, 5.0);
        time += 1 + below(rng, 600) as i64;
        log.push((user as u32 + 1, film as u32 + 1, value as f32, time));
    }
}
