//! Texts from a model whose next token depends on the two before: sampled ones against a loop written out, and beam search
//! against trying out everything.

use cairn_nn::generate::{BeamSearch, Decoder, Finish, Generate, Hypothesis, LengthPenalty, Sampling};
use cairn_nn::{Error, Result};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

const WORDS: usize = 4;
const END: u32 = 3;

/// Scores by the last two tokens, `[WORDS, WORDS, WORDS]`; the state of a row are its last two.
struct Markov(Tensor);

impl Markov {
    fn new(seed: u64) -> Self {
        Markov(Tensor::normal([WORDS, WORDS, WORDS], 0.0, 1.5, &mut rng(seed)).unwrap())
    }

    fn state(rows: usize) -> Vec<[u32; 2]> {
        vec![[0, 0]; rows]
    }

    fn scores(&self, [a, b]: [u32; 2]) -> Tensor {
        self.0.index(0, a as usize).unwrap().index(0, b as usize).unwrap()
    }

    /// All that can be written within so many tokens, with its score.
    fn everything(&self, prompt: &[u32], most: usize, penalty: impl Fn(f64) -> f64) -> Vec<Hypothesis> {
        let mut open = vec![(prompt.to_vec(), 0.0)];
        let mut all = Vec::new();
        for step in 1..=most {
            let mut next = Vec::new();
            for (text, sum) in open {
                let last = [text[text.len() - 2], text[text.len() - 1]];
                let scores = self.scores(last).log_softmax(0).unwrap().to_vec();
                for (token, score) in (0..).zip(scores) {
                    let sum = sum + f64::from(score);
                    let tokens = text[prompt.len()..].iter().copied();
                    let hypothesis = |tokens| Hypothesis { tokens, score: sum / penalty(step as f64) };
                    if token == END {
                        all.push(hypothesis(tokens.collect()));
                    } else if step == most {
                        all.push(hypothesis(tokens.chain([token]).collect()));
                    } else {
                        next.push((text.iter().copied().chain([token]).collect(), sum));
                    }
                }
            }
            open = next;
        }
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all
    }
}

impl Decoder for Markov {
    type State = Vec<[u32; 2]>;

    fn next(&self, tokens: &[&[u32]], state: &mut Self::State) -> Result<Tensor> {
        assert_eq!(tokens.len(), state.len(), "a row of tokens for each of the state");
        for (state, tokens) in state.iter_mut().zip(tokens) {
            tokens.iter().for_each(|&token| *state = [state[1], token]);
        }
        let rows: Vec<Tensor> = state.iter().map(|&last| self.scores(last)).collect();
        Ok(Tensor::stack(&rows.iter().collect::<Vec<_>>(), 0)?)
    }

    fn pick(&self, state: &mut Self::State, rows: &[usize]) -> Result<()> {
        *state = rows.iter().map(|&row| state[row]).collect();
        Ok(())
    }
}

#[test]
fn a_stream_writes_what_a_loop_written_out_does() {
    let model = Markov::new(1);
    let sampling = Sampling::new().temperature(0.9).top_k(3);
    let generate = Generate::new(40).sampling(sampling).seed(7);
    let text: Vec<u32> = generate.stream(&model, Markov::state(1), &[0, 1]).map(Result::unwrap).collect();
    assert_eq!(text.len(), 40);
    let mut all = vec![0, 1];
    for (position, &token) in text.iter().enumerate() {
        let last = [all[all.len() - 2], all[all.len() - 1]];
        let mut rng = cairn_nn::Context::train(7).at_step(position as u64).draw();
        assert_eq!(token, sampling.draw(&model.scores(last), &mut rng).unwrap());
        all.push(token);
    }
    let other: Vec<u32> =
        generate.seed(8).stream(&model, Markov::state(1), &[0, 1]).map(Result::unwrap).collect();
    assert_ne!(text, other);
}

