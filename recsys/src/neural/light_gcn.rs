//! LightGCN: vectors that are carried along the graph of who met what (He et al., SIGIR 2020).
//!
//! Users and items have vectors of their own. A layer makes of each the sum of its neighbours', each divided by √(degree · degree); the
//! vectors that scores are made of are the means over all layers, that without any included. Trained by BPR on triples of a user, an
//! item they met and one they did not, with quadratic regularisation of the triple's own vectors.
//!
//! A trained model is a factorisation. Somebody new has no own vector: theirs is what the graph carries to them from what they met, as to a
//! user whose own vector is 0.

use cairn_autograd::{Var, no_grad};
use cairn_nn::{Init, Module, Parameter};
use cairn_tensor::{Rng, Tensor, rng};
use serde::{Deserialize, Serialize};

use super::passes::{Passes, failure, passes_setters};
use super::sparse::Sparse;
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::others::other;
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::models::factors::{FactorModel, Factors, Vectors};
use crate::serve::file::Saved;
use crate::{Result, check, memory};

/// Standard deviation of the vectors at the start, as the authors have it.
const SPREAD: f32 = 0.1;

/// Settings of LightGCN. Defaults: vectors of 64, 3 layers, 100 epochs of batches of 2048 triples, Adam with 1e-3, regularisation 1e-4, seed
/// 0. (The authors train for 1,000 epochs.)
///
/// Interactions count as ones, whatever their value: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least). A step carries vectors along the whole graph, so that large
/// batches are cheaper, and small logs need small ones to have steps enough.
/// What LightGCN is in the limit is written down by [`GfCf`](crate::GfCf), which takes seconds.
///
/// ```
/// use cairn_recsys::{Estimator, Filter, LightGcn, synthetic};
/// // Users and items are of the group of their number modulo 3.
/// let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 0)?;
/// let model = LightGcn::new().factors(8).batch_size(256).learning_rate(0.02).epochs(20).fit(&log)?;
/// let list = model.recommend_for(&[(1, 1.0), (4, 1.0), (7, 1.0)], 3, &Filter::unseen())?;
/// assert!(list.iter().all(|entry| entry.id % 3 == 1));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[doc(alias("graph convolution", "LightGCN", "NGCF"))]
pub struct LightGcn {
    factors: usize,
    layers: usize,
    regularization: f32,
    passes: Passes,
    /// No part of a model.
    #[serde(skip, default = "memory::limit")]
    memory_limit: u64,
}

impl Default for LightGcn {
    fn default() -> Self {
        let passes = Passes { epochs: 100, batch_size: 2048, learning_rate: 1e-3, seed: 0 };
        Self { factors: 64, layers: 3, regularization: 1e-4, passes, memory_limit: memory::LIMIT }
    }
}

impl LightGcn {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Length of the vectors.
        #[doc(alias("embedding_size", "latent_dim_rec"))]
        factors(factors: usize);
        /// Steps along the graph.
        #[doc(alias = "n_layers")]
        layers(layers: usize);
        /// Weight of the squared norms of a triple's own vectors.
        #[doc(alias("decay", "reg_weight"))]
        regularization(weight: f32);
    }

    passes_setters!();

    fn check(&self, matrix: &UserItems) -> Result<()> {
        check::at_least_one("factors", self.factors)?;
        check::at_least_one("layers", self.layers)?;
        check::not_negative("regularization", self.regularization)?;
        self.passes.check()?;
        check::not_empty(matrix)?;
        // Of all vectors: values, gradients in two parts and two moments; of each layer its values and their gradients, and sums.
        let copies = (self.layers as u64).saturating_mul(4).saturating_add(8);
        memory::check_factors(matrix, self.factors, copies, self.memory_limit)
    }
}

/// R̃ = D_U^-½ R D_I^-½, the graph in both directions.
#[derive(Debug)]
struct Graph {
    to_users: Sparse<UserIdx, ItemIdx>,
    to_items: Sparse<ItemIdx, UserIdx>,
}

impl Graph {
    fn new(matrix: &UserItems) -> Self {
        let degrees = degrees(matrix);
        let scale = |user, item: ItemIdx, _| 1.0 / (matrix.row_len(user) as f32 * degrees[item.at()]).sqrt();
        let to_users = Sparse::new(matrix.map_values(scale));
        Self { to_items: to_users.transposed(), to_users }
    }
}

/// How many users met each item.
fn degrees(matrix: &UserItems) -> Vec<f32> {
    let mut degrees = vec![0.0_f32; matrix.n_cols()];
    matrix.columns().iter().for_each(|item| degrees[item.at()] += 1.0);
    degrees
}

/// The vectors of their own.
#[derive(Debug, Clone, Module)]
struct Network {
    /// `[users, factors]`
    users: Parameter,
    /// `[items, factors]`
    items: Parameter,
}

/// Users, items, and others of the items, a triple each.
struct Triples {
    users: Tensor<u32>,
    met: Tensor<u32>,
    others: Tensor<u32>,
}

