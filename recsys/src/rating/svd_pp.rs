//! SVD++: r = mean + bᵤ + bᵢ + q·(p + |N|^-½ Σ y) over the items N the user rated (Koren, KDD 2008).
//!
//! Written plainly, a step for one rating changes y of all items the user rated: a user with n ratings costs n² f. But all
//! those y change alike, y ← (1 - γλ) y + γ e |N|^-½ q, so within a user the whole set is carried as one factor and one
//! vector, its sum is updated in f operations, and the y themselves are written once, at the end of the user. These are the
//! steps of the plain loop, not an approximation: an epoch costs what one of plain factorisation does.
//!
//! Every user touches the y of many items, so users cannot go side by side without changing the result; training runs on
//! one thread. Defaults are Surprise's.

use cairn_tensor::kernel::vectorize;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::biased::{Biased, LANES, sgd_settings};
use super::biased_mf::{dot, normal_table};
use super::{RatingModel, RatingStats, diverged};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::models::factors::{FactorModel, Factors, Vectors};
use crate::serve::file::Saved;
use crate::{Result, check};

sgd_settings! {
    /// Settings. Defaults: 20 factors, 20 epochs, learning rate 0.007, regularisation 0.02, start N(0, 0.1²), seed 0.
    #[doc(alias = "SVDpp")]
    SvdPlusPlus { factors: 20, learning_rate: 0.007 }
}

/// All parameters while they are trained; tables have `width` floats a row.
struct Parameters {
    mean: f32,
    width: usize,
    p: Vec<f32>,
    q: Vec<f32>,
    y: Vec<f32>,
    user_biases: Vec<f32>,
    item_biases: Vec<f32>,
    /// |N|^-½ Σ y of the user at hand.
    implicit: Vec<f32>,
    /// What all y of the user at hand have gained, besides their factor.
    gain: Vec<f32>,
}

impl Estimator for SvdPlusPlus {
    type Model = SvdPlusPlusModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<SvdPlusPlusModel> {
        self.check(matrix)?;
        let stats = RatingStats::new("SVD++", matrix, self.rating_scale)?;
        let width = self.factors.next_multiple_of(LANES);
        let mut rng = Pcg64::seed_from_u64(self.seed);
        let mut table = |n| normal_table(n, self.factors, width, self.init_std_dev, &mut rng);
        let mut parameters = Parameters {
            mean: stats.mean(),
            width,
            p: table(matrix.n_rows())?,
            q: table(matrix.n_cols())?,
            y: table(matrix.n_cols())?,
            user_biases: vec![0.0; matrix.n_rows()],
            item_biases: vec![0.0; matrix.n_cols()],
            implicit: vec![0.0; width],
            gain: vec![0.0; width],
        };
        let mut progress = Vec::new();
        for _ in 0..self.epochs {
            let squares = vectorize(
                #[inline(always)]
                || parameters.epoch(matrix, self.learning_rate, self.regularization),
            );
            progress.push((squares / matrix.nnz() as f64).sqrt());
        }
        let all = [&parameters.p, &parameters.q, &parameters.y, &parameters.user_biases];
        if all.iter().any(|v| v.iter().any(|x| !x.is_finite())) {
            return Err(diverged("SVD++"));
        }
        self.model(matrix, stats, parameters, progress)
    }
}

impl Parameters {
    /// One pass, user by user; the sum of squared errors met on the way.
    #[inline(always)]
    fn epoch(&mut self, matrix: &UserItems, rate: f32, reg: f32) -> f64 {
        let mut squares = 0.0;
        for user in matrix.row_indices().filter(|&u| matrix.row_len(u) > 0) {
            squares += self.user(user, matrix.row(user), rate, reg);
        }
        squares
    }

