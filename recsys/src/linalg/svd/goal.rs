//! When a decomposition is good enough: by its residuals, or by what these say of its values.

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// No residual above this share of the largest value.
    Residual(f64),
    /// No value off by more than this share of itself.
    Values(f64),
}

/// Values below this share of the largest count as zeros, and only their residuals, relative to the largest, as errors.
const VANISHING: f64 = 1e-12;
/// Values further down than this many are not looked at for a gap.
const HORIZON: usize = 64;

impl Goal {
    pub(super) fn tolerance(self) -> f64 {
        match self {
            Self::Residual(tolerance) | Self::Values(tolerance) => tolerance,
        }
    }

    /// How far the first `k` triplets are from the goal: 1 or less if they have reached it. `values` and `residuals`
    /// (|Aᵀu - sv| where Av = su) may go beyond k.
    pub(super) fn distance(self, values: &[f64], residuals: &[f64], k: usize) -> f64 {
        match self {
            Self::Residual(tolerance) => {
                let worst = residuals[..k].iter().fold(0.0_f64, |m, &r| worse(m, r));
                worst / (tolerance * values[0])
            }
            Self::Values(tolerance) => value_error(values, residuals, k) / tolerance,
        }
    }
}

/// The larger; NaN is worse than everything.
fn worse(a: f64, b: f64) -> f64 {
    if b.is_nan() { f64::INFINITY } else { a.max(b) }
}

/// A bound on the relative error of the first `k` values.
///
/// They are the roots of Ritz values θ = s² of AᵀA, whose vectors have residuals r = s |Aᵀu - sv|. A value of AᵀA lies
/// within r of θ; and those of a group of Ritz vectors are off by no more than the squares of the group's residuals over
/// the gap to what lies outside it (Parlett, The Symmetric Eigenvalue Problem, section 11.7). The groups tried for a value
/// are those from it downwards, each against the next value and its residual; the best counts. That the next value below
/// is in the Krylov space at all is what the random start of the block is for.
pub(super) fn value_error(values: &[f64], residuals: &[f64], k: usize) -> f64 {
    let theta = |i: usize| values[i] * values[i];
    let r = |i: usize| values[i] * residuals[i];
    let mut worst = 0.0_f64;
    for i in 0..k {
        let (mut best, mut squares) = (r(i), 0.0);
        for last in i..(i + HORIZON).min(values.len().saturating_sub(1)) {
            squares += r(last) * r(last);
            let gap = theta(last) - theta(last + 1) - r(last + 1);
            if gap > 0.0 {
                best = best.min(squares / gap);
            }
        }
        // s is off by half of what s² is. What rounding alone may have made has no digits to be right.
        let vanishing = values[i] <= VANISHING * values[0];
        let error = match (vanishing, values[0] == 0.0) {
            (_, true) => residuals[i],
            (true, false) => residuals[i] / values[0],
            (false, false) => best / (2.0 * theta(i)),
        };
        worst = worse(worst, error);
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_bounded_by_the_best_group() {
        // θ = 9, 4 and 1 with residuals 3 · 0.01 and so on: r²/gap over 2 θ.
        let (values, residuals) = ([3.0, 2.0, 1.0], [0.01, 0.02, 0.0]);
        let first = 0.03_f64.powi(2) / (9.0 - 4.0 - 0.04) / 18.0;
        let second = 0.04_f64.powi(2) / (4.0 - 1.0) / 8.0;
        assert!((value_error(&values, &residuals, 1) - first).abs() < 1e-15);
        assert!((value_error(&values, &residuals, 2) - second.max(first)).abs() < 1e-15);
        // A pair of equal values is taken together; with nothing known beyond it, the residual itself is left.
        let (values, residuals) = ([2.0, 2.0, 1.0], [0.01, 0.01, 0.0]);
        let pair = 2.0 * 0.02_f64.powi(2) / 3.0 / 8.0;
        assert!((value_error(&values, &residuals, 2) - pair).abs() < 1e-15);
        assert!((value_error(&values[..2], &residuals[..2], 2) - 0.02 / 8.0).abs() < 1e-15);
        assert_eq!(value_error(&values, &[f64::NAN; 3], 1), f64::INFINITY);
        assert_eq!(value_error(&[0.0; 3], &[0.0; 3], 2), 0.0);
    }

    #[test]
    fn goals_are_reached_at_one() {
        assert!((Goal::Residual(0.01).distance(&[2.0, 1.0], &[0.0, 0.02], 2) - 1.0).abs() < 1e-12);
        assert!(Goal::Values(1e-3).distance(&[2.0, 1.0], &[1e-3, 0.9], 1) < 1.0);
        assert_eq!(Goal::Residual(0.1).distance(&[1.0], &[f64::NAN], 1), f64::INFINITY);
    }
}
