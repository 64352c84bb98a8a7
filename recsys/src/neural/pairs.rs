//! Pairs of somebody and something that were met, against items drawn that were not: the logistic loss, the draws, and what is learned of
//! somebody who was not there in training.

use cairn_autograd::Var;
use cairn_nn::Module;
use cairn_tensor::{Rng, Tensor};
use rand::RngExt;

use super::passes::Passes;
use crate::Result;
use crate::data::ids::ItemIdx;

/// Passes over a history in folding in, and their step size.
const FOLD_IN: (usize, f64) = (60, 0.05);
/// Items of a history that a step of folding in looks at, at most.
const FOLD_IN_BATCH: usize = 256;

/// The mean logistic loss of scores.
pub(crate) fn logistic(scores: &Var, labels: &[f32]) -> cairn_nn::Result<Var> {
    let labels = Var::constant(Tensor::from_slice(labels, [labels.len()])?);
    Ok(scores.softplus()?.sub(&scores.mul(&labels)?)?.mean(..)?)
}

/// So many items that are not among those met, which are in order and not all.
pub(crate) fn others(met: &[ItemIdx], n: usize, n_items: usize, rng: &mut Rng) -> Vec<u32> {
    let mut drawn = Vec::with_capacity(n);
    while drawn.len() < n {
        let other = ItemIdx(rng.random_range(0..n_items as u32));
        if met.binary_search(&other).is_err() {
            drawn.push(other.0);
        }
    }
    drawn
}

/// Learns the parameters of `person`, who met these items, by steps of training with everything else fixed; `loss` is that of items with
/// their labels. Nothing is learned from no items, or from all.
pub(crate) fn fold_in(
    model: &'static str,
    person: &dyn Module,
    (items, n_items): (&[ItemIdx], usize),
    (negatives, seed): (usize, u64),
    mut loss: impl FnMut(&[u32], &[f32]) -> cairn_nn::Result<Var>,
) -> Result<()> {
    if items.is_empty() || items.len() >= n_items {
        return Ok(());
    }
    let (epochs, learning_rate) = FOLD_IN;
    let passes = Passes { epochs, batch_size: FOLD_IN_BATCH, learning_rate, seed };
    passes.train(model, (person, false), items.len(), |batch, _, cx| {
        let (mut asked, mut labels, mut rng) = (Vec::new(), Vec::new(), cx.draw());
        for &at in batch {
            asked.push(items[at as usize].0);
            labels.push(1.0);
            asked.extend(others(items, negatives, n_items, &mut rng));
            labels.resize(asked.len(), 0.0);
        }
        loss(&asked, &labels)
    })?;
    Ok(())
}
