//! The page at / in headless Chromium, at the width of a telephone and of a desk: what it shows is what is served, and nothing stands
//! beyond its edge. Without Chromium the test says so and passes.
//!
//! `CAIRN_SCREENSHOTS=folder cargo test -p cairn-ml --features serve --test cli page` leaves pictures to look at.

use std::path::Path;
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

/// What the browser writes for a page in a window of this width.
fn seen(browser: &str, url: &str, width: u32, more: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ])
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

#[test]
fn the_page_shows_what_is_served() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: there is no Chromium here, so that the page was not looked at");
        return;
    };
    let (made, folder) = (model(), tempfile::tempdir().unwrap());
    let digits = folder.path().join("digits.cairn");
    let network = Sequential::new([28, 28, 1]).add(Flatten).add(Dense::new(10)).build(&mut rng(1)).unwrap();
    network.save(&digits).unwrap();
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
