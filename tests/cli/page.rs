//! The page at / in headless Chromium, at the width of a telephone and of a desk: what it shows is what is served, and nothing stands
//! beyond its edge; who chats, draws and asks for films there gets what the commands give. Without Chromium the tests say so and pass.
//!
//! `CAIRN_SCREENSHOTS=folder cargo test -p cairn-ml --features serve --test cli page` leaves pictures to look at.

use std::path::{Path, PathBuf};
use std::process::Command;

use cairn::nn::Sequential;
use cairn::nn::spec::{Dense, Flatten};
use cairn::tensor::rng;

use crate::http::Server;
use crate::model;

/// Programs that are Chromium.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

fn browser() -> Option<&'static str> {
    let works = |name: &&str| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    BROWSERS.into_iter().find(works)
}

/// What both the page's picture and its use need.
const OPTIONS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// What the browser writes for a page in a window of this width.
fn seen(browser: &str, url: &str, width: u32, more: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(OPTIONS)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},900"))
        .args(["--virtual-time-budget=15000"])
        .args(more)
        .arg(url)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A network with random weights for pictures of digits.
fn digits(folder: &Path) -> (PathBuf, Sequential) {
    let path = folder.join("digits.cairn");
    let network = Sequential::new([28, 28, 1]).add(Flatten).add(Dense::new(10)).build(&mut rng(1)).unwrap();
    network.save(&path).unwrap();
    (path, network)
}

#[test]
fn the_page_shows_what_is_served() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: there is no Chromium here, so that the page was not looked at");
        return;
    };
    let (made, folder) = (model(), tempfile::tempdir().unwrap());
    let (digits, _) = digits(folder.path());
    let (films, _) = crate::saved::films(folder.path());
    let paths = [made.path(), &digits, &films].map(|path| path.to_str().unwrap());
    let server = Server::start(&paths);
    let url = format!("http://{}/", server.address);
    let name = made.path().file_name().unwrap().to_str().unwrap();
    let options = [name, "digits", "films"].map(|option| format!("<option>{option}</option>"));
    for (width, tab) in
        [(390, "chat"), (1200, "chat"), (390, "draw"), (1200, "draw"), (390, "films"), (1200, "films")]
    {
        let url = format!("{url}#{tab}");
        // The page asks the server for the list, and on a busy machine the browser may write it down before the answer has come.
        let mut page = String::new();
        for _ in 0..3 {
            page = seen(browser, &url, width, &["--dump-dom"]);
            if options.iter().all(|option| page.contains(option)) {
                break;
            }
        }
        for one in ["chat", "draw", "films"] {
            assert!(
                page.contains(&format!("data-name=\"{one}\" aria-selected=\"{}\"", one == tab)),
                "{tab}: {page}"
            );
            assert!(page.contains(&format!(
                "<section id=\"{one}\"{} aria-label",
                if one == tab { "" } else { " hidden=\"\"" }
            )));
        }
        for option in &options {
            assert!(page.contains(option), "{page}");
        }
        if let Some(folder) = std::env::var_os("CAIRN_SCREENSHOTS") {
            let picture =
                format!("--screenshot={}", Path::new(&folder).join(format!("{tab}-{width}.png")).display());
            seen(browser, &url, width, &[&picture]);
        }
    }
}

