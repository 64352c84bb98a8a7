//! Looking up rows: the embedding. The gradient holds just the rows that were looked up.

use cairn_tensor::{Float, Tensor};

use crate::{Gradient, Result, RowGradient, Settings, Var};

impl<T: Float> Var<T> {
    /// Row `ids[i]` of this table for each id: ids of shape `[…]` in a table `[rows, dim]` give `[…, dim]`. The table's
    /// gradient is a [`RowGradient`].
    ///
    /// ```
    /// use cairn_autograd::{Gradient, Var};
    /// use cairn_tensor::Tensor;
    /// let table = Var::parameter(Tensor::<f32>::ones([10_000, 4])?);
    /// let ids = Tensor::from_vec(vec![7, 3, 7], [3])?;
    /// let gradients = table.lookup(&ids)?.sum(..)?.backward()?;
    /// let Some(Gradient::Rows(rows)) = gradients.get(&table) else { panic!("not sparse") };
    /// assert_eq!(rows.rows(), [3, 7]);
    /// assert_eq!(rows.values().to_vec(), [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// For an id beyond the table, with its place; for a scalar table.
    pub fn lookup(&self, ids: &Tensor<u32>) -> Result<Self> {
        self.lookup_without(ids, None)
    }

    /// As [`lookup`](Self::lookup), but row `padding` gets no gradient: what stands for nothing learns nothing.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn lookup_padded(&self, ids: &Tensor<u32>, padding: u32) -> Result<Self> {
        self.lookup_without(ids, Some(padding))
    }

    fn lookup_without(&self, ids: &Tensor<u32>, padding: Option<u32>) -> Result<Self> {
        let ids = ids.contiguous()?;
        let list = ids.as_slice().unwrap_or_default();
        let rows = self.value().index_select(0, list)?;
        let mut shape = ids.shape().to_vec();
        shape.extend_from_slice(&self.shape()[1..]);
        let table = self.dims().clone();
        let kept = ids.clone();
        let result = Var::from_op("lookup", rows.reshape(shape)?, [self], move |g, [wanted]| {
            if !wanted {
                return Ok([None]);
            }
            let ids = kept.as_slice().unwrap_or_default();
            let mut gradient = RowGradient::from_lookup(&table, ids, g)?;
            if let Some(padding) = padding {
                gradient = gradient.without(padding)?;
            }
            Ok([Some(Gradient::Rows(gradient))])
        });
        Ok(result.told(|| Settings::Ids(ids)))
    }
}
