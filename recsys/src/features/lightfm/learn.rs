//! The steps of LightFM: what a positive, and negatives drawn for it, do to the vectors.
//!
//! All of a task's steps are compiled as one for each instruction set: their loops are as short as a vector.

use cairn_tensor::kernel::vectorize;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::side::{Moves, Side};
use super::{LightFmLoss, Training};
use crate::data::ids::{ItemIdx, UserIdx};
use crate::data::sparse::UserItems;

/// Both sides, and what steps are taken by.
pub(super) struct Setting<'a, 'f> {
    pub(super) training: Training,
    pub(super) matrix: &'a UserItems,
    /// The items that somebody met.
    pub(super) negatives: &'a [ItemIdx],
    pub(super) users: Side<'f, UserIdx>,
    pub(super) items: Side<'f, ItemIdx>,
}

/// A task, with room for the vectors it works on.
pub(super) struct Learner {
    pub(super) users: Moves,
    pub(super) items: Moves,
    rng: Pcg64Mcg,
    user: Vec<f32>,
    up: Vec<f32>,
    down: Vec<f32>,
    gradient: Vec<f32>,
}

impl Learner {
    pub(super) fn new(setting: &Setting<'_, '_>) -> Self {
        let zeros = || vec![0.0; setting.training.dim + 1];
        Self {
            users: Moves::new(&setting.users),
            items: Moves::new(&setting.items),
            rng: Pcg64Mcg::seed_from_u64(0),
            user: zeros(),
            up: zeros(),
            down: zeros(),
            gradient: zeros(),
        }
    }

    /// The steps of some positives, with draws by a seed. How many were ranked above their (first) negative.
    pub(super) fn run(
        &mut self,
        setting: &Setting<'_, '_>,
        pairs: &[(UserIdx, ItemIdx)],
        seed: u64,
    ) -> usize {
        self.rng = Pcg64Mcg::seed_from_u64(seed);
        vectorize(
            #[inline(always)]
            || pairs.iter().filter(|pair| self.learn(setting, **pair)).count(),
        )
    }

    #[inline(always)]
    fn learn(&mut self, setting: &Setting<'_, '_>, (user, item): (UserIdx, ItemIdx)) -> bool {
        let Training { loss, max_draws, .. } = setting.training;
        if loss == LightFmLoss::Logistic {
            let other = self.negative(setting, user);
            let up = self.point(setting, (user, item), 1.0);
            return up > self.point(setting, (user, other), 0.0);
        }
        self.read_user(setting, user);
        self.items.sum(&setting.items, item, &mut self.up);
        let up = dot(&self.user, &self.up);
        let most = if loss == LightFmLoss::Warp { max_draws } else { 1 };
        let mut first = None;
        for draws in 1..=most {
            // Whether an item was met is looked up where it matters: of the first, which is counted, and of those that are moved.
            let other = if draws == 1 { self.negative(setting, user) } else { self.any(setting) };
            self.items.sum(&setting.items, other, &mut self.down);
            let down = dot(&self.user, &self.down);
            first.get_or_insert(up > down);
            let weight = match loss {
                LightFmLoss::Warp if down > up - 1.0 => {
                    if draws > 1 && met(setting, user, other) {
                        continue;
                    }
                    let rank = (setting.negatives.len() - 1) / draws;
                    (rank.max(1) as f32).ln().clamp(0.0, 10.0)
                }
                LightFmLoss::Warp => continue,
                _ => sigmoid(down - up),
            };
            self.pair(setting, (user, item, other), weight);
            break;
        }
        first.unwrap_or(true)
    }

    /// The vector of a user; the bias of an item counts as it is.
    #[inline(always)]
    fn read_user(&mut self, setting: &Setting<'_, '_>, user: UserIdx) {
        self.users.sum(&setting.users, user, &mut self.user);
        if let Some(last) = self.user.last_mut() {
            *last = 1.0;
        }
    }

    /// An item that the user has not met.
    fn negative(&mut self, setting: &Setting<'_, '_>, user: UserIdx) -> ItemIdx {
        loop {
            let item = self.any(setting);
            if !met(setting, user, item) {
                return item;
            }
        }
    }

    /// An item that somebody met.
    #[inline(always)]
    fn any(&mut self, setting: &Setting<'_, '_>) -> ItemIdx {
        setting.negatives[self.rng.random_range(0..setting.negatives.len() as u32) as usize]
    }

    /// A step of the logistic loss for one pair that was met, 1, or not, 0; its score before.
    #[inline(always)]
    pub(super) fn point(
        &mut self,
        setting: &Setting<'_, '_>,
        (user, item): (UserIdx, ItemIdx),
        target: f32,
    ) -> f32 {
        let Training { learning_rate, regularization, .. } = setting.training;
        self.read_user(setting, user);
        self.items.sum(&setting.items, item, &mut self.up);
        let score = dot(&self.user, &self.up);
        let slope = sigmoid(score) - target;
        self.gradient.iter_mut().zip(&self.user).for_each(|(g, u)| *g = slope * u);
        self.items.step(&setting.items, item, &self.gradient, (learning_rate, regularization));
        self.gradient.iter_mut().zip(&self.up).for_each(|(g, v)| *g = slope * v);
        drop_bias(&mut self.gradient);
        self.users.step(&setting.users, user, &self.gradient, (learning_rate, regularization));
        score
    }

