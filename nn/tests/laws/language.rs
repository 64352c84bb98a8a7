//! Texts from text: stops, batches, log-probabilities and perplexity against what the network says; vectors of texts.

use cairn_nn::generate::{Generate, Request, Sampling};
use cairn_nn::language::{Encoder, LanguageModel, Pooling, TextEvent, user};
use cairn_nn::models::{self, Config, Network};
use cairn_nn::tokenizer::{ChatTemplate, Tokenizer};
use cairn_nn::{Context, Result};
use cairn_tensor::{Tensor, rng};

use crate::tokenizer::byte_level;

fn config(kind: &str, context: usize) -> Config {
    let text = serde_json::json!({
        "model_type": kind, "vocab_size": 265, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": context, "initializer_range": 0.4,
    });
    Config::parse(&text.to_string()).unwrap()
}

fn model(context: usize) -> LanguageModel {
    let Network::Causal(network) = models::new(&config("llama", context), &mut rng(3)).unwrap() else {
        panic!()
    };
    let template = ChatTemplate::parse("<s>{{ messages[0].content }}</s>").unwrap();
    LanguageModel::new(network, Tokenizer::parse(&byte_level()).unwrap(), Some(template), vec![1])
}

fn encoder() -> Encoder {
    let Network::Encoder(network) = models::new(&config("bert", 40), &mut rng(4)).unwrap() else { panic!() };
    Encoder::new(network, Tokenizer::parse(&byte_level()).unwrap())
}

fn greedy(tokens: usize) -> Generate {
    Generate::new(tokens).sampling(Sampling::greedy())
}

fn all(text: cairn_nn::language::Text<'_>) -> String {
    text.collect::<Result<String>>().unwrap()
}

#[test]
fn a_text_is_the_same_alone_in_a_batch_and_token_by_token() {
    let model = model(64);
    let prompts = ["the rain", "a", "in Spain, the"];
    for settings in [greedy(20), Generate::new(20).seed(5)] {
        let alone: Vec<String> =
            prompts.iter().map(|prompt| all(model.generate(prompt, &settings).unwrap())).collect();
        assert_eq!(model.generate_batch(&prompts, &settings).unwrap(), alone);
    }
    let other = all(model.generate("a", &Generate::new(20).seed(6)).unwrap());
    assert_ne!(other, all(model.generate("a", &Generate::new(20).seed(5)).unwrap()));
}

#[test]
fn a_text_ends_before_what_is_to_stop_it() {
    let model = model(64);
    let whole = all(model.generate("the", &greedy(30)).unwrap());
    let chars: Vec<char> = whole.chars().collect();
    assert!(chars.len() > 8, "{whole:?}");
    let stop: String = chars[4..7].iter().collect();
    let end = whole.find(&stop).unwrap();
    let text = model.generate("the", &greedy(30)).unwrap().until([stop.clone()]);
    let pieces: Vec<String> = text.map(Result::unwrap).collect();
    assert_eq!(pieces.concat(), whole[..end]);
    // What only looks like the beginning of a stop is written in the end.
    let never = format!("{}\u{1}", chars.last().unwrap());
    assert_eq!(all(model.generate("the", &greedy(30)).unwrap().until([never])), whole);
}

