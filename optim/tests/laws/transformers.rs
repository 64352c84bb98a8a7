//! Transformers as they are trained and write: the same bits for any number of threads, alone and in a batch, with keys and values that
//! are kept and without; memory by the length of a text, and not by its square, nor by length times vocabulary.

// The model is that of the example, so that what is copied from there is what is tested.
#[path = "../../examples/gpt/model.rs"]
mod gpt;

use std::collections::BTreeMap;
use std::fmt::Debug;

use cairn_autograd::{Var, no_grad};
use cairn_nn::generate::{BeamSearch, Decoder, Generate, Hypothesis, Sampling, Written};
use cairn_nn::{
    Context, Embedding, Module, SequenceMask, Transformer, TransformerEncoder, cross_entropy, spec,
};
use cairn_optim::{AdamW, Optimizer, clip_by_global_norm};
use cairn_tensor::{AnyTensor, LinearCrossEntropyOptions, Tensor, memory, rng};

use crate::child;
use gpt::Gpt;

const WORDS: usize = 97;
/// So many tokens that a step of writing reads more than one block of keys.
const CONTEXT: usize = 256;

/// What `f` gives in a pool of one thread, which is to be what it gives in pools of two and three.
fn for_any_threads<R: PartialEq + Debug + Send>(f: impl Fn() -> R + Sync) -> R {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&f)
    };
    let one = run(1);
    assert_eq!(one, run(2), "two threads");
    assert_eq!(one, run(3), "three threads");
    one
}

/// Ids that look like none in particular.
fn ids(shape: [usize; 2], seed: usize) -> Tensor<u32> {
    let count = shape[0] * shape[1];
    let ids = (0..count).map(|i| ((i * i / 3 + 11 * i + 29 * seed) % (WORDS - 3) + 3) as u32).collect();
    Tensor::from_vec(ids, shape).unwrap()
}

/// Values of a model after three steps, and the losses' bits.
fn trained<M: Module>(
    model: &M,
    loss: impl Fn(&M, u64) -> cairn_nn::Result<Var>,
) -> (BTreeMap<String, AnyTensor>, Vec<u32>) {
    let mut adam = AdamW::new(1e-3).weight_decay(0.1);
    let losses = (0..3).map(|step| {
        let loss = loss(model, step).unwrap();
        let mut gradients = loss.backward().unwrap();
        clip_by_global_norm(model, &mut gradients, 1.0).unwrap();
        adam.step(model, &gradients).unwrap();
        loss.item().unwrap().to_bits()
    });
    let losses = losses.collect();
    (model.state(), losses)
}

#[test]
fn a_gpt_trains_with_the_same_bits_for_any_number_of_threads() {
    let model = || Gpt::new(WORDS, CONTEXT, [2, 4, 64], &mut rng(0)).unwrap();
    let (state, losses) = for_any_threads(|| {
        trained(&model(), |model, step| {
            // Longer than a block of keys.
            let both = ids([4, 201], step as usize);
            let part = |first| both.narrow(1, first, 200).unwrap().contiguous().unwrap();
            let scores = model.forward(&part(0), &mut Context::train(0).at_step(step))?;
            cross_entropy(&scores, &part(1))
        })
    });
    assert_ne!(state, model().state());
    assert!(losses.windows(2).all(|pair| pair[0] != pair[1]), "{losses:?}");
}

/// A model of two blocks each that reads and writes, and drops.
fn seq2seq() -> Transformer {
    let description = spec::Transformer::new(WORDS).features(64).heads(4).layers(2, 2).hidden(128);
    description.dropout(0.2).layer(&mut rng(1)).unwrap()
}

fn lengths(of: &[u32]) -> SequenceMask {
    SequenceMask::of_lengths(&Tensor::from_slice(of, [of.len()]).unwrap())
}

#[test]
fn a_transformer_of_two_texts_trains_with_the_same_bits_for_any_number_of_threads() {
    let (state, _) = for_any_threads(|| {
        trained(&seq2seq(), |model, step| {
            let (source, both) = (ids([6, 40], step as usize), ids([6, 31], step as usize + 7));
            let mask = lengths(&[40, 7, 23, 40, 1, 12]);
            let mut cx = Context::train(0).at_step(step);
            cx.set_mask(Some(lengths(&[30, 9, 30, 2, 5, 17])));
            let part = |first| both.narrow(1, first, 30).unwrap().contiguous().unwrap();
            let states = model.forward(&source, Some(&mask), &part(0), &mut cx)?;
            let options = LinearCrossEntropyOptions::default().smoothing(0.1).ignored(5);
            let (sum, weight) = states.linear_cross_entropy(&model.head.var(), None, &part(1), &options)?;
            Ok(sum.scale(1.0 / weight)?)
        })
    });
    assert_ne!(state, seq2seq().state());
}

/// A GPT that keeps nothing: it reads each text from its beginning for each token, by itself.
struct Anew<'a>(&'a Gpt);

impl Decoder for Anew<'_> {
    type State = Vec<Vec<u32>>;

    fn next(&self, tokens: &[&[u32]], texts: &mut Self::State) -> cairn_nn::Result<Tensor> {
        let mut rows = Vec::new();
        for (text, tokens) in texts.iter_mut().zip(tokens) {
            text.extend_from_slice(tokens);
            let read = Tensor::from_slice(text, [1, text.len()])?;
            let scores = no_grad(|| self.0.forward(&read, &mut Context::eval()))?;
            rows.push(scores.value().narrow(1, text.len() - 1, 1)?.reshape([1, WORDS])?);
        }
        Ok(Tensor::cat(&rows.iter().collect::<Vec<_>>(), 0)?)
    }

    fn pick(&self, texts: &mut Self::State, rows: &[usize]) -> cairn_nn::Result<()> {
        *texts = rows.iter().map(|&row| texts[row].clone()).collect();
        Ok(())
    }
}

