//! Where a step stands, as a vector that is added to it: by a formula, or learned.

use std::sync::{Arc, PoisonError, RwLock};

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::super::attention::spec::sequence;
use super::super::config::{LayerConfig, Plan};
use super::super::{Layer, Value};
use crate::weights::{Flow, Framework, Rule, no_rule};
use crate::{Context, Error, Init, Module, Result};

/// The sines and cosines of Vaswani et al. 2017, section 3.5, for `time` positions, `[time, features]`: feature 2i of position t is
/// sin(t / 10000^(2i / features)), feature 2i + 1 the cosine of the same. Computed in `f64`.
///
/// ```
/// let table = cairn_nn::sinusoids(50, 128)?;
/// assert_eq!(table.shape(), [50, 128]);
/// assert_eq!(table.get(&[1, 0])?, 1f64.sin() as f32);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// [`Error::BadSetting`] for an odd number of features; when memory does not hold the table.
#[doc(alias("positional encoding", "SinePositionEncoding"))]
pub fn sinusoids(time: usize, features: usize) -> Result<Tensor> {
    if !features.is_multiple_of(2) {
        let (what, value) = ("the number of features", features as f64);
        return Err(Error::BadSetting { what, value, must: "even: a sine and a cosine of each frequency" });
    }
    let rates = Tensor::build([features / 2], |out: &mut [f64]| {
        for (i, rate) in out.iter_mut().enumerate() {
            *rate = (-(2.0 * i as f64) / features as f64 * 1e4f64.ln()).exp();
        }
    })?
    .into_vec();
    Ok(Tensor::build([time, features], |out| {
        for (t, row) in out.chunks_exact_mut(features.max(1)).enumerate() {
            for (pair, rate) in row.chunks_exact_mut(2).zip(&rates) {
                let (sin, cos) = (t as f64 * rate).sin_cos();
                (pair[0], pair[1]) = (sin as f32, cos as f32);
            }
        }
    })?)
}

/// Fewest positions that a table is kept for.
const FEWEST: usize = 64;

/// The [`sinusoids`] of a model, kept as far as they were needed so far: in generation each token needs one position more. Clones share
/// them.
#[derive(Debug, Clone)]
pub(super) struct Sinusoids {
    features: usize,
    table: Arc<RwLock<Option<Tensor>>>,
}

impl Sinusoids {
    pub(super) fn new(features: usize) -> Self {
        Sinusoids { features, table: Arc::default() }
    }

    /// Those of the first `time` positions, `[time, features]`.
    ///
    /// # Errors
    /// As [`sinusoids`].
    pub(super) fn first(&self, time: usize) -> Result<Tensor> {
        let part = |table: &Option<Tensor>| {
            let table = table.as_ref().filter(|table| table.shape()[0] >= time);
            table.map(|table| table.narrow(0, 0, time)).transpose()
        };
        if let Some(part) = part(&self.table.read().unwrap_or_else(PoisonError::into_inner))? {
            return Ok(part);
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = part(&table)? {
            return Ok(part);
        }
        let room = time.max(FEWEST).checked_next_power_of_two().unwrap_or(time);
        let longer = sinusoids(room, self.features)?;
        let part = longer.narrow(0, 0, time)?;
        *table = Some(longer);
        Ok(part)
    }
}

/// Adds a learned vector to each step of sequences `[batch, time, features]`, by where it stands.
///
/// ```
/// use cairn_nn::PositionEmbedding;
/// use cairn_tensor::{Tensor, rng};
/// let positions = PositionEmbedding::new(200, 32, &mut rng(0))?;
/// assert_eq!(positions.forward(&Tensor::ones([2, 150, 32])?.into())?.shape(), [2, 150, 32]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Module)]
#[doc(alias("TokenAndPositionEmbedding", "wpe"))]
pub struct PositionEmbedding {
    /// `[time, features]`
    pub weight: Parameter,
}

impl PositionEmbedding {
    /// For sequences of at most `time` steps, drawn uniformly within ±0.05, as in Keras.
    ///
    /// # Errors
    /// When memory does not hold the vectors.
    pub fn new(time: usize, features: usize, rng: &mut Rng) -> Result<Self> {
        Ok(PositionEmbedding { weight: Parameter::new(Init::Uniform(0.05).tensor([time, features], rng)?) })
    }

    /// The sequences, with their positions.
    ///
    /// # Errors
    /// For sequences that are longer, or have other features.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let &[_, time, _] = x.shape() else {
            let why = "positions are of sequences [batch, time, features]".into();
            return Err(Error::BadInput { input: x.dims().clone(), why });
        };
        let positions = self.weight.var();
        if time > positions.shape()[0] {
            let why = format!("there are vectors for {} positions", positions.shape()[0]);
            return Err(Error::BadInput { input: x.dims().clone(), why });
        }
        Ok(x.add(&positions.narrow(0, 0, time)?)?)
    }
}

impl Layer for PositionEmbedding {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        PositionEmbedding::forward(self, &input.floats()?)
    }
}

pub(in super::super) mod spec {
    use super::*;

    /// Description of a [`PositionEmbedding`](crate::PositionEmbedding), for sequences `[time, features]`.
    ///
    /// Values are drawn uniformly within ±0.05, as in Keras.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct PositionEmbedding;

    impl PositionEmbedding {
        /// The layer for sequences of at most `time` steps.
        ///
        /// # Errors
        /// When memory does not hold the vectors.
        pub fn layer(&self, time: usize, features: usize, rng: &mut Rng) -> Result<super::PositionEmbedding> {
            super::PositionEmbedding::new(time, features, rng)
        }
    }

    impl LayerConfig for PositionEmbedding {
        const KIND: &'static str = "position_embedding";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            let [time, features] = sequence(input, "a position")?;
            Ok(Plan { output: input.clone(), values: time.saturating_mul(features) })
        }

        fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(input[0], input[1], rng)?))
        }

        fn keeps_steps(&self) -> bool {
            true
        }

        fn rules(&self, framework: Framework, _: &mut Flow) -> Result<Vec<Rule>> {
            let name = if framework == Framework::Keras { "Keras" } else { "PyTorch" };
            Err(no_rule("position embedding", "", name))
        }
    }
}
