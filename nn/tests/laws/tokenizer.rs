//! Tokenizers and templates: text comes back whole, piece by piece too; special tokens; damaged files; what templates need of Python.

use cairn_nn::tokenizer::{ChatTemplate, Tokenizer, assistant, system, user};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Every byte as the byte-level libraries write it.
pub(crate) fn bytes() -> Vec<char> {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 0x100;
    let written = (0..256u32).map(|byte| {
        let code = if printable(&byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap()
    });
    written.collect()
}

/// Bytes, a few merges of them, and two special tokens, 0 and 1.
pub(crate) fn byte_level() -> String {
    let merges = ["t h", "Ġ th", "th e", "Ġ a", "i n", "Ã ¤", "e r"];
    let mut vocabulary = Map::new();
    let mut tokens = vec!["<s>".to_owned(), "</s>".to_owned()];
    tokens.extend(bytes().iter().map(char::to_string));
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    for (id, token) in tokens.iter().enumerate() {
        vocabulary.insert(token.clone(), id.into());
    }
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false});
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true});
    let all = json!({
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": null, "normalizer": null, "pre_tokenizer": level, "decoder": level,
        "added_tokens": [special(0, "<s>"), special(1, "</s>")],
        "post_processor": {
            "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}
        },
        "model": {"type": "BPE", "vocab": Value::Object(vocabulary), "merges": merges}
    });
    all.to_string()
}

/// SentencePiece's kind: letters, a blank before each text, and the token of each byte for all other characters, 3 and on.
pub(crate) fn pieces_and_bytes() -> String {
    let mut tokens = vec!["<unk>".to_owned(), "<s>".to_owned(), "</s>".to_owned()];
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(["▁", "<", ">", "/"].map(str::to_owned));
    tokens.extend(('a'..='z').map(String::from));
    tokens.extend(["▁a", "th", "▁th", "▁the", "in"].map(str::to_owned));
    let vocabulary: Map<String, Value> =
        tokens.into_iter().zip(0..).map(|(token, id)| (token, json!(id))).collect();
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false});
    let replace =
        |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let all = json!({
        "version": "1.0", "truncation": null, "padding": null, "pre_tokenizer": null, "post_processor": null,
        "added_tokens": [special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]},
        "decoder": {"type": "Sequence", "decoders": [
            replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        ]},
        "model": {
            "type": "BPE", "vocab": vocabulary, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "merges": ["▁ a", "t h", "▁ th", "▁th e", "i n"],
        },
    });
    all.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes may come that are no character: whatever was whole before them stays, and whatever comes after is there.
    #[test]
    fn no_text_is_lost_beside_bytes_that_are_no_characters(parts in prop::collection::vec((0usize..4, 0usize..26), 0..20)) {
        let tokenizer = Tokenizer::parse(&pieces_and_bytes()).unwrap();
        let byte = |byte: u32| 3 + byte;
        let letter = |at: usize| tokenizer.id(&char::from(b'a' + at as u8).to_string()).unwrap();
        let mut pieces = tokenizer.pieces();
        let (mut all, mut letters) = (String::new(), String::new());
        for (kind, at) in parts {
            let ids = match kind {
                0 => vec![byte(0xc3), byte(0xa9)],
                1 => vec![byte(0xff)],
                2 => vec![byte(0xe2)],
                _ => vec![letter(at)],
            };
            if kind > 2 {
                letters.push(char::from(b'a' + at as u8));
            }
            ids.into_iter().for_each(|id| all.push_str(&pieces.push(id).unwrap()));
        }
        all.push_str(&pieces.finish().unwrap());
        prop_assert_eq!(all.chars().filter(char::is_ascii).collect::<String>(), letters);
    }

    #[test]
    fn text_comes_back_whole_and_no_piece_is_cut_within_a_character(text in "[ -~äöüß☂漢🦀\\n]{0,40}") {
        let tokenizer = Tokenizer::parse(&byte_level()).unwrap();
        let ids = tokenizer.encode_bare(&text).unwrap();
        prop_assert_eq!(&tokenizer.decode_all(&ids).unwrap(), &text);
        let mut pieces = tokenizer.pieces();
        let mut all = String::new();
        for &id in &ids {
            let piece = pieces.push(id).unwrap();
            let cut = piece.contains('\u{fffd}');
            prop_assert!(!cut);
            all.push_str(&piece);
        }
        all.push_str(&pieces.finish().unwrap());
        prop_assert_eq!(all, text);
    }

    #[test]
    fn tokens_in_any_order_are_the_same_text_in_pieces(ids in prop::collection::vec(2u32..265, 0..30)) {
        let tokenizer = Tokenizer::parse(&byte_level()).unwrap();
        let mut pieces = tokenizer.pieces();
        let mut all: String = ids.iter().map(|&id| pieces.push(id).unwrap()).collect();
        all.push_str(&pieces.finish().unwrap());
        prop_assert_eq!(all, tokenizer.decode(&ids).unwrap());
    }

    #[test]
    fn damaged_files_are_errors(at in 0usize..3000, byte in any::<u8>()) {
        let mut json = byte_level().into_bytes();
        let at = at % json.len();
        json[at] = byte;
        if let Ok(json) = String::from_utf8(json) {
            // Either the right content or an error; never a panic.
            if let Ok(tokenizer) = Tokenizer::parse(&json) {
                let _ = tokenizer.encode("the rain in Spain");
            }
        }
    }
}

