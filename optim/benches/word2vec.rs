//! Words a second of both ways to train word vectors, on a text with as many different words as a small book.

use cairn_optim::word2vec::Word2Vec;
use cairn_tensor::{Tensor, rng};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Sentences of 20 words; word n is about as frequent as 1 / n (Zipf).
fn text(words: usize) -> Vec<Vec<String>> {
    let drawn = Tensor::<f32>::uniform([words], 0.0, 1.0, &mut rng(1)).unwrap().into_vec();
    let word = |u: &f32| format!("w{}", 20_000f32.powf(*u) as u32);
    drawn.chunks(20).map(|sentence| sentence.iter().map(word).collect()).collect()
}

fn epochs(c: &mut Criterion) {
    const WORDS: usize = 200_000;
    let text = text(WORDS);
    let mut group = c.benchmark_group("word vectors");
    group.throughput(Throughput::Elements(WORDS as u64)).sample_size(10);
    for (name, settings) in [("skip-gram", Word2Vec::skip_gram()), ("cbow", Word2Vec::cbow())] {
        let settings = settings.epochs(1);
        group.bench_function(name, |b| b.iter(|| settings.fit(&text).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, epochs);
criterion_main!(benches);
