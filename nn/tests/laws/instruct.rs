//! Learning from conversations: which tokens are learnt; a loss that is that of all scores; blocks computed again have the same
//! gradients; a model that learns its examples.

use std::io::Write;

use cairn_nn::adapters::Lora;
use cairn_nn::language::{Example, LanguageModel, TextBatch, Tuning, assistant, batches, system, user};
use cairn_nn::models::{self, Config, IGNORED, Network, next_token_loss};
use cairn_nn::tokenizer::{ChatTemplate, Tokenizer};
use cairn_nn::{Context, Model, Module, cross_entropy};
use cairn_tensor::{Tensor, rng};

use crate::tokenizer::{byte_level, pieces_and_bytes};

fn config() -> Config {
    config_of(16)
}

fn config_of(features: usize) -> Config {
    let text = serde_json::json!({
        "model_type": "llama", "vocab_size": 265, "hidden_size": features, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.4, "tie_word_embeddings": true,
    });
    Config::parse(&text.to_string()).unwrap()
}

fn model(template: &str) -> LanguageModel {
    model_of(&config(), template)
}

fn model_of(config: &Config, template: &str) -> LanguageModel {
    model_with(config, template, &byte_level(), 1)
}

/// With a tokenizer, and the token that ends texts.
fn model_with(config: &Config, template: &str, tokenizer: &str, end: u32) -> LanguageModel {
    let Network::Causal(network) = models::new(config, &mut rng(3)).unwrap() else { panic!() };
    let template = ChatTemplate::parse(template).unwrap();
    LanguageModel::new(network, Tokenizer::parse(tokenizer).unwrap(), Some(template), vec![end])
}

const TEMPLATE: &str = "{% for m in messages %}<{{ m.role[:1] }}>{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<a>{% endif %}";

/// The text of the tokens that are learnt, and of all.
fn texts(model: &LanguageModel, example: &Example) -> (String, String) {
    let batch = &batches(std::slice::from_ref(example), 1).unwrap()[0];
    let learned: Vec<u32> = batch.labels().iter().filter(|label| *label != IGNORED).collect();
    assert_eq!(learned.len(), example.learned());
    let text = |ids: &[u32]| model.tokenizer().decode_all(ids).unwrap();
    (text(&learned), text(example.tokens()))
}

#[test]
fn answers_are_learnt_with_their_ends_and_nothing_else() {
    let model = model(TEMPLATE);
    let talk = [system("be"), user("hi"), assistant("the rain"), user("and"), assistant("in Spain")];
    let example = model.example(talk).unwrap();
    let (learned, all) = texts(&model, &example);
    assert_eq!(all, "<s>be</s>\n<u>hi</s>\n<a>the rain</s>\n<u>and</s>\n<a>in Spain</s>");
    assert_eq!(learned, "the rain</s>in Spain</s>");
    // The prompt is what the model is given when it is asked.
    let asked = model.prompt([system("be"), user("hi")]).unwrap();
    assert!(example.tokens().starts_with(&asked));
    let (learned, all) = texts(&model, &model.completion("the", " rain").unwrap());
    assert!(all.ends_with("the rain</s>") && learned == " rain</s>", "{all:?} {learned:?}");
    assert_eq!(example.clone().cut(8).learned(), 0);
}

