//! Linear algebra on matrices and batches of them (feature `linalg`), through faer.
//!
//! The last two axes are the matrix, all before them the batch. Names, order and shapes of results are NumPy's. Matrices of
//! a batch are spread over the threads, each being computed by one, so results do not depend on the number of threads.
//!
//! What cannot be worked with is an [`Error::BadMatrix`] that says which matrix of the batch and why: an element that is not
//! finite, a zero pivot, a matrix that is not positive definite. A matrix that is singular but for rounding passes, as in
//! LAPACK, and shows itself by large results.

use faer::Mat;
use faer::traits::RealField;

use crate::cpu::linalg::{self, Lu, Why};
use crate::cpu::threads;
use crate::shape::{broadcast_shapes, count};
use crate::{Error, Float, Result, RowMajor, Shape, Tensor};

/// The element types of linear algebra, `f32` and `f64`: [`Float`] and faer's trait of real numbers in one bound.
pub trait Field: Float + RealField {}
impl Field for f32 {}
impl Field for f64 {}

/// A batch of matrices in row-major order.
struct Batch<'a, T: Field> {
    data: RowMajor<'a, T>,
    /// The axes before those of a matrix.
    batch: Shape,
    rows: usize,
    columns: usize,
    count: usize,
}

impl<'a, T: Field> Batch<'a, T> {
    fn new(op: &'static str, x: &'a Tensor<T>) -> Result<Self> {
        let [batch @ .., rows, columns] = x.shape() else {
            return Err(Error::bad_shape(op, x.shape(), "a matrix has two axes"));
        };
        let batch = Batch {
            data: x.row_major()?,
            batch: batch.into(),
            rows: *rows,
            columns: *columns,
            count: count(batch),
        };
        batch.check_finite(op)?;
        Ok(batch)
    }

    fn square(op: &'static str, x: &'a Tensor<T>) -> Result<Self> {
        match x.shape() {
            [.., rows, columns] if rows != columns => {
                Err(Error::bad_shape(op, x.shape(), "a square matrix is needed"))
            }
            _ => Self::new(op, x),
        }
    }

    /// Whether there is nothing to compute; what there is none of may still be as long as memory is not.
    fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    fn slice(&self) -> &[T] {
        &self.data
    }

    fn check_finite(&self, op: &'static str) -> Result<()> {
        match self.slice().iter().position(|x| !Float::is_finite(*x)) {
            Some(at) => {
                let matrix = at / (self.rows * self.columns);
                Err(Error::BadMatrix { op, matrix, why: "has an element that is not finite" })
            }
            None => Ok(()),
        }
    }

    /// Matrix number `i`.
    fn get(&self, i: usize) -> Mat<T> {
        let data = &self.slice()[i * self.rows * self.columns..];
        Mat::from_fn(self.rows, self.columns, |row, column| data[row * self.columns + column])
    }

    /// The symmetric part of matrix number `i`.
    fn symmetric(&self, i: usize) -> Mat<T> {
        let (data, half) = (&self.slice()[i * self.rows * self.columns..], T::from_f64(0.5));
        Mat::from_fn(self.rows, self.columns, |row, column| {
            half * data[row * self.columns + column] + half * data[column * self.columns + row]
        })
    }

    /// The shape with other sizes in place of the last two.
    fn shape(&self, last: &[usize]) -> Shape {
        let batch = &self.batch;
        batch.iter().chain(last).copied().collect()
    }

    /// `f` of each number below `count`, on several threads where it pays; the first error in order.
    fn each<R: Send>(
        &self,
        op: &'static str,
        count: usize,
        f: impl Fn(usize) -> Result<R, Why> + Sync,
    ) -> Result<Vec<R>> {
        let mut results: Vec<Option<Result<R, Why>>> = (0..count).map(|_| None).collect();
        // Some ten operations for each multiply-add of a small matrix; exactness does not matter.
        let cost = self.rows.saturating_mul(self.columns).saturating_mul(self.rows.min(self.columns));
        threads::split_units(&mut results, 1, cost, |first, results| {
            results.iter_mut().enumerate().for_each(|(i, result)| *result = Some(f(first + i)));
            false
        });
        let results = results.into_iter().flatten().enumerate();
        results.map(|(matrix, result)| result.map_err(|why| Error::BadMatrix { op, matrix, why })).collect()
    }
}

