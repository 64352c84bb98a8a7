//! Checking derivatives against central differences.

use cairn_tensor::Tensor;

use crate::{Error, Result, Var};

/// Step of the differences. The error of the formula is about `STEP²`, that of rounding about 1e-16 / `STEP`.
const STEP: f64 = 1e-5;
/// Largest difference allowed, relative to the larger of 1 and the derivative.
const TOLERANCE: f64 = 1e-6;

/// Checks the derivatives of `f` with respect to each of its inputs: what `backward` gives must equal
/// (f(x + h) - f(x - h)) / 2h, for every element.
///
/// The output may have any shape; it is reduced with fixed, unequal weights, so that an error in one output element cannot
/// be hidden by another. Keep inputs away from kinks (a ReLU at 0).
///
/// ```
/// use cairn_autograd::gradcheck;
/// use cairn_tensor::{rng, Tensor};
/// let mut rng = rng(0);
/// let inputs = [Tensor::normal([3, 4], 0.0, 1.0, &mut rng)?, Tensor::normal([4, 2], 0.0, 1.0, &mut rng)?];
/// gradcheck(&inputs, |x| x[0].matmul(&x[1])?.tanh())?;
/// # Ok::<(), cairn_autograd::Error>(())
/// ```
///
/// # Errors
/// [`Error::GradientMismatch`] at the first element that differs; whatever `f` returns.
pub fn gradcheck(inputs: &[Tensor<f64>], f: impl Fn(&[Var<f64>]) -> Result<Var<f64>>) -> Result<()> {
    let weighted = |output: &Var<f64>| -> Result<Var<f64>> {
        let weights = Tensor::build(output.dims(), |out| {
            for (i, w) in out.iter_mut().enumerate() {
                // The golden ratio's multiples are spread evenly over 0..1 and never repeat.
                *w = 0.5 + (i as f64 * 0.618_033_988_749_895).fract();
            }
        })?;
        output.mul(&Var::constant(weights))?.sum(..)
    };
    let parameters: Vec<_> = inputs.iter().cloned().map(Var::parameter).collect();
    let gradients = weighted(&f(&parameters)?)?.backward()?;
    for (input, tensor) in inputs.iter().enumerate() {
        let analytic = gradients.of(&parameters[input])?;
        if analytic.shape() != tensor.shape() {
            return Err(cairn_tensor::Error::ShapeMismatch {
                op: "gradcheck",
                lhs: tensor.dims().clone(),
                rhs: analytic.dims().clone(),
                why: "a gradient must have its input's shape",
            }
            .into());
        }
        for (element, analytic) in analytic.iter().enumerate() {
            let value_at = |step: f64| -> Result<f64> {
                let mut moved = inputs.to_vec();
                moved[input].as_mut_slice()?[element] += step;
                let moved: Vec<_> = moved.into_iter().map(Var::constant).collect();
                weighted(&f(&moved)?)?.item()
            };
            let numeric = (value_at(STEP)? - value_at(-STEP)?) / (2.0 * STEP);
            let close = (analytic - numeric).abs() <= TOLERANCE * analytic.abs().max(1.0);
            if !close {
                return Err(Error::GradientMismatch { input, element, analytic, numeric });
            }
        }
    }
    Ok(())
}
