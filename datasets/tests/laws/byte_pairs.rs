//! Byte-pair encoding: every text comes back, limits and special tokens are kept, files are read again or refused.

use std::fs;
use std::path::Path;

use cairn_datasets::text::{Bpe, Tokenizer, Vocabulary};
use cairn_datasets::{Error, synthetic};
use proptest::prelude::*;

fn trained(max_size: usize) -> Bpe {
    Bpe::builder()
        .max_size(max_size)
        .special(["<bos>"])
        .train(synthetic::text(300, 1).unwrap().lines())
        .unwrap()
}

#[test]
fn the_most_frequent_pair_is_joined_first() {
    // Pairs in `ab`, ` ab`, ` ab`, ` abc`: `ab` four times, then ` ab` three times.
    let train = |size| Bpe::builder().max_size(size).train(["ab ab ab abc"]).unwrap();
    let (one, two) = (train(259), train(260));
    assert_eq!(one.tokens("abc ab"), ["ab", "c", "Ġ", "ab"]);
    assert_eq!(two.tokens("abc ab"), ["ab", "c", "Ġab"]);
    assert_eq!((one.len(), one.id("ab"), two.id("Ġab")), (259, Some(258), Some(259)));
    // `bc` comes once, which is too rare to be joined.
    assert_eq!(train(1000).len(), 260);
    let all = Bpe::builder().min_count(1).max_size(1000).train(["ab ab ab abc"]).unwrap();
    assert_eq!(all.tokens("ab abc"), ["ab", "Ġabc"]);
}

#[test]
fn limits_and_special_tokens() {
    let bpe = trained(300);
    assert_eq!((bpe.len(), bpe.is_empty()), (300, false));
    assert_eq!((bpe.padding(), bpe.unknown(), bpe.id("<bos>")), (Some(0), Some(1), Some(2)));
    assert_eq!(bpe.token(2).as_deref(), Some("<bos>"));
    assert_eq!(bpe.token(300), None);
    // Learnt pieces shorten what they were learnt from.
    let text = synthetic::text(20, 2).unwrap();
    let (short, long) = (bpe.encode(&text).unwrap(), trained(259).encode(&text).unwrap());
    assert_eq!(long.len(), text.len());
    assert!(short.len() * 3 < long.len() * 2, "{} of {} tokens", short.len(), long.len());
    let none = Bpe::builder().padding(None).unknown(None).train(["a"]).unwrap();
    assert_eq!((none.padding(), none.unknown(), none.len()), (None, None, 256));

    let refused = |result: Result<Bpe, Error>, word: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Argument { .. }) && error.to_string().contains(word), "{error}");
    };
    refused(Bpe::builder().max_size(257).train(["a"]), "257");
    refused(Bpe::builder().special(["<pad>"]).train(["a"]), "<pad>");
}

#[test]
fn no_text_brings_in_a_special_token() {
    let bpe = trained(300);
    let ids = bpe.encode("a <pad> b <bos>").unwrap();
    assert!(ids.iter().all(|&id| id > 2), "{ids:?}");
    assert_eq!(bpe.decode(&ids).unwrap(), "a <pad> b <bos>");
    assert_eq!(bpe.decode(&[&[2], &ids[..], &[0, 0]].concat()).unwrap(), "a <pad> b <bos>");
}

#[test]
fn numbers_outside_and_characters_cut_in_two() {
    let bpe = trained(300);
    let error = bpe.decode(&[5, 300]).unwrap_err().to_string();
    assert!(error.contains("id 300 at position 1"), "{error}");
    let snowman = bpe.encode("☃").unwrap();
    assert_eq!(snowman.len(), 3);
    assert_eq!(bpe.decode(&snowman[..2]).unwrap(), "\u{fffd}");
}

#[test]
fn saved_encodings_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bpe.json");
    let bpe = trained(400);
    bpe.save(&path).unwrap();
    let again = Bpe::load(&path).unwrap();
    let text = "the <bos> quick\n  brown fox's 12 ☃";
    assert_eq!(again.encode(text).unwrap(), bpe.encode(text).unwrap());
    assert_eq!(again.decode(&again.encode(text).unwrap()).unwrap(), text);
    assert_eq!((again.padding(), again.unknown(), again.len()), (Some(0), Some(1), 400));
    // The same texts give the same file.
    let other = folder.path().join("other.json");
    trained(400).save(&other).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&other).unwrap());

    let bad = |contents: &str| {
        fs::write(&other, contents).unwrap();
        Bpe::load(&other).unwrap_err()
    };
    assert!(matches!(bad("{"), Error::Format { .. }));
    let whole = fs::read_to_string(&path).unwrap();
    assert!(matches!(bad(&whole[..whole.len() / 2]), Error::Format { .. }));
    let words = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":null,"post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}"#;
    assert!(bad(words).to_string().contains("byte-pair"), "{}", bad(words));
    assert!(matches!(Bpe::load(Path::new("/nowhere/bpe.json")), Err(Error::Io { .. })));
    assert!(matches!(bpe.save(Path::new("/nowhere/bpe.json")), Err(Error::Io { .. })));
}

