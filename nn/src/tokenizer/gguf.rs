//! The tokenizers that GGUF files carry: bytes joined by merges (`gpt2`), SentencePiece's pieces with scores (`llama`), and BERT's
//! pieces of words (`bert`).
//!
//! A file has the tokens, and of the rest the name of the model that it was made for: how a text is cut before its tokens are found
//! stands in no file. What is known here is in [`words`]; an unknown name is an error, as the wrong cut gives almost the right ids.

use serde_json::{Value as Json, json};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, ModelWrapper};

use super::byte_pairs::BytePairs;
use super::model::{Inner, Words};
use super::word_pieces::WordPieces;
use super::{Tokenizer, parsed};
use crate::weights::gguf::{Array, Gguf, Texts, Value};
use crate::{Error, Result};

/// A space as SentencePiece writes it.
pub(super) const SPACE: &str = "▁";
/// What is done with a text before it is cut, in the library's JSON, where it is otherwise than files of that kind have it, which have no
/// key for it: one of Cairn's own.
pub(super) const CHANGES: &str = "cairn.tokenizer.normalizer";
/// Longest token of a list of pieces, in bytes: each is cut everywhere, so that a longer one would take the square of its length.
const LONGEST: usize = 4096;
/// Most ways in which a piece is two others, by length and on the average of a list, of which each is held: in published ones it is two. A
/// piece counts as so much longer, and so much is free for small lists.
const MOST_CUTS: usize = 6;
const BESIDE: usize = 64;
const FREE: usize = 1 << 16;
/// How tokens are numbered by what they are for.
pub(super) const NORMAL: i64 = 1;
pub(super) const CONTROL: i64 = 3;
pub(super) const USER_DEFINED: i64 = 4;
pub(super) const UNUSED: i64 = 5;

/// What all kinds need.
struct Tokens<'a> {
    file: &'a Gguf,
    tokens: &'a Texts,
    kinds: Vec<i64>,
}

impl Tokenizer {
    /// The tokenizer in a GGUF file.
    ///
    /// # Errors
    /// [`Error::BadFile`] for values that are missing or do not go together, [`Error::Unsupported`] for a kind that is not known here.
    pub fn of_gguf(file: &Gguf) -> Result<Self> {
        let tokens = file.texts("tokenizer.ggml.tokens")?;
        let kinds = match file.get("tokenizer.ggml.token_type").and_then(Value::as_array) {
            Some(Array::I32(kinds)) => kinds.iter().map(|&kind| kind.into()).collect(),
            Some(Array::U32(kinds)) => kinds.iter().map(|&kind| kind.into()).collect(),
            _ => Vec::new(),
        };
        let all = Tokens { file, tokens, kinds };
        match file.text("tokenizer.ggml.model")? {
            "gpt2" => all.bytes(),
            "llama" => all.pieces(),
            "bert" => all.words(),
            other => Err(Error::Unsupported { what: format!("tokenizers of kind `{other}`") }),
        }
    }
}

