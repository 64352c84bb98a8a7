//! NeuMF: a factorisation and a network of dense layers side by side (He et al., "Neural Collaborative Filtering", WWW 2017).
//!
//! Users and items have two vectors each. Those of the first kind are multiplied entry by entry, those of the second go side by side through
//! dense layers; a last layer weighs both. Trained by the logistic loss with items drawn that were not met.
//!
//! The weights of the products are multiplied into the vectors of users after training, so that the first part is an inner product; the
//! second has to be computed for every pair, and so lists cost far more than those of a factorisation, which does as well or better when it
//! is trained as long (Rendle, Krichene, Zhang & Anderson, RecSys 2020).

use cairn_autograd::Var;
use cairn_nn::{Activation, Init, Linear, Module, Parameter};
use cairn_tensor::{Rng, Tensor, rng};
use serde::{Deserialize, Serialize};

use super::pairs::{self, logistic, others};
use super::passes::{Passes, failure, passes_setters};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::features::dense::Layers;
use crate::models::factors::{Factors, Vectors};
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::{Result, check, memory};

/// Standard deviation of the vectors at the start.
const SPREAD: f32 = 0.1;
/// Items that the layers score at a time.
const ITEMS: usize = 4096;

/// Settings of NeuMF. Defaults: vectors of 16 to be multiplied, dense layers of 64, 32 and 16 on two vectors of 32, 4 items drawn for each
/// that was met, 20 epochs of batches of 1024, Adam with 1e-3, seed 0.
///
/// Interactions count as ones, whatever their value: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least).
///
/// ```
/// use cairn_recsys::{Estimator, Filter, NeuMf, synthetic};
/// // Users and items are of the group of their number modulo 3.
/// let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 0)?;
/// let model = NeuMf::new().factors(8).hidden([16, 8]).batch_size(128).learning_rate(0.01).fit(&log)?;
/// let list = model.recommend(&4, 3, &Filter::unseen())?;
/// assert!(list.iter().all(|entry| entry.id % 3 == 1));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("NCF", "neural collaborative filtering", "GMF"))]
pub struct NeuMf {
    factors: usize,
    hidden: Vec<usize>,
    negatives: usize,
    passes: Passes,
    memory_limit: u64,
}

impl Default for NeuMf {
    fn default() -> Self {
        Self {
            factors: 16,
            hidden: vec![64, 32, 16],
            negatives: 4,
            passes: Passes { epochs: 20, batch_size: 1024, learning_rate: 1e-3, seed: 0 },
            memory_limit: memory::LIMIT,
        }
    }
}

impl NeuMf {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Length of the vectors that are multiplied.
        #[doc(alias = "mf_embedding_size")]
        factors(factors: usize);
        /// Items drawn for each that was met: 1 to 65,536.
        negatives(negatives: usize);
    }

    /// Widths of the dense layers, of which the first is to be even: its halves are as long as the vectors that go in.
    #[must_use]
    #[doc(alias("layers", "mlp_hidden_size"))]
    pub fn hidden(mut self, widths: impl IntoIterator<Item = usize>) -> Self {
        self.hidden = widths.into_iter().collect();
        self
    }

    passes_setters!();

    /// Length of the vectors that go through the layers.
    fn side(&self) -> usize {
        self.hidden.first().map_or(0, |width| width / 2)
    }

    fn check(&self, matrix: &UserItems) -> Result<()> {
        check::at_least_one("factors", self.factors)?;
        check::negatives(self.negatives)?;
        self.hidden.iter().try_for_each(|&width| check::at_least_one("hidden", width))?;
        if self.side() == 0 || !self.hidden[0].is_multiple_of(2) {
            let found = format!("{:?}", self.hidden);
            return Err(crate::Error::parameter(
                "hidden",
                found,
                "at least one layer, the first of an even width",
            ));
        }
        self.passes.check()?;
        check::not_empty(matrix)?;
        let vectors = matrix.n_rows() + matrix.n_cols();
        let tables = memory::of_factors(vectors, self.factors.saturating_add(self.side()), 6);
        let samples = (self.passes.batch_size.min(matrix.nnz()) as u64)
            .saturating_mul((self.negatives as u64).saturating_add(1));
        let widths =
            self.hidden.iter().fold(self.factors as u64, |sum, &width| sum.saturating_add(width as u64));
        let pairs = self
            .hidden
            .iter()
            .zip(&self.hidden[..1])
            .chain(self.hidden.iter().zip(self.hidden.iter().skip(1)));
        let weights = pairs.map(|(&a, &b)| (a as u64).saturating_mul(b as u64)).fold(0, u64::saturating_add);
        let needed =
            [tables, samples.saturating_mul(widths).saturating_mul(4 * 6), weights.saturating_mul(4 * 5)];
        let what = || format!("NeuMF on {} users and {} items", matrix.n_rows(), matrix.n_cols());
        memory::check(what, needed.into_iter().fold(0, u64::saturating_add), self.memory_limit)
    }
}

