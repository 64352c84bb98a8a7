//! Downloads from a server that breaks off, lies, stalls and corrupts: in the end the file is there whole or not at all.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cairn_datasets::download::{Downloader, Expected};
use cairn_datasets::registry::{RemoteFile, Resource};
use cairn_datasets::{DataDir, Error, Located};
use tempfile::TempDir;

use crate::server::{Answer, Server};

/// 200,000 bytes without a short period, and their SHA-256 (by sha256sum).
fn body() -> Vec<u8> {
    (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

const SHA256: &str = "2c4085b1ab9817526311b5a5b04451140dc922067c6922a59a77e1503918357b";

fn expected() -> Expected {
    Expected { size: Some(200_000), sha256: Some(SHA256.to_owned()) }
}

/// Waits for locks although nobody else downloads: a process that another test has just started may hold a copy of an open file, and with
/// it the lock, until its own program runs.
fn quick() -> Downloader {
    Downloader::default()
        .backoff(Duration::from_millis(1))
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(5))
        .lock_timeout(Duration::from_secs(10))
        .progress(false)
}

/// A folder, and a path in it that needs folders made.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/file.bin");
    (dir, path)
}

/// What came of a download.
struct Outcome {
    result: Result<Vec<u8>, Error>,
    /// First byte asked for in each request, if a range was.
    asked: Vec<Option<usize>>,
    /// The partial file left behind.
    part: Option<Vec<u8>>,
}

/// Downloads from one server with this script.
fn fetch(script: Vec<Answer>, expected: &Expected) -> Outcome {
    let server = Server::start(&body(), script);
    let (_dir, path) = place();
    let outcome = quick().fetch(&[server.url("file.bin")], &path, expected);
    assert_eq!(outcome.is_ok(), path.exists(), "a file in place means success, and the reverse");
    let asked = server.requests().iter().map(|r| r.from).collect();
    let part = fs::read(path.with_file_name("file.bin.part")).ok();
    Outcome { result: outcome.map(|()| fs::read(&path).unwrap()), asked, part }
}

/// The only mirror's error.
fn only(error: Error) -> Error {
    match error {
        Error::Download { mut attempts, .. } if attempts.len() == 1 => attempts.remove(0),
        other => panic!("{other}"),
    }
}

#[test]
fn a_plain_download() {
    let Outcome { result: file, asked, part } = fetch(vec![Answer::Whole], &expected());
    assert_eq!(file.unwrap(), body());
    assert_eq!(asked, [None]);
    assert_eq!(part, None);
}

#[test]
fn a_broken_transfer_continues_where_it_stopped() {
    let Outcome { result: file, asked, .. } =
        fetch(vec![Answer::Break(70_000), Answer::Break(50_000), Answer::Whole], &expected());
    assert_eq!(file.unwrap(), body());
    assert_eq!(asked, [None, Some(70_000), Some(120_000)]);
}

#[test]
fn a_later_run_continues_too() {
    let server = Server::start(&body(), vec![Answer::Break(70_000), Answer::Whole]);
    let (_dir, path) = place();
    let error = quick().attempts(1).fetch(&[server.url("f")], &path, &expected()).unwrap_err();
    assert!(matches!(only(error), Error::Network { received: 70_000, .. }));
    quick().fetch(&[server.url("f")], &path, &expected()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), body());
    assert_eq!(server.requests()[1].from, Some(70_000));
    // A third run finds the file there and asks nobody.
    quick().fetch(&[server.url("f")], &path, &expected()).unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_partial_file_already_whole_needs_no_request() {
    let server = Server::start(b"", vec![Answer::Status(500)]);
    let (_dir, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path.with_file_name("file.bin.part"), body()).unwrap();
    quick().fetch(&[server.url("f")], &path, &expected()).unwrap();
    assert!(server.requests().is_empty());
}

#[test]
fn a_partial_file_of_something_else_is_noticed_and_replaced() {
    for len in [100, 199_999, 200_000, 200_001, 500_000] {
        let server = Server::start(&body(), vec![Answer::Whole]);
        let (_dir, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path.with_file_name("file.bin.part"), vec![7; len]).unwrap();
        quick().fetch(&[server.url("f")], &path, &expected()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), body(), "{len}");
    }
}

