//! Scaled dot-product attention by blocks, forward and backward (Dao et al. 2022; the order of loops is that of Dao 2023).
//!
//! No matrix of scores is ever there as a whole. A unit of work is one sequence and one head of keys, with the query heads
//! that share it. It goes over the keys in blocks of [`KEYS`], which it packs once, and within each over its rows of
//! queries in blocks of [`QUERIES`]: scores, their exponentials relative to the largest so far, weighted values. The backward pass goes the
//! same way and computes the scores anew from the log-sum-exp of each row, which is all that the forward pass leaves.
//!
//! | file | what |
//! |---|---|
//! | [`tile`] | the five products, a register tile |
//! | [`seen`] | which keys a query attends to |
//! | [`pack`] | rows of heads gathered into blocks |
//! | [`scores`] | from products to weights, and back: scale, cap, biases, mask, dropout |
//! | [`forward`], [`backward`] | the passes |
//! | [`few`] | the forward pass of few rows, divided along the keys |
//! | [`merge`] | how blocks of keys join |
//! | [`bias`] | the gradient of the bias |
//!
//! # Same bits
//! Blocks of keys begin at multiples of [`KEYS`] from key 0 on, and each sum runs in the order of the keys, so the result of a
//! row of queries depends on the keys that it attends to and on nothing else: not on the rows computed beside it, the other
//! sequences, or the number of keys that come later. A row computed against a cache has the bits that it has in a whole sequence, but for
//! the sign of a sum that is zero because it is too small for its type.
//! The gradient of a query is a sum in the order of the key blocks, that of a key in the order of heads and rows; one unit
//! computes them, whatever the number of threads.

mod backward;
mod bias;
mod few;
mod forward;
mod merge;
mod pack;
mod scores;
mod seen;
mod tile;

pub(crate) use backward::{Gradients, Returned, backward};
pub(crate) use bias::bias_gradient;
pub(crate) use forward::forward;

/// Keys of a block: a multiple of all registers, and of the heights of all tiles.
const KEYS: usize = 192;
/// Rows of queries that are done at a time.
const QUERIES: usize = 48;
/// Heads are padded to a multiple of this many elements in blocks, the widest register.
const PAD: usize = 16;

/// All sizes. Query head `h` uses head `h / (heads / key_heads)` of the keys and values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) heads: usize,
    pub(crate) key_heads: usize,
    /// Elements of a query and of a key.
    pub(crate) size: usize,
    /// Elements of a value.
    pub(crate) value_size: usize,
}

impl Sizes {
    /// Query heads that share a head of keys.
    fn group(&self) -> usize {
        self.heads / self.key_heads
    }
}

/// A tensor of four axes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strided<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) start: usize,
    pub(crate) strides: [isize; 4],
}

impl<T> Strided<'_, T> {
    fn at(&self, index: [usize; 4]) -> usize {
        let step: isize = index.iter().zip(self.strides).map(|(&i, stride)| i as isize * stride).sum();
        self.start.wrapping_add_signed(step)
    }
}

/// Where the last query stands among the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corner {
    /// Query 0 stands at key 0.
    TopLeft,
    /// The last query stands at the last key.
    BottomRight,
}

/// What is done with the products of queries and keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) scale: f64,
    pub(crate) causal: bool,
    pub(crate) corner: Corner,
    pub(crate) window: Option<usize>,
    pub(crate) soft_cap: Option<f64>,
    pub(crate) dropout: Option<Dropout>,
}

/// Weights dropped at random.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout {
    pub(crate) rate: f64,
    pub(crate) seed: u64,
}

/// One call of attention: its operands as they lie in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a, T> {
    pub(crate) sizes: Sizes,
    pub(crate) rules: Rules,
    /// `[batch, queries, heads, size]`
    pub(crate) q: Strided<'a, T>,
    /// `[batch, keys, key heads, size]`
    pub(crate) k: Strided<'a, T>,
    /// `[batch, keys, key heads, value size]`
    pub(crate) v: Strided<'a, T>,
    /// `[batch, heads, queries, keys]`, with strides of 0 where it is broadcast.
    pub(crate) bias: Option<Strided<'a, T>>,
    /// As the bias.
    pub(crate) visible: Option<Strided<'a, bool>>,
    /// One for each query head.
    pub(crate) slopes: Option<&'a [T]>,
    /// One for each sequence.
    pub(crate) key_lengths: Option<&'a [u32]>,
    pub(crate) query_lengths: Option<&'a [u32]>,
}
