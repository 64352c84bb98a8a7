//! The losses of the next item, as means over the steps of a batch.

use cairn_autograd::Var;
use cairn_nn::{Context, Parameter, Result};
use cairn_tensor::{Float, LinearCrossEntropyOptions, Rng, Tensor};
use rand::RngExt;
use rand_distr::weighted::WeightedAliasIndex;

use super::settings::SequenceLoss;

/// The logit of what is no candidate: e to this is 0 beside any other.
const OUT: f32 = -1e9;

/// A loss with what it needs to know of the items.
pub(super) enum Objective {
    Softmax,
    Sampled { negatives: usize, draws: WeightedAliasIndex<f32>, corrections: Vec<f32> },
    Gbce { negatives: usize, power: f32 },
}

impl Objective {
    /// For items that were met so often.
    pub(super) fn new(loss: SequenceLoss, counts: &[u32]) -> Self {
        let n_items = counts.len();
        match loss {
            SequenceLoss::Softmax => Self::Softmax,
            SequenceLoss::SampledSoftmax { negatives, popularity } => {
                // An item that nobody met is drawn like one that was met once.
                let weights: Vec<f32> = counts.iter().map(|&n| (n.max(1) as f32).powf(popularity)).collect();
                let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
                let correction = |&w: &f32| -(negatives as f64 * f64::from(w) / total).ln() as f32;
                let corrections = weights.iter().map(correction).collect();
                match WeightedAliasIndex::new(weights) {
                    Ok(draws) => Self::Sampled { negatives, draws, corrections },
                    // Only without items, or with more than 2³², which is refused before.
                    Err(_) => Self::Softmax,
                }
            }
            SequenceLoss::Gbce { negatives, calibration } => {
                let share = (negatives as f32 / n_items.saturating_sub(1).max(1) as f32).min(1.0);
                // β of the paper, equation 15.
                let power = share * (calibration * (1.0 - 1.0 / share) + 1.0 / share);
                Self::Gbce { negatives, power }
            }
        }
    }

    /// The mean loss of states `[steps, dim]` and the items that follow them.
    pub(super) fn mean(
        &self,
        states: &Var,
        items: &Parameter,
        next: &Tensor<u32>,
        cx: &mut Context,
    ) -> Result<Var> {
        match self {
            Self::Softmax => {
                let options = LinearCrossEntropyOptions::default();
                let (sum, weight) = states.linear_cross_entropy(&items.var(), None, next, &options)?;
                Ok(sum.mean_over(weight)?)
            }
            Self::Sampled { negatives, draws, corrections } => {
                let mut rng = cx.draw();
                let drawn: Vec<u32> = (0..*negatives).map(|_| rng.sample(draws) as u32).collect();
                sampled_softmax(states, &items.var(), next, drawn, corrections)
            }
            Self::Gbce { negatives, power } => {
                let drawn = others(next, *negatives, items.shape()[0] as u32, &mut cx.draw());
                gbce(states, &items.var(), next, drawn, *power)
            }
        }
    }
}

/// The products of each state and the item that follows it, `[steps]`.
fn own_scores<T: Float>(states: &Var<T>, items: &Var<T>, next: &Tensor<u32>) -> Result<Var<T>> {
    Ok(states.mul(&items.lookup(next)?)?.sum(-1)?)
}

/// A number as one of the type that is computed in: trained in single precision, checked in double.
fn number<T: Float>(x: f32) -> T {
    T::from_f64(f64::from(x))
}

/// Cross-entropy among the item and those drawn, without one that was drawn though it is the item.
fn sampled_softmax<T: Float>(
    states: &Var<T>,
    items: &Var<T>,
    next: &Tensor<u32>,
    drawn: Vec<u32>,
    corrections: &[f32],
) -> Result<Var<T>> {
    let (steps, n) = (next.len(), drawn.len());
    let corrected: Vec<T> = drawn.iter().map(|&item| number(corrections[item as usize])).collect();
    let own: Vec<bool> =
        next.to_vec().iter().flat_map(|item| drawn.iter().map(move |other| item == other)).collect();
    let others = items.lookup(&Tensor::from_vec(drawn, [n])?)?;
    let scores = states.matmul(&others.t()?)?.add(&Var::constant(Tensor::from_vec(corrected, [1, n])?))?;
    let scores = scores.masked_fill(&Tensor::from_vec(own, [steps, n])?, number(OUT))?;
    let own = own_scores(states, items, next)?.reshape([steps, 1])?;
    let all = Var::cat(&[&own, &scores], -1)?;
    Ok(all.cross_entropy(&Tensor::zeros([steps])?)?.mean(..)?)
}

/// For each step so many items, none of them the one that follows it.
fn others(next: &Tensor<u32>, n: usize, n_items: u32, rng: &mut Rng) -> Vec<u32> {
    let mut drawn = Vec::with_capacity(next.len() * n);
    for item in next.to_vec() {
        for _ in 0..n {
            // One of the others, by skipping the item itself.
            let other = rng.random_range(0..n_items.saturating_sub(1).max(1));
            drawn.push(if other >= item && n_items > 1 { other + 1 } else { other });
        }
    }
    drawn
}

