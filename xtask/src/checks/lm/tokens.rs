//! Ids of tokens against the reference's: Hugging Face's own crate, `tokenizers`, whose models of words are not those of Cairn. Over texts that
//! people wrote, and over drawn ones of every kind of character.

use std::path::Path;
use std::str::FromStr as _;

use anyhow::{anyhow, bail, ensure};
use cairn_nn::tokenizer::Tokenizer;
use cairn_nn::weights::gguf::{Array, Gguf, Value};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use serde_json::{Map, Value as Json, json};
use tokenizers::Tokenizer as Reference;

use crate::check::Context;
use crate::results::Bar;

/// How GGUF files number tokens that are no text.
const CONTROL: i32 = 3;
/// Drawn texts, and the most parts of one.
const DRAWN: usize = 20_000;
const QUICK_DRAWN: usize = 2_000;
const MOST_PARTS: usize = 24;
/// Differences that are printed.
const SHOWN: i32 = 3;
/// Characters that go together: letters, digits, marks and blanks, controls, letters with accents and the accents alone, other alphabets, what is
/// invisible, scripts without blanks, pictures, and all there is.
const RANGES: [(u32, u32); 16] = [
    (0x61, 0x7a),
    (0x30, 0x39),
    (0x20, 0x7e),
    (0x00, 0x1f),
    (0x80, 0x24f),
    (0x300, 0x36f),
    (0x370, 0x52f),
    (0x590, 0x6ff),
    (0x900, 0xdff),
    (0x2000, 0x206f),
    (0x2150, 0x2bff),
    (0x3000, 0x30ff),
    (0x4e00, 0x9fff),
    (0xac00, 0xd7a3),
    (0x1f300, 0x1faff),
    (0x00, 0x10_ffff),
];
/// What rules of words and of special tokens are about.
const PIECES: [&str; 20] = [
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "'s",
    "'LL",
    " don't",
    " the",
    " 1234",
    "½",
    "e\u{301}",
    "\u{feff}",
    "👩\u{200d}👩\u{200d}👧",
    "<|im_start|>",
    "<|im_end|>",
    "<|im_end",
    "[CLS]",
    "[SEP]",
    "##ing",
];

/// The reference's tokenizer with the tokens and merges of a GGUF file, cut into words as the tokenizer.json of SmolLM says.
pub(super) fn of_gguf(path: &Path) -> anyhow::Result<Reference> {
    let file = Gguf::open(path)?;
    let pre = file.text("tokenizer.ggml.pre")?;
    ensure!(pre == "smollm", "how texts are cut for a model made for `{pre}` is not known here");
    let tokens = file.texts("tokenizer.ggml.tokens")?;
    let Some(Array::I32(kinds)) = file.get("tokenizer.ggml.token_type").and_then(Value::as_array) else {
        bail!("the file does not say of what kind its tokens are");
    };
    let special = tokens.iter().zip(0u32..).zip(kinds).filter(|(_, kind)| **kind == CONTROL);
    let special = special.map(|((token, id), _)| {
        json!({
            "id": id, "content": token, "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false
        })
    });
    let vocabulary: Map<String, Json> =
        tokens.iter().zip(0u32..).map(|(token, id)| (token.to_owned(), id.into())).collect();
    let merges: Vec<&str> = file.texts("tokenizer.ggml.merges")?.iter().collect();
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let digits = json!({"type": "Digits", "individual_digits": true});
    let whole = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "decoder": level,
        "added_tokens": special.collect::<Vec<_>>(), "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, level]},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    });
    parsed(&whole)
}

/// The reference's tokenizer of a tokenizer.json, but for what it says of lengths.
pub(in crate::checks) fn of_json(path: &Path) -> anyhow::Result<Reference> {
    let mut whole: Json = serde_json::from_slice(&std::fs::read(path)?)?;
    for name in ["truncation", "padding"] {
        whole[name] = Json::Null;
    }
    parsed(&whole)
}

fn parsed(json: &Json) -> anyhow::Result<Reference> {
    Reference::from_str(&json.to_string()).map_err(|error| anyhow!("the reference's tokenizer: {error}"))
}