#[test]
fn texts_of_many_requests_are_those_alone() {
    let model = model(64);
    let mut batcher = model.batcher(2, 64).unwrap().speculate(4);
    let whole = all(model.generate("the", &greedy(30)).unwrap());
    let stop: String = whole.chars().skip(4).take(3).collect();
    let asked = [("the", vec![]), ("the", vec![stop]), ("in Spain, the", vec!["q".to_owned()])];
    let ids = asked.clone().map(|(prompt, stops)| {
        let prompt = model.tokenizer().encode(prompt).unwrap();
        batcher.push(Request::new(prompt, greedy(30)).log_probabilities(0), stops).unwrap()
    });
    let mut texts = [const { String::new() }; 3];
    let (mut counts, mut ends) = ([0; 3], Vec::new());
    while !batcher.is_idle() {
        for event in batcher.step() {
            match event {
                TextEvent::Piece { request, text, tokens } => {
                    let at = ids.iter().position(|id| *id == request).unwrap();
                    texts[at] += &text;
                    counts[at] += tokens.len();
                    assert!(tokens.iter().all(|(_, scores)| scores.as_ref().unwrap().log_probability <= 0.0));
                }
                TextEvent::End { request, usage, .. } => ends.push((request, usage.written)),
                _ => unreachable!("there are no other events"),
            }
        }
    }
    for (at, (prompt, stops)) in asked.into_iter().enumerate() {
        assert_eq!(texts[at], all(model.generate(prompt, &greedy(30)).unwrap().until(stops)));
        assert!(ends.contains(&(ids[at], counts[at])), "each token is told of once");
    }
    assert!(texts[1].len() < whole.len());
}

#[test]
fn conversations_go_through_the_template() {
    let model = model(64);
    let prompt = model.prompt([user("the")]).unwrap();
    assert_eq!(prompt, model.tokenizer().encode_bare("<s>the</s>").unwrap());
    let answer = all(model.chat([user("the")], &greedy(10)).unwrap());
    assert_eq!(answer, all(model.continued(&prompt, &greedy(10)).unwrap()));
}

#[test]
fn log_probabilities_are_the_networks() {
    let model = model(64);
    let text = "the rain in";
    let ids = model.tokenizer().encode(text).unwrap();
    let tensor = Tensor::from_slice(&ids, [1, ids.len()]).unwrap();
    let scores = model.network().forward(&tensor, &mut Context::eval()).unwrap();
    let scores = scores.value().log_softmax(2).unwrap();
    let found = model.log_probabilities(text).unwrap();
    assert_eq!(found.len(), ids.len() - 1);
    for (at, (id, value)) in found.into_iter().enumerate() {
        assert_eq!(id, ids[at + 1]);
        let theirs = scores.get(&[0, at, id as usize]).unwrap();
        assert!((value - f64::from(theirs)).abs() < 1e-5);
    }
    let mut written = model.generate(text, &greedy(3)).unwrap();
    assert_eq!(written.log_probability().unwrap(), None);
    let first = scores.index(1, ids.len() - 1).unwrap();
    let best = first.iter().fold(f32::MIN, f32::max);
    written.next().unwrap().unwrap();
    if written.token_count() == 1 {
        assert!((written.log_probability().unwrap().unwrap() - f64::from(best)).abs() < 1e-5);
    }
}

#[test]
fn perplexity_foretells_each_token_once() {
    let model = model(32);
    let text = "the rain in Spain stays mainly in the plain, they say.";
    let ids = model.tokenizer().encode(text).unwrap();
    let naive = |window: usize, stride: usize| {
        let (mut sum, mut count, mut done) = (0.0, 0, 1);
        for start in (0..ids.len()).step_by(stride) {
            let end = (start + window).min(ids.len());
            for at in done.max(start + 1)..end {
                let part = model.tokenizer().decode_all(&ids[start..=at]).unwrap();
                assert!(!part.contains('\u{fffd}'));
                let row = Tensor::from_slice(&ids[start..at], [1, at - start]).unwrap();
                let scores = model.network().forward(&row, &mut Context::eval()).unwrap();
                let last = scores.value().log_softmax(2).unwrap().index(1, at - start - 1).unwrap();
                sum += f64::from(last.get(&[0, ids[at] as usize]).unwrap());
                count += 1;
            }
            done = done.max(end);
            if end == ids.len() {
                break;
            }
        }
        ((-sum / f64::from(count)).exp(), count as usize)
    };
    for (window, stride) in [(8, 8), (8, 3), (32, 16), (32, 1)] {
        let found = model.perplexity(text, window, stride).unwrap();
        let (expected, count) = naive(window, stride);
        assert_eq!(found.tokens, count, "{window}, {stride}");
        assert!((found.perplexity / expected - 1.0).abs() < 1e-4, "{window}, {stride}");
    }
    assert!(model.perplexity(text, 64, 8).unwrap_err().to_string().contains("the window is 64"));
    assert!(model.perplexity(text, 8, 0).unwrap_err().to_string().contains("the stride is 0"));
    assert!(model.perplexity("", 8, 8).is_err());
}

