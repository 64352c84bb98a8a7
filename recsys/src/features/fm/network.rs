//! The network of a factorisation machine, and samples as it takes them.

use cairn_autograd::Var;
use cairn_nn::{Activation, Context, Dropout, Init, Linear, Module, Parameter};
use cairn_tensor::{Rng, Tensor};

use crate::data::ids::{Idx, UserIdx};
use crate::data::sparse::Csr;
use crate::features::space::FeatureIdx;
use crate::neural::pairs::logistic;
use crate::neural::sparse::Sparse;

/// Fields: the user, what is known of them, the item, what is known of it, the context.
pub(super) const FIELDS: usize = 5;
/// Standard deviation of vectors and linear weights at the start.
const SPREAD: f32 = 0.05;

/// Samples, each with any number of features in each field.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Of each feature of each sample: its field, its row of the table, its value.
    parts: Vec<(usize, u32, f32)>,
    /// Where each sample ends.
    ends: Vec<usize>,
}

impl Samples {
    pub(super) fn push(&mut self, parts: impl IntoIterator<Item = (usize, u32, f32)>) {
        self.parts.extend(parts);
        self.ends.push(self.parts.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// For each sample the places of its features in `parts`, of one field or all.
    fn places(&self, field: Option<usize>) -> Sparse<UserIdx, FeatureIdx> {
        let (mut offsets, mut columns, mut begin) = (vec![0], Vec::new(), 0);
        for &end in &self.ends {
            let own = (begin..end).filter(|&at| field.is_none_or(|field| self.parts[at].0 == field));
            columns.extend(own.map(|at| FeatureIdx::from_u32(at as u32)));
            offsets.push(columns.len());
            begin = end;
        }
        let ones = vec![1.0; columns.len()];
        Sparse::new(Csr::from_parts(self.parts.len(), offsets, columns, ones))
    }
}

/// A vector and a linear weight for every feature, and dense layers on the vectors of all fields, if there are any.
#[derive(Debug, Clone, Module)]
pub(super) struct Network {
    /// `[1]`
    pub(super) bias: Parameter,
    /// `[features, dim + 1]`, the linear weight last.
    pub(super) table: Parameter,
    pub(super) deep: Vec<Linear>,
    /// Whether the products of all pairs are a part of the scores.
    #[module(skip)]
    pairs: bool,
    #[module(skip)]
    dropout: Dropout,
}

impl Network {
    /// With ReLU after all dense layers but the last, which has one output; none where `hidden` is empty.
    pub(super) fn new(
        n_features: usize,
        dim: usize,
        pairs: bool,
        (hidden, dropout): (&[usize], f32),
        rng: &mut Rng,
    ) -> cairn_nn::Result<Self> {
        let table = Init::Normal(SPREAD).tensor([n_features, dim + 1], rng)?;
        let (mut deep, mut inputs) = (Vec::new(), FIELDS * dim);
        for &outputs in hidden {
            deep.push(Linear::new(inputs, outputs, rng)?.activation(Activation::Relu));
            inputs = outputs;
        }
        if !hidden.is_empty() {
            deep.push(Linear::new(inputs, 1, rng)?);
        }
        let bias = Parameter::new(Tensor::zeros([1])?);
        Ok(Self { bias, table: Parameter::new(table), deep, pairs, dropout: Dropout::new(dropout) })
    }

    /// The scores of samples, `[samples]`, and the sum of the squares of what they are made of.
    pub(super) fn forward(&self, samples: &Samples, cx: &mut Context) -> cairn_nn::Result<(Var, Var)> {
        let (n, entries) = (samples.len(), samples.parts.len());
        let ids: Vec<u32> = samples.parts.iter().map(|part| part.1).collect();
        let values: Vec<f32> = samples.parts.iter().map(|part| part.2).collect();
        let vectors = self.table.var().lookup(&Tensor::from_vec(ids, [entries])?)?;
        let vectors = vectors.mul(&Var::constant(Tensor::from_vec(values, [entries, 1])?))?;
        let dim = vectors.shape()[1] - 1;
        let all = samples.places(None);
        let (sums, squares) = (all.times(&vectors)?, vectors.square()?);
        let mut scores = sums.narrow(1, dim, 1)?.reshape([n])?.add(&self.bias.var())?;
        if self.pairs {
            // Σ over pairs of products is half of the square of the sum less the sum of squares (Rendle 2010, lemma 3.1).
            let pairs = sums.square()?.sub(&all.times(&squares)?)?.narrow(1, 0, dim)?.sum(-1)?.scale(0.5)?;
            scores = pairs.add(&scores)?;
        }
        if let Some((last, hidden)) = self.deep.split_last() {
            let fields =
                (0..FIELDS).map(|field| samples.places(Some(field)).times(&vectors)?.narrow(1, 0, dim));
            let fields = fields.collect::<Result<Vec<Var>, _>>()?;
            let mut x = Var::cat(&fields.iter().collect::<Vec<_>>(), 1)?;
            for layer in hidden {
                x = self.dropout.forward(&layer.forward(&x)?, cx)?;
            }
            scores = scores.add(&last.forward(&x)?.reshape([n])?)?;
        }
        Ok((scores, squares.sum(..)?))
    }

    /// The mean logistic loss, and `regularization` times half of the squares of what a sample is made of.
    pub(super) fn loss(
        &self,
        samples: &Samples,
        labels: &[f32],
        regularization: f32,
        cx: &mut Context,
    ) -> cairn_nn::Result<Var> {
        let n = labels.len();
        let (scores, squares) = self.forward(samples, cx)?;
        let loss = logistic(&scores, labels)?;
        if regularization == 0.0 {
            return Ok(loss);
        }
        Ok(loss.add(&squares.scale(0.5 * regularization / n.max(1) as f32)?)?)
    }
}

#[cfg(test)]
mod tests {
    use cairn_tensor::rng;

    use super::*;
    use crate::neural::golden;

    #[test]
    fn scores_loss_and_gradients_are_those_of_pytorch() {
        let mut samples = Samples::default();
        samples.push([(0, 0, 1.0), (1, 2, 0.5), (1, 3, 0.5), (2, 5, 1.0), (3, 7, 1.0), (4, 8, -0.3)]);
        samples.push([(0, 1, 1.0), (2, 5, 1.0), (3, 7, 0.8)]);
        samples.push([(0, 0, 1.0), (1, 3, 1.0), (2, 6, 1.0), (4, 8, 2.0)]);
        for (name, pairs, hidden) in
            [("fm", true, &[][..]), ("deep_fm", true, &[4]), ("wide_and_deep", false, &[4])]
        {
            let network = Network::new(9, 3, pairs, (hidden, 0.0), &mut rng(0)).unwrap();
            golden::fill(&network);
            let mut cx = Context::train(0);
            let (scores, _) = network.forward(&samples, &mut cx).unwrap();
            golden::check(&format!("{name} scores"), &scores.value().to_vec());
            let loss = network.loss(&samples, &[1.0, 0.0, 1.0], 0.2, &mut cx).unwrap();
            golden::check(&format!("{name} loss"), &[loss.item().unwrap()]);
            golden::check_gradients(name, &network, &loss.backward().unwrap());
        }
    }
}
