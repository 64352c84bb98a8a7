//! Pooling, resizing and normalisation of images against plain loops.

use cairn_tensor::{Pool, Resize, Tensor, Window};
use proptest::prelude::*;

use crate::naive::{Naive, close, real, view};

fn axis() -> impl Strategy<Value = (usize, usize, usize, usize, usize)> {
    (1..5usize, 1..4usize, 1..3usize, 0..6usize).prop_flat_map(|(size, stride, dilation, more)| {
        let reach = (size - 1) * dilation + 1;
        (Just(size), Just(stride), Just(dilation), 0..=reach / 2, Just(reach + more))
    })
}

/// Positions within the image that one window reads along an axis.
fn taps(
    at: usize,
    (size, stride, dilation, padding, image): (usize, usize, usize, usize, usize),
) -> Vec<usize> {
    (0..size)
        .filter_map(|k| (at * stride + k * dilation).checked_sub(padding))
        .filter(|&i| i < image)
        .collect()
}

proptest! {
    #[test]
    fn pooling_matches_loops(batch in 1..4usize, rows in axis(), columns in axis(), channels in 1..20usize, seed: u64) {
        let window = Window::default()
            .stride([rows.1, columns.1])
            .dilation([rows.2, columns.2])
            .padding([rows.3, columns.3]);
        let pool = Pool::sliding([rows.0, columns.0], window);
        let (x, nx) = view(&[batch, rows.4, columns.4, channels], seed, real);
        let Ok([height, width]) = pool.output([rows.4, columns.4]) else {
            // Only a dilated window can miss the image.
            prop_assert!(rows.2 > 1 || columns.2 > 1);
            return Ok(());
        };
        let shape = [batch, height, width, channels];
        let over = |index: &[usize], f: &mut dyn FnMut(f64)| {
            for &y in &taps(index[1], rows) {
                for &x in &taps(index[2], columns) {
                    f(nx.at(&[index[0], y, x, index[3]]));
                }
            }
        };
        let max = Naive::from_fn(&shape, |index| {
            let mut max = f64::NEG_INFINITY;
            over(index, &mut |x| max = max.max(x));
            max
        });
        let mean = |padded: bool| Naive::from_fn(&shape, |index| {
            let (mut sum, mut count) = (0.0, 0);
            over(index, &mut |x| { sum += x; count += 1; });
            sum / if padded { rows.0 * columns.0 } else { count } as f64
        });
        let y = x.max_pool2d(&pool).unwrap();
        close(&y, &max, 0.0);
        close(&x.avg_pool2d(&pool).unwrap(), &mean(false), 1e-12);
        close(&x.avg_pool2d(&pool.count_padding()).unwrap(), &mean(true), 1e-12);

        // Gradients: what goes in comes out, and the maximum's lands where the maximum is.
        let (g, ng) = view(&shape, seed ^ 1, real);
        let total: f64 = ng.data.iter().sum();
        let dx = x.max_pool2d_backward(&y, &g, &pool).unwrap();
        prop_assert!((dx.sum(..).unwrap().item().unwrap() - total).abs() < 1e-9);
        let dx = g.avg_pool2d_backward(x.dims(), &pool).unwrap();
        prop_assert!((dx.sum(..).unwrap().item().unwrap() - total).abs() < 1e-9);
    }

    #[test]
    fn adaptive_windows_cover_everything(size in (1..12usize, 1..12usize), seed: u64, cut in (1..12usize, 1..12usize)) {
        let output = [cut.0.min(size.0), cut.1.min(size.1)];
        let (x, nx) = view(&[2, size.0, size.1, 3], seed, real);
        let y = x.avg_pool2d(&Pool::adaptive(output)).unwrap();
        let range = |i: usize, n: usize, size: usize| i * size / n..((i + 1) * size).div_ceil(n);
        let want = Naive::from_fn(&[2, output[0], output[1], 3], |index| {
            let (rows, columns) = (range(index[1], output[0], size.0), range(index[2], output[1], size.1));
            let count = (rows.len() * columns.len()) as f64;
            rows.flat_map(|y| columns.clone().map(move |x| (y, x)))
                .map(|(y, x)| nx.at(&[index[0], y, x, index[3]]))
                .sum::<f64>() / count
        });
        close(&y, &want, 1e-12);
    }

    #[test]
    fn resizing_matches_its_formula(old in (1..6usize, 1..6usize), new in (1..9usize, 1..9usize), seed: u64) {
        let (x, nx) = view(&[2, old.0, old.1, 3], seed, real);
        let shape = [2, new.0, new.1, 3];
        let nearest = Naive::from_fn(&shape, |i| nx.at(&[i[0], i[1] * old.0 / new.0, i[2] * old.1 / new.1, i[3]]));
        close(&x.resize2d([new.0, new.1], Resize::Nearest).unwrap(), &nearest, 0.0);
        // Tent weights around the pixel's centre, with the border repeated.
        let place = |i: usize, old: usize, new: usize| {
            ((i as f64 + 0.5) * old as f64 / new as f64 - 0.5).clamp(0.0, (old - 1) as f64)
        };
        let bilinear = Naive::from_fn(&shape, |i| {
            let (py, px) = (place(i[1], old.0, new.0), place(i[2], old.1, new.1));
            let mut sum = 0.0;
            for y in 0..old.0 {
                for x in 0..old.1 {
                    let weight = (1.0 - (py - y as f64).abs()).max(0.0) * (1.0 - (px - x as f64).abs()).max(0.0);
                    sum += weight * nx.at(&[i[0], y, x, i[3]]);
                }
            }
            sum
        });
        close(&x.resize2d([new.0, new.1], Resize::Bilinear).unwrap(), &bilinear, 1e-12);
    }

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

#[test]
fn ties_and_nan() {
    let x = Tensor::from_vec(vec![2.0f32, 2.0, 1.0, 2.0], [1, 2, 2, 1]).unwrap();
    let pool = Pool::new([2, 2]);
    let y = x.max_pool2d(&pool).unwrap();
    let g = Tensor::from_vec(vec![5.0f32], [1, 1, 1, 1]).unwrap();
    assert_eq!(x.max_pool2d_backward(&y, &g, &pool).unwrap().to_vec(), [5.0, 0.0, 0.0, 0.0]);
    let x = Tensor::from_vec(vec![2.0f32, f32::NAN, 7.0, 2.0], [1, 2, 2, 1]).unwrap();
    let y = x.max_pool2d(&pool).unwrap();
    assert!(y.item().unwrap().is_nan());
    assert_eq!(x.max_pool2d_backward(&y, &g, &pool).unwrap().to_vec(), [0.0, 5.0, 0.0, 0.0]);
    let low = Tensor::full([1, 2, 2, 1], f32::NEG_INFINITY).unwrap();
    assert_eq!(low.max_pool2d(&pool).unwrap().to_vec(), [f32::NEG_INFINITY]);
}

#[test]
fn mistakes_are_named() {
    let x = Tensor::<f32>::zeros([1, 4, 4, 2]).unwrap();
    let message = |pool: Pool| x.max_pool2d(&pool).unwrap_err().to_string();
    assert!(message(Pool::new([5, 2])).contains("higher than the padded image"));
    assert!(message(Pool::new([0, 2])).contains("size is 0"));
    assert!(message(Pool::sliding([2, 2], Window::default().stride([0, 1]))).contains("stride is 0"));
    assert!(message(Pool::sliding([2, 2], Window::default().padding([2, 0]))).contains("half of the window"));
    assert!(
        message(Pool::sliding([2, 2], Window::default().padding([1 << 60, 0])))
            .contains("half of the window")
    );
    assert!(message(Pool::adaptive([5, 1])).contains("pixel for each"));
    assert!(message(Pool::adaptive([0, 1])).contains("at least one output"));
    let flat = Tensor::<f32>::zeros([4, 4]).unwrap();
    assert!(
        flat.max_pool2d(&Pool::new([2, 2]))
            .unwrap_err()
            .to_string()
            .contains("[batch, height, width, channels]")
    );
    assert!(x.resize2d([0, 4], Resize::Nearest).unwrap_err().to_string().contains("resize2d"));
    let g = Tensor::<f32>::zeros([1, 3, 3, 2]).unwrap();
    assert!(
        x.max_pool2d_backward(&g, &g, &Pool::new([2, 2]))
            .unwrap_err()
            .to_string()
            .contains("shaped like the output")
    );
}
