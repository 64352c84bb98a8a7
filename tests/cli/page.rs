//! The page at / in headless Chromium, at the width of a telephone and of a desk: what it shows is what is served, and nothing stands
//! beyond its edge. Without Chromium the test says so and passes.
//!
//! `CAIRN_SCREENSHOTS=folder cargo test -p cairn-ml --features serve --test cli page` leaves pictures to look at.

use std::path::Path;
use std::process::Command;

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
        .args(["--virtual-time-budget=3000"])
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
    let made = model();
    let server = Server::start(&[made.path().to_str().unwrap()]);
    let url = format!("http://{}/", server.address);
    let name = made.path().file_name().unwrap().to_str().unwrap();
    for width in [390, 1200] {
        let page = seen(browser, &url, width, &["--dump-dom"]);
        let tab = page.find("data-name=\"chat\"").expect("there is a tab to chat");
        assert!(page[tab - 60..tab + 60].contains("aria-selected=\"true\""), "it is the one that is open");
        assert!(page.contains(&format!("<option>{name}</option>")), "{page}");
        assert!(page.contains("<section id=\"chat\" aria-label=\"Chat\">"), "what can be done is not hidden");
        assert!(page.contains("<section id=\"films\" hidden"), "what cannot is");
        if let Some(folder) = std::env::var_os("CAIRN_SCREENSHOTS") {
            let picture =
                format!("--screenshot={}", Path::new(&folder).join(format!("page-{width}.png")).display());
            seen(browser, &url, width, &[&picture]);
        }
    }
}
