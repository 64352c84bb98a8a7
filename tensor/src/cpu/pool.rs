//! Pooling over windows of an image: maximum and mean, and their gradients.
//!
//! Channels are last, so each tap of a window is a run of channels and every loop here is one over channels. The maximum's
//! gradient goes to the first tap that equals it, found again from input and output, which are kept by the layers around
//! anyway: no indices are stored.

use crate::Float;
use crate::cpu::{Isa, Kernel, Vector, dispatch, threads};

/// The pixels of one window along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) step: usize,
}

impl Span {
    #[inline(always)]
    fn pixels(self) -> impl Iterator<Item = usize> {
        (self.start..self.end).step_by(self.step)
    }
}

/// The windows on images of one size.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    /// Height, width and channels.
    pub(crate) image: [usize; 3],
    pub(crate) rows: Vec<Span>,
    pub(crate) columns: Vec<Span>,
}

impl Windows {
    fn image_len(&self) -> usize {
        self.image.iter().product()
    }

    fn output_len(&self) -> usize {
        self.rows.len() * self.columns.len() * self.image[2]
    }

    /// Calls `f` for every tap: its window, and where its channels start within the image.
    #[inline(always)]
    fn for_each_tap(&self, window: usize, mut f: impl FnMut(usize)) {
        let [_, width, channels] = self.image;
        let (y, x) = (window / self.columns.len(), window % self.columns.len());
        let (rows, columns) = (self.rows[y], self.columns[x]);
        // Not `step_by`, which divides to know its length.
        let mut row = rows.start;
        while row < rows.end {
            let mut column = columns.start;
            while column < columns.end {
                f((row * width + column) * channels);
                column += columns.step;
            }
            row += rows.step;
        }
    }
}

/// How the taps of a window become one number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reduce<'a, T> {
    Max,
    /// The sum over one number of pixels for each window.
    Mean(&'a [T]),
}

/// Pools images one after the other.
pub(crate) fn pool<T: Float>(windows: &Windows, reduce: Reduce<'_, T>, x: &[T], out: &mut [T]) {
    let channels = windows.image[2];
    if out.is_empty() || channels == 0 {
        return;
    }
    let taps = taps(windows);
    threads::split_units(out, channels, channels * taps, |first, out| {
        dispatch(Pool { windows, reduce, x, first, out });
        false
    });
}

/// Taps of an average window.
fn taps(windows: &Windows) -> usize {
    let mean = |spans: &[Span]| {
        spans.iter().map(|span| span.pixels().count()).sum::<usize>().div_ceil(spans.len().max(1))
    };
    mean(&windows.rows) * mean(&windows.columns)
}

/// Some windows, counted over all images.
struct Pool<'a, T> {
    windows: &'a Windows,
    reduce: Reduce<'a, T>,
    x: &'a [T],
    first: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Pool<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Pool { windows, reduce, x, first, out } = self;
        let channels = windows.image[2];
        let count = windows.rows.len() * windows.columns.len();
        for (i, out) in out.chunks_exact_mut(channels).enumerate() {
            let (image, window) = ((first + i) / count, (first + i) % count);
            let x = &x[image * windows.image_len()..][..windows.image_len()];
            match reduce {
                Reduce::Max => {
                    out.fill(T::NEG_INFINITY);
                    windows.for_each_tap(window, |tap| {
                        for (o, &x) in out.iter_mut().zip(&x[tap..tap + channels]) {
                            // NaN stays once it is met.
                            *o = if x > *o || x.is_nan() { x } else { *o };
                        }
                    });
                }
                Reduce::Mean(counts) => {
                    out.fill(T::ZERO);
                    windows.for_each_tap(window, |tap| {
                        out.iter_mut().zip(&x[tap..tap + channels]).for_each(|(o, &x)| *o += x);
                    });
                    // Divided: the mean of equal numbers is that number.
                    out.iter_mut().for_each(|o| *o = *o / counts[window]);
                }
            }
        }
    }
}

