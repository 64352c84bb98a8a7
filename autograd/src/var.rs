//! The variable: a tensor that remembers how it was computed.
//!
//! A graph is made of records that point to those they were computed from, and nothing points back, so a graph lives exactly
//! as long as someone holds its end. Records have no values: a variable holds its own, and what a derivative needs it keeps
//! itself, so that a value nobody needs any more is freed while the graph goes on without it. Each record carries a number from
//! one counter; since an operation's number is above those of its operands, descending numbers are an order for the backward
//! pass, without a search.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_tensor::{AnyTensor, Float, Shape, Tensor};
use smallvec::SmallVec;

use crate::flops::{counted, is_counting};
use crate::logits::{Activated, Logits};
use crate::op::{Backward, Op, Operand, Ran, Wanted};
use crate::trace::{Origin, Source, is_tracing};
use crate::{Gradient, Result};

/// A tensor in a computation that can be differentiated.
///
/// A variable is a *leaf* that gradients are wanted for, a *constant*, or computed from others. It never changes: what
/// training changes is a [`Parameter`](crate::Parameter), whose [`var`](crate::Parameter::var) is a leaf. Operations have
/// the names they have on tensors and return `Result`; `+`, `-`, `*`, `/` panic with the same text. Cloning is cheap and
/// gives the same variable.
///
/// ```
/// use cairn_autograd::Var;
/// use cairn_tensor::Tensor;
/// let x = Var::parameter(Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3])?);
/// let loss = x.square()?.sum(..)?;
/// let gradients = loss.backward()?;
/// assert_eq!(gradients.of(&x)?.to_vec(), [2.0, 4.0, 6.0]);
/// # Ok::<(), cairn_autograd::Error>(())
/// ```
pub struct Var<T: Float = f32>(Arc<Node<T>>);

/// What a variable points to, so that it is as small as a pointer.
struct Node<T: Float> {
    value: Tensor<T>,
    record: Arc<Record<T>>,
    /// The logits that these probabilities were made of, if they are probabilities.
    logits: Option<Logits<T>>,
    /// All operands; kept in [`trace`](crate::trace()) alone.
    origin: Option<Box<Origin<T>>>,
}

/// What the graph knows of a variable, which is enough for the backward pass.
pub(crate) struct Record<T: Float> {
    pub(crate) id: u64,
    pub(crate) shape: Shape,
    /// Whether gradients flow to or through this variable.
    tracked: bool,
    /// How it was computed; taken by the backward pass.
    history: Mutex<Option<History<T>>>,
    /// The operation, `None` for parameters and constants.
    pub(crate) op: Option<Op>,
}

/// What an operation leaves behind for the backward pass.
pub(crate) struct History<T: Float> {
    pub(crate) parents: Vec<Arc<Record<T>>>,
    pub(crate) backward: Backward<T>,
}

/// An operand of a call on variables.
#[derive(Debug)]
pub(crate) enum Argument<'a, T: Float> {
    Var(&'a Var<T>),
    Ids(&'a Tensor<u32>),
    Mask(&'a Tensor<bool>),
    Stored(&'a AnyTensor),
}

impl<T: Float> Argument<'_, T> {
    /// The sizes along each axis.
    pub(crate) fn shape(&self) -> &[usize] {
        match *self {
            Argument::Var(var) => var.shape(),
            Argument::Ids(ids) => ids.shape(),
            Argument::Mask(mask) => mask.shape(),
            Argument::Stored(weights) => weights.shape(),
        }
    }
}

impl<'a, T: Float> From<&'a Var<T>> for Argument<'a, T> {
    fn from(var: &'a Var<T>) -> Self {
        Argument::Var(var)
    }
}
impl<'a, T: Float> From<&'a Tensor<u32>> for Argument<'a, T> {
    fn from(ids: &'a Tensor<u32>) -> Self {
        Argument::Ids(ids)
    }
}
impl<'a, T: Float> From<&'a Tensor<bool>> for Argument<'a, T> {
    fn from(mask: &'a Tensor<bool>) -> Self {
        Argument::Mask(mask)
    }
}
impl<'a, T: Float> From<&'a AnyTensor> for Argument<'a, T> {
    fn from(weights: &'a AnyTensor) -> Self {
        Argument::Stored(weights)
    }
}

