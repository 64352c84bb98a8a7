//! Biased matrix factorisation by gradient descent: r = mean + bᵤ + bᵢ + q·p (Koren, Bell & Volinsky, IEEE Computer 2009).
//!
//! What the Netflix prize called "SVD". Parallel and yet exactly sequential: users and items are assigned to [`GROUPS`] groups
//! each, and of the GROUPS x GROUPS blocks of ratings those that share neither users nor items run side by side (Gemulla,
//! Haas, Nijkamp & Sismanis, KDD 2011). The result is that of one thread going through the blocks in order, whichever
//! thread runs a block. Defaults are Surprise's.

use cairn_tensor::kernel::vectorize;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::biased::{Biased, LANES, sgd_settings};
use super::{RatingModel, RatingStats, diverged};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::models::factors::{FactorModel, Factors};
use crate::serve::file::Saved;
use crate::{Result, memory};

/// Fixed, so that the result is; also the most threads that help.
const GROUPS: usize = 8;

sgd_settings! {
    /// Settings. Defaults: 100 factors, 20 epochs, learning rate 0.005, regularisation 0.02, start N(0, 0.1²), seed 0.
    ///
    /// ```
    /// use cairn_recsys::{Estimator, Interactions, rating::BiasedMf};
    /// let log = Interactions::from_ratings((0..400_u32).map(|n| (n % 20, n * 7 % 31, (n % 5 + 1) as f32)))?;
    /// let model = BiasedMf::new().factors(10).seed(1).fit(&log)?;
    /// assert!((1.0..=5.0).contains(&model.predict(&3, &10)?));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    #[doc(alias = "FunkSVD")]
    #[doc(alias = "SVD")]
    BiasedMf { factors: 100, learning_rate: 0.005 }
    /// Whether there are a mean and biases, as there are by default; without them the rating is q·p alone (Salakhutdinov & Mnih,
    /// Probabilistic Matrix Factorization, NIPS 2007).
    #[doc(alias = "PMF")]
    biased: true
}

/// The parameters of one group of users or of items.
struct Group {
    vectors: Vec<f32>,
    biases: Vec<f32>,
}

/// One rating of a block: positions in the two groups, and the value.
#[derive(Clone, Copy)]
struct Entry {
    user: u32,
    item: u32,
    rating: f32,
}

/// Users or items assigned to groups: for each its group and its position there.
struct Assignment {
    positions: Vec<(u32, u32)>,
    members: Vec<Vec<u32>>,
}

impl Assignment {
    /// Heavier ones first, each to the group with the least load so far.
    fn new(counts: &[usize]) -> Self {
        let mut order: Vec<u32> = (0..counts.len() as u32).collect();
        order.sort_by_key(|&n| std::cmp::Reverse(counts[n as usize]));
        let mut loads = [0; GROUPS];
        let mut group = vec![0; counts.len()];
        for n in order {
            let least = (0..GROUPS).min_by_key(|&g| loads[g]).unwrap_or(0);
            loads[least] += counts[n as usize].max(1);
            group[n as usize] = least;
        }
        let mut members = vec![Vec::new(); GROUPS];
        let positions = (0..)
            .zip(group)
            .map(|(n, g)| {
                members[g].push(n);
                (g as u32, members[g].len() as u32 - 1)
            })
            .collect();
        Self { positions, members }
    }

    fn groups(&self, width: usize, vectors: &[f32]) -> Vec<Group> {
        let group = |members: &Vec<u32>| Group {
            vectors: members
                .iter()
                .flat_map(|&n| &vectors[n as usize * width..(n as usize + 1) * width])
                .copied()
                .collect(),
            biases: vec![0.0; members.len()],
        };
        self.members.iter().map(group).collect()
    }

    /// Back into the order of the indices.
    fn gather(&self, width: usize, groups: &[Group]) -> (Vec<f32>, Vec<f32>) {
        let at = |&(g, position): &(u32, u32)| (&groups[g as usize], position as usize);
        let rows = self.positions.iter().map(at);
        let vectors = rows.clone().flat_map(|(g, n)| &g.vectors[n * width..(n + 1) * width]).copied();
        (vectors.collect(), rows.map(|(g, n)| g.biases[n]).collect())
    }
}

/// `n` rows of `dim` draws from N(0, deviation²), each padded with zeros to `width`.
pub(super) fn normal_table(
    n: usize,
    dim: usize,
    width: usize,
    deviation: f32,
    rng: &mut Pcg64,
) -> Result<Vec<f32>> {
    let mut table = memory::zeros(n, width)?;
    for row in table.chunks_mut(width) {
        row[..dim].iter_mut().for_each(|x| *x = deviation * rng.sample::<f32, _>(StandardNormal));
    }
    Ok(table)
}

