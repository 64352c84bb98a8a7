//! Generating text, token by token: how the next one is drawn from a language model's scores, and how the likeliest
//! continuations are searched for.
//!
//! A model takes part by [`Decoder`]: given the tokens that follow, it moves its state on and gives the scores of the next one.
//! What a state is (the keys and values of attention, what a recurrent layer remembers, with an encoder's output beside it) is the
//! model's own affair, so that one loop serves all of them. [`Generate`] samples, one token after the other as an iterator or many
//! texts at a time; [`BeamSearch`] looks for the likeliest texts. [`Batcher`] continues the texts of many requests that come and go, as a
//! server has to.
//!
//! ```
//! use cairn_nn::generate::{BeamSearch, Decoder, Generate, Sampling};
//! use cairn_tensor::Tensor;
//!
//! /// Knows nothing but that token n is likely followed by token n + 1.
//! struct Counts;
//! impl Decoder for Counts {
//!     type State = ();
//!     fn next(&self, tokens: &[&[u32]], _: &mut ()) -> cairn_nn::Result<Tensor> {
//!         let scores = tokens.iter().flat_map(|row| {
//!             let last = row.last().copied().unwrap_or(0);
//!             (0..5).map(move |id| if id == (last + 1) % 5 { 3.0 } else { 0.0 })
//!         });
//!         Ok(Tensor::from_vec(scores.collect(), [tokens.len(), 5])?)
//!     }
//!     fn pick(&self, _: &mut (), _: &[usize]) -> cairn_nn::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! let generate = Generate::new(8).sampling(Sampling::greedy()).stop_at([4]);
//! let text: Vec<u32> = generate.stream(&Counts, (), &[0]).collect::<cairn_nn::Result<_>>()?;
//! assert_eq!(text, [1, 2, 3]);
//! let best = BeamSearch::new(2, 8).stop_at([4]).search(&Counts, (), &[&[0]])?;
//! assert_eq!(best[0][0].tokens, [1, 2, 3]);
//! # Ok::<(), cairn_nn::Error>(())
//! ```

mod batcher;
mod beam;
mod sampling;
mod stream;

use cairn_tensor::Tensor;

use crate::Result;

pub use batcher::{Batcher, Event, Finish, Request, RequestId, TokenScores, Usage};
pub use beam::{BeamSearch, Hypothesis, LengthPenalty};
pub use sampling::Sampling;
pub use stream::{Generate, Tokens, Written};

/// A model that continues sequences of tokens.
pub trait Decoder {
    /// What it keeps of the tokens so far, for several sequences: rows.
    type State;

    /// Reads, for each row of the state, the tokens that follow there, at least one each, and gives the scores (logits) of the
    /// next token, `[rows, vocabulary]`.
    ///
    /// A row's scores are to be the same bits whatever the other rows are and however its tokens were cut into calls: this is what
    /// makes a text independent of the batch it is generated in.
    ///
    /// # Errors
    /// When the tokens are not in the vocabulary or the state has no room for them.
    fn next(&self, tokens: &[&[u32]], state: &mut Self::State) -> Result<Tensor>;

    /// Makes row `i` of the state what row `rows[i]` was: rows are dropped, repeated, and put in another order.
    ///
    /// # Errors
    /// When memory does not hold the rows.
    fn pick(&self, state: &mut Self::State, rows: &[usize]) -> Result<()>;
}

/// The scores of one row, `[vocabulary]`.
fn row(scores: &Tensor, row: usize) -> Result<Tensor> {
    Ok(scores.index(0, row)?)
}
