//! Small positive definite systems.

use cairn_tensor::kernel::{Isa, Kernel, Vector, dispatch};

use super::gram::gram_chunk;
use super::products::{four_products, four_rows};
use super::{PAD, Register};

/// Solves `h x = b` in place of `b`, where the upper triangle of `h` (row-major, n x n, n a multiple of [`PAD`]) is given and
/// overwritten. `false` if `h` is not positive definite to working precision.
///
/// By its Cholesky factor R, h = RᵀR, in bands of [`PAD`] rows. What makes small systems slow is that each pivot waits for
/// the one before; so that chain is left to the band's diagonal block alone, where it takes the inverse of the block's Rᵀ
/// along, and all else is products with that inverse: the rest of the band, both substitutions, and the Gram matrix that is
/// taken from what is below.
pub(crate) fn solve_positive_definite(h: &mut [f32], b: &mut [f32]) -> bool {
    dispatch(Solve { h, b })
}

struct Solve<'a> {
    h: &'a mut [f32],
    b: &'a mut [f32],
}

impl Kernel for Solve<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        match Register::<S>::LANES {
            16 => self.solve::<S, 1>(),
            8 => self.solve::<S, 2>(),
            _ => self.solve::<S, 4>(),
        }
    }
}

/// A row of a diagonal block in V registers.
type BlockRow<S, const V: usize> = [Register<S>; V];

#[inline(always)]
fn load<S: Isa, const V: usize>(from: &[f32]) -> BlockRow<S, V> {
    let (from, _) = Register::<S>::chunks(from);
    let mut row = [Register::<S>::splat(0.0); V];
    for (register, from) in row.iter_mut().zip(from) {
        *register = Register::<S>::load(from);
    }
    row
}

#[inline(always)]
fn store<S: Isa, const V: usize>(row: &BlockRow<S, V>, to: &mut [f32]) {
    let (to, _) = Register::<S>::chunks_mut(to);
    for (register, to) in row.iter().zip(to) {
        register.store(to);
    }
}

impl Solve<'_> {
    #[inline(always)]
    fn solve<S: Isa, const V: usize>(self) -> bool {
        debug_assert_eq!(V * Register::<S>::LANES, PAD);
        let Self { h, b } = self;
        let n = b.len();
        for start in (0..n).step_by(PAD) {
            let (band, below) = h[start * n..].split_at_mut(PAD * n);
            let Some(inverse) = invert_block::<S, V>(band, n, start) else { return false };
            for (row, inverse) in band.chunks_exact_mut(n).zip(&inverse) {
                store::<S, V>(inverse, &mut row[start..start + PAD]);
            }
            let next = start + PAD;
            for column in (next..n).step_by(PAD) {
                times_inverse::<S, V>(band, n, start, column);
            }
            // y = R⁻ᵀ b, and b loses what y explains of the rest.
            let y = products::<S>(band, n, start, &b[start..next]);
            let minus = y.map(|y| -y);
            let (head, rest) = b.split_at_mut(next);
            head[start..].copy_from_slice(&y);
            if next < n {
                let mut side = Some((&minus[..], rest));
                gram_chunk::<S>(band, n, next, n - next, -1.0, &mut below[next..], n, &mut side);
            }
        }
        for start in (0..n).step_by(PAD).rev() {
            let band = &h[start * n..(start + PAD) * n];
            let (head, later) = b.split_at_mut(start + PAD);
            let y = &mut head[start..];
            if !later.is_empty() {
                let known = products::<S>(band, n, start + PAD, later);
                y.iter_mut().zip(known).for_each(|(y, known)| *y -= known);
            }
            let mut x = [Register::<S>::splat(0.0); V];
            for (row, &y) in band.chunks_exact(n).zip(&*y) {
                let inverse = load::<S, V>(&row[start..start + PAD]);
                for v in 0..V {
                    x[v] = Register::<S>::splat(y).mul_add(inverse[v], x[v]);
                }
            }
            store::<S, V>(&x, y);
        }
        true
    }
}

