//! A small grammar: tagged sentences with their trees, plain text, and a translation into an invented language.
//!
//! What there is to learn: forms that are nouns in one position and verbs in another (`watches`, `plant`), which only their
//! neighbours tell apart; verbs that agree with their subject across whatever is between; and a language that puts
//! the verb last, adjectives and prepositions after their noun, and marks the plural by an ending.

use cairn_tensor::Rng;

use crate::conllu::{Sentence, Word};
use crate::error::Result;
use crate::multi30k::Pair;
use crate::random::{self, below, unit};
use crate::synthetic::fits;

/// Singular and plural.
type Forms = [&'static str; 2];

const NOUNS: [Forms; 12] = [
    ["dog", "dogs"],
    ["bird", "birds"],
    ["child", "children"],
    ["house", "houses"],
    ["river", "rivers"],
    ["teacher", "teachers"],
    ["window", "windows"],
    ["plant", "plants"],
    ["walk", "walks"],
    ["play", "plays"],
    ["light", "lights"],
    ["watch", "watches"],
];
/// In the form that goes with a singular and with a plural subject.
const TRANSITIVE: [Forms; 6] = [
    ["watches", "watch"],
    ["plants", "plant"],
    ["lights", "light"],
    ["sees", "see"],
    ["follows", "follow"],
    ["finds", "find"],
];
const INTRANSITIVE: [Forms; 5] =
    [["walks", "walk"], ["plays", "play"], ["sleeps", "sleep"], ["waits", "wait"], ["watches", "watch"]];
/// About what a sentence takes in memory.
const BYTES: usize = 2000;
const DETERMINERS: [Forms; 4] = [["the", "the"], ["a", "some"], ["this", "these"], ["every", "many"]];
const PRONOUNS: [Forms; 2] = [["she", "they"], ["it", "we"]];
const ADJECTIVES: [&str; 7] = ["small", "old", "red", "quiet", "bright", "heavy", "light"];
const ADVERBS: [&str; 5] = ["often", "quickly", "here", "never", "slowly"];
const ADPOSITIONS: [&str; 4] = ["near", "behind", "under", "with"];

/// Sentences of a small grammar with parts of speech and dependencies, as from a treebank.
///
/// ```
/// use cairn_datasets::synthetic;
/// let sentences = synthetic::sentences(3, 1)?;
/// assert_eq!(sentences.len(), 3);
/// assert_eq!(sentences[0].words.last().map(|word| word.upos.as_str()), Some("PUNCT"));
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for more than memory can hold.
pub fn sentences(count: usize, seed: u64) -> Result<Vec<Sentence>> {
    fits(count, BYTES, "sentences")?;
    Ok((0..count).map(|i| sentence(&mut random::stream(seed, i as u64))).collect())
}

/// Sentences of the same grammar as running text, with capitals, a space between sentences and a line end after
/// every fourth.
///
/// # Errors
/// As [`sentences`].
pub fn text(count: usize, seed: u64) -> Result<String> {
    let mut text = String::new();
    for (i, sentence) in sentences(count, seed)?.iter().enumerate() {
        let words: Vec<&str> = sentence.words.iter().map(|word| word.form.as_str()).collect();
        let line = words.join(" ").replace(" .", ".");
        // All forms are ASCII.
        text.push_str(&line[..1].to_uppercase());
        text.push_str(&line[1..]);
        text.push(if i % 4 == 3 { '\n' } else { ' ' });
    }
    Ok(text)
}

/// Sentences of the same grammar and their translation into an invented language.
///
/// # Errors
/// As [`sentences`].
pub fn translations(count: usize, seed: u64) -> Result<Vec<Pair>> {
    let pairs = sentences(count, seed)?.into_iter().map(|sentence| {
        let words: Vec<&str> = sentence.words.iter().map(|word| word.form.as_str()).collect();
        let mut foreign = Vec::new();
        translate(&sentence, 0, &mut foreign);
        Pair { source: words.join(" "), target: foreign.join(" ") }
    });
    Ok(pairs.collect())
}

fn sentence(rng: &mut Rng) -> Sentence {
    let mut draft = Draft { words: Vec::new() };
    let plural = usize::from(unit(rng) < 0.5);
    let subject = draft.subject(plural, rng);
    let adverb_first = (unit(rng) < 0.25).then(|| draft.add(pick(rng, &ADVERBS), "ADV", false, "advmod"));
    let transitive = unit(rng) < 0.6;
    let forms = if transitive { pick(rng, &TRANSITIVE) } else { pick(rng, &INTRANSITIVE) };
    let verb = draft.add(forms[plural], "VERB", plural == 1, "root");
    draft.attach(subject, verb, "nsubj");
    if let Some(adverb) = adverb_first {
        draft.attach(adverb, verb, "advmod");
    }
    if transitive {
        let number = usize::from(unit(rng) < 0.5);
        let object = draft.noun_phrase(number, rng);
        draft.attach(object, verb, "obj");
    }
    if unit(rng) < 0.3 {
        let place = draft.place(rng);
        draft.attach(place, verb, "obl");
    }
    let stop = draft.add(".", "PUNCT", false, "punct");
    draft.attach(stop, verb, "punct");
    Sentence { words: draft.words }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[below(rng, from.len() as u64) as usize]
}

/// A sentence in the making. Words are named by their position from 1, as heads are.
struct Draft {
    words: Vec<Word>,
}

impl Draft {
    fn add(&mut self, form: &str, upos: &str, plural: bool, deprel: &str) -> usize {
        let feats = match upos {
            "NOUN" | "PRON" | "VERB" if plural => "Number=Plur",
            "NOUN" | "PRON" | "VERB" => "Number=Sing",
            _ => "_",
        };
        self.words.push(Word {
            form: form.to_owned(),
            lemma: lemma(form, upos).to_owned(),
            upos: upos.to_owned(),
            xpos: "_".to_owned(),
            feats: feats.to_owned(),
            head: Some(0),
            deprel: deprel.to_owned(),
        });
        self.words.len()
    }

    fn attach(&mut self, word: usize, head: usize, deprel: &str) {
        let word = &mut self.words[word - 1];
        word.head = Some(head);
        word.deprel = deprel.to_owned();
    }

    fn subject(&mut self, number: usize, rng: &mut Rng) -> usize {
        if unit(rng) < 0.2 {
            let pronoun = pick(rng, &PRONOUNS)[number];
            return self.add(pronoun, "PRON", number == 1, "nsubj");
        }
        let noun = self.noun_phrase(number, rng);
        if unit(rng) < 0.3 {
            // What comes between subject and verb, and may be of another number.
            let place = self.place(rng);
            self.attach(place, noun, "nmod");
        }
        noun
    }

    fn noun_phrase(&mut self, number: usize, rng: &mut Rng) -> usize {
        let determiner = pick(rng, &DETERMINERS)[number];
        let mut before = vec![(self.add(determiner, "DET", false, "det"), "det")];
        if unit(rng) < 0.4 {
            before.push((self.add(pick(rng, &ADJECTIVES), "ADJ", false, "amod"), "amod"));
        }
        let noun = self.add(pick(rng, &NOUNS)[number], "NOUN", number == 1, "dep");
        for (word, deprel) in before {
            self.attach(word, noun, deprel);
        }
        noun
    }

    fn place(&mut self, rng: &mut Rng) -> usize {
        let adposition = self.add(pick(rng, &ADPOSITIONS), "ADP", false, "case");
        let number = usize::from(unit(rng) < 0.5);
        let noun = self.noun_phrase(number, rng);
        self.attach(adposition, noun, "case");
        noun
    }
}

/// The form of dictionaries: nouns in the singular, verbs as with a plural subject.
fn lemma<'a>(form: &'a str, upos: &str) -> &'a str {
    let other = |table: &[Forms], from: usize| {
        table.iter().find(|forms| forms[from] == form).map(|forms| forms[1 - from])
    };
    match upos {
        "NOUN" => other(&NOUNS, 1),
        "VERB" => other(&TRANSITIVE, 0).or_else(|| other(&INTRANSITIVE, 0)),
        _ => None,
    }
    .unwrap_or(form)
}

