//! Reductions: the gradient is stretched back over the axes that were reduced.

use cairn_tensor::{Axes, Float, Shape, Tensor};

use crate::op::{Op, Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

/// What is made of the elements along the reduced axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their product.
    Prod,
    /// ln Σ exp(x)
    LogSumExp,
    /// Their Euclidean norm.
    Norm,
    /// Their variance.
    Variance {
        /// Subtracted from the number of elements.
        correction: usize,
    },
    /// Their standard deviation.
    Deviation {
        /// Subtracted from the number of elements.
        correction: usize,
    },
}

/// What a [`Reduce`] says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reduced<'a> {
    /// A reduction over axes, ascending, and whether they are left with size 1.
    Over(Reduction, &'a [usize], bool),
    /// A sum to this shape, whose axes depend on the operand.
    To(&'a Shape),
}

/// A reduction over axes, as the variants of [`Reduce`] hold it: these axes, ascending, are left out or have size 1.
macro_rules! reductions {
    ($($(#[$doc:meta])* $variant:ident $({ $correction:ident })? = $name:literal;)*) => {
        operations! {
            /// Sums, means and other reductions over axes.
            Reduce {
                $($(#[$doc])* $variant {
                    /// The axes, ascending.
                    axes: Vec<usize>,
                    /// Whether they are left with size 1.
                    keepdim: bool,
                    $(/// Subtracted from the number of elements.
                    $correction: usize,)?
                } = $name,)*
                /// The sum over the axes along which `shape` would be broadcast.
                SumTo {
                    /// The shape of the result.
                    shape: Shape,
                } = "sum_to",
            }
        }

        impl Reduce {
            fn new(reduction: Reduction, axes: Vec<usize>, keepdim: bool) -> Self {
                match reduction {
                    $(Reduction::$variant $({ $correction })? => Reduce::$variant { axes, keepdim, $($correction)? },)*
                }
            }

            /// The operation taken apart.
            pub fn parts(&self) -> Reduced<'_> {
                match self {
                    $(Reduce::$variant { axes, keepdim, $($correction)? } => {
                        $(let $correction = *$correction;)?
                        Reduced::Over(Reduction::$variant $({ $correction })?, axes, *keepdim)
                    })*
                    Reduce::SumTo { shape } => Reduced::To(shape),
                }
            }
        }
    };
}
reductions! {
    /// The sum.
    Sum = "sum";
    /// The mean.
    Mean = "mean";
    /// The largest element.
    Max = "max";
    /// The smallest element.
    Min = "min";
    /// The product.
    Prod = "prod";
    /// ln Σ exp(x)
    LogSumExp = "logsumexp";
    /// The Euclidean norm.
    Norm = "norm";
    /// The variance.
    Variance { correction } = "var";
    /// The standard deviation.
    Deviation { correction } = "std";
}

impl Rule for Reduce {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let x = x.float(0)?;
        match self.parts() {
            Reduced::Over(reduction, axes, keepdim) => {
                Call { name: self.name(), x, axes: &Axes::from(axes), keepdim }.run(reduction, wanted)
            }
            Reduced::To(shape) => wanted.ran_one(x.sum_to(shape)?, |_| {
                let from = x.dims().clone();
                move |g| g.broadcast_to(&from)
            }),
        }
    }
}

/// A reduction of one tensor.
struct Call<'a, T: Float> {
    name: &'static str,
    x: &'a Tensor<T>,
    axes: &'a Axes,
    keepdim: bool,
}