/// Inner products of the band's rows, from column `start` on, with `x`.
#[inline(always)]
fn products<S: Isa>(band: &[f32], n: usize, start: usize, x: &[f32]) -> [f32; PAD] {
    let mut out = [0.0; PAD];
    let (out4, _) = out.as_chunks_mut::<4>();
    for (rows, out) in band.chunks_exact(4 * n).zip(out4) {
        let [a, b, c, d] = four_rows(rows, n);
        let end = start + x.len();
        *out = four_products::<S>([&a[start..end], &b[start..end], &c[start..end], &d[start..end]], x);
    }
    out
}

/// R⁻ᵀ of the diagonal block at column `start` of a band: Gaussian elimination without exchanges on the block and, beside
/// it, on the identity, each row of which is divided by the root of its pivot in the end. `None` if a pivot is not positive.
#[inline(always)]
fn invert_block<S: Isa, const V: usize>(
    band: &[f32],
    n: usize,
    start: usize,
) -> Option<[BlockRow<S, V>; PAD]> {
    let zero = Register::<S>::splat(0.0);
    let (mut rows, mut inverse) = ([[zero; V]; PAD], [[zero; V]; PAD]);
    for i in 0..PAD {
        rows[i] = load::<S, V>(&band[i * n + start..i * n + start + PAD]);
        let mut unit = [0.0_f32; PAD];
        unit[i] = 1.0;
        inverse[i] = load::<S, V>(&unit);
    }
    let mut pivots = [0.0; PAD];
    // The pivot is a constant in each of these, so that all rows are in registers.
    eliminate::<S, V, 0>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 1>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 2>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 3>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 4>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 5>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 6>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 7>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 8>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 9>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 10>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 11>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 12>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 13>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 14>(&mut rows, &mut inverse, &mut pivots);
    eliminate::<S, V, 15>(&mut rows, &mut inverse, &mut pivots);
    // Also catches NaN.
    if !pivots.iter().all(|&pivot| pivot > 0.0 && pivot.is_finite()) {
        return None;
    }
    for (row, pivot) in inverse.iter_mut().zip(pivots) {
        for x in row {
            *x = x.mul(Register::<S>::splat(1.0 / pivot.sqrt()));
        }
    }
    Some(inverse)
}

/// Takes row K from the rows below it. Entries left of the diagonal are not cleared; they mean nothing.
#[inline(always)]
fn eliminate<S: Isa, const V: usize, const K: usize>(
    rows: &mut [BlockRow<S, V>; PAD],
    inverse: &mut [BlockRow<S, V>; PAD],
    pivots: &mut [f32; PAD],
) {
    let mut entries = [0.0_f32; PAD];
    store::<S, V>(&rows[K], &mut entries);
    pivots[K] = entries[K];
    let minus = -1.0 / entries[K];
    for i in K + 1..PAD {
        let factor = Register::<S>::splat(entries[i] * minus);
        for v in 0..V {
            rows[i][v] = factor.mul_add(rows[K][v], rows[i][v]);
            inverse[i][v] = factor.mul_add(inverse[K][v], inverse[i][v]);
        }
    }
}

/// The band's columns `column..column + PAD` times the inverse that is at `start`.
#[inline(always)]
fn times_inverse<S: Isa, const V: usize>(band: &mut [f32], n: usize, start: usize, column: usize) {
    let zero = Register::<S>::splat(0.0);
    let mut old = [[zero; V]; PAD];
    for i in 0..PAD {
        old[i] = load::<S, V>(&band[i * n + column..i * n + column + PAD]);
    }
    for i in 0..PAD {
        let mut sum = [zero; V];
        let factors: [f32; PAD] =
            band[i * n + start..i * n + start + PAD].try_into().expect("a row of the block");
        // Past the diagonal the inverse is zero; the same number of terms everywhere leaves the loop without a branch.
        for k in 0..PAD {
            for v in 0..V {
                sum[v] = Register::<S>::splat(factors[k]).mul_add(old[k][v], sum[v]);
            }
        }
        store::<S, V>(&sum, &mut band[i * n + column..i * n + column + PAD]);
    }
}
