//! BLEU and chrF against sacreBLEU.

use cairn_optim::metrics::{Bleu, ChrF, bleu, chrf};
use serde_json::Value;

fn texts(of: &Value) -> Vec<&str> {
    of.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn near(got: f64, want: &Value, what: &str) {
    let want = want.as_f64().unwrap();
    assert!((got - want).abs() < 1e-9, "{what}: {got} for {want}");
}

#[test]
fn scores_are_those_of_sacrebleu() {
    let golden: Value = serde_json::from_str(include_str!("../golden/translations.json")).unwrap();
    for (name, case) in golden["cases"].as_object().unwrap() {
        let translations = texts(&case["translations"]);
        let references: Vec<Vec<&str>> = case["references"].as_array().unwrap().iter().map(texts).collect();
        let (mut by_words, mut by_letters) = (Bleu::new(), ChrF::new());
        for (translation, references) in translations.iter().zip(&references) {
            by_words.add(translation, references);
            by_letters.add(translation, references);
        }
        near(by_words.score(), &case["bleu"], name);
        near(by_letters.score(), &case["chrf"], name);
        near(by_words.brevity_penalty(), &case["penalty"], name);
        let lengths = texts_of_lengths(&case["lengths"]);
        assert_eq!(by_words.lengths(), lengths, "{name}");
        // Of nothing that matches sacreBLEU does not say precisions.
        if by_words.score() > 0.0 {
            for (got, want) in by_words.precisions().into_iter().zip(case["precisions"].as_array().unwrap()) {
                near(got, want, name);
            }
        }
        if references.iter().all(|references| references.len() == 1) {
            let first: Vec<&str> = references.iter().map(|references| references[0]).collect();
            assert_eq!(bleu(&translations, &first), by_words.score());
            assert_eq!(chrf(&translations, &first), by_letters.score());
        }
    }
}

fn texts_of_lengths(of: &Value) -> (u64, u64) {
    (of[0].as_u64().unwrap(), of[1].as_u64().unwrap())
}

/// The words of each sentence, by number; which they are the scores above would tell.
#[test]
fn there_are_as_many_tokens_as_sacrebleu_sees() {
    let golden: Value = serde_json::from_str(include_str!("../golden/translations.json")).unwrap();
    for pair in golden["tokens"].as_array().unwrap() {
        let pair = texts(pair);
        let mut both = Bleu::new();
        both.add(pair[0], &[pair[0]]);
        assert_eq!(
            both.lengths().0,
            pair[1].split(' ').filter(|word| !word.is_empty()).count() as u64,
            "{pair:?}"
        );
    }
}

#[test]
fn nothing_scores_nothing() {
    assert_eq!((Bleu::new().score(), ChrF::new().score()), (0.0, 0.0));
    let (mut by_words, mut by_letters) = (Bleu::new(), ChrF::new());
    by_words.add::<&str>("a b c d", &[]);
    by_letters.add::<&str>("a b c d", &[]);
    assert_eq!((by_words.score(), by_letters.score()), (0.0, 0.0));
}
