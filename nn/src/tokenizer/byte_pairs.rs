//! Pairs of tokens joined in order of rank (Sennrich et al. 2016), over words whose bytes are written as characters, as in GPT-2:
//! the tokens of most language models, in a tenth of the memory of a general library and built ten times as fast, so that a model
//! loads in the time that its weights take.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use tokenizers::Token;

use super::vocabulary::{Quick, Vocabulary};

/// No part before or after.
const NONE: u32 = u32::MAX;

/// Tokens, and which pairs of them are joined.
#[derive(Debug)]
pub(super) struct BytePairs {
    vocabulary: Vocabulary,
    /// By the pair: its rank, and the token that it becomes.
    merges: HashMap<(u32, u32), (u32, u32), Quick>,
    /// Whether a word that is a token is taken as it is.
    whole: bool,
}

/// A part of a word: a token, and the parts beside it.
#[derive(Debug, Clone, Copy)]
struct Part {
    token: u32,
    start: u32,
    /// 0 once it is joined to the part before.
    len: u32,
    before: u32,
    after: u32,
}

impl BytePairs {
    /// Of tokens in the order of their ids, and of merges, two tokens each, the first of the lowest rank; `None` is one that is not two.
    pub(super) fn new<'t, 'm>(
        tokens: impl ExactSizeIterator<Item = &'t str>,
        merges: impl ExactSizeIterator<Item = Option<(&'m str, &'m str)>>,
        whole: bool,
    ) -> Result<Self, String> {
        let vocabulary = Vocabulary::new(tokens).ok_or("there are too many tokens")?;
        let mut pairs = HashMap::with_capacity_and_hasher(merges.len(), Quick::new());
        let mut joined = String::new();
        let id =
            |token: &str| vocabulary.id(token).ok_or_else(|| format!("`{token}` of a merge is no token"));
        for (rank, merge) in (0..).zip(merges) {
            let (left, right) = merge.ok_or("a merge is no pair of tokens")?;
            joined.clear();
            joined.extend([left, right]);
            pairs.insert((id(left)?, id(right)?), (rank, id(&joined)?));
        }
        Ok(BytePairs { vocabulary, merges: pairs, whole })
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tokens of a word. Characters that are no token are left out.
    pub(super) fn tokenize(&self, word: &str) -> Result<Vec<Token>, &'static str> {
        u32::try_from(word.len()).map_err(|_| "a word of more than 4 GB")?;
        if self.whole
            && let Some(id) = self.vocabulary.id(word)
        {
            return Ok(vec![Token::new(id, word.to_owned(), (0, word.len()))]);
        }
        let mut parts = self.characters(word);
        self.join(&mut parts);
        let left = parts.into_iter().filter(|part| part.len > 0);
        let tokens = left.filter_map(|Part { token, start, len, .. }| {
            let text = self.vocabulary.token(token)?.to_owned();
            Some(Token::new(token, text, (start as usize, (start + len) as usize)))
        });
        Ok(tokens.collect())
    }

    /// The characters of a word, each a part.
    fn characters(&self, word: &str) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::with_capacity(word.len());
        for (start, character) in word.char_indices() {
            let len = character.len_utf8();
            let Some(token) = self.vocabulary.id(&word[start..start + len]) else { continue };
            let at = parts.len() as u32;
            if let Some(last) = parts.last_mut() {
                last.after = at;
            }
            let before = at.checked_sub(1).unwrap_or(NONE);
            parts.push(Part { token, start: start as u32, len: len as u32, before, after: NONE });
        }
        parts
    }

    /// Joins pairs, that of the lowest rank first, of those the first in the word.
    fn join(&self, parts: &mut [Part]) {
        let found = |parts: &[Part], at: u32| {
            let left = parts[at as usize];
            let right = parts.get(left.after as usize)?;
            let &(rank, token) = self.merges.get(&(left.token, right.token))?;
            Some(Reverse((rank, at, token)))
        };
        let mut queue: BinaryHeap<_> = (0..parts.len() as u32).filter_map(|at| found(parts, at)).collect();
        while let Some(Reverse((rank, at, token))) = queue.pop() {
            // What was found may have been joined with others since.
            if parts[at as usize].len == 0 || found(parts, at) != Some(Reverse((rank, at, token))) {
                continue;
            }
            let right = std::mem::replace(&mut parts[parts[at as usize].after as usize].len, 0);
            let after = parts[parts[at as usize].after as usize].after;
            let left = &mut parts[at as usize];
            (left.token, left.len, left.after) = (token, left.len + right, after);
            let before = left.before;
            if let Some(after) = parts.get_mut(after as usize) {
                after.before = at;
            }
            if before != NONE {
                queue.extend(found(parts, before));
            }
            queue.extend(found(parts, at));
        }
    }
}
