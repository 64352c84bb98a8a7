//! Parameters: the values that training changes.
//!
//! A [`Var`] is a value in a computation and never changes; a parameter is a cell that holds such a value and gets another one
//! at each step. The cell has an identity of its own. That is what makes tied weights work: a clone of a parameter is the same
//! cell, so every holder sees each update, and its gradients add up under one key, from whatever holder they come.
//!
//! The identity is the number that the cell's leaf has in a graph. Leaves made before and after an update have the same
//! number; since a leaf has no operands, any number below those of the operations on it keeps the order of the backward pass.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cairn_tensor::{Float, Shape, Tensor};

use crate::Var;
use crate::var::next_id;

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
    leaf: RwLock<Var<T>>,
}

impl<T: Float> Parameter<T> {
    /// A trainable parameter with this value.
    pub fn new(value: Tensor<T>) -> Self {
        let id = next_id();
        Parameter(Arc::new(Cell { id, leaf: RwLock::new(Var::leaf(id, value, true)) }))
    }

    /// The value as a leaf of a computation: the same node for as long as the value is the same. A constant if the parameter
    /// is not [trainable](Self::is_trainable).
    pub fn var(&self) -> Var<T> {
        self.read().clone()
    }

    /// The value. Storage is shared until one of the two changes.
    #[doc(alias = "data")]
    pub fn value(&self) -> Tensor<T> {
        self.read().value().clone()
    }

    /// Replaces the value for every holder; the shape may change. Graphs made before keep the old value.
    pub fn set(&self, value: Tensor<T>) {
        let mut leaf = self.write();
        *leaf = Var::leaf(self.0.id, value, leaf.is_tracked());
    }

    /// Changes the value for every holder. In place when nobody else holds the value; otherwise a copy is changed, and graphs
    /// made before keep the old value.
    ///
    /// Others wait for the value while `change` runs, so `change` must not ask this same parameter for anything.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn update<R, E>(&self, change: impl FnOnce(&mut Tensor<T>) -> Result<R, E>) -> Result<R, E> {
        let mut leaf = self.write();
        if let Some(value) = leaf.value_mut() {
            return change(value);
        }
        let mut value = leaf.value().clone();
        let result = change(&mut value)?;
        *leaf = Var::leaf(self.0.id, value, leaf.is_tracked());
        Ok(result)
    }

    /// The sizes along each axis.
    pub fn shape(&self) -> Shape {
        self.read().dims().clone()
    }

    /// The number of elements.
    #[allow(clippy::len_without_is_empty)] // Nobody asks whether a parameter is empty.
    #[doc(alias = "numel")]
    pub fn len(&self) -> usize {
        self.read().value().len()
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
        self.read().is_tracked()
    }

    /// Freezes the parameter (`false`) or lets it train again, for every holder.
    #[doc(alias = "requires_grad_")]
    pub fn set_trainable(&self, trainable: bool) {
        let mut leaf = self.write();
        if leaf.is_tracked() != trainable {
            *leaf = Var::leaf(self.0.id, leaf.value().clone(), trainable);
        }
    }

    // A thread that died in the middle of a change left a whole variable, so a poisoned lock is as good as another.
    fn read(&self) -> RwLockReadGuard<'_, Var<T>> {
        self.0.leaf.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Var<T>> {
        self.0.leaf.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ties: the clone is the same cell.
impl<T: Float> Clone for Parameter<T> {
    fn clone(&self) -> Self {
        Parameter(Arc::clone(&self.0))
    }
}

impl<T: Float> fmt::Debug for Parameter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({:?})", self.value())
    }
}

impl<T: Float> From<Tensor<T>> for Parameter<T> {
    fn from(value: Tensor<T>) -> Self {
        Parameter::new(value)
    }
}
