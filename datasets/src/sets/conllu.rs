//! CoNLL-U, the format of Universal Dependencies: a word a line in ten columns, sentences apart by empty lines.
//!
//! Lines with an ID like `3-4` (a written token of several words) or `8.1` (a word that is not written) are checked and
//! passed over: they are not words of the basic tree.

use std::path::Path;

use cairn_files::Budget;

use crate::error::{Error, Result};
use crate::files;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;

const SERVERS: &[&str] = &[
    "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/15d613d8447b3478787d4c278730a1e48a945efb/",
];

/// English sentences from the web with parts of speech and dependencies (Silveira et al. 2014).
pub const UD_ENGLISH_EWT: Resource<'_> = Resource {
    name: "ud-english-ewt",
    title: "Universal Dependencies English Web Treebank, 16,622 sentences",
    files: &[
        RemoteFile {
            path: "tagging/ud-english-ewt/en_ewt-ud-train.conllu",
            size: Some(14_203_025),
            sha256: Some("3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b"),
            urls: SERVERS,
            unpacked: &["tagging/ud-english-ewt/en_ewt-ud-train.conllu.xz"],
        },
        RemoteFile {
            path: "tagging/ud-english-ewt/en_ewt-ud-dev.conllu",
            size: Some(1_805_545),
            sha256: Some("531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6"),
            urls: SERVERS,
            unpacked: &["tagging/ud-english-ewt/en_ewt-ud-dev.conllu.xz"],
        },
        RemoteFile {
            path: "tagging/ud-english-ewt/en_ewt-ud-test.conllu",
            size: Some(1_804_515),
            sha256: Some("e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd"),
            urls: SERVERS,
            unpacked: &["tagging/ud-english-ewt/en_ewt-ud-test.conllu.xz"],
        },
    ],
    licence: "CC BY-SA 4.0",
    homepage: "https://universaldependencies.org/treebanks/en_ewt/",
};

const MAX_BYTES: u64 = 1 << 30;

/// The universal parts of speech, in alphabetical order.
pub const UPOS: [&str; 17] = [
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT",
    "SCONJ", "SYM", "VERB", "X",
];

/// A word of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As written.
    pub form: String,
    /// As in a dictionary.
    pub lemma: String,
    /// The universal part of speech, one of [`UPOS`]; `_` for none, and in files of other tag sets whatever these have.
    pub upos: String,
    /// The treebank's own part of speech.
    pub xpos: String,
    /// Morphological features as written, such as `Number=Sing`; `_` for none.
    pub feats: String,
    /// The number of the word this one depends on, from 1; 0 for the root; `None` where the tree is not annotated.
    pub head: Option<usize>,
    /// The kind of that dependency.
    pub deprel: String,
}

/// The words of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sentence {
    /// At least one.
    pub words: Vec<Word>,
}

/// The parts of a treebank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Treebank {
    /// To train on.
    pub train: Vec<Sentence>,
    /// To choose settings by.
    pub dev: Vec<Sentence>,
    /// To test on.
    pub test: Vec<Sentence>,
}

/// The English Web Treebank: 12,544, 2,001 and 2,077 sentences. Downloads what is missing.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Download`] when it is not in the data folder and not to be had; as [`read`] for the files.
pub fn load_english_ewt(dir: &DataDir) -> Result<Treebank> {
    let [train, dev, test] = dir.paths(&UD_ENGLISH_EWT)?;
    Ok(Treebank { train: read(&train)?, dev: read(&dev)?, test: read(&test)? })
}

/// Reads a CoNLL-U file, compressed or not.
///
/// # Errors
/// [`Error::Format`] with file and line for a row without ten columns, IDs out of order, an empty part of speech or
/// form, a head outside the sentence, or text that is not UTF-8; [`Error::Empty`] for a file without sentences.
pub fn read(path: &Path) -> Result<Vec<Sentence>> {
    let (text, budget) = files::text(path, MAX_BYTES)?;
    parse_within(&text, path, budget)
}

/// Reads CoNLL-U text; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] with file and line for what [`read`] refuses; [`Error::Empty`] for text without sentences.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Sentence>> {
    parse_within(text, path, Budget::of_length(text.len() as u64))
}

fn parse_within(text: &str, path: &Path, mut budget: Budget) -> Result<Vec<Sentence>> {
    let mut sentences = Vec::new();
    let mut sentence = Sentence::default();
    let mut first_line = 0;
    // An empty line at the end closes the last sentence where the file does not.
    for (i, line) in text.lines().chain([""]).enumerate() {
        let number = i + 1;
        if line.starts_with('#') {
            continue;
        }
        if !line.trim().is_empty() {
            if sentence.words.is_empty() {
                first_line = number;
            }
            // Sentences are cut to their length, so that words have no room to grow.
            let bytes = size_of::<Word>() + 6 * 8 + line.len();
            budget.take(bytes as u64).map_err(files::error(path))?;
            word(line, &mut sentence).map_err(|message| Error::line(path, number, message))?;
        } else if !sentence.words.is_empty() {
            check_heads(&sentence).map_err(|(word, message)| {
                let place = if word == 1 {
                    String::new()
                } else {
                    format!("word {word} of the sentence that begins here: ")
                };
                Error::line(path, first_line, place + &message)
            })?;
            files::count::<Sentence>(&mut budget, path, 1, 0)?;
            sentence.words.shrink_to_fit();
            sentences.push(std::mem::take(&mut sentence));
        }
    }
    if sentences.is_empty() { Err(Error::Empty { what: "conllu" }) } else { Ok(sentences) }
}

/// Reads one row.
fn word(line: &str, sentence: &mut Sentence) -> Result<(), String> {
    let columns: Vec<&str> = line.split('\t').take(11).collect();
    let [id, form, lemma, upos, xpos, feats, head, deprel, _deps, _misc] = columns[..] else {
        return Err(format!("{} columns, not 10", line.split('\t').count()));
    };
    let expected = sentence.words.len() + 1;
    if let Some((a, b)) = id.split_once(['-', '.']) {
        let numbers = a.parse::<usize>().is_ok() && b.parse::<usize>().is_ok();
        return if numbers { Ok(()) } else { Err(format!("`{id}` is not an ID")) };
    }
    if id.parse() != Ok(expected) {
        return Err(format!("ID `{id}` where {expected} was expected"));
    }
    if form.is_empty() {
        return Err("the form is empty".to_owned());
    }
    if upos.is_empty() {
        return Err("the part of speech is empty; `_` says that there is none".to_owned());
    }
    let head = match head {
        "_" => None,
        number => Some(number.parse().map_err(|_| format!("head `{head}` is not a number"))?),
    };
    let [form, lemma, upos, xpos, feats, deprel] =
        [form, lemma, upos, xpos, feats, deprel].map(str::to_owned);
    sentence.words.push(Word { form, lemma, upos, xpos, feats, head, deprel });
    Ok(())
}

/// That heads are words of the sentence, other than the word itself; else the word's number and what is wrong.
fn check_heads(sentence: &Sentence) -> Result<(), (usize, String)> {
    for (i, word) in sentence.words.iter().enumerate() {
        match word.head {
            Some(head) if head > sentence.words.len() => {
                return Err((
                    i + 1,
                    format!("head {head} is outside a sentence of {} words", sentence.words.len()),
                ));
            }
            Some(head) if head == i + 1 => return Err((i + 1, "the word is its own head".to_owned())),
            _ => {}
        }
    }
    Ok(())
}
