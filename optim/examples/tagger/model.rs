//! A tagger of parts of speech: two bidirectional LSTM layers over word embeddings and a bidirectional LSTM over each word's
//! letters. The input of the model is a struct, so the sentences are a data set written here too.

use cairn_autograd::Var;
use cairn_datasets::conllu::{Sentence, UPOS};
use cairn_datasets::text::{Padding, Vocabulary, pad};
use cairn_datasets::{Dataset, Error};
use cairn_nn::{Context, Dropout, Embedding, Linear, Model, Module, Recurrent, SequenceMask, spec::Lstm};
use cairn_tensor::{Rng, Tensor};

const WORD_DIM: usize = 100;
const LETTER_DIM: usize = 32;
const LETTER_UNITS: usize = 32;
const UNITS: usize = 128;
const DROPOUT: f32 = 0.4;
/// Letters of a word that are read, from its end.
const LETTERS: usize = 16;

#[derive(Module)]
pub(crate) struct Tagger {
    words: Embedding,
    letters: Embedding,
    spelling: Recurrent,
    context: Recurrent,
    head: Linear,
}

impl Tagger {
    pub(crate) fn new(vocabularies: &Vocabularies, rng: &mut Rng) -> cairn_nn::Result<Self> {
        Ok(Tagger {
            words: Embedding::new(vocabularies.words.len(), WORD_DIM, rng)?,
            letters: Embedding::new(vocabularies.letters.len(), LETTER_DIM, rng)?,
            spelling: Lstm::new(LETTER_UNITS).bidirectional().layer(LETTER_DIM, rng)?,
            context: Lstm::new(UNITS)
                .layers(2)
                .bidirectional()
                .dropout(DROPOUT)
                .return_sequences(true)
                .layer(WORD_DIM + 2 * LETTER_UNITS, rng)?,
            head: Linear::new(2 * UNITS, UPOS.len(), rng)?,
        })
    }
}

impl Model<Batch> for Tagger {
    /// The scores of all tags for each word, sentence after sentence: `[words, tags]`.
    fn forward(&self, batch: &Batch, cx: &mut Context) -> cairn_nn::Result<Var> {
        cx.set_mask(Some(SequenceMask::of_lengths(&batch.letter_lengths)));
        let spelled = self.spelling.forward(&self.letters.forward(&batch.letters)?, cx)?;
        let words = self.words.forward(&batch.words)?; // [rows, time, width]
        let (rows, time) = (words.shape()[0], words.shape()[1]);
        let spelled = spelled.lookup(&batch.word_at)?; // [rows, time, 2 units]
        let x = Dropout::new(DROPOUT).forward(&Var::cat(&[&words, &spelled], -1)?, cx)?;
        cx.set_mask(Some(SequenceMask::of_lengths(&batch.lengths)));
        let h = self.context.forward(&x, cx)?;
        let h = h.reshape([rows * time, 2 * UNITS])?.lookup(&batch.positions)?;
        self.head.forward(&Dropout::new(DROPOUT).forward(&h, cx)?)
    }
}

/// The words and letters that are known: words seen twice, in lower case.
pub(crate) struct Vocabularies {
    pub(crate) words: Vocabulary,
    pub(crate) letters: Vocabulary,
}

impl Vocabularies {
    pub(crate) fn of(sentences: &[Sentence]) -> Result<Self, Error> {
        let (mut words, mut letters) = (Vocabulary::builder().min_count(2), Vocabulary::builder());
        for word in sentences.iter().flat_map(|sentence| &sentence.words) {
            words.count(&word.form.to_lowercase());
            word.form.chars().for_each(|letter| letters.count(letter.encode_utf8(&mut [0; 4])));
        }
        Ok(Vocabularies { words: words.build()?, letters: letters.build()? })
    }
}

/// A batch of sentences: words padded to the longest sentence; the letters of the words that there are, one word a row.
pub(crate) struct Batch {
    /// `[rows, time]`
    pub(crate) words: Tensor<u32>,
    /// `[rows]`
    pub(crate) lengths: Tensor<u32>,
    /// `[words, letters]`
    pub(crate) letters: Tensor<u32>,
    /// `[words]`
    pub(crate) letter_lengths: Tensor<u32>,
    /// Which of the words of `letters` is at each position of `words`, any where there is padding: `[rows, time]`.
    pub(crate) word_at: Tensor<u32>,
    /// The position of each word in `words`, row-major: `[words]`.
    pub(crate) positions: Tensor<u32>,
}

/// Sentences as ids.
pub(crate) struct Tagged {
    sentences: Vec<Encoded>,
}

struct Encoded {
    words: Vec<u32>,
    letters: Vec<Vec<u32>>,
    tags: Vec<u32>,
}

impl Tagged {
    pub(crate) fn new(sentences: &[Sentence], vocabularies: &Vocabularies) -> Result<Self, Error> {
        let Vocabularies { words, letters } = vocabularies;
        let mut all = Vec::with_capacity(sentences.len());
        for sentence in sentences {
            let mut encoded = Encoded { words: Vec::new(), letters: Vec::new(), tags: Vec::new() };
            for word in &sentence.words {
                encoded.words.push(words.lookup(&word.form.to_lowercase())?);
                let spelled: Vec<char> = word.form.chars().collect();
                let end = &spelled[spelled.len().saturating_sub(LETTERS)..];
                let ids = end.iter().map(|letter| letters.lookup(letter.encode_utf8(&mut [0; 4])));
                encoded.letters.push(ids.collect::<Result<_, _>>()?);
                let tag = UPOS.iter().position(|&tag| tag == word.upos);
                let message = format!("`{}` is no part of speech", word.upos);
                encoded.tags.push(tag.ok_or(Error::Argument { what: "tags", message })? as u32);
            }
            all.push(encoded);
        }
        Ok(Tagged { sentences: all })
    }
}

impl Dataset for Tagged {
    type Input = Batch;
    /// The tags of all words, sentence after sentence.
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        self.sentences.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Batch, Tensor<u32>), Error> {
        let len = self.len();
        let of = |&index: &usize| self.sentences.get(index).ok_or(Error::IndexOutOfRange { index, len });
        let picked = indices.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        let words = pad(&picked.iter().map(|s| &s.words[..]).collect::<Vec<_>>(), &Padding::new())?;
        let time = words.ids.shape()[1];
        let all: Vec<&[u32]> = picked.iter().flat_map(|s| s.letters.iter().map(Vec::as_slice)).collect();
        let letters = pad(&all, &Padding::new())?;
        let list = |lengths: &[usize]| {
            Tensor::from_vec(lengths.iter().map(|&n| n as u32).collect(), [lengths.len()])
        };
        let rows = words.lengths.iter().enumerate();
        let positions: Vec<u32> =
            rows.flat_map(|(row, &n)| (row * time..row * time + n).map(|at| at as u32)).collect();
        let mut word_at = vec![0; words.ids.len()];
        (0u32..).zip(&positions).for_each(|(word, &position)| word_at[position as usize] = word);
        let tags: Vec<u32> = picked.iter().flat_map(|s| s.tags.iter().copied()).collect();
        let count = tags.len();
        let batch = Batch {
            lengths: list(&words.lengths)?,
            word_at: Tensor::from_vec(word_at, words.ids.dims().clone())?,
            words: words.ids,
            letter_lengths: list(&letters.lengths)?,
            letters: letters.ids,
            positions: Tensor::from_vec(positions, [count])?,
        };
        Ok((batch, Tensor::from_vec(tags, [count])?))
    }
}