/// Counts texts whose ids differ, of these and of drawn ones.
pub(in crate::checks) fn compare(
    ctx: &mut Context<'_>,
    ours: &Tokenizer,
    theirs: &Reference,
    (name, texts): (&str, &[&str]),
) -> anyhow::Result<()> {
    let drawn = drawn(ctx.seed(), if ctx.quick() { QUICK_DRAWN } else { DRAWN });
    let drawn: Vec<&str> = drawn.iter().map(String::as_str).collect();
    for (name, texts) in [(name, texts), ("drawn texts", drawn.as_slice())] {
        let mut unlike = 0;
        for text in texts {
            let found = ours.encode(text)?;
            let expected = theirs.encode(*text, true).map_err(|error| anyhow!("the reference: {error}"))?;
            let expected = expected.get_ids();
            if found != expected {
                unlike += 1;
                if unlike <= SHOWN {
                    ctx.say(difference(text, &found, expected));
                }
            }
        }
        ctx.metric(
            format!("{name} whose tokens are not the reference's"),
            f64::from(unlike),
            Bar::AtMost(0.0),
        );
    }
    Ok(())
}

/// Where a text's tokens are others.
fn difference(text: &str, found: &[u32], expected: &[u32]) -> String {
    let same = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let next = |ids: &[u32]| ids.iter().skip(same).take(5).copied().collect::<Vec<_>>();
    let (ours, theirs) = (next(found), next(expected));
    let begin: String = text.chars().take(60).collect();
    format!("{begin:?}: from token {same} on {ours:?}, the reference has {theirs:?}")
}

/// Texts of parts that are pieces, or some characters of a range.
fn drawn(seed: u64, count: usize) -> Vec<String> {
    let mut draw = Pcg64::seed_from_u64(seed);
    let mut part = |text: &mut String| {
        if draw.random_range(0..3) == 0 {
            text.push_str(PIECES[draw.random_range(0..PIECES.len())]);
            return;
        }
        let (first, last) = RANGES[draw.random_range(0..RANGES.len())];
        for _ in 0..draw.random_range(1..8) {
            // Halves of pairs are no characters.
            text.push(char::from_u32(draw.random_range(first..=last)).unwrap_or('\u{fffd}'));
        }
    };
    let text = |n: usize| {
        let mut text = String::new();
        (0..n % MOST_PARTS).for_each(|_| part(&mut text));
        text
    };
    (0..count).map(text).collect()
}

#[cfg(test)]
mod tests {
    use cairn_datasets::DataDir;

    use super::*;
    use crate::check::Settings;

    #[test]
    fn texts_are_drawn_alike_for_a_seed_and_of_all_kinds() {
        let texts = drawn(1, 500);
        assert!(texts == drawn(1, 500) && texts != drawn(2, 500));
        assert!(texts[0].is_empty());
        let all = texts.concat();
        for piece in PIECES {
            assert!(all.contains(piece), "{piece:?}");
        }
        for (first, last) in RANGES {
            assert!(all.chars().any(|letter| (first..=last).contains(&u32::from(letter))), "{first:x}");
        }
    }

    #[test]
    fn texts_with_other_tokens_are_counted() {
        let json = |merges: Json| {
            json!({
                "version": "1.0", "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
                "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
                "decoder": null, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": merges}
            })
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json(json!([["a", "b"]])).to_string()).unwrap();
        let (ours, same) = (Tokenizer::load(&path).unwrap(), of_json(&path).unwrap());
        assert_eq!(same.encode("ababab", true).unwrap().get_ids(), [2, 2, 2]);
        let other = parsed(&json(json!([]))).unwrap();
        let data = DataDir::new(folder.path()).offline();
        let settings = Settings { data, quick: true, long: false, seed: 1, kept: None };
        let told = |theirs: &Reference| {
            let mut out = Vec::new();
            let mut ctx = Context::new(&super::super::CHECK, &settings, &mut out);
            compare(&mut ctx, &ours, theirs, ("words", &["ababab", "b"])).unwrap();
            String::from_utf8(out).unwrap()
        };
        let right = told(&same);
        assert!(right.contains("drawn texts whose tokens") && !right.contains("MISSED"), "{right}");
        let wrong = told(&other);
        assert!(wrong.contains("MISSED") && wrong.contains("from token 0 on [2, 2, 2]"), "{wrong}");
    }
}
