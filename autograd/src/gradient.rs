//! Gradients: dense, or for some rows only.
//!
//! The lookup of 3,200 rows in a table of 10,000 has a gradient in at most 3,200 of them. [`RowGradient`] keeps just
//! those, sorted and without repetition, from the lookup to the optimiser; a dense table is never made.

use std::collections::HashMap;

use cairn_tensor::{Float, Shape, Tensor};

use crate::{Error, Parameter, Result, Var};

/// The gradient of a variable.
#[derive(Debug, Clone)]
pub enum Gradient<T: Float = f32> {
    /// One value for each element.
    Dense(Tensor<T>),
    /// Values for some rows; all others are zero.
    Rows(RowGradient<T>),
}

/// A gradient in which only some rows (entries of axis 0) are not zero.
#[derive(Debug, Clone)]
pub struct RowGradient<T: Float = f32> {
    shape: Shape,
    rows: Vec<u32>,
    values: Tensor<T>,
}

impl<T: Float> RowGradient<T> {
    /// The gradient of looking up `indices` in a table of `shape`, given `values` `[indices.len(), …]`, the gradient of
    /// each row that was looked up. Rows looked up several times are added, in the order of their lookups.
    ///
    /// # Errors
    /// When values and indices do not fit `shape`.
    pub fn from_lookup(shape: impl Into<Shape>, indices: &[u32], values: &Tensor<T>) -> Result<Self> {
        let shape = shape.into();
        let row: usize = shape.iter().skip(1).product();
        let values = values.reshape([indices.len(), row])?;
        // Each index with the place of its lookup below it: equal rows stay in the order of their lookups, which fixes the
        // order of addition.
        let mut keys: Vec<u64> = indices.iter().zip(0u64..).map(|(&i, at)| u64::from(i) << 32 | at).collect();
        keys.sort_unstable();
        let order: Vec<u32> = keys.iter().map(|&key| key as u32).collect();
        let (mut rows, mut ends) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
        for run in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            rows.push((run[0] >> 32) as u32);
            ends.push(ends.last().copied().unwrap_or(0) + run.len() as u32);
        }
        let mut value_shape = shape.to_vec();
        if let Some(first) = value_shape.first_mut() {
            *first = rows.len();
        }
        let sums = values.sum_rows(&order, &ends)?.reshape(value_shape)?;
        Ok(RowGradient { shape, rows, values: sums })
    }

    /// A gradient of `shape` whose `rows`, ascending, have these values, `[rows.len(), …]`: one that was taken apart, as it was.
    ///
    /// # Errors
    /// When rows do not ascend or lie outside of `shape`, or the values do not fit.
    pub fn new(shape: impl Into<Shape>, rows: Vec<u32>, values: Tensor<T>) -> Result<Self> {
        let shape = shape.into();
        let ascending = rows.windows(2).all(|pair| pair[0] < pair[1]);
        let inside =
            rows.last().is_none_or(|&row| shape.first().is_some_and(|&count| (row as usize) < count));
        let fit = values.shape().first() == Some(&rows.len()) && values.shape().get(1..) == shape.get(1..);
        if ascending && inside && fit {
            return Ok(RowGradient { shape, rows, values });
        }
        let why = "rows must ascend within the shape, with values for each";
        let (lhs, rhs) = (shape, values.dims().clone());
        Err(cairn_tensor::Error::ShapeMismatch { op: "RowGradient::new", lhs, rhs, why }.into())
    }

    /// The shape of the whole gradient.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The rows that may be other than zero, ascending.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Their values: `[rows().len(), …]`.
    pub fn values(&self) -> &Tensor<T> {
        &self.values
    }

    /// With the values replaced by a function of them, say clipped.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn map_values(&self, change: impl FnOnce(&Tensor<T>) -> Result<Tensor<T>>) -> Result<Self> {
        Ok(RowGradient { shape: self.shape.clone(), rows: self.rows.clone(), values: change(&self.values)? })
    }

    /// Without a row.
    pub(crate) fn without(self, row: u32) -> Result<Self> {
        let Ok(at) = self.rows.binary_search(&row) else { return Ok(self) };
        let keep: Vec<u32> = (0..self.rows.len() as u32).filter(|&i| i as usize != at).collect();
        let values = self.values.index_select(0, &keep)?;
        let rows = self.rows.into_iter().filter(|&other| other != row).collect();
        Ok(RowGradient { shape: self.shape, rows, values })
    }

    /// The whole gradient, zeros included.
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn to_dense(&self) -> Result<Tensor<T>> {
        let mut dense = Tensor::zeros(&self.shape)?;
        dense.index_add(&self.rows, &self.values)?;
        Ok(dense)
    }
}

impl<T: Float> Gradient<T> {
    /// The gradient as one tensor; for rows, zeros are filled in.
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn to_dense(&self) -> Result<Tensor<T>> {
        match self {
            Gradient::Dense(gradient) => Ok(gradient.clone()),
            Gradient::Rows(rows) => rows.to_dense(),
        }
    }

    /// As [`to_dense`](Self::to_dense), without keeping this one.
    pub(crate) fn into_dense(self) -> Result<Tensor<T>> {
        match self {
            Gradient::Dense(gradient) => Ok(gradient),
            Gradient::Rows(rows) => rows.to_dense(),
        }
    }

