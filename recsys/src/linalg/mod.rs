//! The numerical stats: dense products with fixed chunks, small factorisations, sparse times dense.
//!
//! faer's own parallelism may give other bits for other numbers of threads, and its parallel product was once wrong on
//! row-major views. So every faer call here is sequential and column-major; what runs in parallel is cut into chunks whose
//! sizes depend on the shapes alone, and partial sums are added in order. The same bits come out of one thread and of many.

pub(crate) mod dense;
pub(crate) mod gram;
pub(crate) mod rows;
pub(crate) mod sparse_product;
pub(crate) mod spd_inverse;
pub(crate) mod svd;
