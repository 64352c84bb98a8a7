//! Products of rows with vectors, at the speed of the cache.

use cairn_tensor::kernel::{Isa, Kernel, Vector, dispatch, vectorize};

use super::Register;

/// `out[i] += zᵢ · x` for every row; `x` is one row wide, whole registers.
pub(crate) fn add_row_products(z: &[f32], x: &[f32], out: &mut [f32]) {
    dispatch(RowProducts { z, x, out });
}

struct RowProducts<'a> {
    z: &'a [f32],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for RowProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        let width = self.x.len();
        let (z4, z1) = self.z.split_at(self.out.len() / 4 * 4 * width);
        let (out4, out1) = self.out.as_chunks_mut::<4>();
        for (rows, out) in z4.chunks_exact(4 * width).zip(out4) {
            let products = four_products::<S>(four_rows(rows, width), self.x);
            for i in 0..4 {
                out[i] += products[i];
            }
        }
        for (row, out) in z1.chunks_exact(width).zip(out1) {
            *out += one_product::<S>(row, self.x);
        }
    }
}

/// Inner product of two rows of whole registers.
#[inline(always)]
pub(super) fn one_product<S: Isa>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, _), (b, _)) = (Register::<S>::chunks(a), Register::<S>::chunks(b));
    let mut sums = [Register::<S>::splat(0.0); 4];
    let (a4, a1) = a.as_chunks::<4>();
    let (b4, b1) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        for j in 0..4 {
            sums[j] = Register::<S>::load(&a[j]).mul_add(Register::<S>::load(&b[j]), sums[j]);
        }
    }
    for (a, b) in a1.iter().zip(b1) {
        sums[0] = Register::<S>::load(a).mul_add(Register::<S>::load(b), sums[0]);
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}

/// `out += sum of factor[i] zᵢ` for rows of the length of `out`, whole registers.
pub(crate) fn add_rows(z: &[f32], factors: &[f32], out: &mut [f32]) {
    dispatch(AddRows { z, factors, out });
}

struct AddRows<'a> {
    z: &'a [f32],
    factors: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        let Self { z, factors, out } = self;
        let width = out.len();
        let (z4, z1) = z.split_at(factors.len() / 4 * 4 * width);
        let (factors4, factors1) = factors.as_chunks::<4>();
        for (rows, factors) in z4.chunks_exact(4 * width).zip(factors4) {
            add_four::<S>(four_rows(rows, width), factors, out);
        }
        for (row, &factor) in z1.chunks_exact(width).zip(factors1) {
            add_multiple::<S>(factor, row, out);
        }
    }
}

/// `out += factor x`; whole registers.
#[inline(always)]
fn add_multiple<S: Isa>(factor: f32, x: &[f32], out: &mut [f32]) {
    let factor = Register::<S>::splat(factor);
    let (x, _) = Register::<S>::chunks(x);
    let (out, _) = Register::<S>::chunks_mut(out);
    for (out, x) in out.iter_mut().zip(x) {
        factor.mul_add(Register::<S>::load(x), Register::<S>::load(out)).store(out);
    }
}

/// `out = Zᵀ (Z x)` in one pass over `z`, or, where targets t are given, `out = Zᵀ (t - Z x)`: what a step of conjugate
/// gradients needs. Four rows at a time: their inner products do not wait for each other, and `out` is written a quarter as
/// often.
pub(crate) fn normal_product(z: &[f32], x: &[f32], targets: Option<&[f32]>, out: &mut [f32]) {
    dispatch(NormalProduct { z, x, targets, out });
}

struct NormalProduct<'a> {
    z: &'a [f32],
    x: &'a [f32],
    targets: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Kernel for NormalProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        let Self { z, x, targets, out } = self;
        let width = x.len();
        out.fill(0.0);
        let groups = z.len() / width / 4;
        let (z4, z1) = z.split_at(groups * 4 * width);
        for (group, rows) in z4.chunks_exact(4 * width).enumerate() {
            let rows = four_rows(rows, width);
            let mut factors = four_products::<S>(rows, x);
            if let Some(targets) = targets {
                for (factor, target) in factors.iter_mut().zip(&targets[4 * group..]) {
                    *factor = target - *factor;
                }
            }
            add_four::<S>(rows, &factors, out);
        }
        for (n, row) in z1.chunks_exact(width).enumerate() {
            let product = one_product::<S>(row, x);
            let factor = match targets {
                Some(targets) => targets[4 * groups + n] - product,
                None => product,
            };
            add_multiple::<S>(factor, row, out);
        }
    }
}

#[inline(always)]
pub(super) fn four_rows(rows: &[f32], width: usize) -> [&[f32]; 4] {
    let (ab, cd) = rows.split_at(2 * width);
    let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
    [a, b, c, d]
}

/// Inner products of four rows with `x`; whole registers. Their sums are transposed first and then added, for a reduction of
/// each by itself would take most of the time of a short inner product.
#[inline(always)]
pub(super) fn four_products<S: Isa>(rows: [&[f32]; 4], x: &[f32]) -> [f32; 4] {
    let (x, _) = Register::<S>::chunks(x);
    let ((a, _), (b, _)) = (Register::<S>::chunks(rows[0]), Register::<S>::chunks(rows[1]));
    let ((c, _), (d, _)) = (Register::<S>::chunks(rows[2]), Register::<S>::chunks(rows[3]));
    let zero = Register::<S>::splat(0.0);
    let (mut sum_a, mut sum_b, mut sum_c, mut sum_d) = (zero, zero, zero, zero);
    for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
        let x = Register::<S>::load(x);
        sum_a = Register::<S>::load(a).mul_add(x, sum_a);
        sum_b = Register::<S>::load(b).mul_add(x, sum_b);
        sum_c = Register::<S>::load(c).mul_add(x, sum_c);
        sum_d = Register::<S>::load(d).mul_add(x, sum_d);
    }
    Register::<S>::sum_four([sum_a, sum_b, sum_c, sum_d])
}

/// `out += Σ factors[i] rows[i]`; whole registers.
#[inline(always)]
fn add_four<S: Isa>(rows: [&[f32]; 4], factors: &[f32; 4], out: &mut [f32]) {
    let (out, _) = Register::<S>::chunks_mut(out);
    let ((a, _), (b, _)) = (Register::<S>::chunks(rows[0]), Register::<S>::chunks(rows[1]));
    let ((c, _), (d, _)) = (Register::<S>::chunks(rows[2]), Register::<S>::chunks(rows[3]));
    let (fa, fb) = (Register::<S>::splat(factors[0]), Register::<S>::splat(factors[1]));
    let (fc, fd) = (Register::<S>::splat(factors[2]), Register::<S>::splat(factors[3]));
    for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let quarter = fa.mul_add(Register::<S>::load(a), Register::<S>::load(out));
        let half = fb.mul_add(Register::<S>::load(b), quarter);
        fd.mul_add(Register::<S>::load(d), fc.mul_add(Register::<S>::load(c), half)).store(out);
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
    vectorize(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(x) {
                *out = a * x + b * *out;
            }
        },
    );
}
