//! Dense products and factorisations: faer's sequential kernels over fixed chunks.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::matmul::matmul;
use faer::linalg::{cholesky, evd, householder, qr, svd};
use faer::traits::RealField;
use faer::{Accum, Mat, MatMut, MatRef, Par, Spec};
use rayon::prelude::*;

use crate::{Error, Result};

/// Rows of the output that one task computes.
const ROW_CHUNK: usize = 256;
/// Inner length above which `AᵀB` is cut along the inner dimension.
const INNER_CHUNK: usize = 8192;

/// Whether waking another thread costs more than the product; a matter of shapes only.
fn too_small_to_share(m: usize, n: usize, k: usize) -> bool {
    m as f64 * n as f64 * k as f64 <= 3e6
}

fn default<T: RealField, P: faer::Auto<T>>() -> Spec<P, T> {
    Spec::new(P::auto())
}

/// `out (+)= alpha a b`, parallel over chunks of `out`'s rows.
pub(crate) fn mul_into<T: RealField>(
    out: MatMut<'_, T>,
    accumulate: Accum,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    alpha: T,
) {
    if out.nrows() <= ROW_CHUNK || too_small_to_share(out.nrows(), out.ncols(), a.ncols()) {
        matmul(out, accumulate, a, b, alpha, Par::Seq);
        return;
    }
    out.par_row_chunks_mut(ROW_CHUNK).enumerate().for_each(|(chunk, out)| {
        let rows = a.subrows(chunk * ROW_CHUNK, out.nrows());
        matmul(out, accumulate, rows, b, alpha.clone(), Par::Seq);
    });
}

/// `a b`.
pub(crate) fn mul<T: RealField>(a: MatRef<'_, T>, b: MatRef<'_, T>) -> Mat<T> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    mul_into(out.as_mut(), Accum::Replace, a, b, faer::traits::math_utils::one());
    out
}

/// `aᵀ b`: for long columns partial products over fixed pieces of them, added in order.
pub(crate) fn mul_transposed<T: RealField>(a: MatRef<'_, T>, b: MatRef<'_, T>) -> Mat<T> {
    let inner = a.nrows();
    if inner <= INNER_CHUNK {
        return mul_transposed_short(a, b, true);
    }
    let partial: Vec<Mat<T>> = (0..inner.div_ceil(INNER_CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let start = chunk * INNER_CHUNK;
            let n = INNER_CHUNK.min(inner - start);
            mul_transposed_short(a.subrows(start, n), b.subrows(start, n), false)
        })
        .collect();
    let mut partial = partial.into_iter();
    let first = partial.next().expect("more than one chunk, as the length above said");
    partial.fold(first, |sum, next| sum + next)
}

/// Computed as the transpose of `bᵀ a`: the engine copies its left operand into its own order, and that had better be the
/// block of a few columns than the matrix it meets, which is then read once, along its columns.
fn mul_transposed_short<T: RealField>(a: MatRef<'_, T>, b: MatRef<'_, T>, parallel: bool) -> Mat<T> {
    const COLUMNS: usize = 64;
    let left = b.transpose().to_owned();
    let mut out = Mat::<T>::zeros(b.ncols(), a.ncols());
    let one = faer::traits::math_utils::one::<T>;
    if !parallel || too_small_to_share(a.ncols(), b.ncols(), a.nrows()) {
        matmul(&mut out, Accum::Replace, &left, a, one(), Par::Seq);
    } else {
        out.as_mut().par_col_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, out)| {
            let columns = a.subcols(chunk * COLUMNS, out.ncols());
            matmul(out, Accum::Replace, &left, columns, one(), Par::Seq);
        });
    }
    out.transpose().to_owned()
}

/// Householder QR: orthonormal columns (also where `a` is rank deficient) and the upper triangle.
pub(crate) fn thin_qr(a: MatRef<'_, f64>) -> (Mat<f64>, Mat<f64>) {
    let (m, n) = a.shape();
    debug_assert!(m >= n);
    let mut basis = a.to_owned();
    let block = qr::no_pivoting::factor::recommended_block_size::<f64>(m, n);
    let mut coefficients = Mat::zeros(block, n);
    let scratch = qr::no_pivoting::factor::qr_in_place_scratch::<f64>(m, n, block, Par::Seq, default())
        .or(householder::apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(m, block, n));
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    qr::no_pivoting::factor::qr_in_place(basis.as_mut(), coefficients.as_mut(), Par::Seq, stack, default());
    let r = Mat::from_fn(n, n, |i, j| if i <= j { basis[(i, j)] } else { 0.0 });
    let mut q = Mat::identity(m, n);
    householder::apply_block_householder_sequence_on_the_left_in_place_with_conj(
        basis.as_ref(),
        coefficients.as_ref(),
        faer::Conj::No,
        q.as_mut(),
        Par::Seq,
        stack,
    );
    (q, r)
}

/// `U, s, V` with `a = U diag(s) Vᵀ`, values descending.
pub(crate) fn thin_svd(a: MatRef<'_, f64>) -> Result<(Mat<f64>, Vec<f64>, Mat<f64>)> {
    let (m, n) = a.shape();
    let k = m.min(n);
    let (mut u, mut v, mut s) = (Mat::zeros(m, k), Mat::zeros(n, k), Diag::zeros(k));
    let thin = svd::ComputeSvdVectors::Thin;
    let mut memory = MemBuffer::new(svd::svd_scratch::<f64>(m, n, thin, thin, Par::Seq, default()));
    svd::svd(
        a,
        s.as_mut(),
        Some(u.as_mut()),
        Some(v.as_mut()),
        Par::Seq,
        MemStack::new(&mut memory),
        default(),
    )
    .map_err(|e| Error::Factorization { what: "dense SVD", reason: format!("{e:?}") })?;
    let s = s.column_vector().iter().copied().collect();
    Ok((u, s, v))
}

/// Eigenvalues in ascending order and eigenvectors of a symmetric matrix, of which the lower triangle is read.
pub(crate) fn symmetric_eigen(a: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let n = a.nrows();
    let (mut s, mut u) = (Diag::zeros(n), Mat::zeros(n, n));
    let vectors = evd::ComputeEigenvectors::Yes;
    let mut memory = MemBuffer::new(evd::self_adjoint_evd_scratch::<f64>(n, vectors, Par::Seq, default()));
    let stack = MemStack::new(&mut memory);
    evd::self_adjoint_evd(a, s.as_mut(), Some(u.as_mut()), Par::Seq, stack, default())
        .map_err(|e| Error::Factorization { what: "symmetric eigenvalues", reason: format!("{e:?}") })?;
    Ok((s.column_vector().iter().copied().collect(), u))
}

/// The lower Cholesky factor in the lower triangle of `a`; `Err(())` if `a` is not positive definite.
pub(crate) fn cholesky_in_place<T: RealField>(a: MatMut<'_, T>, memory: &mut MemBuffer) -> Result<(), ()> {
    let stack = MemStack::new(memory);
    cholesky::llt::factor::cholesky_in_place(a, Default::default(), Par::Seq, stack, default())
        .map(|_| ())
        .map_err(|_| ())
}

/// Work space for [`cholesky_in_place`] of an n x n matrix.
pub(crate) fn cholesky_memory<T: RealField>(n: usize) -> MemBuffer {
    MemBuffer::new(cholesky::llt::factor::cholesky_in_place_scratch::<T>(n, Par::Seq, default()))
}
