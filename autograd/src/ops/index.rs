//! Picking by index and by mask: the gradient is added where the values were taken from. The lookup of rows, an embedding, has a
//! gradient that holds just those rows.

use cairn_tensor::{AnyTensor, Axis, Float, QuantizedTensor, Shape, Tensor};

use super::when;
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Gradient, Result, RowGradient, Var};

operations! {
    /// Picking by index or mask. Ids and masks are operands.
    Index {
        /// The entries of an axis that the ids name.
        IndexSelect {
            /// The axis.
            axis: usize,
        } = "index_select",
        /// Rows, the third operand, added to the rows of the first that the ids name.
        IndexAdd = "index_add",
        /// Element by element along an axis, as the ids say.
        Gather {
            /// The axis.
            axis: usize,
        } = "gather",
        /// Values, the third operand, added to the elements along an axis that the ids name.
        ScatterAdd {
            /// The axis.
            axis: usize,
        } = "scatter_add",
        /// The elements where the mask is true, as a vector.
        MaskedSelect = "masked_select",
        /// A number where the mask is true.
        MaskedFill {
            /// The number.
            value: f64,
        } = "masked_fill",
        /// A number times what is there where the mask is true, and 0 elsewhere.
        MaskedScale {
            /// The number.
            scale: f64,
        } = "masked_scale",
        /// Rows of a table, the first operand, by ids of any shape: an embedding.
        Lookup {
            /// The row that learns nothing, if there is one.
            padding: Option<u32>,
        } = "lookup",
        /// Rows of a table, the first operand, in the type that it is stored in, by ids of any shape.
        LookupStored = "lookup_stored",
    }
}

impl Rule for Index {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let own = match *self {
            Index::LookupStored => return lookup_stored(x.stored(0)?, x.ids(1)?),
            _ => x.float(0)?,
        };
        match *self {
            Index::IndexSelect { axis } => index_select(own, axis, x.ids(1)?, wanted),
            Index::IndexAdd => index_add(own, x.ids(1)?, x.float(2)?, wanted),
            Index::Gather { axis } => {
                let index = x.ids(1)?;
                wanted.ran_one(own.gather(axis, index)?, |_| {
                    let (index, shape) = (index.clone(), own.dims().clone());
                    move |g| put_back(&shape, axis, &index, g)
                })
            }
            Index::ScatterAdd { axis } => {
                let (index, values) = (x.ids(1)?, x.float(2)?);
                let mut sum = own.clone();
                sum.scatter_add(axis, index, values)?;
                wanted.ran(sum, |_, [of_own, of_values]| {
                    let index = index.clone();
                    move |g| {
                        Ok([when(of_own, || Ok(g.clone()))?, when(of_values, || g.gather(axis, &index))?])
                    }
                })
            }
            Index::MaskedSelect => {
                let mask = x.mask(1)?;
                wanted.ran(own.masked_select(mask)?, |_, [of_own]| {
                    let (mask, shape) = (mask.clone(), own.dims().clone());
                    move |g| Ok([when(of_own, || masked_put(&mask.broadcast_to(&shape)?, g, &shape))?])
                })
            }
            Index::MaskedFill { value } => {
                let mask = x.mask(1)?;
                wanted.ran_one(own.masked_fill(mask, T::from_f64(value))?, |_| {
                    let mask = mask.clone();
                    move |g| g.masked_fill(&mask, T::ZERO)
                })
            }
            Index::MaskedScale { scale } => {
                let (mask, scale) = (x.mask(1)?, T::from_f64(scale));
                wanted.ran_one(own.masked_scale(mask, scale)?, |_| {
                    let mask = mask.clone();
                    move |g| g.masked_scale(&mask, scale)
                })
            }
            Index::Lookup { padding } => lookup(own, x.ids(1)?, padding, wanted),
            Index::LookupStored => lookup_stored(x.stored(0)?, x.ids(1)?),
        }
    }
}

fn index_select<T: Float>(
    x: &Tensor<T>,
    axis: usize,
    ids: &Tensor<u32>,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    let ids = ids.to_vec();
    wanted.ran_one(x.index_select(axis, &ids)?, |_| {
        // Rows of the transpose.
        let shape = x.transpose(axis, 0).map(|x| x.dims().clone());
        move |g| {
            let mut whole = Tensor::zeros(shape.clone()?)?;
            whole.index_add(&ids, &g.transpose(axis, 0)?)?;
            whole.transpose(axis, 0)
        }
    })
}

fn index_add<T: Float>(
    x: &Tensor<T>,
    ids: &Tensor<u32>,
    rows: &Tensor<T>,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    let (ids, mut sum) = (ids.to_vec(), x.clone());
    sum.index_add(&ids, rows)?;
    wanted.ran(sum, |_, [of_x, of_rows]| {
        move |g| Ok([when(of_x, || Ok(g.clone()))?, when(of_rows, || g.index_select(0, &ids))?])
    })
}

fn lookup_stored<T: Float>(table: &AnyTensor, ids: &Tensor<u32>) -> Result<Ran<T>> {
    let rows = table.rows(&ids.to_vec())?.cast::<T>()?;
    let shape: Shape = ids.shape().iter().chain(&rows.shape()[1..]).copied().collect();
    Ok(Ran { value: rows.reshape(shape)?, backward: None })
}

fn lookup<T: Float>(
    table: &Tensor<T>,
    ids: &Tensor<u32>,
    padding: Option<u32>,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    let mut shape = ids.shape().to_vec();
    let list = ids.to_vec();
    let rows = table.index_select(0, &list)?;
    shape.extend_from_slice(&table.shape()[1..]);
    wanted.ran(rows.reshape(shape)?, |_, [of_table]| {
        let table = table.dims().clone();
        move |g| {
            if !of_table {
                return Ok([None]);
            }
            let mut gradient = RowGradient::from_lookup(&table, &list, g)?;
            if let Some(padding) = padding {
                gradient = gradient.without(padding)?;
            }
            Ok([Some(Gradient::Rows(gradient))])
        }
    })
}

