//! Many clients at once, of every kind: those that ask, those that leave in the middle, those that send nonsense or prompts that are too long.
//! Whoever is answered gets the text of the own prompt, and in the end all places are free. (`tests/load_server.py` does it for minutes,
//! with a real model.)

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::http::{Answer, Server};
use crate::model;
use crate::serve::{completion, text, until};

const CLIENTS: u64 = 64;
/// Requests of each.
const ROUNDS: u64 = 16;
/// Tokens that the model reads at most.
const CONTEXT: usize = 64;

/// What became of a request.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered,
    Refused,
    /// The client left.
    Left,
    /// There was no room.
    Later,
}

/// Numbers that look drawn, the same for the same client.
struct Draw(u64);

impl Draw {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }
}

/// What makes no sense, and the status that says so.
fn nonsense() -> Vec<(&'static str, Vec<u8>, u16)> {
    let long = completion(&"a".repeat(CONTEXT + 1), 1).to_string();
    vec![
        ("/v1/completions", b"{".to_vec(), 400),
        ("/v1/completions", b"\xff\xfe\x00".to_vec(), 400),
        ("/v1/chat/completions", b"{\"messages\": 5}".to_vec(), 400),
        ("/v1/chat/completions", "[".repeat(5000).into_bytes(), 400),
        ("/v1/completions", long.into_bytes(), 400),
        ("/v1/completions", json!({"prompt": [3, 1_000_000]}).to_string().into_bytes(), 400),
        ("/v1/completions", json!({"model": "other", "prompt": "x"}).to_string().into_bytes(), 404),
        ("/v1/nowhere", b"{}".to_vec(), 404),
    ]
}

fn content(answer: &Answer, stream: bool) -> String {
    if stream {
        answer.events().iter().map(|event| text(event).to_owned()).collect()
    } else {
        text(&answer.json()).to_owned()
    }
}

fn one(server: &Server, asked: &[(Value, String)], draw: &mut Draw) -> Outcome {
    let kind = draw.below(8);
    if kind == 0 {
        let all = nonsense();
        let (path, body, status) = &all[draw.below(all.len())];
        let answer = server.send("POST", path, "Content-Type: application/json\r\n", body);
        assert_eq!(answer.status, *status, "{path}: {}", answer.body);
        return Outcome::Refused;
    }
    let (mut body, expected) = asked[draw.below(asked.len())].clone();
    let stream = draw.below(2) == 0;
    body["stream"] = json!(stream);
    if kind == 1 {
        body["max_tokens"] = json!(-1);
        let mut leaving = server.connect();
        leaving
            .write_all(&server.request("POST", "/v1/completions", "", body.to_string().as_bytes()))
            .unwrap();
        // At once, within the head, or within the text.
        let mut some = vec![0; draw.below(600)];
        let _ = leaving.read_exact(&mut some);
        return Outcome::Left;
    }
    let answer = server.post("/v1/completions", &body);
    if answer.status == 429 {
        return Outcome::Later;
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(content(&answer, stream), expected, "{body}");
    Outcome::Answered
}

#[test]
fn a_crowd_gets_its_own_answers_and_leaves_nothing_behind() {
    let made = model();
    let mut server = Server::start(&[made.path().to_str().unwrap(), "--parallel", "4", "--queue", "300"]);
    let asked: Vec<(Value, String)> = (0..24)
        .map(|n| {
            let prompt = format!("{n} {}", "the rain in spain stays mainly in the plain".repeat(1 + n % 2));
            let prompt: String = prompt.chars().take(5 + 2 * n).collect();
            let body = completion(&prompt, 4 + n % 6);
            let answer = server.post("/v1/completions", &body);
            assert_eq!(answer.status, 200, "{}", answer.body);
            (body, content(&answer, false))
        })
        .collect();
    let distinct: std::collections::BTreeSet<&String> = asked.iter().map(|(_, text)| text).collect();
    assert!(distinct.len() > 8, "an answer tells whose it is: {distinct:?}");

    let (shared, all) = (&server, &asked);
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut draw = Draw(client);
                    (0..ROUNDS).map(|_| one(shared, all, &mut draw)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let count = |kind: &Outcome| outcomes.iter().filter(|outcome| *outcome == kind).count();
    let [answered, refused, left] = [Outcome::Answered, Outcome::Refused, Outcome::Left].map(|k| count(&k));
    assert!(2 * answered > outcomes.len() && refused > 50 && left > 50, "{answered} {refused} {left}");

    until("all places are free", || {
        server.metric("cairn_texts_under_way") + server.metric("cairn_texts_waiting") == 0.0
    });
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
    for (body, expected) in &asked {
        assert_eq!(content(&server.post("/v1/completions", body), false), *expected, "{body}");
    }
    assert!(server.process.try_wait().unwrap().is_none(), "it still runs");
}