/// The tokens of texts none of which failed.
fn complete(texts: Vec<Written>) -> Vec<Vec<u32>> {
    texts.into_iter().map(|text| text.complete().unwrap()).collect()
}

/// What is written by each of these ways and what beams find, each the same alone, in a batch, and with nothing kept.
fn written(model: &Gpt) -> (Vec<Vec<Vec<u32>>>, Vec<Vec<Hypothesis>>) {
    let texts = [200, 5, 61].map(|length| ids([1, length], length).to_vec());
    let prompts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let nothing = || vec![Vec::new(); prompts.len()];
    let samplings = [Sampling::greedy(), Sampling::new().top_k(40).repetition_penalty(1.2)];
    let sampled = samplings.map(|sampling| {
        let generate = Generate::new(10).sampling(sampling).stop_at([3, 4, 5, 6, 7, 8]).seed(5);
        let together =
            complete(generate.batch(model, model.cache(prompts.len()).unwrap(), &prompts).unwrap());
        for (prompt, text) in prompts.iter().zip(&together) {
            let alone = generate.stream(model, model.cache(1).unwrap(), prompt);
            assert_eq!(&alone.map(Result::unwrap).collect::<Vec<_>>(), text, "alone");
        }
        assert_eq!(complete(generate.batch(&Anew(model), nothing(), &prompts).unwrap()), together, "anew");
        together
    });
    let search = BeamSearch::new(3, 8).stop_at([3, 4, 5, 6, 7, 8]);
    let together = search.search(model, model.cache(prompts.len()).unwrap(), &prompts).unwrap();
    for (prompt, found) in prompts.iter().zip(&together) {
        assert_eq!(&search.search(model, model.cache(1).unwrap(), &[prompt]).unwrap()[0], found, "alone");
    }
    assert_eq!(search.search(&Anew(model), nothing(), &prompts).unwrap(), together, "anew");
    (sampled.to_vec(), together)
}

#[test]
fn a_gpt_writes_the_same_for_any_number_of_threads_alone_and_in_a_batch() {
    let model = Gpt::new(WORDS, CONTEXT, [2, 4, 64], &mut rng(0)).unwrap();
    let (sampled, found) = for_any_threads(|| written(&model));
    assert_ne!(sampled[0], sampled[1], "greedy and drawn");
    assert!(found.iter().all(|found| !found.is_empty()));
}

#[test]
fn a_transformer_of_two_texts_writes_the_same_for_any_number_of_threads() {
    let model = seq2seq();
    let mask = lengths(&[40, 7, 23]);
    let prompts: [&[u32]; 3] = [&[1], &[1], &[1]];
    for_any_threads(|| {
        let read = || model.read(&ids([3, 40], 2), Some(&mask), 20).unwrap();
        let sampled = complete(Generate::new(15).seed(3).batch(&model, read(), &prompts).unwrap());
        let found = BeamSearch::new(4, 15).stop_at([2, 3, 4]).search(&model, read(), &prompts).unwrap();
        (sampled, found)
    });
}

#[test]
fn memory_is_by_the_length_of_a_text_alone() {
    // By itself, since the tests beside it take memory too.
    let folder = tempfile::tempdir().unwrap();
    let alone = child::command("transformers::memory_alone", folder.path()).output().unwrap();
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stdout));
}

/// A part of the test above.
#[test]
fn memory_alone() {
    if child::folder().is_none() {
        return;
    }
    let grown = |step: &dyn Fn()| {
        let before = memory().live_bytes;
        step();
        (memory().peak_bytes - before) >> 20
    };
    let all = |count: usize, words: u32| (0..count as u32).map(|i| i * 7 % words).collect::<Vec<u32>>();

    // A step of a GPT: 64 MiB of scores in each block, were they ever there.
    let time = 2048;
    let model = Gpt::new(64, time, [2, 4, 32], &mut rng(0)).unwrap();
    let text = Tensor::from_vec(all(time, 64), [1, time]).unwrap();
    let step = grown(&|| {
        let scores = model.forward(&text, &mut Context::train(0)).unwrap();
        cross_entropy(&scores, &text).unwrap().backward().unwrap();
    });
    assert!(step < 32, "{step} MiB for a step of {time} tokens");

    // A loss over a vocabulary by the table of the embedding: 64 MiB of scores of all tokens.
    let (time, words) = (1024, 1 << 14);
    let table = Embedding::new(words, 32, &mut rng(0)).unwrap();
    let block = spec::TransformerEncoderLayer::new(4, 64).causal(true);
    let blocks = TransformerEncoder::new(2, &block, 32, &mut rng(0)).unwrap();
    let text = Tensor::from_vec(all(time, words as u32), [1, time]).unwrap();
    let step = grown(&|| {
        let states = table.forward(&text).unwrap();
        let states = blocks.forward(&states, &mut Context::train(0)).unwrap();
        let options = LinearCrossEntropyOptions::default().smoothing(0.1);
        let (sum, _) = states.linear_cross_entropy(&table.weight.var(), None, &text, &options).unwrap();
        let gradients = sum.backward().unwrap();
        assert_eq!(gradients.of(&table.weight).unwrap().shape(), [words, 32]);
    });
    assert!(step < 48, "{step} MiB for a step of {time} tokens of {words}");
}