impl Network {
    /// The layers' sums over `layers` and the first: of users, of items, and of items without the last layer.
    fn sums(&self, graph: &Graph, layers: usize) -> cairn_nn::Result<[Var; 3]> {
        let (mut users, mut items) = (self.users.var(), self.items.var());
        let (mut user_sum, mut item_sum, mut before) = (users.clone(), items.clone(), items.clone());
        for _ in 0..layers {
            before = item_sum.clone();
            (users, items) = (graph.to_users.times(&items)?, graph.to_items.times(&users)?);
            (user_sum, item_sum) = (user_sum.add(&users)?, item_sum.add(&items)?);
        }
        Ok([user_sum, item_sum, before])
    }

    /// The mean of -ln σ(score of what was met - score of another), and of the squared norms.
    fn loss(&self, graph: &Graph, settings: &LightGcn, triples: &Triples) -> cairn_nn::Result<Var> {
        let Triples { users, met, others } = triples;
        let [user_sums, item_sums, _] = self.sums(graph, settings.layers)?;
        let scale = 1.0 / ((settings.layers + 1) as f32).powi(2);
        let difference = item_sums.lookup(others)?.sub(&item_sums.lookup(met)?)?;
        let scores = user_sums.lookup(users)?.mul(&difference)?.sum(-1)?.scale(scale)?;
        let ranking = scores.softplus()?.mean(..)?;
        let squares = |table: &Parameter, ids: &Tensor<u32>| table.var().lookup(ids)?.square()?.sum(..);
        let squares = squares(&self.users, users)?
            .add(&squares(&self.items, met)?)?
            .add(&squares(&self.items, others)?)?;
        let weight = 0.5 * settings.regularization / users.len().max(1) as f32;
        Ok(ranking.add(&squares.scale(weight)?)?)
    }
}

/// A triple for each pair, with an item that the user did not meet.
fn triples(
    matrix: &UserItems,
    pairs: impl Iterator<Item = (UserIdx, ItemIdx)>,
    mut rng: Rng,
) -> [Vec<u32>; 3] {
    let (mut users, mut met, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (user, item) in pairs {
        let other = other(matrix.row(user).0, matrix.n_cols(), &mut rng);
        users.push(user.0);
        met.push(item.0);
        others.push(other.0);
    }
    [users, met, others]
}

impl Triples {
    fn new(columns: [Vec<u32>; 3]) -> cairn_nn::Result<Self> {
        let [users, met, others] = columns.map(|column| {
            let n = column.len();
            Tensor::from_vec(column, [n])
        });
        Ok(Self { users: users?, met: met?, others: others? })
    }
}

/// A trained [`LightGcn`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LightGcnModel {
    settings: LightGcn,
    factors: Factors,
    /// What each item gives to a user who met it, but for the number of items that the user met.
    given: Vectors,
    progress: Vec<f64>,
}

impl LightGcnModel {
    /// The vectors of users and items, as means over the layers.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }
}

impl Estimator for LightGcn {
    type Model = LightGcnModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<LightGcnModel> {
        self.check(matrix)?;
        let failed = |e: cairn_nn::Error| failure(LightGcnModel::NAME, &e);
        let mut rng = rng(self.passes.seed);
        let mut table = |n| Ok(Parameter::new(Init::Normal(SPREAD).tensor([n, self.factors], &mut rng)?));
        let network = Network {
            users: table(matrix.n_rows()).map_err(failed)?,
            items: table(matrix.n_cols()).map_err(failed)?,
        };
        let graph = Graph::new(matrix);
        // Who met all tells nothing apart.
        let open = |user: UserIdx| matrix.row_len(user) < matrix.n_cols();
        let entries = matrix.entries().filter(|&(user, ..)| open(user));
        let pairs: Vec<(UserIdx, ItemIdx)> = entries.map(|(user, item, _)| (user, item)).collect();
        let progress =
            self.passes.train(LightGcnModel::NAME, (&network, false), pairs.len(), |batch, _, cx| {
                let pairs = batch.iter().map(|&at| pairs[at as usize]);
                network.loss(&graph, self, &Triples::new(triples(matrix, pairs, cx.draw()))?)
            })?;
        let [users, items, before] = no_grad(|| network.sums(&graph, self.layers)).map_err(failed)?;
        let scaled = |sums: &Var| -> cairn_nn::Result<Vec<f32>> {
            Ok(sums.value().scale(1.0 / (self.layers + 1) as f32)?.to_vec())
        };
        let vectors =
            |sums| Ok::<_, crate::Error>(Vectors::from_parts(self.factors, scaled(sums).map_err(failed)?));
        let factors = Factors { users: vectors(&users)?, items: vectors(&items)? };
        let mut given = vectors(&before)?;
        for (vector, degree) in given.as_mut_slice().chunks_mut(self.factors).zip(degrees(matrix)) {
            let scale = if degree > 0.0 { 1.0 / degree.sqrt() } else { 0.0 };
            vector.iter_mut().for_each(|x| *x *= scale);
        }
        let model = LightGcnModel { settings: self.clone(), factors, given, progress };
        let reason = &"the vectors are no longer finite; lower the learning rate";
        model.validate().map_err(|_| failure(LightGcnModel::NAME, reason))?;
        Ok(model)
    }
}

