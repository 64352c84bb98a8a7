//! Word vectors from plain text: skip-gram and CBOW with negative sampling (Mikolov et al. 2013).
//!
//! Settings have gensim's names and defaults. Training is shared by all threads and reproducible all the same: the same
//! text and seed give the same vectors for any number of them (see [`NegativeSampling`], which has the inner loop).
//!
//! ```
//! use cairn_datasets::text::WhitespaceTokenizer;
//! use cairn_optim::word2vec::Word2Vec;
//!
//! let text = ["the cat drinks milk", "the dog drinks water", "a cat sees the dog"].repeat(200);
//! let settings = Word2Vec::skip_gram().vector_size(16).window(2).sample(0.0).epochs(10);
//! let vectors = settings.fit_texts(&text, &WhitespaceTokenizer)?;
//! assert_eq!(vectors.vector("cat")?.len(), 16);
//! let near = vectors.most_similar("milk", 3)?; // words with cosines, best first
//! assert!(near.iter().any(|(word, _)| *word == "water"));
//! assert!(vectors.vector("horse").is_err());
//! # Ok::<(), cairn_optim::Error>(())
//! ```

mod corpus;
mod evaluate;
mod files;
mod vectors;

use cairn_datasets::text::Tokenizer;
use cairn_tensor::kernel::{NegativeSampling, SamplingPlan};
use cairn_tensor::{Setting, Tensor};

use crate::{Error, Result};
use corpus::{Builder, Corpus};

pub use evaluate::{AnalogyScore, PairScore};
pub use vectors::WordVectors;

/// Words after which the learning rate is set anew; sentences stay whole.
const BLOCK: usize = 10_000;

/// Trains word vectors. Begin with [`skip_gram`](Self::skip_gram), which is better for rare words and small texts, or
/// [`cbow`](Self::cbow), which is several times as fast.
///
/// ```
/// use cairn_optim::word2vec::Word2Vec;
/// let sentences = vec![vec!["to", "be", "or", "not", "to", "be"]; 50];
/// let vectors = Word2Vec::cbow().vector_size(8).seed(7).fit(&sentences)?;
/// assert_eq!(vectors.len(), 4);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Word2Vec {
    plan: SamplingPlan,
    vector_size: usize,
    alpha: f64,
    min_alpha: f64,
    min_count: u64,
    epochs: usize,
    workers: Option<usize>,
}

impl Word2Vec {
    /// The centre of a window is predicted from each of its contexts.
    pub fn skip_gram() -> Self {
        Self::new(true)
    }

    /// The centre of a window is predicted from the mean of its contexts (a continuous bag of words).
    pub fn cbow() -> Self {
        Self::new(false)
    }

    fn new(skip_gram: bool) -> Self {
        let plan = SamplingPlan { skip_gram, window: 5, negative: 5, exponent: 0.75, sample: 1e-3, seed: 1 };
        Word2Vec {
            plan,
            vector_size: 100,
            alpha: 0.025,
            min_alpha: 1e-4,
            min_count: 5,
            epochs: 5,
            workers: None,
        }
    }

    /// Components of a vector, 100 by default.
    #[must_use]
    pub fn vector_size(mut self, size: usize) -> Self {
        self.vector_size = size;
        self
    }

    /// How far contexts may be away, 5 by default; each centre draws its own reach from 1 to this.
    #[must_use]
    pub fn window(mut self, words: usize) -> Self {
        self.plan.window = words;
        self
    }

    /// Wrong words drawn for each centre, 5 by default.
    #[must_use]
    pub fn negative(mut self, words: usize) -> Self {
        self.plan.negative = words;
        self
    }

    /// Wrong words are drawn with their counts to this power, 0.75 by default.
    #[must_use]
    pub fn ns_exponent(mut self, exponent: f64) -> Self {
        self.plan.exponent = exponent;
        self
    }

    /// Words with a larger share of the text are left out at times, the more frequent the more often: 0.001 by default;
    /// with 0 none are.
    #[must_use]
    pub fn sample(mut self, share: f64) -> Self {
        self.plan.sample = share;
        self
    }

    /// The learning rate of the beginning, 0.025 by default.
    #[must_use]
    pub fn alpha(mut self, rate: f64) -> Self {
        self.alpha = rate;
        self
    }

