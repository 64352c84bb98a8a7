//! Convolution and its gradients against seven plain loops.

use cairn_tensor::{Error, Float, Tensor, Window};
use proptest::prelude::*;

use crate::naive::{Naive, real, view};

/// Sizes and settings of a convolution that can be done.
#[derive(Debug, Clone)]
struct Case {
    batch: usize,
    image: [usize; 2],
    kernel: [usize; 2],
    groups: usize,
    /// Channels of one group, in and out.
    depth: usize,
    width: usize,
    window: Window,
    seed: u64,
}

fn axis(longest: usize) -> impl Strategy<Value = (usize, usize, usize, usize, [usize; 2])> {
    (1..5usize, 1..4usize, 1..4usize, 0..4usize, 0..4usize, 0..longest).prop_map(
        |(kernel, stride, dilation, before, after, more)| {
            let reach = (kernel - 1) * dilation + 1;
            (kernel, reach.saturating_sub(before + after).max(1) + more, stride, dilation, [before, after])
        },
    )
}

fn cases() -> impl Strategy<Value = Case> {
    let channels = prop_oneof![
        4 => (Just(1usize), 1..6usize, 1..40usize),
        1 => (Just(1usize), 1..4usize, 40..150usize),
        2 => (2..4usize, 1..4usize, 1..5usize),
        2 => (prop_oneof![2..8usize, 14..35usize], Just(1usize), Just(1usize)),
    ];
    (1..4usize, axis(9), axis(13), channels, any::<u64>()).prop_map(
        |(batch, rows, columns, (groups, depth, width), seed)| Case {
            batch,
            image: [rows.1, columns.1],
            kernel: [rows.0, columns.0],
            groups,
            depth,
            width,
            window: Window {
                stride: [rows.2, columns.2],
                dilation: [rows.3, columns.3],
                padding: [rows.4, columns.4],
            },
            seed,
        },
    )
}