#[test]
fn penalties_see_the_prompt_and_the_text() {
    let sampling = Sampling::greedy().no_repeat_ngram(2);
    let prompt = [1, 2, 0, 1];
    let generate = Generate::new(10).sampling(sampling);
    let mut tokens =
        generate.stream(&Markov::new(5), Markov::state(1), &prompt).take_while(Result::is_ok).count();
    let model = Markov::new(5);
    let mut stream = generate.stream(&model, Markov::state(1), &prompt);
    while tokens > 0 {
        stream.next().unwrap().unwrap();
        tokens -= 1;
    }
    let pairs: Vec<&[u32]> = stream.text().windows(2).collect();
    let mut once = pairs.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(pairs.len(), once.len(), "{pairs:?}");
    assert!(pairs.len() > prompt.len(), "something was written");
}

#[test]
fn a_text_ends_before_the_stop_token_and_after_an_error() {
    let model = Markov::new(2);
    let text: Vec<u32> = Generate::new(200)
        .stop_at([END])
        .stream(&model, Markov::state(1), &[0, 1])
        .map(Result::unwrap)
        .collect();
    assert!(!text.contains(&END) && text.len() < 200);
    // What ended the text is none of its tokens: the last is still the one before.
    let mut stream = Generate::new(200).stop_at([END]).stream(&model, Markov::state(1), &[0, 1]);
    let mut last = None;
    while stream.next().is_some() {
        last = stream.log_probability().unwrap();
    }
    assert!(last.is_some());
    assert_eq!(stream.log_probability().unwrap(), last);
    let broken = Markov(Tensor::full([WORDS, WORDS, WORDS], f32::NAN).unwrap());
    let mut stream = Generate::new(5).stream(&broken, Markov::state(1), &[0, 1]);
    assert!(matches!(stream.next(), Some(Err(Error::BadSetting { .. }))));
    assert!(stream.next().is_none());
}

#[test]
fn bad_settings_of_searches() {
    let model = Markov::new(0);
    let error = |search: BeamSearch, prompts: &[&[u32]]| {
        let error = search.search(&model, Markov::state(prompts.len()), prompts).unwrap_err();
        assert!(matches!(error, Error::BadSetting { .. }), "{error}");
    };
    error(BeamSearch::new(0, 5), &[&[0]]);
    error(BeamSearch::new(2, 0), &[&[0]]);
    error(BeamSearch::new(2, 5), &[&[0], &[]]);
    for penalty in [LengthPenalty::Wu(f64::NAN), LengthPenalty::Power(500.0), LengthPenalty::Power(-500.0)] {
        error(BeamSearch::new(2, 5).length_penalty(penalty), &[&[0]]);
    }
    let broken = Markov(Tensor::full([WORDS, WORDS, WORDS], f32::NAN).unwrap());
    assert!(BeamSearch::new(2, 5).search(&broken, Markov::state(1), &[&[0]]).is_err());
    assert!(BeamSearch::new(2, 5).search(&model, Markov::state(0), &[]).unwrap().is_empty());
    assert!(Generate::new(3).batch(&model, Markov::state(1), &[&[]]).is_err());
    let never = Generate::new(3).sampling(Sampling::new().top_p(0.0));
    assert!(matches!(never.batch(&model, Markov::state(1), &[&[0]]), Err(Error::BadSetting { .. })));
}

/// Where every token was written already there is none to draw: that is the end of a text, and of no other.
#[test]
fn a_text_that_cannot_go_on_takes_no_other_with_it() {
    let generate = Generate::new(9).sampling(Sampling::greedy().no_repeat_ngram(1)).stop_at([END]);
    let prompts: [&[u32]; 5] = [&[0], &[0, END], &[END, 2, 1, 0], &[1, 2], &[2]];
    for seed in 0..8 {
        let model = Markov::new(seed);
        let written = generate.batch(&model, Markov::state(5), &prompts).unwrap();
        for (prompt, text) in prompts.iter().zip(written) {
            let mut alone = Vec::new();
            let mut ended = Ok(());
            for token in generate.stream(&model, Markov::state(1), prompt) {
                match token {
                    Ok(token) => alone.push(token),
                    Err(error) => ended = Err(error.to_string()),
                }
            }
            assert_eq!(text.tokens, alone, "{prompt:?}");
            // Only what has the end in it already never comes to it.
            match &text.reason {
                Finish::Stop => assert!(ended.is_ok() && !prompt.contains(&END)),
                Finish::Failed(error) => assert!(ended == Err(error.to_string()) && prompt.contains(&END)),
                reason => panic!("{prompt:?}: {reason:?}"),
            }
            assert_eq!(text.complete().is_ok(), ended.is_ok());
        }
    }
    let broken = Markov(Tensor::full([WORDS, WORDS, WORDS], f32::NAN).unwrap());
    let written = generate.batch(&broken, Markov::state(2), &[&[0], &[1]]).unwrap();
    assert!(written.iter().all(|text| matches!(text.reason, Finish::Failed(_))));
    let short = Generate::new(2).batch(&Markov::new(0), Markov::state(1), &[&[0]]).unwrap();
    assert!(matches!(short[0].reason, Finish::Length) && short[0].tokens.len() == 2);
}

