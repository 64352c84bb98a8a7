//! The steps of LightFM: what a positive, and negatives drawn for it, do to the vectors.
//!
//! All of a task's steps are compiled as one for each instruction set: their loops are as short as a vector.

use cairn_tensor::kernel::{self, Isa, Kernel, dispatch};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::side::{Bank, Gradient, Moves, Side, dot};
use super::{LightFmLoss, Training};
use crate::data::ids::{ItemIdx, UserIdx};
use crate::data::met::Met;
use crate::data::others::{Pool, tried};

/// Draws ahead of their use: about as many as are looked at while a vector comes.
const AHEAD: usize = 4;

/// Both sides, and what steps are taken by.
pub(super) struct Setting<'a, 'f> {
    pub(super) training: Training,
    pub(super) met: Met<'a>,
    /// The items that somebody met.
    pub(super) negatives: &'a [ItemIdx],
    pub(super) users: Side<'f, UserIdx>,
    pub(super) items: Side<'f, ItemIdx>,
}

/// A task, with room for the vectors it works on.
pub(super) struct Learner {
    pub(super) users: Moves,
    pub(super) items: Moves,
    /// How many positives of its last round were ranked above their (first) negative.
    pub(super) right: usize,
    rng: Pcg64Mcg,
    /// The items drawn next, in a ring that `turn` goes around: their vectors are on their way.
    drawn: [ItemIdx; AHEAD],
    turn: usize,
    user: Vec<f32>,
    up: Vec<f32>,
    down: Vec<f32>,
}

impl Learner {
    pub(super) fn new(setting: &Setting<'_, '_>) -> Self {
        let zeros = || vec![0.0; setting.users.width()];
        Self {
            users: Moves::new(&setting.users),
            items: Moves::new(&setting.items),
            right: 0,
            rng: Pcg64Mcg::seed_from_u64(0),
            drawn: [ItemIdx(0); AHEAD],
            turn: 0,
            user: zeros(),
            up: zeros(),
            down: zeros(),
        }
    }

    /// The steps of some positives, with draws by a seed, from the vectors as they are now.
    pub(super) fn run(&mut self, setting: &Setting<'_, '_>, pairs: &[(UserIdx, ItemIdx)], seed: u64) {
        self.rng = Pcg64Mcg::seed_from_u64(seed);
        self.users.clear();
        self.items.clear();
        self.right = 0;
        dispatch(Run { learner: self, setting, pairs });
    }

    #[inline(always)]
    fn learn<S: Isa>(&mut self, setting: &Setting<'_, '_>, (user, item): (UserIdx, ItemIdx)) -> bool {
        match setting.training.loss {
            LightFmLoss::Logistic => {
                let other = self.negative(setting, user);
                let up = self.point::<S>(setting, (user, item), 1.0);
                up > self.point::<S>(setting, (user, other), 0.0)
            }
            LightFmLoss::Bpr => {
                let other = self.negative(setting, user);
                self.users.sum::<S, _>(&setting.users, user, &mut self.user);
                let up = self.items.score::<S, _>(&setting.items, item, &self.user);
                let down = self.items.score::<S, _>(&setting.items, other, &self.user);
                self.pair::<S>(setting, (user, item, other), sigmoid(down - up));
                up > down
            }
            LightFmLoss::Warp => self.warp::<S>(setting, (user, item)),
        }
    }

    /// Draws until an item is ranked too high. Whether it was met is looked up only then.
    #[inline(always)]
    fn warp<S: Isa>(&mut self, setting: &Setting<'_, '_>, (user, item): (UserIdx, ItemIdx)) -> bool {
        self.users.sum::<S, _>(&setting.users, user, &mut self.user);
        let up = self.items.score::<S, _>(&setting.items, item, &self.user);
        let mut first = None;
        // After as many draws as there are items the positive's rank is the best, and nothing is to be learned.
        for draws in 1..=setting.training.max_draws.min(setting.negatives.len()) {
            let other = self.any(setting);
            let down = self.items.score::<S, _>(&setting.items, other, &self.user);
            if down <= up - 1.0 {
                first.get_or_insert(true);
            } else if !setting.met.contains(user, other) {
                let rank = (setting.negatives.len() - 1) / draws;
                let weight = (rank.max(1) as f32).ln().clamp(0.0, 10.0);
                // A step that changes nothing is none: vectors that it was for were not trained by it.
                if weight > 0.0 || setting.training.regularization > 0.0 {
                    self.pair::<S>(setting, (user, item, other), weight);
                }
                return first.unwrap_or(up > down);
            }
        }
        first.unwrap_or(true)
    }

