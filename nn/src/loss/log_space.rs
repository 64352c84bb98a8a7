//! Sums of probabilities that are too small to be held, by their logarithms.

/// ln Σ exp(x); -∞ of nothing, NaN where one is NaN or +∞.
pub(super) fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        // The maximum passes over NaN. A sum does not, and that of others is what they are.
        return values.fold(most, |sum, x| sum + x);
    }
    most + values.map(|x| (x - most).exp()).sum::<f64>().ln()
}
