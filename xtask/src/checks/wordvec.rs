//! Word vectors from film reviews, held against people's judgement of pairs of words and against analogies.
//!
//! Where there are no reviews, a text is made of which the answers are known: words come in kinds that take each other's
//! place, and in pairs that differ as other pairs do, so there are pairs to judge and analogies to solve there too.

use std::time::Instant;

use cairn_datasets::text::WordTokenizer;
use cairn_datasets::word_tests::{Analogies, WordPair};
use cairn_datasets::{DataDir, imdb, registry, word_tests};
use cairn_optim::word2vec::{AnalogyScore, Word2Vec, WordVectors};
use cairn_tensor::{Tensor, rng};

use crate::check::{Bars, Check, Context};
use crate::format::{count, value};
use crate::report::{KeyFigures, Table};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "wordvec",
    title: "Word vectors",
    about: "Skip-gram and CBOW with the defaults of gensim, whose names they have, on the 50,000 IMDB reviews (5,000 in a \
            quick run): Spearman's correlation with WordSim-353 and the share of Google's analogies. On the 25,000 training \
            reviews gensim's correlations were 0.33 to 0.37 by skip-gram and 0.25 to 0.28 by CBOW, and those of this \
            implementation 0.37 to 0.39 and 0.27 to 0.28; the bars are below what it reaches on all reviews.",
    data: &[&registry::IMDB, &registry::WORD_TESTS],
    run,
};

/// Spearman's correlation, skip-gram and CBOW.
const PAIRS: [Bars; 2] = [
    Bars { full: 0.44, quick: 0.08, stand_in: 0.85, stand_in_quick: 0.85 },
    Bars { full: 0.32, quick: 0.08, stand_in: 0.85, stand_in_quick: 0.85 },
];
/// The share of analogies answered, skip-gram.
const ANALOGIES: Bars = Bars { full: 0.19, quick: 0.03, stand_in: 0.9, stand_in_quick: 0.9 };
const QUICK_REVIEWS: usize = 5000;
/// Words whose neighbours are shown, where they are known.
const SHOWN: [&str; 12] = [
    "film", "actor", "funny", "terrible", "paris", "king", "father", "music", "night", "war", "noun0x0",
    "noun3x1",
];

/// A text, and tests that suit it.
struct Material {
    texts: Vec<String>,
    pairs: Vec<WordPair>,
    analogies: Vec<Analogies>,
}

fn read(dir: &DataDir, quick: bool) -> Result<Material, cairn_datasets::Error> {
    let (pairs, analogies) = word_tests::load(dir)?;
    let (train, test) = imdb::load(dir)?;
    let step = if quick { (train.len() + test.len()) / QUICK_REVIEWS } else { 1 };
    let texts = train.into_iter().chain(test).step_by(step.max(1)).map(|review| review.text).collect();
    Ok(Material { texts, pairs, analogies })
}

/// Kinds of words in the stand-in, and words of each in both of two forms.
const KINDS: usize = 8;
const FORMS: usize = 2;
const EACH: usize = 6;
const SENTENCES: usize = 20_000;
/// Words that tell a kind, a form, and a word of a kind apart.
const MARKS: usize = 5;

/// Sentences around a word `noun K x F`-like: what stands beside it tells its kind, its form and which of its kind it is.
fn invented(seed: u64) -> anyhow::Result<Material> {
    let drawn = Tensor::<f64>::uniform([SENTENCES, 8], 0.0, 1.0, &mut rng(seed))?.to_vec();
    let texts = drawn.chunks_exact(8).map(|u| {
        let pick = |i: usize, n: usize| (u[i] * n as f64) as usize;
        let (kind, form) = (pick(0, KINDS * EACH), pick(1, FORMS));
        let mark = |name: &str, of: usize, i: usize| format!("{name}{of}m{}", pick(i, MARKS));
        let around = [
            mark("kind", kind / EACH, 2),
            mark("form", form, 3),
            mark("own", kind, 4),
            mark("form", form, 5),
            mark("own", kind, 6),
            mark("kind", kind / EACH, 7),
        ];
        let [a, b, c, d, e, f] = around;
        format!("{a} {b} {c} noun{kind}x{form} {d} {e} {f}")
    });
    Ok(Material { texts: texts.collect(), pairs: invented_pairs(), analogies: invented_analogies() })
}

/// Pairs of the same word, of the same kind, and of nothing in common.
fn invented_pairs() -> Vec<WordPair> {
    let word = |kind: usize, form: usize| format!("noun{kind}x{form}");
    let all = KINDS * EACH;
    let pair = |a: usize, b: usize, score| WordPair { a: word(a, 0), b: word(b, usize::from(a == b)), score };
    let of = |a: usize| {
        let same_kind = a / EACH * EACH + (a + 1) % EACH;
        [pair(a, a, 9.0), pair(a, same_kind, 5.0), pair(a, (a + 3 * EACH) % all, 1.0)]
    };
    (0..all).flat_map(of).collect()
}

