//! How much longer a text may become on its way through a tokenizer's parts. Each may put something in place of each character, and the
//! next does so with the result: a file of a few lines could make gigabytes of one letter. What is used in earnest makes a text some
//! hundred times longer at the very most, where every character of it is the worst.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value as Json;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

/// Most that the changes of a text and what is done with its words may make of it together, in lengths of the text; so for what is done with
/// tokens.
const MOST: f64 = 1024.0;
/// Most copies of a text among the tokens around it, and most of those tokens.
const MOST_COPIES: f64 = 16.0;
const MOST_AROUND: usize = 4096;
/// Where parts that are made of others have them.
const LISTS: [&str; 4] = ["normalizers", "pretokenizers", "decoders", "processors"];

/// The changes of a text before it is cut. They are checked before anything is changed by them, as the tokens that a file adds are while
/// it is read.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Changes {
    inner: NormalizerWrapper,
    /// How many times as long a text may be afterwards.
    #[serde(skip)]
    growth: f64,
}

impl Normalizer for Changes {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        self.inner.normalize(text)
    }
}

impl<'de> Deserialize<'de> for Changes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(from)?;
        let growth = growth(&json);
        bounded(growth).map_err(D::Error::custom)?;
        let inner = serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Changes { inner, growth })
    }
}

/// That a part makes no text too long.
pub(super) fn check(part: &Json) -> Result<(), String> {
    bounded(growth(part))
}

/// So for the changes of a text and what is done with its words, one after the other.
pub(super) fn check_both(changes: Option<&Changes>, words: &Json) -> Result<(), String> {
    bounded(changes.map_or(1.0, |changes| changes.growth) * growth(words))
}

fn bounded(growth: f64) -> Result<(), String> {
    if growth <= MOST {
        return Ok(());
    }
    Err(format!("its changes could make a text more than {MOST} times as long"))
}

/// That no more is put around a text than could be meant.
pub(super) fn check_around(part: &Json) -> Result<(), String> {
    if copies(part) <= MOST_COPIES { Ok(()) } else { Err("it puts too much around a text".into()) }
}

/// How many times as long a text may be afterwards. A part may be without the name of its kind, and is known by what it has.
fn growth(part: &Json) -> f64 {
    let text = |key: &str| part.get(key).and_then(Json::as_str);
    let lists = LISTS.iter().filter_map(|key| part.get(key)?.as_array()).flatten();
    let mut most: f64 = lists.map(growth).product();
    if let (Some(pattern), Some(content)) = (part.get("pattern"), text("content")) {
        most *= replaced(pattern, content.len() as f64);
    }
    if let Some(before) = text("prepend") {
        most *= 1.0 + before.len() as f64;
    }
    if let Some(map) = text("precompiled_charsmap") {
        most *= longest_entry(map) as f64;
    }
    most * match text("type") {
        // A byte is at most two, and there may be a blank before.
        Some("ByteLevel") => 3.0,
        Some("Metaspace") => 5.0,
        // Blanks around a character of three bytes.
        Some("BertNormalizer") => 2.0,
        _ if part.get("handle_chinese_chars").is_some() => 2.0,
        _ => 1.0,
    }
}

/// What a replacement by so many bytes makes of each.
fn replaced(pattern: &Json, content: f64) -> f64 {
    match pattern.get("String").and_then(Json::as_str) {
        Some(own) if !own.is_empty() => (content / own.len() as f64).max(1.0),
        // What is no text, but an expression, may fit between all bytes.
        _ => 1.0 + content,
    }
}

/// The bytes of the longest text that SentencePiece's map, in base 64, has in place of a character: behind its tree, up to a 0.
fn longest_entry(map: &str) -> usize {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = map.bytes().filter_map(digit).collect();
    let bytes: Vec<u8> = digits
        .chunks(4)
        .flat_map(|four| {
            let bits = four.iter().fold(0u32, |bits, &digit| bits << 6 | u32::from(digit));
            let [_, bytes @ ..] = (bits << (6 * (4 - four.len()))).to_be_bytes();
            bytes.into_iter().take(four.len().saturating_sub(1))
        })
        .collect();
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return 1 };
    // The tree is made of numbers of four bytes.
    let tree = u32::from_le_bytes(*size) as usize / 4 * 4;
    let texts = rest.get(tree..).unwrap_or_default();
    texts.split(|&byte| byte == 0).map(<[u8]>::len).max().unwrap_or(0).max(1)
}

