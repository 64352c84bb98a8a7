//! Linear algebra (feature `linalg`). With Y the result and G its gradient, and all for batches of matrices.
//!
//! The formulas are those of Giles (2008), "Collected matrix derivative results for forward and reverse mode algorithmic
//! differentiation", for the Cholesky factor of Murray (2016), for QR of Walter and Lehmann (2018), for singular vectors of
//! Townsend (2016). A decomposition has several results; each is an operation of its own here, and since gradients are linear
//! in G their sum is the whole.
//!
//! Some derivatives do not exist everywhere: vectors of equal eigenvalues or singular values can be turned freely, and R has
//! no inverse where the matrix has not full rank. There gradients of the vectors are not finite, and that of Q and R is the
//! error of the system that cannot be solved; those of the values themselves are right.

use cairn_tensor::{Field, Result as Done, Tensor};

use super::when;
use crate::{Result, Var};

impl<T: Field> Var<T> {
    /// X with `self` X = `rhs`, as [`Tensor::solve`].
    ///
    /// ```
    /// use cairn_autograd::{Var, gradcheck};
    /// use cairn_tensor::Tensor;
    /// let a = Tensor::from_vec(vec![2.0, 1.0, 1.0, 3.0], [2, 2])?;
    /// let b = Tensor::from_vec(vec![3.0, 5.0], [2])?;
    /// gradcheck(&[a, b], |x| x[0].solve(&x[1]))?;
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for tensors; so for all operations here.
    pub fn solve(&self, rhs: &Self) -> Result<Self> {
        let (a, vector) = (self.value().clone(), rhs.shape().len() == 1);
        let x = a.solve(rhs.value())?;
        let (kept, b_shape) = (x.clone(), rhs.dims().clone());
        Ok(Var::from_op("solve", x, [self, rhs], move |g, [left, right]| {
            let column = |v: &Tensor<T>| if vector { v.unsqueeze(-1) } else { Ok(v.clone()) };
            // Of B: A⁻ᵀ G. Of A: -(A⁻ᵀ G) Xᵀ.
            let of_rhs = a.t()?.solve(&column(g)?)?;
            Ok([
                when(left, || of_rhs.matmul(&column(&kept)?.t()?)?.neg()?.sum_to(a.dims()))?,
                when(right, || {
                    let plain = if vector { of_rhs.squeeze(-1)? } else { of_rhs.clone() };
                    plain.sum_to(&b_shape)
                })?,
            ])
        }))
    }

    /// The inverse of each matrix.
    pub fn inverse(&self) -> Result<Self> {
        let y = self.value().inverse()?;
        let kept = y.clone();
        Ok(Var::from_op("inverse", y, [self], move |g, [wanted]| {
            // -Yᵀ G Yᵀ
            Ok([when(wanted, || kept.t()?.matmul(g)?.matmul(&kept.t()?)?.neg())?])
        }))
    }

    /// The determinant of each matrix, differentiated where it is 0 too.
    pub fn det(&self) -> Result<Self> {
        let a = self.value().clone();
        Ok(Var::from_op("det", a.det()?, [self], move |g, [wanted]| {
            // G times the cofactors, which the singular values give without a division: det(U Vᵀ) U diag(Π_{j≠i} s_j) Vᵀ.
            Ok([when(wanted, || {
                let (u, s, vt) = a.svd()?;
                let others = super::reductions::product_of_others(&s, &(-1isize).into())?;
                let turn = u.matmul(&vt)?.det()?.round()?.mul(g)?;
                let cofactors = u.mul(&others.unsqueeze(-2)?)?.matmul(&vt)?;
                cofactors.mul(&turn.unsqueeze(-1)?.unsqueeze(-1)?)
            })?])
        }))
    }

    /// The lower triangle L of each symmetric positive definite matrix, with L Lᵀ = A. The gradient is symmetric.
    pub fn cholesky(&self) -> Result<Self> {
        let l = self.value().cholesky()?;
        let kept = l.clone();
        Ok(Var::from_op("cholesky", l, [self], move |g, [wanted]| {
            // The symmetric part of L⁻ᵀ Φ(Lᵀ G) L⁻¹, where Φ is the lower triangle with half of the diagonal.
            Ok([when(wanted, || {
                let p = kept.t()?.matmul(&g.tril(0)?)?;
                let phi = p.tril(0)?.add(&p.tril(-1)?)?.scale(half())?;
                let left = kept.t()?.solve(&phi)?;
                symmetric(&kept.t()?.solve(&left.t()?)?)
            })?])
        }))
    }

