//! All axes after the batch as one.

use cairn_autograd::Var;
use serde::{Deserialize, Serialize};

use super::{Layer, Value};
use crate::{Context, Result};

/// Flattens `[batch, …]` to `[batch, features]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flatten;

impl Layer for Flatten {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        let x = input.floats()?;
        let (batch, rest) =
            x.shape().split_first().map_or((1, 1), |(&batch, rest)| (batch, rest.iter().product()));
        Ok(x.reshape([batch, rest])?)
    }
}