#[test]
fn bytes_that_are_no_character_do_not_end_a_text() {
    let tokenizer = Tokenizer::parse(&pieces_and_bytes()).unwrap();
    let mut pieces = tokenizer.pieces();
    let the = tokenizer.id("▁the").unwrap();
    let ids = [3 + 0xc3, 3 + 0xa9, 3 + 0xff, the, 3 + 0xc3];
    let written = ids.map(|id| pieces.push(id).unwrap());
    assert_eq!(written, ["", "é", "", "\u{fffd} the", ""]);
    assert_eq!(pieces.finish().unwrap(), "\u{fffd}");
}

#[test]
fn files_that_make_gigabytes_of_a_letter_are_refused() {
    let with = |key: &str, part: Value| {
        let mut json: Value = serde_json::from_str(&byte_level()).unwrap();
        // Added tokens are changed while the file is read.
        json["added_tokens"][0]["normalized"] = true.into();
        json["added_tokens"][0]["content"] = "a".into();
        json[key] = part;
        Tokenizer::parse(&json.to_string()).map(|tokenizer| tokenizer.encode("a").unwrap().len())
    };
    let ten = |count: usize| {
        let ten = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"});
        vec![ten; count]
    };
    let all = |list: &str, count: usize| json!({"type": "Sequence", list: ten(count)});
    assert!(with("normalizer", all("normalizers", 2)).unwrap() > 0);
    for (key, list) in [("normalizer", "normalizers"), ("decoder", "decoders")] {
        let told = with(key, all(list, 12)).unwrap_err().to_string();
        assert!(told.contains("times as long"), "{told}");
    }
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let around = json!({"type": "TemplateProcessing", "single": vec![text.clone(); 1000], "pair": [text], "special_tokens": {}});
    let told = with("post_processor", around).unwrap_err().to_string();
    assert!(told.contains("too much around a text"), "{told}");
}

#[test]
fn the_longest_token_is_known_where_all_of_a_text_is_in_tokens() {
    let of = |text: &str, change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_str(text).unwrap();
        change(&mut json);
        Tokenizer::parse(&json.to_string()).unwrap().longest_token()
    };
    // "</s>", and "▁the" with its three bytes for a blank; a token for a byte is written in six.
    assert_eq!(of(&byte_level(), &|_| {}), Some(4));
    assert_eq!(of(&pieces_and_bytes(), &|_| {}), Some(6));
    assert_eq!(of(&byte_level(), &|json| json["normalizer"] = json!({"type": "NFC"})), Some(12));
    let strip = json!({"type": "Strip", "strip_left": true, "strip_right": true});
    assert_eq!(of(&byte_level(), &|json| json["added_tokens"][0]["lstrip"] = true.into()), None);
    assert_eq!(of(&byte_level(), &|json| json["normalizer"] = strip.clone()), None);
    assert_eq!(of(&byte_level(), &|json| json["pre_tokenizer"] = json!({"type": "Whitespace"})), None);
    // Without the tokens for bytes, unknown characters are one token, however many there are.
    assert_eq!(of(&pieces_and_bytes(), &|json| json["model"]["byte_fallback"] = false.into()), None);
}

#[test]
fn ids_offsets_and_special_tokens_are_those_of_the_file() {
    let tokenizer = Tokenizer::parse(&byte_level()).unwrap();
    let the = tokenizer.id("the").unwrap();
    assert_eq!(tokenizer.len(), 2 + 256 + 7);
    // The file would cut texts at 4 tokens.
    assert_eq!(
        tokenizer.encode("the</s> the").unwrap(),
        [0, the, 1, tokenizer.id("Ġth").unwrap(), tokenizer.id("e").unwrap()]
    );
    assert_eq!(tokenizer.encode_bare("the").unwrap(), [the]);
    assert_eq!(tokenizer.encode_untrusted("the").unwrap(), [the]);
    let untrusted = tokenizer.encode_untrusted("the</s>").unwrap();
    assert!(!untrusted.contains(&1));
    assert_eq!(tokenizer.decode(&untrusted).unwrap(), "the</s>");
    assert_eq!(tokenizer.decode(&[0, the, 1]).unwrap(), "the");
    assert_eq!(tokenizer.decode_all(&[0, the, 1]).unwrap(), "<s>the</s>");
    let offsets = tokenizer.encode_with_offsets("ä the").unwrap();
    assert_eq!(offsets[1], (tokenizer.id("Ã¤").unwrap(), 0..2));
    assert!(tokenizer.decode(&[9999]).unwrap_err().to_string().contains("the id of a token is 9999"));
}

