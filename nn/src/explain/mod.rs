//! Which parts of an input a model's score comes from.
//!
//! Three answers of growing care: the gradient itself ([`saliency`], Simonyan et al. 2013), the gradient averaged on the way
//! from a baseline, which adds up to the score's change ([`integrated_gradients`], Sundararajan et al. 2017), and the places
//! of a convolution's maps that speak for a class ([`grad_cam`], Selvaraju et al. 2017). They take one class an item and
//! explain its score, the logit: give them a model that ends in logits, or in a softmax, whose input is then explained. Of texts
//! [`token_contributions`] says it token by token.
//!
//! Attention is its own account: [`attention_maps`] are the weights of each layer, [`attention_rollout`] what they come to over all
//! layers. They tell where a model looked, not what came of it (Jain and Wallace 2019).

mod attention;
mod tokens;

pub use attention::{attention_maps, attention_rollout};
pub use tokens::token_contributions;

use cairn_autograd::Var;
use cairn_tensor::{Resize, Tensor};

use crate::{Context, Error, Result, SequenceMask, Sequential, Value};

/// The gradient of each item's score for its class with respect to the input, shaped like the input. Usually looked at by
/// its magnitude.
///
/// ```
/// use cairn_nn::{Context, Module, Sequential, explain, spec::Dense};
/// use cairn_tensor::{Tensor, rng};
/// let model = Sequential::new([4]).add(Dense::new(3)).build(&mut rng(0))?;
/// let x = Tensor::normal([2, 4], 0.0, 1.0, &mut rng(1))?;
/// let map = explain::saliency(|x| model.forward(x, &mut Context::eval()), &x, &[0, 2])?;
/// // For a linear model it is the class's weights.
/// let weight = model.state()["dense.weight"].as_f32()?.clone();
/// assert_eq!(map.index(0, 0)?.to_vec(), weight.index(1, 0)?.to_vec());
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// Those of the model; [`Error::BadInput`] when there is not one class for each item, or no such class.
pub fn saliency(model: impl Fn(&Var) -> Result<Var>, input: &Tensor, classes: &[u32]) -> Result<Tensor> {
    let x = Var::parameter(input.clone());
    gradient(&score(&model(&x)?, classes)?, &x)
}

/// What each element of the input contributes to its item's score, compared with a baseline: (input - baseline) times the
/// mean gradient over `steps` points on the straight line between them. Contributions add up to the difference of the two
/// scores, the better the more steps; 50 is usual. The baseline broadcasts to the input, and is most often zeros.
///
/// # Errors
/// As [`saliency`], and [`Error::BadSetting`] for 0 steps.
pub fn integrated_gradients(
    model: impl Fn(&Var) -> Result<Var>,
    input: &Tensor,
    baseline: &Tensor,
    classes: &[u32],
    steps: usize,
) -> Result<Tensor> {
    if steps == 0 {
        return Err(Error::BadSetting { what: "the number of steps", value: 0.0, must: "at least 1" });
    }
    let way = input.sub(baseline)?;
    let mut sum = Tensor::zeros(input.dims())?;
    for step in 0..steps {
        // Midpoints of equal parts: the error falls with the square of their number.
        let share = (step as f32 + 0.5) / steps as f32;
        let x = Var::parameter(way.scale(share)?.add(baseline)?);
        sum.add_assign(&gradient(&score(&model(&x)?, classes)?, &x)?)?;
    }
    Ok(sum.scale(1.0 / steps as f32)?.mul(&way)?)
}

/// Where a convolution's maps speak for each item's class: the maps of the layer called `layer`, each weighted by the mean
/// gradient of the score over it, summed, and cut off below zero. `[batch, height, width]` of the input, interpolated from
/// the layer's size, each item's maximum scaled to 1 (all zeros where nothing speaks for the class).
///
/// # Errors
/// As [`saliency`], [`Error::NoLayer`] when there is no such layer, [`Error::BadInput`] when its output or the input is no
/// image.
pub fn grad_cam(model: &Sequential, layer: &str, input: &Tensor, classes: &[u32]) -> Result<Tensor> {
    let cx = &mut Context::eval();
    let maps = cairn_autograd::no_grad(|| model.forward_until(layer, input, cx))?;
    let maps = Var::parameter(maps.value().clone());
    let (&[_, height, width, _], &[_, _, _, _]) = (input.shape(), maps.shape()) else {
        let why = format!("the input and the output of `{layer}` must be images");
        return Err(Error::BadInput { input: maps.dims().clone(), why });
    };
    let output = model.forward_after(layer, &maps, cx)?;
    let weights = gradient(&score(&output, classes)?, &maps)?.mean_keepdim([1, 2])?;
    let heat = maps.value().mul(&weights)?.sum_keepdim(3)?.relu()?;
    let heat = heat.resize2d([height, width], Resize::Bilinear)?.squeeze(3)?;
    let most = heat.max_keepdim([1, 2])?;
    Ok(heat.div(&most.maximum(&Tensor::scalar(f32::MIN_POSITIVE))?)?)
}

/// The sum over items of each one's score for its class.
fn score(output: &Var, classes: &[u32]) -> Result<Var> {
    let known = output.softmax_logits();
    let output = known.as_ref().unwrap_or(output);
    let &[items, count] = output.shape() else {
        let why = "the model must give [batch, classes]".into();
        return Err(Error::BadInput { input: output.dims().clone(), why });
    };
    if classes.len() != items || classes.iter().any(|&class| class as usize >= count) {
        let why = format!("{items} classes are needed, each below {count}");
        return Err(Error::BadInput { input: output.dims().clone(), why });
    }
    let chosen = Tensor::from_slice(classes, [items])?.one_hot(count)?;
    Ok(output.mul(&Var::constant(chosen))?.sum(..)?)
}

fn gradient(score: &Var, x: &Var) -> Result<Tensor> {
    Ok(score.backward()?.of(x)?)
}

impl Sequential {
    /// The output of the layer called `layer`, for a batch of inputs.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and [`Error::NoLayer`] when there is no such layer.
    pub fn forward_until(&self, layer: &str, input: impl Into<Value>, cx: &mut Context) -> Result<Var> {
        Ok(self.forward_until_masked(layer, input.into(), cx)?.0)
    }

    /// As [`forward_until`](Self::forward_until), with the mask that the next layer is given.
    fn forward_until_masked(
        &self,
        layer: &str,
        value: Value,
        cx: &mut Context,
    ) -> Result<(Var, Option<SequenceMask>)> {
        let end = self.position(layer)? + 1;
        self.check_input(&value)?;
        self.forward_masked(0..end, value, cx)
    }

    /// The model's output, from the output of the layer called `layer`. Which steps are padding is what the context says, after a
    /// [masked](crate::spec::Embedding::masked) embedding too.
    ///
    /// # Errors
    /// Those of the layers after it, and [`Error::NoLayer`] when there is no such layer.
    pub fn forward_after(&self, layer: &str, input: impl Into<Value>, cx: &mut Context) -> Result<Var> {
        let start = self.position(layer)? + 1;
        self.forward_layers(start..self.layers.len(), input.into(), cx)
    }

    fn position(&self, layer: &str) -> Result<usize> {
        self.layers
            .iter()
            .position(|named| named.name == layer)
            .ok_or_else(|| Error::NoLayer { name: layer.to_owned() })
    }
}
