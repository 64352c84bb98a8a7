//! Text as it is written: each token may end in the middle of a character, and may look otherwise at the beginning of a text than
//! within it.

use super::Tokenizer;
use crate::Result;

/// Turns tokens into text one at a time: together the pieces are the text of all of them, and no piece ends within a character.
///
/// Each new token is decoded behind those of the last piece, as some tokenizers drop a space at the beginning of what they decode;
/// what is new of the text is the piece. A text that ends in `�` may be cut within a character and waits for more. Where what has come
/// makes other text of what was given out, as bytes that are no character do with SentencePiece's, it is decoded by itself: characters that
/// were whole stay.
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
        let new = self.new_text()?;
        if new.is_empty() || new.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        self.begin = self.end;
        self.end = self.ids.len();
        Ok(new)
    }

    /// What is left: a character that was cut, as `�`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(&mut self) -> Result<String> {
        let new = self.new_text()?;
        (self.begin, self.end) = (self.ids.len(), self.ids.len());
        Ok(new)
    }

    /// What the tokens since the last piece add to the text.
    fn new_text(&self) -> Result<String> {
        let text = |ids| self.tokenizer.decode(ids);
        let (before, all) = (text(&self.ids[self.begin..self.end])?, text(&self.ids[self.begin..])?);
        match all.strip_prefix(&before) {
            Some(new) => Ok(new.to_owned()),
            // They have made other text of what was before them.
            None => text(&self.ids[self.end..]),
        }
    }
}
