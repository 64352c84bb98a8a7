//! Losses of regression: of squared and absolute differences.

use cairn_autograd::Var;
use cairn_tensor::Tensor;

use super::{Loss, same_shape};
use crate::{Error, Result};

/// Mean of squared differences: see [`mse`].
#[doc(alias = "MSELoss")]
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanSquaredError;

impl Loss<Tensor> for MeanSquaredError {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        mse(prediction, target)
    }

    fn weight(&self, _: &Var, target: &Tensor) -> Result<Option<f64>> {
        Ok(Some(target.len() as f64))
    }
}

/// Mean of (prediction - target)².
///
/// # Errors
/// When the shapes differ or the batch is empty.
#[doc(alias = "mse_loss")]
pub fn mse(prediction: &Var, target: &Tensor) -> Result<Var> {
    Ok(difference("mse", prediction, target)?.square()?.mean(..)?)
}

/// Mean of absolute differences: see [`mae`].
#[doc(alias = "L1Loss")]
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanAbsoluteError;

impl Loss<Tensor> for MeanAbsoluteError {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        mae(prediction, target)
    }

    fn weight(&self, _: &Var, target: &Tensor) -> Result<Option<f64>> {
        Ok(Some(target.len() as f64))
    }
}

/// Mean of |prediction - target|.
///
/// # Errors
/// When the shapes differ or the batch is empty.
#[doc(alias = "l1_loss")]
pub fn mae(prediction: &Var, target: &Tensor) -> Result<Var> {
    Ok(difference("mae", prediction, target)?.abs()?.mean(..)?)
}

/// Squared below `delta`, absolute above: see [`huber`].
#[doc(alias("HuberLoss", "SmoothL1Loss"))]
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    /// Where the loss turns from squared to absolute; 1 by default.
    pub delta: f32,
}

impl Default for Huber {
    fn default() -> Self {
        Huber { delta: 1.0 }
    }
}

impl Loss<Tensor> for Huber {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        huber(prediction, target, self.delta)
    }

    fn weight(&self, _: &Var, target: &Tensor) -> Result<Option<f64>> {
        Ok(Some(target.len() as f64))
    }
}

/// Mean of d²/2 where |d| <= delta and delta (|d| - delta/2) elsewhere, d = prediction - target (Huber 1964).
///
/// # Errors
/// When the shapes differ, the batch is empty, or `delta` is not above 0.
pub fn huber(prediction: &Var, target: &Tensor, delta: f32) -> Result<Var> {
    if !(delta > 0.0 && delta.is_finite()) {
        return Err(Error::BadSetting { what: "delta", value: delta.into(), must: "above 0" });
    }
    let d = difference("huber", prediction, target)?;
    // With c = d held within ±delta, c (d - c/2) is both cases at once.
    let c = d.clamp(-delta, delta)?;
    Ok(c.mul(&d.sub(&c.scale(0.5)?)?)?.mean(..)?)
}

fn difference(op: &'static str, prediction: &Var, target: &Tensor) -> Result<Var> {
    same_shape(op, prediction, target)?;
    Ok(prediction.sub(&Var::constant(target.clone()))?)
}
