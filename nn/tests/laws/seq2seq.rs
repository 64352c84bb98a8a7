//! A model that reads one text and writes another: what it makes of a text has the same bits whatever texts are beside it, and whether
//! keys and values are kept or computed anew for each token.

use cairn_nn::generate::{BeamSearch, Decoder, Generate, LengthPenalty, Sampling, Written};
use cairn_nn::{Activation, Context, Memory, Result, SequenceMask, Transformer, spec};
use cairn_tensor::{Tensor, rng};

const WORDS: u32 = 40;
/// What begins a text, and the tokens that end one, any of them.
const BEGIN: &[u32] = &[1];
const END: [u32; 8] = [4, 8, 15, 18, 32, 33, 34, 35];

fn models() -> [Transformer; 2] {
    let small = || spec::Transformer::new(WORDS as usize).features(32).heads(4).layers(2, 2).hidden(48);
    let other = small().norm_first(true).learned_positions(30).activation(Activation::Gelu);
    [small(), other].map(|description| description.layer(&mut rng(3)).unwrap())
}

/// Texts of other lengths, one of a single token.
fn sources() -> Vec<Vec<u32>> {
    let text = |(i, length): (u32, u32)| (0..length).map(|t| (t * t + 7 * t + 13 * i) % WORDS).collect();
    (0..).zip([9, 1, 4, 12, 7]).map(text).collect()
}

/// One text, `[1, time]`.
fn one(text: &[u32]) -> Tensor<u32> {
    Tensor::from_slice(text, [1, text.len()]).unwrap()
}

/// All texts in one batch, padded behind, and which steps are theirs.
fn batch(texts: &[Vec<u32>]) -> (Tensor<u32>, SequenceMask) {
    let time = texts.iter().map(Vec::len).max().unwrap();
    let padded = texts.iter().flat_map(|text| text.iter().copied().chain(std::iter::repeat(0)).take(time));
    let padded = Tensor::from_vec(padded.collect(), [texts.len(), time]).unwrap();
    let lengths = Tensor::from_vec(texts.iter().map(|text| text.len() as u32).collect(), [texts.len()]);
    (padded, SequenceMask::of_lengths(&lengths.unwrap()))
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.iter().map(f32::to_bits).collect()
}

/// What writing all texts, or one of them alone, begins with.
fn together(model: &Transformer) -> Memory {
    let (source, mask) = batch(&sources());
    model.read(&source, Some(&mask), 20).unwrap()
}

fn alone(model: &Transformer, source: &[u32]) -> Memory {
    model.read(&one(source), None, 20).unwrap()
}

/// The same model with nothing kept: each text is computed from its beginning for each token, by itself.
struct Anew<'a>(&'a Transformer);

impl Decoder for Anew<'_> {
    /// Of each row what is read, and what was written.
    type State = Vec<[Vec<u32>; 2]>;

    fn next(&self, tokens: &[&[u32]], rows: &mut Self::State) -> Result<Tensor> {
        let mut scores = Vec::new();
        for ([source, text], tokens) in rows.iter_mut().zip(tokens) {
            text.extend_from_slice(tokens);
            let states = self.0.forward(&one(source), None, &one(text), &mut Context::eval())?;
            let last = states.index(1, text.len() - 1)?;
            scores.push(self.0.scores(&last)?.value().clone());
        }
        Ok(Tensor::cat(&scores.iter().collect::<Vec<_>>(), 0)?)
    }

    fn pick(&self, state: &mut Self::State, rows: &[usize]) -> Result<()> {
        *state = rows.iter().map(|&row| state[row].clone()).collect();
        Ok(())
    }
}

fn unread() -> Vec<[Vec<u32>; 2]> {
    sources().into_iter().map(|source| [source, Vec::new()]).collect()
}

#[test]
fn states_and_scores_have_the_same_bits_alone_and_in_a_batch() {
    let sources = sources();
    let targets: Vec<Vec<u32>> = sources.iter().rev().cloned().collect();
    let ((source, mask), (target, written)) = (batch(&sources), batch(&targets));
    for model in models() {
        let mut cx = Context::eval();
        cx.set_mask(Some(written.clone()));
        let states = model.forward(&source, Some(&mask), &target, &mut cx).unwrap();
        let scores = model.scores(&states).unwrap();
        for (row, (source, target)) in sources.iter().zip(&targets).enumerate() {
            let of_row = |x: &Tensor| bits(&x.narrow(0, row, 1).unwrap().narrow(1, 0, target.len()).unwrap());
            let alone = model.forward(&one(source), None, &one(target), &mut Context::eval()).unwrap();
            assert_eq!(bits(alone.value()), of_row(states.value()), "states of text {row}");
            let alone = model.scores(&alone).unwrap();
            assert_eq!(bits(alone.value()), of_row(scores.value()), "scores of text {row}");
        }
    }
}

/// The tokens of texts none of which failed.
fn complete(texts: Vec<Written>) -> Vec<Vec<u32>> {
    texts.into_iter().map(|text| text.complete().unwrap()).collect()
}

#[test]
fn texts_are_written_alike_alone_in_a_batch_and_with_nothing_kept() {
    let prompts = vec![BEGIN; sources().len()];
    for model in models() {
        for (sampling, drawn) in [
            (Sampling::greedy(), false),
            (Sampling::new(), true),
            (Sampling::new().temperature(0.7).top_k(12).top_p(0.9), true),
            (Sampling::greedy().repetition_penalty(1.3).no_repeat_ngram(2), false),
        ] {
            let generate = Generate::new(15).sampling(sampling).stop_at(END).seed(11);
            let texts = complete(generate.batch(&model, together(&model), &prompts).unwrap());
            // Some end before others, and leave the batch.
            assert!(!drawn || texts.iter().any(|text| text.len() != texts[0].len()), "{texts:?}");
            for (source, text) in sources().iter().zip(&texts) {
                let one = generate.stream(&model, alone(&model, source), BEGIN);
                assert_eq!(&one.collect::<Result<Vec<_>>>().unwrap(), text, "alone, {sampling:?}");
            }
            let anew = complete(generate.batch(&Anew(&model), unread(), &prompts).unwrap());
            assert_eq!(anew, texts, "with nothing kept, {sampling:?}");
        }
    }
}

#[test]
fn beams_find_the_same_alone_in_a_batch_and_with_nothing_kept() {
    let prompts = vec![BEGIN; sources().len()];
    for model in models() {
        for (beams, early, penalty) in [
            (1, true, LengthPenalty::Power(1.0)),
            (4, true, LengthPenalty::Power(0.0)),
            (5, false, LengthPenalty::Wu(0.6)),
        ] {
            let search =
                BeamSearch::new(beams, 12).stop_at(END).early_stopping(early).length_penalty(penalty);
            // Tokens, and scores to the last bit.
            let found = search.search(&model, together(&model), &prompts).unwrap();
            for (source, found) in sources().iter().zip(&found) {
                let one = search.search(&model, alone(&model, source), &prompts[..1]).unwrap();
                assert_eq!(&one[0], found, "alone, {beams} beams");
            }
            let anew = search.search(&Anew(&model), unread(), &prompts).unwrap();
            assert_eq!(anew, found, "with nothing kept, {beams} beams");
        }
    }
}
