//! The model of a `tokenizer.json`: tokens with their ids, and merges.
//!
//! The library reads this part into two trees of texts before it makes the model of it, with two maps of the same texts. Here texts are
//! borrowed from the file's and go straight to their table, where the model is one of ours: merges of bytes, and pieces of words. All
//! others are the library's, of the text itself.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use tokenizers::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;

use super::byte_pairs::BytePairs;
use super::model::Words;
use super::word_pieces::WordPieces;

/// A text, borrowed where nothing in it is escaped.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Tokens and their ids, in the order of the file.
#[derive(Debug)]
struct Ids<'a>(Vec<(Text<'a>, u32)>);

impl<'de: 'a, 'a> Deserialize<'de> for Ids<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Ids<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their ids")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ids<'de>, A::Error> {
                let mut all = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    all.push(pair);
                }
                Ok(Ids(all))
            }
        }
        from.deserialize_map(Pairs)
    }
}

impl Ids<'_> {
    /// The tokens in the order of their ids, if those are all the numbers from 0 on.
    fn in_order(&mut self) -> Option<impl ExactSizeIterator<Item = &str> + Clone> {
        self.0.sort_unstable_by_key(|&(_, id)| id);
        (0..).zip(&self.0).all(|(n, &(_, id))| n == id).then(|| self.0.iter().map(|(text, _)| &*text.0))
    }
}

/// Two tokens: one text with a space between them, as files of old have it, or two texts.
#[derive(Debug)]
enum Merge<'a> {
    Line(Cow<'a, str>),
    Pair(Text<'a>, Text<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Merge<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two tokens")
            }
            fn visit_borrowed_str<E>(self, line: &'de str) -> Result<Merge<'de>, E> {
                Ok(Merge::Line(line.into()))
            }
            fn visit_str<E>(self, line: &str) -> Result<Merge<'de>, E> {
                Ok(Merge::Line(line.to_owned().into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Merge<'de>, A::Error> {
                let mut next =
                    || pair.next_element()?.ok_or_else(|| A::Error::custom("a merge of one token"));
                let merge = Merge::Pair(next()?, next()?);
                match pair.next_element::<Text<'de>>()? {
                    None => Ok(merge),
                    Some(_) => Err(A::Error::custom("a merge of more than two tokens")),
                }
            }
        }
        from.deserialize_any(Either)
    }
}

impl Merge<'_> {
    fn pair(&self) -> Option<(&str, &str)> {
        match self {
            Merge::Line(line) => line.split_once(' ').filter(|(_, right)| !right.contains(' ')),
            Merge::Pair(left, right) => Some((&left.0, &right.0)),
        }
    }

    /// Whether it is the first line of what was once a file of its own.
    fn is_heading(&self) -> bool {
        matches!(self, Merge::Line(line) if line.starts_with("#version"))
    }
}

/// All that models of the two kinds have.
#[derive(Debug, Deserialize)]
struct File<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    vocab: Ids<'a>,
    #[serde(borrow)]
    merges: Option<Vec<Merge<'a>>>,
    #[serde(borrow)]
    unk_token: Option<Text<'a>>,
    #[serde(borrow)]
    continuing_subword_prefix: Option<Text<'a>>,
    #[serde(borrow)]
    end_of_word_suffix: Option<Text<'a>>,
    max_input_chars_per_word: Option<usize>,
    dropout: Option<f32>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

/// The model in this text.
pub(super) fn model(json: &str) -> Result<Words, serde_json::Error> {
    if let Some(words) = serde_json::from_str(json).ok().and_then(of_ours) {
        return Ok(words);
    }
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<Text<'a>>,
    }
    let kind: Kind<'_> = serde_json::from_str(json)?;
    let model = match kind.kind.as_ref().map(|kind| &*kind.0) {
        Some("BPE") => ModelWrapper::BPE(serde_json::from_str::<BPE>(json)?),
        Some("WordPiece") => ModelWrapper::WordPiece(serde_json::from_str::<WordPiece>(json)?),
        Some("WordLevel") => ModelWrapper::WordLevel(serde_json::from_str::<WordLevel>(json)?),
        Some("Unigram") => ModelWrapper::Unigram(serde_json::from_str::<Unigram>(json)?),
        _ => serde_json::from_str(json)?,
    };
    Ok(model.into())
}

/// A model of a kind, and with settings, that ours have; what is wrong with it is better told by the library.
fn of_ours(file: File<'_>) -> Option<Words> {
    match &*file.kind.0 {
        "BPE" => byte_pairs(file).map(Words::from),
        "WordPiece" => word_pieces(file).map(Words::from),
        _ => None,
    }
}