/// What the gradient of a pooled image needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spread<'a, T> {
    /// Input and output.
    Max(&'a [T], &'a [T]),
    /// One number of pixels for each window.
    Mean(&'a [T]),
}

/// The gradient of the images from that of what was pooled.
pub(crate) fn pool_gradient<T: Float>(
    windows: &Windows,
    spread: Spread<'_, T>,
    gradient: &[T],
    out: &mut [T],
) {
    let (image_len, output_len) = (windows.image_len(), windows.output_len());
    if out.is_empty() || output_len == 0 {
        out.fill(T::ZERO);
        return;
    }
    threads::split_units(out, image_len, output_len * taps(windows), |first, out| {
        dispatch(Gradient { windows, spread, gradient, first, out });
        false
    });
}

/// Some images.
struct Gradient<'a, T> {
    windows: &'a Windows,
    spread: Spread<'a, T>,
    gradient: &'a [T],
    first: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Gradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Gradient { windows, spread, gradient, first, out } = self;
        let (image_len, channels) = (windows.image_len(), windows.image[2]);
        let count = windows.rows.len() * windows.columns.len();
        for (i, out) in out.chunks_exact_mut(image_len).enumerate() {
            out.fill(T::ZERO);
            let image = first + i;
            for window in 0..count {
                let at = (image * count + window) * channels;
                let g = &gradient[at..at + channels];
                match spread {
                    Spread::Max(x, y) => {
                        let (x, y) = (&x[image * image_len..][..image_len], &y[at..at + channels]);
                        max_gradient::<T, S>(windows, window, (x, y, g), out);
                    }
                    Spread::Mean(counts) => {
                        let factor = T::ONE / counts[window];
                        windows.for_each_tap(window, |tap| {
                            out[tap..tap + channels].iter_mut().zip(g).for_each(|(o, &g)| *o += g * factor);
                        });
                    }
                }
            }
        }
    }
}

/// Gives each channel's gradient to the first tap that equals the maximum.
#[inline(always)]
fn max_gradient<T: Float, S: Isa>(
    windows: &Windows,
    window: usize,
    (x, y, g): (&[T], &[T], &[T]),
    out: &mut [T],
) {
    let lanes = T::Vector::<S>::LANES;
    let channels = windows.image[2];
    let whole = channels / lanes * lanes;
    assert!(
        y.len() == channels && g.len() == channels && x.len() == windows.image_len() && x.len() == out.len()
    );
    for c in (0..whole).step_by(lanes) {
        // SAFETY: a register from `c` on lies within the channels; windows' taps are pixels of the image.
        unsafe {
            let y = T::Vector::<S>::read(y.as_ptr().add(c));
            // What no tap has taken yet.
            let mut left = T::Vector::<S>::read(g.as_ptr().add(c));
            windows.for_each_tap(window, |tap| {
                let to = out.as_mut_ptr().add(tap + c);
                let [given, rest] = T::Vector::<S>::read(x.as_ptr().add(tap + c)).split_where_equal(y, left);
                T::Vector::<S>::read(to).add(given).write(to);
                left = rest;
            });
        }
    }
    for c in whole..channels {
        let mut left = g[c];
        windows.for_each_tap(window, |tap| {
            if x[tap + c] == y[c] || x[tap + c].is_nan() {
                out[tap + c] += left;
                left = T::ZERO;
            }
        });
    }
}

/// For each pooled number the tap that it came from: the first that equals it, or is NaN.
pub(crate) fn positions<T: Float>(windows: &Windows, x: &[T], y: &[T], out: &mut [u8]) {
    let channels = windows.image[2];
    if out.is_empty() || channels == 0 {
        return;
    }
    threads::split_units(out, channels, channels * taps(windows), |first, out| {
        dispatch(Places { windows, x, y, first, out });
        false
    });
}

