//! Varied lists: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998) and determinantal point processes by the fast greedy
//! search of Chen, Zhang & Zhou (NeurIPS 2018).

use std::sync::Arc;

use super::{Candidates, ItemGroups, ItemIdx, Reranker};
use crate::data::ids::Idx;
use crate::models::factors::{Vectors, dot};
use crate::{Error, Result};

/// How alike two items are, from 0 to 1: the cosine of what describes them.
#[derive(Debug, Clone)]
pub struct ItemLikeness(By);

#[derive(Debug, Clone)]
enum By {
    /// Unit vectors.
    Vectors(Arc<Vectors>),
    Groups(Arc<ItemGroups>),
}

impl From<&ItemGroups> for ItemLikeness {
    /// By common groups: of two sets the cosine.
    fn from(groups: &ItemGroups) -> Self {
        Self(By::Groups(Arc::new(groups.clone())))
    }
}

impl From<&Vectors> for ItemLikeness {
    /// By vectors, as those of a factorisation; opposite ones are as unlike as those at right angles.
    fn from(vectors: &Vectors) -> Self {
        let mut units = vectors.clone();
        for vector in units.as_mut_slice().chunks_mut(vectors.dim().max(1)) {
            let norm = dot(vector, vector).sqrt();
            if norm > 0.0 {
                vector.iter_mut().for_each(|x| *x /= norm);
            }
        }
        Self(By::Vectors(Arc::new(units)))
    }
}

/// How many groups two items have in common, and the product of how many each has.
fn common(groups: &ItemGroups, a: ItemIdx, b: ItemIdx) -> (usize, usize) {
    let (a, b) = (groups.of(a), groups.of(b));
    (a.iter().filter(|group| b.binary_search(group).is_ok()).count(), a.len() * b.len())
}

impl ItemLikeness {
    /// Of two items.
    fn of(&self, a: ItemIdx, b: ItemIdx) -> f32 {
        match &self.0 {
            By::Vectors(units) => dot(units.get(a.at()), units.get(b.at())).max(0.0),
            By::Groups(groups) => {
                let (common, sizes) = common(groups, a, b);
                if common == 0 { 0.0 } else { common as f32 / (sizes as f32).sqrt() }
            }
        }
    }

    /// As [`of`](Self::of), with sums in double precision: of items that are all but the same, all the digits count.
    fn exactly(&self, a: ItemIdx, b: ItemIdx) -> f64 {
        match &self.0 {
            By::Vectors(units) => {
                let pairs = units.get(a.at()).iter().zip(units.get(b.at()));
                pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>().max(0.0)
            }
            By::Groups(groups) => {
                let (common, sizes) = common(groups, a, b);
                if common == 0 { 0.0 } else { common as f64 / (sizes as f64).sqrt() }
            }
        }
    }

    fn check(&self, n_items: usize) -> Result<()> {
        match &self.0 {
            By::Groups(groups) => groups.check(n_items),
            By::Vectors(units) if units.len() == n_items => Ok(()),
            By::Vectors(units) => Err(Error::Shape {
                what: "vectors of items",
                expected: n_items.to_string(),
                found: units.len().to_string(),
            }),
        }
    }
}

fn check_share(name: &'static str, share: f32) -> Result<()> {
    if (0.0..=1.0).contains(&share) { Ok(()) } else { Err(Error::parameter(name, share, "0 to 1")) }
}

/// Maximal marginal relevance: the next item is the one with the most of λ · relevance - (1 - λ) · its likeness to the most alike
/// item already chosen.
#[derive(Debug, Clone)]
#[doc(alias = "MaximalMarginalRelevance")]
pub struct Mmr {
    relevance: f32,
    likeness: ItemLikeness,
}

impl Mmr {
    /// With λ, the weight of relevance, 0 to 1: at 1 nothing changes.
    #[must_use]
    pub fn new(relevance: f32, likeness: impl Into<ItemLikeness>) -> Self {
        Self { relevance, likeness: likeness.into() }
    }
}

