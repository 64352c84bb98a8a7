//! Generated text: reproducible, grammatical, with something to learn that counting words does not give.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use cairn_datasets::conllu::{self, Sentence};
use cairn_datasets::synthetic;
use cairn_datasets::text::LabelledText;

#[test]
fn the_same_seed_gives_the_same_text() {
    assert_eq!(synthetic::sentences(20, 1).unwrap(), synthetic::sentences(20, 1).unwrap());
    assert_ne!(synthetic::sentences(20, 1).unwrap(), synthetic::sentences(20, 2).unwrap());
    assert_eq!(synthetic::sentences(20, 1).unwrap()[..5], synthetic::sentences(5, 1).unwrap());
    assert_eq!(synthetic::reviews(20, 1).unwrap(), synthetic::reviews(20, 1).unwrap());
    assert_ne!(synthetic::reviews(20, 1).unwrap(), synthetic::reviews(20, 2).unwrap());
    assert_eq!(synthetic::translations(20, 1).unwrap(), synthetic::translations(20, 1).unwrap());
}

/// Written out in CoNLL-U the sentences pass the reader's checks and come back the same.
#[test]
fn sentences_are_sound_trees() {
    let sentences = synthetic::sentences(300, 1).unwrap();
    let mut text = String::new();
    for sentence in &sentences {
        for (i, w) in sentence.words.iter().enumerate() {
            let head = w.head.unwrap();
            let row = [&w.form, &w.lemma, &w.upos, &w.xpos, &w.feats].map(String::as_str).join("\t");
            text += &format!("{}\t{row}\t{head}\t{}\t_\t_\n", i + 1, w.deprel);
        }
        text.push('\n');
    }
    assert_eq!(conllu::parse(&text, Path::new("generated")).unwrap(), sentences);
    for sentence in &sentences {
        assert_eq!(sentence.words.iter().filter(|w| w.head == Some(0)).count(), 1);
        let subject = sentence.words.iter().find(|w| w.deprel == "nsubj").unwrap();
        let verb = &sentence.words[subject.head.unwrap() - 1];
        assert_eq!((verb.upos.as_str(), &verb.feats), ("VERB", &subject.feats), "{sentence:?}");
    }
}

#[test]
fn parts_of_speech_need_their_neighbours() {
    let count = |sentences: &[Sentence], key: &dyn Fn(&Sentence, usize) -> String| {
        let mut counts: HashMap<String, HashMap<String, usize>> = HashMap::new();
        for sentence in sentences {
            for (i, word) in sentence.words.iter().enumerate() {
                *counts.entry(key(sentence, i)).or_default().entry(word.upos.clone()).or_default() += 1;
            }
        }
        let (right, all) = counts.values().fold((0, 0), |(right, all), tags| {
            (right + tags.values().max().unwrap(), all + tags.values().sum::<usize>())
        });
        right as f64 / all as f64
    };
    let sentences = synthetic::sentences(3000, 1).unwrap();
    let alone = count(&sentences, &|s, i| s.words[i].form.clone());
    let before = |s: &Sentence, i: usize| if i == 0 { String::new() } else { s.words[i - 1].upos.clone() };
    let after = |s: &Sentence, i: usize| s.words.get(i + 1).map_or(String::new(), |w| w.upos.clone());
    let in_context =
        count(&sentences, &|s, i| format!("{} {} {}", before(s, i), s.words[i].form, after(s, i)));
    assert!(alone < 0.96, "{alone}");
    assert!(in_context > 0.99, "{in_context}");
}

#[test]
fn translations_follow_rules() {
    let pairs = synthetic::translations(2000, 1).unwrap();
    for pair in &pairs {
        assert_eq!(pair.source.split(' ').count(), pair.target.split(' ').count());
        assert!(pair.target.ends_with(" ."));
    }
    // Different words are translated differently: as many foreign words as lemmas and plurals of nouns.
    let sentences = synthetic::sentences(2000, 1).unwrap();
    let words = sentences.iter().flat_map(|s| &s.words);
    let distinct: BTreeSet<_> =
        words.map(|w| (&w.lemma, &w.upos, (w.upos == "NOUN").then_some(&w.feats))).collect();
    let foreign: BTreeSet<&str> = pairs.iter().flat_map(|pair| pair.target.split(' ')).collect();
    assert_eq!(foreign.len(), distinct.len());
}

#[test]
fn running_text_has_sentences_and_lines() {
    let text = synthetic::text(8, 1).unwrap();
    assert_eq!((text.lines().count(), text.matches('.').count()), (2, 8));
    assert!(text.starts_with(char::is_uppercase) && text.ends_with(".\n") && !text.contains(" ."));
    assert!(synthetic::text(0, 1).unwrap().is_empty());
}

/// Word counts in both classes, as naive Bayes has it.
fn bayes(train: &[LabelledText], test: &[LabelledText]) -> f64 {
    let mut counts: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    let mut totals = [0.0; 2];
    for review in train {
        for word in review.text.split(' ') {
            counts.entry(word).or_insert([1.0; 2])[review.label as usize] += 1.0;
            totals[review.label as usize] += 1.0;
        }
    }
    let right = test.iter().filter(|review| {
        let score = |class: usize| -> f64 {
            review
                .text
                .split(' ')
                .filter_map(|w| counts.get(w))
                .map(|c| (c[class] / totals[class]).ln())
                .sum()
        };
        u32::from(score(1) > score(0)) == review.label
    });
    right.count() as f64 / test.len() as f64
}

#[test]
fn reviews_are_more_than_their_words() {
    let (train, test) = (synthetic::reviews(2000, 1).unwrap(), synthetic::reviews(1000, 2).unwrap());
    let favourable = train.iter().filter(|review| review.label == 1).count();
    assert!((800..1200).contains(&favourable), "{favourable}");
    let by_words = bayes(&train, &test);
    assert!((0.65..0.9).contains(&by_words), "{by_words}");
    // With `not` joined to the word after it, words are enough.
    let joined = |reviews: Vec<LabelledText>| -> Vec<LabelledText> {
        reviews.into_iter().map(|r| LabelledText { text: r.text.replace("not ", "not-"), ..r }).collect()
    };
    let in_order = bayes(&joined(train), &joined(test));
    assert!(in_order > 0.95, "{in_order}");
}
