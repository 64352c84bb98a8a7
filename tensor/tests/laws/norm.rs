//! Normalisation of channels and groups of them against plain loops.

use cairn_tensor::{Error, Tensor, rng};
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

proptest! {
    #[test]
    fn groups_have_the_moments_asked_for(
        batch in 1..4usize,
        pixels in 1..300usize,
        (groups, width) in (1..4usize, 1..5usize),
        seed: u64,
        far in -1e3..1e3f64,
    ) {
        let channels = groups * width;
        let shape = [batch, pixels, channels];
        let (x, nx) = view(&shape, seed, real);
        let x = x.add(&Tensor::scalar(far)).unwrap();
        let (scale, ns) = view(&[channels], seed ^ 1, real);
        let (shift, nt) = view(&[channels], seed ^ 2, real);
        let normal = x.group_norm(groups, &scale, &shift, 1e-3).unwrap();
        let (g, ng) = view(&shape, seed ^ 3, real);
        let [dx, dscale, dshift] =
            x.group_norm_backward(&g, &normal.mean, &normal.variance, &scale, 1e-3).unwrap();
        let count = (pixels * width) as f64;
        let (mut wanted_scale, mut wanted_shift) = (vec![0.0; channels], vec![0.0; channels]);
        for b in 0..batch {
            for group in 0..groups {
                let members = || (0..pixels).flat_map(|p| (group * width..(group + 1) * width).map(move |c| [b, p, c]));
                let mean = members().map(|i| nx.at(&i)).sum::<f64>() / count;
                let variance = members().map(|i| (nx.at(&i) - mean).powi(2)).sum::<f64>() / count;
                prop_assert!((normal.mean.get(&[b, group]).unwrap() - mean - far).abs() < 1e-9);
                prop_assert!((normal.variance.get(&[b, group]).unwrap() - variance).abs() < 1e-9);
                let root = (variance + 1e-3).sqrt();
                let unit = |i: &[usize; 3]| (nx.at(i) - mean) / root;
                let along = |i: &[usize; 3]| ng.at(i) * ns.at(&i[2..]);
                let plain = members().map(|i| along(&i)).sum::<f64>() / count;
                let tilted = members().map(|i| along(&i) * unit(&i)).sum::<f64>() / count;
                for i in members() {
                    wanted_scale[i[2]] += ng.at(&i) * unit(&i);
                    wanted_shift[i[2]] += ng.at(&i);
                    let want = unit(&i) * ns.at(&i[2..]) + nt.at(&i[2..]);
                    prop_assert!((normal.output.get(&i).unwrap() - want).abs() < 1e-8);
                    let want = (along(&i) - plain - unit(&i) * tilted) / root;
                    prop_assert!((dx.get(&i).unwrap() - want).abs() < 1e-7 * want.abs().max(1.0), "at {:?}", i);
                }
            }
        }
        for (got, want) in dscale.iter().zip(wanted_scale).chain(dshift.iter().zip(wanted_shift)) {
            prop_assert!((got - want).abs() < 1e-7 * want.abs().max(1.0));
        }
    }
}

#[test]
fn groups_that_do_not_fit_are_refused() {
    let x = Tensor::<f32>::zeros([2, 5, 6]).unwrap();
    let (six, five) = (Tensor::ones([6]).unwrap(), Tensor::ones([5]).unwrap());
    for (x, groups) in [(&x, 4), (&x, 0), (&six, 1)] {
        let error = x.group_norm(groups, &six, &six, 1e-5).unwrap_err();
        assert!(error.to_string().contains("divisible by the number of groups"), "{error}");
    }
    assert!(matches!(x.group_norm(3, &five, &six, 1e-5), Err(Error::ShapeMismatch { op: "group_norm", .. })));
    let normal = x.group_norm(3, &six, &six, 1e-5).unwrap();
    let back = |g: &Tensor, mean: &Tensor| x.group_norm_backward(g, mean, &normal.variance, &six, 1e-5);
    assert!(back(&x, &normal.mean).is_ok());
    assert!(matches!(back(&six, &normal.mean), Err(Error::ShapeMismatch { op: "group_norm_backward", .. })));
    assert!(matches!(back(&x, &six), Err(Error::ShapeMismatch { op: "group_norm_backward", .. })));
    let none = Tensor::<f32>::zeros([0, 5, 6]).unwrap().group_norm(3, &six, &six, 1e-5).unwrap();
    assert_eq!((none.output.shape(), none.mean.shape()), (&[0, 5, 6][..], &[0, 3][..]));
}

