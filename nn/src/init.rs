//! Initial values of parameters.
//!
//! The variance-scaling family draws with variance `scale / fan`, where the fans of a weight `[inputs, outputs]` are its
//! sizes, and of a kernel `[…, inputs, outputs]` those times the number of positions before them.

use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a parameter's initial values are drawn.
///
/// ```
/// use cairn_nn::Init;
/// use cairn_tensor::rng;
/// let w = Init::GlorotUniform.tensor([100, 200], &mut rng(0))?;
/// let limit = (6.0f32 / 300.0).sqrt();
/// assert!(w.to_vec().iter().all(|w| w.abs() <= limit));
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All equal.
    Constant(f32),
    /// Normal around 0 with this standard deviation.
    Normal(f32),
    /// Uniform between minus and plus this limit.
    Uniform(f32),
    /// Uniform with limit sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010): Keras's default for dense layers.
    GlorotUniform,
    /// Normal with variance 2 / (fan_in + fan_out).
    GlorotNormal,
    /// Uniform with limit sqrt(6 / fan_in) (He et al. 2015), for ReLU.
    HeUniform,
    /// Normal with variance 2 / fan_in.
    HeNormal,
    /// Uniform with limit sqrt(3 / fan_in) (LeCun et al. 1998), for SELU and tanh.
    LecunUniform,
    /// Normal with variance 1 / fan_in.
    LecunNormal,
    /// Orthogonal rows or columns, whichever are fewer (Saxe et al. 2013), times a gain; axes before the last are taken as
    /// one. For recurrent weights.
    Orthogonal(f32),
    /// All 0, in no memory: a single zero that is seen everywhere. For weights that a file brings afterwards; the first change takes
    /// the memory.
    #[doc(alias("meta", "skip_init", "no_init_weights"))]
    Deferred,
}

impl Init {
    /// Values for a parameter of a shape.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a negative or non-finite spread; when memory does not hold the shape.
    pub fn tensor(self, shape: impl Into<Shape>, rng: &mut Rng) -> Result<Tensor> {
        let shape = shape.into();
        let (fan_in, fan_out) = fans(&shape);
        match self {
            Init::Zeros => Ok(Tensor::zeros(shape)?),
            Init::Ones => Ok(Tensor::ones(shape)?),
            Init::Constant(value) => Ok(Tensor::full(shape, value)?),
            Init::Normal(std) => normal(shape, std.into(), rng),
            Init::Uniform(limit) => uniform(shape, limit.into(), rng),
            Init::GlorotUniform => uniform(shape, (6.0 / (fan_in + fan_out)).sqrt(), rng),
            Init::GlorotNormal => normal(shape, (2.0 / (fan_in + fan_out)).sqrt(), rng),
            Init::HeUniform => uniform(shape, (6.0 / fan_in).sqrt(), rng),
            Init::HeNormal => normal(shape, (2.0 / fan_in).sqrt(), rng),
            Init::LecunUniform => uniform(shape, (3.0 / fan_in).sqrt(), rng),
            Init::LecunNormal => normal(shape, (1.0 / fan_in).sqrt(), rng),
            Init::Orthogonal(gain) => orthogonal(&shape, gain, rng),
            Init::Deferred => Ok(Tensor::scalar(0.0).broadcast_to(shape)?),
        }
    }
}

/// The number of values that go into one output, and that one input goes into; at least 1, so that rates stay finite.
fn fans(shape: &[usize]) -> (f64, f64) {
    let (fan_in, fan_out) = match shape {
        [] => (1, 1),
        [n] => (*n, *n),
        [positions @ .., inputs, outputs] => {
            let positions: usize = positions.iter().product();
            (positions * inputs, positions * outputs)
        }
    };
    (fan_in.max(1) as f64, fan_out.max(1) as f64)
}

fn normal(shape: Shape, std: f64, rng: &mut Rng) -> Result<Tensor> {
    check("the standard deviation", std)?;
    Ok(Tensor::normal(shape, 0.0, std, rng)?)
}

fn uniform(shape: Shape, limit: f64, rng: &mut Rng) -> Result<Tensor> {
    check("the limit", limit)?;
    if limit == 0.0 { Ok(Tensor::zeros(shape)?) } else { Ok(Tensor::uniform(shape, -limit, limit, rng)?) }
}

fn check(what: &'static str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::BadSetting { what, value, must: "finite and not negative" })
    }
}

/// Gram-Schmidt on Gaussian vectors in f64, each made orthogonal twice, which is enough for full precision
/// ("twice is enough", Giraud et al. 2005). A Gaussian basis orthonormalised in order is uniformly distributed.
fn orthogonal(shape: &Shape, gain: f32, rng: &mut Rng) -> Result<Tensor> {
    check("the gain", gain.into())?;
    let Some((&columns, leading)) = shape.split_last() else {
        return Err(Error::BadInput {
            input: shape.clone(),
            why: "an orthogonal matrix has two axes".into(),
        });
    };
    let rows: usize = leading.iter().product();
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    while basis.len() < count {
        let mut v = Tensor::<f64>::normal([len], 0.0, 1.0, rng)?.into_vec();
        for _ in 0..2 {
            for u in &basis {
                let dot: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(u).for_each(|(x, u)| *x -= dot * u);
            }
        }
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        // A vector that almost lay in the span of the others is drawn again.
        if norm > 1e-6 {
            v.iter_mut().for_each(|x| *x /= norm);
            basis.push(v);
        }
    }
    Ok(Tensor::build(shape, |out| {
        for (i, x) in out.iter_mut().enumerate() {
            let (r, c) = (i / columns, i % columns);
            let value = if rows <= columns { basis[r][c] } else { basis[c][r] };
            *x = (value * f64::from(gain)) as f32;
        }
    })?)
}
