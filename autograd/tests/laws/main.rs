//! Derivatives against differences in double precision and against PyTorch's, and what the graph promises.
//!
//! One program and not one for each file, because each would compile the kernels of double precision for itself.

mod attention;
mod differential;
mod golden;
mod golden_grid;
mod gradients;
mod graph;
mod images;
mod known_values;
#[cfg(feature = "linalg")]
mod linalg;
mod operations;
mod parameters;
mod parts;
mod recurrent;
