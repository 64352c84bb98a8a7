//! Parameters: the values that training changes.
//!
//! A [`Var`] is a value in a computation and never changes; a parameter is a cell that holds such a value and gets another one
//! at each step. The cell has an identity of its own. That is what makes tied weights work: a clone of a parameter is the same
//! cell, so every holder sees each update, and its gradients add up under one key, from whatever holder they come.
//!
//! The identity is the number that the cell's leaf has in a graph. Leaves made before and after an update have the same
//! number; since a leaf has no operands, any number below those of the operations on it keeps the order of the backward pass.
//!
//! For inference a cell may hold its value in another element type (bf16, int8), which takes less memory. Such a value is
//! converted each time a computation asks for it, and kept by nobody, and cannot be trained.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cairn_tensor::{AnyTensor, Float, QuantizedTensor, Shape, Tensor};

use crate::var::next_id;
use crate::{Error, Result, Var};

/// A trainable value, shared by everything that holds a clone of it.
///
/// [`var`](Self::var) gives the value as a leaf of a computation, [`Gradients`](crate::Gradients) are looked up by the
/// parameter, and [`update`](Self::update) changes it.
///
/// ```
/// use cairn_autograd::Parameter;
/// use cairn_tensor::Tensor;
/// let w = Parameter::new(Tensor::scalar(2.0f32));
/// let tied = w.clone();
/// let loss = w.var().mul(&tied.var())?; // w², so the derivative is 2 w
/// let gradient = loss.backward()?.of(&w)?;
/// w.update(|w| w.add_assign(&gradient.scale(-0.1)?))?;
/// assert!((tied.value().item()? - 1.6).abs() < 1e-6);
/// assert_eq!(loss.item()?, 4.0); // what was computed before keeps its value
/// # Ok::<(), cairn_autograd::Error>(())
/// ```
#[doc(alias = "Variable")]
pub struct Parameter<T: Float = f32>(Arc<Cell<T>>);

struct Cell<T: Float> {
    id: u64,
    value: RwLock<Value<T>>,
}

/// What a cell holds.
enum Value<T: Float> {
    /// A leaf of computations.
    Leaf(Var<T>),
    /// A tensor of another element type, and whether the parameter is to train again once it has a value of its own type.
    Stored(AnyTensor, bool),
}

impl<T: Float> Parameter<T> {
    /// A trainable parameter with this value.
    pub fn new(value: Tensor<T>) -> Self {
        let id = next_id();
        Parameter(Arc::new(Cell { id, value: RwLock::new(Value::Leaf(Var::leaf(id, value, true))) }))
    }

    /// The value as a leaf of a computation: the same variable for as long as the value is the same. A constant if the parameter
    /// is not [trainable](Self::is_trainable).
    ///
    /// # Panics
    /// When the value is stored in another element type and memory cannot hold it in this one.
    pub fn var(&self) -> Var<T> {
        match &*self.read() {
            Value::Leaf(leaf) => leaf.clone(),
            Value::Stored(stored, _) => Var::constant(converted(stored)),
        }
    }

    /// The value. Storage is shared until one of the two changes; what is stored in another type is converted.
    ///
    /// # Panics
    /// As [`var`](Self::var).
    #[doc(alias = "data")]
    pub fn value(&self) -> Tensor<T> {
        match &*self.read() {
            Value::Leaf(leaf) => leaf.value().clone(),
            Value::Stored(stored, _) => converted(stored),
        }
    }

    /// The value in the element type that it is stored in.
    pub fn any(&self) -> AnyTensor {
        match &*self.read() {
            Value::Leaf(leaf) => leaf.value().clone().into(),
            Value::Stored(stored, _) => stored.clone(),
        }
    }

    /// The value, if it is stored quantised: layers compute with it as it is.
    pub fn quantized(&self) -> Option<QuantizedTensor> {
        match &*self.read() {
            Value::Stored(stored, _) => stored.as_quantized().cloned(),
            Value::Leaf(_) => None,
        }
    }

    /// The value, if it is stored in another element type than computations have: layers compute with it as it is.
    pub fn stored(&self) -> Option<AnyTensor> {
        match &*self.read() {
            Value::Stored(stored, _) => Some(stored.clone()),
            Value::Leaf(_) => None,
        }
    }

    /// Replaces the value for every holder; the shape may change. Graphs made before keep the old value.
    pub fn set(&self, value: Tensor<T>) {
        let mut cell = self.write();
        *cell = Value::Leaf(Var::leaf(self.0.id, value, cell.wants_training()));
    }

