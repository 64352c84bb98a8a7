//! Resizing of images: products with a sparse matrix along each axis, one or two entries a row; the gradient is the product
//! with its transpose.

use crate::cpu::threads;
use crate::{Float, Resize};

/// Height and width before and after, and channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) old: [usize; 2],
    pub(crate) new: [usize; 2],
    pub(crate) channels: usize,
}

impl Sizes {
    /// For each row and each column of the resized image, what it is made of.
    fn sources(self, kind: Resize) -> [Vec<Source>; 2] {
        [0, 1].map(|axis| sources(kind, self.old[axis], self.new[axis]))
    }
}

/// The two pixels along one axis that a position lies between, and the second one's weight.
#[derive(Debug, Clone, Copy)]
struct Source {
    near: usize,
    far: usize,
    weight: f64,
}

fn sources(kind: Resize, old: usize, new: usize) -> Vec<Source> {
    let scale = old as f64 / new as f64;
    let source = |i: usize| match kind {
        Resize::Nearest => {
            // In integers: rounding must not reach the next pixel.
            let near = (i as u128 * old as u128 / new as u128) as usize;
            Source { near, far: near, weight: 0.0 }
        }
        Resize::Bilinear => {
            let at = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, (old - 1) as f64);
            let near = at as usize;
            Source { near, far: (near + 1).min(old - 1), weight: at - near as f64 }
        }
    };
    (0..new).map(source).collect()
}

/// Resized images `out` from images `x`, no size of which is 0.
pub(crate) fn resize<T: Float>(x: &[T], sizes: Sizes, kind: Resize, out: &mut [T]) {
    let Sizes { old: [height, width], new, channels } = sizes;
    let [rows, columns] = sizes.sources(kind);
    let line = new[1] * channels;
    threads::split_units(out, line, 4 * line, |first, out| {
        for (i, out) in out.chunks_exact_mut(line).enumerate() {
            let (image, row) = ((first + i) / new[0], rows[(first + i) % new[0]]);
            let pixel =
                |y: usize, x_: usize| &x[((image * height + y) * width + x_) * channels..][..channels];
            for (out, column) in out.chunks_exact_mut(channels.max(1)).zip(&columns) {
                let corners = corners::<T>(row, *column);
                let [a, b, c, d] = corners.map(|(y, x, _)| pixel(y, x));
                let [p, q, r, s] = corners.map(|(.., weight)| weight);
                for (i, o) in out.iter_mut().enumerate() {
                    *o = a[i] * p + b[i] * q + c[i] * r + d[i] * s;
                }
            }
        }
        false
    });
}

/// The gradient `out` of images from that of resized ones.
pub(crate) fn gradient<T: Float>(g: &[T], sizes: Sizes, kind: Resize, out: &mut [T]) {
    let Sizes { old: [height, width], new, channels } = sizes;
    let [rows, columns] = sizes.sources(kind);
    let (image_len, new_len) = (height * width * channels, new[0] * new[1] * channels);
    threads::split_units(out, image_len, 4 * new_len, |first, out| {
        for (i, out) in out.chunks_exact_mut(image_len).enumerate() {
            out.fill(T::ZERO);
            let mut pixels = g[(first + i) * new_len..][..new_len].chunks_exact(channels.max(1));
            for row in &rows {
                for (column, g) in columns.iter().zip(&mut pixels) {
                    for (y, x, weight) in corners::<T>(*row, *column) {
                        let out = &mut out[(y * width + x) * channels..][..channels];
                        out.iter_mut().zip(g).for_each(|(o, &g)| *o += g * weight);
                    }
                }
            }
        }
        false
    });
}

/// The four pixels around a position and their weights.
#[inline(always)]
fn corners<T: Float>(row: Source, column: Source) -> [(usize, usize, T); 4] {
    let weight = |x: f64, y: f64| T::from_f64(x * y);
    [
        (row.near, column.near, weight(1.0 - row.weight, 1.0 - column.weight)),
        (row.near, column.far, weight(1.0 - row.weight, column.weight)),
        (row.far, column.near, weight(row.weight, 1.0 - column.weight)),
        (row.far, column.far, weight(row.weight, column.weight)),
    ]
}
