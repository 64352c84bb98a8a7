//! Where a token stands, as a vector that is added to its embedding. Learned ones are an [`Embedding`](crate::Embedding) of positions.

use cairn_tensor::Tensor;

use crate::{Error, Result};

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
