//! Published models by name: downloaded once and verified, found offline, and never from or to where they do not belong.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cairn_datasets::download::Downloader;
use cairn_datasets::hub::{Hub, ModelName};
use cairn_datasets::{DataDir, Error};
use proptest::prelude::*;

use crate::server::{Answer, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Of the five bytes `hello`, by sha256sum.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// A list of parts, which names a folder that one does not know by its name.
const PARTS: &[u8] =
    br#"[{"type": "a.Pooling", "path": "./parts/vectors/"}, {"type": "a.Normalize", "path": "../x"}]"#;

/// A hub with one model, whose files all are `hello` but for the list of parts; those with `true` are large, so that their sums are known.
fn hub(files: &[(&str, bool)]) -> Server {
    let entry = |&(name, large): &(&str, bool)| {
        let lfs = if large {
            format!(r#", "lfs": {{"sha256": "{HELLO}", "size": 5, "pointerSize": 130}}"#)
        } else {
            String::new()
        };
        let size = content(name).len();
        format!(r#"{{"rfilename": "{name}", "size": {size}, "blobId": "x"{lfs}}}"#)
    };
    let entries: Vec<String> = files.iter().map(entry).collect();
    with_list(files, &format!(r#"{{"id": "a/b", "sha": "{COMMIT}", "siblings": [{}]}}"#, entries.join(", ")))
}

fn content(name: &str) -> &'static [u8] {
    if name == "modules.json" { PARTS } else { b"hello" }
}

fn with_list(files: &[(&str, bool)], list: &str) -> Server {
    let list =
        ("/api/models/a/b/revision/main?blobs=true".to_owned(), Answer::Whole, list.as_bytes().to_vec());
    let path = |name: &str| format!("/a/b/resolve/{COMMIT}/{name}");
    let files = files.iter().map(|(name, _)| (path(name), Answer::Whole, content(name).to_vec()));
    Server::of_files(std::iter::once(list).chain(files).collect())
}

fn quick(downloader: Downloader) -> Downloader {
    downloader.attempts(1).read_timeout(Duration::from_secs(5)).progress(false)
}

fn client(server: &Server) -> Hub {
    Hub::new(&server.url("")).downloader(quick)
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

/// The names of all files below a folder, in order.
fn below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let own = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => names.extend(below(&path).into_iter().map(|inner| format!("{own}/{inner}"))),
            false => names.push(own),
        }
    }
    names.sort();
    names
}

const FOLDER: [(&str, bool); 12] = [
    ("modules.json", false),
    ("config.json", false),
    ("tokenizer.json", false),
    ("model-00001-of-00002.safetensors", true),
    ("model-00002-of-00002.safetensors", true),
    ("1_Pooling/config.json", false),
    ("parts/vectors/config.json", false),
    ("onnx/config.json", false),
    ("README.md", false),
    ("pytorch_model.bin", true),
    ("onnx/model.onnx", true),
    ("consolidated.safetensors", true),
];

#[test]
fn a_folder_is_downloaded_once_and_without_other_formats() {
    let server = hub(&FOLDER);
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::new(root.path());
    let folder = client(&server).obtain(&name("a/b"), &dir).unwrap();
    assert_eq!(folder, root.path().join("models/a/b"));
    let expected = [
        "1_Pooling/config.json",
        "config.json",
        "hub.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "modules.json",
        "parts/vectors/config.json",
        "tokenizer.json",
    ];
    assert_eq!(below(&folder), expected);
    let asked = server.requests().len();
    assert_eq!(asked, expected.len());
    // From now on nobody is asked, and no network is needed.
    assert_eq!(client(&server).obtain(&name("a/b"), &dir).unwrap(), folder);
    assert_eq!(client(&server).obtain(&name("a/b"), &dir.offline()).unwrap(), folder);
    assert_eq!(server.requests().len(), asked);
}

#[test]
fn adapters_are_a_folder_too() {
    let files = [("adapter_config.json", false), ("adapter_model.safetensors", true), ("README.md", false)];
    let server = hub(&files);
    let root = tempfile::tempdir().unwrap();
    let folder = client(&server).obtain(&name("a/b"), &DataDir::new(root.path())).unwrap();
    assert_eq!(below(&folder), ["adapter_config.json", "adapter_model.safetensors", "hub.json"]);
}

#[test]
fn what_was_interrupted_goes_on_with_the_same_commit() {
    let server = hub(&FOLDER);
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::new(root.path());
    let folder = client(&server).obtain(&name("a/b"), &dir).unwrap();
    fs::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    let missing = client(&server).obtain(&name("a/b"), &dir.clone().offline()).unwrap_err();
    assert!(missing.to_string().contains("model-00002-of-00002.safetensors"), "{missing}");
    client(&server).obtain(&name("a/b"), &dir).unwrap();
    let last = server.requests().pop().unwrap();
    assert_eq!(last.path, format!("/a/b/resolve/{COMMIT}/model-00002-of-00002.safetensors"));
}

#[test]
fn of_several_files_the_one_that_is_named_is_taken() {
    let files = [
        ("m-Q4_K_M.gguf", true),
        ("m-q8_0.gguf", true),
        ("m.BF16.gguf", true),
        ("mmproj-f16.gguf", true),
        ("big-Q5_K-00001-of-00002.gguf", true),
        ("big-Q5_K-00002-of-00002.gguf", true),
        ("cut-Q2_K-00001-of-00002.gguf", true),
        ("odd name.gguf", true),
        ("config.json", false),
    ];
    let server = hub(&files);
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::new(root.path());
    let file = |text: &str| {
        client(&server).obtain(&name(text), &dir).map(|path| path.file_name().unwrap().to_owned())
    };
    assert_eq!(file("a/b").unwrap(), "m-Q4_K_M.gguf");
    assert_eq!(file("a/b:Q8_0").unwrap(), "m-q8_0.gguf");
    assert_eq!(file("a/b:bf16").unwrap(), "m.BF16.gguf");
    assert_eq!(file("a/b:m-q8_0.gguf").unwrap(), "m-q8_0.gguf");
    let none = file("a/b:Q3_K").unwrap_err().to_string();
    assert!(none.contains("no file is `Q3_K`; there are m-Q4_K_M.gguf, m-q8_0.gguf, m.BF16.gguf"), "{none}");
    assert_eq!(file("a/b:Q5_K").unwrap(), "big-Q5_K-00001-of-00002.gguf");
    assert!(root.path().join("models/a/b/big-Q5_K-00002-of-00002.gguf").is_file());
    let second = file("a/b:big-Q5_K-00002-of-00002.gguf").unwrap_err().to_string();
    assert!(second.contains("file 2 of 2 of a model"), "{second}");
    let cut = file("a/b:Q2_K").unwrap_err().to_string();
    assert!(cut.contains("cut-Q2_K-00002-of-00002.gguf is not there"), "{cut}");
    // Asked for by its escaped name, which this hub does not know.
    assert!(matches!(file("a/b:odd name.gguf").unwrap_err(), Error::UnknownModel { status: 404, .. }));
    assert_eq!(server.requests().pop().unwrap().path, format!("/a/b/resolve/{COMMIT}/odd%20name.gguf"));
    let empty = hub(&[("README.md", false)]);
    let root = tempfile::tempdir().unwrap();
    let error = client(&empty).obtain(&name("a/b"), &DataDir::new(root.path())).unwrap_err();
    assert!(error.to_string().contains("neither safetensors with config.json nor GGUF files"), "{error}");
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let elsewhere = Server::start(b"hello", vec![Answer::Whole]);
    let list = format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "m.gguf", "size": 5}}]}}"#);
    let server = Server::of_files(vec![
        ("/api/models/a/b/revision/main?blobs=true".into(), Answer::Whole, list.into_bytes()),
        (format!("/a/b/resolve/{COMMIT}/m.gguf"), Answer::Redirect(elsewhere.url("m.gguf")), Vec::new()),
    ]);
    let mirror = Server::of_files(Vec::new());
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::new(root.path()).mirror(mirror.url("own"));
    let asking = client(&server).token("secret");
    assert!(!format!("{asking:?}").contains("secret"));
    let file = asking.obtain(&name("a/b"), &dir).unwrap();
    assert_eq!(fs::read(file).unwrap(), b"hello");
    let tokens = |server: &Server| server.requests().into_iter().map(|r| r.authorization).collect::<Vec<_>>();
    assert_eq!(tokens(&server), [Some("Bearer secret".to_owned()), Some("Bearer secret".to_owned())]);
    assert_eq!(tokens(&elsewhere), [None]);
    assert_eq!(tokens(&mirror), [None, None]);
    assert_eq!(mirror.requests()[0].path, "/own/models/a/b/hub.json");
}

