//! Tests of word vectors: pairs of words judged by people (WordSim-353, Finkelstein et al. 2002), and analogies (Mikolov et
//! al. 2013).

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;

/// Tests of word vectors: WordSim-353 (Finkelstein et al. 2002) and Google's analogies (Mikolov et al. 2013).
pub const WORD_TESTS: Resource<'_> = Resource {
    name: "word-tests",
    title: "WordSim-353 and 19,544 analogies",
    files: &[
        RemoteFile {
            path: "wordvec/EN-WS-353-ALL.txt",
            size: Some(7_405),
            sha256: Some("ce12919b240af45bdf46d243601eaca2b6212b159b5e7e9b435ee7ee40c5619c"),
            urls: &[
                "https://raw.githubusercontent.com/mfaruqui/eval-word-vectors/94b3dd9fdbac7ed08dbee7179cd5ee464acf0594/data/word-sim/",
            ],
            unpacked: &[],
        },
        RemoteFile {
            path: "wordvec/questions-words.txt",
            size: Some(603_955),
            sha256: Some("8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"),
            urls: &[
                "https://raw.githubusercontent.com/tmikolov/word2vec/20c129af10659f7c50e86e3be406df663beff438/",
            ],
            unpacked: &[],
        },
    ],
    licence: "the analogies Apache 2.0; the copy of WordSim-353 is from a repository under MIT, its authors state no licence",
    homepage: "https://code.google.com/archive/p/word2vec/",
};

const MAX_BYTES: u64 = 64 << 20;

/// Two words and how near in meaning people find them.
#[derive(Debug, Clone, PartialEq)]
pub struct WordPair {
    /// One word.
    pub a: String,
    /// The other.
    pub b: String,
    /// The mean judgement; more is nearer.
    pub score: f64,
}

/// Questions of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analogies {
    /// What they are about, such as `capital-world`.
    pub heading: String,
    /// The first word is to the second as the third is to the fourth.
    pub questions: Vec<[String; 4]>,
}

/// 353 pairs, and 19,544 analogies under 14 headings; words in lower case. Downloads what is missing.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Download`] when it is not in the data folder and not to be had; as [`read_pairs`] and
/// [`read_analogies`] for the files.
pub fn load(dir: &DataDir) -> Result<(Vec<WordPair>, Vec<Analogies>)> {
    let [pairs, analogies] = dir.paths(&WORD_TESTS)?;
    Ok((read_pairs(&pairs)?, read_analogies(&analogies)?))
}

/// Reads pairs: a line is two words and a number, apart by white space. Words are turned to lower case.
///
/// # Errors
/// [`Error::Format`] with file and line for anything else, or text that is not UTF-8; [`Error::Empty`] for none.
pub fn read_pairs(path: &Path) -> Result<Vec<WordPair>> {
    let (text, mut budget) = files::text(path, MAX_BYTES)?;
    let pair = |(i, line): (usize, &str)| {
        files::count::<WordPair>(&mut budget, path, 2, line.len())?;
        let parts: Vec<&str> = line.split_whitespace().take(4).collect();
        let score = |text: &str| text.parse::<f64>().ok().filter(|score| score.is_finite());
        match parts.as_slice() {
            [a, b, number] if score(number).is_some() => Ok(WordPair {
                a: a.to_lowercase(),
                b: b.to_lowercase(),
                score: score(number).unwrap_or_default(),
            }),
            _ => Err(Error::line(path, i + 1, "not two words and a number")),
        }
    };
    let pairs = text.lines().enumerate().map(pair).collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() { Err(Error::Empty { what: "word_tests" }) } else { Ok(pairs) }
}

/// Reads analogies: four words a line, under headings that begin with `:`. Words are turned to lower case.
///
/// # Errors
/// [`Error::Format`] with file and line for a line that is not four words, a question before the first heading, or text that
/// is not UTF-8; [`Error::Empty`] for none.
pub fn read_analogies(path: &Path) -> Result<Vec<Analogies>> {
    let (text, mut budget) = files::text(path, MAX_BYTES)?;
    let mut sections: Vec<Analogies> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        files::count::<[String; 4]>(&mut budget, path, 4, line.len())?;
        if let Some(heading) = line.strip_prefix(':') {
            sections.push(Analogies { heading: heading.trim().to_owned(), questions: Vec::new() });
            continue;
        }
        let words: Vec<String> = line.split_whitespace().take(5).map(str::to_lowercase).collect();
        let words = <[String; 4]>::try_from(words).map_err(|_| Error::line(path, i + 1, "not four words"))?;
        let section =
            sections.last_mut().ok_or_else(|| Error::line(path, i + 1, "a question before a heading"))?;
        section.questions.push(words);
    }
    if sections.is_empty() { Err(Error::Empty { what: "word_tests" }) } else { Ok(sections) }
}