impl Tokens<'_> {
    /// Pairs of bytes joined by merges (Sennrich et al. 2016), as in GPT-2.
    fn bytes(&self) -> Result<Tokenizer> {
        let pre = self.file.get("tokenizer.ggml.pre").and_then(Value::as_str).unwrap_or("default");
        let (words, whole) = words(pre)?;
        let merges = self.file.texts("tokenizer.ggml.merges")?;
        // A space between the two; the first may be one.
        let pairs = merges.iter().map(|merge| {
            let (space, _) = merge.char_indices().skip(1).find(|&(_, c)| c == ' ')?;
            Some((&merge[..space], &merge[space + 1..]))
        });
        let model = BytePairs::new(self.tokens.iter(), pairs, whole).map_err(|why| bad(&why))?;
        // As llama.cpp takes it where the file does not say.
        let around = self.around(matches!(pre, "llama-bpe" | "llama3"));
        let decoder =
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
        let changes = self.changes(changes(pre))?;
        self.joined([&changes, &words, &decoder], &around, model.into())
    }

    /// SentencePiece's pairs: of two pieces the one that makes the piece of the best score is joined first.
    fn pieces(&self) -> Result<Tokenizer> {
        let Some(Value::Array(Array::F32(scores))) = self.file.get("tokenizer.ggml.scores") else {
            return Err(bad("there are no scores of the pieces"));
        };
        if scores.len() != self.tokens.len() {
            return Err(bad("there are not as many scores as pieces"));
        }
        if self.tokens.iter().any(|token| token.len() > LONGEST) {
            return Err(bad(&format!("a piece has more than {LONGEST} bytes")));
        }
        let vocabulary = self.vocabulary();
        let mut merges = Vec::new();
        let size = |token: &str| token.len() + BESIDE;
        let mut left = FREE + self.tokens.iter().map(|token| MOST_CUTS * size(token)).sum::<usize>();
        for (token, &score) in self.tokens.iter().zip(scores) {
            let cuts = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
            let both =
                |(left, right): &(&str, &str)| Some((*vocabulary.get(*left)?, *vocabulary.get(*right)?));
            let mut cuts: Vec<_> = cuts.filter_map(|cut| Some((both(&cut)?, cut))).collect();
            let fits = left.checked_sub(cuts.len() * size(token));
            left = fits.ok_or_else(|| bad("its pieces are made of each other in absurdly many ways"))?;
            cuts.sort_unstable_by_key(|(ids, _)| *ids);
            merges.extend(cuts.into_iter().map(|(_, cut)| (score, cut)));
        }
        merges.sort_by(|(a, (left, right)), (b, (other, last))| {
            let lengths = (left.chars().count(), right.chars().count());
            b.total_cmp(a).then((other.chars().count(), last.chars().count()).cmp(&lengths))
        });
        let merges =
            merges.into_iter().map(|(_, (left, right))| (left.to_owned(), right.to_owned())).collect();
        let unknown = self.id("unknown").and_then(|id| self.tokens.get(id as usize));
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .unk_token(unknown.unwrap_or("<unk>").to_owned())
            .fuse_unk(true)
            .byte_fallback(true)
            .build();
        let prefix = self.flag("add_space_prefix", true);
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
        let back = json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "});
        let mut normalizers = vec![replace];
        let mut decoders = vec![back, json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
        if prefix {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let normalizer = json!({"type": "Sequence", "normalizers": normalizers});
        let decoder = json!({"type": "Sequence", "decoders": decoders});
        let model = model.map_err(|error| bad(&error.to_string()))?;
        self.joined(
            [&normalizer, &Json::Null, &decoder],
            &self.around(true),
            ModelWrapper::from(model).into(),
        )
    }

    /// BERT's pieces of words, of which files mark the first of each word and not the others.
    fn words(&self) -> Result<Tokenizer> {
        let mark = |token: &str| match token.strip_prefix(SPACE) {
            Some(first) => first.to_owned(),
            None if token.starts_with('[') && token.ends_with(']') => token.to_owned(),
            None => format!("##{token}"),
        };
        let tokens: Vec<String> = self.tokens.iter().map(mark).collect();
        let model = WordPieces::new(tokens.iter().map(String::as_str)).map_err(|why| bad(&why))?;
        let strips = self.file.get("tokenizer.ggml.normalizer.strip_accents").and_then(Value::as_bool);
        let changes = self.changes(changes_of_words(self.flag("normalizer.lowercase", true), strips))?;
        let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
        let words = json!({"type": "BertPreTokenizer"});
        let around = ["[CLS]".into(), "[SEP]".into()].map(Some);
        self.joined([&changes, &words, &decoder], &around, model.into())
    }

    /// What is done with a text before it is cut: what is usual, unless the file says otherwise.
    fn changes(&self, usual: Json) -> Result<Json> {
        match self.file.get(CHANGES) {
            None => Ok(usual),
            Some(own) => {
                let own = own.as_str().and_then(|own| serde_json::from_str(own).ok());
                own.ok_or_else(|| bad(&format!("`{CHANGES}` is no JSON")))
            }
        }
    }

    fn vocabulary(&self) -> Vocab {
        (0..).zip(self.tokens.iter()).map(|(id, token)| (token.to_owned(), id)).collect()
    }

    fn id(&self, name: &str) -> Option<u32> {
        let id = self.file.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_u64()?;
        u32::try_from(id).ok()
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.file.get(&format!("tokenizer.ggml.{name}")).and_then(Value::as_bool).unwrap_or(default)
    }

    /// The tokens that are put before and after a text.
    fn around(&self, begin: bool) -> [Option<String>; 2] {
        let token = |flag, default, name| {
            let id = self.flag(flag, default).then(|| self.id(name))??;
            self.tokens.get(id as usize).map(str::to_owned)
        };
        [token("add_bos_token", begin, "bos"), token("add_eos_token", false, "eos")]
    }

    /// The whole of it: everything but the model is said in the library's JSON.
    fn joined(
        &self,
        [normalizer, words, decoder]: [&Json; 3],
        around: &[Option<String>; 2],
        model: Words,
    ) -> Result<Tokenizer> {
        let json = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": normalizer, "pre_tokenizer": words, "post_processor": null, "decoder": decoder,
            "model": {"type": "BPE", "vocab": {}, "merges": []},
        });
        let Tokenizer { mut inner, .. } = parsed(&json.to_string()).map_err(|why| bad(&why))?;
        inner.with_model(model);
        self.add(&mut inner, CONTROL)?;
        self.add(&mut inner, USER_DEFINED)?;
        if around.iter().any(Option::is_some) {
            let [before, after] = around;
            put_around(&mut inner, before.as_deref(), after.as_deref())?;
        }
        let unused = (0..).zip(&self.kinds).filter(|&(_, &kind)| kind == UNUSED).map(|(id, _)| id).collect();
        Ok(Tokenizer { unused, ..Tokenizer::of(inner) })
    }

    /// Tokens that are found in a text before it is cut.
    fn add(&self, inner: &mut Inner, kind: i64) -> Result<()> {
        let of_kind = (0..self.kinds.len()).filter(|&id| self.kinds[id] == kind);
        let added: Vec<AddedToken> = of_kind
            .filter_map(|id| self.tokens.get(id).filter(|token| !token.is_empty()))
            .map(|token| AddedToken::from(token, kind == CONTROL).normalized(false))
            .collect();
        let done = if kind == CONTROL { inner.add_special_tokens(added) } else { inner.add_tokens(added) };
        done.map(drop).map_err(|error| bad(&error.to_string()))
    }
}

