//! Limiting gradients before a step. A parameter that several layers share has one gradient, which counts once.

use cairn_autograd::Gradients;
use cairn_nn::Module;

use cairn_tensor::Setting;

use crate::Result;

/// The Euclidean norm of all gradients of a model's parameters as one vector, summed in the order of parameters.
///
/// # Errors
/// When memory runs out.
pub fn global_norm(model: &dyn Module, gradients: &Gradients) -> Result<f32> {
    let (mut sum, mut result) = (0.0f64, Ok(()));
    model.for_each_parameter(&mut |_, parameter| {
        if let (Some(gradient), Ok(())) = (gradients.get(parameter), &result) {
            match gradient.values().square().and_then(|squares| squares.sum(..)).and_then(|sum| sum.item()) {
                Ok(squares) => sum += f64::from(squares),
                Err(error) => result = Err(error),
            }
        }
    });
    result?;
    Ok(sum.sqrt() as f32)
}

/// Scales all gradients down together so that their [`global_norm`] is at most `limit` (Pascanu et al. 2013); returns the
/// norm before. PyTorch's `clip_grad_norm_`, Keras's `global_clipnorm`.
///
/// # Errors
/// [`Error::BadSetting`](crate::Error::BadSetting) for a limit that is not above 0.
#[doc(alias = "clip_grad_norm_")]
#[doc(alias = "global_clipnorm")]
pub fn clip_by_global_norm(model: &dyn Module, gradients: &mut Gradients, limit: f32) -> Result<f32> {
    Setting::check("the limit of the norm", limit, limit > 0.0, "above 0")?;
    let norm = global_norm(model, gradients)?;
    if norm > limit {
        for_each_gradient(model, gradients, |values| values.scale(limit / norm))?;
    }
    Ok(norm)
}

/// Scales each parameter's gradient down so that its own norm is at most `limit`; the directions of layers stay, their
/// proportions may not. Keras's `clipnorm`.
///
/// # Errors
/// [`Error::BadSetting`](crate::Error::BadSetting) for a limit that is not above 0.
#[doc(alias = "clipnorm")]
pub fn clip_by_norm(model: &dyn Module, gradients: &mut Gradients, limit: f32) -> Result<()> {
    Setting::check("the limit of the norm", limit, limit > 0.0, "above 0")?;
    for_each_gradient(model, gradients, |values| {
        let norm = values.norm(..)?.item()?;
        if norm > limit { values.scale(limit / norm) } else { Ok(values.clone()) }
    })
}

/// Holds every element of every gradient within ±`limit`.
///
/// # Errors
/// [`Error::BadSetting`](crate::Error::BadSetting) for a limit that is not above 0.
#[doc(alias = "clip_grad_value_")]
#[doc(alias = "clipvalue")]
pub fn clip_by_value(model: &dyn Module, gradients: &mut Gradients, limit: f32) -> Result<()> {
    Setting::check("the limit of gradients", limit, limit > 0.0, "above 0")?;
    for_each_gradient(model, gradients, |values| values.clamp(-limit, limit))
}

pub(crate) fn for_each_gradient(
    model: &dyn Module,
    gradients: &mut Gradients,
    change: impl Fn(&cairn_tensor::Tensor) -> cairn_tensor::Result<cairn_tensor::Tensor>,
) -> Result<()> {
    let mut result = Ok(());
    model.for_each_parameter(&mut |_, parameter| {
        if let (Some(gradient), Ok(())) = (gradients.get_mut(parameter), &result) {
            match gradient.map_values(|values| Ok(change(values)?)) {
                Ok(changed) => *gradient = changed,
                Err(error) => result = Err(error),
            }
        }
    });
    Ok(result?)
}
