//! Sentences of film reviews, for or against, by Kim's convolutional network, and what it makes of a sentence of yours.
//!
//! `cargo run --release -p cairn-optim --example text_cnn -- [FOLDER] [SENTENCE]`
//!
//! Reads the sentences of Pang and Lee from the folder, `CAIRN_DATA_DIR` or the user's cache, if they are there
//! (`cargo xtask download mr-polarity` fetches them), and invented ones otherwise. A tenth is held out.

mod model;

use std::path::Path;

use cairn_datasets::text::{LabelledText, Vocabulary, WhitespaceTokenizer};
use cairn_datasets::{DataDir, Dataset, mr_polarity, registry, synthetic};
use cairn_nn::{Model, SparseCategoricalCrossentropy};
use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

use model::{TextCnn, encode};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = DataDir::resolve(arguments.first().map(Path::new));
    let sentences = match dir.has(&registry::MR_POLARITY) {
        true => mr_polarity::load(&dir)?,
        false => synthetic::reviews(8000, 0)?,
    };
    let order = Tensor::permutation(sentences.len(), &mut rng(0))?;
    let shuffled: Vec<LabelledText> = order.iter().map(|i| sentences[i as usize].clone()).collect();
    let (test, train) = shuffled.split_at(shuffled.len() / 10);
    let texts = train.iter().map(|sentence| &sentence.text);
    let vocabulary = Vocabulary::builder().min_count(2).texts(texts, &WhitespaceTokenizer).build()?;

    let model = TextCnn::new(vocabulary.len(), &mut rng(0))?;
    let mut trainer =
        Trainer::new(Adam::default().lazy(true), SparseCategoricalCrossentropy).metric(Accuracy);
    let (training, held_out) = (encode(train, &vocabulary)?, encode(test, &vocabulary)?);
    // With more passes the sentences are learnt by heart.
    let fit = Fit::epochs(4).batch_size(50).validate(&held_out);
    println!("{}", trainer.fit(&model, &training, fit)?);

    let text = arguments.get(1).map_or("a warm , funny and moving film", String::as_str).to_lowercase();
    let (input, _) = encode(&[LabelledText { text: text.clone(), label: 0 }], &vocabulary)?.batch(&[0])?;
    let favourable = model.predict_batch(&input)?.softmax(-1)?.get(&[0, 1])?;
    println!("`{text}` is favourable with a probability of {favourable:.2}");
    Ok(())
}
