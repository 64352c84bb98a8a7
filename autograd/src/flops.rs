//! Counting the floating-point operations of what is computed, by the part of the model that computes it.
//!
//! A count is by shapes: of a forward pass what [`Op::flops`] says, of a backward pass [`Op::backward_flops`]. Nothing is kept of a
//! computation but the numbers, so counting changes neither its memory nor its bits; outside [`count_flops`] it costs one look at a
//! thread's variable an operation.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_tensor::Float;

use crate::Var;
use crate::checkpoint::CHECKPOINT;
use crate::op::{Backward, Op};
use crate::trace::current_scope;
use crate::var::{Argument, vars};

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static COUNTS: RefCell<FlopCounts> = const { RefCell::new(FlopCounts::new()) };
}

/// What operations are counted under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The part of a model that [`scope`](crate::scope()) names: a layer of a `Sequential`.
    Scope(Arc<str>),
    /// Outside of one, the first [parameter](crate::Parameter::id) that an operation takes.
    Parameter(u64),
    /// Of what takes none, the operation.
    Operation(&'static str),
}

/// Floating-point operations, as [`Op::flops`] counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flops {
    /// Of forward passes; what [`Var::checkpoint`](crate::Var::checkpoint) computes again counts again.
    pub forward: u64,
    /// Of backward passes.
    pub backward: u64,
}

impl Flops {
    /// Both.
    pub fn total(self) -> u64 {
        self.forward.saturating_add(self.backward)
    }
}

/// What [`count_flops`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlopCounts {
    /// By part; parts that compute no product are not in it.
    pub parts: BTreeMap<Part, Flops>,
    /// Users' own operations that took part, of which nothing is known.
    pub unknown: BTreeSet<&'static str>,
}

impl FlopCounts {
    const fn new() -> Self {
        FlopCounts { parts: BTreeMap::new(), unknown: BTreeSet::new() }
    }

    /// Of all parts.
    pub fn total(&self) -> Flops {
        self.parts.values().fold(Flops::default(), |sum, flops| Flops {
            forward: sum.forward.saturating_add(flops.forward),
            backward: sum.backward.saturating_add(flops.backward),
        })
    }

    /// Adds another count.
    pub fn merge(&mut self, other: FlopCounts) {
        for (part, flops) in other.parts {
            let sum = self.parts.entry(part).or_default();
            sum.forward = sum.forward.saturating_add(flops.forward);
            sum.backward = sum.backward.saturating_add(flops.backward);
        }
        self.unknown.extend(other.unknown);
    }
}

/// Runs `f` and counts the floating-point operations of the forward and backward passes in it. Applies to this thread.
///
/// ```
/// use cairn_autograd::{Var, count_flops};
/// use cairn_tensor::Tensor;
/// let (x, w) = (Var::constant(Tensor::<f32>::ones([5, 3])?), Var::parameter(Tensor::ones([3, 2])?));
/// let (gradients, counts) = count_flops(|| x.matmul(&w)?.sum(..)?.backward());
/// // Of the two factors one has a gradient.
/// assert_eq!((counts.total().forward, counts.total().backward), (2 * 5 * 3 * 2, 2 * 5 * 3 * 2));
/// # gradients?;
/// # Ok::<(), cairn_autograd::Error>(())
/// ```
#[doc(alias = "FlopCounterMode")]
pub fn count_flops<R>(f: impl FnOnce() -> R) -> (R, FlopCounts) {
    struct Restore(bool, FlopCounts);
    impl Drop for Restore {
        fn drop(&mut self) {
            COUNTING.set(self.0);
            COUNTS.set(std::mem::take(&mut self.1));
        }
    }
    let _restore = Restore(COUNTING.replace(true), COUNTS.take());
    let result = f();
    (result, COUNTS.take())
}

/// Whether operations are counted on this thread.
pub(crate) fn is_counting() -> bool {
    COUNTING.get()
}

/// Counts an operation's forward pass and, as it runs, its backward pass.
pub(crate) fn counted<T: Float>(
    op: &Op,
    arguments: &[Argument<'_, T>],
    output: &[usize],
    backward: Option<Backward<T>>,
) -> Option<Backward<T>> {
    if let Op::Custom(name) = *op {
        if name == CHECKPOINT {
            // What it computes is counted as it is computed.
            return backward;
        }
        COUNTS.with_borrow_mut(|counts| counts.unknown.insert(name));
        return backward;
    }
    let shapes: Vec<&[usize]> = arguments.iter().map(Argument::shape).collect();
    let forward = op.flops(&shapes, output);
    if forward == 0 {
        return backward;
    }
    let part = part(op, arguments);
    add(&part, Flops { forward, backward: 0 });
    let wanted: Vec<bool> = vars(arguments).map(Var::is_tracked).collect();
    let flops = Flops { forward: 0, backward: op.backward_flops(&shapes, output, &wanted) };
    backward.map(|backward| -> Backward<T> {
        Box::new(move |g| {
            if is_counting() {
                add(&part, flops);
            }
            backward(g)
        })
    })
}

fn add(part: &Part, flops: Flops) {
    COUNTS.with_borrow_mut(|counts| {
        let one = FlopCounts { parts: BTreeMap::from([(part.clone(), flops)]), ..FlopCounts::default() };
        counts.merge(one);
    });
}

/// What the operation is counted under.
fn part<T: Float>(op: &Op, arguments: &[Argument<'_, T>]) -> Part {
    if let Some(scope) = current_scope() {
        return Part::Scope(scope);
    }
    // A leaf that comes first and has no gradient is data.
    let leaf = |(i, var): (usize, &Var<T>)| {
        (var.record().op.is_none() && (i > 0 || var.is_tracked())).then_some(var.record().id)
    };
    vars(arguments).enumerate().find_map(leaf).map_or(Part::Operation(op.name()), Part::Parameter)
}