    /// A step that lifts one item past another, whose vectors are at hand.
    #[inline(always)]
    fn pair(
        &mut self,
        setting: &Setting<'_, '_>,
        (user, up, down): (UserIdx, ItemIdx, ItemIdx),
        weight: f32,
    ) {
        let Training { learning_rate, regularization, .. } = setting.training;
        let rates = (learning_rate, regularization);
        self.gradient.iter_mut().zip(&self.user).for_each(|(g, u)| *g = -weight * u);
        self.items.step(&setting.items, up, &self.gradient, rates);
        self.gradient.iter_mut().for_each(|g| *g = -*g);
        self.items.step(&setting.items, down, &self.gradient, rates);
        let difference = self.down.iter().zip(&self.up);
        self.gradient.iter_mut().zip(difference).for_each(|(g, (down, up))| *g = weight * (down - up));
        drop_bias(&mut self.gradient);
        self.users.step(&setting.users, user, &self.gradient, rates);
    }
}

fn met(setting: &Setting<'_, '_>, user: UserIdx, item: ItemIdx) -> bool {
    setting.matrix.row(user).0.binary_search(&item).is_ok()
}

/// Sums side by side in [`dot`]: as many as the widest registers hold.
const LANES: usize = 16;

/// An inner product in a fixed order: sums side by side, which are then added, then the rest.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0] + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Users have none.
fn drop_bias(gradient: &mut [f32]) {
    if let Some(last) = gradient.last_mut() {
        *last = 0.0;
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ids::{IdMap, Idx};
    use crate::data::sparse::Csr;
    use crate::features::{FeatureMatrix, FeatureRow, FeatureTable};

    const ROWS: [&[u32]; 5] = [&[0, 1, 4], &[1], &[0, 2, 3, 5], &[3, 4], &[1, 2, 5]];

    /// Features of `n` users or items whose ids are their numbers.
    fn features<X: Idx>(n: u32, row: impl Fn(u32) -> FeatureRow) -> FeatureMatrix<X> {
        let table = FeatureTable::new((0..n).map(|id| (id, row(id)))).unwrap();
        FeatureMatrix::new(&table, &IdMap::from_ids(0..n).unwrap()).unwrap()
    }

    /// As in `tests/golden/lightfm.py`.
    fn start<X: Idx>(side: &mut Side<'_, X>, salt: usize) {
        for (at, x) in side.vectors.as_mut_slice().iter_mut().enumerate() {
            *x = (0.5 * (0.7 * at as f64 + 1.3 * salt as f64).sin()) as f32;
        }
    }

    fn golden(name: &str) -> Vec<f32> {
        let lines = include_str!("../../../tests/golden/lightfm.csv").lines();
        let line = lines.filter_map(|line| line.split_once(',')).find(|(own, _)| *own == name).unwrap().1;
        line.split(' ').map(|number| number.parse().unwrap()).collect()
    }

    #[test]
    fn vectors_after_logistic_steps_are_those_of_the_lightfm_package() {
        let rows = (0..)
            .zip(ROWS)
            .flat_map(|(user, items)| items.iter().map(move |&item| (UserIdx(user), ItemIdx(item), 1.0)));
        let matrix: UserItems = Csr::from_entries(5, 7, rows).unwrap();
        let tags = |item: u32| if item.is_multiple_of(2) { vec!["a", "b"] } else { vec!["c"] };
        let of_items = features(7, |item| FeatureRow::new().categories("tags", tags(item)));
        let of_users = features(5, |user| FeatureRow::new().category("kind", &(user % 2).to_string()));
        let rng = &mut Pcg64Mcg::seed_from_u64(0);
        let mut users = Side::new(Some(&of_users), 5, 3, rng).unwrap();
        let mut items = Side::new(Some(&of_items), 7, 3, rng).unwrap();
        start(&mut items, 1);
        start(&mut users, 2);
        let (loss, regularization) = (LightFmLoss::Logistic, 0.0);
        let training =
            Training { loss, dim: 3, epochs: 2, learning_rate: 0.1, regularization, max_draws: 10, seed: 0 };
        let mut setting = Setting { training, matrix: &matrix, negatives: &[], users, items };
        let mut task = Learner::new(&setting);
        for _ in 0..2 {
            for (user, item, _) in matrix.entries() {
                let others = (1..7).map(|step| ItemIdx((item.0 + step) % 7));
                let other = others.into_iter().find(|&other| matrix.get(user, other).is_none()).unwrap();
                task.point(&setting, (user, item), 1.0);
                task.point(&setting, (user, other), 0.0);
            }
            // As soon as the moves are merged or later, it is the same.
            setting.users.merge(&mut task.users);
            setting.items.merge(&mut task.items);
        }
        let close = |a: &f32, b: &f32| (a - b).abs() < 1e-5;
        let items = setting.items.vectors.as_slice();
        assert!(items.iter().zip(&golden("items")).all(|(a, b)| close(a, b)), "{items:?}");
        let users: Vec<f32> =
            setting.users.vectors.as_slice().chunks(4).flat_map(|vector| &vector[..3]).copied().collect();
        assert_eq!(users.len(), golden("users").len());
        assert!(users.iter().zip(&golden("users")).all(|(a, b)| close(a, b)), "{users:?}");
    }
}
