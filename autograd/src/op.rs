//! Operations as data: what a variable was computed by.
//!
//! An operation is said once. Its stem's file in `ops/` declares it ([`Op`] has one variant a stem, each an enum of that file)
//! and holds its forward pass and its derivative side by side, in one function, `run`: given tensors alone it evaluates, given
//! the wish for gradients it also returns the derivative as a closure over what it saved. Everything that happens to a model
//! after it was written (evaluation without variables, counting of FLOPs, fusion, export) matches on this type, so that the
//! compiler names the places that a new operation has to be told to.
//!
//! Attributes are plain numbers, `f64` whatever the element type, so that an operation is the same value for both. Axes count from
//! the front. Tensors are never attributes: ids, masks and lengths are operands like others.

use cairn_tensor::{AnyTensor, Float, Tensor};

#[cfg(feature = "linalg")]
pub use crate::ops::Factor;
pub use crate::ops::{
    Arithmetic, Attend, Attention, Conv, Elementwise, Gated, IdsOp, Index, Join, Linalg, Linear, Matmul,
    Norm, Pooling, Present, Recurrent, Reduce, Reduced, Reduction, Resizing, Rotary, Scan, Slicing, Softmax,
    Sort, Spans, View, Weighted,
};
use crate::{Error, Gradient, Result, compiled};

/// The identity of an operation, with its attributes.
///
/// ```
/// use cairn_autograd::op::{Elementwise, Op, Operand};
/// use cairn_tensor::Tensor;
/// let x = Tensor::from_vec(vec![-1.0f32, 2.0], [2])?;
/// let op = Op::from(Elementwise::LeakyRelu { slope: 0.5 });
/// assert_eq!(op.name(), "leaky_relu");
/// assert_eq!(op.evaluate(&[Operand::Float(&x)])?.to_vec(), [-0.5, 2.0]);
/// # Ok::<(), cairn_autograd::Error>(())
/// ```
///
/// Matching on it is meant to be exhaustive: a new operation is a new variant of a stem, and whoever translates graphs is told
/// so by the compiler.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Functions of one element.
    Elementwise(Elementwise),
    /// Arithmetic on two tensors, and choices between them, with broadcasting.
    Arithmetic(Arithmetic),
    /// Sums, means and other reductions over axes.
    Reduce(Reduce),
    /// Softmax and its relatives.
    Softmax(Softmax),
    /// Products of matrices and by named axes.
    Matmul(Matmul),
    /// Dense layers.
    Linear(Linear),
    /// Convolutions.
    Conv(Conv),
    /// Pooling of images.
    Pooling(Pooling),
    /// Normalisation.
    Norm(Norm),
    /// Images at another size.
    Resizing(Resizing),
    /// Recurrent layers.
    Recurrent(Recurrent),
    /// Attention.
    Attention(Attention),
    /// Rotary positions.
    Rotary(Rotary),
    /// Gated activations.
    Gated(Gated),
    /// Picking by index or mask.
    Index(Index),
    /// Parts, repetitions and triangles.
    Slicing(Slicing),
    /// The same elements seen otherwise.
    View(View),
    /// Joining.
    Join(Join),
    /// Running folds.
    Scan(Scan),
    /// Ranking.
    Sort(Sort),
    /// What follows from where sequences begin and end.
    Spans(Spans),
    /// Linear algebra.
    Linalg(Linalg),
    /// An operation of a user's own, by name: see [`Var::from_op`](crate::Var::from_op).
    Custom(&'static str),
}

/// Calls the same method of whichever stem the operation is of.
macro_rules! by_stem {
    ($op:expr, $inner:ident => $call:expr, custom $name:ident => $custom:expr) => {
        match $op {
            Op::Elementwise($inner) => $call,
            Op::Arithmetic($inner) => $call,
            Op::Reduce($inner) => $call,
            Op::Softmax($inner) => $call,
            Op::Matmul($inner) => $call,
            Op::Linear($inner) => $call,
            Op::Conv($inner) => $call,
            Op::Pooling($inner) => $call,
            Op::Norm($inner) => $call,
            Op::Resizing($inner) => $call,
            Op::Recurrent($inner) => $call,
            Op::Attention($inner) => $call,
            Op::Rotary($inner) => $call,
            Op::Gated($inner) => $call,
            Op::Index($inner) => $call,
            Op::Slicing($inner) => $call,
            Op::View($inner) => $call,
            Op::Join($inner) => $call,
            Op::Scan($inner) => $call,
            Op::Sort($inner) => $call,
            Op::Spans($inner) => $call,
            Op::Linalg($inner) => $call,
            Op::Custom($name) => $custom,
        }
    };
}

