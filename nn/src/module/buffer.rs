//! Buffers: values of a model that are saved but not trained.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cairn_tensor::{AnyTensor, DType, Shape, Tensor};

/// A value of a model that is saved but not trained: a running mean, a table that is given. Of any element type. A shared
/// cell, so a forward pass can change it through `&self`, and a clone is the same cell.
///
/// ```
/// use cairn_nn::Buffer;
/// use cairn_tensor::Tensor;
/// let mean = Buffer::new(Tensor::<f32>::zeros([2])?);
/// let same = mean.clone();
/// mean.set(Tensor::<f32>::ones([2])?);
/// assert_eq!(same.value()?.to_vec(), [1.0, 1.0]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Buffer(Arc<RwLock<AnyTensor>>);

impl Buffer {
    /// A buffer with this value.
    #[doc(alias = "register_buffer")]
    pub fn new(value: impl Into<AnyTensor>) -> Self {
        Buffer(Arc::new(RwLock::new(value.into())))
    }

    /// The value in its own element type. Storage is shared until one of the two changes.
    pub fn any(&self) -> AnyTensor {
        self.read().clone()
    }

    /// The value as `f32`, converted if it is stored in another type.
    ///
    /// # Errors
    /// When memory cannot hold the converted value.
    pub fn value(&self) -> cairn_tensor::Result<Tensor> {
        self.read().cast(DType::F32)?.try_into()
    }

    /// Replaces the value for every holder.
    pub fn set(&self, value: impl Into<AnyTensor>) {
        *self.write() = value.into();
    }

    /// Changes the value, as `f32`, for every holder, in one step. `change` must not ask this same buffer for anything.
    ///
    /// # Errors
    /// Those of `change`, and when memory cannot hold the converted value; the value stays what it was then.
    pub fn update<E: From<cairn_tensor::Error>>(
        &self,
        change: impl FnOnce(&Tensor) -> Result<Tensor, E>,
    ) -> Result<(), E> {
        let mut value = self.write();
        let old = value.cast(DType::F32)?;
        *value = change(old.as_f32()?)?.into();
        Ok(())
    }

    /// The sizes along each axis.
    pub fn shape(&self) -> Shape {
        self.read().dims().clone()
    }

    /// Whether both are the same cell.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The identity of the cell for as long as it is held.
    pub(super) fn id(&self) -> u64 {
        Arc::as_ptr(&self.0) as usize as u64
    }

    // Whole tensors are exchanged, so a thread that died left a whole one.
    fn read(&self) -> RwLockReadGuard<'_, AnyTensor> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, AnyTensor> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({:?})", self.any())
    }
}