impl Reranker for Mmr {
    fn order(&self, candidates: &Candidates<'_>, k: usize) -> Vec<usize> {
        let Candidates { items, relevance, .. } = candidates;
        let mut left: Vec<usize> = (0..items.len()).collect();
        let mut most_alike = vec![0.0_f32; items.len()];
        let mut order = Vec::with_capacity(k.min(items.len()));
        while order.len() < k && !left.is_empty() {
            let gain = |at: usize| self.relevance * relevance[at] - (1.0 - self.relevance) * most_alike[at];
            // The first of equal ones.
            let mut best = 0;
            for place in 1..left.len() {
                if gain(left[place]) > gain(left[best]) {
                    best = place;
                }
            }
            let chosen = left.remove(best);
            for &at in &left {
                most_alike[at] = most_alike[at].max(self.likeness.of(items[at], items[chosen]));
            }
            order.push(chosen);
        }
        order.extend(left);
        order
    }

    fn check(&self, n_items: usize) -> Result<()> {
        check_share("relevance", self.relevance)?;
        self.likeness.check(n_items)
    }
}

/// A determinantal point process: the list for which the determinant of q S q is large, S how alike its items are and q what
/// grows with their relevance. Unlike [`Mmr`] it weighs an item against all that were chosen together.
#[derive(Debug, Clone)]
#[doc(alias = "DeterminantalPointProcess")]
pub struct Dpp {
    relevance: f32,
    likeness: ItemLikeness,
}

/// An item that multiplies the determinant of S by no more than this adds nothing that the others do not have.
const NOTHING_NEW: f64 = 1e-9;

impl Dpp {
    /// With θ, the weight of relevance, 0 to below 1: q is exp(θ / (2 (1 - θ)) · relevance).
    #[must_use]
    pub fn new(relevance: f32, likeness: impl Into<ItemLikeness>) -> Self {
        Self { relevance, likeness: likeness.into() }
    }
}

impl Reranker for Dpp {
    fn order(&self, candidates: &Candidates<'_>, k: usize) -> Vec<usize> {
        let Candidates { items, relevance, .. } = candidates;
        let weight = f64::from(self.relevance) / (2.0 * (1.0 - f64::from(self.relevance)));
        // Units are rounded: by their lengths equal vectors are alike to the last bit. One without a length is like none.
        let own = |&item: &ItemIdx| Some(self.likeness.exactly(item, item)).filter(|&own| own > 0.0);
        let lengths: Vec<f64> = items.iter().map(|item| own(item).unwrap_or(1.0)).collect();
        let alike =
            |a: usize, b: usize| self.likeness.exactly(items[a], items[b]) / (lengths[a] * lengths[b]).sqrt();
        let mut left: Vec<usize> = (0..items.len()).collect();
        // What an item would multiply the determinant of S by, and its row of the Cholesky factor of S. What q is to that of q S q is
        // added as a logarithm: near θ = 1 no number would hold it.
        let mut gains = vec![1.0_f64; items.len()];
        let mut rows: Vec<Vec<f64>> = vec![Vec::new(); items.len()];
        let mut order = Vec::with_capacity(k.min(items.len()));
        while order.len() < k {
            let worth = |at: usize| 2.0 * weight * f64::from(relevance[at]) + gains[at].ln();
            // The first of equal ones.
            let mut best: Option<usize> = None;
            for place in (0..left.len()).filter(|&place| gains[left[place]] > NOTHING_NEW) {
                if best.is_none_or(|best| worth(left[place]) > worth(left[best])) {
                    best = Some(place);
                }
            }
            let Some(place) = best else { break };
            let chosen = left.remove(place);
            let (own, root) = (rows[chosen].clone(), gains[chosen].sqrt());
            for &at in &left {
                let common: f64 = own.iter().zip(&rows[at]).map(|(a, b)| a * b).sum();
                let new = (alike(chosen, at) - common) / root;
                rows[at].push(new);
                gains[at] -= new * new;
            }
            order.push(chosen);
        }
        order.extend(left);
        order
    }