impl Op {
    /// The name, as the method of [`Var`](crate::Var) is called.
    pub fn name(&self) -> &'static str {
        by_stem!(self, op => op.name(), custom name => name)
    }

    /// The names of all operations but users' own.
    pub fn names() -> Vec<&'static str> {
        let stems: &[&[&'static str]] = &[
            Elementwise::NAMES,
            Arithmetic::NAMES,
            Reduce::NAMES,
            Softmax::NAMES,
            Matmul::NAMES,
            Linear::NAMES,
            Conv::NAMES,
            Pooling::NAMES,
            Norm::NAMES,
            Resizing::NAMES,
            Recurrent::NAMES,
            Attention::NAMES,
            Rotary::NAMES,
            Gated::NAMES,
            Index::NAMES,
            Slicing::NAMES,
            View::NAMES,
            Join::NAMES,
            Scan::NAMES,
            Sort::NAMES,
            Spans::NAMES,
            Linalg::NAMES,
        ];
        stems.concat()
    }

    /// The result for these operands, without variables: the same code, and the same bits, as the recorded forward pass.
    ///
    /// # Errors
    /// When the operands do not fit the operation; [`Error::NoEvaluation`] for a user's own.
    pub fn evaluate<T: Float>(&self, operands: &[Operand<'_, T>]) -> Result<Tensor<T>> {
        Ok(self.run(operands, Wanted(&[]))?.value)
    }

    /// Floating-point operations for operands and a result of these shapes: two for each multiply-add of a product (dense
    /// layers, convolutions, recurrences, matrices), taps on padding included, as PyTorch's `FlopCounterMode` counts; 0 for what
    /// is no product, and for users' own operations, of which nothing is known.
    pub fn flops(&self, operands: &[&[usize]], output: &[usize]) -> u64 {
        by_stem!(self, op => op.flops(operands, output), custom _name => 0)
    }

    /// Floating-point operations of the derivative where a gradient is `wanted` of these of the operands that are floats, in order, counted as
    /// [`flops`](Self::flops) counts: the derivative of a product by one of its factors is a product of the same size. What a kernel
    /// computes again because it was not kept does not count.
    pub fn backward_flops(&self, operands: &[&[usize]], output: &[usize], wanted: &[bool]) -> u64 {
        by_stem!(self, op => op.backward_flops(operands, output, wanted), custom _name => 0)
    }

    pub(crate) fn run<T: Float>(&self, operands: &[Operand<'_, T>], wanted: Wanted<'_>) -> Result<Ran<T>> {
        compiled::run()(self, operands, wanted)
    }

    /// [`run`](Self::run) itself; called by [`compiled`] alone, so that it is compiled in this crate alone.
    pub(crate) fn run_as<T: Float>(&self, operands: &[Operand<'_, T>], wanted: Wanted<'_>) -> Result<Ran<T>> {
        let x = Operands { op: self.name(), list: operands };
        by_stem!(self, op => op.run(x, wanted), custom name => Err(Error::NoEvaluation { op: name }))
    }
}

/// What a stem's enum of operations can do.
pub(crate) trait Rule {
    /// The forward pass and, if gradients are wanted, the derivative.
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>>;

    /// See [`Op::flops`].
    fn flops(&self, _operands: &[&[usize]], _output: &[usize]) -> u64 {
        0
    }

    /// See [`Op::backward_flops`]. The factors of a product are the first two floats; what follows is added.
    fn backward_flops(&self, operands: &[&[usize]], output: &[usize], wanted: &[bool]) -> u64 {
        let factors = wanted.iter().take(2).filter(|wanted| **wanted).count();
        self.flops(operands, output).saturating_mul(factors as u64)
    }
}

/// Declares the operations of a stem, each with its name, and makes them an [`Op`].
macro_rules! operations {
    (
        $(#[$attribute:meta])*
        $stem:ident {
            $($(#[$doc:meta])* $variant:ident $({ $($fields:tt)* })? = $name:expr,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $stem {
            $($(#[$doc])* $variant $({ $($fields)* })?,)*
        }

        impl $stem {
            pub(crate) const NAMES: &[&'static str] = &[$($name),*];

            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $($stem::$variant { .. } => $name,)*
                }
            }
        }

        impl From<$stem> for $crate::op::Op {
            fn from(op: $stem) -> Self {
                $crate::op::Op::$stem(op)
            }
        }
    };
}
pub(crate) use operations;

/// An operand: floats, stored weights, or the ids and masks that say what is done with them.
#[derive(Debug)]
pub enum Operand<'a, T: Float = f32> {
    /// What can have a gradient.
    Float(&'a Tensor<T>),
    /// Ids, labels, lengths, indices.
    Ids(&'a Tensor<u32>),
    /// Yes or no.
    Mask(&'a Tensor<bool>),
    /// Weights in the type that they are stored in, which are not trained: quantised, or of 16 bits.
    Stored(&'a AnyTensor),
}

impl<T: Float> Clone for Operand<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Float> Copy for Operand<'_, T> {}

impl<T: Float> Operand<'_, T> {
    /// The sizes along each axis.
    pub fn shape(&self) -> &[usize] {
        match self {
            Operand::Float(x) => x.shape(),
            Operand::Ids(ids) => ids.shape(),
            Operand::Mask(mask) => mask.shape(),
            Operand::Stored(weights) => weights.shape(),
        }
    }
}

impl<'a, T: Float> From<&'a Tensor<T>> for Operand<'a, T> {
    fn from(x: &'a Tensor<T>) -> Self {
        Operand::Float(x)
    }
}

/// The operands of one call.
#[derive(Debug)]
pub(crate) struct Operands<'a, T: Float> {
    op: &'static str,
    list: &'a [Operand<'a, T>],
}

impl<T: Float> Clone for Operands<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Float> Copy for Operands<'_, T> {}

impl<'a, T: Float> Operands<'a, T> {
    fn bad(&self, position: usize, expected: &'static str) -> Error {
        Error::BadOperand { op: self.op, position, expected }
    }

    pub(crate) fn float(&self, position: usize) -> Result<&'a Tensor<T>> {
        self.optional(position)?.ok_or_else(|| self.bad(position, "floats"))
    }

    /// The floats at this position, if there is an operand.
    pub(crate) fn optional(&self, position: usize) -> Result<Option<&'a Tensor<T>>> {
        match self.list.get(position) {
            None => Ok(None),
            Some(Operand::Float(x)) => Ok(Some(x)),
            Some(_) => Err(self.bad(position, "floats")),
        }
    }

    pub(crate) fn floats(&self) -> Result<Vec<&'a Tensor<T>>> {
        (0..self.list.len()).map(|position| self.float(position)).collect()
    }

    pub(crate) fn ids(&self, position: usize) -> Result<&'a Tensor<u32>> {
        match self.list.get(position) {
            Some(Operand::Ids(ids)) => Ok(ids),
            _ => Err(self.bad(position, "ids")),
        }
    }

    pub(crate) fn stored(&self, position: usize) -> Result<&'a AnyTensor> {
        match self.list.get(position) {
            Some(Operand::Stored(weights)) => Ok(weights),
            _ => Err(self.bad(position, "stored weights")),
        }
    }

    pub(crate) fn mask(&self, position: usize) -> Result<&'a Tensor<bool>> {
        match self.list.get(position) {
            Some(Operand::Mask(mask)) => Ok(mask),
            _ => Err(self.bad(position, "a mask")),
        }
    }
}