/// How a text is cut into words that tokens do not go across, by the name of the model that a file was made for; and whether a
/// word that is a token is taken as it is.
pub(super) fn words(pre: &str) -> Result<(Json, bool)> {
    let bytes = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
    let split = |pattern: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            bytes(false),
        ]})
    };
    // As in the published tokenizers; they differ in how many digits go together.
    let modern = |digits: &str| {
        split(&format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ))
    };
    match pre {
        "gpt-2" | "default" => Ok((bytes(true), false)),
        "smollm" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            Ok((json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}), false))
        }
        "llama-bpe" | "llama3" => Ok((modern("{1,3}"), true)),
        "qwen2" => Ok((modern(""), false)),
        other => Err(Error::Unsupported { what: format!("the words of a tokenizer made for `{other}`") }),
    }
}

/// What is done with a text before it is cut in models of such a name. llama.cpp does nothing, and cuts an accent that stands by itself from its
/// letter; models have read them as one character.
pub(super) fn changes(pre: &str) -> Json {
    if pre == "qwen2" { json!({"type": "NFC"}) } else { Json::Null }
}

/// What is done with a text before BERT's pieces of words are found. Accents are taken off where capitals are, unless it is said.
pub(super) fn changes_of_words(lowercase: bool, strips_accents: Option<bool>) -> Json {
    json!({
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": strips_accents, "lowercase": lowercase,
    })
}

fn put_around(inner: &mut Inner, before: Option<&str>, after: Option<&str>) -> Result<()> {
    use tokenizers::processors::template::TemplateProcessing;
    let special = |token: &str| inner.token_to_id(token).map(|id| (token.to_owned(), id));
    let tokens: Option<Vec<(String, u32)>> = before.into_iter().chain(after).map(special).collect();
    let tokens = tokens.ok_or_else(|| bad("the tokens around a text are not among the tokens"))?;
    let pieces = |texts: &[&str]| -> Vec<String> {
        before.iter().chain(texts).chain(after.iter()).map(ToString::to_string).collect()
    };
    let around = TemplateProcessing::builder().try_single(pieces(&["$A"])).and_then(|builder| {
        builder.try_pair(pieces(&["$A", "$B"])).map(|builder| builder.special_tokens(tokens).build())
    });
    let around = around.map_err(|error| bad(&error.to_string()))?.map_err(|error| bad(&error.to_string()))?;
    inner.with_post_processor(Some(around));
    Ok(())
}

fn bad(why: &str) -> Error {
    Error::BadFile { path: "tokenizer of a GGUF file".into(), why: why.to_owned() }
}
