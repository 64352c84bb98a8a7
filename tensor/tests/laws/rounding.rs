//! Values that are known exactly, where a formula that is right on paper loses digits, overflows on the way, or divides by zero.

use cairn_tensor::{Error, Pool, Recurrence, RecurrentOperands, RecurrentOptions, Resize, Returns, Tensor};

fn row(values: &[f32]) -> Tensor {
    Tensor::from_slice(values, [values.len()]).unwrap()
}

#[test]
fn the_mean_of_equal_numbers_is_that_number() {
    for n in [3, 41, 47, 55, 61, 82, 83, 94, 97, 1000] {
        let x = Tensor::<f32>::ones([n, 3]).unwrap();
        assert_eq!(x.mean(..).unwrap().item().unwrap(), 1.0, "{n}");
        assert_eq!(x.mean(0).unwrap().to_vec(), [1.0; 3], "{n}");
        assert_eq!(x.transpose(0, 1).unwrap().mean(1).unwrap().to_vec(), [1.0; 3], "{n}");
        assert_eq!(x.var(0, 0).unwrap().to_vec(), [0.0; 3], "{n}");
        assert_eq!(x.std(0, 1).unwrap().to_vec(), [0.0; 3], "{n}");
    }
    assert_eq!(Tensor::<f64>::ones([49]).unwrap().mean(..).unwrap().item().unwrap(), 1.0);
    let tenths = Tensor::full([6, 2], 0.1f32).unwrap();
    assert_eq!(tenths.std(0, 1).unwrap().to_vec(), [0.0; 2]);
}

#[test]
fn averages_over_windows_and_normalised_groups_of_ones_are_exact() {
    let ones = Tensor::<f32>::ones([1, 1, 41, 2]).unwrap();
    let pool = Pool::new([1, 41]);
    assert_eq!(ones.avg_pool2d(&pool).unwrap().to_vec(), [1.0; 2]);
    assert_eq!(ones.avg_pool2d(&Pool::adaptive([1, 1])).unwrap().to_vec(), [1.0; 2]);
    let (scale, shift) = (Tensor::full([2], 3.0f32).unwrap(), row(&[0.5, -0.5]));
    let groups = Tensor::<f32>::ones([2, 41, 1, 2]).unwrap().group_norm(2, &scale, &shift, 1e-5).unwrap();
    assert!(groups.output.to_vec().chunks(2).all(|pixel| pixel == [0.5, -0.5]));
    let wide = Tensor::<f32>::ones([2, 41]).unwrap();
    let (scale, shift) = (Tensor::full([41], 3.0f32).unwrap(), Tensor::full([41], 0.5f32).unwrap());
    let rows = wide.layer_norm(&scale, &shift, 1e-5).unwrap();
    assert!(rows.output.to_vec().iter().all(|&x| x == 0.5));
}

#[test]
fn a_variance_far_from_zero_keeps_its_digits() {
    let x = Tensor::from_vec(vec![65536.0f32, 1.0, 65537.0, 2.0, 65537.0, 3.0], [3, 2]).unwrap();
    let var = x.var(0, 0).unwrap().to_vec();
    assert!((var[0] - 2.0 / 9.0).abs() < 1e-7, "{var:?}");
    let rows = x.transpose(0, 1).unwrap().contiguous().unwrap().var(1, 0).unwrap().to_vec();
    assert!((rows[0] - 2.0 / 9.0).abs() < 1e-7, "{rows:?}");
    assert!(row(&[1.0, f32::NAN]).var(.., 0).unwrap().item().unwrap().is_nan());
}

