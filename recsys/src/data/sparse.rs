//! Compressed sparse rows with typed rows and columns.
//!
//! `Csr<UserIdx, ItemIdx>` and its transpose `Csr<ItemIdx, UserIdx>` are different types, so code written for "rows" and
//! "columns" (both halves of ALS, both sides of an SVD) serves both orientations while nobody can mix them up. Indices are
//! 32 bits and values `f32`: eight bytes an entry, which is what a memory-bound product pays for. Columns within a row are
//! strictly ascending, so a lookup is a binary search and equal data has equal bytes.

use serde::{Deserialize, Serialize};

use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::{Error, Result};

/// Users in rows, items in columns.
pub type UserItems = Csr<UserIdx, ItemIdx>;
/// Items in rows, users in columns.
pub type ItemUsers = Csr<ItemIdx, UserIdx>;

#[doc(alias = "csr_matrix")]
/// A sparse matrix in compressed rows; `R` and `C` say what rows and columns are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Csr<R, C> {
    n_cols: usize,
    offsets: Vec<usize>,
    columns: Vec<C>,
    values: Vec<f32>,
    rows: std::marker::PhantomData<fn(R)>,
}

impl<R: Idx, C: Idx> Csr<R, C> {
    /// The matrix of the given `(row, column, value)` entries, in any order.
    ///
    /// # Errors
    /// [`Error::Shape`] if an index is out of range or a position is given twice.
    ///
    /// ```
    /// use cairn_recsys::{Csr, ItemIdx, UserIdx};
    /// let matrix = Csr::<UserIdx, ItemIdx>::from_entries(2, 3, [(UserIdx(1), ItemIdx(2), 4.0), (UserIdx(1), ItemIdx(0), 1.0)])?;
    /// assert_eq!(matrix.row(UserIdx(1)), (&[ItemIdx(0), ItemIdx(2)][..], &[1.0, 4.0][..]));
    /// assert_eq!(matrix.transpose().row(ItemIdx(2)), (&[UserIdx(1)][..], &[4.0][..]));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    pub fn from_entries(
        n_rows: usize,
        n_cols: usize,
        entries: impl IntoIterator<Item = (R, C, f32)>,
    ) -> Result<Self> {
        let (mut rows, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (row, column, value) in entries {
            if row.at() >= n_rows || column.at() >= n_cols {
                return Err(Error::Shape {
                    what: "sparse matrix",
                    expected: format!("indices within {n_rows} x {n_cols}"),
                    found: format!("({}, {})", row.at(), column.at()),
                });
            }
            rows.push(row);
            columns.push(column);
            values.push(value);
        }
        let matrix = Self::from_columns(n_rows, n_cols, &rows, &columns, &values);
        matrix.check_ascending()?;
        Ok(matrix)
    }

    fn check_ascending(&self) -> Result<()> {
        for row in 0..self.n_rows() {
            let (columns, _) = self.row(R::from_u32(row as u32));
            if let Some(pair) = columns.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(Error::Shape {
                    what: "sparse matrix",
                    expected: "each position once, columns ascending".to_owned(),
                    found: format!("({row}, {}) again", pair[1].at()),
                });
            }
        }
        Ok(())
    }

    /// Two stable counting sorts, by column and then by row: linear time, rows come out with ascending columns.
    pub(crate) fn from_columns(
        n_rows: usize,
        n_cols: usize,
        rows: &[R],
        columns: &[C],
        values: &[f32],
    ) -> Self {
        let by_column = Csr::<C, R>::bucket(n_cols, n_rows, columns, rows, values);
        by_column.transpose()
    }

    /// One counting sort by row; columns keep the order of the input.
    fn bucket(n_rows: usize, n_cols: usize, rows: &[R], columns: &[C], values: &[f32]) -> Self {
        let mut offsets = vec![0; n_rows + 1];
        for row in rows {
            offsets[row.at() + 1] += 1;
        }
        for r in 0..n_rows {
            offsets[r + 1] += offsets[r];
        }
        let mut next = offsets.clone();
        let mut sorted_columns = vec![C::from_u32(0); columns.len()];
        let mut sorted_values = vec![0.0; values.len()];
        for ((row, &column), &value) in rows.iter().zip(columns).zip(values) {
            let at = next[row.at()];
            next[row.at()] += 1;
            sorted_columns[at] = column;
            sorted_values[at] = value;
        }
        Self {
            n_cols,
            offsets,
            columns: sorted_columns,
            values: sorted_values,
            rows: std::marker::PhantomData,
        }
    }

    /// From parts built row by row with ascending columns.
    pub(crate) fn from_parts(n_cols: usize, offsets: Vec<usize>, columns: Vec<C>, values: Vec<f32>) -> Self {
        debug_assert_eq!(columns.len(), values.len());
        debug_assert_eq!(offsets.last(), Some(&columns.len()));
        Self { n_cols, offsets, columns, values, rows: std::marker::PhantomData }
    }

    /// Whether the parts fit together; for matrices that come from a file.
    pub(crate) fn is_consistent(&self) -> bool {
        self.offsets.first() == Some(&0)
            && self.offsets.last() == Some(&self.columns.len())
            && self.offsets.windows(2).all(|w| w[0] <= w[1])
            && self.columns.len() == self.values.len()
            && self.values.iter().all(|v| v.is_finite())
            && self.columns.iter().all(|c| c.at() < self.n_cols)
            && self.check_ascending().is_ok()
    }

    /// Rows, whether or not they have entries.
    pub fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Columns, whether or not they have entries.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Number of stored entries.
    pub fn nnz(&self) -> usize {
        self.columns.len()
    }

    /// Columns (ascending) and values of one row.
    ///
    /// # Panics
    /// If `row` is out of range, as slices do.
    pub fn row(&self, row: R) -> (&[C], &[f32]) {
        let range = self.offsets[row.at()]..self.offsets[row.at() + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// Number of entries in one row.
    ///
    /// # Panics
    /// If `row` is out of range.
    pub fn row_len(&self, row: R) -> usize {
        self.offsets[row.at() + 1] - self.offsets[row.at()]
    }

    /// The value at a position; `None` where nothing is stored.
    ///
    /// # Panics
    /// If `row` is out of range.
    pub fn get(&self, row: R, column: C) -> Option<f32> {
        let (columns, values) = self.row(row);
        columns.binary_search(&column).ok().map(|at| values[at])
    }

    /// All row indices.
    pub fn row_indices(&self) -> impl ExactSizeIterator<Item = R> + Clone + use<R, C> {
        (0..self.n_rows() as u32).map(R::from_u32)
    }

    /// All entries in row order.
    pub fn entries(&self) -> impl Iterator<Item = (R, C, f32)> + '_ {
        self.row_indices().flat_map(|r| {
            let (columns, values) = self.row(r);
            columns.iter().zip(values).map(move |(&c, &v)| (r, c, v))
        })
    }

    /// Row starts: row `r` is `columns()[offsets()[r]..offsets()[r + 1]]`.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Column of every entry, in row order.
    pub fn columns(&self) -> &[C] {
        &self.columns
    }

    /// Value of every entry, in row order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The same positions with other values, for weightings.
    #[must_use]
    pub fn map_values(&self, mut f: impl FnMut(R, C, f32) -> f32) -> Self {
        let mut out = self.clone();
        for r in self.row_indices() {
            for at in self.offsets[r.at()]..self.offsets[r.at() + 1] {
                out.values[at] = f(r, self.columns[at], self.values[at]);
            }
        }
        out
    }

    /// Rows and columns exchanged; linear time.
    #[must_use]
    pub fn transpose(&self) -> Csr<C, R> {
        let mut offsets = vec![0; self.n_cols + 1];
        for column in &self.columns {
            offsets[column.at() + 1] += 1;
        }
        for c in 0..self.n_cols {
            offsets[c + 1] += offsets[c];
        }
        let mut next = offsets.clone();
        let mut columns = vec![R::from_u32(0); self.nnz()];
        let mut values = vec![0.0; self.nnz()];
        for row in self.row_indices() {
            let (cols, vals) = self.row(row);
            for (column, &value) in cols.iter().zip(vals) {
                let at = next[column.at()];
                next[column.at()] += 1;
                columns[at] = row;
                values[at] = value;
            }
        }
        Csr { n_cols: self.n_rows(), offsets, columns, values, rows: std::marker::PhantomData }
    }

    /// `Err` at the first value for which `ok` fails.
    pub(crate) fn check_values(
        &self,
        what: &'static str,
        expected: &'static str,
        ok: impl Fn(f32) -> bool,
    ) -> Result<()> {
        match self.entries().find(|&(_, _, v)| !ok(v)) {
            None => Ok(()),
            Some((r, c, v)) => Err(Error::invalid_entry(what, Some(r.to_u32()), c.to_u32(), v, expected)),
        }
    }
}