/// How many copies of a text there are with what is put around it; without end where that is absurdly much.
fn copies(part: &Json) -> f64 {
    let lists = LISTS.iter().filter_map(|key| part.get(key)?.as_array()).flatten();
    let own: f64 = lists.map(copies).product();
    let Some(single) = part.get("single").and_then(Json::as_array) else { return own };
    let texts = single.iter().filter(|piece| piece.get("Sequence").is_some()).count();
    let around = single.iter().filter_map(|piece| {
        let name = piece.get("SpecialToken")?.get("id")?.as_str()?;
        part.get("special_tokens")?.get(name)?.get("ids")?.as_array().map(Vec::len)
    });
    if around.sum::<usize>() > MOST_AROUND { f64::INFINITY } else { own * texts.max(1) as f64 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replace(pattern: &str, content: &str) -> Json {
        json!({"type": "Replace", "pattern": {"String": pattern}, "content": content})
    }

    fn sequence(parts: &[Json]) -> Json {
        json!({"type": "Sequence", "normalizers": parts})
    }

    #[test]
    fn replacements_of_replacements_are_counted() {
        let ten = replace("a", "aaaaaaaaaa");
        assert!(check(&sequence(&vec![ten.clone(); 3])).is_ok());
        assert!(check(&sequence(&vec![ten.clone(); 12])).is_err());
        // Without the names of kinds, and one in the other.
        let bare = json!({"normalizers": [{"pattern": {"String": "a"}, "content": "a".repeat(40)}, {"normalizers": [ten, replace("a", "aaaa")]}]});
        assert!(check(&bare).is_err());
        let nothing = json!({"type": "Replace", "pattern": {"Regex": "(?=a)"}, "content": "a"});
        assert!(check(&sequence(&vec![nothing.clone(); 10])).is_ok());
        assert!(check(&sequence(&vec![nothing; 11])).is_err());
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false});
        assert!(check(&json!({"type": "Sequence", "pretokenizers": vec![bytes; 7]})).is_err());
        assert!(check(&json!({"type": "Sequence", "decoders": vec![replace("a", "aa"); 11]})).is_err());
    }

    #[test]
    fn changes_and_what_is_done_with_words_are_counted_together() {
        let changes = |times: usize| -> Changes {
            serde_json::from_value(sequence(&vec![replace("a", "aaaaaaaaaa"); times])).unwrap()
        };
        let words =
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
        let thousand = changes(3);
        assert!(check_both(Some(&thousand), &json!(null)).is_ok());
        assert!(check_both(None, &words).is_ok());
        assert!(check_both(Some(&thousand), &words).is_err());
        assert!(check_both(Some(&changes(2)), &words).is_ok());
    }

    #[test]
    fn what_is_in_use_is_no_bomb() {
        let llama = sequence(&[json!({"type": "Prepend", "prepend": "▁"}), replace(" ", "▁")]);
        let albert = sequence(&[
            replace("``", "\""),
            replace("''", "\""),
            json!({"type": "NFKD"}),
            json!({"type": "StripAccents"}),
            json!({"type": "Lowercase"}),
            json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
        ]);
        let bert = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true});
        for part in [llama, albert, bert, json!(null), json!({"type": "NFC"})] {
            assert!(check(&part).is_ok(), "{part}");
        }
    }

    #[test]
    fn maps_of_characters_grow_by_their_longest_entry() {
        // Four bytes of a tree, then "ab", "cdefg" and "h", each with a 0 behind it.
        let map = "BAAAAAAAAABhYgBjZGVmZwBoAA==";
        assert_eq!(longest_entry(map), 5);
        assert_eq!((longest_entry(""), longest_entry("AA"), longest_entry("/////w==")), (1, 1, 1));
        assert!((growth(&json!({"type": "Precompiled", "precompiled_charsmap": map})) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_text_is_not_copied_without_end() {
        let piece = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
        let begin = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
        let template = |single: Vec<Json>, ids: usize| {
            let begin = json!({"id": "<s>", "ids": vec![0; ids]});
            json!({"type": "TemplateProcessing", "single": single, "special_tokens": {"<s>": begin}})
        };
        assert!(check_around(&template(vec![begin.clone(), piece("A")], 1)).is_ok());
        assert!(check_around(&template(vec![piece("A"); 17], 1)).is_err());
        assert!(check_around(&template(vec![begin; 100], 100)).is_err());
        let twice = template(vec![piece("A"); 2], 1);
        assert!(check_around(&json!({"type": "Sequence", "processors": vec![twice; 5]})).is_err());
    }
}