#[test]
fn a_constant_added_to_all_logits_changes_nothing() {
    for v in [0.0, 1e3, 1e4, 1e5, 1e7, 1e8] {
        let logits = Tensor::from_vec(vec![v; 2], [1, 2]).unwrap();
        let logs = logits.log_softmax(-1).unwrap().to_vec();
        assert!(logs.iter().all(|x| (x + 2f32.ln()).abs() < 1e-7), "{v}: {logs:?}");
        let (loss, _) = logits.cross_entropy(&Tensor::zeros([1]).unwrap()).unwrap();
        assert!((loss.item().unwrap() - 2f32.ln()).abs() < 1e-7, "{v}: {loss}");
    }
    let label = Tensor::<u32>::zeros([1]).unwrap();
    let loss = |logits: &[f32]| {
        row(logits).reshape([1, logits.len()]).unwrap().cross_entropy(&label).unwrap().0.item().unwrap()
    };
    assert!(
        (loss(&[3000.0, 3000.2, 3001.0]) - 1.597_289).abs() < 1e-4,
        "{}",
        loss(&[3000.0, 3000.2, 3001.0])
    );
    assert!((loss(&[16.0, 0.0, 0.0]) - 2.25e-7).abs() < 2e-8, "{}", loss(&[16.0, 0.0, 0.0]));
    assert!((loss(&[10.0, 0.0]) - 4.540e-5).abs() < 3e-8, "{}", loss(&[10.0, 0.0]));
}

#[test]
fn an_ignored_label_has_no_loss_and_no_gradient_whatever_its_logits() {
    let logits = Tensor::from_vec(vec![f32::NAN, 0.0, 0.0, 2.0], [2, 2]).unwrap();
    let labels = Tensor::from_vec(vec![255, 1], [2]).unwrap();
    let (losses, p) = logits.cross_entropy_ignoring(&labels, Some(255)).unwrap();
    assert_eq!(losses.get(&[0]).unwrap(), 0.0);
    assert!((losses.get(&[1]).unwrap() - 0.126_928).abs() < 1e-6);
    let gradient =
        p.cross_entropy_ignoring_backward(&labels, Some(255), &Tensor::ones([2]).unwrap()).unwrap().to_vec();
    assert_eq!(gradient[..2], [0.0; 2]);
    assert!((gradient[2] - 0.119_203).abs() < 1e-6);
    let error = logits.cross_entropy_ignoring(&labels, Some(7)).unwrap_err();
    assert!(matches!(error, Error::IndexOutOfRange { index: 255, position: 0, size: 2, .. }), "{error}");
}

#[test]
fn a_value_that_an_integer_type_does_not_hold_is_named() {
    let refused = |result: Result<(), Error>, what: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(what), "{text}");
    };
    let x = Tensor::from_vec(vec![1i64, 300], [2]).unwrap();
    refused(x.cast::<u8>().map(|_| ()), "300 does not fit into u8");
    refused(Tensor::scalar(-5i64).cast::<u32>().map(|_| ()), "-5 does not fit into u32");
    refused(Tensor::scalar(1i64 << 32).cast::<u32>().map(|_| ()), "4294967296 does not fit into u32");
    refused(Tensor::scalar(f32::NAN).cast::<i64>().map(|_| ()), "NaN does not fit into i64");
    refused(Tensor::scalar(9.3e18f64).cast::<i64>().map(|_| ()), "does not fit into i64");
    refused(Tensor::scalar(-1.0f32).cast::<u8>().map(|_| ()), "-1 does not fit into u8");
    assert_eq!(row(&[-0.9, 255.9]).cast::<u8>().unwrap().to_vec(), [0, 255]);
    let ends = [i64::MIN as f64, -1.0, 9_007_199_254_740_992.0];
    let ends = Tensor::from_slice(&ends, [3]).unwrap().cast::<i64>().unwrap().to_vec();
    assert_eq!(ends, [i64::MIN, -1, 9_007_199_254_740_992]);
    assert_eq!(Tensor::scalar(1e300f64).cast::<f32>().unwrap().item().unwrap(), f32::INFINITY);
}

#[test]
fn a_long_running_sum_does_not_stand_still() {
    let ones = Tensor::<f32>::ones([1, 20_000_000]).unwrap().cumsum(1).unwrap();
    assert_eq!(ones.get(&[0, 19_999_999]).unwrap(), 2e7);
    let tenths = Tensor::full([1_000_000], 0.1f32).unwrap();
    let want = f64::from(0.1f32) * 1e6;
    let last = tenths.cumsum(0).unwrap().get(&[999_999]).unwrap();
    assert!((f64::from(last) - want).abs() < 0.01, "{last}");
    let columns = tenths.reshape([500_000, 2]).unwrap().cumsum(0).unwrap().get(&[499_999, 1]).unwrap();
    assert!((f64::from(columns) - want / 2.0).abs() < 0.01, "{columns}");
}

