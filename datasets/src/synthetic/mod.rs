//! Generated data, for tests, examples and machines without network or data.
//!
//! Each generator imitates the shape of a real data set and plants a structure that a working model must find, so that
//! a check on it can fail: digits drawn with strokes that vary from image to image, ratings whose taste is of known low
//! rank, sentences of a grammar, reviews with negations. The same seed gives the same data. Results on stand-ins say that a
//! system learns, not how well it does on real data.

mod digits;
mod ratings;
mod reviews;
mod sentences;
mod shapes;

pub use digits::digits;
pub use ratings::{Ratings, RatingsPlan, ratings};
pub use reviews::reviews;
pub use sentences::{sentences, text, translations};
pub use shapes::shapes;

use crate::{Error, Result};

/// Whether memory holds so many things of about so many bytes each, so that an absurd number is an error and not the end of the process.
fn fits(count: usize, bytes: usize, what: &str) -> Result<()> {
    room::<u8>(count, bytes, what).map(drop)
}

/// An empty list with room for so many things of so many elements each.
fn room<T>(count: usize, each: usize, what: &str) -> Result<Vec<T>> {
    let mut list = Vec::new();
    match count.checked_mul(each).map(|elements| list.try_reserve_exact(elements)) {
        Some(Ok(())) => Ok(list),
        _ => Err(Error::argument("synthetic", format!("memory does not hold {count} {what}"))),
    }
}