/// Appends the translation of a word and all that depends on it; 0 stands for the sentence.
fn translate(sentence: &Sentence, head: usize, out: &mut Vec<String>) {
    let children = |after: bool| {
        let rank = |deprel: &str| match deprel {
            "nsubj" => 0,
            "obl" | "nmod" => 1,
            "obj" => 2,
            "advmod" | "det" => 3,
            _ => 4,
        };
        let mut children: Vec<usize> = (1..=sentence.words.len())
            .filter(|&i| sentence.words[i - 1].head == Some(head))
            .filter(|&i| matches!(sentence.words[i - 1].deprel.as_str(), "amod" | "case" | "punct") == after)
            .collect();
        children.sort_by_key(|&i| rank(&sentence.words[i - 1].deprel));
        children
    };
    children(false).into_iter().for_each(|child| translate(sentence, child, out));
    if head > 0 {
        out.push(foreign(&sentence.words[head - 1]));
    }
    children(true).into_iter().for_each(|child| translate(sentence, child, out));
}

/// An invented word: two syllables that follow from the lemma and the part of speech, and an ending for the plural.
fn foreign(word: &Word) -> String {
    if word.upos == "PUNCT" {
        return word.form.clone();
    }
    const SYLLABLES: [&str; 24] = [
        "ka", "lo", "mi", "tu", "ra", "sen", "vi", "do", "pe", "zu", "ha", "nor", "ge", "fa", "ti", "bu",
        "se", "ma", "li", "ko", "re", "wan", "jo", "pi",
    ];
    // FNV-1a, whose definition is fixed.
    let hash =
        word.upos.bytes().chain(word.lemma.bytes()).fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let syllable = |part: u64| SYLLABLES[(part % SYLLABLES.len() as u64) as usize];
    let plural = if word.feats == "Number=Plur" && word.upos == "NOUN" { "un" } else { "" };
    format!("{}{}{plural}", syllable(hash >> 32), syllable(hash >> 48))
}
