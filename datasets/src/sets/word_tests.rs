//! Tests of word vectors: pairs of words judged by people (WordSim-353, Finkelstein et al. 2002), and analogies (Mikolov et
//! al. 2013).

use std::path::Path;

use crate::dir::{DataDir, Located};
use crate::error::{Error, Result};
use crate::files;
use crate::registry::WORD_TESTS;

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
/// As [`DataDir::obtain`], [`read_pairs`] and [`read_analogies`].
pub fn load(dir: &DataDir) -> Result<(Vec<WordPair>, Vec<Analogies>)> {
    let located = dir.obtain(&WORD_TESTS)?;
    match located.iter().flat_map(Located::paths).collect::<Vec<_>>().as_slice() {
        [pairs, analogies] => Ok((read_pairs(pairs)?, read_analogies(analogies)?)),
        _ => Err(Error::argument("word_tests", "expected two files")),
    }
}

/// Reads pairs: a line is two words and a number, apart by white space. Words are turned to lower case.
///
/// # Errors
/// [`Error::Format`] with file and line for anything else, or text that is not UTF-8; [`Error::Empty`] for none.
pub fn read_pairs(path: &Path) -> Result<Vec<WordPair>> {
    let text = files::read_text(path, MAX_BYTES)?;
    let pair = |(i, line): (usize, &str)| {
        let parts: Vec<&str> = line.split_whitespace().collect();
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
/// As [`read_pairs`].
pub fn read_analogies(path: &Path) -> Result<Vec<Analogies>> {
    let text = files::read_text(path, MAX_BYTES)?;
    let mut sections: Vec<Analogies> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix(':') {
            sections.push(Analogies { heading: heading.trim().to_owned(), questions: Vec::new() });
            continue;
        }
        let words: Vec<String> = line.split_whitespace().map(str::to_lowercase).collect();
        let words = <[String; 4]>::try_from(words).map_err(|_| Error::line(path, i + 1, "not four words"))?;
        let section =
            sections.last_mut().ok_or_else(|| Error::line(path, i + 1, "a question before a heading"))?;
        section.questions.push(words);
    }
    if sections.is_empty() { Err(Error::Empty { what: "word_tests" }) } else { Ok(sections) }
}