impl FactorModel for LightGcnModel {
    const NAME: &'static str = "LightGCN";

    fn factors(&self) -> &Factors {
        &self.factors
    }
    /// What the graph carries from the items to somebody without a vector of their own; values do not matter.
    fn user_vector(&self, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        let mut vector = vec![0.0; self.given.dim()];
        let scale = 1.0 / (items.len().max(1) as f32).sqrt();
        for item in items {
            vector.iter_mut().zip(self.given.get(item.at())).for_each(|(sum, x)| *sum += scale * x);
        }
        Ok(vector)
    }
    /// The mean loss of each epoch.
    fn training_curve(&self) -> &[f64] {
        &self.progress
    }
}

impl Saved for LightGcnModel {
    const FORMAT: &'static str = "light-gcn";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        let items = &self.factors.items;
        let fits = self.given.dim() == items.dim() && self.given.as_slice().len() == items.as_slice().len();
        if !fits {
            return Err("the vectors do not fit".to_owned());
        }
        check::finite("what items give to users", self.given.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neural::golden;

    #[test]
    fn loss_gradients_and_vectors_are_those_of_pytorch() {
        let matrix = golden::matrix();
        let parameter = |n: usize| Parameter::new(Tensor::zeros([n, 3]).unwrap());
        let network = Network { users: parameter(matrix.n_rows()), items: parameter(matrix.n_cols()) };
        golden::fill(&network);
        let settings = LightGcn::new().factors(3).layers(2).regularization(0.1);
        let graph = Graph::new(&matrix);
        // Nothing of chance: each user's next item that they did not meet.
        let next = |user: UserIdx, item: ItemIdx| {
            let n = matrix.n_cols() as u32;
            (1..n).map(|step| (item.0 + step) % n).find(|&i| matrix.get(user, ItemIdx(i)).is_none()).unwrap()
        };
        let rows: Vec<(UserIdx, ItemIdx)> = matrix.entries().map(|(user, item, _)| (user, item)).collect();
        let triples = Triples::new([
            rows.iter().map(|(user, _)| user.0).collect(),
            rows.iter().map(|(_, item)| item.0).collect(),
            rows.iter().map(|&(user, item)| next(user, item)).collect(),
        ]);
        let loss = network.loss(&graph, &settings, &triples.unwrap()).unwrap();
        golden::check("light_gcn loss", &[loss.item().unwrap()]);
        golden::check_gradients("light_gcn", &network, &loss.backward().unwrap());
        let [users, items, _] = network.sums(&graph, 2).unwrap();
        for (name, sums) in [("users", users), ("items", items)] {
            golden::check(
                &format!("light_gcn final {name}"),
                &sums.scale(1.0 / 3.0).unwrap().value().to_vec(),
            );
        }
    }

    #[test]
    fn others_are_never_among_what_was_met() {
        let matrix = golden::matrix();
        let pairs: Vec<(UserIdx, ItemIdx)> = matrix.entries().map(|(user, item, _)| (user, item)).collect();
        let [users, met, others] = triples(&matrix, pairs.iter().copied().cycle().take(500), rng(0));
        for ((user, item), other) in users.iter().zip(met).zip(others) {
            assert!(matrix.get(UserIdx(*user), ItemIdx(item)).is_some());
            assert!(matrix.get(UserIdx(*user), ItemIdx(other)).is_none());
        }
    }

    /// With nothing of their own, a user of training has the vector that somebody new has by the same items.
    #[test]
    fn somebody_new_is_somebody_without_a_vector_of_their_own() {
        let matrix = golden::matrix();
        let model = LightGcn::new().factors(3).layers(2).epochs(0).fit_matrix(&matrix).unwrap();
        let network = Network {
            users: Parameter::new(Tensor::zeros([matrix.n_rows(), 3]).unwrap()),
            items: Parameter::new(Tensor::zeros([matrix.n_cols(), 3]).unwrap()),
        };
        golden::fill(&network);
        network.users.set(Tensor::zeros([matrix.n_rows(), 3]).unwrap());
        let [users, _, before] = network.sums(&Graph::new(&matrix), 1).unwrap();
        let (third, degrees) = (1.0 / 2.0, degrees(&matrix));
        let mut given = before.scale(third).unwrap().value().to_vec();
        given
            .chunks_mut(3)
            .zip(&degrees)
            .for_each(|(v, d)| v.iter_mut().for_each(|x| *x /= d.max(1.0).sqrt()));
        let model = LightGcnModel { given: Vectors::from_parts(3, given), ..model };
        let users = users.scale(third).unwrap().value().to_vec();
        for user in matrix.row_indices() {
            let vector = model.user_vector(matrix.row(user).0, &[]).unwrap();
            let want = &users[user.at() * 3..][..3];
            assert!(vector.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{user:?}");
        }
    }
}
