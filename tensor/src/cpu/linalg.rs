//! Factorisations of one matrix: faer's sequential kernels.
//!
//! One matrix is one thread's work, and a batch is shared out by matrices, so that the bits do not depend on the number of
//! threads; faer's own parallelism does not promise that. Matrices are column-major here, as faer likes them.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::{cholesky, evd, householder, lu, qr, svd};
use faer::perm::PermRef;
use faer::{Auto, Conj, Mat, Par, Spec};

use crate::Field;

/// Why a matrix cannot be worked with.
pub(crate) type Why = &'static str;

const SINGULAR: Why = "is singular: a pivot is zero";

fn default<T: Field, P: Auto<T>>() -> Spec<P, T> {
    Spec::new(P::auto())
}

/// P A = L U with unit lower L and upper U in one matrix.
pub(crate) struct Lu<T> {
    factors: Mat<T>,
    forward: Vec<usize>,
    backward: Vec<usize>,
    swaps: usize,
}

impl<T: Field> Lu<T> {
    pub(crate) fn new(a: Mat<T>) -> Self {
        let n = a.nrows();
        let (mut factors, mut forward, mut backward) = (a, vec![0; n], vec![0; n]);
        let scratch =
            lu::partial_pivoting::factor::lu_in_place_scratch::<usize, T>(n, n, Par::Seq, default());
        let (info, _) = lu::partial_pivoting::factor::lu_in_place(
            factors.as_mut(),
            &mut forward,
            &mut backward,
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
            default(),
        );
        Lu { factors, forward, backward, swaps: info.transposition_count }
    }

    /// A⁻¹ B, in place of B.
    pub(crate) fn solve(&self, b: &mut Mat<T>) -> Result<(), Why> {
        let n = self.factors.nrows();
        if (0..n).any(|i| self.factors[(i, i)] == T::ZERO) {
            return Err(SINGULAR);
        }
        let scratch = lu::partial_pivoting::solve::solve_in_place_scratch::<usize, T>(n, b.ncols(), Par::Seq);
        lu::partial_pivoting::solve::solve_in_place_with_conj(
            self.factors.as_ref(),
            self.factors.as_ref(),
            PermRef::new_checked(&self.forward, &self.backward, n),
            Conj::No,
            b.as_mut(),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
        );
        Ok(())
    }

    /// The product of the pivots. As soon as one is 0 so is the determinant, whatever the factorisation made of the rest, which it
    /// divided by that pivot. The product may leave the range of numbers on the way and come back, so its exponent is apart.
    pub(crate) fn det(&self) -> T {
        let (mut product, mut exponent) = (1.0f64, 0i32);
        for i in 0..self.factors.nrows() {
            let pivot = self.factors[(i, i)];
            if pivot == T::ZERO {
                return T::ZERO;
            }
            let (mantissa, power) = libm::frexp(product * pivot.to_f64());
            (product, exponent) = (mantissa, exponent.saturating_add(power));
        }
        let det = T::from_f64(libm::ldexp(product, exponent));
        if self.swaps.is_multiple_of(2) { det } else { -det }
    }
}

/// The lower triangle L with A = L Lᵀ.
pub(crate) fn llt<T: Field>(a: Mat<T>) -> Result<Mat<T>, Why> {
    let (n, mut a) = (a.nrows(), a);
    let scratch = cholesky::llt::factor::cholesky_in_place_scratch::<T>(n, Par::Seq, default());
    cholesky::llt::factor::cholesky_in_place(
        a.as_mut(),
        Default::default(),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        default(),
    )
    .map_err(|_| "is not positive definite")?;
    Ok(Mat::from_fn(n, n, |i, j| if i >= j { a[(i, j)] } else { T::ZERO }))
}

/// Q with orthonormal columns and upper R with a diagonal that is not negative, as many of both as the shorter side.
pub(crate) fn thin_qr<T: Field>(a: Mat<T>) -> (Mat<T>, Mat<T>) {
    let (m, n) = a.shape();
    let (k, mut basis) = (m.min(n), a);
    let block = qr::no_pivoting::factor::recommended_block_size::<T>(m, n);
    let mut coefficients = Mat::zeros(block, k);
    let scratch = qr::no_pivoting::factor::qr_in_place_scratch::<T>(m, n, block, Par::Seq, default())
        .or(householder::apply_block_householder_sequence_on_the_left_in_place_scratch::<T>(m, block, k));
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    qr::no_pivoting::factor::qr_in_place(basis.as_mut(), coefficients.as_mut(), Par::Seq, stack, default());
    let mut q = Mat::<T>::identity(m, k);
    householder::apply_block_householder_sequence_on_the_left_in_place_with_conj(
        basis.get(.., ..k),
        coefficients.as_ref(),
        Conj::No,
        q.as_mut(),
        Par::Seq,
        stack,
    );
    let flip: Vec<bool> = (0..k).map(|i| basis[(i, i)] < T::ZERO).collect();
    let signed = |x: T, flip: bool| if flip { -x } else { x };
    let r = Mat::from_fn(k, n, |i, j| if i <= j { signed(basis[(i, j)], flip[i]) } else { T::ZERO });
    let q = Mat::from_fn(m, k, |i, j| signed(q[(i, j)], flip[j]));
    (q, r)
}

/// U, s and V.
pub(crate) type Svd<T> = (Mat<T>, Vec<T>, Mat<T>);

/// `U, s, V` with A = U diag(s) Vᵀ, as many columns as the shorter side, values descending.
pub(crate) fn thin_svd<T: Field>(a: &Mat<T>) -> Result<Svd<T>, Why> {
    let (m, n) = a.shape();
    let k = m.min(n);
    let (mut u, mut v, mut s) = (Mat::zeros(m, k), Mat::zeros(n, k), Diag::zeros(k));
    let thin = svd::ComputeSvdVectors::Thin;
    let mut memory = MemBuffer::new(svd::svd_scratch::<T>(m, n, thin, thin, Par::Seq, default()));
    let stack = MemStack::new(&mut memory);
    svd::svd(a.as_ref(), s.as_mut(), Some(u.as_mut()), Some(v.as_mut()), Par::Seq, stack, default())
        .map_err(|_| "has singular values that the iteration did not find")?;
    Ok((u, s.column_vector().iter().copied().collect(), v))
}

/// Eigenvalues in ascending order and orthonormal eigenvectors of a symmetric matrix.
pub(crate) fn symmetric_eigen<T: Field>(a: &Mat<T>) -> Result<(Vec<T>, Mat<T>), Why> {
    let n = a.nrows();
    let (mut s, mut u) = (Diag::zeros(n), Mat::zeros(n, n));
    let vectors = evd::ComputeEigenvectors::Yes;
    let mut memory = MemBuffer::new(evd::self_adjoint_evd_scratch::<T>(n, vectors, Par::Seq, default()));
    let stack = MemStack::new(&mut memory);
    evd::self_adjoint_evd(a.as_ref(), s.as_mut(), Some(u.as_mut()), Par::Seq, stack, default())
        .map_err(|_| "has eigenvalues that the iteration did not find")?;
    Ok((s.column_vector().iter().copied().collect(), u))
}
