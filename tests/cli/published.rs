//! Models by their publishers' names: a hub that is a thread of the test, and the program as its client.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::model;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves the files of a folder as the model `someone/letters`, for as long as the test runs; the address, and what was asked for.
fn hub(folder: PathBuf) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let Some(path) = lines.next().and_then(|line| Some(line.split(' ').nth(1)?.to_owned())) else {
                continue;
            };
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            seen.lock().unwrap().push(path.clone());
            let (status, body) = match answer(&folder, &path) {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    (address, asked)
}

fn answer(folder: &Path, path: &str) -> Option<Vec<u8>> {
    if path == "/api/models/someone/letters/revision/main?blobs=true" {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| {
            let entry = entry.unwrap();
            json!({"rfilename": entry.file_name().to_str().unwrap(), "size": entry.metadata().unwrap().len()})
        });
        let list = json!({"sha": COMMIT, "siblings": files.collect::<Vec<Value>>()});
        return Some(list.to_string().into_bytes());
    }
    let name = path.strip_prefix(&format!("/someone/letters/resolve/{COMMIT}/"))?;
    std::fs::read(folder.join(name)).ok()
}

/// Runs the program in a folder of its own, whose data folder and caches are there, too.
fn cairn(place: &Path, server: &str, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cairn"));
    for name in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
        program.env_remove(name);
    }
    program
        .env("HF_ENDPOINT", server)
        .env("HF_HOME", place.join("hf"))
        .env("CAIRN_DATA_DIR", place.join("data"));
    program.current_dir(place).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_published_model_is_had_by_its_name() {
    let made = model();
    let (server, asked) = hub(made.path().to_owned());
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("data")).unwrap();
    let generate = |name: &str, more: &[&str]| {
        let arguments = [&["generate", name, "the rain", "-n", "9", "--greedy"], more].concat();
        cairn(place.path(), &server, &arguments)
    };
    let offline = generate("someone/letters", &["--offline"]);
    let told = text(&offline.stderr);
    assert_eq!((offline.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains("someone/letters is not in") && told.contains("offline mode"), "{told}");
    assert!(told.contains("no file or folder here is someone/letters"), "{told}");
    assert!(asked.lock().unwrap().is_empty());

    let by_name = generate("someone/letters", &[]);
    assert_eq!(by_name.status.code(), Some(0), "{}", text(&by_name.stderr));
    assert_eq!(by_name.stdout, generate(made.path().to_str().unwrap(), &[]).stdout);
    let count = asked.lock().unwrap().len();
    assert_eq!(generate("someone/letters", &["--offline"]).stdout, by_name.stdout);
    assert_eq!(generate("someone/letters", &[]).stdout, by_name.stdout);
    assert_eq!(asked.lock().unwrap().len(), count, "it was asked for again");

    let unknown = generate("someone/else", &[]);
    let told = text(&unknown.stderr);
    assert_eq!((unknown.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains("someone/else") && told.contains("status 404"), "{told}");

    // A mistyped path is no name: nobody is asked.
    let count = asked.lock().unwrap().len();
    for path in ["data/nothing", "someone/nothing.gguf"] {
        let told = text(&generate(path, &[]).stderr);
        assert!(told.starts_with(&format!("cairn: {path}: No such file")), "{told}");
    }
    assert_eq!(asked.lock().unwrap().len(), count);

    // What lies there under the name comes first.
    std::fs::create_dir_all(place.path().join("someone/letters")).unwrap();
    let local = generate("someone/letters", &[]);
    assert_eq!(local.status.code(), Some(1));
    assert!(text(&local.stderr).contains("config.json"), "{}", text(&local.stderr));
}
