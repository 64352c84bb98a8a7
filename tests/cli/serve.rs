//! `cairn serve` as its clients see it: OpenAI's, those that send nonsense, and those that leave.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::http::Server;
use crate::{copied, long_model, model, written};

fn chat(content: &str, most: usize) -> Value {
    json!({"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": most})
}

pub(crate) fn completion(prompt: &str, most: usize) -> Value {
    json!({"prompt": prompt, "temperature": 0, "max_tokens": most})
}

pub(crate) fn text(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// Waits until something holds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn chats_are_those_of_the_command() {
    let made = model();
    let path = made.path().to_str().unwrap();
    let server = Server::start(&[path]);
    let alone = written(&["chat", path, "-n", "12", "--greedy", "-m", "hello"], "");
    let alone = alone.trim_end_matches('\n');

    let answer = server.post("/v1/chat/completions", &chat("hello", 12));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let whole = answer.json();
    assert_eq!(
        whole["choices"][0]["message"],
        json!({"role": "assistant", "content": alone, "refusal": null})
    );
    assert_eq!(
        (&whole["object"], &whole["choices"][0]["finish_reason"]),
        (&json!("chat.completion"), &json!("length"))
    );
    let prompt = "user: hello".len();
    assert_eq!(
        (&whole["usage"]["prompt_tokens"], &whole["usage"]["completion_tokens"]),
        (&json!(prompt), &json!(12))
    );

    let mut body = chat("hello", 12);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let answer = server.post("/v1/chat/completions", &body);
    assert!(answer.head.contains("content-type: text/event-stream"), "{}", answer.head);
    let events = answer.events();
    assert!(
        events
            .iter()
            .all(|event| event["object"] == "chat.completion.chunk" && event["id"] == events[0]["id"])
    );
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let pieces = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(pieces.collect::<String>(), alone);
    let [end, usage] = events.last_chunk().unwrap();
    assert_eq!(end["choices"][0]["finish_reason"], "length");
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(12)));

    // Parts of texts, the newer name of the system's role, and log-probabilities.
    let body = json!({
        "model": whole["model"], "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "temperature": 0, "max_completion_tokens": 3, "logprobs": true, "top_logprobs": 2,
    });
    let scored = server.post("/v1/chat/completions", &body).json();
    let content = scored["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let tokens: String = content.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(tokens, alone.chars().take(3).collect::<String>());
    for token in content {
        let likeliest = token["top_logprobs"].as_array().unwrap();
        assert_eq!((likeliest.len(), &likeliest[0]["logprob"]), (2, &token["logprob"]));
    }
}