    /// The learning rate of the end, to which it falls along a line: 0.0001 by default.
    #[must_use]
    pub fn min_alpha(mut self, rate: f64) -> Self {
        self.min_alpha = rate;
        self
    }

    /// Words seen less often get no vector and are passed over: 5 by default.
    #[must_use]
    pub fn min_count(mut self, count: u64) -> Self {
        self.min_count = count;
        self
    }

    /// Passes over the text, 5 by default.
    #[must_use]
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// The seed of all random choices; 1 by default.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.plan.seed = seed;
        self
    }

    /// The number of threads; by default that of every other operation. The result does not depend on it.
    #[must_use]
    pub fn workers(mut self, threads: usize) -> Self {
        self.workers = Some(threads);
        self
    }

    /// Trains on sentences of words.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a setting out of its range; [`Error::Data`] when no word is seen [`min_count`](Self::min_count) times; when memory does
    /// not hold the vectors.
    pub fn fit<S, W>(&self, sentences: impl IntoIterator<Item = S>) -> Result<WordVectors>
    where
        S: AsRef<[W]>,
        W: AsRef<str>,
    {
        let mut builder = Builder::default();
        for sentence in sentences {
            sentence.as_ref().iter().for_each(|word| builder.word(word.as_ref()));
            builder.end();
        }
        self.train(builder.finish(self.min_count))
    }

    /// Trains on texts, each of which is taken as one sentence.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_texts<T: AsRef<str>>(
        &self,
        texts: impl IntoIterator<Item = T>,
        tokenizer: &dyn Tokenizer,
    ) -> Result<WordVectors> {
        let mut builder = Builder::default();
        for text in texts {
            tokenizer.tokenize(text.as_ref(), &mut |word| builder.word(word));
            builder.end();
        }
        self.train(builder.finish(self.min_count))
    }

    fn train(&self, corpus: Corpus) -> Result<WordVectors> {
        self.check()?;
        if corpus.tokens.is_empty() {
            return Err(cairn_datasets::Error::Empty { what: "Word2Vec" }.into());
        }
        let limit = 1.0 / self.vector_size as f64;
        let shape = [corpus.tokens.len(), self.vector_size];
        let start = Tensor::uniform(shape, -limit, limit, &mut cairn_tensor::rng(self.plan.seed))?;
        let training = NegativeSampling::new(&start, &corpus.counts, &self.plan)?;
        let vectors = match self.workers {
            None => self.run(training, &corpus)?,
            Some(threads) => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let pool = pool.map_err(|_| workers(threads))?;
                pool.install(|| self.run(training, &corpus))?
            }
        };
        WordVectors::new(corpus.tokens, &vectors)
    }

    fn run(&self, mut training: NegativeSampling, corpus: &Corpus) -> Result<Tensor> {
        let blocks = corpus.blocks(BLOCK);
        let total = (corpus.words.len() * self.epochs).max(1) as f64;
        let (mut done, mut stream) = (0, 0);
        for _ in 0..self.epochs {
            for block in &blocks {
                let progress = done as f64 / total;
                let rate = self.alpha - (self.alpha - self.min_alpha) * progress;
                let (words, ends) = corpus.block(block);
                training.train(words, &ends, stream, rate as f32)?;
                done += words.len();
                stream += 1;
            }
        }
        Ok(training.vectors()?)
    }

    fn check(&self) -> Result<()> {
        let rate = |x: f64| x >= 0.0 && x.is_finite();
        Setting::check("the vector size", self.vector_size, self.vector_size > 0, "at least 1")?;
        Setting::check("alpha", self.alpha, rate(self.alpha), "finite and not negative")?;
        Setting::check("min_alpha", self.min_alpha, rate(self.min_alpha), "finite and not negative")?;
        match self.workers {
            Some(threads) if !(1..=1024).contains(&threads) => Err(workers(threads)),
            _ => Ok(()),
        }
    }
}

fn workers(threads: usize) -> Error {
    let must = "from 1 to 1024, and a number of threads that the system grants";
    Setting { what: "the number of workers", value: threads.to_string(), must }.into()
}
