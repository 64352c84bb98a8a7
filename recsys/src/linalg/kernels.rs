//! Small single-precision kernels for normal equations, one row of ALS at a time.
//!
//! A row's factor vectors are gathered into `z` (rows of `width` floats, width a multiple of [`PAD`]), as many at a time as
//! stay in the cache for what follows: the Gram matrix near the peak of the multiply-add units, products with a vector at
//! the speed of the cache. Each kernel is written for any vector width and picked at run time (pulp).

use pulp::{Arch, Simd, WithSimd, bytemuck};

use crate::ids::Index;

/// Vector widths are multiples of this many floats: a whole AVX-512 register.
pub(crate) const PAD: usize = 16;
/// Floats of `z` over which the tiles of the Gram matrix are kept in registers: they fit the first-level cache.
const CHUNK: usize = 8192;

/// Rows of `width` floats in a chunk.
pub(crate) fn chunk_rows(width: usize) -> usize {
    (CHUNK / width).max(PAD)
}

/// `width` rounded up to whole vectors.
pub(crate) fn padded(width: usize) -> usize {
    width.next_multiple_of(PAD)
}

/// `z[r] = roots[r] table[columns[r]]`; rows of `width` floats on both sides, a multiple of [`PAD`].
pub(crate) fn gather<C: Index>(table: &[f32], width: usize, columns: &[C], roots: &[f32], z: &mut [f32]) {
    debug_assert!(width.is_multiple_of(PAD) && z.len() == columns.len() * width);
    Arch::new().dispatch(Gather { table, width, columns, roots, z });
}

struct Gather<'a, C> {
    table: &'a [f32],
    width: usize,
    columns: &'a [C],
    roots: &'a [f32],
    z: &'a mut [f32],
}

impl<C: Index> WithSimd for Gather<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // With the number of vectors known when compiled, a row is a few moves and no loop.
        match self.width / S::F32_LANES {
            1 => self.rows::<S, 1>(simd),
            2 => self.rows::<S, 2>(simd),
            4 => self.rows::<S, 4>(simd),
            8 => self.rows::<S, 8>(simd),
            _ => {
                let Self { table, width, columns, roots, z } = self;
                for ((z, column), &root) in z.chunks_exact_mut(width).zip(columns).zip(roots) {
                    let (z, _) = S::as_mut_simd_f32s(z);
                    let (row, _) = S::as_simd_f32s(&table[column.at() * width..(column.at() + 1) * width]);
                    for (z, &y) in z.iter_mut().zip(row) {
                        *z = simd.mul_f32s(simd.splat_f32s(root), y);
                    }
                }
            }
        }
    }
}

impl<C: Index> Gather<'_, C> {
    #[inline(always)]
    fn rows<S: Simd, const N: usize>(self, simd: S) {
        let ((table, _), (z, _)) = (S::as_simd_f32s(self.table), S::as_mut_simd_f32s(self.z));
        let ((table, _), (z, _)) = (table.as_chunks::<N>(), z.as_chunks_mut::<N>());
        for ((z, column), &root) in z.iter_mut().zip(self.columns).zip(self.roots) {
            let (row, root) = (&table[column.at()], simd.splat_f32s(root));
            for i in 0..N {
                z[i] = simd.mul_f32s(root, row[i]);
            }
        }
    }
}

/// `out[r] = roots[r] (table[columns[r]] · x - 1)`: what is missing at each interaction. Rows of the length of `x`.
pub(crate) fn residuals<C: Index>(table: &[f32], columns: &[C], roots: &[f32], x: &[f32], out: &mut [f32]) {
    Arch::new().dispatch(Residuals { table, columns, roots, x, out });
}

struct Residuals<'a, C> {
    table: &'a [f32],
    columns: &'a [C],
    roots: &'a [f32],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl<C: Index> WithSimd for Residuals<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { table, columns, roots, x, out } = self;
        let width = x.len();
        let (columns4, columns1) = columns.as_chunks::<4>();
        let (out4, out1) = out.as_chunks_mut::<4>();
        for (columns, out) in columns4.iter().zip(out4) {
            let at = [columns[0].at(), columns[1].at(), columns[2].at(), columns[3].at()];
            let a = &table[at[0] * width..(at[0] + 1) * width];
            let b = &table[at[1] * width..(at[1] + 1) * width];
            let c = &table[at[2] * width..(at[2] + 1) * width];
            let d = &table[at[3] * width..(at[3] + 1) * width];
            *out = four_products(simd, [a, b, c, d], x);
        }
        for (column, out) in columns1.iter().zip(out1) {
            *out = dot_simd(simd, &table[column.at() * width..(column.at() + 1) * width], x);
        }
        for (out, root) in out.iter_mut().zip(roots) {
            *out = root * (*out - 1.0);
        }
    }
}