    #[inline(always)]
    fn user(&mut self, user: UserIdx, (items, ratings): (&[ItemIdx], &[f32]), rate: f32, reg: f32) -> f64 {
        let width = self.width;
        let p = &mut self.p[user.at() * width..(user.at() + 1) * width];
        let bu = &mut self.user_biases[user.at()];
        let (implicit, gain) = (&mut self.implicit[..], &mut self.gain[..]);
        implicit.fill(0.0);
        gain.fill(0.0);
        for item in items {
            let y = &self.y[item.at() * width..(item.at() + 1) * width];
            implicit.iter_mut().zip(y).for_each(|(z, y)| *z += y);
        }
        let root = (items.len() as f32).sqrt().recip();
        implicit.iter_mut().for_each(|z| *z *= root);
        let keep = 1.0 - rate * reg;
        let mut kept = 1.0;
        let mut squares = 0.0;
        for (item, &rating) in items.iter().zip(ratings) {
            let q = &mut self.q[item.at() * width..(item.at() + 1) * width];
            let bi = &mut self.item_biases[item.at()];
            let error = rating - (self.mean + *bu + *bi + dot(p, q) + dot(implicit, q));
            *bu += rate * (error - reg * *bu);
            *bi += rate * (error - reg * *bi);
            let step = rate * error;
            // The sum over n items of gains |N|^-½ q, times |N|^-½, is q.
            for (((p, q), z), g) in p.iter_mut().zip(q).zip(&mut *implicit).zip(&mut *gain) {
                let (old_p, old_q, old_z) = (*p, *q, *z);
                *p = keep * old_p + step * old_q;
                *q = keep * old_q + step * (old_p + old_z);
                *z = keep * old_z + step * old_q;
                *g = keep * *g + step * root * old_q;
            }
            kept *= keep;
            squares += f64::from(error * error);
        }
        for item in items {
            let y = &mut self.y[item.at() * width..(item.at() + 1) * width];
            y.iter_mut().zip(&*gain).for_each(|(y, g)| *y = kept * *y + g);
        }
        squares
    }
}

impl SvdPlusPlus {
    fn model(
        &self,
        matrix: &UserItems,
        stats: RatingStats,
        mut trained: Parameters,
        progress: Vec<f64>,
    ) -> Result<SvdPlusPlusModel> {
        let (width, dim) = (trained.width, self.factors);
        let mut implicit = Vectors::zeros(matrix.n_cols(), dim)?;
        for (out, y) in implicit.as_mut_slice().chunks_mut(dim).zip(trained.y.chunks(width)) {
            out.copy_from_slice(&y[..dim]);
        }
        for (user, p) in matrix.row_indices().zip(trained.p.chunks_mut(width)) {
            let z = implicit_part(&implicit, matrix.row(user).0);
            p.iter_mut().zip(z).for_each(|(p, z)| *p += z);
        }
        let biased = Biased::new(
            stats.mean(),
            dim,
            width,
            (&trained.p, &trained.user_biases, &|u| matrix.row_len(UserIdx(u as u32)) > 0),
            (&trained.q, &trained.item_biases, &|i| stats.ratings_of(ItemIdx(i as u32)) > 0),
        )?;
        Ok(SvdPlusPlusModel { stats, biased, implicit, regularization: self.regularization, progress })
    }
}

/// |N|^-½ Σ y.
fn implicit_part(implicit: &Vectors, items: &[ItemIdx]) -> Vec<f32> {
    let mut sum = vec![0.0; implicit.dim()];
    for item in items {
        sum.iter_mut().zip(implicit.get(item.at())).for_each(|(z, y)| *z += y);
    }
    let root = (items.len().max(1) as f32).sqrt().recip();
    sum.iter_mut().for_each(|z| *z *= root);
    sum
}

/// A trained SVD++.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SvdPlusPlusModel {
    stats: RatingStats,
    biased: Biased,
    implicit: Vectors,
    regularization: f32,
    progress: Vec<f64>,
}

impl SvdPlusPlusModel {
    /// The vectors: a user's is p + |N|^-½ Σ y, followed by 1 and mean + bias; an item's q is followed by its bias and 1.
    pub fn factors(&self) -> &Factors {
        &self.biased.factors
    }

    /// y: what it says about a user to have rated an item, whatever the rating.
    pub fn implicit(&self) -> &Vectors {
        &self.implicit
    }
}

impl FactorModel for SvdPlusPlusModel {
    const NAME: &'static str = "SVD++";