#[test]
fn a_text_ends_with_the_context() {
    let model = model(16);
    let text = model.generate("the", &greedy(100)).unwrap();
    let prompt = model.tokenizer().encode("the").unwrap().len();
    let mut text = text;
    while text.next().is_some() {}
    assert!(text.token_count() <= 16 - prompt);
    let long = "a".repeat(40);
    let told = model.generate(&long, &greedy(1)).unwrap_err().to_string();
    assert!(told.contains("the number of tokens of the prompt is 41"), "{told}");
}

#[test]
fn vectors_of_texts_do_not_depend_on_the_batch() {
    let encoder = encoder();
    let texts: Vec<String> = (0..9).map(|n| "the rain in Spain ".repeat(n % 4) + "a").collect();
    let together = encoder.embed(&texts).unwrap();
    assert_eq!(together.shape(), [9, 16]);
    for (row, text) in texts.iter().enumerate() {
        let vector = together.index(0, row).unwrap();
        assert_eq!(vector, encoder.embed(&[text]).unwrap().index(0, 0).unwrap());
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    assert_eq!(encoder.embed::<&str>(&[]).unwrap().shape()[0], 0);
}

#[test]
fn vectors_are_made_as_the_settings_say() {
    let encoder = encoder().normalized(false);
    let ids = encoder.tokenizer().encode("the rain").unwrap();
    let row = Tensor::from_slice(&ids, [1, ids.len()]).unwrap();
    let states = encoder.network().forward(&row, &mut Context::eval()).unwrap();
    let states = states.value().index(0, 0).unwrap();
    let near = |ours: Tensor, theirs: Tensor| {
        assert!(ours.iter().zip(theirs.iter()).all(|(a, b)| (a - b).abs() < 1e-5));
    };
    near(encoder.embed(&["the rain"]).unwrap(), states.mean(0).unwrap());
    let encoder = encoder.pooling(Pooling::First);
    near(encoder.embed(&["the rain"]).unwrap(), states.index(0, 0).unwrap());
    let encoder = encoder.pooling(Pooling::Max);
    near(encoder.embed(&["the rain"]).unwrap(), states.max(0).unwrap());
    // A text beyond what is read has the vector of its beginning, with the last token of the whole.
    let cut = encoder.longest(4).embed(&["aaaaaaaaaa"]).unwrap();
    assert_eq!(cut.shape(), [1, 16]);
}

/// A published model whose tokenizer has three tokens of the 48 that it scores.
fn published(name: &str) -> tempfile::TempDir {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name);
    let made = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(file), made.path().join(file)).unwrap();
    }
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1, "sky": 2}, "unk_token": "[UNK]"}
    });
    std::fs::write(made.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    made
}

#[test]
fn ids_that_pad_a_models_table_are_no_text() {
    let made = published("llama");
    let model = LanguageModel::load(made.path()).unwrap();
    assert_eq!((model.vocabulary(), model.tokenizer().len()), (48, 3));
    assert_eq!(model.tokenizer().decode(&[1, 47, 2]).unwrap(), "the sky");
    let beyond = model.tokenizer().decode(&[48]).unwrap_err().to_string();
    assert!(beyond.contains("the id of a token is 48"), "{beyond}");
    // Whatever of the 48 it writes, the text goes on.
    let written = (0..8).map(|seed| {
        let mut text = model.generate("the", &Generate::new(30).seed(seed)).unwrap();
        for piece in &mut text {
            piece.unwrap();
        }
        text.token_count()
    });
    assert!(written.sum::<usize>() > 0);
}

