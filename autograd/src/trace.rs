//! How a variable was computed, for those who take a forward pass over into another form: a graph to run, an ONNX file.
//!
//! A graph that is recorded for the backward pass has the operations of what has a gradient, and of their operands those that are
//! variables. Within [`trace`] every operation is recorded with all its operands, those on constants too, and with the part of
//! the model it belongs to; outside, training pays nothing for that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use cairn_tensor::{AnyTensor, Float, Tensor};

use crate::flops::is_counting;
use crate::op::{Op, Operand};
use crate::ops::IdsOp;
use crate::var::{Argument, recording};
use crate::{Result, Var};

thread_local! {
    static TRACING: Cell<bool> = const { Cell::new(false) };
    static IDS: RefCell<Vec<RecordedIds>> = const { RefCell::new(Vec::new()) };
    static SCOPE: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// What an operation took: a variable, stored weights, or the ids or the mask that say what is done.
#[derive(Debug, Clone)]
pub enum Source<T: Float = f32> {
    /// A variable.
    Var(Var<T>),
    /// Ids, labels, lengths.
    Ids(Tensor<u32>),
    /// Yes or no.
    Mask(Tensor<bool>),
    /// Weights in the type that they are stored in.
    Stored(AnyTensor),
}

impl<T: Float> From<&Argument<'_, T>> for Source<T> {
    fn from(argument: &Argument<'_, T>) -> Self {
        match *argument {
            Argument::Var(var) => Source::Var(var.clone()),
            Argument::Ids(ids) => Source::Ids(ids.clone()),
            Argument::Mask(mask) => Source::Mask(mask.clone()),
            Argument::Stored(weights) => Source::Stored(weights.clone()),
        }
    }
}

impl<T: Float> Source<T> {
    /// The variable, if it is one.
    pub(crate) fn var(self) -> Option<Var<T>> {
        match self {
            Source::Var(var) => Some(var),
            Source::Ids(_) | Source::Mask(_) | Source::Stored(_) => None,
        }
    }
}

impl<'a, T: Float> From<&'a Source<T>> for Argument<'a, T> {
    fn from(source: &'a Source<T>) -> Self {
        match source {
            Source::Var(var) => Argument::Var(var),
            Source::Ids(ids) => Argument::Ids(ids),
            Source::Mask(mask) => Argument::Mask(mask),
            Source::Stored(weights) => Argument::Stored(weights),
        }
    }
}

/// One operation of a traced graph.
#[derive(Debug, Clone)]
pub struct Recorded<T: Float = f32> {
    /// Which one.
    pub op: Op,
    /// What it took, in order.
    pub operands: Vec<Source<T>>,
    /// The part of the model it belongs to: see [`scope`].
    pub scope: Option<Arc<str>>,
}

/// An operation on ids of a traced pass.
#[derive(Debug, Clone)]
pub struct RecordedIds {
    /// Which one.
    pub op: IdsOp,
    /// What it took.
    pub operand: Tensor<u32>,
    /// What it made. Who takes it shares its storage.
    pub result: Tensor<u32>,
    /// The part of the model it belongs to: see [`scope`].
    pub scope: Option<Arc<str>>,
}

/// What [`trace`] returns.
#[derive(Debug, Clone)]
pub struct Traced<R> {
    /// What the function returned.
    pub result: R,
    /// The operations on ids, in order.
    pub ids: Vec<RecordedIds>,
}

/// What a traced variable remembers beside its operation.
#[derive(Debug)]
pub(crate) struct Origin<T: Float> {
    pub(crate) operands: Vec<Source<T>>,
    pub(crate) scope: Option<Arc<str>>,
}

