//! The convolutional network for sentences of Kim (2014), CNN-rand: windows of 3, 4 and 5 words with 100 maps each, maximum
//! over time, dropout of one half. A struct of parameters and layers with a derived `Module`.

use cairn_autograd::{Parameter, Var};
use cairn_datasets::Error;
use cairn_datasets::text::{LabelledText, Padded, Padding, SequenceDataset, Vocabulary, WhitespaceTokenizer};
use cairn_nn::{Context, Dropout, Init, Linear, Model, Module};
use cairn_tensor::{Rng, Tensor, Window};

const SIZES: [usize; 3] = [3, 4, 5];
const MAPS: usize = 100;
const WIDTH: usize = 128;
/// Windows reach over both ends of a sentence, as in the paper; the last of them always sees padding alone, so that it
/// does not matter what longer sentences are in the batch.
const BEFORE: usize = SIZES[2] - 1;
const AFTER: usize = SIZES[2];

#[derive(Module)]
pub(crate) struct TextCnn {
    table: Parameter,
    filters: Vec<Filter>,
    head: Linear,
}

/// A window of some words, moved over the sentence.
#[derive(Module)]
struct Filter {
    weight: Parameter,
    bias: Parameter,
}

impl Filter {
    fn new(size: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        Ok(Filter {
            weight: Parameter::new(Init::GlorotUniform.tensor([size, WIDTH, MAPS], rng)?),
            bias: Parameter::new(Tensor::zeros([MAPS])?),
        })
    }
}

impl TextCnn {
    pub(crate) fn new(words: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        Ok(TextCnn {
            table: Parameter::new(Init::Uniform(0.25).tensor([words, WIDTH], rng)?),
            filters: SIZES.iter().map(|&size| Filter::new(size, rng)).collect::<Result<_, _>>()?,
            head: Linear::new(SIZES.len() * MAPS, 2, rng)?,
        })
    }
}

impl Model<Padded> for TextCnn {
    /// Scores against and for: `[batch, 2]`.
    fn forward(&self, sentences: &Padded, cx: &mut Context) -> cairn_nn::Result<Var> {
        let words = self.table.var().lookup(&sentences.ids)?; // [batch, time, width]
        let strongest = |f: &Filter| {
            words.conv1d(&f.weight.var(), Some(&f.bias.var()), true, &Window::default(), 1)?.max(1) // [batch, maps]
        };
        let features = self.filters.iter().map(strongest).collect::<Result<Vec<_>, _>>()?;
        let features = Var::cat(&features.iter().collect::<Vec<_>>(), -1)?;
        self.head.forward(&Dropout::new(0.5).forward(&features, cx)?)
    }
}

/// Sentences as ids, with padding around them.
pub(crate) fn encode(sentences: &[LabelledText], vocabulary: &Vocabulary) -> Result<SequenceDataset, Error> {
    let ids = sentences.iter().map(|sentence| {
        let mut ids = vec![0; BEFORE];
        ids.extend(vocabulary.encode(&sentence.text, &WhitespaceTokenizer)?);
        ids.resize(ids.len() + AFTER, 0);
        Ok(ids)
    });
    let labels = sentences.iter().map(|sentence| sentence.label).collect();
    SequenceDataset::new(ids.collect::<Result<_, Error>>()?, labels, Padding::new())
}
