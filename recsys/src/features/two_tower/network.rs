//! The towers, and what goes into them.

use cairn_autograd::Var;
use cairn_nn::{Activation, Context, Dropout, Init, Linear, Module, Parameter};
use cairn_tensor::{Rng, Tensor};

use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::features::known::Known;
use crate::features::space::{FeatureIdx, FeatureMatrix};
use crate::neural::sparse::Sparse;

/// Standard deviation of vectors at the start.
const SPREAD: f32 = 0.1;
/// The logit of what is no candidate: e to this is 0 beside any other.
const OUT: f32 = -1e9;

/// Rows for a tower: who or what, by features: items first, what is known behind them.
pub(super) type Inputs = Csr<UserIdx, FeatureIdx>;

/// Makes the rows of users and items.
pub(super) struct Rows<'a> {
    pub(super) known: &'a Known,
    pub(super) matrix: &'a UserItems,
}

impl Rows<'_> {
    /// Of users by what they met, but for one item and those that are not to be `read`, with weights that add up to 1, and what is known of
    /// them.
    pub(super) fn users(
        &self,
        users: impl Iterator<Item = (UserIdx, Option<ItemIdx>)>,
        read: impl Fn(ItemIdx) -> bool,
    ) -> Inputs {
        self.rows(users, self.known.users.as_ref(), |(user, but), columns, values| {
            let met = self.matrix.row(user).0.iter().filter(|item| Some(**item) != but && read(**item));
            let first = columns.len();
            columns.extend(met.map(|item| FeatureIdx(item.0)));
            let n = columns.len() - first;
            values.resize(columns.len(), 1.0 / n.max(1) as f32);
            user
        })
    }

    /// Of items by their identity, unless it is to say nothing, and what is known of them.
    pub(super) fn items(&self, items: impl Iterator<Item = (ItemIdx, bool)>) -> Inputs {
        self.rows(items, self.known.items.as_ref(), |(item, met), columns, values| {
            if met {
                columns.push(FeatureIdx(item.0));
                values.push(1.0);
            }
            item
        })
    }

    fn rows<T, X: Idx>(
        &self,
        all: impl Iterator<Item = T>,
        features: Option<&FeatureMatrix<X>>,
        mut own: impl FnMut(T, &mut Vec<FeatureIdx>, &mut Vec<f32>) -> X,
    ) -> Inputs {
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        let n_items = self.matrix.n_cols() as u32;
        for one in all {
            let x = own(one, &mut columns, &mut values);
            if let Some(features) = features {
                let (more, weights) = features.rows().row(x);
                columns.extend(more.iter().map(|feature| FeatureIdx(n_items + feature.0)));
                values.extend_from_slice(weights);
            }
            offsets.push(columns.len());
        }
        let known = features.map_or(0, |features| features.space().len());
        Csr::from_parts(n_items as usize + known, offsets, columns, values)
    }
}

#[derive(Debug, Clone, Module)]
pub(super) struct Tower {
    /// `[items and features, factors]`
    pub(super) table: Parameter,
    pub(super) layers: Vec<Linear>,
    #[module(skip)]
    dropout: Dropout,
}

#[derive(Debug, Clone, Module)]
pub(super) struct Network {
    pub(super) users: Tower,
    pub(super) items: Tower,
}

impl Tower {
    fn new(
        columns: usize,
        (factors, hidden, dropout): (usize, &[usize], f32),
        rng: &mut Rng,
    ) -> cairn_nn::Result<Self> {
        let table = Parameter::new(Init::Normal(SPREAD).tensor([columns, factors], rng)?);
        let (mut layers, mut inputs) = (Vec::new(), factors);
        for &outputs in hidden {
            layers.push(Linear::new(inputs, outputs, rng)?.activation(Activation::Relu));
            inputs = outputs;
        }
        if !hidden.is_empty() {
            layers.push(Linear::new(inputs, factors, rng)?);
        }
        Ok(Self { table, layers, dropout: Dropout::new(dropout) })
    }

    fn forward(&self, rows: Inputs, cx: &mut Context) -> cairn_nn::Result<Var> {
        let mut x = Sparse::new(rows).sums(&self.table.var())?;
        for (at, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x)?;
            if at + 1 < self.layers.len() {
                x = self.dropout.forward(&x, cx)?;
            }
        }
        Ok(x)
    }
}

impl Network {
    pub(super) fn new(
        columns: [usize; 2],
        layers: (usize, &[usize], f32),
        rng: &mut Rng,
    ) -> cairn_nn::Result<Self> {
        let [users, items] = columns;
        Ok(Self { users: Tower::new(users, layers, rng)?, items: Tower::new(items, layers, rng)? })
    }

    /// The cross-entropy of each user's item among the items of the batch, which are drawn with these logarithms of probabilities and
    /// of which some are `out`, `[users, items]`.
    pub(super) fn loss(
        &self,
        users: Inputs,
        items: Inputs,
        (shares, out): (Vec<f32>, Vec<bool>),
        cx: &mut Context,
    ) -> cairn_nn::Result<Var> {
        let n = shares.len();
        let (users, items) = (self.users.forward(users, cx)?, self.items.forward(items, cx)?);
        let logits = users.matmul(&items.t()?)?.sub(&Var::constant(Tensor::from_vec(shares, [1, n])?))?;
        let logits = logits.masked_fill(&Tensor::from_vec(out, [n, n])?, OUT)?;
        let own = Tensor::from_vec((0..n as u32).collect(), [n])?;
        Ok(logits.cross_entropy(&own)?.mean(..)?)
    }
}

#[cfg(test)]
mod tests {
    use cairn_tensor::rng;

    use super::*;
    use crate::neural::golden;

    #[test]
    fn loss_and_gradients_are_those_of_pytorch() {
        let matrix = golden::matrix();
        let network = Network::new([7, 7], (3, &[4], 0.0), &mut rng(0)).unwrap();
        golden::fill(&network);
        let rows = Rows { known: &Known::default(), matrix: &matrix };
        // Two users whose item the other met, and one whose only item it is.
        let pairs = [(0, 1), (4, 2), (1, 1), (2, 0)].map(|(user, item)| (UserIdx(user), ItemIdx(item)));
        let shares = golden::values(4, 9);
        let met = |user, item| matrix.get(user, item).is_some();
        let out = pairs.iter().enumerate().flat_map(|(row, (user, _))| {
            pairs.iter().enumerate().map(move |(at, (_, other))| at != row && met(*user, *other))
        });
        let users = rows.users(pairs.iter().map(|&(user, item)| (user, Some(item))), |_| true);
        let items = rows.items(pairs.iter().map(|&(_, item)| (item, true)));
        let mut cx = Context::train(0);
        let loss = network.loss(users, items, (shares, out.collect()), &mut cx).unwrap();
        golden::check("two_tower loss", &[loss.item().unwrap()]);
        golden::check_gradients("two_tower", &network, &loss.backward().unwrap());
    }
}
