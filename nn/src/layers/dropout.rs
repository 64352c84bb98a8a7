//! Dropout (Srivastava et al. 2014): each element is zeroed with probability `rate` in training, and the others are
//! scaled up by 1 / (1 - rate), so that nothing has to be done in use.

use cairn_autograd::Var;
use cairn_tensor::{Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::{Layer, Plan, Spans, Value};
use crate::{Context, Error, Result};

/// Description of dropout, and the layer itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    rate: f32,
}

impl Dropout {
    /// Drops elements with this probability, 0 to below 1 (checked when the layer is built or run).
    pub fn new(rate: f32) -> Self {
        Dropout { rate }
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        self.check()?;
        Ok(Plan { output: input.clone(), values: 0 })
    }

    fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.rate) {
            Ok(())
        } else {
            Err(Error::BadSetting {
                what: "the dropout rate",
                value: self.rate.into(),
                must: "from 0 to below 1",
            })
        }
    }

    /// `x` with elements dropped if the context is training, else `x` itself.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a rate outside its range.
    pub fn apply(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        self.check()?;
        if !cx.is_training() || self.rate == 0.0 {
            return Ok(x.clone());
        }
        let (rate, scale) = (self.rate, 1.0 / (1.0 - self.rate));
        let drawn = Tensor::uniform(x.dims(), 0.0, 1.0, cx.rng())?;
        let mask = drawn.map(|u: f32| if u < rate { 0.0 } else { scale })?;
        Ok(x.mul(&Var::constant(mask))?)
    }
}

impl Layer for Dropout {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        self.apply(&input.floats()?, cx)
    }

    fn spans(&self, _: &Value, spans: Option<Spans>) -> Result<Option<Spans>> {
        Ok(spans)
    }
}
