//! Parts of speech with a stacked bidirectional LSTM over words and their letters.

use cairn_autograd::Var;
use cairn_datasets::conllu::{self, Sentence, UPOS};
use cairn_datasets::text::{Padding, Vocabulary, pad};
use cairn_datasets::{Dataset, Error as DataError, Loader, registry, synthetic};
use cairn_nn::{
    Context as Pass, Dropout, Embedding, EmbeddingLayer, Linear, Lstm, Model, Module, RecurrentLayer,
    cross_entropy,
};
use cairn_optim::{Adam, Optimizer, clip_by_global_norm};
use cairn_tensor::{Rng, Tensor, rng};

use crate::check::{Bars, Check, Context};
use crate::format::{count, seconds};
use crate::report::{Confusion, Table};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "rnn",
    title: "Parts of speech, with stacked LSTMs",
    about: "Words of the English Web Treebank are tagged with 17 parts of speech by two bidirectional LSTM layers of 128 units \
            a direction, over word embeddings and a bidirectional LSTM over each word's letters; no vectors from elsewhere. \
            The bar is for the share of right tags in the test set.",
    data: &[&registry::UD_ENGLISH_EWT],
    run,
};

/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.92, quick: 0.85, stand_in: 0.97, stand_in_quick: 0.90 };
const EPOCHS: usize = 8;
const BATCH: usize = 32;
const WORD_DIM: usize = 100;
const LETTER_DIM: usize = 32;
const LETTER_UNITS: usize = 32;
const UNITS: usize = 128;
const RATE: f64 = 2e-3;
/// Letters of a word that are read, from its end.
const LETTERS: usize = 16;
/// Stand-in sentences to train on and to test on.
const STAND_IN: [usize; 2] = [6_000, 500];

/// Sentences as numbers.
struct Tagged {
    sentences: Vec<Encoded>,
}

struct Encoded {
    words: Vec<u32>,
    letters: Vec<Vec<u32>>,
    tags: Vec<u32>,
}

/// A batch of sentences: words padded to the longest sentence; the letters of the words that there are, one word a row.
struct Batch {
    words: Tensor<u32>,
    lengths: Tensor<u32>,
    letters: Tensor<u32>,
    letter_lengths: Tensor<u32>,
    /// Where each word stands among the places of `words`.
    places: Vec<u32>,
}

impl Dataset for Tagged {
    type Input = Batch;
    /// The tags of all words, sentence after sentence.
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        self.sentences.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<(Batch, Tensor<u32>), DataError> {
        let picked: Vec<&Encoded> = indices.iter().map(|&i| &self.sentences[i]).collect();
        let words = pad(&picked.iter().map(|s| &s.words[..]).collect::<Vec<_>>(), &Padding::new())?;
        let time = words.ids.shape()[1];
        let all: Vec<&[u32]> = picked.iter().flat_map(|s| s.letters.iter().map(Vec::as_slice)).collect();
        let letters = pad(&all, &Padding::new())?;
        let list = |lengths: &[usize]| {
            Tensor::from_vec(lengths.iter().map(|&n| n as u32).collect(), [lengths.len()])
        };
        let places = words.lengths.iter().enumerate();
        let places = places.flat_map(|(row, &n)| (row * time..row * time + n).map(|at| at as u32)).collect();
        let tags: Vec<u32> = picked.iter().flat_map(|s| s.tags.iter().copied()).collect();
        let count = tags.len();
        let batch = Batch {
            lengths: list(&words.lengths)?,
            words: words.ids,
            letter_lengths: list(&letters.lengths)?,
            letters: letters.ids,
            places,
        };
        Ok((batch, Tensor::from_vec(tags, [count])?))
    }
}

/// The tagger.
#[derive(Module)]
struct Tagger {
    words: EmbeddingLayer,
    letters: EmbeddingLayer,
    spelling: RecurrentLayer,
    context: RecurrentLayer,
    head: Linear,
}

impl Tagger {
    fn new(words: usize, letters: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        Ok(Tagger {
            words: Embedding::new(words, WORD_DIM).layer(rng)?,
            letters: Embedding::new(letters, LETTER_DIM).layer(rng)?,
            spelling: Lstm::new(LETTER_UNITS).bidirectional().layer(LETTER_DIM, rng)?,
            context: Lstm::new(UNITS)
                .layers(2)
                .bidirectional()
                .dropout(0.4)
                .return_sequences(true)
                .layer(WORD_DIM + 2 * LETTER_UNITS, rng)?,
            head: Linear::new(2 * UNITS, UPOS.len(), rng)?,
        })
    }
}