impl<T: Float> Origin<T> {
    /// What is remembered of a call, where a trace wants it.
    pub(crate) fn of(arguments: &[Argument<'_, T>]) -> Option<Box<Self>> {
        TRACING.get().then(|| {
            let operands = arguments.iter().map(Source::from).collect();
            Box::new(Origin { operands, scope: current_scope() })
        })
    }
}

/// Keeps an operation on ids, where a trace wants it.
pub(crate) fn record_ids(op: IdsOp, operand: &Tensor<u32>, result: &Tensor<u32>) {
    if TRACING.get() {
        let (operand, result, scope) = (operand.clone(), result.clone(), current_scope());
        IDS.with_borrow_mut(|all| all.push(RecordedIds { op, operand, result, scope }));
    }
}

/// The part of the model that is being run, where that is asked for.
pub(crate) fn current_scope() -> Option<Arc<str>> {
    SCOPE.with_borrow(Clone::clone)
}

/// Whether a forward pass is being traced on this thread.
pub fn is_tracing() -> bool {
    TRACING.get()
}

/// Runs `f`, in which all operations are recorded with all their operands, those on constants too. Applies to this thread.
///
/// ```
/// use cairn_autograd::op::{Op, View};
/// use cairn_autograd::{Var, trace};
/// use cairn_tensor::Tensor;
/// let x = Var::constant(Tensor::<f32>::ones([2, 3])?);
/// let y = trace(|| x.leaky_relu(0.1)?.permute([1, 0])).result?;
/// let names: Vec<_> = y.graph().iter().filter_map(|var| Some(var.recorded()?.op.name())).collect();
/// assert_eq!(names, ["leaky_relu", "permute"]);
/// assert_eq!(y.recorded().unwrap().op, Op::View(View::Permute { order: vec![1, 0] }));
/// # Ok::<(), cairn_autograd::Error>(())
/// ```
pub fn trace<R>(f: impl FnOnce() -> R) -> Traced<R> {
    struct Restore(bool, Vec<RecordedIds>);
    impl Drop for Restore {
        fn drop(&mut self) {
            TRACING.set(self.0);
            IDS.set(std::mem::take(&mut self.1));
        }
    }
    let _restore = Restore(TRACING.replace(true), IDS.take());
    let result = recording(true, f);
    Traced { result, ids: IDS.take() }
}

/// Runs `f`, saying of what it records that it belongs to the part of a model called `name`, within the part that is being run
/// already. Free outside a [`trace`] and [`count_flops`](crate::count_flops).
pub fn scope<R>(name: &str, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<str>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPE.set(self.0.take());
        }
    }
    if !TRACING.get() && !is_counting() {
        return f();
    }
    let path: Arc<str> = SCOPE.with_borrow(|outer| match outer {
        Some(outer) => format!("{outer}.{name}").into(),
        None => name.into(),
    });
    let _restore = Restore(SCOPE.replace(Some(path)));
    f()
}

impl<T: Float> Var<T> {
    /// How this variable was computed, if it was in a [`trace`].
    pub fn recorded(&self) -> Option<Recorded<T>> {
        let origin = self.origin()?;
        let (operands, scope) = (origin.operands.clone(), origin.scope.clone());
        Some(Recorded { op: self.record().op.clone()?, operands, scope })
    }

    /// A number of its own, above those of all it was computed from.
    pub fn id(&self) -> u64 {
        self.record().id
    }

    /// This variable and all it was computed from in a [`trace`], each after its operands.
    pub fn graph(&self) -> Vec<Self> {
        let mut found = BTreeMap::new();
        let mut pending = vec![self.clone()];
        while let Some(var) = pending.pop() {
            if let Entry::Vacant(entry) = found.entry(var.record().id) {
                let origin = var.origin();
                pending.extend(origin.into_iter().flat_map(|origin| &origin.operands).filter_map(
                    |operand| match operand {
                        Source::Var(var) => Some(var.clone()),
                        Source::Ids(_) | Source::Mask(_) | Source::Stored(_) => None,
                    },
                ));
                entry.insert(var);
            }
        }
        // An operation's number is above those of its operands.
        found.into_values().collect()
    }
}

impl<T: Float> Recorded<T> {
    /// The operation evaluated on the values of its operands, without variables.
    ///
    /// # Errors
    /// [`Error::NoEvaluation`](crate::Error::NoEvaluation) for a user's own operation.
    pub fn evaluate(&self) -> Result<Tensor<T>> {
        let operands: Vec<Operand<'_, T>> = self
            .operands
            .iter()
            .map(|operand| match operand {
                Source::Var(var) => Operand::Float(var.value()),
                Source::Ids(ids) => Operand::Ids(ids),
                Source::Mask(mask) => Operand::Mask(mask),
                Source::Stored(weights) => Operand::Stored(weights),
            })
            .collect();
        self.op.evaluate(&operands)
    }
}
