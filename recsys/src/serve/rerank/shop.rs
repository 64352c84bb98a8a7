//! What a shop asks of lists: no more than so many of a provider, at least so many of a kind, and some items pushed.

use super::{Candidates, ItemGroups, ItemIdx, Reranker};
use crate::data::ids::{Id, Idx};
use crate::data::interactions::Catalog;
use crate::{Error, Result};

/// How many items of a list may, or must, be of a group.
#[derive(Debug, Clone)]
#[doc(alias("capacity", "provider fairness"))]
pub struct Quota {
    groups: ItemGroups,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    AtMost(usize),
    AtLeast(usize, String),
}

impl Quota {
    /// At most so many items of any one group; a list is shorter where not enough candidates are left.
    #[must_use]
    pub fn at_most(n: usize, groups: &ItemGroups) -> Self {
        Self { groups: groups.clone(), rule: Rule::AtMost(n) }
    }

    /// At least so many items of the named group, as far as there are candidates: in place of the last of the others.
    #[must_use]
    pub fn at_least(n: usize, group: &str, groups: &ItemGroups) -> Self {
        Self { groups: groups.clone(), rule: Rule::AtLeast(n, group.to_owned()) }
    }

    fn limited(&self, items: &[ItemIdx], most: usize) -> Vec<usize> {
        let mut counts = vec![0; self.groups.names().len()];
        let mut order = Vec::new();
        for (at, &item) in items.iter().enumerate() {
            let own = self.groups.of(item);
            if own.iter().all(|&group| counts[group as usize] < most) {
                own.iter().for_each(|&group| counts[group as usize] += 1);
                order.push(at);
            }
        }
        order
    }

    fn filled(&self, items: &[ItemIdx], least: usize, group: u32, k: usize) -> Vec<usize> {
        let is_of = |at: &usize| self.groups.of(items[*at]).contains(&group);
        let wanted: Vec<usize> = (0..items.len()).filter(is_of).take(least.min(k)).collect();
        let others =
            (0..items.len()).filter(|at| !wanted.contains(at)).take(k.min(items.len()) - wanted.len());
        let mut list: Vec<usize> = others.chain(wanted.iter().copied()).collect();
        // In the order they came in.
        list.sort_unstable();
        let rest: Vec<usize> = (0..items.len()).filter(|at| list.binary_search(at).is_err()).collect();
        list.extend(rest);
        list
    }
}

impl Reranker for Quota {
    fn order(&self, candidates: &Candidates<'_>, k: usize) -> Vec<usize> {
        let items = &candidates.items;
        match &self.rule {
            Rule::AtMost(most) => self.limited(items, *most),
            Rule::AtLeast(least, name) => match self.groups.number(name) {
                Some(group) => self.filled(items, *least, group, k),
                None => (0..items.len()).collect(),
            },
        }
    }

    fn check(&self, n_items: usize) -> Result<()> {
        match &self.rule {
            Rule::AtMost(0) => {
                return Err(Error::parameter("at most", 0, "at least 1; `Filter::only` bars items"));
            }
            Rule::AtLeast(_, name) if self.groups.number(name).is_none() => {
                let known = format!("one of {}", self.groups.names().join(", "));
                return Err(Error::parameter("group", name, known));
            }
            _ => {}
        }
        self.groups.check(n_items)
    }
}

/// Adds to the relevance of items, which is from 0 to 1 among the candidates: 0.1 lifts an item past those that are better by less
/// than a tenth of the range, 1 past all.
#[derive(Debug, Clone)]
#[doc(alias("promote", "business rules"))]
pub struct Boost {
    weights: Vec<f32>,
}

impl Boost {
    /// By a function of the item; negative to push down.
    #[must_use]
    pub fn new<U: Id, I: Id>(catalog: &Catalog<U, I>, weight: impl Fn(&I) -> f32) -> Self {
        Self { weights: catalog.items.ids().iter().map(weight).collect() }
    }
}

impl Reranker for Boost {
    fn order(&self, candidates: &Candidates<'_>, _: usize) -> Vec<usize> {
        let Candidates { items, relevance, .. } = candidates;
        let boosted = |at: usize| relevance[at] + self.weights[items[at].at()];
        let mut order: Vec<usize> = (0..items.len()).collect();
        // Stable: equal ones stay in order.
        order.sort_by(|&a, &b| boosted(b).total_cmp(&boosted(a)));
        order
    }

    fn check(&self, n_items: usize) -> Result<()> {
        if self.weights.len() != n_items {
            return Err(Error::Shape {
                what: "boosts of items",
                expected: n_items.to_string(),
                found: self.weights.len().to_string(),
            });
        }
        match self.weights.iter().find(|weight| !weight.is_finite()) {
            Some(weight) => Err(Error::parameter("boost", weight, "finite")),
            None => Ok(()),
        }
    }
}
