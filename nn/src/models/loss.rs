//! The loss that language models are trained by: the cross-entropy of the token after each.
//!
//! A model's scores of all tokens are its largest array by far. Where the layer that makes them is frozen, as with
//! [adapters](crate::adapters), they are computed some positions at a time and dropped, together with their gradients, in the forward
//! pass; positions that nothing is learnt from are not scored at all.

use cairn_autograd::{Gradient, Var};
use cairn_tensor::Tensor;

use super::CausalModel;
use crate::{Context, Error, Result, cross_entropy};

/// The label of a position that nothing is learnt from: padding, and what a person said.
#[doc(alias("ignore_index", "-100"))]
pub const IGNORED: u32 = u32::MAX;

/// Scores that are there at a time.
const AT_ONCE: usize = 1 << 22;

/// The mean cross-entropy of labels `[batch, time]`, the tokens that follow those of `tokens` `[batch, time]`, and the number of labels
/// that it is taken over; those that are [`IGNORED`] are left out, and where all are the loss is 0, with gradients of 0. The context
/// says how many tokens of each row are no padding.
///
/// ```
/// use cairn_nn::models::{self, Config, IGNORED, Network, next_token_loss};
/// use cairn_nn::{Context, cross_entropy};
/// use cairn_tensor::{Tensor, rng};
/// let config = Config::parse(r#"{"model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2}"#)?;
/// let Network::Causal(model) = models::new(&config, &mut rng(0))? else { panic!() };
/// let (tokens, labels) = (Tensor::from_vec(vec![1, 2, 3], [1, 3])?, Tensor::from_vec(vec![IGNORED, 3, 4], [1, 3])?);
/// let (loss, count) = next_token_loss(&*model, &tokens, &labels, &mut Context::eval())?;
/// let scores = model.forward(&tokens, &mut Context::eval())?.narrow(1, 1, 2)?;
/// let expected = cross_entropy(&scores, &Tensor::from_vec(vec![3, 4], [1, 2])?)?;
/// assert!(count == 2 && (loss.item()? - expected.item()?).abs() < 1e-6);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// As [`CausalModel::states`]; [`Error::BadInput`] when tokens and labels differ in shape, or there are none.
#[doc(alias("causal language modeling loss", "compute_loss"))]
pub fn next_token_loss(
    model: &dyn CausalModel,
    tokens: &Tensor<u32>,
    labels: &Tensor<u32>,
    cx: &mut Context,
) -> Result<(Var, usize)> {
    if tokens.shape() != labels.shape() {
        let why = format!("labels are of shape {}; one is needed for each token", labels.dims());
        return Err(Error::BadInput { input: tokens.dims().clone(), why });
    }
    if labels.is_empty() {
        let why = "there is no label to learn from".into();
        return Err(Error::BadInput { input: labels.dims().clone(), why });
    }
    let (places, learned): (Vec<u32>, Vec<u32>) =
        (0..).zip(labels.iter()).filter(|(_, label)| *label != IGNORED).unzip();
    let states = model.states(tokens, cx)?;
    if learned.is_empty() {
        return Ok((of_nothing(&states), 0));
    }
    let features = states.shape()[2];
    let count = learned.len();
    let labels = Tensor::from_vec(learned, [count])?;
    let states = states.reshape([tokens.len(), features])?;
    let states =
        if count == tokens.len() { states } else { states.lookup(&Tensor::from_vec(places, [count])?)? };
    // One position tells whether the scores have anything that trains.
    let probe = model.scores(&Var::constant(states.value().narrow(0, 0, 1)?))?;
    if probe.is_tracked() {
        return Ok((cross_entropy(&model.scores(&states)?, &labels)?, count));
    }
    let part = (AT_ONCE / probe.value().len().max(1)).max(1);
    Ok((in_parts(model, &states, &labels, part)?, count))
}

/// The loss of no label, 0 whatever the states are. A batch of which nothing is learnt is a batch like others to a loop of training.
fn of_nothing(states: &Var) -> Var {
    let shape = states.dims().clone();
    Var::from_op("next_token_loss", Tensor::scalar(0.0), [states], move |_, [_]| {
        Ok([Some(Gradient::Dense(Tensor::zeros(&shape)?))])
    })
}

/// The mean loss of rows whose scores have no parameter that trains.
fn in_parts(model: &dyn CausalModel, states: &Var, labels: &Tensor<u32>, part: usize) -> Result<Var> {
    let count = labels.len();
    let (mut sum, mut gradients) = (0.0, Vec::new());
    for first in (0..count).step_by(part) {
        let rows = part.min(count - first);
        let of_part = states.value().narrow(0, first, rows)?;
        let x = if states.is_tracked() { Var::parameter(of_part) } else { Var::constant(of_part) };
        let labels = labels.narrow(0, first, rows)?;
        // Of the mean over all rows.
        let loss = cross_entropy(&model.scores(&x)?, &labels)?.scale(rows as f32 / count as f32)?;
        sum += f64::from(loss.item()?);
        if loss.is_tracked() {
            gradients.push(loss.backward()?.of(&x)?);
        }
    }
    let value = Tensor::scalar(sum as f32);
    if gradients.is_empty() {
        return Ok(Var::constant(value));
    }
    let gradient = Tensor::cat(&gradients.iter().collect::<Vec<_>>(), 0)?;
    Ok(Var::from_op("next_token_loss", value, [states], move |g, [_]| {
        let mut gradient = gradient;
        gradient.scale_assign(g.item()?)?;
        Ok([Some(Gradient::Dense(gradient))])
    }))
}
