//! Sentiment of film reviews: an embedding, an LSTM over the last 100 words, and a dense layer, and what it makes of words of
//! yours.
//!
//! `cargo run --release -p cairn-optim --example sentiment -- [FOLDER] [REVIEW]`
//!
//! Reads the IMDB reviews from the folder, `CAIRN_DATA_DIR` or the user's cache, if they are there
//! (`cargo xtask download imdb` fetches them), and invented ones otherwise.

use std::path::Path;

use cairn_datasets::text::{LabelledText, Padding, Vocabulary, WordTokenizer, pad};
use cairn_datasets::{DataDir, TensorDataset, imdb, registry, synthetic};
use cairn_nn::{
    Model, Sequential, SparseCategoricalCrossentropy,
    spec::{Dense, Embedding, Lstm},
};
use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

/// Words that are known, and words of a review that are read: the last, where people come to their conclusion.
const KNOWN: usize = 10_000;
const READ: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = DataDir::resolve(arguments.first().map(Path::new));
    let (train, test): (Vec<_>, Vec<_>) = if dir.has(&registry::IMDB) {
        let (train, test) = imdb::load(&dir)?;
        let plain = |reviews: Vec<imdb::Review>| reviews.into_iter().map(|r| (r.text, r.label)).collect();
        (plain(train), plain(test))
    } else {
        let plain = |reviews: Vec<LabelledText>| reviews.into_iter().map(|r| (r.text, r.label)).collect();
        (plain(synthetic::reviews(10_000, 0)?), plain(synthetic::reviews(2000, 1)?))
    };
    let tokenizer = WordTokenizer::new();
    let texts = train.iter().map(|(text, _): &(String, u32)| text);
    let vocabulary = Vocabulary::builder().max_size(KNOWN).texts(texts, &tokenizer).build()?;
    let encode = |reviews: &[(String, u32)]| -> cairn_datasets::Result<TensorDataset<u32, u32>> {
        let ids = reviews.iter().map(|(text, _)| vocabulary.encode(text, &tokenizer));
        let padded = pad(&ids.collect::<Result<Vec<_>, _>>()?, &Padding::new().length(READ).at_start())?;
        let labels = reviews.iter().map(|&(_, label)| label).collect();
        TensorDataset::new(padded.ids, Tensor::from_vec(labels, [reviews.len()])?)
    };

    let model = Sequential::new([READ])
        .add(Embedding::new(KNOWN, 128))
        .add(Lstm::new(64))
        .add(Dense::new(2))
        .build(&mut rng(0))?;
    println!("{}", model.summary());
    let mut trainer =
        Trainer::new(Adam::default().lazy(true), SparseCategoricalCrossentropy).metric(Accuracy);
    let held_out = encode(&test)?;
    let fit = Fit::epochs(2).validate(&held_out);
    println!("{}", trainer.fit(&model, &encode(&train)?, fit)?);

    let review =
        arguments.get(1).map_or("Not what I had hoped for, but I was moved to tears.", String::as_str);
    let scores = model.predict_batch(encode(&[(review.to_owned(), 0)])?.inputs())?;
    println!("`{review}` is favourable with a probability of {:.2}", scores.softmax(-1)?.get(&[0, 1])?);
    Ok(())
}