/// Zeros of `shape` with `values` added at `indices` along an axis.
pub(super) fn put_back<T: Float>(
    shape: &Shape,
    axis: usize,
    indices: &Tensor<u32>,
    values: &Tensor<T>,
) -> cairn_tensor::Result<Tensor<T>> {
    let mut whole = Tensor::zeros(shape)?;
    whole.scatter_add(axis, indices, values)?;
    Ok(whole)
}

/// Zeros of `shape` with `values`, in order, where `mask` is true.
fn masked_put<T: Float>(
    mask: &Tensor<bool>,
    values: &Tensor<T>,
    shape: &Shape,
) -> cairn_tensor::Result<Tensor<T>> {
    Tensor::build(shape, |out| {
        let mut values = values.iter();
        for (o, keep) in out.iter_mut().zip(mask.iter()) {
            *o = keep.then(|| values.next()).flatten().unwrap_or(T::ZERO);
        }
    })
}

/// Indices as an operand.
fn operand(indices: &[u32]) -> Result<Tensor<u32>> {
    Ok(Tensor::from_slice(indices, [indices.len()])?)
}

impl<T: Float> Var<T> {
    /// The entries of an axis named by `indices`. For rows of a large table see [`lookup`](Self::lookup), whose gradient
    /// is sparse; this one's is dense.
    ///
    /// # Errors
    /// For an axis or an index out of range.
    pub fn index_select(&self, axis: impl Axis, indices: &[u32]) -> Result<Self> {
        let axis = self.axis("index_select", axis)?;
        Var::apply(Index::IndexSelect { axis }, &[self.into(), (&operand(indices)?).into()])
    }

    /// This variable with row `i` of `rows` added to its row `indices[i]`.
    ///
    /// # Errors
    /// For an index out of range, and for rows of another shape or number.
    pub fn index_add(&self, indices: &[u32], rows: &Self) -> Result<Self> {
        Var::apply(Index::IndexAdd, &[self.into(), (&operand(indices)?).into(), rows.into()])
    }

    /// Element by element along an axis, as `index` says.
    ///
    /// # Errors
    /// For an axis or an index out of range, and where the other sizes differ.
    pub fn gather(&self, axis: impl Axis, index: &Tensor<u32>) -> Result<Self> {
        let axis = self.axis("gather", axis)?;
        Var::apply(Index::Gather { axis }, &[self.into(), index.into()])
    }

    /// This variable with each element of `values` added to the one that `index` names along an axis.
    ///
    /// # Errors
    /// For an axis or an index out of range, and where the other sizes differ.
    pub fn scatter_add(&self, axis: impl Axis, index: &Tensor<u32>, values: &Self) -> Result<Self> {
        let axis = self.axis("scatter_add", axis)?;
        Var::apply(Index::ScatterAdd { axis }, &[self.into(), index.into(), values.into()])
    }

    /// The elements where `mask`, broadcast to this variable's shape, is true, as a vector.
    ///
    /// # Errors
    /// When the mask does not broadcast.
    pub fn masked_select(&self, mask: &Tensor<bool>) -> Result<Self> {
        Var::apply(Index::MaskedSelect, &[self.into(), mask.into()])
    }

    /// This variable with `value` wherever `mask`, broadcast to its shape, is true.
    ///
    /// # Errors
    /// When the mask does not broadcast.
    pub fn masked_fill(&self, mask: &Tensor<bool>, value: T) -> Result<Self> {
        Var::apply(Index::MaskedFill { value: value.to_f64() }, &[self.into(), mask.into()])
    }

    /// This variable times `scale` wherever `mask`, broadcast to its shape, is true, and 0 elsewhere: dropout, with a mask of what is
    /// kept. The mask is all that is remembered.
    ///
    /// # Errors
    /// When the mask does not broadcast.
    pub fn masked_scale(&self, mask: &Tensor<bool>, scale: T) -> Result<Self> {
        Var::apply(Index::MaskedScale { scale: scale.to_f64() }, &[self.into(), mask.into()])
    }

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
    #[doc(alias = "embedding")]
    pub fn lookup(&self, ids: &Tensor<u32>) -> Result<Self> {
        Var::apply(Index::Lookup { padding: None }, &[self.into(), ids.into()])
    }

    /// As [`lookup`](Self::lookup), but row `padding` gets no gradient: what stands for nothing learns nothing.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    #[doc(alias = "padding_idx")]
    pub fn lookup_padded(&self, ids: &Tensor<u32>, padding: u32) -> Result<Self> {
        Var::apply(Index::Lookup { padding: Some(padding) }, &[self.into(), ids.into()])
    }

    /// As [`lookup`](Self::lookup), in a table `[entries, size]` in the type that it is stored in, which is not trained.
    ///
    /// # Errors
    /// For an id beyond the table, with its place; for quantised weights that are no matrix of rows of blocks.
    pub fn lookup_stored(table: &AnyTensor, ids: &Tensor<u32>) -> Result<Self> {
        Var::apply(Index::LookupStored, &[table.into(), ids.into()])
    }

    /// [`lookup_stored`](Self::lookup_stored) of quantised weights.
    ///
    /// # Errors
    /// As [`lookup_stored`](Self::lookup_stored).
    pub fn lookup_quantized(table: &QuantizedTensor, ids: &Tensor<u32>) -> Result<Self> {
        Self::lookup_stored(&table.clone().into(), ids)
    }
}
