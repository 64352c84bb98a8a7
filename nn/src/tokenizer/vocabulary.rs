//! The texts of tokens by id, and ids by text, in little memory: one text of all of them, and a table of ids.
//!
//! A map from texts to ids and one back would hold each text twice, in a block of memory of its own: ten times as much as here, and most
//! of the time that a model takes to load.

use std::hash::{BuildHasher as _, RandomState};

/// A place of the table that no token has.
const FREE: u32 = u32::MAX;

/// The tokens of a model.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// All of them, one after the other.
    texts: String,
    /// Where each ends.
    ends: Vec<u32>,
    /// Ids, each at the place of its text's hash or after it. At least half of the places are free.
    places: Vec<u32>,
    /// Drawn anew in each process, so that no file can be made whose tokens all have one place.
    hasher: RandomState,
}

impl Vocabulary {
    /// The tokens in the order of their ids; `None` for more than 4 GB of text. Of two with one text, the last has it.
    pub(super) fn new<'t>(tokens: impl ExactSizeIterator<Item = &'t str>) -> Option<Self> {
        let count = tokens.len();
        u32::try_from(count).ok()?;
        let mut this = Vocabulary {
            texts: String::new(),
            ends: Vec::with_capacity(count),
            places: vec![FREE; (2 * count).next_power_of_two().max(2)],
            hasher: RandomState::new(),
        };
        for (id, token) in (0..).zip(tokens) {
            this.texts.push_str(token);
            this.ends.push(u32::try_from(this.texts.len()).ok()?);
            let place = this.place(token);
            this.places[place] = id;
        }
        Some(this)
    }

    /// The number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text of a token.
    pub(super) fn token(&self, id: u32) -> Option<&str> {
        let id = id as usize;
        let end = *self.ends.get(id)? as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        self.texts.get(start..end)
    }

    /// The token of a text.
    pub(super) fn id(&self, token: &str) -> Option<u32> {
        Some(self.places[self.place(token)]).filter(|&id| id != FREE)
    }

    /// Where the id of a text is, or would be.
    fn place(&self, token: &str) -> usize {
        let last = self.places.len() - 1;
        let mut at = self.hasher.hash_one(token) as usize & last;
        while self.places[at] != FREE && self.token(self.places[at]) != Some(token) {
            at = (at + 1) & last;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_ids_are_found_by_each_other() {
        let tokens: Vec<String> = (0..1000).map(|i| format!("{}{}", "ä".repeat(i % 7), i / 3)).collect();
        let all = Vocabulary::new(tokens.iter().map(String::as_str)).unwrap();
        assert_eq!(all.len(), 1000);
        for (id, token) in (0..).zip(&tokens) {
            assert_eq!(all.token(id), Some(token.as_str()));
            let last = tokens.iter().rposition(|other| other == token).unwrap();
            assert_eq!(all.id(token), Some(last as u32));
        }
        assert_eq!((all.token(1000), all.token(u32::MAX), all.id("none")), (None, None, None));
    }

    #[test]
    fn there_may_be_no_token_and_an_empty_one() {
        let none = Vocabulary::new([].into_iter()).unwrap();
        assert_eq!((none.len(), none.id(""), none.token(0)), (0, None, None));
        let empty = Vocabulary::new([""].into_iter()).unwrap();
        assert_eq!((empty.id(""), empty.token(0)), (Some(0), Some("")));
    }
}