    /// The shape of the whole gradient.
    pub fn shape(&self) -> &[usize] {
        match self {
            Gradient::Dense(gradient) => gradient.shape(),
            Gradient::Rows(rows) => rows.shape(),
        }
    }

    /// The values that may be other than zero.
    pub fn values(&self) -> &Tensor<T> {
        match self {
            Gradient::Dense(gradient) => gradient,
            Gradient::Rows(rows) => rows.values(),
        }
    }

    /// With the values replaced by a function of them that leaves zero at zero, say clipped or scaled.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn map_values(&self, change: impl FnOnce(&Tensor<T>) -> Result<Tensor<T>>) -> Result<Self> {
        Ok(match self {
            Gradient::Dense(gradient) => Gradient::Dense(change(gradient)?),
            Gradient::Rows(rows) => Gradient::Rows(rows.map_values(change)?),
        })
    }

    /// Adds another gradient of the same variable.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn accumulate(&mut self, other: Gradient<T>) -> Result<()> {
        match (&mut *self, other) {
            (Gradient::Dense(sum), Gradient::Dense(other)) => sum.add_assign(&other)?,
            (Gradient::Dense(sum), Gradient::Rows(other)) => sum.index_add(&other.rows, &other.values)?,
            (Gradient::Rows(rows), Gradient::Dense(mut other)) => {
                other.index_add(&rows.rows, &rows.values)?;
                *self = Gradient::Dense(other);
            }
            (Gradient::Rows(rows), Gradient::Rows(other)) => {
                let indices: Vec<u32> = rows.rows.iter().chain(&other.rows).copied().collect();
                let values = Tensor::cat(&[&rows.values, &other.values], 0)?;
                *rows = RowGradient::from_lookup(&rows.shape, &indices, &values)?;
            }
        }
        Ok(())
    }
}

/// What a gradient is looked up by: a [`Parameter`], or a [`Var`] that is a leaf.
///
/// Both are known by the number of the leaf, which a parameter keeps when its value changes.
pub trait Leaf<T: Float>: private::Sealed {
    /// The number it is known by.
    fn leaf_id(&self) -> u64;

    /// Its sizes along each axis.
    fn leaf_shape(&self) -> Shape;
}

mod private {
    pub trait Sealed {}
    impl<T: cairn_tensor::Float> Sealed for crate::Var<T> {}
    impl<T: cairn_tensor::Float> Sealed for crate::Parameter<T> {}
}

impl<T: Float> Leaf<T> for Var<T> {
    fn leaf_id(&self) -> u64 {
        self.record().id
    }
    fn leaf_shape(&self) -> Shape {
        self.dims().clone()
    }
}

impl<T: Float> Leaf<T> for Parameter<T> {
    fn leaf_id(&self) -> u64 {
        self.id()
    }
    fn leaf_shape(&self) -> Shape {
        self.shape()
    }
}

/// The gradients of a loss, looked up by parameter or leaf.
#[derive(Debug, Clone, Default)]
pub struct Gradients<T: Float = f32> {
    by_id: HashMap<u64, Gradient<T>>,
}

impl<T: Float> Gradients<T> {
    pub(crate) fn insert(&mut self, id: u64, gradient: Gradient<T>) {
        self.by_id.insert(id, gradient);
    }

    /// The gradient of a parameter or leaf, or `None` if the loss does not depend on it.
    pub fn get(&self, leaf: &impl Leaf<T>) -> Option<&Gradient<T>> {
        self.by_id.get(&leaf.leaf_id())
    }

    /// The gradient of a parameter or leaf, for changing it, say to clip.
    pub fn get_mut(&mut self, leaf: &impl Leaf<T>) -> Option<&mut Gradient<T>> {
        self.by_id.get_mut(&leaf.leaf_id())
    }

    /// Takes a gradient of a parameter or leaf in, in the place of the one there is.
    pub fn set(&mut self, leaf: &impl Leaf<T>, gradient: Gradient<T>) {
        self.by_id.insert(leaf.leaf_id(), gradient);
    }

    /// The gradient of a parameter or leaf as a tensor of its shape.
    ///
    /// # Errors
    /// [`Error::NoGradient`] if the loss does not depend on it.
    #[doc(alias = "grad")]
    pub fn of(&self, leaf: &impl Leaf<T>) -> Result<Tensor<T>> {
        self.get(leaf).ok_or_else(|| Error::NoGradient { shape: leaf.leaf_shape() })?.to_dense()
    }

    /// The number of parameters with a gradient.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no parameter has a gradient.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Adds the gradients of another loss: accumulation over several batches. A parameter that was changed in between is
    /// still the same parameter.
    ///
    /// # Errors
    /// When shapes differ, which only happens if a parameter was set to a value of another shape in between.
    pub fn accumulate(&mut self, other: Gradients<T>) -> Result<()> {
        for (id, gradient) in other.by_id {
            match self.by_id.get_mut(&id) {
                Some(sum) => sum.accumulate(gradient)?,
                None => {
                    self.by_id.insert(id, gradient);
                }
            }
        }
        Ok(())
    }
}
