//! Networks and recommenders that were saved: `predict`, `recommend`, and both over HTTP.

use std::path::{Path, PathBuf};

use cairn::nn::spec::{Dense, Embedding, Flatten};
use cairn::nn::{Model, Sequential};
use cairn::recsys::{Als, Estimator, Filter, Fitted, Interactions};
use cairn::tensor::{Tensor, rng};
use serde_json::{Value, json};

use crate::{told, written};

fn network(folder: &Path) -> (PathBuf, Sequential) {
    let path = folder.join("pixels.cairn");
    let model = Sequential::new([2, 2, 1]).add(Flatten).add(Dense::new(3)).build(&mut rng(1)).unwrap();
    model.save(&path).unwrap();
    (path, model)
}

pub(crate) fn films(folder: &Path) -> (PathBuf, Fitted<cairn::recsys::AlsModel, String, u32>) {
    let path = folder.join("films.rec");
    let ratings = (0..40u32).map(|n| (format!("user {}", n % 8), n * 7 % 15, 1.0 + (n % 5) as f32, n.into()));
    let model = Als::new().factors(4).fit(&Interactions::from_ratings(ratings).unwrap()).unwrap();
    model.save(&path).unwrap();
    (path, model)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn networks_predict_single_inputs_and_lists() {
    let folder = tempfile::tempdir().unwrap();
    let (path, model) = network(folder.path());
    let path = path.to_str().unwrap();
    let x = Tensor::from_vec(vec![0.5, 1.0, -1.0, 2.0], [1, 2, 2, 1]).unwrap();
    let expected = model.predict_batch(&x).unwrap().to_vec();
    // With no more digits than a number of 32 bits has.
    let expected: Value = expected.iter().map(|x| x.to_string().parse::<f64>().unwrap()).collect();
    for one in ["[[[0.5],[1]],[[-1],[2]]]", "[0.5,1,-1,2]"] {
        assert_eq!(lines(&written(&["predict", path, "--json", one], "")), [json!({"output": expected})]);
    }
    let several = written(&["predict", path], "[[0.5,1,-1,2],[0.5,1,-1,2]]\n\n[0.5,1,-1,2]\n");
    assert_eq!(lines(&several), [json!([expected, expected]), expected]);
    assert!(told(&["predict", path, "[1, 2]"]).contains("the network takes [2, 2, 1]"));
    assert!(told(&["predict", path, "five"]).contains("is no JSON"));
    let words = folder.path().join("words.cairn");
    let model = Sequential::new([3]).add(Embedding::new(9, 2)).add(Flatten).build(&mut rng(1)).unwrap();
    model.save(&words).unwrap();
    assert_eq!(
        lines(&written(&["predict", words.to_str().unwrap(), "[1, 2, 8]"], ""))[0].as_array().unwrap().len(),
        6
    );
    assert!(told(&["predict", words.to_str().unwrap(), "[1, 2, 0.5]"]).contains("0.5 is no id"));
}

#[test]
fn recommenders_list_items_for_users_and_histories() {
    let folder = tempfile::tempdir().unwrap();
    let (path, model) = films(folder.path());
    let path = path.to_str().unwrap();
    let expected = model.recommend("user 3", 4, &Filter::unseen()).unwrap();
    let found = lines(&written(&["recommend", path, "--user", "user 3", "-k", "4", "--json"], ""));
    let items =
        |list: &[Value]| list.iter().map(|item| item["item"].as_u64().unwrap() as u32).collect::<Vec<_>>();
    assert_eq!(items(&found), expected.iter().map(|scored| scored.id).collect::<Vec<_>>());
    let history = lines(&written(&["recommend", path, "--met", "7", "--met", "14", "-k", "3", "--json"], ""));
    let expected = model.recommend_session(&[7, 14], 3, &Filter::unseen()).unwrap();
    assert_eq!(items(&history), expected.iter().map(|scored| scored.id).collect::<Vec<_>>());
    let explained = written(&["recommend", path, "--user", "user 3", "-k", "2", "--explain"], "");
    assert!(explained.lines().all(|line| line.contains("because of ")), "{explained}");
    let first = items(&found)[0].to_string();
    let without =
        lines(&written(&["recommend", path, "--user", "user 3", "--without", &first, "--json"], ""));
    assert!(!items(&without).contains(&items(&found)[0]));
    assert!(told(&["recommend", path, "--user", "nobody"]).contains("nobody"));
    assert!(told(&["recommend", path, "--met", "tea"]).contains("tea is no item"));
}

#[test]
fn shells_are_told_how_to_complete() {
    assert!(written(&["completions", "bash"], "").contains("recommend"));
}

#[cfg(feature = "serve")]
#[test]
fn both_answer_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let ((network, _), (films, _)) = (network(folder.path()), films(folder.path()));
    let server = crate::http::Server::start(&[network.to_str().unwrap(), films.to_str().unwrap()]);
    let command = lines(&written(&["predict", network.to_str().unwrap(), "[0.5,1,-1,2]"], ""));
    let answer = server.post("/v1/predict", &json!({"model": "pixels", "input": [0.5, 1, -1, 2]}));
    assert_eq!(answer.json()["output"], command[0]);
    assert_eq!(server.post("/v1/predict", &json!({"input": [1]})).status, 400);
    let command = written(
        &["recommend", films.to_str().unwrap(), "-u", "user 1", "-k", "3", "--explain", "--json"],
        "",
    );
    let body = json!({"model": "films", "user": "user 1", "count": 3, "explain": true});
    assert_eq!(server.post("/v1/recommend", &body).json()["data"], json!(lines(&command)));
    let history = server.post("/v1/recommend", &json!({"history": [7, "14"], "count": 3})).json();
    assert_eq!(history["data"].as_array().unwrap().len(), 3);
    for bad in [
        json!({}),
        json!({"user": "nobody"}),
        json!({"history": ["tea"]}),
        json!({"user": "user 1", "count": 0}),
    ] {
        assert_eq!(server.post("/v1/recommend", &bad).status, 400, "{bad}");
    }
    let models = server.get("/v1/models").json();
    assert_eq!(
        (&models["data"][0]["input"], &models["data"][1]["about"]["users"]),
        (&json!([2, 2, 1]), &json!(8))
    );
}
