//! Texts of many requests together are those that each gets alone, to the token, however they come and go.

use cairn_nn::generate::{Batcher, Event, Generate, Request, RequestId, Sampling, Usage};
use cairn_nn::models::{self, CausalModel, Config, Network};
use cairn_nn::{Error, KeyValueCache};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

const WORDS: u32 = 24;
const CONTEXT: usize = 160;

fn model(kind: &str, seed: u64) -> Box<dyn CausalModel> {
    let text = serde_json::json!({
        "model_type": kind, "vocab_size": WORDS, "hidden_size": 16, "n_embd": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "n_layer": 2, "num_attention_heads": 4, "n_head": 4, "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT, "n_positions": CONTEXT, "sliding_window": 24, "initializer_range": 0.4,
    });
    match models::new(&Config::parse(&text.to_string()).unwrap(), &mut rng(seed)).unwrap() {
        Network::Causal(model) => model,
        Network::Encoder(_) => panic!("it writes texts"),
    }
}

#[allow(clippy::borrowed_box)] // It is the box that decodes.
fn alone(model: &Box<dyn CausalModel>, request: &Request, settings: &Generate) -> Vec<u32> {
    let cache = model.cache(1, CONTEXT).unwrap();
    settings.stream(model, cache, request.prompt()).map(Result::unwrap).collect()
}

/// All that a batcher writes until it is idle, by request.
#[derive(Default)]
struct Written {
    texts: std::collections::BTreeMap<RequestId, Vec<u32>>,
    ends: std::collections::BTreeMap<RequestId, (String, Usage)>,
    steps: usize,
}

impl Written {
    fn step(&mut self, batcher: &mut Batcher<'_>) {
        self.steps += 1;
        for event in batcher.step() {
            match event {
                Event::Token { request, token, .. } => {
                    assert!(!self.ends.contains_key(&request), "nothing comes after the end");
                    self.texts.entry(request).or_default().push(token);
                }
                Event::End { request, reason, usage } => {
                    assert!(self.ends.insert(request, (format!("{reason:?}"), usage)).is_none(), "one end");
                }
                _ => unreachable!("there are no other events"),
            }
        }
    }

    fn all(batcher: &mut Batcher<'_>) -> Self {
        let mut written = Written::default();
        while !batcher.is_idle() {
            written.step(batcher);
        }
        written
    }

    fn text(&self, id: RequestId) -> &[u32] {
        self.texts.get(&id).map_or(&[], Vec::as_slice)
    }
}

fn greedy(most: usize) -> Generate {
    Generate::new(most).sampling(Sampling::greedy())
}

/// A prompt, whether its text is the likeliest one, its seed and length, the step before which it comes, and whether it is given up.
type Asked = (Vec<u32>, bool, u64, usize, usize, bool);

