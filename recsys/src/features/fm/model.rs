//! A trained factorisation machine: what users and items come to, and features for who is new.

use cairn_autograd::Var;
use cairn_nn::{Module, Parameter};
use cairn_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::network::{FIELDS, Network};
use super::{FactorizationMachine, Fields, name};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{ItemUsers, UserItems};
use crate::features::dense::Layers;
use crate::features::described::Described;
use crate::features::kept::Kept;
use crate::features::known::{self, BY_EVENTS, BY_ITEMS, BY_USERS, FeatureModel, trained_with};
use crate::features::space::{FeatureIdx, FeatureMatrix, FeatureSpace};
use crate::features::table::FeatureRow;
use crate::models::factors::{Factors, Vectors, dot};
use crate::neural::pairs::{self, logistic};
use crate::neural::passes::{failure, forget_unmoved};
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::{Error, Result, check};

/// Items that the dense layers score at a time.
const ITEMS: usize = 4096;

/// A trained [`FactorizationMachine`].
///
/// Without dense layers scores are inner products: a user's vector ends with what is theirs alone and a 1, an item's with a 1 and what is
/// its alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactorizationMachineModel {
    dim: usize,
    pairs: bool,
    negatives: usize,
    seed: u64,
    bias: f32,
    factors: Factors,
    items: Option<Described>,
    users: Option<Described>,
    context: Option<Described>,
    deep: Option<Deep>,
    kept: Kept,
    progress: Vec<f64>,
}

/// What a user, an item or an event comes to.
struct Sum {
    /// The vector of its identity, then the sum of those of its features.
    fields: Vec<f32>,
    linear: f32,
    squares: f32,
    /// Whether its vector is multiplied with others.
    pairs: bool,
}

impl Sum {
    fn new(dim: usize, pairs: bool) -> Self {
        Self { fields: vec![0.0; 2 * dim], linear: 0.0, squares: 0.0, pairs }
    }

    /// Adds `x` times a vector with its linear weight to one of the fields.
    fn add(&mut self, field: usize, vector: &[f32], x: f32) {
        let dim = self.fields.len() / 2;
        for (sum, v) in self.fields[field * dim..(field + 1) * dim].iter_mut().zip(vector) {
            *sum += x * v;
            self.squares += (x * v) * (x * v);
        }
        self.linear += x * vector[dim];
    }

    fn described(shape: (usize, bool), known: &Described, row: &FeatureRow) -> Result<Self> {
        Ok(Self::of_features(shape, known, known.space.encode(row)?))
    }

    fn of_features(
        (dim, pairs): (usize, bool),
        known: &Described,
        features: impl IntoIterator<Item = (FeatureIdx, f32)>,
    ) -> Self {
        let mut sum = Self::new(dim, pairs);
        known.each(features, |vector, x| sum.add(1, vector, x));
        sum
    }

    fn vector(&self) -> Vec<f32> {
        let (identity, features) = self.fields.split_at(self.fields.len() / 2);
        identity.iter().zip(features).map(|(a, b)| a + b).collect()
    }

    /// What others are multiplied with.
    fn paired(&self) -> Vec<f32> {
        if self.pairs { self.vector() } else { vec![0.0; self.fields.len() / 2] }
    }

    /// What it adds to a score whatever it meets.
    fn own(&self) -> f32 {
        if !self.pairs {
            return self.linear;
        }
        let vector = self.vector();
        self.linear + 0.5 * (dot(&vector, &vector) - self.squares)
    }

    /// As a user's vector.
    fn query(&self, bias: f32) -> Vec<f32> {
        self.paired().into_iter().chain([bias + self.own(), 1.0]).collect()
    }

    /// As an item's vector.
    fn target(&self) -> Vec<f32> {
        self.paired().into_iter().chain([1.0, self.own()]).collect()
    }
}

/// The dense layers of a DeepFM, and what they take of users and items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Deep {
    users: Vectors,
    items: Vectors,
    layers: Layers,
}