fn byte_pairs(mut file: File<'_>) -> Option<BytePairs> {
    let is_empty = |text: &Option<Text<'_>>| text.as_ref().is_none_or(|text| text.0.is_empty());
    let plain = is_empty(&file.continuing_subword_prefix)
        && is_empty(&file.end_of_word_suffix)
        && file.unk_token.is_none()
        && file.dropout.is_none_or(|share| share == 0.0)
        && !file.byte_fallback.unwrap_or(false);
    let tokens = file.vocab.in_order().filter(|_| plain)?;
    let whole = file.ignore_merges.unwrap_or(false);
    let mut merges = file.merges?;
    merges.retain(|merge| !merge.is_heading());
    BytePairs::new(tokens, merges.iter().map(Merge::pair), whole).ok()
}

fn word_pieces(mut file: File<'_>) -> Option<WordPieces> {
    let (unknown, prefix) = (file.unk_token?.0.into_owned(), file.continuing_subword_prefix?.0.into_owned());
    let longest_word = file.max_input_chars_per_word?;
    let mut pieces = WordPieces::new(file.vocab.in_order()?).ok()?;
    (pieces.unknown, pieces.prefix, pieces.longest_word) = (unknown, prefix, longest_word);
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use tokenizers::{Model, Token};

    use super::*;

    /// What a word becomes; `None` for an error.
    fn tokens(model: &impl Model, word: &str) -> Option<Vec<Token>> {
        model.tokenize(word).ok()
    }

    /// That ours reads this, and does what the library does.
    fn same(json: &Value, words: &[String]) -> Result<(), TestCaseError> {
        let json = json.to_string();
        let ours = model(&json).unwrap();
        prop_assert!(!matches!(ours, Words::Library(_)), "left to the library");
        let library: ModelWrapper = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(ours.get_vocab(), library.get_vocab());
        prop_assert_eq!(ours.get_vocab_size(), library.get_vocab_size());
        for word in words {
            prop_assert_eq!(tokens(&ours, word), tokens(&library, word), "of {}", word);
        }
        Ok(())
    }

    fn numbered(tokens: impl IntoIterator<Item = String>) -> Map<String, Value> {
        let mut vocab = Map::new();
        for token in tokens {
            let next = vocab.len();
            vocab.entry(token).or_insert(next.into());
        }
        vocab
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn pieces_of_words_are_those_of_the_library(
            tokens in prop::collection::vec("(##)?[abé漢\"\\\\]{1,4}", 0..40),
            words in prop::collection::vec("[abé漢\"\\\\x]{0,12}", 1..20),
            longest in 0_usize..14,
            unknown in prop::bool::ANY,
        ) {
            let vocab = numbered(tokens.into_iter().chain(unknown.then(|| "[UNK]".to_owned())));
            let json = json!({
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": longest,
                "vocab": vocab,
            });
            same(&json, &words)?;
        }

        #[test]
        fn merges_are_those_of_the_library(
            pairs in prop::collection::vec((0_usize..60, 0_usize..60), 0..60),
            // Of characters that are tokens: behind one that is left out, the library's places are wrong.
            words in prop::collection::vec("[abcdé\"\\\\]{0,12}", 1..20),
            in_texts in prop::bool::ANY,
            whole in prop::bool::ANY,
        ) {
            let mut tokens: Vec<String> = "abcdé\"\\".chars().map(String::from).collect();
            let mut merges = Vec::new();
            for (left, right) in pairs {
                let (left, right) = (tokens[left % tokens.len()].clone(), tokens[right % tokens.len()].clone());
                if left.len() + right.len() <= 12 {
                    tokens.push(format!("{left}{right}"));
                    merges.push(if in_texts { json!(format!("{left} {right}")) } else { json!([left, right]) });
                }
            }
            let json = json!({
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole, "vocab": numbered(tokens), "merges": merges,
            });
            same(&json, &words)?;
        }
    }

    #[test]
    fn what_ours_do_not_have_is_left_to_the_library() {
        let of = |json: Value| matches!(model(&json.to_string()).unwrap(), Words::Library(_));
        let bpe = |more: Value| {
            let mut all = json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]});
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(all)
        };
        assert!(!bpe(json!({"dropout": 0.0})));
        for more in [
            json!({"dropout": 0.5}),
            json!({"unk_token": "a"}),
            json!({"byte_fallback": true}),
            json!({"end_of_word_suffix": "</w>"}),
            json!({"vocab": {"a": 0, "b": 1, "ab": 3}}),
        ] {
            assert!(bpe(more.clone()), "{more}");
        }
        assert!(of(json!({"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 0})));
        assert!(of(json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"})));
    }

    #[test]
    fn what_is_no_model_is_an_error() {
        for json in [
            "{}",
            "[]",
            r#"{"type": "Unheard"}"#,
            r#"{"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}"#,
            r#"{"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}"#,
            r#"{"type": "BPE", "vocab": {"a": -1}, "merges": []}"#,
            r#"{"type": "WordPiece", "vocab": {"a": 0}}"#,
        ] {
            assert!(model(json).is_err(), "{json}");
        }
    }
}