/// As many operands as almost all operations have, without taking memory.
type Few<X> = SmallVec<[X; 4]>;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// A number that no variable or parameter has had.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Runs `f` without recording: operations inside make constants, which saves the memory and time of a graph that nobody
/// will differentiate. Applies to this thread.
///
/// ```
/// use cairn_autograd::{no_grad, Var};
/// use cairn_tensor::Tensor;
/// let w = Var::parameter(Tensor::<f32>::ones([2])?);
/// let y = no_grad(|| w.square())?;
/// assert!(!y.is_tracked());
/// # Ok::<(), cairn_autograd::Error>(())
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    recording(false, f)
}

/// Whether gradients are recorded.
fn is_recording() -> bool {
    RECORDING.get()
}

/// Runs `f` with recording on or off.
pub(crate) fn recording<R>(on: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(on));
    f()
}

impl<T: Float> Var<T> {
    /// The leaf of the parameter with this identity, or a constant if it is not tracked.
    pub(crate) fn leaf(id: u64, value: Tensor<T>, tracked: bool) -> Self {
        Self::recorded_as(id, value, tracked, None, None, None, None)
    }

    fn recorded_as(
        id: u64,
        value: Tensor<T>,
        tracked: bool,
        op: Option<Op>,
        history: Option<History<T>>,
        logits: Option<Logits<T>>,
        origin: Option<Box<Origin<T>>>,
    ) -> Self {
        let record = Record { id, shape: value.dims().clone(), tracked, history: Mutex::new(history), op };
        Var(Arc::new(Node { value, record: Arc::new(record), logits, origin }))
    }

    /// What the graph knows of it.
    #[inline]
    pub(crate) fn record(&self) -> &Arc<Record<T>> {
        &self.0.record
    }

    /// The logits that these probabilities were made of, if they are probabilities.
    #[inline]
    pub(crate) fn logits(&self) -> Option<&Logits<T>> {
        self.0.logits.as_ref()
    }

    /// All operands, if it was computed in a [`trace`](crate::trace()).
    pub(crate) fn origin(&self) -> Option<&Origin<T>> {
        self.0.origin.as_deref()
    }