#[test]
fn a_server_without_ranges_starts_again() {
    let Outcome { result: file, asked, .. } =
        fetch(vec![Answer::Break(70_000), Answer::IgnoreRange], &expected());
    assert_eq!(file.unwrap(), body());
    assert_eq!(asked, [None, Some(70_000)]);
}

#[test]
fn a_wrong_range_is_not_appended() {
    let Outcome { result: file, asked, .. } =
        fetch(vec![Answer::Break(70_000), Answer::WrongRange, Answer::Whole], &expected());
    assert_eq!(file.unwrap(), body());
    assert_eq!(asked, [None, Some(70_000), None]);
}

#[test]
fn corrupt_bytes_are_thrown_away() {
    let Outcome { result: file, asked, part } = fetch(vec![Answer::Corrupt], &expected());
    match only(file.unwrap_err()) {
        Error::Checksum { url, expected, got } => {
            assert!(url.ends_with("file.bin"));
            assert_eq!(expected, SHA256);
            assert_ne!(got, SHA256);
        }
        other => panic!("{other}"),
    }
    assert_eq!(asked, [None; 4], "each attempt from the start");
    assert_eq!(part, None);
    let Outcome { result: file, .. } = fetch(vec![Answer::Corrupt, Answer::Whole], &expected());
    assert_eq!(file.unwrap(), body());
}

#[test]
fn corruption_in_the_first_half_of_a_resumed_file_is_noticed() {
    let server = Server::start(&body(), vec![Answer::Whole]);
    let (_dir, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut half = body()[..100_000].to_vec();
    half[5] ^= 1;
    fs::write(path.with_file_name("file.bin.part"), half).unwrap();
    quick().fetch(&[server.url("f")], &path, &expected()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), body());
    let asked: Vec<_> = server.requests().iter().map(|r| r.from).collect();
    assert_eq!(asked, [Some(100_000), None]);
}

#[test]
fn lies_about_the_length() {
    for len in [0, 199_999, 200_001, 5_000_000] {
        let Outcome { result: file, asked, part } = fetch(vec![Answer::Length(len)], &expected());
        match only(file.unwrap_err()) {
            Error::WrongLength { expected: 200_000, got, .. } => assert_eq!(got, len as u64),
            other => panic!("{len}: {other}"),
        }
        assert_eq!(asked.len(), 1, "the same server would only say the same again");
        assert_eq!(part, None);
    }
}

#[test]
fn bodies_of_unannounced_length() {
    let Outcome { result: file, .. } = fetch(vec![Answer::Unannounced(200_000)], &expected());
    assert_eq!(file.unwrap(), body());
    let Outcome { result: file, .. } = fetch(vec![Answer::Unannounced(300_000)], &expected());
    assert!(matches!(only(file.unwrap_err()), Error::WrongLength { expected: 200_000, .. }));
    // Too short looks like a broken connection, and is continued.
    let Outcome { result: file, asked, .. } =
        fetch(vec![Answer::Unannounced(150_000), Answer::Whole], &expected());
    assert_eq!(file.unwrap(), body());
    assert_eq!(asked, [None, Some(150_000)]);
}

#[test]
fn without_anything_expected_only_the_limit_holds() {
    let any = Expected { size: None, sha256: None };
    let Outcome { result: file, .. } = fetch(vec![Answer::Whole], &any);
    assert_eq!(file.unwrap(), body());
    // What a partial file belongs to is not known then.
    let Outcome { result: file, asked, .. } = fetch(vec![Answer::Break(70_000), Answer::Whole], &any);
    assert_eq!(file.unwrap(), body());
    assert_eq!(asked, [None, None]);
    for expected in [any, expected()] {
        for answer in [Answer::Whole, Answer::Unannounced(200_000)] {
            let server = Server::start(&body(), vec![answer]);
            let (_dir, path) = place();
            let error = quick().max_size(1000).fetch(&[server.url("f")], &path, &expected).unwrap_err();
            assert!(matches!(only(error), Error::WrongLength { expected: 1000, .. }));
        }
    }
}

#[test]
fn statuses() {
    for (status, requests) in [(404, 1), (403, 1), (410, 1), (500, 4), (503, 4), (429, 4)] {
        let Outcome { result: file, asked, .. } = fetch(vec![Answer::Status(status)], &expected());
        match only(file.unwrap_err()) {
            Error::Status { url, status: got } => assert!(got == status && url.ends_with("file.bin")),
            other => panic!("{other}"),
        }
        assert_eq!(asked.len(), requests, "{status}");
    }
    let Outcome { result: file, .. } =
        fetch(vec![Answer::Status(503), Answer::Status(500), Answer::Whole], &expected());
    assert_eq!(file.unwrap(), body());
}