impl Deep {
    /// Adds to the scores of items those of the layers, for somebody with these fields in a context.
    fn add(&self, user: &[f32], items: &[f32], context: &[f32], out: &mut [f32]) -> cairn_nn::Result<()> {
        let width = user.len();
        for (items, out) in items.chunks(ITEMS * width).zip(out.chunks_mut(ITEMS)) {
            let rows = items.chunks(width).flat_map(|item| [user, item, context]).flatten().copied();
            let scores = self.layers.forward(rows.collect(), out.len())?;
            out.iter_mut().zip(scores).for_each(|(out, score)| *out += score);
        }
        Ok(())
    }

    fn check(&self, dim: usize, factors: &Factors) -> Result<(), String> {
        let tables = [
            ("the layers' vectors of users", &self.users, factors.users.len()),
            ("the layers' vectors of items", &self.items, factors.items.len()),
        ];
        for (what, vectors, n) in tables {
            let rows = vectors.as_slice().len().checked_div(vectors.dim().max(1));
            if Some(vectors.dim()) != dim.checked_mul(2) || rows != Some(n) {
                return Err(format!("{what} do not fit"));
            }
            check::finite(what, vectors.as_slice())?;
        }
        let inputs = FIELDS.checked_mul(dim).ok_or("the layers do not fit")?;
        self.layers.check(inputs, 1)
    }
}

impl FactorizationMachineModel {
    pub(super) fn new(
        settings: &FactorizationMachine,
        (network, start): (&Network, &Network),
        fields: &Fields<'_>,
        (by_user, by_item): (&UserItems, &ItemUsers),
        progress: Vec<f64>,
    ) -> Result<Self> {
        let (dim, pairs) = (settings.factors, settings.pairs);
        let mut table = network.table.value().to_vec();
        let moved = forget_unmoved(&mut table, &start.table.value().to_vec(), dim + 1);
        let row = |at: usize| &table[at * (dim + 1)..(at + 1) * (dim + 1)];
        let (of_users, of_items) = (settings.known.users.as_ref(), settings.known.items.as_ref());
        let users: Vec<Sum> = by_user
            .row_indices()
            .map(|x| side((dim, pairs), &row, fields.starts[0], (of_users, x)))
            .collect();
        let items: Vec<Sum> = by_item
            .row_indices()
            .map(|x| side((dim, pairs), &row, fields.starts[2], (of_items, x)))
            .collect();
        let described = |space: Option<&FeatureSpace>, at: usize| {
            let rows = &table[fields.starts[at] * (dim + 1)..fields.starts[at + 1] * (dim + 1)];
            space.map(|space| Described::new(space.clone(), Vectors::from_parts(dim + 1, rows.to_vec())))
        };
        let bias = network.bias.value().to_vec()[0];
        let all = |sums: &[Sum], vector: &dyn Fn(&Sum) -> Vec<f32>| {
            sums.iter().flat_map(vector).collect::<Vec<f32>>()
        };
        let deep = (!settings.hidden.is_empty()).then(|| Deep {
            users: Vectors::from_parts(2 * dim, all(&users, &|sum| sum.fields.clone())),
            items: Vectors::from_parts(2 * dim, all(&items, &|sum| sum.fields.clone())),
            layers: Layers::new(&network.deep),
        });
        let model = Self {
            dim,
            pairs,
            negatives: settings.negatives,
            seed: settings.passes.seed,
            bias,
            factors: Factors {
                users: Vectors::from_parts(dim + 2, all(&users, &|sum| sum.query(bias))),
                items: Vectors::from_parts(dim + 2, all(&items, &Sum::target)),
            },
            items: described(of_items.map(FeatureMatrix::space), 3),
            users: described(of_users.map(FeatureMatrix::space), 1),
            context: described(settings.context.as_ref().map(super::EventFeatures::space), 4),
            deep,
            kept: Kept::new(
                &settings.known,
                |feature| moved[fields.starts[1] + feature.at()],
                |feature| moved[fields.starts[3] + feature.at()],
            ),
            progress,
        };
        let reason = &"the vectors are no longer finite; lower the learning rate";
        model.validate().map_err(|_| failure(model.name(), reason))?;
        Ok(model)
    }