/// -ln σ(s)^power of the item's score, and -ln(1 - σ(s)) of each other's, summed and divided by their number.
fn gbce<T: Float>(
    states: &Var<T>,
    items: &Var<T>,
    next: &Tensor<u32>,
    drawn: Vec<u32>,
    power: f32,
) -> Result<Var<T>> {
    let &[steps, dim] = states.shape() else { unreachable!("steps and features") };
    let n = drawn.len() / steps.max(1);
    let others = items.lookup(&Tensor::from_vec(drawn, [steps, n])?)?;
    let others = others.matmul(&states.reshape([steps, dim, 1])?)?.softplus()?.sum(..)?;
    let own = own_scores(states, items, next)?.neg()?.softplus()?.sum(..)?.scale(number(power))?;
    Ok(own.add(&others)?.scale(number(1.0 / (steps * (n + 1)) as f32))?)
}

#[cfg(test)]
mod tests {
    use cairn_autograd::gradcheck;
    use cairn_tensor::rng;

    use super::*;

    /// Of states and items, where some items are drawn twice, some are not, and one is what follows a step.
    #[test]
    fn gradients_of_sampled_losses_are_the_differences_of_their_values() {
        let table = |rows: usize| Tensor::normal([rows, 4], 0.0, 1.0, &mut rng(rows as u64)).unwrap();
        let inputs: [Tensor<f64>; 2] = [table(5), table(9)];
        let next = Tensor::from_vec(vec![3, 0, 8, 3, 5], [5]).unwrap();
        let counts = [1, 7, 2, 30, 1, 4, 1, 1, 12];
        for popularity in [0.0, 0.5, 1.0] {
            let loss = SequenceLoss::SampledSoftmax { negatives: 6, popularity };
            let Objective::Sampled { corrections, .. } = Objective::new(loss, &counts) else {
                panic!("another loss")
            };
            let drawn = vec![7, 3, 1, 1, 6, 8];
            gradcheck(&inputs, |x| {
                Ok(sampled_softmax(&x[0], &x[1], &next, drawn.clone(), &corrections).unwrap())
            })
            .unwrap();
        }
        for calibration in [0.0, 0.75, 1.0] {
            let Objective::Gbce { power, .. } =
                Objective::new(SequenceLoss::Gbce { negatives: 3, calibration }, &counts)
            else {
                panic!("another loss")
            };
            let drawn = others(&next, 3, 9, &mut rng(4));
            gradcheck(&inputs, |x| Ok(gbce(&x[0], &x[1], &next, drawn.clone(), power).unwrap())).unwrap();
        }
    }

    fn given(steps: usize, n_items: usize, dim: usize) -> (Var, Parameter, Tensor<u32>) {
        let states = Tensor::normal([steps, dim], 0.0, 1.0, &mut rng(1)).unwrap();
        let items = Tensor::normal([n_items, dim], 0.0, 1.0, &mut rng(2)).unwrap();
        let next = Tensor::from_vec((0..steps as u32).map(|n| n * 7 % n_items as u32).collect(), [steps]);
        (Var::parameter(states), Parameter::new(items), next.unwrap())
    }

    fn loss(loss: SequenceLoss, counts: &[u32], step: u64) -> f32 {
        let (states, items, next) = given(5, counts.len(), 4);
        let mut cx = Context::train(3).at_step(step);
        Objective::new(loss, counts).mean(&states, &items, &next, &mut cx).unwrap().item().unwrap()
    }

    /// The sum that is estimated is that over all items; of its logarithm, with many draws, little is lost.
    #[test]
    fn sampled_softmax_tends_to_the_softmax_over_all_items_whatever_is_drawn_more_often() {
        let counts: Vec<u32> = (0..40).map(|n| 1 + n * n).collect();
        let full = loss(SequenceLoss::Softmax, &counts, 0);
        for popularity in [0.0, 0.5, 1.0] {
            let sampled = SequenceLoss::SampledSoftmax { negatives: 20_000, popularity };
            let got = loss(sampled, &counts, 1);
            assert!((got - full).abs() < 0.1, "{popularity}: {got} for {full}");
        }
    }

    /// From the formulas, in double precision.
    #[test]
    fn gbce_is_its_formula_and_with_no_calibration_the_plain_cross_entropy() {
        for (calibration, negatives) in [(0.0_f32, 3_usize), (0.75, 3), (1.0, 3)] {
            let counts = vec![1; 13];
            let (states, items, next) = given(5, 13, 4);
            let drawn = others(&next, negatives, 13, &mut Context::train(3).at_step(0).draw());
            let share = negatives as f64 / 12.0;
            let power = share * (f64::from(calibration) * (1.0 - 1.0 / share) + 1.0 / share);
            assert!(calibration != 0.0 || (power - 1.0).abs() < 1e-12);
            let (states, items) = (states.value().to_vec(), items.value().to_vec());
            let score = |step: usize, item: u32| {
                (0..4)
                    .map(|d| f64::from(states[step * 4 + d]) * f64::from(items[item as usize * 4 + d]))
                    .sum::<f64>()
            };
            let mut want = 0.0;
            for (step, &item) in next.to_vec().iter().enumerate() {
                want -= power * (1.0 / (1.0 + (-score(step, item)).exp())).ln();
                for &other in &drawn[step * negatives..(step + 1) * negatives] {
                    assert_ne!(other, item);
                    want -= (1.0 - 1.0 / (1.0 + (-score(step, other)).exp())).ln();
                }
            }
            let want = want / (5 * (negatives + 1)) as f64;
            let got = loss(SequenceLoss::Gbce { negatives, calibration }, &counts, 0);
            assert!((f64::from(got) - want).abs() < 1e-5, "{got} for {want}");
        }
    }
}