#[test]
fn what_the_publisher_suggests_is_read_beside_the_weights() {
    use serde_json::json;
    let made = published("llama");
    let said = |value: serde_json::Value| {
        std::fs::write(made.path().join("generation_config.json"), value.to_string()).unwrap();
        LanguageModel::load(made.path())
    };
    let written = |model: &LanguageModel| {
        let mut text = model.generate("the", &greedy(8)).unwrap();
        text.by_ref().for_each(|piece| drop(piece.unwrap()));
        text.token_count()
    };
    // Without the file: the model's own distribution, and the end that config.json has.
    let model = LanguageModel::load(made.path()).unwrap();
    assert_eq!((model.suggested(), model.ends(), written(&model)), (Sampling::new(), &[2][..], 8));

    let all = json!({
        "do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1,
        "eos_token_id": [38, 7], "transformers_version": "5.24.0",
    });
    let model = said(all).unwrap();
    let expected = Sampling::new().temperature(0.6).top_k(20).top_p(0.95).min_p(0.05).repetition_penalty(1.1);
    assert_eq!((model.suggested(), model.ends()), (expected, &[2, 7, 38][..]));
    // The third token that it writes otherwise: texts end before it.
    assert_eq!(written(&model), 2);

    let model = said(json!({"eos_token_id": 7, "temperature": null, "top_k": 0})).unwrap();
    assert_eq!((model.suggested(), model.ends()), (Sampling::new(), &[2, 7][..]));
    let model = said(json!({"do_sample": false, "bos_token_id": 1})).unwrap();
    assert_eq!((model.suggested(), model.ends()), (Sampling::greedy(), &[2][..]));
    for (wrong, why) in [(json!({"temperature": "warm"}), "`temperature` is \"warm\""), (json!([]), "")] {
        let told = said(wrong).unwrap_err().to_string();
        assert!(told.contains("generation_config.json") && told.contains(why), "{told}");
    }
}

#[test]
fn templates_are_given_more_values() {
    let template =
        ChatTemplate::parse("{{ messages[0].content }}{{ mood }}{{ add_generation_prompt }}").unwrap();
    let more = serde_json::json!({"mood": " gladly ", "add_generation_prompt": "no"});
    let text = template.render_with(&[user("Hi")], true, more.as_object().unwrap()).unwrap();
    assert_eq!(text, "Hi gladly True");
}

