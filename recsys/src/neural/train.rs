//! Passes over the sequences of a log: batches, steps of Adam, and when to end.
//!
//! A step learns from a batch of sequences, from every prefix of each or, where the network fills masks, from the items that are masked. The order of sequences and all that is random are functions of the
//! seed and the step, so the same seed gives the same bits on any number of threads.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cairn_autograd::no_grad;
use cairn_nn::Context;
use cairn_optim::{Adam, Optimizer};
use cairn_tensor::{AnyTensor, Tensor, rng};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use super::bert4rec::mask;
use super::loss::Objective;
use super::model::Network;
use super::ragged::Ragged;
use super::settings::{Encoder, Settings};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sequences::Sequences;
use crate::data::sparse::{Csr, UserItems};
use crate::models::factors::{Factors, Vectors};
use crate::serve::exact::best_by_inner_product;
use crate::serve::ranks::Ranks;
use crate::{Error, Result};

/// Steps that are encoded at a time.
pub(super) const STEPS: usize = 16_384;
/// Length of the validation lists.
const LIST: usize = 10;
/// Mixed into the seed for the order of sequences and the choice of validation users.
const ORDER: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a training found.
pub(super) struct Trained {
    pub(super) network: Network,
    /// Which items were learned from: those in a sequence, but for what was held out or lies too far back.
    pub(super) learned: Vec<bool>,
    /// Mean loss of each epoch.
    pub(super) losses: Vec<f64>,
    /// NDCG of the validation items after each epoch, if there are any.
    pub(super) validation: Vec<f64>,
}

/// Trains a network on sequences.
pub(super) fn train(settings: &Settings, sequences: &Sequences, n_items: usize) -> Result<Trained> {
    let failed = |error: &dyn std::fmt::Display| failure(settings, error);
    let validation = settings.patience.and_then(|_| Validation::new(settings, sequences, n_items));
    let mut rows: Vec<&[ItemIdx]> =
        sequences.iter().map(|items| &items[settings.learned(items.len())]).collect();
    rows.retain(|items| items.len() > 1);
    let mut counts = vec![0_u32; n_items];
    rows.iter().flat_map(|items| *items).for_each(|item| counts[item.at()] += 1);
    let learned: Vec<bool> = counts.iter().map(|&count| count > 0).collect();
    let validation = validation.map(|validation| validation.among(&learned));

    let network = Network::new(settings, n_items, &mut rng(settings.seed)).map_err(|e| failed(&e))?;
    let objective = Objective::new(settings.loss, &counts);
    let mut adam = Adam::new(settings.learning_rate).lazy(settings.loss.is_sampled());
    let mut order = Pcg64::seed_from_u64(settings.seed ^ ORDER);
    let (mut losses, mut scores) = (Vec::new(), Vec::new());
    let mut best: Option<(f64, usize, BTreeMap<String, AnyTensor>)> = None;
    let mut step = 0;
    for epoch in 0..settings.epochs {
        rows.shuffle(&mut order);
        let (mut sum, mut steps) = (0.0, 0.0);
        for batch in rows.chunks(settings.batch_size) {
            let (loss, weight) = learn(settings, &network, &objective, &mut adam, batch, step)?;
            sum += loss * weight;
            steps += weight;
            step += 1;
        }
        losses.push(sum / f64::max(steps, 1.0));
        let Some(validation) = &validation else { continue };
        let score = validation.ndcg(settings, &network)?;
        scores.push(score);
        if best.as_ref().is_none_or(|(so_far, ..)| score > *so_far) {
            best = Some((score, epoch, network.module().state()));
        }
        let since = best.as_ref().map_or(0, |(_, at, _)| epoch - at);
        if settings.patience.is_some_and(|patience| since >= patience) {
            break;
        }
    }
    if let Some((_, _, state)) = best {
        network.module().load_state(&state).map_err(|e| failed(&e))?;
    }
    Ok(Trained { network, learned, losses, validation: scores })
}

/// What a batch of sequences asks: what the network reads, at which steps it is asked if not at all, and the item of each.
struct Samples<'a> {
    inputs: Vec<Cow<'a, [ItemIdx]>>,
    steps: Option<Vec<u32>>,
    next: Vec<u32>,
}

