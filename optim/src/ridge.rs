//! Linear regression in closed form: what a network has to beat before it is worth its trouble.
//!
//! By the singular value decomposition of the centred inputs in `f64`, as scikit-learn's `LinearRegression` and `Ridge(solver="svd")`,
//! and not by the normal equations, which square the condition number. The result is a [`Linear`] layer like any other, to be
//! evaluated, saved, exported or trained on.

use cairn_autograd::Parameter;
use cairn_nn::Linear;
use cairn_tensor::{Setting, Tensor};

use crate::Result;

/// Least squares with a penalty on the squares of the weights: |X w + b - y|² + penalty · |w|². The bias is not penalised.
///
/// ```
/// use cairn_optim::Ridge;
/// use cairn_tensor::Tensor;
/// let x = Tensor::from_vec(vec![0.0f32, 1.0, 2.0, 3.0], [4, 1])?;
/// let y = Tensor::from_vec(vec![1.0f32, 3.0, 5.0, 7.0], [4])?;
/// let model = Ridge::new(0.0).fit(&x, &y)?; // y = 2 x + 1
/// let answer = model.forward(&Tensor::full([1, 1], 10.0f32)?.into())?;
/// assert!((answer.item()? - 21.0).abs() < 1e-5);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[doc(alias("LinearRegression", "lstsq", "least_squares"))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ridge {
    penalty: f64,
    bias: bool,
}

impl Ridge {
    /// With this penalty, 0 for plain least squares. It is for the sum of squared errors, not their mean.
    #[doc(alias = "alpha")]
    #[must_use]
    pub fn new(penalty: f64) -> Self {
        Ridge { penalty, bias: true }
    }

    /// Through the origin.
    #[doc(alias = "fit_intercept")]
    #[must_use]
    pub fn without_bias(self) -> Self {
        Ridge { bias: false, ..self }
    }

    /// The best layer for inputs `[rows, features]` and targets `[rows]` or `[rows, outputs]`. Where several are as good, as with more
    /// features than rows and no penalty, the one of the least weights.
    ///
    /// # Errors
    /// [`Error::BadSetting`](crate::Error::BadSetting) for a penalty that is negative or not finite, and for shapes that do not go together; those of the
    /// decomposition for inputs that are not finite.
    pub fn fit(&self, x: &Tensor<f32>, y: &Tensor<f32>) -> Result<Linear> {
        let possible = self.penalty >= 0.0 && self.penalty.is_finite();
        Setting::check("the penalty", self.penalty, possible, "finite and not negative")?;
        let y = if y.rank() == 1 { y.unsqueeze(1)? } else { y.clone() };
        let fits = x.rank() == 2 && y.rank() == 2 && !x.is_empty() && y.shape()[0] == x.shape()[0];
        let shapes = format!("{:?} and {:?}", x.shape(), y.shape());
        Setting::check(
            "the shapes of inputs and targets",
            shapes,
            fits,
            "[rows, features] and [rows] or [rows, outputs], with rows",
        )?;
        let (x, y) = (x.cast::<f64>()?, y.cast::<f64>()?);
        let (x_mean, y_mean) = (x.mean_keepdim(0)?, y.mean_keepdim(0)?);
        let (centred, answers) = if self.bias { (x.sub(&x_mean)?, y.sub(&y_mean)?) } else { (x, y) };
        let weight = self.weight(&centred, &answers)?;
        let bias = y_mean.sub(&x_mean.matmul(&weight)?)?.squeeze(0)?.cast::<f32>()?;
        let weight = weight.cast::<f32>()?;
        Ok(Linear::with_parameters(Parameter::new(weight), self.bias.then(|| Parameter::new(bias))))
    }

    /// V diag(s / (s² + penalty)) Uᵀ y: `[features, outputs]`. Directions whose singular value is rounding alone are left out.
    fn weight(&self, x: &Tensor<f64>, y: &Tensor<f64>) -> Result<Tensor<f64>> {
        let (u, s, vt) = x.svd()?;
        let values = s.to_vec();
        let longest = x.shape()[0].max(x.shape()[1]) as f64;
        let least = values.first().copied().unwrap_or(0.0) * longest * f64::EPSILON;
        let shrunk = values.iter().map(|&s| if s > least { s / (s * s + self.penalty) } else { 0.0 });
        let shrunk = Tensor::from_vec(shrunk.collect(), [values.len(), 1])?;
        Ok(vt.t()?.matmul(&u.t()?.matmul(y)?.mul(&shrunk)?)?)
    }
}