#[test]
fn vectors_of_a_published_encoder_are_made_as_is_said_beside_it() {
    use serde_json::json;
    let made = published("bert");
    let write = |name: &str, text: &str| {
        let path = made.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let parts = |kinds: &[&str]| {
        let part = |kind: &&str| json!({"path": if *kind == "Pooling" { "1_Pooling" } else { "" }, "type": format!("sentence_transformers.models.{kind}")});
        write("modules.json", &kinds.iter().map(part).collect::<serde_json::Value>().to_string());
    };
    let pooling = |value: serde_json::Value| write("1_Pooling/config.json", &value.to_string());
    let encoder = || Encoder::load(made.path()).unwrap();
    let vector = |encoder: Encoder| encoder.embed(&["the sky is the"]).unwrap();
    let told = || Encoder::load(made.path()).unwrap_err().to_string();
    let mean = vector(encoder());
    assert_eq!(encoder().features(), Some(16));

    parts(&["Transformer", "Pooling", "Normalize"]);
    assert!(told().contains("1_Pooling"), "{}", told());
    pooling(json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}));
    assert_eq!(vector(encoder()), mean);
    for (name, mode) in
        [("cls_token", Pooling::First), ("max_tokens", Pooling::Max), ("lasttoken", Pooling::Last)]
    {
        pooling(json!({format!("pooling_mode_{name}"): true}));
        let found = vector(encoder());
        assert_ne!(found, mean, "{name}");
        assert_eq!(found, vector(encoder().pooling(mode)), "{name}");
    }
    // As newer files have it.
    for (mode, known) in [
        (json!("cls"), Some(Pooling::First)),
        (json!(["lasttoken"]), Some(Pooling::Last)),
        (json!("mean"), Some(Pooling::Mean)),
        (json!("weightedmean"), None),
        (json!(["cls", "mean"]), None),
        (json!(5), None),
    ] {
        pooling(json!({"pooling_mode": mode, "pooling_mode_max_tokens": true}));
        match known {
            Some(known) => assert_eq!(vector(encoder()), vector(encoder().pooling(known)), "{mode}"),
            None => assert!(told().contains("not known here"), "{}", told()),
        }
    }
    pooling(json!({"pooling_mode": "cls"}));
    assert_ne!(vector(encoder()), mean);
    pooling(json!({"pooling_mode_weightedmean_tokens": true}));
    assert!(told().contains("1_Pooling") && told().contains("weightedmean_tokens"), "{}", told());
    pooling(json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}));
    assert!(told().contains("1_Pooling") && told().contains("several ways"), "{}", told());
    write("1_Pooling/config.json", "{");
    assert!(told().contains("1_Pooling"), "{}", told());
    pooling(json!({"pooling_mode_cls_token": true}));
    parts(&["Transformer", "Pooling", "Dense"]);
    assert!(told().contains("modules.json") && told().contains("Dense"), "{}", told());
    write("modules.json", r#"[{"type": "Pooling", "path": "../elsewhere"}]"#);
    assert!(told().contains("modules.json"), "{}", told());

    // Written anew, it is the same encoder.
    parts(&["Transformer", "Pooling", "Normalize"]);
    let Network::Encoder(network) = models::load(made.path()).unwrap() else { panic!() };
    let other = made.path().join("other");
    models::save_like(made.path(), &network, &other).unwrap();
    assert_eq!(vector(Encoder::load(&other).unwrap()), vector(encoder()));

    // … wherever its pooling is; nothing is taken from elsewhere.
    let list = |path: &str| {
        let parts = json!([{"type": "Transformer"}, {"type": "models.Pooling", "path": path}]);
        write("modules.json", &parts.to_string());
    };
    write("parts/vectors/config.json", &json!({"pooling_mode": "max"}).to_string());
    list("parts/vectors");
    let other = made.path().join("another");
    models::save_like(made.path(), &network, &other).unwrap();
    assert_eq!(vector(Encoder::load(&other).unwrap()), vector(encoder()));
    assert!(!other.join("1_Pooling").exists());
    for outside in ["../elsewhere", "parts/../../elsewhere", "/elsewhere"] {
        list(outside);
        assert!(told().contains("leads out of the folder"), "{}", told());
        // What was trained is kept all the same.
        let other = made.path().join("third");
        models::save_like(made.path(), &network, &other).unwrap();
        let error = Encoder::load(&other).unwrap_err().to_string();
        assert!(error.contains("modules.json") && error.contains("leads out of the folder"), "{error}");
        let copied = std::fs::read_dir(&other).unwrap().map(|entry| entry.unwrap().path());
        assert!(copied.into_iter().all(|path| path.is_file()));
    }
}

#[test]
fn tokens_are_embedded_as_their_text_and_any_context_is_enough() {
    let encoder = encoder();
    let ids = encoder.tokenizer().encode("the rain").unwrap();
    assert_eq!(encoder.embed_tokens(&[ids]).unwrap(), encoder.embed(&["the rain"]).unwrap());
    assert!(encoder.embed_tokens(&[[1000u32]]).is_err());
    assert_eq!((encoder.context(), encoder.longest(usize::MAX).context()), (40, 40));
    let Network::Encoder(network) = models::new(&config("bert", 1), &mut rng(4)).unwrap() else { panic!() };
    let short = Encoder::new(network, Tokenizer::parse(&byte_level()).unwrap()).longest(9);
    assert_eq!(short.context(), 1);
    assert_eq!(short.embed(&["the rain"]).unwrap().shape(), [1, 16]);
}
