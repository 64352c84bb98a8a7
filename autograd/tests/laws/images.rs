//! Derivatives of convolution, pooling, resizing and normalisation against central differences.

use cairn_autograd::{Var, gradcheck};
use cairn_tensor::{Pool, Resize, Tensor, Window, rng};
use proptest::prelude::*;

fn normal<const N: usize>(shape: [usize; N], seed: u64) -> Tensor<f64> {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

/// Kernel, image size, stride, dilation, padding along one axis.
fn axis() -> impl Strategy<Value = (usize, usize, usize, usize, [usize; 2])> {
    (1..4usize, 1..3usize, 1..3usize, 0..3usize, 0..3usize, 0..4usize).prop_map(
        |(kernel, stride, dilation, before, after, more)| {
            let reach = (kernel - 1) * dilation + 1;
            (kernel, reach.saturating_sub(before + after).max(1) + more, stride, dilation, [before, after])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn convolutions(
        rows in axis(),
        columns in axis(),
        (groups, depth, width) in (1..3usize, 1..3usize, 1..3usize),
        batch in 1..3usize,
        bias: bool,
        seed: u64,
    ) {
        let window = Window {
            stride: [rows.2, columns.2],
            dilation: [rows.3, columns.3],
            padding: [rows.4, columns.4],
        };
        let inputs = [
            normal([batch, rows.1, columns.1, groups * depth], seed),
            normal([rows.0, columns.0, depth, groups * width], seed ^ 1),
            normal([groups * width], seed ^ 2),
        ];
        gradcheck(&inputs[..2 + usize::from(bias)], |x| {
            x[0].conv2d(&x[1], x.get(2), false, &window, groups)
        })?;
        let output = window.output([rows.0, columns.0], [rows.1, columns.1]).unwrap();
        let inputs = [
            normal([batch, output[0], output[1], groups * width], seed),
            normal([rows.0, columns.0, depth, groups * width], seed ^ 1),
            normal([groups * depth], seed ^ 2),
        ];
        if window.transposed_output([rows.0, columns.0], output, [0, 0]).is_ok() {
            gradcheck(&inputs[..2 + usize::from(bias)], |x| {
                x[0].conv_transpose2d(&x[1], x.get(2), &window, [0, 0], groups)
            })?;
        }
    }

    #[test]
    fn convolution_with_relu_away_from_its_kink(seed: u64) {
        // A large bias of either sign: channels wholly above and wholly below zero.
        let x = normal([2, 4, 4, 2], seed).clamp(-2.0, 2.0).unwrap();
        let w = normal([3, 3, 2, 2], seed ^ 1).clamp(-2.0, 2.0).unwrap();
        let b = Tensor::from_vec(vec![100.0, -100.0], [2]).unwrap();
        gradcheck(&[x, w, b], |x| x[0].conv2d(&x[1], Some(&x[2]), true, &Window::default().padding([1, 1]), 1))?;
    }

    #[test]
    fn convolution_and_pooling_at_once_equal_one_after_the_other(
        (batch, height, width) in (1..4usize, 3..9usize, 3..9usize),
        (depth, filters) in (1..4usize, 1..40usize),
        (rows, columns, gap) in (1..3usize, 1..4usize, 0..2usize),
        (relu, bias) in any::<(bool, bool)>(),
        seed: u64,
    ) {
        let window = Window::default().padding([1, 0]);
        let inputs = [
            normal([batch, height, width, depth], seed),
            normal([3, 2, depth, filters], seed ^ 1),
            normal([filters], seed ^ 2),
        ];
        let pool = Pool::sliding([rows, columns], Window::default().stride([rows + gap, columns]));
        prop_assume!(width > columns);
        let both = |at_once: bool| {
            let x: Vec<Var<f64>> = inputs.iter().map(|x| Var::parameter(x.clone())).collect();
            let b = bias.then_some(&x[2]);
            let y = if at_once {
                x[0].conv2d_max_pool2d(&x[1], b, relu, (&window, 1), &pool)
            } else {
                x[0].conv2d(&x[1], b, relu, &window, 1).and_then(|y| y.max_pool2d(&pool))
            }.unwrap();
            let gradients = y.square().unwrap().sum(..).unwrap().backward().unwrap();
            let of = |x: &Var<f64>| gradients.of(x).unwrap().to_vec();
            (y.value().to_vec(), x[..2 + usize::from(bias)].iter().map(of).collect::<Vec<_>>())
        };
        let ((y, gradients), (want, want_gradients)) = (both(true), both(false));
        prop_assert_eq!(y, want);
        for (got, want) in gradients.iter().flatten().zip(want_gradients.iter().flatten()) {
            prop_assert!((got - want).abs() <= 1e-11 * want.abs().max(1.0), "{} for {}", got, want);
        }
    }

    #[test]
    fn sequences(kernel in 1..4usize, more in 0..5usize, seed: u64) {
        let inputs = [normal([2, kernel + more, 2], seed), normal([kernel, 2, 3], seed ^ 1), normal([3], seed ^ 2)];
        gradcheck(&inputs, |x| x[0].conv1d(&x[1], Some(&x[2]), false, &Window::default().stride([1, 2]), 1))?;
    }

    #[test]
    fn pooling(size in (1..4usize, 1..4usize), stride in (1..4usize, 1..4usize), pad: bool, more in (0..4usize, 0..4usize), seed: u64) {
        let padding = if pad { [size.0 / 2, size.1 / 2] } else { [0, 0] };
        let window = Window::default().stride([stride.0, stride.1]).padding(padding);
        let image = [size.0 + more.0, size.1 + more.1];
        // All different and far enough apart that differences cross no tie.
        let count = 2 * image[0] * image[1] * 3;
        let values: Vec<f64> = Tensor::permutation(count, &mut rng(seed)).unwrap().iter().map(|i: u32| f64::from(i) / 10.0).collect();
        let x = Tensor::from_vec(values, [2, image[0], image[1], 3]).unwrap();
        for pool in [
            Pool::sliding([size.0, size.1], window),
            Pool::sliding([size.0, size.1], window).count_padding(),
            Pool::adaptive([1 + image[0] / 2, 1 + image[1] / 3]),
        ] {
            gradcheck(std::slice::from_ref(&x), |x| x[0].max_pool2d(&pool))?;
            gradcheck(std::slice::from_ref(&x), |x| x[0].avg_pool2d(&pool))?;
        }
    }

    #[test]
    fn resizing(old in (1..5usize, 1..5usize), new in (1..8usize, 1..8usize), seed: u64) {
        for kind in [Resize::Nearest, Resize::Bilinear] {
            gradcheck(&[normal([2, old.0, old.1, 2], seed)], |x| x[0].resize2d([new.0, new.1], kind))?;
        }
    }

    #[test]
    fn normalisation(rows in 2..6usize, channels in 1..4usize, seed: u64) {
        let inputs = [normal([rows, 2, channels], seed), normal([channels], seed ^ 1), normal([channels], seed ^ 2)];
        gradcheck(&inputs, |x| Ok(x[0].batch_norm(&x[1], &x[2], 1e-3)?.0))?;
        let mean = normal([channels], seed ^ 3);
        let variance = normal([channels], seed ^ 4).square().unwrap();
        gradcheck(&inputs, |x| x[0].normalize(&mean, &variance, &x[1], &x[2], 1e-3))?;
    }

    #[test]
    fn group_normalisation(groups in 1..4usize, depth in 1..4usize, seed: u64) {
        let channels = groups * depth;
        let inputs = [normal([2, 3, 2, channels], seed), normal([channels], seed ^ 1), normal([channels], seed ^ 2)];
        gradcheck(&inputs, |x| x[0].group_norm(groups, &x[1], &x[2], 1e-3))?;
    }
}

#[test]
fn mistakes_are_errors() {
    let x = Var::from(Tensor::<f32>::ones([2, 4, 4, 3]).unwrap());
    let ones = Var::from(Tensor::<f32>::ones([3]).unwrap());
    let short = Var::from(Tensor::<f32>::ones([2]).unwrap());
    assert!(x.group_norm(2, &ones, &ones, 1e-5).unwrap_err().to_string().contains("divisible"));
    assert!(x.group_norm(0, &ones, &ones, 1e-5).is_err());
    assert!(x.group_norm(3, &short, &ones, 1e-5).is_err());
    assert!(x.batch_norm(&short, &ones, 1e-5).unwrap_err().to_string().contains("each channel"));
    assert!(x.conv1d(&ones, None, false, &Window::default(), 1).unwrap_err().to_string().contains("conv1d"));
    assert!(x.max_pool2d(&Pool::new([5, 1])).unwrap_err().to_string().contains("max_pool2d"));
    let none = Var::from(Tensor::<f32>::ones([0, 4, 4, 3]).unwrap());
    assert!(none.batch_norm(&ones, &ones, 1e-5).unwrap_err().to_string().contains("batch_norm"));
}
