//! The texts of tokens by id, and ids by text, in little memory: one text of all of them, and a table of ids.
//!
//! A map from texts to ids and one back would hold each text twice, in a block of memory of its own: ten times as much as here, and most
//! of the time that a model takes to load.

use std::hash::{BuildHasher, Hasher, RandomState};

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
    hasher: Quick,
}

/// A hash of a few bytes in a few nanoseconds, by a key that is drawn in each process: words of eight bytes are multiplied one into the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quick(u64);

impl Quick {
    pub(super) fn new() -> Self {
        Quick(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Quick {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { key: self.0, sum: self.0 }
    }
}

/// The state of [`Quick`].
#[derive(Debug)]
pub(super) struct Folded {
    key: u64,
    sum: u64,
}

impl Folded {
    fn word(&mut self, word: u64) {
        // Both halves of the product, so that every bit has a part in every other.
        let product = u128::from(self.sum ^ word) * u128::from(self.key | 1 << 63 | 1);
        self.sum = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    fn write_u32(&mut self, word: u32) {
        self.word(word.into());
    }

    fn finish(&self) -> u64 {
        // Tables look at the lower bits or at the upper ones.
        self.sum ^ self.sum >> 32
    }
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
            hasher: Quick::new(),
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