    fn check(&self, n_items: usize) -> Result<()> {
        check_share("relevance", self.relevance)?;
        if self.relevance == 1.0 {
            return Err(Error::parameter("relevance", 1, "below 1"));
        }
        self.likeness.check(n_items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ids::UserIdx;

    fn candidates(n: usize) -> (Candidates<'static>, ItemLikeness, Vectors) {
        let mut vectors = Vectors::zeros(n, 3).unwrap();
        for (at, x) in vectors.as_mut_slice().iter_mut().enumerate() {
            *x = ((at * 7919 + 3) % 11) as f32 + 0.5;
        }
        let items = (0..n as u32).map(ItemIdx).collect();
        let relevance = (0..n).map(|at| 1.0 - at as f32 / n as f32).collect();
        (
            Candidates { user: UserIdx(0), items, relevance, history: &[] },
            ItemLikeness::from(&vectors),
            vectors,
        )
    }

    /// The determinant of each set by Gauss's elimination, for every item that might be next.
    #[test]
    fn the_greedy_choice_of_a_dpp_is_that_of_the_largest_determinant() {
        let (candidates, likeness, _) = candidates(9);
        let dpp = Dpp::new(0.6, likeness.clone());
        let order = dpp.order(&candidates, 3);
        let quality = |at: usize| (0.75 * f64::from(candidates.relevance[at])).exp();
        let determinant = |set: &[usize]| {
            let entry = |a: usize, b: usize| {
                let alike = if a == b {
                    1.0
                } else {
                    f64::from(likeness.of(candidates.items[a], candidates.items[b]))
                };
                quality(a) * quality(b) * alike
            };
            let mut m: Vec<Vec<f64>> =
                set.iter().map(|&a| set.iter().map(|&b| entry(a, b)).collect()).collect();
            let mut product = 1.0;
            for i in 0..set.len() {
                product *= m[i][i];
                for j in i + 1..set.len() {
                    let factor = m[j][i] / m[i][i];
                    for c in i..set.len() {
                        let above = m[i][c];
                        m[j][c] -= factor * above;
                    }
                }
            }
            product
        };
        for n in 0..3 {
            let with = |next: usize| determinant(&[&order[..n], &[next]].concat());
            let best = (0..9).filter(|at| !order[..n].contains(at)).map(with).fold(0.0, f64::max);
            assert!((with(order[n]) - best).abs() < 1e-6 * best, "place {n} of {order:?}");
        }
        assert_eq!(order.len(), 9);
    }

    #[test]
    fn with_all_the_weight_on_relevance_nothing_changes_and_with_none_the_second_is_unlike_the_first() {
        let (candidates, likeness, _) = candidates(9);
        assert_eq!(Mmr::new(1.0, likeness.clone()).order(&candidates, 9), (0..9).collect::<Vec<_>>());
        let varied = Mmr::new(0.0, likeness.clone()).order(&candidates, 9);
        let alike = |at: usize| likeness.of(candidates.items[0], candidates.items[at]);
        assert!((1..9).all(|at| alike(at) >= alike(varied[1])), "{varied:?}");
        assert!(
            Mmr::new(1.5, likeness.clone()).check(9).is_err()
                && Dpp::new(1.0, likeness.clone()).check(9).is_err()
        );
        assert!(Mmr::new(0.5, likeness).check(8).is_err(), "vectors of another catalogue");
    }

    /// Relevance may weigh as much as it likes: what is on the list already is not listed again before what is not.
    #[test]
    fn duplicates_come_after_all_that_is_not_on_the_list() {
        // Four directions; the first, the most relevant one, four times, once of another length.
        let kinds = [0, 0, 0, 1, 0, 2, 3];
        for salt in 0..20_u32 {
            let mut vectors = Vectors::zeros(kinds.len(), 4).unwrap();
            for (at, vector) in vectors.as_mut_slice().chunks_mut(4).enumerate() {
                let scale = if at == 2 { 3.0 } else { 1.0 };
                for (j, x) in (0_u32..).zip(vector) {
                    let own = if j == kinds[at] { 1.0 } else { 0.0 };
                    *x = scale * (own + 0.13 * ((j * 7 + salt * 3) % 11) as f32);
                }
            }
            let likeness = ItemLikeness::from(&vectors);
            let (mut candidates, ..) = candidates(kinds.len());
            candidates.relevance = vec![1.0, 0.95, 0.9, 0.5, 0.45, 0.3, 0.0];
            for theta in [0.5, 0.975, 0.99, 0.999, 0.999_999_9] {
                let order = Dpp::new(theta, likeness.clone()).order(&candidates, kinds.len());
                let mut first: Vec<u32> = order[..4].iter().map(|&at| kinds[at]).collect();
                first.sort_unstable();
                assert_eq!(first, [0, 1, 2, 3], "θ = {theta}, {salt}: {order:?}");
                let mut all = order.clone();
                all.sort_unstable();
                assert_eq!(all, (0..kinds.len()).collect::<Vec<_>>());
            }
        }
    }
}