/// The network.
#[derive(Debug, Clone, Module)]
struct Network {
    /// `[users, factors]` and `[items, factors]`, to be multiplied.
    users: Parameter,
    items: Parameter,
    /// `[users, side]` and `[items, side]`, for the layers.
    user_sides: Parameter,
    item_sides: Parameter,
    layers: Vec<Linear>,
    /// From the products and the last layer, side by side, to the score.
    head: Linear,
}

impl Network {
    fn new(settings: &NeuMf, n_users: usize, n_items: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        let NeuMf { factors, hidden, .. } = settings;
        let side = settings.side();
        let table = |n: usize, width: usize, rng: &mut Rng| -> cairn_nn::Result<Parameter> {
            Ok(Parameter::new(Init::Normal(SPREAD).tensor([n, width], rng)?))
        };
        let (mut layers, mut inputs) = (Vec::new(), 2 * side);
        for &outputs in hidden {
            layers.push(Linear::new(inputs, outputs, rng)?.activation(Activation::Relu));
            inputs = outputs;
        }
        Ok(Self {
            users: table(n_users, *factors, rng)?,
            items: table(n_items, *factors, rng)?,
            user_sides: table(n_users, side, rng)?,
            item_sides: table(n_items, side, rng)?,
            layers,
            head: Linear::new(factors + inputs, 1, rng)?,
        })
    }

    /// The mean logistic loss of pairs that were met, 1, or not, 0.
    fn loss(&self, users: &[u32], items: &[u32], labels: &[f32]) -> cairn_nn::Result<Var> {
        let n = labels.len();
        let (users, items) = (Tensor::from_slice(users, [n])?, Tensor::from_slice(items, [n])?);
        let products = self.users.var().lookup(&users)?.mul(&self.items.var().lookup(&items)?)?;
        let sides = [self.user_sides.var().lookup(&users)?, self.item_sides.var().lookup(&items)?];
        let x = Var::cat(&[&sides[0], &sides[1]], 1)?;
        let x = self.layers.iter().try_fold(x, |x, layer| layer.forward(&x))?;
        let scores = self.head.forward(&Var::cat(&[&products, &x], 1)?)?.reshape([n])?;
        logistic(&scores, labels)
    }
}

/// A trained [`NeuMf`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeuMfModel {
    /// Vectors whose products are the first part of the scores.
    factors: Factors,
    /// What goes through the layers.
    sides: Factors,
    layers: Layers,
    negatives: usize,
    seed: u64,
    progress: Vec<f64>,
}