impl<T: Float> Call<'_, T> {
    fn run(&self, reduction: Reduction, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let (x, axes) = (self.x, self.axes);
        match (reduction, self.keepdim) {
            (Reduction::Sum, false) => self.spread(x.sum(axes)?, |_, _| T::ONE, wanted),
            (Reduction::Sum, true) => self.spread(x.sum_keepdim(axes)?, |_, _| T::ONE, wanted),
            (Reduction::Mean, false) => self.spread(x.mean(axes)?, share, wanted),
            (Reduction::Mean, true) => self.spread(x.mean_keepdim(axes)?, share, wanted),
            (Reduction::Max, false) => self.extremum(x.max(axes)?, wanted),
            (Reduction::Max, true) => self.extremum(x.max_keepdim(axes)?, wanted),
            (Reduction::Min, false) => self.extremum(x.min(axes)?, wanted),
            (Reduction::Min, true) => self.extremum(x.min_keepdim(axes)?, wanted),
            (Reduction::Prod, false) => self.product(x.prod(axes)?, wanted),
            (Reduction::Prod, true) => self.product(x.prod_keepdim(axes)?, wanted),
            (Reduction::LogSumExp, false) => self.log_sum_exp(x.logsumexp(axes)?, wanted),
            (Reduction::LogSumExp, true) => self.log_sum_exp(x.logsumexp_keepdim(axes)?, wanted),
            (Reduction::Norm, false) => self.length(x.norm(axes)?, wanted),
            (Reduction::Norm, true) => self.length(x.norm_keepdim(axes)?, wanted),
            (Reduction::Variance { correction }, false) => {
                self.variance(x.var(axes, correction)?, correction, wanted)
            }
            (Reduction::Variance { correction }, true) => {
                self.variance(x.var_keepdim(axes, correction)?, correction, wanted)
            }
            (Reduction::Deviation { correction }, false) => {
                self.deviation(x.std(axes, correction)?, correction, wanted)
            }
            (Reduction::Deviation { correction }, true) => {
                self.deviation(x.std_keepdim(axes, correction)?, correction, wanted)
            }
        }
    }

    /// The shape with the reduced axes of size 1.
    fn kept(&self) -> cairn_tensor::Result<Shape> {
        self.axes.keepdim(self.name, self.x.shape())
    }

    /// Every element has the same part: `factor(elements, results)` of its result's gradient.
    fn spread(
        &self,
        value: Tensor<T>,
        factor: impl Fn(usize, usize) -> T,
        wanted: Wanted<'_>,
    ) -> Result<Ran<T>> {
        let (kept, shape) = (self.kept()?, self.x.dims());
        let factor = factor(self.x.len(), value.len());
        wanted.ran_one(value, |_| {
            let shape = shape.clone();
            move |g| g.scale(factor)?.reshape(&kept)?.broadcast_to(&shape)
        })
    }

    /// Equal ones share the gradient evenly.
    fn extremum(&self, value: Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let kept = self.kept()?;
        wanted.ran_one(value, |y| {
            let (x, y, axes) = (self.x.clone(), y.clone(), self.axes.clone());
            move |g| {
                let chosen = x.eq(&y.reshape(&kept)?)?.cast::<T>()?;
                let share = chosen.div(&chosen.sum_keepdim(&axes)?)?;
                share.mul(&g.reshape(&kept)?)
            }
        })
    }

    fn product(&self, value: Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let kept = self.kept()?;
        wanted.ran_one(value, |_| {
            let (x, axes) = (self.x.clone(), self.axes.clone());
            move |g| product_of_others(&x, &axes)?.mul(&g.reshape(&kept)?)
        })
    }

    fn log_sum_exp(&self, value: Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let kept = self.kept()?;
        wanted.ran_one(value, |y| {
            let (x, y, axes) = (self.x.clone(), y.clone(), self.axes.clone());
            move |g| {
                // exp(x - y) is the softmax over these axes but for the rounding of y, which their sum takes out.
                let shares = x.sub(&y.reshape(&kept)?)?.exp()?;
                shares.mul(&g.reshape(&kept)?.div(&shares.sum_keepdim(&axes)?)?)
            }
        })
    }

    /// Where it is 0, so is its gradient.
    fn length(&self, value: Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let kept = self.kept()?;
        wanted.ran_one(value, |y| {
            let (x, y) = (self.x.clone(), y.clone());
            // x / |x|
            move |g| x.mul(&ratio(g, &y)?.reshape(&kept)?)
        })
    }

    fn variance(&self, value: Tensor<T>, correction: usize, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let kept = self.kept()?;
        wanted.ran_one(value, |_| {
            let (x, axes) = (self.x.clone(), self.axes.clone());
            move |g| {
                // 2 (x - mean) / (n - correction)
                let factor = T::from_f64(2.0 / divisor(&x, &kept, correction));
                x.sub(&x.mean_keepdim(&axes)?)?.mul(&g.reshape(&kept)?.scale(factor)?)
            }
        })
    }

    /// Where it is 0, so is its gradient.
    fn deviation(&self, value: Tensor<T>, correction: usize, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let kept = self.kept()?;
        wanted.ran_one(value, |y| {
            let (x, y, axes) = (self.x.clone(), y.clone(), self.axes.clone());
            move |g| {
                // (x - mean) / ((n - correction) std)
                let factor = T::from_f64(1.0 / divisor(&x, &kept, correction));
                let share = ratio(&g.scale(factor)?, &y)?.reshape(&kept)?;
                x.sub(&x.mean_keepdim(&axes)?)?.mul(&share)
            }
        })
    }
}

/// What a sum of squares is divided by, with the shape that is left of the reduced axes.
fn divisor<T: Float>(x: &Tensor<T>, kept: &Shape, correction: usize) -> f64 {
    (x.len() as f64 / kept.count().max(1) as f64 - correction as f64).max(0.0)
}