    /// The value of a leaf, to be changed in place, if nobody else holds the variable. Graphs that go back to it know it as it was.
    pub(crate) fn changing(&mut self) -> Option<Changing<'_, T>> {
        Arc::get_mut(&mut self.0).map(Changing)
    }

    /// A leaf that gradients are wanted for, of its own: an input whose gradient is looked at. What is trained is a
    /// [`Parameter`](crate::Parameter).
    pub fn parameter(value: Tensor<T>) -> Self {
        Self::leaf(next_id(), value, true)
    }

    /// A variable that no gradient is wanted for: data, masks. Operations on constants alone record nothing.
    pub fn constant(value: Tensor<T>) -> Self {
        Self::leaf(next_id(), value, false)
    }

    /// A constant with this variable's value: gradients stop here.
    pub fn detach(&self) -> Self {
        let logits = self.0.logits.is_some().then(|| Logits::Detached(self.clone()));
        Self::recorded_as(next_id(), self.value().clone(), false, None, None, logits, None)
    }

    /// Records an operation of your own: its output, what it was computed from, and how a gradient of the output becomes
    /// gradients of the operands. `backward` gets the output's gradient and, for each operand, whether a gradient is
    /// wanted; it returns one for each that is.
    ///
    /// Let the closure capture tensors, not variables: a captured variable would keep its whole graph alive.
    ///
    /// ```
    /// use cairn_autograd::{Gradient, Var};
    /// use cairn_tensor::Tensor;
    /// fn cube(x: &Var<f64>) -> cairn_autograd::Result<Var<f64>> {
    ///     let kept = x.value().clone();
    ///     let value = x.value().powf(3.0)?;
    ///     Ok(Var::from_op("cube", value, [x], move |g, [_]| {
    ///         Ok([Some(Gradient::Dense(g.mul(&kept.square()?.scale(3.0)?)?))])
    ///     }))
    /// }
    /// cairn_autograd::gradcheck(&[Tensor::linspace(-1.0, 2.0, 5)?], |x| cube(&x[0]))?;
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    pub fn from_op<const N: usize>(
        op: &'static str,
        value: Tensor<T>,
        parents: [&Var<T>; N],
        backward: impl FnOnce(&Tensor<T>, [bool; N]) -> Result<[Option<Gradient<T>>; N]> + Send + Sync + 'static,
    ) -> Self {
        let arguments = parents.map(Argument::Var);
        let wanted = parents.map(|parent| is_recording() && parent.is_tracked());
        let backward = wanted
            .contains(&true)
            .then(|| -> Backward<T> { Box::new(move |g| Ok(backward(g, wanted)?.into())) });
        Self::record_op(Op::Custom(op), &arguments, Ran { value, backward })
    }

    /// Runs an operation on variables, and records it.
    pub(crate) fn apply(op: impl Into<Op>, arguments: &[Argument<'_, T>]) -> Result<Self> {
        let op = op.into();
        let operands: Few<Operand<'_, T>> = arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Var(var) => Operand::Float(var.value()),
                Argument::Ids(ids) => Operand::Ids(ids),
                Argument::Mask(mask) => Operand::Mask(mask),
                Argument::Stored(weights) => Operand::Stored(weights),
            })
            .collect();
        let ran = op.run(&operands, Wanted(&Self::wanted(arguments)))?;
        Ok(Self::record_op(op, arguments, ran))
    }

    /// As [`apply`](Self::apply), for a caller who runs the operation: one that has further results.
    pub(crate) fn apply_as(
        op: impl Into<Op>,
        arguments: &[Argument<'_, T>],
        run: impl FnOnce(Wanted<'_>) -> Result<Ran<T>>,
    ) -> Result<Self> {
        let ran = run(Wanted(&Self::wanted(arguments)))?;
        Ok(Self::record_op(op.into(), arguments, ran))
    }

    /// For which of the variables among the operands a gradient is wanted.
    fn wanted(arguments: &[Argument<'_, T>]) -> Few<bool> {
        let recording = is_recording();
        vars(arguments).map(|var| recording && var.is_tracked()).collect()
    }

    fn record_op(op: Op, arguments: &[Argument<'_, T>], ran: Ran<T>) -> Self {
        let Ran { value, mut backward } = ran;
        let tracked = backward.is_some();
        if is_counting() {
            backward = counted(&op, arguments, value.shape(), backward);
        }
        let parents = || vars(arguments).map(|var| Arc::clone(var.record())).collect();
        let history = backward.map(|backward| History { parents: parents(), backward });
        let origin = if is_tracing() { Origin::of(arguments) } else { None };
        let logits = Logits::through(&op, arguments);
        Self::recorded_as(next_id(), value, tracked, Some(op), history, logits, origin)
    }

    /// Remembers the logits that these probabilities were made of.
    pub(crate) fn with_logits(self, activated: Activated, logits: &Var<T>) -> Self {
        let mut this = self;
        if let Some(node) = Arc::get_mut(&mut this.0) {
            node.logits = Some(Logits::Of(activated, logits.clone()));
        }
        this
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &Tensor<T> {
        &self.0.value
    }

    /// The sizes along each axis.
    pub fn shape(&self) -> &[usize] {
        self.0.value.shape()
    }

    /// The sizes as an owned [`Shape`].
    pub fn dims(&self) -> &Shape {
        self.0.value.dims()
    }

    /// The only element of a variable of one element.
    ///
    /// # Errors
    /// When there are none or several.
    pub fn item(&self) -> Result<T> {
        Ok(self.0.value.item()?)
    }

    /// Whether gradients flow to this variable: a leaf that is not a constant, or computed from one.
    #[inline]
    pub fn is_tracked(&self) -> bool {
        self.0.record.tracked
    }

    /// Whether both are the same variable.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The variables among the operands.
pub(crate) fn vars<'a, T: Float>(arguments: &[Argument<'a, T>]) -> impl Iterator<Item = &'a Var<T>> {
    arguments.iter().filter_map(|argument| match *argument {
        Argument::Var(var) => Some(var),
        Argument::Ids(_) | Argument::Mask(_) | Argument::Stored(_) => None,
    })
}

impl<T: Float> Record<T> {
    pub(crate) fn take_history(&self) -> Option<History<T>> {
        // A poisoned lock still holds a whole history: it is only ever taken.
        self.history.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Moves what this record points to into `list`.
    fn unlink(&mut self, list: &mut Vec<Arc<Record<T>>>) {
        if let Some(history) = self.history.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            list.extend(history.parents);
        }
    }
}

impl<T: Float> Node<T> {
    /// Moves what this node points to into `list`.
    fn unlink(&mut self, list: &mut Vec<Var<T>>) {
        list.extend(self.logits.take().into_iter().flat_map(Logits::into_vars));
        let operands = self.origin.take().into_iter().flat_map(|origin| origin.operands);
        list.extend(operands.filter_map(Source::var));
    }
}

/// Frees a graph record by record: the compiler's own drop would recurse once for each link of a chain, and overflow the stack
/// on long ones.
impl<T: Float> Drop for Record<T> {
    fn drop(&mut self) {
        let mut list = Vec::new();
        self.unlink(&mut list);
        while let Some(record) = list.pop() {
            if let Some(mut record) = Arc::into_inner(record) {
                record.unlink(&mut list);
            }
        }
    }
}

/// The same for what variables hold of each other.
impl<T: Float> Drop for Node<T> {
    fn drop(&mut self) {
        let mut list = Vec::new();
        self.unlink(&mut list);
        while let Some(var) = list.pop() {
            if let Some(mut node) = Arc::into_inner(var.0) {
                node.unlink(&mut list);
            }
        }
    }
}

/// The value of a leaf while it is changed in place; then the leaf is what it has become, also after a panic.
pub(crate) struct Changing<'a, T: Float>(&'a mut Node<T>);

impl<T: Float> Changing<'_, T> {
    pub(crate) fn value(&mut self) -> &mut Tensor<T> {
        &mut self.0.value
    }
}

impl<T: Float> Drop for Changing<'_, T> {
    fn drop(&mut self) {
        let Node { value, record, .. } = &mut *self.0;
        if record.shape != *value.dims() || Arc::get_mut(record).is_none() {
            let (id, tracked, history) = (record.id, record.tracked, Mutex::new(None));
            *record = Arc::new(Record { id, shape: value.dims().clone(), tracked, history, op: None });
        }
    }
}

impl<T: Float> Clone for Var<T> {
    fn clone(&self) -> Self {
        Var(Arc::clone(&self.0))
    }
}

impl<T: Float> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (&self.0.record.op, self.is_tracked()) {
            (Some(op), _) => op.name(),
            (None, true) => "parameter",
            (None, false) => "constant",
        };
        write!(f, "Var({kind}, {:?})", self.value())
    }
}

impl<T: Float> From<Tensor<T>> for Var<T> {
    /// A constant.
    fn from(value: Tensor<T>) -> Self {
        Var::constant(value)
    }
}
