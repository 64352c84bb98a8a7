//! n-dimensional arrays.
