//! The useful work of a model: floating-point operations of its matrix products, a multiplication and an addition
//! counted as two.
//!
//! Only what cannot be avoided is counted, so that the share of the peak is comparable between libraries whatever they do
//! besides: forward, gradients of the weights, and gradients of a layer's input where another trained layer is below it.

/// Floating-point operations for one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Of a prediction: forward alone.
    pub predict: u64,
    /// Of a training step: forward, and both kinds of gradient.
    pub train: u64,
}

impl Work {
    /// Adds a layer whose forward pass takes `forward` operations. `inner` says that its input needs a gradient.
    #[must_use]
    pub fn layer(self, forward: u64, inner: bool) -> Self {
        let passes = if inner { 3 } else { 2 };
        Self { predict: self.predict + forward, train: self.train + passes * forward }
    }

    /// A stack of dense layers of these widths, the input's first.
    pub fn dense(widths: &[u64]) -> Self {
        let layers = widths.windows(2).enumerate();
        layers.fold(Self::default(), |work, (i, w)| work.layer(2 * w[0] * w[1], i > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multilayer_perceptron_counts_as_by_hand() {
        let (a, b, c) = (784 * 64, 64 * 64, 64 * 10);
        let work = Work::dense(&[784, 64, 64, 10]);
        assert_eq!(work.predict, 2 * (a + b + c));
        assert_eq!(work.train, 2 * (2 * a + 3 * b + 3 * c));
        assert_eq!(Work::dense(&[5]), Work::default());
    }
}