#[test]
fn derivatives_do_not_overflow_on_the_way() {
    let at = |x: f32, g: f32, f: fn(&Tensor, &Tensor) -> cairn_tensor::Result<Tensor>| {
        f(&Tensor::scalar(x), &Tensor::scalar(g)).unwrap().item().unwrap()
    };
    assert_eq!(at(2e38, 0.5, Tensor::square_backward), 2e38);
    let ends: [(f32, f32); 6] = [
        (1e20, 1.0),
        (-1e20, 0.0),
        (f32::INFINITY, 1.0),
        (f32::NEG_INFINITY, 0.0),
        (120.0, 1.0),
        (-120.0, 0.0),
    ];
    for (x, slope) in ends {
        assert_eq!(at(x, 1.0, Tensor::gelu_tanh_backward), slope, "gelu_tanh at {x}");
        assert_eq!(at(x, 1.0, Tensor::gelu_backward), slope, "gelu at {x}");
        assert_eq!(at(x, 1.0, Tensor::silu_backward), slope, "silu at {x}");
    }
    for f in [Tensor::gelu_tanh_backward, Tensor::gelu_backward, Tensor::silu_backward] {
        assert!(at(f32::NAN, 1.0, f).is_nan());
    }
}

#[test]
fn the_normal_distribution_does_not_go_below_zero() {
    let x = Tensor::linspace(-6.0, -5.0, 5001).unwrap();
    assert!(x.gelu().unwrap().iter().all(|y| y <= 0.0));
}

#[test]
fn an_arange_ends_before_its_end() {
    for (end, step) in [(0.3f32, 0.1), (0.6, 0.2), (0.15, 0.05)] {
        assert_eq!(Tensor::arange(0.0, end, step).unwrap().len(), 3, "{end} {step}");
    }
    for tenths in 1..100 {
        for parts in 1..8 {
            let (end, step) = (tenths as f32 / 10.0, parts as f32 / 10.0);
            let last = |x: Tensor| x.iter().last().unwrap();
            assert!(last(Tensor::arange(0.0, end, step).unwrap()) < end, "{end} {step}");
            assert!(last(Tensor::arange(0.0, -end, -step).unwrap()) > -end, "{end} {step}");
            let (end, step) = (1.0 + f64::from(tenths) / 10.0, f64::from(parts) / 10.0);
            assert!(Tensor::arange(1.0, end, step).unwrap().iter().last().unwrap() < end, "{end} {step}");
        }
    }
}

#[test]
fn a_norm_whose_squares_leave_the_range_of_numbers_is_right() {
    let norm = |values: &[f32]| row(values).norm(..).unwrap().item().unwrap();
    assert_eq!(norm(&[3e30, 4e30]), 5e30);
    assert!((norm(&[3e-30, 4e-30]) - 5e-30).abs() < 1e-36);
    assert_eq!(norm(&[0.0, 0.0]), 0.0);
    assert_eq!(norm(&[f32::INFINITY, 1.0]), f32::INFINITY);
    assert!(norm(&[f32::NAN, 1e30]).is_nan());
    let rows = Tensor::from_vec(vec![3e30f32, 1.0, 4e30, 0.0], [2, 2]).unwrap();
    assert_eq!(rows.norm(0).unwrap().to_vec(), [5e30, 1.0]);
    assert_eq!(rows.norm_keepdim(0).unwrap().shape(), [1, 2]);
}