impl Model<Batch> for Tagger {
    /// The scores of all tags for each word, sentence after sentence: `[words, tags]`.
    fn forward(&self, batch: &Batch, cx: &mut Pass) -> cairn_nn::Result<Var> {
        let letters = self.letters.forward(&batch.letters)?;
        let spelled = self.spelling.forward_lengths(&letters, &batch.letter_lengths, cx)?;
        let words = self.words.forward(&batch.words)?;
        let &[rows, time] = batch.words.shape() else { unreachable!("words are padded to [batch, time]") };
        // What stands at padding is never looked at.
        let mut row_of = vec![0; rows * time];
        (0u32..).zip(&batch.places).for_each(|(row, &place)| row_of[place as usize] = row);
        let spelled = spelled.index_select(0, &row_of)?.reshape([rows, time, 2 * LETTER_UNITS])?;
        let x = Dropout::new(0.4).apply(&Var::cat(&[&words, &spelled], -1)?, cx)?;
        let h = self.context.forward_lengths(&x, &batch.lengths, cx)?;
        let h = h.reshape([rows * time, 2 * UNITS])?.index_select(0, &batch.places)?;
        self.head.forward(&Dropout::new(0.4).apply(&h, cx)?)
    }
}

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = load(ctx)?;
    let (mut words, mut letters) = (Vocabulary::builder().min_count(2), Vocabulary::builder());
    for word in train.iter().flat_map(|sentence| &sentence.words) {
        words.count(&word.form.to_lowercase());
        word.form.chars().for_each(|letter| letters.count(letter.encode_utf8(&mut [0; 4])));
    }
    let (words, letters) = (words.build()?, letters.build()?);
    let [train_data, test_data] = [&train, &test].map(|part| encode(part, &words, &letters));
    let (train_data, test_data) = (train_data?, test_data?);
    let seed = ctx.seed();
    let mut model = Tagger::new(words.len(), letters.len(), &mut rng(seed))?;
    let epochs = if ctx.quick() { 1 } else { EPOCHS };
    let mut curve = Vec::new();
    let lengths = train_data.sentences.iter().map(|s| s.words.len()).collect();
    let loader = Loader::new(&train_data).batch_size(BATCH).shuffle(seed).group_by_length(lengths)?;
    let (mut adam, mut pass) = (Adam::new(RATE), Pass::train(seed));
    for epoch in 0..epochs {
        // Down to nothing in a straight line.
        adam.set_learning_rate(RATE * (1.0 - epoch as f64 / epochs as f64));
        let (began, mut sum, mut seen) = (std::time::Instant::now(), 0.0, 0);
        for batch in loader.epoch(epoch as u64)? {
            let (input, tags) = batch?;
            let loss = cross_entropy(&model.forward(&input, &mut pass)?, &tags)?;
            sum += f64::from(loss.item()?) * tags.len() as f64;
            seen += tags.len();
            let mut gradients = loss.backward()?;
            clip_by_global_norm(&model, &mut gradients, 5.0)?;
            adam.step(&mut model, &gradients)?;
        }
        let took = began.elapsed().as_secs_f64();
        let accuracy = share_right(&predict(&model, &test_data)?);
        curve.push(accuracy);
        let (loss, took, n) = (sum / seen as f64, seconds(took), epoch + 1);
        ctx.say(format!("epoch {n}/{epochs}: loss {loss:.4}, test accuracy {accuracy:.4}, {took}"));
    }
    let tagged = predict(&model, &test_data)?;
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", share_right(&tagged), Bar::AtLeast(bar));
    show(ctx, &test, &tagged, &curve);
    Ok(())
}

fn load(ctx: &mut Context<'_>) -> anyhow::Result<(Vec<Sentence>, Vec<Sentence>)> {
    let read = |dir: &_| {
        let treebank = conllu::load_english_ewt(dir)?;
        Ok((treebank.train, treebank.test))
    };
    let seed = ctx.seed();
    let stand_in =
        || Ok((synthetic::sentences(STAND_IN[0], seed), synthetic::sentences(STAND_IN[1], seed + 1)));
    let (train, test) = ctx.load(&registry::UD_ENGLISH_EWT, read, stand_in)?;
    let sizes = [train.len(), test.len()].map(|n| count(n as u64));
    ctx.say(format!("{} sentences to train on, {} to test on", sizes[0], sizes[1]));
    Ok((train, test))
}

fn encode(sentences: &[Sentence], words: &Vocabulary, letters: &Vocabulary) -> anyhow::Result<Tagged> {
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
            let tag = tag.ok_or_else(|| anyhow::anyhow!("`{}` is no part of speech", word.upos))?;
            encoded.tags.push(tag as u32);
        }
        all.push(encoded);
    }
    Ok(Tagged { sentences: all })
}

/// True and predicted tag of each word of a part, in order.
fn predict(model: &Tagger, data: &Tagged) -> anyhow::Result<Vec<(u32, u32)>> {
    let mut pairs = Vec::new();
    for batch in Loader::new(data).batch_size(4 * BATCH).epoch(0)? {
        let (input, tags) = batch?;
        let predicted = model.predict_batch(&input)?.argmax(-1)?;
        pairs.extend(tags.iter().zip(predicted.iter()));
    }
    Ok(pairs)
}

fn share_right(pairs: &[(u32, u32)]) -> f64 {
    pairs.iter().filter(|(truth, predicted)| truth == predicted).count() as f64 / pairs.len() as f64
}

fn show(ctx: &mut Context<'_>, test: &[Sentence], tagged: &[(u32, u32)], curve: &[f64]) {
    let chart = crate::report::LineChart::new("epoch", "accuracy").epochs("test", curve.to_vec());
    ctx.show("Accuracy", &chart);
    let mut confusion = Confusion::new(UPOS);
    tagged.iter().for_each(|&(truth, predicted)| confusion.add(truth as usize, predicted as usize));
    ctx.show("Confusion matrix of the test set", &confusion);
    let mut table = Table::new(["word", "is", "tagged"]);
    let words = test.iter().flat_map(|sentence| &sentence.words);
    for (word, &(truth, predicted)) in words.zip(tagged).take(30) {
        let [truth, predicted] = [truth, predicted].map(|tag| UPOS[tag as usize].to_owned());
        table.row([word.form.clone(), truth, predicted]);
    }
    ctx.show("The first words of the test set", &table);
}