    /// As [`set`](Self::set), in whatever element type: in another than `T` it is stored as it is, to be used and not trained.
    ///
    /// ```
    /// use cairn_autograd::Parameter;
    /// use cairn_tensor::{AnyTensor, DType, Tensor};
    /// let w = Parameter::new(Tensor::from_vec(vec![0.5f32, 2.0], [2])?);
    /// w.set_any(w.any().cast(DType::BF16)?);
    /// assert_eq!((w.any().dtype(), w.value().to_vec()), (DType::BF16, vec![0.5, 2.0]));
    /// assert!(!w.is_trainable());
    /// assert_eq!(
    ///     w.set_trainable(true).unwrap_err().to_string(),
    ///     "a parameter stored as bf16 cannot be trained: convert it to f32 first"
    /// );
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    pub fn set_any(&self, value: AnyTensor) {
        match value.downcast_ref::<T>() {
            Ok(value) => self.set(value.clone()),
            Err(_) => {
                let mut cell = self.write();
                *cell = Value::Stored(value, cell.wants_training());
            }
        }
    }

    /// Changes the value for every holder. In place when nobody else holds the value; otherwise a copy is changed, and graphs
    /// made before keep the old value. A value stored in another type is converted before, and stays so.
    ///
    /// Others wait for the value while `change` runs, so `change` must not ask this same parameter for anything.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn update<R, E>(
        &self,
        change: impl FnOnce(&mut Tensor<T>) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        let mut cell = self.write();
        if let Value::Leaf(leaf) = &mut *cell
            && let Some(mut leaf) = leaf.changing()
        {
            return change(leaf.value());
        }
        let mut value = match &*cell {
            Value::Leaf(leaf) => leaf.value().clone(),
            Value::Stored(stored, _) => converted(stored),
        };
        let result = change(&mut value)?;
        *cell = Value::Leaf(Var::leaf(self.0.id, value, cell.wants_training()));
        Ok(result)
    }

    /// The sizes along each axis.
    pub fn shape(&self) -> Shape {
        match &*self.read() {
            Value::Leaf(leaf) => leaf.dims().clone(),
            Value::Stored(stored, _) => stored.dims().clone(),
        }
    }

    /// The number of elements.
    #[allow(clippy::len_without_is_empty)] // Nobody asks whether a parameter is empty.
    #[doc(alias = "numel")]
    pub fn len(&self) -> usize {
        self.shape().count()
    }

    /// The identity of the cell: equal for clones, different for any two other parameters of the program.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Whether both are the same cell: clones of one parameter.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether gradients are computed for it.
    #[doc(alias = "requires_grad")]
    pub fn is_trainable(&self) -> bool {
        matches!(&*self.read(), Value::Leaf(leaf) if leaf.is_tracked())
    }

    /// Freezes the parameter (`false`) or lets it train again, for every holder.
    ///
    /// # Errors
    /// [`Error::NotTrainable`] for `true` when the value is stored in another element type.
    #[doc(alias = "requires_grad_")]
    pub fn set_trainable(&self, trainable: bool) -> Result<()> {
        let mut cell = self.write();
        match &mut *cell {
            Value::Leaf(leaf) if leaf.is_tracked() != trainable => {
                *leaf = Var::leaf(self.0.id, leaf.value().clone(), trainable);
            }
            Value::Leaf(_) => {}
            Value::Stored(stored, _) if trainable => {
                return Err(Error::NotTrainable { stored: stored.dtype(), trained: T::DTYPE });
            }
            Value::Stored(_, wanted) => *wanted = false,
        }
        Ok(())
    }

    // A thread that died in the middle of a change left a whole value, so a poisoned lock is as good as another.
    fn read(&self) -> RwLockReadGuard<'_, Value<T>> {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Value<T>> {
        self.0.value.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Float> Value<T> {
    fn wants_training(&self) -> bool {
        match self {
            Value::Leaf(leaf) => leaf.is_tracked(),
            Value::Stored(_, wanted) => *wanted,
        }
    }
}

/// A stored value in the type of computations.
fn converted<T: Float>(stored: &AnyTensor) -> Tensor<T> {
    let value = stored.cast(T::DTYPE).and_then(Tensor::try_from);
    // Every element type converts into every other, so memory is all that can be missing.
    value.unwrap_or_else(|error| panic!("a parameter stored as {}: {error}", stored.dtype()))
}

/// Ties: the clone is the same cell.
impl<T: Float> Clone for Parameter<T> {
    fn clone(&self) -> Self {
        Parameter(Arc::clone(&self.0))
    }
}

impl<T: Float> fmt::Debug for Parameter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({:?})", self.any())
    }
}

impl<T: Float> From<Tensor<T>> for Parameter<T> {
    fn from(value: Tensor<T>) -> Self {
        Parameter::new(value)
    }
}