proptest! {
    #[test]
    fn a_batch_writes_what_each_text_alone_gets(seed: u64, starts in prop::collection::vec((0u32..3, 0u32..3), 1..5), penalty in 1.0f64..2.0) {
        let model = Markov::new(seed);
        let sampling = Sampling::new().repetition_penalty(penalty);
        let generate = Generate::new(12).sampling(sampling).stop_at([END]).seed(seed);
        let prompts: Vec<Vec<u32>> = starts.iter().enumerate().map(|(i, &(a, b))| [vec![1; i], vec![a, b]].concat()).collect();
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let together = generate.batch(&model, Markov::state(prompts.len()), &prompts).unwrap();
        for (prompt, text) in prompts.iter().zip(&together) {
            let alone: Vec<u32> = generate.stream(&model, Markov::state(1), prompt).map(Result::unwrap).collect();
            prop_assert_eq!(&alone, &text.tokens);
            prop_assert_eq!(matches!(text.reason, Finish::Length), text.tokens.len() == 12);
        }
    }

    /// With as many beams as there are texts nothing is lost; the scores are sums over every one of them.
    #[test]
    fn a_search_as_wide_as_everything_finds_the_best(seed: u64, alpha in -1.0f64..2.0, wu: bool) {
        let model = Markov::new(seed);
        let (penalty, of): (_, Box<dyn Fn(f64) -> f64>) = match wu {
            true => (LengthPenalty::Wu(alpha), Box::new(move |n| ((5.0 + n) / 6.0).powf(alpha))),
            false => (LengthPenalty::Power(alpha), Box::new(move |n| n.powf(alpha))),
        };
        let all = model.everything(&[0, 1], 4, of);
        let search = BeamSearch::new(all.len(), 4).stop_at([END]).length_penalty(penalty).early_stopping(false);
        let found = search.search(&model, Markov::state(1), &[&[0, 1]]).unwrap().remove(0);
        prop_assert_eq!(found.len(), all.len());
        for (found, all) in found.iter().zip(&all) {
            prop_assert!((found.score - all.score).abs() < 1e-6, "{:?} {:?}", found, all);
        }
        // Of texts that score the same, either may come first.
        let best = all.iter().take_while(|other| all[0].score - other.score < 1e-6);
        prop_assert!(best.map(|other| &other.tokens).any(|tokens| *tokens == found[0].tokens));
    }

    #[test]
    fn one_beam_is_greedy(seed: u64) {
        let model = Markov::new(seed);
        let greedy: Vec<u32> = Generate::new(9).sampling(Sampling::greedy()).stop_at([END])
            .stream(&model, Markov::state(1), &[1, 2]).map(Result::unwrap).collect();
        let found = BeamSearch::new(1, 9).stop_at([END]).search(&model, Markov::state(1), &[&[1, 2]]).unwrap();
        prop_assert_eq!(&found[0][0].tokens, &greedy);
    }

    #[test]
    fn sentences_of_a_batch_are_searched_as_alone(seed: u64, beams in 1usize..5, early: bool) {
        let model = Markov::new(seed);
        let search = BeamSearch::new(beams, 7).stop_at([END]).early_stopping(early);
        let prompts: [&[u32]; 3] = [&[0, 1], &[2, 2, 0], &[1, 0]];
        let together = search.search(&model, Markov::state(3), &prompts).unwrap();
        for (prompt, found) in prompts.iter().zip(&together) {
            prop_assert_eq!(&search.search(&model, Markov::state(1), &[prompt]).unwrap()[0], found);
            prop_assert!(found.len() <= beams && found.is_sorted_by(|a, b| a.score >= b.score));
        }
    }
}