    /// An item that the user has not met.
    fn negative(&mut self, setting: &Setting<'_, '_>, user: UserIdx) -> ItemIdx {
        let other = tried(|| self.any(setting), |item| setting.met.contains(user, item));
        other.unwrap_or_else(|| Pool::These(setting.negatives).unmet(setting.met.items(user), &mut self.rng))
    }

    /// An item that somebody met.
    #[inline(always)]
    fn any(&mut self, setting: &Setting<'_, '_>) -> ItemIdx {
        let next = setting.negatives[self.rng.random_range(0..setting.negatives.len() as u32) as usize];
        setting.items.prefetch(next, false);
        self.turn = (self.turn + 1) % AHEAD;
        std::mem::replace(&mut self.drawn[self.turn], next)
    }

    /// A step of the logistic loss for one pair that was met, 1, or not, 0; its score before.
    #[inline(always)]
    pub(super) fn point<S: Isa>(
        &mut self,
        setting: &Setting<'_, '_>,
        (user, item): (UserIdx, ItemIdx),
        target: f32,
    ) -> f32 {
        let Training { learning_rate, regularization, .. } = setting.training;
        let rates = (learning_rate, regularization);
        self.users.sum::<S, _>(&setting.users, user, &mut self.user);
        let bias = self.items.sum::<S, _>(&setting.items, item, &mut self.up);
        let score = dot::<S>(&self.user, &self.up) + bias;
        let slope = sigmoid(score) - target;
        let of_item = Gradient { direction: &self.user, factor: slope, bias: slope };
        self.items.step(&setting.items, item, of_item, rates);
        let of_user = Gradient { direction: &self.up, factor: slope, bias: 0.0 };
        self.users.step(&setting.users, user, of_user, rates);
        score
    }

    /// A step that lifts one item past another, for a user whose vector is at hand.
    #[inline(always)]
    fn pair<S: Isa>(
        &mut self,
        setting: &Setting<'_, '_>,
        (user, up, down): (UserIdx, ItemIdx, ItemIdx),
        weight: f32,
    ) {
        let Training { learning_rate, regularization, .. } = setting.training;
        let rates = (learning_rate, regularization);
        self.items.sum::<S, _>(&setting.items, up, &mut self.up);
        self.items.sum::<S, _>(&setting.items, down, &mut self.down);
        self.down.iter_mut().zip(&self.up).for_each(|(down, up)| *down -= up);
        for (item, weight) in [(up, -weight), (down, weight)] {
            let of_item = Gradient { direction: &self.user, factor: weight, bias: weight };
            self.items.step(&setting.items, item, of_item, rates);
        }
        // Users have no biases.
        let of_user = Gradient { direction: &self.down, factor: weight, bias: 0.0 };
        self.users.step(&setting.users, user, of_user, rates);
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// A task's round.
struct Run<'a, 's, 'f> {
    learner: &'a mut Learner,
    setting: &'a Setting<'s, 'f>,
    pairs: &'a [(UserIdx, ItemIdx)],
}

impl Kernel for Run<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        // What the ring held is of another seed.
        for _ in 0..AHEAD {
            self.learner.any(self.setting);
        }
        for (n, &pair) in self.pairs.iter().enumerate() {
            if let Some(&(user, item)) = self.pairs.get(n + 1) {
                self.setting.users.prefetch(user, true);
                self.setting.items.prefetch(item, true);
                self.setting.met.prefetch(user);
            }
            self.learner.right += usize::from(self.learner.learn::<S>(self.setting, pair));
        }
    }
}