    /// Q and R of each matrix, R's diagonal not being negative.
    pub fn qr(&self) -> Result<(Self, Self)> {
        let [.., rows, columns] = *self.shape() else {
            // Refused, and named, by the tensors.
            return Ok(self.value().qr().map(|(q, r)| (Var::constant(q), Var::constant(r)))?);
        };
        if rows < columns {
            // A = [X Y]: X = Q U, and R = [U QᵀY].
            let (x, y) = (self.narrow(-1, 0, rows)?, self.narrow(-1, rows, columns - rows)?);
            let (q, u) = x.qr()?;
            let rest = q.t()?.matmul(&y)?;
            return Ok((q, Var::cat(&[&u, &rest], -1)?));
        }
        let (q, r) = self.value().qr()?;
        // [G_Q + Q copyltu(M)] R⁻ᵀ with M = R G_Rᵀ - G_Qᵀ Q, where copyltu mirrors the lower triangle.
        let back =
            |q: &Tensor<T>, r: &Tensor<T>, start: Option<&Tensor<T>>, m: &Tensor<T>| -> Done<Tensor<T>> {
                let mirrored = m.tril(0)?.add(&m.tril(-1)?.t()?)?;
                let inner = q.matmul(&mirrored)?;
                let inner = start.map_or(Ok(inner.clone()), |start| inner.add(start))?;
                r.solve(&inner.t()?)?.t()
            };
        let (kept_q, kept_r) = (q.clone(), r.clone());
        let of_q = Var::from_op("qr", q.clone(), [self], move |g, [wanted]| {
            Ok([when(wanted, || back(&kept_q, &kept_r, Some(g), &g.t()?.matmul(&kept_q)?.neg()?))?])
        });
        let kept_r = r.clone();
        let of_r = Var::from_op("qr", r, [self], move |g, [wanted]| {
            Ok([when(wanted, || back(&q, &kept_r, None, &kept_r.matmul(&g.triu(0)?.t()?)?))?])
        });
        Ok((of_q, of_r))
    }

    /// Eigenvalues, ascending, and eigenvectors of each symmetric matrix. The gradient is symmetric.
    pub fn eigh(&self) -> Result<(Self, Self)> {
        let (w, v) = self.value().eigh()?;
        let vectors = v.clone();
        let of_w = Var::from_op("eigh", w.clone(), [self], move |g, [wanted]| {
            // V diag(G) Vᵀ
            Ok([when(wanted, || vectors.mul(&g.unsqueeze(-2)?)?.matmul(&vectors.t()?))?])
        });
        let vectors = v.clone();
        let of_v = Var::from_op("eigh", v, [self], move |g, [wanted]| {
            // V (F ∘ VᵀG) Vᵀ with F_ij = 1 / (w_j - w_i)
            Ok([when(wanted, || {
                let inner = inverse_differences(&w)?.mul(&vectors.t()?.matmul(g)?)?;
                symmetric(&vectors.matmul(&inner)?.matmul(&vectors.t()?)?)
            })?])
        });
        Ok((of_w, of_v))
    }

    /// U, singular values s, descending, and Vᵀ of each matrix.
    pub fn svd(&self) -> Result<(Self, Self, Self)> {
        let (u, s, vt) = self.value().svd()?;
        let (left, right) = (u.clone(), vt.clone());
        let of_s = Var::from_op("svd", s.clone(), [self], move |g, [wanted]| {
            // U diag(G) Vᵀ
            Ok([when(wanted, || left.mul(&g.unsqueeze(-2)?)?.matmul(&right))?])
        });
        let (left, right, values) = (u.clone(), vt.clone(), s.clone());
        let of_u = Var::from_op("svd", u.clone(), [self], move |g, [wanted]| {
            Ok([when(wanted, || turned(&left, &values, g)?.matmul(&right))?])
        });
        let of_vt = Var::from_op("svd", vt.clone(), [self], move |g, [wanted]| {
            // As for U, of the transpose.
            Ok([when(wanted, || u.matmul(&turned(&vt.t()?, &s, &g.t()?)?.t()?))?])
        });
        Ok((of_u, of_s, of_vt))
    }
}

/// U (F ∘ (UᵀG - GᵀU)) S + (I - UUᵀ) G S⁻¹ with F_ij = 1 / (s_j² - s_i²): what turning U by its gradient G asks of the
/// matrix, but for the factor of the other vectors.
fn turned<T: Field>(u: &Tensor<T>, s: &Tensor<T>, g: &Tensor<T>) -> Done<Tensor<T>> {
    let p = u.t()?.matmul(g)?;
    let inner = inverse_differences(&s.square()?)?.mul(&p.sub(&p.t()?)?)?;
    let within = u.matmul(&inner)?.mul(&s.unsqueeze(-2)?)?;
    let [rows, columns] = [u.size(-2)?, u.size(-1)?];
    if rows == columns {
        // Nothing lies outside; and a singular value of 0 does no harm.
        return Ok(within);
    }
    let outside = g.sub(&u.matmul(&p)?)?.div(&s.unsqueeze(-2)?)?;
    within.add(&outside)
}

/// F_ij = 1 / (x_j - x_i), and 0 on the diagonal.
fn inverse_differences<T: Field>(x: &Tensor<T>) -> Done<Tensor<T>> {
    let differences = x.unsqueeze(-2)?.sub(&x.unsqueeze(-1)?)?;
    let diagonal = Tensor::<T>::eye(x.size(-1)?)?.eq(&Tensor::scalar(T::ONE))?;
    diagonal.select(&Tensor::scalar(T::ZERO), &differences.recip()?)
}

fn symmetric<T: Field>(x: &Tensor<T>) -> Done<Tensor<T>> {
    x.add(&x.t()?)?.scale(half())
}

fn half<T: Field>() -> T {
    T::from_f64(0.5)
}
