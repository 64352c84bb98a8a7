//! Every operation against a naive reference over random shapes, strides and broadcasts, and the laws between them.
//!
//! [`naive`] holds the reference: an array that is a shape and a function of the multi-index, too simple to be wrong.

mod any_type;
mod convolution;
mod elementwise;
mod errors;
mod files;
mod front_page;
mod images;
mod large;
mod layout;
mod naive;
mod parts;
mod products;
mod ranking;
mod reductions;
mod rows;
mod text;
mod training;
mod word_vectors;