/// Adds up what tasks moved, each bank in the order of the tasks.
pub(super) fn merge(setting: &mut Setting<'_, '_>, tasks: &[Learner]) {
    let sides = setting.users.banks.iter_mut().zip(&mut setting.items.banks);
    let mut banks: Vec<&mut Bank> = sides.flat_map(|(users, items)| [users, items]).collect();
    kernel::for_each_chunk(&mut banks, 1, |n, bank| {
        dispatch(Merge { bank: bank[0], number: n / 2, of_users: n % 2 == 0, tasks });
    });
}

struct Merge<'a> {
    bank: &'a mut Bank,
    number: usize,
    of_users: bool,
    tasks: &'a [Learner],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        for task in self.tasks {
            let moves = if self.of_users { &task.users } else { &task.items };
            self.bank.add::<S>(&moves.banks[self.number]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ids::{IdMap, Idx};
    use crate::data::others::draws;
    use crate::data::sparse::{Csr, UserItems};
    use crate::features::space::FeatureIdx;
    use crate::features::{FeatureMatrix, FeatureRow, FeatureTable};

    const ROWS: [&[u32]; 5] = [&[0, 1, 4], &[1], &[0, 2, 3, 5], &[3, 4], &[1, 2, 5]];
    /// Items that WARP and BPR draw from in the script.
    const DRAWN: usize = 400;

    /// Features of `n` users or items whose ids are their numbers.
    fn features<X: Idx>(n: u32, row: impl Fn(u32) -> FeatureRow) -> FeatureMatrix<X> {
        let table = FeatureTable::new((0..n).map(|id| (id, row(id)))).unwrap();
        FeatureMatrix::new(&table, &IdMap::from_ids(0..n).unwrap()).unwrap()
    }

    /// As in `tests/golden/lightfm.py`.
    fn start<X: Idx>(side: &mut Side<'_, X>, (n, salt): (usize, usize)) {
        let value = |at: usize| (0.5 * (0.7 * at as f64 + 1.3 * salt as f64).sin()) as f32;
        for row in 0..n {
            let (vector, bias) = side.vector_mut(row);
            let first = row * (vector.len() + 1);
            *bias = value(first + vector.len());
            (first..).zip(vector).for_each(|(at, x)| *x = value(at));
        }
    }

    fn close(own: &[f32], golden: &[f32]) {
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(own.len() == golden.len() && own.iter().zip(golden).all(close), "{own:?}");
    }

    fn golden(name: &str) -> Vec<f32> {
        let lines = include_str!("../../../tests/golden/lightfm.csv").lines();
        let line = lines.filter_map(|line| line.split_once(',')).find(|(own, _)| *own == name).unwrap().1;
        line.split(' ').map(|number| number.parse().unwrap()).collect()
    }

    /// Who met what, and what is known of both, as in the script.
    struct World {
        matrix: UserItems,
        of_users: FeatureMatrix<UserIdx>,
        of_items: FeatureMatrix<ItemIdx>,
    }

    impl World {
        fn new() -> Self {
            let rows = (0..)
                .zip(ROWS)
                .flat_map(|(user, items)| items.iter().map(move |&item| (UserIdx(user), ItemIdx(item), 1.0)));
            let tags = |item: u32| if item.is_multiple_of(2) { vec!["a", "b"] } else { vec!["c"] };
            Self {
                matrix: Csr::from_entries(5, 7, rows).unwrap(),
                of_users: features(5, |user| FeatureRow::new().category("kind", &(user % 2).to_string())),
                of_items: features(7, |item| FeatureRow::new().categories("tags", tags(item))),
            }
        }

        /// Both sides as they begin.
        fn setting(&self, loss: LightFmLoss) -> Setting<'_, '_> {
            let rng = &mut Pcg64Mcg::seed_from_u64(0);
            let mut users = Side::new(Some(&self.of_users), 5, 3, rng).unwrap();
            let mut items = Side::new(Some(&self.of_items), 7, 3, rng).unwrap();
            start(&mut items, (10, 1));
            start(&mut users, (7, 2));
            let (learning_rate, regularization) = (0.1, 0.0);
            let training =
                Training { loss, dim: 3, epochs: 2, learning_rate, regularization, max_draws: 10, seed: 0 };
            Setting { training, met: Met::new(&self.matrix), negatives: &[], users, items }
        }

        /// The next item that a user has not met.
        fn other(&self, user: UserIdx, item: ItemIdx) -> ItemIdx {
            let mut others = (1..7).map(|step| ItemIdx((item.0 + step) % 7));
            others.find(|&other| self.matrix.get(user, other).is_none()).unwrap()
        }
    }

    /// A negative is drawn among items that are all the same, so it does not matter which is: what WARP and BPR do with a triple of a user,
    /// an item met and one not met.
    #[test]
    fn vectors_after_steps_of_warp_and_bpr_are_those_of_the_lightfm_package() {
        let world = World::new();
        let rows: Vec<(UserIdx, ItemIdx)> =
            world.matrix.entries().map(|(user, item, _)| (user, item)).collect();
        let drawn: Vec<[ItemIdx; DRAWN]> =
            rows.iter().map(|&(user, item)| [world.other(user, item); DRAWN]).collect();
        for (loss, name) in [(LightFmLoss::Warp, "warp"), (LightFmLoss::Bpr, "bpr")] {
            let mut setting = world.setting(loss);
            let mut task = Learner::new(&setting);
            let mut stepped = 0;
            for (&(user, item), drawn) in rows.iter().zip(&drawn).cycle().take(2 * rows.len()) {
                setting.negatives = drawn;
                let before = setting.users.vector(user.at()).0.to_vec();
                task.run(&setting, &[(user, item)], 0);
                merge(&mut setting, std::slice::from_ref(&task));
                stepped += usize::from(before != setting.users.vector(user.at()).0);
            }
            // WARP lets alone what is above its negative by 1.
            assert_eq!(stepped, if loss == LightFmLoss::Warp { 16 } else { 26 }, "{name}");
            let items = (0..10).map(|row| setting.items.vector(row));
            let items: Vec<f32> =
                items.flat_map(|(vector, bias)| vector.iter().copied().chain([bias])).collect();
            close(&items, &golden(&format!("{name} items")));
            let users: Vec<f32> = (0..7).flat_map(|row| setting.users.vector(row).0).copied().collect();
            close(&users, &golden(&format!("{name} users")));
        }
    }

    struct Point<'a, 's, 'f> {
        task: &'a mut Learner,
        setting: &'a Setting<'s, 'f>,
        pair: (UserIdx, ItemIdx),
        target: f32,
    }

    impl Kernel for Point<'_, '_, '_> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Isa>(self) -> f32 {
            self.task.point::<S>(self.setting, self.pair, self.target)
        }
    }

    /// Vectors of 3 numbers and a bias, in double precision.
    const WIDTH: usize = 4;

    /// All vectors: of users and their features, and of items and theirs from the row [`ITEMS`] on.
    fn values(setting: &Setting<'_, '_>) -> Vec<f64> {
        let users = (0..ITEMS).map(|row| setting.users.vector(row));
        let all = users.chain((0..10).map(|row| setting.items.vector(row)));
        let rows = all.flat_map(|(vector, bias)| vector.iter().copied().chain([bias]));
        rows.map(f64::from).collect()
    }

    const ITEMS: usize = 7;

    /// The rows of somebody or something with their weights: its identity, and its features.
    fn rows<X: Idx>(features: &FeatureMatrix<X>, first: usize, x: X) -> Vec<(usize, f64)> {
        let (columns, weights) = features.rows().row(x);
        let behind = first + features.rows().n_rows();
        let features = columns.iter().zip(weights).map(|(at, &weight)| (behind + at.at(), f64::from(weight)));
        std::iter::once((first + x.at(), 1.0)).chain(features).collect()
    }

    fn sum(values: &[f64], rows: &[(usize, f64)]) -> [f64; WIDTH] {
        let mut sum = [0.0; WIDTH];
        for &(row, weight) in rows {
            sum.iter_mut().zip(&values[row * WIDTH..]).for_each(|(sum, x)| *sum += weight * x);
        }
        sum
    }

    /// A user, an item that they met and one that they did not, without a feature in common.
    const TRIPLE: (UserIdx, ItemIdx, ItemIdx) = (UserIdx(2), ItemIdx(0), ItemIdx(1));

    /// That steps move all values down the slope of a loss of the scores of both items of [`TRIPLE`], with the squares of the vectors that
    /// it takes, and that Adagrad knows of the steps before.
    fn descends(
        kind: LightFmLoss,
        items: &[ItemIdx],
        loss: impl Fn([f64; 2]) -> f64,
        step: impl Fn(&mut Learner, &Setting<'_, '_>),
    ) {
        let world = World::new();
        let (user, up, down) = TRIPLE;
        // As many draws as there are would all be of the one item.
        let negatives = [down; 20];
        let mut setting = world.setting(kind);
        setting.negatives = &negatives;
        let (rate, regularization) = (0.01, 0.1);
        (setting.training.learning_rate, setting.training.regularization) = (rate, regularization);
        // Small, so that no score is far above another.
        (0..7).for_each(|row| shrink(setting.users.vector_mut(row)));
        (0..10).for_each(|row| shrink(setting.items.vector_mut(row)));
        let own = rows(&world.of_users, 0, user);
        let pair = [up, down].map(|item| rows(&world.of_items, ITEMS, item));
        let touched = items.iter().flat_map(|&item| rows(&world.of_items, ITEMS, item)).chain(own.clone());
        let touched: Vec<usize> = touched.map(|(row, _)| row).collect();
        let objective = |values: &[f64]| {
            let user = sum(values, &own);
            let score = |rows: &Vec<(usize, f64)>| {
                let item = sum(values, rows);
                user.iter().zip(&item).take(3).map(|(u, i)| u * i).sum::<f64>() + item[3]
            };
            let squares = touched.iter().flat_map(|row| &values[row * WIDTH..][..WIDTH]).map(|x| x * x);
            loss([score(&pair[0]), score(&pair[1])]) + 0.5 * f64::from(regularization) * squares.sum::<f64>()
        };
        let mut task = Learner::new(&setting);
        let mut squares = vec![1.0; values(&setting).len()];
        for _ in 0..3 {
            let before = values(&setting);
            step(&mut task, &setting);
            merge(&mut setting, std::slice::from_ref(&task));
            task.users.clear();
            task.items.clear();
            let after = values(&setting);
            let mut furthest = 0.0_f64;
            for at in 0..before.len() {
                let beside = |by: f64| {
                    let mut values = before.clone();
                    values[at] += by;
                    objective(&values)
                };
                let slope = (beside(1e-5) - beside(-1e-5)) / 2e-5;
                let want = -f64::from(rate) * slope / f64::sqrt(squares[at]);
                let moved = after[at] - before[at];
                assert!((moved - want).abs() < 1e-6, "{kind:?}, {at}: {moved} for {want}");
                squares[at] += slope * slope;
                furthest = furthest.max(moved.abs());
            }
            assert!(furthest > 1e-3, "{kind:?}: nothing was learned");
        }
    }

    fn pair(task: &mut Learner, setting: &Setting<'_, '_>) {
        let (user, up, _) = TRIPLE;
        task.run(setting, &[(user, up)], 1);
    }

    fn shrink((vector, bias): (&mut [f32], &mut f32)) {
        vector.iter_mut().chain([bias]).for_each(|x| *x *= 0.2);
    }

    /// The logarithm of the best rank is 0.
    #[test]
    fn a_step_that_weighs_nothing_is_none_unless_it_shrinks() {
        let world = World::new();
        let (user, up, down) = TRIPLE;
        let negatives = [down; 2];
        for (regularization, moves) in [(0.0, false), (0.1, true)] {
            let mut setting = world.setting(LightFmLoss::Warp);
            setting.negatives = &negatives;
            setting.training.regularization = regularization;
            (0..7).for_each(|row| shrink(setting.users.vector_mut(row)));
            (0..10).for_each(|row| shrink(setting.items.vector_mut(row)));
            let mut task = Learner::new(&setting);
            task.run(&setting, &[(user, up)], 1);
            merge(&mut setting, std::slice::from_ref(&task));
            assert_eq!((0..2).any(|at| setting.users.has_met(FeatureIdx(at))), moves, "of users");
            assert_eq!((0..3).any(|at| setting.items.has_met(FeatureIdx(at))), moves, "of items");
        }
    }

    /// As many draws as there are items would be needed for the one that is left.
    #[test]
    fn a_negative_of_who_met_almost_everything_takes_few_draws() {
        let n = 20_000;
        let rows = (0..n).filter(|&item| item != 777).map(|item| (UserIdx(0), ItemIdx(item), 1.0));
        let matrix: UserItems = Csr::from_entries(1, n as usize, rows).unwrap();
        let negatives: Vec<ItemIdx> = (0..n).map(ItemIdx).collect();
        let rng = &mut Pcg64Mcg::seed_from_u64(0);
        let users = Side::new(None, 1, 3, rng).unwrap();
        let items = Side::new(None, n as usize, 3, rng).unwrap();
        let training = World::new().setting(LightFmLoss::Bpr).training;
        let setting = Setting { training, met: Met::new(&matrix), negatives: &negatives, users, items };
        let mut task = Learner::new(&setting);
        for _ in 0..100 {
            let before = task.rng.clone();
            assert_eq!(task.negative(&setting, UserIdx(0)), ItemIdx(777));
            assert!(draws(before, &task.rng) < 300);
        }
    }

    #[test]
    fn steps_go_down_the_slope_of_their_loss() {
        let softplus = |x: f64| x.exp().ln_1p();
        let (user, up, down) = TRIPLE;
        descends(LightFmLoss::Bpr, &[up, down], |[up, down]| softplus(down - up), pair);
        // The first negative of 20 is ranked too high: as far as one draw tells there are 19 such.
        let hinge = |[up, down]: [f64; 2]| 19_f64.ln() * (1.0 - up + down).max(0.0);
        descends(LightFmLoss::Warp, &[up, down], hinge, pair);
        for (item, target) in [(up, 1.0), (down, 0.0)] {
            let loss = |[up, down]: [f64; 2]| if target > 0.5 { softplus(-up) } else { softplus(down) };
            descends(LightFmLoss::Logistic, &[item], loss, |task, setting| {
                dispatch(Point { task, setting, pair: (user, item), target });
            });
        }
    }

    #[test]
    fn vectors_after_logistic_steps_are_those_of_the_lightfm_package() {
        let world = World::new();
        let mut setting = world.setting(LightFmLoss::Logistic);
        let mut task = Learner::new(&setting);
        for _ in 0..2 {
            for (user, item, _) in world.matrix.entries() {
                let other = world.other(user, item);
                for (item, target) in [(item, 1.0), (other, 0.0)] {
                    dispatch(Point { task: &mut task, setting: &setting, pair: (user, item), target });
                }
            }
            // As soon as the moves are merged or later, it is the same.
            merge(&mut setting, std::slice::from_ref(&task));
            task.users.clear();
            task.items.clear();
        }
        let items = (0..10).map(|row| setting.items.vector(row));
        let items: Vec<f32> = items.flat_map(|(vector, bias)| vector.iter().copied().chain([bias])).collect();
        close(&items, &golden("items"));
        let users: Vec<f32> = (0..7).flat_map(|row| setting.users.vector(row).0).copied().collect();
        close(&users, &golden("users"));
    }
}
