//! Dropout (Srivastava et al. 2014): each element is zeroed with probability `rate` in training, and the others are
//! scaled up by 1 / (1 - rate), so that nothing has to be done at inference.

use cairn_autograd::Var;
use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::{Layer, Value};
use crate::{Context, Error, Result};

/// Dropout. Layer and description in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    rate: f32,
}

impl Dropout {
    /// Drops elements with this probability, 0 to below 1 (checked when the layer is built or run).
    pub fn new(rate: f32) -> Self {
        Dropout { rate }
    }

    /// `x` with elements dropped if the context is training, else `x` itself.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a rate outside its range.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        match self.kept(x.dims(), cx)? {
            Some(kept) => Ok(x.masked_scale(&kept, self.scale())?),
            None => Ok(x.clone()),
        }
    }

    /// What elements are multiplied by: 0 for those dropped, 1 / (1 - rate) for the others; none where nothing is dropped.
    pub(super) fn factors(&self, shape: &Shape, cx: &mut Context) -> Result<Option<Tensor>> {
        let scale = self.scale();
        let factors = |kept: Tensor<bool>| kept.map(|kept| if kept { scale } else { 0.0 });
        Ok(self.kept(shape, cx)?.map(factors).transpose()?)
    }

    /// Which elements are kept; none where nothing is dropped.
    fn kept(&self, shape: &Shape, cx: &mut Context) -> Result<Option<Tensor<bool>>> {
        self.check()?;
        if !cx.is_training() || self.rate == 0.0 {
            return Ok(None);
        }
        let rate = self.rate;
        let drawn = Tensor::uniform(shape, 0.0, 1.0, &mut cx.draw())?;
        Ok(Some(drawn.map(|u: f32| u >= rate)?))
    }

    fn scale(&self) -> f32 {
        1.0 / (1.0 - self.rate)
    }

    pub(crate) fn check(&self) -> Result<()> {
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
}

impl Layer for Dropout {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        Dropout::forward(self, &input.floats()?, cx)
    }
}

pub(super) mod spec {
    pub use super::Dropout;
}

impl LayerConfig for Dropout {
    const KIND: &'static str = "dropout";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        self.check()?;
        Ok(Plan::of(input.clone()))
    }

    fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(self.clone()))
    }

    fn keeps_steps(&self) -> bool {
        true
    }
}