impl<'a> Samples<'a> {
    /// Every prefix of each sequence, or the items that are masked.
    fn new(settings: &Settings, rows: &[&'a [ItemIdx]], cx: &mut Context) -> Self {
        let Encoder::Masked { masked, .. } = settings.encoder else {
            return Self {
                inputs: rows.iter().map(|items| Cow::Borrowed(&items[..items.len() - 1])).collect(),
                steps: None,
                next: rows.iter().flat_map(|items| &items[1..]).map(|item| item.0).collect(),
            };
        };
        let rows: Vec<&[ItemIdx]> =
            rows.iter().map(|items| &items[items.len().saturating_sub(settings.max_length)..]).collect();
        let (inputs, steps, next) = mask(&rows, masked, &mut cx.draw());
        Self { inputs: inputs.into_iter().map(Cow::Owned).collect(), steps: Some(steps), next }
    }
}

/// A step; the mean loss, and of how many steps of sequences.
fn learn(
    settings: &Settings,
    network: &Network,
    objective: &Objective,
    adam: &mut Adam,
    rows: &[&[ItemIdx]],
    step: u64,
) -> Result<(f64, f64)> {
    let failed = |error: &dyn std::fmt::Display| failure(settings, error);
    let mut cx = Context::train(settings.seed).at_step(step);
    let samples = Samples::new(settings, rows, &mut cx);
    let steps = samples.next.len();
    let mut mean = || {
        let inputs: Vec<&[ItemIdx]> = samples.inputs.iter().map(AsRef::as_ref).collect();
        let mut states = network.encode(&Ragged::new(&inputs)?, &mut cx)?;
        if let Some(asked) = &samples.steps {
            states = states.index_select(0, asked)?;
        }
        let next = Tensor::from_slice(&samples.next, [steps])?;
        objective.mean(&states, network.items(), &next, &mut cx)
    };
    let mean = mean().map_err(|e| failed(&e))?;
    let loss = f64::from(mean.item().map_err(|e| failed(&e))?);
    if !loss.is_finite() {
        return Err(failed(&"the loss is no longer finite; lower the learning rate"));
    }
    let gradients = mean.backward().map_err(|e| failed(&e))?;
    adam.step(network.module(), &gradients).map_err(|e| failed(&e))?;
    Ok((loss, steps as f64))
}

fn failure(settings: &Settings, error: &dyn std::fmt::Display) -> Error {
    Error::Network { model: settings.name(), reason: error.to_string() }
}

/// The state after the last item of each sequence, `[sequences, dim]`, zeros for one without items. Sequences of like length are
/// encoded together; what comes out does not depend on it.
pub(super) fn states(settings: &Settings, network: &Network, sequences: &[&[ItemIdx]]) -> Result<Vec<f32>> {
    let dim = settings.dim;
    let inputs: Vec<Cow<'_, [ItemIdx]>> = sequences.iter().map(|items| settings.input(items)).collect();
    let recent = |at: usize| inputs[at].as_ref();
    let mut order: Vec<usize> = (0..sequences.len()).filter(|&at| !sequences[at].is_empty()).collect();
    order.sort_by_key(|&at| recent(at).len());
    let mut states = crate::memory::zeros(sequences.len(), dim)?;
    let mut left = &order[..];
    while let Some(&first) = left.first() {
        // The longest of a batch is its last; twice the first's length at most.
        let longest = 2 * recent(first).len();
        let n = left.iter().take_while(|&&at| recent(at).len() <= longest).count();
        let (now, later) = left.split_at(n.min(STEPS.div_ceil(longest)));
        left = later;
        let rows: Vec<&[ItemIdx]> = now.iter().map(|&at| recent(at)).collect();
        let encoded = no_grad(|| {
            let batch = Ragged::new(&rows)?;
            let all = network.encode(&batch, &mut Context::eval())?;
            Ok::<_, cairn_nn::Error>(all.index_select(0, &batch.last)?.value().to_vec())
        });
        let encoded = encoded.map_err(|e| failure(settings, &e))?;
        for (&at, state) in now.iter().zip(encoded.chunks(dim)) {
            states[at * dim..(at + 1) * dim].copy_from_slice(state);
        }
    }
    Ok(states)
}

/// Users whose last item is not learned from, and what they met before it.
struct Validation<'a> {
    before: Vec<&'a [ItemIdx]>,
    items: Vec<ItemIdx>,
    seen: UserItems,
    ranks: Ranks,
    /// Items that nothing is learned of: the model lists them behind all others.
    strangers: Vec<ItemIdx>,
}

impl<'a> Validation<'a> {
    /// `None` where nobody met three items.
    fn new(settings: &Settings, sequences: &'a Sequences, n_items: usize) -> Option<Self> {
        let mut users: Vec<&[ItemIdx]> = sequences.iter().filter(|items| items.len() > 2).collect();
        users.shuffle(&mut Pcg64::seed_from_u64(settings.seed ^ !ORDER));
        users.truncate(settings.validation_users);
        let parts = users.iter().filter_map(|items| items.split_last());
        let (items, before): (Vec<ItemIdx>, Vec<&[ItemIdx]>) =
            parts.map(|(last, before)| (*last, before)).unzip();
        let rows = (0..).map(UserIdx).zip(&before);
        let (users, columns): (Vec<UserIdx>, Vec<ItemIdx>) =
            rows.flat_map(|(user, items)| items.iter().map(move |&item| (user, item))).unzip();
        let ones = vec![1.0; columns.len()];
        let seen = Csr::from_columns(before.len(), n_items, &users, &columns, &ones);
        let numbers: Vec<u32> = (0..n_items as u32).collect();
        let ranks = Ranks::new(&seen, &numbers);
        (!items.is_empty()).then_some(Self { before, items, seen, ranks, strangers: Vec::new() })
    }