/// One form is to the other as that of another word is to its other.
fn invented_analogies() -> Vec<Analogies> {
    let all = KINDS * EACH;
    let question = |(a, b): (usize, usize)| {
        [format!("noun{a}x0"), format!("noun{a}x1"), format!("noun{b}x0"), format!("noun{b}x1")]
    };
    let both = (0..all).flat_map(|a| [(a, (a + 7) % all), (a, (a + 20) % all)]);
    vec![Analogies { heading: "forms".to_owned(), questions: both.map(question).collect() }]
}

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (seed, quick) = (ctx.seed(), ctx.quick());
    // The tests of words are the second set: without either of them neither is of use.
    let material = ctx.load(&registry::IMDB, |dir| read(dir, quick), || invented(seed))?;
    ctx.say(format!("{} texts", count(material.texts.len() as u64)));
    let (skip_gram, speed) = train(ctx, "skip-gram", &Word2Vec::skip_gram().seed(seed), &material)?;
    let (cbow, _) = train(ctx, "CBOW", &Word2Vec::cbow().seed(seed), &material)?;
    let mut correlations = [0.0; 2];
    let both = [("skip-gram", &skip_gram), ("CBOW", &cbow)];
    for (i, (name, vectors)) in both.into_iter().enumerate() {
        let score = vectors.evaluate_pairs(&material.pairs)?;
        correlations[i] = score.spearman;
        let bar = ctx.bar(&PAIRS[i]);
        ctx.metric(format!("{name}, correlation on {} pairs", score.used), score.spearman, Bar::AtLeast(bar));
    }
    let of_skip_gram = skip_gram.evaluate_analogies(&material.analogies)?;
    let of_cbow = cbow.evaluate_analogies(&material.analogies)?;
    let total = AnalogyScore::total(&of_skip_gram);
    let bar = ctx.bar(&ANALOGIES);
    ctx.metric(format!("skip-gram, analogies of {}", total.used), total.accuracy(), Bar::AtLeast(bar));
    ctx.metric("CBOW, analogies", AnalogyScore::total(&of_cbow).accuracy(), Bar::None);

    let figures = KeyFigures::new()
        .figure(format!("{:.2}", correlations[0]), "correlation with people's judgement")
        .figure(format!("{:.1} %", 100.0 * total.accuracy()), "of the analogies right")
        .figure(value(speed), "words a second in training");
    ctx.show("At a glance", &figures);
    show_analogies(ctx, &of_skip_gram, &of_cbow);
    show_neighbours(ctx, &skip_gram)
}

/// Trains, and gives words of text a second.
fn train(
    ctx: &mut Context<'_>,
    name: &str,
    settings: &Word2Vec,
    material: &Material,
) -> anyhow::Result<(WordVectors, f64)> {
    let mut words = 0u64;
    let tokenizer = WordTokenizer::new();
    material.texts.iter().for_each(|text| {
        cairn_datasets::text::Tokenizer::tokenize(&tokenizer, text, &mut |_| words += 1);
    });
    // Five passes; reading and counting the text is part of the time.
    let began = Instant::now();
    let vectors = settings.fit_texts(&material.texts, &tokenizer)?;
    let speed = (5 * words) as f64 / began.elapsed().as_secs_f64();
    ctx.say(format!("{name}: {} words, {} of them different", count(words), count(vectors.len() as u64)));
    ctx.metric(format!("{name}, words per second"), speed, Bar::None);
    Ok((vectors, speed))
}

fn show_analogies(ctx: &mut Context<'_>, skip_gram: &[AnalogyScore], cbow: &[AnalogyScore]) {
    let mut table = Table::new(["analogies", "asked", "skip-gram", "CBOW"]).numbers([1, 2, 3]);
    for (a, b) in skip_gram.iter().zip(cbow) {
        let share = |score: &AnalogyScore| format!("{:.3}", score.accuracy());
        table.row([a.heading.clone(), count(a.used as u64), share(a), share(b)]);
    }
    ctx.show("Analogies by kind", &table);
}

fn show_neighbours(ctx: &mut Context<'_>, vectors: &WordVectors) -> anyhow::Result<()> {
    let mut table = Table::new(["word", "nearest words, with their cosines"]).full_width();
    for word in SHOWN.into_iter().filter(|word| vectors.contains(word)) {
        let near = vectors.most_similar(word, 8)?;
        let near: Vec<String> =
            near.into_iter().map(|(word, cosine)| format!("{word} {cosine:.2}")).collect();
        table.row([word.to_owned(), near.join(", ")]);
    }
    ctx.show("Nearest words, skip-gram", &table);
    Ok(())
}