#[test]
fn files_of_another_kind_are_told_so() {
    let told = |json: &str| Tokenizer::parse(json).unwrap_err().to_string();
    assert!(told("{").contains("EOF"), "{}", told("{"));
    assert!(!told("{}").is_empty() && !told("[]").is_empty());
    assert!(Tokenizer::load("/nowhere/tokenizer.json").unwrap_err().to_string().contains("tokenizer.json"));
}

#[test]
fn conversations_are_written_as_the_template_says() {
    // ChatML with a default for the system's message, and marks of what to learn from.
    let source = "{% for message in messages %}\
        {% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}\
        {{ '<|im_start|>' + message['role'] + '\n' }}{% generation %}{{ message['content'] + '<|im_end|>' + '\n' }}{% endgeneration %}\
        {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    let template = ChatTemplate::parse(source).unwrap();
    let text = template.render(&[user("Hi"), assistant("Yes?"), user("Bye")], true).unwrap();
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
        <|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(text, expected);
    let own = template.render(&[system("Sing.")], false).unwrap();
    assert_eq!(own, "<|im_start|>system\nSing.<|im_end|>\n");
}

#[test]
fn templates_have_what_python_has() {
    let written =
        |source: &str| ChatTemplate::parse(source).unwrap().render(&[user("  Ab, c ")], false).unwrap();
    assert_eq!(written("{{ messages[0].content.strip().upper().split(',')[1] }}"), " C");
    assert_eq!(written("{{ {'a': [1, 'é'], 'b': none} | tojson }}"), "{\"a\": [1, \"é\"], \"b\": null}");
    assert_eq!(written("{{ [1] | tojson(indent=2) }}"), "[\n  1\n]");
    assert_eq!(
        written(
            "{% set ns = namespace(n=0) %}{% for i in range(9) %}{% if i > 2 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}"
        ),
        "3"
    );
    let date = written("{{ strftime_now('%d %b %Y') }}");
    let year = date.rsplit(' ').next().and_then(|year| year.parse::<u32>().ok());
    assert!(year.is_some_and(|year| year > 2000) && date.len() == "26 Jul 2024".len(), "{date}");
    // A line of a block alone leaves nothing behind.
    assert_eq!(written("a\n  {% if true %}\nb\n  {% endif %}\nc"), "a\nb\nc");
    let marked = ChatTemplate::parse("{{ bos_token }}|{{ eos_token }}").unwrap().with_marks("<s>", "</s>");
    assert_eq!(marked.render(&[], false).unwrap(), "<s>|</s>");
}

#[test]
fn what_a_template_refuses_is_told_with_its_line() {
    let source = "{% if messages[0].role != 'user' %}\n\n{{ raise_exception('users begin') }}\n{% endif %}";
    let told = ChatTemplate::parse(source).unwrap().render(&[assistant("Hi")], true).unwrap_err().to_string();
    assert!(told.contains("chat template, line 3") && told.contains("users begin"), "{told}");
    let odd = ChatTemplate::parse("\n{{ strftime_now('%Q') }}")
        .unwrap()
        .render(&[], false)
        .unwrap_err()
        .to_string();
    assert!(odd.contains("line 2") && odd.contains("`%Q`"), "{odd}");
    let endless = "{% for i in range(10000) %}{% for j in range(10000) %}{{ j }}{% endfor %}{% endfor %}";
    assert!(ChatTemplate::parse(endless).unwrap().render(&[], false).is_err());
}

#[test]
fn parts_of_characters_have_their_bytes() {
    let tokenizer = Tokenizer::parse(&byte_level()).unwrap();
    let ids = tokenizer.encode_bare("☂").unwrap();
    assert!(ids.len() > 1 && tokenizer.decode(&ids[..1]).unwrap() == "\u{fffd}");
    let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.bytes(id).unwrap()).collect();
    assert_eq!(bytes, "☂".as_bytes());
    assert_eq!(tokenizer.bytes(tokenizer.id("Ġth").unwrap()).unwrap(), b" th");
    assert_eq!(tokenizer.bytes(9999), None);
}
