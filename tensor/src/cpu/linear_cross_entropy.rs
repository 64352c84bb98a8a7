//! From some rows of logits to their losses and, in place, to the logits' gradients.
//!
//! The target of a row gives its label the weight t = (1 - ε) w(label), and every class the weight (ε / classes) w(class) beside it,
//! ε being the label smoothing and w the weights of the classes. With s the sum of all of a row's, and z its logits, the loss is
//! s ln Σ exp(z) - Σ t z, and the gradient s softmax(z) - t.

use crate::cpu::{Isa, Kernel, Vector, dispatch, lanes, threads};
use crate::{Element, Float};

/// Exponentials that are computed and summed at a time: a loop that vectorises, over what stays in the nearest cache.
const PIECE: usize = 256;

/// What is the same for all rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets<'a, T> {
    pub(crate) classes: usize,
    pub(crate) bias: Option<&'a [T]>,
    pub(crate) ignored: Option<u32>,
    pub(crate) smoothing: f64,
    pub(crate) class_weights: Option<&'a [T]>,
    /// The mean of the weights of all classes.
    pub(crate) mean_weight: f64,
}

/// Labels of some rows, and the rows' own weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub(crate) labels: &'a [u32],
    pub(crate) weights: Option<&'a [T]>,
}

impl<T: Float> Targets<'_, T> {
    /// The weight of a row in a mean.
    pub(crate) fn weight(&self, label: u32, row_weight: Option<T>) -> f64 {
        if Some(label) == self.ignored {
            return 0.0;
        }
        let class = self.class_weights.map_or(1.0, |weights| weights[label as usize].to_f64());
        class * row_weight.map_or(1.0, Element::to_f64)
    }
}

/// The losses of rows of logits without their bias, and, if `derive`, in place of the logits their gradients.
pub(crate) fn losses<T: Float>(
    targets: &Targets<'_, T>,
    rows: Rows<'_, T>,
    logits: &mut [T],
    losses: &mut [T],
    derive: bool,
) {
    let classes = targets.classes;
    let some = (threads::GRAIN / (classes * 8)).max(1);
    threads::split_together(losses, [logits], (some, some * classes), |i, losses, [logits]| {
        let first = i * some;
        let rows = Rows {
            labels: &rows.labels[first..][..losses.len()],
            weights: rows.weights.map(|weights| &weights[first..][..losses.len()]),
        };
        dispatch(Losses { targets, rows, logits, losses, derive });
    });
}

struct Losses<'a, T> {
    targets: &'a Targets<'a, T>,
    rows: Rows<'a, T>,
    logits: &'a mut [T],
    losses: &'a mut [T],
    derive: bool,
}

impl<T: Float> Kernel for Losses<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Losses { targets, rows, logits, losses, derive } = self;
        for (i, (logits, loss)) in logits.chunks_exact_mut(targets.classes).zip(losses).enumerate() {
            let weight = rows.weights.map_or(T::ONE, |weights| weights[i]);
            // A row of no weight has no part in the loss, whatever its logits.
            if Some(rows.labels[i]) == targets.ignored || weight == T::ZERO {
                *loss = T::ZERO;
                if derive {
                    logits.fill(T::ZERO);
                }
                continue;
            }
            *loss = targets.row::<S>(rows.labels[i] as usize, weight, logits, derive);
        }
    }
}

impl<T: Float> Targets<'_, T> {
    #[inline(always)]
    fn row<S: Isa>(&self, label: usize, weight: T, logits: &mut [T], derive: bool) -> T {
        if let Some(bias) = self.bias {
            logits.iter_mut().zip(bias).for_each(|(z, &b)| *z += b);
        }
        let of_label = self.class_weights.map_or(1.0, |weights| weights[label].to_f64());
        let of_label = T::from_f64((1.0 - self.smoothing) * of_label);
        let (spread, all) = (self.smoothing / self.classes as f64, self.smoothing * self.mean_weight);
        let (spread, total) = (T::from_f64(spread), of_label + T::from_f64(all));
        let most = greatest::<S, T>(logits);
        let shift = if most == T::NEG_INFINITY { T::ZERO } else { most };
        // Σ t (z - shift): what is left is small, where both terms of the loss may be large.
        let mut hit = of_label * (logits[label] - shift);
        if self.smoothing > 0.0 {
            let sum = match self.class_weights {
                None => lanes::fold(logits, T::ZERO, |z| z - shift, |a, b| a + b),
                Some(weights) => {
                    logits.iter().zip(weights).map(|(&z, &w)| w * (z - shift)).fold(T::ZERO, |a, b| a + b)
                }
            };
            hit += spread * sum;
        }
        let sum = exponentials::<S, T>(logits, shift, derive);
        if derive {
            let factor = weight * total / sum;
            logits.iter_mut().for_each(|z| *z *= factor);
            if self.smoothing > 0.0 {
                let spread = weight * spread;
                match self.class_weights {
                    None => logits.iter_mut().for_each(|z| *z = *z - spread),
                    Some(weights) => logits.iter_mut().zip(weights).for_each(|(z, &w)| *z = *z - spread * w),
                }
            }
            logits[label] = logits[label] - weight * of_label;
        }
        weight * (total * sum.ln::<S>() - hit)
    }
}

/// Σ exp(z - shift), with the exponentials in place of the logits if they are kept; those below 2e-38 are 0.
#[inline(always)]
fn exponentials<S: Isa, T: Float>(logits: &mut [T], shift: T, keep: bool) -> T {
    let mut sum = T::ZERO;
    let mut piece = [T::ZERO; PIECE];
    for logits in logits.chunks_mut(PIECE) {
        let piece = &mut piece[..logits.len()];
        for (e, &z) in piece.iter_mut().zip(&*logits) {
            *e = (z - shift).exp_or_zero::<S>();
        }
        sum += lanes::fold(piece, T::ZERO, |e| e, |a, b| a + b);
        if keep {
            logits.copy_from_slice(piece);
        }
    }
    sum
}

/// The greatest; what is NaN is passed over.
#[inline(always)]
fn greatest<S: Isa, T: Float>(row: &[T]) -> T {
    let mut most = T::Vector::<S>::splat(T::NEG_INFINITY);
    let (registers, rest) = T::Vector::<S>::chunks(row);
    for x in registers {
        most = T::Vector::<S>::load(x).greater(most);
    }
    let lanes = most.to_array();
    let all = lanes.as_ref().iter().chain(rest);
    all.fold(T::NEG_INFINITY, |most, &x| if x > most { x } else { most })
}