    /// The vectors of users and items, of two more entries than asked for. Of a DeepFM their products are a part of the scores.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// Scores of all items for a user's vector and fields, in a context.
    fn score(&self, query: &[f32], fields: &[f32], context: Option<&Sum>, out: &mut [f32]) -> Result<()> {
        let Some(context) = context else {
            self.factors.items.inner_products(query, out);
            return self.score_deep(fields, &vec![0.0; self.dim], out);
        };
        let paired = context.paired();
        let mut query = query.to_vec();
        // What the context adds by itself, and with the user.
        query[self.dim] += context.own() + dot(&paired, &query[..self.dim]);
        query.iter_mut().zip(&paired).for_each(|(sum, x)| *sum += x);
        self.factors.items.inner_products(&query, out);
        self.score_deep(fields, &context.vector(), out)
    }

    fn score_deep(&self, fields: &[f32], context: &[f32], out: &mut [f32]) -> Result<()> {
        let Some(deep) = &self.deep else { return Ok(()) };
        deep.add(fields, deep.items.as_slice(), context, out).map_err(|e| failure(self.name(), &e))
    }

    fn fields(&self, user: UserIdx) -> &[f32] {
        self.deep.as_ref().map_or(&[], |deep| deep.users.get(user.at()))
    }

    /// What is known of a user besides what they met.
    fn features_of(&self, user: UserIdx) -> Option<Sum> {
        let known = self.users.as_ref()?;
        Some(Sum::of_features((self.dim, self.pairs), known, self.kept.of_user(user)))
    }

    /// Scores of all items for somebody who met these, and of whom features are known, too, or none.
    fn score_met(&self, features: Option<Sum>, items: &[ItemIdx], out: &mut [f32]) -> Result<()> {
        let Some(deep) = &self.deep else {
            let features = features.map(|sum| sum.query(self.bias));
            return self.score(&self.folded(features.as_deref(), items)?, &[], None, out);
        };
        let mut sum = features.unwrap_or_else(|| Sum::new(self.dim, self.pairs));
        let mut vector = self.folded_deep(deep, &sum, items)?;
        // Its linear weight.
        vector.push(0.0);
        sum.add(0, &vector, 1.0);
        self.score(&sum.query(self.bias), &sum.fields, None, out)
    }

    /// What the items met say of somebody with this vector of features: a user's vector.
    fn folded(&self, features: Option<&[f32]>, items: &[ItemIdx]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        Ok(known::fold_in(&self.factors.items, features, items, self.seed))
    }

    /// The vector, for the layers too, of somebody with these features who met these items: steps of training from zero with everything
    /// else fixed.
    fn folded_deep(&self, deep: &Deep, features: &Sum, items: &[ItemIdx]) -> Result<Vec<f32>> {
        let n_items = self.factors.items.len();
        check::known(items, n_items)?;
        let zeros = Tensor::zeros([1, self.dim]).map_err(|e| failure(self.name(), &e))?;
        let person = Person { vector: Parameter::new(zeros) };
        let loss = |asked: &[u32], labels: &[f32]| self.person_loss(&person, (deep, features), asked, labels);
        pairs::fold_in(self.name(), &person, (items, n_items), (self.negatives, self.seed), loss)?;
        Ok(person.vector.value().to_vec())
    }