#[test]
fn what_a_hub_refuses_or_damages_is_told() {
    let server = Server::of_files(Vec::new());
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::new(root.path());
    let error = client(&server).obtain(&name("a/b"), &dir).unwrap_err();
    assert!(matches!(error, Error::UnknownModel { status: 404, .. }), "{error}");
    let offline = client(&server).obtain(&name("a/b"), &dir.clone().offline()).unwrap_err();
    assert!(matches!(offline, Error::Missing { .. }), "{offline}");
    let file = |name: &str, more: &str| {
        format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "{name}"{more}}}]}}"#)
    };
    let twice = format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "a"}}, {{"rfilename": "a"}}]}}"#);
    for list in [
        "{".to_owned(),
        "[]".to_owned(),
        r#"{"sha": "../..", "siblings": []}"#.to_owned(),
        file("../evil.gguf", ""),
        file("/etc/evil.gguf", ""),
        file("m.gguf", r#", "size": -5"#),
        file("m.gguf", r#", "lfs": {"sha256": "0"}"#),
        twice,
    ] {
        let server = with_list(&[], &list);
        let error = client(&server).obtain(&name("a/b"), &dir).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{list}: {error}");
        assert!(!root.path().join("models/a/b/hub.json").exists(), "{list}: it was kept");
    }
    // Other bytes than those that the hub states.
    let wrong = HELLO.replace("2cf2", "2cf3");
    let list = file("m.gguf", &format!(r#", "size": 5, "lfs": {{"sha256": "{wrong}"}}"#));
    let server = with_list(&[("m.gguf", true)], &list);
    let error = client(&server).obtain(&name("a/b"), &dir).unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
    assert!(!root.path().join("models/a/b/m.gguf").exists());
}

#[test]
fn the_cache_of_the_hubs_own_programs_is_used_where_it_is_whole() {
    let cache = tempfile::tempdir().unwrap();
    let home = cache.path().join("models--a--b");
    let snapshot = home.join("snapshots").join(COMMIT);
    for folder in [home.join("refs"), snapshot.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(home.join("refs/main"), COMMIT).unwrap();
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::new(root.path()).offline();
    let hub = Hub::new("http://127.0.0.1:1").cache(cache.path());
    let put = |name: &str| fs::write(snapshot.join(name), "hello").unwrap();
    put("config.json");
    put("tokenizer.json");
    put("model-00001-of-00002.safetensors");
    assert!(matches!(hub.obtain(&name("a/b"), &dir).unwrap_err(), Error::Missing { .. }));
    put("model-00002-of-00002.safetensors");
    // How an encoder's vectors are made must be known, or that nothing is said of it.
    assert!(matches!(hub.obtain(&name("a/b"), &dir).unwrap_err(), Error::Missing { .. }));
    let none = home.join(".no_exist").join(COMMIT);
    fs::create_dir_all(&none).unwrap();
    fs::write(none.join("modules.json"), "").unwrap();
    assert_eq!(hub.obtain(&name("a/b"), &dir).unwrap(), snapshot);
    fs::write(snapshot.join("modules.json"), PARTS).unwrap();
    assert!(matches!(hub.obtain(&name("a/b"), &dir).unwrap_err(), Error::Missing { .. }));
    fs::create_dir_all(snapshot.join("parts/vectors")).unwrap();
    put("parts/vectors/config.json");
    assert_eq!(hub.obtain(&name("a/b"), &dir).unwrap(), snapshot);
    fs::remove_dir_all(&none).unwrap();
    fs::remove_file(snapshot.join("modules.json")).unwrap();
    fs::write(snapshot.join("config.json"), r#"{"architectures": ["LlamaForCausalLM"]}"#).unwrap();
    assert_eq!(hub.obtain(&name("a/b"), &dir).unwrap(), snapshot);
    assert_eq!(hub.obtain(&name(&format!("a/b@{COMMIT}")), &dir).unwrap(), snapshot);
    put("m-Q8_0.gguf");
    assert_eq!(hub.obtain(&name("a/b:Q8_0"), &dir).unwrap(), snapshot.join("m-Q8_0.gguf"));
    assert!(hub.obtain(&name("a/b@other"), &dir).is_err());
    assert!(hub.obtain(&name("a/c"), &dir).is_err());
}

#[test]
fn names_lead_nowhere_else() {
    for text in [
        "", "a", "a/b/c", "/a/b", "a/..", "../b", ".a/b", "a/b@", "a/b@../c", "a/b:", "a/b:../c", "a b/c",
        "C:/x", "a/-b",
    ] {
        assert!(text.parse::<ModelName>().is_err(), "{text}");
    }
    for text in ["a/b", "a-1/B.2_c", "a/b@v1.0", "a/b:Q4_K_M", "a/b@main:sub/m.gguf"] {
        assert_eq!(name(text).to_string(), text);
    }
}

proptest! {
    #[test]
    fn any_list_is_read_or_an_error(list in "(\\PC|[\\[\\]{}\",:]){0,80}", cut in 0..200usize) {
        let whole = format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "{list}", "size": 5}}]}}"#);
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("models/a/b");
        fs::create_dir_all(&folder).unwrap();
        for text in [&list[..], &whole, whole.get(..cut).unwrap_or("")] {
            fs::write(folder.join("hub.json"), text).unwrap();
            let dir = DataDir::new(root.path()).offline();
            prop_assert!(Hub::new("http://127.0.0.1:1").obtain(&name("a/b"), &dir).is_err());
        }
    }
}