/// As models with SentencePiece's tokens have read them: one blank before a text, and none in the middle.
#[test]
fn answers_get_no_blank_that_the_whole_has_not() {
    let model = model_with(&config_of(16), TEMPLATE, &pieces_and_bytes(), 2);
    let example = model.example([user("a"), assistant("the"), user("in"), assistant("a")]).unwrap();
    let whole = "<u>a</s>\n<a>the</s>\n<u>in</s>\n<a>a</s>";
    assert_eq!(example.tokens(), model.tokenizer().encode_bare(whole).unwrap());
    assert_eq!(texts(&model, &example).0, "the</s>a</s>");
    assert!(example.tokens().starts_with(&model.prompt([user("a")]).unwrap()));
    let example = model.completion("a", " the").unwrap();
    let words = ["▁a", "▁the", "</s>"].map(|token| model.tokenizer().id(token).unwrap());
    assert_eq!((example.tokens(), example.learned()), (&words[..], 2));
    // What begins in the prompt and ends in the completion is learnt, as a whole.
    let example = model.completion("a t", "he").unwrap();
    assert_eq!((example.tokens(), example.learned()), (&words[..], 2));
    assert_eq!(model.completion("", "the").unwrap().tokens().len(), 2);
}

/// A template that leaves out what was thought before earlier answers, as Qwen 3's does.
#[test]
fn answers_that_are_written_otherwise_later_are_examples_of_their_own() {
    let template = "{% for m in messages %}<{{ m.role[:1] }}>\
        {% if m.role == 'assistant' and loop.last %}{{ m.content }}{% else %}{{ m.content.split('!')[-1] }}{% endif %}</s>{% endfor %}\
        {% if add_generation_prompt %}<a>{% endif %}";
    let model = model(template);
    let talk = [user("hi"), assistant("hm!the"), user("and"), assistant("so!rain")];
    assert!(model.example(&talk).unwrap_err().to_string().contains("one after the other"));
    let all: Vec<(String, String)> =
        model.examples_of(&talk).unwrap().iter().map(|example| texts(&model, example)).collect();
    let expected = [
        ("hm!the</s>", "<u>hi</s><a>hm!the</s>"),
        ("so!rain</s>", "<u>hi</s><a>the</s><u>and</s><a>so!rain</s>"),
    ];
    assert_eq!(all, expected.map(|(learned, all)| (learned.to_owned(), all.to_owned())));
    // Without thoughts it is one example.
    let plain = [user("hi"), assistant("the"), user("and"), assistant("rain")];
    assert_eq!(model.examples_of(&plain).unwrap(), [model.example(&plain).unwrap()]);
    // Lines of a file as well.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let line = serde_json::json!({ "messages": talk });
    write!(file, "{line}\n{line}\n").unwrap();
    assert_eq!(model.examples(file.path()).unwrap().len(), 4);
}

/// As Llama 3.2's template asks for the date, and as one that takes it for granted.
#[test]
fn examples_are_the_same_on_every_day() {
    let text = |before: &str| {
        let model = model(&format!("{before}{TEMPLATE}"));
        texts(&model, &model.example([user("hi"), assistant("the")]).unwrap()).1
    };
    let asks = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}a day{% endif %}";
    assert_eq!(text(asks), "a day<u>hi</s>\n<a>the</s>");
    assert_eq!(text("{{ strftime_now('%d %b %Y') }}"), "26 Jul 2024<u>hi</s>\n<a>the</s>");
    let told = model(&format!("{{{{ strftime_now('%Q') }}}}{TEMPLATE}"));
    let told = told.example([user("hi"), assistant("the")]).unwrap_err().to_string();
    assert!(told.contains("`%Q`"), "{told}");
}

#[test]
fn conversations_that_cannot_be_learnt_are_refused() {
    let told = |model: &LanguageModel| model.example([user("hi"), assistant("yes")]).unwrap_err().to_string();
    assert!(told(&model("{{ messages | length }}")).contains("one after the other"));
    let without = model(TEMPLATE).example([user("hi")]).unwrap_err().to_string();
    assert!(without.contains("a conversation without an answer"), "{without}");
}

