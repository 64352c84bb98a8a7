//! Views: the gradient is viewed back.

use cairn_tensor::{Axis, Float, Shape, Tensor};

use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// The same elements seen otherwise.
    View {
        /// Under another shape.
        Reshape {
            /// The shape.
            shape: Shape,
        } = "reshape",
        /// With the axes in another order.
        Permute {
            /// Where each axis of the result comes from.
            order: Vec<usize>,
        } = "permute",
        /// Stretched to a shape.
        Broadcast {
            /// The shape.
            shape: Shape,
        } = "broadcast_to",
        /// Consecutive entries of an axis.
        Narrow {
            /// The axis.
            axis: usize,
            /// The first of them.
            start: usize,
            /// How many.
            len: usize,
        } = "narrow",
        /// One entry of an axis, which is dropped.
        Index {
            /// The axis.
            axis: usize,
            /// The entry.
            index: usize,
        } = "index",
    }
}

impl Rule for View {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let x = x.float(0)?;
        match self {
            View::Reshape { shape } => wanted.ran_one(x.reshape(shape)?, |_| {
                let shape = x.dims().clone();
                move |g| g.reshape(&shape)
            }),
            View::Permute { order } => wanted.ran_one(x.permute(order)?, |_| {
                let mut inverse = vec![0usize; order.len()];
                for (to, &from) in order.iter().enumerate() {
                    inverse[from] = to;
                }
                move |g| g.permute(&inverse)
            }),
            View::Broadcast { shape } => wanted.ran_one(x.broadcast_to(shape)?, |_| {
                let from = x.dims().clone();
                move |g| g.sum_to(&from)
            }),
            &View::Narrow { axis, start, len } => wanted.ran_one(x.narrow(axis, start, len)?, |_| {
                let shape = x.dims().clone();
                move |g| surround(g, &shape, axis, start)
            }),
            &View::Index { axis, index } => wanted.ran_one(x.index(axis, index)?, |_| {
                let shape = x.dims().clone();
                move |g| surround(&g.unsqueeze(axis)?, &shape, axis, index)
            }),
        }
    }
}

/// `g` at `start` along an axis of an otherwise zero tensor of `shape`.
fn surround<T: Float>(
    g: &Tensor<T>,
    shape: &Shape,
    axis: usize,
    start: usize,
) -> cairn_tensor::Result<Tensor<T>> {
    let zeros = |len: usize| {
        let sizes: Shape =
            shape.iter().enumerate().map(|(i, &size)| if i == axis { len } else { size }).collect();
        Tensor::zeros(sizes)
    };
    let after = shape[axis] - start - g.shape()[axis];
    Tensor::cat(&[&zeros(start)?, g, &zeros(after)?], axis)
}

impl<T: Float> Var<T> {
    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    #[doc(alias = "view")]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        Var::apply(View::Reshape { shape: shape.into() }, &[self.into()])
    }

    /// Axes `from` and all after it as one.
    ///
    /// # Errors
    /// For an axis out of range.
    pub fn flatten(&self, from: impl Axis) -> Result<Self> {
        self.reshape(self.value().flatten(from)?.dims().clone())
    }

    /// Without one axis of size 1.
    ///
    /// # Errors
    /// For an axis out of range or of another size.
    pub fn squeeze(&self, axis: impl Axis) -> Result<Self> {
        self.reshape(self.value().squeeze(axis)?.dims().clone())
    }

    /// With a new axis of size 1.
    ///
    /// # Errors
    /// For an axis out of range.
    #[doc(alias = "expand_dims")]
    pub fn unsqueeze(&self, axis: impl Axis) -> Result<Self> {
        self.reshape(self.value().unsqueeze(axis)?.dims().clone())
    }

    /// The axes in another order.
    ///
    /// # Errors
    /// Unless each axis is named once.
    pub fn permute<A: Axis + Copy>(&self, order: impl AsRef<[A]>) -> Result<Self> {
        let order = order.as_ref();
        // Checked, and named, by the tensors.
        self.value().permute(order)?;
        let order = order.iter().map(|&axis| self.axis("permute", axis)).collect::<Result<_>>()?;
        Var::apply(View::Permute { order }, &[self.into()])
    }

    /// Two axes exchanged.
    ///
    /// # Errors
    /// For an axis out of range.
    #[doc(alias = "swapaxes")]
    pub fn transpose(&self, a: impl Axis, b: impl Axis) -> Result<Self> {
        let mut order: Vec<usize> = (0..self.shape().len()).collect();
        order.swap(self.axis("transpose", a)?, self.axis("transpose", b)?);
        Var::apply(View::Permute { order }, &[self.into()])
    }

    /// The last two axes exchanged.
    ///
    /// # Errors
    /// For fewer than two axes.
    pub fn t(&self) -> Result<Self> {
        // Checked, and named, by the tensors.
        self.value().t()?;
        self.transpose(-1, -2)
    }

    /// Stretched to `shape`; the gradient is summed back.
    ///
    /// # Errors
    /// When this variable does not broadcast to it.
    #[doc(alias = "expand")]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        Var::apply(View::Broadcast { shape: shape.into() }, &[self.into()])
    }

    /// `len` consecutive entries from `start` along one axis; all others get gradient 0.
    ///
    /// # Errors
    /// For an axis or a range beyond the variable.
    pub fn narrow(&self, axis: impl Axis, start: usize, len: usize) -> Result<Self> {
        let axis = self.axis("narrow", axis)?;
        Var::apply(View::Narrow { axis, start, len }, &[self.into()])
    }

    /// One entry along an axis, which is dropped.
    ///
    /// # Errors
    /// For an axis or an index beyond the variable.
    pub fn index(&self, axis: impl Axis, index: usize) -> Result<Self> {
        let axis = self.axis("index", axis)?;
        Var::apply(View::Index { axis, index }, &[self.into()])
    }
}
