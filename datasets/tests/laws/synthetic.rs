//! Stand-ins: reproducible, of the right form, with a structure that can be found and is not trivial.

use std::collections::{BTreeMap, BTreeSet};

use cairn_datasets::synthetic::{self, Ratings, RatingsPlan};
use cairn_datasets::{Dataset, Error, ImageDataset};

fn image(set: &ImageDataset, i: usize) -> Vec<f32> {
    set.pixels(i).unwrap().iter().map(|&p| f32::from(p) / 255.0).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Share of test images to which the nearest of the candidates gives the right label.
fn accuracy(candidates: &[(Vec<f32>, u32)], test: &ImageDataset) -> f64 {
    let right = (0..test.len()).filter(|&i| {
        let image = image(test, i);
        let nearest =
            candidates.iter().min_by(|a, b| distance(&a.0, &image).total_cmp(&distance(&b.0, &image)));
        nearest.unwrap().1 == test.labels()[i]
    });
    right.count() as f64 / test.len() as f64
}

#[test]
fn digits_are_a_function_of_the_seed() {
    let (a, b, c) = (
        synthetic::digits(50, 7).unwrap(),
        synthetic::digits(50, 7).unwrap(),
        synthetic::digits(50, 8).unwrap(),
    );
    assert!((0..50).all(|i| a.pixels(i) == b.pixels(i)) && a.labels() == b.labels());
    assert!((0..50).all(|i| a.pixels(i) != c.pixels(i)));
    assert!((0..10).all(|digit| a.labels().iter().filter(|&&l| l == digit).count() == 5));
    assert!(synthetic::digits(0, 7).unwrap().is_empty());
}

#[test]
fn digits_can_be_learnt_but_not_from_their_averages() {
    let (train, test) = (synthetic::digits(2000, 1).unwrap(), synthetic::digits(300, 2).unwrap());
    let each: Vec<_> = (0..train.len()).map(|i| (image(&train, i), train.labels()[i])).collect();
    let mut means = vec![(vec![0f32; 784], 0u32); 10];
    for (digit, mean) in means.iter_mut().enumerate() {
        mean.1 = digit as u32;
        for (pixels, _) in each.iter().filter(|(_, label)| *label == mean.1) {
            mean.0.iter_mut().zip(pixels).for_each(|(m, p)| *m += p / 200.0);
        }
    }
    let (neighbour, mean) = (accuracy(&each, &test), accuracy(&means, &test));
    assert!(neighbour > 0.85, "nearest neighbour: {neighbour}");
    assert!(mean < 0.8 && mean > 0.3, "nearest mean: {mean}");
}

#[test]
fn ratings_have_the_shape_of_movielens() {
    let plan = RatingsPlan::default();
    let data = synthetic::ratings(&plan, 1).unwrap();
    assert_eq!(data, synthetic::ratings(&plan, 1).unwrap());
    assert_ne!(data.log, synthetic::ratings(&plan, 2).unwrap().log);
    assert_eq!(data.log.len(), 100_000);
    let users: BTreeSet<u32> = data.log.iter().map(|r| r.0).collect();
    assert_eq!((users.len(), data.titles.len()), (943, 1682));
    let pairs: BTreeSet<(u32, u32)> = data.log.iter().map(|r| (r.0, r.1)).collect();
    assert_eq!(pairs.len(), data.log.len());
    assert!(data.log.iter().all(|r| data.titles.contains_key(&r.1)));
    assert!(data.log.iter().all(|r| r.2.fract() == 0.0 && (1.0..=5.0).contains(&r.2)));
    let mean = data.log.iter().map(|r| f64::from(r.2)).sum::<f64>() / 1e5;
    assert!((3.0..4.2).contains(&mean), "{mean}");
    let (genre, rest) = data.titles[&5].split_once(" No. 5 (").unwrap();
    let year: u16 = rest.strip_suffix(')').unwrap().parse().unwrap();
    assert!(genre.starts_with(char::is_uppercase) && (1950..1999).contains(&year), "{genre}, {year}");
    assert!(data.log.is_sorted_by_key(|r| r.3));
}

#[test]
fn impossible_plans_are_errors() {
    let plan = RatingsPlan { users: 10, items: 10, ratings: 50, rank: 2 };
    assert!(synthetic::ratings(&plan, 1).is_ok());
    for bad in [
        RatingsPlan { users: 0, ..plan },
        RatingsPlan { items: 0, ..plan },
        RatingsPlan { ratings: 0, ..plan },
        RatingsPlan { ratings: 101, ..plan },
        RatingsPlan { rank: 0, ..plan },
        RatingsPlan { rank: 19, ..plan },
        RatingsPlan { users: usize::MAX, ..plan },
    ] {
        assert!(matches!(synthetic::ratings(&bad, 1), Err(Error::Argument { .. })), "{bad:?}");
    }
}

/// Holds out each person's last film and ranks the rest: by popularity, and by how often a film is seen together with
/// what the person has seen. Gives the share of people for whom the film was among the first ten, for both.
fn hits_at_10(data: &Ratings) -> (f64, f64) {
    let mut by_user: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for &(user, item, ..) in &data.log {
        by_user.entry(user).or_default().push(item as usize - 1);
    }
    let n = data.titles.len();
    let held: Vec<usize> = by_user.values_mut().map(|seen| seen.pop().unwrap()).collect();
    let mut popularity = vec![0f64; n];
    let mut together = vec![0f64; n * n];
    for seen in by_user.values() {
        for &a in seen {
            popularity[a] += 1.0;
            seen.iter().for_each(|&b| together[a * n + b] += 1.0);
        }
    }
    let mut hits = (0.0, 0.0);
    for (seen, &held) in by_user.values().zip(&held) {
        let similar: Vec<f64> = (0..n)
            .map(|i| {
                seen.iter()
                    .map(|&j| together[i * n + j] / (popularity[i] * popularity[j]).sqrt().max(1.0))
                    .sum()
            })
            .collect();
        let among_ten = |score: &[f64]| {
            let better = (0..n).filter(|i| !seen.contains(i) && score[*i] > score[held]);
            if better.count() < 10 { 1.0 } else { 0.0 }
        };
        hits.0 += among_ten(&popularity);
        hits.1 += among_ten(&similar);
    }
    (hits.0 / held.len() as f64, hits.1 / held.len() as f64)
}

#[test]
fn tastes_predict_more_than_popularity() {
    let plan = RatingsPlan { users: 400, items: 500, ratings: 20_000, rank: 8 };
    let (popular, similar) = hits_at_10(&synthetic::ratings(&plan, 3).unwrap());
    assert!(popular > 0.02, "popularity should tell something: {popular}");
    assert!(similar > 1.3 * popular, "{similar} by similarity, {popular} by popularity");
}
