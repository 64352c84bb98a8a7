//! Products of rows with vectors, at the speed of the cache.

use pulp::{Arch, Simd, WithSimd, bytemuck};

/// `out[i] += zᵢ · x` for every row; `x` is one row wide, whole vectors.
pub(crate) fn add_row_products(z: &[f32], x: &[f32], out: &mut [f32]) {
    Arch::new().dispatch(RowProducts { z, x, out });
}

struct RowProducts<'a> {
    z: &'a [f32],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for RowProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.x.len();
        let (z4, z1) = self.z.split_at(self.out.len() / 4 * 4 * width);
        let (out4, out1) = self.out.as_chunks_mut::<4>();
        for (rows, out) in z4.chunks_exact(4 * width).zip(out4) {
            let (a, b, c, d) = four_rows(rows, width);
            let products = four_products(simd, [a, b, c, d], self.x);
            for i in 0..4 {
                out[i] += products[i];
            }
        }
        for (row, out) in z1.chunks_exact(width).zip(out1) {
            *out += dot_simd(simd, row, self.x);
        }
    }
}

#[inline(always)]
pub(super) fn dot_simd<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, _) = S::as_simd_f32s(a);
    let (b, _) = S::as_simd_f32s(b);
    let mut sums = [simd.splat_f32s(0.0); 4];
    let (a4, a1) = a.as_chunks::<4>();
    let (b4, b1) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        for j in 0..4 {
            sums[j] = simd.mul_add_f32s(a[j], b[j], sums[j]);
        }
    }
    for (&a, &b) in a1.iter().zip(b1) {
        sums[0] = simd.mul_add_f32s(a, b, sums[0]);
    }
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3])))
}

/// `out += sum of factor[i] zᵢ` for rows of the length of `out`, whole vectors.
pub(crate) fn add_rows(z: &[f32], factors: &[f32], out: &mut [f32]) {
    struct Task<'a>(&'a [f32], &'a [f32], &'a mut [f32]);
    impl WithSimd for Task<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(z, factors, out) = self;
            let width = out.len();
            let (z4, z1) = z.split_at(factors.len() / 4 * 4 * width);
            let (factors4, factors1) = factors.as_chunks::<4>();
            for (rows, factors) in z4.chunks_exact(4 * width).zip(factors4) {
                let (a, b, c, d) = four_rows(rows, width);
                add_four(simd, [a, b, c, d], factors, out);
            }
            for (row, &factor) in z1.chunks_exact(width).zip(factors1) {
                subtract_multiple(simd, -factor, row, out);
            }
        }
    }
    Arch::new().dispatch(Task(z, factors, out));
}

/// `out -= factor x`; whole vectors.
#[inline(always)]
fn subtract_multiple<S: Simd>(simd: S, factor: f32, x: &[f32], out: &mut [f32]) {
    let factor = simd.splat_f32s(-factor);
    let (x, _) = S::as_simd_f32s(x);
    let (out, _) = S::as_mut_simd_f32s(out);
    for (out, &x) in out.iter_mut().zip(x) {
        *out = simd.mul_add_f32s(factor, x, *out);
    }
}

/// `out = Zᵀ (Z x)` in one pass over `z`, or, where targets t are given, `out = Zᵀ (t - Z x)`: what a step of conjugate
/// gradients needs. Four rows at a time: their inner products do not wait for each other, and `out` is written a quarter as
/// often.
pub(crate) fn normal_product(z: &[f32], x: &[f32], targets: Option<&[f32]>, out: &mut [f32]) {
    Arch::new().dispatch(NormalProduct { z, x, targets, out });
}

struct NormalProduct<'a> {
    z: &'a [f32],
    x: &'a [f32],
    targets: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl WithSimd for NormalProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { z, x, targets, out } = self;
        let width = x.len();
        out.fill(0.0);
        let groups = z.len() / width / 4;
        let (z4, z1) = z.split_at(groups * 4 * width);
        for (group, rows) in z4.chunks_exact(4 * width).enumerate() {
            let (a, b, c, d) = four_rows(rows, width);
            let mut factors = four_products(simd, [a, b, c, d], x);
            if let Some(targets) = targets {
                for (factor, target) in factors.iter_mut().zip(&targets[4 * group..]) {
                    *factor = target - *factor;
                }
            }
            add_four(simd, [a, b, c, d], &factors, out);
        }
        for (n, row) in z1.chunks_exact(width).enumerate() {
            let product = dot_simd(simd, row, x);
            let factor = match targets {
                Some(targets) => targets[4 * groups + n] - product,
                None => product,
            };
            subtract_multiple(simd, -factor, row, out);
        }
    }
}

