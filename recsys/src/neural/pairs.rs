//! Pairs of somebody and something that were met, against items drawn that were not: the logistic loss, the draws, and what is learned of
//! somebody who was not there in training.

use cairn_autograd::Var;
use cairn_nn::Module;
use cairn_tensor::{Rng, Tensor};

use super::passes::Passes;
use crate::Result;
use crate::data::ids::ItemIdx;
use crate::data::others::{Pool, other};

/// Passes over a history in folding in, and their step size.
const FOLD_IN: (usize, f64) = (60, 0.05);
/// Items of a history that a step of folding in looks at, at most.
const FOLD_IN_BATCH: usize = 256;
/// Samples of a step of folding in, those drawn included: an answer must not take gigabytes because training drew many negatives.
const FOLD_IN_SAMPLES: usize = 1 << 14;
/// Items that folding in draws for each of a history, at most: more would take time, and say little that these do not.
const FOLD_IN_NEGATIVES: usize = 255;

/// The mean logistic loss of scores.
pub(crate) fn logistic(scores: &Var, labels: &[f32]) -> cairn_nn::Result<Var> {
    let labels = Var::constant(Tensor::from_slice(labels, [labels.len()])?);
    Ok(scores.softplus()?.sub(&scores.mul(&labels)?)?.mean(..)?)
}

/// So many items that are not among those met, which are in order, each once, and not all.
pub(crate) fn others(met: &[ItemIdx], n: usize, n_items: usize, rng: &mut Rng) -> Vec<u32> {
    // Of few others most draws would be in vain: they are drawn by their rank from the first.
    let few = met.len() > n_items / 2;
    let mut draw = || if few { Pool::All(n_items).unmet(met, rng) } else { other(met, n_items, rng) };
    (0..n).map(|_| draw().0).collect()
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
    let negatives = negatives.min(FOLD_IN_NEGATIVES);
    let batch_size = FOLD_IN_BATCH.min(FOLD_IN_SAMPLES / (negatives + 1));
    let passes = Passes { epochs, batch_size, learning_rate, seed };
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

#[cfg(test)]
mod tests {
    use cairn_nn::Parameter;
    use cairn_tensor::rng;

    use super::*;

    #[derive(Debug, Clone, Module)]
    struct Person {
        vector: Parameter,
    }

    /// The samples of the first step for a history of so many of so many items.
    fn samples(history: u32, n_items: usize, negatives: usize) -> usize {
        let person = Person { vector: Parameter::new(Tensor::zeros([1, 1]).unwrap()) };
        let items: Vec<ItemIdx> = (0..history).map(ItemIdx).collect();
        let mut found = 0;
        let loss = |asked: &[u32], labels: &[f32]| {
            assert_eq!(asked.len(), labels.len());
            found = asked.len();
            // One step says it all.
            Err(cairn_nn::Error::NoLayer { name: "end".to_owned() })
        };
        assert!(fold_in("test", &person, (&items, n_items), (negatives, 0), loss).is_err());
        found
    }

    #[test]
    fn a_step_of_folding_in_has_a_budget_of_samples() {
        assert_eq!(samples(40, 1000, 4), 200);
        assert_eq!(samples(300, 1000, 4), 256 * 5, "as many items as ever");
        assert_eq!(samples(40, 1000, 65_536), 40 * 256, "few draws");
        assert_eq!(samples(100, 40_000, 65_536), FOLD_IN_SAMPLES, "of a few items");
    }

    #[test]
    fn who_met_most_items_is_drawn_the_others_alike() {
        for left in [vec![0, 1, 9], vec![4], vec![3, 5, 6, 8]] {
            let met: Vec<ItemIdx> = (0..10).filter(|item| !left.contains(item)).map(ItemIdx).collect();
            let drawn = others(&met, 4000, 10, &mut rng(1));
            for other in &left {
                let times = drawn.iter().filter(|&item| item == other).count() * left.len();
                assert!((3400..4600).contains(&times), "{other} of {left:?}: {times}");
            }
            assert!(drawn.iter().all(|item| left.contains(item)), "{left:?}");
        }
        // All but one of many: at once.
        let met: Vec<ItemIdx> = (0..200_000).filter(|&item| item != 77_777).map(ItemIdx).collect();
        assert!(others(&met, 10_000, 200_000, &mut rng(1)).iter().all(|&other| other == 77_777));
    }
}
