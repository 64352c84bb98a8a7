//! Making tensors: from data, constant, counted, drawn at random.

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

use crate::cpu::buffer::Buffer;
use crate::cpu::threads;
use crate::{Element, Error, Float, Number, Result, Shape, Tensor};

/// The generator that Cairn's own code draws from: a small, fast generator whose stream for a seed is fixed by its
/// definition (PCG XSL RR 128/64, O'Neill 2014), so results do not change with a library version. It can be
/// serialised, for checkpoints that resume bit for bit. Every drawing function accepts any other [`rand::Rng`] too.
pub type Rng = rand_pcg::Pcg64;

/// A generator for a seed.
///
/// ```
/// use cairn_tensor::{rng, Tensor};
/// let a = Tensor::<f32>::normal([2, 2], 0.0, 1.0, &mut rng(7))?;
/// let b = Tensor::<f32>::normal([2, 2], 0.0, 1.0, &mut rng(7))?;
/// assert_eq!(a, b);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
pub fn rng(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

impl<T: Element> Tensor<T> {
    /// A tensor of the given values in row-major order. Takes over the vector's memory without a copy.
    ///
    /// # Errors
    /// [`Error::WrongLength`] when the shape holds another number of values.
    pub fn from_vec(data: Vec<T>, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if shape.count() != data.len() {
            return Err(Error::WrongLength { op: "from_vec", shape, len: data.len() });
        }
        Ok(Self::from_buffer(Buffer::from_vec("from_vec", data)?, shape))
    }

    /// A tensor with a copy of the given values in row-major order.
    ///
    /// # Errors
    /// [`Error::WrongLength`] when the shape holds another number of values.
    pub fn from_slice(data: &[T], shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if shape.count() != data.len() {
            return Err(Error::WrongLength { op: "from_slice", shape, len: data.len() });
        }
        Self::build(shape, |out| out.copy_from_slice(data))
    }

    /// A tensor whose elements, in row-major order, `fill` writes into recycled memory: the cheapest way to assemble one.
    ///
    /// The slice holds arbitrary old values on entry; write every element.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let squares = Tensor::<u32>::build([4], |out| {
    ///     for (i, x) in out.iter_mut().enumerate() {
    ///         *x = (i * i) as u32;
    ///     }
    /// })?;
    /// assert_eq!(squares.to_vec(), [0, 1, 4, 9]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for a shape that memory cannot hold; so for every function that makes a tensor.
    pub fn build(shape: impl Into<Shape>, fill: impl FnOnce(&mut [T])) -> Result<Self> {
        let shape = shape.into();
        let mut buffer = Buffer::unspecified("allocate", shape.count())?;
        fill(&mut buffer);
        Ok(Self::from_buffer(buffer, shape))
    }

    /// As [`build`](Self::build), for filling that can fail.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], as [`build`](Self::build); those of `fill`.
    pub fn try_build<E: From<Error>>(
        shape: impl Into<Shape>,
        fill: impl FnOnce(&mut [T]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let shape = shape.into();
        let mut buffer = Buffer::unspecified("allocate", shape.count())?;
        fill(&mut buffer)?;
        Ok(Self::from_buffer(buffer, shape))
    }

    /// All elements 0 (`false` for truth values).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for a shape that memory cannot hold.
    pub fn zeros(shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        Ok(Self::from_buffer(Buffer::zeroed("zeros", shape.count())?, shape))
    }

    /// All elements equal.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for a shape that memory cannot hold.
    pub fn full(shape: impl Into<Shape>, value: T) -> Result<Self> {
        Self::build(shape, |out| out.fill(value))
    }

    /// A tensor of rank 0.
    pub fn scalar(value: T) -> Self {
        // A few bytes: the allocator aborts the process before it lets this fail.
        crate::error::or_panic(Self::full((), value))
    }

    /// Independent draws from any distribution, in row-major order.
    ///
    /// ```
    /// use cairn_tensor::{rng, Tensor};
    /// use rand_distr::Poisson;
    /// let counts = Tensor::<f64>::random([100], &Poisson::new(3.0).unwrap(), &mut rng(1))?;
    /// assert!(counts.to_vec().iter().all(|&n| n >= 0.0 && n.fract() == 0.0));
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for a shape that memory cannot hold.
    pub fn random<R: rand::Rng + ?Sized>(
        shape: impl Into<Shape>,
        distribution: &impl Distribution<T>,
        rng: &mut R,
    ) -> Result<Self> {
        Self::build(shape, |out| out.iter_mut().for_each(|x| *x = distribution.sample(rng)))
    }
}

impl<T: Number> Tensor<T> {
    /// All elements 1.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for a shape that memory cannot hold.
    pub fn ones(shape: impl Into<Shape>) -> Result<Self> {
        Self::full(shape, T::ONE)
    }

    /// `start`, `start + step`, … below `end` (above it for a negative step), of rank 1.
    ///
    /// Each element is computed as `start + i * step`, without accumulating rounding.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a step of 0 or arguments that are not finite.
    pub fn arange(start: T, end: T, step: T) -> Result<Self> {
        if let (Some(from), Some(to), Some(by)) = (start.whole(), end.whole(), step.whole()) {
            return Self::count_up(from.into(), to.into(), by.into());
        }
        let (from, to, by) = (start.to_f64(), end.to_f64(), step.to_f64());
        let count = ((to - from) / by).ceil();
        if by == 0.0 || !count.is_finite() {
            return Err(Error::bad_setting("arange", "step", by, "a finite number other than 0"));
        }
        // Rounded to the type, the last may reach the end, and a quotient that was rounded may be one too many.
        let at = |i: usize| T::from_f64(from + i as f64 * by);
        let mut count = count.max(0.0) as usize;
        while count > 0 && if by > 0.0 { at(count - 1) >= end } else { at(count - 1) <= end } {
            count -= 1;
        }
        Self::filled(count, at)
    }

    /// [`arange`](Self::arange) of integers, exact over the whole range.
    fn count_up(from: i128, to: i128, by: i128) -> Result<Self> {
        if by == 0 {
            let must = "a finite number other than 0";
            return Err(Error::bad_setting("arange", "step", 0.0, must));
        }
        let span = if by > 0 { to - from } else { from - to };
        let size = by.abs();
        let count = (span.max(0) + size - 1) / size;
        // The arguments were integers of 64 bits, and so is what lies between them, whatever products overflow on the way.
        let (from, by) = (from as i64, by as i64);
        Self::filled(usize::try_from(count).unwrap_or(usize::MAX), |i| {
            T::from_i64(from.wrapping_add((i as i64).wrapping_mul(by)))
        })
    }

    /// A vector of what `f` gives for each place.
    fn filled(len: usize, f: impl Fn(usize) -> T + Sync) -> Result<Self> {
        Self::build(len, |out| {
            threads::split_units(out, 1, 1, |first, out| {
                out.iter_mut().enumerate().for_each(|(i, x)| *x = f(first + i));
                false
            });
        })
    }

    /// The identity matrix of `n` rows.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for more rows than memory can hold.
    #[doc(alias = "identity")]
    pub fn eye(n: usize) -> Result<Self> {
        let mut eye = Self::zeros([n, n])?;
        eye.as_mut_slice()?.iter_mut().step_by(n + 1).for_each(|x| *x = T::ONE);
        Ok(eye)
    }
}

impl Tensor<u32> {
    /// The numbers below `n` in random order, each order equally likely.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for more than 2³² numbers.
    #[doc(alias("randperm", "shuffle"))]
    pub fn permutation<R: rand::Rng + ?Sized>(n: usize, rng: &mut R) -> Result<Self> {
        let Some(last) = u32::try_from(n.saturating_sub(1)).ok().filter(|_| n <= u32::MAX as usize) else {
            let (what, must) = ("the number", "below 2³²");
            return Err(Error::bad_setting("permutation", what, n, must));
        };
        Self::build(n, |out| {
            out.iter_mut().zip(0..=last).for_each(|(x, i)| *x = i);
            // Fisher and Yates.
            for i in (1..out.len()).rev() {
                out.swap(i, rng.random_range(0..=i));
            }
        })
    }
}

impl<T: Float> Tensor<T> {
    /// `count` values evenly spaced from `start` to `end`, both included.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for a shape that memory cannot hold.
    pub fn linspace(start: T, end: T, count: usize) -> Result<Self> {
        let (from, to) = (start.to_f64(), end.to_f64());
        let last = count.saturating_sub(1).max(1) as f64;
        Self::build(count, |out| {
            for (i, x) in out.iter_mut().enumerate() {
                let part = i as f64 / last;
                *x = T::from_f64(from * (1.0 - part) + to * part);
            }
        })
    }

    /// Independent draws from the normal distribution.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a negative or non-finite standard deviation.
    #[doc(alias("randn", "random_normal"))]
    pub fn normal<R: rand::Rng + ?Sized>(
        shape: impl Into<Shape>,
        mean: f64,
        std: f64,
        rng: &mut R,
    ) -> Result<Self> {
        if !(std >= 0.0 && std.is_finite()) {
            return Err(Error::bad_setting(
                "normal",
                "the standard deviation",
                std,
                "finite and not negative",
            ));
        }
        Self::build(shape, |out| {
            for x in out {
                let z: f64 = StandardNormal.sample(rng);
                *x = T::from_f64(mean + std * z);
            }
        })
    }

    /// 1 with probability `probability`, else 0, independently.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a probability outside [0, 1].
    #[doc(alias = "binomial")]
    pub fn bernoulli<R: rand::Rng + ?Sized>(
        shape: impl Into<Shape>,
        probability: f64,
        rng: &mut R,
    ) -> Result<Self> {
        if !(0.0..=1.0).contains(&probability) {
            let (what, must) = ("the probability", "between 0 and 1");
            return Err(Error::bad_setting("bernoulli", what, probability, must));
        }
        Self::build(shape, |out| {
            // A uniform draw from [0, 1) is below 1 always and below 0 never.
            out.iter_mut()
                .for_each(|x| *x = if rng.random::<f64>() < probability { T::ONE } else { T::ZERO });
        })
    }

    /// `count` indices drawn with replacement for each row of weights `[…, n]`, which need not add up to 1: shape
    /// `[…, count]`.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a weight that is negative or not finite, or a row without a positive one;
    /// [`Error::BadShape`] for a scalar.
    pub fn multinomial<R: rand::Rng + ?Sized>(&self, count: usize, rng: &mut R) -> Result<Tensor<u32>> {
        let op = "multinomial";
        let Some((&len, rows)) = self.shape().split_last() else {
            return Err(Error::bad_shape(op, self.shape(), "a row of weights is needed"));
        };
        let mut shape: Shape = rows.into();
        shape.push(count);
        let weights = self.row_major()?;
        let weights = &weights[..];
        // An axis of any length can stand beside one of 0.
        let mut sums = vec![0.0f64; if weights.is_empty() { 0 } else { len }];
        Tensor::try_build(shape, |out| {
            if count == 0 {
                return Ok(());
            }
            for (row, out) in out.chunks_exact_mut(count).enumerate() {
                let mut sum = 0.0;
                for (s, w) in sums.iter_mut().zip(&weights[row * len..][..len]) {
                    let weight = w.to_f64();
                    if !(weight >= 0.0 && weight.is_finite()) {
                        let (what, must) = ("a weight", "finite and not negative");
                        return Err(Error::bad_setting(op, what, weight, must));
                    }
                    sum += weight;
                    *s = sum;
                }
                if !(sum > 0.0 && sum.is_finite()) {
                    let (what, must) = ("the sum of a row of weights", "finite and above 0");
                    return Err(Error::bad_setting(op, what, sum, must));
                }
                for o in out {
                    let at = rng.random::<f64>() * sum;
                    // The first whose running sum is above: never one of weight 0. Rounding can reach the end.
                    let place = sums.partition_point(|&s| s <= at);
                    *o = place.min(sums.partition_point(|&s| s < sum)) as u32;
                }
            }
            Ok(())
        })
    }

    /// Independent draws from the uniform distribution on `[low, high)`.
    ///
    /// # Errors
    /// [`Error::BadSetting`] when `low < high` does not hold or the range is not finite.
    #[doc(alias = "rand")]
    pub fn uniform<R: rand::Rng + ?Sized>(
        shape: impl Into<Shape>,
        low: f64,
        high: f64,
        rng: &mut R,
    ) -> Result<Self> {
        let width = high - low;
        if !(width > 0.0 && width.is_finite()) {
            return Err(Error::bad_setting("uniform", "the width of the range", width, "finite and above 0"));
        }
        Self::build(shape, |out| {
            for x in out {
                let drawn = T::from_f64(low + width * rng.random::<f64>());
                // Rounding to a narrower type can reach `high`, which is excluded.
                *x = if drawn.to_f64() < high { drawn } else { T::from_f64(low) };
            }
        })
    }
}