#[test]
fn files_are_read_line_by_line() {
    let model = model(TEMPLATE);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let good = [
        r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "the"}]}"#,
        "",
        r#"{"prompt": "the ", "completion": "rain"}"#,
        r#"{"text": "in Spain"}"#,
    ];
    writeln!(file, "{}", good.join("\n")).unwrap();
    let all = model.examples(file.path()).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0], model.example([user("hi"), assistant("the")]).unwrap());
    for (line, why) in [
        (r#"{"prompt": "x"}"#, "line 6: it has neither `messages`"),
        ("{", "line 6: EOF"),
        (
            r#"{"messages": [{"role": "user", "content": "x"}]}"#,
            "line 6: no rule for learning from a conversation without",
        ),
    ] {
        let mut bad = tempfile::NamedTempFile::new().unwrap();
        write!(bad, "{}\n\n{line}\n", good.join("\n")).unwrap();
        let told = model.examples(bad.path()).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn batches_are_of_like_length_within_their_size() {
    let model = model(TEMPLATE);
    let words = ["a", "the rain in Spain stays", "in", "the rain", "hi"];
    let all: Vec<Example> = words.iter().map(|word| model.completion("", word).unwrap()).collect();
    let tokens = 8;
    let made = batches(&all, tokens).unwrap();
    assert_eq!(
        made.iter().map(TextBatch::learned).sum::<usize>(),
        all.iter().map(Example::learned).sum::<usize>()
    );
    for batch in &made {
        let &[rows, time] = batch.tokens().shape() else { panic!() };
        assert!(rows == 1 || rows * time <= tokens);
    }
    assert!(made.len() > 1 && made.len() < all.len());
}

fn tokens() -> (Tensor<u32>, Tensor<u32>) {
    let of = |ids: Vec<u32>| Tensor::from_vec(ids, [2, 5]).unwrap();
    (of(vec![3, 1, 4, 1, 5, 9, 2, 6, 5, 3]), of(vec![1, IGNORED, 1, 5, 9, 2, 6, IGNORED, IGNORED, 8]))
}

/// With a head that trains, with a frozen one, and with blocks that are computed again: one loss, one gradient.
#[test]
fn the_loss_is_that_of_all_scores_and_so_are_its_gradients() {
    let Network::Causal(network) = models::new(&config(), &mut rng(3)).unwrap() else { panic!() };
    let (x, y) = tokens();
    let kept: Vec<u32> = y.iter().filter(|label| *label != IGNORED).collect();
    let expected = || {
        let scores = network.forward(&x, &mut Context::train(0)).unwrap().reshape([10, 265]).unwrap();
        let places: Vec<u32> =
            (0..).zip(y.iter()).filter(|(_, label)| *label != IGNORED).map(|(at, _)| at).collect();
        let scores = scores.lookup(&Tensor::from_vec(places, [7]).unwrap()).unwrap();
        cross_entropy(&scores, &Tensor::from_vec(kept.clone(), [7]).unwrap()).unwrap()
    };
    let compare = |trained: &dyn Module| {
        let theirs = expected().backward().unwrap();
        for cx in [Context::train(0), Context::train(0).recomputing()] {
            let (loss, count) = next_token_loss(&*network, &x, &y, &mut cx.clone()).unwrap();
            assert_eq!(count, 7);
            assert!((loss.item().unwrap() - expected().item().unwrap()).abs() < 1e-5);
            let ours = loss.backward().unwrap();
            let mut compared = 0;
            trained.for_each_parameter(&mut |path, parameter| {
                let (a, b) = (ours.of(parameter).unwrap(), theirs.of(parameter).unwrap());
                let most = b.iter().map(f32::abs).fold(1e-3, f32::max);
                let off = a.sub(&b).unwrap().iter().map(f32::abs).fold(0.0, f32::max);
                assert!(off < 1e-4 * most, "{path} is off by {off} of {most}");
                compared += 1;
            });
            assert!(compared > 10);
        }
    };
    compare(&*network);
    let adapter = Lora::new(2).attach_as(&network, &config(), &mut rng(1)).unwrap();
    for (path, parameter) in adapter.parameters() {
        parameter.set(Tensor::normal(parameter.shape(), 0.0, 0.3, &mut rng(path.len() as u64)).unwrap());
    }
    compare(&adapter);
    // Of nothing the mean is 0, and there is nothing to learn.
    let nothing = Tensor::full([2, 5], IGNORED).unwrap();
    let (loss, count) = next_token_loss(&*network, &x, &nothing, &mut Context::train(0)).unwrap();
    assert_eq!((loss.item().unwrap(), count), (0.0, 0));
    let gradients = loss.backward().unwrap();
    for (path, parameter) in adapter.parameters() {
        assert!(gradients.of(&parameter).unwrap().iter().all(|x| x == 0.0), "{path}");
    }
    let (none, no_labels) = (Tensor::zeros([2, 0]).unwrap(), Tensor::zeros([2, 0]).unwrap());
    let told = next_token_loss(&*network, &none, &no_labels, &mut Context::eval()).unwrap_err().to_string();
    assert!(told.contains("there is no label to learn from"), "{told}");
}

/// What blocks draw is theirs, the same when they are computed again, and other for the next block.
#[test]
fn what_is_dropped_is_the_same_the_second_time() {
    let Network::Causal(network) = models::new(&config(), &mut rng(3)).unwrap() else { panic!() };
    let adapter = Lora::new(4).dropout(0.5).attach_as(&network, &config(), &mut rng(1)).unwrap();
    for (path, parameter) in adapter.parameters() {
        parameter.set(Tensor::normal(parameter.shape(), 0.0, 0.3, &mut rng(path.len() as u64)).unwrap());
    }
    let (x, y) = tokens();
    let loss = || next_token_loss(&*network, &x, &y, &mut Context::train(4).recomputing()).unwrap().0;
    let gradients = loss().backward().unwrap();
    for (path, parameter) in adapter.parameters() {
        let gradient = gradients.of(&parameter).unwrap();
        let length = gradient.norm(..).unwrap().item().unwrap();
        if length < 1e-2 {
            continue;
        }
        let step = 3e-3 / length;
        let at = |sign: f32| {
            let before = parameter.value();
            parameter.update(|value| value.add_assign(&gradient.scale(sign * step)?)).unwrap();
            let found = loss().item().unwrap();
            parameter.set(before);
            found
        };
        let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
        assert!((slope / (length * length) - 1.0).abs() < 0.05, "{path}: {slope} and {}", length * length);
    }
}

#[test]
fn a_tuned_model_answers_what_it_has_learnt() {
    // Wide enough for the frozen embeddings to tell their tokens apart.
    let config = config_of(64);
    let model = model_of(&config, TEMPLATE);
    let talks = [("hi", "the rain"), ("and", "in Spain")];
    let all: Vec<Example> = talks
        .iter()
        .map(|(question, answer)| model.example([user(*question), assistant(*answer)]).unwrap())
        .collect();
    let adapter = Lora::new(8).attach_as(model.network(), &config, &mut rng(1)).unwrap();
    let (tuning, data) = (Tuning::adapter(model.network(), &adapter), batches(&all, 256).unwrap());
    assert_eq!(tuning.parameter_count(), adapter.parameter_count());
    // By the signs of gradients, in ever smaller steps.
    for step in 0..100 {
        let loss = tuning.forward(&data, &mut Context::train(0).at_step(step)).unwrap();
        let gradients = loss.backward().unwrap();
        tuning.for_each_parameter(&mut |_, parameter| {
            let length = 0.02 * (1.0 - step as f32 / 100.0);
            let change = gradients.of(parameter).unwrap().map(|g: f32| -length * g.signum()).unwrap();
            parameter.update(|value| value.add_assign(&change)).unwrap();
        });
    }
    let settings = cairn_nn::generate::Generate::new(20).sampling(cairn_nn::generate::Sampling::greedy());
    for (question, answer) in talks {
        let text: String = model.chat([user(question)], &settings).unwrap().map(Result::unwrap).collect();
        assert_eq!(text, answer);
    }
}
