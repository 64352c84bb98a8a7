//! The tagger with attention in place of its upper LSTMs, and a conditional random field that chooses the tags of a sentence together.

use cairn_autograd::{Var, no_grad};
use cairn_datasets::conllu::UPOS;
use cairn_nn::loss::Crf;
use cairn_nn::{
    Activation::Gelu, Context, Dropout, Embedding, Linear, Module, Recurrent, Result, SequenceMask,
    TransformerEncoder, spec,
};
use cairn_tensor::{Pairs, Rng, Rotary, Tensor};

use super::model::{Batch, Vocabularies};

const WORD_DIM: usize = 100;
const LETTER_DIM: usize = 32;
const LETTER_UNITS: usize = 32;
const FEATURES: usize = 128;
const HEADS: usize = 4;
/// Of the waves that tell distances: sentences are short. Tags go by what is near, on which side, so rotary positions tag half a point more
/// words right than sinusoids that are added.
const ROTARY_BASE: f64 = 500.0;
const DROPOUT: f32 = 0.3;

#[derive(Module)]
pub(crate) struct AttentiveTagger {
    words: Embedding,
    letters: Embedding,
    spelling: Recurrent,
    input: Linear,
    context: TransformerEncoder,
    head: Linear,
    crf: Crf,
}

impl AttentiveTagger {
    pub(crate) fn new(vocabularies: &Vocabularies, rng: &mut Rng) -> Result<Self> {
        let rotary = Rotary::new(FEATURES / HEADS).base(ROTARY_BASE);
        let attention = spec::MultiHeadAttention::new(HEADS).rotary(rotary, Pairs::Halves);
        let block = spec::TransformerEncoderLayer::new(HEADS, 2 * FEATURES).attention(attention);
        let block = block.activation(Gelu).norm_first(true);
        Ok(AttentiveTagger {
            words: Embedding::new(vocabularies.words.len(), WORD_DIM, rng)?,
            letters: Embedding::new(vocabularies.letters.len(), LETTER_DIM, rng)?,
            spelling: spec::Lstm::new(LETTER_UNITS).bidirectional().layer(LETTER_DIM, rng)?,
            input: Linear::new(WORD_DIM + 2 * LETTER_UNITS, FEATURES, rng)?,
            context: TransformerEncoder::new(2, &block.dropout(0.1), FEATURES, rng)?,
            head: Linear::new(FEATURES, UPOS.len(), rng)?,
            crf: Crf::new(UPOS.len(), rng)?,
        })
    }

    /// The scores of all tags, by themselves, for each word: `[rows, time, tags]`.
    pub(crate) fn forward(&self, batch: &Batch, cx: &mut Context) -> Result<Var> {
        cx.set_mask(Some(SequenceMask::of_lengths(&batch.letter_lengths)));
        let spelled = self.spelling.forward(&self.letters.forward(&batch.letters)?, cx)?;
        let words = self.words.forward(&batch.words)?; // [rows, time, width]
        let x = Var::cat(&[&words, &spelled.lookup(&batch.word_at)?], -1)?;
        let x = self.input.forward(&Dropout::new(DROPOUT).forward(&x, cx)?)?;
        cx.set_mask(Some(SequenceMask::of_lengths(&batch.lengths)));
        let h = self.context.forward(&x, cx)?;
        self.head.forward(&Dropout::new(DROPOUT).forward(&h, cx)?)
    }

    /// The mean loss of a word, given the tags of all words, sentence after sentence.
    pub(crate) fn loss(&self, batch: &Batch, tags: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        let scores = self.forward(batch, cx)?;
        let mut rows = vec![0; batch.words.len()];
        batch.positions.iter().zip(tags.iter()).for_each(|(at, tag)| rows[at as usize] = tag);
        let rows = Tensor::from_vec(rows, batch.words.dims())?;
        let mask = SequenceMask::of_lengths(&batch.lengths);
        let losses = self.crf.losses(&scores, &rows, Some(&mask))?;
        Ok(losses.sum(..)?.scale(1.0 / tags.len().max(1) as f32)?)
    }

    /// The likeliest tags of the sentences, word after word.
    pub(crate) fn tag(&self, batch: &Batch) -> Result<Vec<u32>> {
        let scores = no_grad(|| self.forward(batch, &mut Context::eval()))?;
        let mask = SequenceMask::of_lengths(&batch.lengths);
        Ok(self.crf.decode(scores.value(), Some(&mask))?.concat())
    }
}
