//! Convolution, pooling and normalisation of images `[batch, height, width, channels]`: whole layers, with kernels of their
//! own for every gradient.

use cairn_tensor::{Float, Pool, Resize, Tensor, Window};

use super::when;
use crate::{Gradient, Result, Settings, Var};

impl<T: Float> Var<T> {
    /// A convolution with filters `[height, width, channels / groups, outputs]`, plus `bias` `[outputs]`, then max(·, 0) if
    /// `relu`: see [`Tensor::conv2d`].
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::{Tensor, Window};
    /// let image = Tensor::<f32>::ones([1, 5, 5, 2])?;
    /// let filter = Var::parameter(Tensor::ones([3, 3, 2, 4])?);
    /// let y = Var::from(image).conv2d(&filter, None, true, &Window::default(), 1)?;
    /// assert_eq!(y.shape(), [1, 3, 3, 4]);
    /// let gradients = y.sum(..)?.backward()?;
    /// assert_eq!(gradients.of(&filter)?.to_vec(), [9.0; 72]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the sizes do not fit together; so for all operations here.
    pub fn conv2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        window: &Window,
        groups: usize,
    ) -> Result<Self> {
        let value = self.value().conv2d(filter.value(), bias.map(Var::value), relu, window, groups)?;
        let (x, w, y) = (self.value().clone(), filter.value().clone(), relu.then(|| value.clone()));
        let window = *window;
        let backward = move |g: &Tensor<T>, [input, filter, bias]: [bool; 3]| {
            let g = match &y {
                Some(y) => y.relu_backward(g)?,
                None => g.clone(),
            };
            let (image, kernel) = ([x.shape()[1], x.shape()[2]], [w.shape()[0], w.shape()[1]]);
            Ok([
                when(input, || g.conv2d_input_gradient(&w, image, &window, groups))?,
                when(filter, || x.conv2d_filter_gradient(&g, kernel, &window, groups))?,
                when(bias, || sum_to_channels(&g))?,
            ])
        };
        let result = match bias {
            Some(bias) => Var::from_op("conv2d", value, [self, filter, bias], backward),
            None => Var::from_op("conv2d", value, [self, filter], move |g, [input, filter]| {
                let [input, filter, _] = backward(g, [input, filter, false])?;
                Ok([input, filter])
            }),
        };
        Ok(result.told(|| Settings::Conv { window, groups, relu, pool: None, extra: [0; 2] }))
    }

    /// [`conv2d`](Self::conv2d) and then [`max_pool2d`](Self::max_pool2d), where windows are apart without ever holding the
    /// whole image in between: see [`Tensor::conv2d_max_pool2d`].
    pub fn conv2d_max_pool2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        (window, groups): (&Window, usize),
        pool: &Pool,
    ) -> Result<Self> {
        if !pool.is_apart() {
            return self.conv2d(filter, bias, relu, window, groups)?.max_pool2d(pool);
        }
        let how = (window, groups);
        let pooled = self.value().conv2d_max_pool2d(filter.value(), bias.map(Var::value), relu, how, pool)?;
        let (x, w, value, window, pool) =
            (self.value().clone(), filter.value().clone(), pooled.output.clone(), *window, *pool);
        let backward = move |g: &Tensor<T>, wanted: [bool; 3]| {
            let gradients =
                x.conv2d_max_pool2d_backward(&w, &pooled, g, relu, (&window, groups), &pool, wanted)?;
            Ok(gradients.map(|gradient| gradient.map(Gradient::Dense)))
        };
        let result = match bias {
            Some(bias) => Var::from_op("conv2d_max_pool2d", value, [self, filter, bias], backward),
            None => Var::from_op("conv2d_max_pool2d", value, [self, filter], move |g, [input, filter]| {
                let [input, filter, _] = backward(g, [input, filter, false])?;
                Ok([input, filter])
            }),
        };
        Ok(result.told(|| Settings::Conv { window, groups, relu, pool: Some(pool), extra: [0; 2] }))
    }

    /// A convolution of sequences `[batch, steps, channels]` with filters `[steps, channels / groups, outputs]`: see
    /// [`Tensor::conv1d`].
    pub fn conv1d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        relu: bool,
        window: &Window,
        groups: usize,
    ) -> Result<Self> {
        let (&[_, _, _], &[_, _, _]) = (self.shape(), filter.shape()) else {
            let why = "[batch, steps, channels] and [steps, channels / groups, outputs] are needed";
            let (op, lhs, rhs) = ("conv1d", self.dims().clone(), filter.dims().clone());
            return Err(cairn_tensor::Error::ShapeMismatch { op, lhs, rhs, why }.into());
        };
        let (image, filter) = (self.unsqueeze(1)?, filter.unsqueeze(0)?);
        image.conv2d(&filter, bias, relu, &window.along_time(), groups)?.squeeze(1)
    }

    /// A transposed convolution with filters `[height, width, outputs / groups, channels]`: see
    /// [`Tensor::conv_transpose2d`].
    pub fn conv_transpose2d(
        &self,
        filter: &Self,
        bias: Option<&Self>,
        window: &Window,
        extra: [usize; 2],
        groups: usize,
    ) -> Result<Self> {
        let bias_value = bias.map(Var::value);
        let value = self.value().conv_transpose2d(filter.value(), bias_value, window, extra, groups)?;
        let (x, w, window) = (self.value().clone(), filter.value().clone(), *window);
        let backward = move |g: &Tensor<T>, [input, filter, bias]: [bool; 3]| {
            let kernel = [w.shape()[0], w.shape()[1]];
            Ok([
                // The operation is the transpose of a convolution, so its own transpose is that convolution.
                when(input, || g.conv2d(&w, None, false, &window, groups))?,
                when(filter, || g.conv2d_filter_gradient(&x, kernel, &window, groups))?,
                when(bias, || sum_to_channels(g))?,
            ])
        };
        let result = match bias {
            Some(bias) => Var::from_op("conv_transpose2d", value, [self, filter, bias], backward),
            None => Var::from_op("conv_transpose2d", value, [self, filter], move |g, [input, filter]| {
                let [input, filter, _] = backward(g, [input, filter, false])?;
                Ok([input, filter])
            }),
        };
        Ok(result.told(|| Settings::Conv { window, groups, relu: false, pool: None, extra }))
    }

    /// The maximum over each window; the gradient goes to the first one.
    pub fn max_pool2d(&self, pool: &Pool) -> Result<Self> {
        let value = self.value().max_pool2d(pool)?;
        let (x, y, pool) = (self.value().clone(), value.clone(), *pool);
        let result = Var::from_op("max_pool2d", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || x.max_pool2d_backward(&y, g, &pool))?])
        });
        Ok(result.told(|| Settings::Pool(pool)))
    }

    /// The mean over each window.
    pub fn avg_pool2d(&self, pool: &Pool) -> Result<Self> {
        let value = self.value().avg_pool2d(pool)?;
        let (shape, pool) = (self.dims().clone(), *pool);
        let result = Var::from_op("avg_pool2d", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.avg_pool2d_backward(&shape, &pool))?])
        });
        Ok(result.told(|| Settings::Pool(pool)))
    }

    /// Images at another height and width.
    pub fn resize2d(&self, size: [usize; 2], kind: Resize) -> Result<Self> {
        let value = self.value().resize2d(size, kind)?;
        let shape = self.dims().clone();
        let result = Var::from_op("resize2d", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.resize2d_backward(&shape, kind))?])
        });
        Ok(result.told(|| Settings::Resize(kind)))
    }

    /// Batch normalisation in training: by the statistics of this batch, which are returned with the result (mean and
    /// biased variance of each channel): see [`Tensor::batch_norm`].
    pub fn batch_norm(&self, scale: &Self, shift: &Self, epsilon: f64) -> Result<(Self, [Tensor<T>; 2])> {
        let normal = self.value().batch_norm(scale.value(), shift.value(), epsilon)?;
        let (x, gamma) = (self.value().clone(), scale.value().clone());
        let (mean, variance) = (normal.mean.clone(), normal.variance.clone());
        let var = Var::from_op("batch_norm", normal.output, [self, scale, shift], move |g, wanted| {
            if wanted == [false; 3] {
                return Ok([None, None, None]);
            }
            let [dx, dscale, dshift] = x.batch_norm_backward(g, &mean, &variance, &gamma, epsilon)?;
            let [input, scale, shift] = wanted;
            Ok([when(input, || Ok(dx))?, when(scale, || Ok(dscale))?, when(shift, || Ok(dshift))?])
        });
        Ok((var, [normal.mean, normal.variance]))
    }

    /// Batch normalisation in use: by a given mean and variance of each channel, which are constants.
    pub fn normalize(
        &self,
        mean: &Tensor<T>,
        variance: &Tensor<T>,
        scale: &Self,
        shift: &Self,
        epsilon: f64,
    ) -> Result<Self> {
        let value = self.value().normalize(mean, variance, scale.value(), shift.value(), epsilon)?;
        let (x, gamma, mean) = (self.value().clone(), scale.value().clone(), mean.clone());
        let told = (mean.clone(), variance.clone());
        let inverse = variance.add(&Tensor::scalar(T::from_f64(epsilon)))?.rsqrt()?;
        let result =
            Var::from_op("normalize", value, [self, scale, shift], move |g, [input, scale, shift]| {
                Ok([
                    when(input, || g.mul(&gamma.mul(&inverse)?))?,
                    when(scale, || sum_to_channels(&g.mul(&x.sub(&mean)?)?)?.mul(&inverse))?,
                    when(shift, || sum_to_channels(g))?,
                ])
            });
        Ok(result.told(|| Settings::Normalize { mean: told.0, variance: told.1, epsilon }))
    }

    /// Group normalisation (Wu and He 2018): within each item of the batch, each of `groups` groups of channels (the last
    /// axis) is brought to mean 0 and variance 1, then each channel scaled and shifted.
    pub fn group_norm(&self, groups: usize, scale: &Self, shift: &Self, epsilon: f64) -> Result<Self> {
        let (op, shape) = ("group_norm", self.dims().clone());
        let bad = |why: &'static str| cairn_tensor::Error::BadShape { op, shape: shape.clone(), why };
        let (Some((&batch, _)), Some((&channels, _))) = (shape.split_first(), shape.split_last()) else {
            return Err(bad("[batch, …, channels] is needed").into());
        };
        if shape.rank() < 2 || groups == 0 || channels % groups != 0 {
            return Err(bad(
                "[batch, …, channels] is needed, with channels divisible by the number of groups",
            )
            .into());
        }
        let pixels = shape.count().checked_div(batch * channels).unwrap_or(0);
        let grouped = [batch, pixels, groups, channels / groups];
        let x = self.value().reshape(grouped)?;
        let centred = x.sub(&x.mean_keepdim([1, 3])?)?;
        let variance = centred.square()?.mean_keepdim([1, 3])?;
        let inverse = variance.add(&Tensor::scalar(T::from_f64(epsilon)))?.rsqrt()?;
        let normal = centred.mul(&inverse)?;
        let flat = normal.reshape(&shape)?;
        let value = flat.mul(scale.value())?.add(shift.value())?;
        if value.shape() != self.shape() {
            return Err(bad("scale and shift must have one value for each channel").into());
        }
        let gamma = scale.value().clone();
        let result = Var::from_op(op, value, [self, scale, shift], move |g, [input, scale, shift]| {
            Ok([
                when(input, || {
                    let g = g.mul(&gamma)?.reshape(grouped)?;
                    let along = normal.mul(&g.mul(&normal)?.mean_keepdim([1, 3])?)?;
                    g.sub(&g.mean_keepdim([1, 3])?)?.sub(&along)?.mul(&inverse)?.reshape(&shape)
                })?,
                when(scale, || sum_to_channels(&g.mul(&flat)?))?,
                when(shift, || sum_to_channels(g))?,
            ])
        });
        Ok(result.told(|| Settings::Groups { groups, epsilon }))
    }
}

/// The sum over all axes but the last.
fn sum_to_channels<T: Float>(g: &Tensor<T>) -> cairn_tensor::Result<Tensor<T>> {
    let (&channels, rest) = g.shape().split_last().unwrap_or((&1, &[]));
    g.reshape([rest.iter().product(), channels])?.sum(0)
}