/// Some windows, counted over all images.
struct Places<'a, T> {
    windows: &'a Windows,
    x: &'a [T],
    y: &'a [T],
    first: usize,
    out: &'a mut [u8],
}

impl<T: Float> Kernel for Places<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Places { windows, x, y, first, out } = self;
        let (lanes, channels, image_len) = (T::Vector::<S>::LANES, windows.image[2], windows.image_len());
        let whole = channels / lanes * lanes;
        let count = windows.rows.len() * windows.columns.len();
        for (i, out) in out.chunks_exact_mut(channels).enumerate() {
            let (image, window) = ((first + i) / count, (first + i) % count);
            let x = &x[image * image_len..][..image_len];
            let y = &y[(first + i) * channels..][..channels];
            for c in (0..whole).step_by(lanes) {
                let mut place = [T::ZERO; 16];
                // SAFETY: a register from `c` on lies within the channels; windows' taps are pixels of the image; no
                // register has more than 16 lanes.
                unsafe {
                    let y = T::Vector::<S>::read(y.as_ptr().add(c));
                    let mut left = T::Vector::<S>::splat(T::ONE);
                    let (mut sum, mut tap_number) = (T::Vector::<S>::splat(T::ZERO), T::ZERO);
                    windows.for_each_tap(window, |tap| {
                        let [given, rest] =
                            T::Vector::<S>::read(x.as_ptr().add(tap + c)).split_where_equal(y, left);
                        sum = given.mul_add(T::Vector::<S>::splat(tap_number), sum);
                        left = rest;
                        tap_number += T::ONE;
                    });
                    sum.write(place.as_mut_ptr());
                }
                out[c..c + lanes].iter_mut().zip(place).for_each(|(o, p)| *o = p.to_f64() as u8);
            }
            for c in whole..channels {
                let (mut place, mut number) = (None, 0u8);
                windows.for_each_tap(window, |tap| {
                    if place.is_none() && (x[tap + c] == y[c] || x[tap + c].is_nan()) {
                        place = Some(number);
                    }
                    number = number.saturating_add(1);
                });
                out[c] = place.unwrap_or(0);
            }
        }
    }
}

/// The gradient of images from that of their maxima and the taps these came from. No window may overlap another.
pub(crate) fn spread<T: Float>(windows: &Windows, positions: &[u8], gradient: &[T], out: &mut [T]) {
    let (image_len, output_len) = (windows.image_len(), windows.output_len());
    if out.is_empty() || output_len == 0 {
        out.fill(T::ZERO);
        return;
    }
    threads::split_units(out, image_len, image_len, |first, out| {
        let range = first * output_len..(first + out.len() / image_len) * output_len;
        dispatch(SpreadPlaces {
            windows,
            positions: &positions[range.clone()],
            gradient: &gradient[range],
            out,
        });
        false
    });
}

/// Some whole images.
struct SpreadPlaces<'a, T> {
    windows: &'a Windows,
    positions: &'a [u8],
    gradient: &'a [T],
    out: &'a mut [T],
}

impl<T: Float> Kernel for SpreadPlaces<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let SpreadPlaces { windows, positions, gradient, out } = self;
        let (image_len, output_len) = (windows.image_len(), windows.output_len());
        let channels = windows.image[2];
        let images = positions.chunks_exact(output_len).zip(gradient.chunks_exact(output_len));
        for (out, (positions, gradient)) in out.chunks_exact_mut(image_len).zip(images) {
            // Pixels that no window covers.
            out.fill(T::ZERO);
            let each = positions.chunks_exact(channels).zip(gradient.chunks_exact(channels));
            for (window, (positions, gradient)) in each.enumerate() {
                let mut number = 0u8;
                windows.for_each_tap(window, |tap| {
                    let out = &mut out[tap..tap + channels];
                    for ((o, &place), &g) in out.iter_mut().zip(positions).zip(gradient) {
                        *o = if place == number { g } else { T::ZERO };
                    }
                    number = number.wrapping_add(1);
                });
            }
        }
    }
}