#[inline(always)]
pub(super) fn four_rows(rows: &[f32], width: usize) -> (&[f32], &[f32], &[f32], &[f32]) {
    let (ab, cd) = rows.split_at(2 * width);
    let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
    (a, b, c, d)
}

/// Inner products of four rows with `x`; whole vectors.
#[inline(always)]
pub(super) fn four_products<S: Simd>(simd: S, rows: [&[f32]; 4], x: &[f32]) -> [f32; 4] {
    let (x, _) = S::as_simd_f32s(x);
    // No closures over vectors: they would not be compiled for the instruction set chosen.
    let ((a, _), (b, _)) = (S::as_simd_f32s(rows[0]), S::as_simd_f32s(rows[1]));
    let ((c, _), (d, _)) = (S::as_simd_f32s(rows[2]), S::as_simd_f32s(rows[3]));
    let zero = simd.splat_f32s(0.0);
    let (mut sum_a, mut sum_b, mut sum_c, mut sum_d) = (zero, zero, zero, zero);
    for ((((&x, &a), &b), &c), &d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
        sum_a = simd.mul_add_f32s(a, x, sum_a);
        sum_b = simd.mul_add_f32s(b, x, sum_b);
        sum_c = simd.mul_add_f32s(c, x, sum_c);
        sum_d = simd.mul_add_f32s(d, x, sum_d);
    }
    four_sums(simd, [sum_a, sum_b, sum_c, sum_d])
}

/// The sums of the entries of four vectors: transposed first and then added, for a reduction of each by itself would take
/// most of the time of a short inner product.
#[inline(always)]
fn four_sums<S: Simd>(simd: S, sums: [S::f32s; 4]) -> [f32; 4] {
    if S::F32_LANES < 4 {
        let [a, b, c, d] = sums;
        return [
            simd.reduce_sum_f32s(a),
            simd.reduce_sum_f32s(b),
            simd.reduce_sum_f32s(c),
            simd.reduce_sum_f32s(d),
        ];
    }
    let [p, q, r, s] = simd.deinterleave_shfl_f32s(sums);
    let sum = [simd.add_f32s(simd.add_f32s(p, q), simd.add_f32s(r, s))];
    let lanes: &[f32] = bytemuck::cast_slice(&sum);
    let (quarters, _) = lanes.as_chunks::<4>();
    let mut out = quarters[0];
    for quarter in &quarters[1..] {
        for i in 0..4 {
            out[i] += quarter[i];
        }
    }
    out
}

/// `out += Σ factors[i] rows[i]`; whole vectors.
#[inline(always)]
fn add_four<S: Simd>(simd: S, rows: [&[f32]; 4], factors: &[f32; 4], out: &mut [f32]) {
    let (out, _) = S::as_mut_simd_f32s(out);
    let ((a, _), (b, _)) = (S::as_simd_f32s(rows[0]), S::as_simd_f32s(rows[1]));
    let ((c, _), (d, _)) = (S::as_simd_f32s(rows[2]), S::as_simd_f32s(rows[3]));
    let (fa, fb) = (simd.splat_f32s(factors[0]), simd.splat_f32s(factors[1]));
    let (fc, fd) = (simd.splat_f32s(factors[2]), simd.splat_f32s(factors[3]));
    for ((((out, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let half = simd.mul_add_f32s(fb, b, simd.mul_add_f32s(fa, a, *out));
        *out = simd.mul_add_f32s(fd, d, simd.mul_add_f32s(fc, c, half));
    }
}

/// Inner product of two vectors of whole registers.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut out = [0.0];
    add_row_products(a, b, &mut out);
    out[0]
}

/// `out = a x + b out`.
pub(crate) fn combine(a: f32, x: &[f32], b: f32, out: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(x) {
                *out = a * x + b * *out;
            }
        },
    );
}
