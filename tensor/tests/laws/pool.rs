//! Pooling against plain loops.

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
