//! Trained vectors: by word, by nearness, by analogy.

use std::collections::HashMap;

use cairn_datasets::text::Vocabulary;
use cairn_tensor::{Rng, Tensor};

use crate::{Error, Result};

/// A vector for each of a list of words, the most frequent first where they were trained here.
///
/// Nearness is the cosine of the angle between two vectors.
#[derive(Debug, Clone)]
pub struct WordVectors {
    words: Vec<String>,
    ids: HashMap<String, u32>,
    vectors: Tensor,
    /// The vectors at length 1; a zero stays zero.
    unit: Tensor,
}

impl WordVectors {
    /// Vectors for words: row `i` of `vectors`, `[words, size]`, is that of word `i`.
    ///
    /// # Errors
    /// [`Error::WordVectors`] for a word that comes twice, another number of words than rows, or values that are not
    /// finite.
    pub fn new(words: Vec<String>, vectors: &Tensor) -> Result<Self> {
        let fault = |message: String| Err(Error::WordVectors(message));
        let &[rows, size] = vectors.shape() else {
            return fault(format!("vectors of shape {}, not [words, size]", vectors.dims()));
        };
        if rows != words.len() {
            return fault(format!("{rows} vectors for {} words", words.len()));
        }
        let vectors = vectors.contiguous()?;
        let values = vectors.as_slice().unwrap_or_default();
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return fault(format!("the vector of `{}` is not finite", words[at / size]));
        }
        let mut ids = HashMap::with_capacity(words.len());
        for (id, word) in (0u32..).zip(&words) {
            if ids.insert(word.clone(), id).is_some() {
                return fault(format!("`{word}` comes twice"));
            }
        }
        let unit = Tensor::build([rows, size], |out| {
            out.copy_from_slice(values);
            // `max` keeps an empty row from being a chunk of size 0.
            out.chunks_exact_mut(size.max(1)).for_each(normalize);
        })?;
        Ok(WordVectors { words, ids, vectors, unit })
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Components of a vector.
    pub fn size(&self) -> usize {
        self.vectors.shape()[1]
    }

    /// The words, in the order of their numbers.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// All vectors, `[words, size]`, in the order of [`words`](Self::words).
    pub fn vectors(&self) -> &Tensor {
        &self.vectors
    }

    /// Whether a word has a vector.
    pub fn contains(&self, word: &str) -> bool {
        self.ids.contains_key(word)
    }

    /// The vector of a word.
    ///
    /// # Errors
    /// [`Error::UnknownWord`] for a word without a vector.
    pub fn vector(&self, word: &str) -> Result<&[f32]> {
        Ok(self.row(&self.vectors, self.id(word)?))
    }

    /// The cosine of the angle between two words: 1 for the same direction, 0 for nothing in common.
    ///
    /// # Errors
    /// [`Error::UnknownWord`] for a word without a vector.
    pub fn similarity(&self, a: &str, b: &str) -> Result<f32> {
        let (a, b) = (self.unit_row(self.id(a)?), self.unit_row(self.id(b)?));
        Ok(a.iter().zip(b).map(|(x, y)| x * y).sum())
    }

    /// The `n` words nearest to a word, nearest first, with their cosines; the word itself is left out.
    ///
    /// # Errors
    /// [`Error::UnknownWord`] for a word without a vector.
    pub fn most_similar(&self, word: &str, n: usize) -> Result<Vec<(&str, f32)>> {
        let id = self.id(word)?;
        self.nearest(self.unit_row(id).to_vec(), &[id], n)
    }

    /// The word that is to `c` as `b` is to `a` (the one nearest to b - a + c, all at length 1, that is none of the
    /// three), with its cosine; `None` if there are no other words.
    ///
    /// ```
    /// # use cairn_optim::word2vec::WordVectors;
    /// # use cairn_tensor::Tensor;
    /// let words = ["man", "woman", "king", "queen"].map(String::from).to_vec();
    /// let vectors = Tensor::from_vec(vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.1, 2.0], [4, 2])?;
    /// let vectors = WordVectors::new(words, &vectors)?;
    /// assert_eq!(vectors.analogy("man", "woman", "king")?.map(|(word, _)| word), Some("queen"));
    /// # Ok::<(), cairn_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownWord`] for a word without a vector.
    pub fn analogy(&self, a: &str, b: &str, c: &str) -> Result<Option<(&str, f32)>> {
        let ids = [self.id(a)?, self.id(b)?, self.id(c)?];
        Ok(self.nearest(self.analogy_query(ids), &ids, 1)?.pop())
    }

    /// A matrix for an embedding of a vocabulary, `[vocabulary, size]`. Words without a vector get normal values with the
    /// spread of the known ones, and the padding token zeros.
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn embedding(&self, vocabulary: &Vocabulary, rng: &mut Rng) -> Result<Tensor> {
        let spread = if self.vectors.is_empty() { 0.0 } else { f64::from(self.vectors.std(.., 0)?.item()?) };
        let size = self.size();
        let fresh = Tensor::normal([vocabulary.len(), size], 0.0, spread, rng)?.into_vec();
        Ok(Tensor::build([vocabulary.len(), size], |out| {
            out.copy_from_slice(&fresh);
            for (i, (row, word)) in out.chunks_exact_mut(size.max(1)).zip(vocabulary.iter()).enumerate() {
                if vocabulary.padding() == Some(i as u32) {
                    row.fill(0.0);
                } else if let Some(&id) = self.ids.get(word) {
                    row.copy_from_slice(self.row(&self.vectors, id));
                }
            }
        })?)
    }

    pub(super) fn id(&self, word: &str) -> Result<u32> {
        self.ids.get(word).copied().ok_or_else(|| Error::UnknownWord(word.to_owned()))
    }

    fn row<'a>(&self, table: &'a Tensor, id: u32) -> &'a [f32] {
        // Both tables are contiguous.
        &table.as_slice().unwrap_or_default()[id as usize * self.size()..][..self.size()]
    }

    fn unit_row(&self, id: u32) -> &[f32] {
        self.row(&self.unit, id)
    }

    pub(super) fn unit(&self) -> &Tensor {
        &self.unit
    }

    /// b - a + c at length 1.
    pub(super) fn analogy_query(&self, [a, b, c]: [u32; 3]) -> Vec<f32> {
        let rows = self.unit_row(a).iter().zip(self.unit_row(b)).zip(self.unit_row(c));
        let mut query: Vec<f32> = rows.map(|((a, b), c)| b - a + c).collect();
        normalize(&mut query);
        query
    }

    /// The words nearest to a vector of length 1, ties by number.
    fn nearest(&self, query: Vec<f32>, without: &[u32], n: usize) -> Result<Vec<(&str, f32)>> {
        let size = query.len();
        let scores = self.unit.matmul(&Tensor::from_vec(query, [size])?)?.into_vec();
        let mut order: Vec<u32> = (0..self.len() as u32).filter(|id| !without.contains(id)).collect();
        let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        if n < order.len() {
            order.select_nth_unstable_by(n, by_score);
            order.truncate(n);
        }
        order.sort_unstable_by(by_score);
        Ok(order.into_iter().map(|id| (self.words[id as usize].as_str(), scores[id as usize])).collect())
    }
}

fn normalize(row: &mut [f32]) {
    let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}
