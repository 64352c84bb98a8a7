//! Words cut into the longest pieces that are tokens, from left to right (WordPiece; Wu et al. 2016, section 4.1): the tokens of BERT and
//! its relatives, over the same table as [`BytePairs`](super::byte_pairs::BytePairs).

use tokenizers::Token;

use super::vocabulary::Vocabulary;

/// Tokens, and how words are cut into them.
#[derive(Debug)]
pub(super) struct WordPieces {
    vocabulary: Vocabulary,
    /// What stands for a word that cannot be cut.
    pub(super) unknown: String,
    /// What tokens begin with that are not the first of a word.
    pub(super) prefix: String,
    /// Words of more characters are unknown.
    pub(super) longest_word: usize,
    /// Bytes of the longest token: no piece is looked for that is longer.
    longest: usize,
}

impl WordPieces {
    /// Of tokens in the order of their ids, with the settings of BERT.
    pub(super) fn new<'t>(tokens: impl ExactSizeIterator<Item = &'t str> + Clone) -> Result<Self, String> {
        let longest = tokens.clone().map(str::len).max().unwrap_or(0);
        let vocabulary = Vocabulary::new(tokens).ok_or("there are too many tokens")?;
        let (unknown, prefix) = ("[UNK]".into(), "##".into());
        Ok(WordPieces { vocabulary, unknown, prefix, longest_word: 100, longest })
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tokens of a word.
    pub(super) fn tokenize(&self, word: &str) -> Result<Vec<Token>, &'static str> {
        if word.chars().count() > self.longest_word {
            return self.whole(word);
        }
        let (mut tokens, mut piece, mut start) = (Vec::new(), String::new(), 0);
        while start < word.len() {
            piece.clear();
            if start > 0 {
                piece.push_str(&self.prefix);
            }
            let before = piece.len();
            let mut end = word.len().min(start.saturating_add(self.longest));
            while !word.is_char_boundary(end) {
                end -= 1;
            }
            piece.push_str(&word[start..end]);
            let id = loop {
                if piece.len() <= before {
                    return self.whole(word);
                }
                if let Some(id) = self.vocabulary.id(&piece) {
                    break id;
                }
                piece.pop();
            };
            let end = start + piece.len() - before;
            tokens.push(Token::new(id, piece.clone(), (start, end)));
            start = end;
        }
        Ok(tokens)
    }

    /// A word that is not known.
    fn whole(&self, word: &str) -> Result<Vec<Token>, &'static str> {
        let id = self.vocabulary.id(&self.unknown).ok_or("there is no token for unknown words")?;
        Ok(vec![Token::new(id, self.unknown.clone(), (0, word.len()))])
    }
}
