//! Lists that mirror a person's tastes (Steck, RecSys 2018): who watches seven dramas for three comedies gets a list of about that.

use super::{Candidates, ItemGroups, ItemIdx, Reranker};
use crate::{Error, Result};

/// What is added of the history's shares to those of the list, so that a group without an item is no infinity. As in the paper.
const SMOOTHING: f64 = 0.01;

/// Chooses the list with the most of (1 - λ) · relevance - λ · the divergence of the history's shares of groups from the list's,
/// KL(history ‖ list), one item after the other. An item of several groups counts for each in part; somebody whose history has no
/// group is given the list as it is.
#[derive(Debug, Clone)]
#[doc(alias("CalibratedRecommendations", "calibrated"))]
pub struct Calibration {
    weight: f32,
    groups: ItemGroups,
}

impl Calibration {
    /// With λ, the weight of calibration, 0 to 1: at 0 nothing changes.
    #[must_use]
    pub fn new(weight: f32, groups: &ItemGroups) -> Self {
        Self { weight, groups: groups.clone() }
    }

    /// KL(history ‖ list) of two lists of items, the measure that is made small: 0 for the same shares of groups. `None` for a
    /// history without groups.
    pub fn divergence(&self, history: &[ItemIdx], list: &[ItemIdx]) -> Option<f64> {
        let wanted = self.shares(history)?;
        let mut sums = vec![0.0; wanted.len()];
        list.iter().for_each(|&item| self.add(item, &mut sums));
        Some(divergence(&wanted, &sums))
    }

    fn add(&self, item: ItemIdx, sums: &mut [f64]) {
        let groups = self.groups.of(item);
        groups.iter().for_each(|&group| sums[group as usize] += 1.0 / groups.len() as f64);
    }

    fn shares(&self, items: &[ItemIdx]) -> Option<Vec<f64>> {
        let mut sums = vec![0.0; self.groups.names().len()];
        items.iter().for_each(|&item| self.add(item, &mut sums));
        let total: f64 = sums.iter().sum();
        (total > 0.0).then(|| sums.into_iter().map(|sum| sum / total).collect())
    }
}

/// KL(wanted ‖ sums / their total), smoothed.
fn divergence(wanted: &[f64], sums: &[f64]) -> f64 {
    let total: f64 = sums.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let term = |(&p, &sum): (&f64, &f64)| {
        let q = (1.0 - SMOOTHING) * sum / total + SMOOTHING * p;
        if p > 0.0 { p * (p / q).ln() } else { 0.0 }
    };
    wanted.iter().zip(sums).map(term).sum()
}

impl Reranker for Calibration {
    fn order(&self, candidates: &Candidates<'_>, k: usize) -> Vec<usize> {
        let Candidates { items, relevance, history, .. } = candidates;
        let mut left: Vec<usize> = (0..items.len()).collect();
        let Some(wanted) = self.shares(history) else { return left };
        let weight = f64::from(self.weight);
        let mut sums = vec![0.0; wanted.len()];
        let mut order = Vec::with_capacity(k.min(items.len()));
        while order.len() < k && !left.is_empty() {
            let gain = |at: usize| {
                let mut with = sums.clone();
                self.add(items[at], &mut with);
                (1.0 - weight) * f64::from(relevance[at]) - weight * divergence(&wanted, &with)
            };
            let (mut best, mut most) = (0, gain(left[0]));
            for place in 1..left.len() {
                let gain = gain(left[place]);
                if gain > most {
                    (best, most) = (place, gain);
                }
            }
            let chosen = left.remove(best);
            self.add(items[chosen], &mut sums);
            order.push(chosen);
        }
        order.extend(left);
        order
    }

    fn check(&self, n_items: usize) -> Result<()> {
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(Error::parameter("weight", self.weight, "0 to 1"));
        }
        self.groups.check(n_items)
    }
}
