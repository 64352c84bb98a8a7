//! Word vectors from a text file, a sentence a line, or from Penn Treebank text.
//!
//! `cargo run --release -p cairn-optim --example word_vectors -- [--cbow] [FILE or FOLDER] [WORD…]`
//!
//! Without a file it reads the Penn Treebank from the folder, `CAIRN_DATA_DIR` or the user's cache, if it is there
//! (`cargo xtask download penn-treebank` fetches it), and sentences of a small grammar otherwise; `--cbow` trains by CBOW
//! instead of skip-gram. If the tests of word vectors are there (`cargo xtask download word-tests`), the vectors are held
//! against them.

use std::path::Path;
use std::time::Instant;

use cairn_datasets::text::{Tokenizer, WhitespaceTokenizer, WordTokenizer};
use cairn_datasets::{DataDir, penn_treebank, registry, synthetic, word_tests};
use cairn_optim::word2vec::{AnalogyScore, Word2Vec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (flags, arguments): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let (folder, file) = match arguments.first().map(Path::new) {
        Some(path) if path.is_dir() => (Some(path), None),
        file => (None, file),
    };
    let dir = DataDir::resolve(folder);
    let text = match file {
        Some(file) => std::fs::read_to_string(file)?,
        None if dir.has(&registry::PENN_TREEBANK) => penn_treebank::load(&dir)?.train,
        None => synthetic::text(20_000, 1)?,
    };
    let tokenizer: &dyn Tokenizer = if file.is_none() { &WhitespaceTokenizer } else { &WordTokenizer::new() };
    let settings =
        if flags.iter().any(|flag| flag == "--cbow") { Word2Vec::cbow() } else { Word2Vec::skip_gram() };

    let words: usize = text.lines().map(|line| line.split_whitespace().count()).sum();
    let started = Instant::now();
    let vectors = settings.fit_texts(text.lines(), tokenizer)?;
    println!("{words} words, {} of them different, in {:.1?}", vectors.len(), started.elapsed());

    let shown = match arguments.get(1..) {
        Some(words) if !words.is_empty() => words,
        _ => &vectors.words()[..vectors.len().min(8)],
    };
    for word in shown {
        let near: Vec<&str> = vectors.most_similar(word, 6)?.into_iter().map(|(word, _)| word).collect();
        println!("{word}: {}", near.join(", "));
    }
    if dir.has(&registry::WORD_TESTS) {
        let (pairs, analogies) = word_tests::load(&dir)?;
        let score = vectors.evaluate_pairs(&pairs)?;
        println!("WordSim-353: Spearman {:.3} on {} pairs", score.spearman, score.used);
        let score = AnalogyScore::total(&vectors.evaluate_analogies(&analogies)?);
        println!("analogies: {:.3} of {}", score.accuracy(), score.used);
    }
    Ok(())
}