/// Normal equations: adds `Zᵀ Z` to the upper triangle of `h` (row-major, size x size) and `Zᵀ t` to `b`, for `z` with rows
/// of `b.len()` floats, a multiple of [`PAD`]. Entries below the diagonal may be written too and mean nothing.
pub(crate) fn add_gram(z: &[f32], targets: &[f32], h: &mut [f32], b: &mut [f32]) {
    debug_assert!(b.len().is_multiple_of(PAD) && h.len() == b.len() * b.len());
    Arch::new().dispatch(Gram { z, targets, h, b });
}

struct Gram<'a> {
    z: &'a [f32],
    targets: &'a [f32],
    h: &'a mut [f32],
    b: &'a mut [f32],
}

impl WithSimd for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { z, targets, h, b } = self;
        let size = b.len();
        let rows = chunk_rows(size);
        for (z, targets) in z.chunks(rows * size).zip(targets.chunks(rows)) {
            let mut side = Some((targets, &mut *b));
            gram_chunk(simd, z, size, 0, size, 1.0, h, size, &mut side);
        }
    }
}

/// The right-hand side that goes along with a Gram matrix: a factor for each row, and the sum.
type Side<'a> = Option<(&'a [f32], &'a mut [f32])>;

/// `h += sign ZᵀZ` over columns `start..start + size` of a chunk; `h` has rows of `stride` floats. `side` gets its sum once.
///
/// In bands of [`PAD`] rows. What is right of the band's first vector goes in pairs of vectors; a last one by itself takes
/// the whole band at once, which has as many sums under way.
#[inline(always)]
fn gram_chunk<S: Simd>(
    simd: S,
    chunk: &[f32],
    width: usize,
    start: usize,
    size: usize,
    sign: f32,
    h: &mut [f32],
    stride: usize,
    side: &mut Side<'_>,
) {
    let lanes = S::F32_LANES;
    for band in (0..size).step_by(PAD) {
        let mut column = band;
        let mut place = Place { width, start, row: band, column, sign, stride };
        while column + 2 * lanes <= size {
            place.column = column;
            place.row = band;
            if band == 0 && side.is_some() {
                gram_tile::<S, 8, 2, true>(simd, chunk, &place, h, side);
            } else {
                gram_tile::<S, 8, 2, false>(simd, chunk, &place, h, side);
            }
            place.row = band + 8;
            gram_tile::<S, 8, 2, false>(simd, chunk, &place, h, side);
            column += 2 * lanes;
        }
        place.row = band;
        while column < size {
            place.column = column;
            if band == 0 && side.is_some() {
                gram_tile::<S, PAD, 1, true>(simd, chunk, &place, h, side);
            } else {
                gram_tile::<S, PAD, 1, false>(simd, chunk, &place, h, side);
            }
            column += lanes;
        }
    }
}

/// Where a tile lies: rows of `width` floats in z, of `stride` in h.
struct Place {
    width: usize,
    start: usize,
    row: usize,
    column: usize,
    sign: f32,
    stride: usize,
}

/// One tile of R rows x N vectors, kept in registers over the chunk; with SIDE also the right-hand side of its columns.
#[inline(always)]
fn gram_tile<S: Simd, const R: usize, const N: usize, const SIDE: bool>(
    simd: S,
    chunk: &[f32],
    place: &Place,
    h: &mut [f32],
    side: &mut Side<'_>,
) {
    let &Place { width, start, row, column, sign, stride } = place;
    let lanes = S::F32_LANES;
    let zero = simd.splat_f32s(0.0);
    let (mut sum, mut side_sum) = ([[zero; N]; R], [zero; N]);
    let factors: &[f32] = match side {
        Some((factors, _)) if SIDE => &factors[..chunk.len() / width],
        _ => &[],
    };
    for (n, z) in chunk.chunks_exact(width).enumerate() {
        let left: &[f32; R] = z[start + row..start + row + R].try_into().expect("a tile's rows");
        let (right, _) = S::as_simd_f32s(&z[start + column..start + column + N * lanes]);
        let right: &[S::f32s; N] = right.try_into().expect("a tile's columns");
        for i in 0..R {
            let factor = simd.splat_f32s(left[i]);
            for j in 0..N {
                sum[i][j] = simd.mul_add_f32s(factor, right[j], sum[i][j]);
            }
        }
        if SIDE {
            let factor = simd.splat_f32s(factors[n]);
            for j in 0..N {
                side_sum[j] = simd.mul_add_f32s(factor, right[j], side_sum[j]);
            }
        }
    }
    let sign = simd.splat_f32s(sign);
    for i in 0..R {
        let at = (row + i) * stride + column;
        let (out, _) = S::as_mut_simd_f32s(&mut h[at..at + N * lanes]);
        for j in 0..N {
            out[j] = simd.mul_add_f32s(sign, sum[i][j], out[j]);
        }
    }
    if let (true, Some((_, out))) = (SIDE, side) {
        let (out, _) = S::as_mut_simd_f32s(&mut out[column..column + N * lanes]);
        for j in 0..N {
            out[j] = simd.add_f32s(out[j], side_sum[j]);
        }
    }
}

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
fn dot_simd<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
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
fn four_rows(rows: &[f32], width: usize) -> (&[f32], &[f32], &[f32], &[f32]) {
    let (ab, cd) = rows.split_at(2 * width);
    let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
    (a, b, c, d)
}

