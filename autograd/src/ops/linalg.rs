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

use std::any::Any;

use cairn_tensor::{Field, Float, Result as Done, Tensor};

use super::when;
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Error, Result, Var};

/// One of the results of a decomposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// Q, the eigenvalues, U.
    First,
    /// R, the eigenvectors, the singular values.
    Second,
    /// Vᵀ.
    Third,
}

operations! {
    /// Linear algebra, each for batches of matrices. A decomposition is an operation for each of its results.
    Linalg {
        /// See [`Var::solve`].
        Solve = "solve",
        /// See [`Var::inverse`].
        Inverse = "inverse",
        /// See [`Var::det`].
        Det = "det",
        /// See [`Var::cholesky`].
        Cholesky = "cholesky",
        /// See [`Var::qr`]; for matrices with at least as many rows as columns.
        Qr {
            /// Which result.
            factor: Factor,
        } = "qr",
        /// See [`Var::eigh`].
        Eigh {
            /// Which result.
            factor: Factor,
        } = "eigh",
        /// See [`Var::svd`].
        Svd {
            /// Which result.
            factor: Factor,
        } = "svd",
    }
}

impl Rule for Linalg {
    /// The element type is one of the two of linear algebra, which the bound `Float` does not say: asked at run time.
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let operands = x.floats()?;
        self.run_in::<T, f32>(&operands, wanted)
            .or_else(|| self.run_in::<T, f64>(&operands, wanted))
            .unwrap_or(Err(Error::NoEvaluation { op: self.name() }))
    }
}

impl Linalg {
    /// `None` where `T` is not `U`.
    fn run_in<T: Float, U: Field>(&self, x: &[&Tensor<T>], wanted: Wanted<'_>) -> Option<Result<Ran<T>>> {
        let x: Vec<&Tensor<U>> = x.iter().map(|&x| (x as &dyn Any).downcast_ref()).collect::<Option<_>>()?;
        let ran = match self.run_field(&x, wanted) {
            Ok(ran) => ran,
            Err(error) => return Some(Err(error)),
        };
        let ran: Box<dyn Any> = Box::new(ran);
        ran.downcast::<Ran<T>>().ok().map(|ran| Ok(*ran))
    }

    fn run_field<T: Field>(&self, x: &[&Tensor<T>], wanted: Wanted<'_>) -> Result<Ran<T>> {
        let &[a, ..] = x else {
            return Err(Error::BadOperand { op: self.name(), position: 0, expected: "floats" });
        };
        match *self {
            Linalg::Solve => {
                let Some(b) = x.get(1) else {
                    return Err(Error::BadOperand { op: self.name(), position: 1, expected: "floats" });
                };
                solve(a, b, wanted)
            }
            // -Yᵀ G Yᵀ
            Linalg::Inverse => wanted.ran_one(a.inverse()?, |y| {
                let y = y.clone();
                move |g| y.t()?.matmul(g)?.matmul(&y.t()?)?.neg()
            }),
            Linalg::Det => wanted.ran_one(a.det()?, |_| {
                let a = a.clone();
                move |g| det_backward(&a, g)
            }),
            Linalg::Cholesky => wanted.ran_one(a.cholesky()?, |l| {
                let l = l.clone();
                move |g| cholesky_backward(&l, g)
            }),
            Linalg::Qr { factor } => {
                let (q, r) = a.qr()?;
                qr(factor, &q, &r, wanted)
            }
            Linalg::Eigh { factor } => {
                let (w, v) = a.eigh()?;
                eigh(factor, &w, &v, wanted)
            }
            Linalg::Svd { factor } => {
                let (u, s, vt) = a.svd()?;
                svd(factor, [&u, &s, &vt], wanted)
            }
        }
    }
}

fn solve<T: Field>(a: &Tensor<T>, b: &Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
    let vector = b.rank() == 1;
    wanted.ran(a.solve(b)?, |x, [of_a, of_b]| {
        let (a, x, b_shape) = (a.clone(), x.clone(), b.dims().clone());
        move |g| {
            let column = |v: &Tensor<T>| if vector { v.unsqueeze(-1) } else { Ok(v.clone()) };
            // Of B: A⁻ᵀ G. Of A: -(A⁻ᵀ G) Xᵀ.
            let of_rhs = a.t()?.solve(&column(g)?)?;
            Ok([
                when(of_a, || of_rhs.matmul(&column(&x)?.t()?)?.neg()?.sum_to(a.dims()))?,
                when(of_b, || {
                    let plain = if vector { of_rhs.squeeze(-1)? } else { of_rhs.clone() };
                    plain.sum_to(&b_shape)
                })?,
            ])
        }
    })
}

/// G times the cofactors, which the singular values give without a division: det(U Vᵀ) U diag(Π_{j≠i} s_j) Vᵀ.
fn det_backward<T: Field>(a: &Tensor<T>, g: &Tensor<T>) -> Done<Tensor<T>> {
    let (u, s, vt) = a.svd()?;
    let others = super::reduce::product_of_others(&s, &(-1isize).into())?;
    let sign = u.matmul(&vt)?.det()?.round()?.mul(g)?;
    let cofactors = u.mul(&others.unsqueeze(-2)?)?.matmul(&vt)?;
    cofactors.mul(&sign.unsqueeze(-1)?.unsqueeze(-1)?)
}

