//! What probabilities were made of, so that a loss can start from there.
//!
//! A softmax or a sigmoid remembers its input. Models go on from there: they flatten, squeeze, pick, join, clamp. All of these give
//! the same when they are done to the logits first, so the logits of what they give are found by doing that, when a loss asks.
//! Without it such a loss would take probabilities for logits, and train, on something else.

use cairn_tensor::{Float, Slice};

use crate::Var;
use crate::op::{Elementwise, Index, Join, Op, Slicing, View};
use crate::trace::Source;
use crate::var::Argument;

/// How probabilities are made of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activated {
    /// One distribution for each run of elements along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// One probability for each element.
    Sigmoid,
}

/// What a variable remembers of logits.
#[derive(Debug)]
pub(crate) enum Logits<T: Float> {
    /// It is an activation of these.
    Of(Activated, Var<T>),
    /// Its operation, done to these operands, passes probabilities on.
    Through(Vec<Source<T>>),
    /// It is this variable cut off from its gradient.
    Detached(Var<T>),
}

impl<T: Float> Logits<T> {
    /// What the result of an operation is to remember.
    pub(crate) fn through(op: &Op, arguments: &[Argument<'_, T>]) -> Option<Self> {
        // Nearly every operation ends here.
        let Some(Argument::Var(first)) = arguments.first() else { return None };
        first.logits()?;
        passes(op, (first.shape(), first.shape()), None)?;
        Some(Logits::Through(arguments.iter().map(Source::from).collect()))
    }

    /// The variables that are held.
    pub(crate) fn into_vars(self) -> Vec<Var<T>> {
        match self {
            Logits::Of(_, var) | Logits::Detached(var) => vec![var],
            Logits::Through(operands) => operands.into_iter().filter_map(Source::var).collect(),
        }
    }
}

impl<T: Float> Var<T> {
    /// If this variable is the output of a softmax along what is its last axis now, what it was taken of: also where it was
    /// reshaped, permuted, sliced, joined with others like it or clamped since. A loss on probabilities computes from there, which
    /// is exact where the logarithm of a rounded probability is not.
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::Tensor;
    /// let x = Var::parameter(Tensor::from_vec(vec![0.0f32, 0.0, 4.0], [1, 1, 3])?);
    /// let p = x.softmax(-1)?.squeeze(1)?;
    /// assert_eq!(p.softmax_logits().unwrap().value().to_vec(), [0.0, 0.0, 4.0]);
    /// assert!(p.scale(0.5)?.softmax_logits().is_none());
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    pub fn softmax_logits(&self) -> Option<Var<T>> {
        let axis = self.shape().len().checked_sub(1)?;
        self.logits_of(Activated::Softmax { axis })
    }

    /// If this variable is the output of a sigmoid, what it was taken of; for losses, as
    /// [`softmax_logits`](Self::softmax_logits).
    pub fn sigmoid_logits(&self) -> Option<Var<T>> {
        self.logits_of(Activated::Sigmoid)
    }

    fn logits_of(&self, wanted: Activated) -> Option<Var<T>> {
        match self.logits()? {
            Logits::Of(activated, logits) => (*activated == wanted).then(|| logits.clone()),
            Logits::Detached(source) => Some(source.logits_of(wanted)?.detach()),
            Logits::Through(operands) => {
                let op = self.record().op.as_ref()?;
                let sources = operands.iter().map(|operand| match operand {
                    Source::Var(var) => Some(Source::Var(var.logits_of(self.before(op, var, wanted)?)?)),
                    ids_or_mask => Some(ids_or_mask.clone()),
                });
                let sources: Vec<Source<T>> = sources.collect::<Option<_>>()?;
                // A clamp is for the logarithm's sake, which does not need it when it starts from the logits.
                if matches!(op, Op::Elementwise(_)) {
                    return sources.into_iter().next().and_then(Source::var);
                }
                let arguments: Vec<Argument<'_, T>> = sources.iter().map(Argument::from).collect();
                Var::apply(op.clone(), &arguments).ok()
            }
        }
    }

    /// What an operand must be activated by for this variable to be so as `wanted`.
    fn before(&self, op: &Op, operand: &Var<T>, wanted: Activated) -> Option<Activated> {
        let shapes = (operand.shape(), self.shape());
        match wanted {
            Activated::Sigmoid => passes(op, shapes, None).map(|_| Activated::Sigmoid),
            Activated::Softmax { axis } => {
                passes(op, shapes, Some(axis)).flatten().map(|axis| Activated::Softmax { axis })
            }
        }
    }
}

/// Whether an operation gives the same before and after an activation: `None` if it does not. For distributions along an `axis` of
/// the result, the axis of the operand that they lie along.
fn passes(op: &Op, (from, to): (&[usize], &[usize]), axis: Option<usize>) -> Option<Option<usize>> {
    // The axis of the operand that an axis of the result is, whole and in the same order.
    let kept = |find: &dyn Fn(usize) -> Option<usize>| match axis {
        None => Some(None),
        Some(axis) => Some(Some(find(axis)?)),
    };
    let other_than = |changed: usize| kept(&|axis| (axis != changed).then_some(axis));
    match op {
        Op::View(View::Reshape { .. }) => kept(&|axis| {
            // With as many elements in it, and in what is behind it.
            let behind = |shape: &[usize], axis: usize| shape[axis + 1..].iter().product::<usize>();
            (0..from.len()).rev().find(|&own| from[own] == to[axis] && behind(from, own) == behind(to, axis))
        }),
        Op::View(View::Permute { order }) => kept(&|axis| order.get(axis).copied()),
        Op::View(View::Broadcast { .. }) | Op::Slicing(Slicing::Tile { .. }) => kept(&|axis| {
            let own = (axis + from.len()).checked_sub(to.len())?;
            (from[own] == to[axis]).then_some(own)
        }),
        Op::View(View::Narrow { axis, .. })
        | Op::Slicing(Slicing::Repeat { axis, .. })
        | Op::Join(Join::Cat { axis })
        | Op::Index(Index::IndexSelect { axis }) => other_than(*axis),
        &Op::View(View::Index { axis: dropped, .. }) => {
            kept(&|axis| Some(if axis >= dropped { axis + 1 } else { axis }))
        }
        Op::Slicing(Slicing::Slice { slices }) => kept(&|axis| {
            // Where axes may have been dropped, the last is still told if it is taken whole.
            let last = from.len().checked_sub(1)?;
            let whole = slices.get(last).is_none_or(|slice| *slice == Slice::from(..));
            (whole && axis + 1 == to.len()).then_some(last)
        }),
        Op::Slicing(Slicing::Flip { .. }) => kept(&Some),
        Op::Index(Index::Lookup { .. }) => kept(&|axis| {
            let own = (axis + from.len()).checked_sub(to.len())?;
            (own > 0).then_some(own)
        }),
        Op::Slicing(Slicing::Diagonal { .. }) | Op::Index(Index::Gather { .. } | Index::MaskedSelect) => {
            axis.is_none().then_some(None)
        }
        &Op::Elementwise(Elementwise::Clamp { low, high }) => (low < high).then_some(axis),
        &Op::Elementwise(Elementwise::Scale { factor: one } | Elementwise::Powf { exponent: one }) => {
            (one == 1.0).then_some(axis)
        }
        // A probability is not negative.
        Op::Elementwise(Elementwise::Relu | Elementwise::Abs) => Some(axis),
        _ => None,
    }
}