impl Estimator for BiasedMf {
    type Model = BiasedMfModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<BiasedMfModel> {
        self.check(matrix)?;
        let stats = RatingStats::new("biased matrix factorisation", matrix, self.rating_scale)?;
        let width = self.factors.next_multiple_of(LANES);
        let mut rng = Pcg64::seed_from_u64(self.seed);
        let mut table = |n| normal_table(n, self.factors, width, self.init_std_dev, &mut rng);
        let (users, items) = (table(matrix.n_rows())?, table(matrix.n_cols())?);

        let user_counts: Vec<usize> = matrix.row_indices().map(|u| matrix.row_len(u)).collect();
        let item_counts: Vec<usize> =
            (0..matrix.n_cols()).map(|i| stats.ratings_of(ItemIdx(i as u32))).collect();
        let (user_groups, item_groups) = (Assignment::new(&user_counts), Assignment::new(&item_counts));
        let (mut users, mut items) = (user_groups.groups(width, &users), item_groups.groups(width, &items));
        let blocks = blocks(matrix, &user_groups, &item_groups);
        let mean = if self.biased { stats.mean() } else { 0.0 };
        let mut progress = Vec::new();
        for _ in 0..self.epochs {
            let squares = self.epoch(mean, &blocks, &mut users, &mut items);
            progress.push((squares / matrix.nnz() as f64).sqrt());
        }
        let (users, user_biases) = user_groups.gather(width, &users);
        let (items, item_biases) = item_groups.gather(width, &items);
        if [&users, &items, &user_biases, &item_biases].iter().any(|v| v.iter().any(|x| !x.is_finite())) {
            return Err(diverged("biased matrix factorisation"));
        }
        let biased = Biased::new(
            mean,
            self.factors,
            width,
            (&users, &user_biases, &|u| user_counts[u] > 0),
            (&items, &item_biases, &|i| item_counts[i] > 0),
        )?;
        let regularization = self.regularization;
        Ok(BiasedMfModel { stats, biased, has_biases: self.biased, regularization, progress })
    }
}

/// Ratings by (group of the user, group of the item), in each by user.
fn blocks(matrix: &UserItems, users: &Assignment, items: &Assignment) -> Vec<Vec<Vec<Entry>>> {
    let mut blocks = vec![vec![Vec::new(); GROUPS]; GROUPS];
    for (u, i, rating) in matrix.entries() {
        let ((g, user), (h, item)) = (users.positions[u.at()], items.positions[i.at()]);
        blocks[g as usize][h as usize].push(Entry { user, item, rating });
    }
    blocks
}

impl BiasedMf {
    /// One pass; the sum of squared errors met on the way.
    fn epoch(&self, mean: f32, blocks: &[Vec<Vec<Entry>>], users: &mut [Group], items: &mut [Group]) -> f64 {
        let mut squares = 0.0;
        for shift in 0..GROUPS {
            // Group g of the users meets group (g + shift) of the items.
            let side_by_side = users.par_iter_mut().zip(items.par_iter_mut()).zip(blocks).enumerate();
            let parts: Vec<f64> = side_by_side
                .map(|(g, ((users, items), blocks))| {
                    self.steps(mean, &blocks[(g + shift) % GROUPS], users, items)
                })
                .collect();
            squares += parts.iter().sum::<f64>();
            items.rotate_left(1);
        }
        squares
    }

    fn steps(&self, mean: f32, entries: &[Entry], users: &mut Group, items: &mut Group) -> f64 {
        let width = self.factors.next_multiple_of(LANES);
        let (rate, reg) = (self.learning_rate, self.regularization);
        let bias_rate = if self.biased { rate } else { 0.0 };
        vectorize(
            #[inline(always)]
            || {
                let mut squares = 0.0;
                for entry in entries {
                    let (u, i) = (entry.user as usize, entry.item as usize);
                    let p = &mut users.vectors[u * width..(u + 1) * width];
                    let q = &mut items.vectors[i * width..(i + 1) * width];
                    let (bu, bi) = (&mut users.biases[u], &mut items.biases[i]);
                    let error = entry.rating - (mean + *bu + *bi + dot(p, q));
                    *bu += bias_rate * (error - reg * *bu);
                    *bi += bias_rate * (error - reg * *bi);
                    let (keep, step) = (1.0 - rate * reg, rate * error);
                    for (p, q) in p.iter_mut().zip(q) {
                        let (old_p, old_q) = (*p, *q);
                        *p = keep * old_p + step * old_q;
                        *q = keep * old_q + step * old_p;
                    }
                    squares += f64::from(error * error);
                }
                squares
            },
        )
    }
}

/// Inner product in a fixed order of sums; lengths are multiples of [`LANES`].
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, _) = a.as_chunks::<LANES>();
    let (b, _) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for j in 0..LANES {
            sums[j] += a[j] * b[j];
        }
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
}

/// A trained factorisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BiasedMfModel {
    stats: RatingStats,
    biased: Biased,
    /// Whether mean and biases are more than zeros.
    has_biases: bool,
    regularization: f32,
    progress: Vec<f64>,
}

impl BiasedMfModel {
    /// The vectors: a user's followed by 1 and mean + bias, an item's by its bias and 1, so that the inner product is the
    /// rating. Without biases those and the mean are 0.
    pub fn factors(&self) -> &Factors {
        &self.biased.factors
    }
}

impl FactorModel for BiasedMfModel {
    const NAME: &'static str = "SVD";

    fn factors(&self) -> &Factors {
        &self.biased.factors
    }
    /// The user's parameters that minimise the regularised error of the history; training takes a stated number of steps
    /// towards the same minimum, so the scores of a user of the training log come out near, not equal.
    fn user_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let none = vec![0.0; self.biased.dim()];
        self.biased.fold_in(items, values, &none, self.regularization, self.has_biases)
    }
    fn similarity_dim(&self) -> usize {
        self.biased.dim()
    }
    fn training_curve(&self) -> &[f64] {
        &self.progress
    }
}

impl RatingModel for BiasedMfModel {
    fn stats(&self) -> &RatingStats {
        &self.stats
    }
    fn expected(&self, _: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        let known = user.is_some() && item.is_some();
        if known || self.has_biases { self.biased.expected(user, item) } else { self.stats.mean() }
    }
}

impl Saved for BiasedMfModel {
    const FORMAT: &'static str = "biased-mf-2";

    fn validate(&self) -> std::result::Result<(), String> {
        self.stats.validate(self.biased.factors.items.len())?;
        self.biased.validate()
    }
}
