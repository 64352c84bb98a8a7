//! Which tokens of a text a score comes from: integrated gradients on their embeddings (Sundararajan et al. 2017, section 6.3).
//!
//! Ids have no gradients, what they are embedded as has. So the model is cut behind its embedding: a `Sequential` by the layer's name,
//! a struct by its own forward pass from there.

use cairn_autograd::{Var, no_grad};
use cairn_tensor::Tensor;

use super::integrated_gradients;
use crate::{Context, Error, Result, Sequential};

/// What each token of `[batch, time]` contributes to its text's score for its class, compared with a text of `baseline` tokens, say
/// padding, where the layer called `embedding` embeds them: [`integrated_gradients`] of the embeddings, added up over their
/// features. The contributions of a text add up to the difference of the two scores, the better the more steps.
///
/// Where the embedding is [masked](crate::spec::Embedding::masked), what is padding around the text is padding of the other, too, and has
/// no part: a text is compared with one of its own length. With padding as the baseline that is a text whose tokens are embedded as
/// padding is, which the model would not see by itself; another token makes a text that it would.
///
/// ```
/// use cairn_nn::spec::{Dense, Embedding, GlobalAvgPool, TransformerEncoderLayer};
/// use cairn_nn::{Sequential, explain};
/// use cairn_tensor::{Tensor, rng};
/// let model = Sequential::new([4])
///     .add_named("words", Embedding::new(10, 8))
///     .add(TransformerEncoderLayer::new(2, 16))
///     .add(GlobalAvgPool)
///     .add(Dense::new(2))
///     .build(&mut rng(0))?;
/// let text = Tensor::from_vec(vec![3, 1, 4, 1], [1, 4])?;
/// let shares = explain::token_contributions(&model, "words", &text, 0, &[1], 50)?;
/// assert_eq!(shares.shape(), [1, 4]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// Of a struct: `integrated_gradients(|x| model.from_embedded(x), &embedded, &baseline, classes, steps)?.sum(-1)?`.
///
/// # Errors
/// As [`integrated_gradients`]; [`Error::NoLayer`] when there is no such layer, [`Error::BadInput`] where its output is not
/// `[batch, time, features]`.
#[doc(alias("LayerIntegratedGradients", "attribution", "captum"))]
pub fn token_contributions(
    model: &Sequential,
    embedding: &str,
    tokens: &Tensor<u32>,
    baseline: u32,
    classes: &[u32],
    steps: usize,
) -> Result<Tensor> {
    let embed = |ids: &Tensor<u32>| {
        no_grad(|| model.forward_until_masked(embedding, ids.into(), &mut Context::eval()))
    };
    let (embedded, mask) = embed(tokens)?;
    let embedded = embedded.value().clone();
    if embedded.rank() != 3 {
        let why = format!("the output of `{embedding}` must be [batch, time, features]");
        return Err(Error::BadInput { input: embedded.dims().clone(), why });
    }
    let nothing = embed(&Tensor::full(tokens.dims(), baseline)?)?.0.value().clone();
    let rest = |x: &Var| {
        let mut cx = Context::eval();
        cx.set_mask(mask.clone());
        model.forward_after(embedding, x, &mut cx)
    };
    Ok(integrated_gradients(rest, &embedded, &nothing, classes, steps)?.sum(-1)?)
}