/// One tensor of equal matrices, element `(row, column)` of matrix `i` from `at(i, row, column)`.
fn collect<T: Field>(shape: Shape, at: impl Fn(usize, usize, usize) -> T) -> Result<Tensor<T>> {
    let [.., rows, columns] = *shape else {
        return Err(Error::bad_shape("linalg", &shape, "a matrix has two axes"));
    };
    Tensor::build(shape, |out| {
        let mut place = out.iter_mut();
        for i in 0..place.len().checked_div(rows * columns).unwrap_or(0) {
            for row in 0..rows {
                for (column, o) in place.by_ref().take(columns).enumerate() {
                    *o = at(i, row, column);
                }
            }
        }
    })
}

impl<T: Field> Tensor<T> {
    /// X with `self` X = `rhs`, by LU factorisation with partial pivoting. `self` is `[…, n, n]`, `rhs` `[…, n, k]`, or
    /// `[n]` for a single vector; batches broadcast.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let a = Tensor::from_vec(vec![2.0f64, 1.0, 1.0, 3.0], [2, 2])?;
    /// let b = Tensor::from_vec(vec![3.0, 5.0], [2])?;
    /// let x = a.solve(&b)?;
    /// assert!(a.matmul(&x)?.sub(&b)?.norm(..)?.item()? < 1e-15);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] unless the matrices are square, [`Error::ShapeMismatch`], [`Error::BadMatrix`].
    pub fn solve(&self, rhs: &Self) -> Result<Self> {
        let op = "solve";
        let a = Batch::square(op, self)?;
        if rhs.rank() == 1 {
            // A column, and no column again.
            let x = self.solve(&rhs.unsqueeze(1)?)?;
            return x.squeeze(-1);
        }
        let b = Batch::new(op, rhs)?;
        if a.columns != b.rows {
            return Err(Error::mismatch(
                op,
                self.shape(),
                rhs.shape(),
                "one equation for each row is needed",
            ));
        }
        let (a_batch, b_batch) = (&self.shape()[..self.rank() - 2], &rhs.shape()[..rhs.rank() - 2]);
        let batch = broadcast_shapes(op, a_batch, b_batch)
            .map_err(|_| Error::mismatch(op, self.shape(), rhs.shape(), "batch axes must be equal or 1"))?;
        let shape: Shape = batch.iter().copied().chain([a.columns, b.columns]).collect();
        if count(&shape) == 0 {
            return Self::zeros(shape);
        }
        // Which matrices stand at each place of the batch.
        let places = |x: &Batch<'_, T>, own: &[usize]| -> Result<Vec<i64>> {
            let numbers = Tensor::arange(0, x.count as i64, 1)?.reshape(own)?;
            Ok(numbers.broadcast_to(&batch)?.to_vec())
        };
        let (left, right) = (places(&a, a_batch)?, places(&b, b_batch)?);
        let factors = a.each(op, a.count, |i| Ok(Lu::new(a.get(i))))?;
        let solutions = a.each(op, left.len(), |i| {
            let mut x = b.get(right[i] as usize);
            factors[left[i] as usize].solve(&mut x)?;
            Ok(x)
        })?;
        collect(shape, |i, row, column| solutions[i][(row, column)])
    }

    /// The inverse of each matrix `[…, n, n]`. To multiply with it, [`solve`](Self::solve) is faster and more accurate.
    ///
    /// # Errors
    /// [`Error::BadShape`] unless the matrices are square, [`Error::BadMatrix`].
    pub fn inverse(&self) -> Result<Self> {
        let a = Batch::square("inverse", self)?;
        if a.is_empty() {
            return Self::zeros(self.dims());
        }
        let inverses = a.each("inverse", a.count, |i| {
            let mut x = Mat::identity(a.rows, a.rows);
            Lu::new(a.get(i)).solve(&mut x)?;
            Ok(x)
        })?;
        collect(self.dims().clone(), |i, row, column| inverses[i][(row, column)])
    }

    /// The determinant of each matrix `[…, n, n]`: shape `[…]`. That of no rows is 1.
    ///
    /// # Errors
    /// [`Error::BadShape`] unless the matrices are square, [`Error::BadMatrix`] for elements that are not finite.
    pub fn det(&self) -> Result<Self> {
        let a = Batch::square("det", self)?;
        if a.is_empty() {
            return Self::ones(a.shape(&[]));
        }
        let values = a.each("det", a.count, |i| Ok(Lu::new(a.get(i)).det()))?;
        Self::from_vec(values, a.shape(&[]))
    }

    /// The lower triangle L of each symmetric positive definite matrix `[…, n, n]`, with L Lᵀ = A. Of a matrix that is not
    /// symmetric the symmetric part is taken.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let a = Tensor::from_vec(vec![4.0f64, 2.0, 2.0, 5.0], [2, 2])?;
    /// assert_eq!(a.cholesky()?.to_vec(), [2.0, 0.0, 1.0, 2.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] unless the matrices are square, [`Error::BadMatrix`].
    pub fn cholesky(&self) -> Result<Self> {
        let a = Batch::square("cholesky", self)?;
        if a.is_empty() {
            return Self::zeros(self.dims());
        }
        let factors = a.each("cholesky", a.count, |i| linalg::llt(a.symmetric(i)))?;
        collect(self.dims().clone(), |i, row, column| factors[i][(row, column)])
    }

    /// Q with orthonormal columns `[…, m, k]` and upper triangle R `[…, k, n]` of each matrix `[…, m, n]`, k being the
    /// shorter side, with Q R = A. R's diagonal is not negative, which makes both unique where A has full rank.
    ///
    /// # Errors
    /// [`Error::BadShape`] below rank 2, [`Error::BadMatrix`] for elements that are not finite.
    pub fn qr(&self) -> Result<(Self, Self)> {
        let a = Batch::new("qr", self)?;
        let k = a.rows.min(a.columns);
        if a.is_empty() {
            return Ok((Self::zeros(a.shape(&[a.rows, k]))?, Self::zeros(a.shape(&[k, a.columns]))?));
        }
        let factors = a.each("qr", a.count, |i| Ok(linalg::thin_qr(a.get(i))))?;
        Ok((
            collect(a.shape(&[a.rows, k]), |i, row, column| factors[i].0[(row, column)])?,
            collect(a.shape(&[k, a.columns]), |i, row, column| factors[i].1[(row, column)])?,
        ))
    }

    /// U `[…, m, k]`, singular values s `[…, k]` in descending order and Vᵀ `[…, k, n]` of each matrix `[…, m, n]`, k being
    /// the shorter side, with U diag(s) Vᵀ = A.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let a = Tensor::from_vec(vec![3.0f64, 0.0, 0.0, 0.0, -4.0, 0.0], [2, 3])?;
    /// let (u, s, vt) = a.svd()?;
    /// assert!(s.sub(&Tensor::from_vec(vec![4.0, 3.0], [2])?)?.norm(..)?.item()? < 1e-14);
    /// assert!(u.mul(&s)?.matmul(&vt)?.sub(&a)?.norm(..)?.item()? < 1e-14);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] below rank 2, [`Error::BadMatrix`].
    pub fn svd(&self) -> Result<(Self, Self, Self)> {
        let a = Batch::new("svd", self)?;
        let k = a.rows.min(a.columns);
        if a.is_empty() {
            let [u, s, vt] = [a.shape(&[a.rows, k]), a.shape(&[k]), a.shape(&[k, a.columns])];
            return Ok((Self::zeros(u)?, Self::zeros(s)?, Self::zeros(vt)?));
        }
        let factors = a.each("svd", a.count, |i| linalg::thin_svd(&a.get(i)))?;
        let values = factors.iter().flat_map(|(_, s, _)| s.iter().copied()).collect();
        Ok((
            collect(a.shape(&[a.rows, k]), |i, row, column| factors[i].0[(row, column)])?,
            Self::from_vec(values, a.shape(&[k]))?,
            collect(a.shape(&[k, a.columns]), |i, row, column| factors[i].2[(column, row)])?,
        ))
    }

    /// Eigenvalues `[…, n]` in ascending order and orthonormal eigenvectors, the columns of `[…, n, n]`, of each symmetric
    /// matrix `[…, n, n]`. Of a matrix that is not symmetric the symmetric part is taken.
    ///
    /// # Errors
    /// [`Error::BadShape`] unless the matrices are square, [`Error::BadMatrix`].
    pub fn eigh(&self) -> Result<(Self, Self)> {
        let a = Batch::square("eigh", self)?;
        if a.is_empty() {
            return Ok((Self::zeros(a.shape(&[a.rows]))?, Self::zeros(self.dims())?));
        }
        let pairs = a.each("eigh", a.count, |i| linalg::symmetric_eigen(&a.symmetric(i)))?;
        let values = pairs.iter().flat_map(|(values, _)| values.iter().copied()).collect();
        Ok((
            Self::from_vec(values, a.shape(&[a.rows]))?,
            collect(self.dims().clone(), |i, row, column| pairs[i].1[(row, column)])?,
        ))
    }
}