#[cfg(unix)]
#[test]
fn what_the_page_is_asked_is_what_the_commands_give() {
    use cairn::nn::Model;
    use cairn::recsys::Filter;
    use cairn::tensor::Tensor;
    use serde_json::json;

    let Some(browser) = browser() else {
        eprintln!(
            "SKIPPED: there is no Chromium here, so that nobody chatted, drew or asked for films on the page"
        );
        return;
    };
    let (made, folder) = (model(), tempfile::tempdir().unwrap());
    let ((digits, network), (films, recommender)) =
        (digits(folder.path()), crate::saved::films(folder.path()));
    let paths = [made.path(), &digits, &films].map(|path| path.to_str().unwrap());
    let server = Server::start(&paths);
    let url = format!("http://{}/", server.address);
    let mut page = crate::browser::Browser::open(browser, &OPTIONS, &url);
    page.until("document.querySelectorAll('#tabs button').length === 3 && $('nothing').hidden");

    // A conversation of two messages, greedy; the text goes on until the model's context is full.
    let alone = crate::written(&["chat", paths[0], "-n", "12", "--greedy", "-m", "hello"], "");
    page.value(
        "show('chat'), $('temperature').value = '0', $('message').value = 'hello', $('say').requestSubmit()",
    );
    page.until("leaving === null && messages.length === 2");
    let said = page.value("[...document.querySelectorAll('.said')].map(said => said.textContent)");
    assert_eq!(said, page.value("messages.map(message => message.content)"));
    let [question, answer] = [0usize, 1].map(|at| said[at].as_str().unwrap());
    assert_eq!(question, "hello");
    assert!(answer.starts_with(alone.trim_end_matches('\n')), "{answer} and not {alone}");
    let note = page.value("$('chat-note').textContent");
    assert!(note.as_str().unwrap().contains("the first after"), "{note}");
    page.value("$('new').click()");
    assert_eq!(page.value("messages.length + document.querySelectorAll('.said').length"), 0);

    // A seven, by the mouse: the best class is that of the dots on the canvas.
    page.value("show('draw')");
    let edges = page.value("(b => [b.left, b.top, b.width, b.height])(canvas.getBoundingClientRect())");
    let [left, top, width, height] = [0usize, 1, 2, 3].map(|at| edges[at].as_f64().unwrap());
    let line = [(0.2, 0.2), (0.5, 0.2), (0.8, 0.2), (0.6, 0.5), (0.4, 0.85)];
    page.draw(&line.map(|(x, y)| (left + x * width, top + y * height)));
    page.until("!asking && !again && document.querySelectorAll('#classes li').length === 10");
    let dots = page.value("[...pen.getImageData(0, 0, 28, 28).data].filter((_, at) => at % 4 === 0)");
    let dots: Vec<f32> =
        dots.as_array().unwrap().iter().map(|dot| dot.as_f64().unwrap() as f32 / 255.0).collect();
    assert!(dots.iter().filter(|dot| **dot > 0.5).count() > 30, "the line is on the canvas");
    let scores = network.predict_batch(&Tensor::from_vec(dots, [1, 28, 28, 1]).unwrap()).unwrap();
    let best = page.value("Number(document.querySelector('#classes .best').firstChild.textContent)");
    assert_eq!(best, scores.argmax(1).unwrap().to_vec()[0]);
    page.value("$('clear').click()");
    assert_eq!(page.value("document.querySelectorAll('#classes li').length"), 0);

    // Films for a user, and for who liked some.
    let names = "[...document.querySelectorAll('#items li span')].map(name => name.firstChild.textContent)";
    let ids = |list: Vec<cairn::recsys::Scored<u32>>| {
        list.iter().map(|scored| scored.id.to_string()).collect::<serde_json::Value>()
    };
    page.value(
        "show('films'), $('count').value = '4', $('user').value = 'user 3', $('recommend').requestSubmit()",
    );
    page.until("document.querySelectorAll('#items li').length === 4");
    assert_eq!(page.value(names), ids(recommender.recommend("user 3", 4, &Filter::unseen()).unwrap()));
    page.value("$('count').value = '3', $('liked').value = '7, 14', $('recommend').requestSubmit()");
    page.until("document.querySelectorAll('#items li').length === 3");
    assert_eq!(
        page.value(names),
        ids(recommender.recommend_session(&[7, 14], 3, &Filter::unseen()).unwrap())
    );
    assert_eq!(page.value("$('films-note').textContent"), json!("For who liked these:"));
}