    fn person_loss(
        &self,
        person: &Person,
        (deep, features): (&Deep, &Sum),
        items: &[u32],
        labels: &[f32],
    ) -> cairn_nn::Result<Var> {
        let (n, dim) = (items.len(), self.dim);
        let rows = |vectors: &Vectors| -> cairn_nn::Result<Var> {
            let rows = items.iter().flat_map(|&item| vectors.get(item as usize)).copied().collect();
            Ok(Var::constant(Tensor::from_vec(rows, [n, vectors.dim()])?))
        };
        let none = Var::constant(Tensor::zeros([n, dim])?);
        let vector = person.vector.var().broadcast_to([n, dim])?;
        let known = Var::constant(Tensor::from_slice(&features.fields[dim..], [1, dim])?);
        let known = known.broadcast_to([n, dim])?;
        let x = Var::cat(&[&vector, &known, &rows(&deep.items)?, &none], 1)?;
        let mut scores = deep.layers.apply(x)?.reshape([n])?;
        let targets = rows(&self.factors.items)?;
        let (paired, own) = (targets.narrow(1, 0, dim)?, targets.narrow(1, dim + 1, 1)?);
        if self.pairs {
            // What is learned and the features are multiplied with each other, too.
            scores = scores.add(&vector.mul(&known)?.sum(-1)?)?;
        }
        let scores = scores.add(&paired.mul(&vector.add(&known)?)?.sum(-1)?)?.add(&own.reshape([n])?)?;
        let bias = Var::constant(Tensor::from_slice(&[self.bias + features.own()], [1])?);
        logistic(&scores.add(&bias)?, labels)
    }
}

/// What is learned of somebody new.
#[derive(Debug, Clone, Module)]
struct Person {
    vector: Parameter,
}

/// What a user or item comes to by the rows of the table.
fn side<'t, X: Idx>(
    (dim, pairs): (usize, bool),
    row: &impl Fn(usize) -> &'t [f32],
    start: usize,
    (features, x): (Option<&FeatureMatrix<X>>, X),
) -> Sum {
    let mut sum = Sum::new(dim, pairs);
    sum.add(0, row(start + x.at()), 1.0);
    if let Some(features) = features {
        let start = start + features.rows().n_rows();
        let (columns, values) = features.rows().row(x);
        columns.iter().zip(values).for_each(|(feature, &x)| sum.add(1, row(start + feature.at()), x));
    }
    sum
}

impl FeatureModel for FactorizationMachineModel {
    fn item_space(&self) -> Option<&FeatureSpace> {
        self.items.as_ref().map(|known| &known.space)
    }
    fn user_space(&self) -> Option<&FeatureSpace> {
        self.users.as_ref().map(|known| &known.space)
    }
    fn score_described_items(&self, user: UserIdx, items: &[FeatureRow]) -> Result<Vec<f32>> {
        let known = trained_with(self.name(), self.items.as_ref(), BY_ITEMS)?;
        let sums = items
            .iter()
            .map(|row| Sum::described((self.dim, self.pairs), known, row))
            .collect::<Result<Vec<_>>>()?;
        let query = self.factors.users.get(user.at());
        let mut scores: Vec<f32> = sums.iter().map(|sum| dot(query, &sum.target())).collect();
        if let Some(deep) = &self.deep {
            let fields: Vec<f32> = sums.iter().flat_map(|sum| &sum.fields).copied().collect();
            let added = deep.add(self.fields(user), &fields, &vec![0.0; self.dim], &mut scores);
            added.map_err(|e| failure(self.name(), &e))?;
        }
        Ok(scores)
    }
    fn score_described_history(
        &self,
        user: &FeatureRow,
        items: &[ItemIdx],
        _: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let known = trained_with(self.name(), self.users.as_ref(), BY_USERS)?;
        self.score_met(Some(Sum::described((self.dim, self.pairs), known, user)?), items, out)
    }
    fn score_described_user(&self, user: &FeatureRow, out: &mut [f32]) -> Result<()> {
        let known = trained_with(self.name(), self.users.as_ref(), BY_USERS)?;
        let sum = Sum::described((self.dim, self.pairs), known, user)?;
        self.score(&sum.query(self.bias), &sum.fields, None, out)
    }
    fn score_in(&self, user: UserIdx, context: &FeatureRow, out: &mut [f32]) -> Result<()> {
        let known = trained_with(self.name(), self.context.as_ref(), BY_EVENTS)?;
        let context = Sum::described((self.dim, self.pairs), known, context)?;
        self.score(self.factors.users.get(user.at()), self.fields(user), Some(&context), out)
    }
}