/// The symmetric part of L⁻ᵀ Φ(Lᵀ G) L⁻¹, where Φ is the lower triangle with half of the diagonal.
fn cholesky_backward<T: Field>(l: &Tensor<T>, g: &Tensor<T>) -> Done<Tensor<T>> {
    let p = l.t()?.matmul(&g.tril(0)?)?;
    let phi = p.tril(0)?.add(&p.tril(-1)?)?.scale(half())?;
    let left = l.t()?.solve(&phi)?;
    symmetric(&l.t()?.solve(&left.t()?)?)
}

/// [G_Q + Q copyltu(M)] R⁻ᵀ with M = R G_Rᵀ - G_Qᵀ Q, where copyltu mirrors the lower triangle.
fn qr<T: Field>(factor: Factor, q: &Tensor<T>, r: &Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
    let back = |q: &Tensor<T>, r: &Tensor<T>, start: Option<&Tensor<T>>, m: &Tensor<T>| -> Done<Tensor<T>> {
        let mirrored = m.tril(0)?.add(&m.tril(-1)?.t()?)?;
        let inner = q.matmul(&mirrored)?;
        let inner = start.map_or(Ok(inner.clone()), |start| inner.add(start))?;
        r.solve(&inner.t()?)?.t()
    };
    let (value, first) = if factor == Factor::First { (q, true) } else { (r, false) };
    wanted.ran_one(value.clone(), |_| {
        let (q, r) = (q.clone(), r.clone());
        move |g| match first {
            true => back(&q, &r, Some(g), &g.t()?.matmul(&q)?.neg()?),
            false => back(&q, &r, None, &r.matmul(&g.triu(0)?.t()?)?),
        }
    })
}

fn eigh<T: Field>(factor: Factor, w: &Tensor<T>, v: &Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
    let (w, v) = (w.clone(), v.clone());
    if factor == Factor::First {
        // V diag(G) Vᵀ
        return wanted.ran_one(w, |_| move |g: &Tensor<T>| v.mul(&g.unsqueeze(-2)?)?.matmul(&v.t()?));
    }
    wanted.ran_one(v.clone(), |_| {
        // V (F ∘ VᵀG) Vᵀ with F_ij = 1 / (w_j - w_i)
        move |g: &Tensor<T>| {
            let inner = inverse_differences(&w)?.mul(&v.t()?.matmul(g)?)?;
            symmetric(&v.matmul(&inner)?.matmul(&v.t()?)?)
        }
    })
}

fn svd<T: Field>(factor: Factor, [u, s, vt]: [&Tensor<T>; 3], wanted: Wanted<'_>) -> Result<Ran<T>> {
    let (u, s, vt) = (u.clone(), s.clone(), vt.clone());
    match factor {
        Factor::First => wanted.ran_one(u.clone(), |_| move |g: &Tensor<T>| turned(&u, &s, g)?.matmul(&vt)),
        // U diag(G) Vᵀ
        Factor::Second => wanted.ran_one(s, |_| move |g: &Tensor<T>| u.mul(&g.unsqueeze(-2)?)?.matmul(&vt)),
        // As for U, of the transpose.
        Factor::Third => wanted
            .ran_one(vt.clone(), |_| move |g: &Tensor<T>| u.matmul(&turned(&vt.t()?, &s, &g.t()?)?.t()?)),
    }
}

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
    /// For matrices that are not square, and where there is no solution.
    pub fn solve(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Linalg::Solve, &[self.into(), rhs.into()])
    }

    /// The inverse of each matrix.
    ///
    /// # Errors
    /// For matrices that are not square, or have none.
    pub fn inverse(&self) -> Result<Self> {
        Var::apply(Linalg::Inverse, &[self.into()])
    }

    /// The determinant of each matrix, differentiated where it is 0 too.
    ///
    /// # Errors
    /// For matrices that are not square.
    pub fn det(&self) -> Result<Self> {
        Var::apply(Linalg::Det, &[self.into()])
    }

    /// The lower triangle L of each symmetric positive definite matrix, with L Lᵀ = A. The gradient is symmetric.
    ///
    /// # Errors
    /// For matrices that are not square, or not positive definite.
    pub fn cholesky(&self) -> Result<Self> {
        Var::apply(Linalg::Cholesky, &[self.into()])
    }

    /// Q and R of each matrix, R's diagonal not being negative.
    ///
    /// # Errors
    /// For fewer than two axes.
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
        let one = |factor| {
            Var::apply_as(Linalg::Qr { factor }, &[self.into()], |wanted| qr(factor, &q, &r, wanted))
        };
        Ok((one(Factor::First)?, one(Factor::Second)?))
    }

    /// Eigenvalues, ascending, and eigenvectors of each symmetric matrix. The gradient is symmetric.
    ///
    /// # Errors
    /// For matrices that are not square.
    pub fn eigh(&self) -> Result<(Self, Self)> {
        let (w, v) = self.value().eigh()?;
        let one = |factor| {
            Var::apply_as(Linalg::Eigh { factor }, &[self.into()], |wanted| eigh(factor, &w, &v, wanted))
        };
        Ok((one(Factor::First)?, one(Factor::Second)?))
    }

    /// U, singular values s, descending, and Vᵀ of each matrix.
    ///
    /// # Errors
    /// For fewer than two axes.
    pub fn svd(&self) -> Result<(Self, Self, Self)> {
        let (u, s, vt) = self.value().svd()?;
        let one = |factor| {
            let op = Linalg::Svd { factor };
            Var::apply_as(op, &[self.into()], |wanted| svd(factor, [&u, &s, &vt], wanted))
        };
        Ok((one(Factor::First)?, one(Factor::Second)?, one(Factor::Third)?))
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