#[test]
fn completions_are_those_of_the_command() {
    let made = model();
    let path = made.path().to_str().unwrap();
    let server = Server::start(&[path]);
    let alone = written(&["generate", path, "the rain", "-n", "20", "--greedy"], "");
    let alone = alone.trim_end_matches('\n');
    let whole = server.post("/v1/completions", &completion("the rain", 20)).json();
    assert_eq!((text(&whole), &whole["object"]), (alone, &json!("text_completion")));

    let mut stopped = completion("the rain", 20);
    let stop: String = alone.chars().skip(5).take(2).collect();
    stopped["stop"] = json!([stop, "never"]);
    let stopped = server.post("/v1/completions", &stopped).json();
    assert_eq!(text(&stopped), &alone[..alone.find(&stop).unwrap()]);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");

    // Several prompts, several texts of each; the same seed gives the same.
    let body = json!({"prompt": ["the rain", "in spain"], "n": 2, "seed": 5, "max_tokens": 9, "logprobs": 1});
    let several = server.post("/v1/completions", &body).json();
    let texts = |answer: &Value| -> Vec<String> {
        let choices = answer["choices"].as_array().unwrap();
        assert!(choices.iter().enumerate().all(|(index, choice)| choice["index"] == index));
        choices.iter().map(|choice| choice["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((texts(&several).len(), &several["usage"]["prompt_tokens"]), (4, &json!(16)));
    assert_eq!(texts(&several), texts(&server.post("/v1/completions", &body).json()));
    let first = written(&["generate", path, "the rain", "-n", "9", "--seed", "5"], "");
    assert_eq!(texts(&several)[0], first.trim_end_matches('\n'));
    assert_eq!(several["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap().len(), 9);
    assert_eq!(
        server.post("/v1/completions", &json!({"prompt": [3, 4], "max_tokens": 0})).json()["choices"][0]["text"],
        ""
    );
}

#[test]
fn tokens_are_where_their_texts_are_though_some_of_a_text_is_held_back() {
    let made = model();
    // Each letter twice, so that a text to stop at may begin in the middle of a token.
    let path = made.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let twice =
        |token: &str| if token.len() == 1 && token != "?" { token.repeat(2) } else { token.to_owned() };
    let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let doubled: Map<String, Value> =
        vocabulary.iter().map(|(token, id)| (twice(token), id.clone())).collect();
    tokenizer["model"]["vocab"] = doubled.into();
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let server = Server::start(&[made.path().to_str().unwrap()]);

    // "the rain", as other tests have it, in tokens.
    let prompt = [21, 9, 6, 28, 19, 2, 10, 15];
    let mut body = json!({"prompt": prompt, "temperature": 0, "max_tokens": 12, "logprobs": 0});
    let whole = server.post("/v1/completions", &body).json();
    let scores = &whole["choices"][0]["logprobs"];
    let (mut at, mut places) = (0, Vec::new());
    for token in scores["tokens"].as_array().unwrap() {
        places.push(at);
        at += token.as_str().unwrap().chars().count();
    }
    assert!(places.len() > 4 && at == text(&whole).chars().count(), "{whole}");
    assert_eq!(scores["text_offset"], json!(places));

    // Never written; but whatever ends with its first letter is held back until the next token.
    let letter = text(&whole).chars().next().unwrap();
    body["stop"] = json!(format!("{letter}#"));
    let stopped = server.post("/v1/completions", &body).json();
    let told = &stopped["choices"][0]["logprobs"]["text_offset"];
    assert_eq!((text(&stopped), told), (text(&whole), &json!(places)));
    body["stream"] = json!(true);
    let events = server.post("/v1/completions", &body).events();
    let told = events.iter().filter_map(|event| event["choices"][0]["logprobs"]["text_offset"].as_array());
    assert_eq!(told.flatten().cloned().collect::<Value>(), json!(places));
}

#[test]
fn sentences_become_vectors_as_numbers_or_bytes() {
    let made = copied("bert");
    let path = made.path().to_str().unwrap();
    let server = Server::start(&[path]);
    let line: Value = serde_json::from_str(&written(&["embed", path, "--json", "a cat"], "")).unwrap();
    let numbers = server.post("/v1/embeddings", &json!({"input": ["a dog", "a cat"]})).json();
    assert_eq!(numbers["data"][1]["embedding"], line["embedding"]);
    assert_eq!(numbers["usage"]["prompt_tokens"], 10);
    let bytes = server.post("/v1/embeddings", &json!({"input": "a cat", "encoding_format": "base64"})).json();
    // 16 numbers of 4 bytes.
    assert_eq!(bytes["data"][0]["embedding"].as_str().unwrap().len(), 64usize.div_ceil(3) * 4);
    assert_eq!(server.post("/v1/embeddings", &json!({"input": []})).status, 400);
    // Tokens in place of a text: "a cat".
    let tokens = server.post("/v1/embeddings", &json!({"input": [[2, 28, 4, 2, 21]]})).json();
    assert_eq!(tokens["data"][0]["embedding"], line["embedding"]);
    assert_eq!(server.post("/v1/embeddings", &json!({"input": [[1_000_000]]})).status, 400);
    assert_eq!(server.post("/v1/embeddings", &json!({"input": "a cat", "dimensions": 8})).status, 400);
    let mut long = json!({"input": "a".repeat(5000)});
    assert_eq!(server.post("/v1/embeddings", &long).status, 200);
    long["truncate"] = json!(false);
    let refused = server.post("/v1/embeddings", &long);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("context_length_exceeded")));
    assert_eq!(server.post("/v1/chat/completions", &chat("hello", 1)).status, 404);
}

#[test]
fn what_makes_no_sense_is_told_and_harms_nobody() {
    let made = model();
    let server = Server::start(&[made.path().to_str().unwrap()]);
    let told = |path: &str, body: &[u8]| {
        let answer = server.send("POST", path, "Content-Type: application/json\r\n", body);
        let error = answer.json()["error"].clone();
        assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
        (answer.status, error["message"].as_str().unwrap().to_owned(), error["code"].clone())
    };
    let of = |value: Value| told("/v1/completions", value.to_string().as_bytes());
    for malformed in
        [&b""[..], b"{", b"[]", b"nonsense", b"\xff\xfe", b"{\"prompt\": 5}", b"{\"max_tokens\": 5}"]
    {
        assert_eq!(told("/v1/completions", malformed).0, 400, "{malformed:?}");
        assert_eq!(told("/v1/chat/completions", malformed).0, 400, "{malformed:?}");
        assert_eq!(told("/v1/embeddings", malformed).0, 400, "{malformed:?}");
    }
    assert_eq!(told("/v1/chat/completions", "[".repeat(200_000).as_bytes()).0, 400);
    for (name, value) in [
        ("temperature", json!(-1)),
        ("temperature", json!("warm")),
        ("top_p", json!(-0.5)),
        ("top_k", json!(-2)),
        ("n", json!(0)),
        ("n", json!(1000)),
        ("max_tokens", json!(-2)),
        ("max_completion_tokens", json!(-2)),
        ("max_tokens", json!(0.5)),
        ("logprobs", json!(21)),
        ("echo", json!(true)),
        ("logit_bias", json!({"5": 1})),
        ("frequency_penalty", json!(0.5)),
        ("stop", json!(vec!["x"; 99])),
        ("stop", json!("x".repeat(2000))),
        ("min_tokens", json!(5)),
        ("guided_regex", json!("a+")),
        ("chat_template_kwargs", json!({"enable_thinking": false})),
        // More texts than the server ever writes or lets wait.
        ("prompt", json!(vec!["the"; 73])),
        ("prompt", json!([])),
    ] {
        let mut body = completion("the", 1);
        body[name] = value;
        assert_eq!(of(body).0, 400, "{name}");
    }
    // Of 64 tokens that the model reads.
    let (status, message, code) = of(completion(&"a".repeat(64), 1));
    assert_eq!((status, code), (400, json!("context_length_exceeded")), "{message}");
    // A token that there is not.
    let (status, message, _) = of(json!({"prompt": [3, 1_000_000], "max_tokens": 3}));
    assert!(status == 400 && message.contains("the token 1000000"), "{message}");
    for (name, value) in [
        ("top_logprobs", json!(2)),
        ("tool_choice", json!("required")),
        ("reasoning_effort", json!("high")),
        ("chat_template_kwargs", json!({"messages": []})),
        ("messages", json!([{"role": "tool", "content": "5"}])),
        (
            "messages",
            json!([{"role": "assistant", "tool_calls": [{"id": "1"}]}, {"role": "user", "content": "hi"}]),
        ),
    ] {
        let mut body = chat("hi", 1);
        body[name] = value;
        assert_eq!(told("/v1/chat/completions", body.to_string().as_bytes()).0, 400, "{name}");
    }
    let (status, message, code) = of(json!({"model": "other", "prompt": "x"}));
    assert_eq!((status, code), (404, json!("model_not_found")));
    assert!(message.contains("there is no model `other`"), "{message}");
    // Ten megabytes: more than a body may have, and in the other case more than the model reads.
    let large = completion(&"a".repeat(10 << 20), 1).to_string();
    assert_eq!(told("/v1/completions", large.as_bytes()).0, 413);
    assert_eq!(server.get("/v1/nowhere").status, 404);
    assert_eq!(server.get("/v1/completions").status, 405);
    let foreign = server.send("POST", "/v1/completions", "Origin: http://example.com\r\n", b"{}");
    assert_eq!(foreign.status, 403);
    // A name that was made to lead here.
    let request = String::from_utf8(server.request("GET", "/v1/models", "", b"")).unwrap();
    let mut stream = server.connect();
    stream.write_all(request.replace(&server.address, "example.com:80").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let own = format!("Origin: http://{}\r\n", server.address);
    assert_eq!(
        server.send("POST", "/v1/completions", &own, completion("the", 1).to_string().as_bytes()).status,
        200
    );
    // Half a request, and none.
    server.connect().write_all(&server.request("POST", "/v1/completions", "", b"{}")[..60]).unwrap();
    drop(server.connect());
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
    assert_eq!(text(&server.post("/v1/completions", &completion("the", 4)).json()).chars().count(), 4);
}

#[test]
fn settings_that_ask_for_nothing_are_passed_over() {
    let made = model();
    let server = Server::start(&[made.path().to_str().unwrap()]);
    let greedy = server.post("/v1/completions", &completion("the rain", 6)).json();
    // The likeliest token alone is the smallest share there is.
    let body = json!({
        "prompt": "the rain", "max_tokens": 6, "top_p": 0, "top_k": -1, "stream_options": {"include_usage": null}, "tools": [],
        "logit_bias": null, "presence_penalty": 0,
    });
    assert_eq!(text(&server.post("/v1/completions", &body).json()), text(&greedy));
    // Until there is no more room, as llama.cpp has it.
    let room = |most: i64| {
        let body = json!({"prompt": "the rain", "temperature": 0, "max_tokens": most});
        let answer = server.post("/v1/completions", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        text(&answer.json()).to_owned()
    };
    assert_eq!(room(-1), room(1000));
    let mut body = chat("hello", 4);
    body["chat_template_kwargs"] = json!({"enable_thinking": false});
    body["tool_choice"] = json!("none");
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn prompts_of_megabytes_are_refused_by_their_tokens() {
    let made = model();
    let server = Server::start(&[made.path().to_str().unwrap(), "--body-limit", "16"]);
    let answer = server.post("/v1/completions", &completion(&"a".repeat(3 << 20), 1));
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("context_length_exceeded")));
}

#[test]
fn prompts_are_counted_and_measured_before_tokens_are_made_of_them() {
    let made = model();
    let server = Server::start(&[made.path().to_str().unwrap()]);
    let lists = format!("{{\"prompt\": [{}]}}", vec!["[1]"; 3000].join(","));
    let refused = server.send("POST", "/v1/completions", "", lists.as_bytes());
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("more than 2048"), "{}", refused.body);
    // 64 tokens of at most five bytes.
    for (path, body) in [
        ("/v1/completions", completion(&"a".repeat(321), 1)),
        ("/v1/completions", json!({"prompt": ["a", "b".repeat(321)], "max_tokens": 1})),
        ("/v1/chat/completions", chat(&"a".repeat(321), 1)),
    ] {
        let error = server.post(path, &body).json()["error"].clone();
        assert_eq!(error["code"], "context_length_exceeded", "{error}");
        assert!(error["message"].as_str().unwrap().contains("at most 320 bytes"), "{error}");
    }
    let answer = server.post("/v1/completions", &completion(&"a".repeat(60), 1));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn many_clients_at_once_get_their_own_answers() {
    let made = model();
    let path = made.path().to_str().unwrap();
    let server = Server::start(&[path, "--parallel", "5", "--queue", "100"]);
    let prompts: Vec<String> = (0..64)
        .map(|n| format!("the rain in {}", "spain stays".repeat(1 + n % 3) + &n.to_string()))
        .collect();
    let ask = |prompt: &str, stream: bool| {
        let mut body = completion(prompt, 9);
        body["stream"] = json!(stream);
        let answer = server.post("/v1/completions", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        if stream {
            answer.events().iter().map(|event| text(event).to_owned()).collect::<String>()
        } else {
            text(&answer.json()).to_owned()
        }
    };
    let alone: Vec<String> = prompts.iter().map(|prompt| ask(prompt, false)).collect();
    let distinct: std::collections::BTreeSet<&String> = alone.iter().collect();
    assert!(distinct.len() > 8, "an answer tells whose it is: {distinct:?}");
    std::thread::scope(|scope| {
        let asked: Vec<_> = prompts
            .iter()
            .enumerate()
            .map(|(n, prompt)| scope.spawn(move || ask(prompt, n % 2 == 0)))
            .collect();
        for (asked, alone) in asked.into_iter().zip(&alone) {
            assert_eq!(asked.join().unwrap(), *alone);
        }
    });
    // The last answer is sent before its end is counted.
    until("all texts are told", || {
        server.metric("cairn_texts_under_way") + server.metric("cairn_texts_waiting") == 0.0
    });
    assert_eq!(server.metric("cairn_written_tokens_total"), 128.0 * 9.0);
    assert!(server.metric("cairn_cached_tokens_total") > 0.0);
}

#[test]
fn texts_of_clients_that_leave_are_given_up_and_too_many_are_refused() {
    let made = long_model();
    let server = Server::start(&[
        made.path().to_str().unwrap(),
        "--parallel",
        "1",
        "--queue",
        "0",
        "--context",
        "1000000",
    ]);
    for stream in [true, false] {
        let mut body = completion("the rain", 500_000);
        body["stream"] = json!(stream);
        let mut leaving = server.connect();
        leaving
            .write_all(&server.request("POST", "/v1/completions", "", body.to_string().as_bytes()))
            .unwrap();
        if stream {
            leaving.read_exact(&mut [0; 200]).unwrap();
        }
        until("the text is under way", || server.metric("cairn_texts_under_way") == 1.0);
        let refused = server.post("/v1/completions", &completion("the", 1));
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("rate_limit_exceeded")));
        assert!(refused.head.contains("retry-after: "), "{}", refused.head);
        drop(leaving);
        until("the text is given up", || server.metric("cairn_texts_under_way") == 0.0);
        assert_eq!(server.metric("cairn_texts_given_up_total"), if stream { 1.0 } else { 2.0 });
        until("there is room again", || server.post("/v1/completions", &completion("the", 1)).status == 200);
    }
}

#[test]
fn who_has_an_answer_may_ask_again_at_once_though_there_is_one_place() {
    let made = model();
    let server = Server::start(&[made.path().to_str().unwrap(), "--parallel", "1", "--queue", "0"]);
    for turn in 0..200 {
        let answer = server.post("/v1/completions", &completion("the", 1));
        assert_eq!(answer.status, 200, "turn {turn}: {}", answer.body);
        let mut body = completion("the", 1);
        body["stream"] = json!(true);
        let mut stream = server.connect();
        stream
            .write_all(&server.request("POST", "/v1/completions", "", body.to_string().as_bytes()))
            .unwrap();
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains("[DONE]") {
            let mut some = [0; 1 << 12];
            let count = stream.read(&mut some).unwrap();
            assert_ne!(count, 0, "turn {turn}: {}", String::from_utf8_lossy(&read));
            read.extend(&some[..count]);
        }
    }
}

#[test]
fn a_key_is_asked_for_where_there_is_one() {
    let made = model();
    let server = Server::start(&[made.path().to_str().unwrap(), "--api-key", "secret"]);
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.send("GET", "/v1/models", "Authorization: Bearer other!\r\n", b"").status, 401);
    let models = server.send("GET", "/v1/models", "Authorization: Bearer secret\r\n", b"").json();
    assert_eq!(models["data"][0]["kind"], "chat");
    assert_eq!(server.get("/health").status, 200);
    assert!(server.get("/").body.contains("<title>Cairn</title>"));
}

#[cfg(unix)]
#[test]
fn it_ends_when_asked_to() {
    let made = model();
    for signal in ["-INT", "-TERM"] {
        let mut server = Server::start(&[made.path().to_str().unwrap()]);
        assert_eq!(server.get("/health").status, 200);
        let id = server.process.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn models_are_told_apart_by_name() {
    let (one, other) = (model(), copied("bert"));
    let paths = [one.path().to_str().unwrap(), other.path().to_str().unwrap()];
    let server = Server::start(&paths);
    let models = server.get("/v1/models").json();
    let ids: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(server.get(&format!("/v1/models/{}", ids[1])).json(), models["data"][1]);
    assert_eq!(server.get("/v1/models/none").status, 404);
    let told = crate::told(&["serve", "--port", "0", paths[0], paths[0]]);
    assert!(told.contains("two models are named"), "{told}");
}

#[cfg(unix)]
#[test]
fn models_of_one_name_are_told_apart_by_the_folder_above() {
    let (made, place) = (model(), tempfile::tempdir().unwrap());
    let paths = ["one", "two"].map(|folder| {
        let path = place.path().join(folder).join("letters");
        std::fs::create_dir(place.path().join(folder)).unwrap();
        std::os::unix::fs::symlink(made.path(), &path).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let server = Server::start(&paths.each_ref().map(String::as_str));
    let models = server.get("/v1/models").json();
    let ids: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["one/letters", "two/letters"]);
    for name in ["two/letters", "two%2Fletters"] {
        assert_eq!(server.get(&format!("/v1/models/{name}")).json(), models["data"][1]);
    }
}
