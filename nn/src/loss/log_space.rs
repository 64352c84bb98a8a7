//! Sums of probabilities that are too small to be held, by their logarithms.

/// ln Σ exp(x); -∞ of nothing.
pub(super) fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + values.map(|x| (x - most).exp()).sum::<f64>().ln()
}