impl Recommender for FactorizationMachineModel {
    fn name(&self) -> &'static str {
        name(self.pairs, self.deep.is_some())
    }
    fn n_users(&self) -> usize {
        self.factors.users.len()
    }
    fn n_items(&self) -> usize {
        self.factors.items.len()
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        self.factors.score_users(users, out);
        let context = vec![0.0; self.dim];
        let rows = users.iter().zip(out.chunks_mut(self.n_items().max(1)));
        rows.into_iter().try_for_each(|(&user, out)| self.score_deep(self.fields(user), &context, out))
    }
    fn inner_product(&self) -> Option<&Factors> {
        self.deep.is_none().then_some(&self.factors)
    }
    /// By steps with the items fixed, of BPR, or with dense layers of training; values do not matter. Near the scores of training, not
    /// equal.
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], _: &[f32], out: &mut [f32]) -> Result<()> {
        self.score_met(None, items, out)
    }
    fn score_next(
        &self,
        _: &UserItems,
        user: UserIdx,
        items: &[ItemIdx],
        _: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        self.score_met(self.features_of(user), items, out)
    }
    fn knows_user(&self, user: UserIdx, met: bool) -> bool {
        met || self.kept.has_user(user)
    }
    fn knows_item(&self, item: ItemIdx, met: bool) -> bool {
        met || self.kept.has_item(item)
    }
    fn fold_in_vector(&self, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        if self.deep.is_some() {
            return Err(Error::Unsupported { model: self.name(), operation: "the vector of a new user" });
        }
        self.folded(None, items)
    }
    fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) -> Result<()> {
        match &self.deep {
            Some(deep) if !self.pairs => deep.items.cosines(item.at(), 2 * self.dim, out),
            _ => self.factors.items.cosines(item.at(), self.dim, out),
        }
        Ok(())
    }
    fn user_similarity(&self, user: UserIdx, out: &mut [f32]) -> Result<()> {
        match &self.deep {
            Some(deep) if !self.pairs => deep.users.cosines(user.at(), 2 * self.dim, out),
            _ => self.factors.users.cosines(user.at(), self.dim, out),
        }
        Ok(())
    }
    /// The mean loss of each epoch.
    fn progress(&self) -> &[f64] {
        &self.progress
    }
}

impl Saved for FactorizationMachineModel {
    /// "factorization-machine-2" was without the features of its users.
    const FORMAT: &'static str = "factorization-machine-3";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        check::finite("the bias", &[self.bias])?;
        let wide = self.dim.checked_add(1).unwrap_or(0);
        let sizes = (self.factors.users.len(), self.factors.items.len());
        if self.dim == 0
            || check::negatives(self.negatives).is_err()
            || self.dim.checked_add(2) != Some(self.factors.items.dim())
            || !self.kept.fits(sizes, self.user_space(), self.item_space())
        {
            return Err("settings and vectors do not fit".to_owned());
        }
        for (what, known) in [("items", &self.items), ("users", &self.users), ("events", &self.context)] {
            known.iter().try_for_each(|known| known.check(what, wide))?;
        }
        self.deep.iter().try_for_each(|deep| deep.check(self.dim, &self.factors))
    }

    fn as_feature_model(&self) -> Option<&dyn FeatureModel> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Estimator, synthetic};

    #[test]
    fn files_without_vectors_or_with_absurd_draws_are_refused() {
        let log = synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap();
        let model = FactorizationMachine::new().factors(2).epochs(1).fit(&log).unwrap().model().clone();
        assert!(model.validate().is_ok());
        let absurd = FactorizationMachineModel { negatives: usize::MAX, ..model.clone() };
        assert!(absurd.validate().is_err());
        let factors =
            Factors { users: Vectors::zeros(20, 2).unwrap(), items: Vectors::zeros(12, 2).unwrap() };
        let empty = FactorizationMachineModel { dim: 0, factors, ..model };
        assert!(empty.validate().is_err());
    }
}