/// Calls `f` with the multi-indices of each product: output, image, filter.
fn products(case: &Case, output: [usize; 2], f: &mut dyn FnMut([usize; 4], [usize; 4], [usize; 4])) {
    let Window { stride, dilation, padding } = case.window;
    for n in 0..case.batch {
        for y in 0..output[0] {
            for x in 0..output[1] {
                for o in 0..case.groups * case.width {
                    for ky in 0..case.kernel[0] {
                        for kx in 0..case.kernel[1] {
                            for c in 0..case.depth {
                                let row = (y * stride[0] + ky * dilation[0]).wrapping_sub(padding[0][0]);
                                let column = (x * stride[1] + kx * dilation[1]).wrapping_sub(padding[1][0]);
                                if row < case.image[0] && column < case.image[1] {
                                    let channel = o / case.width * case.depth + c;
                                    f([n, y, x, o], [n, row, column, channel], [ky, kx, c, o]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn position(shape: &[usize], index: [usize; 4]) -> usize {
    index.iter().zip(shape).fold(0, |position, (&i, &size)| position * size + i)
}

fn check(case: &Case) {
    let channels = case.groups * case.depth;
    let outputs = case.groups * case.width;
    let output = case.window.output(case.kernel, case.image).unwrap();
    let image_shape = [case.batch, case.image[0], case.image[1], channels];
    let filter_shape = [case.kernel[0], case.kernel[1], case.depth, outputs];
    let output_shape = [case.batch, output[0], output[1], outputs];
    let (x, nx) = view(&image_shape, case.seed, real);
    let (w, nw) = view(&filter_shape, case.seed ^ 1, real);
    let (b, nb) = view(&[outputs], case.seed ^ 2, real);
    let (g, ng) = view(&output_shape, case.seed ^ 3, real);

    let mut y = Naive::from_fn(&output_shape, |_| 0.0);
    let mut dx = Naive::from_fn(&image_shape, |_| 0.0);
    let mut dw = Naive::from_fn(&filter_shape, |_| 0.0);
    // Each sum, and that of the sizes of what it adds up.
    let (mut of_y, mut of_dx, mut of_dw) = (y.clone(), dx.clone(), dw.clone());
    let add = |sum: &mut Naive<f64>, sizes: &mut Naive<f64>, at: usize, term: f64| {
        sum.data[at] += term;
        sizes.data[at] += term.abs();
    };
    products(case, output, &mut |o, i, k| {
        let (o, i, k) = (position(&output_shape, o), position(&image_shape, i), position(&filter_shape, k));
        add(&mut y, &mut of_y, o, nx.data[i] * nw.data[k]);
        add(&mut dx, &mut of_dx, i, ng.data[o] * nw.data[k]);
        add(&mut dw, &mut of_dw, k, ng.data[o] * nx.data[i]);
    });
    let biased = Naive::from_fn(&output_shape, |i| (y.at(i) + nb.at(&[i[3]])).max(0.0));
    let of_biased = Naive::from_fn(&output_shape, |i| of_y.at(i) + nb.at(&[i[3]]).abs());

    let (window, groups) = (&case.window, case.groups);
    let taps = case.kernel[0] * case.kernel[1];
    let pixels = case.batch * output[0] * output[1];
    // The loops round as much as what they are compared with.
    near(&x.conv2d(&w, None, false, window, groups).unwrap(), &y, &of_y, 2 * taps * case.depth);
    let with_bias = x.conv2d(&w, Some(&b), true, window, groups).unwrap();
    near(&with_bias, &biased, &of_biased, 2 * (taps * case.depth + 1));
    let dx_64 = g.conv2d_input_gradient(&w, case.image, window, groups).unwrap();
    near(&dx_64, &dx, &of_dx, 2 * taps * case.width);
    near(&x.conv2d_filter_gradient(&g, case.kernel, window, groups).unwrap(), &dw, &of_dw, 2 * pixels);

    // In single precision they do not.
    let narrow = |t: &Tensor<f64>| t.cast::<f32>().unwrap();
    let (x, w, g) = (narrow(&x), narrow(&w), narrow(&g));
    near(&x.conv2d(&w, None, false, window, groups).unwrap(), &y, &of_y, taps * case.depth);
    let dx_32 = g.conv2d_input_gradient(&w, case.image, window, groups).unwrap();
    near(&dx_32, &dx, &of_dx, taps * case.width);
    near(&x.conv2d_filter_gradient(&g, case.kernel, window, groups).unwrap(), &dw, &of_dw, pixels);
}

/// That sums of so many terms at most are off by roundings alone: these go by the sizes of the terms, whatever little is left of
/// their sum, and where terms are alike (a view may repeat one number) all to one side. Two more are those of the operands.
#[track_caller]
fn near<T: Float>(got: &Tensor<T>, want: &Naive<f64>, sizes: &Naive<f64>, terms: usize) {
    assert_eq!(got.shape(), want.shape, "shape");
    let rounding = (terms + 2) as f64 * T::EPSILON.to_f64() / 2.0;
    for (i, (x, (w, size))) in got.to_vec().into_iter().zip(want.data.iter().zip(&sizes.data)).enumerate() {
        let x = x.to_f64();
        let ok = (x - w).abs() <= rounding * size;
        assert!(ok, "element {i} of {:?}: {x} for {w}, of {terms} terms of {size}", want.shape);
    }
}

proptest! {
    #[test]
    fn convolutions_match_seven_loops(case in cases()) {
        check(&case);
    }

    #[test]
    fn transposed_convolution_is_the_adjoint(case in cases()) {
        // <conv(x), g> = <x, conv_transpose(g)>, which fixes it completely.
        let outputs = case.groups * case.width;
        let output = case.window.output(case.kernel, case.image).unwrap();
        let (x, _) = view(&[case.batch, case.image[0], case.image[1], case.groups * case.depth], case.seed, real);
        let (w, _) = view(&[case.kernel[0], case.kernel[1], case.depth, outputs], case.seed ^ 1, real);
        let (g, _) = view(&[case.batch, output[0], output[1], outputs], case.seed ^ 3, real);
        let extra: [usize; 2] = std::array::from_fn(|i| {
            let (stride, [before, after]) = (case.window.stride[i], case.window.padding[i]);
            let reach = (case.kernel[i] - 1) * case.window.dilation[i] + 1;
            case.image[i] + before + after - reach - (output[i] - 1) * stride
        });
        prop_assume!(case.image.iter().zip(&extra).all(|(size, extra)| size > extra));
        let y = x.conv2d(&w, None, false, &case.window, case.groups).unwrap();
        let z = g.conv_transpose2d(&w, None, &case.window, extra, case.groups).unwrap();
        prop_assert_eq!(z.shape(), x.shape());
        let dot = |a: &Tensor<f64>, b: &Tensor<f64>| a.mul(b).unwrap().sum(..).unwrap().item().unwrap();
        let (left, right) = (dot(&y, &g), dot(&x, &z));
        prop_assert!((left - right).abs() <= 1e-10 * left.abs().max(1.0), "{} is not {}", left, right);
    }

    #[test]
    fn sequences_are_images_of_height_one(steps in 1..20usize, kernel in 1..4usize, seed: u64) {
        prop_assume!(kernel <= steps);
        let (x, _) = view(&[2, steps, 3], seed, real);
        let (w, _) = view(&[kernel, 3, 5], seed ^ 1, real);
        let window = Window { stride: [7, 2], padding: [[9, 9], [1, 0]], dilation: [5, 1] };
        let y = x.conv1d(&w, None, false, &window, 1).unwrap();
        let image = x.unsqueeze(1).unwrap();
        let want = image.conv2d(&w.unsqueeze(0).unwrap(), None, false, &window.along_time(), 1).unwrap();
        prop_assert_eq!(y.to_vec(), want.to_vec());
    }
}

/// Sizes at which filters are cut into several panels and blocks, and images into several pieces and parts.
#[test]
fn large_convolutions_match_seven_loops() {
    let base = Case {
        batch: 2,
        image: [7, 6],
        kernel: [3, 3],
        groups: 1,
        depth: 8,
        width: 8,
        window: Window::default().padding([1, 1]),
        seed: 5,
    };
    check(&Case { depth: 150, width: 70, ..base.clone() });
    check(&Case { depth: 3, width: 130, ..base.clone() });
    check(&Case { batch: 40, image: [9, 10], depth: 32, ..base.clone() });
    check(&Case { batch: 1, image: [70, 60], depth: 2, width: 33, ..base.clone() });
    check(&Case { groups: 100, depth: 1, width: 1, image: [20, 30], ..base.clone() });
    check(&Case { groups: 3, depth: 20, width: 17, ..base });
}

#[test]
fn mistakes_are_named() {
    let image = Tensor::<f32>::zeros([2, 5, 5, 4]).unwrap();
    let message = |filter: [usize; 4], window: Window, groups: usize| {
        let filter = Tensor::<f32>::zeros(filter).unwrap();
        image.conv2d(&filter, None, false, &window, groups).unwrap_err().to_string()
    };
    let plain = Window::default();
    assert_eq!(
        message([3, 3, 5, 8], plain, 1),
        "conv2d: shapes [2, 5, 5, 4] and [3, 3, 5, 8] do not match: the filter's third axis must be as long as the image \
         has channels, divided by the groups"
    );
    assert!(message([3, 3, 1, 8], plain, 3).contains("divisible by the number of groups"));
    assert!(message([3, 3, 4, 8], plain, 0).contains("groups is 0"));
    assert!(message([6, 3, 4, 8], plain, 1).contains("higher than the padded image"));
    assert!(message([3, 6, 4, 8], plain, 1).contains("wider than the padded image"));
    assert!(message([3, 3, 4, 8], plain.dilation([1, 3]), 1).contains("wider than the padded image"));
    assert!(message([3, 3, 4, 8], plain.stride([0, 1]), 1).contains("stride is 0"));
    assert!(message([3, 3, 4, 8], plain.dilation([1, 0]), 1).contains("dilation is 0"));
    assert!(message([0, 3, 4, 8], plain, 1).contains("window's size is 0"));
    assert!(message([3, 3, 4, 8], plain.padding([usize::MAX, 0]), 1).contains("range of usize"));
    assert!(message([3, 3, 4, 8], plain.dilation([usize::MAX, 1]), 1).contains("range of usize"));
    let huge = image.conv2d(
        &Tensor::zeros([1, 1, 4, 1]).unwrap(),
        None,
        false,
        &plain.padding([1 << 40, 1 << 40]),
        1,
    );
    assert!(matches!(huge, Err(Error::OutOfMemory { .. })), "{huge:?}");
    let bias = Tensor::<f32>::zeros([7]).unwrap();
    let filter = Tensor::<f32>::zeros([3, 3, 4, 8]).unwrap();
    let wrong = image.conv2d(&filter, Some(&bias), false, &plain, 1).unwrap_err().to_string();
    assert!(wrong.contains("one value per output"), "{wrong}");
    let wrong = image.conv2d_filter_gradient(&image, [3, 3], &plain, 1).unwrap_err().to_string();
    assert!(wrong.contains("shaped like the output"), "{wrong}");
    let wrong = image.conv_transpose2d(&filter, None, &plain, [0, 0], 1).unwrap_err().to_string();
    assert!(wrong.contains("last axis"), "{wrong}");
}

#[test]
fn empty_batches_and_no_channels() {
    let filter = Tensor::<f32>::ones([3, 3, 2, 4]).unwrap();
    let none = Tensor::<f32>::zeros([0, 5, 5, 2]).unwrap();
    let y = none.conv2d(&filter, None, false, &Window::default(), 1).unwrap();
    assert_eq!(y.shape(), [0, 3, 3, 4]);
    let gradient = none.conv2d_filter_gradient(&y, [3, 3], &Window::default(), 1).unwrap();
    assert_eq!(gradient.to_vec(), [0.0; 72]);
    let flat = Tensor::<f32>::zeros([1, 5, 5, 0]).unwrap();
    let bias = Tensor::from_vec(vec![1.0f32, -1.0], [2]).unwrap();
    let y =
        flat.conv2d(&Tensor::zeros([3, 3, 0, 2]).unwrap(), Some(&bias), true, &Window::default(), 1).unwrap();
    assert_eq!(y.to_vec(), [1.0, 0.0].repeat(9));
    let x = Tensor::<f32>::zeros([1, 5, 5, 2]).unwrap();
    let y = x.conv2d(&Tensor::zeros([3, 3, 2, 0]).unwrap(), None, false, &Window::default(), 1).unwrap();
    assert_eq!(y.shape(), [1, 3, 3, 0]);
    assert_eq!(
        y.conv2d_input_gradient(&Tensor::zeros([3, 3, 2, 0]).unwrap(), [5, 5], &Window::default(), 1)
            .unwrap()
            .to_vec(),
        [0.0; 50]
    );
}

#[test]
fn nan_stays_where_it_is_read() {
    let mut x = Tensor::<f32>::zeros([1, 5, 5, 1]).unwrap();
    x.as_mut_slice().unwrap()[0] = f32::NAN;
    let y = x.conv2d(&Tensor::ones([3, 3, 1, 1]).unwrap(), None, true, &Window::default(), 1).unwrap();
    let nan: Vec<bool> = y.iter().map(f32::is_nan).collect();
    assert_eq!(nan.iter().filter(|&&nan| nan).count(), 1);
    assert!(nan[0]);
}
