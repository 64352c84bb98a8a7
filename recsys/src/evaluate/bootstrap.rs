//! How sure one can be of a figure: the bootstrap's percentile interval (Efron & Tibshirani 1993, chapter 13).

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::{Error, Result, check};

/// More say nothing that these do not.
const MOST: usize = 1 << 24;

/// The middle `level` of the figures that `statistic` gives for `resamples` draws of `n` out of `n` cases, with replacement.
/// `statistic` takes the numbers of the cases drawn.
///
/// # Errors
/// [`Error::Parameter`] for a level outside (0, 1) or no resamples.
pub(crate) fn interval(
    n: usize,
    level: f64,
    resamples: usize,
    seed: u64,
    statistic: impl Fn(&mut dyn Iterator<Item = usize>) -> f64,
) -> Result<(f64, f64)> {
    if !(level > 0.0 && level < 1.0) {
        return Err(Error::parameter("level", level, "above 0 and below 1"));
    }
    check::at_least_one("resamples", resamples)?;
    if resamples > MOST {
        return Err(Error::parameter("resamples", resamples, format!("at most {MOST}")));
    }
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut drawn: Vec<f64> =
        (0..resamples).map(|_| statistic(&mut (0..n).map(|_| rng.random_range(0..n)))).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| drawn[(share * (resamples - 1) as f64).round() as usize];
    Ok((at((1.0 - level) / 2.0), at((1.0 + level) / 2.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of 400 tosses of a coin has a standard error of 0.025: the 95 % interval is 0.098 wide.
    #[test]
    fn the_interval_of_a_mean_is_that_of_its_standard_error() {
        let mean = |rows: &mut dyn Iterator<Item = usize>| rows.map(|n| (n % 2) as f64).sum::<f64>() / 400.0;
        let (low, high) = interval(400, 0.95, 2000, 1, mean).unwrap();
        assert!((low - 0.451).abs() < 0.005 && (high - 0.549).abs() < 0.005, "{low} {high}");
        assert!(interval(400, 0.0, 10, 1, mean).is_err() && interval(400, f64::NAN, 10, 1, mean).is_err());
    }
}