/// What a file says of cutting and filling up is for batches of its own program: texts are encoded whole.
#[test]
fn texts_are_encoded_whole_whatever_the_file_would_cut_or_fill_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bpe.json");
    let bpe = trained(400);
    bpe.save(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let text = "the quick brown fox jumps";
    for stride in [0, 5] {
        json["truncation"] = serde_json::json!({
            "max_length": 2, "stride": stride, "strategy": "LongestFirst", "direction": "Right"
        });
        for length in [64_usize, 1_000_000_000_000] {
            json["padding"]["strategy"] = serde_json::json!({ "Fixed": length });
            json["padding"]["pad_to_multiple_of"] = serde_json::json!(length);
            fs::write(&path, json.to_string()).unwrap();
            let read = Bpe::load(&path).unwrap();
            assert_eq!(read.encode(text).unwrap(), bpe.encode(text).unwrap());
            let pieces = |bpe: &Bpe| {
                let mut pieces = Vec::new();
                bpe.tokenize(text, &mut |piece| pieces.push(piece.to_owned()));
                pieces
            };
            assert_eq!(pieces(&read), pieces(&bpe));
            assert_eq!(read.padding(), bpe.padding());
        }
    }
}

/// The library panics on some parts of another shape; here they are errors, and nothing is printed.
#[test]
fn damaged_files_are_errors_and_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bpe.json");
    trained(280).save(&path).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        Bpe::load(&path)
    };
    for end in (0..whole.len()).filter(|&end| whole.is_char_boundary(end)).step_by(7) {
        assert!(load(&whole[..end]).is_err(), "cut at {end}");
    }
    let parts =
        ["normalizer", "pre_tokenizer", "post_processor", "decoder", "model", "padding", "added_tokens"];
    let shapes = [
        "3",
        "[]",
        "{}",
        "\"x\"",
        "[1]",
        "{\"type\":\"ByteLevel\"}",
        "{\"type\":\"Nothing\"}",
        "{\"type\":3}",
        "{\"type\":\"Sequence\",\"decoders\":[3]}",
        "{\"type\":\"BPE\"}",
        "{\"decoders\":[{}]}",
    ];
    for part in parts {
        for shape in shapes {
            // The later of two equal keys counts.
            let text = format!("{},\"{part}\":{shape}}}", whole.trim_end().strip_suffix('}').unwrap());
            if let Ok(bpe) = load(&text) {
                let _ = bpe.encode("the newest ☂").and_then(|ids| bpe.decode(&ids));
            }
            let text = whole.replacen(&format!("\"{part}\":"), &format!("\"{part}\":{shape},\"rest\":"), 1);
            let _ = load(&text);
        }
    }
    let error = Bpe::builder().max_size(usize::MAX).train(["low lower"]).unwrap_err();
    assert!(error.to_string().contains("max_size"), "{error}");
}

/// `golden/bpe.json` and the numbers here are of the library in Python: see `golden/bpe.py`.
#[test]
fn files_of_other_programs_are_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bpe = Bpe::load(&golden.join("bpe.json")).unwrap();
    assert_eq!((bpe.len(), bpe.padding(), bpe.unknown()), (290, Some(0), Some(1)));
    for line in fs::read_to_string(golden.join("bpe.txt")).unwrap().lines() {
        let (text, ids) = line.split_once('\t').unwrap();
        let ids: Vec<u32> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
        assert_eq!(bpe.encode(text).unwrap(), ids, "{text}");
        assert_eq!(bpe.decode(&ids).unwrap(), text);
    }
}

#[test]
fn pieces_can_be_counted_as_words_are() {
    let bpe = trained(300);
    let text = synthetic::text(50, 1).unwrap();
    let vocabulary = Vocabulary::builder().max_size(20).texts(text.lines(), &bpe).build().unwrap();
    assert_eq!(vocabulary.len(), 20);
    assert!(vocabulary.iter().skip(2).all(|piece| bpe.id(piece).is_some()));
}

proptest! {
    #[test]
    fn every_text_comes_back(text in any::<String>()) {
        let bpe = trained(350);
        let ids = bpe.encode(&text).unwrap();
        prop_assert_eq!(bpe.decode(&ids).unwrap(), text.clone());
        prop_assert_eq!(bpe.tokens(&text).len(), ids.len());
    }
}