#[test]
fn mirrors_are_tried_in_order_and_share_the_partial_file() {
    let gone = Server::start(&body(), vec![Answer::Status(404)]);
    let flaky = Server::start(&body(), vec![Answer::Break(90_000), Answer::Status(404)]);
    let good = Server::start(&body(), vec![Answer::Whole]);
    let (_dir, path) = place();
    let urls = [gone.url("1"), flaky.url("2"), good.url("3")];
    quick().fetch(&urls, &path, &expected()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), body());
    assert_eq!((gone.requests().len(), flaky.requests().len()), (1, 2));
    assert_eq!(good.requests()[0].from, Some(90_000));
}

#[test]
fn every_mirror_is_named_when_all_fail() {
    let gone = Server::start(&body(), vec![Answer::Status(404)]);
    let bad = Server::start(&body(), vec![Answer::Corrupt]);
    let (_dir, path) = place();
    let urls = [gone.url("1"), bad.url("2"), "http://127.0.0.1:1/3".to_owned()];
    let text = quick().fetch(&urls, &path, &expected()).unwrap_err().to_string();
    for part in
        ["file.bin", "/1: the server answered with status 404", "/2: SHA-256 is", "http://127.0.0.1:1/3"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn redirects_are_followed_but_not_in_circles() {
    let good = Server::start(&body(), vec![Answer::Break(60_000), Answer::Whole]);
    let to = Server::start(b"", vec![Answer::Redirect(good.url("moved"))]);
    let (_dir, path) = place();
    quick().fetch(&[to.url("f")], &path, &expected()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), body());
    let asked: Vec<_> = good.requests().iter().map(|r| (r.path.clone(), r.from)).collect();
    assert_eq!(asked, [("/moved".to_owned(), None), ("/moved".to_owned(), Some(60_000))]);

    let Outcome { result: file, .. } =
        fetch(vec![Answer::Redirect("file:///etc/passwd".to_owned())], &expected());
    let text = only(file.unwrap_err()).to_string();
    assert!(text.contains("not of the web"), "{text}");
    let Outcome { result: file, .. } = fetch(vec![Answer::Redirect("/file.bin".to_owned())], &expected());
    assert!(matches!(only(file.unwrap_err()), Error::Network { .. } | Error::Status { .. }));
}

#[test]
fn silence_ends_in_an_error_and_what_came_is_kept() {
    let start = Instant::now();
    let server = Server::start(&body(), vec![Answer::Stall(70_000)]);
    let (_dir, path) = place();
    let impatient = quick().read_timeout(Duration::from_secs(3)).attempts(2);
    let error = impatient.fetch(&[server.url("f")], &path, &expected()).unwrap_err();
    assert!(matches!(only(error), Error::Network { received: 140_000, .. }));
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(fs::read(path.with_file_name("file.bin.part")).unwrap(), &body()[..140_000]);
}

#[test]
fn slow_is_not_silent() {
    let server = Server::start(&body(), vec![Answer::Slow(10_000, Duration::from_millis(300))]);
    let (_dir, path) = place();
    // Six seconds in all, of which a server may be silent for five at a time.
    let (start, silence) = (Instant::now(), Duration::from_secs(5));
    quick().read_timeout(silence).fetch(&[server.url("f")], &path, &expected()).unwrap();
    assert!(start.elapsed() > silence, "{:?}", start.elapsed());
    assert_eq!(fs::read(&path).unwrap(), body());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn no_server_and_no_http() {
    let (_dir, path) = place();
    let error = quick().fetch(&["http://127.0.0.1:1/f"], &path, &expected()).unwrap_err();
    assert!(matches!(only(error), Error::Network { received: 0, .. }));
    let error = quick().fetch(&["no address at all"], &path, &expected()).unwrap_err();
    assert!(matches!(only(error), Error::Network { .. }));
    let error = quick().fetch::<&str>(&[], &path, &expected()).unwrap_err();
    assert!(matches!(&error, Error::Download { .. }));
    assert!(error.to_string().contains("no address"), "{error}");
    let Outcome { result: file, .. } = fetch(vec![Answer::Garbage], &expected());
    assert!(matches!(only(file.unwrap_err()), Error::Network { .. }));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let (dir, path) = place();
    fs::write(dir.path().join("a"), "a file where a folder should be").unwrap();
    let error = quick().fetch(&["http://127.0.0.1:1/f"], &path, &expected()).unwrap_err();
    assert!(matches!(&error, Error::Io { action: "create", path, .. } if path.ends_with("a/b")), "{error}");
}

/// A limit on the size of files makes the operating system refuse in the middle, as a full disk does. The shell sets it for a
/// process of its own, in which the test runs again, and turns off the signal that would end it.
#[test]
#[cfg(unix)]
fn a_full_disk_is_named_and_no_other_mirror_asked() {
    const VARIABLE: &str = "CAIRN_DOWNLOAD_TOO_MUCH";
    if let Some(path) = std::env::var_os(VARIABLE) {
        let server = Server::start(&body(), vec![Answer::Whole]);
        let error = quick().fetch(&[server.url("1"), server.url("2")], &PathBuf::from(path), &expected());
        let Err(Error::Io { action: "write", path, .. }) = error else { panic!("{error:?}") };
        print!("refused: {}, {} request", path.ends_with("file.bin.part"), server.requests().len());
        return;
    }
    let (_dir, path) = place();
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --nocapture --exact \"$1\"";
    let test = "download::a_full_disk_is_named_and_no_other_mirror_asked";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", limited]).arg(std::env::current_exe().unwrap()).arg(test).env(VARIABLE, &path);
    let printed = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    assert!(printed.contains("refused: true, 1 request"), "{printed}");
    assert!(!path.exists());
}

#[test]
fn a_server_that_drips_is_given_up() {
    let server = Server::start(&body(), vec![Answer::Slow(1, Duration::from_millis(50))]);
    let (_dir, path) = place();
    let start = Instant::now();
    let impatient = quick().read_timeout(Duration::from_secs(3)).least_rate(1000).attempts(2);
    let error = only(impatient.fetch(&[server.url("f")], &path, &expected()).unwrap_err());
    assert!(error.to_string().contains("bytes a second, less than 1000"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    // Any rate is allowed, but not any time.
    let error = quick().least_rate(0).total_timeout(Duration::from_secs(1));
    let error = only(error.fetch(&[server.url("f")], &path, &expected()).unwrap_err());
    assert!(error.to_string().contains("the time for the whole download is over"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(90), "{:?}", start.elapsed());
}

#[test]
#[cfg(unix)]
fn a_link_in_place_of_the_partial_file_is_not_written_through() {
    let (dir, path) = place();
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&victim, path.with_file_name("file.bin.part")).unwrap();
    let server = Server::start(&body(), vec![Answer::Whole]);
    let error = quick().fetch(&[server.url("f")], &path, &expected()).unwrap_err();
    assert!(error.to_string().contains("is a link"), "{error}");
    assert_eq!((fs::read_to_string(&victim).unwrap().as_str(), path.exists()), ("precious", false));
    assert!(server.requests().is_empty());
}

#[test]
#[cfg(unix)]
fn a_download_that_brings_nothing_leaves_nothing() {
    let (dir, path) = place();
    quick().fetch(&["http://127.0.0.1:1/f"], &path, &expected()).unwrap_err();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    // What was there before stays.
    fs::create_dir(dir.path().join("a")).unwrap();
    quick().fetch(&["http://127.0.0.1:1/f"], &path, &expected()).unwrap_err();
    assert!(dir.path().join("a").is_dir() && !dir.path().join("a/b").exists());
}

#[test]
fn a_host_that_nobody_knows_is_asked_once_and_each_mirror_has_a_line() {
    let (_dir, path) = place();
    let start = Instant::now();
    let urls = ["http://no-such-host.invalid/f", "http://127.0.0.1:1/f"];
    // Looking the name up takes five seconds at most, and this test does it twice; whoever asks again pauses longer than that.
    let patient = quick().backoff(Duration::from_secs(30));
    let error = patient.attempts(1).fetch(&urls, &path, &expected()).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
    let error = quick().backoff(Duration::from_secs(30)).fetch(&urls[..1], &path, &expected()).unwrap_err();
    let error = only(error);
    assert!(matches!(error, Error::UnknownHost { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
}

/// `{error:#}` of programs that show the whole chain has the system's words once.
#[test]
fn what_the_system_says_is_said_once() {
    let error = quick().fetch(&["http://127.0.0.1:1/f"], "/proc/none/f".as_ref(), &expected()).unwrap_err();
    assert!(error.to_string().contains("os error"), "{error}");
    assert!(std::error::Error::source(&error).is_none());
}

#[test]
fn two_at_once_download_once() {
    let server = Server::start(&body(), vec![Answer::Slow(50_000, Duration::from_millis(50))]);
    let (_dir, path) = place();
    let patient = quick().lock_timeout(Duration::from_secs(20));
    let url = [server.url("f")];
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| patient.fetch(&url, &path, &expected()).unwrap());
        }
    });
    assert_eq!(fs::read(&path).unwrap(), body());
    assert_eq!(server.requests().len(), 1);
    assert!(!path.with_file_name("file.bin.part").exists());
}

/// A data set of one's own, fetched through the data folder from a mirror of one's own.
#[test]
fn a_data_folder_fetches_what_is_missing() {
    const SET: Resource<'_> = Resource {
        name: "own",
        title: "Your own set",
        files: &[RemoteFile {
            path: "own/file.bin",
            size: Some(200_000),
            sha256: Some(SHA256),
            urls: &["http://127.0.0.1:1/file.bin"],
            unpacked: &[],
        }],
        licence: "none",
        homepage: "none",
    };
    let server = Server::start(&body(), vec![Answer::Whole]);
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::new(root.path()).mirror(server.url("sets/"));
    assert!(!dir.has(&SET));
    assert!(matches!(dir.verify(&SET), Err(Error::Missing { .. })));
    assert!(matches!(dir.clone().offline().obtain_all(&SET), Err(Error::Missing { .. })));

    let path = root.path().join("own/file.bin");
    assert_eq!(dir.obtain(&SET).unwrap(), [Located::Packed(path.clone())]);
    assert_eq!(server.requests()[0].path, "/sets/own/file.bin");
    assert_eq!(dir.verify(&SET).unwrap(), 1);
    dir.offline().obtain_all(&SET).unwrap();

    let mut bytes = body();
    bytes[9] ^= 1;
    fs::write(&path, bytes).unwrap();
    let dir = DataDir::new(root.path());
    assert!(matches!(dir.verify(&SET), Err(Error::Checksum { .. })));
    fs::write(&path, "short").unwrap();
    assert!(matches!(dir.verify(&SET), Err(Error::WrongLength { expected: 200_000, got: 5, .. })));
}

/// The files of a model, described when the program runs: found where they lie, fetched from the folder that the address
/// names, and of unknown length and checksum.
#[test]
fn models_are_found_and_fetched_as_data_sets_are() {
    let server = Server::start(&body(), vec![Answer::Whole]);
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::new(root.path());
    let (model, folder) = ("example/tiny".to_owned(), server.url("example/tiny/resolve/main/"));
    let paths = ["config.json", "model.safetensors"].map(|name| format!("models/{model}/{name}"));
    let urls = [folder.as_str()];
    let files = paths.each_ref().map(|path| RemoteFile::new(path, &urls));
    let resource =
        Resource { name: &model, title: "a model", files: &files, licence: "none", homepage: "none" };
    let config = root.path().join(&paths[0]);
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, "{}").unwrap();
    let missing = dir.clone().offline().paths::<2>(&resource).unwrap_err().to_string();
    assert!(missing.contains("example/tiny") && missing.contains("model.safetensors"), "{missing}");

    let found = dir.paths(&resource).unwrap();
    assert_eq!(found, paths.each_ref().map(|path| root.path().join(path)));
    assert_eq!((fs::read(&found[0]).unwrap(), fs::read(&found[1]).unwrap()), (b"{}".to_vec(), body()));
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/example/tiny/resolve/main/model.safetensors"]);
    assert_eq!((dir.verify(&resource).unwrap(), resource.size()), (2, 0));
    let error = dir.paths::<3>(&resource).unwrap_err();
    assert!(error.to_string().contains("2 files, not 3"), "{error}");
    assert!(matches!(dir.obtain::<1>(&resource), Err(Error::Argument { .. })));
}
