//! Networks and recommenders that were saved: `predict`, `recommend`, and both over HTTP.

use std::path::{Path, PathBuf};

use cairn::nn::spec::{Dense, Embedding, Flatten};
use cairn::nn::{Model, Sequential};
use cairn::recsys::features::{FeatureMatrix, FeatureRow, FeatureTable, LightFm, LightFmModel};
use cairn::recsys::{Als, Estimator, Filter, Fitted, Interactions, Sasrec, Scored, SequenceModel, synthetic};
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

/// A model that knows order, of users and items that are numbers.
fn walks(folder: &Path) -> (PathBuf, Fitted<SequenceModel>) {
    let path = folder.join("walks.rec");
    let log = synthetic::walks(40, 20, 8, 0.1, 0).unwrap();
    let model = Sasrec::new().dim(8).max_length(8).epochs(2).fit(&log).unwrap();
    model.save(&path).unwrap();
    (path, model)
}

/// What is known of a user, of four groups.
fn person(group: u32, age: f64) -> FeatureRow {
    let row = FeatureRow::new().category("group", &format!("group {group}")).number("age", age);
    row.categories("likes", [format!("thing {group}"), format!("thing {}", group / 2)])
}

/// A model that knows users and items by features.
fn people(folder: &Path) -> (PathBuf, Fitted<LightFmModel>) {
    let path = folder.join("people.rec");
    let log = synthetic::planted_groups(40, 24, 4, 5, 0.0, 0).unwrap();
    let users = FeatureTable::new((0..40).map(|user| (user, person(user % 4, f64::from(20 + user)))));
    let kind = |item: u32| FeatureRow::new().category("kind", &format!("kind {}", item % 4));
    let items = FeatureTable::new((0..24).map(|item| (item, kind(item))));
    let users = FeatureMatrix::new(&users.unwrap(), &log.catalog().users).unwrap();
    let items = FeatureMatrix::new(&items.unwrap(), &log.catalog().items).unwrap();
    let settings = LightFm::new().factors(4).epochs(10).user_features(&users).item_features(&items);
    let model = settings.fit(&log).unwrap();
    model.save(&path).unwrap();
    (path, model)
}