impl Estimator for NeuMf {
    type Model = NeuMfModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<NeuMfModel> {
        self.check(matrix)?;
        let failed = |e: cairn_nn::Error| failure(NAME, &e);
        let network = Network::new(self, matrix.n_rows(), matrix.n_cols(), &mut rng(self.passes.seed))
            .map_err(failed)?;
        // Nothing is to be told apart by who met all.
        let open = |user: UserIdx| matrix.row_len(user) < matrix.n_cols();
        let entries = matrix.entries().filter(|&(user, ..)| open(user));
        let pairs: Vec<(UserIdx, ItemIdx)> = entries.map(|(user, item, _)| (user, item)).collect();
        let progress = self.passes.train(NAME, (&network, true), pairs.len(), |batch, _, cx| {
            let (mut users, mut items, mut labels, mut rng) = (Vec::new(), Vec::new(), Vec::new(), cx.draw());
            for &(user, item) in batch.iter().map(|&at| &pairs[at as usize]) {
                let seen = matrix.row(user).0;
                items.push(item.0);
                labels.push(1.0);
                items.extend(others(seen, self.negatives, matrix.n_cols(), &mut rng));
                labels.resize(items.len(), 0.0);
                users.resize(items.len(), user.0);
            }
            network.loss(&users, &items, &labels)
        })?;
        NeuMfModel::new(self, &network, progress).map_err(failed)?.checked()
    }
}

const NAME: &str = "NeuMF";

impl NeuMfModel {
    fn new(settings: &NeuMf, network: &Network, progress: Vec<f64>) -> cairn_nn::Result<Self> {
        let table =
            |parameter: &Parameter| Vectors::from_parts(parameter.shape()[1], parameter.value().to_vec());
        let head = network.head.weight.value();
        let (factors, last) = (settings.factors, head.shape()[0] - settings.factors);
        let scales = head.narrow(0, 0, factors)?.to_vec();
        let mut users = table(&network.users);
        for user in users.as_mut_slice().chunks_mut(factors) {
            user.iter_mut().zip(&scales).for_each(|(x, scale)| *x *= scale);
        }
        let mut layers = network.layers.clone();
        let rest = Parameter::new(head.narrow(0, factors, last)?.contiguous()?);
        layers.push(Linear::with_parameters(rest, network.head.bias.clone()));
        Ok(Self {
            factors: Factors { users, items: table(&network.items) },
            sides: Factors { users: table(&network.user_sides), items: table(&network.item_sides) },
            layers: Layers::new(&layers),
            negatives: settings.negatives,
            seed: settings.passes.seed,
            progress,
        })
    }

    fn checked(self) -> Result<Self> {
        let reason = &"the vectors are no longer finite; lower the learning rate";
        self.validate().map_err(|_| failure(NAME, reason))?;
        Ok(self)
    }

    /// Scores of all items for somebody with these vectors.
    fn score(&self, user: &[f32], side: &[f32], out: &mut [f32]) -> Result<()> {
        self.factors.items.inner_products(user, out);
        let width = side.len();
        let items = self.sides.items.as_slice().chunks(ITEMS * width).zip(out.chunks_mut(ITEMS));
        for (items, out) in items {
            let rows = items.chunks(width).flat_map(|item| [side, item]).flatten().copied();
            let scores = self.layers.forward(rows.collect(), out.len()).map_err(|e| failure(NAME, &e))?;
            out.iter_mut().zip(scores).for_each(|(out, score)| *out += score);
        }
        Ok(())
    }

    /// The vectors of somebody who met these items: steps of training from zero with everything else fixed.
    fn fold_in(&self, items: &[ItemIdx]) -> Result<[Vec<f32>; 2]> {
        let n_items = self.factors.items.len();
        check::known(items, n_items)?;
        let zeros =
            |vectors: &Vectors| Ok::<_, cairn_nn::Error>(Parameter::new(Tensor::zeros([1, vectors.dim()])?));
        let failed = |e: cairn_nn::Error| failure(NAME, &e);
        let person = Person {
            vector: zeros(&self.factors.items).map_err(failed)?,
            side: zeros(&self.sides.items).map_err(failed)?,
        };
        let loss = |asked: &[u32], labels: &[f32]| self.person_loss(&person, asked, labels);
        pairs::fold_in(NAME, &person, (items, n_items), (self.negatives, self.seed), loss)?;
        Ok([person.vector.value().to_vec(), person.side.value().to_vec()])
    }