    /// With lists of these items alone.
    fn among(self, learned: &[bool]) -> Self {
        let items = (0..).map(ItemIdx).zip(learned);
        Self { strangers: items.filter(|(_, learned)| !**learned).map(|(item, _)| item).collect(), ..self }
    }

    /// NDCG@10 of the items held out, among all that their users had not met.
    fn ndcg(&self, settings: &Settings, network: &Network) -> Result<f64> {
        let users = states(settings, network, &self.before)?;
        let items = network.items().value().to_vec();
        let factors = Factors {
            users: Vectors::from_parts(settings.dim, users),
            items: Vectors::from_parts(settings.dim, items),
        };
        let users: Vec<UserIdx> = self.seen.row_indices().collect();
        let (seen, barred) = (Some(&self.seen), &self.strangers[..]);
        let lists = best_by_inner_product((&factors, &self.ranks), &users, LIST, seen, barred);
        let gain = |(list, item): (&Vec<crate::ScoredItem>, &ItemIdx)| {
            let rank = list.iter().position(|entry| entry.item == *item);
            rank.map_or(0.0, |rank| 1.0 / ((rank + 2) as f64).log2())
        };
        Ok(lists.iter().zip(&self.items).map(gain).sum::<f64>() / self.items.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Vec<(Settings, Network)> {
        let encoders = [
            Encoder::Attention { blocks: 2, heads: 2 },
            Encoder::Masked { blocks: 2, heads: 2, masked: 0.2 },
            Encoder::Gru { layers: 2 },
        ];
        let make = |encoder| {
            let settings = Settings { dim: 8, max_length: 6, dropout: 0.0, ..Settings::new(encoder) };
            let network = Network::new(&settings, 11, &mut rng(3)).unwrap();
            // Tables that start so small that nothing of what follows would be seen.
            network.items().update(|t| t.scale(40.0).map(|new| *t = new)).unwrap();
            (settings, network)
        };
        encoders.into_iter().map(make).collect()
    }

    fn sequences() -> Vec<Vec<ItemIdx>> {
        let lengths = [3_u32, 1, 6, 2, 6, 4];
        let items = |(row, n): (u32, u32)| (0..n).map(|t| ItemIdx((row * 5 + t * t) % 11)).collect();
        (0..).zip(lengths).map(items).collect()
    }

    #[test]
    fn a_sequence_is_encoded_alike_alone_and_beside_others() {
        for (settings, network) in networks() {
            let rows = sequences();
            let rows: Vec<&[ItemIdx]> = rows.iter().map(Vec::as_slice).collect();
            let together = states(&settings, &network, &rows).unwrap();
            for (row, state) in rows.iter().zip(together.chunks(8)) {
                assert_eq!(states(&settings, &network, &[row]).unwrap(), state, "{settings:?}");
                assert!(state.iter().any(|x| x.abs() > 1e-3));
            }
            // One step further back than the model looks.
            let long: Vec<ItemIdx> = std::iter::once(ItemIdx(10)).chain(rows[2].iter().copied()).collect();
            assert_eq!(states(&settings, &network, &[&long]).unwrap(), together[16..24]);
            assert_eq!(states(&settings, &network, &[&[]]).unwrap(), [0.0; 8]);
        }
    }

    /// Nothing leaks between the sequences of a batch, nor from padding, in the backward pass either.
    #[test]
    fn gradients_of_a_batch_are_the_sums_of_those_of_its_sequences() {
        for (settings, network) in networks() {
            let objective = Objective::new(settings.loss, &[1; 11]);
            let gradients = |rows: &[Vec<ItemIdx>]| {
                let rows: Vec<&[ItemIdx]> = rows.iter().map(Vec::as_slice).collect();
                let batch = Ragged::new(&rows).unwrap();
                let next: Vec<u32> = rows.iter().flat_map(|r| r.iter().map(|i| (i.0 + 1) % 11)).collect();
                let steps = next.len();
                let mut cx = Context::train(0);
                let states = network.encode(&batch, &mut cx).unwrap();
                let next = Tensor::from_vec(next, [steps]).unwrap();
                let mean = objective.mean(&states, network.items(), &next, &mut cx).unwrap();
                let gradients = mean.scale(steps as f32).unwrap().backward().unwrap();
                let mut all = Vec::new();
                network.module().for_each_parameter(&mut |_, parameter| {
                    // Nothing is hidden here, so what stands for that has no gradient.
                    let dense =
                        gradients.get(parameter).map(|gradient| gradient.to_dense().unwrap().to_vec());
                    all.extend(dense.unwrap_or_else(|| vec![0.0; parameter.len()]));
                });
                all
            };
            let rows = sequences();
            let together = gradients(&rows);
            let mut sums = vec![0.0; together.len()];
            for row in rows.chunks(1) {
                sums.iter_mut().zip(gradients(row)).for_each(|(sum, g)| *sum += g);
            }
            for (a, b) in together.iter().zip(&sums) {
                assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{settings:?}: {a} {b}");
            }
        }
    }
}
