//! Text as it is written: each token may end in the middle of a character, and may look otherwise at the beginning of a text than
//! within it.

use super::Tokenizer;
use crate::Result;

/// Turns tokens into text one at a time: together the pieces are the text of all of them, and no piece ends within a character.
///
/// Each new token is decoded behind those of the last piece, as some tokenizers drop a space at the beginning of what they decode;
/// what is new of the text is the piece. A text that ends in `�` may be cut within a character and waits for more.
///
/// ```no_run
/// # fn ids() -> impl Iterator<Item = u32> { std::iter::empty() }
/// # let tokenizer = cairn_nn::tokenizer::Tokenizer::load("tokenizer.json")?;
/// let mut pieces = tokenizer.pieces();
/// for id in ids() {
///     print!("{}", pieces.push(id)?);
/// }
/// println!("{}", pieces.finish()?);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias("DecodeStream", "TextStreamer"))]
pub struct Pieces<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// Where what the last piece was of begins, and where it ends.
    begin: usize,
    end: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Pieces { tokenizer, ids: Vec::new(), begin: 0, end: 0 }
    }

    /// What a further token adds to the text; nothing while a character is not whole.
    ///
    /// # Errors
    /// For an id that is no token.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let (before, all) = self.texts()?;
        if all.ends_with('\u{fffd}') || all.len() <= before.len() {
            return Ok(String::new());
        }
        self.begin = self.end;
        self.end = self.ids.len();
        Ok(rest(&all, &before).to_owned())
    }

    /// What is left: a character that was cut, as `�`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(&mut self) -> Result<String> {
        let (before, all) = self.texts()?;
        (self.begin, self.end) = (self.ids.len(), self.ids.len());
        Ok(rest(&all, &before).to_owned())
    }

    fn texts(&self) -> Result<(String, String)> {
        let text = |ids| self.tokenizer.decode(ids);
        Ok((text(&self.ids[self.begin..self.end])?, text(&self.ids[self.begin..])?))
    }
}

/// What a text adds to the one before.
fn rest<'a>(all: &'a str, before: &str) -> &'a str {
    all.get(before.len()..).unwrap_or("")
}
