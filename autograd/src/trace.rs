//! How a variable was computed, for whoever writes a forward pass down in another form: as ONNX, say.
//!
//! A graph is recorded for the way back, and holds of an operation's settings (an axis, a window, an order) no more than its
//! derivative has locked up inside. They are kept beside it only while [`trace`] runs, so that training pays nothing for
//! them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use cairn_tensor::{Float, Pool, Recurrence, Resize, Returns, Tensor, Window};

use crate::Var;
use crate::var::recording;

thread_local! {
    static TRACING: Cell<bool> = const { Cell::new(false) };
}

/// What an operation was told beside its operands. What the shapes of operands and output say is not repeated. Axes count
/// from the front.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Settings<T: Float = f32> {
    /// Nothing, or nothing was kept.
    None,
    /// A slope, a factor, an exponent, bounds: in the order of the function's arguments.
    Numbers(Vec<T>),
    /// The axis of a softmax, of what is joined, of a running sum.
    Axis(usize),
    /// The axes of a reduction.
    Axes(Vec<usize>),
    /// Where each axis of the output comes from.
    Order(Vec<usize>),
    /// Consecutive entries of an axis.
    Range {
        /// The axis.
        axis: usize,
        /// The first of them.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Entries of some axes.
    Entries(Vec<Entries>),
    /// Where the first operand is taken (`select`), or the number put in its place (`masked_fill`).
    Mask(Tensor<bool>, Option<T>),
    /// How much is put before and behind each axis, and what.
    Pad(Vec<(usize, usize)>, T),
    /// How often each axis is repeated.
    Counts(Vec<usize>),
    /// Whether max(·, 0) follows a dense layer.
    Relu(bool),
    /// A convolution, transposed or not.
    Conv {
        /// How the filter slides.
        window: Window,
        /// Groups of channels.
        groups: usize,
        /// Whether max(·, 0) follows.
        relu: bool,
        /// Maximum pooling after that.
        pool: Option<Pool>,
        /// Pixels below and right of a transposed convolution.
        extra: [usize; 2],
    },
    /// Pooling.
    Pool(Pool),
    /// Resizing; the size is the output's.
    Resize(Resize),
    /// Normalisation by given statistics of each channel.
    Normalize {
        /// The means.
        mean: Tensor<T>,
        /// The variances.
        variance: Tensor<T>,
        /// What is added to the variances.
        epsilon: f64,
    },
    /// Normalisation within an item.
    Groups {
        /// Groups of channels.
        groups: usize,
        /// What is added to the variances.
        epsilon: f64,
    },
    /// The rows looked up.
    Ids(Tensor<u32>),
    /// A formula of products by named axes.
    Formula(String),
    /// A recurrence.
    Recurrent {
        /// Its kind.
        kind: Recurrence,
        /// Whether it runs from the last step to the first.
        reverse: bool,
        /// What it returns.
        returns: Returns,
        /// Whether lengths or a mask were given, which depend on the batch.
        by_item: bool,
        /// Whether, after x, the weight and the recurrent weight, there are a bias, a first h, and a first c.
        present: [bool; 3],
    },
}

/// Which entries of an axis are taken, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// The axis.
    pub axis: usize,
    /// The entries.
    pub indices: Vec<u32>,
    /// Whether the axis, which has one entry left, is dropped.
    pub dropped: bool,
}

/// One operation of a recorded graph.
#[derive(Debug, Clone)]
pub struct Recorded<T: Float = f32> {
    /// Its name.
    pub op: &'static str,
    /// What it was computed from.
    pub operands: Vec<Var<T>>,
    /// What else it was told.
    pub settings: Settings<T>,
}

/// Whether settings are kept, and operations on constants recorded.
pub(crate) fn is_tracing() -> bool {
    TRACING.get()
}

/// Runs `f`, in which all operations are recorded, those on constants too, together with their settings. Applies to this
/// thread.
///
/// ```
/// use cairn_autograd::{Settings, Var, trace};
/// use cairn_tensor::Tensor;
/// let x = Var::constant(Tensor::<f32>::ones([2, 3])?);
/// let y = trace(|| x.leaky_relu(0.1)?.permute([1, 0]))?;
/// let names: Vec<_> = y.graph().iter().filter_map(|var| Some(var.recorded()?.op)).collect();
/// assert_eq!(names, ["leaky_relu", "permute"]);
/// assert_eq!(y.recorded().unwrap().settings, Settings::Order(vec![1, 0]));
/// # Ok::<(), cairn_autograd::Error>(())
/// ```
pub fn trace<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            TRACING.set(self.0);
        }
    }
    let _restore = Restore(TRACING.replace(true));
    recording(true, f)
}

impl<T: Float> Var<T> {
    /// Keeps what an operation was told, where someone wants to know: in [`trace`].
    #[must_use]
    pub fn told(mut self, settings: impl FnOnce() -> Settings<T>) -> Self {
        if TRACING.get()
            && let Some(node) = Arc::get_mut(&mut self.0)
        {
            node.settings = Some(Box::new(settings()));
        }
        self
    }

    /// How this variable was computed, if that was recorded and not yet used up by a backward pass.
    pub fn recorded(&self) -> Option<Recorded<T>> {
        let settings = self.0.settings.as_deref().cloned().unwrap_or(Settings::None);
        Some(Recorded { op: self.0.op?, operands: self.operands()?, settings })
    }

    /// A number of its own, above those of all it was computed from.
    pub fn number(&self) -> u64 {
        self.0.id
    }

    /// This variable and all it was computed from, each after its operands.
    pub fn graph(&self) -> Vec<Self> {
        let mut found = BTreeMap::new();
        let mut pending = vec![self.clone()];
        while let Some(var) = pending.pop() {
            if let Entry::Vacant(place) = found.entry(var.0.id) {
                pending.extend(var.operands().unwrap_or_default());
                place.insert(var);
            }
        }
        // An operation's number is above those of its operands.
        found.into_values().collect()
    }
}

/// An axis from the front, of so many.
pub(crate) fn from_front(axis: isize, rank: usize) -> usize {
    if axis < 0 { (axis + rank as isize) as usize } else { axis as usize }
}
