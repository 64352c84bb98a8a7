//! Normalisation of channels against plain loops.

use cairn_tensor::Tensor;
use proptest::prelude::*;

use crate::naive::{real, view};

proptest! {
    #[test]
    fn normalised_channels_have_the_moments_asked_for(rows in 2..700usize, channels in 1..40usize, seed: u64, far in -1e3..1e3f64) {
        let (x, nx) = view(&[rows, channels], seed, real);
        let x = x.add(&Tensor::scalar(far)).unwrap();
        let (scale, ns) = view(&[channels], seed ^ 1, real);
        let (shift, nt) = view(&[channels], seed ^ 2, real);
        let normal = x.batch_norm(&scale, &shift, 1e-3).unwrap();
        let column = |c: usize| (0..rows).map(move |r| (r, c));
        for c in 0..channels {
            let mean = column(c).map(|(r, c)| nx.at(&[r, c])).sum::<f64>() / rows as f64;
            let variance = column(c).map(|(r, c)| (nx.at(&[r, c]) - mean).powi(2)).sum::<f64>() / rows as f64;
            prop_assert!((normal.mean.get(&[c]).unwrap() - mean - far).abs() < 1e-9);
            prop_assert!((normal.variance.get(&[c]).unwrap() - variance).abs() < 1e-9);
            for (r, c) in column(c).step_by(97) {
                let want = (nx.at(&[r, c]) - mean) / (variance + 1e-3).sqrt() * ns.at(&[c]) + nt.at(&[c]);
                prop_assert!((normal.output.get(&[r, c]).unwrap() - want).abs() < 1e-8);
            }
        }
        // In f32 the variance survives a mean a thousand times the deviation.
        let narrow = x.cast::<f32>().unwrap();
        let (ones, zeros) = (Tensor::ones([channels]).unwrap(), Tensor::zeros([channels]).unwrap());
        let got = narrow.batch_norm(&ones, &zeros, 1e-3).unwrap().variance;
        let want = narrow.cast::<f64>().unwrap().batch_norm(&Tensor::ones([channels]).unwrap(), &Tensor::zeros([channels]).unwrap(), 1e-3).unwrap().variance;
        for (got, want) in got.iter().zip(want.iter()) {
            prop_assert!((f64::from(got) - want).abs() <= 1e-4 * want.max(1e-3), "{} for {}", got, want);
        }
    }
}