    fn factors(&self) -> &Factors {
        &self.biased.factors
    }
    /// As for [`BiasedMfModel`](super::BiasedMfModel): near the scores of training, not equal.
    fn user_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let implicit = implicit_part(&self.implicit, items);
        self.biased.fold_in(items, values, &implicit, self.regularization, true)
    }
    fn similarity_dim(&self) -> usize {
        self.biased.dim()
    }
    fn training_curve(&self) -> &[f64] {
        &self.progress
    }
}

impl RatingModel for SvdPlusPlusModel {
    fn stats(&self) -> &RatingStats {
        &self.stats
    }
    fn expected(&self, _: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        self.biased.expected(user, item)
    }
}

impl Saved for SvdPlusPlusModel {
    const FORMAT: &'static str = "svd++";

    fn validate(&self) -> std::result::Result<(), String> {
        self.stats.validate(self.biased.factors.items.len())?;
        self.biased.validate()?;
        if self.implicit.dim() != self.biased.dim() || self.implicit.len() != self.biased.factors.items.len()
        {
            return Err("the implicit vectors do not fit the others".to_owned());
        }
        check::finite("the implicit vectors", self.implicit.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sparse::Csr;

    /// The loop as Surprise writes it: every y of the user at every rating.
    fn plain(parameters: &mut Parameters, matrix: &UserItems, rate: f32, reg: f32) {
        let w = parameters.width;
        for (user, item, rating) in matrix.entries() {
            let met = matrix.row(user).0;
            let root = (met.len() as f32).sqrt().recip();
            let z: Vec<f32> = (0..w)
                .map(|f| root * met.iter().map(|j| parameters.y[j.at() * w + f]).sum::<f32>())
                .collect();
            let (u, i) = (user.at(), item.at());
            let product: f32 =
                (0..w).map(|f| parameters.q[i * w + f] * (parameters.p[u * w + f] + z[f])).sum();
            let biases = parameters.user_biases[u] + parameters.item_biases[i];
            let error = rating - (parameters.mean + biases + product);
            parameters.user_biases[u] += rate * (error - reg * parameters.user_biases[u]);
            parameters.item_biases[i] += rate * (error - reg * parameters.item_biases[i]);
            for f in 0..w {
                let (p, q) = (parameters.p[u * w + f], parameters.q[i * w + f]);
                parameters.p[u * w + f] += rate * (error * q - reg * p);
                parameters.q[i * w + f] += rate * (error * (p + z[f]) - reg * q);
                for j in met {
                    let y = &mut parameters.y[j.at() * w + f];
                    *y += rate * (error * q * root - reg * *y);
                }
            }
        }
    }

    #[test]
    fn steps_are_those_of_the_plain_loop() {
        let entries = (0..9_u32)
            .flat_map(|u| (0..13_u32).map(move |i| (u, i)))
            .filter(|(u, i)| (u * 5 + i * 3) % 4 != 0);
        let entries = entries.map(|(u, i)| (UserIdx(u), ItemIdx(i), ((u * i) % 5 + 1) as f32));
        let matrix = Csr::from_entries(9, 13, entries).unwrap();
        let start = || {
            let mut rng = Pcg64::seed_from_u64(5);
            let mut table = |n| normal_table(n, 5, 8, 0.3, &mut rng).unwrap();
            let (p, q, y) = (table(9), table(13), table(13));
            let (user_biases, item_biases) = (vec![0.0; 9], vec![0.0; 13]);
            let (implicit, gain) = (vec![0.0; 8], vec![0.0; 8]);
            Parameters { mean: 3.0, width: 8, p, q, y, user_biases, item_biases, implicit, gain }
        };
        let (mut fast, mut slow) = (start(), start());
        for _ in 0..3 {
            fast.epoch(&matrix, 0.02, 0.1);
            plain(&mut slow, &matrix, 0.02, 0.1);
        }
        for (fast, slow) in [
            (&fast.p, &slow.p),
            (&fast.q, &slow.q),
            (&fast.y, &slow.y),
            (&fast.item_biases, &slow.item_biases),
        ] {
            assert!(fast.iter().zip(slow).all(|(a, b)| (a - b).abs() < 2e-5), "{fast:?} {slow:?}");
        }
    }
}
