//! How much of a text a token can stand for: what is longer than so many of the longest is told to be too long before it is cut into
//! tokens, which takes a hundred times the time.

use serde_json::Value as Json;
use tokenizers::{Model as _, ModelWrapper};

use super::model::Words;
use super::{Tokenizer, byte};

/// The longest character in UTF-8.
const CHARACTER: usize = 4;

impl Tokenizer {
    /// The most bytes of a text that one token stands for. `None` where there is no such number: where a token is of a whole word that is not
    /// known, say, or blanks are passed over.
    pub fn longest_token(&self) -> Option<usize> {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        // Some swallow the blanks beside them.
        if added.values().any(|token| token.lstrip || token.rstrip) {
            return None;
        }
        let longest = added.values().map(|token| token.content.len()).max().unwrap_or(0);
        let shrinks = shrinks(&serde_json::to_value(self.inner.get_normalizer()).ok()?)?;
        let words = serde_json::to_value(self.inner.get_pre_tokenizer()).ok()?;
        let whole = keeps_all(&words).then(|| self.longest_of_words(is_of_bytes(&words)))??;
        Some(shrinks * longest.max(whole))
    }

    /// Of the tokens of words, whose characters are bytes or not.
    fn longest_of_words(&self, of_bytes: bool) -> Option<usize> {
        let has = |token: &str| self.inner.get_model().token_to_id(token).is_some();
        match self.inner.get_model() {
            // Characters that are no token are left out.
            Words::Pairs(pairs) if of_bytes && written().all(|c| has(c.encode_utf8(&mut [0; 4]))) => {
                let vocabulary = pairs.vocabulary();
                let tokens = (0..vocabulary.len() as u32).filter_map(|id| vocabulary.token(id));
                tokens.map(|token| token.chars().count()).max()
            }
            Words::Library(model) => {
                let ModelWrapper::BPE(pairs) = &**model else { return None };
                let known = pairs.byte_fallback && (0..=u8::MAX).all(|byte| has(&format!("<0x{byte:02X}>")));
                // Else each character that is not known is the token for such, by itself.
                if !known && (pairs.fuse_unk || pairs.unk_token.is_none()) {
                    return None;
                }
                let longest = pairs.get_vocab().keys().map(String::len).max()?;
                Some(longest.max(CHARACTER))
            }
            _ => None,
        }
    }
}

/// The characters that bytes are written as.
fn written() -> impl Iterator<Item = char> {
    ('!'..='\u{143}').filter(|&c| byte(c).is_some())
}

/// How many times as long a text may have been before it was changed; `None` where any part of it may vanish.
fn shrinks(changes: &Json) -> Option<usize> {
    let text = |key: &str| changes.get(key).and_then(Json::as_str);
    match text("type") {
        None if changes.is_null() => Some(1),
        // The longest that becomes one character: nine bytes of Hangul for three, eight of Greek for three.
        Some("NFC") => Some(3),
        Some("Prepend") => Some(1),
        Some("Replace") => {
            let from = changes.get("pattern")?.get("String")?.as_str()?;
            (text("content")?.len() >= from.len()).then_some(1)
        }
        Some("Sequence") => {
            let all = changes.get("normalizers")?.as_array()?;
            all.iter().try_fold(1usize, |most, part| shrinks(part)?.checked_mul(most))
        }
        _ => None,
    }
}

/// Whether all of a text is in one of its words.
fn keeps_all(words: &Json) -> bool {
    match words.get("type").and_then(Json::as_str) {
        None => words.is_null(),
        Some("ByteLevel" | "Digits" | "Metaspace") => true,
        Some("Split") => words.get("behavior").and_then(Json::as_str) == Some("Isolated"),
        Some("Sequence") => {
            let all = words.get("pretokenizers").and_then(Json::as_array);
            all.is_some_and(|all| all.iter().all(keeps_all))
        }
        _ => false,
    }
}

/// Whether words are written in bytes in the end.
fn is_of_bytes(words: &Json) -> bool {
    match words.get("pretokenizers").and_then(Json::as_array) {
        Some(all) => all.last().is_some_and(is_of_bytes),
        None => words.get("type").and_then(Json::as_str) == Some("ByteLevel"),
    }
}