/// A list as the program writes it: scores with no more digits than a number of 32 bits has.
pub(crate) fn said<T: Clone + Into<Value>>(list: &[Scored<T>]) -> Value {
    let entry = |scored: &Scored<T>| {
        let (item, score): (Value, f64) =
            (scored.id.clone().into(), scored.score.to_string().parse().unwrap());
        json!({"item": item, "score": score})
    };
    list.iter().map(entry).collect()
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
fn recommenders_that_are_networks_answer_for_sessions_of_users_and_others() {
    let folder = tempfile::tempdir().unwrap();
    let (path, model) = walks(folder.path());
    let path = path.to_str().unwrap();
    let list = |more: &[&str]| -> Value {
        lines(&written(&[&["recommend", path, "-k", "6", "--json"], more].concat(), "")).into()
    };
    let all = Filter::unseen();
    let user = said(&model.recommend(&3, 6, &all).unwrap());
    assert_eq!(list(&["--user", "3"]), user);
    let session = said(&model.recommend_session(&[7, 11], 6, &all).unwrap());
    assert_eq!(list(&["--met", "7", "--met", "11"]), session);
    let both = said(&model.recommend_next(&3, &[7, 11], 6, &all).unwrap());
    assert_eq!(list(&["--user", "3", "--met", "7", "--met", "11"]), both);
    assert!(user != both && session != both);
    let explained = told(&["recommend", path, "--user", "3", "--met", "7", "--explain"]);
    assert!(explained.contains("leave `explain` out"), "{explained}");
    let described = told(&["recommend", path, "--features", "{}"]);
    assert!(described.contains("SASRec does not offer scores by features of users"), "{described}");
}

#[test]
fn recommenders_with_features_answer_for_who_and_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let (path, model) = people(folder.path());
    let path = path.to_str().unwrap();
    let raw = r#"{"group": "group 1", "age": 33, "likes": ["thing 1", "thing 0"]}"#;
    let list = lines(&written(&["recommend", path, "--features", raw, "-k", "5", "--seen", "--json"], ""));
    let expected = model.recommend_described(&person(1, 33.0), 5, &Filter::all()).unwrap();
    assert_eq!(Value::from(list), said(&expected));
    let new = [r#"{"kind": "kind 3"}"#, r#"{"kind": "kind 2"}"#];
    let scores = lines(&written(
        &["recommend", path, "-u", "7", "--new-item", new[0], "--new-item", new[1], "--json"],
        "",
    ));
    let expected =
        model.score_new_items(&7, &["kind 3", "kind 2"].map(|kind| FeatureRow::new().category("kind", kind)));
    for ((line, columns), score) in scores.iter().zip(new).zip(expected.unwrap()) {
        assert_eq!(line["item"].to_string(), columns.replace(": ", ":"));
        assert_eq!(line["score"], score.to_string().parse::<f64>().unwrap());
    }
    assert_eq!(scores.len(), 2);
    for (wrong, why) in [
        ("age 33", "--features is no object of JSON"),
        ("[33]", "--features is no object of JSON"),
        (r#"{"age": true}"#, "`age` is true: a feature is a number"),
        (r#"{"age": "old"}"#, "in column `age`"),
        (r#"{"shoe size": 42}"#, "feature = shoe size: expected one of age, group, likes"),
    ] {
        let error = told(&["recommend", path, "--features", wrong]);
        assert!(error.contains(why), "{wrong}: {error}");
    }
    let context = told(&["recommend", path, "-u", "7", "--context", "{}"]);
    assert!(context.contains("does not offer scores by features of events"), "{context}");
    assert!(told(&["recommend", path, "-u", "7", "--features", raw]).contains("one of these is needed"));
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

#[cfg(feature = "serve")]
#[test]
fn sessions_and_features_are_answered_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let ((walks, ordered), (people, known)) = (walks(folder.path()), people(folder.path()));
    let server = crate::http::Server::start(&[walks.to_str().unwrap(), people.to_str().unwrap()]);
    let ask = |model: &str, more: Value| {
        let mut body = json!({ "model": model });
        // New items are scored, however many there are.
        if more.get("items").is_none() {
            body["count"] = json!(6);
        }
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/recommend", &body)
    };
    let list = |model: &str, more: Value| {
        let answer = ask(model, more);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["data"].clone()
    };
    let unseen = Filter::unseen();
    assert_eq!(list("walks", json!({"user": 3})), said(&ordered.recommend(&3, 6, &unseen).unwrap()));
    let session = said(&ordered.recommend_session(&[7, 11], 6, &unseen).unwrap());
    assert_eq!(list("walks", json!({"history": [7, 11]})), session);
    // Of a session items are passed over that nobody knows; a user with such alone is the user that they were.
    assert_eq!(list("walks", json!({"history": [7, 999, 11]})), session);
    let both = said(&ordered.recommend_next(&3, &[7, 11], 6, &unseen).unwrap());
    assert_eq!(list("walks", json!({"user": 3, "history": [7, 11]})), both);
    assert_eq!(
        list("walks", json!({"user": 3, "history": [999]})),
        said(&ordered.recommend(&3, 6, &unseen).unwrap())
    );

    let described = said(&known.recommend_described(&person(1, 33.0), 6, &unseen).unwrap());
    let row = json!({"group": "group 1", "age": 33, "likes": ["thing 1", "thing 0"]});
    assert_eq!(list("people", json!({ "features": row })), described);
    let met = known.recommend_session_described(&[7, 11], &person(1, 33.0), 6, &unseen);
    assert_eq!(list("people", json!({"features": row, "history": [7, 11]})), said(&met.unwrap()));
    // What is missing, and a category that is not known, say nothing.
    let age = said(&known.recommend_described(&FeatureRow::new().number("age", 33.0), 6, &unseen).unwrap());
    for row in
        [json!({"age": 33}), json!({"age": 33, "group": null}), json!({"age": 33, "group": "none such"})]
    {
        assert_eq!(list("people", json!({ "features": row })), age);
    }
    assert_ne!(age, described);
    let kinds = ["kind 3", "kind 2"];
    let scores = known.score_new_items(&7, &kinds.map(|kind| FeatureRow::new().category("kind", kind)));
    let items = kinds.map(|kind| json!({ "kind": kind }));
    let expected: Value = items
        .iter()
        .zip(scores.unwrap())
        .map(|(item, score)| json!({"item": item, "score": score.to_string().parse::<f64>().unwrap()}))
        .collect();
    assert_eq!(list("people", json!({"user": 7, "items": items})), expected);
    assert_eq!(list("people", json!({"user": 7, "items": []})), json!([]));

    for (model, bad, why) in [
        ("walks", json!({"history": [999]}), "unknown item 999"),
        ("walks", json!({"user": 999, "history": [7]}), "unknown user 999"),
        ("walks", json!({"user": 3, "history": ["tea"]}), "tea is no item"),
        ("walks", json!({"user": 3, "history": [7], "explain": true}), "leave `explain` out"),
        ("walks", json!({"features": row}), "does not offer scores by features of users"),
        ("walks", json!({"user": 3, "items": [{"kind": "kind 3"}]}), "scores by features of items"),
        ("walks", json!({"user": 3, "context": {"hour": 8}}), "scores by features of events"),
        (
            "people",
            json!({"features": {"shoe size": 42}}),
            "feature = shoe size: expected one of age, group, likes",
        ),
        ("people", json!({"features": {"age": "old"}}), "in column `age`"),
        ("people", json!({"features": {"group": 1}}), "in column `group`"),
        ("people", json!({"features": {"likes": "thing 1"}}), "in column `likes`"),
        ("people", json!({"features": {"age": 1e101}}), "at most 1e100"),
        ("people", json!({"features": {"age": true}}), "`age` is true: a feature is a number"),
        ("people", json!({"features": {"likes": ["thing 1", 2]}}), "a list of texts"),
        ("people", json!({"features": [33]}), "the body"),
        ("people", json!({"features": row, "user": 7}), "one of these is needed"),
        ("walks", json!({"features": row, "history": [7]}), "does not offer scores by features of users"),
        ("people", json!({"context": row}), "one of these is needed"),
        ("people", json!({"items": items}), "one of these is needed"),
        ("people", json!({"user": 7, "items": items, "count": 1}), "leave `count`, `seen` and `without` out"),
        ("people", json!({"user": 7, "items": items, "seen": true}), "leave `count`, `seen`"),
        ("people", json!({"user": 7, "items": items, "without": [3]}), "leave `count`, `seen`"),
        (
            "people",
            json!({"user": 7, "items": [{"colour": "red"}]}),
            "feature = colour: expected one of kind",
        ),
    ] {
        let answer = ask(model, bad.clone());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && message.contains(why), "{bad}: {}, {message}", answer.status);
    }
}