proptest! {
    #[test]
    fn rows_have_the_moments_asked_for(rows in 1..90usize, features in 1..300usize, seed: u64) {
        let shape = [rows, features];
        let (x, nx) = view(&shape, seed, real);
        let (g, ng) = view(&shape, seed ^ 1, real);
        let (scale, ns) = view(&[features], seed ^ 2, real);
        let (shift, nt) = view(&[features], seed ^ 3, real);
        let normal = x.layer_norm(&scale, &shift, 1e-3).unwrap();
        let of_layer = x.layer_norm_backward(&g, &normal.mean, &normal.inverse, &scale).unwrap();
        let (output, inverse) = x.rms_norm(&scale, 1e-3).unwrap();
        let of_rms = x.rms_norm_backward(&g, &inverse, &scale).unwrap();
        let near = |got: f64, want: f64| (got - want).abs() < 1e-8 * want.abs().max(1.0);
        let mut sums = [(); 3].map(|()| vec![0.0; features]);
        for r in 0..rows {
            let mean_of = |f: &dyn Fn(usize) -> f64| (0..features).map(f).sum::<f64>() / features as f64;
            for centred in [true, false] {
                let mean = if centred { mean_of(&|c| nx.at(&[r, c])) } else { 0.0 };
                let root = (mean_of(&|c| (nx.at(&[r, c]) - mean).powi(2)) + 1e-3).sqrt();
                let unit = |c: usize| (nx.at(&[r, c]) - mean) / root;
                let along = |c: usize| ng.at(&[r, c]) * ns.at(&[c]);
                let plain = if centred { mean_of(&along) } else { 0.0 };
                let tilted = mean_of(&|c| along(c) * unit(c));
                let (y, dx, saved) = match centred {
                    true => (&normal.output, &of_layer[0], &normal.inverse),
                    false => (&output, &of_rms[0], &inverse),
                };
                prop_assert!(near(saved.get(&[r]).unwrap(), 1.0 / root));
                for c in 0..features {
                    let shift = if centred { nt.at(&[c]) } else { 0.0 };
                    prop_assert!(near(y.get(&[r, c]).unwrap(), unit(c) * ns.at(&[c]) + shift));
                    prop_assert!(near(dx.get(&[r, c]).unwrap(), (along(c) - plain - unit(c) * tilted) / root));
                    sums[if centred { 0 } else { 2 }][c] += ng.at(&[r, c]) * unit(c);
                    sums[1][c] += if centred { ng.at(&[r, c]) } else { 0.0 };
                }
            }
        }
        let got = [&of_layer[1], &of_layer[2], &of_rms[1]];
        for (got, want) in got.iter().zip(&sums) {
            prop_assert!(got.iter().zip(want).all(|(got, &want)| near(got, want)));
        }
    }
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let x = Tensor::<f32>::zeros([2, 5, 6]).unwrap();
    let (six, five) = (Tensor::ones([6]).unwrap(), Tensor::ones([5]).unwrap());
    assert!(matches!(x.layer_norm(&six, &five, 1e-5), Err(Error::ShapeMismatch { op: "layer_norm", .. })));
    assert!(matches!(x.rms_norm(&five, 1e-5), Err(Error::ShapeMismatch { op: "rms_norm", .. })));
    let nothing = Tensor::<f32>::zeros([3, 0]).unwrap();
    let none = Tensor::zeros([0]).unwrap();
    assert!(matches!(nothing.layer_norm(&none, &none, 1e-5), Err(Error::EmptyReduction { .. })));
    assert!(matches!(nothing.rms_norm(&none, 1e-5), Err(Error::EmptyReduction { .. })));
    let normal = x.layer_norm(&six, &six, 1e-5).unwrap();
    let back = |g: &Tensor, mean: &Tensor| x.layer_norm_backward(g, mean, &normal.inverse, &six);
    assert!(back(&x, &normal.mean).is_ok());
    assert!(matches!(back(&six, &normal.mean), Err(Error::ShapeMismatch { op: "layer_norm_backward", .. })));
    assert!(matches!(back(&x, &six), Err(Error::ShapeMismatch { op: "layer_norm_backward", .. })));
    assert!(matches!(
        x.rms_norm_backward(&x, &six, &six),
        Err(Error::ShapeMismatch { op: "rms_norm_backward", .. })
    ));
    let empty = Tensor::<f32>::zeros([0, 6]).unwrap();
    let normal = empty.layer_norm(&six, &six, 1e-5).unwrap();
    let [dx, dscale, _] = empty.layer_norm_backward(&empty, &normal.mean, &normal.inverse, &six).unwrap();
    assert_eq!((dx.shape(), dscale.to_vec()), (&[0, 6][..], vec![0.0; 6]));
}

/// Runs of rows and what is left of them, rows of one feature, and none.
#[test]
fn a_sum_normalised_in_one_pass_has_the_bits_of_two() {
    for [rows, features] in [[0, 5], [1, 1], [3, 384], [700, 33]] {
        let mut random = rng(rows as u64);
        let mut normal = |shape: &[usize]| Tensor::<f32>::normal(shape, 1.0, 2.0, &mut random).unwrap();
        let (x, y) = (normal(&[rows, features]), normal(&[rows, features]));
        let (scale, shift) = (normal(&[features]), normal(&[features]));
        let want = x.add(&y).unwrap();
        let (sum, got) = x.add_layer_norm(&y, &scale, &shift, 1e-5).unwrap();
        let layer = want.layer_norm(&scale, &shift, 1e-5).unwrap();
        assert_eq!(
            [&sum, &got.output, &got.mean, &got.inverse],
            [&want, &layer.output, &layer.mean, &layer.inverse]
        );
        let (output, inverse) = want.rms_norm(&scale, 1e-5).unwrap();
        assert_eq!(x.add_rms_norm(&y, &scale, 1e-5).unwrap(), [want, output, inverse]);
    }
    let (x, one, two) =
        (Tensor::<f32>::ones([2, 3]).unwrap(), Tensor::ones([3]).unwrap(), Tensor::ones([2]).unwrap());
    for wrong in
        [x.add_layer_norm(&one, &one, &one, 0.0).map(|_| ()), x.add_rms_norm(&one, &one, 0.0).map(|_| ())]
    {
        assert!(matches!(wrong, Err(Error::ShapeMismatch { .. })), "{wrong:?}");
    }
    assert!(x.add_layer_norm(&x, &two, &one, 0.0).is_err() && x.add_rms_norm(&x, &two, 0.0).is_err());
}