/// a / b, and 0 where b is 0.
fn ratio<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> cairn_tensor::Result<Tensor<T>> {
    let zero = Tensor::scalar(T::ZERO);
    b.eq(&zero)?.select(&zero, &a.div(b)?)
}

/// What one of `elements` contributes to one of `results` means.
fn share<T: Float>(elements: usize, results: usize) -> T {
    T::from_f64(results as f64 / elements as f64)
}

/// For each element the product of all others it is multiplied with: total / x, unless there are zeros, where one zero
/// leaves its own entry alone and two leave none.
pub(super) fn product_of_others<T: Float>(x: &Tensor<T>, axes: &Axes) -> cairn_tensor::Result<Tensor<T>> {
    let (zero, one) = (Tensor::scalar(T::ZERO), Tensor::scalar(T::ONE));
    let is_zero = x.eq(&zero)?;
    let without_zeros = is_zero.select(&one, x)?;
    let product = without_zeros.prod_keepdim(axes)?;
    let zeros = is_zero.cast::<T>()?.sum_keepdim(axes)?;
    let no_zero = product.div(&without_zeros)?;
    let one_zero = is_zero.select(&product, &zero)?;
    let some_zero = zeros.eq(&one)?.select(&one_zero, &zero)?;
    zeros.eq(&zero)?.select(&no_zero, &some_zero)
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident, $keepdim:ident($($correction:ident)?) => $reduction:expr;)*) => {
        impl<T: Float> Var<T> {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// For an axis out of range or named twice; for an axis of size 0 where nothing can be made of no elements.
            pub fn $name(&self, axes: impl Into<Axes> $(, $correction: usize)?) -> Result<Self> {
                self.reduced(stringify!($name), $reduction, &axes.into(), false)
            }

            #[doc = concat!("As [`", stringify!($name), "`](Self::", stringify!($name), "), leaving the reduced axes with size 1.")]
            ///
            /// # Errors
            #[doc = concat!("As [`", stringify!($name), "`](Self::", stringify!($name), ").")]
            pub fn $keepdim(&self, axes: impl Into<Axes> $(, $correction: usize)?) -> Result<Self> {
                self.reduced(stringify!($keepdim), $reduction, &axes.into(), true)
            }
        )*}
    };
}
methods! {
    /// Sum over axes: one, an array, or `..` for all.
    sum, sum_keepdim() => Reduction::Sum;
    /// Mean over axes.
    mean, mean_keepdim() => Reduction::Mean;
    /// Largest element over axes; equal ones share the gradient evenly.
    #[doc(alias = "amax")]
    max, max_keepdim() => Reduction::Max;
    /// Smallest element over axes; equal ones share the gradient evenly.
    #[doc(alias = "amin")]
    min, min_keepdim() => Reduction::Min;
    /// Product over axes, differentiated exactly where elements are 0 too.
    prod, prod_keepdim() => Reduction::Prod;
    /// ln Σ exp(x) over axes.
    logsumexp, logsumexp_keepdim() => Reduction::LogSumExp;
    /// Euclidean norm over axes. Where it is 0, so is its gradient.
    norm, norm_keepdim() => Reduction::Norm;
    /// Variance over axes; `correction` is subtracted from the number of elements.
    var, var_keepdim(correction) => Reduction::Variance { correction };
    /// Standard deviation over axes; `correction` is subtracted from the number of elements. Where it is 0, so is its gradient.
    std, std_keepdim(correction) => Reduction::Deviation { correction };
}

impl<T: Float> Var<T> {
    /// Summed down to `shape`, which must broadcast to this variable's.
    ///
    /// # Errors
    /// When it does not.
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        Var::apply(Reduce::SumTo { shape: shape.into() }, &[self.into()])
    }

    fn reduced(&self, op: &'static str, reduction: Reduction, axes: &Axes, keepdim: bool) -> Result<Self> {
        let axes = self.axes(op, axes)?;
        Var::apply(Op::from(Reduce::new(reduction, axes, keepdim)), &[self.into()])
    }

    /// The axes that are meant, ascending.
    pub(super) fn axes(&self, op: &'static str, axes: &Axes) -> Result<Vec<usize>> {
        let rank = self.shape().len();
        // Axes of size 1 are told from others by a shape that has none.
        let marked: Shape = (0..rank).map(|axis| axis + 2).collect();
        match axes.keepdim(op, &marked) {
            Ok(kept) => Ok((0..rank).filter(|&axis| kept[axis] == 1).collect()),
            // The same error, with the variable's own shape.
            Err(error) => Err(axes.keepdim(op, self.shape()).err().unwrap_or(error).into()),
        }
    }
}