fn asked() -> impl Strategy<Value = Vec<Asked>> {
    let prompt = prop_oneof![
        prop::collection::vec(0..WORDS, 1..12),
        // Longer than a chunk; of few tokens, so that beginnings are alike.
        prop::collection::vec(0..2u32, 60..120),
        (1usize..100).prop_map(|count| vec![3; count]),
    ];
    prop::collection::vec(
        (prompt, any::<bool>(), 0..3u64, 0..40usize, 0..12usize, prop::bool::weighted(0.2)),
        1..7,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn texts_together_are_those_alone(
        kind in prop::sample::select(vec!["llama", "gpt2", "mistral"]),
        seed in 0..4u64,
        rows in 1..4usize,
        guesses in prop::sample::select(vec![0, 1, 8]),
        asked in asked(),
    ) {
        let model = model(kind, seed);
        let mut batcher = Batcher::new(&*model, rows, CONTEXT).unwrap().speculate(guesses);
        let mut asked: Vec<_> = asked.into_iter().map(|(prompt, greedily, seed, most, at, given_up)| {
            let sampling = if greedily { Sampling::greedy() } else { Sampling::new().temperature(0.7).top_k(9) };
            let settings = Generate::new(most).sampling(sampling).seed(seed).stop_at([1]);
            (at, Request::new(prompt, settings.clone()), settings, given_up)
        }).collect();
        asked.sort_by_key(|(at, ..)| *at);
        let (mut written, mut ids) = (Written::default(), Vec::new());
        while ids.len() < asked.len() || !batcher.is_idle() {
            while let Some((_, request, ..)) = asked.get(ids.len()).filter(|(at, ..)| *at <= written.steps) {
                ids.push(batcher.push(request.clone()).unwrap());
            }
            written.step(&mut batcher);
            for (&id, (at, .., given_up)) in ids.iter().zip(&asked) {
                if *given_up && written.steps == at + 4 {
                    let there = batcher.cancel(id).is_some();
                    prop_assert_eq!(there, !written.ends.contains_key(&id));
                }
            }
        }
        for (id, (_, request, settings, given_up)) in ids.into_iter().zip(&asked) {
            let expected = alone(&model, request, settings);
            let found = written.text(id);
            if *given_up && !written.ends.contains_key(&id) {
                prop_assert_eq!(found, &expected[..found.len()]);
            } else {
                prop_assert_eq!(found, &expected[..]);
                let (reason, usage) = &written.ends[&id];
                prop_assert_eq!((usage.prompt, usage.written), (request.prompt().len(), expected.len()));
                prop_assert!(usage.cached < usage.prompt && usage.guessed <= usage.written);
                prop_assert!(reason == "Stop" || reason == "Length", "{}", reason);
            }
        }
    }
}

#[test]
fn a_packed_step_is_a_padded_one_without_its_padding() {
    let model = model("llama", 5);
    let run = |cache: &mut KeyValueCache, ids: &Tensor<u32>, positions: &Tensor<u32>| {
        let states = model.states_cached(ids, positions, cache).unwrap().value().clone();
        cache.end();
        states
    };
    let [mut padded, mut packed] = [(); 2].map(|()| model.cache(3, 20).unwrap());
    let steps: [[&[u32]; 3]; 3] = [[&[4, 5, 6], &[7], &[8, 9]], [&[1], &[2], &[3]], [&[1], &[2, 6, 6], &[3]]];
    for (step, rows) in steps.iter().enumerate() {
        let (ids, positions) = padded.read(rows).unwrap();
        let expected = run(&mut padded, &ids, &positions);
        // In any order.
        let order = [[0, 1, 2], [2, 0, 1], [1, 2, 0]][step];
        let parts: Vec<(usize, &[u32])> = order.iter().map(|&row| (row, rows[row])).collect();
        let (ids, positions) = packed.read_packed(&parts).unwrap();
        let found = run(&mut packed, &ids, &positions);
        let mut first = 0;
        for (row, tokens) in parts {
            let part = found.index(0, 0).unwrap().narrow(0, first, tokens.len()).unwrap();
            assert_eq!(part, expected.index(0, row).unwrap().narrow(0, 0, tokens.len()).unwrap());
            first += tokens.len();
        }
    }
    assert_eq!(packed.lengths(), padded.lengths());
}

#[test]
fn a_packed_step_refuses_what_makes_no_sense() {
    let model = model("llama", 5);
    let mut cache = model.cache(2, 4).unwrap();
    let mut told = |parts: &[(usize, &[u32])]| cache.read_packed(parts).unwrap_err().to_string();
    assert!(told(&[]).contains("the number of rows of a step is 0"));
    assert!(told(&[(2, &[1])]).contains("a row is 2"));
    assert!(told(&[(0, &[1]), (0, &[1])]).contains("named once"));
    assert!(told(&[(0, &[])]).contains("the number of tokens of a row is 0"));
    assert!(told(&[(1, &[1; 5])]).contains("the length of a text is 5"));
    assert!(cache.truncate(0, 1).is_err() && cache.truncate(2, 0).is_err());
    assert!(cache.copy_row(0, 1, 1).is_err() && cache.copy_row(0, 2, 0).is_err());
}

#[test]
fn beginnings_that_texts_share_are_computed_once() {
    let model = model("llama", 1);
    let mut batcher = Batcher::new(&*model, 3, CONTEXT).unwrap();
    let system: Vec<u32> = (0..100).map(|n| 2 + n % 7).collect();
    let question = |last: u32| [&system[..], &[9, last]].concat();
    // Both at once: the second waits for what the first reads.
    let ids = [10, 11].map(|last| batcher.push(Request::new(question(last), greedy(20))).unwrap());
    let written = Written::all(&mut batcher);
    assert_eq!(written.ends[&ids[0]].1.cached, 0);
    assert!(written.ends[&ids[1]].1.cached >= 100);
    for (id, last) in ids.into_iter().zip([10, 11]) {
        let request = Request::new(question(last), greedy(20));
        assert_eq!(written.text(id), alone(&model, &request, &greedy(20)));
    }
    // The next turn of the first conversation goes on from the whole of it.
    let turn = [&question(10)[..], written.text(ids[0]), &[12, 13]].concat();
    let id = batcher.push(Request::new(turn.clone(), greedy(5))).unwrap();
    let next = Written::all(&mut batcher);
    assert_eq!(next.ends[&id].1.cached, turn.len() - 3);
    assert_eq!(next.text(id), alone(&model, &Request::new(turn, greedy(5)), &greedy(5)));
}

#[test]
fn what_repeats_is_written_in_fewer_steps() {
    let prompt: Vec<u32> = [4, 5, 6, 7, 8].repeat(6);
    let mut all = 0;
    for (kind, seed) in
        [("llama", 0), ("llama", 1), ("llama", 2), ("mistral", 3), ("mistral", 4), ("gpt2", 2)]
    {
        let model = model(kind, seed);
        let run = |guesses| {
            let mut batcher = Batcher::new(&*model, 1, CONTEXT).unwrap().speculate(guesses);
            let id = batcher.push(Request::new(prompt.clone(), greedy(100))).unwrap();
            let written = Written::all(&mut batcher);
            (written.text(id).to_vec(), written.steps, written.ends[&id].1.guessed)
        };
        let (plain, steps, guessed) = run(0);
        assert_eq!((plain.len(), steps, guessed), (100, 100, 0));
        let (text, fewer, guessed) = run(8);
        assert_eq!(text, plain);
        assert_eq!(fewer + guessed, 100, "each guess that is right saves a step");
        all += guessed;
    }
    assert!(all > 60, "{all} of 600");
}

#[test]
fn log_probabilities_are_those_of_a_text_alone() {
    let model = model("llama", 3);
    let prompt = [3, 4, 5];
    let mut batcher = Batcher::new(&*model, 2, CONTEXT).unwrap().speculate(4);
    batcher.push(Request::new(prompt, greedy(12)).log_probabilities(3)).unwrap();
    let mut stream = greedy(12).stream(&model, model.cache(1, CONTEXT).unwrap(), &prompt);
    let mut seen = 0;
    while !batcher.is_idle() {
        for event in batcher.step() {
            let Event::Token { token, scores, .. } = event else { continue };
            assert_eq!(stream.next().unwrap().unwrap(), token);
            let (scores, theirs) = (scores.unwrap(), stream.log_probability().unwrap().unwrap());
            assert_eq!(scores.log_probability, theirs);
            assert_eq!((scores.likeliest.len(), scores.likeliest[0]), (3, (token, theirs)));
            assert!(scores.likeliest.is_sorted_by(|a, b| a.1 >= b.1));
            seen += 1;
        }
    }
    assert_eq!(seen, 12);
}

#[test]
fn what_is_wrong_with_one_ends_that_one() {
    let model = model("llama", 3);
    let mut batcher = Batcher::new(&*model, 4, CONTEXT).unwrap().waiting_at_most(3);
    let good = batcher.push(Request::new([3, 4], greedy(9))).unwrap();
    let unknown = batcher.push(Request::new([WORDS], greedy(9))).unwrap();
    let cold = Generate::new(9).sampling(Sampling::new().temperature(-1.0));
    let wrong = batcher.push(Request::new([3, 4], cold)).unwrap();
    let busy = batcher.push(Request::new([3], greedy(9))).unwrap_err();
    assert!(matches!(busy, Error::Busy { waiting: 3 }), "{busy}");
    let written = Written::all(&mut batcher);
    assert_eq!(written.text(good), alone(&model, &Request::new([3, 4], greedy(9)), &greedy(9)));
    assert!(written.ends[&unknown].0.starts_with("Failed"), "{}", written.ends[&unknown].0);
    assert!(written.ends[&wrong].0.contains("the temperature is -1"), "{}", written.ends[&wrong].0);

    let none = batcher.push(Request::new([3], greedy(0))).unwrap();
    let written = Written::all(&mut batcher);
    assert_eq!((written.text(none), &written.ends[&none].0[..]), (&[][..], "Length"));
    let long = batcher.push(Request::new(vec![3; CONTEXT], greedy(1))).unwrap_err().to_string();
    assert!(long.contains("the number of tokens of the prompt is 160"), "{long}");
    assert!(batcher.push(Request::new([], greedy(1))).is_err());
    assert!(Batcher::new(&*model, 0, 9).is_err() && Batcher::new(&*model, 1, 0).is_err());
}