#[cfg(feature = "linalg")]
#[test]
fn the_determinant_of_a_singular_matrix_is_zero() {
    let det =
        |values: &[f64], n: usize| Tensor::from_slice(values, [n, n]).unwrap().det().unwrap().item().unwrap();
    for (values, n) in [
        (&[0.0, 1.0, 0.0, 2.0][..], 2),
        (&[0.0; 4], 2),
        (&[1.0; 9], 3),
        (&[1.0, 1.0, 2.0, 1.0, 1.0, 3.0, 2.0, 2.0, 5.0], 3),
        (&[0.0, 0.0, 1.0, 2.0], 2),
    ] {
        assert_eq!(det(values, n), 0.0, "{values:?}");
    }
    // Within a batch, and where a product overflows on the way.
    let batch = Tensor::from_vec(vec![1.0f32, 1.0, 1.0, 1.0, 2.0, 0.0, 0.0, 3.0], [2, 2, 2]).unwrap();
    assert_eq!(batch.det().unwrap().to_vec(), [0.0, 6.0]);
    let scales = row(&[1e-30, 1e-30, 1e30, 1e30]);
    let det = Tensor::eye(4).unwrap().mul(&scales).unwrap().det().unwrap().item().unwrap();
    assert!((det - 1.0).abs() < 1e-6, "{det}");
}

#[test]
fn a_recurrence_without_units_keeps_its_steps() {
    let (x, weight) = (Tensor::<f32>::ones([2, 3, 4]).unwrap(), Tensor::zeros([4, 0]).unwrap());
    let recurrent = Tensor::zeros([0, 0]).unwrap();
    let operands = RecurrentOperands {
        weight: &weight,
        recurrent_weight: &recurrent,
        bias: None,
        hidden: None,
        cell: None,
    };
    let options = RecurrentOptions { returns: Returns::Steps, ..Default::default() };
    assert_eq!(x.recurrent(Recurrence::Tanh, operands, &options).unwrap().0.shape(), [2, 3, 0]);
}

#[test]
fn a_sequence_without_steps_keeps_its_state() {
    let x = Tensor::<f32>::ones([2, 3, 1]).unwrap();
    let (weight, recurrent) = (Tensor::ones([1, 1]).unwrap(), Tensor::ones([1, 1]).unwrap());
    let hidden = Tensor::from_vec(vec![0.25f32, 0.5], [2, 1]).unwrap();
    for lengths in [[0, 2], [0, 0]] {
        for reverse in [false, true] {
            let ends = Tensor::from_slice(&lengths, [2]).unwrap();
            let options = RecurrentOptions {
                returns: Returns::Last,
                lengths: Some(ends),
                starts: Some(Tensor::zeros([2]).unwrap()),
                reverse,
                ..Default::default()
            };
            let operands = RecurrentOperands {
                weight: &weight,
                recurrent_weight: &recurrent,
                bias: None,
                hidden: Some(&hidden),
                cell: None,
            };
            let (last, saved) = x.recurrent(Recurrence::Tanh, operands, &options).unwrap();
            assert_eq!(last.get(&[0, 0]).unwrap(), 0.25);
            let g = Tensor::ones([2, 1]).unwrap();
            let wanted = [true, true, true, false, true, false];
            let gradients =
                x.recurrent_backward(Recurrence::Tanh, operands, &options, &saved, &g, wanted).unwrap();
            let of_x = gradients[0].as_ref().unwrap().to_vec();
            assert_eq!(of_x[..3], [0.0; 3], "no gradient into padding");
            assert_eq!(
                gradients[4].as_ref().unwrap().get(&[0, 0]).unwrap(),
                1.0,
                "it goes through to the start"
            );
            assert!(gradients.iter().flatten().all(|g| g.iter().all(f32::is_finite)));
        }
    }
}

#[test]
fn absurd_sizes_are_errors() {
    let x = Tensor::<f32>::ones([4, 2]).unwrap();
    assert!(x.chunk(0, usize::MAX).is_err());
    assert_eq!(x.chunk(0, 6).unwrap().len(), 6);
    let none = Tensor::<f32>::zeros([0, 2, 2, 1]).unwrap();
    let size = usize::try_from(1u64 << 33).unwrap_or(usize::MAX);
    for kind in [Resize::Nearest, Resize::Bilinear] {
        assert_eq!(none.resize2d([size, 1], kind).unwrap().shape(), [0, size, 1, 1]);
        assert!(Tensor::<f32>::ones([1, 2, 2, 1]).unwrap().resize2d([size, size], kind).is_err());
    }
}
