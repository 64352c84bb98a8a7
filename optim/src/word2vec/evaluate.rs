//! Tests of vectors: against people's judgement of pairs of words, and by analogies.
//!
//! As gensim counts: what has a word without a vector is passed over and reported.

use cairn_datasets::word_tests::{Analogies, WordPair};
use cairn_tensor::Tensor;

use super::WordVectors;
use crate::Result;
use crate::metrics::spearman;

/// Questions that are answered by one matrix product.
const BATCH: usize = 256;

/// The result of [`WordVectors::evaluate_pairs`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairScore {
    /// Spearman's rank correlation of cosines and judgements; NaN for fewer than two pairs, or if one side is constant.
    pub spearman: f64,
    /// Pairs of which both words have a vector.
    pub used: usize,
    /// Pairs passed over.
    pub unknown: usize,
}

/// The result of [`WordVectors::evaluate_analogies`] for one heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalogyScore {
    /// The heading.
    pub heading: String,
    /// Questions answered right.
    pub correct: usize,
    /// Questions of which all words have a vector.
    pub used: usize,
    /// Questions passed over.
    pub unknown: usize,
}

impl AnalogyScore {
    /// The share answered right; NaN if none could be asked.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.used as f64
    }

    /// All headings together.
    pub fn total(scores: &[AnalogyScore]) -> AnalogyScore {
        let sum = |f: fn(&AnalogyScore) -> usize| scores.iter().map(f).sum();
        AnalogyScore {
            heading: "total".to_owned(),
            correct: sum(|s| s.correct),
            used: sum(|s| s.used),
            unknown: sum(|s| s.unknown),
        }
    }
}

impl WordVectors {
    /// Compares the nearness of words with people's judgement, by Spearman's rank correlation.
    ///
    /// # Errors
    /// When memory runs out; unknown words are no error here.
    pub fn evaluate_pairs(&self, pairs: &[WordPair]) -> Result<PairScore> {
        let known = pairs.iter().filter_map(|p| Some((self.similarity(&p.a, &p.b).ok()?, p.score)));
        let (cosines, scores): (Vec<f64>, Vec<f64>) =
            known.map(|(cos, score)| (f64::from(cos), score)).unzip();
        Ok(PairScore {
            spearman: spearman(&cosines, &scores),
            used: cosines.len(),
            unknown: pairs.len() - cosines.len(),
        })
    }

    /// Answers questions `a is to b as c is to ?`, heading by heading. The answer is searched among all words but the
    /// three given.
    ///
    /// # Errors
    /// When memory runs out; unknown words are no error here.
    pub fn evaluate_analogies(&self, questions: &[Analogies]) -> Result<Vec<AnalogyScore>> {
        questions.iter().map(|section| self.section(section)).collect()
    }

    fn section(&self, section: &Analogies) -> Result<AnalogyScore> {
        let ids = |words: &[String; 4]| {
            let id = |i: usize| self.id(&words[i]).ok();
            Some([id(0)?, id(1)?, id(2)?, id(3)?])
        };
        let known: Vec<[u32; 4]> = section.questions.iter().filter_map(ids).collect();
        let mut correct = 0;
        for batch in known.chunks(BATCH) {
            correct += self.answered(batch)?;
        }
        Ok(AnalogyScore {
            heading: section.heading.clone(),
            correct,
            used: known.len(),
            unknown: section.questions.len() - known.len(),
        })
    }

    /// How many of these questions are answered right.
    fn answered(&self, questions: &[[u32; 4]]) -> Result<usize> {
        let queries = questions.iter().flat_map(|&[a, b, c, _]| self.analogy_query([a, b, c])).collect();
        let queries = Tensor::from_vec(queries, [questions.len(), self.size()])?;
        let scores = queries.matmul(&self.unit().t()?)?.into_vec();
        let right =
            |(row, question): (&[f32], &[u32; 4])| {
                let others = (0u32..).zip(row).filter(|(id, _)| !question[..3].contains(id));
                // The first of equals, as elsewhere.
                let best = others.fold((u32::MAX, f32::NEG_INFINITY), |best, (id, &score)| {
                    if score > best.1 { (id, score) } else { best }
                });
                best.0 == question[3]
            };
        Ok(scores.chunks_exact(self.len()).zip(questions).filter(|&pair| right(pair)).count())
    }
}