/// Inner products of four rows with `x`; whole vectors.
#[inline(always)]
fn four_products<S: Simd>(simd: S, rows: [&[f32]; 4], x: &[f32]) -> [f32; 4] {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ItemIdx;

    fn close(a: f32, b: f64, scale: f64) -> bool {
        (f64::from(a) - b).abs() <= 1e-4 * (1.0 + scale)
    }

    proptest! {
        #[test]
        fn kernels_agree_with_loops(
            rows in 0_usize..150, blocks in 1_usize..7, seed in 1_u32..1000,
        ) {
            let size = blocks * PAD;
            let noise = |n: usize| ((n as u32).wrapping_mul(seed * 2 + 1).wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 - 0.5;
            let z: Vec<f32> = (0..rows * size).map(noise).collect();
            let x: Vec<f32> = (0..size).map(|n| noise(n + 7)).collect();
            let factors: Vec<f32> = (0..rows).map(|n| noise(n + 3)).collect();
            let at = |r: usize, c: usize| f64::from(z[r * size + c]);
            let combined = |c: usize| (0..rows).map(|r| f64::from(factors[r]) * at(r, c)).sum::<f64>();
            let (mut h, mut b) = (vec![1.0; size * size], vec![2.0; size]);
            add_gram(&z, &factors, &mut h, &mut b);
            for i in 0..size {
                for j in i..size {
                    let want: f64 = 1.0 + (0..rows).map(|r| at(r, i) * at(r, j)).sum::<f64>();
                    prop_assert!(close(h[i * size + j], want, rows as f64), "({i}, {j}): {} for {want}", h[i * size + j]);
                }
                prop_assert!(close(b[i], 2.0 + combined(i), rows as f64));
            }
            let zx: Vec<f64> = (0..rows).map(|r| (0..size).map(|c| at(r, c) * f64::from(x[c])).sum()).collect();
            let mut out = vec![1.0; rows];
            add_row_products(&z, &x, &mut out);
            prop_assert!(out.iter().zip(&zx).all(|(&a, &b)| close(a, 1.0 + b, 1.0)));
            let mut out = vec![9.0; size];
            normal_product(&z, &x, None, &mut out);
            for c in 0..size {
                let want: f64 = (0..rows).map(|r| zx[r] * at(r, c)).sum();
                prop_assert!(close(out[c], want, rows as f64));
            }
            let mut out = vec![0.0; size];
            add_rows(&z, &factors, &mut out);
            for c in 0..size {
                prop_assert!(close(out[c], combined(c), rows as f64));
            }
            // Z'Z + I is positive definite: solve and multiply back.
            for i in 0..size {
                h[i * size + i] += size as f32 + 1.0;
            }
            let full = |i: usize, j: usize| f64::from(h[i.min(j) * size + i.max(j)]);
            let want: Vec<f64> = (0..size).map(|i| (0..size).map(|j| full(i, j) * f64::from(x[j])).sum()).collect();
            let mut b: Vec<f32> = want.iter().map(|&x| x as f32).collect();
            prop_assert!(solve_positive_definite(&mut h.clone(), &mut b));
            prop_assert!(b.iter().zip(&x).all(|(&got, &want)| close(got, f64::from(want), 10.0)), "{b:?} {x:?}");
        }
    }

    #[test]
    fn gathered_vectors_and_what_they_miss() {
        for width in [16, 32, 48, 64, 112, 128] {
            let table: Vec<f32> = (0..20 * width).map(|n| (n % 13) as f32 - 6.0).collect();
            let columns: Vec<ItemIdx> = [19, 0, 7, 7, 3, 11].map(ItemIdx).to_vec();
            let roots = [1.0, 2.0, 0.5, 0.25, 0.0, 4.0];
            let x: Vec<f32> = (0..width).map(|n| (n % 5) as f32 - 2.0).collect();
            let (mut z, mut missing) = (vec![9.0; 6 * width], vec![9.0; 6]);
            gather(&table, width, &columns, &roots, &mut z);
            residuals(&table, &columns, &roots, &x, &mut missing);
            for (r, row) in z.chunks(width).enumerate() {
                let source = &table[columns[r].at() * width..][..width];
                assert!(row.iter().zip(source).all(|(&got, y)| got == roots[r] * y));
                let product: f32 = source.iter().zip(&x).map(|(y, x)| y * x).sum();
                assert_eq!(missing[r], roots[r] * (product - 1.0));
            }
        }
    }

    #[test]
    fn an_indefinite_matrix_is_reported() {
        let mut h = vec![0.0; PAD * PAD];
        assert!(!solve_positive_definite(&mut h, &mut [1.0; PAD]));
        h.fill(f32::NAN);
        assert!(!solve_positive_definite(&mut h, &mut [1.0; PAD]));
    }
}
