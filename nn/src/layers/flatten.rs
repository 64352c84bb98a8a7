//! All axes after the batch as one.

use cairn_autograd::Var;
use cairn_tensor::{Rng, Shape};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::{Layer, Value};
use crate::weights::{Flow, Framework, Rule};
use crate::{Context, Result};

/// Flattens `[batch, …]` to `[batch, features]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flatten;

impl Flatten {
    /// `[batch, features]` of `[batch, …]`.
    ///
    /// # Errors
    /// When memory does not hold a copy of a strided input.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let (batch, rest) =
            x.shape().split_first().map_or((1, 1), |(&batch, rest)| (batch, rest.iter().product()));
        Ok(x.reshape([batch, rest])?)
    }
}

impl Layer for Flatten {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        Flatten::forward(self, &input.floats()?)
    }
}

pub(super) mod spec {
    pub use super::Flatten;
}

impl LayerConfig for Flatten {
    const KIND: &'static str = "flatten";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        Ok(Plan::of([input.count()]))
    }

    fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(*self))
    }

    /// Features come by row, column, channel here, by channel first in PyTorch.
    fn rules(&self, _: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
        flow.flattened = match *flow.input {
            [height, width, channels] => Some([height, width, channels]),
            [steps, channels] if !flow.steps_first => Some([1, steps, channels]),
            [_, _] => None,
            _ => flow.flattened,
        };
        Ok(Vec::new())
    }
}