    fn person_loss(&self, person: &Person, items: &[u32], labels: &[f32]) -> cairn_nn::Result<Var> {
        let n = items.len();
        let rows = |vectors: &Vectors| -> cairn_nn::Result<Var> {
            let rows = items.iter().flat_map(|&item| vectors.get(item as usize)).copied().collect();
            Ok(Var::constant(Tensor::from_vec(rows, [n, vectors.dim()])?))
        };
        let products = rows(&self.factors.items)?.mul(&person.vector.var())?.sum(-1)?;
        let side = person.side.var().broadcast_to([n, self.sides.items.dim()])?;
        let x = Var::cat(&[&side, &rows(&self.sides.items)?], 1)?;
        logistic(&products.add(&self.layers.apply(x)?.reshape([n])?)?, labels)
    }
}

/// What is learned of somebody new.
#[derive(Debug, Module)]
struct Person {
    vector: Parameter,
    side: Parameter,
}

impl Recommender for NeuMfModel {
    fn name(&self) -> &'static str {
        NAME
    }
    fn n_users(&self) -> usize {
        self.factors.users.len()
    }
    fn n_items(&self) -> usize {
        self.factors.items.len()
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        users.iter().zip(out.chunks_mut(self.n_items().max(1))).try_for_each(|(user, out)| {
            self.score(self.factors.users.get(user.at()), self.sides.users.get(user.at()), out)
        })
    }
    /// By steps of training with everything but the user's vectors fixed; values do not matter. Near the scores of training, not equal.
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], _: &[f32], out: &mut [f32]) -> Result<()> {
        let [vector, side] = self.fold_in(items)?;
        self.score(&vector, &side, out)
    }
    fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) -> Result<()> {
        self.factors.items.cosines(item.at(), self.factors.items.dim(), out);
        Ok(())
    }
    fn user_similarity(&self, user: UserIdx, out: &mut [f32]) -> Result<()> {
        self.factors.users.cosines(user.at(), self.factors.users.dim(), out);
        Ok(())
    }
    /// The mean loss of each epoch.
    fn progress(&self) -> &[f64] {
        &self.progress
    }
}

impl Saved for NeuMfModel {
    const FORMAT: &'static str = "neu-mf";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        self.sides.validate()?;
        let same = |of: fn(&Factors) -> usize| of(&self.factors) == of(&self.sides);
        let inputs = self.sides.items.dim().checked_mul(2);
        let fits = same(|factors| factors.users.len()) && same(|factors| factors.items.len());
        match inputs.filter(|_| fits && check::negatives(self.negatives).is_ok()) {
            Some(inputs) => self.layers.check(inputs, 1),
            None => Err("vectors and layers do not fit".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neural::golden;

    #[test]
    fn loss_gradients_and_scores_are_those_of_pytorch() {
        let matrix = golden::matrix();
        let settings = NeuMf::new().factors(3).hidden([4, 2]);
        let network = Network::new(&settings, 5, 7, &mut rng(0)).unwrap();
        golden::fill(&network);
        let pairs: Vec<(u32, u32, f32)> = (0..5)
            .flat_map(|user| (0..7).map(move |item| (user, item)))
            .map(|(user, item)| {
                (user, item, f32::from(u8::from(matrix.get(UserIdx(user), ItemIdx(item)).is_some())))
            })
            .collect();
        let users: Vec<u32> = pairs.iter().map(|pair| pair.0).collect();
        let items: Vec<u32> = pairs.iter().map(|pair| pair.1).collect();
        let labels: Vec<f32> = pairs.iter().map(|pair| pair.2).collect();
        let loss = network.loss(&users, &items, &labels).unwrap();
        golden::check("neu_mf loss", &[loss.item().unwrap()]);
        golden::check_gradients("neu_mf", &network, &loss.backward().unwrap());
        let model = NeuMfModel::new(&settings, &network, Vec::new()).unwrap();
        let users: Vec<UserIdx> = matrix.row_indices().collect();
        let mut scores = vec![0.0; 35];
        model.score_users(&matrix, &users, &mut scores).unwrap();
        golden::check("neu_mf scores", &scores);
    }
}
