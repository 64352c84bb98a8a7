//! Reads the data sets that lie in the data folder, checks them against their published facts, and prints what it saw.
//! With `--stand-ins` it shows generated data instead.
//!
//! ```text
//! CAIRN_DATA_DIR=… cargo run --release -p cairn-datasets --example inspect
//! ```

use std::time::Instant;

use cairn_datasets::conllu::{self, Sentence};
use cairn_datasets::synthetic::{self, Ratings, RatingsPlan};
use cairn_datasets::text::{CharTokenizer, Tokenizer, Vocabulary, WhitespaceTokenizer};
use cairn_datasets::{
    DataDir, Error, ImageDataset, ag_news, fashion_mnist, imdb, mnist, movielens, mr_polarity, multi30k,
    penn_treebank, registry, tiny_shakespeare,
};

fn main() -> Result<(), Error> {
    if std::env::args().any(|arg| arg == "--stand-ins") {
        return stand_ins();
    }
    let dir = DataDir::default().offline();
    println!("data folder: {}", dir.path().display());
    for set in registry::ALL {
        if !dir.has(set) {
            println!("{}: not there ({:.1} MB from {})", set.name, set.size() as f64 / 1e6, set.homepage);
            continue;
        }
        let start = Instant::now();
        let facts = match set.name {
            "mnist" => images(&mnist::load(&dir)?),
            "fashion-mnist" => images(&fashion_mnist::load(&dir)?),
            name if name.starts_with("movielens") => {
                format!("in {}", movielens::locate(&dir, set)?.display())
            }
            "imdb" => {
                let (train, test) = imdb::load(&dir)?;
                let longest = train.iter().map(|r| r.text.len()).max().unwrap_or(0);
                format!("{} and {} reviews, the longest of {longest} bytes", train.len(), test.len())
            }
            "mr-polarity" => {
                let all = mr_polarity::load(&dir)?;
                format!("{} sentences, {} favourable", all.len(), all.iter().filter(|s| s.label == 1).count())
            }
            "ag-news" => {
                let (train, test) = ag_news::load(&dir)?;
                format!("{} and {} items", train.len(), test.len())
            }
            "penn-treebank" => {
                let text = penn_treebank::load(&dir)?;
                let words = |part: &str| (part.lines().count(), WhitespaceTokenizer.tokens(part).len());
                let builder = Vocabulary::builder().padding(None).unknown(None);
                let distinct = builder.texts([&text.train], &WhitespaceTokenizer).build()?.len();
                format!(
                    "lines and words: {:?}, {:?}, {:?}; {distinct} distinct words",
                    words(&text.train),
                    words(&text.valid),
                    words(&text.test)
                )
            }
            "tiny-shakespeare" => {
                let text = tiny_shakespeare::load(&dir)?;
                let builder = Vocabulary::builder().padding(None).unknown(None);
                let distinct = builder.texts([&text], &CharTokenizer).build()?.len();
                format!("{} characters, {distinct} distinct", text.chars().count())
            }
            "ud-english-ewt" => {
                let trees = conllu::load_english_ewt(&dir)?;
                let count =
                    |part: &[Sentence]| (part.len(), part.iter().map(|s| s.words.len()).sum::<usize>());
                let [train, dev, test] = [&trees.train, &trees.dev, &trees.test].map(|part| count(part));
                format!("sentences and words: {train:?}, {dev:?}, {test:?}")
            }
            "multi30k" => {
                let pairs = multi30k::load(&dir)?;
                format!("{}, {} and {} pairs", pairs.train.len(), pairs.valid.len(), pairs.test.len())
            }
            "multi30k-2017" => {
                let [flickr, coco] = multi30k::load_2017(&dir)?;
                format!("{} and {} pairs", flickr.len(), coco.len())
            }
            other => format!("no reader for {other} here"),
        };
        println!("{} ({:.0} ms): {facts}", set.name, start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

fn images((train, test): &(ImageDataset, ImageDataset)) -> String {
    let count = |set: &ImageDataset| {
        let mut counts = vec![0; set.classes()];
        set.labels().iter().for_each(|&label| counts[label as usize] += 1);
        counts
    };
    format!("images of each class: train {:?}, test {:?}", count(train), count(test))
}

fn ratings(data: &Ratings) -> String {
    let mut values = [0; 5];
    data.log.iter().for_each(|&(_, _, value, _)| values[value as usize - 1] += 1);
    let users = data.log.iter().map(|&(user, ..)| user).max().unwrap_or(0);
    let last = data.titles.values().next_back().map_or("", String::as_str);
    format!(
        "{} ratings by {users} people; 1 to 5 stars: {values:?}; {} films, the last `{last}`",
        data.log.len(),
        data.titles.len()
    )
}

fn stand_ins() -> Result<(), Error> {
    let start = Instant::now();
    let digits = synthetic::digits(10_000, 1)?;
    println!("10,000 digits in {:.0} ms; the first three:", start.elapsed().as_secs_f64() * 1e3);
    for row in 0..28 {
        let shade = |p: u8| [' ', '.', ':', 'o', '#', '@'][usize::from(p) * 5 / 255];
        let line = (0..3).flat_map(|i| digits.pixels(i).unwrap_or_default()[row * 28..][..28].iter());
        println!("{}", line.map(|&p| shade(p)).collect::<String>());
    }
    println!("labels {:?}", &digits.labels()[..3]);
    let start = Instant::now();
    let data = synthetic::ratings(&RatingsPlan::default(), 1)?;
    println!("ratings in {:.0} ms: {}", start.elapsed().as_secs_f64() * 1e3, ratings(&data));
    print!("\ntext:\n{}", synthetic::text(4, 1)?);
    println!("\ntranslations:");
    for pair in synthetic::translations(3, 1)? {
        println!("{}  =  {}", pair.source, pair.target);
    }
    println!("\nreviews:");
    for review in synthetic::reviews(3, 1)? {
        println!("{}: {}", review.label, review.text);
    }
    Ok(())
}
