//! A text as numbers: counted and numbered in one pass, so that it is read only once.

use std::collections::HashMap;
use std::ops::Range;

/// Takes words one after the other.
#[derive(Default)]
pub(super) struct Builder {
    ids: HashMap<String, u32>,
    counts: Vec<u64>,
    words: Vec<u32>,
    ends: Vec<usize>,
}

/// Words by falling frequency, and the text in their numbers.
pub(super) struct Corpus {
    pub(super) tokens: Vec<String>,
    pub(super) counts: Vec<u64>,
    pub(super) words: Vec<u32>,
    /// Where each sentence ends.
    ends: Vec<usize>,
}

impl Builder {
    pub(super) fn word(&mut self, word: &str) {
        let id = match self.ids.get(word) {
            Some(&id) => id,
            None => {
                // A text of 2³² different words does not fit into memory as strings.
                let id = self.counts.len() as u32;
                self.ids.insert(word.to_owned(), id);
                self.counts.push(0);
                id
            }
        };
        self.counts[id as usize] += 1;
        self.words.push(id);
    }

    pub(super) fn end(&mut self) {
        self.ends.push(self.words.len());
    }

    /// Words seen `min_count` times, ties in their own order; all others are passed over, and sentences close up.
    pub(super) fn finish(self, min_count: u64) -> Corpus {
        let Builder { ids, counts, mut words, mut ends } = self;
        let mut kept: Vec<(String, u32)> =
            ids.into_iter().filter(|(_, id)| counts[*id as usize] >= min_count).collect();
        kept.sort_unstable_by(|a, b| {
            counts[b.1 as usize].cmp(&counts[a.1 as usize]).then_with(|| a.0.cmp(&b.0))
        });
        let mut numbers = vec![None; counts.len()];
        (0u32..).zip(&kept).for_each(|(number, (_, id))| numbers[*id as usize] = Some(number));
        let (mut from, mut to) = (0, 0);
        for end in &mut ends {
            for i in from..*end {
                if let Some(number) = numbers[words[i] as usize] {
                    words[to] = number;
                    to += 1;
                }
            }
            from = std::mem::replace(end, to);
        }
        words.truncate(to);
        let counts = kept.iter().map(|(_, id)| counts[*id as usize]).collect();
        Corpus { tokens: kept.into_iter().map(|(token, _)| token).collect(), counts, words, ends }
    }
}

impl Corpus {
    /// Runs of sentences with at least `least` words, but for the last.
    pub(super) fn blocks(&self, least: usize) -> Vec<Range<usize>> {
        let (mut blocks, mut first, mut start) = (Vec::new(), 0, 0);
        for (i, &end) in self.ends.iter().enumerate() {
            if end - start >= least || (i + 1 == self.ends.len() && end > start) {
                blocks.push(first..i + 1);
                (first, start) = (i + 1, end);
            }
        }
        blocks
    }

    /// The words of a run of sentences, and where each ends in them.
    pub(super) fn block(&self, sentences: &Range<usize>) -> (&[u32], Vec<usize>) {
        let start = if sentences.start == 0 { 0 } else { self.ends[sentences.start - 1] };
        let ends: Vec<usize> = self.ends[sentences.clone()].iter().map(|end| end - start).collect();
        (&self.words[start..][..ends.last().copied().unwrap_or(0)], ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(text: &str, min_count: u64) -> Corpus {
        let mut builder = Builder::default();
        for line in text.split('/') {
            line.split_whitespace().for_each(|word| builder.word(word));
            builder.end();
        }
        builder.finish(min_count)
    }

    #[test]
    fn words_are_numbered_by_frequency_and_rare_ones_left_out() {
        let corpus = corpus("b x a / / a c b a / y c", 2);
        assert_eq!(corpus.tokens, ["a", "b", "c"]);
        assert_eq!(corpus.counts, [3, 2, 2]);
        assert_eq!(corpus.words, [1, 0, 0, 2, 1, 0, 2]);
        assert_eq!(corpus.ends, [2, 2, 6, 7]);
    }

    #[test]
    fn blocks_hold_every_word_once() {
        let corpus = corpus("a a / a a a / / a / a a / ", 1);
        for least in 1..12 {
            let blocks = corpus.blocks(least);
            let words: usize = blocks.iter().map(|b| corpus.block(b).0.len()).sum();
            assert_eq!(words, 8, "{least}");
            let long = blocks.iter().rev().skip(1).all(|b| corpus.block(b).0.len() >= least);
            assert!(long && blocks.iter().all(|b| !corpus.block(b).0.is_empty()), "{least}");
        }
    }
}