/// From the gradient of the output to those of the operands that are floats, in order; `None` for those not wanted. It is called once,
/// so that what it kept may become a gradient without a copy, and is freed else.
pub(crate) type Backward<T> = Box<dyn FnOnce(&Tensor<T>) -> Result<Vec<Option<Gradient<T>>>> + Send + Sync>;

/// What an operation made.
pub(crate) struct Ran<T: Float> {
    pub(crate) value: Tensor<T>,
    /// The derivative, if any gradient is wanted.
    pub(crate) backward: Option<Backward<T>>,
}

/// For which of the operands that are floats, in order, a gradient is wanted; for none where the list ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a>(pub(crate) &'a [bool]);

impl Wanted<'_> {
    pub(crate) fn any(self) -> bool {
        self.0.contains(&true)
    }

    /// The first `N` wishes.
    pub(crate) fn of<const N: usize>(self) -> [bool; N] {
        std::array::from_fn(|i| self.0.get(i).copied().unwrap_or(false))
    }

    /// A value and, if gradients are wanted, the derivative that `derivative` makes of it and of the wishes: it saves what it
    /// needs, and only then.
    pub(crate) fn ran<T, const N: usize, F>(
        self,
        value: Tensor<T>,
        derivative: impl FnOnce(&Tensor<T>, [bool; N]) -> F,
    ) -> Result<Ran<T>>
    where
        T: Float,
        F: FnOnce(&Tensor<T>) -> Result<[Option<Gradient<T>>; N]> + Send + Sync + 'static,
    {
        let backward = self.any().then(|| -> Backward<T> {
            let derivative = derivative(&value, self.of());
            Box::new(move |g| Ok(derivative(g)?.into()))
        });
        Ok(Ran { value, backward })
    }

    /// As [`ran`](Self::ran), for the usual case: one operand, one dense gradient.
    pub(crate) fn ran_one<T, F>(
        self,
        value: Tensor<T>,
        derivative: impl FnOnce(&Tensor<T>) -> F,
    ) -> Result<Ran<T>>
    where
        T: Float,
        F: FnOnce(&Tensor<T>) -> cairn_tensor::Result<Tensor<T>> + Send + Sync + 'static,
    {
        self.ran(value, |value, [_]: [bool; 1]| {
            let derivative = derivative(value);
            move |g| Ok([Some(Gradient::Dense(derivative(g)?))])
        })
    }
}
