//! Small positive definite systems.

use pulp::{Arch, Simd, WithSimd, bytemuck};

use super::PAD;
use super::gram::gram_chunk;
use super::products::{four_products, four_rows};

/// Solves `h x = b` in place of `b`, where the upper triangle of `h` (row-major, n x n, n a multiple of [`PAD`]) is given and
/// overwritten. `false` if `h` is not positive definite to working precision.
///
/// By its Cholesky factor R, h = RᵀR, in bands of [`PAD`] rows. What makes small systems slow is that each pivot waits for
/// the one before; so that chain is left to the band's diagonal block alone, where it takes the inverse of the block's Rᵀ
/// along, and all else is products with that inverse: the rest of the band, both substitutions, and the Gram matrix that is
/// taken from what is below.
pub(crate) fn solve_positive_definite(h: &mut [f32], b: &mut [f32]) -> bool {
    Arch::new().dispatch(Solve { h, b })
}

struct Solve<'a> {
    h: &'a mut [f32],
    b: &'a mut [f32],
}

impl WithSimd for Solve<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        match S::F32_LANES {
            16 => self.run::<S, 1>(simd),
            8 => self.run::<S, 2>(simd),
            4 => self.run::<S, 4>(simd),
            _ => self.run::<S, PAD>(simd),
        }
    }
}

/// A row of a diagonal block in V vectors.
type BlockRow<S, const V: usize> = [<S as Simd>::f32s; V];

impl Solve<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) -> bool {
        let Self { h, b } = self;
        let n = b.len();
        for start in (0..n).step_by(PAD) {
            let (band, below) = h[start * n..].split_at_mut(PAD * n);
            let Some(inverse) = invert_block::<S, V>(simd, band, n, start) else { return false };
            for (row, inverse) in band.chunks_exact_mut(n).zip(&inverse) {
                row[start..start + PAD].copy_from_slice(bytemuck::cast_slice(inverse));
            }
            let next = start + PAD;
            for column in (next..n).step_by(PAD) {
                times_inverse::<S, V>(simd, band, n, start, column);
            }
            // y = R⁻ᵀ b, and b loses what y explains of the rest.
            let y = products(simd, band, n, start, &b[start..next]);
            let minus = y.map(|y| -y);
            let (head, rest) = b.split_at_mut(next);
            head[start..].copy_from_slice(&y);
            if next < n {
                let mut side = Some((&minus[..], rest));
                gram_chunk(simd, band, n, next, n - next, -1.0, &mut below[next..], n, &mut side);
            }
        }
        for start in (0..n).step_by(PAD).rev() {
            let band = &h[start * n..(start + PAD) * n];
            let (head, later) = b.split_at_mut(start + PAD);
            let y = &mut head[start..];
            if !later.is_empty() {
                let known = products(simd, band, n, start + PAD, later);
                y.iter_mut().zip(known).for_each(|(y, known)| *y -= known);
            }
            let mut x = [simd.splat_f32s(0.0); V];
            for (row, &y) in band.chunks_exact(n).zip(&*y) {
                let (inverse, _) = S::as_simd_f32s(&row[start..start + PAD]);
                for v in 0..V {
                    x[v] = simd.mul_add_f32s(simd.splat_f32s(y), inverse[v], x[v]);
                }
            }
            y.copy_from_slice(bytemuck::cast_slice(&x));
        }
        true
    }
}

/// Inner products of the band's rows, from column `start` on, with `x`.
#[inline(always)]
fn products<S: Simd>(simd: S, band: &[f32], n: usize, start: usize, x: &[f32]) -> [f32; PAD] {
    let mut out = [0.0; PAD];
    let (out4, _) = out.as_chunks_mut::<4>();
    for (rows, out) in band.chunks_exact(4 * n).zip(out4) {
        let (a, b, c, d) = four_rows(rows, n);
        let end = start + x.len();
        *out = four_products(simd, [&a[start..end], &b[start..end], &c[start..end], &d[start..end]], x);
    }
    out
}

/// R⁻ᵀ of the diagonal block at column `start` of a band: Gaussian elimination without exchanges on the block and, beside
/// it, on the identity, each row of which is divided by the root of its pivot in the end. `None` if a pivot is not positive.
#[inline(always)]
fn invert_block<S: Simd, const V: usize>(
    simd: S,
    band: &[f32],
    n: usize,
    start: usize,
) -> Option<[BlockRow<S, V>; PAD]> {
    let zero = simd.splat_f32s(0.0);
    let (mut rows, mut inverse) = ([[zero; V]; PAD], [[zero; V]; PAD]);
    for i in 0..PAD {
        let (row, _) = S::as_simd_f32s(&band[i * n + start..i * n + start + PAD]);
        rows[i].copy_from_slice(row);
        let mut unit = [0.0_f32; PAD];
        unit[i] = 1.0;
        let (unit, _) = S::as_simd_f32s(&unit);
        inverse[i].copy_from_slice(unit);
    }
    let mut pivots = [0.0; PAD];
    // The pivot is a constant in each of these, so that all rows have their place in a register.
    eliminate::<S, V, 0>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 1>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 2>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 3>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 4>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 5>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 6>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 7>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 8>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 9>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 10>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 11>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 12>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 13>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 14>(simd, &mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 15>(simd, &mut rows, &mut inverse, &mut pivots);
    // Also catches NaN.
    if !pivots.iter().all(|&pivot| pivot > 0.0 && pivot.is_finite()) {
        return None;
    }
    for (row, pivot) in inverse.iter_mut().zip(pivots) {
        for x in row {
            *x = simd.mul_f32s(*x, simd.splat_f32s(1.0 / pivot.sqrt()));
        }
    }
    Some(inverse)
}

/// Takes row K from the rows below it. Entries left of the diagonal are not cleared; they mean nothing.
#[inline(always)]
fn eliminate<S: Simd, const V: usize, const K: usize>(
    simd: S,
    rows: &mut [BlockRow<S, V>; PAD],
    inverse: &mut [BlockRow<S, V>; PAD],
    pivots: &mut [f32; PAD],
) {
    let row = rows[K];
    let entries: &[f32] = bytemuck::cast_slice(&row);
    pivots[K] = entries[K];
    let minus = -1.0 / entries[K];
    for i in K + 1..PAD {
        let factor = simd.splat_f32s(entries[i] * minus);
        for v in 0..V {
            rows[i][v] = simd.mul_add_f32s(factor, rows[K][v], rows[i][v]);
            inverse[i][v] = simd.mul_add_f32s(factor, inverse[K][v], inverse[i][v]);
        }
    }
}

/// The band's columns `column..column + PAD` times the inverse that stands at `start`.
#[inline(always)]
fn times_inverse<S: Simd, const V: usize>(simd: S, band: &mut [f32], n: usize, start: usize, column: usize) {
    let zero = simd.splat_f32s(0.0);
    let mut old = [[zero; V]; PAD];
    for i in 0..PAD {
        let (row, _) = S::as_simd_f32s(&band[i * n + column..i * n + column + PAD]);
        old[i].copy_from_slice(row);
    }
    for i in 0..PAD {
        let mut sum = [zero; V];
        let factors: [f32; PAD] =
            band[i * n + start..i * n + start + PAD].try_into().expect("a row of the block");
        // Past the diagonal the inverse is zero; so many terms everywhere leave the loop without a branch.
        for k in 0..PAD {
            for v in 0..V {
                sum[v] = simd.mul_add_f32s(simd.splat_f32s(factors[k]), old[k][v], sum[v]);
            }
        }
        band[i * n + column..i * n + column + PAD].copy_from_slice(bytemuck::cast_slice(&sum));
    }
}
